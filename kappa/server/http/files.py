"""Files as a server sends them: in pieces, as fast as the client reads, and only what has changed or was asked for.

Conditional requests and ranges follow RFC 9110, sections 13 and 14. A range is a single one; several are answered with
the whole file, as section 14.2 allows.
"""

from __future__ import annotations

import asyncio
import errno
import mimetypes
import os
import re
import stat
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any

import falcon
import falcon.asgi

from kappa.server.host import Host
from kappa.server.http.edge import CutShortError
from kappa.server.http.exchange import Request, RequestIds, send_answer
from kappa.server.http.pages import Page
from kappa.spec.service import ExampleSpec
from kappa.types import MEDIA_TYPES, Answer, extension_of

__all__ = ["ExampleFile", "FrontPage", "StaticFiles"]

_PIECE_BYTES = 128 * 1024
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_RANGE = re.compile(rb"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*", re.IGNORECASE)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", "Accept-Ranges": "bytes"}


class _File:
    """A regular file that is open. The last reference closes it: a thread may still read when a client leaves."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():  # to open a device or a pipe may do something
            raise FileNotFoundError(path)
        self._descriptor = os.open(path, _FLAGS)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(path)
        self.name = path.name
        self.size = status.st_size
        self.modified_s = int(status.st_mtime)
        self.tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def begin_at(self, position: int) -> None:
        os.lseek(self._descriptor, position, os.SEEK_SET)

    def read(self, most: int) -> bytes:
        return os.read(self._descriptor, most)


class _Pieces:
    """The part of a file that is sent, as Falcon reads a stream."""

    def __init__(self, file: _File, length: int) -> None:
        self._file: _File | None = file
        self._left = length

    async def read(self, _most: int) -> bytes:
        if self._file is None or not self._left:
            return b""
        try:
            piece = await asyncio.to_thread(self._file.read, min(_PIECE_BYTES, self._left))
        except OSError as exc:
            raise CutShortError(f"`{self._file.name}` cannot be read on: {exc.strerror}.") from None
        if not piece:
            raise CutShortError(f"`{self._file.name}` has become shorter meanwhile.")
        self._left -= len(piece)
        return piece

    async def close(self) -> None:
        self._file = None


def _opened(path: Path) -> _File | None:
    """Open the file at ``path``; ``None`` if there is none that may be read."""
    try:
        return _File(path)
    except (OSError, ValueError) as exc:  # absent, a folder in its way, a NUL or half of a surrogate pair in its name
        if isinstance(exc, OSError) and exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise falcon.HTTPServiceUnavailable(
                description="Too many files are open here; try again.", retry_after=1
            ) from None
        return None


def _opened_below(folder: Path, path: str) -> _File | None:
    """Open the file at ``path`` below ``folder``, or a folder's `index.html`; never a file from elsewhere."""
    root = _resolved(folder)
    try:
        file = _resolved(root / path.lstrip("/"))
        if file.is_dir():
            file = _resolved(file / "index.html")
    except (OSError, ValueError):
        return None
    return _opened(file) if file.is_relative_to(root) else None


def _resolved(path: Path) -> Path:
    """Return where ``path`` leads; unlike `Path.resolve`, links in a circle are nothing special."""
    return Path(os.path.realpath(path))


def _media_type_of(name: str) -> str:
    media_type, packing = mimetypes.guess_type(name)
    if packing is not None:  # a browser would take what is inside for what is sent
        return "application/gzip" if packing == "gzip" else "application/octet-stream"
    media_type = media_type or "application/octet-stream"
    is_text = media_type.startswith("text/") or media_type in ("application/javascript", "application/json")
    return f"{media_type}; charset=utf-8" if is_text else media_type


async def _send(req: Request, resp: falcon.asgi.Response, file: _File, media_type: str, request_id: str) -> None:
    """Put the file into the response, or the requested part, or 304 if it has not changed."""
    headers = {**_HEADERS, "ETag": file.tag}
    if modified := _http_date(file.modified_s):
        headers["Last-Modified"] = modified
    fields = req.raw_headers
    if _is_known(fields, file):
        send_answer(resp, Answer(b"", media_type, 304, headers), request_id)
        return
    status, start, length = 200, 0, file.size
    if (wanted := fields.get(b"range")) is not None and req.method == "GET" and _may_be_part(fields, file, modified):
        part = _range_of(wanted, file.size)
        if part == (0, 0):
            raise falcon.HTTPRangeNotSatisfiable(file.size)
        if part is not None:
            status, (start, length) = 206, part
            headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{file.size}"
    send_answer(resp, Answer(b"", media_type, status, headers), request_id)
    resp.data = None
    if req.method == "HEAD" or not length:
        resp.set_header("Content-Length", str(length))
        return
    if start:
        await asyncio.to_thread(file.begin_at, start)
    resp.set_stream(_Pieces(file, length), length)  # type: ignore[arg-type] # it is read, not iterated


