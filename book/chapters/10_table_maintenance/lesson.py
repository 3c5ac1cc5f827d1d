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
#     summary: files, statistics, layout and retention of tables, and how to read a query's plan
#     outline: >-
#       Small files and compaction, statistics and data skipping, partitions and clustering, deletes, retention,
#       concurrent writers, and how to read the plan of a query.
#     objectives:
#     - count the files that a query reads, and make it read fewer
#     - compact a table, choose its layout, and say what each retention limits
#     - read the plan of a query, and find and fix a skewed join
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
# ## Parcel scans: a table of many small files
#
# The carrier of our parcels sends its **scans**: a Parquet file for each day, in the order in which the scans were made.
# A daily job that appends them leaves one small file a day.
#
# We write the same files in one commit. Spark packs small files into one task of up to 128 MB
# (`spark.sql.files.maxPartitionBytes`), and counts 4 MB extra for each file (`spark.sql.files.openCostInBytes`). With 128
# MB extra, each file is a task of its own, and each task writes a file.

# %% tags=["setup"]
landing = medallion.landing()
from_file = F.substring_index("_metadata.file_path", "/landing/", -1)

# %% costly="182 tasks write 182 files"
spark.conf.set("spark.sql.files.openCostInBytes", "128m")
scans = spark.read.parquet(str(landing / "parcel_scans"))
scans = scans.select("*", from_file.alias("_source_file"))
scans.write.mode("overwrite").saveAsTable("bronze.parcel_scans")
spark.conf.unset("spark.sql.files.openCostInBytes")

# %%
detail = spark.sql("DESCRIBE DETAIL bronze.parcel_scans").first()
detail.numFiles, spark.table("bronze.parcel_scans").count()

# %% [markdown]
# The table has 182 files for 193,855 rows. The stations that scan the parcels come as one CSV file.

# %%
STATIONS = "station_id STRING, name STRING, city STRING, kind STRING"
stations = spark.read.csv(str(landing / "parcel_stations"), STATIONS, header=True)
stations = stations.select("*", from_file.alias("_source_file"))
stations.coalesce(1).write.mode("overwrite").saveAsTable("bronze.parcel_stations")

# %% [markdown]
# What maintenance does to a table, or leaves undone, is written to a table of its own, in the schema `ops`. It holds
# tables about the running of the lakehouse itself.

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
# same query is often faster than the first, whatever was done in between. So no claim of this chapter comes from a
# clock. We count what a query reads: **files**, **bytes** and **rows**. For the same files they are the same on any
# machine.
#
# The plan knows the files. When Spark plans a query on a Delta table, Delta compares the filter with what its log
# holds about each file, and leaves out the files that cannot hold a matching row: **file pruning**. By partition it
# is called partition pruning, and by statistics **data skipping**. The method `inputFiles` of a DataFrame lists the
# files that are left, without running the query.

# %% [markdown] tags=["exercise"]
# ### Exercise 10.1: count the files that a query reads
#
# Write `files_read(frame)`, which returns the number of data files that a query reads after pruning, as an `int`. The
# query must not run. A join reads the files of both tables, and a file that occurs twice counts once. A query that
# needs no file reads 0. Try `files_read(spark.table("bronze.parcel_stations"))`, which is 1.


# %% tags=["solution"]
def files_read(frame):
    """Return the number of data files that a query reads, after pruning."""
    ### BEGIN SOLUTION
    return len(frame.inputFiles())
    ### END SOLUTION


# %% tags=["check"]
check.files_read(files_read)

# %% [markdown]
# A file can be large or small, so we also want bytes and rows. Both are in the files themselves: a Parquet file ends
# with a footer that counts its rows.

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
scans.where(A_DAY).count(), scans.where(A_CUSTOMER).count()

# %% [markdown]
# The day has 887 scans and the customer 34. How many of the 182 files does each query read? Write down both numbers.

# %% tags=["predict"]
queries = {"day": A_DAY, "customer": A_CUSTOMER}
pd.DataFrame({name: read_cost(scans.where(query)) for name, query in queries.items()}).T

# %% [markdown]
# The day is in one file, and Delta knows which. For the 34 rows of the customer it reads 166 files with 176,495 rows:
# a file of a day holds small and large customer numbers, so almost every file *may* hold number 17. The size of the
# result says nothing about the cost of a query. And a count of all rows?

# %%
files_read(scans.groupBy().count())

# %% [markdown]
# It reads no file: Delta adds up the row counts of its log.
#
# ## The small-file problem: the same rows in 1, 20 and 100 files
#
# We write the first 60,000 scans three times, in the order in which they arrived. `maxRecordsPerFile` limits the rows
# of a file. (All experiments of this chapter work on such copies. `bronze.parcel_scans` stays as it is until the
# end.)

# %%
in_order = scans.where("scan_id <= 60000").orderBy("scan_id").coalesce(1)
in_order.write.mode("overwrite").saveAsTable("scratch.scans_1")


# %%
def copy_to(name, rows_per_file, *partitions):
    """Write the scans, in the order of arrival, to a scratch table."""
    writer = spark.table("scratch.scans_1").write.mode("overwrite")
    writer = writer.option("maxRecordsPerFile", rows_per_file)
    writer.partitionBy(*partitions).saveAsTable(f"scratch.{name}")


copy_to("scans_20", 3000)
copy_to("scans_100", 600)

# %% [markdown]
# For each table: the data, the Delta log, and the tasks of a query that reads all.


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
charts.show(
    figure,
    alt="Bar chart of kilobytes by number of files: 1,450, 1,580 and 2,170 kB.",
)

# %% [markdown]
# The same 60,000 rows take 1,450 kB in one file and 2,170 kB in 100. Each file has a footer and dictionaries of its
# own, and repeated values compress less well. The log grows from 3 to 99 kB, since it describes each file, and every
# query reads it to plan. Spark packs small files into one task, so 100 files need only 4 tasks. Each file still has
# to be opened, which on object storage is one request or more.
#
# Small files come from three habits:
#
# - **Frequent commits.** A stream with a trigger of one minute makes up to `24 * 60` commits a day, each with a file
#   or more.
# - **Shuffles.** A write after a shuffle makes one file for each partition that has rows.
# - **Partition columns.** Each task writes a file of its own for each value that it holds. We measure this below.

# %% [markdown]
# ## OPTIMIZE: compaction by bin-packing
#
# `OPTIMIZE` writes the rows of small files into large ones: **compaction**. It sorts files by size, packs them into
# bins of a target size, and rewrites each bin as a file: **bin-packing**.
#
# We ask three questions: what a query reads afterwards, what a stream gets that reads the table, and what remains on
# disk. First the stream. It counts the rows that come.

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
# Without a setting, `OPTIMIZE` of Delta 4.4.0 aims at files of 1 GB. Our tables have two megabytes, so we first set a
# target of 100 kB. Files below `minFileSize` are packed, into bins of at most `maxFileSize`.


