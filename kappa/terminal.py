"""What is shown on a terminal alone: colours, and how far a long transfer is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from threading import Lock
from typing import TextIO

__all__ = ["Progress", "showing_bytes", "wants_colour"]

Progress = Callable[[int, int], None]
"""Called with the bytes that are done and those of the whole; from several threads, one at a time."""


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether to colour ``stream``: ``NO_COLOR`` (no-color.org) wins, then ``FORCE_COLOR``, then a terminal."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environ.get("TERM") != "dumb"


@contextmanager
def showing_bytes(title: str, *, on_start: Callable[[], None] | None = None) -> Iterator[Progress | None]:
    """Yield what moves a bar when it is called with the bytes that are done and those of the whole.

    The bar is on stderr, appears with the first bytes, and goes when the block ends; ``on_start`` is called before it
    appears. ``None`` where stderr is not a terminal, or `rich` is not installed.
    """
    if not (sys.stderr.isatty() and wants_colour(sys.stderr) and find_spec("rich")):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    starting = Lock()
    with ExitStack() as running:

        def move(done: int, total: int) -> None:
            with starting:
                if not bar.tasks:
                    if on_start is not None:
                        on_start()
                    running.enter_context(bar)
                    bar.add_task(title, total=total)
            bar.update(bar.tasks[0].id, completed=done, total=total)

        yield move
