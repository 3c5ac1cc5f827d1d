"""What the command line refuses before it begins, and what it asks. No Spark here."""

import io
import os
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

import medallion_cli
from medallion.lakehouse import tables
from medallion.machine import setup


@pytest.fixture(autouse=True)
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lakehouse with a table of chapter 01, on a machine where nothing may be set up."""
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    for name in ("prepare", "prepare_spark"):
        monkeypatch.setattr(setup, name, lambda **_: pytest.fail("it was set up before it was refused"))
    (tmp_path / "bronze").mkdir()
    write_deltalake(str(tmp_path / "bronze" / "orders"), pa.table({"id": [1, 2, 3]}))
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        *([name, ""] for name in ("run", "catch-up", "reset", "build", "test")),
        ["run", "01", " "],
        ["new", "", "x"],
    ],
    ids=" ".join,
)
def test_an_empty_number_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert medallion_cli.main(command) == 1
    assert capsys.readouterr().err == (
        "medallion: The number of the chapter is empty. Give one, such as 01.\n"
    )
    assert tables.present() == ["bronze.orders"]


@pytest.mark.parametrize("command", ["run", "catch-up", "reset", "build", "test"])
def test_no_chapter_is_told_before_anything_is_set_up(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert medallion_cli.main([command, "nonsense"]) == 1
    assert capsys.readouterr().err.startswith("medallion: There is no chapter nonsense. The chapters are 00")


@pytest.mark.parametrize("command", [["setup", "--from-dir", ""], ["export", "databricks", "--to", ""]])
def test_an_empty_folder_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        medallion_cli.main(command)
    assert ended.value.code == 2
    assert "the folder is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "terminal", "arguments", "removed"),
    [
        ("", True, [], False),
        ("n\n", True, [], False),
        ("y\n", True, [], True),
        ("", True, ["--yes"], True),
        ("", False, [], True),
    ],
    ids=["end of input", "no", "yes", "--yes", "a script"],
)
def test_a_reset_asks_on_a_terminal(
    answer: str,
    terminal: bool,
    arguments: list[str],
    removed: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stdin = io.StringIO(answer)
    monkeypatch.setattr(stdin, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert medallion_cli.main(["reset", "01", *arguments]) == 0
    assert (tables.present() == []) is removed
    said = capsys.readouterr().out
    assert said.endswith("Removed bronze.orders.\n" if removed else "Nothing was removed.\n")
    asked = "This removes what chapters made:\n01: bronze.orders (0.0 MB)\nGo on? [y/N] "
    assert said.startswith(asked) is (terminal and not arguments)


def test_a_reset_with_nothing_to_remove_does_not_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert medallion_cli.main(["reset", "02"]) == 0
    assert capsys.readouterr().out == "There was nothing to remove.\n"


def test_a_relative_lakehouse_is_the_same_for_what_a_command_starts(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("MEDALLION_HOME", house.name)
    assert medallion_cli.main(["reset", "02"]) == 0
    assert os.environ["MEDALLION_HOME"] == str(house)