# %%
def target(kilobytes):
    """Let OPTIMIZE aim at files of this size, and leave larger ones alone."""
    for which in ("minFileSize", "maxFileSize"):
        name = f"spark.databricks.delta.optimize.{which}"
        spark.conf.set(name, 1000 * kilobytes)


def optimized(statement):
    """Run OPTIMIZE or REORG; return how many files it removed and added."""
    metrics = spark.sql(statement).first().metrics
    return metrics.numFilesRemoved, metrics.numFilesAdded


# %%
by_100 = spark.table("scratch.scans_100").where(A_DAY)
before = read_cost(by_100)
target(100)
packed = optimized("OPTIMIZE scratch.scans_100")
packed_cost = read_cost(spark.table("scratch.scans_100").where(A_DAY))
packed

# %% [markdown]
# 100 files became 25. Now with a target of 1 GB. How many rows does the query for a day read before, between, and
# after? Write down three numbers.

# %%
target(1_000_000)
packed_again = optimized("OPTIMIZE scratch.scans_100")
packed_again

# %% tags=["predict"]
after = read_cost(spark.table("scratch.scans_100").where(A_DAY))
pd.DataFrame({"100 files": before, "100 kB": packed_cost, "1 GB": after}).T

# %% [markdown]
# Of 100 files the query read 3, with 1,800 rows. Of 25 files it reads 21: bin-packing sorts by *size*, so a file now
# holds small files of many different days, and its times overlap with those of the others. From one file it reads all
# 60,000 rows: nothing can be skipped. So compaction lowers the number of files, and by itself it can make skipping
# worse. A demonstration that is "faster after OPTIMIZE" on a table of some megabytes shows neither effect of a large
# table. To skip well, the rows need an order across files, which is the subject of a later section.
#
# What does the stream get from these two rewrites?

# %%
read_stream("scans_100")

# %% [markdown]
# No row. The log says of each file that it was added or removed *without a change of data*:

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
# `dataChange` is false for every file of the commit, so a stream skips it. And the disk?

# %%
on_disk = len(list((medallion.scratch() / "scans_100").glob("*.parquet")))
on_disk, optimized("OPTIMIZE scratch.scans_100")

# %% [markdown]
# All 100 old files are still there, with the 25 and the one. They serve older versions until `VACUUM` deletes them,
# so `OPTIMIZE` alone makes a table *larger* on disk. (A notebook of dbdemos, Databricks' collection of demos,
# `05-Advanced-Delta-Lake-Internal`, states that only one Parquet file remains after OPTIMIZE and VACUUM. Its VACUUM
# is commented out.) The last OPTIMIZE removed and added 0 files: bin-packing is **idempotent**, so a job may run it
# every day.

# %% [markdown] given=["50"]
# ## Auto compaction and optimized writes
#
# Two settings of a table avoid small files as they are written. **Auto compaction** runs an `OPTIMIZE` after a
# commit. The documentation of Delta Lake says that it starts when a table or partition has at least
# `spark.databricks.delta.autoCompact.minNumFiles` small files; the default is 50. What does Delta 4.4.0 do?

# %%
_ = spark.sql("""
    CREATE OR REPLACE TABLE scratch.auto (id BIGINT)
    TBLPROPERTIES (delta.autoOptimize.autoCompact = true)
""")


# %%
def append(files):
    """Append this many files of one row; return how many the table has then."""
    rows = spark.range(0, files, 1, 1).write.option("maxRecordsPerFile", 1)
    rows.mode("append").saveAsTable("scratch.auto")
    return files_read(spark.table("scratch.auto"))


# %% [markdown]
# We append 20 files, then 30, then 20. Write down how many files the table has after each append.

# %% tags=["predict"]
[append(files) for files in (20, 30, 20)]

# %% [markdown] given=["4045", "4487", "50"]
# The first append was compacted at once, though it has fewer than 50 files. Then Delta waits until 50 small files
# have been added: 30 leave 31, and with 20 more there is 1 again. The compaction is part of the write, which returns
# only when it is done. Two reports on this trigger were open when this was written, issues 4045 and 4487 of
# delta-io/delta: large files are counted too, and files that other sessions wrote are not. So if many small jobs
# write a table, do not rely on auto compaction: count the files, as the job at the end of this chapter does.
#
# An **optimized write** shuffles the rows before it writes them, so that the rows of a partition meet in one task.
# Here 8 tasks each hold scans of all six types, and we write partitions by type, without it and with it:

# %%
spread = spark.table("scratch.scans_1").select("scan_id", "scan_type").repartition(8)
for name, option in (("plain", "false"), ("shuffled", "true")):
    writer = spread.write.mode("overwrite").option("optimizeWrite", option)
    writer.partitionBy("scan_type").saveAsTable(f"scratch.{name}")

# %%
[files_read(spark.table(f"scratch.{name}")) for name in ("plain", "shuffled")]

# %% [markdown]
# 8 tasks × 6 values make 48 files; with the shuffle it is 6. The price is the shuffle: every row goes over the
# network once more. The setting for a table is `delta.autoOptimize.optimizeWrite`.
#
# ## Statistics and data skipping: min, max and null count per file
#
# For each file, the log holds **statistics**: the number of rows, and the smallest value, the largest value and the
# number of NULLs of a column. We read those of the table of 20 files with `deltalake`, as a table. (It has the files
# in order of arrival. We show three.)

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
# The times of two files hardly overlap, so a filter on time skips files. The stations go from `ST01` to `ST41` in
# each file, so a filter on a station skips none. A Delta table has no index: what lets a filter skip is the **order
# in which the rows were written**.
#
# A filter must also let Delta compare it with the smallest and the largest value. Which of these can?

