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

Launch = Callable[..., "subprocess.Popen[str]"]

SALES = {"channel": ["web", "web", "app"], "order_id": ["O1", "O1", "O2"], "cents": [100, 50, 301]}
METRICS = """
CREATE OR REPLACE VIEW gold.sales_metrics
WITH METRICS
LANGUAGE YAML
COMMENT 'What the shop''s people call "sales"'
AS $$
version: 0.1
source: gold.sales
dimensions:
  - name: channel
    expr: channel
  - name: kind of channel
    expr: CASE `channel` WHEN 'web' THEN 'a|b' ELSE 'ä' END
measures:
  - name: orders
    expr: COUNT(DISTINCT order_id)
  - name: revenue
    expr: CAST(SUM(cents) / 100 AS DECIMAL(12, 2))
$$
"""
ASKED = "SELECT channel, MEASURE(orders) AS orders, MEASURE(revenue) AS revenue FROM gold.sales_metrics "
ASKED += "GROUP BY channel ORDER BY channel"
ANSWER = [["app", 1, "3.01"], ["web", 1, "1.50"]]
LATER = f"""
import json, warnings, medallion
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    spark = medallion.start()
rows = [[row.channel, row.orders, str(row.revenue)] for row in spark.sql({ASKED!r}).collect()]
top = [str(spark.table(name).first().cents) for name in ("gold.top", "gold.again")]
there = [name for name in ("gold.orphan", "gold.broken", "gold.empty") if spark.catalog.tableExists(name)]
said = [str(one.message) for one in said if one.category is UserWarning]
print(json.dumps({{"rows": rows, "top": top, "there": there, "said": said}}))
"""
HEADER = """\
# ---
# jupyter:
#   medallion:
#     makes:
#       gold.sales: [silver.orders]
#       gold.sales_metrics: [gold.sales]
#     grain:
#       gold.sales: one line
#       gold.sales_metrics: one combination of the dimensions that a query asks for
#     minutes: {read: 5, practise: 10}
#     objectives: [sell]
# ---

# %% [markdown]
# # Selling
"""


def ask(spark: SparkSession) -> list[list[object]]:
    return [[row.channel, row.orders, str(row.revenue)] for row in spark.sql(ASKED).collect()]


def write_sales() -> None:
    tables.folder("gold.sales").parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(str(tables.folder("gold.sales")), pa.table(SALES), mode="overwrite")


@pytest.fixture
def sold(spark: SparkSession) -> Iterator[SparkSession]:
    """A session with gold.sales and the metric view on it; both are gone afterwards, and every other view."""
    write_sales()
    medallion.start()
    spark.sql(METRICS)
    yield spark
    for file in tables.folder("gold.sales").parent.glob("*.view.sql"):
        file.unlink()
    for name in ("again", "top", "of_sales", "sales_metrics", "odd"):
        spark.sql(f"DROP VIEW IF EXISTS gold.{name}")
    spark.sql("DROP TABLE IF EXISTS gold.sales")


def test_a_metric_view_is_kept_and_read_again_by_its_columns(sold: SparkSession) -> None:
    assert ask(sold) == ANSWER
    medallion.keep_view("gold.sales_metrics")
    first = view_files.path("gold.sales_metrics").read_bytes()
    assert view_files.kept("gold") == ["gold.sales_metrics"]
    assert ask(sold) == ANSWER
    medallion.keep_view("gold.sales_metrics")
    assert view_files.path("gold.sales_metrics").read_bytes() == first, "kept twice is the same text"
    assert "shop\\'s people" in first.decode(), "the comment goes with it"
    assert dict(schemas.flat(view_files.columns("gold.sales_metrics"))) == {
        "channel": {"type": "STRING", "comment": "dimension: `channel`"},
        "kind of channel": {
            "type": "STRING",
            "comment": "dimension: ``CASE `channel` WHEN 'web' THEN 'a|b' ELSE 'ä' END``",
        },
        "orders": {"type": "BIGINT", "comment": "measure: `COUNT(DISTINCT order_id)`"},
        "revenue": {
            "type": "DECIMAL(12,2)",
            "comment": "measure: `CAST(SUM(cents) / 100 AS DECIMAL(12, 2))`",
        },
    }


