"""A registry behind HTTP."""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from kappa._version import __version__
from kappa.errors import ConfigurationError, GammaError
from kappa.gamma.clients.addresses import Address, ConnectionSettings
from kappa.gamma.clients.retrying import CONNECT_S, FINISH_S, REACH_S, resumed, retrying
from kappa.gamma.clients.wording import unreachable
from kappa.gamma.protocols.registry import BundleFile, Commit, Garbage, RegistryInfo, SignedUrl, Upload
from kappa.gamma.wire.checks import check_alias
from kappa.gamma.wire.chunks import in_chunks
from kappa.gamma.wire.failures import error_of
from kappa.gamma.wire.http_api import (
    ERROR_HEADER,
    OPERATION_HEADER,
    PREFIX,
    AliasTarget,
    BlobSize,
    Deletion,
    GarbageCollection,
    LabelChanges,
    NewUpload,
    TagParts,
    from_json,
    selector_text,
    to_json,
)
from kappa.gamma.wire.idle import IDLE_S
from kappa.spec.store import Alias, AliasChange, BundleRecord, Query, ServiceRecord
from kappa.tag import DEFAULT_NAMESPACE, BundleReference, Tag

__all__ = ["HttpRegistry"]

_ALL = Query()
_GATEWAY = frozenset({429, 502, 503, 504})
"""What proxies answer for a server that is away, and a server that takes no more requests."""


