"""What a lock was made from, line by line: each requirement as it was asked for, and as a resolver was asked for it.

The lines follow the first one of a lock::

    # kappa-input: user pandas>=2
    # kappa-input: plugin scikit-learn -> scikit-learn==1.9.0
    # kappa-input: model numpy -> numpy==2.4.6
    # kappa-input: import yaml -> pyyaml==6.0.2
    # kappa-input: import cv2 -> user opencv-python-headless
    # kappa-input: import orjson -> none
    # kappa-input: kappa falcon>=4.2

What a plugin, a model or an import asks for is the same on every machine; the answer depends on what is installed where
a lock is made, so a lock keeps it, and other machines take it as it is. ``user NAME`` says that a requirement of the
user's answers, ``none`` that an optional import was not installed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from packaging.requirements import InvalidRequirement

from kappa.build.packages.requirements import name_of

__all__ = [
    "LOCK_NAME",
    "NOTHING",
    "NO_RECORD",
    "Asker",
    "Brought",
    "InputLine",
    "LockRecord",
    "read_record",
    "say_difference",
]

Asker = Literal["user", "plugin", "model", "import", "kappa"]
"""Who asks for a requirement: the user's lists and files, a plugin, a model's file, the code, Kappa at run time."""

LOCK_NAME = "kappafile.lock"
"""The committed copy, beside the kappafile."""
NOTHING = "none"
"""The answer to an optional import that is not installed."""

_LINE = re.compile(rf"# kappa-input: (?P<asker>{'|'.join(get_args(Asker))}) (?P<asked>.+?)(?: -> (?P<answer>.+))?")


@dataclass(frozen=True, slots=True, order=True)
class InputLine:
    """One line of a record."""

    asker: Asker
    subject: str
    """A requirement, or for a model and an import the module that they name."""
    answer: str
    """The requirement that a resolver was asked for, ``user NAME``, or ``none``."""
    why: str = field(default="", compare=False)
    """The reason in words, of one that was planned just now."""

    @property
    def line(self) -> str:
        answer = f" -> {self.answer}" if self.answer != self.subject else ""
        return f"# kappa-input: {self.asker} {self.subject}{answer}"

    @property
    def requirement(self) -> str | None:
        """The requirement for a resolver; ``None`` if there was none."""
        return None if self.answer == NOTHING or self.users else self.answer

    @property
    def users(self) -> str:
        """The distribution of the user's that answers; empty if none does."""
        return self.answer.removeprefix("user ") if self.answer.startswith("user ") else ""

    @property
    def distribution(self) -> str:
        """The normalised name of the distribution that answers; empty if none does."""
        if self.requirement is None:
            return self.users
        try:
            return name_of(self.requirement.partition(" --hash=")[0])
        except InvalidRequirement:  # edited by hand
            return ""

    @classmethod
    def parse(cls, line: str) -> InputLine | None:
        """Read a line of a record; ``None`` for one that no Kappa writes."""
        if (match := _LINE.fullmatch(line)) is None:
            return None
        asker: Asker = match["asker"]  # type: ignore[assignment]  # the pattern has no others
        return cls(asker, match["asked"], match["answer"] or match["asked"])


@dataclass(frozen=True, slots=True)
class Brought:
    """A module of others that code or a model names, and the distribution that brings it."""

    module: str
    """The package around it that one distribution brings."""
    distribution: str
    """Empty for an optional module that is not installed."""
    origin: str
    """Where it is named first, e.g. ``handlers.py:3``."""


class LockRecord:
    """The answers of an earlier lock, as far as they may be taken over."""

    def __init__(
        self, lines: Iterable[InputLine] = (), *, named: Collection[str] = (), without: Collection[str] = ()
    ) -> None:
        """Take the lines of a lock, but for those that are answered by what the user names no more, or by ``without``.

        Both are normalised names of distributions.
        """
        kept = (line for line in lines if not line.users or line.users in named)
        self._lines = [line for line in kept if line.distribution not in without]

    @cached_property
    def _answers(self) -> Mapping[tuple[Asker, str], InputLine]:
        return {(line.asker, line.subject): line for line in self._lines}

    @cached_property
    def _inferred(self) -> Mapping[str, str]:
        lines = (line for line in self._lines if line.asker in ("plugin", "model", "import"))
        return {line.distribution: line.answer for line in lines if line.requirement is not None}

    def answer(self, asker: Asker, subject: str) -> InputLine | None:
        """Return the recorded line of an asker and its subject; ``None`` if there is none."""
        return self._answers.get((asker, subject))

    def module(self, asker: Asker, module: str, names: Sequence[str] = ()) -> InputLine | None:
        """Return what was recorded of a module, or of the package around it; ``names`` are taken from it."""
        for dotted in (*(f"{module}.{name}" for name in names), module):
            parts = dotted.split(".")
            for depth in range(len(parts), 0, -1):
                if (recorded := self.answer(asker, ".".join(parts[:depth]))) is not None:
                    return recorded
        return None

    def requirement_of(self, name: str) -> str | None:
        """Return the inferred requirement of a distribution, by its normalised name, whatever its origin."""
        return self._inferred.get(name)


NO_RECORD = LockRecord()


def read_record(lock: Path, *, named: Collection[str] = ()) -> LockRecord:
    """Read the record of a lock as far as what the user still names; of a file that is none, an empty one."""
    try:
        lines = lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else []
    except (OSError, UnicodeDecodeError):
        return NO_RECORD
    parsed = (InputLine.parse(line) for line in lines if line.startswith("# kappa-input: "))
    return LockRecord((line for line in parsed if line is not None), named=named)


def say_difference(planned: Sequence[InputLine], recorded: Sequence[InputLine]) -> tuple[str, str]:
    """Return how inputs differ from a record: what has changed, and how the code has drifted.

    The code has *drifted* where it imports what the record does not know. Either text is a part of a sentence, and
    empty if there is nothing to say.
    """
    before = {line.requirement for line in recorded} | {None}
    now = {line.requirement for line in planned} | {None}
    pairs = {(line.asker, line.subject) for line in recorded}
    new = [line for line in planned if line.requirement not in before]
    drifted = [line for line in new if line.asker == "import" and (line.asker, line.subject) not in pairs]
    added = _few(_shown(line) for line in new if line not in drifted)
    removed = _few(_shown(line) for line in recorded if line.requirement not in now)
    parts = [f"it lacks {added}"] if added else []
    parts += [f"{'it ' if not added else ''}holds {removed}, which is no longer required"] if removed else []
    return " and ".join(parts), _few(f"`{line.subject}`{f' ({line.why})' if line.why else ''}" for line in drifted)


def _shown(line: InputLine) -> str:
    requirement = (line.requirement or "").partition(" --hash=")[0]
    return f"`{requirement}`{f' ({line.why})' if line.why else ''}"


def _few(texts: Iterable[str]) -> str:
    all_of_them = list(dict.fromkeys(texts))
    return ", ".join([*all_of_them[:5], *([f"{len(all_of_them) - 5} more"] if len(all_of_them) > 5 else [])])
