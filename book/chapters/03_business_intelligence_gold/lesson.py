# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
#   medallion:
#     makes:
#       gold.dim_date: []
#       gold.dim_product: [silver.products, silver.order_lines]
#       gold.dim_customer: [silver.customers_history, silver.orders]
#       gold.fact_sales: [silver.orders, gold.dim_customer, gold.dim_date, gold.dim_product]
#       gold.fact_sales_quarantine: [silver.orders, gold.dim_customer, gold.dim_date, gold.dim_product]
#       gold.fact_open_orders: [silver.orders_history]
#       gold.fact_order_life: [silver.orders, silver.orders_history]
#       gold.monthly_kpis: [gold.fact_sales, gold.dim_date]
#       gold.cohort_retention: [gold.fact_sales, gold.dim_date, silver.cdnow]
#       gold.weekly_sales: [gold.fact_sales, gold.dim_date, silver.cdnow]
#       gold.funnel: [silver.web_events]
#       gold.sales_metrics: [gold.fact_sales, gold.dim_date]
#       gold.daily_sales: [silver.orders]
#       gold.reconciliation: [silver.orders, gold.fact_sales, gold.daily_sales, gold.dim_date]
#       gold.live_sales: [silver.orders]
#     reads: [silver.payments]
#     grain:
#       gold.dim_date: one day of 2025 or 2026, or the unknown day
#       gold.dim_product: one product, or the unknown product
#       gold.dim_customer: one version of one customer, or the unknown customer
#       gold.fact_sales: one line of an order
#       gold.fact_sales_quarantine: one line of an order with a key that no dimension has
#       gold.fact_open_orders: one channel at the end of one day
#       gold.fact_order_life: one order that exists now
#       gold.monthly_kpis: one month
#       gold.cohort_retention: one shop, one cohort, and one month since its first purchase
#       gold.weekly_sales: one shop and one week
#       gold.funnel: one step of a visit
#       gold.sales_metrics: one line of an order, as the measures of a metric view see it
#       gold.daily_sales: one day and one channel
#       gold.reconciliation: one day
#       gold.live_sales: one hour and one channel of the day that arrives
#     minutes: {read: 65, practise: 75}
#     summary: facts, dimensions, and numbers with one definition
#     outline: >-
#       A star schema, unknown and inferred members, late snapshots. Measures that add up and that do not, KPIs,
#       cohorts, a funnel, metric views. Gold maintained incrementally, time travel, a live dashboard feed.
#     objectives:
#     - state the grain of a table, test it, and build a star schema on it
#     - load facts before their dimensions, and re-point them after a late change
#     - decide which sums are right, and define a KPI once, in words and in a metric view
#     - maintain a Gold table from a change data feed, equal to the full recompute
#     - reconcile to the cent, repeat a report of an earlier day, and feed a live dashboard
# ---

# %% [markdown]
# # Business intelligence and the Gold layer
#
# Silver holds what is true. Gold holds what the business asks for: how much did we sell, and to whom? We build a star
# schema, define a few numbers once for everybody, and maintain them while orders arrive. Gold agrees with Silver to
# the cent.
#
# ![Where we are in the flow: from the Silver layer to the Gold layer](../book/figures/flow-03.svg)

# %% tags=["setup"]
from pyspark.sql import Window
from pyspark.sql import functions as F

import medallion

check = medallion.checks("03")  # the file checks.py beside this lesson
spark = medallion.start("03")

# %% [markdown]
# ## One KPI, three answers
#
# What was the revenue in August? We ask Silver in three reasonable ways. (`FILTER` adds up only rows for which its
# condition holds. `cache` keeps the orders in memory, because half of this chapter reads them; at scale, cache only
# what you read again.)

# %%
_ = spark.table("silver.orders").cache()

# %%
spark.sql("""
    SELECT sum(euros) AS ordered,
           sum(euros) FILTER (WHERE status <> 'cancelled') AS not_cancelled,
           sum(euros) FILTER (WHERE status NOT IN ('cancelled', 'returned')) AS kept,
           count_if(status IS NULL) AS without_status
    FROM (SELECT status, CAST(total_cents / 100 AS DECIMAL(9, 2)) AS euros
          FROM silver.orders
          WHERE ordered_at >= '2025-08-01' AND ordered_at < '2025-09-01')
""")

# %% [markdown]
# No query can show which answer is right: people decide, and write it down. In this shop **revenue counts orders that
# are not (yet) cancelled or returned**. A new order counts, so a recent number can still fall. (An order whose status
# is NULL would count in `ordered` only, because `<>` and `NOT IN` are NULL for it. August has none: Silver's rule
# `unknown_status` sets them aside. For the other months a constraint below refuses them.)
#
# A second decision is the **business day**. A stamp in Silver is a moment; its day depends on a time zone. Our books
# close at midnight UTC. `convert_timezone` names the zone, so the result does not depend on the session's.

# %% tags=["setup"]
SOLD = "status NOT IN ('cancelled', 'returned')"


def business_day(moment):
    """Return SQL for the day in the books of a column that holds moments."""
    return f"CAST(convert_timezone('UTC', {moment}) AS DATE)"


BUSINESS_DAY = business_day("ordered_at")

# %% [markdown]
# Berlin is one or two hours ahead of UTC. How many of the 39,261 orders would move to another day if the books closed
# at midnight in Berlin? Write down a number before you open the output.

# %% tags=["predict"]
berlin_day = BUSINESS_DAY.replace("UTC", "Europe/Berlin")
spark.table("silver.orders").selectExpr(
    "count(*) AS orders", f"count_if({BUSINESS_DAY} <> {berlin_day}) AS moved"
)

# %% [markdown]
# 1,058 orders move. Numbers by day, week and month change, and only the grand total does not. So the zone belongs in
# the definition.

# %% [markdown]
# ## Star schema and grain
#
# A **fact table** holds what happened, in numbers, with keys. A **dimension** holds what we group and filter by.
# Together they form a **star schema**. The **grain** of a table is one sentence: what is one row? We choose the finest,
# one line of an order: coarser numbers can be added up from it.
#
# ![The star: fact_sales, one line of an order, with keys to the dimensions of days, products and customers](../book/figures/star-03.svg)
#
# Facts share their dimensions, which are then **conformed**; the table of facts by dimensions is the *bus matrix*. (Small
# flags, such as channel and status, could share a *junk dimension*. With so few we leave them in the fact.)
#
# A grain is a promise about a key, so we can test it. This function names a row that breaks the promise.


# %%
def require_grain(frame, *key):
    """Return the frame; raise ValueError, with an example, if two rows share a key."""
    doubled = frame.groupBy(*key).count().where("count > 1").orderBy(*key).first()
    if doubled:
        row = ", ".join(f"{name} = {doubled[name]}" for name in key)
        raise ValueError(f"{doubled['count']} rows have {row}")
    return frame


# %% [markdown]
# ## The date dimension
#
# We label the last three days of our data with year and week. (`sequence` counts days; `explode` makes rows.)

# %% tags=["setup"]
days = spark.sql("SELECT explode(sequence(DATE'2025-12-27', DATE'2025-12-29')) AS day")

# %%
label = "concat(year(day), '-W', weekofyear(day))"
days.selectExpr("day", "date_format(day, 'EEEE') AS weekday", f"{label} AS label")

# %% [markdown]
# ISO weeks belong to the year of their Thursday, so Monday 29 December is in week 1 of *2026*. The label `2025-W1`
# puts it almost a year too early.

# %% [markdown] tags=["exercise"]
# ### Exercise 3.1: label a day with its ISO week
#
# Write a SQL expression, as a string and without `AS`, that labels the column `day` with its ISO week, such as
# `2025-W27`: the year that the week belongs to, and two digits for the week. `extract(YEAROFWEEK FROM day)` is that
# year; `lpad` fills a string up from the left. Try it with `days.selectExpr("day", week_label)`.

# %% tags=["solution"]
### BEGIN SOLUTION
week_label = (
    "concat(extract(YEAROFWEEK FROM day), '-W', lpad(extract(WEEK FROM day), 2, '0'))"
)
### END SOLUTION

# %% tags=["check"]
check.week_label(week_label)

# %% [markdown]
# We compute such labels once, in a table with one row per day. It covers complete years, because tomorrow's orders
# need a day too. Its last row, with the key -1, is the **unknown member**: a fact without a day points to it and stays
# in every total.

# %%
CALENDAR = f"""
    SELECT CAST(date_format(day, 'yyyyMMdd') AS INT) AS date_key, day,
           CAST(date_trunc('week', day) AS DATE) AS week, {week_label} AS iso_week,
           CAST(date_trunc('month', day) AS DATE) AS month,
           date_format(day, 'EEEE') AS weekday, weekday(day) > 4 AS weekend
    FROM (SELECT explode(sequence(DATE'2025-01-01', DATE'2026-12-31')) AS day)
    UNION ALL SELECT -1, NULL, NULL, 'unknown', NULL, 'unknown', NULL
"""

# %%
_ = spark.sql(f"CREATE OR REPLACE TABLE gold.dim_date AS {CALENDAR}")

# %% [markdown]
# The two years have 730 days, and a week has seven. How many different weeks has `iso_week`?

# %% tags=["predict"]
spark.table("gold.dim_date").cache().where("day IS NOT NULL").select(
    F.count("day").alias("days"), F.countDistinct("iso_week").alias("weeks")
)

