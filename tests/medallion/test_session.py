"""The session: its settings, its errors, its folders, and that it is the same in odd surroundings."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psutil
import pyarrow as pa
import pyspark
import pytest
import strangers
from deltalake import DeltaTable, write_deltalake
from filelock import FileLock
from IPython.core.interactiveshell import InteractiveShell
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from test_setup_java import java_home

import medallion
from medallion import temporary
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
        if process.status() != psutil.STATUS_ZOMBIE  # which has no sockets, and only root may look
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


def test_what_spark_keeps_on_disk_is_in_a_private_folder(spark: SparkSession) -> None:
    place = Path(spark._jvm.System.getProperty("java.io.tmpdir"))
    assert place == temporary.of_process() and place.stat().st_mode & 0o777 == 0o700
    assert list(place.glob("blockmgr-*")), "Spark has its files there"


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


REFUSED = """
import medallion
from medallion.errors import MedallionError
try:
    medallion.start()
except MedallionError as error:
    print(error)
"""


def test_a_java_that_ends_at_once_is_quoted(launch: Launch, home: Path, tmp_path: Path) -> None:
    java = java_home(tmp_path / "java", "17.0.1")
    said = "echo No room.; echo '\tat a.b.C(D.java:1)'; echo '... 34 more'; exit 1"
    (java / "bin" / "java").write_text(f"#!/bin/sh\n{said}\n", encoding="utf-8")
    child = launch(REFUSED, MEDALLION_JAVA_HOME=str(java))
    out, err = child.communicate(timeout=SECONDS)
    log = home / "logs" / f"spark-{child.pid}.log"
    assert out == (
        f"Java ended before Spark had started. It said last: No room. All that it said is in {log}; "
        "`medallion doctor` looks for the cause.\n"
    ), err


def test_another_pyspark_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pyspark, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(MedallionError, match=f"from {tmp_path}, not the course's. Take that folder off"):
        medallion.start()


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


@pytest.fixture
def shell(spark: SparkSession) -> Iterator[InteractiveShell]:
    """IPython, in which a notebook has begun."""
    shell = InteractiveShell.instance()
    medallion.start()
    shell.push({"spark": spark, "medallion": medallion})
    yield shell
    InteractiveShell.clear_instance()


def test_a_notebook_shows_the_line_and_the_message(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("here = 1\nspark.table('scratch.nothing').collect()")
    shown = capsys.readouterr().out
    shell.run_cell("medallion.last_error()")
    whole = capsys.readouterr().out
    assert "In line 2: spark.table('scratch.nothing').collect()" in shown
    assert "AnalysisException: [TABLE_OR_VIEW_NOT_FOUND]" in shown
    assert "The full text, Java frames included: medallion.last_error()" in shown
    assert "site-packages" not in shown and "\tat " not in shown and len(shown.splitlines()) < 15
    assert "Traceback (most recent call last)" in whole and "JVM stacktrace" in whole


def test_a_frame_that_fails_as_it_is_shown_fails_its_cell_once(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    done = shell.run_cell("here = 1\nspark.range(3).selectExpr('1 / id AS x')")
    shown = capsys.readouterr().out
    assert not done.success
    assert "In line 2: spark.range(3).selectExpr('1 / id AS x')\nArithmeticException: [DIV" in shown
    assert shown.count("[DIVIDE_BY_ZERO]") == 1 and len(shown.splitlines()) < 10
    shell.run_cell("medallion.last_error()")
    assert "ArithmeticException: [DIVIDE_BY_ZERO]" in capsys.readouterr().out
    assert shell.run_cell("spark.range(1)").success
    assert "DataFrame[id: bigint]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "first"),
    [
        ("broken", ["In line 1: broken"]),
        ("display(broken)\nprint('reached')", ["In line 1: display(broken)"]),
        ("broken.collect()", ["In line 1: broken.collect()"]),
        ("[broken]", []),
    ],
)
def test_an_error_in_a_python_worker_is_told_with_the_line_of_the_function(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str, first: list[str]
) -> None:
    shell.run_cell(
        "from pyspark.sql.functions import udf\n"
        "def half(x):\n"
        "    raise ValueError(f'no half of {x}')\n"
        "broken = spark.range(1).select(udf(half, 'int')('id'))"
    )
    shell.run_cell(cell)
    shown = capsys.readouterr().out.strip().removeprefix("Out[0]: ")
    assert shown.splitlines() == [
        *first,
        "In line 3 of half: raise ValueError(f'no half of {x}')",
        "PythonException: ValueError: no half of 0",
        "The full text, Java frames included: medallion.last_error()",
    ]


def test_a_java_process_that_is_gone_is_called_that(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell(
        "from py4j.java_gateway import GatewayParameters, JavaGateway\n"
        "JavaGateway(gateway_parameters=GatewayParameters(port=1)).jvm.java"
    )
    shown = capsys.readouterr().out
    assert (
        "Error: Spark's Java process has ended, most often because the memory was used up. Restart" in shown
    )
    assert len(shown.splitlines()) < 6


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


def test_odd_folders_beside_the_tables(spark: SparkSession) -> None:
    """What cannot be a table's name is passed over; a name that SQL takes for a number is quoted."""
    for name in ("Backup of found", ".old", "2025"):
        write_deltalake(str(tables.folder("bronze.found").with_name(name)), pa.table({"id": [1]}))
    medallion.start()
    assert spark.table("bronze.`2025`").count() == 1
    spark.sql("DROP TABLE bronze.`2025`")
    for name in ("Backup of found", ".old"):
        shutil.rmtree(tables.folder("bronze.found").with_name(name))


