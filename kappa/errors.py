"""Every failure that a user of Kappa can meet.

The tree, with the exit code of each class (a subclass keeps its parent's unless it says otherwise)::

    KappaError ................................. 70  also what an unexpected exception exits with
    ├── UsageError .............................  2  a call that cannot be meant as it stands
    │   └── PortInUseError
    ├── ConfigurationError .....................  3  a manifest, a setting or an environment that is wrong
    │   ├── ManifestError ......................     carries every diagnostic found
    │   └── PluginNotFoundError
    ├── BundleError ............................  4  a bundle that is missing, broken or not what it says
    │   └── BundleNotFoundError
    ├── BuildError .............................  5  a build that could not be finished
    │   ├── DestinationExistsError
    │   ├── LockError ..........................     the committed lock does not fit, and nothing else was allowed
    │   └── ResolutionError
    │       └── IndexUnreachableError
    ├── ContainerError .........................  6
    ├── GammaError .............................  7
    │   ├── GammaUnreachableError ..............     a Gamma server that does not answer; what was sent may be repeated
    │   ├── UnauthenticatedError ...............     a Gamma server wants a token, and got no valid one
    │   └── AccessDeniedError ..................     the caller's token does not allow what was asked
    ├── DeployError ............................  8
    ├── InferenceFailedError ...................  9  the user's code or a model failed
    │   ├── BadInputError ......................     a request that its adapter refuses: HTTP 4xx
    │   ├── AnswerError ........................     a server that was asked answered with an error
    │   ├── ResultMismatchError ................     a batch function returned the wrong number of results
    │   └── ExampleFailedError .................     an example's answer is not what the manifest expects
    └── MissingDependencyError ................. 10  an optional package is absent; names the command that brings it

An interrupt (Ctrl-C) exits with 130. A message says what happened and with which value, why if that is known, and
what to do. This module imports nothing of Kappa.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

__all__ = [
    "EXIT_INTERRUPTED",
    "AccessDeniedError",
    "AnswerError",
    "BadInputError",
    "BuildError",
    "BundleError",
    "BundleNotFoundError",
    "ConfigurationError",
    "ContainerError",
    "DeployError",
    "DestinationExistsError",
    "ExampleFailedError",
    "GammaError",
    "GammaUnreachableError",
    "IndexUnreachableError",
    "InferenceFailedError",
    "KappaError",
    "LockError",
    "ManifestError",
    "MisplacedError",
    "MissingDependencyError",
    "PluginNotFoundError",
    "PortInUseError",
    "ResolutionError",
    "ResultMismatchError",
    "UnauthenticatedError",
    "UsageError",
    "exception_text",
    "optional_import",
    "printable",
]

EXIT_INTERRUPTED = 130


class KappaError(Exception):
    """A failure whose message is meant for the user: one or more whole sentences, no traceback needed."""

    exit_code: ClassVar[int] = 70


class UsageError(KappaError):
    exit_code = 2


class PortInUseError(UsageError):
    """The port to listen on is taken; the message says by whom when the system tells."""


class ConfigurationError(KappaError):
    exit_code = 3


class ManifestError(ConfigurationError):
    """A kappafile has problems; ``diagnostics`` holds them all, in the order of the file.

    Each is a `kappa.build.manifest.diagnostics.Diagnostic`; the type is not named here because this module is below it.
    """

    def __init__(self, message: str, *, diagnostics: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)


class MisplacedError(ValueError):
    """A part of an option is wrong: a validator's `ValueError` that says where, as a path from the option's value."""

    def __init__(self, message: str, path: Sequence[str | int]) -> None:
        super().__init__(message)
        self.path = tuple(path)


class PluginNotFoundError(ConfigurationError):
    """No adapter, artifact or resolver of that name is built in or installed."""


class BundleError(KappaError):
    exit_code = 4


class BundleNotFoundError(BundleError):
    """Nothing at that path, or no bundle of that tag in the store."""


class BuildError(KappaError):
    exit_code = 5


class DestinationExistsError(BuildError):
    """The destination exists and may not be replaced; nothing was touched."""


class LockError(BuildError):
    """`kappafile.lock` is missing, out of date or edited by hand, and `--locked` or `--check` asked for it."""


class ResolutionError(BuildError):
    """The resolver found no set of packages that fits, or could not ask the index."""


class IndexUnreachableError(ResolutionError):
    """The package index could not be asked."""


class ContainerError(KappaError):
    exit_code = 6


class GammaError(KappaError):
    exit_code = 7


class GammaUnreachableError(GammaError):
    """A Gamma server does not answer, or the connection to it broke and did not come back."""


class UnauthenticatedError(GammaError):
    """A Gamma server wants a token, and the caller sent none, or one that is wrong, expired or revoked."""


class AccessDeniedError(GammaError):
    """A Gamma server knows the caller, but the caller's token does not allow what was asked; nothing was changed."""


