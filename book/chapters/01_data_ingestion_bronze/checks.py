"""The checks of chapter 01."""

import csv
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming import StreamingQuery
from pyspark.sql.types import StructType

from medallion import paths
from medallion.lesson.exercise import Exercise, Verdict, other_kind
from medallion.lesson.frames import (
    WHOLE,
    Case,
    FrameExercise,
    frame_of,
    misshapen,
    scratch_table,
    session,
    shown,
)
from medallion.paths import scratch
from medallion.spark import databricks
from medallion.spark.tracebacks import reason


class SchemaHints(Exercise):
    """Exercise 1.1. The hints change the postcode to text, and nothing else."""

    number = "1.1"
    title = "a hint"
    takes = 'a text in DDL, such as "birth_year SMALLINT"'
    hints = (
        "Which column did the guess get wrong? Only that one needs a hint.",
        "A hint is the name of a column and its type, as in CREATE TABLE: name TYPE.",
        "A zero at the front is kept by text. The type for text is STRING.",
    )

    def check(self, hints: str, inferred: StructType, path: str) -> Verdict:
        try:
            # Text that names no column, such as "STRING", is DDL too, of a type that is no structure.
            hinted = StructType.fromDDL(hints)
        except Exception as error:  # whatever Spark's parser raises
            return self.wrong(f"{hints!r} is not DDL ({reason(error)}). Write a name and a type.")
        if not isinstance(hinted, StructType):
            return self.wrong(f"{hints!r} names no column. Write a name and a type.")
        for field in hinted:
            if field.name not in inferred.names:
                return self.wrong(
                    f"The file has no column {field.name!r}. Its columns are {', '.join(inferred.names)}."
                )
            if field.name != "postcode" and field.dataType != inferred[field.name].dataType:
                return self.wrong(f"The hint changes {field.name}, which was inferred right.")
        schema = StructType([hinted[f.name] if f.name in hinted.names else f for f in inferred])
        read = session().read.csv(path, header=True, schema=schema)
        postcodes = {
            row.customer_id: row.postcode for row in read.select("customer_id", "postcode").collect()
        }
        with Path(path).open(encoding="utf-8", newline="") as file:
            lines = [row for row in csv.DictReader(file) if row["customer_id"]]
        sent = {row["customer_id"]: row["postcode"] or None for row in lines}
        for customer, postcode in sorted(sent.items()):
            found = postcodes.get(customer)
            if postcode != (None if found is None else str(found)):
                return self.wrong(
                    f"Customer {customer} sent the postcode {postcode!r}, and with your hints "
                    f"it is read as {found!r}."
                )
        return self.right("Every postcode is read as it was sent.")


class Rescue(FrameExercise):
    """Exercise 1.2. The column holds the unknown fields, all of them, and nothing else."""

    number = "1.2"
    title = "rescue what is unknown"
    takes = "a function of a column and a list of names that returns a column"
    hints = (
        "The line has to become something whose keys can be looked at: a map.",
        "from_json can read any JSON object as MAP<STRING, STRING>; "
        "map_filter keeps the entries that pass a test.",
        "The test is ~name.isin(known). A map without entries has the size 0: "
        "F.when(F.size(m) > 0, m) makes it NULL.",
    )
    keys = ("line",)
    kinds: ClassVar = {"line": "STRING", "rescued": "MAP<STRING, STRING>"}
    what = "{line}"
    other = "For {why}, {what}, your column is {found}; it should be {expected}."
    praise = "Unknown fields are kept, and only those."
    # What is sent, what is expected of it, and what the case is about. "a" and "b" are known.
    lines = (
        ('{"a": "1", "b": 2}', None, "a line with known fields only"),
        ('{"a": "1", "new": "x"}', {"new": "x"}, "a line with one unknown field"),
        (
            '{"new": 7, "a": "1", "more": {"deep": [1, 2]}}',
            {"new": "7", "more": '{"deep":[1,2]}'},
            "two of them",
        ),
        ('{"a": "new", "b": "more"}', None, "known fields whose values look like names"),
        ('{"a": "1", "new": nul', None, "a broken line"),
    )

    def cases(self) -> Iterator[Case]:
        yield Case((frame_of(self.lines, "line STRING"),), self.lines)

    def answered(self, rescued: Callable[[Column, list[str]], Any], case: Case) -> Any:
        (frame,) = case.given or ()
        column = rescued(F.col("line"), ["a", "b"])
        return frame.withColumn("rescued", column) if isinstance(column, Column) else column

    def wrong_in(self, frame: Any, case: Case) -> str | None:
        if not isinstance(frame, DataFrame):
            return other_kind(frame, "a column")
        wrong = super().wrong_in(frame, case)
        return wrong and wrong.replace("The column rescued", "Your column")

    def shown(self, column: str, value: Any) -> str:
        return json.dumps(value) if isinstance(value, dict) else super().shown(column, value)


