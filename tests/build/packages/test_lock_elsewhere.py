"""A committed lock holds on every machine: what it was made from is compared as recorded, never as installed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.packages.lock import Lock
from kappa.build.packages.locking import check_committed, lock_packages, relock
from kappa.build.project import Project, read_project
from kappa.errors import LockError
from kappa.frameworks.pickle import PickleArtifact
from kappa.log import listening
from kappa.spec.contracts import ModelNeeds
from kappa.spec.platforms import running_python

WriteProject = Callable[..., Project]
BODY = "falcon==4.4.0 \\\n    --hash=sha256:00\n"

HERE = {
    "acme-tables": ("2.0", ["acme_tables/__init__.py", "acme_tables/wide.py"]),
    "Acme.YAML": ("6.0", ["acme_yaml.py"]),
    "acme-cloud-storage": ("1.0", ["acme_cloud/storage/__init__.py"]),
    "acme-cloud-queue": ("1.1", ["acme_cloud/queue/__init__.py"]),
    "acme-fast": ("3.0", ["acme_fast.py"]),
    "acme-plugin": ("4.0", ["acme_plugin.py"]),
    "acme-forest": ("1.9", ["acme_forest/__init__.py", "acme_forest/trees.py"]),
}
"""What is installed where the lock is made: the version and the files of each distribution."""
ENVIRONMENTS = {
    "the same": HERE,
    "other versions": {name: (f"9.{version}", files) for name, (version, files) in HERE.items()},
    "nothing": {},
    "one distribution of a namespace": {"acme-cloud-queue": HERE["acme-cloud-queue"]},
    "other distributions of the same modules": {
        f"another-{name}": (version, files) for name, (version, files) in HERE.items()
    },
    "more than before": {**HERE, "acme-optional": ("5.0", ["acme_optional.py"])},
}


@dataclass
class Machine:
    """A `site-packages` that is on `sys.path`."""

    folder: Path
    written: list[Path] = field(default_factory=list)

    def install(self, distributions: dict[str, tuple[str, list[str]]]) -> None:
        for path in reversed(self.written):
            path.unlink() if path.is_file() else path.rmdir()
        self.written = []
        for name, (version, files) in distributions.items():
            info = f"{name.replace('-', '_').replace('.', '_').lower()}-{version}.dist-info"
            self._write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            self._write(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/METADATA"]))
            for file in files:
                self._write(file, "")

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        for folder in [*reversed(path.relative_to(self.folder).parents)][1:]:
            if not (self.folder / folder).exists():
                (self.folder / folder).mkdir()
                self.written.append(self.folder / folder)
        path.write_text(text)
        self.written.append(path)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    folder = tmp_path / "machine" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder))
    return Machine(folder)


def plan_of(project: Project, **options: object) -> BuildPlan:
    return plan_build(project, **{"version": None, "labels": {}, "environ": os.environ, **options})  # type: ignore[arg-type]


def commit(plan: BuildPlan) -> Lock:
    asked = plan.lock_inputs
    lock = Lock(
        asked.digest, asked.python, asked.platform, f"{asked.resolver} 7.6", BODY, input_lines=asked.input_lines
    )
    (plan.project.root / "kappafile.lock").write_text(lock.text)
    return lock


def check(plan: BuildPlan) -> Lock:
    return check_committed(plan.lock_inputs, plan.project.root / "kappafile.lock")


def inferring(write: WriteProject, code: str, *, packages: Iterable[str] = (), more: str = "") -> Project:
    env = f"\n[env]\ninfer_pip_packages = true\npip_packages = {[*packages]}\n{more}"
    files = {"handlers.py": f"{code}\n\n\ndef greet(person, words):\n    ...\n"}
    project = write(more=env, files=files)
    return read_project(project.root)


def asked_by_others(plan: BuildPlan) -> list[str]:
    """Return what is asked for besides the user's own words and Kappa's."""
    return sorted(
        one.text for one in plan.requirements if one.why not in ("Kappa at run time", "`pip_packages`") and one.why
    )


IMPORTS = {
    "a package": ("import acme_tables", ["acme-tables==2.0"]),
    "a module inside it": ("from acme_tables.wide import frame", ["acme-tables==2.0"]),
    "a distribution of another name": ("import acme_yaml", ["acme-yaml==6.0"]),
    "a part of a namespace": ("import acme_cloud.storage", ["acme-cloud-storage==1.0"]),
    "a part of a namespace, taken from it": ("from acme_cloud import storage", ["acme-cloud-storage==1.0"]),
    "an optional module that is there": (
        "try:\n    import acme_fast\nexcept ImportError:\n    acme_fast = None",
        ["acme-fast==3.0"],
    ),
    "an optional module that is not": (
        "try:\n    import acme_optional\nexcept ImportError:\n    acme_optional = None",
        [],
    ),
    "inside a function": ("def late():\n    import acme_fast", ["acme-fast==3.0"]),
}


@pytest.mark.parametrize("elsewhere", ENVIRONMENTS)
@pytest.mark.parametrize("kind", IMPORTS)
def test_an_import_is_locked_as_it_was_where_the_lock_was_made(
    write_project: WriteProject, machine: Machine, kind: str, elsewhere: str
) -> None:
    code, expected = IMPORTS[kind]
    machine.install(HERE)
    lock = commit(plan_of(inferring(write_project, code)))
    machine.install(ENVIRONMENTS[elsewhere])
    plan = plan_of(inferring(write_project, code))
    assert asked_by_others(plan) == expected
    assert check(plan).inputs == lock.inputs
    assert (
        lock_packages(
            plan.lock_inputs, committed=plan.project.root / "kappafile.lock", environ=os.environ, mode="locked"
        ).text
        == (plan.project.root / "kappafile.lock").read_text()
    )


@pytest.mark.parametrize("elsewhere", ENVIRONMENTS)
def test_what_the_user_names_is_locked_as_it_is_written(
    write_project: WriteProject, machine: Machine, elsewhere: str
) -> None:
    machine.install(HERE)
    project = inferring(write_project, "import acme_tables, acme_yaml", packages=["acme-tables>=1", "acme_yaml"])
    commit(plan_of(project))
    machine.install(ENVIRONMENTS[elsewhere])
    plan = plan_of(project)
    assert asked_by_others(plan) == []
    check(plan)


@pytest.mark.parametrize("elsewhere", ENVIRONMENTS)
@pytest.mark.parametrize(
    ("versions", "expected"),
    [({}, ["acme-forest==1.9", "acme-tables==2.0"]), ({"acme-forest": "1.2"}, ["acme-forest==1.2", "acme-tables"])],
    ids=["the file tells no version", "the file tells the version"],
)
def test_what_a_model_names_is_locked_as_it_was_where_the_lock_was_made(
    write_project: WriteProject,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: str,
    versions: dict[str, str],
    expected: list[str],
) -> None:
    needs = ModelNeeds(("acme_forest.trees", "acme_tables", "decimal"), versions)
    monkeypatch.setattr(PickleArtifact, "needs_of_file", lambda self, path: needs)
    more = '\n[artifacts.model]\ntype = "pickle"\npath = "words.json"\n[security]\npickle = "allow"\n'
    monkeypatch.setattr(PickleArtifact, "sniff", lambda self, path: None)
    machine.install(HERE)
    project = write_project(more=more)
    commit(plan_of(project))
    machine.install(ENVIRONMENTS[elsewhere])
    plan = plan_of(project)
    assert asked_by_others(plan) == expected
    check(plan)


@pytest.mark.parametrize("elsewhere", ENVIRONMENTS)
def test_what_a_plugin_needs_is_locked_as_it_was_where_the_lock_was_made(
    write_project: WriteProject, machine: Machine, monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    project = write_project()
    monkeypatch.setattr(type(project.spec.artifacts[0]), "requires", lambda self: ("Acme_Plugin[gpu]>=1",))
    machine.install(HERE)
    commit(plan_of(project))
    machine.install(ENVIRONMENTS[elsewhere])
    plan = plan_of(project)
    assert asked_by_others(plan) == ["acme-plugin[gpu]==4.0"]
    check(plan)


@pytest.mark.parametrize(
    ("needed", "here", "expected"),
    [
        ("kafka-python", "kafka-python-ng", ["kafka-python-ng==13.0"]),
        ("kafka-python-ng", "kafka-python", ["kafka-python-ng"]),
    ],
    ids=["the usual one", "another one"],
)
def test_of_distributions_of_the_same_module_the_one_that_is_installed_stands_for_the_usual_one(
    write_project: WriteProject,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    needed: str,
    here: str,
    expected: list[str],
) -> None:
    project = write_project()
    monkeypatch.setattr(type(project.spec.artifacts[0]), "requires", lambda self: (needed,))
    machine.install({here: ("13.0", ["kafka/__init__.py"])})
    commit(plan_of(project))
    machine.install({})
    plan = plan_of(project)
    assert asked_by_others(plan) == expected
    check(plan)


def test_a_model_made_with_the_version_of_a_distribution_that_stands_for_another_is_locked_at_it(
    write_project: WriteProject, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write_project()
    artifact = type(project.spec.artifacts[0])
    monkeypatch.setattr(artifact, "requires", lambda self: ("kafka-python",))
    monkeypatch.setattr(artifact, "needs_of_file", lambda self, path: ModelNeeds(("kafka",), {"kafka-python": "13.0"}))
    machine.install({"kafka-python-ng": ("13.0", ["kafka/__init__.py"])})
    plan = plan_of(project)
    assert (asked_by_others(plan), plan.warnings) == (["kafka-python-ng==13.0"], ())


@pytest.mark.parametrize("elsewhere", ENVIRONMENTS)
def test_what_is_installed_nowhere_is_locked_as_it_was_asked_for(
    write_project: WriteProject, machine: Machine, monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    project = write_project()
    monkeypatch.setattr(type(project.spec.artifacts[0]), "requires", lambda self: ("Acme_Plugin", "Acme.Fast>=1,<9"))
    commit(plan_of(project))
    machine.install(ENVIRONMENTS[elsewhere])
    plan = plan_of(project)
    assert asked_by_others(plan) == ["acme-fast<9,>=1", "acme-plugin"]
    assert plan.warnings == ()
    check(plan)


@pytest.mark.parametrize("resolver", ["pip-compile", "uv"])
def test_another_python_takes_the_lock_for_the_python_that_it_was_made_for(
    write_project: WriteProject, machine: Machine, monkeypatch: pytest.MonkeyPatch, resolver: str
) -> None:
    machine.install(HERE)
    project = inferring(write_project, "import acme_tables", more=f'\n[bundle]\nresolver = "{resolver}"\n')
    commit(plan_of(project))
    here = running_python()
    for module in ("bundle.plan", "packages.targets"):
        monkeypatch.setattr(f"kappa.build.{module}.running_python", lambda: "3.99")
    machine.install({})
    plan = plan_of(project)
    assert (plan.lock_inputs.python, plan.base_image) == (here, f"python:{here}-slim")
    check(plan)


def test_a_module_of_a_package_that_is_locked_is_no_drift(write_project: WriteProject, machine: Machine) -> None:
    machine.install(HERE)
    commit(plan_of(inferring(write_project, "import acme_tables")))
    machine.install({})
    check(plan_of(inferring(write_project, "import acme_tables.wide\nfrom acme_tables import narrow")))


def test_an_import_that_the_lock_does_not_know_is_drift(write_project: WriteProject, machine: Machine) -> None:
    machine.install(HERE)
    commit(plan_of(inferring(write_project, "import acme_tables")))
    plan = plan_of(inferring(write_project, "import acme_tables\nimport acme_yaml"))
    with pytest.raises(LockError) as raised:
        check(plan)
    assert str(raised.value) == (
        "`kappafile.lock` has drifted from the code, which imports `acme_yaml` (imported at handlers.py:2) now: what "
        "brings it is not locked. Run `kappa lock` where that is installed, and commit the result."
    )


def test_another_python_makes_a_lock_of_its_own_once_the_committed_one_does_not_fit(
    write_project: WriteProject, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install(HERE)
    commit(plan_of(inferring(write_project, "import acme_tables")))
    for module in ("bundle.plan", "packages.targets"):
        monkeypatch.setattr(f"kappa.build.{module}.running_python", lambda: "3.99")
    plan = plan_of(inferring(write_project, "import acme_yaml"))
    assert plan.lock_inputs.python == "3.99"
    with pytest.raises(LockError, match="it was made for Python 3"):
        check(plan)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "a package more": (
        {"pip_packages": ("acme-yaml", "acme-tables")},
        "it lacks `acme-yaml` (`pip_packages`)",
    ),
    "a package less": ({"pip_packages": ()}, "it holds `acme-tables`, which is no longer required"),
    "another version": (
        {"pip_packages": ("acme-tables>=3",)},
        "it lacks `acme-tables>=3` (`pip_packages`) and holds `acme-tables`, which is no longer required",
    ),
    "an index": ({"pip_index_url": "https://example.org/simple"}, "the indexes or options have changed"),
    "cuda": ({"cuda": "12.4"}, "the indexes or options have changed"),
}


@pytest.mark.parametrize("elsewhere", ["the same", "nothing"])
@pytest.mark.parametrize("kind", CHANGES)
def test_what_has_changed_since_is_named(
    write_project: WriteProject, machine: Machine, kind: str, elsewhere: str
) -> None:
    change, said = CHANGES[kind]
    machine.install(HERE)
    project = inferring(write_project, "import acme_fast", packages=["acme-tables"])
    commit(plan_of(project))
    machine.install(ENVIRONMENTS[elsewhere])
    env = project.spec.env.model_copy(update=change)
    plan = plan_of(replace(project, spec=project.spec.model_copy(update={"env": env})))
    with pytest.raises(LockError) as raised:
        check(plan)
    assert str(raised.value).startswith(f"`kappafile.lock` is out of date: {said}")
    assert str(raised.value).endswith(". Run `kappa lock`, and commit the result.")


def test_an_import_that_is_gone_is_a_change(write_project: WriteProject, machine: Machine) -> None:
    machine.install(HERE)
    commit(plan_of(inferring(write_project, "import acme_tables, acme_yaml")))
    machine.install({})
    with pytest.raises(LockError, match=r"out of date: it holds `acme-yaml==6\.0`, which is no longer required"):
        check(plan_of(inferring(write_project, "import acme_tables")))


def test_a_model_that_was_made_anew_with_another_version_is_a_change(
    write_project: WriteProject, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"acme-forest": "1.2"}
    monkeypatch.setattr(
        PickleArtifact, "needs_of_file", lambda self, path: ModelNeeds(("acme_forest.trees",), dict(versions))
    )
    monkeypatch.setattr(PickleArtifact, "sniff", lambda self, path: None)
    more = '\n[artifacts.model]\ntype = "pickle"\npath = "words.json"\n[security]\npickle = "allow"\n'
    machine.install(HERE)
    project = write_project(more=more)
    commit(plan_of(project))
    versions["acme-forest"] = "1.3"
    (project.root / "words.json").write_text('{"another": "model"}')
    machine.install({})
    said = r"it lacks `acme-forest==1\.3` \(named in words\.json .*\) and holds `acme-forest==1\.2`"
    with pytest.raises(LockError, match=said):
        check(plan_of(project))


def test_what_a_removed_requirement_of_the_users_answered_is_inferred_anew(
    write_project: WriteProject, machine: Machine
) -> None:
    machine.install(HERE)
    commit(plan_of(inferring(write_project, "import acme_tables", packages=["acme-tables>=1"])))
    plan = plan_of(inferring(write_project, "import acme_tables"))
    assert asked_by_others(plan) == ["acme-tables==2.0"]
    with pytest.raises(LockError, match="is out of date"):
        check(plan)


@pytest.mark.parametrize(
    ("options", "version"), [({}, "2.0"), ({"packages": ["Acme_Tables"]}, "9.2.0"), ({"upgrade": True}, "9.2.0")]
)
def test_versions_that_are_inferred_stay_until_they_are_upgraded(
    write_project: WriteProject, machine: Machine, options: dict[str, object], version: str
) -> None:
    machine.install(HERE)
    project = inferring(write_project, "import acme_tables\nimport acme_yaml")
    commit(plan_of(project))
    machine.install(ENVIRONMENTS["other versions"])
    yaml = "9.6.0" if "upgrade" in options else "6.0"
    assert asked_by_others(plan_of(project, **options)) == [f"acme-tables=={version}", f"acme-yaml=={yaml}"]


# -- the formats -------------------------------------------------------------------------------------------------------


def heard(action: Callable[[], object]) -> list[str]:
    said: list[str] = []
    with listening(lambda message, kind: said.append(message) if kind == "warning" else None):
        action()
    return said


def test_the_record_says_who_asked_and_what_was_answered(write_project: WriteProject, machine: Machine) -> None:
    machine.install(HERE)
    code = "import acme_yaml, acme_tables\nfrom acme_cloud import queue\n"
    code += "try:\n    import acme_optional\nexcept ImportError:\n    ..."
    lock = commit(plan_of(inferring(write_project, code, packages=["Acme_Tables >= 1"])))
    lines = [line for line in lock.text.splitlines() if line.startswith("# kappa-input: ")]
    assert [line for line in lines if not line.startswith("# kappa-input: kappa ")] == [
        "# kappa-input: import acme_cloud.queue -> acme-cloud-queue==1.1",
        "# kappa-input: import acme_optional -> none",
        "# kappa-input: import acme_tables -> user acme-tables",
        "# kappa-input: import acme_yaml -> acme-yaml==6.0",
        "# kappa-input: user Acme_Tables >= 1",
    ]
    assert lines == [
        f"# kappa-input: {line}" for line in sorted(line.removeprefix("# kappa-input: ") for line in lines)
    ]
    read = Lock.parse(lock.text)
    assert read is not None
    assert (read.input_lines, read.body, read.is_edited) == (tuple(sorted(set(lock.input_lines))), BODY, False)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda text: text.replace("-> acme-yaml==6.0", "-> acme-yaml==6.1"), id="another answer"),
        pytest.param(lambda text: text.replace("import acme_yaml", "imports acme_yaml"), id="no such line"),
        pytest.param(lambda text: text.replace("# kappa-input: import acme_yaml -> acme-yaml==6.0\n", ""), id="gone"),
    ],
)
def test_a_record_that_was_edited_is_an_edit(
    write_project: WriteProject, machine: Machine, edit: Callable[[str], str]
) -> None:
    machine.install(HERE)
    project = inferring(write_project, "import acme_yaml")
    lock = commit(plan_of(project))
    assert edit(lock.text) != lock.text
    (project.root / "kappafile.lock").write_text(edit(lock.text))
    with pytest.raises(LockError, match="was edited by hand"):
        check(plan_of(project))


def old(lock: Lock) -> Lock:
    return replace(lock, format=1, input_lines=())


def test_a_lock_of_the_first_format_holds_with_a_warning_and_is_rewritten_with_its_versions(
    write_project: WriteProject, machine: Machine
) -> None:
    machine.install(HERE)
    project = inferring(write_project, "import acme_yaml")
    lock = commit(plan_of(project))
    committed = project.root / "kappafile.lock"
    committed.write_text(old(lock).text)
    plan = plan_of(project)
    for action in (
        lambda: check(plan),
        lambda: lock_packages(plan.lock_inputs, committed=committed, environ=os.environ),
    ):
        assert heard(action) == [
            (
                "`kappafile.lock` is of the old format 1, which does not say what it was made from, so it may not hold "
                "on another machine: run `kappa lock`, and commit the result."
            )
        ]
    assert relock(plan.lock_inputs, committed, environ=os.environ).is_written
    assert committed.read_text() == lock.text


def test_a_lock_of_the_first_format_says_why_it_cannot_be_compared_elsewhere(
    write_project: WriteProject, machine: Machine
) -> None:
    machine.install(HERE)
    project = inferring(write_project, "import acme_yaml")
    lock = commit(plan_of(project))
    (project.root / "kappafile.lock").write_text(old(lock).text)
    machine.install(ENVIRONMENTS["other versions"])
    with pytest.raises(LockError, match="it is of the old format 1, which does not say what it was made from"):
        check(plan_of(project))


def test_a_lock_of_a_newer_kappa_is_told_from_a_foreign_file(write_project: WriteProject) -> None:
    project = write_project()
    (project.root / "kappafile.lock").write_text("# kappa-lock: 3 of some kind\n")
    with pytest.raises(LockError, match="is of format 3, and this Kappa knows formats up to 2: update Kappa"):
        check(plan_of(project))


def test_what_is_asked_for_the_same_way_shares_a_cached_lock_and_keeps_its_own_record(
    write_project: WriteProject, machine: Machine, kappa_home: Path
) -> None:
    machine.install(HERE)
    inferred = plan_of(inferring(write_project, "import acme_yaml")).lock_inputs
    listed = plan_of(inferring(write_project, "", packages=["acme-yaml==6.0"])).lock_inputs
    assert inferred.digest == listed.digest
    place = kappa_home / "locks" / inferred.digest.replace(":", "-")
    place.parent.mkdir(parents=True)
    place.write_text(
        Lock(inferred.digest, inferred.python, inferred.platform, "x 1", BODY, input_lines=inferred.input_lines).text
    )
    assert set(lock_packages(listed, committed=None, environ=os.environ).input_lines) == set(listed.input_lines)
