"""The pins of a lock, a requirements file as resolvers write it: hashes on lines of their own, then comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Pin", "pins_of", "unite"]

_HASH = re.compile(r"\s--hash[= ](sha256:[0-9a-f]+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Pin:
    """One pinned requirement of a lock, with its hashes and the comments that say what needs it."""

    requirement: str
    """The requirement alone, e.g. ``plum==2.0 ; sys_platform != 'win32'``."""
    hashes: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The normalised name of the distribution (PEP 503)."""
        match = _NAME.match(self.requirement)
        return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""

    @property
    def version(self) -> str:
        """The version, or the URL for a direct one."""
        name, equals, version = self._parts[0].partition("==")
        return version.strip() if equals and "@" not in name else self._parts[0].partition("@")[2].strip()

    @property
    def marker(self) -> str:
        """Where it is needed; empty for everywhere."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, str]:
        """The requirement and its marker; a URL ends at a blank before the ``;`` (PEP 508)."""
        requirement, _, marker = self.requirement.partition(" ;" if "@" in self.requirement else ";")
        return requirement.strip(), marker.strip()

    @property
    def text(self) -> str:
        lines = [" \\\n    ".join([self.requirement, *(f"--hash={digest}" for digest in self.hashes)]), *self.comments]
        return "\n".join(lines) + "\n"


def pins_of(body: str) -> Iterator[Pin]:
    """Yield the pins in their order; options and comments at the top are passed over."""
    requirement = ""
    hashes: list[str] = []
    comments: list[str] = []
    for line in (*body.splitlines(), "end"):
        if line.startswith((" ", "\t", "#")):
            if line.lstrip().startswith("#"):
                comments += [line] if requirement else []
            else:
                hashes += _HASH.findall(line)
            continue
        if requirement:
            yield Pin(requirement, tuple(hashes), tuple(comments))
        text, _, comment = line.partition(" #")
        requirement = "" if line.startswith("-") else _HASH.sub("", text.rstrip(" \\")).strip()
        hashes, comments = [*_HASH.findall(text)], [f"    # {comment.strip()}"] if comment else []


def unite(pins: Iterable[Pin]) -> str:
    """Return the body of a lock that holds ``pins``."""
    return "".join(pin.text for pin in pins)
