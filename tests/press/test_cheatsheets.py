"""The cheat sheets: every block of code of the Spark, Delta and streaming sheets runs, from top to bottom."""

import ast
import re

import pytest
from pyspark.errors import PySparkException

from medallion import paths

FOLDER = paths.root() / "book" / "cheatsheets"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHEETS = ("spark", "delta", "streaming", "mlflow")
LONGEST_LINE = 88  # what a column of the page and a printed page hold


def blocks(name):
    """Return the blocks of a sheet: the line where each begins, its language and its text."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start()) + 2, found[1], found[2]) for found in BLOCK.finditer(text)]


def run(name, spark):
    """Run the blocks of a sheet in one namespace, and return it. A failure names the sheet's line."""
    names = {"spark": spark, "__name__": "sheet"}
    for line, language, text in blocks(name):
        if language == "sql":
            for statement in filter(None, text.split(";\n")):
                spark.sql(statement).collect()
        else:
            code = ast.increment_lineno(ast.parse(text), line - 1)
            exec(compile(code, f"book/cheatsheets/{name}.md", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def empty_scratch(request):
    """A scratch schema without the tables that chapters of the same session have left there."""
    if "spark" in request.fixturenames:
        spark = request.getfixturevalue("spark")
        for table in spark.catalog.listTables("scratch"):
            if not table.isTemporary:  # the list of any schema has the session's temporary views too
                spark.sql(f"DROP TABLE scratch.{table.name}")


@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_fits_on_a_page_and_has_only_code_that_is_known_how_to_run(name):
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert {language for _, language, _ in blocks(name)} <= {"python", "sql", "sh"}
    assert text.count("```") == 2 * len(blocks(name))
    for line, language, code in blocks(name):
        assert max(map(len, code.splitlines())) <= LONGEST_LINE, f"{name}.md:{line}"
        if language == "python":
            ast.parse(code)


def test_the_spark_sheet_runs(spark):
    names = run("spark", spark)
    orders, homes = names["orders"], names["homes"]
    assert names["spark"].sparkContext is spark.sparkContext  # the builder adds to the session that is there
    assert sorted(map(tuple, names["sums"].collect()), key=str) == [
        ("Ada", 1250, 1),
        ("Ben", None, 1),
        (None, 480, 1),
    ]
    # What its comments and its table say of NULL and of the kinds of join
    assert [row.id for row in orders.where("name <> 'Ada'").collect()] == [2]
    assert sorted(row.id for row in orders.where("NOT (name <=> 'Ada')").collect()) == [2, 3]
    counts = {
        how: orders.join(homes, "name", how).count() for how in ("inner", "left", "left_semi", "left_anti")
    }
    assert counts == {"inner": 1, "left": 3, "left_semi": 1, "left_anti": 2}


def test_the_delta_sheet_runs(spark):
    run("delta", spark)
    rows = spark.table("scratch.orders").orderBy("id", "city").collect()
    assert [(row.id, row.cents, row.city) for row in rows if row.city] == [
        (1, 1250, "Leipzig"),
        (2, 480, "Leipzig"),
    ]
    history = [row.operation for row in spark.sql("DESCRIBE HISTORY scratch.orders").collect()]
    assert {"UPDATE", "DELETE", "RESTORE", "MERGE", "ADD CONSTRAINT"} <= set(history)
    before = spark.table("scratch.orders").count()
    spark.table("scratch.orders").write.mode("append").options(txnAppId="nightly", txnVersion=7).saveAsTable(
        "scratch.orders"
    )
    assert spark.table("scratch.orders").count() == before
    changed = spark.sql("SELECT _change_type FROM table_changes('scratch.big', 3)").distinct().collect()
    assert {row[0] for row in changed} == {"update_preimage", "update_postimage"}


def test_the_streaming_sheet_runs(spark):
    names = run("streaming", spark)
    assert [row.id for row in spark.table("scratch.events").collect()] == ["e1"]
    assert [row.id for row in spark.table("scratch.both").collect()] == ["e1"]
    assert names["query"].lastProgress is not None
    assert spark.streams.active == []
    with pytest.raises(PySparkException, match=r"[Uu]pdate output mode"):
        names["start"](names["tumbling"], "updated", mode="update")
    names["start"](names["tumbling"], "complete", mode="complete").awaitTermination()
    assert spark.table("scratch.complete").count() == 1
    assert spark.read.format("statestore").load(str(names["notes"] / "unique")).count() == 1
