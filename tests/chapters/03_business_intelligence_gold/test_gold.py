"""What chapter 03 promises, on other data than the chapter's: its own cells over a small, random Silver."""

import json
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from medallion import contract
from medallion.lakehouse import tables
from medallion.spark import tracebacks
from press.source.chapter import Cell, parse

# The sections whose cells make the tables that are tested here
SECTIONS = (
    "Star schema and grain",
    "The date dimension",
    "Surrogate keys: a number or a hash",
    "Slowly changing dimension, type 2: the customers",
    "Point-in-time join: the version that was valid",
    "Inferred members: the fact comes before its dimension",
    "Write, audit, publish: the fact table",
    "Late-arriving dimension changes",
    "Additive, semi-additive, and non-additive measures",
    "Accumulating snapshot and role-playing dimension",
    "KPIs with a definition",
    "SQL scripting: close the months",
    "Incremental Gold from the change data feed",
    "Reconciliation to the cent",
)
ORDER = (
    "order_id STRING, customer_id STRING, channel STRING, status STRING, ordered_at TIMESTAMP, "
    "locker_id STRING, total_cents INT, delivery_slot STRING, lines ARRAY<STRUCT<line_no: INT, "
    "product_id: STRING, quantity: INT, unit_price_cents: INT>>, sequence BIGINT, committed_at TIMESTAMP"
)
CUSTOMER = (
    "customer_id STRING, first_name STRING, last_name STRING, email STRING, city STRING, postcode STRING, "
    "signup_date DATE, birth_year INT, marketing_consent BOOLEAN, valid_from TIMESTAMP, valid_to TIMESTAMP, "
    "is_current BOOLEAN"
)
PRODUCT = (
    "product_id STRING, name STRING, category STRING, price_cents INT, organic BOOLEAN, chilled BOOLEAN, "
    "seller_id STRING, seller_name STRING"
)
# What the chapter's start asks for and the sections above do not read
OTHERS = {
    "web_events": "session_id STRING, event_time TIMESTAMP, type STRING",
    "payments": "payment_id STRING, order_id STRING, method STRING, status STRING, paid_at TIMESTAMP",
    "cdnow": "customer_id STRING, purchased_on DATE, quantity INT, amount_cents INT",
}
EVENT = "order_id STRING, op STRING, channel STRING, status STRING, valid_from TIMESTAMP, valid_to TIMESTAMP"
pytestmark = pytest.mark.usefixtures("interpreted")

# Orders that exist, by id: customer, channel, status, moment, lines as (product, quantity, price)
Shop = dict[str, tuple[str, str, str, datetime, tuple[tuple[str, int, int], ...]]]


def moment(draw: random.Random) -> datetime:
    """Return a moment of the half-year; one in six is the first or the last of its day."""
    day = datetime(2025, 7, 1, tzinfo=UTC) + timedelta(days=draw.randrange(182))
    edge = draw.choice((timedelta(0), timedelta(days=1, microseconds=-1)))
    return day + (edge if draw.random() < 1 / 6 else timedelta(seconds=draw.randrange(86_400)))


def some_order(draw: random.Random) -> tuple[str, str, str, datetime, tuple[tuple[str, int, int], ...]]:
    lines = tuple(
        (f"P000{draw.randrange(1, 6)}", draw.randrange(1, 4), draw.randrange(1, 999))
        for _ in range(draw.randrange(1, 4))
    )
    status = draw.choice(("placed", "packed", "delivered", "delivered", "cancelled", "returned"))
    channel = draw.choice(("web", "app"))
    return f"C{draw.randrange(1, 13):06}", channel, status, moment(draw), lines


def as_row(
    name: str, order: tuple[str, str, str, datetime, tuple[tuple[str, int, int], ...]]
) -> tuple[Any, ...]:
    customer, channel, status, at, lines = order
    total = sum(quantity * price for _, quantity, price in lines)
    numbered = [(number, *line) for number, line in enumerate(lines, 1)]
    return name, customer, channel, status, at, None, total, None, numbered, 1, at


def change(spark: SparkSession, shop: Shop, draw: random.Random, count: int) -> None:
    """Change `shop` at random, and silver.orders with it, in one commit."""
    changed: dict[str, bool] = {}
    for _ in range(count):
        name = f"O{draw.randrange(60):03}"
        if name in shop and draw.random() < 0.25:
            del shop[name]
        else:
            shop[name] = some_order(draw)
        changed[name] = name in shop
    nobody = some_order(random.Random(0))
    rows = [(*as_row(name, shop.get(name, nobody)), kept) for name, kept in changed.items()]
    spark.createDataFrame(rows, f"{ORDER}, kept BOOLEAN").createOrReplaceTempView("changed")
    spark.sql("""
        MERGE INTO silver.orders AS t USING changed AS s ON t.order_id = s.order_id
        WHEN MATCHED AND NOT s.kept THEN DELETE
        WHEN MATCHED THEN UPDATE SET *
        WHEN NOT MATCHED AND s.kept THEN INSERT *
    """).collect()


