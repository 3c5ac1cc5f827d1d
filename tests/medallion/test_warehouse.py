"""The SQL endpoint: a key that is asked for, sessions apart, errors in a sentence, and a history."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pyhive import exc, hive
from pyspark.sql import SparkSession

from medallion.errors import MedallionError
from medallion.servers import spark_connect, warehouse

SLOW = (
    "SELECT count(s) FROM (SELECT reflect('java.lang.Thread', 'sleep', 50L) AS s FROM range(0, 400, 1, 400))"
)


@pytest.fixture(scope="module")
def port(spark: SparkSession) -> Iterator[int]:
    yield warehouse.start()
    warehouse.stop()


def rows_of(statement: str, login: str = "lena") -> list[tuple]:
    with warehouse.connect(login) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_the_key_is_asked_for_and_the_login_is_said(port: int) -> None:
    assert rows_of("SELECT current_user()", "anybody at all") == [("anybody at all",)]
    for word in (
        "x",
        " ",
        "ü",
        warehouse.key_file().read_text()[:-1],
        warehouse.key_file().read_text() + " ",
    ):
        with pytest.raises(Exception, match="Error validating the login"):
            hive.connect("127.0.0.1", port, username="lena", password=word, auth="CUSTOM")
    for without in ("NONE", "NOSASL"):
        with pytest.raises(Exception, match=r"validating the login|TSocket read 0 bytes"):
            hive.connect("127.0.0.1", port, username="lena", auth=without)


def test_the_key_is_this_users_alone_and_the_door_this_machines(port: int, home: Path) -> None:
    key = warehouse.key_file()
    assert key.is_relative_to(home)
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    listening = [
        one.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for one in process.net_connections("inet")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port
    ]
    assert [ip.removeprefix("::ffff:") for ip in listening] == ["127.0.0.1"]


def test_a_changed_key_locks_the_old_one_out(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    key = warehouse.key_file()
    old = key.read_text()
    try:
        key.write_text("")
        monkeypatch.setattr(warehouse, "_read_key", lambda: "")
        with pytest.raises(warehouse.EndpointError, match="refuses this key"):
            warehouse.connect("lena")
        key.write_text("another")
        monkeypatch.setattr(warehouse, "_read_key", lambda: old)
        with pytest.raises(warehouse.EndpointError, match="refuses this key"):
            warehouse.connect("lena")
    finally:
        key.write_text(old)


def test_each_connection_is_a_session_of_its_own(port: int, spark: SparkSession) -> None:
    spark.sql("CREATE OR REPLACE TEMPORARY VIEW of_the_notebook AS SELECT 1")
    with warehouse.connect("lena") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY VIEW mine AS SELECT 1 AS one")
        cursor.execute("SET spark.sql.session.timeZone = Europe/Berlin")
        for name in ("mine", "of_the_notebook"):
            with pytest.raises(warehouse.EndpointError, match="TABLE_OR_VIEW_NOT_FOUND"):
                rows_of(f"SELECT * FROM {name}")
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT * FROM nowhere", "[TABLE_OR_VIEW_NOT_FOUND] The table or view `nowhere` cannot be found."),
        ("SELEC 1", "[PARSE_SYNTAX_ERROR] Syntax error at or near 'SELEC'."),
        ("SELECT raise_error('killed')", "[USER_RAISED_EXCEPTION] killed"),
        ("SELECT DATE'x'", "[INVALID_TYPED_LITERAL] "),
        ("SELECT 1 / 0", "[DIVIDE_BY_ZERO] Division by zero."),
    ],
)
def test_an_error_is_a_sentence(port: int, statement: str, told: str) -> None:
    with pytest.raises(exc.Error) as refused:
        rows_of(statement)
    assert isinstance(refused.value, MedallionError)
    said = str(refused.value)
    assert said.startswith(told) and "\n" not in said
    assert not re.search(r"org\.apache|SQLSTATE|== SQL|HiveSQLException", said)


def test_the_history_tells_each_end(port: int) -> None:
    before = len(warehouse.history())
    assert len(rows_of("SELECT * FROM range(2500)", "marc")) == 2500
    with pytest.raises(exc.Error):
        rows_of("SELECT * FROM nowhere", "marc")
    with warehouse.connect("lena") as connection, connection.cursor() as cursor:
        cursor.execute("SET spark.sql.thriftServer.queryTimeout = 1")
        with pytest.raises(exc.Error, match=r"longer than spark\.sql\.thriftServer\.queryTimeout allows"):
            cursor.execute(SLOW)
            cursor.fetchall()
        cursor.execute("SET spark.sql.thriftServer.queryTimeout = 0")
        cursor.execute(SLOW, async_=True)
        running = warehouse.history().iloc[-1]
        assert running["state"] == "running" and running["seconds"] != running["seconds"]
        cursor.cancel()
        with pytest.raises(exc.Error, match="The query was cancelled"):
            cursor.fetchall()
    asked = warehouse.history().iloc[before:]
    asked = asked[~asked["statement"].str.startswith(("USE", "SET"))]
    assert list(asked.columns) == list(warehouse.COLUMNS)
    assert asked[["login", "state"]].values.tolist() == [
        ["marc", "finished"],
        ["marc", "failed"],
        ["lena", "timed out"],
        ["lena", "cancelled"],
    ]
    assert asked["rows"].iloc[0] == 2500 and asked["rows"].iloc[1:].isna().all()
    assert asked["seconds"].between(0, 60).all()


def test_beeline_reads_the_key_from_its_file(port: int) -> None:
    # The lesson has a statement that succeeds
    with pytest.raises(MedallionError, match=r"beeline failed: .*TABLE_OR_VIEW_NOT_FOUND"):
        warehouse.beeline("marc", "SELECT * FROM nowhere")
    asked = warehouse.history().iloc[-1]
    assert asked["login"] == "marc" and asked["rows"] != asked["rows"]


def test_an_endpoint_that_is_gone_is_told(port: int) -> None:
    connection = warehouse.connect("lena")
    cursor = connection.cursor()
    warehouse.stop()
    warehouse.stop()
    gone = r"does not answer.*Start it with `warehouse\.start\(\)`"
    with pytest.raises(warehouse.EndpointError, match=gone):
        cursor.execute("SELECT 1")
    with pytest.raises(warehouse.EndpointError, match=gone):
        warehouse.connect("lena", port)
    with pytest.raises(MedallionError, match="No SQL endpoint runs"):
        warehouse.history()
    old = warehouse.key_file().read_text()
    assert warehouse.start() == warehouse.start()
    assert warehouse.key_file().read_text() != old
    assert rows_of("SELECT 1") == [(1,)]
    assert len(warehouse.history()) < 5


def test_connect_needs_its_token(spark: SparkSession) -> None:
    program = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
name = "O'Brien"
names = spark.createDataFrame([(name,)], "name STRING")
print(names.where(names.name == name).count())
try:
    spark.conf.set("spark.sql.legacy.parameterSubstitution.constantsOnly", True)
    spark.sql("SELECT :name AS name", args={"name": name}).collect()
except Exception as error:
    print(error.getCondition())
"""

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program]
        return subprocess.run(
            command, env={**environment, **more}, capture_output=True, text=True, timeout=100
        )

    with spark_connect.serving() as environment:
        assert run().stdout == "1\nUNBOUND_SQL_PARAMETER\n"  # as chapter 11 says of these versions
        refused = run(SPARK_CONNECT_AUTHENTICATE_TOKEN="a guess")
    assert refused.returncode and "Invalid authentication token" in refused.stderr
    assert spark.range(3).count() == 3


def test_the_command_serves_until_it_is_interrupted(home: Path) -> None:
    command = [sys.executable, "-m", "medallion_cli", "sql", "--port", "0"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
    try:
        assert child.stdout
        address = child.stdout.readline()
        assert f"the key in {warehouse.key_file()}" in child.stdout.readline()
        found = re.search(r"jdbc:hive2://127\.0\.0\.1:(\d+)/ until Ctrl-C", address)
        assert found
        with warehouse.connect("lena", int(found[1])) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == [(1,)]
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 0
        with pytest.raises(warehouse.EndpointError, match="does not answer"):
            warehouse.connect("lena", int(found[1]))
    finally:
        child.kill()
        child.wait()
