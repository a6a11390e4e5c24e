"""Archives of bundles: the same bundle makes the same archive, and what is not a whole bundle is refused unread."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa._files import sha256_of_bytes
from kappa.errors import BundleError, DestinationExistsError, UsageError
from kappa.gamma.transfer.archives import read_archive, write_archive
from kappa.services.bundle import open_bundle
from kappa.spec.manifest import read_manifest
from kappa.spec.portable_paths import clash_in, why_not_portable
from tests.gamma.sealed import write_bundle

Member = tuple[str, bytes]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", "Iris", "1.0", {"Iris/model.bin": b"m" * 5000, "setup.sh": b"#!/bin/sh\n"})


@pytest.fixture
def archive(bundle: Path, tmp_path: Path) -> Path:
    write_archive(bundle, tmp_path / "iris.kappa")
    return tmp_path / "iris.kappa"


def members_of(archive: Path) -> list[Member]:
    with tarfile.open(archive) as tar:
        return [(member.name, file.read()) for member in tar if (file := tar.extractfile(member)) is not None]


def write_tar(path: Path, members: list[Member], *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for entry in more:
            tar.addfile(entry)
    return path


def test_a_bundle_comes_out_as_it_went_in(bundle: Path, archive: Path, tmp_path: Path) -> None:
    (bundle / "setup.sh").chmod(0o755)
    seen: list[tuple[int, int]] = []
    write_archive(bundle, archive, is_replaced=True, on_progress=lambda done, total: seen.append((done, total)))
    manifest = read_archive(archive, tmp_path / "out")
    copy = open_bundle(tmp_path / "out")
    copy.verify()
    assert manifest.bundle_digest == copy.digest == open_bundle(bundle).digest
    assert (tmp_path / "out" / "setup.sh").stat().st_mode & 0o777 == 0o755
    assert seen[-1][0] == seen[-1][1] > 5000


def test_the_same_bundle_makes_the_same_archive(bundle: Path, archive: Path, tmp_path: Path) -> None:
    read_archive(archive, tmp_path / "copy")
    write_archive(tmp_path / "copy", tmp_path / "again.kappa")
    assert (tmp_path / "again.kappa").read_bytes() == archive.read_bytes()


def test_a_changed_bundle_is_not_written(bundle: Path, tmp_path: Path) -> None:
    (bundle / "Iris" / "model.bin").write_bytes(b"other")
    with pytest.raises(BundleError, match="was changed"):
        write_archive(bundle, tmp_path / "iris.kappa")
    assert not (tmp_path / "iris.kappa").exists()


def test_a_file_that_is_there_is_not_overwritten(bundle: Path, archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(DestinationExistsError, match="nothing was written"):
        write_archive(bundle, archive)
    assert archive.read_bytes() == before
    assert sorted(path.name for path in archive.parent.iterdir()) == ["bundle", "iris.kappa"]


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "a//b", "./a", "C:evil", "a\\..\\evil", "a\x00b", "a\nb", "x" * 300]
)
def test_a_name_that_must_not_be_written_is_refused(archive: Path, tmp_path: Path, name: str) -> None:
    hostile = write_tar(tmp_path / "h.kappa", [*members_of(archive), (name, b"evil")])
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(BundleError):
        read_archive(hostile, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "a\\..\\evil"])
def test_not_even_a_manifest_that_names_it_lets_a_file_out_of_the_folder(
    bundle: Path, archive: Path, tmp_path: Path, name: str
) -> None:
    honest = read_manifest(bundle)
    forged = honest.model_copy(update={"files": {**honest.files, name: sha256_of_bytes(b"evil")}}).sealed()
    text = forged.to_yaml().encode()
    members = changed(changed(members_of(archive), "kappa.yml", text), "Iris/kappa.yml", text)
    hostile = write_tar(tmp_path / "h.kappa", [*members, (name, b"evil")])
    with pytest.raises(BundleError, match="nothing was unpacked"):
        read_archive(hostile, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "h.kappa", "iris.kappa"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE], ids=repr
)
def test_what_is_not_a_plain_file_is_refused(archive: Path, tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("Iris/link")
    entry.type, entry.linkname = kind, "/etc/passwd"
    hostile = write_tar(tmp_path / "h.kappa", members_of(archive), entry)
    with pytest.raises(BundleError, match="is not a plain file; nothing was unpacked"):
        read_archive(hostile, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def changed(members: list[Member], name: str, content: bytes) -> list[Member]:
    return [(path, content if path == name else old) for path, old in members]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda members: members[:-1], "is missing; nothing was unpacked", id="missing"),
        pytest.param(lambda members: [*members, ("more", b"")], "its manifest does not name", id="added"),
        pytest.param(lambda members: [*members, members[-1]], "twice; nothing was unpacked", id="twice"),
        pytest.param(lambda members: members[::-1], "does not begin with a manifest", id="order"),
        pytest.param(
            lambda members: changed(members, "Iris/model.bin", b"m" * 4999 + b"x"), "is not what its", id="bytes"
        ),
        pytest.param(
            lambda members: changed(members, "Iris/kappa.yml", b"a: 1\n"), "was changed", id="second manifest"
        ),
        pytest.param(lambda members: changed(members, "kappa.yml", b"a: 1\n"), "no `schema_version`", id="manifest"),
        pytest.param(lambda members: changed(members, "kappa.yml", b" " * (1 << 21)), "more than", id="large manifest"),
        pytest.param(lambda members: [], "does not begin with a manifest", id="nothing"),
    ],
)
def test_what_is_not_the_bundle_of_its_manifest_is_refused(
    archive: Path, tmp_path: Path, change: Callable[[list[Member]], list[Member]], message: str
) -> None:
    hostile = write_tar(tmp_path / "h.kappa", change(members_of(archive)))
    with pytest.raises(BundleError, match=message):
        read_archive(hostile, tmp_path / "out")


def test_an_archive_that_is_cut_anywhere_is_refused(archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    cut = tmp_path / "cut.kappa"
    with tarfile.open(archive) as tar:
        last = max(member.offset_data + member.size for member in tar)
    for number, size in enumerate(range(0, last, 997)):
        cut.write_bytes(content[:size])
        with pytest.raises(BundleError):
            read_archive(cut, tmp_path / f"out{number}")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b" + b"\x00" * 600])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.kappa").write_bytes(content)
    with pytest.raises(BundleError, match=r"not an archive that `kappa export` wrote|is damaged"):
        read_archive(tmp_path / "x.kappa", tmp_path / "out")


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_archive(tmp_path / "x.kappa", tmp_path / "out")


@given(path=st.text(st.sampled_from("a./\\:\n\x00é"), max_size=12))
def test_a_path_that_may_be_written_stays_in_its_folder(path: str) -> None:
    if why_not_portable(path):
        return
    folder = Path("/a/folder")
    joined = folder / path
    assert joined.is_relative_to(folder)
    assert ".." not in joined.parts
    assert joined.relative_to(folder).as_posix() == path


def test_a_path_that_is_a_file_and_a_folder_is_found() -> None:
    assert clash_in(["a", "b/c"]) == ""
    assert clash_in(["a/b", "a"]) == "a/b"
