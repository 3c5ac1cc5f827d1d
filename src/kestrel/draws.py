"""Random draws that come out the same on every processor, Python and NumPy.

Only whole numbers are drawn, and chances are compared as whole parts per million.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from kestrel.settings import MILLION

Numbers: TypeAlias = np.ndarray
Flags: TypeAlias = np.ndarray


class Draws:
    """A stream of draws of its own for each name: `Draws(seed, "orders", 17)`.

    The name, not the order of creation, picks the stream, so a source that is added
    later changes nothing in the others.
    """

    def __init__(self, seed: int, *name: str | int) -> None:
        key = tuple(part if isinstance(part, int) else zlib.crc32(part.encode()) for part in name)
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))

    def whole(self, low: int, high: int, size: int) -> Numbers:
        """Return `size` whole numbers from `low` to `high`, both included."""
        return self._rng.integers(low, high, size=size, endpoint=True)

    def below(self, limits: Numbers) -> Numbers:
        """Return for each limit a whole number from 0 up to, not including, that limit (< 2^31)."""
        # Multiply and shift: one draw of fixed width per number, whatever its limit.
        return (self._rng.integers(0, 2**32, size=len(limits)) * limits) >> 32

    def chance(self, rate: int, size: int) -> Flags:
        """Return `size` flags, each true with `rate` parts per million."""
        return self._rng.integers(0, MILLION, size=size) < rate

    def pick(self, weights: Sequence[int] | Numbers, size: int) -> Numbers:
        """Return `size` positions in `weights`, each as often as its weight says."""
        bounds = np.cumsum(np.asarray(weights, dtype=np.int64))
        return np.searchsorted(bounds, self._rng.integers(0, bounds[-1], size=size), side="right")

    def shuffled(self, size: int) -> Numbers:
        """Return the numbers 0 to `size` - 1 in random order."""
        return np.argsort(self._rng.integers(0, 2**62, size=size), kind="stable")


def rows_of(*columns: np.ndarray | Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Return the rows of columns of one length, as Python's own numbers, which are written out as such."""
    return zip(*(one.tolist() if isinstance(one, np.ndarray) else one for one in columns), strict=True)
