"""The checks of chapter 01: the blank, the chapter's own solution, and what wrong answers are told."""

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from verdicts import NOT_DONE, wrong


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    return SimpleNamespace(**run_cells("01", "setup", "solution"))


def test_the_blanks_are_not_done(chapter: SimpleNamespace) -> None:
    def blank(*_: object) -> object: ...

    verdicts = [
        chapter.check.schema_hints(..., chapter.inferred.schema, chapter.july),
        chapter.check.rescue(blank),
        chapter.check.append_evolving(blank),
        chapter.check.fixed_width(...),
        chapter.check.land_files(blank),
    ]
    assert [(verdict.state, verdict.message) for verdict in verdicts] == [("open", NOT_DONE)] * 5


# 1.1 ---------------------------------------------------------------------------------------------


def test_hints_right(chapter: SimpleNamespace) -> None:
    verdict = chapter.check.schema_hints(chapter.hints, chapter.inferred.schema, chapter.july)
    assert repr(verdict) == "✓ Exercise 1.1. Every postcode is read as it was sent."


@pytest.mark.parametrize(
    ("hints", "told"),
    [
        (
            "zip STRING",
            "The file has no column 'zip'. Its columns are customer_id, first_name, last_name, email, city, "
            "postcode, signup_date, birth_year, marketing_consent.",
        ),
        ("postcode STRING, birth_year STRING", "The hint changes birth_year, which was inferred right."),
        (
            "postcode: as text",
            "'postcode: as text' is not DDL (PARSE_SYNTAX_ERROR). Write a name and a type.",
        ),
    ],
)
def test_hints_wrong(chapter: SimpleNamespace, hints: str, told: str) -> None:
    assert wrong(chapter.check.schema_hints(hints, chapter.inferred.schema, chapter.july)) == told


@pytest.mark.parametrize("kind", ["INT", "BIGINT"])
def test_a_number_loses_the_zero(chapter: SimpleNamespace, kind: str) -> None:
    with Path(chapter.july).open(encoding="utf-8", newline="") as file:
        id_, sent = min(
            (row["customer_id"], row["postcode"])
            for row in csv.DictReader(file)
            if row["postcode"][:1] == "0"
        )
    told = wrong(chapter.check.schema_hints(f"postcode {kind}", chapter.inferred.schema, chapter.july))
    assert told == (
        f"Customer {id_} sent the postcode {sent!r}, and with your hints it is read as {int(sent)!r}."
    )


# 1.2 ---------------------------------------------------------------------------------------------


def all_fields(line: Column, known: list[str]) -> Column:
    return F.from_json(line, "MAP<STRING, STRING>")


def empty_for_none(line: Column, known: list[str]) -> Column:
    return F.map_filter(all_fields(line, known), lambda name, _: ~name.isin(known))


def by_value(line: Column, known: list[str]) -> Column:
    unknown = F.map_filter(all_fields(line, known), lambda _, value: value.isin("new", "more", "x", "7"))
    return F.when(F.size(unknown) > 0, unknown)


def as_text(line: Column, known: list[str]) -> Column:
    return F.to_json(empty_for_none(line, known))


def test_rescue_right(chapter: SimpleNamespace) -> None:
    assert (
        repr(chapter.check.rescue(chapter.rescued))
        == "✓ Exercise 1.2. Unknown fields are kept, and only those."
    )


KNOWN_ONLY = 'For a line with known fields only, {"a": "1", "b": 2}, your column is '


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (all_fields, KNOWN_ONLY + '{"a": "1", "b": "2"}; it should be NULL.'),
        (empty_for_none, KNOWN_ONLY + "{}; it should be NULL."),
        (as_text, "The column is of the type STRING; it should be MAP<STRING, STRING>."),
        (
            by_value,
            'For two of them, {"new": 7, "a": "1", "more": {"deep": [1, 2]}}, your column is {"new": "7"}; '
            'it should be {"new": "7", "more": "{\\"deep\\":[1,2]}"}.',
        ),
    ],
)
def test_rescue_wrong(chapter: SimpleNamespace, answer: Callable[..., Column], told: str) -> None:
    assert wrong(chapter.check.rescue(answer)) == told


# 1.3 ---------------------------------------------------------------------------------------------


