"""The bundle: one job that runs the notebooks in the order of the chapters, and what it needs.

The names are those of Databricks' bundle configuration. A value such as `${var.catalog}` is filled in when
the bundle is deployed.
"""

from collections.abc import Sequence
from typing import Any

import yaml
from packaging.markers import default_environment
from packaging.utils import canonicalize_name

from medallion.errors import MedallionError
from medallion.machine import packages
from press.export.differences import FILE, Differences

NAME = "databricks.yml"
PREPARE = "00_prepare"
JOB = "medallion"
_CLUSTER = "course"
_PYTHON = "3.12"  # of the runtime
_HEADER = "# Produced by `medallion export databricks`; do not edit. Other values: --var name=value\n"
# What goes to the workspace although a .gitignore above this folder may name it
_SYNCED = ("book/**", "datasets/**", "notebooks/**", "requirements.txt", "src/**")


def text(names: Sequence[str], found: Differences) -> str:
    """Return `databricks.yml` for the notebooks `names` ("01_data_ingestion_bronze", …), in their order."""
    return _HEADER + yaml.safe_dump(config(names, found), sort_keys=False, width=110, allow_unicode=True)


def config(names: Sequence[str], found: Differences) -> dict[str, Any]:
    """Return the bundle as a dictionary."""
    return {
        "bundle": {"name": JOB},
        "sync": {"include": list(_SYNCED)},
        "variables": _variables(found),
        "resources": {"jobs": {JOB: _job([PREPARE, *names])}},
        "targets": _targets(),
    }


def _variables(found: Differences) -> dict[str, Any]:
    told = {
        "schema": ("The schema of that catalog for the files and the models", JOB),
        "scale": ("How much data: 1 is 40,000 orders", "1"),
        "spark_version": ("The Databricks Runtime", found.common.runtime.version),
        "node_type_id": ("The machine of the cluster; the default is one of AWS", "i3.xlarge"),
    }
    # Without a default the CLI asks for a catalog: not every workspace has one called main, and the tables
    # of the course should not stand in somebody else's.
    catalog = {"description": "The catalog of Unity Catalog for the tables: one for this course alone"}
    others = {name: {"description": text, "default": default} for name, (text, default) in told.items()}
    return {"catalog": catalog, **others}


def _job(keys: Sequence[str]) -> dict[str, Any]:
    parameters = ("catalog", "schema", "scale")
    return {
        "name": JOB,
        "description": "The chapters of the Medallion course, one after the other",
        "max_concurrent_runs": 1,
        "parameters": [{"name": name, "default": f"${{var.{name}}}"} for name in parameters],
        "job_clusters": [{"job_cluster_key": _CLUSTER, "new_cluster": _cluster()}],
        "tasks": [_task(key, before) for before, key in zip([None, *keys], keys, strict=False)],
    }


def _task(key: str, before: str | None) -> dict[str, Any]:
    task: dict[str, Any] = {"task_key": key}
    if before:
        task["depends_on"] = [{"task_key": before}]
    task["job_cluster_key"] = _CLUSTER
    task["notebook_task"] = {"notebook_path": f"./notebooks/{key}.py"}
    return task


def _cluster() -> dict[str, Any]:
    return {
        "spark_version": "${var.spark_version}",
        "node_type_id": "${var.node_type_id}",
        # One machine: the API of chapter 01 is served on it.
        "num_workers": 0,
        "custom_tags": {"ResourceClass": "SingleNode"},
        # One person: chapter 08 needs Spark's context, and chapter 07 functions of foreachBatch that share
        # the notebook's variables. The standard access mode has neither.
        "data_security_mode": "SINGLE_USER",
        "spark_conf": {
            "spark.master": "local[*, 4]",
            "spark.databricks.cluster.profile": "singleNode",
            # As on the laptop: errors of SQL are errors, times are UTC, a frame at the end of a cell is a
            # table, and no commit comes between ours, whose versions the chapters count.
            "spark.sql.ansi.enabled": "true",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.repl.eagerEval.enabled": "true",
            "spark.databricks.delta.autoCompact.enabled": "false",
        },
    }


def _targets() -> dict[str, Any]:
    def cluster(**changes: Any) -> dict[str, Any]:
        job = {"job_clusters": [{"job_cluster_key": _CLUSTER, "new_cluster": changes}]}
        return {"resources": {"jobs": {JOB: job}}}

    # A stream hands each batch over in a session of its own, which begins in the catalog of the cluster
    catalog = {"spark.databricks.sql.initial.catalog.namespace": "${var.catalog}"}
    return {
        "unity": {"default": True, "mode": "development", **cluster(spark_conf=catalog)},
        "hive": {
            "mode": "development",
            "variables": {"catalog": ""},
            **cluster(data_security_mode="NONE"),
        },
    }


def requirements(found: Differences, locked: str) -> str:
    """Return `requirements.txt`: what the runtime lacks, in the versions of the lock, whose text is `locked`.

    Raises MedallionError for a package that is not in the lock.
    """
    environment = {name: str(value) for name, value in default_environment().items()}
    environment |= {"sys_platform": "linux", "python_version": _PYTHON, "python_full_version": f"{_PYTHON}.3"}
    versions = {pin.name: pin.version for pin in packages.pins(locked) if pin.applies(environment)}
    lines = ["# Produced by `medallion export databricks`; do not edit. What the runtime lacks"]
    for name, why in sorted(found.common.installs.items()):
        if canonicalize_name(name) not in versions:
            raise MedallionError(f"{FILE} installs {name}, which requirements.lock has not. Take it away.")
        lines.append(f"{name}=={versions[canonicalize_name(name)]}  # {why}")
    return "\n".join(lines) + "\n"
