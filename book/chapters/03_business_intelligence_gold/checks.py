"""The checks of chapter 03."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from pyspark.sql import DataFrame

from medallion.lesson.exercise import Exercise, Verdict
from medallion.lesson.frames import frame_of, missing, other_kind


def _day(moment: datetime | None) -> str:
    return "open" if moment is None else f"{moment:%Y-%m-%d}"


class WeekLabel(Exercise):
    """Exercise 3.1. The label of each day's ISO week, with the year that the week belongs to."""

    number = "3.1"
    title = "the week of a day"
    takes = "a text with a SQL expression of the column day"
    hints = (
        "The year of a week is not always the year of the day. SQL can extract both kinds of year.",
        "extract(YEAROFWEEK FROM day) and extract(WEEK FROM day) belong together.",
        "concat(extract(YEAROFWEEK FROM day), '-W', lpad(extract(WEEK FROM day), 2, '0'))",
    )

    def check(self, expression: str) -> Verdict:
        # The half-year first, because it is what the learner looks at; then the turns of more years.
        days = [date(2025, 7, 1) + timedelta(days=n) for n in range(182)]
        for year in range(2020, 2031):
            days += [date(year, 1, 1) + timedelta(days=n) for n in range(-5, 70)]
        frame = frame_of(enumerate(days), "place INT, day DATE")
        answered = frame.selectExpr("place", f"CAST({expression} AS STRING) AS label").collect()
        for row in sorted(answered):
            day = days[row.place]
            year, week, _ = day.isocalendar()
            if row.label != f"{year}-W{week:02}":
                return self.wrong(
                    f"{day:%A} {day} lies in week {week} of {year}; your label for it is "
                    f"{_quoted(row.label)}, and it should be '{year}-W{week:02}'."
                )
        return self.right("Every label is that of the ISO week, also at the turn of a year.")


def _quoted(text: str | None) -> str:
    return "NULL" if text is None else f"'{text}'"


