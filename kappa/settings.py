"""The defaults that a user or a platform team may set.

Order: command-line flag, environment, the kappafile's `[serving]` (frozen in `kappa.yml`), `config.yml`, default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from kappa.choices import BatchPlacement, ExamplesUse
from kappa.environment import home_directory
from kappa.errors import ConfigurationError
from kappa.origins import check_origin

__all__ = ["ServerSettings", "Settings", "read_settings"]


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


class Settings(BaseModel):
    """`config.yml`, every key optional."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    server: ServerSettings = ServerSettings()
    """Defaults of the API server."""
    default_docker_base_image: str | None = None
    """The image that bundles start from when their kappafile names none."""


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read ``$KAPPA_CONFIG`` or ``$KAPPA_HOME/config.yml``, then variables like ``KAPPA_SERVER__PORT`` over it.

    Raises `ConfigurationError` for a file that cannot be read or a key that is not known.
    """
    named = environ.get("KAPPA_CONFIG")
    path = Path(named).expanduser() if named else home_directory(environ) / "config.yml"
    if named and not path.is_file():
        raise ConfigurationError(f"`KAPPA_CONFIG` names `{path}`, which is not a file.")
    values = _read_values(path) if path.is_file() else {}
    for variable, text in environ.items():
        if not variable.startswith("KAPPA_"):
            continue
        section, separator, key = variable.removeprefix("KAPPA_").lower().partition("__")
        if separator and isinstance(values.setdefault(section, {}), dict):
            values[section][key] = text
        elif section in Settings.model_fields:
            values[section] = text
    try:
        return Settings.model_validate(values)
    except ValidationError as exc:
        problems = "; ".join(f"`{'.'.join(map(str, error['loc']))}`: {error['msg']}" for error in exc.errors())
        raise ConfigurationError(f"The settings of `{path}` and the environment do not fit: {problems}.") from exc


def _read_values(path: Path) -> dict[str, Any]:
    try:
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, YAMLError) as exc:
        raise ConfigurationError(f"`{path}` cannot be read: {exc}") from exc
    if not isinstance(values, dict | None):
        raise ConfigurationError(f"`{path}` must hold a mapping of settings.")
    return {key: value for key, value in (values or {}).items() if value is not None}  # `server:` and nothing below
