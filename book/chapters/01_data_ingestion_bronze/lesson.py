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
#     minutes: {read: 60, practise: 45}
#     summary: files, streams and an API, loaded as they were sent
#     outline: >-
#       Stated, inferred and hinted schemas. Broken lines, wrong types, unknown fields, new columns, type
#       widening. CSV by header, JSON, VARIANT, Parquet, fixed width and an HTTP API. Batch and streams into
#       one table, checkpoints, a crash, exactly once. The log of a Delta table, conflicts, reconciliation.
#     objectives:
#     - state a schema, and say what an inferred one costs
#     - keep what does not fit, whether a broken line, a wrong type, an unknown field or a new column
#     - read CSV, JSON, Parquet, fixed-width text and an HTTP API
#     - load files in batch and as streams, each row once, through a crash
#     - read the log of a Delta table, go back in time, and retry after a conflict of two writers
#     - reconcile what was sent and what has landed, file by file
# ---

# %% [markdown]
# # Data ingestion and the Bronze layer
#
# Eight sources have sent us files for half a year, and a ninth, `cdnow`, holds real purchases. In this chapter we
# load all nine into eleven Bronze tables. Bronze has one rule: **every row is kept as it was sent, once, with the
# file (or the page of an API) it came from and the time it arrived.** Nothing is cleaned here. What is wrong in
# Bronze can be fixed later; what is lost in Bronze is gone.
#
# ![Where we are in the flow: from the sources to the Bronze layer](../book/figures/flow-01.svg)

# %% tags=["setup"]
from pyspark.sql import functions as F

import medallion

check = medallion.checks("01")  # the file checks.py beside this lesson
spark = medallion.start("01")
landing = medallion.landing()

# %%
for folder in sorted(landing.glob("[!_]*")):
    files = [path for path in folder.rglob("*") if path.is_file()]
    kinds = " ".join(sorted({path.suffix for path in files}))
    print(f"{folder.name:15} {len(files):4} files  {kinds}")

# %% [markdown]
# `cdnow` holds real purchases at a music shop in 1997 and 1998. The other sources are generated for Kestrel Market, with
# the faults of real ones. (`support` comes later, in chapter 09, and `parcel_scans` with `parcel_stations` in
# chapter 10.)
#
# ## Schema inference
#
# A CSV file carries no types. With `inferSchema`, Spark reads the file once to infer them, and a second time to load it.

# %% tags=["setup"]
july = str(landing / "customers" / "customers_2025-07-01.csv")
inferred = spark.read.csv(july, header=True, inferSchema=True)

# %%
leipzig = inferred.where("city = 'Leipzig'").orderBy("customer_id")
leipzig.select("customer_id", "city", "postcode").limit(2)

# %%
spark.read.text(july).where("value LIKE '%Leipzig%'").orderBy("value").limit(2)

# %% [markdown]
# The shop sent `04586`, and we read 4586: inference saw digits and chose a number, without a warning. The result also
# depends on the file: one postcode such as `EC1A` would have made the column a string.
#
# ## A persisted schema with hints
#
# We infer **once**, keep the schema in a file that people can review, and correct it with **hints** for columns that we
# know better.

# %%
schema_file = medallion.scratch() / "customers.schema.json"
schema_file.write_text(inferred.schema.json())
schema_file.read_text()[:120]

# %% tags=["setup"]
from pyspark.sql.types import StructType


# %% tags=["setup"]
def with_hints(schema, hints):
    """Return the schema with the types of the columns that the hints (DDL) name."""
    better = StructType.fromDDL(hints)
    fields = [better[f.name] if f.name in better.names else f for f in schema]
    return StructType(fields)


# %%
with_hints(inferred.schema, "birth_year SMALLINT")["birth_year"].dataType

# %% [markdown] tags=["exercise"]
# ### Exercise 1.1: correct an inferred schema with a hint
#
# Write `hints`: one string in DDL (a name and a type, as in `CREATE TABLE`). With it, `with_hints(inferred.schema, hints)`
# keeps the zero of the postcodes and leaves every other column as it was inferred.

# %% tags=["solution"]
### BEGIN SOLUTION
hints = "postcode STRING"
### END SOLUTION

# %% tags=["check"]
check.schema_hints(hints, inferred.schema, july)

# %% [markdown]
# The next load takes the file and the hints, so a strange delivery cannot change a type.

# %%
import json

kept = StructType.fromJson(json.loads(schema_file.read_text()))
august = str(landing / "customers" / "customers_2025-08-01.csv")
leipzig = spark.read.csv(august, header=True, schema=with_hints(kept, hints))
leipzig.where("postcode LIKE '045%'").select("postcode").distinct().orderBy("postcode")

# %% [markdown]
# ## A stated schema, and CSV by position: `enforceSchema`
#
# Our tables state their schemas. `signup_date` is a `STRING`, because the shop writes it in three forms.

# %%
CUSTOMERS = """
    customer_id STRING, first_name STRING, last_name STRING, email STRING, city STRING,
    postcode STRING, signup_date STRING, birth_year INT, marketing_consent BOOLEAN
"""

# %% [markdown]
# What if the shop swaps two columns of its export? We write such a file, with two customers of July.

# %%
import pandas as pd

swapped = medallion.scratch() / "swapped.csv"
two = pd.read_csv(july, dtype=str, nrows=2)
city, email = two.pop("city"), two.pop("email")
two.insert(3, "city", city)
two.insert(4, "email", email)
two.to_csv(swapped, index=False)

# %%
spark.read.csv(str(swapped), header=True, schema=CUSTOMERS).select("email", "city")

# %% [markdown]
# The cities are in `email`, without an error. With a stated schema, Spark 4.2 matches CSV columns **by position**,
# and `header=True` only skips the header line, while `enforceSchema` is true (the default). Turned off, Spark still
# reads by position, but first compares the header of each file with the schema, and stops at a difference. We also
# add `_corrupt_record`: it gets the complete row when a value or the number of values does not fit. A typed column
# keeps the value, not its spelling: `007` becomes 7 in an `INT`, and a time loses its offset. Where the spelling
# matters, we state `STRING`.


# %%
def csv_reader(reader, schema):
    """Read CSV files by their header, and keep rows that do not fit."""
    options = {"header": True, "enforceSchema": False, "mode": "PERMISSIVE"}
    return reader.schema(f"{schema}, _corrupt_record STRING").options(**options)


# %%
try:
    csv_reader(spark.read, CUSTOMERS).csv(str(swapped)).collect()
except Exception as error:
    refused = medallion.reason(error)
refused

# %%
odd = medallion.scratch() / "odd.csv"
odd.write_text("locker_id,door_opens\nLK001,3\nLK002,three\nLK003,1,extra\n")
csv_reader(spark.read, "locker_id STRING, door_opens INT").csv(str(odd))

# %% [markdown]
# ## Encodings
#
# Each month the shop sends all its customers: a *snapshot*. In each we look for the character that Spark puts where
# bytes are not UTF-8. `_metadata` is a hidden column of every file source.

# %%
MARK = "\N{REPLACEMENT CHARACTER}"
name = F.concat_ws(" ", "first_name", "last_name")
snapshots = csv_reader(spark.read, CUSTOMERS).csv(str(landing / "customers"))
snapshots.groupBy(F.col("_metadata.file_name").alias("file")).agg(
    F.count("*").alias("rows"), F.count_if(name.contains(MARK)).alias("unreadable")
).orderBy("file")

# %% [markdown]
# September has 3,281 unreadable names. In Latin-1 and in code page 850 every byte is *some* character, so a count of
# unreadable ones cannot find the right encoding. So we compare three candidates with August's names, in pandas, which
# knows more encodings.


# %%
def names_in(file, encoding):
    """Return the names of the customers of a file, by their id."""
    rows = pd.read_csv(file, dtype=str, encoding=encoding)
    rows = rows.dropna(subset="customer_id").drop_duplicates("customer_id")
    rows = rows.set_index("customer_id")
    return rows["first_name"] + " " + rows["last_name"]


