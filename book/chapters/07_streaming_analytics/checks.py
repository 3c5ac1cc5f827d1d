"""The checks of chapter 07. Three of them build small frames; none reads the lakehouse."""

from collections.abc import Callable
from typing import Any, ClassVar

import pandas as pd
from pyspark.sql import DataFrame

from medallion.lesson.exercise import Exercise, Verdict
from medallion.lesson.frames import frame_of, missing, other_kind, scratch_table


class Dropped(Exercise):
    """Exercise 7.1. A batch drops by the watermark with which the batch before it was run."""

    number = "7.1"
    title = "what would a stream drop?"
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
    cases: ClassVar[tuple[tuple[str, list[list[float]], float, int], ...]] = (
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

    def check(self, dropped: Callable[..., Any]) -> Verdict:
        for about, batches, delay, expected in self.cases:
            answer = dropped([list(batch) for batch in batches], delay)
            if not isinstance(answer, int) or isinstance(answer, bool):
                return self.wrong(other_kind(answer, "a whole number"))
            if answer != expected:
                return self.wrong(
                    f"For {about}, {batches} with a delay of {delay}, {expected} are dropped; "
                    f"you say {answer}."
                )
        return self.right("Each batch drops by the watermark of the batch before it.")


class Declined(Exercise):
    """Exercise 7.2. Declined payments in windows of ten minutes, on a frame or on a stream."""

    number = "7.2"
    title = "declined, again and again"
    takes = "a function of a DataFrame"
    hints = (
        "Which rows count? Leave the others out before you group.",
        'F.window("paid_at", "10 minutes") is a column to group by, and its name is window.',
        'payments.where("status = \'declined\'").groupBy(F.window("paid_at", "10 minutes"))'
        '.agg(F.count("*").alias("declined"))',
    )
    schema = "payment_id STRING, status STRING, paid_at TIMESTAMP"
    # Name of the case, (minutes and seconds after ten, status) of its payments, and declined by window
    cases: ClassVar[tuple[tuple[str, list[tuple[str, str]], dict[str, int]], ...]] = (
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
        ("no payment", [], {}),
    )

    def check(self, declined: Callable[..., Any]) -> Verdict:
        for about, payments, expected in self.cases:
            rows = [
                (f"P{n}", status, pd.Timestamp(f"2025-11-28 {at}").to_pydatetime())
                for n, (at, status) in enumerate(payments)
            ]
            answer = declined(frame_of(rows, self.schema))
            if problem := missing(answer, ("window", "declined")):
                return self.wrong(problem)
            found = [(f"{row['window']['start']:%H:%M}", row["declined"]) for row in answer.collect()]
            if len(found) > len(dict(found)):
                return self.wrong(f"For {about} a window is there more than once: {_listed(found)}.")
            if dict(found) != expected:
                wanted = _listed(sorted(expected.items())) or "no window"
                yours = _listed(sorted(found)) or "no window"
                return self.wrong(f"For {about} there should be {wanted}; you return {yours}.")
        return self.right("Each window has its declined payments, and the others are not there.")


def _listed(windows: list[tuple[str, Any]]) -> str:
    return ", ".join(f"{begins} with {count}" for begins, count in windows)


class Reason(Exercise):
    """Exercise 7.3. The first thing that is wrong with a payment, and NULL for a good one; no row is lost."""

    number = "7.3"
    title = "what is wrong with this payment?"
    takes = "a function of a DataFrame"
    hints = (
        "The first reason that applies: a CASE goes through its conditions in this order.",
        "A comparison with NULL is NULL, and CASE passes over it. Ask for IS NULL first, and for a missing "
        "amount with coalesce(amount_cents, 0) <= 0.",
        "CASE WHEN payment_id IS NULL OR paid_at IS NULL OR received_at IS NULL THEN 'unreadable' "
        "WHEN device_id IS NULL THEN 'no_device' WHEN coalesce(amount_cents, 0) <= 0 THEN 'no_amount' "
        "WHEN paid_at > received_at + INTERVAL 5 MINUTES THEN 'future' ...",
    )
    schema = "payment_id STRING, device_id STRING, amount_cents INT, paid_at TIMESTAMP, received_at TIMESTAMP"
    at = "2025-11-28 10:00:00"
    # What the row is, its device, amount and time of payment, and its reason
    cases: ClassVar[tuple[tuple[str, str | None, int | None, str | None, str | None], ...]] = (
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

    def check(self, reason: Callable[..., Any]) -> Verdict:
        rows: list[tuple[Any, ...]] = [
            (f"P{n:02}", device, amount, _moment(paid), _moment(self.at))
            for n, (_, device, amount, paid, _) in enumerate(self.cases)
        ]
        rows.append((None, "D1", 100, _moment(self.at), _moment(self.at)))
        answer = reason(frame_of(rows, self.schema))
        if problem := missing(answer, ("payment_id", "reason")):
            return self.wrong(problem)
        found = [(row["payment_id"], row["reason"]) for row in answer.collect()]
        if len(found) != len(rows):
            return self.wrong(f"{len(rows)} payments went in, and {len(found)} came out. Keep them all.")
        reasons = dict(found)
        expected = {f"P{n:02}": (case[0], case[4]) for n, case in enumerate(self.cases)}
        expected[None] = ("a line without a payment id", "unreadable")  # type: ignore[index]
        for name, (about, right) in expected.items():
            if reasons.get(name) != right:
                return self.wrong(f"For {about} the reason is {right}; yours is {reasons.get(name)}.")
        return self.right("Each payment has its reason, and the good ones have none.")


def _moment(text: str | None) -> Any:
    return None if text is None else pd.Timestamp(text).to_pydatetime()


class KeepAlerts(Exercise):
    """Exercise 7.4. Whatever comes, and however often, a payment is there once, with its best score."""

    number = "7.4"
    title = "an alert, once"
    takes = "a function of a DataFrame and the name of a table"
    hints = (
        "Two steps: first make each payment unique in what comes, then merge it into the table.",
        "F.max_by(F.struct('score', 'rule'), 'score') in a groupBy keeps a row together. MERGE updates only "
        "where the score that comes is higher.",
        "DeltaTable.forName(spark, table).alias('t').merge(best.alias('s'), 't.payment_id = s.payment_id')"
        ".whenMatchedUpdateAll('s.score > t.score').whenNotMatchedInsertAll().execute()",
    )
    schema = "payment_id STRING, score DOUBLE, rule STRING"
    # What each call is about, its rows, and what the table holds after it
    calls: ClassVar[
        tuple[tuple[str, list[tuple[str, float, str | None]], dict[str, tuple[float, Any]]], ...]
    ] = (
        (
            "two alerts",
            [("P1", 0.5, None), ("P2", 0.9, "travel")],
            {"P1": (0.5, None), "P2": (0.9, "travel")},
        ),
        (
            "the same alerts again",
            [("P1", 0.5, None), ("P2", 0.9, "travel")],
            {"P1": (0.5, None), "P2": (0.9, "travel")},
        ),
        (
            "a higher and a lower score",
            [("P1", 0.7, "attempts"), ("P2", 0.1, None)],
            {"P1": (0.7, "attempts"), "P2": (0.9, "travel")},
        ),
        (
            "a payment that stands in the alerts twice",
            [("P3", 0.2, "travel"), ("P3", 0.6, None), ("P1", 0.6, None)],
            {"P1": (0.7, "attempts"), "P2": (0.9, "travel"), "P3": (0.6, None)},
        ),
        ("no alert", [], {"P1": (0.7, "attempts"), "P2": (0.9, "travel"), "P3": (0.6, None)}),
    )

    def check(self, keep_alerts: Callable[..., Any]) -> Verdict:
        with scratch_table(self.schema) as table:
            for about, rows, expected in self.calls:
                keep_alerts(frame_of(rows, self.schema), table)
                held = _rows(table)
                names = [row[0] for row in held]
                for name in names:
                    if names.count(name) > 1:
                        return self.wrong(
                            f"After {about}, {name} is in the table {names.count(name)} times. Keep it once."
                        )
                for name, (score, rule) in expected.items():
                    if name not in names:
                        return self.wrong(f"After {about}, {name} is not in the table.")
                    found = next((row[1], row[2]) for row in held if row[0] == name)
                    if found != (score, rule):
                        return self.wrong(
                            f"After {about}, {name} should have the score {score} and the rule {rule}; "
                            f"yours has {found[0]} and {found[1]}."
                        )
                if len(names) > len(expected):
                    return self.wrong(f"After {about}, the table has {len(names)} rows, not {len(expected)}.")
        return self.right("Each payment is there once, with its highest score.")


def _rows(table: str) -> list[tuple[Any, ...]]:
    from medallion.lesson.frames import session

    read: DataFrame = session().table(table)
    return [(row["payment_id"], row["score"], row["rule"]) for row in read.orderBy("payment_id").collect()]


class Silences(Exercise):
    """Exercise 7.5. When a locker was silent, told the same whatever the order and the repetitions."""

    number = "7.5"
    title = "when was it silent?"
    takes = "a function of a list of minutes, a limit and an end"
    hints = (
        "Bring the readings into order, and let each stand once. Then look at neighbours.",
        "A silence begins limit minutes after a reading and ends with the next one. What is the next one of "
        "the last?",
        "moments = sorted(set(minutes)); for a, b in zip(moments, [*moments[1:], None]): silent if b is None "
        "and end - a > limit, or b - a > limit; the pair is (a + limit, b).",
    )
    # What the case is about; readings, limit, end, and the silences
    cases: ClassVar[tuple[tuple[str, list[int], int, int, list[tuple[int, int | None]]], ...]] = (
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

    def check(self, silences: Callable[..., Any]) -> Verdict:
        for about, minutes, limit, end, expected in self.cases:
            answer = silences(list(minutes), limit, end)
            if not isinstance(answer, list):
                return self.wrong(other_kind(answer, "a list of pairs"))
            if answer != expected:
                return self.wrong(
                    f"For {about}, {minutes} with the limit {limit} and the end {end}, the silences are "
                    f"{expected}; yours are {answer}."
                )
        return self.right("Every silence has its beginning, and an end if there was one.")


dropped = Dropped()
declined = Declined()
reason = Reason()
keep_alerts = KeepAlerts()
silences = Silences()
