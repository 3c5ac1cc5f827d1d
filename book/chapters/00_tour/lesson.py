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
#     makes: {}
#     grain: {}
#     minutes: {read: 30, practise: 30}
#     summary: what a lakehouse is, a first Delta table and its versions, and how Spark runs a query
#     outline: >-
#       What a lakehouse is; a first Delta table, its versions, and what a write refuses; then Spark itself: lazy
#       evaluation, jobs and stages, partitions and the shuffle, joins, NULL, columns and SQL, the time zone, and
#       a session without this course.
#     objectives:
#     - say what a lakehouse is, and what each of its layers is for
#     - write a Delta table, change it, and read it as it was before
#     - tell a transformation from an action, and find the shuffle in a plan
#     - choose the kind of a join, and compare values that may be NULL
#     - start Spark with Delta Lake without this course
# ---

# %% [markdown]
# # A tour: lakehouse, Delta Lake and Spark
#
# Kestrel Market sells groceries online. Customers order, sellers deliver, and parcels wait in
# lockers with a cooling unit. Every one of these leaves a trail of files: exports, events, messages
# from machines. In this course we turn the trail into tables that people can trust, and the tables
# into answers: what did we sell, who is about to leave, which payment is a fraud.
#
# ![The flow of the course: sources, then the layers Bronze, Silver and Gold, then their use in machine learning, streams and graphs](../book/figures/flow.svg)
#
# This chapter is the way in. Its first half makes a table and changes it. Its second half explains how
# Spark runs a query, for readers who know Python, SQL and pandas and have never used Spark.

# %% [markdown]
# ## What a lakehouse is
#
# A **data warehouse** keeps tables with rules: a change happens completely or not at all, and a column has
# one type. It wants its data neat, and it keeps it in a format of its own.
#
# A **data lake** keeps files: any kind, any amount, readable by any program. It has no rules,
# so nobody knows whether a folder is complete while somebody writes to it.
#
# A **lakehouse** is a lake of open files with a log beside them that adds the rules. The files are **Parquet**, an
# open format that stores a table column by column. The log is what **Delta Lake** writes. The program that reads and
# writes both, here, is **Apache Spark**, an engine that splits a query into parts and runs them on many cores or
# machines.
#
# The tables stand in three layers, named after medals:
#
# | layer | what it holds | the question it answers |
# |---|---|---|
# | Bronze | every row as it came, and where it came from | what did they send us? |
# | Silver | one clean row for each thing, and the rows we refused with the reason | what is true? |
# | Gold | facts, dimensions and measures with a definition | what does the business want to know? |

# %% [markdown]
# ## The map of the course
#
# <!-- The map of the chapters: produced by `medallion build`. -->
#
# Each chapter is a page to read and a notebook to work in. The page needs nothing installed. The
# notebook runs on this machine: no account, no cloud.

# %% [markdown]
# ## A Spark session
#
# One line starts Spark with Delta Lake. It takes a few seconds, because a Java process starts behind it.
# [Further down](#a-session-without-this-course) we see what the line does, and how to do without it.

# %% tags=["setup"]
import medallion

spark = medallion.start("00")

# %% [markdown]
# Every session has two things. `spark` is the way to all tables. The schema `scratch` is an empty place of our own,
# gone when the session ends, so that we can try anything. (A schema here is a named group of tables. The word also
# means the columns of a table with their types.)

# %% [markdown]
# ## The first Delta table
#
# We make four orders by hand. The second argument states the names and types of the columns. `mode("overwrite")`
# replaces a table that has the name already. Money is in whole cents throughout the course, because whole numbers add
# up exactly and floating-point euros do not. (`DECIMAL(12, 2)` would be exact too.)

# %% tags=["setup"]
orders = spark.createDataFrame(
    [(1, "Ada", 1250), (2, "Ben", 480), (3, "Ada", 2199), (4, "Cleo", 890)],
    "order_id INT, customer STRING, total_cents INT",
)
orders.write.mode("overwrite").saveAsTable("scratch.orders")

