"""The files that follow from `pyproject.toml`, and whether they still agree with it.

| file | written by | who reads it |
|---|---|---|
| `requirements.lock`, for Linux and macOS | `medallion lock` | `./medallion`, pip inside conda |
| `jars.lock` | `medallion lock --jars` | `medallion.machine.jars` |
| `orchestrator.lock`, likewise | `medallion lock --orchestrator` | `medallion.machine.orchestrator` |
| `environment.yml` | hand | conda |
| `binder/*` | hand | repo2docker, which then looks at no other file |
"""

import functools
import hashlib
import itertools
import json
import posixpath
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rich.console import Console

from medallion import files, paths
from medallion.errors import MedallionError
from medallion.machine import jars, java, maven, packages

PLATFORMS = ("linux", "darwin")
CONDA = ("environment.yml", "binder/environment.yml")
CHECKED = ("requirements.lock", "orchestrator.lock", "jars.lock", *CONDA, "binder/postBuild")
# In hash mode pip refuses a folder, so the course itself is installed in a step of its own.
INSTALL = "pip install --no-deps --no-build-isolation --editable ."


def write(jars: bool = False, orchestrator: bool = False) -> None:
    """Write `requirements.lock` anew, or `jars.lock` or `orchestrator.lock` instead.

    Versions already in the lock stay as they are where pyproject.toml still allows them.
    Raises MedallionError when a version or a jar cannot be resolved.
    """
    if jars:
        _write_jars()
    elif orchestrator:
        packages = "\n".join(_project()["tool"]["medallion"]["orchestrator"]["packages"])
        _compile("orchestrator.lock", "medallion lock --orchestrator", "-", given=packages)
    else:
        _compile("requirements.lock", "medallion lock", "pyproject.toml", "--extra", "dev")


def check(root: Path | None = None) -> list[str]:
    """Return every disagreement between pyproject.toml and the files beside it; [] when all agree.

    Offline and in well under a second: versions are compared, nothing is resolved.
    """
    root = paths.root() if root is None else root
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    if missing := [f"{name} is missing" for name in CHECKED if not (root / name).exists()]:
        return missing
    texts = {name: (root / name).read_text(encoding="utf-8") for name in CHECKED}
    declared = {
        "requirements.lock": [
            *project["project"]["dependencies"],
            *project["project"]["optional-dependencies"]["dev"],
        ],
        "orchestrator.lock": project["tool"]["medallion"]["orchestrator"]["packages"],
    }
    found = [
        f"{name}: {trouble}"
        for name, requirements in declared.items()
        for trouble in _check_pins(requirements, list(packages.pins(texts[name])))
    ]
    found += [f"jars.lock: {trouble}" for trouble in _check_jars(project, texts["jars.lock"])]
    found += [f"{name}: {trouble}" for name in CONDA for trouble in _check_conda(name, texts[name])]
    found += [f"{name} names an address" for name, text in texts.items() if "://" in text]
    if len({str(yaml.safe_load(texts[name])["dependencies"][:-1]) for name in CONDA}) > 1:
        found.append("binder/environment.yml has other packages than environment.yml")
    for name in ("environment.yml", "binder/postBuild"):
        if INSTALL not in texts[name]:
            found.append(f"{name} does not say `{INSTALL}`")
    allowed = SpecifierSet(project["project"]["requires-python"])
    outside = [python for python in packages.PYTHONS if not allowed.contains(python)]
    return found + [f"Python {python} is outside requires-python of pyproject.toml" for python in outside]


def _check_pins(declared: list[str], locked: list[packages.Pin]) -> Iterator[str]:
    for pin in locked:
        if pin.hashes == 0:
            yield f"{pin.name} has no hash"
    for environment in _environments():
        where = f"on {environment['sys_platform']} with Python {environment['python_version']}"
        versions: dict[str, list[str]] = {}
        for pin in locked:
            if pin.applies(environment):
                versions.setdefault(pin.name, []).append(pin.version)
        for name, several in versions.items():
            if len(several) > 1:
                yield f"{name} has {len(several)} versions {where}"
        for requirement in map(Requirement, declared):
            found = versions.get(canonicalize_name(requirement.name))
            if not found:
                yield f"{requirement.name} is in pyproject.toml, but not in the lock {where}"
            elif not requirement.specifier.contains(found[0]):
                yield f"{requirement.name} is {found[0]}, pyproject.toml says {requirement.specifier}"


