"""Small projects, locks that nobody resolved, and an index of wheels that hold nothing but their names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from kappa._files import write_atomically
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.packages.lock import Lock
from kappa.build.project import Project, read_project

GREETER = {
    "kappafile.toml": """\
kappafile = 1

[service]
name = "Greeter"
doc = "Greets whoever asks."

[artifacts.words]
type = "json"
path = "words.json"
metadata = { languages = 2 }

[apis.greet]
function = "handlers:greet"
input = "json"
""",
    "handlers.py": "from wording import polite\n\n\ndef greet(person, words):\n    return polite(words, person)\n",
    "wording/__init__.py": "def polite(words, person):\n    return words[person['language']] + person['name']\n",
    "words.json": '{"en": "Good day, ", "de": "Guten Tag, "}',
}
"""A service that needs nothing but what Kappa needs at run time."""

WriteProject = Callable[..., Project]
SeedLock = Callable[..., Lock]


@pytest.fixture
def fresh_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Forget after the test what it imported from its own folder."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    yield
    for name in [name for name, module in sys.modules.items() if _comes_from(module, tmp_path)]:
        del sys.modules[name]


def _comes_from(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    places = [file] if file else [*getattr(module, "__path__", ())]  # of a package without an `__init__.py`
    return any(str(place).startswith(str(folder)) for place in places)


@pytest.fixture
def write_project(tmp_path: Path) -> WriteProject:
    """Return a function that writes the greeter, with ``files`` over it, and reads it; ``more`` is kappafile text."""

    def write(*, more: str = "", files: Mapping[str, str] | None = None, folder: str = "project") -> Project:
        root = tmp_path / folder
        for name, text in {**GREETER, **(files or {})}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + (more if name == "kappafile.toml" else ""), encoding="utf-8")
        return read_project(root)

    return write


@pytest.fixture
def seed_lock(kappa_home: Path) -> SeedLock:
    """Return a function that puts a lock for a plan where builds look for one, so that nothing is resolved."""

    def seed(
        plan: BuildPlan, body: str = "falcon==4.4.0 \\\n    --hash=sha256:00\n    # via -r requirements.in\n"
    ) -> Lock:
        asked = plan.lock_inputs
        lock = Lock(asked.digest, asked.python, asked.platform, "pip-compile 7.6", body, input_lines=asked.input_lines)
        write_atomically(kappa_home / "locks" / asked.digest.replace(":", "-"), lock.text.encode())
        return lock

    return seed


@pytest.fixture
def plan(write_project: WriteProject, seed_lock: SeedLock) -> BuildPlan:
    """Return the plan of the greeter, with a lock at hand."""
    made = plan_build(write_project(), version=None, labels={}, environ=os.environ)
    seed_lock(made)
    return made


@pytest.fixture
def index_environ(tiny_index: Path, kappa_home: Path) -> dict[str, str]:
    """Return an environment in which pip knows the tiny wheels and nothing else."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    local = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tiny_index)}
    return {**kept, **local, "KAPPA_HOME": str(kappa_home)}
