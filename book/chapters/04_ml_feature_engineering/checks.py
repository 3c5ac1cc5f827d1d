"""The checks of chapter 04."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any, ClassVar

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from medallion.lesson.exercise import Exercise, Verdict
from medallion.lesson.frames import frame_of, missing, other_kind

_WHOLE = "a whole number"
_NUMBER = "a number"
_INTEGERS = ("tinyint", "smallint", "int", "bigint")


def _misshapen(answer: Any, expected: Mapping[str, str]) -> str | None:
    """Return what is wrong with the kind, the columns or the types of an answer, or None.

    `expected` has for each column its type in SQL, or `_WHOLE` or `_NUMBER` where several will do.
    """
    if lacking := missing(answer, expected):
        return lacking
    types = dict(answer.dtypes)
    for column, kind in expected.items():
        found = types[column]
        whole = found in _INTEGERS
        number = whole or found in ("float", "double") or found.startswith("decimal")
        if not {_WHOLE: whole, _NUMBER: number}.get(kind, found == kind.lower()):
            return f"The column {column} is of the type {found.upper()}; it should be {kind}."
    return None


def _grouped(answer: DataFrame, keys: tuple[str, ...], *values: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return the rows of an answer by their key."""
    rows: dict[tuple[Any, ...], list[Row]] = {}
    for row in answer.select(*keys, *values).collect():
        rows.setdefault(tuple(row)[: len(keys)], []).append(row)
    return rows


def _not_once(what: str, found: list[Row]) -> str | None:
    """Say that something was lost or multiplied on its way; None when it came out once."""
    if not found:
        return f"{what} went in and did not come out"
    if len(found) > 1:
        return f"{what} went in once and came out {len(found)} times"
    return None


def _differs(what: str, found: list[Row], column: str, expected: int | None, why: str) -> str | None:
    """Say that something did not come out once with what is expected of it, or None."""
    if told := _not_once(what, found):
        return f"{told}. Its {column} should be {_shown(expected)}, because {why}."
    if (value := found[0][column]) != expected:
        return f"{what} has {column} {_shown(value)}; it should be {_shown(expected)}, because {why}."
    return None


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "NULL" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


class Churned(Exercise):
    """Exercise 4.1. Everybody once per cutoff, with 1 for those who place no order in the 28 days."""

    number = "4.1"
    title = "who has stopped"
    takes = "a function of two DataFrames, people and orders"
    hints = (
        "Begin with the people. Which kind of join keeps those who have no order?",
        "The 28 days belong into the condition of the join: a where after it drops those who found nothing. "
        "Then bring the rows back to one for each customer_id and cutoff.",
        "people.join(orders, <same customer> & (ordered_at >= cutoff) & (ordered_at < cutoff + INTERVAL "
        "28 DAYS), 'left').groupBy('customer_id', 'cutoff'), and of that "
        "F.when(F.count('order_id') == 0, 1).otherwise(0).",
    )
    # Customer, cutoff, whether they stopped, and why.
    people = (
        ("C1", "2025-09-04 00:00", 0, "an order of 10 September lies in the 28 days"),
        ("C2", "2025-09-04 00:00", 0, "an order at the very moment of the cutoff counts"),
        ("C3", "2025-09-04 00:00", 1, "an order exactly 28 days after the cutoff comes too late"),
        ("C4", "2025-09-04 00:00", 0, "an order of the last hour of the 28 days counts"),
        ("C5", "2025-09-04 00:00", 1, "an order before the cutoff does not count"),
        ("C6", "2025-09-04 00:00", 0, "there are three orders in the 28 days"),
        ("C7", "2025-09-04 00:00", 1, "there is no order of this customer"),
        ("C8", "2025-09-04 00:00", 0, "an order of 12 September lies in the 28 days"),
        ("C8", "2025-09-18 00:00", 1, "the only order was before this cutoff"),
        ("C9", "2025-09-04 12:00", 1, "an order in the morning is before a cutoff at noon"),
    )
    orders = (
        ("C1", "2025-09-10 18:30"),
        ("C2", "2025-09-04 00:00"),
        ("C3", "2025-10-02 00:00"),
        ("C4", "2025-10-01 23:30"),
        ("C5", "2025-09-03 23:59"),
        ("C6", "2025-09-05 09:00"),
        ("C6", "2025-09-05 09:00"),
        ("C6", "2025-09-20 12:00"),
        ("C8", "2025-09-12 10:00"),
        ("C9", "2025-09-04 08:00"),
        ("C10", "2025-09-10 10:00"),
    )

    def check(self, churned: Callable[[DataFrame, DataFrame], DataFrame]) -> Verdict:
        people = frame_of(
            ((who, datetime.fromisoformat(cutoff)) for who, cutoff, *_ in self.people),
            "customer_id STRING, cutoff TIMESTAMP",
        )
        orders = frame_of(
            ((f"O{n}", who, datetime.fromisoformat(at)) for n, (who, at) in enumerate(self.orders, 1)),
            "order_id STRING, customer_id STRING, ordered_at TIMESTAMP",
        )
        answer = churned(people, orders)
        kinds = {"customer_id": "STRING", "cutoff": "TIMESTAMP", "churned": _WHOLE}
        if wrong := _misshapen(answer, kinds):
            return self.wrong(wrong)
        rows = _grouped(answer, ("customer_id", "cutoff"), "churned")
        for who, cutoff, expected, why in self.people:
            found = rows.pop((who, datetime.fromisoformat(cutoff)), [])
            if wrong := _differs(f"{who} with the cutoff {cutoff}", found, "churned", expected, why):
                return self.wrong(wrong)
        if wrong := _never_asked(rows):
            return self.wrong(wrong)
        return self.right("Everybody has one label for each cutoff, also those who never came back.")


