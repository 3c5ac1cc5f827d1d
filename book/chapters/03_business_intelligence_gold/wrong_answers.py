"""What the checks of chapter 03 say of wrong answers, and other right ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

# The cell that binds it also reads no table
NEEDS = ("SOLD",)

Answer = Callable[..., Any]


def then(answer: Answer, change: Callable[[DataFrame], DataFrame]) -> Answer:
    """Return an answer that changes the result of another."""
    return lambda *given: change(answer(*given))


def nothing_returned(*given: Any) -> None:
    len(given)


def seams(where: str, *columns: str, by: str = "customer_id") -> Answer:
    """Return an answer to 3.2; in `where`, `following` is the next beginning."""

    def answer(versions: DataFrame) -> DataFrame:
        ahead = f"lead(valid_from) OVER (PARTITION BY {by} ORDER BY valid_from)"
        following = versions.withColumn("following", F.expr(ahead))
        return following.where(where).select(*columns or "*")

    return answer


def as_it_was(valid: str, how: str = "left") -> Answer:
    """Return an answer to 3.3 that joins the customer's versions that are `valid`."""

    def answer(sales: DataFrame, versions: DataFrame) -> DataFrame:
        known = versions.withColumnRenamed("customer_id", "who")
        return sales.join(known, F.expr(f"customer_id = who AND ({valid})"), how)

    return answer


VALID = "sold_at >= valid_from AND (sold_at < valid_to OR valid_to IS NULL)"


def null_when_nobody_comes_back(sales: DataFrame) -> float | None:
    """Return an answer to 3.4 that adds up those who came back: NULL where there is none."""
    orders = sales.where("sold").groupBy("customer_id").agg(F.countDistinct("order_id").alias("orders"))
    return orders.agg(F.sum(F.expr("if(orders > 1, 1, NULL)")) / F.count("*")).first()[0]


def repeat_rate(
    orders: str = "count(DISTINCT order_id)", lines: str = "sold", several: str = "orders > 1"
) -> Answer:
    """Return an answer to 3.4 that counts `orders` of `lines`, customer by customer."""

    def answer(sales: DataFrame) -> float:
        buyers = sales.where(lines).groupBy("customer_id")
        counted = buyers.agg(F.expr(orders).alias("orders"))
        return counted.agg(F.expr(f"count_if({several}) / count(*)")).first()[0]

    return answer


def half_in_a_frame(sales: DataFrame) -> DataFrame:
    return sales.agg(F.lit(0.5).alias("rate"))


SOLD = "status NOT IN ('cancelled', 'returned')"
ADDED = "_change_type IN ('insert', 'update_postimage')"
SIGN = f"if({ADDED}, 1, -1)"


def net(where: str = SOLD, kept: str = "orders <> 0 OR cents <> 0") -> Answer:
    """Return an answer to 3.5: the sums of the changes in `where` that are `kept`."""

    def answer(changes: DataFrame) -> DataFrame:
        orders = F.expr(f"sum({SIGN})").alias("orders")
        cents = F.expr(f"sum({SIGN} * total_cents)").alias("cents")
        return changes.where(where).groupBy("customer_id").agg(orders, cents).where(kept)

    return answer


def net_of_each_order(changes: DataFrame) -> DataFrame:
    amounts = f"{SIGN} AS orders", f"{SIGN} * total_cents AS cents"
    return changes.where(SOLD).selectExpr("customer_id", *amounts)


