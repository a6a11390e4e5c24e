"""A registry behind gRPC."""

from __future__ import annotations

import math
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from kappa.errors import ConfigurationError, GammaError, KappaError
from kappa.gamma.clients.addresses import Address, ConnectionSettings
from kappa.gamma.clients.retrying import CONNECT_S, FINISH_S, REACH_S, resumed, retrying
from kappa.gamma.clients.wording import unreachable
from kappa.gamma.protocols.registry import BundleFile, Commit, Garbage, RegistryInfo, SignedUrl, Upload
from kappa.gamma.wire.chunks import in_chunks
from kappa.gamma.wire.failures import error_of
from kappa.gamma.wire.idle import IDLE_S, IdleWatch
from kappa.gamma.wire.proto import conversion, messages
from kappa.gamma.wire.proto.descriptors import methods
from kappa.gamma.wire.proto.limits import ERROR_KEY, MESSAGE_BYTES, METADATA_BYTES
from kappa.spec.store import Alias, AliasChange, BundleRecord, Query, ServiceRecord
from kappa.tag import DEFAULT_NAMESPACE, BundleReference, Tag

__all__ = ["GrpcRegistry"]

_ALL = Query()
_LONG = frozenset({"CommitUpload", "CollectGarbage", "TakeBlob"})
_BROKEN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
"""What gRPC says where a connection breaks, a server ends, or it takes no more calls."""


