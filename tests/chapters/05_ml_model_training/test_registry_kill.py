"""The registry of models survives a kill at each step of a registration, by the functions of chapter 05.

`MEDALLION_KILLS=4` adds four moments that are drawn by lot.
"""

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import pandas as pd
import pytest
from conftest import run_chapter

import medallion
from medallion.servers import tracking

KILLS = int(os.environ.get("MEDALLION_KILLS") or 0)
ROWS = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0] * 20, "b": [1.0, 0.0, 1.0, 0.0] * 20})
# The processes to kill are forked from one that has imported this already and opened nothing.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "lightgbm",
        "mlflow.pyfunc",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_store",
        "medallion.servers.tracking",
        "press.site.build",
    ]
)


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


def registering(place: str, pause: str, said: Connection) -> None:
    """Register version after version, and move the alias each time, in a process of its own.

    It stops for good as it comes to the step `pause`, if that is given: before or after a call of MLflow's
    client.
    """
    os.setsid()
    os.environ["MEDALLION_HOME"] = place

    def pausing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if pause == f"before {name}":
                said.send("paused")
                time.sleep(600)
            answer = call(*args, **kwargs)
            if pause == f"after {name}":
                said.send("paused")
                time.sleep(600)
            return answer

        return wrapped

    register = registrar()
    for name in ("create_model_version", "set_registered_model_alias"):
        setattr(mlflow.MlflowClient, name, pausing(name, getattr(mlflow.MlflowClient, name)))
    said.send("ready")
    while True:
        register(leaves=5)
        said.send("registered")


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


def killed(place: Path, pause: str = "", registrations: int = 0, delay: float = 0.0) -> None:
    """Start the process and kill it: at its pause, or `delay` seconds after so many registrations."""
    hears, said = FORKS.Pipe(duplex=False)
    child = FORKS.Process(target=registering, args=(str(place), pause, said), daemon=True)
    child.start()
    said.close()
    wanted = "paused" if pause else "registered" if registrations else "ready"
    seen = 0
    while seen < max(registrations, 1):
        seen += hears.recv() == wanted
    time.sleep(delay)
    assert child.is_alive(), "it must be at work as it is killed"
    assert child.pid is not None
    os.killpg(child.pid, signal.SIGKILL)
    child.join(30)
    assert child.exitcode == -signal.SIGKILL


def mended(place: Path, before: dict[str, Any]) -> None:
    """Assert that whatever is there can be used, and that the next registration is as any other."""
    found = state(place)
    assert found["versions"][: len(before["versions"])] == before["versions"], "no version is lost"
    assert found["champion"] in found["versions"]
    for version in found["versions"][len(before["versions"]) - 1 :]:  # the others were loaded before
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
    killed(store, pause)
    found = state(store)
    assert len(found["versions"]) == len(before["versions"]) + versions
    newest = found["versions"][-1]
    assert found["champion"] == (newest if champion else before["champion"]), "the champion stays until then"
    mended(store, before)


@pytest.mark.skipif(not KILLS, reason="MEDALLION_KILLS says how many moments")
def test_killed_at_random_moments(store: Path) -> None:
    """The database is looked over after each kill, and used again after all."""
    before = found = state(store)
    for seed in range(KILLS):
        draws = random.Random(seed)
        killed(store, registrations=draws.randint(0, 1), delay=draws.uniform(0, 1))
        there, found = found, state(store)
        assert found["versions"][: len(there["versions"])] == there["versions"], "no version is lost"
        assert found["champion"] in found["versions"]
    mended(store, before)
