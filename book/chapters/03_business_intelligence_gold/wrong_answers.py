"""What the checks of chapter 03 say of wrong answers, and other right ones."""

from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

# The cells that bind them read no table
NEEDS = ("SOLD", "FAULTY")

Answer = Callable[..., Any]


def then(answer: Answer, change: Callable[[DataFrame], DataFrame]) -> Answer:
    """Return an answer that changes the result of another."""
    return lambda *given: change(answer(*given))


def nothing_returned(*given: Any) -> None:
    len(given)


def as_it_was(valid: str, how: str = "left", *more: str) -> Answer:
    """Return an answer to 3.2 that joins the customer's versions that are `valid`."""

    def answer(orders: DataFrame, versions: DataFrame) -> DataFrame:
        known = versions.withColumnRenamed("customer_id", "who")
        joined = orders.join(known, F.expr(f"customer_id = who AND ({valid})"), how)
        return joined.select(*orders.columns, "customer_key", *more)

    return answer


def once_each(orders: DataFrame, versions: DataFrame) -> DataFrame:
    """Return an answer to 3.2 that takes two orders at one moment for one."""
    return as_it_was(VALID)(orders, versions).dropDuplicates(["customer_id", "ordered_at"])


def by_names(orders: DataFrame, versions: DataFrame) -> DataFrame:
    """Return an answer to 3.2 that knows the columns of the sample only."""
    return as_it_was(VALID)(orders, versions).select("order_id", "customer_id", "ordered_at", "customer_key")


VALID = "ordered_at >= valid_from AND (ordered_at < valid_to OR valid_to IS NULL)"


def seams(where: str, *columns: str, by: str = "customer_id") -> Answer:
    """Return an answer to 3.3; in `where`, `following` is the next beginning."""

    def answer(versions: DataFrame) -> DataFrame:
        ahead = f"lead(valid_from) OVER (PARTITION BY {by} ORDER BY valid_from)"
        following = versions.withColumn("following", F.expr(ahead))
        return following.where(where).select(*columns or "*")

    return answer


HISTORY = ("customer_id", "city", "valid_from", "valid_to")
GOES_ON = "valid_from < '{}' AND (valid_to > '{}' OR valid_to IS NULL)"


def split(
    *, goes_on: str = GOES_ON, new: str = "NOT before <=> struct(city)", about: str = "left_semi"
) -> Answer:
    """Return an answer to 3.4: states that go on where `goes_on`, and those that are `new`."""

    def answer(versions: DataFrame, late: DataFrame, day: str, following: str) -> DataFrame:
        again = versions.where(goes_on.format(following, following)).join(late, "customer_id", about)
        states = versions.select("customer_id", "city", "valid_from")
        states = states.union(late.selectExpr("customer_id", "city", f"TIMESTAMP'{day}'"))
        states = states.union(
            again.select(versions.customer_id, versions.city, F.lit(following).cast("timestamp"))
        )
        order = Window.partitionBy("customer_id").orderBy("valid_from")
        states = states.withColumn("before", F.lag(F.struct("city")).over(order)).where(new)
        return states.withColumn("valid_to", F.lead("valid_from").over(order)).select(*HISTORY)

    return answer


def for_ever(versions: DataFrame, late: DataFrame, day: str, following: str) -> DataFrame:
    """Return an answer to 3.4 in which the late city holds until the next version."""
    len(following)
    return split(goes_on="false AND '{}' < '{}'")(versions, late, day, following)


def august(versions: DataFrame, late: DataFrame, day: str, following: str) -> DataFrame:
    """Return an answer to 3.4 that knows the days of the example only."""
    len(day + following)
    return split()(versions, late, "2025-08-01", "2025-09-01")


SOLD = "status NOT IN ('cancelled', 'returned')"
ADDED = "_change_type IN ('insert', 'update_postimage')"
SIGN = f"if({ADDED}, 1, -1)"
DAY = "CAST(ordered_at AS DATE)"


def deltas(
    where: str = SOLD,
    kept: str = "orders <> 0 OR revenue_cents <> 0",
    day: str = DAY,
    channel: str = "channel",
) -> Answer:
    """Return an answer to 3.5: the sums of the changes in `where` that are `kept`."""

    def answer(changes: DataFrame) -> DataFrame:
        orders = F.expr(f"sum({SIGN})").alias("orders")
        cents = F.expr(f"sum({SIGN} * total_cents)").alias("revenue_cents")
        keys = F.expr(day).alias("day"), F.expr(channel).alias("channel")
        return changes.where(where).groupBy(*keys).agg(orders, cents).where(kept)

    return answer