class GrpcRegistry:
    """A `Registry` of a server that speaks gRPC; safe for threads."""

    def __init__(self, address: Address, settings: ConnectionSettings) -> None:
        self._address = address
        self._settings = settings
        self._channel = _open_channel(address, settings)
        self._calls = {name: self._call(name) for name in methods()}
        self._reaching = threading.Lock()
        self._info: RegistryInfo | None = None

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> GrpcRegistry:
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
        return conversion.bundle_of(self._ask("Resolve", conversion.reference_message(reference)))

    def list_bundles(self, query: Query = _ALL) -> list[BundleRecord]:
        portions = self._ask("ListBundles", conversion.query_message(query))
        return [conversion.bundle_of(bundle) for portion in portions for bundle in portion.bundles]

    def list_services(
        self, search: str = "", *, namespace: str = DEFAULT_NAMESPACE, limit: int | None = None, offset: int = 0
    ) -> list[ServiceRecord]:
        request = messages.ListServicesRequest(namespace=namespace, search=search, limit=limit, offset=offset)
        portions = self._ask("ListServices", request)
        return [conversion.service_of(service) for portion in portions for service in portion.services]

    def files_of(self, tag: Tag) -> tuple[BundleFile, ...]:
        portions = self._ask("ListFiles", conversion.tag_message(tag))
        return tuple(conversion.file_of(file) for portion in portions for file in portion.files)

    def read_blob(self, tag: Tag, digest: str, *, offset: int = 0) -> Iterator[bytes]:
        self._reach()

        def read(start: int) -> Iterator[bytes]:
            request = messages.ReadBlobRequest(tag=conversion.tag_message(tag), digest=digest, offset=start)
            call = self._calls["ReadBlob"](request)
            with IdleWatch(call.cancel) as watch, self._failing_explained(watch):
                try:
                    for chunk in call:
                        watch.touch(limit_s=math.inf)  # the reader may take its time
                        yield chunk.data
                        watch.touch(limit_s=IDLE_S)
                finally:
                    call.cancel()

        return resumed(read, offset=offset)

    def download_url(self, tag: Tag, digest: str) -> SignedUrl:
        request = messages.BundleBlob(tag=conversion.tag_message(tag), digest=digest)
        return SignedUrl(self._ask("GetDownloadUrl", request).url)

    # -- labels and aliases

    def set_labels(self, tag: Tag, changes: Mapping[str, str | None], *, operation: str) -> BundleRecord:
        request = conversion.label_changes_message(tag, changes, operation=operation)
        return conversion.bundle_of(self._ask("SetLabels", request))

    def aliases(self, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[Alias]:
        answer = self._ask("ListAliases", messages.ListAliasesRequest(namespace=namespace, name=name))
        return [conversion.alias_of(alias) for alias in answer.aliases]

    def set_alias(self, tag: Tag, alias: str, *, expect: str | None = None, operation: str) -> AliasChange:
        request = messages.SetAliasRequest(
            tag=conversion.tag_message(tag), alias=alias, expect=expect, operation=operation
        )
        return conversion.change_of(self._ask("SetAlias", request))

    def delete_alias(
        self,
        name: str,
        alias: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        expect: str | None = None,
        operation: str,
    ) -> AliasChange:
        request = messages.DeleteAliasRequest(
            namespace=namespace, name=name, alias=alias, expect=expect, operation=operation
        )
        return conversion.change_of(self._ask("DeleteAlias", request))

    def alias_history(self, name: str, alias: str, *, namespace: str = DEFAULT_NAMESPACE) -> list[AliasChange]:
        request = messages.AliasHistoryRequest(namespace=namespace, name=name, alias=alias)
        return [conversion.change_of(change) for change in self._ask("GetAliasHistory", request).changes]

    # -- writing

    def begin_upload(
        self, manifest: bytes, files: Sequence[BundleFile], *, namespace: str = DEFAULT_NAMESPACE, operation: str
    ) -> Upload:
        request = messages.BeginUploadRequest(
            manifest=manifest,
            files=map(conversion.file_message, files),
            namespace=namespace,
            operation=operation,
        )
        return conversion.upload_of(self._ask("BeginUpload", request))

    def write_blob(self, session: str, digest: str, offset: int, chunks: Iterable[bytes]) -> int:
        """Append to a blob; a break is not repaired here: ask `upload_state` how much is there, and write on."""
        self._reach()
        failures: list[BaseException] = []

        def requests() -> Iterator[messages.WriteBlobRequest]:
            yield messages.WriteBlobRequest(session=session, digest=digest, offset=offset)
            try:
                for chunk in in_chunks(chunks):
                    watch.touch()
                    yield messages.WriteBlobRequest(data=chunk)
            except Exception as exc:  # noqa: BLE001 - of the caller's chunks; gRPC would log it, and say nothing of it
                failures.append(exc)
            watch.touch(limit_s=FINISH_S)

        calls: list[Any] = []
        with IdleWatch(lambda: [call.cancel() for call in calls]) as watch, self._failing_explained(watch):
            calls.append(self._calls["WriteBlob"].future(requests()))
            try:
                size_bytes: int = calls[0].result().size_bytes
            finally:
                calls[0].cancel()
        if failures:
            raise failures[0]
        return size_bytes

    def upload_url(self, session: str, digest: str) -> SignedUrl:
        return SignedUrl(self._ask("GetUploadUrl", messages.UploadBlob(session=session, digest=digest)).url)

    def take_blob(self, session: str, digest: str) -> int:
        size_bytes: int = self._ask("TakeBlob", messages.UploadBlob(session=session, digest=digest)).size_bytes
        return size_bytes

    def upload_state(self, session: str) -> Upload:
        return conversion.upload_of(self._ask("GetUpload", messages.UploadSession(session=session)))

    def commit_upload(self, session: str, *, operation: str) -> Commit:
        request = messages.CommitUploadRequest(session=session, operation=operation)
        return conversion.commit_of(self._ask("CommitUpload", request))

    def abort_upload(self, session: str) -> None:
        self._ask("AbortUpload", messages.UploadSession(session=session))

    def delete(self, tags: Sequence[Tag], *, force: bool = False, operation: str) -> list[Tag]:
        request = messages.DeleteBundlesRequest(
            tags=map(conversion.tag_message, tags), force=force, operation=operation
        )
        return [conversion.tag_of(tag) for tag in self._ask("DeleteBundles", request).tags]

    def collect_garbage(self, *, grace: timedelta, dry_run: bool = True) -> Garbage:
        request = messages.CollectGarbageRequest(grace_seconds=grace.total_seconds(), dry_run=dry_run)
        return conversion.garbage_of(self._ask("CollectGarbage", request))

    # -- calls

    def _call(self, name: str) -> Any:
        method = methods()[name]
        kinds: dict[tuple[bool, bool], Callable[..., Any]] = {
            (False, False): self._channel.unary_unary,
            (False, True): self._channel.unary_stream,
            (True, False): self._channel.stream_unary,
        }
        call = kinds[method.takes_stream, method.returns_stream](
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return call if self._settings.authorization is None else _Authorized(call, self._settings.authorization)

    def _reach(self) -> RegistryInfo:
        """Ask the server what it is, once: it is away if that takes longer than an exchange ever does."""
        with self._reaching:
            if self._info is None:
                answer = retrying(lambda: self._once("GetInfo", messages.GetInfoRequest(), timeout_s=REACH_S))
                self._info = conversion.info_of(answer)
            return self._info

    def _ask(self, name: str, request: Any) -> Any:
        """Ask, again where the connection breaks: reads change nothing, and writes carry the id of their operation."""
        self._reach()
        timeout_s = FINISH_S if name in _LONG else self._settings.timeout_s
        return retrying(lambda: self._once(name, request, timeout_s=timeout_s))

    def _once(self, name: str, request: Any, *, timeout_s: float) -> Any:
        with self._failing_explained():
            answer = self._calls[name](request, timeout=timeout_s)
            return list(answer) if methods()[name].returns_stream else answer

    @contextmanager
    def _failing_explained(self, watch: IdleWatch | None = None) -> Iterator[None]:
        """Turn failures of gRPC into Kappa's; with ``watch``, of a transfer that it may have ended."""
        try:
            yield
        except (grpc.RpcError, grpc.FutureCancelledError, ValueError) as exc:
            if watch is not None and watch.has_expired:
                raise unreachable(self._address, f"no byte moved for {IDLE_S:g} s") from None
            if isinstance(exc, grpc.Call):
                raise _failure(self._address, exc) from None
            if isinstance(exc, ValueError) and "closed channel" in str(exc).lower():
                raise GammaError(f"The connection to the Gamma server `{self._address}` was closed.") from None
            raise


class _Authorized:
    """A call that says who makes it."""

    def __init__(self, call: Any, authorization: str) -> None:
        self._call = call
        self._metadata = (("authorization", authorization),)

    def __call__(self, request: Any, **options: Any) -> Any:
        return self._call(request, metadata=self._metadata, **options)

    def future(self, requests: Any, **options: Any) -> Any:
        return self._call.future(requests, metadata=self._metadata, **options)


def _failure(address: Address, call: grpc.Call) -> KappaError:
    details = call.details() or ""
    for key, value in call.trailing_metadata() or ():
        if key == ERROR_KEY:
            return error_of(str(value), details)
    if call.code() is grpc.StatusCode.UNIMPLEMENTED:
        return GammaError(
            f"`{address}` does not know what it was asked for: it is not a Gamma server, or an older one. See its "
            "version, and upgrade it."
        )
    if call.code() in _BROKEN:
        return unreachable(address, details)
    return GammaError(f"The Gamma server `{address}` refused: {details.rstrip('.')}.")


# -- the channel


def _open_channel(address: Address, settings: ConnectionSettings) -> grpc.Channel:
    options = [
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.min_reconnect_backoff_ms", int(CONNECT_S * 1000)),  # also how long one attempt to connect takes
    ]
    if not address.is_encrypted:
        return grpc.insecure_channel(address.target, options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_trusted(settings.tls_ca),
        private_key=_content(settings.tls_key, "tls_key"),
        certificate_chain=_content(settings.tls_cert, "tls_cert"),
    )
    return grpc.secure_channel(address.target, credentials, options)


def _trusted(ca: Path | None) -> bytes | None:
    """Return the certificates to trust: those of a file, of the system, or gRPC's own for ``None``."""
    if ca is not None:
        return _content(ca, "tls_ca")
    with suppress(OSError):
        if system := ssl.get_default_verify_paths().cafile:
            return Path(system).read_bytes()
    return None


def _content(path: Path | None, key: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(
            f"`gamma_service.{key}` names `{path}`, which cannot be read: {exc.strerror}."
        ) from None
