"""The jars that Spark needs for Delta and GraphFrames: resolved once, checked at every session start.

`jars.lock` names each jar by its Maven coordinates, size and SHA-256. The jars are fetched by the
Ivy that the pyspark wheel brings (see `medallion.machine.ivy`), or taken from a folder, and are kept in
`<cache>/jars`, which all clones of this user share. Nothing gets in there unless it has the
locked SHA-256.
"""

import functools
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from medallion import paths
from medallion.errors import MedallionError
from medallion.machine import ivy

LINEAGE = "lineage"  # the group of what is needed only where lineage is recorded
MENDS = {
    "": "Run `./medallion setup` (or `medallion doctor --mend`).",
    LINEAGE: "Run `./medallion setup --lineage`.",
}


@dataclass(frozen=True)
class Source:
    """Another jar that holds the members of a locked one, with its own SHA-256 where we know it."""

    coordinates: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        return ivy.file_name(self.coordinates)


@dataclass(frozen=True)
class Jar:
    """A line of `jars.lock`. `group` is "" for what every session needs.

    A jar with `sources` is cut from the first of them that yields the locked SHA-256: of its
    members only those whose names start with one of `keep` stay.
    """

    coordinates: str
    sha256: str
    bytes: int
    keep: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    group: str = ""

    @property
    def file(self) -> str:
        return ivy.file_name(self.coordinates)


def folder() -> Path:
    """Return the folder that the jars are kept in."""
    return paths.cache() / "jars"


def lock_file() -> Path:
    """Return the path of `jars.lock`."""
    return paths.root() / "jars.lock"


def locked(group: str = "") -> list[Jar]:
    """Return the jars of a group, in the order in which they go on the class path."""
    return [jar for jar in read_lock() if jar.group == group]


def read_lock(lock: Path | None = None) -> list[Jar]:
    """Return the jars of the lock file, of all groups, in its order."""
    lock = lock_file() if lock is None else lock
    content = json.loads(lock.read_text(encoding="utf-8"))
    return [
        Jar(
            coordinates=entry["coordinates"],
            sha256=entry["sha256"],
            bytes=entry["bytes"],
            keep=tuple(entry.get("keep", ())),
            sources=tuple(Source(**source) for source in entry.get("sources", ())),
            group=entry.get("for", ""),
        )
        for entry in content["jars"]
    ]


def verified(group: str = "") -> list[Path]:
    """Return the paths of the jars of a group, in lock order, each with its locked SHA-256.

    Raises MedallionError when a jar is missing or is not what the lock says.
    """
    found = []
    for jar in locked(group):
        path = folder() / jar.file
        if wrong := what_is_wrong(path, jar):
            raise MedallionError(f"The jar {path} {wrong}. {MENDS[group]}")
        found.append(path)
    return found


def class_path() -> list[str]:
    """Return the class path of a local session: the locked jars, then all of Spark's, as the pattern `…/*`.

    Raises MedallionError when one of ours is missing or is not what the lock says.
    """
    import pyspark

    return [*map(str, verified()), str(Path(pyspark.__file__).parent / "jars" / "*")]


