"""The storage that a URL names: a folder of trees, or an object store."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, MutableMapping
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kappa.environment import expanded, home_directory
from kappa.errors import ConfigurationError, GammaError, UsageError, optional_import
from kappa.gamma.protocols.storage import BundleStorage
from kappa.gamma.storages.bucket import ObjectStore
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.gamma.storages.objects import ObjectStorage
from kappa.gamma.storages.spool import Spool
from kappa.log import log
from kappa.secret_urls import masked

__all__ = ["open_storage"]

IDLE = timedelta(seconds=30)
"""How long a store may send nothing before a request is given up."""
_SIGNING = ("s3", "gs")
_RETRIES: Any = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=45),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}


def open_storage(url: str, *, is_direct: bool = False, environ: Mapping[str, str] = os.environ) -> BundleStorage:
    """Return the storage at a URL; nothing is read or made before it is used.

    A path is a folder of plain trees. An object store is `s3://bucket/prefix`, `gs://…`, `az://container/prefix`, or
    `file:///folder`; `memory://` is forgotten when the process ends. Credentials come from the environment; of S3 the
    endpoint, too (`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`). With ``is_direct``, clients move blobs by URLs that the
    store signs. Raises `UsageError` for any other scheme, also for one that signs no URLs, and `ConfigurationError`
    where the environment lacks something.
    """
    scheme, separator, rest = url.partition("://")
    if is_direct and scheme not in _SIGNING:
        schemes = " or ".join(f"`{name}://`" for name in _SIGNING)
        raise UsageError(
            f"Blobs cannot go directly between clients and `{masked(url)}`: give an object store that signs URLs, "
            f"{schemes}, or leave `--direct-transfer` out."
        )
    if not separator:
        return DirectoryStorage(expanded(url))
    makers: Mapping[str, Callable[[], ObjectStore]] = {
        "s3": lambda: _s3(url, environ),
        "gs": lambda: _cloud("GCSStore", url),
        "az": lambda: _cloud("AzureStore", url),
        "file": lambda: _folder(url),
        "memory": _memory,
    }
    if scheme not in makers:
        schemes = ", ".join(f"`{name}://`" for name in makers if name != "memory")
        raise UsageError(f"`{masked(url)}` is not where bundles can be kept: use a path, {schemes}.")
    if not rest.strip("/") and scheme != "memory":
        raise UsageError(f"`{url}` names no {'folder' if scheme == 'file' else 'bucket'}.")
    location = masked(url)
    spool = Spool(home_directory(environ) / "spool" / sha256(location.encode()).hexdigest()[:16])
    with optional_import("kappa-ml[gamma]", needed_for=f"the object store `{location}`"):
        folder = _path_of(url) if scheme == "file" else None
        from obstore.exceptions import BaseError

        try:
            return ObjectStorage(makers[scheme](), spool, location=location, folder=folder, is_direct=is_direct)
        except (BaseError, ValueError) as exc:
            reason = str(exc).partition("\n")[0]
            raise ConfigurationError(
                f"The object store `{location}` cannot be used: {reason}. Its account and credentials are environment "
                "variables, as `AWS_ACCESS_KEY_ID` or `AZURE_STORAGE_ACCOUNT_NAME`."
            ) from exc


def _client() -> dict[str, Any]:
    """Return how long to wait for a store: a transfer ends when nothing moves, and not after a time."""
    return {"connect_timeout": timedelta(seconds=5), "read_timeout": IDLE, "timeout": timedelta(days=1)}


def _s3(url: str, environ: Mapping[str, str]) -> ObjectStore:
    from obstore.store import S3Store

    config: Any = {name.lower(): environ[name] for name in _CREDENTIALS if environ.get(name)}
    endpoint = next((environ[name] for name in _ENDPOINTS if environ.get(name)), None)
    if endpoint is not None:
        config["endpoint"] = endpoint
    options: Any = {**_client(), "allow_http": endpoint is not None and endpoint.startswith("http://")}
    provider = _credentials_of_profile(environ, config)
    more: dict[str, Any] = {"credential_provider": provider} if provider is not None else {}
    return S3Store.from_url(url, config=config, client_options=options, retry_config=_RETRIES, **more)


_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def _credentials_of_profile(
    environ: Mapping[str, str], config: MutableMapping[str, Any]
) -> Callable[[], dict[str, Any]] | None:
    """Return what asks boto3 for credentials where only AWS' own files have them; says so where boto3 is absent."""
    if environ.get("AWS_ACCESS_KEY_ID") or environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return None
    files = [Path(environ.get(name) or Path.home() / ".aws" / file) for name, file in _FILES.items()]
    sources = [f"AWS_PROFILE={environ['AWS_PROFILE']}"] if environ.get("AWS_PROFILE") else []
    sources += [str(file) for file in files if file.is_file()]
    if not sources:
        return None
    if importlib.util.find_spec("boto3") is None:
        log(
            f"`{sources[0]}` is ignored: reading it needs boto3. Run `pip install boto3`, or set `AWS_ACCESS_KEY_ID` "
            "and `AWS_SECRET_ACCESS_KEY`.",
            kind="warning",
        )
        return None
    import boto3

    session = boto3.Session(profile_name=environ.get("AWS_PROFILE") or None)
    if session.region_name and not environ.get("AWS_REGION"):
        config["aws_region"] = session.region_name

    def credentials() -> dict[str, Any]:
        if (current := session.get_credentials()) is None:
            raise GammaError(f"`{sources[0]}` has no credentials of AWS.")
        frozen = current.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": getattr(current, "_expiry_time", None),
        }

    return credentials


_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "credentials", "AWS_CONFIG_FILE": "config"}


def _cloud(name: str, url: str) -> ObjectStore:
    from obstore import store

    made: ObjectStore = getattr(store, name).from_url(url, client_options=_client(), retry_config=dict(_RETRIES))
    return made


def _folder(url: str) -> ObjectStore:
    from obstore.store import LocalStore

    return LocalStore(_path_of(url), automatic_cleanup=True, mkdir=True)


def _path_of(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _memory() -> ObjectStore:
    from obstore.store import MemoryStore

    return MemoryStore()