# %% [markdown]
# 105: the first week has five days, the last one four. In a chart by week, such a column looks like a fall.

# %% [markdown]
# ## Surrogate keys: a number or a hash
#
# The source has keys, such as `product_id`. A dimension gets a key of its own, a **surrogate key**, because a customer
# who moves will need two rows. We could number the rows. How many of the 400 products get another number if P0002
# disappears?

# %% tags=["predict"]
catalogue = spark.table("silver.products")
before = "row_number() OVER (ORDER BY product_id) AS before"
after = "count_if(product_id <> 'P0002') OVER (ORDER BY product_id) AS after"
numbered_twice = catalogue.selectExpr("product_id", before, after)
numbered_twice.where("product_id <> 'P0002' AND before <> after").count()

# %% [markdown]
# 398 products get another number: their facts now point to another product, the last one's to none, and nothing fails.
# A hash depends on its input only. (Two inputs could share one of the 64-bit hashes, so we test the grain of the key.)
# But it has two traps:

# %%
spark.sql("""
    SELECT xxhash64('a', NULL) = xxhash64(NULL, 'a') AS same_without_null,
           xxhash64(NULL) AS of_nothing,
           xxhash64(TIMESTAMP'2025-07-01 00:00:00 Europe/Berlin') = xxhash64(
               TIMESTAMP'2025-07-01 00:00:00 UTC') AS same_midnight
""")

# %% [markdown]
# `xxhash64` skips NULLs, so two different keys get one hash, and a missing key gets 42, which looks like any other. We
# hash only what is not NULL; the rest gets the unknown member. And a midnight is another moment in each time zone. So
# a moment in a key comes from a table, or its string names the zone, as `BEGINNING` does below. (Seconds since 1970
# are easy to compute in any other system. `L` makes a `BIGINT`.)

# %%
unknown = "-1L AS product_key, 'unknown' AS name, 'unknown' AS category"
products = catalogue.selectExpr(
    "xxhash64(product_id) AS product_key", "product_id", "name", "category",
    "price_cents AS list_price_cents", "organic", "chilled", "seller_id", "seller_name",
)  # fmt: skip

# %%
nobody = spark.range(1).selectExpr(*unknown.split(", "))
products = products.unionByName(nobody, allowMissingColumns=True)

# %%
products = products.withColumn("inferred", F.lit(False))
require_grain(products, "product_key").write.mode("overwrite").option(
    "overwriteSchema", True
).saveAsTable("gold.dim_product")

# %% [markdown]
# ## Slowly changing dimension, type 2: the customers
#
# `silver.customers_history` has one row per version of a customer. The key of a version is a hash of the customer and
# of the moment from which it is valid. The first version is valid from 1970, because nothing better is known;
# `known_from` keeps the day of its snapshot.

# %%
BEGINNING = "TIMESTAMP'1970-01-01 00:00:00 UTC'"
KEY = "xxhash64(customer_id, unix_seconds(valid_from)) AS customer_key"


# %%
def members(until):
    """Return the versions of customers that the snapshots up to a day show."""
    rows = spark.sql(f"""
        SELECT customer_id, city, postcode, marketing_consent, signup_date, birth_year,
               if(lag(valid_from) OVER history IS NULL, {BEGINNING}, valid_from)
                   AS valid_from, lead(valid_from) OVER history AS valid_to,
               valid_from AS known_from, false AS inferred
        FROM silver.customers_history WHERE {business_day("valid_from")} <= '{until}'
        WINDOW history AS (PARTITION BY customer_id ORDER BY valid_from)
    """)
    return rows.selectExpr(KEY, "*", "valid_to IS NULL AS is_current")


# %% [markdown]
# (`lag` looks at the row before, `lead` at the next; `WINDOW` names the window of both.) Silver ends the version of a
# customer who left. Here the last version goes on, because an order that arrives late must still find one. So
# `is_current` means *the newest*, not *still a customer*.
#
# We load as the data came: first the snapshot of 1 July alone, with an unknown member.

# %%
unknown = ["-1L AS customer_key", "'unknown' AS city", f"{BEGINNING} AS valid_from"]
nobody = spark.range(1).selectExpr(*unknown, "false AS inferred", "true AS is_current")
first = members("2025-07-01").unionByName(nobody, allowMissingColumns=True)

# %%
first.write.mode("overwrite").option("overwriteSchema", True).saveAsTable(
    "gold.dim_customer"
)

# %% [markdown]
# ## Point-in-time join: the version that was valid
#
# A fact needs the key of the version that was valid *at the time of the order*. A small history to try things on:

# %% tags=["setup"]
few_versions = spark.sql("""
    SELECT * FROM VALUES
        (11, 'C1', 'Leipzig', TIMESTAMP'2025-07-01', TIMESTAMP'2025-10-01'),
        (12, 'C1', 'Bremen', TIMESTAMP'2025-10-01', NULL),
        (21, 'C2', 'Kiel', TIMESTAMP'2025-09-01', NULL)
    AS t(customer_key, customer_id, city, valid_from, valid_to)
""")

# %% tags=["setup"]
few_orders = spark.sql("""
    SELECT * FROM VALUES ('O1', 'C1', TIMESTAMP'2025-07-03'),
        ('O2', 'C1', TIMESTAMP'2025-10-01'), ('O3', 'C2', TIMESTAMP'2025-07-03')
    AS t(order_id, customer_id, ordered_at)
""")

# %% [markdown] tags=["exercise"]
# ### Exercise 3.2: join each order with the version of its time
#
# Write `as_it_was(orders, versions)`. `orders` has `order_id`, `customer_id`, `ordered_at` and more columns; `versions`
# has the columns of `few_versions`. A version is valid from its beginning to *before* its end; a NULL end is open.
# Return each order once, with all columns of `orders` and the `customer_key` of that time, NULL if no version was
# valid. Try `as_it_was(few_orders, few_versions)`: the keys are 11, 12 and NULL.


# %% tags=["solution"]
def as_it_was(orders, versions):
    """Return the orders with the key of the version that was valid at the time."""
    ### BEGIN SOLUTION
    known = versions.withColumnRenamed("customer_id", "who")
    valid = "customer_id = who AND ordered_at >= valid_from"
    valid += " AND (ordered_at < valid_to OR valid_to IS NULL)"
    joined = orders.join(known, F.expr(valid), "left")
    return joined.select(*orders.columns, "customer_key")
    ### END SOLUTION


# %% tags=["check"]
check.as_it_was(as_it_was)

# %% [markdown]
# ## Inferred members: the fact comes before its dimension
#
# The rest of the chapter uses the function of exercise 3.2. Half a year of orders arrives, and the dimension knows the
# customers of 1 July:

# %%
orders = spark.table("silver.orders")
strangers = as_it_was(orders, spark.table("gold.dim_customer"))

# %%
strangers.where("customer_key IS NULL").select(
    F.count("*").alias("orders"),
    F.countDistinct("customer_id").alias("customers"),
    (F.sum("total_cents") / 100).cast("decimal(12, 2)").alias("euros"),
)

# %% [markdown]
# An inner join would lose 12,585 orders worth 414,425.89 euros without an error. A fact does not wait for its
# dimension. Instead the dimension gets an **inferred member** for each unknown customer: a row that holds the key and
# nothing else. Its key is the one that the customer's first version will get: the 0 is `unix_seconds` of `BEGINNING`.

# %%
INFERRED = {
    "product": {"product_key": "xxhash64(product_id)", "product_id": "product_id"},
    "customer": {
        "customer_key": "xxhash64(customer_id, 0L)",
        "customer_id": "customer_id",
        "valid_from": BEGINNING,
        "is_current": "true",
    },
}


# %%
def add_inferred(name, rows):
    """Insert a member for each id in `rows` that gold.dim_<name> lacks."""
    rows.select(f"{name}_id").distinct().createOrReplaceTempView("ids")
    columns = INFERRED[name] | {"inferred": "true"}
    return spark.sql(f"""
        MERGE INTO gold.dim_{name} AS old USING ids AS new
        ON old.{name}_id = new.{name}_id
        WHEN NOT MATCHED AND new.{name}_id IS NOT NULL
            THEN INSERT ({", ".join(columns)}) VALUES ({", ".join(columns.values())})
    """)


# %%
{
    name: add_inferred(name, rows).first().num_inserted_rows
    for name, rows in (
        ("product", spark.table("silver.order_lines")),
        ("customer", orders),
    )
}

# %% [markdown]
# No product is missing; 1,569 customers are inferred. (Our Silver had all six snapshots when it judged these orders. A
# daily Silver would set them aside as `unknown_customer`; that rule has to become a warning.)

# %% [markdown]
# ## Write, audit, publish: the fact table
#
# The fact table holds three keys, what we count, and attributes without a dimension of their own, such as the order's
# number, a **degenerate dimension**. It keeps `customer_id`, because a key counts versions and not people. `status`
# changes later, so each load overwrites it (**type 1**). All amounts are euros; with a second currency each amount needs one
# beside it. The column `lines` holds an order's lines; `inline` makes a
# row of each.

# %%
DATE_KEY = f"CAST(date_format({BUSINESS_DAY}, 'yyyyMMdd') AS INT)"