# %%
september = str(landing / "customers" / "customers_2025-09-01.csv")
right = names_in(august, "utf-8")
candidates = ("latin-1", "cp1252", "cp850")
tried = {each: names_in(september, each)[right.index] for each in candidates}
compared = {
    each: {
        "unreadable": names.str.contains(MARK).sum(),
        "as in August": (names == right).sum(),
    }
    for each, names in tried.items()
}
len(right), pd.DataFrame(compared)

# %% [markdown]
# All three leave 0 unreadable. In Latin-1 and in `cp1252` every name is that of August; in code page 850 many differ.
# (`cp1252` has all letters of Latin-1 and a few more. We take Latin-1, which Spark 4.2 can read.) An encoding is a fact
# about a file, so we keep it as data.
#
# ## Batch loads that append, idempotent by file name
#
# A load that overwrites its table deletes history as soon as old files leave the landing folder. So Bronze **appends** the
# files whose names are not in the table yet. A second run finds nothing to do: the load is *idempotent*. (Run one at a
# time: two at the same moment would both find a file missing.)

# %%
from pathlib import Path

# %%
ENCODINGS = {"customers_2025-09-01.csv": "ISO-8859-1"}


# %%
def new_files(table, pattern):
    """Return the files below landing that a Bronze table does not hold yet."""
    files = {str(path.relative_to(landing)): path for path in landing.glob(pattern)}
    if spark.catalog.tableExists(f"bronze.{table}"):
        held = spark.table(f"bronze.{table}").select("_source_file").distinct()
        files = {
            name: files[name] for name in files.keys() - {n for (n,) in held.collect()}
        }
    return sorted(str(path) for path in files.values())


# %% [markdown]
# Each row gets its file and when that arrived: here the modification time, which a plain copy loses; in production a
# manifest or the object store knows it. Spark's text and CSV readers know no line number.


# %%
def from_file(frame):
    """Add the file that each row came from and the moment it arrived."""
    return frame.select(
        "*",
        F.substring_index("_metadata.file_path", "/landing/", -1).alias("_source_file"),
        F.col("_metadata.file_modification_time").alias("_arrived_at"),
    )


# %%
def load(files, read, table):
    """Append what `read` makes of the files to a Bronze table, in one commit."""
    if files:
        writer = read(files).write.format("delta").mode("append")
        writer = writer.option("userMetadata", Path(files[0]).name)  # for the history
        writer.saveAsTable(f"bronze.{table}")
    return len(files)


# %%
def csv_rows(schema, encoding="UTF-8"):
    """Return a function that reads CSV files with a schema."""
    reader = csv_reader(spark.read, schema).option("encoding", encoding)
    return lambda files: from_file(reader.csv(files))


# %%
def load_customers():
    """Load the new snapshots, one commit for each encoding; return how many."""
    encodings = {
        file: ENCODINGS.get(Path(file).name, "UTF-8")
        for file in new_files("customers", "customers/*.csv")
    }
    loaded = 0
    for encoding in sorted(set(encodings.values())):
        group = [file for file in encodings if encodings[file] == encoding]
        loaded += load(group, csv_rows(CUSTOMERS, encoding), "customers")
    return loaded


# %%
load_customers(), load_customers()

# %% [markdown]
# The first call loaded 6 files, the second found none. January's snapshot needs no change of the code if it is UTF-8.
# In another encoding its names would land unreadable, so a load in production counts `MARK` first and stops.
#
# ## Malformed records: `DROPMALFORMED`, `PERMISSIVE`, `_corrupt_record`
#
# Web events are JSON, one event to a line. We read one week in the mode that drops what it cannot parse.

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
lines.count(), dropped.count()

# %% [markdown]
# Four lines are missing, without a message. `PERMISSIVE`, the default mode, keeps such a line in `_corrupt_record`. (A
# *struct* is a column with named fields; `event.*` makes them columns.)


# %%
def parsed(schema):
    """Return a line of JSON, `value`, as a struct with a _corrupt_record."""
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": "_corrupt_record"}
    return F.from_json("value", f"{schema}, _corrupt_record STRING", options)


# %%
events = lines.select(parsed(WEB_EVENTS).alias("event"), "value").select(
    "event.*", "value"
)
broken = F.right("_corrupt_record", F.lit(50)).alias("ends with")
events.where("_corrupt_record IS NOT NULL").select("event_id", broken).orderBy(broken)

# %% [markdown]
# All four end in the middle, so no other column has a value. A **wrong type** is another case: the line parses, and one
# value does not fit.

# %%
odd_line = '{"event_id": "W1", "received_at": "soon"}'
one = spark.createDataFrame([(odd_line,)], "value STRING").select(
    parsed(WEB_EVENTS).alias("e")
)
one.select("e.event_id", "e.received_at", "e._corrupt_record")

# %% [markdown]
# `received_at` is NULL, and the complete line is in `_corrupt_record`. Without that column, nobody would notice. The third
# loss is quieter still: a field that our schema does not name.

# %%
stranger = events.where("value LIKE '%\"geo\"%'").orderBy("event_id").limit(1)
stranger.select(F.right("value", F.lit(44)).alias("ends with"), "_corrupt_record")

# %% [markdown]
# ## Rescued data: unknown fields
#
# The line is not corrupt, and the country is gone. We want a **rescued data** column: the fields that the schema does
# not name, and nothing else.

# %% tags=["setup"]
texts = [
    '{"a": "1"}',
    '{"a": "1", "gift": null, "geo": {"country": "DE"}}',
    '{"a": "1',
    None,
]
samples = spark.createDataFrame([(text,) for text in texts], "line STRING")

# %% [markdown] tags=["exercise"]
# ### Exercise 1.2: rescue unknown fields
#
# Write `rescued(line, known)`: `line` is a column of JSON strings, `known` a list of field names. It returns a column
# of the type `MAP<STRING, STRING>` with every field that is not known, also one whose value is null. It is NULL where
# there is none, and for a line that is broken or missing.
#
# You need `F.from_json(line, "MAP<STRING, STRING>")`, `F.map_filter(fields, lambda name, value: …)`, `name.isin(known)`, `~`
# for "not", `F.size`, and `F.when(condition, value)`, which is NULL otherwise. Try it:
# `samples.select(rescued("line", ["a", "b"]))`.


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

# %%
known = StructType.fromDDL(WEB_EVENTS).names
both = lines.select(
    parsed(WEB_EVENTS).alias("event"), rescued("value", known).alias("extra")
)
both.selectExpr(
    "count(*) AS lines",
    "count(event._corrupt_record) AS corrupt",
    "count(extra) AS rescued",
)

# %% [markdown]
# Of 3,221 lines 4 are corrupt and 79 hold something unknown.
#
# ## VARIANT: parse once, query by path
#
# A `VARIANT` column holds any JSON value, parsed. It needs no schema, and a question that comes up later needs no new load.

# %%
raw = lines.select(F.try_parse_json("value").alias("event"))
raw.write.mode("overwrite").saveAsTable("scratch.raw_events")
country = F.try_variant_get("event", "$.geo.country", "STRING").alias("country")
spark.table("scratch.raw_events").groupBy(country).count().orderBy("country")

# %% [markdown]
# The price: readers must know the type (Spark 4 does), and a broken line is only NULL. So our tables of JSON lines
# keep the **raw payload**, the line, as a string `_line`.
#
# ## Unknown fields at any depth
#
# `rescued` looks at the top level only, and an order has its fields in an object `after`, with an array `lines` in it. As a
# VARIANT, parsed once, a line can be asked for its names at every level. You may skip these functions at first: of them, only
# `unknown_fields(line, schema)` is used later. It returns the map that this section shows last.

# %%
from pyspark.sql.types import ArrayType


