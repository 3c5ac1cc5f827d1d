"""The checks of the chapters: `book/chapters/NN_name/checks.py`, in it one object for each exercise."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from medallion import contract
from medallion.errors import MedallionError
from medallion.lesson.exercise import Exercise, Hint, Verdict, is_blank

__all__ = ["Exercise", "Hint", "Verdict", "chapters", "exercises", "from_file", "is_blank", "load", "of"]


def chapters() -> list[str]:
    """Return the numbers of the chapters that have checks, in order: ["00", "01"]."""
    return list(_files())


def load(chapter: str) -> ModuleType:
    """Return the checks of chapter `chapter` ("01" or "1"): the module `checks.py` beside its lesson.

    Raises MedallionError when the chapter has no checks.
    """
    number = contract.number_of(chapter)
    files = _files()
    if number not in files:
        raise MedallionError(f"Chapter {chapter} has no checks. Those that have are {', '.join(files)}.")
    return from_file(files[number])


def from_file(path: Path) -> ModuleType:
    """Return the module in a file of a chapter's folder, its `checks.py` or another; it is loaded once."""
    name = f"medallion_{path.parent.name}_{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # as for every file that ends in .py
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    # Spark's Python workers cannot import it: what a check hands them has to bring its code along.
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(module)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def exercises(chapter: str) -> list[Exercise]:
    """Return the exercises of chapter `chapter` ("01" or "1"), by number.

    Raises MedallionError when the chapter has no checks.
    """
    return of(load(chapter))


def of(module: ModuleType) -> list[Exercise]:
    """Return the exercises that a module holds, by number."""
    held = {id(value): value for value in vars(module).values() if isinstance(value, Exercise)}
    return sorted(held.values(), key=lambda exercise: [int(part) for part in exercise.number.split(".")])


def _files() -> dict[str, Path]:
    found = sorted(contract.folder().glob("[0-9][0-9]_*/checks.py"))
    return {path.parent.name[:2]: path for path in found}
