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
#       gold.weekly_payments: [silver.payments]
#       ops.runs: []
#     reads: [bronze.payments, silver.payments, silver.payments_quarantine, silver.orders, gold.daily_sales]
#     grain:
#       gold.weekly_payments: one method of payment in one week
#       ops.runs: one attempt of one job for one interval
#     minutes: {read: 60, practise: 90}
#     summary: the way to Gold stated as tables, scheduled jobs, backfills, an orchestrator, data contracts
#     outline: >-
#       A declarative pipeline over the same files, equal to the chapters before it row by row. A job with a logical
#       date: idempotent writes, retries, a run log, repair, backfill, late data, freshness. The same graph in
#       Dagster. A data contract, targets, secrets, and rollback.
#     objectives:
#     - state tables in place of steps, and say what a refresh does to their readers
#     - write a job that can run twice, be killed, and run for another date, with the same table each time
#     - plan a repair and a backfill from the graph of the tables and the log of the runs
#     - hand the same graph to an orchestrator
#     - promise a table to another team, and stop a change that breaks the promise
# ---

# %% [markdown]
# # Pipelines and jobs
#
# So far a person has run the notebooks from the top to the bottom, in the order of their numbers. In a company nobody
# sits there: the tables must be filled at night, in the right order, for the right week, also after a failure. The
# chapter has three parts:
#
# - **Pipelines.** We state each table as a query, and an engine derives the order.
# - **Jobs.** We write a job that may run twice, fail half-way and work for an earlier week, and read from a log what it did.
# - **Operation.** An orchestrator starts the job; a data contract, targets and a way back protect those who read the table.
#
# ![Where we are in the flow: beside Bronze, Silver and Gold, where their work is started](../book/figures/flow-12.svg)

# %% tags=["setup"]
from pyspark.sql import functions as F

import medallion

check = medallion.checks("12")  # the file checks.py beside this lesson
spark = medallion.start("12")

# %% [markdown]
# Each query of this chapter is small, so most of its time would go into compiling it and into changing its plan. As in
# chapter 09 we switch off both, code generation and adaptive execution. Leave them on for large data.

# %% tags=["setup"]
SMALL = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
for name, value in SMALL.items():
    spark.conf.set(name, value)

# %% [markdown] given=["4.1"]
# ## Declarative pipelines: tables in place of steps
#
# The chapters before ran **steps**, in an order that we chose. In a **declarative pipeline** we state each table as a
# query. An engine finds the order, makes the tables, and keeps the checkpoints. Open Spark has this since version 4.1
# as *Spark Declarative Pipelines*, the module `pyspark.pipelines`. (On Databricks it is called Lakeflow Spark
# Declarative Pipelines, formerly DLT.)
#
# | a step of chapters 01 to 03 | its declaration | a run writes |
# |---|---|---|
# | `rows.writeStream….toTable("bronze.payments")` | **streaming table**, `@dp.table` | the rows that are new |
# | `frame.write….saveAsTable("silver.payments")` | **materialized view**, `@dp.materialized_view` | all rows again |
# | `frame.createOrReplaceTempView("judged")` | **temporary view**, `@dp.temporary_view` | nothing |
#
# Each decorator stands above a **query function**, which returns a DataFrame and writes nothing. We build the way of
# the payments again, from the files to Gold, and compare it with the tables of the chapters before.
#
# The source is a folder of 27 weekly files. We hold two files back: the last week, which will arrive later, and the
# first one, which stands for an archive.

# %%
import shutil

folder = medallion.scratch() / "pipeline"
weeks = sorted((medallion.landing() / "payments").glob("*.jsonl"))
for place, files in {"weekly": weeks[1:-1], "archive": weeks[:1]}.items():
    (folder / place).mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder / place)
len(weeks)

# %% [markdown]
# ### Streaming table: from files to Bronze
#
# A pipeline is a folder of definition files. Ours share a module `rules.py` with the columns that the shop sends.

# %%
PAYMENTS = """payment_id STRING, order_id STRING, customer_id STRING, card_id STRING,
    device_id STRING, method STRING, amount_cents INT, currency STRING,
    status STRING, paid_at TIMESTAMP, city STRING, lat DOUBLE, lon DOUBLE"""
SENT = [column.split()[0] for column in PAYMENTS.split(",")]

# %% [markdown]
# The first table appends the lines of new files. The folder comes from a setting, so that the same definitions can run
# over other files. A **flow** is a query together with the table that it fills. The engine keeps a **checkpoint** for
# each flow: a record of which files it has read. So our code names no checkpoint folder.
#
# (A line that is no JSON becomes a row of NULLs, and the rules below set it aside. Chapter 01 also keeps the line.)

# %%
HEAD = """
from pyspark import pipelines as dp
from pyspark.sql import SparkSession, functions as F
from rules import PAYMENTS, RULES, SENT, sides
spark = SparkSession.active()
"""

# %%
BRONZE = """
def rows_of(place):
    place = spark.conf.get("shop.payments") + place
    lines = spark.readStream.schema(PAYMENTS).json(place)
    name = F.concat(F.lit("payments/"), F.col("_metadata.file_name"))
    return lines.withColumn("_source_file", name)
@dp.table
def payments_raw():
    return rows_of("/weekly")
"""

# %% [markdown]
# ### Expectations in the open version: one list of rules, two sides, and the balance
#
# Databricks' pipelines have *expectations*: decorators such as `expect_or_drop`, which check a rule on each row. What
# does the open module offer?

# %%
from pyspark import pipelines as dp

sorted(dp.__all__), hasattr(dp, "expect")

# %% [markdown]
# Seven names, and none of them checks rows. So we build the check from a list of rules, as in chapter 02. Published
# examples often write the quarantine as the opposite of the rule, by hand. (One is `dlt-loans` in dbdemos, Databricks'
# collection of demos.) We try that on four payments:

# %% tags=["setup"]
tried = spark.sql("""
    SELECT * FROM VALUES ('P1', 500, 'w1'), ('P2', -500, 'w1'), ('P3', NULL, 'w1'),
        ('P1', 500, 'w2') AS t (payment_id, amount_cents, _source_file)
""")

# %%
kept, aside = tried.where("amount_cents > 0"), tried.where("amount_cents <= 0")
tried.count(), kept.count(), aside.count()

# %% [markdown]
# Four came, two are kept and one is set aside. P3 is in neither table, because its amount is NULL: both conditions are
# NULL, and a filter keeps only what is true. We state each rule once, and give every row exactly one **side**.

# %% tags=["setup"]
from pyspark.sql import Window

RULES = {
    "negative_amount": "amount_cents > 0",
    "unknown_status": "status IN ('authorised', 'declined')",
    "impossible_date": "year(paid_at) BETWEEN 1900 AND 2100",
}

# %% [markdown] tags=["exercise"]
# ### Exercise 12.1: Silver and its quarantine, with a balance of 0
#
# Write `sides(rows, rules, sent)`. `rows` has the columns in the list `sent`, and `_source_file`. `rules` is a dict
# from a name to a condition in SQL. Return **every** row with the columns of `sent`, `_source_file`, and two more:
#
# - `_reasons`, an `ARRAY<STRING>`: the names of the rules that are not true, in the order of the dict. NULL is not.
# - `_side`: `repeat` if an equal row, in all columns of `sent`, was there before. Of equal rows the one with the
#   smallest `_source_file` is the first. Else `aside` if it has a reason, and else `kept`. `_side` is never NULL.
#
# `rules` may be empty; then `_reasons` is an empty array of strings. The function will run inside a pipeline. Use
# `select` and `where`: a pipeline refuses methods that look at the rows or at their columns, such as `columns`,
# `count`, `drop` and `distinct`. Its source will go into a file with `F` and `Window`, so import anything else inside
# the function.
#
# A **window** (`Window.partitionBy(…).orderBy(…)`) makes groups of rows and puts each in order;
# `F.row_number().over(window)` numbers the rows of each group from 1. `F.array(…)` makes an array of columns, and
# `F.array_compact` leaves its NULLs out. Try `sides(tried, {"positive": "amount_cents > 0"}, ["payment_id",
# "amount_cents"])`: P1 of `w1` is kept, P1 of `w2` is a repeat, P2 and P3 are set aside.


# %% tags=["solution"]
def sides(rows, rules, sent):
    """Return all rows with the rules that they break, and the side that each is on."""
    ### BEGIN SOLUTION
    reasons = [
        F.when(F.expr(rule), None).otherwise(name) for name, rule in rules.items()
    ]
    reasons = F.array_compact(F.array(*reasons).cast("ARRAY<STRING>"))
    again = F.row_number().over(Window.partitionBy(*sent).orderBy("_source_file")) > 1
    judged = rows.select("*", reasons.alias("_reasons"), again.alias("_again"))
    side = F.when(F.col("_again"), "repeat").when(F.size("_reasons") > 0, "aside")
    side = side.otherwise("kept").alias("_side")
    return judged.select(*sent, "_source_file", "_reasons", side)
    ### END SOLUTION


# %% tags=["check"]
check.sides(sides)

# %%
positive, columns = {"positive": "amount_cents > 0"}, ["payment_id", "amount_cents"]
sides(tried, positive, columns).orderBy("payment_id", "_source_file")

# %% [markdown]
# The function is plain code, so a test needs no pipeline: it compares a small DataFrame with the rows that it should
# give. It becomes part of `rules.py`.

# %%
import inspect

MODULE = "from pyspark.sql import Window, functions as F\n"
MODULE += f"PAYMENTS = {PAYMENTS!r}\nSENT = {SENT!r}\nRULES = {RULES!r}\n"
_ = (folder / "rules.py").write_text(MODULE + inspect.getsource(sides))

# %% [markdown]
# ### Temporary view and materialized views: from Bronze to Silver
#
# `payments_sided` is a temporary view: a name for a query, visible inside the run only. The two tables choose their
# rows from it. Nothing of it is stored, so each of the two computes it again. If such a query is expensive, make it a
# table. Chapter 02 has a rule that stops the run, a currency other than EUR. Here `raise_error` does that.

# %%
SILVER = """
EURO = "if(coalesce(currency, 'EUR') = 'EUR', 'EUR', raise_error('other currency'))"
@dp.temporary_view
def payments_sided():
    return sides(spark.read.table("payments_raw"), RULES, SENT)
@dp.materialized_view
def payments():
    columns = [f"{EURO} AS currency" if name == "currency" else name for name in SENT]
    kept = spark.read.table("payments_sided").where("_side = 'kept'")
    return kept.selectExpr(*columns, "_source_file")
@dp.materialized_view
def payments_quarantine():
    aside = spark.read.table("payments_sided").where("_side = 'aside'")
    return aside.select(*SENT, "_source_file", "_reasons")
"""

# %% [markdown]
# ### Gold: a definition in SQL
#
# The report of the payments is stated in SQL, in a file of its own. SQL also has `CREATE STREAMING TABLE` and `CREATE
# FLOW`.

# %%
REPORT = """
CREATE MATERIALIZED VIEW daily_payments AS
SELECT CAST(convert_timezone('UTC', paid_at) AS DATE) AS day, count(*) AS payments,
    sum(amount_cents) AS cents FROM payments WHERE status = 'authorised' GROUP BY ALL
"""
_ = (folder / "bronze.py").write_text(HEAD + BRONZE)
_ = (folder / "silver.py").write_text(HEAD + SILVER)
_ = (folder / "report.sql").write_text(REPORT)

# %% [markdown]
# ### The specification: which files, which schema, which settings
#
# A small YAML file names the definitions, the schema that gets the tables, the folder for the checkpoints (`storage`),
# and settings of Spark. The settings hold for the session of the pipeline only. Code generation stays on there, because
# the pipeline reads many rows. (A flow that fails is not tried again here, so that a failure is short. In production
# leave this setting out.)
#
# Spark 4.2.0 cannot use a `storage` with a space in its path. Then we take the system's temporary folder. In production
# it is a folder that lasts, beside the tables: without the checkpoints every file counts as new.

# %%
import atexit
import tempfile
from pathlib import Path

import yaml

SETTINGS = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.pipelines.maxFlowRetryAttempts": "0",
}
STORAGE = folder / "storage"
if " " in str(folder):
    STORAGE = Path(tempfile.gettempdir()) / f"pipelines-{medallion.scratch().name}"
    atexit.register(shutil.rmtree, STORAGE, ignore_errors=True)