# %%
def objects_in(schema):
    """Yield name, kind and inner schema of the objects and arrays of objects."""
    for field in schema:
        kind = field.dataType
        if isinstance(kind, StructType):
            yield field.name, "object", kind
        elif isinstance(kind, ArrayType) and isinstance(kind.elementType, StructType):
            yield field.name, "array", kind.elementType


# %%
def has_unknown(value, schema):
    """Say whether a VARIANT has a name, at any depth, that a schema has not."""
    names = F.map_keys(value.try_cast("map<string, variant>"))
    strange = F.size(F.array_except(names, F.lit(schema.names))) > 0
    for name, kind, inner in objects_in(schema):
        part = F.try_variant_get(value, f"$.{name}", "variant")
        parts = F.array(part) if kind == "object" else part.try_cast("array<variant>")
        strange = strange | any_unknown(parts, inner)
    return F.coalesce(strange, F.lit(False))


# %%
def any_unknown(values, schema):
    """Say whether one of several VARIANTs has such a name."""
    return F.exists(values, lambda one: has_unknown(one, schema))


# %% [markdown]
# Few lines hold something unknown. For those we put the path before each name that `rescued` finds:


# %%
def rescued_in(line, schema):
    """Return the unknown fields of a line at any depth, named by their path."""
    maps = [rescued(line, schema.names)]
    for name, kind, inner in objects_in(schema):
        part = F.get_json_object(line, f"$.{name}")
        add = in_object if kind == "object" else in_array
        maps.append(add(part, name, inner))
    none = F.expr("CAST(map() AS MAP<STRING, STRING>)")
    return F.map_concat(*(F.coalesce(one, none) for one in maps))


# %%
def in_object(part, name, schema):
    """Return the unknown fields of the object called `name`."""
    found = rescued_in(part, schema)
    return F.transform_keys(found, lambda key, _: F.concat(F.lit(f"{name}."), key))


# %%
def in_array(part, name, schema):
    """Return the unknown fields of the objects in the array called `name`."""
    each = F.from_json(part, "ARRAY<STRING>")
    found = F.to_json(F.transform(each, lambda one: rescued_in(one, schema)))
    entry = F.create_map(F.lit(f"{name}[*]"), found)
    return F.map_filter(entry, lambda _, text: text.contains('":'))


# %%
def unknown_fields(line, schema):
    """Return the column _rescued for a column of JSON lines and a schema in DDL."""
    known = StructType.fromDDL(schema)
    strange = any_unknown(F.array(F.try_parse_json(line)), known)
    return F.when(strange, rescued_in(line, known)).alias("_rescued")


# %%
order = '{"after": {"gift": "yes", "lines": [{"no": 1}, {"no": 2, "wrap": "red"}]}}'
one = spark.createDataFrame([(order,)], "value STRING")
one.select(unknown_fields("value", "after STRUCT<lines: ARRAY<STRUCT<no: INT>>>"))

# %% [markdown]
# Both are found. `after.lines[*]` has an entry for each element of the list: the first has nothing unknown, `{}`, and
# the second has `wrap`.

# %% [markdown]
# ## Schema evolution: fail, add, rescue, ignore
#
# In week 40 the shop begins to offer delivery slots: a new field of its orders. We read the week before and that week, and of
# each event only the order *after* the change, with its lines as JSON text. (A deletion has no `after`; we leave it out.)

# %%
ORDER = """
    order_id STRING, customer_id STRING, channel STRING, status STRING, total_cents INT,
    ordered_at TIMESTAMP, locker_id STRING, lines STRING
"""


# %%
def orders_in(lines, schema):
    """Return the orders in lines of JSON, with what the schema does not name."""
    after = F.get_json_object("value", "$.after")
    order = F.from_json(after, schema).alias("order")
    rows = lines.select(order, unknown_fields(after, schema))
    return rows.where("order IS NOT NULL").select("order.*", "_rescued")


# %%
weeks = [str(landing / "orders" / f"orders_2025-W{week}.jsonl") for week in (39, 40)]
before, after = (spark.read.text(week) for week in weeks)

# %% [markdown]
# A pipeline can do four things. **Fail**: Delta refuses a column that the table does not have.

# %%
orders_in(before, ORDER).write.mode("overwrite").saveAsTable("scratch.orders_add")
with_slot = orders_in(after, f"{ORDER}, delivery_slot STRING")
try:
    with_slot.write.mode("append").saveAsTable("scratch.orders_add")
except Exception as error:
    refused = medallion.reason(error)
refused

# %% [markdown]
# **Add**: `mergeSchema` lets this write add the column; old rows have NULL in it. **Rescue**: we read with the old
# schema, and the field gets into the map. **Ignore**: the same without the map.

# %%
with_slot.write.mode("append").option("mergeSchema", True).saveAsTable(
    "scratch.orders_add"
)
old = orders_in(before.union(after), ORDER)
old.write.mode("overwrite").saveAsTable("scratch.orders_rescue")
old.drop("_rescued").write.mode("overwrite").saveAsTable("scratch.orders_ignore")

# %%
spark.sql("""
    SELECT 'add' AS mode, count(*) AS rows, count(delivery_slot) AS slots
    FROM scratch.orders_add UNION ALL
    SELECT 'rescue', count(*), count(_rescued['delivery_slot'])
    FROM scratch.orders_rescue
""").orderBy("mode")

# %%
ignoring = spark.table("scratch.orders_ignore")
ignoring.count(), "delivery_slot" in ignoring.columns

# %% [markdown]
# With `ignore` the rows are there, and the 2,929 slots are not, in silence. `add` changes the table for everybody at
# once; `rescue` keeps the field until somebody decides.
#
# ## Implicit casts: Delta checks value by value
#
# When we append to a table by its name, Delta 4.4 does not refuse another *type* as long as a cast exists (chapter
# 00; a write by path is stricter). It casts each value, and fails at the first that does not fit.


# %%
def deliver(pieces):
    """Append a number of pieces that is a string; return what happens."""
    row = spark.createDataFrame([("tea", pieces)], "item STRING, pieces STRING")
    try:
        row.write.mode("append").saveAsTable("scratch.stock")
    except Exception as error:
        return medallion.reason(error)
    return "accepted"


# %%
spark.sql("CREATE OR REPLACE TABLE scratch.stock (item STRING, pieces INT) USING delta")
deliver("1250"), deliver("about ten")

# %% [markdown]
# So a wrong type can go unnoticed for months, until the first bad value stops the load.
#
# ## Type widening
#
# Also in week 40, `sequence`, the column that numbers the changes, jumps from about one million to three thousand
# million, more than an `INT` can hold.


# %%
def changes_of(week, kind):
    """Return id and sequence (as `kind`) of the changes in a file."""
    schema = f"event_id STRING, sequence {kind}, _corrupt_record STRING"
    return spark.read.json(week, schema=schema)


# %%
changes_of(weeks[1], "INT").selectExpr(
    "count(*) AS changes",
    "count(sequence) AS fits",
    "count(_corrupt_record) AS corrupt",
)

# %% [markdown]
# As `INT`, 3,329 of 3,371 changes are corrupt: the lines are fine, our type is wrong. As `BIGINT` they fit, and the table
# refuses the first that is too large:

# %%
changes_of(weeks[0], "INT").write.mode("overwrite").saveAsTable("scratch.changes")
try:
    changes_of(weeks[1], "BIGINT").write.mode("append").saveAsTable("scratch.changes")
except Exception as error:
    refused = medallion.reason(error)
refused

# %% [markdown]
# **Type widening** changes the type in the log and leaves old files as they are. The property
# `delta.enableTypeWidening` of a table allows it (`ALTER TABLE … SET TBLPROPERTIES ('name' = 'value')`); then a write
# with `mergeSchema` also turns `INT` into `BIGINT`. (To `DOUBLE` or `DECIMAL` a write never widens an `INT`; for that
# there is `ALTER TABLE … ALTER COLUMN … TYPE`.)

