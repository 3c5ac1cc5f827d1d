"""MLflow's server over the store of the lakehouse, started from a notebook or by `medallion mlflow`."""

import json
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from medallion import paths
from medallion.errors import MedallionError
from medallion.files import write_private
from medallion.servers import server
from medallion.servers.tracking import store

_running: dict[tuple[Path, int], "Ui"] = {}


class Credentials(NamedTuple):
    """What MLflow's server asks for."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.user!r})"  # no password: outputs are kept


class Ui(server.Server):
    """MLflow's server that runs, and its process."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(
            "medallion.servers.tracking.process", [], listener, paths.log("mlflow"), folder=store.place()
        )

    def credentials(self) -> Credentials:
        """Return the user and the password that it asks for, as a pair."""
        return credentials()


def start(port: int = 0) -> Ui:
    """Serve MLflow's pages and its REST interface on this machine, and return once they answer.

    What is returned has the address as `url`; its `credentials()` are the user and the password that the
    server asks for. It ends by `stop()`, at the end of a `with` block, and with the notebook's process.
    `port` 0 takes one that is free. Called again, this returns the server that runs already.

    Raises MedallionError when there is no store yet, for a port that is taken, and when it does not answer.
    """
    key = (store.place(), port)
    if key in _running and _running[key].running:
        return _running[key]
    store.require()
    credentials()
    with store.lock():
        store.follow()
    with server.listen(port) as listener:
        ui = Ui(listener)
    ui.wait_for("/health", "MLflow's server")  # the one page that asks for no password
    _running[key] = ui
    return ui


def serve(port: int) -> None:
    """Serve MLflow's pages, say where they are and what they ask for, and return on Ctrl-C.

    Raises MedallionError like `start`, and when the server ends by itself.
    """
    with start(port) as ui:
        user, password = credentials()
        print(f"MLflow is at {ui.url} until Ctrl-C, for the user {user} with the password {password}")
        print(f"The password is kept in {_credentials_file()}.", flush=True)
        with suppress(KeyboardInterrupt):
            ui.wait()
            raise MedallionError(f"MLflow's server has ended. What it said is in {ui.log}; start it again.")
    print("\nMLflow's server has ended.")


def credentials() -> Credentials:
    """Return the user and the password of MLflow's server, which are made once for each lakehouse.

    They stand in a file that only this user can read.
    Raises MedallionError when the lakehouse cannot be written, or the file is none of ours.
    """
    file = _credentials_file()
    with store.lock():
        if not file.exists():
            _make_credentials(file)
    try:
        return Credentials(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise MedallionError(
            f"{file} holds no user and password. Remove it: the next start makes it anew."
        ) from error


def _credentials_file() -> Path:
    return store.place() / "credentials.json"


def _make_credentials(file: Path) -> None:
    # A database of users from before has the password from before
    (store.place() / "users.db").unlink(missing_ok=True)
    made = Credentials("learner", secrets.token_urlsafe(18))
    write_private(file, json.dumps(made._asdict()))
