"""Bundles as written: complete, the same bytes for the same inputs, and all or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from kappa._version import __version__
from kappa.build.bundle import builder
from kappa.build.bundle.builder import build_bundle, build_time
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.packages.lock import Lock
from kappa.build.packages.wheel import kappa_wheel
from kappa.build.project import Project
from kappa.bundle import load
from kappa.errors import BuildError, BundleError, ConfigurationError, DestinationExistsError
from kappa.log import listening
from kappa.services.bundle import open_bundle
from kappa.spec.document import ArtifactSource
from kappa.spec.manifest import BundleManifest, ResolvedArtifact, ResolvedEnv, content_digest, read_manifest
from kappa.spec.platforms import running_platform

WriteProject = Callable[..., Project]
SeedLock = Callable[..., Lock]

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
WHEEL = kappa_wheel().name


def built(plan: BuildPlan, destination: Path, **environ: str) -> BundleManifest:
    return build_bundle(plan, destination, environ={**os.environ, **environ}).manifest


def tree_of(root: Path) -> dict[str, tuple[str, int, int]]:
    """Return digest, mode and time of everything below a folder."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[path.relative_to(root).as_posix()] = (digest, stat.S_IMODE(status.st_mode), int(status.st_mtime))
    return found


def test_bundle_holds_what_the_design_says_and_nothing_else(plan: BuildPlan, tmp_path: Path) -> None:
    built(plan, tmp_path / "bundle")
    files = {path for path in tree_of(tmp_path / "bundle") if (tmp_path / "bundle" / path).is_file()}
    assert files == {
        ".dockerignore",
        "Dockerfile",
        "MANIFEST.in",
        "README.md",
        "docker-entrypoint.sh",
        "docs.json",
        "kappa-init.sh",
        "kappa.yml",
        "python_version",
        "requirements.txt",
        "setup.py",
        "Greeter/__init__.py",
        "Greeter/kappa.yml",
        "Greeter/handlers.py",
        "Greeter/wording/__init__.py",
        f"Greeter/_kappa/{WHEEL}",
        f"Greeter/artifacts/words/{plan.artifacts[0].plugin.filename}",
    }


def test_manifest_says_what_was_built(plan: BuildPlan, tmp_path: Path) -> None:
    planned = replace(plan, version="1.0", labels={"team": "growth"})
    manifest = built(planned, tmp_path / "bundle", **EPOCH)
    bundle = tmp_path / "bundle"
    assert (bundle / "kappa.yml").read_bytes() == (bundle / "Greeter" / "kappa.yml").read_bytes()
    assert read_manifest(bundle) == manifest
    model = bundle / "Greeter" / "artifacts" / "words" / plan.artifacts[0].plugin.filename
    expected = BundleManifest(
        kappa_version=__version__,
        version="1.0",
        created_at="2023-11-14T22:13:20.000000Z",
        service=plan.spec,
        env=ResolvedEnv(
            python_version=plan.lock_inputs.python,
            built_with_python=platform.python_version(),
            docker_base_image=plan.base_image,
            requirements=plan.lock_inputs.requirements,
            resolver="pip-compile 7.6",
            platforms=(running_platform(),),
        ),
        artifacts=(ResolvedArtifact(name="words", metadata={"languages": 2}, size_bytes=model.stat().st_size),),
        labels={"team": "growth"},
        content_digest=manifest.content_digest,
        files=manifest.files,
    ).sealed()
    assert manifest == expected
    assert set(manifest.files) == {
        path for path in tree_of(bundle) if (bundle / path).is_file() and Path(path).name != "kappa.yml"
    }


def test_version_is_the_time_and_the_content(plan: BuildPlan, tmp_path: Path) -> None:
    manifest = built(plan, tmp_path / "bundle", **EPOCH)
    content = ["Greeter/handlers.py", "Greeter/wording/__init__.py", "requirements.txt"]
    content += [path for path in manifest.files if path.startswith("Greeter/artifacts/")]
    digest = content_digest({path: manifest.files[path] for path in content}, plan.spec)
    assert manifest.content_digest == digest
    assert manifest.version == f"20231114221320_{digest[7:13].upper()}"


