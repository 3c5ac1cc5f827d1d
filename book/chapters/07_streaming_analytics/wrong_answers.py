"""Answers to the exercises of chapter 07 that are wrong, and what each is told; and others that are right.

`tests/chapters/test_every_chapter.py` says how the rows are read.
"""

import operator
from bisect import bisect_right
from itertools import accumulate, chain

import numpy as np
from delta.tables import DeltaTable
from pyspark.sql import functions as F

NO_RETURN = "Your function returned nothing. Does it end with return? It should return "


def nothing(*given):
    """Do something, and forget to return it."""
    str(given)


# 7.1


def drops(
    newest=lambda latest, batch: max([latest, *batch]), late=operator.le, back=2, count_of=sum, first=-np.inf
):
    """Return an answer to 7.1; without arguments it is right.

    `newest` is the latest time after a batch; `late` compares a time with the watermark, which is that of
    `back` batches before, or `first`; `count_of` counts the late ones of a batch.
    """

    def answer(batches, delay):
        latest, count = [first] * 2, 0
        for batch in batches:
            count += count_of(late(time, latest[-back] - delay) for time in batch)
            latest.append(newest(latest[-1], batch))
        return count

    return answer


def not_a_list(latest, batch):
    return max(latest, *batch)


def different_ones(batches, delay):
    """Count the different late times of a batch."""
    return drops()([set(batch) for batch in batches], delay)


def by_slices(batches, delay):
    """Ask for each batch how late its times are after all but the one before it."""
    return sum(
        time + delay <= max(chain.from_iterable(batches[: place - 1]), default=-np.inf)
        for place, batch in enumerate(batches)
        if place
        for time in batch
    )


def by_position(batches, delay):
    tops = (max(batch, default=float("-inf")) for batch in batches)
    latest = [float("-inf")] * 2 + list(accumulate(tops, max))
    pairs = zip(latest, batches, strict=False)
    return sum(bisect_right(sorted(batch), mark - delay) for mark, batch in pairs)


# 7.2


def merged(matched="s.clicks", when=None, how="t.hour = s.hour", new=True):
    """Return an answer to 7.2: a MERGE that sets the total of an hour to `matched`, on a condition `when`."""

    def answer(counts, table):
        target = DeltaTable.forName(counts.sparkSession, table).alias("t")
        merge = target.merge(counts.alias("s"), how)
        if matched:
            merge = merge.whenMatchedUpdate(when, {"clicks": matched})
        if new:
            merge = merge.whenNotMatchedInsertAll()
        merge.execute()

    return answer


def written(mode):
    return lambda counts, table: counts.write.mode(mode).saveAsTable(table)


def deletes_the_others(counts, table):
    target = DeltaTable.forName(counts.sparkSession, table).alias("t")
    merge = target.merge(counts.alias("s"), "t.hour = s.hour").whenMatchedUpdateAll()
    merge.whenNotMatchedInsertAll().whenNotMatchedBySourceDelete().execute()


def adds_once(counts, table):
    """Delete the old totals of what comes and append the new ones, by a comparison of totals."""
    held = counts.sparkSession.table(table).alias("t")
    for row in held.join(counts.alias("s"), "hour").where("t.clicks <> s.clicks").collect():
        counts.sparkSession.sql(f"DELETE FROM {table} WHERE hour = timestamp'{row['hour']}'")
    counts.write.mode("append").saveAsTable(table)


def replaces_the_span(counts, table):
    """Overwrite all hours from the first that comes to the last."""
    first, last = counts.agg(F.min("hour"), F.max("hour")).first()
    span = f"hour BETWEEN timestamp'{first}' AND timestamp'{last}'"
    counts.write.mode("overwrite").option("replaceWhere", span).saveAsTable(table)


def replaces_the_hours(counts, table):
    """Overwrite the hours that come, and no other."""
    hours = ", ".join(f"timestamp'{row['hour']}'" for row in counts.collect())
    counts.write.mode("overwrite").option("replaceWhere", f"hour IN ({hours})").saveAsTable(table)