def test_a_view_without_a_comment_is_kept(sold: SparkSession) -> None:
    lines = [line for line in METRICS.splitlines() if not line.startswith("COMMENT")]
    sold.sql("\n".join(lines).replace("sales_metrics", "odd"))
    medallion.keep_view("gold.odd")
    statement = view_files.path("gold.odd").read_text(encoding="utf-8").split("\n", 2)[2]
    assert statement.startswith(
        "CREATE OR REPLACE VIEW gold.odd\nWITH METRICS\nLANGUAGE YAML\nAS $$\nversion"
    )
    assert not sold.catalog.tableExists("gold.odd_to_be_kept")


def test_later_sessions_have_the_views_and_are_told_what_is_broken(
    sold: SparkSession, home: Path, launch: Launch
) -> None:
    """Two at once, each with a view on a view, one whose table is gone, and files that make no view."""
    sold.sql(
        "CREATE OR REPLACE VIEW gold.of_sales (channel, euros COMMENT 'in €') COMMENT 'all of it' AS "
        "SELECT channel, CAST(sum(cents) / 100 AS DECIMAL(12, 2)) AS euros FROM gold.sales GROUP BY 1"
    )
    sold.sql("CREATE OR REPLACE VIEW gold.top AS SELECT max(euros) * 100 AS cents FROM gold.of_sales")
    # sorts before what it reads, and finds it in the second round
    sold.sql("CREATE OR REPLACE VIEW gold.again AS SELECT * FROM gold.top")
    for name in ("gold.sales_metrics", "gold.of_sales", "gold.top", "gold.again"):
        medallion.keep_view(name)
    of_gone = view_files.path("gold.top").read_text(encoding="utf-8").replace("gold.top", "gold.orphan")
    view_files.path("gold.orphan").write_text(of_gone.replace("of_sales", "gone"), encoding="utf-8")
    broken = (
        view_files.path("gold.sales_metrics").read_text(encoding="utf-8").replace("sales_metrics", "broken")
    )
    view_files.path("gold.broken").write_text(broken.replace("version: 0.1", "version: 9"), encoding="utf-8")
    view_files.path("gold.empty").write_text("", encoding="utf-8")
    view_files.path("gold.bytes").write_bytes(b"\xff\xfe")
    view_files.path("gold.other").write_text("DROP TABLE gold.sales\n", encoding="utf-8")
    view_files.path("gold.no name").write_text("SELECT 1\n", encoding="utf-8")
    children = [launch(LATER, MEDALLION_HOME=str(home)) for _ in range(2)]
    for child in children:
        out, err = child.communicate(timeout=240)
        assert child.returncode == 0, err[-3000:]
        found = json.loads(out.splitlines()[-1])
        assert found["rows"] == ANSWER
        assert found["top"] == ["301.00", "301.00"]
        assert found["there"] == []
        said = {line.split(" ", 1)[0]: line for line in found["said"]}
        files = [str(view_files.path(f"gold.{name}")) for name in ("broken", "bytes", "empty", "other")]
        assert sorted(said) == files
        assert "Invalid YAML version: 9" in said[files[0]]
        assert said[files[2]] == (
            f"{files[2]} does not make the view gold.empty: its statement does not begin with CREATE OR "
            "REPLACE VIEW gold.empty. Mend it, or remove it and run the chapter that makes the view."
        )
    assert tables.rows("gold.sales") == 3, "a file that holds another statement is not run"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gold.sales", "gold.sales is a table, and stays without this. Give the name of a view that"),
        ("gold.nothing", "gold.nothing is not there. Give the name of a view that CREATE VIEW has made."),
        ("sales_metrics", "'sales_metrics' is no name of a view. Give schema and view"),
        ("gold.sales; DROP", "'gold.sales; DROP' is no name of a view. Give schema and view"),
    ],
)
def test_what_is_no_view_is_refused(sold: SparkSession, name: str, message: str) -> None:
    with pytest.raises(MedallionError) as refused:
        medallion.keep_view(name)
    assert str(refused.value).startswith(message)
    assert view_files.kept("gold") == []