# %%
PREDICATES = [
    "scan_id = 1000",
    "scan_id = '1000'",
    "cast(scan_id AS STRING) = '1000'",
    "abs(scan_id) = 1000",
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
# constant, not the column. `AND` needs only one side that skips. What defeats skipping:
#
# - **A function or a cast on the column.** No statistic exists for `abs(scan_id)`. The exception here is `date(…)`,
#   which Delta knows: it reads 1 file, while `date_format` reads all 20.
# - **OR with another column.** A file can be skipped only if *both* sides exclude it. In one column `OR` does no
#   harm.
# - **The order of arrival**, for each column that does not follow it, such as `customer_id`.

# %% [markdown] tags=["exercise"]
# ### Exercise 10.2: rewrite predicates so that files are skipped
#
# Each of these four predicates reads all files of a table, whose rows are in the order of `scanned_at`, `weight_g`
# and `parcel_id`:
#
# - `month`: `date_format(scanned_at, 'yyyy-MM') = '2025-09'`
# - `kilos`: `floor(weight_g / 1000) = 2`
# - `light`: `coalesce(weight_g, 0) < 500`
# - `prefix`: `substring(parcel_id, 1, 4) = 'PA03'`
#
# Write the dict `skipping`: under each name, a predicate that keeps the same rows of any table, and can skip. Some
# weights are NULL, and some values lie exactly on a boundary.

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
# Delta collects statistics for the first 32 columns, and of a string only its first 32 characters. A small table with
# 35 columns: in the first is an address, in all others the same 4,000 numbers, in four files.

# %%
numbers = spark.range(0, 4000, 1, 1)
columns = [F.col("id").alias(f"c{place}") for place in range(2, 36)]
address = F.concat(F.lit("https://kestrel.example/parcels/"), F.lpad("id", 4, "0"))
wide = numbers.select(address.alias("c1"), *columns)
writer = wide.write.mode("overwrite").option("maxRecordsPerFile", 1000)
writer.saveAsTable("scratch.wide")

# %%
AN_ADDRESS = "c1 = 'https://kestrel.example/parcels/0005'"
for query in ("c2 = 5", "c32 = 5", "c33 = 5", AN_ADDRESS):
    print(query, files_read(spark.table("scratch.wide").where(query)))

# %% [markdown]
# Column 32 skips, and column 33 reads all 4 files: it has no statistics. The address is the first column, yet it
# reads all 4 as well: the first 32 characters are the same in each row, and of a string Delta keeps no more. The
# order of the columns matters, then. The property `delta.dataSkippingStatsColumns` names the columns instead:

# %%
_ = spark.sql("""
    ALTER TABLE scratch.wide
    SET TBLPROPERTIES (delta.dataSkippingStatsColumns = 'c2,c33')
""")
files_read(spark.table("scratch.wide").where("c33 = 5"))

# %% [markdown]
# Nothing changes for the four files that exist. The property is for files that are written from now on, so the old
# ones have to be rewritten. (Databricks has `ANALYZE TABLE … COMPUTE DELTA STATISTICS`; in Delta 4.4.0 it does not
# parse.)
#
# Now the bad input. Somebody wants to cluster the table by a column that has no statistics:


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
# property.

# %% [markdown]
# ## Partitioning, Z-order and liquid clustering
#
# If the order of the rows decides what is skipped, which order is best? Four queries of this carrier, and what they
# read in the order of arrival:

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
# orders them in a similar way (along a Hilbert curve), and keeps the columns, its **clustering keys**, as a property
# of the table. We take the station as the partition, and the customer and the time as columns of the other two.
#
# Files of Z-order and liquid are cut at values of a random *sample*. Two settings, the first of them internal to
# Delta, take chance out, so that your numbers are ours. Leave them as they are in production.

# %%
spark.conf.set("spark.databricks.io.skipping.mdc.addNoise", False)
spark.conf.set("spark.sql.execution.rangeExchange.sampleSizePerPartition", 100_000)
target(100)

# %%
copy_to("partitioned", 10_000, "station_id")
layouts["partitioned"] = costs("partitioned")

# %%
ZORDER = "OPTIMIZE scratch.scans_100 ZORDER BY (customer_id, scanned_at)"
zorder = optimized(ZORDER)
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
liquid = optimized("OPTIMIZE scratch.scans_20")
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
# - **Partitions** are the best ones for their column: one file with 2,058 rows for the station. The day is now in 41
#   of them. The hub alone has 8 files, since one value has far more rows than the others.
# - **Z-order and liquid** read a quarter to a half of the rows for the day and for the customer, and 8,000 to 9,000
#   for both. They share what 15 files can separate among two columns. The station is no key, so it reads all.
#
# Skipping grows with the number of files: with 15 files no query on one of two keys can do much better than 4. On a
# table of a thousand files the same keys leave out far more.
#
# ### Write cost beside read cost
#
# A layout is paid for when it is written: OPTIMIZE writes every file that it changes anew. How much is that in
# kilobytes, what does a second run cost when nothing is new, and what when 1,000 rows are?

# %%
by_layout("kB").loc["all rows"]

# %%
idle = {
    "Z-order": optimized(ZORDER),
    "liquid": optimized("OPTIMIZE scratch.scans_20"),
}
idle

# %%
more = spark.table("scratch.scans_1").where("scan_id <= 1000").coalesce(1)
more.write.mode("append").saveAsTable("scratch.scans_20")
optimized("OPTIMIZE scratch.scans_20")

# %% [markdown] given=["4304", "41", "100"]
# `OPTIMIZE` on the liquid table found nothing to do. Z-order rewrote all its files, though nothing was new. But 1,000
# new rows made liquid rewrite *everything*, 16 files: "incremental" means that sealed groups of files are left alone,
# and a group is sealed at 100 GB (issue 4304 of delta-io/delta: 1 GB was appended and 41 GB were rewritten). Below
# that size, each run with new rows costs the whole table, so run it weekly rather than after each load.
#
# A change of keys moves no row either. We want the station in place of the customer:

# %%
_ = spark.sql("ALTER TABLE scratch.scans_20 CLUSTER BY (station_id, scanned_at)")
optimized("OPTIMIZE scratch.scans_20")

# %% [markdown]
# `OPTIMIZE` finds clustered files and leaves them, whatever their keys were. `OPTIMIZE … FULL` rewrites them. How
# many files does the query for a station read after that?

# %% tags=["predict"]
full = optimized("OPTIMIZE scratch.scans_20 FULL")
full, files_read(spark.table("scratch.scans_20").where(A_STATION))

# %% [markdown] given=["1,000", "999", "40"]
# 15 files were rewritten, and the query for a station still reads all 14 of the new ones. The station has 41 values.
# Before Delta mixes columns, it numbers the values of each in up to 1,000 ranges
# (`spark.databricks.io.skipping.mdc.rangeId.max`, an internal setting). The numbers of the time then go to 999, those
# of the station to 40, and the curve follows the larger numbers first. With few files only the time is separated. A
# column with few values is a poor partner for one with many. (A test of this chapter sets the ranges to 40, and then
# the other column skips.) By itself it is a good key:

# %%
_ = spark.sql("ALTER TABLE scratch.scans_20 CLUSTER BY (station_id)")
alone = optimized("OPTIMIZE scratch.scans_20 FULL")
alone, files_read(spark.table("scratch.scans_20").where(A_STATION))

# %% [markdown]
# Now the query reads a few files and skips the others.
#
# A table has at most four keys, and each needs statistics. Liquid takes no `ZORDER BY`, and no partitions beside it.
# Leave all of this out for a table of a few files: there is little to skip.

# %% [markdown] tags=["exercise"] given=["8,000", "35", "40"]
# ### Exercise 10.3: choose clustering keys
#
# Three queries run all day on the scans:
#
# - `parcel_id = 'PA10425000'`
# - `customer_id = 417`
# - `customer_id = 417 AND scanned_at >= '2025-07-05' AND scanned_at < '2025-07-06'`
#
# Choose the clustering keys: write the list `keys`, names of columns. The check clusters 8,000 scans of its own by
# them, in about 20 files, and counts the rows in the files that each query reads. None may read more than 35 % of
# them, and a key that no query filters on is refused. `parcel_id` and `customer_id` have thousands of values,
# `station_id` has 40 and `scan_type` 3.

# %% tags=["solution"]
### BEGIN SOLUTION
keys = ["parcel_id", "customer_id"]
### END SOLUTION

# %% tags=["check"]
check.keys(keys)

# %% [markdown]
# ### Failure lab: partitioned by a column with many values
#
# "We always filter by station and day, so we partition by both." Two weeks of scans show what that makes.

# %%
TWO_WEEKS = "scanned_at >= '2025-08-01' AND scanned_at < '2025-08-15'"
two_weeks = spark.table("scratch.scans_1").where(TWO_WEEKS).coalesce(1)
two_weeks = two_weeks.withColumn("day", F.to_date("scanned_at"))
two_weeks.write.mode("overwrite").saveAsTable("scratch.in_one")
by_both = two_weeks.write.mode("overwrite").partitionBy("station_id", "day")
by_both.saveAsTable("scratch.by_both")

# %%
pd.DataFrame({name: size_of(name) for name in ("in_one", "by_both")}).T

# %% [markdown]
# The same 11,606 rows: one file with 290 kB and a log of 3 kB, or 569 files with 2,360 kB and a log of 538 kB. For
# these two weeks the log is larger than the data were. What do queries read?

# %%
ONE_OF_BOTH = f"{A_STATION} AND day = '2025-08-01'"
wanted = {"station and day": ONE_OF_BOTH, "day": "day = '2025-08-01'"}
for name in ("in_one", "by_both"):
    table = spark.table(f"scratch.{name}")
    read = {query: read_cost(table.where(wanted[query])) for query in wanted}
    print(name, {query: (cost["files"], cost["rows"]) for query, cost in read.items()})

# %% [markdown] given=["26"]
# The query that the partitions were made for reads 35 rows from one file, which is ideal. Every other query pays: the
# day reads 41 files where it read one, and a query without a filter opens 569. A year has 26 such fortnights. The
# documentation of Databricks advises at least 1 GB of data for each partition. Below that, use clustering, or
# nothing. To undo partitions, the table has to be written again.
#
# ## Deletion vectors: merge-on-read
#
# A Parquet file cannot be changed. To delete a row, Delta writes the file again without it: **copy-on-write**. With
# **deletion vectors** it writes a small file that marks rows of a data file as deleted, and readers leave them out:
# **merge-on-read**. Open-source Delta 4.4.0 has them switched off unless a table asks for them. Two tables with the
# same 20,000 rows in four files:


# %%
def make(name, vectors):
    """Write the first 20,000 scans to a table with or without deletion vectors."""
    first = spark.table("scratch.scans_1").where("scan_id <= 20000").coalesce(1)
    writer = first.write.mode("overwrite").option("maxRecordsPerFile", 5000)
    property_of = "delta.enableDeletionVectors"
    writer.option(property_of, vectors).saveAsTable(f"scratch.{name}")


make("copied", "false")
make("marked", "true")

# %% [markdown]
# We run three statements on each, which touch a row or a few in every file, and measure the bytes of the files that
# appear.

# %%
STATEMENTS = {
    "DELETE": "DELETE FROM scratch.{} WHERE scan_id % 5000 = 7",
    "UPDATE": "UPDATE scratch.{} SET note = 'checked' WHERE scan_id % 5000 = 8",
    "MERGE": """MERGE INTO scratch.{} AS t USING (SELECT 5000L * id + 9 AS scan_id
        FROM range(4)) AS s ON t.scan_id = s.scan_id
        WHEN MATCHED THEN UPDATE SET note = 'merged'""",
}


# %%
def files_of(name):
    """Return the data files and the vectors in the folder of a scratch table."""
    return {path for path in (medallion.scratch() / name).iterdir() if path.is_file()}


def written_by(statement, name):
    """Run a statement on a scratch table; return the kilobytes that it wrote."""
    before = files_of(name)
    spark.sql(STATEMENTS[statement].format(name))
    return sum(path.stat().st_size for path in files_of(name) - before) / 1000


# %%
kilobytes = {
    name: {statement: round(written_by(statement, name), 1) for statement in STATEMENTS}
    for name in ("copied", "marked")
}
pd.DataFrame(kilobytes)

# %% [markdown]
# Four rows were deleted: copy-on-write wrote 491.3 kB, and with vectors it is 0.2 kB. An update and a merge write the
# changed rows as well, about 6 kB. Such a write is cheap because the work is left to the readers:


# %%
def rows_of(name):
    """Return the cost of reading a scratch table, and the rows that it has."""
    table = spark.table(f"scratch.{name}")
    return {**read_cost(table), "rows in the table": table.count()}


pd.DataFrame({name: rows_of(name) for name in kilobytes}).T

# %% [markdown]
# A query on `marked` reads 8 files with 20,008 rows, in order to return 19,996. It opens the vectors too. Twelve rows
# do not matter. Where half of the rows are deleted, each query reads twice what it needs.
#
# ### When a vector goes away: OPTIMIZE and REORG … APPLY (PURGE)
#
# We set a target below the size of the four large files, so that they do not count as small.

# %%
target(100)
compacted = optimized("OPTIMIZE scratch.marked")
after_optimize = read_cost(spark.table("scratch.marked"))["rows"]
compacted, after_optimize

# %%
purged = optimized("REORG TABLE scratch.marked APPLY (PURGE)")
after_purge = read_cost(spark.table("scratch.marked"))["rows"]
purged, after_purge

# %% [markdown]
# `OPTIMIZE` merged the 4 small files into one, and left the 4 large ones as they are: it rewrites a file for its
# vector only if more than 5 % of its rows are deleted (`spark.databricks.delta.optimize.maxDeletedRowsRatio`). `REORG
# … APPLY (PURGE)` rewrites each file that has a vector. Now 19,996 rows are read. (The old files are still on disk
# until `VACUUM`: chapter 09.)
#
# ### Who else can read the table
#
# No vector is left. We read the table with `deltalake`, through which DuckDB reads our tables too:

# %%
place = str(medallion.scratch() / "marked")
try:
    DeltaTable(place).to_pyarrow_dataset()
except Exception as error:
    refusal = error
print(type(refusal).__name__, refusal)

# %% [markdown]
# It refuses: `deltalake` 1.6.6 looks at the **features** that the table's protocol names, not at its files. Features
# stay when their last trace is gone. With `DROP FEATURE` the table becomes readable again:

# %%
_ = spark.sql("""
    ALTER TABLE scratch.marked SET TBLPROPERTIES (delta.enableDeletionVectors = false)
""")
_ = spark.sql("ALTER TABLE scratch.marked DROP FEATURE deletionVectors")
DeltaTable(place).to_pyarrow_dataset().count_rows()

# %%
place = str(medallion.scratch() / "scans_20")
DeltaTable(place).to_pyarrow_dataset().count_rows()

# %% [markdown]
# 19,996 rows. A table with liquid clustering it reads without that: 61,000 rows, since clustering changes only where
# rows are. So before a feature is switched on, list who reads the table.
#
# The rest of the chapter has Delta's own settings again:

# %%
spark.conf.unset("spark.databricks.delta.optimize.minFileSize")
spark.conf.unset("spark.databricks.delta.optimize.maxFileSize")
spark.conf.unset("spark.databricks.io.skipping.mdc.addNoise")
spark.conf.unset("spark.sql.execution.rangeExchange.sampleSizePerPartition")

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
# 4 files, and the table uses all 4. Now the table lives: an update (version 1), a stream that reads it, an insert
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
# Delta refuses with `DELTA_VACUUM_RETENTION_PERIOD_TOO_SHORT`, and the table is as it was. Many demos switch this check
# off. We do it here for one block, to see what breaks, on tables that nobody needs.

# %%
from contextlib import contextmanager


@contextmanager
def without_retention_check():
    """Let VACUUM accept any retention while the block runs. Not for production."""
    name = "spark.databricks.delta.retentionDurationCheck.enabled"
    spark.conf.set(name, False)
    try:
        yield
    finally:
        spark.conf.unset(name)


# %%
with without_retention_check():
    spark.sql("VACUUM scratch.kept RETAIN 0 HOURS")
data_files("kept")

# %% [markdown]
# 1 file is left. A well-known demo runs `VACUUM` "to remove your history". Is the history gone?

# %%
history = spark.sql("DESCRIBE HISTORY scratch.kept")
history.select("version", "operation").orderBy("version")

# %% [markdown]
# It is not: `VACUUM` removes files, and it even adds two commits to the history. The history now names versions that
# nobody can read.
#
# ### What each retention limits: time travel, clones, the change feed, streams
#
# Four readers need files of old versions. We ask each of them.

# %%
OLD = "SELECT sum(weight_g) FROM scratch.kept VERSION AS OF 0"
CLONE = "SELECT sum(weight_g) FROM scratch.cloned"
feed = spark.read.option("readChangeFeed", True).option("startingVersion", 1)
readers = {
    "time travel": lambda: spark.sql(OLD).collect(),
    "shallow clone": lambda: spark.sql(CLONE).collect(),
    "change feed": lambda: feed.table("scratch.kept").collect(),
    "stream": lambda: reader.toTable("scratch.followed").awaitTermination(),
}
errors = {name: error_of(work) for name, work in readers.items()}
# %%
{name: error and "does not exist" in error for name, error in errors.items()}

# %% [markdown]
# All four stop with the same message: a file "does not exist". The clone is the surprise: its rows were deleted by
# somebody who maintained *another* table. The stream lagged by one insert. So `delta.deletedFileRetentionDuration` must
# be longer than the longest query, the longest pause of a stream, and the age of the oldest version or clone that
# somebody needs. By Delta's documentation, `VACUUM … LITE` takes the files from the log, in place of a listing of the
# folder. It does not find files that no commit has named.

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
writer = paused.before_commit(lambda: spark.sql(insert))
data_files("written")

# %% [markdown]
# The table uses 1 file, and 2 are in the folder: the second is the writer's. First `VACUUM` with the default retention:

# %%
spark.sql("VACUUM scratch.written")
data_files("written")

# %% [markdown]
# Both files are still there. With 0 hours:

# %%
with without_retention_check():
    spark.sql("VACUUM scratch.written RETAIN 0 HOURS")
data_files("written")

# %% [markdown]
# `VACUUM` has deleted the file of the running writer. Does the writer get an error at its commit? And does a query of
# the table? Write down both answers.

# %% tags=["predict"]
SUM = "SELECT sum(id) FROM scratch.written"
committed, broken = writer.finish(), error_of(lambda: spark.sql(SUM).collect())
committed, broken and "does not exist" in broken

# %% [markdown]
# The writer has committed (`None`), since a commit does not look at the data files. The query fails (`True`): a file
# does not exist. The table now names a file that is gone, and each query that needs it will fail. The row 100 is lost,
# and nobody was told at the time. The repair is to go back to the version before, and to write the row again from its
# source:

# %% costly="RESTORE compares two versions, file by file"
spark.sql("RESTORE TABLE scratch.written TO VERSION AS OF 0")
history = spark.sql("DESCRIBE HISTORY scratch.written").orderBy("version")
spark.sql(SUM).first()[0], [row.operation for row in history.collect()]

# %% [markdown]
# The sum is 3, that of the rows 0 to 2. `RESTORE` is a new version and no undo: the broken one stays in the history.
# Now the same with the default retention:

# %%
writer = paused.before_commit(lambda: spark.sql(insert))
spark.sql("VACUUM scratch.written")
writer.finish(), spark.sql(SUM).first()[0]

# %% [markdown]
# Nothing is lost. So the retention must be longer than the longest write, and longer than the longest query. 0 hours
# are safe only if nobody else can reach the table.

# %% [markdown]
# ## Checkpoints and log retention: what a reader replays
#
# The state of a table is the sum of its commits. So that nobody has to read them all, Delta writes a **checkpoint**, a
# Parquet file with the state, after every 10 commits (`delta.checkpointInterval`). A reader takes the last checkpoint
# and the commits after it. We make 12 commits:

# %%
spark.range(1).write.saveAsTable("scratch.logged")
for number in range(11):
    spark.sql(f"INSERT INTO scratch.logged VALUES ({number})")
log = medallion.scratch() / "logged" / "_delta_log"
last = json.loads((log / "_last_checkpoint").read_text())["version"]
commits = [int(file.stem) for file in log.glob("*.json")]
last, len(commits), sum(version > last for version in commits)

# %% [markdown] given=["30"]
# The last checkpoint is version 10. There are 12 commits (versions 0 to 11), and a reader replays 1 of them.
#
# The log has its own retention, `delta.logRetentionDuration`, by default 30 days. By Delta's documentation, old commits
# are deleted when a checkpoint is written, and not by `VACUUM`. After that, time travel to such a version fails even if
# its data files are still there. So the two retentions belong together: the shorter one limits time travel.

# %% [markdown]
# Let us age the log: we set the times of its files back by 40 days, and have `deltalake` clean it up. (In our runs
# Spark did not delete these files at its next checkpoint, so do not rely on an exact day.)

# %%
import os
import time

days_ago = time.time() - 40 * 24 * 60 * 60
for file in log.glob("*.json"):
    os.utime(file, (days_ago, days_ago))
DeltaTable(str(log.parent)).cleanup_metadata()
old = "SELECT count(*) FROM scratch.logged VERSION AS OF 2"
len([*log.glob("*.json")]), error_of(lambda: spark.sql(old).collect())

# %% [markdown]
# 2 commits are left, from the checkpoint on. No data file was deleted, and version 2 is gone all the same:
# `DELTA_VERSION_NOT_FOUND`. The table itself is complete, because the checkpoint has its state.

# %%
spark.table("scratch.logged").count()

# %% tags=["setup"]
some_facts = {"files": 40, "bytes": 400_000, "rows": 9_000, "deleted": 0, "unused": 2}

# %% [markdown] tags=["exercise"]
# ### Exercise 10.4: decide from metadata what a table needs
#
# `facts` is a dict with the numbers of a table: `files` and `bytes` of its data files, `rows` (those that a query
# sees), `deleted` (rows that deletion vectors mark, still in the files; `None` if nobody knows) and `unused` (files
# that `VACUUM` would delete now, by the table's own retention). `target` is the size in bytes that a file should have.
# Write `needs_care(facts, target)`, which returns a list of actions, in this order:
#
# - `"compact"` if there are at least 10 files, and their mean size is below a quarter of the target,
# - `"purge"` if at least 5 % of the rows in the files are marked as deleted,
# - `"vacuum"` if there is an unused file.
#
# A table that needs nothing gets an empty list, and so does a table without files. Try `needs_care(some_facts,
# 1_000_000)`, which is `["compact", "vacuum"]`.


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
# either both fit together, or the second one gets a **conflict** and nothing of it counts. We hold one statement before
# its commit, run another to its end, and see how the first one ends.

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
    "MERGE": """MERGE INTO scratch.raced USING (SELECT 2L AS id) AS new
                ON raced.id = new.id WHEN MATCHED THEN UPDATE SET id = 20""",
    "OPTIMIZE": "OPTIMIZE scratch.raced",
}


