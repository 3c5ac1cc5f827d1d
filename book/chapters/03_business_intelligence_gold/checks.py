"""The checks of chapter 03."""

import random
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from pyspark.sql import DataFrame

from medallion.lesson.exercise import Verdict
from medallion.lesson.frames import (
    ANY,
    LEFT_OUT,
    WHOLE,
    Case,
    FrameExercise,
    arrow_of,
    frame_of,
    scratch_table,
    session,
)
from medallion.spark.tracebacks import reason


class Together(FrameExercise):
    """An exercise whose cases are first asked all at once, since each frame costs a query.

    Only an answer that is wrong there meets the cases one by one, and is told of the first that goes wrong.
    """

    @abstractmethod
    def together(self) -> Case:
        """Return one case of the rows of all, where each has customers of its own."""

    def check(self, answer: Any) -> Verdict:
        case = self.together()
        wrong = self.wrong_in(self.answered(answer, case), case)
        if not wrong:
            return self.right(self.praise)
        apart = super().check(answer)
        return self.wrong(wrong) if apart.ok else apart


class WeekLabel(FrameExercise):
    """Exercise 3.1. The label of each day's ISO week, with the year that the week belongs to."""

    number = "3.1"
    title = "label a day with its ISO week"
    takes = "a string with a SQL expression of the column day"
    hints = (
        "29 December 2025 belongs to week 1 of 2026. Which part of your label gives the year?",
        "extract(YEAROFWEEK FROM day) and extract(WEEK FROM day) belong together.",
        "concat(extract(YEAROFWEEK FROM day), '-W', lpad(extract(WEEK FROM day), 2, '0'))",
    )

    keys = ("day",)
    kinds: ClassVar = {"day": "DATE", "label": "STRING"}
    what = "{day}"
    other = "{why}; your label for it is {found}, and it should be {expected}."
    praise = "Every label is that of the ISO week, also at the turn of a year."

    def cases(self) -> Iterator[Case]:
        # The half-year first, because it is what the learner looks at; then the turns of more years.
        days = [date(2025, 7, 1) + timedelta(days=n) for n in range(182)]
        for year in range(2020, 2031):
            days += [date(year, 1, 1) + timedelta(days=n) for n in range(-5, 70)]
        rows = []
        for day in dict.fromkeys(days):
            year, week, _ = day.isocalendar()
            rows.append((day, f"{year}-W{week:02}", f"{day:%A} {day} lies in week {week} of {year}"))
        yield Case((frame_of(rows, "day DATE"),), rows)

    def answered(self, expression: str, case: Case) -> DataFrame:
        (frame,) = case.given or ()
        return frame.selectExpr("day", f"CAST({expression} AS STRING) AS label")

    def shown(self, column: str, value: Any) -> str:
        return f"'{value}'" if isinstance(value, str) else super().shown(column, value)


