"""Several observers of the same requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kappa.server.asked import Asked, RequestObserver
from kappa.server.batching.admission import RefusalReason
from kappa.spec.service import ApiSpec, ServiceSpec

__all__ = ["ObserverFactory", "all_of"]

ObserverFactory = Callable[[ServiceSpec, ApiSpec], RequestObserver]
"""Makes the observer of one API."""


def all_of(observers: Sequence[RequestObserver]) -> RequestObserver:
    """Return an observer that calls each of ``observers``, in their order; a single one is returned as it is."""
    return observers[0] if len(observers) == 1 else _All(tuple(observers))


class _All(NamedTuple):
    observers: tuple[RequestObserver, ...]

    def began(self, asked: Asked) -> None:
        for observer in self.observers:
            observer.began(asked)

    def refused(self, reason: RefusalReason, seconds: float) -> None:
        for observer in self.observers:
            observer.refused(reason, seconds)

    def answered(self, asked: Asked, http_status: int, seconds: float) -> None:
        for observer in self.observers:
            observer.answered(asked, http_status, seconds)

    def gone(self, asked: Asked, seconds: float) -> None:
        for observer in self.observers:
            observer.gone(asked, seconds)
