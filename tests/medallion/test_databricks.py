"""In a workspace of Databricks: where tables, files and models are, and what a start makes there.

No workspace is asked. What it would do is played by a session that keeps what it is told.
"""

import os
import re
import types
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest

import kestrel
import medallion
from medallion import contract, paths
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from medallion.lesson import arrivals, charts
from medallion.servers.tracking import store
from medallion.spark import databricks, session


@pytest.fixture
def at_work(monkeypatch, tmp_path):
    """A function that says where the course works, and whose word ends with the test."""
    monkeypatch.setattr(databricks, "_place", None)
    for name in ("MEDALLION_HOME", "MEDALLION_PROGRESS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(databricks, "_DBFS", tmp_path / "dbfs")
    monkeypatch.setattr(databricks, "_LINK", tmp_path / "medallion")
    return databricks.use


class Session:
    """A session that keeps the SQL it is told; `foreign` are the schemas that somebody else made."""

    def __init__(self, *foreign):
        self.told = []
        self.foreign = foreign

    def sql(self, text):
        self.told.append(text)
        name = text.split("`")[1] if "`" in text else ""
        comment = "Sales" if name in self.foreign else databricks.COMMENT
        rows = [("Namespace Name", name), ("Comment", comment)] if text.startswith("DESCRIBE") else []
        return types.SimpleNamespace(collect=lambda: rows, first=lambda: ("ann@example.org",))


def test_with_a_catalog_files_are_in_a_volume(at_work):
    assert databricks.chosen() is None and not databricks.has_catalog()
    at_work(" kestrel ", "medallion")
    assert databricks.chosen() == ("kestrel", "medallion") and databricks.has_catalog()
    assert medallion.landing() == Path("/Volumes/kestrel/medallion/files/landing")
    assert os.environ["MEDALLION_PROGRESS"] == "off"


def test_without_one_they_are_in_dbfs_under_one_name_for_python_and_spark(at_work, tmp_path):
    with pytest.raises(MedallionError, match="This compute has no DBFS"):
        at_work("", "medallion")
    (tmp_path / "dbfs").mkdir()
    for _ in range(2):
        at_work("", "course")
    (medallion.home() / "landing").mkdir(parents=True)
    assert (tmp_path / "dbfs" / "medallion" / "course" / "landing").is_dir()
    assert not databricks.has_catalog()


@pytest.mark.parametrize(
    ("catalog", "schema", "told"),
    [
        ("main; DROP", "medallion", "'main; DROP' is no name that the course can use"),
        ("main", "a`b", "'a`b' is no name"),
        ("main", "", "is no name"),
        ("main", "scratch", "The schema scratch is for tables"),
        ("main", "silver", "The schema silver is for tables"),
    ],
)
def test_a_name_that_will_not_do_is_told(at_work, catalog, schema, told):
    with pytest.raises(MedallionError, match=re.escape(told)):
        at_work(catalog, schema)
    assert databricks.chosen() is None


def test_a_start_makes_the_schemas_and_an_empty_scratch_and_looks_at_no_local_folder(
    at_work, tmp_path, monkeypatch
):
    at_work("kestrel", "medallion")
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    there = Session()
    monkeypatch.setattr(session, "_elsewhere", lambda: there)
    monkeypatch.setattr(tables, "require", lambda number: pytest.fail("asked for a local folder"))
    (tmp_path / "scratch" / "1").mkdir(parents=True)
    assert medallion.start("05") is there
    assert there.told[0] == "USE CATALOG `kestrel`"
    assert [text for text in there.told if "DROP" in text] == ["DROP SCHEMA scratch CASCADE"]
    for name in (*contract.SCHEMAS, "scratch", "medallion"):
        assert f"CREATE SCHEMA IF NOT EXISTS `{name}` COMMENT '{databricks.COMMENT}'" in there.told
    assert there.told[-2:] == ["CREATE VOLUME IF NOT EXISTS `medallion`.files", "USE SCHEMA `medallion`"]
    assert list((tmp_path / "scratch").iterdir()) == [medallion.scratch()]
    assert list(medallion.scratch().iterdir()) == []


def test_a_session_of_which_nobody_has_said_where_is_left_alone(at_work, monkeypatch):
    there = Session()
    monkeypatch.setattr(session, "_elsewhere", lambda: there)
    assert medallion.start("05") is there
    assert there.told == []


@pytest.mark.parametrize("schema", ["bronze", "scratch"])
def test_a_schema_of_somebody_else_is_not_touched(at_work, schema):
    at_work("kestrel", "medallion")
    there = Session(schema)
    with pytest.raises(MedallionError, match=f"The schema {schema} of kestrel was not made by this course"):
        databricks.begin(there)
    assert not any("DROP" in text for text in there.told)


def test_the_source_files_come_in_the_order_of_their_arrival(at_work, tmp_path, monkeypatch):
    at_work("kestrel", "medallion")
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "volume"))
    copied = []
    copy_one = databricks._copy
    monkeypatch.setattr(databricks, "_copy", lambda *both: (copied.append(both[1]), copy_one(*both)))
    brought = databricks.land(0.02)
    told = pd.read_csv(medallion.home() / databricks.ARRIVALS, parse_dates=["_arrived_at"])
    manifest = kestrel.manifest(medallion.landing())
    assert brought == len(told) == len(manifest["files"])
    assert set(told["_source_file"]) == {file["path"] for file in manifest["files"]}
    assert told["_arrived_at"].is_monotonic_increasing
    assert [str(path.relative_to(medallion.landing())) for path in copied[:-2]] == list(told["_source_file"])
    assert copied[-1].name == kestrel.MANIFEST
    customers = told.set_index("_source_file")["_arrived_at"]["customers/customers_2025-09-01.csv"]
    assert customers == pd.Timestamp("2025-09-01", tz="UTC")
    assert databricks.land(0.02) == 0


