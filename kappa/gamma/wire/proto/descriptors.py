"""The descriptors of `registry.proto`, in a pool of Kappa's own.

The default pool is shared by all packages of a process and takes one file of each name, and generated code runs only
with some versions of protobuf. So the descriptors are data (`registry.binpb`, a `FileDescriptorSet`), and the classes
are made from them by whichever protobuf is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from importlib.resources import files
from threading import RLock
from typing import Any, ParamSpec, TypeVar

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

__all__ = ["SERVICE", "Method", "descriptor_pool", "message_class", "methods"]

PACKAGE = "kappa.gamma.v1"
SERVICE = f"{PACKAGE}.Registry"


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the service."""

    name: str
    path: str
    request: type[Message]
    response: type[Message]
    takes_stream: bool
    returns_stream: bool


_P = ParamSpec("_P")
_T = TypeVar("_T")
_guard = RLock()


def _once(make: Callable[_P, _T]) -> Callable[_P, _T]:
    """Cache what ``make`` returns; threads that come first together get the same.

    Classes of two pools do not fit each other, and `functools.cache` may call a function twice at once.
    """
    cached: Callable[_P, _T] = cache(make)  # type: ignore[assignment]

    @wraps(make)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with _guard:
            return cached(*args, **kwargs)

    return call


@_once
def descriptor_pool() -> DescriptorPool:
    """Return the pool that holds `registry.proto` and what it imports."""
    pool = DescriptorPool()
    data = files("kappa.gamma.wire.proto").joinpath("registry.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(data).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@_once
def message_class(name: str) -> type[Any]:
    """Return the class of a message; raises `KeyError` for a name that the file does not have."""
    return GetMessageClass(descriptor_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@_once
def methods() -> Mapping[str, Method]:
    """Return the methods of the service by name."""
    service = descriptor_pool().FindServiceByName(SERVICE)
    return {
        method.name: Method(
            name=method.name,
            path=f"/{SERVICE}/{method.name}",
            request=GetMessageClass(method.input_type),
            response=GetMessageClass(method.output_type),
            takes_stream=method.client_streaming,
            returns_stream=method.server_streaming,
        )
        for method in service.methods
    }
