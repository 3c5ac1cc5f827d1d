"""Compare `medallion.start()` with the session of Delta's quickstart, over the same work.

Each run is a process of its own, with an empty lakehouse. The runs alternate (Medallion, quickstart,
Medallion, quickstart, …), so that a machine that slows down or speeds up meanwhile does so for both.
The clock starts before Spark is imported. Memory is the peak of the whole process tree (Python, the
JVM, Python workers), sampled every 200 ms: PSS, which counts a shared page once, and where the system
has no PSS the sum of RSS.

    .venv/bin/python benchmarks/session.py [PAIRS]
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from processes import peak_of
from rich.console import Console

from medallion.errors import MedallionError
from medallion.machine import archive, jars, java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KINDS = ("medallion", "quickstart")
ROWS = 20_000
STEPS = ("session", "first commit", "MERGE", "five appends", "aggregate")


def medallion_session(_: Path) -> "SparkSession":
    """Start Spark as a chapter does."""
    import medallion

    return medallion.start()


def quickstart_session(folder: Path) -> "SparkSession":
    """Start Spark as Delta's quickstart does, with the same jars, already on this disk.

    `spark.jars` stands for the quickstart's `configure_spark_with_delta_pip`, which names packages for
    Ivy to look up: nothing is fetched or looked up while the clock runs. Only the place of the tables,
    the loopback address and the Java (the one Medallion uses) are set besides.
    """
    os.environ.update(JAVA_HOME=str(java.find().home), SPARK_LOCAL_IP="127.0.0.1")
    from pyspark.sql import SparkSession

    return (
        SparkSession.builder.appName("quickstart")
        .master("local[*]")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.jars", ",".join(str(jar) for jar in jars.verified()))
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        .getOrCreate()
    )


def work(start: Callable[[], "SparkSession"]) -> dict[str, float]:
    """Do the work, and return the seconds of each step; "session" includes the import of Spark.

    Raises AssertionError when the table does not end as the work says it must.
    """
    seconds = {}
    clock = time.perf_counter()

    def lap(step: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[step], clock = now - clock, now

    spark = start()
    lap("session")
    rows = spark.range(ROWS).selectExpr("id", "id % 7 AS kind", "CAST(id * 3 AS BIGINT) AS cents")
    rows.write.format("delta").saveAsTable("bench")
    lap("first commit")
    spark.sql(
        f"""MERGE INTO bench AS t
        USING (
            SELECT id, id % 7 AS kind, CAST(1 AS BIGINT) AS cents FROM range({ROWS - 500}, {ROWS + 500})
        ) AS s
        ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET cents = s.cents
        WHEN NOT MATCHED THEN INSERT *"""
    )
    lap("MERGE")
    for batch in range(5):
        begin = ROWS + 500 + 1000 * batch
        more = spark.range(begin, begin + 1000).selectExpr(
            "id", "id % 7 AS kind", "CAST(1 AS BIGINT) AS cents"
        )
        more.write.format("delta").mode("append").saveAsTable("bench")
    lap("five appends")
    groups = spark.sql("SELECT kind, count(*) AS n, sum(cents) AS cents FROM bench GROUP BY kind").collect()
    lap("aggregate")
    found = (len(groups), sum(group.n for group in groups), sum(group.cents for group in groups))
    untouched = ROWS - 500
    expected = (7, ROWS + 5500, 3 * untouched * (untouched - 1) // 2 + 6000)
    assert found == expected, f"the work ended with {found} instead of {expected}"
    return seconds


def one_run(kind: str, result: Path) -> None:
    """Do the work in this process, in the current folder, and write its seconds to `result`."""
    start = {"medallion": medallion_session, "quickstart": quickstart_session}[kind]
    seconds = work(lambda: start(Path.cwd()))
    result.write_text(json.dumps(seconds), encoding="utf-8")


def measure(kind: str) -> tuple[dict[str, float], int]:
    """Run `kind` once in a process and a folder of its own: seconds by step, and peak memory in bytes.

    Raises MedallionError when the class archive is missing: what is measured is a machine after set-up.
    """
    if not archive.path().exists():
        raise MedallionError(
            "There is no class archive for this Java and these jars. Run `./medallion setup`."
        )
    with tempfile.TemporaryDirectory(prefix="medallion-bench-") as folder:
        result = Path(folder) / "seconds.json"
        log = Path(folder) / "output.log"
        command = [sys.executable, __file__, "--run", kind, str(result)]
        peak = peak_of(command, Path(folder), log, MEDALLION_HOME=str(Path(folder) / "lakehouse"))
        return json.loads(result.read_text(encoding="utf-8")), peak


def main(pairs: int) -> None:
    """Print seconds and memory of each run as a table, then the ratio of each pair and the median."""
    console = Console(stderr=True)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    print(f"{day}, {os.cpu_count()} cores, Java {java.find().version}, Python {platform.python_version()}\n")
    print("| pair | session | " + " | ".join(STEPS) + " | total s | memory MB |")
    print("|---|---|" + "---:|" * (len(STEPS) + 2), flush=True)
    ratios = []
    for pair in range(1, pairs + 1):
        totals = {}
        for kind in KINDS:
            with console.status(f"Pair {pair} of {pairs}: {kind}"):
                seconds, peak = measure(kind)
            totals[kind] = sum(seconds.values())
            steps = " | ".join(f"{seconds[step]:.1f}" for step in STEPS)
            print(f"| {pair} | {kind} | {steps} | {totals[kind]:.1f} | {peak / 1e6:.0f} |", flush=True)
        ratios.append(totals["medallion"] / totals["quickstart"])
    told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(
        f"\nMedallion's time over the quickstart's, by pair: {told}; median {statistics.median(ratios):.2f}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        one_run(sys.argv[2], Path(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
