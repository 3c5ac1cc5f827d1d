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
#       gold.dim_product: [silver.products]
#       gold.dim_customer: [silver.customers_history, silver.orders]
#       gold.fact_sales: [silver.orders, silver.order_lines, gold.dim_customer]
#       gold.fact_open_orders: [silver.orders_history, gold.dim_date]
#       gold.monthly_kpis: [gold.fact_sales, gold.dim_date]
#       gold.cohort_retention: [gold.fact_sales, gold.dim_date, silver.cdnow]
#       gold.weekly_sales: [gold.fact_sales, gold.dim_date, silver.cdnow]
#       gold.funnel: [silver.web_events]
#       gold.sales_metrics: [gold.fact_sales, gold.dim_date]
#       gold.daily_sales: [silver.orders]
#       gold.reconciliation: [silver.orders, gold.fact_sales, gold.daily_sales, gold.dim_date]
#       gold.live_sales: [silver.orders]
#       gold.method_sales: [silver.orders, silver.payments]
#     grain:
#       gold.dim_date: one day of the 26 weeks
#       gold.dim_product: one product
#       gold.dim_customer: one version of one customer, or a customer who is only known by an order
#       gold.fact_sales: one line of an order
#       gold.fact_open_orders: one channel at the end of one day
#       gold.monthly_kpis: one month
#       gold.cohort_retention: one shop, one cohort, and one month since its first purchase
#       gold.weekly_sales: one shop and one week
#       gold.funnel: one step of a visit
#       gold.sales_metrics: one line of an order, as the measures of a metric view see it
#       gold.daily_sales: one day and one channel
#       gold.reconciliation: one day
#       gold.live_sales: one hour and one channel of the day that arrives
#       gold.method_sales: one way to pay
#     minutes: {read: 45, practise: 50}
#     summary: facts, dimensions, and numbers with one definition
#     outline: >-
#       A star schema with its grain stated, surrogate keys, and history without gaps. Measures that may and
#       may not be added up. Metric views in SQL. Gold kept up from the change feed, equal to the cent to
#       what a full recomputation gives. A report as it was on an earlier day, and a dashboard that moves.
#     objectives:
#     - state the grain of a table, test it, and build a star of facts and dimensions on it
#     - keep the history of a dimension without gaps, also when a customer arrives late
#     - tell which sums are right, and define a KPI once, in words and in a metric view
#     - keep a Gold table up from a change feed, and prove that it equals the full recompute
#     - reconcile to the cent, report as it was reported, and feed a page that moves
# ---

# %% [markdown]
# # Business intelligence and the Gold layer
#
# Silver holds what is true. Gold holds what the business asks for: how much did we sell, to whom, and is it
# getting better? In this chapter we build a star of facts and dimensions, define a handful of numbers so that everybody
# means the same by them, keep them up while orders arrive, and prove that they agree with Silver to the cent.
#
# ![Where we are in the flow: from the Silver layer to the Gold layer](../book/figures/flow-03.svg)

# %% tags=["setup"]
from pyspark.sql import Window
from pyspark.sql import functions as F

import medallion

check = medallion.checks("03")  # the file checks.py beside this lesson
spark = medallion.start("03")

# %% [markdown]
# ## One question, three answers
#
# What was the revenue in August? We ask Silver, in three ways that are all reasonable. Half of this chapter reads the
# orders. `cache` keeps the rows in memory after the first query, and every later query of this table, in SQL too, takes
# them from there. (They are few. At scale we keep only the columns that are read again, or nothing.)

# %%
spark.table("silver.orders").cache()
spark.sql("""
    SELECT sum(euros) AS ordered,
           sum(euros) FILTER (WHERE status <> 'cancelled') AS not_cancelled,
           sum(euros) FILTER (WHERE status NOT IN ('cancelled', 'returned')) AS kept
    FROM (SELECT status, CAST(total_cents / 100 AS DECIMAL(9, 2)) AS euros
          FROM silver.orders
          WHERE ordered_at >= '2025-08-01' AND ordered_at < '2025-09-01')
""")

# %% [markdown]
# Everything that was ordered is one answer, what was not cancelled another, and what did not come back either a third.
# (`FILTER` adds up only the rows for which its condition holds.) No query can say which answer is right: somebody has
# to decide, and write it down. In this shop **revenue is what was sold and kept**: orders that are neither cancelled
# nor returned. In Gold the decision is made once, and not again in every report.

# %% tags=["setup"]
SOLD = "status NOT IN ('cancelled', 'returned')"

# %% [markdown]
# ## A star, and what one row is
#
# Reports ask for a number *by* something: revenue by week, by category, by city. So we keep two kinds of tables. A
# **fact table** holds what happened, in numbers, with keys. A **dimension** holds what we want to group and filter by.
# Drawn with the fact in the middle they look like a star.
#
# Before the columns comes one sentence for each table, its **grain**: what is one row?
#
# | table | one row is |
# |---|---|
# | `gold.fact_sales` | one line of an order |
# | `gold.dim_date` | one day |
# | `gold.dim_product` | one product |
# | `gold.dim_customer` | one version of one customer |
#
# A grain is a promise about a key, so it can be tested. This function does, and it names a row that breaks the
# promise.


# %%
def require_grain(frame, *key):
    """Return the frame; raise ValueError, with an example, if two rows share a key."""
    doubled = frame.groupBy(*key).count().where("count > 1").orderBy(*key).first()
    if doubled:
        row = ", ".join(f"{name} = {doubled[name]}" for name in key)
        raise ValueError(f"{doubled['count']} rows have {row}")
    return frame


# %%
lines = require_grain(spark.table("silver.order_lines"), "order_id", "line_no")

# %% [markdown]
# No error: the promise holds. One line of an order is the finest grain that the shop has, so we choose it. From the
# lines every coarser number can be added up, and from a coarser table the lines never come back.

# %% [markdown]
# ## The dimension of days
#
# A day looks like something that a function could take apart whenever it is needed. We try, and label the
# last three days of our data with year and week. `sequence` counts the days, and `explode` makes rows of them.

# %%
spark.sql("""
    SELECT day, date_format(day, 'EEEE') AS weekday,
           concat(year(day), '-W', weekofyear(day)) AS label
    FROM (SELECT explode(sequence(DATE'2025-12-27', DATE'2025-12-29')) AS day)
""")

# %% [markdown]
# Monday 29 December is in week 1, and that is right: ISO weeks begin on Monday and belong to the year that has their
# Thursday. But it is week 1 of *2026*. The label says `2025-W1`, so a chart would put this Monday at the beginning of
# January 2025, almost a year too early.

# %% [markdown] tags=["exercise"]
# ### Exercise 3.1: the week of a day
#
# Write a SQL expression, as text, that labels the column `day` with its ISO week, such as `2025-W27`: the year
# that the week belongs to, and two digits for the week, so that the labels sort as the weeks do.

# %% tags=["solution"]
### BEGIN SOLUTION
week_label = (
    "concat(extract(YEAROFWEEK FROM day), '-W', lpad(extract(WEEK FROM day), 2, '0'))"
)
### END SOLUTION

# %% tags=["check"]
check.week_label(week_label)

# %% [markdown]
# Because such things are easily got wrong, we do them once, in a table with a row for each day. (`weekday` counts from
# Monday, which is 0.) The table is small and the whole chapter groups by it, so it stays in memory too.

