"""Links from the chapters to the glossary: the first time a term stands in a chapter's text.

The chapters' source stays plain Markdown, which JupyterLab shows as it is.
"""

import re
from collections.abc import Iterable
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

_CLOSED = (nodes.reference, nodes.literal, nodes.title, nodes.raw, addnodes.pending_xref)


class LinkTerms(SphinxPostTransform):
    """Turns the first mention of each glossary term in a chapter into a link to it."""

    default_priority = 5
    formats = ("html",)

    def run(self, **_: Any) -> None:
        if not self.env.docname.startswith("notebooks/"):
            return
        targets = {
            name.lower(): (docname, anchor)
            for (kind, name), (docname, anchor) in self.env.get_domain("std").objects.items()  # type: ignore[attr-defined]
            if kind == "term"
        }
        pattern = finder(targets)
        for text in list(self.document.findall(nodes.Text)):
            if pattern is None:
                return
            if not _is_prose(text):
                continue
            pieces, linked = link(text, pattern, lambda term: self._reference(targets, term))
            if linked:
                text.parent.replace(text, pieces)
                for term in linked:
                    targets.pop(term)
                pattern = finder(targets)

    def _reference(self, targets: dict[str, tuple[str, str]], term: str) -> nodes.reference:
        docname, anchor = targets[term]
        uri = f"{self.app.builder.get_relative_uri(self.env.docname, docname)}#{anchor}"
        return nodes.reference("", "", internal=True, refuri=uri, classes=["term"])


def finder(terms: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds one of the terms, or its plural, as whole words; None when there are no terms."""
    longest_first = sorted(terms, key=len, reverse=True)
    if not longest_first:
        return None
    return re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})(?=s?\b)", re.IGNORECASE)


def link(text: nodes.Text, pattern: re.Pattern[str], reference: Any) -> tuple[list[nodes.Node], list[str]]:
    """Return `text` in pieces, the first mention of each term in it a reference, and the terms linked."""
    pieces: list[nodes.Node] = []
    linked: list[str] = []
    whole, done = text.astext(), 0
    for found in pattern.finditer(whole):
        term = found[0].lower()
        if term in linked:
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
