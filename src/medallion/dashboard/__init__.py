"""A page on this machine that shows a Gold table while a stream keeps it.

    live = dashboard.start("gold.live_sales")
    live.url       # where a browser finds it
    live.state()   # what it shows now
    live.stop()

The page runs in a process of its own, which reads the Delta log and files itself: it asks the notebook and
its Spark for nothing. That process ends with the notebook's, whatever ends that.
"""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from medallion import chapters, paths, tables
from medallion.errors import MedallionError

TABLE = "gold.live_sales"
HOST = "127.0.0.1"
_SECONDS = 60
_pages: dict[tuple[Path, str, int], "Dashboard"] = {}


class Dashboard:
    """A page that runs, and the process that serves it."""

    def __init__(self, table: str, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.table = table
        self.port = port
        self.url = f"http://{HOST}:{port}/"
        self._process = process
        self._end = weakref.finalize(self, _end, process)

    def __repr__(self) -> str:
        return f"Dashboard({self.table!r})"  # no port: an output that holds one is another each time

    def __enter__(self) -> "Dashboard":
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
        """Whether the page is still served."""
        return self._process.poll() is None

    def state(self) -> dict[str, Any]:
        """Return what the page shows: its table's `version`, `rows`, `orders`, `revenue_cents`, and a `note`.

        Without a table the four are None, and the note says what the page waits for.
        Raises MedallionError when the page is not served any more.
        """
        state = json.loads(_get(self.port, "/state"))
        del state["stamp"]
        return state

    def stop(self) -> None:
        """End the page. Stopping it again does nothing."""
        self._end()


def start(table: str = "gold.live_sales", port: int = 0) -> Dashboard:
    """Show `table` on a page of this machine, and return once the page answers, which takes some seconds.

    What is returned has the page's address as `url`. Its `state()` is what the page shows now: `version`,
    `rows`, `orders` and `revenue_cents` of the table, and a `note` when something is amiss. The page ends by
    `stop()`, at the end of a `with` block, and with the notebook's process.

    The table has the columns `hour`, `channel`, `orders` and `revenue_cents`, and need not be there yet.
    `port` 0 takes one that is free. Called again, this returns the page that runs already.

    Raises MedallionError for a port that is taken, and when the page does not answer.
    """
    key = (paths.home(), table, port)
    if key in _pages and _pages[key].running:
        return _pages[key]
    with listen(table, port) as listener, paths.log("dashboard").open("ab") as log:
        command = [sys.executable, "-P", "-m", "medallion.dashboard.server", table]
        process = subprocess.Popen(
            [*command, str(listener.fileno()), str(os.getpid())],
            stdin=subprocess.PIPE,  # closed when this process ends, whatever ends it
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # interrupting a cell interrupts the notebook's group of processes
        )
        page = Dashboard(table, listener.getsockname()[1], process)
    try:
        _get(page.port, "/")
    except MedallionError as error:
        page.stop()
        raise MedallionError(
            f"The dashboard of {table} does not answer. What it said is in {log.name}; "
            "mend that and start it again."
        ) from error
    _pages[key] = page
    return page


def serve(port: int, table: str = TABLE) -> None:
    """Serve the page of `table` in this process, say where it is, and return on Ctrl-C.

    Raises MedallionError for a port that is taken.
    """
    from medallion.dashboard import server

    with listen(table, port) as listener:
        if not tables.exists(table):
            print(f"{table} is not there yet. {how_to_make(table)} The page waits for it.")
        where = f"http://{HOST}:{listener.getsockname()[1]}/"
        print(f"{table} is shown at {where} until Ctrl-C.", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve(listener, table)
        print("\nThe page has ended.")


def listen(table: str, port: int) -> socket.socket:
    """Return a socket that listens on loopback for the page of `table`; it closes at the end of a `with`.

    Raises MedallionError for what is no table or no port, and for a port that cannot be had.
    """
    if not re.fullmatch(r"\w+\.\w+", table):
        raise MedallionError(f"{table!r} is no table. Give schema and table, as in {TABLE}.")
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


def how_to_make(table: str) -> str:
    """Return a sentence on who makes `table`, and by which commands."""
    maker = chapters.maker(table)
    if maker is None:
        return "No chapter makes it: write it yourself."
    return f"Chapter {maker} makes it: `medallion catch-up {maker}`, then `medallion run {maker}`."


def _get(port: int, path: str) -> bytes:
    """Return what the page answers, asked without the proxies of the surroundings.

    Raises MedallionError when it does not.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise MedallionError("The page is not served any more. Start it with `dashboard.start()`.") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise MedallionError(f"The page answers with {answer.status}. Stop it and start it again.")
    return body


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()  # the sign to end, as when this process dies
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
