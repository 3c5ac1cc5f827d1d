"""`medallion doctor`: what a chapter needs of this machine, one line each, with the fix where it fails."""

import importlib.metadata
import importlib.util
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from packaging.utils import canonicalize_name
from rich.console import Console
from rich.text import Text

from medallion import faults, paths, temporary
from medallion.errors import MedallionError
from medallion.machine import archive, jars, java, orchestrator, packages, surroundings

MB = 1_000_000
GB = 1_000 * MB
CHAPTER_MEMORY = 1.8 * GB  # what the processes of a chapter may take together
LAKEHOUSE_DISK = 2 * GB  # source files, tables and checkpoints of all chapters at scale 1
CACHE_DISK = 0.5 * GB  # the jars and the class archive, and what is fetched to make them
OPEN_FILES = 1024  # Java has each jar of Spark's open: with 256 it ends, with 512 a session starts
PORTS = {8888: "JupyterLab", 4040: "Spark's web page"}
PORTS_TRIED = 16  # both programs try the following ports when theirs is taken, Spark 16 of them


@dataclass(frozen=True)
class Line:
    """One finding. `fix` says what to do and is empty when `ok`."""

    ok: bool
    subject: str
    finding: str
    fix: str = ""


Finding = tuple[str, str]  # what was found, and the fix: "" where there is nothing to fix


@dataclass(frozen=True)
class Check:
    """A subject, what looks at it, and what can be done about it without asking."""

    subject: str
    look: Callable[[], Iterator[Finding]]
    repair: Callable[[], object] | None = None

    def run(self) -> list[Line]:
        lines: list[Line] = []
        try:
            with faults.told():
                for finding, fix in self.look():
                    lines.append(Line(not fix, self.subject, finding, fix))
        except MedallionError as error:
            lines.append(Line(False, self.subject, str(error)))
        return lines


def report(fix: bool = False) -> list[Line]:
    """Check this machine and return a line for each thing that was checked.

    With `fix`, first do what can be done without asking: install the jars, make the class archive.
    """
    lines: list[Line] = []
    for check in CHECKS:
        found = check.run()
        if fix and check.repair is not None and not all(line.ok for line in found):
            try:
                check.repair()
                found = check.run()
            except MedallionError as error:
                found = [Line(False, check.subject, str(error))]
        lines += found
    return lines


def main(fix: bool = False) -> int:
    """Print the report; return 0 when every line is OK and 1 otherwise."""
    lines = report(fix)
    console = Console(soft_wrap=True, highlight=False)
    for line in lines:
        console.print(as_text(line))
    return int(not all(line.ok for line in lines))


def as_text(line: Line) -> Text:
    """Return the line as it is printed: OK or FAIL, the subject, the finding, the fix."""
    verdict = ("OK  ", "green") if line.ok else ("FAIL", "bold red")
    return Text.assemble(verdict, f"  {line.subject:<9} {' '.join(filter(None, [line.finding, line.fix]))}")


def _python() -> Iterator[Finding]:
    fits = f"{sys.version_info.major}.{sys.version_info.minor}" in packages.PYTHONS
    fix = "Set MEDALLION_PYTHON to a Python 3.11, 3.12 or 3.13, remove .venv, run `./medallion`."
    yield f"{sys.version.split()[0]} in {sys.prefix}", "" if fits else fix
    if importlib.util.find_spec("_sqlite3") is None:
        yield "it is built without sqlite3, in which MLflow keeps runs and models.", fix


def _variables() -> Iterator[Finding]:
    for name in surroundings.left_out():
        yield f"{name} is set, for another program: it is left out of what the course starts", ""
    surroundings.require_remote()
    if not surroundings.left_out():
        yield "none is set that is for another Spark, Java, Python or MLflow", ""


