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
#       bronze.customers: [landing.customers]
#       bronze.products: [landing.products]
#       bronze.orders: [landing.orders]
#       bronze.web_events: [landing.web_events]
#       bronze.payments: [landing.payments]
#       bronze.chargebacks: [landing.chargebacks]
#       bronze.telemetry: [landing.lockers]
#       bronze.maintenance: [landing.lockers]
#       bronze.touchpoints: [landing.marketing]
#       bronze.campaign_spend: [landing.marketing]
#       bronze.cdnow: [landing.cdnow]
#     grain:
#       bronze.customers: one customer in one monthly snapshot, as it was sent
#       bronze.products: one product as the catalogue lists it
#       bronze.orders: one change event of an order
#       bronze.web_events: one line that the shop's pages sent, an event unless the line is broken
#       bronze.payments: one attempt to pay
#       bronze.chargebacks: one chargeback
#       bronze.telemetry: one reading of one locker
#       bronze.maintenance: one visit of a technician
#       bronze.touchpoints: one touch of a visitor with a marketing channel
#       bronze.campaign_spend: one day of one campaign
#       bronze.cdnow: one purchase
#     minutes: {read: 40, practise: 45}
#     summary: eight sources become eleven Bronze tables
#     outline: >-
#       Stated, inferred and hinted schemas. Broken lines, unknown fields, new columns and growing types.
#       CSV, JSON, Parquet, fixed width and an HTTP API. Several streams, each with its checkpoint, through
#       a crash and exactly once. The log of a Delta table, old versions, two writers.
#     objectives:
#     - state a schema, and say what an inferred one costs
#     - keep what does not fit, whether a broken line, an unknown field or a new column
#     - read CSV, JSON, Parquet, fixed-width text and an HTTP API
#     - land several sources as streams, exactly once, through a crash
#     - read the log of a Delta table, go back in time, and resolve a conflict of two writers
# ---

# %% [markdown]
# # Data ingestion and the Bronze layer
#
# Eight sources have sent us files for half a year. In this chapter we turn them into eleven Bronze tables.
# Bronze has one rule: **a row that was sent is there, as it was sent, once, and says where it came from.**
# Nothing is cleaned here. What is wrong in Bronze can be mended later; what is lost in Bronze is gone.
#
# ![Where we are in the flow: from the sources to the Bronze layer](../book/figures/flow-01.svg)

# %% tags=["setup"]
from pyspark.sql import functions as F

import medallion

check = medallion.checks("01")  # the file checks.py beside this lesson
spark = medallion.start("01")
landing = medallion.landing()

# %% [markdown]
# ## What has landed
#
# The files are in folders, one for each source. We look before we read.

# %%
for folder in sorted(landing.glob("[!_]*")):
    files = [path for path in folder.rglob("*") if path.is_file()]
    kinds = " ".join(sorted({path.suffix for path in files}))
    print(f"{folder.name:12} {len(files):4} files  {kinds}")

# %% [markdown]
# The web events alone are 364 small files, two for each day. `cdnow` is different from the others:
# one file of purchases that real people made at a music shop in 1997 and 1998. The other seven come from a
# generator that plays Kestrel Market, with the faults that real sources have.

# %% [markdown]
# ## A schema that is guessed, and one that is stated
#
# A CSV file carries no types. Spark can guess them: it reads the file once to infer a type for
# each column, and a second time to load it.

# %% tags=["setup"]
july = str(landing / "customers" / "customers_2025-07-01.csv")
inferred = spark.read.csv(july, header=True, inferSchema=True)

# %% [markdown]
# Beside it, the same file with the schema that we state, written in DDL as in `CREATE TABLE`.

# %%
CUSTOMERS = """
    customer_id STRING, first_name STRING, last_name STRING, email STRING, city STRING,
    postcode STRING, signup_date STRING, birth_year INT, marketing_consent BOOLEAN
"""

# %%
stated = spark.read.csv(july, header=True, schema=CUSTOMERS)
pairs = zip(inferred.dtypes, stated.dtypes, strict=True)
[(column, guess, said) for (column, guess), (_, said) in pairs if guess != said]

# %% [markdown]
# They differ in one column. The guess saw digits and took the postcode for a number. We look at
# two customers in Leipzig through both schemas.

# %%
guessed = inferred.select("customer_id", F.col("postcode").alias("guessed"))
said = stated.where("city = 'Leipzig'").select(
    "customer_id", F.col("postcode").alias("stated")
)
said.join(guessed, "customer_id").orderBy("customer_id").limit(2)

# %% [markdown]
# `04586` became 4586: the zero is lost, and no parcel arrives. Nothing failed and nothing warned. And the
# guess depends on the file: one customer with a postcode such as `EC1A` would have made the column a text.

# %% [markdown]
# ## A guess that is kept
#
# A wide source has hundreds of columns, and nobody types them all. So we let Spark guess **once**, keep
# the guess in a file that we can read and review, and correct it with **hints** for the columns we know better.

# %%
schema_file = medallion.scratch() / "customers.schema.json"
schema_file.write_text(inferred.schema.json())
schema_file.read_text()[:120]

# %%
from pyspark.sql.types import StructType


def with_hints(schema, hints):
    """Return the schema with the types of the columns that the hints (DDL) name."""
    better = StructType.fromDDL(hints)
    return StructType(
        [
            better[field.name] if field.name in better.names else field
            for field in schema
        ]
    )


# %% [markdown]
# Tomorrow's load reads the file instead of guessing again, so a strange file cannot change the
# types of a table. Here `birth_year` gets a hint, because a smaller type would do.

# %%
import json

kept = StructType.fromJson(json.loads(schema_file.read_text()))
with_hints(kept, "birth_year SMALLINT")["birth_year"].dataType

# %% [markdown] tags=["exercise"]
# ### Exercise 1.1: a hint
#
# Write the hints, as one text in DDL, that keep the zero of the postcodes and leave every other column as
# it was inferred.

