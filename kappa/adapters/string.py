"""Text: a request's body, decoded by its charset."""

from __future__ import annotations

import sys
from typing import Any, Literal

from kappa.adapters.charsets import decode_text
from kappa.adapters.columns import shown
from kappa.adapters.json import parse_json
from kappa.adapters.media_types import JSON, canonical
from kappa.adapters.multipart import form_content
from kappa.errors import BadInputError
from kappa.spec.contracts import InputAdapter
from kappa.types import Payload

__all__ = ["StringInput"]


class StringInput(InputAdapter):
    """Text, whatever it is; functions receive a `str`, batch functions a list of them. A body that says it is JSON must
    be one string of it, which is the text."""

    copies = True

    type: Literal["string"] = "string"

    def decode(self, payload: Payload) -> str:
        is_json = canonical(payload.media_type) == JSON or payload.media_type.endswith("+json")
        is_file = bool(payload.name)  # of which the text is wanted that stands in it, whatever its extension
        return _string_of_json(payload) if is_json and not is_file else decode_text(payload)

    def nbytes_of(self, form: str) -> int:
        return sys.getsizeof(form)

    def sample_body(self) -> Any:
        return "some text"

    def request_content(self) -> dict[str, Any]:
        text = {"schema": {"type": "string"}}
        return {"text/plain": text, "*/*": text, **form_content(["file"])}


def _string_of_json(payload: Payload) -> str:
    value = parse_json(payload)
    if not isinstance(value, str):
        raise BadInputError(
            f"One string of JSON is needed, not {shown(value)}. Text that is not JSON, or must stay unchanged, is sent "
            "as `text/plain`.",
            http_status=422,
        )
    return value
