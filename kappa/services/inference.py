"""From payloads to answers: decode, run, split, encode. Shared by HTTP, the command line and tests.

Words: a *task* is a decoded request; tasks of one *group* may be run together; a *value* is what a function returned
for one task; an *answer* is an encoded value.
"""

from __future__ import annotations

import inspect
import logging
import uuid
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property, partial
from itertools import takewhile
from pathlib import Path
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from kappa.adapters.json import SHORT_BODY, encode_json
from kappa.adapters.media_types import JSON, LINES, SLOW_KINDS, TABS, UNTOLD
from kappa.adapters.multipart import FORM, sole_part
from kappa.errors import BadInputError, ConfigurationError, InferenceFailedError, ResultMismatchError
from kappa.plugins import load_dotted
from kappa.services.awaiting import awaited, is_awaitable, loop_in_use
from kappa.services.direct import own_tasks
from kappa.services.representations import PLAIN, Rest, error_answer
from kappa.services.splitting import FUNCTION, InputRows, arranged, cut, is_in_order, labels_of
from kappa.services.threads import ServiceThread
from kappa.spec.contracts import InputAdapter
from kappa.spec.service import ApiSpec, ArtifactMethod, ExampleSpec
from kappa.types import (
    MEDIA_TYPES,
    Answer,
    HTTPHeaders,
    InferenceError,
    InferenceResult,
    InferenceTask,
    Payload,
    Representation,
)
from kappa.wording import listed

__all__ = ["Inference", "example_payload", "extensions_of", "read_payload"]

_logger = logging.getLogger("kappa.inference")
_NO_HEADERS = HTTPHeaders()
_ANSWERS = frozenset({InferenceError, InferenceResult})
_GENERATORS = (GeneratorType, AsyncGeneratorType)
_OTHER_ORDER = (
    "The function of `%s` returned its rows in another order than it was given them; they were put back by their "
    "labels, as will be others. Return one result per input in the order of the inputs, or name an index that does "
    "not label the inputs."
)


def extensions_of(adapter: InputAdapter) -> list[str]:
    """Return the extensions of the files that an adapter takes; empty for one that takes any file."""
    taken = set(adapter.request_content())
    if adapter.part_names or "*/*" in taken:
        return []
    if "application/json" in taken:
        taken |= {LINES, "text/plain"}
    if "text/csv" in taken:
        taken.add(TABS)
    return [extension for extension, media_type in MEDIA_TYPES.items() if media_type in taken]


def read_payload(path: Path) -> Payload:
    """Read a file as a request body, its media type told by its extension; raises `BadInputError`."""
    media_type = MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
    try:
        return Payload(path.read_bytes(), media_type, name=str(path))
    except OSError as exc:
        raise BadInputError(f"`{path}` cannot be read: {exc.strerror}.") from exc


def example_payload(example: ExampleSpec, directory: Path) -> Payload:
    """Return the request body of an example whose files lie in ``directory``."""
    if example.input_file is not None:
        return read_payload(directory / example.input_file)
    return Payload(encode_json(example.input), "application/json", name=example.name)


_Call = tuple[tuple[Any, ...], Mapping[str, Any], Any]
"""The arguments of a call, by position and by name, and the index of the frame that it is given, as it was before the
call, or ``None``."""


