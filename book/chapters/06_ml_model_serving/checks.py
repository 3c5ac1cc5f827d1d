"""The checks of chapter 06. None of them needs Spark."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from typing import Any, ClassVar
from unittest.mock import Mock

import numpy as np
import pandas as pd

from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, other_kind
from medallion.lesson.frames import ANY, LEFT_OUT, Case, FrameExercise

_NAN, _INFINITE = float("nan"), float("inf")


class Complaints(FunctionExercise):
    """Exercise 6.1. Every fault of a request by name, and nothing else."""

    number = "6.1"
    title = "name the faults of a request"
    takes = "a function of a dictionary and two lists of names, which returns a list of sentences"
    hints = (
        "Go through the names that should be there, then through those that are there.",
        "NaN is the one value that is not equal to itself. For isinstance a boolean is a number, so ask for "
        "bool first. numbers.Real has the numbers of Python and of NumPy.",
        "value is None or value != value: only a fault if the name is required. isinstance(value, bool) or "
        'not isinstance(value, Real) or abs(value) == float("inf"): no number.',
    )
    # The row, and its faults, where orders and spend are required and gap is optional
    rows: ClassVar[tuple[tuple[dict[str, Any], list[str]], ...]] = (
        ({"orders": 3, "spend": 12.5, "gap": 2.0}, []),
        ({"orders": 0, "spend": 0.0, "gap": None}, []),
        ({"orders": 3, "spend": 12.5, "gap": _NAN}, []),
        ({"orders": None, "spend": 12.5, "gap": 2.0}, ["orders must have a value"]),
        ({"orders": _NAN, "spend": 12.5, "gap": 2.0}, ["orders must have a value"]),
        ({"orders": np.float32("nan"), "spend": 12.5, "gap": 2.0}, ["orders must have a value"]),
        ({"spend": 12.5, "gap": 2.0}, ["orders is missing"]),
        ({"orders": 3, "spend": 12.5}, ["gap is missing"]),
        ({"orders": "3", "spend": 12.5, "gap": 2.0}, ["orders is no number"]),
        ({"orders": 3, "spend": 12.5, "gap": "two"}, ["gap is no number"]),
        ({"orders": True, "spend": 12.5, "gap": 2.0}, ["orders is no number"]),
        ({"orders": 3, "spend": 12.5, "gap": False}, ["gap is no number"]),
        ({"orders": 3, "spend": _INFINITE, "gap": 2.0}, ["spend is no number"]),
        ({"orders": 3, "spend": 12.5, "gap": -_INFINITE}, ["gap is no number"]),
        ({"orders": [3], "spend": 12.5, "gap": 2.0}, ["orders is no number"]),
        ({"orders": -3, "spend": 10**12, "gap": 2.0}, []),
        ({"orders": np.int64(3), "spend": np.float32(0.5), "gap": np.float64("nan")}, []),
        ({"orders": 3, "spend": 12.5, "gap": 2.0, "shoe": 44}, ["shoe is not known"]),
        ({"orders": 3, "spend": 12.5, "gap": 2.0, "shoe": None}, ["shoe is not known"]),
        (
            {"orders": None, "gap": "two", "shoe": 44},
            ["gap is no number", "orders must have a value", "shoe is not known", "spend is missing"],
        ),
        ({}, ["gap is missing", "orders is missing", "spend is missing"]),
    )
    # The same with names, lists and faults of another table
    others: ClassVar[tuple[tuple[dict[str, Any], list[str], list[str], list[str]], ...]] = (
        ({"age": None, "city": 5}, ["age"], ["city"], ["age must have a value"]),
        ({"age": None, "city": 5}, ["city"], ["age"], []),
        ({"age": 40, "orders": 3}, ["age", "city"], [], ["city is missing", "orders is not known"]),
        ({"age": None}, [], ["age"], []),
        ({"age": 40}, [], [], ["age is not known"]),
    )

    cases = (
        *(
            (
                f"For the row {_row}, where orders and spend are required and gap is optional,",
                *(_row, ["orders", "spend"], ["gap"]),
                _faults,
            )
            for _row, _faults in rows
        ),
        *(
            (
                f"For the row {_row}, with required={_needed} and optional={_free},",
                _row,
                _needed,
                _free,
                _told,
            )
            for _row, _needed, _free, _told in others
        ),
    )
    returns = "a list"
    kind = list
    praise = f"In {len(cases)} rows, good ones and bad ones, you name each fault, and nothing that is right."

    def differs(self, about: str, given: list[Any], found: Any, expected: list[str]) -> str | None:
        if lacking := [fault for fault in expected if fault not in found]:
            return f"{about} you do not say {lacking[0]!r}."
        if extra := [fault for fault in found if fault not in expected]:
            return f"{about} you say {extra[0]!r}, and that is no fault."
        if twice := [fault for fault in expected if found.count(fault) > 1]:
            return f"{about} you say {twice[0]!r} more than once."
        return None if [*found] == expected else f"{about} the sentences are right, and not sorted."


class Differing(FunctionExercise):
    """Exercise 6.2. Scores compared by customer; what is missing agrees with nothing."""

    number = "6.2"
    title = "compare two sets of scores by customer"
    takes = "a function of two DataFrames of pandas with customer_id and score"
    hints = (
        "First bring the scores of one customer side by side, also of a customer whom only one of the two "
        "has. Then ask who agrees, and return the others.",
        'batch.merge(online, on="customer_id", how="outer") keeps everybody; where one has no score, there '
        "is NaN. A comparison with NaN is never true.",
        "apart = (both.score_x - both.score_y).abs(); the customers where ~(apart <= 1e-9). Sort them.",
    )
    # What it is about, the scores of the batch and of the endpoint, and who differs, and why
    rows: ClassVar[tuple[tuple[str, dict[str, Any], dict[str, Any], dict[str, str]], ...]] = (
        ("equal scores in another order", {"C1": 0.1, "C2": 0.7}, {"C2": 0.7, "C1": 0.1}, {}),
        (
            "scores in another order, of which one differs",
            {"C1": 0.1, "C2": 0.7, "C3": 0.3},
            {"C3": 0.3, "C2": 0.6, "C1": 0.1},
            {"C2": "0.7 is not 0.6"},
        ),
        ("scores that are 1e-12 apart", {"C1": 0.1}, {"C1": 0.1 + 1e-12}, {}),
        (
            "scores that are 2e-10 apart, and different when they are rounded",
            {"C1": 0.1000000004},
            {"C1": 0.1000000006},
            {},
        ),
        (
            "scores that are 0.000001 apart",
            {"C1": 0.1, "C2": 0.7},
            {"C1": 0.1 - 1e-6, "C2": 0.7 + 1e-6},
            {"C1": "the endpoint's is lower by 0.000001", "C2": "the endpoint's is higher by 0.000001"},
        ),
        (
            "scores that are 3e-9 apart",
            {"C1": 0.1, "C2": 0.7},
            {"C1": 0.1 + 3e-9, "C2": 0.7},
            {"C1": "at most 1e-9 is allowed"},
        ),
        (
            "an endpoint that gives no score for C2",
            {"C1": 0.1, "C2": 0.7},
            {"C1": 0.1, "C2": None},
            {"C2": "its score online is NaN"},
        ),
        (
            "an endpoint that gives no score for C2, whose score in the batch is 0",
            {"C1": 0.1, "C2": 0.0},
            {"C1": 0.1, "C2": None},
            {"C2": "its score online is NaN"},
        ),
        (
            "a batch that has no score for C2",
            {"C1": 0.1, "C2": None},
            {"C1": 0.1, "C2": 0.7},
            {"C2": "its score in the batch is NaN"},
        ),
        (
            "a customer without a score on both sides",
            {"C1": 0.1, "C2": None},
            {"C1": 0.1, "C2": None},
            {"C2": "NaN agrees with nothing"},
        ),
        (
            "an answer without C2",
            {"C1": 0.1, "C2": 0.7},
            {"C1": 0.1},
            {"C2": "the endpoint did not answer for it"},
        ),
        (
            "a customer whom the batch lacks",
            {"C1": 0.1},
            {"C1": 0.1, "C9": 0.7},
            {"C9": "the batch lacks it"},
        ),
        (
            "an empty answer",
            {"C1": 0.1, "C2": 0.7},
            {},
            {"C1": "there is no answer at all", "C2": "there is no answer at all"},
        ),
        ("two empty tables", {}, {}, {}),
    )
    cases = tuple((_about, _one, _other, _told) for _about, _one, _other, _told in rows)
    returns = "a list of customers"
    kind = list
    praise = f"In {len(cases)} pairs of tables you list who differs or lacks a score or a row, nobody else."

    def arguments(self, *given: Any) -> tuple[pd.DataFrame, ...]:
        # Both have a column more, which is no number and not the same on both sides, as in the lesson.
        return tuple(
            pd.DataFrame(
                {
                    "customer_id": pd.Series([*scores], dtype=object),
                    "made_by": pd.Series([maker] * len(scores), dtype=object),
                    "score": pd.Series([*scores.values()], dtype=float),
                }
            )
            for maker, scores in zip(("batch", "online"), given, strict=True)
        )

    def differs(self, about: str, given: list[Any], found: Any, expected: dict[str, str]) -> str | None:
        for customer, why in expected.items():
            if customer not in found:
                return f"For {about}, {customer} is not in your list, and {why}."
        for customer in found:
            if customer not in expected:
                return f"For {about}, you return {customer!r}, whose scores agree."
        if [*found] != sorted(expected):
            return f"For {about}, your list is {[*found]}; it should be {sorted(expected)}."
        return None


class Side(Exercise):
    """Exercise 6.3. The same side for a customer always, about the share, and growing with it."""

    number = "6.3"
    title = "split the traffic by a hash"
    takes = "a function of a customer_id, a share and the name of an experiment"
    hints = (
        "It needs a number between 0 and 1 that belongs to the customer and the experiment: the same always, "
        "and spread evenly.",
        'Python\'s hash is another in each process. hashlib.sha256(f"{experiment}-{customer_id}".encode()) '
        "is the same everywhere.",
        'int.from_bytes(digest[:8], "big") / 2**64 < share: "challenger".',
    )
    # Ids of several forms: a side that is read off the digits of one form is not spread over another
    groups: ClassVar[dict[str, tuple[str, ...]]] = {
        "": tuple(f"C{number:06}" for number in range(2_000)),
        " whose id ends in 00": tuple(f"C{number:04}00" for number in range(2_000)),
        " whose id has letters only": tuple(
            f"{a}{b}{c}" for a in "abcdefghijklm" for b in "abcdefghijklm" for c in "nopqrstuvwxy"
        )[:2_000],
    }
    customers = groups[""]
    # The second is as long as "voucher", and begins and ends as it does
    experiments = ("banner", "visitor")
    tolerance = 0.05  # four and a half standard deviations: no good hash is refused by chance

    def check(self, side: Callable[..., Any]) -> Verdict:
        for form, customers in self.groups.items():
            if wrong := self._spread(side, form, customers):
                return self.wrong(wrong)
        if wrong := self._elsewhere(side) or self._experiments(side):
            return self.wrong(wrong)
        return self.right("Each customer has a side, and keeps it.")

    def _spread(self, side: Callable[..., Any], form: str, customers: tuple[str, ...]) -> str | None:
        """Return what is wrong with the sides of some customers at growing shares, or None."""
        before: set[str] = set()
        for share in (0.0, 0.1, 0.5, 1.0):
            answers = {customer: side(customer, share, "voucher") for customer in customers}
            for customer, answer in answers.items():
                if answer not in ("challenger", "champion"):
                    return other_kind(answer, '"challenger" or "champion"')
                if side(customer, share, "voucher") != answer:
                    return (
                        f"Asked twice at the share {share:g}, {customer} gets both sides. Do not draw; "
                        "derive the side from the customer_id."
                    )
            now = {customer for customer, answer in answers.items() if answer == "challenger"}
            between = 0 < share < 1
            if abs(len(now) / len(customers) - share) > (self.tolerance if between else 0):
                about = "about " if between else ""
                return (
                    f"At the share {share:g}, {len(now)} of {len(customers)} customers{form} are with the "
                    f"challenger; it should be {about}{share * len(customers):.0f}."
                )
            if left := sorted(before - now):
                return (
                    f"{left[0]} was with the challenger at a smaller share, and is not at {share:g}. "
                    "Whoever is there stays there when the share grows."
                )
            before = now
        return None

    def _experiments(self, side: Callable[..., Any]) -> str | None:
        """Return how the sides of one experiment depend on those of another, or None."""
        voucher, *others = (
            {customer for customer in self.customers if side(customer, 0.5, name) == "challenger"}
            for name in ("voucher", *self.experiments)
        )
        for name, challenged in zip(self.experiments, others, strict=True):
            both = len(voucher & challenged)
            if abs(both / len(self.customers) - 0.25) > self.tolerance:
                return (
                    f"{both} of {len(self.customers)} customers are with the challenger both in the "
                    f"experiment voucher and in {name}, at the share 0.5; it should be about 500. Hash the "
                    "complete name of the experiment along with the customer_id, by a hash of hashlib."
                )
        return None

    def _elsewhere(self, side: Callable[..., Any]) -> str | None:
        """Return which customer would be on another side in another process, or None."""
        here = [side(customer, 0.5, "voucher") for customer in self.customers]
        with _other_hash(side):
            there = [side(_Elsewhere(customer), 0.5, "voucher") for customer in self.customers]
        for customer, one, other in zip(self.customers, here, there, strict=True):
            if one != other:
                return (
                    f"{customer} is with the {one} here, and with the {other} in another process. What "
                    "Python's hash gives there, and what is drawn there, is another; take a hash of hashlib."
                )
        return None


class _Elsewhere(str):
    """A text that is the same as here, and has the hash that it might have in another process."""

    def __hash__(self) -> int:
        return _hash_elsewhere(str(self))


def _hash_elsewhere(value: Any) -> int:
    return hash(("elsewhere", value))


@contextmanager
def _other_hash(function: Any) -> Iterator[None]:
    """Give the module of a function the `hash` of another process, for the length of the block.

    So it is found also where it is taken of a text that is made of the customer_id. Only the learner's own
    names are changed: the other threads of the notebook use the builtin meanwhile.
    """
    names = getattr(function, "__globals__", {})
    if "hash" in names:  # the learner's own, which need not be the builtin
        yield
        return
    names["hash"] = _hash_elsewhere
    try:
        yield
    finally:
        del names["hash"]


class Judged(FrameExercise):
    """Exercise 6.4. Answers with the label of their moment, once it is known."""

    number = "6.4"
    title = "join the answers to their labels"
    takes = "a function of two DataFrames of pandas, log and labels, and a day"
    hints = (
        "First the labels that are known on the day, then the join. A label belongs to a customer and "
        "a moment.",
        "labels[labels['known_at'] <= pd.Timestamp(day)], with cutoff renamed to asked_at.",
        'log.merge(known[["customer_id", "asked_at", "churned"]], on=["customer_id", "asked_at"]).',
    )
    keys = ("request_id",)
    kinds: ClassVar = {
        "request_id": ANY,
        "customer_id": ANY,
        "asked_at": "TIMESTAMP",
        "model_version": ANY,
        "score": ANY,
        "note": ANY,
        "churned": ANY,
    }
    what = "The answer {request_id} of version {model_version} to {customer_id} on {asked_at}"
    lost = "{what} is missing; {why}."
    doubled = "{what} comes out {times}: join by the customer and the moment."
    other = "{what} has {column} {found}; in the log and the labels it is {expected}."
    left_out = "{what} comes out with the label {mine[churned]}, but {why} on {about}."
    strange = "A row of {mine[customer_id]} and {mine[asked_at]} comes out, and the log has no such answer."
    moment = "{:%Y-%m-%d}"
    praise = "Every answer whose label is known is judged, and no other."
    # Request, customer, asked at, version, score, and a column of the log that may be empty; the label that
    # comes out on 29 December, and why.
    answers = (
        ("R1", "C1", "2025-11-13", 1, 0.0, None, 1, "its label is known"),
        ("R2", "C1", "2025-11-13", 2, 0.1, "mail", 1, "each version's answer is judged"),
        ("R3", "C1", "2025-11-27", 1, 0.2, "mail", 0, "its label is known at midnight of the day"),
        ("R4", "C2", "2025-12-11", 1, 0.3, "mail", LEFT_OUT, "its label is not known yet"),
        ("R5", "C3", "2025-11-13", 1, 0.4, "mail", LEFT_OUT, "it has no label"),
        ("R6", "C4", "2025-11-13", 2, 0.5, None, 0, "its label is known"),
        ("R7", "C1", "2025-12-11", 2, 0.6, "mail", LEFT_OUT, "its label is not known yet"),
        ("R8", "C6", "2025-11-27", 1, 0.7, "mail", LEFT_OUT, "its label is known only at 06:00"),
        ("R9", "C1", "2025-11-13", 1, 0.0, "mail", 1, "it is a second request, with an answer of its own"),
    )
    labels: ClassVar[tuple[tuple[str, str, int, str], ...]] = (
        ("C1", "2025-11-13", 1, "2025-12-15"),
        ("C1", "2025-11-27", 0, "2025-12-29"),
        ("C2", "2025-12-11", 1, "2026-01-12"),
        ("C4", "2025-11-13", 0, "2025-12-15"),
        ("C5", "2025-11-13", 0, "2025-12-15"),
        ("C1", "2025-12-11", 1, "2026-01-12"),
        ("C6", "2025-11-27", 1, "2025-12-29 06:00"),
    )

    def cases(self) -> Iterator[Case]:
        columns = [*self.kinds][:-1]
        log = pd.DataFrame([row[: len(columns)] for row in self.answers], columns=columns)
        log["asked_at"] = pd.to_datetime(log["asked_at"])
        labels = pd.DataFrame(self.labels, columns=["customer_id", "cutoff", "churned", "known_at"])
        for column in ("cutoff", "known_at"):
            labels[column] = pd.to_datetime(labels[column], format="ISO8601")
        yield Case((log.copy(), labels.copy(), "2025-12-29"), self.answers, "2025-12-29")
        early = [(*row[: len(columns)], LEFT_OUT, "no label is known") for row in self.answers]
        yield Case((log, labels, "2025-12-01"), early, "2025-12-01")

    def wrong_in(self, given: Any, case: Case) -> str | None:
        if not isinstance(given, pd.DataFrame):
            return other_kind(given, "a DataFrame of pandas")
        for column in self.kinds:
            if column not in given.columns:
                return f"The column {column} is missing; yours are {', '.join(given.columns)}."
        if len(given) and not pd.api.types.is_datetime64_dtype(kind := given["asked_at"].dtype):
            return f"The column asked_at is of the type {kind}; leave it as it is in the log."
        return self.wrong_among([*given[[*self.kinds]].itertuples(index=False, name=None)], case)


class Patient(Exercise):
    """Exercise 6.5. A few attempts within a deadline, then the fallback; a page always has an answer."""

    number = "6.5"
    title = "retry within a deadline, then fall back"
    takes = "a function of send, fallback, attempts, wait and left"
    hints = (
        "A loop over the attempts: wait (not before the first), see how much time is left, send, and look at "
        "what came. Each way out returns a score and its source.",
        "Catch (ConnectionError, TimeoutError) around send(seconds) only: any other exception is a fault of "
        "the program and has to come out.",
        "if attempt: wait(2 ** (attempt - 1)); seconds = left(); if seconds <= 0: break. For a status from "
        '400 to 499 that is not in (408, 429): return fallback(), "refused". After the loop: '
        'return fallback(), "fallback".',
    )
    # What the case is about, what send does in turn (a class is raised), attempts, what comes out, the waits.
    cases: ClassVar[tuple[tuple[str, tuple[Any, ...], int, tuple[Any, str], list[int]], ...]] = (
        ("an endpoint that answers at once", ((200, 0.7),), 3, (0.7, "endpoint"), []),
        (
            "an endpoint that is gone for one attempt",
            (ConnectionError, (200, 0.7)),
            3,
            (0.7, "endpoint"),
            [1],
        ),
        (
            "an endpoint that is slow twice",
            (TimeoutError, TimeoutError, (200, 0.7)),
            3,
            (0.7, "endpoint"),
            [1, 2],
        ),
        (
            "an endpoint that gives the score 0, after a lost one",
            (TimeoutError, (200, 0.0)),
            3,
            (0.0, "endpoint"),
            [1],
        ),
        ("an endpoint that answers 503, then 200", ((503, "busy"), (200, 0.7)), 3, (0.7, "endpoint"), [1]),
        (
            "an endpoint that is asked too often (429), then answers",
            ((429, "slow"), (200, 0.7)),
            3,
            (0.7, "endpoint"),
            [1],
        ),
        (
            "an endpoint that gives up waiting (408), then answers",
            ((408, "late"), (200, 0.7)),
            3,
            (0.7, "endpoint"),
            [1],
        ),
        ("an endpoint that answers 302, then 200", ((302, "moved"), (200, 0.7)), 3, (0.7, "endpoint"), [1]),
        ("an endpoint that is gone", (ConnectionError,) * 4, 4, ("stored", "fallback"), [1, 2, 4]),
        ("an endpoint that always answers 500", ((500, "oh"),) * 2, 2, ("stored", "fallback"), [1]),
        ("a single attempt at an endpoint that is gone", (ConnectionError,), 1, ("stored", "fallback"), []),
        ("a request that is wrong (400)", ((400, "trend is missing"),), 3, ("stored", "refused"), []),
        ("a token that has expired (401)", ((401, "who are you?"),), 3, ("stored", "refused"), []),
        (
            "a request that is wrong (422), after a lost one",
            (ConnectionError, (422, "no")),
            3,
            ("stored", "refused"),
            [1],
        ),
        ("a request that is wrong (499)", ((499, "gone away"),), 3, ("stored", "refused"), []),
    )
    # The seconds that are left before each attempt; the last, 0, are used up
    clocks: ClassVar[tuple[tuple[str, tuple[Any, ...], list[float], tuple[Any, str]], ...]] = (
        (
            "an endpoint that is gone, with 0.3, 0.1 and then 0 seconds left",
            (ConnectionError, ConnectionError),
            [0.3, 0.1, 0.0],
            ("stored", "fallback"),
        ),
        (
            "an endpoint that is silent until the deadline has passed by 0.02 seconds",
            (TimeoutError,),
            [0.3, -0.02],
            ("stored", "fallback"),
        ),
        ("a page whose time is used up before it asks", (), [0.0], ("stored", "fallback")),
    )
    pause = 0.2  # the seconds that each wait takes in the last case

    def check(self, patient: Callable[..., Any]) -> Verdict:
        for about, script, attempts, expected, pauses in self.cases:
            if told := self._run(patient, about, script, attempts, expected, pauses):
                return self.wrong(told)
        for about, script, clock, expected in self.clocks:
            if told := self._run(patient, about, script, 5, expected, None, clock):
                return self.wrong(told)
        if told := self._late(patient) or self._bug(patient):
            return self.wrong(told)
        return self.right("It tries again where that may help and time is left, and the page has an answer.")

    @staticmethod
    def _run(
        patient: Callable[..., Any],
        about: str,
        script: tuple[Any, ...],
        attempts: int,
        expected: tuple[Any, str],
        pauses: list[int] | None,
        clock: list[float] | None = None,
    ) -> str | None:
        """Play one case; return what is wrong with it, or None."""
        # What comes after the script is the end also of a loop that does not count.
        send = Mock(side_effect=chain(script, repeat((200, "one too many"))))
        fallback, wait = Mock(return_value="stored"), Mock()
        now = {"left": 9.0}

        def left() -> float:
            if clock:
                now["left"] = clock[min(send.call_count, len(clock) - 1)]
            return now["left"]

        try:
            answer = patient(send, fallback, attempts, wait, left)
        except (ConnectionError, TimeoutError) as error:
            return f"For {about}, {type(error).__name__} comes out. Catch it and try again."
        sent, fell = send.call_count, fallback.call_count
        waited = [pause for call in wait.call_args_list for pause in call.args]
        calls = f"with attempts={attempts} send is called {_times(sent)}, not {_times(len(script))}"
        if sent > len(script):
            return f"For {about}, {calls}."
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            return f"For {about} you return {answer!r}; it should be {expected!r}."
        if tuple(answer) != expected:
            return f"For {about} you return {tuple(answer)!r}; it should be {expected!r}."
        if sent != len(script):
            return f"For {about}, {calls}."
        given = [argument for call in send.call_args_list for argument in (*call.args, *call.kwargs.values())]
        allowed = clock[: len(script)] if clock else [9.0] * len(script)
        if given != allowed:
            return f"For {about} send is given {given}; the seconds that are left are {allowed}."
        if pauses is not None and waited != pauses:
            return f"For {about} you wait {waited}; it should be {pauses}."
        if fell != int(expected[1] != "endpoint"):
            return (
                f"For {about} the fallback is called {_times(fell)}; call it once, when nothing else is left."
            )
        return None

    def _late(self, patient: Callable[..., Any]) -> str | None:
        """Return what is said of one who does not count the time of a pause, or None."""
        send, wait = Mock(side_effect=ConnectionError), Mock()

        def left() -> float:
            return 0.3 - self.pause * wait.call_count

        patient(send, Mock(return_value="stored"), 3, wait, left)
        given = [argument for call in send.call_args_list for argument in (*call.args, *call.kwargs.values())]
        if [round(seconds, 1) for seconds in given] == [0.3, 0.1]:
            return None
        return (
            "For an endpoint that is gone, with 0.3 seconds at the beginning and pauses of "
            f"{self.pause:g}, send is given {[round(seconds, 1) for seconds in given]}; it should be "
            "[0.3, 0.1], and nothing after that. Ask left() after each pause."
        )

    @staticmethod
    def _bug(patient: Callable[..., Any]) -> str | None:
        """Return what is said of one who catches every exception, or None."""
        for bug in (KeyError, ValueError, TypeError):
            send = Mock(side_effect=bug("a bug"))
            with suppress(bug):
                patient(send, Mock(return_value="stored"), 2, Mock(), lambda: 9.0)
                return (
                    f"When send raises a {bug.__name__}, you go on. That is a fault of the program, which "
                    "nobody would see; catch ConnectionError and TimeoutError only."
                )
        return None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


complaints = Complaints()
differing = Differing()
side = Side()
judged = Judged()
patient = Patient()
