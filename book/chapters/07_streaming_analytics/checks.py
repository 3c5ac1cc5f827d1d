"""The checks of chapter 07. Three build small frames, two of them streams; none reads the lakehouse."""

import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, same
from medallion.lesson.frames import (
    ANY,
    Case,
    FrameExercise,
    arrow_of,
    frame_of,
    misshapen,
    other_session,
    scratch_table,
    session,
    version_of,
)
from medallion.spark.tracebacks import reason as reason_of


class Dropped(FunctionExercise):
    """Exercise 7.1. A micro-batch drops by the watermark of the one before it."""

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
        ("a first batch that is empty", [[], [100], [10], [79]], 20, 1),
        ("a batch in which a late time stands beside a new one", [[100], [100], [50, 200], [90]], 20, 1),
        ("a batch whose latest time is not its last", [[200, 100], [100], [150]], 20, 1),
        ("a batch with three late times, two of them equal", [[100], [100], [50, 60, 60, 200], [90]], 20, 3),
        ("times before minute 0", [[-50], [-40], [-60]], 20, 0),
        ("no batch at all", [], 20, 0),
    )

    returns = "a whole number"
    kind = int
    other = "For {about}, {given[0]} with a delay of {given[1]}, {expected} are dropped; you say {found}."
    praise = "Each batch drops by the watermark of the batch before it."


class KeepCounts(FrameExercise):
    """Exercise 7.2. The new totals of the hours that changed, once each, and the other hours as they were."""

    number = "7.2"
    title = "merge the counts that `update` emits"
    takes = "a function of a DataFrame and the name of a table"
    hints = (
        "An hour that the table has gets its new total, and an hour that it lacks becomes a new row. Which "
        "statement of Delta does both in one commit?",
        "Name both sides: DeltaTable.forName(counts.sparkSession, table).alias('t').merge(counts.alias('s'), "
        "...). The rows match on the hour.",
        ".merge(counts.alias('s'), 't.hour = s.hour').whenMatchedUpdateAll().whenNotMatchedInsertAll()"
        ".execute()",
    )
    schema = "hour TIMESTAMP, clicks BIGINT"
    keys = ("hour",)
    kinds: ClassVar = {"hour": "TIMESTAMP", "clicks": "BIGINT"}
    what = "{hour}"
    lost = "{about} {why}. Afterwards {what} is not in the table."
    doubled = "{about} {why}. Afterwards {what} is in the table {times}. Keep it once."
    other = "{about} {why}. Afterwards {what} should have {ours[clicks]} clicks; yours has {mine[clicks]}."
    strange = "{about} Afterwards the table has a row for {what}, which neither it nor the counts had."
    praise = "Each hour is there once, with its newest total."
    # What the table holds at first; what comes, twice; and what the table holds after each
    first = (("2025-11-28 15:00", 5), ("2025-11-28 16:00", 7), ("2025-11-28 17:00", 9))
    comes = (("2025-11-28 15:00", 4), ("2025-11-28 17:00", 12), ("2025-11-28 18:00", 11))
    steps = (
        (
            "After the first micro-batch:",
            (
                ("2025-11-28 16:00", 7, "16:00 had 7 and did not change"),
                ("2025-11-28 17:00", 12, "17:00 had 9, and its new total 12 came"),
                ("2025-11-28 18:00", 11, "18:00 was new, with 11"),
                ("2025-11-28 15:00", 4, "15:00 had 5, and its new total 4 came"),
            ),
        ),
        (
            "After the same micro-batch again:",
            (
                ("2025-11-28 16:00", 7, "16:00 had 7 and did not change"),
                ("2025-11-28 17:00", 12, "17:00 had 12, and 12 came again"),
                ("2025-11-28 18:00", 11, "18:00 had 11, and 11 came again"),
                ("2025-11-28 15:00", 4, "15:00 had 4, and 4 came again"),
            ),
        ),
    )

    def cases(self) -> Generator[Case, None, None]:
        # A stream hands each micro-batch over in a session of its own, where the notebook's views are not.
        with other_session() as elsewhere:
            counts = elsewhere.createDataFrame(_moments(self.comes), self.schema).coalesce(1)
            for about, held in self.steps:
                yield Case((counts,), held, about)

    def check(self, keep_counts: Callable[..., Any]) -> Verdict:
        commits = []
        with closing(self.cases()) as cases, scratch_table(self.schema, _moments(self.first)) as table:
            for case in cases:
                before = version_of(table)
                try:
                    keep_counts(*(case.given or ()), table)
                except Exception as error:  # whatever the learner's code raises
                    if reason_of(error) != "TABLE_OR_VIEW_NOT_FOUND":
                        raise
                    return self.wrong(
                        "TABLE_OR_VIEW_NOT_FOUND: a stream hands the counts over in a session of its own. "
                        "Their views are in counts.sparkSession, not in spark."
                    )
                commits.append(version_of(table) - before)
                if wrong := misshapen(session().table(table), self.kinds, only=True):
                    return self.wrong(wrong)
                if wrong := self.wrong_among(_held(table), case):
                    return self.wrong(wrong)
        if max(commits) > 1:
            return self.wrong(
                f"The totals are right, but one micro-batch made {max(commits)} commits. Between them a "
                "reader sees a table that is half done, and a crash leaves it so. Write all in one commit."
            )
        return self.right(self.praise)


