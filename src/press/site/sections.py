"""The sections of all pages for the search of the site: where each is, its words, the terms it teaches.

They are written as a script, because a page that is opened from the disk may load one and no other file. To
be light it holds of a section its first sentences and, once each, the words after these.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from docutils import nodes

from press.source.terms import Term

SCRIPT = "_static/sections.js"
_LONGEST = 120  # of what a result shows of its section, in characters
# A section in another is one of its own; nobody looks for what a drawing or a formula is written with
_LEFT_OUT = (nodes.section, nodes.title, nodes.raw, nodes.comment, nodes.math_block, nodes.system_message)


@dataclass(frozen=True)
class Section:
    """A section of a page, without those in it. `anchor` is "" for the top of the page.

    `begins` is the beginning of its text, `words` are the further words of its text and its code, in
    small letters.
    """

    docname: str
    anchor: str
    title: str
    begins: str
    words: frozenset[str]


def of(docname: str, doctree: nodes.document) -> Iterator[Section]:
    """Yield the sections of a page, in their order."""
    for place, section in enumerate(doctree.findall(nodes.section)):
        title = next(iter(section.findall(nodes.title))).astext()
        prose, code = _texts(section)
        begins = _beginning(prose)
        words = _words(f"{prose} {code}") - _words(f"{title} {begins}")
        yield Section(docname, section["ids"][0] if place else "", title, begins, frozenset(words))


def _texts(section: nodes.section) -> tuple[str, str]:
    """Return the prose and the code of a section, each on one line, without what its cells have printed."""
    prose: list[str] = []
    code: list[str] = []

    def collect(node: nodes.Element) -> None:
        for child in node.children:
            if not isinstance(child, nodes.Element) or isinstance(child, _LEFT_OUT):
                continue
            if "cell_output" in child.get("classes", []):
                continue
            if isinstance(child, nodes.literal_block):
                code.append(child.astext())
            elif isinstance(child, nodes.TextElement):
                prose.append(child.astext())
            else:
                collect(child)

    collect(section)
    return _on_one_line(prose), _on_one_line(code)


def _on_one_line(parts: Iterable[str]) -> str:
    return re.sub(r"\s+", " ", " ".join(parts)).strip()


def _beginning(text: str) -> str:
    """Return the text up to the last word that a result has room for."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(' ')[0]} …"


def _words(text: str) -> set[str]:
    return {word for word in re.split(r"[\W_]+", text.lower()) if len(word) > 1 and not word.isdigit()}


def taught(terms: Iterable[Term], found: Iterable[Section], chapters: Mapping[str, str]) -> list[list[int]]:
    """Return for each term the places among the sections `found` of those that teach it.

    `chapters` are the pages of the chapters by number. A section that is not there is left out: the page of
    the index has a link to it, of which Sphinx warns.
    """
    places = {(one.docname, _key(one.title)): place for place, one in enumerate(found)}
    named = [[(chapters.get(number), _key(title)) for number, title in term.sections] for term in terms]
    return [[places[section] for section in several if section in places] for several in named]


def _key(title: str) -> str:
    """Return what a heading and its title on the page, which has curly apostrophes, have in common."""
    return nodes.make_id(title.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def script(
    found: Sequence[Section], titles: Mapping[str, str], terms: Iterable[Term], places: Iterable[list[int]]
) -> str:
    """Return the script: `titles` are those of the pages, `places` what `taught` gives for the terms.

    A word stands before the places of the sections that hold it, each as its distance from the one before.
    """
    held: dict[str, list[int]] = {}
    for place, section in enumerate(found):
        for word in section.words:
            held.setdefault(word, []).append(place)
    data = {
        "pages": titles,
        "sections": [[one.docname, one.anchor, one.title, one.begins] for one in found],
        "words": [[word, *(b - a for a, b in pairwise([0, *held[word]]))] for word in sorted(held)],
        "terms": [[term.names, several] for term, several in zip(terms, places, strict=True)],
    }
    return f"const BOOK = {json.dumps(data, ensure_ascii=False, separators=(',', ':'))};\n"


def write(out: Path, text: str) -> None:
    """Write the script below `out`, the folder of the site."""
    target = out / SCRIPT
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8", newline="\n")
