"""What chapter 04 promises, on other data than the chapter's: its own cells over small, random tables."""

import importlib
import linecache
import math
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import cache
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

import medallion
from medallion import contract
from medallion.lakehouse import tables
from press.source.chapter import parse

pytestmark = pytest.mark.usefixtures("interpreted")

RunCells = Callable[..., dict[str, Any]]
MICROSECOND, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True, scope="module")
def clean(spark: SparkSession) -> Iterator[None]:
    """Remove the tables and temporary views that the module has made."""
    tables_before, views_before = set(tables.present()), temporary_views(spark)
    yield
    for table in set(tables.present()) - tables_before:
        spark.sql(f"DROP TABLE {table}")
    for view in temporary_views(spark) - views_before:
        spark.catalog.dropTempView(view)
    assert set(tables.present()) == tables_before
    assert temporary_views(spark) == views_before


def temporary_views(spark: SparkSession) -> set[str]:
    return {table.name for table in spark.catalog.listTables() if table.isTemporary}


def save(spark: SparkSession, table: str, rows: Iterable[tuple[Any, ...]], schema: str) -> DataFrame:
    """Make a table of the rows, in the place of an earlier one, and return it."""
    spark.createDataFrame(list(rows), schema).write.mode("overwrite").saveAsTable(table)
    return spark.table(table)


# Labels ------------------------------------------------------------------------------------------

PEOPLE = "customer_id STRING, cutoff TIMESTAMP, known_at TIMESTAMP"
PLACED = "order_id STRING, customer_id STRING, ordered_at TIMESTAMP, arrived_at TIMESTAMP, total_cents INT"


def test_no_order_equals_plain_python(spark: SparkSession, run_cells: RunCells) -> None:
    draw = random.Random(41)
    cutoffs = [datetime(2025, 9, 4) + number * timedelta(days=14, hours=6) for number in range(4)]
    people = [(f"C{n}", at, at + 32 * DAY) for n in range(30) for at in cutoffs if draw.random() < 0.8]
    orders: list[tuple[Any, ...]] = []
    for number in range(120):
        edge = draw.choice(cutoffs) + draw.choice((0, 28)) * DAY + draw.choice((-1, 0, 1)) * MICROSECOND
        at = edge if draw.random() < 0.3 else cutoffs[0] + draw.uniform(-20, 90) * DAY
        late = draw.choice((HOUR, 3 * DAY, 20 * DAY, 40 * DAY))
        arrived = draw.choice(cutoffs) + 32 * DAY if draw.random() < 0.1 else at + late
        orders.append((f"O{number}", f"C{draw.randrange(40)}", at, max(at, arrived), 100))

    no_order = run_cells("04", defining=("no_order",), F=F)["no_order"]
    frames = spark.createDataFrame(people, PEOPLE), spark.createDataFrame(orders, PLACED)
    found = no_order(*frames).select("customer_id", "cutoff", "known_at", "no_order_28").collect()
    expected = []
    for customer, cutoff, known_at in people:
        counts = [
            order
            for order in orders
            if order[1] == customer and cutoff <= order[2] < cutoff + 28 * DAY and order[3] <= known_at
        ]
        expected.append((customer, cutoff, known_at, int(not counts)))
    assert sorted(map(tuple, found)) == sorted(expected)
    assert 20 < sum(row[3] for row in expected) < len(expected) - 20


# Features never see the future -------------------------------------------------------------------

HISTORY = (
    "order_id STRING, customer_id STRING, ordered_at TIMESTAMP, total_cents INT, op STRING, status STRING, "
    "sequence BIGINT, _arrived_at TIMESTAMP"
)
WEB = "session_id STRING, customer_id STRING, event_time TIMESTAMP, _arrived_at TIMESTAMP"
DIMENSION = (
    "customer_id STRING, signup_date DATE, marketing_consent BOOLEAN, valid_from TIMESTAMP, "
    "valid_to TIMESTAMP, known_from TIMESTAMP"
)
FOREVER = datetime(2099, 1, 1)
ORDER_COLUMNS = {"last_order_at", "orders_28", "orders_84", "trend", "spend_84_cents", "gap_days"}
ORDER_COLUMNS |= {"undone_84"}


class World(NamedTuple):
    """A moment, with customers of its own and all that is ever told of them."""

    as_of: datetime
    known_by: datetime
    orders: list[tuple[Any, ...]]
    visits: list[tuple[Any, ...]]
    snapshots: list[tuple[str, datetime, date, bool]]  # customer, when they were known, sign-up, consent


