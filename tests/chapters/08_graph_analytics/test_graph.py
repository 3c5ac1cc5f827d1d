"""What chapter 08 promises, on other graphs than the chapter's."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import networkx
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from medallion.lakehouse import tables

Cells = Callable[..., dict[str, Any]]
DAY = datetime(2025, 7, 1, tzinfo=UTC)
SILVER = {
    "customers": "customer_id STRING, signup_date DATE",
    "payments": "payment_id STRING, order_id STRING, customer_id STRING, device_id STRING, card_id STRING, "
    "paid_at TIMESTAMP",
    "telemetry": "locker_id STRING, measured_at TIMESTAMP",
    "products": "product_id STRING, seller_id STRING, _arrived_at TIMESTAMP",
    "orders": "order_id STRING, customer_id STRING, channel STRING, locker_id STRING, ordered_at TIMESTAMP",
    "order_lines": "order_id STRING, product_id STRING",
}
PUBLISHED = ("candidates", "links", "faults", "vertices", "judged", "kept", "known_at", "both_ends", "edges")


def groups(labels: dict[str, Any]) -> set[frozenset[str]]:
    held: dict[Any, set[str]] = {}
    for vertex, label in labels.items():
        held.setdefault(label, set()).add(vertex)
    return {frozenset(group) for group in held.values()}


@pytest.mark.parametrize("seed", range(20))
def test_components_kept_up_day_by_day_are_those_of_the_full_run(run_cells: Cells, seed: int) -> None:
    updated = run_cells("08", defining={"updated"})["updated"]
    draw = random.Random(seed)
    ties = [(f"C{draw.randrange(30)}", f"D{draw.randrange(30)}") for _ in range(draw.randrange(1, 60))]
    labels: dict[str, str] = {}
    rest = ties
    while rest:
        size = draw.randrange(1, 12)
        yesterday, before = labels, dict(labels)
        labels = updated(labels, rest[:size])
        assert yesterday == before, "the labels of yesterday were changed"
        rest = rest[size:]
    assert groups(labels) == {frozenset(part) for part in networkx.connected_components(networkx.Graph(ties))}


def test_a_day_without_ties_changes_no_label(run_cells: Cells) -> None:
    updated = run_cells("08", defining={"updated"})["updated"]
    assert updated({"C1": "C1", "D1": "C1"}, []) == {"C1": "C1", "D1": "C1"}


def test_the_guard_refuses_one_large_component_and_lets_small_ones_pass(run_cells: Cells) -> None:
    guard = run_cells("08", defining={"require_meaning"})["require_meaning"]
    guard(pd.Series([2] * 50))
    with pytest.raises(ValueError, match=r"^One component holds 60 of 100 customers\.$"):
        guard(pd.Series([60, *[1] * 40]))


def test_a_payment_gets_the_largest_group_that_it_touches_on_its_day(run_cells: Cells) -> None:
    names = run_cells("08", defining={"neighbours"}, pd=pd)
    names["GRAPH"] = ["members", "young", "accused", "things"]
    one, two = pd.Timestamp("2025-11-01"), pd.Timestamp("2025-11-02")
    held = pd.DataFrame(
        [(one, "C1", 2, 0.0, 0, 1), (one, "K1", 5, 1.0, 2, 3), (two, "K1", 6, 1.0, 4, 3)],
        columns=["day", "id", *names["GRAPH"]],
    )
    payments = pd.DataFrame(
        {
            "payment_id": ["P1", "P2", "P3"],
            "customer_id": ["C1", "C1", "C2"],
            "device_id": ["D1", "D1", "D2"],
            "card_id": ["K1", None, "K2"],
        }
    )
    found = names["neighbours"](payments, held, pd.Series([one, one, one])).set_index("payment_id")
    assert found.loc["P1"].tolist() == [5, 1, 2, 3]
    assert found.loc["P2"].tolist() == [2, 0, 0, 1]
    assert found.loc["P3"].tolist() == [0, 0, 0, 0]


def at(days: float) -> datetime:
    return DAY + timedelta(days=days)


def shop(spark: SparkSession, payments: list[tuple[Any, ...]], orders: list[tuple[Any, ...]]) -> None:
    """Make the Silver tables that the graph is built from."""
    rows = {
        "customers": [("C1", date(2025, 1, 1)), ("C2", date(2025, 1, 1))],
        "payments": payments,
        "telemetry": [("LK1", at(0)), ("LK1", at(1))],
        "products": [("P1", "S1", at(0))],
        "orders": orders,
        "order_lines": [(order[0], "P1") for order in orders],
    }
    for name, schema in SILVER.items():
        frame = spark.createDataFrame(rows[name], schema)
        frame.write.mode("overwrite").option("overwriteSchema", True).saveAsTable(f"silver.{name}")


@pytest.fixture
def silver(spark: SparkSession) -> Iterator[None]:
    """Leave no table behind."""
    yield
    spark.catalog.clearCache()
    for table in tables.present():
        if table.startswith(("silver.", "gold.")):
            spark.sql(f"DROP TABLE {table}")


@pytest.mark.usefixtures("silver")
def test_what_is_published_is_a_graph(spark: SparkSession, run_cells: Cells) -> None:
    payments = [
        ("Y1", "O1", "C1", "D1", "K1", at(1)),
        ("Y2", "O2", "C2", "D1", None, at(2)),  # paid with a voucher
        ("Y3", "O3", "C9", "D2", "K2", at(3)),  # by nobody whom we know
        ("Y4", "O1", "C1", "D1", "K1", at(4)),
    ]
    orders = [("O1", "C1", "web", "LK1", at(1)), ("O2", "C2", "store_tablet", None, at(2))]
    shop(spark, payments, orders)
    names = run_cells("08", defining=PUBLISHED, spark=spark, F=F)
    vertices = {row.id: row for row in spark.table("gold.graph_vertices").collect()}
    edges = [tuple(row) for row in spark.table("gold.graph_edges").orderBy("src", "dst").collect()]
    assert None not in vertices
    assert {row.kind for row in vertices.values()} == {
        "customer", "card", "device", "tablet", "locker", "seller",
    }  # fmt: skip
    assert {(src, dst) for src, dst, *_ in edges} == {
        ("C1", "D1"), ("C1", "K1"), ("C1", "LK1"), ("C1", "S1"), ("C2", "D1"), ("C2", "S1"),
    }  # fmt: skip
    assert len(edges) == 6
    refused = names["judged"].where("reason IS NOT NULL").select("src", "reason").collect()
    assert sorted(map(tuple, refused)) == [
        ("C2", "no end"), ("C2", "no end"), ("C9", "unknown vertex"), ("C9", "unknown vertex"),
    ]  # fmt: skip


@pytest.mark.usefixtures("silver")
@pytest.mark.parametrize(("channels", "older"), [(("store_tablet", "web"), 0), (("web", "store_tablet"), 1)])
def test_a_device_that_becomes_a_tablet_later_is_found_by_the_audit(
    spark: SparkSession, run_cells: Cells, channels: tuple[str, str], older: int
) -> None:
    payments = [("Y1", "O1", "C1", "D1", "K1", at(1)), ("Y2", "O2", "C2", "D1", "K2", at(2))]
    orders = [(f"O{n}", f"C{n}", channel, None, at(n)) for n, channel in enumerate(channels, 1)]
    shop(spark, payments, orders)
    names = run_cells("08", defining=PUBLISHED, spark=spark, F=F)
    found = names["both_ends"].join(names["known_at"], "id").where("first_at < known_at")
    assert found.count() == older
    tablet = spark.table("gold.graph_vertices").where("id = 'D1'").first()
    assert tablet is not None and tablet.kind == "tablet"
