"""Steps in lanes: each step is a process with a log of its own, and the lanes run side by side.

What a step prints goes to its log, which is printed whole once the step has ended, so that the outputs of
two lanes do not mix. However this ends, no process that a step started stays behind.
"""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.status import Status

from medallion import paths
from medallion.course.execute import end

# Every process that a step starts inherits it, also one in a group of its own, as kernels are.
LOG = "MEDALLION_TEST_LOG"
SECONDS_BETWEEN_LINES = 60
STEP_PATIENCE = 20  # seconds that an interrupted step has to tidy up
REST_PATIENCE = 10  # seconds that what a step started has to follow it
_SECONDS_BETWEEN_LOOKS = 0.2
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Step:
    """A command, and `count`, which makes of its exit status how much passed and how much failed."""

    name: str
    command: Sequence[str]
    count: Callable[[int], tuple[int, int]]


@dataclass(frozen=True)
class Outcome:
    """What one step counted."""

    name: str
    passed: int
    failed: int
    seconds: float


def run(lanes: Sequence[Sequence[Step]], folder: Path, console: Console) -> list[Outcome]:
    """Run the steps of each lane one after the other, all lanes at once, and return what they counted.

    The steps work in the folder of the project, and their names differ. The logs are written to `folder`,
    and printed on `console` under the name of the step. Outcomes are in the order of lanes and steps.

    Raises KeyboardInterrupt on Ctrl-C, SIGTERM or a closed terminal. Then, and on any other error, the
    steps that run are ended with all they started, and what they have said is printed.
    """
    left = [deque(lane) for lane in lanes]
    running: dict[int, _Running] = {}
    outcomes: dict[str, Outcome] = {}
    with _interrupted_once(), console.status("") as status:
        progress = _Progress(console, status)
        try:
            while running or any(left):
                for lane, steps in enumerate(left):
                    if steps and lane not in running:
                        running[lane] = _Running(steps.popleft(), folder)
                progress.tell(running.values())
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                for lane in [lane for lane, one in running.items() if one.process.poll() is not None]:
                    outcome = running[lane].finish(console)
                    outcomes[outcome.name] = outcome
                    del running[lane]
        except BaseException:
            _cut_short(list(running.values()), folder, console)
            raise
    return [outcomes[step.name] for lane in lanes for step in lane]


class _Running:
    """A step at work."""

    def __init__(self, step: Step, folder: Path) -> None:
        self.step = step
        self.log = folder / f"{step.name}.log"
        self._began = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                step.command,
                cwd=paths.root(),
                env={**os.environ, LOG: str(self.log)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C then reaches it once, from here, and not the terminal too
            )

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def interrupt(self) -> None:
        """Let the step end as by Ctrl-C, so that it can tidy up."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> None:
        """Wait a while for an interrupted step, then kill it."""
        try:
            self.process.wait(STEP_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def finish(self, console: Console) -> Outcome:
        """Print the log of a step that has ended, end what it left running, and return what it counted."""
        seconds = self.seconds
        end(_started(self.log), REST_PATIENCE)
        self.print(console, self.step.name)
        return Outcome(self.step.name, *self.step.count(self.process.returncode), seconds)

    def print(self, console: Console, title: str) -> None:
        """Print the log below a rule with `title`."""
        console.rule(title)
        console.out(self.log.read_text(encoding="utf-8", errors="replace"), highlight=False, end="")


def _cut_short(running: Sequence[_Running], folder: Path, console: Console) -> None:
    """End the steps that run, and every process that any step started, then print what they have said."""
    for one in running:
        one.interrupt()
    for one in running:
        one.wait()
    end(_started(folder), REST_PATIENCE)
    for one in running:
        one.print(console, f"{one.step.name}, cut short")


def _started(by: Path) -> list[psutil.Process]:
    """Return the processes that were started by the step with the log `by`, or with any log in a folder."""
    found = []
    for process in psutil.process_iter():
        # One that has just ended, or is another user's.
        with suppress(psutil.Error, OSError):
            log = process.environ().get(LOG)
            if log is not None and Path(log).is_relative_to(by):
                found.append(process)
    return found


@contextmanager
def _interrupted_once() -> Iterator[None]:
    """Let the first request to stop raise KeyboardInterrupt, and no second one break off the tidying up."""

    def stop(*_: object) -> None:
        for one in before:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    # What is ignored stays so: nohup does that with a closed terminal.
    before = {one: old for one in _STOPS if (old := signal.getsignal(one)) != signal.SIG_IGN}
    for one in before:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one, old in before.items():
            signal.signal(one, old)


class _Progress:
    """Says which steps run and for how long: in one line of a terminal, elsewhere in a line now and then."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console = console
        self._status = status
        self._next = time.perf_counter()

    def tell(self, running: Iterable[_Running]) -> None:
        """Say what runs, if it is time to."""
        if time.perf_counter() < self._next:
            return
        text = " | ".join(f"{one.step.name} {_clock(one.seconds)}" for one in running)
        if self._console.is_interactive:
            self._next += 1
            self._status.update(text)
        else:
            self._next += SECONDS_BETWEEN_LINES
            self._console.out(f"running: {text}", highlight=False)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"
