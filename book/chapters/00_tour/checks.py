"""The checks of chapter 00."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from deltalake import DeltaTable
from pyspark.sql import DataFrame

from medallion.lesson import frames
from medallion.lesson.exercise import Exercise, Verdict
from medallion.lesson.frames import (
    LEFT_OUT,
    NUMBER,
    Case,
    FrameExercise,
    listed,
    misshapen,
    shown,
)
from medallion.paths import scratch


def frame_of(rows: Iterable[Sequence[Any]], schema: str) -> DataFrame:
    """Return a frame of some rows in one partition, so that nothing has to be shuffled."""
    return frames.frame_of(rows, schema).coalesce(1)


class ReadVersion(Exercise):
    """Exercise 0.1. The answer is a function that reads any version of any table."""

    number = "0.1"
    title = "read a version of a table"
    takes = "a function of a table's name and the number of a version"
    hints = (
        "A version is named as you read, in SQL and in spark.read. Both work for any table and any number.",
        "Reader: spark.read.option(name, value).table(table); the option is VERSION AS OF as one word in "
        'camelCase. SQL: spark.sql(f"SELECT * FROM {table} …").',
        "The option is called versionAsOf, and its value is the number. In SQL: VERSION AS OF {version}.",
    )

    def check(self, as_of: Callable[[str, int], Any]) -> Verdict:
        for version in (0, 1):
            if wrong := self.wrong_in(as_of("scratch.orders", version), version):
                return self.wrong(f"For version {version} of scratch.orders {wrong}")
        if _answers(as_of, "scratch.orders", 1_000_000):
            return self.wrong(
                "You return rows for version 1000000, which scratch.orders does not have: read the version "
                "that you are asked for."
            )
        if _answers(as_of, "scratch.no_such_table", 0):
            return self.wrong(
                "You return rows for a table that does not exist: read the one that table names."
            )
        return self.right(
            "Versions 0 and 1 are read as they were; a version and a table that do not exist are refused."
        )

    def wrong_in(self, answer: Any, version: int) -> str | None:
        """Return what is wrong with the rows for a version, or None. Spark does not read them once more."""
        held = DeltaTable(str(scratch() / "orders"), version=version).to_pyarrow_table()
        if wrong := misshapen(answer, dict.fromkeys(held.column_names, ""), only=True):
            return f"the answer is not right. {wrong}"
        found = Counter(map(tuple, answer.select(*held.column_names).collect()))
        expected = Counter(tuple(row.values()) for row in held.to_pylist())
        if found.total() != expected.total():
            return f"you return {found.total()} rows; it has {expected.total()}."
        if more := sorted((found - expected).elements(), key=str):
            less = sorted((expected - found).elements(), key=str)
            return f"you return the row {_row(more[0])}; it has {_row(less[0])}."
        return None


def _answers(function: Callable[..., Any], *given: Any) -> bool:
    """Return whether a function returns, also where it should find nothing to read."""
    try:
        function(*given)
    except Exception:
        return False
    return True


def _row(row: Iterable[Any]) -> str:
    return f"({', '.join(map(shown, row))})"


class StartAJob(Exercise):
    """Exercise 0.2. The letters of the lines that start a job; a test of the chapter counts them."""

    number = "0.2"
    title = "find the lines that start a job"
    takes = 'a list of letters, such as ["A", "B"]'
    hints = (
        "Ask of each line: does it need rows, or only names, types and steps?",
        "A transformation returns a DataFrame and runs nothing. A number, a row or a table needs rows.",
        "Without a schema the names of the columns are in the file. persist only marks a DataFrame.",
    )

    jobs: ClassVar = {
        "B": "nobody states a schema, so Spark reads the file for the names of its columns",
        "E": "a number is asked for, so Spark has to count rows",
        "I": "a row is asked for, so Spark has to make it",
        "J": "a table is written, so Spark needs all rows",
    }
    none: ClassVar = {
        "A": "the schema is stated, so Spark need not look into the file yet",
        "C": "it adds a filter to the plan",
        "D": "the names of the columns are part of the plan",
        "F": "after groupBy, count() returns a DataFrame: a row for each customer, to be counted later",
        "G": "it prints the plan and runs nothing",
        "H": "it marks the DataFrame; the next action keeps the rows",
    }

    def check(self, letters: Iterable[str]) -> Verdict:
        if isinstance(letters, dict):
            raise TypeError("a dict is no list")
        said = [letter.strip().upper() for letter in letters if letter.strip(" ,")]
        if unknown := [letter for letter in said if letter not in self.jobs | self.none]:
            return self.wrong(f"No line has the letter {unknown[0]}. The lines are A to J.")
        for letter, why in sorted((self.jobs | self.none).items()):
            if letter in said and letter in self.none:
                return self.wrong(f"Line {letter} starts no job: {why}.")
            if letter not in said and letter in self.jobs:
                return self.wrong(f"Line {letter} starts a job: {why}.")
        return self.right(
            f"{listed(self.jobs)} start a job, and every other line only adds to a plan or reads it."
        )


class Spending(FrameExercise):
    """Exercise 0.3. One row for each customer with the sum of their orders, the largest first."""

    number = "0.3"
    title = "total per customer, largest first"
    takes = "a function of a DataFrame with the columns order_id, customer and total_cents"
    hints = (
        "One row for each customer: that is a groupBy, and the sum goes into agg.",
        'F.sum("total_cents") adds up the orders of one customer; alias gives the sum its name.',
        'orders.groupBy("customer").agg(F.sum("total_cents").alias("spent_cents")).orderBy(F.desc(…))',
    )

    keys = ("customer",)
    kinds: ClassVar = {"customer": "STRING", "spent_cents": NUMBER}
    only = True
    what = "{customer}"
    lost = "{about}, {what} has ordered and is not in your answer."
    doubled = "{about}, {what} is in {rows}; group the orders by customer."
    other = "{about}, {what} spent {expected} cents; your answer says {found}. {why}"
    strange = "{about}, you return a row for the customer {what}, who has not ordered."
    disorder = (
        "{about}, {mine[customer]} with {mine[spent_cents]} cents comes before {ours[customer]} with "
        "{ours[spent_cents]}: sort by spent_cents, largest first."
    )
    praise = (
        "One row for each customer, the largest sum first: of the four orders of the chapter, of seven "
        "others, and of none."
    )

    def cases(self) -> Iterator[Case]:
        schema = "order_id INT, customer STRING, total_cents INT"
        add = "Add up total_cents of all orders of a customer."
        yield Case(
            (frame_of([(1, "Ada", 1250), (2, "Ben", 480), (3, "Ada", 2199), (4, "Cleo", 890)], schema),),
            [("Ada", 3449, add), ("Cleo", 890, add), ("Ben", 480, add)],
            "Of the four orders of the chapter",
        )
        null = "An order without a total adds nothing."
        large = "The sum does not fit into an INT; sum makes it a BIGINT."
        big = 2_000_000_000
        rows = [(1, "Zoe", 100), (2, "Dan", big), (3, "Dan", big), (4, "Eva", 700), (5, "Eva", None)]
        rows += [(6, "Fay", 500), (7, "Gil", 300)]
        # Two partitions, of which each may be in order while the whole is not
        given = frames.frame_of(rows, schema).repartition(2, "customer")
        yield Case(
            (given,),
            [
                ("Dan", 2 * big, large),
                ("Eva", 700, null),
                ("Fay", 500, add),
                ("Gil", 300, add),
                ("Zoe", 100, add),
            ],
            "Of seven other orders",
        )
        yield Case((frame_of([], schema),), [], "Of no orders at all")


class NewPrices(FrameExercise):
    """Exercise 0.4. The rows of a delivery whose two keys, which may be NULL, are not in a table yet."""

    number = "0.4"
    title = "keep the rows that are not there yet"
    takes = "a function of two DataFrames, delivery and prices"
    hints = (
        "Rows of one side without a match on the other: which kind of join is that?",
        "With == a NULL matches nothing, so its row comes out each time. Which comparison is never NULL?",
        'delivery.join(prices, a & b, "left_anti"), where a and b compare one column each with eqNullSafe.',
    )

    keys = ("line_no",)
    kinds: ClassVar = {"line_no": "INT", "product_id": "INT", "region": "STRING", "cents": "INT"}
    only = True
    what = "line {line_no} ({product_id}, {region})"
    lost = "Your answer lacks {what} of the delivery, and {why}."
    doubled = "You return {what} {times}; the delivery has it once."
    left_out = "You return {what}, and {why}."
    other = "You return {what} with {column} {found}; the delivery has {expected}."
    strange = "You return {what}, which is not in the delivery."
    praise = "Only what is new comes out, NULL or not, and as often as it came."

    def cases(self) -> Iterator[Case]:
        there = "prices has this product and region"
        null = "prices has this product with NULL too: in this column two NULLs are equal"
        rows = [
            (1, 1, "DE", 120, None, there),
            (2, 1, None, 130, None, null),
            (3, 1, "ES", 150, "new", "prices has product 1 for other regions only"),
            (4, 2, None, 95, "new", "prices has product 2 for DE only"),
            (5, 3, "", 70, "new", "prices has product 3 with NULL, and an empty string is not NULL"),
            (6, 4, "DE", 60, "new", "prices does not have product 4"),
            (7, 4, "DE", 60, "new", "it comes twice, as line 6 and as line 7"),
            (8, 5, "DE", 999, None, "prices has this product and region, with another price"),
            (9, None, "DE", 10, None, null),
            (10, None, "ES", 10, "new", "prices has no product for ES"),
            (11, 0, "DE", 10, "new", "prices has NULL for DE, and 0 is not NULL"),
            (12, -1, "DE", 10, "new", "prices has NULL for DE, and -1 is not NULL"),
            (13, None, "1", 10, "new", "prices has product 1 with NULL, not region 1 without a product"),
        ]
        delivery = [row[:4] for row in rows]
        prices = [
            (1, "DE", 120), (1, None, 130), (2, "DE", 90), (3, None, 75), (5, "DE", 100), (5, "DE", 100),
            (None, "DE", 10),
        ]  # fmt: skip
        expected = [(*line, why) if new else (line[0], LEFT_OUT, why) for *line, new, why in rows]
        yield self._case(delivery, prices, expected)
        yield self._case(delivery, [], [(*line, "prices is empty") for line in delivery])
        yield self._case([], prices, [])

    def _case(self, delivery: list[Any], prices: list[Any], expected: list[Any]) -> Case:
        columns = "product_id INT, region STRING, cents INT"
        given = frame_of(delivery, f"line_no INT, {columns}"), frame_of(prices, columns)
        return Case(given, expected)


read_version = ReadVersion()
start_a_job = StartAJob()
spending = Spending()
new_prices = NewPrices()
