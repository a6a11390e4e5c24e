"""The package indexes of this machine, in pip's settings, for every resolver; and their secrets, never shown.

Settings come from pip's variables (`PIP_*`) and its configuration files. Of those only the ones that say where packages
come from and how to get there reach a resolver: a `--pre` of this machine must not decide what a lock holds.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from urllib.parse import unquote

from kappa import secret_urls
from kappa.environment import expanded

__all__ = ["index_settings", "pip_environment", "redacted", "secrets_in", "uv_environment"]

_SETTINGS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "keyring-provider",
    "default-timeout",
    "timeout",
    "retries",
    "cache-dir",
    "no-cache-dir",
)
"""The settings of pip that say where packages come from and how to get there, by their names in its files."""
_PATHS = frozenset({"cert", "client-cert", "cache-dir"})
_UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "keyring-provider": "UV_KEYRING_PROVIDER",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
}
"""The same settings as uv takes them from its environment."""
_UV_LISTS = frozenset({"find-links"})
_UV_KEPT = re.compile(
    r"UV_(INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|INDEX_\w+_(USERNAME|PASSWORD)|CACHE_DIR"
    r"|KEYRING_PROVIDER|INSECURE_HOST|HTTP_TIMEOUT|HTTP_RETRIES|OFFLINE|SYSTEM_CERTS|NATIVE_TLS|CONCURRENT_\w+)"
)


def index_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings of indexes and connections, by their names in its files; paths are absolute."""
    clean = {key: value for key, value in environ.items() if key == "PIP_CONFIG_FILE" or not key.startswith("PIP_")}
    settings = _configured(clean)
    absolute = {}
    for name in _SETTINGS:
        if value := environ.get(f"PIP_{name.replace('-', '_').upper()}") or settings.get(name):
            absolute[name] = _absolute(name, value)
    return absolute


def pip_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` with pip's settings reduced to those of indexes and connections, wherever they were set."""
    clean = {
        key: value
        for key, value in environ.items()
        if key == "PIP_TOOLS_CACHE_DIR" or not key.startswith(("PIP_", "CUSTOM_COMPILE_COMMAND"))
    }
    for name, value in index_settings(environ).items():
        clean[f"PIP_{name.replace('-', '_').upper()}"] = value
    if clean.get("PIP_RETRIES") == "0":
        clean["PIP_RETRIES"] = "1"  # without one, pip says of an index that does not answer that it has no packages
    return {**clean, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` for uv: its own settings of indexes and connections, and pip's where it has none."""
    clean = {key: value for key, value in environ.items() if not key.startswith("UV_") or _UV_KEPT.fullmatch(key)}
    settings = index_settings(environ)
    for name, variable in _UV_NAMES.items():
        if name in settings:
            value = settings[name]
            clean.setdefault(variable, ",".join(value.split()) if name in _UV_LISTS else value)
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        clean.setdefault("UV_NO_INDEX", "1")
    return {**clean, "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}


def secrets_in(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the passwords and tokens of indexes that an environment holds, as written and decoded."""
    secrets = {value for key, value in environ.items() if re.fullmatch(r"UV_INDEX_\w+_PASSWORD", key)}
    for key, value in environ.items():
        if key.startswith(("PIP_", "UV_")) or key.lower().endswith("_proxy"):
            secrets.update(secret_urls.secrets_in(value))
    return frozenset(form for secret in secrets if secret for form in (secret, unquote(secret)))


def redacted(text: str, secrets: frozenset[str]) -> str:
    """Return ``text`` with every secret, and whatever may be one in a URL, replaced by asterisks."""
    text = secret_urls.masked(text)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "****")
    return text


def _configured(environ: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings from its configuration files, as `pip install` would see them."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, encoding="utf-8", check=False)
    settings: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for line in done.stdout.splitlines():
        key, equals, value = line.partition("=")
        section, _, name = key.partition(".")
        if equals and section in settings:
            settings[section][name] = ast.literal_eval(value)
    return {**settings["global"], **settings["install"]}


def _absolute(name: str, value: str) -> str:
    """Return a setting with its paths absolute, because resolvers run in another folder."""
    if name == "find-links":
        return " ".join(word if "://" in word else str(expanded(word).absolute()) for word in value.split())
    return str(expanded(value).absolute()) if name in _PATHS else value
