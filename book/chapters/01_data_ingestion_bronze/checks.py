"""The checks of chapter 01."""

import csv
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException, PythonException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming import StreamingQuery
from pyspark.sql.types import StructType

from medallion import paths
from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, other_kind
from medallion.lesson.frames import (
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
from medallion.spark.tracebacks import message, reason


class SchemaHints(Exercise):
    """Exercise 1.1. The hints change the postcode to a string, and nothing else."""

    number = "1.1"
    title = "correct an inferred schema with a hint"
    takes = 'a string in DDL, such as "birth_year SMALLINT"'
    hints = (
        'Look at inferred.schema["postcode"]. Which type did Spark choose? Only this column needs a hint.',
        "A hint is the name of a column and its type, as in CREATE TABLE: name TYPE.",
        "A number has no zero at the front, a string may have one: the type is STRING.",
    )

    def check(self, hints: str, inferred: StructType, path: str) -> Verdict:
        if not isinstance(hints, str):
            return self.wrong(f"{hints!r} is a {type(hints).__name__}. Write {self.takes}.")
        try:
            # Text that names no column, such as "STRING", is DDL too, of a type that is no structure.
            hinted = StructType.fromDDL(hints)
        except Exception as error:  # whatever Spark's parser raises
            return self.wrong(f"{hints!r} is not DDL ({reason(error)}). Write a name and a type.")
        if not isinstance(hinted, StructType):
            return self.wrong(f"{hints!r} names no column. Write a name and a type.")
        for field in hinted:
            if field.name.lower() in inferred.names and field.name not in inferred.names:
                return self.wrong(
                    f"The file writes {field.name.lower()!r}, and your hint {field.name!r}. "
                    "Write it as the file does."
                )
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
    title = "rescue unknown fields"
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
        ('{"a": "1", "new": null}', {"new": None}, "a line whose unknown field is null"),
        ('{"a": "1", "A": "x", "": "y"}', {"A": "x", "": "y"}, "names that only look known, or empty"),
        ("{}", None, "a line without fields"),
        (None, None, "no line at all"),
        ('{"a": "new", "b": "more"}', None, "known fields whose values look like names"),
        ('{"a": "1", "new": nul', None, "a broken line"),
    )

    def cases(self) -> Iterator[Case]:
        yield Case((frame_of(self.lines, "line STRING"),), self.lines)

    def check(self, rescued: Any) -> Verdict:
        try:
            return super().check(rescued)
        except PythonException as error:  # its last line says what happened in the learner's function
            lines = [line.strip() for line in message(error).splitlines() if line.strip()]
            last = next((line for line in reversed(lines) if "Error" in line), lines[0])
            return self.wrong(
                f"Your function stopped on one of the lines with {last}. One of them is no JSON."
            )

    def answered(self, rescued: Callable[[Column, list[str]], Any], case: Case) -> Any:
        (frame,) = case.given or ()
        column = rescued(F.col("line"), ["a", "b"])
        return frame.withColumn("rescued", column) if isinstance(column, Column) else column

    def wrong_in(self, frame: Any, case: Case) -> str | None:
        if not isinstance(frame, DataFrame):
            return other_kind(frame, "a column")
        wrong = super().wrong_in(frame, case)
        return wrong and wrong.replace("The column rescued", "Your column")

    def wrong_among(self, found: Any, case: Case) -> str | None:
        """Compare JSON within JSON by what it means: blanks in it do not matter."""
        return super().wrong_among([(line, _compact(fields)) for line, fields in found], case)

    def shown(self, column: str, value: Any) -> str:
        return json.dumps(value) if isinstance(value, dict) else super().shown(column, value)


def _compact(fields: dict[str, str | None] | None) -> dict[str, str | None] | None:
    """Return a map with the blanks taken out of values that are objects or arrays."""
    if fields is None:
        return None
    result = dict(fields)
    for name, value in fields.items():
        if value is not None and value[:1] in ("{", "["):
            try:
                result[name] = json.dumps(json.loads(value), separators=(",", ":"))
            except ValueError:  # no JSON: it stays as it is
                continue
    return result


