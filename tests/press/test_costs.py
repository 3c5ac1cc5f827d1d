"""What the cells of a chapter cost, from Spark's event log."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from medallion import contract, paths
from press.recorded import costs
from press.source.chapter import parse

SQL = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart"


def job(number: int, at: float, description: str = "") -> dict[str, Any]:
    said = {"spark.job.description": description} if description else {}
    return {
        "Event": "SparkListenerJobStart",
        "Job ID": number,
        "Submission Time": int(1000 * at),
        "Properties": said,
    }


def stage(at: float, read: int) -> dict[str, Any]:
    counted = [
        {"Name": "internal.metrics.input.bytesRead", "Value": read},
        {"Name": "internal.metrics.input.recordsRead", "Value": 7},
    ]
    info = {"Stage ID": 1, "Completion Time": int(1000 * at), "Accumulables": counted}
    return {"Event": "SparkListenerStageCompleted", "Stage Info": info}


def query(at: float, *nodes: str) -> dict[str, Any]:
    children = [{"nodeName": name, "children": []} for name in nodes]
    return {"Event": SQL, "time": int(1000 * at), "sparkPlanInfo": {"nodeName": "Join", "children": children}}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """The logs of two processes: the second is killed while it writes a line."""
    events = [
        [query(101, "Scan parquet", "Scan ExistingRDD", "Project"), job(1, 101), stage(101.5, 2_000_000)],
        [job(1, 103, "Delta: Filtering files for query"), job(2, 104), {"Event": "SparkListenerJobEnd"}],
    ]
    for place, several in enumerate(events):
        log = tmp_path / str(place) / f"local-{place}"
        log.parent.mkdir()
        log.write_text("".join(json.dumps(event, separators=(",", ":")) + "\n" for event in several))
    with log.open("a") as file:
        file.write('{"Event":"SparkListenerJobStart","Job')
    return tmp_path


def test_each_job_counts_for_the_cell_during_which_it_began(record: Path) -> None:
    assert costs.of(record, 100.0, [(7, 102.0), (9, 103.5), (12, 103.75)]) == [
        costs.Cost(7, 2.0, jobs=1, scans=1, megabytes=2.0),
        costs.Cost(9, 1.5, jobs=1, delta=1),
        costs.Cost(12, 0.25, jobs=1),  # what comes after the last cell, a stream that goes on, is its
    ]


def test_a_cell_over_the_budget_is_told_unless_it_says_why(tmp_path: Path) -> None:
    chapter = parse(contract.find("00"))
    first, second = [cell.line for cell in chapter.cells if cell.kind == "code"][:2]
    spent = [costs.Cost(first, 8.0, jobs=40), costs.Cost(second, 1.0, jobs=41)]
    [told] = costs.dear(chapter, spent)
    assert str(told).startswith(f"book/chapters/00_tour/lesson.py:{second}: this cell takes 1 seconds and 41")
    text = contract.find("00").read_text(encoding="utf-8").splitlines()
    marker = max(number for number in range(second - 1) if text[number].startswith("# %%"))
    text[marker] += ' costly="it is the first that runs Spark"'
    place = tmp_path / "00_tour" / "lesson.py"
    place.parent.mkdir()
    place.write_text("\n".join(text) + "\n", encoding="utf-8")
    assert costs.dear(parse(place), spent) == []


def test_the_repository_keeps_the_sum_of_each_chapter(tmp_path: Path) -> None:
    spent = [costs.Cost(1, 2.0, jobs=3, delta=1, scans=2, megabytes=1.6), costs.Cost(5, 1.0, jobs=4)]
    costs.keep("01", spent, tmp_path)
    costs.keep("00", spent[1:], tmp_path)
    costs.keep("99", spent, tmp_path)  # a chapter that is no longer there
    assert (tmp_path / costs.FILE).read_text(encoding="utf-8").splitlines()[1:] == [
        '"00": {"cells": 1, "jobs": 4, "delta": 0, "scans": 0, "megabytes": 0}',
        '"01": {"cells": 2, "jobs": 7, "delta": 1, "scans": 2, "megabytes": 2}',
    ]


def test_the_repository_knows_every_chapter() -> None:
    held = yaml.safe_load((paths.root() / costs.FILE).read_text(encoding="utf-8"))
    assert sorted(held) == sorted(contract.chapters())
    assert all(0 < one["delta"] < one["jobs"] for one in held.values())
