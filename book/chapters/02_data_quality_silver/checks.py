"""The checks of chapter 02."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import reduce
from itertools import chain
from typing import Any, ClassVar, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from medallion.lesson.exercise import Exercise, Verdict, other_kind
from medallion.lesson.frames import (
    arrow_of,
    frame_of,
    listed,
    misshapen,
    other_session,
    scratch_table,
    shown,
)
from medallion.spark.tracebacks import reason


def _kinds(frame: DataFrame) -> dict[str, str]:
    """Return the type of each column of a frame, as messages show it."""
    return {column: kind.upper() for column, kind in frame.dtypes}


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _named(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return an order with some of its columns: "order O3 (channel web, total_cents NULL)"."""
    values = ", ".join(f"{column} {shown(row[column])}" for column in columns)
    return f"order {row['order_id']} ({values})"


class Split(Exercise):
    """Exercise 2.1. Every row is in exactly one of two parts: the condition is TRUE, FALSE or NULL for it."""

    number = "2.1"
    title = "split a DataFrame without losing a row"
    takes = "a function of a DataFrame and a condition that returns two DataFrames"
    hints = (
        "Take a condition on a column that holds NULLs, and count the rows of both parts. "
        "Do they add up to the rows of the frame?",
        "What is NOT (NULL > 0)? Ask Spark: SELECT NOT (NULL > 0). A filter keeps only what is true, "
        "so neither the condition nor its opposite keeps such a row.",
        "Make a column of the condition that is never NULL: kept = F.coalesce(F.expr(condition), "
        "F.lit(False)). Filter once by kept, and once by ~kept.",
    )
    columns = ("channel", "total_cents")
    orders = (
        ("O1", "web", 1890),
        ("O2", "app", -500),
        ("O3", "web", None),
        ("O4", None, 1200),
        ("O5", "app", 700),
        ("O5", "app", 700),
        ("O6", "app", None),
        ("O6", "app", None),
    )
    conditions = (
        "total_cents > 0",
        "channel = 'web' OR total_cents > 1000",
        "order_id IS NOT NULL",
        "total_cents > 9999",
    )

    def check(self, split: Callable[[DataFrame, str], tuple[DataFrame, DataFrame]]) -> Verdict:
        frame = frame_of(self.orders, "order_id STRING, channel STRING, total_cents INT")
        answers = [split(frame, condition) for condition in self.conditions]
        for answer in answers:
            if wrong := self._misshapen(answer, frame):
                return self.wrong(wrong)
        # One query for all the parts, and for what the conditions are of the rows.
        truth = F.array(*map(F.expr, self.conditions))
        frames = [frame.select(F.lit(-1).alias("part"), "*", truth.alias("truth"))]
        for place, part in enumerate(chain.from_iterable(answers)):
            unknown = F.lit(None).cast("ARRAY<BOOLEAN>")
            frames.append(part.select(F.lit(place), *frame.columns, unknown))
        rows = reduce(DataFrame.unionAll, frames).collect()
        found: dict[int, Counter[tuple[Any, ...]]] = defaultdict(Counter)
        for row in rows:
            found[row.part][tuple(row)[1:4]] += 1
        truths = {tuple(row)[1:4]: row.truth for row in rows if row.part == -1}
        for place, condition in enumerate(self.conditions):
            values = {row: truth[place] for row, truth in truths.items()}
            if wrong := self._wrong(found[2 * place], found[2 * place + 1], condition, values):
                return self.wrong(wrong)
        return self.right(
            "For each of four conditions every row is in one of the two parts, also where it is NULL."
        )

    @staticmethod
    def _misshapen(answer: Any, frame: DataFrame) -> str | None:
        """Return what is wrong with the kind of an answer, or the columns of its parts, or None."""
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            return other_kind(answer, "two DataFrames, as in: return kept, rest")
        return next(filter(None, (misshapen(part, _kinds(frame), only=True) for part in answer)), None)

    def _wrong(
        self,
        kept: Counter[tuple[Any, ...]],
        rest: Counter[tuple[Any, ...]],
        condition: str,
        truth: Mapping[tuple[Any, ...], bool | None],
    ) -> str | None:
        """Return the first thing that is wrong with the rows of the two parts, or None."""
        for row, sent in Counter(self.orders).items():
            order = _named(dict(zip(("order_id", *self.columns), row, strict=True)), self.columns)
            # A word of SQL for what the condition is of this row.
            value = {True: "TRUE", False: "FALSE", None: "NULL"}[truth[row]]
            found = kept[row] + rest[row]
            if found == 0 and value == "NULL":
                told = "is in neither part. The condition is NULL for it, and so is its opposite."
            elif found == 0:
                told = f"is in neither part; the condition is {value} for it."
            elif kept[row] and rest[row]:
                told = f"is in both parts; the condition is {value} for it."
            elif found != sent:
                told = (
                    f"is {_times(found)} in your parts, and {_times(sent)} in the frame. "
                    "Of rows that are equal, each counts."
                )
            elif kept[row] and value != "TRUE":
                return (
                    f"For the condition {condition!r} your first part has {order}; the condition is "
                    f"{value} for it. The first part holds only rows for which it is TRUE."
                )
            elif rest[row] and value == "TRUE":
                return (
                    f"For the condition {condition!r} your second part has {order}; the condition is "
                    "TRUE for it. The rows to keep are the first part."
                )
            else:
                continue
            return f"For the condition {condition!r} {order} {told}"
        return None


