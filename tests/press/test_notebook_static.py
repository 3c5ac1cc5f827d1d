"""What the repository's own chapters and notebooks promise without being run."""

import json

import nbformat
import pytest

from medallion import contract, paths
from medallion.lesson import checks, quiz
from press.notebooks import numbers, outputs, producer
from press.source import pages, rules
from press.source.chapter import parse

CHAPTERS = list(contract.lessons().values())
PRODUCTS = sorted(path for folder in pages.FOLDERS for path in (paths.root() / folder).glob("*.ipynb"))


def named(path):
    return f"{path.parent.name}/{path.name}"


def test_there_is_something_to_test():
    assert CHAPTERS
    assert len(PRODUCTS) == len(pages.FOLDERS) * len(CHAPTERS)


def test_every_product_is_current_with_its_chapter():
    assert producer.build(check=True) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.parent.name)
def test_a_chapter_keeps_the_rules(path):
    assert rules.problems(parse(path)) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.parent.name)
def test_a_chapter_has_its_parts(path):
    chapter = parse(path)
    exercises = [cell.exercise for cell in chapter.cells if cell.role == "exercise" and cell.exercise]
    assert 4 <= len(exercises) <= 6 or chapter.number == "00"
    assert sum(cell.role == "predict" for cell in chapter.cells) >= 1 or chapter.number == "00"
    assert [number for number, _ in exercises] == [
        exercise.number for exercise in checks.exercises(chapter.number)
    ]
    assert 4 <= len(quiz.show(chapter.number).questions) <= 6 or chapter.number == "00"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.parent.name)
def test_stored_outputs_hold_nothing_that_differs_elsewhere(path):
    stored = nbformat.read(paths.root() / "notebooks" / f"{path.parent.name}.ipynb", as_version=4)
    assert list(outputs.faults(stored)) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.parent.name)
def test_the_prose_quotes_the_numbers_of_the_outputs(path):
    stored = nbformat.read(paths.root() / "notebooks" / f"{path.parent.name}.ipynb", as_version=4)
    assert list(numbers.unsupported(pages.notebook_page(parse(path)), stored)) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.parent.name)
def test_every_cell_of_an_executed_notebook_is_compared(path):
    """nbval compares no cell that has no count, and reports an error for one with outputs and no count."""
    stored = nbformat.read(paths.root() / "notebooks" / f"{path.parent.name}.ipynb", as_version=4)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell.outputs) for cell in code) >= len(code) / 4  # a function has a cell of its own


@pytest.mark.parametrize("path", PRODUCTS, ids=named)
def test_a_product_is_small_and_its_bytes_are_those_of_the_producer(path):
    raw = path.read_bytes()
    assert len(raw) < outputs.LARGEST
    assert b"\r" not in raw
    notebook = nbformat.reads(raw.decode("utf-8"), as_version=4)
    assert pages.to_text(notebook).encode() == raw
    ids = [pages.cell_id(named(path), place) for place in range(len(notebook.cells))]
    assert [cell.id for cell in notebook.cells] == ids
    assert "version" not in json.loads(raw)["metadata"]["language_info"]
    assert str(paths.root()) not in raw.decode("utf-8")


@pytest.mark.parametrize("path", PRODUCTS, ids=named)
def test_only_executed_notebooks_hold_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    if path.parent.name != "notebooks":
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    assert producer.ENVIRONMENT["MEDALLION_PROGRESS"] == "off"
