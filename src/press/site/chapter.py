"""A chapter's notebook as the page shows it: header block, named folds, hints, alt texts.

The stored notebook is for JupyterLab. The site reads it, changes this copy, and gives that to myst-nb.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from html import escape
from typing import Any

from docutils import nodes

from medallion import contract
from medallion.contract import Contract
from medallion.errors import MedallionError
from medallion.lesson import checks
from medallion.lesson.checks import Exercise
from press.site import figures
from press.site.config import BRANCH, Addresses
from press.source import header as source_header
from press.source.header import Header

TABLES = "book/reference/tables"
_EXERCISE = re.compile(r"^#+\s*Exercise\s+(\d+\.\d+)\s*:", re.MULTILINE)
_LAYERS = ("bronze", "silver", "gold")


@dataclass(frozen=True)
class About:
    """A chapter's contract, and what its header says for its readers."""

    promised: Contract
    said: Header

    @property
    def layer(self) -> str:
        """The layer that the chapter mostly writes to, or "use", or ""."""
        return _layer(self.promised.makes)


def about(number: str) -> About:
    """Return the facts of chapter `number` from its front matter.

    Raises MedallionError when there is no such chapter, or its header is wrong.
    """
    promised = contract.read(number)
    return About(promised, source_header.of(contract.header(promised.path), promised))


def _layer(makes: Iterable[str]) -> str:
    counted = Counter(table.split(".")[0] for table in makes)
    if not counted:
        return ""
    most = counted.most_common(1)[0][0]
    return most if most in _LAYERS else "use"


def page(notebook: dict[str, Any], facts: About, urls: Addresses) -> dict[str, Any]:
    """Return the stored notebook of a chapter as its page shows it; the one given is not changed.

    Raises MedallionError when it is not one that `medallion build` has written.
    """
    result, chapter = deepcopy(notebook), facts.promised
    cells = result["cells"]
    if len(cells) < 2 or not _text(cells[1]).startswith("After this chapter we can"):
        raise MedallionError(
            f"notebooks/{chapter.name}.ipynb has no header block. Run ./medallion build {chapter.number}."
        )
    cells[1]["source"] = header(facts, urls)
    hints = {exercise.number: exercise for exercise in _exercises(chapter.number)}
    result["cells"] = list(_with_folds(cells, hints))
    return result


def _exercises(number: str) -> list[Exercise]:
    return checks.exercises(number) if number in checks.chapters() else []


def _text(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _with_folds(cells: list[dict[str, Any]], hints: dict[str, Exercise]) -> Iterator[dict[str, Any]]:
    exercise, predictions = "", 0
    for cell in cells:
        if cell["cell_type"] == "markdown" and (found := _EXERCISE.findall(_text(cell))):
            exercise = found[-1]
        tags = cell["metadata"].get("tags", [])
        if "solution" in tags:
            if exercise in hints:
                yield _markdown(f"hints-{exercise}", hints_html(hints[exercise]))
            _name_fold(cell, f"Solution to exercise {exercise}")
        if "predict" in tags:
            predictions += 1
            _name_fold(cell, f"Prediction {predictions}: the output, once you have your number")
        for output in cell.get("outputs", []):
            if figures.MIME in output.get("data", {}):
                plain = output["data"].get("text/plain", "")
                output["metadata"]["alt"] = plain if isinstance(plain, str) else "".join(plain)
                if _ends_with_chart(cell):
                    cell["metadata"]["tags"] = [*tags, "hide-input"]
                    if "predict" not in tags:  # there, one fold holds the code and the chart
                        title = figures.title_of(output["data"][figures.MIME])
                        _name_fold(cell, f"The code of the chart: {title}")
        yield cell


def _ends_with_chart(cell: dict[str, Any]) -> bool:
    """Say whether a cell ends with `charts.show(...)`, whose chart and text its output shows anyway."""
    match ast.parse(_text(cell)).body[-1:]:
        case [ast.Expr(ast.Call(ast.Attribute(ast.Name("charts"), "show")))]:
            return True
    return False


def _name_fold(cell: dict[str, Any], name: str) -> None:
    cell["metadata"]["mystnb"] = {"code_prompt_show": name, "code_prompt_hide": name}


def _markdown(name: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name.replace(".", "-"), "metadata": {}, "source": text}


def hints_html(exercise: Exercise) -> str:
    """Return the three hints of an exercise as HTML: each stands inside the one before it."""
    inner = ""
    for level in (3, 2, 1):
        name = f'Hint {level} of 3<span class="for-readers"> for exercise {escape(exercise.number)}</span>'
        inner = (
            f'<details class="fold hint"><summary>{name}</summary>'
            f"<p>{escape(exercise.hints[level - 1])}</p>{inner}</details>"
        )
    return inner


def header(facts: About, urls: Addresses) -> str:
    """Return the header block of a chapter as HTML without a blank line, which would end it in Markdown."""
    times = {"To read": facts.said.minutes.read, "To practise": facts.said.minutes.practise}
    rows = [f"<div><dt>{name}</dt><dd>{took} minutes</dd></div>" for name, took in times.items() if took]
    for name, tables in (("Needs", facts.promised.reads), ("Makes", facts.promised.makes)):
        if tables:
            rows.append(f'<div class="wide"><dt>{name}</dt><dd>{" ".join(map(_chip, tables))}</dd></div>')
    goals = "".join(f"<li>{_code(goal)}</li>" for goal in facts.said.objectives)
    actions = "".join(
        f'<li><a class="action" href="{href}">{text}</a></li>' for text, href in launches(facts, urls)
    )
    return (
        '<div class="chapter-head">\n<p class="goals-title">After this chapter we can</p>\n'
        f"<ul>{goals}</ul>\n<dl>{''.join(rows)}</dl>\n"
        f'<ul class="actions">{actions}</ul>\n</div>'
    )


def launches(facts: About, urls: Addresses) -> list[tuple[str, str]]:
    """Return the ways to the exercises of a chapter: their text and their address, for its page.

    The notebook to download is always there; Binder, JupyterHub and the source only with an address.
    """
    notebook = f"exercises/{facts.promised.name}.ipynb"
    found = []
    if urls.binder and urls.source:
        place = urls.source.removeprefix("https://github.com/")
        found.append(
            ("Do the exercises on Binder", f"{urls.binder}/v2/gh/{place}/{BRANCH}?labpath={notebook}")
        )
    if urls.hub and urls.source:
        folder = urls.source.rsplit("/", 1)[-1]
        found.append(
            (
                "Do the exercises on JupyterHub",
                f"{urls.hub}/hub/user-redirect/git-pull?repo={urls.source}&amp;branch={BRANCH}"
                f"&amp;urlpath=lab/tree/{folder}/{notebook}",
            )
        )
    found.append(("Download the exercises", f"../{notebook}"))
    return found


def _chip(table: str) -> str:
    """Return a table in the colour of its layer, a link to its columns; a folder of sources has none."""
    schema = table.split(".")[0]
    chip = f'<code class="chip {escape(schema)}">{escape(table)}</code>'
    if schema == contract.LANDING:
        return chip
    return f'<a href="../{TABLES}.html#{nodes.make_id(table)}">{chip}</a>'


def _code(text: str) -> str:
    """Return the text as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
