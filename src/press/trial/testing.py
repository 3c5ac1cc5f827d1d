"""`medallion test`: every check there is, in steps, with one line at the end that sums up.

The notebooks are replayed in one lane and everything else runs in another, at the same time: a Spark session
of ours keeps one thread busy most of the time, so that on two cores the two hardly slow each other down.
Tests with the mark `late` follow the notebooks, so that neither lane waits long for the other.

Run as `python -m press.trial.testing COUNTS NN…` this is the step that replays the notebooks.
"""

import json
import os
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Column, Table

import kestrel
from medallion import contract, paths, temporary
from medallion.errors import MedallionError
from medallion.lakehouse.reset import reset
from medallion.spark import recording
from press.lineage import compare, observed
from press.source.chapter import Problem
from press.trial import lakehouse, lanes
from press.trial.replay import replay

_PYTHON = (sys.executable, "-u")  # without a buffer the log of a step that is killed has all that was said
_TOOLS = {
    "ruff": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    # What its script runs: there is no module to run. A cache would be a folder in the project.
    "imports": ["-c", "from importlinter import cli; cli.lint_imports_command()", "--no-cache", "--no-logo"],
    "codespell": ["-m", "codespell_lib"],
}
# A lesson is as narrow as the page; the format of the rest leaves it out
_LESSONS = ["-m", "ruff", "format", "--check", "--config", "line-length=88"]
_NOTEBOOKS = "notebooks, solutions, exercises"
MEMORY_FOR_TWO_LANES = 6_000_000_000
_NO_TEST_WAS_FOUND = 5  # exit status of pytest


def main(numbers: Sequence[str]) -> int:
    """Run every check, or with `numbers` those of these chapters, and return 1 if one failed.

    The lakehouse of the tests is built in a temporary folder; the learner's is not touched.
    With MEDALLION_TEST_LANES=1, or with little memory, one lane runs after the other.
    """
    wanted = sorted({contract.read(number).number for number in numbers})
    console = Console()
    with temporary.folder("test-") as folder:
        first, second = _lanes(wanted, folder)
        ended = lanes.run([first, second] if _at_once(console) else [first | second], folder, console)
        counts = {step: _counts(step, status, folder) for step, (status, _) in ended.items()}
    columns = (Column(name, justify="right") for name in ("passed", "failed", "seconds"))
    table = Table("step", *columns, title="What was tested")
    for step, (passed, failed) in counts.items():
        table.add_row(step, str(passed), str(failed), f"{ended[step][1]:.0f}")
    console.print(table)
    passed, failed = map(sum, zip(*counts.values(), strict=True))
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def _at_once(console: Console) -> bool:
    """Return whether both lanes may run at the same time, and say so if it is memory that forbids it."""
    if os.environ.get("MEDALLION_TEST_LANES") == "1":
        return False
    free, needed = psutil.virtual_memory().available, MEMORY_FOR_TWO_LANES
    if free < needed:
        text = f"{free / 1e9:.1f} GB of memory is free, two need {needed / 1e9:.0f} GB."
        console.print(f"One lane after the other: {text}")
    return free >= needed


def _lanes(wanted: Sequence[str], folder: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the steps of both lanes: all, or those of the chapters in `wanted`, which no tool is.

    The tests of a chapter are the table of all chapters, which reads the variable, and a folder of its own.
    """
    pytest = [*_PYTHON, "-m", "pytest", "-q"]
    if wanted:
        tests = Path("tests", "chapters")  # from the root, in which each step works
        own = [folder for folder in (paths.root() / tests).iterdir() if folder.name[:2] in wanted]
        pytest = ["env", f"MEDALLION_TEST_CHAPTERS={','.join(wanted)}", *pytest]
        pytest += map(str, [tests / "test_every_chapter.py", *(tests / path.name for path in sorted(own))])
    unit, late = (
        {name: [*pytest, "-m", marked, f"--junitxml={folder / name}.xml"]}
        for name, marked in (("unit tests", "not late"), ("late tests", "late"))
    )
    replaying = [*_PYTHON, "-m", "press.trial.testing", f"{folder / _NOTEBOOKS}.json", *wanted]
    tools = {} if wanted else {name: [*_PYTHON, *told] for name, told in _tools().items()}
    return tools | unit, {_NOTEBOOKS: replaying} | late


def _tools() -> dict[str, list[str]]:
    return _TOOLS | {"format of lessons": [*_LESSONS, *map(str, contract.lessons().values())]}


def _counts(step: str, status: int, folder: Path) -> tuple[int, int]:
    """Return how much passed and failed: a tool is one check, and any other step has left a report."""
    if step in _tools():
        return (0, 1) if status else (1, 0)
    report = folder / f"{step}.{'json' if step == _NOTEBOOKS else 'xml'}"
    if not report.exists():
        return 0, 1
    if step == _NOTEBOOKS:
        passed, failed = json.loads(report.read_text(encoding="utf-8"))
    else:
        suite = next(ElementTree.parse(report).iter("testsuite"))
        tests, skipped, *bad = (
            int(suite.get(name, 0)) for name in ("tests", "skipped", "failures", "errors")
        )
        passed, failed = tests - skipped - sum(bad), sum(bad)
    return passed, failed or int(status not in (0, _NO_TEST_WAS_FOUND))


def replay_notebooks(counts: Path, wanted: Sequence[str]) -> None:
    """Replay every chapter up to the last one wanted, and write how much passed and failed to `counts`.

    After each chapter its tables must be those of its last build, what earlier chapters made unchanged, and
    its lineage as its header declares; at the end, a reset of each, from the last one, must lead back to the
    state before it. Only the notebooks of the chapters in `wanted` count; none means all. The lakehouse is a
    temporary one, with the source files at scale 1, and becomes MEDALLION_HOME of this process.
    """
    wanted = wanted or list(contract.chapters())
    states: dict[str, lakehouse.State] = {}
    found: list[Problem] = []

    def before(number: str, _: Path) -> None:
        reset(number)
        states[number] = lakehouse.state()

    def after(number: str, _: Path) -> list[Problem]:
        touched = lakehouse.touched(number, states[number], lakehouse.state())
        return lakehouse.other_tables(number) + touched

    with temporary.folder("test-") as folder:
        home, recorded = folder / "lakehouse", folder / "lineage"
        os.environ["MEDALLION_HOME"] = str(home)
        recording.refuse_odd(home)
        kestrel.generate(home / "landing", scale=1)
        for number in (number for number in contract.chapters() if number <= wanted[-1]):
            found += replay([number], home, before, after, lineage=recorded)
            found += _lineage(number, recorded / number, home)
        found += lakehouse.way_back(states)
    counted = {f"{contract.read(number).name}.ipynb" for number in wanted}
    problems = [problem for problem in found if Path(problem.path).name in counted]
    for problem in problems:
        print(problem)
    failed = len({problem.path for problem in problems})
    counts.write_text(json.dumps([3 * len(wanted) - failed, failed]), encoding="utf-8")


def _lineage(number: str, recorded: Path, home: Path) -> list[Problem]:
    """Return where what chapter `number` was seen to do differs from its contract; remove the record."""
    seen = observed.of(number, recorded, home)
    shutil.rmtree(recorded, ignore_errors=True)  # some hundred megabytes
    where = f"notebooks/{contract.read(number).name}.ipynb"
    return [
        Problem(where, 1, f"{line} Fix its header.")
        for line in compare.differences(contract.read(number).makes, seen)
    ]


if __name__ == "__main__":
    try:
        replay_notebooks(Path(sys.argv[1]), sys.argv[2:])
    except MedallionError as error:
        sys.exit(f"medallion: {error}")
