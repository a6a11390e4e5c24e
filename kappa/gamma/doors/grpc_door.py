"""The door of gRPC: messages become calls of a `Registry`, and what it returns or raises becomes messages.

Every operation of a registry blocks, on its database, on files or on an object store. So each call has a thread of a
pool, and an event loop would only hand it on to one. A transfer holds its thread until its last byte; some threads are
kept free of transfers, so that what is quick is answered beside any number of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import unquote

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from kappa.errors import ConfigurationError, GammaUnreachableError, KappaError, UsageError
from kappa.gamma.access.gate import Gate
from kappa.gamma.doors.exchanges import ClientGoneError, Exchange, Exchanges, request_id_of
from kappa.gamma.doors.tls import ServerTls
from kappa.gamma.protocols.registry import Registry
from kappa.gamma.wire.checks import (
    check_alias,
    check_digest,
    check_offset,
    check_operation,
    check_services,
    check_session,
    checked_service,
)
from kappa.gamma.wire.chunks import in_chunks
from kappa.gamma.wire.failures import LONGEST_MESSAGE, TooManyFailuresError, name_of, status_of
from kappa.gamma.wire.idle import IDLE_S, IdleWatch
from kappa.gamma.wire.proto import conversion, messages
from kappa.gamma.wire.proto.descriptors import SERVICE, descriptor_pool, methods
from kappa.gamma.wire.proto.limits import ERROR_KEY, MESSAGE_BYTES, METADATA_BYTES
from kappa.tag import DEFAULT_NAMESPACE

__all__ = ["GrpcDoor"]

_THREADS = 256
_TRANSFERS = 224
_TOO_MANY = "The Gamma server moves as many blobs as it can now: try again in a moment."


class GrpcDoor:
    """A gRPC server of the registry behind a gate, with the standard health service and reflection, open to all."""

    def __init__(self, gate: Gate, exchanges: Exchanges, *, idle_s: float = IDLE_S) -> None:
        self._gate = gate
        self._exchanges = exchanges
        self._idle_s = idle_s
        self._transfers = BoundedSemaphore(_TRANSFERS)
        self._health = health.HealthServicer()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="kappa-gamma-grpc")
        self._server = grpc.server(self._pool, options=_OPTIONS)
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, self._handlers())])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.set_ready(is_ready=False)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, pool=_JoinedPool())  # type: ignore[arg-type]

    def listen(self, host: str, port: int, *, tls: ServerTls | None = None) -> int:
        """Bind a port, any free one for 0, and return it; raises `UsageError` where that cannot be."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, _credentials(tls))
        except RuntimeError as exc:
            raise UsageError(f"gRPC cannot listen on `{address}`: {exc}.") from None
        if not bound:
            raise UsageError(
                f"gRPC cannot listen on `{address}`: the port is taken, or the address not of this machine."
            )
        return int(bound)

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def set_ready(self, *, is_ready: bool) -> None:
        """Set what the health service says."""
        serving = health_pb2.HealthCheckResponse.SERVING if is_ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", SERVICE):
            self._health.set(service, serving)

    def stop(self, grace_s: float) -> None:
        """Take no more calls, and return when the last one is answered, or ended after ``grace_s``."""
        self._server.stop(grace_s).wait()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- calls

    def _handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        return {name: self._handler(name) for name in methods()}

    def _handler(self, name: str) -> grpc.RpcMethodHandler[Any, Any]:
        method = methods()[name]
        coding: dict[str, Any] = {
            "request_deserializer": method.request.FromString,
            "response_serializer": method.response.SerializeToString,
        }
        if name == "ReadBlob":
            return grpc.unary_stream_rpc_method_handler(self._read_blob, **coding)
        if name == "WriteBlob":
            return grpc.stream_unary_rpc_method_handler(self._write_blob, **coding)
        if method.returns_stream:
            return grpc.unary_stream_rpc_method_handler(self._listing(name), **coding)
        return grpc.unary_unary_rpc_method_handler(self._single(name), **coding)

    def _single(self, name: str) -> Callable[[Any, grpc.ServicerContext], Any]:
        answer = _SINGLE[name]

        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            with _aborting(context), self._exchange(name, context):
                return answer(self._admit(context), request)

        return handle

    def _listing(self, name: str) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
        answer = _LISTINGS[name]

        def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with _aborting(context), self._exchange(name, context):
                yield from answer(self._admit(context), request)

        return handle

    def _read_blob(
        self, request: messages.ReadBlobRequest, context: grpc.ServicerContext
    ) -> Iterator[messages.BlobChunk]:
        with _aborting(context), self._exchange("ReadBlob", context) as exchange:
            registry = self._admit(context)
            with _one_of(self._transfers), IdleWatch(context.cancel, limit_s=self._idle_s) as watch:
                chunks = registry.read_blob(
                    conversion.tag_of(request.tag), check_digest(request.digest), offset=check_offset(request.offset)
                )
                for chunk in in_chunks(chunks):
                    exchange.bytes_out += len(chunk)
                    yield messages.BlobChunk(data=chunk)
                    watch.touch()

    def _write_blob(
        self, requests: Iterator[messages.WriteBlobRequest], context: grpc.ServicerContext
    ) -> messages.WriteBlobResponse:
        with _aborting(context), self._exchange("WriteBlob", context) as exchange:
            registry = self._admit(context)
            with _one_of(self._transfers), IdleWatch(context.cancel, limit_s=self._idle_s) as watch:
                arriving = _unless_gone(requests)
                first = next(arriving, None)
                if first is None:
                    raise UsageError("An upload of a blob has at least one message, which names the blob.")
                session, digest = check_session(first.session), check_digest(first.digest)
                chunks = self._chunks(first, arriving, exchange, watch)
                size_bytes = registry.write_blob(session, digest, check_offset(first.offset), chunks)
            return messages.WriteBlobResponse(size_bytes=size_bytes)

    def _chunks(
        self,
        first: messages.WriteBlobRequest,
        arriving: Iterator[messages.WriteBlobRequest],
        exchange: Exchange,
        watch: IdleWatch,
    ) -> Iterator[bytes]:
        """Yield what arrives; the watch is for the client alone, not for what the registry does with it."""
        if first.data:
            exchange.bytes_in += len(first.data)
            yield first.data
        while True:
            watch.touch(limit_s=self._idle_s)
            message = next(arriving, None)
            watch.touch(limit_s=float("inf"))
            if message is None:
                if watch.has_expired:  # a call that the server itself ended looks as if the client had
                    raise ClientGoneError
                return
            exchange.bytes_in += len(message.data)
            yield message.data

    def _admit(self, context: grpc.ServicerContext) -> Registry:
        """Return the registry as a caller may use it; raises `UnauthenticatedError`."""
        metadata = dict(context.invocation_metadata())
        authorization = str(metadata["authorization"]) if "authorization" in metadata else None
        return self._gate.admit(authorization, _address_of(context.peer())).registry

    def _exchange(self, name: str, context: grpc.ServicerContext) -> Any:
        metadata = dict(context.invocation_metadata())
        request_id = request_id_of(str(metadata["x-request-id"]) if "x-request-id" in metadata else None)
        return self._exchanges.exchange("grpc", name, request_id=request_id, peer=context.peer())


