"""The target of a service's pins: a Python version on some systems, and the values of markers there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packaging.markers import Marker

from kappa.spec.platforms import PLATFORMS, System, running_platform, running_python, running_system

__all__ = ["Target", "holds_on", "marker_for"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where packages must install: one Python version on one or several systems."""

    python: str
    systems: tuple[System, ...]

    @classmethod
    def of(cls, python: str, platforms: Iterable[str]) -> Target:
        """Return the target that a kappafile names; without a platform, the system of this interpreter."""
        systems = {PLATFORMS[name] for name in platforms} or {running_system()}
        return cls(python, tuple(sorted(systems, key=lambda system: system.name)))

    @property
    def platform(self) -> str:
        """As a lock's first line has it: the names of the systems, joined by commas."""
        return ",".join(system.name for system in self.systems)

    @property
    def is_running(self) -> bool:
        """Whether it is this interpreter on this system, and nothing else."""
        return (self.python, self.platform) == (running_python(), running_platform())


def marker_for(systems: Sequence[System]) -> str:
    """Return the marker that holds on these systems and on no other."""
    if len(systems) == 1:
        return systems[0].marker
    return " or ".join(f"({system.marker})" for system in systems)


def holds_on(marker: str, python: str, system: System) -> bool | None:
    """Return whether a marker holds for every release of a Python version on a system, or for none; else ``None``."""
    parsed = Marker(marker)
    held = {parsed.evaluate(_environment(python, micro, system)) for micro in (0, 99)}
    return held.pop() if len(held) == 1 else None


def _environment(python: str, micro: int, system: System) -> dict[str, str]:
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.{micro}",
        "os_name": system.os_name,
        "platform_machine": system.platform_machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": system.platform_system,
        "platform_version": "",
        "python_full_version": f"{python}.{micro}",
        "python_version": python,
        "sys_platform": system.sys_platform,
        "extra": "",
    }
