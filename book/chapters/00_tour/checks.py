"""The checks of chapter 00."""

from itertools import pairwise

from pyspark.sql import DataFrame

from medallion.lesson.exercise import Exercise, Verdict


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


class WhoSpentMost(Exercise):
    """Exercise 0.2. One row for each customer with the sum of their orders, the largest first."""

    number = "0.2"
    title = "who spent most"
    takes = "a DataFrame with the columns customer and spent_cents"
    hints = (
        "One row for each customer: that is a GROUP BY.",
        "sum(total_cents) adds up the orders of one customer; give it the name that the task asks for.",
        "SELECT customer, sum(total_cents) AS spent_cents FROM … GROUP BY customer ORDER BY … DESC",
    )

    def check(self, spent: DataFrame) -> Verdict:
        if spent.columns != ["customer", "spent_cents"]:
            return self.wrong(
                f"The columns are {', '.join(spent.columns)}; they should be customer, spent_cents."
            )
        rows = [(row.customer, row.spent_cents) for row in spent.collect()]
        customers = [customer for customer, _ in rows]
        twice = sorted({customer for customer in customers if customers.count(customer) > 1})
        if twice:
            return self.wrong(
                f"{twice[0]} is in {customers.count(twice[0])} rows; group the orders by customer."
            )
        expected = {"Ada": 3449, "Ben": 480, "Cleo": 990}
        for customer in customers:
            if customer not in expected:
                return self.wrong(f"A row is for the customer {customer}, who has not ordered.")
        for customer, cents in expected.items():
            if customer not in customers:
                return self.wrong(f"{customer} has ordered and is not in your answer.")
            if dict(rows)[customer] != cents:
                return self.wrong(
                    f"{customer} spent {cents} cents; your answer says {dict(rows)[customer]}. "
                    "Add up total_cents of the table as it is now."
                )
        for (customer, cents), (later, more) in pairwise(rows):
            if cents < more:
                return self.wrong(
                    f"{customer} with {cents} cents comes before {later} with {more}: "
                    "sort by spent_cents, largest first."
                )
        return self.right("Ada spent most: 34.49 euros in two orders.")


before_the_change = BeforeTheChange()
who_spent_most = WhoSpentMost()
