"""Pictures as a viewer shows them, as arrays.

The metadata of a file are applied to its pixels: it is turned upright, colours with a profile become sRGB, 16 bits
become 8 by their upper half, and what is transparent lies on white, unless the array has a channel for it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from itertools import islice
from typing import Any, Literal

from kappa.adapters.exif import is_sound, orientation_of
from kappa.adapters.media_types import understood
from kappa.errors import BadInputError, optional_import
from kappa.types import MEDIA_TYPES, Payload

__all__ = ["DECODERS", "Mode", "array_of_image", "media_types_of", "pillow"]

Mode = Literal["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F"]

DECODERS: Mapping[str, str] = {
    ".apng": "PNG",
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".dib": "DIB",
    ".gif": "GIF",
    ".jfif": "JPEG",
    ".jp2": "JPEG2000",
    ".jpe": "JPEG",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pbm": "PPM",
    ".pgm": "PPM",
    ".png": "PNG",
    ".pnm": "PPM",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Pillow's name of a format by file extension. What Pillow knows beyond these starts programs (PostScript), has no
signature, or is rarely sent."""

_BYTES_PER_PIXEL: Mapping[Mode, int] = {"L": 1, "LA": 2, "RGBA": 4, "CMYK": 4, "I": 4, "F": 4}
_MOST_SCANS = 64
_STRIP_PIXELS = 1 << 20
_WORK_PER_PIXEL: Mapping[str, int] = {"JPEG2000": 20, "WEBP": 8, "AVIF": 8, "progressive": 6}
"""Bytes of memory for decoding, where that is much more than the array."""
_SLOW_CODECS = frozenset({"bmp_rle", "ppm", "ppm_plain"})
"""Formats that Pillow decodes in Python."""
_MOST_SLOW_BYTES = 1 << 19
_SMALL_BYTES = 1 << 16
_TAGGED = re.compile(rb"II[*+]\0|MM\0[*+]")
_MOST_TAGGED = 16


def pillow() -> Any:
    """Import Pillow; raises `MissingDependencyError`."""
    with optional_import("pillow", needed_for="an image"):
        from PIL import Image
    return Image


@cache
def media_types_of(formats: tuple[str, ...]) -> tuple[str, ...]:
    """Return the media types of pictures in these formats, the preferred one first."""
    return tuple(dict.fromkeys(MEDIA_TYPES[name] for name in formats))


def array_of_image(payload: Payload, *, formats: tuple[str, ...], mode: Mode) -> Any:
    """Decode a picture, the first one of several in a file, to an array of height × width × channels.

    It is of ``uint8``; of ``int32`` for ``I`` and ``float32`` for ``F``, which have no channels, as ``L``. Raises
    `BadInputError`: 415 for one that says it is of another format, 413 before one unfolds to too much, 422 for one
    whose values have no range that would lead to 8 bits, and 400 for what cannot be decoded.
    """
    image_module = pillow()
    takes = media_types_of(formats)
    if payload.media_type not in takes:
        understood(payload, takes)
    try:
        with _opened(payload.data, _decoders_of(formats)) as image:
            _limit(image, payload, mode, most_pixels=image_module.MAX_IMAGE_PIXELS)
            image.load()
            return _upright(_array(image, mode), orientation_of(image.info.get("exif", b"")))
    except BadInputError:
        raise
    except (image_module.DecompressionBombError, image_module.DecompressionBombWarning):
        raise _too_many_pixels(image_module.MAX_IMAGE_PIXELS) from None
    except Exception as exc:  # noqa: BLE001 - decoders of damaged files raise whatever they stumble over
        reason = "" if isinstance(exc, image_module.UnidentifiedImageError) or not str(exc) else f": {exc}"
        accepted = ", ".join(f"`{name}`" for name in formats)
        raise BadInputError(f"The file is not an image in one of {accepted}{reason}.") from None


@cache
def _decoders_of(formats: tuple[str, ...]) -> list[str]:
    image_module = pillow()
    image_module.init()
    return [name for name in dict.fromkeys(DECODERS[name] for name in formats) if name in image_module.OPEN]