class DeployError(KappaError):
    exit_code = 8


class InferenceFailedError(KappaError):
    exit_code = 9


class BadInputError(InferenceFailedError):
    """A request that its input adapter refuses.

    ``http_status`` is a 4xx: 400 for what cannot be parsed, 413 for what is too large, 415 for a media type that the
    adapter does not take, 422 for what parses but does not fit the declared shape (RFC 9110, section 15.5).
    """

    def __init__(self, message: str, *, http_status: int = 400) -> None:
        super().__init__(message)
        self.http_status = http_status


class AnswerError(InferenceFailedError):
    """A running service answered a call with an error: 4xx for a request that it refuses, 5xx for a failure of its own.

    ``request_id`` is the id under which the server logged it.
    """

    def __init__(self, message: str, *, http_status: int, request_id: str = "") -> None:
        super().__init__(message)
        self.http_status = http_status
        self.request_id = request_id


class ResultMismatchError(InferenceFailedError):
    """A batch function returned another number of results than the requests it was given."""


class ExampleFailedError(InferenceFailedError):
    """At least one `[[examples]]` entry was answered otherwise than it expects."""


class MissingDependencyError(KappaError):
    """An optional package is not installed.

    >>> print(MissingDependencyError("scikit-learn", needed_for="the artifact type `sklearn`"))
    The artifact type `sklearn` needs `scikit-learn`, which is not installed here. Run `pip install scikit-learn`.
    """

    exit_code = 10

    def __init__(self, requirement: str, *, needed_for: str, otherwise: str = "") -> None:
        subject = needed_for[0].upper() + needed_for[1:]
        package = requirement.replace("kappa-ml", "path/to/kappa")  # which no index has yet
        package = f"'{package}'" if "[" in package else package
        advice = f"Run `pip install {package}`{', or ' if otherwise else ''}{otherwise}."
        super().__init__(f"{subject} needs `{requirement}`, which is not installed here. {advice}")
        self.requirement = requirement


class optional_import:  # noqa: N801 - reads as a statement: `with optional_import(…): import …`
    """A block that imports an optional package; raises `MissingDependencyError` if it is not installed."""

    __slots__ = ("_needed_for", "_requirement")

    def __init__(self, requirement: str, *, needed_for: str) -> None:
        self._requirement = requirement
        self._needed_for = needed_for

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        if isinstance(exc, ImportError):
            raise MissingDependencyError(self._requirement, needed_for=self._needed_for) from exc


def exception_text(exc: BaseException) -> str:
    """Return the class and the text of an exception of others' code, whose `__str__` may fail as well.

    >>> exception_text(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    """
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001 - nothing is known of it
        text = "its text cannot be read"
    return f"{type(exc).__name__}: {text}"


def printable(text: str) -> str:
    """Replace the control characters of a text, which a terminal would obey."""
    return "".join(character if character.isprintable() else "�" for character in text)
