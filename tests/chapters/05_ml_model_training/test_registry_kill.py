"""The registry of models survives a kill at any moment of a registration, by the functions of chapter 05."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import pandas as pd
import pytest
from conftest import TESTS, run_chapter

import medallion
from medallion.servers import tracking

ROWS = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0] * 20, "b": [1.0, 0.0, 1.0, 0.0] * 20})
# A process registers version after version and moves the alias each time. It stops for good as it comes to
# the step PAUSE, if that is given: before or after a call of MLflow's client.
PROGRAM = """
import os, sys, time
sys.path[:0] = {tests}
import mlflow
import test_registry_kill as this

def pausing(name, call):
    def wrapped(*args, **kwargs):
        if os.environ.get("PAUSE") == "before " + name:
            print("paused", flush=True)
            time.sleep(600)
        answer = call(*args, **kwargs)
        if os.environ.get("PAUSE") == "after " + name:
            print("paused", flush=True)
            time.sleep(600)
        return answer
    return wrapped

register = this.registrar()
for name in ("create_model_version", "set_registered_model_alias"):
    setattr(mlflow.MlflowClient, name, pausing(name, getattr(mlflow.MlflowClient, name)))
print("ready", flush=True)
while True:
    register(leaves=5)
    print("registered", flush=True)
"""


def registrar() -> Any:
    """Return a function that registers a model as chapter 05 does, and makes it the champion."""
    tracking.use("churn")
    medallion.scratch().mkdir(parents=True, exist_ok=True)  # which a session would make
    chapter = run_chapter(
        "05",
        defining=("CODE", "client", "next_version", "register"),
        medallion=medallion,
        mlflow=mlflow,
    )

    def register(leaves: int) -> str:
        data = lightgbm.Dataset(ROWS, ROWS["a"] > 1)
        settings = {"verbose": -1, "min_child_samples": 2, "objective": "binary", "num_leaves": leaves}
        trees = lightgbm.train(settings, data, 3)
        with mlflow.start_run():
            version: str = chapter["register"]("churn", trees, chapter["CODE"], ROWS, {"auc": 0.5})
        chapter["client"].set_registered_model_alias("churn", "champion", version)
        return version

    return register


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lakehouse whose registry has one version of `churn`, the champion."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("läke house")
        patch.setenv("MEDALLION_HOME", str(place))
        registrar()(leaves=3)
        yield place


def state(place: Path) -> dict[str, Any]:
    """Return what the database holds, after SQLite has looked over every page of it."""
    with closing(sqlite3.connect(place / "mlflow" / "mlflow.db", timeout=20)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        query = "SELECT version FROM model_versions WHERE name = 'churn' ORDER BY version"
        versions = [row[0] for row in connection.execute(query)]
        query = "SELECT version FROM registered_model_aliases WHERE name = 'churn' AND alias = 'champion'"
        return {"versions": versions, "champion": connection.execute(query).fetchone()[0]}


def killed(pause: str = "", registrations: int = 0, delay: float = 0.0) -> None:
    """Start the process and kill it: at its pause, or `delay` seconds after so many registrations."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(tests=[str(Path(__file__).parent), TESTS])],
        env=os.environ | {"PAUSE": pause},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        wanted = "paused" if pause else "registered" if registrations else "ready"
        seen = 0
        for line in child.stdout:
            seen += line.strip() == wanted
            if seen == max(registrations, 1):
                break
        time.sleep(delay)
        assert child.poll() is None, "it must be at work as it is killed"
        os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


def mended(place: Path, before: dict[str, Any]) -> None:
    """Assert that whatever is there can be used, and that the next registration is as any other."""
    found = state(place)
    assert found["versions"][: len(before["versions"])] == before["versions"], "no version is lost"
    assert found["champion"] in found["versions"]
    for version in found["versions"]:
        loaded = mlflow.pyfunc.load_model(f"models:/churn/{version}")
        assert loaded.predict(ROWS).shape == (len(ROWS),), version
    version = int(registrar()(leaves=4))
    assert version == max(found["versions"]) + 1
    after = state(place)
    assert after == {"versions": [*found["versions"], version], "champion": version}
    assert mlflow.pyfunc.load_model("models:/churn@champion").metadata is not None


@pytest.mark.parametrize(
    ("pause", "versions", "champion"),
    [
        ("before create_model_version", 0, 0),
        ("after create_model_version", 1, 0),
        ("before set_registered_model_alias", 1, 0),
        ("after set_registered_model_alias", 1, 1),
    ],
)
def test_killed_between_two_steps(store: Path, pause: str, versions: int, champion: int) -> None:
    before = state(store)
    killed(pause)
    found = state(store)
    assert len(found["versions"]) == len(before["versions"]) + versions
    newest = found["versions"][-1]
    assert found["champion"] == (newest if champion else before["champion"]), "the champion stays until then"
    mended(store, before)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_a_random_moment(store: Path, seed: int) -> None:
    draws = random.Random(seed)
    before = state(store)
    killed(registrations=draws.randint(0, 1), delay=draws.uniform(0, 1))
    mended(store, before)