# %% tags=["solution"]
### BEGIN SOLUTION
hints = "postcode STRING"
### END SOLUTION

# %% tags=["check"]
check.schema_hints(hints, inferred.schema, july)

# %% [markdown]
# ## A file in another alphabet
#
# We read all six snapshots with the stated schema, count the rows of each file, and look for the character that
# Spark puts where the bytes are not UTF-8.

# %%
snapshots = spark.read.csv(str(landing / "customers"), header=True, schema=CUSTOMERS)
unreadable = F.concat("first_name", "last_name", "city").contains(
    "\N{REPLACEMENT CHARACTER}"
)
snapshots.groupBy(F.col("_metadata.file_name").alias("file")).agg(
    F.count("*").alias("rows"), F.count_if(unreadable).alias("unreadable")
).orderBy("file")

# %% [markdown]
# One file of the six is wrong, and it is wrong in 3,531 rows. `_metadata` is a hidden column that every
# file source has; it told us which file. That export was written in Latin-1, so we read it as such.

# %%
september = str(landing / "customers" / "customers_2025-09-01.csv")
latin = spark.read.csv(september, header=True, schema=CUSTOMERS, encoding="ISO-8859-1")
latin.where(unreadable).count()

# %% [markdown]
# The first Bronze table is all six files, each read in its own alphabet, with two columns of our own: the
# file a row came from, and when that file arrived. Writing with `overwrite` makes the load safe to repeat.
#
# When it arrived is here the file's modification time, which a plain copy loses. In production it comes from a
# manifest, as ours has it too, or from the name of the object.


# %%
def from_file(frame):
    """Add the file that each row came from and the moment it arrived."""
    return frame.select(
        "*",
        F.substring_index("_metadata.file_path", "/landing/", -1).alias("_source_file"),
        F.col("_metadata.file_modification_time").alias("_arrived_at"),
    )


# %%
others = spark.read.csv(
    str(landing / "customers"),
    header=True,
    schema=CUSTOMERS,
    pathGlobFilter="*-{07,08,10,11,12}-01.csv",
)
customers = from_file(others).unionByName(from_file(latin))
customers.write.mode("overwrite").saveAsTable("bronze.customers")

# %% [markdown]
# ## Lines that do not fit
#
# Web events are JSON, one event to a line. We state their schema and read one week, twice: once in the mode
# that drops what it cannot parse, once in the mode that keeps it.

# %%
WEB_EVENTS = """
    event_id STRING, event_time TIMESTAMP, received_at TIMESTAMP, session_id STRING,
    customer_id STRING, device_id STRING, type STRING, product_id STRING, url STRING,
    order_id STRING
"""

# %%
first_week = str(landing / "web_events" / "2025-07-0[1-7]")
dropped = spark.read.json(first_week, schema=WEB_EVENTS, mode="DROPMALFORMED")
lines = spark.read.text(first_week)
lines.count(), len(dropped.collect())

# %% [markdown]
# Four lines are missing, and nothing said so. A line that was cut off while it was written is no JSON, but it
# may hold the only trace of an order. The mode `PERMISSIVE` keeps it whole, in a column that we
# name `_corrupt_record`.


# %%
def parsed(schema):
    """Return a line of JSON, `value`, as a struct; broken, it is in _corrupt_record."""
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": "_corrupt_record"}
    return F.from_json("value", f"{schema}, _corrupt_record STRING", options)


# %%
events = lines.select(parsed(WEB_EVENTS).alias("event"), "value").select(
    "event.*", "value"
)
events.where("_corrupt_record IS NOT NULL").select(
    "event_id", F.right("_corrupt_record", F.lit(50)).alias("ends with")
).orderBy("ends with")

# %% [markdown]
# All four end in the middle. Their other columns are NULL, because a line that cannot be parsed has none.
#
# There is a quieter loss. A line may parse and hold a field that our schema does not know. We ask
# one such line what it holds, and what we kept of it.

# %%
stranger = events.where("value LIKE '%\"geo\"%'").orderBy("event_id").limit(1)
stranger.select(
    F.right("value", F.lit(44)).alias("the line ends with"), "_corrupt_record"
)

# %% [markdown]
# The line is not corrupt, so `_corrupt_record` is NULL, and the country is gone. What we want beside it
# is a **rescued** column: the fields that the schema does not name, and nothing else.

# %% [markdown] tags=["exercise"]
# ### Exercise 1.2: rescue what is unknown
#
# Write `rescued(line, known)`. It takes a column of JSON text and a list of the field names that are known, and
# returns a column of the type `MAP<STRING, STRING>`: the fields that are not known, with their values as
# text, and NULL where there are none.


# %% tags=["solution"]
def rescued(line, known):
    """Return the fields of a JSON line that are not `known` as a map, or NULL."""
    ### BEGIN SOLUTION
    fields = F.from_json(line, "MAP<STRING, STRING>")
    unknown = F.map_filter(fields, lambda name, value: ~name.isin(known))
    return F.when(F.size(unknown) > 0, unknown)
    ### END SOLUTION


# %% tags=["check"]
check.rescue(rescued)

# %% [markdown]
# The rest of the chapter uses this version of it. Nearly every line holds only what is known, so it asks for the
# names first, and reads the values of a line only when a name is new.


# %%
def unknown_fields(line, known):
    """Return the fields of a JSON line that are not `known` as a map, or NULL."""
    names = F.json_object_keys(line)
    strange = F.size(F.array_except(names, F.lit(known))) > 0
    fields = F.from_json(line, "MAP<STRING, STRING>")
    return F.when(strange, F.map_filter(fields, lambda name, value: ~name.isin(known)))


# %% [markdown]
# Now each kind of trouble has a place of its own:

