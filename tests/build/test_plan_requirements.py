"""Requirement lines and files: what a bundle may hold, read as pip reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kappa.build.requirements import RequirementLine, check_requirement, name_of, read_requirements_file


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder / "requirements.txt"


@pytest.mark.parametrize(
    "text",
    [
        "pandas",
        "scikit-learn==0.24.1",
        "requests[security]>=2; python_version < '4'",
        "pandas @https://github.com/pypa/pip/archive/1.3.1.zip",
        "acme @ https://example.org/acme.whl#sha256=00",
    ],
)
def test_requirement_that_a_bundle_may_hold(text: str) -> None:
    assert check_requirement(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            "--index-url https://x", "`--index-url https://x` is an option of pip and not a requirement", id="option"
        ),
        pytest.param("pandas>>2", "`pandas>>2` is not a requirement", id="syntax"),
        pytest.param("https://x/y.whl", "`https://x/y.whl` has no name: write `name @ https://…`", id="bare url"),
        pytest.param("./wheels/y.whl", "`./wheels/y.whl` has no name", id="path"),
        pytest.param("y @ file:///home/me/y.whl", "names a file of this machine", id="file"),
        pytest.param("y @ git+https://h/y@1", "has no hash: name an archive instead", id="repository"),
        pytest.param("y @ https://me:hunter2@h/y.whl", "`y @ https://****@h/y.whl` has a user or password", id="login"),
    ],
)
def test_requirement_that_a_bundle_may_not_hold(text: str, problem: str) -> None:
    said = check_requirement(text)
    assert said is not None
    assert problem in said
    assert "hunter2" not in said


def test_names_are_compared_as_the_index_does() -> None:
    assert name_of("Ruamel_YAML>=0.18") == name_of("ruamel.yaml") == "ruamel-yaml"


def test_file_is_read_flat_with_places_hashes_constraints_and_options(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        requirements=(
            "# what we need\n"
            "--extra-index-url=https://example.org/simple?a=b\n"
            "-rmore.txt\n"
            "pandas >= 2 ; python_version > '3'  # frames\n"
            "apple==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
            "\n"
            "--constraint limits.txt\n"
            "-f https://example.org/links\n"
            "--pre\n--require-hashes\n--no-binary :all:\n"
        ),
        more="pear  # from more\n-r requirements.txt\n",
        limits="apple<2\n-r deeper.txt\n",
        deeper="plum<3",
    )
    content = read_requirements_file(path, root=tmp_path)
    assert content.requirements == (
        RequirementLine("pear", "more.txt:1"),
        RequirementLine("pandas >= 2 ; python_version > '3'", "requirements.txt:4"),
        RequirementLine("apple==1.0", "requirements.txt:5", ("sha256:aa", "sha256:bb")),
    )
    assert content.constraints == (
        RequirementLine("apple<2", "limits.txt:1"),
        RequirementLine("plum<3", "deeper.txt:1"),
    )
    assert content.options == (
        "--extra-index-url https://example.org/simple?a=b",
        "--find-links https://example.org/links",
        "--pre",
        "--no-binary :all:",
    )
    assert content.problems == ()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param("-e .", "requirements.txt:2: `-e .` names a folder of this machine", id="editable"),
        pytest.param("--find-links ./wheels", "requirements.txt:2: `--find-links ./wheels` names a folder", id="links"),
        pytest.param(
            "-i https://me:hunter2@h/simple", "`--index-url https://****@h/simple` has a user or password", id="login"
        ),
        pytest.param("-i https://${TOKEN}@h/simple", "requirements.txt:2: `--index-url https://****@h/", id="variable"),
        pytest.param("--config-settings x", "`--config-settings` has no meaning in a bundle", id="unknown option"),
        pytest.param("-r https://example.org/r.txt", "names a URL: put the file into the project", id="remote file"),
        pytest.param("-r ../outside.txt", "outside.txt` lies outside the project", id="outside"),
        pytest.param("-r absent.txt", "The requirements file `absent.txt` cannot be read: No such file", id="absent"),
        pytest.param("pandas==", "requirements.txt:2: `pandas==` is not a requirement", id="syntax"),
        pytest.param("git+https://h/x.git", "requirements.txt:2: `git+https://h/x.git` has no name", id="repository"),
    ],
)
def test_every_line_that_a_bundle_may_not_hold_is_told_with_its_place(tmp_path: Path, line: str, problem: str) -> None:
    content = read_requirements_file(write(tmp_path, requirements=f"apple\n{line}\npear\n"), root=tmp_path)
    assert [one.text for one in content.requirements] == ["apple", "pear"]
    (said,) = content.problems
    assert problem in said
    assert "hunter2" not in said


def test_file_that_is_not_text_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_bytes("pandas".encode("utf-16"))
    assert read_requirements_file(path, root=tmp_path).problems == (
        "The requirements file `requirements.txt` cannot be read: it is not UTF-8 text.",
    )