# %%
def specify(name, files, schema, payments):
    """Write the specification of a pipeline, and return its file."""
    stated = {"name": name, "catalog": "spark_catalog", "database": schema}
    stated["storage"] = f"file://{STORAGE / name}"
    stated["configuration"] = {**SETTINGS, "shop.payments": str(payments)}
    stated["libraries"] = [{"glob": {"include": file}} for file in files]
    spec = folder / f"{name}.yml"
    spec.write_text(yaml.safe_dump(stated))
    return spec


# %%
files = ["bronze.py", "silver.py", "report.sql"]
shop = specify("shop", files, "scratch", folder)

# %% [markdown]
# No file names a format. Delta is the default format of our session. With `format="delta"` in the decorators the
# second run stops (`DELTA_CANNOT_CHANGE_PROVIDER`, Delta 4.4.0).
#
# ## Dry run: check the graph without writing
#
# The command `spark-pipelines` runs a pipeline. It is a program of its own. With **Spark Connect** (chapter 11) a
# process can send queries to a Spark that is running; here it is our session. This is the same command, started as a
# module of Python. It is stopped after five minutes, so that a run which hangs does not hold the notebook.

# %%
import subprocess
import sys

from medallion.servers import spark_connect


def pipeline(command, spec, *options):
    """Run the program spark-pipelines against our session; return what it printed."""
    line = [sys.executable, "-m", "pyspark.pipelines.cli", command, "--spec", str(spec)]
    with spark_connect.serving() as environment:
        return subprocess.run(
            [*line, *options],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
        )


# %% [markdown]
# `dry-run` loads the definitions, resolves every query, and writes nothing. We look at the exit code, at the last line
# without its time, and whether a table was made. (If your exit code is not 0, `print(ran.stdout, ran.stderr)` shows
# why.)

# %%
ran = pipeline("dry-run", shop)
(
    ran.returncode,
    ran.stdout.splitlines()[-1].partition(": ")[2],
    spark.catalog.tableExists("scratch.payments"),
)

# %% [markdown]
# The exit code is 0 and no table was made. What does a dry run find? We state four pipelines that are wrong: a
# misspelled table, a cycle, a query function that asks for columns, and one that drops a column. Each entry has the
# queries of one or two views, `weekly` and `monthly`.

# %%
BROKEN = {
    "misspelled": ["read.table('payment_raw')"],
    "cycle": ["read.table('monthly')", "read.table('weekly')"],
    "asks": ["read.table('silver.orders')", "read.table('weekly').select('*').columns"],
    "drops": ["read.table('silver.orders')", "read.table('weekly').drop('status')"],
}

# %% [markdown]
# `dry_error` writes these views to a file, runs `dry-run`, and returns the first sentence of the error.


# %%
def dry_error(name, queries):
    """Return the error of a dry run of some views, stated by their queries."""
    code = HEAD
    for view, query in zip(("weekly", "monthly"), queries):
        code += f"@dp.materialized_view\ndef {view}():\n    return spark.{query}\n"
    (folder / f"{name}.py").write_text(code)
    ran = pipeline("dry-run", specify(name, [f"{name}.py"], "scratch", folder))
    told = (ran.stdout + ran.stderr).splitlines()
    error = [line for line in told if line.startswith(("Error: [", "pyspark.errors"))]
    return error[0].split(": ", 1)[1].partition(". ")[0]


# %%
for name, queries in BROKEN.items():
    print(f"{name}: {dry_error(name, queries)}")

# %% [markdown]
# All four are found before a row is read. The third is a rule of the engine: a query function **states** a query, and
# may not have it analysed (no `columns`, `schema`, `count` or `collect`). The fourth is no rule but a limit of Spark
# 4.2.0: the server looks up the input of `drop` when it receives the query, and `weekly` is no table yet. `distinct`
# and `fillna` have the same limit. Use `select`.

# %% [markdown]
# ## Run: what is inferred, and what is not
#
# We run the pipeline. It prints its events: each names a flow and its state.

# %%
import re

FLOW = re.compile(r"Flow '?spark_catalog\.\w+\.(\w+)'? (?:is |has )?([A-Z]+)")


def states_of(ran):
    """Return the state in which each flow of a run ended, by name."""
    ends = ("COMPLETED", "FAILED", "SKIPPED", "EXCLUDED")
    events = FLOW.findall(ran.stdout)
    return dict(sorted(dict(event for event in events if event[1] in ends).items()))


# %% costly="four tables from half a year of files, in a program of its own"
ran = pipeline("run", shop)
ran.returncode, states_of(ran)

# %% [markdown]
# In which order did it run? We wrote no order. The engine took it from the names in the queries:

# %%
began = [name for name, state in FLOW.findall(ran.stdout) if state == "STARTING"]
needs = [("payments_raw", "payments"), ("payments_raw", "payments_quarantine")]
needs += [("payments", "daily_payments")]
[began.index(source) < began.index(table) for source, table in needs]

# %% [markdown]
# Each table began after its source. The temporary view is not among the flows, because it is no table. The engine
# infers the order, the schemas and the checkpoints. It does not infer what a row means: keys, duplicates, late data,
# and the rules are still ours.
#
# ## A new file, and two append flows into one table
#
# The last week arrives. And the archive must go into the same table. A streaming table may have several **append
# flows**, each with a checkpoint of its own. The flow of the weekly files stays as it is, so it does not read them
# again.

# %%
ARCHIVE = """
@dp.append_flow(target="payments_raw")
def from_archive():
    return rows_of("/archive")
"""
_ = (folder / "bronze.py").write_text(HEAD + BRONZE + ARCHIVE)
_ = shutil.copy(weeks[-1], folder / "weekly")

# %% [markdown]
# Gold gets a second table, the daily sales. It reads `silver.orders`, which chapter 02 made: a pipeline may read tables
# that are not its own.

# %%
GOLD = """
@dp.materialized_view
def daily_sales():
    sold = spark.read.table("silver.orders")
    sold = sold.where("status NOT IN ('cancelled', 'returned')")
    day = F.expr("CAST(convert_timezone('UTC', ordered_at) AS DATE)").alias("day")
    orders, cents = F.count("*").alias("orders"), F.sum("total_cents")
    return sold.groupBy(day, "channel").agg(orders, cents.alias("revenue_cents"))
"""
_ = (folder / "gold.py").write_text(HEAD + GOLD)
shop = specify("shop", [*files, "gold.py"], "scratch", folder)

# %% costly="six flows, and the views are computed again from all rows"
ran = pipeline("run", shop)
ran.returncode, len(states_of(ran))

# %% [markdown]
# Six flows ran. The new file has 319 rows and the archive 1,190. How many rows did this second run add
# to `payments_raw`, with both flows together? How many did it write to `payments`? Write your numbers down.
#
# To see it, we read the log of each table (chapter 01). The tables are folders below the scratch folder.


# %%
from deltalake import DeltaTable


def commits(table):
    """Return the operations on a table, in order, each with the rows that it wrote."""
    place = medallion.scratch() / table.removeprefix("scratch.").replace(".", "/")
    history = sorted(
        DeltaTable(str(place)).history(), key=lambda commit: commit["version"]
    )
    found = []
    for commit in history:
        rows = (commit.get("operationMetrics") or {}).get("numOutputRows")
        found.append((commit["operation"], rows and int(rows)))
    return found


# %% tags=["predict"]
first, *added = [rows for _, rows in commits("scratch.payments_raw") if rows]
first, sum(added), sorted(added), commits("scratch.payments")

# %% [markdown]
# The streaming table read 46,718 rows in the first run, and only the 1,509 new ones in the second. The view wrote all
# 47,757 rows again. The open version refreshes a materialized view completely. In its log the refresh is three commits:
# TRUNCATE removes the rows, SET TBLPROPERTIES changes settings of the table only, and WRITE adds the rows. Between the
# first and the last, readers see an empty table. The failure lab comes back to it. (Databricks refreshes some views
# incrementally, on its serverless compute.)
#
# ### Equal to the chapters before, row by row
#
# Now everything has arrived. Are our tables equal to those of the chapters before? We count each row of one table as +1
# and of the other as -1, and sum by equal rows. The sum `n` says how many more copies ours has: above 0 they are only
# in ours, below 0 only in theirs. So one shuffle compares both ways, and duplicates count.


# %%
def only_in(ours, theirs, columns):
    """Count the rows that only one of two tables has: (ours, theirs)."""
    columns = ", ".join(columns)
    return tuple(spark.sql(f"""
        SELECT coalesce(sum(greatest(n, 0)), 0), coalesce(sum(greatest(-n, 0)), 0)
        FROM (SELECT sum(n) AS n FROM (
            SELECT {columns}, 1 AS n FROM {ours}
            UNION ALL SELECT {columns}, -1 FROM {theirs}) GROUP BY {columns})
    """).first())  # fmt: skip


# %% [markdown]
# We compare with Bronze of chapter 01, with Silver and its quarantine of chapter 02, and the daily sales with Gold of
# chapter 03.

# %%
sent = [*SENT, "_source_file"]
sales = ["day", "channel", "orders", "revenue_cents"]
[
    only_in("scratch.payments_raw", "bronze.payments", sent),
    only_in("scratch.payments", "silver.payments", sent),
    only_in(
        "scratch.payments_quarantine", "silver.payments_quarantine", [*sent, "_reasons"]
    ),
    only_in("scratch.daily_sales", "gold.daily_sales", sales),
]

# %% [markdown]
# No row is on one side only. We compared the columns that the shop sends, the file, and the reasons. `_arrived_at`,
# the status and the disposition of chapter 02 are not in our pipeline, and neither is its rule for conflicting
# copies, because the data has no such copies.
#
# Equality needs a second table. A pipeline needs a check without one, its **balance**: what came is kept, set aside,
# or a repeat. We count the repeats from the raw rows and not from `_side`, so that a mistake in `sides` shows.


# %%
def balance(schema):
    """Count the rows that came and those on each side; `rest` should be 0."""
    distinct = f"count(DISTINCT struct({', '.join(SENT)}))"
    return spark.sql(f"""
        SELECT *, came - repeats - kept - aside AS rest
        FROM (SELECT count(*) AS came, count(*) - {distinct} AS repeats
            FROM {schema}.payments_raw)
        CROSS JOIN (SELECT count(*) AS kept FROM {schema}.payments)
        CROSS JOIN (SELECT count(*) AS aside FROM {schema}.payments_quarantine)
    """)


# %%
balance("scratch")

# %% [markdown]
# 48,227 rows came, 376 are repeats, 47,757 are kept, 94 are set aside, and the rest is 0.

# %% [markdown]
# ## Test of a pipeline: the same definitions over a small input
#
# A test runs the same files with another specification: four lines that we wrote, in a schema of its own. (Gold's
# daily sales are left out, because they read no payments.) P2 has no currency, P3 a negative amount, and P4 no
# amount. A test begins empty, so the schema and the storage of an earlier test are removed.

# %%
LINE = '{{"payment_id": "{}", "amount_cents": {}, "currency": {}, '
LINE += '"status": "authorised", "paid_at": "2025-09-0{}T10:00:00Z"}}\n'
inbox = folder / "small" / "weekly"
inbox.mkdir(parents=True, exist_ok=True)
rows = [
    ("P1", 500, '"EUR"'),
    ("P2", 700, "null"),
    ("P3", -5, '"EUR"'),
    ("P4", "null", '"EUR"'),
]
_ = (inbox / "w1.jsonl").write_text("".join(LINE.format(*row, 1) for row in rows))
(folder / "small" / "archive").mkdir(exist_ok=True)

# %%
shutil.rmtree(STORAGE / "trial", ignore_errors=True)
where = str(medallion.scratch() / "trial").replace("'", r"\'")
_ = spark.sql("DROP SCHEMA IF EXISTS trial CASCADE")
_ = spark.sql(f"CREATE SCHEMA trial LOCATION '{where}'")
trial = specify("trial", files, "trial", folder / "small")

# %% costly="the same tables in a program of its own, from four lines"
good = pipeline("run", trial)
found = [tuple(row) for row in spark.table("trial.daily_payments").collect()]
aside = spark.table("trial.payments_quarantine").select("payment_id", "_reasons")
good.returncode, found, sorted(map(tuple, aside.collect()))

# %% [markdown]
# The report has two payments of 1,200 cents, as we expect by hand. P3 and P4 are in the quarantine, so the NULL is not
# lost.
#
# ## Refresh and full refresh
#
# `--refresh NAME` updates only the tables that it names, and `--full-refresh NAME` also forgets what was read. We
# deliver a second file, and refresh the streaming table alone.

# %%
_ = (inbox / "w2.jsonl").write_text(LINE.format("P5", 900, '"EUR"', 2))
ran = pipeline("run", trial, "--refresh", "payments_raw")
states_of(ran), commits("trial.payments_raw")[-1], len(commits("trial.payments"))

