"""Pictures in and out, as arrays."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from kappa.adapters.file import sole
from kappa.adapters.multipart import form_content
from kappa.adapters.negotiation import preferred
from kappa.adapters.picture import DECODERS, Mode, array_of_image, media_types_of, pillow
from kappa.errors import BadInputError, InferenceFailedError
from kappa.spec.contracts import InputAdapter, OutputAdapter
from kappa.types import Answer, Payload

__all__ = [
    "IMAGE_FORMATS",
    "ImageFormats",
    "ImageInput",
    "ImageOutput",
    "encode_image",
]


def _extension(text: str) -> str:
    if not _EXTENSION.fullmatch(text):
        raise ValueError(f"`{text}` is not a format of pictures that is decoded; these are {', '.join(DECODERS)}")
    return f".{text.lower().removeprefix('.')}"


def _in_any_case(extension: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in extension[1:])


_EXTENSION = re.compile(rf"\.?({'|'.join(map(_in_any_case, DECODERS))})", re.ASCII)  # JSON Schema knows no flags


ImageFormats = Annotated[
    tuple[
        Annotated[str, AfterValidator(_extension), Field(json_schema_extra={"pattern": f"^{_EXTENSION.pattern}$"})],
        ...,
    ],
    Field(min_length=1),
]
"""File extensions like `.png`, with or without the dot."""

IMAGE_FORMATS = (".jpg", ".jpeg", ".png", ".tiff", ".webp", ".bmp")


_TEXTS = (b"{", b"[", b'"', b"data:")
"""How JSON and data URLs begin, in which other servers take pictures."""
_ADVICE = "Send the file as it is, `curl -F file=@picture.png`, and not as text or within JSON."


class ImageInput(InputAdapter):
    """A picture: the body as it is, or the one file of a form; functions receive an array of height × width × channels
    that holds what a viewer shows of it, batch functions a list of them."""

    type: Literal["image"] = "image"
    accept_image_formats: ImageFormats = IMAGE_FORMATS
    """The formats that are decoded, as file extensions."""
    pilmode: Mode = "RGB"
    """What the picture is converted to, in Pillow's words. All give `uint8`, but `I` (`int32`) and `F` (`float32`), for
    grey pictures of more than 8 bits; `L` (grey), `I` and `F` have no channels."""

    def requires(self) -> tuple[str, ...]:
        return ("numpy", "pillow")

    def decoder(self, load: Callable[[str], Any]) -> Callable[[Payload], Any]:
        pillow()
        return super().decoder(load)

    def decode(self, payload: Payload) -> Any:
        try:
            return array_of_image(payload, formats=self.accept_image_formats, mode=self.pilmode)
        except BadInputError as exc:
            if not payload.data.startswith(_TEXTS) or payload.name:
                raise
            raise BadInputError(f"{exc} {_ADVICE}", http_status=exc.http_status) from None

    def nbytes_of(self, form: Any) -> int:
        return int(form.nbytes)

    def request_content(self) -> dict[str, Any]:
        media_types = media_types_of(self.accept_image_formats)
        return {**{kind: {"schema": {}} for kind in media_types}, **form_content(["file"])}


class ImageOutput(OutputAdapter):
    """A picture, from an array of `uint8` (height × width, × 3 for RGB or × 4 for RGBA) or a `PIL.Image`."""

    type: Literal["image"] = "image"
    format: Literal["png", "jpeg", "webp"] = "png"
    """What it is sent as, unless the client accepts only another one of these."""

    def requires(self) -> tuple[str, ...]:
        return ("numpy", "pillow")

    def encode(self, value: Any, *, accept: str = "") -> Answer:
        return encode_image(sole(value), accept=accept, first=self.format)

    def response_content(self) -> dict[str, Any]:
        return {kind: {"schema": {}} for kind in _offers(self.format)}


def _offers(first: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"image/{kind}" for kind in (first, "png", "jpeg", "webp")))


def encode_image(value: Any, *, accept: str = "", first: str = "png") -> Answer:
    """Answer with a picture; raises `InferenceFailedError` for anything else."""
    image = _image_of(value)
    media_type = preferred(accept, _offers(first))
    if media_type == "image/jpeg" and image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format=media_type.removeprefix("image/"))
    return Answer(buffer.getvalue(), media_type)


def _image_of(value: Any) -> Any:
    image_module = pillow()
    if isinstance(value, image_module.Image):
        return value
    import numpy as np

    array = np.asarray(value)
    if array.dtype == np.uint8 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        return image_module.fromarray(np.ascontiguousarray(array))
    description = f"`{array.dtype}` of shape {array.shape}" if array.dtype != object else f"`{type(value).__name__}`"
    raise InferenceFailedError(
        f"A {description} is not an image: return an array of `uint8`, height × width, or × 3 for RGB or × 4 for RGBA."
    )
