from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from ruamel.yaml import YAML

from kappa.cli.tables import age_of, bundle_table
from kappa.spec.manifest import read_manifest

Kappa = Callable[..., Result]


def record_of(directory: Path) -> dict[str, Any]:
    api = {
        "InputType": "JsonInput",
        "docs": "BentoService API",
        "inputConfig": {"http_input_example": None, "request_schema": None, "schema": None},
        "outputConfig": {},
        "maxBatchSize": 1000,
        "maxLatencyMs": None,
    }
    return {
        "name": "Scaler",
        "version": "1.0",
        "uri": {"type": "LOCAL", "uri": str(directory)},
        "bentoServiceMetadata": {
            "name": "Scaler",
            "version": "1.0",
            "createdAt": "2026-01-02T03:04:05Z",
            "env": {
                "condaEnv": "name: kappa-Scaler\nchannels:\n- defaults\ndependencies:\n- python=3.11\n- pip\n",
                "pipDependencies": "falcon>=4.2\npydantic>=2.9",
                "pythonVersion": "3.11",
                "dockerBaseImage": "python:3.11-slim",
                "setupSh": None,
                "systemPackages": [],
                "resolver": "none",
                "unlocked": False,
            },
            "artifacts": [
                {"name": "factor", "artifactType": "JSONArtifact", "metadata": {"accuracy": 0.5, "rounds": 3}}
            ],
            "apis": [
                {**api, "name": "scale", "outputType": "JsonOutput", "batch": True, "route": "scale"},
                {**api, "name": "explode", "outputType": "DefaultOutput", "batch": False, "route": "explode"},
            ],
            "labels": {"team": "growth"},
        },
    }