def _http_date(seconds: int) -> str:
    try:
        return formatdate(seconds, usegmt=True)
    except (OverflowError, ValueError, OSError):
        return ""


def _is_known(headers: Any, file: _File) -> bool:
    """Return whether the client has the file as it is."""
    if (tags := headers.get(b"if-none-match")) is not None:
        tags_held = [tag.strip().removeprefix(b"W/") for tag in tags.split(b",")]
        return file.tag.encode() in tags_held or b"*" in tags_held
    if (since := headers.get(b"if-modified-since")) is not None:
        seconds = _seconds_of(since)
        return seconds is not None and file.modified_s <= seconds
    return False


def _seconds_of(date: bytes) -> float | None:
    try:
        return parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _may_be_part(headers: Any, file: _File, modified: str) -> bool:
    """Return whether what the client has already is of this very file (`If-Range`)."""
    condition = headers.get(b"if-range")
    return condition is None or condition.strip() in (file.tag.encode(), modified.encode())


def _range_of(wanted: bytes, size: int) -> tuple[int, int] | None:
    """Return where the part begins and how long it is: ``(0, 0)`` for one that is not there, ``None`` for no part."""
    if (match := _RANGE.fullmatch(wanted)) is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return size - length if length else 0, length
    start, end = int(first), min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    return (start, end - start + 1) if start < size else (0, 0)


# -- what is sent ------------------------------------------------------------------------------------------------------


class StaticFiles:
    """The files of a service's `web_static_content`, below its root; its APIs and pages come first."""

    def __init__(self, ids: RequestIds, host: Host, name: str) -> None:
        self._ids = ids
        self._host = host
        self._name = name

    async def __call__(self, req: Request, resp: falcon.asgi.Response, path: str) -> None:
        if req.method not in ("GET", "HEAD"):
            raise falcon.HTTPNotFound
        if self._name not in self._host.loaded:
            raise falcon.HTTPServiceUnavailable(description="The service is loading.", retry_after=1)
        if not await self.send(req, resp, path):
            raise falcon.HTTPNotFound

    async def send(self, req: Request, resp: falcon.asgi.Response, path: str) -> bool:
        """Answer with the file at ``path``, if there is one."""
        loaded = self._host.loaded.get(self._name)
        if loaded is None or loaded.static_directory is None:
            return False
        file = await asyncio.to_thread(_opened_below, loaded.static_directory, path)
        if file is None:
            return False
        await _send(req, resp, file, _media_type_of(file.name), self._ids.of(req))
        return True


class FrontPage:
    """The root of a service: its own `index.html` if it brings one, else ``page``."""

    def __init__(self, files: StaticFiles, page: Page) -> None:
        self._files = files
        self._page = page
        self.on_options = page.on_options

    async def on_get(self, req: Request, resp: falcon.asgi.Response) -> None:
        if not await self._files.send(req, resp, ""):
            await self._page.on_get(req, resp)

    on_head = on_get


class ExampleFile:
    """The input file of an example; 404 where an installed bundle does not bring it."""

    def __init__(self, ids: RequestIds, host: Host, name: str, example: ExampleSpec) -> None:
        self._ids = ids
        self._host = host
        self._name = name
        self._example = example

    async def on_get(self, req: Request, resp: falcon.asgi.Response) -> None:
        loaded = self._host.loaded.get(self._name)
        if loaded is None:
            raise falcon.HTTPServiceUnavailable(description="The service is loading.", retry_after=1)
        if loaded.examples_directory is None or self._example.input_file is None:
            raise falcon.HTTPNotFound
        file = await asyncio.to_thread(_opened, loaded.examples_directory / self._example.input_file)
        if file is None:
            raise falcon.HTTPNotFound
        media_type = MEDIA_TYPES.get(extension_of(file.name), "application/octet-stream")
        await _send(req, resp, file, media_type, self._ids.of(req))
        resp.set_header("Referrer-Policy", "same-origin")

    on_head = on_get

    async def on_options(self, req: Request, resp: falcon.asgi.Response) -> None:
        send_answer(resp, Answer(b"", http_headers={"Allow": "GET, HEAD, OPTIONS"}), self._ids.of(req))
