"""The chapter's pipeline of payments, killed with SIGKILL and resumed, equals the batch: each payment once.

A micro-batch is killed at each of its steps: before its first write, after each of its three writes, of which
the last is the moment between a commit of the table and the checkpoint's note of it. The pipeline waits at
a step until it is told to go on, and has on the disk then what it would leave if it were killed. So one
process gives all steps: its folders are copied at each, and at the last it is killed. Each copy is resumed
here, through the batch that was cut off, and the killed one by a batch more.

`MEDALLION_KILLS=50` adds fifty moments that are drawn by lot. For these the process stands still (SIGSTOP).
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from conftest import INTERPRETED, TESTS, run_chapter
from delta.tables import DeltaTable
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

from medallion.lesson import arrivals

pytestmark = pytest.mark.usefixtures("interpreted")

Launch = Callable[..., "subprocess.Popen[str]"]

STEPS = ("begun", "aside", "alerts", "live")
CUT = 2  # the micro-batch that is killed
KILLS = int(os.environ.get("MEDALLION_KILLS") or 0)
A_PROCESS = 5  # moments at random that one process gives
SECONDS = 240
DAYS = 5
NAMES = (
    "PAYMENT", "LOOK_BACK", "KM", "with_rules", "first_lines", "flagged", "name_of", "append", "land",
    "carry_on", "follow", "COLUMNS", "prepare", "breaks",
)  # fmt: skip
FOUND = ["attempts_1h", "km_per_hour", "rule"]


def functions() -> dict[str, Any]:
    """Return the chapter's own functions, with those that its exercises define."""
    given = {"pd": pd, "F": F, "Window": Window, "DeltaTable": DeltaTable, "json": json}
    return run_chapter("07", "solution", defining=NAMES, **given)