def test_labels_and_version_leave_the_content_digest_alone(plan: BuildPlan, tmp_path: Path) -> None:
    first = built(plan, tmp_path / "first", **EPOCH)
    second = built(replace(plan, labels={"team": "growth"}, version="2"), tmp_path / "second", SOURCE_DATE_EPOCH="1")
    assert second.content_digest == first.content_digest
    assert second.bundle_digest != first.bundle_digest


@pytest.mark.parametrize("changed", ["handlers.py", "words.json"])
def test_changed_content_has_another_digest(
    write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path, changed: str
) -> None:
    digests = set()
    for folder in ("one", "two"):
        project = write_project(folder=folder)
        if folder == "two":
            with (project.root / changed).open("a") as file:
                file.write(" ")
        plan = plan_build(project, version=None, labels={}, environ=os.environ)
        seed_lock(plan)
        digests.add(built(plan, tmp_path / f"bundle-{folder}", **EPOCH).content_digest)
    assert len(digests) == 2


def test_same_inputs_are_the_same_bytes_from_any_folder_and_with_any_umask(
    write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path
) -> None:
    trees = []
    for folder, mask in (("one", 0o022), ("deep/er/zwei", 0o077)):
        old = os.umask(mask)
        try:
            project = write_project(folder=folder)
            os.utime(project.root / "handlers.py", (len(folder), len(folder)))
            plan = plan_build(project, version=None, labels={}, environ=os.environ)
            seed_lock(plan)
            built(plan, tmp_path / f"bundle-{mask}", **EPOCH)
        finally:
            os.umask(old)
        trees.append(tree_of(tmp_path / f"bundle-{mask}"))
    assert trees[0] == trees[1]
    assert {moment for _, _, moment in trees[0].values()} == {1700000000}


def test_modes_are_plain_but_for_what_can_be_run(
    write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path
) -> None:
    tools = {"tools/run": "#!/bin/sh\n", "tools/data": "x"}
    project = write_project(more='\n[bundle]\ninclude = ["tools/*"]\n[env]\nsetup_sh = "#!/bin/sh"\n', files=tools)
    (project.root / "tools" / "run").chmod(0o700)
    (project.root / "tools" / "data").chmod(0o600)
    plan = plan_build(project, version=None, labels={}, environ=os.environ)
    seed_lock(plan)
    built(plan, tmp_path / "bundle")
    modes = {path: mode for path, (_, mode, _) in tree_of(tmp_path / "bundle").items()}
    assert {path for path, mode in modes.items() if mode == 0o755 and (tmp_path / "bundle" / path).is_file()} == {
        "Greeter/tools/run",
        "docker-entrypoint.sh",
        "kappa-init.sh",
        "setup.sh",
    }
    assert set(modes.values()) == {0o644, 0o755}
    assert stat.S_IMODE((tmp_path / "bundle").stat().st_mode) == 0o755


def test_nothing_in_a_bundle_says_where_it_was_built(plan: BuildPlan, tmp_path: Path) -> None:
    built(plan, tmp_path / "bundle")
    places = [str(tmp_path).encode(), str(Path(__file__).parents[3]).encode(), str(Path.home()).encode()]
    files = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file() and path.suffix != ".whl"]
    assert [(path.name, place) for path in files for place in places if place in path.read_bytes()] == []


@pytest.mark.usefixtures("fresh_modules")
def test_moved_bundle_verifies_loads_and_answers(plan: BuildPlan, tmp_path: Path) -> None:
    built(plan, tmp_path / "bundle")
    moved = tmp_path / "elsewhere" / "b"
    moved.parent.mkdir()
    (tmp_path / "bundle").rename(moved)
    open_bundle(moved).verify()
    service: Any = load(moved)
    assert service.greet({"name": "Ada", "language": "de"}) == "Guten Tag, Ada"


