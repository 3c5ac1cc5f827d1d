"""Kestrel Market, the course's made-up online grocer: its source files, planted defects and all.

`generate` writes the landing folder; `datasets/README.md` describes what is in it and
`datasets/sources.toml` holds every rate.

The names are imported when first used: a session that looks after a landing folder does not wait for the
generator.
"""

from importlib import import_module
from typing import Any

_WHERE = {
    "DISPOSITIONS": "kestrel.settings",
    "MANIFEST": "kestrel.listing",
    "TRUTH": "kestrel.listing",
    "Refused": "kestrel.errors",
    "generate": "kestrel.landing",
    "is_current": "kestrel.landing",
    "manifest": "kestrel.listing",
    "repair": "kestrel.copies",
    "truth": "kestrel.listing",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'kestrel' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
