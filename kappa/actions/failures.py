"""Errors of the operating system in Kappa's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kappa.errors import BuildError

__all__ = ["failing_writes_explained"]


@contextmanager
def failing_writes_explained(subject: str) -> Iterator[None]:
    """Raise `BuildError` for an `OSError`: ``subject`` could not be written, where, and why."""
    try:
        yield
    except OSError as exc:
        path = f" (`{exc.filename}`)" if exc.filename else ""
        raise BuildError(
            f"{subject} could not be written: {exc.strerror or exc}{path}. Nothing was left behind."
        ) from exc
