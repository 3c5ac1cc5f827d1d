"""The process that serves MLflow: `python -m medallion.servers.tracking.process DESCRIPTOR PARENT`.

It is what `mlflow server --app-name basic-auth --workers 1` runs, MLflow's own application on Uvicorn. That
command starts a second process for it, which outlives the first when that is killed, and takes twice the
time and memory.
"""

import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medallion.servers import asgi, server
from medallion.servers.tracking import store, ui
from medallion.spark import mlflow_settings

if TYPE_CHECKING:
    from fastapi import FastAPI


def serve(listener: socket.socket) -> None:
    """Serve MLflow on `listener` until the end of this process, which works in MLflow's folder."""
    import uvicorn  # before MLflow, which by it sees that it is a server

    # MLflow itself trusts the pages of every program on this machine, whatever its settings say
    app = asgi.guarded(_application())
    config = uvicorn.Config(app, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def _application() -> "FastAPI":
    user, password = ui.credentials()
    os.environ.update(
        mlflow_settings.ENVIRONMENT,
        _MLFLOW_SGI_NAME="uvicorn",  # without it, MLflow's application is one for other servers
        MLFLOW_SERVER_ALLOWED_HOSTS=",".join(f"{name},{name}:*" for name in server.NAMES),
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        MLFLOW_AUTH_CONFIG_PATH=str(Path(__file__).with_name("users.ini")),
        MLFLOW_AUTH_ADMIN_USERNAME=user,
        MLFLOW_AUTH_ADMIN_PASSWORD=password,
        # Against forged forms. One process has all the pages, so that the next one may have another
        MLFLOW_FLASK_SERVER_SECRET_KEY=secrets.token_hex(32),
    )
    from mlflow.server import constants, handlers

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store.uri()
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = store.uri()
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = store.artifacts_uri()
    handlers.initialize_backend_stores(store.uri(), store.uri(), store.artifacts_uri())
    from mlflow.server.auth import create_app

    with store.lock():  # two servers at once would both make the database of users
        return create_app()


if __name__ == "__main__":
    server.end_with(int(sys.argv[2]))
    os.umask(0o077)  # the database of users is this user's alone
    serve(socket.socket(fileno=int(sys.argv[1])))