# %% [markdown]
# A DataFrame at the end of a cell is shown as a table. Rows in a lakehouse have no order of their own,
# so we say which one we want to see.

# %%
spark.table("scratch.orders").orderBy("order_id")

# %% [markdown]
# On the disk, the table is a folder. We look into it from outside, with nothing but Python.

# %%
folder = medallion.scratch() / "orders"
sorted(path.name for path in (folder / "_delta_log").glob("*.json"))

# %%
len(list(folder.glob("*.parquet")))

# %% [markdown]
# The rows are in 2 Parquet files: they lay in two [partitions](#partitions-and-the-shuffle), and each wrote one. The
# folder `_delta_log` has one file, numbered zero: the first **commit**. It lists the Parquet files that make up
# version 0 of the table. A Parquet file that no commit lists is not part of the table.

# %% [markdown]
# ## UPDATE, versions and time travel
#
# Cleo's order was one euro too low. In a lake of plain files we would have to rewrite the files ourselves.
# Here we say what should change.

# %% tags=["setup"]
spark.sql("UPDATE scratch.orders SET total_cents = 990 WHERE order_id = 4")

# %% [markdown]
# The result says that one row changed. A Parquet file cannot be edited. So the update wrote a new file, and
# a new commit that removes the old file from the list and adds the new one. Delta keeps the history of the
# commits:

# %%
history = spark.sql("DESCRIBE HISTORY scratch.orders")
history.select("version", "operation").orderBy("version")

# %% [markdown]
# The old file is still on the disk, so version 0 can still be read. Before opening the next output, write
# down the two numbers you expect: the sum of all orders in version 0, and in version 1.

# %% tags=["predict"]
spark.sql("""
    SELECT (SELECT sum(total_cents) FROM scratch.orders VERSION AS OF 0) AS before,
           (SELECT sum(total_cents) FROM scratch.orders VERSION AS OF 1) AS after
""")

# %% [markdown]
# 4819 cents before, 4919 after: the difference is the euro. A report that was printed before the change can be
# printed again, cent for cent. This is **time travel**. It works as long as the log and the old files are kept: by
# default `VACUUM` deletes files that left the table more than 7 days ago, and the log goes back 30 days. For an
# archive, copy the rows.

# %% [markdown]
# ## How the exercises work
#
# An exercise is a task, a cell with a blank `...`, and a check. Run the check at any time: it names
# the first thing that is wrong in your own data, and never only says "wrong". Stuck? Ask for a hint;
# there are three for each exercise, each stronger than the one before.
#
# On the page the answer is folded under the exercise. `medallion lab` opens the same exercises as
# notebooks with blanks, and `medallion progress` shows what is done.

# %% tags=["setup"]
check = medallion.checks("00")

# %%
check.read_version.hint()

# %% [markdown] tags=["exercise"]
# ### Exercise 0.1: read a version of a table
#
# Write the function `as_of`. It returns the rows of a Delta table as they were in a version: for example
# `as_of("scratch.orders", 0)`. The version is a whole number, and `table` may be any Delta table. SQL says it with
# `SELECT * FROM scratch.orders VERSION AS OF 0`; the reader `spark.read` has an option for it.


# %% tags=["solution"]
def as_of(table, version):
    """Return the rows of a Delta table in one of its versions."""
    ### BEGIN SOLUTION
    return spark.read.option("versionAsOf", version).table(table)
    ### END SOLUTION


# %% tags=["check"]
check.read_version(as_of)

# %% [markdown]
# ## Writes and types: a write casts value by value
#
# The column `total_cents` is an `INT`. Dan's order has its total as a string: `"1250"`. We append it. How many
# orders does the table have afterwards: 4 or 5? Write it down.

# %%
STRINGS = "order_id INT, customer STRING, total_cents STRING"
dan = spark.createDataFrame([(5, "Dan", "1250")], STRINGS)