def _address_of(peer: str) -> str:
    """Return the address of a peer without its port: of ``ipv4:127.0.0.1:50000``, or ``ipv6:%5B::1%5D:50000``."""
    address = unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")
    return address or peer


def _unless_gone(requests: Iterator[Any]) -> Iterator[Any]:
    """Yield messages; raises `ClientGoneError` where the connection breaks."""
    try:
        yield from requests
    except grpc.RpcError:
        raise ClientGoneError from None


class _one_of:  # noqa: N801 - reads as a statement
    """A block that holds one of a number of slots; raises `GammaUnreachableError`, which clients repeat, for none."""

    __slots__ = ("_slots",)

    def __init__(self, slots: BoundedSemaphore) -> None:
        self._slots = slots

    def __enter__(self) -> None:
        if not self._slots.acquire(blocking=False):
            raise GammaUnreachableError(_TOO_MANY)

    def __exit__(self, *_: object) -> None:
        self._slots.release()


class _aborting:  # noqa: N801 - reads as a statement
    """A block whose failures end a call with their status, message and class."""

    __slots__ = ("_context",)

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        if isinstance(exc, KappaError):
            metadata = [(ERROR_KEY, name_of(exc))]
            if isinstance(exc, TooManyFailuresError):
                metadata.append(("retry-after", str(exc.retry_after_s)))
            self._context.set_trailing_metadata(tuple(metadata))
            self._context.abort(getattr(grpc.StatusCode, status_of(exc).grpc), str(exc)[:LONGEST_MESSAGE])
        if isinstance(exc, ClientGoneError):
            self._context.abort(grpc.StatusCode.CANCELLED, "the client went away")


