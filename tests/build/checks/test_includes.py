"""What patterns and folders select: everything in them, links followed, secrets and impossible names refused."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.project import Project, check_kappafile, read_project
from kappa.errors import ConfigurationError
from kappa.spec.service import FilesSpec

SERVICE = 'kappafile = 1\n[service]\nname = "Service"\n{service}[apis.predict]\nfunction = "handlers:predict"\n'
BUNDLE = 'input = "json"\n[bundle]\nresolver = "installed"\n'
KEY = "-----BEGIN {}PRIVATE KEY-----\nMII…\n-----END {}PRIVATE KEY-----\n"


def write(
    root: Path, files: Mapping[str, str], *, include: Sequence[str] = (), exclude: Sequence[str] = (), service: str = ""
) -> Path:
    more = f"include = {list(include)!r}\nexclude = {list(exclude)!r}\n"
    kappafile = SERVICE.format(service=service) + BUNDLE + more
    for name, text in {"kappafile.toml": kappafile, "handlers.py": "def predict(x): ...\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def planned(project: Project) -> BuildPlan:
    return plan_build(project, version=None, labels={}, environ=os.environ)


def included(root: Path) -> list[str]:
    return [str(path) for path in planned(read_project(root)).includes]


def problems(root: Path) -> list[tuple[str, str, int]]:
    """Return what a validation finds: code, severity and line."""
    found = check_kappafile(root / "kappafile.toml")[1]
    return [(one.code, one.severity, one.span.line) for one in found]


# -- folders of any name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["build", "dist", "deep/build", "deep/dist/build", "dist/build", "target", "out"])
@pytest.mark.parametrize("pattern", ["assets", "assets/", "assets/**", "assets/**/*.txt", "*", "**/*.txt", ".", "./"])
def test_a_folder_is_packed_with_folders_of_any_name(folder: str, pattern: str, tmp_path: Path) -> None:
    root = write(tmp_path, {f"assets/{folder}/x.txt": ""}, include=[pattern])
    assert f"assets/{folder}/x.txt" in included(root)


@pytest.mark.parametrize("pattern", [".", "**/*.txt", "*"])
def test_what_tools_write_at_the_top_is_packed_only_if_it_is_named(pattern: str, tmp_path: Path) -> None:
    root = write(tmp_path, {"dist/x.txt": "", "build/y.txt": "", "a.txt": ""}, include=[pattern])
    assert [path for path in included(root) if path.endswith(".txt")] == ["a.txt"]
    assert included(write(tmp_path, {}, include=["dist", "build/*.txt"])) == ["build/y.txt", "dist/x.txt"]


@pytest.mark.parametrize("name", ["build", "dist"])
def test_files_of_those_names_are_packed(name: str, tmp_path: Path) -> None:
    assert included(write(tmp_path, {f"scripts/{name}": "", name: ""}, include=["scripts", name])) == [
        name,
        f"scripts/{name}",
    ]


@pytest.mark.parametrize(
    "pattern",
    ["./a", "a/", ".//a", "././a", "a/.", "a/./b", "a//b", "./a/b/x.txt", "a\\b", "./**/x.txt", "./a/*/x.txt"],
)
def test_patterns_mean_the_same_however_their_path_is_written(pattern: str, tmp_path: Path) -> None:
    assert included(write(tmp_path, {"a/b/x.txt": ""}, include=[pattern])) == ["a/b/x.txt"]


@pytest.mark.parametrize("exclude", ["./a", "a/", "a//b", "./a/b/x.txt"])
def test_exclusions_do_too(exclude: str, tmp_path: Path) -> None:
    root = write(tmp_path, {"a/b/x.txt": "", "c.txt": ""}, include=["**/*.txt"], exclude=[exclude])
    assert included(root) == ["c.txt"]


# -- links -------------------------------------------------------------------------------------------------------------


def test_linked_files_and_folders_of_the_project_are_packed(tmp_path: Path) -> None:
    root = write(tmp_path / "project", {"cache/1/x.txt": "", "cache/y.txt": ""}, include=["assets"])
    (root / "assets").mkdir()
    (root / "assets" / "deep").symlink_to(root / "cache")
    (root / "assets" / "y.txt").symlink_to("../cache/y.txt")
    assert problems(root) == []
    assert included(root) == ["assets/deep/1/x.txt", "assets/deep/y.txt", "assets/y.txt"]


@pytest.mark.parametrize("kind", ["out", "nothing", "itself", "above"])
@pytest.mark.parametrize("pattern", ["assets", "**/*.txt", "."])
def test_what_cannot_be_followed_is_said_and_the_rest_is_packed(kind: str, pattern: str, tmp_path: Path) -> None:
    root = write(tmp_path / "project", {"assets/x.txt": ""}, include=[pattern], exclude=["absent"])
    (tmp_path / "cache").mkdir()
    target = {"out": tmp_path / "cache", "nothing": root / "absent", "itself": root / "assets", "above": root}[kind]
    (root / "assets" / "link").symlink_to(target)
    assert problems(root) == [("KF303", "warning", 9)]
    assert [path for path in included(root) if path.startswith("assets")] == ["assets/x.txt"]
    write(root, {}, include=[pattern], exclude=["assets/link"])
    assert problems(root) == []


def test_a_linked_file_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").touch()
    root = write(tmp_path / "project", {}, include=["*.txt"])
    (root / "x.txt").symlink_to(tmp_path / "x.txt")
    assert problems(root) == [("KF303", "error", 9)]


def test_static_content_follows_links_too(tmp_path: Path) -> None:
    root = write(tmp_path, {"site/a.html": "", "shared/b.html": ""}, service='web_static_content = "site"\n')
    (root / "site" / "shared").symlink_to("../shared")
    plan = planned(read_project(root))
    assert [str(path) for path in plan.static_content] == [
        "web_static_content/a.html",
        "web_static_content/shared/b.html",
    ]


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"caf\xe9.txt", b"caf\xe9/x.txt", b"\xff"])
@pytest.mark.parametrize("pattern", ["d", "d/**", "**/*"])
def test_names_that_are_not_utf8_are_refused_before_anything_is_built(
    name: bytes, pattern: str, tmp_path: Path
) -> None:
    root = write(tmp_path, {"d/ok.txt": ""}, include=[pattern])
    path = root / "d" / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    assert problems(root) == [("KF327", "error", 9)]
    project = Project.declared(root, None, read_project(write(root, {}, include=[])).spec, {})
    by_class = project.spec.model_copy(update={"files": FilesSpec(include=(pattern,), resolver="installed")})
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        planned(Project.declared(root, None, by_class, {}))


def test_the_static_content_is_held_to_that_too(tmp_path: Path) -> None:
    root = write(tmp_path, {"site/a.html": ""}, service='web_static_content = "site"\n')
    (root / "site" / os.fsdecode(b"\xff.html")).touch()
    assert problems(root) == [("KF327", "error", 4)]


@pytest.mark.parametrize("name", ["__pycache__/x.txt", ".DS_Store", ".pytest_cache/x"])
def test_a_file_that_no_bundle_holds_is_refused_where_it_is_named(name: str, tmp_path: Path) -> None:
    assert problems(write(tmp_path, {f"d/{name}": ""}, include=[f"d/{name}"])) == [("KF327", "error", 9)]


LEFT_BY_TOOLS = [
    ".ipynb_checkpoints/a-checkpoint.txt",
    "a.txt~",
    ".a.txt.swp",
    ".a.txt.swo",
    ".#a.txt",
    "#a.txt#",
    ".env~",
    "..env.swp",
    "Thumbs.db",
    "desktop.ini",
    ".dvc/config.local",
    ".tox/x.txt",
    ".idea/x.txt",
    ".hg/x.txt",
    "__pycache__/a.cpython-311.pyc.1398",
]
ENVIRONMENTS = {"venv": "pyvenv.cfg", "env": "conda-meta/history", "deep/conda": "conda-meta/history"}


@pytest.mark.parametrize("pattern", ["d", ".", "**/*", "d/**", "d/*"])
@pytest.mark.parametrize("name", LEFT_BY_TOOLS)
def test_what_tools_and_editors_leave_is_packed_only_if_it_is_named(name: str, pattern: str, tmp_path: Path) -> None:
    root = write(tmp_path, {f"d/{name}": "", "d/a.txt": ""}, include=[pattern])
    assert [path for path in included(root) if path.startswith("d/")] == ["d/a.txt"]


@pytest.mark.parametrize("name", ["a.txt~", "Thumbs.db", ".tox/x.txt", ".ipynb_checkpoints/a-checkpoint.txt"])
def test_what_tools_left_and_is_named_by_itself_is_packed(name: str, tmp_path: Path) -> None:
    assert included(write(tmp_path, {f"d/{name}": ""}, include=[f"d/{name}"])) == [f"d/{name}"]


@pytest.mark.parametrize("folder", ENVIRONMENTS)
def test_environments_in_a_project_are_not_packed(folder: str, tmp_path: Path) -> None:
    files = {f"{folder}/{ENVIRONMENTS[folder]}": "", f"{folder}/lib/python3.11/site-packages/x.txt": "", "a.txt": ""}
    assert [path for path in included(write(tmp_path, files, include=["**/*.txt"])) if path.endswith(".txt")] == [
        "a.txt"
    ]


# -- secrets -----------------------------------------------------------------------------------------------------------

SECRETS = {
    ".env": "A=1",
    ".env.production": "A=1",
    "deploy/prod.env": "A=1",
    ".envrc": "",
    ".aws/credentials": "",
    ".aws/config": "",
    "home/.ssh/id_rsa": "",
    "home/.ssh/known_hosts": "",
    ".config/gcloud/x.db": "",
    ".docker/config.json": "{}",
    ".kube/config": "",
    ".netrc": "",
    ".pypirc": "",
    ".npmrc": "",
    ".pgpass": "",
    ".git-credentials": "",
    ".htpasswd": "",
    "id_ed25519": "",
    "certs/server.key": "",
    "certs/store.p12": "",
    "certs/store.PFX": "",
    "certs/server.pem": KEY.format("", ""),
    "certs/old.pem": KEY.format("RSA ", "RSA "),
    "certs/locked.pem": KEY.format("ENCRYPTED ", "ENCRYPTED "),
    "certs/ssh": KEY.format("OPENSSH ", "OPENSSH "),
    "service.json": '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\n"}',
    "credentials.json": "{}",
    "gcp-credentials.json": "{}",
    "client_secret_1.json": "{}",
    "service-account.json": "{}",
    "secrets.toml": "",
    ".streamlit/secrets.toml": "",
    "kaggle.json": "{}",
    "terraform.tfstate": "{}",
    "kubeconfig": "",
    "htpasswd": "",
    "pip.conf": "",
    ".huggingface/token": "",
    ".env.bak": "",
    ".netrc.old": "",
    "id_rsa.bak": "",
    "id_rsa.orig": "",
    "server.key.save": "",
    "secrets.toml.tmp": "",
    "old/server.pem.bak": KEY.format("", ""),
}
HARMLESS = {
    ".env.example": "A=",
    ".env.sample": "A=",
    "environment.txt": "",
    "certs/ca.pem": "-----BEGIN CERTIFICATE-----",
    "keys.csv": "",
    "tokenizer.json": "{}",
    "secretary.txt": "",
    ".hidden": "",
    "id_rsa.txt": "no key",
    "model.bak": "",
    "words.txt.old": "",
    "server.pem.bak": "-----BEGIN CERTIFICATE-----",
}


@pytest.mark.parametrize("name", SECRETS)
def test_no_wildcard_and_no_folder_packs_a_secret(name: str, tmp_path: Path) -> None:
    root = write(tmp_path, {f"d/{name}": SECRETS[name]})
    for pattern in ("d", ".", "**/*", "d/**", f"d/{name[:-1]}?", str(Path("d", name).parent)):
        write(root, {}, include=[pattern])
        assert problems(root) == [("KF326", "error", 9)], pattern
        text = (root / "kappafile.toml").read_text()
        spec = read_project(write(root, {})).spec
        spec = spec.model_copy(update={"files": FilesSpec(include=(pattern,), resolver="installed")})
        with pytest.raises(ConfigurationError, match=r"would pack `d/.*Leave it out with `exclude`"):
            planned(Project.declared(root, None, spec, {}))
        (root / "kappafile.toml").write_text(text)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_named_by_itself_is_packed_and_one_that_is_excluded_is_not(name: str, tmp_path: Path) -> None:
    root = write(tmp_path, {f"d/{name}": SECRETS[name], "d/x.txt": ""}, include=["d", f"./d/{name}"])
    assert problems(root) == []
    assert included(root) == sorted(["d/x.txt", f"d/{name}"], key=Path)
    assert included(write(root, {}, include=["d"], exclude=[f"d/{name}"])) == ["d/x.txt"]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_looks_a_little_like_a_secret_is_packed(name: str, tmp_path: Path) -> None:
    root = write(tmp_path, {f"d/{name}": HARMLESS[name]}, include=["d"])
    assert problems(root) == []
    assert included(root) == [f"d/{name}"]


def test_the_static_content_packs_no_secret_either(tmp_path: Path) -> None:
    root = write(tmp_path, {"site/a.html": "", "site/.env": ""}, service='web_static_content = "site"\n')
    assert problems(root) == [("KF326", "error", 4)]
    write(root, {}, exclude=["site/.env"], service='web_static_content = "site"\n')
    assert problems(root) == []
    assert [str(path) for path in planned(read_project(root)).static_content] == ["web_static_content/a.html"]


def test_a_library_leaves_its_secrets_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"acme/__init__.py": "", "acme/data.txt": "", "acme/.env": "", "acme/key.pem": KEY.format("", "")}
    for name, text in files.items():
        (tmp_path / "libs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "libs" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "libs")
    plan = planned(read_project(write(tmp_path / "project", {"handlers.py": "import acme\ndef predict(x): ...\n"})))
    assert [str(path) for path in plan.includes] == ["acme/data.txt"]
    assert [warning.split(" is left out")[0] for warning in plan.warnings] == ["`acme/.env`", "`acme/key.pem`"]