class WithReasons(Exercise):
    """Exercise 2.2. Each row says all the expectations that it does not meet, in order."""

    number = "2.2"
    title = "list all reasons of a row"
    takes = "a function of a DataFrame and a dict of conditions that returns a DataFrame"
    hints = (
        "Begin with one expectation: a column that is its name where the row does not meet it, "
        "and NULL where it does. Then do the same for each entry of the dict.",
        "F.when(F.expr(condition), None).otherwise(name) is NULL where the condition is true, and the name "
        "where it is false or NULL. F.array(*columns) puts such columns into one array.",
        "F.array_compact removes the NULLs from an array: "
        "frame.withColumn('_reasons', F.array_compact(F.array(*columns))).",
    )
    columns = ("customer_id", "total_cents", "quantity")
    orders = (
        ("O1", "C1", 1890, 2),
        ("O2", "C2", -500, 1),
        ("O3", "C1", None, 3),
        ("O4", None, -100, 0),
        ("O5", None, None, None),
        ("O6", "C3", 700, 1),
        ("O6", "C3", 700, 1),
    )
    # Not in the order of the alphabet; the second dict is another, so that none can be written down.
    dicts: ClassVar = (
        {
            "total above 0": "total_cents > 0",
            "customer known": "customer_id IS NOT NULL",
            "a quantity": "quantity >= 1",
        },
        {"small": "total_cents < 1000 OR quantity = 1"},
    )

    def check(self, with_reasons: Callable[[DataFrame, dict[str, str]], DataFrame]) -> Verdict:
        frame = frame_of(self.orders, "order_id STRING, customer_id STRING, total_cents INT, quantity INT")
        # One query for the answers to all dicts, and for what the conditions are of the rows.
        conditions = [condition for expectations in self.dicts for condition in expectations.values()]
        truth = F.array(*map(F.expr, conditions))
        none = F.lit(None)
        frames = [frame.select(F.lit(-1).alias("dict"), "*", none.cast("ARRAY<STRING>"), truth.alias("met"))]
        for place, expectations in enumerate(self.dicts):
            answer = with_reasons(frame, dict(expectations))
            if wrong := misshapen(answer, _kinds(frame) | {"_reasons": "ARRAY<STRING>"}, only=True):
                return self.wrong(wrong)
            columns = (F.lit(place), *frame.columns, "_reasons", none.cast("ARRAY<BOOLEAN>"))
            frames.append(answer.select(*columns))
        collected = reduce(DataFrame.unionAll, frames).collect()
        met = [row for row in collected if row.dict == -1]
        for place, expectations in enumerate(self.dicts):
            answered = [row for row in collected if row.dict == place]
            if len(answered) != len(self.orders):
                return self.wrong(
                    f"Your answer has {len(answered)} rows, and the frame has {len(self.orders)}."
                )
            rows = {tuple(row)[1:5]: row[5] for row in answered}
            for row in met:
                results = {name: row.met[conditions.index(text)] for name, text in expectations.items()}
                order = _named(row.asDict(), self.columns)
                if tuple(row)[1:5] not in rows:
                    return self.wrong(f"The frame has {order}, and your answer has no such row.")
                if wrong := self._wrong(order, rows[tuple(row)[1:5]], results, expectations):
                    return self.wrong(wrong)
        return self.right("Every row names what it does not meet, all of it and in order.")

    @staticmethod
    def _wrong(
        order: str,
        found: list[str | None] | None,
        results: dict[str, bool | None],
        expectations: Mapping[str, str],
    ) -> str | None:
        """Return what is wrong with the reasons found for one order, or None."""
        expected = [name for name, met in results.items() if not met]
        if found is None and not expected:
            return f"Your _reasons of {order} is NULL. It meets every expectation: the array is empty."
        if found is None:
            return f"Your _reasons of {order} is NULL; it should be {expected}."
        if None in found:
            told = ", ".join(shown(name) for name in found)
            return f"Your _reasons of {order} is [{told}]. Leave out the NULLs: it should be {expected}."
        for name in found:
            if name not in expected and name in results:
                return f"Your _reasons of {order} names {name!r}, which the order meets."
        for name in expected:
            if name not in found and results[name] is None:
                return (
                    f"Your _reasons of {order} lacks {name!r}: {expectations[name]} is NULL for it, "
                    "and NULL is not met."
                )
            if name not in found:
                return (
                    f"Your _reasons of {order} is {found}. It lacks {name!r}, which the order does not meet."
                )
        if found != expected:
            return f"Your _reasons of {order} is {found}; in the order of the dict it is {expected}."
        return None


