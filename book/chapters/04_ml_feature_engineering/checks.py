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


class NoOrder(FrameExercise):
    """Exercise 4.1. Everybody once per cutoff, with 1 for those without a known order in the 28 days."""

    number = "4.1"
    title = "label the customers without an order"
    takes = "a function of two DataFrames, people and orders"
    hints = (
        "Begin with the people. Which kind of join keeps those who have no order?",
        "All conditions belong into the join, the 28 days and the arrival: a where after it drops those who "
        "found nothing. Both frames have a customer_id, so rename that of the orders first: theirs = "
        "orders.withColumnRenamed('customer_id', 'who'). Then bring the rows back to one for each row of "
        "people.",
        "people.join(theirs, (F.col('who') == F.col('customer_id')) & (arrived_at <= known_at) & "
        "(ordered_at >= cutoff) & "
        "(ordered_at < cutoff + INTERVAL 28 DAYS), 'left').groupBy('customer_id', 'cutoff', 'known_at'), and "
        "of that F.when(F.count('order_id') == 0, 1).otherwise(0).",
    )
    keys = ("customer_id", "cutoff", "known_at")
    kinds: ClassVar = {
        "customer_id": "STRING",
        "cutoff": "TIMESTAMP",
        "known_at": "TIMESTAMP",
        "no_order_28": WHOLE,
    }
    what = "{customer_id} with the cutoff {cutoff}"
    strange = "You return {mine[customer_id]} with the cutoff {mine[cutoff]}, and that did not go in."
    praise = "Everybody has one label for each cutoff, also those who never ordered again."
    # Customer, cutoff, when the label is known, the label, and why.
    people = (
        ("C1", "2025-09-04 00:00", "2025-10-06 00:00", 0, "an order of 10 September lies in the 28 days"),
        ("C7", "2025-09-04 00:00", "2025-10-06 00:00", 1, "there is no order of this customer"),
        ("C2", "2025-09-04 00:00", "2025-10-06 00:00", 0, "an order at the very moment of the cutoff counts"),
        (
            *("C3", "2025-09-04 00:00", "2025-10-06 00:00", 1),
            "an order exactly 28 days after the cutoff comes too late",
        ),
        (
            *("C4", "2025-09-04 00:00", "2025-10-06 00:00", 0),
            "an order of the last hour of the 28 days counts",
        ),
        ("C5", "2025-09-04 00:00", "2025-10-06 00:00", 1, "an order before the cutoff does not count"),
        ("C6", "2025-09-04 00:00", "2025-10-06 00:00", 0, "there are three orders in the 28 days"),
        (
            *("C8", "2025-09-04 00:00", "2025-10-06 00:00", 0),
            "this customer has two cutoffs, and after this one an order of 12 September",
        ),
        (
            *("C8", "2025-09-18 00:00", "2025-10-20 00:00", 1),
            "this customer has two cutoffs, and the only order was before this one",
        ),
        (
            "C9",
            "2025-09-04 12:00",
            "2025-10-06 00:00",
            1,
            "an order in the morning is before a cutoff at noon",
        ),
        (
            *("C11", "2025-09-04 12:00", "2025-10-06 00:00", 0),
            "from noon to noon, an order on the morning of 2 October lies in the 28 days",
        ),
        (
            *("C12", "2025-09-04 00:00", "2025-10-06 00:00", 1),
            "the order of 30 September arrived on the 13th of October, after known_at",
        ),
        (
            "C13",
            "2025-09-04 00:00",
            "2025-10-06 00:00",
            0,
            "an order that arrives exactly at known_at counts",
        ),
        (
            *("C14", "2025-09-04 00:00", "2025-10-06 00:00", 1),
            "the order of 30 September arrived after this known_at",
        ),
        (
            *("C14", "2025-09-18 00:00", "2025-10-20 00:00", 0),
            "the order of 30 September had arrived at this known_at",
        ),
        (
            *("C15", "2025-09-04 00:00", "2025-10-06 00:00", 0),
            "of three orders, before, in and after the 28 days, one counts",
        ),
        (
            *("C16", "2025-09-04 00:00", "2025-10-06 00:00", 0),
            "the order of 20 September arrived too late, that of the 25th in time",
        ),
    )
    # Order, customer, when it was placed, and when its file arrived.
    orders = (
        ("O1", "C1", "2025-09-10 18:30", "2025-09-15 00:00"),
        ("O2", "C2", "2025-09-04 00:00", "2025-09-08 00:00"),
        ("O3", "C3", "2025-10-02 00:00", "2025-10-06 00:00"),
        ("O4", "C4", "2025-10-01 23:30", "2025-10-02 00:00"),
        ("O5", "C5", "2025-09-03 23:59", "2025-09-08 00:00"),
        ("O6", "C6", "2025-09-05 09:00", "2025-09-08 00:00"),
        ("O7", "C6", "2025-09-05 09:00", "2025-09-08 00:00"),
        ("O8", "C6", "2025-09-20 12:00", "2025-09-22 00:00"),
        ("O9", "C8", "2025-09-12 10:00", "2025-09-15 00:00"),
        ("O10", "C9", "2025-09-04 08:00", "2025-09-08 00:00"),
        ("O11", "C10", "2025-09-10 10:00", "2025-09-15 00:00"),
        ("O12", "C11", "2025-10-02 08:00", "2025-10-03 00:00"),
        ("O13", "C12", "2025-09-30 10:00", "2025-10-13 00:00"),
        ("O14", "C13", "2025-09-30 10:00", "2025-10-06 00:00"),
        ("O15", "C14", "2025-09-30 10:00", "2025-10-13 00:00"),
        ("O16", None, "2025-09-10 10:00", "2025-09-15 00:00"),
        ("O17", "C15", "2025-08-20 10:00", "2025-08-25 00:00"),
        ("O18", "C15", "2025-09-10 10:00", "2025-09-15 00:00"),
        ("O19", "C15", "2025-10-20 10:00", "2025-10-27 00:00"),
        ("O20", "C16", "2025-09-20 10:00", "2025-10-13 00:00"),
        ("O21", "C16", "2025-09-25 10:00", "2025-09-29 00:00"),
    )

    def cases(self) -> Iterator[Case]:
        people = frame_of(self.people, "customer_id STRING, cutoff TIMESTAMP, known_at TIMESTAMP")
        schema = "order_id STRING, customer_id STRING, ordered_at TIMESTAMP, arrived_at TIMESTAMP"
        orders = frame_of(self.orders, schema)
        yield Case((people, orders), self.people)


