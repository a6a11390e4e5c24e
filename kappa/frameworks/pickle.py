"""Any Python object, kept as a pickle, or as joblib writes one: compressed, or with arrays between the opcodes."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from contextlib import suppress
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import optional_import
from kappa.frameworks.estimators import estimator_caller, may_hold_estimator
from kappa.frameworks.pickled_names import (
    PICKLE_EXTENSIONS,
    beginning_of,
    is_lz4,
    is_packed,
    needs_of_object,
    needs_of_pickle,
)
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

__all__ = ["PickleArtifact", "sniff_pickle"]

_SIGNATURES = tuple(bytes([0x80, protocol]) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1))
"""The pickle protocols from 2 on."""
_HEAD_BYTES = 4096
_JOBLIB = "joblib.numpy_pickle"
"""What stands for arrays in a file of joblib's."""
_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)


def sniff_pickle(path: Path) -> str | None:
    """Return why a file cannot be a pickle or a joblib file, by its first bytes."""
    with path.open("rb") as file:
        signature = file.read(_HEAD_BYTES)
        file.seek(-1 if signature else 0, SEEK_END)
        is_ended = file.read() == pickle.STOP
    if not signature:
        return "it is empty"
    if is_lz4(signature):
        return None  # which Python cannot unpack by itself
    head = beginning_of(path, _HEAD_BYTES)
    is_whole = len(head) < _HEAD_BYTES
    is_ended = is_ended or is_packed(signature)
    if head.startswith(_SIGNATURES) or (head and is_ended and _begins_as_old_pickle(head, is_whole=is_whole)):
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


class _ByJoblibError(Exception):
    """A pickle goes on as only joblib can read it."""


class _Unpickler(pickle.Unpickler):
    """Reads a pickle up to the first array of joblib's."""

    def find_class(self, module: str, name: str) -> Any:
        if module == _JOBLIB:
            raise _ByJoblibError
        return super().find_class(module, name)


def _load_with_joblib(path: Path, *, needed_for: str) -> Any:
    with optional_import("joblib", needed_for=needed_for):
        import joblib
    return joblib.load(path)


class PickleArtifact(ArtifactPlugin):
    """Any object that `pickle` or `joblib` writes."""

    filename: ClassVar[str] = "object.pkl"
    extensions: ClassVar[frozenset[str]] = PICKLE_EXTENSIONS
    written_by: ClassVar[str] = "`pickle.dump`"
    is_pickle: ClassVar[bool] = True

    type: Literal["pickle"] = "pickle"

    def save(self, model: Any, directory: Path) -> None:
        with (directory / self.filename).open("wb") as file:
            pickle.dump(model, file, protocol=5)

    def load(self, directory: Path) -> Any:
        path = directory / self.filename
        with path.open("rb") as file, suppress(_ByJoblibError):
            if not is_packed(file.peek(_HEAD_BYTES)):
                return _Unpickler(file).load()  # the manifest's `security.pickle` has decided
        return _load_with_joblib(path, needed_for=f"what joblib wrote, as the artifact `{self.name}` is,")

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the object's method, called as an estimator's, which is what most pickles hold."""
        return estimator_caller(model, method, super().caller(model, method, is_batch=is_batch), is_batch=is_batch)

    def claims(self, path: Path) -> bool:
        return super().claims(path) and not may_hold_estimator(path)

    def sniff(self, path: Path) -> str | None:
        return sniff_pickle(path)

    def needs_of_file(self, path: Path) -> ModelNeeds:
        return needs_of_pickle(path)

    def needs_of_model(self, model: Any) -> ModelNeeds:
        return needs_of_object(model)