def test_a_session_forgets_what_a_reset_in_a_terminal_removed(spark: SparkSession) -> None:
    spark.range(3).write.saveAsTable("bronze.gone")
    spark.sql("CREATE VIEW bronze.kept AS SELECT 1 AS one")
    spark.table("bronze.gone").count()
    shutil.rmtree(tables.folder("bronze.gone"))
    medallion.start()
    assert not spark.catalog.tableExists("bronze.gone")
    assert spark.catalog.tableExists("bronze.kept"), "a view has no folder"
    spark.range(2).write.mode("append").saveAsTable("bronze.gone")
    assert tables.rows("bronze.gone") == 2
    spark.sql("DROP TABLE bronze.gone")
    assert not tables.folder("bronze.gone").exists(), "it is a managed table again"
    spark.sql("DROP VIEW bronze.kept")


def test_a_session_of_somebody_else_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the first cell calls `SparkSession.builder.getOrCreate()`."""
    monkeypatch.setattr(pyspark.SparkContext, "_active_spark_context", SimpleNamespace(getConf=dict))
    with pytest.raises(MedallionError) as refused:
        medallion.start()
    assert str(refused.value) == (
        "This process has a Spark session that medallion.start did not start, and that has no Delta. "
        "Restart the kernel, and let medallion.start be the first that starts Spark."
    )


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
workers = spark.range(1).mapInPandas(lambda parts: (part.assign(id=7) for part in parts), "id LONG")
print(json.dumps({
    "worker": workers.first().id,
    "name": row.name, "at": row.at.isoformat(),
    "text": spark.read.text(str(medallion.landing() / "Größe.txt")).first().value,
    "town": spark.table("bronze.towns").first().name,
    "foreign": spark.conf.get("spark.medallion.foreign", "none"),
    "version": spark.version, "scratch": str(medallion.scratch()),
    "there": medallion.scratch().is_dir(),
}))
"""


# What of these, set alone, hindered a session or changed it: see `medallion.machine.surroundings`
FOREIGN = {
    "SPARK_HOME": "{foreign}/nowhere",
    "SPARK_CONF_DIR": "{foreign}",
    "SPARK_LOCAL_DIRS": "/proc/nowhere",
    "SPARK_LOCAL_IP": "192.0.2.1",
    "SPARK_SUBMIT_OPTS": "-Xms9g",
    "SPARK_LAUNCHER_OPTS": "-Xms9g",
    "SPARK_DIST_CLASSPATH": "{foreign}",
    "SPARK_API_MODE": "connect",
    "SPARK_CONNECT_MODE": "1",
    "SPARK_CONNECT_MODE_ENABLED": "1",
    "SPARK_TESTING": "1",
    "PYSPARK_SUBMIT_ARGS": "--master local[4] --driver-memory 200m",
    "PYSPARK_GATEWAY_PORT": "9",
    "PYSPARK_GATEWAY_SECRET": "secret",
    "PYSPARK_PYTHON": "/nowhere/python",
    "HADOOP_CONF_DIR": "{foreign}",
    "HADOOP_TOKEN_FILE_LOCATION": "/nowhere/token",
    "YARN_CONF_DIR": "{foreign}",
    "JAVA_TOOL_OPTIONS": "-XX:+UseG1GC",
    "_JAVA_OPTIONS": "-Xmx300m",
    "JDK_JAVA_OPTIONS": "-Xms9g",
    "CLASSPATH": "{foreign}",
    "BASH_ENV": "{foreign}/profile",
    "PYTHONPATH": "{foreign}",
    "PYTHONSTARTUP": "/nowhere/shell.py",
    "PYTHONOPTIMIZE": "2",
    "MLFLOW_TRACKING_URI": "http://192.0.2.1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
}
CORE_SITE = """<configuration><property>
<name>fs.defaultFS</name><value>hdfs://nowhere:8020</value>
</property></configuration>
"""


