"""Making the three products of a chapter, and saying in seconds whether they are out of date."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode, from_dict
from rich.console import Console

from medallion import contract, paths
from medallion.course.execute import CELL_SECONDS, CellFailed, execute, shown
from medallion.errors import MedallionError
from medallion.files import text_of, write_text
from medallion.lesson import quiz
from press.notebooks import numbers, outputs
from press.source import pages, rules
from press.source.chapter import Chapter, Problem, parse, refuse
from press.source.pages import Page

# Nothing of a build may show in the learner's own progress, nor the other way round.
ENVIRONMENT = {"MEDALLION_PROGRESS": "off"}
# What is stored and compared is made in one profile, whatever the surroundings ask for.
PRODUCING = ENVIRONMENT | {"MEDALLION_PROFILE": "learn"}


def build(
    wanted: Sequence[str] = (),
    *,
    check: bool = False,
    prose: bool = False,
    before: Callable[[str], object] | None = None,
    after: Callable[[Chapter, float, Sequence[tuple[int, float]]], object] | None = None,
    sources: Path | None = None,
    target: Path | None = None,
) -> list[str]:
    """Make the products of the chapters `wanted` ("01"; none means all) and return the paths that changed.

    Each chapter runs from the state before it: `before(number)` is called first, and `after` once its
    products are there, with the chapter, the moment when it began, and of each code cell the line and the
    moment of its end, in seconds since 1970. Sources are read from `sources` (the book's chapters) and
    products written below `target` (the repository), each under a temporary name first, and only when its
    bytes differ. With `check` nothing is run or written. With `prose` nothing is run: the outputs that are
    stored stay, which holds as long as no code cell has changed.

    Raises MedallionError naming `chapter:line` for every rule that is broken and for a cell that fails;
    with `check` also when a product is missing, out of date, or without a chapter; with `prose` for the
    first code cell that has changed.
    """
    target = target or paths.root()
    found = [parse(path) for path in _lessons(wanted, sources or contract.folder())]
    refuse(problem for chapter in found for problem in rules.problems(chapter))
    if check:
        stray = _strays(found, target) if not wanted else []
        refuse([problem for chapter in found for problem in stale(chapter, target)] + stray)
        return []
    changed: list[str] = []
    if prose:
        made = [(chapter, _with_stored_outputs(chapter, target)) for chapter in found]
        for chapter, notebook in made:
            changed += _write(chapter, target, notebook)
        return changed
    for chapter in found:
        if before is not None:
            before(chapter.number)
        began = time.time()
        ends: list[tuple[int, float]] = []
        changed += _make(chapter, target, ends)
        if after is not None:
            after(chapter, began, ends)
    return changed


def run(
    chapter: Chapter,
    cwd: Path,
    on_cell: Callable[[int, int], None] | None = None,
    env: Mapping[str, str] = ENVIRONMENT,
    seconds: int = CELL_SECONDS,
) -> NotebookNode:
    """Run the notebook of a chapter in the folder `cwd` and return it with its outputs; nothing is written.

    `on_cell(done, all)` is called after each code cell; `env` comes on top of this process's environment.
    A cell may take `seconds`. Raises MedallionError naming the line that fails.
    """
    page = pages.notebook_page(chapter)
    try:
        return execute(page.notebook, cwd, on_cell, env, seconds)
    except CellFailed as failed:
        lines = page.lines[failed.index]
        line = lines[min(failed.line, len(lines)) - 1]
        text = f"this cell fails: {failed.short.rstrip('.')}. Fix it."
        raise MedallionError(str(chapter.problem(line, text))) from failed


def stale(chapter: Chapter, target: Path) -> list[Problem]:
    """Return what is missing or out of date among the products of a chapter below `target`.

    The exercises, the solutions and the quiz are made anew in memory and compared; of the executed notebook
    the cells and the hash of the source are compared, and the rules for outputs and numbers applied.
    """
    found = [_outdated(chapter, path) for path, text in _unexecuted(chapter, target) if text_of(path) != text]
    path = _path(chapter, target, "notebooks")
    page = pages.notebook_page(chapter)
    stored = _read(path)
    if stored is None or _stripped(stored) != pages.to_text(page.notebook):
        return [*found, _outdated(chapter, path)]
    for index, cell in enumerate(stored.cells):
        if _is_quiz(cell) and not (cell.outputs and cell.outputs[-1].get("data") == _quiz(chapter)):
            text = (
                f"quiz.yml has changed since it was shown. Run './medallion build --prose {chapter.number}'."
            )
            found.append(chapter.problem(page.lines[index][0], text))
    return [*found, *_faults(chapter, page, stored)]


def _lessons(wanted: Sequence[str], folder: Path) -> list[Path]:
    known = contract.lessons(folder)
    numbers_wanted = [contract.number_of(number) for number in wanted] or list(known)
    for number in numbers_wanted:
        if number not in known:
            chapters_known = ", ".join(known) or "none yet"
            raise MedallionError(f"There is no chapter {number}. The chapters are {chapters_known}.")
    return [known[number] for number in numbers_wanted]


def _make(chapter: Chapter, target: Path, ends: list[tuple[int, float]]) -> list[str]:
    """Run a chapter and write its products; `ends` gets the line of each code cell and when it ended."""
    path = _path(chapter, target, "notebooks")
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [cell.line for cell in chapter.cells if cell.kind == "code"]
    with shown(chapter.name, Console(stderr=True)) as on_cell:

        def noted(done: int, of: int) -> None:
            ends.append((lines[done - 1], time.time()))
            on_cell(done, of)

        executed = run(chapter, path.parent, noted, PRODUCING)
    return _write(chapter, target, executed)


def _with_stored_outputs(chapter: Chapter, target: Path) -> NotebookNode:
    """Return the notebook of a chapter with the outputs that are stored, if its code is that which made them.

    The quiz is shown as its file says now: what it shows hangs on nothing else. Raises MedallionError when
    no notebook is stored, and for the first code cell that is another.
    """
    stored = _read(_path(chapter, target, "notebooks"))
    page = pages.notebook_page(chapter)
    old = [cell for cell in stored.cells if cell.cell_type == "code"] if stored else []
    new = [index for index, cell in enumerate(page.notebook.cells) if cell.cell_type == "code"]
    for place, index in enumerate(new):
        cell = page.notebook.cells[index]
        if place >= len(old) or old[place].source != cell.source:
            refuse([_changed(chapter, page.lines[index][0])])
        cell.outputs, cell.execution_count = old[place].outputs, old[place].execution_count
        if _is_quiz(cell):
            cell.outputs[-1].data = _quiz(chapter)
    if len(old) > len(new):
        refuse([_changed(chapter, 1)])
    return page.notebook


def _is_quiz(cell: NotebookNode) -> bool:
    return bool(cell.cell_type == "code" and "quiz.show(" in cell.source)


def _quiz(chapter: Chapter) -> NotebookNode:
    """Return what the cell with the quiz of a chapter shows, as a notebook stores it."""
    asked = quiz.load(chapter.path.parent / "quiz.yml")
    return from_dict({"text/html": asked._repr_html_(), "text/plain": repr(asked)})


def _changed(chapter: Chapter, line: int) -> Problem:
    text = f"the code is not that of the stored outputs. Run './medallion build {chapter.number}'."
    return chapter.problem(line, text)


def _write(chapter: Chapter, target: Path, executed: NotebookNode) -> list[str]:
    refuse(_faults(chapter, pages.notebook_page(chapter), executed))
    path = _path(chapter, target, "notebooks")
    products = [(path, pages.to_text(executed)), *_unexecuted(chapter, target)]
    return [path.relative_to(target).as_posix() for path, text in products if write_text(path, text)]


def _unexecuted(chapter: Chapter, target: Path) -> list[tuple[Path, str]]:
    return [
        (_path(chapter, target, "exercises"), pages.to_text(pages.exercises(chapter))),
        (_path(chapter, target, "solutions"), pages.to_text(pages.solutions(chapter))),
    ]


def _faults(chapter: Chapter, page: Page, executed: NotebookNode) -> list[Problem]:
    """Return what is wrong with the outputs of an executed notebook, by line of the chapter."""
    found = [chapter.problem(page.lines[index][0], text) for index, text in outputs.faults(executed)]
    found += [chapter.problem(line, text) for line, text in numbers.unsupported(page, executed)]
    size = len(pages.to_text(executed).encode())
    if size > outputs.LARGEST:
        text = f"the notebook has {size:,} bytes; the most is {outputs.LARGEST:,}. Draw less data."
        found.append(chapter.problem(1, text))
    return sorted(found, key=lambda problem: problem.line)


def _stripped(stored: NotebookNode) -> str:
    """Return the text that a stored notebook has without its outputs."""
    for cell in (bare := from_dict(stored)).cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return pages.to_text(bare)


def _strays(found: Iterable[Chapter], target: Path) -> list[Problem]:
    names = {chapter.name for chapter in found}
    return [
        Problem(f"{folder}/{path.name}", 1, "no chapter makes this notebook. Delete it.")
        for folder in pages.FOLDERS
        for path in sorted((target / folder).glob("*.ipynb"))
        if path.stem not in names
    ]


def _outdated(chapter: Chapter, path: Path) -> Problem:
    product = f"{path.parent.name}/{path.name}"
    state = "is out of date" if path.exists() else "is missing"
    return chapter.problem(1, f"{product} {state}. Run './medallion build {chapter.number}'.")


def _path(chapter: Chapter, target: Path, folder: str) -> Path:
    return target / folder / f"{chapter.name}.ipynb"


def _read(path: Path) -> NotebookNode | None:
    """Return a stored notebook, or None when it is missing, no notebook, or not as the producer writes it."""
    text = text_of(path)
    if text is None:
        return None
    try:
        stored = nbformat.reads(text, as_version=4)
        return stored if pages.to_text(stored) == text else None
    except (ValueError, KeyError, nbformat.ValidationError):
        return None