def some_world(draw: random.Random, number: int) -> World:
    """Return a moment in autumn, in every second world with files of later days, and 7 customers."""
    as_of = datetime(2025, 9, 1) + draw.randrange(90 * 86_400) * timedelta(seconds=1, microseconds=1)
    known_by = as_of + (number % 2) * draw.randrange(1, 40) * DAY

    def happened() -> datetime:
        """Return a time before or after the moment; some are at the very edges of the windows."""
        if draw.random() < 0.3:
            edge = draw.choice((0, 28, 56, 84)) * DAY
            return as_of - edge + draw.choice((-1, 0, 1)) * MICROSECOND
        return as_of + draw.uniform(-100, 15) * DAY

    def arrived(after: datetime) -> datetime:
        edge = known_by + draw.choice((0, 1)) * MICROSECOND
        return edge if draw.random() < 0.2 and edge >= after else after + draw.expovariate(1 / 7) * DAY

    orders: list[tuple[Any, ...]] = []
    visits: list[tuple[Any, ...]] = []
    snapshots = []
    for person in range(7):
        customer = f"{number}-{person}"
        for order in range(draw.randrange(1, 12)):
            name, at, cents = f"{customer}-{order}", happened(), draw.randrange(100, 9_999)
            told = draw.sample(("packed", "delivered", "cancelled", "returned"), draw.randrange(4))
            for sequence, status in enumerate(["placed", *told]):
                kind = "u" if sequence else "c"
                orders.append((name, customer, at, cents, kind, status, sequence, arrived(at)))
            if draw.random() < 0.1:
                orders.append((name, None, None, None, "d", None, 9, arrived(at)))
        for _ in range(draw.choice((0, 5, 15))):
            at, who = happened(), customer if draw.random() < 0.8 else None
            visits.append((f"{customer}-{draw.randrange(6)}", who, at, arrived(at)))
        edges = (as_of, as_of + MICROSECOND, known_by, known_by + MICROSECOND)
        days = {draw.choice((happened(), *edges)) for _ in range(draw.randrange(4))}
        signed_up = as_of.date() - draw.randrange(100, 500) * DAY
        snapshots += [(customer, day, signed_up, draw.random() < 0.5) for day in sorted(days)]
    return World(as_of, known_by, orders, visits, snapshots)


def dimension(snapshots: list[tuple[str, datetime, date, bool]]) -> list[tuple[Any, ...]]:
    """Return the versions as chapter 03 makes them: the first is valid from 1970 on."""
    rows = []
    for customer, found in groupby(snapshots, key=lambda snapshot: snapshot[0]):
        versions = list(found)
        starts = [datetime(1970, 1, 1), *(version[1] for version in versions[1:])]
        for version, start, end in zip(versions, starts, [*starts[1:], None], strict=True):
            rows.append((customer, *version[2:], start, end, version[1]))
    return rows


def what_had_arrived(world: World) -> World:
    return world._replace(
        orders=[row for row in world.orders if row[-1] <= world.known_by],
        visits=[row for row in world.visits if row[-1] <= world.known_by],
        snapshots=[row for row in world.snapshots if row[1] <= world.known_by],
    )


def what_had_happened(world: World) -> World:
    """Return what had happened before the moment. Of an account we ask what is valid at the moment."""
    first = {row[0]: row for row in reversed(world.snapshots)}
    return world._replace(
        orders=[row for row in world.orders if row[2] is None or row[2] < world.as_of],
        visits=[row for row in world.visits if row[2] < world.as_of],
        snapshots=[row for row in world.snapshots if row[1] <= world.as_of or row == first[row[0]]],
    )


Built = dict[tuple[str, datetime], dict[str, Any]]