# %% [markdown]
# One row was read and appended. `EXCLUDED` means that the run left this flow out on purpose. `payments` still has its 2
# commits, and does not know P5. Now somebody cleans up the inbox: the first file is deleted. Then a full refresh:

# %%
(inbox / "w1.jsonl").unlink(missing_ok=True)
ran = pipeline("run", trial, "--full-refresh", "payments_raw")
commits("trial.payments_raw")[-3:], spark.table("trial.payments_raw").count()

# %% [markdown]
# TRUNCATE, and one row: the full refresh emptied the table, forgot the checkpoint, and read what the folder holds
# **now**. The four rows of the first file are gone from the table. A full refresh is safe only while the source still
# has everything.

# %% [markdown]
# ## Failure lab: the report that was emptied by the run that failed
#
# Readers look at `trial.daily_payments`. It has 1 day, from the run `good`. Now a file brings one payment in dollars,
# and the rule of the currency stops the run. How many days does `trial.daily_payments` have after it? Write your
# number down.
#
# Beside it we prepare another way to read the report: a view that shows one version of the table. It moves on only
# after a run that filled the table.


# %%
def publish(view, table, ran):
    """If a good run filled a table, let a view show this version of it and no other."""
    newest = spark.sql(f"DESCRIBE HISTORY {table} LIMIT 1").first()
    if ran.returncode != 0 or newest["operation"] != "WRITE":
        return
    version = newest["version"]
    rows = f"SELECT * FROM {table} VERSION AS OF {version}"
    spark.sql(f"CREATE OR REPLACE VIEW {view} AS {rows}")


# %%
publish("trial.report", "trial.daily_payments", good)
spark.table("trial.daily_payments").count(), spark.table("trial.report").count()

# %% costly="the run that fails, in a program of its own"
_ = (inbox / "w3.jsonl").write_text(LINE.format("P6", 100, '"USD"', 3))
ran = pipeline("run", trial)
publish("trial.report", "trial.daily_payments", ran)
{name: states_of(ran)[name] for name in ("payments_raw", "payments", "daily_payments")}

# %% tags=["predict"]
assert ran.returncode == 1 and "other currency" in ran.stdout
spark.table("trial.daily_payments").count(), spark.table("trial.report").count()

# %% [markdown]
# The report is empty. Its flow was `SKIPPED`: it never ran. If you wrote 1, you expected that a table which is not
# refreshed keeps its rows. The commits show why it does not:

# %%
commits("trial.daily_payments")

# %% [markdown]
# At the beginning of a run the engine truncates **all** views that it will refresh, before any flow runs (seen with
# Spark 4.2.0). When a flow fails, the views behind it stay empty. During a good run, readers see the same gap for a
# while. Each commit is atomic, but a refresh is several commits.
#
# The readers of `trial.report` still see the day, because `publish` moved the view only after a good run. It asks two
# things: did the run end well, and is a WRITE the newest commit of **this** table? The exit code alone is not enough. A
# run with `--refresh payments_raw` would end with 0 now, and the empty version would be published.
#
# Three limits: `VACUUM` deletes files of old versions after 7 days by default, so the next good run must come before
# that. Several views are moved one after the other, not at once. And the newest version belongs to `ran` only if one
# run works at a time (see the lock below). The other fix is to restore the table to version 1, the WRITE, with `RESTORE
# TABLE`; the section on rollback does that to another table.
#
# Neither fix removes the cause. Each further run would fail and truncate again, because P6 is in `payments_raw` by now.
# So the cause must go before the next run. Either a rule sets other currencies aside, or the sender corrects the file
# and a full refresh reads it. Which one is right is a decision of the business.
#
# ## AUTO CDC, and what else the open version lacks
#
# For change events `pyspark.pipelines` has `create_auto_cdc_flow`: a key, a sequence, and the newest event wins. We
# try it on Delta, with two events of one order.

# %%
spark.sql("""
    CREATE OR REPLACE TABLE trial.events AS SELECT * FROM VALUES
        ('O1', 1, 'placed'), ('O1', 2, 'packed') AS t (order_id, sequence, status)
""")
CDC = """
dp.create_streaming_table("states")
dp.create_auto_cdc_flow(target="states", source="trial.events",
    keys=["order_id"], sequence_by="sequence", stored_as_scd_type=1)
"""
_ = (folder / "cdc.py").write_text(HEAD + CDC)

# %%
ran = pipeline("run", specify("cdc", ["cdc.py"], "trial", folder))
said = ran.stderr.splitlines()[-1]
ran.returncode, said.split(": ", 1)[1].partition(": ")[0], "format: delta" in said

# %% [markdown]
# Spark 4.2.0 asks the table for an interface that Delta 4.4.0 does not offer. (A dry run of these definitions ends with
# 0: it does not ask the table.) Type 1 is all that this version can
# store, so there is no history of versions (type 2) either. Our MERGE of chapter 02 does both.
#
# | what | open Spark 4.2 | what we did |
# |---|---|---|
# | expectations | not there | a dict of rules, sides, and the balance |
# | incremental refresh of a view | not there: TRUNCATE, later WRITE | a stream or a MERGE, as in chapter 03 |
# | a refresh in one commit | not there | a view on the last good version |
# | AUTO CDC | refused on Delta; type 1 only | MERGE by key and sequence (chapter 02) |
# | a schedule, retries of the run, a backfill | not there | the next part |
#
# Choose a declarative pipeline where tables follow from tables. Where a step does something else (a call, a file for
# somebody, a MERGE), write a job. Last, we remove the schema of the test.

# %%
_ = spark.sql("DROP SCHEMA trial CASCADE")

# %% [markdown]
# ## Scheduled jobs: what a notebook does not need
#
# A notebook runs when a person starts it, and the person looks at the result. A **job** is a program that a
# **scheduler** starts at set times, and nobody looks. So the job must know which rows it works for, and it must be
# safe to start again. Somebody else must notice when it fails, and also when it never started. (A *Spark job*, in
# chapter 00, is something else: the work of one action.)
#
# Our job makes one Gold table, `gold.weekly_payments`: one row for one method of payment in one week. It has the number
# of attempts, of declined ones, and the cents of the authorised ones. A week is from Monday to Monday in UTC.

# %% [markdown]
# ## Logical date and data interval: never `datetime.now()`
#
# The job of a week runs after its end. The obvious code asks the clock which week that is:

# %% tags=["setup"]
from datetime import date, datetime, timedelta


# %%
def last_week(now):
    """Return the Monday of the week before a moment."""
    return now.date() - timedelta(now.weekday() + 7)


# %%
planned = datetime(2025, 9, 8, 1, 30)
started_again = planned + timedelta(7)
str(last_week(planned)), str(last_week(started_again))

# %% [markdown]
# The run of Monday, 8 September, is for the week of 1 September. Suppose that it fails, and somebody starts it again a
# week later. The clock says another week, so the run works for the week of 8 September. The week of 1 September is
# never made, and no error shows it.
#
# The fix is a parameter. The **logical date** says what a run is for, whenever it runs. From it follows the **data
# interval**: a first moment, which belongs to it, and an end, which does not (a **half-open interval**). So two
# neighbours share no row and leave none out.

# %% [markdown] tags=["exercise"]
# ### Exercise 12.2: the data interval of a logical date
#
# Write `interval_of(text, unit)`. `text` is a logical date in the form `"2025-09-03"`, and `unit` is `"day"` or
# `"week"`. Return the half-open interval that the date is in, as two `date`: the first day, and the day after the last
# one. A week begins on Monday. `interval_of("2025-09-03", "week")` is `(date(2025, 9, 1), date(2025, 9, 8))`.
#
# Raise `ValueError` for a date that does not exist, for another form such as `"20250903"` or `"2025-9-3"`, and for
# another unit. The clock has no part in it.


# %% tags=["solution"]
def interval_of(text, unit):
    """Return the first day of the interval of a logical date, and the day after it."""
    ### BEGIN SOLUTION
    day = date.fromisoformat(text)
    if str(day) != text:  # since Python 3.11 it also reads 20250903 and 2025-W36-3
        raise ValueError(f"{text!r} has not the form 2025-09-03")
    if unit not in ("day", "week"):
        raise ValueError(f"The unit {unit!r} is neither day nor week")
    start = day - timedelta(day.weekday() if unit == "week" else 0)
    return start, start + timedelta(7 if unit == "week" else 1)
    ### END SOLUTION


# %% tags=["check"]
check.interval_of(interval_of)

# %% [markdown]
# The query takes the interval. Its values are of the type `date`, so no text of a stranger gets into the SQL. (We do
# not bind them as parameters. Chapter 11 shows the reason: Delta 4.4.0 on Spark 4.2.0 drops them without a setting.)

# %% tags=["setup"]
WEEKLY = """
    SELECT date(date_trunc('week', paid_at)) AS week, method, count(*) AS attempts,
        count_if(status = 'declined') AS declined,
        sum(if(status = 'authorised', amount_cents, 0)) AS amount_cents
    FROM {source} WHERE paid_at >= DATE '{start}' AND paid_at < DATE '{end}'
    GROUP BY ALL
"""


def weekly(start, end, source="silver.payments"):
    """Return one row for each method of payment in each week of an interval."""
    return spark.sql(WEEKLY.format(source=source, start=start, end=end))


# %% tags=["setup"]
week = date(2025, 9, 1), date(2025, 9, 8)  # interval_of("2025-09-01", "week")

# %%
weekly(*week).orderBy("method")

# %% [markdown]
# ## Failure lab: the retry that doubled the week
#
# A job can fail after its commit. Ours appends its rows and then reports to the monitoring, which does not listen yet.
# (A socket plays the monitoring.) The scheduler sees a failed job and starts it again, a **retry**. By then the
# monitoring listens.

# %% tags=["setup"]
import pyarrow as pa
from deltalake import write_deltalake

COLUMNS = """week DATE, method STRING,
    attempts BIGINT, declined BIGINT, amount_cents BIGINT"""


def empty_table(table, layout=""):
    """Make an empty scratch table, also where one was."""
    spark.sql(f"DROP TABLE IF EXISTS scratch.{table}")
    spark.sql(f"CREATE TABLE scratch.{table} ({COLUMNS}) {layout}")


# %%
import socket

empty_table("appended")
monitoring = socket.socket()
monitoring.bind(("127.0.0.1", 0))  # a port is reserved, and nobody listens


# %%
def append_week(start, end):
    """Append the rows of a week, and report it."""
    weekly(start, end).write.mode("append").saveAsTable("scratch.appended")
    socket.create_connection(monitoring.getsockname(), timeout=5).close()


# %%
def totals(table):
    """Return the number of rows of a scratch table, and the sum of their attempts."""
    rows = DeltaTable(str(medallion.scratch() / table)).to_pyarrow_table()
    return {"rows": len(rows), "attempts": sum(rows["attempts"].to_pylist())}


# %%
def with_retry(job, *interval):
    """Run a job; after an error of the network, run it once more."""
    try:
        return job(*interval)
    except OSError as error:
        failed = type(error).__name__
    monitoring.listen()
    job(*interval)
    return failed


# %%
first_error = with_retry(append_week, *week)
first_error

# %% [markdown]
# The second attempt succeeded, and the scheduler shows a green run. The week had 3 rows and, added up, 1,636 attempts.
# What does the table have now? Write down both numbers.

# %% tags=["predict"]
doubled = totals("appended")
doubled

# %% [markdown]
# 6 rows and 3,272 attempts: the week is in the table twice. The first attempt had already committed when its report
# failed. No error is left, and each row looks right.

# %%
assert doubled["rows"] == 6, "the retry has not doubled the week"

# %% [markdown]
# A scheduler cannot know how far a job came. So a retried job must be **idempotent**: a second run leaves the table as
# the first did. (Chapters 02, 03 and 07 explain retries in a stream, and the pair `txnAppId` and `txnVersion` for
# appends.)

# %% [markdown]
# ## Idempotent writes: replaceWhere on the interval
#
# The job owns its interval. If each run replaces *all* rows of the interval and none outside, then how often it ran
# does not matter, nor in which order. With `mode("overwrite")`, the option **`replaceWhere`** takes a condition in SQL:
# Delta replaces only the rows for which it is true. It also refuses new rows for which it is not.

# %% tags=["setup"]
empty_table("weekly", "PARTITIONED BY (week)")

