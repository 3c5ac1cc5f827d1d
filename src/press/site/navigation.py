"""The list of pages beside the text, in the order and the parts of `_toc.yml`."""

import re
from dataclasses import dataclass
from typing import Any

from medallion.errors import MedallionError
from press.site import chapter


@dataclass(frozen=True)
class Entry:
    """One page in the list. `number` and `layer` are a chapter's, else ""."""

    docname: str
    title: str
    number: str
    layer: str


@dataclass(frozen=True)
class Part:
    """A part of the book: its caption and its pages."""

    caption: str
    entries: list[Entry]


def number_of(docname: str) -> str:
    """Return the number of the chapter that a page shows, or "": "01" for "notebooks/01_bronze"."""
    found = re.fullmatch(r"notebooks/(\d\d)_\w+", docname)
    return found[1] if found else ""


def parts(app: Any) -> list[Part]:
    """Return the parts of the book with their pages, without the root page.

    Raises MedallionError when `_toc.yml` names a page that is not there.
    """
    site_map = app.config.external_site_map
    return [
        Part(tree.caption or "", [_entry(app, docname) for docname in tree.files()])
        for tree in site_map.root.subtrees
    ]


def pages(app: Any) -> dict[str, str]:
    """Return the pages of the book in its order, the root page first, with their titles.

    The title of a chapter begins with its number.
    """
    listed = [entry for part in parts(app) for entry in part.entries]
    titles = {entry.docname: f"{entry.number} {entry.title}".strip() for entry in listed}
    root = app.config.root_doc
    return {root: app.env.titles[root].astext()} | titles


def _entry(app: Any, name: str) -> Entry:
    docname = re.sub(r"\.(md|ipynb)$", "", name)
    if docname not in app.env.titles:
        raise MedallionError(
            f"_toc.yml names {docname}, and there is no such page. Write it, or take it out."
        )
    number = number_of(docname)
    layer = chapter.about(number).layer if number else ""
    return Entry(docname, app.env.titles[docname].astext(), number, layer)