def _never_asked(rows: Iterable[tuple[Any, ...]]) -> str | None:
    """Say that a row is left over of which nobody has asked, or None."""
    for who, cutoff in rows:
        return f"You return {_shown(who)} with the cutoff {_shown(cutoff)}, and that did not go in."
    return None


def _arrived_only(events: DataFrame, moment: str) -> DataFrame:
    """Return features that do not look ahead, one of them NULL for who has a single order."""
    known = events.where(F.col("arrived_at") <= F.lit(moment).cast("timestamp"))
    days = "datediff(max(ordered_at), min(ordered_at)) / nullif(count(*) - 1, 0)"
    return known.groupBy("customer_id").agg(
        F.count("*").alias("orders"), F.expr(days).alias("gap_days"), F.sum("cents").alias("spend")
    )


def _all_there_is(events: DataFrame, moment: str) -> DataFrame:
    """Return features of which three look ahead, in an order that is not the alphabet's."""
    slow = "sum(cents) FILTER (WHERE arrived_at > ordered_at + INTERVAL 7 DAYS)"
    return events.groupBy("customer_id").agg(
        F.sum("cents").alias("spend"),
        (F.count("*") % 2).alias("odd"),
        F.expr(slow).alias("slow_cents"),
        F.min("ordered_at").alias("first_order"),
    )


def _everybody(events: DataFrame, moment: str) -> DataFrame:
    """Return features of what is known, with a row for those too of whom nothing is known yet."""
    known = F.col("arrived_at") <= F.lit(moment).cast("timestamp")
    return events.groupBy("customer_id").agg(
        F.sum(F.when(known, F.col("cents"))).alias("spend"), F.count_if(known).alias("orders")
    )


def _only_one(events: DataFrame, moment: str) -> DataFrame:
    """Return the amount of those who ordered once, so that a later order takes its customer out."""
    one = events.groupBy("customer_id").agg(F.count("*").alias("orders"), F.sum("cents").alias("spend"))
    return one.where("orders = 1").drop("orders")