# %%
def race(held, other):
    """Hold one statement before its commit, run another, and say how the first ends."""
    spark.range(0, 8, 1, 2).write.mode("overwrite").saveAsTable("scratch.raced")
    writer = paused.before_commit(lambda: spark.sql(RACED[held]))
    spark.sql(RACED[other])
    return conflict_of(writer.finish()) or "commits"


# %% costly="five pairs of transactions, and a table for each"
pairs = ["INSERT OPTIMIZE", "OPTIMIZE INSERT", "DELETE INSERT"]
pairs += ["MERGE OPTIMIZE", "OPTIMIZE DELETE"]
names = ["held before its commit", "commits first", "then the first"]
outcomes = [(*pair.split(), race(*pair.split())) for pair in pairs]
pd.DataFrame(outcomes, columns=names)

# %% [markdown]
# Read the table by what a statement depends on:
#
# - An `INSERT` reads nothing of the table, so it commits in each case. `OPTIMIZE` beside it commits too: it only moves
#   rows of old files.
# - `OPTIMIZE`, `DELETE`, `MERGE` and `UPDATE` read files and remove them. Of two that touch the same file, the second
#   loses.
# - The `DELETE` of row 1 loses even to an `INSERT` of row 100. The isolation level is `Serializable`, the only one that
#   the open Delta 4.4.0 accepts, and Delta compares what was read by partition, not by value.
#
# In a conflict nothing of the second statement counts, so it may simply run again. There are two traps when you catch
# it. PySpark knows Delta's conflicts only after `delta.exceptions` was imported; before that, each is a
# `Py4JJavaError`. And is one class enough for an `except`?

