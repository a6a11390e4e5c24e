"""Files as the server sends them."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Mapping
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import falcon.testing
import pytest

from kappa.server.http import files
from kappa.server.http.app import create_app
from kappa.server.http.edge import CutShortError
from kappa.server.parent import AwaitedStart
from kappa.server.served import Served
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.service import ApiSpec, ExampleSpec, FunctionTarget, ServiceSpec

TEXT = bytes(range(256)) * 2000
"""Longer than a piece."""
MODIFIED = 1_700_000_000


@pytest.fixture(autouse=True)
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a service with static content, and return the folder of that."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "files_handlers", raising=False)
    (tmp_path / "files_handlers.py").write_text("def same(value):\n    return value\n", encoding="utf-8")
    (folder := tmp_path / "static").mkdir()
    for name, data in {"data.bin": TEXT, "empty.txt": b"", "index.html": b"<p>own"}.items():
        (folder / name).write_bytes(data)
        os.utime(folder / name, (MODIFIED, MODIFIED))
    return folder


def get(folder: Path, *requests: tuple[str, str, Mapping[str, str]], **options: Any) -> list[falcon.testing.Result]:
    """Send each ``(method, path, headers)`` to the service in ``folder``."""
    api = ApiSpec(name="same", target=FunctionTarget(function="files_handlers:same"), input="json")
    spec = ServiceSpec(name="Files", apis=(api,), web_static_content="static", **options)
    served = Served(spec, "1", partial(load_service, ServiceSource.of_project(spec, {}, root=folder)))

    async def run() -> list[falcon.testing.Result]:  # type: ignore[return] # to a type checker, leaving a conductor may swallow an error
        parent = AwaitedStart()
        app = create_app([served], parent=parent)
        async with falcon.testing.ASGIConductor(app) as conductor:
            await asyncio.wait_for(parent.outcome, 60)
            return [await conductor.simulate_request(how, path, headers=headers) for how, path, headers in requests]

    return asyncio.run(run())


def test_a_file_is_sent_whole_with_its_length_and_date(tmp_path: Path) -> None:
    (whole,) = get(tmp_path, ("GET", "/data.bin", {}))
    assert (whole.status_code, whole.content) == (200, TEXT)
    assert whole.headers["content-length"] == str(len(TEXT))
    assert whole.headers["last-modified"] == formatdate(MODIFIED, usegmt=True)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/data.bin", "/empty.txt", "/", "/docs/examples/0"])
def test_head_says_the_same_and_reads_nothing(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample.json").write_text("[1]", encoding="utf-8")
    example = ExampleSpec(name="e", api="same", input_file="sample.json")
    (whole,) = get(tmp_path, ("GET", path, {}), examples=(example,))
    monkeypatch.setattr(files._File, "read", None)
    (head,) = get(tmp_path, ("HEAD", path, {}), examples=(example,))
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "x-request-id": ""} == {**whole.headers, "x-request-id": ""}


@pytest.mark.parametrize(
    ("wanted", "status", "part", "where"),
    [
        pytest.param("bytes=0-9", 206, slice(0, 10), "bytes 0-9/512000", id="first"),
        pytest.param("bytes=300-", 206, slice(300, None), "bytes 300-511999/512000", id="from"),
        pytest.param("bytes=-5", 206, slice(-5, None), "bytes 511995-511999/512000", id="last"),
        pytest.param("bytes=-999999", 206, slice(None), "bytes 0-511999/512000", id="more-than-there-is-at-the-end"),
        pytest.param("bytes=511999-999999", 206, slice(-1, None), "bytes 511999-511999/512000", id="past-the-end"),
        pytest.param("bytes=512000-", 416, None, "bytes */512000", id="behind-the-end"),
        pytest.param("bytes=-0", 416, None, "bytes */512000", id="nothing"),
        pytest.param("bytes=5-4", 200, slice(None), None, id="backwards"),
        pytest.param("bytes=0-1,5-6", 200, slice(None), None, id="several"),
        pytest.param("lines=1-2", 200, slice(None), None, id="another-unit"),
        pytest.param("bytes=x", 200, slice(None), None, id="nonsense"),
        pytest.param(f"bytes=0-{'9' * 5000}", 200, slice(None), None, id="too-many-digits"),
    ],
)
def test_a_part_may_be_asked_for(
    tmp_path: Path, wanted: str, status: int, part: slice | None, where: str | None
) -> None:
    (found,) = get(tmp_path, ("GET", "/data.bin", {"Range": wanted}))
    assert (found.status_code, found.headers.get("content-range")) == (status, where)
    if part is not None:
        assert found.content == TEXT[part]
        assert found.headers["content-length"] == str(len(TEXT[part]))


def test_a_part_of_another_state_of_the_file_is_not_sent(tmp_path: Path) -> None:
    (whole,) = get(tmp_path, ("GET", "/data.bin", {}))
    tag, date = whole.headers["etag"], whole.headers["last-modified"]
    conditions = [(tag, 206), (date, 206), ('"other"', 200), (f"W/{tag}", 200), ("nonsense", 200)]
    for condition, status in conditions:
        (found,) = get(tmp_path, ("GET", "/data.bin", {"Range": "bytes=0-9", "If-Range": condition}))
        assert found.status_code == status, condition


def test_what_the_client_has_is_not_sent_again(tmp_path: Path) -> None:
    (whole,) = get(tmp_path, ("GET", "/data.bin", {}))
    tag = whole.headers["etag"]
    earlier, later = formatdate(MODIFIED - 1, usegmt=True), formatdate(MODIFIED, usegmt=True)
    for headers, status in [
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": f'"a", W/{tag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"a"', "If-Modified-Since": later}, 200),
        ({"If-Modified-Since": later}, 304),
        ({"If-Modified-Since": earlier}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": "Mon, 99 Foo 99999 99:99:99 GMT"}, 200),
    ]:
        for method in ("GET", "HEAD"):
            (found,) = get(tmp_path, (method, "/data.bin", headers))
            assert found.status_code == status, headers
            assert found.headers["etag"] == tag
            if status == 304:
                assert (found.content, "content-length" in found.headers) == (b"", False)
    (tmp_path / "static" / "data.bin").write_bytes(b"other")
    assert get(tmp_path, ("GET", "/data.bin", {"If-None-Match": tag}))[0].content == b"other"


def _fifo(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)


HOSTILE: dict[str, Any] = {
    "a link to a file outside": ("/link.txt", lambda at: (at / "link.txt").symlink_to(at.parent / "secret.txt")),
    "a link to a folder outside": ("/up/secret.txt", lambda at: (at / "up").symlink_to(at.parent)),
    "a link to a device": ("/null", lambda at: (at / "null").symlink_to("/dev/null")),
    "links in a circle": ("/circle", lambda at: (at / "circle").symlink_to("circle")),
    "a pipe": ("/pipe", lambda at: _fifo(at / "pipe")),
    "a pipe for an index": ("/sub", lambda at: _fifo(at / "sub" / "index.html")),
    "a folder for an index": ("/sub", lambda at: (at / "sub" / "index.html").mkdir(parents=True)),
    "below a file": ("/data.bin/x", None),
    "dots": ("/../secret.txt", None),
    "escaped dots": ("/%2e%2e/secret.txt", None),
    "escaped slashes": ("/..%2fsecret.txt", None),
    "twice escaped": ("/%252e%252e/secret.txt", None),
    "in the middle": ("/sub/../../secret.txt", lambda at: (at / "sub").mkdir()),
    "backslashes": ("/..%5csecret.txt", None),
    "an absolute path": ("//etc/passwd", None),
    "an escaped absolute path": ("/%2fetc%2fpasswd", None),
    "a sibling of a like name": ("/../static-secret/secret.txt", None),
    "NUL": ("/data.bin%00.txt", None),
    "a line end": ("/data.bin%0ax", None),
    "too long a name": ("/" + "x" * 5000, None),
    "a name that is not UTF-8": ("/" + quote_from_bytes(b"\xff.txt"), lambda at: _bytes_named(at, b"\xff.txt")),
    "half of a surrogate pair": ("/%ed%a0%80.txt", None),
    "what may not be read": ("/closed", lambda at: (at / "closed").mkdir(mode=0)),
}


def _bytes_named(at: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(at) + b"/" + name)).write_bytes(b"CONFIDENTIAL")


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_but_regular_files_of_the_folder_is_found(tmp_path: Path, static: Path, kind: str) -> None:
    (tmp_path / "secret.txt").write_text("CONFIDENTIAL", encoding="utf-8")
    (tmp_path / "static-secret").mkdir()
    (tmp_path / "static-secret" / "secret.txt").write_text("CONFIDENTIAL", encoding="utf-8")
    path, make = HOSTILE[kind]
    if make is not None:
        make(static)
    (found,) = get(tmp_path, ("GET", path, {}))
    assert (found.status_code, b"CONFIDENTIAL" in found.content) == (404, False)


@pytest.mark.parametrize("name", ["ä b.txt", "😀.txt", "a+b%.txt", "-x", ".well-known", "a\nb"])
def test_files_of_any_other_name_are_sent(tmp_path: Path, static: Path, name: str) -> None:
    (static / name).write_text("found", encoding="utf-8")
    (found,) = get(tmp_path, ("GET", "/" + quote_from_bytes(name.encode()), {}))
    assert (found.status_code, found.content) == (200, b"found")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.csv.gz", "application/gzip"),
        ("a.svg.bz2", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_media_type_is_that_of_the_bytes_that_are_sent(
    tmp_path: Path, static: Path, name: str, media_type: str
) -> None:
    (static / name).write_bytes(b"x")
    assert get(tmp_path, ("GET", f"/{name}", {}))[0].headers["content-type"] == media_type


def test_a_file_that_becomes_shorter_ends_the_answer_and_one_that_grows_changes_nothing(static: Path) -> None:
    async def read(change: bytes) -> bytes:
        (static / "data.bin").write_bytes(TEXT)
        file = files._opened(static / "data.bin")
        assert file is not None
        pieces = files._Pieces(file, file.size)
        read = [await pieces.read(1)]
        (static / "data.bin").write_bytes(change)
        while piece := await pieces.read(1):
            read.append(piece)
        await pieces.close()
        return b"".join(read)

    assert asyncio.run(read(TEXT + b"more")) == TEXT
    with pytest.raises(CutShortError, match=r"`data\.bin` has become shorter meanwhile\."):
        asyncio.run(read(TEXT[:-1]))


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no /proc here")
    requests: list[tuple[str, str, Mapping[str, str]]] = [
        ("GET", "/data.bin", {}),
        ("HEAD", "/data.bin", {}),
        ("GET", "/data.bin", {"Range": "bytes=999999-"}),
        ("GET", "/data.bin", {"If-None-Match": "*"}),
        ("GET", "/empty.txt", {}),
    ]
    get(tmp_path, *requests)
    gc.collect()  # what earlier tests left
    before = sum(1 for _ in folder.iterdir())
    get(tmp_path, *requests * 20)
    assert sum(1 for _ in folder.iterdir()) == before


def test_a_failure_of_the_server_is_logged_without_lines_of_the_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(files, "_opened_below", fail)
    (found,) = get(tmp_path, ("GET", "/x%0aFORGED%1b%c2%85", {}))
    assert found.status_code == 500
    (message,) = [record.getMessage() for record in caplog.records if "failed" in record.getMessage()]
    assert message.startswith("GET '/x\\nFORGED\\x1b\\x85' failed (")
