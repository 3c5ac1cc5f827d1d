"""What chapter 09 promises of an erasure: nobody else goes, it can be asked again, and it survives a kill."""

import hashlib
import hmac
import json
import re
import shutil
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import medallion

HELPERS = {
    "mentions",
    "drop_lines",
    "forget_online",
    "addresses_of",
    "vacuum_now",
    "digest",
    "identifiers_in",
}
HELPERS |= {"commits", "renew"}
NOBODY = {"tickets": 0, "quarantine": 0, "landing": 0, "online": 0}

pytestmark = pytest.mark.usefixtures("interpreted", "no_progress")


class Killed(Exception):
    """The process ends here."""


class Dying:
    """A session that ends after some statements."""

    def __init__(self, spark: SparkSession, statements: int) -> None:
        self.spark, self.left = spark, statements

    def __getattr__(self, name: str) -> Any:
        return getattr(self.spark, name)

    def sql(self, statement: str) -> Any:
        if not self.left:
            raise Killed
        self.left -= 1
        return self.spark.sql(statement)


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> Iterator[dict[str, Any]]:
    defining = HELPERS | {"erase", "obeying"}
    given = {"json": json, "re": re, "hashlib": hashlib, "hmac": hmac, "sqlite3": sqlite3, "shutil": shutil}
    given |= {
        "closing": closing,
        "unquote": unquote,
        "unicodedata": unicodedata,
        "spark": spark,
        "F": F,
        "medallion": medallion,
    }
    yield run_cells("09", defining=defining, **given)


@pytest.fixture
def desk() -> Iterator[Path]:
    folder = medallion.checks("09").erase.desk()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def files_go_by_hand(chapter: dict[str, Any]) -> Iterator[None]:
    """Let `vacuum_now` delete the unused files in Python: VACUUM is half of an erasure, and not the point."""

    def vacuum_now(table: str) -> None:
        used = {Path(file).name for file in chapter["spark"].sql(f"SELECT * FROM {table}").inputFiles()}
        for file in Path(table.split("`")[1]).glob("*.parquet"):
            if file.name not in used:
                file.unlink()

    vacuum = chapter["vacuum_now"]
    chapter["vacuum_now"] = vacuum_now
    yield
    chapter["vacuum_now"] = vacuum


def texts(desk: Path) -> dict[str, str]:
    return {file.name: file.read_text("utf-8") for file in desk.glob("*.jsonl")}


@pytest.mark.usefixtures("files_go_by_hand")
def test_somebody_who_never_was_takes_nothing_away(chapter: dict[str, Any], desk: Path) -> None:
    before = texts(desk)
    assert chapter["erase"](desk, "C000777") == NOBODY
    assert texts(desk) == before


def test_asked_twice_it_removes_nothing_the_second_time(chapter: dict[str, Any], desk: Path) -> None:
    check = medallion.checks("09").erase
    assert chapter["erase"](desk, "C000001") == check.proof
    assert chapter["erase"](desk, "C000001") == NOBODY
    assert check.left(desk, "C000001") is None and check.others(desk, "C000001") is None


@pytest.mark.usefixtures("files_go_by_hand")
@pytest.mark.parametrize("statements", [1, 2, 3], ids=["tickets found", "tickets marked", "tickets purged"])
def test_killed_half_way_it_finishes_when_asked_again(
    chapter: dict[str, Any], desk: Path, spark: SparkSession, statements: int
) -> None:
    check = medallion.checks("09").erase
    chapter["spark"] = Dying(spark, statements)
    try:
        with pytest.raises(Killed):
            chapter["erase"](desk, "C000001")
    finally:
        chapter["spark"] = spark
    assert check.left(desk, "C000001") is not None
    chapter["erase"](desk, "C000001")
    assert check.left(desk, "C000001") is None and check.others(desk, "C000001") is None


@pytest.mark.parametrize("statements", range(4))
def test_a_new_table_killed_at_each_step_is_there_in_the_end(
    chapter: dict[str, Any], spark: SparkSession, statements: int
) -> None:
    name = f"killed_{statements}"
    spark.sql(f"CREATE TABLE scratch.shop_{name} AS SELECT id FROM range(3)")
    query = f"SELECT * FROM scratch.shop_{name} WHERE id <> 1"
    chapter["spark"] = Dying(spark, statements)
    try:
        with pytest.raises(Killed):
            chapter["renew"](name, query)
    finally:
        chapter["spark"] = spark
    stray = medallion.scratch() / f"shop_{name}_new" / "stray.parquet"
    if statements < 3:  # the old table is still there, and a writer was killed in the middle of a file
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"half a file")
    chapter["renew"](name, query)
    assert [row.id for row in spark.table(f"scratch.shop_{name}").orderBy("id").collect()] == [0, 2]
    folder = medallion.scratch() / f"shop_{name}"
    assert [one.name for one in sorted((folder / "_delta_log").glob("*.json"))] == [f"{0:020}.json"]


def test_a_kill_leaves_the_landing_file_complete(
    chapter: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tickets.jsonl"
    file.write_text("C000001\nC000002\n", "utf-8")

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            chapter["drop_lines"](file, ["C000001"])
    assert file.read_text("utf-8") == "C000001\nC000002\n"
    assert chapter["drop_lines"](file, ["C000001"]) == 1
    assert file.read_text("utf-8") == "C000002\n"


def test_the_person_comes_back_only_without_the_register(chapter: dict[str, Any]) -> None:
    backup = ['{"customer_id": "C000001"}', '{"customer_id": null, "reply_to": "ADA@example.com"}', "C000002"]
    register = {chapter["digest"](name, b"k") for name in ("C000001", "ada@example.com")}
    assert chapter["obeying"](backup, register, b"k") == ["C000002"]
    assert chapter["obeying"](backup, set(), b"k") == backup


def test_a_note_ends_with_its_block_and_silence_is_found(
    spark: SparkSession, run_cells: Callable[..., dict[str, Any]]
) -> None:
    names = run_cells("09", defining={"because", "unexplained"}, spark=spark, json=json)
    with pytest.raises(Killed), names["because"](who="lena"):
        assert json.loads(spark.conf.get(names["NOTE"]) or "") == {"who": "lena"}
        raise Killed
    assert spark.conf.get(names["NOTE"], None) is None
    history = spark.sql("""
        SELECT * FROM VALUES (0, NULL), (1, '{"who": "lena"}'), (2, '{"who": ""}'), (3, 'a note')
        AS t(version, userMetadata)""")
    assert names["unexplained"](history) == [0, 2, 3]
