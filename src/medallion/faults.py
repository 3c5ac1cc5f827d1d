"""Faults of the machine, told with their fix: a full disk, another user's file, a Python without a part."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from medallion.errors import MedallionError

KINDS = (OSError, ImportError, MemoryError, UnicodeEncodeError)
_OURS = {"kestrel", "medallion", "medallion_cli", "press"}
_ROOM = "Make room on its disk (`df -h` shows which is full), and try again."
_OTHERS = (
    "It may be another user's, as root's after a sudo; `ls -l` says whose. Give yourself access to it, or "
    "set MEDALLION_HOME to a folder that is yours."
)
_FIXES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _OTHERS,
    errno.EPERM: _OTHERS,
    errno.EROFS: "Its disk can only be read. Set MEDALLION_HOME and MEDALLION_CACHE to folders of your own.",
    errno.EISDIR: "It is a folder in the place of a file. Move it away, and try again.",
    errno.EEXIST: "There is a file in the place of a folder. Move it away, and try again.",
    errno.ENOTDIR: "There is a file in the place of a folder. Move it away, and try again.",
    errno.ENAMETOOLONG: "Set MEDALLION_HOME and TMPDIR to shorter paths.",
    errno.EMFILE: "Allow more open files with `ulimit -n 4096`, and try again.",
    errno.ENFILE: "Too many files are open on this machine: close other programs, and try again.",
    errno.EIO: "Its disk does not answer as it should. Set MEDALLION_HOME to a folder on another one.",
    errno.ESTALE: "Its disk has gone from the network. Mount it again, and try again.",
}
_MEMORY = (
    "This machine has no memory left. Close other programs, and shut down the kernels of other notebooks."
)
_LIBRARY = "A library of the system is missing, or of another version: install it, and try again."
_ENCODING = "Set PYTHONUTF8=1, or a UTF-8 locale such as LC_ALL=C.UTF-8."


def sentence(error: BaseException) -> str | None:
    """Return what is wrong with the machine and the fix; None for an error that is not the machine's."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return _MEMORY
    if isinstance(error, UnicodeEncodeError):
        return f"Python writes {error.encoding}, which has no {error.object[error.start]!a}. {_ENCODING}"
    if isinstance(error, ImportError | OSError) and getattr(error, "errno", None) is None:
        return _of_import(error)
    if type(error).__module__.startswith("zmq."):
        fix = _FIXES.get(getattr(error, "errno", 0), "Set TMPDIR to a short path on this machine.")
        return f"The notebook's process cannot be reached ({error}). {fix}"
    if isinstance(error, OSError) and error.errno in _FIXES:
        name = "A file" if error.filename is None else os.fsdecode(error.filename)
        return f"{name} cannot be used ({error.strerror}). {_FIXES[error.errno]}"
    return None


@contextmanager
def told() -> Iterator[None]:
    """Raise MedallionError for a fault of the machine, within a block or a function that this decorates."""
    try:
        yield
    except Exception as error:
        if said := sentence(error):
            raise MedallionError(said) from error
        raise


def _of_import(error: ImportError | OSError) -> str | None:
    """Say what Python could not load. A module of ours that is missing is a mistake of ours."""
    if re.search(r"\.(so|dylib)\b[\d.]*['\"]?[:,)]", str(error)):
        return f"{str(error).rstrip('.')}. {_LIBRARY}"
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    name = error.name.partition(".")[0]
    if name in _OURS:
        return None
    if name in sys.stdlib_module_names:
        return (
            f"This Python was built without its module {name}. Name another in MEDALLION_PYTHON, "
            "remove .venv, and run `./medallion`."
        )
    return f"The package {name} is missing from {sys.prefix}. Remove .venv and run `./medallion`."
