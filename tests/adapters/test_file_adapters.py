"""Text, files, pictures and forms of them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from kappa.adapters import (
    AnnotatedImageInput,
    FileInput,
    FileOutput,
    ImageInput,
    ImageOutput,
    MultiFileInput,
    MultiImageInput,
    StringInput,
)
from kappa.adapters.multipart import FORM, form_payload, parts_of, sole_part
from kappa.errors import BadInputError, InferenceFailedError, MissingDependencyError
from kappa.types import FileLike, Payload


def picture(width: int = 4, height: int = 3, *, mode: str = "RGB", form: str = "png") -> bytes:
    image = Image.new(mode, (width, height), 7 if mode in ("L", "I;16") else (1, 2, 3, 4)[: len(mode)])
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def refused(call: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(BadInputError) as refusal:
        call()
    return refusal.value.http_status, str(refusal.value)


# -- text --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "utf-16", "cp1252"])
def test_text_is_decoded_by_its_charset(charset: str) -> None:
    assert StringInput().decode(Payload("hé".encode(charset), "text/plain", charset)) == "hé"


def test_a_batch_of_texts_is_a_list_of_them() -> None:
    adapter = StringInput()
    assert (adapter.merge(["a", "b"]), adapter.single("a"), adapter.rows_of("abc")) == (["a", "b"], "a", None)


@pytest.mark.parametrize(
    ("payload", "expected", "message"),
    [
        (Payload(b"\xff", "text/plain"), 400, "The body is not valid `utf-8` text: "),
        (Payload(b"x", "text/plain", "nonsense"), 415, "The charset `nonsense` is not taken here; send `utf-8`, "),
    ],
)
def test_text_that_cannot_be_decoded_is_refused(payload: Payload, expected: int, message: str) -> None:
    status, text = refused(lambda: StringInput().decode(payload))
    assert (status, text[: len(message)]) == (expected, message)


@pytest.mark.parametrize("media_type", ["application/json", "text/json", "application/vnd.acme+json"])
def test_a_string_of_json_is_its_text(media_type: str) -> None:
    assert StringInput().decode(Payload('"I \\"love\\" it: ü"'.encode(), media_type)) == 'I "love" it: ü'


@pytest.mark.parametrize("body", [b'["a", "b"]', b'{"text": "a"}', b"5", b"null", b"true"])
def test_other_json_is_no_text(body: bytes) -> None:
    status, text = refused(lambda: StringInput().decode(Payload(body, "application/json")))
    assert status == 422
    assert text.startswith("One string of JSON is needed, not `")
    assert text.endswith("Text that is not JSON, or must stay unchanged, is sent as `text/plain`.")


def test_text_that_says_it_is_json_and_is_not_is_refused() -> None:
    assert refused(lambda: StringInput().decode(Payload(b"I love it", "application/json")))[0] == 400


@pytest.mark.parametrize(
    "payload",
    [
        Payload(b'["a"]', "text/plain"),
        Payload(b'["a"]', ""),
        Payload(b'["a"]', "application/x-www-form-urlencoded"),
        Payload(b'["a"]', "application/json", name="a.json"),
    ],
    ids=["text", "untold", "curl", "file"],
)
def test_what_is_not_said_to_be_json_is_text_as_it_stands(payload: Payload) -> None:
    assert StringInput().decode(payload) == '["a"]'


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_function_gets_a_file_that_nobody_has_read() -> None:
    adapter = FileInput()
    form = adapter.decode(Payload(b"abc", "application/pdf", name="a.pdf"))
    for file in (*adapter.merge([form, form]), adapter.single(form)):
        assert (file.read(), file.name, file.media_type) == (b"abc", "a.pdf", "application/pdf")
        assert (file.seek(1), file.stream.read()) == (1, b"bc")


def test_an_empty_file_is_refused() -> None:
    assert refused(lambda: FileInput().decode(Payload(b""))) == (400, "The file is empty.")


def test_a_file_like_knows_its_type_by_its_name() -> None:
    assert FileLike(b"", name="CAT.JPG").media_type == "image/jpeg"
    assert FileLike(b"", name="unknown").media_type == ""


@pytest.mark.parametrize(
    ("make", "media_type", "disposition"),
    [
        (lambda _: b"abc", "application/octet-stream", None),
        (lambda _: bytearray(b"abc"), "application/octet-stream", None),
        (lambda _: io.BytesIO(b"abc"), "application/octet-stream", None),
        (lambda _: FileLike(b"abc", name="ä b.csv"), "text/csv", "attachment; filename*=UTF-8''%C3%A4%20b.csv"),
        (lambda folder: folder / "x.json", "application/json", "attachment; filename*=UTF-8''x.json"),
        (lambda folder: (folder / "x.json").open("rb"), "application/json", "attachment; filename*=UTF-8''x.json"),
    ],
    ids=["bytes", "bytearray", "buffer", "named", "path", "open"],
)
def test_what_is_a_file_is_answered_as_it_is(
    make: Callable[[Path], Any], media_type: str, disposition: str | None, tmp_path: Path
) -> None:
    (tmp_path / "x.json").write_bytes(b"abc")
    value = make(tmp_path)
    answer = FileOutput().encode(value)
    if isinstance(value, io.BufferedReader):
        value.close()
    assert (answer.body, answer.media_type) == (b"abc", media_type)
    assert answer.http_headers.get("Content-Disposition") == disposition


def test_the_options_say_what_a_file_is_and_is_called() -> None:
    answer = FileOutput(media_type="application/pdf", filename="report.pdf").encode(b"%PDF")
    assert answer.media_type == "application/pdf"
    assert answer.http_headers == {"Content-Disposition": "attachment; filename*=UTF-8''report.pdf"}


@pytest.mark.parametrize("value", ["text", 5, [b"a", b"b"], None])
def test_what_is_no_file_is_an_error(value: Any) -> None:
    with pytest.raises(InferenceFailedError, match="is not a file: return bytes"):
        FileOutput().encode(value)


def test_a_path_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InferenceFailedError, match="cannot be read: No such file or directory"):
        FileOutput().encode(tmp_path / "gone")


@pytest.mark.parametrize("media_type", ["pdf", "a/b\r\nX-Evil: 1", "a/b; c"])
def test_a_media_type_that_is_none(media_type: str) -> None:
    with pytest.raises(ValidationError, match="is not a media type"):
        FileOutput(media_type=media_type)


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "shape"), [("RGB", (3, 4, 3)), ("L", (3, 4)), ("RGBA", (3, 4, 4)), ("CMYK", (3, 4, 4))]
)
def test_a_picture_is_an_array_of_height_width_and_channels(mode: Any, shape: tuple[int, ...]) -> None:
    found = ImageInput(pilmode=mode).decode(Payload(picture()))
    assert (found.shape, found.dtype, found.flags.writeable) == (shape, np.uint8, True)
    expected = Image.open(io.BytesIO(picture())).convert(mode)
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_a_batch_of_pictures_of_any_size_is_a_list() -> None:
    adapter = ImageInput()
    forms = [adapter.decode(Payload(picture(*size))) for size in ((4, 3), (1, 1))]
    assert adapter.group_of(forms[0]) == adapter.group_of(forms[1])
    assert [array.shape for array in adapter.merge(forms)] == [(3, 4, 3), (1, 1, 3)]


@pytest.mark.parametrize(
    ("payload", "status", "message"),
    [
        (Payload(b"junk", "image/png"), 400, "The file is not an image in one of `.png`, `.jpg`."),
        (Payload(picture()[:40], "image/png"), 400, "The file is not an image in one of `.png`, `.jpg`"),
        (
            Payload(picture(form="gif"), "image/gif"),
            415,
            "`image/gif` is not taken here; send `image/png` or `image/jpeg`.",
        ),
        (
            Payload(picture(form="gif"), name="a.gif"),
            415,
            "`image/gif` is not taken here; send `image/png` or `image/jpeg`.",
        ),
        (Payload(picture(form="gif")), 415, "The body is `image/gif`, which is not taken here; send `image/png` or"),
        (
            Payload(b"{}", "application/json"),
            415,
            "`application/json` is not taken here; send `image/png` or `image/jpeg`.",
        ),
    ],
    ids=["junk", "cut", "by type", "by name", "by content", "json"],
)
def test_a_picture_that_cannot_be_used_is_refused(payload: Payload, status: int, message: str) -> None:
    adapter = ImageInput(accept_image_formats=["png", ".JPG"])
    found_status, text = refused(lambda: adapter.decode(payload))
    assert (found_status, text[: len(message)]) == (status, message)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture(400, 300)
    for limit in (110_000, 1000):  # where Pillow warns, and where it raises
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert refused(lambda: ImageInput().decode(Payload(data))) == (
            413,
            f"The image has more than the {Image.MAX_IMAGE_PIXELS} pixels that are taken here.",
        )


@settings(max_examples=200)
@given(st.sampled_from(["png", "jpeg", "tiff", "webp", "bmp"]), st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_a_damaged_picture_is_read_or_refused(form: str, place: int, junk: bytes) -> None:
    data = bytearray(picture(form=form))
    place %= len(data)
    data[place : place + len(junk)] = junk
    with suppress(BadInputError):
        ImageInput().decode(Payload(bytes(data)))


@pytest.mark.parametrize("formats", [[], [""], ["a/b"]])
def test_formats_that_are_none(formats: list[str]) -> None:
    with pytest.raises(ValidationError):
        ImageInput(accept_image_formats=formats)


@pytest.mark.parametrize(
    ("array", "mode"),
    [(np.zeros((2, 3), "uint8"), "L"), (np.zeros((2, 3, 3), "uint8"), "RGB"), (np.zeros((2, 3, 4), "uint8"), "RGBA")],
)
@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_an_array_is_answered_as_a_picture(array: Any, mode: str, form: Any) -> None:
    for answer in (
        ImageOutput(format=form).encode(array),
        ImageOutput().encode([array], accept=f"image/{form}"),
        ImageOutput().encode(Image.fromarray(array), accept=f"text/html, image/{form};q=0.9, */*;q=0.1"),
    ):
        assert answer.media_type == f"image/{form}"
        image = Image.open(io.BytesIO(answer.body))
        assert (image.format, image.size) == (form.upper(), (3, 2))
        if form == "png":
            assert image.mode == mode


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.zeros((2, 3)), "A `float64` of shape (2, 3) is not an image"),
        (np.zeros((2, 3, 2), "uint8"), "A `uint8` of shape (2, 3, 2) is not an image"),
        (object(), "A `object` is not an image"),
        ("text", "A `<U4` of shape () is not an image"),
    ],
)
def test_what_is_no_picture_is_an_error(value: Any, found: str) -> None:
    with pytest.raises(InferenceFailedError) as failure:
        ImageOutput().encode(value)
    assert str(failure.value)[: len(found)] == found


def test_without_pillow_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = Payload(picture())
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match="Run `pip install pillow`"):
        ImageInput().decode(payload)


# -- forms -------------------------------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5)


@given(st.lists(st.tuples(names, st.binary(max_size=30), names), max_size=4))
def test_a_form_is_read_as_it_was_written(fields: list[tuple[str, bytes, str]]) -> None:
    sent = [(field, Payload(data, "image/x-thing", name=name)) for field, data, name in fields]
    found = parts_of(form_payload(sent))
    assert [part.data for _, part in found] == [part.data for _, part in sent]
    plain = [
        (field, part.name) for field, part in sent if not {*'"%\\'} & {*field, *part.name}
    ]  # browsers escape these, and nobody undoes it
    assert [(field, part.name) for field, part in found if (field, part.name) in plain] == plain


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda junk: b"--b\r\n" + junk + b"\r\n--b--"))
def test_whatever_is_sent_as_a_form_is_read_or_refused(data: bytes) -> None:
    with suppress(BadInputError):
        parts_of(Payload(data, FORM, boundary="b"))


@pytest.mark.parametrize(
    "payload",
    [
        Payload(b"", FORM),
        Payload(b"--b--", FORM, boundary=""),
        Payload(b"--b--", FORM, boundary="x" * 100),
        Payload(b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n1\r\n--b--', FORM, boundary="b"),
        Payload(b"--b\r\nContent-Disposition: form-data", FORM, boundary="b"),
    ],
    ids=["no boundary", "empty boundary", "long boundary", "no text", "cut"],
)
def test_a_form_that_is_none_is_refused(payload: Payload) -> None:
    status, text = refused(lambda: parts_of(payload))
    assert (status, text[:27]) == (400, "The form cannot be read: "[:27] + text[25:27])


@pytest.mark.parametrize(
    ("parts", "media_type"),
    [
        ([("file", Payload(b"1", "text/csv", name="a.bin"))], "text/csv"),
        ([("file", Payload(b"1", "application/octet-stream", name="a.parquet"))], "application/vnd.apache.parquet"),
        ([("file", Payload(b"1", name="a.csv"))], "text/csv"),
        ([("text", Payload(b"0")), ("file", Payload(b"1", name="a.json"))], "application/json"),
        ([("body", Payload(b"1"))], ""),
    ],
    ids=["told", "by extension", "not told", "beside a field", "a field alone"],
)
def test_an_uploaded_file_is_taken_as_if_it_had_been_sent_alone(parts: Any, media_type: str) -> None:
    part = sole_part(form_payload(parts))
    assert (part.data, part.media_type) == (b"1", media_type)


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ([], 0),
        ([("a", Payload(b"", name="x")), ("b", Payload(b"", name="y"))], 2),
        ([("a", Payload(b"")), ("b", Payload(b""))], 2),
    ],
)
def test_an_upload_of_another_number_of_files_is_refused(parts: Any, count: int) -> None:
    assert refused(lambda: sole_part(form_payload(parts))) == (
        400,
        f"The form has {count} files; this API takes exactly one.",
    )


FILES = MultiFileInput(input_names=["left", "right"])


def test_a_function_gets_one_file_per_name() -> None:
    form = FILES.decode(form_payload([("right", Payload(b"2", name="r.txt")), ("left", Payload(b"1", name="l.txt"))]))
    assert [file.read() for file in FILES.single(form) if file] == [b"1", b"2"]
    lefts, rights = FILES.merge([form, form])
    assert ([file.name for file in lefts if file], [file.read() for file in rights if file]) == (
        ["l.txt"] * 2,
        [b"2"] * 2,
    )


@pytest.mark.parametrize(
    ("payload", "status", "message"),
    [
        (
            Payload(b"x", "text/csv"),
            415,
            f"`text/csv` is not taken here; send `{FORM}`, as `curl -F left=@FILE -F right=@FILE` does.",
        ),
        (Payload(b"x"), 415, f"Send `{FORM}`, as `curl -F left=@FILE -F right=@FILE` does."),
        (form_payload([("left", Payload(b"1"))]), 400, "The form lacks `right`."),
        (form_payload([("left", Payload(b"")), ("other", Payload(b"1"))]), 400, "The form lacks `left`, `right`."),
        (form_payload([("left", Payload(b"1"))] * 2), 400, "The form has two parts called `left`."),
    ],
)
def test_a_form_without_what_is_needed_is_refused(payload: Payload, status: int, message: str) -> None:
    assert refused(lambda: FILES.decode(payload)) == (status, message)


def test_files_may_be_absent_where_that_is_allowed() -> None:
    adapter = MultiFileInput(input_names=["left", "right"], allow_none=True)
    form = adapter.decode(form_payload([("right", Payload(b"2"))]))
    left, right = adapter.single(form)
    assert right is not None
    assert (left, right.read()) == (None, b"2")
    assert adapter.merge([form])[0] == [None]


def test_each_picture_of_a_form_is_decoded() -> None:
    adapter = MultiImageInput(input_names=["left", "right"], pilmode="L")
    form = adapter.decode(form_payload([("left", Payload(picture(2, 1))), ("right", Payload(picture(1, 2)))]))
    assert [array.shape for array in adapter.single(form)] == [(1, 2), (2, 1)]
    assert [[array.shape for array in column] for column in adapter.merge([form, form])] == [[(1, 2)] * 2, [(2, 1)] * 2]
    bad = form_payload([("left", Payload(picture())), ("right", Payload(b"junk"))])
    assert refused(lambda: adapter.decode(bad))[1].startswith("`right`: The file is not an image")


ANNOTATED = AnnotatedImageInput(annotation_input_name="boxes")


def test_annotations_come_with_their_picture_or_not_at_all() -> None:
    bare = ANNOTATED.decode(form_payload([("image", Payload(picture()))]))
    told = ANNOTATED.decode(form_payload([("boxes", Payload(b"[1]")), ("image", Payload(picture(1, 1)))]))
    images, boxes = ANNOTATED.merge([bare, told, bare])
    assert [(image.shape[:2], box) for image, box in zip(images, boxes, strict=True)] == [
        ((3, 4), None),
        ((1, 1), [1]),
        ((3, 4), None),
    ]
    assert ANNOTATED.part_names == ("image", "boxes")


def test_bad_annotations_refuse_their_own_request_alone() -> None:
    bad = form_payload([("image", Payload(picture())), ("boxes", Payload(b"[1"))])
    status, text = refused(lambda: ANNOTATED.decode(bad))
    assert (status, text[:38]) == (400, "`boxes`: The body is not valid JSON: u")


@pytest.mark.parametrize(
    ("adapter", "options", "message"),
    [
        (MultiFileInput, {}, "Field required"),
        (MultiFileInput, {"input_names": []}, "at least 1 item"),
        (MultiFileInput, {"input_names": ["a", "a"]}, "an input is named twice"),
        (MultiImageInput, {"input_names": ["a b"]}, "a b"),
        (AnnotatedImageInput, {"annotation_input_name": "image"}, "need different names"),
    ],
)
def test_names_that_do_not_serve(adapter: Any, options: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        adapter(**options)


@pytest.mark.parametrize("adapter", [FILES, ANNOTATED, MultiImageInput(), FileInput(), ImageInput(), StringInput()])
def test_what_a_client_reads_of_it_is_plain_json(adapter: Any) -> None:
    content = adapter.request_content()
    assert json.loads(json.dumps(content)) == content
