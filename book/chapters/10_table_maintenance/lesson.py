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
#       bronze.parcel_scans: [landing.parcel_scans]
#       bronze.parcel_stations: [landing.parcel_stations]
#       ops.maintenance: []
#     grain:
#       bronze.parcel_scans: one scan of a parcel at a station
#       bronze.parcel_stations: one station of the carrier, a depot or the hub
#       ops.maintenance: one action of maintenance on one table, with its reason
#     minutes: {read: 60, practise: 90}
#     summary: files, layout, retention and conflicts of tables, query plans, skewed joins, a maintenance job
#     outline: >-
#       Small files and compaction, statistics and data skipping, partitions and clustering, deletion vectors, retention,
#       concurrent writers, the plan of a query, skewed joins, and a maintenance job.
#     objectives:
#     - count the files that a query reads, and make it read fewer
#     - compact a table, choose its layout, and say what each retention limits
#     - read the plan of a query, and find and fix a skewed join
#     - write a maintenance job that decides by metadata and runs beside other writers
# ---

# %% [markdown]
# # Table maintenance and performance
#
# A table that is written every day becomes slow, and nobody has changed a query. In this chapter we find out why from
# its files, and keep the table in order.
#
# ![Where we are in the flow: below Bronze, Silver and Gold, where the tables are kept](../book/figures/flow-10.svg)

# %% tags=["setup"]
from pyspark.sql import functions as F

import medallion

check = medallion.checks("10")  # the file checks.py beside this lesson
spark = medallion.start("10")

# %% [markdown]
# Our tables are small. Spark compiles code for each query, and plans it again while it runs (adaptive execution). For a
# few thousand rows both take longer than they save, so we switch them off in this chapter. We switch compiling on again
# for large writes, and both where we read plans. Leave them on at work.