class AppendEvolving(Exercise):
    """Exercise 1.3. New columns are added, types widened, old rows kept, and nonsense is still refused."""

    number = "1.3"
    title = "append with schema evolution"
    takes = "a function of a DataFrame and the name of a table"
    hints = (
        "Two things have to be allowed: new columns, and types that grow. "
        "The text above names one way for each.",
        "One is an option of the write, the other is a property of the table.",
        "ALTER TABLE … SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true'), "
        "then .option('mergeSchema', True).",
    )
    settings = (
        "spark.databricks.delta.schema.autoMerge.enabled",
        "spark.databricks.delta.properties.defaults.enableTypeWidening",
        "spark.sql.ansi.enabled",
        "spark.sql.storeAssignmentPolicy",
    )

    def check(self, append_evolving: Callable[[DataFrame, str], Any]) -> Verdict:
        spark = session()
        before = {name: spark.conf.get(name, None) for name in self.settings}
        try:
            with scratch_table("id INT, stock INT", [(1, 10), (2, 20)]) as table:
                parts = (self._grown, self._again, self._refused)
                wrong = next(filter(None, (part(append_evolving, table) for part in parts)), None)
            for name, value in before.items():
                if spark.conf.get(name, None) != value:
                    return self.wrong(
                        f"Your function has changed the setting {name} of the session, and every later write "
                        "follows it. Set a property of the table, and an option of the write."
                    )
        finally:
            for name, value in before.items():
                if spark.conf.get(name, None) != value:
                    spark.conf.unset(name) if value is None else spark.conf.set(name, value)
        if wrong:
            return self.wrong(wrong)
        return self.right(
            "The column grew, the type widened, and a string that is no number is still refused as a stock."
        )

    def _grown(self, append_evolving: Callable[[DataFrame, str], Any], table: str) -> str | None:
        """Say what is wrong after a row with a new column and a type that has grown, or return None."""
        spark = session()
        grown = spark.createDataFrame([(3, 3_000_000_000, "new")], "id INT, stock BIGINT, note STRING")
        try:
            append_evolving(grown, table)
        except Exception as error:  # whatever the learner's code raises
            why = reason(error)
            if why == "DELTA_METADATA_MISMATCH":
                return f"Appending a row with the new column note failed with {why}."
            return (
                f"Appending a row whose stock is the BIGINT 3000000000 failed with {why}; "
                "the column stock is still an INT."
            )
        rows = spark.table(table).collect()
        after = {row.id: row.asDict() for row in rows}
        if gone := [id for id in (1, 2) if id not in after]:
            return f"The rows with the ids {gone} were in the table and are gone. Append, do not replace."
        if 3 not in after:
            return "The row with the id 3 was in the frame and is not in the table."
        if len(rows) != 3:
            return f"The table has {len(rows)} rows now; it had 2, and the frame has 1."
        for id, stock in ((1, 10), (2, 20)):
            if after[id]["stock"] != stock:
                return (
                    f"The row with the id {id} had the stock {stock}; now it has {shown(after[id]['stock'])}."
                )
        if after[3]["stock"] != 3_000_000_000:
            return f"The stock 3000000000 has become {after[3]['stock']} in the table."
        if "note" not in after[3]:
            return "The frame has a column note, and the table has not got it."
        if after[3]["note"] != "new":
            return f"The note 'new' has become {shown(after[3]['note'])} in the table."
        kind = dict(spark.table(table).dtypes)["stock"]
        if kind != "bigint":
            return f"The column stock is of the type {kind.upper()} now; INT grows to BIGINT."
        return self._rewritten(table)

    @staticmethod
    def _rewritten(table: str) -> str | None:
        """Say which commit after the first did more than append, or return None."""
        history = session().sql(f"DESCRIBE HISTORY {table}").collect()
        for commit in history[:-1]:
            mode = (commit.operationParameters or {}).get("mode", "Append")
            harmless = commit.operation in (
                "SET TBLPROPERTIES",
                "UNSET TBLPROPERTIES",
                "CHANGE COLUMN",
                "ADD COLUMNS",
            )
            if not harmless and not (commit.operation in ("WRITE", "STREAMING UPDATE") and mode == "Append"):
                return (
                    f"The history of the table has a commit {commit.operation} of the mode {mode}: rows that "
                    "were there have been written again. Append only the frame."
                )
        return None

    @staticmethod
    def _again(append_evolving: Callable[[DataFrame, str], Any], table: str) -> str | None:
        """Say what is wrong after a second append of the same columns, or return None."""
        spark = session()
        more = spark.createDataFrame([(5, 3_000_000_001, "more")], "id INT, stock BIGINT, note STRING")
        try:
            append_evolving(more, table)
        except Exception as error:  # whatever the learner's code raises
            return f"A second append with the same columns failed with {reason(error)}."
        if spark.table(table).where("id = 5").count() != 1:
            return "The row with the id 5, of a second append, is not in the table once."
        return None

    @staticmethod
    def _refused(append_evolving: Callable[[DataFrame, str], Any], table: str) -> str | None:
        """Say what is wrong after a stock that is no number, or return None."""
        spark = session()
        text = spark.createDataFrame([(4, "plenty")], "id INT, stock STRING")
        swallowed = False
        try:
            append_evolving(text, table)
            swallowed = True
        except (PySparkException, Py4JError):  # the refusal that the task asks for
            pass
        except Exception as error:  # whatever the learner's code raises
            return f"Appending a string as a stock failed with {reason(error)}, before Delta could refuse it."
        kind = dict(spark.table(table).dtypes)["stock"]
        if swallowed and spark.table(table).where("id = 4").isEmpty():
            return (
                "The stock 'plenty' is not in the table, and your function raised no error. Let it through."
            )
        if swallowed:
            return f"The stock 'plenty' was let in; the column stock is of the type {kind.upper()} now."
        number = spark.createDataFrame([(6, "12", "few")], "id INT, stock STRING, note STRING")
        try:
            append_evolving(number, table)
        except Exception as error:  # whatever the learner's code raises
            return f"The stock '12', a string that holds a number, was refused with {reason(error)}; it fits."
        if [row.stock for row in spark.table(table).where("id = 6").collect()] != [12]:
            return "The stock '12', a string that holds a number, is not in the table as the number 12."
        return None


