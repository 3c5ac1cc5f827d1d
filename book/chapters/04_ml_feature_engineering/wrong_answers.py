"""What the checks of chapter 04 say of wrong answers, and other right ones."""

from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

Answer = Callable[..., Any]

NO_RETURN = "Your function returned nothing. Does it end with return? It should return"


def nothing_returned(*given: Any) -> None:
    len(given)


def then(answer: Answer, change: Callable[[DataFrame], DataFrame]) -> Answer:
    """Return an answer that changes the result of another."""
    return lambda *given: change(answer(*given))


# 4.1

WITHIN = "ordered_at >= cutoff AND ordered_at < cutoff + INTERVAL 28 DAYS"


def churned(
    within: str = WITHIN,
    label: str = "if(count(who) = 0, 1, 0)",
    how: str = "left",
    key: tuple[str, ...] = ("customer_id", "cutoff"),
) -> Answer:
    """Return an answer to 4.1 that labels each `key`, with the orders `within`."""

    def answer(people: DataFrame, orders: DataFrame) -> DataFrame:
        late = orders.withColumnRenamed("customer_id", "who")
        joined = people.join(late, F.expr(f"who = customer_id AND {within}"), how)
        return joined.groupBy(*key).agg(F.expr(label).alias("churned"))

    return answer


def by_customer(people: DataFrame, orders: DataFrame) -> DataFrame:
    """A customer who came back after one cutoff passes for one who did at every."""
    back = people.join(orders, "customer_id").where(WITHIN).select("customer_id")
    kept = people.join(back.distinct().withColumn("b", F.lit(1)), "customer_id", "left")
    return kept.select("customer_id", "cutoff", F.expr("int(b IS NULL) AS churned"))


def the_customer_twice(people: DataFrame, orders: DataFrame) -> DataFrame:
    joined = people.join(orders, people.customer_id == orders.customer_id, "left")
    return joined.withColumn("churned", F.lit(1))


# 4.2

A_LIST = "a list of the names of columns."


def leaks(
    hidden: str = "arrived_at > moment",
    how: str = "full",
    changed: str = "l.there IS NULL OR r.there IS NULL OR NOT l.{0} <=> r.{0}",
    told: Callable[[list[str]], list[str]] = sorted,
) -> Answer:
    """Return an answer to 4.2 that has `told` say the columns, in the build's order."""

    def answer(build: Answer, events: DataFrame, moment: str) -> list[str]:
        at = F.lit(moment).cast("timestamp")
        blind = events.withColumn("moment", at).where(f"NOT ({hidden})").drop("moment")
        left = build(events, moment).withColumn("there", F.lit(True))
        right = build(blind, moment).withColumn("there", F.lit(True))
        both = left.alias("l").join(right.alias("r"), "customer_id", how)
        names = [name for name in left.columns if name not in ("customer_id", "there")]
        counts = [f"count_if({changed.format(name)}) AS {name}" for name in names]
        found = both.selectExpr(*counts).first()
        return told([name for name in names if found[name]])

    return answer


def by_column(build: Answer, events: DataFrame, moment: str) -> list[str]:
    """The numbers of a column are compared, whoever has them."""
    blind = events.where(F.col("arrived_at") <= F.lit(moment).cast("timestamp"))
    left, right = build(events, moment), build(blind, moment)
    names = sorted({*left.columns} - {"customer_id"})
    return [n for n in names if left.select(n).exceptAll(right.select(n)).count()]


def a_set(build: Answer, events: DataFrame, moment: str) -> set[str]:
    return {*build(events, moment).columns} - {"customer_id", "orders", "gap_days"}


def the_features(build: Answer, events: DataFrame, moment: str) -> DataFrame:
    return build(events, moment)


def the_arguments_swapped(build: Answer, events: DataFrame, moment: str) -> list[str]:
    return build(moment, events).columns


# 4.3

IN_TIME = "as_of <= cutoff AND created_at <= cutoff"
FRESH = "as_of >= cutoff - INTERVAL {days} DAYS"
USABLE = f"{IN_TIME} AND {FRESH}"


def found(questions: DataFrame, features: DataFrame, when: str, how: str) -> DataFrame:
    known = features.withColumnRenamed("customer_id", "who")
    return questions.join(known, F.expr(f"who = customer_id AND {when}"), how)


