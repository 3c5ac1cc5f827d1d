"""The class-data-sharing archive: most of what a Spark JVM does in its first seconds, done once at set-up.

A JVM spends its first seconds loading and verifying some twenty thousand classes. An AppCDS archive
(JEP 350) keeps them parsed; a later JVM maps the file instead. The archive only fits the Java and
the class path that made it, so its name is a digest of both: after an update the old one is
no longer found, and a session without one is slower but the same.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import psutil

from medallion import jars, java, paths
from medallion.errors import MedallionError
from medallion.lineage import record

# What a notebook does in its first minute. The classes that this loads are the ones archived.
_REHEARSAL = "medallion.rehearsal"
_SECONDS = 300


def _folder() -> Path:
    return paths.cache() / "classes"


def path() -> Path:
    """Return where the archive for this Java, this pyspark and these jars is, or would be."""
    import pyspark

    runtime = java.find()
    described = [str(runtime.home), str(runtime.version), pyspark.__file__, pyspark.__version__]
    described.append(Path(__file__).with_name("rehearsal.py").read_text(encoding="utf-8"))
    described += [f"{jar} {jar.stat().st_size}" for jar in jars.verified()]
    release = runtime.home / "release"
    if release.exists():
        described.append(release.read_text(encoding="utf-8", errors="replace"))
    return _folder() / f"{hashlib.sha256(chr(10).join(described).encode()).hexdigest()[:16]}.jsa"


def status() -> tuple[bool, str]:
    """Return whether the archive is there, and a sentence on it with the mend."""
    archive = path()
    if archive.exists():
        return True, f"{archive.stat().st_size // 1_000_000} MB in {archive.parent}"
    return False, "no archive for this Java and these jars: sessions start slower. Run `medallion setup`."


def make() -> Path:
    """Make the archive unless it is there, and return its path.

    A rehearsal session runs in a process of its own and its JVM writes the archive as it exits.
    Archives whose pyspark is gone are removed.
    Raises MedallionError when the JVM leaves no archive.
    """
    archive = path()
    if archive.exists():
        return archive
    paths.writable(archive.parent, "MEDALLION_CACHE")
    partial = archive.with_suffix(f".{os.getpid()}.partial")
    done = subprocess.run(
        [sys.executable, "-m", _REHEARSAL, str(partial)],
        env={name: value for name, value in os.environ.items() if name != record.VARIABLE},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if not partial.exists():
        raise MedallionError(
            "The class archive was not written; sessions work without it, but start slower. "
            f"The rehearsal said: {(done.stderr or done.stdout).strip()[-600:]}"
        )
    partial.replace(archive)
    _record(archive)
    _sweep(archive)
    return archive


def _record(archive: Path) -> None:
    import pyspark

    archive.with_suffix(".txt").write_text(pyspark.__file__, encoding="utf-8")


def _sweep(made: Path) -> None:
    """Remove what no session will use: archives that `made` replaces or whose `.venv` is gone, and halves."""
    ours = made.with_suffix(".txt").read_text(encoding="utf-8")
    for note in _folder().glob("*.txt"):
        if note.stem == made.stem:
            continue
        other = note.read_text(encoding="utf-8")
        if other == ours or not Path(other).exists():
            note.with_suffix(".jsa").unlink(missing_ok=True)
            note.unlink(missing_ok=True)
    for partial in _folder().glob("*.partial"):
        owner = int(partial.name.split(".")[-2])
        if not psutil.pid_exists(owner):
            partial.unlink(missing_ok=True)
