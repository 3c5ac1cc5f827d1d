"""The three notebooks of a chapter, before anything is executed.

| tag in the source | `notebook` | `exercises` | `solutions` |
|---|---|---|---|
| (none) | shown | left out | left out |
| setup, exercise, check | shown | kept | kept |
| solution | starter shown, solution folded | starter with its blank | worked |
| predict | output folded | left out | left out |

Everything is a function of the chapter: cell ids come from the notebook's path and the cell's place,
and no notebook holds a time, a version of Python or a path of the machine that made it. The one thing that
comes from other chapters is the map: in a text cell, the line `MAP` becomes the table of all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from textwrap import dedent
from typing import Any

import nbformat
from nbformat import NotebookNode

from medallion import contract
from press.source.chapter import Cell, Chapter, parse
from press.source.starter import starter, worked

PRODUCER = 1  # raise it when the form of the products changes: `build --check` then asks for a rebuild
FOLDERS = ("notebooks", "exercises", "solutions")
MAP = "<!-- The map of the chapters: produced by `medallion build`. -->"


@dataclass(frozen=True)
class Page:
    """A notebook and where its cells come from.

    `cells[i]` is the chapter's cell behind cell i (None for a generated one), `lines[i]` the line in
    the chapter of each line of cell i.
    """

    notebook: NotebookNode
    cells: list[Cell | None]
    lines: list[list[int]]


@dataclass
class _Draft:
    kind: str
    source: str
    origin: Cell | None = None
    lines: list[int] = field(default_factory=list)
    tags: tuple[str, ...] = ()
    jupyter: dict[str, bool] = field(default_factory=dict)


def exercises(chapter: Chapter) -> NotebookNode:
    """Return `exercises/NN_name.ipynb`: the excerpt that a learner opens, with its blanks."""
    return _page(chapter, "exercises", _excerpt(chapter, solved=False)).notebook


def solutions(chapter: Chapter) -> NotebookNode:
    """Return `solutions/NN_name.ipynb`: the same excerpt, worked, with no outputs stored."""
    return _page(chapter, "solutions", _excerpt(chapter, solved=True)).notebook


def notebook_page(chapter: Chapter) -> Page:
    """Return `notebooks/NN_name.ipynb`, not executed, with the origin of its cells."""
    return _page(chapter, "notebooks", _whole(chapter))


def to_text(notebook: NotebookNode) -> str:
    """Return the text of a notebook's file: the same notebook is always the same text."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _whole(chapter: Chapter) -> Iterable[_Draft]:
    first = chapter.cells[0]
    yield _Draft("markdown", f"# {chapter.title}", first, [first.line])
    yield _Draft("markdown", _header(chapter))
    lines = first.source.split("\n")
    begin = next((n for n, line in enumerate(lines) if n and line.strip()), None)
    if begin is not None:
        yield _Draft("markdown", "\n".join(lines[begin:]), first, _from(first.line + begin, lines[begin:]))
    for cell in chapter.cells[1:]:
        if cell.role == "solution":
            yield _Draft("markdown", f"```python\n{starter(cell.source)}\n```")
            yield _worked(cell, ("hide-cell",), {"source_hidden": True})
        elif cell.role == "predict":
            yield _same(cell, ("hide-output",), {"outputs_hidden": True})
        elif has_map(cell):
            yield _filled(cell, chapter)
        else:
            yield _same(cell)


def has_map(cell: Cell) -> bool:
    """Return whether the cell of a chapter is to hold the map of all chapters."""
    return cell.kind == "markdown" and MAP in cell.source.split("\n")


def _filled(cell: Cell, chapter: Chapter) -> _Draft:
    """Return a text cell with the map in the place of its line `MAP`."""
    text: list[str] = []
    lines: list[int] = []
    for n, line in enumerate(cell.source.split("\n"), cell.line):
        put = _map(chapter) if line == MAP else [line]
        text += put
        lines += [n] * len(put)
    return _Draft(cell.kind, "\n".join(text), cell, lines, cell.tags)


def _map(chapter: Chapter) -> list[str]:
    """Return the table of the chapters that stand beside `chapter`, each with a link to its notebook."""
    rows = ["| chapter | what it is about |", "|---|---|"]
    for path in contract.lessons(chapter.path.parents[1]).values():
        other = parse(path)
        title = f"{other.number} {other.title}"
        shown = title if other.name == chapter.name else f"[{title}]({other.name}.ipynb)"
        rows.append(f"| {shown} | {other.said.summary} |")
    return rows


