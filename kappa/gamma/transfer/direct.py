"""Blobs that move between this machine and the object store itself, where a registry offers that.

The registry signs a URL for each. What cannot go this way, for whatever reason, goes through the server: from the first
failure on everything does, and one line says why. A blob that comes is compared with its digest as always; one that
goes is compared by the registry.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from kappa.errors import BundleError, GammaError, KappaError
from kappa.gamma.protocols.registry import BundleFile, Registry
from kappa.gamma.transfer.streams import CHUNK_BYTES, Meter
from kappa.log import log
from kappa.tag import Tag

__all__ = ["DirectRoute", "direct_route"]

_SMALLEST_BYTES = 1 << 20
"""What is smaller goes through the server: a URL, a request and a check take longer."""
_CONNECT_S = 5.0
_IDLE_S = 30.0
_ATTEMPTS = 3
_PARTIAL = 206


@contextmanager
def direct_route(registry: Registry, meter: Meter) -> Iterator[DirectRoute | None]:
    """Yield the way to the object store of a registry, ``None`` where it offers none; say at the end why it failed."""
    if not registry.info().direct_transfer:
        yield None
        return
    route = DirectRoute(registry, meter, _opener())
    try:
        yield route
    finally:
        if route.problem:  # from here, because the threads of a transfer have no listener
            log(f"The object store cannot be reached directly: {route.problem}. The server is used.", kind="warning")


@dataclass
class DirectRoute:
    """The way between this machine and an object store; it closes with the first failure."""

    registry: Registry
    meter: Meter
    opener: OpenerDirector
    problem: str = ""
    """Why it is closed; never a URL, which is a secret."""

    def send(self, session: str, digest: str, path: Path, size_bytes: int) -> bool:
        """Write a blob of an upload into the store; return whether the registry has taken it."""
        if self.problem or size_bytes < _SMALLEST_BYTES:
            return False
        try:
            url = self.registry.upload_url(session, digest).url
            if not url:
                return False
            headers = {"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"}
            request = self._request(url, headers, method="PUT", data=self._chunks(digest, path))
            with self.opener.open(request, timeout=_CONNECT_S) as answer:
                answer.read()
            return self.registry.take_blob(session, digest) == size_bytes
        except (OSError, HTTPException, KappaError) as exc:
            self.problem = _reason(exc)
            return False

    def fetch(self, tag: Tag, file: BundleFile, target: Path) -> bool:
        """Write a file of a bundle as ``target``; return whether it is there, with its digest."""
        if self.problem or file.size_bytes < _SMALLEST_BYTES:
            return False
        try:
            url = self.registry.download_url(tag, file.digest).url
            if not url:
                return False
            self._read(url, file, target)
        except (OSError, HTTPException, KappaError) as exc:
            self.problem = _reason(exc)
            target.unlink(missing_ok=True)
            return False
        return True

    def _chunks(self, digest: str, path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
                self.meter.at(digest, file.tell())

    def _read(self, url: str, file: BundleFile, target: Path) -> None:
        """Read a blob; where the connection breaks off, on from there."""
        digest = hashlib.sha256()
        with target.open("xb") as written:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    for chunk in self._arriving(url, offset=written.tell()):
                        if written.tell() + len(chunk) > file.size_bytes:
                            raise BundleError("it sent more than the blob has")
                        digest.update(chunk)
                        written.write(chunk)
                        self.meter.at(file.digest, written.tell())
                except (OSError, HTTPException):
                    if attempt == _ATTEMPTS:
                        raise
                if written.tell() == file.size_bytes:
                    break
        if f"sha256:{digest.hexdigest()}" != file.digest:
            raise BundleError("it sent other bytes")

    def _arriving(self, url: str, *, offset: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self.opener.open(self._request(url, headers), timeout=_CONNECT_S) as answer:
            if offset and answer.status != _PARTIAL:
                raise GammaError("it does not send a blob from an offset on")
            while chunk := answer.read(CHUNK_BYTES):
                yield chunk

    def _request(self, url: str, headers: dict[str, str], **options: Any) -> Request:
        """Return a request; raises `GammaError` for a URL that is less safe than the registry's own."""
        is_encrypted = self.registry.location.startswith(("https://", "grpcs://"))
        if not url.startswith(("https://",) if is_encrypted else ("https://", "http://")):
            raise GammaError("its URL is not encrypted, and the server's is")
        return Request(url, headers=headers, **options)  # noqa: S310 - its scheme was checked


def _reason(exc: Exception) -> str:
    """Return what went wrong, without the URL: whoever has that can read or write the blob."""
    if isinstance(exc, HTTPError):
        return f"it answered HTTP {exc.code}"
    if isinstance(exc, URLError):
        return str(exc.reason).rstrip(".")
    if isinstance(exc, KappaError):
        return str(exc).rstrip(".")
    return (exc.strerror or type(exc).__name__) if isinstance(exc, OSError) else type(exc).__name__


# -- connections


def _opener() -> OpenerDirector:
    """Return what opens URLs: by the proxies of the environment, and following no redirection."""
    return build_opener(_Http, _Https(context=ssl.create_default_context()), _NoRedirection)


class _NoRedirection(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: the URL was signed for the store alone."""


class _Connection(HTTPConnection):
    """One whose time limit to connect is short, and then holds for each time that no byte moves."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(_IDLE_S)


class _EncryptedConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(_IDLE_S)


class _Http(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_EncryptedConnection, req, context=self._context)  # type: ignore[attr-defined]
