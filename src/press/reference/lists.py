"""The lists of chapters: in the contents, the README and the pages of the book, from the lessons' headers.

| file | what of it is produced |
|---|---|
| `_toc.yml` | the notebooks of the chapters |
| `README.md` | badges and links (see `front`), the chapters, how to start and how long that takes |
| `book/welcome.md` | how to start, and the chapters with what each makes and how long it takes |
| `book/readers.md` | the chapters with what each is about |
| `book/instructors.md` | how long each takes |
| `book/outline.md` | the table, and what each chapter holds, by the parts of the course |

The chapters to come, and the parts, are in `book/outline.yml`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import Field, TypeAdapter

from medallion import contract
from medallion.files import text_of
from press.reference import front
from press.reference.produced import renewed
from press.source import forms
from press.source.chapter import Chapter
from press.source.forms import Form, Line

PLAN = "book/outline.yml"
_FURTHER = "Further chapters"  # the part of those whose numbers lie beyond the plan
_NONE = "\u2013"
_LAYERS = {contract.LANDING: "source files"} | {name: name.capitalize() for name in contract.SCHEMAS}
_LAYERS |= {"ml": "ML", "ops": "operations"}


class Planned(Form):
    """A chapter to come: its title, and in a paragraph what it will hold."""

    title: Line
    outline: Line


class Part(Form):
    """A part of the course: its title, the number of its last chapter, and its chapters to come by number."""

    part: Line
    last: str
    planned: dict[str, Planned] = Field(default_factory=dict)


_PLAN = TypeAdapter(list[Part])


def pages(found: Sequence[Chapter], target: Path) -> dict[str, str]:
    """Return the text of each file below `target` (the repository) that has lists, with these renewed.

    A file that is not there is left out.
    Raises MedallionError when one lacks the comments around its list, and when the plan cannot be read.
    """
    texts = {path: text for path in _LISTS if (text := text_of(target / path)) is not None}
    return {
        path: renewed(path, text, *(lines(found, target) for lines in _LISTS[path]))
        for path, text in texts.items()
    }


def plan(target: Path) -> list[Part]:
    """Return the parts of the course, in order, as `book/outline.yml` below `target` has them.

    Raises MedallionError when it is not there, is no YAML, or lacks something.
    """
    return forms.read(target / PLAN, _PLAN, "part")


def _contents(found: Sequence[Chapter], _: Path) -> Iterator[str]:
    for chapter in found:
        yield f"- file: notebooks/{chapter.name}"


def _readme(found: Sequence[Chapter], target: Path) -> Iterator[str]:
    yield from _course(found, "")
    if planned := _to_come(found, target):
        titles = "; ".join(f"{number} {one.title}" for number, one in planned.items())
        yield f"\nPlanned ([outline](book/outline.md)): {titles}."


def _welcome(found: Sequence[Chapter], _: Path) -> Iterator[str]:
    yield from _course(found, "../")


def _course(found: Sequence[Chapter], root: str) -> Iterator[str]:
    """Yield the chapters with what each makes and its minutes, and the sum; `root` as in `Chapter.link`."""
    yield "| Chapter | What you build | Minutes to read + practise |"
    yield "|---|---|--:|"
    for chapter in found:
        made, took = _makes(chapter), chapter.said.minutes
        built = chapter.said.summary if made == _NONE else f"{chapter.said.summary} ({made})"
        yield f"| {chapter.link(root)} | {built} | {took.read} + {took.practise} |"
    read = sum(chapter.said.minutes.read for chapter in found)
    practise = sum(chapter.said.minutes.practise for chapter in found)
    hours = round((read + practise) / 60)
    yield f"| **In all, about {hours} hour{'s' * (hours != 1)}** | | **{read} + {practise}** |"


def _order(found: Sequence[Chapter], _: Path) -> Iterator[str]:
    for place, chapter in enumerate(found, 1):
        yield f"{place}. [{chapter.title}](../notebooks/{chapter.name}.ipynb): {chapter.said.summary}."


def _minutes(found: Sequence[Chapter], _: Path) -> Iterator[str]:
    yield "| Chapter | Minutes to read | to practise | in a room |"
    yield "|---|--:|--:|--:|"
    for chapter in found:
        took = chapter.said.minutes
        both = took.read + took.practise
        yield f"| {chapter.link('../')} | {took.read} | {took.practise} | {2 * both} |"


def _outline(found: Sequence[Chapter], target: Path) -> Iterator[str]:
    yield "| Chapter | State | Made from | Makes |"
    yield "|---|---|---|---|"
    for chapter in found:
        yield f"| {chapter.link('../')} | there | {_made_from(chapter)} | {_makes(chapter)} |"
    told = {chapter.number: f"**{chapter.link('../')}.** {chapter.said.outline}" for chapter in found}
    for number, planned in _to_come(found, target).items():
        yield f"| {number} {planned.title} | planned | {_NONE} | {_NONE} |"
        told[number] = f"**{number} {planned.title}.** {planned.outline}"
    before = ""
    for part in [*plan(target), Part(part=_FURTHER, last="99")]:
        if numbers := [number for number in sorted(told) if before < number <= part.last]:
            yield f"\n## {part.part}"
        for number in numbers:
            yield f"\n{told[number]}"
        before = part.last


def _to_come(found: Sequence[Chapter], target: Path) -> dict[str, Planned]:
    """Return the planned chapters that are not there yet, by number."""
    planned = {number: told for part in plan(target) for number, told in part.planned.items()}
    there = {chapter.number for chapter in found}
    return {number: told for number, told in planned.items() if number not in there}


def _made_from(chapter: Chapter) -> str:
    """Return the layers that a chapter reads from, in the order of the flow."""
    read = {table.partition(".")[0] for table in chapter.needs}
    return ", ".join(shown for name, shown in _LAYERS.items() if name in read) or _NONE


def _makes(chapter: Chapter) -> str:
    """Return how many tables of which layer a chapter makes: "6 Gold and 2 ML tables"."""
    counts = Counter(table.partition(".")[0] for table in chapter.makes)
    layers = [f"{counts[name]} {shown}" for name, shown in _LAYERS.items() if counts[name]]
    if not layers:
        return _NONE
    return f"{' and '.join(layers)} table{'s' if len(chapter.makes) > 1 else ''}"


_Lines = Callable[[Sequence[Chapter], Path], Iterator[str]]
_LISTS: dict[str, tuple[_Lines, ...]] = {
    "_toc.yml": (_contents,),
    "README.md": (front.badges, _readme, front.start),
    "book/welcome.md": (front.start, _welcome),
    "book/readers.md": (_order,),
    "book/instructors.md": (_minutes,),
    "book/outline.md": (_outline,),
}
