"""The Spark session of a notebook: fast, quiet, private to its process, and the same on every laptop.

`start("01")` is the only line of set-up that a chapter has. Locally it starts Spark 4.2 with Delta in
a JVM of its own; with `MEDALLION_MASTER` the driver is here and the work is done by that cluster. On
Databricks and with `SPARK_REMOTE` it returns the session that is there and leaves its settings alone.
After `databricks.use` it makes there what a chapter needs.
"""

import atexit
import importlib.metadata
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from medallion import contract, paths, temporary
from medallion.errors import MedallionError
from medallion.lakehouse import snapshots, tables
from medallion.machine import archive, jars, java, own_classes, surroundings
from medallion.spark import catalog, databricks, display, mlflow_settings, recording, tracebacks

if TYPE_CHECKING:
    from filelock import FileLock
    from pyspark.sql import SparkSession

PROFILES = ("learn", "scale")
# Of what a Java says that ends at once
_LINES, _CHARACTERS = 3, 500
_STUMBLED = "CMD: bad array subscript"
_EXTENSIONS = "spark.sql.extensions"


def start(chapter: str | None = None, *, profile: str | None = None) -> "SparkSession":
    """Return a Spark session with Delta, its tables and views registered, ready for `chapter`.

    `chapter` is the number of a chapter ("01"): what that chapter reads must be there, or a
    MedallionError says which chapter makes it and how to catch up, and what earlier chapters left beside
    the tables is copied, so that `medallion reset` can put it back. Without it neither is done.
    `profile` is "learn" (two cores, little memory, quick to start) or "scale" (all cores, most of
    the memory, the full compiler); without one, MEDALLION_PROFILE says which, else it is "learn".
    Calling it again returns the same session with the tables anew.

    Raises MedallionError for an unknown profile, a missing Java or jar, a missing table, source files that
    have changed, a session of somebody else's in this process, a Spark that does not start, and a
    SPARK_REMOTE that does not answer.
    """
    surroundings.clean()
    if not databricks.is_elsewhere():
        _refuse_another_pyspark()
    paths.make_settings_absolute()
    tracebacks.shorten()
    profile = profile or os.environ.get("MEDALLION_PROFILE") or PROFILES[0]
    if profile not in PROFILES:
        raise MedallionError(f"There is no profile {profile!r}. Choose one of {', '.join(PROFILES)}.")
    spark = _elsewhere()
    if spark is not None:
        if databricks.chosen():
            databricks.begin(spark)
        return spark
    if chapter is not None:
        wanted = contract.read(chapter)
        tables.require(wanted)
        _repair_sources()
        snapshots.take(wanted)
    master = os.environ.get("MEDALLION_MASTER")
    spark = on_cluster(master) if master else local(profile)
    _prepare_scratch()
    catalog.register(spark)
    spark.sql(f"CREATE SCHEMA IF NOT EXISTS scratch LOCATION '{catalog.sql_text(paths.scratch())}'")
    display.show_once()
    return spark


def _repair_sources() -> None:
    """Put right what a copy of the source files has lost, and say so.

    Raises MedallionError when they are no longer what the generator wrote.
    """
    import kestrel

    try:
        told = kestrel.repair(paths.landing())
    except kestrel.Refused as error:
        raise MedallionError(str(error)) from error
    for sentence in told:
        warnings.warn(sentence, stacklevel=3)  # the cell that calls `start`


def _elsewhere() -> "SparkSession | None":
    """Return the session that the surroundings have, or None when Spark is to be started from here."""
    if not databricks.is_elsewhere():
        return None
    surroundings.require_remote()
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


def _refuse_another_pyspark() -> None:
    """Raise MedallionError when this process has imported a PySpark that is not the installed one."""
    import pyspark

    installed = importlib.metadata.distribution("pyspark").locate_file("pyspark")
    found = Path(pyspark.__file__).parent
    if found.resolve() != Path(str(installed)).resolve():
        raise MedallionError(
            f"This Python has imported PySpark {pyspark.__version__} from {found}, not the course's. "
            "Take that folder off PYTHONPATH, where this notebook was started, and start it again."
        )


