"""Writing products: whole or not at all, and only when their bytes differ."""

from pathlib import Path


def text_of(path: Path) -> str | None:
    """Return the text of a product, None when there is none; line ends are as they are in the file."""
    # Bytes, because a text file would hide that its line ends have changed.
    return path.read_bytes().decode("utf-8", errors="replace") if path.exists() else None


def write_text(path: Path, text: str) -> bool:
    """Write a product under another name and rename it; say whether its bytes changed."""
    if text_of(path) == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8", newline="\n")
    new.replace(path)
    return True