def of_each_order(changes: DataFrame) -> DataFrame:
    amounts = f"{SIGN} AS orders", f"{SIGN} * total_cents AS revenue_cents"
    return changes.where(SOLD).selectExpr(f"{DAY} AS day", "channel", *amounts)


def merged(
    on: str = "t.day = d.day AND t.channel <=> d.channel",
    gone: str = "WHEN MATCHED AND t.orders + d.orders = 0 THEN DELETE",
    orders: str = "t.orders + d.orders",
    cents: str = "t.revenue_cents + d.revenue_cents",
    new: str = "WHEN NOT MATCHED THEN INSERT *",
) -> str:
    """Return an answer to 3.6."""
    return f"""MERGE INTO {{table}} AS t USING deltas AS d ON {on} {gone}
        WHEN MATCHED THEN UPDATE SET orders = {orders}, revenue_cents = {cents} {new}"""


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
        "as_it_was",
        as_it_was("true"),
        "Order O1 (customer C1, 3 July, 12:00) came out 2 times, with the keys 11 and 12; "
        "its customer had not moved yet.",
    ),
    (
        "as_it_was",
        as_it_was("valid_to IS NULL"),
        "Order O1 (customer C1, 3 July, 12:00) has the key 12; it should be 11, "
        "because its customer had not moved yet.",
    ),
    (
        "as_it_was",
        as_it_was(VALID.replace("ordered_at <", "ordered_at <=")),
        "Order O2 (customer C1, 5 July, 00:00) came out 2 times, with the keys 11 and 12; "
        "a version is valid from its beginning to before its end.",
    ),
    (
        "as_it_was",
        as_it_was("ordered_at > valid_from AND (ordered_at <= valid_to OR valid_to IS NULL)"),
        "Order O2 (customer C1, 5 July, 00:00) has the key 11; it should be 12, "
        "because a version is valid from its beginning to before its end.",
    ),
    (
        "as_it_was",
        as_it_was("ordered_at >= valid_from AND ordered_at < valid_to"),
        "Order O2 (customer C1, 5 July, 00:00) has the key NULL; it should be 12, "
        "because a version is valid from its beginning to before its end.",
    ),
    (
        "as_it_was",
        as_it_was(VALID, "inner"),
        "Order O6 (customer C2, 1 July, 08:00) went in and did not come out. Keep it, with NULL for the key.",
    ),
    (
        "as_it_was",
        once_each,
        "Order O4 (customer C1, 20 July, 12:00) went in and did not come out. "
        "Keep it, with NULL for the key.",
    ),
    (
        "as_it_was",
        as_it_was(VALID, "left", "city"),
        "Your rows have a column city more; return order_id, customer_id, ordered_at, channel, customer_key.",
    ),
    (
        "as_it_was",
        by_names,
        "The column channel is missing; yours are order_id, customer_id, ordered_at, customer_key.",
    ),
    (
        "as_it_was",
        nothing_returned,
        "Your function returned nothing. Does it end with return? It should return a DataFrame.",
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
        "split",
        for_ever,
        "You say that the version of C01 from 2025-10-01 has the valid_to 2025-12-01; it should be "
        "2025-11-01: the snapshot holds until the next one, and then the old city goes on.",
    ),
    (
        "split",
        split(new="true"),
        "You say that the version of C02 from 2025-07-01 has the valid_to 2025-10-01; it should be open: "
        "the snapshot says nothing new of this customer.",
    ),
    (
        "split",
        split(new="before IS NULL OR before.city <> city"),
        "You say that the version of C08 from 2025-07-01 has the valid_to open; it should be 2025-10-01: "
        "an unknown city is a city too.",
    ),
    (
        "split",
        split(new="NOT before.city <=> city"),
        "You do not return the version of C09 from 2025-07-01 (NULL): "
        "from an unknown city one can move, and back to it.",
    ),
    (
        "split",
        august,
        "You say that the version of C01 from 2025-07-01 has the valid_to 2025-08-01; it should be "
        "2025-10-01: the snapshot holds until the next one, and then the old city goes on.",
    ),
    (
        "split",
        then(split(), lambda frame: frame.withColumn("note", F.lit("late"))),
        "Your rows have a column note more; return customer_id, valid_from, city, valid_to.",
    ),
    (
        "deltas",
        deltas(f"{SOLD} AND {ADDED}"),
        "For an order that is cancelled web on 1 July gets -1 orders and -500 cents; you say nothing.",
    ),
    (
        "deltas",
        deltas(f"{SOLD} AND _change_type <> 'delete'"),
        "For an order that is deleted web on 1 July gets -1 orders and -500 cents; you say nothing.",
    ),
    (
        "deltas",
        deltas("true"),
        "For an order that is cancelled web on 1 July gets -1 orders and -500 cents; you say nothing.",
    ),
    (
        "deltas",
        deltas(kept="orders <> 0"),
        "For an order whose amount is corrected from 500 to 450 web on 1 July gets "
        "+0 orders and -50 cents; you say nothing.",
    ),
    (
        "deltas",
        deltas(kept="true"),
        "For an order that is delivered nothing changes for web on 1 July; leave the row out.",
    ),
    (
        "deltas",
        of_each_order,
        "For two new orders on the web web on 1 July has more than one row: group by day and channel.",
    ),
    (
        "deltas",
        deltas(f"{SOLD} AND channel IS NOT NULL"),
        "For an order without a channel no channel (NULL) on 1 July gets +1 orders and +500 cents; "
        "you say nothing.",
    ),
    (
        "deltas",
        deltas(day="ordered_at"),
        "The column day is of the type TIMESTAMP; it should be DATE.",
    ),
    (
        "deltas",
        deltas(day="DATE'2025-07-01'"),
        "For an order whose moment is corrected to the next midnight web on 1 July gets "
        "-1 orders and -500 cents; you say nothing.",
    ),
    (
        "deltas",
        then(deltas(), lambda frame: frame.withColumn("note", F.lit(1))),
        "Your rows have a column note more; return day, channel, orders, revenue_cents.",
    ),
    (
        "merge",
        merged(on="t.day = d.day AND t.channel = d.channel"),
        "After your MERGE there are 2 rows for no channel (NULL) on 1 July; "
        "a row without a channel is a row of its own, and one is enough.",
    ),
    (
        "merge",
        merged(on="t.day = d.day"),
        "Your MERGE stops with DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE. "
        "Does ON still compare the day and the channel, and is the rest as it was?",
    ),
    (
        "merge",
        merged(gone=""),
        "After your MERGE there is still a row for web on 2 July, and no order is left, so the row goes.",
    ),
    (
        "merge",
        merged(orders="d.orders", cents="d.revenue_cents"),
        "After your MERGE the orders of web on 1 July are -1; they should be 1: "
        "a negative number is added too.",
    ),
    (
        "merge",
        merged(new=""),
        "After your MERGE there is no row for app on 3 July. It should have 1 orders: "
        "what is new is inserted.",
    ),
    (
        "merge",
        merged(new="WHEN NOT MATCHED AND d.channel IS NOT NULL THEN INSERT *"),
        "After your MERGE there is no row for no channel (NULL) on 4 July. It should have 1 orders: "
        "what is new is inserted.",
    ),
    (
        "merge",
        merged(gone="WHEN MATCHED AND t.orders + d.orders = 0 OR d.orders = 0 THEN DELETE"),
        "After your MERGE there is no row for web on 3 July. It should have 2 orders: "
        "a corrected amount changes no number of orders.",
    ),
    (
        "merge",
        merged().replace("{table}", "gold.daily_sales"),
        "Keep {table} in the statement: the check puts the name of a table there.",
    ),
    ("merge", 3, "Your answer is of the type int. It should be a string with the statement."),
]

