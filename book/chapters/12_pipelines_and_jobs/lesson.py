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
# TODO intro
#
# ![Where we are in the flow: beside Bronze, Silver and Gold, where their work is started](../book/figures/flow-12.svg)

# %% tags=["setup"]
from pyspark.sql import functions as F

import medallion

check = medallion.checks("12")  # the file checks.py beside this lesson
spark = medallion.start("12")

# %% [markdown]
# PART A: declarative pipelines

# %% [markdown]
# PART A ends

# %% [markdown]
# PART B: jobs

# %% [markdown]
# PART B ends

# %% [markdown]
# PART C: orchestrator, contract, targets

# %% tags=["setup"]
# STAND-IN for part B (GRAPH and JOB_FILE): this cell goes at the merge
GRAPH = {
    "silver.payments": ["bronze.payments"],
    "gold.weekly_payments": ["silver.payments"],
    "gold.weekly_orders": ["silver.orders"],
    "gold.weekly_report": ["gold.weekly_payments", "gold.weekly_orders"],
}
JOB_FILE = "/tmp/h/c_stand_in.py"

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
# 230 MB, so it is made only on request, by `./medallion setup --orchestrator`. Is it there?

# %%
orchestrator.ready()

# %% [markdown]
# If it is not, the cells of this section show one line with that command, and the rest of the chapter works.
#
# ### Assets, partitions, retries and an asset check
#
# Dagster reads Python files with definitions. The first half gives it our graph. `AssetSpec` is a table that Dagster
# knows and does not make: the chapters before have made it.

# %%
KNOWN = """
import json, os, subprocess
import dagster as dg

GRAPH, JOB = json.loads(os.environ["GRAPH"]), json.loads(os.environ["JOB"])
MADE, TABLE = "gold.weekly_payments", os.environ["TABLE"]
WEEKS = dg.WeeklyPartitionsDefinition("2025-06-30", "2026-01-19", day_offset=1)
tables = sorted({*GRAPH, *(source for sources in GRAPH.values() for source in sources)})
key = {table: dg.AssetKey(table.split(".")) for table in tables}
known = [
    dg.AssetSpec(key[table], deps=[key[one] for one in GRAPH.get(table, [])])
    for table in tables if table != MADE
]
"""

# %% [markdown]
# The second half is the table that our job makes. Dagster starts the job as a process, and gets an exit code. Only code
# 75 may be retried. After the job, a second process counts the rows of the week; that is the asset check.

# %%
MADE_BY_JOB = """
@dg.asset(key=key[MADE], deps=[key[one] for one in GRAPH[MADE]], partitions_def=WEEKS,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=0.1),
    check_specs=[dg.AssetCheckSpec("has_rows", asset=key[MADE])])
def weekly_payments(context):
    week = context.partition_key
    code = subprocess.run([*JOB, "--week", week, "--table", TABLE]).returncode
    if code:
        raise dg.Failure(f"exit code {code}", allow_retries=code == 75)
    count = [*json.loads(os.environ["COUNT"]), week, os.environ["FOLDER"]]
    rows = int(subprocess.run(count, capture_output=True, text=True, check=True).stdout)
    return dg.MaterializeResult(metadata={"rows": rows},
        check_results=[dg.AssetCheckResult(passed=rows > 0, check_name="has_rows")])
defs = dg.Definitions([*known, weekly_payments], executor=dg.in_process_executor)
"""