# %%
spark.sql("""
    CREATE OR REPLACE TABLE gold.dim_date AS
    SELECT CAST(date_format(day, 'yyyyMMdd') AS INT) AS date_key, day,
           CAST(date_trunc('week', day) AS DATE) AS week,
           concat(extract(YEAROFWEEK FROM day), '-W',
                  lpad(extract(WEEK FROM day), 2, '0')) AS iso_week,
           CAST(date_trunc('month', day) AS DATE) AS month,
           date_format(day, 'EEEE') AS weekday, weekday(day) > 4 AS weekend
    FROM (SELECT explode(sequence(DATE'2025-07-01', DATE'2025-12-29')) AS day)
""")
spark.table("gold.dim_date").cache()
spark.table("gold.dim_date").orderBy("day").limit(3)

# %% [markdown]
# The table holds 26 weeks of 7 days. Before opening the next output, write down how many different weeks the column
# `iso_week` has.

# %% tags=["predict"]
spark.table("gold.dim_date").select(
    F.count("*").alias("days"), F.countDistinct("iso_week").alias("weeks")
)

# %% [markdown]
# 182 days are 26 times 7, and yet there are 27 weeks: the half-year begins on a Tuesday, so its first week
# lacks a day, and the last week has only its Monday. A chart by week will show a first column that is a little
# low and a last one that is very low. Neither is news about the business.

# %% [markdown]
# ## Keys of our own
#
# The source has keys, such as `product_id`. A dimension gets one more that is ours, a **surrogate key**, because a
# customer who moves will need two rows. The obvious way is to number the rows. We number the catalogue, take one
# product out of it, number it again, and count the products whose number is another. Beside it, the same with a hash of
# the source's key.


# %%
def keyed(products):
    """Return the products with two keys: a number and a hash."""
    number = "row_number() OVER (ORDER BY product_id) AS number"
    return products.selectExpr("product_id", number, "xxhash64(product_id) AS hash")


catalogue = spark.table("silver.products").cache()
then, now = keyed(catalogue), keyed(catalogue.where("product_id <> 'P0002'"))
then.join(now, "product_id").select(
    F.count_if(then.number != now.number).alias("other numbers"),
    F.count_if(then.hash != now.hash).alias("other hashes"),
)

# %% [markdown]
# 398 products have a new number: every fact that was written before now points to its neighbour, and nothing
# fails. The hash depends on nothing but the product. It needs no look-up and no order of loading, and two notebooks
# that compute it agree. Two products could in theory share one of the 64-bit numbers, so we test the grain on the key.
# (A day needs no hash: `date_key` is the date itself, written as a number.)

# %%
products = catalogue.selectExpr(
    "xxhash64(product_id) AS product_key",
    "product_id",
    "name",
    "category",
    "price_cents AS list_price_cents",
    "organic",
    "chilled",
    "seller_id",
    "seller_name",
)
require_grain(products, "product_key").write.mode("overwrite").saveAsTable(
    "gold.dim_product"
)

# %%
catalogue = spark.table("gold.dim_product").orderBy("product_id").limit(3)
catalogue.select("product_key", "product_id", "name", "category")

# %% [markdown]
# ## The dimension of customers
#
# `silver.customers_history` has a row for each version of a customer, with the time in which it
# was valid. The key of a version is a hash of the customer and of the moment from which the version is valid.
#
# The snapshots come once a month, and orders come all the time. We load them as they came, first the snapshot of 1 July
# alone. Inside the query `valid_from` means the column of the history, and the new one of that name comes out. `OVER`
# is the window of chapter 02, in SQL.


# %%
def versions(until):
    """Return the versions of customers that the snapshots up to a day tell of."""
    rows = spark.sql(f"""
        SELECT customer_id, city, postcode, marketing_consent, signup_date, birth_year,
               if(valid_from = min(valid_from) OVER (PARTITION BY customer_id),
                  TIMESTAMP'1970-01-01', valid_from) AS valid_from,
               lead(valid_from) OVER (
                   PARTITION BY customer_id ORDER BY valid_from) AS valid_to,
               valid_from AS known_from, false AS inferred
        FROM silver.customers_history WHERE valid_from <= '{until}'
    """)
    key = "xxhash64(customer_id, valid_from) AS customer_key"
    return rows.selectExpr(key, "*", "valid_to IS NULL AS is_current")


# %% [markdown]
# One decision is in there. Before its first snapshot nothing is known about a customer, and the first version is the
# best that we have. So we let it be valid from 1970 on, and `known_from` keeps the day of the snapshot. A move becomes
# known with the next snapshot, so a city can be up to a month old.

# %%
versions("2025-07-01").write.mode("overwrite").option(
    "overwriteSchema", True
).saveAsTable("gold.dim_customer")

# %% [markdown]
# Now the orders of July arrive. Some are from people who signed up in July, and the next snapshot is in August.

# %%
july = spark.table("silver.orders").where("ordered_at < '2025-08-01'")
strangers = july.join(spark.table("gold.dim_customer"), "customer_id", "left_anti")
lost = strangers.select(
    F.count("*").alias("orders"),
    F.countDistinct("customer_id").alias("customers"),
    F.min("customer_id").alias("one of them"),
    (F.sum("total_cents") / 100).cast("decimal(12, 2)").alias("euros"),
).toPandas()
lost

# %% [markdown]
# An inner join with the dimension would drop 399 orders worth 13,450.15 euros from July, and no error would
# say so. A fact does not wait for its dimension. Instead the dimension gets an **inferred member**: a row that holds
# the key and nothing else, and says of itself that it is a guess.
#
# (Our Silver has these orders because it had all six snapshots when it judged them. A Silver that runs every day would
# have set them aside as `unknown_customer`. With inferred members that rule has to become a warning.)

# %%
inferred = strangers.select(
    F.expr("xxhash64(customer_id, TIMESTAMP'1970-01-01')").alias("customer_key"),
    "customer_id",
    F.expr("TIMESTAMP'1970-01-01'").alias("valid_from"),
    F.lit(True).alias("inferred"),
    F.lit(True).alias("is_current"),
).distinct()
inferred.write.mode("append").saveAsTable("gold.dim_customer")

# %%
newcomer = lost["one of them"].item()
someone = spark.table("gold.dim_customer").where(F.col("customer_id") == newcomer)
someone.select("customer_key", "customer_id", "city", "known_from", "inferred")

# %% [markdown]
# The facts of July can point to that key from now on, so we keep those of the strangers, each with its key. None of
# them has a city yet, because the inferred rows have none. The dimension will change. `localCheckpoint` keeps the rows
# as they are now; a cached frame would be computed anew after that change. (It keeps them on the executors only, and
# loses them with one. In production we write a table.)

# %%
july_facts = july.join(
    spark.table("gold.dim_customer").where("inferred"), "customer_id"
)
july_facts = july_facts.selectExpr("order_id", "customer_key").localCheckpoint()

# %% [markdown]
# Then the other snapshots arrive. Their first versions have the same keys as the inferred rows, because both are made
# of the customer and the same early beginning. So one `MERGE` completes what was inferred, ends versions that are over,
# and adds new ones. (It gets every version, so it writes each row anew. Chapter 02 left out what says nothing new; this
# small table can do without.)

# %%
versions("2025-12-31").createOrReplaceTempView("known")
spark.sql("""
    MERGE INTO gold.dim_customer AS old USING known AS new
    ON old.customer_key = new.customer_key
    WHEN MATCHED THEN UPDATE SET *
    WHEN NOT MATCHED THEN INSERT *
""").select("num_affected_rows")

# %%
spark.table("gold.dim_customer").cache()
someone.select("customer_key", "customer_id", "city", "known_from", "inferred").orderBy(
    "known_from"
)

# %% [markdown]
# The key is the same and the city is there. (`someone` is a question, not an answer: shown again, it reads the table
# again. From here on the dimension stays as it is, so we keep it in memory.) And the facts, which nobody has touched:

