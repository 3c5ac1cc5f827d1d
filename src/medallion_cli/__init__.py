"""The `medallion` command. Each sub-command imports what it needs, so that `--help` and errors are quick.

It stands above the packages that it calls: what a learner runs is in `learner`, what an author runs in
`author`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from kestrel.errors import Refused
from medallion import paths
from medallion.errors import MedallionError
from medallion_cli import author, learner


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 for an error with a fix, 130 for Ctrl-C."""
    parsed = make_parser().parse_args(arguments)
    paths.make_settings_absolute()
    command: Callable[[argparse.Namespace], int | None] = parsed.command
    try:
        return command(parsed) or 0
    except (MedallionError, Refused) as error:
        print(f"medallion: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("medallion: stopped. Nothing is lost: the same command goes on.", file=sys.stderr)
        return 130


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, of which the reference of the book is made too."""
    parser = argparse.ArgumentParser(
        prog="medallion", description="Build a medallion lakehouse on your own machine, chapter by chapter."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, command: Callable[[argparse.Namespace], int | None], text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    learner.add_commands(add)
    author.add_commands(add, make_parser)
    return parser
