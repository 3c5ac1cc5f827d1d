"""What other programs leave in the environment: what is left out, what is kept, and what is refused."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medallion.errors import MedallionError
from medallion.machine import surroundings

FOREIGN = {
    "PYSPARK_SUBMIT_ARGS": "--master local[4]",
    "PYSPARK_GATEWAY_PORT": "1",
    "SPARK_HOME": "/opt/spark",
    "SPARK_API_MODE": "connect",
    "HADOOP_CONF_DIR": "/etc/hadoop",
    "JAVA_TOOL_OPTIONS": "-Xmx1m",
    "PYTHONHOME": "/usr",
    "PYTHONOPTIMIZE": "2",
    "MLFLOW_RUN_ID": "1",
}
KEPT = {"JAVA_HOME": "/opt/java", "PYTHONUTF8": "1", "MEDALLION_HOME": "/lake", "SPARKLE": "1"}

Clean = Callable[..., dict[str, str]]


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Clean:
    """A function that cleans an environment and returns it."""

    def cleaned(**environment: str) -> dict[str, str]:
        monkeypatch.setattr(os, "environ", environment)
        surroundings.clean.__wrapped__()
        return environment

    return cleaned


def test_what_is_another_programs_is_left_out_and_named(clean: Clean) -> None:
    left = clean(**FOREIGN, **KEPT)
    assert left.pop(surroundings.LEFT_OUT).split() == sorted(FOREIGN)
    assert left == KEPT


def test_what_a_cluster_a_server_or_a_workspace_needs_is_kept(clean: Clean) -> None:
    cluster = {
        "MEDALLION_MASTER": "yarn",
        "SPARK_CONF_DIR": "/a",
        "SPARK_LOCAL_DIRS": "/b",
        "YARN_CONF_DIR": "/c",
    }
    left = clean(**FOREIGN, **cluster)
    assert left.items() >= cluster.items() and "HADOOP_CONF_DIR" in left and "SPARK_HOME" not in left
    remote = {"SPARK_REMOTE": "sc://host", "SPARK_CONNECT_USER_AGENT": "me"}
    assert clean(**remote) == remote
    workspace = {**FOREIGN, "HTTP_PROXY": "http://proxy", "DATABRICKS_RUNTIME_VERSION": "17.3"}
    assert clean(**workspace) == workspace


def test_of_pythonpath_only_what_hides_a_module_of_ours_is_left_out(
    clean: Clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("spark/pyspark/__init__.py", "old/random.py", "own/my_helpers.py", "own/numpy/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folders = [str(tmp_path / name) for name in ("spark", "own", "old", "none")]
    monkeypatch.setattr(sys, "path", [*folders, "/lib"])
    left = clean(PYTHONPATH=os.pathsep.join(folders))
    assert left["PYTHONPATH"].split(os.pathsep) == [folders[1], folders[3]]
    assert left[surroundings.LEFT_OUT] == "PYTHONPATH" and sys.path == [folders[1], folders[3], "/lib"]


COMMAND = """
import os, sys
from medallion.machine import surroundings
surroundings.begin()
print(sys.flags.optimize, sys.argv[1], os.environ["MEDALLION_LEFT_OUT"])
"""


def test_a_command_starts_again_without_what_python_had_taken_in() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONOPTIMIZE": "2", "SPARK_HOME": "/opt/spark"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "a b"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "0 a b PYTHONOPTIMIZE SPARK_HOME\n", done.stderr


# Proxies -----------------------------------------------------------------------------------------


@pytest.fixture
def proxy() -> Iterator[str]:
    """The address of a proxy that answers whatever it is asked itself."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"proxied")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