class AsItWas(FrameExercise):
    """Exercise 3.2. Each order once, with the key of the version that was valid at its moment."""

    number = "3.2"
    title = "join each order with the version of its time"
    takes = "a function of two DataFrames, orders and versions"
    hints = (
        "The join needs three conditions: the customer, not before the version begins, before it ends.",
        "A version without an end is still valid: valid_to IS NULL. "
        "Which kind of join keeps orders that find no version? Both frames have customer_id: rename one.",
        "known = versions.withColumnRenamed('customer_id', 'who'), then orders.join(known, F.expr(valid), "
        "'left') and select(*orders.columns, 'customer_key'). valid is: customer_id = who AND "
        "ordered_at >= valid_from AND (ordered_at < valid_to OR valid_to IS NULL).",
    )
    only = True
    keys = ("order_id", "customer_id", "ordered_at", "channel")
    kinds: ClassVar = {
        "order_id": ANY,
        "customer_id": ANY,
        "ordered_at": "TIMESTAMP",
        "channel": ANY,
        "customer_key": ANY,
    }
    what = "Order {order_id} (customer {customer_id}, {ordered_at})"
    lost = "{what} went in and did not come out. Keep it, with NULL for the key."
    doubled = "{what} came out {times}, with the keys {each}; {why}."
    other = "{what} has the key {found}; it should be {expected}, because {why}."
    moment = "{0.day} {0:%B, %H:%M}"
    praise = "Nine orders in, nine out, each with the version of its time."
    # Order, customer, when, channel, key, and why.
    orders = (
        ("O1", "C1", "2025-07-03 12:00", "web", 11, "its customer had not moved yet"),
        (
            "O2",
            "C1",
            "2025-07-05 00:00",
            "app",
            12,
            "a version is valid from its beginning to before its end",
        ),
        ("O3", "C1", "2025-07-20 12:00", "web", 12, "a version without an end is still valid"),
        ("O4", "C1", "2025-07-20 12:00", "web", 12, "two orders at one moment are two orders"),
        ("O5", "C2", "2025-07-02 12:00", "app", 21, "its customer never moved"),
        ("O6", "C2", "2025-07-01 08:00", "web", None, "it was before the first version of its customer"),
        ("O7", "C3", "2025-07-10 00:00", None, None, "the only version of its customer had just ended"),
        ("O8", "C9", "2025-07-04 12:00", "web", None, "its customer has no version"),
        ("O9", None, "2025-07-04 12:00", "web", None, "it has no customer"),
    )
    versions = (
        (11, "C1", "Leipzig", "2025-07-01", "2025-07-05"),
        (12, "C1", "Bremen", "2025-07-05", None),
        (21, "C2", "Kiel", "2025-07-02", None),
        (31, "C3", "Ulm", "2025-07-01", "2025-07-10"),
    )

    def cases(self) -> Iterator[Case]:
        orders = frame_of(
            self.orders, "order_id STRING, customer_id STRING, ordered_at TIMESTAMP, channel STRING"
        )
        versions = frame_of(
            self.versions,
            "customer_key BIGINT, customer_id STRING, city STRING, valid_from TIMESTAMP, valid_to TIMESTAMP",
        )
        yield Case((orders, versions), self.orders)


class Seams(Together):
    """Exercise 3.3. Exactly the versions at which a history overlaps, has a gap, or ends wrongly."""

    number = "3.3"
    title = "find gaps and overlaps in a history"
    takes = "a function of a DataFrame with customer_id, valid_from and valid_to"
    hints = (
        "Put each version beside the beginning of the same customer's next one. Which function looks ahead?",
        "F.lead('valid_from').over(Window.partitionBy('customer_id').orderBy('valid_from')) "
        "is NULL for the last version.",
        "Keep the rows where NOT following <=> valid_to: for <=>, NULL equals NULL.",
    )
    keys = ("customer_id", "valid_from", "valid_to")
    kinds: ClassVar = {"customer_id": ANY, "valid_from": "TIMESTAMP", "valid_to": "TIMESTAMP"}
    what = "the version of {customer_id} from {valid_from} to {valid_to}"
    lost = "For {about}: {what} is broken, and you do not return it."
    doubled = "For {about}: you return {what} {times}."
    left_out = "For {about}: {what} is in order, and you return it."
    strange = "For {about}: {what} did not go in, and you return it."
    moment = "{:%Y-%m-%d}"
    praise = "Overlaps, gaps and wrong ends are found, and nothing else."
    # What the case is about, and its versions: customer, first and last day in July 2025 (None: open),
    # and whether the version is broken.
    histories: ClassVar[tuple[Any, ...]] = (
        ("a customer with one open version", [("C1", 1, None, False)]),
        ("a customer who moved twice", [("C1", 1, 5, False), ("C1", 5, 9, False), ("C1", 9, None, False)]),
        ("an overlap", [("C1", 1, 7, True), ("C1", 5, None, False)]),
        ("a gap", [("C1", 1, 4, True), ("C1", 5, None, False)]),
        ("an open version with another after it", [("C1", 1, None, True), ("C1", 5, None, False)]),
        ("a last version that is closed", [("C1", 1, 5, False), ("C1", 5, 9, True)]),
        ("two customers whose days interleave", [("C1", 1, None, False), ("C2", 3, None, False)]),
        (
            "the customers listed in disorder",
            [
                ("C2", 4, None, False),
                ("C1", 6, None, False),
                ("C1", 1, 4, False),
                ("C1", 4, 8, True),
            ],
        ),
    )

    def cases(self) -> Iterator[Case]:
        for about, versions in self.histories:
            yield self.case(about, versions)

    def together(self) -> Case:
        each = enumerate(versions for _, versions in self.histories)
        versions = [(f"{who} of history {n}", *rest) for n, rows in each for who, *rest in rows]
        return self.case("all histories together", versions)

    def case(self, about: str, versions: Iterable[tuple[Any, ...]]) -> Case:
        """Return a case of some versions."""
        rows = [
            (who, _july(first), _july(end), *(() if broken else (LEFT_OUT,)), "")
            for who, first, end, broken in versions
        ]
        frame = frame_of(rows, "customer_id STRING, valid_from TIMESTAMP, valid_to TIMESTAMP")
        return Case((frame,), rows, about)

    def shown(self, column: str, value: Any) -> str:
        return "open" if value is None else super().shown(column, value)


