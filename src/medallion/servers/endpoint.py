"""A model behind HTTP: what `mlflow models serve` runs, on loopback, until the notebook that started it ends.

    with endpoint.start("models:/churn@champion") as served:
        requests.post(served.url, json={"dataframe_split": ...}, timeout=5)

MLflow's scoring server asks for no password, so it answers on this machine only, and only under its names.
This module is also the process that serves. MLflow's command would start two processes of its own, which take
twice the memory, and knows no names. What MLflow 3.17 puts into the answer to a bad request, the features and
a stack trace, is left out, as a gateway would.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from medallion import paths
from medallion.servers import server
from medallion.servers.tracking import store
from medallion.spark import mlflow_settings

__all__ = ["start"]


class Endpoint(server.Server):
    """A model that is served: where to ask, and whether it still answers."""

    def __init__(self, model: str, listener: socket.socket) -> None:
        environment = {**mlflow_settings.ENVIRONMENT, "MLFLOW_TRACKING_URI": store.uri()}
        # Of each endpoint its own, and all of them among those that are removed
        log = paths.log("endpoint")
        log = log.with_stem(f"{log.stem}-{listener.getsockname()[1]}")
        super().__init__("medallion.servers.endpoint", [model], listener, log, environment=environment)
        self.url += "invocations"
        self._thaws: subprocess.Popen[bytes] | None = None

    def freeze(self) -> None:
        """Stop it in the middle of its work: it takes requests and answers none, until `thaw()`.

        Frozen, it cannot see that the notebook's process has ended. So another process waits for that end,
        and has it go on, to end too. Freezing it again does nothing.
        """
        if self.running and self._thaws is None:
            call = f"endpoint._thaw_after({os.getpid()}, {self._process.pid})"
            self._thaws = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from medallion.servers import endpoint; {call}"],
                stdin=subprocess.PIPE,
                start_new_session=True,  # interrupting a cell does not interrupt it
            )
            os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on, and answer what it was asked meanwhile. Does nothing when it is not frozen."""
        if self._thaws is not None:
            assert self._thaws.stdin is not None
            self._thaws.stdin.close()
            self._thaws.wait()
            self._thaws = None

    def stop(self) -> None:
        """End it, frozen or not. Stopping it again does nothing."""
        self.thaw()
        super().stop()

    def kill(self) -> None:
        """End it at once and in the middle of its work, as `kill -9` or a lack of memory would.

        Killing it again does nothing: its number may be that of somebody else's processes by then.
        """
        if self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self.thaw()


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


def _thaw_after(parent: int, group: int) -> None:
    """Have a frozen group of processes go on when `parent` ends or closes our standard input."""
    while server.is_there(parent):
        pass
    with suppress(OSError):  # there is nobody left to go on
        os.killpg(group, signal.SIGCONT)


def _serve(model: str, listener: socket.socket) -> None:
    """Serve a model on `listener` until the end of this process."""
    import uvicorn
    from mlflow.pyfunc import scoring_server

    from medallion.servers import asgi

    scoring_server.invocations = _discreet(scoring_server.invocations)
    app = scoring_server.init(scoring_server.load_model_with_mlflow_config(model))
    config = uvicorn.Config(asgi.guarded(app))
    uvicorn.Server(config).run(sockets=[listener])


def _discreet(invocations: Callable[..., Any]) -> Callable[..., Any]:
    """Return MLflow's `invocations`, whose errors then repeat neither the features nor a stack trace.

    Where the model refuses them, MLflow puts the features before "Error: " and the model's message after it;
    where it cannot read them, its own message before and the value that it could not read after.
    """
    from mlflow.exceptions import MlflowException

    @wraps(invocations)
    def answer(*given: Any) -> Any:
        try:
            return invocations(*given)
        except MlflowException as error:
            told = error.message
            if told.startswith("Failed to predict data"):
                told = told.rsplit("Error: ", 1)[-1]
            error.message = told.split("Error: ", 1)[0].strip()
            error.json_kwargs = {}
            raise

    return answer


if __name__ == "__main__":
    server.end_with(int(sys.argv[3]))
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