# %%
known = StructType.fromDDL(WEB_EVENTS).names
both = lines.select(
    parsed(WEB_EVENTS).alias("event"), unknown_fields("value", known).alias("_rescued")
)
both.select(
    F.count("*").alias("lines"),
    F.count("event._corrupt_record").alias("corrupt"),
    F.count("_rescued").alias("rescued"),
)

# %% [markdown]
# Of 3,221 lines 4 are corrupt and 79 hold something unknown. Both are kept, and none is counted twice.
#
# Where a source changes every week, one column of the type `VARIANT` can take the whole line instead. It is
# parsed once and asked by path; what nobody asked for stays in it.

# %%
variant = lines.select(F.try_parse_json("value").alias("event"))
country = F.try_variant_get("event", "$.geo.country", "STRING")
variant.groupBy(country.alias("country")).count().orderBy("country")

# %% [markdown]
# ## When a column appears
#
# In week 40 the shop begins to offer delivery slots. From then on the orders hold a field that was never there.
# We take the week before and that week, and only the part of an order that says what it is *after* the change.

# %%
ORDER = """
    order_id STRING, customer_id STRING, channel STRING, status STRING, total_cents INT,
    ordered_at TIMESTAMP, locker_id STRING, lines STRING
"""


def orders_in(lines, schema):
    """Return the orders in lines of JSON, with what the schema does not name."""
    after = F.get_json_object("value", "$.after")
    order = F.from_json(after, schema).alias("order")
    unknown = unknown_fields(after, StructType.fromDDL(schema).names).alias("_rescued")
    return (
        lines.select(order, unknown)
        .where("order IS NOT NULL")
        .select("order.*", "_rescued")
    )


# %%
def lines_of(week):
    """Return the lines of the orders that arrived in a week of 2025."""
    return spark.read.text(str(landing / "orders" / f"orders_2025-W{week}.jsonl"))


before = orders_in(lines_of(39), ORDER).drop("_rescued")
after = orders_in(lines_of(40), f"{ORDER}, delivery_slot STRING").drop("_rescued")
slots = after.where("delivery_slot IS NOT NULL").select(
    "order_id", "status", "delivery_slot"
)
slots.orderBy("order_id", "status").limit(2)

# %% [markdown]
# There are four things that a pipeline can do, and each is right somewhere. **Fail:** a Delta table refuses a
# column that it does not have.

# %%
before.write.mode("overwrite").saveAsTable("scratch.strict")
try:
    after.write.mode("append").saveAsTable("scratch.strict")
except Exception as error:
    refused = medallion.reason(error)
refused

# %% [markdown]
# **Ignore:** we read with the old schema, so the field never gets in. **Rescue:** it gets in as a key of the map.
# **Add:** `mergeSchema` lets the write add the column to the table, and old rows have NULL in it. We count what
# each has kept.


# %%
def slots_kept(mode, table):
    """Return the mode, the rows of a table, and how many still hold a slot."""
    slot = F.to_json(F.struct("*")).contains("delivery_slot")
    kept = F.count_if(slot).alias("slots_kept")
    return table.select(F.lit(mode).alias("mode"), F.count("*").alias("rows"), kept)


both_weeks = orders_in(lines_of(39).union(lines_of(40)), ORDER)
failed = slots_kept("fail", spark.table("scratch.strict"))
ignored = slots_kept("ignore", both_weeks.drop("_rescued"))
failed.union(ignored).union(slots_kept("rescue", both_weeks))

# %%
after.write.mode("append").option("mergeSchema", True).saveAsTable("scratch.strict")
slots_kept("add", spark.table("scratch.strict"))

# %% [markdown]
# `fail` kept the table as it was and lost no field, because it took nothing. `ignore` took all rows and lost
# 2,929 slots in silence. `rescue` and `add` lost nothing; they differ in who has to act next.

# %% [markdown]
# ## Fail, then go on by itself
#
# There is a fifth way, between `fail` and `add`: stop when a column appears, write the new schema down, and
# let the next start go on with it. Nothing is lost, because a stream starts again where it stopped, and
# somebody hears about the change. (On Databricks, Auto Loader does this by itself.)
#
# A **stream** here is a query that remembers which files it has read. For each batch of new files it calls
# our function.

# %%
stored = medallion.scratch() / "orders.schema.ddl"
stored.write_text(ORDER)


def land_or_stop(batch, number):
    """Append a batch, or store the schema with its unknown fields and stop."""
    found = batch.select(F.explode(F.map_keys("_rescued"))).distinct().collect()
    if found:
        names = sorted(name for (name,) in found)
        added = "".join(f", {name} STRING" for name in names)
        stored.write_text(stored.read_text() + added)
        raise ValueError(f"new fields {names}, now in the stored schema: start again")
    rows = batch.drop("_rescued").write.mode("append").option("mergeSchema", True)
    rows.saveAsTable("scratch.stopping")


# %%
def start_stopping():
    """Start the stream of weeks 39 and 40 with the schema that is stored now."""
    files = spark.readStream.option("maxFilesPerTrigger", 1)
    files = files.option("pathGlobFilter", "*-W{39,40}.jsonl")
    rows = orders_in(files.text(str(landing / "orders")), stored.read_text())
    writer = rows.writeStream.option(
        "checkpointLocation", str(medallion.scratch() / "stopping-checkpoint")
    )
    return writer.trigger(availableNow=True).foreachBatch(land_or_stop).start()


# %%
query = start_stopping()
try:
    query.awaitTermination()
except Exception as error:
    stopped = medallion.reason(error)
stopped, spark.table("scratch.stopping").count()

# %% [markdown]
# The 3,141 rows of week 39 are in, and week 40 stopped the stream before a row of it was written. The schema
# file has the new field now, so we start again.

# %%
start_stopping().awaitTermination()
spark.table("scratch.stopping").select(
    F.count("*").alias("rows"), F.count("delivery_slot").alias("slots")
)

# %% [markdown]
# ## When a type grows
#
# In the same week 40 the shop moves to another database, and the number that orders its changes jumps from
# about one million to three thousand million: more than an `INT` can hold.


