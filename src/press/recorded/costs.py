"""What the cells of a chapter cost when it was built last: `book/reference/costs.yml`.

| column | what it counts |
|---|---|
| `jobs` | Spark's jobs |
| `delta` | those of them by which Delta looks into its own log |
| `scans` | leaves of physical plans that read files |
| `megabytes` | what these read |

A job counts for the cell during which it began, so those of a stream count where they happen.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from medallion import contract
from medallion.files import text_of, write_text
from press.source.chapter import Chapter, Problem

FILE = "book/reference/costs.yml"
MOST_JOBS, MOST_SECONDS = 40, 8.0
_HEADER = "# Produced by `medallion build`: what the cells of each chapter cost together; do not edit.\n"
_SQL = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart"
_STARTS = tuple(
    f'{{"Event":"{name}"' for name in ("SparkListenerJobStart", "SparkListenerStageCompleted", _SQL)
)
_NO_FILES = ("Scan ExistingRDD", "Scan OneRowRelation")
_COUNTED = ("jobs", "delta", "scans", "megabytes")


@dataclass
class Cost:
    """What one code cell cost. `line` is its first in the lesson."""

    line: int
    seconds: float
    jobs: int = 0
    delta: int = 0
    scans: int = 0
    megabytes: float = 0


def of(record: Path, began: float, ends: Sequence[tuple[int, float]]) -> list[Cost]:
    """Return what each code cell cost, from Spark's event logs in the folders of `record`.

    `ends` has for each the line in the lesson and the moment of its end, `began` is that of the first one's
    beginning; moments are in seconds since 1970.
    """
    moments = [moment for _, moment in ends]
    costs = [
        Cost(line, moment - before) for (line, moment), before in zip(ends, [began, *moments], strict=False)
    ]
    for log in record.glob("*/local-*"):
        with log.open(encoding="utf-8", errors="replace") as lines:
            for event in (json.loads(one) for one in lines if one.startswith(_STARTS) and one.endswith("\n")):
                moment = _moment(event) / 1000
                _add(costs[min(bisect_left(moments, moment), len(costs) - 1)], event)
    return costs


def _moment(event: dict[str, Any]) -> int:
    info = event.get("Stage Info", {})
    return event.get("Submission Time") or info.get("Completion Time") or event.get("time") or 0


def _add(cost: Cost, event: dict[str, Any]) -> None:
    if "Job ID" in event:
        described = event.get("Properties", {}).get("spark.job.description") or ""
        cost.jobs += 1
        cost.delta += described.startswith(("Delta", "$anonfun$recordDelta"))
    elif "Stage Info" in event:
        for counted in event["Stage Info"].get("Accumulables", ()):
            if counted.get("Name") == "internal.metrics.input.bytesRead":
                cost.megabytes += int(counted["Value"]) / 1e6
    else:
        cost.scans += _scans(event["sparkPlanInfo"])


def _scans(plan: dict[str, Any]) -> int:
    name = plan["nodeName"]
    return (name.startswith("Scan ") and not name.startswith(_NO_FILES)) + sum(map(_scans, plan["children"]))


def dear(chapter: Chapter, costs: Iterable[Cost]) -> list[Problem]:
    """Return the cells that cost more than a cell may, unless they say why: `# %% costly="…"`."""
    excused = {cell.line for cell in chapter.cells if cell.costly}
    return [
        chapter.problem(
            cost.line,
            f"this cell takes {cost.seconds:.0f} seconds and {cost.jobs} jobs; a cell may take "
            f'{MOST_SECONDS:.0f} and {MOST_JOBS}. Cut it, or say why: # %% costly="…".',
        )
        for cost in costs
        if (cost.jobs > MOST_JOBS or cost.seconds > MOST_SECONDS) and cost.line not in excused
    ]


def table(chapter: Chapter, costs: Sequence[Cost]) -> Table:
    """Return a table for the terminal: each cell that has a job or takes a second, and the sum of all."""
    shown = Table("line", "seconds", *_COUNTED, title=chapter.name)
    shown.add_column("cell", no_wrap=True)
    first = {cell.line: cell.source.partition("\n")[0] for cell in chapter.cells}
    for cost in costs:
        if cost.jobs or cost.seconds >= 1:
            shown.add_row(str(cost.line), *_told(cost), first.get(cost.line, "")[:60])
    shown.add_section()
    shown.add_row("", *_told(_sum(costs)), "")
    return shown


def _told(cost: Cost) -> tuple[str, ...]:
    return f"{cost.seconds:.1f}", *(f"{getattr(cost, name):.0f}" for name in _COUNTED)


def _sum(costs: Sequence[Cost]) -> Cost:
    return Cost(0, *(sum(getattr(cost, name) for cost in costs) for name in ("seconds", *_COUNTED)))


def keep(number: str, costs: Sequence[Cost], target: Path) -> None:
    """Write what chapter `number` cost into the file below the repository `target`."""
    total = _sum(costs)
    spent = {"cells": len(costs)} | {name: round(getattr(total, name)) for name in _COUNTED}
    write_text(target / FILE, text(load(target) | {number: spent}))


def load(target: Path) -> dict[str, dict[str, int]]:
    """Return what the repository `target` has, by chapter: {} when there is nothing."""
    return yaml.safe_load(text_of(target / FILE) or "") or {}


def text(held: Mapping[str, Mapping[str, int]]) -> str:
    """Return the text of the repository's file for what it is to hold: the chapters that there are."""
    known = sorted(set(held) & set(contract.chapters()))
    return _HEADER + "".join(f"{json.dumps(one)}: {json.dumps(held[one])}\n" for one in known)
