"""The access log: one line for each request, whatever the server, written when its answer has been sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from time import monotonic
from typing import Any

from kappa.server.failures import CLIENT_GONE
from kappa.server.http.answering import ApiResource

__all__ = ["AccessLog", "Entry"]

_logger = logging.getLogger("kappa.access")


class AccessLog:
    """An ASGI application around ``app``; ``apis`` are named by their paths."""

    def __init__(self, app: Any, apis: Mapping[str, ApiResource]) -> None:
        self._app = app
        self._apis = apis

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry, sent = self.begin(scope), _Sent(send)
        try:
            await self._app(scope, receive, sent)
        finally:
            entry.write(sent.status, sent.size_bytes, sent.request_id)

    def begin(self, scope: Mapping[str, Any]) -> Entry:
        """Return the line of a request, which is to be written when its answer has been sent.

        A server that answers without events of ASGI passes a partial ``scope``.
        """
        return Entry(scope, self._apis)


class Entry:
    """One request until its line is written."""

    __slots__ = ("_apis", "_began", "_scope")

    def __init__(self, scope: Mapping[str, Any], apis: Mapping[str, ApiResource]) -> None:
        self._scope = scope
        self._apis = apis
        self._began = monotonic()

    def write(self, status: int, size_bytes: int, request_id: str) -> None:
        """Write in Apache's combined format, with the request's id and its duration at the end."""
        scope = self._scope
        duration_ms = 1000 * (monotonic() - self._began)
        headers = dict(scope["headers"])
        path = scope["path"]
        api = self._apis.get("/" + path.removesuffix("/").lstrip("/"))  # as the framework finds it
        client = (scope.get("client") or ("-",))[0] or "-"
        agent = _shown(headers.get(b"user-agent", b"-").decode("latin-1"))
        text = '%s - - [%s] "%s %s HTTP/%s" %d %d "%s" "%s" %s %.1fms'
        fields = {
            "client": client,
            "method": _shown(scope["method"]),
            "path": _shown(path),
            "status": status,
            "bytes": size_bytes,
            "duration_ms": round(duration_ms, 3),
            "request_id": request_id or None,
            "user_agent": agent,
        }
        if api is not None:
            fields |= {"service": api.endpoint.service.name, "api": api.endpoint.spec.name}
        moment = datetime.now(timezone.utc).strftime("%d/%b/%Y:%H:%M:%S +0000")
        raw_path = scope.get("raw_path")
        target = raw_path.decode("latin-1") if raw_path else path
        if query := scope.get("query_string"):
            target += f"?{query.decode('latin-1')}"
        _logger.info(
            text,
            client,
            moment,
            fields["method"],
            _shown(target),
            scope.get("http_version", "1.1"),
            status,
            size_bytes,
            _shown(headers.get(b"referer", b"-").decode("latin-1")),
            agent,
            request_id or "-",
            duration_ms,
            extra=fields,
        )


class _Sent:
    """Sends an answer on, and records its status and size for the log."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.status = CLIENT_GONE.http_status
        self.size_bytes = 0
        self.request_id = ""

    async def __call__(self, event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            headers = [(bytes(name).lower(), value) for name, value in event.get("headers", ())]
            self.request_id = dict(headers).get(b"x-request-id", b"").decode("latin-1")
            event = {**event, "headers": headers}
        elif event["type"] == "http.response.body":
            self.size_bytes += len(event.get("body", b""))
        await self._send(event)


def _shown(text: str) -> str:
    """Return a client's text without line breaks and control characters."""
    return (text if text.isprintable() else repr(text)[1:-1]).replace('"', "\\x22")
