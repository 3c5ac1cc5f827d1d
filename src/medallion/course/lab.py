"""The exercises, copied to where the learner's answers are safe, and opened in JupyterLab."""

import hashlib
import json
import os
import sys
from itertools import count
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir

from medallion import paths
from medallion.errors import MedallionError
from medallion.files import write_text

# A notebook server that asks another host for news is not offline.
_SETTINGS = Path(__file__).parent / "jupyter"
_PLACES = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
_MANAGERS = ("ServerApp", "FileContentsManager")
# In a copy's metadata, beside what the producer writes there: which version of the exercises it was
_VERSION = "copied_version"


def open_exercises() -> None:
    """Copy the exercises that are not in `work/` yet, and become JupyterLab there.

    Raises MedallionError when the folder cannot be written.
    """
    work = copy_exercises()
    print(f"medallion: your notebooks are in {work}; Ctrl-C here ends JupyterLab", flush=True)
    os.chdir(work)
    settings = [str(_SETTINGS), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, settings))
    os.environ.update(places_of_jupyter())
    os.execv(sys.executable, command(work))


def command(work: Path) -> list[str]:
    """Return what starts JupyterLab: on loopback, and in `work` whatever the user's own settings say."""
    places = [
        f"--{manager}.{place}={work}" for manager in _MANAGERS for place in ("root_dir", "preferred_dir")
    ]
    # JupyterLab refuses root, which is the one user of many containers.
    root = [] if os.geteuid() else ["--allow-root"]
    # -P: a learner's random.py beside the notebooks is no module of JupyterLab.
    return [sys.executable, "-P", "-m", "jupyterlab", "--ip=127.0.0.1", *places, *root]


def places_of_jupyter() -> dict[str, str]:
    """Return where Jupyter and IPython keep files of their own: {} where the user's home can be written.

    Where it cannot, as in some containers, that is in the lakehouse.
    """
    own = Path(jupyter_runtime_dir())
    there = next(place for place in (own, *own.parents) if place.exists())
    if os.access(there, os.W_OK):
        return {}
    folder = paths.home() / "cache" / "jupyter"
    return {name: str(folder / name.lower()) for name in _PLACES}


def copy_exercises() -> Path:
    """Copy to `work/` the exercise notebooks that are not there yet, and return that folder.

    A notebook that is there is the learner's: it is never written again. Where the course has a newer one by
    now, that is said. What is no notebook, as a full disk may have left it, is set aside and copied anew.
    Raises MedallionError when the folder cannot be written.
    """
    work = paths.writable(paths.work(), "MEDALLION_HOME")
    for exercise in sorted((paths.root() / "exercises").glob("*.ipynb")):
        _bring(exercise, work / exercise.name)
    return work


def _bring(exercise: Path, mine: Path) -> None:
    """Copy an exercise if it is not there, and say what a learner should know of the copy that is."""
    new = json.loads(exercise.read_text(encoding="utf-8"))
    version = hashlib.sha256(json.dumps(new["cells"], sort_keys=True).encode()).hexdigest()[:16]
    if mine.is_symlink() and not mine.exists():
        raise MedallionError(f"{mine} is a link to {mine.readlink()}, which is not there. Mount its disk.")
    if mine.exists():
        held = _notebook(mine)
        if held is not None:
            if _marks(held).get(_VERSION, version) != version:
                _say(f"the course has a newer {mine.name}; to have it, move yours away and call this again")
            return
        asides = (mine.with_name(f"{mine.name}.broken-{number}") for number in count(1))
        aside = next(path for path in asides if not path.exists())
        mine.rename(aside)
        _say(f"{mine.name} could not be read as a notebook: it is {aside.name} now, and copied anew")
    _marks(new)[_VERSION] = version
    write_text(mine, json.dumps(new, indent=1, ensure_ascii=False) + "\n")


def _notebook(path: Path) -> dict[str, Any] | None:
    """Return a stored notebook, None where the file holds something else."""
    try:
        held = json.loads(path.read_bytes())
    except ValueError:
        return None
    return held if isinstance(held, dict) and isinstance(held.get("cells"), list) else None


def _marks(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return what this course has noted in a notebook's metadata."""
    marks = notebook.setdefault("metadata", {}).setdefault("medallion", {})
    return marks if isinstance(marks, dict) else {}


def _say(text: str) -> None:
    print(f"medallion: {text}.", file=sys.stderr)