def _opened(data: bytes, decoders: list[str]) -> Any:
    """Open a picture; reading its head takes time and memory by its size, and not by its metadata."""
    file = _Watched(data) if len(data) > _SMALL_BYTES else io.BytesIO(data)
    if data.startswith(b"\xff\xd8\xff") and "JPEG" in decoders:
        return _jpeg()(file)
    tagged = [data] if data.startswith((b"II", b"MM")) else []
    if data[4:8] == b"ftyp":
        tagged = [data[match.start() :] for match in islice(_TAGGED.finditer(data), _MOST_TAGGED)]
    if not all(map(is_sound, tagged)):
        raise BadInputError("The tags of the image have more values than it has bytes.")
    return pillow().open(file, formats=decoders)


class _Watched(io.BytesIO):
    """A file that limits how much is read of it, and in how many pieces: an empty block has two bytes."""

    _pieces_left = 600_000

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._bytes_left = 8 * len(data) + (1 << 20)

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._pieces_left -= 1
        self._bytes_left -= len(data)
        if self._pieces_left < 0 or self._bytes_left < 0:
            raise BadInputError("The image has too many parts.")
        return data


@cache
def _jpeg() -> Any:
    """Return Pillow's JPEG without what it makes of Exif data, whose tags may share their bytes, and of further
    pictures."""
    from PIL.JpegImagePlugin import JpegImageFile

    class Jpeg(JpegImageFile):
        def _read_dpi_from_exif(self) -> None:
            pass

    return Jpeg


def _too_many_pixels(most: int) -> BadInputError:
    return BadInputError(f"The image has more than the {most} pixels that are taken here.", http_status=413)


def _limit(image: Any, payload: Payload, mode: Mode, *, most_pixels: int | None) -> None:
    """Refuse a picture that decodes to too much, by its head."""
    pixels = image.width * image.height
    if most_pixels is not None and pixels > most_pixels:
        raise _too_many_pixels(most_pixels)
    per_pixel = _BYTES_PER_PIXEL.get(mode, 3)
    if image.info.get("progressive"):
        per_pixel = max(per_pixel, _WORK_PER_PIXEL["progressive"])
    size, most = pixels * max(per_pixel, _WORK_PER_PIXEL.get(image.format, 0)), payload.limits.max_bytes
    if size > most:
        message = f"The image of {image.width} × {image.height} pixels unfolds to {size} bytes; {most} are taken here."
        raise BadInputError(message, http_status=413)
    if image.format == "JPEG" and (scans := payload.data.count(b"\xff\xda")) > _MOST_SCANS:
        # Each scan may be a few bytes, and goes over all pixels.
        raise BadInputError(f"The image has {scans} scans; {_MOST_SCANS} are taken here.", http_status=413)
    if any(tile[0] in _SLOW_CODECS for tile in image.tile[:1]) and len(payload.data) > _MOST_SLOW_BYTES:
        message = f"An image in this form of {image.format} may have {_MOST_SLOW_BYTES} bytes; send it as PNG."
        raise BadInputError(message, http_status=413)


# -- pixels ------------------------------------------------------------------------------------------------------------


def _array(image: Any, mode: Mode) -> Any:
    import numpy as np

    bits = _bits_of_grey(image)
    if mode in ("I", "F") and (bits or image.mode in ("I", "F")):
        if image.mode == "F" and mode == "I":
            raise _unknown_range("F", 'whole numbers, as this API does with `pilmode = "I"`')
        return np.array(image, dtype="int32" if mode == "I" else "float32")
    if bits:
        image = _in_8_bits(image, bits)
    elif image.mode in ("I", "F"):
        raise _unknown_range(image.mode, "8 bits")
    return _in_strips(image, mode)


def _bits_of_grey(image: Any) -> int:
    """Return how many bits a grey pixel has that has more than 8 of them, where that is known; else 0."""
    if image.mode.startswith("I;16"):
        return int(image.tag_v2.get(258, (16,))[0]) if image.format == "TIFF" else 16
    return 16 if image.mode == "I" and image.format in ("PNG", "PPM") else 0


def _in_8_bits(image: Any, bits: int) -> Any:
    """Return a deep grey picture in 8 bits, with its transparent grey, if it has one, in a channel."""
    import numpy as np

    deep = np.asarray(image)
    is_inverted = image.format == "TIFF" and image.tag_v2.get(262) == 0
    grey = pillow().fromarray(((((1 << bits) - 1 - deep) if is_inverted else deep) >> (bits - 8)).astype("uint8"))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(pillow().fromarray(np.where(deep == clear, 0, 255).astype("uint8")))
    return grey


