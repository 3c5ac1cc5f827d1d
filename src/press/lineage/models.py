"""What models were trained on, as MLflow has recorded it: `mlflow.log_input` of a Delta table.

MLflow names the dataset's path. Which rows a model has scored, it does not say. Its database is read as it is
and not through MLflow, which takes seconds to be imported and may write to it.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from press.lineage import events
from press.lineage.events import is_table

_TRAINED = """
    SELECT DISTINCT v.name, v.version, d.dataset_source
    FROM model_versions AS v JOIN runs AS r ON r.run_uuid = v.run_id
    JOIN inputs AS i ON i.destination_id = r.run_uuid AND i.destination_type = 'RUN'
    JOIN datasets AS d ON d.dataset_uuid = i.source_id AND i.source_type = 'DATASET'
    WHERE r.start_time >= ?
"""


def trained(home: Path, since: int) -> list[tuple[str, str]]:
    """Return (table, model) for the versions of models in the lakehouse `home` that were trained on tables.

    A model is named `model.churn.1`, with its version. Runs of MLflow count that began at `since` or later
    (milliseconds).
    """
    database = home / "mlflow" / "mlflow.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
        rows = connection.execute(_TRAINED, (since,)).fetchall()
    found = ((events.named(json.loads(source).get("path", ""), home), *of) for *of, source in rows)
    return sorted(
        {(table, f"model.{name}.{version}") for table, name, version in found if is_table(table or "")}
    )
