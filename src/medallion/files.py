"""Writing a file: whole or not at all, and only when its bytes differ."""

import os
from pathlib import Path


def text_of(path: Path) -> str | None:
    """Return the text of a product, None when there is none; line ends are as they are in the file."""
    # Bytes, because a text file would hide that its line ends have changed.
    return path.read_bytes().decode("utf-8", errors="replace") if path.exists() else None


def write_text(path: Path, text: str) -> bool:
    """Write a text as UTF-8, as `write_bytes` does."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> bool:
    """Write a file under another name and rename it, so that a kill leaves the old one or the new one.

    Missing folders are made. Return whether its bytes changed; a file that has them already is left as it is.
    """
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return True


def write_private(path: Path, text: str) -> None:
    """Write a text that nobody else on this machine may read; a kill leaves the old file or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        target.write(text)
    partial.replace(path)
