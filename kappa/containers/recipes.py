"""The Dockerfile of a bundle, as a builder gets it: with mounts where it has them, else with what must be copied.

The file in the bundle holds only what every builder knows, so `docker build` takes it as it is. Here its `RUN` lines
get the mounts that make it quicker and let it see secrets; for a builder without mounts, the stage that installs
packages gets the caller's certificates as a file and its indexes as arguments, and the image gets neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["LENT_FOLDER", "with_lent_files", "with_mounts"]

LENT_FOLDER = ".kappa-lent"
"""The folder of a build's context that holds its recipe and what the caller lends."""

_RUN = re.compile(r"RUN\s+", re.IGNORECASE)
_STAGE = re.compile(r"FROM\s+\S+\s+AS\s+packages\s*", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?\s*[\"']?(\w+)")
_PIP_STEP = "install_pip_packages"
_CONTEXT_STEP = "COPY . /layers/bundle"


def with_mounts(dockerfile: str, *, secrets: Sequence[str]) -> str:
    """Let every `RUN` line see the secrets of these names, and pip keep what it downloads."""
    seen = "".join(f"--mount=type=secret,id={name} " for name in secrets)
    cache = "--mount=type=cache,id=kappa-pip,target=/var/cache/kappa "
    lines = []
    for line, begins in _lines(dockerfile):
        match = _RUN.match(line) if begins else None
        mounts = f"{cache if _PIP_STEP in line else ''}{seen}" if match else ""
        lines.append(f"{match[0]}{mounts}{line[match.end() :]}" if match else line)
    return "\n".join(lines)


def with_lent_files(dockerfile: str, *, files: Sequence[str], arguments: Sequence[str]) -> str:
    """Give the stage that installs packages ``files`` of `LENT_FOLDER` as secrets, and build arguments.

    What the image gets is the bundle without that folder.
    """
    instructions = [f"COPY {LENT_FOLDER}/{name} /run/secrets/{name}" for name in files]
    instructions += [f"ARG {name}" for name in arguments]
    lines = []
    for line, begins in _lines(dockerfile):
        lines.append(line)
        if begins and _STAGE.fullmatch(line):
            lines += instructions
        elif begins and line.strip() == _CONTEXT_STEP:
            lines.append(f"RUN rm -rf /layers/bundle/{LENT_FOLDER}")
    return "\n".join(lines)


def _lines(dockerfile: str) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether an instruction may begin on it."""
    continued, terminator = False, ""
    for line in dockerfile.split("\n"):
        if terminator:
            yield line, False
            if line.strip() == terminator:
                terminator = ""
            continue
        is_comment = line.lstrip().startswith("#")
        yield line, not continued and not is_comment
        if not is_comment:
            continued = line.rstrip().endswith("\\")
            terminator = match[1] if (match := _HEREDOC.search(line)) else ""