class Release(Exercise):
    """Exercise 2.3. Open rows that pass go to their table once, whatever dies between the two writes."""

    number = "2.3"
    title = "release quarantined rows"
    takes = "a function of two names of tables and a condition"
    hints = (
        "Which rows go: those with the status open AND the condition in brackets, because it may hold an OR. "
        "Which of the two tables is written first, if the job may die in between?",
        "First MERGE these rows into the table by _row_id with whenNotMatchedInsertAll: a row that is there "
        "already is left alone. Then MERGE the ids that are in the table into the quarantine, and set the "
        "status.",
        "ready = spark.table(aside).where(f\"_status = 'open' AND ({condition})\"); merge ready into table "
        "with .whenNotMatchedInsertAll(), then spark.table(table).select('_row_id') into aside with "
        ".whenMatchedUpdate(\"old._status = 'open'\", {'_status': \"'released'\"}), both on "
        "old._row_id = new._row_id.",
    )
    columns = ("_row_id", "payment_id", "amount_cents")
    # In the quarantine: the row, its status, and what the condition is of it
    aside = (
        ("r1", "P1", 500, "open", "TRUE"),
        ("r2", "P2", -5, "open", "FALSE"),
        ("r3", "P3", None, "open", "NULL"),
        ("r4", "P4", 700, "rejected", "TRUE"),
        ("r5", "P5", 800, "released", "TRUE"),
        ("r6", "P6", 600, "open", "TRUE"),  # in the table already: a job died between its writes
        ("r7", "P7", 2000, "open", "FALSE"),  # at first TRUE, and the table refuses it
        ("r8", "P1", 500, "open", "TRUE"),  # another row with the values of r1
        ("r9", "P9", 900, "rejected", "TRUE"),  # in the table, because somebody typed it in again
    )
    condition = "amount_cents > 0 OR payment_id = 'P4'"
    without_r7 = "amount_cents > 0 AND amount_cents < 1000 OR payment_id = 'P4'"
    held = (("r0", "P0", 100), ("r5", "P5", 800), ("r6", "P6", 600), ("r9", "P9", 900))

    def check(self, release: Callable[[str, str, str], Any]) -> Verdict:
        kept = "_row_id STRING, payment_id STRING, amount_cents INT"
        rows = [(*row[2::-1], "negative_amount", row[3]) for row in self.aside]
        turned = "amount_cents INT, payment_id STRING, _row_id STRING, _reason STRING, _status STRING"
        small = "coalesce(amount_cents, 0) < 1000"
        with scratch_table(kept, self.held, small=small) as table, scratch_table(turned, rows) as aside:
            try:
                release(aside, table, self.condition)
            except Exception as error:  # whatever the learner's code raises
                if not reason(error).startswith("DELTA_VIOLATE_CONSTRAINT"):
                    raise
            if wrong := self._wrong_after_refusal(table, aside):
                return self.wrong(wrong)
            try:
                release(aside, table, self.without_r7)
            except Exception as error:  # whatever the learner's code raises
                if not reason(error).startswith("DELTA_VIOLATE_CONSTRAINT"):
                    raise
                return self.wrong("Your function adds row r7 to the table; the condition is FALSE for it.")
            if wrong := self._wrong(table, aside):
                return self.wrong(wrong)
        return self.right(
            "Each open row that passes is in the table once, and its status says so. (Mark what is in the "
            "table: a frame of the quarantine is read anew, with rows that came in between.)"
        )

    def _wrong_after_refusal(self, table: str, aside: str) -> str | None:
        """Return what is wrong after the table has refused a row with its constraint, or None."""
        there = {row["_row_id"] for row in arrow_of(table).to_pylist()}
        for row in sorted(arrow_of(aside).to_pylist(), key=lambda row: row["_row_id"]):
            if row["_status"] == "released" and row["_row_id"] not in there:
                return (
                    f"The table refused a write (its constraint allows no amount of 1000 or more), and now "
                    f"row {row['_row_id']} is released and not in the table. Write the table first, then the "
                    "status."
                )
        return None

    def _wrong(self, table: str, aside: str) -> str | None:
        """Return the first thing that is wrong with the two tables, or None."""
        found = arrow_of(table)
        if found.column_names != list(self.columns):
            return (
                f"The columns of the table are {', '.join(found.column_names)}; "
                f"they should still be {', '.join(self.columns)}."
            )
        kept = [tuple(row.values()) for row in found.to_pylist()]
        status = {row["_row_id"]: row["_status"] for row in arrow_of(aside).to_pylist()}
        if set(kept) == set(self.held) and status == {row[0]: row[3] for row in self.aside}:
            return "Your function has changed neither table. Does each MERGE end with .execute()?"
        times = Counter(row[0] for row in kept)
        for row in self.held:
            if row not in kept:
                return f"Row {row[0]} was in the table before, and is not there any more as it was."
        for *row, before, value in self.aside:
            if wrong := self._wrong_row(tuple(row), before, value, times, kept, status):
                return f"After your function ran, {wrong}"
        if more := sorted(set(times) - {row[0] for row in (*self.held, *self.aside)}, key=str):
            return f"The table has a row {shown(more[0])} that was nowhere before."
        return None

    def _wrong_row(
        self,
        row: tuple[Any, ...],
        before: str,
        value: str,
        times: Counter[str],
        kept: Sequence[tuple[Any, ...]],
        status: Mapping[str, str],
    ) -> str | None:
        """Return what is wrong with one row of the quarantine and its place in the table, or None."""
        id_ = row[0]
        goes = before == "open" and value == "TRUE"
        held = any(id_ == one[0] for one in self.held)
        if times[id_] and not (goes or held):
            why = f"the condition is {value} for it" if before == "open" else f"its status was {before}"
            return f"row {id_} is in the table; {why}."
        if goes and not times[id_]:
            return f"row {id_} is not in the table; it was open, and the condition is TRUE for it."
        if times[id_] > 1:
            why = " It was there before: a job had died between its two writes." if held else ""
            return f"row {id_} is in the table {_times(times[id_])}.{why}"
        if times[id_] and row not in kept:
            return f"row {id_} has other values in the table than in the quarantine."
        if id_ not in status:
            return f"row {id_} is gone from the quarantine. All rows stay there; only the status changes."
        expected = "released" if goes else before
        if status[id_] != expected:
            return f"row {id_} has the status {shown(status[id_])}; it should be {expected}."
        return None