# %% [markdown] tags=["exercise"]
# ### Exercise 12.3: write an interval idempotently
#
# Write `write_week(table, rows, start, end)`. It replaces the rows of the table `table` whose `week` is in the
# half-open interval from `start` to `end` (two `date`) by the rows of the DataFrame `rows`. Other rows of the table
# stay. Run twice, or out of order, it leaves the same rows. A method of payment that is no longer in `rows` is gone
# from the table.
#
# It is **one** commit: if the job is killed, or its query fails, the table is as it was. If `rows` has a row outside
# of the interval, an error comes out and nothing is written. Try `write_week("scratch.weekly", weekly(*week), *week)`,
# twice.


# %% tags=["solution"]
def write_week(table, rows, start, end):
    """Replace the rows of an interval by others, in one commit."""
    ### BEGIN SOLUTION
    interval = f"week >= DATE '{start}' AND week < DATE '{end}'"
    writer = rows.write.mode("overwrite").option("replaceWhere", interval)
    writer.saveAsTable(table)
    ### END SOLUTION


# %% tags=["check"]
check.write_week(write_week)


# %% [markdown]
# The same failure with the fix: the monitoring is down again, and the job is retried.


# %%
def replace_week(start, end):
    """Replace the rows of a week, and report it."""
    write_week("scratch.weekly", weekly(start, end), start, end)
    socket.create_connection(monitoring.getsockname(), timeout=5).close()


# %%
monitoring.close()
monitoring = socket.socket()
monitoring.bind(("127.0.0.1", 0))
again = with_retry(replace_week, *week)
monitoring.close()
again, totals("weekly")

# %% [markdown]
# 3 rows and 1,636 attempts, after the same error and the same retry.
#
# | write | a second run | a killed run | a row that is gone from the source |
# |---|---|---|---|
# | append | doubles | complete or nothing | stays |
# | DELETE, then append | same rows | may leave the interval empty: two commits | goes |
# | MERGE by key | same rows | complete or nothing | stays, unless a clause deletes it |
# | replaceWhere | same rows | complete or nothing | goes |
#
# MERGE fits where a run changes some keys of a large table. For its last column we look at a correction: the vouchers
# of the week turn out to be card payments.

# %%
corrected = weekly(*week).where("method <> 'voucher'")
old = spark.sql("SELECT * FROM scratch.weekly").alias("old")
MATCH = "old.week = new.week AND old.method = new.method"

# %% costly="a MERGE joins twice"
from delta.tables import DeltaTable as Table

merge = Table.forName(spark, "scratch.weekly").alias("old")
merge = merge.merge(corrected.alias("new"), MATCH)
merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
kept = DeltaTable(str(medallion.scratch() / "weekly")).to_pandas()
kept.sort_values("method")[["method", "attempts"]].reset_index(drop=True)

# %% [markdown]
# The row of the vouchers is still there. `whenNotMatchedBySourceDelete("week = …")` would delete it, with the interval
# as its condition: without a condition it deletes all other weeks. `write_week` needs neither.
#
# A MERGE is as good as its key. A key that is made of several columns needs a separator, and a value for NULL:

# %%
spark.sql("""
    SELECT md5('1' || '12') = md5('11' || '2') AS glued,
        md5(concat_ws('|', '1', '12')) = md5(concat_ws('|', '11', '2')) AS separated,
        md5('1' || NULL) AS with_null
""")

# %% [markdown]
# Glued together, two different pairs have the same key, and with a NULL there is no key at all. (The flows of
# DataTalksClub's data engineering course, module 2, glue their keys so, and merge with `WHEN NOT MATCHED` only: a
# corrected row never arrives.) `concat_ws` leaves NULLs out, so `('1', NULL)` and `(NULL, '1')` are equal to it.
# Chapter 02 hashes the JSON of the columns with their names, which has none of these faults.

# %% [markdown]
# ## Exit codes: how a job reports its result
#
# A scheduler starts a process and reads its **exit code**. 0 means done. Other codes say what to do next. We take two
# from `sysexits.h` of Unix: 65 is wrong data (`EX_DATAERR`), and 75 is an error that may pass (`EX_TEMPFAIL`).
#
# So the job is a file. We write it in four pieces and join them. It begins with its parameters, before Spark is needed:

# %% tags=["setup"]
JOB = '''
import argparse, sys
from datetime import date, timedelta

def stop(code, why):
    """End the job with an exit code and a reason."""
    print(why)
    sys.exit(code)

DONE, WRONG, MAY_PASS = 0, 65, 75
parser = argparse.ArgumentParser()
parser.add_argument("--week", required=True)
parser.add_argument("--table", required=True)
asked = parser.parse_args()
'''

# %% tags=["setup"]
JOB += """
try:
    start = date.fromisoformat(asked.week)
except ValueError as error:
    stop(WRONG, f"--week {asked.week}: {error}")
if start.weekday() != 0 or str(start) != asked.week:
    stop(WRONG, f"--week {asked.week} is no Monday in the form 2025-09-01")
end = start + timedelta(7)
INTERVAL = f"week >= DATE '{start}' AND week < DATE '{end}'"
"""

# %% [markdown]
# Is the interval there at all? The payments of a week come as a file after its end. (The last file is an exception:
# the data of the course end with its first day.) If nothing has arrived since the end, the week is not complete. That
# may pass. A complete week without any payment is wrong data: waiting does not help. It is our rule for this shop;
# another source may have empty weeks.
#
# The job sets its time zone, because a server may have another one. (`{{start}}` becomes `{start}` in the file.)

# %% tags=["setup"]
JOB += f"""
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.conf.set("spark.sql.session.timeZone", "UTC")
weekly, columns = '''{WEEKLY}''', '''{COLUMNS}'''
rows = spark.sql(weekly.format(source="silver.payments", start=start, end=end))
newest = "SELECT CAST(date(max(_arrived_at)) AS STRING) FROM silver.payments"
newest = spark.sql(newest).first()[0]
if newest < str(end):
    stop(MAY_PASS, f"The week {{start}} is not delivered: newest file {{newest}}")
if rows.isEmpty():
    stop(WRONG, f"The week {{start}} is delivered, and has no payment")
"""

# %% [markdown]
# Only then it writes, as `write_week` does. A conflict with another writer may pass. Any other error is a Python
# traceback and exit code 1. (A job in production also ends with 75 when Spark itself does not answer.) Delta keeps the
# version of the last commit of a session in a setting.
#
# The table is created by a statement of its own. With `partitionBy("week")` in the writer, the third run fails in Spark
# 4.2.0 with Delta 4.4.0. The second one has put a schema into the catalog whose partition column is not the last.

# %% tags=["setup"]
JOB += """
made = f"CREATE TABLE IF NOT EXISTS {asked.table} ({columns}) PARTITIONED BY (week)"
try:
    spark.sql(made)
    writer = rows.write.mode("overwrite").option("replaceWhere", INTERVAL)
    writer.saveAsTable(asked.table)
except Exception as error:
    if "DELTA_CONCURRENT" not in str(error):
        raise
    stop(MAY_PASS, "Another writer was faster")
version = spark.conf.get("spark.databricks.delta.lastCommitVersionInSession")
stop(DONE, f"The week {start} is in version {version} of {asked.table}")
"""
JOB_FILE = medallion.scratch() / "weekly_payments_job.py"
_ = JOB_FILE.write_text(JOB, encoding="utf-8")

# %% [markdown]
# The process needs no JVM of its own: it connects to our session over Spark Connect (chapter 11). Where our session
# is, it reads from its environment variables.


# %%
def attempt(command, seconds, environment=None):
    """Run a command once; return its exit code, 124 after a time-out, and a reason."""
    told = {"env": environment, "capture_output": True, "text": True}
    try:
        ran = subprocess.run(command, timeout=seconds, **told)
    except subprocess.TimeoutExpired:
        return 124, f"no end after {seconds} s"
    return ran.returncode, ran.stdout.strip() or ran.stderr[-300:]


# %% [markdown] given=["137"]
# ## Retries with backoff and a limit, and time-outs
#
# Which errors are retried? Those that may pass: 75; 124, by which the `timeout` command of Unix reports a time-out; and
# a kill, for example for lack of memory. Python reports signal 9 as -9, and a shell as 137. Wrong data are wrong again
# in a second. Each pause is twice the one before (**backoff**, chapter 01), and the number of attempts is limited.
# (With many jobs, add some chance to the pause, so that they do not all come back at once.)

# %%
from time import sleep

RETRIED = {75, 124, -9}


def run_job(command, attempts=2, pause=0.1, seconds=60, environment=None):
    """Run a job until it is done, cannot pass, or has failed too often."""
    tried = [attempt(command, seconds, environment)]
    while tried[-1][0] in RETRIED and len(tried) < attempts:
        sleep(pause * 2 ** (len(tried) - 1))
        tried.append(attempt(command, seconds, environment))
    return tried


# %% [markdown]
# A good week, a date that does not exist, and the week of 29 December, of which one day has arrived. Each job is a
# process of its own, and we start all three at once.

# %% tags=["setup"]
from concurrent.futures import ThreadPoolExecutor

# %% costly="four processes start, three of them with a session"
WEEKS = ["2025-09-01", "2025-02-30", "2025-12-29"]
job = [sys.executable, str(JOB_FILE), "--table", "scratch.by_job", "--week"]
with spark_connect.serving() as found, ThreadPoolExecutor(3) as pool:
    run = {one: pool.submit(run_job, [*job, one], environment=found) for one in WEEKS}
    tried = {one: run[one].result() for one in WEEKS}
[(one, code, why) for one in WEEKS for code, why in tried[one]]

# %% [markdown]
# The first ended with 0. The date that does not exist ended with 65 after one attempt, before Spark was asked. The
# last week was tried twice and ended with 75. What is in the table?

# %%
by_job = DeltaTable(str(medallion.scratch() / "by_job")).to_pyarrow_table()
partial = weekly(*interval_of("2025-12-29", "week")).collect()
set(map(str, by_job["week"])), sum(row.attempts for row in partial)

# %% [markdown]
# Only the good week. Without its test for newer files, the job would have written the last week with 312 attempts of
# one day, and ended with 0.
#
# A job that never ends is worse than one that fails, because nothing after it starts. So each has a **time-out**. We
# run a job without an end, and one that is killed each time:

# %%
ENDLESS, KILLED = "import time; time.sleep(60)", "import os; os.kill(os.getpid(), 9)"
endless = run_job([sys.executable, "-c", ENDLESS], seconds=0.3, attempts=1)
endless, run_job([sys.executable, "-c", KILLED], attempts=3)

# %% [markdown] given=["0.1", "0.2"]
# The killed job was tried three times, with pauses of 0.1 s and 0.2 s. A time-out or a kill ends the process that we
# started. A query that it has sent to a server may still run there, beside the retry. This is one more reason for a
# write that can be repeated.
#
# ## One run at a time: a lock that a kill releases
#
# A run that takes longer than usual meets the next one. Two runs of one interval at once are wasted work, and with an
# append they are wrong data. A **lock** lets one in. A file that says "I am running" is the obvious lock. Here a
# process takes such a file, and also a lock of the operating system on another file, with the package `filelock`. Then
# it is killed.

# %%
from filelock import FileLock, Timeout

HOLDER = """
import sys, time
from filelock import FileLock
open(sys.argv[1], "x").close()
with FileLock(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""
marker, lock = medallion.scratch() / "running", medallion.scratch() / "job.lock"


# %%
def may_run():
    """Say whether a run may start, by the marker and by the lock."""
    try:
        with FileLock(lock, timeout=0):
            by_lock = True
    except Timeout:
        by_lock = False
    return {"by marker": not marker.exists(), "by lock": by_lock}


# %%
marker.unlink(missing_ok=True)
command = [sys.executable, "-c", HOLDER, str(marker), str(lock)]
holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
holder.stdout.readline()
while_it_runs = may_run()
holder.kill()
holder.communicate()
while_it_runs, may_run()

# %% [markdown]
# While it runs, both keep us out. After the kill the marker still says that a job runs, and so no run starts until a
# person deletes the file. The operating system released the lock with the process.
#
# Our job file takes no lock. A job that takes one should not wait for it: it ends with 75, and a later attempt finds it
# free. Such a lock works on one machine. Between machines the scheduler has to do it, and Delta's check for conflicts
# is the last guard. We see it below, with the backfill.

# %% [markdown]
# ## The run log: ops.runs
#
# The table `ops.runs` has one row for each attempt. The program that starts the job writes it (here our `note`),
# because a killed job writes nothing. It writes with `deltalake`, so the log also works when Spark does not. `code` is
# a hash of the job's file: which code made this week? `version` is the version of the table that the attempt has
# written. (We begin a new log, so that this page shows the same rows each time. In production a log is never replaced.)

# %%
import hashlib

_ = spark.sql("""
    CREATE OR REPLACE TABLE ops.runs (job STRING, start DATE, end DATE,
        attempt INT, state STRING, exit_code INT, reason STRING,
        version BIGINT, code STRING)
