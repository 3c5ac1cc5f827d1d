"""CDNOW: real purchases, copied as they came. See datasets/cdnow/README.md."""

import hashlib
from pathlib import Path

from kestrel.errors import Refused
from kestrel.planted import Truth
from kestrel.settings import CLEAN, DATASETS
from kestrel.shop import Shop
from kestrel.writing import Landing

PATH = "cdnow/CDNOW_master.txt"
ROWS = 69_659
SHA256 = "eff6889ed364c5199d6eacbbeb7a6d559971df4406ac876f322c373f00a072ef"


def master() -> Path:
    """Return the file that the repository keeps."""
    return DATASETS / PATH


def write(shop: Shop, landing: Landing, truth: Truth) -> None:
    """Copy the file; every purchase in it is taken as clean, and no scale changes it.

    Raises Refused when the repository's file is missing or is not the published one.
    """
    source = master()
    if not source.is_file() or hashlib.sha256(source.read_bytes()).hexdigest() != SHA256:
        raise Refused(
            f"{source} is missing, or is not the published file (SHA-256 {SHA256}). "
            "Restore it with `git restore datasets/cdnow`; Git must not change its line ends."
        )
    landing.copy(PATH, source, ROWS, arrived=0)
    truth.count("cdnow", [CLEAN] * ROWS)