def new_orders(spark: SparkSession) -> None:
    """Make silver.orders anew, without a row, and forget what was made of it."""
    for table in ("silver.orders", "gold.daily_sales"):
        spark.sql(f"DROP TABLE IF EXISTS {table}")
    shutil.rmtree(tables.checkpoints("03"), ignore_errors=True)
    spark.sql(f"CREATE TABLE silver.orders ({ORDER}) TBLPROPERTIES (delta.enableChangeDataFeed = true)")


def history(draw: random.Random) -> list[tuple[Any, ...]]:
    """Return versions of twelve customers; those from 9 on are not in the first snapshot."""
    rows = []
    for number in range(1, 13):
        first = 7 if number < 9 else draw.choice((8, 9))
        months = [first, *sorted(draw.sample(range(first + 1, 13), draw.randrange(4)))]
        ends = [*(datetime(2025, month, 1, tzinfo=UTC) for month in months[1:]), None]
        for month, end in zip(months, ends, strict=True):
            person = (f"C{number:06}", "Ada", "Byron", None, draw.choice(("Kiel", "Bremen")), "24103")
            more = (date(2025, 6, 1), 1990, True, datetime(2025, month, 1, tzinfo=UTC), end, end is None)
            rows.append((*person, *more))
    return rows


def events(draw: random.Random, shop: Shop) -> list[tuple[Any, ...]]:
    """Return the events of the orders of a shop, and of two that are deleted."""
    rows: list[tuple[Any, ...]] = []
    for name in [*shop, "O900", "O901"]:
        at = datetime(2025, 12, 1, tzinfo=UTC) + timedelta(hours=draw.randrange(24 * 25))
        states = [("c", "placed"), ("u", "packed"), ("u", "delivered"), ("u", "returned")]
        states = states[: draw.randrange(1, 5)] + [("d", None)] * (name not in shop)
        times = [at]
        for _ in states[1:]:
            at += timedelta(hours=draw.choice((1, 30, 100)))
            times.append(at)
        ends = [*times[1:], None]
        channel = draw.choice(("web", "app"))
        rows += [
            (name, op, channel if op != "d" else None, status, begin, end)
            for (op, status), begin, end in zip(states, times, ends, strict=True)
        ]
    return rows


@pytest.fixture(scope="module")
def silver(spark: SparkSession) -> Iterator[None]:
    """The Silver tables that the chapter reads; they and the Gold tables are gone after the module."""
    draw = random.Random(3)
    shop: Shop = {}
    new_orders(spark)
    for _ in range(3):
        change(spark, shop, draw, 60)
    spark.sql("""
        SELECT order_id, line.line_no, line.product_id, line.quantity, line.unit_price_cents
        FROM silver.orders LATERAL VIEW explode(lines) AS line
    """).write.saveAsTable("silver.order_lines")
    spark.createDataFrame(history(draw), CUSTOMER).write.saveAsTable("silver.customers_history")
    catalogue = [
        (f"P000{n}", f"Tea {n}", "drinks", 100 * n, True, False, "S1", "Tea & Co") for n in range(1, 6)
    ]
    spark.createDataFrame(catalogue, PRODUCT).write.saveAsTable("silver.products")
    spark.createDataFrame(events(draw, shop), EVENT).write.saveAsTable("silver.orders_history")
    for name, schema in OTHERS.items():
        spark.createDataFrame([], schema).write.saveAsTable(f"silver.{name}")
    yield
    for table in tables.present():
        if table.startswith(("silver.", "gold.")):
            spark.sql(f"DROP TABLE {table}")
    shutil.rmtree(tables.checkpoints("03"), ignore_errors=True)


def cells() -> list[Cell]:
    """Return the code cells of the sections, and the setup cells, in the chapter's order."""
    found, section = [], ""
    for cell in parse(contract.find("03")).cells:
        if cell.kind == "markdown" and cell.source.startswith("## "):
            section = cell.source.splitlines()[0][3:]
        wanted = section in SECTIONS and cell.role in ("", "predict", "solution")
        if cell.kind == "code" and (cell.role == "setup" or wanted):
            found.append(cell)
    return found


