"""The chapter's pipeline of payments, killed with SIGKILL and resumed, equals the batch: each payment once.

Ten kills by default; `MEDALLION_KILLS=50` makes it fifty. Three in ten come between a commit of the table
and the checkpoint's note of the batch, which is asked of the disk; the others at moments drawn by lot.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import TESTS, run_chapter
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from medallion.lesson import arrivals

pytestmark = pytest.mark.late

Launch = Callable[..., "subprocess.Popen[str]"]

KILLS = int(os.environ.get("MEDALLION_KILLS", "10"))
SECONDS = 240
DAYS = 8
NAMES = (
    "WINDOWS", "BEHIND", "SPEED", "WRONG", "PAYMENT", "features", "related", "known", "scored",
    "LIVE", "ALERTS", "ASIDE", "prepare", "append", "land", "land_new", "follow",
)  # fmt: skip
SIGNS = ["amount_cents", "attempts_1h", "earlier", "device_customers_30d", "km_per_hour", "chargebacks_known"]


class Model:
    """A score that hangs on each of some features: a payment that is scored anew on another past differs."""

    def predict(self, rows: pd.DataFrame) -> Any:
        weights = [1e-5, 0.1, 0.001, 0.02, 1e-6, 0.1]
        return sum(rows[name].fillna(0) * weight for name, weight in zip(SIGNS, weights, strict=True))


def functions() -> dict[str, Any]:
    """Return the chapter's own functions, with a model that needs no registry."""
    given = {"pd": pd, "F": F, "SparkSession": SparkSession}
    return run_chapter("07", defining=NAMES, model=Model(), SIGNS=SIGNS, LIMIT=0.3, **given)


def payments() -> tuple[list[str], list[pd.Timestamp]]:
    """Return lines of eight days and their arrival: in order, some repeated, and some that are bad."""
    draw = random.Random(7)
    lines, arrived = [], []
    for n in range(DAYS * 30):
        at = pd.Timestamp("2025-11-01") + pd.Timedelta(minutes=48 * n + draw.randrange(40))
        row = {
            "payment_id": f"P{n:04}", "customer_id": f"C{draw.randrange(25)}",
            "card_id": draw.choice([None, f"K{draw.randrange(30)}"]), "device_id": f"D{draw.randrange(12)}",
            "amount_cents": draw.randrange(100, 20_000), "status": draw.choice(["authorised", "declined"]),
            "paid_at": f"{at:%Y-%m-%dT%H:%M:%S}Z", "lat": 50 + draw.random(), "lon": 8 + draw.random(),
            "received_at": f"{at + pd.Timedelta('2s'):%Y-%m-%dT%H:%M:%S}Z",
        }  # fmt: skip
        bad = [{}, {"amount_cents": 0}, {"device_id": None}, {"paid_at": "2099-01-01T00:00:00Z"}]
        row |= bad[draw.randrange(1, 4)] if n % 20 == 19 else {}
        for again in range(2 if n % 15 == 7 else 1):
            lines.append(json.dumps(row))
            arrived.append(at + pd.Timedelta(seconds=2 + again))
    return lines, arrived


@dataclass
class Chain:
    """A stream with its folders: killed and resumed until all has been read."""

    place: Path
    arrivals: Path
    disputes: str
    tables: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.tables = {name: f"delta.`{self.place / name}`" for name in ("live", "alerts", "aside")}
        self.tables["disputes"] = self.disputes

    @property
    def task(self) -> str:
        notes = str(self.place / "notes")
        return f"names['follow'](spark, {str(self.arrivals)!r}, {self.tables!r}, {notes!r}, 'chain')"

    def noted(self) -> list[int]:
        """The batches that the checkpoint knows to be done."""
        return sorted(int(note.name) for note in (self.place / "notes" / "commits").glob("[0-9]*"))

    def landed(self) -> int:
        """The last batch that the table of the payments has, by Delta's log; -1 for none."""
        last = -1
        for commit in (self.place / "live" / "_delta_log").glob("*.json"):
            for line in commit.read_text(encoding="utf-8").splitlines():
                last = max(last, json.loads(line).get("txn", {}).get("version", -1))
        return last

    def between(self) -> bool:
        """Whether the table has a batch of which the checkpoint has no note."""
        return self.landed() > max(self.noted(), default=-1)


