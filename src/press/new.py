"""`medallion new`: the folder of a new chapter, which builds and passes its tests as it is written.

Its files come from `template`. In them `${number}` is the chapter's ("09"), `${exercise}` that of its
exercise ("9.1"), and `${title}` its title.
"""

import re
from pathlib import Path
from string import Template

from medallion import contract, paths
from medallion.errors import MedallionError
from medallion.files import write_text

FLOW = "book/figures/flow.svg"
_TEMPLATES = Path(__file__).with_name("template")
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


def write(number: str, name: str, root: Path | None = None) -> list[str]:
    """Write the folder of chapter `number` ("09" or "9"), called `name`, and its drawing; return their paths.

    `root` is the repository, and paths are relative to it. A drawing that is there already stays.
    Raises MedallionError, before anything is written, when the number or the name is none that a chapter can
    have, or when there is such a chapter.
    """
    root = root or paths.root()
    chapters = root / "book" / "chapters"
    padded = contract.number_of(number)
    if not re.fullmatch(r"[0-9]{2}", padded):
        raise MedallionError(f"{number!r} is no number of a chapter. Give one from 00 to 99.")
    if not _NAME.fullmatch(name):
        raise MedallionError(
            f"{name!r} is no name of a chapter. Use small letters, digits and '_', as in data_quality_silver."
        )
    if taken := sorted(chapters.glob(f"{padded}_*")):
        known = ", ".join(contract.lessons(chapters))
        raise MedallionError(
            f"There is a chapter {padded} already, in {taken[0].relative_to(root).as_posix()}. "
            f"Give another number. The chapters are {known}."
        )
    title = name.replace("_", " ").strip().capitalize()
    words = {"number": padded, "exercise": f"{int(padded)}.1", "title": title}
    files = {
        f"book/chapters/{padded}_{name}/{template.stem}": Template(template.read_text("utf-8")).substitute(
            words
        )
        for template in sorted(_TEMPLATES.iterdir())
    }
    figure = f"book/figures/flow-{padded}.svg"
    if not (root / figure).exists():
        files[figure] = drawing((root / FLOW).read_text(encoding="utf-8"))
    return [path for path, text in files.items() if write_text(root / path, text)]


def drawing(flow: str) -> str:
    """Return where a chapter is in the flow, drawn from that of the whole course: its last box is filled.

    It is a beginning: which boxes a chapter adds, and where it stands, is drawn by hand.
    """
    title = "Where this chapter is in the flow: from the layers to their use"
    flow = re.sub(r'(<title id="t">)[^<]*', rf"\g<1>{title}", flow)
    flow = re.sub(r'(<rect x="756" .*? fill=")#ffffff', r"\g<1>#46536f", flow)
    return re.sub(r'(<text x="831" .*? fill=")#\w{6}', r"\g<1>#ffffff", flow)
