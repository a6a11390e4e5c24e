"""What passes between the server, the adapters and the user's functions.

A *payload* is bytes with a media type, wherever they came from: an HTTP body, a file, a command-line argument. An
input adapter decodes it into a *task*; a function turns tasks into values; each value becomes a *result*, which an
output adapter encodes into an *answer*.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = [
    "MEDIA_TYPES",
    "Answer",
    "HTTPHeaders",
    "InferenceError",
    "InferenceResult",
    "InferenceTask",
    "JsonSerializable",
    "Payload",
]

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".txt": "text/plain",
}
"""The media type of an input file, by its extension."""

JsonSerializable = str | int | float | bool | None | Mapping[str, Any] | list[Any]


class HTTPHeaders(Mapping[str, str]):
    """Request headers whose names are case-insensitive (RFC 9110, section 5.1).

    An absent header reads as ``""``, so that ``task.http_headers["Accept"] == …`` is a comparison and never a crash;
    ``in`` and `get` tell absence.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = {name.lower(): value for name, value in (values or {}).items()}

    def __getitem__(self, name: str) -> str:
        return self._values.get(name.lower(), "")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def get(self, name: str, default: Any = None) -> Any:
        return self._values.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"HTTPHeaders({sorted(self._values)})"  # names only: values may be credentials


@dataclass(frozen=True, slots=True)
class Payload:
    """One input as it arrived: ``data`` and its media type without parameters, lower case; ``""`` if not given."""

    data: bytes
    media_type: str = ""
    charset: str = "utf-8"
    name: str = ""
    """Where it came from, for messages: a file's name, or empty."""


@dataclass(slots=True, eq=False)
class InferenceTask:
    """One request on its way to a function; a function that takes ``task`` or ``tasks`` may look and `discard`."""

    data: Any
    """What the input adapter decoded, in its own batchable form."""
    http_headers: HTTPHeaders = field(default_factory=HTTPHeaders)
    task_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """The request id: what the client sent as ``X-Request-Id``, or made here."""
    error: InferenceError | None = None

    def discard(self, err_msg: str = "", *, http_status: int = 400) -> InferenceTask:
        """Refuse this request alone; it gets ``err_msg`` with ``http_status`` and no result."""
        self.error = InferenceError(err_msg=err_msg, http_status=http_status)
        return self

    @property
    def is_discarded(self) -> bool:
        return self.error is not None


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """An answer with its own status and headers, for functions that want to say more than a value."""

    data: Any = None
    http_status: int = 200
    http_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InferenceError:
    """A refusal of one request, returned in place of a value."""

    err_msg: str = ""
    http_status: int = 500
    http_headers: Mapping[str, str] = field(default_factory=dict)


class Answer(NamedTuple):
    """An encoded result: what HTTP sends, and what the command line prints."""

    body: bytes
    media_type: str = "application/json"
    http_status: int = 200
    http_headers: Mapping[str, str] = MappingProxyType({})
