"""The text of a token: ``kgt_<id>_<secret>``. The id finds its row; of the secret only a salted hash is kept.

The secret has 256 random bits, so that a plain SHA-256 is enough: nobody can try all secrets, however fast a hash is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

__all__ = ["NewToken", "TokenText", "is_right", "new_token"]

_TEXT = re.compile(r"kgt_([0-9a-f]{12})_([0-9a-f]{64})")
_NO_SALT, _NO_HASH = "0" * 32, "0" * 64


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token that somebody shows."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> TokenText | None:
        """Return the parts of a token; ``None`` for a text that cannot be one."""
        match = _TEXT.fullmatch(text)
        return None if match is None else cls(match[1], match[2])

    def __str__(self) -> str:
        return f"kgt_{self.id}_{self.secret}"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was made now, with what is kept of it."""

    text: TokenText
    salt: str
    secret_hash: str


def new_token() -> NewToken:
    """Return a token that nobody has."""
    text, salt = TokenText(secrets.token_hex(6), secrets.token_hex(32)), secrets.token_hex(16)
    return NewToken(text, salt, _hash_of(text.secret, salt))


def is_right(secret: str, *, salt: str = _NO_SALT, secret_hash: str = _NO_HASH) -> bool:
    """Return whether a secret has a hash, in a time that does not depend on where they differ.

    Without a hash it is wrong, after as long a time as any other.
    """
    return hmac.compare_digest(_hash_of(secret, salt), secret_hash)


def _hash_of(secret: str, salt: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + secret.encode()).hexdigest()