# %% tags=["setup"]
spark.sql(
    "CREATE OR REPLACE TABLE scratch.shelf USING delta AS SELECT 1 AS id, 10 AS stock"
)
grown = spark.sql("SELECT 2 AS id, 3000000000 AS stock, 'new' AS note")

# %% [markdown] tags=["exercise"]
# ### Exercise 1.3: append with schema evolution
#
# Write `append_evolving(frame, table)`. It **appends** a DataFrame to a Delta table: new columns are added, an `INT`
# that has become a `BIGINT` is widened, and old rows are not written again. A stock such as `plenty`, which is no
# number, must still be refused; the string `12` is cast, as Delta does by itself. Change no setting of the session. Try
# it: `append_evolving(grown, "scratch.shelf")`.


# %% tags=["solution"]
def append_evolving(frame, table):
    """Append `frame` to `table`; add new columns, widen types that have grown."""
    ### BEGIN SOLUTION
    widening = "'delta.enableTypeWidening' = 'true'"
    spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ({widening})")
    frame.write.mode("append").option("mergeSchema", True).saveAsTable(table)
    ### END SOLUTION


# %% tags=["check"]
check.append_evolving(append_evolving)

# %%
append_evolving(changes_of(weeks[1], "BIGINT"), "scratch.changes")
spark.sql("""
    SELECT typeof(max(sequence)) AS type, min(sequence) AS smallest,
           max(sequence) AS largest FROM scratch.changes
""")

# %% [markdown]
# Widening has a price: a *table feature*, and readers that do not know it refuse the table. `deltalake` is a library that
# reads Delta tables without Spark:

# %%
from deltalake import DeltaTable

try:
    DeltaTable(str(medallion.scratch() / "changes")).to_pyarrow_table()
except Exception as error:
    refused = str(error)
refused

# %% [markdown]
# Streams that read the table stop at the change, too. So we widen on purpose, not by default.
#
# ## Nested JSON
#
# The catalogue is **one** JSON document over many lines (`multiLine`): sellers, and in each its products. We open it
# level by level until a row is one product: `explode` makes a row of each element of an array. `FAILFAST` stops the
# load if the document does not fit, since one bad document would cost all products. Its unknown fields come from a
# second look at the file as one value (`wholetext`).

# %%
CATALOGUE = """
    exported_at STRING,
    sellers ARRAY<STRUCT<seller_id: STRING, name: STRING, city: STRING, rating: DOUBLE,
        products: ARRAY<STRUCT<product_id: STRING, name: STRING, category: STRING,
            price: STRING, tags: ARRAY<STRING>,
            attributes: STRUCT<weight_g: INT, organic: BOOLEAN, chilled: BOOLEAN>>>>>
"""


# %%
def products_in(files):
    """Return a row for each product of the catalogues, with its seller."""
    texts = from_file(spark.read.text(files, wholetext=True))
    extra = texts.select("_source_file", unknown_fields("value", CATALOGUE))
    rows = from_file(
        spark.read.json(files, schema=CATALOGUE, multiLine=True, mode="FAILFAST")
    )
    rows = rows.join(extra, "_source_file").withColumn("s", F.explode("sellers"))
    seller = F.struct("s.name", "s.city", "s.rating").alias("seller")
    rows = rows.select("*", "s.seller_id", seller, F.explode("s.products").alias("p"))
    own = ["_source_file", "_arrived_at", "exported_at", "_rescued"]
    return rows.select("p.*", "seller_id", "seller", *own)


# %%
load(new_files("products", "products/*.json"), products_in, "products")

# %%
quoted = F.col("price").rlike('"amount": *"')
one_line = F.regexp_replace("price", r"\s+", " ").alias("price")
listed = spark.table("bronze.products").where(quoted)
listed.select("product_id", "name", one_line).orderBy("product_id").limit(3)

# %% [markdown]
# The price is an object, and our schema calls it a `STRING`, so Spark keeps its JSON. These sellers sent the amount between
# quotation marks. With `amount: STRING` in the schema, `5.59` and `"5.59"` would look the same in Bronze.
#
# ## CSV beside Parquet
#
# The lockers send CSV, the newer ones Parquet. Parquet carries names and types, but Spark takes the schema of a
# folder from **one** file: a column that only later files have is missing in silence. We state the schema, and
# compare every *footer*, the part of a Parquet file that holds its schema. An empty set means that no file has a
# column which we do not name. (It compares names, not types.) A load in production stops if it is not empty.

# %%
TELEMETRY = """
    locker_id STRING, measured_at TIMESTAMP, temperature DOUBLE, humidity DOUBLE,
    door_opens INT, battery_v DOUBLE, compressor_a DOUBLE
"""

# %%
older = new_files("telemetry", "lockers/telemetry/*/*.csv")
newer = new_files("telemetry", "lockers/telemetry/*/*.parquet")

# %%
import pyarrow.parquet as pq

in_footers = {name for file in newer for name in pq.read_schema(file).names}
in_footers - set(StructType.fromDDL(TELEMETRY).names)


# %%
def parquet_rows(files):
    """Read Parquet files of telemetry by the names of their columns."""
    return from_file(spark.read.schema(TELEMETRY).parquet(*files))


# %%
load(older, csv_rows(TELEMETRY), "telemetry"), load(newer, parquet_rows, "telemetry")

# %%
MAINTENANCE = """
    maintenance_id STRING, locker_id STRING, at TIMESTAMP, kind STRING, part STRING,
    note STRING
"""
visits = new_files("maintenance", "lockers/maintenance/*.csv")
load(visits, csv_rows(MAINTENANCE), "maintenance")

# %%
spark.table("bronze.maintenance").selectExpr(
    "count(*) AS visits",
    "count(_corrupt_record) AS corrupt",
    "min(_corrupt_record) AS one",
)

# %% [markdown]
# In 62 of 266 visits the technician's note has a comma, and the source forgot the quotation marks. The rest of the note
# would be gone; `_corrupt_record` has it.

# %% [markdown]
# ## Fixed-width text
#
# Here each field has its place in the line. This is CDNOW.

# %% tags=["setup"]
cdnow = spark.read.text(str(landing / "cdnow" / "CDNOW_master.txt"))
cdnow.limit(3)

# %% [markdown] tags=["exercise"]
# ### Exercise 1.4: parse fixed-width lines
#
# Write `purchases_of(lines)`. `lines` is a DataFrame with a column `value`, such as `cdnow`. It returns a row for each
# purchase, with all columns of `lines` and these four. The first line of the file, a heading, is no purchase.
#
# | column | type | first character, from 1 | characters |
# |---|---|---|---|
# | `customer_id` | `STRING` of five digits | 2 | 5 |
# | `purchased_on` | `DATE`, sent as `19970101` | 8 | 8 |
# | `quantity` | `INT` | 17 | 2 |
# | `amount_usd` | `DECIMAL(9, 2)` | 20 | 7 |
#
# You need `F.substring(column, first, length)`, `F.trim(…)`, `….cast("int")` and `F.to_date(…, "yyyyMMdd")`.


# %% tags=["solution"]
def purchases_of(lines):
    """Return a row for each purchase in the lines of CDNOW, with its four fields."""
    ### BEGIN SOLUTION
    return lines.where("value NOT LIKE '%customer_id%'").select(
        "*",
        F.substring("value", 2, 5).alias("customer_id"),
        F.to_date(F.substring("value", 8, 8), "yyyyMMdd").alias("purchased_on"),
        F.trim(F.substring("value", 17, 2)).cast("int").alias("quantity"),
        F.trim(F.substring("value", 20, 7)).cast("decimal(9, 2)").alias("amount_usd"),
    )
    ### END SOLUTION


# %% tags=["check"]
check.fixed_width(purchases_of, cdnow)


# %%
def cdnow_rows(files):
    """Return the purchases in files of CDNOW, each with its line."""
    rows = purchases_of(from_file(spark.read.text(files)))
    own = [F.col("value").alias("_line"), "_source_file", "_arrived_at"]
    return rows.select("customer_id", "purchased_on", "quantity", "amount_usd", *own)


