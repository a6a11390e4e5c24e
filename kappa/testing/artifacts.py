"""The conformance suite of artifact types: what each must do, as tests that a type of your own inherits.

>>> class TestWords(ArtifactSuite):  # pytest finds what it inherits
...     artifact = WordsArtifact("words")
...     models = [["setosa", "ü"]]
...     foreign = [b"0xff"]

Nothing here needs pytest itself; the names of the methods are what must hold.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, ClassVar

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kappa.errors import BundleError, ConfigurationError, MissingDependencyError
from kappa.plugins import load_dotted
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds, Plugin
from kappa.testing.adapters import is_same
from kappa.testing.plugins import PluginSuite

__all__ = ["ArtifactSuite"]

Content = bytes | Mapping[str, bytes]
"""What is in a file, or by their paths in the files of a folder."""

_DAMAGED = 50


class ArtifactSuite(PluginSuite):
    """What every artifact type must do; give the artifact, models that it keeps, and what is no such model."""

    artifact: ClassVar[ArtifactPlugin]
    models: ClassVar[Sequence[Any]]
    """Models that it saves and loads."""
    foreign: ClassVar[Sequence[Content]] = ()
    """Contents of files, or of folders, that are no such model."""
    not_models: ClassVar[Sequence[Any]] = ()
    """Objects that it refuses to save."""
    library: ClassVar[str] = ""
    """The module that `load` imports, if it needs one."""

    question: ClassVar[str] = ""
    """An expression of `model` and `artifact` whose value, as JSON, is what a model answers; it is asked in a fresh
    process, too. Empty leaves that out."""
    fork_timeout_s: ClassVar[int] = 60
    """How many seconds a forked process has for its answers, where the type is `preload_safe`."""

    def plugin(self) -> Plugin:
        return self.artifact

    def is_same(self, value: Any, other: Any) -> bool:
        """Return whether two models are the same; override it for models that do not compare."""
        return is_same(value, other)

    # -- round trip

    def test_what_is_saved_is_loaded(self) -> None:
        assert self.models, "give models that it keeps in `models`"
        for model in self.models:
            with self._saved(model) as folder:
                loaded = self._loaded(folder)
                assert self.is_same(loaded, model), f"{model!r} was saved, and {loaded!r} loaded"

    def test_a_model_is_saved_under_the_name_of_the_type_alone(self) -> None:
        for model in self.models:
            with self._saved(model) as folder:
                path = _sole(folder)
                assert path.name == self.artifact.filename_of(path)
                assert path.is_dir() == (self.artifact.takes == "folder")

    def test_what_it_saved_can_be_adopted(self) -> None:
        for model in self.models:
            for link in (False, True):
                with self._saved(model) as folder, _folder() as other, _folder() as adopted:
                    path = _sole(folder).rename(other / "a model")
                    assert (why := self.artifact.problem_of(path)) is None, f"its own model is refused: {why}"
                    self.artifact.adopt(path, adopted, link=link)
                    assert self.is_same(self._loaded(adopted), model), "an adopted model is another one"
                    if not link:
                        assert not any(inside.is_symlink() for inside in adopted.rglob("*")), "a bundle holds no links"

    def test_what_is_adopted_answers_alike_in_a_fresh_process(self) -> None:
        """There, nothing but `load` has imported anything."""
        if not self.question:
            return
        with self._adopted() as folders:
            answers = [_answer(self.artifact, self._loaded(folder), self.question) for folder in folders]
            assert json.loads(self._asked(_FRESH, folders)) == answers

    def test_models_that_were_loaded_before_a_fork_answer_after_it(self) -> None:
        """The children of a process that has loaded them, and then of one that has asked them, too, ask in threads."""
        if not self.artifact.preload_safe or not hasattr(os, "fork"):
            return
        assert self.question, "give a `question`, which the forked processes ask"
        with self._adopted() as folders:
            answers = [_answer(self.artifact, self._loaded(folder), self.question) for folder in folders]
            self._asked(_FORKED, folders, answers=answers, timeout_s=self.fork_timeout_s)

    # -- what is no such model

    def test_foreign_models_are_refused_with_a_reason(self) -> None:
        for content in self.foreign:
            with _folder() as folder:
                why = self.artifact.problem_of(_written(content, folder / "model"))
            assert why, f"{content!r} was taken"
            assert not why.endswith("."), f"a reason is part of a sentence: {why}"

    def test_it_claims_no_foreign_file_that_is_named_like_one_of_its_own(self) -> None:
        for extension in sorted(self.artifact.extensions):
            for content in self.foreign:
                with _folder() as folder:
                    assert not self.artifact.claims(_written(content, folder / f"model{extension}")), f"{content!r}"

    def test_a_file_is_no_folder_and_a_folder_no_file(self) -> None:
        if self.artifact.takes == "file or folder":
            return
        with _folder() as folder:
            content: Content = b"x" if self.artifact.takes == "folder" else {"x": b"x"}
            assert self.artifact.problem_of(_written(content, folder / "model"))

    def test_damaged_models_are_judged_without_running_or_failing(self) -> None:
        chance = random.Random(0)  # noqa: S311 - the same damage in every run
        for model in self.models:
            with self._saved(model) as folder:
                path = _sole(folder)
                files = [path] if path.is_file() else sorted(inside for inside in path.rglob("*") if inside.is_file())
                for _ in range(_DAMAGED):
                    file = chance.choice(files)
                    whole = file.read_bytes()
                    start = chance.randint(0, len(whole))
                    file.write_bytes(whole[:start] + chance.randbytes(chance.randint(0, 3)) + whole[start + 2 :])
                    assert isinstance(self.artifact.problem_of(path), str | None)
                    assert isinstance(self.artifact.needs_of_file(path), ModelNeeds)
                    file.write_bytes(whole)

    def test_a_method_that_a_model_has_not_is_a_bundle_error_that_names_the_artifact(self) -> None:
        for model in self.models:
            try:
                self.artifact.caller(model, "no_such_method", is_batch=False)
            except BundleError as exc:
                assert f"`{self.artifact.name}`" in str(exc)
            else:
                raise AssertionError("a method that the model has not was found")

    def test_an_object_that_is_no_such_model_is_refused_with_its_type(self) -> None:
        for model in self.not_models:
            with _folder() as folder:
                try:
                    self.artifact.save(model, folder)
                except ConfigurationError as exc:
                    for word in (f"`{self.artifact.name}`", type(model).__name__, f"`{self.artifact.type}`"):
                        assert word in str(exc), f"the message does not name {word}: {exc}"
                else:
                    raise AssertionError(f"{model!r} was saved")

    # -- what it promises

    def test_whether_it_is_a_pickle_is_true(self) -> None:
        """`pickle = "forbid"` relies on it."""
        for model in self.models:
            with self._saved(model) as folder:
                self._loaded(folder)  # importing a framework may read pickles of its own
                with _unpickled() as names:
                    self._loaded(folder)
                is_pickle = self.artifact.runs_code(self.artifact.needs_of_file(_sole(folder)))
            assert is_pickle or not names, f"loading unpickled {names[0]}: set `is_pickle`"

    def test_without_its_library_the_command_that_installs_it_is_told(self) -> None:
        if not self.library:
            return
        for model in self.models:
            with self._saved(model) as folder, _without(self.library):
                try:
                    self._loaded(folder)
                except MissingDependencyError as exc:
                    assert exc.requirement in self.artifact.requires(), f"`requires` does not name `{exc.requirement}`"
                else:
                    raise AssertionError(f"it was loaded without `{self.library}`: which module is its library?")

    def test_its_module_imports_nothing_heavy(self) -> None:
        """A kappafile that names the type is read without the framework."""
        required = {canonicalize_name(Requirement(text).name) for text in self.artifact.requires()}
        heavy = {"numpy", "pandas"} | {
            module
            for module, names in packages_distributions().items()
            if not required.isdisjoint(map(canonicalize_name, names))
        }
        code = f"import sys; import {type(self.artifact).__module__}; print(*{heavy!r} & sys.modules.keys())"
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not done.stdout.split(), f"importing it imports {done.stdout.strip()}: do that inside its methods"

    @contextmanager
    def _adopted(self) -> Iterator[list[Path]]:
        with ExitStack() as stack:
            folders = []
            for model in self.models:
                path = _sole(stack.enter_context(self._saved(model)))
                folders.append(stack.enter_context(_folder()))
                self.artifact.adopt(path, folders[-1])
            yield folders

    def _asked(self, program: str, folders: Sequence[Path], **more: Any) -> str:
        """Return the last line that a program prints in a fresh process; it is told what to load and to ask."""
        order = {
            "class": f"{type(self.artifact).__module__}:{type(self.artifact).__qualname__}",
            "options": self.artifact.model_dump(mode="json", by_alias=True),
            "question": self.question,
            "folders": list(map(str, folders)),
            **more,
        }
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", _PRELUDE + program]
        done = subprocess.run(
            command, input=json.dumps(order), env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.rpartition("\n")[2]

    def _loaded(self, folder: Path) -> Any:
        return self.artifact.resolved(load_dotted).load(folder)

    @contextmanager
    def _saved(self, model: Any) -> Iterator[Path]:
        with _folder() as folder:
            self.artifact.save(model, folder)
            yield folder


def _answer(artifact: ArtifactPlugin, model: Any, question: str) -> Any:
    return json.loads(json.dumps(eval(question, {"artifact": artifact, "model": model})))  # noqa: S307 - the suite's own


_PRELUDE = """\
import json, sys
from pathlib import Path
from kappa.plugins import load_dotted
order = json.load(sys.stdin)
artifact = load_dotted(order["class"]).model_validate(order["options"]).resolved(load_dotted)
def ask(model):
    return json.dumps(eval(order["question"], {"artifact": artifact, "model": model}))
