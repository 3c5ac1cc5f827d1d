"""A model behind HTTP: MLflow's own server, on loopback, with an end that comes for certain."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
import requests
import strangers

from medallion.errors import MedallionError
from medallion.servers import endpoint, tracking

ROWS = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0] * 20, "b": [1.0, 0.0, 1.0, 0.0] * 20})
CODE = """
import lightgbm
import mlflow
import pandas as pd

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.trees = lightgbm.Booster(model_file=context.artifacts["trees"])

    def predict(self, context, model_input: pd.DataFrame, params=None):
        if model_input["a"].isna().any():
            raise mlflow.MlflowException.invalid_parameter_value("a must have a value in every row.")
        if (model_input["a"] == 4321).any():
            raise mlflow.MlflowException("KeyError in predict")
        if (model_input["a"] == 8765).any():
            raise KeyError("nobody caught this")
        return self.trees.predict(model_input)

mlflow.models.set_model(Model())
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lakehouse, in a folder with a space and an umlaut, whose registry has a model `small@champion`."""
    place = tmp_path_factory.mktemp("Haus am Süd See")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDALLION_HOME", str(place))
        tracking.use("test")
        data = lightgbm.Dataset(ROWS, ROWS["a"] > 1)
        trees = lightgbm.train({"verbose": -1, "min_child_samples": 2, "objective": "binary"}, data, 3)
        trees.save_model(str(place / "trees.txt"))
        (place / "model.py").write_text(CODE, encoding="utf-8")
        with mlflow.start_run():
            kept = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(place / "model.py"),
                artifacts={"trees": str(place / "trees.txt")},
                signature=mlflow.models.infer_signature(ROWS, trees.predict(ROWS)),
                input_example=ROWS.head(2),
                pip_requirements=["lightgbm"],
            )
        client = mlflow.MlflowClient()
        client.create_registered_model("small")
        version = client.create_model_version("small", kept.model_uri, kept.run_id).version
        client.set_registered_model_alias("small", "champion", version)
        yield place


@pytest.fixture(scope="module")
def served(store: Path) -> Iterator[endpoint.Endpoint]:
    with endpoint.start("models:/small@champion") as one:
        yield one


def ask(served: endpoint.Endpoint, rows: pd.DataFrame) -> tuple[int, Any]:
    values = rows.astype(object).where(rows.notna(), None)
    body = {"dataframe_split": values.to_dict("split", index=False)}
    answer = requests.post(served.url, json=body, timeout=10)
    return answer.status_code, answer.json()


def processes(group: int) -> list[int]:
    """Return the processes of a group that run still; one that only waits to be reaped has ended."""
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except ProcessLookupError:
            continue
    return found


def gone(group: int) -> bool:
    """Return whether all processes of a group end within some seconds."""
    end = time.monotonic() + 10
    while processes(group) and time.monotonic() < end:
        time.sleep(0.1)
    return not processes(group)


def test_it_answers_as_the_model_does(served: endpoint.Endpoint) -> None:
    status, said = ask(served, ROWS.head(4))
    expected = mlflow.pyfunc.load_model("models:/small@champion").predict(ROWS.head(4))
    assert status == 200
    assert np.allclose(said["predictions"], expected, atol=1e-9)
    assert repr(served) == "Endpoint('models:/small@champion')"


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (ROWS.head(2).assign(a=[None, 1.0]), "a must have a value in every row."),
        (ROWS.head(2).drop(columns="b"), "Model is missing inputs ['b']"),
        (ROWS.head(2).astype(object).assign(b="up"), "Failed to convert column b"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(
    served: endpoint.Endpoint, rows: pd.DataFrame, named: str
) -> None:
    status, said = ask(served, rows)
    assert status == 400
    assert named in said["message"]
    assert "up" not in said["message"].replace("input", "") and "stack_trace" not in said


@pytest.mark.parametrize(
    ("value", "status", "message"),
    [
        (4321.0, 500, "KeyError in predict"),  # what a model says of its own fault
        (8765.0, 400, "Encountered an unexpected error while evaluating the model"),  # as MLflow 3.17 has it
    ],
)
def test_the_answer_to_a_fault_repeats_no_features(
    served: endpoint.Endpoint, value: float, status: int, message: str
) -> None:
    found, said = ask(served, ROWS.head(2).assign(a=value, b=1234.5))
    assert found == status
    assert said["message"].startswith(message)
    assert "stack_trace" not in said
    told = str(said)
    assert not [part for part in ("1234", f"{value:g}", "Traceback", "Failed to predict") if part in told]


def test_frozen_it_takes_requests_and_answers_when_it_thaws(served: endpoint.Endpoint) -> None:
    served.freeze()
    served.freeze()
    try:
        assert served.running
        with pytest.raises(requests.ReadTimeout):
            requests.post(served.url, json={}, timeout=0.5)
        answers: list[int] = []
        waiting = threading.Thread(target=lambda: answers.append(ask(served, ROWS.head(1))[0]))
        waiting.start()
        time.sleep(0.3)
        assert answers == []
    finally:
        served.thaw()
    waiting.join(timeout=10)
    assert answers == [200]
    served.thaw()
    assert ask(served, ROWS.head(1))[0] == 200


def test_only_this_machine_may_ask(served: endpoint.Endpoint) -> None:
    listens = {
        tuple(connection.laddr)
        for process in processes(served._process.pid)
        for connection in psutil.Process(process).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listens == {("127.0.0.1", served.port)}


def test_strangers_are_refused(served: endpoint.Endpoint) -> None:
    strangers.are_refused(served.port, "/version")


def test_stopped_it_is_gone_with_all_its_processes(
    served: endpoint.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test that asks this endpoint."""
    group = served._process.pid
    assert processes(group) == [group]
    served.stop()
    assert not served.running
    assert gone(group)
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _: killed.append(group))
    served.stop()
    served.kill()
    assert killed == [], "its number may be that of others by now"
    with pytest.raises(requests.ConnectionError):
        ask(served, ROWS)