def _sequence(event: "Event") -> int:
    """Return the sequence of an event; below all others where it has none."""
    return -1 if event.sequence is None else int(event.sequence)


class Event(NamedTuple):
    """A change event of an order as the batches of exercise 2.5 hold it."""

    order_id: str
    sequence: int
    op: str
    status: str | None


class ApplyChanges(Exercise):
    """Exercise 2.5. One state, whatever the order and the number of the batches."""

    number = "2.5"
    title = "find the fault in a MERGE of change events"
    takes = "a function of a DataFrame, a number and the name of a table"
    hints = (
        "Follow one order through the function: its delete comes first, and its create, which is older, in "
        "the next micro-batch. What is in the table when the create arrives?",
        "A delete is an update like any other: its row stays, with the op d, and stands in the way of older "
        "events. So no row is deleted, and a tombstone whose order is not in the table is inserted too.",
        "merge = target.merge(newest_event(batch).alias('new'), 'old.order_id = new.order_id'), then "
        ".whenMatchedUpdateAll('new.sequence > old.sequence').whenNotMatchedInsertAll().execute(), and no "
        "whenMatchedDelete.",
    )
    schema = "order_id STRING, sequence BIGINT, op STRING, status STRING"
    batches: tuple[tuple[Event, ...], ...] = (
        (
            Event("O1", 11, "c", "placed"),
            Event("O2", 22, "u", "packed"),
            Event("O3", 31, "c", "placed"),
            Event("O4", 42, "d", None),
            Event("O5", 53, "d", None),
            Event("O6", 61, "c", "placed"),
            Event("O8", 82, "u", "packed"),
            Event("O9", 91, "d", None),
        ),
        (
            Event("O2", 21, "c", "placed"),  # older than what came before
            Event("O3", 32, "d", None),  # and its create comes once more
            Event("O4", 41, "c", "placed"),  # older than its delete
            Event("O5", 51, "c", "placed"),
            Event("O5", 52, "u", "packed"),
            Event("O6", 62, "u", "packed"),
            Event("O6", 64, "u", "delivered"),
            Event("O6", 63, "u", "packed"),
            Event("O7", 72, "d", None),
            Event("O7", 71, "c", "placed"),
            Event("O8", 81, "d", None),  # a delete that is older than what came before
            Event("O9", 92, "c", "placed"),  # created again after its delete
        ),
    )
    # After a lost checkpoint new events come under the number of a micro-batch that was done.
    unseen = Event("O99", 991, "c", "placed")

    def check(self, apply_changes: Callable[[DataFrame, int, str], Any]) -> Verdict:
        # A stream hands each batch over in a session of its own, where the notebook's views are not.
        with other_session() as elsewhere, scratch_table(self.schema) as table:
            came: list[tuple[Event, ...]] = []
            calls = [*enumerate(self.batches), (0, (*self.batches[0], self.unseen))]
            for number, batch in calls:
                came.append(batch)
                try:
                    apply_changes(_frame(elsewhere, batch), number, table)
                except Exception as error:  # whatever the learner's code raises
                    why = reason(error)
                    if why == "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE":
                        return self.wrong(
                            f"Micro-batch {number} stopped with {why}: it holds {_several(came)}. "
                            "Reduce the micro-batch to one event for each order before the MERGE."
                        )
                    if why == "TABLE_OR_VIEW_NOT_FOUND":
                        return self.wrong(
                            f"Micro-batch {number} stopped with {why}. A stream hands each micro-batch over "
                            "in a session of its own: its views are in batch.sparkSession, not in spark."
                        )
                    raise
                rows = arrow_of(table)
                if rows.column_names != list(Event._fields):
                    return self.wrong(
                        f"After micro-batch {number} the columns of the table are "
                        f"{', '.join(rows.column_names)}; "
                        f"they should still be {', '.join(Event._fields)}."
                    )
                held = [Event(**row) for row in rows.to_pylist()]
                if not held:
                    return self.wrong(
                        f"After micro-batch {number} your table is empty. Does the MERGE insert what is new, "
                        "and end with .execute()?"
                    )
                if wrong := self._wrong(held, came, last=len(came) > len(self.batches)):
                    return self.wrong(wrong)
        return self.right("What came late or twice has changed nothing, and what was deleted stays deleted.")

    def _wrong(self, rows: list[Event], came: list[tuple[Event, ...]], *, last: bool) -> str | None:
        """Return the first thing that is wrong with the table after the batches that came, or None."""
        batch = f"micro-batch {len(came) - 1}"
        if last:
            batch = "micro-batch 0 again, with one new event,"
        whence = {event: number for number, events in enumerate(came) for event in events}
        for order in sorted({event.order_id for event in whence}):
            sent = [event for event in whence if event.order_id == order]
            newest = max(sent, key=_sequence)
            found = sorted((row for row in rows if row.order_id == order), key=_sequence)
            if len(found) > 1:
                told = listed(row.sequence for row in found)
                return (
                    f"After {batch} order {order} is in {len(found)} rows of your table, "
                    f"with the sequences {told}. Each order has one row."
                )
            # A tombstone that is missing shows when an older event comes; at the end it is asked for.
            if not found and newest.op == "d" and not last:
                continue
            if not found and newest.op == "d":
                return (
                    f"Order {order} has no row in your table. Its delete has sequence {newest.sequence}; "
                    "keep it as a row with the op d. Without that an older event brings the order back."
                )
            if not found:
                where = "is new" if last else f"was in micro-batch {whence[newest]}"
                return (
                    f"After {batch} order {order} has no row in your table; its event {newest.sequence} "
                    f"{where}."
                )
            if wrong := self._wrong_row(found[0], newest, sent, batch, whence):
                return wrong
        return None

    @staticmethod
    def _wrong_row(
        row: Event, newest: Event, sent: list[Event], batch: str, whence: dict[Event, int]
    ) -> str | None:
        """Return what is wrong with the one row of an order, or None."""
        order = row.order_id
        here = next((event for event in sent if event.sequence == row.sequence), None)
        if here is None:
            told = f"has the sequence {shown(row.sequence)} in your table; no event of it has that."
        elif here != newest and newest.op == "d" and whence[here] > whence[newest]:
            told = (
                f"is back: its delete has sequence {newest.sequence}, and your table shows sequence "
                f"{row.sequence} with the status {shown(row.status)}."
            )
        elif here != newest and newest.op == "d":
            told = (
                f"is still there: its delete, sequence {newest.sequence}, was in "
                f"micro-batch {whence[newest]}, and your table shows sequence {row.sequence}."
            )
        elif here != newest and whence[here] > whence[newest]:
            told = (
                f"went back in time: your table had its event {newest.sequence}, and shows the older event "
                f"{row.sequence} now. Compare the sequences."
            )
        elif here != newest and whence[here] == whence[newest]:
            together = listed(event.sequence for event in sent if whence[event] == whence[newest])
            return (
                f"Micro-batch {whence[newest]} holds the events {together} of order {order}, and "
                f"your table shows {row.sequence}. The newest of them counts."
            )
        elif here != newest:
            told = (
                f"shows the old event {row.sequence} in your table; its newer event {newest.sequence} was in "
                f"micro-batch {whence[newest]}."
            )
        elif wrong := [name for name in Event._fields if getattr(row, name) != getattr(newest, name)]:
            told = (
                f"has the sequence {row.sequence} and the {wrong[0]} {shown(getattr(row, wrong[0]))} in your "
                f"table; event {row.sequence} has {shown(getattr(newest, wrong[0]))}. "
                "Take the complete event."
            )
        else:
            return None
        return f"After {batch} order {order} {told}"


