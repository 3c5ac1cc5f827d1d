"""The pages of the site, from the book's table of contents: a new chapter is tested without a word here."""

from collections.abc import Iterator
from typing import Any

import yaml

from medallion import paths

PHONE, WIDE = 360, 1440


def _files(entry: dict[str, Any]) -> Iterator[str]:
    if "file" in entry:
        yield entry["file"]
    for child in [*entry.get("parts", []), *entry.get("chapters", []), *entry.get("sections", [])]:
        yield from _files(child)


_TOC = yaml.safe_load((paths.root() / "_toc.yml").read_text(encoding="utf-8"))
_LISTED = [f"{name}.html" for name in _files(_TOC)]
# The first page of the book stands at the address of the site as well, and is tested there
WELCOME = "index.html"
LINEAGE = "book/reference/lineage.html"
CHAPTERS = [name for name in _LISTED if name.startswith("notebooks/")]
# The three that hold most kinds of things between them
FULLEST = [WELCOME, LINEAGE, next(name for name in CHAPTERS if name.startswith("notebooks/03"))]
SHEETS = [name for name in _LISTED if name.startswith("book/cheatsheets/")]
ALL = [WELCOME, *_LISTED, "search.html", "404.html"]