class Looker:
    """The chapter's functions of features, over worlds that are put into the tables that it reads."""

    def __init__(self, spark: SparkSession, run_cells: RunCells) -> None:
        self.spark, self.run_cells = spark, run_cells
        draw = random.Random(4)
        self.worlds = [some_world(draw, number) for number in range(8)]
        moments = [(world.as_of, world.known_by) for world in self.worlds]
        self.moments = spark.createDataFrame(moments, "as_of TIMESTAMP, known_by TIMESTAMP")
        self.unbound = self.moments.withColumn("known_by", F.lit(FOREVER))

    def show(self, hide: Callable[[World], World] | None = None) -> dict[str, Any]:
        """Fill the tables, with something hidden or with all in sight, and return the chapter's names."""
        worlds = [hide(world) if hide else world for world in self.worlds]
        save(self.spark, "silver.orders_history", (row for w in worlds for row in w.orders), HISTORY)
        save(self.spark, "silver.web_events", (row for w in worlds for row in w.visits), WEB)
        versions = (row for w in worlds for row in dimension(w.snapshots))
        save(self.spark, "gold.dim_customer", versions, DIMENSION)
        wanted = [
            "history",
            "placed",
            "web",
            "versions",
            "sources",
            "at",
            "known_orders",
            "RECENT",
            "order_features",
        ]
        wanted += ["visit_features", "account_features", "PARTS", "customer_features", "all_features"]
        wanted += ["leaks", "require_no_leak", "careless"]
        return self.run_cells("04", defining=wanted, spark=self.spark, F=F, pd=pd)

    def own(self, built: DataFrame) -> Built:
        """Return the features of each moment's own customers, in one job."""
        own = {(world.as_of, str(number)) for number, world in enumerate(self.worlds)}
        rows = [row.asDict() for row in built.collect()]
        found = [row for row in rows if (row["as_of"], row["customer_id"].split("-")[0]) in own]
        keyed = {(row["customer_id"], row["as_of"]): row for row in found}
        assert len(keyed) == len(found), "a customer came out twice at one moment"
        return keyed


def columns_apart(one: Built, other: Built) -> set[str]:
    """Return the columns that differ for somebody who is in both."""
    return {
        name for key in one.keys() & other.keys() for name in one[key] if one[key][name] != other[key][name]
    }


@pytest.fixture(scope="module")
def looked(spark: SparkSession, run_cells: RunCells) -> dict[str, Built]:
    """The features with all in sight, with a part hidden, and those of builds that look ahead."""
    looker = Looker(spark, run_cells)
    names = looker.show()
    build, sources = names["customer_features"], names["sources"]
    built = {
        "in sight": looker.own(build(looker.moments, sources)),
        "unbound": looker.own(build(looker.unbound, sources)),
        "careless": looker.own(names["order_features"](looker.unbound, sources["orders"])),
    }
    for name, hide in {"arrived": what_had_arrived, "happened": what_had_happened}.items():
        spark.catalog.clearCache()  # the chapter caches its sources, and here they change
        names = looker.show(hide)
        built[name] = looker.own(names["customer_features"](looker.moments, names["sources"]))
    spark.catalog.clearCache()
    return built


@pytest.mark.parametrize("hidden", ["arrived", "happened"])
def test_features_never_see_the_future(looked: dict[str, Built], hidden: str) -> None:
    assert len(looked["in sight"]) > 40
    assert looked["in sight"] == looked[hidden]


def test_the_features_say_something(looked: dict[str, Built]) -> None:
    """Otherwise the comparison would be one of nothing with nothing."""
    rows = list(looked["in sight"].values())
    assert len({row["as_of"] for row in rows}) == 8
    for name in ORDER_COLUMNS | {"visits_28", "account_days", "consent"}:
        assert len({row[name] for row in rows}) >= 3, name
    assert {row["consent"] for row in rows} == {0, 1, None}
    assert 0 in {row["visits_28"] for row in rows}
    assert None not in {row["visits_28"] for row in rows}


def test_features_that_look_ahead_are_found(looked: dict[str, Built]) -> None:
    blind = looked["arrived"]
    assert looked["careless"].keys() > blind.keys()
    assert columns_apart(looked["careless"], blind) == ORDER_COLUMNS
    of_all = ORDER_COLUMNS | {"visits_28", "account_days", "consent"}
    assert columns_apart(looked["unbound"], blind) == of_all


@pytest.fixture(scope="module")
def tested(spark: SparkSession, run_cells: RunCells) -> Iterator[tuple[dict[str, Any], str]]:
    """The chapter's names over a world with files of later days, and its moment as text."""
    looker = Looker(spark, run_cells)
    world = looker.worlds[1]
    looker.worlds = [world._replace(known_by=world.as_of)]
    yield looker.show(), str(world.as_of)
    spark.catalog.clearCache()


def test_the_gate_lets_the_features_of_all_sources_pass(tested: tuple[dict[str, Any], str]) -> None:
    names, moment = tested
    names["require_no_leak"](names["all_features"], names["sources"], moment)


