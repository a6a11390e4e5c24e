"""Who is let in: both doors ask a gate, for each request, which registry its caller may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kappa.gamma.protocols.callers import ANYBODY, Caller
from kappa.gamma.protocols.registry import Registry

__all__ = ["Admitted", "Gate", "OpenGate"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A caller who is let in, and the registry as they may use it."""

    registry: Registry
    caller: Caller


class Gate(Protocol):
    """Lets callers in."""

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in, without a question to the database."""

    def admit(self, authorization: str | None, address: str) -> Admitted:
        """Return what a caller may use, by their `Authorization` header; raises `UnauthenticatedError`.

        ``address`` is where the request comes from.
        """


class OpenGate:
    """Lets everybody in: the gate of a server without `--auth`."""

    is_open = True

    def __init__(self, registry: Registry) -> None:
        self._admitted = Admitted(registry, ANYBODY)

    def admit(self, authorization: str | None, address: str) -> Admitted:  # noqa: ARG002 - nobody is refused
        return self._admitted