class FixedWidth(Exercise):
    """Exercise 1.4. All purchases of CDNOW, to the cent, and what else the lines came with."""

    number = "1.4"
    title = "parse fixed-width lines"
    takes = "a function of a DataFrame that returns a DataFrame with a row for each purchase"
    columns: ClassVar = {
        "customer_id": "STRING",
        "purchased_on": "DATE",
        "quantity": "INT",
        "amount_usd": "DECIMAL(9, 2)",
    }
    hints = (
        "Cut the four fields out of value as strings first, and look at three rows: F.substring(column, "
        "first, length) counts from 1, as the table does, and select('*', …) keeps the columns.",
        "Then give each field its type. to_date takes the pattern yyyyMMdd. For the rest: trim the string, "
        "then cast it.",
        "The heading is a line whose value holds 'customer_id': .where(\"value NOT LIKE '%customer_id%'\").",
    )

    def check(self, purchases_of: Callable[[DataFrame], Any], lines: DataFrame) -> Verdict:
        purchases = purchases_of(lines.withColumn("_source_file", F.lit("cdnow")))
        if not isinstance(purchases, DataFrame):
            kind = type(purchases)
            if kind.__module__.startswith("pandas"):
                return self.wrong("Your function returned a frame of pandas. It should return one of Spark.")
            return self.wrong(other_kind(purchases, "a DataFrame"))
        if wrong := misshapen(purchases, self.columns):
            return self.wrong(wrong)
        if lost := [name for name in ("value", "_source_file") if name not in purchases.columns]:
            return self.wrong(
                f"The lines had a column {lost[0]}, and your rows have lost it. Keep all of them."
            )
        try:
            columns = purchases.select(*self.columns, "value").toArrow().columns
        except (PySparkException, Py4JError) as error:
            return self.wrong(_told_cast(error))
        rows = zip(*(column.to_pylist() for column in columns), strict=True)
        answered = Counter(rows)
        expected = Counter(self._expected())
        if holes := sorted((row for row in answered if None in row), key=str):
            *fields, line = holes[0]
            return self.wrong(f"A row holds a NULL: {_told(tuple(fields))}. Its line is {line!r}.")
        if answered.total() != expected.total():
            return self.wrong(
                f"There are {answered.total():,} rows; the file has {expected.total():,} purchases."
            )
        missing = min((expected - answered), default=None)
        if missing is None:
            return self.right("69,659 purchases, each as its line has it.")
        near = [row for row in answered - expected if row[4] == missing[4]]
        if near:
            column = next(n for n, (a, b) in enumerate(zip(near[0], missing, strict=True)) if a != b)
            return self.wrong(
                f"For the line {missing[4]!r} {[*self.columns][column]} is {shown(missing[column])}; "
                f"your row says {near[0][column]!s}."
            )
        return self.wrong(f"The purchase {_told(missing[:4])} is in the file and not among your rows.")

    @staticmethod
    def _expected() -> Iterator[tuple[str, date, int, Decimal, str]]:
        text = (paths.landing() / "cdnow" / "CDNOW_master.txt").read_text(encoding="ascii")
        for line in text.splitlines()[1:]:
            customer, day, quantity, dollars = line.split()
            bought = date(int(day[:4]), int(day[4:6]), int(day[6:]))
            yield customer, bought, int(quantity), Decimal(dollars), line


