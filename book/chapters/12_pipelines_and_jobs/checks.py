"""The checks of chapter 12."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from typing import Any, ClassVar
from unittest.mock import patch

import pyarrow as pa

from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, other_kind
from medallion.lesson.frames import (
    arrow_of,
    frame_of,
    listed,
    misshapen,
    scratch_table,
    session,
    shown,
    version_of,
)

# What a query function of a pipeline cannot use, as it needs an analysis or a run (tried on Spark 4.2.0)
NEEDS_ANALYSIS = (
    *("columns", "schema", "dtypes", "count", "collect", "first", "head", "take", "isEmpty"),
    *("toPandas", "toArrow", "toLocalIterator", "tail", "show", "explain", "isStreaming", "printSchema"),
    *("foreach", "cache", "persist", "checkpoint", "localCheckpoint", "rdd", "write", "inputFiles"),
    *("drop", "dropDuplicates", "drop_duplicates", "distinct", "fillna", "dropna", "na", "replace"),
    *("createTempView", "createOrReplaceTempView", "createGlobalTempView", "createOrReplaceGlobalTempView"),
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
        # A pipeline does not look whether `rows.name` is a column; here `columns` would be asked
        stack.enter_context(patch.object(kind, "__getattr__", lambda frame, name: frame[name]))
        yield


class Sides(Exercise):
    """Exercise 12.1. Each row of a pipeline's Bronze gets one side: kept, set aside, or a repeat."""

    number = "12.1"
    title = "Silver and its quarantine, with a balance of 0"
    takes = "a function of rows, rules and a list of columns that returns a DataFrame"
    hints = (
        "No filter is needed: every row comes out. Two columns are added; the second is made from the first.",
        "F.when(F.expr(rule), None).otherwise(name) is the name where the rule is false or NULL. A "
        "row_number over equal rows, ordered by _source_file, is over 1 for a repeat. "
        "F.array_compact(F.array(*names).cast('ARRAY<STRING>')) collects the names and leaves NULLs out; the "
        "cast is for no rules.",
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
        ("P9", 11, "EUR", "w1", "", "kept", "it breaks no rule"),
        ("P91", 1, "EUR", "w2", "", "kept", "no other row has its id"),
        (None, 100, "EUR", "w1", "", "kept", "it breaks no rule"),
        (None, 100, "EUR", "w2", "", "repeat", "an equal row is in w1: both have no id"),
        ("100", None, "EUR", "w3", "positive", "aside", "its amount is NULL, and no other row has its id"),
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
            return (
                f"Your function uses .{error.args[0]} of a DataFrame. A query function of a pipeline cannot: "
                "it would need the rows or their columns, or change the session. Use select and where."
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


class IntervalOf(Exercise):
    """Exercise 12.2. The half-open interval of a logical date."""

    number = "12.2"
    title = "the data interval of a logical date"
    takes = "a function of a date as a string and a unit"
    hints = (
        "A date knows its day of the week: weekday() is 0 on a Monday. How many days back is the first day?",
        "date.fromisoformat raises ValueError for a date that does not exist. From Python 3.11 it also reads "
        "other forms: compare str(day) with the string.",
        "start = day - timedelta(day.weekday()) for a week; the end is start + timedelta(7), and for a day "
        "day + timedelta(1). Any other unit is a ValueError.",
    )
    cases: ClassVar = (
        ("2025-09-03", "week", "2025-09-01", "2025-09-08", "it is a Wednesday"),
        ("2025-09-01", "week", "2025-09-01", "2025-09-08", "a Monday begins its own week"),
        ("2025-09-07", "week", "2025-09-01", "2025-09-08", "a Sunday ends its week"),
        ("2025-12-31", "week", "2025-12-29", "2026-01-05", "a week may lie in two years"),
        ("2024-02-29", "week", "2024-02-26", "2024-03-04", "2024 has a 29 February"),
        ("2025-09-03", "day", "2025-09-03", "2025-09-04", "the end of a day is the next day"),
        ("2025-12-31", "day", "2025-12-31", "2026-01-01", "the end of a day is the next day"),
    )
    refused: ClassVar = (
        ("2025-02-29", "day", "this date does not exist"),
        ("2025-02-30", "week", "this date does not exist"),
        ("20250903", "day", "this is another form"),
        ("2025-W36-3", "week", "this is another form"),
        ("2025-9-3", "day", "this is another form"),
        ("2025-09-03T00:00:00", "day", "this is another form"),
        ("", "day", "this is no date"),
        ("today", "day", "this is no date"),
        ("2025-09-03", "month", "the unit is neither day nor week"),
        ("2025-09-03", "", "the unit is neither day nor week"),
    )

    def check(self, interval_of: Callable[..., Any]) -> Verdict:
        for text, unit, start, end, why in self.cases:
            found = interval_of(text, unit)
            if not isinstance(found, tuple | list) or [type(one) for one in found] != [date, date]:
                return self.wrong(other_kind(found, "two dates (datetime.date)"))
            if [str(one) for one in found] != [start, end]:
                return self.wrong(
                    f"The {unit} of {text} is from {start} to {end}, because {why}; yours is from "
                    f"{found[0]} to {found[1]}."
                )
        for text, unit, why in self.refused:
            try:
                found = interval_of(text, unit)
            except ValueError:
                continue
            except Exception as error:
                return self.wrong(
                    f"For ({text!r}, {unit!r}) you raise {type(error).__name__}; it should be ValueError, "
                    f"because {why}."
                )
            shown = f"from {found[0]} to {found[1]}" if isinstance(found, tuple | list) else repr(found)
            return self.wrong(
                f"For ({text!r}, {unit!r}) you return {shown}; it should be a ValueError, because {why}."
            )
        return self.right(
            "The interval follows from the logical date alone, and a date that is none stops the run."
        )


WEEKLY = "week DATE, method STRING, attempts BIGINT"
FIRST = date(2025, 9, 1)
WEEKS = [FIRST + timedelta(7 * number) for number in range(-1, 3)]


def rows_of(*rows: tuple[date, str, int]) -> Any:
    """Return some rows as a frame. Values in SQL are quicker to write than those that come from Python."""
    values = ", ".join(f"(DATE '{week}', '{method}', {attempts}L)" for week, method, attempts in rows)
    return session().sql(f"SELECT * FROM VALUES {values} AS rows(week, method, attempts)")


class WriteWeek(Exercise):
    """Exercise 12.3. The rows of an interval replaced in one commit."""

    number = "12.3"
    title = "write an interval idempotently"
    takes = "a function of the name of a table, a DataFrame, and two dates"
    hints = (
        "A delete and an append are two commits. An overwrite is one; which option limits it to some rows?",
        "The option replaceWhere of the writer is a condition in SQL. The interval is half open: >= and <.",
        "rows.write.mode('overwrite').option('replaceWhere', "
        "f\"week >= DATE '{start}' AND week < DATE '{end}'\").saveAsTable(table)",
    )
    # Of rows, not of the text: so Spark finds it when the query runs
    FAILS: ClassVar = "CAST(raise_error(method) AS BIGINT) AS attempts"
    held: ClassVar = (
        (WEEKS[0], "card", 10),
        (WEEKS[1], "card", 11),
        (WEEKS[1], "voucher", 5),
        (WEEKS[3], "card", 13),
    )

    def check(self, write_week: Callable[..., Any]) -> Verdict:
        with scratch_table(WEEKLY, self.held) as table:
            return self.judge(write_week, table)

    def judge(self, write_week: Callable[..., Any], table: str) -> Verdict:
        held = {(week, method): attempts for week, method, attempts in self.held}
        new = ((WEEKS[1], "card", 21), (WEEKS[2], "card", 22), (WEEKS[2], "wallet", 3))
        for about in ("", " a second time"):
            version = version_of(table)
            returned = write_week(table, rows_of(*new), WEEKS[1], WEEKS[3])
            if returned is not None:
                return self.wrong(
                    f"Your function returned {returned!r}. It should write, and return nothing."
                )
            if not about:
                held = {key: n for key, n in held.items() if not WEEKS[1] <= key[0] < WEEKS[3]}
                held |= {(week, method): attempts for week, method, attempts in new}
            if wrong := self.differs(
                table, held, f"After the weeks {WEEKS[1]} and {WEEKS[2]} were written{about}"
            ):
                return self.wrong(wrong)
            if (commits := version_of(table) - version) != 1:
                return self.wrong(
                    f"The rows are right, and you made {commits} commits. "
                    "A kill between two of them leaves half."
                )
        for about, rows in (
            ("a row outside of the interval", rows_of((WEEKS[2], "card", 1), (WEEKS[3], "card", 1))),
            ("a query that fails", rows_of((WEEKS[2], "card", 1)).selectExpr("week", "method", self.FAILS)),
        ):
            try:
                write_week(table, rows, WEEKS[2], WEEKS[3])
            except Exception:
                if wrong := self.differs(table, held, f"After {about}"):
                    return self.wrong(wrong)
            else:
                return self.wrong(f"For {about} no error comes out.")
        return self.right(
            "Each run leaves the same rows, in one commit, and nothing outside of its interval changes."
        )

    @staticmethod
    def differs(table: str, held: Mapping[Any, int], when: str) -> str | None:
        """Say which row of a table is not as it should be, or None."""
        found: dict[Any, list[int]] = {}
        rows: pa.Table = arrow_of(table)
        for row in rows.to_pylist():
            found.setdefault((row["week"], row["method"]), []).append(row["attempts"])
        for key in sorted({*found, *held}):
            mine, ours = sorted(found.get(key, [])), [held[key]] if key in held else []
            if mine != ours:
                what = f"{when}, the week {key[0]}, {key[1]}"
                return f"{what}, has the attempts {mine or 'of no row'}; it should have {ours or 'no row'}."
        return None


class Plan(Exercise):
    """Exercise 12.4. The tables that a repair has to make."""

    number = "12.4"
    title = "plan a repair"
    takes = "a function of a graph, the tables that are done, and those that failed"
    hints = (
        "A table that is done can still be old: think of one that is made from a table that failed. In which "
        "order do you see that at once?",
        "TopologicalSorter(graph).static_order() puts each table after those that it is made from. Ask of "
        "each: is it in my list for a reason of its own, or for one that it is made from? Leave out what is "
        "no key of the graph.",
        "needed = []; for table in the order: if table in graph and (table in failed or table not in done or "
        "any(parent in needed for parent in graph[table])): needed.append(table)",
    )
    graph: ClassVar = {
        "gold.balance": ["gold.days", "gold.facts"],
        "gold.facts": ["silver.orders", "landing.calendar"],
        "gold.days": ["silver.orders"],
        "silver.orders": ["bronze.orders"],
        "bronze.orders": ["landing.orders"],
        "silver.payments": ["bronze.payments"],
        "bronze.payments": [],
    }
    every: ClassVar = list(graph)
    cases: ClassVar = (
        (
            "one that failed at the end",
            [name for name in every if name != "gold.balance"],
            ["gold.balance"],
            ["gold.balance"],
        ),
        (
            "one side of the diamond that failed, and what was skipped",
            ["bronze.orders", "silver.orders", "gold.days", "bronze.payments", "silver.payments"],
            ["gold.facts"],
            ["gold.facts", "gold.balance"],
        ),
        (
            "a table that failed before others that are done",
            [name for name in every if name != "silver.orders"],
            ["silver.orders"],
            ["silver.orders", "gold.days", "gold.facts", "gold.balance"],
        ),
        ("nothing that failed", every, [], []),
        ("a run that never began", [], [], every),
        (
            "a table that is done and failed, as in a second attempt",
            every,
            ["silver.payments"],
            ["silver.payments"],
        ),
        (
            "a run that was stopped, without a failure",
            ["bronze.payments", "bronze.orders", "silver.orders"],
            [],
            ["silver.payments", "gold.days", "gold.facts", "gold.balance"],
        ),
    )

    def check(self, plan: Callable[..., Any]) -> Verdict:
        for about, done, failed, expected in self.cases:
            graph = {table: [*of] for table, of in self.graph.items()}
            found = plan(graph, [*done], [*failed])
            if not isinstance(found, list | tuple):
                return self.wrong(other_kind(found, "a list of tables"))
            if graph != self.graph:
                return self.wrong(f"For {about} you changed the graph. It belongs to others, too.")
            if wrong := self.differs(about, [*found], expected):
                return self.wrong(wrong)
        for about, graph, done, failed in (
            ("a failed table that is not in the graph", self.graph, [], ["gold.sales"]),
            ("a done table that is not in the graph", self.graph, ["gold.sales"], []),
            ("a circle", {"a": ["b"], "b": ["a"]}, [], ["a"]),
        ):
            try:
                found = plan(graph, done, failed)
            except ValueError:
                continue
            except Exception as error:
                return self.wrong(f"For {about} you raise {type(error).__name__}; it should be ValueError.")
            return self.wrong(f"For {about} you return {found!r}; it should be a ValueError.")
        return self.right(
            "The repair makes what is missing and what is old, in an order that works, and nothing else."
        )

    def differs(self, about: str, found: list[str], expected: list[str]) -> str | None:
        """Say what is wrong with a plan, or None. Any order that works is right."""
        for table in expected:
            if table not in found:
                return f"For {about}, {table} is not in your plan."
        for table in found:
            if table not in expected:
                return f"For {about}, {table} is in your plan, and need not be made."
            if found.count(table) > 1:
                return f"For {about}, {table} is in your plan {found.count(table)} times."
        for place, table in enumerate(found):
            for parent in self.graph[table]:
                if parent in found[place:]:
                    return f"For {about}, {table} comes before {parent}, which it is made from."
        return None


class Backfill(Exercise):
    """Exercise 12.5. Each interval once, the oldest first, with so many workers and no more."""

    number = "12.5"
    title = "a backfill with two workers"
    takes = "a function of a list of intervals, a function that runs one, and a number of workers"
    hints = (
        "Sort the intervals. Two neighbours overlap if the second starts before the first one has ended.",
        "ThreadPoolExecutor(workers) calls the functions that are submitted in their order. A future keeps "
        "the error of its call: look at exception().",
        "with ThreadPoolExecutor(workers) as pool: runs = {one: pool.submit(run, *one) for one in "
        "sorted(intervals)}; then a dict of 'failed' if one.exception() else 'done'.",
    )

    def check(self, backfill: Callable[..., Any]) -> Verdict:
        weeks = [(FIRST + timedelta(7 * n), FIRST + timedelta(7 * n + 7)) for n in range(26)]
        shuffled = weeks[13:] + weeks[:13]
        for about, given, workers, bad in (
            ("26 weeks and two workers", shuffled, 2, ()),
            ("26 weeks of which two fail", shuffled, 2, (weeks[3], weeks[4])),
            ("five weeks and one worker", weeks[4::-1], 1, (weeks[0],)),
            ("no interval", [], 2, ()),
        ):
            if wrong := self.differs(backfill, about, [*given], workers, bad):
                return self.wrong(wrong)
        for about, given in (
            ("two intervals that overlap by a day", [weeks[0], (weeks[1][0] - timedelta(1), weeks[1][1])]),
            ("an interval that is there twice", [weeks[0], weeks[1], weeks[0]]),
            ("a month that contains a week", [(weeks[0][0], weeks[3][1]), weeks[2]]),
        ):
            ran: list[Any] = []
            try:
                backfill(given, lambda start, end, ran=ran: ran.append(start), 2)
                return self.wrong(f"For {about} no ValueError comes out.")
            except ValueError:
                if ran:
                    return self.wrong(f"For {about} you raise ValueError, after {len(ran)} calls have run.")
        return self.right(
            "Each interval ran once, the oldest first, and a failure stopped none of the others."
        )

    @staticmethod
    def differs(
        backfill: Callable[..., Any], about: str, given: list[Any], workers: int, bad: Any
    ) -> str | None:
        """Say what is wrong with a backfill, or None."""
        lock, started, most = threading.Lock(), [], [0, 0]

        def run(start: date, end: date) -> None:
            with lock:
                started.append((start, end))
                most[0] += 1
                most[1] = max(most)
            time.sleep(0.01)
            with lock:
                most[0] -= 1
            if (start, end) in bad:
                raise RuntimeError(f"the week {start}")

        try:
            states = backfill([*given], run, workers)
        except RuntimeError as error:
            return f"For {about} the error of {error} comes out of your function. The rest should run."
        ordered = sorted(given)
        for one in ordered:
            if (times := started.count(one)) != 1:
                return f"For {about}, the interval from {one[0]} ran {times} times."
        if most[1] > workers:
            return f"For {about} there were {most[1]} calls at the same time."
        if len(given) > workers > most[1]:
            return f"For {about} there was only {most[1]} call at a time."
        # Two that start at the same time may be noted in either order, and a busy machine may delay one
        far = 1 if workers == 1 else workers + 4
        late = [one for place, one in enumerate(started) if abs(ordered.index(one) - place) >= far]
        if late:
            return f"For {about}, the interval from {late[0][0]} did not run in its order, the oldest first."
        if not isinstance(states, Mapping):
            return other_kind(states, "a dict of states")
        for one in ordered:
            state = "failed" if one in bad else "done"
            if states.get(one) != state:
                return (
                    f"For {about}, the interval from {one[0]} is {states.get(one)!r}; it should be {state!r}."
                )
        if list(states) != ordered:
            return f"For {about} your dict is not from the oldest to the newest interval."
        return None


interval_of = IntervalOf()
write_week = WriteWeek()
plan = Plan()
backfill = Backfill()


def contract_of(version: str = "1.4.2", latency: Any = (7, "d"), **columns: Any) -> dict[str, Any]:
    """Return a small contract; a column is a type, or all that is said of it, or None for no column."""
    says: dict[str, Any] = {
        "week": {"physicalType": "date", "required": True, "primaryKey": True},
        "method": {"physicalType": "string", "required": True, "primaryKey": True},
        "declined": {"physicalType": "int", "required": True},
        "cents": {"physicalType": "bigint"},
    }
    says |= {name: {"physicalType": one} if isinstance(one, str) else one for name, one in columns.items()}
    table = {"name": "weekly_payments", "physicalName": "gold.weekly_payments"}
    volume = {"metric": "rowCount", "mustBeGreaterThan": 0}
    properties = [{"name": name, **one} for name, one in says.items() if one]
    made: dict[str, Any] = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "weekly-payments",
        "version": version,
        "status": "active",
        "team": {"name": "payments"},
        "schema": [{**table, "quality": [volume], "properties": properties}],
    }
    if latency:
        value, unit = latency
        made["slaProperties"] = [{"property": "latency", "value": value, "unit": unit, "element": "week"}]
    return made


INT, KEY = {"physicalType": "int", "required": True}, {"physicalType": "string", "primaryKey": True}


class NextVersion(FunctionExercise):
    """Exercise 12.6. The semantic version that a changed contract must have."""

    number = "12.6"
    title = "find the version that a contract change needs"
    takes = "a function of two contracts"
    hints = (
        "Compare promises(old) with promises(new). Which promises are broken only when something is "
        "missing in the new set, and which one when anything differs?",
        "A set minus a set is what is missing: was['columns'] - now['columns'] has each column that is gone "
        "or has another type. For required columns it is the same; a key must be equal.",
        "Ask for the major change first, then for the minor one, then whether anything but version differs: "
        "{**new, 'version': old['version']} == old. int() of each part of old['version'] can be raised.",
    )
    returns = "a version as a string"
    kind = str
    other = "For {about} the version should be {expected} after 1.4.2; yours is {found}."
    praise = "Breaking, compatible and other changes are told apart, and the highest one decides."
    cases: ClassVar = (
        ("a column that is gone", contract_of(), contract_of(cents=None), "2.0.0"),
        ("a column with a new name", contract_of(), contract_of(cents=None, amount="bigint"), "2.0.0"),
        ("another type", contract_of(), contract_of(cents="double"), "2.0.0"),
        ("a wider type", contract_of(), contract_of(declined={**INT, "physicalType": "bigint"}), "2.0.0"),
        ("a column that is no longer required", contract_of(), contract_of(declined="int"), "2.0.0"),
        ("another key", contract_of(), contract_of(channel=KEY), "2.0.0"),
        (
            "a key that has lost a column",
            contract_of(),
            contract_of(method={"physicalType": "string", "required": True}),
            "2.0.0",
        ),
        ("a longer latency", contract_of(), contract_of(latency=(8, "d")), "2.0.0"),
        (
            "a latency of 169 hours in the place of 7 days",
            contract_of(),
            contract_of(latency=(169, "h")),
            "2.0.0",
        ),
        ("a latency that is no longer promised", contract_of(), contract_of(latency=None), "2.0.0"),
        ("a column gone and another new", contract_of(), contract_of(cents=None, refunds="int"), "2.0.0"),
        ("a new column", contract_of(), contract_of(refunds="int"), "1.5.0"),
        ("a new column that is required", contract_of(), contract_of(refunds=INT), "1.5.0"),
        (
            "a column that is now required",
            contract_of(),
            contract_of(cents={"physicalType": "bigint", "required": True}),
            "1.5.0",
        ),
        ("a shorter latency", contract_of(), contract_of(latency=(2, "d")), "1.5.0"),
        ("a latency that is newly promised", contract_of(latency=None), contract_of(), "1.5.0"),
        (
            "a latency of 168 hours in the place of 7 days",
            contract_of(),
            contract_of(latency=(168, "h")),
            "1.4.3",
        ),
        ("another team", contract_of(), contract_of() | {"team": {"name": "shop"}}, "1.4.3"),
        (
            "a column with a description",
            contract_of(),
            contract_of(cents={"physicalType": "bigint", "description": "EUR cents"}),
            "1.4.3",
        ),
        (
            "`required: false` where nothing was said",
            contract_of(),
            contract_of(cents={"physicalType": "bigint", "required": False}),
            "1.4.3",
        ),
        ("nothing", contract_of(), contract_of(), "1.4.2"),
        ("nothing but the version, which says 9.0.0", contract_of(), contract_of("9.0.0"), "1.4.2"),
        (
            "a new column, where the new file says 1.4.2 too",
            contract_of(),
            contract_of("1.4.2", refunds="int"),
            "1.5.0",
        ),
    )

    def check(self, function: Callable[..., Any]) -> Verdict:
        verdict = super().check(function)
        if verdict.state != "right":
            return verdict
        old, new = contract_of("1.9.9"), contract_of("1.9.9", refunds="int")
        if (found := function(old, new)) != "1.10.0":
            return self.wrong(f"For a new column after 1.9.9 the version should be 1.10.0; yours is {found}.")
        if (old, new) != (contract_of("1.9.9"), contract_of("1.9.9", refunds="int")):
            return self.wrong("Your function changes a contract that it was given. Only read them.")
        return verdict


next_version = NextVersion()
