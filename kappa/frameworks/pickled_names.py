"""The modules that a pickle names, found without loading it: loading is what imports them, and runs their code.

A pickle of protocol 4 and later names a class by two short texts, its module and its name, and the opcode STACK_GLOBAL,
earlier ones by the opcode GLOBAL with two lines (`pickletools` describes both). The file is searched for the sequence
of the former and not interpreted, because joblib puts raw arrays between the opcodes. The latter looks like any text:
a file of an earlier protocol, 0 to 3, is read opcode by opcode, and one of joblib's only as far as its first array.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import mmap
import pickle
import pickletools
import re
import zlib
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from kappa.frameworks.pickled_values import imported_by_values
from kappa.spec.contracts import ModelNeeds

__all__ = ["PICKLE_EXTENSIONS", "beginning_of", "is_lz4", "is_packed", "needs_of_object", "needs_of_pickle"]

_STACK_GLOBAL = re.compile(
    rb"\x8c(.)([A-Za-z_][\w.]*)\x94?(?:\x95.{8})?(?:\x8c(.)([A-Za-z_][\w.]*)|h.|j.{4})\x94?(?:\x95.{8})?\x93",
    re.DOTALL,
)
_OBJECT = re.compile(
    rb"\x80[\x04\x05](?:\x95.{8})?\x8c(.)([A-Za-z_][\w.]*)\x94?\x8c(.)([A-Za-z_]\w*)\x94?\x93\x94?\)\x81", re.DOTALL
)
"""How a pickle begins that is an object of a class: PROTO, FRAME, the class, an empty tuple, NEWOBJ."""
_SKLEARN_VERSION = re.compile(
    rb"_sklearn_version(?:\x94?(?:\x95.{8})?\x8c(.)|(?:q.|r.{4})X(.)\0\0\0)([0-9][\w.+]*)", re.DOTALL
)
_SKLEARN_VERSION_AS_TEXT = re.compile(rb"_sklearn_version\n(?:p\d+\n)?V([0-9][\w.+]*)\n")
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open, b"\x5d\x00": lzma.open}
_LZ4 = b"\x04\x22\x4d\x18"
_HEAD_BYTES = 6
_OVERLAP = 4096  # longer than any of these sequences
_CHUNK = 1 << 22
_MOST_OF_VALUES = 1 << 28
"""How much of a file is read for the functions in it."""
_MOST_BYTES = 1 << 33  # what is unpacked of a compressed file


PICKLE_EXTENSIONS = frozenset({".joblib", ".pickle", ".pkl", ".sav"})
"""How the names of pickles, and of joblib's files, usually end."""


def needs_of_pickle(path: Path) -> ModelNeeds:
    """Return what a pickle or a joblib file names, as far as it can be read."""
    search = _Search()
    with suppress(OSError, EOFError, zlib.error, lzma.LZMAError), path.open("rb") as file:
        search.read_by(file.read(_HEAD_BYTES))
        file.seek(0)
        for part in _parts(file):
            search.read(part)
        if search.has_values:
            file.seek(0)
            search.read_values(b"".join(_whole(file)))
    return search.needs


def needs_of_object(value: Any) -> ModelNeeds:
    """Return what a pickle of ``value`` would name; nothing for what cannot be pickled. Large arrays are not copied."""
    search = _Search()
    with suppress(Exception):
        data = pickle.dumps(value, protocol=5, buffer_callback=lambda _: None)
        search.read(data)
        if search.has_values:
            search.read_values(data)
    return search.needs