# %%
found = july_facts.join(spark.table("gold.dim_customer"), "customer_key")
found.select(F.count("*").alias("orders"), F.count("city").alias("with a city"))

# %% [markdown]
# All 399 have found their city. Of all that was inferred nothing is left:

# %%
spark.table("gold.dim_customer").select(
    F.count("*").alias("versions"),
    F.countDistinct("customer_id").alias("customers"),
    F.count_if("inferred").alias("inferred"),
)

# %% [markdown]
# ## No gap, no overlap
#
# A history is of use only if each moment of a customer belongs to exactly one version. Where two overlap, a
# sale counts twice; in a gap, it does not count at all.

# %% [markdown] tags=["exercise"]
# ### Exercise 3.2: a history without seams
#
# Write `broken(versions)`. It takes a DataFrame with `customer_id`, `valid_from` and `valid_to`, and returns its rows,
# with at least these columns, that are **broken**. A version is in order if it ends exactly when the customer's next
# version begins, or, being the last, has no end (NULL).


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

# %% [markdown]
# In SQL, on our dimension. `{dimension}` stands for a DataFrame that we hand over:

# %%
SEAMS = """
    SELECT customer_id, valid_from, valid_to, following FROM (
        SELECT *, lead(valid_from) OVER (
            PARTITION BY customer_id ORDER BY valid_from) AS following FROM {dimension})
    WHERE NOT following <=> valid_to ORDER BY customer_id, valid_from
"""
spark.sql(SEAMS, dimension=spark.table("gold.dim_customer")).count()

# %% [markdown]
# 0 is what we hoped for. A test that has never found anything may be one that cannot. So we number the
# versions, those that have ended first (false sorts before true), and let the first end a day late and the second a day
# early.

# %%
order = Window.orderBy(F.isnull("valid_to"), "customer_id", "valid_from")
damaged = spark.table("gold.dim_customer").withColumn("nth", F.row_number().over(order))
shifted = """CASE nth WHEN 1 THEN valid_to + INTERVAL 1 DAY
    WHEN 2 THEN valid_to - INTERVAL 1 DAY ELSE valid_to END"""
damaged = damaged.withColumn("valid_to", F.expr(shifted))
spark.sql(SEAMS, dimension=damaged)

# %% [markdown]
# It finds both: an end after the following beginning is an overlap, and an end before it is a gap.

# %% [markdown]
# ## The fact table
#
# A line of an order has to find the version of its customer. Three joins come to mind: by the customer alone; by the
# customer and the version that is current; and by the customer and the time of the order. The second and the third are
# the first with one more condition. So we join once, note for each row whether the condition holds, and count.

# %%
joined = spark.sql("""
    SELECT order_id, status, total_cents, city, is_current,
           ordered_at >= valid_from AND (ordered_at < valid_to OR valid_to IS NULL)
               AS valid
    FROM silver.orders LEFT JOIN gold.dim_customer USING (customer_id)
""").cache()
joined.select(
    F.countDistinct("order_id").alias("orders"),
    F.count("*").alias("by customer"),
    F.count_if("is_current").alias("current version"),
    F.count_if("valid").alias("version of the time"),
)

# %% [markdown]
# The join by the customer alone has 45,046 rows for 39,261 orders: whoever moved counts twice. The other two have the
# right number, and that is the treacherous case. We compare what they say about cities.

# %%
euros = "CAST(sum(total_cents) FILTER (WHERE {}) / 100 AS DECIMAL(12, 2))"
cities = joined.where(SOLD).groupBy("city")
cities = cities.agg(
    F.expr(euros.format("valid")).alias("then"),
    F.expr(euros.format("is_current")).alias("now"),
)
cities = cities.withColumn("difference", F.col("now") - F.col("then"))
cities.orderBy(F.abs("difference").desc(), "city").limit(3)

# %% [markdown]
# With the current version, what people bought before they moved goes to the city in which they live now. Berlin would
# have 3,408.16 euros too much. Every report on the past would change with each move. So for what *was*, the time of the
# order decides; `is_current` answers where the buyers live *now*.

# %% [markdown] tags=["exercise"]
# ### Exercise 3.3: as it was
#
# Write `as_it_was(sales, versions)`. `sales` has `sale_id`, `customer_id` and `sold_at`; `versions` has `customer_id`,
# `city`, `valid_from` and `valid_to`, where a version is valid from its beginning to *before* its end, and NULL is no
# end. Return each sale once, with its three columns and the `city` of that time, NULL when there is none.


# %% tags=["solution"]
def as_it_was(sales, versions):
    """Return the sales with the city that their customer lived in at the time."""
    ### BEGIN SOLUTION
    known = versions.withColumnRenamed("customer_id", "who")
    valid = "customer_id = who AND sold_at >= valid_from"
    valid += " AND (sold_at < valid_to OR valid_to IS NULL)"
    joined = sales.join(known, F.expr(valid), "left")
    return joined.select("sale_id", "customer_id", "sold_at", "city")
    ### END SOLUTION


# %% tags=["check"]
check.as_it_was(as_it_was)

# %% [markdown]
# The fact table holds the three keys, what we count, and what has no dimension of its own: channel and status, and the
# number of the order, a **degenerate dimension**. It also keeps `customer_id`, since a key counts versions and not
# people. `cache` keeps the rows for the tests and for the write. After that we keep the table instead.

# %%
facts = spark.sql(f"""
    SELECT l.order_id, l.line_no, c.customer_key, o.customer_id,
           CAST(date_format(o.ordered_at, 'yyyyMMdd') AS INT) AS date_key,
           xxhash64(l.product_id) AS product_key, o.channel, o.status,
           o.{SOLD} AS sold, l.quantity,
           l.unit_price_cents,
           CAST(l.quantity * l.unit_price_cents AS BIGINT) AS line_cents
    FROM silver.order_lines AS l JOIN silver.orders AS o ON l.order_id = o.order_id
    LEFT JOIN gold.dim_customer AS c ON o.customer_id = c.customer_id
        AND o.ordered_at >= c.valid_from
        AND (o.ordered_at < c.valid_to OR c.valid_to IS NULL)
""").cache()

# %% [markdown]
# It is written only if its grain holds and every key is found in its dimension. Otherwise the table stays as it was.
# `require_members` joins each dimension with a column of its name that is true. Where that column is NULL, the key was
# not found.


# %%
def require_members(facts, *names):
    """Return the facts; raise ValueError if one points to no row of a dimension."""
    found = facts
    for name in names:
        members = spark.table(f"gold.dim_{name}").withColumn(name, F.lit(True))
        found = found.join(members.select(name, f"{name}_key"), f"{name}_key", "left")
    lost = found.where(" OR ".join(f"{name} IS NULL" for name in names))
    if row := lost.orderBy("order_id", "line_no").first():
        name = next(name for name in names if not row[name])
        where = f"order {row.order_id}, line {row.line_no}"
        key = f"{name}_key {row[f'{name}_key']}"
        raise ValueError(f"{where}: {key} is not in gold.dim_{name}")
    return facts


# %%
def require_star(facts):
    """Return the facts if grain and keys are as promised, or raise ValueError."""
    require_grain(facts, "order_id", "line_no")
    return require_members(facts, "date", "product", "customer")


# %%
require_star(facts).write.mode("overwrite").saveAsTable("gold.fact_sales")
facts.unpersist()
spark.table("gold.fact_sales").cache()
few = spark.table("gold.fact_sales").orderBy("order_id", "line_no").limit(3)
few

# %% [markdown]
# To see that the guard is awake, we hand it these three lines and one more, whose day somebody typed as 99991231.

