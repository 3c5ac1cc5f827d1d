"""A SQL endpoint over the tables of this session: Spark's Thrift server, on loopback, behind a key.

    warehouse.start()
    with warehouse.connect("lena") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM gold.fact_sales")
        cursor.fetchall()
    warehouse.history()   # who asked what, how long it took, how many rows were fetched, how it ended
    warehouse.stop()

It speaks the protocol of HiveServer2, as JDBC and ODBC drivers for Hive and Spark do. Each connection is a
session of its own: temporary views, variables and settings are not the notebook's, and end with it. The
login is only said. What is proved is the key, which is in a file that only this user can read; whoever has it
can do in Spark, and with the files of this machine, what this user can.
"""

import json
import logging
import os
import re
import secrets
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError
from pyhive import exc, hive
from thrift.transport.TTransport import TTransportException

from medallion import paths, temporary
from medallion.errors import MedallionError
from medallion.files import write_private
from medallion.machine import own_classes
from medallion.servers import server
from medallion.spark import databricks, session

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["beeline", "connect", "history", "start", "stop"]

PORT = 10_000
COLUMNS = ("login", "statement", "started", "seconds", "rows", "state")
_SECONDS = 30
_ENDED = {
    "CANCELED": "The query was cancelled.",
    "CLOSED": "The query was cancelled.",
    "TIMEDOUT": "The query ran longer than spark.sql.thriftServer.queryTimeout allows, and was cancelled.",
}
_GONE = (
    "The SQL endpoint does not answer{where}. Start it with `warehouse.start()`, or `medallion sql` in a "
    "terminal, and connect again."
)


# It prints addresses and ports of what it cannot reach, beside the error that it raises
logging.getLogger("thrift").setLevel(logging.CRITICAL + 1)


class EndpointError(MedallionError, exc.OperationalError):
    """The endpoint refuses, is gone, or could not do what it was asked: an error of DB-API too."""


@dataclass(frozen=True)
class _Endpoint:
    """The endpoint of this process: its port, its context, Spark's server, and what keeps its history."""

    port: int
    context: Any
    java: Any
    kept: Any


_running: _Endpoint | None = None
# How many rows the cursors of this process have fetched, by the id of the statement
_fetched: Counter[str] = Counter()


def start(port: int = 0) -> int:
    """Serve the tables of this process's session over SQL, and return the port once a login succeeds.

    `port` 0 takes one that is free. Where it runs already, this returns its port. It ends with `stop()`,
    with the session, and with this process.

    Raises MedallionError without a session, on Databricks, before set-up, for a port that is taken, and when
    it does not answer.
    """
    global _running
    spark = _session()
    if _running is not None and _running.context is spark.sparkContext:
        return _running.port
    stop()
    if not own_classes.path().exists():
        raise MedallionError("The class that asks for the key is missing. Run `medallion setup`.")
    with server.listen(port) as listener:
        port = listener.getsockname()[1]
    key_file = _new_key()
    jvm: Any = spark._jvm
    properties = {
        "medallion.sql.key": str(key_file),
        # The server takes this one from the JVM's properties and from nowhere else
        "hive.server2.custom.authentication.class": "medallion.SqlKey",
        # Otherwise Hive's own database writes a log into the folder of the notebook
        "derby.stream.error.file": str(temporary.of_process() / "derby.log"),
    }
    for name, value in properties.items():
        jvm.java.lang.System.setProperty(name, value)
    settings = spark.sparkContext._jsc.hadoopConfiguration()
    for name, value in _settings(port).items():
        settings.set(name, value)
    kept = jvm.medallion.SqlHistory()
    spark.sparkContext._jsc.sc().addSparkListener(kept)
    # Hive would take the settings of this thread's last server, its port among them
    jvm.org.apache.hadoop.hive.ql.session.SessionState.detachSession()
    thrift = jvm.org.apache.spark.sql.hive.thriftserver.HiveThriftServer2
    try:
        java = thrift.startWithContext(spark._jsparkSession.sqlContext())
    except Py4JJavaError as error:
        spark.sparkContext._jsc.sc().removeSparkListener(kept)
        raise MedallionError(
            f"The SQL endpoint did not start on port {port}. Is it taken? What Spark said is in "
            f"{paths.log('spark')}."
        ) from error
    _running = _Endpoint(port, spark.sparkContext, java, kept)
    _wait(port)
    return port