def _frame(spark: SparkSession, batch: Sequence[Event]) -> DataFrame:
    """Return a batch in one partition, in the order of its events.

    Not by createDataFrame, which would make `spark` the session of the notebook.
    """
    values = ", ".join(
        f"('{event.order_id}', {event.sequence}L, '{event.op}', "
        + ("NULL)" if event.status is None else f"'{event.status}')")
        for event in batch
    )
    columns = ", ".join(f"col{place} AS {name}" for place, name in enumerate(Event._fields, 1))
    return spark.sql(f"SELECT {columns} FROM VALUES {values}").coalesce(1)


def _several(came: list[tuple[Event, ...]]) -> str:
    """Return in words the first order of which the last batch holds several events newer than before."""
    *before, batch = came
    known: dict[str, int] = {}
    for event in [event for events in before for event in events]:
        known[event.order_id] = max(event.sequence, known.get(event.order_id, 0))
    newer = [event for event in batch if event.sequence > known.get(event.order_id, event.sequence)]
    order = min(order for order, count in Counter(event.order_id for event in newer).items() if count > 1)
    told = listed(event.sequence for event in newer if event.order_id == order)
    return f"the events {told} of order {order}"


def _counted(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"


class Version(NamedTuple):
    """A version of a customer as exercise 2.4 asks for it, the stamps as text."""

    city: str | None
    valid_from: str | None
    valid_to: str | None
    is_current: bool | None


class Versions(Exercise):
    """Exercise 2.4. A row for each change of the city, in intervals without overlap or gap."""

    number = "2.4"
    title = "build the intervals of a type 2 history"
    takes = "a function of a DataFrame that returns a DataFrame"
    hints = (
        "First leave out the rows that say nothing new: those with the city that was seen just before. "
        "Of what is left, each row is a version, and the next one ends it.",
        "F.lag('city') over a window partitioned by customer_id and ordered by seen_at is the city seen "
        "before. It is NULL for the first row, and where the city before was NULL: F.lag('seen_at') tells "
        "the two apart. Compare cities by a.eqNullSafe(b), in SQL <=>, for which two NULLs are equal.",
        "After that filter F.lead('seen_at') over the same window is valid_to, and where it is NULL "
        "the version is current: F.lead('seen_at').over(…).isNull().",
    )
    columns: ClassVar = {
        "customer_id": "STRING",
        "city": "STRING",
        "valid_from": "TIMESTAMP",
        "valid_to": "TIMESTAMP",
        "is_current": "BOOLEAN",
    }
    events = (
        ("C1", "Leiden", "2025-10-01 08:00:00"),
        ("C3", "Porto", "2025-09-01 10:00:00"),
        ("C1", "Gent", "2025-08-01 08:00:00"),
        ("C2", "Turin", "2025-07-01 09:00:00"),
        ("C1", "Leiden", "2025-07-01 08:00:00"),
        ("C2", "Turin", "2025-09-01 09:00:00"),
        ("C1", "Leiden", "2025-10-01 08:00:00"),
        ("C1", "Gent", "2025-09-01 08:00:00"),
        ("C3", "Turin", "2025-10-01 10:00:00"),
        ("C2", "Turin", "2025-08-01 09:00:00"),
        ("C1", "Leiden", "2025-11-01 08:00:00"),
        ("C4", None, "2025-08-01 11:00:00"),
        ("C4", "Porto", "2025-09-01 11:00:00"),
        ("C4", None, "2025-07-01 11:00:00"),
        ("C4", None, "2025-10-01 11:00:00"),
        ("C5", "Gent", "2025-12-01 12:00:00"),
    )

    def check(self, versions: Callable[[DataFrame], DataFrame]) -> Verdict:
        answer = versions(frame_of(self.events, "customer_id STRING, city STRING, seen_at TIMESTAMP"))
        if wrong := misshapen(answer, self.columns, only=True):
            return self.wrong(wrong)
        rows = answer.select(*self.columns).collect()
        customers = sorted({event[0] for event in self.events})
        for customer in customers:
            found = [
                Version(*(str(value) if isinstance(value, datetime) else value for value in row[1:]))
                for row in rows
                if row.customer_id == customer
            ]
            found.sort(key=lambda version: (version.valid_from or "", version.valid_to or "~"))
            if wrong := self._wrong(f"customer {customer}", found, list(self._expected(customer))):
                return self.wrong(wrong)
        if any(row.customer_id not in customers for row in rows):
            return self.wrong("A row of your answer is of a customer who is in no event.")
        return self.right("One row for each change, without overlap or gap.")

    def _expected(self, customer: str) -> Iterator[Version]:
        seen = sorted((at, city) for of, city, at in self.events if of == customer)
        changes = [event for place, event in enumerate(seen) if place == 0 or seen[place - 1][1] != event[1]]
        for place, (at, city) in enumerate(changes):
            end = changes[place + 1][0] if place + 1 < len(changes) else None
            yield Version(city, at, end, end is None)

    @staticmethod
    def _wrong(customer: str, found: list[Version], expected: list[Version]) -> str | None:
        """Return what is wrong with the versions of one customer, both lists in time, or None."""
        if len(found) != len(expected):
            told = ", then ".join(shown(version.city) for version in expected)
            if len(found) > len(expected):
                mend = "A row that repeats where the customer was seen before makes no version."
            elif not found or found[0].valid_from != expected[0].valid_from:
                mend = "The first city that was seen is a version too."
            else:
                mend = "A city that comes back is a version of its own."
            return (
                f"Your answer has {_counted(len(found))} for {customer}, who was in {told}: "
                f"it should have {len(expected)}. {mend}"
            )
        pairs = [
            (f"Version {place} of {customer}", mine, version)
            for place, (mine, version) in enumerate(zip(found, expected, strict=True), 1)
        ]
        for which, mine, version in pairs:
            if mine.city != version.city:
                return f"{which} is in {shown(mine.city)}; it should be in {shown(version.city)}."
            if mine.valid_from != version.valid_from:
                return (
                    f"{which}, {shown(version.city)}, begins at {shown(mine.valid_from)}; "
                    f"the city was first seen at {version.valid_from}."
                )
        for which, mine, version in pairs:
            which += f", {shown(version.city)},"
            if mine.valid_to is not None and version.valid_to is None:
                return f"{which} ends at {mine.valid_to}. It is the last, so its valid_to is NULL."
            if mine.valid_to is None and version.valid_to is not None:
                return f"{which} has no end, and the next one begins at {version.valid_to}."
            if mine.valid_to != version.valid_to:
                what = "a gap" if str(mine.valid_to) < str(version.valid_to) else "an overlap"
                return (
                    f"{which} ends at {mine.valid_to}, and the next one begins at {version.valid_to}: "
                    f"that is {what}."
                )
            if mine.is_current != version.is_current:
                state = "has ended" if version.valid_to else "is the last"
                return f"{which} {state}, and your is_current is {shown(mine.is_current).lower()}."
        return None


split = Split()
with_reasons = WithReasons()
release = Release()
versions = Versions()
apply_changes = ApplyChanges()
