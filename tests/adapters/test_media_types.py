"""What a body is: by what its sender says, by its name, by its first bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kappa.adapters import (
    AnnotatedImageInput,
    DataframeInput,
    FileInput,
    ImageInput,
    JsonInput,
    MultiImageInput,
    NdarrayInput,
    StringInput,
)
from kappa.adapters.media_types import CSV, JSON, LINES, NPY, TABS, UNTOLD, canonical, understood
from kappa.adapters.multipart import FORM, form_payload
from kappa.errors import BadInputError
from kappa.services.inference import Inference
from kappa.spec.contracts import InputAdapter
from kappa.spec.service import ApiSpec, FunctionTarget
from kappa.types import MEDIA_TYPES, Payload

PICTURES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/tiff", "image/gif")
TABLES = ("application/vnd.apache.parquet", "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file")


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), (10, 200, 30)).save(buffer, form)
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[1.5, 2.0]]))
    return buffer.getvalue()


def arrow(new: Callable[..., Any]) -> bytes:
    table = pa.table({"a": [1], "b": ["x"]})
    buffer = io.BytesIO()
    with new(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame({"a": [1], "b": ["x"]}).to_parquet(buffer)
    return buffer.getvalue()


BODIES: dict[str, bytes] = {
    **{media_type: picture(media_type.removeprefix("image/")) for media_type in PICTURES},
    JSON: b' [{"a": 1,\n "b": "x"}]\n',
    CSV: b"a,b\n1,x\n",
    TABS: b"a\tb\n1\tx\n",
    LINES: b'{"a": 1, "b": "x"}\n{"a": 1, "b": "x"}\n',
    NPY: npy(),
    TABLES[0]: parquet(),
    TABLES[1]: arrow(pa.ipc.new_stream),
    TABLES[2]: arrow(pa.ipc.new_file),
}
"""A body of each kind that adapters take."""

WORDS = {
    "image/jpeg": ["image/jpg", "image/pjpeg", "image/x-jpeg"],
    "image/png": ["image/x-png", "image/apng"],
    "image/bmp": ["image/x-ms-bmp", "image/x-bmp", "image/x-windows-bmp"],
    "image/tiff": ["image/tif", "image/x-tiff"],
    CSV: ["application/csv", "application/x-csv", "text/x-csv", "text/comma-separated-values"],
    TABS: ["text/tsv", "text/x-tsv"],
    JSON: ["text/json", "application/x-json"],
    LINES: ["application/jsonlines", "application/x-jsonlines", "application/jsonl", "application/ndjson"],
    NPY: ["application/x-numpy", "application/numpy"],
    TABLES[0]: ["application/parquet", "application/x-parquet"],
    TABLES[2]: ["application/x-feather"],
}
UPLOADS = [
    (word, name)
    for word in ("", "application/octet-stream", "binary/octet-stream", "text/plain", "application/x-image", "image/*")
    for name in ("", "file", "upload.bin", "rows.txt", "C:\\fakepath\\data")
]


def api(adapter: InputAdapter) -> Inference:
    spec = ApiSpec(
        name="a",
        target=FunctionTarget(function="handlers:f"),
        input=adapter,
        output="default",
        batch=not adapter.supports_single,
    )
    return Inference(spec, lambda first, second=None: (first, second), {})


def shown(form: Any) -> Any:
    """Return a form in a way that can be compared."""
    return repr(
        [part.tolist() if hasattr(part, "tolist") else part for part in (form if type(form) is tuple else [form])]
    )


def adapter_of(media_type: str) -> InputAdapter:
    if media_type in PICTURES:
        return ImageInput(accept_image_formats=["png", "jpeg", "webp", "bmp", "tiff", "gif"])
    return NdarrayInput() if media_type == NPY else DataframeInput()


@pytest.mark.parametrize(("media_type", "word"), [(kind, word) for kind, words in WORDS.items() for word in words])
def test_every_word_for_a_media_type_is_as_good_as_the_one(media_type: str, word: str) -> None:
    asked = api(adapter_of(media_type))
    expected = shown(asked.decode(Payload(BODIES[media_type], media_type)).data)
    assert canonical(word) == media_type
    assert shown(asked.decode(Payload(BODIES[media_type], word)).data) == expected
    form = form_payload([("file", Payload(BODIES[media_type], word, name="x"))])
    assert shown(asked.decode(form).data) == expected


def test_no_word_is_a_word_for_another_word() -> None:
    words = {word for words in WORDS.values() for word in words} | UNTOLD
    assert {canonical(canonical(word)) for word in words} == {canonical(word) for word in words}
    assert {canonical(kind) for kind in {*BODIES, *MEDIA_TYPES.values(), FORM, *UNTOLD}} == {
        *BODIES,
        *MEDIA_TYPES.values(),
        FORM,
        *UNTOLD,
    }


@pytest.mark.parametrize("media_type", BODIES)
@pytest.mark.parametrize(
    ("word", "name"), [*UPLOADS, ("application/x-www-form-urlencoded", ""), ("png", ""), ("null", "")]
)
def test_where_nobody_said_the_first_bytes_tell(media_type: str, word: str, name: str) -> None:
    asked = api(adapter_of(media_type))
    expected = shown(asked.decode(Payload(BODIES[media_type], media_type)).data)
    assert shown(asked.decode(Payload(BODIES[media_type], word, name=name)).data) == expected
    assert shown(asked.decode(form_payload([("file", Payload(BODIES[media_type], word, name=name))])).data) == expected


@pytest.mark.parametrize(
    "word", ["application/vnd.ms-excel", "application/zip", "video/mp4", "application/octet-stream"]
)
@pytest.mark.parametrize(("extension", "media_type"), [one for one in MEDIA_TYPES.items() if one[1] in BODIES])
def test_the_extension_of_an_upload_wins_over_a_type_that_is_not_taken(
    extension: str, media_type: str, word: str
) -> None:
    asked = api(adapter_of(media_type))
    expected = shown(asked.decode(Payload(BODIES[media_type], media_type)).data)
    part = Payload(BODIES[media_type], word, name=f"my file{extension.upper()}")
    assert shown(asked.decode(form_payload([("file", part)])).data) == expected


@pytest.mark.parametrize("word", ["", "text/plain", "application/octet-stream", "application/x-image", "image/jpg"])
def test_each_part_of_a_form_is_understood_by_itself(word: str) -> None:
    left, right = (Payload(picture(form), word, name="file") for form in ("jpeg", "png"))
    pictures = api(MultiImageInput(input_names=["left", "right"])).decode(
        form_payload([("left", left), ("right", right)])
    )
    assert [array.shape for array in pictures.data] == [(4, 5, 3)] * 2
    notes = Payload(b'{"a": 1}', "text/plain" if word == "image/jpg" else word, name="file")
    annotated = api(AnnotatedImageInput()).decode(form_payload([("image", left), ("annotations", notes)]))
    assert (annotated.data[0].shape, annotated.data[1]) == ((4, 5, 3), {"a": 1})


@pytest.mark.parametrize("adapter", [StringInput(), FileInput()])
@pytest.mark.parametrize("word", [*sorted(UNTOLD), "image/jpg", "application/xml"])
def test_who_takes_anything_takes_it_whatever_it_says(adapter: InputAdapter, word: str) -> None:
    form = api(adapter).decode(Payload(b"a,b\n1,2\n", word)).data
    assert (form if isinstance(form, str) else form.data.decode()) == "a,b\n1,2\n"


OTHERS = {
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\n1 0 obj",
    "application/zip": b"PK\3\4\x14\0",
    "application/gzip": b"\x1f\x8b\x08\0",
    "application/vnd.ms-excel": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0",
    **{media_type: BODIES[media_type] for media_type in ("image/png", "image/gif", "image/bmp", TABLES[0], NPY)},
}


@pytest.mark.parametrize(
    ("adapter", "kinds"),
    [
        (ImageInput(accept_image_formats=["png", "jpg"]), ["image/png", "image/jpeg"]),
        (DataframeInput(), [JSON, CSV, LINES, TABS, *TABLES]),
        (NdarrayInput(), [JSON, NPY]),
        (JsonInput(), [JSON]),
    ],
)
@pytest.mark.parametrize(("found", "data"), OTHERS.items(), ids=OTHERS)
@pytest.mark.parametrize("word", ["", "application/octet-stream", "application/x-www-form-urlencoded", "text/plain"])
def test_what_is_positively_something_else_is_refused_with_the_media_types_that_are_taken(
    adapter: InputAdapter, kinds: list[str], found: str, data: bytes, word: str
) -> None:
    if found in kinds:
        return
    *others, last = [f"`{kind}`" for kind in kinds]
    sent = f"send {', '.join(others)} or {last}." if others else f"send {last}."
    for payload in (Payload(data, word), form_payload([("file", Payload(data, word, name="file"))])):
        with pytest.raises(BadInputError) as refusal:
            api(adapter).decode(payload)
        assert (refusal.value.http_status, str(refusal.value)) == (
            415,
            f"The body is `{found}`, which is not taken here; {sent}",
        )
    for payload in (Payload(b"x", "application/xml"), Payload(b"[1]", "application/xml", name="file")):
        with pytest.raises(BadInputError) as refusal:
            api(adapter).decode(payload)
        assert (refusal.value.http_status, str(refusal.value)) == (415, f"`application/xml` is not taken here; {sent}")


def test_bytes_that_tell_nothing_are_refused_with_a_word_on_how_to_tell() -> None:
    with pytest.raises(BadInputError) as refusal:
        api(NdarrayInput()).decode(Payload(b"\x01\x00\x02\x00", "application/octet-stream"))
    assert refusal.value.http_status == 415
    assert str(refusal.value) == (
        "Neither the `Content-Type` nor a file's name tells what the body is, nor do its first bytes; "
        "send `application/json` or `application/x-npy`, and say which."
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n", CSV),
        (b"\n\na,b\r1,2", CSV),
        (b"BMI,age\n20,30\n", CSV),
        (b"PAR1,x\n1,2\n", CSV),
        (b"a\n1", CSV),
        (b"a\tb\n1,5\t2\n", TABS),
        (b"a,b\tc\n1,2\n", CSV),
        (b'\xef\xbb\xbf [{"a": 1},\n{"a": 2}]', JSON),
        (b'{"a":\n{"b": 2}}', JSON),
        (b'{"a": 1}\n', JSON),
        (b'{"a": 1} \t\r\n\r\n {"a": 2}\r\n', LINES),
        (b"[1]\n[2]", LINES),
        (b"", ""),
        (b"one line", ""),
        (b" \n ", ""),
        ("a,b\n1,2\n".encode("utf-16"), CSV),
    ],
)
def test_text_is_told_from_text(text: bytes, found: str) -> None:
    takes = (CSV, TABS, JSON, LINES)
    assert (
        understood(Payload(text, charset="utf-16" if text[:2] == b"\xff\xfe" else "utf-8"), takes).media_type == found
    )


@given(
    st.binary(max_size=40) | st.text("[]{}, \t\n\r\ufeffa", max_size=30).map(str.encode),
    st.sampled_from(sorted(UNTOLD)),
)
def test_whatever_is_sent_is_understood_or_refused(data: bytes, word: str) -> None:
    takes = (JSON, CSV, LINES, TABS, *TABLES)
    with suppress(BadInputError):
        assert understood(Payload(data, word), takes).media_type in (*takes, "")


def test_only_what_may_take_long_is_decoded_beside_the_event_loop() -> None:
    light = {
        name: [body for body in (b"[[1]]", b" {}", b"5", b"a,b\n1,2\n", picture("png")) if asked.is_light("", body)]
        for name, asked in {
            "table": api(DataframeInput()),
            "picture": api(ImageInput()),
            "json": api(JsonInput()),
        }.items()
    }
    assert {name: len(bodies) for name, bodies in light.items()} == {"table": 2, "picture": 2, "json": 5}
    assert api(StringInput()).is_light("text/plain", b"a")
    assert not api(JsonInput()).is_light("image/png", b"a")
