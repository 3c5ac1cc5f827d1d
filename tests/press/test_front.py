"""The README and the welcome page: what is produced of them, and what they quote from elsewhere."""

import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from medallion import contract, paths
from medallion.course import durations
from medallion.errors import MedallionError
from press.reference import front, lists
from press.source.chapter import parse

SOURCE = "https://github.com/some/course"
LINKED = re.compile(r"\]\(([^)]+)\)")
PAGES = ("README.md", "CODE_OF_CONDUCT.md", "SECURITY.md")
QUOTED = ("README.md", "book/welcome.md")


def page(path: str) -> str:
    return (paths.root() / path).read_text(encoding="utf-8")


def repository(folder: Path, urls: str = "", script: str = "fetched='2 GB'\ntakes='4 minutes'\n") -> Path:
    (folder / "pyproject.toml").write_text(f'[project]\nname = "x"\n{urls}', encoding="utf-8")
    (folder / front.SCRIPT).write_text(script, encoding="utf-8")
    return folder


def known(**urls: str) -> str:
    return "[project.urls]\n" + "".join(f'{key} = "{url}"\n' for key, url in urls.items())


def test_without_addresses_there_is_no_badge_and_no_placeholder(tmp_path, monkeypatch):
    # A workflow says its addresses in the environment; the README of the repository stays as it is there
    monkeypatch.setenv("MEDALLION_SITE_URL", "https://book.example")
    monkeypatch.setenv("MEDALLION_SOURCE_URL", SOURCE)
    root = repository(tmp_path)
    assert list(front.badges([], root)) == []
    start = "\n".join(front.start([], root))
    assert start.startswith("```sh\n# in the folder of your clone of the repository\n./medallion run ")
    assert "git clone" not in start and "http" not in start


def test_with_addresses_there_are_badges_links_and_the_command_that_clones(tmp_path):
    urls = known(Documentation="https://book.example/", Source=SOURCE, Binder="https://binder.example")
    root = repository(tmp_path, urls)
    test, book, links = front.badges([], root)
    workflows = f"{SOURCE}/actions/workflows"
    assert test == f"[![Tests]({workflows}/test.yml/badge.svg?branch=main)]({workflows}/test.yml)"
    assert book == f"[![Book]({workflows}/pages.yml/badge.svg?branch=main)]({workflows}/pages.yml)"
    assert LINKED.findall(links) == [
        "https://book.example/",
        "https://binder.example/v2/gh/some/course/main?labpath=exercises",
        f"{SOURCE}/issues/new/choose",
    ]
    assert list(front.start([], root))[1:3] == [f"git clone {SOURCE}", "cd course"]


def test_with_the_book_alone_there_is_its_link_alone(tmp_path):
    root = repository(tmp_path, known(Documentation="https://book.example", Binder="https://binder.example"))
    assert list(front.badges([], root)) == ["[Read the book](https://book.example/)"]


def test_the_badges_are_of_workflows_that_exist(tmp_path):
    shown = "\n".join(front.badges([], repository(tmp_path, known(Source=SOURCE))))
    names = re.findall(r"workflows/(\w+\.yml)\)", shown)
    assert names and all((paths.root() / ".github" / "workflows" / name).is_file() for name in names)


def test_the_times_are_those_of_the_script_and_of_the_last_builds(tmp_path):
    root = repository(tmp_path)
    (root / durations.FILE).parent.mkdir(parents=True)
    (root / durations.FILE).write_text('"01": 400\n"02": 250\n"03": 999\n', encoding="utf-8")
    chapters = [SimpleNamespace(number="01"), SimpleNamespace(number="02")]
    assert list(front.start(chapters, root))[-1] == (
        "Set-up fetches about 2 GB, once, and took about 4 minutes on two cores. "
        "The chapters then ran in about 10 minutes. Afterwards nothing needs the network."
    )


def test_a_script_that_does_not_say_what_is_fetched_is_told(tmp_path):
    with pytest.raises(MedallionError, match=r"medallion:1: the script does not set 'fetched'\. Write"):
        list(front.start([], repository(tmp_path, script="takes='4 minutes'\n")))


def test_the_pages_by_hand_give_the_size_of_the_script():
    size = re.escape(front.said(paths.root(), "fetched"))
    for path in ("book/setup.md", "book/instructors.md"):
        assert re.search(rf"Set-up fetches about {size}\b", page(path)), path


def test_the_size_of_the_jar_for_lineage_is_that_of_the_lock():
    jars = json.loads(page("jars.lock"))["jars"]
    [size] = [jar["bytes"] for jar in jars if "openlineage" in jar["coordinates"]]
    for path in ("src/medallion_cli/learner.py", "pyproject.toml"):
        assert f"{round(size / 1e6)} MB" in page(path), path


def test_the_minutes_are_added_up():
    chapters = [parse(path) for path in contract.lessons().values()]
    text = lists.pages(chapters, paths.root())["README.md"]
    rows = re.findall(r"^\| \[\d\d .* \| (\d+) \+ (\d+) \|$", text, re.MULTILINE)
    assert len(rows) == len(chapters)
    read, practise = (sum(map(int, column)) for column in zip(*rows, strict=True))
    hours = round((read + practise) / 60)
    assert f"| **In all, about {hours} hours** | | **{read} + {practise}** |" in text


@pytest.mark.parametrize("path", QUOTED)
def test_the_versions_are_those_of_the_lock(path):
    pins = tomllib.loads(page("pyproject.toml"))["project"]["dependencies"]
    spark, delta = (
        next(pin.split("==")[1].rpartition(".")[0] for pin in pins if pin.startswith(name))
        for name in ("pyspark==", "delta-spark==")
    )
    first = " ".join(page(path).split("\n\n")[1].split())
    assert f"Apache Spark {spark} and Delta Lake {delta}" in first


@pytest.mark.parametrize("path", QUOTED)
def test_the_rings_are_the_output_of_chapter_08(path):
    block = re.search(r"```text\n( +listed .*?\n)```", page(path), re.DOTALL)
    assert block
    outputs = [
        "".join(output.get("data", {}).get("text/plain", ""))
        for cell in json.loads(page("notebooks/08_graph_analytics.ipynb"))["cells"]
        for output in cell.get("outputs", [])
    ]
    assert any(output.startswith(block[1]) for output in outputs)


def test_the_answer_of_a_check_is_one_that_the_tests_of_chapter_02_expect():
    block = re.search(r"```text\n✗ Exercise 2\.1\. (.*?)\n```", page("README.md"), re.DOTALL)
    assert block
    # A message is written in adjacent strings there
    expected = re.sub(r'"\s+"', "", page("book/chapters/02_data_quality_silver/wrong_answers.py"))
    assert f'"{" ".join(block[1].split())}"' in expected


@pytest.mark.parametrize("path", PAGES)
def test_each_link_leads_to_a_file_of_the_repository(path):
    places = [place.partition("#")[0] for place in LINKED.findall(page(path)) if "://" not in place]
    assert places
    assert [place for place in places if not (paths.root() / place).exists()] == []
