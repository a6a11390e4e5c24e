"""A bundle is what its digest says: nothing that somebody puts beside its files is read, run, served or installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import _bootstrap_external
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

from kappa import load
from kappa.actions.serving import serve_bundle
from kappa.actions.store import verify_bundles
from kappa.actions.targets import BundleTarget, open_target
from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import BuildPlan
from kappa.errors import BundleError
from kappa.server.options import ServerOptions
from kappa.services.bundle import open_bundle
from kappa.services.service import load_service

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="links and named pipes are those of POSIX"),
    pytest.mark.usefixtures("fresh_modules"),
]

EVIL = (
    "import os\n\n\ndef greet(person, words):\n    return 'EVIL'\n\n\ndef polite(words, person):\n    return 'EVIL'\n"
)
ASKED = {"name": "Ada", "language": "de"}
ANSWER = "Guten Tag, Ada"


@pytest.fixture
def bundle(plan: BuildPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path_hooks", [*sys.path_hooks])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    build_bundle(plan, tmp_path / "bundle", environ={**os.environ, "SOURCE_DATE_EPOCH": "0"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "__init__.py").write_text(EVIL, encoding="utf-8")
    return tmp_path / "bundle"


# -- refused -----------------------------------------------------------------------------------------------------------


def sourceless(path: Path) -> None:
    code = compile(EVIL, str(path), "exec")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bootstrap._code_to_timestamp_pyc(code))


def replace_by_link(path: Path) -> None:
    moved = path.rename(path.parents[2] / f"moved-{path.name}")
    path.symlink_to(moved)


def add(path: Path, text: str = EVIL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        before = Path.cwd()
        os.chdir(path.parent)  # the address of a socket is short
        try:
            door.bind(path.name)
        finally:
            os.chdir(before)


bootstrap: Any = _bootstrap_external

FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "bytecode without source": (
        lambda at: sourceless(at / "Greeter" / "colorsys.pyc"),
        "`Greeter/colorsys.pyc` is bytecode without its source",
    ),
    "bytecode in a folder of its own": (
        lambda at: sourceless(at / "Greeter" / "more" / "__init__.pyc"),
        "`Greeter/more/__init__.pyc` is bytecode without its source",
    ),
    "linked folder": (
        lambda at: (at / "Greeter" / "colorsys").symlink_to(at.parent / "elsewhere"),
        "`Greeter/colorsys` is a link",
    ),
    "linked module": (
        lambda at: (at / "Greeter" / "colorsys.py").symlink_to(at.parent / "elsewhere" / "__init__.py"),
        "`Greeter/colorsys.py` is a link",
    ),
    "link to nothing": (lambda at: (at / "Greeter" / "gone").symlink_to("nowhere"), "`Greeter/gone` is a link"),
    "link to itself": (lambda at: (at / "loop").symlink_to("loop"), "`loop` is a link"),
    "link beside the package": (lambda at: (at / "more").symlink_to(at.parent / "elsewhere"), "`more` is a link"),
    "link called as bytecode is": (
        lambda at: (at / "Greeter" / "__pycache__").symlink_to(at.parent / "elsewhere"),
        "`Greeter/__pycache__` is a link",
    ),
    "link called as pip's folder is": (lambda at: (at / "build").symlink_to(at.parent), "`build` is a link"),
    "own file as a link": (
        lambda at: replace_by_link(at / "Greeter" / "handlers.py"),
        "`Greeter/handlers.py` is a link",
    ),
    "own folder as a link": (lambda at: replace_by_link(at / "Greeter" / "wording"), "`Greeter/wording` is a link"),
    "named pipe": (lambda at: os.mkfifo(at / "Greeter" / "pipe"), "`Greeter/pipe` is a named pipe"),
    "named pipe beside the package": (lambda at: os.mkfifo(at / "pipe"), "`pipe` is a named pipe"),
    "socket": (lambda at: listen(at / "Greeter" / "door"), "`Greeter/door` is a socket"),
    "module": (lambda at: add(at / "Greeter" / "colorsys.py"), "`Greeter/colorsys.py` was added"),
    "package": (lambda at: add(at / "Greeter" / "more" / "__init__.py"), "`Greeter/more/__init__.py` was added"),
    "extension": (
        lambda at: add(at / "Greeter" / f"colorsys{EXTENSION_SUFFIXES[0]}"),
        f"`Greeter/colorsys{EXTENSION_SUFFIXES[0]}` was added",
    ),
    "plugins of a distribution": (
        lambda at: add(at / "Greeter" / "evil-1.dist-info" / "entry_points.txt", "[kappa.artifacts]\njson = evil:X\n"),
        "`Greeter/evil-1.dist-info/entry_points.txt` was added",
    ),
    "plugins of an egg": (
        lambda at: add(at / "Greeter" / "evil.egg-info" / "entry_points.txt", "[kappa.artifacts]\njson = evil:X\n"),
        "`Greeter/evil.egg-info/entry_points.txt` was added",
    ),
    "folder called as pip's is": (lambda at: add(at / "Greeter" / "build" / "x.py"), "`Greeter/build/x.py` was added"),
    "module beside the package": (lambda at: add(at / "wheel.py"), "`wheel.py` was added"),
    "name that is no text": (
        lambda at: (Path(os.fsdecode(os.fsencode(at) + b"/Greeter/\xff\n.py"))).touch(),
        "`Greeter/��.py` was added",
    ),
}


def by_verify(bundle: Path) -> None:
    (told,) = verify_bundles([str(bundle)])
    if told.problem is not None:
        raise BundleError(told.problem)


def by_run(bundle: Path) -> None:
    with open_target(BundleTarget(bundle)):
        pass


DOORS: dict[str, Callable[[Path], object]] = {
    "verify": by_verify,
    "load": load,
    "load of the package": lambda bundle: load(bundle / "Greeter"),
    "run": by_run,
    "serve": lambda bundle: serve_bundle(BundleTarget(bundle), ServerOptions()),
    "worker": lambda bundle: load_service(BundleTarget(bundle).source()),
}


@pytest.mark.parametrize("member", FOREIGN)
def test_foreign_entry_is_refused_by_name_at_every_door(member: str, bundle: Path) -> None:
    put, problem = FOREIGN[member]
    put(bundle)
    for door, enter in DOORS.items():
        if door == "load of the package" and not problem.startswith("`Greeter/"):
            continue  # an installed package has nothing beside it
        with pytest.raises(BundleError) as refused:
            enter(bundle)
        assert f"is not as it was built: {problem}" in str(refused.value), door
    words = [sys.executable, "setup.py", "--name"]
    done = subprocess.run(words, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("The bundle is not as it was built: ")


@pytest.mark.parametrize("door", [door for door in DOORS if door != "serve"])
def test_changed_code_is_refused_though_only_models_are_large(door: str, bundle: Path) -> None:
    code = bundle / "Greeter" / "wording" / "__init__.py"
    code.write_text(code.read_text(encoding="utf-8").replace("+", "*"), encoding="utf-8")
    with pytest.raises(BundleError, match=r"`Greeter/wording/__init__\.py` was changed"):
        DOORS[door](bundle)


def test_changed_wheel_of_kappa_is_refused(bundle: Path) -> None:
    (wheel,) = (bundle / "Greeter" / "_kappa").iterdir()
    wheel.write_bytes(wheel.read_bytes() + b" ")
    with pytest.raises(BundleError, match=rf"`Greeter/_kappa/{wheel.name}` was changed"):
        load(bundle)


@pytest.mark.parametrize("door", ["load", "run", "worker"])
def test_manifest_that_says_other_digests_under_the_old_one_is_refused(door: str, bundle: Path) -> None:
    for manifest in (bundle / "kappa.yml", bundle / "Greeter" / "kappa.yml"):
        text = manifest.read_text(encoding="utf-8")
        manifest.write_text(text.replace("Greets whoever", "Insults whoever"), encoding="utf-8")
    with pytest.raises(BundleError, match=r"`kappa\.yml` was changed"):
        DOORS[door](bundle)


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("../moved.yml")], ids=["pipe", "link"])
def test_manifest_that_is_no_plain_file_is_not_opened(put: Callable[[Path], object], bundle: Path) -> None:
    (bundle / "kappa.yml").rename(bundle.parent / "moved.yml")
    put(bundle / "kappa.yml")
    with pytest.raises(BundleError, match=r"kappa\.yml` is a (link|named pipe); a bundle's manifest is a plain file\."):
        open_bundle(bundle)


# -- ignored, and never read -------------------------------------------------------------------------------------------


def poison(source: Path, *, is_checked: bool) -> None:
    """Put evil bytecode where Python looks for that of a module, as fresh as its source is."""
    code, made = compile(EVIL, str(source), "exec"), source.stat()
    cached = Path(importlib.util.cache_from_source(str(source)))
    cached.parent.mkdir(exist_ok=True)
    if is_checked:
        data = bootstrap._code_to_timestamp_pyc(code, int(made.st_mtime), made.st_size)
    else:
        data = bootstrap._code_to_hash_pyc(code, b"anything", checked=False)
    cached.write_bytes(data)


@pytest.fixture(params=["timestamp", "unchecked hash"])
def poisoned(bundle: Path, request: pytest.FixtureRequest) -> Path:
    for name in ("handlers.py", "wording/__init__.py"):
        poison(bundle / "Greeter" / name, is_checked=request.param == "timestamp")
    add(bundle / "build" / "lib" / "x.py")
    add(bundle / "Greeter.egg-info" / "PKG-INFO")
    add(bundle / ".git" / "config")
    return bundle


def command(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kappa", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_itself_would_run_such_bytecode(poisoned: Path) -> None:
    program = "import handlers; print(handlers.greet({}, {}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=poisoned / "Greeter", capture_output=True, check=False)
    assert done.stdout == b"EVIL\n"


def test_bytecode_is_not_read_by_load(poisoned: Path) -> None:
    assert load(poisoned).greet(ASKED) == ANSWER  # type: ignore[attr-defined]


def test_bytecode_is_not_read_by_two_versions_beside_each_other(poisoned: Path, tmp_path: Path) -> None:
    shutil.copytree(poisoned, tmp_path / "second")
    load(poisoned)
    assert load(tmp_path / "second").greet(ASKED) == ANSWER  # type: ignore[attr-defined]


def test_bytecode_is_neither_read_nor_written_by_commands(poisoned: Path) -> None:
    command("verify", poisoned)
    before = {path: path.read_bytes() for path in poisoned.rglob("*.pyc")}
    answer = command("run", poisoned, "greet", "--input", '{"name": "Ada", "language": "de"}')
    assert answer == f'"{ANSWER}"\n'
    assert {path: path.read_bytes() for path in poisoned.rglob("*.pyc")} == before


@pytest.mark.engine
def test_bytecode_is_not_installed(poisoned: Path, tmp_path: Path) -> None:
    words = ["setup.py", "-q", "bdist_wheel", "--dist-dir", str(tmp_path / "dist")]
    done = subprocess.run([sys.executable, *words], cwd=poisoned, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = open_bundle(poisoned).manifest.files
    assert names == {name for name in files if name.startswith("Greeter/")} | {"Greeter/kappa.yml"}
