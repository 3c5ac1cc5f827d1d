"""The change events of the orders give one answer: in any order, any batches, and after any kill."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TESTS, run_chapter
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as F

import medallion
from medallion import contract
from medallion.lakehouse import tables
from press.source.chapter import parse

EVENTS = """event_id STRING, sequence BIGINT, op STRING, committed_at TIMESTAMP,
    before STRUCT<order_id: STRING, status: STRING, total_cents: INT>,
    after STRUCT<order_id: STRING, customer_id: STRING, channel: STRING, status: STRING,
        total_cents: INT, ordered_at: TIMESTAMP, locker_id: STRING,
        lines: ARRAY<STRUCT<line_no: INT, product_id: STRING, quantity: INT, unit_price_cents: INT>>,
        delivery_slot: STRING>,
    _corrupt_record STRING, _rescued MAP<STRING, STRING>, _source_file STRING, _arrived_at TIMESTAMP"""
NAMES = (
    "with_reasons", "plausible", "GIVES", "named", "disposition_of", "judge", "INGEST", "fingerprint",
    "copies_of", "compared", "usual", "tally", "MOST_ASIDE", "arrivals_in", "gate", "ASIDE", "GOOD",
    "ADDED", "for_quarantine",
    "set_aside", "TAIL", "write", "with_known", "ORDER", "flat", "FIELDS", "STATUSES", "TOTAL", "ORDER_RULES",
    "with_held", "judged_events", "by_sequence", "laid_out", "with_verdict", "merge",
    "merge_history", "merge_orders", "EVENT", "with_history", "take_in", "apply_orders",
    "release_orders", "checkpoints", "follow",
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("interpreted")

MADE = ("silver.orders", "silver.orders_history", "silver.orders_quarantine")
# Runs in a process that will be killed and, as it is, in this one.
FOLLOW = 'silver["follow"]("orders", silver["apply_orders"], files=1)'
SECONDS = 240


@pytest.fixture(scope="module")
def silver(spark: SparkSession) -> Iterator[dict[str, Any]]:
    """The chapter's own functions, over a Bronze table without rows and two customers."""
    new_bronze(spark)
    known = spark.createDataFrame([("C1",), ("C2",)], "customer_id STRING")
    known.write.mode("overwrite").saveAsTable("silver.customers_history")
    yield functions(spark)
    # The lakehouse is shared, and other tests rely on tables that are not there.
    shutil.rmtree(tables.checkpoints("02"), ignore_errors=True)
    for table in tables.present():
        spark.sql(f"DROP TABLE {table}")


def new_bronze(spark: SparkSession) -> None:
    spark.createDataFrame([], EVENTS).write.mode("overwrite").saveAsTable("bronze.orders")


def functions(spark: SparkSession) -> dict[str, Any]:
    """Run the chapter's cells about the orders, which also make the tables that are not there."""
    bronze = spark.table("bronze.orders")
    given = {"medallion": medallion, "spark": spark, "F": F, "Window": Window, "DeltaTable": DeltaTable}
    names = run_chapter("02", defining=NAMES, bronze_orders=bronze, **given)
    chapter = parse(contract.find("02"))
    for cell in chapter.cells:
        if "CREATE TABLE IF NOT EXISTS silver." in cell.source:
            exec(compile(cell.source, f"{chapter.where}:{cell.line}", "exec"), names)
    if not spark.catalog.tableExists(MADE[2]):  # the first micro-batch makes it
        names["apply_orders"](bronze.limit(0), 0)
    return names


def event(order: int, step: int, op: str, arrived: int, **fields: Any) -> Row:
    """Return an event of an order: its step-th change, in the file of week `arrived`."""
    id_, sequence = f"E{order}-{step}", order * 10 + step
    after = None
    if op != "d":
        line = Row(line_no=1, product_id="P1", quantity=2, unit_price_cents=fields.get("price", 100))
        after = Row(
            order_id=f"O{order}", customer_id=fields.get("customer", "C1"), channel="web",
            status=fields.get("status", "placed"), total_cents=200,
            ordered_at=fields.get("ordered_at", f"2025-07-{order:02} 10:00:00"),
            locker_id=None, lines=[line], delivery_slot=None,
        )  # fmt: skip
    before = None if op == "c" else Row(order_id=f"O{order}", status="placed", total_cents=200)
    return Row(
        event_id=id_, sequence=sequence, op=op, committed_at=f"2025-07-{order:02} 1{step}:00:00",
        before=before, after=after, file=f"orders/W{arrived}", arrived=f"2025-08-{arrived:02} 00:00:00",
    )  # fmt: skip


