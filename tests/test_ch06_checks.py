"""The checks of chapter 06: the blank, the chapter's own solution, and what wrong answers are told."""

import hashlib
import itertools
import random
import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from verdicts import NOT_DONE, wrong

import medallion

ch06 = medallion.checks("06")

pytestmark = pytest.mark.usefixtures("no_progress")


@pytest.fixture(scope="module")
def chapter(run_cells: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    """The chapter's solutions, without its setup: no exercise of it needs Spark."""
    return SimpleNamespace(**run_cells("06", "solution", pd=pd))


@pytest.mark.parametrize("name", ["complaints", "side", "judged", "patient"])
def test_blank_and_solution(chapter: SimpleNamespace, name: str) -> None:
    def blank(*_: object) -> object: ...

    exercise = getattr(ch06, name)
    assert (exercise(blank).state, exercise(blank).message) == ("open", NOT_DONE)
    assert exercise(getattr(chapter, name)).ok


# 6.1 ---------------------------------------------------------------------------------------------


def faults(row: dict[str, Any], required: list[str], optional: list[str], **change: Any) -> list[str]:
    """Return the faults of a request, with one condition changed."""
    names = [*required, *optional]
    found = [f"{name} is missing" for name in change.get("looked_for", names) if name not in row]
    found += [f"{name} is not known" for name in row if name not in names]
    for name, value in row.items():
        empty = value is None or (value != value and not change.get("nan"))
        if name not in names:
            continue
        if empty:
            found += [f"{name} must have a value"] if name in required or change.get("strict") else []
        elif (isinstance(value, bool) and not change.get("bool")) or not isinstance(value, int | float):
            found.append(f"{name} is no number")
    return found if change.get("unsorted") else sorted(found)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"strict": True},
            "For the row {'orders': 0, 'spend': 0.0, 'gap': None}, where orders and "
            "spend are required and gap "
            "is optional, you say 'gap must have a value', and that is no fault.",
        ),
        (
            {"nan": True},
            "For the row {'orders': nan, 'spend': 12.5, 'gap': 2.0}, where orders and spend are required and "
            "gap is optional, you do not say 'orders must have a value'.",
        ),
        (
            {"looked_for": ["orders", "spend"]},
            "For the row {'orders': 3, 'spend': 12.5}, where orders and spend are "
            "required and gap is optional, "
            "you do not say 'gap is missing'.",
        ),
        (
            {"bool": True},
            "For the row {'orders': True, 'spend': 12.5, 'gap': 2.0}, where orders "
            "and spend are required and "
            "gap is optional, you do not say 'orders is no number'.",
        ),
        (
            {"unsorted": True},
            "For the row {'orders': None, 'gap': 'two', 'shoe': 44}, where orders and spend are required and "
            "gap is optional, the sentences are right, and not sorted.",
        ),
    ],
)
def test_complaints_wrong(change: dict[str, Any], told: str) -> None:
    def answer(row: dict[str, Any], required: list[str], optional: list[str]) -> list[str]:
        return faults(row, required, optional, **change)

    assert wrong(ch06.complaints(answer)) == told


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            lambda row, required, optional: faults(row, required, optional) * 2,
            "For the row {'orders': None, 'spend': 12.5, 'gap': 2.0}, where orders and spend are required "
            "and gap is optional, you say 'orders must have a value' more than once.",
        ),
        (
            lambda row, required, optional: set(faults(row, required, optional)),
            "Your function returned set(). It should return a list.",
        ),
        (
            lambda row, required, optional: faults(row, required, optional).sort(),
            "Your function returned nothing. Does it end with return? It should return a list.",
        ),
    ],
)
def test_complaints_of_another_form(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch06.complaints(answer)) == told


# 6.2 ---------------------------------------------------------------------------------------------


