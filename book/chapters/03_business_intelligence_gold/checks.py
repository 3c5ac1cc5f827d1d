"""The checks of chapter 03."""

import random
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from pyspark.sql import DataFrame

from medallion.lesson.exercise import FunctionExercise, Verdict, same
from medallion.lesson.frames import ANY, LEFT_OUT, Case, FrameExercise, frame_of


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
    title = "the week of a day"
    takes = "a text with a SQL expression of the column day"
    hints = (
        "The year of a week is not always the year of the day. SQL can extract both kinds of year.",
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


class Seams(Together):
    """Exercise 3.2. Exactly the versions at which a history overlaps, has a gap, or ends wrongly."""

    number = "3.2"
    title = "a history without seams"
    takes = "a function of a DataFrame with customer_id, valid_from and valid_to"
    hints = (
        "Put each version beside the beginning of the same customer's next one. Which function looks ahead?",
        "F.lead('valid_from').over(Window.partitionBy('customer_id').orderBy('valid_from')) "
        "is NULL for the last version.",
        "Keep the rows where NOT following <=> valid_to: the sign <=> says that NULL equals NULL.",
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


class AsItWas(FrameExercise):
    """Exercise 3.3. Each sale once, with the city of the version that was valid at its moment."""

    number = "3.3"
    title = "as it was"
    takes = "a function of two DataFrames, sales and versions"
    hints = (
        "The join needs three conditions: the customer, not before the version begins, before it ends.",
        "A version without an end is valid until further notice: valid_to IS NULL. "
        "Which kind of join keeps sales that find no version?",
        "sales.join(versions, <customer> & (sold_at >= valid_from) & "
        "((sold_at < valid_to) | valid_to IS NULL), 'left'), then select the four columns.",
    )
    keys = ("sale_id", "customer_id", "sold_at")
    kinds: ClassVar = {"sale_id": ANY, "customer_id": ANY, "sold_at": "TIMESTAMP", "city": ANY}
    what = "Sale {sale_id} (customer {customer_id}, {sold_at})"
    lost = "{what} went in and did not come out. Keep it, with NULL for the city."
    doubled = "{what} came out {times}, with {each}; {why}."
    other = "{what} has the city {found}; it should be {expected}, because {why}."
    moment = "{0.day} {0:%B, %H:%M}"
    praise = "Six sales in, six out, each with the city of its time."
    # Sale, customer, when, city, and why.
    sales = (
        (1, "C1", "2025-07-03 12:00", "Leipzig", "its customer had not moved yet"),
        (2, "C1", "2025-07-05 00:00", "Bremen", "a version is valid from its beginning to before its end"),
        (3, "C1", "2025-07-20 12:00", "Bremen", "a version without an end is still valid"),
        (4, "C2", "2025-07-02 12:00", "Kiel", "its customer never moved"),
        (5, "C2", "2025-07-01 08:00", None, "it was before the first version of its customer"),
        (6, "C9", "2025-07-04 12:00", None, "its customer has no version"),
    )
    versions = (
        ("C1", "Leipzig", "2025-07-01", "2025-07-05"),
        ("C1", "Bremen", "2025-07-05", None),
        ("C2", "Kiel", "2025-07-02", None),
    )

    def cases(self) -> Iterator[Case]:
        sales = frame_of(self.sales, "sale_id INT, customer_id STRING, sold_at TIMESTAMP")
        versions = frame_of(
            self.versions, "customer_id STRING, city STRING, valid_from TIMESTAMP, valid_to TIMESTAMP"
        )
        yield Case((sales, versions), self.sales)


class RepeatRate(FunctionExercise):
    """Exercise 3.4. Orders are counted, not lines; sold ones only; and buyers are the denominator."""

    number = "3.4"
    title = "who comes back"
    takes = "a function of a DataFrame that returns a number"
    hints = (
        "First bring the lines to one row per customer: how many sold orders does each one have?",
        "An order of three lines is one order: F.countDistinct('order_id'), after where('sold').",
        "Of those rows, the share with more than one: count_if(orders > 1) / count(*).",
    )
    # What the case is about; the lines of each order by customer, negative when it was not sold; the rate.
    cases = (
        ("two customers, one of whom bought twice", {"C1": [1, 1], "C2": [1]}, 0.5),
        ("two customers with one order each, one of three lines", {"C1": [3], "C2": [1]}, 0.0),
        ("two customers, where the second order of one was returned", {"C1": [1, -1], "C2": [1]}, 0.0),
        (
            "two customers who bought twice, and one whose only order was cancelled",
            {"C1": [2, 1], "C2": [1, 1], "C3": [-1]},
            1.0,
        ),
        (
            "four customers, one of whom bought three times",
            {"C1": [1, 1, 1], "C2": [1], "C3": [1], "C4": [2]},
            0.25,
        ),
    )

    # Of the twelve customers with a sold order, four have another.
    at_once = 4 / 12

    returns = "a number"
    kind = float
    other = "For {about} the rate is {expected:g}; yours is {found:g}."
    praise = "Customers are counted, and orders, and only what was sold."

    def check(self, function: Callable[..., Any]) -> Verdict:
        # All customers at once take one query. Only an answer that is wrong there meets the cases one by one.
        customers = {
            f"{who} of case {n}": orders
            for n, (_, case, _) in enumerate(self.cases)
            for who, orders in case.items()
        }
        # Where nobody comes back, a sum of nothing is NULL: that takes a query of its own.
        about, nobody, none = self.cases[1]
        try:
            found = float(function(*self.arguments(customers)))
            of_nobody = function(*self.arguments(nobody))
            if of_nobody is None:
                return self.wrong(f"For {about} the rate is 0; yours is NULL. A sum over no rows is NULL.")
            of_nobody = float(of_nobody)
        except (TypeError, ValueError):
            return super().check(function)
        if same([found, of_nobody], [self.at_once, none]):
            return self.right(self.praise)
        return super().check(function)  # also one that rounds

    def arguments(self, orders: Mapping[str, list[int]]) -> Any:
        rows = [
            (f"{who}-{order}", line, who, lines > 0)
            for who, bought in orders.items()
            for order, lines in enumerate(bought)
            for line in range(1, abs(lines) + 1)
        ]
        return (frame_of(rows, "order_id STRING, line_no INT, customer_id STRING, sold BOOLEAN"),)


class Net(Together):
    """Exercise 3.5. What a batch of changes adds to each customer; applied, it equals a recount."""

    number = "3.5"
    title = "bookkeeping"
    takes = "a function of a DataFrame of changes that returns one of customer_id, orders and cents"
    hints = (
        "Each row of the feed either adds an order to what is there or takes one away. Which kinds do which?",
        "insert and update_postimage add, delete and update_preimage take away: a sign of 1 or -1.",
        "where(SOLD), groupBy('customer_id'), F.sum(sign) and F.sum(sign * F.col('total_cents')); "
        "then drop the rows where both are 0.",
    )
    keys = ("customer_id",)
    kinds: ClassVar = {"customer_id": ANY, "orders": ANY, "cents": ANY}
    what = "{customer_id}"
    lost = "For {about} {what} gets {ours[orders]} orders and {ours[cents]} cents; you say nothing."
    doubled = "For {about} a customer has more than one row: group by the customer."
    other = (
        "For {about} {what} gets {ours[orders]} orders and {ours[cents]} cents; "
        "you say {mine[orders]} orders and {mine[cents]} cents."
    )
    strange = "For {about} nothing changes for {what}; leave the customer out."
    praise = "What is added and what is taken away agree with a recount."
    # What the case is about; each order before and after, without its id; what it should give.
    batches: ClassVar[tuple[Any, ...]] = (
        (
            "two new orders of C1",
            [(None, ("C1", "placed", 500)), (None, ("C1", "placed", 300))],
            {"C1": (2, 800)},
        ),
        (
            "an order of C1 that is cancelled",
            [(("C1", "placed", 500), ("C1", "cancelled", 500))],
            {"C1": (-1, -500)},
        ),
        ("an order of C1 that is deleted", [(("C1", "delivered", 500), None)], {"C1": (-1, -500)}),
        ("an order of C1 that was cancelled and is deleted", [(("C1", "cancelled", 500), None)], {}),
        ("an order of C1 that is delivered", [(("C1", "placed", 500), ("C1", "delivered", 500))], {}),
        (
            "an order of C1 whose amount is corrected from 500 to 450",
            [(("C1", "placed", 500), ("C1", "placed", 450))],
            {"C1": (0, -50)},
        ),
        (
            "an order that moves from C1 to C2",
            [(("C1", "placed", 500), ("C2", "placed", 500))],
            {"C1": (-1, -500), "C2": (1, 500)},
        ),
    )
    schema = "_change_type STRING, order_id STRING, customer_id STRING, status STRING, total_cents INT"

    def cases(self) -> Iterator[Case]:
        for about, changes, expected in self.fed():
            yield self.case(about, changes, expected)

    def together(self) -> Case:
        changes, expected = [], {}
        for n, (_, rows, sums) in enumerate(self.fed()):
            changes += [
                (kind, f"{order} of batch {n}", f"{who} of batch {n}", *rest)
                for kind, order, who, *rest in rows
            ]
            expected |= {f"{who} of batch {n}": added for who, added in sums.items()}
        return self.case("all batches together", changes, expected)

    def fed(self) -> Iterator[tuple[str, list[tuple[Any, ...]], dict[str, tuple[int, int]]]]:
        """Yield what each batch is about, its rows in the feed, and what it should give."""
        for about, orders, expected in self.batches:
            yield about, [row for n, change in enumerate(orders) for row in _fed(f"O{n}", *change)], expected
        yield _many()

    def case(self, about: str, changes: Iterable[tuple[Any, ...]], expected: dict[str, Any]) -> Case:
        """Return a case of some rows of the feed."""
        rows = [(who, *sums, "") for who, sums in expected.items()]
        return Case((frame_of(changes, self.schema),), rows, about)

    def shown(self, column: str, value: Any) -> str:
        return f"{value:+}" if isinstance(value, int) else super().shown(column, value)


# Customer, status and cents of an order
_Order = tuple[str, str, int]


def _fed(name: str, before: _Order | None, after: _Order | None) -> list[tuple[str, str, str, str, int]]:
    """Return the rows that a change of an order leaves in the feed; None is an order that is not there."""
    if before is None and after is not None:
        return [("insert", name, *after)]
    if before is not None and after is None:
        return [("delete", name, *before)]
    assert before is not None and after is not None
    return [("update_preimage", name, *before), ("update_postimage", name, *after)]


def _many() -> tuple[str, list[tuple[str, str, str, str, int]], dict[str, tuple[int, int]]]:
    """Return a batch of random changes, and what a recount of the orders before and after gives."""
    draw = random.Random(3)

    def order() -> _Order:
        status = draw.choice(("placed", "delivered", "cancelled", "returned"))
        return draw.choice(("C1", "C2", "C3", "C4")), status, draw.randrange(100, 900)

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
    expected = {who: (is_[who][0] - was[who][0], is_[who][1] - was[who][1]) for who in was}
    return "120 changes of 60 orders", changes, expected


def _recount(orders: dict[str, _Order]) -> dict[str, tuple[int, int]]:
    counted = dict.fromkeys(("C1", "C2", "C3", "C4"), (0, 0))
    for who, status, cents in orders.values():
        if status not in ("cancelled", "returned"):
            counted[who] = counted[who][0] + 1, counted[who][1] + cents
    return counted


week_label = WeekLabel()
seams = Seams()
as_it_was = AsItWas()
repeat_rate = RepeatRate()
net = Net()
