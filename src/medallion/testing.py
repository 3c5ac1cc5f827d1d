"""`medallion test`: every check there is, in steps, with one line at the end that sums up."""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from medallion import chapters, paths, sources, tables
from medallion.build.replay import replay

_TOOLS = {
    "ruff": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    "codespell": ["-m", "codespell_lib"],
}


@dataclass(frozen=True)
class Outcome:
    """What one step counted."""

    name: str
    passed: int
    failed: int
    seconds: float


def main(numbers: Sequence[str]) -> int:
    """Run every check, or with `numbers` those of these chapters, and return 1 if one failed.

    The lakehouse of the tests is built in a temporary folder; the learner's is not touched.
    """
    wanted = sorted({chapters.find(number).name[:2] for number in numbers})
    console = Console()
    outcomes = []
    for name, step in _steps(wanted):
        console.rule(name)
        began = time.perf_counter()
        passed, failed = step()
        outcomes.append(Outcome(name, passed, failed, time.perf_counter() - began))
    _print(outcomes, console)
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"{sum(outcome.passed for outcome in outcomes)} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def _steps(wanted: Sequence[str]) -> Iterator[tuple[str, Callable[[], tuple[int, int]]]]:
    if not wanted:
        for name, arguments in _TOOLS.items():
            yield name, lambda arguments=arguments: _tool(arguments)  # type: ignore[misc]
    yield "unit tests", lambda: _pytest(wanted)
    yield "notebooks, solutions, exercises", lambda: _notebooks(wanted)


def _tool(arguments: Sequence[str]) -> tuple[int, int]:
    done = subprocess.run([sys.executable, *arguments], cwd=paths.root(), check=False)
    return (0, 1) if done.returncode else (1, 0)


def _pytest(wanted: Sequence[str]) -> tuple[int, int]:
    chosen = [
        str(path) for number in wanted for path in (paths.root() / "tests").glob(f"test_ch{number}_*.py")
    ]
    if wanted and not chosen:
        return 0, 0
    with tempfile.TemporaryDirectory(prefix="medallion-test-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *chosen]
        done = subprocess.run(command, cwd=paths.root(), check=False)
        if not report.exists():
            return 0, 1
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    return count["tests"] - failed - count["skipped"], failed or int(done.returncode not in (0, 5))


def _notebooks(wanted: Sequence[str]) -> tuple[int, int]:
    """Replay every chapter up to the last one wanted, and count the notebooks of those wanted."""
    numbers = [number for number in chapters.all_chapters() if not wanted or number <= wanted[-1]]
    counted = [number for number in numbers if not wanted or number in wanted]
    with _test_lakehouse() as home:
        problems = []
        for number in numbers:
            found = replay([number], home, lambda number, _: tables.reset(number))
            problems += found if number in counted else []
    for problem in problems:
        print(problem, file=sys.stderr)
    failed = {problem.path for problem in problems}
    return 3 * len(counted) - len(failed), len(failed)


@contextmanager
def _test_lakehouse() -> Iterator[Path]:
    """Make a lakehouse of the tests' own, with the source files at scale 1, and let it be ours meanwhile."""
    before = os.environ.get("MEDALLION_HOME")
    with tempfile.TemporaryDirectory(prefix="medallion-test-") as folder:
        home = Path(folder) / "lakehouse"
        os.environ["MEDALLION_HOME"] = str(home)
        try:
            sources.generate(home / "landing", scale=1)
            yield home
        finally:
            if before is None:
                del os.environ["MEDALLION_HOME"]
            else:
                os.environ["MEDALLION_HOME"] = before


def _print(outcomes: Sequence[Outcome], console: Console) -> None:
    table = Table("step", title="What was tested")
    for column in ("passed", "failed", "seconds"):
        table.add_column(column, justify="right")
    for one in outcomes:
        table.add_row(one.name, str(one.passed), str(one.failed), f"{one.seconds:.0f}")
    console.print(table)
