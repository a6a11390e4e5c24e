"""The classes of the messages of `registry.proto`, each made when it is first used; `messages.pyi` has their types."""

from __future__ import annotations

from typing import Any

from kappa.gamma.wire.proto.descriptors import message_class

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    try:
        return message_class(name)
    except KeyError:
        raise AttributeError(f"`registry.proto` has no message `{name}`") from None