@pytest.mark.parametrize(
    ("part", "leaking"),
    [
        ("orders", ORDER_COLUMNS),
        ("visits", {"visits_28"}),
        ("accounts", {"account_days", "consent"}),
    ],
)
def test_the_gate_refuses_a_leak_in_any_source(
    tested: tuple[dict[str, Any], str], part: str, leaking: set[str]
) -> None:
    names, moment = tested
    with pytest.raises(ValueError, match="hiding the future changes") as refused:
        names["require_no_leak"](names["careless"](part), names["sources"], moment)
    named = str(refused.value).removeprefix("hiding the future changes ").split(", ")
    assert named == sorted(leaking & {*named})
    assert named


# The join as of a moment -------------------------------------------------------------------------


class Feature(NamedTuple):
    customer_id: str
    as_of: datetime
    created_at: datetime
    orders_28: int | None


QUESTIONS = "customer_id STRING, cutoff TIMESTAMP"
FEATURES = "customer_id STRING, as_of TIMESTAMP, created_at TIMESTAMP, orders_28 BIGINT"
START = datetime(2025, 9, 1)


def some_questions(draw: random.Random) -> list[tuple[str, datetime]]:
    """Return a hundred or so questions at midnights, two customers of which nothing is ever known."""
    return sorted({(f"C{draw.randrange(14)}", START + draw.randrange(70) * DAY) for _ in range(150)})


def some_features(draw: random.Random) -> list[Feature]:
    """Return features of midnights, many with several rows, created in the same night or much later.

    No two have all of customer and times in common.
    """
    found = {}
    for number in range(110):
        customer, as_of = f"C{draw.randrange(12)}", START + draw.randrange(60) * DAY
        for _ in range(draw.choice((1, 1, 2, 3))):
            late = draw.choice((timedelta(), MICROSECOND, 5 * HOUR, DAY, draw.randrange(30) * DAY))
            key = customer, as_of, as_of + late
            found[key] = Feature(*key, draw.choice((None, number, draw.randrange(1000))))
    return sorted(found.values(), key=lambda row: row[:3])


def newest(
    question: tuple[str, datetime], features: list[Feature], days: int, *, created: bool = True
) -> Feature | None:
    """Return the newest features that were there and fresh; without `created` also those not there yet."""
    customer, cutoff = question
    fit = [
        row
        for row in features
        if row.customer_id == customer
        and cutoff - days * DAY <= row.as_of <= cutoff
        and (row.created_at <= cutoff or not created)
    ]
    return max(fit, key=lambda row: (row.as_of, row.created_at), default=None)


def test_as_of_equals_plain_python(spark: SparkSession, run_cells: RunCells) -> None:
    draw = random.Random(43)
    questions, features = some_questions(draw), some_features(draw)
    as_of = run_cells("04", defining=("as_of",), spark=spark, F=F)["as_of"]
    twice = features + draw.sample(features, 30)  # the whole row again, as an append that was repeated
    draw.shuffle(twice)
    asked = spark.createDataFrame(questions, QUESTIONS)
    rows = spark.createDataFrame(twice, FEATURES)
    # A TTL of no days lets only the moment itself count
    parts = [as_of(asked, rows, days).withColumn("days", F.lit(days)) for days in (0, 7, 14)]
    columns = ("days", "customer_id", "cutoff", "as_of", "created_at", "orders_28")
    found = parts[0].unionByName(parts[1]).unionByName(parts[2]).select(*columns).collect()
    expected = []
    for days in (0, 7, 14):
        for question in questions:
            row = newest(question, features, days)
            expected.append((days, *question, *(row[1:] if row else (None, None, None))))
    assert sorted(map(tuple, found), key=lambda row: row[:3]) == expected

    answers = [newest(question, features, 14) for question in questions]
    assert answers.count(None) > 10
    assert answers != [newest(question, features, 14, created=False) for question in questions]
    assert answers != [newest(question, features, 13) for question in questions]
    ties = [(row.customer_id, row.as_of) for row in features]
    assert any(row and ties.count((row.customer_id, row.as_of)) > 1 for row in answers)


# The training set --------------------------------------------------------------------------------