def test_odd_surroundings(launch: Launch, tmp_path: Path) -> None:
    """Accents and spaces, a C locale, another time zone, and what a killed session left.

    Also all that another Spark, Hadoop, Java, Python and MLflow may have set. Nor does the JVM start a
    process for a file that it writes.
    """
    home, foreign = tmp_path / "Kurs für Anfänger", tmp_path / "another spark"
    (home / "landing").mkdir(parents=True)
    foreign.mkdir()
    (foreign / "spark-defaults.conf").write_text("spark.medallion.foreign yes\n", encoding="utf-8")
    (foreign / "core-site.xml").write_text(CORE_SITE, encoding="utf-8")
    (foreign / "profile").write_text(
        "export SPARK_HOME=/nowhere JAVA_TOOL_OPTIONS=-Xms9g\n", encoding="utf-8"
    )
    (foreign / "pyspark").mkdir()
    (foreign / "pyspark" / "__init__.py").write_text(
        "raise ImportError('another PySpark')\n", encoding="utf-8"
    )
    (long := tmp_path / ("x" * 90)).mkdir()
    # The number of a process that was killed is another one's now
    left, alive = home / "scratch" / f"{os.getpid()}-0", home / "scratch" / "1000000000-0"
    for folder in (left, alive):
        (folder / "orders").mkdir(parents=True)
    lock = FileLock(alive.with_name(f".{alive.name}.lock"))
    lock.acquire()  # as a session does, also one in another container
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
        TMPDIR=str(long),
        **{name: value.format(foreign=foreign) for name, value in FOREIGN.items()},
    )
    found = answer(child)
    scratch = Path(found.pop("scratch"))
    assert found == {
        "worker": 7,
        "name": "Zoë",
        "at": "2025-07-01T12:00:00",
        "text": "Köln",
        "town": "Köln",
        "foreign": "none",
        "version": pyspark.__version__,
        "there": True,
    }
    assert scratch.parent == home / "scratch" and scratch.name.startswith(f"{child.pid}-")
    # Its own is removed at its end, what a killed session left is swept, what is another's stays
    assert sorted(scratch.parent.iterdir()) == [Path(lock.lock_file), alive]
    lock.release()
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
lines = spark.readStream.text(str(medallion.landing() / "[a]")).select("value", "_metadata.file_path")
notes = str(medallion.home() / "checkpoints" / "{name}")
for turn in range(2):
    lines.writeStream.option("checkpointLocation", notes).trigger(availableNow=True).toTable(
        "bronze.lines{name}").awaitTermination()
for number in range(4):
    spark.range(10).selectExpr("id", "{name} AS writer").write.mode("append").saveAsTable("bronze.shared")
    seen = spark.table("bronze.shared").where("writer = {name}").count()
    assert seen == 10 * (number + 1), seen
print(json.dumps(spark.table("bronze.shared").count()))
"""


def test_two_sessions_at_once_read_and_write_bronze(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder whose name Spark takes for a pattern."""
    home = tmp_path / "Kurs {1}?"
    place = home / "bronze" / "shared"
    (home / "landing" / "a").mkdir(parents=True)
    (home / "landing" / "a" / "a.txt").write_text("1\n2\n", encoding="utf-8")
    empty = pa.table({"id": pa.array([], "int64"), "writer": pa.array([], "int32")})
    write_deltalake(str(tmp_path / "shared"), empty)  # it reads such tables, and cannot write them
    shutil.copytree(tmp_path / "shared", place)
    both = [launch(WRITER.format(name=name), MEDALLION_HOME=str(home)) for name in (1, 2)]
    seen = [answer(child) for child in both]
    assert DeltaTable(str(place)).count() == 80
    assert max(seen) == 80 and min(seen) >= 40
    by_writer = DeltaTable(str(place)).to_pyarrow_table().column("writer").to_pylist()
    assert (by_writer.count(1), by_writer.count(2)) == (40, 40)
    for name in (1, 2):
        rows = DeltaTable(str(home / "bronze" / f"lines{name}")).to_pyarrow_table().to_pylist()
        assert sorted(row["value"] for row in rows) == ["1", "2"], (
            "a pattern of our own is one, and read once"
        )
        assert rows[0]["file_path"].endswith("/landing/a/a.txt")
    monkeypatch.setenv("MEDALLION_HOME", str(home))
    assert medallion.home().readlink() == home
    medallion.home().unlink()  # it is in the cache of this user
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