""")
CODE = hashlib.sha256(JOB_FILE.read_bytes()).hexdigest()[:8]


# %%
import re

STATES = {0: "done", 65: "wrong data", 75: "may pass", 124: "timed out", -9: "killed"}


def log_rows(start, end, tried, code=CODE):
    """Return a row for each attempt of a run."""
    for number, (exit_code, why) in enumerate(tried, 1):
        state = STATES.get(exit_code, "failed")
        version = re.search(r"in version (\d+)", why) if exit_code == 0 else None
        wrote = int(version[1]) if version else None
        row = ("weekly_payments", start, end, number, state, exit_code, why)
        yield (*row, wrote, code)


# %%
RUNS = str(medallion.home() / "ops" / "runs")


def note(rows):
    """Append rows to the run log."""
    kinds = pa.schema(DeltaTable(RUNS).schema())
    noted = [dict(zip(kinds.names, row, strict=True)) for row in rows]
    write_deltalake(RUNS, pa.Table.from_pylist(noted, kinds), mode="append")


# %%
for text in ("2025-09-01", "2025-12-29"):
    note(log_rows(*interval_of(text, "week"), tried[text]))
log = DeltaTable(RUNS).to_pandas().sort_values(["start", "attempt"])
log["version"] = log["version"].astype("Int64")
log[["start", "attempt", "state", "version", "reason"]].reset_index(drop=True)

# %% [markdown]
# The good week is in version 1 of its table: version 0 created it. The date that does not exist has no interval, so it
# has no row here; the scheduler's own log has it. A log in production has also the moments of begin and end, and the
# versions that a run has read. We leave them out, because they change each time the chapters run, and the tables of
# this course are compared from build to build. `DESCRIBE HISTORY` has the moment of each commit.

# %% [markdown]
# ## The graph of tables: order, failure, repair
#
# A **DAG** (directed acyclic graph) has an arrow from a table to each table that is made from it, and no circle. The
# headers of our chapters hold such a graph: for each table, what it is made from.

# %% tags=["setup"]
from graphlib import TopologicalSorter

from medallion import contract

# %% tags=["setup"]
TABLES = ["bronze.orders", "bronze.payments", "silver.orders", "silver.payments"]
TABLES += ["silver.chargebacks", "gold.daily_sales", "gold.fact_sales"]
TABLES += ["gold.reconciliation", "gold.weekly_payments"]
made = {}
for number in ("01", "02", "03", "12"):
    made |= contract.read(number).makes
GRAPH = {table: [one for one in made[table] if one in TABLES] for table in TABLES}

# %%
GRAPH

# %% [markdown]
# `gold.reconciliation` compares two tables that are both made from `silver.orders`: a **diamond**. An order in which
# all can be made is a **topological order**. Python's standard library finds one:

# %%
list(TopologicalSorter(GRAPH).static_order())

# %% [markdown]
# A small orchestrator needs little more: it makes the tables in this order, and **skips** what depends on a table that
# failed. The rest goes on.


# %%
def run_graph(graph, make, tables):
    """Make some tables in the order of the graph; skip what depends on a failure."""
    states = {}
    for table in TopologicalSorter(graph).static_order():
        if table not in tables:
            continue
        if any(states.get(parent, "done") != "done" for parent in graph[table]):
            states[table] = "skipped"
            continue
        try:
            make(table)
            states[table] = "done"
        except Exception as error:
            states[table] = f"failed: {medallion.reason(error)[:40]}"
    return states


# %% [markdown]
# We try it on a diamond of four scratch tables. One statement names a column that does not exist.

# %% tags=["setup"]
PAID = "SELECT method, city FROM silver.payments WHERE paid_at >= '2025-12-29'"
STEPS = {
    "paid": PAID,
    "by_method": "SELECT method, count(*) AS n FROM scratch.paid GROUP BY method",
    "by_city": "SELECT city, count(*) AS n FROM scratch.paid GROUP BY town",
    "sums": """SELECT sum(if(part = 'method', n, 0)) AS methods,
        sum(if(part = 'city', n, 0)) AS cities
        FROM (SELECT 'method' AS part, n FROM scratch.by_method
              UNION ALL SELECT 'city', n FROM scratch.by_city)""",
}
STEP_GRAPH = {"paid": [], "by_method": ["paid"], "by_city": ["paid"]}
STEP_GRAPH["sums"] = ["by_method", "by_city"]


# %%
def make(table):
    """Make a scratch table by its statement."""
    spark.sql(f"CREATE OR REPLACE TABLE scratch.{table} AS {STEPS[table]}")


# %%
states = run_graph(STEP_GRAPH, make, list(STEPS))
states

# %% [markdown]
# `by_city` failed, `sums` was skipped, and `by_method` was made all the same. The statement is easily fixed. To run
# everything again would be right, and for large tables it would cost hours. A **repair** runs what is missing only.

# %% [markdown] tags=["exercise"]
# ### Exercise 12.4: plan a repair
#
# Write `plan(graph, done, failed)`. `graph` says for each table what it is made from, `done` are the tables that the
# run has made, and `failed` those that failed. Return the list of the tables that a repair has to make, in an order in
# which they can be made. A table is in the list if it failed, if it is not in `done`, or if it is **made from a table
# in the list**. The last rule also holds for a table in `done`, because its rows are old.
#
# A name that stands in the graph only as a source is somebody else's, and is never made. Raise `ValueError` if a name
# in `done` or `failed` is not in the graph, or for a circle. `CycleError` of `graphlib` is a `ValueError`. Try
# `plan(STEP_GRAPH, ["paid", "by_method"], ["by_city"])`, which is `["by_city", "sums"]`.


# %% tags=["solution"]
def plan(graph, done, failed):
    """Return the tables that a repair has to make, in an order that works."""
    ### BEGIN SOLUTION
    if unknown := {*done, *failed} - {*graph}:
        raise ValueError(f"Not in the graph: {', '.join(sorted(unknown))}")
    needed = []
    for table in TopologicalSorter(graph).static_order():
        stale = any(parent in needed for parent in graph.get(table, []))
        if table in graph and (table in failed or table not in done or stale):
            needed.append(table)
    return needed
    ### END SOLUTION


# %% tags=["check"]
check.plan(plan)

# %% [markdown]
# We fix the statement and run the plan. `by_city` is not in `done`, so the list of failures may be empty here.

# %%
STEPS["by_city"] = STEPS["by_city"].replace("town", "city")
todo = plan(STEP_GRAPH, [t for t, state in states.items() if state == "done"], [])
repaired = run_graph(STEP_GRAPH, make, todo)
repaired, DeltaTable(str(medallion.scratch() / "sums")).to_pyarrow_table().to_pylist()

# %%
versions = {
    table: DeltaTable(str(medallion.scratch() / table)).version() for table in STEPS
}
assert len(set(versions.values())) == 1, "the repair has made a table again"
versions

# %% [markdown]
# Both ways of counting give 312. All tables are at version 0, so none was made twice. And in the course's graph, if
# `silver.orders` fails after everything else was done yesterday?

# %%
others = [table for table in GRAPH if table != "silver.orders"]
plan(GRAPH, others, ["silver.orders"])

# %% [markdown]
# The two facts that are made from the orders, and the comparison of them. The payments stay as they are.

# %% [markdown]
# ## Backfill: 26 weeks with two workers
#
# A **backfill** runs the same code for past intervals: for a new table, or after a fix of the code. It goes from the
# oldest to the newest interval. May two of its runs write at the same time? Delta decides it at the commit: it compares
# what a run has read with what others have committed meanwhile.
#
# To show this without chance, we hold a run before its commit (`paused.before_commit`, chapter 10), and let another one
# commit with `deltalake`. Meanwhile we count the rows that a reader sees.

# %% tags=["setup"]
from itertools import pairwise

from medallion.spark import paused

# %% tags=["setup"]
ROW = """SELECT DATE '2025-09-01' AS week, 'card' AS method, 1L AS attempts,
    0L AS declined, 1L AS amount_cents"""


# %%
def commit_other(table, monday):
    """Replace a week by one row, without Spark."""
    folder = str(medallion.scratch() / table)
    kinds = pa.schema(DeltaTable(folder).schema())
    row = dict(zip(kinds.names, (monday, "card", 1, 0, 1), strict=True))
    rows = pa.Table.from_pylist([row], kinds)
    write_deltalake(folder, rows, mode="overwrite", predicate=f"week = '{monday}'")


# %%
def two_at_once(table, monday):
    """Hold a run of 1 September, commit another run, and say how the first ends."""
    name, rows = f"scratch.{table}", spark.sql(ROW)
    with paused.before_commit(spark, lambda: write_week(name, rows, *week)) as held:
        seen = totals(table)["rows"]
        commit_other(table, monday)
        error = held.finish()
    conflict = "DELTA_CONCURRENT_APPEND" in str(error)
    return seen, "conflict" if conflict else str(error or "written")


# %% [markdown]
# First, the two runs are for different weeks: in a table without partitions, and in one with a partition for each week.
# Then both are for the same week.

# %% costly="three pairs of transactions"
same_week, later = week
empty_table("one_part")
empty_table("by_week", "PARTITIONED BY (week)")
results = {
    "no partitions, two weeks": two_at_once("one_part", later),
    "by week, two weeks": two_at_once("by_week", later),
    "by week, the same week": two_at_once("by_week", same_week),
}
results, totals("by_week")

# %%
ends = [end for _, end in results.values()]
assert ends == ["conflict", "written", "conflict"], ends

# %% [markdown]
# Without partitions the held run lost to a run of another week. Delta cannot see that the weeks differ, so it treats a
# new file of another rewrite as one that our run should have read. With a partition for each week both were written. (A
# partition of one row is far too small for a real table, as chapter 10 shows. A partition should be the interval that a
# run replaces.)
#
# Of two runs of the same week one loses, so the table has the week once: 2 rows for two weeks. The run that loses can
# be retried, and replaces the same rows. A backfill does not need such conflicts: its intervals must not overlap.
#
# The first numbers, 0, 0 and 2, show what a **killed** run leaves. The held run had written its data file, and readers
# saw none of its rows, because no version named the file. `VACUUM` removes such files later (chapter 10).

# %% [markdown] tags=["exercise"]
# ### Exercise 12.5: a backfill with two workers
#
# Write `backfill(intervals, run, workers)`. `intervals` is a list of half-open intervals, each a pair of `date`, in
# any order. Call `run(start, end)` once for each, the oldest first, with at most `workers` calls at the same time. Use
# all workers while intervals are left. A call that raises an error is `"failed"` and stops none of the others; the rest
# is `"done"`. Return a dict from interval to state, from the oldest to the newest.
#
# If two intervals overlap, or one is there twice, raise `ValueError` before anything runs. Intervals that only touch,
# such as two neighbouring weeks, do not overlap.
#
# In a block `with ThreadPoolExecutor(workers) as pool:`, `pool.submit(run, start, end)` starts a call, or lets it wait
# until a worker is free. It returns a future, whose `exception()` waits for the end and returns the error or `None`.
# `pairwise` gives the neighbours of a list.


# %% tags=["solution"]
def backfill(intervals, run, workers):
    """Run each interval once, the oldest first; return the states."""
    ### BEGIN SOLUTION
    ordered = sorted(intervals)
    for (_, end), (start, _) in pairwise(ordered):
        if start < end:
            raise ValueError(f"Two intervals overlap at {start}")
    with ThreadPoolExecutor(workers) as pool:
        runs = {interval: pool.submit(run, *interval) for interval in ordered}
    return {
        interval: "failed" if one.exception() else "done"
        for interval, one in runs.items()
    }
    ### END SOLUTION


# %% tags=["check"]
check.backfill(backfill)

# %% [markdown]
# Now the 26 complete weeks of our payments, into `gold.weekly_payments`. One run takes up to seven weeks, because
# starting a run costs more than one of our small weeks. So 26 weeks are four runs. An existing table stays: each run
# replaces its weeks, and readers find all others meanwhile.

# %%
spark.sql(f"""
    CREATE TABLE IF NOT EXISTS gold.weekly_payments ({COLUMNS})
    PARTITIONED BY (week)