# %%
def facts_of(orders, versions):
    """Return the lines of the orders with the keys of their dimensions."""
    sales = as_it_was(orders, versions).selectExpr("*", "inline(lines)")
    return sales.selectExpr(
        "order_id", "line_no", "coalesce(customer_key, -1L) AS customer_key",
        "customer_id", f"coalesce({DATE_KEY}, -1) AS date_key",
        "if(product_id IS NULL, -1L, xxhash64(product_id)) AS product_key",
        "channel", "status", f"{SOLD} AS sold", "quantity", "unit_price_cents",
        "CAST(quantity * unit_price_cents AS BIGINT) AS line_cents",
    )  # fmt: skip


# %% [markdown]
# A key can still be impossible, such as the day 99991231. One such line must neither stop the others nor be
# lost. So each line gets a `reason`, the first of its keys that no dimension has. (After a left join, a member's
# column is NULL where none was found.)


# %%
def judged(facts):
    """Return the facts with the name of a key that its dimension lacks, or NULL."""
    found, names = facts, ["date", "product", "customer"]
    for name in names:
        dimension = spark.table(f"gold.dim_{name}")
        members_of = dimension.select(f"{name}_key", F.lit(True).alias(f"_{name}"))
        found = found.join(members_of, f"{name}_key", "left")
    cases = " ".join(f"WHEN _{n} IS NULL THEN '{n}_key'" for n in names)
    return found.select(*facts.columns, F.expr(f"CASE {cases} END AS reason"))


# %% [markdown]
# **Write, audit, publish** keeps unchecked rows from readers: write to a staging table, test exactly these rows, and
# publish them in one commit of the table. First we note Silver's version.


# %%
def version_of(table):
    """Return the latest version of a table."""
    return spark.sql(f"DESCRIBE HISTORY {table} LIMIT 1").first().version


# %%
sources = {"silver.orders": version_of("silver.orders")}
facts = facts_of(orders, spark.table("gold.dim_customer"))
judged(facts).write.mode("overwrite").saveAsTable("scratch.staged_sales")
staged = spark.table("scratch.staged_sales").cache()


# %% [markdown]
# The audit tests the grain, the amount, and the share that is set aside: many impossible keys mean a broken dimension.


# %%
def audit(staged, cents):
    """Return the staged facts; raise ValueError if they may not be published."""
    require_grain(staged, "order_id", "line_no")
    found = staged.selectExpr("sum(line_cents)", "avg(int(reason IS NOT NULL))").first()
    if not cents or found[0] != cents:
        raise ValueError(f"{found[0]} cents are staged, and Silver has {cents}")
    if (found[1] or 0) > 0.01:
        raise ValueError(f"{found[1]:.1%} of the lines have an impossible key")
    return staged


# %% [markdown]
# `userMetadata` keeps in the commit which version of Silver it came from. The other lines go to a quarantine, which
# each complete load overwrites: a line leaves it when its key is found.


# %%
import json


def publish(staged, sources):
    """Replace gold.fact_sales and its quarantine by what is staged."""
    good = staged.where("reason IS NULL").drop("reason").write.mode("overwrite")
    good.option("userMetadata", json.dumps(sources)).saveAsTable("gold.fact_sales")
    aside = staged.where("reason IS NOT NULL").write.mode("overwrite")
    aside.saveAsTable("gold.fact_sales_quarantine")


# %%
publish(audit(staged, orders.agg(F.sum("total_cents")).first()[0]), sources)
staged.unpersist()
few = spark.table("gold.fact_sales").orderBy("order_id", "line_no").limit(3).cache()
few.select("order_id", "line_no", "date_key", "sold", "line_cents")

# %% [markdown]
# Silver's cents are those of facts and quarantine together. An order with a line in the quarantine counts too little
# until the line returns.
#
# Which Silver made this table? Its log knows. (A job that runs beside others reads this version with `versionAsOf`.)

# %%
history = spark.sql("DESCRIBE HISTORY gold.fact_sales LIMIT 1")
history.select("operation", "userMetadata")

# %% [markdown]
# Does the load survive a new day? We hand `judged` three lines: one as it is, one of 30 December, the day after our
# data, and one whose day somebody typed as 99991231.

# %%
day_of = "CASE line_no WHEN 1 THEN date_key WHEN 2 THEN 20251230 ELSE 99991231 END"
odd = few.withColumn(
    "line_no", F.expr("row_number() OVER (ORDER BY order_id, line_no)")
)
odd = odd.withColumn("date_key", F.expr(day_of))
judged(odd).select("date_key", "reason").orderBy("date_key")

# %% [markdown]
# Only the typo is set aside. A **constraint** of the table refuses every write that breaks it, from any writer.

# %%
rule = "line_cents = quantity * unit_price_cents AND customer_key IS NOT NULL"
rule += " AND sold IS NOT NULL"  # it is NULL where the status is
spark.sql("ALTER TABLE gold.fact_sales DROP CONSTRAINT IF EXISTS line")
_ = spark.sql(f"ALTER TABLE gold.fact_sales ADD CONSTRAINT line CHECK ({rule})")

# %%
try:
    free = few.limit(1).withColumn("line_cents", F.lit(0).cast("bigint"))
    free.write.mode("append").saveAsTable("gold.fact_sales")
except Exception as error:
    refused = medallion.reason(error)
refused

# %% [markdown]
# ## Late-arriving dimension changes
#
# Now the other five snapshots arrive, long after the facts. Inferred members get their cities. A customer who changed
# gets a second version: it **splits** the interval of the first, and facts behind the split point to the wrong half.

# %% [markdown] tags=["exercise"]
# ### Exercise 3.3: find gaps and overlaps in a history
#
# Write `broken(versions)`. `versions` has `customer_id`, `valid_from` and `valid_to`. Return its rows, with at least
# these columns, that are **broken**. A version is in order if it ends exactly when the customer's next version begins,
# or, being the last, has no end (NULL). (Unlike Silver's, this history has no gaps on purpose.) `F.lead` looks at the
# next row. `broken(few_versions)` returns nothing; change a date, and try again.


# %% tags=["solution"]
def broken(versions):
    """Return the versions whose end is not the beginning of the next one."""
    ### BEGIN SOLUTION
    history = Window.partitionBy("customer_id").orderBy("valid_from")
    following = F.lead("valid_from").over(history)
    return versions.withColumn("following", following).where(
        "NOT following <=> valid_to"
    )
    ### END SOLUTION


# %% tags=["check"]
check.seams(broken)

# %% tags=["setup"]
late = spark.sql("SELECT 'C1' AS customer_id, 'Bonn' AS city")

# %% [markdown] tags=["exercise"]
# ### Exercise 3.4: split an interval with a late snapshot
#
# The snapshot of `day` comes late: no version begins on `day` yet, and the next snapshot, of `following`, is in the
# history already. Write `split(versions, late, day, following)`. `versions` has `customer_id`, `city`, `valid_from` and
# `valid_to`, without gaps and overlaps; `late` has `customer_id` and `city`, one row per customer. The days are strings
# such as `'2025-08-01'`.
#
# Return the history, with these four columns, as if the snapshot had come in time. What it says holds from `day` to
# before `following`; everything else stays. A version differs in its city from the one before it (NULL is a city too).
# Customers that `late` lacks stay as they are. The snapshot of `following` has the customers of `late` too: if none of
# their versions begins then, the old city holds again. Try `split(few_versions, late, '2025-08-01', '2025-09-01')`: C1 is
# in Leipzig in July, Bonn in August, Leipzig in September, and Bremen from October. (`F.lag` looks at the row before.)


# %% tags=["solution"]
def split(versions, late, day, following):
    """Return the history with what a late snapshot of `day` says until `following`."""
    ### BEGIN SOLUTION
    goes_on = f"valid_from < '{following}' AND (valid_to > '{following}' "
    again = versions.where(goes_on + "OR valid_to IS NULL)")
    again = again.join(late, "customer_id", "left_semi")
    states = versions.select("customer_id", "city", "valid_from")
    for rows, begin in ((late, day), (again, following)):
        begins = F.lit(begin).cast("timestamp")
        states = states.union(rows.select("customer_id", "city", begins))
    order = Window.partitionBy("customer_id").orderBy("valid_from")
    states = states.withColumn("before", F.lag(F.struct("city")).over(order))
    states = states.where("NOT before <=> struct(city)").drop("before")
    return states.withColumn("valid_to", F.lead("valid_from").over(order))
    ### END SOLUTION


# %% tags=["check"]
check.split(split)

# %% [markdown]
# Silver has laid out the history already, so our dimension needs only a `MERGE`. It completes the inferred rows,
# shortens or corrects what changed, adds what is new, and deletes what no snapshot supports any more.

# %%
versions = members("2025-12-31")
versions.createOrReplaceTempView("known")
same = " AND ".join(f"old.{name} <=> new.{name}" for name in versions.columns)

# %%
COMPLETE = f"""
    MERGE INTO gold.dim_customer AS old USING known AS new
    ON old.customer_key = new.customer_key
    WHEN MATCHED AND NOT ({same}) THEN UPDATE SET *
    WHEN NOT MATCHED THEN INSERT *
    WHEN NOT MATCHED BY SOURCE AND NOT old.inferred AND old.customer_key <> -1
        THEN DELETE
"""

# %%
spark.sql(COMPLETE).select("num_updated_rows", "num_inserted_rows", "num_deleted_rows")

