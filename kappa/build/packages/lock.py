"""Locks: every package of a service, pinned with its hashes, and what they were made from.

A lock is a requirements file whose first lines say what it was made from::

    # kappa-lock: 2 inputs=sha256:… body=sha256:… python=3.11 platform=linux_x86_64 resolver=pip-compile 7.6
    # kappa-input: import yaml -> pyyaml==6.0.2

`kappa lock --pin-base-image` adds ` base-image=python:3.11-slim@sha256:…` to the first one.
*Inputs* are everything that was asked for: requirements, constraints, options, the target and the name of the
resolver; `kappa.build.packages.lock_record` describes the lines that record them. The *body* is all lines after the
first; one that does not fit its digest was edited by hand. When a lock is reused, and when another one is made, is
decided in `kappa.build.packages.locking`. Format 1 has no record.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from kappa._files import sha256_of_bytes
from kappa.build.packages.lock_record import LOCK_NAME, InputLine
from kappa.build.packages.requirements import OWN_NAMES
from kappa.build.packages.targets import Target
from kappa.errors import ResolutionError
from kappa.secret_urls import masked, secret_in
from kappa.spec.manifest import canonical_json
from kappa.spec.pins import Pin, pins_of
from kappa.spec.platforms import system_named

__all__ = [
    "FORMAT",
    "LOCK_NAME",
    "UNHASHED",
    "Lock",
    "LockInputs",
    "Origin",
    "Resolution",
    "Resolver",
    "check_lock",
]

FORMAT = 2
"""The format that is written; 1, which has no record, is read."""
UNHASHED = "installed"
"""The resolver whose pins have no hashes: its pins hold on this machine alone."""

Origin = Literal["committed", "cached", "resolved"]
"""Where a lock comes from: the file beside the kappafile, `$KAPPA_HOME/locks`, or a resolver just now."""

_RECORD = "# kappa-input: "
_HEADER = re.compile(
    r"# kappa-lock: (?P<format>[12]) inputs=(?P<inputs>sha256:[0-9a-f]{64}) body=(?P<body>sha256:[0-9a-f]{64})"
    r" python=(?P<python>\S+) platform=(?P<platform>\S+) resolver=(?P<resolver>.+?)"
    r"(?: base-image=(?P<base_image>\S+@sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True)
class LockInputs:
    """The inputs of a lock; equal inputs may share one lock."""

    requirements: tuple[str, ...]
    """Requirements (PEP 508), with ``--hash`` where the user gave one."""
    constraints: tuple[str, ...] = ()
    """Versions that hold where a distribution is needed at all, with ``--hash`` where the user's own lock has one."""
    options: tuple[str, ...] = ()
    """Where packages come from, e.g. ``--index-url https://…``: lines that the lock repeats."""
    python: str = ""
    platform: str = ""
    resolver: str = "pip-compile"
    input_lines: tuple[InputLine, ...] = field(default=(), compare=False)
    """The origins of the requirements, as a lock records them; no part of the digest."""

    @property
    def digest(self) -> str:
        tree = {
            "requirements": sorted(set(self.requirements)),
            "constraints": sorted(set(self.constraints)),
            "options": list(self.options),
            "python": self.python,
            "platform": self.platform,
            "resolver": self.resolver,
        }
        return f"sha256:{sha256_of_bytes(canonical_json(tree))}"

    @property
    def target(self) -> Target:
        return Target(self.python, tuple(system_named(name) for name in self.platform.split(",")))


@dataclass(frozen=True, slots=True)
class Resolution:
    """The result of a resolver: pinned requirement lines with hashes, and its own name with its version."""

    body: str
    resolver: str


