"""The checks of chapter 07. Three of them build small frames; none reads the lakehouse."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict
from medallion.lesson.frames import (
    ANY,
    Case,
    FrameExercise,
    arrow_of,
    frame_of,
    misshapen,
    scratch_table,
    session,
)


class Dropped(FunctionExercise):
    """Exercise 7.1. A batch drops by the watermark with which the batch before it was run."""

    number = "7.1"
    title = "count the late rows that are dropped"
    takes = "a function of a list of lists of numbers and a delay in minutes"
    hints = (
        "Keep the latest time after each batch in a list. Which entry of it does the next batch drop by, "
        "and which is for the one after?",
        "For batch number k the watermark is the latest time of the batches 0 to k - 2, minus delay. For the "
        "first two there is none: minus infinity does as well.",
        "latest = [-inf, -inf]; for each batch count time <= latest[-2] - delay, then "
        "latest.append(max([latest[-1], *batch])).",
    )
    # What the case is about; batches, delay, and how many are dropped
    cases = (
        ("batches in order", [[1, 2], [3, 4], [5, 6]], 0, 0),
        ("a time that is late in the second batch", [[100], [10]], 20, 0),
        ("a time that is late in the third batch", [[100], [110], [10, 120]], 20, 1),
        ("a batch right after a jump to 1000", [[100], [1000], [110], [120]], 20, 1),
        ("a time that is exactly the watermark", [[100], [101], [80], [130]], 20, 1),
        ("a time one minute after the watermark", [[100], [101], [81], [130]], 20, 0),
        ("a latest time that comes early and is not reached again", [[100], [50, 90], [60], [75]], 20, 2),
        ("an empty batch", [[100], [], [70], [99]], 20, 1),
        ("no batch at all", [], 20, 0),
    )

    returns = "a whole number"
    kind = int
    other = "For {about}, {given[0]} with a delay of {given[1]}, {expected} are dropped; you say {found}."
    praise = "Each batch drops by the watermark of the batch before it."


class Declined(Exercise):
    """Exercise 7.2. Declined payments in windows of ten minutes, on a frame or on a stream."""

    number = "7.2"
    title = "count declined payments per window"
    takes = "a function of a DataFrame"
    hints = (
        "Which rows count? Leave the others out before you group.",
        'F.window("paid_at", "10 minutes") is a column to group by, and its name is window.',
        'payments.where("status = \'declined\'").groupBy(F.window("paid_at", "10 minutes"))'
        '.agg(F.count("*").alias("declined"))',
    )
    # What the case is about; the moments after ten and the states of its payments; declined by window.
    # Each case has a day of its own, so all of them are one frame.
    cases: ClassVar = (
        (
            "three payments in one window",
            [("10:01:00", "declined"), ("10:05:00", "authorised"), ("10:09:59", "declined")],
            {"10:00": 2},
        ),
        (
            "a payment exactly at the end of a window",
            [("10:09:00", "declined"), ("10:10:00", "declined")],
            {"10:00": 1, "10:10": 1},
        ),
        ("a window with authorised payments only", [("10:21:00", "authorised")], {}),
    )
    praise = "Each window has its declined payments, and the others are not there."

    def check(self, declined: Callable[..., Any]) -> Verdict:
        rows = [
            (f"P{day}{n}", status, f"2025-11-{day} {at}")
            for day, (_, payments, _) in enumerate(self.cases, start=20)
            for n, (at, status) in enumerate(payments)
        ]
        payments = frame_of(rows, "payment_id STRING, status STRING, paid_at TIMESTAMP")
        answer = declined(payments.coalesce(1))
        if wrong := misshapen(answer, {"window": ANY, "declined": ANY}):
            return self.wrong(wrong)
        found: dict[int, list[tuple[str, Any]]] = {}
        for row in answer.collect():
            begins = row["window"]["start"]
            found.setdefault(begins.day, []).append((f"{begins:%H:%M}", row["declined"]))
        for day, (about, _, expected) in enumerate(self.cases, start=20):
            if wrong := self.wrong_on(sorted(found.get(day, [])), about, expected):
                return self.wrong(wrong)
        return self.right(self.praise)

    def wrong_on(self, found: list[tuple[str, Any]], about: str, expected: dict[str, int]) -> str | None:
        """Say what is wrong with the windows of one case, or None."""
        if len(found) > len(dict(found)):
            return f"For {about} a window is there more than once: {_listed(found)}."
        if dict(found) != expected:
            return f"For {about} there should be {_listed(expected.items())}; you return {_listed(found)}."
        return None


def _listed(windows: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{begins} with {count}" for begins, count in windows) or "no window"


class Reason(FrameExercise):
    """Exercise 7.3. The first thing that is wrong with a payment, and NULL for a good one; no row is lost."""

    number = "7.3"
    title = "give each bad payment its reason"
    takes = "a function of a DataFrame"
    hints = (
        "The first reason that applies: a CASE goes through its conditions in this order.",
        "A comparison with NULL is NULL, and CASE passes over it. Ask for IS NULL first, and for a missing "
        "amount with coalesce(amount_cents, 0) <= 0.",
        "CASE WHEN payment_id IS NULL OR paid_at IS NULL OR received_at IS NULL THEN 'unreadable' "
        "WHEN device_id IS NULL THEN 'no_device' WHEN coalesce(amount_cents, 0) <= 0 THEN 'no_amount' "
        "WHEN paid_at > received_at + INTERVAL 5 MINUTES THEN 'future' ...",
    )
    keys = ("payment_id",)
    kinds: ClassVar = {"payment_id": ANY, "reason": ANY}
    what = "{payment_id}"
    lost = "You have no row for {why}. Keep them all."
    doubled = "For {why} you have {times} a row. Keep each once."
    other = "For {why} the reason is {expected}; yours is {found}."
    praise = "Each payment has its reason, and the good ones have none."
    # What the payment is, its device, amount and time; and its reason. It arrived at ten.
    payments = (
        ("a good payment", "D1", 100, "2025-11-28 09:59:50", None),
        ("a payment without a time", "D1", 100, None, "unreadable"),
        ("a payment without a device", None, 100, "2025-11-28 09:59:50", "no_device"),
        ("a payment without a device and without an amount", None, None, "2025-11-28 09:59:50", "no_device"),
        ("a payment of 0", "D1", 0, "2025-11-28 09:59:50", "no_amount"),
        ("a payment of -5", "D1", -5, "2025-11-28 09:59:50", "no_amount"),
        ("a payment without an amount", "D1", None, "2025-11-28 09:59:50", "no_amount"),
        ("a payment made five minutes after it arrived", "D1", 100, "2025-11-28 10:05:00", None),
        ("a payment made six minutes after it arrived", "D1", 100, "2025-11-28 10:06:00", "future"),
        ("a payment made seven days before it arrived", "D1", 100, "2025-11-21 10:00:00", None),
        ("a payment made eight days before it arrived", "D1", 100, "2025-11-20 10:00:00", "old"),
    )

    def cases(self) -> Iterator[Case]:
        at = "2025-11-28 10:00:00"
        payments = [
            (f"P{n:02}", device, amount, paid, at)
            for n, (_, device, amount, paid, _) in enumerate(self.payments)
        ]
        payments.append((None, "D1", 100, at, at))
        rows = [(f"P{n:02}", reason, about) for n, (about, *_, reason) in enumerate(self.payments)]
        schema = (
            "payment_id STRING, device_id STRING, amount_cents INT, paid_at TIMESTAMP, received_at TIMESTAMP"
        )
        yield Case(
            (frame_of(payments, schema),), [*rows, (None, "unreadable", "a line without a payment id")]
        )


class KeepAlerts(FrameExercise):
    """Exercise 7.4. Whatever comes, and however often, a payment is there once, with its best score."""

    number = "7.4"
    title = "merge alerts, once per payment"
    takes = "a function of a DataFrame and the name of a table"
    hints = (
        "Two steps: first make each payment unique in what comes, then merge it into the table.",
        "F.max_by(F.struct('score', 'rule'), 'score') in a groupBy keeps a row together. MERGE updates only "
        "where the score that comes is higher.",
        "DeltaTable.forName(spark, table).alias('t').merge(best.alias('s'), 't.payment_id = s.payment_id')"
        ".whenMatchedUpdateAll('s.score > t.score').whenNotMatchedInsertAll().execute()",
    )
    schema = "payment_id STRING, score DOUBLE, rule STRING"
    keys = ("payment_id",)
    kinds: ClassVar = {"payment_id": ANY, "score": ANY, "rule": ANY}
    what = "{payment_id}"
    lost = "{why}. Afterwards {what} is not in the table."
    doubled = "{why}. Afterwards {what} is in the table {times}. Keep it once."
    other = (
        "{why}. Afterwards {what} should have the score {ours[score]} and the rule {ours[rule]}; "
        "yours has {mine[score]} and {mine[rule]}."
    )
    strange = "{what} is in the table, and was in no alert."
    praise = "Each payment is there once, with its highest score."
    # What the table holds at first, the alerts, and what it holds after them, with what has happened
    first = (("P1", 0.5, None), ("P2", 0.9, "travel"), ("P3", 0.8, "attempts"))
    alerts = (
        *(("P1", 0.7, "attempts"), ("P2", 0.1, None), ("P3", 0.8, "attempts")),
        *(("P4", 0.2, "travel"), ("P4", 0.6, None)),
    )
    held = (
        ("P1", 0.7, "attempts", "P1 had the score 0.5, and an alert with 0.7 came"),
        ("P2", 0.9, "travel", "P2 had the score 0.9, and an alert with 0.1 came"),
        ("P3", 0.8, "attempts", "P3 had the score 0.8, and the same alert came again"),
        ("P4", 0.6, None, "P4 was new, and stood in the alerts twice, with 0.2 and 0.6"),
    )

    def cases(self) -> Iterator[Case]:
        given = frame_of(self.alerts, self.schema).coalesce(1)
        yield Case((given,), self.held)
        yield Case((given.limit(0),), [(*row, "A batch without an alert came") for *row, _ in self.held])

    def check(self, keep_alerts: Callable[..., Any]) -> Verdict:
        with scratch_table(self.schema, self.first) as table:
            for case in self.cases():
                keep_alerts(*(case.given or ()), table)
                if wrong := misshapen(session().table(table), self.kinds):
                    return self.wrong(wrong)
                held = arrow_of(table).select([*self.kinds]).to_pylist()
                if wrong := self.wrong_among([tuple(row.values()) for row in held], case):
                    return self.wrong(wrong)
        return self.right(self.praise)


class Silences(FunctionExercise):
    """Exercise 7.5. When a locker was silent, told the same whatever the order and the repetitions."""

    number = "7.5"
    title = "find a locker's silences"
    takes = "a function of a list of minutes, a limit and an end"
    hints = (
        "Bring the readings into order, and let each stand once. Then look at neighbours.",
        "A silence begins limit minutes after a reading and ends with the next one. What is the next one of "
        "the last?",
        "moments = sorted(set(minutes)); for a, b in zip(moments, [*moments[1:], None]): silent if b is None "
        "and end - a > limit, or b - a > limit; the pair is (a + limit, b).",
    )
    # What the case is about; readings, limit, end, and the silences
    cases = (
        ("a locker that reports", [0, 120, 240], 360, 300, []),
        ("a gap of exactly the limit", [0, 360], 360, 400, []),
        ("a gap of more than the limit", [0, 361], 360, 400, [(360, 361)]),
        ("readings that come in another order", [600, 0, 120], 360, 700, [(480, 600)]),
        ("a reading that comes twice", [0, 0, 500, 500], 360, 600, [(360, 500)]),
        ("a locker that does not come back", [0, 100], 360, 1000, [(460, None)]),
        ("a locker whose last reading is as old as the limit", [0, 100], 360, 460, []),
        ("two silences", [0, 500, 1000], 360, 1100, [(360, 500), (860, 1000)]),
        ("no reading at all", [], 360, 1000, []),
    )

    returns = "a list of pairs"
    kind = list
    other = (
        "For {about}, {given[0]} with the limit {given[1]} and the end {given[2]}, the silences are "
        "{expected}; yours are {found}."
    )
    praise = "Every silence has its beginning, and an end if there was one."


dropped = Dropped()
declined = Declined()
reason = Reason()
keep_alerts = KeepAlerts()
silences = Silences()
