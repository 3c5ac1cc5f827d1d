"""The files that keep the definitions of views: `<home>/<schema>/<view>.view.sql`."""

import json
import re
from pathlib import Path
from typing import Any

from medallion import paths
from medallion.errors import MedallionError

_SUFFIX = ".view.sql"
_NAME = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+")


def path(name: str) -> Path:
    """Return the file that keeps the definition of a view. It need not exist."""
    schema, _, view = name.partition(".")
    return paths.home() / schema / f"{view}{_SUFFIX}"


def kept(schema: str) -> list[str]:
    """Return the views of a schema whose definitions are kept, sorted, as `schema.view`."""
    files = (paths.home() / schema).glob(f"*{_SUFFIX}")
    names = (f"{schema}.{file.name.removesuffix(_SUFFIX)}" for file in files)
    return sorted(name for name in names if _NAME.fullmatch(name))


def columns(name: str) -> dict[str, Any]:
    """Return the columns of a kept view as a Delta schema (`{"fields": [...]}`).

    A measure or a dimension of a metric view has a comment that says so.
    Raises MedallionError when the file cannot be read.
    """
    try:
        return json.loads(path(name).read_text(encoding="utf-8").splitlines()[1].removeprefix("-- "))
    except (OSError, UnicodeDecodeError, IndexError, json.JSONDecodeError) as error:
        raise MedallionError(
            f"{path(name)} does not say what columns {name} has ({error}). Run the chapter that makes it."
        ) from error