class Resolver(Protocol):
    """Pins everything that a set of requirements needs; registered in `kappa.plugins.RESOLVERS`."""

    def resolve(self, inputs: LockInputs, *, environ: Mapping[str, str], preferred: str = "") -> Resolution:
        """Resolve for the target of ``inputs``; raises `ResolutionError`.

        ``preferred`` holds the pins of an earlier lock, to be kept where they still fit. Settings of indexes,
        credentials, certificates and proxies come from ``environ``; none may stand in the body.
        """


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock as read or made; `text` is the file."""

    inputs: str
    """The digest of what it was made from."""
    python: str
    platform: str
    resolver: str
    """The resolver, with its version, e.g. ``pip-compile 7.6``."""
    body: str
    stated_body_digest: str = ""
    """The digest of its body in the file; empty for a new lock."""
    origin: Origin = field(default="resolved", compare=False)
    base_image: str = ""
    """The image that bundles start from with its digest, ``name:tag@sha256:…``; empty unless it was asked for."""
    input_lines: tuple[InputLine, ...] = ()
    """The recorded inputs, with their origins."""
    format: int = FORMAT

    def pinned_image(self, name: str) -> str:
        """Return an image with its digest if it is the one that this lock pins."""
        return self.base_image if self.base_image.partition("@")[0] == name else name

    @property
    def body_digest(self) -> str:
        return f"sha256:{sha256_of_bytes((self._record + self.body).encode())}"

    @property
    def _record(self) -> str:
        return "".join(f"{line.line}\n" for line in sorted(set(self.input_lines)))

    @property
    def target(self) -> Target:
        """The Python version and the systems that it pins for."""
        return Target(self.python, tuple(system_named(name) for name in self.platform.split(",")))

    @property
    def options(self) -> tuple[str, ...]:
        """Where its packages come from, as its own lines say it."""
        return tuple(itertools.takewhile(lambda line: line.startswith("-"), self.body.splitlines()))

    @property
    def is_edited(self) -> bool:
        """Whether the body was edited after it was made."""
        return bool(self.stated_body_digest) and self.stated_body_digest != self.body_digest

    @property
    def is_unlocked(self) -> bool:
        """Whether its pins have no hashes, so that it promises nothing to another machine."""
        return self.resolver.split(" ")[0] == UNHASHED

    @property
    def text(self) -> str:
        image = f" base-image={self.base_image}" if self.base_image else ""
        return (
            f"# kappa-lock: {self.format} inputs={self.inputs} body={self.body_digest} python={self.python} "
            f"platform={self.platform} resolver={self.resolver}{image}\n{self._record}{self.body}"
        )

    @property
    def pins(self) -> tuple[Pin, ...]:
        """The pins, in the order of the file."""
        return tuple(pins_of(self.body))

    @property
    def requirements(self) -> tuple[str, ...]:
        """The pinned requirements without hashes, e.g. ``falcon==4.4.0``, in the order of the file."""
        return tuple(pin.requirement for pin in self.pins)

    @property
    def versions(self) -> dict[str, str]:
        """The version of each distribution by its normalised name, where there is one for all of the target."""
        by_name: dict[str, set[str]] = {}
        for pin in self.pins:
            by_name.setdefault(pin.name, set()).add(pin.version)
        return {name: versions.pop() for name, versions in by_name.items() if len(versions) == 1}

    @classmethod
    def parse(cls, text: str, *, origin: Origin = "committed") -> Lock | None:
        """Read a lock; ``None`` for a file that Kappa did not make."""
        header, _, body = text.replace("\r\n", "\n").partition("\n")
        if (match := _HEADER.fullmatch(header)) is None:
            return None
        lines = list(itertools.takewhile(lambda line: line.startswith(_RECORD), body.splitlines(keepends=True)))
        input_lines = [InputLine.parse(line.rstrip("\n")) for line in lines]
        return cls(
            inputs=match["inputs"],
            python=match["python"],
            platform=match["platform"],
            resolver=match["resolver"],
            body=body[sum(map(len, lines)) :],
            stated_body_digest=match["body"],
            origin=origin,
            base_image=match["base_image"] or "",
            input_lines=tuple(line for line in input_lines if line is not None),
            format=int(match["format"]),
        )


def check_lock(lock: Lock) -> None:
    """Refuse what an image could not install, or what would bring a foreign Kappa; raises `ResolutionError`."""
    for pin in lock.pins:
        if pin.name in OWN_NAMES:
            raise ResolutionError(
                f"A package needs `{pin.name}`, which a bundle never takes from an index because it carries Kappa "
                "itself. Leave out the package that needs it; `--verbose` shows which one."
            )
        if "file:" in pin.requirement:
            message = f"`{pin.requirement}` is a file that only this machine has: publish it to an index."
            raise ResolutionError(message)
    for line in lock.body.splitlines():
        if secret := secret_in(line):
            message = f"The line `{masked(line)}` has {secret} in its URL, which a bundle would publish."
            raise ResolutionError(f"{message} Leave out the package that needs it.")
