"""No text of a user's breaks out of where a template puts it, whatever it holds."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.rendering.bundle import (
    ApiRow,
    DockerfileContext,
    EntrypointContext,
    ExampleRequest,
    InitScriptContext,
    ReadmeContext,
    SetupContext,
)
from kappa.rendering.templates import render

DOCKERFILE = DockerfileContext(
    name="Churn",
    version="1.0",
    kappa_version="0.1.0",
    content_digest="sha256:00",
    base_image="python:3.11-slim",
    has_system_packages=False,
    has_build_packages=False,
    has_setup_script=False,
    has_conda_environment=False,
    has_artifacts=False,
    path="/opt/kappa/bin",
    variables={},
    labels={},
)
LINES = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), max_size=60) | st.text(
    alphabet="\"'\\$`{}()|&;<> \t#=!*?[]~\u2028\u0085\u00e9", max_size=30
).map(lambda text: text.replace("\t", " "))
"""Every text without control characters, which is what a kappafile takes; the second half is all traps."""
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
LABEL_WORDS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,8}[A-Za-z0-9])?", fullmatch=True)


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Split a Dockerfile as a builder does: comments out, lines that end with a backslash joined."""
    found, joined = [], ""
    for line in dockerfile.split("\n"):
        if not joined and (line.startswith("#") or not line.strip()):
            continue
        if line.endswith("\\"):
            joined += line[:-1]
            continue
        keyword, _, rest = (joined + line).partition(" ")
        found.append((keyword, rest))
        joined = ""
    return found


def pair_of(text: str) -> tuple[str, str]:
    """Read one ``key=value`` of `ENV` or `LABEL` as a builder does; fails on a second word and on an expansion."""
    words, word, quote = [], "", ""
    characters = iter(text)
    for character in characters:
        if quote == "'":
            raise AssertionError("nothing here is in single quotes")
        if character == "\\":
            following = next(characters)
            assert not quote or following in '"$\\', f"`\\{following}` would stay two characters"
            word += following
        elif character == "$":
            raise AssertionError("`$` would be expanded")
        elif character in "\"'" and character in (quote, quote or character):
            quote = "" if quote else character
        elif character == " " and not quote:
            words.append(word)
            word = ""
        else:
            word += character
    assert not quote
    assert not words, f"more than one word: {words}"
    key, equals, value = word.partition("=")
    assert equals
    return key, value


@given(
    variables=st.dictionaries(NAMES, LINES, max_size=4), labels=st.dictionaries(LABEL_WORDS, LABEL_WORDS, max_size=3)
)
def test_variables_and_labels_arrive_in_the_image_as_they_are(
    variables: dict[str, str], labels: dict[str, str]
) -> None:
    before = instructions(render(DOCKERFILE))
    after = instructions(render(replace(DOCKERFILE, variables=variables, labels=labels)))
    added = [one for one in after if one not in before]
    assert len(after) == len(before) + len(variables) + len(labels)
    assert dict(pair_of(rest) for keyword, rest in added if keyword == "ENV") == variables
    assert dict(pair_of(rest) for keyword, rest in added if keyword == "LABEL") == labels


@settings(max_examples=30)
@given(packages=st.lists(LINES.filter(bool), min_size=1, max_size=4))
def test_system_packages_are_words_of_their_own(packages: list[str]) -> None:
    lines = render(InitScriptContext(tuple(packages), (), ("bash",), False)).split("\n")
    (line,) = [line.strip() for line in lines if line.strip().startswith("install_debian_packages system_packages")]
    script = line.replace("install_debian_packages system_packages", "printf '%s\\0'")
    for shell in ("sh", "bash"):
        printed = subprocess.run([shell, "-c", script], capture_output=True, check=True).stdout
        assert printed == "".join(f"{package}\0" for package in packages).encode()


