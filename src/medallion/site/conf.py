"""Sphinx's configuration file: what Jupyter Book makes of `_config.yml`, for `medallion site`."""

from medallion import paths
from medallion.site.config import settings

globals().update(settings(paths.root()))
