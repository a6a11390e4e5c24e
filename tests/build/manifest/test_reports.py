"""The machine formats of `kappa validate`: what GitHub and SARIF readers are told."""

from __future__ import annotations

import json
from pathlib import Path

from kappa.build.manifest.codes import CODES
from kappa.build.manifest.diagnostics import Diagnostic, Label
from kappa.build.manifest.positions import Span
from kappa.build.manifest.reports import render_github, render_json, render_sarif


def _typo(root: Path) -> Diagnostic:
    return Diagnostic(
        code="KF201",
        message="`lables` is not a key of `service`.",
        file=root / "a, b" / "kappafile.yaml",
        span=Span(4, 3, 4, 9),
        path="/service/lables",
        help="Did you mean `labels`?",
        replacement="labels",
        labels=(Label(root / "a, b" / "kappafile.yaml", Span(2, 1, 2, 8), "the table"),),
    )


def _warning(root: Path) -> Diagnostic:
    message = "100 % of it:\nboth lines."
    return Diagnostic("KF208", message, root / "kappafile.toml", Span(2, 1, 3, 5), severity="warning")


def test_github_command_names_the_place_and_escapes_what_would_end_it(tmp_path: Path) -> None:
    assert render_github([_typo(tmp_path), _warning(tmp_path)], relative_to=tmp_path).splitlines() == [
        (
            "::error file=a%2C b/kappafile.yaml,line=4,endLine=4,col=3,endColumn=8,title=kappa (KF201)"
            "::`lables` is not a key of `service`. Did you mean `labels`?"
        ),
        "::warning file=kappafile.toml,line=2,endLine=3,title=kappa (KF208)::100 %25 of it:%0Aboth lines.",
    ]


def test_json_record_holds_everything_a_program_needs(tmp_path: Path) -> None:
    file = str(tmp_path / "a, b" / "kappafile.yaml")
    assert json.loads(render_json([_typo(tmp_path)])) == [
        {
            "code": "KF201",
            "severity": "error",
            "message": "`lables` is not a key of `service`.",
            "file": file,
            "line": 4,
            "column": 3,
            "end_line": 4,
            "end_column": 9,
            "path": "/service/lables",
            "help": "Did you mean `labels`?",
            "replacement": "labels",
            "labels": [{"file": file, "line": 2, "column": 1, "message": "the table"}],
        }
    ]


def test_sarif_result_points_at_the_place_and_offers_the_fix(tmp_path: Path) -> None:
    (run,) = json.loads(render_sarif([_typo(tmp_path)], relative_to=tmp_path))["runs"]
    here = {"uri": "a%2C%20b/kappafile.yaml"}
    region = {"startLine": 4, "startColumn": 3, "endLine": 4, "endColumn": 9}
    replacement = {"deletedRegion": region, "insertedContent": {"text": "labels"}}
    assert run["results"] == [
        {
            "ruleId": "KF201",
            "ruleIndex": list(CODES).index("KF201"),
            "level": "error",
            "message": {"text": "`lables` is not a key of `service`. Did you mean `labels`?"},
            "locations": [{"physicalLocation": {"artifactLocation": here, "region": region}}],
            "relatedLocations": [
                {
                    "physicalLocation": {
                        "artifactLocation": here,
                        "region": {"startLine": 2, "startColumn": 1, "endLine": 2, "endColumn": 8},
                    },
                    "message": {"text": "the table"},
                }
            ],
            "fixes": [
                {
                    "description": {"text": "Did you mean `labels`?"},
                    "artifactChanges": [{"artifactLocation": here, "replacements": [replacement]}],
                }
            ],
        }
    ]


def test_sarif_run_explains_every_code_once() -> None:
    log = json.loads(render_sarif([]))
    assert (log["version"], log["runs"][0]["results"], log["runs"][0]["columnKind"]) == (
        "2.1.0",
        [],
        "unicodeCodePoints",
    )
    assert [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]] == list(CODES)


def test_sarif_file_outside_the_repository_is_a_file_uri(tmp_path: Path) -> None:
    inner = tmp_path / "repository"
    (result,) = json.loads(render_sarif([_warning(tmp_path)], relative_to=inner))["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == (tmp_path / "kappafile.toml").as_uri()
