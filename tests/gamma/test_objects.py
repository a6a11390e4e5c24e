"""Object stores: which one a URL names, and what is left when one fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kappa.errors import (
    BundleError,
    BundleNotFoundError,
    ConfigurationError,
    GammaError,
    MissingDependencyError,
    UsageError,
)
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.protocols.storage import BundleStorage
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.gamma.storages.objects import ObjectStorage
from kappa.gamma.storages.opening import open_storage
from kappa.log import Kind, listening
from kappa.tag import BundleReference, Tag
from tests.gamma.s3 import CREDENTIALS, FaultyProxy, environment, make_bucket
from tests.gamma.sealed import pull, push, seal, write_missing

MODEL = "Iris/artifacts/model/model.bin"
BIG = bytes(range(256)) * (80 << 10)  # 20 MiB: three parts

engine_s3 = [pytest.mark.engine, pytest.mark.s3]


# -- what is in a store ------------------------------------------------------------------------------------------------


def test_what_lies_in_the_store_alone_is_no_bundle(tmp_path: Path) -> None:
    storage = open_storage("memory://", environ={"KAPPA_HOME": str(tmp_path)})
    first, second = (GammaService(storage, sqlite_url(tmp_path / f"{name}.db")) for name in ("first", "second"))
    push(first, seal())
    with pytest.raises(BundleNotFoundError, match="the store is empty"):
        second.resolve(BundleReference("Iris", "1"))
    assert pull(first, Tag("Iris", "1")) == seal().contents
    first.close()
    second.close()


def test_an_object_appears_only_when_its_blob_is_whole(tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/objects", environ={"KAPPA_HOME": str(tmp_path / "home")})
    service = GammaService(storage, sqlite_url(tmp_path / "storage.db"))
    bundle = seal(contents={MODEL: BIG})
    digest = next(file.digest for file in bundle.files if file.path == MODEL)
    upload = service.begin_upload(bundle.manifest, bundle.files, operation="1")
    digits = digest.removeprefix("sha256:")
    assert service.write_blob(upload.session, digest, 0, [BIG[: 15 << 20]]) == 15 << 20
    assert list((tmp_path / "objects").rglob(f"{digits}*")) == []
    write_missing(service, bundle, service.upload_state(upload.session))
    assert [path.name for path in (tmp_path / "objects").rglob(f"{digits}*")] == [digits]
    service.close()


# -- URLs --------------------------------------------------------------------------------------------------------------


def test_a_path_is_a_folder_of_trees_and_a_url_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    environ = {"KAPPA_HOME": str(tmp_path)}
    assert isinstance(open_storage(str(tmp_path / "trees"), environ=environ), DirectoryStorage)
    for url in (f"file://{tmp_path}/objects", "memory://", "s3://bucket/a/b", "az://container/a"):
        storage = open_storage(url, environ={**environ, **CREDENTIALS})
        assert isinstance(storage, ObjectStorage)
        assert storage.location == url
    assert not (tmp_path / "trees").exists()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://host/x", "is not where bundles can be kept: use a path, `s3://`, `gs://`, `az://`, `file://`"),
        ("s3://", "`s3://` names no bucket"),
        ("file://", "`file://` names no folder"),
    ],
)
def test_a_url_that_names_no_storage_is_refused(url: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        open_storage(url)


def test_an_environment_that_lacks_something_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConfigurationError, match=r"`az://container` cannot be used: .*Account must be specified"):
        open_storage("az://container", environ={"KAPPA_HOME": str(tmp_path)})


def test_a_secret_in_a_url_is_not_shown() -> None:
    with pytest.raises(UsageError) as refusal:
        open_storage("ftp://user:hunter2@host/x")
    assert "hunter2" not in str(refusal.value)


def test_without_its_client_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(MissingDependencyError, match=r"kappa-ml\[gamma\]"):
        open_storage(f"file://{tmp_path}/objects", environ={"KAPPA_HOME": str(tmp_path)})


@pytest.mark.parametrize("is_installed", [True, False])
def test_files_of_aws_are_read_by_boto3_or_said_to_be_ignored(
    is_installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("[mine]\naws_access_key_id = A\naws_secret_access_key = B\n")
    for name, value in {"AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_PROFILE": "mine"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if is_installed else None)
    messages: list[str] = []

    def listen(message: str, kind: Kind) -> None:
        messages.append(message)

    with listening(listen):
        open_storage("s3://bucket", environ={**os.environ, "KAPPA_HOME": str(tmp_path)})
    ignored = ["`AWS_PROFILE=mine` is ignored: reading it needs boto3."]
    assert [message.partition(" Run")[0] for message in messages] == ([] if is_installed else ignored)


# -- stores that fail --------------------------------------------------------------------------------------------------

Fault = Callable[[str, str], str]


@pytest.fixture
def proxy(s3: str) -> FaultyProxy:
    return FaultyProxy(s3)


@pytest.fixture
def behind(proxy: FaultyProxy, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GammaService]:
    """Open a registry on a bucket behind the proxy; it waits for a second, and not for half a minute."""
    monkeypatch.setattr("kappa.gamma.storages.opening.IDLE", timedelta(seconds=1))
    with proxy.running() as endpoint:
        environ = {"KAPPA_HOME": str(tmp_path / "home"), **environment(endpoint)}
        storage = open_storage(f"s3://{make_bucket(s3)}", environ=environ)
        service = GammaService(storage, sqlite_url(tmp_path / "storage.db"))
        yield service
        service.close()


def every(number: int, fault: str) -> Fault:
    """Let every so many requests fail."""
    numbers = count(1)
    return lambda method, path: fault if next(numbers) % number == 0 else ""


@pytest.mark.engine
@pytest.mark.s3
@pytest.mark.parametrize("fault", ["500", "half", "nothing", "silent", "drops"])
def test_a_store_that_fails_now_and_then_loses_nothing(fault: str, behind: GammaService, proxy: FaultyProxy) -> None:
    bundle = seal(contents={MODEL: BIG, "a.txt": b"a", "b.txt": b"b" * 2_000_000})
    proxy.fault = every(6 if fault in ("half", "silent") else 3, fault)  # a half answer to POST is not asked for again
    push(behind, bundle)
    assert pull(behind, bundle.tag) == bundle.contents
    assert len([kind for _, _, kind in proxy.requests if kind == fault]) > 2


@pytest.mark.engine
@pytest.mark.s3
def test_a_store_that_only_fails_is_an_error_and_the_upload_goes_on_afterwards(
    behind: GammaService, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = seal(contents={MODEL: BIG})
    digest = next(file.digest for file in bundle.files if file.path == MODEL)
    upload = behind.begin_upload(bundle.manifest, bundle.files, operation="1")
    proxy.fault = lambda method, path: "500" if "partNumber" in path else ""
    with pytest.raises(GammaError, match=r"The object store `s3://bucket-.*` failed: "):
        behind.write_blob(upload.session, digest, 0, [BIG])
    proxy.fault = lambda method, path: ""
    state = behind.upload_state(upload.session)
    assert state.missing.get(digest, len(BIG)) > 0  # what had arrived whole before the failure is taken now
    write_missing(behind, bundle, state)
    behind.commit_upload(upload.session, operation="2")
    assert pull(behind, bundle.tag) == bundle.contents


@pytest.mark.engine
@pytest.mark.s3
def test_a_broken_transfer_becomes_no_object(behind: GammaService, proxy: FaultyProxy) -> None:
    bundle = seal(contents={MODEL: BIG})
    digest = next(file.digest for file in bundle.files if file.path == MODEL)
    upload = behind.begin_upload(bundle.manifest, bundle.files, operation="1")
    assert behind.write_blob(upload.session, digest, 0, [BIG[: 15 << 20]]) == 15 << 20
    completed = [path for method, path, _ in proxy.requests if method == "POST" and "uploadId" in path]
    assert completed == []
    assert any(method == "DELETE" and "uploadId" in path for method, path, _ in proxy.requests)


@pytest.mark.engine
@pytest.mark.s3
def test_a_blob_of_another_size_in_the_store_is_an_error(s3: str, tmp_path: Path) -> None:
    import obstore
    from obstore.store import S3Store

    environ = {"KAPPA_HOME": str(tmp_path / "home"), **environment(s3)}
    bucket = make_bucket(s3)
    service = GammaService(open_storage(f"s3://{bucket}", environ=environ), sqlite_url(tmp_path / "storage.db"))
    bundle = seal()
    push(service, bundle)
    digest = next(file.digest for file in bundle.files if file.path == MODEL)
    options: Any = {"allow_http": True}
    raw = S3Store(
        bucket,
        endpoint=s3,
        client_options=options,
        access_key_id="S3RVER",
        secret_access_key="S3RVER",
        region="us-east-1",
    )
    digits = digest.removeprefix("sha256:")
    obstore.put(raw, f"blobs/{digits[:2]}/{digits}", b"short")
    with pytest.raises(BundleError, match="has 5 bytes and not 6000"):
        service.read_blob(Tag("Iris", "1"), digest)
    service.close()


@pytest.mark.engine
@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_said(s3: str, tmp_path: Path) -> None:
    environ = {"KAPPA_HOME": str(tmp_path / "home"), **environment(s3)}
    storage = open_storage("s3://no-such-bucket", environ=environ)
    with pytest.raises(GammaError, match=r"`s3://no-such-bucket` failed: .*NoSuchBucket"):
        storage.check()


@pytest.mark.engine
@pytest.mark.s3
def test_credentials_that_are_not_there_are_said(
    s3: str, proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.fault = lambda method, path: "403"
    with proxy.running() as metadata_of_no_role:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata_of_no_role)
        storage = open_storage("s3://bucket", environ={"KAPPA_HOME": str(tmp_path), "AWS_ENDPOINT_URL": s3})
        with pytest.raises(GammaError, match=r"there are no credentials. Set `AWS_ACCESS_KEY_ID`"):
            storage.check()


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["directory", "file"])
def full(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BundleStorage:
    """Return a storage whose file system has room for a megabyte."""
    from io import FileIO

    class Disk(FileIO):
        def write(self, data: Any) -> int:
            room = (1 << 20) - os.fstat(self.fileno()).st_size
            if room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(memoryview(data)[:room])

    monkeypatch.setattr("kappa.gamma.storages.spool.FileIO", Disk)
    url = str(tmp_path / "repository") if request.param == "directory" else f"file://{tmp_path}/objects"
    return open_storage(url, environ={"KAPPA_HOME": str(tmp_path / "home")})


def test_a_full_disk_is_said_and_the_transfer_goes_on_when_there_is_room(
    full: BundleStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = GammaService(full, sqlite_url(tmp_path / "storage.db"))
    bundle = seal(contents={MODEL: BIG[: 3 << 20]})
    digest = next(file.digest for file in bundle.files if file.path == MODEL)
    upload = service.begin_upload(bundle.manifest, bundle.files, operation="1")
    with pytest.raises(GammaError, match=r"cannot write to `.*`: No space left on device"):
        service.write_blob(upload.session, digest, 0, [BIG[: 3 << 20]])
    monkeypatch.undo()
    assert service.upload_state(upload.session).missing[digest] == 1 << 20
    write_missing(service, bundle, service.upload_state(upload.session))
    service.commit_upload(upload.session, operation="2")
    assert pull(service, bundle.tag) == bundle.contents
    service.close()
