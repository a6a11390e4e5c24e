"""Text: a request's body, decoded by its charset."""

from __future__ import annotations

from typing import Any, Literal

from kappa.adapters.charsets import decode_text
from kappa.adapters.multipart import form_content
from kappa.spec.contracts import InputAdapter
from kappa.types import Payload

__all__ = ["StringInput"]


class StringInput(InputAdapter):
    """Text, whatever it is; functions receive a `str`, batch functions a list of them."""

    copies = True

    type: Literal["string"] = "string"

    def decode(self, payload: Payload) -> str:
        return decode_text(payload)

    def request_content(self) -> dict[str, Any]:
        text = {"schema": {"type": "string"}}
        return {"text/plain": text, "*/*": text, **form_content(["file"])}