# %%
typo = few.limit(1).withColumns({"date_key": F.lit(99991231), "line_no": F.lit(99)})
try:
    require_star(few.unionByName(typo))
except ValueError as error:
    refused = str(error)
refused

# %% [markdown]
# ## Sums that are right, and sums that are wrong
#
# The amount of a line is **additive**: by whatever we split it, the parts add up to the same. `GROUPING SETS` asks for
# several groupings at once: one row for each channel, each category and each month, and one for everything, `()`. In
# each row the columns that it is not grouped by are NULL. (No channel, category or month is NULL itself here. Where one
# may be, `grouping(channel)` tells the two apart.) These are few rows, so pandas can add them up.

# %%
parts = spark.sql("""
    SELECT channel, category, month,
           sum(line_cents) AS cents, count(DISTINCT customer_id) AS customers
    FROM gold.fact_sales JOIN gold.dim_date USING (date_key)
    JOIN gold.dim_product USING (product_key) WHERE sold
    GROUP BY GROUPING SETS ((channel), (category), (month), ())
""").toPandas()


def added_up(measure, by):
    """Return the sum of a measure over the groups of a column."""
    return parts.dropna(subset=by)[measure].sum().item()


{by: added_up("cents", by) for by in ("channel", "category", "month")}

# %% [markdown]
# The number of customers is not. Somebody who buys in July and in August is one customer, and two months count two. The
# row for everything counts each customer once. No group can have more, so it is the row with the most.

# %%
customers = parts["customers"].max().item()
customers, {by: added_up("customers", by) for by in ("channel", "month")}

# %% [markdown]
# The half-year had 3,710 customers. Added up over the months they would be 11,541, and over the channels 7,681. What
# was counted as *distinct* may not be added, and neither may an average, a share or a price. These are
# **non-additive**. An average or a share is computed anew at each level from its additive parts, here cents and orders.
# A distinct count has no such parts: it goes back to the rows that name the customers.
#
# Between the two are levels, such as a balance or a stock. Ours is the number of orders that are open at the end of a
# day, from the history of orders. An order waits from the day of a version to the day before its end, so `sequence` and
# `explode` make a row of each evening. (An order that still waits counts up to 29 December, our last day. A version that
# ends on the day on which it begins has no evening, and `first <= last` leaves it out.) A fact table of this kind, with a row for each day, is a **periodic snapshot**.

# %%
open_orders = spark.sql("""
    WITH waiting AS (
        SELECT channel, to_date(valid_from) AS first,
               to_date(coalesce(valid_to, DATE'2025-12-30')) - INTERVAL 1 DAY AS last
        FROM silver.orders_history WHERE status IN ('placed', 'packed')),
    evenings AS (
        SELECT channel, explode(sequence(first, last)) AS day
        FROM waiting WHERE first <= last)
    SELECT date_key, channel, count(*) AS open_orders
    FROM evenings JOIN gold.dim_date USING (day) GROUP BY date_key, channel
""").cache()
open_orders.write.mode("overwrite").saveAsTable("gold.fact_open_orders")
week = open_orders.where("date_key BETWEEN 20250901 AND 20250907").toPandas()
week.pivot(index="date_key", columns="channel", values="open_orders")

# %%
evenings = week.groupby("date_key")["open_orders"].sum()
ordered = spark.table("silver.orders").where(
    "ordered_at >= '2025-09-01' AND ordered_at < '2025-09-08'"
)
{
    "open on the fullest evening": evenings.max().item(),
    "on average": round(evenings.mean().item(), 1),
    "added up": evenings.sum().item(),
    "ordered in that week": ordered.count(),
}

# %% [markdown]
# Across the channels of one evening the sum is right: on the fullest one 390 orders are open. Across the days it is
# nonsense, 2,069 open orders in a week in which 1,334 were placed, because an order that waits for three evenings is
# counted three times. Such a measure is **semi-additive**: add it over everything but time, and over time take the last
# value or the average.

# %% [markdown]
# ## Numbers with a definition
#
# A KPI, a key performance indicator, is a number that people steer by. So it needs a name, a sentence and a formula,
# and it needs them once. We keep the three together. The formulas work on one row per order that was sold, which the
# next cell makes. `nth` counts a customer's orders within the month.

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
    "orders": ("orders that are neither cancelled nor returned", "count(*)"),
    "revenue_cents": ("what the lines of these orders add up to", "sum(revenue_cents)"),
    "aov_cents": (
        "average order value: revenue over orders, to the cent",
        "CAST(round(sum(revenue_cents) / count(*)) AS BIGINT)",
    ),
    "customers": ("customers with such an order", "count(DISTINCT customer_id)"),
    "repeat_rate": (
        "share of them with a second such order in the month",
        "CAST(count_if(nth = 2) / count(DISTINCT customer_id) AS DECIMAL(5, 4))",
    ),
}

# %%
columns = [
    F.expr(formula).alias(name, metadata={"comment": sentence})
    for name, (sentence, formula) in KPIS.items()
]
sold_orders.groupBy("month").agg(*columns).write.mode("overwrite").saveAsTable(
    "gold.monthly_kpis"
)
spark.table("gold.monthly_kpis").orderBy("month")

# %% [markdown]
# The basket hardly changes: 3,347 cents in July, 3,387 in December. There are more customers, 2,231 after 1,586, and
# each orders more often: the repeat rate goes from 0.5796 in August to 0.6553. (December lacks its last two days.)
#
# The sentence of each number went along, as the comment of its column. Further down we read them out of the tables.

# %% [markdown] tags=["exercise"]
# ### Exercise 3.4: who comes back
#
# Write `repeat_rate(sales)`. `sales` has the grain of the fact table, with `order_id`, `line_no`, `customer_id` and
# `sold` (a boolean). Return, as a number between 0 and 1, the share of the customers with a sold order who have two of
# them or more. What was not sold makes nobody a customer. For the sales of one month this is the KPI `repeat_rate`.


# %% tags=["solution"]
def repeat_rate(sales):
    """Return the share of buying customers who bought at least twice."""
    ### BEGIN SOLUTION
    orders = F.countDistinct("order_id").alias("orders")
    buyers = sales.where("sold").groupBy("customer_id").agg(orders)
    return buyers.agg(F.expr("count_if(orders > 1) / count(*)")).first()[0]
    ### END SOLUTION


# %% tags=["check"]
check.repeat_rate(repeat_rate)

# %% [markdown]
# ## Do they come back? Cohorts
#
# A shop that wins as many customers as it loses looks healthy in its monthly numbers. So we follow **cohorts**: all who
# bought for the first time in the same month, and the share of them that buys again one, two, three months later. The
# function knows only customers and days, so it works for both of our shops: Kestrel Market, and CDNOW with its real
# people.


# %%
def retention(purchases, shop):
    """Return how many customers of each cohort buy in each month since its first."""
    purchases.createOrReplaceTempView("purchases")
    return spark.sql(f"""
        WITH months AS (
            SELECT DISTINCT customer_id, trunc(day, 'MONTH') AS month,
                   trunc(min(day) OVER (PARTITION BY customer_id), 'MONTH') AS cohort
            FROM purchases)
        SELECT '{shop}' AS shop, cohort, count(*) AS customers,
               CAST(months_between(month, cohort) AS INT) AS months_since
        FROM months GROUP BY cohort, month
    """)