# %%
load(new_files("cdnow", "cdnow/CDNOW_master.txt"), cdnow_rows, "cdnow")

# %% [markdown]
# Two columns fit into memory, so we count and draw in pandas. Of a large table, only counts would leave Spark.

# %%
bought = spark.table("bronze.cdnow").select("customer_id", "purchased_on").toPandas()
day = pd.to_datetime(bought["purchased_on"])
len(bought), bought["customer_id"].nunique(), f"{day.min():%F}", f"{day.max():%F}"

# %% [markdown]
# 69,659 purchases by 23,570 customers: the counts that the literature gives. All of them bought for the first time in
# the first quarter of 1997.

# %%
weekly = day.dt.to_period("W").dt.start_time.rename("week").value_counts(sort=False)
weekly = weekly.sort_index().reset_index(name="purchases")
weekly["days"] = "a whole week"
weekly.loc[weekly.index[[0, -1]], "days"] = "part of a week"

# %%
import plotly.express as px

from medallion.lesson import charts

order = {"days": ["a whole week", "part of a week"]}
bars = {"x": "week", "y": "purchases", "color": "days", "category_orders": order}
figure = px.bar(weekly, **bars, title="CDNOW: purchases a week, 1997 and 1998")
figure.update_xaxes(title="week, by its Monday")
_ = figure.update_layout(legend_title=None)

# %%
charts.show(
    figure,
    alt="Bar chart of CDNOW purchases by week. They are highest in the first quarter "
    "of 1997, when every customer buys for the first time, fall steeply in April, "
    "and stay low until mid-1998. The first week has five days and the last has two.",
)

# %% [markdown]
# ## Streams: source, sink, trigger, checkpoint
#
# A **stream** is a query that reads what is new from a *source*, here a folder, and writes it to a *sink*, here a Delta
# table. It reads new files in groups, the **micro-batches**: `maxFilesPerTrigger` limits the files in one. Its *trigger* says
# when: `availableNow` takes everything that is new, and stops. Each stream notes in its **checkpoint**, a folder, which files
# it has read, so it continues where it stopped.


# %%
def json_lines(source, schema, files):
    """Return the stream of a source: columns, what did not fit, line and file."""
    reader = spark.readStream.option("maxFilesPerTrigger", files)
    lines = reader.option("recursiveFileLookup", True).text(str(landing / source))
    own = [F.col("value").alias("_line"), "_source_file", "_arrived_at"]
    extra = unknown_fields("value", schema)
    rows = from_file(lines).select(parsed(schema).alias("row"), extra, *own)
    return rows.select("row.*", "_rescued", "_line", "_source_file", "_arrived_at")


# %%
checkpoints = landing.parent / "checkpoints" / "01"


# %%
def land(rows, table, **trigger):
    """Start a stream that appends to a Bronze table; it takes what is new."""
    writer = rows.writeStream.format("delta").queryName(table)
    writer = writer.option("checkpointLocation", str(checkpoints / table))
    writer = writer.trigger(**trigger or {"availableNow": True})
    return writer.toTable(f"bronze.{table}")


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
# There are 27 files of orders, and we allow 14 to a micro-batch. Each micro-batch becomes one commit. Before opening the next
# output, write down how many commits the history will show.

# %% tags=["predict"] costly="half a year of nested events, in two micro-batches"
land(json_lines("orders", ORDERS, files=14), "orders").awaitTermination()
history = spark.sql("DESCRIBE HISTORY bronze.orders").select(
    "version", "operation", F.col("operationMetrics.numOutputRows").alias("rows")
)
history.orderBy("version")

# %% [markdown]
# The history shows 3 commits: micro-batches of 14 and of 13 files, and version 0, which made the empty table. Streams do not
# wait for each other, so we start three more at once.

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

# %% costly="three streams start at once and land most of the chapter"
running = [
    land(json_lines("payments", PAYMENTS, files=27), "payments"),
    land(json_lines("chargebacks", CHARGEBACKS, files=6), "chargebacks"),
    land(json_lines("web_events", WEB_EVENTS, files=200), "web_events"),
]
for query in running:
    query.awaitTermination()

# %% [markdown]
# ## Fail and restart on a new column
#
# For a new field there is a fifth way between `fail` and `add`: stop, write the new schema down, and go on with it at
# the next start. Somebody hears of the change, and nothing is lost. `foreachBatch` calls our function for each
# micro-batch.
#
# A micro-batch comes twice if Spark stops after our write and before its note. So the write carries the id of the query
# (`txnAppId`), which the checkpoint keeps, and the micro-batch's number (`txnVersion`). Delta keeps the highest number of
# each id in its log, and skips a write whose number is not higher.

# %%
stored = medallion.scratch() / "orders.schema.ddl"
stored.write_text(ORDER)
stopping = medallion.scratch() / "stopping-checkpoint"


# %%
def query_id(checkpoint):
    """Return the id of the query whose checkpoint this is."""
    return json.loads((checkpoint / "metadata").read_text())["id"]


# %%
def land_or_stop(batch, number):
    """Append a micro-batch once, or store the schema with its new fields and stop."""
    found = batch.select(F.explode(F.map_keys("_rescued"))).distinct().collect()
    if names := sorted(name for (name,) in found):
        added = "".join(f", `{name}` STRING" for name in names)
        stored.write_text(stored.read_text() + added)
        raise ValueError(f"new fields {names}, now in the stored schema: start again")
    writer = batch.drop("_rescued").write.format("delta").option("mergeSchema", True)
    writer = writer.option("txnAppId", query_id(stopping)).option("txnVersion", number)
    writer.mode("append").saveAsTable("scratch.stopping")


# %%
def start_stopping():
    """Start the stream of weeks 39 and 40 with the schema that is stored now."""
    files = spark.readStream.option("maxFilesPerTrigger", 1)
    files = files.option("pathGlobFilter", "*-W{39,40}.jsonl")
    rows = orders_in(files.text(str(landing / "orders")), stored.read_text())
    writer = rows.writeStream.option("checkpointLocation", str(stopping))
    return writer.trigger(availableNow=True).foreachBatch(land_or_stop).start()


# %%
query = start_stopping()
try:
    query.awaitTermination()
except Exception as error:
    stopped = medallion.reason(error)
stopped, spark.table("scratch.stopping").count()

# %% [markdown]
# The 3,141 rows of week 39 are in, and week 40 stopped the stream before a row of it was written. We start again:

# %%
start_stopping().awaitTermination()
spark.table("scratch.stopping").selectExpr(
    "count(*) AS rows", "count(delivery_slot) AS slots"
)

# %% [markdown]
# The field became a `STRING`; a person may choose a better type before the restart. (The function reads its
# micro-batch twice; a large one deserves `persist`.)

# %% [markdown]
# ## A batch and a stream write one table at the same time
#
# A stream reads the touchpoints of marketing from a start file on and stays alive: it looks for files every second.
# The months before are a *backfill*, which we load in batch, each month in a thread and a commit of its own.

# %%
TOUCHPOINTS = """
    touch_id STRING, visitor_id STRING, customer_id STRING, touched_at TIMESTAMP,
    channel STRING, utm_source STRING, utm_medium STRING, campaign_id STRING,
    user_agent STRING, converted INT
"""
START = "marketing/touchpoints/touchpoints_2025-10.csv"

# %%
folder = str(landing / "marketing" / "touchpoints")
touches = from_file(csv_reader(spark.readStream, TOUCHPOINTS).csv(folder))
recent = touches.where(F.col("_source_file") >= START)
live = land(recent, "touchpoints", processingTime="1 second")

# %%
from concurrent.futures import ThreadPoolExecutor


# %%
def backfill(file):
    """Load one month of touchpoints."""
    return load([file], csv_rows(TOUCHPOINTS), "touchpoints")


