"""What goes wrong and is not the course's doing is told with its fix; what is our mistake is kept whole."""

import errno
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_notebook

from medallion.course.execute import CellFailed, execute
from medallion_cli import learner, main


def of_system(number: int, file: str | None = "/lake/progress.json") -> OSError:
    return OSError(number, os.strerror(number), file)


FAULTS = [
    (of_system(errno.ENOSPC), "/lake/progress.json cannot be used (No space left on device). Make room"),
    (of_system(errno.EDQUOT, None), "A file cannot be used (Disk quota exceeded). Make room on its disk"),
    (of_system(errno.EACCES), "cannot be used (Permission denied). It may be another user's, as root's"),
    (of_system(errno.EROFS), "(Read-only file system). Its disk can only be read. Set MEDALLION_HOME"),
    (of_system(errno.EISDIR), "(Is a directory). It is a folder in the place of a file. Move it away"),
    (of_system(errno.EMFILE, None), "(Too many open files). Allow more open files with `ulimit -n 4096`"),
    (of_system(errno.ENOMEM, None), "This machine has no memory left. Close other programs"),
    (OSError("libgomp.so.1: cannot open shared object file"), "file. A library of the system is missing"),
    (MemoryError(), "This machine has no memory left. Close other programs"),
    (ModuleNotFoundError("No.", name="_sqlite3"), "This Python was built without its module _sqlite3."),
    (ModuleNotFoundError("No.", name="duckdb.x"), f"The package duckdb is missing from {sys.prefix}."),
    (UnicodeEncodeError("ascii", "Kö", 1, 2, "no"), r"writes ascii, which has no '\xf6'. Set PYTHONUTF8=1"),
    (zmq.ZMQError(errno.ENAMETOOLONG), "cannot be reached (File name too long). Set MEDALLION_HOME and"),
]  # fmt: skip


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Exception], int]:
    """A function that runs a command which raises an error, and returns its status."""
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))

    def run(error: Exception) -> int:
        def fail(_: object) -> None:
            raise error

        monkeypatch.setattr(learner, "_progress", fail)
        return main(["progress"])

    return run


@pytest.mark.parametrize(("error", "told"), FAULTS)
def test_a_fault_of_the_machine_is_a_sentence_with_its_fix(
    failing: Callable[[Exception], int], capfd: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    assert failing(error) == 1
    said = capfd.readouterr().err
    assert said.startswith("medallion: ") and told in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "error",
    [
        KeyError("orders"),
        OSError("host='central.sonatype.com' refused"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/gone"),
        ModuleNotFoundError("No module named 'medallion.gone'", name="medallion.gone"),
    ],
)
@pytest.mark.parametrize("place", ["logs", "anywhere"])
def test_a_mistake_of_ours_is_called_one_and_its_traceback_kept(
    failing: Callable[[Exception], int],
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: Exception,
    place: str,
) -> None:
    if place == "anywhere":
        (tmp_path / "logs").touch()  # no folder, so no log can be written there
    assert failing(error) == 1
    said = capfd.readouterr().err
    assert f"medallion: a mistake of ours: {type(error).__name__}: " in said
    found = re.search(r"Send us (\S+\.log), which has the traceback\.", said)
    assert found is not None
    log = Path(found[1])
    assert (log.parent == tmp_path / "logs") == (place == "logs")
    text = log.read_text(encoding="utf-8")
    log.unlink()
    assert "Traceback (most recent call last)" in text and "in fail" in text


def test_only_this_user_can_read_that_traceback(failing: Callable[[Exception], int], tmp_path: Path) -> None:
    failing(KeyError("a"))
    (log,) = (tmp_path / "logs").iterdir()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


SIGNS = """
import sys
from medallion_cli import learner, main
learner._progress = lambda _: print("✓ done")
sys.exit(main(["progress"]))
"""


def shown(to: int | None, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", SIGNS],
        env={**os.environ, **environment},
        stdout=to,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()


def test_a_terminal_without_our_signs_gets_others() -> None:
    assert shown(subprocess.PIPE, PYTHONIOENCODING="latin-1") == (0, "? done\n", "")


def test_a_place_that_takes_no_output() -> None:
    with Path("/dev/full").open("wb") as full:
        status, _, said = shown(full.fileno())
    assert status == 1 and len(said.splitlines()) == 1
    assert "medallion: A file cannot be used (No space left on device). Make room on its disk" in said


def test_a_reader_that_has_gone_hears_nothing_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert shown(writer) == (1, "", "")
    os.close(writer)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """IPython in a notebook that has asked for its checks, with a lakehouse that can keep no log."""
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    (tmp_path / "logs").touch()
    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    shell.run_cell("import medallion\nfrom medallion import paths\ncheck = medallion.checks('02')")
    yield shell
    InteractiveShell.clear_instance()


def test_a_notebook_tells_a_fault_of_the_machine_short_and_leaves_the_learner_s_own_alone(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("paths.log('spark')")
    shown = capsys.readouterr().out
    assert "In line 1: paths.log('spark')\nFileExistsError: " in shown and len(shown.splitlines()) < 5
    assert (
        "logs cannot be used (File exists). There is a file in the place of a folder. Move it away" in shown
    )
    shell.run_cell("import re as check")
    for own in ("open('/nowhere')", "import nowhere", "undefined", "check.compile(undefined)"):
        shell.run_cell(own)
        shown = capsys.readouterr().out
        assert "Traceback (most recent call last)" in shown and f"----> 1 {own}" in shown


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("check.split(split)", "exercise 2.1 needs split, which is not there yet. Run the cell above first"),
        ("spark.table('bronze.orders')", "spark is not there yet. Run the first cell of this notebook"),
    ],
)
def test_a_cell_that_runs_too_early_says_which_comes_first(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str, told: str
) -> None:
    shell.run_cell(cell)
    shown = capsys.readouterr().out
    assert f"NameError: {told}" in shown and len(shown.splitlines()) < 4


def test_a_kernel_says_so_before_its_first_cell(tmp_path: Path) -> None:
    notebook = new_notebook(cells=[new_code_cell("answer = 1\ncheck.split(answer)")])
    with pytest.raises(CellFailed) as failed:
        execute(notebook, tmp_path)
    assert failed.value.line == 2
    assert failed.value.short.startswith("NameError: check is not there yet. Run the first cell")


def test_an_error_with_a_mend_is_one_line_in_any_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell.instance()
    try:
        shell.run_cell("import medallion\nmedallion.start('77')")
        shown = capsys.readouterr().out
    finally:
        InteractiveShell.clear_instance()
    assert "MedallionError: There is no chapter 77." in shown and "Traceback" not in shown
