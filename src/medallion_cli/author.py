"""The commands of an author: what makes the products, tests them, and publishes them."""

import argparse
from collections.abc import Callable

from medallion_cli.learner import SEVERAL, a_folder, require_chapters


def add_commands(
    add: Callable[..., argparse.ArgumentParser], make_parser: Callable[[], argparse.ArgumentParser]
) -> None:
    """Add these commands, each by `add(name, function, text)`; the reference describes `make_parser()`."""
    new = add("new", _new, "begin a chapter: write its folder, which builds and passes its tests as it is")
    new.add_argument("number", metavar="NN", help="its number, such as 09")
    new.add_argument("name", metavar="NAME", help="its name, such as data_quality_silver")
    build = add("build", _build, "produce notebooks, exercises and solutions from the chapters")
    build.set_defaults(make_parser=make_parser)
    build.add_argument("numbers", **SEVERAL)
    only = build.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="only say what is out of date")
    only.add_argument(
        "--prose", action="store_true", help="run nothing: keep the outputs, where no code has changed"
    )
    only.add_argument("--reference", action="store_true", help="only write the pages of the reference anew")
    build.add_argument(
        "--profile", action="store_true", help="print what each cell costs: seconds, jobs, scans"
    )
    site = add("site", _site, "build the book as a web site, in _build/html")
    how = site.add_mutually_exclusive_group()
    how.add_argument("--preview", action="store_true", help="serve it here, and reload when a source changes")
    how.add_argument("--links", action="store_true", help="only ask the sites that it links to, by network")
    how.add_argument("--zip", action="store_true", help="also pack it as one file, to be read offline")
    export = add("export", _export, "write the course in the form of another place to run it")
    export.add_argument("form", metavar="FORM", choices=["databricks"], help="the form: databricks")
    export.add_argument("--to", type=a_folder, metavar="DIR", help="the folder; without it _build/databricks")
    add("test", _test, "run every check there is").add_argument("numbers", **SEVERAL)
    lock = add("lock", _lock, "write the lock and the conda files anew from pyproject.toml")
    what = lock.add_mutually_exclusive_group()
    what.add_argument("--jars", action="store_true", help="write jars.lock anew instead")
    what.add_argument("--orchestrator", action="store_true", help="write orchestrator.lock anew instead")


def _new(arguments: argparse.Namespace) -> None:
    from press import new

    written = new.write(arguments.number, arguments.name)
    number = arguments.number.zfill(2)
    print("\n".join(written))
    print(
        f"""
Next: write the chapter, then `./medallion build {number}` and `./medallion test {number}`.
The build also enters it in the contents, the README and the pages that list the chapters.
By hand remain its terms in book/glossary.md and book/terms.yml, a line in CHANGELOG.md, a library
that it brings in pyproject.toml, and the drawing book/figures/flow-{number}.svg."""
    )


def _build(arguments: argparse.Namespace) -> None:
    from press.reference import products

    require_chapters(arguments.numbers)
    parser = arguments.make_parser()
    if arguments.check:
        products.check(arguments.numbers, parser)
        print("Every product is up to date.")
        return
    changed = products.make(
        arguments.numbers,
        parser,
        prose=arguments.prose,
        only_reference=arguments.reference,
        profile=arguments.profile,
    )
    print("\n".join(changed) or "Nothing has changed.")


def _site(arguments: argparse.Namespace) -> None:
    from press.site import build

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
    from press import export

    to = arguments.to or export.default()
    changed = export.write(to)
    print(f"Files changed: {len(changed)}." if changed else "Nothing has changed.")
    print(f"The notebooks and their bundle are in {to}. There: `databricks bundle validate`.")


def _test(arguments: argparse.Namespace) -> int:
    from medallion.machine import orchestrator, setup
    from press.trial import testing

    require_chapters(arguments.numbers)
    # The chapters before the last one that is asked for are run too
    last = max((number.zfill(2) for number in arguments.numbers), default=orchestrator.CHAPTER)
    setup.prepare_spark(lineage=True, orchestrated=last >= orchestrator.CHAPTER)
    return testing.main(arguments.numbers)


def _lock(arguments: argparse.Namespace) -> None:
    from press import lock

    lock.write(jars=arguments.jars, orchestrator=arguments.orchestrator)
