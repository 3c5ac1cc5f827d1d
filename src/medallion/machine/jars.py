"""The jars that Spark needs for Delta and GraphFrames: locked once, checked at every session start.

`jars.lock` names each jar by its Maven coordinates, size and SHA-256. The jars are fetched (see
`medallion.machine.maven`) or taken from a folder, and are kept in `<cache>/jars`, which all clones of
this user share. Nothing gets in there unless it has the locked SHA-256.
"""

import functools
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from medallion import files, paths
from medallion.errors import MedallionError
from medallion.machine import maven, own_classes

LINEAGE = "lineage"  # the group of what is needed only where lineage is recorded
FIXES = {
    "": "Run `./medallion setup` (or `medallion doctor --fix`).",
    LINEAGE: "Run `./medallion setup --lineage`.",
}
ALTERED = (
    "{coordinates}, as it was downloaded, {trouble}; nothing of it was kept, and if that stays so, "
    "the mirror in MEDALLION_MAVEN (or a proxy on the way) alters files"
)


@dataclass(frozen=True)
class Jar:
    """A line of `jars.lock`. `group` is "" for what every session needs.

    Of a jar with `keep` only those members stay whose names start with one of these; another jar that holds
    the same members may stand in for it, where a mirror does not serve it.
    """

    coordinates: str
    sha256: str
    bytes: int
    keep: Sequence[str] = ()
    stand_in: str | None = None
    group: str = ""

    @property
    def file(self) -> str:
        return maven.file_name(self.coordinates)


def folder() -> Path:
    """Return the folder that the jars are kept in."""
    return paths.cache() / "jars"


def lock_file() -> Path:
    """Return the path of `jars.lock`."""
    return paths.root() / "jars.lock"


def locked(group: str = "") -> list[Jar]:
    """Return the jars of a group, in the order in which they go on the class path."""
    return [jar for jar in read_lock() if jar.group == group]


def read_lock() -> list[Jar]:
    """Return the jars of the lock file, of all groups, in its order."""
    content = json.loads(lock_file().read_text(encoding="utf-8"))
    return [Jar(**entry) for entry in content["jars"]]


def verified(group: str = "") -> list[Path]:
    """Return the paths of the jars of a group, in lock order, each with its locked SHA-256.

    Raises MedallionError when a jar is missing or is not what the lock says.
    """
    found = []
    for jar in locked(group):
        path = folder() / jar.file
        if wrong := what_is_wrong(path, jar):
            raise MedallionError(f"The jar {path} {wrong}. {FIXES[group]}")
        found.append(path)
    return found


def class_path() -> list[str]:
    """Return the class path of a local session: our jars, then all of Spark's, as the pattern `…/*`.

    Ours are the locked ones and, from set-up on, that of `own_classes`.

    Raises MedallionError when one of ours is missing or is not what the lock says.
    """
    import pyspark

    compiled = [str(own_classes.path())] if own_classes.path().exists() else []
    return [*map(str, verified()), *compiled, str(Path(pyspark.__file__).parent / "jars" / "*")]


def what_is_wrong(path: Path, jar: Jar) -> str | None:
    """Return why `path` is not the locked `jar`, as the end of a sentence; None when it is."""
    try:
        return _difference(path.read_bytes(), jar)
    except FileNotFoundError:
        return "is missing"


def _difference(content: bytes, jar: Jar) -> str | None:
    if len(content) != jar.bytes:
        return f"is damaged: it has {len(content):,} bytes, jars.lock says {jar.bytes:,}"
    if hashlib.sha256(content).hexdigest() != jar.sha256:
        return "is damaged: its SHA-256 is not the one in jars.lock"
    return None


