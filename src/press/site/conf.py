"""Sphinx's configuration file: what Jupyter Book makes of the book's `_config.yml`."""

import os
from pathlib import Path

from medallion import paths
from press.site.config import BOOK, settings

globals().update(settings(Path(os.environ.get(BOOK) or paths.root())))
