"""`medallion test`: its lanes with small steps in the place of the real ones, and how it counts these."""

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from medallion import contract
from press.source.chapter import Problem
from press.trial import lanes, testing

# A step like that of the notebooks: its kernel is in a session of its own, and has a child.
BUSY = """
import os, signal, subprocess, sys, time
place, kind, role = sys.argv[1:]
after = {"step": "kernel", "kernel": "java"}.get(role)
if role == "kernel":
    os.setsid()
for one in (signal.SIGINT, signal.SIGTERM):
    signal.signal(one, signal.SIG_IGN if kind == "stubborn" else signal.SIG_DFL)
if after:
    subprocess.Popen([sys.executable, __file__, place, kind, after])
print("hello from", role, flush=True)
open(os.path.join(place, str(os.getpid())), "w").close()
for _ in range(300):
    time.sleep(1)
    if kind == "stubborn" and role == "step":  # it goes on, as if nobody had asked it to stop
        subprocess.Popen([sys.executable, __file__, place, kind, "kernel"])
"""
# The tests themselves may run under nohup, or in the background.
BUSY_TEST = """
import fcntl, signal, sys, termios
from press.trial import lanes, testing
busy, place, kind = sys.argv[1:]
for one in (signal.SIGINT, signal.SIGTERM, *([] if kind == "nohup" else [signal.SIGHUP])):
    signal.signal(one, signal.SIG_DFL)
if kind == "terminal":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
command = [sys.executable, busy, place, kind, "step"]
testing._lanes = lambda *_: ({"red": command}, {"blue": command})
testing.MEMORY_FOR_TWO_LANES = 0
lanes.STEP_PATIENCE = lanes.REST_PATIENCE = 2
try:
    testing.main([])
except KeyboardInterrupt:
    sys.exit(130)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def until(moment: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 120
    while not moment():
        assert time.monotonic() < give_up, "the moment did not come"
        time.sleep(0.02)


@pytest.fixture
def place(tmp_path):
    """The folder that each process of busy.py, beside it, leaves its number in; what still runs is ended."""
    (tmp_path / "busy.py").write_text(BUSY, encoding="utf-8")
    (place := tmp_path / "pids").mkdir()
    yield place
    for number in alive(place):
        os.kill(number, signal.SIGKILL)


def alive(place: Path) -> list[int]:
    numbers = [int(path.name) for path in place.iterdir()]
    ours = [one for one in psutil.process_iter(["status"]) if one.pid in numbers]
    return [one.pid for one in ours if one.info["status"] != psutil.STATUS_ZOMBIE]


def test_lanes_run_at_once_in_order_and_each_log_is_whole(tmp_path, capsys):
    meet = (  # ends only once the other lane runs too
        f"import sys, time, pathlib; here = pathlib.Path({str(tmp_path)!r}); (here / '{{0}}').touch()\n"
        "print('[{0}] begins' + 'x' * 200, 'für'); print('aside', file=sys.stderr)\n"
        "while not (here / '{1}').exists(): time.sleep(0.01)\nprint('{0} ends', end='')"
    )
    first = {"red": python(meet.format("a", "b")), "crimson": python("print('third'); raise SystemExit(3)")}
    handler = signal.getsignal(signal.SIGINT)
    ended = lanes.run([first, {"blue": python(meet.format("b", "a"))}], tmp_path, Console())
    assert list(ended) == ["red", "crimson", "blue"] and [one[0] for one in ended.values()] == [0, 3, 0]
    out = capsys.readouterr().out
    assert all(f"[{one}] begins{'x' * 200} für\naside\n{one} ends" in out for one in "ab")
    assert out.index(" red ") < out.index("a ends") < out.index(" crimson ") < out.index("third")
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("terminal", [False, True])
def test_a_line_says_what_runs(tmp_path, monkeypatch, capsys, terminal):
    monkeypatch.setattr(lanes, "SECONDS_BETWEEN_LINES", 0.5)
    wait = python("import time; time.sleep(1.5); print('done')")
    console = Console(force_terminal=terminal, force_interactive=terminal, width=80)
    lanes.run([{"red": wait}, {"blue": wait}], tmp_path, console)
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("running: red 0:0")]
    assert "red 0:00 | blue 0:00" in out and "red 0:01 | blue 0:01" in out and out.count("done\n") == 2
    assert not lines if terminal else len(lines) >= 3


def test_what_a_step_leaves_running_is_ended(tmp_path, place, monkeypatch):
    monkeypatch.setattr(lanes, "REST_PATIENCE", 0.1)
    kernel = [sys.executable, str(tmp_path / "busy.py"), str(place), "stubborn", "kernel"]
    leave = f"subprocess.Popen({kernel})\nwhile len(os.listdir({str(place)!r})) < 2: pass"
    step = python(f"import os, subprocess\n{leave}")
    assert lanes.run([{"red": step}], tmp_path, Console())["red"][0] == 0
    until(lambda: not alive(place))


def test_an_error_ends_the_lanes_and_prints_what_they_said(tmp_path, capsys):
    wait = f"while 'I am blue' not in open({str(tmp_path / 'blue.log')!r}).read(): pass"
    blue = python("import os, time; print('I am blue', os.getpid()); time.sleep(300)")
    other = {"red": python(wait), "none": [str(tmp_path / "none")]}
    with pytest.raises(FileNotFoundError):
        lanes.run([{"blue": blue}, other], tmp_path, Console())
    said = capsys.readouterr().out.split("blue, cut short")[1]
    assert "KeyboardInterrupt" in said and not psutil.pid_exists(int(said.split("I am blue ")[1].split()[0]))


@pytest.fixture
def short():
    """A folder with a path so short that the test under test makes its temporary folders there."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


