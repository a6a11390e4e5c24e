"""Pins of the installed versions: for saving without an index.

The pins have no hashes and fit this interpreter alone. A bundle with them says `unlocked` in its manifest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from json import loads

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from kappa.build.packages.lock import UNHASHED, LockInputs, Resolution
from kappa.build.packages.requirements import OWN_NAMES, check_requirement
from kappa.errors import ResolutionError
from kappa.log import log
from kappa.spec.pins import Pin, unite
from kappa.spec.platforms import running_platform, running_python

__all__ = ["InstalledResolver"]

_SERVICE = "the service"


class InstalledResolver:
    """Pins what this interpreter has installed, without the network."""

    def resolve(self, inputs: LockInputs, *, environ: Mapping[str, str], preferred: str = "") -> Resolution:  # noqa: ARG002
        """Pin the requirements and everything they need; raises `ResolutionError` that lists all that is missing."""
        if not inputs.target.is_running:
            raise ResolutionError(
                f"What is installed here fits Python {running_python()} on {running_platform()}, and not Python "
                f"{inputs.python} on {inputs.platform}."
            )
        closure = _Closure()
        closure.follow(inputs.requirements)
        if closure.problems:
            listed = "\n".join(f"- {problem}" for problem in closure.problems)
            raise ResolutionError(f"What is installed here is not what the service needs:\n{listed}")
        return Resolution(body=unite(closure.pins()), resolver=UNHASHED)


class _Closure:
    """Distributions that are needed, with what needs them."""

    def __init__(self) -> None:
        self._diagnostics: dict[str, metadata.Distribution] = {}
        self._needed_by: dict[str, list[str]] = {}
        self.problems: list[str] = []

    def follow(self, requirements: Iterable[str]) -> None:
        waiting = deque((Requirement(text.partition(" --hash=")[0]), "", _SERVICE) for text in requirements)
        seen: set[tuple[str, str]] = set()
        while waiting:
            requirement, extra, needed_by = waiting.popleft()
            name = canonicalize_name(requirement.name)
            is_needed = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
            if name in OWN_NAMES or not is_needed:
                continue
            if (distribution := self._installed(requirement, needed_by)) is None:
                continue
            self._needed_by.setdefault(name, []).append(needed_by)
            self._check_extras(requirement, distribution)
            for wanted in ("", *sorted(requirement.extras)):
                if (name, wanted) not in seen:
                    seen.add((name, wanted))
                    waiting.extend((Requirement(text), wanted, name) for text in distribution.requires or ())

    def _check_extras(self, requirement: Requirement, distribution: metadata.Distribution) -> None:
        extras = {canonicalize_name(extra) for extra in distribution.metadata.get_all("Provides-Extra") or ()}
        for extra in sorted(requirement.extras):
            if canonicalize_name(extra) not in extras:
                log(f"{requirement.name} {distribution.version} has no extra `{extra}`.", kind="warning")

    def _installed(self, requirement: Requirement, needed_by: str) -> metadata.Distribution | None:
        name = canonicalize_name(requirement.name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            subject = f"`{needed_by}`" if needed_by != _SERVICE else needed_by
            self.problems.append(f"`{requirement.name}`, which {subject} needs, is not installed.")
            return None
        if not requirement.specifier.contains(distribution.version, prereleases=True):
            subject = f"`{needed_by}`" if needed_by != _SERVICE else "The service"
            self.problems.append(f"{subject} needs `{requirement}`, and {distribution.version} is installed.")
            return None
        self._diagnostics[name] = distribution
        return distribution

    def pins(self) -> Iterator[Pin]:
        for name, distribution in sorted(self._diagnostics.items()):
            reasons = ", ".join(dict.fromkeys(self._needed_by[name]))
            yield Pin(self._pin(name, distribution), comments=(f"    # via {reasons}",))

    def _pin(self, name: str, distribution: metadata.Distribution) -> str:
        """Pin to the public version, or to the URL of an archive that it was installed from (PEP 610)."""
        origin = loads(distribution.read_text("direct_url.json") or "{}")
        url = origin.get("url", "")
        if "archive_info" in origin and check_requirement(f"{name} @ {url}") is None:
            return f"{name} @ {url}"
        return f"{name}=={Version(distribution.version).public}"
