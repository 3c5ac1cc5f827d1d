"""How long each chapter took when it was built last: `book/reference/seconds.yml`."""

import json
from pathlib import Path

from medallion import contract
from medallion.course import durations
from medallion.files import write_text

_HEADER = (
    "# Produced by `medallion build`: about how many seconds each chapter took, on two cores; do not edit.\n"
)
_STEP = 5


def keep(number: str, seconds: float, target: Path) -> None:
    """Write what chapter `number` took into the file below the repository `target`."""
    timed = renewed(durations.load(target), number, seconds)
    write_text(target / durations.FILE, text(timed))


def renewed(held: dict[str, int], number: str, seconds: float) -> dict[str, int]:
    """Return what the repository is to have once chapter `number` took `seconds`, rounded.

    What it has stays unless it is off by more than half: no two builds take the same time.
    """
    old = held.get(number)
    new = max(_STEP, _STEP * round(seconds / _STEP))
    kept = held | {number: old if old is not None and abs(seconds - old) <= old / 2 else new}
    return {known: kept[known] for known in sorted(kept) if known in contract.chapters()}


def text(held: dict[str, int]) -> str:
    """Return the text of the repository's file for what it is to hold."""
    return _HEADER + "".join(f"{json.dumps(number)}: {held[number]}\n" for number in sorted(held))