# %%
def changes_of(week, kind):
    """Return id and sequence (as `kind`) of the changes that arrived in a week."""
    file = str(landing / "orders" / f"orders_2025-W{week}.jsonl")
    return spark.read.json(file, schema=f"event_id STRING, sequence {kind}")


changes_of(39, "INT").write.mode("overwrite").saveAsTable("scratch.changes")
changes_of(40, "INT").select(
    F.count("*").alias("changes"), F.count("sequence").alias("sequence")
)

# %% [markdown]
# Reading them as `INT` gives NULL: of 3,371 changes only 42 keep their number. Reading them as `BIGINT` is
# right, and then the table refuses them.

# %%
try:
    changes_of(40, "BIGINT").write.mode("append").saveAsTable("scratch.changes")
except Exception as error:
    refused = medallion.reason(error)
refused

# %% [markdown]
# **Type widening** changes the type in the log and leaves the old files as they are. Delta allows only changes in
# which no value can be lost, such as `INT` to `BIGINT`.

# %%
spark.sql(
    "ALTER TABLE scratch.changes "
    "SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')"
)
changes_of(40, "BIGINT").write.mode("append").option("mergeSchema", True).saveAsTable(
    "scratch.changes"
)
spark.table("scratch.changes").select(
    F.typeof("sequence").alias("type"), "sequence"
).agg(
    F.first("type").alias("type"),
    F.min("sequence").alias("smallest"),
    F.max("sequence").alias("largest"),
)

# %% [markdown] tags=["exercise"]
# ### Exercise 1.3: append what has changed
#
# Write `append_evolving(frame, table)`. It appends a DataFrame to a Delta table that exists: a new column is
# added, an `INT` that has become a `BIGINT` is widened, and the rows that are there stay as they are. What cannot be
# widened, such as a text in the place of a number, must still be refused.


# %% tags=["solution"]
def append_evolving(frame, table):
    """Append `frame` to `table`; add new columns, widen types that have grown."""
    ### BEGIN SOLUTION
    spark.sql(
        f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')"
    )
    frame.write.mode("append").option("mergeSchema", True).saveAsTable(table)
    ### END SOLUTION


# %% tags=["check"]
check.append_evolving(append_evolving)

# %% [markdown]
# ## Other forms: nested JSON, Parquet, fixed width
#
# The catalogue of products is **one** JSON document over many lines: sellers, and in each its products. We
# state its schema, and open it level by level until a row is one product.

# %%
CATALOGUE = """
    sellers ARRAY<STRUCT<seller_id: STRING, name: STRING, city: STRING, rating: DOUBLE,
        products: ARRAY<STRUCT<product_id: STRING, name: STRING, category: STRING,
            price: STRING, tags: ARRAY<STRING>,
            attributes: STRUCT<weight_g: INT, organic: BOOLEAN, chilled: BOOLEAN>>>>>
"""

# %%
document = spark.read.json(str(landing / "products"), schema=CATALOGUE, multiLine=True)
catalogue = from_file(document)
sellers = catalogue.select(
    F.explode("sellers").alias("seller"), "_source_file", "_arrived_at"
)
products = sellers.select(
    "seller.seller_id",
    F.struct("seller.name", "seller.city", "seller.rating").alias("seller"),
    F.explode("seller.products").alias("product"),
    "_source_file",
    "_arrived_at",
)
products = products.select("product.*", "*").drop("product")
products.write.mode("overwrite").saveAsTable("bronze.products")

# %%
quoted = F.col("price").rlike('"amount": *"')
one_line = F.regexp_replace("price", r"\s+", " ").alias("price")
products.where(quoted).select("product_id", "name", one_line).orderBy(
    "product_id"
).limit(3)

# %% [markdown]
# The price is an object, and our schema calls it a text. So Spark hands us its JSON, and we see that these sellers
# sent the amount between quotation marks. A schema with `amount: STRING` would have made the number `5.29` and the text
# `"5.29"` the same. Bronze keeps what they wrote. What that is in cents is a question for Silver.
#
# The lockers send CSV, and the newer ones send Parquet. Parquet carries its types, so we need to state a schema
# only for the CSV, and take it from the Parquet.

# %%
telemetry = str(landing / "lockers" / "telemetry")
newer = spark.read.parquet(
    telemetry, recursiveFileLookup=True, pathGlobFilter="*.parquet"
)
older = spark.read.csv(
    telemetry,
    schema=newer.schema,
    header=True,
    recursiveFileLookup=True,
    pathGlobFilter="*.csv",
)
from_file(older).unionByName(from_file(newer)).write.mode("overwrite").saveAsTable(
    "bronze.telemetry"
)

# %%
maintenance = spark.read.csv(
    str(landing / "lockers" / "maintenance"),
    header=True,
    schema="maintenance_id STRING, locker_id STRING, at TIMESTAMP, "
    "kind STRING, part STRING, note STRING",
)
from_file(maintenance).write.mode("overwrite").saveAsTable("bronze.maintenance")

# %% [markdown]
# The oldest form of all has neither types nor separators: each field has its place in the line. This is
# CDNOW, the purchases of 1997.

# %% tags=["setup"]
cdnow = spark.read.text(str(landing / "cdnow" / "CDNOW_master.txt"))

# %%
cdnow.limit(3)

# %% [markdown]
# | field | first character | characters |
# |---|---|---|
# | customer | 2 | 5 |
# | day, as `19970101` | 8 | 8 |
# | number of CDs | 17 | 2 |
# | US dollars | 20 | 7 |

# %% [markdown] tags=["exercise"]
# ### Exercise 1.4: fixed width
#
# Make a DataFrame `purchases` of `cdnow`, the lines of the file as one column `value`: one row for each purchase, with
# the columns `customer_id` (text of five digits), `purchased_on` (a date), `quantity` (a whole number) and `amount_cents`
# (a whole number). The table above says where each field is, counted from 1, and the first line of the file is a
# heading. Mind the cents: each purchase must have exactly those that the line says.