def _told(row: tuple[Any, ...]) -> str:
    return ", ".join(map(shown, row))


def _told_cast(error: Exception) -> str:
    """Say which value Spark could not cast to which type, or why else it stopped."""
    parameters = getattr(error, "getMessageParameters", dict)() or {}
    value, kind = parameters.get("expression"), parameters.get("targetType", "").strip('"')
    if value and kind:
        more = ' Does to_date have the pattern "yyyyMMdd"?' if kind == "DATE" else ""
        return f"Spark cannot cast {value} to {kind}. Is it the heading, or a field in the wrong place?{more}"
    return f"Spark stopped with {reason(error)} on one of your lines: {message(error).splitlines()[0]}"


class LandFiles(Exercise):
    """Exercise 1.5. A stream that ends by itself, writes Delta, and takes each file once."""

    number = "1.5"
    title = "start a file stream"
    takes = "a function of three folders that returns the query it started"
    hints = (
        "Reading is spark.readStream with the schema; "
        "writing is .writeStream with a format and a checkpoint. Folders become strings with str().",
        "The trigger that takes what is new and stops is availableNow=True. "
        "The folder of the table goes to start().",
        ".writeStream.format('delta').option('checkpointLocation', str(checkpoint))"
        ".trigger(availableNow=True).start(str(table_folder)) returns the query.",
    )
    seconds = 60  # more than three tiny batches take on a slow machine
    columns: ClassVar = {
        "chargeback_id": "STRING",
        "payment_id": "STRING",
        "reason": "STRING",
        "filed_at": "TIMESTAMP",
        "amount_cents": "INT",
    }

    def check(self, land_files: Callable[[Path, Path, Path], StreamingQuery]) -> Verdict:
        place = scratch() / f"check-{uuid.uuid4().hex[:8]}"
        try:
            with _default_format("parquet"):
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
            with _waits() as waited:
                query = land_files(source, table, checkpoint)
            if not hasattr(query, "awaitTermination"):
                return self.wrong(other_kind(query, "the query that start() gives"))
            if not query.awaitTermination(self.seconds):
                query.stop()
                return self.wrong(
                    f"The stream was still running after {self.seconds} seconds. Which trigger ends it?"
                )
            if waited:
                return self.wrong(
                    f"Your function waits for the stream ({waited[0]}). Return the query at once."
                )
            if not (table / "_delta_log").is_dir():
                return self.wrong(
                    "There is no Delta log in the folder of the table: the default format of a session may "
                    "be another, as it was here. Name the format."
                )
            rows = _rows_of(table)
            if rows != expected:
                return self.wrong(
                    f"There are {rows} rows {when}, and {expected} were sent. "
                    "Every call needs the same checkpoint, the one it is given."
                )
        return self._content(session().read.format("delta").load(str(table)))

    def _content(self, frame: DataFrame) -> Verdict:
        """Judge the columns and the values of what has landed."""
        if wrong := misshapen(frame, self.columns):
            return self.wrong(f"{wrong} Read JSON with the schema CHARGEBACKS.")
        found = sorted(frame.select("chargeback_id", "payment_id", "amount_cents").collect())
        for number, row in enumerate(found, 1):
            if tuple(row) != (expected := (f"CB{number}", f"PY{number}", number)):
                return self.wrong(f"The row {_told(expected)} has landed as {_told(tuple(row))}.")
        return self.right("Three calls, and each file is in the table once.")