# %%
base = exceptions.DeltaConcurrentModificationException
[issubclass(error, base) for error in CONFLICTS]

# %% [markdown]
# It is not: in Delta's Python package none of them is a subclass of `DeltaConcurrentModificationException`, unlike in
# Java. `conflict_of` looks for the three classes, and for Java's exception and its causes.
#
# ### Avoid conflicts: partitions and predicates
#
# Two writers that work on separate partitions do not meet, if Delta can *see* that from their conditions. Two deletes
# on a table that is partitioned by day: first each condition names its day, then it does not.


# %%
DELETE = "DELETE FROM scratch.by_day WHERE"


def two_deletes(held, other):
    """Hold a delete on a partitioned table, run another, and say how the first ends."""
    rows = spark.range(8).selectExpr("id", "id % 2 AS day").repartition(1)
    rows.write.mode("overwrite").partitionBy("day").saveAsTable("scratch.by_day")
    writer = paused.before_commit(lambda: spark.sql(f"{DELETE} {held}"))
    spark.sql(f"{DELETE} {other}")
    return conflict_of(writer.finish())


# %%
days = ("day = 1 AND id = 1", "day = 0 AND id = 2")
two_deletes(*days), two_deletes("id = 1", "id = 2")

# %% [markdown]
# The first pair both commit (`None`). The second pair deletes the same two rows of the same two partitions, and it
# conflicts: without `day` in the condition, the delete has read all files. So put the partition into the condition,
# also where it seems superfluous.