def as_of(usable: str = USABLE, newest: str = "struct(as_of, created_at)", how: str = "left") -> Answer:
    """Return an answer to 4.3: of the rows that are `usable`, the `newest`."""

    def answer(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
        rows = found(questions, features, usable.format(days=days), how)
        orders = F.expr(f"max_by(orders_28, {newest})").alias("orders_28")
        return rows.groupBy("customer_id", "cutoff").agg(orders)

    return answer


def latest_version_first(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    """Only the row created last of each as_of is kept, before the cutoff is asked."""
    key = Window.partitionBy("customer_id", "as_of").orderBy(F.desc("created_at"))
    kept = features.withColumn("place", F.row_number().over(key)).where("place = 1")
    return as_of()(questions, kept, days)


def one_per_customer(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    key = Window.partitionBy("customer_id").orderBy(F.desc("as_of"), F.desc("created_at"))
    joined = found(questions, features, USABLE.format(days=days), "left")
    return joined.withColumn("place", F.row_number().over(key)).where("place = 1")


def not_ranked(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return found(questions, features, USABLE.format(days=days), "left")


# 4.4

HOUR = 3_600_000_000


def attempts_before(
    frame: str = f"RANGE BETWEEN {HOUR} PRECEDING AND 1 PRECEDING",
    order: str = "unix_micros(paid_at)",
    by: str = "device_id",
    counted: str = "count(*)",
) -> Answer:
    """Return an answer to 4.4 by a window."""
    over = f"{counted} OVER (PARTITION BY {by} ORDER BY {order} {frame})"
    return lambda payments: payments.withColumn("attempts", F.expr(over))


def joined_attempts(how: str, attempts: str, *also: str) -> Answer:
    """Return an answer to 4.4 by a join, grouped by the payment and what is `also`."""

    def answer(payments: DataFrame) -> DataFrame:
        other = payments.selectExpr("device_id AS device", "paid_at AS at")
        before = "device = device_id AND at < paid_at"
        hour = F.expr(f"{before} AND at >= paid_at - INTERVAL 1 HOUR")
        each = payments.join(other, hour, how).groupBy(*payments.columns, *also)
        return each.agg(F.expr(attempts).alias("attempts"))

    return answer


# 4.5

SPAN = "datediff(max(purchased_on), min(purchased_on))"


def rfm(seen: str = "purchased_on <= '{end}'", **columns: str) -> Answer:
    """Return an answer to 4.5; `columns` are those that are computed otherwise."""
    right = {
        "x": "count(DISTINCT purchased_on) - 1",
        "t_x": f"{SPAN} / 7",
        "T": "datediff('{end}', min(purchased_on)) / 7",
    }

    def answer(purchases: DataFrame, end: str) -> DataFrame:
        each = purchases.where(seen.format(end=end)).groupBy("customer_id")
        told = (right | columns).items()
        return each.agg(*(F.expr(f"{sql.format(end=end)} AS {n}") for n, sql in told))

    return answer


def rfm_of_each_purchase(purchases: DataFrame, end: str) -> DataFrame:
    seen = purchases.where(F.col("purchased_on") <= F.lit(end).cast("date"))
    return seen.join(rfm()(purchases, end), "customer_id")


WRONG = [
    (
        "churned",
        churned(WITHIN.replace(">=", ">")),
        "C2 with the cutoff 2025-09-04 00:00 has churned 1; it should be 0, because "
        "an order at the very moment of the cutoff counts.",
    ),
    (
        "churned",
        churned("ordered_at BETWEEN cutoff AND cutoff + INTERVAL 28 DAYS"),
        "C3 with the cutoff 2025-09-04 00:00 has churned 0; it should be 1, because "
        "an order exactly 28 days after the cutoff comes too late.",
    ),
    (
        "churned",
        churned("datediff(ordered_at, cutoff) BETWEEN 0 AND 27"),
        "C9 with the cutoff 2025-09-04 12:00 has churned 0; it should be 1, because "
        "an order in the morning is before a cutoff at noon.",
    ),
    (
        "churned",
        churned("ordered_at >= cutoff"),
        "C3 with the cutoff 2025-09-04 00:00 has churned 0; it should be 1, because "
        "an order exactly 28 days after the cutoff comes too late.",
    ),
    (
        "churned",
        churned(how="inner"),
        "C3 with the cutoff 2025-09-04 00:00 went in and did not come out. "
        "Its churned should be 1, because "
        "an order exactly 28 days after the cutoff comes too late.",
    ),
    ("churned", churned(how="full"), "You return NULL with the cutoff NULL, and that did not go in."),
    (
        "churned",
        churned(key=("customer_id", "cutoff", "order_id")),
        "C6 with the cutoff 2025-09-04 00:00 went in once and came out 3 times. "
        "Its churned should be 0, because there are three orders in the 28 days.",
    ),
    (
        "churned",
        churned(label="if(count(who) > 0, 1, 0)"),
        "C1 with the cutoff 2025-09-04 00:00 has churned 1; it should be 0, because "
        "an order of 10 September lies in the 28 days.",
    ),
    (
        "churned",
        churned(label="if(count(who) = 0, 1, NULL)"),
        "C1 with the cutoff 2025-09-04 00:00 has churned NULL; it should be 0, because "
        "an order of 10 September lies in the 28 days.",
    ),
    (
        "churned",
        by_customer,
        "C8 with the cutoff 2025-09-18 00:00 has churned 0; it should be 1, because "
        "the only order was before this cutoff.",
    ),
    (
        "churned",
        churned(label="count(who) = 0"),
        "The column churned is of the type BOOLEAN; it should be a whole number.",
    ),
    (
        "churned",
        the_customer_twice,
        "Your rows have the column customer_id more than once. Keep one of them.",
    ),
    (
        "churned",
        then(churned(), lambda frame: frame.drop("cutoff")),
        "The column cutoff is missing; yours are customer_id, churned.",
    ),
    (
        "churned",
        then(churned(), lambda frame: frame.withColumn("cutoff", F.to_date("cutoff"))),
        "The column cutoff is of the type DATE; it should be TIMESTAMP.",
    ),
    ("churned", nothing_returned, f"{NO_RETURN} a DataFrame."),
    (
        "leaks",
        leaks(hidden="arrived_at >= moment"),
        "For features of what had arrived you name orders, which does not change: "
        "what arrives at the very moment is not hidden.",
    ),
    (
        "leaks",
        leaks(hidden="ordered_at > moment"),
        "For features of all orders you do not name slow_cents: "
        "for C1 it is 900, and NULL when the future is hidden.",
    ),
    (
        "leaks",
        leaks(how="inner"),
        "For a customer whose only order arrives later you do not name orders: "
        "C4 is in the result only as long as the future is in sight.",
    ),
    (
        "leaks",
        leaks(how="left"),
        "For those who have ordered once, on another day you do not name spend: "
        "C3 is in the result only when the future is hidden.",
    ),
    (
        "leaks",
        leaks(changed="NOT l.{0} <=> r.{0}"),
        "For a customer whose only order arrives later you do not name spend: "
        "C4, with NULL, is in the result only as long as the future is in sight.",
    ),
    (
        "leaks",
        leaks(changed="l.{0} <> r.{0}"),
        "For features of all orders you do not name slow_cents: "
        "for C1 it is 900, and NULL when the future is hidden.",
    ),
    (
        "leaks",
        leaks(changed="NOT coalesce(l.{0} = r.{0}, false)"),
        "For features of what had arrived you name gap_days, which does not change: "
        "for C2 it is NULL in both results, and two NULLs are equal.",
    ),
    (
        "leaks",
        leaks(told=list),
        "For features of all orders you return ['spend', 'odd', 'slow_cents']; "
        "sorted, each once, it is ['odd', 'slow_cents', 'spend'].",
    ),
    (
        "leaks",
        by_column,
        "For features of all orders you do not name odd: for C1 it is 1, "
        "and 0 when the future is hidden; for C2 it is the other way round.",
    ),
    (
        "leaks",
        leaks(told=lambda names: ["customer_id", *sorted(names)]),
        "For features of what had arrived you name customer_id, which is not a feature column.",
    ),
    (
        "leaks",
        lambda *given: [],
        "For features of all orders you do not name spend: "
        "for C1 it is 1700, and 800 when the future is hidden.",
    ),
    ("leaks", a_set, f"Your function returned {{'spend'}}. It should return {A_LIST}"),
    ("leaks", the_features, f"Your function returned a DataFrame. It should return {A_LIST}"),
    ("leaks", nothing_returned, f"{NO_RETURN} {A_LIST}"),
    (
        "leaks",
        the_arguments_swapped,
        "Your code raised AttributeError: 'str' object has no attribute 'where' "
        f"(in your line {the_arguments_swapped.__code__.co_firstlineno + 1}: "
        "return build(moment, events).columns)",
    ),
    (
        "as_of",
        as_of(f"as_of <= cutoff AND {FRESH}"),
        "With 14 days, C2 with the cutoff 2025-10-16 00:00 has orders_28 6; it should "
        "be 4, because the row of 13 October was created on the 17th.",
    ),
    (
        "as_of",
        as_of(f"created_at <= cutoff AND {FRESH}"),
        "With 14 days, C3 with the cutoff 2025-10-16 00:00 has orders_28 7; it should "
        "be 2, because the row of 20 October is of after the cutoff.",
    ),
    (
        "as_of",
        as_of(USABLE.replace("as_of <= cutoff", "as_of < cutoff")),
        "With 14 days, C9 with the cutoff 2025-10-16 00:00 has orders_28 7; it should "
        "be 4, because a row of the very moment of the cutoff may be used.",
    ),
    (
        "as_of",
        as_of(IN_TIME),
        "With 14 days, C5 with the cutoff 2025-10-16 12:00 has orders_28 3; it should "
        "be NULL, because its row is 14 days and three hours old.",
    ),
    (
        "as_of",
        as_of(f"{IN_TIME} AND {FRESH.replace('>=', '>')}"),
        "With 14 days, C4 with the cutoff 2025-10-16 00:00 has orders_28 NULL; it "
        "should be 3, because a row that is exactly 14 days old may be used.",
    ),
    (
        "as_of",
        as_of(f"{IN_TIME} AND datediff(cutoff, as_of) <= {{days}}"),
        "With 14 days, C5 with the cutoff 2025-10-16 12:00 has orders_28 3; it should "
        "be NULL, because its row is 14 days and three hours old.",
    ),
    (
        "as_of",
        as_of(USABLE.format(days=14)),
        "With 7 days, C2 with the cutoff 2025-10-16 00:00 has orders_28 4; it should "
        "be NULL, because its row of 6 October is ten days old.",
    ),
    (
        "as_of",
        as_of(newest="struct(as_of, -unix_micros(created_at))"),
        "With 14 days, C6 with the cutoff 2025-10-16 00:00 has orders_28 8; it should "
        "be 1, because of two rows of 13 October the one created later wins.",
    ),
    (
        "as_of",
        as_of(newest="created_at"),
        "With 14 days, C8 with the cutoff 2025-10-16 00:00 has orders_28 6; it should "
        "be 2, because the newest as_of wins, also over one that was created later.",
    ),
    (
        "as_of",
        as_of(newest="orders_28"),
        "With 14 days, C1 with the cutoff 2025-10-16 00:00 has orders_28 9; it should "
        "be 5, because the row with the newest as_of wins.",
    ),
    (
        "as_of",
        as_of(how="inner"),
        "With 14 days, C5 with the cutoff 2025-10-16 12:00 went in and did not come "
        "out. Its orders_28 should be NULL, because its row is 14 days and three hours "
        "old.",
    ),
    (
        "as_of",
        latest_version_first,
        "With 14 days, C7 with the cutoff 2025-10-16 00:00 has orders_28 NULL; it "
        "should be 2, because of two rows of 13 October one was created after the "
        "cutoff.",
    ),
    (
        "as_of",
        one_per_customer,
        "With 14 days, C10 with the cutoff 2025-10-16 00:00 went in and did not come "
        "out. Its orders_28 should be 3, because the row of 27 October is of after "
        "this cutoff.",
    ),
    (
        "as_of",
        not_ranked,
        "With 14 days, C1 with the cutoff 2025-10-16 00:00 went in once and came out "
        "2 times. Its orders_28 should be 5, because the row with the newest as_of "
        "wins.",
    ),
    (
        "as_of",
        then(as_of(), lambda frame: frame.fillna(0, "orders_28")),
        "With 14 days, C5 with the cutoff 2025-10-16 12:00 has orders_28 0; it should "
        "be NULL, because its row is 14 days and three hours old.",
    ),
    (
        "as_of",
        then(as_of(), lambda frame: frame.withColumn("orders_28", F.expr("string(orders_28)"))),
        "The column orders_28 is of the type STRING; it should be a whole number.",
    ),
    (
        "as_of",
        then(as_of(), lambda frame: frame.drop("orders_28")),
        "The column orders_28 is missing; yours are customer_id, cutoff.",
    ),
    (
        "attempts_before",
        attempts_before(f"RANGE BETWEEN {HOUR} PRECEDING AND CURRENT ROW"),
        "P6 (device D2, 2025-10-13 12:30:00.000000) has attempts 1; it should be 0, "
        "because it is the only one of its device.",
    ),
    (
        "attempts_before",
        attempts_before(f"RANGE BETWEEN {HOUR} PRECEDING AND CURRENT ROW", counted="-1 + count(*)"),
        "P11 (device D5, 2025-10-13 12:00:00.250000) has attempts 1; it should be 0, "
        "because P12 is of the same microsecond.",
    ),
    (
        "attempts_before",
        attempts_before(f"RANGE BETWEEN {HOUR - 1} PRECEDING AND 1 PRECEDING"),
        "P8 (device D3, 2025-10-13 13:00:00.000000) has attempts 0; it should be 1, "
        "because P7 is exactly an hour older.",
    ),
    (
        "attempts_before",
        attempts_before("RANGE BETWEEN 3600 PRECEDING AND 1 PRECEDING", "unix_timestamp(paid_at)"),
        "P10 (device D4, 2025-10-13 13:00:00.000001) has attempts 1; it should be 0, "
        "because P9 is an hour and a microsecond older.",
    ),
    (
        "attempts_before",
        attempts_before("RANGE BETWEEN 3600000 PRECEDING AND 1 PRECEDING", "unix_millis(paid_at)"),
        "P10 (device D4, 2025-10-13 13:00:00.000001) has attempts 1; it should be 0, "
        "because P9 is an hour and a microsecond older.",
    ),
    (
        "attempts_before",
        attempts_before("RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"),
        "P4 (device D1, 2025-10-13 13:10:00.000000) has attempts 3; it should be 2, "
        "because P1 is older than an hour.",
    ),
    (
        "attempts_before",
        attempts_before("ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING", "paid_at"),
        "P4 (device D1, 2025-10-13 13:10:00.000000) has attempts 3; it should be 2, "
        "because P1 is older than an hour.",
    ),
    (
        "attempts_before",
        attempts_before(by="true"),
        "P6 (device D2, 2025-10-13 12:30:00.000000) has attempts 8; it should be 0, "
        "because it is the only one of its device.",
    ),
    (
        "attempts_before",
        attempts_before(by="device_id, to_date(paid_at)"),
        "P16 (device D7, 2025-10-14 00:10:00.000000) has attempts 0; it should be 1, "
        "because P15 was half an hour before, on the other day.",
    ),
    (
        "attempts_before",
        joined_attempts("inner", "count(*)"),
        "P6 (device D2, 2025-10-13 12:30:00.000000) went in and did not come out. "
        "Its attempts should be 0, because it is the only one of its device.",
    ),
    (
        "attempts_before",
        joined_attempts("left", "count(*)"),
        "P6 (device D2, 2025-10-13 12:30:00.000000) has attempts 1; it should be 0, "
        "because it is the only one of its device.",
    ),
    (
        "attempts_before",
        joined_attempts("left", "count(at)", "at"),
        "P3 (device D1, 2025-10-13 12:40:00.000000) went in once and came out 2 times. "
        "Its attempts should be 2, because P1 and P2 are in the hour before.",
    ),
    (
        "attempts_before",
        attempts_before(counted="sum(1)"),
        "P6 (device D2, 2025-10-13 12:30:00.000000) has attempts NULL; it should be 0, "
        "because it is the only one of its device.",
    ),
    (
        "attempts_before",
        then(attempts_before(), lambda frame: frame.select("payment_id", "attempts")),
        "The column device_id is missing; yours are payment_id, attempts.",
    ),
    (
        "attempts_before",
        then(attempts_before(), lambda frame: frame.drop("amount_cents")),
        "The column amount_cents is missing; yours are payment_id, device_id, paid_at, attempts.",
    ),
    (
        "attempts_before",
        then(attempts_before(), lambda frame: frame.withColumn("paid_at", F.unix_micros("paid_at"))),
        "The column paid_at is of the type BIGINT; it should be TIMESTAMP.",
    ),
    ("attempts_before", nothing_returned, f"{NO_RETURN} a DataFrame."),
    (
        "rfm",
        rfm(x="count(*) - 1"),
        "With the end 1997-09-30, C4 (who buys on 1997-01-07, 1997-01-07) has x 1, "
        "and it should be 0: two purchases of one day are one day.",
    ),
    (
        "rfm",
        rfm(x="count(DISTINCT purchased_on)"),
        "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) "
        "has x 3, and it should be 2: C1 bought on two days after the first.",
    ),
    (
        "rfm",
        rfm("purchased_on < '{end}'"),
        "With the end 1997-09-30, C6 (who buys on 1997-02-04, 1997-09-30) has x 0, "
        "and it should be 1: the day of the end belongs to it.",
    ),
    (
        "rfm",
        rfm("true"),
        "With the end 1997-09-30, C7 (who buys on 1997-02-04, 1997-03-04, 1997-11-04) "
        "has x 2, and it should be 1: what comes after the end is not counted.",
    ),
    (
        "rfm",
        rfm("purchased_on <= '1997-09-30'"),
        "With the end 1997-06-30, C1 (who buys on 1997-01-07, 1997-08-05) has x 1, "
        "and it should be 0: the only other purchase comes after the end.",
    ),
    (
        "rfm",
        rfm(t_x=f"{SPAN} div 7"),
        "With the end 1997-09-30, C2 (who buys on 1997-01-09, 1997-01-19) has t_x 1, "
        "and it should be 10 / 7: weeks are not rounded.",
    ),
    (
        "rfm",
        rfm(T="round(datediff('{end}', min(purchased_on)) / 7, 2)"),
        "With the end 1997-09-30, C2 (who buys on 1997-01-09, 1997-01-19) has T 37.71, "
        "and it should be 264 / 7: weeks are not rounded.",
    ),
    (
        "rfm",
        rfm(t_x=SPAN),
        "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) "
        "has t_x 56, and it should be 56 / 7: C1 bought on two days after the first.",
    ),
    (
        "rfm",
        # Recency as it is usually meant: how long ago the last purchase was
        rfm(t_x="datediff('{end}', max(purchased_on)) / 7"),
        "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) "
        "has t_x 30, and it should be 56 / 7: C1 bought on two days after the first.",
    ),
    (
        "rfm",
        rfm(t_x=f"if(count(DISTINCT purchased_on) > 1, {SPAN} / 7, NULL)"),
        "With the end 1997-09-30, C3 (who buys on 1997-01-07) has t_x NULL, "
        "and it should be 0 / 7: C3 bought once, and never again.",
    ),
    (
        "rfm",
        then(rfm(), lambda frame: frame.where("x > 0")),
        "With the end 1997-09-30, C3 (who buys on 1997-01-07) went in and did not come "
        "out: C3 bought once, and never again.",
    ),
    (
        "rfm",
        rfm(T=f"{SPAN} / 7"),
        "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) "
        "has T 8, and it should be 266 / 7: C1 bought on two days after the first.",
    ),
    (
        "rfm",
        rfm_of_each_purchase,
        "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) "
        "went in once and came out 3 times: C1 bought on two days after the first.",
    ),
    (
        "rfm",
        then(rfm(), lambda frame: frame.withColumn("T", F.expr("string(T)"))),
        "The column T is of the type STRING; it should be a number.",
    ),
    (
        "rfm",
        then(rfm(), lambda frame: frame.withColumnRenamed("T", "watched")),
        "The column T is missing; yours are customer_id, x, t_x, watched.",
    ),
    ("rfm", nothing_returned, f"{NO_RETURN} a DataFrame."),
]

RIGHT = [
    ("churned", churned()),
    (
        "churned",
        then(
            churned(), lambda frame: frame.selectExpr("bigint(churned) AS churned", "cutoff", "customer_id")
        ),
    ),
    ("leaks", leaks()),
    ("leaks", leaks(told=lambda names: tuple(sorted(names)))),
    ("as_of", as_of()),
    (
        "as_of",
        then(
            as_of(), lambda frame: frame.selectExpr("bigint(orders_28) AS orders_28", "cutoff", "customer_id")
        ),
    ),
    ("attempts_before", attempts_before()),
    ("attempts_before", joined_attempts("left", "int(count(at))")),
    ("rfm", rfm(x="int(count(DISTINCT purchased_on) - 1)", t_x=f"float({SPAN} / 7)")),
    ("rfm", rfm(T="CAST(datediff('{end}', min(purchased_on)) / 7 AS DECIMAL(12, 8))")),
]