def test_list_shows_the_newest_first_with_their_age(kappa: Kappa, make_bundle: Any, kappa_home: Path) -> None:
    now = datetime.now(timezone.utc)
    for version, days in (("1.0", 13), ("2.0", 1)):
        created = (now - timedelta(days=days, hours=3, minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        make_bundle(kappa_home / "repository" / "Scaler" / version, version=version, created=created)
    result = kappa("list")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "MODEL_VERSION  AGE                APIS                                  ARTIFACTS\n"
        "Scaler:2.0     1 day and 3 hours  scale<JsonInput>, explode<JsonInput>  factor<JSONArtifact>\n"
        "Scaler:1.0     1 week and 6 days  scale<JsonInput>, explode<JsonInput>  factor<JSONArtifact>\n"
    )


PLAIN = (
    "MODEL_VERSION  CREATED_AT        APIS                                  ARTIFACTS\n"
    "Scaler:1.0     2026-01-02 03:04  scale<JsonInput>, explode<JsonInput>  factor<JSONArtifact>\n"
)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows takes no time zone from the environment")
@pytest.mark.parametrize(
    ("zone", "shown"),
    [("UTC", "2026-01-02 03:04"), ("Asia/Tokyo", "2026-01-02 12:04"), ("America/New_York", "2026-01-01 22:04")],
)
def test_times_of_build_are_those_of_the_machines_clock(
    kappa: Kappa, bundle: Path, monkeypatch: pytest.MonkeyPatch, zone: str, shown: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        result = kappa("get", "Scaler")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (result.exit_code, result.stdout) == (0, PLAIN.replace("2026-01-02 03:04", shown))


@pytest.mark.parametrize(
    ("count", "cell"),
    [
        (1, "api_0<JsonInput>"),
        (3, "api_0<JsonInput>, api_1<JsonInput>, api_2<JsonInput>"),
        (4, "api_0<JsonInput>, api_1<JsonInput>, api_2<JsonInput> and 1 more"),
        (40, "api_0<JsonInput>, api_1<JsonInput>, api_2<JsonInput> and 37 more"),
    ],
)
def test_a_line_stays_short_whatever_a_service_has(count: int, cell: str) -> None:
    apis = [{"name": f"api_{number}", "InputType": "JsonInput"} for number in range(count)]
    view = {"name": "S", "version": "1", "createdAt": "2026-01-02T03:04:05.678901Z", "apis": apis, "artifacts": []}
    _, row = bundle_table([("S:1", view)], now=datetime(2026, 1, 2, 3, 4, 6, tzinfo=timezone.utc)).splitlines()
    assert row == f"S:1            0 seconds  {cell}"


def test_one_long_name_is_shown_whole() -> None:
    apis = [{"name": "a" * 80, "InputType": "JsonInput"}, {"name": "b", "InputType": "JsonInput"}]
    view = {"name": "S", "version": "1", "createdAt": "2026-01-02T03:04:05Z", "apis": apis, "artifacts": []}
    assert f"{'a' * 80}<JsonInput> and 1 more" in bundle_table([("S:1", view)])


@pytest.mark.parametrize("arguments", [["list", "-o", "wide"], ["get", "Scaler", "-o", "wide"]])
def test_a_wide_table_has_labels_and_sizes_too(kappa: Kappa, bundle: Path, arguments: list[str]) -> None:
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    head, row = PLAIN.splitlines()
    result = kappa(*arguments)
    expected = f"{head}             ALIASES  LABELS       SIZE\n{row}           team=growth  {size / 1000:.3g} kB\n"
    assert (result.exit_code, result.stdout) == (0, expected)


@pytest.mark.parametrize("arguments", [["list", "--format", "json"], ["get", "Scaler", "-o", "json"]])
def test_bundles_are_listed_as_json(kappa: Kappa, bundle: Path, arguments: list[str]) -> None:
    result = kappa(*arguments)
    assert (result.exit_code, json.loads(result.stdout)) == (0, [record_of(bundle)])


@pytest.mark.parametrize("target", ["Scaler:1.0", "Scaler:latest", "Scaler@{digest}", "{path}"])
def test_get_prints_the_record_of_one_bundle(kappa: Kappa, bundle: Path, target: str) -> None:
    result = kappa("get", target.format(path=bundle, digest=read_manifest(bundle).bundle_digest))
    assert (result.exit_code, json.loads(result.stdout)) == (0, record_of(bundle))


@pytest.mark.parametrize("target", ["Scaler:1.0", "Scaler"])
def test_the_location_is_printed_alone(kappa: Kappa, bundle: Path, target: str) -> None:
    result = kappa("get", target, "--print-location", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{bundle}\n", "")


def test_get_of_an_unknown_name_exits_with_4(kappa: Kappa, bundle: Path) -> None:
    result = kappa("get", "Skaler")
    message = "error: There is no bundle `Skaler:latest` in the store. Did you mean `Scaler`?\n"
    assert (result.exit_code, result.stdout, result.stderr) == (4, "", message)


def test_an_empty_store_is_a_remark_and_no_error(kappa: Kappa, kappa_home: Path) -> None:
    result = kappa("list")
    assert (result.exit_code, result.stdout) == (0, "MODEL_VERSION  AGE  APIS  ARTIFACTS\n")
    assert result.stderr == f"The store `{kappa_home}/repository` is empty. `kappa build` puts bundles there.\n"
    assert kappa("list", "-q").stderr == ""


def test_a_broken_bundle_hides_no_other(kappa: Kappa, bundle: Path) -> None:
    broken = bundle.parent / "2.0"
    broken.mkdir()
    (broken / "kappa.yml").write_text("no manifest\n", encoding="utf-8")
    result = kappa("get", "Scaler")
    assert (result.exit_code, result.stdout) == (0, PLAIN)
    assert result.stderr == f"warning: `{broken}/kappa.yml` is not a bundle's manifest: it has no `schema_version`.\n"


def test_info_prints_the_manifest_as_yaml_and_as_json(kappa: Kappa, bundle: Path) -> None:
    tree = json.loads(json.dumps(read_manifest(bundle).to_tree()))
    assert YAML(typ="safe", pure=True).load(kappa("info", "Scaler:1.0").stdout) == tree
    assert json.loads(kappa("info", bundle, "--format", "json").stdout) == tree


def test_info_of_a_project_says_to_build_it(kappa: Kappa, project: Path) -> None:
    result = kappa("info", ".")
    message = (
        "error: `.` is not a bundle but a project: build it first with `kappa build .`, then name "
        "`Scaler:latest`. Without building, `kappa serve .` serves it.\n"
    )
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)


def test_a_folder_that_is_neither_a_bundle_nor_a_project_is_told_as_such(kappa: Kappa, tmp_path: Path) -> None:
    result = kappa("get", tmp_path)
    message = f"error: `{tmp_path}` is not a bundle: it has no `kappa.yml`, and no kappafile either.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (4, "", message)


def test_the_openapi_document_of_a_project_and_of_its_bundle_differ_in_the_version_alone(
    kappa: Kappa, bundle: Path, project: Path
) -> None:
    ours, built = (json.loads(kappa("open-api-spec", target).stdout) for target in (".", "Scaler:1.0"))
    assert built["openapi"] == "3.1.0"
    assert (ours["info"].pop("version"), built["info"].pop("version")) == ("development", "1.0")
    assert ours == built


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (61, "1 minute and 1 second"),
        (46 * 3600, "1 day and 22 hours"),
        (3 * 604_800 + 4 * 3600 + 59, "3 weeks and 4 hours"),
        (13 * 604_800 + 6 * 86_400, "13 weeks and 6 days"),
        (2 * 31_557_600, "2 years"),
    ],
)
def test_ages_show_the_two_largest_units(seconds: int, shown: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert age_of(now - timedelta(seconds=seconds), now=now) == shown


def test_a_bundle_of_the_future_has_no_negative_age() -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert age_of(now + timedelta(days=1), now=now) == "0 seconds"
