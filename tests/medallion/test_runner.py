"""A run of the chapters: what it leaves out after an interruption, and what catch-up needs. No Spark here."""

import io
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from rich.console import Console

from medallion import contract, paths
from medallion.contract import Contract
from medallion.course import durations, journal, report, runner
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from press.lineage.observed import Edge, Observed
from press.recorded import lineage_table, seconds
from press.source import pages
from press.source.chapter import parse

HEADER = """\
# ---
# jupyter:
#   medallion:
#     makes:
#       {makes}
{more}#     grain: {{{table}: one row}}
#     minutes: {{read: 1, practise: 1}}
#     objectives: [go on]
#     summary: going on
#     outline: It goes on.
# ---
"""
CONTRACTS = {
    "01_one": ("bronze.a: [landing.a]", ""),
    "02_two": ("silver.a: [bronze.a]", "#     leaves: [models]\n"),
    "03_three": ("gold.a: [silver.a]", ""),
    "04_four": ("gold.b: [bronze.a]", ""),
}


class Broken(Exception):
    """What a cell fails with."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A course of four chapters, and a lakehouse with its source files."""
    folder = tmp_path / "chapters"
    for name, (makes, more) in CONTRACTS.items():
        header = HEADER.format(makes=makes, more=more, table=makes.split(":")[0])
        (folder / name).mkdir(parents=True)
        (folder / name / "lesson.py").write_text(header, encoding="utf-8")
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        (tmp_path / "notebooks" / f"{name}.ipynb").touch()
    home = tmp_path / "Kurs für Anfänger"
    (home / "landing" / "a").mkdir(parents=True)
    (home / "landing" / "a" / "a.jsonl").touch()
    (home / "landing" / "_manifest.json").write_text('{"scale": 1}', encoding="utf-8")
    monkeypatch.setenv("MEDALLION_HOME", str(home))
    monkeypatch.delenv("MEDALLION_PROFILE", raising=False)
    monkeypatch.setattr(contract, "folder", lambda: folder)
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    monkeypatch.setattr(durations, "FILE", "book/none.yml")
    contract.chapters.cache_clear()
    yield home
    contract.chapters.cache_clear()


