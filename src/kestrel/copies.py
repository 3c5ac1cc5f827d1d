"""A landing folder that was copied: when its files arrived, which they may have lost, and what is not ours.

A stream takes the oldest file first, and Bronze keeps when each file arrived. Both go by the modification
time, which `cp -r`, a zip and a checkout lose. The manifest has it for every file.
"""

import hashlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from kestrel.errors import Refused
from kestrel.listing import manifest

File = dict[str, Any]


def repair(target: Path) -> list[str]:
    """Give the files of a landing folder back the moments of their arrival, which a copy has lost.

    Return what is to be told, a sentence each: of that, and of files that are not the generator's. Without a
    manifest, or with that of an older generator, which has no moments, nothing is done.
    Raises Refused for files that are missing or hold something else, and when a time cannot be set.
    """
    held = manifest(target)
    if held is None:
        return []
    told = []
    late = out_of_time(target, held)
    if other := changed(target, late):
        scale = "" if held["scale"] == 1 else f" --scale {held['scale']:g}"
        raise Refused(
            f"{target} does not hold what the generator wrote: {_counted(other)} missing or changed. "
            f"Make the source files anew with `medallion data --force{scale}`."
        )
    if late:
        put_back(target, late)
        told.append(
            f"{len(late)} source files had lost the time of their arrival, as copies do; they have it again."
        )
    if foreign := strangers(target, held):
        told.append(
            f"In {target} {_counted(foreign)} not from the generator. Spark reads what is there as data: "
            "move it away, unless that is meant."
        )
    return told


def out_of_time(target: Path, held: dict[str, Any]) -> list[File]:
    """Return the files of the manifest that are missing, or whose modification time is not their arrival."""
    listed = [file for file in held.get("files", []) if "arrived" in file]
    return [file for file in listed if _modified(target / file["path"]) != _arrival(file)]


def changed(target: Path, files: Sequence[File]) -> list[str]:
    """Return the paths of those among `files` that are missing or hold something else than was written."""
    return [file["path"] for file in files if not _as_written(target / file["path"], file)]


def put_back(target: Path, files: Sequence[File]) -> None:
    """Set the modification times of files to their arrival. Raises Refused when one cannot be set."""
    for file in files:
        try:
            os.utime(target / file["path"], (_arrival(file), _arrival(file)))
        except OSError as error:
            raise Refused(
                f"{target / file['path']} has lost the moment of its arrival, and it cannot be set "
                f"({error.strerror}). Copy the source files with their times, as `cp -a` does."
            ) from error


def strangers(target: Path, held: dict[str, Any]) -> list[str]:
    """Return the files in the folders of the sources that Spark would read and the manifest does not list."""
    listed = {file["path"] for file in held.get("files", [])}
    sources = {path.partition("/")[0] for path in listed}
    found = []
    for folder, folders, files in (step for source in sources for step in os.walk(target / source)):
        folders[:] = filter(_is_read, folders)
        place = Path(folder).relative_to(target).as_posix()
        found += [f"{place}/{name}" for name in filter(_is_read, files)]
    return sorted(set(found) - listed)


def _is_read(name: str) -> bool:
    return not name.startswith((".", "_"))  # these Spark passes over


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _arrival(file: File) -> float:
    return datetime.fromisoformat(file["arrived"]).timestamp()


def _as_written(path: Path, file: File) -> bool:
    # They are slow to import, and a folder that nobody has copied does not need them
    import pyarrow as pa
    import pyarrow.parquet as pq

    from kestrel.writing import content_sha256

    try:
        with path.open("rb") as stream:
            if "sha256" in file:
                return hashlib.file_digest(stream, "sha256").hexdigest() == file["sha256"]
            return content_sha256(pq.read_table(stream)) == file["content_sha256"]
    except (OSError, pa.ArrowInvalid):
        return False


def _counted(paths: Sequence[str]) -> str:
    """Return the first path, how many more there are, and a verb: "orders/a.jsonl and 2 more are"."""
    return f"{paths[0]} is" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more are"
