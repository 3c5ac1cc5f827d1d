"""A new chapter: with its folder it builds, passes its tests and is in the whole book, without it in none."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from medallion import paths
from medallion.errors import MedallionError
from medallion.lesson import checks
from press import new
from press.reference import lists, produced
from press.source import pages, rules
from press.source import quiz as quiz_rules
from press.source.chapter import parse
from press.source.starter import starter, worked

PARTS = ("src", "book", "notebooks", "exercises", "solutions", "datasets")
FILES = ("README.md", "_toc.yml", "medallion", "pyproject.toml", "requirements.lock", "jars.lock")
LISTS = (
    "README.md",
    "_toc.yml",
    *(f"book/{page}.md" for page in ("welcome", "readers", "instructors", "outline")),
)
PRODUCTS = tuple(f"{folder}/99_sample.ipynb" for folder in pages.FOLDERS)
FIGURE = "book/figures/flow-99.svg"


def copied(root: Path) -> Path:
    """Copy what a build reads and writes into the folder `root`, and return that."""
    for name in PARTS:
        unread = shutil.ignore_patterns("__pycache__", "_static", "screens")
        shutil.copytree(paths.root() / name, root / name, ignore=unread)
    for name in FILES:
        shutil.copyfile(paths.root() / name, root / name)
    return root


def texts(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The lesson of chapter 99 in a repository that has no other."""
    (tmp_path / "book" / "figures").mkdir(parents=True)
    shutil.copyfile(paths.root() / new.FLOW, tmp_path / new.FLOW)
    folder = "book/chapters/99_sample"
    names = ("checks.py", "databricks.yml", "lesson.py", "quiz.yml", "wrong_answers.py")
    assert new.write("99", "sample", tmp_path) == [*(f"{folder}/{name}" for name in names), FIGURE]
    return tmp_path / folder / "lesson.py"


def test_what_is_written_keeps_to_the_rules(written):
    chapter = parse(written)
    assert rules.problems(chapter) == []
    assert (chapter.number, chapter.title, chapter.makes) == ("99", "Sample", {})
    assert chapter.said.summary and chapter.said.outline
    assert any(cell.role == "predict" for cell in chapter.cells)
    assert "**On Databricks**" in chapter.cells[-1].source
    assert yaml.safe_load(written.with_name("databricks.yml").read_text(encoding="utf-8")) == []
    assert 4 <= len(quiz_rules.read(written.with_name("quiz.yml"))) <= 6
    assert "$" not in "".join(path.read_text(encoding="utf-8") for path in written.parent.iterdir())
    whole, drawn = ((written.parents[3] / path).read_text(encoding="utf-8") for path in (new.FLOW, FIGURE))
    assert "#46536f" in drawn and "#46536f" not in whole


def test_its_code_is_formatted(written):
    shutil.copyfile(paths.root() / "pyproject.toml", written.parents[3] / "pyproject.toml")
    (written.parents[3] / "src").symlink_to(paths.root() / "src")  # by which ruff knows what is ours
    narrow = ["format", "--check", "--config", "line-length=88", "lesson.py"]
    for command in (["check", "."], ["format", "--check", "."], narrow):
        line = [sys.executable, "-m", "ruff", *command]
        done = subprocess.run(line, cwd=written.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("number", "name", "told"),
    [
        ("99", "other", "There is a chapter 99 already, in book/chapters/99_sample. Give another number."),
        ("nine", "other", "'nine' is no number of a chapter. Give one from 00 to 99."),
        ("100", "other", "'100' is no number of a chapter. Give one from 00 to 99."),
        ("98", "Data-Quality", "'Data-Quality' is no name of a chapter. Use small letters, digits and '_'"),
        ("98", "../98", "'../98' is no name of a chapter."),
    ],
)
def test_what_is_no_chapter_is_refused_and_nothing_written(written, number, name, told):
    before = texts(written.parents[3])
    with pytest.raises(MedallionError, match=re.escape(told)):
        new.write(number, name, written.parents[3])
    assert texts(written.parents[3]) == before


def test_a_drawing_that_is_there_stays(written):
    root = written.parents[3]
    (root / "book" / "figures" / "flow-98.svg").write_text("by hand", encoding="utf-8")
    assert "book/figures/flow-98.svg" not in new.write("98", "another", root)
    assert (root / "book" / "figures" / "flow-98.svg").read_text(encoding="utf-8") == "by hand"


