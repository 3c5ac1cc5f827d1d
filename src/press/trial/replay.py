"""The products under test: executed notebooks compared, solutions worked, exercises left blank.

`replay` goes through the chapters once, in a lakehouse of its own. The strict comparison of
`notebooks/` builds that lakehouse; after each chapter a copy of it feeds the blank exercises and the
solutions of that chapter, so that whatever they write stays out of the next.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from medallion import paths, temporary
from medallion.course.execute import CELL_SECONDS, CellFailed, execute
from medallion.spark.recording import VARIABLE
from press.notebooks import outputs
from press.notebooks.producer import PRODUCING
from press.source.chapter import Problem

_MEND_CHECK = "Let it answer self.not_done()."
VERDICTS = "press.trial.verdicts"


def replay(
    wanted: Sequence[str],
    home: Path,
    before: Callable[[str, Path], object],
    after: Callable[[str, Path], list[Problem]] | None = None,
    root: Path | None = None,
    lineage: Path | None = None,
) -> list[Problem]:
    """Run the three notebooks of each chapter of `wanted`, in order, and return what is wrong.

    `home` is the lakehouse of the test; `before(number, home)` brings it to the state before a chapter, and
    `after(number, home)` says what is wrong with what the chapter left there.
    With `lineage` the first notebook of each records what it reads and writes, in a folder of that with its
    number. nbval prints its own report. Raises KeyboardInterrupt through; the copies are removed.
    """
    root = root or paths.root()
    found: list[Problem] = []
    for number in wanted:
        before(number, home)
        for path in sorted((root / "notebooks").glob(f"{number}_*.ipynb")):
            found += compare(path, home, lineage=lineage and lineage / number)
            if after is not None:
                found += after(number, home)
            with temporary.folder("copy-") as copies:
                copy = copies / "lakehouse"
                shutil.copytree(home, copy)
                found += work(root / "exercises" / path.name, root / "solutions" / path.name, copy)
    return found


def compare(path: Path, home: Path, lineage: Path | None = None) -> list[Problem]:
    """Run the notebook at `path` under nbval on the lakehouse `home` and return what is wrong.

    Every stored output must come again, and every check must be right. What it reads and writes is recorded
    in the folder `lineage`, if there is one.
    """
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "--no-header"]
    command += ["--nbval-cell-timeout", str(CELL_SECONDS), "-p", "no:cacheprovider", "-p", VERDICTS]
    command += ["-p", "no:dash"]  # Dash's plugin for pytest, which would load Dash
    # Not the project's configuration, which is about its unit tests. The file by its name alone: pytest takes
    # brackets in a path for the parameters of a test.
    command += ["-c", os.devnull, "--rootdir", str(path.parent), path.name]
    with temporary.folder() as ipython:
        env = {**os.environ, **_environment(home), "IPYTHONDIR": str(ipython), VARIABLE: str(lineage or "")}
        done = subprocess.run(command, cwd=path.parent, env=env, check=False)
    if done.returncode:
        text = "an output differs or a cell fails; nbval's report is above."
        return [Problem(_where(path), 1, text)]
    return []


def work(exercises: Path, solutions: Path, home: Path) -> list[Problem]:
    """Run exercises as they are handed out, then their solutions, on the lakehouse `home`.

    Returned is what is wrong. Every cell must run. Every check must answer of a blank that it is not done
    yet, and of a solution that it is right. Both share a kernel, whose start would take longer than they do;
    of the names that the exercises bind the solutions find none. Lines count from the cells of their
    notebook, from 1.
    """
    blank, solved = (nbformat.read(path, as_version=4) for path in (exercises, solutions))
    first, both = len(blank.cells), nbformat.from_dict(blank)
    both.cells = [*blank.cells, nbformat.v4.new_code_cell("%reset -f"), *solved.cells]
    try:
        cells = execute(both, cwd=exercises.parent, env=_environment(home)).cells
    except CellFailed as failed:
        short = failed.short.rstrip(".")
        if failed.index < first:
            text = f"with its blanks this cell fails: {short}. Fix the starter."
            return [Problem(_where(exercises), failed.index + 1, text)]
        return [Problem(_where(solutions), failed.index - first, f"this cell fails: {short}. Fix it.")]
    found = [
        Problem(_where(exercises), place, f"the check of a blank says: {_said(cell)}. {_MEND_CHECK}")
        for place, cell in enumerate(cells[:first], 1)
        if "check" in cell.metadata.get("tags", []) and not outputs.answers(cell, outputs.BLANK)
    ]
    return found + [
        Problem(_where(solutions), place, f"the check does not accept the solution: {_said(cell)}. Fix one.")
        for place, cell in enumerate(cells[first + 1 :], 1)
        if "check" in cell.metadata.get("tags", []) and not outputs.answers(cell, outputs.RIGHT)
    ]


def _where(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _said(cell: NotebookNode) -> str:
    return outputs.shown(cell).rstrip(".") or "nothing"


def _environment(home: Path) -> dict[str, str]:
    return {**PRODUCING, "MEDALLION_HOME": str(home)}