def _moments(rows: Iterable[tuple[str, int]]) -> list[tuple[Any, ...]]:
    return [(datetime.fromisoformat(hour), clicks) for hour, clicks in rows]


def _held(table: str) -> list[tuple[Any, ...]]:
    """Return the rows of a table of hours, with moments as Spark gives them."""
    rows = arrow_of(table).select(["hour", "clicks"]).to_pylist()
    return [(row["hour"].replace(tzinfo=None), row["clicks"]) for row in rows]


class Declined(Exercise):
    """Exercise 7.3. Declined payments in windows of ten minutes, on a frame and on a stream."""

    number = "7.3"
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
        (
            "a payment with the status refunded, one without a status, and one declined",
            [("10:31:00", "refunded"), ("10:32:00", None), ("10:33:00", "declined")],
            {"10:30": 1},
        ),
        (
            "a payment with the status disputed and one declined",
            [("10:31:00", "disputed"), ("10:33:00", "declined")],
            {"10:30": 1},
        ),
        (
            "the last millisecond of a window and the first of the next",
            [("10:49:59.999", "declined"), ("10:50:00.000", "declined")],
            {"10:40": 1, "10:50": 1},
        ),
    )
    schema = "payment_id STRING, status STRING, paid_at TIMESTAMP"
    praise = "Each window has its declined payments, the others are not there, and a stream runs, too."

    def check(self, declined: Callable[..., Any]) -> Verdict:
        rows = [
            (f"P{day}{n}", status, f"2025-11-{day} {at}")
            for day, (_, payments, _) in enumerate(self.cases, start=20)
            for n, (at, status) in enumerate(payments)
        ]
        answer = declined(frame_of(rows, self.schema).coalesce(1))
        if wrong := misshapen(answer, {"window": "STRUCT<start:TIMESTAMP,end:TIMESTAMP>", "declined": ANY}):
            return self.wrong(wrong)
        found: dict[int, list[tuple[str, Any]]] = {}
        for row in answer.collect():
            begins, ends = row["window"]["start"], row["window"]["end"]
            if (ends - begins).total_seconds() != 600:
                return self.wrong(
                    f"Your window from {begins:%H:%M} ends at {ends:%H:%M}; it has ten minutes."
                )
            found.setdefault(begins.day, []).append((f"{begins:%H:%M}", row["declined"]))
        for day, (about, _, expected) in enumerate(self.cases, start=20):
            if wrong := self.wrong_on(sorted(found.get(day, [])), about, expected):
                return self.wrong(wrong)
        return self.on_a_stream(declined)

    def wrong_on(self, found: list[tuple[str, Any]], about: str, expected: dict[str, int]) -> str | None:
        """Say what is wrong with the windows of one case, or None."""
        if len(found) > len(dict(found)):
            return f"For {about} a window is there more than once: {_listed(found)}."
        if dict(found) != expected:
            return f"For {about} there should be {_listed(expected.items())}; you return {_listed(found)}."
        return None

    def on_a_stream(self, declined: Callable[..., Any]) -> Verdict:
        """Run the answer on a stream whose second payment closes the window of the first."""
        lines = [
            {"payment_id": f"P{n}", "status": "declined", "paid_at": f"2025-11-28T{at}:00Z"}
            for n, at in enumerate(("10:00", "11:00"))
        ]
        found = _streamed(
            lambda rows: declined(rows.withWatermark("paid_at", "10 minutes")), lines, self.schema
        )
        if isinstance(found, str):
            return self.wrong(found)
        counted = [(f"{row['window']['start']:%H:%M}", row["declined"]) for row in found]
        if counted != [("10:00", 1)]:
            return self.wrong(
                f"On a stream the window 10:00 with 1 should be closed by a payment of 11:00; you return "
                f"{_listed(counted)}. Keep the watermark that is set."
            )
        return self.right(self.praise)


