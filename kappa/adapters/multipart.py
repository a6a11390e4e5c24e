"""Forms with files in them, `multipart/form-data` (RFC 7578): what uploads arrive as, and how clients write them.

A *part* is a payload of its own, with its field's name beside it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import cache
from secrets import token_hex
from typing import Any

from kappa.adapters.media_types import UNTOLD, canonical
from kappa.errors import BadInputError
from kappa.types import MEDIA_TYPES, DecodingLimits, Payload, extension_of

__all__ = ["FORM", "form_content", "form_payload", "parts_of", "sole_part"]

FORM = "multipart/form-data"
_MOST_PARTS = 1024
_ESCAPED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def parts_of(payload: Payload) -> list[tuple[str, Payload]]:
    """Return the fields of a form in their order, each with its name; raises `BadInputError`."""
    from falcon import HTTPError

    if not payload.boundary:
        advice = "leave that header to the library that writes the form"
        raise BadInputError(f"The form cannot be read: its `Content-Type` names no boundary; {advice}.")
    content_type = f'{FORM}; boundary="{payload.boundary}"'
    try:
        form = _handler().deserialize(io.BytesIO(payload.data), content_type, len(payload.data))
        return [(part.name or "", _part(part, payload.limits)) for part in form]
    except HTTPError as exc:
        raise BadInputError(f"The form cannot be read: {exc.description or exc.title}.") from None
    except ValueError as exc:  # of headers that are no text
        raise BadInputError(f"The form cannot be read: {exc}.") from None


@cache
def _handler() -> Any:
    from falcon.media.multipart import MultipartFormHandler, MultipartParseOptions

    options = MultipartParseOptions()
    options.max_body_part_count = _MOST_PARTS
    options.max_body_part_buffer_size = 1 << 62  # the whole body is in memory already
    return MultipartFormHandler(options)


def _part(part: Any, limits: DecodingLimits) -> Payload:
    from falcon import parse_header

    media_type, parameters = parse_header(part.content_type)
    name = part.filename or ""
    media_type = canonical(media_type.strip().lower())
    if media_type in UNTOLD:
        media_type = MEDIA_TYPES.get(extension_of(name), media_type if name else "")
    return Payload(part.data, media_type, parameters.get("charset", "utf-8").lower(), name, limits=limits)


def sole_part(payload: Payload) -> Payload:
    """Return the one file of an upload, or its one field, as if it had been sent alone."""
    parts = parts_of(payload)
    files = [part for _, part in parts if part.name] or [part for _, part in parts]
    if len(files) != 1:
        raise BadInputError(f"The form has {len(files)} files; this API takes exactly one.")
    return files[0]


def form_payload(parts: Iterable[tuple[str, Payload]]) -> Payload:
    """Write fields, each with its name, as the form that `parts_of` reads."""
    boundary = token_hex(16)
    chunks: list[bytes] = []
    for field, part in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field.translate(_ESCAPED)}"'
        if part.name:
            head += f'; filename="{part.name.translate(_ESCAPED)}"'
        if part.media_type:
            charset = f"; charset={part.charset}" if part.charset != "utf-8" else ""
            head += f"\r\nContent-Type: {part.media_type}{charset}"
        chunks += [f"{head}\r\n\r\n".encode(), part.data, b"\r\n"]
    return Payload(b"".join([*chunks, f"--{boundary}--\r\n".encode()]), FORM, boundary=boundary)


def form_content(files: Sequence[str], *, optional: Sequence[str] = (), media_type: str = "") -> dict[str, Any]:
    """Return the OpenAPI 3.1 content of a form with a file in each field; ``media_type`` is that of the files."""
    file: dict[str, Any] = {"type": "string", "contentMediaType": media_type or "application/octet-stream"}
    fields = dict.fromkeys((*files, *optional), file)
    content: dict[str, Any] = {"schema": {"type": "object", "properties": fields, "required": list(files)}}
    if media_type:
        content["encoding"] = {name: {"contentType": media_type} for name in files}
    return {FORM: content}