# %%
dimension = spark.table("gold.dim_customer").cache()
require_grain(dimension, "customer_key").where("inferred").count()

# %% [markdown]
# 2,073 rows were completed or shortened, and 1,059 are new. (Nothing is deleted here; the tests of this chapter load a
# snapshot late.) No key is there twice, and no inferred member is left. Has the history gaps or overlaps? A test that
# never found anything may be unable to. So we also hand it a damaged history: one version ends a day late, another a
# day early.

# %%
order = Window.orderBy(F.isnull("valid_to"), "customer_id", "valid_from")
shifted = """CASE nth WHEN 1 THEN valid_to + INTERVAL 1 DAY
    WHEN 2 THEN valid_to - INTERVAL 1 DAY ELSE valid_to END"""

# %%
damaged = dimension.withColumn("nth", F.row_number().over(order))
damaged = damaged.withColumn("valid_to", F.expr(shifted))
ends = ["customer_id", "valid_from", "valid_to"]
broken(damaged).select(ends).orderBy(ends)

# %% [markdown]
# Exactly the two damaged rows: all others are in order. Delta commits one table at a time, so until the facts are
# **re-pointed**, some point to the wrong version. (A complete load re-points by itself; `repoint` is for facts that
# are not loaded again. At scale, hand it only the orders of customers who changed.) The `MERGE` has one source row per
# order, and each of its lines matches it.


# %%
def repoint(orders):
    """Point each fact to the version of its customer that was valid at the time."""
    versions = spark.table("gold.dim_customer")
    as_it_was(orders, versions).createOrReplaceTempView("pointed")
    return spark.sql("""
        MERGE INTO gold.fact_sales AS f USING pointed AS p ON f.order_id = p.order_id
        WHEN MATCHED AND f.customer_key <> coalesce(p.customer_key, -1L)
            THEN UPDATE SET customer_key = coalesce(p.customer_key, -1L)
    """)


# %% [markdown]
# The inferred members kept their keys, so their facts need nothing. How many lines change their key?

# %% tags=["predict"]
repoint(orders).select("num_affected_rows")

# %% [markdown]
# 8,170 lines: those bought after a change of the customer. Is the result that of a single load at the end, with all
# snapshots? We give each row a 1 in one table and a -1 in the other: equal rows add up to 0. (That is `EXCEPT ALL` in both
# directions, in one pass.)

# %%
in_steps = spark.table("gold.fact_sales")
at_once = facts_of(orders, versions).withColumn("n", F.lit(1))
both = at_once.unionByName(in_steps.withColumn("n", F.lit(-1)))
both.groupBy(in_steps.columns).agg(F.sum("n").alias("n")).where("n <> 0").count()

# %% [markdown]
# No row differs: the same rows with the same keys. This is what the hash promises: **the same snapshots give the same
# keys, whatever was loaded first**. But a late snapshot can shorten the interval of a key, so facts have to be
# re-pointed.
#
# How many rows do the 39,261 orders get if we join by the customer alone, or with the current version?

# %% tags=["predict"]
by_customer = orders.join(dimension, "customer_id")
by_customer.select(F.count("*").alias("all"), F.count_if("is_current").alias("current"))

# %% [markdown]
# By the customer alone there are 45,046 rows: orders of customers with several versions count several times. With the
# current version the number is right, and that is treacherous. It moves past sales to the cities where people live now:

# %%
spark.sql("""
    SELECT then.city AS then, now.city AS now,
           CAST(sum(line_cents) / 100 AS DECIMAL(12, 2)) AS euros
    FROM gold.fact_sales AS f
    JOIN gold.dim_customer AS then ON f.customer_key = then.customer_key
    JOIN gold.dim_customer AS now ON f.customer_id = now.customer_id
    WHERE sold AND now.is_current AND then.city <> now.city
    GROUP BY ALL ORDER BY euros DESC LIMIT 3
""")

# %% [markdown]
# 2,490.84 euros would move from Hamburg to Berlin alone. (With a city that is NULL, `<>` is NULL, so a move from or
# to no city is not in this list.) For what *was*, the version of the time decides.

# %% [markdown]
# ## Additive, semi-additive, and non-additive measures
#
# The amount of a line is **additive**: however we split it, the parts add up to the same. `GROUPING SETS` groups in
# several ways at once; `()` is everything. In each row the other columns are NULL. (A real NULL looks the same;
# `grouping(channel)` tells them apart.)

# %%
parts = spark.sql("""
    SELECT channel, category, month,
           sum(line_cents) AS cents, count(DISTINCT customer_id) AS customers
    FROM gold.fact_sales JOIN gold.dim_date USING (date_key)
    JOIN gold.dim_product USING (product_key) WHERE sold
    GROUP BY GROUPING SETS ((channel), (category), (month), ())
""").toPandas()


# %%
def added_up(measure, by):
    """Return the sum of a measure over the groups of a column."""
    return parts.dropna(subset=by)[measure].sum().item()


{by: added_up("cents", by) for by in ("channel", "category", "month")}

# %% [markdown]
# Each adds up to the row of everything:

# %%
everything = parts[["channel", "category", "month"]].isna().all(axis=1)
parts.loc[everything, ["cents", "customers"]].iloc[0].to_dict()

# %% [markdown]
# In the half-year 3,710 customers bought something. What do the customers of the three channels, and of the six
# months, add up to?

# %% tags=["predict"]
{by: added_up("customers", by) for by in ("channel", "month")}

# %% [markdown]
# 7,681 and 11,541: who buys in two months is one customer, and two months count two. Distinct counts, averages, shares
# and prices are **non-additive**. An average is computed anew from additive parts, here cents and orders. A distinct
# count goes back to the rows, or is estimated from **sketches**, small summaries that *can* be merged: one per day
# gives the customers of any period.

# %%
monthly = spark.sql("""
    SELECT month, hll_sketch_agg(customer_id) AS sketch FROM gold.fact_sales
    JOIN gold.dim_date USING (date_key) WHERE sold GROUP BY month
""")

# %%
estimate = monthly.selectExpr("hll_sketch_estimate(hll_union_agg(sketch))").first()[0]
estimate

# %% [markdown]
# 3,631 instead of 3,710. This sketch, HyperLogLog, spreads the customers over 4,096 registers with Spark's default size
# (`lgConfigK` 12). Its standard error is 1.04 divided by the square root of their number (Flajolet and others, 2007). In
# per cent, how far is the estimate off, and how large is the standard error?

# %%
exact = parts.loc[everything, "customers"].item()
round(100 * (exact - estimate) / exact, 1), round(100 * 1.04 / 4096**0.5, 1)

# %% [markdown]
# The estimate is 2.1 per cent off, a little more than one standard error of 1.6 per cent. Chance alone moves it so far.
#
# Levels, such as a stock, are a third kind. Ours is the number of orders that are open at the end of a day. A fact
# table with a row for each day and member is a **periodic snapshot**. An evening without open orders needs a row with
# 0, or averages are too high. So we cross all days with all channels. (Orders without a channel stay out.)

# %%
EVENINGS = f"""
    SELECT channel, explode(sequence(first_day, end_day - INTERVAL 1 DAY)) AS day
    FROM (SELECT channel, {business_day("valid_from")} AS first_day,
                 coalesce({business_day("valid_to")}, DATE'2025-12-30') AS end_day
          FROM silver.orders_history WHERE status IN ('placed', 'packed'))
    WHERE first_day < end_day
"""

# %%
open_orders = spark.sql(f"""
    SELECT CAST(date_format(day, 'yyyyMMdd') AS INT) AS date_key, channel,
           count(evenings.day) AS open_orders
    FROM (SELECT explode(sequence(DATE'2025-07-01', DATE'2025-12-29')) AS day)
    CROSS JOIN (SELECT DISTINCT channel FROM silver.orders_history WHERE channel <> '')
    LEFT JOIN ({EVENINGS}) AS evenings USING (day, channel) GROUP BY day, channel
""").cache()

# %%
open_orders.write.mode("overwrite").saveAsTable("gold.fact_open_orders")

# %%
week = open_orders.where("date_key BETWEEN 20250901 AND 20250907").toPandas()
week.pivot(index="date_key", columns="channel", values="open_orders")

# %%
evenings = week.groupby("date_key")["open_orders"].sum()
ordered = f"{BUSINESS_DAY} BETWEEN '2025-09-01' AND '2025-09-07'"

# %%
{
    "open on the fullest evening": evenings.max().item(),
    "on average": round(evenings.mean().item(), 1),
    "added up": evenings.sum().item(),
    "ordered in that week": orders.where(ordered).count(),
}

# %% [markdown]
# Across the channels of one evening the sum is right: 390 orders on the fullest. Across the days it is nonsense: 2,069
# open orders in a week with 1,334 new ones. Such a measure is **semi-additive**: over time use the last value or the
# average.

# %% [markdown]
# ## Accumulating snapshot and role-playing dimension
#
# An **accumulating snapshot** follows a process: one row per order, with a date for each step, filled in as the order
# moves on. (We compute it from the history; a daily load would `MERGE`.) A step that has not happened points to the
# unknown member.

# %%
STEPS = ("placed", "packed", "delivered", "cancelled", "returned")
when = [
    F.expr(f"min(valid_from) FILTER (WHERE status = '{step}') AS {step}_at")
    for step in STEPS
]

