"""Text of a payload, by the charsets that are taken.

Python knows codecs that are no charsets (`base64`, `unicode_escape`), and some whose time grows with the square of what
they read (`punycode`, `idna`). These here are linear.
"""

from __future__ import annotations

from encodings.aliases import aliases

from kappa.errors import BadInputError
from kappa.types import Payload

__all__ = ["codec_of", "decode_text"]

_UNICODE = ("utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be")
_EUROPEAN = (
    "ascii",
    "latin_1",
    *(f"iso8859_{part}" for part in (*range(2, 12), *range(13, 17))),
    *(f"cp{page}" for page in range(1250, 1259)),
    "koi8_r",
    "koi8_u",
    "mac_roman",
)
_ASIAN = (
    *("shift_jis", "cp932", "euc_jp"),
    *("euc_kr", "cp949"),
    *("gb2312", "gbk", "gb18030", "big5", "cp950"),
    *("tis_620", "cp874"),
)
_CODECS = {name: name for name in (*_UNICODE, *_EUROPEAN, *_ASIAN)}
_CODECS |= {alias: codec for alias, codec in aliases.items() if codec in _CODECS}
_TAKEN = (
    "`utf-8`, `utf-16`, `utf-32`, `us-ascii`, `iso-8859-1` to `-16`, `windows-1250` to `-1258`, `koi8-r`, `shift_jis`, "
    "`euc-jp`, `euc-kr`, `gb18030` and `big5`"
)
_MARK = "\ufeff"
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def codec_of(charset: str) -> str:
    """Return Python's name of a charset; raises a `BadInputError` of 415 for one that is not taken."""
    codec = _CODECS.get(charset.strip().lower().replace("-", "_").replace(" ", "_"))
    if codec is None:
        shown = charset if len(charset) <= _LONGEST else f"{charset[:_LONGEST]}…"
        raise BadInputError(f"The charset `{shown}` is not taken here; send {_TAKEN}.", http_status=415)
    return codec


_LONGEST = 40


def decode_text(payload: Payload) -> str:
    """Return a body as text in its charset, without a byte order mark; raises `BadInputError`."""
    try:
        text = payload.data.decode(codec_of(payload.charset))
        text.encode()  # some codecs make halves of characters, which no later step takes
    except ValueError as exc:
        mark = _MARKS.get(payload.data[:2])
        advice = f" It begins as `{mark}` does: say so with `charset={mark}`." if mark else ""
        raise BadInputError(f"The body is not valid `{payload.charset}` text: {exc}.{advice}") from None
    return text.removeprefix(_MARK)
