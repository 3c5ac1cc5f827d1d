"""The dashboard: what it reads, and what it answers over real HTTP. Its process: see `test_servers`."""

import http.client
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dash
import psutil
import pyarrow as pa
import pytest
import strangers
from deltalake import write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from medallion import contract
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from medallion.servers import dashboard
from medallion.servers.dashboard import feed, page

Launch = Callable[..., "subprocess.Popen[str]"]
TABLE = dashboard.TABLE
NOTHING = {"version": None, "rows": None, "orders": None, "revenue_cents": None}
BROKEN = (
    "gold.live_sales cannot be read just now. The numbers are those of version 0. The next try is under way."
)
MEGABYTES = 260
SCHEMA = pa.schema(
    [
        ("hour", pa.timestamp("us", "UTC")),
        ("channel", pa.string()),
        ("orders", pa.int64()),
        ("revenue_cents", pa.int64()),
    ]
)


def sales(hours: int, cents: int = 1_050, first: datetime = datetime(2025, 7, 1, tzinfo=UTC)) -> pa.Table:
    """Two channels and some hours: in each, one order of `cents` in the web and two of them in the app."""
    at = [first + timedelta(hours=hour) for hour in range(hours) for _ in range(2)]
    columns = [at, ["web", "app"] * hours, [1, 2] * hours, [cents, 2 * cents] * hours]
    return pa.table(columns, schema=SCHEMA)


def write(rows: pa.Table, mode: str = "overwrite") -> None:
    place = tables.folder(TABLE)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(str(place), rows, mode=mode, schema_mode="overwrite" if mode == "overwrite" else None)


def state(version: int, rows: int, orders: int, cents: int) -> dict[str, object]:
    return {"note": "", "version": version, "rows": rows, "orders": orders, "revenue_cents": cents}


def get(port: int, path: str = "/", host: str | None = None) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("GET", path, skip_host=host is not None)
    if host:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, answer.headers, body


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty lakehouse in a folder with a space and an accent."""
    folder = tmp_path / "Kurs für Anfänger"
    monkeypatch.setenv("MEDALLION_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dashboard.Dashboard]:
    """A page that runs, on a lakehouse that several tests write to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDALLION_HOME", str(tmp_path_factory.mktemp("läke house")))
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # a page of this machine is asked directly
        with dashboard.start() as started:
            yield started


# What the table says ------------------------------------------------------------------------------


def test_hours_and_then_days(house: Path) -> None:
    write(sales(96))
    read = feed.read(TABLE)
    assert (read.version, read.rows, read.orders, read.revenue_cents) == (0, 192, 288, 302_400)
    assert read.unit == "hour" and len(read.parts) == 192
    assert read.parts[0] == feed.Part(datetime(2025, 7, 1, tzinfo=UTC), "app", 2, 2_100)
    write(sales(97))
    read = feed.read(TABLE)
    assert read.unit == "day" and len(read.parts) == 10
    assert read.parts[1] == feed.Part(datetime(2025, 7, 1, tzinfo=UTC), "web", 24, 25_200)
    assert sum(part.revenue_cents for part in read.parts) == read.revenue_cents == 305_550


def test_an_empty_table_and_one_with_gaps(house: Path) -> None:
    write(sales(0))
    assert feed.read(TABLE) == feed.Sales(0, 0, 0, 0, "hour", ())
    rows = sales(2).to_pydict()
    rows["channel"][0] = rows["hour"][1] = rows["orders"][2] = None
    write(pa.table(rows, schema=SCHEMA))
    read = feed.read(TABLE)
    assert (read.rows, read.orders, read.revenue_cents) == (4, 5, 6_300)
    assert [(part.channel, part.orders) for part in read.parts] == [("unknown", 1), ("app", 2), ("web", 0)]