def test_killed_within_an_answer_it_is_gone_at_once(store: Path) -> None:
    one = endpoint.start("models:/small@champion")
    group = one._process.pid
    assert processes(group) == [group]
    failures: list[str] = []

    def load() -> None:
        while True:
            try:
                ask(one, ROWS)
            except requests.RequestException as error:
                failures.append(type(error).__name__)
                return

    callers = [threading.Thread(target=load) for _ in range(3)]
    for caller in callers:
        caller.start()
    time.sleep(0.5)
    one.kill()
    for caller in callers:
        caller.join(timeout=15)
    assert failures == ["ConnectionError"] * 3
    assert not one.running
    assert gone(group)
    one.stop()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_frozen_it_can_be_ended(store: Path, end: str) -> None:
    one = endpoint.start("models:/small@champion")
    group = one._process.pid
    one.freeze()
    assert one._thaws is not None
    helper = one._thaws.pid
    began = time.monotonic()
    getattr(one, end)()
    assert time.monotonic() - began < 8, "a frozen one is killed only after ten seconds"
    assert not one.running
    assert gone(group)
    assert not psutil.pid_exists(helper)
    one.stop()


FORKED = """
if os.fork() == 0:  # holds the pipes to the server and to the helper open
    os.close(1)
    time.sleep(30)
    os._exit(0)
"""


@pytest.mark.parametrize("frozen", ["", "one.freeze()", "one.freeze()" + FORKED, "one.kill()"])
def test_it_ends_with_the_process_that_started_it(store: Path, frozen: str) -> None:
    program = (
        "import os, time; from medallion.servers import endpoint\n"
        f"one = endpoint.start('models:/small@champion'); group = one._process.pid\n{frozen}\n"
        "print(group, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        group = int(child.stdout.readline())
        assert bool(processes(group)) == (frozen != "one.kill()")
        child.send_signal(signal.SIGKILL)
    assert gone(group)


def test_a_model_that_is_not_there(store: Path) -> None:
    """The error names the log, which takes the place of older ones."""
    logs = store / "logs"
    logs.mkdir(exist_ok=True)
    for number in range(30):
        old = logs / f"endpoint-1-{number}.log"
        old.touch()
        os.utime(old, (number, number))
    with pytest.raises(
        MedallionError, match=r"The endpoint of models:/nobody@champion does not answer"
    ) as told:
        endpoint.start("models:/nobody@champion")
    log = Path(str(told.value).split("said is in ")[1].split("; fix")[0])
    assert "nobody" in log.read_text(encoding="utf-8")
    assert not (logs / "endpoint-1-0.log").exists()
    assert len(list(logs.glob("endpoint-*.log"))) <= 21


def test_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    with pytest.raises(MedallionError, match="Chapter 05 makes it"):
        endpoint.start("models:/small@champion")
