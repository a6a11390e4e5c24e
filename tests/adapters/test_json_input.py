"""JSON requests: exact values, and a 4xx with the reason for what is not JSON."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.adapters import JsonInput
from kappa.errors import BadInputError
from kappa.types import Payload

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**90), 2**90) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


@given(values, st.sampled_from(["utf-8", "UTF-8", "utf-16", "utf-32-be"]), st.booleans())
def test_every_value_arrives_as_it_was_sent(value: Any, charset: str, is_ascii: bool) -> None:
    payload = Payload(json.dumps(value, ensure_ascii=is_ascii).encode(charset), "application/json", charset=charset)
    found = JsonInput().decode(payload)
    assert (found, json.dumps(found)) == (value, json.dumps(value))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, -(10**19) + 1, 10**19, -(10**30)])
def test_integers_beyond_64_bits_stay_integers(number: int) -> None:
    found = JsonInput().decode(Payload(str(number).encode()))
    assert (type(found), found) == (int, number)


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "application/json",
        "text/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/vnd.acme+json",
    ],
)
def test_what_curl_and_browsers_send_is_read_as_json(media_type: str) -> None:
    assert JsonInput().decode(Payload(b"[1]", media_type)) == [1]


@pytest.mark.parametrize(
    ("payload", "status", "message"),
    [
        (Payload(b""), 400, "The body is empty; it must be JSON."),
        (Payload(b" \n"), 400, "The body is empty; it must be JSON."),
        (Payload(b"{'a': 1}"), 400, "The body is not valid JSON: "),
        (Payload(b"[1,]"), 400, "The body is not valid JSON: trailing comma is not allowed: line 1 column 3 (char 2)."),
        (Payload(b"NaN"), 400, "The body is not valid JSON: "),
        (Payload(b"[-Infinity, 12345678901234567890123]"), 400, "The body is not valid JSON: "),
        (Payload(b'"\\ud800"'), 400, "The body is not valid JSON: "),
        (Payload('"\\ud800"'.encode("utf-16"), charset="utf-16"), 400, "The body is not valid JSON: "),
        (Payload(b"\\ud800", charset="unicode_escape"), 400, "The body is not valid `unicode_escape` text: "),
        (Payload(b"{}", charset="base64"), 400, "The body is not valid `base64` text: 'base64' is not a text encoding"),
        (Payload(b"\xff{}", charset="us-ascii"), 400, "The body is not valid JSON: "),
        (Payload(b"{}", "application/xml"), 415, "`application/xml` is not taken here; send `application/json`."),
    ],
)
def test_a_malformed_request_is_refused(payload: Payload, status: int, message: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        JsonInput().decode(payload)
    assert (refusal.value.http_status, str(refusal.value)[: len(message)]) == (status, message)


@given(st.binary(max_size=30), st.sampled_from(["utf-8", "utf-7", "utf-16", "idna", "punycode", "cp037", "latin-1"]))
def test_whatever_is_sent_is_parsed_or_refused(data: bytes, charset: str) -> None:
    with suppress(BadInputError):
        JsonInput().decode(Payload(data, charset=charset))


def test_requests_are_items_and_a_batch_a_list_of_them() -> None:
    adapter = JsonInput()
    assert (adapter.rows_of([1, 2, 3]), adapter.merge([[1], {"a": 2}]), adapter.single([1])) == (
        None,
        [[1], {"a": 2}],
        [1],
    )


def test_an_example_cannot_be_changed_and_is_shown_as_it_was_written() -> None:
    adapter = JsonInput(http_input_example={"rows": [[1, 2]]})
    with pytest.raises(TypeError):
        adapter.http_input_example["rows"] = []
    assert adapter.documented_content() == {"application/json": {"schema": {}, "example": {"rows": [[1, 2]]}}}
    assert JsonInput.model_validate_json(adapter.model_dump_json()) == adapter