# %%
months = new_files("touchpoints", "marketing/touchpoints/*.csv")
earlier = [file for file in months if file < str(landing / START)]
with ThreadPoolExecutor() as pool:
    loaded = list(pool.map(backfill, earlier))
loaded, live.isActive

# %%
live.processAllAvailable()
live.stop()
commits = spark.sql("DESCRIBE HISTORY bronze.touchpoints")
rows = F.col("operationMetrics.numOutputRows").alias("rows")
commits.select("operation", "userMetadata", rows).orderBy("operation", "userMetadata")

# %% [markdown]
# Each load is one commit, with the note that `load` gave it. Were they really concurrent? A commit notes the version
# that it started from. Where another commit came in between, the two overlapped:

# %%
commits.where("version > readVersion + 1").count() > 0

# %% [markdown]
# At least two of these writes overlapped, and none was refused. Which two depends on timing: the three loads run at
# once, too. (Two streams that share a checkpoint do conflict, with `ConcurrentTransactionException`, as Delta's
# documentation says: both write under one `txnAppId`.)

# %% [markdown] tags=["exercise"]
# ### Exercise 1.5: start a file stream
#
# Write `land_files(source, table_folder, checkpoint)`; all three are folders, as `pathlib.Path`, and Spark wants
# strings. It starts a stream that reads the JSON lines in `source` with the schema `CHARGEBACKS`, and appends them to
# the folder `table_folder`: as Delta, whatever the session's default format is. The stream takes all that is new and
# stops by itself. The function returns the query at once, without waiting for it. Called again, it adds only the files
# that have come since.
#
# You need `spark.readStream.schema(…).json(…)` and `.writeStream`. `toTable` wants the name of a table; for a folder,
# end with `.start(…)`. Try it with `place = medallion.scratch() / "try"`:
# `land_files(landing / "chargebacks", place / "table", place / "checkpoint").awaitTermination()`, and then
# `spark.read.format("delta").load(str(place / "table")).count()` is 666. (The check waits up to a minute for a stream
# that does not stop.)


# %% tags=["solution"]
def land_files(source, table_folder, checkpoint):
    """Start the stream from `source` to the table in `table_folder`; return it."""
    ### BEGIN SOLUTION
    rows = spark.readStream.schema(CHARGEBACKS).json(str(source))
    writer = rows.writeStream.format("delta").trigger(availableNow=True)
    writer = writer.option("checkpointLocation", str(checkpoint))
    return writer.start(str(table_folder))
    ### END SOLUTION


# %% tags=["check"]
check.land_files(land_files)

# %% [markdown]
# ## File sources: same name, new name, old time (`maxFileAge`)
#
# Which files does a stream read? We try it with files of one line, whose modification time is a day in July.

# %%
import os
from datetime import UTC, datetime

inbox = medallion.scratch() / "inbox"
inbox.mkdir()


# %%
def send(name, line, day):
    """Write a file of one line that was last modified on a day in July 2025."""
    (inbox / name).write_text(line)
    os.utime(inbox / name, (datetime(2025, 7, day, tzinfo=UTC).timestamp(),) * 2)


# %%
def land_inbox(age="7d"):
    """Land what is new in the inbox; return all lines of the table."""
    files = spark.readStream.option("maxFileAge", age).text(str(inbox))
    writer = files.writeStream.format("delta").trigger(availableNow=True)
    writer = writer.option("checkpointLocation", f"{inbox}-checkpoint")
    writer.toTable("scratch.received").awaitTermination()
    return sorted(line for (line,) in spark.table("scratch.received").collect())


# %%
send("a.txt", "first", day=20)
land_inbox()

# %% [markdown]
# Now `a.txt` is overwritten, its old content is sent again under another name, and a file from ten days earlier arrives.
# Write down which lines the table will hold, before you open the output.

# %% tags=["predict"]
send("a.txt", "corrected", day=21)
send("b.txt", "first", day=21)
send("c.txt", "late", day=10)
land_inbox()

# %% [markdown]
# `first`, twice. A stream knows a file by its **path**, and remembers the path for `maxFileAge`: the corrected file
# was not read again, the copy was. (Overwritten weeks later, `a.txt` would be read a second time.) `c.txt` was passed
# over without a message, because it is older than the newest file by more than `maxFileAge`, seven days by default in
# Spark 4.2. The age counts from the newest file that the stream has read, so a new stream takes files of any age in
# its first micro-batch. Copies that keep the modification time (`cp -p`, `rsync -t`) run into this. A longer age
# finds it:

# %%
land_inbox(age="30d")

# %% [markdown]
# So a correction needs a new name, and the age must exceed the longest delay. The copy is a duplicate for Silver: both
# files were sent.
#
# ## Exactly once: replay, and a deleted checkpoint
#
# **Exactly once** means that each row counts as if it had been processed one time, whatever crashed in between. We land the
# chargebacks twice with the function of exercise 1.5, and count after each.

# %%
place = medallion.scratch() / "replayed"


# %%
def replayed():
    """Land the chargebacks that are new; return the rows of the table."""
    query = land_files(landing / "chargebacks", place / "table", place / "checkpoint")
    query.awaitTermination()
    return DeltaTable(str(place / "table")).count()


# %%
replayed(), replayed()

# %% [markdown]
# The second run found no new file. Then somebody deletes the checkpoint, "to start afresh". How many rows will the
# table have after the next run?

# %% tags=["predict"]
import shutil

shutil.rmtree(place / "checkpoint")
replayed()

# %% [markdown]
# Twice as many. The log of the table is a JSON file for each commit. Each line is an action, and `txn` is the note of a
# stream: its application id and the number of the micro-batch. (We read the lines as bytes. `str.splitlines` also
# splits at other characters, such as U+2028, and a string in JSON may hold those.)


# %%
def actions(table, version):
    """Return the actions of one commit of the table in a folder."""
    with (table / "_delta_log" / f"{version:020}.json").open("rb") as lines:
        return [json.loads(line) for line in lines]


# %%
notes = [
    action["txn"]
    for v in (0, 1)
    for action in actions(place / "table", v)
    if "txn" in action
]
(
    [note["version"] for note in notes],
    [note["appId"] == query_id(place / "checkpoint") for note in notes],
)

# %% [markdown]
# The second list asks whether the id is that of the present checkpoint. Both commits are micro-batch 0, but of two
# applications: a new checkpoint has a new query id, so Delta had nothing
# to recognise. Remove a checkpoint only together with its table.
#
# ## Exactly once: kill and restart
#
# Now a crash. A second process, with a Spark of its own, lands the payments, 14 files to a micro-batch. After its first
# commit we kill it with `SIGKILL`, Python and Java together.


# %%
def land_payments(spark, source, target):
    """Land the lines of the payments in the folder `target`, 14 files at a time."""
    lines = spark.readStream.option("maxFilesPerTrigger", 14).text(source)
    writer = lines.writeStream.format("delta").trigger(availableNow=True)
    writer = writer.option("checkpointLocation", f"{target}-checkpoint")
    writer.start(target).awaitTermination()


# %%
source, target = str(landing / "payments"), str(medallion.scratch() / "killed")

# %% [markdown]
# Its program is the source of this function, and a call. `process_group=0` lets us kill it and its Java as one.

# %%
import inspect

program = f"import medallion\n{inspect.getsource(land_payments)}"
program += f"land_payments(medallion.start(), {source!r}, {target!r})"

# %%
import signal
import subprocess
import sys
from time import sleep

quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
child = subprocess.Popen([sys.executable, "-c", program], process_group=0, **quiet)
while not list((medallion.scratch() / "killed" / "_delta_log").glob("*.json")):
    assert child.poll() is None, "the process ended before we could kill it"
    sleep(0.05)
os.killpg(child.pid, signal.SIGKILL)
child.wait() == -signal.SIGKILL

# %% [markdown]
# Some rows are there, and not all; `deltalake` counts them from the log. Then we start the same stream here.

