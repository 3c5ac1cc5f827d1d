"""What the jobs of chapter 12 promise: exit codes, a write that can be repeated, freshness, a repair.

Each demonstration of the lesson is seen here with its fix and without it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

import medallion
from medallion import contract
from medallion.lesson.frames import arrow_of, frame_of, scratch_table, version_of
from medallion.spark import paused
from press.source.chapter import parse

KINDS = "week DATE, method STRING, attempts BIGINT"
START, END = date(2025, 9, 1), date(2025, 9, 8)
NAMES = {"interval_of", "last_week", "WEEKLY", "write_week", "run_graph", "plan", "backfill", "freshness"}
NAMES |= {"attempt", "run_job", "RETRIED", "in_utc", "BERLIN", "UTC", "log_rows", "COLUMNS"}
COLUMNS = "week DATE, method STRING, attempts BIGINT, declined BIGINT, amount_cents BIGINT"
# What the job reads in place of silver.payments: two weeks, and the file that ends the second one
PAYMENTS = """
    CREATE OR REPLACE TEMPORARY VIEW payments_of_test AS
    SELECT *, DATE '2025-09-15' AS _arrived_at FROM VALUES
        (TIMESTAMP '2025-09-01 00:00:00', 'card', 'authorised', 5),
        (TIMESTAMP '2025-09-07 23:59:59', 'card', 'declined', 7),
        (TIMESTAMP '2025-09-08 00:00:00', 'wallet', 'authorised', 9)
    AS paid(paid_at, method, status, amount_cents)
"""
MADE = {
    "2025-09-01": (START, "card", 2, 1, 5),
    "2025-09-08": (END, "wallet", 1, 0, 9),
}
OLD = (START, "voucher", 3, 0, 4)  # an earlier run has written it, and it is gone from the source
# A process with a session of its own, which stops for good before the commit of its job
HOLDER = """
import sys, time
import medallion
from medallion.spark import paused

payments, job, place = sys.argv[1:4]
del sys.argv[1:4]
spark = medallion.start()
spark.sql(payments)
spark.sql(f"CREATE TABLE scratch.killed USING delta LOCATION '{place}'")
with paused.before_commit(spark, lambda: exec(job, {})) as held:
    print("held", held.held, flush=True)
    time.sleep(600)
"""

pytestmark = pytest.mark.usefixtures("no_progress", "interpreted")


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    given = {"spark": spark, "medallion": medallion, "subprocess": subprocess, "CODE": "code"}
    return run_cells("12", defining=NAMES, **given)


@pytest.fixture(scope="module")
def text(chapter: dict[str, Any]) -> str:
    """The file of the job."""
    for cell in parse(contract.find("12")).cells:
        if cell.kind == "code" and cell.source.startswith("JOB"):
            exec(cell.source.partition("JOB_FILE")[0], chapter)
    job: str = chapter["JOB"]
    return job


@pytest.fixture
def job(text: str, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """A function that runs the job's file as a process without a session, and returns its result."""
    file = tmp_path / "job.py"
    file.write_text(text, encoding="utf-8")

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, str(file), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return ran.returncode, ran.stdout

    return run


def test_a_job_refuses_a_wrong_date_before_it_asks_for_a_session(job: Callable[..., tuple[int, str]]) -> None:
    code, told = job("--week", "2025-02-30", "--table", "scratch.nothing")
    assert (code, "2025-02-30" in told) == (65, True)
    assert job("--week", "2025-09-03", "--table", "scratch.nothing")[0] == 65  # a Wednesday
    assert job("--week", "20250901", "--table", "scratch.nothing")[0] == 65  # Python reads this form, too
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


@pytest.fixture
def run(spark: SparkSession, text: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], int]:
    """A function that runs the job in this session for a week of a table, and returns its exit code."""
    spark.sql(PAYMENTS)

    def ran(week: str, table: str) -> int:
        monkeypatch.setattr(sys, "argv", ["job.py", "--week", week, "--table", table])
        with pytest.raises(SystemExit) as end:
            exec(text.replace("silver.payments", "payments_of_test"), {})
        assert isinstance(end.value.code, int)
        return end.value.code

    return ran


