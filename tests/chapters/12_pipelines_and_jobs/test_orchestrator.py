"""What chapter 12 demonstrates with Dagster: what it retries, and that its check looks; edges of a contract.

What a contract finds, what stops in CI, and where a secret gets out stands in outputs of the lesson, with the
fix and without it; its replay compares them.
"""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession, functions

from medallion.machine import orchestrator

RunCells = Callable[..., dict[str, Any]]
POLICY = "allow_retries=code == 75"
LIMIT = "timeout=600"


def events(folder: Path, chapter: dict[str, Any], code: int, rows: int = 1) -> list[tuple[str, str]]:
    """Let Dagster make a week with a job that exits with a code; return its events, and what they hold."""
    home = folder / "Kurs für Anfänger"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (home / "definitions.py").write_text(chapter["KNOWN"] + chapter["MADE_BY_JOB"])
    job = [sys.executable, "-c", f"import time; time.sleep(5 * ({code} < 0)); raise SystemExit({code})"]
    settings = {
        "DAGSTER_HOME": str(home),
        "GRAPH": json.dumps(chapter["GRAPH"]),
        "JOB": json.dumps(job),
        "COUNT": json.dumps([sys.executable, "-c", f"print({rows})"]),
        "TABLE": "scratch.none",
        "FOLDER": "none",
    }
    week = ["--select", "gold/weekly_payments", "--partition", "2025-09-01"]
    command = [orchestrator.program("dagster"), "asset", "materialize", "-f", home / "definitions.py", *week]
    subprocess.run(command, env=os.environ | settings, capture_output=True, check=False)
    [file] = (one for one in (home / "history" / "runs").glob("*.db") if one.name != "index.db")
    with closing(sqlite3.connect(file)) as store:
        return store.execute("SELECT dagster_event_type, event FROM event_logs ORDER BY id").fetchall()


@pytest.fixture(scope="module")
def chapter(run_cells: RunCells) -> dict[str, Any]:
    names = run_cells("12", defining={"KNOWN", "MADE_BY_JOB", "GRAPH"})
    assert POLICY in names["MADE_BY_JOB"] and LIMIT in names["MADE_BY_JOB"]
    return names


@pytest.mark.parametrize(
    ("code", "change", "attempts"),
    [
        (65, (POLICY, POLICY), 1),
        (75, (POLICY, POLICY), 3),
        (65, (POLICY, "allow_retries=True"), 3),
        (-1, (LIMIT, "timeout=0.2"), 3),
    ],
    ids=["wrong data", "may pass", "wrong data, without the fix", "no end"],
)
def test_only_what_may_pass_is_retried(
    tmp_path: Path, chapter: dict[str, Any], code: int, change: tuple[str, str], attempts: int
) -> None:
    changed = chapter | {"MADE_BY_JOB": chapter["MADE_BY_JOB"].replace(*change)}
    kinds = [kind for kind, _ in events(tmp_path, changed, code)]
    assert kinds.count("STEP_START") + kinds.count("STEP_RESTARTED") == attempts
    assert kinds[-1] == "PIPELINE_FAILURE"


def test_the_check_sees_a_week_without_rows(tmp_path: Path, chapter: dict[str, Any]) -> None:
    found = dict(events(tmp_path, chapter, 0, rows=0))
    check = json.loads(found["ASSET_CHECK_EVALUATION"])["dagster_event"]["event_specific_data"]
    assert check["check_name"] == "has_rows" and check["success"] is False
    assert "PIPELINE_SUCCESS" in found, "A check reports; it does not undo what the job has written."


def test_without_it_one_line_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cells: RunCells
) -> None:
    monkeypatch.setenv("MEDALLION_CACHE", str(tmp_path))
    names = run_cells("12", defining={"pinned", "materialize", "stored", "ALL_RUNS"}, HOME=tmp_path)
    said = names["materialize"]("2025-09-01")
    assert said == "The orchestrator is not set up. Run `./medallion setup --orchestrator`."
    assert names["stored"]("runs.db", names["ALL_RUNS"]) == []


def test_a_contract_is_tested_also_where_it_promises_less(
    spark: SparkSession, interpreted: None, run_cells: RunCells
) -> None:
    wanted = {"COLUMNS", "CONTRACT", "HOURS", "promises", "facts", "violations"}
    names = run_cells("12", defining=wanted, F=functions)
    contract, columns = names["weekly_contract"], names["COLUMNS"]
    violations, day = names["violations"], date(2025, 9, 16)

    def rows(*weeks: date | None) -> Any:
        return spark.createDataFrame([(week, "card", 1, 0, None) for week in weeks], columns)

    assert violations(contract, rows(date(2025, 9, 1), date(2025, 9, 8)), day) == []
    assert violations(contract, rows(None), day) == ["NULL in week"]
    assert violations(contract, rows(date(2025, 7, 7)), day) == ["latency"]
    assert violations(contract | {"slaProperties": []}, rows(date(2025, 7, 7)), day) == []
    [table] = contract["schema"]
    more = {**table, "quality": [{"metric": "rowCount", "mustBeGreaterThan": 1}]}
    assert violations(contract | {"schema": [more]}, rows(date(2025, 9, 8)), day) == ["1 rows"]