def events() -> list[Row]:
    """Return the events of five orders: plain, overtaken, deleted with a late update, repeated, and bad."""
    return [
        event(1, 0, "c", 1), event(1, 1, "u", 2, status="delivered"),
        event(2, 0, "c", 1), event(2, 1, "u", 3, status="packed"), event(2, 2, "u", 2, status="delivered"),
        event(3, 0, "c", 1), event(3, 1, "u", 3, status="cancelled"), event(3, 2, "d", 2),
        event(4, 0, "c", 1), event(4, 0, "c", 3), event(4, 1, "u", 2, status=" Packed "),
        event(5, 0, "c", 1, customer="C9"), event(6, 0, "c", 2, price=-5),
        event(7, 0, "c", 2, ordered_at="0001-01-01 00:00:00"),
        event(8, 0, "c", 2, ordered_at="9999-12-31 00:00:00"),
    ]  # fmt: skip


def frame(spark: SparkSession, rows: list[Row]) -> DataFrame:
    """Return events as Bronze holds them."""
    plain = [row.asDict(recursive=True) for row in rows]
    text = spark.createDataFrame([(json.dumps(row),) for row in plain], "value STRING")
    schema = EVENTS + ", file STRING, arrived TIMESTAMP"
    parsed = text.select(F.from_json("value", schema).alias("row")).select("row.*")
    return parsed.withColumns({"_source_file": F.col("file"), "_arrived_at": F.col("arrived")}).drop(
        "file", "arrived"
    )


def outcome(spark: SparkSession, silver: dict[str, Any], batches: list[list[Row]]) -> list[list[Row]]:
    """Apply batches to empty tables, and return the rows of the three tables."""
    for table in MADE:
        spark.sql(f"DELETE FROM {table}")
    for rows in batches:
        silver["apply_orders"](frame(spark, rows), 0)  # as after a lost checkpoint: the number says nothing
    return contents(spark)


def contents(spark: SparkSession) -> list[list[Row]]:
    """Return the rows of the three tables."""
    orders, history, aside = map(spark.table, MADE)
    return [
        orders.drop("_source_file", "_arrived_at").orderBy("order_id").collect(),
        history.drop("_source_file", "_content").orderBy("event_id").collect(),
        aside.select("event_id", "_disposition", "_reasons").orderBy("event_id").collect(),
    ]


def renamed(row: Row, change: Callable[[str], str]) -> Row:
    """Return a row, of the events or of a table, in which the ids of event and order are others."""
    found = row.asDict()
    for name, value in found.items():
        if name in ("event_id", "order_id") and value is not None:
            found[name] = change(value)
        elif isinstance(value, Row) and name in ("before", "after"):
            found[name] = renamed(value, change)
    return Row(**found)


SEEDS = {1: 5, 2: 7, 3: 6, 4: 8}  # the size of the micro-batches, by seed


def arrivals() -> dict[str, list[list[Row]]]:
    """Return the micro-batches of each case by its name.

    The cases arrive together, because a micro-batch of three events takes as long as one of sixty.
    """
    every = events()
    found = {"at once": [every]}
    for seed, size in SEEDS.items():
        shuffled = random.Random(seed).sample(every, len(every))
        batches = [shuffled[at : at + size] for at in range(0, len(shuffled), size)]
        found[f"seed {seed}"] = [*batches, batches[0]]
    first, equal = event(1, 0, "c", 1), event(1, 0, "c", 2)
    other, more = (event(1, 0, "c", week, status="packed") for week in (2, 3))
    found["copies at once"] = [[first, equal, other]]
    found["copies apart"] = [[first], [other, equal]]
    found["three at once"] = [[first, other, more]]
    found["two, then one"] = [[first, other], [more]]
    found["one by one"] = [[first], [other], [more]]
    found["odd"] = [
        [Row(**{**event(order, 0, "c", 1).asDict(), "op": op}) for order, op in ((1, "x"), (2, None))]
    ]
    keyless = [Row(**{**event(order, 0, "c", 1).asDict(), "event_id": None}) for order in (1, 2)]
    found["keyless"] = [keyless[:1], keyless]
    known, new = event(5, 0, "c", 1, customer="C9"), event(6, 0, "c", 1, price=-5)
    found["done before"] = [[known], [known, new]]
    found["totals"] = [[event(1, 0, "c", 1, price=101), event(2, 0, "c", 1)]]
    good = event(4, 0, "c", 1)
    differs = Row(**{**good.asDict(), "sequence": 41})
    waiting = [event(5, 0, "c", 1, customer="C8"), event(6, 0, "c", 1, price=-5)]
    found["to be released"] = [[good], [differs, *waiting]]
    return found