# %% tags=["solution"]
### BEGIN SOLUTION
purchases = cdnow.where("value NOT LIKE '%customer_id%'").select(
    F.substring("value", 2, 5).alias("customer_id"),
    F.to_date(F.substring("value", 8, 8), "yyyyMMdd").alias("purchased_on"),
    F.trim(F.substring("value", 17, 2)).cast("int").alias("quantity"),
    (F.trim(F.substring("value", 20, 7)).cast("decimal(9, 2)") * 100)
    .cast("int")
    .alias("amount_cents"),
)
### END SOLUTION

# %% tags=["check"]
check.fixed_width(purchases)

# %% [markdown]
# For the table we keep the line itself beside its fields, so that a mistake in the places can be mended later.


# %%
def field(first, length):
    """Return the field that begins at character `first` of a line, from 1."""
    return F.trim(F.substring("value", first, length))


# %%
cdnow_rows = (
    from_file(cdnow)
    .where("value NOT LIKE '%customer_id%'")
    .select(
        field(2, 5).alias("customer_id"),
        F.to_date(field(8, 8), "yyyyMMdd").alias("purchased_on"),
        field(17, 2).cast("int").alias("quantity"),
        field(20, 7).cast("decimal(9, 2)").alias("amount_usd"),
        F.col("value").alias("_line"),
        "_source_file",
        "_arrived_at",
    )
)
cdnow_rows.write.mode("overwrite").saveAsTable("bronze.cdnow")

# %% [markdown]
# Two columns of this table fit into memory. So we take them to pandas once, for the counts and for the chart. Of a
# large table, Spark counts, and only the counts come to pandas.

# %%
import pandas as pd

bought = spark.table("bronze.cdnow").select("customer_id", "purchased_on").toPandas()
day = pd.to_datetime(bought["purchased_on"])
len(bought), bought["customer_id"].nunique(), f"{day.min():%F}", f"{day.max():%F}"

# %% [markdown]
# 69,659 purchases by 23,570 customers: the counts that the literature gives for this data set, so we read it
# right. All of them bought for the first time in the first quarter of 1997, and the chart shows what became of it.

# %%
import plotly.express as px

from medallion.lesson import charts

weeks = day.dt.to_period("W").dt.start_time.rename("week")
weekly = weeks.value_counts(sort=False).sort_index().reset_index(name="purchases")
figure = px.bar(
    weekly, x="week", y="purchases", title="CDNOW: purchases a week, 1997 and 1998"
)
charts.show(
    figure,
    alt="Bar chart of CDNOW purchases by week. They are highest in the first quarter "
    "of 1997, when every customer buys for the first time, fall steeply in April, "
    "and stay low until mid-1998.",
)

# %% [markdown]
# ## Streams: read each file once
#
# A load with `overwrite` reads everything again each time. The orders grow by a file a week, so we want a load that
# takes only what is new. That is a stream with the trigger `availableNow`: it takes all files that it has not
# seen, in **micro-batches**, one group of files after the other, and stops. Three settings matter:
#
# - the **checkpoint**, a folder where the stream notes what it has read, one for each stream and never shared;
# - `maxFilesPerTrigger`, how many files make a micro-batch;
# - the format, which our session sets to Delta. The first failure lab shows what happens elsewhere.


# %%
def json_lines(source, schema, files):
    """Return the stream of a source: its columns, what did not fit, and its file."""
    reader = spark.readStream.option("maxFilesPerTrigger", files)
    lines = reader.option("recursiveFileLookup", True).text(str(landing / source))
    row = parsed(schema).alias("row")
    rescued = unknown_fields("value", StructType.fromDDL(schema).names)
    whence = ["_source_file", "_arrived_at"]
    rows = from_file(lines).select(row, rescued.alias("_rescued"), *whence)
    return rows.select("row.*", "_rescued", *whence)


# %%
checkpoints = landing.parent / "checkpoints" / "01"


def land(rows, table):
    """Start a stream that appends to a Bronze table what is new, and stops."""
    writer = rows.writeStream.queryName(table).option(
        "checkpointLocation", str(checkpoints / table)
    )
    return writer.trigger(availableNow=True).toTable(f"bronze.{table}")


# %% [markdown]
# The schema of the orders now has the delivery slot and a sequence that is large enough.

# %%
ORDERS = """
    event_id STRING, sequence BIGINT, op STRING, committed_at TIMESTAMP,
    before STRUCT<order_id: STRING, status: STRING, total_cents: INT>,
    after STRUCT<order_id: STRING, customer_id: STRING, channel: STRING, status: STRING,
        total_cents: INT, ordered_at: TIMESTAMP, locker_id: STRING,
        lines: ARRAY<STRUCT<line_no: INT, product_id: STRING, quantity: INT,
            unit_price_cents: INT>>,
        delivery_slot: STRING>
"""

# %% [markdown]
# There are 27 files of orders, and we allow 14 to a micro-batch. Each micro-batch becomes one commit of the table. Before
# opening the next output, write down how many commits the history will show.

# %% tags=["predict"]
land(json_lines("orders", ORDERS, files=14), "orders").awaitTermination()
history = spark.sql("DESCRIBE HISTORY bronze.orders").select(
    "version", "operation", F.col("operationMetrics.numOutputRows").alias("rows")
)
history.orderBy("version")

# %% [markdown]
# The history shows 3 commits. 27 files make one full micro-batch of 14 files and one of 13, so 2 commits are called
# `STREAMING UPDATE`. The third, version 0, made the empty table. If you said 2, you left that one out.
#
# Streams do not wait for each other. We start four more at once, each with a checkpoint of its own.

# %% tags=["setup"]
CHARGEBACKS = """
    chargeback_id STRING, payment_id STRING, reason STRING, filed_at TIMESTAMP,
    amount_cents INT
"""

