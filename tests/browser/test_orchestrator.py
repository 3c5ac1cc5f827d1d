"""Dagster's own page over the definitions of chapter 12: it shows the graph's table, its week and its run."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from medallion.machine import orchestrator
from medallion.servers import server

GRAPH = {"silver.payments": ["bronze.payments"], "gold.weekly_payments": ["silver.payments"]}
SECONDS = 60


@pytest.fixture(scope="module")
def page_of_dagster(tmp_path_factory: pytest.TempPathFactory, run_cells: Callable[..., Any]) -> Iterator[str]:
    """The address of the page, after one week was made by a job that has nothing to do."""
    home: Path = tmp_path_factory.mktemp("dagster")
    names = run_cells("12", defining={"KNOWN", "MADE_BY_JOB"})
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (home / "definitions.py").write_text(names["KNOWN"] + names["MADE_BY_JOB"])
    settings = {
        "DAGSTER_HOME": str(home),
        "GRAPH": json.dumps(GRAPH),
        "JOB": json.dumps([sys.executable, "-c", ""]),
        "COUNT": json.dumps([sys.executable, "-c", "print(3)"]),
        "TABLE": "scratch.none",
        "FOLDER": "none",
    }
    environment = os.environ | settings
    week = ["--select", "gold/weekly_payments", "--partition", "2025-09-01"]
    dagster = [orchestrator.program("dagster"), "asset", "materialize", "-f", "definitions.py"]
    subprocess.run([*dagster, *week], cwd=home, env=environment, capture_output=True, check=True)
    with server.listen(0) as listener:
        port = listener.getsockname()[1]
    where = ["--host", server.HOST, "--port", str(port), "-f", "definitions.py"]
    serving = subprocess.Popen(
        [orchestrator.program("dagster-webserver"), *where],
        cwd=home,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://{server.HOST}:{port}"
        until = time.monotonic() + SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{address}/server_info").close()
                break
            except OSError:
                assert serving.poll() is None and time.monotonic() < until, "the page does not answer"
                time.sleep(0.2)
        yield address
    finally:
        serving.terminate()
        serving.wait()


def test_it_shows_the_table_with_its_week_and_its_run(browser: Browser, page_of_dagster: str) -> None:
    page = browser.new_page()
    hosts: set[str | None] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    page.goto(f"{page_of_dagster}/runs")
    expect(page.get_by_text("Success").first).to_be_visible(timeout=SECONDS * 1000)
    page.goto(f"{page_of_dagster}/assets/gold/weekly_payments?view=partitions")
    expect(page.get_by_text("2025-09-01").first).to_be_visible(timeout=SECONDS * 1000)
    page.goto(f"{page_of_dagster}/assets/gold/weekly_payments?view=checks")
    expect(page.get_by_text("has_rows").first).to_be_visible(timeout=SECONDS * 1000)
    page.close()
    assert hosts == {server.HOST}, "It asks no other host for anything."