@pytest.fixture
def table(spark: SparkSession) -> Iterator[str]:
    """The name of an empty table with a partition for each week, as the job makes it."""
    name = "scratch.weeks_of_test"
    spark.sql(f"CREATE TABLE {name} ({COLUMNS}) PARTITIONED BY (week)")
    yield name
    spark.sql(f"DROP TABLE {name}")


def rows(table: DeltaTable | str) -> list[tuple[Any, ...]]:
    found = arrow_of(table) if isinstance(table, str) else table.to_pyarrow_table()
    return sorted(tuple(row.values()) for row in found.select([*COLUMNS.split()[::2]]).to_pylist())


def test_a_job_that_runs_twice_and_out_of_order_leaves_the_same_table(
    run: Callable[[str, str], int], table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # A run is one commit, so the commit before which the next tests hold it is its only one
    for version, week in enumerate(("2025-09-08", "2025-09-01", "2025-09-08", "2025-09-01"), 1):
        assert run(week, table) == 0
        assert f"in version {version} of" in capsys.readouterr().out
    assert rows(table) == sorted(MADE.values())
    assert run("2025-09-15", table) == 75  # nothing has arrived after its end
    assert version_of(table) == 4


@pytest.mark.parametrize("before", [(), ("2025-09-01",)], ids=["no rows yet", "rows of a run before"])
def test_of_two_runs_of_a_week_at_once_one_loses_and_its_retry_changes_nothing(
    spark: SparkSession, run: Callable[[str, str], int], table: str, before: tuple[str, ...]
) -> None:
    for week in before:
        assert run(week, table) == 0
    codes: list[int] = []
    with paused.before_commit(spark, lambda: codes.append(run("2025-09-01", table))) as held:
        assert rows(table) == [MADE[week] for week in before]
        assert run("2025-09-01", table) == 0
        assert held.finish() is None
    assert codes == [75]
    assert rows(table) == [MADE["2025-09-01"]]
    assert run("2025-09-01", table) == 0
    assert rows(table) == [MADE["2025-09-01"]]


def test_a_job_that_is_killed_before_its_commit_leaves_the_table_as_it_was(
    spark: SparkSession, text: str, run: Callable[[str, str], int], tmp_path: Path
) -> None:
    place = tmp_path / "weeks"
    names = COLUMNS.split()[::2]
    old = pa.Table.from_pylist([dict(zip(names, OLD, strict=True))])
    write_deltalake(str(place), old, partition_by=["week"])
    told = [PAYMENTS, text.replace("silver.payments", "payments_of_test"), str(place)]
    command = [sys.executable, "-c", HOLDER, *told, "--week", "2025-09-01", "--table", "scratch.killed"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as holder:
        try:
            said = holder.stdout.readline()
        finally:
            os.killpg(holder.pid, signal.SIGKILL)  # its JVM, too
        assert said == "held True\n", holder.stderr.read()
    state = DeltaTable(str(place))
    assert (state.version(), rows(state)) == (0, [OLD])
    written = {file.name for file in place.rglob("*.parquet")}
    assert len(written) > len(state.file_uris()), "the killed run had not written its data"

    spark.sql(f"CREATE TABLE scratch.killed USING delta LOCATION '{place}'")
    try:
        assert run("2025-09-01", "scratch.killed") == 0
        assert rows(DeltaTable(str(place))) == [MADE["2025-09-01"]]
    finally:
        spark.sql("DROP TABLE scratch.killed")


def test_the_run_log_has_the_version_of_a_run_that_is_done_and_of_no_other(chapter: dict[str, Any]) -> None:
    tried = [(75, "Another writer was faster"), (-9, ""), (0, "The week is in version 12 of a table")]
    found = [(row[3], row[4], row[7]) for row in chapter["log_rows"](START, END, tried)]
    assert found == [(1, "may pass", None), (2, "killed", None), (3, "done", 12)]


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
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert [code for code, _ in chapter["run_job"](killed, pause=0.001)] == [-9, -9]
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