def test_runs_and_models_are_the_workspaces_with_a_catalog_and_on_the_drivers_disk_without(
    at_work, tmp_path, monkeypatch
):
    at_work("kestrel", "medallion")
    monkeypatch.setattr(databricks, "track", lambda experiment: f"id of {experiment}")
    assert store.use("churn") == "id of churn"
    (tmp_path / "dbfs").mkdir()
    at_work("", "medallion")
    assert store.place() == databricks.local() / "mlflow"
    monkeypatch.setattr(databricks, "_place", None)
    assert store.place() == paths.home() / "mlflow"


def test_an_experiment_is_in_the_folder_of_the_user(at_work, monkeypatch):
    import mlflow
    from pyspark.sql import SparkSession

    said = []
    monkeypatch.setattr(SparkSession, "active", classmethod(lambda cls: Session()))
    monkeypatch.setattr(mlflow, "set_registry_uri", said.append)
    monkeypatch.setattr(
        mlflow, "set_experiment", lambda name: (said.append(name), types.SimpleNamespace(experiment_id=7))[1]
    )
    assert databricks.track("churn") == "7"
    assert said == ["databricks-uc", "/Users/ann@example.org/medallion-churn"]


def test_a_chart_is_shown_by_plotly_with_its_words_below(at_work, monkeypatch, capsys):
    at_work("kestrel", "medallion")
    shown = []
    monkeypatch.setattr(go.Figure, "show", lambda figure: shown.append(figure))
    charts.show(figure := go.Figure(), alt="Nothing yet.")
    assert shown == [figure]
    assert capsys.readouterr().out == "Nothing yet.\n"


def test_replayed_files_keep_the_time_that_the_storage_gives(at_work, tmp_path, monkeypatch):
    at_work("kestrel", "medallion")
    monkeypatch.setattr(os, "utime", lambda *_: pytest.fail("a volume keeps no times"))
    moments = [pd.Timestamp("2025-07-01 01:00"), pd.Timestamp("2025-07-02 01:00")]
    written = arrivals.write(["a", "b"], moments, tmp_path / "in", hours=24)
    assert [path.name for path in written] == ["2025-07-02T000000.json", "2025-07-03T000000.json"]
