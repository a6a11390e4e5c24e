"""Whether the registry of a server can be used: asked in the background, so that a probe never waits for a database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from kappa.errors import KappaError
from kappa.gamma.protocols.registry import Registry
from kappa.spec.store import Query

__all__ = ["Readiness"]

_logger = logging.getLogger("kappa.gamma")
_EVERY_S = 2.0
_PROBE = Query(limit=1)


class Readiness:
    """Asks the registry for one bundle, again and again; tells ``on_change`` when it begins or ceases to answer."""

    def __init__(self, registry: Registry, on_change: Callable[[bool], None], *, every_s: float = _EVERY_S) -> None:
        self._registry = registry
        self._on_change = on_change
        self._every_s = every_s
        self._has_ended = threading.Event()
        self._is_ready = False

    def __call__(self) -> bool:
        return self._is_ready and not self._has_ended.is_set()

    def start(self) -> None:
        """Ask once, and from then on in a thread."""
        self._ask()
        threading.Thread(target=self._go_on, name="kappa-gamma-readiness", daemon=True).start()

    def end(self) -> None:
        """Be ready no more: the server drains."""
        self._has_ended.set()
        self._on_change(False)

    def _go_on(self) -> None:
        while not self._has_ended.wait(self._every_s):
            self._ask()

    def _ask(self) -> None:
        try:
            self._registry.list_bundles(_PROBE)
        except KappaError as exc:
            self._set(is_ready=False, reason=str(exc))
        except Exception as exc:  # noqa: BLE001 - whatever it is, requests would fail as well
            self._set(is_ready=False, reason=f"{type(exc).__name__}: {exc}")
        else:
            self._set(is_ready=True)

    def _set(self, *, is_ready: bool, reason: str = "") -> None:
        if is_ready == self._is_ready or self._has_ended.is_set():
            return
        self._is_ready = is_ready
        if is_ready:
            _logger.info("The registry can be used.")
        else:
            _logger.error("The registry cannot be used: %s", reason)
        self._on_change(is_ready)
