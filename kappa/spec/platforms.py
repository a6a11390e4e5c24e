"""The systems that services run on.

A kappafile names a platform as images do, `linux/amd64`; a lock names it as Python does, `linux_x86_64`.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "PLATFORMS",
    "Platform",
    "System",
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


Platform = Literal["linux/amd64", "linux/arm64", "macos/amd64", "macos/arm64", "windows/amd64"]

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
    systems = (system for system in PLATFORMS.values() if system.name == running_platform())
    return next(systems, System(sys.platform, platform.machine(), platform.system(), os.name, ""))


def system_named(name: str) -> System:
    """Return the system that a lock calls ``name``."""
    if name == running_platform():
        return running_system()
    named = (system for system in PLATFORMS.values() if system.name == name)
    sys_platform, _, machine = name.partition("_")
    return next(named, System(sys_platform, machine, "", "", ""))