# %%
cdnow = spark.table("silver.cdnow").withColumnRenamed("purchased_on", "day")
both = retention(sold_orders, "Kestrel Market").union(retention(cdnow, "CDNOW"))
first = Window.partitionBy("shop", "cohort").orderBy("months_since")
sentence = "customers of the cohort who buy in that month"
cohorts = both.select(
    "shop",
    "cohort",
    "months_since",
    F.col("customers").alias("customers", metadata={"comment": sentence}),
    F.first_value("customers").over(first).alias("cohort_size"),
).cache()
cohorts.write.mode("overwrite").saveAsTable("gold.cohort_retention")

# %%
share = F.round(100 * F.col("customers") / F.col("cohort_size"), 1)
kept = cohorts.withColumn("percent", share).toPandas()
kept[kept["months_since"].between(1, 3)].pivot(
    index=["shop", "cohort", "cohort_size"], columns="months_since", values="percent"
)

# %% [markdown]
# What is NaN, no number, lies in the future: of the cohort of November we know one month after its first, and a 0 in
# the second would be a lie. And at Kestrel Market *first* means the first that we can see. Some of these customers are
# old ones:

# %%
people = spark.table("gold.dim_customer").where("is_current")
firsts = sold_orders.groupBy("customer_id").agg(F.min("month").alias("cohort"))
firsts.join(people, "customer_id").groupBy("cohort").agg(
    F.count("*").alias("customers"),
    F.count_if(F.col("signup_date") < "2025-07-01").alias("signed up before July"),
).orderBy("cohort")

# %% [markdown]
# 1,430 of the 1,586 customers of July had signed up before our data begins, and 361 of the 612 of August. July collects
# the old customers who buy often, August those who skipped July. Neither tells how new customers behave. The data of
# CDNOW begins with its customers, so there first is first.

# %%
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from medallion.lesson import charts

later_months = kept[kept["months_since"] > 0]
shops = ["Kestrel Market", "CDNOW"]
figure = make_subplots(rows=2, subplot_titles=shops, vertical_spacing=0.2)
for row, name in enumerate(shops, start=1):
    shop = later_months[later_months["shop"] == name]
    grid = shop.pivot(index="cohort", columns="months_since", values="percent")
    months = [f"{cohort:%b %Y}" for cohort in grid.index]
    heat = go.Heatmap(z=grid, x=grid.columns, y=months, coloraxis="coloraxis")
    figure.add_trace(heat, row=row, col=1)

# %%
figure.update_layout(
    title="Share of a cohort that buys, by months since its first purchase",
    coloraxis={"colorscale": "Blues", "cmin": 0, "colorbar": {"ticksuffix": " %"}},
    height=520,
)
figure.update_yaxes(autorange="reversed")
charts.show(
    figure,
    alt="Two heat maps of the share of each cohort that buys again, by months since "
    "its first purchase. At Kestrel Market it stays between half and seven tenths. At "
    "CDNOW it starts near 15 per cent and fades to about 6 over a year and a half.",
)

# %% [markdown]
# At CDNOW one customer in seven buys again in the next month, and the share goes on falling. Groceries are bought
# again: in each later month about half of a cohort or more buys. (Kestrel Market's customers are generated, so this
# says nothing about grocers.) In one's own data the *shape* is what to look at: at which level the colour stops fading.
#
# Beside it, the sales of both by week.

# %%
counted = F.count("*").alias("purchases")
ours = sold_orders.groupBy("week").agg(
    counted, F.sum("revenue_cents").alias("revenue_cents")
)
real = cdnow.groupBy(F.date_trunc("week", "day").cast("date").alias("week")).agg(
    counted, F.sum("amount_cents").alias("revenue_cents")
)
weekly = ours.withColumns(
    {"shop": F.lit("Kestrel Market"), "currency": F.lit("EUR")}
).unionByName(real.withColumns({"shop": F.lit("CDNOW"), "currency": F.lit("USD")}))
columns = ["shop", "week", "purchases", "revenue_cents", "currency"]
weekly = weekly.select(columns).cache()
weekly.write.mode("overwrite").saveAsTable("gold.weekly_sales")

# %%
import plotly.express as px

weeks = weekly.orderBy("shop", "week").toPandas()
axes = {"x": "week", "y": "purchases", "facet_col": "shop", "color": "shop"}
figure = px.line(weeks, **axes, title="Purchases a week")
figure.update_xaxes(matches=None)
figure.update_layout(showlegend=False)
for note, shop in zip(figure.layout.annotations, ["CDNOW", "Kestrel Market"]):
    note.text = shop
charts.show(
    figure,
    alt="Two line charts of purchases by week. CDNOW peaks in the first quarter of "
    "1997, then a low line. Kestrel Market grows from July to December; its last "
    "week, a single day, is low.",
)

# %% [markdown]
# All of these customers of CDNOW bought for the first time in its first quarter, and the rest is what they did
# afterwards. Kestrel Market grows to the end. Its last point is no collapse: it is the single Monday that we met above.

# %% [markdown]
# ## The way to a purchase: a funnel
#
# Of those who look, how many buy? We count the clicks by type.

# %%
clicks = spark.table("silver.web_events").where("type <> 'search'")
clicks = clicks.select("session_id", "type", "event_time").cache()
clicks.createOrReplaceTempView("clicks")
clicks.groupBy("type").agg(
    F.count("*").alias("clicks"), F.countDistinct("session_id").alias("visits")
).orderBy(F.desc("clicks"))

# %% [markdown]
# 10,789 purchases of 56,728 views would be one in five. But somebody who looks at ten things and buys
# once is one success in one. The unit of a funnel is the visit, and a step counts only after the step before it. We
# take the first view of a visit and the last of each later step, so that one early click does not hide a later one.
# (`stack` makes four rows of one.)

# %%
funnel = spark.sql("""
    WITH visits AS (
        SELECT min(event_time) FILTER (WHERE type = 'view') AS v,
               max(event_time) FILTER (WHERE type = 'add_to_cart') AS a,
               max(event_time) FILTER (WHERE type = 'checkout') AS c,
               max(event_time) FILTER (WHERE type = 'purchase') AS p
        FROM clicks GROUP BY session_id)
    SELECT stack(4, 1, 'view', count(v), 2, 'add_to_cart', count_if(v <= a),
                 3, 'checkout', count_if(v <= a AND a <= c),
                 4, 'purchase', count_if(v <= a AND a <= c AND c <= p))
           AS (position, step, visits)
    FROM visits
""")

# %%
sentence = "visits with this step after the steps before it"
visits = F.col("visits").alias("visits", metadata={"comment": sentence})
funnel = funnel.select("position", "step", visits).cache()
funnel.write.mode("overwrite").saveAsTable("gold.funnel")

# %%
steps = funnel.orderBy("position").toPandas()
steps["percent"] = (100 * steps["visits"] / steps["visits"][0]).round(1)
steps

# %%
figure = px.funnel(steps, x="visits", y="step", title="Visits by step")
colours = {"marker_color": charts.GOLD, "textfont_color": "black"}
figure.update_traces(texttemplate="%{x:,}", **colours)
charts.show(
    figure,
    alt="Funnel of visits with four bars: of 24,772 visits that view a product, 12,652 "
    "put one into the cart, 9,685 go to the checkout, and 9,422 buy.",
)

# %% [markdown]
# Of the visits that look at a product, 38.0 per cent buy. Almost half never put anything into the cart, and hardly
# anyone who has reached the checkout turns back. A purchase without a view before it is not in the last bar: one can
# also put a product into the cart from the results of a search.
#
# These are our numbers. The tables themselves say what they mean:

# %%
{
    f"{table}.{field.name}": field.metadata["comment"]
    for table in ("monthly_kpis", "cohort_retention", "funnel")
    for field in spark.table(f"gold.{table}").schema
    if "comment" in field.metadata
}

