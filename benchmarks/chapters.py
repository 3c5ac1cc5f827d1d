"""What each chapter costs in two clones: `medallion run NN`, by turns.

    .venv/bin/python benchmarks/chapters.py FOLDER BEFORE AFTER [NN…]      # --pairs 3 changes how often

BEFORE and AFTER are clones that are set up. FOLDER keeps a lakehouse for each of them; a chapter that is
named alone finds there what an earlier run left. CPU seconds are those of the command and of every process
that it started, memory is the peak of the process tree, and both are measured on Linux alone.
"""

import argparse
import ctypes
import os
import resource
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from processes import peak_of

_PR_SET_CHILD_SUBREAPER = 36


class Cost(NamedTuple):
    """What one run took: seconds of the clock, CPU seconds, and the peak of its memory in MB."""

    seconds: float
    cpu: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("numbers", metavar="NN", nargs="*")
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    # Who outlives its parent becomes our child, and we see what it cost when it ends.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    clones = {"before": given.before, "after": given.after}
    numbers = given.numbers or [path.name[:2] for path in sorted((given.after / "notebooks").glob("*.ipynb"))]
    print(
        "| chapter | pair | clone | seconds | CPU s | memory MB |", "|---|---|---|---:|---:|---:|", sep="\n"
    )
    found: dict[tuple[str, str], list[Cost]] = {}
    for pair in range(given.pairs):
        for number in numbers:
            # Whoever comes second finds the files warm: each comes first in turn.
            for name in list(clones)[:: -1 if pair % 2 else 1]:
                cost = _run(clones[name].absolute(), number, given.folder.absolute() / name)
                found.setdefault((number, name), []).append(cost)
                shown = f"{cost.seconds:.0f} | {cost.cpu:.0f} | {cost.memory:,.0f}"
                print(f"| {number} | {pair + 1} | {name} | {shown} |", flush=True)
    print("\n| chapter | CPU s before | after | ratio, by pair | memory MB before | after |")
    print("|---|---:|---:|---|---:|---:|")
    for number in numbers:
        before, after = found[number, "before"], found[number, "after"]
        ratios = ", ".join(f"{b.cpu / a.cpu:.2f}" for a, b in zip(before, after, strict=True))
        middle = [statistics.median(one.cpu for one in ran) for ran in (before, after)]
        memory = [max(one.memory for one in ran) for ran in (before, after)]
        held = f"{memory[0]:,.0f} | {memory[1]:,.0f}"
        print(f"| {number} | {middle[0]:.0f} | {middle[1]:.0f} | {ratios} | {held} |")
    sums = [
        [sum(found[number, name][pair].cpu for number in numbers) for pair in range(given.pairs)]
        for name in clones
    ]
    print(
        "All, CPU seconds after over before, by pair:",
        ", ".join(f"{b / a:.2f}" for a, b in zip(*sums, strict=True)),
    )


def _run(clone: Path, number: str, home: Path) -> Cost:
    home.mkdir(parents=True, exist_ok=True)
    before, began = _cpu(), time.perf_counter()
    peak = peak_of(
        [str(clone / "medallion"), "run", number, "--anew"],
        clone,
        home / f"{number}.txt",
        MEDALLION_HOME=str(home),
    )
    seconds = time.perf_counter() - began
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    return Cost(seconds, _cpu() - before, peak / 1e6)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