def test_narrower_numbers_and_a_time_without_zone_do(house: Path) -> None:
    schema = pa.schema(
        [("hour", pa.timestamp("us")), ("channel", "string"), ("orders", "int32"), ("revenue_cents", "int32")]
    )
    naive = [at.replace(tzinfo=None) for at in sales(2)["hour"].to_pylist()]
    write(pa.table(sales(2).to_pydict() | {"hour": naive}, schema=schema))
    assert feed.read(TABLE).revenue_cents == 6_300


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        (sales(1).drop_columns(["channel", "orders"]), "channel and no orders"),
        (sales(1).set_column(3, "revenue_cents", pa.array([1.5, 2.5])), "revenue_cents"),
        (sales(1).set_column(0, "hour", pa.array(["2025-07-01", ""])), "hour"),
        (sales(1).set_column(2, "orders", pa.array([[1], [2]])), "orders"),
    ],
)
def test_wrong_columns_are_named(house: Path, rows: pa.Table, missing: str) -> None:
    write(rows)
    seen = feed.Feed(TABLE).look()
    assert seen.sales is None
    assert seen.note == (
        f"gold.live_sales has no {missing} of the right type. The page shows a table of hour TIMESTAMP, "
        "channel STRING, orders BIGINT, revenue_cents BIGINT: write it so."
    )


