"""A server on loopback in a process of its own, which ends with the process that started it.

The dashboard and MLflow's server share this. The process that serves is given a socket that listens already:
no other program can take the port in between, and whoever asks too early waits instead of being refused.
"""

import http.client
import os
import select
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from medallion import paths
from medallion.errors import MedallionError

HOST = "127.0.0.1"
_SECONDS = 60


class Server:
    """A server that runs, and its process."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.port = port
        self.url = f"http://{HOST}:{port}/"
        self.log = log
        self._process = process
        self._end = weakref.finalize(self, _end, process)

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
        """Whether it still serves."""
        return self._process.poll() is None

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of what it answers, asked without the proxies of the surroundings.

        Raises OSError or http.client.HTTPException when it does not answer.
        """
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def wait(self) -> None:
        """Return when its process has ended."""
        self._process.wait()

    def stop(self) -> None:
        """End it. Stopping it again does nothing."""
        self._end()


def listen(port: int) -> socket.socket:
    """Return a socket that listens on loopback; it closes at the end of a `with`.

    Raises MedallionError for what is no port, and for a port that cannot be had.
    """
    if not 0 <= port <= 65_535:
        raise MedallionError(f"{port} is no port. Choose one from 1024 to 65535, or 0 for any that is free.")
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise MedallionError(
            f"Port {port} cannot be had ({error.strerror}). Choose another, or 0 for any that is free."
        ) from error
    return listener


def launch(
    program: str, module: str, arguments: Sequence[str], listener: socket.socket, folder: Path | None = None
) -> tuple[int, "subprocess.Popen[bytes]", Path]:
    """Start `python -m MODULE ARGUMENTS… DESCRIPTOR PARENT`, and return what a `Server` is made of.

    The process serves on `listener`, whose descriptor it is given, works in `folder`, and writes to the log
    of `program`. It has to call `end_with(PARENT)`.
    """
    path = paths.log(program)
    with path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments, str(listener.fileno()), str(os.getpid())],
            stdin=subprocess.PIPE,  # closed when this process ends, whatever ends it
            stdout=log,
            stderr=log,
            cwd=folder,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # interrupting a cell interrupts the notebook's group of processes
        )
    return listener.getsockname()[1], process, path


def end_with(parent: int) -> None:
    """Have this process end when `parent` ends or closes our standard input."""

    def watch() -> None:
        # The pipe alone would not do: a process that the parent has forked may hold its other end.
        while os.getppid() == parent and not select.select([sys.stdin], [], [], 1)[0]:
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()  # the sign to end, as when this process dies
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
