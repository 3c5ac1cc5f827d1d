"""The support package of the course: what would distract from the lesson.

A notebook needs ten names of it:

| name | what it is |
|---|---|
| `start("01")` | the Spark session of a chapter |
| `checks("01")` | the checks of a chapter's exercises |
| `home()` | the folder of the lakehouse |
| `landing()` | the folder that the source files arrive in |
| `dataset(name)` | a file of real data that the repository keeps |
| `scratch()` | an empty folder of this session, gone when the session ends |
| `plain_path(folder)` | a path to a folder without the characters that Spark stumbles over |
| `keep_view(statement)` | keeps the statement that makes a view, so that later sessions have the view too |
| `reason(error)` | why Spark refused something, in one line |
| `last_error()` | the full text of the last Spark error |

They are imported when first used, so that `import medallion` costs nothing.
"""

from importlib import import_module
from typing import Any

_WHERE = {
    "start": "medallion.spark.session",
    "checks": "medallion.lesson.checks:load",
    "home": "medallion.paths",
    "landing": "medallion.paths",
    "dataset": "medallion.paths",
    "scratch": "medallion.paths",
    "plain_path": "medallion.temporary",
    "keep_view": "medallion.spark.views",
    "reason": "medallion.spark.tracebacks",
    "last_error": "medallion.spark.tracebacks",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'medallion' has no attribute {name!r}")
    module, _, function = _WHERE[name].partition(":")
    return getattr(import_module(module), function or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
