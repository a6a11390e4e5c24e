"""A registry that cannot be reached, or whose transfers break off: what a client sees of a network that fails."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from kappa.errors import GammaUnreachableError
from kappa.gamma.protocols.registry import Registry
from kappa.tag import Tag

__all__ = ["BreakingRegistry", "as_registry"]


@dataclass
class BreakingRegistry:
    """Passes every operation on, and counts it; is away while ``is_away``.

    With ``breaks_after`` each stream of a blob breaks after that many bytes; with ``flips`` one byte of what is read is
    another one.
    """

    registry: Registry
    breaks_after: int | None = None
    breaks_left: int = 10**9
    flips: bool = False
    is_away: bool = False
    calls: list[str] = field(default_factory=list)
    bytes_read: int = 0
    bytes_written: int = 0

    def __getattr__(self, name: str) -> Any:
        if name == "location":
            return self.registry.location
        if self.is_away:
            raise GammaUnreachableError(f"`{self.registry.location}` does not answer.")
        self.calls.append(name)
        return getattr(self.registry, name)

    def read_blob(self, tag: Tag, digest: str, *, offset: int = 0) -> Iterator[bytes]:
        self.calls.append("read_blob")
        for chunk in self._breaking(self.registry.read_blob(tag, digest, offset=offset)):
            self.bytes_read += len(chunk)
            yield bytes([chunk[0] ^ 1]) + chunk[1:] if self.flips else chunk

    def write_blob(self, session: str, digest: str, offset: int, chunks: Iterable[bytes]) -> int:
        self.calls.append("write_blob")

        def counted() -> Iterator[bytes]:
            for chunk in chunks:
                self.bytes_written += len(chunk)
                yield chunk

        return self.registry.write_blob(session, digest, offset, self._breaking(counted()))

    def _breaking(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        left = self.breaks_after
        try:
            for chunk in chunks:
                if left is not None and self.breaks_left > 0 and len(chunk) > left:
                    self.breaks_left -= 1
                    if left:
                        yield chunk[:left]
                    raise GammaUnreachableError("The connection broke.")
                left = None if left is None else left - len(chunk)
                yield chunk
        finally:
            if isinstance(chunks, Generator):
                chunks.close()  # what it holds is freed now, as by a connection that is gone


def as_registry(breaking: BreakingRegistry) -> Registry:
    return cast("Registry", breaking)