def test_changed_added_and_missing_files_are_found(plan: BuildPlan, tmp_path: Path) -> None:
    built(plan, tmp_path / "bundle")
    bundle = tmp_path / "bundle"
    (bundle / "Greeter" / "handlers.py").write_text("import os")
    (bundle / "python_version").unlink()
    (bundle / "Greeter" / "more.py").touch()
    (bundle / "Greeter" / "__pycache__").mkdir()
    (bundle / "Greeter" / "__pycache__" / "x.pyc").touch()
    (bundle / "dist").mkdir()
    (bundle / "dist" / "x.tar.gz").touch()
    with pytest.raises(BundleError) as raised:
        open_bundle(bundle).verify()
    assert str(raised.value).endswith(
        "is not as it was built: `python_version` is missing; `Greeter/more.py` was added; `Greeter/handlers.py` was "
        "changed."
    )


def test_changed_manifest_is_found(plan: BuildPlan, tmp_path: Path) -> None:
    built(plan, tmp_path / "bundle")
    manifest = tmp_path / "bundle" / "kappa.yml"
    manifest.write_text(manifest.read_text().replace("Greets whoever", "Insults whoever"))
    with pytest.raises(BundleError, match=r"`kappa.yml` was changed"):
        open_bundle(tmp_path / "bundle").verify()


def test_set_up_script_examples_and_openapi_document_are_packed(
    write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path
) -> None:
    project = write_project(
        more=(
            '\n[env]\nsetup_sh = "setup.sh"\nsecrets = ["TOKEN"]\n[[examples]]\nname = "Ada"\napi = "greet"\n'
            'input_file = "samples/ada.json"\n[[examples]]\nname = "Bob"\napi = "greet"\ninput = { name = "Bob\'s" }\n'
        ),
        files={"setup.sh": "echo hi", "samples/ada.json": '{"name": "Ada"}'},
    )
    plan = plan_build(project, version="1.0", labels={}, environ=os.environ)
    seed_lock(plan)
    built(plan, tmp_path / "bundle")
    bundle = tmp_path / "bundle"
    assert (bundle / "setup.sh").read_text() == "echo hi\n"
    assert (bundle / "examples" / "samples" / "ada.json").read_text() == '{"name": "Ada"}'
    assert "COPY setup.sh ./" in (bundle / "Dockerfile").read_text()
    assert "graft examples" in (bundle / "MANIFEST.in").read_text()
    assert """--data '{"name": "Bob'"'"'s"}'""" in (bundle / "README.md").read_text()
    document = json.loads((bundle / "docs.json").read_text())
    assert (document["openapi"], document["info"]["version"]) == ("3.1.0", "1.0")


def test_lock_and_its_pins_travel(write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path) -> None:
    plan = plan_build(write_project(), version=None, labels={}, environ=os.environ)
    lock = seed_lock(plan, 'apple==1.0 ; sys_platform != "win32" \\\n    --hash=sha256:00\n')
    built(plan, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "requirements.txt").read_text() == lock.text
    assert """'apple==1.0 ; sys_platform != "win32"',""" in (tmp_path / "bundle" / "setup.py").read_text()


@pytest.mark.usefixtures("fresh_modules")
def test_model_packed_from_python_is_saved_by_its_type(
    write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path
) -> None:
    words = {"en": "Hi, "}
    project = replace(write_project(), sources={"words": ArtifactSource(value=words, metadata={"n": 1})})
    plan = plan_build(project, version=None, labels={}, environ=os.environ)
    seed_lock(plan)
    manifest = built(plan, tmp_path / "bundle")
    service: Any = load(tmp_path / "bundle")
    assert service.greet({"name": "Ada", "language": "en"}) == "Hi, Ada"
    assert manifest.artifacts[0].metadata == {"n": 1}


def test_model_that_cannot_be_saved_leaves_nothing(
    write_project: WriteProject, seed_lock: SeedLock, tmp_path: Path
) -> None:
    project = replace(write_project(), sources={"words": ArtifactSource(value={1, 2})})
    plan = plan_build(project, version=None, labels={}, environ=os.environ)
    seed_lock(plan)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BuildError, match="The model of the artifact `words` cannot be kept as `json`: "):
        built(plan, tmp_path / "bundle")
    assert sorted(tmp_path.iterdir()) == before


