"""Count what is planted, so that the truth file and the files are written by the same hand."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from kestrel.settings import CLEAN, DISPOSITIONS, Settings, codes

TABLES = (
    "customers",
    "products",
    "orders",
    "web_events",
    "payments",
    "chargebacks",
    "telemetry",
    "maintenance",
    "touchpoints",
    "campaign_spend",
    "cdnow",
)


class Truth:
    """The rows of each Bronze table by kind of defect, and what else only the generator knows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rows: dict[str, Counter[int]] = {table: Counter() for table in TABLES}
        self.facts: dict[str, Any] = {}

    def count(self, table: str, kinds: Iterable[int]) -> None:
        """Add rows of a table, given by the code of each row's kind (see `settings.codes`)."""
        self._rows[table].update(kinds)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of `_truth.json`."""
        return {"tables": {table: self._table(table) for table in TABLES}, **self.facts}

    def _table(self, table: str) -> dict[str, Any]:
        planted = self._settings.planted(table)
        rows = self._rows[table]
        dispositions = Counter({"clean": rows[CLEAN]})
        kinds = {}
        for kind, code in codes(table).items():
            disposition = planted[kind].disposition
            dispositions[disposition] += rows[code]
            kinds[kind] = {"disposition": disposition, "rows": rows[code]}
        return {
            "rows": rows.total(),
            "dispositions": {name: dispositions[name] for name in DISPOSITIONS},
            "kinds": kinds,
        }