# -- what each method asks of the registry


def _reference(registry: Registry, request: messages.Reference) -> messages.Bundle:
    return conversion.bundle_message(registry.resolve(conversion.reference_of(request)))


def _set_labels(registry: Registry, request: messages.SetLabelsRequest) -> messages.Bundle:
    changes = conversion.label_changes_of(request)
    tag, operation = conversion.tag_of(request.tag), check_operation(request.operation)
    return conversion.bundle_message(registry.set_labels(tag, changes, operation=operation))


def _aliases(registry: Registry, request: messages.ListAliasesRequest) -> messages.AliasList:
    namespace, name = checked_service(request.namespace or DEFAULT_NAMESPACE, request.name)
    return messages.AliasList(aliases=map(conversion.alias_message, registry.aliases(name, namespace=namespace)))


def _set_alias(registry: Registry, request: messages.SetAliasRequest) -> messages.AliasChange:
    change = registry.set_alias(
        conversion.tag_of(request.tag),
        check_alias(request.alias),
        expect=conversion.optional(request, "expect"),
        operation=check_operation(request.operation),
    )
    return conversion.change_message(change)


def _delete_alias(registry: Registry, request: messages.DeleteAliasRequest) -> messages.AliasChange:
    namespace, name = checked_service(request.namespace or DEFAULT_NAMESPACE, request.name)
    change = registry.delete_alias(
        name,
        check_alias(request.alias),
        namespace=namespace,
        expect=conversion.optional(request, "expect"),
        operation=check_operation(request.operation),
    )
    return conversion.change_message(change)


def _alias_history(registry: Registry, request: messages.AliasHistoryRequest) -> messages.AliasHistory:
    namespace, name = checked_service(request.namespace or DEFAULT_NAMESPACE, request.name)
    changes = registry.alias_history(name, check_alias(request.alias), namespace=namespace)
    return messages.AliasHistory(changes=map(conversion.change_message, changes))


def _begin_upload(registry: Registry, request: messages.BeginUploadRequest) -> messages.Upload:
    upload = registry.begin_upload(
        request.manifest,
        tuple(map(conversion.file_of, request.files)),
        namespace=request.namespace or DEFAULT_NAMESPACE,
        operation=check_operation(request.operation),
    )
    return conversion.upload_message(upload)


def _upload(registry: Registry, request: messages.UploadSession) -> messages.Upload:
    return conversion.upload_message(registry.upload_state(check_session(request.session)))


def _upload_url(registry: Registry, request: messages.UploadBlob) -> messages.SignedUrl:
    signed = registry.upload_url(check_session(request.session), check_digest(request.digest))
    return messages.SignedUrl(url=signed.url)


def _take_blob(registry: Registry, request: messages.UploadBlob) -> messages.WriteBlobResponse:
    size_bytes = registry.take_blob(check_session(request.session), check_digest(request.digest))
    return messages.WriteBlobResponse(size_bytes=size_bytes)


def _download_url(registry: Registry, request: messages.BundleBlob) -> messages.SignedUrl:
    signed = registry.download_url(conversion.tag_of(request.tag), check_digest(request.digest))
    return messages.SignedUrl(url=signed.url)


def _commit(registry: Registry, request: messages.CommitUploadRequest) -> messages.Commit:
    session, operation = check_session(request.session), check_operation(request.operation)
    return conversion.commit_message(registry.commit_upload(session, operation=operation))


def _abort(registry: Registry, request: messages.UploadSession) -> messages.AbortUploadResponse:
    registry.abort_upload(check_session(request.session))
    return messages.AbortUploadResponse()


def _delete(registry: Registry, request: messages.DeleteBundlesRequest) -> messages.TagList:
    tags = list(map(conversion.tag_of, request.tags))
    deleted = registry.delete(tags, force=request.force, operation=check_operation(request.operation))
    return messages.TagList(tags=map(conversion.tag_message, deleted))