def payments() -> tuple[list[str], list[pd.Timestamp]]:
    """Return lines of some days and their arrival: some late, some repeated, and some that are bad.

    Each day has four attempts on one device within a quarter of an hour, and a customer who travels too fast.
    """
    draw = random.Random(7)
    lines, arrived = [], []
    for n in range(DAYS * 30):
        at = pd.Timestamp("2025-11-01") + pd.Timedelta(minutes=48 * n + draw.randrange(40))
        row = {
            "payment_id": f"P{n:04}", "customer_id": f"C{draw.randrange(25)}",
            "card_id": draw.choice([None, f"K{draw.randrange(30)}"]), "device_id": f"D{draw.randrange(12)}",
            "amount_cents": draw.randrange(100, 20_000), "status": draw.choice(["authorised", "declined"]),
            "lat": 50 + draw.random(), "lon": 8 + draw.random(),
        }  # fmt: skip
        place = n % 30
        if place in (10, 11, 12, 13):
            at = pd.Timestamp("2025-11-01") + pd.Timedelta(minutes=48 * (n - place + 10) + 5 * (place - 10))
            row |= {"device_id": "D99", "status": "authorised"}
        if place in (14, 15):
            row |= {"customer_id": "C99", "status": "authorised", "lat": 50.0 if place == 14 else 10.0}
        came = at + pd.Timedelta(hours=9 if n % 13 == 5 and n < (DAYS - 1) * 30 else 0, seconds=2)
        row["paid_at"] = f"{at:%Y-%m-%dT%H:%M:%S}Z"
        row["received_at"] = f"{came:%Y-%m-%dT%H:%M:%S}Z"
        bad = [{"amount_cents": 0}, {"device_id": None}, {"paid_at": "2099-01-01T00:00:00Z"}]
        row |= bad[n // 20 % 3] if n % 20 == 19 else {}
        for again in range(2 if n % 15 == 7 else 1):
            lines.append(json.dumps(row))
            arrived.append(came + pd.Timedelta(seconds=again))
    return lines, arrived


@dataclass
class Chain:
    """A stream with its folders: killed and resumed until all has been read."""

    place: Path
    arrivals: Path
    tables: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.tables = {name: f"delta.`{self.place / name}`" for name in ("live", "alerts", "aside")}

    @property
    def task(self) -> str:
        notes = f"pathlib.Path({str(self.place / 'notes')!r})"
        return f"names['follow'](spark, {str(self.arrivals)!r}, {self.tables!r}, {notes}, files=1)"

    def noted(self) -> list[int]:
        """The batches that the checkpoint knows to be done."""
        return sorted(int(note.name) for note in (self.place / "notes" / "commits").glob("[0-9]*"))

    def landed(self) -> int:
        """The last batch that the table of the payments has, by Delta's log; -1 for none."""
        last = -1
        for commit in (self.place / "live" / "_delta_log").glob("*.json"):
            for line in commit.read_text(encoding="utf-8").splitlines():
                last = max(last, json.loads(line).get("txn", {}).get("version", -1))
        return last

    def between(self) -> bool:
        """Whether the table has a batch of which the checkpoint has no note."""
        return self.landed() > max(self.noted(), default=-1)

    def copied(self, name: str) -> "Chain":
        """Return a chain of its own that goes on from what the disk holds now."""
        place = self.place.with_name(name)
        shutil.copytree(self.place, place)
        return Chain(place, self.arrivals)


def started(chain: Chain, launch: Launch, waiting: bool = False) -> "subprocess.Popen[str]":
    """Go on in a process of its own, waiting at each step if it is to; return it when it has begun."""
    ready = chain.place / "ready"
    ready.unlink(missing_ok=True)
    wait = f"test_crash.wait_at_each_step(names, pathlib.Path({str(chain.place)!r}))\n" if waiting else ""
    child = launch(
        f"import sys\nsys.path[:0] = {[str(Path(__file__).parent), TESTS]}\n"
        "import medallion, pathlib, test_crash\n"
        "spark, names = medallion.start(), test_crash.functions()\n"
        f"for setting in {INTERPRETED!r}.items():\n    spark.conf.set(*setting)\n{wait}"
        f"pathlib.Path({str(ready)!r}).touch()\n{chain.task}"
    )
    until(ready.exists, child)
    return child


def until(came: Callable[[], bool], child: "subprocess.Popen[str]") -> None:
    """Wait until something is so while the process runs."""
    give_up = time.monotonic() + SECONDS
    while not came():
        assert child.poll() is None, f"ended too early: {child.communicate()[1][-2000:]}"
        assert time.monotonic() < give_up, "the moment did not come"
        time.sleep(0.01)


def wait_at_each_step(names: dict[str, Any], place: Path) -> None:
    """Have the functions wait as batch CUT begins and after each write, until the file of the step goes."""
    land, append = names["land"], names["append"]

    def wait(number: int, step: str) -> None:
        if number != CUT:
            return
        gate = place / f"at-{step}"
        gate.touch()
        while gate.exists():
            time.sleep(0.01)

    def begin(rows: Any, number: int, *given: Any) -> None:
        wait(number, "begun")
        land(rows, number, *given)

    def write(rows: Any, table: str, stream: str, number: int) -> None:
        append(rows, table, stream, number)
        wait(number, Path(table.strip("`")).name)

    names.update(land=begin, append=write)


def came(moment: float | None, chain: Chain, child: "subprocess.Popen[str]") -> bool:
    """Wait so many seconds, or for None until a new batch is in the table and not in the checkpoint.

    Return whether the process still runs then.
    """
    before, begun = chain.landed(), time.monotonic()
    while child.poll() is None:
        waited = time.monotonic() - begun
        assert waited < SECONDS, "the moment did not come"
        if waited > moment if moment is not None else chain.landed() > before and chain.between():
            return True
        time.sleep(0.002)
    assert child.returncode == 0, child.communicate()[1][-2000:]
    return False


def halt(child: "subprocess.Popen[str]") -> None:
    """Let a process and all that it has started stand still, as they would be dead."""
    family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
    os.killpg(child.pid, signal.SIGSTOP)
    give_up = time.monotonic() + SECONDS
    still = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    while any(one.is_running() and one.status() not in still for one in family):
        assert time.monotonic() < give_up, "it does not stand still"
        time.sleep(0.001)
    time.sleep(0.02)


def rows_of(spark: SparkSession, table: str, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, spark.table(table).select(*columns).collect()), key=str)


