"""Pictures as a viewer shows them: upright, in sRGB, in 8 bits, on white; and what is refused before it unfolds."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms

from kappa.adapters import AnnotatedImageInput, FileInput, ImageInput, MultiFileInput, MultiImageInput
from kappa.adapters.exif import is_sound, orientation_of
from kappa.adapters.multipart import form_payload
from kappa.errors import BadInputError
from kappa.types import DecodingLimits, Payload

EVERY = ("png", "jpeg", "tiff", "webp", "bmp", "gif", "ppm", "jp2", "avif")
EIGHT_BITS: dict[Any, tuple[int, ...]] = {
    "L": (),
    "LA": (2,),
    "RGB": (3,),
    "RGBA": (4,),
    "CMYK": (4,),
    "YCbCr": (3,),
    "LAB": (3,),
    "HSV": (3,),
}


def written(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "jpeg2000" if form == "jp2" else form, **options)
    return buffer.getvalue()


def array_of(data: bytes, mode: Any = "RGB", *, limits: DecodingLimits | None = None) -> Any:
    payload = Payload(data, limits=limits or DecodingLimits())
    return ImageInput(accept_image_formats=EVERY, pilmode=mode).decode(payload)


def refusal(data: bytes, mode: Any = "RGB", *, limits: DecodingLimits | None = None) -> tuple[int, str]:
    with pytest.raises(BadInputError) as refused:
        array_of(data, mode, limits=limits)
    return refused.value.http_status, str(refused.value)


# -- shape and dtype ---------------------------------------------------------------------------------------------------

SOURCES = {
    **{mode: Image.new(mode, (4, 3)) for mode in ("1", "L", "LA", "RGB", "RGBA", "P", "I;16")},
    **{f"{mode} TIFF": Image.new(mode, (4, 3)) for mode in ("CMYK", "YCbCr", "LAB", "LA", "1", "I;16")},
}
if PIL.__version__ < "13":  # which does not read a small one that it wrote
    del SOURCES["YCbCr TIFF"]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("mode", [*EIGHT_BITS, "I", "F"])
def test_every_kind_of_picture_becomes_every_mode_of_the_dtype_and_shape_that_are_told(name: str, mode: Any) -> None:
    found = array_of(written(SOURCES[name], "tiff" if "TIFF" in name else "png"), mode)
    dtype = {"I": "int32", "F": "float32"}.get(mode, "uint8")
    assert (found.dtype, found.shape) == (np.dtype(dtype), (3, 4, *EIGHT_BITS.get(mode, ())))
    assert found.flags.writeable
    assert found.flags.c_contiguous


def test_a_large_picture_is_converted_like_a_small_one() -> None:
    rows, columns = np.mgrid[0:1100, 0:1000]
    pixels = np.stack([rows % 251, columns % 241, (rows + columns) % 239, (rows * columns) % 256], -1).astype("uint8")
    data = written(Image.fromarray(pixels), "png", compress_level=1)
    np.testing.assert_array_equal(array_of(data, "RGBA"), pixels)
    for mode in ("RGB", "L", "I"):
        whole, part = array_of(data, mode), array_of(written(Image.fromarray(pixels[1040:, :300]), "png"), mode)
        np.testing.assert_array_equal(whole[1040:, :300], part)


# -- orientation -------------------------------------------------------------------------------------------------------

UPRIGHT: dict[int, Callable[[Any], Any]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a[::-1].T,
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: a.T[::-1],
}
"""By what the first row and column of the file are in the picture (Exif 3.0, section 4.6.5)."""
STORED = np.kron(np.array([[0, 60, 120], [180, 220, 255]], "uint8"), np.ones((16, 16), "uint8"))


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff", "mpo"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_picture_stands_upright(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A maker whose name does not fit into four bytes"
    options = {"lossless": True} if form == "webp" else {"quality": 95} if form == "jpeg" else {}
    for source in (Image.fromarray(STORED), Image.fromarray(STORED).convert("RGB")):
        found = array_of(written(source, form, exif=exif, **options), "L")
        expected = UPRIGHT[orientation](STORED)
        assert found.shape == expected.shape
        assert abs(found.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("value", "found"), [(6, 6), (1, 1)])
def test_how_a_picture_was_held_is_read_in_either_order_of_bytes(order: str, value: int, found: int) -> None:
    head = b"II*\0" if order == "<" else b"MM\0*"
    tags = [(0x0100, 4, 1, struct.pack(order + "I", 7)), (0x0112, 3, 1, struct.pack(order + "HH", value, 0))]
    block = head + struct.pack(order + "IH", 8, len(tags))
    block += b"".join(struct.pack(order + "HHI", *tag) + data for *tag, data in tags)
    assert (orientation_of(b"Exif\0\0" + block), orientation_of(block), is_sound(block)) == (found, found, True)
    assert {orientation_of(block[:length]) for length in range(len(block) - 4)} == {1}


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"junk", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_data_take_nothing_from_the_picture(exif: bytes) -> None:
    data = written(Image.fromarray(STORED), "png")
    with_exif = data[:33] + chunk(b"eXIf", exif) + data[33:]
    np.testing.assert_array_equal(array_of(with_exif, "L"), STORED)


# -- depth -------------------------------------------------------------------------------------------------------------

DEEP = np.array([[0, 1, 200, 255], [256, 40000, 65279, 65535]], "uint16")


@pytest.mark.parametrize("form", ["png", "tiff", "ppm", "jp2"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "YCbCr"])
def test_16_bits_become_8_by_their_upper_half(form: str, mode: Any) -> None:
    source = Image.fromarray(DEEP)
    found = array_of(written(source, form), mode)
    grey = found if mode == "L" else found[:, :, 0]
    np.testing.assert_array_equal(grey, DEEP >> 8)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_deep_tiff_is_read_in_either_order_of_bytes(order: str, compression: str | None) -> None:
    source = Image.fromarray(DEEP) if order == "<" else Image.frombytes("I;16B", (4, 2), DEEP.astype(">u2").tobytes())
    data = written(source, "tiff", **({"compression": compression} if compression else {}))
    np.testing.assert_array_equal(array_of(data, "L"), DEEP >> 8)
    np.testing.assert_array_equal(array_of(data, "I"), DEEP)


def test_the_modes_for_deep_pictures_keep_every_value() -> None:
    for form in ("png", "tiff"):
        for mode in ("I", "F"):
            np.testing.assert_array_equal(array_of(written(Image.fromarray(DEEP), form), mode), DEEP)
    floats = np.array([[0.0, 0.25, -3.5, 1e6]], "float32")
    np.testing.assert_array_equal(array_of(written(Image.fromarray(floats), "tiff"), "F"), floats)
    whole = np.array([[0, -5, 70000, 2**30]], "int32")
    np.testing.assert_array_equal(array_of(written(Image.fromarray(whole), "tiff"), "I"), whole)


@pytest.mark.parametrize("mode", [*EIGHT_BITS, "I"])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_values_whose_range_nobody_knows_are_refused_with_the_mode_that_takes_them(dtype: str, mode: Any) -> None:
    if (dtype, mode) == ("int32", "I"):
        return
    status, text = refusal(written(Image.fromarray(np.zeros((2, 2), dtype)), "tiff"), mode)
    assert status == 422
    assert f'`pilmode = "{"I" if dtype == "int32" else "F"}"`' in text


def png(width: int, height: int, bits: int, kind: int, rows: bytes, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_of_every_kind_of_png_become_8(kind: int, channels: int) -> None:
    pixels = np.array([40000, 200, 65535, 65535], ">u2")[:channels]
    if channels == 2:
        pixels[1] = 65535
    found = array_of(png(1, 1, 16, kind, b"\0" + pixels.tobytes()), "RGB")
    expected = [40000 >> 8] * 3 if channels < 3 else [40000 >> 8, 0, 255]
    assert found.tolist() == [[expected]]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_grey_go_from_black_to_white(bits: int) -> None:
    rows = b"\0" + bytes([0b01 << 6 if bits == 1 else ((1 << bits) - 1) << (8 - 2 * bits)])
    assert array_of(png(2, 1, bits, 0, rows), "L").tolist() == [[0, 255]]


def test_black_and_white_is_0_and_255() -> None:
    source = Image.fromarray(np.array([[True, False]]))
    for form in ("png", "tiff", "bmp", "ppm"):
        assert array_of(written(source, form), "L").tolist() == [[255, 0]]


# -- what is transparent -----------------------------------------------------------------------------------------------

CLEAR = Image.fromarray(np.array([[[200, 10, 30, 255], [200, 10, 30, 0], [200, 10, 30, 51]]], "uint8"))
ON_WHITE = [[200, 10, 30], [255, 255, 255], [244, 206, 210]]


def near(found: Any, expected: Any, *, by: int = 1) -> bool:
    return bool(abs(np.asarray(found, int) - np.asarray(expected, int)).max() <= by)


@pytest.mark.parametrize(("form", "options"), [("png", {}), ("webp", {"lossless": True, "exact": True}), ("tiff", {})])
def test_what_is_transparent_lies_on_white(form: str, options: dict[str, Any]) -> None:
    data = written(CLEAR, form, **options)
    assert near(array_of(data)[0], ON_WHITE)
    assert near(array_of(data, "L")[0], np.asarray(ON_WHITE) @ [0.299, 0.587, 0.114])
    assert array_of(data, "I")[0, 1] == 255
    assert array_of(data, "CMYK")[0, 1].tolist() == [0, 0, 0, 0]
    assert array_of(data, "RGBA").tolist() == np.asarray(CLEAR).tolist()


def test_a_channel_for_what_is_transparent_keeps_it() -> None:
    grey = Image.fromarray(np.array([[[90, 255], [90, 0], [90, 51]]], "uint8"), "LA")
    data = written(grey, "png")
    assert array_of(data, "LA").tolist() == np.asarray(grey).tolist()
    assert array_of(data, "L")[0, :2].tolist() == [90, 255]
    assert array_of(written(Image.new("RGB", (1, 1), (1, 2, 3)), "png"), "RGBA").tolist() == [[[1, 2, 3, 255]]]


def transparent_forms() -> dict[str, bytes]:
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 10, 30, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    colour = Image.new("RGB", (2, 1), (200, 10, 30))
    colour.putpixel((1, 0), (0, 0, 255))
    return {
        "palette, one of it": written(palette, "png", transparency=1),
        "palette, each": written(palette, "png", transparency=b"\xff\0"),
        "gif": written(palette, "gif", transparency=1),
        "a colour": written(colour, "png", transparency=(0, 0, 255)),
        "a deep colour": png(
            2, 1, 16, 2, b"\0" + struct.pack(">6H", 200 << 8, 10 << 8, 30 << 8, 0, 0, 65535),
            chunk(b"tRNS", struct.pack(">3H", 0, 0, 65535)),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", transparent_forms())
def test_a_colour_that_is_transparent_lies_on_white(name: str) -> None:
    data = transparent_forms()[name]
    assert array_of(data).tolist() == [[[200, 10, 30], [255, 255, 255]]]
    assert array_of(data, "RGBA")[0, :, 3].tolist() == [255, 0]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_grey_that_is_transparent_lies_on_white(bits: int) -> None:
    values = [100, 7] if bits == 8 else [100 << 8, 7 << 8]
    rows = b"\0" + struct.pack(">2B" if bits == 8 else ">2H", *values)
    data = png(2, 1, bits, 0, rows, chunk(b"tRNS", struct.pack(">H", values[1])))
    assert array_of(data, "L").tolist() == [[100, 255]]
    assert array_of(data, "LA").tolist() == [[[100, 255], [7, 0]]]


def test_a_palette_shows_its_colours() -> None:
    source = Image.new("P", (1, 1), 1)
    source.putpalette([0, 0, 0, 10, 200, 30])
    for form in ("png", "gif", "bmp", "tiff"):
        assert array_of(written(source, form)).tolist() == [[[10, 200, 30]]]


# -- colours -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jpeg", "tiff"])
def test_four_inks_show_their_colours(form: str) -> None:
    for inks, colour in {
        (255, 0, 0, 0): (0, 255, 255),
        (0, 0, 0, 0): (255, 255, 255),
        (0, 0, 0, 255): (0, 0, 0),
    }.items():
        data = written(Image.new("CMYK", (16, 16), inks), form, **({"quality": 95} if form == "jpeg" else {}))
        assert near(array_of(data)[5, 5], colour, by=4)
        assert near(array_of(data, "CMYK")[5, 5], inks, by=4)


def test_four_inks_that_say_they_are_adobes_are_taken_as_inverted() -> None:
    data = written(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "jpeg", quality=95)
    assert b"Adobe" in data
    assert near(array_of(data)[5, 5], (0, 255, 255), by=4)


WIDE_COLUMNS = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7445]])
SRGB_COLUMNS = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
"""What the primaries of Adobe RGB (1998) and of sRGB are in XYZ, adapted to D50."""


def in_srgb(colour: tuple[int, ...], gamma: float = 2.2) -> Any:
    """Return a colour of Adobe RGB in sRGB (IEC 61966-2-1), clipped."""
    linear = np.linalg.solve(SRGB_COLUMNS, WIDE_COLUMNS @ (np.array(colour) / 255) ** gamma).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def profile(gamma: float = 2.2) -> bytes:
    """Return the ICC profile (version 2) of a display with the primaries of Adobe RGB."""
    xyz = {
        name: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in column))
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), WIDE_COLUMNS.T, strict=True)
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"Adobe-like\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 79,
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        **xyz,
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        padded = value + b"\0" * (-len(value) % 4)
        table += name + struct.pack(">II", place + len(body), len(value))
        body += padded
    head = (
        struct.pack(">I4sI4s4s4s", 0, b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp" + bytes(28)
    )
    head += struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    whole = head + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


WIDE = profile()


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff", "webp"])
def test_colours_with_a_profile_become_srgb(form: str) -> None:
    options = {"lossless": True} if form == "webp" else {"quality": 100, "subsampling": 0} if form == "jpeg" else {}
    source = Image.new("RGB", (8, 8), (120, 200, 80))
    found = array_of(written(source, form, icc_profile=WIDE, **options))[0, 0]
    assert near(found, in_srgb((120, 200, 80)), by=3)
    assert near(array_of(written(source, form, icc_profile=WIDE, **options), "RGBA")[0, 0, :3], found)
    assert near(array_of(written(source, form, **options))[0, 0], (120, 200, 80), by=2)


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), id="srgb"),
        pytest.param(b"junk", id="junk"),
        pytest.param(WIDE[:200], id="cut"),
        pytest.param(WIDE.replace(b"RGB ", b"CMYK", 1), id="of another kind"),
        pytest.param(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), id="lab"),
    ],
)
def test_a_profile_that_says_nothing_of_these_colours_changes_none(told: bytes) -> None:
    for mode, colour in (("RGB", (120, 200, 80)), ("L", 90), ("RGBA", (120, 200, 80, 255))):
        data = written(Image.new(mode, (2, 2), colour), "png", icc_profile=told)
        assert array_of(data, mode)[0, 0].tolist() == (list(colour) if isinstance(colour, tuple) else colour)


def test_transparency_and_a_profile_go_together() -> None:
    data = written(Image.new("RGBA", (1, 1), (120, 200, 80, 51)), "png", icc_profile=WIDE)
    assert array_of(data, "RGBA")[0, 0, 3] == 51
    assert near(array_of(data)[0, 0], 0.8 * 255 + 0.2 * in_srgb((120, 200, 80)), by=2)


# -- several pictures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["gif", "png", "webp", "tiff", "mpo"])
def test_the_first_of_several_pictures_is_taken(form: str) -> None:
    first, second = Image.new("RGB", (8, 8), (250, 250, 250)), Image.new("RGB", (8, 8), (0, 0, 0))
    data = written(first, form, save_all=True, append_images=[second, second])
    assert near(array_of(data), np.full((8, 8, 3), 250), by=3)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", EVERY)
def test_a_picture_that_ends_too_soon_is_refused(form: str) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype="uint8"))
    data = written(image, form)
    for length in (len(data) // 2, 30, 12):
        assert refusal(data[:length])[0] in (400, 415), length


@pytest.mark.parametrize(
    ("mode", "bytes_per_pixel"),
    [("L", 1), ("LA", 2), ("RGB", 3), ("HSV", 3), ("RGBA", 4), ("CMYK", 4), ("I", 4), ("F", 4)],
)
def test_a_picture_is_refused_by_what_it_unfolds_to_before_it_does(
    mode: Any, bytes_per_pixel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(Image.new("1", (900, 400)), "png")
    needed = 900 * 400 * bytes_per_pixel
    assert array_of(data, mode, limits=DecodingLimits(max_bytes=needed)).nbytes == needed
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda _: pytest.fail("it was unfolded"))
    message = f"The image of 900 × 400 pixels unfolds to {needed} bytes; {needed - 1} are taken here."
    assert refusal(data, mode, limits=DecodingLimits(max_bytes=needed - 1)) == (413, message)


def test_few_bytes_that_are_a_huge_picture_are_refused_by_default() -> None:
    data = written(Image.new("1", (9400, 9400)), "png")
    assert len(data) < 11_000
    assert refusal(data)[0] == 413


def test_the_limit_is_for_all_pictures_of_a_form_together() -> None:
    adapter = MultiImageInput(input_names=["left", "right"])
    part = Payload(written(Image.new("1", (100, 100)), "png"), "image/png", name="a.png")
    form = form_payload([("left", part), ("right", part)])

    def limited(size: int) -> Payload:
        return Payload(form.data, form.media_type, boundary=form.boundary, limits=DecodingLimits(max_bytes=size))

    assert adapter.nbytes_of(adapter.decode(limited(60_000))) == 60_000
    with pytest.raises(BadInputError, match="`right`: The image of 100 × 100 pixels unfolds to 30000 bytes; 29999 "):
        adapter.decode(limited(59_999))


def test_adapters_tell_what_their_forms_hold() -> None:
    data = written(Image.new("RGB", (10, 5)), "png")
    part = Payload(data, "image/png", name="a.png")
    pair = form_payload([("image", part), ("annotations", Payload(b"[1]", "application/json"))])
    files = MultiFileInput(input_names=["image", "none"], allow_none=True)
    told: tuple[tuple[Any, Payload, int], ...] = (
        (ImageInput(), part, 150),
        (ImageInput(pilmode="F"), part, 200),
        (MultiImageInput(), pair, 150),
        (AnnotatedImageInput(), pair, 150),
        (FileInput(), part, len(data)),
        (FileInput(), Payload(data), 0),
        (files, pair, len(data)),
    )
    for adapter, payload, size in told:
        assert adapter.nbytes_of(adapter.decode(payload)) == size


def tagged(count: int, size: int) -> bytes:
    """Return a directory of tags that all have the same bytes as their value."""
    place = 8 + 2 + 12 * count + 4
    tags = b"".join(struct.pack("<HHII", 1000 + number, 7, size, place) for number in range(count))
    return b"II*\0" + struct.pack("<IH", 8, count) + tags + bytes(4 + size)


def as_segments(block: bytes) -> bytes:
    pieces = [b"Exif\0\0" + block[i : i + 60_000] for i in range(0, len(block), 60_000)]
    return b"".join(b"\xff\xe1" + struct.pack(">H", len(piece) + 2) + piece for piece in pieces)


SMALL = {form: written(Image.new("RGB", (8, 8), (9, 9, 9)), form) for form in ("png", "jpeg", "gif")}
BARE_JPEG = SMALL["jpeg"][:2] + SMALL["jpeg"][20:]  # without JFIF's segment, which tells a resolution
COSTLY = {
    "tags that share their bytes": tagged(900, 4_000_000),
    "a tag of millions of values": b"II*\0" + struct.pack("<IHHHII", 8, 1, 273, 4, 1_000_000, 30) + bytes(4_000_100),
    "tags without number": tagged(60_000, 4),
    "empty chunks": SMALL["png"][:33] + chunk(b"aaAa", b"") * 300_000 + SMALL["png"][33:],
    "empty segments": SMALL["jpeg"][:2] + b"\xff\xe5\0\2" * 300_000 + SMALL["jpeg"][2:],
    "padding": SMALL["jpeg"][:2] + b"\xff" * 700_000 + SMALL["jpeg"][2:],
    "scans": BARE_JPEG[:-2] + b"\xff\xda" * 80 + BARE_JPEG[-2:],
    "blocks": SMALL["gif"][:13] + b"a" * 700_000,
    "runs": (
        b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078)
        + struct.pack("<IiiHHIIiiII", 40, 900, 900, 1, 8, 1, 0, 0, 0, 256, 0)
        + bytes(1024) + b"\1\1" * 400_000
    ),
    "numbers in words": b"P3\n500 500\n255\n" + b"1 " * 750_000,
}  # fmt: skip


@pytest.mark.parametrize("name", COSTLY)
def test_what_would_cost_much_more_than_its_bytes_is_refused(name: str) -> None:
    status, text = refusal(COSTLY[name])
    assert status in (400, 413)
    assert any(word in text for word in ("too many parts", "more values than", "scans", "in this form of")), text


def test_exif_data_whose_tags_share_their_bytes_are_not_read() -> None:
    block = tagged(5000, 2_000_000)
    for data in (
        BARE_JPEG[:2] + as_segments(block) + BARE_JPEG[2:],
        SMALL["png"][:33] + chunk(b"eXIf", block) + SMALL["png"][33:],
    ):
        assert array_of(data).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "exception",
    [
        SyntaxError,
        struct.error,
        OSError,
        ValueError,
        MemoryError,
        OverflowError,
        IndexError,
        TypeError,
        EOFError,
        zlib.error,
        RecursionError,
        KeyError,
        AssertionError,
    ],
)
def test_whatever_a_decoder_raises_is_the_senders_fault(
    exception: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise exception("broken")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    assert refusal(SMALL["png"])[0] == 400


@pytest.mark.parametrize("most", [None, 64])
def test_pillows_own_limit_may_be_changed_or_lifted(most: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    assert array_of(SMALL["png"]).shape == (8, 8, 3)


@pytest.mark.parametrize("extension", [".eps", ".psd", ".fpx", ".pdf", ".svg", ".wmf", ".fits"])
def test_formats_that_start_programs_or_are_rare_are_none(extension: str) -> None:
    with pytest.raises(ValueError, match="is not a format of pictures that is decoded; these are"):
        ImageInput(accept_image_formats=[extension])


def test_a_decoder_that_was_not_asked_for_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
    monkeypatch.setattr("PIL.EpsImagePlugin.EpsImageFile._open", lambda _: pytest.fail("it was tried"), raising=False)
    assert refusal(data)[0] == 400