""")
FIRST, LAST = date(2025, 6, 30), date(2025, 12, 29)
STEP = timedelta(49)
pieces = [(FIRST + n * STEP, min(FIRST + (n + 1) * STEP, LAST)) for n in range(4)]


# %%
def run_weeks(start, end):
    """Make some weeks of gold.weekly_payments."""
    write_week("gold.weekly_payments", weekly(start, end), start, end)


# %% costly="four runs, each a commit of its own"
backfilled = backfill(pieces, run_weeks, workers=2)
rows = []
for interval, state in backfilled.items():
    end = (0 if state == "done" else 1), "backfill"
    rows += log_rows(*interval, [end], code="notebook")
note(rows)
assert set(backfilled.values()) == {"done"}
list(backfilled.values())

# %% [markdown]
# In the log, these runs have the code `notebook`, because our job file did not run; in production a backfill starts it.
# They have no version: which of two workers commits first is chance.
#
# Is that equal to one pass over all weeks? The few rows fit into Python, so we compare them there. (For large tables,
# `EXCEPT ALL` in both directions counts the rows that only one side has.)


# %%
def rows_in(schema, table):
    """Return the rows of a small table as tuples."""
    rows = DeltaTable(str(medallion.home() / schema / table)).to_pyarrow_table()
    return sorted(tuple(row.values()) for row in rows.to_pylist())


# %%
in_parts = rows_in("gold", "weekly_payments")
one_pass = sorted(map(tuple, weekly(FIRST, LAST).collect()))
len({row[0] for row in in_parts}), len(in_parts), in_parts == one_pass

# %% [markdown]
# 26 weeks with 78 rows, and they are equal (`True`).

# %% [markdown]
# ## Late data reopens an interval
#
# A finished interval is finished only until a late row arrives. Suppose that the vouchers of the week of 1 September
# came a week later than the rest. We change their arrival in a temporary view.

# %%
late = f"paid_at >= '{week[0]}' AND paid_at < '{week[1]}' AND method = 'voucher'"
arrival = F.expr(f"_arrived_at + if({late}, INTERVAL 7 DAYS, INTERVAL 0 DAYS)")
seen = spark.table("silver.payments").withColumn("_arrived_at", arrival)
seen.createOrReplaceTempView("payments_seen")


# %%
def as_of(moment, start, end):
    """Return the rows of some weeks, from what had arrived at a moment."""
    arrived = seen.where(F.col("_arrived_at") <= F.lit(moment).cast("timestamp"))
    arrived.createOrReplaceTempView("payments_then")
    return weekly(start, end, "payments_then")


# %%
next_week = date(2025, 9, 8), date(2025, 9, 15)
write_week("scratch.weekly", as_of(week[1], *week), *week)


# %%
def missing():
    """Return the rows that the week should have by now, and has not."""
    written = DeltaTable(str(medallion.scratch() / "weekly")).to_pyarrow_table()
    written = {tuple(row.values()) for row in written.to_pylist()}
    return {tuple(row) for row in as_of(next_week[1], *week).collect()} - written


# %%
{row[1:3] for row in missing()}

# %% [markdown]
# The week had its run on 8 September. A week later, 50 voucher payments of it are in no row, and the run of the next
# week will not look for them. So a run should not ask "which week is it?", but "which intervals do the new rows
# belong to?"


# %%
def touched(since, until):
    """Return the weeks of the payments that arrived after a day, until another."""
    arrived = seen.where(
        (F.col("_arrived_at") > F.lit(since).cast("timestamp"))
        & (F.col("_arrived_at") <= F.lit(until).cast("timestamp"))
    )
    monday = F.expr("date(date_trunc('week', paid_at))").alias("week")
    return sorted(row.week for row in arrived.select(monday).distinct().collect())


# %%
to_run = touched(since=week[1], until=next_week[1])
reopened = [monday for monday in to_run if monday < next_week[0]]
for monday in reopened:
    one = monday, monday + timedelta(7)
    write_week("scratch.weekly", as_of(next_week[1], *one), *one)
[str(monday) for monday in to_run], missing()

# %% [markdown]
# What arrived in the second week touches both weeks. The second is the usual run. The first is **reopened**: it has run
# again, and nothing is missing any more (`set()`). This works because a run replaces its interval. Somebody has to say
# how long an interval may be reopened, because reports have been made of it.

# %% [markdown]
# ## Freshness: an alert that fires also when nothing ran
#
# We promise: by Tuesday, 08:00 UTC, the week before is in the table. That is 32 hours after the end of the week. A job
# can report its failure. A job that was never started reports nothing. So **freshness** is measured on the table, by
# another program than the job:


# %%
def freshness(newest, now, allowed=timedelta(hours=32)):
    """Say whether the weeks that should be there by `now` are there."""
    if newest is None:
        return "empty"
    reached = (now - allowed).date()
    due = reached - timedelta(reached.weekday() + 7)  # the last week that is due
    weeks = (due - newest).days // 7
    return "fresh" if weeks <= 0 else f"{weeks} week(s) late"


# %%
newest = max(monday for monday, *_ in in_parts)
moments = [datetime(2026, 1, 6, 7, 59), datetime(2026, 1, 6, 8), datetime(2026, 1, 19)]
alerts = {str(now): freshness(newest, now) for now in moments}
log = DeltaTable(RUNS).to_pandas()
failures = int((log["start"] > date(2025, 12, 29)).sum())
alerts, freshness(None, moments[0]), failures

# %% [markdown]
# The newest week is that of 22 December. Until Tuesday, 6 January, 07:59, this is as promised. At 08:00 the week of 29
# December is late: a week is due when it has ended before the moment `reached`. `ops.runs` has no row for later weeks:
# the scheduler was off, so an alert on failed runs stays silent. The empty table is an answer of its own, since a
# maximum of no rows is NULL.

# %% [markdown]
# ## Cron and its traps: time zones, repeated and missing hours
#
# **Cron** starts commands by the clock: `30 2 * * *` means at 02:30 each day. In whose time zone? For a shop in Berlin
# we look at the two nights when the clocks change. `fold=1` is the second of two equal times.

# %%
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
UTC = ZoneInfo("UTC")


# %%
def in_utc(*moment, fold=0):
    """Return a time in Berlin as UTC, and what the clock in Berlin shows then."""
    there = datetime(*moment, fold=fold, tzinfo=BERLIN).astimezone(UTC)
    return f"{there:%d %b %H:%M} UTC", f"{there.astimezone(BERLIN):%H:%M} Berlin"


# %%
autumn = [in_utc(2025, 10, 26, 2, 30, fold=fold) for fold in (0, 1)]
spring = in_utc(2026, 3, 29, 2, 30)
autumn, spring

# %% [markdown]
# On 26 October, 02:30 comes twice, an hour apart. On 29 March it does not come at all: the clock jumps from 02:00 to
# 03:00. A job at this time may run twice, or never. What happens depends on the cron: that of Debian has a rule for
# both nights (its manual, cron(8)), and another one may not. Two more surprises:

# %%
first, second = (
    datetime(2025, 10, day, tzinfo=BERLIN).astimezone(UTC) for day in (26, 27)
)
(second - first) / timedelta(hours=1)

# %% [markdown]
# The day of 26 October has 25 hours in Berlin, so "the last 24 hours" is no day. And when is Monday, 00:30 in Berlin?

# %%
monday = datetime(2025, 9, 8, 0, 30, tzinfo=BERLIN).astimezone(UTC)
f"{monday:%A %H:%M} UTC", str(last_week(monday))

# %% [markdown]
# It is Sunday, 22:30 in UTC. A job that asks the clock for "last week" works for 25 August. At 01:30 UTC it worked for
# 1 September.
#
# - **Time zone:** schedule in UTC, and let the job have its interval as a parameter.
# - **Repeated hour, overlap:** an idempotent write and a lock make a second start harmless.
# - **Missing hour, a machine that was off:** classic cron does not make up for a missed start. A timer of systemd with
#   `Persistent=true` makes up for one, however many were missed. So the next run has to ask which intervals are not done.
# - **Silence:** measure freshness on the table.
#
# For one job on one machine, cron or a systemd timer with these four answers is enough.

# %% [markdown] given=["1.13"]
# ## An orchestrator: the same graph in Dagster
#
# Our forty lines start a graph, and nothing more. A team also needs a timetable, a page with all runs, alerts, and
# several machines. An **orchestrator** has these. We take Dagster 1.13.28, because it works with tables, as we do:
#
# | here | in Dagster |
# |---|---|
# | table of the graph | **asset** |
# | interval | **partition** |
# | to run the job for one interval | to **materialize** a partition |
# | exit code 75, and a limit | `RetryPolicy` |
# | test of the table after the run | **asset check** |
# | `ops.runs` | event log |
#
# So a partition of Dagster is an interval. It is neither a partition of a DataFrame nor a folder of a table.
#
# An orchestrator starts jobs and should not share their libraries. So Dagster has its own lock file,
# `orchestrator.lock`, and its own environment. How many packages would it have brought into ours?

# %%
from medallion.machine import orchestrator, packages


def pinned(lock):
    """Return the packages that a lock file names."""
    return {pin.name for pin in packages.pins(lock.read_text())}


theirs = pinned(orchestrator.lock_file())
ours = pinned(orchestrator.lock_file().with_name("requirements.lock"))
len(theirs), len(theirs - ours)

# %% [markdown] given=["230"]
# 72 packages, 20 of them new to us. Where both have a package, each now has its own version. The environment takes
# some 230 MB, so it is made only on request, by `./medallion setup --orchestrator`. Is it there?

# %%
orchestrator.ready()

# %% [markdown]
# If it is not, the cells of this section show one line with that command, and the rest of the chapter works.
#
# ### Assets, partitions, retries and an asset check
#
# Dagster runs in processes of its own and cannot see the variables of this notebook. So we write files for it, and pass
# the graph and the commands as text in environment variables:
#
# - `definitions.py` says what Dagster knows and what it makes,
# - `first_75.py` lets the first attempt fail,
# - `count.py` counts the rows that the job has written.
#
# The first half of the definitions gives Dagster our graph. `AssetSpec` is a table that Dagster knows and does not
# make: the chapters before have made it. In `WEEKS`, `day_offset=1` means that a week begins on Monday.

# %%
KNOWN = """
import json, os, subprocess
import dagster as dg

GRAPH, JOB = json.loads(os.environ["GRAPH"]), json.loads(os.environ["JOB"])
MADE, TABLE = "gold.weekly_payments", os.environ["TABLE"]
WEEKS = dg.WeeklyPartitionsDefinition("2025-06-23", "2026-01-05", day_offset=1)
tables = sorted({*GRAPH, *(source for sources in GRAPH.values() for source in sources)})
key = {table: dg.AssetKey(table.split(".")) for table in tables}
known = [
    dg.AssetSpec(key[table], deps=[key[one] for one in GRAPH.get(table, [])])
    for table in tables if table != MADE
]
"""

# %% [markdown]
# The second half is the table that our job makes, with its partitions, its retries and its check. Dagster starts the job
# as a process, and gets an exit code. Only code 75 may be retried. A time-out raises an error in Python, which the policy
# retries too. (Its argument `backoff` would make each pause longer.) After the job, a second process counts the rows of
# the week; that is the asset check.

# %%
MADE_BY_JOB = """
@dg.asset(key=key[MADE], deps=[key[one] for one in GRAPH[MADE]], partitions_def=WEEKS,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=0.1),
    check_specs=[dg.AssetCheckSpec("has_rows", asset=key[MADE])])
def weekly_payments(context):
    week = context.partition_key
    job = [*JOB, "--week", week, "--table", TABLE]
    if code := subprocess.run(job, timeout=600).returncode:
        raise dg.Failure(f"exit code {code}", allow_retries=code == 75)
    count = [*json.loads(os.environ["COUNT"]), week, os.environ["FOLDER"]]
    rows = int(subprocess.run(count, capture_output=True, text=True, check=True).stdout)
    return dg.MaterializeResult(metadata={"rows": rows},
        check_results=[dg.AssetCheckResult(passed=rows > 0, check_name="has_rows")])
defs = dg.Definitions([*known, weekly_payments], executor=dg.in_process_executor)
"""

# %% [markdown]
# `in_process_executor` runs all steps in one process, which is enough for a step that only waits for the job. The default
# starts a process for each step.
#
# We want to see a retry. So we put a step before the job that exits with 75 the first time, as a job does when its
# source does not answer. The next time it becomes the job.

# %%
FIRST_75 = """
import os, pathlib, sys
here, *command = sys.argv
if not (mark := pathlib.Path(here + ".seen")).exists():
    mark.touch()
    sys.exit(75)
os.execv(command[0], command)
"""

# %% [markdown]
# The process that counts needs no Spark: `deltalake` reads the few rows of our scratch table.

# %%
COUNT = """
import sys
from deltalake import DeltaTable

