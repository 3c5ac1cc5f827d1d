"""`medallion test`: its lanes with small steps in the place of the real ones, and how it counts these."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from medallion import lanes, testing
from medallion.build.chapter import Problem
from medallion.lanes import Outcome, Step

SECONDS = 120  # in which anything has to happen, also on a busy machine

# A step like that of the notebooks: its kernel is in a session of its own, and has a child.
NEXT = {"step": "kernel", "kernel": "java"}
BUSY = f"""
import os, subprocess, sys, time
place, role = sys.argv[1:]
after = {NEXT}.get(role)
if role == "kernel":
    os.setsid()
if after:
    subprocess.Popen([sys.executable, __file__, place, after])
print("hello from", role, flush=True)
open(os.path.join(place, str(os.getpid())), "w").close()
time.sleep(300)
"""
STUBBORN = "import signal\nfor one in (signal.SIGINT, signal.SIGTERM): signal.signal(one, signal.SIG_IGN)\n"
TWO_LANES = """
import signal
import sys
from pathlib import Path
from rich.console import Console
from medallion import lanes

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
folder = Path(sys.argv[1])
command = [sys.executable, str(folder / "busy.py"), str(folder / "pids"), "step"]
lanes.STEP_PATIENCE = lanes.REST_PATIENCE = 2
try:
    lanes.run([[lanes.Step(name, command, None)] for name in ("red", "blue")], folder, Console())
except KeyboardInterrupt:
    sys.exit(130)
