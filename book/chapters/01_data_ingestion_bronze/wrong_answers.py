"""Wrong answers to the exercises of chapter 01, what each is told, and other right ones."""

import json
import shutil
from functools import partial

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

NEEDS = ("landing", "july", "cdnow", "CHARGEBACKS")


# 1.2


def all_fields(line, known):
    return F.from_json(line, "MAP<STRING, STRING>")


def empty_for_none(line, known):
    return F.map_filter(all_fields(line, known), lambda name, _: ~name.isin(known))


def by_value(line, known):
    unknown = F.map_filter(all_fields(line, known), lambda _, value: value.isin("new", "more", "x", "7"))
    return F.when(F.size(unknown) > 0, unknown)


def as_text(line, known):
    return F.to_json(empty_for_none(line, known))


def rescued(line, known):
    unknown = empty_for_none(line, known)
    return F.when(F.size(unknown) > 0, unknown)


def by_its_names(line, known):
    """Choose the names first, and look their values up."""
    fields = all_fields(line, known)
    names = F.array_except(F.map_keys(fields), F.array(*map(F.lit, known)))
    found = F.map_from_arrays(names, F.transform(names, lambda name: fields[name]))
    return F.when(F.size(names) > 0, found)


# 1.3


def widening(table):
    SparkSession.active().sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')")


def merging(frame, table):
    frame.write.mode("append").option("mergeSchema", True).saveAsTable(table)


def plain(frame, table):
    frame.write.mode("append").saveAsTable(table)


def replacing(frame, table):
    frame.write.mode("overwrite").option("overwriteSchema", True).saveAsTable(table)


def widened(change):
    """Return an answer that appends what `change` makes of the frame."""

    def append(frame, table):
        widening(table)
        merging(change(frame), table)

    return append


def by_hand_once(frame, table):
    spark = SparkSession.active()
    widening(table)
    spark.sql(f"ALTER TABLE {table} ADD COLUMNS (note STRING)")
    spark.sql(f"ALTER TABLE {table} ALTER COLUMN stock TYPE BIGINT")
    frame.write.mode("append").saveAsTable(table)


def adding_before_it_looks(frame):
    assert max(row.stock + 0 for row in frame.collect()) > 0
    return frame


def refusing_strings(frame, table):
    """Refuse by the type, whatever the values are."""
    if dict(frame.dtypes)["stock"] == "string":
        raise TypeError("a stock is a number")
    widened(lambda frame: frame)(frame, table)


def by_path(frame, table):
    """Append to the folder of the table, where Delta casts nothing."""
    widening(table)
    folder = SparkSession.active().sql(f"DESCRIBE DETAIL {table}").first().location
    frame.write.format("delta").mode("append").option("mergeSchema", True).save(folder)


def rewriting(frame, table):
    """Write the old rows again, together with the new ones."""
    old = SparkSession.active().table(table)
    both = old.unionByName(frame, allowMissingColumns=True)
    both.write.mode("overwrite").option("overwriteSchema", True).saveAsTable(table)


def by_setting(frame, table):
    widening(table)
    SparkSession.active().conf.set("spark.databricks.delta.schema.autoMerge.enabled", True)
    plain(frame, table)


def swallowing(frame, table):
    """Hide every error."""
    try:
        widened(lambda frame: frame)(frame, table)
    except Exception:
        return


# 1.4

CUT = "CAST(CAST(trim(substring(value, 20, 7)) AS DECIMAL(9, 1)) AS DECIMAL(9, 2))"
EXACT = "try_cast(trim(substring(value, 20, 7)) AS DECIMAL(9, 2))"
QUANTITY = "try_cast(trim(substring(value, 17, 2)) AS INT)"
DAY = "try_to_date(substring(value, 8, 8), 'yyyyMMdd')"
CUSTOMER = "substring(value, 2, 5)"


def purchases(customer=CUSTOMER, day=DAY, quantity=QUANTITY, amount=EXACT, heading=False, kept=("*",)):
    """Return an answer to 1.4 made of SQL."""

    def parse(lines):
        rows = lines if heading else lines.where("value NOT LIKE '%customer_id%'")
        return rows.selectExpr(
            *kept,
            f"{customer} AS customer_id",
            f"{day} AS purchased_on",
            f"{quantity} AS quantity",
            f"{amount} AS amount_usd",
        )

    return parse


