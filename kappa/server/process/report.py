"""Reports of a server's processes to their parent: ready, failed, leaving, reloaded."""

from __future__ import annotations

import json
import mmap
import os
import select
from collections.abc import Mapping
from typing import Any

from kappa import errors
from kappa.errors import KappaError

__all__ = ["FirstStart", "Report", "say_failed", "say_ready"]

_MAX_REPORT_BYTES = 3000  # below PIPE_BUF, so that the lines of two workers never mix


class Report:
    """A pipe from the processes of a server to their parent."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._pending = b""
        self.ready: dict[int, Any] = {}
        """The processes that are ready, with the details of their reports."""
        self.failure: KappaError | None = None
        """The first failure that was reported."""
        self.leaving: set[int] = set()
        """The processes that are about to end and must be replaced."""
        self.worn: set[int] = set()
        """The processes that asked to be replaced once their successors are ready."""
        self.reloads: dict[int, KappaError | None] = {}
        """How the reload went in each process that was asked for one."""

    def say_ready(self) -> None:
        """Report that this process can answer."""
        say_ready(self._writer)

    def say_failed(self, error: KappaError) -> None:
        """Report why this process cannot answer."""
        say_failed(self._writer, error)

    def say_leaving(self) -> None:
        """Report that this process will end once it has answered what it can."""
        _write(self._writer, {"leaving": os.getpid()})

    def say_worn(self) -> None:
        """Report that this process should be replaced, and answers until its successor does."""
        _write(self._writer, {"worn": os.getpid()})

    def say_reloaded(self, error: KappaError | None) -> None:
        """Report the outcome of a reload."""
        _write(self._writer, {"reloaded": os.getpid(), **({} if error is None else _error_record(error))})

    def detach_writer(self) -> int:
        """Return the writing end, which the caller owns from now on; reading ends when every copy is closed."""
        writer, self._writer = self._writer, -1
        return writer

    def close(self) -> None:
        """Close both ends."""
        for descriptor in (self._reader, self._writer):
            if descriptor >= 0:
                os.close(descriptor)
        self._reader = self._writer = -1

    def read(self) -> None:
        """Read the reports so far, without waiting."""
        while self._reader >= 0 and select.select([self._reader], [], [], 0)[0]:
            if not (chunk := os.read(self._reader, 1 << 16)):
                break
            self._pending += chunk
        *lines, self._pending = self._pending.split(b"\n")
        for line in map(json.loads, lines):
            if "ready" in line:
                self.ready[line["ready"]] = line["with"]
            elif "leaving" in line:
                self.leaving.add(line["leaving"])
            elif "worn" in line:
                self.worn.add(line["worn"])
            elif "reloaded" in line:
                is_failed = "failed" in line
                self.reloads[line["reloaded"]] = _revived(line["failed"], line["message"]) if is_failed else None
            elif self.failure is None:
                self.failure = _revived(line["failed"], line["message"])


class FirstStart:
    """Which of a server's first workers have been ready, in memory that all its processes share."""

    def __init__(self, workers: int) -> None:
        self._are_ready = mmap.mmap(-1, workers)
        self._number = 0

    def join(self, number: int) -> None:
        """Be the worker of this number, counted from 1; those above the first replace others."""
        self._number = number

    def be_ready(self) -> None:
        """Record that this worker can answer."""
        if 1 <= self._number <= len(self._are_ready):
            self._are_ready[self._number - 1] = 1

    @property
    def is_over(self) -> bool:
        """Whether each of the first workers has been ready once."""
        return b"\0" not in self._are_ready[:]


def say_ready(writer: int, **details: Any) -> None:
    """Write to the descriptor of a report that this process can answer."""
    _write(writer, {"ready": os.getpid(), "with": details})


def say_failed(writer: int, error: KappaError) -> None:
    """Write to the descriptor of a report why this process cannot answer."""
    _write(writer, _error_record(error))


def _error_record(error: KappaError) -> dict[str, str]:
    message = str(error).encode("utf-8", "replace")[:_MAX_REPORT_BYTES].decode("utf-8", "ignore")
    return {"failed": type(error).__name__, "message": message}


def _write(writer: int, line: Mapping[str, Any]) -> None:
    data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
    while data:
        data = data[os.write(writer, data) :]


def _revived(name: str, message: str) -> KappaError:
    """Return an error of the class that another process raised, whatever its own constructor takes."""
    kind = getattr(errors, name, KappaError)
    error: KappaError = kind.__new__(kind, message)
    return error
