from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from kappa.spec.manifest import read_manifest

Kappa = Callable[..., Result]

WITHIN_S = 60.0


def test_a_build_goes_to_the_store_and_prints_its_path_alone(kappa: Kappa, lockable: Path, kappa_home: Path) -> None:
    result = kappa("build", "--label", "stage=test", "--label", "team=core")
    directory = Path(result.stdout.removesuffix("\n"))
    manifest = read_manifest(directory)
    assert (result.exit_code, result.stdout) == (0, f"{directory}\n")
    assert directory == kappa_home / "repository" / "Scaler" / manifest.version
    assert manifest.version.startswith("20260102030405_")
    assert manifest.labels == {"team": "core", "stage": "test"}
    assert result.stderr.endswith(f"Built `{manifest.tag}` with {len(manifest.files)} files.\n")
    assert [path.name for path in directory.parents[1].iterdir()] == ["Scaler"]
    assert kappa("run", "Scaler:latest", "scale", "--input", "2").stdout == "21\n"
    assert kappa("test", "Scaler:latest").exit_code == 0


@pytest.mark.parametrize("is_link", [False, True], ids=["a file", "a link"])
@pytest.mark.parametrize("path", ["factor.json", "absent.json", "../elsewhere.json"])
def test_a_model_from_elsewhere_stands_in_place_of_that_of_the_kappafile(
    kappa: Kappa, lockable: Path, path: str, is_link: bool
) -> None:
    model = lockable.parent / "elsewhere.json"
    model.write_text("100", encoding="utf-8")
    if is_link:
        (lockable / "linked.json").symlink_to(model)
        model = Path("linked.json")
    kappafile = lockable / "kappafile.toml"
    kappafile.write_text(kappafile.read_text().replace('"factor.json"', f'"{path}"'), encoding="utf-8")
    result = kappa("build", "--artifact", f"factor={model}")
    assert result.exit_code == 0, result.stderr
    manifest = read_manifest(Path(result.stdout.strip()))
    assert (Path(result.stdout.strip()) / "Scaler" / "artifacts" / "factor" / "content.json").read_text() == "100"
    assert manifest.artifacts[0].metadata == {"accuracy": 0.5, "rounds": 3}
    assert kappa("run", "Scaler:latest", "scale", "--input", "2").stdout == "201\n"


@pytest.mark.parametrize(
    ("artifact", "code", "message"),
    [
        ("factor=absent.json", 3, "The artifact `factor` cannot be `{root}/absent.json`: there is no such file."),
        ("fctor=factor.json", 3, "There is a model for the artifact `fctor`, which the service does not declare."),
        ("factor", 2, "`--artifact factor`: write it as `NAME=PATH`, once for each model."),
    ],
)
@pytest.mark.parametrize("command", ["build", "lock"])
def test_a_model_from_elsewhere_that_cannot_be_is_said(
    kappa: Kappa, project: Path, command: str, artifact: str, code: int, message: str
) -> None:
    result = kappa(command, "--artifact", artifact)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message.format(root=project.resolve()) in result.stderr


@pytest.mark.parametrize(
    "arguments", [["."], ["kappafile.toml"], ["-f", "kappafile.toml"], ["--file", "."]], ids=" ".join
)
def test_the_project_is_named_by_argument_or_option(kappa: Kappa, lockable: Path, arguments: list[str]) -> None:
    result = kappa("build", *arguments, "--version", "1.0", "--quiet")
    assert (result.exit_code, Path(result.stdout.strip()).name, result.stderr) == (0, "1.0", "")


def test_json_tells_tag_path_and_digests(kappa: Kappa, lockable: Path) -> None:
    result = kappa("build", "--version", "1.0", "--format", "json")
    record = json.loads(result.stdout)
    manifest = read_manifest(Path(record["path"]))
    assert record == {
        "tag": "Scaler:1.0",
        "name": "Scaler",
        "version": "1.0",
        "path": record["path"],
        "content_digest": manifest.content_digest,
        "bundle_digest": manifest.bundle_digest,
    }
    assert "Built" not in result.stderr