@pytest.fixture(scope="module")
def gold(silver: None) -> dict[str, Any]:
    """The names of the chapter after the cells of the sections have run over the small Silver."""
    names: dict[str, Any] = {"__name__": "chapter"}
    for cell in cells():
        exec(compile(cell.source, f"chapter 03:{cell.line}", "exec"), names)
    return names


def sorted_rows(frame: DataFrame) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in frame.collect()), key=str)


def test_every_section_is_there() -> None:
    headings = {
        cell.source.splitlines()[0][3:]
        for cell in parse(contract.find("03")).cells
        if cell.kind == "markdown" and cell.source.startswith("## ")
    }
    assert set(SECTIONS) <= headings


# The dimension of customers ----------------------------------------------------------------------


def seams(gold: dict[str, Any], dimension: DataFrame) -> int:
    return int(gold["broken"](dimension).count())


def loaded(gold: dict[str, Any]) -> None:
    """Load the dimension with all snapshots, by the chapter's own statement."""
    gold["members"]("2025-12-31").createOrReplaceTempView("known")
    gold["spark"].sql(gold["COMPLETE"]).collect()


SEAM = ("valid_from", "valid_to", "is_current")


def test_intervals_neither_overlap_nor_leave_gaps(spark: SparkSession, gold: dict[str, Any]) -> None:
    # One query for the dimension and for what the snapshots up to each month give
    states = {month: gold["members"](f"2025-{month:02}-01") for month in range(7, 13)}
    states[0] = spark.table("gold.dim_customer")
    who = F.coalesce("customer_id", F.lit("nobody"))
    frames = [
        state.select(F.concat(F.lit(f"{month}/"), who).alias("customer_id"), *SEAM)
        for month, state in states.items()
    ]
    histories = reduce(DataFrame.unionByName, frames).cache()
    assert seams(gold, histories) == 0
    current = histories.groupBy("customer_id").agg(F.count_if("is_current").alias("current"))
    found = {(row.customer_id.split("/")[0], row.current) for row in current.collect()}
    histories.unpersist()
    assert {month for month, _ in found} == {str(month) for month in states}
    assert {current for _, current in found} == {1}


@pytest.mark.parametrize("days", [1, -1])
def test_an_overlap_and_a_gap_are_found(spark: SparkSession, gold: dict[str, Any], days: int) -> None:
    moved = f"valid_to + make_dt_interval({days})"
    assert seams(gold, spark.table("gold.dim_customer").withColumn("valid_to", F.expr(moved))) > 0


def test_a_late_customer_is_completed_under_the_same_key(spark: SparkSession, gold: dict[str, Any]) -> None:
    """The load in steps, with inferred members between, gives what one load at the end would give."""
    known = gold["members"]("2025-12-31")
    dimension = spark.table("gold.dim_customer").where("customer_key <> -1")
    assert sorted_rows(dimension) == sorted_rows(known.select(dimension.columns))
    late = known.where("known_from > '2025-07-31' AND valid_from < '2000-01-01'")
    as_inferred = late.selectExpr("customer_key = xxhash64(customer_id, 0L)").collect()
    assert [row[0] for row in as_inferred] == [True] * 4, "customers 9 to 12 are in no snapshot of July"


def test_keys_and_days_do_not_depend_on_the_time_zone(spark: SparkSession, gold: dict[str, Any]) -> None:
    def found() -> list[list[tuple[Any, ...]]]:
        return [
            sorted_rows(frame)
            for frame in (
                gold["members"]("2025-10-01").select("customer_key", "customer_id", "city"),
                spark.table("silver.orders").selectExpr("order_id", gold["DATE_KEY"]),
                spark.sql(gold["EVENINGS"]),
                gold["life"].selectExpr("order_id", *gold["keys"]),
            )
        ]

    here = found()
    assert all(here)
    for zone in ("America/New_York", "Asia/Tokyo"):
        spark.conf.set("spark.sql.session.timeZone", zone)
        try:
            assert found() == here, zone
        finally:
            spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_a_corrected_attribute_reaches_the_dimension(spark: SparkSession, gold: dict[str, Any]) -> None:
    """A city that Silver corrects in the same interval is corrected in Gold."""
    before = sorted_rows(spark.table("gold.dim_customer"))
    corrected = gold["members"]("2025-12-31").withColumn("city", F.lit("Ulm"))
    try:
        corrected.createOrReplaceTempView("known")
        spark.sql(gold["COMPLETE"]).collect()
        cities = spark.table("gold.dim_customer").where("customer_key <> -1").select("city").distinct()
        assert [row.city for row in cities.collect()] == ["Ulm"]
    finally:
        loaded(gold)
    assert sorted_rows(spark.table("gold.dim_customer")) == before