# %% [markdown]
# `in_process_executor` runs all steps in one process, which is enough for a step that only waits. The default starts a
# process for each step.
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
rows = DeltaTable(folder).to_pandas()
print((rows["week"].astype(str) == week).sum())
"""

# %% [markdown]
# All of it goes into one folder, the home of this Dagster. Its usage statistics, which leave the machine, are off.

# %%
HOME = medallion.scratch() / "dagster"  # DAGSTER_HOME
FILES = {
    "dagster.yaml": "telemetry: {enabled: false}\n",
    "definitions.py": KNOWN + MADE_BY_JOB,
    "first_75.py": FIRST_75,
    "count.py": COUNT,
}
HOME.mkdir(parents=True, exist_ok=True)
for name, text in FILES.items():
    (HOME / name).write_text(text)

# %%
import json
import subprocess
import sys

TABLE = "scratch.orchestrated"
JOB = [sys.executable, str(HOME / "first_75.py"), sys.executable, str(JOB_FILE)]
SETTINGS = {
    "DAGSTER_HOME": str(HOME),
    "GRAPH": json.dumps(GRAPH),
    "JOB": json.dumps(JOB),
    "COUNT": json.dumps([sys.executable, str(HOME / "count.py")]),
    "TABLE": TABLE,
    "FOLDER": str(medallion.scratch() / "orchestrated"),
}

# %% [markdown]
# The job gets Spark from our session, over Spark Connect. What Dagster prints goes to a file.

# %%
from medallion.errors import MedallionError
from medallion.servers import spark_connect


def materialize(week):
    """Let Dagster make one week; return its exit code, or why it cannot."""
    try:
        dagster = [orchestrator.program("dagster"), "asset", "materialize"]
    except MedallionError as error:
        return str(error)
    what = ["-f", HOME / "definitions.py", "--select", "gold/weekly_payments"]
    command = [*dagster, *what, "--partition", week]
    with spark_connect.serving() as environment, (HOME / "log.txt").open("w") as log:
        environment |= SETTINGS
        ran = subprocess.run(command, env=environment, stdout=log, stderr=log)
    return ran.returncode


# %% costly="two processes: Dagster, and the job that it starts"
materialize("2025-09-01")

# %% [markdown] given=["1.13"]
# 0 is success. (Dagster 1.13.28 prefers `dg launch` to `dagster asset materialize`. That is a package more.)
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


RUNS = "SELECT run_id, partition, status FROM runs ORDER BY partition"
STEPS = "SELECT dagster_event_type FROM event_logs WHERE step_key > '' ORDER BY id"

# %%
for run, week, status in stored("runs.db", RUNS):
    print(week, status)
    for (event,) in stored(f"runs/{run}.db", STEPS):
        print("   ", event)

# %% [markdown]
# The first attempt ended in `STEP_UP_FOR_RETRY`, the second one in `STEP_SUCCESS`. Between them stand the
# materialization of the asset and the evaluation of its check. The check only reports. `blocking=True` would also keep
# the assets behind it from running, and none of them would undo what the job has written. The table has the week:

# %%
from deltalake import DeltaTable

made_by_job = SETTINGS["FOLDER"]
if DeltaTable.is_deltatable(made_by_job):
    display(DeltaTable(made_by_job).to_pandas().sort_values("method"))

# %% [markdown] given=["65"]
# The partition of 5 January 2026 exists, and its payments were never delivered. For that our job exits with 65, wrong
# data. The policy allows two retries. How many attempts does Dagster make?

# %% costly="two processes again"
code = materialize("2026-01-05")

# %% tags=["predict"]
later = [run for run, week, _ in stored("runs.db", RUNS) if week == "2026-01-05"]
events = [event for run in later for (event,) in stored(f"runs/{run}.db", STEPS)]
code, [event for event in events if event in ("STEP_START", "STEP_RESTARTED")]

# %% [markdown]
# One. `allow_retries=False` ends the run at once, and the exit code 1 tells the caller. Without it Dagster would ask
# twice more for data that do not exist. Retries belong to code 75 only.
#
# ### Schedules, backfills, freshness: what a daemon does
#
# - **A schedule** needs `dagster-daemon`, a process that always runs. It has a time zone, as cron has: name it.
# - **A backfill** is one run for each partition of a range. The page requests it, and the daemon starts the runs.
#   `BackfillPolicy.single_run()` hands the range to one run instead.
# - **Freshness.** `FreshnessPolicy.time_window` looks at when an asset was last *materialized*, not at how new its data
#   are. A job that succeeds on old files is fresh to it. Our own measure on the data stays.
# - **The page.** `dagster dev -f definitions.py` serves it on this machine. It shows the graph, each partition, and each
#   attempt. It has no login, so whoever reaches it can start jobs. Keep it on loopback.
#
# Airflow, Prefect and Kestra have the same words in other forms. None of them makes a job idempotent: that stays ours.
# For one job with one interval, cron and a run log are enough.

# %% [markdown]
# ## A data contract: what a table promises
#
# Another team builds a report on `gold.weekly_payments`. A **data contract** is a file in which the owner promises
# columns, key, freshness, volume and meaning. It has a form, the Open Data Contract Standard (ODCS 3.1), which tools
# such as `datacontract-cli` read. Its word for freshness is `latency`.

# %% tags=["setup"]
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
import yaml

CONTRACT += """
      - {name: week, physicalType: date, required: true, primaryKey: true}
      - {name: method, physicalType: string, required: true, primaryKey: true}
      - {name: attempts, physicalType: bigint, required: true}
      - {name: declined, physicalType: bigint, required: true}
      - {name: amount_cents, physicalType: bigint, description: of authorised payments}
