"""Values of the registry as messages, and back.

What comes from another process is checked here: a message that no client of Kappa's would send raises `UsageError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, TypeVar

from google.protobuf.message import Message

from kappa.gamma.protocols.registry import BundleFile, Commit, Garbage, RegistryInfo, Upload
from kappa.gamma.wire.checks import check_digest, checked_query, checked_reference, checked_tag
from kappa.gamma.wire.proto import messages
from kappa.labels import Requirement, checked_changes
from kappa.spec.store import Alias, AliasChange, BundleRecord, Query, ServiceRecord
from kappa.tag import DEFAULT_NAMESPACE, BundleReference, Tag

__all__ = [
    "alias_message",
    "alias_of",
    "bundle_message",
    "bundle_of",
    "change_message",
    "change_of",
    "commit_message",
    "commit_of",
    "file_message",
    "file_of",
    "garbage_message",
    "garbage_of",
    "in_portions",
    "info_message",
    "info_of",
    "label_changes_message",
    "label_changes_of",
    "optional",
    "query_message",
    "query_of",
    "reference_message",
    "reference_of",
    "service_message",
    "service_of",
    "tag_message",
    "tag_of",
    "upload_message",
    "upload_of",
]

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_PORTION_BYTES = 512 * 1024


def optional(message: Message, field: str) -> Any:
    """Return a field that may be absent: then ``None``."""
    return getattr(message, field) if message.HasField(field) else None


def in_portions(items: Iterable[M], message: Callable[[list[M]], T], *, size: int = _PORTION_BYTES) -> Iterator[T]:
    """Yield messages that hold about ``size`` bytes of items each."""
    portion: list[M] = []
    portion_bytes = 0
    for item in items:
        portion.append(item)
        portion_bytes += item.ByteSize()
        if portion_bytes >= size:
            yield message(portion)
            portion, portion_bytes = [], 0
    if portion:
        yield message(portion)


# -- times, whose class has no methods in a pool of our own


def _write_time(message: Any, time: datetime | None) -> None:
    if time is not None:
        whole = time.astimezone(timezone.utc)
        message.seconds = int(whole.replace(microsecond=0).timestamp())
        message.nanos = whole.microsecond * 1000


def _time_of(message: Any) -> datetime:
    time = datetime.fromtimestamp(message.seconds, timezone.utc)
    return time.replace(microsecond=message.nanos // 1000)


# -- tags, references, queries


def tag_message(tag: Tag) -> messages.Tag:
    return messages.Tag(namespace=tag.namespace, name=tag.name, version=tag.version)


def tag_of(message: messages.Tag) -> Tag:
    return checked_tag(message.namespace or DEFAULT_NAMESPACE, message.name, message.version)


def reference_message(reference: BundleReference) -> messages.Reference:
    return messages.Reference(
        namespace=reference.namespace, name=reference.name, version=reference.version, digest=reference.digest
    )


def reference_of(message: messages.Reference) -> BundleReference:
    reference = BundleReference(
        message.name,
        version=optional(message, "version"),
        digest=optional(message, "digest"),
        namespace=message.namespace or DEFAULT_NAMESPACE,
    )
    return checked_reference(reference)


def query_message(query: Query) -> messages.Query:
    selector = [
        messages.Requirement(key=requirement.key, operator=requirement.operator, values=requirement.values)
        for requirement in query.selector
    ]
    return messages.Query(
        namespace=query.namespace,
        name=query.name,
        version=query.version,
        digest=query.digest,
        selector=selector,
        limit=query.limit,
        offset=query.offset,
        order_by=query.order_by,
        ascending=query.ascending,
        requires=query.requires,
    )


def query_of(message: messages.Query) -> Query:
    query = Query(
        name=optional(message, "name"),
        version=optional(message, "version"),
        digest=optional(message, "digest"),
        selector=tuple(
            Requirement(item.key, item.operator, tuple(item.values))  # type: ignore[arg-type]  # which is checked next
            for item in message.selector
        ),
        limit=optional(message, "limit"),
        offset=message.offset,
        order_by=message.order_by or "created_at",  # type: ignore[arg-type]
        ascending=message.ascending,
        namespace=message.namespace or DEFAULT_NAMESPACE,
        requires=optional(message, "requires"),
    )
    return checked_query(query)


# -- bundles


def bundle_message(record: BundleRecord) -> messages.Bundle:
    message = messages.Bundle(
        tag=tag_message(record.tag),
        uri=record.uri,
        kappa_version=record.kappa_version,
        content_digest=record.content_digest,
        bundle_digest=record.bundle_digest,
        size_bytes=record.size_bytes,
        view_json=json.dumps(dict(record.view), ensure_ascii=False, default=_plain).encode(),
        labels=dict(record.labels),
        packages=[messages.Package(name=name, version=version) for name, version in record.packages],
        aliases=record.aliases,
    )
    _write_time(message.created_at, record.created_at)
    _write_time(message.registered_at, record.registered_at)
    return message


def _plain(value: Any) -> Any:
    """Return a frozen mapping as `json` knows it."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"`{type(value).__name__}` has no form in JSON")


