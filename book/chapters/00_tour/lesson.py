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
#     minutes: {read: 10, practise: 5}
#     summary: what a lakehouse is, a first Delta table, and the way back to an older version of it
#     outline: >-
#       What a lakehouse is; a first Delta table, a change, the version before it, and a write that is
#       refused.
#     objectives:
#     - say what a lakehouse is, and what each of its layers is for
#     - write a Delta table, change it, and read it as it was before
#     - use an exercise, its check and its hints
# ---

# %% [markdown]
# # A tour of ten minutes
#
# Kestrel Market sells groceries online. Customers order, sellers deliver, and parcels wait in
# lockers with a cooling unit. Every one of these leaves a trail of files: exports, events, messages
# from machines. In this course we turn the trail into tables that people can trust, and the tables
# into answers: what did we sell, who is about to leave, which payment is a fraud.
#
# ![The flow of the course: sources, then the layers Bronze, Silver and Gold, then their use in machine learning, streams and graphs](../book/figures/flow.svg)

# %% [markdown]
# ## What a lakehouse is
#
# A **data warehouse** keeps tables with rules: a change happens wholly or not at all, and a column has
# one type. It wants its data neat, and it keeps it in a format of its own.
#
# A **data lake** keeps files: any kind, any amount, readable by any program. It has no rules,
# so nobody knows whether a folder is complete while somebody writes to it.
#
# A **lakehouse** is a lake of open files with a log beside them that adds the rules. The files are
# Parquet. The log is what **Delta Lake** writes. The program that reads and writes both, here, is
# **Apache Spark**.
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
# ## A session
#
# One line starts Spark with Delta Lake. It takes a few seconds, because a Java process starts behind it.

# %% tags=["setup"]
import medallion

spark = medallion.start("00")

# %% [markdown]
# Two things are there for every session. `spark` is the way to all tables. The schema `scratch` is an
# empty place of our own, gone when the session ends, so that we can try anything.

# %% [markdown]
# ## The first Delta table
#
# We make four orders by hand. Money is in whole cents throughout the course, because cents add up
# exactly and fractions of a euro do not.

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
sorted(
    {
        path.suffix
        for path in folder.glob("*")
        if path.is_file() and not path.name.startswith(".")
    }
)

# %%
sorted(path.name for path in (folder / "_delta_log").glob("*.json"))

# %% [markdown]
# The rows are in `.parquet` files. The folder `_delta_log` has one file, numbered zero: the first
# **commit**. It lists the Parquet files that make up version 0 of the table. A Parquet file that no
# commit lists is not part of the table, which is how a half-finished write stays invisible.

# %% [markdown]
# ## A change, and the way back
#
# Cleo's order was one euro too low. A lake of plain files has no answer to that but to write them all
# again. Here we say what should change.

# %% tags=["setup"]
spark.sql("UPDATE scratch.orders SET total_cents = 990 WHERE order_id = 4")

# %% [markdown]
# The result says that one row changed. Parquet files cannot be edited, so the update wrote a new file and
# a new commit that lists it in the place of the old one. Delta keeps the history of the commits:

# %%
history = spark.sql("DESCRIBE HISTORY scratch.orders")
history.select("version", "operation").orderBy("version")

# %% [markdown]
# The old file is still there, so version 0 can still be read. Before opening the next output, write
# down the two numbers you expect: the sum of all orders in version 0, and in version 1.

# %% tags=["predict"]
spark.sql("""
    SELECT (SELECT sum(total_cents) FROM scratch.orders VERSION AS OF 0) AS before,
           (SELECT sum(total_cents) FROM scratch.orders VERSION AS OF 1) AS after
""")

# %% [markdown]
# 4819 cents before, 4919 after: the difference is the euro. A report that was printed before the change
# can be printed again, cent for cent. We call this **time travel**.

# %% [markdown]
# ## What it refuses
#
# Somebody sends an order whose total is a text. We try to append it, and keep the error.

# %%
from pyspark.errors import PySparkException

wrong = spark.createDataFrame(
    [(5, "Dan", "about ten euros")], "order_id INT, customer STRING, total_cents STRING"
)
try:
    wrong.write.mode("append").saveAsTable("scratch.orders")
except PySparkException as error:
    refused = error.getCondition()
refused

# %% [markdown]
# The write is refused before a single row gets in. We count, to be sure.

# %%
spark.table("scratch.orders").count()

# %% [markdown]
# Still 4. A write happens wholly or not at all: that is the **A**, atomicity, of ACID, and chapter 01 shows
# the other three letters.

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
check.before_the_change.hint()

# %% [markdown] tags=["exercise"]
# ### Exercise 0.1: before the change
#
# Read `scratch.orders` as it was before the update, version 0. Name the DataFrame `before`.

# %% tags=["solution"]
### BEGIN SOLUTION
before = spark.read.option("versionAsOf", 0).table("scratch.orders")
### END SOLUTION

# %% tags=["check"]
check.before_the_change(before)

# %% [markdown] tags=["exercise"]
# ### Exercise 0.2: who spent most
#
# From `scratch.orders` as it is now, make a DataFrame with the columns `customer` and `spent_cents`: one
# row for each customer, the one who spent most first.

# %% tags=["solution"]
### BEGIN SOLUTION
spent = spark.sql("""
    SELECT customer, sum(total_cents) AS spent_cents
    FROM scratch.orders GROUP BY customer ORDER BY spent_cents DESC
""")
### END SOLUTION

# %% tags=["check"]
check.who_spent_most(spent)

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
# - A change is a new commit, wholly or not at all; an old version can be read again.
# - A write that does not fit the table's columns is refused.
#
# **On Databricks** a session is there when the notebook opens, so `medallion.start()` returns that one;
# tables live in Unity Catalog under three names (`catalog.schema.table`) instead of a folder of ours.
# Delta Lake and SQL are the same.
