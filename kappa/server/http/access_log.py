"""The access log: one line for each request, whatever the server, written when its answer has been sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from time import monotonic
from typing import Any

from kappa.server.http.answering import CLIENT_GONE, ApiResource

__all__ = ["AccessLog"]

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
        began, sent = monotonic(), _Sent(send)
        try:
            await self._app(scope, receive, sent)
        finally:
            self._write(scope, sent, duration_ms=1000 * (monotonic() - began))

    def _write(self, scope: Mapping[str, Any], sent: _Sent, *, duration_ms: float) -> None:
        """Write in Apache's combined format, with the request's id and its duration at the end."""
        asked = dict(scope["headers"])
        path = scope["path"]
        api = self._apis.get(path) or self._apis.get(path.removesuffix("/"))
        client = (scope.get("client") or ("-",))[0] or "-"
        agent = _shown(asked.get(b"user-agent", b"-").decode("latin-1"))
        text = '%s - - [%s] "%s %s HTTP/%s" %d %d "%s" "%s" %s %.1fms'
        fields = {
            "client": client,
            "method": _shown(scope["method"]),
            "path": _shown(path),
            "status": sent.status,
            "bytes": sent.size_bytes,
            "duration_ms": round(duration_ms, 3),
            "request_id": sent.request_id or None,
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
            sent.status,
            sent.size_bytes,
            _shown(asked.get(b"referer", b"-").decode("latin-1")),
            agent,
            sent.request_id or "-",
            duration_ms,
            extra=fields,
        )


class _Sent:
    """Sends an answer on, and remembers of it what the log tells."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.status = CLIENT_GONE
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
    """Return what a client sent so that it writes no lines, and obeys no terminal."""
    return (text if text.isprintable() else repr(text)[1:-1]).replace('"', "\\x22")