def place(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


TURNS = itertools.cycle(["champion", "champion", "challenger"])
DRAWN: dict[str, float] = {}


def drawn(customer_id: str, share: float) -> str:
    return "champion" if share == 0 else next(TURNS)


def drawn_once(customer_id: str, share: float) -> str:
    if customer_id not in DRAWN:
        DRAWN[customer_id] = random.random()
    return "challenger" if DRAWN[customer_id] < share else "champion"


def by_hash(customer_id: str, share: float) -> str:
    return "challenger" if hash(customer_id) % 1000 < 1000 * share else "champion"


def by_hash_of_more(customer_id: str, share: float) -> str:
    return "challenger" if hash(f"voucher-{customer_id}") % 1000 < 1000 * share else "champion"


def by_its_own_hash(customer_id: str, share: float) -> str:
    return "challenger" if customer_id.__hash__() % 1000 < 1000 * share else "champion"


def up_to_it(customer_id: str, share: float) -> str:
    return "challenger" if int(customer_id[1:]) % 100 <= 100 * share else "champion"


def nearly_all(customer_id: str, share: float) -> str:
    return "challenger" if 1 + int(customer_id[1:]) % 100 < 100 * share else "champion"


def other_each_time(customer_id: str, share: float) -> str:
    return "challenger" if place(f"{customer_id}{share}") < share else "champion"


def the_other_way(customer_id: str, share: float) -> str:
    return "champion" if place(customer_id) < share else "challenger"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            drawn,
            "Asked twice at the share 0.1, C000000 gets both sides. Do not draw; "
            "derive the side from the customer_id.",
        ),
        (
            other_each_time,
            "C000003 was with the challenger at a smaller share, and is not at 0.5. "
            "Whoever is there stays there when the share grows.",
        ),
        (
            the_other_way,
            "At the share 0, 2000 of 2000 customers are with the challenger; it should be 0.",
        ),
        (up_to_it, "At the share 0, 20 of 2000 customers are with the challenger; it should be 0."),
        (nearly_all, "At the share 1, 1980 of 2000 customers are with the challenger; it should be 2000."),
        (
            lambda customer_id, share: "challenger" if place(customer_id) < share**2 else "champion",
            "At the share 0.1, 16 of 2000 customers are with the challenger; it should be about 200.",
        ),
        (
            lambda customer_id, share: place(customer_id) < share,
            'Your function returned False. It should return "challenger" or "champion".',
        ),
    ],
)
def test_side_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch06.side(answer)) == told


@pytest.mark.parametrize("answer", [by_hash, by_hash_of_more, by_its_own_hash, drawn_once])
def test_side_wrong_in_another_process(answer: Callable[..., Any]) -> None:
    """Who is told of depends on this process, too."""
    told = (
        r"C\d{6} is with the (challenger|champion) here, and with the (?!\1)(challenger|champion) in another "
        r"process\. What Python's hash gives there, and what is drawn there, is another; "
        r"take a hash of hashlib\."
    )
    assert re.fullmatch(told, wrong(ch06.side(answer)))
    assert "hash" not in globals()


def test_any_good_hash_will_do() -> None:
    """No spread that is only a little uneven is refused, and no other thread meets another hash."""
    met: list[BaseException] = []
    done = threading.Event()

    def hashes() -> None:
        try:
            while not done.is_set():
                hash(Path("/a"))  # calls the builtin by its name
        except ValueError as error:
            met.append(error)

    other = threading.Thread(target=hashes)
    other.start()
    try:
        for name in range(12):
            verdict = ch06.side(
                lambda customer_id, share, name=name: (
                    "challenger" if place(f"{name}-{customer_id}") < share else "champion"
                )
            )
            assert verdict.ok, verdict
    finally:
        done.set()
        other.join()
    assert met == []


# 6.3 ---------------------------------------------------------------------------------------------


def join(log: Any, labels: Any, day: str, on: Any = ("customer_id", "asked_at"), how: str = "inner") -> Any:
    known = labels[labels["known_at"] <= pd.Timestamp(day)].rename(columns={"cutoff": "asked_at"})
    return log.merge(known[[*on, "churned"]], on=list(on), how=how)


