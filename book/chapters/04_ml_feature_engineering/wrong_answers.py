"""What the checks of chapter 04 say of wrong answers, and other right ones."""

from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

Answer = Callable[..., Any]
Sources = Mapping[str, DataFrame]

NO_RETURN = "Your function returned nothing. Does it end with return? It should return"


def nothing_returned(*given: Any) -> None:
    len(given)


def then(answer: Answer, change: Callable[[DataFrame], DataFrame]) -> Answer:
    """Return an answer that changes the result of another."""
    return lambda *given: change(answer(*given))


# 4.1

WITHIN = "ordered_at >= cutoff AND ordered_at < cutoff + INTERVAL 28 DAYS"


KNOWN = "arrived_at <= known_at"
KEY = ("customer_id", "cutoff", "known_at")


def no_order(
    within: str = f"{WITHIN} AND {KNOWN}",
    label: str = "if(count(who) = 0, 1, 0)",
    how: str = "left",
    key: tuple[str, ...] = KEY,
) -> Answer:
    """Return an answer to 4.1 that labels each `key`, with the orders `within`."""

    def answer(people: DataFrame, orders: DataFrame) -> DataFrame:
        late = orders.withColumnRenamed("customer_id", "who")
        joined = people.join(late, F.expr(f"who = customer_id AND {within}"), how)
        return joined.groupBy(*key).agg(F.expr(label).alias("no_order_28"))

    return answer


def by_customer(people: DataFrame, orders: DataFrame) -> DataFrame:
    """A customer who came back after one cutoff passes for one who did at every."""
    back = people.join(orders, "customer_id").where(f"{WITHIN} AND {KNOWN}").select("customer_id")
    kept = people.join(back.distinct().withColumn("b", F.lit(1)), "customer_id", "left")
    return kept.select(*KEY, F.expr("int(b IS NULL) AS no_order_28"))


def one_order(which: Callable[..., Any], of: str = "true") -> Answer:
    """Return an answer to 4.1 that looks at one order of a customer only, the first or the last."""

    def answer(people: DataFrame, orders: DataFrame) -> DataFrame:
        theirs = orders.withColumnRenamed("customer_id", "who")
        joined = people.join(theirs, F.expr(f"who = customer_id AND {of}"), "left")
        one = joined.groupBy(*KEY).agg(which(F.struct("ordered_at", "arrived_at")).alias("one"))
        label = f"if(coalesce({WITHIN} AND {KNOWN}, false), 0, 1) AS no_order_28"
        return one.select(*KEY, "one.*").select(*KEY, F.expr(label))

    return answer


def the_customer_twice(people: DataFrame, orders: DataFrame) -> DataFrame:
    joined = people.join(orders, people.customer_id == orders.customer_id, "left")
    return joined.withColumn("no_order_28", F.lit(1))


# 4.2

A_LIST = "a list of the names of columns."


def leaks(
    hidden: str = "arrived_at > moment",
    how: str = "full",
    changed: str = "l.there IS NULL OR r.there IS NULL OR NOT l.{0} <=> r.{0}",
    told: Callable[[list[str]], list[str]] = sorted,
    only: slice = slice(None),
) -> Answer:
    """Return an answer to 4.2 that has `told` say the columns, in the build's order.

    It hides the future in `only` some of the sources.
    """

    def answer(build: Answer, sources: Sources, moment: str) -> list[str]:
        at, blind = F.lit(moment).cast("timestamp"), dict(sources)
        for name in [*sources][only]:
            blind[name] = sources[name].withColumn("moment", at).where(f"NOT ({hidden})").drop("moment")
        left = build(sources, moment).withColumn("there", F.lit(True))
        right = build(blind, moment).withColumn("there", F.lit(True))
        both = left.alias("l").join(right.alias("r"), "customer_id", how)
        names = [name for name in left.columns if name not in ("customer_id", "there")]
        counts = [f"count_if({changed.format(name)}) AS {name}" for name in names]
        found = both.selectExpr(*counts).first()
        return told([name for name in names if found[name]])

    return answer