Sources = Mapping[str, DataFrame]


def _arrived_only(sources: Sources, moment: str) -> DataFrame:
    """Return features that do not look ahead, one of them NULL for who has a single order."""
    known = sources["orders"].where(F.col("arrived_at") <= F.lit(moment).cast("timestamp"))
    days = "datediff(max(ordered_at), min(ordered_at)) / nullif(count(*) - 1, 0)"
    return known.groupBy("customer_id").agg(
        F.count("*").alias("orders"), F.expr(days).alias("gap_days"), F.sum("cents").alias("spend")
    )


def _all_there_is(sources: Sources, moment: str) -> DataFrame:
    """Return features of which three look ahead, in an order that is not the alphabet's."""
    slow = "sum(cents) FILTER (WHERE arrived_at > ordered_at + INTERVAL 7 DAYS)"
    return (
        sources["orders"]
        .groupBy("customer_id")
        .agg(
            F.sum("cents").alias("spend"),
            (F.count("*") % 2).alias("odd"),
            F.expr(slow).alias("slow_cents"),
            F.min("ordered_at").alias("first_order"),
        )
    )


def _everybody(sources: Sources, moment: str) -> DataFrame:
    """Return features of what is known, with a row for those too of whom nothing is known yet."""
    known = F.col("arrived_at") <= F.lit(moment).cast("timestamp")
    spend = F.sum(F.when(known, F.col("cents"))).alias("spend")
    return sources["orders"].groupBy("customer_id").agg(spend, F.count_if(known).alias("orders"))