models = [artifact.load(Path(folder)) for folder in order["folders"]]
"""

_FRESH = """\
sys.stdout.write(f"\\n[{', '.join(map(ask, models))}]")
"""

_FORKED = """\
import os, signal, traceback
from concurrent.futures import ThreadPoolExecutor
def are_same():
    with ThreadPoolExecutor(4) as threads:
        answers = list(map(json.loads, threads.map(ask, models * 3)))
    return answers == order["answers"] * 3
def child():
    signal.alarm(order["timeout_s"])  # ends a process that waits for what the fork left behind
    status = 1
    try:
        status = 0 if are_same() else 2
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)
def problems():
    pids = [os.fork() or child() for _ in range(4)]
    statuses = {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids} - {0}
    words = {1: "fails", 2: "answers otherwise", -signal.SIGALRM: "hangs"}
    return sorted(words.get(status, f"ends with {status}") for status in statuses)
after_loading = problems()
for model in models:
    ask(model)
if reasons := after_loading or problems():
    sys.exit(f"a model {' or '.join(reasons)} in a forked process: leave `preload_safe` out")
"""


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kappa-") as folder:
        yield Path(folder)


def _sole(folder: Path) -> Path:
    paths = list(folder.iterdir())
    assert len(paths) == 1, f"it saved {len(paths)} files and folders; one is needed"
    return paths[0]


def _written(content: Content, path: Path) -> Path:
    """Write a file, or a folder of files, and return its path."""
    if isinstance(content, bytes):
        path.write_bytes(content)
        return path
    path.mkdir()
    for name, data in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Have imports of a module fail."""
    absent: Any = None
    before = {name: value for name, value in sys.modules.items() if name.partition(".")[0] == module}
    sys.modules.update(dict.fromkeys([*before, module], absent))
    try:
        yield
    finally:
        with suppress(KeyError):
            del sys.modules[module]
        sys.modules.update(before)


_listeners: list[list[str]] = []


@contextmanager
def _unpickled() -> Iterator[list[str]]:
    """Yield a list that fills with the names that pickles are made of while the block runs."""
    if not _hooks:
        sys.addaudithook(_note)  # which nothing removes
        _hooks.append(_note)
    names: list[str] = []
    _listeners.append(names)
    try:
        yield names
    finally:
        _listeners.remove(names)


_hooks: list[Any] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class" and _listeners:
        for names in _listeners:
            names.append(f"`{arguments[0]}.{arguments[1]}`")
