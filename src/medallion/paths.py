"""Where things are: the repository, the lakehouse of this user, and the cache that clones share.

| function | default | moved by |
|---|---|---|
| `root` | the clone that this package is installed from | – |
| `home` | `<root>/lakehouse` | `MEDALLION_HOME` |
| `landing` | `<home>/landing` | `MEDALLION_HOME` |
| `scratch` | `<home>/scratch/<process>` | `MEDALLION_HOME` |
| `dataset` | `<root>/datasets/<name>` | – |
| `work` | `<root>/work` | `MEDALLION_HOME`, where the clone cannot be written |
| `cache` | the user's cache folder | `MEDALLION_CACHE` |
"""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from medallion.errors import MedallionError

_LOGS_KEPT = 20
_PLAIN = re.compile(r"[A-Za-z0-9/._-]*")


def root() -> Path:
    """Return the clone's folder, the one that holds `pyproject.toml` and `book/`."""
    return Path(__file__).resolve().parents[2]


def home() -> Path:
    """Return the absolute path of the lakehouse folder. It need not exist yet."""
    return Path(os.environ.get("MEDALLION_HOME") or root() / "lakehouse").expanduser().absolute()


def landing() -> Path:
    """Return the folder that the source files arrive in."""
    return home() / "landing"


def dataset(name: str) -> Path:
    """Return a file that the repository keeps under `datasets/` ("cdnow/CDNOW_sample.txt").

    Raises MedallionError when it is not there.
    """
    path = root() / "datasets" / name
    if not path.is_file():
        raise MedallionError(f"{path} is missing. Restore it with `git restore datasets`.")
    return path


def plain_path(folder: Path) -> str:
    """Return a path to `folder` without a space, an accent or another character that an address encodes.

    Where its own path has one, that is a link in the folder for temporary files, which goes at the end of
    this process. Spark 4.2 encodes the path of a checkpoint twice before it reads its state, and then
    finds nothing.
    """
    if _PLAIN.fullmatch(str(folder)):
        return str(folder)
    place = Path(tempfile.mkdtemp(prefix="medallion-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    link = place / "link"
    link.symlink_to(folder.absolute(), target_is_directory=True)
    return str(link)


def scratch() -> Path:
    """Return the folder of this session's scratch schema: empty at the start, removed at the end."""
    return home() / "scratch" / str(os.getpid())


def work() -> Path:
    """Return the folder of the learner's notebooks. It need not exist yet.

    It is `work/` in the clone; where that cannot be written, as in one clone for a whole class, it is in
    the lakehouse, if that is elsewhere.
    """
    here = root() / "work"
    writable_here = os.access(here if here.exists() else root(), os.W_OK)
    return here if writable_here or home().is_relative_to(root()) else home() / "work"


def cache() -> Path:
    """Return the folder for jars and the class archive, shared by all clones of this user."""
    moved = os.environ.get("MEDALLION_CACHE")
    return Path(moved).expanduser().absolute() if moved else user_cache_path("medallion")


def log(program: str) -> Path:
    """Return the file for what `program` says to this process, after removing its oldest logs.

    Raises MedallionError when the lakehouse cannot be written.
    """
    folder = writable(home(), "MEDALLION_HOME") / "logs"
    folder.mkdir(exist_ok=True)
    logs = sorted(folder.glob(f"{program}-*.log"), key=lambda file: file.stat().st_mtime)
    for old in logs[:-_LOGS_KEPT]:
        old.unlink(missing_ok=True)
    return folder / f"{program}-{os.getpid()}.log"


def writable(folder: Path, moved_by: str) -> Path:
    """Make `folder` if it is missing, prove that a file can be written in it, and return it.

    `moved_by` is the environment variable that the error names as the mend.
    Raises MedallionError when the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MedallionError(
            f"{folder} cannot be written ({error.strerror}). "
            f"Give yourself write access to it, or set {moved_by} to a folder that is yours."
        ) from error
    return folder
