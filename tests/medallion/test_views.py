"""Views kept as text: what is stored, what a later session has, and what a broken file does."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

import medallion
from medallion import contract
from medallion.course import runner
from medallion.errors import MedallionError
from medallion.lakehouse import tables, view_files
from medallion.lakehouse.reset import reset
from press.recorded import schemas
from press.reference import reference
from press.source.chapter import parse

METRICS = """
create VIEW gold.sales_metrics WITH METRICS LANGUAGE YAML
COMMENT 'What the shop''s people call "sales"' AS $$
version: 0.1
source: gold.sales
dimensions:
  - {name: channel, expr: channel}
  - {name: kind of channel, expr: "CASE `channel` WHEN 'web' THEN 'a|b' ELSE 'ä' END"}
measures:
  - {name: orders, expr: COUNT(DISTINCT order_id)}
  - {name: revenue, expr: "CAST(SUM(cents) / 100 AS DECIMAL(12, 2))"}
$$
"""
COLUMNS = {
    "channel": ("STRING", "dimension: `channel`"),
    "kind of channel": ("STRING", "dimension: ``CASE `channel` WHEN 'web' THEN 'a|b' ELSE 'ä' END``"),
    "orders": ("BIGINT", "measure: `COUNT(DISTINCT order_id)`"),
    "revenue": ("DECIMAL(12,2)", "measure: `CAST(SUM(cents) / 100 AS DECIMAL(12, 2))`"),
}
LATER = """
import json, warnings, medallion
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    spark = medallion.start()
measured = spark.sql("SELECT channel, MEASURE(orders), MEASURE(revenue) FROM gold.sales_metrics GROUP BY 1")
rows = sorted(list(map(str, row)) for row in measured.collect())
top = [str(spark.table(name).first().cents) for name in ("gold.top", "gold.again")]
there = [name for name in ("gold.orphan", "gold.broken", "gold.empty") if spark.catalog.tableExists(name)]
said = [str(one.message) for one in said if one.category is UserWarning]
print(json.dumps({"rows": rows, "top": top, "there": there, "said": said}))
"""
# Before what it reads, so that it finds it in the second round; in two lines; with columns and comments
OTHERS = (
    "CREATE OR REPLACE VIEW gold.of_sales(channel, euros COMMENT 'in €') COMMENT 'all of it' AS "
    "SELECT channel, CAST(sum(cents) / 100 AS DECIMAL(12, 2)) AS euros FROM gold.sales GROUP BY 1",
    "CREATE OR REPLACE VIEW gold.top AS\nSELECT max(euros) * 100 AS cents FROM gold.of_sales",
    "CREATE VIEW gold.again AS SELECT * FROM gold.top",
)
MAKES = "{gold.sales: [silver.orders], gold.sales_metrics: [gold.sales]}"
GRAIN = "{gold.sales: one line, gold.sales_metrics: one combination of the dimensions that a query asks for}"
LESSON = f"""\
# ---
# jupyter:
#   medallion: {{makes: {MAKES}, grain: {GRAIN}, minutes: {{read: 5, practise: 10}}, objectives: [sell],
#     summary: sales, outline: What is sold.}}
# ---

# %% [markdown]
# # Selling
"""


def write_sales() -> None:
    sales = {"channel": ["web", "web", "app"], "order_id": ["O1", "O1", "O2"], "cents": [100, 50, 301]}
    tables.folder("gold.sales").parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(str(tables.folder("gold.sales")), pa.table(sales), mode="overwrite")
    medallion.start()


def kept(name: str) -> str:
    return view_files.path(f"gold.{name}").read_text(encoding="utf-8")


@pytest.fixture
def sold(spark: SparkSession) -> Iterator[SparkSession]:
    """A session with gold.sales and the metric view on it; both are gone afterwards, and every other view."""
    write_sales()
    spark.sql(METRICS)
    yield spark
    for file in tables.folder("gold.sales").parent.glob("*.view.sql"):
        file.unlink()
    for name in ("again", "top", "of_sales", "sales_metrics", "odd"):
        spark.sql(f"DROP VIEW IF EXISTS gold.{name}")
    spark.sql("DROP TABLE IF EXISTS gold.sales")


@pytest.fixture
def selling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A book whose one chapter makes gold.sales and the metric view on it."""
    (tmp_path / "03_selling").mkdir()
    (tmp_path / "03_selling" / "lesson.py").write_text(LESSON, encoding="utf-8")
    monkeypatch.setattr(contract, "folder", lambda: tmp_path)
    contract.chapters.cache_clear()
    yield tmp_path
    contract.chapters.cache_clear()