ASK = """
import csv, json, os, sys, urllib.request
import requests
from pathlib import Path
from medallion.machine import surroundings
from medallion.servers import api
surroundings.clean()
found = []
with api.serve(Path(sys.argv[1])) as (url, key):
    for address in (url, url.replace("127.0.0.1", "localhost"), "http://other.example/", "http://own.example/"):
        headers = {"Authorization": f"Bearer {key}"}
        request = urllib.request.Request(address, headers=headers)
        for ask in (lambda: urllib.request.urlopen(request, timeout=5).read(),
                    lambda: requests.get(address, headers=headers, timeout=5).content):
            try:
                found.append(ask().decode()[:8])
            except OSError as error:
                found.append(type(error).__name__)
print(json.dumps(found))
"""


@pytest.mark.parametrize("variables", [("http_proxy", "NO_PROXY"), ("ALL_PROXY", "no_proxy")])
def test_loopback_is_asked_directly_and_other_hosts_through_the_proxy(
    proxy: str, variables: tuple[str, str], tmp_path: Path
) -> None:
    """By urllib, as in chapter 01, and by requests, as in chapter 06; what NO_PROXY has stays in force."""
    (tmp_path / "a.csv").write_text("id\n1\n", encoding="utf-8")
    ours = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {**ours, variables[0]: proxy, variables[1]: "own.example"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, tmp_path / "a.csv"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    by_urllib = found[4] if variables[0] == "ALL_PROXY" else "proxied"  # urllib knows no such variable
    assert found[:6] == ['{"page":'] * 4 + [by_urllib, "proxied"]
    assert found[6:] == ["URLError", "ConnectionError"]


def test_a_socks_proxy_is_left_out(clean: Clean) -> None:
    """JupyterLab does not start with one."""
    left = clean(ALL_PROXY="socks5://p", all_proxy="socks5h://p", https_proxy="http://p")
    assert left.keys() == {"https_proxy", "NO_PROXY", "no_proxy", surroundings.LEFT_OUT}
    assert left[surroundings.LEFT_OUT] == "ALL_PROXY all_proxy"


def test_what_needs_no_proxy_is_added_to(clean: Clean) -> None:
    ours = "127.0.0.1,localhost,::1"
    assert "no_proxy" not in clean(JAVA_HOME="/opt/java"), "without a proxy there is nothing to say"
    left = clean(https_proxy="http://p", NO_PROXY="a.example, localhost")
    assert left["NO_PROXY"] == left["no_proxy"] == "a.example,localhost,127.0.0.1,::1"
    left = clean(HTTPS_PROXY="http://p", NO_PROXY="A", no_proxy="b")
    assert (left["NO_PROXY"], left["no_proxy"]) == (f"A,{ours}", f"b,{ours}")
    assert clean(HTTPS_PROXY="http://p", NO_PROXY="*") == {"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}


# A server elsewhere ------------------------------------------------------------------------------


def test_a_remote_that_does_not_answer_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    surroundings.require_remote()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        os.environ["SPARK_REMOTE"] = f"sc://{address}/;token=secret"
        surroundings.require_remote()
    began = time.monotonic()
    with pytest.raises(MedallionError) as refused:
        surroundings.require_remote()
    assert time.monotonic() - began < 5
    assert str(refused.value) == (
        f"SPARK_REMOTE is set, and no Spark answers on {address} (Connection refused). "
        "Correct SPARK_REMOTE, or unset it to have Spark on this machine."
    )


def test_the_remote_of_a_workspace_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = {"SPARK_REMOTE": "unix:///databricks/grpc.sock", "DATABRICKS_RUNTIME_VERSION": "client.5"}
    monkeypatch.setattr(os, "environ", workspace)
    surroundings.require_remote()


@pytest.mark.parametrize(
    "remote", ["local[*]", "sc://", "http://me:secret@host", "sc://host:x/;token=secret"]
)
def test_a_remote_that_is_no_address_is_refused(remote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"SPARK_REMOTE": remote})
    with pytest.raises(
        MedallionError, match=r"SPARK_REMOTE is .*, not the address sc://HOST:PORT of a server"
    ) as refused:
        surroundings.require_remote()
    assert "secret" not in str(refused.value)