# %% [markdown]
# ## Reading a plan: scans, joins and shuffles
#
# `EXPLAIN FORMATTED` shows what Spark will do. It has a tree, which is read **from the bottom up**, and details for
# each numbered node. This function returns the tree, or the details that begin with some words. It leaves out the
# numbers of columns and the sizes, which change from run to run.

# %%
import io
import re
from contextlib import redirect_stdout


def plan_of(frame, *words):
    """Return the tree of a plan, or the lines of its details with these words."""
    shown = io.StringIO()
    with redirect_stdout(shown):
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
# Parquet and Delta can skip with them. A filter that is missing here skips nothing.
#
# ### Adaptive query execution: the plan before and after
#
# `AdaptiveSparkPlan` means that **adaptive query execution** (AQE) may change the plan while it runs, because it then
# knows the real sizes. We forbid the broadcast, and compare the plan before and after the run.

# %%
spark.conf.set("spark.sql.autoBroadcastJoinThreshold", -1)
sorted_join = heavy.groupBy("kind").count()
before = plan_of(sorted_join, "Arguments: isFinalPlan")
_ = sorted_join.collect()
spark.conf.unset("spark.sql.autoBroadcastJoinThreshold")
print(before)
print(plan_of(sorted_join).partition("+- == Initial")[0])

# %% [markdown]
# Before: `isFinalPlan=false`. After it there is a `Final Plan`. `SortMergeJoin` shuffles and sorts both sides.
# `AQEShuffleRead` with `coalesced` means that small shuffle partitions were merged. A join that Spark plans as a
# sort-merge join can also become a broadcast join here, once one side turns out to be small.
#
# **The limit of a broadcast** is `spark.sql.autoBroadcastJoinThreshold`, 10 MB by default, compared with Spark's
# estimate of the size. A broadcast table is sent to each executor and has to fit in its memory, so raise the limit with
# care.
#
# ### Joins on a cast
#
# A join of columns with different types casts one of them. The details of the join show it:

