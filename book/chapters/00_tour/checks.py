"""The checks of chapter 00."""

from collections.abc import Iterator
from typing import ClassVar

from pyspark.sql import DataFrame

from medallion.lesson.exercise import Exercise, Verdict
from medallion.lesson.frames import ANY, Case, FrameExercise


class BeforeTheChange(Exercise):
    """Exercise 0.1. The answer is the table as it was at version 0."""

    number = "0.1"
    title = "before the change"
    takes = "a DataFrame, such as spark.read.table(...) returns"
    hints = (
        "Delta keeps the old versions. Look for the way to name one as you read.",
        "The reader takes an option: spark.read.option(name, value).table('scratch.orders').",
        "The option is called versionAsOf, and the first version has the number 0.",
    )

    def check(self, before: DataFrame) -> Verdict:
        rows = before.collect()
        if len(rows) != 4:
            return self.wrong(f"There are {len(rows)} orders in your answer; version 0 has 4.")
        totals = {row.order_id: row.total_cents for row in rows}
        if totals[4] == 990:
            return self.wrong("Order 4 costs 990 cents in your answer: that is after the update.")
        if totals[4] != 890:
            return self.wrong(
                f"Order 4 costs {totals[4]} cents in your answer; version 0 says something else."
            )
        return self.right("Order 4 costs 890 cents again: this is the table before the update.")


class WhoSpentMost(FrameExercise):
    """Exercise 0.2. One row for each customer with the sum of their orders, the largest first."""

    number = "0.2"
    title = "who spent most"
    takes = "a DataFrame with the columns customer and spent_cents"
    hints = (
        "One row for each customer: that is a GROUP BY.",
        "sum(total_cents) adds up the orders of one customer; give it the name that the task asks for.",
        "SELECT customer, sum(total_cents) AS spent_cents FROM … GROUP BY customer ORDER BY … DESC",
    )

    keys = ("customer",)
    kinds: ClassVar = {"customer": ANY, "spent_cents": ANY}
    only = True
    what = "{customer}"
    lost = "{what} has ordered and is not in your answer."
    doubled = "{what} is in {rows}; group the orders by customer."
    other = (
        "{what} spent {expected} cents; your answer says {found}. "
        "Add up total_cents of the table as it is now."
    )
    strange = "A row is for the customer {what}, who has not ordered."
    disorder = (
        "{mine[customer]} with {mine[spent_cents]} cents comes before {ours[customer]} with "
        "{ours[spent_cents]}: sort by spent_cents, largest first."
    )
    praise = "Ada spent most: 34.49 euros in two orders."

    def cases(self) -> Iterator[Case]:
        yield Case(None, [("Ada", 3449, ""), ("Cleo", 990, ""), ("Ben", 480, "")])


before_the_change = BeforeTheChange()
who_spent_most = WhoSpentMost()
