"""What the table of chapter 02 cannot say: a check leaves no table behind."""

from collections.abc import Callable
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

import medallion


def test_no_table_is_left(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> None:
    lesson = run_cells(
        "02", "solution", defining=["newest_event"], spark=spark, F=F, Window=Window, DeltaTable=DeltaTable
    )
    assert medallion.checks("02").apply_changes(lesson["apply_changes"]).ok
    assert medallion.checks("02").release(lesson["release"]).ok
    assert spark.sql("SHOW TABLES IN scratch LIKE 'check_*'").count() == 0