def widening(frame: DataFrame, table: str) -> None:
    frame.sparkSession.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')")


def merging(frame: DataFrame, table: str) -> None:
    frame.write.mode("append").option("mergeSchema", True).saveAsTable(table)


def replacing(frame: DataFrame, table: str) -> None:
    frame.write.mode("overwrite").option("overwriteSchema", True).saveAsTable(table)


def dropping_what_is_new(frame: DataFrame, table: str) -> None:
    widening(frame, table)
    merging(frame.drop("note"), table)


def plain(frame: DataFrame, table: str) -> None:
    frame.write.mode("append").saveAsTable(table)


def appending_twice(frame: DataFrame, table: str) -> None:
    widening(frame, table)
    merging(frame.union(frame), table)


def casting(frame: DataFrame, table: str) -> None:
    widening(frame, table)
    merging(frame.withColumn("stock", F.expr("try_cast(stock AS BIGINT)")), table)


def test_append_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.append_evolving(chapter.append_evolving)) == (
        "✓ Exercise 1.3. The column grew, the type widened, and a text as a stock is still refused."
    )


def adding_before_it_looks(frame: DataFrame, table: str) -> None:
    SparkSession.active().sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')")
    largest = max(row.stock + 0 for row in frame.collect())
    assert largest > 0
    frame.write.mode("append").option("mergeSchema", True).saveAsTable(table)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (replacing, "The rows with the ids [1, 2] were in the table and are gone. Append, do not replace."),
        (
            merging,
            "Appending a row whose stock is the BIGINT 3000000000 failed with CAST_OVERFLOW_IN_TABLE_INSERT; "
            "the column stock is still an INT.",
        ),
        (plain, "Appending a row with the new column note failed with DELTA_METADATA_MISMATCH."),
        (dropping_what_is_new, "The frame has a column note, and the table has not got it."),
        (appending_twice, "The table has 4 rows now; it had 2, and the frame has 1."),
        (
            adding_before_it_looks,
            'Appending a text as a stock failed with TypeError: can only concatenate str (not "int") to str, '
            "before Delta could refuse it.",
        ),
        (casting, "The stock 'plenty' was let in; the column stock is of the type BIGINT now."),
    ],
)
def test_append_wrong(chapter: SimpleNamespace, answer: Callable[..., None], told: str) -> None:
    assert wrong(chapter.check.append_evolving(answer)) == told


# 1.4 ---------------------------------------------------------------------------------------------


def purchases(lines: DataFrame, quantity: str, amount: str) -> DataFrame:
    return lines.selectExpr(
        "substring(value, 2, 5) AS customer_id",
        "CAST(try_to_timestamp(substring(value, 8, 8), 'yyyyMMdd') AS DATE) AS purchased_on",
        f"{quantity} AS quantity",
        f"{amount} AS amount_cents",
    )


QUANTITY = "try_cast(trim(substring(value, 17, 2)) AS INT)"
EXACT = "CAST(try_cast(trim(substring(value, 20, 7)) AS DECIMAL(9, 2)) * 100 AS INT)"
CUT = "CAST(try_cast(trim(substring(value, 20, 7)) AS DOUBLE) * 100 AS INT)"


def test_fixed_width_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.fixed_width(chapter.purchases)) == (
        "✓ Exercise 1.4. 69,659 purchases, each with the cents that its line says."
    )


def test_the_heading_is_no_purchase(chapter: SimpleNamespace) -> None:
    told = wrong(chapter.check.fixed_width(purchases(chapter.cdnow, QUANTITY, EXACT)))
    assert told == (
        "A row holds a NULL: custo, NULL, NULL, NULL. Is it the heading, or a field in the wrong place?"
    )


def test_the_heading_cannot_be_cast(chapter: SimpleNamespace) -> None:
    strict = purchases(chapter.cdnow, QUANTITY.removeprefix("try_"), EXACT)
    told = wrong(chapter.check.fixed_width(strict))
    assert told == (
        "Spark stopped with CAST_INVALID_INPUT on one of your lines. Is it the heading, "
        "or a field in the wrong place?"
    )


