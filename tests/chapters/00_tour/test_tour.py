"""What chapter 00 says of Spark and does not run: its ten lines, its table of settings, exercise 0.2."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import medallion
from medallion import contract, paths
from medallion.machine import jars
from medallion.spark import session
from press.source.chapter import parse

SECONDS = 240


def code_block(begins: str) -> str:
    """Return the block of Python in the text of the lesson that begins so."""
    text = "\n".join(cell.source for cell in parse(contract.find("00")).cells if cell.kind == "markdown")
    (found,) = [
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if block.startswith(begins)
    ]
    return found


# What the table in the lesson says of a session with the ten lines alone, and of Delta in it
ASKED = """
spark.range(3).write.saveAsTable("plain")
import json, pathlib
pathlib.Path("inbox").mkdir()
stream = spark.readStream.schema("id INT").json("inbox").writeStream.trigger(availableNow=True)
stream.option("checkpointLocation", "checkpoint").toTable("streamed").awaitTermination()
spark.range(3).write.format("delta").saveAsTable("numbers")
spark.sql("UPDATE numbers SET id = 30 WHERE id = 2")
def provider(table):
    return spark.sql(f"DESCRIBE EXTENDED {table}").where("col_name = 'Provider'").first()[1].lower()
names = ("session.timeZone", "shuffle.partitions", "repl.eagerEval.enabled", "sources.default",
         "ansi.enabled", "catalogImplementation")
print(json.dumps({
    "providers": [provider(table) for table in ("plain", "streamed", "numbers")],
    "properties": spark.sql("DESCRIBE DETAIL numbers").first().properties,
    "rows": sorted(row.id for row in spark.table("numbers").collect()),
    "conf": {name: spark.conf.get(f"spark.sql.{name}") for name in names},
    "master": spark.sparkContext.master,
}))
"""


def test_the_ten_lines_start_spark_with_delta(tmp_path: Path) -> None:
    """In a process of its own; the jars are those of the lock, where the lines would ask Maven for them."""
    lines = code_block("from pyspark.sql import SparkSession")
    names: dict[str, Any] = {}
    exec("\n".join(line for line in lines.splitlines() if re.match(r"[A-Z]+ = ", line)), names)
    pinned = tomllib.loads((paths.root() / "pyproject.toml").read_text(encoding="utf-8"))
    assert names["DELTA"] in pinned["tool"]["medallion"]["jars"]
    here = lines.replace(
        '"spark.jars.packages", DELTA', f'"spark.driver.extraClassPath", {jars_of_delta()!r}'
    )
    assert here != lines
    child = subprocess.run(
        [sys.executable, "-c", here + ASKED],
        env={**os.environ, **session.for_any_jvm(), "TZ": "America/New_York", "SPARK_LOCAL_IP": "127.0.0.1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    found = json.loads(child.stdout.splitlines()[-1])
    assert found["providers"] == ["parquet", "parquet", "delta"]
    assert found["rows"] == [0, 1, 30]
    assert "delta.enableDeletionVectors" not in found["properties"]
    assert found["master"] == "local[*]"
    assert found["conf"] == {
        "session.timeZone": "America/New_York",
        "shuffle.partitions": "200",
        "repl.eagerEval.enabled": "false",
        "sources.default": "parquet",
        "ansi.enabled": "true",
        "catalogImplementation": "in-memory",
    }


def jars_of_delta() -> str:
    return os.pathsep.join(str(jar) for jar in jars.verified())


def test_the_lines_that_start_a_job_are_those_that_the_check_names(
    spark: SparkSession, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("order_id,customer,total_cents\n1,Ada,1250\n2,Ben,480\n", encoding="utf-8")
    names = {
        "spark": spark,
        "F": F,
        "file": str(file),
        "SCHEMA": "order_id INT, customer STRING, total_cents INT",
    }
    context, found = spark.sparkContext, []
    for line in code_block("kept = ").splitlines():
        code, _, letter = line.rpartition("# ")
        context.setJobGroup(f"line {letter}", line)
        exec(code, names)
        context._jsc.sc().listenerBus().waitUntilEmpty()
        if context.statusTracker().getJobIdsForGroup(f"line {letter}"):
            found.append(letter)
    context.setLocalProperty("spark.jobGroup.id", None)
    spark.catalog.clearCache()
    spark.sql("DROP TABLE IF EXISTS scratch.customers")
    assert found == sorted(medallion.checks("00").start_a_job.jobs)