def on_cluster(master: str) -> "SparkSession":
    """Return the session of this process whose work a cluster does: "spark://host:7077" or "yarn", say.

    It has what the chapters rely on. How much memory and how many cores it takes, and all else, is said by
    the `spark-defaults.conf` in SPARK_CONF_DIR. All machines of the cluster need the lakehouse's folder and
    a Python with the same packages, each at the same path as here.
    """
    settings = _relied_on() | {
        "spark.master": master,
        "spark.jars": ",".join(jar.as_uri() for jar in jars.verified()),
        "spark.driver.extraJavaOptions": " ".join(_plain_java_options()),
        "spark.executor.extraJavaOptions": "-Duser.timezone=UTC",
    }
    with _surroundings() as log:
        return _session(settings, log)


def local(profile: str, archive_to: Path | None = None) -> "SparkSession":
    """Return the Spark session of this process, started on this machine with `settings(profile)`."""
    ours = own_classes.file_settings() | own_classes.page_settings()
    chosen = settings(profile, archive_to) | ours | recording.begin()
    conf = str(Path(for_any_jvm()["SPARK_HOME"]) / "conf")
    with _surroundings(SPARK_CONF_DIR=conf, SPARK_LOCAL_IP="127.0.0.1") as log:
        return _session(chosen, log)


def _session(chosen: dict[str, str], log: Path) -> "SparkSession":
    from pyspark import SparkContext
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    running = SparkContext._active_spark_context
    if running and running.getConf().get(_EXTENSIONS) != chosen[_EXTENSIONS]:
        raise MedallionError(
            "This process has a Spark session that medallion.start did not start, and that has no Delta. "
            "Restart the kernel, and let medallion.start be the first that starts Spark."
        )
    builder = SparkSession.builder.appName("medallion")
    for key, value in chosen.items():
        builder = builder.config(key, value)
    begins = log.stat().st_size
    try:
        spark = builder.getOrCreate()
    except PySparkRuntimeError as error:
        if error.getCondition() != "JAVA_GATEWAY_EXITED":
            raise
        raise MedallionError(
            f"Java ended before Spark had started. {_last_words(log, begins)}All that it said is in {log}; "
            "`medallion doctor` looks for the cause."
        ) from None
    tracebacks.quieten()
    return spark


def _last_words(log: Path, begins: int) -> str:
    """Return what was said last in `log` from the byte `begins` on, but for frames; "" for nothing."""
    said = map(str.strip, log.read_bytes()[begins:].decode(errors="replace").splitlines())
    # Where Java said nothing that it expects, Spark's script stumbles and adds a line of its own.
    told = [line for line in said if line and not line.startswith(("at ", "...")) and _STUMBLED not in line]
    last = " / ".join(told[-_LINES:])
    return f"It said last: {last[-_CHARACTERS:].rstrip('.')}. " if last else ""


def settings(profile: str, archive_to: Path | None = None) -> dict[str, str]:
    """Return the Spark settings of a local session. The comments say what each is for.

    With `archive_to` the JVM writes its class archive there as it exits.
    """
    cores = os.cpu_count() or 2
    learn = profile == "learn"
    parallel = 2 if learn else cores
    return _relied_on() | {
        # Two cores everywhere: the number of files a write leaves behind is then the same on every laptop.
        "spark.master": f"local[{parallel}]",
        "spark.driver.memory": "720m" if learn else f"{_memory_for_scale()}m",
        "spark.driver.extraJavaOptions": " ".join(_java_options(learn, archive_to)),
        # The defaults, 50, 10,000 and 200, are made for clusters: each small read, each VACUUM and each
        # shuffle would be as many tasks. VACUUM of a table with four files took a hundred seconds.
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(parallel),
        # More than 32 folders or files would be listed by a job: on a laptop's disk a loop is quicker.
        "spark.sql.sources.parallelPartitionDiscovery.threshold": "10000",
        "spark.sql.shuffle.partitions": str(parallel if learn else 2 * parallel),
        # Queries that name a pool take turns with the others. Without one nothing changes: see the file.
        "spark.scheduler.mode": "FAIR",
        "spark.scheduler.allocation.file": str(Path(__file__).with_name("pools.xml")),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        # Python workers are forked from a process that has imported pandas already.
        "spark.python.daemon.module": "medallion.spark.worker_daemon",
    }


def _relied_on() -> dict[str, str]:
    """Return the settings without which the chapters do something else, wherever Spark runs."""
    return {
        _EXTENSIONS: "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        # Tables are folders of the lakehouse, registered in memory: no metastore that locks.
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(paths.home() / "default"),
        # Otherwise `writeStream.toTable` writes Parquet and says nothing.
        "spark.sql.sources.default": "delta",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.repl.eagerEval.enabled": "true",
        "spark.sql.repl.eagerEval.truncate": "60",
        "spark.ui.showConsoleProgress": "false",
        "spark.pyspark.python": sys.executable,
        "spark.pyspark.driver.python": sys.executable,
    }


