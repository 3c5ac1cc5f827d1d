"""How long chapters take: here, by the journal of the runs, or else as the repository has it.

What the repository has is `book/reference/seconds.yml`, which `medallion build` produces, on two cores and at
scale 1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from medallion import paths
from medallion.course import journal
from medallion.errors import MedallionError

FILE = "book/reference/seconds.yml"


def estimate(numbers: Sequence[str]) -> str:
    """Return about how long the chapters `numbers` take, and how we know: "about 9 minutes, …".

    Raises MedallionError when what the repository has cannot be read.
    """
    here, there = journal.load().seconds, load(paths.root())
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


def left(took: Mapping[str, float], numbers: Sequence[str]) -> str | None:
    """Return about how long the chapters `numbers` will take, if this machine goes on as it did.

    `took` has the seconds of the chapters that are done, by number. None where the repository does not know
    one of the chapters, so that they cannot be compared.
    Raises MedallionError when what the repository has cannot be read.
    """
    there = load(paths.root())
    if not took or any(number not in there for number in (*took, *numbers)):
        return None
    pace = sum(took.values()) / sum(there[number] for number in took)
    return f"about {_spoken(pace * sum(there[number] for number in numbers))}"


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


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(10, 10 * round(seconds / 10))} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes"
