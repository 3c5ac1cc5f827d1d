"""`medallion build`: the products of chapters, and the reference, which is made of all of them."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from rich.console import Console

from medallion import contract, paths
from medallion.course import journal
from medallion.errors import MedallionError
from medallion.lakehouse.reset import reset
from medallion.machine import orchestrator, setup
from medallion.spark import recording
from press.lineage import observed
from press.notebooks import producer
from press.recorded import costs
from press.reference import reference
from press.source import pages
from press.source.chapter import Chapter, parse


def make(
    wanted: Sequence[str],
    parser: argparse.ArgumentParser,
    *,
    prose: bool = False,
    only_reference: bool = False,
    profile: bool = False,
) -> list[str]:
    """Make the products of the chapters `wanted`, or of all, then the reference; return what changed.

    `parser` is that of the command line. With `prose` nothing is run; with `only_reference` no chapter is
    made. With `profile` what each cell cost is printed. Returned are paths.
    Raises MedallionError as `producer.build` does, and when another run is at work on this lakehouse.
    """
    changed = []
    if prose:
        changed = producer.build(wanted, prose=True)
    elif not only_reference:
        chosen = {number.zfill(2) for number in wanted} or {orchestrator.CHAPTER}
        setup.prepare(lineage=True, orchestrated=orchestrator.CHAPTER in chosen)
        with journal.alone():
            changed = _build(wanted, profile)
    return changed + _renew_maps() + reference.write(parser)


def check(wanted: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Raise MedallionError, with a line for each, when products or the reference are out of date."""
    complaints = []
    for look in (lambda: producer.build(wanted, check=True), lambda: reference.check(parser)):
        try:
            look()
        except MedallionError as error:
            complaints.append(str(error))
    if complaints:
        raise MedallionError("\n".join(complaints))


def _renew_maps() -> list[str]:
    """Write the notebooks that hold the map of the chapters anew, with their outputs; return what changed.

    One whose code is not that of its outputs is left to `build`, which `build --check` asks for.
    """
    changed: list[str] = []
    for number, path in contract.lessons().items():
        if any(map(pages.has_map, parse(path).cells)):
            with suppress(MedallionError):
                changed += producer.build([number], prose=True)
    return changed


def _build(wanted: Sequence[str], profile: bool) -> list[str]:
    """Make the products of chapters, and keep for the reference what their tables look like and come from.

    In a lakehouse where lineage cannot be recorded that is said, and what is kept of it, and of what the
    cells cost, stays as it is.
    """
    seen: dict[str, Callable[[], observed.Observed]] = {}
    console = Console(stderr=True)
    with ExitStack() as observing:

        def before(number: str) -> None:
            reset(number)
            try:
                seen[number] = observing.enter_context(observed.observing(number))
            except MedallionError as error:
                print(f"medallion: {error}", file=sys.stderr)

        def after(chapter: Chapter, began: float, ends: Sequence[tuple[int, float]]) -> None:
            number, seconds = chapter.number, time.time() - began
            edges = seen[number]().edges if number in seen else None
            if record := recording.place():
                spent = costs.of(record.parent, began, ends)
                costs.keep(number, spent, paths.root())
                if profile:
                    console.print(costs.table(chapter, spent))
                for problem in costs.dear(chapter, spent):
                    console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
            reference.record(number, seconds, edges=edges)
            observing.close()

        return producer.build(wanted, before=before, after=after)
