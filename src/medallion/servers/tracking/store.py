"""Where MLflow keeps runs and models: a SQLite database, and a folder for the files that belong to them.

The database keeps SQLite's own journal, not the write-ahead log, which a home folder on a network does not
bear. MLflow lets a writer wait 20 seconds for another, so that several notebooks can write at once.
"""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from filelock import FileLock

from medallion import contract, paths
from medallion.errors import MedallionError
from medallion.machine import surroundings
from medallion.spark import databricks, mlflow_settings

_FOLDER = "mlflow"
# Where MLflow writes down the full address of a file
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)


def place() -> Path:
    """Return the folder of all that MLflow keeps. It need not exist yet."""
    # The files of a workspace are on storage that a database cannot work on.
    return (databricks.local() if databricks.chosen() else paths.home()) / _FOLDER


def database() -> Path:
    """Return the file of runs, metrics and registered models. It need not exist yet."""
    return place() / "mlflow.db"


def require() -> None:
    """Check that there is a database. Raises MedallionError that names the chapter that makes it."""
    if not database().exists():
        raise MedallionError(f"There is no MLflow store in {place()} yet. {contract.how_to_make(_FOLDER)}")


def uri() -> str:
    """Return how MLflow names the database."""
    return f"sqlite:///{database()}"


def artifacts_uri() -> str:
    """Return how MLflow names the folder of models and other files of runs."""
    return (place() / "artifacts").as_uri()


def lock() -> FileLock:
    """Return the lock for making something in the folder, which this makes.

    Raises MedallionError when the lakehouse cannot be written.
    """
    paths.writable(paths.home(), "MEDALLION_HOME")
    place().mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # a disk without permissions, or another user's folder
        place().chmod(0o700)  # models are code: nobody else may write here
    return FileLock(place() / ".lock")


def use(experiment: str) -> str:
    """Have MLflow keep in the lakehouse what this notebook logs, under `experiment`, and return its id.

    The store and the experiment are made when they are not there yet; an experiment that was deleted comes
    back. Nothing is printed, and MLflow stays off the network. In a Databricks workspace with Unity Catalog
    its own MLflow keeps them: see `databricks.use`.

    Raises MedallionError when the lakehouse cannot be written, or another version of MLflow made the store.
    """
    if databricks.has_catalog():
        return databricks.track(experiment)
    surroundings.clean()
    mlflow_settings.keep()
    import mlflow
    from mlflow.exceptions import MlflowException

    with lock():
        if database().exists():
            follow()
        else:
            _make()
        mlflow.set_tracking_uri(uri())
        mlflow.set_registry_uri(uri())
        try:
            _forget_connections()
            number = _find_or_create(experiment)
        except MlflowException as error:
            if "out-of-date database schema" not in str(error):
                raise
            chapter = contract.leaver(_FOLDER)
            raise MedallionError(
                f"Another version of MLflow made {database()}. Remove it with `medallion reset {chapter}`, "
                f"and run chapter {chapter} again."
            ) from error
    mlflow.set_experiment(experiment_id=number)
    return number


def _make() -> None:
    """Make the database, which takes MLflow a second or two: it makes the oldest and migrates that.

    It gets its name when it is complete, so that a kill half-way leaves nothing that looks like one.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    partial = database().with_name(f".{database().name}.{os.getpid()}")
    made = SqlAlchemyStore(f"sqlite:///{partial}", artifacts_uri())
    made.engine.dispose()
    partial.replace(database())


def follow() -> None:
    """Have the database name its files where they are now, after the lakehouse was moved or copied.

    Raises MedallionError when the file is empty, cut or not MLflow's, and when it cannot be used.
    """
    try:
        with closing(sqlite3.connect(database(), timeout=20)) as connection, connection:
            _follow(connection)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
            raise MedallionError(
                f"{database()} cannot be used ({error}). Shut down the other notebooks that use it, see "
                "whether its disk has room, and try again."
            ) from error
        chapter = contract.leaver(_FOLDER)
        raise MedallionError(
            f"{database()} is damaged or not MLflow's ({error}). Remove it with `medallion reset {chapter}`, "
            f"and run chapter {chapter} again."
        ) from error


def _follow(connection: sqlite3.Connection) -> None:
    (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise sqlite3.DatabaseError(sound)
    # MLflow's own experiment, which is always there
    query = "SELECT artifact_location FROM experiments WHERE experiment_id = 0"
    row = connection.execute(query).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("it has no experiment")
    before = row[0].removesuffix("/0")
    if before == artifacts_uri():
        return
    for table, column in _ADDRESSES:
        connection.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
            (artifacts_uri(), len(before) + 1, len(before) + 1, f"{before}/"),
        )
    connection.execute(
        "UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?",
        (artifacts_uri(), before),
    )


def _forget_connections() -> None:
    """Close what is open: after a reset it would lead to the database that was there before."""
    from mlflow.tracking._model_registry import utils as registry
    from mlflow.tracking._tracking_service import utils as tracking

    tracking._get_store().engine.dispose()
    registry._get_store().engine.dispose()


def _find_or_create(experiment: str) -> str:
    from mlflow import MlflowClient

    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return client.create_experiment(experiment, artifact_location=artifacts_uri())
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id
