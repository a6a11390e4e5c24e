"""A request independent of protocols, the door that it came through, and its observers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from kappa.errors import BadInputError
from kappa.server.batching.admission import RefusalReason
from kappa.types import HTTPHeaders, Payload, Representation

__all__ = ["ApiRequest", "Door", "RequestObserver"]


class ApiRequest(NamedTuple):
    """One request for an API; times are readings of `time.monotonic`."""

    request_id: str
    headers: HTTPHeaders
    """The headers, for the function."""
    arrived: float
    payload: Payload = Payload(b"")
    """Its body; empty where the door still has to read it."""
    deadline: float | None = None
    """When its client no longer wants an answer."""
    mistake: BadInputError | None = None
    """An error outside of its body, with which it is refused."""
    announced_bytes: int | None = None
    """The announced length of its body, if there is one."""
    unpack: Callable[[bytes], bytes] | None = None
    """Decompresses its body, which may take long."""
    representation: Representation | None = None
    """How it is answered; ``None`` for an `Answer` of the API's own output adapter."""


class Door(Protocol):
    """Translates between one protocol and an endpoint."""

    def deliver(self, answer: Any, request_id: str) -> None:
        """Send the outcome of a request that was put: a `Failure`, or its value in its representation."""


class RequestObserver(Protocol):
    """Observes the requests of one API, on its event loop; each call takes a few microseconds and never raises.

    A request that is refused before it is read is `refused` and nothing else. Any other is `began` first, and then one
    of the others.
    """

    def began(self, request: ApiRequest) -> None:
        """A request is about to be read, or has been."""

    def refused(self, reason: RefusalReason, seconds: float) -> None:
        """A request was refused, or never judged; ``seconds`` is the time until the refusal."""

    def answered(self, request: ApiRequest, http_status: int, seconds: float) -> None:
        """A request was answered with a result or a failure; ``http_status`` is what it is over HTTP."""

    def gone(self, request: ApiRequest, seconds: float) -> None:
        """The client left before its answer."""
