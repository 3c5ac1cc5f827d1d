"""A model behind HTTP: what `mlflow models serve` runs, on loopback, until the notebook that started it ends.

    with endpoint.start("models:/churn@champion") as served:
        requests.post(served.url, json={"dataframe_split": ...}, timeout=5)

MLflow's scoring server asks for no password, so it answers on this machine only, and only under its names.
This module is also the process that serves. MLflow's command would start two processes of its own, which take
twice the memory, and knows no names.
"""

import os
import signal
import socket
import sys

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
    """Serve a model on `listener` until the end of this process."""
    import uvicorn
    from mlflow.pyfunc import scoring_server

    from medallion.servers import asgi

    app = scoring_server.init(scoring_server.load_model_with_mlflow_config(model))
    config = uvicorn.Config(asgi.guarded(app))
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    server.end_with(int(sys.argv[3]))
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