def _environments() -> Iterator[dict[str, str]]:
    """Yield the marker environments that the lock is for."""
    here = {name: str(value) for name, value in default_environment().items()}
    for platform, python in itertools.product(PLATFORMS, packages.PYTHONS):
        system = {"sys_platform": platform, "platform_system": platform.capitalize(), "os_name": "posix"}
        yield here | system | {"python_version": python, "python_full_version": f"{python}.0"}


def _check_conda(name: str, text: str) -> Iterator[str]:
    *conda, by_pip = yaml.safe_load(text)["dependencies"]
    for package, versions in (("python", packages.PYTHONS), ("openjdk", java.SUPPORTED)):
        fitting = [f"{package}={version}" for version in versions]
        if not set(fitting) & set(conda):
            yield f"it has none of {', '.join(fitting)}"
    [reference] = by_pip["pip"]  # relative to the file itself
    if posixpath.normpath(f"{name}/../{reference.removeprefix('-r ')}") != "requirements.lock":
        yield f"{reference} is not the clone's requirements.lock"


def _check_jars(project: dict[str, Any], lock: str) -> Iterator[str]:
    computed = ("sha256", "bytes")
    locked = [{k: v for k, v in jar.items() if k not in computed} for jar in json.loads(lock)["jars"]]
    wanted = _declared_jars(project)
    if locked != wanted:
        yield "its jars are not those of pyproject.toml"
    requirements = map(Requirement, project["project"]["dependencies"])
    python_side = next(one for one in requirements if one.name == "delta-spark")
    for coordinates in (jar["coordinates"] for jar in wanted):
        group, _, version = coordinates.split(":")
        if group == "io.delta" and not python_side.specifier.contains(version):
            yield f"{coordinates} does not go with {python_side}"


def _declared_jars(project: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of `jars.lock`, without what is computed from the jars themselves."""
    declared = project["tool"]["medallion"]
    return [
        *({"coordinates": jar} for jar in declared["jars"]),
        *declared["cuts"],
        *({"coordinates": jar, "group": group} for group, only in declared["only"].items() for jar in only),
    ]


def _project() -> dict[str, Any]:
    return tomllib.loads((paths.root() / "pyproject.toml").read_text(encoding="utf-8"))


def _compile(lock: str, by: str, *source: str, given: str = "") -> None:
    """Write a lock of packages from a source of requirements, "-" being what is `given`."""
    from uv import find_uv_bin

    command = [
        *(find_uv_bin(), "--no-config", "pip", "compile", *source),
        *("--universal", "--python-version", packages.PYTHONS[0], "--generate-hashes"),
        *("--no-emit-index-url", "--custom-compile-command", by, "--quiet"),
        *("--output-file", lock),  # whose versions it keeps, and which it replaces in one step
    ]
    done = subprocess.run(command, cwd=paths.root(), input=given.encode(), check=False)
    if done.returncode != 0:
        raise MedallionError(
            "pyproject.toml could not be resolved (uv says why above). Fix the requirement it names, "
            f"or check the network; {lock} is as it was."
        )


def _write_jars() -> None:
    project = _project()
    with Console(stderr=True).status("Fetching the jars") as status:
        fetch = functools.partial(maven.fetch, tell=status.update)
        entries = [_entry(jar, fetch) for jar in _declared_jars(project)]
    about = "Generated by `medallion lock --jars` from pyproject.toml; do not edit."
    files.write_text(jars.lock_file(), json.dumps({"about": about, "jars": entries}, indent=2) + "\n")


def _entry(jar: dict[str, Any], fetch: Callable[[str], bytes]) -> dict[str, Any]:
    """Return the whole line of `jars.lock` for a declared jar, from it or from what may stand in for it."""
    made = set()
    for coordinates in filter(None, (jar["coordinates"], jar.get("stand_in"))):
        try:
            content = fetch(coordinates)
        except maven.NotServed as absent:
            print(absent.why)
            continue
        made.add(jars.cut(content, jar["keep"]) if "keep" in jar else content)
    if len(made) != 1:
        trouble = "holds other members than what stands in for it" if made else "is not served here"
        raise MedallionError(f"{jar['coordinates']} {trouble}. Name another under [tool.medallion].")
    [content] = made
    return {**jar, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