# %% tags=["predict"]
dan.write.mode("append").saveAsTable("scratch.orders")
spark.table("scratch.orders").orderBy("order_id")

# %% [markdown]
# 5 orders, and the new total is the number 1250. When Delta 4.4 writes to a table by its name, it casts each value to
# the type of its column. It does not refuse the type `STRING`; it refuses a value that cannot be cast. Types without
# any cast between them, such as `DATE` and `INT`, are refused before a value is read. A write by path is stricter:
#
# (We need the names of errors, so we write a function that returns them.)


# %%
def refusal(action, *arguments):
    """Run an action that should fail, and return the name of its error."""
    try:
        action(*arguments)
    except Exception as error:
        return medallion.reason(error)


refusal(dan.write.format("delta").mode("append").save, str(folder))

# %% [markdown]
# And a cast may lose something. A `DOUBLE` of 12.7 fits into an `INT` once its fraction is gone:

# %%
spark.sql("CREATE OR REPLACE TABLE scratch.totals (total INT)")
spark.sql("SELECT 12.7D AS total").write.mode("append").saveAsTable("scratch.totals")
spark.table("scratch.totals")

# %% [markdown]
# A column that the table does not have is refused by its name, before any value is cast:

# %% tags=["setup"]
from pyspark.sql import functions as F

# %%
channel = orders.withColumn("channel", F.lit("app"))
refusal(channel.write.mode("append").saveAsTable, "scratch.orders")

# %% [markdown]
# ## Failure lab: a write that fails in the middle
#
# Two orders arrive in one write. Eva's total, `"300"`, can be cast. Finn's, `"about ten euros"`, cannot.
# `coalesce(1)` puts both rows into one partition and so into one file: Eva's row is already in the open file when
# Finn's fails.

# %%
two = spark.createDataFrame(
    [(6, "Eva", "300"), (7, "Finn", "about ten euros")], STRINGS
)
write = two.coalesce(1).write.mode("append")
before = set(folder.glob("*.parquet"))
refusal(write.saveAsTable, "scratch.orders")

# %%
spark.table("scratch.orders").count()

# %% [markdown]
# The write is refused, and the table still has 5 orders. A write happens completely or not at all: that is the **A**,
# atomicity, of ACID. Chapter 01 comes back to the other three letters. But what is on the disk?

# %%
new = {path.name for path in set(folder.glob("*.parquet")) - before}
files = spark.table("scratch.orders").inputFiles()
listed = {path.rpartition("/")[2] for path in files}
[len(new), len(new & listed)]

# %% [markdown]
# The failed write left 1 file, with Eva's row, and the table lists 0 of it: a valid Parquet file that no commit
# names. A program that reads the folder and not the log counts its row, and the rows of old versions as well:

# %%
from pyarrow.dataset import dataset

dataset(folder, format="parquet").count_rows()

# %% [markdown]
# 8 rows lie in the folder, and 5 are in the table. The fix is to read a Delta table through its log: by its name or
# with `format("delta")` in Spark, with the Python package `deltalake`, or with `delta_scan` of DuckDB.
# `spark.read.parquet(folder)` counts 8 rows too. On a cluster Spark tries a failed task again, by default 4 times in
# all, and each try can leave a file. `VACUUM` deletes such orphans once they are older than the retention time, by
# default 7 days.
#
# How does Finn's order get into Bronze, which keeps every row? Bronze keeps what was sent as a `STRING`, and Silver
# casts it: chapters 01 and 02 show how. Since Spark 4.0 a failed cast raises an error (**ANSI mode**); `try_cast`
# returns NULL instead.

