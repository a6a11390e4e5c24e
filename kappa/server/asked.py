"""A request in no protocol's words, who made it, and who watches how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from kappa.errors import BadInputError
from kappa.server.batching.admission import RefusalReason
from kappa.types import HTTPHeaders, Payload, Representation

__all__ = ["Asked", "Door", "RequestObserver"]


class Asked(NamedTuple):
    """One request for an API; times are readings of `time.monotonic`."""

    request_id: str
    headers: HTTPHeaders
    """What the function may look at."""
    arrived: float
    payload: Payload = Payload(b"")
    """Its body; empty where the door still has to read it."""
    deadline: float | None = None
    """When its client no longer wants an answer."""
    mistake: BadInputError | None = None
    """What is wrong with it beside its body: it is refused."""
    announced_bytes: int | None = None
    """How long its body is said to be, where that is said before it is read."""
    unpack: Callable[[bytes], bytes] | None = None
    """What undoes the packing of its body, which may take long."""
    representation: Representation | None = None
    """How it is answered; ``None`` for an `Answer` of the API's own output adapter."""


class Door(Protocol):
    """What translates between one protocol and an endpoint."""

    def deliver(self, answer: Any, request_id: str) -> None:
        """Send the end of a request that was put: a `Failure`, or its value in the representation it asked for."""


class RequestObserver(Protocol):
    """What is told of the requests of one API, on its event loop, each time in a few microseconds and never raising.

    A request that is refused before anything is known of it is `refused` and nothing else. Any other is `began` first,
    and then one of the others.
    """

    def began(self, asked: Asked) -> None:
        """A request is about to be read, or has been."""

    def refused(self, reason: RefusalReason, seconds: float) -> None:
        """A request was not taken, or was never judged; ``seconds`` is how long it took to say so."""

    def answered(self, asked: Asked, http_status: int, seconds: float) -> None:
        """A request was answered with a result or a failure; ``http_status`` is what it is over HTTP."""

    def gone(self, asked: Asked, seconds: float) -> None:
        """The client left before its answer."""
