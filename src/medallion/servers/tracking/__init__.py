"""MLflow on this machine: where runs and models are kept, and the page that shows them.

    tracking.use("churn")         # from here on, MLflow's own calls keep runs and models in the lakehouse
    with tracking.start() as ui:  # MLflow's server over the same store, behind its own password
        ui.url

| module | what it is for |
|---|---|
| `store` | the database and the folder of artifacts: made, and put in force for a notebook |
| `ui` | the server, started from a notebook or by `medallion mlflow` |
| `process` | the process that serves |

MLflow is imported when it is first needed, so that `from medallion.servers import tracking` costs nothing.
"""

from medallion.servers.tracking.store import use
from medallion.servers.tracking.ui import start

__all__ = ["start", "use"]