def known(sources: Sources, moment: str) -> Sources:
    """Return the sources without the rows that arrived after the moment."""
    arrived = F.col("arrived_at") <= F.lit(moment).cast("timestamp")
    return {name: rows.where(arrived) for name, rows in sources.items()}


def by_column(build: Answer, sources: Sources, moment: str) -> list[str]:
    """The numbers of a column are compared, whoever has them."""
    left, right = build(sources, moment), build(known(sources, moment), moment)
    names = sorted({*left.columns} - {"customer_id"})
    return [n for n in names if left.select(n).exceptAll(right.select(n)).count()]


def by_sum(build: Answer, sources: Sources, moment: str) -> list[str]:
    """The sums of the columns are compared, in which two changes can cancel out."""
    left, right = build(sources, moment), build(known(sources, moment), moment)
    names = sorted({*left.columns} - {"customer_id"})
    sums = [f"sum(unix_seconds({n}))" if n == "first_order" else f"sum({n})" for n in names]
    one, other = left.selectExpr(*sums).first(), right.selectExpr(*sums).first()
    return [n for n, a, b in zip(names, one, other, strict=True) if a != b]


def inner_if_as_many(build: Answer, sources: Sources, moment: str) -> list[str]:
    """Two results with as many customers pass for results with the same ones."""
    sizes = {build(rows, moment).count() for rows in (sources, known(sources, moment))}
    return leaks(how="inner" if len(sizes) == 1 else "full")(build, sources, moment)


def only_orders(build: Answer, sources: Sources, moment: str) -> list[str]:
    """The name of one source is written in."""
    return leaks()(build, {"orders": sources["orders"]}, moment)


def a_set(build: Answer, sources: Sources, moment: str) -> set[str]:
    return {*build(sources, moment).columns} - {"customer_id", "orders", "gap_days"}


def the_features(build: Answer, sources: Sources, moment: str) -> DataFrame:
    return build(sources, moment)


def the_arguments_swapped(build: Answer, sources: Sources, moment: str) -> list[str]:
    return build(moment, sources).columns


# 4.3

IN_TIME = "as_of <= cutoff AND created_at <= cutoff"
FRESH = "as_of >= cutoff - INTERVAL {days} DAYS"
USABLE = f"{IN_TIME} AND {FRESH}"


def found(questions: DataFrame, features: DataFrame, when: str, how: str) -> DataFrame:
    known = features.withColumnRenamed("customer_id", "who")
    return questions.join(known, F.expr(f"who = customer_id AND {when}"), how)