def with_regexp(lines):
    """Take the fields by a pattern, and the heading away because it does not fit."""
    pattern = r"^ (\\d{5}) (\\d{8})\\s+(\\d+)\\s+([0-9.]+)"
    found = [f"regexp_extract(value, '{pattern}', {n})" for n in (1, 2, 3, 4)]
    rows = lines.where(f"value RLIKE '{pattern}'")
    return rows.selectExpr(
        f"CAST({found[3]} AS DECIMAL(9, 2)) AS amount_usd",
        f"CAST({found[2]} AS INT) AS quantity",
        f"to_date({found[1]}, 'yyyyMMdd') AS purchased_on",
        f"{found[0]} AS customer_id",
        "*",
    )


# 1.5


def writer(lesson, source, checkpoint):
    rows = lesson.spark.readStream.schema(lesson.CHARGEBACKS).json(str(source))
    stream = rows.writeStream.format("delta").trigger(availableNow=True)
    return stream.option("checkpointLocation", str(checkpoint))


def fresh_checkpoint(lesson):
    def land(source, table, checkpoint):
        number = len(list(checkpoint.parent.glob("another-*")))
        another = checkpoint.parent / f"another-{number}"
        return writer(lesson, source, another).start(str(table))

    return land


def as_parquet(lesson):
    def land(source, table, checkpoint):
        return writer(lesson, source, checkpoint).format("parquet").start(str(table))

    return land


def all_over_again(lesson):
    """A checkpoint that is emptied before each call."""

    def land(source, table, checkpoint):
        shutil.rmtree(checkpoint, ignore_errors=True)
        return writer(lesson, source, checkpoint).start(str(table))

    return land


def batch_by_batch(lesson, kept=lambda batch: batch):
    """Return an answer to 1.5 that appends what is `kept` of each batch."""

    def land(source, table, checkpoint):
        def append(batch, number):
            kept(batch).write.format("delta").mode("append").save(str(table))

        return writer(lesson, source, checkpoint).foreachBatch(append).start()

    return land


def named_and_with_a_path(lesson):
    return lambda source, table, checkpoint: (
        writer(lesson, source, checkpoint)
        .queryName("chargebacks")
        .outputMode("append")
        .option("path", str(table))
        .start()
    )


def waiting(lesson):
    def land(source, table, checkpoint):
        query = writer(lesson, source, checkpoint).start(str(table))
        query.awaitTermination()
        return query

    return land


def default_format(lesson):
    """Leave the format to the session."""

    def land(source, table, checkpoint):
        rows = lesson.spark.readStream.schema(lesson.CHARGEBACKS).json(str(source))
        stream = rows.writeStream.trigger(availableNow=True).option("checkpointLocation", str(checkpoint))
        return stream.start(str(table))

    return land


def as_lines(lesson):
    """Land the lines as they are, without JSON and without a schema."""

    def land(source, table, checkpoint):
        rows = lesson.spark.readStream.text(str(source))
        stream = rows.writeStream.format("delta").trigger(availableNow=True)
        return stream.option("checkpointLocation", str(checkpoint)).start(str(table))

    return land


def other_values(lesson):
    return batch_by_batch(lesson, kept=lambda batch: batch.withColumn("payment_id", F.lit("PY0")))


def no_query(lesson):
    return lambda *folders: lesson.land_files(*folders).awaitTermination()


# 1.6


def by_total(sent, landed):
    return [] if sum(sent.values()) == sum(landed.values()) else sorted(sent)


def sent_only(sent, landed):
    return sorted(file for file in sent if sent[file] != landed.get(file, 0))


def common_only(sent, landed):
    return sorted(file for file in sent.keys() & landed.keys() if sent[file] != landed[file])


def missing_is_none(sent, landed):
    return sorted(f for f in sent.keys() | landed.keys() if sent.get(f) != landed.get(f))


def too_few_only(sent, landed):
    return sorted(f for f in sent.keys() | landed.keys() if sent.get(f, 0) > landed.get(f, 0))


