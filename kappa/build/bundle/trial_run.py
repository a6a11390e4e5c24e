"""Loads a staged bundle as a server would, short of making its object and calling `setup`: run in a process of its own.

What is the project's own is found in the bundle alone: the folders of the project and of its libraries, and the finders
of editable installations, are taken out of this process first. The answer goes to a file, because the user's code may
print.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from kappa.build.code.child import answer_order
from kappa.errors import KappaError, MissingDependencyError, exception_text
from kappa.services.loading import code_of_bundle, import_reference, loading
from kappa.services.packed import Artifact
from kappa.services.service import caller_for, load_parts
from kappa.services.source import UNBUILT, ServiceSource, load_kept
from kappa.spec.layout import PackageLayout
from kappa.spec.service import ArtifactMethod, FunctionTarget, ServiceSpec

__all__ = ["TrialOutcome", "main", "run"]

Kind = Literal["fine", "absent", "file", "module", "attribute", "version", "broken", "command", "network", "failed"]
"""`attribute` is a name that one of the service's own modules does not have, and may be a module below it."""

_NETWORK = frozenset(
    {
        "aiohttp.client_exceptions.ClientError",
        "botocore.exceptions.BotoCoreError",
        "httpx.TransportError",
        "requests.exceptions.RequestException",
        "ssl.SSLError",
        "urllib.error.URLError",
        "urllib3.exceptions.HTTPError",
    }
)
"""Exceptions of libraries that may not be installed, by module and name."""


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """The outcome of a try."""

    kind: Kind
    subject: str = ""
    """The file, module, command or distribution in question."""
    message: str = ""
    file: str = ""
    """Whose code asked for it: a path in the bundle's package; empty if it was not the service's own."""
    line: int = 0
    doing: str = ""
    """Which model was being loaded, in words; empty if it was code."""


def run(order: Mapping[str, Any]) -> TrialOutcome:
    """Load what an order of `kappa.build.bundle.trial` says."""
    package, spec = Path(order["package"]), ServiceSpec.model_validate(order["spec"])
    _seal(Path(order["kappa"]), [Path(folder) for folder in order["outside"]])
    opened = _watch(Path(order["project"]), package)
    try:
        _load(spec, package, order)
    except BaseException as exc:  # noqa: BLE001 - the user's code runs here, and may raise anything
        return _explained(exc, package)
    return opened[0] if opened else TrialOutcome("fine")


@loading()
def _load(spec: ServiceSpec, package: Path, order: Mapping[str, Any]) -> None:
    source = ServiceSource(
        spec.as_kept(),
        UNBUILT,
        code=partial(code_of_bundle, package, order["digest"], on_path=True, paths=order["paths"]),
        artifact_of=lambda plugin: Artifact(
            load_kept(plugin, PackageLayout(package).artifact(plugin.name), versions={})
        ),
        examples_directory=None,
    )
    spec, code, artifacts = load_parts(source)
    plugins = {plugin.name: plugin for plugin in spec.artifacts}
    for api in spec.apis:
        if isinstance(target := api.target, ArtifactMethod):
            caller_for(api, target, plugins[target.artifact], artifacts[target.artifact])
    for reference in _references(spec):
        import_reference(reference, code)


def _references(spec: ServiceSpec) -> Iterator[str]:
    for artifact in spec.artifacts:
        yield from artifact.references()
    for api in spec.apis:
        yield from api.input.references()
        yield from (plugin.reference for plugin in (api.input, api.output) if plugin.reference is not None)
        if isinstance(api.target, FunctionTarget):
            yield api.target.function
    yield from (reference for reference in (spec.setup, spec.teardown) if reference is not None)


# -- nothing of the project but the bundle -----------------------------------------------------------------------------


def _seal(kappa: Path, outside: Sequence[Path]) -> None:
    """Hide the project from this process: its folders, editable installations and their metadata."""
    folders = {folder.resolve() for folder in outside}
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() not in folders]
    if str(kappa) not in sys.path:
        sys.path.append(str(kappa))
    sys.meta_path[:] = [finder for finder in sys.meta_path if not _is_editable(finder)]
    sys.path_importer_cache.clear()
    discover = metadata.Distribution.discover

    def discovered(*args: Any, **kwargs: Any) -> Iterator[metadata.Distribution]:
        return (distribution for distribution in discover(*args, **kwargs) if not _is_own(distribution))

    metadata.Distribution.discover = staticmethod(discovered)  # type: ignore[method-assign]


def _is_editable(finder: object) -> bool:
    kind = finder if isinstance(finder, type) else type(finder)
    return kind.__module__.startswith(("__editable__", "editables.", "_editable_impl"))