# %% [markdown]
# ## A metric view: the formula with the table
#
# A sentence in a comment does not keep anybody from computing something else. Somebody needs the average order value,
# finds it by channel in a report, and takes the mean of the three.

# %%
by_channel = sold_orders.groupBy("channel").agg(
    F.count("*").alias("orders"), F.sum("revenue_cents").alias("cents")
)
by_channel.select(
    F.round(F.avg(F.col("cents") / F.col("orders")), 1).alias("average of averages"),
    F.round(F.sum("cents") / F.sum("orders"), 1).alias("aov"),
)

# %% [markdown]
# The average of averages gives the small channel the weight of the big ones. The formula was right and was
# applied at the wrong level. A **metric view** holds the formula itself, and Spark applies it at the level that a query
# asks for. (Spark 4.2 leaves an older metric view of that name as it is, even if told to replace it. So we drop it.)

# %%
spark.sql("DROP VIEW IF EXISTS gold.sales_metrics")

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
spark.sql(METRICS)

# %% [markdown]
# A table is files, and a view is only a sentence in the catalog, which ends with our session. `keep_view`, a function
# of this course, keeps the sentence in the lakehouse, so that the next session knows it.

# %%
medallion.keep_view(METRICS)

# %% [markdown]
# A query names measures with `MEASURE()` and groups by any of the dimensions that the view names.

# %%
spark.sql("""
    SELECT channel, MEASURE(orders) AS orders, MEASURE(customers) AS customers,
           MEASURE(revenue) AS revenue, MEASURE(aov) AS aov
    FROM gold.sales_metrics GROUP BY channel
    UNION ALL
    SELECT 'all', MEASURE(orders), MEASURE(customers), MEASURE(revenue), MEASURE(aov)
    FROM gold.sales_metrics ORDER BY orders
""")

# %% [markdown]
# The orders of the channels add up to the last line, and the customers do not, and should not: each was counted once at
# its level.
#
# The view and `gold.monthly_kpis` now define the same numbers, each in its own way. Two definitions drift apart unless
# somebody compares them.

# %%
spark.sql("""
    SELECT count(*) AS months, count_if(100 * v.revenue <> k.revenue_cents
        OR v.orders <> k.orders OR v.customers <> k.customers) AS differ
    FROM gold.monthly_kpis AS k JOIN (
        SELECT month, MEASURE(orders) AS orders, MEASURE(revenue) AS revenue,
               MEASURE(customers) AS customers
        FROM gold.sales_metrics GROUP BY month) AS v ON v.month = k.month
""")

# %% [markdown]
# ## A script in SQL
#
# Before a month is closed, its revenue is compared with Silver. One query could compare all months. But months are
# closed one after the other, and the first that is wrong stops the rest. That takes a loop, a variable, and something
# that happens on an error: a **script**, between `BEGIN` and `END`. We close the first three months. Silver's answer is
# kept in memory, because the loop looks at it in each turn. To be quick, what is closed goes into plain Parquet,
# because this table is thrown away with `scratch`. A record of closed months that is to be kept belongs in a Delta table.
# (`IS DISTINCT FROM` also holds where Silver has no number.)

# %%
spark.sql("DROP TABLE IF EXISTS scratch.closed")
spark.sql("CREATE TABLE scratch.closed (month DATE, closed_by STRING) USING parquet")
silver_months = spark.sql(f"""
    SELECT date_trunc('month', ordered_at) AS month, sum(total_cents) AS cents
    FROM silver.orders WHERE {SOLD} GROUP BY 1
""").cache()
silver_months.createOrReplaceTempView("silver_months")


# %%
def close(kpis):
    """Close month after month; stop at the first whose revenue is not Silver's."""
    return spark.sql(f"""
BEGIN
    DECLARE closed INT DEFAULT 0;
    DECLARE EXIT HANDLER FOR USER_RAISED_EXCEPTION
        SELECT 'stopped' AS verdict, closed AS months;
    FOR kpi AS SELECT month, revenue_cents FROM {kpis} ORDER BY month LIMIT 3 DO
        IF kpi.revenue_cents IS DISTINCT FROM (SELECT cents FROM silver_months
            WHERE month = kpi.month) THEN SELECT raise_error('not as Silver'); END IF;
        INSERT INTO scratch.closed SELECT kpi.month, '{kpis}';
        SET closed = closed + 1;
    END FOR;
    SELECT 'closed' AS verdict, closed AS months;
END""")


# %%
close("gold.monthly_kpis")

# %% [markdown]
# Now with a cent too much in August:

# %%
spark.sql("""
    CREATE OR REPLACE TEMPORARY VIEW a_cent_too_much AS
    SELECT month, revenue_cents + if(month = '2025-08-01', 1, 0) AS revenue_cents
    FROM gold.monthly_kpis
""")
close("a_cent_too_much")

# %%
spark.table("scratch.closed").where("closed_by = 'a_cent_too_much'").orderBy("month")

# %% [markdown]
# July was closed, and August raised the error that the handler caught. September was not looked at. The handler leaves
# the script; it is no transaction, so what was done before it stays done.

# %% [markdown]
# ## Kept up instead of computed anew
#
# All tables so far read everything each time. With half a year of orders nobody minds; with ten years, every few
# minutes, it costs time and money. `silver.orders` tells what has changed: its **change data feed**. Here is one order
# that was returned.

# %%
feed = spark.read.option("readChangeFeed", True).option("startingVersion", 0)
changes = feed.table("silver.orders").select(
    "order_id", "channel", "status", "ordered_at", "total_cents",
    "_change_type", "_commit_version",
).cache()  # fmt: skip
undone = changes.where("status = 'returned' AND _change_type = 'update_postimage'")
example = undone.orderBy("order_id").limit(1).select("order_id")
changes.join(example, "order_id").select(
    "_commit_version", "_change_type", "order_id", "status", "total_cents"
).orderBy("_commit_version", F.desc("_change_type"))

# %% [markdown]
# An update comes as two rows: `update_preimage`, the row as it was, and `update_postimage`, as it became. If we only
# add what is new, we count too much:

# %%
new = changes.where("_change_type IN ('insert', 'update_postimage')").where(SOLD)
sold_now = spark.table("silver.orders").where(SOLD)
count, total = F.count("*"), F.sum("total_cents")
right = sold_now.agg(total).first()[0]
new.agg(total).first()[0], right

# %% [markdown]
# 117,112,537 cents instead of 115,742,086: an order that changed is counted with each of its states. What has to be
# done is bookkeeping: what a row says after a change is added, and what it said before is taken away.

# %% [markdown] tags=["exercise"]
# ### Exercise 3.5: bookkeeping
#
# Write `net(changes)`. It takes rows of the change feed: `_change_type` (one of `insert`, `update_preimage`,
# `update_postimage` and `delete`), `order_id`, `customer_id`, `status` and `total_cents`. It returns one row for each
# customer for whom something changes: `customer_id`, and in `orders` and `cents` what has to be *added* to the
# customer's sums, which can be negative. Cancelled and returned orders do not count (`SOLD` is the condition). Leave
# out customers for whom both are 0.


# %% tags=["solution"]
def net(changes):
    """Return what the changes add to the orders and cents of each customer."""
    ### BEGIN SOLUTION
    sign = F.when(F.col("_change_type").isin("insert", "update_postimage"), 1)
    sign = sign.otherwise(-1)
    counted = changes.where(SOLD).groupBy("customer_id")
    sums = counted.agg(
        F.sum(sign).alias("orders"), F.sum(sign * F.col("total_cents")).alias("cents")
    )
    return sums.where("orders <> 0 OR cents <> 0")
    ### END SOLUTION


