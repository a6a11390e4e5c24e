"""How far a builder is, from the lines that it prints."""

from __future__ import annotations

import re

from kappa.log import log

__all__ = ["tell_step"]

_BUILDKIT = re.compile(r"#\d+ \[(?!internal)(?P<place>[^\]]+)\] (?P<what>.+)")
_OTHERS = re.compile(r"(?:\[\d+/\d+\] )?S(?:tep|TEP) (?P<place>[\d/]+) ?: (?P<what>.+)")
_WARNING = re.compile(r"(?:#\d+ [\d.]+ )?kappa-init\.sh: warning: (?P<text>.+)")
_MOUNT = re.compile(r"--mount=\S+ ")


def tell_step(line: str) -> None:
    """Log a line of a builder: steps and warnings always, the rest with `--verbose`."""
    if (match := _WARNING.search(line)) is not None:
        log(match["text"][0].upper() + match["text"][1:], kind="warning")
    elif (match := _BUILDKIT.match(line) or _OTHERS.match(line)) is None:
        log(line, kind="output")
    else:
        log(f"[{match['place']}] {_MOUNT.sub('', match['what'])}", kind="step")
