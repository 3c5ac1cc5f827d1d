"""What chapter 12 demonstrates with Dagster: which exit codes it retries, and that its check looks.

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
from pathlib import Path
from typing import Any

import pytest

from medallion.machine import orchestrator

RunCells = Callable[..., dict[str, Any]]
GRAPH = {"silver.payments": ["bronze.payments"], "gold.weekly_payments": ["silver.payments"]}
POLICY = "allow_retries=code == 75"


def events(home: Path, definitions: str, code: int, rows: int = 1) -> list[tuple[str, str]]:
    """Let Dagster make a week with a job that exits with a code; return its events, and what they hold."""
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (home / "definitions.py").write_text(definitions)
    job = [sys.executable, "-c", f"raise SystemExit({code})"]
    settings = {
        "DAGSTER_HOME": str(home),
        "GRAPH": json.dumps(GRAPH),
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
def definitions(run_cells: RunCells) -> str:
    names = run_cells("12", defining={"KNOWN", "MADE_BY_JOB"})
    text: str = names["KNOWN"] + names["MADE_BY_JOB"]
    assert POLICY in text
    return text


@pytest.mark.parametrize(
    ("code", "policy", "attempts"),
    [(65, POLICY, 1), (75, POLICY, 3), (65, "allow_retries=True", 3)],
    ids=["wrong data", "may pass", "wrong data, without the fix"],
)
def test_only_what_may_pass_is_retried(
    tmp_path: Path, definitions: str, code: int, policy: str, attempts: int
) -> None:
    kinds = [kind for kind, _ in events(tmp_path, definitions.replace(POLICY, policy), code)]
    assert kinds.count("STEP_START") + kinds.count("STEP_RESTARTED") == attempts
    assert kinds[-1] == "PIPELINE_FAILURE"


def test_the_check_sees_a_week_without_rows(tmp_path: Path, definitions: str) -> None:
    found = dict(events(tmp_path, definitions, 0, rows=0))
    check = json.loads(found["ASSET_CHECK_EVALUATION"])["dagster_event"]["event_specific_data"]
    assert check["check_name"] == "has_rows" and check["success"] is False
    assert "PIPELINE_SUCCESS" in found, "A check reports; it does not undo what the job has written."


def test_without_it_one_line_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cells: RunCells
) -> None:
    monkeypatch.setenv("MEDALLION_CACHE", str(tmp_path))
    names = run_cells("12", defining={"pinned", "materialize", "stored", "RUNS"}, HOME=tmp_path)
    said = names["materialize"]("2025-09-01")
    assert said == "The orchestrator is not set up. Run `./medallion setup --orchestrator`."
    assert names["stored"]("runs.db", names["RUNS"]) == []