# %%
events = spark.table("silver.orders_history")
life = events.join(orders, "order_id", "left_semi").groupBy("order_id").agg(*when)

# %%
keys = [
    f"coalesce(int(date_format({business_day(step + '_at')}, 'yyyyMMdd')), -1) "
    f"AS {step}_date_key"
    for step in STEPS
]
hours = "timestampdiff(HOUR, placed_at, delivered_at) AS hours_to_delivery"

# %%
life.selectExpr("order_id", *keys, hours).write.mode("overwrite").saveAsTable(
    "gold.fact_order_life"
)

# %% [markdown]
# All five keys point to the one `dim_date`. A dimension that is joined several times, under several names, is a
# **role-playing dimension**. Do orders that are placed at a weekend take longer? We split by the day of the delivery first.

# %%
LIFE = """gold.fact_order_life
    JOIN gold.dim_date AS placed ON placed.date_key = placed_date_key
    JOIN gold.dim_date AS delivered ON delivered.date_key = delivered_date_key"""
AGGREGATES = "count(*) AS orders, round(avg(hours_to_delivery), 1) AS hours"

# %%
spark.sql(f"""
    SELECT placed.weekend AS placed, delivered.weekend AS delivered, {AGGREGATES}
    FROM {LIFE} GROUP BY ALL ORDER BY ALL
""")

# %% [markdown]
# Orders without a delivery are there too, with NULL: the unknown member is a row, so an inner join keeps them. Among the
# others, the weekend looks slow for one day of delivery and fast for the other. And without the split?

# %%
spark.sql(f"""
    SELECT placed.weekend AS placed, {AGGREGATES} FROM {LIFE} GROUP BY ALL ORDER BY ALL
""")

# %% [markdown]
# 33.1 hours on average, in full hours, and 33.3 on other days: almost the same. The split misleads, because the day
# of delivery is known only afterwards: at a weekend, short waits end within it (18.2 hours) and long ones on a
# weekday.

# %% [markdown]
# ## KPIs with a definition
#
# A KPI, a key performance indicator, needs a name, a sentence and a formula, once. The formulas work on one row per
# order that was sold. `nth` counts a customer's orders within the month.

# %%
sold_orders = spark.sql("""
    SELECT order_id, customer_id, channel, day, week, month, revenue_cents,
           row_number() OVER (PARTITION BY customer_id, month ORDER BY order_id) AS nth
    FROM (SELECT order_id, customer_id, channel, date_key,
                 sum(line_cents) AS revenue_cents
          FROM gold.fact_sales WHERE sold GROUP BY ALL)
    JOIN gold.dim_date USING (date_key)
""").cache()

# %%
KPIS = {
    "orders": ("orders that are not (yet) cancelled or returned", "count(*)"),
    "revenue_cents": ("what the lines of these orders add up to", "sum(revenue_cents)"),
    "aov_cents": (
        "average order value: revenue over orders, to the cent",
        "CAST(round(sum(revenue_cents) / count(*)) AS BIGINT)",
    ),
    "customers": ("customers with such an order", "count(DISTINCT customer_id)"),
    "repeat_rate": (
        "share of them with a second such order in the month",
        "CAST(count_if(nth = 2 AND customer_id IS NOT NULL) "
        "/ count(DISTINCT customer_id) AS DECIMAL(5, 4))",
    ),
}


# %%
def commented(formula, name, sentence):
    """Return a column whose comment, in the table, is a sentence: DESCRIBE shows it."""
    return F.expr(formula).alias(name, metadata={"comment": sentence})


# %%
kpis = [commented(formula, name, text) for name, (text, formula) in KPIS.items()]
monthly_kpis = sold_orders.groupBy("month").agg(*kpis).cache()
monthly_kpis.write.mode("overwrite").saveAsTable("gold.monthly_kpis")
monthly_kpis.orderBy("month")

# %% [markdown]
# The average order value stays between 3,342 and 3,469 cents. Customers grow from 1,586 to 2,231. The repeat rate falls
# from 0.6110 in July to 0.5796 in August and rises to 0.6553. (December lacks two days.)

# %% [markdown]
# ## Cohort retention
#
# A shop that wins as many customers as it loses looks healthy in its monthly numbers. So we follow **cohorts**: all
# who bought first in the same month, and the share of them that buys again later. Beside it: CDNOW's real people.


# %%
def retention(purchases, shop):
    """Return how many customers of each cohort buy in each month since its first."""
    return spark.sql(
        """
        WITH months AS (
            SELECT DISTINCT customer_id, trunc(day, 'MONTH') AS month,
                   trunc(min(day) OVER (PARTITION BY customer_id), 'MONTH') AS cohort
            FROM {purchases} WHERE customer_id IS NOT NULL)
        SELECT {shop} AS shop, cohort, count(*) AS customers,
               CAST(months_between(month, cohort) AS INT) AS months_since
        FROM months GROUP BY cohort, month
        """,
        purchases=purchases,
        shop=shop,
    )


# %%
cdnow = spark.table("silver.cdnow").withColumnRenamed("purchased_on", "day")
buyers = retention(sold_orders, "Kestrel Market").union(retention(cdnow, "CDNOW"))

# %%
months = Window.partitionBy("shop", "cohort").orderBy("months_since")
size = F.first_value("customers").over(months).alias("cohort_size")
sentence = "customers of the cohort who buy in that month"
customers = commented("customers", "customers", sentence)
cohorts = buyers.select("shop", "cohort", "months_since", customers, size).cache()

# %%
cohorts.write.mode("overwrite").saveAsTable("gold.cohort_retention")

# %%
share = F.round(100 * F.col("customers") / F.col("cohort_size"), 1)
kept = cohorts.withColumn("percent", share).toPandas()
kept[kept["months_since"].between(1, 3)].pivot(
    index=["shop", "cohort", "cohort_size"], columns="months_since", values="percent"
)

# %% [markdown]
# NaN, no number, lies in the future here. (A past month in which nobody of a cohort buys would look the same, and needs
# a 0, like the evenings above.) At Kestrel Market *first* means the first that we can see, so July's cohort, and less
# so the next ones, collect old customers too. December, the last number of each cohort, lacks two days. CDNOW's data
# starts with each customer's first purchase.

# %%
import plotly.express as px
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from medallion.lesson import charts

# %%
FADE = [[0, "rgba(83, 137, 187, 0.05)"], [1, charts.SOURCE]]


# %%
def heat(shop, middle):
    """Return the cells of a shop, with a scale of its own beside them."""
    later = kept[(kept["months_since"] > 0) & (kept["shop"] == shop)]
    grid = later.pivot(index="cohort", columns="months_since", values="percent")
    months = [f"{cohort:%b %Y}" for cohort in grid.index]
    scale = {"colorscale": FADE, "zmin": 0, "zmax": grid.max(axis=None)}
    bar = {"len": 0.45, "y": middle, "ticksuffix": " %"}
    cells = {"z": grid, "x": grid.columns, "y": months, "name": shop}
    return go.Heatmap(**cells, colorbar=bar, **scale)


# %%
shops = ["Kestrel Market", "CDNOW"]
figure = make_subplots(rows=2, subplot_titles=shops, vertical_spacing=0.25)
for row, (shop, middle) in enumerate(zip(shops, (0.82, 0.18), strict=True), start=1):
    figure.add_trace(heat(shop, middle), row=row, col=1)

# %%
title = "Share of a cohort that buys, by months since its first purchase"
figure.update_layout(title=title, height=560)
figure.update_xaxes(title="months since the first purchase")
figure.update_xaxes(dtick=1, row=1)
_ = figure.update_yaxes(title="cohort", autorange="reversed")

# %%
charts.show(
    figure,
    alt="Two heat maps of the share of each cohort that buys again, by months since "
    "its first purchase, each with a scale of its own. At Kestrel Market it stays "
    "at about half to seven tenths. At CDNOW it starts near 15 per cent and fades to "
    "about 6 over a year and a half.",
)

# %%
from_the_fifth = kept[(kept["shop"] == "CDNOW") & (kept["months_since"] >= 5)]
from_the_fifth["percent"].max().item()

# %% [markdown]
# The two shops have scales of their own. At CDNOW about one customer in seven buys again in the next month. From the
# fifth month on it is 9.4 per cent of a cohort at most, with ups and downs. (Kestrel Market's customers are generated:
# they show nothing about grocers.) Beside it, the sales of both by week. The first and the last week of each shop are partial, so
# the chart leaves them out.


# %%
def by_week_of(purchases, shop, amount, currency):
    """Return the number and the amount of a shop's purchases by week."""
    week = F.expr("CAST(date_trunc('week', day) AS DATE)").alias("week")
    amounts = F.sum(amount).alias("revenue_cents")
    sums = purchases.groupBy(week).agg(F.count("*").alias("purchases"), amounts)
    return sums.selectExpr(f"'{shop}' AS shop", "*", f"'{currency}' AS currency")


# %%
ours = by_week_of(sold_orders, "Kestrel Market", "revenue_cents", "EUR")
weekly = ours.union(by_week_of(cdnow, "CDNOW", "amount_cents", "USD")).cache()
weekly.write.mode("overwrite").saveAsTable("gold.weekly_sales")

# %%
weeks = weekly.toPandas().sort_values(["shop", "week"])
edge = weeks.groupby("shop")["week"].transform
weeks = weeks[(weeks["week"] > edge("min")) & (weeks["week"] < edge("max"))]

