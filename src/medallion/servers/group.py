"""A process around a program that does not watch for itself, such as a master of Spark.

It is `python -m medallion.servers.group PARENT FOLDER COMMAND…`. When PARENT ends, it ends all that the
command has started, and removes FOLDER, in which they work.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from medallion.servers import server


def run(parent: int, folder: str, command: Sequence[str]) -> None:
    """Run `command` until `parent` ends or closes our standard input; then end this group of processes."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # is sent to all of the group, and we are to stay
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    server.wait_for_the_end_of(parent)
    os.killpg(0, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