week, folder = sys.argv[1:]
rows = DeltaTable(folder).to_pyarrow_table(columns=["week"])
print([str(one) for one in rows["week"].to_pylist()].count(week))
"""

# %% [markdown]
# All of it goes into one folder, the home of this Dagster. If the cell runs again, the runs before are forgotten.
# Dagster's usage statistics, which leave the machine, are off.

# %%
import shutil

HOME = medallion.scratch() / "dagster"  # DAGSTER_HOME
FILES = {
    "dagster.yaml": "telemetry: {enabled: false}\n",
    "definitions.py": KNOWN + MADE_BY_JOB,
    "first_75.py": FIRST_75,
    "count.py": COUNT,
}
shutil.rmtree(HOME, ignore_errors=True)
HOME.mkdir(parents=True)
for name, text in FILES.items():
    (HOME / name).write_text(text, encoding="utf-8")

# %%
import json

TABLE = "scratch.orchestrated"
COMMAND = [sys.executable, str(HOME / "first_75.py"), sys.executable, str(JOB_FILE)]
ENVIRONMENT = {
    "DAGSTER_HOME": str(HOME),
    "GRAPH": json.dumps(GRAPH),
    "JOB": json.dumps(COMMAND),
    "COUNT": json.dumps([sys.executable, str(HOME / "count.py")]),
    "TABLE": TABLE,
    "FOLDER": str(medallion.scratch() / "orchestrated"),
}

# %% [markdown]
# The job gets Spark from our session, over Spark Connect. What Dagster prints goes to a file.

# %%
from medallion.errors import MedallionError


def materialize(week):
    """Let Dagster make one week; return its exit code, or why it cannot."""
    try:
        dagster = [orchestrator.program("dagster"), "asset", "materialize"]
    except MedallionError as error:
        return str(error)
    what = ["-f", HOME / "definitions.py", "--select", "gold/weekly_payments"]
    command = [*dagster, *what, "--partition", week]
    with spark_connect.serving() as environment, (HOME / "log.txt").open("w") as log:
        environment |= ENVIRONMENT
        ran = subprocess.run(command, env=environment, stdout=log, stderr=log)
    return ran.returncode


# %% costly="two processes: Dagster, and the job that it starts"
materialize("2025-09-01")

# %% [markdown] given=["1.13"]
# 0 is success. (Dagster 1.13.28 prefers `dg launch` to `dagster asset materialize`. It needs one more package.)
#
# ### Run history: reading the event log
#
# Dagster keeps runs and events in SQLite files below `DAGSTER_HOME`. We can read them without Dagster. (The public way is
# its Python class `DagsterInstance`; the tables of the files may change with a version.)

# %%
import sqlite3
from contextlib import closing


def stored(file, query):
    """Return the rows of a query on a file of Dagster; none without the file."""
    if not (HOME / "history" / file).exists():
        return []
    with closing(sqlite3.connect(HOME / "history" / file)) as store:
        return store.execute(query).fetchall()


ALL_RUNS = "SELECT run_id, partition, status FROM runs ORDER BY partition, id"
KINDS = "SELECT dagster_event_type FROM event_logs WHERE step_key > '' ORDER BY id"

# %%
for run, partition, status in stored("runs.db", ALL_RUNS):
    print(partition, status)
    for (kind,) in stored(f"runs/{run}.db", KINDS):
        print("   ", kind)

# %% [markdown]
# The first attempt ended in `STEP_UP_FOR_RETRY`, the second one in `STEP_SUCCESS`. Between them stand the
# materialization of the asset and the evaluation of its check, each after the `STEP_OUTPUT` that it belongs to. The check
# only reports. With `blocking=True` the assets behind it would not run. Neither kind of check undoes what the job has
# written. The table has the week:

# %%
orchestrated = ENVIRONMENT["FOLDER"]
is_made = DeltaTable.is_deltatable(orchestrated)
DeltaTable(orchestrated).to_pandas().sort_values("method") if is_made else None

# %% [markdown] given=["65"]
# The partition of 23 June 2025 exists, and the shop sold nothing before July. For a week without a payment our job exits
# with 65, wrong data. The policy allows two retries. How many attempts does Dagster make?

# %% costly="two processes again"
ended = materialize("2025-06-23")

# %% tags=["predict"]
EVENTS = "SELECT dagster_event_type, event FROM event_logs ORDER BY id"
runs = [run for run, day, _ in stored("runs.db", ALL_RUNS) if day == "2025-06-23"]
later = [row for run in runs for row in stored(f"runs/{run}.db", EVENTS)]
attempts = sum(kind in ("STEP_START", "STEP_RESTARTED") for kind, _ in later)
why = [kind for kind, event in later if "exit code 65" in event]
ended, attempts, why

# %% [markdown]
# One attempt. The failure of the step names exit code 65. `allow_retries=False` ends the run at once, and Dagster ends
# with 1. Without it, Dagster would start the job two more times, and it would fail each time. Retries belong to code 75
# only.
#
# ### Schedules, backfills, freshness: what a daemon does
#
# A **daemon** is a process that always runs in the background.
#
# - **A schedule** needs `dagster-daemon`. It has a time zone, as cron has: name it.
# - **A backfill** is one run for each partition of a range. The page requests it, and the daemon starts the runs.
#   `BackfillPolicy.single_run()` hands the range to one run instead.
# - **Freshness.** `FreshnessPolicy.time_window` looks at when an asset was last *materialized*, not at how new its data
#   are. A job that succeeds on old files is fresh to it, and so is a backfill of an old week. (It is off by default in
#   the open version, and still changes: docs.dagster.io, "Asset freshness policies".) Our own measure on the data stays.
# - **The page.** `dagster dev -f definitions.py`, with the same environment variables, serves it on this machine. It
#   shows the graph, each partition, and each attempt. It has no login, so whoever reaches it can start jobs. Keep it on
#   127.0.0.1, which only this machine reaches.
#
# Airflow, Prefect and Kestra have the same ideas under other names. None of them makes a job idempotent: that stays
# ours. For one job with one interval, cron and a run log are enough.

# %% [markdown]
# ## A data contract: what a table promises
#
# Another team builds a report on `gold.weekly_payments`. A **data contract** is a file in which the owner promises
# columns, key, freshness, volume and meaning. It has a form, the Open Data Contract Standard (ODCS 3.1.0), which tools
# such as `datacontract-cli` read:
#
# - `physicalType` is the type in the table, and `primaryKey` marks the columns of the key.
# - `quality` holds rules: here the volume, more than no rows.
# - `slaProperties` are the service levels (SLA). The standard's word for freshness is `latency`: how old the newest
#   value of its `element`, a column, may be.

# %% tags=["setup"]
from yaml import safe_load

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: weekly-payments
version: 1.0.0
status: active
team: {name: payments}
schema:
  - name: weekly_payments
    physicalName: gold.weekly_payments
    quality: [{metric: rowCount, mustBeGreaterThan: 0}]
    properties:
"""

# %% tags=["setup"]
CONTRACT += """
      - {name: week, physicalType: date, required: true, primaryKey: true}
      - {name: method, physicalType: string, required: true, primaryKey: true}
      - {name: attempts, physicalType: bigint, required: true}
      - {name: declined, physicalType: bigint, required: true}
      - {name: amount_cents, physicalType: bigint, description: of authorised payments}
slaProperties: [{property: latency, value: 15, unit: d, element: week}]
"""
weekly_contract = safe_load(CONTRACT)
HOURS = {"h": 1, "d": 24}  # the units of time that we use

# %% [markdown]
# Why 15 days? `week` is the *first* day of a week. The week of 8 September is due on Tuesday, 16 September. Until then
# the newest week is that of 1 September, 15 days ago. A promise of 7 days would be broken on most days.
#
# For a test we need the promises in a handy form. No latency is infinite hours: any age is allowed.

# %% tags=["setup"]


def promises(contract):
    """Return the promises of a contract as sets, and its latency in hours."""
    columns = contract["schema"][0]["properties"]
    slas = contract.get("slaProperties", [])
    late = [HOURS[s["unit"]] * s["value"] for s in slas if s["property"] == "latency"]
    return {
        "columns": {(one["name"], one["physicalType"]) for one in columns},
        "required": {one["name"] for one in columns if one.get("required")},
        "key": {one["name"] for one in columns if one.get("primaryKey")},
        "hours": min(late, default=float("inf")),
    }


# %%
for what, promised in promises(weekly_contract).items():
    print(what, sorted(promised) if isinstance(promised, set) else promised)

# %% [markdown]
# ### Testing a table against its contract, at the border
#
# The test runs before the table is published, as chapter 03 does it (write, audit, publish). One query counts what the
# promises need. At scale it reads only the interval that the run replaces.


# %%
def facts(table, promised):
    """Return what the rows of a table say about the promises, by one query."""
    key = F.struct(*sorted(promised["key"]))
    return table.agg(
        F.count("*").alias("rows"),
        F.count_distinct(key).alias("keys"),
        F.max("week").alias("newest"),
        *(
            F.count_if(F.isnull(name)).alias(name)
            for name in sorted(promised["required"])
        ),
    ).first()


# %%
def violations(contract, table, today):
    """Return which promises a table breaks on a day; [] when it keeps all."""
    promised, [volume] = promises(contract), contract["schema"][0]["quality"]
    if missing := promised["columns"] - set(table.dtypes):
        return [f"column {name} {kind}" for name, kind in sorted(missing)]
    found = facts(table, promised)
    if found["rows"] <= volume["mustBeGreaterThan"]:
        return [f"{found['rows']} rows"]
    said = [f"NULL in {name}" for name in sorted(promised["required"]) if found[name]]
    if promised["key"] and found["keys"] < found["rows"]:
        said.append("key")
    age = (today - found["newest"]) / timedelta(hours=1) if found["newest"] else 0
    return [*said, "latency"] if age > promised["hours"] else said


# %% [markdown]
# We test one week of `gold.weekly_payments` as it is, and four copies that we damage on purpose.

# %%
weeks = DeltaTable(str(medallion.home() / "gold" / "weekly_payments"))
chosen = weeks.to_pyarrow_table(filters=[("week", "=", date(2025, 9, 1))])
one_week = spark.createDataFrame(chosen)
damaged = {
    "as it is": one_week,
    "a row twice": one_week.union(one_week.limit(1)),
    "no attempts": one_week.withColumn("attempts", F.lit(None).cast("bigint")),
    "euros": one_week.withColumn("amount_cents", F.col("amount_cents") / 100),
    "nothing": one_week.limit(0),
}

# %%
{
    what: violations(weekly_contract, one, date(2025, 9, 10))
    for what, one in damaged.items()
}

# %%
days = date(2025, 9, 16), date(2025, 9, 17)
[violations(weekly_contract, one_week, day) for day in days]

# %% [markdown]
# Each damage breaks its own promise. On 16 September the week is 15 days old, and on 17 September it is too old. By then
# our own alert on freshness has been out since Tuesday, 08:00: an owner should know before the readers do.
#
# The test does not know what a column means. (Euros were found only because a division makes a `double`. With the type
# kept, only a comparison with the source finds them: the section on the clone does that.)

# %% [markdown]
# ## Breaking changes and semantic versions
#
# The owner wants to change the table. A **breaking change** can break a query of a reader that has not changed. A
# **semantic version** shows it: `major.minor.patch`, of which a breaking change raises the major number.
#
# | change | raises |
# |---|---|
# | a column gone, renamed or of another type; a column no longer required; another key; a longer latency, or none | major |
# | a new column; a column that is now required; a shorter latency, or one where none was promised | minor |
# | anything else, such as a description or the team | patch |
# | nothing but `version` | nothing |
#
# A wider type counts too: a reader that stores an `int` can fail at a `bigint`. A new column is minor only for readers
# that name their columns, so they should. (Another name of the table and a lower volume break readers as well. The
# exercise leaves them out.)

# %% [markdown] tags=["exercise"]
# ### Exercise 12.6: find the version that a contract change needs
#
# Write `next_version(old, new)`, which returns the version that `new` must have, as a string. Both are contracts like
# `weekly_contract` above. The table says what counts. The highest change decides, and lower numbers begin at 0 again.
# If only `version` differs, or nothing, return the version of `old`. What `new` itself says as `version` does not
# matter.
#
# `promises` is there to help. Change neither contract. The next cells copy your function into a file, so of the other
# cells it can use `promises` only.