@given(summary=TEXTS, requirement=TEXTS, pin=TEXTS)
def test_texts_in_setup_are_literals(summary: str, requirement: str, pin: str) -> None:
    context = SetupContext("Churn", "1.0", "0.1.0", summary, ">=3.10", (requirement,), (pin,), (f"Churn/{summary}",))
    tree = ast.parse(render(context))
    (call,) = [node for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)][-1:]
    assert isinstance(call.value, ast.Call)
    keywords = {keyword.arg: keyword.value for keyword in call.value.keywords}
    assert ast.literal_eval(keywords["description"]) == summary
    assert ast.literal_eval(keywords["install_requires"]) == [requirement]
    assert ast.literal_eval(keywords["extras_require"]) == {"locked": [pin]}
    (files,) = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node).startswith("FILES")
    ]
    assert ast.literal_eval(files) == {"PKG-INFO", f"Churn/{summary}"}


@given(doc=TEXTS, summary=TEXTS, body=LINES)
def test_readme_keeps_one_row_per_endpoint_and_one_shell_word_per_body(doc: str, summary: str, body: str) -> None:
    rows = (ApiRow("predict", "json", "json", summary), ApiRow("other", "json", "json", "x"))
    context = ReadmeContext(
        "Churn", "1.0", "0.1.0", "3.11", "churn:1.0", doc, rows, ExampleRequest("predict", body), ""
    )
    text = render(context)
    table = text[text.index("|---|") :].split("\n")
    assert table[1].startswith("| `POST /predict`")
    assert table[2] == "| `POST /other` | `json` | `json` | x |"
    (line,) = [line for line in text.split("\n") if line.startswith("    curl http://127.0.0.1:5000/predict -H")]
    assert shlex.split(line)[-2:] == ["--data", body]


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """Return a bundle's folder with its two scripts and a `kappa` on the path that says how it was called."""
    (tmp_path / "kappa-init.sh").write_text(render(InitScriptContext((), (), ("bash",), False)))
    (tmp_path / "docker-entrypoint.sh").write_text(render(EntrypointContext()))
    (tmp_path / "python_version").write_text("3.99\n")
    command = tmp_path / "bin" / "kappa"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nprintf "%s\\n" kappa "$@"\n')
    command.chmod(0o755)
    return tmp_path


def run_script(folder: Path, script: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(folder / script), *words],
        cwd="/",
        env={"PATH": path, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "environ", "called"),
    [
        pytest.param([], {}, ["kappa", "serve-gunicorn", "{folder}", "--port", "5000"], id="nothing"),
        pytest.param([], {"PORT": "8080"}, ["kappa", "serve-gunicorn", "{folder}", "--port", "8080"], id="PORT"),
        pytest.param(
            ["--workers", "2"],
            {"BUNDLE_PATH": "/b"},
            ["kappa", "serve-gunicorn", "/b", "--port", "5000", "--workers", "2"],
            id="options",
        ),
        pytest.param(["echo", "a b"], {}, ["a b"], id="another command"),
    ],
)
def test_entry_point_serves_unless_told_otherwise(
    scripts: Path, words: list[str], environ: dict[str, str], called: list[str]
) -> None:
    done = run_script(scripts, "docker-entrypoint.sh", *words, **environ)
    assert done.stdout.splitlines() == [word.format(folder=scripts) for word in called]
    assert done.returncode == 0


def test_set_up_stops_at_a_python_that_is_not_the_bundles(scripts: Path) -> None:
    done = run_script(scripts, "kappa-init.sh", "install_system_packages", "custom_setup", "ensure_python")
    assert done.returncode == 1
    assert done.stderr.startswith("kappa-init.sh: python3 is Python 3.")
    assert done.stderr.endswith("and the bundle needs Python 3.99.\n")


def test_set_up_knows_its_steps(scripts: Path) -> None:
    done = run_script(scripts, "kappa-init.sh", "install_everything")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("kappa-init.sh: there is no step 'install_everything'; the steps are: ")


