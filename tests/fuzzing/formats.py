"""What is fuzzed: the formats that clients may send, each with the adapters that read it and what must hold.

Whatever a body is, each adapter either takes it or refuses it with a 4xx and a whole sentence; neither takes more than
two seconds of processor time, and a form that was taken merges into as many rows as it says it has.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import process_time
from typing import Any

from pydantic import BaseModel

from kappa.adapters.annotated_image import AnnotatedImageInput
from kappa.adapters.arrow import ARROW_FILE, ARROW_STREAM, PARQUET
from kappa.adapters.dataframe import DataframeInput
from kappa.adapters.file import FileInput
from kappa.adapters.image import ImageInput
from kappa.adapters.json import JsonInput
from kappa.adapters.multi_file import MultiFileInput
from kappa.adapters.multi_image import MultiImageInput
from kappa.adapters.multipart import FORM, sole_part
from kappa.adapters.ndarray import NdarrayInput
from kappa.adapters.string import StringInput
from kappa.errors import BadInputError
from kappa.server.http.exchange import unpacked
from kappa.spec.contracts import InputAdapter
from kappa.types import Payload

__all__ = ["BOUNDARY", "FORMATS", "MOST_SECONDS", "Format", "NotHeldError", "Order"]

MOST_SECONDS = 2.0
"""Of processor time on a quiet machine, for one body and one adapter: decoding and merging."""
BOUNDARY = "boundary"
_AGAIN_UP_TO_S = 0.2
_MOST_BYTES = 20 * 1024 * 1024


class NotHeldError(AssertionError):
    """What must hold of every body does not hold of one."""


class Order(BaseModel):
    """What the typed JSON adapter is asked for."""

    item: str
    count: int
    price: float | None = None
    tags: list[str] = []
    parts: dict[str, int] = {}


@dataclass(frozen=True)
class Reader:
    """One way to read a body: decode it, and put it together as if it were a batch."""

    name: str
    decode: Callable[[bytes], Any]
    finish: Callable[[Sequence[Any]], None]
    """Put forms of one body, each decoded by itself, together."""


@dataclass(frozen=True)
class Format:
    """One format; ``opened`` and ``closed`` let a mutator reach what is packed or checked inside it."""

    name: str
    readers: tuple[Reader, ...]
    opened: Callable[[bytes], bytes] = bytes
    closed: Callable[[bytes], bytes] = bytes

    def check(self, body: bytes) -> tuple[int, float]:
        """Read ``body`` in every way; return how many took it, and the longest processor time that one needed.

        Raises `NotHeldError`, or whatever an adapter raises besides a refusal.
        """
        taken, longest = 0, 0.0
        for reader in self.readers:
            began = process_time()
            try:
                forms = [reader.decode(body)]
            except BadInputError as exc:
                _check_refusal(exc, reader)
            else:
                if process_time() - began < _AGAIN_UP_TO_S:
                    forms.append(reader.decode(body))
                reader.finish(forms)
                taken += 1
            seconds = process_time() - began
            if seconds > MOST_SECONDS and (seconds := seconds / _slowness()) > MOST_SECONDS:
                raise NotHeldError(f"{reader.name} took {seconds:.1f} s of processor time")
            longest = max(longest, seconds)
        return taken, longest

    def mutated(self, body: bytes, seed: int, mutate: Callable[[bytes], bytes]) -> bytes:
        """Return ``body`` with one change: a number of it, or what ``mutate`` does; mostly inside of what packs it."""
        chance = random.Random(seed)
        change = _with_other_number if chance.random() < 0.4 else lambda data, _: mutate(data)
        if chance.random() < 0.75:
            with suppress(Exception):  # a body that cannot be opened is changed as it is
                return self.closed(change(self.opened(body), chance))
        return change(body, chance)


def _slowness() -> float:
    """Return how many times as long as on a quiet machine objects take to be made here and now.

    Processor time grows where others fill the caches, several times where many do.
    """
    began = process_time()
    made = [[number] for number in range(_MADE)]
    return max(1.0, (process_time() - began) / (_QUIET_S * len(made) / _MADE))


_MADE = 500_000
_QUIET_S = 0.05


def _check_refusal(error: BadInputError, reader: Reader) -> None:
    text = str(error)
    if not 400 <= error.http_status < 500:
        raise NotHeldError(f"{reader.name} refused with {error.http_status}")
    if not text.endswith(".") or len(text) > 3000:
        raise NotHeldError(f"{reader.name} gives no whole sentence for a reason: {text[:200]!r}")


_NUMBERS = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)


def _with_other_number(data: bytes, chance: random.Random) -> bytes:
    """Return ``data`` with another integer in it, as lengths, offsets and counts are written."""
    code = chance.choice(("<b", "<h", "<i", "<i", "<q", "<q", ">i", ">h"))
    size = struct.calcsize(code)
    if len(data) < size:
        return data
    place = chance.randrange(len(data) - size + 1)
    if size > 1 and chance.random() < 0.7:
        place -= place % size
    (found,) = struct.unpack_from(code, data, place)
    value = chance.choice(
        (chance.choice(_NUMBERS), -chance.choice(_NUMBERS), found + 1, found - 1, found * 2, found * 10_000, -found)
    )
    bits = 8 * size
    value = (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
    return data[:place] + struct.pack(code, value) + data[place + size :]


def _no_code(_name: str) -> Any:
    return Order


def _reader(adapter: InputAdapter, media_type: str) -> Reader:
    decode = adapter.decoder(_no_code)

    def read(body: bytes) -> Any:
        payload = Payload(body, media_type, boundary=BOUNDARY if media_type == FORM else "")
        return decode(sole_part(payload) if media_type == FORM and not adapter.part_names else payload)

    def finish(forms: Sequence[Any]) -> None:
        if len({adapter.group_of(form) for form in forms}) > 1:
            forms = forms[:1]
        rows = adapter.rows_of(forms[0])
        if adapter.nbytes_of(forms[0]) < 0:
            raise NotHeldError(f"{adapter.type} says that a form holds {adapter.nbytes_of(forms[0])} bytes")
        if not adapter.supports_batch:
            adapter.single(forms[0])
            return
        merged = adapter.merge(forms)
        for value in merged if adapter.part_names else [merged]:
            if rows is not None and len(value) != len(forms) * rows:
                raise NotHeldError(
                    f"{adapter.type} says {rows} rows, and merges {len(forms)} times that to {len(value)}"
                )

    return Reader(f"{adapter.type} as {media_type}", read, finish)


_DECLARED = DataframeInput(
    columns={
        "a": "int64",
        "b": {"dtype": "float64", "nullable": True},
        "c": "str",
        "d": "datetime",
        "e": "bool",
    },
    extra_columns="pass",
)
_TABLES = (DataframeInput(), _DECLARED, DataframeInput(prefer_dtypes={"a": "float64", "b": "str"}))
_ARRAYS = (NdarrayInput(), NdarrayInput(dtype="float32", shape=(-1,)), NdarrayInput(dtype="str"))


def _readers(media_type: str, *adapters: InputAdapter) -> tuple[Reader, ...]:
    return tuple(_reader(adapter, media_type) for adapter in adapters)


def _gzip_reader() -> Reader:
    def finish(forms: Sequence[bytes]) -> None:
        if len(forms[0]) > _MOST_BYTES:
            raise NotHeldError(f"{len(forms[0])} bytes were unpacked")

    return Reader("gzip", lambda body: unpacked(body, b"gzip", max_bytes=_MOST_BYTES), finish)


def _gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(data) + packer.flush()


def _png_chunks(body: bytes) -> Iterator[bytes]:
    place = 8
    while place + 8 <= len(body):
        size = int.from_bytes(body[place : place + 4], "big")
        yield body[place + 4 : place + 8 + size]
        place += 12 + size


def _with_png_checksums(body: bytes) -> bytes:
    """Return a picture whose checksums are right again, so that a change inside is seen by what reads it."""
    if body[:4] != b"\x89PNG":
        return body
    chunks = (
        len(chunk[4:]).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") for chunk in _png_chunks(body)
    )
    return body[:8] + b"".join(chunks)


def _formats() -> Iterator[Format]:
    yield Format("arrow", (*_readers(ARROW_STREAM, *_TABLES), *_readers(ARROW_FILE, _TABLES[0])))
    yield Format("parquet", _readers(PARQUET, *_TABLES))
    yield Format("npy", _readers("application/x-npy", *_ARRAYS))
    yield Format(
        "image",
        _readers("", ImageInput(), ImageInput(pilmode="L"), ImageInput(pilmode="RGBA")),
        bytes,
        _with_png_checksums,
    )
    yield Format("csv", _readers("text/csv", *_TABLES))
    yield Format(
        "json",
        (
            *_readers("application/json", *_TABLES, *_ARRAYS),
            *_readers("application/json", *(DataframeInput(orient=orient) for orient in ("split", "index", "table"))),
            *_readers("application/json", JsonInput(), JsonInput(schema="fuzzed:Order"), StringInput()),
            *_readers("application/x-ndjson", _TABLES[0], JsonInput()),
        ),
    )
    several = ("left", "right")
    yield Format(
        "multipart",
        _readers(
            FORM,
            FileInput(),
            ImageInput(),
            AnnotatedImageInput(),
            _TABLES[0],
            _ARRAYS[0],
            JsonInput(),
            MultiFileInput(input_names=several, allow_none=True),
            MultiImageInput(input_names=several),
        ),
    )
    yield Format("gzip", (_gzip_reader(),), lambda body: zlib.decompress(body, wbits=31), _gzipped)


FORMATS: Mapping[str, Format] = {format_.name: format_ for format_ in _formats()}
"""By name, in the order of reports."""
