"""Where things are: folders with odd names, relative settings, and processes that look at the same moment."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from medallion import paths
from medallion.errors import MedallionError

ODD = ["{1}", "what?", "*", "a:b", "b`c"]
REFUSED = {
    "back\\slash": "'\\\\'",
    "two\nlines": "'\\n'",
    os.fsdecode(b"ol\xe9"): "'\\udce9'",
    "a%41": "'%41'",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDALLION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ODD)
def test_a_lakehouse_with_an_odd_path_is_reached_by_a_link(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = tmp_path / name / "lake"
    monkeypatch.setenv("MEDALLION_HOME", str(real))
    home = paths.home()
    assert home.parent == cache / "links" and home.resolve() == real
    assert paths.landing() == home / "landing" and paths.scratch().is_relative_to(home)
    assert paths.home() == home, "always the same one: checkpoints and MLflow keep the paths of files"
    elsewhere = tmp_path / f"{name} 2" / "lake"
    monkeypatch.setenv("MEDALLION_HOME", str(elsewhere))
    assert paths.home() != home


@pytest.mark.parametrize(("name", "odd"), REFUSED.items(), ids=map(ascii, REFUSED))
def test_a_path_that_no_link_mends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, odd: str
) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / name))
    with pytest.raises(MedallionError) as refused:
        paths.home()
    assert str(refused.value) == (
        f"The lakehouse cannot be in {str(tmp_path / name)!a}: Delta tables cannot have {odd} in their "
        "path. Set MEDALLION_HOME to another folder."
    )


def test_another_process_has_the_same_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "Kurs {1}"))
    program = "from medallion import paths; print(paths.home())"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(paths.home())


@pytest.mark.parametrize("name", ["Kurs für Anfänger", "50% & more", "o'neil, #1", "2026=27 (1)"])
def test_a_path_that_spark_bears_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / name))
    assert paths.home() == tmp_path / name and not paths.home().exists()


def test_an_odd_path_without_a_plain_cache_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "{1}"))
    monkeypatch.setenv("MEDALLION_CACHE", str(tmp_path / "[2]"))
    with pytest.raises(MedallionError) as refused:
        paths.home()
    assert str(refused.value) == (
        f"Spark cannot work in {tmp_path / '{1}'}, nor reach it by a link in {tmp_path / '[2]' / 'links'}. "
        "Set MEDALLION_HOME, or else MEDALLION_CACHE, to a folder without any of *?[]{}:` in its path."
    )


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's data; the clone is below a folder with brackets."""
    monkeypatch.delenv("MEDALLION_HOME", raising=False)
    monkeypatch.setattr(paths, "user_data_path", lambda _: tmp_path / "data")
    monkeypatch.setattr(paths, "root", lambda: tmp_path / "Kurs [2026] {ä}")
    return tmp_path / "data"


def test_below_brackets_the_lakehouse_is_in_the_user_s_data_and_written_by_deltalake(
    data: Path,
) -> None:
    home, asked = paths.home(), paths.root() / "lakehouse"
    assert home.parent == data / "lakehouses" and paths.home() == home
    assert asked.is_symlink() and asked.resolve() == home
    write_deltalake(str(home / "bronze" / "orders"), pa.table({"id": [1]}))
    write_deltalake(str(home / "bronze" / "orders"), pa.table({"id": [2]}), mode="append")
    assert DeltaTable(str(asked / "bronze" / "orders")).count() == 2


def test_a_lakehouse_that_came_below_brackets_is_refused_and_stays(data: Path) -> None:
    asked = paths.root() / "lakehouse"
    (asked / "bronze").mkdir(parents=True)
    with pytest.raises(MedallionError) as refused:
        paths.home()
    assert str(refused.value) == (
        f"The lakehouse cannot be in {asked}: Delta tables are not written below a path with '['. "
        "Rename the folder that has it in its name, or set MEDALLION_HOME."
    )
    assert (asked / "bronze").is_dir() and not data.exists()


def test_a_chosen_place_below_brackets_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(data / "[1]"))
    with pytest.raises(MedallionError, match=r"path with '\['\. Set MEDALLION_HOME to another folder\."):
        paths.home()
    assert not data.exists()


def test_relative_settings_mean_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": "lake1", "CACHE": "~/cache", "JAVA_HOME": ""}.items():
        monkeypatch.setenv(f"MEDALLION_{name}", value)
    paths.make_settings_absolute()
    monkeypatch.chdir("/")
    assert paths.home() == tmp_path / "lake1"
    assert os.environ["MEDALLION_CACHE"] == str(Path.home() / "cache")
    assert os.environ["MEDALLION_JAVA_HOME"] == ""


def test_many_at_once_find_a_folder_writable(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: paths.writable(tmp_path / "new", "MEDALLION_HOME"), range(800)))
    assert not list((tmp_path / "new").iterdir())


def full() -> IO[bytes]:
    return Path("/dev/full").open("wb")


def test_a_full_disk_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths.tempfile, "TemporaryFile", lambda dir: full())
    with pytest.raises(MedallionError, match=r"cannot be written \(No space left on device\)"):
        paths.writable(tmp_path, "MEDALLION_HOME")


def test_a_link_to_what_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "lake").symlink_to(tmp_path / "not mounted")
    with pytest.raises(MedallionError) as refused:
        paths.writable(tmp_path / "lake", "MEDALLION_HOME")
    assert f"(it is a link to {tmp_path / 'not mounted'}, which is not there)" in str(refused.value)


def test_a_log_that_another_process_removes_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    (tmp_path / "logs").mkdir()
    for number in range(25):
        (tmp_path / "logs" / f"spark-{number}.log").touch()
    found = Path.glob

    def removed_meanwhile(folder: Path, pattern: str) -> list[Path]:
        files = sorted(found(folder, pattern))
        files[3].unlink()
        return files

    monkeypatch.setattr(Path, "glob", removed_meanwhile)
    assert paths.log("spark") == tmp_path / "logs" / f"spark-{os.getpid()}.log"
    assert len(list((tmp_path / "logs").iterdir())) == 20
