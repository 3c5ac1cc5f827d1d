"""Steps in lanes: each step is a process with a log of its own, and the lanes run side by side.

What a step prints goes to its log, which is printed whole once the step has ended, so that the outputs of
two lanes do not mix. However this ends, no process that a step started stays behind.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
from rich.console import Console

from medallion import paths
from medallion.course.execute import end

# Every process that a step starts inherits it, also one in a group of its own, as kernels are.
LOG = "MEDALLION_TEST_LOG"
SECONDS_BETWEEN_LINES = 60
STEP_PATIENCE = 20  # seconds that an interrupted step has to tidy up
REST_PATIENCE = 10  # seconds that what a step started has to follow it
Lane = Mapping[str, Sequence[str]]  # commands by the names of the steps


def run(lanes: Sequence[Lane], folder: Path, console: Console) -> dict[str, tuple[int, float]]:
    """Run the steps of each lane one after the other, all lanes at once; return exit statuses and seconds.

    The names of the steps differ, and the result has them in the order of `lanes`. The logs are written to
    `folder`, and printed on `console` under the name of the step; a line there says which steps run.

    Raises KeyboardInterrupt on Ctrl-C, SIGTERM or a closed terminal. Then, and on any other error, the
    steps that run are ended with all they started, and what they have said is printed.
    """
    running: dict[str, psutil.Popen] = {}
    ended: dict[str, tuple[int, float]] = {}
    stops: list[object] = []  # noted, not raised: a second one cannot break off the tidying up

    def work(lane: Lane) -> Iterator[str]:
        """Run the steps of a lane, and say again and again which one runs, and for how long."""
        for name, command in lane.items():
            began, log = time.monotonic(), folder / f"{name}.log"
            process = running[name] = _start(command, log)
            while process.poll() is None:
                minutes, seconds = divmod(int(time.monotonic() - began), 60)
                yield f"{name} {minutes}:{seconds:02}"
            ended[name] = process.returncode, time.monotonic() - began
            end(_started(log), REST_PATIENCE)
            _print(log, name, console)
            del running[name]

    at_work, due = [work(lane) for lane in lanes], 0.0
    with ExitStack() as handlers:
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(one) != signal.SIG_IGN:  # nohup ignores a closed terminal
                handlers.callback(signal.signal, one, signal.signal(one, lambda *_: stops.append(_)))
        try:
            with console.status("") as status:
                while not stops and (said := " | ".join(filter(None, (next(lane, "") for lane in at_work)))):
                    status.update(said)
                    if not console.is_interactive and time.monotonic() >= due:
                        due = time.monotonic() + SECONDS_BETWEEN_LINES
                        console.out(f"running: {said}", highlight=False)
                    time.sleep(0.2)
            if stops:
                raise KeyboardInterrupt
        except BaseException:
            _cut_short(running, folder, console)
            raise
    return {name: ended[name] for lane in lanes for name in lane}


def _start(command: Sequence[str], log: Path) -> psutil.Popen:
    with log.open("wb") as file:
        return psutil.Popen(
            command,
            cwd=paths.root(),
            env={**os.environ, LOG: str(log)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C then reaches it once, from here, and not the terminal too
        )


def _cut_short(running: Mapping[str, psutil.Popen], folder: Path, console: Console) -> None:
    """Let the steps that run end as by Ctrl-C, kill all that stays, and print what they have said."""
    for number in (signal.SIGINT, signal.SIGKILL):
        for process in running.values():
            if process.poll() is None:
                os.killpg(process.pid, number)
        psutil.wait_procs(running.values(), STEP_PATIENCE)
    end(_started(folder), REST_PATIENCE)
    for name in running:
        _print(folder / f"{name}.log", f"{name}, cut short", console)


def _print(log: Path, title: str, console: Console) -> None:
    console.rule(title)
    console.out(log.read_text(encoding="utf-8", errors="replace"), highlight=False, end="")


def _started(by: Path) -> list[psutil.Process]:
    """Return the processes that were started by the step with the log `by`, or with any log in a folder."""
    found = []
    for process in psutil.process_iter():
        # One that has just ended, or is another user's.
        with suppress(psutil.Error, OSError):
            if (log := process.environ().get(LOG)) and Path(log).is_relative_to(by):
                found.append(process)
    return found