slaProperties: [{property: latency, value: 7, unit: d, element: week}]
"""
contract = yaml.safe_load(CONTRACT)

# %% [markdown]
# For a test we need the promises in a handy form.

# %% tags=["setup"]
HOURS = {"h": 1, "d": 24}


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
for what, promised in promises(contract).items():
    print(what, sorted(promised) if isinstance(promised, set) else promised)

# %% [markdown]
# ### Testing a table against its contract, at the border
#
# The test runs before the table is published. It counts all promises on the rows in one query.


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
from datetime import timedelta


def broken(contract, table, today):
    """Return which promises a table breaks on a day; [] when it keeps all."""
    promised = promises(contract)
    if missing := promised["columns"] - set(table.dtypes):
        return [f"column {name} {kind}" for name, kind in sorted(missing)]
    found = facts(table, promised)
    nulls = [f"NULL in {name}" for name in sorted(promised["required"]) if found[name]]
    if found["rows"] == 0:
        return ["no rows"]
    old = today - found["newest"] - timedelta(days=7) > timedelta(
        hours=promised["hours"]
    )
    doubled = found["rows"] > found["keys"]
    return nulls + ["key"] * doubled + ["latency"] * old


# %% [markdown]
# A week can be complete when it has ended, so its latency counts from there. We test the table of our job as it is, and
# four tables that were damaged on purpose.

# %%
from datetime import date

# For frames of two rows: no code generation, and one job for each query
SMALL = {"spark.sql.codegen.wholeStage": "false", "spark.sql.adaptive.enabled": "false"}
before = {name: spark.conf.get(name) for name in SMALL}
for name, value in SMALL.items():
    spark.conf.set(name, value)

# %%
made = spark.createDataFrame(
    [(date(2025, 9, 1), "card", 9, 2, 500), (date(2025, 9, 1), "wallet", 1, 1, None)],
    "week DATE, method STRING, attempts BIGINT, declined BIGINT, amount_cents BIGINT",
)
damaged = {
    "as it is": made,
    "a row twice": made.union(made.limit(1)),
    "no attempts": made.withColumn("attempts", F.lit(None).cast("bigint")),
    "euros": made.withColumn("amount_cents", F.col("amount_cents") / 100),
    "nothing": made.limit(0),
}

# %%
{what: broken(contract, one, date(2025, 9, 10)) for what, one in damaged.items()}

# %%
[broken(contract, made, day) for day in (date(2025, 9, 15), date(2025, 9, 16))]

# %% [markdown]
# Each damage breaks its own promise. On 15 September the week of the 1st is seven days past its end, and on 16
# September it is too old. (Euros were found only because a division makes a `double`. With the type kept, only a
# comparison with the source finds them: the section on the clone does that.)

# %% [markdown]
# ## Breaking changes and semantic versions
#
# The owner wants to change the table. A **breaking change** can break a query of a reader that has not changed. A
# **semantic version** shows it: `major.minor.patch`, of which a breaking change raises the major number.
#
# | change | raises |
# |---|---|
# | a column gone, renamed or of another type; a column no longer required; another key; a longer latency, or none | major |
# | a new column; a column that is now required; a shorter latency | minor |
# | anything else, such as a description or the team | patch |
# | nothing but `version` | nothing |

# %% [markdown] tags=["exercise"]
# ### Exercise 12.6: find the version that a contract change needs
#
# Write `next_version(old, new)`, which returns the version that `new` must have, as a string. Both are contracts like
# `contract` above. The table says what counts. The highest change decides, and lower numbers begin at 0 again. What
# `new` itself says as `version` does not matter. `promises` is there to help. Change neither contract.


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

old, new = (yaml.safe_load(open(file)) for file in sys.argv[1:])
wanted = next_version(old, new)
if new["version"] != wanted:
    sys.exit(f"The version is {new['version']}; this change needs {wanted}.")
"""
parts = [
    f"HOURS = {HOURS}",
    inspect.getsource(promises),
    inspect.getsource(next_version),
]
_ = (HOME / "compare.py").write_text("\n".join([*parts, COMPARE]))
_ = (HOME / "old.yaml").write_text(CONTRACT)
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
    (HOME / "new.yaml").write_text(text.replace("1.0.0", version))
    command = [sys.executable, "compare.py", "old.yaml", "new.yaml"]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
    return done.returncode, done.stderr.strip()


# %%
{what: ci(text, "1.1.0") for what, text in CHANGES.items()}

# %%
ci(CHANGES["euros"], "2.0.0")

# %% [markdown]
# With `1.1.0` the new column passes, and the euros stop the merge. (A description needs `1.0.1`.) With `2.0.0` the euros
# pass, since the change is now called breaking. The readers still have to move. Keep both tables for a time that the
# contract names, then drop the old one.

