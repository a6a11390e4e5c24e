"""What failures of the machine are called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kappa.errors import BuildError

__all__ = ["failing_writes_explained"]


@contextmanager
def failing_writes_explained(subject: str) -> Iterator[None]:
    """Raise `BuildError` for what the file system refuses: ``what`` could not be written, where, and why."""
    try:
        yield
    except OSError as exc:
        path = f" (`{exc.filename}`)" if exc.filename else ""
        raise BuildError(
            f"{subject} could not be written: {exc.strerror or exc}{path}. Nothing was left behind."
        ) from exc