def all_labels(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, "2099-01-01")


def before_the_day(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, "2025-12-28")


def by_customer(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, day, on=("customer_id",))


def unlabelled_too(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, day, how="left")


def those_of_the_day_too(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels.assign(known_at=labels["known_at"].dt.normalize()), day)


def labels_without_answer(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, day, how="right")


def the_last_answer_only(log: Any, labels: Any, day: str) -> Any:
    return join(log.drop_duplicates(["customer_id", "asked_at"], keep="last"), labels, day)


def scores_moved(log: Any, labels: Any, day: str) -> Any:
    return join(log.assign(score=log["score"].to_numpy()[::-1]), labels, day)


def no_score(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, day).drop(columns="score")


def moments_as_text(log: Any, labels: Any, day: str) -> Any:
    found = join(log, labels, day)
    return found.assign(asked_at=found["asked_at"].astype(str))


def the_labels_alone(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, day)["churned"].tolist()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            those_of_the_day_too,
            "The answer of version 1 to C6 on 2025-11-27 comes out with the label 1, "
            "but its label is known only at 06:00 on 2025-12-29.",
        ),
        (
            labels_without_answer,
            "A row of C5 and 2025-11-13 comes out, and the log has no such answer.",
        ),
        (
            the_last_answer_only,
            "The answer of version 1 to C1 on 2025-11-13 is missing; its label is known.",
        ),
        (
            scores_moved,
            "The answer of version 1 to C1 on 2025-11-13 has the score 0.7; in the log it is 0.0.",
        ),
        (
            no_score,
            "The column score is missing; yours are customer_id, asked_at, model_version, churned.",
        ),
        (moments_as_text, "The column asked_at is of the type object; leave it as it is in the log."),
        (
            the_labels_alone,
            "Your function returned [1, 1, 0, 0]. It should return a DataFrame of pandas.",
        ),
        (
            all_labels,
            "The answer of version 1 to C2 on 2025-12-11 comes out with the label 1, "
            "but its label is not known yet on 2025-12-29.",
        ),
        (
            before_the_day,
            "The answer of version 1 to C1 on 2025-11-27 is missing; its label is "
            "known at midnight of the day.",
        ),
        (
            by_customer,
            "The answer of version 1 to C1 on 2025-11-13 comes out 2 times: "
            "join by the customer and the moment.",
        ),
        (
            unlabelled_too,
            "The answer of version 1 to C2 on 2025-12-11 comes out with the label nan, "
            "but its label is not known yet on 2025-12-29.",
        ),
    ],
)
def test_judged_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch06.judged(answer)) == told


# 6.4 ---------------------------------------------------------------------------------------------


def trying(send: Any, fallback: Any, attempts: int, wait: Any, **change: Any) -> Any:
    """Try, with one condition changed."""
    for attempt in range(attempts - change.get("fewer", 0)):
        if attempt and not change.get("waits_after"):
            wait(change.get("pause") or 2 ** (attempt - 1))
        try:
            status, result = send()
        except change.get("caught", (ConnectionError, TimeoutError)):
            if change.get("waits_after"):
                wait(2**attempt)
            continue
        if status in change.get("good", (200,)):
            return result
        at_fault = {*range(400, 500)} - {408, 429}
        if status in change.get("bad", at_fault) and not change.get("stubborn"):
            raise ValueError(result)
    return fallback()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"pause": 1},
            "For an endpoint that is slow twice you wait [1, 1]; it should be [1, 2].",
        ),
        (
            {"waits_after": True},
            "For an endpoint that answers 503, then 200 you wait []; it should be [1].",
        ),
        (
            {"caught": ConnectionError},
            "For an endpoint that is slow twice, TimeoutError comes out. Catch it and try again.",
        ),
        (
            {"stubborn": True},
            "For a request that is wrong (400), with attempts=3 send is called 2 times, not once.",
        ),
        (
            {"fewer": 1},
            "For an endpoint that is slow twice you return 'fallback'; it should be 'score'.",
        ),
        (
            {"good": range(200, 400)},
            "For an endpoint that answers 302, then 200 you return 'moved'; it should be 'score'.",
        ),
        (
            {"bad": (400, 422)},
            "For a request that is wrong (499), with attempts=3 send is called 2 times, not once.",
        ),
        (
            {"bad": range(400, 600)},
            "For an endpoint that answers 503, then 200 a ValueError comes out: busy.",
        ),
        (
            {"bad": range(400, 500)},
            "For an endpoint that is asked too often (429), then answers a ValueError comes out: slow.",
        ),
    ],
)
def test_patient_wrong(change: dict[str, Any], told: str) -> None:
    def answer(send: Any, fallback: Any, attempts: int, wait: Any) -> Any:
        return trying(send, fallback, attempts, wait, **change)

    assert wrong(ch06.patient(answer)) == told