def test_a_training_set_comes_again_from_its_recorded_versions(
    spark: SparkSession, run_cells: RunCells
) -> None:
    """Also after rows were added in time, changed and removed: from today's tables it would not."""
    draw = random.Random(46)
    labels = [(*question, draw.randrange(2)) for question in some_questions(draw)]
    features = some_features(draw)
    save(spark, "ml.churn_labels", labels, f"{QUESTIONS}, no_order_28 INT")
    save(spark, "ml.customer_features", features, FEATURES)
    wanted = ("as_of", "training_set", "version", "at_version", "apart")
    names = run_cells("04", defining=wanted, spark=spark, F=F, pd=pd)
    tables_read = ("ml.churn_labels", "ml.customer_features")
    recorded = {name: names["version"](name) for name in tables_read}

    def made(labels: DataFrame, features: DataFrame) -> pd.DataFrame:
        asked = labels.select("customer_id", "cutoff")
        return names["training_set"](labels, names["as_of"](asked, features, 14)).toPandas()

    trained = made(spark.table("ml.churn_labels"), spark.table("ml.customer_features"))
    early = [row._replace(created_at=row.as_of, orders_28=-1) for row in features[:20]]
    spark.createDataFrame(early, FEATURES).write.mode("append").saveAsTable("ml.customer_features")
    spark.sql("DELETE FROM ml.customer_features WHERE customer_id = 'C3'")
    spark.sql("UPDATE ml.churn_labels SET no_order_28 = 1 - no_order_28 WHERE customer_id = 'C5'")

    rebuilt = made(*(names["at_version"](name, recorded) for name in tables_read))
    columns = [*trained.columns]
    assert len(trained) > 50
    assert names["apart"](rebuilt, trained, columns) == (0, 0)
    today = made(spark.table("ml.churn_labels"), spark.table("ml.customer_features"))
    assert names["apart"](today, trained, columns) != (0, 0)


def test_apart_counts_repeats_and_missing_values(run_cells: RunCells) -> None:
    apart = run_cells("04", defining=("apart",), pd=pd)["apart"]
    rows = pd.DataFrame({"key": ["a", "b", "b"], "value": [1.0, None, None]})
    assert apart(rows, rows.sample(frac=1, random_state=1), ["key", "value"]) == (0, 0)
    assert apart(rows, rows.iloc[:2], ["key", "value"]) == (1, 0)
    assert apart(rows.iloc[:1], rows, ["key", "value"]) == (0, 2)
    assert apart(rows, rows.fillna(0), ["key", "value"]) == (2, 2)
    assert apart(rows, rows.fillna(0), ["key"]) == (0, 0)


# The report that leaks ---------------------------------------------------------------------------


def test_the_gate_refuses_the_report_and_passes_its_fix(spark: SparkSession, run_cells: RunCells) -> None:
    wanted = ("leaks", "require_no_leak", "from_report", "known_ever")
    names = run_cells("04", defining=wanted, spark=spark, F=F)
    noon = datetime(2025, 9, 18)
    rows = [("O1", "C1", noon - 9 * DAY, noon - 3 * DAY), ("O2", "C1", noon - 9 * DAY, noon)]
    rows += [("O3", "C1", noon - DAY, noon + MICROSECOND), ("O4", "C2", noon + DAY, noon + 4 * DAY)]
    placed = spark.createDataFrame(rows, PLACED.removesuffix(", total_cents INT"))
    report = spark.createDataFrame(
        [("C1", 3, noon + MICROSECOND)], "customer_id STRING, orders_ever BIGINT, arrived_at TIMESTAMP"
    )
    with pytest.raises(ValueError, match=r"^hiding the future changes orders_ever$"):
        names["require_no_leak"](names["from_report"], {"report": report}, "2025-09-18")
    names["require_no_leak"](names["known_ever"], {"orders": placed}, "2025-09-18")
    found = names["known_ever"]({"orders": placed}, "2025-09-18").collect()
    assert [tuple(row) for row in found] == [("C1", 2)]


def test_the_auc_is_that_of_scikit_learn(run_cells: RunCells) -> None:
    auc = run_cells("04", defining=("auc",), pd=pd)["auc"]
    draw = np.random.default_rng(4)
    for share in (0.1, 0.5):
        label = (draw.random(400) < share).astype(int)
        scores = np.round(draw.random(400) + 0.3 * label, 1)  # with many ties
        assert auc(label, scores) == pytest.approx(roc_auc_score(label, scores))