# %%
PAYMENTS = """
    payment_id STRING, order_id STRING, customer_id STRING, card_id STRING,
    device_id STRING, method STRING, amount_cents INT, currency STRING, status STRING,
    paid_at TIMESTAMP, city STRING, lat DOUBLE, lon DOUBLE
"""
TOUCHPOINTS = """
    touch_id STRING, visitor_id STRING, customer_id STRING, touched_at TIMESTAMP,
    channel STRING, utm_source STRING, utm_medium STRING, campaign_id STRING,
    user_agent STRING, converted INT
"""

# %% costly="four streams start at once and land most of the chapter"
touches = landing / "marketing" / "touchpoints"
recent = spark.readStream.csv(
    str(touches), schema=TOUCHPOINTS, header=True, pathGlobFilter="*-1[0-2].csv"
)
running = [
    land(json_lines("payments", PAYMENTS, files=27), "payments"),
    land(json_lines("chargebacks", CHARGEBACKS, files=6), "chargebacks"),
    land(json_lines("web_events", WEB_EVENTS, files=200), "web_events"),
    land(from_file(recent), "touchpoints"),
]
for query in running:
    query.awaitTermination()

# %%
spark.createDataFrame(
    [
        (
            query.name,
            len(query.recentProgress),
            sum(batch["numInputRows"] for batch in query.recentProgress),
        )
        for query in running
    ],
    "stream STRING, batches INT, rows LONG",
).orderBy("stream")

# %% [markdown]
# The stream of touchpoints took only the files from October on. The months before that were there long before the
# stream, and we load them in one batch into the same table. A Delta table does not mind who writes to it.


# %%
def backfill():
    """Load the months before the stream, those whose files are not there yet."""
    loaded = spark.table("bronze.touchpoints").select("_source_file").distinct()
    there = {row._source_file.split("/")[-1] for row in loaded.collect()}
    earlier = {path.name for path in touches.glob("*-0[7-9].csv")}
    new = sorted(earlier - there)
    if new:
        files = [str(touches / name) for name in new]
        rows = from_file(spark.read.csv(files, schema=TOUCHPOINTS, header=True))
        rows.write.mode("append").saveAsTable("bronze.touchpoints")
    return new


backfill()

# %% [markdown]
# The function skips files that are in the table already, so a second call finds nothing to load:

# %%
backfill()

# %% [markdown]
# The history says who wrote what:

# %%
spark.sql("DESCRIBE HISTORY bronze.touchpoints").select(
    "version", "operation", F.col("operationMetrics.numOutputRows").alias("rows")
).orderBy("version")

# %% [markdown] tags=["exercise"]
# ### Exercise 1.5: a stream of your own
#
# Write `land_files(source, table_folder, checkpoint)`. It starts a stream that reads the JSON lines in the folder
# `source`, with the schema `CHARGEBACKS`, appends them as Delta to the folder `table_folder`, takes all that is new,
# and stops by itself. It returns the query without waiting for it. Called again, it must add only the
# files that have come since.


# %% tags=["solution"]
def land_files(source, table_folder, checkpoint):
    """Start the stream from `source` to the table in `table_folder`; return it."""
    ### BEGIN SOLUTION
    rows = spark.readStream.schema(CHARGEBACKS).json(str(source))
    writer = rows.writeStream.format("delta").option(
        "checkpointLocation", str(checkpoint)
    )
    return writer.trigger(availableNow=True).start(str(table_folder))
    ### END SOLUTION


# %% tags=["check"]
check.land_files(land_files)

# %% [markdown]
# ## Exactly once
#
# We run the stream of orders again. There is no new file, so it reads no row, and makes no commit.

# %%
again = land(json_lines("orders", ORDERS, files=14), "orders")
again.awaitTermination()
rows_read = sum(batch["numInputRows"] for batch in again.recentProgress)
rows_read, spark.sql("DESCRIBE HISTORY bronze.orders").first().version

# %% [markdown]
# The newest version is still 2. A batch that appends does not know what it has read. Run twice, it doubles its rows:

# %%
filed = spark.read.text(str(landing / "chargebacks"))
for _ in range(2):
    filed.write.mode("append").saveAsTable("scratch.appended")
filed.count(), spark.table("scratch.appended").count()

# %% [markdown]
# Now a crash. A second process lands the payments, 14 files to a micro-batch. When its first commit is there and
# it goes on, we kill it as a power cut would: `SIGKILL`, Python and Java together. (This takes a while, since
# the process starts a Spark of its own.)


# %%
def land_payments(spark, source, target):
    """Land the lines of the payments in the folder `target`, 14 files at a time."""
    lines = spark.readStream.option("maxFilesPerTrigger", 14).text(source)
    writer = lines.writeStream.format("delta").option(
        "checkpointLocation", f"{target}-checkpoint"
    )
    writer.trigger(availableNow=True).start(target).awaitTermination()


source, target = str(landing / "payments"), str(medallion.scratch() / "killed")

# %%
import inspect

program = f"import medallion\n{inspect.getsource(land_payments)}"
program += f"land_payments(medallion.start(), {source!r}, {target!r})"

# %%
import os
import signal
import subprocess
import sys
import time

quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
child = subprocess.Popen([sys.executable, "-c", program], process_group=0, **quiet)
while not list((medallion.scratch() / "killed" / "_delta_log").glob("*.json")):
    assert child.poll() is None, "the process ended before we could kill it"
    time.sleep(0.05)
os.killpg(child.pid, signal.SIGKILL)
child.wait() == -signal.SIGKILL

# %% [markdown]
# It was killed in the middle: some rows are there, and not all. We count them with `deltalake`, a library written in
# Rust that reads Delta tables without Spark. Its `count` adds up the numbers of rows that the log notes for each file, and
# reads no row. That is exact here, because Spark noted the number for each file. Then we start the same stream here.

