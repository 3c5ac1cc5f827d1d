"""The checks of chapter 04."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from medallion.lesson import frames
from medallion.lesson.exercise import FunctionExercise, other_kind
from medallion.lesson.frames import LEFT_OUT, NUMBER, WHOLE, Case, FrameExercise


def frame_of(rows: Iterable[Sequence[Any]], schema: str) -> DataFrame:
    """Return a frame of some rows in one partition, so that nothing has to be shuffled."""
    return frames.frame_of(rows, schema).coalesce(1)


class Churned(FrameExercise):
    """Exercise 4.1. Everybody once per cutoff, with 1 for those who place no order in the 28 days."""

    number = "4.1"
    title = "label the customers who stop"
    takes = "a function of two DataFrames, people and orders"
    hints = (
        "Begin with the people. Which kind of join keeps those who have no order?",
        "The 28 days belong into the condition of the join: a where after it drops those who found nothing. "
        "Then bring the rows back to one for each customer_id and cutoff.",
        "people.join(orders, <same customer> & (ordered_at >= cutoff) & (ordered_at < cutoff + INTERVAL "
        "28 DAYS), 'left').groupBy('customer_id', 'cutoff'), and of that "
        "F.when(F.count('order_id') == 0, 1).otherwise(0).",
    )
    keys = ("customer_id", "cutoff")
    kinds: ClassVar = {"customer_id": "STRING", "cutoff": "TIMESTAMP", "churned": WHOLE}
    what = "{customer_id} with the cutoff {cutoff}"
    praise = "Everybody has one label for each cutoff, also those who never came back."
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
        ("O1", "C1", "2025-09-10 18:30"),
        ("O2", "C2", "2025-09-04 00:00"),
        ("O3", "C3", "2025-10-02 00:00"),
        ("O4", "C4", "2025-10-01 23:30"),
        ("O5", "C5", "2025-09-03 23:59"),
        ("O6", "C6", "2025-09-05 09:00"),
        ("O7", "C6", "2025-09-05 09:00"),
        ("O8", "C6", "2025-09-20 12:00"),
        ("O9", "C8", "2025-09-12 10:00"),
        ("O10", "C9", "2025-09-04 08:00"),
        ("O11", "C10", "2025-09-10 10:00"),
    )

    def cases(self) -> Iterator[Case]:
        people = frame_of(self.people, "customer_id STRING, cutoff TIMESTAMP")
        orders = frame_of(self.orders, "order_id STRING, customer_id STRING, ordered_at TIMESTAMP")
        yield Case((people, orders), self.people)


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


class Leaks(FunctionExercise):
    """Exercise 4.2. Exactly the columns that change for somebody when what arrives later is hidden."""

    number = "4.2"
    title = "find the columns that leak"
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

    returns = "a list of the names of columns"
    kind = list
    praise = "Every column that looks ahead is found, and none that does not."

    def arguments(self, build: Any, moment: str, more: Any) -> Any:
        events = frame_of(
            (*self.events, *more),
            "customer_id STRING, ordered_at TIMESTAMP, arrived_at TIMESTAMP, cents INT",
        )
        return build, events, moment

    def differs(self, about: str, given: list[Any], found: Any, columns: Any) -> str | None:
        if not all(isinstance(name, str) for name in found):
            return other_kind(found, self.returns)
        for name in found:
            if name not in columns:
                return f"For {about} you name {name}, which is not a feature column."
        for name, (leaky, why) in columns.items():
            if name in found and not leaky:
                return f"For {about} you name {name}, which does not change: {why}."
            if leaky and name not in found:
                return f"For {about} you do not name {name}: {why}."
        if [*found] != (ordered := sorted(set(found))):
            return f"For {about} you return {found}; sorted, each once, it is {ordered}."
        return None


class AsOf(FrameExercise):
    """Exercise 4.3. Each question once, with the newest row that was there in time and is fresh."""

    number = "4.3"
    title = "join features as of a cutoff"
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
    keys = ("customer_id", "cutoff")
    kinds: ClassVar = {"customer_id": "STRING", "cutoff": "TIMESTAMP", "orders_28": WHOLE}
    what = "With {about}, {customer_id} with the cutoff {cutoff}"
    strange = "You return {mine[customer_id]} with the cutoff {mine[cutoff]}, and that did not go in."
    praise = "Each question has the newest features that were there in time and are fresh."
    # Customer, as_of and created_at, orders_28. The row that wins is not always the last, nor
    # the one with the greatest number.
    features = (
        ("C1", "2025-10-13 00:00", "2025-10-13 05:00", 5),
        ("C1", "2025-10-06 00:00", "2025-10-06 05:00", 9),
        ("C2", "2025-10-06 00:00", "2025-10-06 05:00", 4),
        ("C2", "2025-10-13 00:00", "2025-10-17 05:00", 6),
        ("C3", "2025-10-13 00:00", "2025-10-13 05:00", 2),
        ("C3", "2025-10-20 00:00", "2025-10-15 05:00", 7),
        ("C4", "2025-10-02 00:00", "2025-10-02 05:00", 3),
        ("C5", "2025-10-02 09:00", "2025-10-02 10:00", 3),
        ("C6", "2025-10-13 00:00", "2025-10-14 05:00", 1),
        ("C6", "2025-10-13 00:00", "2025-10-13 05:00", 8),
        ("C7", "2025-10-13 00:00", "2025-10-17 05:00", 9),
        ("C7", "2025-10-13 00:00", "2025-10-13 05:00", 2),
        ("C8", "2025-10-13 00:00", "2025-10-13 05:00", 2),
        ("C8", "2025-10-06 00:00", "2025-10-15 05:00", 6),
        ("C9", "2025-10-16 00:00", "2025-10-16 00:00", 4),
        ("C9", "2025-10-13 00:00", "2025-10-13 05:00", 7),
        ("C10", "2025-10-13 00:00", "2025-10-13 05:00", 3),
        ("C10", "2025-10-27 00:00", "2025-10-27 05:00", 1),
    )
    # For a number of days: customer, cutoff, what should be found, and why.
    questions: ClassVar = {
        14: (
            ("C1", "2025-10-16 00:00", 5, "the row with the newest as_of wins"),
            ("C2", "2025-10-16 00:00", 4, "the row of 13 October was created on the 17th"),
            ("C3", "2025-10-16 00:00", 2, "the row of 20 October is of after the cutoff"),
            ("C4", "2025-10-16 00:00", 3, "a row that is exactly 14 days old may be used"),
            ("C5", "2025-10-16 12:00", None, "its row is 14 days and three hours old"),
            ("C6", "2025-10-16 00:00", 1, "of two rows of 13 October the one created later wins"),
            ("C7", "2025-10-16 00:00", 2, "of two rows of 13 October one was created after the cutoff"),
            ("C8", "2025-10-16 00:00", 2, "the newest as_of wins, also over one that was created later"),
            ("C9", "2025-10-16 00:00", 4, "a row of the very moment of the cutoff may be used"),
            ("C10", "2025-10-16 00:00", 3, "the row of 27 October is of after this cutoff"),
            ("C10", "2025-10-30 00:00", 1, "the row of 27 October was there for this cutoff"),
            ("C11", "2025-10-16 00:00", None, "this customer has no row"),
        ),
        7: (
            ("C1", "2025-10-16 00:00", 5, "its row of 13 October is three days old"),
            ("C2", "2025-10-16 00:00", None, "its row of 6 October is ten days old"),
        ),
    }

    def cases(self) -> Iterator[Case]:
        features = frame_of(
            self.features, "customer_id STRING, as_of TIMESTAMP, created_at TIMESTAMP, orders_28 INT"
        )
        for days, questions in self.questions.items():
            asked = frame_of(questions, "customer_id STRING, cutoff TIMESTAMP")
            yield Case((asked, features, days), questions, f"{days} days")


class AttemptsBefore(FrameExercise):
    """Exercise 4.4. For each payment, those of its device in the hour before, without itself."""

    number = "4.4"
    title = "count the attempts of the hour before"
    takes = "a function of a DataFrame of payments"
    hints = (
        "A window needs no join and loses no payment. What of a window says how far it reaches, and what "
        "says whose payments are counted?",
        "rangeBetween counts in the units of the column in orderBy. F.unix_micros('paid_at') is in "
        "microseconds, and an hour has 3,600,000,000 of them.",
        "F.count('*').over(Window.partitionBy('device_id').orderBy(F.unix_micros('paid_at'))"
        ".rangeBetween(-3_600_000_000, -1)): it ends one microsecond before the payment.",
    )
    keys = ("payment_id", "device_id", "paid_at", "amount_cents")
    kinds: ClassVar = {
        "payment_id": "STRING",
        "device_id": "STRING",
        "paid_at": "TIMESTAMP",
        "amount_cents": "INT",
        "attempts": WHOLE,
    }
    what = "{payment_id} (device {device_id}, {paid_at})"
    moment = "{:%Y-%m-%d %H:%M:%S.%f}"
    praise = "Each payment knows the hour before it, to the microsecond, and not itself."
    # Payment, device, when, cents, attempts, and why. They are listed in disorder.
    payments = (
        ("P6", "D2", "2025-10-13 12:30:00.000000", 1000, 0, "it is the only one of its device"),
        ("P1", "D1", "2025-10-13 12:00:00.000000", 1001, 0, "it is the first of its device"),
        ("P3", "D1", "2025-10-13 12:40:00.000000", 1002, 2, "P1 and P2 are in the hour before"),
        (
            *("P2", "D1", "2025-10-13 12:20:00.000000", 1003, 1),
            "P1 is in the hour before, and P2 itself is not",
        ),
        ("P4", "D1", "2025-10-13 13:10:00.000000", 1004, 2, "P1 is older than an hour"),
        ("P5", "D1", "2025-10-13 15:00:00.000000", 1005, 0, "all others are older than an hour"),
        ("P7", "D3", "2025-10-13 12:00:00.000000", 1006, 0, "it is the first of its device"),
        ("P8", "D3", "2025-10-13 13:00:00.000000", 1007, 1, "P7 is exactly an hour older"),
        ("P9", "D4", "2025-10-13 12:00:00.000000", 1008, 0, "it is the first of its device"),
        ("P10", "D4", "2025-10-13 13:00:00.000001", 1009, 0, "P9 is an hour and a microsecond older"),
        ("P11", "D5", "2025-10-13 12:00:00.250000", 1010, 0, "P12 is of the same microsecond"),
        ("P12", "D5", "2025-10-13 12:00:00.250000", 1011, 0, "P11 is of the same microsecond"),
        ("P13", "D6", "2025-10-13 12:00:00.250000", 1012, 0, "P14 is a microsecond younger"),
        ("P14", "D6", "2025-10-13 12:00:00.250001", 1013, 1, "P13 is a microsecond older"),
        ("P15", "D7", "2025-10-13 23:40:00.000000", 1014, 0, "it is the first of its device"),
        ("P16", "D7", "2025-10-14 00:10:00.000000", 1015, 1, "P15 was half an hour before, on the other day"),
    )

    def cases(self) -> Iterator[Case]:
        schema = "payment_id STRING, device_id STRING, paid_at TIMESTAMP, amount_cents INT"
        yield Case((frame_of(self.payments, schema),), self.payments)


class Rfm(FrameExercise):
    """Exercise 4.5. Days that were bought on again, and two spans in weeks, as of a day."""

    number = "4.5"
    title = "compute x, t_x and T"
    takes = "a function of a DataFrame of purchases and a text with a day"
    hints = (
        "First leave out what comes after end. Of what is left, which day is the first of a customer, "
        "which the last, and how many different days are there?",
        "F.countDistinct('purchased_on') counts a day once, and one of these days is the first. "
        "F.datediff(later, earlier) is in days.",
        "purchases.where(purchased_on <= end).groupBy('customer_id'), and of that x = F.countDistinct("
        "'purchased_on') - 1, t_x = F.datediff(max, min) / 7, T = F.datediff(end, min) / 7.",
    )
    keys = ("customer_id",)
    kinds: ClassVar = {"customer_id": "STRING", "x": WHOLE, "t_x": NUMBER, "T": NUMBER}
    what = "{customer_id} (who buys on {bought})"
    lost = "With the end {about}, {what} went in and did not come out: {why}."
    doubled = "With the end {about}, {what} went in once and came out {times}: {why}."
    other = "With the end {about}, {what} has {column} {found}, and it should be {expected}: {why}."
    left_out = "With the end {about}, you return {what}, who should be left out: {why}."
    praise = "Days are counted, not purchases, and nothing of after the end comes in."
    # For each end: customer, the days with a purchase, and why the numbers are what they are.
    customers: ClassVar[dict[str, tuple[tuple[str, tuple[str, ...], str], ...]]] = {
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

    def cases(self) -> Iterator[Case]:
        for end, customers in self.customers.items():
            purchases = [(who, day) for who, days, _ in customers for day in days]
            rows = [(who, *self.expected(days, end), why) for who, days, why in customers]
            yield Case((frame_of(purchases, "customer_id STRING, purchased_on DATE"), end), rows, end)

    @staticmethod
    def expected(days: tuple[str, ...], end: str) -> tuple[Any, ...]:
        """Return x, t_x and T of somebody who buys on some days."""
        seen = sorted({date.fromisoformat(day) for day in days if day <= end})
        if not seen:
            return (LEFT_OUT,)
        last, watched = seen[-1] - seen[0], date.fromisoformat(end) - seen[0]
        return len(seen) - 1, Weeks(last.days / 7), Weeks(watched.days / 7)

    def named(self, row: Mapping[str, str], case: Case) -> str:
        bought = {who: ", ".join(sorted(days)) for who, days, _ in self.customers[case.about]}
        return self.what.format(**row, bought=bought.get(row["customer_id"], "no day"))


class Weeks(float):
    """A number of weeks, which says of how many days it is."""

    def __format__(self, _: str) -> str:
        return f"{self * 7:.0f} / 7"


churned = Churned()
leaks = Leaks()
as_of = AsOf()
attempts_before = AttemptsBefore()
rfm = Rfm()