def deletes_and_appends(counts, table):
    """Write the right totals in two commits."""
    hours = ", ".join(f"timestamp'{row['hour']}'" for row in counts.collect())
    counts.sparkSession.sql(f"DELETE FROM {table} WHERE hour IN ({hours})")
    counts.write.mode("append").saveAsTable(table)


def view_of_the_notebook(lesson):
    """Merge in SQL, and look for the view in the notebook's session."""

    def answer(counts, table):
        counts.createOrReplaceTempView("counts_of_now")
        lesson.spark.sql(f"""
            MERGE INTO {table} AS t USING counts_of_now AS s ON t.hour = s.hour
            WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *
        """)

    return answer


def in_sql(counts, table):
    counts.createOrReplaceTempView("counts_of_now")
    counts.sparkSession.sql(f"""
        MERGE INTO {table} AS t USING counts_of_now AS s ON t.hour = s.hour
        WHEN MATCHED AND t.clicks <> s.clicks THEN UPDATE SET t.clicks = s.clicks
        WHEN NOT MATCHED THEN INSERT (clicks, hour) VALUES (s.clicks, s.hour)
    """)


def read_and_written_anew(counts, table):
    """Do without a MERGE: the other hours as they were, and the new totals, written over the table."""
    held = counts.sparkSession.table(table)
    rows = held.join(counts, "hour", "left_anti").unionByName(counts).collect()
    anew = counts.sparkSession.createDataFrame(rows, "hour TIMESTAMP, clicks BIGINT")
    anew.write.mode("overwrite").saveAsTable(table)


# 7.3

REFUSED = "status = 'declined'"


def windows(when, *slide, count="count(*)", name="declined"):
    """Return an answer to 7.3: a count of the payments `when`, in windows of ten minutes."""
    return lambda payments: (
        payments.where(when).groupBy(F.window("paid_at", "10 minutes", *slide)).agg(F.expr(count).alias(name))
    )


def collected(payments):
    rows = payments.where(REFUSED).collect()
    again = payments.sparkSession.createDataFrame(rows, payments.schema)
    return windows("true")(again)


def by_text(payments):
    minutes = F.date_format(F.window("paid_at", "10 minutes")["start"], "HH:mm").alias("window")
    return payments.where(REFUSED).groupBy(minutes).agg(F.count("*").alias("declined"))


# 7.4

MISSING = "payment_id IS NULL OR paid_at IS NULL OR received_at IS NULL"
UNREADABLE, DEVICE = (MISSING, "unreadable"), ("device_id IS NULL", "no_device")
AMOUNT = ("coalesce(amount_cents, 0) <= 0", "no_amount")
AFTER = ("paid_at > received_at + INTERVAL 5 MINUTES", "future")
BEFORE = ("paid_at < received_at - INTERVAL 7 DAYS", "old")


def reasons(*cases):
    """Return an answer to 7.4: a CASE with these conditions and their reasons, in this order."""
    sql = " ".join(f"WHEN {condition} THEN '{name}'" for condition, name in cases)
    return lambda payments: payments.withColumn("reason", F.expr(f"CASE {sql} END"))


RIGHT_ORDER = (UNREADABLE, DEVICE, AMOUNT, AFTER, BEFORE)
RIGHT_REASON = reasons(*RIGHT_ORDER)


def only_good(payments):
    return payments.where(f"NOT ({MISSING})").withColumn("reason", F.expr("string(NULL)"))


def numbered(payments):
    """Keep one row of each id by a window, which no stream can."""
    one = payments.withColumn("n", F.expr("row_number() OVER (PARTITION BY payment_id ORDER BY paid_at)"))
    return RIGHT_REASON(one.where("n = 1").drop("n"))


def counted_over_a_window(payments):
    """Keep all rows, and count those of an id by a window, which no stream can."""
    return RIGHT_REASON(payments.withColumn("n", F.expr("count(*) OVER (PARTITION BY payment_id)")))


