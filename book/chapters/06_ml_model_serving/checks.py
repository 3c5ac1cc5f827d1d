"""The checks of chapter 06. None of them needs Spark."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Any, ClassVar
from unittest.mock import Mock

import pandas as pd

from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, other_kind
from medallion.lesson.frames import ANY, LEFT_OUT, Case, FrameExercise

_NAN = float("nan")


class Complaints(FunctionExercise):
    """Exercise 6.1. Every fault of a request by name, and nothing else."""

    number = "6.1"
    title = "name the faults of a request"
    takes = "a function of a dictionary and two lists of names, which returns a list of sentences"
    hints = (
        "Go through the names that should be there, then through those that are there.",
        "NaN is the one value that is not equal to itself. For isinstance a boolean is an int, "
        "so ask for bool first.",
        "value is None or value != value: only a fault if the name is required. "
        "isinstance(value, bool) or not isinstance(value, int | float): no number.",
    )
    # The row, and its faults
    rows: ClassVar[tuple[tuple[dict[str, Any], list[str]], ...]] = (
        ({"orders": 3, "spend": 12.5, "gap": 2.0}, []),
        ({"orders": 0, "spend": 0.0, "gap": None}, []),
        ({"orders": 3, "spend": 12.5, "gap": _NAN}, []),
        ({"orders": None, "spend": 12.5, "gap": 2.0}, ["orders must have a value"]),
        ({"orders": _NAN, "spend": 12.5, "gap": 2.0}, ["orders must have a value"]),
        ({"spend": 12.5, "gap": 2.0}, ["orders is missing"]),
        ({"orders": 3, "spend": 12.5}, ["gap is missing"]),
        ({"orders": "3", "spend": 12.5, "gap": 2.0}, ["orders is no number"]),
        ({"orders": 3, "spend": 12.5, "gap": "two"}, ["gap is no number"]),
        ({"orders": True, "spend": 12.5, "gap": 2.0}, ["orders is no number"]),
        ({"orders": 3, "spend": 12.5, "gap": False}, ["gap is no number"]),
        ({"orders": 3, "spend": 12.5, "gap": 2.0, "shoe": 44}, ["shoe is not known"]),
        ({"orders": 3, "spend": 12.5, "gap": 2.0, "shoe": None}, ["shoe is not known"]),
        (
            {"orders": None, "gap": "two", "shoe": 44},
            ["gap is no number", "orders must have a value", "shoe is not known", "spend is missing"],
        ),
        ({}, ["gap is missing", "orders is missing", "spend is missing"]),
    )

    cases = tuple(
        (
            f"For the row {row}, where orders and spend are required and gap is optional,",
            *(row, ["orders", "spend"], ["gap"]),
            faults,
        )
        for row, faults in rows
    )
    returns = "a list"
    kind = list
    praise = "Every fault is told by name, and nothing that is right."

    def differs(self, about: str, given: list[Any], found: Any, expected: list[str]) -> str | None:
        if lacking := [fault for fault in expected if fault not in found]:
            return f"{about} you do not say {lacking[0]!r}."
        if extra := [fault for fault in found if fault not in expected]:
            return f"{about} you say {extra[0]!r}, and that is no fault."
        if twice := [fault for fault in expected if found.count(fault) > 1]:
            return f"{about} you say {twice[0]!r} more than once."
        return None if [*found] == expected else f"{about} the sentences are right, and not sorted."


class Side(Exercise):
    """Exercise 6.2. The same side for a customer always, about the share, and growing with it."""

    number = "6.2"
    title = "split the traffic by a hash"
    takes = "a function of a customer_id and a share"
    hints = (
        "It needs a number between 0 and 1 that belongs to the customer: the same always, and spread evenly.",
        "Python's hash is another in each process. hashlib.sha256(customer_id.encode()) is the same "
        "everywhere.",
        'int.from_bytes(digest[:8], "big") / 2**64 < share: "challenger".',
    )
    customers = tuple(f"C{number:06}" for number in range(2_000))
    tolerance = 0.05  # four and a half standard deviations: no good hash is refused by chance

    def check(self, side: Callable[..., Any]) -> Verdict:
        before: set[str] = set()
        for share in (0.0, 0.1, 0.5, 1.0):
            answers = {customer: side(customer, share) for customer in self.customers}
            for customer, answer in answers.items():
                if answer not in ("challenger", "champion"):
                    return self.wrong(other_kind(answer, '"challenger" or "champion"'))
                if side(customer, share) != answer:
                    return self.wrong(
                        f"Asked twice at the share {share:g}, {customer} gets both sides. Do not draw; "
                        "derive the side from the customer_id."
                    )
            now = {customer for customer, answer in answers.items() if answer == "challenger"}
            between = 0 < share < 1
            if abs(len(now) / len(self.customers) - share) > (self.tolerance if between else 0):
                about = "about " if between else ""
                return self.wrong(
                    f"At the share {share:g}, {len(now)} of {len(self.customers)} customers are with the "
                    f"challenger; it should be {about}{share * len(self.customers):.0f}."
                )
            if left := sorted(before - now):
                return self.wrong(
                    f"{left[0]} was with the challenger at a smaller share, and is not at {share:g}. "
                    "Whoever is there stays there when the share grows."
                )
            before = now
        if wrong := self._elsewhere(side):
            return self.wrong(wrong)
        return self.right("Each customer has a side, and keeps it.")

    def _elsewhere(self, side: Callable[..., Any]) -> str | None:
        """Return which customer would be on another side in another process, or None."""
        here = [side(customer, 0.5) for customer in self.customers]
        with _other_hash(side):
            there = [side(_Elsewhere(customer), 0.5) for customer in self.customers]
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
    """Exercise 6.3. Answers with the label of their moment, once it is known."""

    number = "6.3"
    title = "join the answers to their labels"
    takes = "a function of two DataFrames of pandas, log and labels, and a day"
    hints = (
        "First the labels that are known on the day, then the join. A label belongs to a customer and "
        "a moment.",
        "labels[labels['known_at'] <= pd.Timestamp(day)], with cutoff renamed to asked_at.",
        'log.merge(known[["customer_id", "asked_at", "churned"]], on=["customer_id", "asked_at"]).',
    )
    keys = ("customer_id", "asked_at", "model_version")
    kinds: ClassVar = {
        "customer_id": ANY,
        "asked_at": "TIMESTAMP",
        "model_version": ANY,
        "score": ANY,
        "churned": ANY,
    }
    what = "The answer of version {model_version} to {customer_id} on {asked_at}"
    lost = "{what} is missing; {why}."
    doubled = "{what} comes out {times}: join by the customer and the moment."
    other = "{what} has {column} {found}; in the log and the labels it is {expected}."
    left_out = "{what} comes out with the label {mine[churned]}, but {why} on {about}."
    strange = "A row of {mine[customer_id]} and {mine[asked_at]} comes out, and the log has no such answer."
    moment = "{:%Y-%m-%d}"
    praise = "Every answer whose label is known is judged, and no other."
    # Customer, asked at, version, score; the label that comes out on 29 December, and why.
    answers = (
        ("C1", "2025-11-13", 1, 0.0, 1, "its label is known"),
        ("C1", "2025-11-13", 2, 0.1, 1, "each version's answer is judged"),
        ("C1", "2025-11-27", 1, 0.2, 0, "its label is known at midnight of the day"),
        ("C2", "2025-12-11", 1, 0.3, LEFT_OUT, "its label is not known yet"),
        ("C3", "2025-11-13", 1, 0.4, LEFT_OUT, "it has no label"),
        ("C4", "2025-11-13", 2, 0.5, 0, "its label is known"),
        ("C1", "2025-12-11", 2, 0.6, LEFT_OUT, "its label is not known yet"),
        ("C6", "2025-11-27", 1, 0.7, LEFT_OUT, "its label is known only at 06:00"),
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
    day = "2025-12-29"

    def cases(self) -> Iterator[Case]:
        log = pd.DataFrame([row[:4] for row in self.answers], columns=[*self.kinds][:4])
        log["asked_at"] = pd.to_datetime(log["asked_at"])
        labels = pd.DataFrame(self.labels, columns=["customer_id", "cutoff", "churned", "known_at"])
        for column in ("cutoff", "known_at"):
            labels[column] = pd.to_datetime(labels[column], format="ISO8601")
        yield Case((log, labels, self.day), self.answers, self.day)

    def wrong_in(self, given: Any, case: Case) -> str | None:
        if not isinstance(given, pd.DataFrame):
            return other_kind(given, "a DataFrame of pandas")
        for column in self.kinds:
            if column not in given.columns:
                return f"The column {column} is missing; yours are {', '.join(given.columns)}."
        if not pd.api.types.is_datetime64_dtype(kind := given["asked_at"].dtype):
            return f"The column asked_at is of the type {kind}; leave it as it is in the log."
        return self.wrong_among([*given[[*self.kinds]].itertuples(index=False, name=None)], case)


class Patient(Exercise):
    """Exercise 6.4. A few attempts with growing pauses, then the fallback; a bad request is told at once."""

    number = "6.4"
    title = "retry, then fall back"
    takes = "a function of send, fallback, attempts and wait"
    hints = (
        "A loop over the attempts: wait (not before the first), send, and look at what came.",
        "Catch (ConnectionError, TimeoutError) around send() only, so that your own ValueError gets through.",
        "if attempt: wait(2 ** (attempt - 1)) at the beginning of each turn; raise for 400 <= status <= 499 "
        "that is not in (408, 429); after the loop return fallback().",
    )
    # What the case is about, what send does in turn (a class is raised), attempts, what comes out, the waits.
    cases: ClassVar[tuple[tuple[str, tuple[Any, ...], int, Any, list[int]], ...]] = (
        ("an endpoint that answers at once", ((200, "score"),), 3, "score", []),
        ("an endpoint that is gone for one attempt", (ConnectionError, (200, "score")), 3, "score", [1]),
        ("an endpoint that is slow twice", (TimeoutError, TimeoutError, (200, "score")), 3, "score", [1, 2]),
        ("an endpoint that gives the score 0, after a lost one", (TimeoutError, (200, 0.0)), 3, 0.0, [1]),
        ("an endpoint that answers 503, then 200", ((503, "busy"), (200, "score")), 3, "score", [1]),
        (
            "an endpoint that is asked too often (429), then answers",
            ((429, "slow"), (200, "score")),
            3,
            "score",
            [1],
        ),
        (
            "an endpoint that gives up waiting (408), then answers",
            ((408, "late"), (200, "score")),
            3,
            "score",
            [1],
        ),
        ("an endpoint that answers 302, then 200", ((302, "moved"), (200, "score")), 3, "score", [1]),
        ("an endpoint that is gone", (ConnectionError,) * 4, 4, "fallback", [1, 2, 4]),
        ("an endpoint that always answers 500", ((500, "oh"),) * 2, 2, "fallback", [1]),
        ("a single attempt at an endpoint that is gone", (ConnectionError,), 1, "fallback", []),
        ("a request that is wrong (400)", ((400, "trend is missing"),), 3, ValueError, []),
        (
            "a request that is wrong (422), after a lost one",
            (ConnectionError, (422, "no")),
            3,
            ValueError,
            [1],
        ),
        ("a request that is wrong (499)", ((499, "gone away"),), 3, ValueError, []),
    )

    def check(self, patient: Callable[..., Any]) -> Verdict:
        for about, script, attempts, expected, pauses in self.cases:
            told = self._run(patient, about, script, attempts, expected, pauses)
            if told:
                return self.wrong(told)
        return self.right("It tries again where that may help, says so where it does not, and always ends.")

    @staticmethod
    def _run(
        patient: Callable[..., Any],
        about: str,
        script: tuple[Any, ...],
        attempts: int,
        expected: Any,
        pauses: list[int],
    ) -> str | None:
        """Play one case; return what is wrong with it, or None."""
        # What comes after the script is the end also of a loop that does not count.
        send = Mock(side_effect=chain(script, repeat((200, "one too many"))))
        fallback, wait = Mock(return_value="fallback"), Mock()
        problem: ValueError | None = None
        answer = None
        try:
            answer = patient(send, fallback, attempts, wait)
        except (ConnectionError, TimeoutError) as error:
            return f"For {about}, {type(error).__name__} comes out. Catch it and try again."
        except ValueError as error:
            problem = error
        sent, fell = send.call_count, fallback.call_count
        waited = [pause for call in wait.call_args_list for pause in call.args]
        calls = f"with attempts={attempts} send is called {_times(sent)}, not {_times(len(script))}"
        if sent > len(script):
            return f"For {about}, {calls}."
        if expected is ValueError:
            said = script[-1][1]
            if problem is None:
                return f"For {about} you return {answer!r}; raise ValueError({said!r})."
            if str(problem) != said:
                return f"For {about} the ValueError says {str(problem)!r}; it should say {said!r}."
        elif problem is not None:
            return f"For {about} a ValueError comes out: {problem}."
        elif answer != expected:
            return f"For {about} you return {answer!r}; it should be {expected!r}."
        if sent != len(script):
            return f"For {about}, {calls}."
        if waited != pauses:
            return f"For {about} you wait {waited}; it should be {pauses}."
        if fell != int(expected == "fallback"):
            return (
                f"For {about} the fallback is called {_times(fell)}; call it once, when nothing else is left."
            )
        return None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


complaints = Complaints()
side = Side()
judged = Judged()
patient = Patient()