# %% tags=["setup"]
SMALL = {
    "spark.sql.adaptive.enabled": False,
    "spark.sql.codegen.wholeStage": False,
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
for name, value in SMALL.items():
    spark.conf.set(name, value)

# %% [markdown]
# Other settings we change only for a block of code. `settings` restores the old values after it, also after an error.
# (`spark.conf.unset` would not: it returns to Spark's own default, and not to the value that the session began with.)

# %%
from contextlib import contextmanager


@contextmanager
def settings(values):
    """Give settings of Spark other values while the block runs."""
    before = {name: spark.conf.get(name, None) for name in values}
    for name, value in values.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.unset(name) if value is None else spark.conf.set(name, value)


# %%
COMPILED = {
    "spark.sql.codegen.wholeStage": True,
    "spark.sql.codegen.factoryMode": "FALLBACK",
}

# %% [markdown]
# ## Parcel scans: a table of many small files
#
# The carrier of our parcels sends its **scans**: a Parquet file for each day, in the order in which the scans were
# made. A daily job that appends them leaves one small file a day in the table.
#
# We make such a table in one commit. When Spark reads, it packs small files into one task of up to 128 MB
# (`spark.sql.files.maxPartitionBytes`), and counts 4 MB extra for each file (`spark.sql.files.openCostInBytes`). We
# set the extra to 128 MB: then each file is a task of its own, and each task writes a file.

# %% tags=["setup"]
landing = medallion.landing()
from_file = F.substring_index("_metadata.file_path", "/landing/", -1)

# %% costly="182 tasks write 182 files"
scans = spark.read.parquet(str(landing / "parcel_scans"))
scans = scans.select("*", from_file.alias("_source_file"))
with settings(COMPILED | {"spark.sql.files.openCostInBytes": "128m"}):
    scans.write.mode("overwrite").saveAsTable("bronze.parcel_scans")

# %%
detail = spark.sql("DESCRIBE DETAIL bronze.parcel_scans").first()
detail.numFiles, spark.table("bronze.parcel_scans").count()

# %% [markdown]
# The table has 182 files for 193,855 rows. The stations that scan the parcels are 40 depots and one **hub**. They come
# as one CSV file.

# %%
STATIONS = "station_id STRING, name STRING, city STRING, kind STRING"
stations = spark.read.csv(str(landing / "parcel_stations"), STATIONS, header=True)
stations = stations.select("*", from_file.alias("_source_file"))
stations.coalesce(1).write.mode("overwrite").saveAsTable("bronze.parcel_stations")

# %% [markdown]
# We record what maintenance does to a table in `ops.maintenance`. The schema `ops` holds tables about the running of
# the lakehouse itself.

# %%
spark.sql("""
    CREATE OR REPLACE TABLE ops.maintenance (
        run STRING, table_name STRING, version BIGINT, action STRING, reason STRING,
        files_before BIGINT, files_after BIGINT
    )
""")

# %% tags=["setup"]
import json
from functools import reduce

import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import DataFrame

# %% [markdown]
# ## Measure first: files, bytes and rows from the plan
#
# How long a query runs depends on the machine, on what else runs there, and on what is cached. A second run of the
# same query is often faster than the first, whatever was done in between. So no claim of this chapter is based on a
# clock. We count what a query reads: **files**, **bytes** and **rows**. For the same files they are the same on any
# machine.
#
# The plan knows the files. When Spark plans a query on a Delta table, Delta compares the filter with what its log
# holds about each file. It leaves out the files that cannot hold a matching row: **file pruning**. A table can be
# divided into folders, one for each value of a **partition column**. By such values it is called **partition
# pruning**, and by statistics such as the smallest and largest value **data skipping**. A DataFrame can list the
# files that are left. The query does not run for this, though Delta may run a small job on its log.

# %% [markdown] tags=["exercise"]
# ### Exercise 10.1: count the files that a query reads
#
# Write `files_read(frame)`, which returns the number of data files that a query reads after pruning, as an `int`.
# `frame` is a DataFrame. Do not run the query: look for a method among those of `DataFrame` in the PySpark reference.
# A join reads the files of both tables, and a file that occurs twice counts once. A query that needs no file reads 0.
# Try `files_read(spark.table("bronze.parcel_stations"))`, which is 1.


# %% tags=["solution"]
def files_read(frame):
    """Return the number of data files that a query reads, after pruning."""
    ### BEGIN SOLUTION
    return len(frame.inputFiles())
    ### END SOLUTION


# %% tags=["check"]
check.files_read(files_read)

# %% [markdown]
# The method is `inputFiles`. A file can be large or small, so we also want bytes and rows. Both are in the files
# themselves: a Parquet file ends with a footer that counts its rows.

# %%
from pathlib import Path
from urllib.parse import unquote, urlparse

import pyarrow.parquet as pq


def read_cost(frame):
    """Return the files that a query reads, and the kilobytes and the rows in them."""
    paths = [Path(unquote(urlparse(uri).path)) for uri in frame.inputFiles()]
    kilobytes = sum(path.stat().st_size for path in paths) / 1000
    rows = sum(pq.read_metadata(path).num_rows for path in paths)
    return {"files": len(paths), "kB": 10 * round(kilobytes / 10), "rows": rows}


# %% [markdown]
# The bytes are an upper bound: Parquet stores column by column, and a query reads only the columns that it needs. Two
# queries, one for a day and one for a customer:

# %%
scans = spark.table("bronze.parcel_scans")
A_DAY = "scanned_at >= '2025-08-01' AND scanned_at < '2025-08-02'"
A_CUSTOMER = "customer_id = 17"
scans.selectExpr(f"count_if({A_DAY})", f"count_if({A_CUSTOMER})").first()[:]

# %% [markdown]
# The day has 887 scans and the customer 34. How many of the 182 files does each query read? Write down two numbers.

# %% tags=["predict"]
queries = {"day": A_DAY, "customer": A_CUSTOMER}
cost = {name: read_cost(scans.where(query)) for name, query in queries.items()}
pd.DataFrame(cost).T[["files", "rows"]]

# %% [markdown]
# The day is in one file, and Delta knows which. For the 34 rows of the customer it reads 166 files with 176,495 rows.
# A file of a day holds small and large customer numbers, so almost every file *may* hold number 17. How many files
# hold it?

# %%
scans.where(A_CUSTOMER).select("_source_file").distinct().count()

# %% [markdown]
# 19 files hold the customer, and 166 have to be read to know that. The size of the result does not show the cost of a
# query. How many files does a count of all rows read?

# %%
files_read(scans.groupBy().count())

# %% [markdown]
# It reads no file: Delta adds up the row counts of its log.
#
# `inputFiles` lists files before the query runs, from one plan. So it has limits. Here are two of them:

# %%
WITH_SUBQUERY = """SELECT * FROM bronze.parcel_stations WHERE station_id =
    (SELECT min(station_id) FROM bronze.parcel_scans WHERE customer_id = 17)"""
kept = scans.where(A_DAY).cache()
files_read(spark.sql(WITH_SUBQUERY)), files_read(kept)

# %%
_ = kept.unpersist()

# %% [markdown]
# For the first query it counts only the one file of the stations. The 166 files of the **subquery** are missing. A
# frame that is **cached** counts 0. There are two more limits. With **dynamic partition pruning** a query reads fewer
# files than the plan lists, because the partitions are chosen while it runs. And a table that a query reads twice
# counts once. The queries that we compare in this chapter have none of these.
#
# ## The small-file problem: the same rows in 1, 20 and 100 files
#
# We write the first 60,000 scans three times, in the order in which they arrived. `maxRecordsPerFile` limits the rows
# of a file. (All experiments of this chapter work on such copies. `bronze.parcel_scans` stays as it is until the
# end.) These copies are not compressed. The bytes of a compressed file may differ between processors, and from the
# bytes follows which files OPTIMIZE packs together.

# %%
UNCOMPRESSED = {"spark.sql.parquet.compression.codec": "uncompressed"}


def save(frame, name, mode="overwrite", **how):
    """Write a frame to a scratch table, in files that are not compressed."""
    with settings(COMPILED | UNCOMPRESSED):
        frame.write.saveAsTable(f"scratch.{name}", mode=mode, **how)


# %%
in_order = scans.where("scan_id <= 60000").orderBy("scan_id").coalesce(1)
save(in_order, "scans_1")

# %%
first_scans = spark.table("scratch.scans_1")
save(first_scans, "scans_20", maxRecordsPerFile=3000)
save(first_scans, "scans_100", maxRecordsPerFile=600)

# %% [markdown]
# For each table we measure the data, the Delta log, and the tasks of a query that reads all rows.


# %%
def log_of(name):
    """Return the commits of a scratch table as files of JSON lines, in order."""
    return sorted((medallion.scratch() / name / "_delta_log").glob("*.json"))


def size_of(name):
    """Return how much a scratch table takes up, and how many tasks read it."""
    frame = spark.table(f"scratch.{name}")
    log = sum(path.stat().st_size for path in log_of(name)) / 1000
    tasks = frame.rdd.getNumPartitions()
    return {**read_cost(frame), "log kB": round(log), "tasks": tasks}


# %%
sizes = pd.DataFrame([size_of(f"scans_{files}") for files in (1, 20, 100)])
sizes

# %%
import plotly.express as px

from medallion.lesson import charts

drawn = sizes.astype({"files": str})
figure = px.bar(
    drawn, x="files", y="kB", title="The same rows in 1, 20 and 100 files (kB)"
)
figure.update_xaxes(type="category")
charts.show(
    figure,
    alt="Bar chart of kilobytes by number of files: 2,090, 2,330 and 3,190 kB.",
)

# %% [markdown]
# The same 60,000 rows take 2,090 kB in one file and 3,190 kB in 100. Each file has its own footer and its own
# dictionaries, the lists of a column's distinct values. The log grows from 3 to 98 kB, since it describes each file.
# A session reads the log when it first opens the table, and afterwards only what newer commits add. Spark packs small
# files into one task, so 100 files need only 4 tasks. Each file still has to be opened, which on object storage is
# one request or more.
#
# Small files have three common causes:
#
# - **Frequent commits.** A **stream** is a query that processes new rows as they arrive, in portions:
#   **micro-batches**. Its **trigger** sets how often one starts. With a trigger of one minute, a stream makes up to
#   `24 * 60` commits a day, each with one or more files.
# - **Shuffles.** A write after a shuffle makes one file for each partition that has rows, after Spark has merged
#   small ones (adaptive query execution, **AQE**).
# - **Partition columns.** Each task writes a file of its own for each value that it holds. We measure this below.

# %% [markdown]
# ## OPTIMIZE: compaction by bin-packing
#
# `OPTIMIZE` writes the rows of small files into large ones: **compaction**. It sorts files by size, packs them into
# bins of a target size, and rewrites each bin as a file: **bin-packing**.
#
# We ask three questions: what a query reads afterwards, what a stream that reads the table receives, and what remains
# on disk. We begin with the stream, which counts the rows that it receives. With `availableNow` it processes what is
# there and stops. Its **checkpoint** is a folder in which it notes what it has read.

# %%
arrived = []


def count_rows(batch, number):
    """Note how many rows a micro-batch has."""
    arrived.append(batch.count())


def read_stream(name):
    """Read what is new in a scratch table as a stream; return how many rows came."""
    begun = len(arrived)
    stream = spark.readStream.table(f"scratch.{name}").writeStream
    place = str(medallion.scratch() / "_checkpoints" / name)
    stream = stream.option("checkpointLocation", place).trigger(availableNow=True)
    stream.foreachBatch(count_rows).start().awaitTermination()
    return sum(arrived[begun:])


# %%
read_stream("scans_100")

# %% [markdown]
# Without a setting, `OPTIMIZE` of Delta 4.4.0 aims at files of 1 GB. Our tables have two to three megabytes, so we
# first set a target of 200 kB. Files below `minFileSize` are packed, into bins of at most `maxFileSize`. Both
# settings are internal to Delta, and 200 kB is for this small table: leave them as they are in production.


# %%
written = []  # kilobytes of each OPTIMIZE
FILE_SIZES = [
    f"spark.databricks.delta.optimize.{end}FileSize" for end in ("min", "max")
]


def optimized(statement, kilobytes=100):
    """Run OPTIMIZE or REORG with a target; return the files removed and added."""
    sizes = dict.fromkeys(FILE_SIZES, 1000 * kilobytes)
    with settings(COMPILED | UNCOMPRESSED | sizes):
        metrics = spark.sql(statement).first().metrics
    written.append(10 * round((metrics.filesAdded.totalSize or 0) / 10_000))
    return metrics.numFilesRemoved, metrics.numFilesAdded


# %%
by_100 = spark.table("scratch.scans_100").where(A_DAY)
before = read_cost(by_100)
packed = optimized("OPTIMIZE scratch.scans_100", 200)
packed_cost = read_cost(spark.table("scratch.scans_100").where(A_DAY))
packed, optimized("OPTIMIZE scratch.scans_100", 200)

# %% [markdown] given=["40", "10"]
# 100 files became 17, and a second run found nothing to do. Do not rely on the second run: files that are still small
# after one run are packed again by the next. In a test of this chapter, the second run on 40 tiny files removes files
# as well. Only a run that removes 0 files shows that the table is done. Next we run it with a target of 1 GB. How
# many rows does the query for a day read from the 100 files, from the 17 files, and after the next run? Write down
# three numbers.

# %%
packed_again = optimized("OPTIMIZE scratch.scans_100", 1_000_000)
packed_again

# %% tags=["predict"]
after = read_cost(spark.table("scratch.scans_100").where(A_DAY))
pd.DataFrame({"100 files": before, "200 kB": packed_cost, "1 GB": after}).T

# %% [markdown]
# Of 100 files the query read 3, with 1,800 rows. Of 17 files it reads 16, with 57,600 rows. Bin-packing sorts by
# *size*, so each new file holds rows from small files of many different days. Its times overlap with those of the
# others. From one file it reads all 60,000 rows: nothing can be skipped. So compaction lowers the number of files in
# the table, and by itself it can make skipping worse. A query that is faster after OPTIMIZE on a table of a few
# megabytes does not show what OPTIMIZE does to a large one. To skip well, the rows need an order across files, which
# is the subject of a later section.
#
# What does the stream get from these two rewrites?

# %%
read_stream("scans_100")

# %% [markdown]
# The stream receives no row. The log notes for each file whether adding or removing it changes the data:

# %%
from collections import Counter


def actions(name, version):
    """Count the files that a commit adds and removes, by whether they change data."""
    lines = log_of(name)[version].read_text(encoding="utf-8").splitlines()
    told = [next(iter(json.loads(line).items())) for line in lines]
    return Counter((what, of["dataChange"]) for what, of in told if "path" in of)


# %%
actions("scans_100", 1)

# %% [markdown]
# `dataChange` is false for every file of the commit, so a stream skips it. How many files are on disk?

# %%
on_disk = len(list((medallion.scratch() / "scans_100").glob("*.parquet")))
on_disk

# %% [markdown]
# All 100 old files are still there, with the 17 and the 1: 118 files. They serve older versions until `VACUUM`
# deletes them, so `OPTIMIZE` alone makes a table *larger* on disk. (A notebook of dbdemos, Databricks' collection of
# demos, `05-Advanced-Delta-Lake-Internal`, states that only one Parquet file remains after OPTIMIZE and VACUUM. Its
# VACUUM is commented out.)

# %% [markdown] given=["50"]
# ## Auto compaction and optimized writes
#
# Two settings of a table avoid small files as they are written. **Auto compaction** runs an `OPTIMIZE` after a
# commit. The documentation of Delta Lake says that it starts when a table or partition has at least
# `spark.databricks.delta.autoCompact.minNumFiles` small files; the default is 50. We set 10, so that few files are
# enough. What does Delta 4.4.0 do?

# %%
FROM_10 = {"spark.databricks.delta.autoCompact.minNumFiles": 10}
_ = spark.sql("""
    CREATE OR REPLACE TABLE scratch.auto (id BIGINT)
    TBLPROPERTIES (delta.autoOptimize.autoCompact = true)
""")


# %%
def append(files):
    """Append this many files of one row; return how many the table has then."""
    rows = spark.range(0, files, 1, 1).write.option("maxRecordsPerFile", 1)
    with settings(FROM_10):
        rows.mode("append").saveAsTable("scratch.auto")
    return files_read(spark.table("scratch.auto"))


# %% [markdown]
# We append 4 files, then 6, then 3. Write down how many files the table has after each append.

# %% tags=["predict"]
[append(files) for files in (4, 6, 3)]

# %% [markdown] given=["4045", "4487", "50", "49", "10"]
# The first append was compacted at once, though it has fewer than 10 files. Delta keeps its count in the memory of
# the running program. In each of our runs, the first commit of a program to a table started a compaction. After that
# it waits until the table has 10 small files, the compacted one included. With 6 more files the table has 7. The last
# 3 make 10, and these become 1 again. The compaction is part of the write, which returns only when it is done.
#
# So with the default, many short jobs rewrite the small files in each run, and one long job leaves up to 49 of them.
# Two reports on this trigger were open when this was written, issues 4045 and 4487 of delta-io/delta. They say that
# large files are counted too, and that files of earlier sessions are not. (In Delta 4.4.0 the first commit of a new
# session compacted those as well.) Count the files instead, as the job at the end of this chapter does.
#
# An **optimized write** shuffles the rows before it writes them, so that the rows of one table partition meet in one
# task. Here 4 tasks each hold scans of all six types, and we write partitions by type, without it and with it:

# %%
spread = first_scans.where("scan_id <= 4000").select("scan_id", "scan_type")
spread = spread.repartition(4)
for name, option in (("plain", "false"), ("shuffled", "true")):
    writer = spread.write.mode("overwrite").option("optimizeWrite", option)
    writer.partitionBy("scan_type").saveAsTable(f"scratch.{name}")

# %%
[files_read(spark.table(f"scratch.{name}")) for name in ("plain", "shuffled")]

# %% [markdown]
# 4 tasks × 6 values make 24 files. With the shuffle it is 6 files, one for each type. The price: every row is
# shuffled once more. The setting for a table is `delta.autoOptimize.optimizeWrite`.
#
# ## Statistics and data skipping: min, max and null count per file
#
# For each file, the log holds **statistics**: the number of rows, and of a column the smallest value, the largest
# value and the number of NULLs. We read the statistics of the table of 20 files with `deltalake`, a library that
# reads Delta tables without Spark. (The files are in the order of arrival. We show the first three.)

# %%


def statistics_of(name, *columns):
    """Return statistics of the files of a scratch table, in the order of the first."""
    files = DeltaTable(str(medallion.scratch() / name)).get_add_actions(flatten=True)
    return pa.table(files).to_pandas()[[*columns]].sort_values(columns[0])


# %%
times, stations = (
    ("min.scanned_at", "max.scanned_at"),
    ("min.station_id", "max.station_id"),
)
statistics = statistics_of("scans_20", *times, *stations, "null_count.note")
statistics.head(3).astype(str)

# %% [markdown]
# The times of these three files do not overlap, so a filter on time can skip files. The stations go from `ST01` to
# `ST41` in each of them, so a filter on a station between these two skips none of them. `null_count.note` is the
# number of rows without a note: 2,937 of the 3,000 in the first file. A Delta table has no index: what lets a filter
# skip is the **order in which the rows were written**.
#
# The condition of a filter is its **predicate**. Delta can skip files only if it can compare the predicate with the
# smallest and the largest value. For which of these predicates can it?

# %%
PREDICATES = [
    "scan_id = 1000",
    "scan_id = '1000'",
    "cast(scan_id AS STRING) = '1000'",
    "abs(scan_id) = 1000",
    "scan_id <=> 1000",
    "scan_id IS NULL",
    "scan_id = 1000 OR scan_id = 50000",
    "scan_id = 1000 OR customer_id = 17",
    "scan_id = 1000 AND customer_id = 17",
    "scanned_at >= '2025-08-01' AND scanned_at < '2025-08-02'",
    "date(scanned_at) = '2025-08-01'",
    "date_format(scanned_at, 'yyyy-MM-dd') = '2025-08-01'",
]

# %%
by_arrival = spark.table("scratch.scans_20")
files = [files_read(by_arrival.where(predicate)) for predicate in PREDICATES]
pd.DataFrame({"predicate": PREDICATES, "files": files})

# %% [markdown]
# A comparison of the column with a constant lets Delta skip, also when the constant is a string: Spark casts the
# constant, not the column. `IS NULL` uses the number of NULLs, which is 0 in all 20 files. `AND` needs only one side
# that skips. What defeats skipping:
#
# - **A function or a cast on the column.** No statistic exists for `abs(scan_id)`. The exception here is `date(…)`,
#   which Delta knows: it reads 1 file, while `date_format` reads all 20.
# - **OR with another column.** A file can be skipped only if *both* sides exclude it. In one column `OR` does no
#   harm.
# - **The order of arrival**, for each column that does not follow it, such as `customer_id`.

# %% [markdown] tags=["exercise"]
# ### Exercise 10.2: rewrite predicates so that files are skipped
#
# In the table of this exercise, the files follow each other in the order of `scanned_at`, `weight_g` and `parcel_id`,
# with a few exceptions. Still, each of these four predicates reads all files:
#
# - `month`: `date_format(scanned_at, 'yyyy-MM') = '2025-09'`
# - `kilos`: `floor(weight_g / 1000) = 2`
# - `light`: `coalesce(weight_g, 0) < 500`
# - `prefix`: `substring(parcel_id, 1, 4) = 'PA03'`
#
# Write the dict `skipping`: under each of the four names, a predicate as an SQL string. It keeps the same rows as the
# one above, in any table, and lets Delta skip files. Some weights are NULL, and some values lie exactly on a
# boundary.

# %% tags=["solution"]
### BEGIN SOLUTION
skipping = {
    "month": "scanned_at >= '2025-09-01' AND scanned_at < '2025-10-01'",
    "kilos": "weight_g >= 2000 AND weight_g < 3000",
    "light": "weight_g < 500 OR weight_g IS NULL",
    "prefix": "parcel_id LIKE 'PA03%'",
}
### END SOLUTION

# %% tags=["check"]
check.skipping(skipping)

# %% [markdown]
# ### Columns without statistics
#
# Delta collects statistics for the first 32 columns (`delta.dataSkippingNumIndexedCols`; each field of a nested
# column counts as one). Of a string it keeps only the first 32 characters. We make a small table with 35 columns, in
# four files. The first column is an address, the second the same address without `https://`. All others hold the same
# 4,000 numbers.

# %%
numbers = spark.range(0, 4000, 1, 1)
columns = [F.col("id").alias(f"c{place}") for place in range(3, 36)]
short = F.concat(F.lit("kestrel.example/parcels/"), F.lpad("id", 4, "0"))
address = F.concat(F.lit("https://"), short)
wide = numbers.select(address.alias("c1"), short.alias("c2"), *columns)
writer = wide.write.mode("overwrite").option("maxRecordsPerFile", 1000)
writer.saveAsTable("scratch.wide")

# %%
AN_ADDRESS = "c1 = 'https://kestrel.example/parcels/0005'"
A_SHORT_ONE = "c2 = 'kestrel.example/parcels/0005'"


def files_of_wide(*queries):
    """Return how many files of the wide table each query reads."""
    return {
        query: files_read(spark.table("scratch.wide").where(query)) for query in queries
    }


files_of_wide("c3 = 5", "c32 = 5", "c33 = 5", AN_ADDRESS, A_SHORT_ONE)

# %% [markdown]
# The query on column 32 skips 3 of the 4 files. The query on column 33 reads all 4: the column has no statistics. The
# address is the first column, yet its query reads all 4 as well. The first 32 characters are the same in each row,
# and Delta keeps no more of a string. The shorter address differs within 32 characters, and reads 1 file. The order
# of the columns matters, then. The property `delta.dataSkippingStatsColumns` names the columns instead. How many
# files do `c3 = 5` and `c33 = 5` read when it names `c32` and `c33`? Write down two numbers.

# %% tags=["predict"]
_ = spark.sql("""
    ALTER TABLE scratch.wide
    SET TBLPROPERTIES (delta.dataSkippingStatsColumns = 'c32,c33')
""")
files_of_wide("c3 = 5", "c33 = 5")

# %% [markdown]
# Nothing is gained for `c33`: no file has its statistics yet. And `c3` has lost its skipping at once, although the
# statistics are still in the log: Delta no longer uses them. So name *every* column that a query filters on.
#
# Now the bad input. To **cluster** a table by a column means to put rows with near values into the same files; the
# next section does so. Somebody wants to cluster by a column that has no statistics:


# %%
def refused(statement):
    """Return the first line of the error that a statement raises."""
    try:
        spark.sql(statement)
    except Exception as error:
        return str(error).strip().splitlines()[0]
    raise ValueError("The statement succeeded.")


# %%
print(refused("ALTER TABLE scratch.wide CLUSTER BY (c34)"))

# %%
latest = spark.sql("DESCRIBE HISTORY scratch.wide").first()
latest.version, latest.operation, files_read(spark.table("scratch.wide"))

# %% [markdown]
# The error names the column and what it lacks. No version was written: the latest is still the change of the
# property. But Delta compares the keys only with the setting. It accepts `c33`, of which no file has statistics:

# %%
_ = spark.sql("ALTER TABLE scratch.wide CLUSTER BY (c33)")
files_of_wide("c33 = 5")

# %% [markdown]
# The old files have to be written again. (Databricks Runtime 14.3 LTS and above has `ANALYZE TABLE … COMPUTE DELTA
# STATISTICS`; in Delta 4.4.0 it does not parse.)

# %%
writer = spark.table("scratch.wide").write.option("maxRecordsPerFile", 1000)
writer.insertInto("scratch.wide", overwrite=True)
files_of_wide("c33 = 5")

# %% [markdown]
# ## Partitioning, Z-order and liquid clustering
#
# If the order of the rows decides what is skipped, which order is best? We take four queries of this carrier, and one
# that reads all rows. First we count what they read in the order of arrival:

# %%
A_STATION = "station_id = 'ST05'"
A_WEEK = "scanned_at >= '2025-08-01' AND scanned_at < '2025-08-08'"
QUERIES = {
    "day": A_DAY,
    "station": A_STATION,
    "customer": A_CUSTOMER,
    "customer and week": f"{A_CUSTOMER} AND {A_WEEK}",
    "all rows": "true",
}


def costs(name):
    """Return what each of the queries reads in a scratch table."""
    table = spark.table(f"scratch.{name}")
    return {query: read_cost(table.where(QUERIES[query])) for query in QUERIES}


# %%
layouts = {"arrival": costs("scans_20")}
pd.DataFrame(layouts["arrival"]).T

# %% [markdown]
# **Partitioning** puts the rows of each value into a folder of its own. **Z-order** sorts the rows along a curve
# through several columns, so that rows that are near in all of them come into the same file. **Liquid clustering**
# orders the rows in a similar way (along another curve, the Hilbert curve; with one key, by Z-order). The table keeps
# the columns in its metadata, as its **clustering keys**. We take the station as the partition, and the customer and
# the time as columns of the other two.
#
# Files of Z-order and liquid are cut at values of a random *sample*. Two settings, the first of them internal to
# Delta, take chance out, so that your numbers are ours. Leave them, and the size of the files, as they are in
# production.

# %%
NO_CHANCE = {
    "spark.databricks.io.skipping.mdc.addNoise": False,
    "spark.sql.execution.rangeExchange.sampleSizePerPartition": 100_000,
}


def clustered(statement):
    """Run OPTIMIZE, leaving nothing to chance; return the files removed and added."""
    with settings(NO_CHANCE):
        return optimized(statement)


# %%
save(first_scans, "partitioned", partitionBy="station_id", maxRecordsPerFile=10_000)
layouts["partitioned"] = costs("partitioned")

# %%
ZORDER = "OPTIMIZE scratch.scans_100 ZORDER BY (customer_id, scanned_at)"
zorder = clustered(ZORDER)
layouts["Z-order"] = costs("scans_100")
zorder

# %% [markdown]
# Now liquid, on the table of 20 files. We name its keys:

# %%
_ = spark.sql("ALTER TABLE scratch.scans_20 CLUSTER BY (customer_id, scanned_at)")

# %% [markdown]
# The query for a customer read all 20 files. How many does it read now?

# %% tags=["predict"]
files_read(spark.table("scratch.scans_20").where(A_CUSTOMER))

# %% [markdown]
# Still 20. `ALTER TABLE … CLUSTER BY` changes the table's metadata and moves no row. (A notebook of dbdemos,
# `02-Performance`, has this statement "to provide fast queries" and no `OPTIMIZE FULL` after it.) The rows move when
# `OPTIMIZE` runs:

# %%
liquid = clustered("OPTIMIZE scratch.scans_20")
layouts["liquid"] = costs("scans_20")
liquid

# %%
cells = [
    {"layout": layout, "query": query, **cost}
    for layout, by_query in layouts.items()
    for query, cost in by_query.items()
]
compared = pd.DataFrame(cells)


def by_layout(value):
    """Return a number of files, kilobytes or rows by query and layout."""
    wide = compared.pivot(index="query", columns="layout", values=value)
    return wide.loc[[*QUERIES], [*layouts]]


by_layout("files")

# %%
by_layout("rows")

# %%
files_read(spark.table("scratch.partitioned").where("station_id = 'ST24'"))

# %%
drawn = compared[compared["query"] != "all rows"].rename(columns={"rows": "rows read"})
axes = {"x": "query", "y": "rows read", "color": "layout", "barmode": "group"}
figure = px.bar(drawn, **axes, title="Rows read by query and layout")
charts.show(
    figure,
    alt="Bar chart of rows read by query and layout. Partitions read the fewest "
    "rows for the station, the order of arrival for the day, liquid for the customer.",
)

# %% [markdown]
# No layout wins everywhere:
#
# - **Order of arrival** is the best one for the day, and reads everything for a station or a customer.
# - **Partitions** are the best ones for their column: one file with 2,058 rows for the station. The query for the day
#   now reads 41 of the 43 files. The hub, `ST24`, has 3 of the files, and each of the 40 depots has one. One value
#   has far more rows than the others.
# - **Z-order and liquid** skip for both of their columns. For the customer they read 17,144 and 10,435 rows, and for
#   the day 25,713 and 15,652. For the customer in a week they read 8,570 and 2,608. The order of arrival reads 9,000
#   for the last one, so Z-order gains little there. The station is not a key, so both read all rows for it.
#
# Skipping grows with the number of files: about 20 files have to separate two columns, which leaves 4 or 5 ranges for
# each. On a table of a thousand files the same keys leave out far more.
#
# ### Write cost beside read cost
#
# A layout is paid for when it is written: OPTIMIZE writes every file that it changes anew. How much is that in
# kilobytes, and what does a second run cost when nothing is new?

# %%
first = dict(zip(("Z-order", "liquid"), written[-2:]))
idle = [clustered(ZORDER), clustered("OPTIMIZE scratch.scans_20")]
idle

# %%
pd.DataFrame({"first": first, "nothing new": dict(zip(first, written[-2:]))})

# %% [markdown]
# `OPTIMIZE` on the liquid table found nothing to do. Z-order rewrote all its files, though nothing was new. What does
# a run cost when 1,000 rows are new? We append them and run `OPTIMIZE`. Then we do it again with an internal setting,
# which belongs to the next paragraph:

# %%
SEALED = (
    "spark.databricks.delta.optimize.clustering.mergeStrategy.minCubeSize.threshold"
)
more = first_scans.where("scan_id <= 1000").coalesce(1)
save(more, "scans_20", mode="append")
everything = clustered("OPTIMIZE scratch.scans_20")
save(more, "scans_20", mode="append")
with settings({SEALED: 1_000_000}):
    sealed = clustered("OPTIMIZE scratch.scans_20")
{"as it is": (everything, written[-2]), "sealed at 1 MB": (sealed, written[-1])}

# %% [markdown] given=["4304", "41", "100"]
# 1,000 new rows made liquid rewrite *everything*: 24 files, 2,200 kB. "Incremental" means that sealed groups of files
# are left alone, and a group is sealed at 100 GB. (In issue 4304 of delta-io/delta, 1 GB was appended and 41 GB were
# rewritten.) When we seal at 1 MB, OPTIMIZE rewrites only the new file with the same rows, 40 kB. So below 100 GB a
# run with new rows can rewrite the whole table: run it seldom, not after each load.
#
# Can we at least optimize only the new days?

# %%
print(refused(f"OPTIMIZE scratch.scans_100 WHERE {A_WEEK}"))

# %% [markdown]
# `OPTIMIZE … WHERE` accepts partition columns only. A change of keys moves no row either. We want the station as the
# only key, in place of the customer and the time:

# %%
_ = spark.sql("ALTER TABLE scratch.scans_20 CLUSTER BY (station_id)")
clustered("OPTIMIZE scratch.scans_20")

# %% [markdown]
# `OPTIMIZE` finds clustered files and leaves them, whatever their keys were. `OPTIMIZE … FULL` rewrites them. How
# many files does the query for station `ST05` read after that, and how many the query for the hub, `ST24`?

# %% tags=["predict"]
full = clustered("OPTIMIZE scratch.scans_20 FULL")
alone = spark.table("scratch.scans_20")
print(full, "kB written:", written[-1])
where = {name: alone.where(f"station_id = '{name}'") for name in ("ST05", "ST24")}
pd.DataFrame({name: read_cost(frame) for name, frame in where.items()}).T

# %% [markdown] given=["1,000", "999", "40", "41"]
# Each reads one file. That of the hub has 1,010 kB, ten times the target: rows with the same key are not split.
#
# A key with few values is a poor partner for one with many. Before Delta mixes columns, it numbers the values of each
# in up to 1,000 ranges (`spark.databricks.io.skipping.mdc.rangeId.max`, an internal setting). The numbers of a time
# go to 999, those of 41 stations to 40, and the curve follows the larger numbers first. (A test of this chapter
# clusters by such a pair: the column of 40 values skips nothing, and with 40 ranges it skips.)
#
# A table has at most four clustering keys, and must collect statistics for each. A table with liquid clustering
# accepts no `ZORDER BY` and has no partitions. Leave all of this out for a table of a few files: there is little to
# skip.

# %% [markdown] tags=["exercise"] given=["8,000", "35", "40"]
# ### Exercise 10.3: choose clustering keys
#
# Three queries run all day on the scans:
#
# - `parcel_id = 'PA10425000'`
# - `customer_id = 417`
# - `customer_id = 417 AND scanned_at >= '2025-07-05' AND scanned_at < '2025-07-06'`
#
# Choose the clustering keys: write the list `keys` with the names of the columns. The check clusters 8,000 scans of
# its own by these keys, in about 20 files. Then it counts the rows in the files that each query reads. No query may
# read more than 35 % of the rows, and a key that no query filters on is refused. In these scans, `parcel_id` and
# `customer_id` have thousands of values, `station_id` has 40 and `scan_type` 3.

# %% tags=["solution"]
### BEGIN SOLUTION
keys = ["parcel_id", "customer_id"]
### END SOLUTION

# %% tags=["check"]
check.keys(keys)

# %% [markdown]
# ### Failure lab: partitioned by a column with many values
#
# "We always filter by station and day, so we partition by both." We do so with a week of scans. For comparison we
# write the same rows in order of time, up to 1,000 to a file.

# %%
week = first_scans.where(A_WEEK).coalesce(1)
week = week.withColumn("day", F.to_date("scanned_at"))
save(week, "by_time", maxRecordsPerFile=1000)
save(week, "by_both", partitionBy=["station_id", "day"])

# %%
pd.DataFrame({name: size_of(name) for name in ("by_time", "by_both")}).T

# %% [markdown]
# The same 5,842 rows: 6 files with 280 kB and a log of 8 kB, or 285 files with 1,250 kB and a log of 268 kB. For this
# week the log is about as large as the rows were in 6 files. What do queries read?

# %%
ONE_OF_BOTH = f"{A_STATION} AND day = '2025-08-01'"
wanted = {"station and day": ONE_OF_BOTH, "day": "day = '2025-08-01'"}
for name in ("by_time", "by_both"):
    table = spark.table(f"scratch.{name}")
    read = {query: read_cost(table.where(wanted[query])) for query in wanted}
    print(name, {query: (cost["files"], cost["rows"]) for query, cost in read.items()})

# %% [markdown] given=["52", "100", "1", "15,000"]
# The query that the partitions were made for reads 35 rows from one file. In the order of time it reads 1,000 rows,
# also from one file. The query for the day reads 41 files with partitions, and one in the order of time. A query
# without a filter opens 285 files, and a year of such weeks has about 15,000 files (52 × 285).
#
# The best practices of the Delta Lake documentation ask for at least 1 GB of data in each partition. Databricks today
# says that most tables below 100 TB need no partitions ("When to partition tables on Databricks"). Below these sizes
# use clustering, or nothing. In Delta 4.4.0 you undo partitions only by writing the table again.
#
# ## Deletion vectors: merge-on-read
#
# A Parquet file cannot be changed. To delete a row, Delta writes the file again without it: **copy-on-write**. With
# **deletion vectors** it writes a small file that marks rows of a data file as deleted, and readers leave them out:
# **merge-on-read**. Open-source Delta 4.4.0 has them switched off unless a table asks for them. We make two tables
# with the same 10,000 rows in two files:


# %%
def make(name, vectors):
    """Write the first 10,000 scans to a table with or without deletion vectors."""
    first = first_scans.where("scan_id <= 10000").coalesce(1)
    how = {"maxRecordsPerFile": 5000, "delta.enableDeletionVectors": vectors}
    save(first, name, **how)


make("copied", "false")
make("marked", "true")

# %% [markdown]
# We run two statements on each table, which touch a row in every file. `DELETE` removes rows, and `MERGE` updates the
# rows that match those of a query. We measure the bytes of the files that appear.

# %%
STATEMENTS = {
    "DELETE": "DELETE FROM scratch.{} WHERE scan_id % 5000 = 7",
    "MERGE": """MERGE INTO scratch.{} AS t USING (SELECT 5000L * id + 9 AS scan_id
        FROM range(2)) AS s ON t.scan_id = s.scan_id
        WHEN MATCHED THEN UPDATE SET note = 'merged'""",
}


# %%
def files_of(name):
    """Return the data files and the vectors in the folder of a scratch table."""
    return {path for path in (medallion.scratch() / name).iterdir() if path.is_file()}


def written_by(statement, name):
    """Run a statement on a scratch table; return the kilobytes that it wrote."""
    before = files_of(name)
    with settings(UNCOMPRESSED):
        spark.sql(STATEMENTS[statement].format(name))
    return sum(path.stat().st_size for path in files_of(name) - before) / 1000


# %%
kilobytes = {
    name: {statement: round(written_by(statement, name), 1) for statement in STATEMENTS}
    for name in ("copied", "marked")
}
pd.DataFrame(kilobytes)

# %% [markdown]
# Two rows were deleted: copy-on-write wrote 364.2 kB, and with vectors 0.1 kB. With vectors the merge writes the
# changed rows as well, 6.4 kB in all. (The documentation of Delta Lake lists `UPDATE` too.) Such a write is cheap
# because the work is left to the readers:


# %%
def rows_of(name):
    """Return the cost of reading a scratch table, and the rows that it has."""
    table = spark.table(f"scratch.{name}")
    return {**read_cost(table), "rows in the table": table.count()}


pd.DataFrame({name: rows_of(name) for name in kilobytes}).T

# %% [markdown]
# A query on `marked` reads 4 files with 10,002 rows, in order to return 9,998. It opens the vectors too. Four rows
# more do not matter. Where half of the rows are deleted, a query that reads all reads twice what it needs.
#
# ### When a vector goes away: OPTIMIZE and REORG … APPLY (PURGE)
#
# The target of 100 kB is below the size of the two large files, so they do not count as small.

# %%
compacted = optimized("OPTIMIZE scratch.marked")
after_optimize = read_cost(spark.table("scratch.marked"))["rows"]
compacted, after_optimize

# %%
purged = optimized("REORG TABLE scratch.marked APPLY (PURGE)")
after_purge = read_cost(spark.table("scratch.marked"))["rows"]
purged, after_purge

# %% [markdown] given=["1.6"]
# `OPTIMIZE` merged the 2 small files into one, and left the 2 large ones as they are. It rewrites a file for its
# vector only if more than 5 % of the file's rows are deleted (`spark.databricks.delta.optimize.maxDeletedRowsRatio`).
# `REORG … APPLY (PURGE)` rewrites each file that has a vector. Now 9,998 rows are read. (The old files are still on
# disk until `VACUUM`: chapter 09.)
#
# ### Row tracking: an id that survives a rewrite
#
# If you compare two versions of a table, you need to know which row is which. With **row tracking** each row has an id
# of its own, and the number of the version that changed it last. Both are in the hidden column `_metadata`:

# %%
_ = spark.sql("""
    CREATE OR REPLACE TABLE scratch.tracked
    TBLPROPERTIES (delta.enableRowTracking = true)
    AS SELECT id, 0 AS weight_g FROM range(0, 3, 1, 1)
""")
spark.sql("UPDATE scratch.tracked SET weight_g = 900 WHERE id = 1")
tracked = spark.table("scratch.tracked")
tracked.select("*", "_metadata.row_id", "_metadata.row_commit_version").orderBy("id")

# %% [markdown]
# The update wrote the file again, with all three rows. Each row kept its `row_id`, and only the changed one has
# `row_commit_version` 1. Like deletion vectors, this is a feature that the table's writers must know.
#
# ### Who else can read the table
#
# No vector is left in the current version of `marked`. `deltalake` 1.6.6 has two readers. One hands the files to PyArrow, and
# through it DuckDB reads tables in this course. The other is a query engine of its own, `QueryBuilder`.


# %%
def told(call):
    """Return what a call returns, or the error that it raises."""
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def with_pyarrow(name):
    """Count the rows of a scratch table through PyArrow."""
    table = DeltaTable(str(medallion.scratch() / name))
    return table.to_pyarrow_dataset().count_rows()


# %%
print(told(lambda: with_pyarrow("marked")))

# %%
from deltalake import QueryBuilder

marked = DeltaTable(str(medallion.scratch() / "marked"))
engine = QueryBuilder().register("marked", marked)
pa.table(engine.execute("SELECT count(*) AS scans FROM marked").read_all()).to_pylist()

# %% [markdown] given=["47", "1.6"]
# The reader with PyArrow refuses. The table's **protocol** is an entry in the log. It names the **features** that a
# reader or writer must know. The reader looks at these, not at the files, and a feature stays in the protocol when
# its last trace is gone. `QueryBuilder` knows the feature and reads 9,998 rows. (A test of this chapter has it read a
# table that still has vectors.) So check for each reader, and for each way of calling it, which features it knows.
#
# `ALTER TABLE … DROP FEATURE deletionVectors` opens the table for PyArrow again. With adaptive execution it took 47 Spark
# jobs on a table of this size, so we leave it to a test of this chapter. The test states three results:
#
# - PyArrow reads the table from this version on.
# - Older versions stay closed to it, for the same reason as before.
# - `deltalake` 1.6.6 cannot append to the table. Delta has put another feature in the place of the dropped one,
#   `checkpointProtection`, and the commit fails with its name. That one goes with `DROP FEATURE … TRUNCATE HISTORY`,
#   after the retention of the history (Azure Databricks, "Drop Delta table features").
#
# Can the same library read and write a table with liquid clustering?


# %%
def add_a_row(name):
    """Append a row of a scratch table to it, with deltalake."""
    row = spark.table(f"scratch.{name}").limit(1).toArrow()
    write_deltalake(str(medallion.scratch() / name), row, mode="append")


print("read:", told(lambda: with_pyarrow("scans_20")))
refusal, features = told(lambda: add_a_row("scans_20")).rstrip("]").split(" [")
print("write:", refusal, sorted(features.split(", ")))

# %% [markdown]
# Reading works, since the rows lie in ordinary files. Writing does not: a writer has to support the features
# `ClusteredTable` and `DomainMetadata`. So before a feature is switched on, list who reads the table and who writes
# it, and try each.

# %% [markdown]
# ## Retention: VACUUM, log and checkpoints
#
# A Delta table keeps more than its rows. It keeps the data files of old versions, a **log** of commits, and
# **checkpoints** of that log. Each has a **retention**: how long it is kept. We take a small table, so that we can
# follow each file. `data_files` counts the files that a table uses, and those that are in its folder.


# %%
def data_files(table):
    """Return how many data files a table uses, and how many its folder has."""
    used = spark.sql(f"DESCRIBE DETAIL scratch.{table}").first().numFiles
    return used, len([*(medallion.scratch() / table).glob("*.parquet")])


# %%
few = spark.table("bronze.parcel_scans").where("scan_id <= 4000")
few = few.select("scan_id", "station_id", "weight_g").repartition(4, "scan_id")
few.write.option("delta.enableChangeDataFeed", True).saveAsTable("scratch.kept")
data_files("kept")

# %% [markdown]
# 4 files, and the table uses all 4. Now the table changes: an update (version 1), a stream that reads it, an insert
# (version 2), a **shallow clone**, and `OPTIMIZE` (version 3). A shallow clone is a table with a log of its own and no
# data files of its own: its log names the files of the source.

# %%
spark.sql("UPDATE scratch.kept SET weight_g = 0 WHERE station_id = 'ST07'")
reader = spark.readStream.table("scratch.kept").writeStream.trigger(availableNow=True)
reader = reader.option("checkpointLocation", str(medallion.scratch() / "reader"))
reader.toTable("scratch.followed").awaitTermination()

# %%
spark.sql("INSERT INTO scratch.kept VALUES (4001, 'ST01', 900)")
spark.sql("CREATE TABLE scratch.cloned SHALLOW CLONE scratch.kept")
spark.sql("OPTIMIZE scratch.kept")
data_files("kept"), data_files("cloned")

# %% [markdown]
# The table uses 1 file, and its folder has 8. The clone uses 3 files, and none is in its own folder. `VACUUM` deletes
# the files that the table no longer uses. How many would it delete now? `DRY RUN` lists them and deletes nothing. Write
# down your answer.

# %% tags=["predict"]
dry_run = spark.sql("VACUUM scratch.kept DRY RUN")
dry_run.where("path LIKE '%.parquet'").count()

# %% [markdown]
# None. `VACUUM` keeps an unused file for 7 days, the default of `delta.deletedFileRetentionDuration`, and ours are
# minutes old. Can we ask for 0 hours?


# %%
def error_of(work):
    """Return what `work` raises, in one line, or None."""
    try:
        work()
    except Exception as error:
        return medallion.reason(error)
    return None


# %%
error_of(lambda: spark.sql("VACUUM scratch.kept RETAIN 0 HOURS"))

# %% [markdown]
# Delta refuses with `DELTA_VACUUM_RETENTION_PERIOD_TOO_SHORT`, and the table is as it was. A setting of the session
# switches this check off. We do it here for one block, to see what breaks, on tables that nobody needs.
#
# Four readers need files of old versions: time travel, the clone, the change feed (the changes of a table as rows), and
# the stream, which lags by one insert. First we ask three of them while the files are there. (We ask the stream later:
# once it has read the insert, it no longer lags.)

# %%
import re

OLD = "SELECT sum(weight_g) FROM scratch.kept VERSION AS OF 0"
CLONE = "SELECT sum(weight_g) FROM scratch.cloned"
feed = spark.read.option("readChangeFeed", True).option("startingVersion", 1)
readers = {
    "time travel": lambda: spark.sql(OLD).collect(),
    "shallow clone": lambda: spark.sql(CLONE).collect(),
    "change feed": lambda: feed.table("scratch.kept").collect(),
}


# %%
def read_error_of(work):
    """Return the error condition of a read that finds no file, or None."""
    try:
        work()
    except Exception as error:
        assert "does not exist" in medallion.reason(error)  # the innermost cause
        return re.search(r"FAILED_READ_FILE[.\w]*|TASK_WRITE_FAILED", str(error))[0]
    return None


# %%
{name: read_error_of(work) for name, work in readers.items()}

# %%
NO_CHECK = {"spark.databricks.delta.retentionDurationCheck.enabled": False}

# %%
with settings(NO_CHECK):
    spark.sql("VACUUM scratch.kept RETAIN 0 HOURS")
data_files("kept")

# %% [markdown]
# 1 file is left. Is the history gone as well?

# %%
history = spark.sql("DESCRIBE HISTORY scratch.kept")
history.select("version", "operation").orderBy("version")

# %% [markdown]
# It is not: `VACUUM` removes files, and it even adds two commits to the history. The history still lists the old
# versions, whose files are gone.
#
# ### What each retention limits: time travel, clones, the change feed, streams
#
# Now we ask all four readers.

# %%
readers["stream"] = lambda: reader.toTable("scratch.followed").awaitTermination()
{name: read_error_of(work) for name, work in readers.items()}

# %% [markdown]
# Three of them read without an error before, and now all four fail. The condition is `FAILED_READ_FILE.FILE_NOT_EXIST`;
# a task of the stream reads and writes, so its condition is `TASK_WRITE_FAILED`, with the same cause (`read_error_of`
# asserts that). The clone may surprise: its rows were lost in the maintenance of *another* table. The stream lagged by
# one insert. So `delta.deletedFileRetentionDuration` must be longer than the longest query and the longest pause of a
# stream. It must also be longer than the age of the oldest version or clone that somebody needs.

# %% [markdown]
# ## Failure lab: VACUUM with 0 hours beside a writer
#
# Why 7 days? `VACUUM` also deletes files that *no* version names, because a failed write leaves such files. But a write
# that is still running has files that no version names either: it writes its data files first, and its **commit** last.
# To show this without chance, we hold a writer at that point. `paused.before_commit` runs a write in a thread and stops
# it before its commit, with the locks that Delta's own tests use. `finish()` lets it go on, and returns its error or
# `None`.

# %%
from medallion.spark import paused

spark.range(3).coalesce(1).write.saveAsTable("scratch.written")
insert = "INSERT INTO scratch.written VALUES (100)"
writer = paused.before_commit(spark, lambda: spark.sql(insert))
writer.held, data_files("written")

# %% [markdown]
# The writer waits (`True`). The table uses 1 file, and 2 are in the folder: the second is the writer's. First `VACUUM`
# with the default retention:

# %%
spark.sql("VACUUM scratch.written")
data_files("written")

# %% [markdown]
# Both files are still there. With 0 hours:

# %%
with settings(NO_CHECK):
    spark.sql("VACUUM scratch.written RETAIN 0 HOURS")
data_files("written")

# %% [markdown]
# `VACUUM` has deleted the file of the running writer. Does the writer get an error at its commit? And does a query of
# the table? Write down both answers.

# %% tags=["predict"]
SUM = "SELECT sum(id) FROM scratch.written"
committed = writer.finish()
committed, read_error_of(lambda: spark.sql(SUM).collect())

# %% [markdown]
# The writer has committed (`None`), since a commit does not look at the data files. The query fails, because a file
# does not exist. The table now names a file that is gone, and each query that needs it will fail. The row 100 is lost,
# and its writer got no error. The repair has two steps: go back to the version before, and write the row again from its
# source. We do the first:

# %% costly="RESTORE compares two versions, file by file"
spark.sql("RESTORE TABLE scratch.written TO VERSION AS OF 0")
history = spark.sql("DESCRIBE HISTORY scratch.written").orderBy("version")
spark.sql(SUM).first()[0], [row.operation for row in history.collect()]

# %% [markdown]
# The sum is 3, that of the rows 0 to 2. `RESTORE` adds a new version, and the broken one stays in the history. The
# first `VACUUM`, with the default retention, left the writer's file alone. So the retention must be longer than the
# longest write, and longer than the longest query. 0 hours keep the current version safe only if nobody else can reach
# the table, and they end time travel to versions whose files the table no longer uses.

# %% [markdown]
# ## Checkpoints and log retention: what a reader replays
#
# The state of a table is the sum of its commits. After every 10 commits (`delta.checkpointInterval`) Delta writes a
# **checkpoint**, a Parquet file with that state. (A checkpoint of a stream is another thing: it holds the stream's
# progress.) A reader takes the last checkpoint and the commits after it. Our small table has a checkpoint after every 5
# commits, and we make 7:

# %%
log = medallion.scratch() / "logged" / "_delta_log"


def insert_until(version):
    """Insert a row for each version that the table does not have yet."""
    for number in range(len([*log.glob("*.json")]), version + 1):
        spark.sql(f"INSERT INTO scratch.logged VALUES ({number})")
    return [int(file.stem) for file in sorted(log.glob("*.json"))]


# %%
rows = spark.range(1).write.option("delta.checkpointInterval", 5)
rows.saveAsTable("scratch.logged")
commits = insert_until(6)
last = json.loads((log / "_last_checkpoint").read_text())["version"]
last, commits, sum(version > last for version in commits)

# %% [markdown] given=["30"]
# The last checkpoint is version 5. There are 7 commits (versions 0 to 6), and a reader replays 1 of them.
#
# The log has its own retention, `delta.logRetentionDuration`, by default 30 days. Old commits are deleted when a
# checkpoint is written, and not by `VACUUM`. After that, time travel to such a version fails even if its data files are
# still there. So the two retentions belong together: the shorter one limits time travel.
#
# Let us age the log: we set its files back by 40 days, with one minute between two versions, and write on until the
# next checkpoint, version 10.

# %%
import os
import time

days_ago = time.time() - 40 * 24 * 60 * 60
for file in log.glob("0*"):
    then = days_ago + 60 * int(file.name[:20])
    os.utime(file, (then, then))
commits = insert_until(10)
old = "SELECT count(*) FROM scratch.logged VERSION AS OF 2"
commits, error_of(lambda: spark.sql(old).collect())

# %% [markdown] given=["4146"]
# The commits before the old checkpoint are gone, and version 2 with them: `DELTA_VERSION_NOT_FOUND`. `VACUUM` did not
# run, so the data files are still there. Versions 5 and 6 are as old as the others, and they are kept: Delta deletes a
# commit only if a checkpoint after it is old enough too
# ([pull request 4146](https://github.com/delta-io/delta/pull/4146)). It also rounds the cut-off down to midnight UTC,
# so commits live a little longer than the setting says. The table itself is complete, because the checkpoint has its
# state.

# %%
spark.table("scratch.logged").count()

# %% [markdown]
# A classic checkpoint lists all data files of the table in one file. With `delta.checkpointPolicy = v2` Delta writes a
# **V2 checkpoint**: a small file that names **sidecars**, the files in `_sidecars` that hold the list. We let a table
# write one after each commit:

# %%
rows = spark.range(3).write.option("delta.checkpointPolicy", "v2")
rows.option("delta.checkpointInterval", 1).saveAsTable("scratch.sidecars")
spark.sql("INSERT INTO scratch.sidecars VALUES (3)")
found = (medallion.scratch() / "sidecars" / "_delta_log").rglob("*.checkpoint.*")
sorted((file.parent.name, file.suffix) for file in found)

# %% [markdown]
# The checkpoint is a JSON file, and its sidecar a Parquet file. Readers must know this feature, too.

# %% tags=["setup"]
some_facts = {"files": 40, "bytes": 400_000, "rows": 9_000, "deleted": 0, "unused": 2}

# %% [markdown] tags=["exercise"]
# ### Exercise 10.4: decide from metadata what a table needs
#
# `facts` is a dict with the numbers of a table:
#
# - `files` and `bytes`: its data files, and their size together,
# - `rows`: the rows that a query sees,
# - `deleted`: the rows that deletion vectors mark, which are still in the files; `None` if the number is unknown,
# - `unused`: the files that `VACUUM` would delete now, by the table's own retention.
#
# `target` is the size in bytes that a file should have. Write `needs_care(facts, target)`, which returns a list of
# actions, in this order:
#
# - `"compact"` if there are at least 10 files, and their mean size is below a quarter of the target,
# - `"purge"` if at least 5 % of the rows in the files are marked as deleted,
# - `"vacuum"` if there is an unused file.
#
# A table that needs nothing gets an empty list. A table without files needs no compaction, but it may have unused
# files: `DELETE FROM t` leaves such a table. Try it with a target of 1 MB: `needs_care(some_facts, 1_000_000)` is
# `["compact", "vacuum"]`.


# %% tags=["solution"]
def needs_care(facts, target):
    """Return the actions that a table needs: compact, purge, vacuum, in this order."""
    ### BEGIN SOLUTION
    deleted = facts["deleted"] or 0
    in_files = facts["rows"] + deleted
    needed = {
        "compact": facts["files"] >= 10
        and facts["bytes"] < facts["files"] * target / 4,
        "purge": deleted > 0 and deleted >= 0.05 * in_files,
        "vacuum": facts["unused"] > 0,
    }
    return [action for action, is_so in needed.items() if is_so]
    ### END SOLUTION


# %% tags=["check"]
check.needs_care(needs_care)

# %% [markdown]
# ## Concurrent writers: which operations conflict
#
# Delta's writers do not lock a table. Each reads a version, writes its files, and then commits the next version. If
# somebody else has committed in between, Delta compares what they did. This is **optimistic concurrency control**:
# either both fit together, or the second one gets a **conflict** and changes nothing. We hold one statement before its
# commit, run another to its end, and see how the first one ends. `conflict_of` names a conflict in an error.

# %% tags=["setup"]
from delta import exceptions

NAMES = ("ConcurrentAppend", "ConcurrentDeleteRead", "ConcurrentDeleteDelete")
CONFLICTS = tuple(getattr(exceptions, f"{name}Exception") for name in NAMES)


def conflict_of(error):
    """Return the name of the conflict that an error is, or was caused by; else None."""
    for name, conflict in zip(NAMES, CONFLICTS):
        if isinstance(error, conflict):
            return name
    cause = getattr(error, "java_exception", None)
    while cause is not None:
        name = cause.getClass().getSimpleName().removesuffix("Exception")
        if name in NAMES:
            return name
        cause = cause.getCause()
    return None


# %%
RACED = {
    "INSERT": "INSERT INTO scratch.raced VALUES (100)",
    "DELETE": "DELETE FROM scratch.raced WHERE id = 1",
    "OPTIMIZE": "OPTIMIZE scratch.raced",
}


# %%
def race(held, other):
    """Hold one statement before its commit, run another, and say how the first ends."""
    with paused.before_commit(spark, lambda: spark.sql(held)) as writer:
        spark.sql(other)
        error = writer.finish()
    return conflict_of(error) or error or "commits"


# %% [markdown]
# The table has 2 files. Each pair goes on with the table that the pair before has left.

# %% costly="four pairs of transactions"
spark.range(0, 8, 1, 2).write.saveAsTable("scratch.raced")
pairs = ["INSERT OPTIMIZE", "OPTIMIZE INSERT", "DELETE INSERT", "OPTIMIZE DELETE"]
outcomes = []
for held, other in map(str.split, pairs):
    outcomes.append((held, other, race(RACED[held], RACED[other])))
names = ["held before its commit", "commits first", "then the first"]
pd.DataFrame(outcomes, columns=names)

# %% [markdown]
# Read the table by what a statement depends on:
#
# - This `INSERT` reads nothing of the table, so it commits in every race above. `OPTIMIZE` beside it commits too: it
#   only moves rows of old files.
# - `OPTIMIZE` and `DELETE` read files and remove them, and so do `MERGE` and `UPDATE`. Of two that touch the same file,
#   the second loses.
# - The `DELETE` of row 1 loses even to an `INSERT` of row 100. Why does it, if `OPTIMIZE` does not? The history has the
#   **isolation level** of each commit:

# %%
history = spark.sql("DESCRIBE HISTORY scratch.raced")
history.select("operation", "isolationLevel").distinct().orderBy("operation")

# %%
weaker = "ALTER TABLE scratch.raced SET TBLPROPERTIES"
weaker += " (delta.isolationLevel = 'WriteSerializable')"
error_of(lambda: spark.sql(weaker))

# %% [markdown]
# An operation that changes no data, such as `OPTIMIZE`, runs under `SnapshotIsolation`: rows that others add do not
# matter to it. A `DELETE` runs under `Serializable`: its result must be that of one statement after the other. A new
# row could match its condition, and on this table Delta does not look whether it does. Open Delta 4.4.0 accepts no
# other level for a table.
#
# In a conflict the second statement changes nothing, so it may simply run again. Catching the error has two traps.
# PySpark knows Delta's conflicts only after `delta.exceptions` was imported; before that, each is a `Py4JJavaError`.
# And is one class enough for an `except`?

# %%
base = exceptions.DeltaConcurrentModificationException
[issubclass(error, base) for error in CONFLICTS]

# %% [markdown]
# It is not: in Delta's Python package none of them is a subclass of `DeltaConcurrentModificationException`, unlike in
# Java. `conflict_of` looks for the three classes, and for Java's exception and its causes.
#
# ### Avoid conflicts: partitions and predicates
#
# Two writers that work on separate partitions do not meet, if Delta can *see* that from their conditions. We delete
# from a table that is partitioned by day. First each condition names its day, then it does not. In the last race the
# other statement inserts a row into a *new* partition.

# %%
DELETE = "DELETE FROM scratch.by_day WHERE"
rows = spark.range(8).selectExpr("id", "id % 2 AS day").repartition(1)
rows.write.partitionBy("day").saveAsTable("scratch.by_day")
with_days = race(f"{DELETE} day = 1 AND id = 1", f"{DELETE} day = 0 AND id = 2")
without = race(f"{DELETE} id = 3", f"{DELETE} id = 4")
new_day = race(f"{DELETE} id = 5", "INSERT INTO scratch.by_day VALUES (8, 2)")
with_days, without, new_day

# %% [markdown]
# In the first pair both statements commit. The second pair deletes rows of two partitions as well, and it conflicts. So
# does the third, although no old file has changed. Without a partition in the condition, Delta takes the whole table as
# read, including files that come later. So put the partition into the condition, even where it seems superfluous.

# %% [markdown]
# ## Reading a plan: scans, joins and shuffles
#
# `EXPLAIN FORMATTED` shows what Spark will do. It has a tree, which is read **from the bottom up**, and details for
# each numbered node. This function returns the tree, or the details that begin with some words. It leaves out the
# numbers of columns and the sizes, which change from run to run. It plans as Spark does at work, with adaptive
# execution and compiled code.

# %%
import io
from contextlib import redirect_stdout

AT_WORK = COMPILED | {"spark.sql.adaptive.enabled": True}


def plan_of(frame, *words):
    """Return the tree of a plan, or the lines of its details with these words."""
    shown = io.StringIO()
    with redirect_stdout(shown), settings(AT_WORK):
        frame.explain("formatted")
    shown = re.sub(r"#\d+L?|, Statistics\(.*?\)", "", shown.getvalue())
    tree, _, details = shown.partition("\n\n")
    lines = [line for line in details.splitlines() if line.startswith(words or "#")]
    return "\n".join(lines) if words else tree


# %% tags=["setup"]
scans = spark.table("bronze.parcel_scans")
stations = spark.table("bronze.parcel_stations")

# %%
heavy = scans.where("weight_g > 20000").join(stations, "station_id")
by_kind = heavy.groupBy("kind").count()
print(plan_of(by_kind))

# %% [markdown]
# From the bottom: two scans, each with a filter. `BroadcastExchange` sends the stations to every task, and
# `BroadcastHashJoin` joins them without moving the scans. `HashAggregate` counts in each task, `Exchange` moves the
# partial counts, and a second `HashAggregate` adds them up. An `Exchange` is a **shuffle**: rows go over the network to
# the task that has their key. What does a scan read?

# %%
print(plan_of(by_kind, "PartitionFilters", "PushedFilters", "ReadSchema"))

# %% [markdown]
# `ReadSchema` is short: of all columns of the scans Spark reads two. `PushedFilters` go down into the scan, where
# Parquet can skip parts of a file with them. A filter that is missing here skips nothing inside a file. (Delta leaves
# out files earlier, when Spark plans the query.) `PartitionFilters` is empty, because no table here has partitions.
#
# ### Generated columns: a filter on a timestamp that prunes partitions
#
# Suppose that a table is partitioned by day, and a query filters on `scanned_at`. A **generated column** is computed
# from other columns at each write, so Delta can derive a filter on it from a filter on them:

# %%
_ = spark.sql("""
    CREATE OR REPLACE TABLE scratch.generated (
        scan_id BIGINT, scanned_at TIMESTAMP,
        day DATE GENERATED ALWAYS AS (CAST(scanned_at AS DATE))
    ) PARTITIONED BY (day)
""")
save(week.select("scan_id", "scanned_at"), "generated", mode="append")
generated = spark.table("scratch.generated")
print(plan_of(generated.where("scanned_at >= '2025-08-06'"), "PartitionFilters"))
files_read(generated), files_read(generated.where("scanned_at >= '2025-08-06'"))

# %% [markdown]
# We wrote no `day` and filtered on none. Delta computed the one, and added the other: `PartitionFilters` names the day.
# The query reads 2 of the 7 partitions.
#
# ### Adaptive query execution: the plan before and after
#
# `AdaptiveSparkPlan` means that **adaptive query execution** (AQE) may change the plan while it runs, because it then
# knows the real sizes. We forbid the broadcast, and compare the plan before and after the run.

# %%
with settings(AT_WORK | {"spark.sql.autoBroadcastJoinThreshold": -1}):
    sorted_join = heavy.groupBy("kind").count()
    before = plan_of(sorted_join, "Arguments: isFinalPlan")
    _ = sorted_join.collect()
print(before)
print(plan_of(sorted_join).partition("+- == Initial")[0])

# %% [markdown]
# Before the run the plan has `isFinalPlan=false`, and after it a `Final Plan`. For the `SortMergeJoin` both sides are
# shuffled and sorted. `AQEShuffleRead` with `coalesced` means that small shuffle partitions were merged. A join that
# Spark plans as a sort-merge join can also become a broadcast join here, once one side turns out to be small.
#
# **The limit of a broadcast** is `spark.sql.autoBroadcastJoinThreshold`, 10 MB by default, compared with Spark's
# estimate of the size. A broadcast table is sent to each executor and has to fit in its memory, so raise the limit with
# care.
#
# ### Joins on a cast
#
# A join of columns with different types casts one of them. One system writes the number of a station as a string, `07`,
# another as a number, 7. The details of the join show what Spark makes of it:

# %%
as_text = scans.selectExpr("right(station_id, 2) AS no")
as_number = stations.selectExpr("CAST(right(station_id, 2) AS INT) AS no")
print(
    plan_of(as_text.join(as_number, as_text.no == as_number.no), "Left keys", "Right")
)

# %% [markdown]
# Spark compares both as numbers, and nobody asked whether that is meant. Does a cast also prevent the pushdown of a
# filter? We ask for `PushedFilters` with a cast to a wider number, and with a cast to a string:

# %%
print(plan_of(scans.where("CAST(weight_g AS BIGINT) > 20000"), "PushedFilters"))
print(plan_of(scans.where("CAST(weight_g AS STRING) = '20001'"), "PushedFilters"))

# %% [markdown]
# Spark moves the cast of the first filter to the constant, because no value changes, and pushes the filter down. Of the
# second, only the test that the column is not NULL is pushed down. So store keys of one meaning with one type.
#
# ### Python UDF, pandas UDF, built-in function
#
# A **UDF** (user-defined function) is Python code that Spark calls on the values of a column. We put names in lower
# case in three ways: a UDF with pickled rows, a UDF with Arrow, and a built-in function. Of each plan we print one
# line:


# %%
def lower(name):
    """Return a name in lower case."""
    return name.lower()


pickled = F.udf(lower, "string", useArrow=False)
arrow = F.udf(lower, "string")
for column in (pickled("station_id"), arrow("station_id"), F.lower("station_id")):
    print(plan_of(scans.select(column.alias("name"))).splitlines()[2].strip(" +-"))

# %% [markdown] given=["4.2"]
# `BatchEvalPython` sends rows to a Python process, pickled. `ArrowEvalPython` sends them as Arrow columns: Spark 4.2
# does this for a plain UDF by default, and for each pandas UDF. The built-in function needs no node of its own and no
# Python. Its tree has `ColumnarToRow` in that place, which turns columns into rows. And this filter on a UDF is not
# pushed down:

# %%
print(plan_of(scans.where(arrow("station_id") == "st24"), "PushedFilters") or "none")
print(plan_of(scans.where("station_id = 'ST24'"), "PushedFilters"))

# %% [markdown]
# ### `coalesce(1)` and `cache`
#
# `coalesce(1)` is often used to write one file. How many tasks then do the work before it?

# %%
one = scans.groupBy("parcel_id").count().coalesce(1)
print(plan_of(one))

# %% [markdown]
# No `Exchange` stands between `Coalesce` and the second `HashAggregate`, so this one runs in the single task too.
# `repartition(1)` adds a shuffle, and the work before it keeps its tasks. A **cache** keeps the result of a plan in
# memory, and later plans with this part read it. Spark refreshes it when our session writes to the table. It does not
# see a write of another program:

# %%
spark.range(5).write.saveAsTable("scratch.pinned")
pinned = spark.table("scratch.pinned").cache()
spark.sql("INSERT INTO scratch.pinned VALUES (5)")
ours = pinned.count()
more = pa.table({"id": pa.array([6], pa.int64())})
write_deltalake(str(medallion.scratch() / "pinned"), more, mode="append")
ours, spark.table("scratch.pinned").count()

# %%
spark.catalog.refreshTable("scratch.pinned")
refreshed = spark.table("scratch.pinned").count()
_ = pinned.unpersist()
refreshed

# %% [markdown]
# Our own insert was seen (6 rows). The row that `deltalake` wrote was not, even by a new query of the table, until
# `refreshTable` (7 rows).

# %% [markdown]
# ## The event log as a table: tasks, shuffles and spills
#
# A plan shows what Spark does, but not how the work was divided. The **event log** shows that: it has JSON lines for
# the start and the end of jobs, stages and tasks. The Spark UI is drawn from the same events. A cluster writes the log
# of a whole application (`spark.eventLog.enabled`, set before Spark starts). Since Spark 4.0 that log is a folder of
# compressed files: when one is large, Spark begins the next ([migration
# guide](https://spark.apache.org/docs/latest/core-migration-guide.html)). `event_log.recorded` of this course writes
# one plain file for one block. It lacks the events of the application's start and end, so Spark's history server does
# not read it.
#
# We join all scans with the stations, without broadcast. We use 8 shuffle partitions, and tell AQE not to merge small
# ones, so that the tasks stay comparable.

# %%
from medallion.spark import event_log

SETTINGS = AT_WORK | {
    "spark.sql.autoBroadcastJoinThreshold": -1,
    "spark.sql.shuffle.partitions": 8,
    "spark.sql.adaptive.coalescePartitions.enabled": False,
}


def grams_by_city(scans, stations):
    """Return the weight of all scans of a city."""
    joined = scans.join(stations, "station_id")
    return joined.groupBy("city").agg(F.sum("weight_g").alias("grams"))


# %%
with settings(SETTINGS), event_log.recorded(spark) as log:
    plain = sorted(grams_by_city(scans, stations).collect())
events = spark.read.json(str(log), "Event STRING").distinct()
events.where("Event LIKE 'SparkListener%Start' OR Event LIKE '%End'").orderBy("Event")

# %% [markdown]
# `SparkListenerTaskEnd` has the metrics of a task. Its fields are nested, so we give the few that we want as a schema.

# %%
TASK_END = """
    Event STRING, `Stage ID` INT, `Task Metrics` STRUCT<
        `Shuffle Read Metrics`: STRUCT<`Total Records Read`: BIGINT>,
        `Disk Bytes Spilled`: BIGINT>"""


def tasks_of(log):
    """Return for each task of an event log its stage, and what it read and spilled."""
    ends = spark.read.json(str(log), TASK_END).where("Event = 'SparkListenerTaskEnd'")
    return ends.selectExpr(
        "`Stage ID` AS stage",
        "`Task Metrics`.`Shuffle Read Metrics`.`Total Records Read` AS shuffled",
        "`Task Metrics`.`Disk Bytes Spilled` AS spilled",
    )


# %%
tasks = tasks_of(log)
by_stage = tasks.groupBy("stage").agg(
    F.count("*").alias("tasks"),
    F.sum("shuffled").alias("rows"),
    F.max("shuffled").alias("largest"),
    F.median("shuffled").cast("int").alias("median"),
)
join_stage = by_stage.orderBy(F.desc("rows")).first()
join_stage[1:]

# %% [markdown]
# The stage of the join has 8 tasks, which read 193,896 rows. The largest reads 94,906 rows, and the median 15,496. The
# Spark UI shows the same: it has a REST API on this machine.

# %%
import urllib.request

context = spark.sparkContext
address = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/stages"
with urllib.request.urlopen(address) as answer:
    stages = json.load(answer)
[one["shuffleReadRecords"] for one in stages if one["stageId"] == join_stage.stage]

# %% [markdown] given=["41", "4040"]
# The same number of rows, 193,896: all scans and the 41 stations. In the UI (port 4040 by default) open "Stages", a
# stage, and "Summary Metrics": the columns "Median" and "Max" are ours.
#
# ### Spill: when a task has more rows than memory
#
# A task that sorts or groups more than fits in memory writes a part to disk and reads it again: a **spill**. We make
# one with a limit of 50,000 rows for the rows of a window. (On a cluster it is memory that runs out.) All scans go
# through one task, because this window has no `PARTITION BY`.

# %%
BUFFER = "spark.sql.windowExec.buffer"
limits = [f"{BUFFER}.in.memory.threshold", f"{BUFFER}.spill.threshold"]
with settings(dict.fromkeys(limits, 50_000)), event_log.recorded(spark) as spilling:
    scans.selectExpr("sum(weight_g) OVER () AS grams").agg(F.max("grams")).collect()
by_spill = tasks_of(spilling).groupBy(F.expr("spilled > 0 AS spilled"))
by_spill.agg(F.count("*").alias("tasks"), F.max("shuffled").alias("largest"))

# %% [markdown]
# 8 tasks read the files and did not spill. One task read all 193,855 rows and spilled. A spill is not an error. It is a
# sign of a partition that is too large, as here, or of too little memory for each task. The first remedy is more
# partitions (here a `PARTITION BY`), the second is more memory.

# %% [markdown]
# ## Skew: a hot key in a join
#
# Why does one task read so many rows? The join sends all rows of one station to one task. One **hot key** has most of
# them. How many of the 193,855 scans are at the largest station? Write down a guess.

# %% tags=["predict"]
by_station = scans.groupBy("station_id").count()
by_station.orderBy(F.desc("count"), "station_id").limit(3)

# %% [markdown] given=["256"]
# ST24 is the hub, with 78,408 scans, 40 %. The next station has 6,656. This is **skew**. The stage ends when its
# largest task does, and more shuffle partitions do not help: the hub is still one key.
#
# ### AQE's skew join and its thresholds
#
# AQE splits a partition that is much larger than the median (`skewedPartitionFactor`, 5) *and* larger than
# `skewedPartitionThresholdInBytes` (256 MB). Ours are far smaller, so nothing happened. We lower the thresholds.

# %%
SKEW = {
    "spark.sql.adaptive.skewJoin.skewedPartitionFactor": 2,
    "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "100kb",
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "100kb",
}
with settings(SETTINGS | SKEW), event_log.recorded(spark) as split:
    joined = grams_by_city(scans, stations)
    print(sorted(joined.collect()) == plain)
lines = [line.strip(" :+-") for line in plan_of(joined).splitlines()]
print(*dict.fromkeys(line for line in lines if "skew" in line), sep="\n")


# %%
def largest_and_median(log):
    """Return the tasks, the largest and the median of the stage that shuffles most."""
    rows = tasks_of(log).where("shuffled IS NOT NULL").toPandas()
    reads = max((group for _, group in rows.groupby("stage")["shuffled"]), key=sum)
    return len(reads), int(reads.max()), int(reads.median())


# %%
without_salt = largest_and_median(log)
without_salt, largest_and_median(split)

# %% [markdown]
# The result is the same (`True`), the plan says `skewed`, and the partition of the hub was read in parts: 12 tasks, the
# largest with 24,211 rows. AQE cuts between the outputs of the tasks before the shuffle, so it cannot cut finer than
# these. With other files than our 182, the parts are others too. AQE splits inner joins and, on one side, outer joins.
# It does not split an aggregation.
#
# ### Salting by hand
#
# A **salt** is a second key that spreads a hot one. Each scan gets a salt, and each station gets a row for each salt.
# Take the salt from a column of the row, and not from `rand()`. A task that is run again may get its rows in another
# order, and then each row draws another number: rows can be lost or doubled.

# %% tags=["setup"]
few_scans = scans.where("scan_id <= 4000").select("scan_id", "station_id", "weight_g")

# %% [markdown] tags=["exercise"]
# ### Exercise 10.5: fix a skewed join
#
# Write `even_join(scans, stations)`, which returns the rows of `scans.join(stations, "station_id")`, each once, with at
# least the columns `scan_id`, `station_id`, `weight_g` and `kind`. In the stage of the join, the largest task must read
# fewer than twice as many rows as the median. The check measures this in an event log, with 8 shuffle partitions,
# without AQE, and does not allow a broadcast: suppose that both sides are large. Do not write the name of a station
# into your code. Some scans have no station. Try `even_join(few_scans, stations).count()`, which is 4000.


# %% tags=["solution"]
def even_join(scans, stations):
    """Join scans with stations, with a hot station spread over many tasks."""
    ### BEGIN SOLUTION
    salts = 32
    salted = scans.withColumn("salt", F.pmod("scan_id", F.lit(salts)).cast("int"))
    every = F.explode(F.sequence(F.lit(0), F.lit(salts - 1)))
    copies = stations.withColumn("salt", every)
    return salted.join(copies, ["station_id", "salt"]).drop("salt")
    ### END SOLUTION


# %% tags=["check"]
check.even_join(even_join)

# %% [markdown]
# On our table, with the same result as before:

# %%
with settings(SETTINGS), event_log.recorded(spark) as salted:
    even = even_join(scans, stations).groupBy("city").agg(F.sum("weight_g"))
    same = sorted(map(tuple, even.collect())) == sorted(map(tuple, plain))
same, without_salt, largest_and_median(salted)

# %% [markdown]
# The result is the same, and the largest task reads 29,670 rows in place of 94,906. The price: each station is shuffled
# 32 times. So salt where the other side is small, or salt only the hot keys. If one side fits in memory, a broadcast
# join does not shuffle the large side, so it has no skew.

# %% [markdown]
# ## A maintenance job that decides by metadata
#
# The job looks at each table, decides with `needs_care`, acts, and writes down what it did. Facts come from the log.
# `DESCRIBE DETAIL` has the number of files and their bytes, and `count(*)` is answered from statistics. The number of
# marked rows is in the **version checksum**, the `.crc` file that Delta's writer for Spark leaves beside a commit. A
# commit of another writer may have none, and then the number is unknown (`None`). `VACUUM … DRY RUN` lists what would
# be deleted. We ask it only where a folder has more files than its table, and do not count the folders in its answer.


# %%
def unused_files(table, folder, used):
    """Return how many files VACUUM would delete; it is asked if there are more."""
    on_disk = [
        file for file in folder.rglob("*") if file.suffix in (".parquet", ".bin")
    ]
    if sum("_delta_log" not in file.parts for file in on_disk) <= used:
        return 0
    dry_run = spark.sql(f"VACUUM {table} DRY RUN")
    return dry_run.where(r"path RLIKE '[.](parquet|bin)$'").count()


# %%
def marked_rows(folder):
    """Return how many rows the last commit says are marked as deleted, or None."""
    checksum = max((folder / "_delta_log").glob("*.json")).with_suffix(".crc")
    if not checksum.exists():
        return None
    return json.loads(checksum.read_text()).get("numDeletedRecordsOpt")


# %%
def facts_of(table):
    """Return what the metadata of a table says about its state."""
    detail = spark.sql(f"DESCRIBE DETAIL {table}").first()
    folder = Path(detail.location.removeprefix("file:"))
    return {
        "files": detail.numFiles,
        "bytes": detail.sizeInBytes,
        "rows": spark.table(table).count(),
        "deleted": marked_rows(folder),
        "unused": unused_files(table, folder, detail.numFiles),
    }


# %% [markdown]
# We take three tables: the scans, the stations, and one with rows marked as deleted. Into its folder we put a file such
# as a killed writer leaves. `VACUUM` looks at the time of the file, so we set it back by 8 days. (None is partitioned.
# `OPTIMIZE` never joins files of two partitions, so a table with many small partitions would be proposed each night. At
# scale, count the files of each partition.)

# %%
few.write.option("delta.enableDeletionVectors", True).saveAsTable("scratch.littered")
spark.sql("DELETE FROM scratch.littered WHERE scan_id <= 400")
folder = medallion.scratch() / "littered"
orphan = folder / "part-of-a-killed-writer.parquet"
orphan.write_bytes(next(folder.glob("*.parquet")).read_bytes())
week_ago = time.time() - 8 * 24 * 60 * 60
os.utime(orphan, (week_ago, week_ago))

# %% costly="a dry run of VACUUM lists folders"
TABLES = ["bronze.parcel_scans", "bronze.parcel_stations", "scratch.littered"]
TARGET = 1_000_000
facts = {table: facts_of(table) for table in TABLES}
{table: needs_care(found, TARGET) for table, found in facts.items()}

# %% [markdown] given=["3.3"]
# This is the **dry run** of the job: it shows what the job would do, and changes nothing. The third table needs
# `vacuum` for the left file. `VACUUM … LITE`, new in Delta 3.3, takes the files from the log in place of a listing of
# the folder. Does it find this file?

# %%
spark.sql("VACUUM scratch.littered LITE")
orphan.exists()

# %% [markdown]
# It does not: no commit has ever named the file. Where the log no longer reaches back far enough, `LITE` stops with
# `DELTA_CANNOT_VACUUM_LITE`. So the job uses the full `VACUUM`.
#
# Now the part of the job that acts. Each action puts a note into its commit, with
# `spark.databricks.delta.commitInfo.userMetadata`. The note has the run, the table, the action, the reason, and the
# number of files before. So the table's own history shows what maintenance did, even when the job is killed before it
# can write elsewhere.

# %%
STATEMENTS = {
    "compact": "OPTIMIZE {}",
    "purge": "REORG TABLE {} APPLY (PURGE)",
    "vacuum": "VACUUM {}",
}
REASONS = {
    "compact": "{files} small files",
    "purge": "{deleted} marked rows",
    "vacuum": "unused files: {unused}",
}


# %%
DELTA = "spark.databricks.delta"


def settings_for(table, run, action, facts):
    """Return the settings of Delta for one action: its note, and the size of a file."""
    note = {"run": run, "table_name": table, "action": action}
    note["reason"] = REASONS[action].format(**facts)
    note["files_before"] = spark.sql(f"DESCRIBE DETAIL {table}").first().numFiles
    return {
        f"{DELTA}.commitInfo.userMetadata": json.dumps(note),
        f"{DELTA}.optimize.maxFileSize": TARGET,
    }


# %%
def act_on(table, run, action, facts):
    """Do one action on a table, with a note in its commit."""
    with settings(COMPILED | settings_for(table, run, action, facts)):
        spark.sql(STATEMENTS[action].format(table))


# %% [markdown] tags=["exercise"]
# ### Exercise 10.6: maintain a table beside other writers
#
# This one is a stretch. Other writers do not wait for us. Write `maintain(look, decide, act, attempts)`. `look()`
# returns the facts of now, `decide(facts)` the list of actions, and `act(action)` does one, or raises. An attempt
# looks, decides and does the actions in their order. After an error that is a conflict (`conflict_of(error)` is not
# `None`) the table has changed, so the next attempt begins with a new look. Make at most `attempts` attempts (1 or
# more), and let the conflict of the last one go on to the caller. An action that has succeeded is not done again in a
# later attempt. Any other error goes on at once. Return the list of the actions that were done, in their order. (After
# an error nobody gets this list. The table's history has it.)


# %% tags=["solution"]
def maintain(look, decide, act, attempts):
    """Do what a table needs; decide again after each conflict."""
    ### BEGIN SOLUTION
    done = []
    for attempt in range(1, attempts + 1):
        try:
            for action in decide(look()):
                if action not in done:
                    act(action)
                    done.append(action)
            break
        except Exception as error:
            if conflict_of(error) is None or attempt == attempts:
                raise
    return done
    ### END SOLUTION


# %% tags=["check"]
check.maintain(maintain)

# %% [markdown]
# Our attempts follow one another at once. A job beside many writers waits before each new attempt, longer each time.
#
# Now the job. It never says `RETAIN`: each table has its own retention, as a property. `notes_of` reads the notes from
# the history. `files_after` counts what the action itself has added and removed, and no file that another writer has
# added meanwhile. A `MERGE` writes the notes that `ops.maintenance` does not have yet. So the job can run twice, or be
# killed between an action and the `MERGE`. The run belongs to the key, because a table that is dropped and made again
# counts its versions from 0.


# %%
NOTE = """run STRING, table_name STRING, action STRING, reason STRING,
          files_before BIGINT"""
MOVED = "int(coalesce(operationMetrics['num{}Files'], '0'))"
AFTER = f"note.files_before + {MOVED.format('Added')} - {MOVED.format('Removed')}"


def notes_of(table):
    """Return what the history of a table says about its maintenance."""
    note = F.from_json("userMetadata", NOTE).alias("note")
    history = spark.sql(f"DESCRIBE HISTORY {table}").select("*", note)
    acted = history.where("note.action IS NOT NULL AND operation <> 'VACUUM START'")
    return acted.selectExpr("version", "note.*", f"{AFTER} AS files_after")


# %%
def record(notes):
    """Write notes to ops.maintenance that it does not have yet."""
    notes.createOrReplaceTempView("maintained")
    spark.sql("""
        MERGE INTO ops.maintenance AS old USING maintained AS new
        ON (old.run, old.table_name, old.version)
            = (new.run, new.table_name, new.version)
        WHEN NOT MATCHED THEN INSERT *
    """)


# %% [markdown]
# And the loop over the tables, with your `maintain`. A table that fails does not stop the others; the error at the end
# names it.


# %%
def care_for(table, run):
    """Do what a table needs, beside other writers."""
    facts = {}

    def look():
        facts.update(facts_of(table))
        return facts

    def act(action):
        act_on(table, run, action, facts)

    maintain(look, lambda found: needs_care(found, TARGET), act, attempts=3)


# %%
def run_maintenance(tables, run):
    """Maintain each table, record what was done, and name the tables that failed."""
    failed = {}
    for table in tables:
        try:
            care_for(table, run)
        except Exception as error:
            failed[table] = medallion.reason(error)
    found = [table for table in tables if spark.catalog.tableExists(table)]
    record(reduce(DataFrame.unionAll, map(notes_of, found)))
    if failed:
        raise RuntimeError(f"Maintenance has failed: {failed}")


# %% [markdown]
# We run the job and compare each table before and after. `digest` returns the number of rows, and a hash over all
# columns that does not depend on the order of the rows.


# %%
def digest(table):
    """Return the number of rows of a table, and a digest that no order changes."""
    rows = spark.table(table)
    total = F.sum(F.xxhash64(*rows.columns).cast("DECIMAL(20, 0)"))
    with settings(COMPILED):
        return tuple(rows.agg(F.count("*"), total).first())


# %% costly="it maintains two tables"
before = {table: digest(table) for table in TABLES}
day = "scanned_at >= '2025-09-01' AND scanned_at < '2025-09-02'"
queries = {"all": scans, "one day": scans.where(day)}
reads = {name: [files_read(query)] for name, query in queries.items()}
run_maintenance(TABLES, "2025-12-30")
{table: digest(table) for table in TABLES} == before

# %%
maintained = spark.table("ops.maintenance")
maintained.orderBy("table_name", "version")

# %% [markdown]
# The rows are the same (`True`). The scans were compacted from 182 files to 7, the 400 marked rows were purged, and the
# left file was deleted. The stations needed nothing, and no row names them. And the queries?

# %%
scans = spark.table("bronze.parcel_scans")
queries = {"all": scans, "one day": scans.where(day)}
{name: (*reads[name], files_read(query)) for name, query in queries.items()}

# %% [markdown]
# A query of all scans reads 7 files in place of 182. A query of one day read 1 small file before and reads 3 larger
# ones now: compaction by size does not keep the days apart. Clustering does that (see the section on layout). We run
# the job again, for the scans:

# %% costly="a dry run of VACUUM lists a folder"
run_maintenance(TABLES[:1], "2025-12-31")
spark.table("ops.maintenance").count()

# %% [markdown]
# Still 3 rows: the second run found nothing to do on this table, so the job is **idempotent**. An external scheduler
# can run it each night.
#
# ### A maintenance run beside a running stream
#
# A stream follows a table while two jobs compact it at the same time. The stream would stop at a commit that rewrites
# rows, because it has no `skipChangeCommits`.

# %%
spark.range(0, 1000, 1, 12).write.saveAsTable("scratch.busy")
follow = spark.readStream.table("scratch.busy").writeStream
follow = follow.option("checkpointLocation", str(medallion.scratch() / "f"))
query = follow.toTable("scratch.copy")
query.processAllAvailable()

# %%
conflicts = []


def act_disturbed(action):
    """Compact, while another job compacts the same table and commits first."""
    compact = STATEMENTS[action].format("scratch.busy")
    with paused.before_commit(spark, lambda: spark.sql(compact)) as writer:
        spark.sql(compact)
        error = writer.finish()
    conflicts.append(conflict_of(error))
    if error:
        raise error


# %% costly="two transactions beside a stream"
done = maintain(
    look=lambda: facts_of("scratch.busy"),
    decide=lambda facts: needs_care(facts, TARGET),
    act=act_disturbed,
    attempts=3,
)
conflicts, done, files_read(spark.table("scratch.busy"))

# %%
spark.sql("INSERT INTO scratch.busy SELECT id + 1000 FROM range(5)")
query.processAllAvailable()
query.stop()
copy = spark.table("scratch.copy")
copy.count(), copy.distinct().count()

# %% [markdown]
# Our job lost to the other one, with a `ConcurrentDeleteRead`. It looked again and found 1 file, so nothing was left to
# do. The stream has 1,005 rows, each once: a compaction is a commit whose files say `dataChange: false`, and the stream
# passes it over. A job that reads the rows and overwrites the table with fewer files would have stopped the stream.
#
# A process that is killed in the middle of `OPTIMIZE`, `REORG`, `VACUUM` or `MERGE` leaves files without a commit, or a
# start without an end. A test of this chapter kills each of them at that point: the rows are the same, and the next run
# completes.

# %% [markdown]
# ## Check yourself
#
# Choose an answer to see what it would mean.

# %%
from medallion.lesson import quiz

quiz.show("10")

# %% [markdown]
# ## What we know now
#
# - Files: many small files make each query open more, and make the log larger. We count files, bytes and rows, not
#   seconds.
# - Compaction: `OPTIMIZE` packs small files into large ones by size, and changes no row. By itself it can make skipping
#   worse.
# - Statistics: Delta skips a file by the smallest and largest value of a column. The filter must compare the column
#   itself, and the order of the rows decides.
# - Layout: partitions suit one column with few values, Z-order and liquid clustering several columns. New clustering
#   keys move no row until `OPTIMIZE` runs.
# - Deletion vectors make a delete cheap to write, and leave work to the readers. Not every reader knows this feature of
#   the table.
# - Retention: `VACUUM` deletes files and keeps the history. Its retention must outlast each write, query and pause of a
#   stream, and the clones and versions that somebody needs.
# - A running write has files that no version names. `VACUUM` with 0 hours deletes them, and the write still commits.
# - Conflicts: of two writers that remove the same file, the second fails and changes nothing. Look again, decide again,
#   and try again, a limited number of times.
# - Plans are read from the bottom up: columns and filters of the scan, `Exchange`, the kind of join. AQE changes a plan
#   while it runs.
# - Skew: the event log shows how rows are divided among tasks. With a hot key, the largest task reads many times the
#   median. AQE's skew join or a salt spreads the key.
# - A maintenance job decides by metadata, leaves its note in the commit, and can run again. Beside another job it looks
#   again, and does only what is left to do.
#
# **On Databricks** predictive optimization runs `OPTIMIZE`, `VACUUM` and `ANALYZE` on managed tables of Unity Catalog
# ([documentation](https://docs.databricks.com/aws/en/optimizations/predictive-optimization)), so a job of your own is
# for other tables. With row-level concurrency (Databricks Runtime 14.2 and later, tables with deletion vectors and
# without partitions) two deletes of different rows of a file need not conflict
# ([documentation](https://docs.databricks.com/aws/en/optimizations/isolation/row-level-concurrency)). This chapter's
# own code stays on the laptop: it reads files of a table's folder (`.crc`), calls Java through `_jvm`, and asks the UI
# on this machine. Serverless compute and Spark Connect have none of these.