def as_of(
    usable: str = USABLE,
    newest: str = "struct(as_of, created_at)",
    how: str = "left",
    row: str = "struct(orders_28, as_of, created_at, spend_cents)",
) -> Answer:
    """Return an answer to 4.3: of the rows that are `usable`, the `newest`."""

    def answer(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
        rows = found(questions, features, usable.format(days=days), how)
        complete = F.expr(f"max_by({row}, {newest})").alias("row")
        return rows.groupBy("customer_id", "cutoff").agg(complete).select("customer_id", "cutoff", "row.*")

    return answer


def each_column_alone(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    """The times are the greatest of all rows that fit, not those of the newest row."""
    rows = found(questions, features, USABLE.format(days=days), "left")
    newest = "struct(as_of, created_at)"
    return rows.groupBy("customer_id", "cutoff").agg(
        F.expr(f"max_by(orders_28, {newest}) AS orders_28"),
        F.max("as_of").alias("as_of"),
        F.max("created_at").alias("created_at"),
        F.expr(f"max_by(spend_cents, {newest}) AS spend_cents"),
    )


def the_key_twice(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    q, f = questions.alias("q"), features.alias("f")
    return q.join(f, F.expr("q.customer_id = f.customer_id AND as_of <= cutoff"), "left")


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


def two_lags(payments: DataFrame) -> DataFrame:
    """Only the two payments before are looked at."""
    device = Window.partitionBy("device_id").orderBy("paid_at")
    for place in (1, 2):
        payments = payments.withColumn(f"at{place}", F.lag("paid_at", place).over(device))
    within = "int(coalesce({0} < paid_at AND {0} >= paid_at - INTERVAL 1 HOUR, false))"
    both = F.expr(f"{within.format('at1')} + {within.format('at2')}").alias("attempts")
    return payments.select("*", both).drop("at1", "at2")


def distinct_amounts(payments: DataFrame) -> DataFrame:
    """The amounts are counted in the place of the payments."""
    order = Window.partitionBy("device_id").orderBy(F.unix_micros("paid_at"))
    amounts = F.collect_set("amount_cents").over(order.rangeBetween(-HOUR, -1))
    return payments.withColumn("attempts", F.size(amounts))


def distinct_times(payments: DataFrame) -> DataFrame:
    """The times are counted in the place of the payments."""
    order = Window.partitionBy("device_id").orderBy(F.unix_micros("paid_at"))
    times = F.collect_set("paid_at").over(order.rangeBetween(-HOUR, -1))
    return payments.withColumn("attempts", F.size(times))


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

OF_CARD = "With card_id, customer_id and 24 hours"
OF_DEVICE = "With device_id, card_id and 2 hours"


def users(
    frame: str = "RANGE BETWEEN {span} PRECEDING AND 1 PRECEDING",
    count: str = "size(array_union(collect_set({who}) OVER w, array_compact(array({who}))))",
    order: str = "unix_micros(paid_at)",
    unit: int = HOUR,
    less: int = 0,
    key: str = "{key}",
    who: str = "{who}",
    without: str = "if({key} IS NULL, 0, {count})",
) -> Answer:
    """Return an answer to 4.5 by a window w."""

    def answer(payments: DataFrame, of: str, whose: str, hours: int) -> DataFrame:
        column, user = key.format(key=of), who.format(who=whose)
        span = frame.format(span=hours * unit - less)
        window = f"(PARTITION BY {column} ORDER BY {order} {span})"
        number = count.format(who=user).replace("OVER w", f"OVER {window}")
        return payments.withColumn("users", F.expr(without.format(key=column, count=number)))

    return answer


def whole_card(payments: DataFrame, key: str, who: str, hours: int) -> DataFrame:
    """All users of the key are counted, whenever they used it."""
    each = payments.groupBy(key).agg(F.countDistinct(who).alias("users"))
    return payments.join(each, key, "left").fillna(0, "users")


def joined_users(payments: DataFrame, key: str, who: str, hours: int) -> DataFrame:
    """A right answer by a join of each payment with those before it."""
    other = payments.selectExpr(f"{key} AS k", f"{who} AS w", "payment_id AS p", "paid_at AS at")
    before = f"k = {key} AND (p = payment_id OR at < paid_at AND at >= paid_at - INTERVAL {hours} HOURS)"
    each = payments.join(other, F.expr(before), "left").groupBy(*payments.columns)
    return each.agg(F.countDistinct("w").alias("users"))


# 4.6

SPAN = "datediff(max(purchased_on), min(purchased_on))"


def rfm(seen: str = "purchased_on <= '{end}'", **columns: str) -> Answer:
    """Return an answer to 4.6; `columns` are those that are computed otherwise."""
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
        "no_order",
        no_order(f"{WITHIN.replace('>=', '>')} AND {KNOWN}"),
        "C2 with the cutoff 2025-09-04 00:00 has no_order_28 1; it should be 0, because "
        "an order at the very moment of the cutoff counts.",
    ),
    (
        "no_order",
        no_order(f"ordered_at BETWEEN cutoff AND cutoff + INTERVAL 28 DAYS AND {KNOWN}"),
        "C3 with the cutoff 2025-09-04 00:00 has no_order_28 0; it should be 1, because "
        "an order exactly 28 days after the cutoff comes too late.",
    ),
    (
        "no_order",
        no_order(f"datediff(ordered_at, cutoff) BETWEEN 0 AND 27 AND {KNOWN}"),
        "C9 with the cutoff 2025-09-04 12:00 has no_order_28 0; it should be 1, because "
        "an order in the morning is before a cutoff at noon.",
    ),
    (
        "no_order",
        no_order(f"ordered_at >= cutoff AND datediff(ordered_at, cutoff) < 28 AND {KNOWN}"),
        "C11 with the cutoff 2025-09-04 12:00 has no_order_28 1; it should be 0, because "
        "from noon to noon, an order on the morning of 2 October lies in the 28 days.",
    ),
    (
        "no_order",
        no_order(f"ordered_at >= cutoff AND {KNOWN}"),
        "C3 with the cutoff 2025-09-04 00:00 has no_order_28 0; it should be 1, because "
        "an order exactly 28 days after the cutoff comes too late.",
    ),
    (
        "no_order",
        no_order(WITHIN),
        "C12 with the cutoff 2025-09-04 00:00 has no_order_28 0; it should be 1, because "
        "the order of 30 September arrived on the 13th of October, after known_at.",
    ),
    (
        "no_order",
        no_order(f"{WITHIN} AND arrived_at < known_at"),
        "C13 with the cutoff 2025-09-04 00:00 has no_order_28 1; it should be 0, because "
        "an order that arrives exactly at known_at counts.",
    ),
    (
        "no_order",
        no_order(f"{WITHIN} AND arrived_at <= cutoff"),
        "C1 with the cutoff 2025-09-04 00:00 has no_order_28 1; it should be 0, because "
        "an order of 10 September lies in the 28 days.",
    ),
    (
        "no_order",
        # What arrived within the 28 days, whenever it was placed
        no_order(f"{KNOWN} AND arrived_at >= cutoff AND ordered_at < cutoff + INTERVAL 28 DAYS"),
        "C5 with the cutoff 2025-09-04 00:00 has no_order_28 0; it should be 1, because "
        "an order before the cutoff does not count.",
    ),
    (
        "no_order",
        no_order(how="inner"),
        "C7 with the cutoff 2025-09-04 00:00 went in and did not come out. "
        "Its no_order_28 should be 1, because there is no order of this customer.",
    ),
    ("no_order", no_order(how="full"), "You return NULL with the cutoff NULL, and that did not go in."),
    (
        "no_order",
        no_order(key=(*KEY, "order_id")),
        "C6 with the cutoff 2025-09-04 00:00 went in once and came out 3 times. "
        "Its no_order_28 should be 0, because there are three orders in the 28 days.",
    ),
    (
        "no_order",
        no_order(label="if(count(who) > 0, 1, 0)"),
        "C1 with the cutoff 2025-09-04 00:00 has no_order_28 1; it should be 0, because "
        "an order of 10 September lies in the 28 days.",
    ),
    (
        "no_order",
        no_order(label="if(count(who) = 0, 1, NULL)"),
        "C1 with the cutoff 2025-09-04 00:00 has no_order_28 NULL; it should be 0, because "
        "an order of 10 September lies in the 28 days.",
    ),
    (
        "no_order",
        by_customer,
        "C8 with the cutoff 2025-09-18 00:00 has no_order_28 0; it should be 1, because "
        "this customer has two cutoffs, and the only order was before this one.",
    ),
    (
        "no_order",
        no_order(label="count(who) = 0"),
        "The column no_order_28 is of the type BOOLEAN; it should be a whole number.",
    ),
    (
        "no_order",
        the_customer_twice,
        "Your rows have the column customer_id more than once. Keep one of them.",
    ),
    (
        "no_order",
        no_order(key=("customer_id", "cutoff")),
        "The column known_at is missing; yours are customer_id, cutoff, no_order_28.",
    ),
    (
        "no_order",
        then(no_order(), lambda frame: frame.withColumn("cutoff", F.to_date("cutoff"))),
        "The column cutoff is of the type DATE; it should be TIMESTAMP.",
    ),
    *(
        (
            "no_order",
            answer,
            "C15 with the cutoff 2025-09-04 00:00 has no_order_28 1; it should be 0, because "
            "of three orders, before, in and after the 28 days, one counts.",
        )
        for answer in (
            one_order(F.max),
            one_order(F.min),
            no_order(within="true", label=f"if(coalesce(bool_and({WITHIN} AND {KNOWN}), false), 0, 1)"),
        )
    ),
    (
        "no_order",
        one_order(F.min, "ordered_at >= cutoff"),
        "C16 with the cutoff 2025-09-04 00:00 has no_order_28 1; it should be 0, because "
        "the order of 20 September arrived too late, that of the 25th in time.",
    ),
    ("no_order", nothing_returned, f"{NO_RETURN} a DataFrame."),
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
    (
        "leaks",
        by_sum,
        "For features of all orders you do not name odd: for C1 it is 1, "
        "and 0 when the future is hidden; for C2 it is the other way round.",
    ),
    (
        "leaks",
        leaks(only=slice(1)),
        "For the two sources purchases and visits you do not name visits: "
        "for C1 it is 3, and 2 when the future is hidden in visits.",
    ),
    (
        "leaks",
        leaks(only=slice(-1, None)),
        "For the two sources purchases and visits you do not name bought: "
        "for C1 it is 3, and 2 when the future is hidden in purchases.",
    ),
    (
        "leaks",
        leaks(hidden="to_date(arrived_at) > to_date(moment)"),
        "For an order whose file arrives five hours after the moment you do not name spend: "
        "for C3 it is 950, and 750 when the file of five o'clock is hidden.",
    ),
    (
        "leaks",
        inner_if_as_many,
        "For one customer who comes and one who goes you do not name spend: "
        "C4 is in the result as long as the future is in sight, C3 when it is hidden.",
    ),
    ("leaks", only_orders, "Your code raised KeyError: 'orders'…"),
    ("leaks", a_set, f"Your function returned {{'spend'}}. It should return {A_LIST}"),
    ("leaks", the_features, f"Your function returned a DataFrame. It should return {A_LIST}"),
    ("leaks", nothing_returned, f"{NO_RETURN} {A_LIST}"),
    (
        "leaks",
        the_arguments_swapped,
        "Your code raised TypeError: string indices must be integers, not 'str' "
        f"(in your line {the_arguments_swapped.__code__.co_firstlineno + 1}: "
        "return build(moment, sources).columns)",
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
        "out. Its orders_28 should be 3, because this customer asks at two "
        "cutoffs, and for this one the row of 27 October is too late.",
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
        "The column orders_28 is missing; yours are customer_id, cutoff, as_of, created_at, spend_cents.",
    ),
    (
        "as_of",
        then(as_of(), lambda frame: frame.select("customer_id", "cutoff", "orders_28")),
        "The column as_of is missing; yours are customer_id, cutoff, orders_28.",
    ),
    (
        "as_of",
        # The age is counted from the run, not from what it describes
        as_of(f"{IN_TIME} AND {FRESH.replace('as_of', 'created_at')}"),
        "With 14 days, C12 with the cutoff 2025-10-16 00:00 has orders_28 5; it should be NULL, because "
        "its row is of 15 days before, although it was created 13 days before.",
    ),
    (
        "as_of",
        as_of(f"{USABLE} AND orders_28 IS NOT NULL"),
        "With 14 days, C13 with the cutoff 2025-10-16 00:00 has orders_28 6; it should be NULL, because "
        "in the row with the newest as_of it is NULL.",
    ),
    (
        "as_of",
        each_column_alone,
        "With 14 days, C8 with the cutoff 2025-10-16 00:00 has created_at 2025-10-15 05:00; it should be "
        "2025-10-13 05:00, because the newest as_of wins, also over one that was created later.",
    ),
    (
        "as_of",
        the_key_twice,
        "Your rows have the column customer_id more than once. Keep one of them.",
    ),
    (
        "as_of",
        as_of(USABLE.replace("created_at <= cutoff", "to_date(created_at) <= to_date(cutoff)")),
        "With 14 days, C14 with the cutoff 2025-10-16 00:00 has orders_28 6; it should be 3, because "
        "the row of 13 October was written on the day of the cutoff, five hours after it.",
    ),
    (
        "as_of",
        as_of(USABLE.replace("as_of <= cutoff", "to_date(as_of) <= to_date(cutoff)")),
        "With 14 days, C15 with the cutoff 2025-10-16 00:00 has orders_28 8; it should be 4, because "
        "the row of 16 October, nine o'clock, is of after the cutoff.",
    ),
    ("as_of", nothing_returned, f"{NO_RETURN} a DataFrame."),
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
        "P6 (device D2, 2025-10-13 12:30:00.000000) has attempts 12; it should be 0, "
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
        # Two earlier payments of one microsecond pass for one
        distinct_times,
        "P17 (device D5, 2025-10-13 12:10:00.000000) has attempts 1; it should be 2, "
        "because P11 and P12 are two payments, although they are of one microsecond.",
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
    (
        "attempts_before",
        two_lags,
        "P21 (device D8, 2025-10-13 12:30:00.000000) has attempts 2; it should be 3, because "
        "P18, P19 and P20 are in the hour before.",
    ),
    (
        "attempts_before",
        distinct_amounts,
        "P20 (device D8, 2025-10-13 12:20:00.000000) has attempts 1; it should be 2, because "
        "P18 and P19 are two payments, although they have the same amount.",
    ),
    ("attempts_before", nothing_returned, f"{NO_RETURN} a DataFrame."),
    (
        "users",
        users(count="size(collect_set({who}) OVER w)"),
        f"{OF_CARD}, P1 (K1, D1, C1, 2025-10-13 12:00:00.000000) "
        "has users 0; it should be 1, because C1 uses the card now, and nobody has before.",
    ),
    (
        "users",
        users(count="1 + size(collect_set({who}) OVER w)"),
        f"{OF_CARD}, P2 (K1, D1, C1, 2025-10-13 12:20:00.000000) "
        "has users 2; it should be 1, because C1 has used the card before, and is one customer.",
    ),
    (
        "users",
        users(count="1 + count(*) OVER w"),
        f"{OF_CARD}, P2 (K1, D1, C1, 2025-10-13 12:20:00.000000) "
        "has users 2; it should be 1, because C1 has used the card before, and is one customer.",
    ),
    (
        "users",
        users("RANGE BETWEEN {span} PRECEDING AND CURRENT ROW"),
        f"{OF_CARD}, P8 (K2, D4, C4, 2025-10-13 12:00:00.000000) "
        "has users 2; it should be 1, because P9 is of the same microsecond and does not count.",
    ),
    (
        "users",
        users(without="{count}"),
        f"{OF_CARD}, P6 (NULL, D1, C1, 2025-10-13 13:00:00.000000) "
        "has users 1; it should be 0, because the payment has no card.",
    ),
    (
        "users",
        users(without="if({key} IS NULL, NULL, {count})"),
        f"{OF_CARD}, P6 (NULL, D1, C1, 2025-10-13 13:00:00.000000) "
        "has users NULL; it should be 0, because the payment has no card.",
    ),
    (
        "users",
        users(count="size(array_union(collect_set({who}) OVER w, array({who})))"),
        f"{OF_CARD}, P10 (K2, D4, NULL, 2025-10-13 13:00:00.000000) "
        "has users 3; it should be 2, because C4 and C5 have used the card, and NULL is nobody.",
    ),
    (
        "users",
        users(less=1),
        f"{OF_CARD}, P5 (K1, D3, C1, 2025-10-14 14:00:00.000000) "
        "has users 2; it should be 3, because P3, of C2, is exactly 24 hours older and counts; "
        "C3 has used the card too.",
    ),
    (
        "users",
        users(order="unix_timestamp(paid_at)", unit=3600),
        f"{OF_CARD}, P4 (K1, D2, C3, 2025-10-13 14:00:00.000001) "
        "has users 2; it should be 3, because "
        "C1 and, a microsecond ago, C2 have used the card, and C3 uses it now.",
    ),
    (
        "users",
        users(f"RANGE BETWEEN {24 * HOUR} PRECEDING AND 1 PRECEDING"),
        f"{OF_DEVICE}, P13 (K5, D1, C1, 2025-10-13 14:30:00.000000) "
        "has users 3; it should be 2, because K4 was used before, and K5 is used now; "
        "K1 was used more than two hours ago.",
    ),
    (
        "users",
        users(key="card_id"),
        f"{OF_DEVICE}, P6 (NULL, D1, C1, 2025-10-13 13:00:00.000000) "
        "has users 0; it should be 1, because "
        "K1 was used in the two hours before, and this payment has no card.",
    ),
    (
        "users",
        users(who="customer_id"),
        f"{OF_DEVICE}, P4 (K1, D2, C3, 2025-10-13 14:00:00.000001) "
        "has users 2; it should be 1, because K1 was used before, and is one card.",
    ),
    (
        "users",
        whole_card,
        f"{OF_CARD}, P2 (K1, D1, C1, 2025-10-13 12:20:00.000000) "
        "has users 3; it should be 1, because C1 has used the card before, and is one customer.",
    ),
    (
        "users",
        then(users(), lambda frame: frame.where("users > 0")),
        f"{OF_CARD}, P6 (NULL, D1, C1, 2025-10-13 13:00:00.000000) "
        "went in and did not come out. Its users should be 0, because the payment has no card.",
    ),
    (
        "users",
        then(users(), lambda frame: frame.drop("device_id")),
        "The column device_id is missing; yours are payment_id, card_id, customer_id, paid_at, users.",
    ),
    ("users", nothing_returned, f"{NO_RETURN} a DataFrame."),
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
        "has x 3, and it should be 2: C1 bought on two days after the first, "
        "and from the first to the last are 56 days.",
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
        "has t_x 56, and it should be 56 / 7: C1 bought on two days after the first, "
        "and from the first to the last are 56 days.",
    ),
    (
        "rfm",
        # Recency as it is usually meant: how long ago the last purchase was
        rfm(t_x="datediff('{end}', max(purchased_on)) / 7"),
        "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) "
        "has t_x 30, and it should be 56 / 7: C1 bought on two days after the first, "
        "and from the first to the last are 56 days.",
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
        "has T 8, and it should be 266 / 7: C1 bought on two days after the first, "
        "and from the first to the last are 56 days.",
    ),
    (
        "rfm",
        rfm_of_each_purchase,
        "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) "
        "went in once and came out 3 times: C1 bought on two days after the first, "
        "and from the first to the last are 56 days.",
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
    ("no_order", no_order()),
    (
        "no_order",
        then(
            no_order(),
            lambda frame: frame.selectExpr(
                "bigint(no_order_28) AS no_order_28", "known_at", "cutoff", "customer_id"
            ),
        ),
    ),
    ("leaks", leaks()),
    ("leaks", leaks(told=lambda names: tuple(sorted(names)))),
    ("as_of", as_of()),
    (
        "as_of",
        then(
            as_of(),
            lambda frame: frame.selectExpr(
                "spend_cents",
                "bigint(orders_28) AS orders_28",
                "created_at",
                "as_of",
                "cutoff",
                "customer_id",
            ),
        ),
    ),
    ("attempts_before", attempts_before()),
    ("attempts_before", joined_attempts("left", "int(count(at))")),
    ("users", users()),
    ("users", joined_users),
    ("rfm", rfm(x="int(count(DISTINCT purchased_on) - 1)", t_x=f"float({SPAN} / 7)")),
    ("rfm", rfm(T="CAST(datediff('{end}', min(purchased_on)) / 7 AS DECIMAL(12, 8))")),
]
