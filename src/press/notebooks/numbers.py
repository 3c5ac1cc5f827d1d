"""The numbers in the prose are the numbers in the outputs.

A number of two digits or more, or with decimals, in the text after the first setup cell must occur in
an output or in the code of the same notebook, as written there, thousands separators aside. Not
meant are dates and years, numbers of chapters and exercises, versions, and what is set as code. A cell
may name others that it brings from elsewhere: `# %% [markdown] given=["69,659"]`.
"""

import re
from collections.abc import Iterator

from nbformat import NotebookNode

from press.notebooks.outputs import plain, texts
from press.source.pages import Page
from press.source.rules import LEFT_OUT

_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?"
)
_DASH = "[\u2013-]"
_PLACE = r"(?:[Ee]xercises?|[Cc]hapters?|[Ss]ections?|[Ff]igures?)"
_PRODUCT = r"(?:Spark|Delta(?: Lake)?|Python|Java|Scala|MLflow|pandas|Hadoop|Databricks Runtime|RFC|ISO)"
_NOT_MEANT = re.compile(
    "|".join(
        (
            r"```.*?```",
            r"(`+).+?\1",
            r"<!--.*?-->",
            r"</?\w[^>]*>",
            r"\$[^$\n]+\$",
            r"\]\([^)]*\)",
            r"https?://\S+",
            r"\b\d{4}-\d{2}(?:-\d{2})?\b",
            r"\b\d{1,2}:\d{2}(?::\d{2})?\b",
            rf"\b\d{{1,2}} {_MONTH}(?: \d{{4}})?\b",
            rf"\b{_MONTH} \d{{1,2}}(?:, \d{{4}})?\b",
            rf"\b(?:19|20)\d{{2}}(?:{_DASH}\d{{2}}(?:\d{{2}})?)?\b(?![,.]\d)",
            rf"\b{_PLACE}\s+\d[\d.]*(?:(?:, | and | to |{_DASH})\d[\d.]*)*",
            rf"\b{_PRODUCT}\s+\d[\d.]*",
        )
    ),
    re.DOTALL,
)
_SEPARATOR = "[,_\u2009\u202f\u00a0]"
_DIGITS = rf"\d+(?:{_SEPARATOR}\d{{3}}(?!\d))*(?:\.\d+)?"
_QUOTED = re.compile(rf"(?<![\w.])(?<![A-Za-z]-){_DIGITS}(?!\w)")
_ANY = re.compile(_DIGITS)


def unsupported(page: Page, notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """Yield the line in the chapter of each number that no output bears out, and what is wrong.

    `page` says where the cells of the executed `notebook` come from.
    """
    seen, left_out = _seen(notebook)
    begun = False
    for cell, origin, lines in zip(notebook.cells, page.cells, page.lines, strict=True):
        begun = begun or (cell.cell_type == "code" and "setup" in cell.metadata.get("tags", []))
        if not begun or origin is None or cell.cell_type != "markdown":
            continue
        given = {_normal(number) for number in origin.given}
        for offset, number in quoted(cell.source):
            value = _normal(number)
            if value in seen or value in given:
                continue
            if value in left_out:
                why = "comes from a cell that is left out of the comparison. Do not quote it."
            else:
                why = "is in no output and no code of this chapter. Correct it, or name it in given=[...]."
            yield lines[min(offset, len(lines) - 1)], f"the number {number} {why}"


def quoted(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line, from 0, and the form of each number in a text that has to be borne out."""
    # Blanked out letter by letter, so that the lines stay where they are.
    rest = _NOT_MEANT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    for found in _QUOTED.finditer(rest):
        if len(_normal(found[0])) > 1:
            yield rest.count("\n", 0, found.start()), found[0]


def _seen(notebook: NotebookNode) -> tuple[set[str], set[str]]:
    """Return the numbers in the code and the outputs that are compared, and those in the outputs left out."""
    seen: set[str] = set()
    left_out: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        seen |= _numbers(cell.source)
        shown = {number for text in texts(cell.outputs) for number in _numbers(plain(text))}
        if LEFT_OUT in cell.metadata.get("tags", []):
            left_out |= shown
        else:
            seen |= shown
    return seen, left_out


def _numbers(text: str) -> set[str]:
    return {_normal(number) for number in _ANY.findall(text)}


def _normal(number: str) -> str:
    return re.sub(_SEPARATOR, "", number)