# %% [markdown]
# ## Lazy evaluation: transformations and actions
#
# A **DataFrame** holds no rows. It is a plan: where rows come from, and what happens to them. A **transformation**,
# such as `where`, adds a step and returns a new DataFrame. An **action**, such as `count`, runs the plan.
# This is **lazy evaluation**. Spark sees the complete query before it reads the first row, so it can leave out the
# columns and the files that the query does not need. A command such as `UPDATE`, `INSERT` or `CREATE TABLE` in
# `spark.sql` is the exception: it runs at once.
#
# An action starts one **job** or more, unless the result is known without reading rows. A job is the work that Spark
# runs for a result. We count the jobs of this chapter.

# %% tags=["setup"]
context = spark.sparkContext
context.setJobGroup("tour", "the jobs of this chapter")


def jobs():
    """Return how many jobs have run. Spark counts in the background: wait for it."""
    context._jsc.sc().listenerBus().waitUntilEmpty()
    return len(context.statusTracker().getJobIdsForGroup("tour"))


# %% [markdown]
# Here are three transformations. How many jobs do they start? Write down a number.

# %% tags=["predict"]
before = jobs()
large = orders.where("total_cents > 800")
priced = large.withColumn("euros", F.col("total_cents") / 100)
sorted_orders = priced.orderBy("order_id")
jobs() - before

# %% [markdown]
# 0: nothing has run. To show the rows is an action, and it runs all three steps.

# %%
sorted_orders

# %%
jobs() - before

# %% [markdown]
# Our session checks names and types when we write a transformation, and values when an action runs. A misspelt column
# is refused at once. (With Spark Connect, as on serverless compute of Databricks, a wrong name is found later: when
# the schema is asked for or an action runs.)

# %%
refusal(orders.select, "custmer")

# %% [markdown]
# A value that cannot be cast is found only when the plan runs. So an error can appear many cells below the line that
# caused it.

# %%
wrong = orders.select(F.col("customer").cast("int"))

# %%
refusal(wrong.collect)

# %% [markdown]
# `collect` and `toPandas` bring all rows of the result to the driver, into Python. They are for small results. The
# **driver** is the process that plans queries and hands out the work; **executors** do it. On a laptop one Java
# process is both. On a cluster the executors are on many machines.
#
# Spark has to know the names and the types of columns before anything runs. A Delta table states them. A reader of
# files without `.schema(…)` opens a file at once, and that is a job too: a CSV for its header, a Parquet file for its
# footer.

# %% tags=["setup"]
from pathlib import Path

file = str(medallion.scratch() / "orders.csv")
Path(file).write_text("order_id,customer,total_cents\n1,Ada,1250\n2,Ben,480\n")
SCHEMA = "order_id INT, customer STRING, total_cents INT"

# %% [markdown] tags=["exercise"]
# ### Exercise 0.2: find the lines that start a job
#
# `file` is the path of a small CSV file with two orders, and `SCHEMA` has its columns. Which of these lines start a job? Set
# `start_a_job` to a list of letters. `persist` asks Spark to keep the rows of a DataFrame for later actions. Decide
# first; then try the lines in a cell of your own, in their order, with `jobs()` before and after each.
#
# ```python
# kept = spark.read.schema(SCHEMA).csv(file, header=True)      # A
# guessed = spark.read.csv(file, header=True)                  # B
# costly = kept.where("total_cents > 1000")                    # C
# costly.columns                                               # D
# costly.count()                                               # E
# customers = kept.groupBy("customer").count()                 # F
# customers.explain()                                          # G
# customers.persist()                                          # H
# customers.first()                                            # I
# customers.write.mode("overwrite").saveAsTable("scratch.customers")  # J
# ```

# %% tags=["solution"]
### BEGIN SOLUTION
start_a_job = ["B", "E", "I", "J"]
### END SOLUTION

# %% tags=["check"]
check.start_a_job(start_a_job)

# %% [markdown]
# ## Columns and SQL strings: F.col, F.expr, F.lit
#
# A query can be written in SQL, or with functions over a `Column`. Both make the same plan.

# %%
by_sql = orders.where("customer = 'Ada' AND NOT total_cents > 2000")
by_column = orders.where((F.col("customer") == "Ada") & ~(F.col("total_cents") > 2000))
by_sql.sameSemantics(by_column)