def _unknown_range(mode: Literal["I", "F"], wanted: str) -> BadInputError:
    kind = "numbers of 32 bits" if mode == "I" else "floating-point numbers"
    message = (
        f"The image holds {kind}, whose range is unknown, so that they cannot become {wanted}; send one of 8 or 16 "
        f'bits per channel. An API that takes such images declares `pilmode = "{mode}"`.'
    )
    return BadInputError(message, http_status=422)


def _in_strips(image: Any, mode: Mode) -> Any:
    """Return the pixels in a mode, converted some rows at a time, so that no further picture fills the memory."""
    import numpy as np

    turned = partial(_turned, mode="L" if mode in ("I", "F") else mode, to_srgb=_conversion(image, mode))
    dtype = {"I": "int32", "F": "float32"}.get(mode, "uint8")
    height, rows = image.height, max(1, _STRIP_PIXELS // image.width)
    if height <= rows:
        return np.array(turned(image), dtype=dtype)
    channels = len(mode) if mode in ("LA", "RGB", "RGBA", "CMYK", "LAB", "HSV") else {"YCbCr": 3}.get(mode, 0)
    whole = np.empty((height, image.width, channels) if channels else (height, image.width), dtype)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        whole[top:bottom] = np.asarray(turned(image.crop((0, top, image.width, bottom))))
    return whole


def _turned(strip: Any, *, mode: str, to_srgb: Callable[[Any], Any] | None) -> Any:
    """Return some rows of a picture of 8 bits in another mode."""
    if strip.has_transparency_data:
        strip = _with_alpha(strip)
        strip = to_srgb(strip) if to_srgb is not None else strip
        if mode in ("LA", "RGBA"):
            return strip.convert(mode)
        white = pillow().new("RGBA", strip.size, (255, 255, 255, 255))
        strip = pillow().alpha_composite(white, strip).convert("RGB")
    elif strip.mode != mode or to_srgb is not None:
        if strip.mode not in ("L", "RGB", "CMYK"):
            strip = strip.convert("L" if strip.mode == "1" else "RGB")
        strip = to_srgb(strip) if to_srgb is not None else strip
    if strip.mode == mode:
        return strip
    if mode in ("LAB", "HSV", "YCbCr", "CMYK") or strip.mode == "CMYK":
        strip = strip.convert("RGB")
    return strip.convert(mode)


def _with_alpha(strip: Any) -> Any:
    clear = strip.info.get("transparency")
    if strip.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:  # of a picture that had 16 bits
        strip.info["transparency"] = tuple(value >> 8 for value in clear)
    if strip.mode == "La":
        strip = strip.convert("LA")
    return strip.convert("RGBA")


def _upright(array: Any, orientation: int) -> Any:
    """Return a picture as it was meant to be held (Exif 3.0, orientation)."""
    import numpy as np

    if orientation not in range(2, 9):
        return array
    quarters, is_mirrored = {2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (3, 0), 7: (1, 1), 8: (1, 0)}[orientation]
    turned = np.rot90(array, quarters)
    return np.ascontiguousarray(np.fliplr(turned) if is_mirrored else turned)


# -- colours -----------------------------------------------------------------------------------------------------------


def _conversion(image: Any, mode: Mode) -> Callable[[Any], Any] | None:
    """Return what turns pixels into sRGB; ``None`` for those that are, or of which no profile tells that."""
    profile = image.info.get("icc_profile")
    if not profile or (mode == "CMYK" and image.mode == "CMYK"):
        return None
    if image.has_transparency_data:
        return _to_srgb(profile, "RGBA")
    if image.mode in ("P", "RGB", "RGBX"):
        return _to_srgb(profile, "RGB")
    return _to_srgb(profile, image.mode) if image.mode in ("L", "CMYK") else None


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> Callable[[Any], Any] | None:
    try:
        from PIL import ImageCms

        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        is_for_mode = embedded.profile.xcolor_space.strip() == {"L": "GRAY", "CMYK": "CMYK"}.get(mode, "RGB")
        if not is_for_mode or "srgb" in (embedded.profile.profile_description or "").lower():
            return None
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(embedded, srgb, mode, "RGBA" if mode == "RGBA" else "RGB").apply
    except Exception:  # noqa: BLE001 - a damaged profile is no profile
        return None