def test_an_unknown_customer_is_not_a_loyal_one(spark: SparkSession, gold: dict[str, Any]) -> None:
    """Two orders of nobody raise neither the customers nor the repeat rate."""
    schema = "month DATE, customer_id STRING, nth INT, revenue_cents BIGINT"
    month = date(2025, 7, 1)
    rows = [(month, "C1", 1, 5), (month, "C1", 2, 5), (month, "C2", 1, 5), (month, None, 1, 5)]
    orders = spark.createDataFrame([*rows, (month, None, 2, 5)], schema)
    formulas = {name: F.expr(formula).alias(name) for name, (_, formula) in gold["KPIS"].items()}
    found = orders.groupBy("month").agg(*formulas.values()).first()
    assert (found.orders, found.customers, float(found.repeat_rate)) == (5, 2, 0.5)


def test_each_dimension_has_an_unknown_member(spark: SparkSession, gold: dict[str, Any]) -> None:
    assert gold["few"].count() == 3
    keys = [
        spark.table(f"gold.dim_{name}").selectExpr(f"'{name}' AS name", f"CAST({name}_key AS BIGINT) AS key")
        for name in ("date", "product", "customer")
    ]
    found = reduce(DataFrame.union, keys).where("key = -1").collect()
    assert sorted(row.name for row in found) == ["customer", "date", "product"]


def test_the_calendar_has_whole_years(spark: SparkSession, gold: dict[str, Any]) -> None:
    assert gold["days"].count() == 3
    found = spark.table("gold.dim_date").where("day IS NOT NULL")
    first, last, rows = found.agg(F.min("day"), F.max("day"), F.count("*")).first()
    assert (first, last, rows) == (date(2025, 1, 1), date(2026, 12, 31), 730)


def test_a_key_twice_in_the_source_of_the_merge_changes_nothing(
    spark: SparkSession, gold: dict[str, Any]
) -> None:
    before = tables.rows("gold.dim_customer"), DeltaTable(str(tables.folder("gold.dim_customer"))).version()
    known = gold["members"]("2025-12-31").withColumn("known_from", F.expr("known_from + INTERVAL 1 DAY"))
    known.unionByName(known.limit(1)).createOrReplaceTempView("known")
    with pytest.raises(Exception) as refused:  # Delta's error has no Python class of its own
        spark.sql(gold["COMPLETE"]).collect()
    assert tracebacks.reason(refused.value) == "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE"
    assert before == (
        tables.rows("gold.dim_customer"),
        DeltaTable(str(tables.folder("gold.dim_customer"))).version(),
    )


@pytest.mark.parametrize("missing", ["2025-07-01", "2025-09-01"])
def test_a_late_snapshot_gives_what_one_in_time_gives(
    spark: SparkSession, gold: dict[str, Any], missing: str
) -> None:
    """Without one snapshot, then with it: dimension and facts are those of a load that had all."""
    dimension, facts = (sorted_rows(spark.table(name)) for name in ("gold.dim_customer", "gold.fact_sales"))
    version = DeltaTable(str(tables.folder("silver.customers_history"))).version()
    orders = spark.table("silver.orders")
    # What the snapshot would have shown is seen in the next one, unless that has news of its own
    spark.sql(f"""
        CREATE OR REPLACE TEMPORARY VIEW without AS SELECT * EXCEPT (valid_from, following),
            if(valid_from = '{missing}', add_months(valid_from, 1)::timestamp, valid_from) AS valid_from
        FROM (SELECT *, lead(valid_from) OVER (PARTITION BY customer_id ORDER BY valid_from) AS following
              FROM silver.customers_history)
        WHERE NOT (valid_from = '{missing}' AND following <=> add_months(valid_from, 1)::timestamp)
    """)
    rows = spark.table("without").select(spark.table("silver.customers_history").columns).collect()
    try:
        spark.createDataFrame(rows, CUSTOMER).write.mode("overwrite").saveAsTable("silver.customers_history")
        loaded(gold)
        gold["repoint"](orders).collect()
        assert sorted_rows(spark.table("gold.dim_customer")) != dimension
    finally:
        spark.sql(f"RESTORE TABLE silver.customers_history TO VERSION AS OF {version}")
    loaded(gold)
    assert sorted_rows(spark.table("gold.dim_customer")) == dimension
    gold["repoint"](orders).collect()
    assert sorted_rows(spark.table("gold.fact_sales")) == facts
    assert gold["repoint"](orders).first().num_affected_rows == 0


def test_without_repointing_facts_keep_the_wrong_version(spark: SparkSession, gold: dict[str, Any]) -> None:
    """The facts that the chapter loads before the late snapshots need another key."""
    first = DeltaTable(str(tables.folder("gold.fact_sales")))
    before = spark.read.option("versionAsOf", 0).table("gold.fact_sales")
    assert first.version() > 1
    assert sorted_rows(before) != sorted_rows(spark.table("gold.fact_sales"))