class Seams(Exercise):
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
    # What the case is about, and its versions: customer, first and last day in July 2025 (None: open),
    # and whether the version is broken.
    cases: ClassVar[tuple[Any, ...]] = (
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

    def check(self, broken: Callable[[DataFrame], DataFrame]) -> Verdict:
        for about, versions in self.cases:
            rows = [(who, _july(first), _july(end)) for who, first, end, _ in versions]
            found = broken(frame_of(rows, "customer_id STRING, valid_from TIMESTAMP, valid_to TIMESTAMP"))
            if lacking := missing(found, ("customer_id", "valid_from", "valid_to")):
                return self.wrong(lacking)
            answered = Counter(
                (row.customer_id, row.valid_from, row.valid_to)
                for row in found.select("customer_id", "valid_from", "valid_to").collect()
            )
            expected = Counter(row for row, (*_, wrong) in zip(rows, versions, strict=True) if wrong)
            if missed := expected - answered:
                who, first, end = min(missed, key=str)
                return self.wrong(
                    f"For {about}: the version of {who} from {_day(first)} to {_day(end)} is broken, "
                    "and you do not return it."
                )
            if extra := answered - expected:
                who, first, end = min(extra, key=str)
                return self.wrong(
                    f"For {about}: the version of {who} from {_day(first)} to {_day(end)} is in order, "
                    "and you return it."
                )
        return self.right("Overlaps, gaps and wrong ends are found, and nothing else.")


def _july(day: int | None) -> datetime | None:
    return None if day is None else datetime(2025, 7, day)


class AsItWas(Exercise):
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
    columns = ("sale_id", "customer_id", "sold_at", "city")
    # Sale, customer, day and hour of July 2025, city, and why.
    sales = (
        (1, "C1", 3, 12, "Leipzig", "its customer had not moved yet"),
        (2, "C1", 5, 0, "Bremen", "a version is valid from its beginning to before its end"),
        (3, "C1", 20, 12, "Bremen", "a version without an end is still valid"),
        (4, "C2", 2, 12, "Kiel", "its customer never moved"),
        (5, "C2", 1, 8, None, "it was before the first version of its customer"),
        (6, "C9", 4, 12, None, "its customer has no version"),
    )

    def check(self, as_it_was: Callable[[DataFrame, DataFrame], DataFrame]) -> Verdict:
        sales = frame_of(
            ((sale, who, datetime(2025, 7, day, hour)) for sale, who, day, hour, *_ in self.sales),
            "sale_id INT, customer_id STRING, sold_at TIMESTAMP",
        )
        versions = frame_of(
            (
                ("C1", "Leipzig", _july(1), _july(5)),
                ("C1", "Bremen", _july(5), None),
                ("C2", "Kiel", _july(2), None),
            ),
            "customer_id STRING, city STRING, valid_from TIMESTAMP, valid_to TIMESTAMP",
        )
        answer = as_it_was(sales, versions)
        if lacking := missing(answer, self.columns):
            return self.wrong(lacking)
        cities: dict[int, list[str | None]] = {}
        for row in answer.select(*self.columns).collect():
            cities.setdefault(row.sale_id, []).append(row.city)
        for sale, who, day, hour, expected, why in self.sales:
            what = f"Sale {sale} (customer {who}, {day} July, {hour:02}:00)"
            found = sorted(cities.get(sale, []), key=str)
            if not found:
                return self.wrong(f"{what} went in and did not come out. Keep it, with NULL for the city.")
            if len(found) > 1:
                names = " and ".join(city or "NULL" for city in found)
                return self.wrong(f"{what} came out {len(found)} times, with {names}; {why}.")
            if found[0] != expected:
                return self.wrong(
                    f"{what} has the city {found[0] or 'NULL'}; "
                    f"it should be {expected or 'NULL'}, because {why}."
                )
        return self.right("Six sales in, six out, each with the city of its time.")


class RepeatRate(Exercise):
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
    cases: ClassVar[tuple[Any, ...]] = (
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

    def check(self, repeat_rate: Callable[[DataFrame], float]) -> Verdict:
        for about, orders, expected in self.cases:
            rows = [
                (f"{who}-{order}", line, who, lines > 0)
                for who, bought in orders.items()
                for order, lines in enumerate(bought)
                for line in range(1, abs(lines) + 1)
            ]
            answer = repeat_rate(
                frame_of(rows, "order_id STRING, line_no INT, customer_id STRING, sold BOOLEAN")
            )
            try:
                number = float(answer)
            except (TypeError, ValueError):
                return self.wrong(other_kind(answer, "a number"))
            if abs(number - expected) > 1e-6:
                return self.wrong(f"For {about} the rate is {expected:g}; yours is {number:g}.")
        return self.right("Customers are counted, and orders, and only what was sold.")


class Net(Exercise):
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
    # What the case is about; each order before and after, without its id; what it should give.
    cases: ClassVar[tuple[Any, ...]] = (
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

    def check(self, net: Callable[[DataFrame], DataFrame]) -> Verdict:
        small = [
            (about, [row for n, change in enumerate(orders) for row in _fed(f"O{n}", *change)], expected)
            for about, orders, expected in self.cases
        ]
        for about, changes, expected in (*small, _many()):
            answer = net(frame_of(changes, self.schema))
            if lacking := missing(answer, ("customer_id", "orders", "cents")):
                return self.wrong(lacking)
            rows = answer.select("customer_id", "orders", "cents").collect()
            answered = {row.customer_id: (row.orders, row.cents) for row in rows}
            if len(answered) < len(rows):
                return self.wrong(f"For {about} a customer has more than one row: group by the customer.")
            for who in sorted({*answered, *expected}):
                if who not in expected and answered[who] == (0, 0):
                    return self.wrong(f"For {about} nothing changes for {who}; leave the customer out.")
                if answered.get(who, (0, 0)) != expected.get(who, (0, 0)):
                    return self.wrong(
                        f"For {about} {who} gets {_signed(expected.get(who, (0, 0)))}; "
                        f"you say {_signed(answered[who]) if who in answered else 'nothing'}."
                    )
        return self.right("What is added and what is taken away agree with a recount.")


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


def _signed(change: tuple[int, int]) -> str:
    orders, cents = change
    return f"{orders:+} orders and {cents:+} cents"


week_label = WeekLabel()
seams = Seams()
as_it_was = AsItWas()
repeat_rate = RepeatRate()
net = Net()
