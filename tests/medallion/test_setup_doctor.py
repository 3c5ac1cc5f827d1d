"""The doctor: each thing that can be wrong is made wrong, and its line says so with the fix."""

import errno
import importlib.util
import os
import resource
import shutil
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from test_setup_jars import maven_folder
from test_setup_java import java_home

from medallion import temporary
from medallion.machine import doctor, jars, surroundings
from medallion.machine.doctor import Line


@pytest.fixture
def jars_alone(tmp_path, monkeypatch) -> Path:
    """A cache of its own with the real jars, of which the doctor looks at nothing else."""
    real = jars.verified()
    monkeypatch.setenv("MEDALLION_CACHE", str(tmp_path / "cache"))
    shutil.copytree(real[0].parent, tmp_path / "cache" / "jars")
    monkeypatch.setattr(doctor, "CHECKS", [check for check in doctor.CHECKS if check.subject == "jars"])
    return tmp_path / "cache" / "jars"


def lines(subject: str) -> list[Line]:
    [check] = [check for check in doctor.CHECKS if check.subject == subject]
    return check.run()


def line(subject: str) -> Line:
    return lines(subject)[0]


def test_a_failing_line_makes_the_exit_status(jars_alone, capsys):
    assert doctor.main() == 0
    assert capsys.readouterr().out.startswith("OK    jars      8 in ")
    (jars_alone / "delta-storage-4.4.0.jar").write_bytes(b"half")
    assert doctor.main() == 1
    printed = capsys.readouterr().out
    assert printed.startswith("FAIL  jars ") and "delta-storage-4.4.0.jar is damaged" in printed
    assert "medallion setup" in printed


def test_mend_installs_a_damaged_jar_again(jars_alone, tmp_path, monkeypatch):
    entries = zip(jars.locked(), jars.verified(), strict=True)
    monkeypatch.setenv(
        "MEDALLION_MAVEN", str(maven_folder(tmp_path / "m", {j.coordinates: p for j, p in entries}))
    )
    (jars_alone / "delta-storage-4.4.0.jar").write_bytes(b"half")
    [fixed] = doctor.report(fix=True)
    assert fixed.ok, fixed
    assert len(jars.verified()) == 8


def test_mend_that_fails_says_why(jars_alone, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("MEDALLION_MAVEN", str(tmp_path / "empty"))
    (jars_alone / "delta-storage-4.4.0.jar").unlink()
    [failed] = doctor.report(fix=True)
    assert not failed.ok
    assert "delta-storage:4.4.0 could not be fetched: the repository does not have it" in failed.finding


def test_java_too_old(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDALLION_JAVA_HOME", str(java_home(tmp_path / "jdk", "11.0.2")))
    found = line("Java")
    assert not found.ok and "holds Java 11; Spark needs Java 17 or 21" in found.finding


def test_java_says_which_and_why(tmp_path, monkeypatch):
    home = java_home(tmp_path / "jdk", "21.0.2")
    monkeypatch.setenv("MEDALLION_JAVA_HOME", str(home))
    assert line("Java") == Line(True, "Java", f"MEDALLION_JAVA_HOME is {home}")


def test_lakehouse_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "file" / "lakehouse"))
    found = line("disk")
    assert not found.ok and "cannot be written" in found.finding and "set MEDALLION_HOME" in found.finding


def test_where_the_notebooks_are(tmp_path, monkeypatch):
    monkeypatch.setattr("medallion.paths.work", lambda: tmp_path / "work")
    assert line("notebooks") == Line(True, "notebooks", f"yours are in {tmp_path / 'work'}: writable")
    (tmp_path / "work").rmdir()
    (tmp_path / "work").touch()
    found = line("notebooks")
    assert not found.ok and "cannot be written" in found.finding and "set MEDALLION_HOME" in found.finding


def test_a_fault_of_the_machine_is_a_line_that_fails(monkeypatch):
    def denied():
        raise PermissionError(errno.EACCES, "Permission denied", "/clone/requirements.lock")

    found = doctor.Check("packages", denied).run()
    assert [one.ok for one in found] == [False]
    assert "/clone/requirements.lock cannot be used (Permission denied)." in found[0].finding


@pytest.mark.parametrize(
    ("subject", "limit", "fix"),
    [
        ("memory", "CHAPTER_MEMORY", "Close other programs"),
        ("disk", "LAKEHOUSE_DISK", "Make room, or set MEDALLION_HOME"),
    ],
)
def test_too_little_memory_or_disk(subject, limit, fix, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, limit, 1e18)
    found = line(subject)
    assert not found.ok and found.fix.startswith(fix)


def test_what_is_left_out_and_a_server_that_does_not_answer(monkeypatch):
    proxies = [name for name in os.environ if name.lower().endswith("_proxy")]
    for name in (surroundings.LEFT_OUT, "SPARK_REMOTE", *proxies):
        monkeypatch.delenv(name, raising=False)
    assert line("variables").finding == "none is set that is for another Spark, Java, Python or MLflow"
    monkeypatch.setenv(surroundings.LEFT_OUT, "PIP PYTHONPATH")
    first, second = lines("variables")
    assert first.ok and second.ok and second.finding.startswith("PYTHONPATH is set, for another program: ")
    monkeypatch.setenv("SPARK_REMOTE", "local")
    *_, second, found = lines("variables")
    assert second.ok and not found.ok and found.finding.startswith("SPARK_REMOTE is 'local', not the address")


def test_a_python_without_sqlite(monkeypatch):
    assert len(lines("Python")) == 1
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = lines("Python")[1]
    assert not found.ok and "built without sqlite3" in found.finding and "MEDALLION_PYTHON" in found.fix


def test_a_folder_for_temporary_files_that_does_not_suit(tmp_path, monkeypatch):
    (long := tmp_path / ("x" * 60)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    found = line("temporary")
    assert found.ok and found.finding.startswith(f"{long} has a path of more than 60 characters, too long")
    assert found.finding.endswith("; temporary files go to /tmp")
    monkeypatch.setattr(temporary, "what_is_wrong", lambda folder: "is not there")
    found = line("temporary")
    assert not found.ok and found.finding.startswith("There is no place for temporary files: ")


def test_too_few_open_files(monkeypatch):
    for most, ok in ((256, False), (1024, True), (resource.RLIM_INFINITY, True)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, most=most: (256, most))
        assert line("files").ok is ok
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    found = line("files")
    assert found.finding == "a process may open 256 files; Spark needs 1,024." and "ulimit -Hn" in found.fix


def test_a_taken_port_is_told_and_no_failure_until_all_are_taken(monkeypatch):
    with ExitStack() as held:
        first = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {first: "JupyterLab"})
        found = line("ports")
        assert found.ok and f"{first} is taken by another program; JupyterLab takes " in found.finding
        monkeypatch.setattr(doctor, "PORTS_TRIED", 1)
        found = line("ports")
        assert not found.ok and "Shut down other notebook servers" in found.fix


def test_packages_that_are_not_the_locked_ones(tmp_path, monkeypatch):
    (tmp_path / "requirements.lock").write_text("rich==0.1\nno-such-package==1\n", encoding="utf-8")
    monkeypatch.setattr("medallion.paths.root", lambda: tmp_path)
    found = line("packages")
    assert not found.ok and "no-such-package is missing, the lock has 1" in found.finding
    assert "the lock has 0.1" in found.finding and "Remove .venv" in found.fix
