"""The exercises, copied to where the learner's answers are safe, and opened in JupyterLab."""

import os
import shutil
import sys
from pathlib import Path

from medallion import paths

# A notebook server that asks another host for news is not offline.
_SETTINGS = Path(__file__).parent / "jupyter"


def open_exercises() -> None:
    """Copy the exercises that are not in `work/` yet, and become JupyterLab there."""
    os.chdir(copy_exercises())
    settings = [str(_SETTINGS), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, settings))
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1"])


def copy_exercises() -> Path:
    """Copy to `work/` the exercise notebooks that are not there yet, and return that folder.

    A notebook that is there is the learner's: it is never written again.
    """
    work = paths.root() / "work"
    work.mkdir(exist_ok=True)
    for exercise in sorted((paths.root() / "exercises").glob("*.ipynb")):
        if not (work / exercise.name).exists():
            shutil.copyfile(exercise, work / exercise.name)
    return work
