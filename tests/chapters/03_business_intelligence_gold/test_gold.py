"""What chapter 03 promises, on other data than the chapter's: its own cells over a small, random Silver."""

import random
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
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
    "A star, and what one row is",
    "The dimension of days",
    "Keys of our own",
    "The dimension of customers",
    "No gap, no overlap",
    "The fact table",
    "Numbers with a definition",
    "Kept up instead of computed anew",
    "To the cent",
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
    "orders_history": ORDER,
    "web_events": "session_id STRING, event_time TIMESTAMP, type STRING",
    "payments": "payment_id STRING, order_id STRING, method STRING, status STRING, paid_at TIMESTAMP",
    "cdnow": "customer_id STRING, purchased_on DATE, quantity INT, amount_cents INT",
}
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
        wanted = section in SECTIONS and cell.role in ("", "predict")
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


def seams(spark: SparkSession, gold: dict[str, Any], dimension: DataFrame) -> int:
    return int(spark.sql(gold["SEAMS"], dimension=dimension).count())


def test_intervals_neither_overlap_nor_leave_gaps(spark: SparkSession, gold: dict[str, Any]) -> None:
    assert seams(spark, gold, spark.table("gold.dim_customer")) == 0
    for month in range(7, 13):
        known = gold["versions"](f"2025-{month:02}-01")
        assert seams(spark, gold, known) == 0
        assert known.where("is_current").count() == known.select("customer_id").distinct().count()


@pytest.mark.parametrize("days", [1, -1])
def test_an_overlap_and_a_gap_are_found(spark: SparkSession, gold: dict[str, Any], days: int) -> None:
    moved = f"valid_to + make_dt_interval({days})"
    assert seams(spark, gold, spark.table("gold.dim_customer").withColumn("valid_to", F.expr(moved))) > 0


def test_a_late_customer_is_completed_under_the_same_key(spark: SparkSession, gold: dict[str, Any]) -> None:
    """The load in steps, with inferred members between, gives what one load at the end would give."""
    known = gold["versions"]("2025-12-31")
    dimension = spark.table("gold.dim_customer")
    assert sorted_rows(dimension) == sorted_rows(known.select(dimension.columns))
    inferred = dimension.where(f"customer_id = '{gold['newcomer']}'").orderBy("valid_from").first()
    assert inferred is not None
    assert (inferred.inferred, inferred.valid_from.year, inferred.known_from.month) in {
        (False, 1970, 8),
        (False, 1970, 9),
    }
    in_july = spark.table("gold.fact_sales").where("date_key < 20250801")
    assert in_july.where(f"customer_id = '{gold['newcomer']}'").first().customer_key == inferred.customer_key


def test_a_key_twice_in_the_source_of_the_merge_changes_nothing(
    spark: SparkSession, gold: dict[str, Any]
) -> None:
    before = tables.rows("gold.dim_customer"), DeltaTable(str(tables.folder("gold.dim_customer"))).version()
    known = gold["versions"]("2025-12-31")
    known.unionByName(known.limit(1)).createOrReplaceTempView("known")
    merge = next(cell.source for cell in cells() if "MERGE INTO gold.dim_customer" in cell.source)
    statement = merge.split('"""')[1]
    with pytest.raises(Exception) as refused:  # Delta's error has no Python class of its own
        spark.sql(statement).collect()
    assert tracebacks.reason(refused.value) == "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE"
    assert before == (
        tables.rows("gold.dim_customer"),
        DeltaTable(str(tables.folder("gold.dim_customer"))).version(),
    )


# The fact table ----------------------------------------------------------------------------------


def test_each_line_is_a_fact_with_the_version_of_its_time(spark: SparkSession, gold: dict[str, Any]) -> None:
    assert spark.table("gold.fact_sales").count() == spark.table("silver.order_lines").count() > 50
    wrong = spark.sql("""
        SELECT * FROM gold.fact_sales JOIN silver.orders USING (order_id)
        JOIN gold.dim_customer USING (customer_key)
        WHERE ordered_at < valid_from OR ordered_at >= valid_to
    """)
    assert wrong.count() == 0


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"date_key": 10101}, "date_key 10101 is not in gold.dim_date"),
        ({"date_key": 99991231}, "date_key 99991231 is not in gold.dim_date"),
        ({"customer_key": None}, "customer_key None is not in gold.dim_customer"),
        ({"product_key": 7}, "product_key 7 is not in gold.dim_product"),
    ],
)
def test_a_fact_without_its_dimension_is_refused(
    spark: SparkSession, gold: dict[str, Any], damage: dict[str, int | None], told: str
) -> None:
    facts = spark.table("gold.fact_sales")
    row = facts.orderBy("order_id", "line_no").first().asDict() | damage | {"line_no": 99}
    bad = spark.createDataFrame([tuple(row[name] for name in facts.columns)], facts.schema)
    with pytest.raises(ValueError, match=told) as refused:
        gold["require_star"](facts.unionByName(bad))
    assert str(refused.value) == f"order {row['order_id']}, line 99: {told}"


def test_a_line_that_comes_twice_is_refused(spark: SparkSession, gold: dict[str, Any]) -> None:
    facts = spark.table("gold.fact_sales")
    first = facts.orderBy("order_id", "line_no").limit(1)
    row = first.collect()[0]
    with pytest.raises(ValueError) as refused:  # the message is compared below
        gold["require_star"](facts.unionByName(first))
    assert str(refused.value) == f"2 rows have order_id = {row.order_id}, line_no = {row.line_no}"


def test_an_order_of_nobody_leaves_the_fact_table_as_it_was(
    spark: SparkSession, gold: dict[str, Any]
) -> None:
    before = DeltaTable(str(tables.folder("gold.fact_sales"))).version()
    source = {cell.source.split("(")[0]: cell.source for cell in cells()}
    spark.sql("UPDATE silver.orders SET customer_id = 'C999999' WHERE order_id = 'O001' OR order_id = 'O002'")
    try:
        names = dict(gold)
        exec(source["facts = spark.sql"], names)
        write = next(cell.source for cell in cells() if cell.source.startswith("require_star(facts)"))
        with pytest.raises(ValueError, match=r"customer_key None is not in gold\.dim_customer"):
            exec(write, names)
    finally:
        names["facts"].unpersist()
        spark.sql("RESTORE TABLE silver.orders TO VERSION AS OF 3")
    assert DeltaTable(str(tables.folder("gold.fact_sales"))).version() == before


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


def test_the_books_agree_by_day(spark: SparkSession, gold: dict[str, Any]) -> None:
    books = spark.table("gold.reconciliation")
    assert books.where("silver_cents <> fact_cents OR silver_cents <> daily_cents").count() == 0
    assert books.where("silver_cents > 0").count() > 20


# Kept up -----------------------------------------------------------------------------------------


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
        exec(next(cell.source for cell in cells() if begins in cell.source), names)
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
    names["add_to_daily"](feed, 0)  # a batch that was taken already
    assert sorted_rows(spark.table("gold.daily_sales")) == recomputed(spark)
    assert spark.conf.get("spark.databricks.delta.write.txnAppId", None) is None


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
