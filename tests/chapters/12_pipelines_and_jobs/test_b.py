"""What the jobs of chapter 12 promise: exit codes, a write that can be repeated, freshness, a repair.

Each demonstration of the lesson is seen here with its fix and without it.
"""

import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import medallion
from medallion import contract
from medallion.lesson.frames import arrow_of, frame_of, scratch_table, version_of
from press.source.chapter import parse

KINDS = "week DATE, method STRING, attempts BIGINT"
START, END = date(2025, 9, 1), date(2025, 9, 8)
NAMES = {"interval_of", "last_week", "WEEKLY", "write_week", "run_graph", "plan", "backfill", "freshness"}
NAMES |= {"attempt", "run_job", "RETRIED", "in_utc", "BERLIN", "UTC"}

pytestmark = pytest.mark.usefixtures("no_progress", "interpreted")


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return run_cells("12", defining=NAMES, spark=spark, medallion=medallion, environment=None)


@pytest.fixture
def job(chapter: dict[str, Any], tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """A function that runs the job's file as a process without a session, and returns its result."""
    for cell in parse(contract.find("12")).cells:
        if cell.kind == "code" and cell.source.startswith("JOB"):
            exec(cell.source.partition("JOB_FILE")[0], chapter)
    file = tmp_path / "job.py"
    file.write_text(chapter["JOB"], encoding="utf-8")

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, str(file), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return ran.returncode, ran.stdout

    return run


def test_a_job_refuses_a_wrong_date_before_it_asks_for_a_session(job: Callable[..., tuple[int, str]]) -> None:
    code, told = job("--week", "2025-02-30", "--table", "scratch.nothing")
    assert (code, "2025-02-30" in told) == (65, True)
    assert job("--week", "2025-09-03", "--table", "scratch.nothing")[0] == 65  # a Wednesday
    assert job("--week", "2025-09-01")[0] == 2  # no table: how argparse ends


def test_an_append_doubles_a_retried_week_and_the_fix_does_not(chapter: dict[str, Any]) -> None:
    rows = frame_of([(START, "card", 5)], KINDS)
    with scratch_table(KINDS) as appended, scratch_table(KINDS) as replaced:
        for _ in range(2):
            rows.write.mode("append").saveAsTable(appended)
            chapter["write_week"](replaced, rows, START, END)
        assert arrow_of(appended).num_rows == 2
        assert arrow_of(replaced).num_rows == 1
        assert version_of(replaced) == 2


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (datetime(2026, 1, 6, 7, 59), "fresh"),
        (datetime(2026, 1, 6, 8), "1 week(s) late"),
        (datetime(2025, 12, 30, 8), "fresh"),
        (datetime(2026, 1, 13, 8), "2 week(s) late"),
    ],
)
def test_freshness_changes_at_the_promised_moment(chapter: dict[str, Any], now: datetime, state: str) -> None:
    assert chapter["freshness"](date(2025, 12, 22), now) == state
    assert chapter["freshness"](None, now) == "empty"


def test_what_may_pass_is_tried_again_up_to_a_limit_and_wrong_data_are_not(chapter: dict[str, Any]) -> None:
    for code, attempts in ((0, 1), (1, 1), (65, 1), (75, 3)):
        command = [sys.executable, "-c", f"import sys; sys.exit({code})"]
        tried = chapter["run_job"](command, attempts=3, pause=0.001)
        assert [one for one, _ in tried] == [code] * attempts


def test_a_repair_does_not_make_what_is_good(chapter: dict[str, Any]) -> None:
    graph = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}
    broken, made = {"c"}, []

    def make(table: str) -> None:
        made.append(table)
        if table in broken:
            raise RuntimeError("broken")

    states = chapter["run_graph"](graph, make, list(graph))
    assert (states["b"], states["d"], states["e"]) == ("done", "skipped", "done")
    broken.clear()
    made.clear()
    todo = chapter["plan"](graph, [one for one in states if states[one] == "done"], [])
    assert set(chapter["run_graph"](graph, make, todo).values()) == {"done"}
    assert made == ["c", "d"]


def test_a_backfill_of_other_pieces_leaves_the_same_weeks(chapter: dict[str, Any]) -> None:
    def made(days: int) -> dict[date, int]:
        store: dict[date, int] = {}
        first = date(2025, 6, 30)
        pieces = [(first + timedelta(n), first + timedelta(n + days)) for n in range(0, 182, days)]

        def run(start: date, end: date) -> None:
            for number in range((end - start).days // 7):
                week = start + timedelta(7 * number)
                store[week] = store.get(week, 0) + 1

        assert set(chapter["backfill"](pieces[::-1], run, 2).values()) == {"done"}
        return store

    assert made(7) == made(14) == made(91)
    assert set(made(7).values()) == {1}


def test_a_night_has_an_hour_twice_and_another_lacks_one(chapter: dict[str, Any]) -> None:
    in_utc = chapter["in_utc"]
    assert in_utc(2025, 10, 26, 2, 30) != in_utc(2025, 10, 26, 2, 30, fold=1)
    assert in_utc(2026, 3, 29, 2, 30)[1] == "03:30 Berlin"
    assert in_utc(2025, 9, 8, 2, 30)[1] == "02:30 Berlin"