@dataclass
class Batch:
    """What the batch query makes of all payments at once: with their rules, and those set aside."""

    rows: pd.DataFrame
    aside: set[tuple[Any, ...]]

    @classmethod
    def of(cls, spark: SparkSession, names: dict[str, Any], chain: Chain) -> "Batch":
        judged = names["reason"](spark.read.schema(names["PAYMENT"]).json(str(chain.arrivals)))
        rows = names["with_rules"](names["first_lines"](judged)).toPandas()
        bad = judged.where("reason IS NOT NULL").select("payment_id", "reason").collect()
        assert {row["reason"] for row in bad} == {"no_amount", "no_device", "future"}
        return cls(rows.set_index("payment_id").sort_index(), set(map(tuple, bad)))


def compare(spark: SparkSession, batch: Batch, chain: Chain) -> tuple[int, int]:
    """Compare a chain that is done with the batch; return the payments lost and doubled."""
    ours = spark.table(chain.tables["live"]).toPandas().set_index("payment_id")
    lost, doubled = len(set(batch.rows.index) - set(ours.index)), len(ours) - ours.index.nunique()
    columns = ["amount_cents", *FOUND]
    if not lost and not doubled:
        pd.testing.assert_frame_equal(ours[columns].sort_index(), batch.rows[columns], check_dtype=False)
        stop = batch.rows["rule"].notna() & (batch.rows["status"] == "authorised")
        expected = batch.rows.index[stop]
        assert [row[0] for row in rows_of(spark, chain.tables["alerts"], "payment_id")] == [*expected]
        assert set(batch.rows["rule"].dropna()) == {"attempts", "travel"}, "the alerts tell something"
        assert set(rows_of(spark, chain.tables["aside"], "payment_id", "reason")) == batch.aside
    return lost, doubled


@pytest.fixture
def begun(spark: SparkSession, tmp_path: Path) -> Callable[[str], Chain]:
    """A function that makes the tables of a chain, of which nothing has been read."""
    lines, arrived = payments()
    assert len(arrivals.write(lines, arrived, tmp_path / "arrivals", hours=24)) == DAYS

    def make(name: str) -> Chain:
        chain = Chain(tmp_path / name, tmp_path / "arrivals")
        chain.place.mkdir()
        functions()["prepare"](spark, chain.tables)
        return chain

    return make


def resumed(spark: SparkSession, left: list[Chain]) -> tuple[int, int]:
    """Go on with each chain, through the batch that was cut off; return rows lost and doubled.

    The last one, whose process was killed, goes on by a batch more. The files of the days after that are
    removed, so the chains that are to come furthest are first.
    """
    names, batches = functions(), dict[int, Batch]()
    lost = doubled = 0
    goals = [(min(DAYS, len(one.noted()) + 1 + (one is left[-1])), one) for one in left]
    for days, one in sorted(goals, key=lambda goal: goal[0], reverse=True):
        for file in sorted(one.arrivals.iterdir())[days:]:
            file.unlink()
        exec(one.task, {"names": names, "spark": spark, "pathlib": pathlib})
        assert one.noted() == list(range(days))
        batches[days] = batches.get(days) or Batch.of(spark, names, one)
        found = compare(spark, batches[days], one)
        lost, doubled = lost + found[0], doubled + found[1]
    return lost, doubled


