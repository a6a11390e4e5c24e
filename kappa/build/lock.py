"""Locks: every package of a service, pinned with its hashes, reused as long as what was asked for is the same.

A lock is a requirements file whose first line says what it was made from::

    # kappa-lock: 1 inputs=sha256:… body=sha256:… python=3.11 platform=linux_x86_64 resolver=pip-compile 7.6

*Inputs* are everything that was asked for: requirements, constraints, options, the target and the name of the
resolver. The *body* is all lines after the first; one that does not fit its digest was edited by hand.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from packaging.utils import canonicalize_name

from kappa._files import sha256_of_bytes, write_atomically
from kappa.build.requirements import OWN_NAMES
from kappa.errors import ResolutionError
from kappa.log import log
from kappa.plugins import RESOLVERS
from kappa.settings import home_directory
from kappa.spec.manifest import canonical_json

__all__ = [
    "LOCK_NAME",
    "Lock",
    "LockInputs",
    "Resolution",
    "Resolver",
    "lock_packages",
    "running_platform",
    "running_python",
]

LOCK_NAME = "kappafile.lock"
"""The committed copy, beside the kappafile."""

_HEADER = re.compile(
    r"# kappa-lock: 1 inputs=(?P<inputs>sha256:[0-9a-f]{64}) body=(?P<body>sha256:[0-9a-f]{64})"
    r" python=(?P<python>\S+) platform=(?P<platform>\S+) resolver=(?P<resolver>.+)"
)
_PIN = re.compile(r"^(?P<requirement>[A-Za-z0-9][^\\]*?)\s*(\\|\s#.*)?$")


def running_python() -> str:
    """Return the version of this interpreter, as kappafiles write it."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def running_platform() -> str:
    """Return the system and processor of this interpreter, e.g. ``linux_x86_64``."""
    return f"{sys.platform}_{platform.machine()}".lower()


@dataclass(frozen=True, slots=True)
class LockInputs:
    """What a lock is made from; equal inputs may share one lock."""

    requirements: tuple[str, ...]
    """Requirements (PEP 508), with ``--hash`` where the user gave one."""
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Where packages come from, e.g. ``--index-url https://…``: lines that the lock repeats."""
    python: str = ""
    platform: str = ""
    resolver: str = "pip-compile"

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


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a resolver found: pinned requirement lines with hashes, and its own name with its version."""

    body: str
    resolver: str


class Resolver(Protocol):
    """Pins everything that a set of requirements needs; registered in `kappa.plugins.RESOLVERS`."""

    def resolve(self, inputs: LockInputs, *, environ: Mapping[str, str]) -> Resolution:
        """Resolve for the interpreter and system of ``inputs``; raises `ResolutionError`.

        Settings of indexes, credentials, certificates and proxies come from ``environ``; none may stand in the body.
        """


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock as read or made; `text` is the file."""

    inputs: str
    """The digest of what it was made from."""
    python: str
    platform: str
    resolver: str
    """What made it, with its version, e.g. ``pip-compile 7.6``."""
    body: str
    stated_body_digest: str = ""
    """What the file says of its body; empty for a lock that was just made."""

    @property
    def body_digest(self) -> str:
        return f"sha256:{sha256_of_bytes(self.body.encode())}"

    @property
    def is_edited(self) -> bool:
        """Whether somebody changed the body after it was made."""
        return bool(self.stated_body_digest) and self.stated_body_digest != self.body_digest

    @property
    def text(self) -> str:
        return (
            f"# kappa-lock: 1 inputs={self.inputs} body={self.body_digest} python={self.python} "
            f"platform={self.platform} resolver={self.resolver}\n{self.body}"
        )

    @property
    def pins(self) -> tuple[str, ...]:
        """The pinned requirements without hashes, e.g. ``falcon==4.4.0``, in the order of the file."""
        matches = (_PIN.match(line) for line in self.body.splitlines())
        return tuple(match["requirement"].partition(" --hash")[0].strip() for match in matches if match)

    @classmethod
    def parse(cls, text: str) -> Lock | None:
        """Read a lock; ``None`` for a file that Kappa did not make."""
        header, _, body = text.partition("\n")
        if (match := _HEADER.fullmatch(header.rstrip("\r"))) is None:
            return None
        return cls(
            inputs=match["inputs"],
            python=match["python"],
            platform=match["platform"],
            resolver=match["resolver"],
            body=body.replace("\r\n", "\n"),
            stated_body_digest=match["body"],
        )


def lock_packages(inputs: LockInputs, *, committed: Path | None, environ: Mapping[str, str]) -> Lock:
    """Return the lock of ``inputs``: the committed one or the cached one where they fit, else a new one, then cached.

    The cache is ``$KAPPA_HOME/locks/<inputs digest>``. Raises `ResolutionError`.
    """
    if committed is not None and (lock := _read_lock(committed)) is not None:
        if lock.inputs == inputs.digest:
            if lock.is_edited:
                log(f"`{committed.name}` was edited by hand; it is used as it is.", kind="warning")
            log(f"Packages are those of `{committed.name}`")
            return lock
        log(f"`{committed.name}` was made for other requirements and is not used.", kind="warning")
    cached = home_directory(environ) / "locks" / inputs.digest.replace(":", "-")
    if (lock := _read_lock(cached)) is not None and lock.inputs == inputs.digest and not lock.is_edited:
        log("Packages are those of the last build with the same requirements")
        return lock
    log(f"Resolving {len(inputs.requirements)} requirements with {inputs.resolver}", kind="step")
    resolver: Resolver = RESOLVERS.load(inputs.resolver)()
    resolution = resolver.resolve(inputs, environ=environ)
    options = "".join(f"{option}\n" for option in inputs.options)
    lock = Lock(inputs.digest, inputs.python, inputs.platform, resolution.resolver, options + resolution.body)
    _check(lock)
    try:
        write_atomically(cached, lock.text.encode())
    except OSError as exc:  # a build does not fail for a cache
        log(f"The lock could not be kept in `{cached.parent}`: {exc.strerror}.", kind="warning")
    return lock


def _read_lock(path: Path) -> Lock | None:
    try:
        return Lock.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def _check(lock: Lock) -> None:
    """Refuse what an image could not install, or what would bring a foreign Kappa."""
    for pin in lock.pins:
        name = canonicalize_name(re.split(r"[\s=@\[;<>!~]", pin, maxsplit=1)[0])
        if name in OWN_NAMES:
            raise ResolutionError(
                f"A package needs `{name}`, which a bundle never takes from an index because it carries Kappa itself. "
                "Leave out the package that needs it; `--verbose` shows which one."
            )
        if "file:" in pin:
            raise ResolutionError(f"`{pin}` is a file of this machine, which nobody else has: publish it to an index.")
