"""Databricks: where tables, files and models are when a notebook runs in a workspace there.

The first cell of an exported notebook says it, and `medallion.start()` makes what is missing:

    databricks.use(catalog="main", schema="medallion")

| | with a catalog | without one |
|---|---|---|
| tables | `main.bronze.orders`, in Unity Catalog | `bronze.orders`, in the Hive metastore |
| files | `/Volumes/main/medallion/files`, a volume | `/medallion/medallion`, a link into DBFS |
| models | `main.medallion.churn`, in Unity Catalog | MLflow's database, on the disk of the driver |

On a laptop nothing of this is in force.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medallion import paths
from medallion.contract import SCHEMAS
from medallion.errors import MedallionError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["use"]

VOLUME = "files"
ARRIVALS = "arrivals.csv"
# By its comment we know a schema that this course made: what is in the others is somebody's own.
COMMENT = "Made by the Medallion course"
_SCRATCH = "scratch"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_DBFS, _LINK = Path("/dbfs"), Path("/medallion")


class Place(NamedTuple):
    """A catalog, which is "" where there is no Unity Catalog, and the schema of the files and models."""

    catalog: str
    schema: str


_place: Place | None = None


def use(catalog: str, schema: str) -> None:
    """Say where the course works in this workspace, before `medallion.start()`.

    `catalog` is a catalog of Unity Catalog, or "" for the Hive metastore and DBFS. Its schemas bronze,
    silver, gold, ml, ops and scratch hold the tables; `schema` holds the volume of the files, and the models.

    Raises MedallionError for what is no name, for a schema that is one of the six, and without a catalog
    also where the compute has no DBFS.
    """
    global _place
    place = Place(catalog.strip(), schema.strip())
    for name in filter(None, (place.catalog, place.schema or "?")):
        if not _NAME.fullmatch(name):
            raise MedallionError(
                f"{name!r} is no name that the course can use. Give letters, digits, '_' and '-'."
            )
    if place.schema in (*SCHEMAS, _SCRATCH):
        raise MedallionError(
            f"The schema {place.schema} is for tables. Give another one for the files and the models, "
            "such as medallion."
        )
    home = Path("/Volumes", *place, VOLUME) if place.catalog else _linked() / place.schema
    # The disk of a volume has no locks, which the file of the progress needs.
    os.environ.update(MEDALLION_HOME=str(home), MEDALLION_PROGRESS="off")
    _place = place


def _linked() -> Path:
    """Return a folder of DBFS under a name that is the same for Python and for Spark.

    Python finds it in /dbfs/medallion and Spark in /medallion: a link gives Python the second name too.
    """
    if not _DBFS.is_dir():
        raise MedallionError("This compute has no DBFS. Give the name of a catalog of Unity Catalog.")
    (_DBFS / "medallion").mkdir(exist_ok=True)
    if not _LINK.exists():
        _LINK.symlink_to(_DBFS / "medallion", target_is_directory=True)
    return _LINK


def is_elsewhere() -> bool:
    """Return whether the surroundings have a session that is not ours, with a catalog of its own."""
    return any(map(os.environ.get, ("DATABRICKS_RUNTIME_VERSION", "SPARK_REMOTE")))


def chosen() -> Place | None:
    """Return where the course works in this workspace, or None where nobody has said it, as on a laptop."""
    return _place


def has_catalog() -> bool:
    """Return whether the tables are in Unity Catalog."""
    return bool(_place and _place.catalog)


def begin(spark: "SparkSession") -> None:
    """Make what a notebook needs: the schemas, the volume, and an empty scratch schema and folder.

    Two-part names such as `bronze.orders` are then those of the catalog, and models those of the schema.
    Raises MedallionError when a schema for tables was made by somebody else.
    """
    assert _place is not None, "use() comes first"
    if _place.catalog:
        spark.sql(f"USE CATALOG `{_place.catalog}`")
    for name in (*SCHEMAS, _SCRATCH):
        _make(spark, name)
        _refuse_foreign(spark, name)
    spark.sql(f"DROP SCHEMA {_SCRATCH} CASCADE")
    _make(spark, _SCRATCH)
    _make(spark, _place.schema)
    if _place.catalog:
        spark.sql(f"CREATE VOLUME IF NOT EXISTS `{_place.schema}`.{VOLUME}")
    spark.sql(f"USE SCHEMA `{_place.schema}`")
    scratch = paths.scratch()
    shutil.rmtree(scratch.parent, ignore_errors=True)
    scratch.mkdir(parents=True)


def _make(spark: "SparkSession", schema: str) -> None:
    spark.sql(f"CREATE SCHEMA IF NOT EXISTS `{schema}` COMMENT '{COMMENT}'")


def _refuse_foreign(spark: "SparkSession", schema: str) -> None:
    said = {row[0]: row[1] for row in spark.sql(f"DESCRIBE SCHEMA `{schema}`").collect()}
    if COMMENT not in (said.get("Comment"), said.get("Description")):
        where = _place.catalog if _place and _place.catalog else "the Hive metastore"
        raise MedallionError(
            f"The schema {schema} of {where} was not made by this course, which would overwrite its tables. "
            "Give a catalog of its own to the course."
        )


def local() -> Path:
    """Return a folder on the disk of the driver, for what needs a real disk. It goes with the cluster."""
    return Path(tempfile.gettempdir()) / "medallion"


def land(scale: float = 1) -> int:
    """Bring the source files to the landing folder, and return how many had to be brought.

    They are generated on the disk of the driver and then copied, the oldest first: cloud storage gives a
    file the time at which it is written, and a stream takes files in that order. When each of them arrived
    is in `arrivals.csv` beside the folder. Files that are there already, of the same scale, stay.

    Raises MedallionError for a scale that the generator does not take.
    """
    import kestrel

    landing = paths.landing()
    if kestrel.is_current(landing, scale):
        return 0
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "landing"
        manifest = kestrel.generate(made, scale=scale)
        shutil.rmtree(landing, ignore_errors=True)
        arrivals = {file["path"]: file["arrived"] for file in manifest["files"]}
        files = sorted(arrivals, key=lambda path: (arrivals[path], path))
        for file in files:
            _copy(made / file, landing / file)
        lines = ["_source_file,_arrived_at", *(f"{file},{arrivals[file]}" for file in files)]
        landing.with_name(ARRIVALS).write_text("\n".join(lines) + "\n", encoding="utf-8")
        for name in (kestrel.TRUTH, kestrel.MANIFEST):  # the manifest last: it says that all is there
            _copy(made / name, landing / name)
        return len(files)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)  # the bytes alone: a volume keeps no times and no permissions


def track(experiment: str) -> str:
    """Have MLflow keep runs in an experiment of this user, and models in the catalog; return its id."""
    import mlflow
    from pyspark.sql import SparkSession

    row = SparkSession.active().sql("SELECT current_user()").first()
    assert row is not None
    mlflow.set_registry_uri("databricks-uc")
    found = mlflow.set_experiment(f"/Users/{row[0]}/medallion-{experiment}")
    return str(found.experiment_id)