def test_killed_at_each_step_the_stream_equals_the_batch(
    spark: SparkSession, launch: Launch, begun: Callable[[str], Chain]
) -> None:
    chain, left = begun("chain"), list[Chain]()
    child = started(chain, launch, waiting=True)
    for step in STEPS:
        gate = chain.place / f"at-{step}"
        until(gate.exists, child)
        assert chain.noted() == list(range(CUT)), "the checkpoint does not know the batch"
        assert chain.between() == (step == "live")
        if step == STEPS[-1]:
            os.killpg(child.pid, signal.SIGKILL)
            assert child.wait(30) == -signal.SIGKILL
        else:
            left.append(chain.copied(f"left-{step}"))
            gate.unlink()
    left.append(chain)
    written = [
        [len(spark.table(one.tables[table]).where(f"batch = {CUT}").head(1)) for table in ("alerts", "live")]
        for one in left
    ]
    assert written == [[0, 0], [0, 0], [1, 0], [1, 1]], "each step is another"
    assert resumed(spark, left) == (0, 0)


def test_without_txn_options_the_alerts_are_there_twice(
    spark: SparkSession, begun: Callable[[str], Chain]
) -> None:
    names, chain = functions(), begun("chain")
    given = spark, str(chain.arrivals), chain.tables, chain.place / "notes"

    def bare(rows: Any, table: str, stream: str, number: int) -> None:
        rows = rows.select(*rows.sparkSession.table(table).columns)
        rows.coalesce(1).write.mode("append").saveAsTable(table)

    names["append"] = bare
    with pytest.raises(StreamingQueryException):
        names["follow"](*given, after=names["breaks"](1, "alerts"))
    names["follow"](*given)
    alerts = [row[0] for row in rows_of(spark, chain.tables["alerts"], "payment_id")]
    assert len(alerts) > len(set(alerts)), "txnVersion is what kept them single"
    live = [row[0] for row in rows_of(spark, chain.tables["live"], "payment_id")]
    assert len(live) == len(set(live)), "the payments are kept single by their ids"


def test_a_new_checkpoint_has_a_new_name(spark: SparkSession, begun: Callable[[str], Chain]) -> None:
    names, chain = functions(), begun("chain")
    notes = chain.place / "notes"
    found = []
    for _ in range(2):
        names["follow"](spark, str(chain.arrivals), chain.tables, notes, files=DAYS)
        found.append(names["name_of"](notes))
        shutil.rmtree(notes)
    assert found[0] != found[1]
    assert compare(spark, Batch.of(spark, names, chain), chain)[1] == 0, "no payment is doubled"


@pytest.mark.skipif(not KILLS, reason="MEDALLION_KILLS says how many moments")
def test_killed_at_any_moment_the_stream_equals_the_batch(
    spark: SparkSession, launch: Launch, begun: Callable[[str], Chain], capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(2025)
    chain, left = begun("chain-0"), list[Chain]()
    kills = hits = killed = 0
    wanted = max(3, KILLS * 3 // 10)
    while kills < KILLS or hits < wanted:
        child = started(chain, launch)
        for number in range(A_PROCESS):
            # The first moment of a process and the last are between table and checkpoint
            between = number in (0, A_PROCESS - 1)
            if not came(None if between else draw.uniform(0, 0.7), chain, child):
                break
            halt(child)
            kills, hits = kills + 1, hits + chain.between()
            if number < A_PROCESS - 1:
                left.append(chain.copied(f"left-{kills}"))
                os.killpg(child.pid, signal.SIGCONT)
            else:
                os.killpg(child.pid, signal.SIGKILL)
                assert child.wait(30) == -signal.SIGKILL
                killed += 1
        if child.poll() == 0:
            left.append(chain)
            chain = begun(f"chain-{kills}")
    left.append(chain)

    lost, doubled = resumed(spark, left)
    with capsys.disabled():
        print(
            f"\n{kills} moments, {hits} of them between table and checkpoint, {killed} processes killed: ",
            end="",
        )
        print(f"{lost} rows lost, {doubled} doubled")
    assert (lost, doubled) == (0, 0)
    assert kills >= KILLS
    assert hits >= wanted
    assert killed >= 1