def in_any_order(sent, landed):
    files = [*landed, *(file for file in sent if file not in landed)]
    return [f for f in files if sent.get(f, 0) != landed.get(f, 0)]


def with_differences(sent, landed):
    return {f: landed.get(f, 0) - sent.get(f, 0) for f in sent_only(sent, landed)}


def with_loop(sent, landed):
    found = set()
    for file in [*sent, *landed]:
        if sent.get(file, 0) != landed.get(file, 0):
            found.add(file)
    return tuple(sorted(found))


def as_pairs(sent, landed):
    """Compare sets of pairs, without those of 0 rows."""
    pairs = {pair for pair in sent.items() if pair[1]} ^ {pair for pair in landed.items() if pair[1]}
    return sorted({file for file, _ in pairs})


# 1.2 again


def without_nulls(line, known):
    fields = all_fields(line, known)
    unknown = F.map_filter(fields, lambda name, value: ~name.isin(known) & value.isNotNull())
    return F.when(F.size(unknown) > 0, unknown)


def of_any_case(line, known):
    unknown = F.map_filter(all_fields(line, known), lambda name, _: ~F.lower(name).isin(known))
    return F.when(F.size(unknown) > 0, unknown)


def in_python(line, known):
    """Do it in a Python function, whose JSON in JSON has blanks in it."""

    def unknown(text):
        try:
            fields = json.loads(text)
        except (TypeError, ValueError):
            return None
        found = {name: value for name, value in fields.items() if name not in known}
        texts = {n: v if isinstance(v, str) or v is None else json.dumps(v) for n, v in found.items()}
        return texts or None

    return F.udf(unknown, "map<string,string>")(line)


def dies_of_broken_lines(line, known):
    return F.udf(lambda text: json.loads(text or "{}") and None, "map<string,string>")(line)


KNOWN_ONLY = 'For a line with known fields only, {"a": "1", "b": 2}, your column is '

