"""An object store of obstore's as this package asks it: its failures are Kappa's, and its keys are named here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from kappa.errors import GammaError, optional_import
from kappa.secret_urls import masked

__all__ = ["Bucket", "ObjectStore", "key_of"]

ObjectStore = Any
"""A store of obstore's, which the extra `gamma` brings."""


class Bucket:
    """A store below its prefix."""

    def __init__(self, store: ObjectStore, *, location: str) -> None:
        self.store = store
        self.location = location

    @property
    def obstore(self) -> ModuleType:
        """The package; raises `MissingDependencyError`."""
        with optional_import("kappa-ml[gamma]", needed_for="an object store"):
            import obstore
        return obstore

    @contextmanager
    def failing_explained(self) -> Iterator[None]:
        """Turn what the store raises into `GammaError`, but for the `FileNotFoundError` of an object."""
        try:
            yield
        except FileNotFoundError:
            raise
        except (self.obstore.exceptions.BaseError, OSError, ValueError) as exc:
            raise self.failure(exc) from exc

    def failure(self, exc: Exception) -> GammaError:
        """Return the error of a failing store."""
        return GammaError(f"The object store `{self.location}` failed: {_reason(exc)}")


def key_of(digest: str) -> str:
    """Return the name of a blob's object."""
    digits = digest.removeprefix("sha256:")
    return f"blobs/{digits[:2]}/{digits}"


def _reason(exc: BaseException) -> str:
    """Return what an error of the store's client says, without what it says to its developers."""
    text = " ".join(str(exc).partition("Debug source")[0].split())
    if "/latest/api/token" in text:  # where the role of a machine in AWS is asked for
        return (
            "there are no credentials. Set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or use a machine of AWS "
            "that has a role."
        )
    return masked(text)[:500]
