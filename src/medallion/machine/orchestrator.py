"""Dagster in an environment of its own: its packages are those of `orchestrator.lock`, not of ours.

The environment is in `<cache>/orchestrator`, in a folder that is named after the lock and the Python, so that
clones of this user share it. Its stamp is written last: without it the environment is unfinished.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from rich.console import Console

from medallion import files, paths
from medallion.errors import MedallionError
from medallion.machine import jars

CHAPTER = "12"  # the one that shows it: no other needs it
FIX = "Run `./medallion setup --orchestrator`."
_STAMP = ".stamp"
# Of what others have set for pip only this stays: where packages come from, and how they are fetched
_KEPT = ("INDEX", "FIND_LINKS", "KEYRING", "HOST", "CERT", "PROXY", "TIMEOUT", "RETRIES", "CACHE", "CONFIG")


def lock_file() -> Path:
    """Return the path of `orchestrator.lock`."""
    return paths.root() / "orchestrator.lock"


def folder() -> Path:
    """Return the folder of the environment for this lock and this Python. It need not exist yet."""
    key = lock_file().read_bytes() + sys.version.encode() + os.fsencode(sys.base_prefix)
    return paths.cache() / "orchestrator" / hashlib.sha256(key).hexdigest()[:16]


def ready() -> bool:
    """Return whether the environment is finished, and its Python still there."""
    return (folder() / _STAMP).is_file() and (folder() / "bin" / "python").exists()


def program(name: str) -> str:
    """Return the path of one of its programs, such as `dagster`.

    Raises MedallionError when the orchestrator is not set up.
    """
    if not ready():
        raise MedallionError(f"The orchestrator is not set up. {FIX}")
    return str(folder() / "bin" / name)


def install(progress: bool = True) -> None:
    """Make the environment, unless it is there; safe to repeat, to interrupt, and to start twice.

    Raises MedallionError when it cannot be made or a package cannot be had; then there is no environment.
    """
    place = paths.writable(paths.cache() / "orchestrator", "MEDALLION_CACHE")
    console = Console(stderr=True, quiet=not progress)
    with jars.alone(place.parent / "orchestrator.filelock", console):
        if ready():
            return
        for unfinished in filter(Path.is_dir, place.iterdir()):  # of a set-up that was killed
            if not (unfinished / _STAMP).is_file() or unfinished == folder():
                shutil.rmtree(unfinished)
        with console.status("Fetching the orchestrator, some 70 packages"):
            _make()
            _fetch()
        files.write_text(folder() / _STAMP, "finished\n")
        console.print(f"the orchestrator in {folder()}", markup=False, highlight=False, soft_wrap=True)


def _make() -> None:
    try:
        venv.create(folder(), symlinks=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "output", None) or str(error).encode()).decode(errors="replace").strip()[-600:]
        raise MedallionError(
            f"{folder()} could not be made. Python said: {said} "
            "Check that 300 MB are free on the disk, and that this Python has ensurepip. Then run it again."
        ) from None


def _fetch() -> None:
    others = {name for name in os.environ if name.startswith(("PIP_", "PYTHON"))}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in others or (name.startswith("PIP_") and any(word in name for word in _KEPT))
    }
    pip = [str(folder() / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wanted = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirement", str(lock_file())]
    done = subprocess.run(
        [*pip, "install", *wanted], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        said = said[max(said.find("ERROR:"), 0) :][:1200]  # its warnings, of each new try, come before
        raise MedallionError(
            f"The packages of orchestrator.lock could not be installed. pip said: {said} "
            "Check the network (behind a company mirror: PIP_INDEX_URL), then run it again."
        )
