"""A process around a program that does not watch for itself, such as a master of Spark.

It is `python -m medallion.servers.group PARENT FOLDER COMMAND…`. When the command or PARENT ends, it ends all
that the command has started. With PARENT goes FOLDER, in which they work.
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
    """Run `command` until it or `parent` ends; then end this group of processes, ourselves with it.

    Without `parent`, or when it closes our standard input, `folder` is removed too.
    """
    signal.signal(signal.SIGTERM, lambda *_: None)  # is sent to all of the group, and we are to stay
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while (there := server.is_there(parent)) and process.poll() is None:
        pass
    os.killpg(0, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    if not there:
        shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
