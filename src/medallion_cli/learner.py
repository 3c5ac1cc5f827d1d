"""The commands of a learner and an instructor."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from medallion import paths

SEVERAL: dict[str, Any] = {"metavar": "NN", "nargs": "*", "help": "chapter numbers; none means all"}


def a_folder(text: str) -> Path:
    """Return the folder of an argument; an empty one, as of a variable that is not set, would be this one."""
    if not text:
        raise argparse.ArgumentTypeError("the folder is empty")
    return Path(text)


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add these commands, each by `add(name, function, text)`."""
    run = add(
        "run", _run, "set up, make the data, and run the chapters in order, or go on after an interruption"
    )
    run.add_argument("numbers", **SEVERAL)
    run.add_argument(
        "--lineage", action="store_true", help="also record what reads and makes what, in gold.lineage"
    )
    run.add_argument("--anew", action="store_true", help="begin again, also after an interruption")
    add(
        "lab",
        _lab,
        "open the exercises in JupyterLab",
        ": your copies, in the folder work of the clone, or in MEDALLION_HOME where the clone cannot be "
        "written. Its address, on port 8888 of this machine or the next one that is free, is printed; "
        "Ctrl-C in the terminal ends it",
    )
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
    sql = add(
        "sql",
        _sql,
        "serve the tables over SQL on this machine, for tools with a driver for Hive, until Ctrl-C",
    )
    sql.add_argument(
        "--port", type=int, metavar="N", default=10_000, help="where it listens; 0 takes any that is free"
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
    reset.add_argument("--yes", action="store_true", help="do not ask; without a terminal nobody is asked")
    setup = add("setup", _setup, "install the jars and make the class archive")
    setup.add_argument(
        "--from-dir", type=a_folder, metavar="DIR", help="take the jars from a folder or a USB stick"
    )
    setup.add_argument(
        "--lineage", action="store_true", help="also install what records lineage, a jar of 43 MB"
    )
    setup.add_argument(
        "--orchestrator", action="store_true", help="also install Dagster, for chapter 12: 230 MB on disk"
    )
    doctor = add("doctor", _doctor, "check this machine, line by line")
    doctor.add_argument("--fix", action="store_true", help="also do what can be done about a FAIL")


def require_chapters(numbers: Iterable[str]) -> None:
    """Raise MedallionError for a number that no chapter has, before anything is set up or made."""
    from medallion import contract

    for number in numbers:
        contract.find(number)


def _run(arguments: argparse.Namespace) -> None:
    from medallion.course import report, runner
    from medallion.machine import setup

    recorder: runner.Recorder | None = None
    if arguments.lineage:
        from press.recorded import lineage_table

        recorder = lineage_table
    require_chapters(arguments.numbers)
    setup.prepare(lineage=arguments.lineage)
    report.print_ran(runner.run(arguments.numbers, anew=arguments.anew, recorder=recorder))


def _catch_up(arguments: argparse.Namespace) -> None:
    from medallion.course import report, runner
    from medallion.machine import setup

    require_chapters([arguments.number])
    setup.prepare()
    ran = runner.catch_up(arguments.number)
    if ran:
        report.print_ran(ran)
    else:
        print(f"Chapter {arguments.number.zfill(2)} has all it needs.")


def _lab(_: argparse.Namespace) -> None:
    from medallion.course import lab
    from medallion.machine import setup

    setup.prepare()
    lab.open_exercises()


def _dashboard(arguments: argparse.Namespace) -> None:
    from medallion.servers import dashboard

    dashboard.serve(arguments.port)


def _mlflow(arguments: argparse.Namespace) -> None:
    from medallion.servers.tracking import ui

    ui.serve(arguments.port)


def _sql(arguments: argparse.Namespace) -> None:
    from medallion.servers import warehouse

    warehouse.serve(arguments.port)


def _cluster(arguments: argparse.Namespace) -> None:
    from medallion.servers import cluster

    cluster.serve(arguments.workers, arguments.cores, arguments.memory)


def _progress(_: argparse.Namespace) -> None:
    from medallion.course import report

    report.show()


def _data(arguments: argparse.Namespace) -> None:
    import kestrel

    scale = 1 if arguments.scale is None else arguments.scale
    kestrel.generate(paths.landing(), scale=scale, progress=True, force=arguments.force)


def _reset(arguments: argparse.Namespace) -> None:
    from medallion.course import journal
    from medallion.lakehouse.reset import plan, reset

    with journal.alone():
        going = plan(arguments.number)
        if going and not arguments.yes and sys.stdin.isatty() and not _agreed(going):
            print("Nothing was removed.")
            return
        gone = reset(arguments.number)
    print(f"Removed {', '.join(gone)}." if gone else "There was nothing to remove.")


def _agreed(going: list[str]) -> bool:
    print("This removes what chapters made:", *going, sep="\n")
    try:
        return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _setup(arguments: argparse.Namespace) -> None:
    from medallion.machine import jars, setup

    if arguments.from_dir:
        for group in ("", jars.LINEAGE) if arguments.lineage else ("",):
            jars.install(from_dir=arguments.from_dir, group=group)
    setup.prepare_spark(lineage=arguments.lineage, orchestrated=arguments.orchestrator)


def _doctor(arguments: argparse.Namespace) -> int:
    from medallion.machine import doctor

    return doctor.main(fix=arguments.fix)