class AppendEvolving(Exercise):
    """Exercise 1.3. New columns are added, types widened, old rows kept, and nonsense is still refused."""

    number = "1.3"
    title = "append what has changed"
    takes = "a function of a DataFrame and the name of a table"
    hints = (
        "Two things have to be allowed: new columns, and types that grow. "
        "Each was allowed once in this chapter.",
        "One is an option of the write, the other is a property of the table.",
        "ALTER TABLE … SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true'), "
        "then .option('mergeSchema', True).",
    )

    def check(self, append_evolving: Callable[[DataFrame, str], Any]) -> Verdict:
        spark = session()
        with scratch_table("id INT, stock INT", [(1, 10), (2, 20)]) as table:
            grown = spark.createDataFrame([(3, 3_000_000_000, "new")], "id INT, stock BIGINT, note STRING")
            try:
                append_evolving(grown, table)
            except Exception as error:  # whatever the learner's code raises
                why = reason(error)
                if why == "DELTA_METADATA_MISMATCH":
                    return self.wrong(f"Appending a row with the new column note failed with {why}.")
                return self.wrong(
                    f"Appending a row whose stock is the BIGINT 3000000000 failed with {why}; "
                    "the column stock is still an INT."
                )
            rows = spark.table(table).collect()
            after = {row.id: row.asDict() for row in rows}
            gone = [id for id in (1, 2) if id not in after]
            if gone:
                return self.wrong(
                    f"The rows with the ids {gone} were in the table and are gone. Append, do not replace."
                )
            if 3 not in after:
                return self.wrong("The row with the id 3 was in the frame and is not in the table.")
            if len(rows) != 3:
                return self.wrong(f"The table has {len(rows)} rows now; it had 2, and the frame has 1.")
            if after[3]["stock"] != 3_000_000_000:
                return self.wrong(f"The stock 3000000000 has become {after[3]['stock']} in the table.")
            if "note" not in after[3]:
                return self.wrong("The frame has a column note, and the table has not got it.")
            text = spark.createDataFrame([(4, "plenty")], "id INT, stock STRING")
            try:
                append_evolving(text, table)
            except (PySparkException, Py4JError):  # the refusal that the task asks for
                return self.right(
                    "The column grew, the type widened, and a text as a stock is still refused."
                )
            except Exception as error:  # whatever the learner's code raises
                return self.wrong(
                    f"Appending a text as a stock failed with {reason(error)}, before Delta could refuse it."
                )
            kind = dict(spark.table(table).dtypes)["stock"]
            return self.wrong(
                f"The stock 'plenty' was let in; the column stock is of the type {kind.upper()} now."
            )