def kill(chain: Chain, launch: Launch, between: bool, draw: random.Random) -> bool | None:
    """Go on in a process of its own, and kill it at a moment.

    Return whether *this* kill came between the table's commit of a batch and the checkpoint's note of it,
    and None if the process was done before it could be killed.
    """
    before = chain.landed()
    ready = chain.place / "ready"
    ready.unlink(missing_ok=True)
    child = launch(
        f"import sys\nsys.path[:0] = {[str(Path(__file__).parent), TESTS]}\n"
        "import medallion, pathlib, test_crash\n"
        "spark, names = medallion.start(), test_crash.functions()\n"
        f"pathlib.Path({str(ready)!r}).touch()\n{chain.task}"
    )
    give_up, wait = time.monotonic() + SECONDS, draw.uniform(0, 6)
    while not ready.exists():
        assert child.poll() is None, f"ended too early: {child.communicate()[1][-2000:]}"
        assert time.monotonic() < give_up, "the process did not get ready"
        time.sleep(0.01)
    begun = time.monotonic()
    while child.poll() is None:
        assert time.monotonic() < give_up, "the moment did not come"
        if between and chain.landed() > before and chain.between():
            break
        if not between and time.monotonic() - begun > wait:
            break
        time.sleep(0.0005)
    if child.poll() is not None:
        assert child.returncode == 0, child.communicate()[1][-2000:]
        return None
    os.killpg(child.pid, signal.SIGKILL)
    assert child.wait(30) == -signal.SIGKILL
    return chain.landed() > before and chain.between()


def rows_of(spark: SparkSession, table: str, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, spark.table(table).select(*columns).collect()), key=str)


def compare(spark: SparkSession, names: dict[str, Any], chain: Chain) -> tuple[int, int]:
    """Compare a chain that is done with the batch; return the payments lost and doubled."""
    reader = spark.read.schema(names["PAYMENT"]).json(str(chain.arrivals))
    judged = reader.withColumn("reason", F.expr(names["WRONG"])).dropDuplicates(["payment_id"])
    good = judged.where("reason IS NULL").drop("_corrupt_record", "reason").toPandas()
    live = spark.table(chain.tables["live"])
    disputes = spark.table(chain.tables["disputes"]).toPandas()
    batch = names["scored"](good, live.limit(0), disputes).set_index("payment_id")
    ours = live.toPandas().set_index("payment_id")
    lost, doubled = len(set(batch.index) - set(ours.index)), len(ours) - ours.index.nunique()
    columns = [*SIGNS, "score", "rule"]
    if not lost and not doubled:
        pd.testing.assert_frame_equal(
            ours[columns].sort_index(), batch[columns].sort_index(), check_dtype=False
        )
        stop = ((batch["score"] >= 0.3) | batch["rule"].notna()) & (batch["status"] == "authorised")
        expected = sorted(batch.index[stop])
        assert [row[0] for row in rows_of(spark, chain.tables["alerts"], "payment_id")] == expected
        assert 0 < len(expected) < len(batch), "the alerts tell something"
        bad = judged.where("reason IS NOT NULL").select("payment_id", "reason").collect()
        aside = set(rows_of(spark, chain.tables["aside"], "payment_id", "reason"))
        assert aside == set(map(tuple, bad))
        assert {reason for _, reason in aside} == {"no_amount", "no_device", "future"}
    return lost, doubled


def test_killed_at_any_moment_the_stream_equals_the_batch(
    spark: SparkSession, launch: Launch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names, draw = functions(), random.Random(2025)
    folder = tmp_path / "arrivals"
    lines, arrived = payments()
    assert len(arrivals.write(lines, arrived, folder, hours=24)) == DAYS
    disputes = f"delta.`{tmp_path / 'disputes'}`"
    at = pd.Timestamp("2025-11-03").to_pydatetime()
    known = spark.createDataFrame(
        [("D1", at, at)], "device_id STRING, arrived TIMESTAMP, disputed_at TIMESTAMP"
    )
    known.write.format("delta").save(str(tmp_path / "disputes"))

    kills = hits = finished = lost = doubled = 0
    chain: Chain | None = None
    wanted = max(3, KILLS * 3 // 10)
    while kills < KILLS or hits < wanted:
        if chain is None:
            chain = Chain(tmp_path / f"chain-{finished}", folder, disputes)
            chain.place.mkdir()
            names["prepare"](spark, chain.tables)
        between = hits < wanted and (kills % 3 == 1 or kills >= KILLS)
        hit = kill(chain, launch, between, draw)
        kills += hit is not None
        hits += bool(hit)
        if hit is None:
            found = compare(spark, names, chain)
            lost, doubled, finished, chain = lost + found[0], doubled + found[1], finished + 1, None
    if chain is not None:
        exec(chain.task, {"names": names, "spark": spark})
        assert chain.noted() == list(range(DAYS))
        found = compare(spark, names, chain)
        lost, doubled, finished = lost + found[0], doubled + found[1], finished + 1
    with capsys.disabled():
        print(f"\n{kills} kills, {hits} of them between table and checkpoint, in {finished} chains: ", end="")
        print(f"{lost} rows lost, {doubled} doubled")
    assert (lost, doubled) == (0, 0)
    assert kills >= KILLS
    assert hits >= wanted
