"""Text files of a project: their encodings, and advice for unreadable ones."""

from __future__ import annotations

import codecs
import re

__all__ = ["decoded", "is_utf16"]

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)")  # PEP 263
_UTF16 = "it looks like UTF-16, which PowerShell writes: save it as UTF-8"


def is_utf16(data: bytes) -> bool:
    """Return whether bytes look like UTF-16, with its mark or without."""
    return data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or data[:1] == b"\0" or data[1:2] == b"\0"


def decoded(data: bytes, *, as_pip: bool = False) -> str:
    """Return the text of a file in UTF-8, with or without its mark; raises `ValueError` that says what it is instead.

    With ``as_pip`` it may be in the encoding that its first bytes or a comment in its first two lines name.
    """
    encoding = "utf-8-sig"
    if as_pip:
        named = next((match[1].decode() for line in data.split(b"\n")[:2] if (match := _CODING.match(line))), encoding)
        encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), named)
    try:
        text = data.decode(encoding)
    except LookupError:
        raise ValueError(f"it says that it is written in `{encoding}`, which Python does not know") from None
    except UnicodeDecodeError:
        if is_utf16(data):
            raise ValueError(_UTF16) from None
        raise ValueError("it is not UTF-8 text" if encoding == "utf-8-sig" else f"it is not {encoding} text") from None
    if "\0" in text:
        raise ValueError(_UTF16 if is_utf16(data) else "it holds bytes that are not text")
    return text
