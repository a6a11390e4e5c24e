"""A bundle is tried before it takes its place: what it misses is named with the line that asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kappa.build.bundle import trial
from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.bundle.trial import try_bundle
from kappa.build.code.child import run_program
from kappa.build.project import read_project
from kappa.errors import BuildError, ManifestError
from kappa.log import Kind, listening
from kappa.services.bundle import open_bundle

KAPPAFILE = """
kappafile = 1
[service]
name = "Service"
{service}
[env]
secrets = ["TOKEN"]
variables = {{ GREETING = "hello" }}
[bundle]
resolver = "installed"
include = {include}
[apis.predict]
function = "handlers:predict"
input = "json"
"""
PREDICT = "def predict(value):\n    return value\n"


def planned(
    root: Path, files: Mapping[str, str], *, include: tuple[str, ...] = (), service: str = "", more: str = ""
) -> BuildPlan:
    kappafile = KAPPAFILE.format(service=service, include=json.dumps(include)) + more
    for name, text in {"kappafile.toml": kappafile, "handlers.py": PREDICT, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return plan_build(read_project(root), version=None, labels={}, environ=os.environ)


def tried(plan: BuildPlan, folder: Path, *, run: Any = run_program) -> list[str]:
    """Build with a try; return the warnings, and what was logged about the try."""
    lines: list[str] = []

    def listen(message: str, kind: Kind) -> None:
        if kind == "warning" or message.startswith("The bundle"):
            lines.append(message)

    environ = {**os.environ, "KAPPA_HOME": str(folder / "home"), "TOKEN": "real", "PYTHONPATH": str(plan.project.root)}
    with listening(listen):
        build_bundle(
            plan,
            folder / "bundle",
            environ=environ,
            check=lambda *made: try_bundle(plan, *made, environ=environ, run=run),
        )
    return [line for line in lines if line not in plan.warnings]


MISSING = {
    "a file beside the code": (
        "from pathlib import Path\nTEXT = (Path(__file__).parent / 'data.txt').read_text()\n",
        "The bundle has no file `data.txt`.",
        'Add it: `include = ["data.txt"]`.',
    ),
    "a file in another folder": (
        "from pathlib import Path\nHERE = Path(__file__).parent; TEXT = (HERE / 'conf/deep.txt').read_text()\n",
        "The bundle has no file `conf/deep.txt`.",
        'Add it: `include = ["conf/deep.txt"]`.',
    ),
    "a folder": (
        "import os\nNAMES = os.listdir(os.path.join(os.path.dirname(__file__), 'conf'))\n",
        "The bundle has no file `conf`.",
        'Add it: `include = ["conf"]`.',
    ),
    "a file that is nowhere": (
        "from pathlib import Path\nTEXT = (Path(__file__).parent / 'absent.txt').read_text()\n",
        "The bundle has no file `absent.txt`.",
        "The project has no such file either.",
    ),
    "a resource": (
        "from importlib.resources import files\nTEXT = (files('conf') / 'deep.txt').read_text()\nimport conf.words\n",
        "The bundle has no file `conf/deep.txt`.",
        'Add it: `include = ["conf/deep.txt"]`.',
    ),
    "a relative path": (
        "\nTEXT = open('data.txt').read()\n",
        "`data.txt` is looked for in the folder that the process is started in.",
        'Write `Path(__file__).parent / "data.txt"`, and add it: `include = ["data.txt"]`.',
    ),
    "a path of this machine": (
        "\nTEXT = open('{root}/data.txt').read()\n",
        "`{root}/data.txt` is a path of this machine.",
        'Find it from `Path(__file__)`, and add it: `include = ["data.txt"]`.',
    ),
    "a path outside": (
        "\nTEXT = open('/surely/absent.txt').read()\n",
        "There is no file `/surely/absent.txt`, which lies outside of the bundle.",
        "Put it into the project, and include it.",
    ),
    "a module by a name that is made at run time": (
        "import importlib\nplugin = importlib.import_module('plu' + 'gin')\n",
        "The bundle has no module `plugin`.",
        'Name it in `modules`: `modules = ["plugin"]`.',
    ),
    "a module inside of a package": (
        "import importlib, conf.words\nplugin = importlib.import_module('conf.' + 'more')\n",
        "The bundle has no module `conf.more`.",
        'Name it in `modules`: `modules = ["conf.more"]`.',
    ),
    "a module that only its package is asked for": (
        "import importlib, conf.words\nMORE = conf.more\n",
        "The bundle has no module `conf.more`.",
        'Name it in `modules`: `modules = ["conf.more"]`.',
    ),
    "a module that a star takes by a name that is made at run time": (
        "import importlib\nfrom stars import *\n",
        "The bundle has no module `stars.one`.",
        'Name it in `modules`: `modules = ["stars.one"]`.',
    ),
    "a module that is nowhere": (
        "import importlib\nplugin = importlib.import_module('surely' + '_absent')\n",
        "There is no module `surely_absent`, neither in the bundle nor here.",
        "Correct the name, or add its package.",
    ),
    "the version of what is no package there": (
        "from importlib.metadata import version\n__version__ = version('surely-absent')\n",
        "The version of `surely-absent` is asked for, which is not installed where the bundle is.",
        "Write it down in the code, or catch `importlib.metadata.PackageNotFoundError`.",
    ),
    "a name that a module does not have": (
        "import importlib\nfrom conf.words import surely_absent\n",
        "ImportError: cannot import name 'surely_absent' from 'conf.words' (conf/words.py).",
        "",
    ),
    "a module that is no Python, caught as if it were absent": (
        "try:\n    import broken\nexcept ImportError: pass\n",
        "SyntaxError: invalid syntax (broken.py, line 1).",
        "",
    ),
}
FILES = {
    "broken.py": "def (:",
    "data.txt": "",
    "conf/__init__.py": "",
    "conf/deep.txt": "",
    "conf/words.py": "",
    "conf/more.py": "",
    "plugin.py": "",
    "stars/__init__.py": "__all__ = ['o' + name for name in ('ne',)]\n",
    "stars/one.py": "",
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_named_with_the_line_that_asks_for_it(name: str, tmp_path: Path) -> None:
    root = tmp_path / "project"
    code, message, help_ = (text.replace("{root}", str(root)) for text in MISSING[name])
    plan = planned(root, {**FILES, "handlers.py": code + PREDICT})
    with pytest.raises(ManifestError) as caught:
        tried(plan, tmp_path)
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.file, problem.span.line) == ("KF328", root / "handlers.py", 2)
    assert (problem.message, problem.help) == (message, help_)
    assert not (tmp_path / "bundle").exists()
    assert list(tmp_path.glob(".bundle*")) == []


def test_a_file_that_is_asked_for_by_a_module_further_in_is_found_there(tmp_path: Path) -> None:
    files = {"handlers.py": f"import conf.words\n{PREDICT}", "conf/words.py": "\n\ntext = open(__file__ + '.txt')\n"}
    with pytest.raises(ManifestError) as caught:
        tried(planned(tmp_path / "project", files), tmp_path)
    (problem,) = caught.value.diagnostics
    assert (problem.file, problem.span.line) == (tmp_path / "project" / "conf" / "words.py", 3)
    assert problem.message == "The bundle has no file `conf/words.py.txt`."


def test_a_file_that_a_model_asks_for_when_it_is_loaded_is_named(tmp_path: Path, fresh_modules: None) -> None:
    files = {
        "things.py": (
            "from pathlib import Path\nclass Thing:\n    def __setstate__(self, state):\n"
            "        self.text = Path(__file__).with_name('data.txt').read_text()\n"
        ),
        "data.txt": "",
    }
    more = '[artifacts.model]\ntype = "pickle"\npath = "model.pkl"\n[security]\npickle = "allow"\n'
    root = tmp_path / "project"
    root.mkdir()
    (root / "things.py").write_text(files["things.py"])
    dump = "import pickle, things; t = things.Thing(); t.a = 1; pickle.dump(t, open('model.pkl', 'wb'))"
    subprocess.run([sys.executable, "-c", dump], cwd=root, check=True)
    with pytest.raises(ManifestError) as caught:
        tried(planned(root, files, more=more), tmp_path)
    (problem,) = caught.value.diagnostics
    assert problem.message == (
        "The artifact `model` (pickle) cannot be loaded from the bundle. The bundle has no file `data.txt`."
    )
    assert (problem.file, problem.span.line) == (root / "things.py", 4)


FINE = {
    "variables": "import os\nassert os.environ['GREETING'] == 'hello'\n",
    "secrets that are none": "import os\nassert os.environ['TOKEN'] not in ('', 'real')\n",
    "an empty folder": "import os\nassert os.listdir('.') == []\n",
    "no PYTHONPATH": "import os\nassert 'PYTHONPATH' not in os.environ\n",
    "an optional module": "try:\n    import surely_absent\nexcept ImportError:\n    pass\n",
    "files of the bundle": "from pathlib import Path\nassert Path(__file__).with_name('data.txt').read_text() == ''\n",
    "a file that may be absent": "import os\nassert not os.path.exists('/surely/absent')\n",
    "files that it writes": "import tempfile\ntempfile.mkstemp()\nopen('log.txt', 'w').close()\n",
    "threads that never end": "import threading\nthreading.Thread(target=threading.Event().wait).start()\n",
    "output": "print('x' * 100_000)\n",
}


@pytest.mark.parametrize("name", FINE)
def test_a_whole_bundle_passes_and_is_not_tried_again(name: str, tmp_path: Path) -> None:
    plan = planned(tmp_path / "project", {"data.txt": "", "handlers.py": FINE[name] + PREDICT}, include=("data.txt",))
    assert tried(plan, tmp_path / "first") == []

    def run(*_: Any, **__: Any) -> Any:
        raise AssertionError("tried again")

    (tmp_path / "second").mkdir()
    (tmp_path / "first" / "home").rename(tmp_path / "second" / "home")
    assert tried(plan, tmp_path / "second", run=run) == []
    (plan.project.root / "data.txt").write_text("changed")
    (tmp_path / "third").mkdir()
    (tmp_path / "second" / "home").rename(tmp_path / "third" / "home")
    with pytest.raises(AssertionError, match="tried again"):
        tried(plan, tmp_path / "third", run=run)


def test_neither_setup_nor_the_class_is_called(tmp_path: Path) -> None:
    code = (
        "import kappa\nfrom kappa.adapters import JsonInput\ndef up():\n    raise RuntimeError\n"
        "class Service(kappa.BentoService):\n    def __init__(self):\n        raise RuntimeError\n"
        "    @kappa.api(input=JsonInput())\n    def predict(self, value): ...\n"
    )
    service = 'class = "handlers:Service"\nsetup = "handlers:up"\n'
    text = f'kappafile = 1\n[service]\n{service}[bundle]\nresolver = "installed"\n'
    plan = planned(tmp_path / "project", {"handlers.py": code, "kappafile.toml": text})
    assert tried(plan, tmp_path) == []


WARNED = {
    "the network": (
        "import socket\nsocket.create_connection(('127.0.0.1', 1))\n",
        "the network is wanted (handlers.py:2), and could not be reached: ConnectionRefusedError",
    ),
    "the network, for a file": (
        "import socket\ntry: socket.create_connection(('127.0.0.1', 1))\nexcept OSError: open('cached.txt')\n",
        "the network is wanted",
    ),
    "a secret that is a file": (
        "import os\nopen(os.environ['TOKEN'])\n",
        "it wants the secret `TOKEN` (handlers.py:2)",
    ),
    "a command": (
        "import subprocess\nsubprocess.run(['surely-absent'])\n",
        "`surely-absent` is run (handlers.py:2) and is not installed here",
    ),
    "whatever else": ("\nraise RuntimeError('no GPU')\n", "RuntimeError: no GPU (handlers.py:2)"),
    "an exit": ("import sys\nsys.exit(3)\n", "SystemExit: 3 (handlers.py:2)"),
    "a crash": ("import os\nos._exit(3)\n", "the process ended with 3"),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_only_this_machine_may_lack_is_a_warning_and_tried_again(name: str, tmp_path: Path) -> None:
    code, words = WARNED[name]
    plan = planned(tmp_path / "project", {"handlers.py": code + PREDICT})
    (warning,) = tried(plan, tmp_path)
    assert words in warning
    assert (tmp_path / "bundle" / "kappa.yml").is_file()
    assert not (tmp_path / "home" / "tried").exists()


def test_a_try_that_does_not_end_is_a_warning(tmp_path: Path) -> None:
    def run(*_: Any, **__: Any) -> Any:
        raise subprocess.TimeoutExpired("python", 1)

    (warning,) = tried(planned(tmp_path / "project", {}), tmp_path, run=run)
    assert "it had not ended after 600 seconds" in warning


@pytest.mark.parametrize(
    ("needed", "reason"),
    [
        ({"surely-absent": ""}, "`surely-absent` is not installed here"),
        ({"numpy": "1.0"}, "its model was made with numpy 1.0"),
    ],
)
def test_a_bundle_is_not_tried_where_its_packages_are_not(needed: dict[str, str], reason: str, tmp_path: Path) -> None:
    plan = replace(planned(tmp_path / "project", {"handlers.py": f"raise RuntimeError\n{PREDICT}"}), needed=needed)
    (line,) = tried(plan, tmp_path)
    assert reason in line


def test_a_module_that_the_bundle_gets_and_this_machine_lacks_is_a_reason_not_to_try(tmp_path: Path) -> None:
    def run(arguments: list[str], *_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        told = {"kind": "module", "subject": "falcon.asgi", "message": "", "file": "", "line": 0, "doing": ""}
        Path(arguments[-1]).write_text(json.dumps(told))
        return subprocess.CompletedProcess(arguments, 0, "", "")

    (line,) = tried(planned(tmp_path / "project", {}), tmp_path, run=run)
    assert line == "The bundle was not tried, because `falcon` is not installed here."


def test_pickles_are_not_tried_where_they_are_forbidden(tmp_path: Path) -> None:
    plan = planned(
        tmp_path / "project", {"handlers.py": f"raise RuntimeError\n{PREDICT}"}, more='[security]\npickle = "forbid"\n'
    )
    (line,) = tried(plan, tmp_path)
    assert "forbids" in line


WRITING = "from pathlib import Path\nwith Path(__file__).with_name('data.bin').open('{mode}') as file: file.{call}\n"
WRITES = {
    "written anew": WRITING.format(mode="wb", call="write(b'b' * 100)"),
    "appended to": WRITING.format(mode="ab", call="write(b'b')"),
    "written into": WRITING.format(mode="r+b", call="write(b'b')"),
    "removed": "from pathlib import Path\nPath(__file__).with_name('data.bin').unlink()\n",
}


def writing(root: Path, code: str) -> BuildPlan:
    return planned(root, {"handlers.py": code + PREDICT, "data.bin": "a" * 100}, include=("data.bin",))


@pytest.mark.parametrize("name", WRITES)
def test_what_the_code_does_to_its_files_is_not_done_to_the_bundle(name: str, tmp_path: Path) -> None:
    (warning,) = tried(writing(tmp_path / "project", WRITES[name]), tmp_path)
    assert warning.startswith("Loading the service changes `data.bin`.")
    open_bundle(tmp_path / "bundle").verify()


@pytest.mark.parametrize("name", [name for name in WRITES if name != "removed"])
def test_a_bundle_whose_large_file_is_written_to_is_not_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system has no clones, files that are too large to be copied are the bundle's own."""
    monkeypatch.setattr(trial, "_clone", lambda path, place: False)
    monkeypatch.setattr(trial, "_SMALL_BYTES", 50)
    monkeypatch.setattr(trial, "_COPIED_BYTES", 50)
    with pytest.raises(BuildError, match=r"Loading the service has changed `data\.bin`"):
        tried(writing(tmp_path / "project", WRITES[name]), tmp_path)
    assert not (tmp_path / "bundle").exists()
    assert (tmp_path / "project" / "data.bin").read_text() == "a" * 100


def test_a_large_file_is_read_and_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_clone", lambda path, place: False)
    monkeypatch.setattr(trial, "_SMALL_BYTES", 50)
    monkeypatch.setattr(trial, "_COPIED_BYTES", 50)
    code = "from pathlib import Path\nif Path(__file__).with_name('data.bin').stat().st_nlink != 2: open('absent')\n"
    assert tried(writing(tmp_path / "project", code), tmp_path) == []
    assert (tmp_path / "bundle" / "Service" / "data.bin").stat().st_nlink == 1


def test_a_method_that_a_model_has_not_is_found_before_a_server_is_started(tmp_path: Path) -> None:
    more = '[artifacts.words]\ntype = "json"\npath = "words.json"\n'
    more += '[apis.count]\nartifact = "words"\nmethod = "{}"\ninput = "json"\n'
    tried(planned(tmp_path, {"words.json": "{}"}, more=more.format("get")), tmp_path / "right")
    with pytest.raises(ManifestError, match=r"The artifact `words` is a `dict`, which has no method `absent`\.\n"):
        tried(planned(tmp_path, {"words.json": "{}"}, more=more.format("absent")), tmp_path / "wrong")
