"""The session: its settings, its errors, its folders, and that it is the same in odd surroundings."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pyarrow as pa
import pyspark
import pytest
import strangers
from deltalake import DeltaTable, write_deltalake
from IPython.core.interactiveshell import InteractiveShell
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

import medallion
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from medallion.spark import session, tracebacks

Launch = Callable[..., "subprocess.Popen[str]"]
SECONDS = 240


def answer(child: "subprocess.Popen[str]") -> dict:
    """Return the JSON that a program printed last; the test fails when the program failed."""
    out, err = child.communicate(timeout=SECONDS)
    assert child.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


# Settings ----------------------------------------------------------------------------------------


def test_settings(spark: SparkSession, home: Path) -> None:
    wanted = {
        "spark.master": "local[2]",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.sources.default": "delta",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.warehouse.dir": str(home / "default"),
    }
    found = {name: spark.conf.get(name).removeprefix("file:") for name in wanted}
    assert found == wanted
    assert medallion.start().sparkContext is spark.sparkContext, "a second call returns the same session"


def test_it_listens_on_loopback_only(spark: SparkSession) -> None:
    me = psutil.Process()
    listening = [
        socket.laddr.ip
        for process in (me, *me.children(recursive=True))
        for socket in process.net_connections("inet")
        if socket.status == psutil.CONN_LISTEN
    ]
    assert listening, "the JVM listens for Python"
    assert {ip.removeprefix("::ffff:") for ip in listening} <= {"127.0.0.1", "::1"}


def test_its_page_only_shows_and_only_to_this_machine(spark: SparkSession) -> None:
    port = urlsplit(spark.sparkContext.uiWebUrl).port
    assert port is not None
    for path in ("/jobs/", "/api/v1/applications"):
        strangers.are_refused(port, path)
    assert spark.conf.get("spark.ui.killEnabled") == "false"


def test_scale_takes_what_the_machine_has(spark: SparkSession) -> None:
    learn, scale = session.settings("learn"), session.settings("scale")
    assert scale["spark.master"] == f"local[{os.cpu_count()}]"
    megabytes = int(scale["spark.driver.memory"].removesuffix("m"))
    assert 2_000 <= megabytes <= max(2_000, psutil.virtual_memory().total // 1_000_000)
    assert "TieredStopAtLevel" in learn["spark.driver.extraJavaOptions"]
    assert "TieredStopAtLevel" not in scale["spark.driver.extraJavaOptions"]


# What it refuses ---------------------------------------------------------------------------------


def test_an_unknown_profile(home: Path) -> None:
    with pytest.raises(MedallionError) as refused:
        medallion.start("00", profile="fast")
    assert str(refused.value) == "There is no profile 'fast'. Choose one of learn, scale."


def test_an_unknown_profile_in_the_surroundings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_PROFILE", "large")
    with pytest.raises(MedallionError, match="There is no profile 'large'"):
        medallion.start("00")


def test_a_missing_table(spark: SparkSession, chapter_02: None) -> None:
    with pytest.raises(MedallionError) as refused:
        medallion.start("02")
    assert str(refused.value) == (
        "Chapter 02 reads bronze.orders and bronze.products, which chapter 01 makes. "
        "Catch up with `medallion catch-up 02`."
    )


def test_a_home_that_cannot_be_written(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("MEDALLION_HOME", str(file / "lakehouse"))
    with pytest.raises(MedallionError) as refused:
        medallion.start()
    assert str(refused.value) == (
        f"{file / 'lakehouse'} cannot be written (Not a directory). "
        "Give yourself write access to it, or set MEDALLION_HOME to a folder that is yours."
    )


# Errors ------------------------------------------------------------------------------------------


def test_an_unknown_table_is_told_short(spark: SparkSession) -> None:
    with pytest.raises(AnalysisException) as refused:
        spark.table("scratch.nothing").collect()
    assert tracebacks.reason(refused.value) == "TABLE_OR_VIEW_NOT_FOUND"
    told = tracebacks.message(refused.value)
    assert told.startswith("[TABLE_OR_VIEW_NOT_FOUND]") and "scratch" in told
    assert "\tat " not in told and "JVM stacktrace" not in told


def test_a_value_too_large_is_told_by_its_cause(spark: SparkSession) -> None:
    spark.createDataFrame([(1,)], "stock INT").write.saveAsTable("scratch.small")
    with pytest.raises(Exception) as refused:
        spark.createDataFrame([(3_000_000_000,)], "stock BIGINT").write.mode("append").saveAsTable(
            "scratch.small"
        )
    assert tracebacks.reason(refused.value) in (
        "CAST_OVERFLOW_IN_TABLE_INSERT",
        "DELTA_CAST_OVERFLOW_IN_TABLE_WRITE",
    )
    told = tracebacks.message(refused.value)
    assert "OVERFLOW" in told and "stock" in told and "\tat " not in told


def test_a_python_error_in_a_batch_is_told_by_its_last_line(spark: SparkSession, tmp_path: Path) -> None:
    def stop(batch: DataFrame, number: int) -> None:
        raise ValueError(f"batch {number} is not wanted")

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a\n", encoding="utf-8")
    query = spark.readStream.text(str(tmp_path / "in")).writeStream.foreachBatch(stop)
    query = (
        query.option("checkpointLocation", str(tmp_path / "checkpoint")).trigger(availableNow=True).start()
    )
    with pytest.raises(Exception) as refused:
        query.awaitTermination()
    assert tracebacks.reason(refused.value) == "ValueError: batch 0 is not wanted"


def test_an_error_without_java(spark: SparkSession) -> None:
    assert tracebacks.reason(KeyError("a")) == "KeyError: 'a'"
    assert tracebacks.reason(MedallionError("No.\nReally.")) == "MedallionError: No."
    assert tracebacks.reason(ValueError()) == "ValueError"


def test_a_notebook_shows_the_line_and_the_message(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = InteractiveShell.instance()
    try:
        medallion.start()
        shell.push({"spark": spark})
        shell.run_cell("here = 1\nspark.table('scratch.nothing').collect()")
        shown = capsys.readouterr().out
        shell.run_cell("medallion = __import__('medallion')\nmedallion.last_error()")
        whole = capsys.readouterr().out
    finally:
        InteractiveShell.clear_instance()
    assert "In line 2: spark.table('scratch.nothing').collect()" in shown
    assert "AnalysisException: [TABLE_OR_VIEW_NOT_FOUND]" in shown
    assert "The full text, Java frames included: medallion.last_error()" in shown
    assert "site-packages" not in shown and "\tat " not in shown and len(shown.splitlines()) < 15
    assert "Traceback (most recent call last)" in whole and "JVM stacktrace" in whole


# Tables ------------------------------------------------------------------------------------------


def test_a_registered_table_is_a_managed_one(spark: SparkSession) -> None:
    place = tables.folder("bronze.found")
    write_deltalake(str(place), pa.table({"id": [1, 2, 3]}))
    medallion.start()
    assert spark.table("bronze.found").count() == 3
    described = spark.sql("DESCRIBE EXTENDED bronze.found").where("col_name = 'Type'").first()
    assert described.data_type == "MANAGED"
    spark.sql("INSERT INTO bronze.found VALUES (4)")
    assert tables.rows("bronze.found") == 4
    spark.sql("DROP TABLE bronze.found")
    assert not place.exists()


def test_a_table_that_another_process_removed_and_made_again(spark: SparkSession) -> None:
    place = tables.folder("bronze.again")
    write_deltalake(str(place), pa.table({"id": [1, 2, 3]}))
    medallion.start()
    assert spark.table("bronze.again").count() == 3
    shutil.rmtree(place)
    write_deltalake(str(place), pa.table({"id": [1], "note": ["new"]}))
    medallion.start()
    assert [row.asDict() for row in spark.table("bronze.again").collect()] == [{"id": 1, "note": "new"}]
    spark.sql("DROP TABLE bronze.again")


# Processes of their own ---------------------------------------------------------------------------

ODD = """
import json, medallion
spark = medallion.start("00")
spark.sql("SELECT 'Zoë' AS name, TIMESTAMP '2025-07-01 12:00:00' AS at").write.saveAsTable("scratch.people")
row = spark.table("scratch.people").first()
(medallion.landing() / "Größe.txt").write_text("Köln", encoding="utf-8")
spark.sql("CREATE TABLE bronze.towns AS SELECT 'Köln' AS name")
print(json.dumps({
    "name": row.name, "at": row.at.isoformat(),
    "text": spark.read.text(str(medallion.landing() / "Größe.txt")).first().value,
    "town": spark.table("bronze.towns").first().name,
    "foreign": spark.conf.get("spark.medallion.foreign", "none"),
    "version": spark.version, "scratch": str(medallion.scratch()),
    "there": medallion.scratch().is_dir(),
}))
"""


def test_odd_surroundings(launch: Launch, tmp_path: Path) -> None:
    """Accents and spaces, a C locale, another time zone, another Spark, and what a killed session left.

    Nor does the JVM start a process for a file that it writes.
    """
    home, foreign = tmp_path / "Kurs für Anfänger", tmp_path / "another spark"
    (home / "landing").mkdir(parents=True)
    foreign.mkdir()
    (foreign / "spark-defaults.conf").write_text("spark.medallion.foreign yes\n", encoding="utf-8")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, alive = home / "scratch" / str(dead.pid), home / "scratch" / str(os.getpid())
    for folder in (left, alive):
        (folder / "orders").mkdir(parents=True)
    processes = tmp_path / "processes.txt"
    for name in ("readlink", "chmod"):
        noting = tmp_path / "noting" / name
        noting.parent.mkdir(exist_ok=True)
        noting.write_text(f'#!/bin/sh\necho "$0 $*" >> "{processes}"\nexec {shutil.which(name)} "$@"\n')
        noting.chmod(0o755)
    child = launch(
        ODD,
        PATH=f"{tmp_path / 'noting'}{os.pathsep}{os.environ['PATH']}",
        MEDALLION_HOME=str(home),
        LANG="C",
        LC_ALL="C",
        TZ="Asia/Kolkata",
        SPARK_HOME=str(foreign / "nowhere"),
        SPARK_CONF_DIR=str(foreign),
    )
    found = answer(child)
    scratch = Path(found.pop("scratch"))
    assert found == {
        "name": "Zoë",
        "at": "2025-07-01T12:00:00",
        "text": "Köln",
        "town": "Köln",
        "foreign": "none",
        "version": pyspark.__version__,
        "there": True,
    }
    assert scratch == home / "scratch" / str(child.pid) and not scratch.exists(), "removed at the end"
    assert not left.exists(), "what a killed session left is swept"
    assert alive.exists(), "a session that lives keeps its own"
    assert DeltaTable(str(home / "bronze" / "towns")).count() == 1
    assert not processes.exists(), "a file of a table takes no process"
    assert not list(home.rglob(".*.crc"))


def test_a_version_of_a_table_that_is_there_is_not_written_over(spark: SparkSession, tmp_path: Path) -> None:
    """Delta commits by a rename through Hadoop's FileContext, which has to fail where the name is taken."""
    hadoop = spark._jvm.org.apache.hadoop.fs
    files = hadoop.FileContext.getFileContext(spark._jsc.hadoopConfiguration())
    taken, new = tmp_path / "1.json", tmp_path / "2.json"
    taken.write_text("first")
    options = spark.sparkContext._gateway.new_array(hadoop.Options.Rename, 0)
    for target in (taken, new):
        source = tmp_path / f".{target.name}.tmp"
        source.write_text("second")
        if target == taken:
            with pytest.raises(Py4JJavaError, match="FileAlreadyExistsException"):
                files.rename(hadoop.Path(str(source)), hadoop.Path(str(target)), options)
        else:
            files.rename(hadoop.Path(str(source)), hadoop.Path(str(target)), options)
    assert [path.read_text() for path in (taken, new)] == ["first", "second"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".1.json.tmp", "1.json", "2.json"]


