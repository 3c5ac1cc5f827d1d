"""The products under test: executed notebooks compared, solutions worked, exercises left blank.

`replay` goes through the chapters once, in a lakehouse of its own. The strict comparison of
`notebooks/` builds that lakehouse; after each chapter a copy of it feeds the solutions and the blank
exercises of that chapter, so that whatever they write stays out of the next.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat

from medallion import paths
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
            with tempfile.TemporaryDirectory(prefix="medallion-copy-") as copies:
                copy = Path(copies) / "lakehouse"
                shutil.copytree(home, copy)
                found += compare(root / "solutions" / path.name, copy, lax=True)
                found += run_blank(root / "exercises" / path.name, copy)
    return found


def compare(path: Path, home: Path, *, lax: bool = False, lineage: Path | None = None) -> list[Problem]:
    """Run the notebook at `path` under nbval on the lakehouse `home` and return what is wrong.

    Strict, every stored output must come again. Lax, only the verdicts count: each check must be right.
    What it reads and writes is recorded in the folder `lineage`, if there is one.
    """
    kind = "--nbval-lax" if lax else "--nbval"
    command = [sys.executable, "-m", "pytest", kind, "--nbval-current-env", "-q", "--no-header"]
    command += ["--nbval-cell-timeout", str(CELL_SECONDS), "-p", "no:cacheprovider", "-p", VERDICTS]
    command += ["-p", "no:dash"]  # Dash's plugin for pytest, which would load Dash
    # Not the project's configuration, which is about its unit tests.
    command += ["-c", os.devnull, "--rootdir", str(path.parent), str(path)]
    with tempfile.TemporaryDirectory(prefix="medallion-") as ipython:
        env = {**os.environ, **_environment(home), "IPYTHONDIR": ipython, VARIABLE: str(lineage or "")}
        done = subprocess.run(command, cwd=path.parent, env=env, check=False)
    if done.returncode:
        what = "a check or a cell fails" if lax else "an output differs or a cell fails"
        return [Problem(f"{path.parent.name}/{path.name}", 1, f"{what}; nbval's report is above.")]
    return []


def run_blank(path: Path, home: Path) -> list[Problem]:
    """Run the exercises at `path` as they are handed out, on the lakehouse `home`; return what is wrong.

    Every cell must run, and every check must answer that its exercise is not done yet. Lines count
    from the notebook's cells, from 1.
    """
    notebook = nbformat.read(path, as_version=4)
    where = f"{path.parent.name}/{path.name}"
    try:
        executed = execute(notebook, cwd=path.parent, env=_environment(home))
    except CellFailed as failed:
        text = f"with its blanks this cell fails: {failed.short.rstrip('.')}. Mend the starter."
        return [Problem(where, failed.index + 1, text)]
    return [
        Problem(
            where,
            place,
            f"the check of a blank says: {outputs.shown(cell).rstrip('.') or 'nothing'}. {_MEND_CHECK}",
        )
        for place, cell in enumerate(executed.cells, 1)
        if "check" in cell.metadata.get("tags", []) and not outputs.answers(cell, outputs.BLANK)
    ]


def _environment(home: Path) -> dict[str, str]:
    return {**PRODUCING, "MEDALLION_HOME": str(home)}