def first_of_all(payments):
    """Coalesce the reasons, each NULL when it does not apply."""
    each = [f"CASE WHEN {condition} THEN '{name}' END" for condition, name in RIGHT_ORDER]
    return payments.withColumn("reason", F.expr(f"coalesce({', '.join(each)})"))


def one_after_the_other(payments):
    why = F.when(F.expr(MISSING), "unreadable")
    for condition, name in (DEVICE, AMOUNT, AFTER, BEFORE):
        why = why.when(F.expr(condition), name)
    return payments.select(why.alias("reason"), "*")


# 7.5


def bursts(near=lambda time, at, span: abs(time - at) < span, apart=operator.lt, known=True, mark=True):
    """Return an answer to 7.5; without arguments it is right.

    `near` says which attempts are near, and `apart` compares the first and the last of three with the span.
    Without `known` a burst is reported at each of its attempts; without `mark` only the new one counts as
    reported.
    """

    def answer(seen, at, span):
        close = [(time, told) for time, told in seen if near(time, at, span)]
        times = sorted([at, *(time for time, _ in close)])
        third = any(apart(last - first, span) for first, last in zip(times, times[2:], strict=False))
        old = known and any(told for _, told in close)
        burst = old or third
        marked = [(time, told or (mark and burst and near(time, at, span))) for time, told in seen]
        return [*marked, (at, burst)], third and not old

    return answer


def earlier_only(time, at, span):
    return 0 <= at - time < span


def counted(seen, at, span):
    """Count the near ones, without asking whether three of them are close together."""
    close = [time for time, _ in seen if abs(time - at) < span]
    old = any(told for time, told in seen if time in close)
    burst = old or len(close) >= 2
    return [(t, told or (burst and t in close)) for t, told in seen] + [(at, burst)], burst and not old


def exactly_three(seen, at, span):
    """Report whenever three attempts are remembered, as the sum of the last ten minutes slides on."""
    close = [(time, told) for time, told in seen if 0 <= at - time < span]
    third = len(close) == 2
    return [(t, told or (third and (t, told) in close)) for t, told in seen] + [(at, third)], third


def first_to_last(seen, at, span):
    """Compare the first and the last of all near ones, where three of them are enough."""
    times = [at, *(time for time, _ in seen if abs(time - at) < span)]
    old = any(told for time, told in seen if time in times)
    burst = old or (len(times) > 2 and max(times) - min(times) < span)
    return [(t, told or (burst and t in times)) for t, told in seen] + [(at, burst)], burst and not old


def only_the_three(seen, at, span):
    """Mark the three attempts that made a burst, and no other near one."""
    marked, report = bursts()(seen, at, span)
    times = sorted(time for time, _ in marked if abs(time - at) < span)
    if report:
        three = next((a, c) for a, c in zip(times, times[2:], strict=False) if c - a < span)
        before = [told for _, told in seen] + [False]
        marked = [(t, told or three[0] <= t <= three[1]) for (t, _), told in zip(marked, before, strict=True)]
    return marked, report


def all_of_the_list(seen, at, span):
    marked, report = bursts()(seen, at, span)
    return [(time, told or report) for time, told in marked], report


def in_place(seen, at, span):
    """Change the list that is given, with 1 and 0 for True and False."""
    near = [n for n, (time, _) in enumerate(seen) if abs(time - at) < span]
    known = any(seen[n][1] for n in near)
    times = sorted([at, *(seen[n][0] for n in near)])
    third = any(times[n + 2] - times[n] < span for n in range(len(times) - 2))
    if known or third:
        for n in near:
            seen[n] = (seen[n][0], 1)
    seen.append((at, int(known or third)))
    return seen, int(third and not known)


def sorted_list(seen, at, span):
    marked, report = bursts()(seen, at, span)
    return sorted(marked), report


def forgets_the_old(seen, at, span):
    marked, report = bursts()(seen, at, span)
    return [(time, told) for time, told in marked if abs(time - at) < span], report