# %%
axes = {"x": "week", "y": "purchases", "facet_col": "shop", "color": "shop"}
figure = px.line(weeks, **axes, title="Purchases a week, whole weeks only")
figure.update_xaxes(matches=None)
figure.for_each_annotation(lambda note: note.update(text=note.text[len("shop=") :]))
_ = figure.update_layout(showlegend=False)

# %%
charts.show(
    figure,
    alt="Two line charts of purchases by week. CDNOW peaks in the first quarter of "
    "1997, then a low line. Kestrel Market grows from July to December.",
)

# %% [markdown]
# ## An ordered funnel
#
# Of the visits that look at a product, how many buy? The unit of a **funnel** is the visit: somebody who looks at ten
# things and buys once is one success. A step counts only after the step before it. So we walk through a visit's clicks
# in order of time: `aggregate` starts at 0, and a click moves on only if it is the next step.

# %%
STEP = "array_position(array('view', 'add_to_cart', 'checkout', 'purchase'), type)"


# %%
def reached(clicks):
    """Return for each visit the last step that it reached in order, from 0 to 4."""
    clicks = clicks.selectExpr("session_id", "event_time", f"int({STEP}) AS step")
    visits = clicks.where("step > 0").groupBy("session_id")
    path = F.array_sort(F.collect_list(F.struct("event_time", "step"))).alias("path")
    walk = "aggregate(path, 0, (n, click) -> if(click.step = n + 1, n + 1, n))"
    return visits.agg(path).selectExpr("session_id", f"{walk} AS reached")


# %% [markdown]
# A common shortcut compares the *last* click of each step. We try both on a visit that buys, and then puts one more
# thing into the cart.

# %%
visit = spark.sql("""
    SELECT 'S1' AS session_id, type, make_timestamp(2025, 7, 1, 12, n, 0) AS event_time
    FROM VALUES (1, 'view'), (2, 'add_to_cart'), (3, 'checkout'), (4, 'purchase'),
        (5, 'add_to_cart') AS t(n, type)
""")

# %%
last = "max(event_time) FILTER (WHERE type = '{}')".format
shortcut = f"{last('add_to_cart')} <= {last('checkout')} AS shortcut"
{
    "shortcut": visit.agg(F.expr(shortcut)).first()[0],
    "walk": reached(visit).first().reached,
}

# %% [markdown]
# The shortcut finds no checkout after the cart; the walk finds all 4 steps. (`stack` makes rows of columns.)

# %%
visits = reached(spark.table("silver.web_events"))
counts = "count_if(reached >= {}) AS s{}".format
columns = [F.expr(counts(n, n)) for n in (1, 2, 3, 4)]

# %%
funnel = visits.agg(*columns).selectExpr("""stack(4, 1, 'view', s1, 2, 'add_to_cart',
    s2, 3, 'checkout', s3, 4, 'purchase', s4) AS (position, step, visits)""")

# %%
sentence = "visits with this step after the steps before it"
count_of = commented("visits", "visits", sentence)
funnel = funnel.select("position", "step", count_of).cache()
funnel.write.mode("overwrite").saveAsTable("gold.funnel")

# %%
steps = funnel.toPandas().sort_values("position", ignore_index=True)
steps["percent"] = (100 * steps["visits"] / steps["visits"][0]).round(1)
steps

# %%
shown = steps.assign(step=steps["step"].str.replace("_", " "))
shown["label"] = [f"{n:,}<br>{p} %" for n, p in zip(shown.visits, shown.percent)]
bars = {"x": "visits", "y": "step", "text": "label"}
figure = px.bar(shown, **bars, title="Visits by step")
_ = figure.update_yaxes(autorange="reversed", automargin=True)

# %%
charts.show(
    figure,
    alt="Bar chart of visits by step: of 24,772 visits that view a product, 12,652 put "
    "one into the cart, 9,685 go to the checkout, and 9,422 buy: 38.0 per cent.",
)

# %% [markdown]
# Of the visits that look at a product, 38.0 per cent take all four steps in order. More buy: a visit of which Silver
# has set a click aside, late or bad, stops before it here, and results of a search have a cart button too.

# %% [markdown]
# ## Metric views: the formula with the table
#
# Somebody averages what each customer spends per order:

# %%
by_customer = sold_orders.groupBy("customer_id").agg(
    F.count("*").alias("orders"), F.sum("revenue_cents").alias("cents")
)

# %%
by_customer.select(
    F.round(F.avg(F.col("cents") / F.col("orders"))).alias("average of averages"),
    F.round(F.sum("cents") / F.sum("orders")).alias("aov"),
)

# %% [markdown]
# An average of averages gives a customer with one order the weight of one with many. A **metric view** holds the
# formula, and Spark applies it at the level that a query asks for. (Spark 4.2.0 refuses `CREATE OR REPLACE` for an
# existing metric view, with `TABLE_OR_VIEW_ALREADY_EXISTS`.)

# %%
METRICS = """CREATE VIEW gold.sales_metrics WITH METRICS LANGUAGE YAML AS $$
version: 0.1
source: SELECT * FROM gold.fact_sales JOIN gold.dim_date USING (date_key)
filter: sold
dimensions:
  - {name: month, expr: month}
  - {name: channel, expr: channel}
measures:
  - {name: orders, expr: COUNT(DISTINCT order_id)}
  - {name: customers, expr: COUNT(DISTINCT customer_id)}
  - {name: revenue, expr: "CAST(SUM(line_cents) / 100 AS DECIMAL(12, 2))"}
  - name: aov
    expr: CAST(SUM(line_cents) / COUNT(DISTINCT order_id) / 100 AS DECIMAL(9, 2))
$$"""

# %%
spark.sql("DROP VIEW IF EXISTS gold.sales_metrics")
_ = spark.sql(METRICS)

# %%
medallion.keep_view(METRICS)

# %% [markdown]
# A view is only a definition in the catalog, and our catalog lives as long as the session. `keep_view`, a function of
# this course, keeps it for the next one. A query names measures with `MEASURE()` and groups by any dimension of the
# view.

# %%
spark.sql("""
    SELECT channel, MEASURE(orders) AS orders, MEASURE(customers) AS customers,
           MEASURE(revenue) AS revenue, MEASURE(aov) AS aov
    FROM gold.sales_metrics GROUP BY channel ORDER BY orders
""")

# %% [markdown]
# Customers do not add up to the 3,710 above, and should not: a metric view counts them anew at each level.

# %% [markdown]
# ## SQL scripting: close the months
#
# Months are closed one after the other, and the first whose revenue is not Silver's stops the rest. That needs a loop,
# a variable, and a handler for the error: a **script**, between `BEGIN` and `END`. To see it stop, we add a cent to
# the month in the session variable `wrong`. (Spark 4.2.0 has no `SIGNAL`, and binds no `:parameter` inside a script:
# `UNBOUND_SQL_PARAMETER`. `IS DISTINCT FROM` also holds for NULL.)

# %%
CLOSE = """
BEGIN
    DECLARE closed INT DEFAULT 0;
    DECLARE EXIT HANDLER FOR USER_RAISED_EXCEPTION
        SELECT 'stopped' AS verdict, closed AS months;
    FOR kpi AS SELECT silver, revenue_cents + if(month = wrong, 1, 0) AS gold
               FROM gold.monthly_kpis FULL JOIN silver_months USING (month)
               ORDER BY month DO
        IF kpi.gold IS DISTINCT FROM kpi.silver
            THEN SELECT raise_error('not as Silver'); END IF;
        SET closed = closed + 1;
    END FOR;
    SELECT 'closed' AS verdict, closed AS months;
END"""

# %%
month_of = F.expr(f"trunc({BUSINESS_DAY}, 'MONTH')").alias("month")
in_silver = F.sum("total_cents").alias("silver")
silver_months = orders.where(SOLD).groupBy(month_of).agg(in_silver)
silver_months.createOrReplaceTempView("silver_months")
_ = spark.sql("DECLARE OR REPLACE VARIABLE wrong = DATE'2025-08-01'")
spark.sql(CLOSE)

# %% [markdown]
# July was closed, August raised the error, and September was not looked at. A script is no transaction: what it wrote
# before the error stays written.

# %% [markdown]
# ## Incremental Gold from the change data feed
#
# All tables so far read everything each time, which costs too much every few minutes. The **change data feed** of
# `silver.orders` returns what changed. One order that was returned:

# %%
feed = spark.read.option("readChangeFeed", True).option("startingVersion", 0)
changes = feed.table("silver.orders").select(
    "order_id", "channel", "status", "ordered_at", "total_cents",
    "_change_type", "_commit_version",
).cache()  # fmt: skip

# %%
changes.where("order_id = 'O0015356'").select(
    "_commit_version", "_change_type", "order_id", "status", "total_cents"
).orderBy("_commit_version", F.desc("_change_type"))

# %% [markdown]
# An update comes as two rows: `update_preimage`, as it was, and `update_postimage`, as it became. If we only add what
# is new, we count too much:

# %%
new = changes.where("_change_type IN ('insert', 'update_postimage')").where(SOLD)
sold_now = orders.where(SOLD)
count, total = F.count("*"), F.sum("total_cents")
right = sold_now.agg(total).first()[0]
new.agg(total).first()[0], right

