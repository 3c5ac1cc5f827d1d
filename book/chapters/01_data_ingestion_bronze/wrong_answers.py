"""Wrong answers to the exercises of chapter 01, what each is told, and other right ones."""

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


def adding_before_it_looks(frame):
    assert max(row.stock + 0 for row in frame.collect()) > 0
    return frame


# 1.4

QUANTITY = "try_cast(trim(substring(value, 17, 2)) AS INT)"
PAID = "try_cast(trim(substring(value, 20, 7)) AS {})"
EXACT = f"CAST({PAID.format('DECIMAL(9, 2)')} * 100 AS INT)"
CUT = f"CAST({PAID.format('DOUBLE')} * 100 AS INT)"


def purchases(lesson, quantity=QUANTITY, amount=EXACT, heading=False):
    lines = lesson.cdnow
    if not heading:
        lines = lines.where("value NOT LIKE '%customer_id%'")
    return lines.selectExpr(
        "substring(value, 2, 5) AS customer_id",
        "try_to_date(substring(value, 8, 8), 'yyyyMMdd') AS purchased_on",
        f"{quantity} AS quantity",
        f"{amount} AS amount_cents",
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


def no_query(lesson):
    return lambda *folders: lesson.land_files(*folders).awaitTermination()


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
        "Appending a text as a stock failed with TypeError: can only concatenate str "
        '(not "int") to str, before Delta could refuse it.',
    ),
    (
        "append_evolving",
        widened(lambda frame: frame.withColumn("stock", F.expr("try_cast(stock AS BIGINT)"))),
        "The stock 'plenty' was let in; the column stock is of the type BIGINT now.",
    ),
]

RIGHT = [
    ("schema_hints", "birth_year INT, postcode string"),
    ("rescue", rescued),
    ("rescue", by_its_names),
    ("schema_hints", "`postcode` STRING COMMENT 'a zero at the front'"),
    ("append_evolving", widened(lambda frame: frame)),
    ("append_evolving", widened(lambda frame: frame.select("note", "stock", "id"))),
]

MADE = [
    (
        "fixed_width",
        partial(purchases, heading=True),
        "A row holds a NULL: custo, NULL, NULL, NULL. Is it the heading, or a field in the wrong place?",
    ),
    (
        "fixed_width",
        partial(purchases, heading=True, quantity=QUANTITY.removeprefix("try_")),
        "Spark stopped with CAST_INVALID_INPUT on one of your lines. Is it the heading, "
        "or a field in the wrong place?",
    ),
    (
        "fixed_width",
        partial(purchases, amount=CUT),
        "Customer 00003 paid 1699 cents on 1998-05-28; your row says 1698.",
    ),
    (
        "fixed_width",
        partial(purchases, quantity="CAST(substring(value, 15, 1) AS INT)"),
        "The purchase 00002, 1997-01-12, 1, 1200 is in the file and not among your rows.",
    ),
    (
        "fixed_width",
        lambda lesson: lesson.purchases.drop("quantity"),
        "The column quantity is missing; yours are customer_id, purchased_on, amount_cents.",
    ),
    (
        "fixed_width",
        lambda lesson: lesson.purchases.withColumn("amount_cents", F.col("amount_cents") / 100),
        "The column amount_cents is of the type DOUBLE; it should be a whole number.",
    ),
    (
        "fixed_width",
        lambda lesson: lesson.purchases.limit(10),
        "There are 10 rows; the file has 69,659 purchases.",
    ),
    (
        "land_files",
        fresh_checkpoint,
        "There are 4 rows after a second call with no new file, and 2 were sent. "
        "Every call needs the same checkpoint, the one it is given.",
    ),
    (
        "land_files",
        as_parquet,
        "There is no Delta log in the folder of the table. Which format did you write?",
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
    ("fixed_width", partial(purchases, amount=f"CAST(round({PAID.format('DOUBLE')} * 100) AS BIGINT)")),
    (
        "fixed_width",
        lambda lesson: purchases(lesson).select("amount_cents", "quantity", "purchased_on", "customer_id"),
    ),
    ("land_files", batch_by_batch),
    ("land_files", named_and_with_a_path),
]