# The fact table ----------------------------------------------------------------------------------


def test_each_line_is_a_fact_with_the_version_of_its_time(spark: SparkSession, gold: dict[str, Any]) -> None:
    assert spark.table("gold.fact_sales").count() == spark.table("silver.order_lines").count() > 50
    wrong = spark.sql("""
        SELECT * FROM gold.fact_sales JOIN silver.orders USING (order_id)
        JOIN gold.dim_customer USING (customer_key)
        WHERE ordered_at < valid_from OR ordered_at >= valid_to
    """)
    assert wrong.count() == 0


DAMAGES: tuple[tuple[dict[str, int | None], str | None], ...] = (
    ({"date_key": 20251230}, None),
    ({"date_key": 20260101}, None),
    ({"date_key": -1, "customer_key": -1, "product_key": -1}, None),
    ({"date_key": 10101}, "date_key"),
    ({"date_key": 99991231}, "date_key"),
    ({"customer_key": None}, "customer_key"),
    ({"product_key": 7}, "product_key"),
    ({"product_key": 7, "date_key": 99991231}, "date_key"),
)


def test_a_fact_without_its_dimension_gets_a_reason(spark: SparkSession, gold: dict[str, Any]) -> None:
    """All damages are judged in one query, each in a line of its own, beside the facts."""
    facts = spark.table("gold.fact_sales")
    row = facts.orderBy("order_id", "line_no").first().asDict()
    numbered = dict(enumerate(DAMAGES, 90))
    rows = [row | damage | {"line_no": line} for line, (damage, _) in numbered.items()]
    bad = spark.createDataFrame([tuple(row[name] for name in facts.columns) for row in rows], facts.schema)
    found = gold["judged"](facts.unionByName(bad)).where("reason IS NOT NULL OR line_no >= 90").collect()
    assert sorted((row.line_no, row.reason) for row in found) == [
        (line, reason) for line, (_, reason) in numbered.items()
    ]


def test_gold_loads_on_the_day_something_new_arrives(spark: SparkSession, gold: dict[str, Any]) -> None:
    """A new customer, product and day, nobody, and an impossible day: what can be loaded is loaded."""
    tomorrow = datetime(2025, 12, 30, 12, tzinfo=UTC)
    new = [
        ("O990", "C999999", tomorrow, "P9999"),
        ("O991", None, tomorrow, None),
        ("O992", "C000001", datetime(9999, 12, 31, tzinfo=UTC), "P0001"),
    ]
    names = ("silver.orders", "silver.order_lines", *(f"gold.{t}" for t in ("dim_customer", "dim_product")))
    versions = {name: DeltaTable(str(tables.folder(name))).version() for name in names}
    lines = spark.table("silver.order_lines")
    orders = [
        (name, who, "web", "placed", at, None, 100, None, [(1, what, 1, 100)], 1, at)
        for name, who, at, what in new
    ]
    try:
        spark.createDataFrame(orders, ORDER).write.mode("append").saveAsTable("silver.orders")
        rows = [(name, 1, what, 1, 100) for name, _, _, what in new]
        spark.createDataFrame(rows, lines.schema).write.mode("append").saveAsTable("silver.order_lines")
        arrived = spark.table("silver.orders")
        for name, known in (("product", spark.table("silver.order_lines")), ("customer", arrived)):
            gold["add_inferred"](name, known)
            assert gold["add_inferred"](name, known).first().num_inserted_rows == 0, "once is enough"
        members = spark.table("gold.dim_customer")
        found = {row.order_id: row for row in gold["judged"](gold["facts_of"](arrived, members)).collect()}
        assert {name: found[name].reason for name, *_ in new} == {
            "O990": None,
            "O991": None,
            "O992": "date_key",
        }
        assert (found["O991"].customer_key, found["O991"].product_key) == (-1, -1)
        assert [row.reason for row in found.values()].count(None) == len(found) - 1
        who = spark.table("gold.dim_customer").where("customer_id = 'C999999'").collect()
        assert [(row.inferred, row.city, row.customer_key) for row in who] == [
            (True, None, found["O990"].customer_key)
        ]
    finally:
        for name, version in versions.items():
            spark.sql(f"RESTORE TABLE {name} TO VERSION AS OF {version}")


