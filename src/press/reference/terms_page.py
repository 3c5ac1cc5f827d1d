"""The index of terms: the page that leads from a word of the field to the sections that teach it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from press.source.terms import Taught, Term

PAGE = "book/reference/terms.md"


def page(terms: Sequence[Term], taught: Mapping[str, Sequence[Taught]]) -> str:
    """Return the page: `taught` gives the sections that teach each term.

    A spelling that begins with another letter than its term has an entry, which leads to the term's letter.
    """
    entries = sorted(_entries(terms, taught), key=lambda entry: _bare(entry[0]))
    lines = [
        "<!-- Produced by `medallion build`; do not edit. -->\n",
        "# Index of terms\n",
        "Each term with the sections that teach it. What a term means is in the [glossary](../glossary.md).",
        "The search of the site knows the same terms and spellings.",
    ]
    for letter, several in groupby(entries, key=lambda entry: _letter(entry[0])):
        lines += [f"\n## {letter}\n", *(line for _, line in several)]
    return "\n".join(lines) + "\n"


def _entries(terms: Sequence[Term], taught: Mapping[str, Sequence[Taught]]) -> Iterator[tuple[str, str]]:
    """Yield each entry's name, by which it is sorted, and its line."""
    for term in terms:
        also = f" ({', '.join(term.also)})" if term.also else ""
        yield term.term, f"- **{term.term}**{also}: {'; '.join(map(_link, taught[term.term]))}"
        for name in term.also:
            if _letter(name) != _letter(term.term):
                yield name, f"- {name}: see [{term.term}](#{_letter(term.term).lower()})"


def _letter(name: str) -> str:
    """Return the heading under which a name stands: its first letter, or that of the names without one."""
    return _bare(name)[:1].upper() or "Signs"


def _bare(name: str) -> str:
    """Return a name as it is sorted: in small letters, from its first letter or digit on."""
    return re.sub(r"^[\W_]+", "", name.lower())


def _link(section: Taught) -> str:
    anchor = anchored(section.heading)
    return (
        f"[{section.chapter.number} {section.heading}](../../notebooks/{section.chapter.name}.ipynb#{anchor})"
    )


def anchored(heading: str) -> str:
    """Return the anchor that MyST gives to a heading without backticks."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