# %%
as_text = stations.selectExpr("station_id", "CAST(right(station_id, 2) AS INT) AS no")
typed = scans.join(as_text, scans.weight_g.cast("string") == as_text.no)
print(plan_of(typed, "Left keys", "Right keys"))

# %% [markdown]
# Here we compare a string with a number, and Spark compares both as numbers. A key behind a cast cannot be pushed down
# or skipped by, so store keys of one meaning with one type.
#
# ### Python UDF, pandas UDF, built-in function


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
# Python. Its tree has `ColumnarToRow` in that place, which turns columns into rows. And a filter on a UDF is never
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
# `repartition(1)` adds a shuffle, and the work before it keeps its tasks. A **cache** pins the result of a plan in
# memory, and later plans with this part read it. Spark refreshes it when our session writes to the table. A write of
# another program it does not see:

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
# Our own insert was seen (6 rows). The row of `deltalake` was not, also by a new query of the table, until `REFRESH`
# (7).

# %% [markdown]
# ## The event log as a table: tasks, shuffles and spills
#
# A plan says what Spark does, and not how the work was divided. The **event log** does: a JSON line for each job, stage
# and task. The Spark UI is drawn from the same events. A cluster writes the log of a whole application
# (`spark.eventLog.enabled`, set before Spark starts). `event_log.recorded` of this course writes it for one block.
#
# A join of all scans with the stations, without broadcast. We use 8 shuffle partitions, and tell AQE not to merge small
# ones, so that the tasks stay comparable.

# %%
from medallion.spark import event_log

SETTINGS = {
    "spark.sql.autoBroadcastJoinThreshold": -1,
    "spark.sql.shuffle.partitions": 8,
    "spark.sql.adaptive.coalescePartitions.enabled": False,
}


def grams_by_city(scans, stations):
    """Return the weight of all scans of a city."""
    joined = scans.join(stations, "station_id")
    return joined.groupBy("city").agg(F.sum("weight_g").alias("grams"))


# %%
for name, value in SETTINGS.items():
    spark.conf.set(name, value)
with event_log.recorded(spark) as log:
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
limits = ("in.memory.threshold", "spill.threshold")
for limit in limits:
    spark.conf.set(f"spark.sql.windowExec.buffer.{limit}", 50_000)
with event_log.recorded(spark) as spilling:
    scans.selectExpr("sum(weight_g) OVER () AS grams").agg(F.max("grams")).collect()
for limit in limits:
    spark.conf.unset(f"spark.sql.windowExec.buffer.{limit}")
tasks_of(spilling).where("spilled > 0").select(
    "shuffled", F.expr("spilled > 0 AS spilled")
)

# %% [markdown]
# One task read all 193,855 rows and spilled. A spill is not an error, and it is a sign: of one partition that is too
# large, as here, or of too little memory for each task. More partitions come first, more memory second.

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
joined = scans.join(stations, "station_id").agg(F.sum("weight_g"))
for name, value in SKEW.items():
    spark.conf.set(name, value)
with event_log.recorded(spark) as split:
    _ = joined.collect()
for name in SKEW:
    spark.conf.unset(name)
lines = [line.strip(" :+-") for line in plan_of(joined).splitlines()]
print(*dict.fromkeys(line for line in lines if "skew" in line), sep="\n")


# %%
def largest_and_median(log):
    """Return the tasks, the largest and the median of the stage that shuffles most."""
    rows = tasks_of(log).where("shuffled IS NOT NULL").toPandas()
    reads = max((group for _, group in rows.groupby("stage")["shuffled"]), key=sum)
    return len(reads), int(reads.max()), int(reads.median())


# %%
largest_and_median(log), largest_and_median(split)

# %% [markdown]
# The plan says `skewed`, and the partition of the hub was read in parts: 12 tasks, the largest with 24,211 rows. AQE
# cuts between the outputs of the tasks before the shuffle, so it cannot cut finer than these. It works for inner joins
# and, on the side that may be split, for outer joins, and not for an aggregation.
#
# ### Salting by hand
#
# A **salt** is a second key that spreads a hot one. Each scan gets a salt, and each station gets a row for each salt.

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
with event_log.recorded(spark) as salted:
    even = even_join(scans, stations).groupBy("city").agg(F.sum("weight_g"))
    same = sorted(map(tuple, even.collect())) == sorted(map(tuple, plain))
for name in SETTINGS:
    spark.conf.unset(name)
same, largest_and_median(log), largest_and_median(salted)

# %% [markdown]
# The result is the same, and the largest task reads 29,670 rows in place of 94,906. The price: each station is shuffled
# 32 times. So salt where the other side is small, or salt only the hot keys. If one side fits in memory, a broadcast
# needs no shuffle at all and knows no skew.

# %% [markdown]
# ## A maintenance job that decides by metadata
#
# The job looks at each table, decides with `needs_care`, acts, and writes down what it did. Facts come from the log.
# Delta keeps a **version checksum** beside each commit, the `.crc` file with the number of files, their bytes and, with
# deletion vectors, the marked rows. `count(*)` is answered from statistics. `VACUUM … DRY RUN` says what would be
# deleted; we ask it only where a folder has more files than its table.

# %%


def unused_files(table, folder, used):
    """Return how many files VACUUM would delete; it is asked if there are more."""
    on_disk = len([*folder.glob("*.parquet")])
    return on_disk > used and spark.sql(f"VACUUM {table} DRY RUN").count()


# %%
def state_of(table):
    """Return the folder of a table, and what the checksum of its last commit says."""
    location = spark.sql(f"DESCRIBE DETAIL {table}").first().location
    folder = Path(location.removeprefix("file:"))
    checksum = max((folder / "_delta_log").glob("*.crc"))
    return folder, json.loads(checksum.read_text())


# %%
def facts_of(table):
    """Return what the metadata of a table says about its state."""
    folder, state = state_of(table)
    return {
        "files": state["numFiles"],
        "bytes": state["tableSizeBytes"],
        "rows": spark.table(table).count(),
        "deleted": state.get("numDeletedRecordsOpt"),
        "unused": int(unused_files(table, folder, state["numFiles"])),
    }


# %% [markdown]
# Four tables: the scans, the stations, one with rows marked as deleted, and one beside which a killed writer has left a
# file. `VACUUM` looks at the time of the file, so we set it back by 8 days.

# %%
few.write.option("delta.enableDeletionVectors", True).saveAsTable("scratch.with_vectors")
spark.sql("DELETE FROM scratch.with_vectors WHERE scan_id <= 400")

# %%
few.write.saveAsTable("scratch.littered")
folder = medallion.scratch() / "littered"
orphan = folder / "part-of-a-killed-writer.parquet"
orphan.write_bytes(next(folder.glob("*.parquet")).read_bytes())
week_ago = time.time() - 8 * 24 * 60 * 60
os.utime(orphan, (week_ago, week_ago))