def beginning_of(path: Path, size: int) -> bytes:
    """Return the first bytes of a pickle, unpacked; empty where only `lz4` unpacks it, or nothing can."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        if not is_packed(head):
            return file.read(size)
        with suppress(OSError, EOFError, zlib.error, lzma.LZMAError):
            return next(iter(_unpacked(file, head)), b"")[:size]
    return b""


class _Search:
    """Collects names from the parts of one file, in order."""

    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._later: set[str] = set()
        self._versions: dict[str, str] = {}
        self._of_main: dict[str, None] = {}
        self._made_of = ""
        self._is_first = True

    def read_by(self, head: bytes) -> None:
        """Note what a file that begins so is unpacked by."""
        if is_packed(head):
            self._modules |= {"joblib", "lz4"} if is_lz4(head) else {"joblib"}

    def read(self, data: bytes | mmap.mmap) -> None:
        if self._is_first and (data[:1] != b"\x80" or data[1:2] < b"\x04"):
            for module, name in _old_globals(data):
                self._modules.add(module)
                if module == "__main__":
                    self._of_main[name] = None
        if (
            self._is_first
            and (match := _OBJECT.match(data))
            and [len(match[2]), len(match[4])] == [*match[1], *match[3]]
        ):
            self._made_of = f"{match[2].decode()}:{match[4].decode()}"
        self._is_first = False
        for match in _STACK_GLOBAL.finditer(data):
            if len(match[2]) == match[1][0]:
                self._modules.add(match[2].decode())
                if match[2] == b"__main__" and match[4] is not None and len(match[4]) == match[3][0]:
                    self._of_main[match[4].decode()] = None
        for match in _SKLEARN_VERSION.finditer(data):
            version = match[3][: (match[1] or match[2])[0]]
            self._versions.setdefault("scikit-learn", version.decode())
        for match in _SKLEARN_VERSION_AS_TEXT.finditer(data):
            self._versions.setdefault("scikit-learn", match[1].decode())

    @property
    def has_values(self) -> bool:
        """Whether functions or classes are in it as they are, and not by their names."""
        return not self._modules.isdisjoint({"cloudpickle", "cloudpickle.cloudpickle", "dill._dill"})

    def read_values(self, data: bytes) -> None:
        needed, later = imported_by_values(data)
        self._modules |= needed
        self._later |= later

    @property
    def needs(self) -> ModelNeeds:
        later = tuple(sorted(self._later - self._modules))
        return ModelNeeds(tuple(sorted(self._modules)), self._versions, later, tuple(self._of_main), self._made_of)


def _old_globals(data: bytes | mmap.mmap) -> Iterator[tuple[str, str]]:
    opcodes = pickletools.genops(data if isinstance(data, bytes) else BytesIO(data[:]))
    with suppress(Exception):  # raw arrays are no opcodes
        for opcode, argument, _ in opcodes:
            if opcode.name in ("GLOBAL", "INST"):
                module, _, name = str(argument).partition(" ")
                yield IMPORT_MAPPING.get(module, module), name  # as Python 2 called it; `pickle` reads it so too


def _parts(file: IO[bytes]) -> Iterator[bytes | mmap.mmap]:
    """Yield the content of a file, unpacked, in parts that overlap."""
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if head and not is_packed(head):
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            yield whole
        return
    kept, total = b"", 0
    for chunk in _unpacked(file, head):
        yield kept + chunk
        kept = chunk[-_OVERLAP:]
        total += len(chunk)
        if total > _MOST_BYTES:
            return


def _whole(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of a file, unpacked, without overlaps."""
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    total = 0
    chunks = _unpacked(file, head) if is_packed(head) else iter(partial(file.read, _CHUNK), b"")
    for chunk in chunks:
        yield chunk
        total += len(chunk)
        if total > _MOST_OF_VALUES:
            return


def is_packed(head: bytes) -> bool:
    """Return whether a file begins as one that joblib compressed, and not as a pickle of any protocol."""
    is_zlib = head[:1] == b"\x78" and int.from_bytes(head[:2], "big") % 31 == 0  # RFC 1950, section 2.2
    return is_zlib or head[:2] in _OPENERS or is_lz4(head)


def is_lz4(head: bytes) -> bool:
    """Return whether a file begins as one that joblib compressed with `lz4`, which is not in Python's library."""
    return head.startswith(_LZ4)


def _unpacked(file: IO[bytes], head: bytes) -> Iterator[bytes]:
    """Yield what joblib compressed: zlib, gzip, bz2, xz or lzma; lz4 is not in Python's library, and is left."""
    if head[:1] == b"\x78":
        unpacking = zlib.decompressobj()
        while packed := file.read(_CHUNK // 4):
            data = unpacking.decompress(packed, _CHUNK)
            while data:
                yield data
                data = unpacking.decompress(unpacking.unconsumed_tail, _CHUNK) if unpacking.unconsumed_tail else b""
        return
    opener = _OPENERS.get(head[:2])
    if opener is not None:
        with opener(file, "rb") as unpacked:
            while chunk := unpacked.read(_CHUNK):
                yield chunk