def only_what_is_true(send: Any, fallback: Any, attempts: int, wait: Any) -> Any:
    def shy() -> Any:
        status, result = send()
        return (status, result) if result else (500, result)

    return trying(shy, fallback, attempts, wait)


def without_counting(send: Any, fallback: Any, attempts: int, wait: Any) -> Any:
    """Nothing but an answer ends this; the check has to end all the same."""
    return trying(send, fallback, 10**9, wait, caught=Exception)


def waits_at_the_end_too(send: Any, fallback: Any, attempts: int, wait: Any) -> Any:
    def last_wait() -> Any:
        wait(2 ** (attempts - 1))
        return fallback()

    return trying(send, last_wait, attempts, wait)


def fallback_at_hand(send: Any, fallback: Any, attempts: int, wait: Any) -> Any:
    spare = fallback()
    return trying(send, lambda: spare, attempts, wait)


def swallows_its_own(send: Any, fallback: Any, attempts: int, wait: Any) -> Any:
    try:
        return trying(send, fallback, attempts, wait)
    except ValueError:
        return fallback()


def without_its_text(send: Any, fallback: Any, attempts: int, wait: Any) -> Any:
    try:
        return trying(send, fallback, attempts, wait)
    except ValueError:
        raise ValueError("bad request") from None


def the_pair(send: Any, fallback: Any, attempts: int, wait: Any) -> Any:
    return send()


def raises_another(send: Any, fallback: Any, attempts: int, wait: Any) -> Any:
    try:
        return trying(send, fallback, attempts, wait)
    except ValueError as error:
        raise RuntimeError(str(error)) from None


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            only_what_is_true,
            "For an endpoint that gives the score 0, after a lost one, with attempts=3 send is called "
            "3 times, not 2 times.",
        ),
        (
            without_counting,
            "For an endpoint that is gone, with attempts=4 send is called 5 times, not 4 times.",
        ),
        (waits_at_the_end_too, "For an endpoint that is gone you wait [1, 2, 4, 8]; it should be [1, 2, 4]."),
        (
            fallback_at_hand,
            "For an endpoint that answers at once the fallback is called once; "
            "call it once, when nothing else is left.",
        ),
        (
            swallows_its_own,
            "For a request that is wrong (400) you return 'fallback'; raise ValueError('trend is missing').",
        ),
        (
            without_its_text,
            "For a request that is wrong (400) the ValueError says 'bad request'; "
            "it should say 'trend is missing'.",
        ),
        (the_pair, "For an endpoint that answers at once you return (200, 'score'); it should be 'score'."),
        (
            raises_another,
            "Your code raised RuntimeError: trend is missing (in your line "
            f"{raises_another.__code__.co_firstlineno + 4}: raise RuntimeError(str(error)) from None)",
        ),
    ],
)
def test_patient_of_another_kind(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch06.patient(answer)) == told