def test_an_output_directory_is_the_bundle_and_the_store_does_not_know_it(
    kappa: Kappa, lockable: Path, tmp_path: Path
) -> None:
    output = tmp_path / "deep" / "bundle"
    result = kappa("build", "--output", output)
    assert (result.exit_code, result.stdout) == (0, f"{output}\n")
    assert (output / "kappa.yml").is_file()
    assert json.loads(kappa("list", "--format", "json").stdout) == []
    assert kappa("run", output, "scale", "--input", "2").stdout == "21\n"


def test_a_dry_run_prints_the_plan_and_writes_nothing(kappa: Kappa, project: Path, kappa_home: Path) -> None:
    text = kappa("build", "--dry-run")
    tree = kappa("build", "--dry-run", "--version", "2.0", "--format", "json")
    assert (text.exit_code, tree.exit_code) == (0, 0)
    assert text.stdout.startswith("Scaler (version made from the time and the content)\n")
    assert json.loads(tree.stdout)["version"] == "2.0"
    assert not (kappa_home / "repository").exists()


def test_building_the_same_again_gives_the_same_bundle(kappa: Kappa, lockable: Path) -> None:
    first, second = kappa("build", "-q"), kappa("build", "-q")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout == second.stdout


def test_a_version_never_changes(kappa: Kappa, lockable: Path) -> None:
    first = kappa("build", "-q", "--version", "1.0")
    before = read_manifest(Path(first.stdout.strip()))
    second = kappa("build", "-q", "--version", "1.0", "--label", "new=yes")
    assert (second.exit_code, second.stdout) == (5, "")
    assert second.stderr.startswith("error: `Scaler:1.0` is already in the store, and this bundle is not identical")
    assert read_manifest(Path(first.stdout.strip())) == before


def test_a_destination_that_exists_is_left_alone(kappa: Kappa, lockable: Path, tmp_path: Path) -> None:
    output = tmp_path / "bundle"
    output.mkdir()
    (output / "mine").write_text("mine", encoding="utf-8")
    result = kappa("build", "-q", "--output", output)
    message = f"error: `{output}` exists and is not an empty folder; nothing was written. Name another folder, or "
    message += "remove this one.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (5, "", message)
    assert [path.name for path in output.iterdir()] == ["mine"]


