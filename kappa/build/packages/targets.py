"""The systems that a service's packages are pinned for: a Python version and platforms, and what markers say there.

A kappafile names a platform as images do, `linux/amd64`; a lock names it as Python does, `linux_x86_64`.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from packaging.markers import Marker

__all__ = [
    "PLATFORMS",
    "System",
    "Target",
    "holds_on",
    "marker_for",
    "running_platform",
    "running_python",
    "running_system",
    "system_named",
]


@dataclass(frozen=True, slots=True)
class System:
    """One operating system on one kind of processor, in the words of markers (PEP 508)."""

    sys_platform: str
    platform_machine: str
    platform_system: str
    os_name: str
    triple: str
    """As uv and Rust call it."""

    @property
    def name(self) -> str:
        """As a lock calls it, e.g. ``linux_x86_64``."""
        return f"{self.sys_platform}_{self.platform_machine}".lower()

    @property
    def marker(self) -> str:
        """The marker that holds here and on no other of `PLATFORMS`."""
        return f"sys_platform == '{self.sys_platform}' and platform_machine == '{self.platform_machine}'"


PLATFORMS: Mapping[str, System] = {
    "linux/amd64": System("linux", "x86_64", "Linux", "posix", "x86_64-unknown-linux-gnu"),
    "linux/arm64": System("linux", "aarch64", "Linux", "posix", "aarch64-unknown-linux-gnu"),
    "macos/amd64": System("darwin", "x86_64", "Darwin", "posix", "x86_64-apple-darwin"),
    "macos/arm64": System("darwin", "arm64", "Darwin", "posix", "aarch64-apple-darwin"),
    "windows/amd64": System("win32", "AMD64", "Windows", "nt", "x86_64-pc-windows-msvc"),
}
"""The systems that `[bundle] platforms` may name."""


def running_python() -> str:
    """Return the version of this interpreter, as kappafiles write it."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def running_platform() -> str:
    """Return the system and processor of this interpreter, e.g. ``linux_x86_64``."""
    return f"{sys.platform}_{platform.machine()}".lower()


def running_system() -> System:
    """Describe the system of this interpreter, also one that `PLATFORMS` does not have."""
    known = (system for system in PLATFORMS.values() if system.name == running_platform())
    return next(known, System(sys.platform, platform.machine(), platform.system(), os.name, ""))


def system_named(name: str) -> System:
    """Return the system that a lock calls ``name``."""
    if name == running_platform():
        return running_system()
    named = (system for system in PLATFORMS.values() if system.name == name)
    sys_platform, _, machine = name.partition("_")
    return next(named, System(sys_platform, machine, "", "", ""))


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
