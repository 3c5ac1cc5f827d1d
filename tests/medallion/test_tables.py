"""The tables as folders: what is there, what a chapter needs, and how it goes away. No Spark here."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from medallion import contract
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from medallion.lakehouse.reset import reset


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lakehouse with a source, two tables of chapter 01, one of chapter 02, one of the learner's own."""
    home = tmp_path / "Kurs für Anfänger"
    monkeypatch.setenv("MEDALLION_HOME", str(home))
    for table, rows in {"bronze.orders": 3, "bronze.cdnow": 2, "silver.orders": 1, "gold.mine": 1}.items():
        tables.folder(table).parent.mkdir(parents=True, exist_ok=True)
        write_deltalake(str(tables.folder(table)), pa.table({"id": list(range(rows))}))
    for number in ("01", "02"):
        (tables.checkpoints(number) / "orders" / "commits").mkdir(parents=True)
    (home / "landing" / "orders").mkdir(parents=True)
    (home / "landing" / "orders" / "orders_2025-W27.jsonl").write_text("{}\n", encoding="utf-8")
    return home


def test_what_is_there(house: Path) -> None:
    (house / "silver" / "half").mkdir()
    (house / "silver" / "half" / "part-0.parquet").touch()
    assert tables.present() == ["bronze.cdnow", "bronze.orders", "gold.mine", "silver.orders"]
    assert tables.rows("bronze.orders") == 3
    assert tables.exists("landing.orders") and not tables.exists("landing.payments")
    assert not tables.exists("silver.half"), "a folder without a commit is no table"


@pytest.mark.parametrize("name", ["Backup of cdnow", ".old", "Cdnow", "cdnow (1)", "orders.bak", "b`; DROP"])
def test_a_copy_beside_the_tables_is_no_table(house: Path, name: str) -> None:
    shutil.copytree(house / "bronze" / "cdnow", house / "bronze" / name)
    assert tables.present() == ["bronze.cdnow", "bronze.orders", "gold.mine", "silver.orders"]


@pytest.mark.parametrize(
    "name", ["../../x.y", "/etc.passwd", "bronze.orders.x", "bronze", "bronze.", "b.a/b"]
)
def test_what_is_no_name_of_a_table_is_refused(house: Path, name: str) -> None:
    for asked in (tables.folder, tables.exists, tables.rows):
        with pytest.raises(MedallionError) as refused:
            asked(name)
        assert str(refused.value) == (
            f"{name!r} is no name of a table. Give schema and table, as in bronze.orders."
        )


def test_reset_removes_the_chapter_and_the_later_ones(house: Path, chapter_02: None) -> None:
    assert sorted(reset("01")) == ["bronze.cdnow", "bronze.orders", "silver.orders"]
    assert tables.present() == ["gold.mine"], "what no chapter makes is the learner's"
    assert not tables.checkpoints("01").exists() and not tables.checkpoints("02").exists()
    assert (house / "landing" / "orders" / "orders_2025-W27.jsonl").read_text(encoding="utf-8") == "{}\n"
    assert not (house / "cache" / "removed").exists()


def test_reset_leaves_the_earlier_chapters(house: Path, chapter_02: None) -> None:
    assert reset("2") == ["silver.orders"]
    assert tables.present() == ["bronze.cdnow", "bronze.orders", "gold.mine"]
    assert tables.checkpoints("01").exists() and not tables.checkpoints("02").exists()


def test_reset_is_safe_to_repeat(house: Path, chapter_02: None) -> None:
    reset("01")
    assert reset("01") == []
    assert tables.present() == ["gold.mine"]


def test_reset_goes_on_after_a_kill_half_way(house: Path, chapter_02: None) -> None:
    """A killed reset leaves what it had moved away, and a table whose commit is gone."""
    left = house / "cache" / "removed" / "bronze-products-1-1"
    left.mkdir(parents=True)
    (tables.folder("bronze.payments") / "_delta_log").mkdir(parents=True)
    assert "bronze.payments" in reset("01")
    assert not tables.folder("bronze.payments").exists() and not left.exists()


