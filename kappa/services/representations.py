"""Representations of a task's value: bytes of HTTP as the API's output adapter writes them, or the plain value.

A *representation* belongs to a task, and works in the thread that ran the function. So tasks of one batch may be
answered to different doors, and nothing between the function and a door knows the form of the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from kappa.adapters.json import encode_json
from kappa.errors import InferenceFailedError
from kappa.services.splitting import detached
from kappa.spec.contracts import OutputAdapter
from kappa.types import Answer, InferenceError, InferenceResult, InferenceTask, Representation

__all__ = ["PLAIN", "Rest", "error_answer"]

_logger = logging.getLogger("kappa.inference")


class Rest:
    """An `Answer` as the ``output`` adapter of the API called ``name`` writes it: what Kappa's own REST sends."""

    def __init__(self, output: OutputAdapter, name: str) -> None:
        self._output = output
        self._name = name

    def prepare(self, value: Any, tasks: Sequence[InferenceTask]) -> Any:
        return self._output.prepare(value, accepts=(task.http_headers["accept"] for task in tasks))

    def encode(self, value: Any, task: InferenceTask) -> Answer:
        """Encode one value for the task it answers; a value that cannot be encoded becomes a logged 500."""
        try:
            if isinstance(value, InferenceError):
                return error_answer(
                    value.err_msg, request_id=task.task_id, http_status=value.http_status, headers=value.http_headers
                )
            if isinstance(value, InferenceResult):
                return self._encode_result(value, task)
            return self._output.encode(value, accept=task.http_headers["accept"])
        except Exception:
            _logger.exception("The answer of `%s` to %s cannot be encoded", self._name, task.task_id)
        return error_answer("The answer could not be encoded.", request_id=task.task_id, http_status=500)

    def _encode_result(self, result: InferenceResult, task: InferenceTask) -> Answer:
        headers = dict(result.http_headers.items())  # of pairs, one of a name would be lost
        media_type = ""
        for name in [name for name in headers if name.lower() == "content-type"]:
            value = headers.pop(name)
            if media_type or not isinstance(value, str):
                raise InferenceFailedError("An answer has one `Content-Type`, which is text.")
            media_type = value
        if media_type and isinstance(result.data, bytes):
            return Answer(result.data, media_type, result.http_status, headers)
        if media_type and isinstance(result.data, str) and "json" not in media_type:
            return Answer(result.data.encode(), media_type, result.http_status, headers)
        encoded = self._output.encode(result.data, accept=task.http_headers["accept"])
        return Answer(encoded.body, media_type or encoded.media_type, result.http_status, headers)


class _Plain:
    """The Python value itself, an `InferenceResult` or an `InferenceError`; it shares no memory with the batch."""

    def prepare(self, value: Any, tasks: Sequence[InferenceTask]) -> Any:  # noqa: ARG002 - nothing is written
        return value

    def encode(self, value: Any, task: InferenceTask) -> Any:  # noqa: ARG002 - the same for all
        return detached(value)


PLAIN: Representation = _Plain()


def error_answer(
    message: str, *, request_id: str, http_status: int, headers: Mapping[str, str | Sequence[str]] | None = None
) -> Answer:
    """Return the body that every error has: ``{"error": text, "request_id": id}``."""
    text = str(message).encode(errors="replace").decode()  # whatever user code passed as a message
    body = encode_json({"error": text, "request_id": request_id})
    return Answer(body, http_status=http_status, http_headers=headers or {})
