"""Plant defects at the rates of the settings, never two in one row."""

import numpy as np

from kestrel.draws import Draws, Flags, Numbers
from kestrel.settings import CLEAN, Settings, codes


def plant(settings: Settings, table: str, draws: Draws, kinds: Numbers, **applies: Flags) -> None:
    """Write the codes of planted kinds into `kinds`, where it is clean and the kind applies.

    `applies` names the kinds of defect and flags the rows that can have each of them.
    """
    code = codes(table)
    for name, flags in applies.items():
        chosen = draws.chance(settings.rate(table, name), kinds.size).reshape(kinds.shape)
        kinds[chosen & flags & (kinds == CLEAN)] = code[name]


def repeated(settings: Settings, table: str, draws: Draws, can_repeat: Flags) -> Numbers:
    """Draw the positions of the rows that come a second time, at the table's rate of `repeat`."""
    return np.flatnonzero(draws.chance(settings.rate(table, "repeat"), len(can_repeat)) & can_repeat)
