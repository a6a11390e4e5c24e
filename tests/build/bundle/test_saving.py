"""Instances that were packed in Python become projects and bundles, wherever their class is defined."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import kappa
from kappa.actions import building
from kappa.actions.building import plan_of, project_to_build
from kappa.bento import BentoService
from kappa.build.bundle import builder
from kappa.build.bundle.builder import build_time
from kappa.build.bundle.plan import BuildPlan
from kappa.build.class_project import project_of
from kappa.build.packages.lock import Lock, LockInputs, Resolution
from kappa.build.project import read_project
from kappa.errors import ConfigurationError, DestinationExistsError, ManifestError, UsageError
from kappa.gamma.local_store import open_local_store
from kappa.plugins import RESOLVERS
from kappa.services.bundle import open_bundle
from kappa.services.declaring import declared_spec
from kappa.spec.document import ArtifactSource
from kappa.tag import Tag

SeedLock = Callable[[BuildPlan], Lock]

GREETER = """\
import kappa
from kappa.adapters import JsonInput
from kappa.frameworks.json import JSONArtifact
from kappa.frameworks.pickle import PickleArtifact
from wording import polite


@kappa.artifacts([JSONArtifact("words")])
class Greeter(kappa.BentoService):
    "Greets whoever asks."

    @kappa.api(input=JsonInput())
    def greet(self, person):
        return polite(self.artifacts.words, person)
