"""What passes between the server, the adapters and user code."""

from __future__ import annotations

from contextlib import suppress

import pytest

from kappa.types import Answer, HTTPHeaders, InferenceError, InferenceResult, InferenceTask


def test_header_names_are_case_insensitive() -> None:
    headers = HTTPHeaders({"Content-Type": "text/csv", "X-Key": "secret"})
    assert (headers["CONTENT-type"], headers.get("content-type"), "x-KEY" in headers) == ("text/csv", "text/csv", True)
    assert (sorted(headers), len(headers)) == (["content-type", "x-key"], 2)


def test_an_absent_header_reads_as_empty_text() -> None:
    headers = HTTPHeaders()
    assert (headers["Accept"], headers.get("Accept"), headers.get("Accept", "*/*"), "Accept" in headers) == (
        "",
        None,
        "*/*",
        False,
    )


def test_headers_show_their_names_and_hide_their_values() -> None:
    assert repr(HTTPHeaders({"Authorization": "Bearer secret"})) == "HTTPHeaders(['authorization'])"


def test_a_discarded_task_carries_its_refusal() -> None:
    task = InferenceTask([1])
    assert not task.is_discarded
    assert task.discard("no text", http_status=422) is task
    assert (task.is_discarded, task.error) == (True, InferenceError("no text", 422))


def test_every_task_has_an_id_and_headers_of_its_own() -> None:
    one, other = InferenceTask(1), InferenceTask(1)
    assert one.task_id != other.task_id
    assert one != other


@pytest.mark.parametrize("make", [InferenceResult, InferenceError, lambda: Answer(b"")])
def test_default_headers_cannot_leak_into_another_answer(make: type) -> None:
    with suppress(TypeError):
        make().http_headers["X-Request-Id"] = "1"
    assert make().http_headers == {}