# %%
from deltalake import DeltaTable

sent = spark.read.text(source).count()
survived = DeltaTable(target).count()
land_payments(spark, source, target)
0 < survived < sent, sent, DeltaTable(target).count()

# %% [markdown]
# Not one row is missing and none is double. Two notes made that possible. The checkpoint wrote down which files a
# micro-batch consists of *before* a row was written; and the commit in the Delta table carries the number of the
# micro-batch, so that one that is written a second time is recognised.
#
# The worst moment for a crash is between the two: the rows are committed, and the checkpoint does not know
# it yet. We build that moment by hand, by taking away the checkpoint's last note, and start again.

# %%
notes = medallion.scratch() / "killed-checkpoint" / "commits"
last = max(
    (path for path in notes.iterdir() if path.name.isdigit()),
    key=lambda path: int(path.name),
)
for note in notes.glob(f"*{last.name}*"):
    note.unlink()
land_payments(spark, source, target)
last.exists(), spark.read.format("delta").load(target).count()

# %% [markdown]
# The stream did micro-batch 1 again (they are numbered from 0), as the note that is back shows, and the table took
# none of it.
#
# That is the one part of a checkpoint that may be missing. Without another one Spark mostly refuses to go on, but
# some losses it does not see, and then new rows are left out or old ones come twice. So remove a checkpoint whole, and
# its table with it. A stream also knows a file by its path alone: one that is written over is not read again, and a new
# one that is a week older than the newest is passed over (`maxFileAge`). What has changed has to come as a new file.

# %% [markdown]
# ## An API, page by page
#
# What the campaigns cost comes from the advertising network, over HTTP. Spark has no reader for it, but since
# version 4 we can write one in Python. A server on this machine plays the network: it gives out the rows of the file
# that it sent us, a page at a time, to whoever has the key.
#
# A reader for streams answers four questions: where does it begin, how far could it go now, which parts lie
# between, and what is in a part. Here a part is a page.

# %%
import json
from urllib.request import Request, urlopen

from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition


class PageReader(DataSourceStreamReader):
    def __init__(self, options):
        self.url, self.key = options["url"], options["key"]

    def page(self, number):
        request = Request(
            f"{self.url}?page={number}", headers={"Authorization": f"Bearer {self.key}"}
        )
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)


# %%
class SpendReader(PageReader):
    def initialOffset(self):
        return {"page": 0}

    def latestOffset(self, start, limit):
        return {"page": self.page(1)["pages"]}

    def partitions(self, start, end):
        return [
            InputPartition(number)
            for number in range(start["page"] + 1, end["page"] + 1)
        ]

    def read(self, partition):
        yield from (tuple(row.values()) for row in self.page(partition.value)["rows"])


# %%
class SpendApi(DataSource):
    @classmethod
    def name(cls):
        return "spend_api"

    def schema(self):
        names = "day campaign_id channel spend_cents impressions clicks"
        return ", ".join(f"{name} STRING" for name in names.split())

    def streamReader(self, schema):
        return SpendReader(self.options)


spark.dataSource.register(SpendApi)

# %% [markdown]
# The offset, the number of the last page read, goes into the checkpoint. So the second start asks the API how far it
# could go, finds nothing new, and reads no page. (This holds for an API whose pages never change once they are
# out. Where the last page still grows, the offset has to be something that does not, such as a row's id.)

# %%
from medallion.servers import api

with api.serve(landing / "marketing" / "campaign_spend" / "campaign_spend.csv") as (
    url,
    key,
):
    pages = spark.readStream.format("spend_api").options(url=url, key=key).load()
    rows_read = []
    for _ in range(2):
        query = land(pages, "campaign_spend")
        query.awaitTermination()
        rows_read.append(sum(run["numInputRows"] for run in query.recentProgress))
rows_read

# %% [markdown]
# ## Inside a Delta table
#
# What makes this work is the log. We read one of its files, the commit of the second micro-batch of orders, with the JSON
# reader. Each line is an action.

# %%
log = landing.parent / "bronze" / "orders" / "_delta_log"
actions = [
    json.loads(line)
    for line in (log / "00000000000000000002.json").read_text().splitlines()
]
sorted({name for action in actions for name in action})

# %%
transaction = next(action["txn"] for action in actions if "txn" in action)
added = [action["add"] for action in actions if "add" in action]
(
    transaction["version"],
    len(added),
    sum(json.loads(file["stats"])["numRecords"] for file in added),
)

# %% [markdown]
# `commitInfo` says who did what. `add` names a Parquet file with its statistics, the number of rows among them. `txn` is
# the note of the stream: this is its micro-batch 1, the second. Had there been a `remove`, a file would have left the table.
#
# The table is the sum of its commits, so each version can be read. We add up what the history says that each commit
# added, and read version 1 to compare. (The sum is right because each commit only appended. An update or a delete writes
# rows that are not new.)

# %%
grown = history.toPandas().sort_values("version")
grown["rows"] = grown["rows"].fillna(0).astype(int).cumsum()
then = spark.read.option("versionAsOf", 1).table("bronze.orders").count()
dict(zip(grown["version"], grown["rows"], strict=True)), then

# %%
figure = px.bar(
    grown,
    x="version",
    y="rows",
    title="Rows of bronze.orders in each version",
)
charts.show(
    figure,
    alt="Bar chart of the rows of bronze.orders by version. Version 0 is empty, and "
    "each of the two batches of the stream adds its rows.",
)

# %% [markdown]
# ## Two writers, one table
#
# The letters of **ACID**: a commit is *atomic*, as chapter 00 showed, and *durable*, as it survived the kill. *Consistent* means that
# rules hold. We give a table one, and try to break it.

# %%
spark.range(5).selectExpr("id", "0 AS opened").write.mode("overwrite").saveAsTable(
    "scratch.doors"
)
spark.sql("ALTER TABLE scratch.doors ADD CONSTRAINT counted CHECK (opened >= 0)")
try:
    spark.sql("INSERT INTO scratch.doors VALUES (5, -1)")
