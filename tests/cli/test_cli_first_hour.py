"""What a newcomer types first, and which words lead on from there."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import joblib
import pytest
from click.testing import Result
from sklearn.linear_model import LinearRegression

from kappa.build.project import check_kappafile

Kappa = Callable[..., Result]

PROJECT_COMMANDS = [
    ["validate"],
    ["build"],
    ["lock"],
    ["test"],
    ["serve"],
    ["run", "predict", "--input", "1"],
    ["generate", "github-action"],
    ["open-api-spec"],
]


def on(target: str, command: list[str]) -> list[str]:
    """Return a command line with its target where that stands."""
    at = 2 if command[0] == "generate" else 1
    return [*command[:at], target, *command[at:]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", PROJECT_COMMANDS, ids=" ".join)
def test_of_two_kappafiles_one_can_be_named_as_the_message_says(kappa: Kappa, folder: Path, command: list[str]) -> None:
    for name in ("kappafile.toml", "kappafile.yaml"):
        (folder / name).write_text("nonsense", encoding="utf-8")
    result = kappa(*on(".", command))
    assert result.exit_code == 3
    assert "name the one that is meant instead of its folder, e.g. `kappa validate kappafile.toml`." in result.stderr
    followed = kappa(*on("kappafile.toml", command))
    assert "kappafile.toml:1:" in followed.output


@pytest.mark.parametrize("command", PROJECT_COMMANDS, ids=" ".join)
def test_a_model_in_the_place_of_a_kappafile_is_answered_with_the_command_that_writes_one(
    kappa: Kappa, folder: Path, command: list[str]
) -> None:
    joblib.dump(LinearRegression().fit([[0.0]], [1.0]), folder / "house.joblib")
    result = kappa(*on("house.joblib", command))
    assert result.exit_code == 3
    assert "\N{REPLACEMENT CHARACTER}" not in result.output
    assert "This is a model: `kappa init house.joblib` writes a kappafile for it." in result.output
    assert kappa("init", "house.joblib").exit_code == 0
    assert not [problem for problem in check_kappafile(folder / "kappafile.toml")[1] if problem.is_error]


@pytest.mark.parametrize("command", ["info", "serve-gunicorn", "tune", "get", "containerize"])
def test_so_it_is_where_a_bundle_is_meant(kappa: Kappa, folder: Path, command: str) -> None:
    (folder / "house.pkl").write_bytes(pickle.dumps({"a": 1}))
    result = kappa(command, "./house.pkl")
    assert result.exit_code == 3
    assert "`kappa init house.pkl`" in result.output


@pytest.mark.parametrize(
    ("name", "words"),
    [("service.py", "`service:CLASS` to `kappa build`"), ("net.tflite", "`kappa explain KF205` shows what to write")],
)
def test_other_files_lead_on_too(kappa: Kappa, folder: Path, name: str, words: str) -> None:
    (folder / name).write_text("x = 1\n", encoding="utf-8")
    result = kappa("build", name)
    assert result.exit_code == 3
    assert words in result.output


@pytest.mark.parametrize("command", [*PROJECT_COMMANDS[:3]], ids=" ".join)
def test_a_file_that_is_not_there_is_said_to_be_absent(kappa: Kappa, folder: Path, command: list[str]) -> None:
    result = kappa(*on("absent", command))
    assert (result.exit_code, result.stderr) == (2, "error: There is no kappafile or directory `absent`.\n")


@pytest.mark.parametrize(
    "command", [["serve"], ["test"], ["serve-gunicorn"], ["run", "predict", "--input", "1"], ["info"]], ids=" ".join
)
@pytest.mark.parametrize("name", ["service", "package.service"])
def test_a_class_leads_to_its_build(kappa: Kappa, folder: Path, command: list[str], name: str) -> None:
    (folder / "package").mkdir()
    for path in ("service.py", "package/service.py"):
        (folder / path).write_text("class Service: ...\n", encoding="utf-8")
    result = kappa(*on(f"{name}:Service", command))
    message = f"error: `{name}:Service` is a class: build it with `kappa build {name}:Service`, and name the bundle.\n"
    assert (result.exit_code, result.stderr) == (2, message)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("service.py:Service", "service:Service"),
        ("servise:Service", "service:Service"),
        ("service:Servise", "service:Service"),
    ],
)
def test_a_class_that_is_misspelt_is_found(kappa: Kappa, folder: Path, written: str, meant: str) -> None:
    (folder / "service.py").write_text("class Service: ...\n", encoding="utf-8")
    result = kappa("build", written)
    assert result.exit_code == 3
    assert f"Did you mean `{meant}`?" in result.stderr


REFERENCES = [
    "handlers.py:{name}",
    "./handlers.py:{name}",
    "handlers.{name}",
    "handlers/{name}",
    "handlers::{name}",
    "handlers:{name}()",
    "handlrs:{name}",
    " handlers:{name}",
]


@pytest.mark.parametrize("written", REFERENCES)
@pytest.mark.parametrize("key", ["function", "setup", "teardown", "class"])
def test_a_function_is_found_however_it_is_named(folder: Path, written: str, key: str) -> None:
    (folder / "handlers.py").write_text("def thing(value): return value\n", encoding="utf-8")
    line = f"{key} = {json.dumps(written.format(name='thing'))}"
    table = "[apis.predict]\ninput = 'json'\n" if key == "function" else ""
    text = f"kappafile = 1\n[service]\nname = 'Service'\n{table}{line}\n"
    (folder / "kappafile.toml").write_text(text, encoding="utf-8")
    told = [f"{one.message} {one.help}" for one in check_kappafile(folder / "kappafile.toml")[1]]
    assert any("id you mean `handlers:thing`?" in text for text in told), told


@pytest.mark.parametrize(
    ("table", "key"), [("service", "version"), ("bundle", "version"), ("service", "model_version")]
)
def test_the_version_of_a_service_is_given_by_a_build(folder: Path, table: str, key: str) -> None:
    (folder / "kappafile.toml").write_text(f'kappafile = 1\n[{table}]\n{key} = "1.0"\n', encoding="utf-8")
    (problem,) = [one for one in check_kappafile(folder / "kappafile.toml")[1] if one.code == "KF201"]
    assert problem.help.startswith("A build gives the version: `kappa build --version 1.0`")


def test_without_kappafile_the_word_version_means_that(folder: Path) -> None:
    (folder / "kappafile.toml").write_text("version = 1\n[service]\nname = 'S'\n", encoding="utf-8")
    told = [one.help for one in check_kappafile(folder / "kappafile.toml")[1]]
    assert "Kappa calls it `kappafile`." in told, told


@pytest.mark.parametrize("command", PROJECT_COMMANDS, ids=" ".join)
def test_a_model_of_main_is_refused_alike_everywhere(kappa: Kappa, folder: Path, command: list[str]) -> None:
    (folder / "m.pkl").write_bytes(b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x08__main__\x94\x8c\x07Squared\x94\x93\x94.")
    (folder / "handlers.py").write_text("def predict(value, m): return value\n", encoding="utf-8")
    (folder / "kappafile.toml").write_text(
        "kappafile = 1\n[service]\nname = 'S'\n[artifacts.m]\ntype = 'pickle'\npath = 'm.pkl'\n"
        "[apis.predict]\nfunction = 'handlers:predict'\ninput = 'json'\n",
        encoding="utf-8",
    )
    result = kappa(*on(".", command))
    assert result.exit_code == 3
    assert "`m.pkl` needs `Squared` of the script or notebook that was run (`__main__`)" in result.output
    assert "e.g. `features.py`; write `from features import Squared` in the script" in result.output
