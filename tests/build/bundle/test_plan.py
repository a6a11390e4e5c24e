"""What a build decides: the requirements with their reasons, the files with their places, and every problem at once."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.packages.wheel import describe_kappa
from kappa.build.project import Project
from kappa.errors import ConfigurationError, UsageError
from kappa.spec.document import ArtifactSource
from kappa.spec.platforms import running_platform, running_python

WriteProject = Callable[..., Project]
RUNTIME = dict.fromkeys(describe_kappa().runtime, "Kappa at run time")


def made(project: Project, **options: Any) -> BuildPlan:
    return plan_build(project, **{"version": None, "labels": {}, "environ": os.environ, **options})


def changed(project: Project, **parts: Mapping[str, Any]) -> Project:
    """Return the project with other values in the parts of its specification, unchecked by the kappafile's reader."""
    updates = {name: getattr(project.spec, name).model_copy(update=dict(update)) for name, update in parts.items()}
    return replace(project, spec=project.spec.model_copy(update=updates))


def reasons(plan: BuildPlan) -> dict[str, str]:
    return {one.text: one.why for one in plan.requirements if one.text not in RUNTIME}


def problems_of(project: Project, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as raised:
        made(project, **options)
    return str(raised.value)


def test_service_that_needs_nothing_asks_for_what_kappa_needs(write_project: WriteProject) -> None:
    plan = made(write_project())
    assert {one.text: one.why for one in plan.requirements} == RUNTIME
    assert plan.lock_inputs.requirements == tuple(RUNTIME)


def test_packages_of_the_user_stand_as_written(write_project: WriteProject) -> None:
    packages = ["apple[skin]>=1; python_version > '3'", "pear @https://example.org/pear.zip"]
    plan = made(write_project(more=f"\n[env]\npip_packages = {json.dumps(packages)}\n"))
    assert reasons(plan) == dict.fromkeys(packages, "`pip_packages`")


def test_plugins_bring_what_they_require_at_the_installed_version(
    write_project: WriteProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write_project()
    artifact = type(project.spec.artifacts[0])
    monkeypatch.setattr(artifact, "requires", lambda self: ("apple", "Pear[skin]; sys_platform != 'win32'", "plum"))
    versions = {"apple": "1.5+cpu", "Pear": "2.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    plan = made(changed(project, env={"pip_packages": ("PLUM<3",)}))
    assert reasons(plan) == {
        "apple==1.5": "the artifact `words` (json)",
        'pear[skin]==2.0; sys_platform != "win32"': "the artifact `words` (json)",
        "PLUM<3": "`pip_packages`",
    }


def test_imports_are_added_at_the_installed_version_when_asked_for(write_project: WriteProject) -> None:
    version = importlib.metadata.version("tomli")
    files = {"handlers.py": "import tomli\nimport kappa\n\n\ndef greet(person, words):\n    ...\n"}
    inferring = write_project(more="\n[env]\ninfer_pip_packages = true\n", files=files)
    assert reasons(made(inferring)) == {f"tomli=={version}": "imported at handlers.py:1"}
    assert reasons(made(changed(inferring, env={"infer_pip_packages": False}))) == {}
    assert reasons(made(changed(inferring, env={"pip_packages": ("Tomli",)}))) == {"Tomli": "`pip_packages`"}


def test_kappa_is_never_asked_of_an_index(write_project: WriteProject) -> None:
    plan = made(changed(write_project(), env={"pip_packages": ("kappa-ml>=0.1", "Kappa")}))
    assert reasons(plan) == {}
    assert plan.warnings == (
        "`kappa-ml>=0.1` in `pip_packages` is left out, because the bundle carries Kappa itself.",
        "`Kappa` in `pip_packages` is left out, because the bundle carries Kappa itself.",
    )


def test_requirements_file_replaces_every_other_source(
    write_project: WriteProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = "--extra-index-url https://example.org/simple\napple==1.0 --hash=sha256:aa\nkappa-ml\n-c limits.txt\n"
    project = write_project(
        more='\n[env]\nrequirements_txt_file = "requirements.txt"\ninfer_pip_packages = true\n',
        files={
            "requirements.txt": listed,
            "limits.txt": "pear<2\n",
            "handlers.py": "import tomli\ndef greet(p): ...\n",
        },
    )
    monkeypatch.setattr(type(project.spec.artifacts[0]), "requires", lambda self: ("apple", "plum"))
    plan = made(project)
    assert reasons(plan) == {"apple==1.0": "requirements.txt:2"}
    assert set(plan.lock_inputs.requirements) - set(RUNTIME) == {"apple==1.0 --hash=sha256:aa"}
    assert plan.lock_inputs.constraints == ("pear<2",)
    assert plan.lock_inputs.options == ("--extra-index-url https://example.org/simple",)
    own, missing = plan.warnings
    assert own == "`kappa-ml` in `requirements.txt:3` is left out, because the bundle carries Kappa itself."
    assert missing.startswith("`requirements.txt` does not name `plum`, which the artifact `words` (json) needs; ")


def test_files_go_below_the_package_and_keep_their_places(write_project: WriteProject) -> None:
    project = write_project(
        more='\n[bundle]\ninclude = ["lookup/*.csv"]\n',
        files={
            "lookup/a.csv": "1",
            "site/index.html": "<p>",
            "site/build/app.js": "",
            "site/__pycache__/x.pyc": "",
            "kappafile.toml": GREETER_WITH_SITE,
        },
    )
    plan = made(project)
    assert [path.as_posix() for path in plan.content_files] == [
        "Greeter/handlers.py",
        "Greeter/lookup/a.csv",
        "Greeter/web_static_content/build/app.js",
        "Greeter/web_static_content/index.html",
        "Greeter/wording/__init__.py",
    ]
    assert plan.content_files[PurePosixPath("Greeter/lookup/a.csv")] == project.root / "lookup" / "a.csv"


GREETER_WITH_SITE = """\
kappafile = 1
[service]
name = "Greeter"
web_static_content = "./site"
[artifacts.words]
type = "json"
path = "words.json"
[apis.greet]
function = "handlers:greet"
input = "json"
"""


def test_set_up_script_is_a_path_or_the_text_itself(write_project: WriteProject) -> None:
    project = write_project(files={"setup.sh": "echo from file\r\n"})
    by_path = made(changed(project, env={"setup_sh": "./setup.sh"}))
    by_text = made(changed(project, env={"setup_sh": "#!/bin/bash"}))
    by_lines = made(changed(project, env={"setup_sh": "echo a\necho b"}))
    assert [plan.setup_script for plan in (by_path, by_text, by_lines)] == [
        "echo from file\n",
        "#!/bin/bash\n",
        "echo a\necho b\n",
    ]


@pytest.mark.parametrize(
    ("declared", "configured", "image"),
    [
        pytest.param(None, None, f"python:{running_python()}-slim", id="from the version"),
        pytest.param(None, "registry.example.org:5000/base:1", "registry.example.org:5000/base:1", id="config.yml"),
        pytest.param("mine@sha256:00", "other", "mine@sha256:00", id="kappafile"),
    ],
)
def test_base_image(
    write_project: WriteProject, kappa_home: Path, declared: str | None, configured: str | None, image: str
) -> None:
    if configured:
        kappa_home.mkdir()
        (kappa_home / "config.yml").write_text(f"default_docker_base_image: {configured}\n")
    assert made(changed(write_project(), env={"docker_base_image": declared})).base_image == image


def test_other_python_names_the_ways_out(write_project: WriteProject) -> None:
    assert problems_of(changed(write_project(), env={"python": "3.99"})).endswith(
        f"The service wants packages for Python 3.99 on {running_platform()}, and pip-compile can pin them only for "
        f"what runs it, which is Python {running_python()} on {running_platform()} here: build there, or set "
        '`resolver = "uv"` in `[bundle]`.'
    )


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        pytest.param("allow", "", id="allow"),
        pytest.param("warn", "The artifact `words` is kept as a pickle", id="warn"),
    ],
)
def test_pickles_are_packed_with_a_word(
    write_project: WriteProject, monkeypatch: pytest.MonkeyPatch, policy: str, says: str
) -> None:
    project = write_project()
    monkeypatch.setattr(type(project.spec.artifacts[0]), "is_pickle", True)
    warnings = made(changed(project, security={"pickle": policy})).warnings
    assert len(warnings) == bool(says)
    assert "".join(warnings).startswith(says)


def test_everything_wrong_is_reported_at_once(write_project: WriteProject, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write_project(files={"artifacts/words/x.py": "", "__init__.py": ""})
    monkeypatch.setattr(type(project.spec.artifacts[0]), "is_pickle", True)
    sources = {
        "words": ArtifactSource(path=project.root / "absent.json", metadata={"when": object()}),
        "other": ArtifactSource(value=1),
    }
    env = {
        "pip_packages": ("--pre", "x @ git+https://h/x"),
        "setup_sh": "absent.sh",
        "docker_base_image": "python && rm",
        "python": "3.99",
    }
    broken = changed(
        replace(project, sources=sources),
        env=env,
        security={"pickle": "forbid"},
        files={"include": ("artifacts/**/*", "*.py"), "resolver": "pip-compiler"},
    )
    said = problems_of(broken, labels={"team": "a b"})
    for part in (
        "things are wrong:\n- ",
        "`pip_packages`: `--pre` is an option of pip",
        "`pip_packages`: `x @ git+https://h/x` names a repository",
        "`__init__.py` cannot be packed",
        "`artifacts/words/x.py` cannot be packed",
        "There is no resolver `pip-compiler`. Did you mean `pip-compile`?",
        "`a b` cannot be the value of a label",
        "`setup_sh` names `absent.sh`, which cannot be read: No such file or directory.",
        "The artifact `words` cannot be `",
        "The metadata of the artifact `words` holds more than text and numbers.",
        "There is a model for the artifact `other`, which the service does not declare.",
        "The artifact `words` would be packed as a pickle, which `pickle` in `[security]` forbids.",
        "`python && rm` does not name an image",
    ):
        assert part in said


@pytest.mark.parametrize("name", ["handlers", "wording", "json", "Build", "kappa"])
def test_service_whose_package_would_hide_another_is_refused(write_project: WriteProject, name: str) -> None:
    project = write_project()
    renamed = replace(project, spec=project.spec.model_copy(update={"name": name}))
    assert f"`{name}`" in problems_of(renamed)


def test_model_that_its_type_refuses_is_refused_before_anything_is_written(write_project: WriteProject) -> None:
    project = write_project()
    folder = replace(project, sources={"words": ArtifactSource(path=project.root)})
    assert "The artifact `words` cannot be `" in problems_of(folder)


def test_version_that_is_none_is_a_wrong_call(write_project: WriteProject) -> None:
    with pytest.raises(UsageError, match="`latest` is reserved"):
        made(write_project(), version="Latest")


def test_plan_reads_as_text_and_as_json(write_project: WriteProject) -> None:
    plan = made(write_project(), version="1.0", labels={"team": "growth"})
    summary = plan.summary()
    assert summary.splitlines()[0] == "Greeter (1.0)"
    assert "\nCode (2)\n  handlers.py\n  wording/__init__.py\n" in summary
    assert "\nArtifacts (1)\n  words  json, words.json\n" in summary
    assert "\nLabels (1)\n  team  growth" in summary
    tree = json.loads(json.dumps(plan.to_tree()))
    assert tree["requirements"] == [{"requirement": text, "why": why} for text, why in RUNTIME.items()]
    assert {key: tree[key] for key in ("name", "version", "python", "code", "artifacts", "labels")} == {
        "name": "Greeter",
        "version": "1.0",
        "python": running_python(),
        "code": ["handlers.py", "wording/__init__.py"],
        "artifacts": [{"name": "words", "type": "json", "path": "words.json"}],
        "labels": {"team": "growth"},
    }