except Exception as error:
    broken_rule = medallion.reason(error)
broken_rule

# %% [markdown]
# *Isolated* means that two writers do not mix. The second writer is not Spark at all: `deltalake` writes tables
# too. It opens the table, and while it thinks, Spark changes a row.

# %%
from deltalake.exceptions import CommitFailedError

other = DeltaTable(str(medallion.scratch() / "doors"))
spark.sql("UPDATE scratch.doors SET opened = opened + 1 WHERE id = 3").collect()
try:
    other.update(updates={"opened": "opened + 10"}, predicate="id = 3")
except CommitFailedError as error:
    conflict = type(error).__name__
conflict

# %% [markdown]
# Both started from the same version and wanted to change the same row. The first to commit won, and the
# second was told. It reads the table again, and repeats its change.

# %%
other.update_incremental()
other.update(updates={"opened": "opened + 10"}, predicate="id = 3")
spark.table("scratch.doors").where("id = 3")

# %% [markdown]
# 11 is 0 + 1 + 10: no change got lost. Two writers that only append never conflict, because neither depends on what the other
# one adds. That is why four streams and a batch could fill Bronze side by side.

# %% [markdown]
# ## Failure lab: the table that is none
#
# On most installations Spark's own default format is Parquet, and `toTable` follows it without a word. We set that
# default, for one stream.

# %%
spark.conf.set("spark.sql.sources.default", "parquet")
rows = spark.readStream.schema(CHARGEBACKS).json(str(landing / "chargebacks"))
writer = rows.writeStream.option(
    "checkpointLocation", str(medallion.scratch() / "oops-checkpoint")
)
writer.trigger(availableNow=True).toTable("scratch.oops").awaitTermination()
spark.conf.set("spark.sql.sources.default", "delta")

# %%
try:
    spark.sql("DESCRIBE HISTORY scratch.oops")
except Exception as error:
    no_delta = medallion.reason(error)
no_delta, (medallion.scratch() / "oops" / "_delta_log").exists()

# %% [markdown]
# The rows are there and the log is not: no history, no transaction, no second writer. It is found weeks later, when
# somebody needs one of them. The mend is to name the format, always, and to land the rows again in a new place with a new
# checkpoint.

# %%
writer = rows.writeStream.format("delta").option(
    "checkpointLocation", str(medallion.scratch() / "mended-checkpoint")
)
writer.trigger(availableNow=True).toTable("scratch.mended").awaitTermination()
[commit.operation for commit in spark.sql("DESCRIBE HISTORY scratch.mended").collect()]

# %% [markdown]
# ## Failure lab: no way back
#
# A table keeps the files of old versions for a week, and `VACUUM` removes them afterwards. We set the time to
# nothing, change the table, and ask for version 0. Nobody ran `VACUUM`: the file is still on the disk.

# %%
spark.sql("""
    CREATE OR REPLACE TABLE scratch.forgetful
    TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 0 seconds')
    AS SELECT 1 AS price
""")
spark.sql("UPDATE scratch.forgetful SET price = 2").collect()
try:
    spark.read.option("versionAsOf", 0).table("scratch.forgetful").collect()
except Exception as error:
    too_late = medallion.reason(error)
too_late, len(list((medallion.scratch() / "forgetful").glob("*.parquet")))

# %% [markdown]
# Both Parquet files exist, and Delta refuses all the same: past that time it no longer promises that the version is
# whole. As long as nothing has been vacuumed, a longer time brings the version back.

# %%
spark.sql(
    "ALTER TABLE scratch.forgetful "
    "SET TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 30 days')"
)
spark.read.option("versionAsOf", 0).table("scratch.forgetful").collect()

# %% [markdown]
# The time to think about this is before a table is needed for a report "as of" last quarter. Set it when
# the table is made.

# %% [markdown]
# ## Do the books balance?
#
# The generator wrote down how many rows it put into each file. We compare its manifest with what our tables hold. We count
# with `deltalake`, which adds up what the logs of the tables say, so no query of ours is involved.

# %%
manifest = json.loads((landing / "_manifest.json").read_text())
sent = {}
for file in manifest["files"]:
    source, part, *_ = file["path"].split("/")
    table = part if source in ("lockers", "marketing") else source
    sent[table] = sent.get(table, 0) + file["rows"]
len(sent), sum(sent.values())

# %%
landed = {
    name: DeltaTable(str(landing.parent / "bronze" / name)).count() for name in sent
}
books = spark.createDataFrame(
    [
        (name, sent[name], landed[name], landed[name] - sent[name])
        for name in sorted(sent)
    ],
    "table STRING, sent LONG, landed LONG, difference LONG",
)
books

# %% [markdown]
# Every difference is 0. Every row that was sent is in Bronze, once.

# %% [markdown]
# ## Check yourself

# %%
from medallion.lesson import quiz

quiz.show("01")

# %% [markdown]
# ## What we know now
#
# - A stated schema is a decision; an inferred one is an accident that we may keep in a file and correct with hints.
# - A broken line goes to `_corrupt_record` whole; an unknown field goes to `_rescued` alone.
# - A new column can be refused, ignored, rescued or added, or can stop the stream until the schema has it.
# - A stream with a checkpoint of its own reads each file once; Delta recognises a batch that comes twice.
# - A table is the sum of the commits in its log. Of two writers that touch the same rows, the second is told.
# - Name the format, and set how long old versions are kept, before you need either.
#
# **On Databricks** the stream is Auto Loader: `format("cloudFiles")` keeps the inferred schema, takes `schemaHints`, and
# has the modes as `schemaEvolutionMode`; the rescued column is called `_rescued_data` and also holds values of a wrong type.
# Files lie in a Unity Catalog volume, and a table is `catalog.bronze.orders`.
