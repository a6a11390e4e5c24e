"""How the processes of a server tell their parent that they are ready, or why they cannot be."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Mapping
from typing import Any

from kappa import errors
from kappa.errors import KappaError

__all__ = ["Report"]

_MAX_REPORT_BYTES = 3000  # below PIPE_BUF, so that the lines of two workers never mix


class Report:
    """A pipe on which the processes of a server tell their parent how starting went."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._pending = b""
        self.ready: set[int] = set()
        """The processes that said that they are ready."""
        self.failure: KappaError | None = None
        """The first failure that was reported."""

    def say_ready(self) -> None:
        self._write({"ready": os.getpid()})

    def say_failed(self, error: KappaError) -> None:
        message = str(error).encode("utf-8", "replace")[:_MAX_REPORT_BYTES].decode("utf-8", "ignore")
        self._write({"failed": type(error).__name__, "message": message})

    def _write(self, line: Mapping[str, Any]) -> None:
        os.write(self._writer, json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def read(self) -> None:
        """Take in what was said, without waiting."""
        while select.select([self._reader], [], [], 0)[0]:
            self._pending += os.read(self._reader, 1 << 16)
        *lines, self._pending = self._pending.split(b"\n")
        for line in map(json.loads, lines):
            if "ready" in line:
                self.ready.add(line["ready"])
            elif self.failure is None:
                self.failure = _revived(line["failed"], line["message"])


def _revived(name: str, message: str) -> KappaError:
    """Return an error of the class that another process raised, whatever its own constructor takes."""
    kind = getattr(errors, name, KappaError)
    error: KappaError = kind.__new__(kind, message)
    return error