def _collect(registry: Registry, request: messages.CollectGarbageRequest) -> messages.Garbage:
    try:
        grace = timedelta(seconds=request.grace_seconds)
    except (OverflowError, ValueError):
        raise UsageError(f"`{request.grace_seconds}` seconds are not a time that garbage can be kept.") from None
    return conversion.garbage_message(registry.collect_garbage(grace=grace, dry_run=request.dry_run))


def _info(registry: Registry, _: messages.GetInfoRequest) -> messages.Info:
    return conversion.info_message(registry.info())


_SINGLE: Mapping[str, Callable[[Registry, Any], Any]] = {
    "GetInfo": _info,
    "Resolve": _reference,
    "SetLabels": _set_labels,
    "ListAliases": _aliases,
    "SetAlias": _set_alias,
    "DeleteAlias": _delete_alias,
    "GetAliasHistory": _alias_history,
    "BeginUpload": _begin_upload,
    "GetUploadUrl": _upload_url,
    "TakeBlob": _take_blob,
    "GetDownloadUrl": _download_url,
    "GetUpload": _upload,
    "CommitUpload": _commit,
    "AbortUpload": _abort,
    "DeleteBundles": _delete,
    "CollectGarbage": _collect,
}


def _list_bundles(registry: Registry, request: messages.Query) -> Iterator[messages.BundleList]:
    records = registry.list_bundles(conversion.query_of(request))
    return conversion.in_portions(
        map(conversion.bundle_message, records), lambda part: messages.BundleList(bundles=part)
    )


def _list_services(registry: Registry, request: messages.ListServicesRequest) -> Iterator[messages.ServiceList]:
    namespace, limit = request.namespace or DEFAULT_NAMESPACE, conversion.optional(request, "limit")
    check_services(request.search, namespace, limit, request.offset)
    services = registry.list_services(request.search, namespace=namespace, limit=limit, offset=request.offset)
    return conversion.in_portions(
        map(conversion.service_message, services), lambda part: messages.ServiceList(services=part)
    )


def _list_files(registry: Registry, request: messages.Tag) -> Iterator[messages.FileList]:
    files = registry.files_of(conversion.tag_of(request))
    return conversion.in_portions(map(conversion.file_message, files), lambda part: messages.FileList(files=part))


_LISTINGS: Mapping[str, Callable[[Registry, Any], Iterator[Any]]] = {
    "ListBundles": _list_bundles,
    "ListFiles": _list_files,
    "ListServices": _list_services,
}


# -- the server

_OPTIONS = [
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients ping while a call lasts
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),  # so that a connection that a machine left behind ends
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # or a second server would get half of the connections
]


class _JoinedPool:
    """The descriptors that reflection shows: of Kappa's own pool, and of the default one, where its own service is."""

    def FindFileByName(self, name: str) -> Any:  # noqa: N802 - as a `DescriptorPool` has it
        return self._first("FindFileByName", name)

    def FindFileContainingSymbol(self, name: str) -> Any:  # noqa: N802
        return self._first("FindFileContainingSymbol", name)

    def FindMessageTypeByName(self, name: str) -> Any:  # noqa: N802
        return self._first("FindMessageTypeByName", name)

    def FindExtensionByNumber(self, message: Any, number: int) -> Any:  # noqa: N802
        return _default_pool().FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Any) -> Any:  # noqa: N802
        return _default_pool().FindAllExtensions(message)

    def _first(self, method: str, name: str) -> Any:
        try:
            return getattr(descriptor_pool(), method)(name)
        except KeyError:
            return getattr(_default_pool(), method)(name)


def _default_pool() -> Any:
    from google.protobuf.descriptor_pool import Default

    return Default()


def _credentials(tls: ServerTls) -> grpc.ServerCredentials:
    client_ca = None if tls.client_ca is None else _content(tls.client_ca, "--tls-client-ca")
    pair = (_content(tls.key, "--tls-key"), _content(tls.cert, "--tls-cert"))
    return grpc.ssl_server_credentials([pair], root_certificates=client_ca, require_client_auth=client_ca is not None)


def _content(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"`{option}` names `{path}`, which cannot be read: {exc.strerror}.") from None