RIGHT = [
    ("week_label", "format_string('%d-W%02d', extract(YEAROFWEEK FROM day), weekofyear(day))"),
    ("week_label", "extract(YEAROFWEEK FROM day) || '-W' || right('0' || weekofyear(day), 2)"),
    ("as_it_was", as_it_was(VALID)),
    (
        "as_it_was",
        then(as_it_was(VALID), lambda frame: frame.select(*reversed(frame.columns))),
    ),
    (
        "as_it_was",
        as_it_was("ordered_at >= valid_from AND ordered_at < coalesce(valid_to, TIMESTAMP'9999-12-31')"),
    ),
    ("seams", seams("NOT equal_null(following, valid_to)")),
    ("seams", seams("NOT following <=> valid_to", "valid_to", "customer_id", "valid_from")),
    ("split", split()),
    ("split", split(goes_on="valid_from < '{}' AND coalesce(valid_to, TIMESTAMP'9999-12-31') > '{}'")),
    ("split", then(split(), lambda frame: frame.select(*reversed(HISTORY)).orderBy("city"))),
    ("deltas", deltas()),
    (
        "deltas",
        then(
            deltas(),
            lambda frame: frame.selectExpr("int(revenue_cents) AS revenue_cents", "orders", "channel", "day"),
        ),
    ),
    ("merge", merged()),
    ("merge", merged(on="t.day <=> d.day AND equal_null(t.channel, d.channel)")),
    (
        "merge",
        merged(on="t.day = d.day AND (t.channel = d.channel OR t.channel IS NULL AND d.channel IS NULL)"),
    ),
]
