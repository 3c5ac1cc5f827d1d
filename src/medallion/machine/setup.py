"""Everything that is done once on a machine, in order, with progress: jars, class archive, sources.

What only some work needs is installed with the jars, when it is asked for.
"""

import sys

import kestrel
from medallion import paths
from medallion.errors import MedallionError
from medallion.machine import archive, jars, orchestrator


def prepare(
    scale: float | None = None, progress: bool = True, lineage: bool = False, orchestrated: bool = False
) -> None:
    """Install the jars, make the class archive, and generate the source files, whichever is missing.

    `scale` is the size of the source files; None leaves what is there, but for moments of arrival that are
    lost, and otherwise means 1. With `lineage` what records lineage is installed too,
    with `orchestrated` the orchestrator.
    Raises MedallionError when one of them cannot be made, and Refused for source files that have changed.
    """
    prepare_spark(progress, lineage, orchestrated)
    if scale is not None or not (paths.landing() / kestrel.MANIFEST).exists():
        kestrel.generate(paths.landing(), scale=1 if scale is None else scale, progress=progress)
    for sentence in kestrel.repair(paths.landing()):
        print(f"medallion: {sentence}", file=sys.stderr)


def prepare_spark(progress: bool = True, lineage: bool = False, orchestrated: bool = False) -> None:
    """Install the jars, with `lineage` also the one that records it, and make the class archive.

    With `orchestrated` the environment of the orchestrator is made too.
    Raises MedallionError when a jar or a package cannot be had.
    """
    from rich.console import Console

    console = Console(stderr=True, quiet=not progress)
    jars.install(progress=progress)
    if lineage:
        jars.install(progress=progress, group=jars.LINEAGE)
    if orchestrated:
        orchestrator.install(progress=progress)
    if not archive.options():
        with console.status("Making the class archive (once, about 30 s): sessions start faster with it"):
            try:
                archive.make()
            except MedallionError as error:  # a session without it is slower, and the same
                console.print(f"medallion: {error}", markup=False)
                return
        console.print("Made the class archive")