def _plain_java_options() -> list[str]:
    log4j = (Path(__file__).parent / "log4j2.properties").as_uri()
    options = [f"-Dlog4j2.configurationFile={log4j}", "-Duser.timezone=UTC", "-Duser.language=en"]
    # There Spark keeps what does not fit in memory, which is nobody else's to read, and unpacks libraries.
    return [*options, f"-Djava.io.tmpdir={temporary.of_process()}"]


def _java_options(learn: bool, archive_to: Path | None) -> list[str]:
    # Of two class paths Java takes the last: this one comes after that of Spark's launcher, which has a jar
    # twice and a folder that is not there. With such a class path Java 21 uses no archive.
    class_path = [*jars.class_path(), *map(str, recording.more_jars())]
    options = [*_plain_java_options(), "-cp", _quoted(os.pathsep.join(class_path))]
    shared = archive.options_to_make(archive_to) if archive_to else archive.options()
    options += map(_quoted, shared)
    if learn:
        # The quick compiler only: a notebook's JVM rarely lives long enough to repay the other one. It
        # would get a code cache of 48 MB, which a chapter fills: code is then swept out and compiled again.
        options += ["-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=240m"]
        # A fixed share of the heap for the young: more saves a few collections and costs as much memory.
        options += ["-XX:+UseSerialGC", "-XX:NewSize=120m", "-XX:MaxNewSize=120m"]
    return options


def _quoted(option: str) -> str:
    return '"' + option.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _memory_for_scale() -> int:
    """Return six tenths of the machine's memory, in MB, and no less than 2,000."""
    import psutil

    return max(2_000, int(psutil.virtual_memory().total * 0.6 / 1_000_000))


def for_any_jvm() -> dict[str, str]:
    """Return the environment that a JVM needs to start at all: its Java, our Spark, and UTF-8."""
    import pyspark

    needed = {
        "JAVA_HOME": str(java.find().home),
        # A SPARK_HOME of another Spark on this machine would be taken for ours.
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
    }
    if sys.platform != "darwin":
        # In a C locale the JVM cannot open a folder named `Kurs für Anfänger`.
        needed["LC_ALL"] = "C.UTF-8"
    return needed


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs: a JVM that starts in it inherits them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _surroundings(**more: str) -> Iterator[Path]:
    """Set what a JVM of ours inherits as it starts: Java, UTC, UTF-8, `more`, and a log, which is yielded.

    Python's own clock is set to UTC for good: `collect()` converts timestamps by it, and outputs
    must be the same in Kolkata and in Quito.
    """
    os.environ["TZ"] = "UTC"
    time.tzset()
    # These stay: they are read again whenever a Python worker starts, and when MLflow is imported.
    mlflow_settings.prepare()
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    log = paths.log("spark")
    with _environment(for_any_jvm() | more), _output_to(log):
        yield log


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Let a process that is started within inherit `log` as its standard output and error."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in (*kept, target):
            os.close(descriptor)


def _prepare_scratch() -> None:
    """Make this session's scratch folder, and remove those of sessions that are gone.

    A session holds a lock until it ends, however it ends. The number of its process would tell nothing of one
    in another container.
    """
    from filelock import FileLock, Timeout

    mine = paths.scratch()
    _hold(mine)
    mine.mkdir(parents=True, exist_ok=True)
    for folder in mine.parent.glob("[0-9]*"):
        if folder == mine:
            continue
        with suppress(Timeout, OSError, NotImplementedError), FileLock(_lock(folder), timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            _lock(folder).unlink(missing_ok=True)


@cache
def _hold(scratch: Path) -> "FileLock":
    """Lock a scratch folder for this process, and have it removed when the process ends."""
    from filelock import FileLock

    scratch.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock(scratch))
    with suppress(OSError, NotImplementedError):  # where a disk has no locks, nobody removes what is left
        lock.acquire(timeout=0)
    atexit.register(_lock(scratch).unlink, missing_ok=True)
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return lock


def _lock(scratch: Path) -> Path:
    return scratch.with_name(f".{scratch.name}.lock")