# %% tags=["check"]
check.net(net)

# %% [markdown]
# The pipeline does it by day and channel.


# %%
def deltas(changes):
    """Return what changes of orders add to each day and channel, taken away with -."""
    added = F.col("_change_type").isin("insert", "update_postimage")
    sign = F.when(added, 1).otherwise(-1)
    day = F.to_date("ordered_at").alias("day")
    sums = (
        changes.where(SOLD)
        .groupBy(day, "channel")
        .agg(
            F.sum(sign).alias("orders"),
            F.sum(sign * F.col("total_cents")).alias("revenue_cents"),
        )
    )
    return sums.where("orders <> 0 OR revenue_cents <> 0")


# %% [markdown]
# A `MERGE` adds them to the table. Adding is not safe to repeat, so the batch has to say who it is: an
# application and a number, which Delta notes in the commit. A batch that comes a second time is then left out.
# For SQL these are settings of the session, and we take them back, because they would hold for its next write too. With
# `contextmanager`, what stands before `yield` runs as a `with` block begins, and what stands in `finally` as it ends,
# also after an error.

# %%
from contextlib import contextmanager


@contextmanager
def numbered(session, application, number):
    """Let what is written in the block be batch `number` of an application."""
    names = {"txnAppId": application, "txnVersion": number}
    for name, value in names.items():
        session.conf.set(f"spark.databricks.delta.write.{name}", value)
    try:
        yield session
    finally:
        for name in names:
            session.conf.unset(f"spark.databricks.delta.write.{name}")


# %%
def add_to_daily(batch, number):
    """Add a batch of changes to gold.daily_sales, once."""
    deltas(batch).createOrReplaceTempView("deltas")
    with numbered(batch.sparkSession, "daily_sales", number) as session:
        session.sql("""
            MERGE INTO gold.daily_sales AS t USING deltas AS d
            ON t.day = d.day AND t.channel = d.channel
            WHEN MATCHED AND t.orders + d.orders = 0 THEN DELETE
            WHEN MATCHED THEN UPDATE SET
                orders = t.orders + d.orders,
                revenue_cents = t.revenue_cents + d.revenue_cents
            WHEN NOT MATCHED THEN INSERT *
        """)


# %%
spark.sql("""
    CREATE TABLE IF NOT EXISTS gold.daily_sales (
        day DATE, channel STRING, orders BIGINT, revenue_cents BIGINT)
    TBLPROPERTIES (delta.deletedFileRetentionDuration = 'interval 400 days',
        delta.logRetentionDuration = 'interval 400 days')
""")


# %%
def keep_daily():
    """Run the stream from the change feed to gold.daily_sales; return rows read."""
    feed = spark.readStream.option("readChangeFeed", True).option("startingVersion", 0)
    changes = feed.option("maxFilesPerTrigger", 2).table("silver.orders")
    place = str(medallion.landing().parent / "checkpoints" / "03" / "daily_sales")
    writer = changes.writeStream.option("checkpointLocation", place)
    query = writer.foreachBatch(add_to_daily).trigger(availableNow=True).start()
    query.awaitTermination()
    return sum(progress["numInputRows"] for progress in query.recentProgress)


keep_daily()

# %% [markdown]
# Does it equal the full recompute? Both are small here, so we fetch the rows as two sets. In Python `^` gives the rows
# that only one of them has. (A set does not show that a row is there twice; the test of the grain at the end does. At
# scale this is `EXCEPT ALL` in both directions, and both have to be empty.)

# %%
recomputed = sold_now.groupBy(F.to_date("ordered_at").alias("day"), "channel").agg(
    count.alias("orders"), total.alias("revenue_cents")
)
expected = set(recomputed.collect())
daily = spark.table("gold.daily_sales")
len(expected), expected ^ set(daily.collect())

# %% [markdown]
# The recompute has 546 rows, and no row is only on one side.
#
# The stream, run again, reads nothing and changes nothing. Then the case that the note in the commit is for: all
# that is in the feed arrives once more, as batch 0, which the table has had.

# %%
rows_read = keep_daily()
add_to_daily(changes, 0)
rows_read, expected ^ set(daily.collect())

# %% [markdown]
# ## To the cent
#
# Three tables now claim to know the revenue of a day: Silver's orders, the fact table made of Silver's lines, and the
# table that the stream keeps. We put them side by side, for each day, and keep the result as a table.

# %%
books = spark.sql(f"""
    SELECT day, sum(silver) AS silver_cents, sum(fact) AS fact_cents,
           sum(daily) AS daily_cents FROM (
        SELECT to_date(ordered_at) AS day, total_cents AS silver, 0 AS fact, 0 AS daily
        FROM silver.orders WHERE {SOLD}
        UNION ALL SELECT day, 0, line_cents, 0
        FROM gold.fact_sales JOIN gold.dim_date USING (date_key) WHERE sold
        UNION ALL SELECT day, 0, 0, revenue_cents FROM gold.daily_sales)
    GROUP BY day
""").cache()
books.write.mode("overwrite").saveAsTable("gold.reconciliation")
books = books.orderBy("day").toPandas()
books.head(3)

# %%
silver, fact, kept_up = books["silver_cents"], books["fact_cents"], books["daily_cents"]
wrong = (silver != fact) | (silver != kept_up)
{
    "days": len(books),
    "silver": silver.sum().item(),
    "fact": fact.sum().item(),
    "daily": kept_up.sum().item(),
    "wrong": wrong.sum().item(),
}

# %% [markdown]
# All days agree. By day matters: a cent too much on Monday and a cent too little on Tuesday would vanish in the total.
#
# One more witness, who knows nothing of Spark: DuckDB reads the same files, through the library `deltalake`. We put one
# question to both. DuckDB finds the Python variable `fact_sales` by its name.

# %%
import duckdb
from deltalake import DeltaTable

QUESTION = """
    SELECT sum(line_cents) AS revenue_cents, count(DISTINCT customer_id) AS customers,
           CAST(round(sum(line_cents) / count(DISTINCT order_id)) AS BIGINT) AS aov
    FROM {} WHERE sold
"""
gold = medallion.landing().parent / "gold"
fact_sales = DeltaTable(str(gold / "fact_sales")).to_pyarrow_dataset()
with_spark = spark.sql(QUESTION.format("gold.fact_sales")).first()
tuple(with_spark), duckdb.sql(QUESTION.format("fact_sales")).fetchall()[0]

# %% [markdown]
# Both say 115,742,086 cents, 3,710 customers, and 3,374 cents an order.

# %% [markdown]
# ## As reported on
#
# At the beginning of October somebody reported the revenue of the last weeks. If we compute it today, it is another
# number, because orders were cancelled, returned and deleted since. Both are right. To explain the first we need the
# table as it was then, and Delta has it: each micro-batch of the stream made a version.

# %%
history = spark.sql("DESCRIBE HISTORY gold.daily_sales").where("operation = 'MERGE'")
history.select("version", "operation").orderBy("version")

# %%
reported = spark.read.option("versionAsOf", 1).table("gold.daily_sales").toPandas()
reported["day"].max()

# %%
import pandas as pd

weeks = spark.table("gold.dim_date").select("day", "iso_week").toPandas()


def by_week(daily):
    """Return the revenue by week of some daily sales."""
    return daily.merge(weeks, on="day").groupby("iso_week")["revenue_cents"].sum()


both = pd.DataFrame({"reported": by_week(reported), "today": by_week(daily.toPandas())})
both = both.loc["2025-W36":"2025-W40"].astype("int64")
both["since"] = both["today"] - both["reported"]
both