class Leaks(Exercise):
    """Exercise 4.2. Exactly the columns that change for somebody when what arrives later is hidden."""

    number = "4.2"
    title = "the blindfold"
    takes = "a function of a build, its events and a moment that returns a list of names"
    hints = (
        "Build twice: from all events, and from those with arrived_at <= moment. Then put the two results "
        "side by side, customer by customer.",
        "A full join keeps those who are in one result only, and <=> says that NULL equals NULL. "
        "But how do you tell a value that is NULL from a customer who is not there?",
        "Add a column there = F.lit(True) to both before the full join. A column leaks if count_if("
        "l.there IS NULL OR r.there IS NULL OR NOT l.name <=> r.name) is above 0; return them sorted.",
    )
    # Customer, when the order was placed and when its file arrived, and cents.
    events = (
        ("C1", "2025-10-01", "2025-10-06", 500),
        ("C1", "2025-10-08", "2025-10-13", 300),
        ("C1", "2025-10-12", "2025-10-20", 900),
        ("C2", "2025-10-02", "2025-10-06", 700),
        ("C2", "2025-10-15", "2025-10-20", 100),
        ("C3", "2025-10-03", "2025-10-06", 750),
    )
    # What the case is about, the build, the moment, the events that are added, and of each column whether
    # it leaks and why.
    cases: ClassVar[tuple[Any, ...]] = (
        (
            "features of what had arrived",
            _arrived_only,
            "2025-10-13",
            (),
            {
                "orders": (False, "what arrives at the very moment is not hidden"),
                "spend": (False, "what arrives at the very moment is not hidden"),
                "gap_days": (False, "for C2 it is NULL in both results, and two NULLs are equal"),
            },
        ),
        (
            "features of all orders",
            _all_there_is,
            "2025-10-13",
            (),
            {
                "spend": (True, "for C1 it is 1700, and 800 when the future is hidden"),
                "odd": (
                    True,
                    "for C1 it is 1, and 0 when the future is hidden; for C2 it is the other way round",
                ),
                "slow_cents": (True, "for C1 it is 900, and NULL when the future is hidden"),
                "first_order": (False, "the first order of everybody had arrived"),
            },
        ),
        (
            "a customer whose only order arrives later",
            _everybody,
            "2025-10-13",
            (("C4", "2025-10-12", "2025-10-20", 400),),
            {
                "orders": (True, "C4 is in the result only as long as the future is in sight"),
                "spend": (True, "C4, with NULL, is in the result only as long as the future is in sight"),
            },
        ),
        (
            "those who have ordered once, on another day",
            _only_one,
            "2025-10-07",
            (("C3", "2025-10-06", "2025-10-10", 200),),
            {"spend": (True, "C3 is in the result only when the future is hidden")},
        ),
    )

    def check(self, leaks: Callable[[Callable[..., DataFrame], DataFrame, str], list[str]]) -> Verdict:
        for about, build, moment, more, columns in self.cases:
            events = frame_of(
                (
                    (who, datetime.fromisoformat(at), datetime.fromisoformat(arrived), cents)
                    for who, at, arrived, cents in (*self.events, *more)
                ),
                "customer_id STRING, ordered_at TIMESTAMP, arrived_at TIMESTAMP, cents INT",
            )
            found = leaks(build, events, moment)
            if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
                return self.wrong(other_kind(found, "a list of the names of columns"))
            for name in found:
                if name not in columns:
                    return self.wrong(f"For {about} you name {name}, which is not a feature column.")
            for name, (leaky, why) in columns.items():
                if name in found and not leaky:
                    return self.wrong(f"For {about} you name {name}, which does not change: {why}.")
                if leaky and name not in found:
                    return self.wrong(f"For {about} you do not name {name}: {why}.")
            if found != (ordered := sorted(set(found))):
                return self.wrong(f"For {about} you return {found}; sorted, each once, it is {ordered}.")
        return self.right("Every column that looks ahead is found, and none that does not.")


def _october(moment: str) -> datetime:
    """Return a moment of October 2025, which is written as "13 05:00"."""
    return datetime.fromisoformat(f"2025-10-{moment}")