@pytest.fixture(scope="module")
def arrived(spark: SparkSession, silver: dict[str, Any]) -> list[list[Row]]:
    """The rows of the three tables after all cases, each with its name behind its ids."""
    rounds: list[list[Row]] = []
    for name, batches in arrivals().items():
        for place, rows in enumerate(batches):
            rounds += [[]] * (place + 1 - len(rounds))
            rounds[place] = rounds[place] + [
                renamed(row, lambda id_, name=name: f"{id_}/{name}") for row in rows
            ]
    return outcome(spark, silver, rounds)


@pytest.fixture(scope="module")
def of(arrived: list[list[Row]]) -> Callable[[str], list[list[Row]]]:
    """A function that returns what a case has left in the three tables, with the plain ids."""

    def case(name: str) -> list[list[Row]]:
        mine = [[row for row in rows if (row[0] or "").endswith(f"/{name}")] for rows in arrived]
        return [[renamed(row, lambda id_: id_.split("/")[0]) for row in rows] for rows in mine]

    return case


Of = Callable[[str], list[list[Row]]]


def test_events_give_one_answer_in_any_order_and_any_batches(of: Of) -> None:
    orders, history, aside = of("at once")
    assert {row.order_id: row.status for row in orders} == {
        "O1": "delivered", "O2": "delivered", "O4": "packed"
    }  # fmt: skip
    superseded = {row.event_id for row in history if row._disposition == "superseded"}
    assert superseded == {"E2-1", "E3-1"}
    assert {row.event_id: row._reasons for row in aside} == {
        "E5-0": ["unknown_customer"], "E6-0": ["negative_price", "wrong_total"],
        "E7-0": ["impossible_date"], "E8-0": ["impossible_date"],
    }  # fmt: skip
    for seed in SEEDS:
        assert of(f"seed {seed}") == [orders, history, aside], f"seed {seed}"


@pytest.mark.parametrize("case", ["copies at once", "copies apart"])
def test_a_copy_that_differs_is_set_aside_and_one_that_is_equal_is_not(of: Of, case: str) -> None:
    """In the same micro-batch and in a later one; the event that was there first stays."""
    orders, history, aside = of(case)
    assert [row.status for row in orders] == ["placed"]
    assert [row.event_id for row in history] == ["E1-0"]
    assert [(row.event_id, row._reasons) for row in aside] == [("E1-0", ["conflict"])]


@pytest.mark.parametrize("case", ["three at once", "two, then one", "one by one"])
def test_a_copy_that_differs_is_set_aside_once_however_often_it_comes(of: Of, case: str) -> None:
    orders, _, aside = of(case)
    assert [row.status for row in orders] == ["placed"]
    assert [(row.event_id, row._reasons) for row in aside] == [("E1-0", ["conflict"])]


def test_an_unknown_operation_is_set_aside(of: Of) -> None:
    orders, history, aside = of("odd")
    assert (orders, history) == ([], [])
    assert [row._reasons for row in aside] == [["unknown_op"], ["unknown_op"]]


def test_events_without_a_key_are_all_kept_and_each_once(arrived: list[list[Row]]) -> None:
    """Two events without an id are not copies of each other; a repeated micro-batch adds nothing."""
    orders, history, aside = arrived
    assert not [row for row in orders if row.order_id.endswith("/keyless")]
    assert not [row for row in history if row.event_id is None]
    assert [row._reasons for row in aside if row.event_id is None] == [["missing_id"], ["missing_id"]]


def test_a_new_bad_event_in_a_micro_batch_that_was_done_is_set_aside(of: Of) -> None:
    """As after a lost checkpoint, when new rows come under the numbers of old micro-batches."""
    *_, aside = of("done before")
    assert [row.event_id for row in aside] == ["E5-0", "E6-0"]


def test_a_total_that_is_not_the_sum_of_its_lines_is_set_aside(of: Of) -> None:
    *_, aside = of("totals")
    assert [(row.event_id, row._reasons) for row in aside] == [("E1-0", ["wrong_total"])]


