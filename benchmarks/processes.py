"""Running a process and seeing how much memory it takes, for the benchmarks of this folder."""

import os
import subprocess
import time
from pathlib import Path

import psutil


def peak_of(command: list[str], cwd: Path, log: Path, **environment: str) -> int:
    """Run a command to its end in the folder `cwd`; return the peak memory of its process tree in bytes.

    Its output goes to `log`, and `environment` is added to ours. Memory is sampled every 200 ms.
    Raises SystemExit, with the output, when the command fails.
    """
    peak = 0
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        while child.poll() is None:
            peak = max(peak, memory_of_tree(child.pid))
            time.sleep(0.2)
    if child.returncode:
        said = log.read_text(encoding="utf-8", errors="replace")
        raise SystemExit(f"This run failed: {' '.join(command)}\n{said}")
    return peak


def memory_of_tree(pid: int) -> int:
    """Return the bytes that a process and its descendants hold now: PSS on Linux, RSS elsewhere."""
    total = 0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended while we looked
    return total
