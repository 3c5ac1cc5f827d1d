"""The files of the export, in a folder that holds nothing else.

What was written is listed in `exported.txt`. By it the next export knows the folder, and takes away what it
does not write any more; what somebody else put there, as the bundle's own `.databricks`, it never touches.
"""

from collections.abc import Iterator
from pathlib import Path

from medallion import contract, paths
from medallion.errors import MedallionError
from medallion.files import write_bytes
from press.export import bundle, differences, notebook, rules
from press.export.differences import Differences
from press.export.notebook import Cell
from press.source.chapter import Chapter, Problem, parse, refuse

LIST = "exported.txt"
_PACKAGES = ("kestrel", "medallion")
_OF_A_CHAPTER = ("checks.py", "quiz.yml")
_COPIED = (
    "book/figures/flow-*.svg",
    "datasets/*.toml",
    "datasets/cdnow/*",
    "LICENSE*",
)


def default() -> Path:
    """Return where the export goes when nobody says where: a folder that git ignores."""
    return paths.root() / "_build" / "databricks"


def write(to: Path | None = None, root: Path | None = None) -> list[str]:
    """Write the bundle into the folder `to` and return the paths, relative to it, of what has changed.

    `root` is the repository. Run again, it changes nothing; a notebook that no chapter stands behind goes.

    Raises MedallionError when the folder holds something that was not exported, when what differs does not
    fit a chapter, and with the line of a chapter for whatever breaks one of `rules`. Then nothing is written.
    """
    to, root = to or default(), root or paths.root()
    before = _listed(to)
    products = dict(_products(root))
    products[LIST] = "".join(f"{path}\n" for path in sorted([*products, LIST])).encode()
    for path in sorted(set(before) - set(products)):
        (to / path).unlink(missing_ok=True)
    return [path for path, content in sorted(products.items()) if write_bytes(to / path, content)]


def _listed(to: Path) -> list[str]:
    if not to.exists():
        return []
    if (to / LIST).is_file():
        listed = (to / LIST).read_text(encoding="utf-8").splitlines()
        return [path for path in listed if (to / path).resolve().is_relative_to(to.resolve())]
    if not to.is_dir() or any(to.iterdir()):
        raise MedallionError(
            f"{to} holds something that was not exported. Give another folder with --to, or empty this one."
        )
    return []


def _products(root: Path) -> Iterator[tuple[str, bytes]]:
    found = differences.load(root)
    made = exported(found)
    for name, cells in made.items():
        yield f"notebooks/{name}.py", notebook.text_of(cells).encode()
    yield f"notebooks/{bundle.PREPARE}.py", notebook.text_of(notebook.prepare()).encode()
    yield bundle.NAME, bundle.text(list(made), found).encode()
    locked = (root / "requirements.lock").read_text(encoding="utf-8")
    yield "requirements.txt", bundle.requirements(found, locked).encode()
    for path in [*_copied(root), *_beside_lessons(found)]:
        yield path.relative_to(root).as_posix(), path.read_bytes()


def exported(found: Differences) -> dict[str, list[Cell]]:
    """Return the notebooks of the chapters whose differences are said, in order: name and cells.

    Raises MedallionError as `write` does.
    """
    made: dict[str, list[Cell]] = {}
    broken: list[Problem] = []
    for number in sorted(found.chapters):
        chapter = parse(contract.find(number))
        made[chapter.name] = notebook.of(chapter, found)
        broken += _broken(chapter, made[chapter.name], found)
    refuse(broken)
    return made


def _broken(chapter: Chapter, cells: list[Cell], found: Differences) -> list[Problem]:
    how = f"Say in {differences.file(chapter)} what a workspace gets instead."
    return [chapter.problem(line or 1, f"{text}. {how}") for line, text in rules.problems(cells, found)]


def _beside_lessons(found: Differences) -> Iterator[Path]:
    for number in found.chapters:
        lesson = contract.find(number)
        yield from (lesson.with_name(name) for name in _OF_A_CHAPTER if lesson.with_name(name).is_file())


def _copied(root: Path) -> Iterator[Path]:
    left = {root.joinpath("src", *module.split(".")) for module in rules.NOT_COPIED}
    for package in _PACKAGES:
        for path in sorted((root / "src" / package).rglob("*")):
            ours = left.isdisjoint([path.with_suffix(""), *path.parents]) and "__pycache__" not in path.parts
            if ours and path.is_file():
                yield path
    for pattern in _COPIED:
        yield from (path for path in sorted(root.glob(pattern)) if path.is_file())