def _streamed(answer: Callable[..., Any], lines: list[dict[str, Any]], schema: str) -> list[Any] | str:
    """Return the rows that an answer gives for a stream of these lines, or what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        (source / "payments.json").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        found: list[Any] = []
        try:
            rows = answer(session().readStream.schema(schema).json(str(source)))
            if not getattr(rows, "isStreaming", False):
                return "For a stream your function returns no stream. Do not collect its rows."
            writer = rows.writeStream.foreachBatch(lambda rows, number: found.extend(rows.collect()))
            writer = writer.option("checkpointLocation", str(Path(folder) / "checkpoint"))
            writer.trigger(availableNow=True).start().awaitTermination()
        except Exception as error:  # what Spark refuses on a stream
            return f"On a table your function is right; on a stream Spark refuses it: {_refusal(error)}"
    return found


def _refusal(error: Exception) -> str:
    """Return why Spark refuses a stream, without the ids of the query and the settings that allow it."""
    first = str(error).splitlines()[0].split("terminated with exception: ")[-1]
    return first.split(" You can set the config")[0]


def _listed(windows: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{begins} with {count}" for begins, count in windows) or "no window"


class Reason(FrameExercise):
    """Exercise 7.4. The first thing that is wrong with a payment, and NULL for a good one; no row is lost."""

    number = "7.4"
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
    praise = "Each payment has its reason, the good ones have none, and a stream runs, too."
    schema = (
        "payment_id STRING, device_id STRING, amount_cents INT, paid_at TIMESTAMP, received_at TIMESTAMP, "
        "status STRING"
    )
    ten = "2025-11-28 10:00:00"
    # What the payment is, its device, amount and time; its reason; and when it arrived, if not at ten
    payments = (
        ("a good payment", "D1", 100, "2025-11-28 09:59:50", None),
        ("a payment without a time", "D1", 100, None, "unreadable"),
        ("a payment without a moment of arrival", "D1", 100, "2025-11-28 09:59:50", "unreadable", None),
        ("a payment without a device", None, 100, "2025-11-28 09:59:50", "no_device"),
        ("a payment without a device and without a time", None, 100, None, "unreadable"),
        ("a payment without a device and without an amount", None, None, "2025-11-28 09:59:50", "no_device"),
        ("a payment of 0", "D1", 0, "2025-11-28 09:59:50", "no_amount"),
        ("a payment of -5", "D1", -5, "2025-11-28 09:59:50", "no_amount"),
        ("a payment of one cent", "D1", 1, "2025-11-28 09:59:50", None),
        ("a payment without an amount", "D1", None, "2025-11-28 09:59:50", "no_amount"),
        ("a payment of 0 from the year 2099", "D1", 0, "2099-11-28 10:00:00", "no_amount"),
        ("a payment made five minutes after it arrived", "D1", 100, "2025-11-28 10:05:00", None),
        ("a payment made six minutes after it arrived", "D1", 100, "2025-11-28 10:06:00", "future"),
        (
            "a payment made five minutes and a second after it arrived",
            "D1",
            100,
            "2025-11-28 10:05:01",
            "future",
        ),
        ("a payment made seven days before it arrived", "D1", 100, "2025-11-21 10:00:00", None),
        ("a payment made eight days before it arrived", "D1", 100, "2025-11-20 10:00:00", "old"),
        ("a payment made seven days and a second before it arrived", "D1", 100, "2025-11-21 09:59:59", "old"),
        ("a payment from the year 2099", "D1", 100, "2099-11-28 10:00:00", "future"),
    )

    def cases(self) -> Iterator[Case]:
        payments: list[tuple[Any, ...]] = []
        rows: list[tuple[Any, ...]] = []
        for n, (about, device, amount, paid, reason, *came) in enumerate(self.payments):
            arrived = came[0] if came else self.ten
            payments.append((f"P{n:02}", device, amount, paid, arrived, "authorised"))
            rows.append((f"P{n:02}", reason, about))
        payments.append((None, "D1", 100, self.ten, self.ten, "authorised"))
        rows.append((None, "unreadable", "a line without a payment id"))
        payments.append(("P98", "D1", 100, self.ten, self.ten, "declined"))
        rows.append(("P98", None, "a good payment with the status declined"))
        payments += [("P99", "D1", 100, self.ten, self.ten, "authorised")] * 2
        rows.append(("P99", None, "a payment that comes twice"))
        yield Case((frame_of(payments, self.schema),), rows)

    def wrong_in(self, frame: Any, case: Case) -> str | None:
        given = case.given[0].columns if case.given else []
        lost = [name for name in given if name not in getattr(frame, "columns", given)]
        if lost:
            return (
                f"You return the payments without their column {lost[0]}. Keep all columns, and add reason."
            )
        return super().wrong_in(frame, case)

    def wrong_among(self, found: Sequence[tuple[Any, ...]], case: Case) -> str | None:
        """Look at the payment that comes twice; its second row is the only one of a key that has two."""
        twice = [row for row in found if row[0] == "P99"]
        if len(twice) == 1:
            return "Of a payment that comes twice you keep one row. Keep all rows, and change none."
        others = [row for row in found if row[0] != "P99"]
        return super().wrong_among([*others, *dict.fromkeys(twice)] if len(twice) == 2 else found, case)

    def check(self, reason: Callable[..., Any]) -> Verdict:
        verdict = super().check(reason)
        if not verdict.ok:
            return verdict
        stamp = "2025-11-28T10:00:00Z"
        line = {"payment_id": "P1", "amount_cents": 100, "paid_at": stamp, "received_at": stamp}
        found = _streamed(reason, [line], self.schema)
        if isinstance(found, str):
            return self.wrong(found)
        reasons = [row["reason"] for row in found]
        if reasons != ["no_device"]:
            return self.wrong(
                f"On a stream a payment without a device should come out once with the reason no_device; "
                f"yours gives {reasons}."
            )
        return verdict


class Attempt(FunctionExercise):
    """Exercise 7.5. A burst is reported once, also when a late attempt completes it."""

    number = "7.5"
    title = "report a burst once, with late attempts"
    takes = "a function of a list of pairs, a time and a span"
    hints = (
        "Three questions in this order: which attempts are near, was one of them reported, and if not, are "
        "there three close together?",
        "Sort the times of the near attempts and the new one. Three of them lie within less than span if two "
        "that stand two places apart do: zip(times, times[2:]).",
        "First near = [(t, told) for t, told in seen if abs(t - at) < span], and known says whether any of "
        "them was reported. Then times = sorted([at, *(t for t, _ in near)]), and third = any(c - a < span "
        "for a, c in zip(times, times[2:])). Report if third and not known. Which attempts does the list "
        "mark?",
    )
    # What the case is about; what was seen, the new time, the span; the list afterwards, and the verdict
    cases = (
        ("a first attempt", [], 5, 10, ([(5, False)], False)),
        ("a second attempt", [(0, False)], 5, 10, ([(0, False), (5, False)], False)),
        (
            "a third attempt within ten minutes",
            [(0, False), (4, False)], 9, 10,
            ([(0, True), (4, True), (9, True)], True),
        ),
        (
            "a third attempt exactly ten minutes after the first",
            [(0, False), (4, False)], 10, 10,
            ([(0, False), (4, False), (10, False)], False),
        ),
        (
            "a late attempt that completes a burst",
            [(5, False), (6, False)], 4, 10,
            ([(5, True), (6, True), (4, True)], True),
        ),
        (
            "a late attempt in the middle of a burst",
            [(0, False), (9, False)], 5, 10,
            ([(0, True), (9, True), (5, True)], True),
        ),
        (
            "a fourth attempt of a burst that was reported",
            [(0, True), (1, True), (2, True)], 9, 10,
            ([(0, True), (1, True), (2, True), (9, True)], False),
        ),
        (
            "an attempt that is near only to the last of a burst",
            [(0, True), (1, True), (9, True)], 12, 10,
            ([(0, True), (1, True), (9, True), (12, True)], False),
        ),
        (
            "three attempts around the new one that are not close together",
            [(0, False), (18, False)], 9, 10,
            ([(0, False), (18, False), (9, False)], False),
        ),
        (
            "an attempt long after a burst",
            [(0, True), (1, True), (2, True)], 30, 10,
            ([(0, True), (1, True), (2, True), (30, False)], False),
        ),
        (
            "a second burst, long after the first",
            [(0, True), (1, True), (2, True), (30, False), (31, False)], 32, 10,
            ([(0, True), (1, True), (2, True), (30, True), (31, True), (32, True)], True),
        ),
        (
            "an old burst that arrives after a new one was reported",
            [(50, True), (51, True), (52, True), (10, False), (11, False)], 12, 10,
            ([(50, True), (51, True), (52, True), (10, True), (11, True), (12, True)], True),
        ),
        (
            "two attempts at the same time",
            [(3, False), (3, False)], 3, 10,
            ([(3, True), (3, True), (3, True)], True),
        ),
        (
            "a near attempt that no burst had",
            [(0, False), (8, True), (9, True), (10, True)], 5, 10,
            ([(0, True), (8, True), (9, True), (10, True), (5, True)], False),
        ),
        (
            "a span of 100",
            [(0, False), (40, False)], 80, 100,
            ([(0, True), (40, True), (80, True)], True),
        ),
        (
            "a burst long after a lonely attempt",
            [(0, False), (30, False), (31, False)], 32, 10,
            ([(0, False), (30, True), (31, True), (32, True)], True),
        ),
        (
            "three close attempts and one more that is near",
            [(1, False), (11, False), (12, False)], 10, 10,
            ([(1, True), (11, True), (12, True), (10, True)], True),
        ),
        (
            "an attempt exactly ten minutes after the last of a burst",
            [(0, True), (1, True), (2, True)], 12, 10,
            ([(0, True), (1, True), (2, True), (12, False)], False),
        ),
    )  # fmt: skip

    returns = "a pair of a list and True or False"
    kind = list
    praise = f"In {len(cases)} cases, some with late attempts, a burst is reported once."

    def differs(self, about: str, given: list[Any], found: Any, expected: Any) -> str | None:
        seen, at, span = given
        asked = f"For {about}, attempt({seen}, {at}, {span}),"
        if len(found) != 2 or not isinstance(found[0], list | tuple):
            return f"{asked} you return {found}; it should be {self.returns}."
        if bool(found[1]) != expected[1]:
            what = (
                "a burst to report, and you say False"
                if expected[1]
                else "nothing to report, and you say True"
            )
            return f"{asked} there is {what}."
        if not same(found[0], expected[0]):
            return f"{asked} the list should be {expected[0]}; yours is {list(found[0])}."
        return None


class Silences(FunctionExercise):
    """Exercise 7.6. When a locker was silent, told the same whatever the order and the repetitions."""

    number = "7.6"
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
        ("a reading after the end", [0, 500], 360, 400, [(360, 500)]),
        ("a last reading that is later than the end", [0, 100, 450], 360, 400, []),
        ("two silences", [0, 500, 1000], 360, 1100, [(360, 500), (860, 1000)]),
        ("a silence that is noticed after the end", [0, 500], 360, 300, [(360, 500)]),
        ("a limit of 100", [0, 150], 100, 160, [(100, 150)]),
        ("the time before the first reading", [1000], 360, 1100, []),
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
keep_counts = KeepCounts()
declined = Declined()
reason = Reason()
attempt = Attempt()
silences = Silences()
