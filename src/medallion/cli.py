"""The `medallion` command. Each sub-command imports what it needs, so that `--help` and errors are quick."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from medallion import paths
from medallion.errors import MedallionError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 for an error with a mend, 130 for Ctrl-C."""
    parsed = make_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int | None] = parsed.command
    try:
        return command(parsed) or 0
    except MedallionError as error:
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

    several: dict[str, Any] = {"metavar": "NN", "nargs": "*", "help": "chapter numbers; none means all"}
    run = add(
        "run", _run, "set up, make the data, and run the chapters in order, or go on after an interruption"
    )
    run.add_argument("numbers", **several)
    run.add_argument(
        "--lineage", action="store_true", help="also record what reads and makes what, in gold.lineage"
    )
    run.add_argument("--anew", action="store_true", help="begin again, also after an interruption")
    add("lab", _lab, "open the exercises in JupyterLab")
    dashboard = add("dashboard", _dashboard, "show gold.live_sales on a page of this machine as it moves")
    dashboard.add_argument(
        "--port", type=int, metavar="N", default=8050, help="where the page is; 0 takes any that is free"
    )
    mlflow = add(
        "mlflow", _mlflow, "show the runs and models of chapter 05 on MLflow's pages, on this machine"
    )
    mlflow.add_argument(
        "--port", type=int, metavar="N", default=5000, help="where the pages are; 0 takes any that is free"
    )
    cluster = add(
        "cluster", _cluster, "run a Spark cluster on this machine: a master and workers, until Ctrl-C"
    )
    cluster.add_argument("--workers", type=int, metavar="N", default=2, help="how many workers")
    cluster.add_argument("--cores", type=int, metavar="N", default=1, help="cores that one gives a session")
    cluster.add_argument("--memory", type=int, metavar="MB", default=1000, help="memory that one gives it")
    add("progress", _progress, "show which exercises are done")
    data = add("data", _data, "make the source files")
    data.add_argument("--scale", type=float, default=None, help="1 is 40,000 orders; 0.02 to 100")
    data.add_argument("--force", action="store_true", help="make them again although they are there")
    catch_up = add(
        "catch-up", _catch_up, "run the earlier chapters that a chapter needs, and say how long that takes"
    )
    catch_up.add_argument("number", metavar="NN", help="the chapter that is to be begun")
    reset = add("reset", _reset, "remove what a chapter and all later ones made")
    reset.add_argument(
        "number", metavar="NN", nargs="?", default="00", help="the first chapter to undo; none means all"
    )
    setup = add("setup", _setup, "install the jars and make the class archive")
    setup.add_argument(
        "--from-dir", type=Path, metavar="DIR", help="take the jars from a folder or a USB stick"
    )
    setup.add_argument(
        "--lineage", action="store_true", help="also install what records lineage, a jar of 43 MB"
    )
    doctor = add("doctor", _doctor, "check this machine, line by line")
    doctor.add_argument("--mend", action="store_true", help="also do what can be done about a FAIL")
    build = add("build", _build, "produce notebooks, exercises and solutions from the chapters")
    build.add_argument("numbers", **several)
    only = build.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="only say what is out of date")
    only.add_argument(
        "--prose", action="store_true", help="run nothing: keep the outputs, where no code has changed"
    )
    only.add_argument("--reference", action="store_true", help="only write the pages of the reference anew")
    site = add("site", _site, "build the book as a web site, in _build/html")
    how = site.add_mutually_exclusive_group()
    how.add_argument("--preview", action="store_true", help="serve it here, and reload when a source changes")
    how.add_argument("--links", action="store_true", help="only ask the sites that it links to, by network")
    how.add_argument("--zip", action="store_true", help="also pack it as one file, to be read offline")
    export = add("export", _export, "write the course in the form of another place to run it")
    export.add_argument("form", metavar="FORM", choices=["databricks"], help="the form: databricks")
    export.add_argument("--to", type=Path, metavar="DIR", help="the folder; without it _build/databricks")
    add("test", _test, "run every check there is").add_argument("numbers", **several)
    lock = add("lock", _lock, "write the lock and the conda files anew from pyproject.toml")
    lock.add_argument("--jars", action="store_true", help="write jars.lock anew instead")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    from medallion import report, runner, setup

    setup.prepare(lineage=arguments.lineage)
    report.print_ran(runner.run(arguments.numbers, anew=arguments.anew, lineage=arguments.lineage))


def _catch_up(arguments: argparse.Namespace) -> None:
    from medallion import report, runner, setup

    setup.prepare()
    ran = runner.catch_up(arguments.number)
    if ran:
        report.print_ran(ran)
    else:
        print(f"Chapter {arguments.number.zfill(2)} has all it needs.")


