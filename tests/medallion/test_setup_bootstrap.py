"""`./medallion`: what it refuses, when it hands over at once, and what it does with an unfinished `.venv`.

Each test runs the real script in a clone of its own, in a folder with spaces and accents, with
LANG=C, with a PATH on which every Python is one that the test put there, and without a network.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medallion import paths

TOOLS = (
    *("awk", "cksum", "df", "dirname", "env", "find", "head", "ln", "ls", "mkdir", "mv", "readlink", "rm"),
    *("sed", "sh", "tr"),
)


class Clone:
    """A clone with the script and the files it reads; `run` starts it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "Kurs für Anfänger"
        self.root.mkdir()
        self.tools = folder / "tools"
        self.tools.mkdir()
        for name in ("medallion", "requirements.lock", "pyproject.toml"):
            shutil.copy(paths.root() / name, self.root / name)
        for tool in TOOLS:
            if found := shutil.which(tool):
                (self.tools / tool).symlink_to(found)

    def python(self, name: str, script: str) -> Path:
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def command(self, *arguments: str, script: Path | None = None, **environ: str) -> dict:
        environ = {"PATH": str(self.tools), "LANG": "C", "PIP_NO_INDEX": "1", **environ}
        return {"args": [script or self.root / "medallion", *arguments], "env": environ, "cwd": "/"}

    def run(
        self, *arguments: str, script: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        told = self.command(*arguments, script=script, **environ)
        return subprocess.run(**told, capture_output=True, encoding="utf-8", timeout=180)

    def finish(self, root: Path | None = None) -> None:
        """Put a finished `.venv` there, whose `medallion` says what it was given."""
        root = root or self.root
        (root / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
        (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
        command = root / ".venv" / "bin" / "medallion"
        command.write_text('#!/bin/sh\nprintf "%s|" given "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        sums = [
            subprocess.run(
                ["cksum"], stdin=(root / name).open("rb"), capture_output=True, text=True
            ).stdout.strip()
            for name in ("requirements.lock", "pyproject.toml")
        ]
        (root / ".venv" / ".stamp").write_text(f"{root}\n{'/'.join(sums)}\n", encoding="utf-8")


OLD = "echo 3.10"
# A real Python without its venv module, as Debian ships it: set-up stops there, before it changes anything.
WITHOUT_VENV = f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"'


@pytest.fixture
def clone(tmp_path) -> Clone:
    return Clone(tmp_path)


def test_a_python_too_old_is_refused_and_named(clone):
    clone.python("python3", OLD)
    done = clone.run("--help")
    assert done.returncode == 1 and done.stdout == ""
    assert "Python 3.11, 3.12 or 3.13 is needed; python3 is Python 3.10." in done.stderr
    assert "set MEDALLION_PYTHON" in done.stderr
    assert not (clone.root / ".venv").exists()


def test_no_python_at_all(clone):
    done = clone.run()
    assert done.returncode == 1 and "no Python was found" in done.stderr


def test_the_named_python_decides_alone(clone):
    clone.python("python3", WITHOUT_VENV)
    done = clone.run(MEDALLION_PYTHON=str(clone.python("other", OLD)))
    assert done.returncode == 1 and "other is Python 3.10." in done.stderr
    done = clone.run(MEDALLION_PYTHON="/no/such/python")
    assert done.returncode == 1 and "MEDALLION_PYTHON, /no/such/python, does not run" in done.stderr


def test_a_python_without_venv_is_refused_with_the_package_to_install(clone):
    clone.python("python3", WITHOUT_VENV)
    done = clone.run()
    assert done.returncode == 1
    assert f"apt-get install python3.{sys.version_info.minor}-venv" in done.stderr


def test_a_finished_environment_takes_over_with_all_arguments(clone, tmp_path):
    clone.finish()
    assert clone.run("data", "--scale", "a b").stdout == "given|data|--scale|a b|"
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "course"
    link.symlink_to("../Kurs für Anfänger/medallion")
    assert clone.run("lab", script=link).stdout == "given|lab|"


def test_a_later_start_adds_well_under_a_second(clone):
    clone.finish()

    def seconds(script: Path) -> float:
        start = time.perf_counter()
        assert clone.run("x", script=script).stdout == "given|x|"
        return time.perf_counter() - start

    direct = min(seconds(clone.root / ".venv" / "bin" / "medallion") for _ in range(5))
    through = min(seconds(clone.root / "medallion") for _ in range(5))
    assert through - direct < 0.5


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_is_set_up_again(clone, changed):
    clone.finish()
    clone.python("python3", WITHOUT_VENV)
    with (clone.root / changed).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    done = clone.run()
    assert done.stdout == "" and "without its venv module" in done.stderr


def test_a_moved_clone_is_set_up_again(clone, tmp_path):
    clone.finish()
    clone.python("python3", WITHOUT_VENV)
    moved = clone.root.rename(tmp_path / "moved")
    done = clone.run(script=moved / "medallion")
    assert done.stdout == "" and "without its venv module" in done.stderr


def test_a_python_built_without_a_library_is_refused(clone):
    without = f'case "$*" in *_sqlite3*) echo sqlite3; exit ;; esac\nexec "{sys.executable}" "$@"'
    clone.python("python3", without)
    done = clone.run()
    assert done.returncode == 1 and "built without sqlite3. Set MEDALLION_PYTHON" in done.stderr


def test_a_venv_of_somebody_else_is_not_emptied(clone):
    clone.python("python3", f'exec "{sys.executable}" "$@"')
    (clone.root / ".venv").mkdir()
    (clone.root / ".venv" / "mine.txt").touch()
    done = clone.run()
    assert (
        done.returncode == 1 and "was not made by this course, which would empty it. Move it" in done.stderr
    )
    assert [path.name for path in (clone.root / ".venv").iterdir()] == ["mine.txt"]


def test_the_line_ends_of_windows_are_named_and_no_clone_has_them(clone):
    script = clone.root / "medallion"
    script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))
    done = subprocess.run(["sh", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "medallion: this clone has the line ends of Windows. Clone it again.\n"
    attributes = (paths.root() / ".gitattributes").read_text(encoding="utf-8")
    assert "\n* text=auto eol=lf\n" in attributes


def test_the_library_of_another_python_is_left_out_and_noted(clone):
    clone.finish()
    command = clone.root / ".venv" / "bin" / "medallion"
    command.write_text('#!/bin/sh\nprintf "%s" "${PYTHONHOME-none} $MEDALLION_LEFT_OUT"\n', encoding="utf-8")
    assert clone.run(PYTHONHOME="/usr").stdout == "none PYTHONHOME"


def test_an_unfinished_environment_is_made_afresh_and_stays_unfinished_without_a_network(clone, tmp_path):
    clone.finish()
    (clone.root / ".venv" / ".stamp").rename(clone.root / ".venv" / ".setup.lock")  # as after a kill half-way
    (clone.root / ".venv" / "half").mkdir()
    clone.python("python3", f'exec "{sys.executable}" "$@"')
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text("[install]\nuser = true\n", encoding="utf-8")
    done = clone.run(
        XDG_CONFIG_HOME=str(tmp_path),
        PIP_USER="1",
        PIP_TARGET="/t",
        PIP_CONSTRAINT="/none",
        PYTHONHOME="/none",
    )
    assert done.returncode == 1 and done.stdout == ""
    assert "No matching distribution found for" in done.stderr, "what others have told pip stops nothing"
    assert "set-up stopped while fetching the installer" in done.stderr
    assert "Check the network" in done.stderr
    assert not (clone.root / ".venv" / "half").exists()
    assert not (clone.root / ".venv" / ".stamp").exists()


def test_a_second_start_waits_for_the_first_and_then_uses_what_it_made(clone):
    clone.python("python3", f'exec "{sys.executable}" "$@"')
    (clone.root / ".venv").mkdir()
    with (clone.root / ".venv" / ".setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = clone.command("lab")
        second = subprocess.Popen(**told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        assert second.stderr is not None and second.stdout is not None
        assert "another set-up is at work here; waiting" in second.stderr.readline()
        clone.finish()
    out, err = second.communicate(timeout=90)
    assert (second.returncode, out, err) == (0, "given|lab|", "")


def test_the_script_is_executable_and_portable():
    script = paths.root() / "medallion"
    assert os.access(script, os.X_OK)
    for shell in ("dash", "sh"):
        if found := shutil.which(shell):
            subprocess.run([found, "-n", script], check=True)