def _july(day: int | None) -> datetime | None:
    return None if day is None else datetime(2025, 7, day)


class Split(FrameExercise):
    """Exercise 3.4. The history as one load in the right order would have made it."""

    number = "3.4"
    title = "split an interval with a late snapshot"
    takes = "a function of two DataFrames and two days as strings"
    hints = (
        "Three kinds of states: what the versions say from their beginning, what the snapshot says from "
        "`day`, and, for its customers, what the version that goes on says again from `following`.",
        "union() the three as customer_id, city and valid_from. F.lag shows the city before, F.lead the next "
        "beginning. A state with the city of the one before it says nothing new.",
        "F.lag(F.struct('city')) is NULL only for a customer's first state: keep the rows where "
        "NOT before <=> struct(city). After that, valid_to is F.lead('valid_from').",
    )
    only = True
    keys = ("customer_id", "valid_from")
    kinds: ClassVar = {
        "customer_id": ANY,
        "valid_from": "TIMESTAMP",
        "city": "STRING",
        "valid_to": "TIMESTAMP",
    }
    what = "the version of {customer_id} from {valid_from}"
    lost = "You do not return {what} ({ours[city]}): {why}."
    doubled = "You return {what} {times}; {why}."
    other = "You say that {what} has the {column} {found}; it should be {expected}: {why}."
    strange = "You return {what} ({mine[city]}), and no version begins there."
    moment = "{:%Y-%m-%d}"
    praise = "Twelve customers, and each has the history that a snapshot in time would have made."
    day, following = "2025-10-01", "2025-11-01"
    # Customer: why; the versions as (city, month of the beginning); what is late; what should be.
    histories: ClassVar[dict[str, tuple[str, Any, Any, Any]]] = {
        "C01": (
            "the snapshot holds until the next one, and then the old city goes on",
            [("Leipzig", 7), ("Bremen", 12)],
            ["Bonn"],
            [("Leipzig", 7), ("Bonn", 10), ("Leipzig", 11), ("Bremen", 12)],
        ),
        "C02": (
            "the snapshot says nothing new of this customer",
            [("Kiel", 7)],
            ["Kiel"],
            [("Kiel", 7)],
        ),
        "C03": (
            "the move was seen in the next snapshot only, and the late one has it already",
            [("Kiel", 7), ("Ulm", 11)],
            ["Ulm"],
            [("Kiel", 7), ("Ulm", 10)],
        ),
        "C04": (
            "the customer moved twice, once in each month",
            [("Kiel", 7), ("Ulm", 11)],
            ["Bonn"],
            [("Kiel", 7), ("Bonn", 10), ("Ulm", 11)],
        ),
        "C05": ("the snapshot lacks this customer", [("Kiel", 7)], [], [("Kiel", 7)]),
        "C06": (
            "the customer was in the late snapshot first",
            [("Jena", 11)],
            ["Bonn"],
            [("Bonn", 10), ("Jena", 11)],
        ),
        "C07": (
            "the customer was in the late snapshot first, in the same city",
            [("Jena", 11)],
            ["Jena"],
            [("Jena", 10)],
        ),
        "C08": (
            "an unknown city is a city too",
            [("Kiel", 7)],
            [None],
            [("Kiel", 7), (None, 10), ("Kiel", 11)],
        ),
        "C09": (
            "from an unknown city one can move, and back to it",
            [(None, 7)],
            ["Kiel"],
            [(None, 7), ("Kiel", 10), (None, 11)],
        ),
        "C10": ("the city was unknown before", [(None, 7)], [None], [(None, 7)]),
        "C11": (
            "what happened long before stays",
            [("Kiel", 7), ("Ulm", 8), ("Kiel", 9)],
            ["Kiel"],
            [("Kiel", 7), ("Ulm", 8), ("Kiel", 9)],
        ),
        "C12": (
            "the snapshot lacks this customer, and what comes later stays",
            [("Kiel", 7), ("Ulm", 11)],
            [],
            [("Kiel", 7), ("Ulm", 11)],
        ),
    }

    def cases(self) -> Iterator[Case]:
        versions, late, rows = [], [], []
        for who, (why, before, said, after) in self.histories.items():
            versions += [(who, city, begin, end) for city, begin, end in _laid_out(before)]
            late += [(who, city) for city in said]
            rows += [(who, begin, city, end, why) for city, begin, end in _laid_out(after)]
        history = "customer_id STRING, city STRING, valid_from TIMESTAMP, valid_to TIMESTAMP"
        given = frame_of(versions, history), frame_of(late, "customer_id STRING, city STRING")
        yield Case((*given, self.day, self.following), rows)

    def shown(self, column: str, value: Any) -> str:
        return "open" if column == "valid_to" and value is None else super().shown(column, value)


