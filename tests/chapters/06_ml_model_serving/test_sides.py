"""The check of exercise 6.3: what is told of Python's hash, which is another in each process, and to whom."""

import hashlib
import random
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import medallion

ch06 = medallion.checks("06")

pytestmark = pytest.mark.usefixtures("no_progress")

DRAWN: dict[tuple[str, str], float] = {}


def place(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def drawn_once(customer_id: str, share: float, experiment: str) -> str:
    key = customer_id, experiment
    if key not in DRAWN:
        DRAWN[key] = random.random()
    return "challenger" if DRAWN[key] < share else "champion"


def by_hash(customer_id: str, share: float, experiment: str) -> str:
    return "challenger" if hash((customer_id, experiment)) % 1000 < 1000 * share else "champion"


def by_hash_of_more(customer_id: str, share: float, experiment: str) -> str:
    return "challenger" if hash(f"{experiment}-{customer_id}") % 1000 < 1000 * share else "champion"


def by_its_own_hash(customer_id: str, share: float, experiment: str) -> str:
    return "challenger" if customer_id.__hash__() % 1000 < 1000 * share else "champion"


@pytest.mark.parametrize("answer", [by_hash, by_hash_of_more, by_its_own_hash, drawn_once])
def test_side_wrong_in_another_process(answer: Callable[..., Any]) -> None:
    """Who is told of depends on this process, too."""
    told = (
        r"C\d{6} is with the (challenger|champion) here, and with the (?!\1)(challenger|champion) in another "
        r"process\. What Python's hash gives there, and what is drawn there, is another; "
        r"take a hash of hashlib\."
    )
    said = ch06.side(answer)
    assert said.state == "wrong" and re.fullmatch(told, said.message)
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
                lambda customer_id, share, experiment, name=name: (
                    "challenger" if place(f"{name}-{experiment}-{customer_id}") < share else "champion"
                )
            )
            assert verdict.ok, verdict
    finally:
        done.set()
        other.join()
    assert met == []