class AsOf(Exercise):
    """Exercise 4.3. Each question once, with the newest row that was there in time and is fresh."""

    number = "4.3"
    title = "as of a moment"
    takes = "a function of two DataFrames, questions and features, and a number of days"
    hints = (
        "First say which rows may be used for a question at all: beside the customer there are three "
        "conditions. Then ask which of them is the newest.",
        "All the conditions belong into a left join, so that a question that finds nothing stays. "
        "Then rank the rows of each question, that is of each customer and cutoff.",
        "Join on as_of <= cutoff AND created_at <= cutoff AND as_of >= cutoff - INTERVAL {days} DAYS. Keep "
        "the first by F.row_number().over(Window.partitionBy('customer_id', 'cutoff').orderBy("
        "F.desc('as_of'), F.desc('created_at'))).",
    )
    # Customer, as_of and created_at in October, orders_28. The row that wins is not always the last, nor
    # the one with the greatest number.
    features = (
        ("C1", "13 00:00", "13 05:00", 5),
        ("C1", "06 00:00", "06 05:00", 9),
        ("C2", "06 00:00", "06 05:00", 4),
        ("C2", "13 00:00", "17 05:00", 6),
        ("C3", "13 00:00", "13 05:00", 2),
        ("C3", "20 00:00", "15 05:00", 7),
        ("C4", "02 00:00", "02 05:00", 3),
        ("C5", "02 09:00", "02 10:00", 3),
        ("C6", "13 00:00", "14 05:00", 1),
        ("C6", "13 00:00", "13 05:00", 8),
        ("C7", "13 00:00", "17 05:00", 9),
        ("C7", "13 00:00", "13 05:00", 2),
        ("C8", "13 00:00", "13 05:00", 2),
        ("C8", "06 00:00", "15 05:00", 6),
        ("C9", "16 00:00", "16 00:00", 4),
        ("C9", "13 00:00", "13 05:00", 7),
        ("C10", "13 00:00", "13 05:00", 3),
        ("C10", "27 00:00", "27 05:00", 1),
    )
    # For a number of days: customer, cutoff in October, what should be found, and why.
    questions: ClassVar[Mapping[int, tuple[tuple[str, str, int | None, str], ...]]] = {
        14: (
            ("C1", "16 00:00", 5, "the row with the newest as_of wins"),
            ("C2", "16 00:00", 4, "the row of 13 October was created on the 17th"),
            ("C3", "16 00:00", 2, "the row of 20 October is of after the cutoff"),
            ("C4", "16 00:00", 3, "a row that is exactly 14 days old may be used"),
            ("C5", "16 12:00", None, "its row is 14 days and three hours old"),
            ("C6", "16 00:00", 1, "of two rows of 13 October the one created later wins"),
            ("C7", "16 00:00", 2, "of two rows of 13 October one was created after the cutoff"),
            ("C8", "16 00:00", 2, "the newest as_of wins, also over an older one that was created later"),
            ("C9", "16 00:00", 4, "a row of the very moment of the cutoff may be used"),
            ("C10", "16 00:00", 3, "the row of 27 October is of after this cutoff"),
            ("C10", "30 00:00", 1, "the row of 27 October was there for this cutoff"),
            ("C11", "16 00:00", None, "this customer has no row"),
        ),
        7: (
            ("C1", "16 00:00", 5, "its row of 13 October is three days old"),
            ("C2", "16 00:00", None, "its row of 6 October is ten days old"),
        ),
    }

    def check(self, as_of: Callable[[DataFrame, DataFrame, int], DataFrame]) -> Verdict:
        features = frame_of(
            ((who, _october(at), _october(created), orders) for who, at, created, orders in self.features),
            "customer_id STRING, as_of TIMESTAMP, created_at TIMESTAMP, orders_28 INT",
        )
        for days, questions in self.questions.items():
            asked = frame_of(
                ((who, _october(cutoff)) for who, cutoff, *_ in questions),
                "customer_id STRING, cutoff TIMESTAMP",
            )
            answer = as_of(asked, features, days)
            kinds = {"customer_id": "STRING", "cutoff": "TIMESTAMP", "orders_28": _WHOLE}
            if wrong := _misshapen(answer, kinds):
                return self.wrong(wrong)
            rows = _grouped(answer, ("customer_id", "cutoff"), "orders_28")
            for who, cutoff, expected, why in questions:
                moment = _october(cutoff)
                what = f"With {days} days, {who} with the cutoff {_shown(moment)}"
                if wrong := _differs(what, rows.pop((who, moment), []), "orders_28", expected, why):
                    return self.wrong(wrong)
            if wrong := _never_asked(rows):
                return self.wrong(wrong)
        return self.right("Each question has the newest features that were there in time and are fresh.")