def _laid_out(states: Any) -> Iterator[tuple[str | None, datetime, datetime | None]]:
    """Yield cities with the beginning and the end of each, of cities with a month of 2025."""
    begins = [datetime(2025, month, 1) for _, month in states]
    for (city, _), begin, end in zip(states, begins, [*begins[1:], None], strict=True):
        yield city, begin, end


class Deltas(Together):
    """Exercise 3.5. What a batch of changes adds to each day and channel; applied, it equals a recount."""

    number = "3.5"
    title = "turn changes into sums to add"
    takes = "a function of a DataFrame of changes that returns one of day, channel, orders and revenue_cents"
    hints = (
        "Each row of the feed either adds an order to what is there or takes one away. Which kinds do which?",
        "insert and update_postimage add, delete and update_preimage take away: a sign of 1 or -1, made with "
        "F.when(…, 1).otherwise(-1).",
        "where(SOLD), groupBy(F.expr(BUSINESS_DAY).alias('day'), 'channel'), F.sum(sign) and "
        "F.sum(sign * F.col('total_cents')); then drop the rows where both are 0.",
    )
    only = True
    keys = ("day", "channel")
    kinds: ClassVar = {"day": "DATE", "channel": "STRING", "orders": WHOLE, "revenue_cents": WHOLE}
    what = "{channel} on {day}"
    lost = "For {about} {what} gets {ours[orders]} orders and {ours[revenue_cents]} cents; you say nothing."
    doubled = "For {about} {what} has more than one row: group by day and channel."
    other = (
        "For {about} {what} gets {ours[orders]} orders and {ours[revenue_cents]} cents; "
        "you say {mine[orders]} orders and {mine[revenue_cents]} cents."
    )
    strange = "For {about} nothing changes for {what}; leave the row out."
    praise = "What is added and what is taken away agree with a recount."
    # What the case is about; each order before and after, without its id; what it should give.
    batches: ClassVar[tuple[Any, ...]] = (
        (
            "two new orders on the web",
            [(None, ("web", "placed", 500)), (None, ("web", "placed", 300))],
            {("web", 1): (2, 800)},
        ),
        (
            "an order that is cancelled",
            [(("web", "placed", 500), ("web", "cancelled", 500))],
            {("web", 1): (-1, -500)},
        ),
        ("an order that is deleted", [(("web", "delivered", 500), None)], {("web", 1): (-1, -500)}),
        ("an order that was cancelled and is deleted", [(("web", "cancelled", 500), None)], {}),
        ("an order that is delivered", [(("web", "placed", 500), ("web", "delivered", 500))], {}),
        (
            "an order whose amount is corrected from 500 to 450",
            [(("web", "placed", 500), ("web", "placed", 450))],
            {("web", 1): (0, -50)},
        ),
        (
            "an order that moves from the web to the app",
            [(("web", "placed", 500), ("app", "placed", 500))],
            {("web", 1): (-1, -500), ("app", 1): (1, 500)},
        ),
        (
            "an order whose moment is corrected to the next midnight",
            [(("web", "placed", 500), ("web", "placed", 500, 2))],
            {("web", 1): (-1, -500), ("web", 2): (1, 500)},
        ),
        (
            "an order without a channel",
            [(None, (None, "placed", 500))],
            {(None, 1): (1, 500)},
        ),
    )
    schema = (
        "_change_type STRING, order_id STRING, channel STRING, status STRING, total_cents INT, "
        "ordered_at TIMESTAMP"
    )

    def cases(self) -> Iterator[Case]:
        for about, changes, expected in self.fed():
            yield self.case(about, changes, expected)

    def together(self) -> Case:
        # Each batch has days of its own
        changes, expected = [], {}
        for n, (_, rows, sums) in enumerate(self.fed()):
            apart = timedelta(days=40 * n)
            changes += [(*row, at + apart) for *row, at in rows]
            expected |= {(channel, day + apart): added for (channel, day), added in sums.items()}
        return self.case("all batches together", changes, expected)

    def fed(
        self,
    ) -> Iterator[tuple[str, list[tuple[Any, ...]], dict[tuple[str | None, date], tuple[int, int]]]]:
        """Yield what each batch is about, its rows in the feed, and what it should give."""
        for about, orders, expected in self.batches:
            rows = [row for n, change in enumerate(orders) for row in _fed(f"O{n}", *change)]
            yield (
                about,
                rows,
                {(channel, date(2025, 7, day)): sums for (channel, day), sums in expected.items()},
            )
        yield _many()

    def case(self, about: str, changes: Iterable[tuple[Any, ...]], expected: dict[Any, Any]) -> Case:
        """Return a case of some rows of the feed."""
        rows = [(day, channel, *sums, "") for (channel, day), sums in expected.items()]
        return Case((frame_of(changes, self.schema),), rows, about)

    def shown(self, column: str, value: Any) -> str:
        if isinstance(value, date):
            return f"{value.day} {value:%B}"
        if column == "channel" and value is None:
            return "no channel (NULL)"
        return f"{value:+}" if isinstance(value, int) else super().shown(column, value)