STOPS = {"ctrl-c": ["INT"], "stubborn": ["TERM", "INT", "TERM"], "terminal": [], "nohup": ["HUP", "TERM"]}


@pytest.mark.parametrize("kind", STOPS)
def test_stopped_nothing_stays_behind_and_nothing_is_lost(tmp_path, place, short, kind):
    """Also when it is asked to three times, and when what it started does not listen and goes on."""
    env = {**os.environ, "TMPDIR": str(short), "MEDALLION_TEST_LANES": ""}
    command = [*python(BUSY_TEST), str(tmp_path / "busy.py"), str(place), kind]
    command = ["nohup", *command] if kind == "nohup" else command
    ours, theirs = pty.openpty()
    stdin, stdout = (theirs, theirs) if kind == "terminal" else (subprocess.DEVNULL, subprocess.PIPE)
    test = subprocess.Popen(command, stdin=stdin, stdout=stdout, text=True, start_new_session=True, env=env)
    os.close(theirs)
    try:
        until(lambda: len(alive(place)) >= 6)
        for one in STOPS[kind]:
            test.send_signal(signal.Signals[f"SIG{one}"])
            time.sleep(0.5)
            assert one != "HUP" or (test.poll() is None and len(alive(place)) == 6)
        os.close(ours)  # for "terminal" that is what stops it
        out, _ = test.communicate(timeout=120)
        until(lambda: not alive(place))
    finally:
        test.kill()
    assert list(short.iterdir()) == []
    if kind != "terminal":
        logs = [out.split(f" {name}, cut short ")[1] for name in ("red", "blue")]
        assert all(f"hello from {role}\n" in log for log in logs for role in ("step", "kernel", "java"))
        assert test.returncode == 130