def _excerpt(chapter: Chapter, *, solved: bool) -> Iterable[_Draft]:
    yield _Draft("markdown", _excerpt_title(chapter, solved=solved))
    for cell in chapter.cells:
        if cell.role in ("setup", "exercise", "check"):
            yield _same(cell)
        elif cell.role == "solution" and solved:
            yield _worked(cell)
        elif cell.role == "solution":
            text = starter(cell.source)
            yield _Draft("code", text, cell, [cell.line] * len(text.splitlines()), cell.tags)


def _same(cell: Cell, tags: tuple[str, ...] = (), jupyter: dict[str, bool] | None = None) -> _Draft:
    lines = _from(cell.line, cell.source.split("\n"))
    return _Draft(cell.kind, cell.source, cell, lines, _joined(cell.tags, tags), jupyter or {})


def _worked(cell: Cell, tags: tuple[str, ...] = (), jupyter: dict[str, bool] | None = None) -> _Draft:
    text, kept = worked(cell.source)
    lines = [cell.line + n - 1 for n in kept]
    return _Draft("code", text, cell, lines, _joined(cell.tags, tags), jupyter or {})


def _from(first: int, lines: list[str]) -> list[int]:
    return list(range(first, first + len(lines)))


def _joined(tags: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags + more))


def _page(chapter: Chapter, folder: str, drafts: Iterable[_Draft]) -> Page:
    path = f"{folder}/{chapter.name}.ipynb"
    cells, origins, lines = [], [], []
    for place, draft in enumerate(drafts):
        metadata: dict[str, Any] = {}
        if draft.tags:
            metadata["tags"] = list(draft.tags)
        if draft.jupyter:
            metadata["jupyter"] = draft.jupyter
        new = nbformat.v4.new_code_cell if draft.kind == "code" else nbformat.v4.new_markdown_cell
        cells.append(new(draft.source, id=cell_id(path, place), metadata=metadata))
        origins.append(draft.origin)
        lines.append(draft.lines)
    return Page(_notebook(chapter, folder, cells), origins, lines)


def _notebook(chapter: Chapter, folder: str, cells: list[NotebookNode]) -> NotebookNode:
    made_from: dict[str, Any] = {"producer": PRODUCER, "source": f"book/chapters/{chapter.name}/lesson.py"}
    if folder == "notebooks":  # the others hold no outputs, so their text alone says whether they are current
        made_from["source_sha256"] = chapter.sha256
    result = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {
                "file_extension": ".py",
                "mimetype": "text/x-python",
                "name": "python",
                "pygments_lexer": "ipython3",
            },
            "medallion": made_from,
        },
    )
    result.nbformat_minor = 5
    return result


def cell_id(path: str, place: int) -> str:
    """Return the id of the cell at `place` (from 0) of the notebook `path` ("notebooks/01_x.ipynb")."""
    return sha256(f"{path}:{place}".encode()).hexdigest()[:8]


def _header(chapter: Chapter) -> str:
    minutes = chapter.said.minutes
    rows = [f"| Time | {minutes.read} minutes to read, {minutes.practise} minutes to practise |"]
    if chapter.needs:
        rows.append(f"| Needs | {', '.join(f'`{table}`' for table in chapter.needs)} |")
    if chapter.makes:
        rows.append(f"| Makes | {', '.join(f'`{table}`' for table in chapter.makes)} |")
    return "\n".join(["After this chapter we can", "", *_bullets(chapter), "", "| | |", "|---|---|", *rows])


def _excerpt_title(chapter: Chapter, *, solved: bool) -> str:
    if solved:
        how = "The exercises of this chapter, worked. Other answers can be right too: the check decides."
    else:
        how = dedent(
            """\
            Each exercise has a cell with a blank, `...`. Write your answer there, run the cell, then run the
            check below it: it says what is right, or the first thing that is not. `check.<name>.hint()` in a
            cell of your own gives a hint, and another one each time, up to three."""
        )
    kind = "solutions" if solved else "exercises"
    minutes = chapter.said.minutes.practise
    about = f"About {minutes} minutes. This notebook starts on its own: run it from the top."
    return "\n".join(
        [f"# {chapter.title}: {kind}", "", how, "", about, "", "They practise how to", "", *_bullets(chapter)]
    )


def _bullets(chapter: Chapter) -> list[str]:
    return [f"- {objective}" for objective in chapter.said.objectives]