# %% [markdown]
# `where` reads a string as SQL. Between Columns we write `&`, `|` and `~`. They bind more tightly than `==` and
# `>`, so each comparison gets parentheses. Python's own `and` asks for one truth value, and a Column has none:


# %%
def with_and():
    """Compare with the wrong word."""
    return (F.col("customer") == "Ada") and (F.col("total_cents") > 2000)


refusal(with_and)

# %% [markdown]
# Most functions in `F` read a string as the *name* of a column. What a Column is compared with, as `== "Ada"` above,
# is a value, and so are the results of `F.when`. `F.lit` makes a Column from a value, `F.expr` from a piece of SQL.

# %%
orders.select(
    F.upper("customer"), F.lit("customer"), F.expr("total_cents / 100")
).limit(1)

# %% [markdown]
# `F.when` wants its condition as a Column. A string is refused, and `F.expr` helps:

# %%
refusal(F.when, "total_cents > 2000", "large")

# %%
F.when(F.expr("total_cents > 2000"), "large").otherwise("small")

# %% [markdown]
# A Column is an expression and holds no values, so this cell shows what it would compute.

# %% [markdown]
# ## Partitions and the shuffle
#
# Spark divides the rows of a DataFrame into **partitions**. A **task** is the work on one partition, done by one core.
# Our four orders lie in two partitions, because this session uses two cores:

# %%
placed = orders.withColumn("partition", F.spark_partition_id())
placed.orderBy("order_id")

# %% [markdown]
# `where` works inside each partition. `groupBy("customer")` cannot: Ada has an order in both. First her
# rows have to meet in one partition. Moving rows between partitions by a key is a **shuffle**. It writes to
# disk and, on a cluster, sends data over the network, so it is usually the most expensive step of a query.
#
# ![How Spark runs a query: transformations make a plan, an action starts a job, a shuffle divides the job into stages, and a stage has a task for each partition](../book/figures/flow-00-query.svg)
#
# A shuffle divides a job into **stages**. `explain` prints the plan, and in it the shuffle has the name `Exchange`. We
# leave out the numbers by which Spark tells columns apart.

# %%
import contextlib
import io
import re


