"""MLflow on this machine: its store, what a notebook sees of it, and its server over HTTP. No Spark here.

The process of the server: see `test_servers`.
"""

import base64
import http.client
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import strangers

from medallion.course.execute import execute
from medallion.errors import MedallionError
from medallion.servers import tracking
from medallion.servers.tracking import store, ui

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=10"
NOTEBOOK = """
from medallion.servers import tracking
assert tracking.use("churn") == tracking.use("churn") == "1"
import mlflow
with mlflow.start_run(run_name="first") as run:
    mlflow.log_metric("auc", 0.75)
    mlflow.log_text("a note", "größe 1/note.txt")
"""


def python(program: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a program as a notebook would run it: where nothing tells MLflow that it is under test."""
    ours = {k: v for k, v in os.environ.items() if k not in ("CI", "PYTEST_CURRENT_TEST", "GITHUB_ACTIONS")}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**ours, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def finish(child: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Return how a program ended, and what it printed."""
    out, err = child.communicate(timeout=120)
    return child.returncode, out, err


def login() -> str:
    pair = ":".join(ui.credentials())
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def ask(
    port: int, path: str, *, origin: str | None = None, known: bool = True, body: Any = None
) -> tuple[int, str]:
    headers = {"Authorization": login()} if known else {}
    if origin:
        headers["Origin"] = origin
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    data = None if body is None else json.dumps(body)
    connection.request("GET" if body is None else "POST", path, data, headers)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, text


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty lakehouse in a folder with a space and an accent."""
    folder = tmp_path / "Kurs für Anfänger"
    monkeypatch.setenv("MEDALLION_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lakehouse whose store two notebooks made at the same moment."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("läke house") / "a b"
        patch.setenv("MEDALLION_HOME", str(folder))
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # a server of this machine is asked directly
        both = [python(NOTEBOOK) for _ in range(2)]
        assert [finish(child) for child in both] == [(0, "", "")] * 2, "and neither printed anything"
        yield folder


@pytest.fixture(scope="module")
def live(full: Path) -> Iterator[ui.Ui]:
    """MLflow's server over that store."""
    with tracking.start() as started:
        yield started


# The store ----------------------------------------------------------------------------------------


def test_what_two_notebooks_log_is_all_in_the_lakehouse(full: Path) -> None:
    assert tracking.store.place() == full / "mlflow"
    assert len(list((full / "mlflow" / "artifacts").glob("*/artifacts/größe 1/note.txt"))) == 2
    assert {path.name for path in (full / "mlflow").iterdir()} >= {"mlflow.db", "artifacts"}
    assert not list((full / "mlflow").glob(".mlflow.db.*")), "nothing half-made is left"


def test_a_notebook_asks_the_network_for_nothing(house: Path) -> None:
    """Also when MLflow is imported first, with all that it would report of its use, and when variables of
    another MLflow are set."""
    program = (
        """
import socket, sys

def refuse(*address, **_):
    print("asked for", address, flush=True)
    raise OSError

socket.getaddrinfo = socket.socket.connect = refuse
import mlflow
"""
        + NOTEBOOK
    )
    other = {
        "MLFLOW_RUN_ID": "0" * 32,
        "MLFLOW_EXPERIMENT_ID": "77",
        "MLFLOW_EXPERIMENT_NAME": "other",
        "MLFLOW_TRACKING_URI": "http://192.0.2.1",
        "MLFLOW_REGISTRY_URI": "http://192.0.2.1",
    }
    assert finish(python(program, HOME=str(house.parent), **other)) == (0, "", "")


def test_a_cell_shows_the_id_and_nothing_else(house: Path) -> None:
    """Also the first cell, where others have set up logging."""
    cells = [
        "import logging; logging.basicConfig(level='INFO')",
        "from medallion.servers import tracking; tracking.use('churn')",
        NOTEBOOK,
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    done = execute(notebook, cwd=house.parent, env={"MEDALLION_HOME": str(house)})
    shown = [[output.get("data", output) for output in cell.outputs] for cell in done.cells]
    assert shown == [[], [{"text/plain": "'1'"}], []]


def test_what_a_session_starts_is_kept_from_the_network_too(house: Path) -> None:
    program = """
import os
from medallion.spark import session
with session._surroundings():
    pass
import mlflow
from mlflow.telemetry import get_telemetry_client
assert get_telemetry_client() is None
assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
"""
    assert finish(python(program)) == (0, "", "")


def test_a_store_that_is_gone_is_made_anew_and_a_deleted_experiment_comes_back(house: Path) -> None:
    program = """
import shutil
from medallion.servers import tracking
tracking.use("churn")
import mlflow
mlflow.start_run(), mlflow.end_run()
mlflow.register_model  # the registry's connections are open too
mlflow.MlflowClient().search_registered_models()
shutil.rmtree(tracking.store.place())
tracking.use("churn")
assert len(mlflow.search_runs()) == 0
mlflow.delete_experiment("1")
assert tracking.use("churn") == "1"
mlflow.start_run(), mlflow.end_run()
assert len(mlflow.search_runs()) == 1
assert mlflow.MlflowClient().search_registered_models() == []
"""
    assert finish(python(program)) == (0, "", "")


def test_a_copy_of_the_lakehouse_has_files_of_its_own(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "ein Abzug"))
    shutil.copytree(full, tmp_path / "ein Abzug")
    program = """
from medallion.servers import tracking
tracking.use("churn")
import mlflow
[first, *_] = mlflow.search_runs(output_format="list")
assert first.info.artifact_uri.startswith(tracking.store.place().as_uri())
assert mlflow.artifacts.load_text(first.info.artifact_uri + "/größe 1/note.txt") == "a note"
with mlflow.start_run() as run:
    mlflow.log_text("another", "note.txt")
assert (tracking.store.place() / "artifacts" / run.info.run_id / "artifacts" / "note.txt").exists()
"""
    assert finish(python(program)) == (0, "", "")


def test_a_store_of_another_version_says_what_to_do(full: Path, house: Path) -> None:
    shutil.copytree(full, house)
    program = f"""
import sqlite3
from medallion.servers import tracking
from medallion.errors import MedallionError
with sqlite3.connect({str(house / "mlflow" / "mlflow.db")!r}) as connection:
    connection.execute("UPDATE alembic_version SET version_num = '4465047574b1'")
try:
    tracking.use("churn")
except MedallionError as error:
    print(error)
"""
    assert finish(python(program)) == (
        0,
        f"Another version of MLflow made {house / 'mlflow' / 'mlflow.db'}. "
        "Remove it with `medallion reset 05`, and run chapter 05 again.\n",
        "",
    )


# The server, over HTTP ----------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0, 3000, 500_000, None])
def test_a_store_that_is_empty_cut_or_foreign_is_told_with_its_fix(
    full: Path, house: Path, part: int | None
) -> None:
    (house / "mlflow").mkdir(parents=True)
    held = b"no database" * 100 if part is None else (full / "mlflow" / "mlflow.db").read_bytes()[:part]
    store.database().write_bytes(held)
    told = r"mlflow\.db is damaged or not MLflow's \(.+\)\. Remove it with `medallion reset 05`, and run"
    for called in (store.follow, tracking.start):
        with pytest.raises(MedallionError, match=told):
            called()
    assert store.database().read_bytes() == held


def test_a_store_that_is_locked_is_not_called_damaged(
    full: Path, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    shutil.copytree(full / "mlflow", house / "mlflow")
    monkeypatch.setattr(store, "_follow", locked)
    with pytest.raises(MedallionError, match=r"cannot be used \(database is locked\)\. Shut down the other"):
        store.follow()


def test_only_this_user_may_write_models_which_are_code(house: Path) -> None:
    before = os.umask(0)
    try:
        with store.lock():
            assert stat.S_IMODE(store.place().stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_it_asks_for_its_password(live: ui.Ui) -> None:
    for path in ("/", EXPERIMENTS, "/ajax-api/2.0/mlflow/experiments/search?max_results=1"):
        assert ask(live.port, path, known=False)[0] == 401, path
        assert ask(live.port, path)[0] == 200, path
    file = tracking.store.place() / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tracking.store.place() / "users.db").stat().st_mode) == 0o600
    assert len(ui.credentials().password) > 20 and ui.credentials() == ui.credentials()


def test_it_shows_what_the_notebooks_logged(live: ui.Ui) -> None:
    found = json.loads(ask(live.port, EXPERIMENTS)[1])["experiments"]
    assert {one["name"]: one["experiment_id"] for one in found} == {"Default": "0", "churn": "1"}
    status, text = ask(live.port, "/api/2.0/mlflow/runs/search", body={"experiment_ids": ["1"]})
    runs = json.loads(text)["runs"]
    assert status == 200 and [run["info"]["run_name"] for run in runs] == ["first", "first"]
    assert [run["data"]["metrics"][0]["value"] for run in runs] == [0.75, 0.75]
    path = f"/get-artifact?run_id={runs[0]['info']['run_id']}&path=gr%C3%B6%C3%9Fe%201/note.txt"
    assert ask(live.port, path) == (200, "a note")


def test_strangers_are_refused(live: ui.Ui) -> None:
    strangers.are_refused(live.port, EXPERIMENTS, login())


def test_only_its_own_pages_may_change_something(live: ui.Ui) -> None:
    create = "/api/2.0/mlflow/experiments/create"
    for origin in ("http://localhost:9999", "http://evil.example", f"https://127.0.0.1:{live.port}", "null"):
        assert ask(live.port, create, origin=origin, body={"name": origin})[0] == 403, origin
    ours = f"http://127.0.0.1:{live.port}"
    number = json.loads(ask(live.port, create, origin=ours, body={"name": "of its page"})[1])["experiment_id"]
    delete = "/api/2.0/mlflow/experiments/delete"
    assert ask(live.port, delete, origin=ours, body={"experiment_id": number})[0] == 200


def test_its_pages_are_told_to_report_nothing(live: ui.Ui) -> None:
    status, text = ask(live.port, "/ajax-api/3.0/mlflow/ui-telemetry")
    assert status == 200 and json.loads(text)["disable_ui_telemetry"] is True


def test_its_password_is_in_no_output(live: ui.Ui) -> None:
    assert live.credentials() == ui.credentials()
    assert live.credentials().password not in repr(live.credentials())


# Without it ----------------------------------------------------------------------------------------


def test_without_a_store_the_chapter_that_makes_it_is_named(house: Path) -> None:
    with pytest.raises(MedallionError) as refused:
        tracking.start()
    assert str(refused.value) == (
        f"There is no MLflow store in {house / 'mlflow'} yet. Chapter 05 makes it: `medallion catch-up 05`, "
        "then `medallion run 05`."
    )
    assert not house.exists(), "asking makes nothing"


def test_a_lost_password_is_made_anew_with_its_users(full: Path, house: Path) -> None:
    shutil.copytree(full, house)
    before = ui.credentials()
    store.place().joinpath("users.db").touch()
    store.place().joinpath("credentials.json").unlink()
    assert ui.credentials() != before
    assert not store.place().joinpath("users.db").exists()
    store.place().joinpath("credentials.json").write_text("{}", encoding="utf-8")
    with pytest.raises(MedallionError, match=r"holds no user and password\. Remove it"):
        ui.credentials()