def test_what_may_not_be_published_is_refused(spark: SparkSession, gold: dict[str, Any]) -> None:
    staged = gold["judged"](spark.table("gold.fact_sales"))
    cents = staged.agg(F.sum("line_cents")).first()[0]
    assert gold["audit"](staged, cents) is staged
    first = staged.orderBy("order_id", "line_no").limit(1)
    row = first.collect()[0]
    with pytest.raises(ValueError) as refused:  # the message is compared below
        gold["audit"](staged.unionByName(first), cents)
    assert str(refused.value) == f"2 rows have order_id = {row.order_id}, line_no = {row.line_no}"
    with pytest.raises(ValueError, match=f"{cents} cents are staged, and Silver has {cents + 1}"):
        gold["audit"](staged, cents + 1)
    with pytest.raises(ValueError, match=r"100\.0% of the lines have an impossible key"):
        gold["audit"](staged.withColumn("reason", F.lit("date_key")), cents)


def test_the_commit_names_the_version_of_silver(spark: SparkSession, gold: dict[str, Any]) -> None:
    history = spark.sql("DESCRIBE HISTORY gold.fact_sales").where("version = 0").first()
    assert json.loads(history.userMetadata) == gold["sources"]
    assert set(gold["sources"]) == {"silver.orders"}


def test_a_constraint_refuses_a_wrong_amount(spark: SparkSession, gold: dict[str, Any]) -> None:
    assert gold["refused"] == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
    assert spark.table("gold.fact_sales").where("line_cents <> quantity * unit_price_cents").count() == 0


def test_a_constraint_refuses_a_line_of_which_nobody_knows_whether_it_counts(
    spark: SparkSession, gold: dict[str, Any]
) -> None:
    """The status of its order is NULL, and so is `sold`: a filter by it would lose the line."""
    unknown = spark.table("gold.fact_sales").limit(1).withColumn("sold", F.lit(None).cast("boolean"))
    with pytest.raises(Exception) as refused:  # Delta's error has no Python class of its own
        unknown.write.mode("append").saveAsTable("gold.fact_sales")
    assert tracebacks.reason(refused.value) == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"


# Snapshots of Gold -------------------------------------------------------------------------------


def test_a_periodic_snapshot_has_a_row_for_each_day_and_channel(
    spark: SparkSession, gold: dict[str, Any]
) -> None:
    end = datetime(2025, 12, 30)
    expected = {
        (int(f"{date(2025, 7, 1) + timedelta(days=n):%Y%m%d}"), channel): 0
        for n in range(182)
        for channel in ("web", "app")
    }
    for row in spark.table("silver.orders_history").collect():
        if row.status in ("placed", "packed"):
            day = row.valid_from.date()
            while day < (row.valid_to or end).date():
                expected[int(f"{day:%Y%m%d}"), row.channel] += 1
                day += timedelta(days=1)
    found = {(row.date_key, row.channel): row.open_orders for row in gold["open_orders"].collect()}
    assert found == expected
    assert 0 in found.values() and max(found.values()) > 1


def test_an_order_has_a_day_for_each_step_that_happened(spark: SparkSession, gold: dict[str, Any]) -> None:
    assert gold["STEPS"]
    found = {row.order_id: row for row in spark.table("gold.fact_order_life").collect()}
    assert set(found) == {row.order_id for row in spark.table("silver.orders").collect()}
    events = spark.table("silver.orders_history").where("op <> 'd'").collect()
    happened = {(row.order_id, row.status): int(f"{row.valid_from:%Y%m%d}") for row in events}
    for name, row in found.items():
        for step in gold["STEPS"]:
            assert row[f"{step}_date_key"] == happened.get((name, step), -1)


# Numbers -----------------------------------------------------------------------------------------


def test_duckdb_reads_the_same_numbers(spark: SparkSession, gold: dict[str, Any]) -> None:
    import duckdb

    def opened(table: str) -> Any:
        return DeltaTable(str(tables.folder(table))).to_pyarrow_dataset()

    fact_sales, monthly_kpis, daily_sales = map(
        opened, ("gold.fact_sales", "gold.monthly_kpis", "gold.daily_sales")
    )
    queries = {
        "revenue": "SELECT sum(line_cents)::BIGINT FROM {}fact_sales WHERE sold",
        "average order value": "SELECT month, aov_cents, repeat_rate FROM {}monthly_kpis ORDER BY month",
        "revenue by day": "SELECT day, channel, revenue_cents FROM {}daily_sales ORDER BY day, channel",
    }
    assert fact_sales and monthly_kpis and daily_sales  # DuckDB finds them by their names
    for name, query in queries.items():
        with_spark = [tuple(row) for row in spark.sql(query.format("gold.")).collect()]
        assert with_spark == duckdb.sql(query.format("")).fetchall(), name
        assert with_spark


