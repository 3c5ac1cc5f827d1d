"""A cluster on this machine: a session finds it, its executors do the work, and nothing of it stays."""

import json
import os
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import strangers
from deltalake import DeltaTable

from medallion.errors import MedallionError
from medallion.servers import cluster
from medallion.spark import session

WORK = """
import json, os, sys, medallion
from delta.tables import DeltaTable
from pyspark.sql import functions as F

spark = medallion.start()
spark.range(100).selectExpr("id", "id % 7 AS g").write.saveAsTable("bronze.numbers")
new = spark.range(90, 110).selectExpr("id", "7L AS g")
table = DeltaTable.forName(spark, "bronze.numbers")
merge = table.alias("old").merge(new.alias("new"), "old.id = new.id")
merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()

@F.pandas_udf("long")
def process(ids):
    return ids * 0 + os.getppid()

parents = {row[0] for row in spark.range(4, numPartitions=4).select(process("id")).collect()}
place = str(medallion.home() / "checkpoint")
stream = spark.readStream.table("bronze.numbers").writeStream.option("checkpointLocation", place)
stream.trigger(availableNow=True).toTable("silver.numbers").awaitTermination()
import psutil
from urllib.parse import urlsplit
sys.path.append(sys.argv[1])
import strangers
strangers.are_refused(urlsplit(spark.sparkContext.uiWebUrl).port, "/jobs/")
family = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
ports = [port for process in family for port in process.net_connections()]
print(json.dumps({
    "open to": sorted({port.laddr.ip.removeprefix("::ffff:") for port in ports if port.status == "LISTEN"}),
    "master": spark.sparkContext.master,
    "executors": spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1,
    "here": os.getpid() in parents,
    "format": spark.sql("DESCRIBE DETAIL silver.numbers").first().format,
    "shuffles": spark.conf.get("spark.sql.shuffle.partitions"),
}))
"""


# A master that starts a process, as a worker starts executors, and says which the two are
SPARK_CLASS = """\
#!/bin/sh
sleep 600 &
echo $! $$ > "$1.new" && mv "$1.new" "$1"
exec sleep 600
"""
KILLED = """
import os, sys, time
from pathlib import Path
from medallion.servers import cluster

folder = Path(sys.argv[1])
with cluster._process("master", [sys.argv[2]], os.environ, folder):
    time.sleep(600)
"""


def run(program: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_the_executors_do_the_work_and_the_tables_are_in_the_lakehouse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "Kurs für Anfänger"
    monkeypatch.setenv("MEDALLION_HOME", str(home))
    before = psutil.Process().children(recursive=True)
    with cluster.running(workers=2) as there:
        settings = there.settings / "spark-defaults.conf"
        assert stat.S_IMODE(settings.stat().st_mode) == 0o600, "the secret is in it"
        with settings.open("a", encoding="utf-8") as file:
            file.write("spark.sql.shuffle.partitions 3\n")
        done = run(WORK, **there.environment)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {
            "open to": ["127.0.0.1"],
            "master": there.master,
            "executors": 2,
            "here": False,
            "format": "delta",
            "shuffles": "3",  # how fast it is, is the cluster's own affair
        }
        # Only those who have the secret may use it.
        other = tmp_path / "other"
        other.mkdir()
        stranger = {**there.environment, "SPARK_CONF_DIR": str(other)}
        refused = run("import medallion; medallion.start().range(1).count()", **stranger)
        assert refused.returncode != 0
        started = set(psutil.Process().children(recursive=True)) - set(before)
        assert len(started) >= 3, "a master and two workers"
        sockets = [one for process in started if alive(process) for one in process.net_connections()]
        listening = {one.laddr for one in sockets if one.status == psutil.CONN_LISTEN}
        assert {address.ip.removeprefix("::ffff:") for address in listening} <= {"127.0.0.1", "::1"}
        assert len(listening) == 6, "each has a port, for those who have the secret, and a page, and no more"
        with urllib.request.urlopen(f"{there.page}json/") as state:
            worker = json.load(state)["workers"][0]["webuiaddress"]
        for page in (there.page, worker):
            strangers.are_refused(urlsplit(page).port or 0, "/")
    assert DeltaTable(str(home / "silver" / "numbers")).count() == 110
    assert not [process for process in started if alive(process)], "nothing of it stays"
    assert not there.settings.exists()


def test_killed_it_takes_its_processes_and_its_secret_along(tmp_path: Path) -> None:
    spark_class = tmp_path / "spark" / "bin" / "spark-class"
    spark_class.parent.mkdir(parents=True)
    spark_class.write_text(SPARK_CLASS, encoding="utf-8")
    spark_class.chmod(0o755)
    folder, started = tmp_path / "folder", tmp_path / "started"
    (folder / "conf").mkdir(parents=True)
    there = {"MEDALLION_HOME": str(tmp_path / "home"), "SPARK_HOME": str(tmp_path / "spark")}
    command = [sys.executable, "-c", KILLED, str(folder), str(started)]
    with subprocess.Popen(command, env=os.environ | there) as child:
        while not started.exists():
            assert child.poll() is None
            time.sleep(0.05)
        processes = [psutil.Process(int(number)) for number in started.read_text().split()]
        assert folder.exists() and all(map(alive, processes))
        child.kill()
    give_up = time.monotonic() + 20
    while (any(map(alive, processes)) or folder.exists()) and time.monotonic() < give_up:
        time.sleep(0.05)
    left = [process for process in processes if alive(process)]
    for process in left:
        process.kill()
    assert not left and not folder.exists()


def test_a_process_that_ends_by_itself_is_seen_to_end(tmp_path: Path) -> None:
    around = [sys.executable, "-m", "medallion.servers.group", str(os.getpid()), str(tmp_path), "false"]
    with subprocess.Popen(around, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.wait(timeout=20) != 0
    assert tmp_path.exists(), "the others work in the folder still"


def test_a_cluster_that_does_not_come_up_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    monkeypatch.setattr(cluster, "_SECONDS", 0)
    told = r"Of 1 workers 0 have found the master within 0 seconds\. "
    with pytest.raises(MedallionError, match=told), cluster.running(workers=1):
        pass


@pytest.mark.parametrize(("name", "given"), [("workers", 0), ("workers", -1), ("cores", 0), ("memory", -5)])
def test_a_number_that_makes_no_cluster_is_refused(name: str, given: int) -> None:
    told = rf"--{name} is {given}\. Give it \d+ or more\."
    with pytest.raises(MedallionError, match=told), cluster.running(**{name: given}):
        pass


def test_a_process_that_ends_at_once_is_named_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    monkeypatch.setattr(cluster, "_MASTER", "org.apache.spark.NoSuchClass")
    monkeypatch.setattr(cluster, "_WORKER", "org.apache.spark.NoSuchClass")
    told = r"The (master|worker-1) has ended\. What it said is in .*logs, in the newest file cluster-\1-"
    with pytest.raises(MedallionError, match=told), cluster.running(workers=1):
        pass


def test_settings_that_the_chapters_rely_on_are_the_same_here_and_there() -> None:
    assert session.settings("learn").items() >= session._relied_on().items()