def _only_one(sources: Sources, moment: str) -> DataFrame:
    """Return the amount of those who ordered once, so that a later order takes its customer out."""
    totals = (F.count("*").alias("orders"), F.sum("cents").alias("spend"))
    return sources["orders"].groupBy("customer_id").agg(*totals).where("orders = 1").drop("orders")


def _two_sources(sources: Sources, moment: str) -> DataFrame:
    """Return a feature that does not look ahead, and one of each source that does."""
    orders = _arrived_only({"orders": sources["purchases"]}, moment).select("customer_id", "orders")
    for name, source in (("bought", "purchases"), ("visits", "visits")):
        counted = sources[source].groupBy("customer_id").agg(F.count("*").alias(name))
        orders = orders.join(counted, "customer_id", "left")
    return orders


class Leaks(FunctionExercise):
    """Exercise 4.2. Exactly the columns that change for somebody when what arrives later is hidden."""

    number = "4.2"
    title = "find the columns that leak"
    takes = "a function of a build, its sources and a moment that returns a list of names"
    hints = (
        "Build twice: from all rows, and from a dictionary with the rows of each source that have arrived_at "
        "<= moment. Then put the two results side by side, customer by customer.",
        "A full join keeps those who are in one result only, and <=> says that NULL equals NULL. "
        "But how do you tell a value that is NULL from a customer who is not there? The names of the feature "
        "columns are in left.columns, and one count for each of them is enough.",
        "Add a column there = F.lit(True) to both before the full join of left.alias('l') and "
        "right.alias('r') on customer_id. A column leaks if count_if("
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
    # What the case is about, the build, the moment, the events of each source that are added to those above,
    # and of each column whether it leaks and why.
    cases: ClassVar[tuple[Any, ...]] = (
        (
            "features of what had arrived",
            _arrived_only,
            "2025-10-13",
            {"orders": ()},
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
            {"orders": ()},
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
            {"orders": (("C4", "2025-10-12", "2025-10-20", 400),)},
            {
                "orders": (True, "C4 is in the result only as long as the future is in sight"),
                "spend": (True, "C4, with NULL, is in the result only as long as the future is in sight"),
            },
        ),
        (
            "those who have ordered once, on another day",
            _only_one,
            "2025-10-07",
            {"orders": (("C3", "2025-10-06", "2025-10-10", 200),)},
            {"spend": (True, "C3 is in the result only when the future is hidden")},
        ),
        (
            "an order whose file arrives five hours after the moment",
            _all_there_is,
            "2025-10-20",
            {"orders": (("C3", "2025-10-19", "2025-10-20 05:00", 200),)},
            {
                "spend": (True, "for C3 it is 950, and 750 when the file of five o'clock is hidden"),
                "odd": (True, "for C3 it is 0, and 1 when the file of five o'clock is hidden"),
                "slow_cents": (False, "the hidden order did not arrive a week late"),
                "first_order": (False, "the first order of everybody had arrived"),
            },
        ),
        (
            "one customer who comes and one who goes",
            _only_one,
            "2025-10-21",
            {"orders": (("C3", "2025-10-20", "2025-10-27", 200), ("C4", "2025-10-20", "2025-10-27", 400))},
            {"spend": (True, "C4 is in the result as long as the future is in sight, C3 when it is hidden")},
        ),
        (
            "the two sources purchases and visits",
            _two_sources,
            "2025-10-13",
            {"purchases": (), "visits": ()},
            {
                "orders": (False, "no purchase that arrives later is counted"),
                "bought": (True, "for C1 it is 3, and 2 when the future is hidden in purchases"),
                "visits": (True, "for C1 it is 3, and 2 when the future is hidden in visits"),
            },
        ),
    )

    returns = "a list of the names of columns"
    kind = list
    praise = (
        "In seven cases, one of them with two sources, you name the columns that look ahead, and no others."
    )

    def arguments(self, build: Any, moment: str, more: Any) -> Any:
        schema = "customer_id STRING, ordered_at TIMESTAMP, arrived_at TIMESTAMP, cents INT"
        sources = {name: frame_of((*self.events, *rows), schema) for name, rows in more.items()}
        return build, sources, moment

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
        "All the conditions belong into a left join, so that a question that finds nothing stays. The age is "
        "as_of >= cutoff - INTERVAL 14 DAYS for 14 days; an f-string puts the argument in: {days}. "
        "Then rank the rows of each question, that is of each customer and cutoff, and keep complete rows.",
        "Rename the features' customer_id. Join on as_of <= cutoff AND created_at <= cutoff AND as_of >= "
        "cutoff - INTERVAL {days} DAYS. Keep the first by F.row_number().over(Window.partitionBy("
        "'customer_id', 'cutoff').orderBy(F.desc('as_of'), F.desc('created_at'))).",
    )
    keys = ("customer_id", "cutoff")
    kinds: ClassVar = {
        "customer_id": "STRING",
        "cutoff": "TIMESTAMP",
        "orders_28": WHOLE,
        "as_of": "TIMESTAMP",
        "created_at": "TIMESTAMP",
        "spend_cents": WHOLE,
    }
    what = "With {about}, {customer_id} with the cutoff {cutoff}"
    strange = "You return {mine[customer_id]} with the cutoff {mine[cutoff]}, and that did not go in."
    praise = "Each question has the newest features that were there in time and are fresh."
    # Customer, as_of and created_at, orders_28. The row that wins is not always the last, nor
    # the one with the greatest number. Another column is derived from it, see `spend`.
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
        ("C12", "2025-10-01 00:00", "2025-10-03 05:00", 5),
        ("C13", "2025-10-06 00:00", "2025-10-06 05:00", 6),
        ("C13", "2025-10-13 00:00", "2025-10-13 05:00", None),
        ("C14", "2025-10-06 00:00", "2025-10-06 05:00", 3),
        ("C14", "2025-10-13 00:00", "2025-10-16 05:00", 6),
        ("C15", "2025-10-13 00:00", "2025-10-13 05:00", 4),
        ("C15", "2025-10-16 09:00", "2025-10-15 05:00", 8),
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
            (
                *("C10", "2025-10-16 00:00", 3),
                "this customer asks at two cutoffs, and for this one the row of 27 October is too late",
            ),
            (
                *("C10", "2025-10-30 00:00", 1),
                "this customer asks at two cutoffs, and for this one the row of 27 October was there",
            ),
            ("C11", "2025-10-16 00:00", None, "this customer has no row"),
            (
                *("C12", "2025-10-16 00:00", None),
                "its row is of 15 days before, although it was created 13 days before",
            ),
            ("C13", "2025-10-16 00:00", None, "in the row with the newest as_of it is NULL"),
            (
                *("C14", "2025-10-16 00:00", 3),
                "the row of 13 October was written on the day of the cutoff, five hours after it",
            ),
            ("C15", "2025-10-16 00:00", 4, "the row of 16 October, nine o'clock, is of after the cutoff"),
        ),
        7: (
            ("C1", "2025-10-16 00:00", 5, "its row of 13 October is three days old"),
            ("C2", "2025-10-16 00:00", None, "its row of 6 October is ten days old"),
        ),
    }

    # Of some questions the row that should be found, where it is not the only one with its orders_28.
    found: ClassVar = {("C13", "2025-10-16 00:00"): ("2025-10-13 00:00", "2025-10-13 05:00")}

    def cases(self) -> Iterator[Case]:
        schema = "customer_id STRING, as_of TIMESTAMP, created_at TIMESTAMP, orders_28 INT, spend_cents INT"
        features = frame_of([(*row, self.spend(row)) for row in self.features], schema)
        for days, questions in self.questions.items():
            asked = frame_of(questions, "customer_id STRING, cutoff TIMESTAMP")
            yield Case((asked, features, days), [self.complete(row) for row in questions], f"{days} days")

    @staticmethod
    def spend(row: tuple[Any, ...]) -> int:
        """Return what a row of the features has in the column spend_cents: its day, and its orders."""
        return 100 * int(row[1][8:10]) + (row[3] or 0)

    def complete(self, question: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return a question with all that should be found for it, and why."""
        customer, cutoff, orders, why = question
        times = self.found.get((customer, cutoff))
        for row in self.features:
            fits = row[:1] == (customer,) and row[3] == orders
            if fits and (times == row[1:3] or (times is None and orders is not None)):
                return customer, cutoff, orders, row[1], row[2], self.spend(row), why
        return customer, cutoff, None, None, None, None, why


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
        (
            *("P17", "D5", "2025-10-13 12:10:00.000000", 1016, 2),
            "P11 and P12 are two payments, although they are of one microsecond",
        ),
        ("P18", "D8", "2025-10-13 12:00:00.000000", 1017, 0, "it is the first of its device"),
        ("P19", "D8", "2025-10-13 12:10:00.000000", 1017, 1, "P18 is in the hour before"),
        (
            *("P20", "D8", "2025-10-13 12:20:00.000000", 1018, 2),
            "P18 and P19 are two payments, although they have the same amount",
        ),
        ("P21", "D8", "2025-10-13 12:30:00.000000", 1019, 3, "P18, P19 and P20 are in the hour before"),
    )

    def cases(self) -> Iterator[Case]:
        schema = "payment_id STRING, device_id STRING, paid_at TIMESTAMP, amount_cents INT"
        yield Case((frame_of(self.payments, schema),), self.payments)


class Users(FrameExercise):
    """Exercise 4.5. For each payment, who has used its key in the hours before, and itself."""

    number = "4.5"
    title = "count the users, with the current one"
    takes = "a function of a DataFrame of payments, the names of two columns, and a number of hours"
    hints = (
        "The window of exercise 4.4 finds the payments before. Which aggregate keeps their different values, "
        "so that one more can still be added?",
        "F.collect_set(who).over(...) is an array without NULL and without repeats. F.array_union adds the "
        "values of another array; F.array(who) is one with the payment's own value, which may be NULL.",
        "F.size(F.array_union(F.collect_set(who).over(<key, hours before>), F.array_compact(F.array(who)))), "
        "in F.when(F.col(key).isNull(), 0).otherwise(...).",
    )
    keys = ("payment_id", "card_id", "device_id", "customer_id", "paid_at")
    kinds: ClassVar = {
        "payment_id": "STRING",
        "card_id": "STRING",
        "device_id": "STRING",
        "customer_id": "STRING",
        "paid_at": "TIMESTAMP",
        "users": WHOLE,
    }
    what = "With {about}, {payment_id} ({card_id}, {device_id}, {customer_id}, {paid_at})"
    strange = "With {about}, you return a payment {mine[payment_id]} that did not go in."
    moment = "{:%Y-%m-%d %H:%M:%S.%f}"
    praise = "Each payment counts who has used its key, up to the one who uses it now."
    # Payment, card, device, customer, when. They are listed in disorder.
    payments = (
        ("P2", "K1", "D1", "C1", "2025-10-13 12:20:00.000000"),
        ("P1", "K1", "D1", "C1", "2025-10-13 12:00:00.000000"),
        ("P3", "K1", "D2", "C2", "2025-10-13 14:00:00.000000"),
        ("P4", "K1", "D2", "C3", "2025-10-13 14:00:00.000001"),
        ("P5", "K1", "D3", "C1", "2025-10-14 14:00:00.000000"),
        ("P6", None, "D1", "C1", "2025-10-13 13:00:00.000000"),
        ("P7", None, "D1", "C2", "2025-10-13 13:10:00.000000"),
        ("P8", "K2", "D4", "C4", "2025-10-13 12:00:00.000000"),
        ("P9", "K2", "D4", "C5", "2025-10-13 12:00:00.000000"),
        ("P10", "K2", "D4", None, "2025-10-13 13:00:00.000000"),
        ("P11", "K3", "D5", None, "2025-10-13 12:00:00.000000"),
        ("P12", "K4", "D1", "C1", "2025-10-13 14:20:00.000000"),
        ("P13", "K5", "D1", "C1", "2025-10-13 14:30:00.000000"),
    )
    # For a key, a who and a number of hours: of each payment the users, and why.
    asked: ClassVar[dict[tuple[str, str, int], dict[str, tuple[int, str]]]] = {
        ("card_id", "customer_id", 24): {
            "P1": (1, "C1 uses the card now, and nobody has before"),
            "P2": (1, "C1 has used the card before, and is one customer"),
            "P3": (2, "C1 has used the card before, and C2 uses it now"),
            "P4": (3, "C1 and, a microsecond ago, C2 have used the card, and C3 uses it now"),
            "P5": (3, "P3, of C2, is exactly 24 hours older and counts; C3 has used the card too"),
            "P6": (0, "the payment has no card"),
            "P7": (0, "the payment has no card"),
            "P8": (1, "P9 is of the same microsecond and does not count"),
            "P9": (1, "P8 is of the same microsecond and does not count"),
            "P10": (2, "C4 and C5 have used the card, and NULL is nobody"),
            "P11": (0, "NULL is nobody"),
            "P12": (1, "C1 uses the card now, and nobody has before"),
            "P13": (1, "C1 uses the card now, and nobody has before"),
        },
        ("device_id", "card_id", 2): {
            "P1": (1, "K1 is used now, and no card has been before"),
            "P2": (1, "K1 was used before, and is one card"),
            "P3": (1, "K1 is used now, and no card has been before"),
            "P4": (1, "K1 was used before, and is one card"),
            "P5": (1, "K1 is used now, and no card has been before"),
            "P6": (1, "K1 was used in the two hours before, and this payment has no card"),
            "P7": (1, "K1 was used in the two hours before, and this payment has no card"),
            "P8": (1, "K2 is used now"),
            "P9": (1, "K2 is used now"),
            "P10": (1, "K2 was used before, and is one card"),
            "P11": (1, "K3 is used now"),
            "P12": (2, "K1 was used exactly two hours before, and K4 is used now"),
            "P13": (2, "K4 was used before, and K5 is used now; K1 was used more than two hours ago"),
        },
    }

    def cases(self) -> Iterator[Case]:
        schema = "payment_id STRING, card_id STRING, device_id STRING, customer_id STRING, paid_at TIMESTAMP"
        for (key, who, hours), users in self.asked.items():
            expected = [(*row, *users[row[0]]) for row in self.payments]
            about = f"{key}, {who} and {hours} hours"
            yield Case((frame_of(self.payments, schema), key, who, hours), expected, about)


class Rfm(FrameExercise):
    """Exercise 4.6. Days that were bought on again, and two spans in weeks, as of a day."""

    number = "4.6"
    title = "compute x, t_x and T"
    takes = "a function of a DataFrame of purchases and a string with a day"
    hints = (
        "First leave out what comes after end. Of what is left, which day is the first of a customer, "
        "which the last, and how many different days are there?",
        "F.countDistinct('purchased_on') counts a day once, and one of these days is the first. "
        "F.datediff(later, earlier) is in days.",
        "purchases.where(purchased_on <= end).groupBy('customer_id'), and of that x = F.countDistinct("
        "'purchased_on') - 1, t_x = F.datediff(F.max('purchased_on'), F.min('purchased_on')) / 7, "
        "T = F.datediff(F.lit(end), F.min('purchased_on')) / 7.",
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
            (
                *("C1", ("1997-01-07", "1997-03-04", "1997-02-04")),
                "C1 bought on two days after the first, and from the first to the last are 56 days",
            ),
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


no_order = NoOrder()
leaks = Leaks()
as_of = AsOf()
attempts_before = AttemptsBefore()
users = Users()
rfm = Rfm()
