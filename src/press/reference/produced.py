"""The part of a hand-written file that is produced: what stands between two comments."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from medallion.errors import MedallionError

_BEGIN = "From here on produced by `medallion build`; do not edit."
_END = "Until here."
BEGIN, END = f"<!-- {_BEGIN} -->", f"<!-- {_END} -->"


def renewed(path: str, text: str, lines: Iterable[str]) -> str:
    """Return the text of the file `path` (".md" or ".yml") with `lines` as its produced part.

    Raises MedallionError when the file lacks one of the two comments.
    """
    is_page = PurePosixPath(path).suffix == ".md"
    begin, end = (BEGIN, END) if is_page else (f"# {_BEGIN}", f"# {_END}")
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise MedallionError(f"{path}:1: the page lacks the line '{end if found else begin}'. Restore it.")
    # An entry of a list in YAML stands as far to the right as the comments do
    gap, indent = ("\n\n", "") if is_page else ("\n", before.rpartition("\n")[2])
    part = "\n".join(indent + line for line in lines)
    return f"{before}{begin}{gap}{part}{gap}{indent}{end}{after}"
