"""Any Python object, kept as a pickle."""

from __future__ import annotations

import pickle
import re
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.frameworks.pickled_names import needs_of_object, needs_of_pickle
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

__all__ = ["PickleArtifact", "sniff_pickle"]

_SIGNATURES = (b"\x80", b"\x78", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00", b"\x04\x22\x4d\x18")
"""The pickle protocols from 2 on, and the compressions that joblib knows: zlib, gzip, bz2, xz, lzma, lz4."""
_HEAD_BYTES = 4096
_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)


def sniff_pickle(path: Path) -> str | None:
    """Return why a file cannot be a pickle or a joblib file, by its first bytes."""
    if path.is_dir():
        return "it is a folder"
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        is_whole = len(head) < _HEAD_BYTES
        file.seek(-1 if head else 0, SEEK_END)
        is_ended = file.read() == pickle.STOP
    if not head:
        return "it is empty"
    if head.startswith(_SIGNATURES) or (is_ended and _begins_as_old_pickle(head, is_whole=is_whole)):
        return None
    return "it does not begin as a pickle or a joblib file does"


class _NamedError(Exception):
    """A pickle names a class or a function."""


class _Harmless(pickle.Unpickler):
    """Reads plain values, and stops at the first name: nothing is imported and nothing runs."""

    def find_class(self, module: str, name: str) -> Any:
        raise _NamedError(module, name)

    def persistent_load(self, pid: Any) -> Any:
        raise _NamedError("persistent", str(pid))


def _begins_as_old_pickle(head: bytes, *, is_whole: bool) -> bool:
    """Return whether bytes begin a pickle of protocol 0 or 1: those have no signature, so the opcodes must make sense.

    They do if they build a value, name a class, or go on after the bytes that are looked at.
    """
    file = BytesIO(head)
    try:
        _Harmless(file).load()
    except _NamedError as exc:
        return all(_NAME.fullmatch(name) for name in exc.args)
    except EOFError:
        return not is_whole
    except pickle.UnpicklingError as exc:
        return not is_whole and "truncated" in str(exc)
    except Exception:  # noqa: BLE001 - reading what is no pickle fails in every way there is
        return False
    return not file.read(1)


class PickleArtifact(ArtifactPlugin):
    """Any object that `pickle` writes."""

    filename: ClassVar[str] = "object.pkl"
    is_pickle: ClassVar[bool] = True

    type: Literal["pickle"] = "pickle"

    def save(self, model: Any, directory: Path) -> None:
        with (directory / self.filename).open("wb") as file:
            pickle.dump(model, file, protocol=5)

    def load(self, directory: Path) -> Any:
        with (directory / self.filename).open("rb") as file:
            return pickle.load(file)  # noqa: S301 - the manifest's `security.pickle` has decided

    def sniff(self, path: Path) -> str | None:
        return sniff_pickle(path)

    def needs_of_file(self, path: Path) -> ModelNeeds:
        return needs_of_pickle(path)

    def needs_of_model(self, model: Any) -> ModelNeeds:
        return needs_of_object(model)
