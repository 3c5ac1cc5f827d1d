"""What stored outputs must keep to, so that they are the same on every machine and on every day."""

import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

from nbformat import NotebookNode

from medallion import paths
from medallion.lesson.signs import SIGNS
from press.notebooks import drawn
from press.source.rules import LEFT_OUT, RAISES

RIGHT = f"{SIGNS['right']} "
BLANK = f"{SIGNS['open']} "
LARGEST = 1_500_000
_WIDGET = "application/vnd.jupyter.widget-view+json"
_FOLDERS = "home|Users|root|tmp|var|private|opt|usr|etc|mnt|media|srv|work|workspace|workspaces|Volumes"
_PATH = re.compile(rf"(?<![\w/.<])/(?:{_FOLDERS})/[\w.-]+|file:/+\w|\b[A-Za-z]:\\\w")
_HOST = r"(?:localhost|\b\d{1,3}(?:\.\d{1,3}){3}|\[::1?\])"
_PORT = re.compile(rf"{_HOST}:\d{{2,5}}\b|\bport[ =:]+\d{{2,5}}\b", re.IGNORECASE)
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_MARKUP = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>|<[^>]+>", re.DOTALL)


def faults(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """Yield the place of each cell whose outputs break a rule, and what is wrong.

    Rules: nothing on stderr; no error that was not announced; no path, port, address of an object,
    date of today or widget; a check of the reference solution is right; no image, which nbval cannot
    compare, unless the cell is among the few that are left out; a chart can be read without its code.
    """
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.get("tags", [])
        yield from ((index, text) for text in _kinds(cell, tags))
        yield from ((index, text) for text in _texts(cell))
        if "check" in tags and not answers(cell, RIGHT):
            yield (
                index,
                f"the check does not accept the solution: {shown(cell).rstrip('.')}. Fix one of them.",
            )


def answers(cell: NotebookNode, sign: str) -> bool:
    """Say whether the last output of a check cell is a verdict that begins with `sign`."""
    return shown(cell).startswith(sign)


def shown(cell: NotebookNode) -> str:
    """Return the plain text of the last output of a cell, "" when there is none."""
    return str(cell.outputs[-1].get("data", {}).get("text/plain", "")) if cell.outputs else ""


def texts(outputs: Iterable[NotebookNode]) -> Iterator[str]:
    """Yield every text in the outputs of a cell: streams, errors, and each form of each result."""
    for output in outputs:
        if output.output_type == "stream":
            yield output.text
        elif output.output_type == "error":
            yield f"{output.ename}: {output.evalue}"
        else:
            for held in output.data.values():
                yield held if isinstance(held, str) else json.dumps(held, ensure_ascii=False)


def plain(text: str) -> str:
    """Return a text without its HTML mark-up."""
    return unescape(_MARKUP.sub(" ", text))


def _kinds(cell: NotebookNode, tags: list[str]) -> Iterator[str]:
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            first = output.text.strip().splitlines()[0] if output.text.strip() else ""
            yield f"something was written to stderr: {first!r}. Stop it, or catch it and show it."
        if output.output_type == "error" and RAISES not in tags:
            yield f"it failed: {output.ename}: {output.evalue}. Fix it, or tag the cell {RAISES}."
        held = output.get("data", {})
        if _WIDGET in held:
            yield "the output is a widget, which a page cannot show. Progress bars are for the terminal."
        if drawn.MIME in held:
            yield from drawn.faults(held[drawn.MIME])
        if LEFT_OUT not in tags and any(kind in held for kind in ("image/png", "image/jpeg")):
            yield f"the output is an image, which nbval does not compare. Use Plotly, or tag it {LEFT_OUT}."


def _texts(cell: NotebookNode) -> Iterator[str]:
    # Today in either zone: what holds the date now will differ tomorrow.
    today = {datetime.now(UTC).strftime("%Y-%m-%d"), datetime.now().strftime("%Y-%m-%d")}
    for text in dict.fromkeys(texts(cell.outputs)):
        path = _path(text)
        if path:
            yield f"the output holds the path {path!r}. Show a name, or a path from the lakehouse's folder."
        for pattern, what in ((_PORT, "port"), (_ADDRESS, "address of an object")):
            found = pattern.search(text)
            if found:
                yield f"the output holds the {what} {found[0]!r}. Show something that stays the same."
        for day in sorted(today):
            if day in text:
                yield f"the output holds today's date, {day}. Select the columns that stay the same."


def _path(text: str) -> str | None:
    """Return the first path of a machine in a text: a usual folder, or a folder of this very machine."""
    own = {str(place) for place in (paths.root(), paths.home(), Path.home(), Path(sys.prefix))}
    for place in sorted({*own, tempfile.gettempdir()}, key=len, reverse=True):
        if len(place) > 1 and re.search(rf"(?<![\w/.<]){re.escape(place)}(?!\w)", text):
            return place
    found = _PATH.search(text)
    return found[0] if found else None
