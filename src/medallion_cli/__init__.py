"""The `medallion` command. Each sub-command imports what it needs, so that `--help` and errors are quick.

It stands above the packages that it calls: what a learner runs is in `learner`, what an author runs in
`author`.
"""

import argparse
import io
import os
import select
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from medallion import faults
from medallion.errors import MedallionError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 for an error with a fix, 130 for Ctrl-C.

    An error that nobody foresaw is a mistake of ours: its traceback goes to a file, which is named.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an old encoding has no ✓
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except KeyboardInterrupt:
        print("medallion: stopped. Nothing is lost: the same command goes on.", file=sys.stderr)
        return 130
    except Exception as error:
        hung_up = (
            isinstance(error, BrokenPipeError) and _nobody_reads()
        )  # as in `medallion progress | head -1`
        if not hung_up:
            print(f"medallion: {_told(error)}", file=sys.stderr)
        _let_go_of_output()
        return 1


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, of which the reference of the book is made too."""
    from medallion_cli import author, learner

    parser = argparse.ArgumentParser(
        prog="medallion", description="Build a medallion lakehouse on your own machine, chapter by chapter."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, command: Callable[[argparse.Namespace], int | None], text: str, more: str = ""
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=f"{text}{more}")
        sub.set_defaults(command=command)
        return sub

    learner.add_commands(add)
    author.add_commands(add, make_parser)
    return parser


def _run(arguments: Sequence[str] | None) -> int:
    # Slow to import, and what fails as they are imported is told too
    from medallion import paths
    from medallion.machine import surroundings

    if arguments is None:
        surroundings.begin()
    parsed = make_parser().parse_args(arguments)
    paths.make_settings_absolute()
    command: Callable[[argparse.Namespace], int | None] = parsed.command
    return command(parsed) or 0


def _nobody_reads() -> bool:
    """Return whether what we print goes to a pipe whose other end is closed."""
    watch = select.poll()
    watch.register(sys.stdout, select.POLLOUT)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in watch.poll(0))


def _let_go_of_output() -> None:
    """See to it that Python, as it ends, does not fail on what cannot be written."""
    if sys.stdout:
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: Exception) -> str:
    """Return what is wrong and the fix; for a mistake of ours, where its traceback is."""
    if isinstance(error, MedallionError):
        return str(error)
    if said := faults.sentence(error):
        return said
    # The generator is below us, and slow to import.
    from kestrel.errors import Refused

    if isinstance(error, Refused):
        return str(error)
    what = f"{type(error).__name__}: {error}".rstrip(": .")
    return f"a mistake of ours: {what}. Send us {_kept(error)}, which has the traceback."


def _kept(error: Exception) -> Path:
    """Write the traceback to a log of the lakehouse, or where that cannot be to a temporary file."""
    from medallion import paths

    try:
        file = paths.log("medallion")
        file.touch(mode=0o600)
    except (MedallionError, OSError):
        file = Path(tempfile.mkstemp(prefix="medallion-", suffix=".log")[1])
    with file.open("a", encoding="utf-8", errors="replace") as log:
        log.writelines(traceback.format_exception(error))
    return file
