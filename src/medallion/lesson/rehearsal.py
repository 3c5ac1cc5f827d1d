"""A part of a chapter that runs in a process of its own, with a Spark of its own, and is killed there.

    rehearsal.killed([land, follow], {"PAYMENT": PAYMENT}, "follow(spark, ...)", when=file)

The process gets the source of the chapter's own functions, so the chapter shows what dies and not how.
"""

import inspect
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["killed"]

_BEGIN = """\
import json, pathlib, time
import medallion
from pyspark.sql import Window
from pyspark.sql import functions as F
spark = medallion.start()
"""
_SECONDS = 240


def killed(functions: Sequence[Callable[..., Any]], values: Mapping[str, Any], task: str, when: Path) -> bool:
    """Run `task` in a new process and kill it with SIGKILL when the file `when` exists; return whether so.

    The process knows `functions` and `values` by their names, Spark's functions as `F`, and its session as
    `spark`. What it started, Java among it, dies with it.

    Raises RuntimeError when the process ends before, with the last line it wrote, or when the file does not
    come.
    """
    given = [f"{name} = {value!r}" for name, value in values.items()]
    program = "\n\n".join([_BEGIN, "\n".join(given), *map(inspect.getsource, functions), task])
    with tempfile.TemporaryFile() as wrote:
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            process_group=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=wrote,
        )
        give_up = time.monotonic() + _SECONDS
        try:
            while not when.exists():
                if child.poll() is not None:
                    raise RuntimeError(f"The process ended before it could be killed: {_last_line(wrote)}")
                if time.monotonic() > give_up:
                    raise RuntimeError(f"{when.name} did not come within {_SECONDS} seconds.")
                time.sleep(0.01)
        finally:
            with suppress(ProcessLookupError):  # when nothing of the group is left
                os.killpg(child.pid, signal.SIGKILL)
        return child.wait() == -signal.SIGKILL


def _last_line(wrote: BinaryIO) -> str:
    wrote.seek(0)
    lines = wrote.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing."
