"""Conformance suites: what every adapter must do, as tests that an adapter of your own inherits.

>>> class TestLines(InputAdapterSuite):  # pytest finds what it inherits
...     adapter = LinesInput()
...     good = [Payload(b"one"), Payload(b"two, three")]
...     bad = [Payload(bytes([255]))]

Nothing here needs pytest itself; the names of the methods are what must hold.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from sys import getsizeof
from typing import Any, ClassVar

from kappa.adapters.multipart import FORM, sole_part
from kappa.errors import BadInputError, KappaError
from kappa.services.splitting import split
from kappa.spec.contracts import InputAdapter, OutputAdapter, Plugin
from kappa.testing.plugins import PluginSuite
from kappa.types import Answer, FileLike, Payload

__all__ = ["InputAdapterSuite", "OutputAdapterSuite", "is_same", "spoil"]


def is_same(value: Any, other: Any) -> bool:
    """Return whether two arguments of a function are the same: values, types, dtypes, shapes, names and labels."""
    if isinstance(value, FileLike):
        return isinstance(other, FileLike) and (value.name, value.getvalue()) == (other.name, other.getvalue())
    if type(value) is not type(other):
        return False
    if isinstance(value, list | tuple):
        return len(value) == len(other) and all(map(is_same, value, other))
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(is_same(value[key], other[key]) for key in value)
    if hasattr(value, "columns") and hasattr(value, "equals"):
        return bool(
            value.equals(other) and list(value.dtypes) == list(other.dtypes) and value.index.equals(other.index)
        )
    if hasattr(value, "numpy") and not hasattr(value, "tolist"):
        value, other = value.numpy(), other.numpy()
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return (
            value.dtype == other.dtype
            and tuple(value.shape) == tuple(other.shape)
            and is_same(value.tolist(), other.tolist())
        )
    return bool(value == other) or (value != value and other != other)


def spoil(argument: Any) -> None:
    """Change all of a function's argument that a function could change."""
    if isinstance(argument, FileLike):
        argument.seek(0)
        argument.write(b"spoilt")
        argument.name = "spoilt"
    elif isinstance(argument, list | tuple | set):
        for part in list(argument):
            spoil(part)
        if isinstance(argument, list | set):
            argument.clear()
    elif isinstance(argument, dict):
        for part in argument.values():
            spoil(part)
        argument.clear()
    elif hasattr(argument, "columns") and hasattr(argument, "iloc"):
        for index in range(len(argument.columns)):
            column = argument.iloc[:, index]
            spoil(list(column))
            spoil(column.array)
    elif hasattr(argument, "detach"):  # a tensor of PyTorch's shares the memory of its array
        spoil(argument.detach().numpy())
    elif hasattr(argument, "to_numpy") and hasattr(argument, "dtype"):  # an array of pandas'
        spoil(argument.to_numpy())
        with suppress(TypeError, ValueError):  # not every dtype has a word for what is missing
            argument[:] = argument.dtype.na_value
    elif hasattr(argument, "dtype") and hasattr(argument, "flags"):
        with suppress(ValueError):  # it belongs to what cannot be changed
            argument.flags.writeable = True
        if argument.flags.writeable:
            spoil(argument.tolist())
            _spoil_array(argument)


def _spoil_array(array: Any) -> None:
    kind = array.dtype.kind
    if kind == "b":
        array ^= True
    elif kind in "iufc":
        array += 1
    elif kind in "mM":
        array.view("i8")[...] += 1
    else:
        array[...] = None if kind == "O" else array.dtype.type()