def chapter_02_leaves(folders: str) -> None:
    """Have the header of chapter 02 say what it leaves. A header is read once, so say it before."""
    source = contract.find("02")
    text = source.read_text(encoding="utf-8").replace(
        "#     makes:", f"#     leaves: {folders}\n#     makes:"
    )
    source.write_text(text, encoding="utf-8")


def test_reset_removes_the_folders_that_a_chapter_leaves(house: Path, chapter_02: None) -> None:
    chapter_02_leaves("[mlflow, feast]")
    (house / "mlflow" / "artifacts").mkdir(parents=True)
    (house / "mlflow" / "mlflow.db").touch()
    assert (contract.read("1").leaves, contract.read("2").leaves) == ([], ["mlflow", "feast"])
    assert reset("02") == ["silver.orders", "mlflow"]
    assert not (house / "mlflow").exists() and not (house / "cache" / "removed").exists()
    assert sorted(reset("01")) == ["bronze.cdnow", "bronze.orders"]
    assert reset("01") == []


@pytest.mark.parametrize(
    "folders",
    ["mlflow", "[a/b]", "[..]", "['']", "[/tmp]", "[7]", "[Landing]", "[.hidden]"]
    + [f"[mlflow, {name}]" for name in sorted(contract.SHARED)],
)
def test_a_chapter_leaves_only_folders_of_its_own(house: Path, chapter_02: None, folders: str) -> None:
    chapter_02_leaves(folders)
    (house / "mlflow").mkdir()
    with pytest.raises(MedallionError) as refused:
        reset("01")
    assert str(refused.value) == (
        f"{contract.shown(contract.find('02'))}:1: "
        "'leaves' lists folders of the lakehouse that this chapter alone makes, as in "
        "'leaves: [mlflow]'. A name has small letters, digits, '_' and '-', and is none of bronze, cache, "
        "checkpoints, default, gold, landing, logs, ml, ops, scratch, silver, sql, work."
    )
    assert tables.present() == ["bronze.cdnow", "bronze.orders", "gold.mine", "silver.orders"]
    assert (house / "mlflow").exists()


def test_reset_of_no_chapter(house: Path) -> None:
    with pytest.raises(MedallionError) as refused:
        reset("99")
    assert str(refused.value).startswith("There is no chapter 99. The chapters are 00, 01")
    assert tables.rows("bronze.orders") == 3


def test_a_missing_table_names_its_chapter_and_the_fix(house: Path, chapter_02: None) -> None:
    with pytest.raises(MedallionError) as refused:
        tables.require(contract.read("2"))
    assert str(refused.value) == (
        "Chapter 02 reads bronze.products, which chapter 01 makes. Catch up with `medallion catch-up 02`."
    )


def test_tables_of_several_chapters_that_are_missing(house: Path) -> None:
    with pytest.raises(MedallionError) as refused:
        tables.require(contract.read("08"))
    said = str(refused.value)
    assert said.startswith("Chapter 08 reads ")
    assert said.endswith(", which chapters 02, 04 and 05 make. Catch up with `medallion catch-up 08`.")


def test_a_missing_source_names_the_command(house: Path) -> None:
    with pytest.raises(MedallionError) as refused:
        tables.require(contract.read("01"))
    assert str(refused.value) == (
        f"Chapter 01 reads the source files in {house / 'landing'}, and landing.cdnow, landing.chargebacks, "
        "landing.customers, landing.lockers, landing.marketing, landing.payments, landing.products and "
        "landing.web_events are not there. Make the files with `medallion data`."
    )


def test_an_empty_source_folder_is_a_missing_source(house: Path) -> None:
    for source in [
        "cdnow",
        "chargebacks",
        "customers",
        "lockers",
        "marketing",
        "payments",
        "products",
        "web_events",
    ]:
        (house / "landing" / source).mkdir()
        (house / "landing" / source / "a file").touch()
    tables.require(contract.read("01"))
    next((house / "landing" / "payments").iterdir()).unlink()
    with pytest.raises(MedallionError, match=r", and landing\.payments is not there\. Make the files with"):
        tables.require(contract.read("01"))