"""
WORDING = "def polite(words, person):\n    return words[person['language']] + person['name']\n"
WORDS = {"en": "Good day, ", "de": "Guten Tag, "}
ADA = {"language": "en", "name": "Ada"}

pytestmark = pytest.mark.usefixtures("fresh_modules")


@pytest.fixture
def greeter(tmp_path: Path) -> BentoService:
    """Return an instance of a class in a file, packed."""
    return packed(tmp_path)


def packed(root: Path, module: str = "greeter", source: str = GREETER) -> BentoService:
    file = root.joinpath(*module.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    (root / "wording.py").write_text(WORDING, encoding="utf-8")
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    service: BentoService = importlib.import_module(module).Greeter()
    return service.pack("words", WORDS, metadata={"languages": 2, "share": 2.0})


def seed(service: BentoService, seed_lock: SeedLock) -> None:
    """Put a lock where saving looks for one, so that nothing is resolved."""
    seed_lock(plan_of(project_of(service)))


# -- saving ------------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded_again_with_its_models_and_metadata(greeter: BentoService, seed_lock: SeedLock) -> None:
    seed(greeter, seed_lock)
    path = greeter.save(labels={"team": "growth"})
    bundle = open_bundle(Path(path))
    bundle.verify()
    assert bundle.directory.parent.name == "Greeter"
    assert (bundle.manifest.tag, bundle.manifest.labels) == (bundle.manifest.tag, {"team": "growth"})
    assert (greeter.version, greeter.tag) == (bundle.manifest.version, f"Greeter:{bundle.manifest.version}")
    assert sorted(file.name for file in bundle.package.folder.glob("*.py")) == [
        "__init__.py",
        "greeter.py",
        "wording.py",
    ]
    service = kappa.load(path)
    assert service.greet(ADA) == greeter.greet(ADA) == "Good day, Ada"  # type: ignore[attr-defined]
    metadata = service.artifacts["words"].metadata
    assert (metadata, [type(value) for value in metadata.values()]) == ({"languages": 2, "share": 2.0}, [int, float])
    assert service.tag == greeter.tag


class Counting:
    """Resolves what it is asked for, and counts how often."""

    calls = 0

    def resolve(self, inputs: LockInputs, **_: Any) -> Resolution:
        type(self).calls += 1
        return Resolution("falcon==4.4.0 \\\n    --hash=sha256:00\n", "counting 1")


def test_only_the_first_saving_resolves_packages(greeter: BentoService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RESOLVERS, "load", lambda _name: Counting)
    monkeypatch.setattr(Counting, "calls", 0)
    for version in ("1", "2", "3"):
        greeter.pack("words", {"en": version}).save(version=version)
    assert Counting.calls == 1
    assert [kappa.load(greeter.save()).greet(ADA)] == ["3Ada"]  # type: ignore[attr-defined]


def test_two_versions_that_were_built_answer_side_by_side(
    greeter: BentoService, seed_lock: SeedLock, tmp_path: Path
) -> None:
    seed(greeter, seed_lock)
    first = greeter.save(version="1")
    (tmp_path / "wording.py").write_text(WORDING.replace("return ", "return '2: ' + "), encoding="utf-8")
    second = greeter.pack("words", {"en": "Hi, "}).save(version="2")
    path = list(sys.path)
    one, two = kappa.load(first), kappa.load(second)
    assert sys.path == path
    assert [service.greet(ADA) for service in (one, two, greeter)] == [  # type: ignore[attr-defined]
        "Good day, Ada",
        "2: Hi, Ada",
        "Hi, Ada",
    ]
    assert [type(service).__module__.startswith("_kappa_bundle_") for service in (one, two)] == [True, True]


def test_a_folder_can_be_the_bundle(
    greeter: BentoService, seed_lock: SeedLock, tmp_path: Path, kappa_home: Path
) -> None:
    seed(greeter, seed_lock)
    assert greeter.save_to_dir(tmp_path / "out", version="1.0") == str(tmp_path / "out")
    assert open_bundle(tmp_path / "out").manifest.version == "1.0"
    assert not (kappa_home / "repository").exists()
    greeter.save_to_dir(tmp_path / "out", version="2.0")  # which replaces the earlier one
    assert open_bundle(tmp_path / "out").manifest.version == "2.0"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    with pytest.raises(DestinationExistsError):
        greeter.save_to_dir(tmp_path / "mine")


def test_each_saving_has_a_version_of_its_own_unless_one_is_decided(greeter: BentoService, seed_lock: SeedLock) -> None:
    seed(greeter, seed_lock)
    assert greeter.set_version("1.0") == greeter.version == "1.0"
    assert Path(greeter.save()).name == greeter.version == "1.0"
    assert Path(greeter.save()).name != "1.0"
    announced = greeter.set_version()
    assert Path(greeter.save()).name == announced
    assert Path(greeter.save(version="2.0")).name == greeter.version == "2.0"
    with pytest.raises(UsageError, match="`latest` is reserved"):
        greeter.set_version("latest")


def test_versions_begin_as_the_class_says_and_are_made_by_its_versioneer(tmp_path: Path, seed_lock: SeedLock) -> None:
    source = GREETER.replace("@kappa.artifacts", "@kappa.ver(1, 2)\n@kappa.artifacts")
    greeter = packed(tmp_path, source=source + "\n    def versioneer(self):\n        return 'mine'\n")
    seed(greeter, seed_lock)
    assert greeter.set_version("7") == "1.2.7"
    assert [Path(greeter.save()).name, Path(greeter.save()).name] == ["1.2.7", "1.2.mine"]
    assert Path(greeter.save_to_dir(tmp_path / "out", version="8")).name == "out"
    assert greeter.version == "1.2.8"


def test_an_artifact_without_a_model_is_named(tmp_path: Path) -> None:
    packed(tmp_path)
    greeter = sys.modules["greeter"].Greeter()
    with pytest.raises(ConfigurationError, match="The artifact `words` has no model: name its file in `path`, or by"):
        greeter.save()


def test_a_loaded_service_is_not_saved_again(greeter: BentoService, seed_lock: SeedLock) -> None:
    seed(greeter, seed_lock)
    loaded: Any = kappa.load(greeter.save(version="1"))
    again = loaded.pack("words", {"en": "Hello, "})
    with pytest.raises(ConfigurationError, match="`Greeter` was loaded from a bundle"):
        again.save()


# -- the project of an instance ----------------------------------------------------------------------------------------


def test_the_project_of_an_instance_is_that_of_its_class(greeter: BentoService, tmp_path: Path) -> None:
    project = project_of(greeter)
    by_name = project_to_build_in(tmp_path, "greeter:Greeter")
    assert (project.root, project.file, project.spec) == (tmp_path, None, by_name.spec)
    assert project.sources == {"words": ArtifactSource(value=WORDS, metadata={"languages": 2, "share": 2.0})}


def project_to_build_in(folder: Path, reference: str, models: Mapping[str, Path] | None = None) -> Any:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return project_to_build(reference, models=models)
    finally:
        os.chdir(before)


def test_a_class_in_a_package_begins_at_the_folder_that_python_finds_it_from(tmp_path: Path) -> None:
    source = GREETER.replace(
        "@kappa.artifacts", "@kappa.env(setup_sh='setup.sh')\n@kappa.files(include=['*.txt'])\n@kappa.artifacts"
    )
    project = project_of(packed(tmp_path, "services.english.greeter", source))
    assert (project.root, project.spec.service_class) == (tmp_path, "services.english.greeter:Greeter")
    assert project.spec.env.setup_sh == "services/english/setup.sh"
    assert project.spec.files.include == ("services/english/*.txt",)


def test_a_kappafile_that_names_the_class_completes_it(greeter: BentoService, tmp_path: Path) -> None:
    (tmp_path / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nclass = "greeter:Greeter"\nlabels = { team = "growth" }\n'
        '[artifacts.words]\npath = "words.json"\nmetadata = { languages = 9 }\n[serving]\nworkers = 2\n'
        '[[examples]]\nname = "Ada"\napi = "greet"\ninput = { language = "en", name = "Ada" }\n'
    )
    project = project_of(greeter)
    assert (project.file, project.spec.labels, project.spec.serving.workers) == (
        tmp_path / "kappafile.toml",
        {"team": "growth"},
        2,
    )
    assert [example.name for example in project.spec.examples] == ["Ada"]
    assert project.sources["words"] == ArtifactSource(value=WORDS, metadata={"languages": 2, "share": 2.0})
    (tmp_path / "words.json").write_text("{}")
    assert read_project(tmp_path).spec == project.spec
    bare = type(greeter)().pack("words", WORDS)
    assert project_of(bare).sources["words"].metadata == {"languages": 9}


def test_what_class_and_kappafile_both_say_is_an_error_when_saving_too(greeter: BentoService, tmp_path: Path) -> None:
    (tmp_path / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nclass = "greeter:Greeter"\ndoc = "Says it again."\n'
    )
    with pytest.raises(ManifestError) as error:
        greeter.save()
    (problem,) = error.value.diagnostics
    assert (problem.code, problem.span.line, problem.labels[0].file) == ("KF401", 4, tmp_path / "greeter.py")


def test_a_kappafile_of_another_class_is_not_looked_at(greeter: BentoService, tmp_path: Path) -> None:
    (tmp_path / "kappafile.toml").write_text('kappafile = 1\n[service]\nclass = "other:Other"\nbroken = \n')
    assert project_of(greeter).file is None


# -- module:Class ------------------------------------------------------------------------------------------------------


def test_a_class_by_name_takes_models_from_disk(greeter: BentoService, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(json.dumps(WORDS), encoding="utf-8")
    project = project_to_build_in(tmp_path, "greeter:Greeter", {"words": Path("w.json")})
    assert project.sources == {"words": ArtifactSource(path=tmp_path / "w.json")}
    assert project.spec == project_of(greeter).spec


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("absent:Greeter", "There is no module `absent`."),
        ("greeter:Absent", "`greeter` has no class `Absent`."),
    ],
)
def test_a_class_that_is_not_there_is_said(greeter: BentoService, tmp_path: Path, reference: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        project_to_build_in(tmp_path, reference)
    assert str(error.value)[: len(message)] == message


# -- where a class cannot be -------------------------------------------------------------------------------------------


def run(source: str, folder: Path, *arguments: str, name: str = "script.py", code: int = 0) -> str:
    """Run a script there and return what it printed on both streams."""
    (folder / name).write_text(dedent(source), encoding="utf-8")
    (folder / "wording.py").write_text(WORDING, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *(arguments or (name,))],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        input=(folder / name).read_text(),
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def test_a_class_of_an_interactive_session_cannot_be_saved_and_how_it_could_is_said(tmp_path: Path) -> None:
    said = run(f"{GREETER}\nGreeter().save()\n", tmp_path, "-", code=1)
    assert said.strip().splitlines()[-1] == (
        "kappa.errors.ConfigurationError: `Greeter` is defined in a notebook cell or an interactive session, and a "
        "bundle is made of files. Begin the cell with `%%writefile greeter.py`, put the imports and "
        "helpers of the class into the same cell, because only that cell is written, run it, and go on with "
        "`from greeter import Greeter`. In a session without cells, save the class in `greeter.py`, and write "
        "`from greeter import Greeter`."
    )


def test_a_class_inside_of_a_function_cannot_be_saved(tmp_path: Path) -> None:
    lines = "\n".join(f"    {line}" for line in GREETER.splitlines())
    source = f"def make():\n{lines}\n    return Greeter\n\n\nmake()().save()\n"
    assert "`Greeter` is defined inside of a function" in run(source, tmp_path, code=1)


def test_a_script_whose_name_no_module_can_have_is_said(tmp_path: Path) -> None:
    said = run(f"{GREETER}\nif __name__ == '__main__':\n    Greeter().save()\n", tmp_path, name="my-script.py", code=1)
    assert "`my-script.py` cannot be imported as a module: rename it with letters, digits and `_`." in said


# -- scripts -----------------------------------------------------------------------------------------------------------

SCRIPT = (
    GREETER.replace('JSONArtifact("words")', 'JSONArtifact("words"), PickleArtifact("tail")')
    + """