# %% [markdown]
# Version 1 ends with 5 October, a Sunday. Of week 40, 4,497,764 cents were reported, and 361,273 of them have gone
# since. Week 39 lost 85,055, week 38 another 9,609, and the two weeks before nothing. How far back a number still sinks
# depends on when returns become known.
#
# `TIMESTAMP AS OF` asks by the clock instead. Both work only as long as the old files and the log are kept, a week and
# a month unless the table says otherwise. That is why ours was made with 400 days (chapter 01 shows what happens
# without). A report that must be repeated after that is kept as a table.

# %% [markdown]
# ## A page that moves
#
# Last, a number that is looked at while it changes. Orders arrive, a stream keeps `gold.live_sales`, and a page
# redraws. Whether an order will be cancelled, nobody knows yet. So this is what was *ordered*, the first of the three
# answers above, and not our KPI.
#
# We let the last day arrive once more: its orders until 17:00 first, and then those of an hour. Each arrival is a file.

# %%
arrivals = medallion.scratch() / "arrivals"
arrivals.mkdir(exist_ok=True)
last_day = (
    spark.table("silver.orders")
    .where("ordered_at >= '2025-12-29'")
    .select("order_id", "channel", "ordered_at", "total_cents")
)
last_day = last_day.orderBy("order_id").toPandas()


def arrive(first, end):
    """Let the orders of the hours from `first` to before `end` arrive, as a file."""
    hours = last_day["ordered_at"].dt.hour
    rows = last_day[(hours >= first) & (hours < end)]
    file = arrivals / f"_{end}.json"  # Spark passes over names that begin with _
    rows.to_json(file, orient="records", lines=True, date_format="iso")
    file.rename(arrivals / f"{end}.json")


# %% [markdown]
# The stream sums by hour and channel. In the mode `complete` it replaces the small table with each batch, so a batch
# that is repeated does no harm. `with` stops it at the end, whatever happens in between. To see that, the cell below raises an error
# on purpose after the last arrival, and catches it outside of the block. (In your own code, do not catch what you did not
# raise: a real error would vanish as well.)


# %%
@contextmanager
def live_sales():
    """Keep gold.live_sales from the files that arrive, until the block ends."""
    ddl = "order_id STRING, channel STRING, ordered_at TIMESTAMP, total_cents INT"
    hour = F.date_trunc("hour", "ordered_at").alias("hour")
    rows = spark.readStream.schema(ddl).json(str(arrivals)).groupBy(hour, "channel")
    sums = rows.agg(count.alias("orders"), total.alias("revenue_cents"))
    writer = sums.writeStream.outputMode("complete").trigger(processingTime="1 second")
    place = str(medallion.scratch() / "live-checkpoint")
    query = writer.option("checkpointLocation", place).toTable("gold.live_sales")
    try:
        yield query
    finally:
        query.stop()


# %%
from medallion.servers import dashboard

seen = []
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
# The two pairs came over HTTP, from the page, while the stream was running, and they moved. In Silver, this came in
# by 18:00:

# %%
came = last_day[last_day["ordered_at"].dt.hour < 18]
len(came), came["total_cents"].sum().item()

# %% [markdown]
# That is what the page showed last. To watch it move, run `medallion dashboard` in a terminal, open the address that it
# prints, and run the cell above with later hours, `[(18, 19), (19, 20), (20, 21)]`.
#
# Then something failed, on purpose. `with` ends both, the stream and the page, also in this case:

# %%
still_running

# %% [markdown]
# ## Every grain once more
#
# Each table of this chapter promised a grain in its first sentence. The two that were tested as they were written hold.
# We ask for the others with DuckDB, which reads such small tables in some milliseconds: which keys do two rows share?

# %%
KEYS = {
    "dim_date": ["date_key"],
    "dim_customer": ["customer_key"],
    "fact_open_orders": ["date_key", "channel"],
    "monthly_kpis": ["month"],
    "cohort_retention": ["shop", "cohort", "months_since"],
    "weekly_sales": ["shop", "week"],
    "funnel": ["step"],
    "daily_sales": ["day", "channel"],
    "reconciliation": ["day"],
    "live_sales": ["hour", "channel"],
}

# %%
doubled = []
for table, key in KEYS.items():
    rows = DeltaTable(str(gold / table)).to_pyarrow_dataset()
    query = f"SELECT {', '.join(key)} FROM rows GROUP BY ALL HAVING count(*) > 1"
    doubled += duckdb.sql(query).fetchall()
len(KEYS), doubled

# %% [markdown]
# None of the ten has a key twice.

# %% [markdown]
# ## Failure lab: the join that multiplies
#
# A report on revenue by method of payment. The lines have the amounts and the payments have the method, so we join
# them.

# %%
paid = spark.table("silver.payments").select("order_id", "method", "status", "paid_at")
sold_lines = spark.table("gold.fact_sales").where("sold")
sold_lines = sold_lines.select("order_id", "line_no", "line_cents")
fanned = sold_lines.join(paid, "order_id").cache()
by_method = fanned.groupBy("method").agg(F.sum("line_cents").alias("cents"))
by_method = by_method.orderBy("method").toPandas()
by_method

# %%
too_much = by_method["cents"].sum().item()
too_much, right, too_much - right

# %% [markdown]
# The table looks reasonable, and its sum is 18,529,391 cents too high. It is wrong twice: much was counted twice, and
# orders without a payment in Silver have dropped out. No query fails on such a join. What fails, if somebody asks, is
# the grain: one row should still be one line of an order.

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
# each line of the order beside both: the revenue of this order has doubled. That is a **fan-out**. The mend is to bring
# the finer side to the grain of the join before it is joined: one row for each order, with the method that worked.

# %%
paid_by = F.expr("max_by(method, paid_at) FILTER (WHERE status = 'authorised')")
attempts = spark.table("silver.payments").groupBy("order_id")
per_order = attempts.agg(paid_by.alias("method"))
one_each = sold_now.join(per_order, "order_id", "left").fillna("unknown", "method")
one_each = require_grain(
    one_each.select("order_id", "method", "total_cents").cache(), "order_id"
)
methods = one_each.groupBy("method").agg(
    count.alias("orders"), total.alias("revenue_cents")
)
methods.write.mode("overwrite").saveAsTable("gold.method_sales")
methods = methods.orderBy("method").toPandas()
methods

# %%
methods["revenue_cents"].sum().item()

# %% [markdown]
# 115,742,086 cents, as in Silver. The join is a left one, so the orders whose payment Silver had set aside are in it
# too, under a name that says so.

# %% [markdown]
# ## Check yourself

# %%
from medallion.lesson import quiz

quiz.show("03")

# %% [markdown]
# ## What we know now
#
# - The grain is a sentence and a key. We test it before we write, and after each join.
# - A surrogate key that is a hash stays the same, whatever is loaded when.
# - Each moment of a customer belongs to one version; a fact that comes before its dimension gets an inferred member.
# - Amounts add up. Levels do not add up over time. Averages, shares and distinct counts do not add up at all.
# - A number has one definition: in the comment of its column, and in a metric view that applies it at any level.
# - A change feed is bookkeeping: add what is, take away what was, and say which batch it is.
# - A Gold table is right when it reconciles with Silver by day, and a report can be repeated from the version it was made of.
#
# **On Databricks** a metric view can also join its tables and say how its numbers are formatted, and dashboards and
# Genie ask it by name. Unity Catalog keeps views, so `keep_view` does nothing there. A `PRIMARY KEY` is a note for
# readers and for the optimizer and is not enforced, so the tests of the grain stay. A materialized view can be kept up
# as our stream does by hand, and `AUTO CDC` keeps the history of a dimension.
