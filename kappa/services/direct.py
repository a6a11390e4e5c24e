"""Calls of an API's function by hand, from Python: no request comes in, so the tasks it asks for are made here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from kappa.spec.contracts import InputAdapter
from kappa.types import InferenceTask

__all__ = ["own_tasks", "with_own_tasks"]

F = TypeVar("F", bound=Callable[..., Any])


def own_tasks(word: str, arguments: Sequence[Any], adapter: InputAdapter) -> InferenceTask | list[InferenceTask]:
    """Return what a function that is called with ``arguments`` gets as ``task`` or ``tasks``.

    Where requests are items, each item is one. Rows are those of one request.
    """
    parts = len(adapter.part_names)
    data = tuple(arguments[:parts]) if parts else arguments[0]
    if word == "task":
        return InferenceTask(data)
    if adapter.brings_rows() or not isinstance(arguments[0], Iterable):
        return [InferenceTask(data)]
    return [InferenceTask(item) for item in (zip(*data, strict=True) if parts else data)]


def with_own_tasks(function: F, adapter: InputAdapter) -> F:
    """Return a method that may be called without the `task` or `tasks` that it takes."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return function
    words = [
        name
        for name, parameter in [*signature.parameters.items()][2:]
        if name in ("task", "tasks") and parameter.default is parameter.empty
    ]
    if not words:
        return function
    (word, *_) = words

    def completed(args: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        if word in keywords:
            return keywords
        arguments = signature.bind_partial(*args, **keywords).arguments
        inputs = [*arguments.values()][1:]
        return keywords if word in arguments or not inputs else {**keywords, word: own_tasks(word, inputs, adapter)}

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaiting(*args: Any, **keywords: Any) -> Any:
            return await function(*args, **completed(args, keywords))

        return awaiting  # type: ignore[return-value] # it takes and returns the same

    @functools.wraps(function)
    def calling(*args: Any, **keywords: Any) -> Any:
        return function(*args, **completed(args, keywords))

    return calling  # type: ignore[return-value]