def _is_own(distribution: metadata.Distribution) -> bool:
    """Return whether a distribution is a folder of this machine (PEP 610), whose code a bundle holds."""
    text = distribution.read_text("direct_url.json")
    name = distribution.metadata["Name"] if text and '"dir_info"' in text else "kappa-ml"
    return name != "kappa-ml"


def _watch(project: Path, package: Path) -> list[TrialOutcome]:
    """Record the project's files that the service's code opens, which only this machine has; return the growing
    list."""
    opened: list[TrialOutcome] = []
    start, spared = f"{project}{os.sep}", tuple(f"{Path(folder)}{os.sep}" for folder in {sys.prefix, sys.base_prefix})

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event != "open" or opened or not isinstance(args[0], str) or not args[0].startswith(start):
            return
        if args[0].startswith(spared) or (args[2] or 0) & (os.O_WRONLY | os.O_RDWR) or not Path(args[0]).is_file():
            return
        file, line = _frame(traceback.walk_stack(sys._getframe(1)), package, is_innermost_first=True)  # noqa: SLF001
        if file:
            opened.append(TrialOutcome("file", args[0], file=file, line=line))

    sys.addaudithook(hook)
    return opened


# -- what went wrong ---------------------------------------------------------------------------------------------------


def _explained(exc: BaseException, package: Path) -> TrialOutcome:
    """Return what an exception of the service's code, or of its models, means for the bundle."""
    chain = [*_chain(exc)]
    outermost = next((frame for error in chain if (frame := _frame_of(error, package))[0]), ("", 0))
    doing, is_load, _ = str(exc).partition(" cannot be loaded") if isinstance(exc, KappaError) else ("", "", "")
    is_model = bool(is_load) and doing.startswith("The artifact")

    def outcome(kind: Kind, error: BaseException, subject: str = "") -> TrialOutcome:
        frame = _frame_of(error, package)
        message = str(error) if isinstance(error, KappaError) else exception_text(error)
        return TrialOutcome(
            kind, subject, message, *(frame if frame[0] else outermost), doing=doing if is_model else ""
        )

    if isinstance(exc, MissingDependencyError):
        return outcome("absent", exc, exc.requirement)
    for at, error in enumerate(chain):
        if isinstance(error, _OF_FILES) and error.filename is not None:
            if any(_is_of_network(other) for other in chain[at + 1 :]):
                break
            return outcome("command" if _is_of_subprocess(error) else "file", error, os.fsdecode(error.filename))
    if (of_network := next((error for error in chain if _is_of_network(error)), None)) is not None:
        return outcome("network", of_network)
    for error in chain:
        if isinstance(error, metadata.PackageNotFoundError):
            return outcome("version", error, str(error.name))
        if isinstance(error, ModuleNotFoundError) and error.name:
            return outcome("module", error, error.name)
        if isinstance(error, AttributeError) and (name := _name_below(error, package)):
            return outcome("attribute", error, name)
        if isinstance(error, ImportError) and error.path and Path(error.path).is_relative_to(package):
            return outcome("broken", error)
        if isinstance(error, SyntaxError) and Path(error.filename or "").is_relative_to(package):
            return outcome("broken", error)
    cause = next((error for error in chain if not isinstance(error, KappaError)), exc)
    return outcome("broken" if is_model or cause is exc else "failed", cause)


_OF_FILES = (FileNotFoundError, NotADirectoryError)


def _name_below(exc: AttributeError, package: Path) -> str:
    """Return the dotted name that a module of the bundle was asked for; empty if it was something else."""
    module = exc.obj
    if isinstance(module, ModuleType) and Path(module.__file__ or "").is_relative_to(package):
        return f"{module.__name__}.{exc.name}"
    return ""


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)


def _is_of_network(exc: BaseException) -> bool:
    if isinstance(exc, ConnectionError | TimeoutError | socket.gaierror | socket.herror):
        return True
    return any(f"{kind.__module__}.{kind.__qualname__}" in _NETWORK for kind in type(exc).__mro__)


def _is_of_subprocess(exc: BaseException) -> bool:
    return any(frame.f_code.co_filename == subprocess.__file__ for frame, _ in traceback.walk_tb(exc.__traceback__))


def _frame_of(exc: BaseException, package: Path) -> tuple[str, int]:
    """Return the innermost line of the service's own code that an exception came through."""
    return _frame(traceback.walk_tb(exc.__traceback__), package, is_innermost_first=False)


def _frame(frames: Any, package: Path, *, is_innermost_first: bool) -> tuple[str, int]:
    position = ("", 0)
    for frame, line in frames:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(package) and path.suffix == ".py":
            position = (path.relative_to(package).as_posix(), line)
            if is_innermost_first:
                break
    return position


def main() -> None:
    answer_order(lambda order: asdict(run(order)))