def _lab(_: argparse.Namespace) -> None:
    from medallion import setup

    setup.prepare()
    work = copy_exercises()
    os.chdir(work)
    # Our page_config.json: a notebook server that asks another host for news is not offline.
    settings = [str(Path(__file__).parent / "lab"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, settings))
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1"])


def copy_exercises() -> Path:
    """Copy to `work/` the exercise notebooks that are not there yet, and return that folder.

    A notebook that is there is the learner's: it is never written again.
    """
    work = paths.root() / "work"
    work.mkdir(exist_ok=True)
    for exercise in sorted((paths.root() / "exercises").glob("*.ipynb")):
        if not (work / exercise.name).exists():
            shutil.copyfile(exercise, work / exercise.name)
    return work


def _dashboard(arguments: argparse.Namespace) -> None:
    from medallion import dashboard

    dashboard.serve(arguments.port)


def _mlflow(arguments: argparse.Namespace) -> None:
    from medallion import tracking

    tracking.serve(arguments.port)


def _cluster(arguments: argparse.Namespace) -> None:
    from medallion import cluster

    cluster.serve(arguments.workers, arguments.cores, arguments.memory)


def _progress(_: argparse.Namespace) -> None:
    from medallion import progress

    progress.show()


def _data(arguments: argparse.Namespace) -> None:
    from medallion import sources

    scale = 1 if arguments.scale is None else arguments.scale
    sources.generate(paths.landing(), scale=scale, progress=True, force=arguments.force)


def _reset(arguments: argparse.Namespace) -> None:
    from medallion import journal, tables

    with journal.alone():
        gone = tables.reset(arguments.number)
    print(f"Removed {', '.join(gone)}." if gone else "There was nothing to remove.")


def _setup(arguments: argparse.Namespace) -> None:
    from medallion import jars, setup

    if arguments.from_dir:
        for group in ("", jars.LINEAGE) if arguments.lineage else ("",):
            jars.install(from_dir=arguments.from_dir, group=group)
    setup.prepare_spark(lineage=arguments.lineage)


def _doctor(arguments: argparse.Namespace) -> int:
    from medallion import doctor

    return doctor.main(mend=arguments.mend)


def _build(arguments: argparse.Namespace) -> None:
    from medallion import build, journal, setup
    from medallion.build import reference

    if arguments.check:
        _check_products(arguments.numbers)
        print("Every product is up to date.")
        return
    changed = []
    if arguments.prose:
        changed = build.build(arguments.numbers, prose=True)
    elif not arguments.reference:
        setup.prepare(lineage=True)
        with journal.alone():
            changed = _build_chapters(arguments.numbers)
    changed += reference.write()
    print("\n".join(changed) or "Nothing has changed.")


def _build_chapters(numbers: Sequence[str]) -> list[str]:
    """Make the products of chapters, and keep for the reference what their tables look like and come from.

    In a lakehouse where lineage cannot be recorded that is said, and what is kept of it stays as it is.
    """
    from medallion import build, tables
    from medallion.build import reference
    from medallion.lineage import observed

    seen: dict[str, Callable[[], observed.Observed]] = {}
    with ExitStack() as recording:

        def before(number: str) -> None:
            tables.reset(number)
            try:
                seen[number] = recording.enter_context(observed.observing(number))
            except MedallionError as error:
                print(f"medallion: {error}", file=sys.stderr)

        def after(number: str, seconds: float) -> None:
            edges = seen[number]().edges if number in seen else None
            reference.record(number, seconds, edges=edges)
            recording.close()

        return build.build(numbers, before=before, after=after)


def _check_products(numbers: Sequence[str]) -> None:
    from medallion import build
    from medallion.build import reference

    complaints = []
    for look in (lambda: build.build(numbers, check=True), reference.check):
        try:
            look()
        except MedallionError as error:
            complaints.append(str(error))
    if complaints:
        raise MedallionError("\n".join(complaints))


def _site(arguments: argparse.Namespace) -> None:
    from medallion.site import build

    if arguments.preview:
        build.preview()
        return
    if arguments.links:
        build.check_links()
        print("Every link to another site leads to a page.")
        return
    site = build.build()
    print(f"The book is in {site}. Open {site / 'index.html'}.")
    if arguments.zip:
        print(f"Packed: {build.pack(site)}")


def _export(arguments: argparse.Namespace) -> None:
    from medallion import export

    to = arguments.to or export.default()
    changed = export.write(to)
    print(f"Files changed: {len(changed)}." if changed else "Nothing has changed.")
    print(f"The notebooks and their bundle are in {to}. There: `databricks bundle validate`.")


def _test(arguments: argparse.Namespace) -> int:
    from medallion import setup, testing

    setup.prepare_spark(lineage=True)
    return testing.main(arguments.numbers)


def _lock(arguments: argparse.Namespace) -> None:
    from medallion import lock

    lock.write(jars=arguments.jars)


if __name__ == "__main__":
    sys.exit(main())
