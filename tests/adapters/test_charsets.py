"""Charsets: those of a list, each linear, for every adapter that reads text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from kappa.adapters import DataframeInput, JsonInput, NdarrayInput, StringInput
from kappa.adapters.charsets import codec_of, decode_text
from kappa.adapters.multipart import form_payload, sole_part
from kappa.errors import BadInputError
from kappa.types import Payload

UNICODE = ["utf-8", "UTF8", "utf_8", "utf-8-sig", "utf-16", "UTF-16LE", "utf-16-be", "utf-32", "utf-32le", "UTF-32BE"]
TEXT = {
    **dict.fromkeys(UNICODE, "aä€語😀"),
    **dict.fromkeys(["us-ascii", "ascii", "ANSI_X3.4-1968"], "a~"),
    **dict.fromkeys(["latin-1", "latin1", "ISO-8859-1", "iso8859-1", "l1"], "aäß"),
    **dict.fromkeys(["iso-8859-15", "windows-1252", "cp1252", "WINDOWS-1250"], "aä€"),
    **dict.fromkeys(["iso-8859-5", "windows-1251", "koi8-r", "KOI8-U"], "Привет"),
    **dict.fromkeys(["shift_jis", "Shift-JIS", "sjis", "euc-jp", "cp932"], "日本語"),
    **dict.fromkeys(["gb2312", "gbk", "GB18030", "big5"], "中文"),
    **dict.fromkeys(["euc-kr", "cp949"], "한국"),
}
REFUSED = [
    *("punycode", "idna", "utf-7", "unicode_escape", "raw_unicode_escape", "base64", "hex", "rot13", "zlib", "bz2"),
    *("uu", "quopri", "mbcs", "oem", "undefined", "charmap", "iso2022_jp", "hz", "cp037", "utf-16-ex", "nonsense"),
    *("", "a\0b", "../../etc/passwd", "os", "encodings.punycode", "u" * 100_000),
]


def decoded(adapter: Any, text: str, media_type: str, charset: str) -> Any:
    return adapter.decode(Payload(encoded(text, charset), media_type, charset))


def typed(text: str, charset: str) -> Any:
    decode = JsonInput(schema="m:str").decoder({"m:str": str}.__getitem__)
    return decode(Payload(encoded(f'"{text}"', charset), "application/json", charset))


def field_of_form(text: str, charset: str) -> Any:
    form = form_payload([("file", Payload(encoded(text, charset), "text/plain", charset, "a.txt"))])
    return StringInput().decode(sole_part(form))


READERS: dict[str, Callable[[str, str], Any]] = {
    "string": lambda text, charset: decoded(StringInput(), text, "text/plain", charset),
    "json": lambda text, charset: decoded(JsonInput(), f'"{text}"', "application/json", charset),
    "typed": typed,
    "array": lambda text, charset: decoded(NdarrayInput(), f'["{text}"]', "application/json", charset)[0],
    "csv": lambda text, charset: decoded(DataframeInput(), f"a\n{text}\n", "text/csv", charset).values[0][0],
    "lines": lambda text, charset: decoded(
        DataframeInput(), f'{{"a":"{text}"}}', "application/x-ndjson", charset
    ).values[0][0],
    "field": field_of_form,
}


def encoded(text: str, charset: str) -> bytes:
    try:
        return text.encode(charset)
    except (LookupError, UnicodeError, ValueError):
        return text.encode()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("charset", TEXT)
def test_text_is_read_in_its_charset(charset: str, reader: str) -> None:
    assert READERS[reader](TEXT[charset], charset) == TEXT[charset]


@pytest.mark.parametrize("reader", [name for name in READERS if name != "field"])
@pytest.mark.parametrize("charset", REFUSED, ids=lambda charset: charset[:20])
def test_other_codecs_are_refused(charset: str, reader: str) -> None:
    with pytest.raises(BadInputError) as refused:
        READERS[reader]("a", charset)
    assert refused.value.http_status == 415
    assert "is not taken here; send `utf-8`, `utf-16`" in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("charset", ["utf-8", "utf-32", "us-ascii", "shift_jis", "windows-1252", "gb18030"])
def test_bytes_that_are_no_text_are_refused(charset: str) -> None:
    with pytest.raises(BadInputError) as refused:
        decode_text(Payload(b"a\x81", "text/plain", charset))
    assert (refused.value.http_status, str(refused.value).partition(":")[0]) == (
        400,
        f"The body is not valid `{charset}` text",
    )


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        ("\ufeffa".encode(), "utf-8"),
        ("\ufeffa".encode(), "utf-8-sig"),
        ("\ufeffa".encode("utf-16-le"), "utf-16-le"),
        ("\ufeffa".encode("utf-16-le"), "utf-16"),
        ("\ufeffa".encode("utf-16-be"), "utf-16"),
        ("\ufeffa".encode("utf-32-be"), "utf-32-be"),
    ],
)
def test_a_byte_order_mark_is_no_text(data: bytes, charset: str) -> None:
    assert decode_text(Payload(data, "text/plain", charset)) == "a"


@pytest.mark.parametrize("data", ["a".encode("utf-16"), b"\xfe\xff\0a"], ids=["little", "big"])
def test_a_mark_of_utf_16_in_what_is_called_utf_8_is_told(data: bytes) -> None:
    with pytest.raises(BadInputError, match="It begins as `utf-16` does: say so with `charset=utf-16`"):
        decode_text(Payload(data, "text/plain"))


def test_no_codec_is_looked_up_that_is_not_taken() -> None:
    before = set(sys.modules)
    for charset in ("punycode", "mac_croatian", "cp424"):
        with pytest.raises(BadInputError):
            codec_of(charset)
    assert set(sys.modules) == before