def test_set_up_script_of_the_user_runs_in_the_bundle_and_its_failure_stops(scripts: Path) -> None:
    (scripts / "setup.sh").write_text("pwd\nexit 3\n")
    done = run_script(scripts, "kappa-init.sh", "custom_setup", "ensure_python")
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{scripts}\n", "")


def fake_python(folder: Path) -> None:
    """Put a Python 3.99 on the path that makes environments of itself and says how its pip was called."""
    command = folder / "bin" / "python3"
    command.write_text(
        """#!/bin/sh
case "$1 $2" in
    "-m venv") for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python3" ;;
    "-c import sys;"*) echo 3.99 ;;
    */pip\\ install) shift; echo pip "$@" ;;
esac
"""
    )
    command.chmod(0o755)


def fake_tool(folder: Path, name: str) -> None:
    """Put a command on the path that says how it was called."""
    command = folder / "bin" / name
    command.write_text(f'#!/bin/sh\necho {name} "$@"\n')
    command.chmod(0o755)


@pytest.mark.parametrize(
    ("tools", "called"),
    [
        pytest.param(["conda"], "conda env update --name base --file environment.yml", id="conda"),
        pytest.param(["conda", "mamba"], "mamba env update --name base --file environment.yml", id="mamba"),
        pytest.param(
            ["conda", "mamba", "micromamba"],
            "micromamba install --yes --name base --file /tmp/environment.yml",
            id="micromamba",
        ),
    ],
)
def test_conda_packages_are_installed_with_what_the_image_has(scripts: Path, tools: list[str], called: str) -> None:
    (scripts / "environment.yml").write_text("dependencies: []\n")
    for tool in tools:
        fake_tool(scripts, tool)
    done = run_script(scripts, "kappa-init.sh", "restore_conda_env")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [called, f"{called.split(maxsplit=1)[0]} clean --all --yes"],
    )


def test_an_image_without_conda_says_that_its_packages_are_ignored(scripts: Path) -> None:
    (scripts / "environment.yml").write_text("dependencies: []\n")
    done = run_script(scripts, "kappa-init.sh", "restore_conda_env")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("no conda, mamba or micromamba: environment.yml is ignored.\n")


def test_a_bundle_without_conda_packages_asks_nobody(scripts: Path) -> None:
    fake_tool(scripts, "conda")
    done = run_script(scripts, "kappa-init.sh", "restore_conda_env")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("resolver", "environ", "flag"),
    [
        pytest.param("pip-compile 7.6", {}, " --require-hashes", id="locked"),
        pytest.param("uv 0.13", {"KAPPA_ALLOW_UNLOCKED": "1"}, " --require-hashes", id="locked, allowed"),
        pytest.param("installed", {"KAPPA_ALLOW_UNLOCKED": "1"}, "", id="unlocked, allowed"),
        pytest.param("installed", {}, None, id="unlocked"),
        pytest.param("installed base-image=x@sha256:00", {}, None, id="unlocked, with a pinned base image"),
    ],
)
def test_packages_without_hashes_are_installed_only_where_that_is_allowed(
    scripts: Path, resolver: str, environ: dict[str, str], flag: str | None
) -> None:
    (scripts / "requirements.txt").write_text(f"# kappa-lock: 1 inputs=x resolver={resolver}\napple==1.0\n")
    fake_python(scripts)
    environ = {"KAPPA_VENV": str(scripts / "venv"), **environ}
    done = run_script(scripts, "kappa-init.sh", "install_pip_packages", **environ)
    if flag is None:
        assert (done.returncode, done.stdout) == (1, "")
        assert "the packages of this bundle have no hashes" in done.stderr
    else:
        options = f"--disable-pip-version-check --no-compile{flag} --no-cache-dir -r requirements.txt"
        assert (done.returncode, done.stdout) == (0, f"pip install {options}\n")
