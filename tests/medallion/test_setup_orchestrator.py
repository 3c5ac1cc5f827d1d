"""The environment of the orchestrator: made whole or not at all, of a wheel and without a network."""

import base64
import hashlib
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from medallion.errors import MedallionError
from medallion.machine import doctor, orchestrator

INSTALL = """
import pathlib, sys
from medallion.machine import orchestrator
orchestrator.lock_file = lambda: pathlib.Path(sys.argv[1])
orchestrator.install(progress=True)
"""


def wheel(folder: Path) -> str:
    """Write the wheel of a package with a program `tiny`; return its line of a lock, without its hash."""
    files = {
        "tiny.py": "def main(): print('tiny runs')\n",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny-1.0.dist-info/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
    }
    listed = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},\n"
        for name, text in files.items()
    )
    file = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("tiny-1.0.dist-info/RECORD", listed)
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock of that one package, and an empty cache."""
    monkeypatch.setenv("MEDALLION_CACHE", str(tmp_path / "Kurs für Anfänger"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))  # of others: it must not count here
    file = tmp_path / "orchestrator.lock"
    file.write_text(f"tiny==1.0 --hash=sha256:{wheel(tmp_path)}\n")
    monkeypatch.setattr(orchestrator, "lock_file", lambda: file)
    return file


def start(lock: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", INSTALL, str(lock)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def finding() -> str:
    [line] = next(check for check in doctor.CHECKS if check.subject == "Dagster").run()
    assert line.ok and not line.fix
    return line.finding


def test_a_set_up_that_was_killed_is_done_again_and_two_at_once_make_one(lock: Path) -> None:
    assert "`setup --orchestrator` installs it" in finding()
    killed = start(lock)
    while not orchestrator.folder().exists():
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert not orchestrator.ready()
    (orchestrator.folder().parent / ".DS_Store").touch()  # as the Finder of macOS leaves one
    with pytest.raises(MedallionError, match=r"not set up. Run `./medallion setup --orchestrator`"):
        orchestrator.program("tiny")

    both = [start(lock), start(lock)]
    said = [one.communicate()[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert sum("the orchestrator in" in one for one in said) == 1
    assert subprocess.check_output([orchestrator.program("tiny")], text=True) == "tiny runs\n"
    assert str(orchestrator.folder()) in finding()

    (orchestrator.folder() / "bin" / "python").unlink()  # as when the Python that it is made of is gone
    assert not orchestrator.ready()


def test_a_package_that_is_not_the_locked_one_leaves_no_environment(lock: Path) -> None:
    before = orchestrator.folder()
    lock.write_text(lock.read_text()[:-5] + "0000\n")
    assert orchestrator.folder() != before
    with pytest.raises(MedallionError, match=r"(?s)could not be installed.*DO NOT MATCH THE HASHES"):
        orchestrator.install(progress=False)
    assert not orchestrator.ready()


def test_a_python_without_pip_is_told_and_leaves_no_environment(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(place: Path, **_: object) -> None:
        place.mkdir(parents=True)
        raise subprocess.CalledProcessError(1, ["python", "-m", "ensurepip"], b"No module named ensurepip")

    monkeypatch.setattr(orchestrator.venv, "create", create)
    with pytest.raises(MedallionError, match=r"could not be made. Python said: No module named ensurepip"):
        orchestrator.install(progress=False)
    assert not orchestrator.ready()
