"""Secrets in URLs: detected, so that no bundle or image holds one, and masked wherever a URL is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["masked", "password_in", "secret_in", "secrets_in"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s\"'<>`\\]+")
"""PERF: without a longest scheme, the time for a text of one long word grows with its square."""
_USER = re.compile(r"://([^/?#]*)@|://(?![^/?#:]*(?::\d*)?(?:[/?#]|$)|\[)([^@]+(?:@[^@/?#]*)*)@")
"""The part before the host: also before one that an unquoted `/` in the password seems to end."""
_QUERY = re.compile(r"\?([^#]+)")
_FRAGMENT = re.compile(r"[#&]([\w.-]+)=([^&]+)")
_PATH = (
    re.compile(r"://[^/?#]+/t/([^/?#]+)/"),  # conda: https://docs.anaconda.com/anaconda-repository/user-guide/tasks/
    re.compile(r"://dl\.cloudsmith\.io/(?!public/|basic/)([^/?#]+)/"),
    re.compile(r"://pypi\.fury\.io/([^/?#]+)/[^/?#]+/"),
    re.compile(r"((?:gh[pousr]_|github_pat_|glpat-|pypi-AgE|hf_|xox[abp]-)[\w-]{10,}|eyJ[\w-]{10,}\.[\w.-]+)"),
)
"""Where well-known servers take tokens in the path, and how well-known tokens begin."""
_SECRET_NAME = re.compile(
    r"token|secret|passw|pwd|auth|credential|signature|(?:^|[-_])(?:sig|key|pat)$|api.?key", re.IGNORECASE
)
_PLACEHOLDER = re.compile(r"[$%{<*…]")
"""Placeholders of a secret that is filled in elsewhere: `$TOKEN`, `{{ token }}`, `****`."""


def secret_in(text: str) -> str | None:
    """Return which part of the URL of a package, an index or a channel may be a secret; ``None`` for an open one.

    Everything before the host and in a query counts: no package needs either.

    >>> secret_in("https://host/simple?token=7b1e")
    'a query'
    """
    return next((kind for _, _, kind in _parts(text)), None)


def password_in(text: str) -> str | None:
    """Return which part of a URL in any text is a secret for certain: a password, a query that is called so, a token.

    >>> password_in("redis://:hunter2@cache/0"), password_in("postgresql://app@db/x?sslmode=require")
    ('a password', None)
    """
    for start, end, where in _parts(text):
        part, kind = text[start:end], where
        if where == _BEFORE_HOST:
            part, kind = part.partition(":")[2], "a password"
        elif where == _IN_QUERY:
            pairs = (pair.partition("=") for pair in re.split("[&;]", part))
            part = "".join(value for name, _, value in pairs if _SECRET_NAME.search(name))
        if part and not _PLACEHOLDER.search(part):
            return kind
    return None


def masked(text: str, *, by: str = "****", keeps_length: bool = False) -> str:
    """Return ``text`` with all that may be a secret in its URLs replaced."""
    shown, at = "", 0
    for start, end, _ in _parts(text):
        shown += text[at:start] + ("*" * (end - start) if keeps_length else by)
        at = end
    return shown + text[at:]


def secrets_in(text: str) -> Iterator[str]:
    """Yield the passwords and tokens in the URLs of a text, as written there."""
    for start, end, kind in _parts(text):
        if kind == _BEFORE_HOST:
            user, colon, password = text[start:end].partition(":")
            yield password if colon else user
        elif kind == _IN_QUERY:
            yield from (pair.partition("=")[2] or pair for pair in re.split("[&;]", text[start:end]))
        else:
            yield text[start:end]


_BEFORE_HOST, _IN_QUERY, _IN_PATH = "a user or password", "a query", "a token in its path"
_IN_FRAGMENT = "a secret in its fragment"


def _parts(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where parts of the URLs in a text begin and end, in order, with what each is."""
    for url in _URL.finditer(text):
        at, address = url.start(), url[0]
        user = _USER.search(address)
        query = _QUERY.search(address, user.end() if user else 0)
        begin, end = user.end() - 1 if user else 0, query.start() if query else len(address)
        if user and (which := user.lastindex) and user[which]:
            yield at + user.start(which), at + user.end(which), _BEFORE_HOST
        tokens = [match.span(1) for pattern in _PATH for match in pattern.finditer(address)]
        for start, stop in sorted(set(tokens)):
            if begin <= start and stop <= end:
                yield at + start, at + stop, _IN_PATH
        if query:
            yield at + query.start(1), at + query.end(1), _IN_QUERY
        fragment = address.find("#", query.end() if query else begin)
        for pair in _FRAGMENT.finditer(address, fragment) if fragment >= 0 else ():  # `egg`, `subdirectory`, digests, …
            if _SECRET_NAME.search(pair[1]):
                yield at + pair.start(2), at + pair.end(2), _IN_FRAGMENT
