"""A model behind HTTP: `mlflow models serve`, started from a notebook on loopback, which ends with it.

    with endpoint.start("models:/churn@champion") as served:
        requests.post(served.url, json={"dataframe_split": ...}, timeout=5)

MLflow's scoring server asks for no password, so it listens on this machine only. Its command starts processes
of its own; one that we start around it ends them all together.
"""

import http.client
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

from medallion import paths
from medallion.errors import MedallionError
from medallion.servers import server
from medallion.servers.tracking import store
from medallion.spark import quiet

_SECONDS = 90


class Endpoint:
    """A model that is served: where to ask, and whether it still answers."""

    def __init__(self, model: str, port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.model = model
        self.port = port
        self.url = f"http://{server.HOST}:{port}/invocations"
        self.log = log
        self._process = process
        self._end = weakref.finalize(self, _end, process)

    def __repr__(self) -> str:
        return f"Endpoint({self.model!r})"  # no port: an output that holds one is another each time

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it. Stopping it again does nothing."""
        self._end()

    def kill(self) -> None:
        """End it at once and in the middle of its work, as `kill -9` or a lack of memory would.

        Killing it again does nothing: its number may be that of somebody else's processes by then.
        """
        if self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def start(model: str) -> Endpoint:
    """Serve a registered model ("models:/churn@champion") on this machine, and return once it answers.

    It ends by `stop()`, at the end of a `with` block, and with the notebook's process.
    Raises MedallionError when there is no MLflow store, and when the server does not come up.
    """
    if not store.database().exists():
        raise MedallionError(
            f"There is no MLflow store in {store.place()} yet. Chapter {store.CHAPTER} makes it: "
            f"`medallion run {store.CHAPTER}`."
        )
    # MLflow's command takes a number and no socket, so the port is free between here and there.
    with server.listen(0) as listener:
        port = listener.getsockname()[1]
    log = paths.log("endpoint")
    log = log.with_stem(f"{log.stem}-{port}")  # of each its own, and all of them among those that are removed
    with log.open("ab") as target:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "medallion.servers.endpoint", model, str(port), str(os.getpid())],
            stdin=subprocess.PIPE,  # closed when this process ends, whatever ends it
            stdout=target,
            stderr=target,
            env={**os.environ, **quiet.ENVIRONMENT, "MLFLOW_TRACKING_URI": store.uri(), "PATH": _path()},
            start_new_session=True,
        )
    served = Endpoint(model, port, process, log)
    try:
        _wait_for(served)
    except BaseException:
        served.stop()
        raise
    return served


def _path() -> str:
    """Return where to look for programs: MLflow's command looks for Uvicorn, which is beside our Python."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _wait_for(served: Endpoint) -> None:
    end = time.monotonic() + _SECONDS
    while served.running and time.monotonic() < end:
        connection = http.client.HTTPConnection(server.HOST, served.port, timeout=5)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == http.client.OK:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.2)
        finally:
            connection.close()
    raise MedallionError(
        f"The endpoint of {served.model} does not answer. What it said is in {served.log}; "
        "mend that and start it again."
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()  # the sign to end, as when this process dies
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _serve(model: str, port: str, parent: int) -> None:
    """Run MLflow's command, and end this whole group of processes with it, or with the parent."""
    arguments = ["models", "serve", "--model-uri", model, "--host", server.HOST, "--port", port]
    command = subprocess.Popen([sys.executable, "-m", "mlflow", *arguments, "--env-manager", "local"])

    def watch() -> None:
        # The pipe alone would not do: a process that the parent has forked may hold its other end.
        while os.getppid() == parent and not select.select([sys.stdin], [], [], 1)[0]:
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    command.wait()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
