"""`kappa lock`, the lock options of `kappa build`, and `kappa builds`, with the real pip-compile on tiny wheels."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from kappa.build.packages.lock import Lock
from kappa.spec.manifest import read_manifest

Kappa = Callable[..., Result]


@pytest.fixture
def indexed(project: Path, tiny_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the project need `pear`, and pip know the tiny wheels alone; return the project."""
    with (project / "kappafile.toml").open("a") as file:
        file.write('\n[env]\npip_packages = ["pear"]\n')
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tiny_index))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767323045")
    return project


def require(project: Path, *packages: str) -> None:
    path = project / "kappafile.toml"
    head = path.read_text().partition("pip_packages")[0]
    path.write_text(f"{head}pip_packages = {json.dumps(packages)}\n")


def committed(project: Path) -> Lock:
    lock = Lock.parse((project / "kappafile.lock").read_text())
    assert lock is not None
    return lock


def versions(lock: Lock) -> dict[str, str]:
    return {name: version for name, version in lock.versions.items() if name in ("apple", "pear")}


def test_a_lock_is_written_once_checked_and_used_by_builds(kappa: Kappa, indexed: Path) -> None:
    first = kappa("lock")
    assert (first.exit_code, first.stdout) == (0, f"{indexed.resolve() / 'kappafile.lock'}\n"), first.stderr
    assert "+ apple 1.0\n" in first.stderr
    assert versions(committed(indexed)) == {"apple": "1.0", "pear": "1.0"}
    again = kappa("lock")
    count = len(committed(indexed).pins)
    assert again.stderr == f"Nothing changed in `kappafile.lock`: {count} packages, pinned by pip-compile 7.6.\n"
    assert kappa("lock", "--check").stdout == f"The lock is up to date: {count} packages.\n"
    built = kappa("build", "--locked")
    assert built.exit_code == 0, built.stderr
    assert (Path(built.stdout.strip()) / "requirements.txt").read_text() == (indexed / "kappafile.lock").read_text()


