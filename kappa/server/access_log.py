"""gunicorn's logger, which lets no client write lines of its own into the access log."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger, SafeAtoms

__all__ = ["PrintableLogger"]


class _PrintableAtoms(SafeAtoms):  # type: ignore[misc] # gunicorn has no types
    """What a line is made of; the name of a user, which clients send in base64, may hold any character."""

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        return value if not isinstance(value, str) or value.isprintable() else repr(value)[1:-1]


class PrintableLogger(Logger):  # type: ignore[misc] # gunicorn has no types
    """The logger of a server."""

    atoms_wrapper_class = _PrintableAtoms
