"""Pictures in and out, as arrays; the only place where Pillow is imported."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from kappa.adapters.file import sole
from kappa.adapters.media_types import understood
from kappa.adapters.multipart import form_content
from kappa.adapters.negotiation import preferred
from kappa.errors import BadInputError, InferenceFailedError, MissingDependencyError
from kappa.spec.contracts import InputAdapter, OutputAdapter
from kappa.types import MEDIA_TYPES, Answer, Payload

__all__ = [
    "IMAGE_FORMATS",
    "ImageFormats",
    "ImageInput",
    "ImageOutput",
    "Mode",
    "array_of_image",
    "encode_image",
    "media_types_of",
    "pillow",
]

Mode = Literal["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F"]


_EXTENSION = re.compile(r"\.?[A-Za-z0-9]+", re.ASCII)


def _extension(text: str) -> str:
    if not _EXTENSION.fullmatch(text):
        raise ValueError(f"`{text}` is not the extension of a file: write it like `.png`")
    return f".{text.lower().removeprefix('.')}"


ImageFormats = Annotated[
    tuple[
        Annotated[str, AfterValidator(_extension), Field(json_schema_extra={"pattern": f"^{_EXTENSION.pattern}$"})],
        ...,
    ],
    Field(min_length=1),
]
"""File extensions like `.png`, with or without the dot."""

IMAGE_FORMATS = (".jpg", ".jpeg", ".png", ".tiff", ".webp", ".bmp")


def pillow() -> Any:
    """Import Pillow; raises `MissingDependencyError`."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependencyError("pillow", needed_for="an image") from None
    return Image


def media_types_of(formats: tuple[str, ...]) -> tuple[str, ...]:
    """Return the media types of pictures in these formats, the preferred one first."""
    return tuple(dict.fromkeys(MEDIA_TYPES.get(one, "image/*") for one in formats))


def array_of_image(payload: Payload, *, formats: tuple[str, ...], mode: Mode) -> Any:
    """Decode a picture to an array of ``uint8``, height × width × channels; without channels for ``L``.

    Raises `BadInputError`: 415 for one that says it is of another format, 413 for one of more pixels than Pillow finds
    safe, 400 for what cannot be decoded.
    """
    import numpy as np

    image_module = pillow()
    accepted = ", ".join(f"`{one}`" for one in formats)
    understood(payload, media_types_of(formats))
    known = image_module.registered_extensions()
    decoders = list(dict.fromkeys(known[one] for one in formats if one in known))
    try:
        with image_module.open(io.BytesIO(payload.data), formats=decoders) as image:
            if image.width * image.height > image_module.MAX_IMAGE_PIXELS:
                raise _too_large(image_module)
            return np.array(image.convert(mode))
    except BadInputError:
        raise
    except (image_module.DecompressionBombError, image_module.DecompressionBombWarning):
        raise _too_large(image_module) from None
    except Exception as exc:  # noqa: BLE001 - decoders of damaged files raise whatever they stumble over
        reason = "" if isinstance(exc, image_module.UnidentifiedImageError) else f": {exc}"
        raise BadInputError(f"The file is not an image in one of {accepted}{reason}.") from None


def _too_large(image_module: Any) -> BadInputError:
    message = f"The image has more than the {image_module.MAX_IMAGE_PIXELS} pixels that are taken here."
    return BadInputError(message, http_status=413)


class ImageInput(InputAdapter):
    """A picture: the body as it is, or the one file of a form; functions receive an array of `uint8`, height × width ×
    channels, batch functions a list of them."""

    type: Literal["image"] = "image"
    accept_image_formats: ImageFormats = IMAGE_FORMATS
    """The formats that are decoded, as file extensions."""
    pilmode: Mode = "RGB"
    """What the picture is converted to, in Pillow's words; `L` is grey and has no channels."""

    def requires(self) -> tuple[str, ...]:
        return ("numpy", "pillow")

    def decoder(self, load: Callable[[str], Any]) -> Callable[[Payload], Any]:
        pillow()
        return super().decoder(load)

    def decode(self, payload: Payload) -> Any:
        return array_of_image(payload, formats=self.accept_image_formats, mode=self.pilmode)

    def request_content(self) -> dict[str, Any]:
        media_types = media_types_of(self.accept_image_formats)
        return {**{one: {"schema": {}} for one in media_types}, **form_content(["file"])}


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
        return {one: {"schema": {}} for one in _offers(self.format)}


def _offers(first: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"image/{one}" for one in (first, "png", "jpeg", "webp")))


def encode_image(value: Any, *, accept: str = "", first: str = "png") -> Answer:
    """Answer with a picture; raises `InferenceFailedError` for what is none."""
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
    found = f"`{array.dtype}` of shape {array.shape}" if array.dtype != object else f"`{type(value).__name__}`"
    raise InferenceFailedError(
        f"A {found} is no image: return an array of `uint8`, height × width, or × 3 for RGB or × 4 for RGBA."
    )
