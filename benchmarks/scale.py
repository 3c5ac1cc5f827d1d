"""Measure the way of the orders to Bronze, Silver and Gold at several scales, and where DuckDB stands.

For each scale the source files are generated, and then each step is a process of its own, first with the
session of a notebook (`learn`, 720 MB for the JVM), then with one that takes all cores and six tenths of
the memory (`scale`):

| step | what it does | rows |
|---|---|---|
| bronze | reads the change events of the orders from JSON, writes `bronze.orders` | events |
| silver | keeps the newest event of each order, takes the lines out of it, and writes both | events |
| gold | answers three times what each product brought in each month, and how many bought it | lines |

DuckDB answers the same question from the same Delta files, and the answers have to be equal. Seconds do not
contain the start of a session. Spill is what all stages wrote to disk because it did not fit in memory, by
Spark's own count. Memory is the peak of the whole process tree, sampled every 200 ms.

    .venv/bin/python benchmarks/scale.py FOLDER [SCALE…]

FOLDER must be empty or one of an earlier call; each scale gets a lakehouse there, which stays. Scale 100
takes 10 GB.
"""

import hashlib
import json
import os
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processes import peak_of
from rich.console import Console

import kestrel
from medallion import paths
from medallion.machine import java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCALES = (1.0, 10.0, 100.0)
PROFILES = ("learn", "scale")
ROUNDS = 3
EVENTS = """
    event_id STRING, sequence BIGINT, op STRING, committed_at TIMESTAMP,
    after STRUCT<order_id: STRING, customer_id: STRING, channel: STRING, status: STRING,
        total_cents: INT, ordered_at: TIMESTAMP, locker_id: STRING,
        lines: ARRAY<STRUCT<line_no: INT, product_id: STRING, quantity: INT, unit_price_cents: INT>>>,
    before STRUCT<order_id: STRING>
"""
QUESTION = """
    SELECT CAST(month(ordered_at) AS INT) AS month, product_id,
           CAST(sum(quantity * unit_price_cents) AS BIGINT) AS revenue_cents,
           count(DISTINCT order_id) AS orders, count(DISTINCT customer_id) AS customers
    FROM {orders} JOIN {order_lines} USING (order_id)
    GROUP BY month(ordered_at), product_id
"""


def bronze(spark: "SparkSession") -> tuple[list[float], int]:
    """Write `bronze.orders` from the source files; return its seconds and the rows that were read."""
    clock = time.perf_counter()
    events = spark.read.schema(EVENTS).json(str(paths.landing() / "orders"))
    events.write.mode("overwrite").saveAsTable("bronze.orders")
    return [time.perf_counter() - clock], spark.table("bronze.orders").count()


def silver(spark: "SparkSession") -> tuple[list[float], int]:
    """Write the orders as they are now, and their lines; return the seconds and the events that were read."""
    clock = time.perf_counter()
    spark.sql("""
        CREATE OR REPLACE TABLE silver.orders AS
        SELECT newest.after.* FROM (
            SELECT max_by(struct(op, after), sequence) AS newest FROM bronze.orders
            GROUP BY coalesce(after.order_id, before.order_id))
        WHERE newest.op <> 'd'
    """)
    spark.sql("""
        CREATE OR REPLACE TABLE silver.order_lines AS
        SELECT order_id, line.* FROM (SELECT order_id, explode(lines) AS line FROM silver.orders)
    """)
    return [time.perf_counter() - clock], spark.table("bronze.orders").count()


def gold(spark: "SparkSession") -> tuple[list[float], int]:
    """Ask Spark the question; return the seconds of each time and the lines that it is about."""
    question = QUESTION.format(orders="silver.orders", order_lines="silver.order_lines")
    return _timed(lambda: spark.sql(question).collect()), spark.table("silver.order_lines").count()


