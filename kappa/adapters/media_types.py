"""The media type of a body: as declared, by the name of its file, or by its first bytes. Browsers, libraries and object
stores have several names for one format, and many senders declare none. Adapters see one name for each format, and the
bytes count only without a declaration.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from kappa.adapters.wrappings import key_in_json
from kappa.errors import BadInputError
from kappa.types import MEDIA_TYPES, Payload, extension_of

__all__ = ["CSV", "JSON", "LINES", "NPY", "SLOW_KINDS", "TABS", "UNTOLD", "canonical", "shown_type", "understood"]

JSON = "application/json"
CSV = "text/csv"
TABS = "text/tab-separated-values"
LINES = "application/x-ndjson"
NPY = "application/x-npy"
SLOW_KINDS = ("image/", "multipart/", CSV, TABS, "application/vnd.apache.")
"""Prefixes of media types that take long to decode, however few bytes they are."""

UNTOLD = frozenset(
    {
        "",
        "*/*",
        "application/arrow",  # a file or a stream
        "application/binary",
        "application/download",
        "application/force-download",
        "application/octet-stream",
        "application/octetstream",
        "application/unknown",
        "application/vnd.apache.arrow",
        "application/vnd.ms-excel",  # what Windows calls CSV where Excel is installed
        "application/x-arrow",
        "application/x-binary",
        "application/x-download",
        "application/x-image",
        "application/x-octet-stream",
        "application/x-www-form-urlencoded",  # curl and urllib, if they are not told
        "application/x-unknown",
        "binary/octet-stream",  # S3
        "image/*",
        "image/x-unknown",
        "text/*",
        "text/plain",
    }
)
"""Media types of senders that do not know the format."""

_WORDS = {
    JSON: "application/x-json application/vnd.json text/json text/x-json",
    LINES: "application/json-lines application/jsonl application/jsonlines application/ldjson application/ndjson "
    "application/x-json-lines application/x-jsonl application/x-jsonlines application/x-ldjson text/jsonl text/ndjson "
    "text/x-jsonl text/x-ndjson",
    CSV: "application/csv application/vnd.csv application/x-csv text/comma-separated-values text/x-csv "
    "text/x-comma-separated-values",
    TABS: "application/tab-separated-values application/tsv text/tsv text/x-tab-separated-values text/x-tsv",
    NPY: "application/npy application/numpy application/x-numpy application/vnd.numpy",
    "application/vnd.apache.parquet": "application/apache-parquet application/parquet application/x-apache-parquet "
    "application/x-parquet",
    "application/vnd.apache.arrow.file": "application/feather application/x-feather",
    "application/vnd.apache.arrow.stream": "application/x-apache-arrow-stream",
    "image/bmp": "application/bmp image/ms-bmp image/x-bitmap image/x-bmp image/x-ms-bmp image/x-win-bitmap "
    "image/x-windows-bmp",
    "image/gif": "image/x-gif",
    "image/jpeg": "image/jfif image/jpe image/jpg image/pjpeg image/x-citrix-jpeg image/x-jpeg image/x-jpg",
    "image/png": "image/apng image/vnd.mozilla.apng image/x-citrix-png image/x-png",
    "image/tiff": "application/tiff image/tif image/x-tif image/x-tiff",
    "image/webp": "image/x-webp",
    "image/jp2": "image/jpeg2000 image/jpx image/x-jp2 image/x-jpeg2000-image",
    "image/x-portable-anymap": "image/x-portable-bitmap image/x-portable-graymap image/x-portable-pixmap",
    "multipart/form-data": "multipart/x-form-data",
}
_CANONICAL = {word: media_type for media_type, words in _WORDS.items() for word in words.split()}


def canonical(media_type: str) -> str:
    """Return the one word for a media type that has several.

    >>> canonical("image/pjpeg"), canonical("application/jsonlines"), canonical("image/png")
    ('image/jpeg', 'application/x-ndjson', 'image/png')
    """
    return _CANONICAL.get(media_type, media_type)


def understood(payload: Payload, takes: Collection[str]) -> Payload:
    """Return a payload with its media type, one of those in ``takes``, or without if it cannot be detected. The
    declared type comes first, then the extension of its name, then its first bytes. Raises `BadInputError` with 415 for
    any other type. ``takes`` may hold ``image/*``.
    """
    if _is_surely_json(payload, takes):
        return payload._replace(media_type=JSON)
    declared_type = canonical(payload.media_type)
    by_name = MEDIA_TYPES.get(extension_of(payload.name), "")
    for media_type in (declared_type, by_name, JSON if declared_type.endswith("+json") else ""):
        if _is_taken(media_type, takes):
            return _called(payload, media_type)
    for media_type in (declared_type, by_name):
        if "/" in media_type and media_type not in UNTOLD:
            raise _not_taken(payload, media_type, takes)
    guess = _media_type_in(payload)
    if _is_taken(guess, takes):
        return _called(payload, guess)
    if guess and guess not in (CSV, TABS):
        raise _refusal(f"The body is `{guess}`, which is not taken here", takes)
    if JSON in takes and _is_binary(payload):
        reason = "Neither the `Content-Type` nor a file's name tells what the body is, nor do its first bytes"
        raise _refusal(reason, takes, ", and say which")
    return _called(payload, "")


def _is_surely_json(payload: Payload, takes: Collection[str]) -> bool:
    """Return whether a body without a declared type is JSON; PERF: so most clients send it."""
    if payload.media_type not in UNTOLD or payload.media_type in takes or payload.name or JSON not in takes:
        return False
    data = payload.data
    return data[:1] in _BRACKETS and b"\n" not in data and b"\r" not in data


def _called(payload: Payload, media_type: str) -> Payload:
    return payload if payload.media_type == media_type else payload._replace(media_type=media_type)


def _is_taken(media_type: str, takes: Collection[str]) -> bool:
    return media_type in takes or (media_type not in UNTOLD and media_type.startswith("image/") and "image/*" in takes)


def _not_taken(payload: Payload, media_type: str, takes: Collection[str]) -> BadInputError:
    """Return the refusal of a body of type ``media_type``."""
    return _refusal(f"{shown_type(payload, media_type)} is not taken here", takes)


def shown_type(payload: Payload, media_type: str) -> str:
    """Return the declared type of a body as messages show it: of JSON, with its first key."""
    key = key_in_json(payload.data) if media_type == JSON else ""
    return f"`{media_type}` with `{key}`" if key else f"`{media_type}`"


def _refusal(reason: str, takes: Collection[str], advice: str = "") -> BadInputError:
    *others, last = [f"`{media_type}`" for media_type in takes]
    listed = f"{', '.join(others)} or {last}" if others else last
    return BadInputError(f"{reason}; send {listed}{advice}.", http_status=415)


# -- first bytes -------------------------------------------------------------------------------------------------------

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51", "image/jp2"),
    (b"\0\0\1\0", "image/x-icon"),
    (b"ARROW1\0\0", "application/vnd.apache.arrow.file"),
    (b"\xff\xff\xff\xff", "application/vnd.apache.arrow.stream"),
    (b"\x93NUMPY", NPY),
    (b"%PDF-", "application/pdf"),
    (b"PK\3\4", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/vnd.ms-excel"),
)
_IN_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic"}
_BITMAP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_HEAD = 1024


def _media_type_in(payload: Payload) -> str:
    """Return the media type by a body's first bytes; ``""`` if unknown. Text of several lines is a table."""
    data = payload.data
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return media_type
    if data.startswith(b"PAR1") and data.endswith(b"PAR1"):
        return "application/vnd.apache.parquet"
    if data.startswith(b"RIFF"):
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(data[8:12], "")
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BITMAP_HEADERS:
        return "image/bmp"
    if data[4:8] == b"ftyp":
        return _IN_BRANDS.get(data[8:12], "")
    return _text_in(data) if not _is_binary(payload) else ""


def _is_binary(payload: Payload) -> bool:
    return b"\0" in payload.data[:_HEAD] and payload.charset in ("utf-8", "utf8", "us-ascii", "latin-1", "iso-8859-1")


def _text_in(data: bytes) -> str:
    """Return the media type of a text: JSON, JSON lines, or a table with commas or tabs, which has several lines."""
    start = _next_word(data, len(_BOM) if data.startswith(_BOM) else 0)
    end = _LINE_END.search(data, start)
    following = _next_word(data, end.start()) if end else len(data)
    is_json = data[start : start + 1] in _BRACKETS
    if end is None or following == len(data):
        return JSON if is_json else ""
    first = data[start : end.start()]
    if is_json:  # nowhere in JSON does a bracket open right after one that closes
        is_whole = first.rstrip(b" \t").endswith((b"}", b"]"))
        return LINES if is_whole and data[following : following + 1] in _BRACKETS else JSON
    return TABS if b"\t" in first and b"," not in first else CSV


def _next_word(data: bytes, start: int) -> int:
    match = _WORD.search(data, start)
    return match.start() if match else len(data)


_BOM = b"\xef\xbb\xbf"
_BRACKETS = (b"[", b"{")
_WORD = re.compile(rb"[^ \t\r\n]")
_LINE_END = re.compile(rb"[\r\n]")