@contextmanager
def _default_format(name: str) -> Iterator[None]:
    """Set the default format of the session for the length of the block."""
    spark, key = session(), "spark.sql.sources.default"
    before = spark.conf.get(key)
    if not databricks.chosen():
        spark.conf.set(key, name)
    try:
        yield
    finally:
        if not databricks.chosen():
            spark.conf.set(key, str(before))


@contextmanager
def _waits() -> Iterator[list[str]]:
    """Yield a list that gets the name of each method by which the block waits for a stream."""
    waited: list[str] = []

    def noted(name: str) -> Any:
        method = getattr(StreamingQuery, name)

        def call(query: StreamingQuery, *arguments: Any) -> Any:
            waited.append(name)
            return method(query, *arguments)

        return mock.patch.object(StreamingQuery, name, call)

    with noted("awaitTermination"), noted("processAllAvailable"):
        yield waited


def _rows_of(table: Path) -> int:
    """Return the number of rows of a Delta table: from its log, so without a job, on a laptop."""
    if databricks.chosen():
        return session().read.format("delta").load(str(table)).count()
    from deltalake import DeltaTable

    return DeltaTable(str(table)).count()


class Unbalanced(FunctionExercise):
    """Exercise 1.6. Each file whose rows differ, also one that is on one side only."""

    number = "1.6"
    title = "reconcile per file"
    takes = "a function of two dictionaries that returns a list of names"
    returns = "a list of names"
    kind = list
    hints = (
        "A file that was lost is in sent only, one that nobody sent is in landed only. Look at both.",
        "The keys of both: sent.keys() | landed.keys(). "
        "A file that is not there has 0 rows: sent.get(file, 0).",
        "sorted(file for file in sent.keys() | landed.keys() if sent.get(file, 0) != landed.get(file, 0))",
    )
    other = "For {about} the files out of balance are {expected}; you return {found}."
    praise = "Files that are lost, doubled, changed or foreign are found, and only those."
    cases = (
        ("equal books", {"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        (
            "a file that is lost and another of its size that is there twice",
            {"a": 5, "b": 5},
            {"a": 10},
            ["a", "b"],
        ),
        ("a file that nobody sent", {"a": 1}, {"a": 1, "x": 3}, ["x"]),
        ("a file with one row too few", {"a": 3, "b": 1}, {"a": 2, "b": 1}, ["a"]),
        ("an empty file that has landed no row", {"a": 0, "b": 1}, {"b": 1}, []),
        ("several, which come sorted", {"c": 1, "a": 1, "b": 1}, {"b": 1, "d": 4}, ["a", "c", "d"]),
        ("no files at all", {}, {}, []),
    )


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
unbalanced = Unbalanced()
