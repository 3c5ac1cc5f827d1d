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
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from medallion import contract, paths
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from medallion.servers import server

__all__ = ["start"]

TABLE = "gold.live_sales"
_pages: dict[tuple[Path, str, int], "Dashboard"] = {}


class Dashboard(server.Server):
    """A page that runs, and the process that serves it."""

    def __init__(self, table: str, listener: socket.socket) -> None:
        super().__init__("medallion.servers.dashboard.process", [table], listener, paths.log("dashboard"))

    def state(self) -> dict[str, Any]:
        """Return what the page shows: its table's `version`, `rows`, `orders`, `revenue_cents`, and a `note`.

        Without a table the four are None, and the note says what the page waits for.
        Raises MedallionError when the page is not served any more.
        """
        try:
            status, body = self.get("/state")
        except (OSError, http.client.HTTPException) as error:
            raise MedallionError(
                "The page is not served any more. Start it with `dashboard.start()`."
            ) from error
        if status != http.client.OK:
            raise MedallionError(f"The page answers with {status}. Stop it and start it again.")
        state: dict[str, Any] = json.loads(body)
        del state["stamp"]
        return state


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
    with listen(table, port) as listener:
        page = Dashboard(table, listener)
    page.wait_for("/", f"The dashboard of {table}")
    _pages[key] = page
    return page


def serve(port: int, table: str = TABLE) -> None:
    """Serve the page of `table` in this process, say where it is, and return on Ctrl-C.

    Raises MedallionError for a port that is taken.
    """
    from medallion.servers.dashboard import process

    with listen(table, port) as listener:
        if not tables.exists(table):
            print(f"{table} is not there yet. {contract.how_to_make(table)} The page waits for it.")
        where = f"http://{server.HOST}:{listener.getsockname()[1]}/"
        print(f"{table} is shown at {where} until Ctrl-C.", flush=True)
        with suppress(KeyboardInterrupt):
            process.serve(listener, table)
        print("\nThe page has ended.")


def listen(table: str, port: int) -> socket.socket:
    """Return a socket that listens on loopback for the page of `table`; it closes at the end of a `with`.

    Raises MedallionError for what is no table or no port, and for a port that cannot be had.
    """
    if not re.fullmatch(r"\w+\.\w+", table):
        raise MedallionError(f"{table!r} is no table. Give schema and table, as in {TABLE}.")
    return server.listen(port)
