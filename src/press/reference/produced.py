"""The parts of a hand-written file that are produced: each is what stands between two comments."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from medallion.errors import MedallionError

_BEGIN = "From here on produced by `medallion build`; do not edit."
_END = "Until here."
BEGIN, END = f"<!-- {_BEGIN} -->", f"<!-- {_END} -->"


def renewed(path: str, text: str, *parts: Iterable[str]) -> str:
    """Return the text of the file `path` (".md" or ".yml") with its produced parts, in order, renewed.

    Each of `parts` has the lines of one. One without lines keeps its two comments.
    Raises MedallionError when the file lacks one of the two comments of a part.
    """
    is_page = PurePosixPath(path).suffix == ".md"
    begin, end = (BEGIN, END) if is_page else (f"# {_BEGIN}", f"# {_END}")
    done, rest = "", text
    for lines in parts:
        before, found, following = rest.partition(begin)
        _, closed, rest = following.partition(end)
        if not (found and closed):
            lacking = end if found else begin
            raise MedallionError(f"{path}:1: the page lacks the line '{lacking}'. Restore it.")
        # An entry of a list in YAML stands as far to the right as the comments do
        gap, indent = ("\n\n", "") if is_page else ("\n", before.rpartition("\n")[2])
        part = "\n".join(indent + line for line in lines)
        done += f"{before}{begin}{gap}{part}{gap if part else ''}{indent}{end}"
    return done + rest
