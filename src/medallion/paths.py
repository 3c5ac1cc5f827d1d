"""Where things are: the repository, the lakehouse of this user, and the cache that clones share.

| function | default | moved by |
|---|---|---|
| `root` | the clone that this package is installed from | – |
| `home` | `<root>/lakehouse` | `MEDALLION_HOME` |
| `landing` | `<home>/landing` | `MEDALLION_HOME` |
| `scratch` | `<home>/scratch/<session>` | `MEDALLION_HOME` |
| `dataset` | `<root>/datasets/<name>` | – |
| `work` | `<root>/work` | `MEDALLION_HOME`, where the clone cannot be written |
| `cache` | the user's cache folder | `MEDALLION_CACHE` |
"""

import hashlib
import os
import re
import secrets
import tempfile
from contextlib import suppress
from functools import cache as once
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from medallion.errors import MedallionError

_LOGS_KEPT = 20
# What Spark takes for a pattern, an address or the end of a name: a link without it leads there
_LINKED = re.compile(r"[*?{}:`]")
# Below these deltalake 1.6 cannot write, also behind a link: the lakehouse is elsewhere, and the link is here
_MOVED = re.compile(r"[\[\]^|]")
# What deltalake misreads in the path of a folder, also behind a link
_REFUSED = re.compile(r"\\|%[0-9A-Fa-f]{2}|[\x00-\x1f\x7f\ud800-\udfff]")
_SETTINGS = ("MEDALLION_HOME", "MEDALLION_CACHE", "MEDALLION_JAVA_HOME")


def root() -> Path:
    """Return the clone's folder, the one that holds `pyproject.toml` and `book/`."""
    return Path(__file__).resolve().parents[2]


def make_settings_absolute() -> None:
    """Let a relative folder in the settings mean the same one from now on, also in what is started here."""
    for name in _SETTINGS:
        if value := os.environ.get(name):
            os.environ[name] = str(Path(value).expanduser().absolute())


def home() -> Path:
    """Return the absolute path of the lakehouse folder. It need not exist yet.

    Where its own path has a character that Spark takes for a pattern, as in `what?`, this is a link to it,
    always the same one, and the folder is made. The default below a folder such as `Kurs [2026]` is made in
    the user's data, and a link to that is put there.
    Raises MedallionError for a path that cannot be used, and when the folder or the link cannot be made.
    """
    own = Path(os.environ.get("MEDALLION_HOME") or root() / "lakehouse").expanduser().absolute()
    if odd := _REFUSED.search(str(own)):
        raise MedallionError(
            f"The lakehouse cannot be in {str(own)!a}: Delta tables cannot have {odd[0]!a} in their "
            "path. Set MEDALLION_HOME to another folder."
        )
    if odd := _MOVED.search(str(own)):
        return _moved(own, odd[0])
    return _linked(own) if _LINKED.search(str(own)) else own


def _moved(folder: Path, odd: str) -> Path:
    """Return the folder in the user's data that holds the lakehouse; `folder` becomes a link to it."""
    real = user_data_path("medallion") / "lakehouses" / _digest(folder)
    refusal = f"The lakehouse cannot be in {folder}: Delta tables are not written below a path with {odd!r}. "
    # A place that somebody has chosen, for its disk perhaps, is not exchanged for another without a word.
    if os.environ.get("MEDALLION_HOME") or _LINKED.search(str(real)) or _MOVED.search(str(real)):
        raise MedallionError(f"{refusal}Set MEDALLION_HOME to another folder.")
    if folder.resolve() == real.resolve():
        return real
    if folder.exists() and (folder.is_symlink() or not folder.is_dir() or any(folder.iterdir())):
        raise MedallionError(f"{refusal}Rename the folder that has it in its name, or set MEDALLION_HOME.")
    writable(real, "MEDALLION_HOME")
    with suppress(OSError):  # where no link can be put, the lakehouse is there without one
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_dir():
            folder.rmdir()
        folder.symlink_to(real, target_is_directory=True)
    return real


def _digest(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]


def _linked(folder: Path) -> Path:
    """Return a link to `folder`, which is made if it is missing, in the cache.

    It is named after the folder's path, because checkpoints and MLflow keep paths: it has to be the same
    in each process and tomorrow.
    """
    place = cache() / "links"
    if _LINKED.search(str(place)) or _MOVED.search(str(place)):
        raise MedallionError(
            f"Spark cannot work in {folder}, nor reach it by a link in {place}. "
            "Set MEDALLION_HOME, or else MEDALLION_CACHE, to a folder without any of *?[]{}:` in its path."
        )
    link = place / _digest(folder)
    if not folder.is_dir():
        writable(folder, "MEDALLION_HOME")
    if not link.is_symlink():
        writable(place, "MEDALLION_CACHE")
        with suppress(FileExistsError):  # another process was quicker
            link.symlink_to(folder, target_is_directory=True)
    return link


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


def scratch() -> Path:
    """Return the folder of this session's scratch schema: empty at the start, removed at the end."""
    return home() / "scratch" / _session(os.getpid())


@once
def _session(process: int) -> str:
    """Return a name for the session of a process. Its number alone comes again, and in other containers."""
    return f"{process}-{secrets.token_hex(4)}"


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
    for old in sorted(folder.glob(f"{program}-*.log"), key=_written_at)[:-_LOGS_KEPT]:
        old.unlink(missing_ok=True)
    return folder / f"{program}-{os.getpid()}.log"


def _written_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # another process has just removed it
        return 0


def writable(folder: Path, moved_by: str) -> Path:
    """Make `folder` if it is missing, prove that a file can be written in it, and return it.

    `moved_by` is the environment variable that the error names as the fix.
    Raises MedallionError when the folder cannot be made or written, also because the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))  # an empty file fits on a full disk
    except OSError as error:
        raise _unwritable(folder, moved_by, error) from error
    return folder


def _unwritable(folder: Path, moved_by: str, error: OSError) -> MedallionError:
    why = error.strerror
    if folder.is_symlink() and not folder.exists():
        why = f"it is a link to {folder.readlink()}, which is not there"
    return MedallionError(
        f"{folder} cannot be written ({why}). "
        f"Give yourself write access to it, or set {moved_by} to a folder that is yours."
    )