def test_warnings_of_the_plan_are_said(plan: BuildPlan, tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    with listening(lambda message, kind: heard.append((kind, message))):
        built(replace(plan, warnings=("Mind the gap.",)), tmp_path / "bundle")
    assert heard[0] == ("warning", "Mind the gap.")


# -- the destination ---------------------------------------------------------------------------------------------------


def test_empty_folder_is_a_destination(plan: BuildPlan, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    built(plan, tmp_path / "bundle")
    open_bundle(tmp_path / "bundle").verify()


def test_folders_above_the_destination_are_made(plan: BuildPlan, tmp_path: Path) -> None:
    built(plan, tmp_path / "a" / "b" / "bundle")
    open_bundle(tmp_path / "a" / "b" / "bundle").verify()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_destination_that_holds_something_is_left_alone(plan: BuildPlan, tmp_path: Path, kind: str) -> None:
    destination = tmp_path / "bundle"
    kept = destination if kind == "file" else destination / "mine.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DestinationExistsError, match="exists and is not an empty folder; nothing was written"):
        built(plan, destination)
    assert kept.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == before


def test_destination_that_is_taken_during_the_build_is_left_alone(
    plan: BuildPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = type(plan.artifacts[0].plugin)
    adopt = artifact.adopt

    def slow_adopt(self: Any, path: Path, directory: Path) -> None:
        adopt(self, path, directory)
        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle" / "theirs.txt").touch()

    monkeypatch.setattr(artifact, "adopt", slow_adopt)
    with pytest.raises(DestinationExistsError):
        built(plan, tmp_path / "bundle")
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["theirs.txt"]
    assert list(tmp_path.glob(".bundle.staging-*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of resources are POSIX")
def test_write_that_fails_leaves_nothing(plan: BuildPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python takes a cut file of its bytecode for a whole one
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    before = sorted(tmp_path.iterdir())
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))  # Kappa's wheel is larger
    try:
        with pytest.raises(BuildError) as raised:
            built(plan, tmp_path / "bundle")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert f"`{tmp_path / 'bundle'}` could not be built: {os.strerror(errno.EFBIG)}" in str(raised.value)
    assert str(raised.value).endswith("Nothing was left behind.")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_folder_that_may_not_be_written_is_told(plan: BuildPlan, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(BuildError, match="Permission denied"):
        built(plan, tmp_path / "locked" / "bundle")


KILLED = """
import os, signal, sys
from pathlib import Path
from kappa.build.bundle import builder
from kappa.build.bundle import writer
from kappa.build.bundle.plan import plan_build
from kappa.build.project import read_project

def kill(self, at):
    os.kill(os.getpid(), signal.SIGKILL)

writer.BundleTree.settle = kill
plan = plan_build(read_project(Path(sys.argv[1])), version=None, labels={}, environ=os.environ)
builder.build_bundle(plan, Path(sys.argv[2]), environ=os.environ)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_killed_build_leaves_only_a_staging_folder_that_a_later_build_removes(plan: BuildPlan, tmp_path: Path) -> None:
    place = tmp_path / "place"
    command = [sys.executable, "-c", KILLED, str(plan.project.root), str(place / "bundle")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (staging,) = place.iterdir()
    assert staging.name.startswith(".bundle.staging-")
    built(plan, place / "bundle")
    assert sorted(place.iterdir()) == [staging, place / "bundle"]
    yesterday = time.time() - 25 * 3600
    os.utime(staging, (yesterday, yesterday))
    shutil.rmtree(place / "bundle")
    built(plan, place / "bundle")
    assert sorted(place.iterdir()) == [place / "bundle"]


def test_manifest_that_nobody_could_read_is_refused(
    plan: BuildPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "MAX_SIZE_BYTES", 2000)
    with pytest.raises(BuildError, match=r"no more than 2000 can be read: pack fewer files"):
        built(plan, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


# -- time --------------------------------------------------------------------------------------------------------------


def test_time_is_now_or_what_the_environment_says() -> None:
    moment = datetime(2026, 11, 22, 10, 12, 22, 500, tzinfo=timezone.utc)
    assert build_time({}, clock=lambda: moment) == moment
    assert build_time({"SOURCE_DATE_EPOCH": ""}, clock=lambda: moment) == moment
    assert build_time(EPOCH) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)


@pytest.mark.parametrize("text", ["yesterday", "1.5", "9" * 30])
def test_time_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"must be a number of seconds, not `{text}`"):
        build_time({"SOURCE_DATE_EPOCH": text})
