"""The first lines of the README and of the welcome page: badges and links, how to start, how long that takes.

The addresses are those under `[project.urls]` in pyproject.toml. Those of a workflow's environment are left
out, since a file of the repository has to come out the same everywhere. How much set-up fetches and how long
it takes is what the script `medallion` says; how long the chapters run is in `book/reference/seconds.yml`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from medallion.course import durations
from medallion.errors import MedallionError
from medallion.files import text_of
from press.site.config import BRANCH, addresses
from press.source.chapter import Chapter

SCRIPT = "medallion"
_RUN_WITHIN = 5  # minutes: a run that differs by less leaves the README as it is


def badges(_: Sequence[Chapter], target: Path) -> Iterator[str]:
    """Yield the badges, and a line of links; nothing when pyproject.toml below `target` has no addresses.

    Raises MedallionError for an address that is no https address.
    """
    urls = addresses(target, {})
    if urls.source:
        for workflow, shown in (("test", "Tests"), ("pages", "Book")):
            page = f"{urls.source}/actions/workflows/{workflow}.yml"
            yield f"[![{shown}]({page}/badge.svg?branch={BRANCH})]({page})"
    links = []
    if urls.site:
        links.append(f"[Read the book]({urls.site}/)")
    if urls.source and urls.binder:
        place = urls.source.removeprefix("https://github.com/")
        links.append(f"[Try an exercise on Binder]({urls.binder}/v2/gh/{place}/{BRANCH}?labpath=exercises)")
    if urls.source:
        links.append(f"[Ask or report]({urls.source}/issues/new/choose)")
    if links:
        yield ("\n" if urls.source else "") + " · ".join(links)


def start(found: Sequence[Chapter], target: Path) -> Iterator[str]:
    """Yield the commands to start with, and how long they take and how much is fetched.

    Without the address of the repository, a comment stands where `git clone` would.
    Raises MedallionError when the script does not say what set-up fetches, or the times cannot be read.
    """
    source = addresses(target, {}).source
    yield "```sh"
    if source:
        yield f"git clone {source}"
        yield f"cd {source.rsplit('/', 1)[-1].removesuffix('.git')}"
    else:
        yield "# in the folder of your clone of the repository"
    yield "./medallion run     # set up, generate the data, run every chapter"
    yield "./medallion lab     # open the exercises in JupyterLab"
    yield "```\n"
    fetched, minutes = said(target, "fetched"), said(target, "takes")
    set_up = f"Set-up fetches about {fetched}, once, and took about {minutes} on two cores."
    yield f"{set_up} {_ran(found, target)}"


def said(target: Path, name: str) -> str:
    """Return the value of the variable `name` that the script `medallion` below `target` sets.

    Raises MedallionError when it sets none.
    """
    found = re.search(rf"^{name}='(.+)'$", text_of(target / SCRIPT) or "", re.MULTILINE)
    if not found:
        raise MedallionError(f"{SCRIPT}:1: the script does not set '{name}'. Write {name}='…', in quotes.")
    return found[1]


def _ran(found: Sequence[Chapter], target: Path) -> str:
    known = durations.load(target)
    took = sum(known.get(chapter.number, 0) for chapter in found) / 60
    minutes = max(_RUN_WITHIN, _RUN_WITHIN * round(took / _RUN_WITHIN))
    return f"The chapters then ran in about {minutes} minutes. Afterwards nothing needs the network."