WRONG = [
    (
        "schema_hints",
        "zip STRING",
        "The file has no column 'zip'. Its columns are customer_id, first_name, "
        "last_name, email, city, postcode, signup_date, birth_year, marketing_consent.",
    ),
    (
        "schema_hints",
        "postcode STRING, birth_year STRING",
        "The hint changes birth_year, which was inferred right.",
    ),
    (
        "schema_hints",
        {"postcode": "STRING"},
        "{'postcode': 'STRING'} is a dict. Write a string in DDL, such as \"birth_year SMALLINT\".",
    ),
    (
        "schema_hints",
        "Postcode STRING",
        "The file writes 'postcode', and your hint 'Postcode'. Write it as the file does.",
    ),
    (
        "schema_hints",
        "postcode: as text",
        "'postcode: as text' is not DDL (PARSE_SYNTAX_ERROR). Write a name and a type.",
    ),
    *(
        (
            "schema_hints",
            f"postcode {number}",
            "Customer C000038 sent the postcode '04763', and with your hints it is read as 4763.",
        )
        for number in ("INT", "BIGINT")
    ),
    ("rescue", all_fields, KNOWN_ONLY + '{"a": "1", "b": "2"}; it should be NULL.'),
    ("rescue", empty_for_none, KNOWN_ONLY + "{}; it should be NULL."),
    (
        "rescue",
        lambda line, known: F.from_json(line, "new STRING, more STRING"),
        "Your column is of the type STRUCT<NEW:STRING,MORE:STRING>; it should be MAP<STRING, STRING>.",
    ),
    (
        "rescue",
        lambda line, known: print(line),
        "Your function returned nothing. Does it end with return? It should return a column.",
    ),
    ("rescue", as_text, "Your column is of the type STRING; it should be MAP<STRING, STRING>."),
    (
        "rescue",
        by_value,
        'For two of them, {"new": 7, "a": "1", "more": {"deep": [1, 2]}}, your column '
        'is {"new": "7"}; it should be {"new": "7", "more": "{\\"deep\\":[1,2]}"}.',
    ),
    (
        "rescue",
        without_nulls,
        'For a line whose unknown field is null, {"a": "1", "new": null}, your column is NULL; '
        'it should be {"new": null}.',
    ),
    (
        "rescue",
        of_any_case,
        'For names that only look known, or empty, {"a": "1", "A": "x", "": "y"}, your column is '
        '{"": "y"}; it should be {"A": "x", "": "y"}.',
    ),
    (
        "rescue",
        dies_of_broken_lines,
        "Your function stopped on one of the lines with json.decoder.JSONDecodeError: …",
    ),
    (
        "append_evolving",
        by_hand_once,
        "A second append with the same columns failed with FIELD_ALREADY_EXISTS.",
    ),
    (
        "append_evolving",
        rewriting,
        "The history of the table has a commit CREATE OR REPLACE TABLE AS SELECT of the mode Append: …",
    ),
    (
        "append_evolving",
        by_setting,
        "Your function has changed the setting spark.databricks.delta.schema.autoMerge.enabled of the "
        "session, and every later write follows it. Set a property of the table, and an option of the write.",
    ),
    (
        "append_evolving",
        swallowing,
        "The stock 'plenty' is not in the table, and your function raised no error. Let it through.",
    ),
    (
        "append_evolving",
        widened(lambda frame: frame.withColumn("note", F.lit("old"))),
        "The note 'new' has become old in the table.",
    ),
    (
        "append_evolving",
        replacing,
        "The rows with the ids [1, 2] were in the table and are gone. Append, do not replace.",
    ),
    (
        "append_evolving",
        merging,
        "Appending a row whose stock is the BIGINT 3000000000 failed with "
        "CAST_OVERFLOW_IN_TABLE_INSERT; the column stock is still an INT.",
    ),
    (
        "append_evolving",
        plain,
        "Appending a row with the new column note failed with DELTA_METADATA_MISMATCH.",
    ),
    (
        "append_evolving",
        widened(lambda frame: frame.drop("note")),
        "The frame has a column note, and the table has not got it.",
    ),
    (
        "append_evolving",
        widened(lambda frame: frame.union(frame)),
        "The table has 4 rows now; it had 2, and the frame has 1.",
    ),
    (
        "append_evolving",
        widened(adding_before_it_looks),
        "Appending a string as a stock failed with TypeError: can only concatenate str "
        '(not "int") to str, before Delta could refuse it.',
    ),
    (
        "append_evolving",
        widened(lambda frame: frame.withColumn("stock", F.expr("try_cast(stock AS BIGINT)"))),
        "The stock 'plenty' was let in; the column stock is of the type BIGINT now.",
    ),
    (
        "append_evolving",
        refusing_strings,
        "Appending a string as a stock failed with TypeError: a stock is a number, before Delta could "
        "refuse it.",
    ),
    (
        "append_evolving",
        by_path,
        "The stock '12', a string that holds a number, was refused with …",
    ),
]

LOST_ID = "The column customer_id is missing; yours are "