class AttemptsBefore(Exercise):
    """Exercise 4.4. For each payment, those of its device in the hour before, without itself."""

    number = "4.4"
    title = "the hour before"
    takes = "a function of a DataFrame of payments"
    hints = (
        "A window needs no join and loses no payment. What of a window says how far it reaches, and what "
        "says whose payments are counted?",
        "rangeBetween counts in the units of the column in orderBy. F.unix_micros('paid_at') is in "
        "microseconds, and an hour has 3,600,000,000 of them.",
        "F.count('*').over(Window.partitionBy('device_id').orderBy(F.unix_micros('paid_at'))"
        ".rangeBetween(-3_600_000_000, -1)): it ends one microsecond before the payment.",
    )
    # Payment, device, when, attempts, and why. They are listed in disorder.
    payments = (
        ("P6", "D2", "2025-10-13 12:30:00.000000", 0, "it is the only one of its device"),
        ("P1", "D1", "2025-10-13 12:00:00.000000", 0, "it is the first of its device"),
        ("P3", "D1", "2025-10-13 12:40:00.000000", 2, "P1 and P2 are in the hour before"),
        (
            "P2",
            "D1",
            "2025-10-13 12:20:00.000000",
            1,
            "P1 is in the hour before, and P2 itself is not",
        ),
        ("P4", "D1", "2025-10-13 13:10:00.000000", 2, "P1 is older than an hour"),
        ("P5", "D1", "2025-10-13 15:00:00.000000", 0, "all others are older than an hour"),
        ("P7", "D3", "2025-10-13 12:00:00.000000", 0, "it is the first of its device"),
        ("P8", "D3", "2025-10-13 13:00:00.000000", 1, "P7 is exactly an hour older"),
        ("P9", "D4", "2025-10-13 12:00:00.000000", 0, "it is the first of its device"),
        ("P10", "D4", "2025-10-13 13:00:00.000001", 0, "P9 is an hour and a microsecond older"),
        ("P11", "D5", "2025-10-13 12:00:00.250000", 0, "P12 is of the same microsecond"),
        ("P12", "D5", "2025-10-13 12:00:00.250000", 0, "P11 is of the same microsecond"),
        ("P13", "D6", "2025-10-13 12:00:00.250000", 0, "P14 is a microsecond younger"),
        ("P14", "D6", "2025-10-13 12:00:00.250001", 1, "P13 is a microsecond older"),
        ("P15", "D7", "2025-10-13 23:40:00.000000", 0, "it is the first of its device"),
        ("P16", "D7", "2025-10-14 00:10:00.000000", 1, "P15 was half an hour before, on the other day"),
    )

    def check(self, attempts_before: Callable[[DataFrame], DataFrame]) -> Verdict:
        answer = attempts_before(
            frame_of(
                (
                    (payment, device, datetime.fromisoformat(paid), 1000 + n)
                    for n, (payment, device, paid, *_) in enumerate(self.payments)
                ),
                "payment_id STRING, device_id STRING, paid_at TIMESTAMP, amount_cents INT",
            )
        )
        kinds = {"payment_id": "STRING", "device_id": "STRING", "paid_at": "TIMESTAMP"}
        if wrong := _misshapen(answer, {**kinds, "amount_cents": "INT", "attempts": _WHOLE}):
            return self.wrong(wrong)
        rows = _grouped(answer, ("payment_id",), "attempts")
        for payment, device, paid, expected, why in self.payments:
            what = f"{payment} (device {device}, {paid})"
            if wrong := _differs(what, rows.get((payment,), []), "attempts", expected, why):
                return self.wrong(wrong)
        return self.right("Each payment knows the hour before it, to the microsecond, and not itself.")