def test_the_script_closes_what_agrees_and_stops_at_what_does_not(
    spark: SparkSession, gold: dict[str, Any]
) -> None:
    months = [row.month for row in spark.table("gold.monthly_kpis").orderBy("month").collect()]
    for wrong, expected in (
        (date(1999, 1, 1), ("closed", len(months))),
        (months[2], ("stopped", 2)),
    ):
        spark.sql(f"DECLARE OR REPLACE VARIABLE wrong = DATE'{wrong}'")
        assert tuple(spark.sql(gold["CLOSE"]).first()) == expected
    spark.table("gold.monthly_kpis").where(F.col("month") != months[1]).createOrReplaceTempView("lost_one")
    spark.sql("DECLARE OR REPLACE VARIABLE wrong = DATE'1999-01-01'")
    a_month_less = gold["CLOSE"].replace("gold.monthly_kpis", "lost_one")
    assert tuple(spark.sql(a_month_less).first()) == ("stopped", 1), "a month that Gold lost"


def test_the_books_agree_by_day(spark: SparkSession, gold: dict[str, Any]) -> None:
    found, damaged = gold["verdict"](gold["by_day"]), gold["verdict"](gold["shifted_cents"])
    assert (found["wrong"], damaged["wrong"]) == (0, 2)
    assert found["daily_cents"] == damaged["daily_cents"] > 0
    books = spark.table("gold.reconciliation")
    assert books.where("silver_cents <> fact_cents OR silver_cents <> daily_cents").count() == 0
    assert books.where("silver_cents > 0").count() > 20


# Maintained incrementally ------------------------------------------------------------------------


