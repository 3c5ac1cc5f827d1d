"""The locks and the files of conda and Binder agree with pyproject.toml, and a disagreement is found."""

import os
import re
import shutil
from pathlib import Path

import pytest

from medallion import paths
from medallion.machine import packages
from press import lock


@pytest.fixture
def clone(tmp_path) -> Path:
    """A copy of the files that have to agree."""
    for name in ("pyproject.toml", *lock.CHECKED):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(paths.root() / name, tmp_path / name)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8", newline="\n")


def test_everything_agrees():
    assert lock.check() == []


def test_what_the_workflows_and_the_container_take_is_pinned():
    """An action by its commit, the same in every workflow, and an image by its whole version."""
    digests: dict[str, set[str]] = {}
    for workflow in sorted((paths.root() / ".github" / "workflows").glob("*.yml")):
        for used in re.findall(r"uses: *(.+)", workflow.read_text(encoding="utf-8")):
            pinned = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+", used)
            assert pinned, f"{workflow.name}: {used}"
            digests.setdefault(pinned[1], set()).add(pinned[2])
    assert digests and all(len(several) == 1 for several in digests.values())
    image = (paths.root() / ".devcontainer" / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^FROM python:3\.\d+\.\d+-", image, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "old", "new", "found"),
    [
        (
            "requirements.lock",
            "pandas==2.3.3",
            "pandas==2.3.2",
            "pandas is 2.3.2, pyproject.toml says ==2.3.3",
        ),
        (
            "pyproject.toml",
            '"deltalake==1.6.6"',
            '"deltalake==1.7.0"',
            "deltalake is 1.6.6, pyproject.toml says",
        ),
        (
            "pyproject.toml",
            '"rich",',
            '"rich",\n  "polars",',
            "polars is in pyproject.toml, but not in the lock",
        ),
        (
            "requirements.lock",
            "numpy==2.4.6 ; python_full_version < '3.12'",
            "numpy==2.4.6 ; python_full_version < '3.13'",
            "numpy has 2 versions on linux with Python 3.12",
        ),
        (
            "requirements.lock",
            "pyspark==4.2.0",
            "pyspark==4.2.0 ; sys_platform == 'linux'",
            "pyspark is in pyproject.toml, but not in the lock on darwin",
        ),
        ("requirements.lock", "zipp==", "unhashed==1.0\nzipp==", "unhashed has no hash"),
        (
            "orchestrator.lock",
            "dagster==1.13.28",
            "dagster==1.13.27",
            "orchestrator.lock: dagster is 1.13.27, pyproject.toml says ==1.13.28",
        ),
        (
            "pyproject.toml",
            '"dagster==1.13.28", ',
            '"dagster==1.13.28", "dagster-aws", ',
            "orchestrator.lock: dagster-aws is in pyproject.toml, but not in the lock",
        ),
        (
            "environment.yml",
            "openjdk=17",
            "openjdk=11",
            "environment.yml: it has none of openjdk=17, openjdk=21",
        ),
        ("environment.yml", "python=3.12", "python=3.10", "environment.yml: it has none of python=3.11, "),
        (
            "environment.yml",
            "pip install --no-deps",
            "pip install",
            "environment.yml does not say `pip install",
        ),
        ("environment.yml", "-r requirements.lock", "rich", "environment.yml: rich is not the clone's"),
        (
            "binder/environment.yml",
            "../requirements.lock",
            "requirements.lock",
            "binder/environment.yml: -r requirements.lock is not the clone's requirements.lock",
        ),
        ("binder/environment.yml", "python=3.12", "python=3.11", "has other packages than environment.yml"),
        (
            "binder/postBuild",
            "--no-deps",
            "--upgrade",
            "binder/postBuild does not say `pip install --no-deps",
        ),
        ("pyproject.toml", ">=3.11,<3.14", ">=3.13,<3.14", "Python 3.12 is outside requires-python"),
        ("jars.lock", "delta-storage:4.4.0", "delta-storage:4.3.0", "jars.lock: its jars are not those of"),
        ("jars.lock", '"group": "lineage"', '"group": "other"', "jars.lock: its jars are not those of"),
        ("pyproject.toml", "sedona-spark-shaded-4.0", "another", "jars.lock: its jars are not those of"),
        (
            "pyproject.toml",
            '"delta-spark==4.4.0"',
            '"delta-spark==4.5.0"',
            "does not go with delta-spark==4.5.0",
        ),
        ("requirements.lock", "# via", "# --index-url https://host/simple\n# via", "names an address"),
    ],
)
def test_a_disagreement_is_found(clone, name, old, new, found):
    edit(clone / name, old, new)
    assert any(found in line for line in lock.check(clone)), lock.check(clone)


def test_a_missing_file_is_found(clone):
    (clone / "binder" / "postBuild").unlink()
    assert lock.check(clone) == ["binder/postBuild is missing"]


@pytest.mark.parametrize("name", ["medallion", *lock.CHECKED])
def test_no_address_in_the_files_of_set_up(name):
    assert "://" not in (paths.root() / name).read_text(encoding="utf-8")


def test_binder_runs_what_it_is_given():
    assert os.access(paths.root() / "binder" / "postBuild", os.X_OK)


def test_conda_reads_the_lock_beside_its_own_file():
    for name in ("environment.yml", "binder/environment.yml"):
        file = paths.root() / name
        [reference] = [line for line in file.read_text(encoding="utf-8").splitlines() if "- -r " in line]
        assert (file.parent / reference.split("-r ")[1]).resolve() == paths.root() / "requirements.lock"


def test_what_builds_pyspark_and_the_course_is_locked_with_its_hashes():
    pins = {
        pin.name: pin
        for pin in packages.pins((paths.root() / "requirements.lock").read_text(encoding="utf-8"))
    }
    for builder in ("uv", "setuptools", "hatchling", "editables"):
        assert pins[builder].hashes > 0
        assert pins[builder].requirement.marker is None


def test_a_package_that_is_missing_or_of_another_version_is_named():
    text = "rich==15.0.0 \\\n    --hash=sha256:00\nzipp==4.1.2 ; python_version < '3'\nuv==1\n"
    assert packages.differences({"rich": "15.0.0", "uv": "1"}, text) == []
    assert packages.differences({"rich": "14.0"}, text) == [
        "rich is 14.0, the lock has 15.0.0",
        "uv is missing, the lock has 1",
    ]
