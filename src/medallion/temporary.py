"""Folders for temporary files: this user's alone, in a place that suits, and gone also after a kill.

A folder is held by a lock, which ends with the process however that ends. The next process that makes one
removes those that nobody holds.
"""

import atexit
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from medallion import paths
from medallion.errors import MedallionError

_PREFIX = "medallion-course-"
# Sockets are made in such folders, and the path of one has at most 103 characters on macOS, 107 on Linux.
_LONGEST = 60
_PLAIN = re.compile(r"[A-Za-z0-9/._-]*")
_MINUTE = 60


def place() -> Path:
    """Return where temporary folders are made: TMPDIR, or, where that does not suit, /tmp or the cache.

    Raises MedallionError when none of them suits.
    """
    own = paths.cache() / "tmp"
    troubles = []
    for folder in dict.fromkeys([Path(tempfile.gettempdir()), Path("/tmp"), own]):
        if folder == own:
            with suppress(OSError):
                own.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (trouble := what_is_wrong(folder)) is None:
            return folder
        troubles.append(f"{folder} {trouble}")
    raise MedallionError(
        f"There is no place for temporary files: {'; '.join(troubles)}. "
        "Set TMPDIR to a folder with a short and plain path, from which programs may be loaded."
    )


def what_is_wrong(folder: Path) -> str | None:
    """Return why `folder` does not suit, as the end of a sentence; None when it does."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return "cannot be written"
    # Java unpacks its libraries for Snappy and Zstandard there, and loads them. macOS has no such flag.
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        return "is mounted noexec: no program may be loaded from it"
    if len(os.fsencode(folder)) > _LONGEST:
        return f"has a path of more than {_LONGEST} characters, too long for sockets"
    if not _PLAIN.fullmatch(str(folder)):
        return "has a character in its path that Spark stumbles over"
    return None


@contextmanager
def folder(name: str = "") -> Iterator[Path]:
    """Make a temporary folder, with `name` in its name, and remove it at the end of the block.

    Raises MedallionError when there is no place for it.
    """
    made, lock = _make(name)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


@cache
def of_process() -> Path:
    """Return a temporary folder that stays until the end of this process.

    Raises MedallionError when there is no place for it.
    """
    made, _ = _make("")
    atexit.register(_remove_of, os.getpid(), made)
    return made


def _remove_of(process: int, made: Path) -> None:
    if process == os.getpid():  # a process that is forked from it inherits what it does at its end
        shutil.rmtree(made, ignore_errors=True)


def plain_path(folder: Path) -> str:
    """Return a path to `folder` without a space, an accent or another character that an address encodes.

    Where its own path has one, that is a link in the folder for temporary files, which goes at the end of
    this process. Spark 4.2 encodes the path of a checkpoint twice before it reads its state, and then
    finds nothing.
    """
    if _PLAIN.fullmatch(str(folder)):
        return str(folder)
    link = Path(tempfile.mkdtemp(dir=of_process())) / "link"
    link.symlink_to(folder.absolute(), target_is_directory=True)
    return str(link)


def _make(name: str) -> tuple[Path, int]:
    where = place()
    _sweep(where)
    made = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name}", dir=where))
    lock = os.open(made, os.O_RDONLY)
    with suppress(OSError):  # a disk of the network may have no locks, and then nothing is swept there
        fcntl.flock(lock, fcntl.LOCK_EX)
    return made, lock


def _sweep(where: Path) -> None:
    """Remove what killed processes have left in `where`."""
    for left in where.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            status = left.lstat()
            # One that was made a moment ago may not be held yet.
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _MINUTE:
                continue
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
