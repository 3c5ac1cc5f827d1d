"""What keeps MLflow from the network and out of the outputs of a notebook."""

import logging
import os
import warnings

# In the environment, because MLflow reports its use to its makers from whichever process imports it, and
# Spark's workers do so too. A session sets this before it starts them.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",  # a machine without git is no matter for a warning
}


def prepare() -> None:
    """Have MLflow be quiet once it is imported, here or in a process that starts from now on."""
    os.environ.update(ENVIRONMENT)
    # As it is imported in a notebook, tqdm would like widgets for progress bars, which no output is to hold.
    warnings.filterwarnings("ignore", message="IProgress not found")


def keep() -> None:
    """Keep MLflow quiet in this process and in those that it starts, also when it is imported already."""
    prepare()
    from mlflow.telemetry import set_telemetry_client

    set_telemetry_client()  # looks at the environment anew
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
