"""The index of terms, `book/terms.yml`: each term of the field, how else it is written, and who teaches it.

A section is named by its chapter and its heading, "07 Watermarks: when a count becomes final", as the
lesson has it without backticks. The page of the index and the search of the site are made from this.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from press.source import forms
from press.source.chapter import Chapter, Problem, refuse
from press.source.forms import Form, Line

FILE = "book/terms.yml"
_SECTION = re.compile(r"(\d\d) (.+)")
_HEADING = re.compile(r"^##+ +(.+)$", re.MULTILINE)


class Term(Form):
    """A term of the field, its other spellings, and the sections that teach it, the best first."""

    term: Line
    also: list[Line] = Field(default_factory=list)
    taught: Annotated[list[Line], Field(min_length=1)]

    @model_validator(mode="after")
    def _sections_named(self) -> "Term":
        for section in self.taught:
            if not _SECTION.fullmatch(section):
                raise ValueError(
                    f"{section!r} is no section. Write the chapter and its heading: 'NN heading'."
                )
        return self

    @property
    def names(self) -> list[str]:
        """The term and its other spellings."""
        return [self.term, *self.also]

    @property
    def sections(self) -> list[tuple[str, str]]:
        """The number of the chapter and the heading of each section that teaches it."""
        return [(section[:2], section[3:]) for section in self.taught]


def _each_name_once(terms: list[Term]) -> list[Term]:
    counts = Counter(name.lower() for term in terms for name in term.names)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"{twice[0]!r} stands in it {counts[twice[0]]} times. Leave it once.")
    return terms


_TERMS = TypeAdapter(Annotated[list[Term], AfterValidator(_each_name_once)])


def read(root: Path) -> list[Term]:
    """Return the terms of the book in `root`; none when it has no index.

    Raises forms.Unfit when the file is not YAML, or is not of its form.
    """
    path = root / FILE
    return forms.read(path, _TERMS, "term") if path.exists() else []


@dataclass(frozen=True)
class Taught:
    """A section that teaches a term: its chapter, and its heading without backticks."""

    chapter: Chapter
    heading: str


def sections(terms: Iterable[Term], found: Sequence[Chapter], root: Path) -> dict[str, list[Taught]]:
    """Return the sections of the chapters `found` that teach each term, by the term.

    Raises MedallionError, with a line for each, when a chapter or a heading is not there.
    """
    terms = list(terms)
    chapters = {chapter.number: chapter for chapter in found}
    refuse(_missing(terms, chapters, (root / FILE).read_text(encoding="utf-8") if terms else ""))
    return {
        term.term: [Taught(chapters[number], heading) for number, heading in term.sections] for term in terms
    }


def _missing(terms: Iterable[Term], chapters: dict[str, Chapter], text: str) -> Iterator[Problem]:
    known = {number: headings(chapter) for number, chapter in chapters.items()}
    for number, heading in dict.fromkeys(section for term in terms for section in term.sections):
        if heading in known.get(number, ()):
            continue
        line = text[: max(text.find(f"{number} {heading}"), 0)].count("\n") + 1
        if number not in known:
            yield Problem(FILE, line, f"there is no chapter {number}. Name the one that teaches this.")
            continue
        near = difflib.get_close_matches(heading, known[number], n=1, cutoff=0.6)
        name = f", such as '{number} {near[0]}'" if near else ""
        yield Problem(
            FILE,
            line,
            f"chapter {number} has no heading '{heading}'. Name the section that teaches this now{name}.",
        )


def headings(chapter: Chapter) -> list[str]:
    """Return the headings of the chapter below its title, without backticks."""
    texts = (cell.source for cell in chapter.cells if cell.kind == "markdown")
    return [plain(found) for text in texts for found in _HEADING.findall(text)]


def plain(heading: str) -> str:
    """Return a heading as a page shows it: without backticks."""
    return heading.replace("`", "").strip()