class FixedWidth(Exercise):
    """Exercise 1.4. All purchases of CDNOW, to the cent."""

    number = "1.4"
    title = "fixed width"
    takes = "a DataFrame with a row for each purchase"
    columns: ClassVar = {
        "customer_id": "STRING",
        "purchased_on": "DATE",
        "quantity": WHOLE,
        "amount_cents": WHOLE,
    }
    hints = (
        "F.substring(column, first, length) counts from 1, as the table does.",
        "to_date takes the pattern yyyyMMdd. For the rest: trim the text, then cast it.",
        "29.33 * 100 is 2932.9999… as a DOUBLE. Cast to decimal(9, 2) before you multiply.",
    )

    def check(self, purchases: DataFrame) -> Verdict:
        if wrong := misshapen(purchases, self.columns):
            return self.wrong(wrong)
        try:
            columns = purchases.select(*self.columns).toArrow().columns
        except (PySparkException, Py4JJavaError) as error:
            return self.wrong(
                f"Spark stopped with {reason(error)} on one of your lines. "
                "Is it the heading, or a field in the wrong place?"
            )
        answered = Counter(zip(*(column.to_pylist() for column in columns), strict=True))
        expected = Counter(self._expected())
        if any(value is None for row in answered for value in row):
            row = next(row for row in answered if None in row)
            return self.wrong(
                f"A row holds a NULL: {_told(row)}. Is it the heading, or a field in the wrong place?"
            )
        if answered.total() != expected.total():
            return self.wrong(
                f"There are {answered.total():,} rows; the file has {expected.total():,} purchases."
            )
        missing = min((expected - answered), default=None)
        if missing is None:
            return self.right("69,659 purchases, each with the cents that its line says.")
        near = [row for row in answered - expected if row[:3] == missing[:3]]
        if near:
            return self.wrong(
                f"Customer {missing[0]} paid {missing[3]} cents on {missing[1]}; your row says {near[0][3]}."
            )
        return self.wrong(f"The purchase {_told(missing)} is in the file and not among your rows.")

    @staticmethod
    def _expected() -> Iterator[tuple[str, date, int, int]]:
        text = (paths.landing() / "cdnow" / "CDNOW_master.txt").read_text(encoding="ascii")
        for line in text.splitlines()[1:]:
            customer, day, quantity, dollars = line.split()
            euros, cents = dollars.split(".")
            yield (
                customer,
                date(int(day[:4]), int(day[4:6]), int(day[6:])),
                int(quantity),
                int(euros) * 100 + int(cents),
            )


def _told(row: tuple[Any, ...]) -> str:
    return ", ".join(map(shown, row))


class LandFiles(Exercise):
    """Exercise 1.5. A stream that ends by itself, writes Delta, and takes each file once."""

    number = "1.5"
    title = "a stream of your own"
    takes = "a function of three folders that returns the query it started"
    hints = (
        "Reading is spark.readStream with the schema; "
        "writing is .writeStream with a format and a checkpoint.",
        "The trigger that takes what is new and stops is availableNow=True.",
        ".writeStream.format('delta').option('checkpointLocation', str(checkpoint))"
        ".trigger(availableNow=True).start(str(table_folder)) returns the query.",
    )
    seconds = 60  # more than three tiny batches take on a slow machine

    def check(self, land_files: Callable[[Path, Path, Path], StreamingQuery]) -> Verdict:
        place = scratch() / f"check-{uuid.uuid4().hex[:8]}"
        try:
            return self._check(land_files, place / "source", place / "table", place / "checkpoint")
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _check(
        self,
        land_files: Callable[[Path, Path, Path], StreamingQuery],
        source: Path,
        table: Path,
        checkpoint: Path,
    ) -> Verdict:
        source.mkdir(parents=True)
        _send(source / "first.jsonl", 1, 2)
        calls = (
            ("after the first call", 2),
            ("after a second call with no new file", 2),
            ("after a third call with one new file of one row", 3),
        )
        for number, (when, expected) in enumerate(calls):
            if number == 2:
                _send(source / "second.jsonl", 3)
            query = land_files(source, table, checkpoint)
            if not hasattr(query, "awaitTermination"):
                return self.wrong(other_kind(query, "the query that start() gives"))
            if not query.awaitTermination(self.seconds):
                query.stop()
                return self.wrong(
                    f"The stream was still running after {self.seconds} seconds. Which trigger ends it?"
                )
            if not (table / "_delta_log").is_dir():
                return self.wrong(
                    "There is no Delta log in the folder of the table. Which format did you write?"
                )
            rows = _rows_of(table)
            if rows != expected:
                return self.wrong(
                    f"There are {rows} rows {when}, and {expected} were sent. "
                    "Every call needs the same checkpoint, the one it is given."
                )
        return self.right("Three calls, and each file is in the table once.")


def _rows_of(table: Path) -> int:
    """Return the number of rows of a Delta table: from its log, so without a job, on a laptop."""
    if databricks.chosen():
        return session().read.format("delta").load(str(table)).count()
    from deltalake import DeltaTable

    return DeltaTable(str(table)).count()


def _send(path: Path, *numbers: int) -> None:
    rows = [
        {"chargeback_id": f"CB{n}", "payment_id": f"PY{n}", "reason": "test", "amount_cents": n}
        for n in numbers
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


schema_hints = SchemaHints()
rescue = Rescue()
append_evolving = AppendEvolving()
fixed_width = FixedWidth()
land_files = LandFiles()