@pytest.fixture(scope="module")
def sent(home: Path) -> list[tuple[str, str, int, str, str]]:
    """The purchases: customer, day, CDs, dollars as text, and the last digit of the day."""
    lines = (home / "landing" / "cdnow" / "CDNOW_master.txt").read_text(encoding="ascii").splitlines()[1:]
    days = [f"{line[7:11]}-{line[11:13]}-{line[13:15]}" for line in lines]
    return [
        (line[1:6], day, int(line[16:18]), line[19:].strip(), day[-1])
        for line, day in zip(lines, days, strict=True)
    ]


def test_a_double_loses_a_cent(chapter: SimpleNamespace, sent: list[tuple[str, str, int, str, str]]) -> None:
    cut = [
        (id_, day, number, int(paid.replace(".", "")), int(float(paid) * 100))
        for id_, day, number, paid, _ in sent
        if int(float(paid) * 100) != int(paid.replace(".", ""))
    ]
    id_, day, _, cents, lost = min(cut)
    frame = purchases(chapter.cdnow.where("value NOT LIKE '%customer_id%'"), QUANTITY, CUT)
    assert wrong(chapter.check.fixed_width(frame)) == (
        f"Customer {id_} paid {cents} cents on {day}; your row says {lost}."
    )


def test_a_field_in_the_wrong_place(
    chapter: SimpleNamespace, sent: list[tuple[str, str, int, str, str]]
) -> None:
    misplaced = "CAST(substring(value, 15, 1) AS INT)"
    frame = purchases(chapter.cdnow.where("value NOT LIKE '%customer_id%'"), misplaced, EXACT)
    id_, day, number, paid, _ = min(row for row in sent if row[2] != int(row[4]))
    assert wrong(chapter.check.fixed_width(frame)) == (
        f"The purchase {id_}, {day}, {number}, {paid.replace('.', '')} is in the file and not "
        "among your rows."
    )


def test_the_columns_and_their_types(chapter: SimpleNamespace) -> None:
    check, frame = chapter.check.fixed_width, chapter.purchases
    assert wrong(check(frame.drop("quantity"))) == (
        "The column quantity is missing; yours are customer_id, purchased_on, amount_cents."
    )
    assert wrong(check(frame.withColumn("amount_cents", F.col("amount_cents") / 100))) == (
        "The column amount_cents is of the type DOUBLE, not INT."
    )
    assert wrong(check(frame.limit(10))) == "There are 10 rows; the file has 69,659 purchases."


# 1.5 ---------------------------------------------------------------------------------------------


def test_stream_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.land_files(chapter.land_files)) == (
        "✓ Exercise 1.5. Three calls, and each file is in the table once."
    )


def test_stream_wrong(chapter: SimpleNamespace, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def writer(source: Path, checkpoint: Path) -> Any:
        rows = spark.readStream.schema(chapter.CHARGEBACKS).json(str(source))
        return rows.writeStream.format("delta").option("checkpointLocation", str(checkpoint))

    def no_trigger(source: Path, table: Path, checkpoint: Path) -> Any:
        return writer(source, checkpoint).start(str(table))

    def fresh_checkpoint(source: Path, table: Path, checkpoint: Path) -> Any:
        number = len(list(checkpoint.parent.glob("another-*")))
        rows = writer(source, checkpoint.parent / f"another-{number}")
        return rows.trigger(availableNow=True).start(str(table))

    def as_parquet(source: Path, table: Path, checkpoint: Path) -> Any:
        return writer(source, checkpoint).format("parquet").trigger(availableNow=True).start(str(table))

    def no_query(source: Path, table: Path, checkpoint: Path) -> None:
        chapter.land_files(source, table, checkpoint).awaitTermination()

    check = chapter.check.land_files
    assert wrong(check(fresh_checkpoint)) == (
        "There are 4 rows after a second call with no new file, and 2 were sent. "
        "Every call needs the same checkpoint, the one it is given."
    )
    assert wrong(check(as_parquet)) == (
        "There is no Delta log in the folder of the table. Which format did you write?"
    )
    assert wrong(check(no_query)) == "Your function returned None; return the query that start() gives."
    monkeypatch.setattr(check, "seconds", 1)
    assert wrong(check(no_trigger)) == "The stream was still running after 1 seconds. Which trigger ends it?"
    assert not spark.streams.active