WRITER = """
import json, medallion
spark = medallion.start()
for number in range(4):
    spark.range(10).selectExpr("id", "{name} AS writer").write.mode("append").saveAsTable("bronze.shared")
    seen = spark.table("bronze.shared").where("writer = {name}").count()
    assert seen == 10 * (number + 1), seen
print(json.dumps(spark.table("bronze.shared").count()))
"""


def test_two_sessions_at_once_read_and_write_bronze(launch: Launch, tmp_path: Path) -> None:
    place = tmp_path / "bronze" / "shared"
    place.parent.mkdir()
    write_deltalake(str(place), pa.table({"id": pa.array([], "int64"), "writer": pa.array([], "int32")}))
    both = [launch(WRITER.format(name=name), MEDALLION_HOME=str(tmp_path)) for name in (1, 2)]
    seen = [answer(child) for child in both]
    assert DeltaTable(str(place)).count() == 80
    assert max(seen) == 80 and min(seen) >= 40
    by_writer = DeltaTable(str(place)).to_pyarrow_table().column("writer").to_pylist()
    assert (by_writer.count(1), by_writer.count(2)) == (40, 40)
    assert not list(tmp_path.rglob("metastore_db")) and not Path("metastore_db").exists()


ELSEWHERE = """
import json, medallion
spark = medallion.start("01")
names = ("spark.master", "spark.sql.sources.default", "spark.sql.session.timeZone")
print(json.dumps([*map(spark.conf.get, names), spark.conf.get("spark.sql.extensions", "none")]))
"""


def test_a_session_of_the_surroundings_is_left_alone(launch: Launch, tmp_path: Path) -> None:
    child = launch(
        ELSEWHERE,
        MEDALLION_HOME=str(tmp_path / "none"),
        DATABRICKS_RUNTIME_VERSION="17.3",
        TZ="Asia/Kolkata",
        SPARK_LOCAL_IP="127.0.0.1",
        **session.for_any_jvm(),
    )
    assert answer(child) == ["local[*]", "parquet", "Asia/Kolkata", "none"]
    assert not (tmp_path / "none").exists()