def test_rows_of_the_quarantine_pass_when_their_customer_is_known(
    spark: SparkSession, silver: dict[str, Any], arrived: list[list[Row]]
) -> None:
    """They are marked as released. What is bad still, or differs from what is known, waits."""
    spark.sql("INSERT INTO silver.customers_history VALUES ('C8')")
    try:
        silver["release_orders"]()
    finally:
        spark.sql("DELETE FROM silver.customers_history WHERE customer_id = 'C8'")
    held = dict(zip(MADE, contents(spark), strict=True))
    mine = "/to be released"
    assert [row.order_id for row in held[MADE[0]] if row.order_id.endswith(mine)] == [
        f"O4{mine}",
        f"O5{mine}",
    ]
    history = [row.event_id for row in held[MADE[1]] if row.event_id.endswith(mine)]
    assert history == [f"E4-0{mine}", f"E5-0{mine}"]
    status = spark.table("silver.orders_quarantine").where(F.endswith("event_id", F.lit(mine)))
    found = sorted(status.select("event_id", "_status").collect())
    assert found == [(f"E4-0{mine}", "open"), (f"E5-0{mine}", "released"), (f"E6-0{mine}", "open")]


def commits(table: str) -> int:
    """Return how many commits a Delta table has, asked of its log from outside."""
    return len(list((tables.folder(table) / "_delta_log").glob("*.json")))


def batches_done() -> int:
    return len(list((tables.checkpoints("02") / "orders" / "commits").glob("[0-9]*")))


def kill_when(launch: Callable[..., "subprocess.Popen[str]"], moment: Callable[[], bool]) -> None:
    """Follow Bronze in a process of its own, and kill it, with its Java, at a moment."""
    child = launch(
        f"import sys\nsys.path[:0] = {[str(Path(__file__).parent), TESTS]}\n"
        "import medallion\nimport test_orders\n"
        f"silver = test_orders.functions(medallion.start())\n{FOLLOW}"
    )
    give_up = time.monotonic() + SECONDS
    while not moment():
        assert child.poll() is None, f"ended too early: {child.communicate()[1][-2000:]}"
        assert time.monotonic() < give_up, "the moment did not come"
        time.sleep(0.001)
    os.killpg(child.pid, signal.SIGKILL)
    assert child.wait(30) == -signal.SIGKILL


def failing_at(call: int, function: Callable[..., None]) -> Callable[..., None]:
    """Return a function that does as another, and fails instead when it is called for this time."""
    calls = iter(range(1, call + 1))

    def failing(*given: Any) -> None:
        if next(calls) == call:
            raise RuntimeError("the power fails")
        function(*given)

    return failing


def test_killed_within_a_batch_and_resumed(
    spark: SparkSession,
    silver: dict[str, Any],
    of: Of,
    launch: Callable[..., "subprocess.Popen[str]"],
    home: Path,
) -> None:
    """Killed as one table has a batch and the next one does not, the stream ends with the same tables.

    The process is killed once. The other moment, at which a second process would have to start for another
    kill, is an error in this one: for the tables and the checkpoint the stream ends there, too.
    """
    every = events()
    for table in (*MADE, "bronze.orders"):
        spark.sql(f"DROP TABLE {table}")
    new_bronze(spark)
    for week in (1, 2, 3):
        arrived = frame(spark, [row for row in every if row.file == f"orders/W{week}"])
        arrived.coalesce(1).write.mode("append").saveAsTable("bronze.orders")
    functions(spark)  # makes the three tables anew, without a row

    empty = {table: commits(table) for table in MADE}
    orders, history, aside = MADE
    kill_when(launch, lambda: commits(orders) > empty[orders])
    assert (commits(history), batches_done()) == (empty[history], 0), "the history has nothing of the batch"

    failing = functions(spark)
    failing["take_in"] = failing_at(2, failing["take_in"])
    with pytest.raises(Exception, match="the power fails"):  # Spark's error has no class of its own
        exec(FOLLOW, {"silver": failing})
    assert commits(aside) == empty[aside] + 2, "both micro-batches are set aside"
    assert batches_done() == 1, "set aside, and the batch is not done"

    exec(FOLLOW, {"silver": silver})
    assert contents(spark) == of("at once")
    assert batches_done() == 3
    done = {table: commits(table) for table in MADE}
    exec(FOLLOW, {"silver": silver})
    assert done == {table: commits(table) for table in MADE}, "a run without a new event makes no commit"