def bundle_of(message: messages.Bundle) -> BundleRecord:
    return BundleRecord(
        tag=Tag(message.tag.name, message.tag.version, message.tag.namespace),
        created_at=_time_of(message.created_at),
        uri=message.uri,
        kappa_version=message.kappa_version,
        content_digest=message.content_digest,
        bundle_digest=message.bundle_digest,
        size_bytes=message.size_bytes,
        view=json.loads(message.view_json),
        labels=dict(sorted(message.labels.items())),  # a map of protobuf has no order
        packages=tuple((package.name, package.version) for package in message.packages),
        registered_at=_time_of(message.registered_at) if message.HasField("registered_at") else None,
        aliases=tuple(message.aliases),
    )


def service_message(service: ServiceRecord) -> messages.Service:
    return messages.Service(latest=bundle_message(service.latest), versions=service.versions)


def service_of(message: messages.Service) -> ServiceRecord:
    return ServiceRecord(bundle_of(message.latest), message.versions)


def file_message(file: BundleFile) -> messages.File:
    return messages.File(
        path=file.path, digest=file.digest, size_bytes=file.size_bytes, is_executable=file.is_executable
    )


def file_of(message: messages.File) -> BundleFile:
    return BundleFile(message.path, check_digest(message.digest), message.size_bytes, message.is_executable)


# -- labels and aliases


def label_changes_message(tag: Tag, changes: Mapping[str, str | None], *, operation: str) -> messages.SetLabelsRequest:
    return messages.SetLabelsRequest(
        tag=tag_message(tag),
        set={key: value for key, value in changes.items() if value is not None},
        remove=[key for key, value in changes.items() if value is None],
        operation=operation,
    )


def label_changes_of(message: messages.SetLabelsRequest) -> dict[str, str | None]:
    return checked_changes({**message.set, **dict.fromkeys(message.remove)})


def alias_message(alias: Alias) -> messages.Alias:
    message = messages.Alias(namespace=alias.namespace, name=alias.name, alias=alias.alias, version=alias.version)
    _write_time(message.changed_at, alias.changed_at)
    return message


def alias_of(message: messages.Alias) -> Alias:
    return Alias(message.name, message.alias, message.version, _time_of(message.changed_at), message.namespace)


def change_message(change: AliasChange) -> messages.AliasChange:
    message = messages.AliasChange(
        namespace=change.namespace,
        name=change.name,
        alias=change.alias,
        previous=change.previous,
        version=change.version,
        changed_by=change.changed_by,
    )
    _write_time(message.changed_at, change.changed_at)
    return message


def change_of(message: messages.AliasChange) -> AliasChange:
    return AliasChange(
        name=message.name,
        alias=message.alias,
        previous=optional(message, "previous"),
        version=optional(message, "version"),
        changed_at=_time_of(message.changed_at),
        changed_by=message.changed_by,
        namespace=message.namespace,
    )


# -- uploads and what is left of them


def upload_message(upload: Upload) -> messages.Upload:
    message = messages.Upload(
        session=upload.session,
        missing=dict(upload.missing),
        bundle=bundle_message(upload.record) if upload.record is not None else None,
    )
    _write_time(message.expires_at, upload.expires_at)
    return message


def upload_of(message: messages.Upload) -> Upload:
    return Upload(
        session=message.session,
        missing=dict(message.missing),
        expires_at=_time_of(message.expires_at) if message.HasField("expires_at") else None,
        record=bundle_of(message.bundle) if message.HasField("bundle") else None,
    )


def commit_message(commit: Commit) -> messages.Commit:
    return messages.Commit(bundle=bundle_message(commit.record), is_latest=commit.is_latest, was_there=commit.was_there)


def commit_of(message: messages.Commit) -> Commit:
    return Commit(bundle_of(message.bundle), is_latest=message.is_latest, was_there=message.was_there)


def garbage_message(garbage: Garbage) -> messages.Garbage:
    return messages.Garbage(
        blobs=garbage.blobs, size_bytes=garbage.size_bytes, uploads=garbage.uploads, is_removed=garbage.is_removed
    )


def garbage_of(message: messages.Garbage) -> Garbage:
    return Garbage(message.blobs, message.size_bytes, message.uploads, is_removed=message.is_removed)


def info_message(info: RegistryInfo) -> messages.Info:
    return messages.Info(
        kappa_version=info.kappa_version,
        has_authentication=info.has_authentication,
        direct_transfer=info.direct_transfer,
    )


def info_of(message: messages.Info) -> RegistryInfo:
    return RegistryInfo(
        message.kappa_version,
        has_authentication=message.has_authentication,
        direct_transfer=message.direct_transfer,
    )
