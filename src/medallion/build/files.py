"""Writing products: whole or not at all, and only when their bytes differ."""

from pathlib import Path


def text_of(path: Path) -> str | None:
    """Return the text of a product, None when there is none; line ends are as they are in the file."""
    # Bytes, because a text file would hide that its line ends have changed.
    return path.read_bytes().decode("utf-8", errors="replace") if path.exists() else None


def write_text(path: Path, text: str) -> bool:
    """Write a product under another name and rename it; say whether its bytes changed."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> bool:
    """Write a product under another name and rename it; say whether its bytes changed."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.replace(path)
    return True
