"""The checks of the chapters: `book/chapters/NN_name/checks.py`, in it one object for each exercise."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from medallion import contract
from medallion.errors import MedallionError
from medallion.lesson.exercise import Exercise, Hint, Verdict, is_blank
from medallion.machine import surroundings
from medallion.spark import tracebacks

__all__ = ["Exercise", "Hint", "Verdict", "chapters", "exercises", "from_file", "is_blank", "load", "of"]


class NoExercise(MedallionError, AttributeError):
    """There is no exercise of that name in the chapter."""


class Checks(ModuleType):
    """The checks of a chapter, by name. What is asked and is not there is answered with what is."""

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise NoExercise(f"Checks are called by name. {self._offered()}")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # what Python and IPython look for in any object
            raise AttributeError(name)
        number = _number(self)
        if name == "hint":
            raise NoExercise(f"Hints are those of an exercise: check.NAME.hint(). {self._offered()}")
        for other, path in _files().items():
            if re.search(rf"^{name} = ", path.read_text(encoding="utf-8"), re.MULTILINE):
                raise NoExercise(
                    f"The exercise {name} is of chapter {other}, and these are the checks of {number}. "
                    f'Run `check = medallion.checks("{other}")` first.'
                )
        raise NoExercise(f"Chapter {number} has no exercise {name}. {self._offered()}")

    def _offered(self) -> str:
        named = ", ".join(f"check.{name} ({one.number})" for name, one in _named(self).items())
        return f"Those of chapter {_number(self)} are {named}."


def chapters() -> list[str]:
    """Return the numbers of the chapters that have checks, in order: ["00", "01"]."""
    return list(_files())


def load(chapter: str) -> Checks:
    """Return the checks of chapter `chapter` ("01" or "1"): the module `checks.py` beside its lesson.

    Raises MedallionError when the chapter has no checks.
    """
    surroundings.clean()  # an exercise may ask for its checks before it starts Spark
    tracebacks.shorten()
    number = contract.number_of(chapter)
    files = _files()
    if number not in files:
        raise MedallionError(f"Chapter {chapter} has no checks. Those that have are {', '.join(files)}.")
    module = from_file(files[number])
    module.__class__ = Checks
    assert isinstance(module, Checks)
    return module


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
    return list(_named(module).values())


def _named(module: ModuleType) -> dict[str, Exercise]:
    """Return the exercises that a module holds by name, in the order of their numbers; each by its first."""
    held: dict[int, tuple[str, Exercise]] = {}
    for name, value in vars(module).items():
        if isinstance(value, Exercise):
            held.setdefault(id(value), (name, value))
    return dict(sorted(held.values(), key=lambda one: [int(part) for part in one[1].number.split(".")]))


def _number(module: ModuleType) -> str:
    return Path(str(module.__file__)).parent.name[:2]


def _files() -> dict[str, Path]:
    found = sorted(contract.folder().glob("[0-9][0-9]_*/checks.py"))
    return {path.parent.name[:2]: path for path in found}