def recomputed(spark: SparkSession) -> list[tuple[Any, ...]]:
    return sorted_rows(
        spark.sql("""
            SELECT to_date(ordered_at) AS day, channel, count(*) AS orders,
                   CAST(sum(total_cents) AS BIGINT) AS revenue_cents
            FROM silver.orders WHERE status NOT IN ('cancelled', 'returned') GROUP BY day, channel
        """)
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_incremental_equals_recompute(spark: SparkSession, gold: dict[str, Any], seed: int) -> None:
    """Random commits of random size, taken up at random times, some of them twice."""
    draw = random.Random(seed)
    new_orders(spark)
    names = dict(gold)
    for begins in ("CREATE TABLE IF NOT EXISTS gold.daily_sales", "def keep_daily"):
        source = next(cell.source for cell in cells() if begins in cell.source)
        exec(source.removesuffix("\nkeep_daily()"), names)
    assert names["keep_daily"]() == 0, "no change yet"
    assert spark.table("gold.daily_sales").count() == 0
    shop: Shop = {}
    for _ in range(4):
        change(spark, shop, draw, draw.choice((1, 5, 40)))
        if draw.random() < 0.5:
            names["keep_daily"]()
    names["keep_daily"]()
    assert sorted_rows(spark.table("gold.daily_sales")) == recomputed(spark)
    assert len(shop) == spark.table("silver.orders").count()
    assert names["keep_daily"]() == 0
    feed = spark.read.option("readChangeFeed", True).option("startingVersion", 0).table("silver.orders")
    names["add_to_daily"](feed, 0, names["query_id"](names["place"]))  # a batch that was taken already
    assert sorted_rows(spark.table("gold.daily_sales")) == recomputed(spark)
    for name in ("write.txnAppId", "write.txnVersion", "commitInfo.userMetadata"):
        assert spark.conf.get(f"spark.databricks.delta.{name}", None) is None, name


def test_a_lost_checkpoint(spark: SparkSession, gold: dict[str, Any]) -> None:
    """With the old name new changes are skipped; a new name, behind the last commit, has them all."""
    names, draw = dict(gold), random.Random(5)
    new_orders(spark)
    exec(
        next(cell.source for cell in cells() if "CREATE TABLE IF NOT EXISTS gold.daily" in cell.source), names
    )
    shop: Shop = {}
    change(spark, shop, draw, 40)
    names["keep_daily"]()
    application = names["query_id"](names["place"])
    change(spark, shop, draw, 40)
    history = spark.sql("DESCRIBE HISTORY gold.daily_sales LIMIT 1").first()
    applied = int(history.userMetadata.rsplit(" ", 1)[1])
    feed = spark.read.option("readChangeFeed", True).option("startingVersion", applied + 1)
    new = feed.table("silver.orders")
    before = sorted_rows(spark.table("gold.daily_sales"))
    names["add_to_daily"](new, 0, application)
    assert sorted_rows(spark.table("gold.daily_sales")) == before != recomputed(spark)
    names["add_to_daily"](new, 0, "a new checkpoint")
    assert sorted_rows(spark.table("gold.daily_sales")) == recomputed(spark)


def test_visits_reach_steps_in_order(spark: SparkSession, run_cells: Any) -> None:
    """Whatever comes between and after, equal moments too: the walk is that of a loop."""
    draw, steps = random.Random(8), ["view", "add_to_cart", "checkout", "purchase"]
    names = run_cells("03", defining=("STEP", "reached"), spark=spark, F=F)
    rows, expected = [], {}
    for visit in range(80):
        clicks = sorted(
            (draw.randrange(6), draw.choice([*steps, *steps, "search"])) for _ in range(draw.randrange(9))
        )
        rows += [(f"S{visit}", kind, datetime(2025, 7, 1, 12, minute)) for minute, kind in clicks]
        at = 0
        for _, kind in sorted(clicks, key=lambda click: (click[0], [*steps, "search"].index(click[1]))):
            at += at < 4 and kind == steps[at]
        expected |= {f"S{visit}": at} if any(kind != "search" for _, kind in clicks) else {}
    draw.shuffle(rows)
    clicks = spark.createDataFrame(rows, "session_id STRING, type STRING, event_time TIMESTAMP")
    assert {row.session_id: row.reached for row in names["reached"](clicks).collect()} == expected
    assert set(expected.values()) >= {0, 1, 2, 3}


def test_deltas_of_any_split_add_up(spark: SparkSession, gold: dict[str, Any]) -> None:
    """However the rows of the feed are cut into batches, the parts add up to the whole."""
    draw = random.Random(11)
    shop: Shop = {}
    fed: list[tuple[Any, ...]] = []
    for _ in range(150):
        name = f"O{draw.randrange(40):03}"
        old = shop.pop(name, None)
        if old is None or draw.random() < 0.7:
            shop[name] = some_order(draw)
        new = shop.get(name)
        kinds = (
            ("delete", "insert") if old is None or new is None else ("update_preimage", "update_postimage")
        )
        fed += [(*as_row(name, old), kinds[0])] if old else []
        fed += [(*as_row(name, new), kinds[1])] if new else []
    schema = f"{ORDER}, _change_type STRING"
    cuts = sorted(draw.sample(range(1, len(fed)), 4))
    parts = [fed[a:b] for a, b in zip([0, *cuts], [*cuts, len(fed)], strict=True)]
    added: dict[tuple[date, str], tuple[int, int]] = {}
    for part in parts:
        for row in gold["deltas"](spark.createDataFrame(part, schema)).collect():
            orders, cents = added.get((row.day, row.channel), (0, 0))
            added[row.day, row.channel] = orders + row.orders, cents + row.revenue_cents
    expected: dict[tuple[date, str], tuple[int, int]] = {}
    for _, channel, status, at, lines in shop.values():
        if status not in ("cancelled", "returned"):
            orders, cents = expected.get((at.date(), channel), (0, 0))
            amount = sum(quantity * price for _, quantity, price in lines)
            expected[at.date(), channel] = orders + 1, cents + amount
    assert {key: value for key, value in added.items() if value != (0, 0)} == expected


def test_the_faulty_merge_breaks_the_grain_and_not_the_sum(spark: SparkSession, gold: dict[str, Any]) -> None:
    """What the text of exercise 3.6 says of the fault can be seen with what the exercise gives."""
    found = {}
    for name in ("FAULTY", "add_deltas"):
        rows = gold["tried"](gold[name]).collect()
        found[name] = [(row.channel, row.orders) for row in rows], sum(row.revenue_cents for row in rows)
    assert found == {
        "FAULTY": ([(None, 1), (None, 1), ("web", 4)], 2600),
        "add_deltas": ([(None, 2), ("web", 4)], 2600),
    }
    with pytest.raises(ValueError, match="2 rows have day = 2025-07-01, channel = None"):
        gold["require_grain"](gold["tried"](gold["FAULTY"]), "day", "channel")


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("dim_date", ["date_key"]),
        ("dim_product", ["product_key"]),
        ("dim_customer", ["customer_key"]),
        ("fact_sales", ["order_id", "line_no"]),
        ("fact_open_orders", ["date_key", "channel"]),
        ("fact_order_life", ["order_id"]),
        ("monthly_kpis", ["month"]),
        ("daily_sales", ["day", "channel"]),
        ("reconciliation", ["day"]),
    ],
)
def test_each_table_has_its_grain(
    spark: SparkSession, gold: dict[str, Any], table: str, key: list[str]
) -> None:
    frame = spark.table(f"gold.{table}")
    gold["require_grain"](frame, *key)
    with pytest.raises(ValueError, match=r"2 rows have"):  # so it has a row
        gold["require_grain"](frame.union(frame.limit(1)), *key)