# %%
every = spark.read.text(source).count()
survived = DeltaTable(target).count()
land_payments(spark, source, target)
0 < survived < every, every, DeltaTable(target).count()

# %% [markdown]
# The table has exactly as many rows as were sent. The checkpoint notes the files of a micro-batch *before* a row is
# written, and the commit carries id and number. The worst moment lies between commit and checkpoint. We build it by
# hand, by removing the checkpoint's last note.

# %%
noted = medallion.scratch() / "killed-checkpoint" / "commits"
last = max(noted.glob("[0-9]*"), key=lambda path: int(path.name))
for file in noted.glob(f"*{last.name}*"):
    file.unlink()
land_payments(spark, source, target)
last.exists(), DeltaTable(target).count()

# %% [markdown]
# The stream repeated the micro-batch, as its new note shows, and the table took none of it. This shows atomicity and
# recovery, not durability against a power cut: a kill leaves the operating system's buffers intact.

# %% [markdown]
# ## A Python data source: an HTTP API, page by page
#
# What the campaigns cost comes from an advertising network, over HTTP. Spark has no reader for that; since version 4 we can
# write one in Python. A server on this machine plays the network: it gives its rows, a page at a time, to callers with
# a token, and is sometimes too busy (status 429).

# %%
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from medallion.servers import api

spend = landing / "marketing" / "campaign_spend" / "campaign_spend.csv"


# %%
def get(url, token):
    """Return the JSON of an answer, and when it was last modified."""
    request = Request(url, headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=10) as answer:
        return json.load(answer), answer.headers["Last-Modified"]


# %%
with api.serve(spend, busy=1) as (url, token):
    try:
        get(f"{url}?page=1", token)
    except HTTPError as error:
        refused = error.code
refused

# %% [markdown]
# So we retry a limited number of times, after a pause whose upper limit doubles (*backoff*) and whose length is
# random (*jitter*): many callers must not come back together. A wrong token is not retried, since waiting cures
# nothing there.

# %%
import random
import time


# %%
def patiently(call, passes, attempts=5, pause=0.1):
    """Return what `call` returns; call again after an error that `passes`."""
    for attempt in range(1, attempts):
        try:
            return call()
        except Exception as error:
            if not passes(error):
                raise
        time.sleep(random.uniform(0, pause * 2**attempt))
    return call()


# %%
def is_busy(error):
    """Say whether an answer asks us to come again later."""
    return isinstance(error, HTTPError) and error.code in (429, 502, 503, 504)


# %% [markdown]
# An **offset** is a position in the source: all before it has been read. A streaming reader implements the first offset, the
# latest offset, the partitions between two offsets, and the rows of one partition. Our offset is the number of the last page
# read; a partition is a page. (On a first reading you may skip these classes, and go on where the stream runs.)

# %%
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadMaxFiles, SupportsTriggerAvailableNow


# %%
class PageReader(DataSourceStreamReader):
    def __init__(self, options):
        self.url, self.token = options["url"], options["token"]

    def page(self, number):
        page = f"{self.url}?page={number}"
        return patiently(lambda: get(page, self.token), is_busy)

    def initialOffset(self):
        return {"page": 0}

    def partitions(self, start, end):
        return [InputPartition(n) for n in range(start["page"] + 1, end["page"] + 1)]


# %% [markdown]
# Years of pages should not be one micro-batch. The reader states a limit of three pages, and `latestOffset` goes no further
# than the limit that Spark hands to it.


# %%
class LimitedReader(PageReader, SupportsTriggerAvailableNow):
    def prepareForTriggerAvailableNow(self):
        self.pages = self.page(1)[0]["pages"]

    def getDefaultReadLimit(self):
        return ReadMaxFiles(3)

    def latestOffset(self, start, limit):
        most = getattr(limit, "max_files", self.pages)
        return {"page": min(start["page"] + most, self.pages)}


# %% [markdown]
# A row takes its fields by **name**; a field that we do not know goes to `_rescued`. Its source is the page, without host
# and port, and a header of the answer says when it arrived.

# %%
from email.utils import parsedate_to_datetime

SPEND = ["day", "campaign_id", "channel", "spend_cents", "impressions", "clicks"]


# %%
class SpendReader(LimitedReader):
    def read(self, partition):
        body, modified = self.page(partition.value)
        source = f"{self.url.rpartition('/')[2]}?page={partition.value}"
        for row in body["rows"]:
            known = [row.pop(name, None) for name in SPEND]
            yield (*known, row or None, source, parsedate_to_datetime(modified))


# %%
class SpendApi(DataSource):
    @classmethod
    def name(cls):
        return "spend_api"

    def schema(self):
        own = "_rescued MAP<STRING, STRING>, _source_file STRING, _arrived_at TIMESTAMP"
        return ", ".join([f"{name} STRING" for name in SPEND] + [own])

    def streamReader(self, schema):
        return SpendReader(self.options)


# %%
spark.dataSource.register(SpendApi)

# %% [markdown]
# Now the server is busy at the first request for every page. (Spark hides the values of options called `token` in
# plans and logs. In production the token comes from a secret store.)


# %%
def land_spend(url, token):
    """Land the pages that are new; return the rows of each micro-batch."""
    pages = spark.readStream.format("spend_api").options(url=url, token=token).load()
    query = land(pages, "campaign_spend")
    query.awaitTermination()
    return [run["numInputRows"] for run in query.recentProgress if run["numInputRows"]]


# %% costly="every page is asked for twice, with a pause between"
with api.serve(spend, busy=1) as network:
    runs = [land_spend(*network) for _ in range(2)]
runs

# %% [markdown]
# The first run read three pages, then two; the second run read nothing. (Where the last page still grows, the offset
# must be something else, such as a row's time of change.)
#
# ## Inside a Delta table: log, versions, history, time travel
#
# We read the commit of the second micro-batch of orders.

# %%
second = actions(landing.parent / "bronze" / "orders", 2)
stats = [json.loads(one["add"]["stats"]) for one in second if "add" in one]
added = sum(file["numRecords"] for file in stats)
sorted({name for one in second for name in one}), added

# %% [markdown]
# `commitInfo` says who did what, and `add` names a Parquet file with its statistics, the number of rows among them. A
# `remove` would take a file out. The table is the sum of its commits, so a version can be read while its commits and
# files are kept: *time travel*.

# %%
then = spark.read.option("versionAsOf", 1).table("bronze.orders").count()
then, then + added == spark.table("bronze.orders").count()

# %% [markdown]
# ## ACID: two writers, one conflict
#
# A commit is *atomic* (chapter 00 and the kill), *consistent* (what does not fit the columns is refused) and
# *isolated*: two writers do not mix. It is *durable* as far as the storage keeps what it has confirmed, which we
# cannot show here. Our second writer is `deltalake`. It opens a table of one file; Spark changes door 3 and commits;
# then the other one wants to change **door 4**. Write down what it gets: success, or a conflict?

# %% tags=["predict"]
doors = spark.range(5).selectExpr("id", "0 AS opened").coalesce(1)
doors.write.mode("overwrite").saveAsTable("scratch.doors")
other = DeltaTable(str(medallion.scratch() / "doors"))
spark.sql("UPDATE scratch.doors SET opened = opened + 1 WHERE id = 3").collect()
try:
    outcome = other.update(updates={"opened": "opened + 10"}, predicate="id = 4")
except Exception as error:
    outcome = type(error).__name__
outcome

# %% [markdown]
# A conflict, although the rows differ. Open-source Delta compares **files**: both doors are in one file, and Spark had
# replaced it. (Databricks can compare rows, with deletion vectors.) The first to commit wins; the second reads the
# table again and repeats its change, which is `patiently` again:

# %%
from deltalake.exceptions import CommitFailedError


# %%
def open_door():
    """Open door 4; after a conflict, read the newest version first."""
    try:
        other.update(updates={"opened": "opened + 10"}, predicate="id = 4")
    except CommitFailedError:
        other.update_incremental()
        raise


