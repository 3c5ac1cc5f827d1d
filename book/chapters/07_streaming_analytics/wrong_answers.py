"""Answers to the exercises of chapter 07 that are wrong, and what each is told; and others that are right.

`tests/chapters/test_every_chapter.py` says how the rows are read.
"""

import operator
from bisect import bisect_right
from itertools import accumulate

import numpy as np
from delta.tables import DeltaTable
from pyspark.sql import functions as F

NO_RETURN = "Your function returned nothing. Does it end with return? It should return "


def nothing(*given):
    """Do something, and forget to return it."""
    str(given)


# 7.1


def drops(newest=lambda latest, batch: max([latest, *batch]), late=operator.le, back=2):
    """Return an answer to 7.1; without arguments it is right.

    `newest` is the latest time after a batch; `late` compares a time with the watermark, which is that of
    `back` batches before.
    """

    def answer(batches, delay):
        latest, count = [float("-inf")] * 2, 0
        for batch in batches:
            count += sum(late(time, latest[-back] - delay) for time in batch)
            latest.append(newest(latest[-1], batch))
        return count

    return answer


def not_a_list(latest, batch):
    return max(latest, *batch)


def by_position(batches, delay):
    tops = (max(batch, default=float("-inf")) for batch in batches)
    latest = [float("-inf")] * 2 + list(accumulate(tops, max))
    pairs = zip(latest, batches, strict=False)
    return sum(bisect_right(sorted(batch), mark - delay) for mark, batch in pairs)


# 7.2

REFUSED = "status = 'declined'"


def windows(when, *slide, count="count(*)", name="declined"):
    """Return an answer to 7.2: a count of the payments `when`, in windows of ten minutes."""
    return lambda payments: (
        payments.where(when).groupBy(F.window("paid_at", "10 minutes", *slide)).agg(F.expr(count).alias(name))
    )


# 7.3

MISSING = "payment_id IS NULL OR paid_at IS NULL OR received_at IS NULL"
UNREADABLE, DEVICE = (MISSING, "unreadable"), ("device_id IS NULL", "no_device")
AMOUNT = ("coalesce(amount_cents, 0) <= 0", "no_amount")
AFTER = ("paid_at > received_at + INTERVAL 5 MINUTES", "future")
BEFORE = ("paid_at < received_at - INTERVAL 7 DAYS", "old")


def reasons(*cases):
    """Return an answer to 7.3: a CASE with these conditions and their reasons, in this order."""
    sql = " ".join(f"WHEN {condition} THEN '{name}'" for condition, name in cases)
    return lambda payments: payments.withColumn("reason", F.expr(f"CASE {sql} END"))


def only_good(payments):
    return payments.where(f"NOT ({MISSING})").withColumn("reason", F.expr("string(NULL)"))


def one_after_the_other(payments):
    why = F.when(F.expr(MISSING), "unreadable")
    for condition, name in (DEVICE, AMOUNT, AFTER, BEFORE):
        why = why.when(F.expr(condition), name)
    return payments.select(why.alias("reason"), "*")


# 7.4


def merged(best, update):
    """Return an answer to 7.4: merge `best` of the alerts, and update where the condition holds."""

    def answer(alerts, table):
        target = DeltaTable.forName(alerts.sparkSession, table).alias("t")
        merge = target.merge(best(alerts).alias("s"), "t.payment_id = s.payment_id")
        merge.whenMatchedUpdateAll(update).whenNotMatchedInsertAll().execute()

    return answer


def written(mode):
    return lambda alerts, table: alerts.write.mode(mode).saveAsTable(table)


def torn(alerts):
    best = (F.max(column).alias(column) for column in ("score", "rule"))
    return alerts.groupBy("payment_id").agg(*best)


def best_alert(alerts):
    best = F.max_by(F.struct("rule", "score", "payment_id"), "score").alias("best")
    return alerts.groupBy(F.col("payment_id").alias("one")).agg(best).select("best.*")


def read_and_written_anew(alerts, table):
    """Do without a MERGE, and write the columns in another order."""
    held = alerts.sparkSession.table(table)
    rows = best_alert(held.unionByName(alerts)).collect()
    schema = "rule STRING, score DOUBLE, payment_id STRING"
    alerts.sparkSession.createDataFrame(rows, schema).select("payment_id", "score", "rule").write.mode(
        "overwrite"
    ).saveAsTable(table)


# 7.5


def silent(order=lambda minutes: sorted(set(minutes)), late=operator.gt, last=(None,), begins=None):
    """Return an answer to 7.5; without arguments it is right.

    `order` makes the readings moments, `late` compares their distance with the limit, `last` is what follows
    the last one, and a silence `begins` so many minutes after a reading.
    """

    def answer(minutes, limit, end):
        moments = order(minutes)
        return [
            (reading + (begins or limit), back)
            for reading, back in zip(moments, [*moments[1:], *last], strict=False)
            if late((end if back is None else back) - reading, limit)
        ]

    return answer


def backwards(minutes, limit, end):
    found, back = [], None
    for minute in sorted(minutes, reverse=True):
        if (end if back is None else back) > minute + limit:
            found.insert(0, (minute + limit, back))
        back = minute
    return found