def what_is_wrong(path: Path, jar: Jar) -> str | None:
    """Return why `path` is not the locked `jar`, as the end of a sentence; None when it is."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    if size != jar.bytes:
        return f"is damaged: it has {size:,} bytes, jars.lock says {jar.bytes:,}"
    if sha256_of(path) != jar.sha256:
        return "is damaged: its SHA-256 is not the one in jars.lock"
    return None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def install(from_dir: Path | None = None, progress: bool = True, group: str = "") -> None:
    """Bring every jar of a group that is missing or damaged into the cache.

    The jars come from Maven Central, or from the mirror that `MEDALLION_MAVEN` names, or, with
    `from_dir`, from that folder alone. Safe to repeat and to interrupt: a jar appears in the cache
    whole and verified or not at all.
    Raises MedallionError when a jar cannot be had; those that could be are kept.
    """
    target = paths.writable(folder(), "MEDALLION_CACHE")
    with FileLock(target.parent / "jars.filelock"):
        wanted = [jar for jar in locked(group) if what_is_wrong(target / jar.file, jar)]
        if not wanted:
            return
        with tempfile.TemporaryDirectory(prefix=".jars-", dir=target.parent) as work:
            if from_dir is not None:
                _take(wanted, from_dir, target, Path(work))
            else:
                _fetch(wanted, target, Path(work), progress)


def _take(wanted: list[Jar], from_dir: Path, target: Path, work: Path) -> None:
    """Install `wanted` from the files in `from_dir`, then name every one that was not there or was wrong."""
    if not from_dir.is_dir():
        raise MedallionError(f"{from_dir} is not a folder. Give --from-dir the folder that holds the jars.")
    complaints = []
    for jar in wanted:
        given = from_dir / jar.file
        wrong = what_is_wrong(given, jar)
        if wrong is None:
            _put(given, target / jar.file)
        elif not _install_cut(jar, lambda source: _existing(from_dir / source.file), target, work):
            others = "".join(f" (or {source.file})" for source in jar.sources if source.file != jar.file)
            complaints.append(f"{jar.file}{others} {wrong}")
    if complaints:
        raise MedallionError(
            f"{from_dir} does not give all the jars: {'; '.join(complaints)}. "
            f"Copy these files again from a machine that has them (its folder {folder()})."
        )


def _fetch(wanted: list[Jar], target: Path, work: Path, progress: bool) -> None:
    plain = [jar for jar in wanted if not jar.sources]
    cut = [jar for jar in wanted if jar.sources]
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not progress,
    )
    with bar:
        task = bar.add_task(f"Fetching {_counted(wanted)} for Spark", total=None)

        def tell(line: str) -> None:
            bar.update(task, description=line)

        fetched = ivy.fetch([jar.coordinates for jar in plain], work / "ivy", tell)
        for jar, path in zip(plain, fetched, strict=True):
            if wrong := what_is_wrong(path, jar):
                raise MedallionError(
                    f"{jar.coordinates}, as it was downloaded, {wrong}. Nothing of it was kept. Try again; "
                    "if it stays so, the mirror in MEDALLION_MAVEN (or a proxy on the way) alters files."
                )
            _put(path, target / jar.file)
        for jar in cut:
            if not _install_cut(jar, functools.partial(_fetched, work=work / "ivy", tell=tell), target, work):
                tried = " nor ".join(source.coordinates for source in jar.sources)
                raise MedallionError(
                    f"{jar.coordinates} could not be had: neither {tried} was served and right. {ivy.MENDS}"
                )
        bar.update(task, description=f"{_counted(wanted)} in {target}")


def _counted(wanted: list[Jar]) -> str:
    return f"{len(wanted)} jar{'s' if len(wanted) > 1 else ''}"


def _fetched(source: Source, work: Path, tell: Callable[[str], None]) -> Path | None:
    try:
        return ivy.fetch([source.coordinates], work, tell)[0]
    except ivy.NotServed:
        return None


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _install_cut(jar: Jar, locate: Callable[[Source], Path | None], target: Path, work: Path) -> bool:
    """Install `jar` from the first of its sources that yields it; return whether one did.

    `locate` returns a source's file, or None when that source is not to be had.
    """
    for source in jar.sources:
        path = locate(source)
        if path is None or (source.sha256 is not None and sha256_of(path) != source.sha256):
            continue
        piece = work / f"cut-{jar.file}"
        try:
            cut(path, piece, jar.keep)
        except (zipfile.BadZipFile, OSError):
            continue
        if what_is_wrong(piece, jar) is None:
            _put(piece, target / jar.file)
            return True
    return False


def cut(source: Path, target: Path, keep: Iterable[str]) -> None:
    """Write to `target` the members of the jar `source` whose names start with one of `keep`.

    The result depends on those members' names and contents alone: sorted, stored uncompressed,
    with one fixed time stamp, so its SHA-256 is the same on every machine.
    """
    prefixes = tuple(keep)
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as piece:
        for name in sorted(name for name in whole.namelist() if name.startswith(prefixes)):
            if not name.endswith("/"):
                entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.create_system = 3
                entry.external_attr = 0o644 << 16
                piece.writestr(entry, whole.read(name))


def _put(source: Path, target: Path) -> None:
    """Copy `source` over `target` in one step, so that no reader ever sees half a jar."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, partial)
    partial.replace(target)
