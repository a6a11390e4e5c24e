"""How far a builder is, from the lines that it prints."""

from __future__ import annotations

import re

from kappa.log import log

__all__ = ["tell_step"]

_BUILDKIT = re.compile(r"#\d+ \[(?!internal)(?P<place>[^\]]+)\] (?P<what>.+)")
_OTHERS = re.compile(r"(?:\[\d+/\d+\] )?S(?:tep|TEP) (?P<place>[\d/]+) ?: (?P<what>.+)")
_MOUNT = re.compile(r"--mount=\S+ ")


def tell_step(line: str) -> None:
    """Log a line of a builder: its steps for everybody, the rest for those who want to see more."""
    if (match := _BUILDKIT.match(line) or _OTHERS.match(line)) is None:
        log(line, kind="output")
    else:
        log(f"[{match['place']}] {_MOUNT.sub('', match['what'])}", kind="step")