# %%
patiently(open_door, lambda error: isinstance(error, CommitFailedError))
spark.table("scratch.doors").where("opened > 0").orderBy("id")

# %% [markdown]
# No change got lost. Appends read no file of the table, so two that overlap do not conflict. But every write depends on the
# **metadata**, the columns and properties:

# %%
import pyarrow as pa
from deltalake import write_deltalake

row = pa.table({"id": [9], "opened": pa.array([0], pa.int32())})


# %%
def append_after(statement):
    """Open the table, let Spark run a statement, append; return what happens."""
    table = DeltaTable(str(medallion.scratch() / "doors"))
    spark.sql(statement).collect()
    try:
        write_deltalake(table, row, mode="append")
    except CommitFailedError as error:
        return str(error).rpartition(": ")[2]
    return "committed"


# %%
append_after("INSERT INTO scratch.doors VALUES (8, 0)")

# %%
append_after("ALTER TABLE scratch.doors ADD COLUMN note STRING")

# %% [markdown]
# So a write that adds a column, as `mergeSchema` may, makes other open writes fail. They retry, with a limit: a
# writer that always loses must fail at some time.
#
# ## Failure lab: `toTable` without a format writes Parquet
#
# On most installations Spark's default format is Parquet. We set that default, and set it back in `finally`: an error
# in between would leave the rest of the notebook writing Parquet.

# %%
lab, folder = medallion.scratch() / "lab", landing / "chargebacks"
usual = spark.conf.get("spark.sql.sources.default")
spark.conf.set("spark.sql.sources.default", "parquet")
try:
    rows = spark.readStream.schema(CHARGEBACKS).json(str(folder))
    writer = rows.writeStream.option("checkpointLocation", str(lab / "1"))
    writer.trigger(availableNow=True).toTable("scratch.oops").awaitTermination()
    land_files(folder, lab / "table", lab / "2").awaitTermination()
finally:
    spark.conf.set("spark.sql.sources.default", usual)

# %%
try:
    spark.sql("DESCRIBE HISTORY scratch.oops")
except Exception as error:
    no_delta = medallion.reason(error)
no_delta, DeltaTable(str(lab / "table")).count()

# %% [markdown]
# The first table is Parquet without a Delta log: no history, no transactions, no safe second writer. To fix it, name
# the format, always, and reload into a new table with a new checkpoint. `land_files` names it, so it wrote Delta
# under the same setting.
#
# ## Failure lab: time travel is refused past the retention time
#
# A table keeps the files of old versions for a week, and `VACUUM` removes them afterwards. We set the time to zero, update
# the table, and ask for version 0. Nobody ran `VACUUM`: the file is still on the disk.

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
# Both Parquet files exist, and Delta 4.4 refuses: past that time the version may be incomplete. As long as nothing
# has been vacuumed, a longer time brings it back.

# %%
spark.sql(
    "ALTER TABLE scratch.forgetful "
    "SET TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 30 days')"
)
spark.read.option("versionAsOf", 0).table("scratch.forgetful").collect()

# %% [markdown]
# A report "as of last quarter" needs the files and the log (`delta.logRetentionDuration`, 30 days by default). Set both
# times when the table is made.
#
# ## Reconciliation: do the books balance, per file?
#
# The manifest of the landing folder says how many rows each file has. A total is not enough: with one file lost and another
# of its size there twice, it is right.

# %% tags=["setup"]
sent_files = {"a.csv": 3, "b.csv": 5, "c.csv": 5}
landed_files = {"a.csv": 3, "b.csv": 10}

# %% [markdown] tags=["exercise"]
# ### Exercise 1.6: reconcile per file
#
# Write `unbalanced(sent, landed)`. Both are dictionaries from the name of a file to its number of rows. It returns the sorted
# list of the files whose rows differ, also of those in one dictionary only. A file of 0 rows that has landed no row is in
# order. Try it: `unbalanced(sent_files, landed_files)`.


# %% tags=["solution"]
def unbalanced(sent, landed):
    """Return the files whose rows sent and landed differ, sorted."""
    ### BEGIN SOLUTION
    files = sent.keys() | landed.keys()
    return sorted(f for f in files if sent.get(f, 0) != landed.get(f, 0))
    ### END SOLUTION


# %% tags=["check"]
check.unbalanced(unbalanced)

# %%
equal = sum(sent_files.values()) == sum(landed_files.values())
equal, unbalanced(sent_files, landed_files)

# %% [markdown]
# The totals are equal, and two files are wrong. Now our eleven tables. We count with `deltalake`, so Spark does not check
# itself; the pages of the API count as its one file. The files that chapters 09 and
# 10 load are not ours.

# %%
manifest = json.loads((landing / "_manifest.json").read_text())
LATER = ("support/", "parcel_")
files = [file for file in manifest["files"] if not file["path"].startswith(LATER)]
sent = {file["path"]: file["rows"] for file in files}
sent["campaign_spend"] = sent.pop("marketing/campaign_spend/campaign_spend.csv")
len(sent), sum(sent.values())

# %%
TABLES = ["customers", "products", "orders", "web_events", "payments", "chargebacks"]
TABLES += ["telemetry", "maintenance", "touchpoints", "campaign_spend", "cdnow"]


# %%
def rows_by_file(table):
    """Return the rows of a Bronze table for each file; pages count as one."""
    found = DeltaTable(str(landing.parent / "bronze" / table))
    files = found.to_pyarrow_table(columns=["_source_file"]).to_pandas()
    return files["_source_file"].str.partition("?")[0].value_counts()


# %%
landed = {table: rows_by_file(table) for table in TABLES}
unbalanced(sent, pd.concat(landed.values()).to_dict())

# %%
totals = {
    table: {"files": len(rows), "rows": rows.sum()} for table, rows in landed.items()
}
pd.DataFrame(totals).T

# %% [markdown]
# No file is out of balance. Equal counts do not prove equal *content*. For the payments we compare a checksum of each
# file: the sum of the CRC-32 of its lines, in any order.

# %%
from zlib import crc32


# %%
def checksum(name):
    """Return the sum of the CRC-32 of the lines of a file that was sent."""
    return sum(crc32(line) for line in (landing / name).read_bytes().splitlines())


# %%
payments = spark.table("bronze.payments").groupBy("_source_file")
sums = dict(payments.agg(F.expr("sum(crc32(encode(_line, 'UTF-8')))")).collect())
len(sums), [name for name in sums if sums[name] != checksum(name)]

# %% [markdown]
# Each of the 800 files has as many rows in Bronze as were sent. For the 27 files of payments the lines have the same
# checksum, too.

# %% [markdown]
# ## Check yourself

# %%
from medallion.lesson import quiz

quiz.show("01")

# %% [markdown]
# ## What we know now
#
# - A stated schema is a decision; an inferred one is kept in a file and corrected with hints.
# - CSV is matched by position. With `enforceSchema` off, Spark refuses a file whose header differs from the schema.
#   A file's encoding is data about the file.
# - Broken lines, wrong types and unknown fields are three losses; `_corrupt_record`, `_rescued` and `_line` keep them.
# - A new column can be refused, added, rescued or ignored, or can stop the stream. A write by name casts value by
#   value.
# - A stream reads a path once within `maxFileAge`, and passes over a file that is older. A deleted checkpoint reads
#   all again.
# - Writers conflict over files and metadata, and retry with a limit and jitter.
# - Books balance per file, not in total.
#
# **On Databricks** the stream is Auto Loader: `format("cloudFiles")` keeps the inferred schema, takes `schemaHints`,
# has the modes as `schemaEvolutionMode`, and reads changed files again with `cloudFiles.allowOverwrites`. The rescued
# column is `_rescued_data` and also holds values of a wrong type. Files lie in a Unity Catalog volume, and a table is
# `catalog.bronze.orders`.
