"""What chapter 11 demonstrates: pools, what the driver sends, and what a page holds.

That a pool of its own lets a small query pass, and that a script loses what a `MERGE` keeps, stands in
outputs of the lesson, with the fix and without it; its replay compares them.
"""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from medallion.lesson import board
from medallion.servers import warehouse


@pytest.fixture(scope="module")
def cursor(spark: SparkSession) -> Iterator[warehouse.Cursor]:
    warehouse.start()
    with warehouse.connect("lena") as connection, connection.cursor() as one:
        yield one
    warehouse.stop()


def test_jobs_without_a_pool_stand_in_one_line(spark: SparkSession) -> None:
    pools = spark.sparkContext._jsc.sc().getAllPools()
    modes = {pools.apply(n).name(): pools.apply(n).schedulingMode().toString() for n in range(pools.size())}
    assert modes["default"] == "FIFO"


@pytest.mark.parametrize("name", ["O'Brien", "x' OR '1'='1"])
def test_the_driver_writes_the_value_into_the_statement(cursor: warehouse.Cursor, name: str) -> None:
    cursor.execute("SELECT %(name)s AS name", {"name": name})
    assert cursor.fetchall() == [(name,)]
    sent = warehouse.history()["statement"].iloc[-1]
    assert "%(name)s" not in sent and name.split("'")[0] in sent


def test_the_page_of_one_channel_holds_no_other(
    tmp_path: Any, run_cells: Callable[..., dict[str, Any]]
) -> None:
    rows = [{"month": "2025-12-01", "channel": one, "revenue": 1} for one in ("web", "app")]
    tile = {
        "title": "Revenue", "definition": "…", "unit": "euros", "grain": ["month", "channel"],
        "number": ["revenue"], "rows": rows, "as_of": date(2025, 12, 29), "fresh_days": 2, "state": "ok",
        "why": "",
    }  # fmt: skip
    page = board.publish(tmp_path / "month.html", "All", [tile], on=date(2025, 12, 30))
    given = {"board": board, "board_tiles": {"revenue": tile}, "page": page, "today": date(2025, 12, 30)}
    given |= {"judged": lambda tile, limit: tile}
    given |= {"by_channel": pd.DataFrame({"channel": ["web", "app"]})}
    names = run_cells("11", defining={"web_only", "for_web"}, **given)
    assert '"app"' in page.read_text() and '"app"' not in names["for_web"].read_text()


def test_an_empty_answer_is_green_until_silence_is_a_state(run_cells: Callable[..., dict[str, Any]]) -> None:
    names = run_cells("11", "solution", defining={"light"})
    assert names["light"]([]) == "green"
    assert names["alert"](None, 1, date(2025, 12, 29), date(2025, 12, 30), 2) == "silent"
    assert names["faults"]({"grain": [], "number": ["revenue"]}, [], 0) == ["empty"]
