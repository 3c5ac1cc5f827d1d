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
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

import kestrel
from medallion import contract, paths
from medallion.errors import MedallionError
from medallion.lakehouse.reset import reset
from medallion.spark import recording
from press.lineage import compare, observed
from press.source.chapter import Problem
from press.trial import lakehouse
from press.trial.lanes import Outcome, Step, run
from press.trial.replay import replay

_TOOLS = {
    "ruff": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    "codespell": ["-m", "codespell_lib"],
}
GB = 1_000_000_000
MEMORY_FOR_TWO_LANES = 6 * GB
_NO_TEST_WAS_FOUND = 5  # exit status of pytest


def main(numbers: Sequence[str]) -> int:
    """Run every check, or with `numbers` those of these chapters, and return 1 if one failed.

    The lakehouse of the tests is built in a temporary folder; the learner's is not touched.
    With MEDALLION_TEST_LANES=1, or with little memory, one lane runs after the other.
    """
    wanted = sorted({contract.read(number).number for number in numbers})
    console = Console()
    with tempfile.TemporaryDirectory(prefix="medallion-test-") as folder:
        late = _pytest("late tests", "late", wanted, Path(folder))
        lanes = [_checks(wanted, Path(folder)), [_notebooks(wanted, Path(folder)), *late]]
        if not _at_once(console):
            lanes = [[step for lane in lanes for step in lane]]
        outcomes = run(lanes, Path(folder), console)
    _print(outcomes, console)
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"{sum(outcome.passed for outcome in outcomes)} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def _at_once(console: Console) -> bool:
    """Return whether both lanes may run at the same time, and say so if it is memory that forbids it."""
    if os.environ.get("MEDALLION_TEST_LANES") == "1":
        return False
    free = psutil.virtual_memory().available
    if free < MEMORY_FOR_TWO_LANES:
        needed = f"{MEMORY_FOR_TWO_LANES / GB:.0f} GB"
        console.print(f"One lane after the other: {free / GB:.1f} GB of memory is free, two need {needed}.")
        return False
    return True


def _checks(wanted: Sequence[str], folder: Path) -> list[Step]:
    """Return the steps that need no lakehouse of the book: the tools, and the unit tests."""
    tools = [] if wanted else [Step(name, _python(*told), _tool) for name, told in _TOOLS.items()]
    return [*tools, *_pytest("unit tests", "not late", wanted, folder)]


def _pytest(name: str, marked: str, wanted: Sequence[str], folder: Path) -> list[Step]:
    """Return the step that runs the tests so `marked`, all or those of the chapters in `wanted`, if any."""
    chosen = [
        str(path) for number in wanted for path in (paths.root() / "tests").glob(f"test_ch{number}_*.py")
    ]
    if wanted and not chosen:
        return []
    report = folder / f"{name.replace(' ', '-')}.xml"
    command = _python("-m", "pytest", "-q", "-m", marked, f"--junitxml={report}", *chosen)
    return [Step(name, command, lambda status: _counted(report, status))]


def _notebooks(wanted: Sequence[str], folder: Path) -> Step:
    counts = folder / "counts.json"
    command = _python("-m", "press.trial.testing", str(counts), *wanted)
    return Step("notebooks, solutions, exercises", command, lambda status: _replayed(counts, status))


def _python(*arguments: str) -> list[str]:
    # Without a buffer the log has all that was said also when the step is killed.
    return [sys.executable, "-u", *arguments]


def _tool(status: int) -> tuple[int, int]:
    return (0, 1) if status else (1, 0)


def _counted(report: Path, status: int) -> tuple[int, int]:
    if not report.exists():
        return 0, 1
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    return count["tests"] - failed - count["skipped"], failed or int(status not in (0, _NO_TEST_WAS_FOUND))


def _replayed(counts: Path, status: int) -> tuple[int, int]:
    if status or not counts.exists():
        return 0, 1
    passed, failed = json.loads(counts.read_text(encoding="utf-8"))
    return passed, failed


def replay_notebooks(counts: Path, wanted: Sequence[str]) -> None:
    """Replay every chapter up to the last one wanted, and write how much passed and failed to `counts`.

    After each chapter its tables must be those of its last build, what earlier chapters made unchanged, and
    its lineage as its header declares; at the end, a reset of each, from the last one, must lead back to the
    state before it. Only the notebooks of the chapters in `wanted` count; none means all. The lakehouse is a
    temporary one, with the source files at scale 1, and becomes MEDALLION_HOME of this process.
    """
    numbers = [number for number in contract.chapters() if not wanted or number <= wanted[-1]]
    counted = [number for number in numbers if not wanted or number in wanted]
    with tempfile.TemporaryDirectory(prefix="medallion-test-") as folder:
        home = Path(folder) / "lakehouse"
        os.environ["MEDALLION_HOME"] = str(home)
        recording.refuse_odd(home)
        kestrel.generate(home / "landing", scale=1)
        states: dict[str, lakehouse.State] = {}

        def before(number: str, _: Path) -> None:
            reset(number)
            states[number] = lakehouse.state()

        def after(number: str, _: Path) -> list[Problem]:
            touched = lakehouse.touched(number, states[number], lakehouse.state())
            return lakehouse.other_tables(number) + touched

        problems = []
        for number in numbers:
            recorded = Path(folder) / "lineage"
            found = replay([number], home, before, after, lineage=recorded)
            found += _lineage(number, recorded / number, home)
            problems += found if number in counted else []
        own = {f"notebooks/{contract.read(number).name}.ipynb" for number in counted}
        problems += [problem for problem in lakehouse.way_back(states) if problem.path in own]
    for problem in problems:
        print(problem)
    failed = len({problem.path for problem in problems})
    counts.write_text(json.dumps([3 * len(counted) - failed, failed]), encoding="utf-8")


def _lineage(number: str, recorded: Path, home: Path) -> list[Problem]:
    """Return where what chapter `number` was seen to do differs from its contract; remove the record."""
    seen = observed.of(number, recorded, home)
    shutil.rmtree(recorded, ignore_errors=True)  # some hundred megabytes
    where = f"notebooks/{contract.read(number).name}.ipynb"
    return [
        Problem(where, 1, f"{line} Mend its header.")
        for line in compare.differences(contract.read(number).makes, seen)
    ]


def _print(outcomes: Sequence[Outcome], console: Console) -> None:
    table = Table("step", title="What was tested")
    for column in ("passed", "failed", "seconds"):
        table.add_column(column, justify="right")
    for one in outcomes:
        table.add_row(one.name, str(one.passed), str(one.failed), f"{one.seconds:.0f}")
    console.print(table)


if __name__ == "__main__":
    try:
        replay_notebooks(Path(sys.argv[1]), sys.argv[2:])
    except MedallionError as error:
        sys.exit(f"medallion: {error}")