class Tail:
    text = "!"


def shout(text):
    return text.upper()


def main():
    service = Greeter().pack("words", {"en": "Hello, "}).pack("tail", [Tail(), shout])
    path = service.save()
    assert Tail.__module__ == "__main__"
    print("saved", path)


print("imported", __name__)
"""
)


def seed_for_script(folder: Path, seed_lock: SeedLock) -> None:
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    (folder / "wording.py").write_text(WORDING, encoding="utf-8")
    (folder / "empty.json").write_text("{}")
    models = {"words": folder / "empty.json", "tail": folder / "empty.json"}
    project = project_to_build_in(folder, "script:Greeter", models)
    object.__setattr__(project, "sources", {name: ArtifactSource(value=1) for name in models})
    seed_lock(plan_of(project))


def test_a_script_saves_its_own_class_with_models_of_its_own_classes(tmp_path: Path, seed_lock: SeedLock) -> None:
    seed_for_script(tmp_path, seed_lock)
    said = run(f"{SCRIPT}\nif __name__ == '__main__':\n    main()\n", tmp_path)
    assert "is not under" not in said
    path = said.strip().splitlines()[-1].removeprefix("saved ")
    assert open_bundle(Path(path)).manifest.service.service_class == "script:Greeter"
    ask = (
        "import kappa, sys; service = kappa.load(sys.argv[1]); "
        "print(service.greet({'language': 'en', 'name': 'Ada'}), service.artifact.tail)"
    )
    done = subprocess.run([sys.executable, "-c", ask, path], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "imported script"
    assert done.stdout.splitlines()[1].startswith("Hello, Ada [<script.Tail object at")


def test_a_script_without_a_guard_is_saved_with_a_warning_and_its_import_ends_before_saving_again(
    tmp_path: Path, seed_lock: SeedLock
) -> None:
    seed_for_script(tmp_path, seed_lock)
    said = run(f"{SCRIPT}\nmain()\nprint('after')\n", tmp_path)
    line = len(SCRIPT.splitlines()) + 2
    assert f'`script.py:{line}` is not under `if __name__ == "__main__":`' in said
    path = next(text.removeprefix("saved ") for text in said.splitlines() if text.startswith("saved "))
    ask = "import kappa, sys; print(kappa.load(sys.argv[1]).greet({'language': 'en', 'name': 'Ada'}))"
    done = subprocess.run([sys.executable, "-c", ask, path], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "imported script\nHello, Ada\n"
    assert f"The import of `script` ended at script.py:{line}, which would save `Greeter`." in done.stderr


# -- images ------------------------------------------------------------------------------------------------------------

DOCKER = """\
#!{python}
import json, sys
from pathlib import Path
words = sys.argv[1:]
if words[0] == "version":
    print(json.dumps({{"Client": {{"Version": "20.10"}}, "Server": {{}}, "Id": 1}}).replace("{{}}", "1"))
