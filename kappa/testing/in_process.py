"""A client that asks a project, a bundle or an instance in this process: the whole HTTP application, but no socket.

>>> with kappa.testing.client(".") as client:  # doctest: +SKIP
...     assert client.predict([[5.1, 3.5, 1.4, 0.2]]) == [0]
...     assert client.post("/predict", json=[]).status_code == 400
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from falcon.testing import ASGIConductor, Result

from kappa.actions.serving import served_target
from kappa.actions.targets import resolve_target
from kappa.bento import BentoService
from kappa.choices import ExamplesUse
from kappa.remote.client import Client as RemoteClient
from kappa.remote.transport import Request, Response
from kappa.server.http.app import create_app
from kappa.server.parent import AwaitedStart
from kappa.server.served import Served
from kappa.services.declared import DeclaredService
from kappa.services.source import ServiceSource
from kappa.spec.service import ServiceSpec
from kappa.types import HTTPHeaders

__all__ = ["Client", "client"]

_URL = "http://testing"


class Client(RemoteClient):
    """Sends requests to one running application; may be used from several threads, as clients of a server do.

    Each API is a method that takes and returns values, as those of `kappa.client` do; `get`, `post` and `request` show
    the answers as they are.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, conductor: ASGIConductor) -> None:
        super().__init__(_URL, _InProcess(self))
        self._loop = loop
        self._conductor = conductor

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Result:
        """Return the answer to a GET request: its `status_code`, `headers`, `text`, `content` and `json`."""
        return self.request("GET", path, headers=headers)

    def post(
        self, path: str, *, json: Any = None, body: bytes | str | None = None, headers: Mapping[str, str] | None = None
    ) -> Result:
        """Return the answer to a POST request with ``json`` encoded, or with ``body`` as it is."""
        arguments = {"json": json} if body is None else {"body": body}
        return self.request("POST", path, headers=headers, **arguments)

    def request(self, method: str, path: str, **arguments: Any) -> Result:
        """Return the answer to a request; further arguments are those of `falcon.testing.simulate_request`."""
        asking = self._conductor.simulate_request(method, path, **arguments)
        result: Result = asyncio.run_coroutine_threadsafe(asking, self._loop).result()
        return result


class _InProcess:
    """Brings what a client sends to the application beside it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def send(self, request: Request) -> Response:
        result = self._client.request(
            request.method, request.url.removeprefix(_URL), body=request.body, headers=dict(request.headers)
        )
        return Response(result.status_code, HTTPHeaders(dict(result.headers)), result.content)

    def close(self) -> None:
        """Do nothing: the application ends with the block that began it."""


@contextmanager
def client(target: str | Path | BentoService, *, environ: Mapping[str, str] = os.environ) -> Iterator[Client]:
    """Load a project, a bundle or an instance as a server's worker would, and yield a client of it once it is ready.

    ``target`` is what `kappa serve` takes, a path or a tag in the store of ``environ``; or a `BentoService` with its
    models packed. Raises `KappaError` when the service cannot be loaded.
    """
    served = _served(target, environ)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="kappa-testing", daemon=True)
    thread.start()
    running = _Running(served)
    try:
        yield Client(loop, asyncio.run_coroutine_threadsafe(running.start(), loop).result())
    finally:
        asyncio.run_coroutine_threadsafe(running.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _served(target: str | Path | BentoService, environ: Mapping[str, str]) -> Served:
    if isinstance(target, DeclaredService):
        return Served.of(ServiceSource.of_instance(target))
    return served_target(resolve_target(str(target), environ=environ))


def _only_warn(spec: ServiceSpec) -> ExamplesUse:
    """Leave it to the caller's own tests, and to `kappa test`, to fail for an answer."""
    return "skip" if spec.serving.examples == "skip" else "warn"


class _Running:
    """The application between its start-up and shut-down events; everything here runs on its event loop."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._conductor: ASGIConductor | None = None

    async def start(self) -> ASGIConductor:
        parent = AwaitedStart()
        app = create_app([self._served], parent=parent, examples_of=_only_warn)
        self._conductor = await ASGIConductor(app).__aenter__()
        await parent.outcome
        return self._conductor

    async def stop(self) -> None:
        if self._conductor is not None:
            await self._conductor.__aexit__(None, None, None)