def plan(frame):
    """Print the plan of a DataFrame, without the numbers of columns."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        frame.explain()
    print(re.sub(r"#\d+L?|, \[plan_id=\d+\]", "", text.getvalue()).strip())


# %%
plan(orders.groupBy("customer").count())

# %% [markdown]
# Read a plan from the bottom. Stage 1 scans the rows and keeps the column `customer`. `HashAggregate` adds up by key:
# the lower one counts within each partition (`partial_count`). `Exchange hashpartitioning(customer, 2)` sends each
# customer to one of two partitions. In stage 2 the upper `HashAggregate` adds up the partial counts. Only the counts
# travel, not the rows.
#
# `AdaptiveSparkPlan` means that Spark may change the rest of the plan after each shuffle, when it knows the sizes.
# So an action often shows as two jobs or more.

# %% [markdown] tags=["exercise"]
# ### Exercise 0.3: total per customer, largest first
#
# Write `spending`. It receives a DataFrame such as `orders` and returns one row for each customer, with exactly the columns
# `customer` and `spent_cents`. The customer who spent most comes first. Use `groupBy` and `agg` with `F.sum`,
# `alias` for the name, and `orderBy` with `F.desc`. Or use SQL: `spark.sql("... FROM {orders}", orders=orders)`.


# %% tags=["solution"]
def spending(orders):
    """Return what each customer has spent, the largest sum first."""
    ### BEGIN SOLUTION
    spent = orders.groupBy("customer").agg(F.sum("total_cents").alias("spent_cents"))
    return spent.orderBy(F.desc("spent_cents"))
    ### END SOLUTION


# %% tags=["check"]
check.spending(spending)

# %% [markdown]
# The function works for any such DataFrame, for example for the large orders only:

# %%
spending(large)

# %% [markdown]
# ## Kinds of join: inner, left, left_semi, left_anti
#
# Here are five orders, one of them without a customer, and the addresses of customers. Ada has two addresses.

# %%
sales = spark.createDataFrame(
    [(1, "Ada"), (2, "Ben"), (3, "Ada"), (4, "Cleo"), (5, None)],
    "order_id INT, customer STRING",
)
homes = spark.createDataFrame(
    [("Ada", "Leipzig"), ("Ada", "Dresden"), ("Ben", "Bremen"), ("Dan", "Graz")],
    "customer STRING, city STRING",
)

# %% [markdown]
# | kind | rows of the left side that come out | columns |
# |---|---|---|
# | `inner` | those with a match, once for each match | both; a key that is named as a string, once |
# | `left` | all; those without a match once, with NULL on the right | both |
# | `left_semi` | those with a match, once | left |
# | `left_anti` | those without a match, once | left |
#
# How many rows does each kind return for these two tables? Write down four numbers.

# %% tags=["predict"]
KINDS = ("inner", "left", "left_semi", "left_anti")
{kind: sales.join(homes, "customer", kind).count() for kind in KINDS}

# %% [markdown]
# `inner` has 5 rows: two orders of Ada with two addresses each, and one of Ben. `left` adds Cleo's order and the one
# without a customer: 7. `left_semi` and `left_anti` never multiply rows; their 3 and 2 add up to the five orders.

# %% [markdown]
# ## Broadcast joins
#
# To join two large tables, Spark shuffles both by the key. If one side is small, it copies that side to every
# executor and does not shuffle the other. That is a **broadcast join**. Spark chooses it for a side that it estimates
# at no more bytes than this setting allows:

# %%
spark.conf.get("spark.sql.autoBroadcastJoinThreshold")

# %% [markdown]
# That is Spark's default, 10,485,760 bytes. It does not know the size of our two frames, so `F.broadcast` asks for the
# broadcast. The driver collects that side first: the hint on a large table can end in an out-of-memory error.

# %%
plan(sales.join(homes, "customer"))

# %%
plan(sales.join(F.broadcast(homes), "customer"))

# %% [markdown]
# The first plan has an `Exchange hashpartitioning` and a `Sort` on each side, for a `SortMergeJoin`. In the second
# only the small side moves: `BroadcastExchange`. Both are the plans before they run. In the first, adaptive execution
# finds after the shuffles that a side is small and broadcasts it after all, but the shuffles have been paid for.

# %% [markdown]
# ## NULL: three-valued logic and <=>
#
# In SQL a condition is true, false or NULL, which means unknown. This is **three-valued logic**. A comparison with
# NULL is NULL. So is its negation.

# %%
spark.sql("""
    SELECT NULL = 1 AS equal, NOT (NULL = 1) AS negated, NULL = NULL AS both,
           NULL AND false AS and_false, NULL OR true AS or_true,
           NULL <=> NULL AS null_safe
