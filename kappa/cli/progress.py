"""How far a long job is, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from itertools import accumulate

from kappa import offline, terminal
from kappa.cli.console import current_shell
from kappa.terminal import wants_colour

__all__ = ["showing_bytes", "watching"]

_LONG_BYTES = 8 << 20


@contextmanager
def watching(sources: Sequence[offline.Source], *, is_wanted: bool) -> Iterator[list[offline.Source]]:
    """Yield the inputs so that reading them moves a bar; unchanged without a terminal, and for small files.

    The bar is on stderr and counts bytes of files.
    """
    sizes = [source.size_bytes if isinstance(source, offline.InputFile) else 0 for source in sources]
    is_shown = is_wanted and sys.stderr.isatty() and wants_colour(sys.stderr)
    if not is_shown or sum(sizes) < _LONG_BYTES or not find_spec("rich"):
        yield list(sources)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=sum(sizes))
        before = accumulate([0, *sizes])

        def moving(source: offline.Source, start: int) -> offline.Source:
            if not isinstance(source, offline.InputFile):
                return source
            return replace(source, on_read=lambda position: bar.update(task, completed=start + position))

        yield [moving(source, start) for source, start in zip(sources, before, strict=False)]


@contextmanager
def showing_bytes(title: str) -> Iterator[terminal.Progress | None]:
    """Yield what moves a bar of that title, as `terminal.showing_bytes` does; ``None`` with `--quiet`, too."""
    shell = current_shell()
    if shell.is_quiet:
        yield None
        return
    with terminal.showing_bytes(title, on_start=shell.hold_steps) as watch:
        yield watch