def test_a_metric_view_is_kept_and_read_again_by_its_columns(sold: SparkSession) -> None:
    medallion.keep_view(METRICS)
    first = kept("sales_metrics")
    medallion.keep_view(METRICS)
    assert kept("sales_metrics") == first, "kept twice is the same text"
    about, _, statement = first.split("\n", 2)
    assert about.startswith("-- gold.sales_metrics, kept by medallion.keep_view: each session makes it anew")
    assert statement.startswith("CREATE OR REPLACE VIEW gold.sales_metrics\nWITH METRICS LANGUAGE YAML\nCOMM")
    assert "shop''s people" in statement, "the comment goes with it"
    assert view_files.kept("gold") == ["gold.sales_metrics"]
    assert not sold.catalog.tableExists("gold.sales_metrics_to_be_kept")
    found = dict(schemas.flat(view_files.columns("gold.sales_metrics")))
    assert {name: (one["type"], one["comment"]) for name, one in found.items()} == COLUMNS
    view_files.path("gold.odd").write_text("-- nothing\nCREATE", encoding="utf-8")
    with pytest.raises(MedallionError, match=r"odd\.view\.sql does not say what columns gold\.odd has"):
        view_files.columns("gold.odd")


def test_later_sessions_have_the_views_and_are_told_what_is_broken(
    sold: SparkSession, home: Path, launch: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """Two at once, each with a view on a view, one whose table is gone, and files that make no view."""
    medallion.keep_view(METRICS)
    for statement in OTHERS:
        sold.sql(statement)
        medallion.keep_view(statement)
    files = {
        "orphan": kept("top").replace("gold.top", "gold.orphan").replace("of_sales", "gone"),
        "broken": kept("sales_metrics")
        .replace("sales_metrics", "broken")
        .replace("version: 0.1", "version: 9"),
        "empty": "",
        "other": "DROP TABLE gold.sales\n",
        "no name": "SELECT 1\n",
        "ä": "SELECT 1\n",
        "1e3": "CREATE OR REPLACE VIEW gold.1e3\nAS SELECT 1 AS one\n",
    }
    for name, content in files.items():
        view_files.path(f"gold.{name}").write_text(content, encoding="utf-8")
    view_files.path("gold.bytes").write_bytes(b"\xff\xfe")
    for child in [launch(LATER, MEDALLION_HOME=str(home)) for _ in range(2)]:
        out, err = child.communicate(timeout=240)
        assert child.returncode == 0, err[-3000:]
        found = json.loads(out.splitlines()[-1])
        assert found["rows"] == [["app", "1", "3.01"], ["web", "1", "1.50"]]
        assert found["top"] == ["301.00", "301.00"] and found["there"] == []
        told = {line.split(" ", 1)[0]: line for line in found["said"]}
        broken = [str(view_files.path(f"gold.{name}")) for name in ("broken", "bytes", "empty", "other")]
        assert sorted(told) == [str(view_files.path("gold.1e3")), *broken]
        assert "Invalid YAML version: 9" in told[broken[0]]
        assert told[broken[2]] == (
            f"{broken[2]} does not make the view gold.empty: its statement does not begin with CREATE OR "
            "REPLACE VIEW gold.empty. Fix it, or remove it and run the chapter that makes the view."
        )
    assert tables.rows("gold.sales") == 3, "a file that holds another statement is not run"


NO_VIEW = "This session has no view {}. Make it first, with spark.sql and the statement."
NO_STATEMENT = (
    "This statement makes no view of a schema. Begin it with CREATE VIEW, schema and view, as in "
    "CREATE VIEW gold.sales_metrics."
)


@pytest.mark.parametrize(
    ("statement", "begin", "end"),
    [
        ("CREATE VIEW gold.sales AS SELECT 1 AS one", NO_VIEW.format("gold.sales"), ""),
        ("CREATE VIEW gold.nothing AS SELECT 1 AS one", NO_VIEW.format("gold.nothing"), ""),
        ("CREATE VIEW odd AS SELECT 1 AS one", NO_STATEMENT, ""),
        ("gold.sales_metrics", NO_STATEMENT, ""),
        ("CREATE VIEW gold.odd; DROP TABLE gold.sales", NO_STATEMENT, ""),
        (
            "CREATE VIEW gold.odd AS SELECT channel FROM sales",
            "A new session could not make gold.odd: [TABLE_OR_VIEW_NOT_FOUND]",
            "Name its tables in full in the definition, as in gold.fact_sales.",
        ),
    ],
)
def test_what_a_later_session_could_not_make_is_refused(
    sold: SparkSession, statement: str, begin: str, end: str
) -> None:
    sold.sql("USE gold")
    try:
        sold.sql("CREATE VIEW odd AS SELECT channel FROM sales")
        with pytest.raises(MedallionError) as refused:
            medallion.keep_view(statement)
        assert sold.table("gold.odd").count() == 3, "the session's own view is as it was"
    finally:
        sold.sql("USE default")
    assert str(refused.value).startswith(begin) and str(refused.value).endswith(end)
    assert view_files.kept("gold") == []


def test_elsewhere_nothing_is_kept_and_without_a_session_neither(
    sold: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
        medallion.keep_view(METRICS)
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    with pytest.raises(MedallionError, match=r"No session runs\. Begin with `spark = medallion\.start\(\)`"):
        medallion.keep_view(METRICS)
    assert view_files.kept("gold") == []


def test_a_view_is_a_promise_of_its_chapter(
    sold: SparkSession, selling: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chapter(number: contract.Contract, progress: bool) -> None:
        write_sales()
        medallion.keep_view(METRICS)

    assert not tables.exists("gold.sales_metrics")
    monkeypatch.setattr(runner, "_execute", chapter)
    (ran,) = runner.run(["03"])
    assert ran.rows == {"gold.sales": 3}, "a run counts the rows of tables"
    assert tables.exists("gold.sales_metrics") and tables.is_view("gold.sales_metrics")
    assert tables.exists("gold.sales") and not tables.is_view("gold.sales")
    assert tables.present() == ["gold.sales"]
    with pytest.raises(MedallionError, match=r"gold\.sales_metrics is a view: it holds no rows"):
        tables.rows("gold.sales_metrics")

    reference.record("03", 100, tmp_path)
    held = schemas.load(tmp_path)
    assert held["gold.sales"]["rows"] == 3 and "rows" not in held["gold.sales_metrics"]
    page = reference.tables_page([parse(selling / "03_selling" / "lesson.py")], held, {})
    assert "| one combination of the dimensions that a query asks for | a view |" in page
    assert "One row is one combination of the dimensions that a query asks for. A view: it holds no" in page
    assert "| `orders` | `BIGINT` | measure: `COUNT(DISTINCT order_id)` |" in page
    assert r"THEN 'a\|b' ELSE" in page, "a bar would end the cell"

    sold.sql("DROP TABLE gold.sales")
    assert not tables.exists("gold.sales_metrics"), "its table is gone"
    assert reset("03") == ["gold.sales_metrics"]
    assert view_files.kept("gold") == [] and tables.present() == []
    assert reset("03") == []