def test_an_earlier_bundle_of_the_service_is_replaced(kappa: Kappa, lockable: Path, tmp_path: Path) -> None:
    output = tmp_path / "place" / "bundle"
    for version in ("1.0", "2.0"):
        assert kappa("build", "-q", "--output", output, "--version", version).exit_code == 0
        assert read_manifest(output).version == version
        assert [path.name for path in output.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda output: (output / "notes.txt").write_text("mine"), "`notes.txt` was added"),
        (lambda output: (output / "README.md").write_text("mine"), "`README.md` was changed"),
        (lambda output: (output / ".git").mkdir(), "holds `.git`; nothing was written"),
        (lambda output: (output / "kappa.yml").write_text("mine"), "othing was written"),
    ],
    ids=["a file more", "an edited file", "a repository", "something else"],
)
def test_a_bundle_that_holds_anything_else_is_left_alone(
    kappa: Kappa, lockable: Path, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    output = tmp_path / "bundle"
    assert kappa("build", "-q", "--output", output).exit_code == 0
    change(output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    result = kappa("build", "-q", "--output", output)
    assert (result.exit_code, message in result.stderr) == (5, True), result.stderr
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir() if "staging" in path.name] == []


def test_a_bundle_of_another_service_is_left_alone(kappa: Kappa, lockable: Path, tmp_path: Path) -> None:
    output = tmp_path / "bundle"
    assert kappa("build", "-q", "--output", output).exit_code == 0
    file = lockable / "kappafile.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('"Scaler"', '"Other"'), encoding="utf-8")
    result = kappa("build", "-q", "--output", output)
    assert (result.exit_code, "holds a bundle of another service, `Scaler`" in result.stderr) == (5, True)
    assert read_manifest(output).name == "Scaler"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(
            [".", "-f", "kappafile.toml"],
            2,
            "error: Both `.` and `--file kappafile.toml` name a kappafile; give one.\n",
            id="twice",
        ),
        pytest.param(
            ["--label", "team"], 2, "error: The label `team` has no value: write `team=<value>`.\n", id="label"
        ),
        pytest.param(
            ["--version", "latest"],
            2,
            "error: `latest` is reserved: it always means the newest version.\n",
            id="version",
        ),
        pytest.param(
            ["samples"],
            3,
            "error: There is no kappafile in `{project}/samples`: expected one of `kappafile.toml`, `kappafile.yaml`, "
            "`kappafile.yml`, or `[tool.kappa]` in `pyproject.toml`. "
            "There is one at `{project}/kappafile.toml`: go there, or name it.\n",
            id="no-kappafile",
        ),
    ],
)
def test_a_build_that_cannot_be_meant_is_refused(
    kappa: Kappa, project: Path, arguments: list[str], code: int, message: str
) -> None:
    result = kappa("build", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", message.format(project=project))


def test_a_broken_kappafile_shows_every_problem_with_its_place(kappa: Kappa, project: Path, kappa_home: Path) -> None:
    (project / "kappafile.toml").write_text('kappafile = 1\n[service]\nnam = "A"\n[env]\npythn = 3\n', encoding="utf-8")
    build, validate = kappa("build"), kappa("validate")
    assert (build.exit_code, build.stdout) == (3, "")
    assert (validate.exit_code, validate.stderr) == (3, "")
    assert build.stderr == validate.stdout
    assert "kappafile.toml:3:1: error[KF201]: `nam` is not a key of `[service]`." in build.stderr
    assert "kappafile.toml:5:1: error[KF201]: `pythn` is not a key of `[env]`." in build.stderr
    assert not (kappa_home / "repository").exists()


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.argv = ["kappa", "build", "--quiet", *sys.argv[1:]]
from kappa.cli.main import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits on files")
@pytest.mark.parametrize("to_store", [True, False], ids=["store", "output"])
def test_a_write_that_fails_leaves_nothing(lockable: Path, kappa_home: Path, tmp_path: Path, to_store: bool) -> None:
    (lockable / "factor.json").write_text("1" + " " * 50_000, encoding="utf-8")
    output = tmp_path / "out" / "bundle"
    command = [sys.executable, "-c", LIMITED, *([] if to_store else ["--output", str(output)])]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # Python takes a cut file of its bytecode for a whole one
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert (finished.returncode, finished.stdout) == (5, "")
    assert "File too large" in finished.stderr
    assert "Nothing was left behind." in finished.stderr
    parent = kappa_home / "repository" if to_store else output.parent
    assert [path.name for path in parent.rglob("*")] == []


def test_a_store_that_cannot_be_written_is_said(kappa: Kappa, lockable: Path, kappa_home: Path) -> None:
    (kappa_home / "repository").write_text("a file where the folder should be", encoding="utf-8")
    result = kappa("build", "-q")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith("error: The bundle could not be written: ")


@pytest.fixture
def silent_index() -> Iterator[socket.socket]:
    """Listen like a package index that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WITHIN_S)
        yield listener


@pytest.mark.engine
@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be asked to stop there")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)], ids=["term", "int", "kill"]
)
def test_a_killed_build_leaves_no_bundle_and_no_resolver(
    project: Path, kappa_home: Path, silent_index: socket.socket, number: int, code: int
) -> None:
    url = f"http://127.0.0.1:{silent_index.getsockname()[1]}/simple"
    environ = {**os.environ, "PIP_INDEX_URL": url, "PIP_RETRIES": "0"}
    command = [sys.executable, "-m", "kappa", "build", "--quiet"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as building:
        asked, _ = silent_index.accept()  # the resolver waits for an answer from here on
        with asked:
            building.send_signal(number)
            stdout, stderr = building.communicate(timeout=WITHIN_S)
            assert (building.returncode, stdout) == (code, "")
            if number != signal.SIGKILL:  # nobody can tidy up after that
                asked.settimeout(WITHIN_S)
                while asked.recv(4096):
                    pass
                assert [path.name for path in (kappa_home / "repository").iterdir()] == []
    finished = subprocess.run(
        [sys.executable, "-m", "kappa", "list", "--format", "json"], capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stdout) == (0, "[]\n")
    assert "Traceback" not in stderr