WRONG = [
    (
        "week_label",
        "concat(year(day), '-W', lpad(weekofyear(day), 2, '0'))",
        "Monday 2025-12-29 lies in week 1 of 2026; your label for it is '2025-W01', "
        "and it should be '2026-W01'.",
    ),
    (
        "week_label",
        "concat(extract(YEAROFWEEK FROM day), '-W', weekofyear(day))",
        "Monday 2025-12-29 lies in week 1 of 2026; your label for it is '2026-W1', "
        "and it should be '2026-W01'.",
    ),
    (
        "week_label",
        "date_format(day, 'yyyy-MM')",
        "Tuesday 2025-07-01 lies in week 27 of 2025; your label for it is '2025-07', "
        "and it should be '2025-W27'.",
    ),
    (
        "week_label",
        "if(day < '2025-12-29', concat(year(day), '-W', weekofyear(day)), "
        "concat(year(day) + 1, '-W', lpad(weekofyear(day), 2, '0')))",
        "Monday 2019-12-30 lies in week 1 of 2020; your label for it is '2019-W1', "
        "and it should be '2020-W01'.",
    ),
    (
        "week_label",
        "nullif(day, day)",
        "Tuesday 2025-07-01 lies in week 27 of 2025; your label for it is NULL, and it should be '2025-W27'.",
    ),
    (
        "seams",
        seams("following < valid_to"),
        "For a gap: the version of C1 from 2025-07-01 to 2025-07-04 is broken, and you do not return it.",
    ),
    (
        "seams",
        seams("following <> valid_to"),
        "For an open version with another after it: the version of C1 from 2025-07-01 "
        "to open is broken, and you do not return it.",
    ),
    (
        "seams",
        seams("following IS NULL OR following <> valid_to"),
        "For a customer with one open version: the version of C1 from 2025-07-01 "
        "to open is in order, and you return it.",
    ),
    (
        "seams",
        seams("NOT following <=> valid_to", by="true"),
        "For two customers whose days interleave: the version of C1 from 2025-07-01 "
        "to open is in order, and you return it.",
    ),
    (
        "seams",
        seams("NOT following <=> valid_to", "customer_id"),
        "The column valid_from is missing; yours are customer_id.",
    ),
    (
        "as_it_was",
        as_it_was("true"),
        "Sale 1 (customer C1, 3 July, 12:00) came out 2 times, with Bremen and "
        "Leipzig; its customer had not moved yet.",
    ),
    (
        "as_it_was",
        as_it_was("valid_to IS NULL"),
        "Sale 1 (customer C1, 3 July, 12:00) has the city Bremen; it should be "
        "Leipzig, because its customer had not moved yet.",
    ),
    (
        "as_it_was",
        as_it_was(VALID.replace("sold_at <", "sold_at <=")),
        "Sale 2 (customer C1, 5 July, 00:00) came out 2 times, with Bremen and "
        "Leipzig; a version is valid from its beginning to before its end.",
    ),
    (
        "as_it_was",
        as_it_was("sold_at > valid_from AND (sold_at <= valid_to OR valid_to IS NULL)"),
        "Sale 2 (customer C1, 5 July, 00:00) has the city Leipzig; it should be "
        "Bremen, because a version is valid from its beginning to before its end.",
    ),
    (
        "as_it_was",
        as_it_was("sold_at >= valid_from AND sold_at < valid_to"),
        "Sale 2 (customer C1, 5 July, 00:00) has the city NULL; it should be "
        "Bremen, because a version is valid from its beginning to before its end.",
    ),
    (
        "as_it_was",
        as_it_was(VALID, "inner"),
        "Sale 5 (customer C2, 1 July, 08:00) went in and did not come out. Keep it, with NULL for the city.",
    ),
    (
        "as_it_was",
        nothing_returned,
        "Your function returned nothing. Does it end with return? It should return a DataFrame.",
    ),
    (
        "repeat_rate",
        repeat_rate("count(*)"),
        "For two customers with one order each, one of three lines the rate is 0; yours is 0.5.",
    ),
    (
        "repeat_rate",
        repeat_rate(lines="true"),
        "For two customers, where the second order of one was returned the rate is 0; yours is 0.5.",
    ),
    (
        "repeat_rate",
        repeat_rate("count(DISTINCT CASE WHEN sold THEN order_id END)", lines="true"),
        "For two customers who bought twice, and one whose only order was cancelled "
        "the rate is 1; yours is 0.666667.",
    ),
    (
        "repeat_rate",
        repeat_rate(several="orders = 2"),
        "For four customers, one of whom bought three times the rate is 0.25; yours is 0.",
    ),
    (
        "repeat_rate",
        null_when_nobody_comes_back,
        "For two customers with one order each, one of three lines the rate is 0; yours is NULL. "
        "A sum over no rows is NULL.",
    ),
    ("repeat_rate", half_in_a_frame, "Your function returned a DataFrame. It should return a number."),
    (
        "repeat_rate",
        nothing_returned,
        "Your function returned nothing. Does it end with return? It should return a number.",
    ),
    (
        "net",
        net(f"{SOLD} AND {ADDED}"),
        "For an order of C1 that is cancelled C1 gets -1 orders and -500 cents; you say nothing.",
    ),
    (
        "net",
        net(f"{SOLD} AND _change_type <> 'delete'"),
        "For an order of C1 that is deleted C1 gets -1 orders and -500 cents; you say nothing.",
    ),
    (
        "net",
        net("true"),
        "For an order of C1 that is cancelled C1 gets -1 orders and -500 cents; you say nothing.",
    ),
    (
        "net",
        net(kept="orders <> 0"),
        "For an order of C1 whose amount is corrected from 500 to 450 C1 gets "
        "+0 orders and -50 cents; you say nothing.",
    ),
    (
        "net",
        net(kept="true"),
        "For an order of C1 that is delivered nothing changes for C1; leave the customer out.",
    ),
    (
        "net",
        net_of_each_order,
        "For two new orders of C1 a customer has more than one row: group by the customer.",
    ),
]

RIGHT = [
    ("week_label", "format_string('%d-W%02d', extract(YEAROFWEEK FROM day), weekofyear(day))"),
    ("week_label", "extract(YEAROFWEEK FROM day) || '-W' || right('0' || weekofyear(day), 2)"),
    ("seams", seams("NOT equal_null(following, valid_to)")),
    ("seams", seams("NOT following <=> valid_to", "valid_to", "customer_id", "valid_from")),
    ("as_it_was", as_it_was(VALID)),
    (
        "as_it_was",
        then(as_it_was(VALID), lambda frame: frame.select("city", "sold_at", "customer_id", "sale_id")),
    ),
    ("repeat_rate", lambda sales: round(repeat_rate()(sales), 4)),
    ("repeat_rate", lambda sales: str(repeat_rate()(sales))),
    ("repeat_rate", lambda sales: np.float32(repeat_rate()(sales))),
    ("net", net()),
    ("net", then(net(), lambda frame: frame.selectExpr("int(cents) AS cents", "orders", "customer_id"))),
]