def test_a_read_that_fails_keeps_the_last_numbers_and_is_tried_again(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(sales(1))
    fed = feed.Feed(TABLE)
    assert fed.look().sales == feed.read(TABLE)
    write(sales(2))
    newest = max(tables.folder(TABLE).glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns)
    away = newest.rename(house / "away")
    first, again = fed.look(), fed.look()
    assert first.sales and first.sales.version == 0
    assert first.note == again.note == BROKEN
    assert capsys.readouterr().err.count("Traceback") == 1, "told once, not once a second"
    away.rename(newest)
    fixed = fed.look()
    assert fixed.sales and (fixed.sales.version, fixed.note) == (1, "")
    assert len({first.stamp, fixed.stamp}) == 2


def test_half_a_commit_is_no_table_to_fall_over(house: Path) -> None:
    log = tables.folder(TABLE) / "_delta_log"
    log.mkdir(parents=True)
    fed = feed.Feed(TABLE)
    assert fed.look().note.startswith("Waiting for gold.live_sales.")
    (log / f"{0:020}.json").write_text('{"commitInfo"', encoding="utf-8")
    seen = fed.look()
    assert seen.sales is None
    assert seen.note == "gold.live_sales cannot be read just now. The next try is under way."


def test_an_unchanged_table_is_read_once(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(sales(1))
    fed = feed.Feed(TABLE)
    first = fed.look()
    shutil.rmtree(house / "gold" / "live_sales" / "_delta_log" / "_last_checkpoint", ignore_errors=True)
    for file in tables.folder(TABLE).glob("*.parquet"):
        file.unlink()  # whoever reads now fails
    assert fed.look() is first


# What the page shows ------------------------------------------------------------------------------


def test_amounts_are_exact() -> None:
    amounts = {0: "€0.00", 7: "€0.07", 110_249_503: "€1,102,495.03", -105: "-€1.05"}
    assert {cents: page.euros(cents) for cents in amounts} == amounts


def test_the_chart_and_its_words(house: Path) -> None:
    write(pa.concat_tables([sales(2), sales(1, cents=9_000, first=datetime(2025, 7, 1, 5, tzinfo=UTC))]))
    read = feed.read(TABLE)
    drawn = page.figure(read)
    assert [bar.name for bar in drawn.data] == ["app", "web"]
    assert [float(value) for value in drawn.data[1].y] == [10.5, 10.5, 90]
    assert page.alt(read) == (
        "Stacked bars of the revenue by hour and channel, from 2025-07-01 00:00 to 2025-07-01 05:00. "
        "The highest is €270.00, 2025-07-01 05:00. The table below has the sums of the channels."
    )


# Over HTTP ----------------------------------------------------------------------------------------


def test_it_follows_the_table_through_commits_and_a_reset(live: dashboard.Dashboard) -> None:
    shutil.rmtree(tables.folder(TABLE), ignore_errors=True)
    made_by = contract.how_to_make(TABLE)
    assert live.state() == NOTHING | {"note": f"Waiting for gold.live_sales. {made_by}"}
    write(sales(1))
    assert live.state() == state(0, 2, 3, 3_150)
    write(sales(1, first=datetime(2025, 7, 2, tzinfo=UTC)), "append")
    assert live.state() == state(1, 4, 6, 6_300)
    shutil.rmtree(tables.folder(TABLE))
    assert live.state()["version"] is None
    for cents in (10, 20):
        write(sales(1, cents))
    assert live.state() == state(1, 2, 3, 60), "the same version of another table"
    shutil.rmtree(tables.folder(TABLE))
    for cents in (10, 30):
        write(sales(1, cents))
    assert live.state() == state(1, 2, 3, 90), "made anew between two looks"
    write(sales(1).drop_columns("hour"))
    assert "no hour of the right type" in live.state()["note"]


def test_it_answers_under_the_names_of_this_machine(live: dashboard.Dashboard) -> None:
    for host in ("127.0.0.1", f"localhost:{live.port}", "LOCALHOST", "127.0.0.1:9000"):
        assert get(live.port, "/state", host)[0] == 200
    for host in ("evil.example", f"127.0.0.1.evil.example:{live.port}", "[::", "127.0.0.1@evil.example", " "):
        for path in ("/", "/state", "/_dash-layout"):
            status, headers, body = get(live.port, path, host)
            assert (status, body) == (421, "This page is there for 127.0.0.1 and localhost only.\n")
            assert "Content-Security-Policy" in headers


def test_strangers_are_refused(live: dashboard.Dashboard) -> None:
    strangers.are_refused(live.port, "/state")


def what_the_page_asks(made: dash.Dash) -> dict[str, Any]:
    output = next(one for one in made.callback_map if "revenue" in one)
    outputs = [
        {"id": name, "property": what}
        for name, what in (one.split(".") for one in output.strip(".").split("..."))
    ]
    given = [{"id": "asked", "property": "data", "value": ""}]
    return {"output": output, "outputs": outputs, "inputs": given, "changedPropIds": ["asked.data"]}


@pytest.mark.parametrize(
    ("path", "changed", "status"),
    [
        ("_dash-component-suites/os/os.py", None, 404),
        ("_dash-component-suites/dash/../../x", None, 404),
        ("_dash-update-component", {}, 200),
        ("_dash-update-component", {"output": "x.y"}, 400),
        ("_dash-update-component", {"outputs": []}, 400),
        ("_dash-update-component", {"inputs": 5}, 400),
    ],
)
def test_what_no_page_of_ours_asks_is_refused_without_a_trace(
    path: str, changed: Any, status: int, house: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = page.make(feed.Feed(TABLE))
    client = made.server.test_client()
    if changed is None:
        answer = client.get(f"/{path}")
    else:
        answer = client.post(f"/{path}", json=what_the_page_asks(made) | changed)
    assert (answer.status_code, caplog.text) == (status, "")


def test_a_failure_of_our_own_is_in_the_log(
    house: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = page.make(feed.Feed(TABLE))
    monkeypatch.setattr(page, "show", lambda feed: 1 / 0)
    answer = made.server.test_client().post("/_dash-update-component", json=what_the_page_asks(made))
    assert answer.status_code == 500 and "ZeroDivisionError" in caplog.text


def test_the_page_has_a_policy_and_names_no_other_host(live: dashboard.Dashboard) -> None:
    status, headers, body = get(live.port)
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'; script-src 'self' 'sha256-" in policy and "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Server"] == "medallion"
    sources = re.findall(r'(?:src|href)="([^"]*)"', body)
    assert len(sources) > 8 and all(re.match(r"/(?!/)", source) for source in sources)
    assert '<html lang="en">' in body
    for source in sources:
        assert get(live.port, source)[0] == 200, source


def test_it_costs_little_memory(live: dashboard.Dashboard) -> None:
    for hours in range(1, 6):
        write(sales(hours * 100))
        live.state()
    assert psutil.Process(live._process.pid).memory_info().rss < MEGABYTES * 1_000_000


# Its process --------------------------------------------------------------------------------------


def test_a_page_that_was_stopped_says_so(house: Path) -> None:
    with dashboard.start() as one:
        pass
    with pytest.raises(MedallionError) as refused:
        one.state()
    assert str(refused.value) == "The page is not served any more. Start it with `dashboard.start()`."


@pytest.mark.parametrize(
    ("table", "port", "message"),
    [
        (TABLE, 70_000, "70000 is no port. Choose one from 1024 to 65535, or 0 for any that is free."),
        (TABLE, -1, "-1 is no port. Choose one from 1024 to 65535, or 0 for any that is free."),
        ("live_sales", 0, "'live_sales' is no table. Give schema and table, as in gold.live_sales."),
        ("../gold.x", 0, "'../gold.x' is no table. Give schema and table, as in gold.live_sales."),
    ],
)
def test_what_is_no_table_or_port_is_refused(house: Path, table: str, port: int, message: str) -> None:
    with pytest.raises(MedallionError) as refused:
        dashboard.start(table, port)
    assert str(refused.value) == message


def test_who_makes_the_table_is_told(chapter_02: None) -> None:
    assert contract.how_to_make("silver.orders") == (
        "Chapter 02 makes it: `medallion catch-up 02`, then `medallion run 02`."
    )
    assert contract.how_to_make("gold.nobodys") == "No chapter makes it: write it yourself."


# With Spark ---------------------------------------------------------------------------------------


def test_it_reads_what_a_stream_of_spark_merges(spark: SparkSession, tmp_path: Path) -> None:
    """Deletion vectors too: the page's reader has to know what Spark and Delta write."""
    spark.sql(
        f"CREATE TABLE {TABLE} (hour TIMESTAMP, channel STRING, orders BIGINT, revenue_cents BIGINT) "
        "TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')"
    )

    def merge(batch: DataFrame, number: int) -> None:
        sums = batch.groupBy(F.date_trunc("HOUR", "at").alias("hour"), "channel").agg(
            F.count("*").alias("orders"), F.sum("cents").alias("revenue_cents")
        )
        sums.createOrReplaceGlobalTempView("sums")
        batch.sparkSession.sql(
            f"MERGE INTO {TABLE} t USING global_temp.sums s ON t.hour = s.hour AND t.channel = s.channel "
            "WHEN MATCHED THEN UPDATE SET orders = t.orders + s.orders, "
            "revenue_cents = t.revenue_cents + s.revenue_cents WHEN NOT MATCHED THEN INSERT *"
        )

    (tmp_path / "in").mkdir()
    stream = spark.readStream.schema("at TIMESTAMP, channel STRING, cents BIGINT").json(str(tmp_path / "in"))
    with dashboard.start() as live:
        for number, cents in enumerate((100, 250)):
            line = f'{{"at": "2025-07-01T10:3{number}:00Z", "channel": "web", "cents": {cents}}}\n'
            (tmp_path / "in" / f"{number}.json").write_text(line, encoding="utf-8")
            writer = stream.writeStream.foreachBatch(merge).trigger(availableNow=True)
            writer.option("checkpointLocation", str(tmp_path / "checkpoint")).start().awaitTermination()
            found = live.state()
            assert (found["orders"], found["revenue_cents"], found["note"]) == ((1, 100, ""), (2, 350, ""))[
                number
            ]
            assert found["rows"] == 1
    row = spark.sql(f"SELECT hour, orders, revenue_cents FROM {TABLE}").collect()
    assert [tuple(one) for one in row] == [(datetime(2025, 7, 1, 10), 2, 350)]
    spark.sql(f"DROP TABLE {TABLE}")
