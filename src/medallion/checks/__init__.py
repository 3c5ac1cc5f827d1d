"""The checks: a module `chNN` for each chapter, in it one object for each exercise."""

import pkgutil
from importlib import import_module
from types import ModuleType

from medallion.checks._exercise import Exercise, Hint, Verdict, is_blank
from medallion.errors import MedallionError

__all__ = ["Exercise", "Hint", "Verdict", "chapters", "exercises", "is_blank", "of"]


def chapters() -> list[str]:
    """Return the numbers of the chapters that have checks, in order: ["00", "01"]."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name[2:] for name in names if name.startswith("ch") and name[2:].isdigit())


def exercises(chapter: str) -> list[Exercise]:
    """Return the exercises of chapter `chapter` ("01" or "1"), by number.

    Raises MedallionError when the chapter has no checks.
    """
    number = str(chapter).zfill(2)
    if number not in chapters():
        raise MedallionError(f"Chapter {chapter} has no checks. Those that have are {', '.join(chapters())}.")
    return of(import_module(f"medallion.checks.ch{number}"))


def of(module: ModuleType) -> list[Exercise]:
    """Return the exercises that a module holds, by number."""
    held = {id(value): value for value in vars(module).values() if isinstance(value, Exercise)}
    return sorted(held.values(), key=lambda exercise: [int(part) for part in exercise.number.split(".")])