# %% [markdown]
# 117,112,537 cents instead of 115,742,086: an order that changed counts with each of its states. We need bookkeeping:
# add what a row says after a change, take away what it said before.

# %% tags=["setup"]
few_changes = spark.sql("""
    SELECT *, TIMESTAMP'2025-07-01 12:00:00' AS ordered_at FROM VALUES
        ('insert', 'O1', 'web', 'placed', 500),
        ('update_preimage', 'O2', 'app', 'placed', 300),
        ('update_postimage', 'O2', 'app', 'returned', 300)
    AS t(_change_type, order_id, channel, status, total_cents)
""")

# %% [markdown] tags=["exercise"]
# ### Exercise 3.5: turn changes into sums to add
#
# Write `deltas(changes)`. It gets rows of the change feed, with the columns of `few_changes`; `_change_type` is
# `insert`, `update_preimage`, `update_postimage` or `delete`. Return one row for each day and channel for which
# something changes, with exactly the columns `day`, `channel`, `orders` and `revenue_cents`: what has to be *added* to
# the sums of sold orders. It can be negative. `SOLD` and `BUSINESS_DAY` hold the two definitions; `F.when` chooses by
# a condition. Leave out rows where both are 0. Try `deltas(few_changes)`: web gets 1 order and 500 cents, app -1 and
# -300.


# %% tags=["solution"]
def deltas(changes):
    """Return what changes of orders add to each day and channel, taken away with -."""
    ### BEGIN SOLUTION
    added = F.col("_change_type").isin("insert", "update_postimage")
    sign = F.when(added, 1).otherwise(-1)
    day = F.expr(BUSINESS_DAY).alias("day")
    sums = changes.where(SOLD).groupBy(day, "channel")
    sums = sums.agg(
        F.sum(sign).alias("orders"),
        F.sum(sign * F.col("total_cents")).alias("revenue_cents"),
    )
    return sums.where("orders <> 0 OR revenue_cents <> 0")
    ### END SOLUTION


# %% tags=["check"]
check.deltas(deltas)

# %% [markdown]
# A `MERGE` adds these sums to a table.

# %% tags=["setup"]
FAULTY = """
    MERGE INTO {table} AS t USING deltas AS d
    ON t.day = d.day AND t.channel = d.channel
    WHEN MATCHED AND t.orders + d.orders = 0 THEN DELETE
    WHEN MATCHED THEN UPDATE SET
        orders = t.orders + d.orders,
        revenue_cents = t.revenue_cents + d.revenue_cents
    WHEN NOT MATCHED THEN INSERT *
"""


# %% tags=["setup"]
few_deltas = spark.sql("""
    SELECT * FROM VALUES (DATE'2025-07-01', 'web', 2L, 800L),
        (DATE'2025-07-01', NULL, 1L, 500L) AS t(day, channel, orders, revenue_cents)
""")


# %% tags=["setup"]
def tried(statement):
    """Return what a MERGE leaves in a small table to which it adds few_deltas again."""
    few_deltas.write.mode("overwrite").saveAsTable("scratch.tried")
    few_deltas.createOrReplaceTempView("deltas")
    spark.sql(statement.replace("{table}", "scratch.tried"))
    return spark.table("scratch.tried").orderBy("channel")


# %% [markdown] tags=["exercise"]
# ### Exercise 3.6: find the fault in a MERGE
#
# `FAULTY` adds the rows of the view `deltas` to a table. It has one fault: the table gets more and more rows, although
# its sums stay right. `tried(FAULTY)` adds `few_deltas` to a table that holds them already. Set `add_deltas` to the
# corrected statement, a string. Keep `{table}` in it, and change nothing else.

# %% tags=["solution"]
### BEGIN SOLUTION
add_deltas = FAULTY.replace("t.channel = d.channel", "t.channel <=> d.channel")
### END SOLUTION

# %% tags=["check"]
check.merge(add_deltas)

# %% [markdown]
# `NULL = NULL` is not true, so an order without a channel finds no partner, and each micro-batch inserts it anew. A
# test of the sum does not notice; a test of the grain does.
#
# Adding is not safe to repeat, so a micro-batch says who it is: an application (`txnAppId`) and a number
# (`txnVersion`), which Delta keeps in the log. It skips a number that the table has seen. For SQL these are settings
# of the session, which we take back: what stands before `yield` runs as a `with` block begins, and `finally` as it
# ends. A third setting keeps the version of Silver in the commit.

# %%
from contextlib import contextmanager

TXN = "spark.databricks.delta.write."
NOTE = "spark.databricks.delta.commitInfo.userMetadata"


# %%
@contextmanager
def numbered(session, application, number, note):
    """Let what is written in the block be batch `number` of an application."""
    names = {f"{TXN}txnAppId": application, f"{TXN}txnVersion": number, NOTE: note}
    for name, value in names.items():
        session.conf.set(name, value)
    try:
        yield session
    finally:
        for name in names:
            session.conf.unset(name)


# %% [markdown]
# The number counts the micro-batches of one checkpoint. As in chapter 01, the application is the id in the
# checkpoint's file `metadata`. (`maxFilesPerTrigger` limits a micro-batch; here each commit becomes one.)

# %%
from pathlib import Path

place = str(medallion.landing().parent / "checkpoints" / "03" / "daily_sales")


def query_id(checkpoint):
    """Return the id of the query whose checkpoint this is."""
    return json.loads((Path(checkpoint) / "metadata").read_text())["id"]


# %%
def add_to_daily(batch, number, application):
    """Add a micro-batch of changes to gold.daily_sales, once."""
    deltas(batch).createOrReplaceTempView("deltas")
    silver = batch.agg(F.max("_commit_version")).first()[0]
    note = f"silver.orders up to version {silver}"
    with numbered(batch.sparkSession, application, number, note) as session:
        session.sql(add_deltas.replace("{table}", "gold.daily_sales"))


# %%
_ = spark.sql("""
    CREATE TABLE IF NOT EXISTS gold.daily_sales (
        day DATE, channel STRING, orders BIGINT, revenue_cents BIGINT)
    TBLPROPERTIES (delta.deletedFileRetentionDuration = 'interval 400 days',
        delta.logRetentionDuration = 'interval 400 days')
""")


# %%
def add_batch(batch, number):
    """Add a micro-batch of the stream whose checkpoint is in `place`."""
    batch.persist()  # it is read twice
    try:
        add_to_daily(batch, number, query_id(place))
    finally:
        batch.unpersist()


# %%
def keep_daily():
    """Run the stream from the change feed to gold.daily_sales; return rows read."""
    feed = spark.readStream.option("readChangeFeed", True).option("startingVersion", 0)
    changes = feed.option("maxFilesPerTrigger", 2).table("silver.orders")
    writer = changes.writeStream.option("checkpointLocation", place)
    query = writer.foreachBatch(add_batch).trigger(availableNow=True).start()
    query.awaitTermination()
    return sum(progress["numInputRows"] for progress in query.recentProgress)


# %%
keep_daily()

# %% [markdown]
# The stream read 40,109 rows of the feed. Does the table equal the full recompute? Both are small, so we fetch the rows
# and count them with `Counter`; a set would not notice a row that is there twice. We read the table anew each time: a
# DataFrame that was collected once keeps its plan, and returns the old rows.

# %%
recomputed = sold_now.groupBy(F.expr(BUSINESS_DAY).alias("day"), "channel").agg(
    count.alias("orders"), total.alias("revenue_cents")
)

# %%
from collections import Counter

expected = Counter(recomputed.collect())


# %%
def differing(frame=None):
    """Return the rows that only one of the two has; the table is read anew."""
    frame = spark.table("gold.daily_sales") if frame is None else frame
    found = Counter(frame.collect())
    return list((expected - found) + (found - expected))


# %%
len(expected), differing()

# %% [markdown]
# The recompute has 546 rows, and no row is on one side only. Run again, the stream reads nothing. Now the case that
# the transaction id exists for: we replay the complete feed as micro-batch 0, which the table has already applied.
# Then, under the same number, comes something new: an order of a million cents.

# %%
rows_read = keep_daily()
invented = changes.limit(1).withColumn("total_cents", F.lit(1_000_000))
for again in (changes, invented):
    add_to_daily(again, 0, query_id(place))
rows_read, differing()

# %% [markdown]
# Both were skipped, and only the first should be. Delta compares numbers, not contents: a new checkpoint that kept the
# old application would lose *new* changes. With an id of its own, it would apply the feed twice, which the
# reconciliation below shows at once. So after a loss, start a new table, or start behind the version that the last
# commit names (once the first snapshot is through).
#
# The feed itself ends. `VACUUM` deletes its files after a week, and the log forgets a version after 30 days: these are
# the defaults of `delta.deletedFileRetentionDuration` and `delta.logRetentionDuration` for `silver.orders`. To begin
# without the whole feed, read a snapshot as inserts, and then the feed after it: a **bootstrap**. A stream without
# `startingVersion` begins so.

# %%
begin = sources["silver.orders"] - 1
snapshot = spark.read.option("versionAsOf", begin).table("silver.orders")
snapshot = snapshot.withColumn("_change_type", F.lit("insert"))

# %%
later = changes.where(f"_commit_version > {begin}").drop("_commit_version")
bootstrap = snapshot.select(later.columns).union(later)
differing(deltas(bootstrap))

