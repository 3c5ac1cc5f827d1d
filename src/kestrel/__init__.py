"""Kestrel Market, the course's made-up online grocer: its source files, planted defects and all.

`generate` writes the landing folder; `datasets/README.md` describes what is in it and
`datasets/sources.toml` holds every rate.
"""

from kestrel.errors import Refused
from kestrel.landing import MANIFEST, TRUTH, generate, is_current, manifest, mend, truth
from kestrel.settings import DISPOSITIONS

__all__ = [
    "DISPOSITIONS",
    "MANIFEST",
    "TRUTH",
    "Refused",
    "generate",
    "is_current",
    "manifest",
    "mend",
    "truth",
]
