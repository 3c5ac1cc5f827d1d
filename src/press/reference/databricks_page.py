"""The part of `book/databricks.md` that is made: what differs in a workspace, chapter by chapter.

It stands between two comments, and `medallion build --reference` writes it anew. The sentences are those of
`databricks.yml` beside each lesson, and of the box "On Databricks" at the end of a chapter.
"""

from collections.abc import Iterator
from pathlib import Path

from medallion import contract
from medallion.errors import MedallionError
from press.export import bundle, differences
from press.export.differences import CATALOG, Differences
from press.reference import produced
from press.source.chapter import Chapter, parse

PAGE = "book/databricks.md"
_BOX = "**On Databricks**"
_SAID = {"instead": "Other code", "out": "Left out", CATALOG: "Only with a catalog"}


def renewed(page: str, root: Path) -> str:
    """Return the text of the page with its produced part as it has to be; `root` is the repository.

    Raises MedallionError when the page lacks one of the two comments.
    """
    found = differences.load(root)
    locked = (root / "requirements.lock").read_text(encoding="utf-8")
    return produced.renewed(PAGE, page, [*_packages(found, locked), *_chapters(found)])


def _packages(found: Differences, locked: str) -> Iterator[str]:
    runtime = found.common.runtime
    yield f"The cluster runs [{runtime.name}]({runtime.source})."
    yield "The bundle installs on top of it:\n"
    yield "| Package | For |"
    yield "|---|---|"
    for line in bundle.requirements(found, locked).splitlines()[1:]:
        pin, _, why = line.partition("  # ")
        yield f"| `{pin}` | {why} |"


def _chapters(found: Differences) -> Iterator[str]:
    told = [parse(contract.find(number)) for number in sorted(found.chapters)]
    yield "\n| Chapter | Cells as in the book | With other code | Only with a catalog | Left out |"
    yield "|---|--:|--:|--:|--:|"
    for chapter in told:
        counts = count(chapter, found)
        numbers = " | ".join(str(counts[kind]) for kind in ("same", "instead", CATALOG, "out"))
        yield f"| {chapter.link('../')} | {numbers} |"
    for chapter in told:
        entries = found.chapters[chapter.number]
        yield f"\n### Chapter {chapter.number}\n"
        yield f"> {box(chapter)}\n"
        if not entries:
            yield "Every cell is that of the book."
        for entry in entries:
            cells = f"{len(entry.cells)} cells" if len(entry.cells) > 1 else "1 cell"
            yield f"- **{_SAID[entry.kind]}**, {cells}: {entry.why}"


def box(chapter: Chapter) -> str:
    """Return, in one line, what the chapter itself says at its end about Databricks.

    Raises MedallionError when it has no paragraph that begins so.
    """
    for cell in chapter.cells:
        for paragraph in cell.source.split("\n\n") if cell.kind == "markdown" else ():
            if paragraph.startswith(_BOX):
                return " ".join(paragraph.split())
    raise MedallionError(str(chapter.problem(1, f"no paragraph begins with {_BOX!r}. Write one.")))


def count(chapter: Chapter, found: Differences) -> dict[str, int]:
    """Return how many code cells of a chapter are the same in a workspace, and of each kind of difference."""
    kinds = [difference.kind for difference in differences.of(chapter, found).values()]
    code = sum(cell.kind == "code" for cell in chapter.cells)
    counts = {kind: kinds.count(kind) for kind in ("instead", CATALOG, "out")}
    return {"same": code - len(kinds), **counts}