def test_a_view_that_leans_on_this_session_is_refused(sold: SparkSession) -> None:
    sold.sql("USE gold")
    try:
        sold.sql("CREATE OR REPLACE VIEW gold.odd AS SELECT channel FROM sales")
        with pytest.raises(MedallionError) as refused:
            medallion.keep_view("gold.odd")
        assert sold.table("gold.odd").count() == 3, "the session's own view is as it was"
    finally:
        sold.sql("USE default")
    assert str(refused.value).startswith("A new session could not make gold.odd: [TABLE_OR_VIEW_NOT_FOUND]")
    assert str(refused.value).endswith("Name its tables in full in the definition, as in gold.fact_sales.")
    assert not view_files.path("gold.odd").exists()


def test_elsewhere_nothing_is_kept(sold: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    medallion.keep_view("gold.sales_metrics")
    assert view_files.kept("gold") == []


def test_without_a_session(sold: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    with pytest.raises(MedallionError, match=r"No session runs\. Begin with `spark = medallion\.start\(\)`"):
        medallion.keep_view("gold.sales_metrics")


# As a promise of a chapter ------------------------------------------------------------------------


@pytest.fixture
def selling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A book whose one chapter makes gold.sales and the metric view on it."""
    (tmp_path / "03_selling").mkdir()
    (tmp_path / "03_selling" / "lesson.py").write_text(HEADER, encoding="utf-8")
    monkeypatch.setattr(contract, "folder", lambda: tmp_path)
    contract.chapters.cache_clear()
    yield tmp_path
    contract.chapters.cache_clear()


def test_a_view_is_there_with_what_it_is_made_from(sold: SparkSession, selling: Path) -> None:
    assert not tables.exists("gold.sales_metrics")
    medallion.keep_view("gold.sales_metrics")
    assert tables.exists("gold.sales_metrics") and tables.is_view("gold.sales_metrics")
    assert tables.exists("gold.sales") and not tables.is_view("gold.sales")
    assert tables.present() == ["gold.sales"]
    with pytest.raises(MedallionError, match=r"gold\.sales_metrics is a view: it holds no rows"):
        tables.rows("gold.sales_metrics")
    sold.sql("DROP TABLE gold.sales")
    assert not tables.exists("gold.sales_metrics")


def test_reset_removes_the_definition(sold: SparkSession, selling: Path) -> None:
    medallion.keep_view("gold.sales_metrics")
    assert reset("03") == ["gold.sales", "gold.sales_metrics"]
    assert view_files.kept("gold") == [] and tables.present() == []
    assert reset("03") == []


def test_a_run_counts_the_rows_of_tables(
    sold: SparkSession, selling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chapter(number: str, progress: bool) -> None:
        write_sales()
        medallion.start()
        sold.sql("DROP VIEW IF EXISTS gold.sales_metrics")
        sold.sql(METRICS)
        medallion.keep_view("gold.sales_metrics")

    monkeypatch.setattr(runner, "_execute", chapter)
    (ran,) = runner.run(["03"])
    assert ran.rows == {"gold.sales": 3}


def test_the_page_of_the_tables_shows_a_view(sold: SparkSession, selling: Path, tmp_path: Path) -> None:
    medallion.keep_view("gold.sales_metrics")
    reference.record("03", 100, tmp_path)
    held = schemas.load(tmp_path)
    assert held["gold.sales"]["rows"] == 3 and "rows" not in held["gold.sales_metrics"]
    page = reference.tables_page([parse(selling / "03_selling" / "lesson.py")], held, {})
    assert "| one combination of the dimensions that a query asks for | a view |" in page
    assert "One row is one combination of the dimensions that a query asks for. A view: it holds no" in page
    assert "| `orders` | `BIGINT` | measure: `COUNT(DISTINCT order_id)` |" in page
    assert r"THEN 'a\|b' ELSE" in page, "a bar would end the cell"


def test_columns_that_cannot_be_read_are_told(sold: SparkSession) -> None:
    view_files.path("gold.odd").write_text("-- nothing\nCREATE", encoding="utf-8")
    with pytest.raises(MedallionError, match=r"odd\.view\.sql does not say what columns gold\.odd has"):
        view_files.columns("gold.odd")
