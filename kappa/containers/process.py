"""Commands of engines: run to their end, or followed line by line and stopped when we are."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from kappa.errors import ContainerError
from kappa.secret_urls import masked

__all__ = ["Done", "call", "follow"]

_GRACE_S = 15.0
"""How long a command may take to end its work after it was interrupted."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended; ``output`` is stdout, or both streams of one that was followed."""

    code: int
    output: str
    error: str = ""


def call(command: Sequence[str], *, environ: Mapping[str, str], timeout_s: float = 60.0) -> Done:
    """Run a command to its end; raises `ContainerError` if it cannot start or does not end."""
    try:
        done = subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ContainerError(f"`{' '.join(command[:2])}` did not answer within {timeout_s:.0f} s.") from exc
    except OSError as exc:
        raise ContainerError(f"`{command[0]}` could not be started: {exc.strerror}.") from exc
    return Done(done.returncode, done.stdout, done.stderr)


def follow(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    on_line: Callable[[str], None],
    stdin: BinaryIO | None = None,
    runs_containers: bool = False,
) -> Done:
    """Run a command and pass every line that it prints, of either stream, to ``on_line`` at once.

    An interrupt is sent on to the command, which has `_GRACE_S` to clean up, and has ended when this raises.
    ``runs_containers`` is for one whose containers are processes below it, and would outlive it.
    """
    lines: list[str] = []
    with _running(command, environ, stdin, runs_containers=runs_containers) as process:
        for raw in process.stdout or ():
            line = masked(raw.decode(errors="replace").rstrip())
            lines.append(line)
            on_line(line)
        code = process.wait()
    return Done(code, "\n".join(lines))


@contextmanager
def _running(
    command: Sequence[str], environ: Mapping[str, str], stdin: BinaryIO | None, *, runs_containers: bool
) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            command,
            env=dict(environ),
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal reaches Kappa alone, which stops things in order
        )
    except OSError as exc:
        raise ContainerError(f"`{command[0]}` could not be started: {exc.strerror}.") from exc
    try:
        if stdin is not None and process.stdin is not None:
            threading.Thread(target=_feed, args=(stdin, process.stdin), daemon=True).start()
        yield process
    finally:
        _stop(process, runs_containers=runs_containers)


def _feed(source: BinaryIO, sink: IO[bytes]) -> None:
    with suppress(OSError, ValueError), sink:  # the command has ended, and prints why
        shutil.copyfileobj(source, sink, 1 << 20)


def _stop(process: subprocess.Popen[bytes], *, runs_containers: bool) -> None:
    if process.poll() is None:
        # podman ends at once when it is interrupted, and its containers go on. When the running step ends instead,
        # it takes that for a failure, and cleans up itself.
        if not (runs_containers and _kill_sessions_below(process.pid)):
            process.send_signal(signal.SIGINT)
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _kill_sessions_below(ancestor: int) -> bool:
    """Kill the descendants that lead a session of their own, as the first process of a container does."""
    parents, leaders = {}, set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            pid = int(entry.parent.name)
            _, parent, _, session = entry.read_text(encoding="utf-8").rpartition(")")[2].split()[:4]
            parents[pid] = int(parent)
            if int(session) == pid:
                leaders.add(pid)
    pids = [pid for pid in leaders if ancestor in _ancestors(pid, parents)]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def _ancestors(pid: int, parents: Mapping[int, int]) -> list[int]:
    ancestors: list[int] = []
    while (parent := parents.get(pid, 0)) and parent not in ancestors:
        ancestors.append(parent)
        pid = parent
    return ancestors