@pytest.fixture
def played(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The chapters that were run, in order. Running one makes its tables, and what it leaves."""
    ran: list[str] = []

    def play(chapter: Contract, progress: bool) -> None:
        ran.append(chapter.number)
        for table in chapter.makes:
            assert not tables.exists(table), "a chapter begins from the state before it"
            tables.folder(table).parent.mkdir(parents=True, exist_ok=True)
            write_deltalake(tables.folder(table), pa.table({"id": [1, 2, 3]}))
        for name in chapter.leaves:
            (home / name).mkdir()
            (home / name / "model").touch()

    monkeypatch.setattr(runner, "_execute", play)
    return ran


@pytest.fixture
def interrupt(played: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that runs chapters, and breaks one of them off once it has made its tables."""

    def run(number: str, *numbers: str, by: type[BaseException] = KeyboardInterrupt) -> None:
        play = runner._execute

        def broken(this: Contract, progress: bool) -> None:
            play(this, progress)
            if this.number == number:
                raise by

        with monkeypatch.context() as patch, pytest.raises(by):
            patch.setattr(runner, "_execute", broken)
            runner.run(numbers, progress=False)
        played.clear()

    return run


def test_a_run_that_ended_well_leaves_nothing_to_resume(played: list[str]) -> None:
    runner.run([], progress=False)
    runner.run([], progress=False)
    assert played == ["01", "02", "03", "04"] * 2


@pytest.mark.parametrize("by", [KeyboardInterrupt, Broken, MedallionError])
def test_a_run_goes_on_with_the_chapter_that_was_interrupted(
    played: list[str],
    interrupt: Callable[..., None],
    by: type[BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt("03", by=by)
    ran = runner.run([])
    assert played == ["03", "04"]
    assert [(one.number, one.earlier, one.rows) for one in ran] == [
        ("01", True, {"bronze.a": 3}),
        ("02", True, {"silver.a": 3}),
        ("03", False, {"gold.a": 3}),
        ("04", False, {"gold.b": 3}),
    ]
    said = capsys.readouterr().err
    assert "01 to 02 were built before the run was interrupted; going on with 03." in said
    assert "`medallion run --anew` begins again." in said
    assert "Chapters 03 to 04 take a time that is not known yet." in said
    runner.run([], progress=False)
    assert played == ["03", "04", "01", "02", "03", "04"]


def test_it_may_be_interrupted_again_and_again(played: list[str], interrupt: Callable[..., None]) -> None:
    for number in ("01", "02", "02", "04"):
        interrupt(number)
    runner.run([], progress=False)
    assert played == ["04"]


def test_a_kill_after_the_last_chapter_leaves_nothing_to_do(
    played: list[str],
    interrupt: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(journal, "end", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        runner.run(["1", "2"], progress=False)
    played.clear()
    assert len(runner.run(["1", "2"])) == 2
    assert "01 to 02 were built before the run was interrupted; nothing is left to do." in (
        capsys.readouterr().err
    )
    assert played == []
    runner.run(["1", "2"], progress=False)
    assert played == ["01", "02"]


def test_anew_begins_again(played: list[str], interrupt: Callable[..., None]) -> None:
    interrupt("03")
    runner.run([], progress=False, anew=True)
    assert played == ["01", "02", "03", "04"]


def test_a_run_that_records_builds_again_what_was_built_without_a_record(
    played: list[str], interrupt: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def observing(number: str) -> Iterator[Callable[[], Observed]]:
        yield lambda: Observed([Edge("landing.orders", "bronze.orders", number, "spark")], {})

    monkeypatch.setattr(lineage_table.observed, "observing", observing)
    interrupt("03")
    runner.run([], progress=False, recorder=lineage_table)
    makers = [number for number in contract.chapters() if contract.read(number).makes]
    assert [number for number in played if number in makers] == makers
    assert lineage_table.recorded() == set(makers)
    assert all(runner._is_complete(contract.read(number), lineage_table) for number in makers)


def test_other_numbers_are_another_run(played: list[str], interrupt: Callable[..., None]) -> None:
    interrupt("03", "1", "3")
    runner.run(["3", "4", "1"], progress=False)
    assert played == ["01", "03", "04"]


def spoil_source(home: Path) -> None:
    (home.parent / "notebooks" / "02_two.ipynb").write_text("{}\n", encoding="utf-8")


def spoil_table(home: Path) -> None:
    shutil.rmtree(tables.folder("silver.a"))


def spoil_folder(home: Path) -> None:
    shutil.rmtree(home / "models")


@pytest.mark.parametrize("spoil", [spoil_source, spoil_table, spoil_folder])
def test_a_chapter_that_changed_or_is_missing_is_run_again_and_all_after_it(
    home: Path, played: list[str], interrupt: Callable[..., None], spoil: Callable[[Path], None]
) -> None:
    interrupt("04")
    spoil(home)
    runner.run([], progress=False)
    assert played == ["02", "03", "04"]


def test_other_data_or_another_profile_begins_again(
    home: Path, played: list[str], interrupt: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt("03")
    (home / "landing" / "_manifest.json").write_text('{"scale": 2}', encoding="utf-8")
    interrupt("03")
    monkeypatch.setenv("MEDALLION_PROFILE", "scale")
    runner.run([], progress=False)
    assert played == ["01", "02", "03", "04"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", "\0", '{"version": 1, "numbers": []}', '{"version": 2, "seconds": 1}'),
        *('{"version": 2, "numbers": 7, "done": []}', '{"version": 2, "done": {"01": 3}}'),
    ],
)
def test_a_journal_that_cannot_be_read_is_as_none(
    home: Path, played: list[str], interrupt: Callable[..., None], text: str
) -> None:
    interrupt("03")
    journal.file().write_text(text, encoding="utf-8")
    assert journal.load() == journal.Journal()
    runner.run([], progress=False)
    assert played == ["01", "02", "03", "04"]


def test_a_chapter_that_breaks_its_promise_is_not_done(
    played: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        monkeypatch.context() as patch,
        pytest.raises(MedallionError, match=r"^Chapter 01_one promises bronze\.a and"),
    ):
        patch.setattr(runner, "_execute", lambda chapter, progress: None)
        runner.run([], progress=False)
    runner.run([], progress=False)
    assert played == ["01", "02", "03", "04"]


def test_two_runs_at_once_are_refused(home: Path, played: list[str]) -> None:
    with journal.alone(), pytest.raises(MedallionError) as refused:
        runner.run([], progress=False)
    assert str(refused.value) == (
        f"Another run is at work on {home}. Wait until it has ended, or set MEDALLION_HOME to another "
        "folder for this one."
    )
    assert played == []
    runner.run(["1"], progress=False)


def test_the_table_that_closes_a_run_marks_what_was_there(
    played: list[str], interrupt: Callable[..., None]
) -> None:
    interrupt("02", "1", "2")
    console = Console(file=io.StringIO(), width=80)
    report.print_ran(runner.run(["1", "2"], progress=False), console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "01 one*" in shown and "02 two " in shown and "2 chapters" in shown
    assert "* built before the run was interrupted" in shown


# Catching up


def needed(number: str) -> list[str]:
    return [one.number for one in runner.missing_makers(contract.read(number))]


def test_catching_up_runs_the_makers_of_what_is_missing(
    home: Path, played: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [one.number for one in runner.catch_up("4")] == ["01"]
    said = capsys.readouterr().err
    assert "Chapter 04 needs what 01 makes." in said
    assert "Chapter 01 takes a time that is not known yet." in said
    assert runner.catch_up("04") == []
    assert [one.number for one in runner.catch_up("3", progress=False)] == ["02"]
    assert needed("03") == []
    shutil.rmtree(tables.folder("silver.a"))
    shutil.rmtree(tables.folder("bronze.a"))
    assert needed("3") == ["01", "02"]
    assert needed("01") == []


def test_a_folder_beside_the_tables_is_needed_too(home: Path, played: list[str]) -> None:
    runner.run(["1", "2"], progress=False)
    spoil_folder(home)
    assert needed("03") == ["02"]
    assert needed("04") == []


def test_what_an_interrupted_run_had_begun_is_made_again(
    played: list[str], interrupt: Callable[..., None]
) -> None:
    """Its tables are there, and nobody knows whether they are whole."""
    interrupt("02")
    assert tables.exists("silver.a")
    assert needed("04") == []
    assert needed("03") == ["02"]
    runner.run(["4"], progress=False)  # a run of its own, which does not fix it
    assert [one.number for one in runner.catch_up("03", progress=False)] == ["02"]
    assert needed("03") == []


# How long it takes


def test_an_estimate_says_how_it_is_known(
    home: Path, played: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"01": 105, "02": 180, "03": 20}
    monkeypatch.setattr(durations, "load", lambda target: there)
    on_two = "by what they took on two cores at scale 1"
    assert durations.estimate(["01", "02"]) == f"about 5 minutes, {on_two}"
    assert durations.estimate(["03"]) == f"about 20 seconds, {on_two}"
    assert durations.estimate(["04"]) == "a time that is not known yet"
    runner.run(["1"], progress=False)
    journal.ended(contract.read("02"), 61)
    assert durations.estimate(["01", "02"]) == "about 60 seconds, by what they took here last"
    assert durations.estimate(["02", "03"]) == (
        "about 80 seconds, by what they took here last, or else on two cores at scale 1"
    )
    journal.file().write_text("[]", encoding="utf-8")
    assert durations.estimate(["01", "02"]) == f"about 5 minutes, {on_two}"


def test_a_run_says_what_is_left_by_what_its_chapters_really_took(
    played: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(perf_counter=itertools.count(0, 300).__next__)  # each chapter takes 300 seconds
    monkeypatch.setattr(runner, "time", clock)
    runner.run(["1", "2"])
    assert "Left" not in capsys.readouterr().err  # nothing to compare with
    monkeypatch.setattr(durations, "load", lambda target: {"01": 100, "02": 50, "03": 21})
    runner.run(["1", "2", "3"])
    left = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Left")]
    assert left == [
        "Left: about 4 minutes, at the pace so far.",
        "Left: about 80 seconds, at the pace so far.",
    ]
    runner.run(["1", "4"])
    assert "Left" not in capsys.readouterr().err


def test_what_the_repository_has_stays_unless_it_is_off_by_more_than_half(home: Path, tmp_path: Path) -> None:
    held = seconds.renewed({"09": 5}, "01", 103.4)
    assert held == {"01": 105}, "a chapter that is gone takes its seconds along"
    assert seconds.renewed(held, "01", 60) == seconds.renewed(held, "01", 150) == held
    assert seconds.renewed(held, "01", 40) == {"01": 40}
    assert seconds.renewed(held, "02", 0.2) == {"01": 105, "02": 5}
    file = tmp_path / durations.FILE
    file.parent.mkdir()
    file.write_text(seconds.text(held), encoding="utf-8")
    assert durations.load(tmp_path) == held
    file.write_text("- 1\n", encoding="utf-8")
    with pytest.raises(MedallionError, match=r"none\.yml cannot be read .* `git restore book/none\.yml`"):
        durations.load(tmp_path)


def test_the_repository_has_the_seconds_of_every_chapter() -> None:
    assert list(durations.load(paths.root())) == list(contract.chapters())


# The notebook that is run


def write_notebook(chapter: Contract, cells: str) -> None:
    """Add cells to the lesson of a chapter, and write the notebook that is made of it."""
    with chapter.path.open("a", encoding="utf-8") as lesson:
        lesson.write(f"\n# %% [markdown]\n# # A chapter\n\n{cells}")
    chapter.notebook.write_text(
        pages.to_text(pages.notebook_page(parse(chapter.path)).notebook), encoding="utf-8"
    )


def test_a_notebook_that_is_not_that_of_its_lesson_is_refused(home: Path) -> None:
    chapter = contract.read("01")
    write_notebook(chapter, "# %%\n1 + 1\n")
    runner._execute(chapter, progress=False)
    with chapter.path.open("a", encoding="utf-8") as lesson:
        lesson.write("\n# more\n")
    for spoil in (lambda: None, chapter.notebook.unlink, chapter.notebook.touch):
        spoil()
        with pytest.raises(
            MedallionError, match=r"^notebooks/01_one\.ipynb is not that of .*lesson\.py\. Make it"
        ):
            runner._execute(chapter, progress=False)


def test_a_cell_that_fails_is_named_as_the_reader_counts(home: Path) -> None:
    chapter = contract.read("01")
    write_notebook(
        chapter, "# %%\n1 + 1\n\n# %% [markdown]\n# Text.\n\n# %%\none = 1\nraise ValueError('no room.')\n"
    )
    with pytest.raises(MedallionError) as failed:
        runner._execute(chapter, progress=False)
    assert str(failed.value) == (
        "notebooks/01_one.ipynb: line 2 of code cell 2 fails: ValueError: no room. "
        "`medallion doctor` looks for what this machine lacks."
    )


# A kill, with kernels

PROGRAM = """
from pathlib import Path
from medallion import contract, paths
from medallion.course import runner
contract.folder = lambda: Path({folder!r}) / "chapters"
paths.root = lambda: Path({folder!r})
for one in runner.run([]):
    print(one.number, one.earlier, one.rows)
"""
CELLS = """\
# %%
import os, time
from pathlib import Path
import pyarrow as pa
from deltalake import write_deltalake
home = Path(os.environ["MEDALLION_HOME"])
(home / "ran").open("a").write("{number} ")
write_deltalake(home / "{schema}" / "a", pa.table({{"id": [1, 2]}}))
(home / "models").mkdir(exist_ok=True)
(home / "models" / "model").touch()

# %%
if "{number}" == "02" and not (home / "go").exists():
    (home / "pid.new").write_text(str(os.getpid()))
    (home / "pid.new").rename(home / "pid")
    time.sleep(300)
"""


def test_a_run_that_was_killed_goes_on(home: Path, tmp_path: Path) -> None:
    contract.find("04").unlink()
    for number, schema in {"01": "bronze", "02": "silver", "03": "gold"}.items():
        write_notebook(contract.read(number), CELLS.format(number=number, schema=schema))
    command = [sys.executable, "-c", PROGRAM.format(folder=str(tmp_path))]
    how: dict[str, Any] = {
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "encoding": "utf-8",
    }
    first = subprocess.Popen(command, **how)
    wait_for((home / "pid").exists, first)
    second = subprocess.run(command, **how, check=False)
    assert second.returncode == 1 and f"Another run is at work on {home}." in second.stderr
    first.kill()
    first.communicate()
    kernel = int((home / "pid").read_text())
    wait_for(lambda: not psutil.pid_exists(kernel))
    assert json.loads(journal.file().read_text(encoding="utf-8"))["unfinished"] == ["02"]
    (home / "go").touch()
    third = subprocess.run(command, **how, check=False)
    assert third.stdout.splitlines() == [
        "01 True {'bronze.a': 2}",
        "02 False {'silver.a': 2}",
        "03 False {'gold.a': 2}",
    ], third.stderr
    assert "01 was built before the run was interrupted; going on with 02." in third.stderr
    assert (home / "ran").read_text() == "01 02 02 03 "


def wait_for(holds: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)
