"""What a landing folder says of itself: the manifest of its files, and the truth of what was planted."""

import json
from pathlib import Path
from typing import Any

MANIFEST = "_manifest.json"
TRUTH = "_truth.json"


def manifest(target: Path) -> dict[str, Any] | None:
    """Return the manifest of a landing folder, or None when there is none that can be read."""
    try:
        return json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def truth(target: Path) -> dict[str, Any]:
    """Return the truth of a landing folder: what was planted. Only reconciliation may look at it."""
    return json.loads((target / TRUTH).read_text(encoding="utf-8"))