def install(from_dir: Path | None = None, progress: bool = True, group: str = "") -> None:
    """Bring every jar of a group that is missing or damaged into the cache.

    The jars come from Maven Central, or from the mirror that `MEDALLION_MAVEN` names, or, with
    `from_dir`, from that folder alone. Safe to repeat and to interrupt: a jar appears in the cache
    whole and verified or not at all.
    Raises MedallionError when a jar cannot be had; those that could be are kept.
    """
    target = paths.writable(folder(), "MEDALLION_CACHE")
    console = Console(stderr=True, quiet=not progress)
    with alone(target.parent / "jars.filelock", console):
        for half in target.glob(".*.new"):  # what was being written when set-up was killed
            half.unlink()
        wanted = [jar for jar in locked(group) if what_is_wrong(target / jar.file, jar)]
        if not wanted:
            return
        if from_dir is not None:
            _take(wanted, from_dir, target)
            return
        counted = f"{len(wanted)} jar{'s' if len(wanted) > 1 else ''}"
        with console.status(f"Fetching {counted} for Spark") as status:
            fetch = functools.partial(maven.fetch, tell=status.update)
            if missed := _put(wanted, target, fetch, ALTERED):
                raise MedallionError(f"{'; '.join(missed)}. {maven.FIX}")
        console.print(f"{counted} in {target}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def alone(file: Path, console: Console) -> Iterator[None]:
    """Keep other set-ups off what is beside this lock; wait for one that is at work, and say so."""
    lock = FileLock(file)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        console.print(f"Another set-up is at work on {file.parent}; waiting for it", soft_wrap=True)
        held = lock.acquire()
    with held:
        yield


def _take(wanted: list[Jar], from_dir: Path, target: Path) -> None:
    """Install `wanted` from the files in `from_dir`, then name every one that was not there or was wrong."""
    if not from_dir.is_dir():
        raise MedallionError(f"{from_dir} is not a folder. Give --from-dir the folder that holds the jars.")

    def read(coordinates: str) -> bytes:
        try:
            return (from_dir / maven.file_name(coordinates)).read_bytes()
        except FileNotFoundError:
            raise maven.NotServed(f"{maven.file_name(coordinates)} is missing") from None

    if missed := _put(wanted, target, read, "{file} {trouble}"):
        raise MedallionError(
            f"{from_dir} does not give all the jars: {'; '.join(missed)}. "
            f"Copy these files again from a machine that has them (its folder {folder()})."
        )


def _put(wanted: list[Jar], target: Path, fetch: Callable[[str], bytes], refusal: str) -> list[str]:
    """Write the jars into `target`; return what is wrong with each that `fetch` does not give.

    `refusal` is what is said of one that arrives and is not the locked one.
    """
    missed = []
    for jar in wanted:
        troubles = []
        for coordinates in filter(None, (jar.coordinates, jar.stand_in)):
            try:
                content = fetch(coordinates)
            except maven.NotServed as absent:
                troubles.append(absent.why)
                continue
            trouble = _difference(content, jar)
            if trouble and jar.keep:  # it is the whole of what the locked one is a part of
                content = cut(content, jar.keep) or content
                trouble = _difference(content, jar)
            if trouble is None:
                files.write_bytes(target / jar.file, content)
                break
            file = maven.file_name(coordinates)
            troubles.append(refusal.format(coordinates=coordinates, file=file, trouble=trouble))
        else:
            missed.append(", and in its place ".join(troubles))
    return missed


def cut(jar: bytes, keep: Iterable[str]) -> bytes:
    """Return a jar with the members of `jar` whose names start with one of `keep`; b"" for what is no jar.

    The result depends on those members' names and contents alone: sorted, stored uncompressed,
    with one fixed time stamp, so its SHA-256 is the same on every machine.
    """
    made = io.BytesIO()
    prefixes = tuple(keep)
    try:
        with zipfile.ZipFile(io.BytesIO(jar)) as whole, zipfile.ZipFile(made, "w") as piece:
            for name in sorted(name for name in whole.namelist() if name.startswith(prefixes)):
                if not name.endswith("/"):
                    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                    entry.create_system = 3
                    entry.external_attr = 0o644 << 16
                    piece.writestr(entry, whole.read(name))
    except (zipfile.BadZipFile, zlib.error):
        return b""
    return made.getvalue()
