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
#       ops.maintenance: one action of maintenance on one table, or the decision that none is needed
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
        table_name STRING, version BIGINT, action STRING, reason STRING,
        files_before BIGINT, files_after BIGINT
    )
""")

# %% [markdown]
# ## A section to replace
#
# Here we make three orders, the total of one of which is below zero.

# %% tags=["setup"]
orders = spark.createDataFrame(
    [(1, 500), (2, -20), (3, 80)], "order_id INT, total_cents INT"
)

# %% [markdown]
# Before opening the next output, write down how many of them have a total above zero.

# %% tags=["predict"]
orders.where("total_cents > 0").count()

# %% [markdown]
# It is 2. The text after a cell says what its output tells us, and quotes a value from it.

# %% [markdown] tags=["exercise"]
# ### Exercise 10.1: what was paid
#
# Write `paid(orders)`, which returns the sum of the totals above zero, in cents. Where there is none, it is 0.


# %% tags=["solution"]
def paid(orders):
    """Return the sum of the totals above zero, in cents."""
    ### BEGIN SOLUTION
    above = orders.where("total_cents > 0")
    return above.selectExpr("coalesce(sum(total_cents), 0) AS cents").first().cents
    ### END SOLUTION


# %% tags=["check"]
check.paid(paid)

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
# - Each line of this list answers one of the objectives.
#
# **On Databricks** a session is there when the notebook opens, and `medallion.start()` returns that one. The rest of
# the chapter is the same.