def _packages() -> Iterator[Finding]:
    installed: dict[str, str] = {
        canonicalize_name(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()
    }
    lock_text = (paths.root() / "requirements.lock").read_text(encoding="utf-8")
    wrong = packages.differences(installed, lock_text)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        yield f"{'; '.join(wrong[:3])}{more}.", "Remove .venv and run `./medallion`."
    else:
        yield "as requirements.lock says", ""


def _java() -> Iterator[Finding]:
    yield java.find().why, ""


def _jars() -> Iterator[Finding]:
    wrong = [
        f"{jar.file} {trouble}"
        for jar in jars.locked()
        if (trouble := jars.what_is_wrong(jars.folder() / jar.file, jar))
    ]
    if wrong:
        yield f"in {jars.folder()}: {'; '.join(wrong)}.", jars.FIXES[""]
    else:
        yield f"{len(jars.locked())} in {jars.folder()}, as jars.lock says", ""


def _lineage() -> Iterator[Finding]:
    for jar in jars.locked(jars.LINEAGE):
        path = jars.folder() / jar.file
        if not path.exists():
            size = f"{jar.bytes / MB:.0f} MB"
            yield f"no {jar.file} ({size}): only `run --lineage` needs it, and fetches it", ""
        elif trouble := jars.what_is_wrong(path, jar):
            yield f"{path} {trouble}.", jars.FIXES[jars.LINEAGE]
        else:
            yield f"{jar.file} is as jars.lock says", ""


def _orchestrator() -> Iterator[Finding]:
    if orchestrator.ready():
        yield f"Dagster as orchestrator.lock says, in {orchestrator.folder()}", ""
    else:
        yield "no Dagster: only chapter 12 shows it, and `setup --orchestrator` installs it (230 MB)", ""


def _archive() -> Iterator[Finding]:
    if archive.options():
        made = archive.path()
        yield f"{made.stat().st_size // MB} MB in {made.parent}", ""
    else:
        yield "no archive for this Java and these jars: sessions start slower.", "Run `medallion setup`."


def _memory() -> Iterator[Finding]:
    free = min(psutil.virtual_memory().available, _container_memory())
    fix = "Close other programs, or shut down the kernels of other notebooks."
    finding = f"{free / GB:.1f} GB free; a chapter takes up to {CHAPTER_MEMORY / GB:.1f} GB."
    yield finding, "" if free >= CHAPTER_MEMORY else fix


def _container_memory() -> float:
    """Return the bytes that the container we run in has left; infinity where nothing limits us."""
    for limit, used in (  # control groups, version 2 and version 1
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            return int(Path(limit).read_text()) - int(Path(used).read_text())
        except (OSError, ValueError):  # no such group, or its limit is "max"
            continue
    return float("inf")


def _disk() -> Iterator[Finding]:
    for what, folder, needed, variable in (
        ("lakehouse", paths.home(), LAKEHOUSE_DISK, "MEDALLION_HOME"),
        ("cache", paths.cache(), CACHE_DISK, "MEDALLION_CACHE"),
    ):
        paths.writable(folder, variable)
        free = shutil.disk_usage(folder).free
        fix = "" if free >= needed else f"Make room, or set {variable} to a folder on another disk."
        yield f"{what} {folder}: writable, {free / GB:.1f} GB free, {needed / GB:.1f} GB needed.", fix


def _temporary() -> Iterator[Finding]:
    own, place = Path(tempfile.gettempdir()), temporary.place()
    if own == place:
        yield f"temporary files go to {place}", ""
    else:
        yield f"{own} {temporary.what_is_wrong(own)}; temporary files go to {place}", ""


def _files() -> Iterator[Finding]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        yield "a process may open any number of files", ""
        return
    fix = "" if most >= OPEN_FILES else "Raise what `ulimit -Hn` shows, or ask who runs this machine."
    yield f"a process may open {most:,} files; Spark needs {OPEN_FILES:,}.", fix


def _notebooks() -> Iterator[Finding]:
    yield f"yours are in {paths.writable(paths.work(), 'MEDALLION_HOME')}: writable", ""


def _ports() -> Iterator[Finding]:
    for port, program in PORTS.items():
        free = next((one for one in range(port, port + PORTS_TRIED) if _is_free(one)), None)
        if free is None:
            taken = f"{port} to {port + PORTS_TRIED - 1} are all taken; {program} needs one of them."
            yield taken, "Shut down other notebook servers and Spark sessions."
        elif free == port:
            yield f"{port} is free for {program}", ""
        else:
            yield f"{port} is taken by another program; {program} takes {free}", ""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _encoding() -> Iterator[Finding]:
    encoding = sys.getfilesystemencoding()
    fix = "Set PYTHONUTF8=1, or a UTF-8 locale such as LC_ALL=C.UTF-8."
    yield f"file names are {encoding}", "" if encoding.lower() == "utf-8" else fix


CHECKS = (
    Check("Python", _python),
    Check("packages", _packages),
    Check("Java", _java),
    Check("jars", _jars, jars.install),
    Check("lineage", _lineage, lambda: jars.install(group=jars.LINEAGE)),
    Check("Dagster", _orchestrator),
    Check("archive", _archive, archive.make),
    Check("variables", _variables),
    Check("memory", _memory),
    Check("disk", _disk),
    Check("temporary", _temporary),
    Check("files", _files),
    Check("notebooks", _notebooks),
    Check("ports", _ports),
    Check("encoding", _encoding),
)