"""


def python(name: str, code: str, passed: int = 1) -> Step:
    """Return a step that runs Python code, and that passed if the code ends well."""
    return Step(name, [sys.executable, "-u", "-c", code], lambda status: (0, 1) if status else (passed, 0))


def meeting(folder: Path, mine: str, other: str) -> str:
    """Return code that ends only once the code of the other lane runs too."""
    return (
        f"import pathlib, time\nhere = pathlib.Path({str(folder)!r})\n"
        f"print('{mine} begins')\n(here / '{mine}').touch()\n"
        f"while not (here / '{other}').exists(): time.sleep(0.01)\n"
        f"print('{mine} ends')\n"
    )


def until(moment: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SECONDS
    while not moment():
        assert time.monotonic() < give_up, "the moment did not come"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# Lanes -------------------------------------------------------------------------------------------


def test_lanes_run_at_once_and_their_outputs_do_not_mix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [
        [
            python("red", meeting(tmp_path, "a", "b")),
            python("crimson", "print('third')\nraise SystemExit(1)"),
        ],
        [python("blue", meeting(tmp_path, "b", "a"), passed=3)],
    ]
    outcomes = lanes.run(sides, tmp_path, Console())
    assert [(one.name, one.passed, one.failed) for one in outcomes] == [
        ("red", 1, 0),
        ("crimson", 0, 1),
        ("blue", 3, 0),
    ]
    out = capsys.readouterr().out
    assert "a begins\na ends\n" in out and "b begins\nb ends\n" in out
    assert out.index(" red ") < out.index("a begins") < out.index(" crimson ") < out.index("third")


def test_a_lane_is_in_order_and_its_output_is_as_it_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = python("one", "import sys; print('[red]' + 'x' * 200 + ' für'); print('aside', file=sys.stderr)")
    lanes.run([[one, python("two", "print('no line end', end='')")]], tmp_path, Console())
    said = capsys.readouterr().out
    assert "[red]" + "x" * 200 + " für\naside\n" in said
    assert said.index(" one ") < said.index("aside") < said.index(" two ") < said.index("no line end")


def test_a_line_says_now_and_then_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lanes, "SECONDS_BETWEEN_LINES", 0.5)
    sides = [
        [python("red", "import time; time.sleep(1.5)")],
        [python("blue", "import time; time.sleep(1.5)")],
    ]
    lanes.run(sides, tmp_path, Console())
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("running: ")]
    assert said[0] == "running: red 0:00 | blue 0:00"
    assert len(said) >= 3


def test_a_terminal_has_one_line_that_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(force_terminal=True, force_interactive=True, width=80)
    lanes.run([[python("red", "import time; time.sleep(0.5); print('done')")]], tmp_path, console)
    said = capsys.readouterr().out
    assert "red 0:00" in said and "running: " not in said
    assert "done\n" in said


def test_what_a_step_leaves_running_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "REST_PATIENCE", 0.1)
    busy, place = tmp_path / "busy.py", tmp_path / "pids"
    busy.write_text(BUSY, encoding="utf-8")
    place.mkdir()
    code = (
        f"import os, subprocess, sys, time\nplace = {str(place)!r}\n"
        f"subprocess.Popen([sys.executable, {str(busy)!r}, place, 'kernel'])\n"
        "while len(os.listdir(place)) < 2: time.sleep(0.02)\n"
    )
    [outcome] = lanes.run([[python("red", code)]], tmp_path, Console())
    assert outcome.passed == 1
    until(lambda: not any(alive(int(path.name)) for path in place.iterdir()))


def test_an_error_ends_the_lanes_and_prints_what_they_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(status: int) -> tuple[int, int]:
        raise ValueError("no count")

    here = tmp_path / "blue.log"
    wait = f"import time\nwhile 'I am blue' not in open({str(here)!r}).read(): time.sleep(0.01)"
    sides = [
        [Step("red", [sys.executable, "-c", wait], broken)],
        [python("blue", f"import os, time; print('I am blue', os.getpid()); time.sleep({SECONDS})")],
    ]
    began = time.monotonic()
    with pytest.raises(ValueError, match="no count"):
        lanes.run(sides, tmp_path, Console())
    out = capsys.readouterr().out
    assert "blue, cut short" in out and "KeyboardInterrupt" in out
    pid = int(out.split("I am blue ")[1].split()[0])
    assert not alive(pid) and time.monotonic() - began < SECONDS


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Callable[..., tuple[int, str, list[int]]]]:
    """A function that stops two busy lanes by signals; it returns their exit status, output and processes."""
    place = tmp_path / "pids"
    place.mkdir()
    started: list[subprocess.Popen[str]] = []

    def pids() -> list[int]:
        return [int(path.name) for path in place.iterdir()]

    def stop(*signals: signal.Signals, busy: str = BUSY) -> tuple[int, str, list[int]]:
        (tmp_path / "busy.py").write_text(busy, encoding="utf-8")
        command = [sys.executable, "-c", TWO_LANES, str(tmp_path)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        until(lambda: len(pids()) == 6)
        for one in signals:
            started[0].send_signal(one)
            time.sleep(0.2)
        out, _ = started[0].communicate(timeout=SECONDS)
        return started[0].returncode, out, pids()

    yield stop
    for pid in [*(one.pid for one in started), *pids()]:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_stopped_nothing_stays_behind_and_nothing_is_lost(
    stopped: Callable[..., tuple[int, str, list[int]]], number: signal.Signals
) -> None:
    status, out, pids = stopped(number)
    assert status == 130
    for name in ("red", "blue"):
        said = out.split(f" {name}, cut short ")[1]
        assert all(f"hello from {role}\n" in said for role in ("step", "kernel", "java"))
    until(lambda: not any(map(alive, pids)))


def test_the_impatient_and_the_stubborn(stopped: Callable[..., tuple[int, str, list[int]]]) -> None:
    """A second and a third request to stop break nothing off, and what ignores the first is killed."""
    status, out, pids = stopped(signal.SIGTERM, signal.SIGINT, signal.SIGTERM, busy=STUBBORN + BUSY)
    assert status == 130 and out.count("hello from step\n") == 2
    until(lambda: not any(map(alive, pids)))


def test_the_handlers_of_signals_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    lanes.run([[python("red", "pass")]], tmp_path, Console())
    assert signal.getsignal(signal.SIGINT) is before


# The steps ---------------------------------------------------------------------------------------


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[list[list[Step]]]:
    """The lanes that `medallion test` was to run. They pass, all but the notebooks."""
    taken: list[list[list[Step]]] = []

    def run(sides: list[list[Step]], folder: Path, console: Console) -> list[Outcome]:
        taken.append(sides)
        names = [step.name for lane in sides for step in lane]
        return [Outcome(name, 2, int("notebooks" in name), 1.0) for name in names]

    monkeypatch.setattr(testing, "run", run)
    monkeypatch.setattr(testing, "MEMORY_FOR_TWO_LANES", 0)
    monkeypatch.delenv("MEDALLION_TEST_LANES", raising=False)
    return taken


def names(sides: list[list[Step]]) -> list[list[str]]:
    return [[step.name for step in lane] for lane in sides]


TOOLS = ["ruff", "ruff format", "mypy", "codespell"]
NOTEBOOKS = "notebooks, solutions, exercises"
ALL = [*TOOLS, "unit tests", NOTEBOOKS, "late tests"]


def test_two_lanes_a_table_and_a_last_line(
    given: list[list[list[Step]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert testing.main([]) == 1
    assert names(given[0]) == [[*TOOLS, "unit tests"], [NOTEBOOKS, "late tests"]]
    out = capsys.readouterr().out.splitlines()
    assert any("What was tested" in line for line in out)
    assert out[-1] == "14 passed, 1 failed"


def test_the_numbers_choose_the_tests_and_the_notebooks(given: list[list[list[Step]]]) -> None:
    testing.main(["2", "00", "2"])
    [[unit], [notebooks, late]] = given[0]
    for step, marked in ((unit, "not late"), (late, "late")):
        assert step.command[step.command.index("-m", 3) + 1] == marked
        tests = [Path(one).name for one in step.command if one.endswith(".py")]
        assert sorted(tests) == ["test_ch02_checks.py", "test_ch02_orders.py"]
    assert list(notebooks.command[-2:]) == ["00", "02"]


def test_one_lane_when_it_is_asked_for(
    given: list[list[list[Step]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDALLION_TEST_LANES", "1")
    testing.main([])
    assert names(given[0]) == [ALL]


def test_one_lane_when_memory_is_short(
    given: list[list[list[Step]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(testing, "MEMORY_FOR_TWO_LANES", 10**15)
    testing.main([])
    assert names(given[0]) == [ALL]
    assert capsys.readouterr().out.startswith("One lane after the other: ")


SUITE = '<testsuites><testsuite tests="10" failures="{}" errors="{}" skipped="1"/></testsuites>'


@pytest.mark.parametrize(
    ("suite", "status", "counted"),
    [
        (SUITE.format(0, 0), 0, (9, 0)),
        (SUITE.format(2, 1), 1, (6, 3)),
        (SUITE.format(0, 0), 2, (9, 1)),
        (None, 4, (0, 1)),
    ],
    ids=["all pass", "some fail", "cut short", "did not begin"],
)
def test_unit_tests_are_counted_from_their_report(
    tmp_path: Path, suite: str | None, status: int, counted: tuple[int, int]
) -> None:
    step = testing._checks([], tmp_path)[-1]
    if suite is not None:
        (tmp_path / "unit-tests.xml").write_text(suite, encoding="utf-8")
    assert step.count(status) == counted


def test_the_replay_counts_the_chapters_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The chapters before them are replayed, in a lakehouse of its own, and do not count."""
    monkeypatch.setenv("MEDALLION_HOME", "the learner's")
    known = {number: Path(f"{number}_some.py") for number in ("00", "01", "02", "03")}
    monkeypatch.setattr(testing.chapters, "all_chapters", lambda: known)
    replayed = []

    def replay(
        numbers: list[str], home: Path, before: Callable[[str, Path], object], after: object, lineage: Path
    ) -> list[Problem]:
        assert os.environ["MEDALLION_HOME"] == str(home) and home.name == "lakehouse"
        replayed.extend(numbers)
        return [Problem(f"notebooks/{numbers[0]}.ipynb", line, "is wrong.") for line in (1, 2)]

    monkeypatch.setattr(testing, "replay", replay)
    monkeypatch.setattr(testing.sources, "generate", lambda landing, scale: None)
    monkeypatch.setattr(testing.lakehouse, "way_back", lambda states: [])
    differs = Problem("notebooks/02.ipynb", 1, "missing: an edge.")
    monkeypatch.setattr(testing, "_lineage", lambda number, *_: [differs] if number == "02" else [])
    step = testing._notebooks(["00", "02"], tmp_path)
    assert step.count(0) == (0, 1), "no counts, no success"
    testing.replay_notebooks(Path(step.command[4]), ["00", "02"])
    assert replayed == ["00", "01", "02"]
    assert step.count(0) == (4, 2) and step.count(1) == (0, 1)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"notebooks/{number}.ipynb" for number in ("00", "00", "02", "02", "02")
    ]
