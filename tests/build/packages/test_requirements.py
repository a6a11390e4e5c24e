"""Requirement lines and files: what a bundle may hold, read as pip reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kappa.build.packages.requirements import RequirementLine, check_requirement, name_of, read_requirements_file


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
        "kappa-ml @ file:///home/me/kappa_ml-0.1.0-py3-none-any.whl",
        "Kappa.ML @ git+https://h/kappa@1",
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
        pytest.param(
            "https://x/Y-1.0-py3-none-any.whl", "write `y @ https://x/Y-1.0-py3-none-any.whl`", id="wheel url"
        ),
        pytest.param(
            "./wheels/Acme_Y-1.0-py3-none-any.whl",
            "names a file that only this machine has: publish `acme-y` to an index",
            id="wheel",
        ),
        pytest.param("wheels/y.tar.gz", "names a file that only this machine has", id="archive"),
        pytest.param("./lib", "`./lib` names a folder of this machine, whose code is packed", id="folder"),
        pytest.param("C:\\lib", "names a folder of this machine", id="folder on Windows"),
        pytest.param(".", 'take what the project needs with `pyproject = "pyproject.toml"`', id="the project"),
        pytest.param(".[gpu]", 'take what the project needs with `pyproject = "pyproject.toml"`', id="its extra"),
        pytest.param("git+https://h/y.git", "names a repository, which has no hash", id="bare repository"),
        pytest.param('"pandas>=2"', "stands in quotes, which only a shell takes away: write `pandas>=2`", id="quotes"),
        pytest.param(
            "numpy @ file:///croot/numpy_and_numpy_base_1708638617955/work/dist/numpy-1.26.4-cp311-cp311-linux.whl#x=0",
            "write `numpy==1.26.4` (`pip list --format=freeze` prints it so)",
            id="conda's wheel",
        ),
        pytest.param(
            "numpy @ file:///tmp/build/80754af9/numpy_1626271504010/work",
            "write `numpy==<version>` (`pip list --format=freeze` prints it so)",
            id="conda's folder",
        ),
        pytest.param("y @ file:///home/me/y.whl", "names a file that only this machine has", id="file"),
        pytest.param("y @ git+https://h/y@1", "has no hash: name an archive instead", id="repository"),
        pytest.param("y==${VERSION}", "names the variable `VERSION`, which only the environment knows", id="variable"),
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
            "--extra-index-url=https://example.org/simple/\n"
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
        "--extra-index-url https://example.org/simple/",
        "--find-links https://example.org/links",
        "--pre",
        "--no-binary :all:",
    )
    assert content.problems == ()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param("-e .", "requirements.txt:2: `-e .` names the project itself, a folder", id="editable"),
        pytest.param("--editable=./lib", "`--editable ./lib` names a folder of this machine", id="editable folder"),
        pytest.param(
            "-e git+https://me:hunter2@h/x.git#egg=x", "requirements.txt:2: `-e git+https://****@h/", id="editable repo"
        ),
        pytest.param("-e git+https://h/x.git", "names a repository, which has no hash", id="editable repository"),
        pytest.param("pear2 --config-settings=a=b", "`--config-settings` has no meaning in a bundle", id="of one line"),
        pytest.param('--index-url "https://h/simple', "cannot be read: no closing quotation", id="open quotes"),
        pytest.param("--find-links ./wheels", "requirements.txt:2: `--find-links ./wheels` names a folder", id="links"),
        pytest.param(
            "-i https://me:hunter2@h/simple", "`--index-url https://****@h/simple` has a user or password", id="login"
        ),
        pytest.param("-i https://${TOKEN}@h/simple", "requirements.txt:2: `--index-url https://****@h/", id="variable"),
        pytest.param("--config-settings x", "`--config-settings` has no meaning in a bundle", id="unknown option"),
        pytest.param("-r https://example.org/r.txt", "names a URL: put the file into the project", id="remote file"),
        pytest.param(
            "-r ../outside.txt",
            "requirements.txt:2: `-r ../outside.txt` names a file outside of the project: put it into the project, or ",
            id="outside",
        ),
        pytest.param(
            "-c absent.txt", "requirements.txt:2: `-c absent.txt` cannot be followed: No such file", id="absent"
        ),
        pytest.param("pear2==${V}", "requirements.txt:2: `pear2==${V}` names the variable `V`, which", id="version"),
        pytest.param("x @ https://h/${V}/x.zip", "x.zip` names the variable `V`, which only the", id="variable in URL"),
        pytest.param("--index-url ${INDEX}", "`--index-url ${INDEX}` names the variable `INDEX`", id="variable index"),
        pytest.param("-r ${BASE}/x.txt", "requirements.txt:2: `-r ${BASE}/x.txt` names the variable", id="in a path"),
        pytest.param("pandas==", "requirements.txt:2: `pandas==` is not a requirement", id="syntax"),
        pytest.param("git+https://h/x.git", "`git+https://h/x.git` names a repository", id="repository"),
    ],
)
def test_every_line_that_a_bundle_may_not_hold_is_told_with_its_place(tmp_path: Path, line: str, problem: str) -> None:
    content = read_requirements_file(write(tmp_path, requirements=f"apple\n{line}\npear\n"), root=tmp_path)
    assert [one.text for one in content.requirements] == ["apple", "pear"]
    (said,) = content.problems
    assert problem in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://h/simple --extra-index-url https://g/simple",
        '--index-url "https://h/simple" --extra-index-url "https://g/simple"',
        "--index-url='https://h/simple' --extra-index-url='https://g/simple'",
        "-i https://h/simple --extra-index-url=https://g/simple",
        "-i'https://h/simple'  --extra-index-url  'https://g/simple'  # with a comment",
    ],
)
def test_options_are_read_as_a_shell_and_pip_read_them(tmp_path: Path, line: str) -> None:
    content = read_requirements_file(write(tmp_path, requirements=f"{line}\npear\n"), root=tmp_path)
    assert content.options == ("--index-url https://h/simple", "--extra-index-url https://g/simple")
    assert content.problems == ()


def test_files_and_hashes_may_be_quoted(tmp_path: Path) -> None:
    (tmp_path / "my limits.txt").write_text("pear<3\n")
    text = '-c "my limits.txt"\npear --hash "sha256:aa" --hash=\'sha256:bb\'\n'
    content = read_requirements_file(write(tmp_path, requirements=text), root=tmp_path)
    assert content.requirements == (RequirementLine("pear", "requirements.txt:2", ("sha256:aa", "sha256:bb")),)
    assert content.constraints == (RequirementLine("pear<3", "my limits.txt:1"),)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("pear  # Bäume\n".encode(), id="utf-8"),
        pytest.param("pear  # Bäume\n".encode("utf-8-sig"), id="utf-8 with its mark"),
        pytest.param("pear  # Bäume\r\n".encode("utf-16"), id="utf-16"),
        pytest.param(b"\xfe\xff" + "pear  # Bäume\n".encode("utf-16-be"), id="utf-16, the other way round"),
        pytest.param("# -*- coding: latin-1 -*-\npear  # Bäume\n".encode("latin-1"), id="as its first line says"),
        pytest.param("\n# vim: set fileencoding=cp1252 :\npear  # Bäume\n".encode("cp1252"), id="as its second says"),
    ],
)
def test_a_file_is_read_in_the_encoding_that_pip_reads(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "requirements.txt"
    path.write_bytes(data)
    content = read_requirements_file(path, root=tmp_path)
    assert ([one.text for one in content.requirements], content.problems) == (["pear"], ())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(
            "pandas\n".encode("utf-16-le"), "it looks like UTF-16, which PowerShell writes: save it as UTF-8", id="mark"
        ),
        pytest.param("pandas # ä\n".encode("latin-1"), "it is not UTF-8 text", id="latin-1"),
        pytest.param(
            b"# coding: klingon\npandas\n",
            "it says that it is written in `klingon`, which Python does not know",
            id="unknown",
        ),
        pytest.param(b"# coding: ascii\n\xc3\xa4\n", "it is not ascii text", id="not what it says"),
        pytest.param(b"pandas\n\0\n", "it holds bytes that are not text", id="no text"),
    ],
)
def test_a_file_that_is_not_text_is_a_problem_and_no_exception(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_bytes(data)
    assert read_requirements_file(path, root=tmp_path).problems == (
        f"The requirements file `requirements.txt` cannot be read: {reason}.",
    )