WRONG = [
    (
        "dropped",
        drops(back=1),
        "For a time that is late in the second batch, [[100], [10]] with a delay of 20, 0 are dropped; "
        "you say 1.",
    ),
    (
        "dropped",
        drops(late=operator.lt),
        "For a time that is exactly the watermark, [[100], [101], [80], [130]] with a delay of 20, 1 are "
        "dropped; you say 0.",
    ),
    (
        "dropped",
        drops(lambda latest, batch: max(batch, default=latest)),
        "For a latest time that comes early and is not reached again, [[100], [50, 90], [60], [75]] "
        "with a delay of 20, 2 are dropped; you say 1.",
    ),
    ("dropped", drops(lambda latest, batch: max(latest, max(batch))), "Your code raised ValueError: …"),
    (
        "dropped",
        drops(not_a_list),
        "Your code raised TypeError: 'int' object is not iterable (in your line "
        f"{not_a_list.__code__.co_firstlineno + 1}: return max(latest, *batch))",
    ),
    ("dropped", nothing, NO_RETURN + "a whole number."),
    (
        "declined",
        windows("true"),
        "For three payments in one window there should be 10:00 with 2; you return 10:00 with 3.",
    ),
    (
        "declined",
        windows("true", count=f"count_if({REFUSED})"),
        "For a window with authorised payments only there should be no window; you return 10:20 with 0.",
    ),
    (
        "declined",
        windows(REFUSED, "5 minutes"),
        "For three payments in one window there should be 10:00 with 2; you return 09:55 with 1, "
        "10:00 with 2, 10:05 with 1.",
    ),
    ("declined", windows(REFUSED, name="count"), "The column declined is missing; yours are window, count."),
    ("declined", nothing, NO_RETURN + "a DataFrame."),
    (
        "reason",
        reasons(UNREADABLE, DEVICE, ("amount_cents <= 0", "no_amount"), AFTER, BEFORE),
        "For a payment without an amount the reason is no_amount; yours is NULL.",
    ),
    (
        "reason",
        reasons(UNREADABLE, DEVICE, ("coalesce(amount_cents, 0) < 0", "no_amount"), AFTER, BEFORE),
        "For a payment of 0 the reason is no_amount; yours is NULL.",
    ),
    (
        "reason",
        reasons(UNREADABLE, AMOUNT, DEVICE, AFTER, BEFORE),
        "For a payment without a device and without an amount the reason is no_device; yours is no_amount.",
    ),
    (
        "reason",
        reasons(UNREADABLE, DEVICE, AMOUNT, ("paid_at > received_at", "future"), BEFORE),
        "For a payment made five minutes after it arrived the reason is NULL; yours is future.",
    ),
    (
        "reason",
        reasons(UNREADABLE, DEVICE, AMOUNT, AFTER),
        "For a payment made eight days before it arrived the reason is old; yours is NULL.",
    ),
    ("reason", only_good, "You have no row for a payment without a time. Keep them all."),
    ("reason", nothing, NO_RETURN + "a DataFrame."),
    (
        "keep_alerts",
        written("append"),
        "P1 had the score 0.5, and an alert with 0.7 came. Afterwards "
        "P1 is in the table 2 times. Keep it once.",
    ),
    (
        "keep_alerts",
        merged(lambda alerts: alerts, update=None),
        "P2 had the score 0.9, and an alert with 0.1 came. Afterwards "
        "P2 should have the score 0.9 and the rule travel; yours has 0.1 and NULL.",
    ),
    (
        "keep_alerts",
        merged(lambda alerts: alerts.dropDuplicates(["payment_id"]), update="false"),
        "P1 had the score 0.5, and an alert with 0.7 came. Afterwards "
        "P1 should have the score 0.7 and the rule attempts; yours has 0.5 and NULL.",
    ),
    (
        "keep_alerts",
        merged(torn, update="s.score > t.score"),
        "P4 was new, and stood in the alerts twice, with 0.2 and 0.6. Afterwards "
        "P4 should have the score 0.6 and the rule NULL; yours has 0.6 and travel.",
    ),
    (
        "keep_alerts",
        written("overwrite"),
        "P2 had the score 0.9, and an alert with 0.1 came. Afterwards "
        "P2 should have the score 0.9 and the rule travel; yours has 0.1 and NULL.",
    ),
    (
        "keep_alerts",
        lambda alerts, table: 1,
        "P1 had the score 0.5, and an alert with 0.7 came. Afterwards "
        "P1 should have the score 0.7 and the rule attempts; yours has 0.5 and NULL.",
    ),
    (
        "silences",
        silent(order=list),
        "For readings that come in another order, [600, 0, 120] with the limit 360 and the end 700, the "
        "silences are [(480, 600)]; yours are [(480, None)].",
    ),
    (
        "silences",
        silent(last=()),
        "For a locker that does not come back, [0, 100] with the limit 360 and the end 1000, the "
        "silences are [(460, None)]; yours are [].",
    ),
    (
        "silences",
        silent(late=operator.ge),
        "For a gap of exactly the limit, [0, 360] with the limit 360 and the end 400, the silences are []; "
        "yours are [(360, 360)].",
    ),
    (
        "silences",
        silent(begins=1),
        "For a gap of more than the limit, [0, 361] with the limit 360 and the end 400, the silences are "
        "[(360, 361)]; yours are [(1, 361)].",
    ),
    ("silences", nothing, NO_RETURN + "a list of pairs."),
]

RIGHT = [
    ("dropped", by_position),
    ("dropped", lambda *given: np.int64(drops()(*given))),
    ("declined", windows(REFUSED, count="count(payment_id)")),
    ("declined", windows(REFUSED, count="int(count_if(status > ''))")),
    ("reason", one_after_the_other),
    ("reason", lambda payments: one_after_the_other(payments).select("payment_id", "reason")),
    ("keep_alerts", merged(best_alert, update="s.score > t.score")),
    ("keep_alerts", read_and_written_anew),
    ("silences", backwards),
    ("silences", lambda *given: np.array(silent()(*given)).tolist()),
    ("silences", lambda *given: tuple(map(list, silent()(*given)))),
]
