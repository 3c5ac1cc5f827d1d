"""Links from the chapters to the glossary: the first time a term stands in a chapter's text.

A term is a heading of the third level on the glossary's page. The chapters' source stays plain Markdown,
which JupyterLab shows as it is.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

GLOSSARY = "book/glossary"
# Also plain English words: they are a term only where a chapter sets them in bold
_ALSO_WORDS = {
    *("action", "catalog", "column", "driver", "fact", "job", "measure", "partition", "protocol"),
    *("release", "sequence", "sink", "source", "stage", "state", "task"),
}
_CLOSED = (nodes.reference, nodes.literal, nodes.title, nodes.raw, addnodes.pending_xref)


class LinkTerms(SphinxPostTransform):
    """Turns the first mention of each glossary term in a chapter into a link to it."""

    default_priority = 5
    formats = ("html",)

    def run(self, **_: Any) -> None:
        if not self.env.docname.startswith("notebooks/"):
            return
        targets = entries(self.env.get_doctree(GLOSSARY)) if GLOSSARY in self.env.all_docs else {}
        pattern = finder(targets)
        for text in list(self.document.findall(nodes.Text)):
            if pattern is None:
                return
            if not _is_prose(text):
                continue
            bold = isinstance(text.parent, nodes.strong)
            pieces, linked = link(text, pattern, lambda term: self._reference(targets, term), bold)
            if linked:
                text.parent.replace(text, pieces)
                for term in linked:
                    targets.pop(term)
                pattern = finder(targets)

    def _reference(self, targets: dict[str, str], term: str) -> nodes.reference:
        uri = f"{self.app.builder.get_relative_uri(self.env.docname, GLOSSARY)}#{targets[term]}"
        return nodes.reference("", "", internal=True, refuri=uri, classes=["term"])


def entries(glossary: nodes.document) -> dict[str, str]:
    """Return the terms of the glossary's page, in small letters, and the anchor of each."""
    return {
        entry.next_node(nodes.title).astext().lower(): entry["ids"][0]
        for part in glossary.findall(nodes.section)
        if isinstance(part.parent, nodes.section)
        for entry in part.children
        if isinstance(entry, nodes.section)
    }


def finder(terms: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds one of the terms, or its plural, as whole words; None when there are no terms."""
    longest_first = sorted(terms, key=len, reverse=True)
    if not longest_first:
        return None
    return re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})(?=s?\b)", re.IGNORECASE)


def link(
    text: nodes.Text, pattern: re.Pattern[str], reference: Callable[[str], nodes.reference], bold: bool
) -> tuple[list[nodes.Node], list[str]]:
    """Return `text` in pieces, the first mention of each term in it a reference, and the terms linked.

    `reference` makes the reference to a term, and gets its text here. `bold` says that the text is bold.
    """
    pieces: list[nodes.Node] = []
    linked: list[str] = []
    whole, done = text.astext(), 0
    for found in pattern.finditer(whole):
        term = found[0].lower()
        if term in linked or (term in _ALSO_WORDS and not bold):
            continue
        target = reference(term)
        target.append(nodes.Text(found[0]))
        pieces += [nodes.Text(whole[done : found.start()]), target]
        linked.append(term)
        done = found.end()
    return [*pieces, nodes.Text(whole[done:])], linked


def _is_prose(text: nodes.Text) -> bool:
    node: nodes.Node | None = text.parent
    in_paragraph = False
    while node is not None:
        if isinstance(node, _CLOSED):
            return False
        in_paragraph = in_paragraph or isinstance(node, nodes.paragraph)
        node = node.parent
    return in_paragraph