""")

# %% [markdown]
# `NULL AND false` is false and `NULL OR true` is true, because the unknown side cannot change the result.
#
# `WHERE` keeps a row, and a join matches two rows, only if the condition is true. Order 5 has no customer, so neither `customer = 'Ada'`
# nor its opposite keeps it:

# %%
sales.where("customer <> 'Ada'").orderBy("order_id")

# %% [markdown]
# With the two orders of Ada these are four of five. The operator `<=>` (in Python `eqNullSafe`) is never NULL. It is true when both
# sides are NULL, and false when one is.

# %%
sales.where(~F.col("customer").eqNullSafe("Ada")).orderBy("order_id")

# %% [markdown]
# A join can use any condition between the two sides. Both have a column `customer`, so we name each by its DataFrame:

# %%
same = sales.customer == homes.customer
sales.join(homes, same, "left_anti").orderBy("order_id")

# %% [markdown]
# Order 5 has no match, because NULL equals nothing. Is that right? It depends on what NULL means. If it means "we do not
# know the customer", two NULLs need not be the same customer. If it means a value, such as "everywhere", they are equal.

# %% tags=["setup"]
prices = spark.createDataFrame(
    [(1, "DE", 120), (1, None, 130), (2, "DE", 90)],
    "product_id INT, region STRING, cents INT",
)
delivery = spark.createDataFrame(
    [(1, 1, "DE", 120), (2, 1, None, 130), (3, 1, "ES", 150), (4, 2, None, 95)],
    "line_no INT, product_id INT, region STRING, cents INT",
)

# %% [markdown] tags=["exercise"]
# ### Exercise 0.4: keep the rows that are not there yet
#
# `prices` has a price for each product and region; a region of NULL means "everywhere else". `delivery` holds the
# rows of a file that may have been sent before. Write `new_prices`. It returns the rows of `delivery` whose product
# and region are not in `prices`, as often as they come and with all columns of the delivery. In both columns two
# NULLs are equal. The price does not matter.


# %% tags=["solution"]
def new_prices(delivery, prices):
    """Return the rows of a delivery whose product and region are not in prices."""
    ### BEGIN SOLUTION
    same_product = delivery.product_id.eqNullSafe(prices.product_id)
    same_region = delivery.region.eqNullSafe(prices.region)
    return delivery.join(prices, same_product & same_region, "left_anti")
    ### END SOLUTION


# %% tags=["check"]
check.new_prices(new_prices)

# %%
new_prices(delivery, prices).orderBy("line_no")

# %% [markdown]
# Lines 1 and 2 were sent before. A join with `==` would return line 2 as new each time the file comes.

# %% [markdown]
# ## The session time zone
#
# A `TIMESTAMP` is an instant: the same moment everywhere. Which day it belongs to depends on a time zone, and
# Spark uses that of the session.


# %%
def day_in(zone):
    """Return the day of one instant, in a session of this time zone."""
    spark.conf.set("spark.sql.session.timeZone", zone)
    try:
        moment = "TIMESTAMP '2025-07-01 23:30:00Z'"
        return str(spark.sql(f"SELECT to_date({moment}) AS day").first().day)
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


[day_in("UTC"), day_in("Europe/Berlin")]

# %% [markdown]
# Half past eleven in the evening in UTC is the next day in Berlin. (`finally` sets the zone back also after an error;
# without it, all cells below would count in the wrong zone.) The session here is in UTC on every machine.
# Otherwise the same notebook would count orders by other days in Berlin and in Quito.

# %% [markdown] given=["21", "4.4", "200", "50", "720"]
# ## A session without this course
#
# `medallion.start` hides what a project of your own needs. Install `pyspark==4.2.0` and `delta-spark==4.4.0`, and have
# Java 17 or 21. Then these lines start Spark with Delta Lake:
#
# ```python
# from pyspark.sql import SparkSession
#
# DELTA = "io.delta:delta-spark_4.2_2.13:4.4.0"
# EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
# CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
#
# builder = SparkSession.builder.config("spark.jars.packages", DELTA)
# builder = builder.config("spark.sql.extensions", EXTENSION)
# builder = builder.config("spark.sql.catalog.spark_catalog", CATALOG)
# spark = builder.getOrCreate()
# ```
#
# `configure_spark_with_delta_pip` of the package `delta-spark` sets the first of the three for you. It asks Maven for a jar with
# the version of the pip package, and for 4.4.1 of that package there was no such jar. So we name the jar.
#
# The tests of the course run these lines in a process of their own, with the same jars from the disk. With them Spark
# has its own defaults. `medallion.start` sets more:
#
# | what | with `medallion.start` | Spark's default | what differs without it |
# |---|---|---|---|
# | `spark.sql.sources.default` | `delta` | `parquet` | `saveAsTable` and `toTable` without a format write Parquet |
# | `spark.sql.session.timeZone` | `UTC` | the zone of the machine | an instant can belong to another day |
# | `spark.sql.shuffle.partitions` | 2 | 200 | a shuffle is cut into 200 parts; Spark merges small ones in batch queries, but a stream keeps 200 state stores |
# | `spark.databricks.delta.snapshotPartitions` | 2 | 50 | each first look into a table's log is 50 tasks |
# | `spark.master` | `local[2]` | `local[*]` | a write leaves up to as many files as the machine has cores |
# | `spark.sql.repl.eagerEval.enabled` | `true` | `false` | a DataFrame at the end of a cell shows its columns, no rows |
# | `spark.driver.memory` | 720 MB | 1 GB | Java may take more of a laptop's memory |
# | the names of tables | registered from the folder `lakehouse/` | forgotten at the end of the session | tables are found by path only |
# | the addresses of Spark's servers | this machine alone | all its networks | others can see the pages of the session |
#
# It also starts Java faster and with its quick compiler only, which is wrong for long jobs, sends log lines to a
# file, shortens errors, and checks that the tables a chapter reads exist. These values are right for a laptop. On a
# cluster, 200 partitions may be too few.

# %%
NAMES = ("sources.default", "session.timeZone", "shuffle.partitions", "ansi.enabled")
{name: spark.conf.get(f"spark.sql.{name}") for name in NAMES}

# %% [markdown]
# ## Where to look when a query is slow: explain and the Spark UI
#
# `spark.sparkContext.uiWebUrl` is the address of the **Spark UI** of this session. Its page "SQL / DataFrame" shows the plan of
# each query with the rows of its steps and the time of each group of steps. "Stages" shows the tasks of a stage.
#
# | what you see | what it often means | what to try |
# |---|---|---|
# | a scan reads all columns | nothing says which are needed | `select` early; see `ReadSchema` in the plan |
# | a scan reads all files | the filter wraps the column in a function, or the files are not clustered by it | filter the bare column; cluster the table (see `PushedFilters`) |
# | an `Exchange` of a large side in a join | Spark did not know that one side is small | `F.broadcast`, only for a side that fits easily into the memory of the driver and of each executor |
# | one task runs much longer than the others | one key has most of the rows: skew | another key; look at the key's counts |
# | thousands of tasks of a few milliseconds | too many partitions, or many small files | fewer partitions; compact the files |
# | the same scan again and again | each action runs the plan from the start | `persist`, or write a table |
# | Spark is idle and Python is busy | `collect` or `toPandas` of too many rows | aggregate in Spark first |

# %% [markdown]
# ## Check yourself
#
# Choose an answer to see what it would mean.

# %%
from medallion.lesson import quiz

quiz.show("00")

# %% [markdown]
# ## What we know now
#
# - A lakehouse is open files with a log of commits beside them; the log makes them a table.
# - Bronze keeps what came, Silver what is true, Gold what the business asks.
# - A change is a new commit, completely or not at all; an old version can be read while its files are kept.
# - A write to a table by its name casts value by value: it accepts `"1250"` for an `INT`, and refuses `"about ten euros"` and unknown columns.
# - Transformations make a plan. An action runs it: a job, its stages, and a task for each partition.
# - A shuffle brings equal keys together and costs most; a broadcast join avoids it for a small side.
# - A comparison with NULL is NULL, and only true conditions keep a row; `<=>` compares NULLs too.
# - The session time zone decides to which day an instant belongs.
#
# **On Databricks** a session is there when the notebook opens, so `medallion.start()` returns that one.
# Tables live in Unity Catalog under three names (`catalog.schema.table`) instead of a folder of ours. The SQL of this
# chapter is the same. New tables usually have **deletion vectors**: then an update may leave the old Parquet file in the list, and
# add a small file that marks the old row as deleted. Open-source Delta has them too, switched off unless a table asks
# for them. The cells that count jobs use `sparkContext`, which serverless compute and the standard access mode do not
# allow; use the dedicated access mode for them.
