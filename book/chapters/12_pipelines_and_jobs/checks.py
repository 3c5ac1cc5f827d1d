"""The checks of chapter 12."""

# PART A

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from medallion.lesson.exercise import Exercise, Verdict
from medallion.lesson.frames import frame_of, listed, misshapen, session, shown

# What a query function of a pipeline cannot use, as it needs an analysis or a run (tried on Spark 4.2.0)
NEEDS_ANALYSIS = (
    *("columns", "schema", "dtypes", "count", "collect", "first", "head", "take", "isEmpty"),
    *("toPandas", "drop", "dropDuplicates", "drop_duplicates", "distinct", "fillna", "__getitem__"),
)


class AskedError(Exception):
    """A function used what a query function of a pipeline cannot use; the argument is its name."""


@contextmanager
def as_query_function() -> Iterator[None]:
    """Refuse in the block what Spark refuses in a query function of a pipeline."""

    def refusing(name: str) -> property:
        def refuse(frame: Any) -> None:
            raise AskedError(name)

        return property(refuse)

    kind = type(session().range(1))
    with ExitStack() as stack:
        for name in NEEDS_ANALYSIS:
            stack.enter_context(patch.object(kind, name, refusing(name)))
        yield


class Sides(Exercise):
    """Exercise 12.1. Each row of a pipeline's Bronze gets one side: kept, set aside, or a repeat."""

    number = "12.1"
    title = "Silver and its quarantine, with a balance of 0"
    takes = "a function of rows, rules and a list of columns that returns a DataFrame"
    hints = (
        "No filter is needed: every row comes out. Two columns are added; the second is made from the first.",
        "F.when(F.expr(rule), None).otherwise(name) is the name where the rule is false or NULL. A "
        "row_number over equal rows, ordered by _source_file, is over 1 for a repeat.",
        "again = F.row_number().over(Window.partitionBy(*sent).orderBy('_source_file')) > 1. Select '*', the "
        "reasons and again; then F.when(again, 'repeat').when(F.size('_reasons') > 0, 'aside')"
        ".otherwise('kept').",
    )
    RULES: Mapping[str, str] = {"positive": "amount_cents > 0", "euro": "currency = 'EUR'"}
    TYPES: Mapping[str, str] = {"payment_id": "STRING", "amount_cents": "INT", "currency": "STRING"}
    # Payment, amount, currency, file; its reasons, its side, and why it is on this side
    ROWS: Sequence[tuple[Any, ...]] = (
        ("P1", 500, "EUR", "w1", "", "kept", "it breaks no rule"),
        ("P2", None, "EUR", "w1", "positive", "aside", "its amount is NULL, and NULL is not true"),
        ("P3", -5, "USD", "w1", "positive euro", "aside", "it breaks both rules"),
        ("P4", 300, "EUR", "w2", "", "repeat", "an equal row is in w1"),
        ("P4", 300, "EUR", "w1", "", "kept", "w1 is the smallest of its files"),
        ("P5", 200, "EUR", "w1", "", "kept", "of two equal rows in one file one is the first"),
        ("P5", 200, "EUR", "w1", "", "repeat", "of two equal rows in one file one is the first"),
        ("P6", -1, "EUR", "w1", "positive", "aside", "its amount is below 0"),
        (
            "P6",
            -1,
            "EUR",
            "w2",
            "positive",
            "repeat",
            "an equal row is in w1, and that comes before the rules",
        ),
        ("P7", 100, "EUR", "w1", "", "kept", "it breaks no rule"),
        ("P7", 150, "EUR", "w2", "", "kept", "its amount is another than in w1, so the rows are not equal"),
        ("P8", 100, None, "w1", "euro", "aside", "its currency is NULL, and NULL is not true"),
        ("P8", 100, None, "w2", "euro", "repeat", "an equal row is in w1: both have no currency"),
        (None, 100, "EUR", "w1", "", "kept", "it breaks no rule"),
        (None, 100, "EUR", "w2", "", "repeat", "an equal row is in w1: both have no id"),
    )
    # The same without rules, and by two columns in another order
    FEW: Sequence[tuple[Any, ...]] = (
        ("P1", 500, "w1", "", "kept", "without rules none is broken"),
        ("P2", None, "w1", "", "kept", "without rules none is broken"),
        ("P1", 500, "w2", "", "repeat", "an equal row is in w1"),
    )

    def check(self, sides: Callable[..., Any]) -> Verdict:
        for rules, names, rows in (
            (self.RULES, ["payment_id", "amount_cents", "currency"], self.ROWS),
            ({}, ["payment_id", "amount_cents"], self.FEW),
        ):
            if wrong := self.wrong_for(sides, rules, names, rows):
                return self.wrong(wrong)
        return self.right("Every row has one side, and nothing is lost.")

    def wrong_for(
        self, sides: Callable[..., Any], rules: Mapping[str, str], names: list[str], rows: Sequence[Any]
    ) -> str | None:
        """Return the first thing that is wrong with the answer for some rows, or None."""
        types = {name: self.TYPES[name] for name in names} | {"_source_file": "STRING"}
        frame = frame_of(rows, ", ".join(f"{name} {kind}" for name, kind in types.items()))
        try:
            with as_query_function():
                answer = sides(frame, dict(rules), list(names))
        except AskedError as error:
            name = "[…]" if error.args[0] == "__getitem__" else f".{error.args[0]}"
            return (
                f"Your function uses {name} of a DataFrame (rows.name counts as .columns). A query function "
                "of a pipeline cannot: use select, and a column by its name, as in F.col('_source_file')."
            )
        types |= {"_reasons": "ARRAY<STRING>", "_side": "STRING"}
        if wrong := misshapen(answer, types, only=True):
            return wrong
        return self.wrong_among([tuple(row) for row in answer.select(*types).collect()], rows)

    def wrong_among(self, found: list[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]) -> str | None:
        """Return the first row that is missing, doubled, or on the wrong side, or None."""
        asked = [(row[:-3], row[-3].split(), row[-2], row[-1]) for row in rows]
        for sent, *_ in asked:
            before, after = sum(row == sent for row, *_ in asked), sum(row[:-2] == sent for row in found)
            if after != before:
                times = f"{before} time{'s' * (before > 1)}"
                told = f"{self.called(sent)} came {times}, and you return it {after} times."
                return f"{told} All rows come out, once."
        if len(found) != len(rows):
            return f"{len(rows)} rows came, and you return {len(found)}."
        for sent, reasons, side, why in asked:
            mine = [row for row in found if row[:-2] == sent]
            for row in mine:
                if row[-2] != reasons:
                    return f"{self.called(sent)} has _reasons {row[-2]}; it should be {reasons}."
            sides = [row[-1] for row in mine]
            if side not in sides:
                each = listed(shown(one) for one in sides)
                return f"{self.called(sent)} has _side {each}; it should be {side}, because {why}."
        return None

    @staticmethod
    def called(sent: tuple[Any, ...]) -> str:
        """Return what a row is called."""
        return f"{sent[0] or 'The row without an id'} of {sent[-1]}"


sides = Sides()

# PART A ends

# PART B

# PART B ends

# PART C

# PART C ends
