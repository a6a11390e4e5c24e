"""Values that pass between the server, the adapters and the user's functions.

A *payload* is bytes with a media type, wherever they came from: an HTTP body, a file, a command-line argument. An
input adapter decodes it into a *task*; a function turns tasks into values; each value becomes a *result*, which an
output adapter encodes into an *answer*.
"""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

__all__ = [
    "HEADER_NAME",
    "MEDIA_TYPES",
    "Answer",
    "DecodingLimits",
    "FileLike",
    "HTTPHeaders",
    "InferenceError",
    "InferenceResult",
    "InferenceTask",
    "JsonSerializable",
    "Payload",
    "Representation",
    "extension_of",
]

MEDIA_TYPES = {
    ".arrow": "application/vnd.apache.arrow.file",
    ".arrows": "application/vnd.apache.arrow.stream",
    ".bmp": "image/bmp",
    ".csv": "text/csv",
    ".feather": "application/vnd.apache.arrow.file",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".npy": "application/x-npy",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".wav": "audio/wav",
    ".webp": "image/webp",
    # Rarer spellings, after those by which files that are answered are called.
    ".apng": "image/png",
    ".avif": "image/avif",
    ".dib": "image/bmp",
    ".ipc": "application/vnd.apache.arrow.file",
    ".jfif": "image/jpeg",
    ".jp2": "image/jp2",
    ".jpe": "image/jpeg",
    ".jsonlines": "application/x-ndjson",
    ".pnm": "image/x-portable-anymap",
    ".pbm": "image/x-portable-anymap",
    ".pgm": "image/x-portable-anymap",
    ".ppm": "image/x-portable-anymap",
    ".pq": "application/vnd.apache.parquet",
    ".tab": "text/tab-separated-values",
}
"""The media type of a file, by its extension: how inputs are read, and what files that are answered are called."""

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The grammar of a header's name (RFC 9110, section 5.1)."""

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

    @property
    def content_type(self) -> str:
        """The media type of the request without its parameters, lower case; ``""`` if not given."""
        return self["content-type"].partition(";")[0].strip().lower()

    def __repr__(self) -> str:
        return f"HTTPHeaders({sorted(self._values)})"  # names only: values may be credentials


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """The limits of one decoded body; an adapter refuses more with 413, before it decodes it."""

    max_bytes: int = 160 * 1024 * 1024
    """Bytes of memory that the form, and what is made of it, may take."""
    max_cells: int = 10_000_000
    """Values of a table or array."""
    max_columns: int = 10_000
    """Columns of a table whose API declares none."""


_USUAL_LIMITS = DecodingLimits()


class Payload(NamedTuple):
    """One input as it arrived: an HTTP body, a part of a form, a file or an argument of the command line.

    PERF: there is one for each request, and to make a frozen dataclass takes three times as long.
    """

    data: bytes
    """The body."""
    media_type: str = ""
    """Without parameters, in lower case; empty if not given."""
    charset: str = "utf-8"
    """The encoding of its text."""
    name: str = ""
    """The name of the file that it came from, where there is one."""
    boundary: str = ""
    """The boundary of `multipart/form-data`."""
    limits: DecodingLimits = _USUAL_LIMITS
    """The limits of decoding it."""


class FileLike(io.BytesIO):
    """A file in memory, as file adapters give it to functions and take it from them: an `io.BytesIO` with a name.

    >>> FileLike(b"a,b", name="rows.csv").read()
    b'a,b'
    """

    def __init__(self, bytes_: bytes = b"", *, name: str = "", media_type: str = "") -> None:
        super().__init__(bytes_)
        self.name = name
        """The client's name for it; empty if it sent none."""
        self.media_type = media_type or MEDIA_TYPES.get(extension_of(name), "")

    @property
    def stream(self) -> io.BytesIO:
        """The file itself, from which it is read."""
        return self


def extension_of(name: str) -> str:
    """Return the extension of a file's name in lower case, with its dot; ``""`` if it has none.

    >>> extension_of("photos/CAT.JPG")
    '.jpg'
    """
    return PurePath(name).suffix.lower()


class Representation(Protocol):
    """What the value of a task becomes, in the thread that ran the function."""

    def prepare(self, value: Any, tasks: Sequence[InferenceTask]) -> Any:
        """Return what a batch function returned for ``tasks``, unsplit, in a form whose parts are encoded faster."""

    def encode(self, value: Any, task: InferenceTask) -> Any:
        """Return what one task is answered."""


@dataclass(slots=True, eq=False)
class InferenceTask:
    """One request on its way to a function; a function that takes ``task`` or ``tasks`` may look and `discard`."""

    data: Any = None
    """What the input adapter decoded, in its own batchable form."""
    http_headers: HTTPHeaders = field(default_factory=HTTPHeaders)
    """The headers of the request; none on the command line."""
    task_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """The request id: what the client sent as ``X-Request-Id``, or made here."""
    error: InferenceError | None = None
    """The error that it was discarded with."""
    representation: Representation | None = None
    """How its value is answered; ``None`` for the API's own output adapter."""

    def discard(
        self,
        err_msg: str = "",
        *,
        http_status: int = 400,
        http_headers: Mapping[str, str | Sequence[str]] | None = None,
    ) -> InferenceTask:
        """Refuse this request alone; it gets ``err_msg`` with ``http_status`` and no result."""
        self.error = InferenceError(err_msg=err_msg, http_status=http_status, http_headers=http_headers or {})
        return self

    @property
    def is_discarded(self) -> bool:
        """Whether the function, or another before it, has refused the request."""
        return self.error is not None


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """An answer with its own status and headers, for functions that want to say more than a value."""

    data: Any = None
    """Any value that the API's output adapter writes; with a `Content-Type` of its own, `bytes` or text go out as they
    are."""
    http_status: int = 200
    """The status of the answer; on the command line, one from 400 on is a failure."""
    http_headers: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """Further headers of the answer; each value of a list is sent by itself, as two cookies are."""


@dataclass(frozen=True, slots=True)
class InferenceError:
    """A refusal of one request, returned in place of a value."""

    err_msg: str = ""
    """What the client reads: the answer is ``{"error": err_msg, "request_id": …}``."""
    http_status: int = 500
    """The status of the answer, from 400 on."""
    http_headers: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """Further headers of the answer; each value of a list is sent by itself, as two cookies are."""


class Answer(NamedTuple):
    """An encoded result: what HTTP sends, and what the command line prints."""

    body: bytes
    """What is sent."""
    media_type: str = "application/json"
    """The `Content-Type`."""
    http_status: int = 200
    """The status."""
    http_headers: Mapping[str, str | Sequence[str]] = MappingProxyType({})
