"""Rows that wait until they are due."""

import numpy as np


class Pending:
    """Rows (text, with whole-number columns beside it) that are handed out in the order they are due.

    It holds only what is not due yet, so a source of any length passes through in little memory.
    """

    def __init__(self, *columns: str) -> None:
        self._names = ("due", *columns)
        self._text: list[str] = []
        self._columns = {name: np.empty(0, dtype=np.int64) for name in self._names}

    def add(self, text: list[str], **columns: np.ndarray) -> None:
        """Add rows with their stamp `due` and the columns that this store was made with."""
        self._text += text
        for name in self._names:
            self._columns[name] = np.concatenate([self._columns[name], columns[name]])

    def repeat(self, text: list[str], at: np.ndarray, due: np.ndarray, kind: int) -> None:
        """Add the rows of `text` at the positions `at` once more, with their stamps `due` and one `kind`."""
        self.add([text[k] for k in at.tolist()], due=due, kind=np.full(len(at), kind))

    def until(self, stamp: int) -> tuple[list[str], dict[str, np.ndarray]]:
        """Remove and return the rows due before `stamp`, the earliest first, equals as they were added."""
        order = np.argsort(self._columns["due"], kind="stable")
        cut = int(np.searchsorted(self._columns["due"][order], stamp))
        out, kept = order[:cut], np.sort(order[cut:])
        released = {name: column[out] for name, column in self._columns.items()}
        text = [self._text[at] for at in out.tolist()]
        self._columns = {name: column[kept] for name, column in self._columns.items()}
        self._text = [self._text[at] for at in kept.tolist()]
        return text, released
