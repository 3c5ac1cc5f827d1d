"""A process that runs a part of a chapter and is killed: what it knows, when it dies, and what dies with it.

Here it starts no Spark, so the tests take no time.
"""

import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from medallion.lesson import rehearsal


@pytest.fixture(autouse=True)
def without_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_BEGIN", "import pathlib, subprocess, sys, time\n")


def write(place: str, text: object) -> None:
    """Write a file at once, so that nobody reads the half of it."""
    pathlib.Path(place + "_").write_text(str(text))
    pathlib.Path(place + "_").rename(place)


def begun(place: str) -> None:
    """Start a process, note its id, and stand still."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    write(place, child.pid)
    time.sleep(600)


def test_it_knows_functions_and_values_and_dies_at_the_file(tmp_path: Path) -> None:
    place = tmp_path / "written"
    task = f"write({str(place)!r}, DAYS)\ntime.sleep(600)"
    assert rehearsal.killed([write], {"DAYS": [1, 2]}, task, when=place)
    assert place.read_text() == "[1, 2]"


def test_what_it_started_dies_with_it(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    assert rehearsal.killed([write, begun], {}, f"begun({str(place)!r})", when=place)
    until(lambda: not alive(int(place.read_text())))


@pytest.mark.parametrize(
    ("task", "why"), [("unknown()", "NameError: name 'unknown' is not defined"), ("", "it wrote nothing.")]
)
def test_a_process_that_ends_by_itself_says_why(tmp_path: Path, task: str, why: str) -> None:
    with pytest.raises(RuntimeError, match=f"ended before it could be killed: {why}"):
        rehearsal.killed([], {}, task, when=tmp_path / "never")


def test_a_file_that_does_not_come_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_SECONDS", 1)
    place = tmp_path / "pid"
    with pytest.raises(RuntimeError, match="never did not come within 1 seconds"):
        rehearsal.killed([write, begun], {}, f"begun({str(place)!r})", when=tmp_path / "never")
    until(lambda: not alive(int(place.read_text())))


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def until(so: Callable[[], Any]) -> None:
    give_up = time.monotonic() + 30
    while not so():
        assert time.monotonic() < give_up
        time.sleep(0.01)
