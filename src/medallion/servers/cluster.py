"""A Spark cluster on this machine: a master and workers, each a process, as the standalone mode has them.

It is for trying how the course runs when the driver and the executors are different processes. It is no
faster than a session without it, since it has the same cores. Everything is on loopback, and whoever talks
to it needs the secret that is in its folder of settings.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from medallion import paths, temporary
from medallion.errors import MedallionError
from medallion.machine import own_classes
from medallion.servers.server import HOST
from medallion.spark import session

_SECONDS = 60
_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs: its `master`, its `page`, and `settings`, the folder for SPARK_CONF_DIR."""

    master: str
    page: str
    settings: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to have in its environment for `medallion.start()` to use this cluster."""
        return {
            "MEDALLION_MASTER": self.master,
            "SPARK_CONF_DIR": str(self.settings),
            # Otherwise the web page of the session would be there for the whole network.
            "SPARK_LOCAL_IP": HOST,
        }


@contextmanager
def running(workers: int = 2, cores: int = 1, memory: int = 1000) -> Iterator[Cluster]:
    """Run a master and `workers` workers until the end of the block.

    Of each worker a session gets `cores` and `memory` MB. There is room for two sessions at once, since a
    chapter may start a second one.

    Raises MedallionError for less than one worker or core or 500 MB, and when it does not come up; what its
    processes said is in the logs of the lakehouse.
    """
    for name, given, least in (("workers", workers, 1), ("cores", cores, 1), ("memory", memory, 500)):
        if given < least:
            raise MedallionError(f"--{name} is {given}. Give it {least} or more.")
    with temporary.folder("cluster-") as folder, ExitStack() as stack:
        settings = folder / "conf"
        _write(settings, memory, workers * cores)
        port, page = _free(), _free()
        cluster = Cluster(f"spark://{HOST}:{port}", f"http://{HOST}:{page}/", settings)
        environment = {**os.environ, **session.for_any_jvm(), **cluster.environment}
        environment["SPARK_DAEMON_CLASSPATH"] = str(own_classes.path())
        environment["SPARK_WORKER_DIR"] = str(folder / "work")
        ports = ["--host", HOST, "--port", str(port), "--webui-port", str(page)]
        master = _process("master", [_MASTER, *ports], environment, folder)
        processes = {"master": stack.enter_context(master)}
        for number in range(1, workers + 1):
            room = ["--cores", str(2 * cores), "--memory", f"{2 * memory}m"]
            program = [_WORKER, "--host", HOST, "--webui-port", "0", *room, cluster.master]
            name = f"worker-{number}"
            processes[name] = stack.enter_context(_process(name, program, environment, folder))
        _wait(cluster, workers, processes)
        yield cluster


def serve(workers: int, cores: int, memory: int) -> None:
    """Run a cluster, say how a session finds it, and return on Ctrl-C, SIGTERM or a closed terminal."""
    for stop in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stop) != signal.SIG_IGN:  # nohup ignores a closed terminal, and so do we
            signal.signal(stop, signal.default_int_handler)
    with running(workers, cores, memory) as cluster:
        print(f"A master and {workers} workers run until Ctrl-C; what they do is shown at {cluster.page}")
        print("In another terminal:")
        words = " ".join(f"{name}='{value}'" for name, value in cluster.environment.items())
        print(f"  {words} ./medallion run 01 02 03", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("\nThe cluster has ended.")


def _write(settings: Path, memory: int, cores: int) -> None:
    """Write the settings that the master, the workers and whoever connects to them share."""
    settings.mkdir(mode=0o700)
    lines = [
        "spark.authenticate true",
        f"spark.authenticate.secret {secrets.token_hex(32)}",
        # There Spark takes programs to run from whoever asks, also from a page in the browser
        "spark.master.rest.enabled false",
        f"spark.executor.memory {memory}m",
        f"spark.cores.max {cores}",
        f"spark.executor.defaultJavaOptions -Djava.io.tmpdir={settings.parent}",
        # The defaults, 200 and 50, are made for clusters of many machines.
        f"spark.sql.shuffle.partitions {cores}",
        f"spark.databricks.delta.snapshotPartitions {cores}",
        # The web page of a session that connects to us is guarded by a class of ours
        f"spark.driver.extraClassPath {own_classes.path()}",
        *(f"{name} {value}" for name, value in own_classes.page_settings().items()),
    ]
    file = settings / "spark-defaults.conf"
    file.touch(mode=0o600)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _free() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _process(
    name: str, program: list[str], environment: Mapping[str, str], folder: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a class of Spark until the end of the block, or of this process, which also removes `folder`."""
    around = [sys.executable, "-P", "-m", "medallion.servers.group", str(os.getpid()), str(folder)]
    spark_class = Path(environment["SPARK_HOME"]) / "bin" / "spark-class"
    with paths.log(f"cluster-{name}").open("ab") as log:
        process = subprocess.Popen(
            [*around, str(spark_class), *program],
            env=environment,
            stdin=subprocess.PIPE,  # closed when this process ends, whatever ends it
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us: we end them in order
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def _wait(cluster: Cluster, workers: int, processes: Mapping[str, "subprocess.Popen[bytes]"]) -> None:
    """Return when all workers have found the master."""
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy between us and loopback
    give_up = time.monotonic() + _SECONDS
    alive = 0
    while alive < workers:
        if time.monotonic() > give_up:
            raise MedallionError(
                f"Of {workers} workers {alive} have found the master within {_SECONDS} seconds. "
                f"What they said is in {paths.home() / 'logs'}; free memory, and try again."
            )
        for name, process in processes.items():
            if process.poll() is not None:
                raise MedallionError(
                    f"The {name} has ended. What it said is in {paths.home() / 'logs'}, in the newest file "
                    f"cluster-{name}-*.log; fix that, and try again."
                )
        time.sleep(0.2)
        try:
            with ask.open(f"{cluster.page}json/", timeout=5) as answer:
                alive = json.load(answer)["aliveworkers"]
        except OSError:
            continue  # the master has not opened its page yet
