"""What signs and colours mean: the verdict on an answer, and the layers of the lakehouse.

Each is readable on a white and on a near-black page: a contrast of at least 3 to 1 (WCAG 2.2, 1.4.11). The
colours of the layers are also in the drawings and in `book/_static/medallion.css`.
"""

SIGNS = {"right": "✓", "wrong": "✗", "open": "○"}
VERDICTS = {"right": "#2e8b57", "wrong": "#d9662b", "open": "#808080", "hint": "#4a86c8"}
LAYERS = {"source": "#4a7fa5", "bronze": "#b26a33", "silver": "#7b8794", "gold": "#a67c00", "use": "#5b6b8c"}