def as_arrays(seen, at, span):
    marked, report = bursts()(seen, at, span)
    return [np.array([[time, told] for time, told in marked]), np.bool_(report)]


# 7.6


def silent(order=lambda minutes: sorted(set(minutes)), late=operator.gt, last=(None,), begins=None):
    """Return an answer to 7.6; without arguments it is right.

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


def counts_up_to_the_end(minutes, limit, end):
    """Count a gap only as far as `end`."""
    pairs = silent(late=lambda gap, limit: True)(minutes, limit, end)
    return [(told, back) for told, back in pairs if min(end, back or end) > told]


def before_the_first(minutes, limit, end):
    """Let a locker whose first reading comes late be silent from minute 0."""
    early = [(limit, min(minutes))] if min(minutes, default=0) > limit else []
    return early + silent()(minutes, limit, end)


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
    (
        "dropped",
        drops(lambda latest, batch: batch[-1] if batch and batch[-1] > latest else latest),
        "For a batch whose latest time is not its last, [[200, 100], [100], [150]] with a delay of 20, 1 are "
        "dropped; you say 0.",
    ),
    (
        "dropped",
        drops(count_of=any),
        "For a batch with three late times, two of them equal, [[100], [100], [50, 60, 60, 200], [90]] with "
        "a delay of 20, 3 are dropped; you say 1.",
    ),
    (
        "dropped",
        different_ones,
        "For a batch with three late times, two of them equal, [[100], [100], [50, 60, 60, 200], [90]] with "
        "a delay of 20, 3 are dropped; you say 2.",
    ),
    (
        "dropped",
        drops(first=0),
        "For times before minute 0, [[-50], [-40], [-60]] with a delay of 20, 0 are dropped; you say 3.",
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
        "keep_counts",
        written("append"),
        "After the first micro-batch: 17:00 had 9, and its new total 12 came. Afterwards 2025-11-28 17:00 "
        "is in the table 2 times. Keep it once.",
    ),
    (
        "keep_counts",
        written("overwrite"),
        "After the first micro-batch: 16:00 had 7 and did not change. Afterwards 2025-11-28 16:00 is not "
        "in the table.",
    ),
    (
        "keep_counts",
        deletes_the_others,
        "After the first micro-batch: 16:00 had 7 and did not change. Afterwards 2025-11-28 16:00 is not "
        "in the table.",
    ),
    (
        "keep_counts",
        merged("t.clicks + s.clicks"),
        "After the first micro-batch: 17:00 had 9, and its new total 12 came. Afterwards 2025-11-28 17:00 "
        "should have 12 clicks; yours has 21.",
    ),
    (
        "keep_counts",
        merged(matched=None),
        "After the first micro-batch: 17:00 had 9, and its new total 12 came. Afterwards 2025-11-28 17:00 "
        "should have 12 clicks; yours has 9.",
    ),
    (
        "keep_counts",
        merged(new=False),
        "After the first micro-batch: 18:00 was new, with 11. Afterwards 2025-11-28 18:00 is not in the "
        "table.",
    ),
    (
        "keep_counts",
        merged(when="s.clicks > t.clicks"),
        "After the first micro-batch: 15:00 had 5, and its new total 4 came. Afterwards 2025-11-28 15:00 "
        "should have 4 clicks; yours has 5.",
    ),
    (
        "keep_counts",
        replaces_the_span,
        "After the first micro-batch: 16:00 had 7 and did not change. Afterwards 2025-11-28 16:00 is not "
        "in the table.",
    ),
    (
        "keep_counts",
        deletes_and_appends,
        "The totals are right, but one micro-batch made 2 commits. Between them a reader sees a table that "
        "is half done, and a crash leaves it so. Write all in one commit.",
    ),
    (
        "keep_counts",
        adds_once,
        "After the same micro-batch again: 17:00 had 12, and 12 came again. Afterwards 2025-11-28 17:00 is "
        "in the table 2 times. Keep it once.",
    ),
    (
        "keep_counts",
        merged(how="t.hour = s.hour AND t.clicks = s.clicks"),
        "After the first micro-batch: 17:00 had 9, and its new total 12 came. Afterwards 2025-11-28 17:00 "
        "is in the table 2 times. Keep it once.",
    ),
    (
        "keep_counts",
        lambda counts, table: 1,
        "After the first micro-batch: 17:00 had 9, and its new total 12 came. Afterwards 2025-11-28 17:00 "
        "should have 12 clicks; yours has 9.",
    ),
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
        "declined",
        windows("status <> 'authorised'"),
        "For a payment with the status refunded, one without a status, and one declined there should be "
        "10:30 with 1; you return 10:30 with 2.",
    ),
    (
        "declined",
        windows("status LIKE 'd%'"),
        "For a payment with the status disputed and one declined there should be 10:30 with 1; you return "
        "10:30 with 2.",
    ),
    (
        "declined",
        lambda payments: windows(REFUSED)(payments.withWatermark("paid_at", "1 hour")),
        "On a table your function is right; on a stream Spark refuses it: Redefining watermark is "
        "disallowed.",
    ),
    (
        "declined",
        windows(REFUSED, count="count(DISTINCT payment_id)"),
        "On a table your function is right; on a stream Spark refuses it: …",
    ),
    (
        "declined",
        lambda payments: windows(REFUSED)(payments).orderBy("window"),
        "On a table your function is right; on a stream Spark refuses it: …",
    ),
    ("declined", collected, "On a table your function is right; on a stream Spark refuses it: …"),
    (
        "declined",
        by_text,
        "The column window is of the type STRING; it should be STRUCT<start:TIMESTAMP,end:TIMESTAMP>.",
    ),
    (
        "declined",
        lambda payments: windows(REFUSED)(
            payments.withColumn("paid_at", F.expr("paid_at + INTERVAL 0 HOURS"))
        ),
        "On a table your function is right; on a stream Spark refuses it: …",
    ),
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
    (
        "reason",
        reasons(UNREADABLE, DEVICE, AMOUNT, BEFORE),
        "For a payment made six minutes after it arrived the reason is future; yours is NULL.",
    ),
    ("reason", only_good, "You have no row for a payment without a time. Keep them all."),
    (
        "reason",
        reasons(("payment_id IS NULL OR paid_at IS NULL", "unreadable"), DEVICE, AMOUNT, AFTER, BEFORE),
        "For a payment without a moment of arrival the reason is unreadable; yours is NULL.",
    ),
    (
        "reason",
        reasons(DEVICE, UNREADABLE, AMOUNT, AFTER, BEFORE),
        "For a payment without a device and without a time the reason is unreadable; yours is no_device.",
    ),
    (
        "reason",
        reasons(UNREADABLE, DEVICE, AFTER, AMOUNT, BEFORE),
        "For a payment of 0 from the year 2099 the reason is no_amount; yours is future.",
    ),
    (
        "reason",
        reasons(
            *(UNREADABLE, DEVICE, AMOUNT),
            ("timestampdiff(MINUTE, received_at, paid_at) > 5", "future"),
            BEFORE,
        ),
        "For a payment made five minutes and a second after it arrived the reason is future; yours is NULL.",
    ),
    (
        "reason",
        reasons(UNREADABLE, DEVICE, AMOUNT, AFTER, ("datediff(received_at, paid_at) > 7", "old")),
        "For a payment made seven days and a second before it arrived the reason is old; yours is NULL.",
    ),
    (
        "reason",
        reasons(UNREADABLE, DEVICE, ("coalesce(amount_cents, 0) <= 1", "no_amount"), AFTER, BEFORE),
        "For a payment of one cent the reason is NULL; yours is no_amount.",
    ),
    (
        "reason",
        lambda payments: one_after_the_other(payments).select("payment_id", "reason"),
        "You return the payments without their column device_id. Keep all columns, and add reason.",
    ),
    (
        "reason",
        reasons(
            *(UNREADABLE, DEVICE, AMOUNT),
            ("abs(timestampdiff(SECOND, received_at, paid_at)) > 7 * 86400", "old"),
            AFTER,
        ),
        "For a payment from the year 2099 the reason is future; yours is old.",
    ),
    (
        "reason",
        lambda payments: RIGHT_REASON(payments.where("status = 'authorised'")),
        "You have no row for a good payment with the status declined. Keep them all.",
    ),
    (
        "reason",
        lambda payments: RIGHT_REASON(payments.dropDuplicates(["payment_id"])),
        "Of a payment that comes twice you keep one row. Keep all rows, and change none.",
    ),
    (
        "reason",
        lambda payments: RIGHT_REASON(payments).distinct(),
        "Of a payment that comes twice you keep one row. Keep all rows, and change none.",
    ),
    (
        "reason",
        numbered,
        "Of a payment that comes twice you keep one row. Keep all rows, and change none.",
    ),
    (
        "reason",
        counted_over_a_window,
        "On a table your function is right; on a stream Spark refuses it: …",
    ),
    ("reason", nothing, NO_RETURN + "a DataFrame."),
    (
        "attempt",
        bursts(near=earlier_only),
        "For a late attempt that completes a burst, attempt([(5, False), (6, False)], 4, 10), there is a "
        "burst to report, and you say False.",
    ),
    (
        "attempt",
        exactly_three,
        "For a late attempt that completes a burst, attempt([(5, False), (6, False)], 4, 10), there is a "
        "burst to report, and you say False.",
    ),
    (
        "attempt",
        bursts(apart=operator.le, near=lambda time, at, span: abs(time - at) <= span),
        "For a third attempt exactly ten minutes after the first, attempt([(0, False), (4, False)], 10, 10), "
        "there is nothing to report, and you say True.",
    ),
    (
        "attempt",
        bursts(known=False),
        "For a fourth attempt of a burst that was reported, attempt([(0, True), (1, True), (2, True)], 9, "
        "10), there is nothing to report, and you say True.",
    ),
    (
        "attempt",
        counted,
        "For three attempts around the new one that are not close together, attempt([(0, False), (18, "
        "False)], 9, 10), there is nothing to report, and you say True.",
    ),
    (
        "attempt",
        bursts(mark=False),
        "For a third attempt within ten minutes, attempt([(0, False), (4, False)], 9, 10), the list should "
        "be [(0, True), (4, True), (9, True)]; yours is [(0, False), (4, False), (9, True)].",
    ),
    (
        "attempt",
        lambda seen, at, span: bursts()(seen, at, 10),
        "For a span of 100, attempt([(0, False), (40, False)], 80, 100), there is a burst to report, and you "
        "say False.",
    ),
    (
        "attempt",
        all_of_the_list,
        "For a burst long after a lonely attempt, attempt([(0, False), (30, False), (31, False)], 32, 10), "
        "the list should be [(0, False), (30, True), (31, True), (32, True)]; yours is [(0, True), (30, "
        "True), (31, True), (32, True)].",
    ),
    (
        "attempt",
        first_to_last,
        "For three close attempts and one more that is near, attempt([(1, False), (11, False), (12, False)], "
        "10, 10), there is a burst to report, and you say False.",
    ),
    (
        "attempt",
        only_the_three,
        "For three close attempts and one more that is near, attempt([(1, False), (11, False), (12, False)], "
        "10, 10), the list should be [(1, True), (11, True), (12, True), (10, True)]; yours is [(1, False), "
        "(11, True), (12, True), (10, True)].",
    ),
    (
        "attempt",
        bursts(near=lambda time, at, span: abs(time - at) <= span),
        "For an attempt exactly ten minutes after the last of a burst, attempt([(0, True), (1, True), (2, "
        "True)], 12, 10), the list should be [(0, True), (1, True), (2, True), (12, False)]; yours is [(0, "
        "True), (1, True), (2, True), (12, True)].",
    ),
    (
        "attempt",
        sorted_list,
        "For a late attempt that completes a burst, attempt([(5, False), (6, False)], 4, 10), the list "
        "should be [(5, True), (6, True), (4, True)]; yours is [(4, True), (5, True), (6, True)].",
    ),
    (
        "attempt",
        forgets_the_old,
        "For a third attempt exactly ten minutes after the first, attempt([(0, False), (4, False)], 10, 10), "
        "the list should be [(0, False), (4, False), (10, False)]; yours is [(4, False), (10, False)].",
    ),
    (
        "attempt",
        lambda *given: bursts()(*given)[1],
        "Your function returned False. It should return a pair of a list and True or False.",
    ),
    ("attempt", nothing, NO_RETURN + "a pair of a list and True or False."),
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
    (
        "silences",
        lambda minutes, limit, end: silent()([minute for minute in minutes if minute <= end], limit, end),
        "For a reading after the end, [0, 500] with the limit 360 and the end 400, the silences are "
        "[(360, 500)]; yours are [(360, None)].",
    ),
    (
        "silences",
        lambda minutes, limit, end: [pair for pair in silent()(minutes, limit, end) if pair[1]],
        "For a locker that does not come back, [0, 100] with the limit 360 and the end 1000, the silences "
        "are [(460, None)]; yours are [].",
    ),
    (
        "silences",
        lambda minutes, limit, end: [(a - limit, b) for a, b in silent()(minutes, limit, end)],
        "For a gap of more than the limit, [0, 361] with the limit 360 and the end 400, the silences are "
        "[(360, 361)]; yours are [(0, 361)].",
    ),
    (
        "silences",
        lambda minutes, limit, end: [pair for pair in silent()(minutes, limit, end) if pair[0] <= end],
        "For a silence that is noticed after the end, [0, 500] with the limit 360 and the end 300, the "
        "silences are [(360, 500)]; yours are [].",
    ),
    (
        "silences",
        counts_up_to_the_end,
        "For a silence that is noticed after the end, [0, 500] with the limit 360 and the end 300, the "
        "silences are [(360, 500)]; yours are [].",
    ),
    (
        "silences",
        lambda minutes, limit, end: silent()(minutes, 360, end),
        "For a limit of 100, [0, 150] with the limit 100 and the end 160, the silences are [(100, 150)]; "
        "yours are [].",
    ),
    (
        "silences",
        before_the_first,
        "For the time before the first reading, [1000] with the limit 360 and the end 1100, the silences are "
        "[]; yours are [(360, 1000)].",
    ),
    ("silences", nothing, NO_RETURN + "a list of pairs."),
]

MADE = [
    (
        "keep_counts",
        view_of_the_notebook,
        "TABLE_OR_VIEW_NOT_FOUND: a stream hands the counts over in a session of its own. Their views are in "
        "counts.sparkSession, not in spark.",
    ),
]

RIGHT = [
    ("dropped", by_position),
    ("dropped", lambda *given: np.int64(drops()(*given))),
    ("dropped", by_slices),
    ("keep_counts", merged()),
    ("keep_counts", in_sql),
    ("keep_counts", read_and_written_anew),
    ("keep_counts", replaces_the_hours),
    ("declined", windows(REFUSED, count="count(payment_id)")),
    ("declined", windows("status <=> 'declined'", count="int(count_if(true))")),
    ("reason", one_after_the_other),
    ("reason", first_of_all),
    ("reason", lambda payments: reasons(UNREADABLE, DEVICE, AMOUNT, AFTER, BEFORE)(payments.select("*"))),
    ("attempt", bursts()),
    ("attempt", lambda *given: list(bursts()(*given))),
    ("attempt", as_arrays),
    ("attempt", in_place),
    ("silences", backwards),
    ("silences", lambda *given: np.array(silent()(*given)).tolist()),
    ("silences", lambda *given: tuple(map(list, silent()(*given)))),
]