elif words[0] == "build":
    Path(words[words.index("--iidfile") + 1]).write_text("sha256:abc")
    Path({calls!r}).write_text(json.dumps(words))
elif words[:2] == ["image", "inspect"]:
    print(json.dumps([{{"Id": "sha256:abc", "Size": 7}}]))
else:
    print("Docker version 20.10")
"""


def test_an_image_is_made_of_a_bundle_that_is_saved_for_it(
    greeter: BentoService, seed_lock: SeedLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(greeter, seed_lock)
    command = tmp_path / "bin" / "docker"
    command.parent.mkdir()
    command.write_text(DOCKER.format(python=sys.executable, calls=str(tmp_path / "calls")))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent))
    image = greeter.containerize()
    assert image == f"greeter:{greeter.version}"
    words = json.loads((tmp_path / "calls").read_text())
    assert words[words.index("--tag") + 1] == image
    assert open_bundle(Path(words[-1])).manifest.tag == Tag("Greeter", str(greeter.version))
    assert greeter.containerize("team/greeter:1") == "team/greeter:1"


# -- versions that never meet ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "second",
    [{"labels": {"team": "growth"}}, {"metadata": {"auc": 0.9}}, {}],
    ids=["other labels", "other metadata", "nothing else"],
)
def test_two_saves_in_one_second_are_two_versions(
    greeter: BentoService, seed_lock: SeedLock, monkeypatch: pytest.MonkeyPatch, second: dict[str, Any]
) -> None:
    stand_still(monkeypatch)
    seed(greeter, seed_lock)
    first = Path(greeter.save())
    if "metadata" in second:
        greeter.pack("words", WORDS, metadata=second["metadata"])
    again = Path(greeter.save(labels=second.get("labels")))
    third = Path(greeter.save())
    assert [path.name.partition("_")[0] for path in (first, again, third)] == [
        "20260102030405",
        "20260102030406",
        "20260102030407",
    ]
    assert {open_bundle(path).manifest.created_at for path in (first, again, third)} == {"2026-01-02T03:04:05.678901Z"}
    assert greeter.version == third.name


def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
    monkeypatch.setattr(builder, "build_time", lambda environ, *, clock: build_time(environ, clock=lambda: at))


def test_another_process_may_take_a_version_while_one_builds(
    greeter: BentoService, seed_lock: SeedLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_still(monkeypatch)
    seed(greeter, seed_lock)
    first = Path(greeter.save())
    store, answers = open_local_store(os.environ), iter([False])
    monkeypatch.setattr(store, "has", lambda tag, has=store.has: next(answers, None) is None and has(tag))
    monkeypatch.setattr(building, "bundle_store", lambda environ: store)
    again = Path(greeter.save(labels={"team": "growth"}))
    assert (first.name[:14], again.name[:14]) == ("20260102030405", "20260102030406")


def test_a_version_that_somebody_gave_is_never_another(greeter: BentoService, seed_lock: SeedLock) -> None:
    seed(greeter, seed_lock)
    greeter.save(version="1")
    with pytest.raises(DestinationExistsError, match="`Greeter:1` is already in the store"):
        greeter.save(version="1", labels={"team": "growth"})


def test_with_a_given_time_the_same_inputs_are_the_same_bundle(
    greeter: BentoService, seed_lock: SeedLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    seed(greeter, seed_lock)
    assert greeter.save() == greeter.save()
    with pytest.raises(DestinationExistsError):
        greeter.save(labels={"team": "growth"})


def test_a_bundle_that_does_not_become_the_latest_says_which_one_stays(
    greeter: BentoService, seed_lock: SeedLock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seed(greeter, seed_lock)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "2000000000")
    ahead = Path(greeter.save()).name
    assert "latest" not in caplog.text
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    greeter.save()
    stays = f"`Greeter:latest` stays `Greeter:{ahead}`, which says that it was built later, at 2033-05-18 03:33 UTC."
    assert [message for message in caplog.messages if "latest" in message] == [stays]


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({"k": 1}, "`1` cannot be the value of a label: labels are text, so write it in quotes."),
        ({"k": True}, "`True` cannot be the value of a label"),
        ({"k": None}, "`None` cannot be the value of a label"),
        ({"k": ["a"]}, "`['a']` cannot be the value of a label"),
        ({"k": b"a"}, "`b'a'` cannot be the value of a label"),
        ({1: "a"}, "`1` cannot be the key of a label"),
        ([("k", "v")], "`labels` must be a mapping of text to text, not `list`."),
        ("k=v", "`labels` must be a mapping of text to text, not `str`."),
        ({"k": ""}, "`` cannot be the value of a label: use 1 to 63 letters"),
    ],
    ids=str,
)
@pytest.mark.parametrize("save", ["save", "save_to_dir", "declared"])
def test_labels_of_other_types_are_refused_in_words(
    greeter: BentoService, tmp_path: Path, save: str, labels: Any, problem: str
) -> None:
    if save == "declared":
        with pytest.raises(ConfigurationError, match="label"):
            declared_spec(kappa.label(labels)(type("Labelled", (type(greeter),), {})))
        return
    with pytest.raises((ConfigurationError, UsageError)) as refused:
        greeter.save(labels=labels) if save == "save" else greeter.save_to_dir(tmp_path / "bundle", labels=labels)
    assert problem in str(refused.value)