def test_the_interval_covers_no_difference_between_equal_models(run_cells: RunCells) -> None:
    names = run_cells("04", defining=("auc", "interval"), pd=pd, np=np)
    draw = np.random.default_rng(5)
    label = (draw.random(600) < 0.4).astype(int)
    good = draw.random(600) + 0.8 * label

    def interval(one: Any, other: Any) -> list[float]:
        return [float(end) for end in names["interval"](label, one, other).split(" to ")]

    low, high = interval(good + 0.01 * draw.random(600), good)
    assert low <= 0.01
    assert high >= -0.01
    low, high = interval(draw.random(600), good)
    assert low < high < 0


# A feature store ---------------------------------------------------------------------------------

COUNTS = ("orders_84", "trend", "spend_84_cents", "undone_84", "visits_28", "account_days", "consent")


def test_the_feature_store_equals_known_at(spark: SparkSession, run_cells: RunCells, tmp_path: Path) -> None:
    for module in ("spark", "spark_source"):  # their import has every warning shown, so it comes first
        importlib.import_module(f"feast.infra.offline_stores.contrib.spark_offline_store.{module}")
    warnings.filterwarnings("ignore", ".*experimental feature", RuntimeWarning)
    chapter = parse(contract.find("04"))
    for (
        cell
    ) in chapter.cells:  # Feast keeps the source of a function, which a notebook has, and a test has not
        name = f"{chapter.where}:{cell.line}"
        linecache.cache[name] = (len(cell.source), None, cell.source.splitlines(keepends=True), name)
    draw = random.Random(44)
    questions, features = some_questions(draw), some_features(draw)
    more = [f"orders_28 + {place} AS {name}" for place, name in enumerate(COUNTS, 1)]
    more += ["as_of - make_dt_interval(0, orders_28) AS last_order_at", "orders_28 / 8 AS gap_days"]
    frame = spark.createDataFrame(features, FEATURES).selectExpr("*", *more)
    frame.write.mode("overwrite").option("overwriteSchema", True).saveAsTable("ml.customer_features")
    names = run_cells(
        "04",
        defining=(
            *("as_of", "store", "COUNTS", "KINDS", "customer", "source", "view", "at_request"),
            *("request", "service", "from_store"),
        ),
        medallion=SimpleNamespace(home=lambda: tmp_path),
        spark=spark,
        F=F,
        pd=pd,
        found=spark.createDataFrame([], QUESTIONS),
        questions=spark.createDataFrame(questions, QUESTIONS),
    )
    assert (tmp_path / "feast" / "registry.db").exists()
    assert names["service"].owner
    columns = ["customer_id", "cutoff", *(field.name for field in names["view"].features)]
    assert {"orders_28", *COUNTS, "last_order_at", "gap_days"} == set(columns[2:])

    def answers(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
        plain = frame[columns].astype(object).where(frame[columns].notna(), None)
        return sorted(plain.itertuples(index=False, name=None), key=lambda row: (row[0], row[1]))

    table = spark.table("ml.customer_features")
    by_hand = answers(names["as_of"](names["questions"], table, 14).toPandas())
    assert [row[:2] for row in by_hand] == questions
    careful = names["from_store"](names["questions"], filter_by_created_timestamp=True)
    assert answers(careful) == by_hand
    derived = names["at_request"](careful.assign(asked_at=careful["cutoff"]))
    pd.testing.assert_frame_equal(careful[["days_since", "overdue"]], derived)

    without = answers(names["from_store"](names["questions"]))
    place = columns.index("orders_28")
    expected = [newest(question, features, 14, created=False) for question in questions]
    assert [row[place] for row in without] == [row.orders_28 if row else None for row in expected]
    assert sum(one != other for one, other in zip(without, by_hand, strict=True)) > 10


# Features of a payment ---------------------------------------------------------------------------


class Payment(NamedTuple):
    payment_id: str
    customer_id: str
    card_id: str | None
    device_id: str
    amount_cents: int
    status: str
    paid_at: datetime
    lat: float
    lon: float


PAYMENTS = (
    "payment_id STRING, customer_id STRING, card_id STRING, device_id STRING, amount_cents INT, "
    "status STRING, paid_at TIMESTAMP, lat DOUBLE, lon DOUBLE"
)


def some_payments(draw: random.Random) -> list[Payment]:
    """Return payments at random distances, many of exactly a window, a microsecond more, or none."""
    rows: list[Payment] = []
    for number in range(300):
        near = (timedelta(), MICROSECOND, HOUR, DAY, 30 * DAY, draw.uniform(0, 90) * DAY)
        distance = draw.choice(near) + draw.choice((0, 0, 1)) * MICROSECOND
        at = (draw.choice(rows).paid_at if rows else START) + distance
        who, card, device = (f"{kind}{draw.randrange(6)}" for kind in "CKD")
        rows.append(
            Payment(
                f"P{number:03}",
                who,
                card if draw.random() < 0.8 else None,
                device,
                draw.randrange(100, 9_999),
                draw.choice(("authorised", "authorised", "declined")),
                at if at < START + 120 * DAY else START + draw.randrange(86_400) * timedelta(seconds=1),
                draw.uniform(47, 55),
                draw.uniform(6, 15),
            )
        )
    return rows


def before(payment: Payment, rows: list[Payment], span: timedelta) -> list[Payment]:
    """Return the payments of the same device in the span before this one."""
    earliest = payment.paid_at - span
    return [r for r in rows if r.device_id == payment.device_id and earliest <= r.paid_at < payment.paid_at]


PAYMENT_CELLS = ("payments", "attempts_before", "users", "SHARED", "known_users", "WINDOWS", "HALF", "behind")


def payment_cells(spark: SparkSession, run_cells: RunCells) -> dict[str, Any]:
    """Return the chapter's names with the features of the payments in the table."""
    spark.catalog.clearCache()  # the chapter caches the payments
    return run_cells("04", defining=PAYMENT_CELLS, spark=spark, F=F, Window=Window)


def test_payment_features_leave_out_the_event_and_not_its_users(
    spark: SparkSession, run_cells: RunCells
) -> None:
    rows = some_payments(random.Random(45))
    shuffled = random.Random(0).sample(rows, len(rows))
    save(spark, "silver.payments", shuffled, PAYMENTS)
    behind = payment_cells(spark, run_cells)["behind"]
    counts = ("attempts_1h", "declined_1h", "cards_24h", "device_customers_30d", "card_customers_30d")
    found = behind.select("payment_id", *counts, "earlier").orderBy("payment_id").collect()
    expected = []
    for row in rows:
        hour, month = before(row, rows, HOUR), before(row, rows, 30 * DAY)
        on_card = {row.customer_id} | {
            other.customer_id
            for other in rows
            if other.card_id == row.card_id and row.paid_at - 30 * DAY <= other.paid_at < row.paid_at
        }
        expected.append(
            (
                row.payment_id,
                len(hour),
                sum(other.status == "declined" for other in hour),
                len({other.card_id for other in [row, *before(row, rows, DAY)]} - {None}),
                len({other.customer_id for other in [row, *month]}),
                len(on_card) if row.card_id else 0,
                sum(other.customer_id == row.customer_id and other.paid_at < row.paid_at for other in rows),
            )
        )
    assert list(map(tuple, found)) == expected
    assert all(len(set(column)) >= 3 for column in list(zip(*expected, strict=True))[1:])
    together = [(row.device_id, row.paid_at) for row in rows]
    assert len(set(together)) < len(together), "two of a device at the same microsecond"
    edges = {(one[0], (one[1] - other[1])) for one in together for other in together if one[0] == other[0]}
    assert {HOUR, HOUR + MICROSECOND, DAY, 30 * DAY} <= {distance for _, distance in edges}


def km_between(one: Payment, other: Payment) -> float:
    """Return the way between two payments on a globe of 6,371 km, by the angle between their places."""
    a, b = ((math.radians(p.lat), math.radians(p.lon)) for p in (one, other))
    cosine = math.sin(a[0]) * math.sin(b[0]) + math.cos(a[0]) * math.cos(b[0]) * math.cos(a[1] - b[1])
    return 6371 * math.acos(max(-1.0, min(1.0, cosine)))


def test_a_speed_needs_a_payment_before(spark: SparkSession, run_cells: RunCells) -> None:
    """A first payment has no speed, a step of some metres none either, and a minute is the shortest time."""
    noon = START + timedelta(hours=12)

    def paid(name: str, customer: str, seconds: int, lat: float, lon: float = 10.0) -> Payment:
        at = noon + timedelta(seconds=seconds)
        return Payment(name, customer, "K1", "D1", 500, "authorised", at, lat, lon)

    rows = [paid("P1", "C1", 0, 50.0), paid("P2", "C1", 7200, 52.0), paid("P3", "C1", 7210, 52.001)]
    rows += [
        paid("P4", "C1", 7220, 52.5),
        paid("P5", "C1", 7220 + 3600, 52.5, 12.0),
        paid("P6", "C2", 0, 48.0),
    ]
    save(spark, "silver.payments", rows, PAYMENTS)
    chapter = payment_cells(spark, run_cells)
    found = chapter["behind"].select("payment_id", chapter["speed"]).orderBy("payment_id").collect()
    speeds = [row.km_per_hour for row in found]
    assert (speeds[0], speeds[2], speeds[5]) == (None, 0, None)
    assert speeds[1] == pytest.approx(km_between(rows[0], rows[1]) / 2, abs=0.06)
    assert speeds[3] == pytest.approx(km_between(rows[2], rows[3]) * 60, abs=0.06)
    assert speeds[4] == pytest.approx(km_between(rows[3], rows[4]), abs=0.06)


# The real buyers ---------------------------------------------------------------------------------

CDNOW = "customer_id STRING, purchased_on DATE, quantity INT, amount_cents INT"
END = date(1997, 9, 30)


@cache
def purchases() -> list[tuple[str, date, int, int]]:
    """Return the purchases of the sample, and of three customers who are not in it."""
    rows = []
    for line in medallion.dataset("cdnow/CDNOW_sample.txt").read_text(encoding="ascii").splitlines():
        customer, _, day, quantity, dollars = line.split()
        cents = round(float(dollars) * 100)
        rows.append((customer, datetime.strptime(day, "%Y%m%d").date(), int(quantity), cents))
    edge = [("99997", date(1997, 3, 1), 1, 500), ("99997", END, 1, 700), ("99997", END, 2, 100)]
    after = [("99998", date(1997, 1, 5), 1, 500), ("99998", END + DAY, 1, 700)]
    return [*rows, *edge, *after, ("99999", date(1997, 2, 1), 1, 900)]


def weeks(days: timedelta) -> float:
    return days.days / 7


def expected_rfm() -> dict[str, tuple[Any, ...]]:
    """Return x, t_x, T, the mean of later days in cents, and the days after the end, by customer."""
    by_customer: dict[str, dict[date, int]] = {}
    for customer, day, _, cents in purchases():
        days = by_customer.setdefault(customer, {})
        days[day] = days.get(day, 0) + cents
    expected = {}
    for customer, days in by_customer.items():
        first, *more = sorted(days)
        again = [day for day in more if day <= END]
        mean = sum(days[day] for day in again) / len(again) if again else None
        last = again[-1] if again else first
        expected[customer] = len(again), weeks(last - first), weeks(END - first), mean, len(more) - len(again)
    return expected


def section_04(heading: str, **given: Any) -> dict[str, Any]:
    """Run the cells of a section that are no exercise, and return their names."""
    names: dict[str, Any] = {"__name__": "chapter", **given}
    within = run = False
    for cell in parse(contract.find("04")).cells:
        if cell.kind == "markdown" and cell.source.startswith("## "):
            within = cell.source.splitlines()[0][3:] == heading
        if within and cell.kind == "code" and not cell.role:
            exec(compile(cell.source, f"chapter 04:{cell.line}", "exec"), names)
            run = True
    assert run, f"chapter 04 has no section {heading!r} with code"
    return names


def test_cdnow_rfm_equals_plain_python(spark: SparkSession, run_cells: RunCells) -> None:
    save(spark, "silver.cdnow", purchases(), CDNOW)
    heading = "RFM of real buyers: x, t_x and T for CDNOW"
    rfm = run_cells("04", defining=("rfm",), F=F, Window=Window)["rfm"]
    assert len(section_04(heading, spark=spark, F=F, medallion=medallion, rfm=rfm)["chosen"]) == 2_357
    rows = spark.table("ml.cdnow_rfm").collect()
    expected = expected_rfm()
    found = {row.customer_id: (row.x, row.t_x, row.T, row.mean_cents, row.holdout) for row in rows}
    assert found == expected
    assert len(rows) == len(expected) == 2_360
    assert {row.customer_id for row in rows if not row.sampled} == {"99997", "99998", "99999"}
    assert sum(row.x > 0 for row in rows if row.sampled) == 946
    assert found["99997"][0] == 1
    assert found["99998"] == (0, 0, weeks(END - date(1997, 1, 5)), None, 1)