class Inference:
    """One API of one loaded service.

    ``function`` is what answers it: the user's function or bound method, or what the artifact's plugin calls a model's
    own method by. ``injectables`` are the values that its further parameters may name: artifacts, and what `setup`
    returned.
    """

    def __init__(
        self,
        spec: ApiSpec,
        function: Callable[..., Any],
        injectables: Mapping[str, Any],
        *,
        load: Callable[[str], Any] = load_dotted,
    ) -> None:
        self.spec = spec
        self._function = function
        self.headers = _NO_HEADERS
        """The headers of tasks without a request."""
        self._input = spec.input
        self._decode = spec.input.decoder(load)
        self._takes_parts = bool(spec.input.part_names)
        self._are_alike = not spec.batch or spec.input.merges_any()
        """Whether every task is one item, and any may share a batch (PERF: to ask for both costs 0.3 µs)."""
        self._rest = Rest(spec.output, spec.name)
        self._task_keyword = ""
        self._keywords: dict[str, Any] = {}
        self.is_async = _is_async(function)
        """Whether the function is `async def`: a server awaits it on its event loop."""
        self._loop = loop_in_use()
        self._has_told_of_order = False
        self.thread: ServiceThread | None = None
        """Where `answer` calls the function; ``None`` for the caller's own thread."""
        if not isinstance(spec.target, ArtifactMethod):
            self._bind(injectables)

    def _bind(self, injectables: Mapping[str, Any]) -> None:
        """Decide once the argument of each parameter after the input."""
        where = f"The function of the API `{self.spec.name}`"
        task_word = "tasks" if self.spec.batch else "task"
        try:
            parameters = list(inspect.signature(self._function).parameters.values())
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(f"{where} cannot be called: {exc}.") from None
        names = self._input.part_names
        inputs = list(takewhile(_is_positional, parameters))[: len(names) or 1]
        if len(inputs) < (len(names) or 1):
            if names:
                listed = ", ".join(f"`{name}`" for name in names)
                raise ConfigurationError(f"{where} needs {len(names)} parameters for its inputs {listed}.")
            raise ConfigurationError(f"{where} takes no input: its first parameter receives the request.")
        for parameter in parameters[len(inputs) :]:
            if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
                raise ConfigurationError(f"{where} takes `{parameter}`; name each parameter.")
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                raise ConfigurationError(f"{where} takes `{parameter.name}` before `/`; it is passed by its name.")
            if parameter.name == task_word:
                self._task_keyword = task_word
            elif parameter.name in injectables:
                self._keywords[parameter.name] = injectables[parameter.name]
            elif parameter.default is inspect.Parameter.empty:
                available = ", ".join(f"`{name}`" for name in sorted([task_word, *injectables]))
                raise ConfigurationError(
                    f"{where} takes `{parameter.name}`, which is neither an artifact nor returned by `setup`. "
                    f"Known here are {available}."
                )

    def call(self, *arguments: Any) -> Any:
        """Call the function as it is with arguments it understands: no adapter, no batching, no encoding.

        The tasks that it asks for are made of them.
        """
        keywords = self._keywords
        if self._task_keyword and arguments:
            keywords = {**keywords, self._task_keyword: own_tasks(self._task_keyword, arguments, self._input)}
        return self._function(*arguments, **keywords)

    def decode(
        self, payload: Payload, *, headers: HTTPHeaders | None = None, task_id: str | None = None
    ) -> InferenceTask:
        """Turn a payload into a task; raises `BadInputError` for a request that this API refuses."""
        form = self.form_of(payload)
        seen = self.headers if headers is None else headers
        return InferenceTask(form, seen) if task_id is None else InferenceTask(form, seen, task_id)

    def form_of(self, payload: Payload) -> Any:
        """Return what the input adapter makes of a payload; raises `BadInputError`."""
        if payload.media_type == FORM and not self._takes_parts:
            payload = sole_part(payload)
        return self._decode(payload)

    @cached_property
    def _is_ever_slow(self) -> bool:
        return any(kind.startswith(SLOW_KINDS) for kind in self._input.request_content() if kind != FORM)

    def is_light(self, media_type: str, body: bytes) -> bool:
        """Return whether a body without a media type may be decoded on the event loop."""
        return media_type in UNTOLD and (not self._is_ever_slow or body.lstrip(b" \t\r\n")[:1] in (b"[", b"{"))

    def group_and_items_of(self, task: InferenceTask) -> tuple[Hashable, int]:
        """Return the key of the tasks that may share a batch with this one, and its number of items: its rows, or 1."""
        if self._are_alike:
            return None, 1
        form = task.data
        return self._input.group_of(form), self._input.rows_of(form) or 1

    def nbytes_of(self, task: InferenceTask, payload: Payload) -> int:
        """Return about how many bytes of memory the task's form holds beside its payload."""
        if len(payload.data) <= SHORT_BODY and payload.media_type == JSON:
            return 0  # PERF: a queue full of short bodies holds little, and to look at each would take 0.5 µs
        return self._input.nbytes_of(task.data) + self._input.nbytes_from(payload)

    @property
    def takes_tasks(self) -> bool:
        """Whether the function is given its task or tasks, with the forms that they hold."""
        return bool(self._task_keyword)

    def run(self, tasks: Sequence[InferenceTask]) -> list[Any]:
        """Call the function once for tasks of one group and return one value per task, in their order.

        A value is whatever the function returned for it, an `InferenceResult` or an `InferenceError`, and shares no
        memory with the function's own arrays. The function's own exceptions pass through; another number of results
        than of tasks that were not discarded is a `ResultMismatchError`. An API that is not batched takes exactly one
        task.
        """
        value, labels = self._run(tasks)
        return self._represented(tasks, value, labels, PLAIN)

    def _run(self, tasks: Sequence[InferenceTask]) -> tuple[Any, Any]:
        """Return what the function returned for tasks, and the labels of the rows that it was given."""
        arguments, keywords, labels = self._call_for(tasks)
        value = self._function(*arguments, **keywords)
        return awaited(value, self._loop) if is_awaitable(value) else value, labels

    def _call_for(self, tasks: Sequence[InferenceTask]) -> _Call:
        keywords = self._keywords
        labels = None
        if not self.spec.batch:
            (task,) = tasks
            if self._task_keyword:
                keywords = {**keywords, self._task_keyword: task}
            argument = self._input.single(task.data)
        else:
            if self._task_keyword:
                keywords = {**keywords, self._task_keyword: tasks}
            argument = self._input.merge([task.data for task in tasks])
            labels = labels_of(argument)
        return tuple(argument) if self._takes_parts else (argument,), keywords, labels

    def _values(
        self, tasks: Sequence[InferenceTask], value: Any, labels: Any, common: Representation | None
    ) -> list[Any]:
        """Cut what the function returned for ``tasks``, prepared for the representation that is ``common`` to them."""
        if isinstance(value, _GENERATORS):
            raise InferenceFailedError(
                f"{self._named} returned a generator. Streaming is not supported yet: return the whole result."
            )
        if self.spec.outputs:
            value = self._picked(value)
        if not self.spec.batch:
            return [tasks[0].error or value]
        kept = [task for task in tasks if task.error is None]
        if not kept:
            return [task.error for task in tasks]  # every task was discarded: the return value is ignored
        counts = [self._input.rows_of(task.data) for task in kept]
        try:
            if not is_in_order(value):
                value = self._arranged(value, tasks, counts, labels)
            if common is not None:
                value = common.prepare(value, tasks)
            values = cut(value, counts)
        except ResultMismatchError as exc:
            message = f"{self._named} {str(exc).removeprefix(FUNCTION).lstrip()}"
            left = f" {len(tasks) - len(kept)} more were discarded and need none." if len(kept) < len(tasks) else ""
            raise ResultMismatchError(f"{message}{left}") from None
        if len(kept) == len(tasks):
            return values
        rest = iter(values)
        return [task.error or next(rest) for task in tasks]

    def _picked(self, value: Any) -> Any:
        """Return the outputs that the API names, of those that the function returned."""
        if type(value) in _ANSWERS:
            return value
        if not isinstance(value, Mapping):
            kind = type(value).__name__
            raise InferenceFailedError(f"{self._named} returned a `{kind}`, and `outputs` names those of a mapping.")
        if missing := [name for name in self.spec.outputs if name not in value]:
            raise InferenceFailedError(
                f"{self._named} returned no output `{missing[0]}`, which `outputs` names; it returned {listed(value)}."
            )
        return {name: value[name] for name in self.spec.outputs}

    @property
    def _named(self) -> str:
        """The function as messages name it, with its place where it has one."""
        function = inspect.unwrap(getattr(self._function, "__func__", self._function))
        code = getattr(function, "__code__", None)
        origin = f"`{Path(code.co_filename).name}:{code.co_firstlineno}`, " if code is not None else ""
        name = getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]
        return f"`{name}` ({origin}API `{self.spec.name}`)"

    def _arranged(self, value: Any, tasks: Sequence[InferenceTask], kept: Sequence[int | None], labels: Any) -> Any:
        """Bring what the function returned into the order of its input."""
        counts = kept
        discarded: list[int] = []
        if len(kept) < len(tasks):
            counts = [self._input.rows_of(task.data) for task in tasks]
            discarded = [number for number, task in enumerate(tasks) if task.error is not None]
        value, was_moved = arranged(value, InputRows(counts, labels, discarded))
        if was_moved and not self._has_told_of_order:
            self._has_told_of_order = True
            _logger.warning(_OTHER_ORDER, self.spec.name)
        return value

    def answer(self, tasks: Sequence[InferenceTask]) -> list[Any]:
        """Run tasks of one group together and return the outcome of each, in its representation."""
        if self.thread is not None and not self.thread.is_current:
            return self.thread.run(partial(self.answer, tasks))
        value, labels = self._run(tasks)
        return self._represented(tasks, value, labels)

    async def answer_async(self, tasks: Sequence[InferenceTask]) -> list[Any]:
        """Do what `answer` does, on the running event loop; for functions that are `async def`."""
        arguments, keywords, labels = self._call_for(tasks)
        value = self._function(*arguments, **keywords)
        return self._represented(tasks, await value if is_awaitable(value) else value, labels)

    def _represented(
        self, tasks: Sequence[InferenceTask], value: Any, labels: Any, representation: Representation | None = None
    ) -> list[Any]:
        """Return what the function returned, for each task; in one ``representation`` if that is given."""
        first = representation or tasks[0].representation
        if representation is None and any([task.representation is not first for task in tasks]):  # noqa: C419 - PERF
            values = self._values(tasks, value, labels, None)
            each = [task.representation or self._rest for task in tasks]
            return [
                representation.encode(part, task)
                for representation, part, task in zip(each, values, tasks, strict=True)
            ]
        common = first or self._rest
        encode, values = common.encode, self._values(tasks, value, labels, common)
        return [encode(part, task) for part, task in zip(values, tasks, strict=True)]

    def answer_payload(self, payload: Payload, *, headers: HTTPHeaders | None = None) -> Answer:
        """Answer one payload by itself: a refused one with its 4xx; the function's exceptions pass through."""
        task_id = uuid.uuid4().hex
        try:
            task = self.decode(payload, headers=headers, task_id=task_id)
        except BadInputError as exc:
            return error_answer(str(exc), request_id=task_id, http_status=exc.http_status)
        answer: Answer = self.answer([task])[0]
        return answer


def _is_async(function: Any) -> bool:
    """Return whether calling ``function`` surely gives a coroutine; what a wrapper returns, only calling it tells."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _is_positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
