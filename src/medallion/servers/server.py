"""A server on loopback in a process of its own, which ends with the process that started it.

The dashboard, MLflow's server and the endpoint of a model share this. The process that serves is given a
socket that listens already: no other program can take the port in between, and whoever asks too early waits
instead of being refused.
"""

import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from medallion.errors import MedallionError

HOST = "127.0.0.1"
# Under another name, another site's page could have this machine's browser ask us in its own name
NAMES = (HOST, "localhost")
_SECONDS = 90


class Server:
    """A server that runs, and its process.

    The process is `python -m MODULE ARGUMENTS… DESCRIPTOR PARENT`. It serves on `listener`, whose descriptor
    it is given, works in `folder`, writes to `log`, and has to call `end_with(PARENT)`.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        listener: socket.socket,
        log: Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port: int = listener.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}/"
        self.log = log
        self._arguments = arguments
        descriptor = listener.fileno()
        with log.open("ab") as target:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments, str(descriptor), str(os.getpid())],
                stdin=subprocess.PIPE,  # closed when this process ends, whatever ends it
                stdout=target,
                stderr=target,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                pass_fds=[descriptor],
                start_new_session=True,  # interrupting a cell interrupts the notebook's group of processes
            )
        self._end = weakref.finalize(self, _end, self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self._arguments))
        return f"{type(self).__name__}({shown})"  # no port: an output that holds one is another each time

    @property
    def running(self) -> bool:
        """Whether its process is there."""
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

    def wait_for(self, path: str, name: str) -> None:
        """Return once it answers on `path`; what fails before that, Ctrl-C too, stops it.

        Raises MedallionError, which calls it `name`, when it ends or does not answer in time.
        """
        end = time.monotonic() + _SECONDS
        try:
            while self.running and time.monotonic() < end:
                with suppress(OSError, http.client.HTTPException):
                    if self.get(path)[0] == http.client.OK:
                        return
                time.sleep(0.2)
            raise MedallionError(
                f"{name} does not answer. What it said is in {self.log}; fix that and start it again."
            )
        except BaseException:
            self.stop()
            raise

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


def is_ours(host: str) -> bool:
    """Return whether the header `Host` names this machine."""
    try:
        return urlsplit(f"//{host}").hostname in NAMES
    except ValueError:
        return False


def is_there(parent: int) -> bool:
    """Return whether `parent` runs and holds our standard input open, which takes a second when it does."""
    # The pipe alone would not do: a process that the parent has forked may hold its other end.
    return os.getppid() == parent and not select.select([sys.stdin], [], [], 1)[0]


def end_with(parent: int) -> None:
    """Have this process and all of its group end when `parent` ends or closes our standard input."""

    def watch() -> None:
        while is_there(parent):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()  # the sign to end, as when this process dies
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
