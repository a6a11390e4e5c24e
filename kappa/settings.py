"""The defaults that a user or a platform team may set.

Order: command-line flag, environment, the kappafile's `[serving]` (frozen in `kappa.yml`), `config.yml`, default.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from kappa.choices import BatchPlacement, ExamplesUse
from kappa.environment import expanded, home_directory
from kappa.errors import ConfigurationError, printable
from kappa.origins import check_origin
from kappa.secret_urls import masked, secret_in
from kappa.tag import DEFAULT_NAMESPACE, check_namespace
from kappa.wording import explained, quoted, reason_of

__all__ = [
    "CacheSettings",
    "GammaSettings",
    "ServerSettings",
    "Settings",
    "load_settings",
    "read_settings",
    "setting_fields",
    "setting_keys",
    "settings_path",
]

_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})")
_URL = re.compile(r"(grpcs?|https?)://[^\s/?#]+[^\s?#]*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|kB|MB|GB|TB)?", re.IGNORECASE)
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def _listed(value: Any) -> Any:
    """Return what a variable lists, separated by commas."""
    return [part for part in map(str.strip, value.split(",")) if part] if isinstance(value, str) else value


class ServerSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    port: int = Field(default=5000, ge=0, le=65535)
    """The port that `kappa serve` and `kappa serve-gunicorn` listen on."""
    host: str = "0.0.0.0"  # noqa: S104 - the concepts page's default; `start_dev_server` binds 127.0.0.1
    """The address they bind."""
    management_port: int | None = Field(default=None, ge=0, le=65535)
    """The port that metrics and all metadata move to."""
    log_format: Literal["text", "json"] = "text"
    """How servers write their log: `text`, or `json` for one object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged."""
    examples: ExamplesUse | None = None
    """Whether a version must answer its examples as they expect before it is served, where the service does not say."""
    batch_placement: BatchPlacement | None = None
    """Where batches run, where the service does not say: `auto`, `no-pause` or `thread`."""
    cors_origins: Annotated[tuple[Annotated[str, AfterValidator(check_origin)], ...], BeforeValidator(_listed)] = ()
    """The web pages of other sites that may ask in a browser, where a service does not say; `*` means all."""


def _check_gamma_url(url: str) -> str:
    """Return the URL of a Gamma server if it is one of the forms that clients take."""
    if secret_in(url if "://" in url else f"grpc://{url}"):
        raise ValueError(
            "the URL of a Gamma server holds no user and no password: put the token into a file, and name it in "
            "`token_file`"
        )
    if not ((_HOST_AND_PORT.fullmatch(url) or _URL.fullmatch(url)) and _has_port_of_tcp(url)):
        raise ValueError(
            f"`{url}` is not the URL of a Gamma server: write `host:50051`, `grpcs://host:50051` or `https://host:3000`"
        )
    return url


def _has_port_of_tcp(url: str) -> bool:
    """Return whether the port of a URL, if it has one, can be one."""
    digits = re.search(r":(\d+)(?:/|$)", url.partition("://")[2] or url)
    return digits is None or 0 < int(digits[1]) < 65536


def _check_size(size: str) -> str:
    if not _SIZE.fullmatch(size):
        raise ValueError(f"`{size}` is not a size: write it like `500 MB` or `20 GB`")
    return size


def _nothing_for_empty(value: Any) -> Any:
    """Return ``None`` for empty text: so a variable can take a setting away."""
    return None if value == "" else value


OptionalText = Annotated[str | None, BeforeValidator(_nothing_for_empty)]


class GammaSettings(BaseModel):
    """What this machine knows of its team's Gamma server."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: Annotated[Annotated[str, AfterValidator(_check_gamma_url)] | None, BeforeValidator(_nothing_for_empty)] = None
    """The server that bundles are saved to and taken from: `host:port` or `grpc://` for gRPC, `grpcs://` for gRPC with
    TLS, `http://` or `https://` for its HTTP door. Without it, bundles stay in the store of this machine."""
    tls_ca: OptionalText = None
    """A file with the certificates (PEM) that its certificate must descend from, in place of the system's."""
    tls_cert: OptionalText = None
    """A file with the certificate that this client shows (PEM)."""
    tls_key: OptionalText = None
    """A file with the key of that certificate (PEM)."""
    namespace: Annotated[str, AfterValidator(check_namespace)] = DEFAULT_NAMESPACE
    """The namespace that a tag without one is in."""
    timeout: float = Field(default=30.0, gt=0, le=3600)
    """How many seconds an answer may take; of a transfer, how long no byte may come."""
    token_file: OptionalText = None
    """A file with the token for a server that asks for one, which you alone can read; the variable `KAPPA_GAMMA_TOKEN`
    comes before it."""
    allow_plaintext: bool = False
    """Whether a token may be sent without TLS to another machine."""
    on_unreachable: Literal["fail", "keep"] = "fail"
    """What a build does where the server is away: it keeps the bundle on this machine, and fails or only warns."""


class CacheSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_size: Annotated[str, AfterValidator(_check_size)] = "20 GB"
    """How much room fetched bundles may take; those that were not used for longest go first."""

    @property
    def max_size_bytes(self) -> int:
        match = _SIZE.fullmatch(self.max_size)
        assert match is not None  # noqa: S101 - the validator has seen to it
        return int(float(match[1]) * _UNITS[(match[2] or "B").lower()])


class Settings(BaseModel):
    """`config.yml`, every key optional."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    server: ServerSettings = ServerSettings()
    """Defaults of the API server."""
    gamma_service: GammaSettings = GammaSettings()
    """The Gamma server of a team, which `kappa config set gamma_service.url=…` names."""
    cache: CacheSettings = CacheSettings()
    """Bundles that were fetched from a Gamma server."""
    default_docker_base_image: str | None = None
    """The image that bundles start from when their kappafile names none."""


def settings_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return ``$KAPPA_CONFIG`` or ``$KAPPA_HOME/config.yml``, which need not exist."""
    named = environ.get("KAPPA_CONFIG")
    return expanded(named) if named else home_directory(environ) / "config.yml"


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read `settings_path`, then variables like ``KAPPA_SERVER__PORT`` over it.

    Raises `ConfigurationError` for a file that cannot be read or a key that is not known.
    """
    path = settings_path(environ)
    if environ.get("KAPPA_CONFIG") and not path.is_file():
        raise ConfigurationError(f"`KAPPA_CONFIG` names `{path}`, which is not a file.")
    values = _read_values(path) if path.is_file() else {}
    for variable, text in environ.items():
        if not variable.startswith("KAPPA_"):
            continue
        section, separator, key = variable.removeprefix("KAPPA_").lower().partition("__")
        if separator and isinstance(values.setdefault(section, {}), dict):
            values[section][key] = text
        elif not separator and section in Settings.model_fields:
            values[section] = text
    try:
        return Settings.model_validate(values)
    except ValidationError as exc:
        problems = (_explained(error, path, environ) for error in exc.errors())
        raise ConfigurationError(" ".join(dict.fromkeys(problems))) from None


def _explained(error: ErrorDetails, path: Path, environ: Mapping[str, str]) -> str:
    """Say in a sentence what is wrong with a setting, by the name that it has where it was set."""
    key = ".".join(map(str, error["loc"][:2]))
    variable = f"KAPPA_{key.replace('.', '__')}".upper()
    is_unknown = error["type"] == "extra_forbidden"
    named = next(
        (name for name in environ if name == variable or (is_unknown and name.startswith(f"{variable}__"))), None
    )
    subject = f"The variable `{named}`" if named is not None else f"`{key}` in `{path}`"
    if is_unknown:
        near = difflib.get_close_matches(key, setting_keys(), n=1, cutoff=0.5)
        return f"{subject} is not a setting.{f' Did you mean `{near[0]}`?' if near else ''}"
    if error["type"] == "model_type":
        return f"{subject} must hold settings, not {quoted(error['input'])}."
    if error["type"] == "value_error":
        return f"{subject}: {reason_of(error)}."
    return explained(error, subject)


def setting_keys() -> tuple[str, ...]:
    """Return the keys of all settings, in the order of their models."""
    return tuple(key for key, _ in setting_fields())


def setting_fields() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the key of each setting with the model that has it."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ((f"{name}.{key}", field.annotation) for key in field.annotation.model_fields)
        else:
            yield name, Settings


def load_settings(path: Path, yaml: YAML) -> Any:
    """Return the mapping in a file of settings, or ``None`` for one without any; raises `ConfigurationError`."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, YAMLError) as exc:
        advice = "" if isinstance(exc, OSError) else " Mend it, or put it aside with `kappa config reset`."
        raise ConfigurationError(f"`{path}` cannot be read: {_why_unreadable(exc)}.{advice}") from exc
    if not isinstance(values, dict | None):
        raise ConfigurationError(f"`{path}` must hold a mapping of settings.")
    return values


def _why_unreadable(exc: Exception) -> str:
    """Return in one line why a file holds no YAML: libraries draw the place in several."""
    if isinstance(exc, MarkedYAMLError) and exc.problem is not None:
        is_unclosed = exc.context_mark is not None and (exc.context or "").startswith("while scanning a")
        mark = exc.context_mark if is_unclosed else exc.problem_mark
        where = "" if mark is None else f"in line {mark.line + 1}, column {mark.column + 1}: "
        return f"it is not valid YAML {where}{masked(printable(exc.problem))}"
    if isinstance(exc, UnicodeDecodeError):
        return f"it is not text in UTF-8, from byte {exc.start} on"
    if isinstance(exc, RecursionError):
        return "it is nested too deeply"
    return (exc.strerror if isinstance(exc, OSError) else None) or printable(" ".join(str(exc).split()))


def _read_values(path: Path) -> dict[str, Any]:
    values = load_settings(path, YAML(typ="safe", pure=True)) or {}
    return {key: value for key, value in values.items() if value is not None}  # `server:` and nothing below
