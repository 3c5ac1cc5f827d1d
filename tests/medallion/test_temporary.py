"""Temporary folders: where they are made, and that nothing of them stays after a kill."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from medallion import temporary
from medallion.errors import MedallionError


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder that suits, in force as the one for temporary files; pytest's own is made before."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def noexec(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    flags = dict.fromkeys(folders, os.ST_NOEXEC)
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(f_flag=flags.get(folder, 0)))


def test_a_folder_is_private_and_goes_at_the_end_of_the_block(short: Path) -> None:
    with temporary.folder("x-") as made:
        assert made.parent == short and made.name.startswith("medallion-course-x-")
        assert made.stat().st_mode & 0o777 == 0o700
    assert not made.exists()


def test_a_place_without_programs_or_with_a_long_path_is_not_taken(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert temporary.place() == short
    (long := short / ("x" * 100)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert temporary.place() == Path("/tmp")
    monkeypatch.setenv("MEDALLION_CACHE", str(short / "cache"))
    noexec(monkeypatch, Path("/tmp"))
    assert temporary.place() == short / "cache" / "tmp"
    noexec(monkeypatch, Path("/tmp"), short / "cache" / "tmp")
    with pytest.raises(MedallionError) as refused:
        temporary.place()
    assert f"{long} has a path of more than 60 characters" in str(refused.value)
    assert "/tmp is mounted noexec" in str(refused.value) and "Set TMPDIR" in str(refused.value)


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_has_is_not(short: Path) -> None:
    program = "from medallion import temporary; print(temporary.of_process(), flush=True); input()"
    environment = {**os.environ, "TMPDIR": str(short)}
    command = [sys.executable, "-c", program]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as child:
        assert child.stdout is not None
        made = Path(child.stdout.readline().strip())
        (made / "blockmgr").mkdir()
        os.utime(made, (0, 0))
        with temporary.folder():
            assert made.is_dir(), "its process lives"
        child.kill()
        child.wait()
        with temporary.folder():
            assert not made.exists()


def test_a_forked_process_leaves_its_parent_s_folder(short: Path) -> None:
    program = (
        "import os; from medallion import temporary; made = temporary.of_process()\n"
        "if (child := os.fork()): os.waitpid(child, 0); print(made.is_dir())"
    )
    environment = {**os.environ, "TMPDIR": str(short)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
    assert not list(short.glob("medallion-course-*"))