def duckdb_gold() -> tuple[list[float], int]:
    """Ask DuckDB the question, as `gold` asks Spark. The files of the tables are read each time."""
    import duckdb
    from deltalake import DeltaTable

    def answer() -> Iterable[Any]:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")  # in which month an order is, as Spark says it
            for name in ("orders", "order_lines"):
                table = DeltaTable(str(paths.home() / "silver" / name))
                connection.register(name, table.to_pyarrow_dataset())
            asked = QUESTION.format(orders="orders", order_lines="order_lines")
            return connection.sql(asked).fetchall()

    return _timed(answer), DeltaTable(str(paths.home() / "silver" / "order_lines")).count()


STEPS = {"bronze": bronze, "silver": silver, "gold": gold}


def _timed(answer: Callable[[], Iterable[Any]]) -> list[float]:
    """Return the seconds of each round, and write what the answer was into this run's folder."""
    seconds, told = [], set()
    for _ in range(ROUNDS):
        clock = time.perf_counter()
        rows = answer()
        seconds.append(time.perf_counter() - clock)
        told.add(hashlib.sha256(repr(sorted(tuple(row) for row in rows)).encode()).hexdigest())
    (answered,) = told
    Path("answer").write_text(answered, encoding="utf-8")
    return seconds


def spilled(spark: "SparkSession") -> int:
    """Return the bytes that the stages of this session wrote to disk for want of memory."""
    context = spark.sparkContext
    address = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/stages"
    with urllib.request.urlopen(address) as answer:
        return sum(stage["diskBytesSpilled"] for stage in json.load(answer))


def one_run(step: str) -> None:
    """Do one step in this process, and write what it took to `result.json` in the current folder."""
    if step == "duckdb":
        (seconds, rows), spill = duckdb_gold(), 0
    else:
        import medallion

        spark = medallion.start()
        seconds, rows = STEPS[step](spark)
        spill = spilled(spark)
    result = {"seconds": seconds, "rows": rows, "spill": spill}
    Path("result.json").write_text(json.dumps(result), encoding="utf-8")


def measure(step: str, profile: str, folder: Path) -> None:
    """Run one step on the lakehouse in `folder`, and print its row of the table."""
    memory = peak_of(
        [sys.executable, str(Path(__file__).resolve()), "--run", step],
        folder,
        folder / "output.log",
        MEDALLION_HOME=str(folder / "lakehouse"),
        MEDALLION_PROFILE=profile,
    )
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    seconds = statistics.median(result["seconds"])
    session = "DuckDB" if step == "duckdb" else profile
    cells = [
        folder.name,
        "gold" if step == "duckdb" else step,
        session,
        f"{result['rows']:,}",
        f"{seconds:.2f}" if seconds < 10 else f"{seconds:.0f}",
        f"{result['rows'] / seconds:,.0f}",
        f"{memory / 1e6:,.0f}",
        f"{result['spill'] / 1e6:,.0f}",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def main(target: Path, scales: Iterable[float]) -> None:
    """Print a row for each scale, step and session. Raises SystemExit when two answers differ."""
    console = Console(stderr=True)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    print(f"{day}, {os.cpu_count()} cores, Java {java.find().version}\n")
    print("| scale | step | session | rows | seconds | rows/s | memory MB | spill MB |")
    print("|---:|---|---|---:|---:|---:|---:|---:|", flush=True)
    for scale in scales:
        folder = target / f"{scale:g}"
        folder.mkdir(parents=True, exist_ok=True)
        kestrel.generate(folder / "lakehouse" / "landing", scale=scale)
        answers = set()
        for profile in PROFILES:
            for step in (*STEPS, "duckdb") if profile == PROFILES[-1] else STEPS:
                with console.status(f"Scale {scale:g}, {profile}: {step}"):
                    measure(step, profile, folder)
                if step in ("gold", "duckdb"):
                    answers.add((folder / "answer").read_text(encoding="utf-8"))
        if len(answers) != 1:
            raise SystemExit(f"At scale {scale:g} Spark and DuckDB do not answer the same.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        one_run(sys.argv[2])
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve(), [float(scale) for scale in sys.argv[2:]] or SCALES)
    else:
        raise SystemExit("Name a folder: benchmarks/scale.py FOLDER [SCALE…]")