class InputAdapterSuite(PluginSuite):
    """What every input adapter must do; give the adapter, and requests that it takes and refuses."""

    adapter: ClassVar[InputAdapter]
    good: ClassVar[Sequence[Payload]]
    """Requests that it takes; some of them should be able to share a batch."""
    bad: ClassVar[Sequence[Payload]] = ()
    """Requests that it refuses."""

    def plugin(self) -> Plugin:
        return self.adapter

    def decode(self, payload: Payload) -> Any:
        """Return a request's form, as the server does: a sole uploaded file arrives as that file."""
        is_upload = payload.media_type == FORM and not self.adapter.part_names
        return self.adapter.decode(sole_part(payload) if is_upload else payload)

    def part(self, argument: Any, start: int, stop: int) -> Any:
        """Return a request's share of a batch's argument; override it for arguments that are cut in another way."""
        if isinstance(argument, tuple):
            return tuple(self.part(each, start, stop) for each in argument)
        if isinstance(argument, dict):
            return {name: self.part(each, start, stop) for name, each in argument.items()}
        if hasattr(argument, "iloc"):
            part = argument.iloc[start:stop]
            is_numbered = list(argument.index) == list(range(len(argument)))
            return part.reset_index(drop=True) if is_numbered else part
        return argument[start:stop]

    def test_good_requests_are_decoded(self) -> None:
        assert self.good, "give requests that it takes in `good`"
        for payload in self.good:
            self.decode(payload)

    def test_the_body_that_is_shown_to_begin_with_is_taken(self) -> None:
        if (body := self.adapter.sample_body()) is not None:
            self.decode(Payload(json.dumps(body).encode(), "application/json"))

    def test_bad_requests_are_refused_with_a_4xx_and_a_reason(self) -> None:
        for payload in self.bad:
            try:
                self.decode(payload)
            except BadInputError as exc:
                assert 400 <= exc.http_status < 500, f"{exc.http_status} is not the status of a refusal"
                assert str(exc).endswith("."), f"a reason is a whole sentence: {exc}"
            else:
                raise AssertionError(f"{payload!r} was taken")

    def test_damaged_requests_are_decoded_or_refused(self) -> None:
        chance = random.Random(0)  # noqa: S311 - the same damage in every run
        for payload in self.good:
            for _ in range(50):
                data = bytearray(payload.data)
                for _ in range(chance.randint(1, 3)):
                    start = chance.randint(0, len(data))
                    data[start : start + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
                damaged = payload._replace(data=bytes(data))
                with suppress(BadInputError):
                    self.decode(damaged)

    def test_a_form_has_one_group(self) -> None:
        for payload in self.good:
            form = self.decode(payload)
            assert hash(self.adapter.group_of(form)) == hash(self.adapter.group_of(form))
            assert self.adapter.group_of(form) == self.adapter.group_of(form)

    def test_a_request_in_a_batch_is_what_it_is_alone(self) -> None:
        if not self.adapter.supports_batch:
            return
        groups: dict[Any, list[Any]] = {}
        for payload in [*self.good, *reversed(self.good)]:
            form = self.decode(payload)
            groups.setdefault(self.adapter.group_of(form), []).append(form)
        for forms in groups.values():
            batch, start = self.adapter.merge(forms), 0
            for form in forms:
                stop = start + self._count(form)
                part, alone = self.part(batch, start, stop), self.adapter.merge([form])
                assert is_same(part, alone), f"in a batch {part!r}, alone {alone!r}"
                start = stop

    def test_the_rows_of_a_batch_have_labels_of_their_own(self) -> None:
        """Results are brought into the order of the requests by the labels of the rows: no two may have the same."""
        if not self.adapter.supports_batch:
            return
        groups: dict[Any, list[Any]] = {}
        for payload in [*self.good, *self.good]:
            form = self.decode(payload)
            groups.setdefault(self.adapter.group_of(form), []).append(form)
        for forms in groups.values():
            batch = self.adapter.merge(forms)
            if len(forms) > 1 and hasattr(batch, "iloc"):
                assert batch.index.is_unique, "two rows of different requests have the same label"

    def _count(self, form: Any) -> int:
        rows = self.adapter.rows_of(form)
        return 1 if rows is None else rows

    def test_every_request_has_rows_or_is_one_item(self) -> None:
        counts = {self.adapter.rows_of(self.decode(payload)) for payload in self.good}
        assert counts == {None} or all(count is not None and count > 0 for count in counts)

    def test_what_a_form_holds_is_told(self) -> None:
        """What waits in a queue is bounded by it: a form may be twice as large, and some times its body."""
        for payload in self.good:
            form = self.decode(payload)
            nbytes = self.adapter.nbytes_of(form) + self.adapter.nbytes_from(payload)
            assert isinstance(nbytes, int), f"{nbytes!r} is not a number of bytes"
            assert nbytes >= 0, f"{nbytes} is not a number of bytes"
            held = _held(form, set())
            allowed = 2 * nbytes + _BODIES * len(payload.data) + _SMALL
            assert held <= allowed, f"a form of about {held} bytes is said to hold {nbytes}: override `nbytes_of`"

    def test_a_batch_can_be_built_again(self) -> None:
        """A batch that failed is run again in parts: what the function did to its argument must not be seen."""
        if self.adapter.supports_batch:
            for payload in self.good:
                form = self.decode(payload)
                assert is_same(self.adapter.merge([form]), self.adapter.merge([form]))

    def test_a_function_that_changes_its_argument_changes_no_form_of_an_adapter_that_copies(self) -> None:
        """What `copies` promises: a server then runs a form again without decoding it anew."""
        if not self.adapter.copies:
            return
        builds: list[Callable[[Sequence[Any]], Any]] = []
        if self.adapter.supports_batch:
            builds += [lambda forms: self.adapter.merge(forms[:1]), self.adapter.merge]
        if self.adapter.supports_single:
            builds.append(lambda forms: self.adapter.single(forms[0]))
        for payload in self.good:
            for build in builds:
                forms = self._group_of_two(payload)
                spoil(build(forms))
                untouched = build(self._group_of_two(payload))
                assert is_same(build(forms), untouched), "its argument shares what can be changed with a form"

    def _group_of_two(self, payload: Payload) -> list[Any]:
        """Return two forms of a request, or one if two of them share no batch."""
        form, other = self.decode(payload), self.decode(payload)
        return [form, other] if self.adapter.group_of(form) == self.adapter.group_of(other) else [form]

    def test_a_single_request_makes_an_argument(self) -> None:
        if self.adapter.supports_single:
            for payload in self.good:
                argument = self.adapter.single(self.decode(payload))
                assert not self.adapter.part_names or len(argument) == len(self.adapter.part_names)

    def test_the_openapi_document_says_what_it_takes(self) -> None:
        content = self.adapter.documented_content()
        assert json.loads(json.dumps(content)) == content, "it is not plain JSON"
        assert content, "it takes no media type"
        for media_type, description in content.items():
            assert media_type.count("/") == 1, f"`{media_type}` is not a media type"
            assert isinstance(description.get("schema"), dict), f"`{media_type}` has no schema"


_BODIES = 32  # parsed JSON takes as much of each byte, at worst
_SMALL = 1 << 16


def _held(value: Any, seen: set[int]) -> int:
    """Return about how many bytes of memory a value takes, what it refers to included."""
    if id(value) in seen or isinstance(value, type):
        return 0
    seen.add(id(value))
    if isinstance(value, list | tuple | set | frozenset):
        return getsizeof(value) + sum(_held(item, seen) for item in value)
    if isinstance(value, dict):
        return getsizeof(value) + sum(_held(item, seen) for pair in value.items() for item in pair)
    if isinstance(value, io.BytesIO):
        return value.getbuffer().nbytes
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        is_objects = str(getattr(value, "dtype", "")) == "object"
        return size + (sum(_held(item, seen) for item in value.tolist()) if is_objects else 0)
    if hasattr(value, "getbands"):  # a picture of Pillow's
        return int(value.width * value.height * 4 * len(value.getbands()))
    return getsizeof(value) + _held(getattr(value, "__dict__", {}), seen)


class OutputAdapterSuite(PluginSuite):
    """What every output adapter must do; give the adapter, and values that it writes and does not."""

    adapter: ClassVar[OutputAdapter]
    values: ClassVar[Sequence[Any]]
    """What functions return for one request."""
    batches: ClassVar[Sequence[tuple[Any, Sequence[int | None]]]] = ()
    """What functions return for a batch, with the number of rows of each request, or ``None`` where it is one item."""
    unwritable: ClassVar[Sequence[Any]] = ()
    """Values that it cannot write."""

    def plugin(self) -> Plugin:
        return self.adapter

    def _accepts(self) -> list[str]:
        return ["", "*/*", "application/json", "text/html", "nonsense;;", *self.adapter.response_content()]

    def _check(self, answer: Answer) -> None:
        assert isinstance(answer.body, bytes)
        media_type = answer.media_type.partition(";")[0]
        assert media_type in self.adapter.response_content(), f"`{media_type}` is not in `response_content`"
        if media_type == "application/json":
            json.loads(answer.body, parse_constant=_not_json)

    def test_values_are_written_as_the_openapi_document_says(self) -> None:
        assert self.values, "give values that it writes in `values`"
        for value in self.values:
            for accept in self._accepts():
                self._check(self.adapter.encode(value, accept=accept))

    def test_a_media_type_that_it_offers_is_given_to_who_accepts_it(self) -> None:
        for media_type in self.adapter.response_content():
            answer = self.adapter.encode(self.values[0], accept=media_type)
            assert answer.media_type.partition(";")[0] == media_type

    def test_the_parts_of_a_batch_are_written_as_they_are_alone(self) -> None:
        for value, counts in self.batches:
            for accepts in ([accept] * len(counts) for accept in self._accepts()):
                prepared = split(self.adapter.prepare(value, accepts=iter(accepts)), counts)
                for part, alone, accept in zip(prepared, split(value, counts), accepts, strict=True):
                    assert self.adapter.encode(part, accept=accept) == self.adapter.encode(alone, accept=accept)

    def test_outputs_by_name_are_written_as_they_are_alone(self) -> None:
        """A batch function may return several results by name: each request gets its share of each."""
        for value, counts in self.batches:
            if isinstance(value, Mapping):
                continue
            named = {"one": value, "other": value}
            for part, alone in zip(
                split(self.adapter.prepare(named, accepts=iter([""] * len(counts))), counts),
                split(named, counts),
                strict=True,
            ):
                assert _written(self.adapter, part) == _written(self.adapter, alone)

    def test_what_cannot_be_written_is_an_error_of_kappas(self) -> None:
        for value in self.unwritable:
            try:
                answer = self.adapter.encode(value)
            except KappaError:
                continue
            raise AssertionError(f"{value!r} was written as {answer!r}")

    def test_the_openapi_document_says_what_it_gives(self) -> None:
        content = self.adapter.response_content()
        assert json.loads(json.dumps(content)) == content, "it is not plain JSON"
        assert content, "it gives no media type"


def _written(adapter: OutputAdapter, value: Any) -> Answer | None:
    try:
        return adapter.encode(value)
    except KappaError:
        return None  # it does not write several outputs


def _not_json(word: str) -> None:
    raise AssertionError(f"`{word}` is not JSON")