# Channel, status and cents of an order, and its day in July where it is not the first
_Order = tuple[Any, ...]


def _fed(name: str, before: _Order | None, after: _Order | None) -> list[tuple[Any, ...]]:
    """Return the rows that a change of an order leaves in the feed; None is an order that is not there."""

    def row(kind: str, order: _Order) -> tuple[Any, ...]:
        channel, status, cents, *day = order
        # The last moment of the first day, and the first of another
        at = datetime(2025, 7, day[0]) if day else datetime(2025, 7, 1, 23, 59, 59)
        return kind, name, channel, status, cents, at.replace(tzinfo=UTC)

    if before is None and after is not None:
        return [row("insert", after)]
    if before is not None and after is None:
        return [row("delete", before)]
    assert before is not None and after is not None
    return [row("update_preimage", before), row("update_postimage", after)]


def _many() -> tuple[str, list[tuple[Any, ...]], dict[tuple[str | None, date], tuple[int, int]]]:
    """Return a batch of random changes, and what a recount of the orders before and after gives."""
    draw = random.Random(3)

    def order() -> _Order:
        status = draw.choice(("placed", "delivered", "cancelled", "returned"))
        return draw.choice(("web", "app", None)), status, draw.randrange(100, 900), draw.choice((2, 3))

    before = {f"O{n:02}": order() for n in range(40)}
    now = dict(before)
    changes = []
    for _ in range(120):
        name = f"O{draw.randrange(60):02}"
        old = now.pop(name, None)
        if old is None or draw.random() < 0.8:
            now[name] = order()
        changes += _fed(name, old, now.get(name))
    was, is_ = _recount(before), _recount(now)
    expected = {}
    for key in {**was, **is_}:
        (orders, cents), (orders_now, cents_now) = was.get(key, (0, 0)), is_.get(key, (0, 0))
        if added := (orders_now - orders, cents_now - cents):
            expected[key] = added
    return "120 changes of 60 orders", changes, {k: v for k, v in expected.items() if v != (0, 0)}


