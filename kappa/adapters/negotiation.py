"""Which of the forms that an answer can have a client would rather see (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["preferred"]


@lru_cache(maxsize=512)
def preferred(accept: str, offers: tuple[str, ...]) -> str:
    """Return the media type of ``offers`` that an `Accept` header prefers.

    The first one if nothing is said, if several are liked as well, and if none is: an answer in another form than
    asked for helps more than a refusal.
    """
    if not accept or accept == "*/*":
        return offers[0]
    from falcon.errors import InvalidMediaRange, InvalidMediaType
    from falcon.util.mediatypes import quality

    try:
        qualities = [quality(offer, accept) for offer in offers]
    except (InvalidMediaRange, InvalidMediaType):
        return offers[0]
    return offers[qualities.index(max(qualities))]