# %% [markdown]
# It gives the same table.

# %% [markdown]
# ## Reconciliation to the cent
#
# Three tables claim to know the revenue of a day: Silver's orders, the facts made of Silver's lines, and the table
# that the stream maintains.

# %%
books = spark.sql(f"""
    SELECT day, sum(silver) AS silver_cents, sum(fact) AS fact_cents,
           sum(daily) AS daily_cents FROM (
        SELECT {BUSINESS_DAY} AS day, total_cents AS silver, 0 AS fact, 0 AS daily
        FROM silver.orders WHERE {SOLD}
        UNION ALL SELECT day, 0, line_cents, 0
        FROM gold.fact_sales JOIN gold.dim_date USING (date_key) WHERE sold
        UNION ALL SELECT day, 0, 0, revenue_cents FROM gold.daily_sales)
    GROUP BY day
""").cache()

# %%
books.write.mode("overwrite").saveAsTable("gold.reconciliation")


# %%
def verdict(books):
    """Return how many days there are, on how many the columns differ, and the sums."""
    cents = books[["silver_cents", "fact_cents", "daily_cents"]]
    wrong = (cents.nunique(axis=1) > 1).sum().item()
    return {"days": len(books), "wrong": wrong} | cents.sum().to_dict()


by_day = books.toPandas().sort_values("day", ignore_index=True)
verdict(by_day)

# %% [markdown]
# All days agree. By day matters: we add a cent on the first day, and take one away on the second.

# %%
shifted_cents = by_day.copy()
shifted_cents.loc[[0, 1], "daily_cents"] += [1, -1]
verdict(shifted_cents)

# %% [markdown]
# The totals still agree; two days do not. (A line in the quarantine would make its day wrong too, until it returns.)

# %% [markdown]
# ## As reported on: time travel
#
# In October somebody reported the revenue of the last weeks. Today it is another number: orders were cancelled,
# returned and deleted since. Each micro-batch made a version, with a note:

# %%
history = spark.sql("DESCRIBE HISTORY gold.daily_sales").where("operation = 'MERGE'")
history.select("version", "userMetadata").orderBy("version")

# %%
import pandas as pd

reported = spark.read.option("versionAsOf", 1).table("gold.daily_sales").toPandas()
week_of = spark.table("gold.dim_date").select("day", "iso_week").toPandas()


# %%
def by_week(daily):
    """Return the revenue by week of some daily sales."""
    return daily.merge(week_of, on="day").groupby("iso_week")["revenue_cents"].sum()


# %%
now = spark.table("gold.daily_sales").toPandas()
compared = pd.DataFrame({"reported": by_week(reported), "today": by_week(now)})
compared = compared.loc["2025-W36":"2025-W40"].astype("int64")
compared["since"] = compared["today"] - compared["reported"]
compared

# %% [markdown]
# Version 1 ends with week 40. Of it 4,497,764 cents were reported, and 361,273 of them have gone since. Week 39 lost
# 85,055, week 38 another 9,609, and the two weeks before nothing.
#
# Old versions need the old files and the log, which `VACUUM` and the log's clean-up may delete after a week and a
# month unless the table says otherwise; ours says 400 days. Keep a report that must be repeated after that as a table.

# %% [markdown]
# ## A real-time dashboard feed
#
# Last, a number that people watch: what was *ordered* so far. Orders arrive as files, a stream maintains
# `gold.live_sales`, and a page redraws. We let the last day arrive once more: its orders until 17:00 first, and then
# those of an hour. (The page calls the sum `revenue_cents`. It is the first of the three numbers above, not our
# revenue: the files have no status.)

# %%
arrivals = medallion.scratch() / "arrivals"
arrivals.mkdir(exist_ok=True)
last_day = orders.where(f"{BUSINESS_DAY} >= '2025-12-29'").select(
    "order_id", "channel", "ordered_at", "total_cents"
)
last_day = last_day.orderBy("order_id").toPandas()


# %%
def arrive(first, end):
    """Let the orders of the hours from `first` to before `end` arrive, as a file."""
    hours = last_day["ordered_at"].dt.hour
    rows = last_day[(hours >= first) & (hours < end)]
    file = arrivals / f"_{end}.json"  # Spark passes over names that begin with _
    rows.to_json(file, orient="records", lines=True, date_format="iso")
    file.rename(arrivals / f"{end}.json")


# %% [markdown]
# The stream sums by hour and channel. In the **output mode** `complete` it replaces the small table with each
# micro-batch, so a repeated one does no harm. Its state grows with every hour. (Each trigger with news makes a commit,
# up to one a second; in production, trigger less often.) `with` stops the stream at the end of the block, also after an
# error; the cell below raises one on purpose.


# %%
@contextmanager
def live_sales():
    """Keep gold.live_sales from the files that arrive, until the block ends."""
    ddl = "order_id STRING, channel STRING, ordered_at TIMESTAMP, total_cents INT"
    hour = F.date_trunc("hour", "ordered_at").alias("hour")
    rows = spark.readStream.schema(ddl).json(str(arrivals)).groupBy(hour, "channel")
    sums = rows.agg(count.alias("orders"), total.alias("revenue_cents"))
    writer = sums.writeStream.format("delta").outputMode("complete")
    writer = writer.trigger(processingTime="1 second")
    live = str(medallion.scratch() / "live-checkpoint")
    query = writer.option("checkpointLocation", live).toTable("gold.live_sales")
    try:
        yield query
    finally:
        query.stop()


# %%
from medallion.servers import dashboard

seen = []

# %%
try:
    with live_sales() as query, dashboard.start() as page:
        for first, end in [(0, 17), (17, 18)]:
            arrive(first, end)
            query.processAllAvailable()
            state = page.state()
            seen.append((state["orders"], state["revenue_cents"]))
        raise RuntimeError("something fails between two arrivals")
except RuntimeError:
    still_running = query.isActive, page.running
seen

# %% [markdown]
# The two pairs came over HTTP. In Silver, by 18:00:

# %%
came = last_day[last_day["ordered_at"].dt.hour < 18]
len(came), came["total_cents"].sum().item(), still_running

# %% [markdown]
# The page showed the same, and after the error neither the stream nor the page is running. To watch it move, run
# `medallion dashboard` in a terminal, open the address that it prints, and run the cell above
# with `[(18, 19)]`.

# %% [markdown]
# ## Failure lab: a fan-out join
#
# A report on revenue by method of payment: the lines have the amounts, the payments have the method, so we join them.

# %%
paid = spark.table("silver.payments").select("order_id", "method", "status", "paid_at")
sold_lines = spark.table("gold.fact_sales").where("sold")
sold_lines = sold_lines.select("order_id", "line_no", "line_cents")

# %%
fanned = sold_lines.join(paid, "order_id").cache()
by_method = fanned.groupBy("method").agg(F.sum("line_cents").alias("cents"))
by_method = by_method.toPandas().sort_values("method", ignore_index=True)
by_method

# %% [markdown]
# The table looks reasonable. How many cents more, or less, than 115,742,086 does it report?

# %% tags=["predict"]
by_method["cents"].sum().item() - right

# %% [markdown]
# 18,529,391 cents too much. Much was counted twice, and orders without a payment in Silver dropped out. No query fails
# on such a join. What fails is the test of the grain:

# %%
try:
    require_grain(fanned, "order_id", "line_no")
except ValueError as error:
    fan_out = str(error)
fan_out

# %%
fanned.where("order_id = 'O0000004'").orderBy("line_no", "paid_at")

# %% [markdown]
# The grain of the payments is an *attempt* to pay. The first was declined, the second went through, and the join put
# each line beside both: a **fan-out**. The fix brings the finer side to the grain of the join first: one row per
# order, with the method that worked. A left join keeps orders whose payments were all declined, or set aside by Silver.

# %%
paid_by = F.expr("max_by(method, paid_at) FILTER (WHERE status = 'authorised')")
per_order = spark.table("silver.payments").groupBy("order_id")
per_order = per_order.agg(paid_by.alias("method"))

# %%
one_each = sold_now.join(per_order, "order_id", "left").fillna("unknown", "method")
one_each = one_each.select("order_id", "method", "total_cents").cache()
methods = require_grain(one_each, "order_id").groupBy("method")
methods = methods.agg(count.alias("orders"), total.alias("revenue_cents")).toPandas()

# %%
methods = methods.sort_values("method", ignore_index=True)
methods["revenue_cents"].sum().item() - right, methods

# %% [markdown]
# Not a cent is missing.

# %% [markdown]
# ## Check yourself

# %%
from medallion.lesson import quiz

quiz.show("03")

# %% [markdown]
# ## What we know now
#
# - The grain is a sentence and a key. We test it before we publish, and after each join.
# - The same snapshots give the same hash keys. A late one can split an interval; then facts are re-pointed.
# - A fact never waits: an inferred member for an unknown key, the unknown member for none, a quarantine for an
#   impossible one.
# - Amounts add up, levels not over time, averages and distinct counts not at all; sketches merge.
# - A number has one definition, one business day, and a metric view that applies it at any level.
# - A checkpoint and its table belong together.
# - Gold is right when it reconciles with Silver by day, and its commit names the Silver version.
#
# **On Databricks** Unity Catalog keeps views, so `keep_view` does nothing there. A `PRIMARY KEY` is not enforced, so
# tests of the grain stay.
