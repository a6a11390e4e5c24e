from __future__ import annotations

import pytest

from kappa.server.http.targets import Target, is_host, target_of


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"X.example",
        b"a_b",
        b"127.0.0.1",
        b"[::1]",
        b"[fe80::1%25eth0]",
        b"a%41",
        b"x:",
        b"x:80",
        b"[::1]:80",
    ],
)
def test_these_are_hosts(value: bytes) -> None:
    assert is_host(value)


@pytest.mark.parametrize(
    "value",
    [
        *(b" ", b"a b", b"a/", b"u@a", b"a?b", b"a#b", b"a:b", b"a:1:2", b"a:123456", b"::1", b"[::1", b"[x]", b"<a>"),
        *(b'"a"', b"a\\b", b"\xc3\xa4", b"a%4", b"a%zz", b"a\n", b"a\0", b"a|b", b"{a}", b"a^b"),
    ],
)
def test_these_are_not(value: bytes) -> None:
    assert not is_host(value)


@pytest.mark.parametrize(
    ("method", "target", "found"),
    [
        (b"GET", b"/", Target(b"/")),
        (b"GET", b"//a/b?c=http://d", Target(b"//a/b?c=http://d")),
        (b"GET", b"http://x", Target(b"/", b"x")),
        (b"GET", b"http://x/", Target(b"/", b"x")),
        (b"POST", b"HTTPS://x:1/a/b?c", Target(b"/a/b?c", b"x:1")),
        (b"GET", b"http://x?c", Target(b"/?c", b"x")),
        (b"OPTIONS", b"*", Target(b"*")),
        (b"OPTIONS", b"http://x:1", Target(b"*", b"x:1")),
        (b"OPTIONS", b"http://x/", Target(b"/", b"x")),
        (b"GET", b"*", None),
        (b"GET", b"", None),
        (b"GET", b"a", None),
        (b"GET", b"x:80", None),
        (b"CONNECT", b"x:80", None),
        (b"CONNECT", b"http://x:80", None),
        (b"GET", b"http:///a", None),
        (b"GET", b"http:/a", None),
        (b"GET", b"http://u@x/a", None),
        (b"GET", b"http://a b/", None),
        (b"GET", b"http://x/a#b", None),
        (b"GET", b"ftp://x/a", None),
        (b"GET", b"file:///etc/passwd", None),
    ],
)
def test_a_target_is_a_path_or_a_url_of_this_server(method: bytes, target: bytes, found: Target | None) -> None:
    assert target_of(method, target) == found
