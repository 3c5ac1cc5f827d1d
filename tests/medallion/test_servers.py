"""What the servers on this machine share: how they begin, what they say of trouble, and that they end."""

import base64
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import psutil
import pyarrow as pa
import pytest
import strangers
from deltalake import write_deltalake

import medallion_cli
from medallion import contract
from medallion.errors import MedallionError
from medallion.servers import api, dashboard, tracking
from medallion.servers.tracking import ui

BOTH = pytest.mark.parametrize("kind", [dashboard, tracking], ids=["dashboard", "mlflow"])
COMMAND = {dashboard: "dashboard", tracking: "mlflow"}
NAME = {dashboard: "The dashboard of gold.live_sales", tracking: "MLflow's server"}
REPR = {dashboard: "Dashboard('gold.live_sales')", tracking: "Ui()"}
ASKED = {dashboard: "/state", tracking: "/api/2.0/mlflow/experiments/search?max_results=1"}
NOTEBOOK = """
import os, signal, time
from medallion.servers import {0}

live = {0}.start()
signal.signal(signal.SIGINT, signal.SIG_IGN)
if os.fork() == 0:  # holds the pipe to the server open
    os.close(1), os.close(2)
    time.sleep(30)
    os._exit(0)
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
print(live._process.pid, live.port, flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lakehouse with an MLflow store and no table."""
    folder = tmp_path_factory.mktemp("store")
    program = "from medallion.servers import tracking; tracking.use('churn')"
    environment = {**os.environ, "MEDALLION_HOME": str(folder)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    return folder


@pytest.fixture
def house(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in a folder with a space and an accent."""
    shutil.copytree(store, folder := tmp_path / "Kurs für Anfänger")
    monkeypatch.setenv("MEDALLION_HOME", str(folder))
    return folder


def ask(port: int, path: str) -> tuple[int, str]:
    login = base64.b64encode(":".join(ui.credentials()).encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Basic {login}"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@BOTH
def test_a_second_start_is_the_same_and_a_stop_ends_it(kind: ModuleType, house: Path) -> None:
    with kind.start() as one:
        assert kind.start() is one and one.running
        assert repr(one) == REPR[kind], "no port in an output"
        assert one.url == f"http://127.0.0.1:{one.port}/"
        served = psutil.Process(one._process.pid)
        listens = {c.laddr.ip for c in served.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        assert listens == {"127.0.0.1"}
        assert not served.children(), "one process, which ends as one"
        of_all = [address for several in psutil.net_if_addrs().values() for address in several]
        for address in {one.address for one in of_all if one.family == socket.AF_INET} - {"127.0.0.1"}:
            with socket.socket() as probe:
                probe.settimeout(5)
                assert probe.connect_ex((address, one.port)) != 0
    assert not one.running
    one.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", one.port)) != 0


@BOTH
def test_one_that_was_killed_is_started_anew(kind: ModuleType, house: Path) -> None:
    with kind.start() as one:
        os.kill(one._process.pid, signal.SIGKILL)
        one._process.wait()
        with kind.start() as other:
            assert other is not one and other.running


@BOTH
def test_it_outlives_an_interrupt_and_ends_with_a_killed_notebook(
    kind: ModuleType, house: Path, launch: Callable[..., "subprocess.Popen[str]"]
) -> None:
    child = launch(NOTEBOOK.format(kind.__name__.rpartition(".")[2]), MEDALLION_HOME=str(house))
    assert child.stdout
    pid, port = map(int, child.stdout.readline().split())
    served = psutil.Process(pid)
    os.killpg(child.pid, signal.SIGINT)
    assert child.stdout.readline() == "interrupted\n"
    assert ask(port, ASKED[kind])[0] == 200
    child.kill()
    child.wait()
    psutil.wait_procs([served], timeout=25)
    assert not served.is_running()


@BOTH
def test_one_that_cannot_begin_says_where_to_look(
    kind: ModuleType, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("dash", "uvicorn"):
        (house / "broken" / package).mkdir(parents=True)
        (house / "broken" / package / "__init__.py").write_text("raise ImportError('a broken installation')")
    monkeypatch.setenv("PYTHONPATH", str(house / "broken"), prepend=os.pathsep)
    with pytest.raises(MedallionError) as refused:
        kind.start()
    log = house / "logs" / f"{COMMAND[kind]}-{os.getpid()}.log"
    told = f"{NAME[kind]} does not answer. What it said is in {log}; fix that and start it again."
    assert str(refused.value) == told
    assert "ImportError: a broken installation" in log.read_text(encoding="utf-8")


@BOTH
def test_a_port_that_is_taken(kind: ModuleType, house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MedallionError) as refused:
            kind.start(port=port)
        assert medallion_cli.main([COMMAND[kind], "--port", str(port)]) == 1
    assert str(refused.value) == (
        f"Port {port} cannot be had (Address already in use). Choose another, or 0 for any that is free."
    )
    assert capsys.readouterr().err == f"medallion: {refused.value}\n"


@pytest.mark.parametrize(("kind", "there"), [(dashboard, False), (dashboard, True), (tracking, False)])
def test_the_command_serves_until_ctrl_c(kind: ModuleType, there: bool, house: Path) -> None:
    if there:
        hours = pa.array([0], pa.timestamp("us", "UTC"))
        table = pa.table({"hour": hours, "channel": ["web"], "orders": [1], "revenue_cents": [5]})
        write_deltalake(house / "gold" / "live_sales", table)
    user, password = ui.credentials()
    waits = (
        f"gold.live_sales is not there yet. {contract.how_to_make(dashboard.TABLE)} The page waits for it.\n"
    )
    says = {
        dashboard: ("" if there else waits) + "gold.live_sales is shown at URL until Ctrl-C.\n",
        tracking: f"MLflow is at URL until Ctrl-C, for the user {user} with the password {password}\n"
        f"The password is kept in {house / 'mlflow' / 'credentials.json'}.\n",
    }
    ends = {dashboard: "\nThe page has ended.\n", tracking: "\nMLflow's server has ended.\n"}
    child = subprocess.Popen(
        [sys.executable, "-m", "medallion_cli", COMMAND[kind], "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        assert child.stdout
        said = "".join(child.stdout.readline() for _ in says[kind].splitlines())
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        assert found and said.replace(found[0], "URL") == says[kind]
        started = psutil.Process(child.pid).children()
        assert ask(int(found[1]), "/")[0] == 200
        answered, text = ask(int(found[1]), ASKED[kind])
        assert answered == 200 and ('"version":0' in text) == there
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        assert (child.returncode, out, err) == (0, ends[kind], "")
        assert not [one for one in started if one.is_running()]
    finally:
        child.kill()
        child.communicate()


def asked(url: str, key: str) -> tuple[int, dict[str, str]]:
    """Ask the API, and return the status and the headers of its answer."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("GET", f"{parts.path}?{parts.query}", headers={"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders())


@pytest.mark.parametrize("listed", [True, False])
def test_the_api_says_when_its_rows_arrived(tmp_path: Path, listed: bool) -> None:
    folder = tmp_path / "landing" / "marketing"
    folder.mkdir(parents=True)
    file = folder / "spend.csv"
    file.write_text("day\n1\n", encoding="utf-8")
    os.utime(file, (0, 0))
    if listed:
        files = [
            {"path": "marketing/other.csv", "arrived": "2025-12-29T00:00:00Z"},
            {"path": "marketing/spend.csv", "arrived": "2025-12-30T00:00:00Z"},
        ]
        (tmp_path / "landing" / "_manifest.json").write_text(json.dumps({"files": files}), encoding="utf-8")
    with api.serve(file) as (url, key):
        assert urlsplit(url).path == "/spend"
        status, headers = asked(f"{url}?page=1", key)
        refused, without = asked(f"{url}?page=2", key)
    when = "Tue, 30 Dec 2025 00:00:00 GMT" if listed else "Thu, 01 Jan 1970 00:00:00 GMT"
    assert (status, headers["Last-Modified"]) == (200, when)
    assert refused == 404 and "Last-Modified" not in without


def test_the_api_is_busy_at_the_first_requests_for_each_page(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("day\n" + "1\n" * (api.PAGE + 1), encoding="utf-8")
    with api.serve(file, busy=2) as (url, key):
        assert asked(f"{url}?page=3", key)[0] == 404, "there is no such page, busy or not"
        assert asked(f"{url}?page=1", "other")[0] == 401, "a wrong key does not count"
        found = [asked(f"{url}?page={page}", key)[0] for page in (1, 1, 2, 1, 2, 2, 1)]
    assert found == [429, 429, 429, 200, 429, 200, 200]


def test_the_api_gives_its_rows_to_whoever_has_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("day\n" + "1\n" * (api.PAGE + 1), encoding="utf-8")
    with api.serve(file) as (url, key):
        port = urlsplit(url).port
        assert port is not None
        strangers.are_refused(port, "/rows", f"Bearer {key}")

        def status(path: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
            return connection.getresponse().status

        assert [status(f"/rows?page={page}") for page in ("1", "2")] == [200, 200]
        for path in (
            "/",
            "/rows/",
            "//[",
            *(f"/rows?page={p}" for p in ("0", "3", "-1", "%C2%B2", "1" * 5_000)),
        ):
            assert status(path) == 404, path
        threads = threading.active_count()
        with socket.create_connection(("127.0.0.1", port)) as rude:  # resets the connection
            rude.sendall(b"GET /rows")
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert status("/rows") == 200, "taken after the other one"
        while threading.active_count() > threads:
            time.sleep(0.01)
    assert capsys.readouterr() == ("", ""), "no traceback in the notebook"
