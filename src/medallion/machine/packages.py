"""The packages of the lock beside those that are installed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Pin:
    """One version in `requirements.lock`, where it applies, and how many hashes it has."""

    requirement: Requirement
    hashes: int

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        return next(iter(self.requirement.specifier)).version

    def applies(self, environment: dict[str, str]) -> bool:
        return self.requirement.marker is None or self.requirement.marker.evaluate(environment)


def pins(lock: str) -> Iterator[Pin]:
    """Yield the pins in the text of a requirements lock."""
    for block in lock.replace("\\\n", " ").splitlines():
        if block and not block.startswith((" ", "#")):
            requirement, *hashes = block.split("--hash=")
            yield Pin(Requirement(requirement), len(hashes))


def differences(installed: Mapping[str, str], lock: str) -> list[str]:
    """Return what the lock wants on this machine and `installed` (name: version) has not, as sentences."""
    here = {name: str(value) for name, value in default_environment().items()}
    wrong = []
    for pin in pins(lock):
        has = installed.get(pin.name)
        if pin.applies(here) and has != pin.version:
            wrong.append(f"{pin.name} is {has or 'missing'}, the lock has {pin.version}")
    return wrong