def stop() -> None:
    """End the endpoint of this process. Stopping it again does nothing."""
    global _running
    if _running is not None:
        ended, _running = _running, None
        with _java_may_be_gone():
            ended.java.stop()
            ended.context._jsc.sc().removeSparkListener(ended.kept)


def connect(login: str, port: int | None = None, **settings: Any) -> "Connection":
    """Return a DB-API connection under a login, to the endpoint of this process or that on another `port`.

    More `settings` are those of PyHive's `connect`. Spark ignores one of its own without the prefix:
    `configuration={"set:hiveconf:spark.sql.ansi.enabled": "false"}`.
    Raises EndpointError when nobody listens there, and when the key is not the right one.
    """
    port = port or (_running.port if _running else PORT)
    try:
        return Connection(server.HOST, port, username=login, password=_read_key(), auth="CUSTOM", **settings)
    except TTransportException as error:
        if "login" in str(error):
            raise EndpointError(
                f"The SQL endpoint refuses this key. It wants that of {key_file()}."
            ) from None
        raise EndpointError(_GONE.format(where=f" on port {port}")) from None


def history() -> "pd.DataFrame":
    """Return what the endpoint of this process was asked since its start, the oldest first.

    The columns are `login`, `statement`, `started` (UTC), `seconds` (NaN while it runs), `rows` and
    `state`: running, finished, failed, cancelled or timed out. Rows are those that a cursor of this process
    has fetched; Spark counts none for other programs, and they are NaN there. What a client asks by itself,
    such as the `USE` of PyHive, is in the history too.

    Raises MedallionError when no endpoint runs in this process.
    """
    import pandas as pd

    if _running is None:
        raise MedallionError("No SQL endpoint runs in this notebook. Start it with `warehouse.start()`.")
    _running.context._jsc.sc().listenerBus().waitUntilEmpty()
    kept = [
        {
            "login": one["login"],
            "statement": one["statement"],
            "started": pd.Timestamp(one["started"], unit="ms", tz="UTC"),
            "seconds": (one["ended"] - one["started"]) / 1000 if "ended" in one else float("nan"),
            "rows": _fetched.get(one["id"], float("nan")),
            "state": one["state"],
        }
        for one in json.loads(_running.kept.json())
    ]
    return pd.DataFrame(kept, columns=list(COLUMNS))


def serve(port: int = PORT) -> None:
    """Serve the tables of the lakehouse, say how a client finds them, and return on Ctrl-C or SIGTERM.

    Raises MedallionError like `start`.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    session.start()
    port = start(port)
    try:
        print(f"The tables are served at {address(port)} until Ctrl-C.")
        print(f"A login is any name; the password is the key in {key_file()}.", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print("\nThe SQL endpoint has ended.")
    finally:
        stop()


def address(port: int | None = None) -> str:
    """Return the JDBC address of the endpoint of this process, or of that on another `port`."""
    return f"jdbc:hive2://{server.HOST}:{port or (_running.port if _running else PORT)}/"


def key_file() -> Path:
    """Return the file with the key of the endpoints of this lakehouse, which each client needs to read."""
    return paths.home() / "sql" / "key"


def beeline(login: str, statement: str, port: int | None = None) -> str:
    """Return what `beeline`, the client in Spark's own wheel, prints for a statement, as CSV.

    It is a JVM of its own. It reads the key from its file, since everybody can see a program's arguments.
    Raises MedallionError, with what it said, when it fails.
    """
    environment = {**os.environ, **session.for_any_jvm(), "HADOOP_CLIENT_OPTS": "-Xmx200m"}
    asked = ["-u", address(port), "-n", login, "-w", str(key_file()), "-e", statement]
    program = Path(environment["SPARK_HOME"]) / "bin" / "beeline"
    ran = subprocess.run(
        [str(program), "--silent=true", "--outputformat=csv2", *asked],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        said = [line for line in ran.stderr.splitlines() if "Error" in line and "Picked up" not in line]
        raise MedallionError(f"beeline failed: {_sentence(said[0] if said else ran.stderr)}")
    # Without a terminal it writes its prompt before the first line
    return re.sub(r"\A.*?> ", "", ran.stdout).strip()


class Connection(hive.Connection):
    """A connection of PyHive whose cursors say in one sentence what went wrong."""

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return not self._transport.isOpen()

    def cursor(self, *arguments: Any, **named: Any) -> "Cursor":
        return Cursor(self, *arguments, **named)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        with _in_a_sentence():
            self.close()


class Cursor(hive.Cursor):
    """A cursor of PyHive; its `cancel()` ends the statement on the server, also one that was not waited for.

    `execute(…, async_=True)` does not wait.
    """

    def execute(self, operation: str, parameters: Any = None, **named: Any) -> None:
        with _in_a_sentence():
            super().execute(operation, parameters, **named)

    def cancel(self) -> None:
        with _in_a_sentence():
            super().cancel()

    def _fetch_more(self) -> None:
        before = len(self._data)
        with _in_a_sentence():
            super()._fetch_more()
        guid = self._operationHandle.operationId.guid
        _fetched[str(uuid.UUID(bytes=guid))] += len(self._data) - before


def _session() -> Any:
    from pyspark.sql import SparkSession

    if databricks.is_elsewhere():
        raise MedallionError("This session runs elsewhere. A workspace of Databricks has SQL warehouses.")
    # That of another thread, too
    spark = SparkSession.getActiveSession() or SparkSession._instantiatedSession
    if spark is None:
        raise MedallionError("No session runs. Begin with `spark = medallion.start()`.")
    return spark


def _settings(port: int) -> dict[str, str]:
    """Return the settings of Hive's server."""
    place = temporary.of_process() / "sql"
    return {
        "hive.server2.thrift.bind.host": server.HOST,
        "hive.server2.thrift.port": str(port),
        "hive.server2.authentication": "CUSTOM",
        "hive.exec.scratchdir": str(place / "scratch"),
        "hive.exec.local.scratchdir": str(place / "local"),
        # Otherwise each query waits for the client to ask again, and a poll for five seconds
        "hive.server2.long.polling.timeout": "200ms",
    }