def test_a_header_without_what_the_lists_say_is_told(written):
    text = re.sub(r"#     outline: >-\n(#       .*\n)+", "", written.read_text(encoding="utf-8"))
    written.write_text(text, encoding="utf-8")
    with pytest.raises(MedallionError, match=r"lesson\.py:1: in the header, 'outline': this is missing\."):
        parse(written)
    written.write_text(text.replace("summary: one", "summary: [one]\n#     other: one"), encoding="utf-8")
    with pytest.raises(
        MedallionError, match=r"lesson\.py:1: .*, 'summary': \['one'\] is not a text\. Write one"
    ):
        parse(written)


def test_a_list_without_its_comments_is_told(written):
    root = written.parents[3]
    (root / "_toc.yml").write_text("parts: []\n", encoding="utf-8")
    with pytest.raises(MedallionError, match=r"_toc\.yml:1: the page lacks the line '# From here on"):
        lists.pages([parse(written)], root)
    (root / "_toc.yml").unlink()
    (root / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    part = f"{produced.BEGIN}\n{produced.END}\n"
    (root / "README.md").write_text(part, encoding="utf-8")
    with pytest.raises(MedallionError, match=r"README\.md:1: the page lacks the line '<!-- From here on"):
        lists.pages([parse(written)], root)
    (root / "README.md").write_text(part * 3, encoding="utf-8")
    with pytest.raises(MedallionError, match=r"book/outline\.yml:1: this cannot be read as YAML \(.*No such"):
        lists.pages([parse(written)], root)


def test_a_planned_chapter_that_is_there_is_planned_no_more(written):
    root = written.parents[3]
    planned = {
        "98": {"title": "Before", "outline": "It\nwill."},
        "99": {"title": "Old", "outline": "It would."},
    }
    plan = [{"part": "One", "last": "98", "planned": planned}]
    (root / lists.PLAN).write_text(yaml.safe_dump(plan), encoding="utf-8")
    (root / "book" / "outline.md").write_text(f"{produced.BEGIN}\n{produced.END}\n", encoding="utf-8")
    page = lists.pages([parse(written)], root)["book/outline.md"]
    assert "| [99 Sample](../notebooks/99_sample.ipynb) | there | \u2013 | \u2013 |" in page
    assert "| 98 Before | planned |" in page
    assert "## One\n\n**98 Before.** It will.\n\n## Further chapters\n\n**[99 Sample](" in page
    assert "Old" not in page


def test_its_exercise_is_open_then_right_and_wrong_answers_are_told(written, spark, no_progress):
    module = checks.from_file(written.with_name("checks.py"))
    [solution] = (cell for cell in parse(written).cells if cell.role == "solution")
    names: dict = {}
    exec(starter(solution.source), names)
    assert module.paid(names["paid"]).state == "open"
    exec(worked(solution.source)[0], names)
    assert module.paid(names["paid"]).ok
    spec = importlib.util.spec_from_file_location("wrong_answers_99", written.with_name("wrong_answers.py"))
    answers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(answers)
    for name, answer, message in answers.WRONG:
        said = getattr(module, name)(answer)
        assert (said.state, said.message) == ("wrong", message)
    assert all(getattr(module, name)(answer).ok for name, answer in answers.RIGHT)
    assert [name for name, *_ in answers.WRONG] == ["paid"] * 5
    assert [name for name, _ in answers.RIGHT] == ["paid"] * 2


def test_a_new_chapter_is_in_the_whole_book_and_without_its_folder_in_none_of_it(tmp_path, lakehouse):
    root = copied(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "MEDALLION_HOME": str(lakehouse)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "medallion_cli", *arguments],
            cwd=root, env=environment, capture_output=True, text=True, encoding="utf-8",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = texts(root)
    assert "./medallion build 99" in run("new", "99", "sample")
    changed = run("build", "99").splitlines()
    assert {*PRODUCTS, *LISTS, "notebooks/00_tour.ipynb"} <= set(changed)
    after = texts(root)
    for path in LISTS:
        assert b"99_sample" in after[path], path
    assert b"| [99 Sample](99_sample.ipynb) |" in after["notebooks/00_tour.ipynb"]
    assert "Every product is up to date." in run("build", "--check")

    shutil.rmtree(root / "book" / "chapters" / "99_sample")
    run("build", "--reference")
    left = texts(root)
    assert set(left) - set(before) == {*PRODUCTS, FIGURE}  # `build --check` names the notebooks
    assert [path for path in before if left[path] != before[path]] == []
