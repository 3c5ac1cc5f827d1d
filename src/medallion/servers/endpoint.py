"""A model behind HTTP: `mlflow models serve`, started from a notebook on loopback, which ends with it.

    with endpoint.start("models:/churn@champion") as served:
        requests.post(served.url, json={"dataframe_split": ...}, timeout=5)

MLflow's scoring server asks for no password, so it listens on this machine only. Its command starts processes
of its own; this module is also the one that we start around it, which ends them all together.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from medallion import paths
from medallion.servers import server
from medallion.servers.tracking import store
from medallion.spark import mlflow_settings

__all__ = ["start"]


class Endpoint(server.Server):
    """A model that is served: where to ask, and whether it still answers."""

    def __init__(self, model: str, listener: socket.socket) -> None:
        # MLflow's command looks for Uvicorn, which is beside our Python
        search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        environment = {**mlflow_settings.ENVIRONMENT, "MLFLOW_TRACKING_URI": store.uri(), "PATH": search}
        # Of each endpoint its own, and all of them among those that are removed
        log = paths.log("endpoint")
        log = log.with_stem(f"{log.stem}-{listener.getsockname()[1]}")
        super().__init__("medallion.servers.endpoint", [model], listener, log, environment=environment)
        self.url += "invocations"

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
    store.require()
    with server.listen(0) as listener:
        served = Endpoint(model, listener)
    served.wait_for("/ping", f"The endpoint of {model}")
    return served


def _serve(model: str, listener: socket.socket) -> None:
    """Run MLflow's command on the port of `listener`, and end this whole group of processes with it."""
    with listener:  # the command takes a number and no socket
        port = str(listener.getsockname()[1])
    arguments = ["models", "serve", "--model-uri", model, "--host", server.HOST, "--port", port]
    subprocess.call([sys.executable, "-m", "mlflow", *arguments, "--env-manager", "local"])
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    server.end_with(int(sys.argv[3]))
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