class _OwnRequests(logging.Filter):
    """Drops what httpx logs of each request to a registry, which is none of the user's requests."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return record.levelno > logging.INFO or not any(str(text).startswith(self._url) for text in arguments)


def _headers(settings: ConnectionSettings) -> dict[str, str]:
    agent = {"User-Agent": f"kappa/{__version__}"}
    return agent if settings.authorization is None else {**agent, "Authorization": settings.authorization}


class HttpRegistry:
    """A `Registry` of a server that speaks HTTP; safe for threads.

    ``transport`` is what sends requests; by default, connections that are kept, through the proxy of the environment.
    """

    def __init__(
        self, address: Address, settings: ConnectionSettings, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._address = address
        self._settings = settings
        self._http = httpx.Client(
            base_url=f"{address.url}{PREFIX}",
            headers=_headers(settings),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
            timeout=self._limits(settings.timeout_s),
            transport=transport,
            verify=_trust(settings) if address.is_encrypted else True,
        )
        self._info: RegistryInfo | None = None
        self._quiet = _OwnRequests(str(self._http.base_url))
        logging.getLogger("httpx").addFilter(self._quiet)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        logging.getLogger("httpx").removeFilter(self._quiet)

    def __enter__(self) -> HttpRegistry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def location(self) -> str:
        return str(self._address)

    def info(self) -> RegistryInfo:
        self._info = None
        return self._reach()

    # -- reading

    def resolve(self, reference: BundleReference) -> BundleRecord:
        version = reference.digest or reference.version or "latest"
        path = _path("bundles", reference.namespace, reference.name, version)
        return self._ask(BundleRecord, "GET", path)  # type: ignore[no-any-return]

    def list_bundles(self, query: Query = _ALL) -> list[BundleRecord]:
        asked = {
            "namespace": query.namespace,
            "name": query.name,
            "version": query.version,
            "digest": query.digest,
            "labels": selector_text(query.selector) or None,
            "limit": query.limit,
            "offset": query.offset or None,
            "order_by": query.order_by,
            "ascending": "true" if query.ascending else None,
            "requires": query.requires,
        }
        parameters = {key: str(value) for key, value in asked.items() if value is not None}
        return self._ask(list[BundleRecord], "GET", "/bundles", params=parameters)  # type: ignore[no-any-return]

    def list_services(
        self, search: str = "", *, namespace: str = DEFAULT_NAMESPACE, limit: int | None = None, offset: int = 0
    ) -> list[ServiceRecord]:
        asked = {"namespace": namespace, "search": search or None, "limit": limit, "offset": offset or None}
        parameters = {key: str(value) for key, value in asked.items() if value is not None}
        return self._ask(list[ServiceRecord], "GET", "/services", params=parameters)  # type: ignore[no-any-return]

    def files_of(self, tag: Tag) -> tuple[BundleFile, ...]:
        return self._ask(tuple[BundleFile, ...], "GET", f"{_bundle(tag)}/files")  # type: ignore[no-any-return]

    def read_blob(self, tag: Tag, digest: str, *, offset: int = 0) -> Iterator[bytes]:
        self._reach()
        path = f"{_bundle(tag)}/blobs/{quote(digest)}"

        def read(start: int) -> Iterator[bytes]:
            headers = {"Range": f"bytes={start}-"} if start else {}
            with (
                self._failing_explained(is_transfer=True),
                self._http.stream("GET", path, headers=headers, timeout=self._limits(IDLE_S)) as answer,
            ):
                if start and answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return
                if answer.is_error:
                    answer.read()
                    raise self._refusal(answer)
                yield from answer.iter_raw()

        return resumed(read, offset=offset)

    def download_url(self, tag: Tag, digest: str) -> SignedUrl:
        return self._ask(SignedUrl, "GET", f"{_bundle(tag)}/blobs/{quote(digest)}/url")  # type: ignore[no-any-return]

    # -- labels and aliases

    def set_labels(self, tag: Tag, changes: Mapping[str, str | None], *, operation: str) -> BundleRecord:
        body = to_json(LabelChanges, LabelChanges(changes))
        return self._ask(  # type: ignore[no-any-return]
            BundleRecord, "PATCH", f"{_bundle(tag)}/labels", body=body, operation=operation
        )

    def aliases(self, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[Alias]:
        return self._ask(list[Alias], "GET", _path("aliases", namespace, name))  # type: ignore[no-any-return]

    def set_alias(self, tag: Tag, alias: str, *, expect: str | None = None, operation: str) -> AliasChange:
        body = to_json(AliasTarget, AliasTarget(tag.version, expect))
        path = _path("aliases", tag.namespace, tag.name, check_alias(alias))
        return self._ask(AliasChange, "PUT", path, body=body, operation=operation)  # type: ignore[no-any-return]

    def delete_alias(
        self,
        name: str,
        alias: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        expect: str | None = None,
        operation: str,
    ) -> AliasChange:
        path = _path("aliases", namespace, name, check_alias(alias))
        parameters = {} if expect is None else {"expect": expect}
        return self._ask(  # type: ignore[no-any-return]
            AliasChange, "DELETE", path, params=parameters, operation=operation
        )

    def alias_history(self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[AliasChange]:
        path = _path("aliases", namespace, name, check_alias(alias), "history")
        return self._ask(list[AliasChange], "GET", path)  # type: ignore[no-any-return]

    # -- writing

    def begin_upload(
        self, manifest: bytes, files: Sequence[BundleFile], *, namespace: str = DEFAULT_NAMESPACE, operation: str
    ) -> Upload:
        try:
            text = manifest.decode()
        except UnicodeDecodeError:
            raise GammaError("The manifest `kappa.yml` is not text in UTF-8.") from None
        body = to_json(NewUpload, NewUpload(text, tuple(files), namespace))
        return self._ask(Upload, "POST", "/uploads", body=body, operation=operation)  # type: ignore[no-any-return]

    def write_blob(self, session: str, digest: str, offset: int, chunks: Iterable[bytes]) -> int:
        """Append to a blob; a break is not repaired here: ask `upload_state` how much is there, and write on."""
        self._reach()
        path = _path("uploads", session, "blobs", digest)
        with self._failing_explained(is_transfer=True):
            answer = self._http.put(
                path,
                params={"offset": offset},
                content=in_chunks(chunks),
                headers={"Content-Type": "application/octet-stream"},
                timeout=httpx.Timeout(IDLE_S, connect=CONNECT_S, read=FINISH_S),
            )
        size: BlobSize = self._value(BlobSize, answer)
        return size.size_bytes

    def upload_url(self, session: str, digest: str) -> SignedUrl:
        path = _path("uploads", session, "blobs", digest, "url")
        return self._ask(SignedUrl, "GET", path)  # type: ignore[no-any-return]

    def take_blob(self, session: str, digest: str) -> int:
        path = _path("uploads", session, "blobs", digest, "take")
        size: BlobSize = self._ask(BlobSize, "POST", path, timeout_s=FINISH_S)
        return size.size_bytes

    def upload_state(self, session: str) -> Upload:
        return self._ask(Upload, "GET", _path("uploads", session))  # type: ignore[no-any-return]

    def commit_upload(self, session: str, *, operation: str) -> Commit:
        path = _path("uploads", session, "commit")
        return self._ask(  # type: ignore[no-any-return]
            Commit, "POST", path, body=b"{}", operation=operation, timeout_s=FINISH_S
        )

    def abort_upload(self, session: str) -> None:
        self._ask(None, "DELETE", _path("uploads", session))

    def delete(self, tags: Sequence[Tag], *, force: bool = False, operation: str) -> list[Tag]:
        parts = tuple(TagParts(tag.name, tag.version, tag.namespace) for tag in tags)
        body = to_json(Deletion, Deletion(parts, force=force))
        return self._ask(list[Tag], "POST", "/deletions", body=body, operation=operation)  # type: ignore[no-any-return]

    def collect_garbage(self, *, grace: timedelta, dry_run: bool = True) -> Garbage:
        body = to_json(GarbageCollection, GarbageCollection(grace.total_seconds(), dry_run=dry_run))
        return self._ask(  # type: ignore[no-any-return]
            Garbage, "POST", "/garbage-collections", body=body, timeout_s=FINISH_S
        )

    # -- requests

    def _reach(self) -> RegistryInfo:
        """Ask the server what it is, once: it is away if that takes longer than an exchange ever does."""
        if self._info is None:
            self._info = retrying(lambda: self._once(RegistryInfo, "GET", "", timeout=self._limits(REACH_S)))
        return self._info

    def _ask(
        self,
        kind: Any,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        operation: str | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Ask, again where the connection breaks: reads change nothing, and writes carry the id of their operation."""
        self._reach()
        headers = {} if body is None else {"Content-Type": "application/json"}
        if operation is not None:
            headers[OPERATION_HEADER] = operation
        return retrying(
            lambda: self._once(
                kind,
                method,
                path,
                params=params,
                content=body,
                headers=headers,
                timeout=self._limits(timeout_s or self._settings.timeout_s),
            )
        )

    def _once(self, kind: Any, method: str, path: str, **options: Any) -> Any:
        with self._failing_explained():
            answer = self._http.request(method, path, **options)
        return self._value(kind, answer)

    def _value(self, kind: Any, answer: httpx.Response) -> Any:
        if answer.is_error:
            raise self._refusal(answer)
        if kind is None:
            return None
        try:
            return from_json(kind, answer.content)
        except ValueError:
            raise self._not_gamma(answer) from None

    def _refusal(self, answer: httpx.Response) -> Exception:
        try:
            message = answer.json()["error"]
        except (ValueError, KeyError, TypeError):
            message = None
        name = answer.headers.get(ERROR_HEADER)
        if name is not None and isinstance(message, str):
            return error_of(name, message)
        if answer.status_code in _GATEWAY:
            return unreachable(self._address, f"HTTP {answer.status_code}")
        return self._not_gamma(answer)

    def _not_gamma(self, answer: httpx.Response) -> GammaError:
        return GammaError(
            f"`{self._address}` answered HTTP {answer.status_code}, and not as a Gamma server does: it is another "
            "server, or an older one. Give the address of its web port, with the path under which a proxy has it."
        )

    @contextmanager
    def _failing_explained(self, *, is_transfer: bool = False) -> Iterator[None]:
        """Turn failures of httpx into Kappa's."""
        try:
            yield
        except httpx.TimeoutException as exc:
            reason = f"no byte moved for {IDLE_S:g} s" if is_transfer else "it took too long"
            raise unreachable(self._address, str(exc) or reason) from None
        except httpx.TransportError as exc:
            raise unreachable(self._address, str(exc)) from None
        except httpx.HTTPError as exc:
            raise GammaError(f"The Gamma server `{self._address}` answered what HTTP does not allow: {exc}.") from None

    def _limits(self, seconds: float) -> httpx.Timeout:
        return httpx.Timeout(seconds if math.isfinite(seconds) else None, connect=CONNECT_S)


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe=':@')}" for part in parts)


def _bundle(tag: Tag) -> str:
    return _path("bundles", tag.namespace, tag.name, tag.version)


def _trust(settings: ConnectionSettings) -> ssl.SSLContext:
    """Return the certificates to trust and to show; raises `ConfigurationError`."""
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.tls_cert is not None:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"The certificates of `gamma_service.tls_ca`, `tls_cert` and `tls_key` cannot be read: {exc}."
        ) from None
    return context
