"""One process's application, whose services can be exchanged for others while it answers.

Everything that a version of the services needs (code, models, queues, routes) is a `Generation`. A *reload* makes a new
one beside the present one, loads it and warms it up, then flips one reference: requests that arrive from then on are
answered by the new one, those that had arrived are finished by the old one, which is closed after the last of them. If
the new one cannot be loaded, nothing has changed.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kappa.errors import KappaError, exception_text
from kappa.server.host import Host
from kappa.server.http.access_log import AccessLog
from kappa.server.http.answering import ApiResource
from kappa.server.parent import Parent
from kappa.server.served import Served

__all__ = ["DRAIN", "RELOAD", "Application", "Generation"]

DRAIN = "kappa.drain"
"""The key of the lifespan's state under which a server finds what to call before it stops."""
RELOAD = "kappa.reload"
"""The key under which it finds what to call to exchange the services for those that are wanted now."""

_POLL_S = 0.05
_logger = logging.getLogger("kappa.server")


@dataclass(slots=True, eq=False)
class Generation:
    """One version of the services and its ASGI applications."""

    host: Host
    app: Any
    management: Any
    """The application of the management port; ``app`` where there is none."""
    apis: Mapping[str, ApiResource] = field(default_factory=dict)
    """The APIs of ``app`` by path, for a server that calls them directly."""
    log: AccessLog | None = None
    """Where a server writes the line of a request that it recognizes."""
    minds_origins: bool = False
    """Whether ``app`` must see requests of web pages, also for ``apis``."""
    exchanges: int = 0
    """How many requests it is answering."""

    @property
    def directories(self) -> set[Path]:
        """Return where the code of its bundles is."""
        return {served.directory for served in self.host.services.values() if served.directory is not None}


class Application:
    """The ASGI application of a process; ``build`` makes the `Generation` of services, which is not loaded yet.

    ``parent`` knows which services a reload is to load, and gets its outcome. ``management_port`` is where the
    `Generation.management` of the present version answers.
    """

    def __init__(
        self,
        services: Sequence[Served],
        *,
        build: Callable[[Sequence[Served]], Generation],
        parent: Parent,
        management_port: int | None = None,
    ) -> None:
        self._build = build
        self._services = services
        self._parent = parent
        self._management_port = management_port
        self.current = build(services)
        """The current generation."""
        self._generations = [self.current]
        """The one that serves, the one being loaded, and those that are draining."""
        self._reloading: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._is_wanted_again = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        generation = self.current
        generation.exchanges += 1
        try:
            app = generation.app if self._management_port is None else self._app_of(generation, scope)
            await app(scope, receive, send)
        finally:
            generation.exchanges -= 1

    def _app_of(self, generation: Generation, scope: dict[str, Any]) -> Any:
        _, port = scope.get("server") or (None, None)
        return generation.management if port == self._management_port else generation.app

    async def _live(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Speak the lifespan protocol: begin to load at the start, finish everything at the end."""
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                scope.get("state", {}).update({DRAIN: self._drain, RELOAD: self.begin_reload})
                await self.current.host.start()
                await send({"type": "lifespan.startup.complete"})
            elif event["type"] == "lifespan.shutdown":
                tasks = [task for task in (self._reloading, *self._retiring) if task is not None]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.gather(*(generation.host.stop() for generation in self._generations))
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _drain(self) -> None:
        self.current.host.drain()

    def begin_reload(self) -> None:
        """Exchange the services, or once more after the exchange in progress."""
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload())
        else:
            self._is_wanted_again = True

    async def _reload(self) -> None:
        self._is_wanted_again = False
        try:
            coming = await self._loaded()
        except Exception as exc:
            if not isinstance(exc, KappaError):
                _logger.exception("Reloading failed in a way that Kappa does not know")
                exc = KappaError(f"The service cannot be loaded: {exception_text(exc)}.")
            self._parent.reloaded(exc)
        else:
            leaving, self.current = self.current, coming
            coming.host.take_over(leaving.host)
            self._parent.reloaded(None)
            retiring = asyncio.get_running_loop().create_task(self._retire(leaving))
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
        if self._is_wanted_again:
            await self._reload()

    async def _loaded(self) -> Generation:
        """Return what is wanted now, loaded and warm."""
        wanted = await asyncio.to_thread(self._parent.wanted)
        coming = self._build(self._services if wanted is None else wanted)
        self._generations.append(coming)
        for directory in coming.directories:
            _forget_modules(directory)
        try:
            await coming.host.load()
        except Exception:
            await self._stop(coming)
            raise
        return coming

    async def _retire(self, leaving: Generation) -> None:
        """Close a replaced generation after its last request; the next reload need not wait for it."""
        while leaving.exchanges:  # noqa: ASYNC110 - PERF: no event, to keep requests cheap
            await asyncio.sleep(_POLL_S)
        await self._stop(leaving)
        for directory in leaving.directories.difference(*(generation.directories for generation in self._generations)):
            _forget_modules(directory)
        del leaving
        gc.unfreeze()  # objects frozen at the start may be garbage now
        await asyncio.to_thread(gc.collect)
        gc.freeze()

    async def _stop(self, generation: Generation) -> None:
        await generation.host.stop()
        self._generations.remove(generation)


def _forget_modules(directory: Path) -> None:
    """Have the code in ``directory`` imported anew, where another bundle was when it was imported before.

    What was made of the old code keeps it.
    """
    importlib.invalidate_caches()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).is_relative_to(directory):
            del sys.modules[name]
