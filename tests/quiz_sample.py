"""A quiz that keeps every rule, as its file holds it."""

from typing import Any


def questions(count: int = 4) -> list[dict[str, Any]]:
    """Return so many questions, each with four answers of which one is right."""
    return [
        {
            "ask": f"Which rows does `total > 0` lose in case {n}, and *why* < that?",
            "answers": [
                {"text": "None", "why": "NULL is neither above nor below."},
                {"text": "The NULLs", "right": True, "why": "They are unknown."},
                {"text": "All & more", "why": "Most have a total."},
                {"text": "Those of today", "why": "The day does not matter."},
            ][:: -1 if n % 3 == 2 else 1],
        }
        for n in range(count)
    ]