WRONG += [
    ("fixed_width", purchases(heading=True), "A row holds a NULL: …"),
    (
        "fixed_width",
        purchases(day="to_date(substring(value, 8, 8))"),
        "Spark cannot cast '19970101' to DATE. Is it the heading, or a field in the wrong place? "
        'Does to_date have the pattern "yyyyMMdd"?',
    ),
    (
        "fixed_width",
        purchases(heading=True, quantity=QUANTITY.removeprefix("try_")),
        "Spark cannot cast 'te' to INT. Is it the heading, or a field in the wrong place?",
    ),
    ("fixed_width", purchases(amount=CUT), "For the line …"),
    ("fixed_width", purchases(quantity="CAST(substring(value, 15, 1) AS INT)"), "For the line …"),
    ("fixed_width", purchases(customer="substring(value, 1, 5)"), "For the line …"),
    (
        "fixed_width",
        purchases(amount=EXACT.replace("DECIMAL(9, 2)", "DOUBLE")),
        "The column amount_usd is of the type DOUBLE; it should be DECIMAL(9, 2).",
    ),
    (
        "fixed_width",
        purchases(customer=f"CAST({CUSTOMER} AS INT)"),
        "The column customer_id is of the type INT; it should be STRING.",
    ),
    (
        "fixed_width",
        purchases(kept=("value",)),
        "The lines had a column _source_file, and your rows have lost it. Keep all of them.",
    ),
    (
        "fixed_width",
        lambda lines: purchases()(lines).drop("customer_id"),
        LOST_ID + "value, _source_file, purchased_on, quantity, amount_usd.",
    ),
    (
        "fixed_width",
        lambda lines: purchases()(lines).distinct(),
        "There are 69,404 rows; the file has 69,659 purchases.",
    ),
    (
        "fixed_width",
        lambda lines: lines.limit(3).toPandas(),
        "Your function returned a frame of pandas. It should return one of Spark.",
    ),
    (
        "fixed_width",
        lambda lines: print(lines),
        "Your function returned nothing. Does it end with return? It should return a DataFrame.",
    ),
    (
        "unbalanced",
        by_total,
        "For a file that is lost and another of its size that is there twice the files out of balance are "
        "['a', 'b']; you return [].",
    ),
    (
        "unbalanced",
        sent_only,
        "For a file that nobody sent the files out of balance are ['x']; you return [].",
    ),
    (
        "unbalanced",
        common_only,
        "For a file that is lost and another of its size that is there twice the files out of balance are "
        "['a', 'b']; you return ['a'].",
    ),
    (
        "unbalanced",
        missing_is_none,
        "For an empty file that has landed no row the files out of balance are []; you return ['a'].",
    ),
    (
        "unbalanced",
        too_few_only,
        "For a file that is lost and another of its size that is there twice the files out of balance are "
        "['a', 'b']; you return ['b'].",
    ),
    (
        "unbalanced",
        in_any_order,
        "For several, which come sorted the files out of balance are ['a', 'c', 'd']; "
        "you return ['d', 'c', 'a'].",
    ),
    ("unbalanced", with_differences, "Your function returned {}. It should return a list of names."),
]

RIGHT = [
    (
        "fixed_width",
        purchases(amount="CAST(round(CAST(substring(value, 20, 7) AS DOUBLE), 2) AS DECIMAL(9, 2))"),
    ),
    ("fixed_width", with_regexp),
    ("unbalanced", with_loop),
    ("unbalanced", as_pairs),
    ("schema_hints", "birth_year INT, postcode string"),
    ("rescue", rescued),
    ("rescue", by_its_names),
    ("rescue", in_python),
    ("schema_hints", "`postcode` STRING COMMENT 'a zero at the front'"),
    ("append_evolving", widened(lambda frame: frame)),
    ("append_evolving", widened(lambda frame: frame.select("note", "stock", "id"))),
]

MADE = [
    (
        "land_files",
        fresh_checkpoint,
        "There are 4 rows after a second call with no new file, and 2 were sent. "
        "Every call needs the same checkpoint, the one it is given.",
    ),
    *(
        (
            "land_files",
            made,
            "There is no Delta log in the folder of the table: the default format of a session may be "
            "another, as it was here. Name the format.",
        )
        for made in (as_parquet, default_format)
    ),
    (
        "land_files",
        waiting,
        "Your function waits for the stream (awaitTermination). Return the query at once.",
    ),
    (
        "land_files",
        as_lines,
        "The column chargeback_id is missing; yours are value. Read JSON with the schema CHARGEBACKS.",
    ),
    (
        "land_files",
        other_values,
        "The row CB1, PY1, 1 has landed as CB1, PY0, 1.",
    ),
    (
        "land_files",
        all_over_again,
        "There are 4 rows after a second call with no new file, and 2 were sent. "
        "Every call needs the same checkpoint, the one it is given.",
    ),
    (
        "land_files",
        partial(batch_by_batch, kept=lambda batch: batch.limit(1)),
        "There are 1 rows after the first call, and 2 were sent. "
        "Every call needs the same checkpoint, the one it is given.",
    ),
    (
        "land_files",
        no_query,
        "Your function returned nothing. Does it end with return? "
        "It should return the query that start() gives.",
    ),
]

MADE_RIGHT = [
    ("land_files", batch_by_batch),
    ("land_files", named_and_with_a_path),
]