def _recount(orders: dict[str, _Order]) -> dict[tuple[str | None, date], tuple[int, int]]:
    counted: dict[tuple[str | None, date], tuple[int, int]] = {}
    for channel, status, cents, day in orders.values():
        if status not in ("cancelled", "returned"):
            key = channel, date(2025, 7, day)
            number, sum_of = counted.get(key, (0, 0))
            counted[key] = number + 1, sum_of + cents
    return counted


class Merge(FrameExercise):
    """Exercise 3.6. A MERGE that adds to rows with a NULL in the key too, and does all else as before."""

    number = "3.6"
    title = "find the fault in a MERGE"
    takes = "a string with a MERGE statement"
    hints = (
        "Run tried(FAULTY). Which of the rows is there twice, and how does it differ from the others?",
        "A row that finds no partner is inserted. When is t.channel = d.channel not true for two equal rows?",
        "NULL = NULL is NULL, which is not true. The operator <=> is true for two NULLs.",
    )
    keys = ("day", "channel")
    kinds: ClassVar = {"day": "DATE", "channel": "STRING", "orders": WHOLE, "revenue_cents": WHOLE}
    what = "{channel} on {day}"
    lost = "After your MERGE there is no row for {what}. It should have {ours[orders]} orders: {why}."
    doubled = "After your MERGE there are {rows} for {what}; {why}."
    other = "After your MERGE the {column} of {what} are {found}; they should be {expected}: {why}."
    left_out = "After your MERGE there is still a row for {what}, and {why}."
    strange = left_out
    praise = "One row for each day and channel, the one without a channel too."
    # Day of July, channel: orders and cents before, what is added, what should be there, and why.
    rows: ClassVar[tuple[Any, ...]] = (
        (1, "web", (2, 800), (-1, -300), (1, 500), "a negative number is added too"),
        (
            1,
            None,
            (1, 500),
            (1, 200),
            (2, 700),
            "a row without a channel is a row of its own, and one is enough",
        ),
        (2, "web", (1, 300), (-1, -300), None, "no order is left, so the row goes"),
        (2, None, (2, 900), (-2, -900), None, "no order is left, so the row goes"),
        (3, "web", (2, 900), (0, -50), (2, 850), "a corrected amount changes no number of orders"),
        (3, "app", None, (1, 100), (1, 100), "what is new is inserted"),
        (4, None, None, (1, 250), (1, 250), "what is new is inserted"),
        (5, "app", (3, 700), None, (3, 700), "what nothing is added to stays"),
        (5, None, (1, 150), None, (1, 150), "what nothing is added to stays"),
    )
    schema = "day DATE, channel STRING, orders BIGINT, revenue_cents BIGINT"

    def cases(self) -> Iterator[Case]:
        rows = [
            (date(2025, 7, day), channel, *(after or (LEFT_OUT,)), why)
            for day, channel, _, _, after, why in self.rows
        ]
        yield Case(None, rows)

    def check(self, statement: Any) -> Verdict:
        if not isinstance(statement, str):
            kind = type(statement).__name__
            return self.wrong(f"Your answer is of the type {kind}. It should be a string with the statement.")
        if "{table}" not in statement:
            return self.wrong("Keep {table} in the statement: the check puts the name of a table there.")
        before, added = (
            [(date(2025, 7, row[0]), row[1], *row[place]) for row in self.rows if row[place]]
            for place in (2, 3)
        )
        frame_of(added, self.schema).createOrReplaceTempView("deltas")
        with scratch_table(self.schema, before) as table:
            try:
                session().sql(statement.replace("{table}", table)).collect()
            except Exception as error:  # Delta's errors have no Python class of their own
                told = "Does ON still compare the day and the channel, and is the rest as it was?"
                return self.wrong(f"Your MERGE stops with {reason(error)}. {told}")
            found = [tuple(row.values()) for row in arrow_of(table).select([*self.kinds]).to_pylist()]
        (case,) = self.cases()
        wrong = self.wrong_among(found, case)
        return self.wrong(wrong) if wrong else self.right(self.praise)

    def shown(self, column: str, value: Any) -> str:
        if isinstance(value, date):
            return f"{value.day} {value:%B}"
        return "no channel (NULL)" if column == "channel" and value is None else super().shown(column, value)


week_label = WeekLabel()
as_it_was = AsItWas()
seams = Seams()
split = Split()
deltas = Deltas()
merge = Merge()
