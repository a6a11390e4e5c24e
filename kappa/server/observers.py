"""Several observers of the same requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kappa.server.batching.admission import RefusalReason
from kappa.server.requests import ApiRequest, RequestObserver
from kappa.spec.service import ApiSpec, ServiceSpec

__all__ = ["ObserverFactory", "all_of"]

ObserverFactory = Callable[[ServiceSpec, ApiSpec], RequestObserver]
"""Makes the observer of one API."""


def all_of(observers: Sequence[RequestObserver]) -> RequestObserver:
    """Return an observer that calls each of ``observers``, in their order; a single one is returned as it is."""
    return observers[0] if len(observers) == 1 else _All(tuple(observers))


class _All(NamedTuple):
    observers: tuple[RequestObserver, ...]

    def began(self, request: ApiRequest) -> None:
        for observer in self.observers:
            observer.began(request)

    def refused(self, reason: RefusalReason, seconds: float) -> None:
        for observer in self.observers:
            observer.refused(reason, seconds)

    def answered(self, request: ApiRequest, http_status: int, seconds: float) -> None:
        for observer in self.observers:
            observer.answered(request, http_status, seconds)

    def gone(self, request: ApiRequest, seconds: float) -> None:
        for observer in self.observers:
            observer.gone(request, seconds)
