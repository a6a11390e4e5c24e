"""`kappa build module:Class`: a service that a class declares, with its models on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Kappa = Callable[..., Result]

DOUBLER = """\
import kappa
from kappa.adapters import JsonInput
from kappa.frameworks.json import JSONArtifact

@kappa.artifacts([JSONArtifact("factor"), JSONArtifact("offset")])
class Doubler(kappa.BentoService):
    "Doubles."

    @kappa.api(input=JsonInput())
    def double(self, value):
        return value * self.artifacts.factor + self.artifacts.offset
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "doubling.py").write_text(DOUBLER, encoding="utf-8")
    (tmp_path / "factor.json").write_text("2", encoding="utf-8")
    (tmp_path / "offset.json").write_text("1", encoding="utf-8")
    return tmp_path


MODELS = ("--artifact", "factor=factor.json", "--artifact", "offset=offset.json")


def test_a_class_is_planned_with_its_models(kappa: Kappa, folder: Path) -> None:
    result = kappa("build", "doubling:Doubler", *MODELS, "--dry-run", "--format", "json")
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert (plan["name"], plan["code"]) == ("Doubler", ["doubling.py"])
    assert [(one["name"], one["path"]) for one in plan["artifacts"]] == [
        ("factor", "factor.json"),
        ("offset", "offset.json"),
    ]


def test_the_kappafile_that_names_the_class_says_where_other_models_are(kappa: Kappa, folder: Path) -> None:
    (folder / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nclass = "doubling:Doubler"\n[artifacts.offset]\npath = "offset.json"\n'
        '[artifacts.factor]\npath = "absent.json"\n'
    )
    result = kappa("build", "doubling:Doubler", *MODELS[:2], "--dry-run", "--format", "json")
    assert result.exit_code == 0, result.stderr
    assert [one["path"] for one in json.loads(result.stdout)["artifacts"]] == ["factor.json", "offset.json"]
    alone = kappa("build", "--dry-run")
    assert (alone.exit_code, "There is no file or folder `absent.json`" in alone.stderr) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["doubling:Doubler"],
            3,
            "The artifact `factor` has no model: name its file in `path`, or by `--artifact factor=PATH`, or pack it.",
        ),
        (["doubling:Dubler", *MODELS], 3, "`doubling` has no class `Dubler`. Did you mean `doubling:Doubler`?"),
        (["dubling:Doubler", *MODELS], 3, "There is no module `dubling`. Did you mean `doubling:Doubler`?"),
        (["doubling:Doubler", *MODELS, "--artifact", "third=factor.json"], 3, "which the service does not declare"),
        (["doubling:Doubler", "--artifact", "factor=absent.json"], 3, "there is no such file"),
        (["doubling:Doubler", "--artifact", "factor"], 2, "`--artifact factor`: write it as `NAME=PATH`"),
        (["doubling:Doubler", *MODELS[:2], *MODELS[:2]], 2, "once for each model"),
        (["doubling:Doubler", "-f", "kappafile.toml"], 2, "name a kappafile; give one"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said(kappa: Kappa, folder: Path, arguments: list[str], code: int, message: str) -> None:
    result = kappa("build", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