# %% tags=["solution"]
def next_version(old, new):
    """Return the semantic version that a changed contract must have."""
    ### BEGIN SOLUTION
    major, minor, patch = map(int, old["version"].split("."))
    was, now = promises(old), promises(new)
    gone = any(was[what] - now[what] for what in ("columns", "required"))
    if gone or was["key"] != now["key"] or was["hours"] < now["hours"]:
        return f"{major + 1}.0.0"
    added = any(now[what] - was[what] for what in ("columns", "required"))
    if added or was["hours"] > now["hours"]:
        return f"{major}.{minor + 1}.0"
    same = {**new, "version": old["version"]} == old
    return old["version"] if same else f"{major}.{minor}.{patch + 1}"
    ### END SOLUTION


# %% tags=["check"]
check.next_version(next_version)

# %% [markdown]
# ### Stopping a breaking change in CI
#
# In **continuous integration** (CI) a change is tested before it is merged. CI knows one thing about a test: the exit
# code of a process. So the function goes into a file that compares two contracts.

# %%
import inspect

COMPARE = """
import sys, yaml

old, new = (yaml.safe_load(open(file, "rb")) for file in sys.argv[1:])
wanted = next_version(old, new)
if new["version"] != wanted:
    sys.exit(f"The version is {new['version']}; this change needs {wanted}.")
"""

# %%
CI = medallion.scratch() / "ci"
CI.mkdir(parents=True, exist_ok=True)
functions = [inspect.getsource(one) for one in (promises, next_version)]
program = "\n".join([f"HOURS = {HOURS}", *functions, COMPARE])
_ = (CI / "compare.py").write_text(program, encoding="utf-8")
_ = (CI / "old.yaml").write_text(CONTRACT, encoding="utf-8")

# %%
NEW = "      - {name: refunds, physicalType: bigint}\n"
CHANGES = {
    "a description": CONTRACT.replace("of authorised", "in EUR, of authorised"),
    "a new column": CONTRACT.replace("slaProperties", NEW + "slaProperties"),
    "euros": CONTRACT.replace("amount_cents", "amount_euros"),
}


# %%
def ci(text, version):
    """Return the exit code of the comparison with the old contract, and its message."""
    (CI / "new.yaml").write_text(text.replace("1.0.0", version), encoding="utf-8")
    command = [sys.executable, "compare.py", "old.yaml", "new.yaml"]
    done = subprocess.run(command, cwd=CI, capture_output=True, text=True)
    return done.returncode, done.stderr.strip()


# %%
{what: ci(text, "1.1.0") for what, text in CHANGES.items()}

# %%
ci(CHANGES["euros"], "2.0.0")

# %% [markdown]
# With `1.1.0` the new column passes, and the euros stop the merge. (A description needs `1.0.1`.) With `2.0.0` the euros
# pass, since the change is now called breaking. The readers still have to move. So keep both tables for a time that the
# contract names, and drop the old one afterwards.

# %% [markdown]
# ## Configuration by target: dev, test, prod
#
# The same code runs on a laptop, in CI and in production. A file holds what differs: for each place a **target**, a set
# of settings. The code looks its target up and has no `if prod`.

# %%
TARGETS = """
dev: {schema: scratch, weeks: 2, alert: print, secret: SHOP_PASSWORD}
test: {schema: scratch, weeks: 4, alert: print, secret: SHOP_PASSWORD}
prod: {schema: gold, weeks: 26, alert: mail, secret: SHOP_PASSWORD}
"""


def target(name=None):
    """Return the settings of a target; of dev, if nobody names one."""
    targets = safe_load(TARGETS)
    if (name := name or "dev") not in targets:
        raise ValueError(
            f"There is no target {name!r}. The targets are {', '.join(targets)}."
        )
    return targets[name]


# %%
target(), target("prod")["schema"]

# %%
try:
    target("production")
except ValueError as error:
    print(error)

# %% [markdown]
# The default is `dev`: a forgotten setting must not reach production. A misspelt target stops, and does not fall back.

# %% [markdown]
# ## Secrets: from the environment, never in code
#
# The file of targets holds the *name* of a secret. The value comes from the environment, where a secret store puts it.
# If it is missing, the job stops at its beginning with a clear error. (Each process that the job starts inherits the
# environment. In production a token that expires soon is better than a password.)

# %%
import os
import secrets


def secret(name):
    """Return the value of a secret. Raises RuntimeError when it is not set."""
    if not os.environ.get(name):
        raise RuntimeError(
            f"The secret {name} is not set. Set it in the environment of the job."
        )
    return os.environ[name]


# %%
try:
    secret(target()["secret"])
except RuntimeError as error:
    print(error)

# %% [markdown]
# For the rest of this section we set one, drawn at random, and see where it gets out. We print only whether it is
# found, so that it is in no output either.

# %%
os.environ["SHOP_PASSWORD"] = password = secrets.token_hex(8)
settings = target() | {"password": secret("SHOP_PASSWORD")}

# %% [markdown]
# ### Three leaks: history, error message, Spark configuration
#
# **History.** Somebody wants to know later with which settings a version was written, and puts them into
# `userMetadata`:


# %%
def history_after(metadata):
    """Write a row with metadata; return the metadata of the newest version."""
    place = str(medallion.scratch() / "written_with")
    write = (
        spark.range(1).write.mode("append").option("userMetadata", json.dumps(metadata))
    )
    write.save(place)
    return DeltaTable(place).history(1)[0]["userMetadata"]


password in history_after(settings)

# %% [markdown]
# Everybody who may read the history can now read the password. A later commit does not remove it: the file of the log
# stays for 30 days by default, and longer in copies. The fix is a list of the settings that may go out. A list of those
# that may not would miss the next new name.

# %%
PUBLIC = ("schema", "weeks", "alert", "secret")
password in history_after({name: settings[name] for name in PUBLIC})

# %% [markdown]
# **Error message.** A command line is part of the message when the command fails. From there it goes to the log, and to
# the event log of the orchestrator. On Linux, other users of the machine usually see it in the list of processes too.


# %%
def message_of(arguments, **named):
    """Return the message of a command that fails."""
    command = [sys.executable, "-c", "raise SystemExit(75)", *arguments]
    try:
        subprocess.run(command, check=True, **named)
    except subprocess.CalledProcessError as error:
        return str(error)


given = os.environ | {"SHOP_PASSWORD": password}
password in message_of(["--password", password]), password in message_of([], env=given)

# %% [markdown]
# **Configuration.** Spark 4.2 hides the values of settings whose names look secret, in `SET` and on the Environment page
# of its UI. The setting `spark.redaction.regex` has the pattern. Here are two names for the same value:

# %%
for name in ("spark.shop.password", "spark.shop.pwd"):
    spark.conf.set(name, password)
    [shown] = spark.sql(f"SET {name}").collect()
    print(name, "is shown" if shown.value == password else "is hidden")
    spark.conf.unset(name)

# %% [markdown]
# The pattern matches `password` and not `pwd`. So a secret does not belong in the configuration at all, and the pattern
# is only a second safeguard. A secret that got out must be *replaced*: somebody may have copied it.

# %%
del os.environ["SHOP_PASSWORD"]

# %% [markdown]
# ## A shallow clone to test a change
#
# A change of the job converts the cents to euros and keeps the type. We try it on a **shallow clone** (chapter 10): a
# table with its own log over the same data files. The released table has the three rows of `one_week`.

# %%
for table in ("trial", "released"):
    spark.sql(f"DROP TABLE IF EXISTS scratch.{table}")
one_week.write.saveAsTable("scratch.released")
_ = spark.sql("CREATE TABLE scratch.trial SHALLOW CLONE scratch.released")

# %%
euros = one_week.withColumn("amount_cents", F.expr("amount_cents DIV 100"))
euros.write.insertInto("scratch.trial", overwrite=True)
trial_table = spark.table("scratch.trial")
violations(weekly_contract, trial_table, date(2025, 9, 10))

# %%
released = str(medallion.scratch() / "released")


def total():
    """Return the sum of the released amounts, read without Spark."""
    return sum(DeltaTable(released).to_pyarrow_table()["amount_cents"].to_pylist())


trial_table.agg(F.sum("amount_cents")).first()[0], total()

# %% [markdown]
# The contract finds nothing: types, keys and dates are right. The comparison of the sums finds it: 46,704 in the trial
# and 4,670,590 in the released table, which was not touched. So judge a change on a clone, by the numbers of production.

# %% [markdown]
# ## Rollback: RESTORE and the run after it
#
# The change is released all the same. A **rollback** takes three steps: put the old code back, restore the table, and
# repair what was built on the wrong version. Chapter 10 restores with SQL, `RESTORE TABLE … TO VERSION AS OF`.
# `deltalake` makes the same commit, and needs no Spark at a moment when something is broken:

# %%
good = DeltaTable(released).version()
euros.write.insertInto("scratch.released", overwrite=True)
total()

# %%
DeltaTable(released).restore(good)
total()

# %%
[(one["version"], one["operation"]) for one in DeltaTable(released).history()]

# %% [markdown]
# The sum is 4,670,590 again. `RESTORE` is a commit of its own, so the wrong version 1 stays in the history for the
# analysis. Know its limits before you need it:
#
# - If the old code is not back first, the next run writes euros again.
# - Good commits that came after the wrong one are undone too. `ops.runs` shows which intervals have to run again.
# - The data files of the good version must still be there. After `VACUUM` has deleted them, `RESTORE` fails (chapter 10).
# - It restores one table. The tables behind it still hold wrong numbers: `plan(graph, done, failed)` of exercise 12.4
#   lists them. A stream that reads the table may read the restored rows a second time (documentation of Delta, RESTORE).
# - Mail that has been sent stays sent.

# %% [markdown]
# ### On more machines
#
# Our job gets its session from the environment, so it needs no other code for a cluster: `SPARK_REMOTE` names the Spark
# that it uses. That Spark must find the tables by their names, in a catalog that all share. Two things of this chapter
# work on one machine only. A lock in a file does not hold on another machine, so the orchestrator must limit the runs at
# one time. And SQLite serves one machine: a Dagster for several machines keeps its events in a database server, such as
# PostgreSQL.
#
# **On Databricks** Lakeflow Jobs schedules jobs, with retries, repair runs and a run history. Its backfill runs a job once
# for each interval, and the job has to use the parameters that it gets
# ([documentation](https://docs.databricks.com/aws/en/jobs/backfill-jobs)). Declarative pipelines have expectations there.
# Declarative Automation Bundles, formerly Databricks Asset Bundles, hold jobs and targets in YAML files
# ([documentation](https://docs.databricks.com/aws/en/dev-tools/bundles/)). Secrets come from secret scopes, and Delta
# tables have deep clones, which copy the data files too. This chapter's own code stays on the laptop: it starts processes
# that use our session, and opens files of the lakehouse.

# %% [markdown]
# ## Check yourself
#
# Choose an answer to see what it would mean.

# %%
from medallion.lesson import quiz

quiz.show("12")

# %% [markdown]
# ## What we know now
#
# - A declarative pipeline states tables as queries. The engine infers their order and keeps the checkpoints; keys,
#   duplicates and rules stay ours.
# - A run appends what is new to a streaming table and computes a materialized view again. A full refresh reads only
#   what the source still holds.
# - Rules are stated once, each row gets one side, and the balance is counted from the raw rows.
# - In Spark 4.2 a refresh is a TRUNCATE and a later WRITE. A failed run leaves empty views. So readers get a view on
#   the last good version.
#
# - A logical date says what a run is for. From it follows a half-open interval; the clock has no part in it.
# - A retry may come after a commit. So a job replaces its interval in one commit (`replaceWhere`), and may run twice.
# - An exit code says what to do next: 0 is done, 75 may pass and is retried with backoff and a limit, 65 is wrong data
#   and is not.
# - A time-out ends a job that hangs. A lock of the operating system ends with its process, a marker file does not.
# - A repair makes what failed, what is missing, and what is made from these. The rest stays as it is.
# - A backfill runs the oldest interval first, in parallel only where intervals do not overlap and the layout separates
#   them.
# - Late rows reopen the intervals that they belong to.
# - Freshness is measured on the table, so its alert also fires when no job ran.
# - Cron knows no interval, no repeated hour and no missed start: the job has to.
#
# - An orchestrator starts a job for an interval and reads its exit code. It retries what we allow, keeps the events, and
#   makes no job idempotent.
# - A check after a run reports; a test before publication stops. Freshness of a run is not freshness of the data.
# - A data contract promises columns, key, freshness and volume. A semantic version shows a breaking change, and an exit
#   code stops it in CI.
# - Code asks for its target and has no `if prod`. The default is not production.
# - A secret comes from the environment, and gets out by metadata, messages, arguments and configuration. List what may
#   go out. Replace a secret that got out.
# - Test a change on a shallow clone with the numbers of production. Roll back the code first, then the table. Then run
#   what was built on the wrong version, and the good intervals that were undone.
