"""Secrets in URLs are told and masked, and nothing else in them is."""

from __future__ import annotations

import pytest

from kappa.secret_urls import masked, password_in, secret_in, secrets_in

USER, PASSWORD, QUERY, PATH = "a user or password", "a password", "a query", "a token in its path"

URLS = {
    "https://host/simple": ("https://host/simple", None, None),
    "https://host:8443/a@1.0.zip": ("https://host:8443/a@1.0.zip", None, None),
    "https://[::1]:80/a@b": ("https://[::1]:80/a@b", None, None),
    "https://host/x.whl#sha256=00&egg=x": ("https://host/x.whl#sha256=00&egg=x", None, None),
    "https://files.host/packages/ab/cd/0123456789abcdef0123456789abcdef/x.whl": (
        "https://files.host/packages/ab/cd/0123456789abcdef0123456789abcdef/x.whl",
        None,
        None,
    ),
    "https://dl.cloudsmith.io/public/o/r/": ("https://dl.cloudsmith.io/public/o/r/", None, None),
    "https://@host/x": ("https://@host/x", None, None),
    "https://host/x.whl#sha256=00&token=hunter2": (
        "https://host/x.whl#sha256=00&token=****",
        "a secret in its fragment",
        "a secret in its fragment",
    ),
    "https://user:hunter2@host/x": ("https://****@host/x", USER, PASSWORD),
    "https://user:hun@ter2@host/x": ("https://****@host/x", USER, PASSWORD),
    "https://user:hun/ter2@host/x": ("https://****@host/x", USER, PASSWORD),
    "https://user:hun?ter2@host/x": ("https://****@host/x", USER, PASSWORD),
    "https://user:hun#ter2@host/x": ("https://****@host/x", USER, PASSWORD),
    "https://hunter2@host/x": ("https://****@host/x", USER, None),
    "https://hunter2:@host/x": ("https://****@host/x", USER, None),
    "HTTPS://user:hunter2@HOST": ("HTTPS://****@HOST", USER, PASSWORD),
    "redis://:hunter2@cache:6379/0": ("redis://****@cache:6379/0", USER, PASSWORD),
    "git+https://user:hunter2@host/r.git@v1": ("git+https://****@host/r.git@v1", USER, PASSWORD),
    "https://host/x?token=hunter2": ("https://host/x?****", QUERY, QUERY),
    "https://host/x?a=1&X-Amz-Signature=hunter2#f": ("https://host/x?****#f", QUERY, QUERY),
    "https://host/x?sig=hunter2": ("https://host/x?****", QUERY, QUERY),
    "https://host/x?api_key=hunter2": ("https://host/x?****", QUERY, QUERY),
    "https://host/x?hunter2": ("https://host/x?****", QUERY, None),
    "postgresql://app@db/x?sslmode=require": ("postgresql://****@db/x?****", USER, None),
    "https://host/t/hunter2/channel": ("https://host/t/****/channel", PATH, PATH),
    "https://dl.cloudsmith.io/hunter2/o/r/": ("https://dl.cloudsmith.io/****/o/r/", PATH, PATH),
    "https://pypi.fury.io/hunter2/me/": ("https://pypi.fury.io/****/me/", PATH, PATH),
    "https://host/ghp_0123456789abcdef/x": ("https://host/****/x", PATH, PATH),
    "https://user:$TOKEN@host/x": ("https://****@host/x", USER, None),
    "https://host/x?token={{ token }}": ("https://host/x?**** token }}", QUERY, None),
}


@pytest.mark.parametrize("url", URLS)
def test_secret_of_a_url_is_told_and_masked(url: str) -> None:
    assert (masked(url), secret_in(url), password_in(url)) == URLS[url]
    assert "hunter2" not in masked(url)


@pytest.mark.parametrize("url", [url for url, (_, what, _) in URLS.items() if what is not None])
def test_secret_is_found_wherever_a_text_holds_the_url(url: str) -> None:
    open_one = "https://host/simple"
    text = f"x @ {open_one} ; y, `{url}` and '{url}'; {open_one}."
    shown = URLS[url][0]
    assert masked(text) == f"x @ {open_one} ; y, `{shown}` and '{shown}'; {open_one}."
    assert secret_in(text) == URLS[url][1]
    assert len(masked(text, keeps_length=True)) == len(text)


def test_secrets_are_told_as_they_are_written() -> None:
    text = "https://user:one@h/x https://two@h/t/three/y?a=four&five"
    assert list(secrets_in(text)) == ["one", "two", "three", "four", "five"]


def test_hostile_text_takes_no_time() -> None:
    for text in (
        "https://" * 50_000,
        "https://" + "a:" * 50_000 + "@" * 50_000,
        "https://a?" + "&;=" * 50_000,
        "a" * 200_000,
    ):
        assert masked(text) is not None