# %% [markdown]
# ## Configuration by target: dev, test, prod
#
# The same code runs on a laptop, in CI and in production. What differs stands in a file, one **target** each. The code
# asks for its target and has no `if prod`.

# %%
TARGETS = """
dev: {schema: scratch, weeks: 2, alert: print, secret: SHOP_PASSWORD}
test: {schema: scratch, weeks: 4, alert: print, secret: SHOP_PASSWORD}
prod: {schema: gold, weeks: 26, alert: mail, secret: SHOP_PASSWORD}
"""


def target(name=None):
    """Return the settings of a target; of dev, if nobody names one."""
    targets = yaml.safe_load(TARGETS)
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
# If it is missing, the job stops at its beginning with a clear error.

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
# Every reader of the table can now read the password. A later commit does not remove it. The fix is a list of the
# settings that may go out. A list of those that may not would miss the next new name.

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
# of its UI. `spark.redaction.regex` has the pattern. Here are two names for the same value:

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
# A change converts the cents to euros and keeps the type. We try it on a **shallow clone** (chapter 10): a table with
# its own log over the same data files. The released table has the two rows of `made`.

# %%
made.coalesce(1).write.mode("overwrite").saveAsTable("scratch.released")
_ = spark.sql("CREATE TABLE scratch.trial SHALLOW CLONE scratch.released")
EUROS = "UPDATE {} SET amount_cents = CAST(amount_cents / 100 AS BIGINT)"
_ = spark.sql(EUROS.format("scratch.trial"))

# %%
trial = spark.table("scratch.trial")
broken(contract, trial, date(2025, 9, 10)), trial.agg(F.sum("amount_cents")).first()[0]

# %%
place = str(medallion.scratch() / "released")


def total():
    """Return the sum of the released amounts, read without Spark."""
    return int(DeltaTable(place).to_pandas()["amount_cents"].sum())


total()

# %% [markdown]
# The contract finds nothing: types, keys and dates are right. The comparison of the sums finds it: 5 in the trial, 500
# in the released table, which was not touched. So judge a change on a clone, by the numbers of production.

# %% [markdown]
# ## Rollback: RESTORE and the run after it
#
# The change is released all the same. A **rollback** takes three steps: put the old code back, restore the table, and
# repair what was built on the wrong version.

# %%
good = DeltaTable(place).version()
_ = spark.sql(EUROS.format("scratch.released"))
total()

# %% costly="RESTORE compares two versions, file by file"
_ = spark.sql(f"RESTORE TABLE scratch.released TO VERSION AS OF {good}")
total()

# %%
[(one["version"], one["operation"]) for one in DeltaTable(place).history()]

# %% [markdown]
# The sum is 500 again. `RESTORE` is a commit of its own, so the wrong version 1 stays in the history for the analysis.
# It restores one table: mail has been sent, and the tables behind it still hold wrong numbers. What they need is
# `plan(graph, done, failed)` of exercise 12.4. If the old code is not back first, the next run writes euros again.

# %%
for name, value in before.items():
    spark.conf.set(name, value)

# %% [markdown]
# ### On more machines
#
# A job that gets its session from the environment needs no other code on a cluster: `MEDALLION_MASTER` or `SPARK_REMOTE`
# names another Spark. Two things of this chapter work on one machine only. A lock in a file does not hold on another
# machine, so the orchestrator must limit the runs at one time. And SQLite serves one machine: a Dagster for several
# machines keeps its events in a database server, such as PostgreSQL.
#
# **On Databricks** Lakeflow Jobs schedules, with retries, repair runs, backfills and a run history. Its declarative
# pipelines have expectations. An Asset Bundle holds jobs and targets in YAML files. Secrets come from secret scopes, and
# Delta tables have deep clones too.

# %% [markdown]
# PART C ends

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
# PART A knows
#
# PART A knows ends
#
# PART B knows
#
# PART B knows ends
#
# PART C knows
#
# - An orchestrator starts a job for an interval and reads its exit code. It retries what we allow, keeps the events, and
#   makes no job idempotent.
# - A check after a run reports; a test before publication stops. Freshness of a run is not freshness of the data.
# - A data contract promises columns, key, freshness and volume. A semantic version shows a breaking change, and an exit
#   code stops it in CI.
# - Code asks for its target and has no `if prod`. The default is not production.
# - A secret comes from the environment, and gets out by metadata, messages, arguments and configuration. List what may
#   go out. Replace a secret that got out.
# - Test a change on a shallow clone with the numbers of production. Roll back the code first, then the table, then what
#   was built on it.
#
# PART C knows ends
