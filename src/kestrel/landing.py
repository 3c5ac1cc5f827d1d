"""Fill the landing folder: all sources, their manifest and the truth, whole or not at all.

The files are written to a folder beside the target, which takes the target's name when it is
complete. A run that dies leaves that folder behind, and the next run sweeps it away.
"""

import errno
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from kestrel import (
    cdnow,
    copies,
    customers,
    lockers,
    marketing,
    orders,
    parcel_scans,
    payments,
    products,
    support,
    web_events,
)
from kestrel import settings as settings_file
from kestrel.errors import Refused
from kestrel.listing import MANIFEST, TRUTH, manifest
from kestrel.planted import Truth
from kestrel.settings import Settings
from kestrel.shop import Shop
from kestrel.writing import Landing
from kestrel.writing import Progress as OnBytes

# Raise it when the code writes other files from the same settings: a landing folder of an older
# generator is then made anew.
GENERATOR = 4
SMALLEST, LARGEST = 0.02, 100

_SOURCES = (
    cdnow,
    products,
    customers,
    lockers,
    orders,
    payments,
    web_events,
    marketing,
    support,
    parcel_scans,
)
# What a landing folder takes up: fixed, by the scale, and by its square root. Measured, rounded up.
_FIXED_BYTES, _BYTES_PER_SCALE, _BYTES_PER_ROOT = 6_000_000, 112_000_000, 12_000_000


def generate(
    target: Path, scale: float = 1, settings: Path | None = None, progress: bool = False, force: bool = False
) -> dict[str, Any]:
    """Write the landing files of Kestrel Market to the folder `target`, and return their manifest.

    `scale` multiplies customers, orders, payments, clicks, journeys and fraud; products, sellers and
    lockers grow with its square root; CDNOW is what it is. `settings` is a file like
    `datasets/sources.toml`, which is the default. A folder that already holds the same data is left
    alone, but for the moments of arrival that a copy has lost, unless `force` is set; any other landing
    folder is replaced whole.

    Raises Refused for a scale out of range, a bad line in the settings, too little room on
    the disk, a folder that cannot be written or is not a landing folder, and a second generator
    at work in the same place.
    """
    if not SMALLEST <= scale <= LARGEST:
        raise Refused(f"The scale {scale:g} is out of range. Choose one from {SMALLEST} to {LARGEST}.")
    values = settings_file.load(settings)
    _refuse_broken_link(target)
    # A landing folder that is a link to a larger disk stays one.
    target = target.resolve()
    _require_writable(target.parent)
    with _alone(target):
        _sweep(target)
        _refuse_foreign(target)
        present = _current(target, values, scale)
        if present and not force:
            late = copies.out_of_time(target, present)
            if not copies.changed(target, late):
                copies.put_back(target, late)
                return present
        _require_room(target, scale)
        return _replace(target, values, scale, progress)


def is_current(target: Path, scale: float = 1) -> bool:
    """Return whether the folder `target` holds all that `generate` would write there at this scale.

    It does not look at the moments of arrival: cloud storage keeps none.
    """
    return _current(target, settings_file.load(None), scale) is not None


def _refuse_broken_link(target: Path) -> None:
    """Refuse a link to a disk that is not mounted: the folder would be made on another one."""
    for place in (target, *target.parents):
        if place.is_symlink() and not place.exists():
            raise Refused(
                f"{place} is a link to {place.readlink()}, which is not there. "
                "Mount its disk, or remove the link."
            )


def _require_writable(folder: Path) -> None:
    """Make the folder if it is missing, and prove that a file can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Refused(
            f"{folder} cannot be written ({error.strerror}). "
            "Give yourself write access to it, or set MEDALLION_HOME to a folder that is yours."
        ) from error


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    try:
        with FileLock(_beside(target, "lock"), timeout=0):
            yield
    except Timeout:
        raise Refused(
            f"Another run is writing {target}. Wait until it has finished, then try again."
        ) from None


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.{what}")


def _sweep(target: Path) -> None:
    """Clear away what a killed run left; if it died between its two renames, undo the first."""
    old = _beside(target, "old")
    if old.exists() and not target.exists():
        old.rename(target)
    for leftover in (old, _beside(target, "partial")):
        shutil.rmtree(leftover, ignore_errors=True)


def _refuse_foreign(target: Path) -> None:
    if target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).exists():
        raise Refused(
            f"{target} holds files that the generator did not write, and would be replaced. "
            "Move them away, or set MEDALLION_HOME to another folder."
        )


def _current(target: Path, values: Settings, scale: float) -> dict[str, Any] | None:
    """Return the manifest of a folder that holds these data and all of their files, else None."""
    present = manifest(target)
    if not present or not _identity(values, scale).items() <= present.items():
        return None
    files = [_intact(target / file["path"], file) for file in present["files"]]
    return present if all(files) and (target / TRUTH).exists() else None


def _identity(values: Settings, scale: float) -> dict[str, Any]:
    return {"generator": GENERATOR, "scale": float(scale), "settings_sha256": values.sha256()}


def _intact(path: Path, listed: dict[str, Any]) -> bool:
    """Return whether a listed file is there in its size, or for Parquet with its rows."""
    try:
        if "bytes" in listed:
            return path.stat().st_size == listed["bytes"]
        with path.open("rb") as file:
            return pq.read_metadata(file).num_rows == listed["rows"]
    except (OSError, pa.ArrowInvalid):
        return False


def bytes_needed(scale: float) -> int:
    """Return how many bytes a landing folder of a scale may take up, a little on the safe side."""
    return _FIXED_BYTES + round(_BYTES_PER_SCALE * scale + _BYTES_PER_ROOT * scale**0.5)


def _require_room(target: Path, scale: float) -> None:
    needed, free = bytes_needed(scale), shutil.disk_usage(target.parent).free
    if free < needed:
        raise _no_room(target, f"needs {needed / 1e6:,.0f} MB, and only {free / 1e6:,.0f} MB are free")


def _no_room(target: Path, how: str) -> Refused:
    return Refused(
        f"There is no room for the source files: {target} {how}. "
        "Free some space, choose a smaller scale, or set MEDALLION_HOME to a folder on a larger disk."
    )


def _replace(target: Path, values: Settings, scale: float, progress: bool) -> dict[str, Any]:
    partial, old = _beside(target, "partial"), _beside(target, "old")
    try:
        with _bar(bytes_needed(scale), progress) as on_bytes:
            written = _write_all(partial, values, scale, on_bytes)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(target, "filled the disk half-way") from error
        raise
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return written


def _write_all(folder: Path, values: Settings, scale: float, on_bytes: OnBytes) -> dict[str, Any]:
    landing, planted = Landing(folder, on_bytes), Truth(values)
    shop = Shop(values, scale)
    for source in _SOURCES:
        source.write(shop, landing, planted)
    text = _json(planted.as_dict())
    (folder / TRUTH).write_bytes(text)
    written = {
        **_identity(values, scale),
        "truth_sha256": hashlib.sha256(text).hexdigest(),
        "files": sorted(landing.files, key=lambda file: file["path"]),
    }
    (folder / MANIFEST).write_bytes(_json(written))
    return written


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[OnBytes]:
    """Yield a function that takes the bytes just written, and shows them on the terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), disable=not shown, transient=True) as bar:
        task = bar.add_task("Writing source files", total=total)
        yield lambda count: bar.advance(task, count)