class Rfm(Exercise):
    """Exercise 4.5. Days that were bought on again, and two spans in weeks, as of a day."""

    number = "4.5"
    title = "x, t_x and T"
    takes = "a function of a DataFrame of purchases and a text with a day"
    hints = (
        "First leave out what comes after end. Of what is left, which day is the first of a customer, "
        "which the last, and how many different days are there?",
        "F.countDistinct('purchased_on') counts a day once, and one of these days is the first. "
        "F.datediff(later, earlier) is in days.",
        "purchases.where(purchased_on <= end).groupBy('customer_id'), and of that x = F.countDistinct("
        "'purchased_on') - 1, t_x = F.datediff(max, min) / 7, T = F.datediff(end, min) / 7.",
    )
    # For each end: customer, the days with a purchase, and why the numbers are what they are.
    cases: ClassVar[Mapping[str, tuple[tuple[str, tuple[str, ...], str], ...]]] = {
        "1997-09-30": (
            ("C1", ("1997-01-07", "1997-03-04", "1997-02-04"), "C1 bought on two days after the first"),
            ("C2", ("1997-01-09", "1997-01-19"), "weeks are not rounded"),
            ("C3", ("1997-01-07",), "C3 bought once, and never again"),
            ("C4", ("1997-01-07", "1997-01-07"), "two purchases of one day are one day"),
            ("C5", ("1997-01-07", "1997-02-04", "1997-02-04"), "two purchases of one day are one day"),
            ("C6", ("1997-02-04", "1997-09-30"), "the day of the end belongs to it"),
            ("C7", ("1997-02-04", "1997-03-04", "1997-11-04"), "what comes after the end is not counted"),
            ("C8", ("1997-02-04", "1997-10-01"), "the only other purchase comes after the end"),
            ("C9", ("1997-10-01", "1997-10-08"), "C9 buys for the first time after the end"),
            ("C10", ("1997-09-30",), "C10 bought for the first time on the day of the end"),
        ),
        "1997-06-30": (
            ("C1", ("1997-01-07", "1997-08-05"), "the only other purchase comes after the end"),
            ("C2", ("1997-08-05",), "C2 buys for the first time after the end"),
        ),
    }

    def check(self, rfm: Callable[[DataFrame, str], DataFrame]) -> Verdict:
        for end, customers in self.cases.items():
            purchases = frame_of(
                ((who, date.fromisoformat(day)) for who, days, _ in customers for day in days),
                "customer_id STRING, purchased_on DATE",
            )
            answer = rfm(purchases, end)
            kinds = {"customer_id": "STRING", "x": _WHOLE, "t_x": _NUMBER, "T": _NUMBER}
            if wrong := _misshapen(answer, kinds):
                return self.wrong(wrong)
            rows = _grouped(answer, ("customer_id",), "x", "t_x", "T")
            for who, bought, why in customers:
                if wrong := self._wrong(who, bought, end, rows.get((who,), [])):
                    return self.wrong(f"With the end {end}, {wrong}: {why}.")
        return self.right("Days are counted, not purchases, and nothing of after the end comes in.")

    @staticmethod
    def _wrong(who: str, bought: Iterable[str], end: str, found: list[Row]) -> str | None:
        """Return what is wrong with the rows found for a customer, or None."""
        seen = sorted({date.fromisoformat(day) for day in bought if day <= end})
        what = f"{who} (who buys on {', '.join(sorted(bought))})"
        if not seen:
            return f"you return {what}, who should be left out" if found else None
        if wrong := _not_once(what, found):
            return wrong
        again, last = len(seen) - 1, (seen[-1] - seen[0]).days
        watched = (date.fromisoformat(end) - seen[0]).days
        expected = {
            "x": (again, f"{again}"),
            "t_x": (last / 7, f"{last} / 7"),
            "T": (watched / 7, f"{watched} / 7"),
        }
        for column, (number, shown) in expected.items():
            value = found[0][column]
            # A FLOAT is as good as a DOUBLE
            if value is None or abs(float(value) - number) > 1e-5:
                return f"{what} has {column} {_shown(value)}, and it should be {shown}"
        return None


churned = Churned()
leaks = Leaks()
as_of = AsOf()
attempts_before = AttemptsBefore()
rfm = Rfm()
