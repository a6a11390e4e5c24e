"""Files in and out, as they are."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field

from kappa.adapters.multipart import form_content
from kappa.errors import BadInputError, InferenceFailedError
from kappa.spec.contracts import InputAdapter, OutputAdapter
from kappa.spec.texts import Line
from kappa.types import MEDIA_TYPES, Answer, FileLike, Payload, extension_of

__all__ = ["FileInput", "FileOutput", "encode_file", "file_of", "sole"]


_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[A-Za-z0-9-]+=[A-Za-z0-9_.-]+)*", re.ASCII)


def _check_media_type(text: str) -> str:
    if not _MEDIA_TYPE.fullmatch(text):
        raise ValueError(f"`{text}` is not a media type: write it like `application/pdf`")
    return text


MediaType = Annotated[
    str, AfterValidator(_check_media_type), Field(json_schema_extra={"pattern": f"^{_MEDIA_TYPE.pattern}$"})
]


def file_of(payload: Payload) -> FileLike:
    """Return a payload as functions receive files; each call gives one that was not read yet."""
    return FileLike(payload.data, name=payload.name, media_type=payload.media_type)


class FileInput(InputAdapter):
    """A file: the body as it is, or the one file of a form; functions receive a `kappa.types.FileLike`, batch functions
    a list of them."""

    copies = True

    type: Literal["file"] = "file"

    def decode(self, payload: Payload) -> Payload:
        if not payload.data:
            raise BadInputError("The file is empty.")
        return payload

    def nbytes_of(self, form: Payload) -> int:
        return len(form.data) if form.name else 0  # a body alone is the form itself, and has no name

    def merge(self, forms: Sequence[Payload]) -> list[FileLike]:
        return [file_of(form) for form in forms]

    def single(self, form: Payload) -> FileLike:
        return file_of(form)

    def request_content(self) -> dict[str, Any]:
        return {"application/octet-stream": {"schema": {}}, "*/*": {"schema": {}}, **form_content(["file"])}


class FileOutput(OutputAdapter):
    """A file: bytes, a `kappa.types.FileLike` or another open binary file, or the `pathlib.Path` of one."""

    type: Literal["file"] = "file"
    media_type: MediaType | None = None
    """The media type of the file; by its name if not given, else `application/octet-stream`."""
    filename: Line | None = None
    """The name under which clients save it; the file's own if it has one."""

    def encode(self, value: Any, *, accept: str = "") -> Answer:  # noqa: ARG002 - a file has one form
        return encode_file(sole(value), media_type=self.media_type, filename=self.filename)

    def response_content(self) -> dict[str, Any]:
        return {self.media_type or "application/octet-stream": {"schema": {}}}


def sole(value: Any) -> Any:
    """Return the one file of a request's rows: a list of one is what a batch of rows leaves for each request."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def encode_file(value: Any, *, media_type: str | None = None, filename: str | None = None) -> Answer:
    """Answer with a file; raises `InferenceFailedError` for anything else."""
    name = filename
    if isinstance(value, Path):
        name = name or value.name
        try:
            data = value.read_bytes()
        except OSError as exc:
            raise InferenceFailedError(f"The file `{value}` cannot be read: {exc.strerror}.") from exc
    elif isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
    elif isinstance(value, io.BytesIO):
        data = value.getvalue()
        name = name or getattr(value, "name", "")
        media_type = media_type or getattr(value, "media_type", None)
    elif isinstance(value, io.BufferedIOBase | io.RawIOBase):
        data = value.read() or b""
        name = name or Path(str(getattr(value, "name", ""))).name
    else:
        raise InferenceFailedError(
            f"A `{type(value).__name__}` is not a file: return bytes, an open binary file or a `pathlib.Path`."
        )
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"} if name else {}
    kind = media_type or MEDIA_TYPES.get(extension_of(name or ""), "application/octet-stream")
    return Answer(data, kind, http_headers=headers)
