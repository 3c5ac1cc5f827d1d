"""Recording what a run reads and writes, while it runs.

With MEDALLION_LINEAGE set to a folder, each process records in a folder of its own below it:

| file | what it holds |
|---|---|
| `openlineage.ndjson` | a line for each event of OpenLineage: what Spark has read and written |
| `local-…` | Spark's own event log: which execution ran inside which, and each physical plan |

Spark does not see what Python opens itself. So the process also notes the first time that it opens a file
of a source folder, and the dashboard notes the table that it shows, as events of the same form.

A process that is killed leaves half a record, down to half a line. Who reads it takes what is complete.
"""

import json
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from medallion import paths
from medallion.errors import MedallionError
from medallion.machine import jars

VARIABLE = "MEDALLION_LINEAGE"
EVENTS = "openlineage.ndjson"
NOTEBOOK = "medallion.notebook"
DASHBOARD = "medallion.dashboard"
# What no URI may hold as it is
_ODD = re.compile(r"""[\s"<>\\^`{|}%#?\[\]]""")
_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"


def place() -> Path | None:
    """Return the folder in which this process records, or None when nothing is recorded."""
    folder = os.environ.get(VARIABLE)
    return Path(folder).absolute() / str(os.getpid()) if folder else None


@contextmanager
def into(folder: Path) -> Iterator[None]:
    """Have every process that is started while the block runs record below `folder`."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def refuse_odd(home: Path) -> None:
    """Raise MedallionError when the path of the lakehouse has a character that OpenLineage cannot bear.

    It then leaves out of its events what Spark has read there, and says so only in the log. Behind a link
    deltalake, which writes gold.lineage, still finds the folder's own path and fails.
    """
    place = home.resolve()
    if odd := _ODD.search(str(place)):
        raise MedallionError(
            f"Lineage cannot be recorded in {place}: OpenLineage cannot name files below a folder with "
            f"{odd[0]!r} in its path. Set MEDALLION_HOME to another folder."
        )


def begin() -> dict[str, str]:
    """Begin to record in this process, and return what Spark's session needs for it: {} without a record.

    Raises MedallionError when the folder cannot be written, and for a lakehouse with an odd path.
    """
    folder = place()
    if folder is None:
        return {}
    refuse_odd(paths.home())
    paths.writable(folder, VARIABLE)
    _watch()
    return {
        "spark.extraListeners": "io.openlineage.spark.agent.OpenLineageSparkListener",
        "spark.openlineage.transport.type": "file",
        "spark.openlineage.transport.location": str(folder / EVENTS),
        # The plan of a MERGE names the tables of its source, which the event itself leaves out.
        "spark.openlineage.facets.spark.logicalPlan.disabled": "false",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": folder.as_uri(),
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
    }


def more_jars() -> list[Path]:
    """Return the jar that a JVM needs at the end of its class path so as to record: [] without a record.

    It must be the very end, after Spark's own jars: the class archive fits every class path that begins as
    the one that made it.
    Raises MedallionError when the jar is missing or is not the locked one.
    """
    return jars.verified(jars.LINEAGE) if place() else []


def note(job: str, read: Path) -> None:
    """Add an event that says that `job` has read `read`; nothing when this process records nothing."""
    folder = place()
    if folder is None:
        return
    event = {
        "eventType": "COMPLETE",
        "eventTime": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "producer": "urn:medallion",
        "schemaURL": _SCHEMA,
        "run": {"runId": str(uuid.uuid4())},
        "job": {"namespace": "default", "name": job},
        "inputs": [{"namespace": "file", "name": str(read)}],
        "outputs": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / EVENTS).open("a", encoding="utf-8") as events:
        events.write(json.dumps(event) + "\n")  # one write, so that no line of Spark's comes in between


@cache
def _watch() -> None:
    """Note what this process opens among the source files. A hook stays until the process ends."""
    sys.addaudithook(file_watch(paths.landing(), lambda source: note(NOTEBOOK, source)))


def file_watch(landing: Path, tell: Callable[[Path], object]) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that calls `tell` with each folder of `landing` of which a file is read, once."""
    before, told = f"{landing}{os.sep}", set()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open":
            return
        path, _, flags = arguments
        if not isinstance(path, str) or not path.startswith(before) or flags & os.O_ACCMODE != os.O_RDONLY:
            return
        source, _, file = path.removeprefix(before).partition(os.sep)
        if file and source not in told:
            told.add(source)
            tell(landing / source)

    return hook
