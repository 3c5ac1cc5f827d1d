"""How long chapters take: here, by `<home>/cache/seconds.json`, or else as the repository has it.

What the repository has is `book/reference/seconds.yml`, which `medallion build` produces, on two cores and at
scale 1.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from medallion import chapters, paths
from medallion.errors import MedallionError

FILE = "book/reference/seconds.yml"
_HEADER = (
    "# Produced by `medallion build`: about how many seconds each chapter took, on two cores; do not edit.\n"
)
_STEP = 5


def estimate(numbers: Sequence[str]) -> str:
    """Return about how long the chapters `numbers` take, and how we know: "about 9 minutes, …".

    Raises MedallionError when what the repository has cannot be read.
    """
    here, there = _here(), load(paths.root())
    known = {number: here.get(number, there.get(number)) for number in numbers}
    if any(seconds is None for seconds in known.values()):
        return "a time that is not known yet"
    total = sum(seconds for seconds in known.values() if seconds is not None)
    timed = [number for number in numbers if number in here]
    if len(timed) == len(numbers):
        how = "by what they took here last"
    elif timed:
        how = "by what they took here last, or else on two cores at scale 1"
    else:
        how = "by what they took on two cores at scale 1"
    return f"about {_spoken(total)}, {how}"


def remember(number: str, seconds: float) -> None:
    """Keep how long chapter `number` has just taken here. No run may go beside this one."""
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(_here() | {number: round(seconds, 1)}, sort_keys=True), encoding="utf-8")
    new.replace(path)


def load(target: Path) -> dict[str, int]:
    """Return the seconds that the repository `target` has, by chapter: {} when there are none.

    Raises MedallionError when the file cannot be read.
    """
    try:
        held = yaml.safe_load((target / FILE).read_text(encoding="utf-8"))
        return {str(number): int(seconds) for number, seconds in held.items()}
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise MedallionError(
            f"{target / FILE} cannot be read ({error}). Restore it with `git restore {FILE}`."
        ) from error


def renewed(held: dict[str, int], number: str, seconds: float) -> dict[str, int]:
    """Return what the repository is to have once chapter `number` took `seconds`, rounded.

    What it has stays unless it is off by more than half: no two builds take the same time.
    """
    old = held.get(number)
    new = max(_STEP, _STEP * round(seconds / _STEP))
    kept = held | {number: old if old is not None and abs(seconds - old) <= old / 2 else new}
    return {known: kept[known] for known in sorted(kept) if known in chapters.all_chapters()}


def text(held: dict[str, int]) -> str:
    """Return the text of the repository's file for what it is to hold."""
    return _HEADER + "".join(f"{json.dumps(number)}: {held[number]}\n" for number in sorted(held))


def _file() -> Path:
    return paths.home() / "cache" / "seconds.json"


def _here() -> dict[str, float]:
    try:
        held: Any = json.loads(_file().read_text(encoding="utf-8"))
        return {str(number): float(seconds) for number, seconds in held.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # an estimate is all that it is for


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(10, 10 * round(seconds / 10))} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes"
