"""A stream that is killed with SIGKILL, Python and Java together, and goes on: each row is there once."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import medallion

Launch = Callable[..., "subprocess.Popen[str]"]

# Runs in a process that will be killed and, as it is, in this one.
LAND = """
def land(spark, source, target, checkpoint):
    lines = spark.readStream.option("maxFilesPerTrigger", 1).text(source)
    writer = lines.writeStream.format("delta").option("checkpointLocation", checkpoint)
    writer.trigger(availableNow=True).start(target).awaitTermination()
"""
FILES = 10  # of the source, each a batch
SECONDS = 240


@dataclass(frozen=True)
class Stream:
    """The stream of one test: its folders, and what they say from outside, without Spark."""

    source: Path
    target: Path
    checkpoint: Path

    @property
    def commits(self) -> list[Path]:
        return sorted((self.target / "_delta_log").glob("*.json"))

    @property
    def batches(self) -> list[int]:
        """The batches that the checkpoint knows to be done."""
        return sorted(int(note.name) for note in (self.checkpoint / "commits").glob("[0-9]*"))

    @property
    def last_batch(self) -> int:
        """The batch that the last commit of the table carries."""
        actions = [json.loads(line) for line in self.commits[-1].read_bytes().split(b"\n") if line]
        return next(action["txn"]["version"] for action in actions if "txn" in action)

    def run(self, spark: SparkSession) -> None:
        names: dict[str, Callable[..., None]] = {}
        exec(LAND, names)
        names["land"](spark, str(self.source), str(self.target), str(self.checkpoint))

    def kill_when(self, launch: Launch, moment: Callable[[], bool]) -> int:
        """Run the stream in a process of its own and kill it at a moment; return the process's id."""
        arguments = ", ".join(repr(str(path)) for path in (self.source, self.target, self.checkpoint))
        child = launch(f"import medallion\n{LAND}\nland(medallion.start(), {arguments})")
        give_up = time.monotonic() + SECONDS
        while not moment():
            assert child.poll() is None, f"ended too early: {child.communicate()[1][-2000:]}"
            assert time.monotonic() < give_up, "the moment did not come"
            time.sleep(0.001)
        os.killpg(child.pid, signal.SIGKILL)
        assert child.wait(30) == -signal.SIGKILL
        return child.pid


@pytest.fixture
def stream(home: Path, tmp_path: Path) -> Stream:
    source = tmp_path / "payments"
    source.mkdir()
    for path in sorted((home / "landing" / "payments").glob("*.jsonl"))[:FILES]:
        shutil.copy(path, source)
    return Stream(source, tmp_path / "table", tmp_path / "checkpoint")


def lines(folder: Path) -> list[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jsonl")))
    return sorted(text.splitlines())


def test_killed_at_three_moments(stream: Stream, spark: SparkSession, launch: Launch, home: Path) -> None:
    # Before the first row, between two commits, and as a batch's files appear that no commit lists yet.
    stream.kill_when(launch, lambda: (stream.checkpoint / "offsets" / "0").exists())
    assert not stream.batches

    stream.kill_when(launch, lambda: len(stream.commits) >= 3)
    done = len(stream.commits)
    assert done >= 3

    def uncommitted() -> bool:
        return len(list(stream.target.glob("*.parquet"))) > len(stream.commits) > done + 1

    killed = stream.kill_when(launch, uncommitted)
    sent = lines(stream.source)
    survived = spark.read.format("delta").load(str(stream.target)).count()
    assert 0 < survived < len(sent)

    # The scratch folder of a killed session stays behind until the next session starts.
    (left,) = (home / "scratch").glob(f"{killed}-*")
    medallion.start()
    assert not left.exists()
    assert medallion.scratch().is_dir()

    stream.run(spark)
    table = spark.read.format("delta").load(str(stream.target))
    assert sorted(row.value for row in table.collect()) == sent
    version = len(stream.commits)
    stream.run(spark)
    assert len(stream.commits) == version, "a run without a new file makes no commit"


def test_killed_between_the_data_and_the_checkpoint(
    stream: Stream, spark: SparkSession, launch: Launch
) -> None:
    """The table has the commit of a batch and the checkpoint does not know it: the worst moment there is.

    A folder in the place of the checkpoint's note keeps the note from being written, so the kill hits it.
    """
    half_known = 2
    note = stream.checkpoint / "commits" / str(half_known)

    def committed() -> bool:
        if (stream.checkpoint / "offsets" / note.name).exists():
            (note / "held").mkdir(parents=True, exist_ok=True)
        return len(stream.commits) > half_known

    stream.kill_when(launch, committed)
    shutil.rmtree(note)
    assert stream.last_batch == half_known
    assert stream.batches == list(range(half_known))

    sent = lines(stream.source)
    before = len(stream.commits)
    stream.run(spark)
    assert half_known in stream.batches, "the batch was done again"
    table = spark.read.format("delta").load(str(stream.target))
    assert sorted(row.value for row in table.collect()) == sent
    assert len(stream.commits) - before == FILES - (half_known + 1), "and the table took nothing of it"