@pytest.mark.parametrize(("asked", "memory", "at_once"), [("", 0, 2), ("1", 0, 1), ("", 10**15, 1)])
def test_a_table_and_a_last_line(monkeypatch, capsys, asked, memory, at_once):
    def small(wanted: list[str], folder: Path) -> tuple[lanes.Lane, lanes.Lane]:
        report = "open({!r}, 'w').write({!r})".format
        suite = '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="1"/></testsuites>'
        unit = report(f"{folder}/unit tests.xml", suite)
        notebooks = report(f"{folder}/{testing._NOTEBOOKS}.json", "[27, 0]")
        tools = {"ruff": python(""), "mypy": python("raise SystemExit(1)")}
        return tools | {"unit tests": python(unit)}, {testing._NOTEBOOKS: python(notebooks)}

    given, run = [], lanes.run
    monkeypatch.setattr(lanes, "run", lambda of, *rest: given.extend(of) or run(of, *rest))
    monkeypatch.setattr(testing, "_lanes", small)
    monkeypatch.setattr(testing, "MEMORY_FOR_TWO_LANES", memory)
    monkeypatch.setenv("MEDALLION_TEST_LANES", asked)
    assert testing.main([]) == 1
    out = capsys.readouterr().out
    assert len(given) == at_once and out.startswith("One lane after the other: ") == bool(memory)
    rows = [line.replace("│", " ").split() for line in out.partition("What was tested")[2].splitlines()]
    for row in ("ruff 1 0 0", "mypy 0 1 0", "unit tests 5 3 0", "notebooks, solutions, exercises 27 0 0"):
        assert row.split() in rows
    assert out.endswith("\n33 passed, 4 failed\n")


def test_a_step_that_fails_without_a_failed_test_is_counted(tmp_path):
    (tmp_path / "late tests.xml").write_text('<testsuite tests="10" skipped="1"/>', encoding="utf-8")
    counted = [testing._counts("late tests", status, tmp_path) for status in (0, 2, 5)]
    assert counted == [(9, 0), (9, 1), (9, 0)]
    for step in ("unit tests", testing._NOTEBOOKS):
        assert testing._counts(step, 0, tmp_path) == (0, 1), "no report, no success"


def test_the_numbers_choose_the_tests_and_the_notebooks(tmp_path, monkeypatch):
    tests = tmp_path / "tests" / "chapters"
    for name in ("00_tour", "01_other", "05_models"):
        (tests / name).mkdir(parents=True)
    monkeypatch.setattr(testing.paths, "root", lambda: tmp_path)
    first, second = testing._lanes(["00", "02", "05"], tmp_path)
    assert [*first, *second] == ["unit tests", testing._NOTEBOOKS, "late tests"]
    chosen = [f"tests/chapters/{name}" for name in ("test_every_chapter.py", "00_tour", "05_models")]
    for command, marked in ((first["unit tests"], "not late"), (second["late tests"], "late")):
        assert command[:2] == ["env", "MEDALLION_TEST_CHAPTERS=00,02,05"]
        assert command[-6:-1] == [*chosen, "-m", marked]
    assert second[testing._NOTEBOOKS][-3:] == ["00", "02", "05"]
    first, _ = testing._lanes([], tmp_path)
    tools = ["ruff", "ruff format", "mypy", "imports", "codespell", "format of lessons"]
    assert list(first) == [*tools, "unit tests"]
    assert first["unit tests"][4:-1] == ["-q", "-m", "not late"]


def test_the_replay_counts_the_chapters_wanted(tmp_path, monkeypatch, capsys):
    """The chapters before them are replayed, in a lakehouse of its own, and do not count."""
    monkeypatch.setenv("MEDALLION_HOME", "the learner's")
    replayed = []

    def wrong(number: str, text: str) -> Problem:
        return Problem(f"notebooks/{contract.read(number).name}.ipynb", 1, text)

    def replay(numbers: list[str], home: Path, *_: object, lineage: Path) -> list[Problem]:
        assert os.environ["MEDALLION_HOME"] == str(home) and home.name == "lakehouse"
        replayed.extend(numbers)
        return [wrong(numbers[0], "a cell"), wrong(numbers[0], "another")]

    monkeypatch.setattr(testing, "replay", replay)
    monkeypatch.setattr(testing.kestrel, "generate", lambda landing, scale: None)
    monkeypatch.setattr(testing.lakehouse, "way_back", lambda states: [])
    monkeypatch.setattr(testing, "_lineage", lambda number, *_: [wrong(number, "an edge")] * (number == "02"))
    testing.replay_notebooks(tmp_path / "counts.json", ["00", "02"])
    assert replayed == ["00", "01", "02"]
    assert json.loads((tmp_path / "counts.json").read_text(encoding="utf-8")) == [4, 2]
    said = capsys.readouterr().out.splitlines()
    assert [line.split("/")[1][:2] for line in said] == ["00", "00", "02", "02", "02"]
