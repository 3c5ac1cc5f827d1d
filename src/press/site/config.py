"""The settings of the site: those of Sphinx, from `_config.yml`, and the addresses in pyproject.toml."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medallion import paths
from medallion.errors import MedallionError

# Environment variables through which `build` speaks to Sphinx, a process of its own
PREVIEW = "MEDALLION_PREVIEW"
BOOK = "MEDALLION_BOOK"
BRANCH = "main"


@dataclass(frozen=True)
class Addresses:
    """What `[project.urls]` says, without a slash at the end; "" for what it leaves out.

    `site` is the published book, `source` the repository, `binder` a BinderHub, `hub` a JupyterHub that
    has nbgitpuller.
    """

    site: str = ""
    source: str = ""
    binder: str = ""
    hub: str = ""


_KEYS = {"Documentation": "site", "Source": "source", "Binder": "binder", "JupyterHub": "hub"}
# Where a workflow on GitHub says what it knows itself, so that a fork need not write it down
_VARIABLES = {"Documentation": "MEDALLION_SITE_URL", "Source": "MEDALLION_SOURCE_URL"}


def addresses(root: Path | None = None, environ: Mapping[str, str] = os.environ) -> Addresses:
    """Return the addresses that pyproject.toml gives; for what it leaves out, those of `environ`.

    Raises MedallionError for one that is no https address.
    """
    path = (root or paths.root()) / "pyproject.toml"
    known = {key: environ[name] for key, name in _VARIABLES.items() if environ.get(name)}
    urls = known | tomllib.loads(path.read_text(encoding="utf-8"))["project"].get("urls", {})
    for key in _KEYS:
        if key in urls and not urls[key].startswith("https://"):
            raise MedallionError(
                f"{key} under [project.urls] in pyproject.toml, or {_VARIABLES.get(key, 'no variable')}, is "
                f"{urls[key]!r}. Give an address that begins with https://, or none."
            )
    return Addresses(**{field: urls[key].rstrip("/") for key, field in _KEYS.items() if key in urls})


def settings(root: Path) -> dict[str, Any]:
    """Return Sphinx's settings by name, as Jupyter Book makes them from `_config.yml` in `root`."""
    from jupyter_book.config import get_final_config

    config, _ = get_final_config(
        user_yaml=root / "_config.yml",
        cli_config={"latex_individualpages": False},
        sourcedir=root,
        raise_on_invalid=True,
    )
    config["external_toc_path"] = str(root / "_toc.yml")
    # Sphinx takes it from the folder of its own configuration, which is not the book's
    config["html_static_path"] = [str(root / folder) for folder in config["html_static_path"]]
    return config


def previewing() -> bool:
    """Say whether this is `medallion site --preview`, whose reloading script the policy would stop."""
    return os.environ.get(PREVIEW) == "yes"
