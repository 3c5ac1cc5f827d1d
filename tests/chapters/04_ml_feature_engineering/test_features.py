"""What chapter 04 promises, on other data than the chapter's: its own cells over small, random tables."""

import importlib
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

import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

import medallion
from medallion import contract
from medallion.lakehouse import tables
from press.source.chapter import parse

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
        wanted = ["order_features", "RECENT", "events", "visit_features", "account_features"]
        wanted += ["customer_features", "careless"]
        return self.run_cells("04", defining=wanted, spark=self.spark, F=F)

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
    build, events = names["customer_features"], names["events"]
    built = {
        "in sight": looker.own(build(looker.moments, events)),
        "unbound": looker.own(build(looker.unbound, events)),
        "careless": looker.own(names["careless"](looker.moments, events)),
    }
    for name, hide in {"arrived": what_had_arrived, "happened": what_had_happened}.items():
        names = looker.show(hide)
        built[name] = looker.own(names["customer_features"](looker.moments, names["events"]))
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


def test_known_at_equals_plain_python(spark: SparkSession, run_cells: RunCells) -> None:
    draw = random.Random(43)
    questions, features = some_questions(draw), some_features(draw)
    known_at = run_cells("04", defining=("known_at", "NEWEST"), spark=spark)["known_at"]
    twice = features + draw.sample(features, 30)  # the whole row again, as an append that was repeated
    draw.shuffle(twice)
    asked = spark.createDataFrame(questions, QUESTIONS)
    rows = spark.createDataFrame(twice, FEATURES)
    # A TTL of no days lets only the moment itself count
    parts = [known_at(asked, rows, days).withColumn("days", F.lit(days)) for days in (0, 7, 14)]
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


# A feature store ---------------------------------------------------------------------------------

COUNTS = ("orders_84", "trend", "spend_84_cents", "undone_84", "visits_28", "account_days", "consent")


def test_the_feature_store_equals_known_at(spark: SparkSession, run_cells: RunCells, tmp_path: Path) -> None:
    for module in ("spark", "spark_source"):  # their import has every warning shown, so it comes first
        importlib.import_module(f"feast.infra.offline_stores.contrib.spark_offline_store.{module}")
    warnings.filterwarnings("ignore", ".*experimental feature", RuntimeWarning)
    draw = random.Random(44)
    questions, features = some_questions(draw), some_features(draw)
    more = [f"orders_28 + {place} AS {name}" for place, name in enumerate(COUNTS, 1)]
    more += ["as_of - make_dt_interval(0, orders_28) AS last_order_at", "orders_28 / 8 AS gap_days"]
    frame = spark.createDataFrame(features, FEATURES).selectExpr("*", *more)
    frame.write.saveAsTable("ml.customer_features")
    names = run_cells(
        "04",
        defining=("NEWEST", "store", "COUNTS", "view", "from_store"),
        medallion=SimpleNamespace(home=lambda: tmp_path),
        spark=spark,
        questions=spark.createDataFrame(questions, QUESTIONS),
    )
    assert (tmp_path / "feast" / "registry.db").exists()
    columns = ["customer_id", "cutoff", *(field.name for field in names["view"].features)]
    assert {"orders_28", *COUNTS, "last_order_at", "gap_days"} == set(columns[2:])

    def answers(frame: DataFrame) -> list[tuple[Any, ...]]:
        rows = map(tuple, frame.select(columns).collect())
        return sorted(rows, key=lambda row: (row[0], row[1]))

    table = spark.table("ml.customer_features")
    by_hand = answers(names["known_at"](names["questions"], table, 14))
    assert [row[:2] for row in by_hand] == questions
    assert answers(names["from_store"](filter_by_created_timestamp=True)) == by_hand

    without = answers(names["from_store"]())
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


def test_payment_features_leave_the_event_out(spark: SparkSession, run_cells: RunCells) -> None:
    rows = some_payments(random.Random(45))
    shuffled = random.Random(0).sample(rows, len(rows))
    save(spark, "silver.payments", shuffled, PAYMENTS)
    behind = run_cells("04", defining=("WINDOWS", "behind"), spark=spark, F=F)["behind"]
    counts = ("attempts_1h", "declined_1h", "cards_24h", "device_customers_30d", "card_customers_30d")
    found = behind.select("payment_id", *counts, "earlier").orderBy("payment_id").collect()
    expected = []
    for row in rows:
        hour, month = before(row, rows, HOUR), before(row, rows, 30 * DAY)
        on_card = {
            other.customer_id
            for other in rows
            if other.card_id == row.card_id and row.paid_at - 30 * DAY <= other.paid_at < row.paid_at
        }
        expected.append(
            (
                row.payment_id,
                len(hour),
                sum(other.status == "declined" for other in hour),
                len({other.card_id for other in before(row, rows, DAY)} - {None}),
                len({other.customer_id for other in month}),
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
    chapter = run_cells("04", defining=("WINDOWS", "behind", "speed"), spark=spark, F=F)
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
    assert len(section_04(heading, spark=spark, F=F, medallion=medallion)["chosen"]) == 2_357
    rows = spark.table("ml.cdnow_rfm").collect()
    expected = expected_rfm()
    found = {row.customer_id: (row.x, row.t_x, row.T, row.mean_cents, row.holdout) for row in rows}
    assert found == expected
    assert len(rows) == len(expected) == 2_360
    assert {row.customer_id for row in rows if not row.sampled} == {"99997", "99998", "99999"}
    assert sum(row.x > 0 for row in rows if row.sampled) == 946
    assert found["99997"][0] == 1
    assert found["99998"] == (0, 0, weeks(END - date(1997, 1, 5)), None, 1)

    rfm = run_cells("04", defining=("rfm",), F=F, Window=Window)["rfm"]
    answers = rfm(spark.table("silver.cdnow"), "1997-09-30").collect()
    assert {row.customer_id: (row.x, row.t_x, row.T) for row in answers} == {
        customer: row[:3] for customer, row in expected.items()
    }