def test_a_lock_that_is_out_of_date_fails_a_locked_build_and_a_check(kappa: Kappa, indexed: Path) -> None:
    kappa("lock")
    require(indexed, "apple")
    message = (
        "error: `kappafile.lock` is out of date: it lacks `apple` (`pip_packages`) and holds `pear`, which is no "
        "longer required. Run `kappa lock`, and commit the result.\n"
    )
    for arguments in (["build", "--locked"], ["lock", "--check"]):
        result = kappa(*arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (5, "", message)


def test_versions_stay_until_they_are_upgraded(kappa: Kappa, indexed: Path) -> None:
    kappa("lock")
    require(indexed, "apple")
    changed = kappa("lock", "--format", "json")
    assert json.loads(changed.stdout)["changes"] == [{"name": "pear", "before": "1.0", "after": None}]
    assert versions(committed(indexed)) == {"apple": "1.0"}
    upgraded = kappa("lock", "--upgrade-package", "apple")
    assert "~ apple 1.0 -> 2.0\n" in upgraded.stderr
    assert versions(committed(indexed)) == {"apple": "2.0"}


def test_an_upgrading_build_upgrades_the_committed_lock_too(kappa: Kappa, indexed: Path) -> None:
    require(indexed, "apple<2")
    kappa("lock")
    require(indexed, "apple")
    kappa("lock")
    assert versions(committed(indexed)) == {"apple": "1.0"}
    built = kappa("build", "--upgrade")
    assert built.exit_code == 0, built.stderr
    assert versions(committed(indexed)) == {"apple": "2.0"}
    assert (Path(built.stdout.strip()) / "requirements.txt").read_text() == (indexed / "kappafile.lock").read_text()


def test_an_upgrading_build_without_a_committed_lock_makes_none(kappa: Kappa, indexed: Path) -> None:
    assert kappa("build", "--upgrade").exit_code == 0
    assert not (indexed / "kappafile.lock").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["build", "--locked", "--upgrade"], "`--locked` and `--upgrade` exclude each other.", id="build"),
        pytest.param(["lock", "--check", "--upgrade"], "`--check` changes nothing", id="check"),
        pytest.param(["lock", "-P", "quince"], "`quince` is not in `kappafile.lock`", id="package"),
        pytest.param(["lock", "--resolver", "installed"], "there is no lock to commit", id="installed"),
        pytest.param(["lock", ".", "-f", "kappafile.toml"], "name a kappafile; give one.", id="two kappafiles"),
    ],
)
def test_calls_that_cannot_be_meant(kappa: Kappa, indexed: Path, arguments: list[str], message: str) -> None:
    result = kappa(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_an_unknown_resolver_is_said(kappa: Kappa, indexed: Path) -> None:
    result = kappa("build", "--resolver", "pip-compil")
    assert result.exit_code == 3
    assert "There is no resolver `pip-compil`. Did you mean `pip-compile`?" in result.stderr


def test_without_an_index_what_is_installed_can_be_packed_and_says_so(
    kappa: Kappa, indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(indexed)
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS")
    failed = kappa("build")
    assert failed.exit_code == 5
    assert (
        'Without an index, `resolver = "installed"` in `[bundle]` or `kappa build --resolver installed`'
        in failed.stderr
    )
    built = kappa("build", "--resolver", "installed")
    assert built.exit_code == 0, built.stderr
    directory = Path(built.stdout.strip())
    assert read_manifest(directory).env.unlocked
    assert "--hash" not in (directory / "requirements.txt").read_text()
    assert json.loads(kappa("get", str(directory)).stdout)["bentoServiceMetadata"]["env"]["unlocked"] is True
    assert kappa("build", "--resolver", "installed", "--locked").exit_code == 5


def test_a_dry_run_says_what_was_inferred_and_why(kappa: Kappa, indexed: Path) -> None:
    module = next(indexed.glob("scaler_*.py"))
    module.write_text("import tomli\n" + module.read_text())
    with (indexed / "kappafile.toml").open("a") as file:
        file.write("infer_pip_packages = true\n")
    result = kappa("build", "--dry-run")
    assert result.exit_code == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.strip().startswith("tomli==")]
    assert line.endswith(f"imported at {module.name}:1")
    tree = json.loads(kappa("build", "--dry-run", "--format", "json").stdout)
    assert {"requirement": line.split()[0], "why": f"imported at {module.name}:1"} in tree["requirements"]


def test_an_import_that_no_requirement_brings_is_a_warning(kappa: Kappa, indexed: Path) -> None:
    module = next(indexed.glob("scaler_*.py"))
    module.write_text("import tomli\n" + module.read_text())
    result = kappa("build")
    assert result.exit_code == 0
    assert (
        f"warning: `{module.name}:1` imports what `tomli` brings, which is not among the packages of the bundle: "
        'write `pip_packages = ["tomli"]` or `infer_pip_packages = true` under `[env]` (`@kappa.env` of a class).\n'
    ) in result.stderr


def test_builds_shows_what_was_built_and_how(kappa: Kappa, indexed: Path, kappa_home: Path) -> None:
    assert kappa("builds").stderr == "Nothing was built here yet.\n"
    kappa("build", "--version", "1.0")
    kappa("lock")
    kappa("build", "--version", "2.0")
    require(indexed, "nobody-has-this")
    kappa("build")
    result = kappa("builds")
    assert result.exit_code == 0, result.stderr
    rows = [line.split("  ") for line in result.stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0] == ["AGE", "BUNDLE", "LOCK", "SECONDS", "STEPS", "PROJECT"]
    assert [row[1:3] for row in cells[1:]] == [
        ["Scaler failed: ResolutionError", "-"],
        ["Scaler:2.0", "kappafile.lock"],
        ["Scaler:1.0", "new"],
    ]
    records = json.loads(kappa("builds", "Scaler", "--limit", "2", "-o", "json").stdout)
    assert [record["status"] for record in records] == ["failed", "built"]
    assert records[1]["lock"]["inputs"] == committed(indexed).inputs
    (kappa_home / "builds.json").unlink()
    assert kappa("list").exit_code == kappa("verify", "--all").exit_code == 0
