"""What a process has recorded, read again: OpenLineage's events and the executions of Spark's event log.

Only what an edge can be made of is kept. A dataset is named as everywhere in this course, `silver.orders`;
`landing.orders` is a folder of source files, and `scratch.totals` a table of the process's own scratch
schema. Any other place keeps its path. The logs of Delta tables, which Spark reads as tables of their own,
are left out.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from medallion import contract
from medallion.spark import recording
from press.lineage import columns, plans

_SQL = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecution"
_START, _END = f'{{"Event":"{_SQL}Start"', f'{{"Event":"{_SQL}End"'
_PROGRESS = '{"Event":"org.apache.spark.sql.streaming.StreamingQueryListener$QueryProgressEvent"'
_DELTA_LOG = "_delta_log"

# By target column: the columns that it is made of, each with its dataset
Columns = dict[str, set[tuple[str, str]]]


@dataclass
class Run:
    """One run of OpenLineage: an execution of Spark, or a note of ours. Times are in milliseconds."""

    job: str
    began: int | None = None
    ended: int | None = None
    inputs: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)
    anew: bool = False  # it made its outputs anew, and what was there before is gone
    dropped: bool = False  # it removed its outputs
    columns: Columns = field(default_factory=dict)
    leaves: plans.Leaves = field(default_factory=plans.Leaves)


@dataclass
class Execution:
    """One execution of Spark's event log: what asked for it, the one that it ran in, and what it scanned."""

    number: int
    root: int
    asked_by: str
    began: int
    reads: set[str]
    makes: str | None = None
    drops: str | None = None
    anew: bool = False  # it makes a table anew, and what was there before is gone
    values: bool = False  # it reads rows from Python, or from the statement itself
    ended: int | None = None  # without an error
    heard: bool = False  # OpenLineage has an event of what it wrote


@dataclass(frozen=True)
class Batch:
    """One micro-batch of a stream that writes to a table or to files; a source that is neither is ""."""

    ended: int
    stream: str
    inputs: set[str]
    output: str


@dataclass(frozen=True)
class Process:
    """All that one process has recorded."""

    runs: list[Run]
    executions: dict[int, Execution]
    batches: list[Batch]


def processes(folder: Path, home: Path) -> list[Process]:
    """Return what each process has recorded below `folder`, for the lakehouse `home`."""
    return [_process(place, home) for place in sorted(folder.glob("*")) if place.is_dir()]


def _process(place: Path, home: Path) -> Process:
    executions: dict[int, Execution] = {}
    batches: list[Batch] = []
    for log in sorted(place.glob("local-*")):
        _read_log(_lines(log), home, executions, batches)
    return Process(_runs(_lines(place / recording.EVENTS), home), executions, batches)


def _lines(path: Path) -> Iterator[str]:
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            # The last line of a process that was killed may be a half.
            yield from (line for line in file if line.endswith("\n"))


def _runs(lines: Iterable[str], home: Path) -> list[Run]:
    runs: dict[str, Run] = {}
    for line in lines:
        event = json.loads(line)
        run = runs.setdefault(event["run"]["runId"], Run(event["job"]["name"]))
        moment = _milliseconds(event["eventTime"])
        if event["eventType"] == "START":
            run.began = moment
        elif event["eventType"] == "COMPLETE":
            run.ended = moment
        # The two events of a run lose different datasets: together they have all.
        run.inputs |= _named(event.get("inputs", []), home)
        run.outputs |= _named(event.get("outputs", []), home)
        for output in event.get("outputs", []):
            facets = output.get("facets", {})
            change = facets.get("lifecycleStateChange", {}).get("lifecycleStateChange")
            run.anew |= change in ("CREATE", "OVERWRITE")
            run.dropped |= change == "DROP"
            _add_columns(run.columns, facets.get("columnLineage", {}).get("fields", {}), home)
        plan = event["run"].get("facets", {}).get("spark.logicalPlan", {}).get("plan")
        if plan:
            run.leaves |= plans.leaves(plan)
            sql = event["job"].get("facets", {}).get("sql", {}).get("query", "")
            if made := plans.view(plan, sql):
                run.outputs.add(made[0])
                run.leaves |= plans.Leaves(named=made[1])
            for column, origins in columns.of(plan).items():
                run.columns.setdefault(column, set()).update(origins)
    return list(runs.values())


def _named(datasets: Iterable[dict[str, Any]], home: Path) -> set[str]:
    return {name for one in datasets if (name := named(one["name"], home))}


def _add_columns(known: Columns, fields: dict[str, Any], home: Path) -> None:
    for target, described in fields.items():
        for source in described.get("inputFields", []):
            name = named(source["name"], home)
            kinds = {one.get("type") for one in source.get("transformations", [])}
            # An indirect one decides which rows there are (a filter, a join), and is no part of the value.
            if name and kinds != {"INDIRECT"}:
                known.setdefault(target, set()).add((name, source["field"]))


def _read_log(
    lines: Iterable[str], home: Path, executions: dict[int, Execution], batches: list[Batch]
) -> None:
    """Add to `executions` and `batches` what the lines of Spark's event log say of them."""
    for line in lines:
        if line.startswith(_START):
            event = json.loads(line)
            number = event["executionId"]
            physical = event["physicalPlanDescription"]
            scanned = (named(path, home) for path in plans.scanned(physical))
            makes = plans.made(physical)
            executions[number] = Execution(
                number,
                event.get("rootExecutionId", number),
                event["description"],
                event["time"],
                {name for name in scanned if name} | plans.relations(physical),
                named(makes, home) if makes and makes.startswith("file:") else makes,
                plans.dropped(physical),
                plans.makes_anew(physical),
                plans.has_values(physical),
            )
        elif line.startswith(_END):
            event = json.loads(line)
            if event["executionId"] in executions and not event.get("errorMessage"):
                executions[event["executionId"]].ended = event["time"]
        elif line.startswith(_PROGRESS):
            progress = json.loads(line)["progress"]
            if (told := plans.stream(progress)) and (output := named(told[1], home)):
                ended = _milliseconds(progress["timestamp"]) + progress["batchDuration"]
                inputs = {named(path, home) or "" if path else "" for path in told[0]}
                batches.append(Batch(ended, progress["runId"], inputs, output))


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def is_table(name: str) -> bool:
    """Return whether `name` is a table of the lakehouse."""
    return name.partition(".")[0] in contract.SCHEMAS


def named(path: str, home: Path) -> str | None:
    """Return the name of the dataset at `path`, a path or a `file:` address; None for the log of a table."""
    bare = unquote(urlsplit(path).path) if path.startswith("file:") else path
    if f"/{_DELTA_LOG}" in bare:
        return None
    place = Path(bare)
    for known in {home, home.resolve()}:
        if not place.is_relative_to(known):
            continue
        parts = place.relative_to(known).parts
        if len(parts) > 1 and parts[0] in (*contract.SCHEMAS, contract.LANDING):
            return f"{parts[0]}.{parts[1]}"
        if len(parts) > 2 and parts[0] == "scratch":
            return f"scratch.{parts[2]}"  # of the folder's own process: sessions share no scratch schema
    return str(place)