# %% costly="a dry run of VACUUM lists folders"
TABLES = ["bronze.parcel_scans", "bronze.parcel_stations"]
TABLES += ["scratch.with_vectors", "scratch.littered"]
TARGET = 1_000_000
facts = {table: facts_of(table) for table in TABLES}
{table: needs_care(found, TARGET) for table, found in facts.items()}

# %% [markdown]
# That is the **dry run** of the job: "what would you do". Nothing has changed.
#
# Now the acting half. Each action puts a note into its commit, with `spark.databricks.delta.commitInfo.userMetadata`:
# the run, the action, the reason, and the number of files before. So the table's own history says what maintenance did,
# also when the job is killed before it can write elsewhere.

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
def settings_for(table, run, action, facts):
    """Return the settings of Delta for one action: its note, and the size of a file."""
    note = {"run": run, "table_name": table, "action": action}
    note["reason"] = REASONS[action].format(**facts)
    note["files_before"] = state_of(table)[1]["numFiles"]
    return {"commitInfo.userMetadata": json.dumps(note), "optimize.maxFileSize": TARGET}


# %%
def act_on(table, run, action, facts):
    """Do one action on a table, with a note in its commit."""
    settings = settings_for(table, run, action, facts)
    for name, value in settings.items():
        spark.conf.set(f"spark.databricks.delta.{name}", value)
    try:
        spark.sql(STATEMENTS[action].format(table))
    finally:
        for name in settings:
            spark.conf.unset(f"spark.databricks.delta.{name}")


# %% [markdown] tags=["exercise"]
# ### Exercise 10.6: maintain a table beside other writers
#
# This one is a stretch. Other writers do not wait for us. Write `maintain(look, decide, act, attempts)`. `look()`
# returns the facts of now, `decide(facts)` the list of actions, and `act(action)` does one, or raises. An attempt
# looks, decides and does the actions in their order. After an error that is a conflict (`conflict_of(error)` is not
# `None`) the table is another, so the next attempt begins with a new look. Make at most `attempts` attempts (1 or
# more), and let the conflict of the last one go on to the caller. An action that has succeeded is not done again in a
# later attempt. Any other error goes on at once. Return the list of the actions that were done, in their order.


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
# Now the job. It never says `RETAIN`: each table has its own retention, as a property. `record` reads the notes from
# the history, and a `MERGE` writes those that `ops.maintenance` does not have yet. So the job can run twice, or be
# killed between the two.


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
        ON old.table_name = new.table_name AND old.version = new.version
        WHEN NOT MATCHED THEN INSERT *
    """)


# %% [markdown]
# And the loop over the tables, with your `maintain`:


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


def run_maintenance(tables, run):
    """Maintain each table, and record what was done."""
    for table in tables:
        care_for(table, run)
    record(reduce(DataFrame.unionAll, map(notes_of, tables)))


# %% [markdown]
# The same answers before and after: `digest` is the number of rows, and a sum over all columns that no order changes.


# %%
def digest(table):
    """Return the number of rows of a table, and a digest that no order changes."""
    rows = spark.table(table)
    total = F.bit_xor(F.xxhash64(*rows.columns))
    return tuple(rows.agg(F.count("*"), total).first())


# %% costly="it maintains three tables"
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
# The scans were compacted from 182 files to 7, the marked rows purged, the left file deleted. The stations needed
# nothing, and their table has no new version. And the queries?

# %%
scans = spark.table("bronze.parcel_scans")
queries = {"all": scans, "one day": scans.where(day)}
{name: (*reads[name], files_read(query)) for name, query in queries.items()}

# %% [markdown]
# A query of all scans reads 7 files in place of 182. A query of one day read 1 small file before and reads 3 larger
# ones now: compaction by size does not keep the days apart. That is the work of clustering, above. Run the job again:

# %% costly="VACUUM lists three folders"
run_maintenance(TABLES, "2025-12-31")
spark.table("ops.maintenance").count()

# %% [markdown]
# Still 3 rows, because nothing was to do: the job is idempotent. An external scheduler runs it each night, chapter 12
# shows one.
#
# ### A maintenance run beside a running stream
#
# A stream follows a table while the job compacts it, and in the first attempt another writer deletes a row.

# %%
spark.range(0, 1000, 1, 12).write.saveAsTable("scratch.busy")
follow = spark.readStream.option("skipChangeCommits", True).table("scratch.busy")
follow = follow.writeStream.option("checkpointLocation", str(medallion.scratch() / "f"))
query = follow.toTable("scratch.copy")
query.processAllAvailable()

# %%
disturbances = [
    "DELETE FROM scratch.busy WHERE id = 7",
    "INSERT INTO scratch.busy SELECT id + 1000 FROM range(5)",
]
log_of_calls = []


def act_disturbed(action):
    """Compact, while another writer commits first."""
    writer = paused.before_commit(lambda: spark.sql("OPTIMIZE scratch.busy"))
    spark.sql(disturbances.pop(0))
    error = writer.finish()
    log_of_calls.append(conflict_of(error))
    if error:
        raise error


# %% costly="three transactions beside a stream"
done = maintain(
    look=lambda: facts_of("scratch.busy"),
    decide=lambda facts: needs_care(facts, TARGET),
    act=act_disturbed,
    attempts=3,
)
query.processAllAvailable()
query.stop()
copy = spark.table("scratch.copy")
log_of_calls, done, copy.count(), copy.distinct().count()

# %% [markdown]
# The first attempt lost to the `DELETE`, the second won beside the `INSERT`. The stream has 1,005 rows, each once: the
# compaction is a commit that changes no data, and the stream passes it over. (`skipChangeCommits` is for the `DELETE`.)
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
# - `VACUUM` deletes files and keeps the history. Its retention must be longer than the longest write and query, the
#   longest pause of a stream, and the age of clones and versions that somebody needs.
# - A write that is running has files that no version names. `VACUUM` with 0 hours deletes them, and the write still
#   commits.
# - Two writers that remove the same file conflict. The second has changed nothing: look again, decide again, try again,
#   a limited number of times.
# - A plan is read from the bottom up: columns and filters of the scan, `Exchange`, the kind of join. AQE changes it
#   while it runs.
# - The event log shows how rows are divided among tasks. A hot key is a largest task that is many times the median; a
#   salt spreads it.
# - A maintenance job decides by metadata, leaves its note in the commit, and can be run again.
#
# **On Databricks** predictive optimization runs `OPTIMIZE`, `VACUUM` and `ANALYZE` on managed tables of Unity Catalog
# ([documentation](https://docs.databricks.com/aws/en/optimizations/predictive-optimization)), so a job of your own is
# for other tables. With row-level concurrency (Databricks Runtime 14.2 and later, tables with deletion vectors and
# without partitions) two deletes of different rows of a file need not conflict
# ([documentation](https://docs.databricks.com/aws/en/optimizations/isolation/row-level-concurrency)).