def _new_key() -> Path:
    """Write a new key for the endpoints of this lakehouse, for this user alone; return its file.

    A client sends the key to whoever listens on the port, so one that was caught opens no later endpoint. An
    endpoint that runs already reads the file at each login.
    """
    file = key_file()
    folder = paths.writable(file.parent, "MEDALLION_HOME")
    folder.chmod(0o700)
    write_private(file, secrets.token_urlsafe(24))
    return file


def _read_key() -> str:
    try:
        return key_file().read_text(encoding="ascii")
    except FileNotFoundError:
        raise EndpointError(_GONE.format(where=": this lakehouse has no key yet")) from None


def _wait(port: int) -> None:
    """Return when a login succeeds; otherwise stop the endpoint and raise MedallionError."""
    give_up = time.monotonic() + _SECONDS
    while True:
        try:
            connect("medallion", port).close()
            return
        except EndpointError as error:
            if time.monotonic() > give_up:
                stop()
                raise MedallionError(
                    f"The SQL endpoint did not come up: {error} What Spark said is in {paths.log('spark')}."
                ) from None
            time.sleep(0.1)


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    """Raise what goes wrong in the block as EndpointError, with Spark's first line and no Java frame."""
    try:
        yield
    except exc.OperationalError as error:
        raise EndpointError(_told(error)) from None
    except (TTransportException, OSError):
        raise EndpointError(_GONE.format(where="")) from None


def _told(error: exc.OperationalError) -> str:
    """Return what Spark said, in one line."""
    status = getattr(error.args[0], "status", None) if error.args else None
    said = str(getattr(status, "errorMessage", None) or error)
    if found := re.search(r"but found ([A-Z]+)", said):
        return _ENDED.get(found[1], said)
    if "InterruptedException" in said:  # it is being stopped
        return _GONE.format(where="")
    return _sentence(said)


def _sentence(said: str) -> str:
    """Return the condition and the sentence of an error, without classes of Java and the plan that follows.

    It begins as in "Error running query: [CONDITION] class: [CONDITION] sentence SQLSTATE: 42000; line 1".
    """
    line = " ".join(said.split("== SQL ==")[0].split())
    line = re.sub(r"^.*?Error running query: (?:\[\S+\] )?[\w.$]+: ", "", line)
    return re.sub(r" SQLSTATE: .*", "", line).strip()


@contextmanager
def _java_may_be_gone() -> Iterator[None]:
    """Let pass that Spark has been stopped, and its JVM with it."""
    from py4j.protocol import Py4JError

    with suppress(Py4JError, OSError, AttributeError):
        yield
