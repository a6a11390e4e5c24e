"""`kappa explain`: what it finds by which name, and that what it shows is true."""

from __future__ import annotations

import json

import pytest
import tomli
from click.testing import CliRunner

from kappa.build.manifest.explain import Key, Problem, explain, keys, render_overview, render_text
from kappa.cli.main import cli
from kappa.errors import UsageError
from kappa.spec.contracts import field_docs
from kappa.spec.document import ApiTable
from kappa.spec.service import EnvSpec


def test_a_key_is_explained_by_the_docstring_under_its_field() -> None:
    assert explain("env.pip_packages") == Key(
        key="env.pip_packages",
        kind="a list of texts",
        doc=field_docs(EnvSpec)["pip_packages"],
        example='[env]\npip_packages = ["xgboost>=2", "redis"]',
    )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("examples", "Each of its tables has these keys: name, api, input, input_file, expect, tolerance"),
        ("artifacts", "Each of its tables has these keys: type, path, metadata"),
        ("service.ver", "Keys: major, minor"),
    ],
)
def test_a_table_tells_its_keys_and_tables_of_tables_those_of_each(name: str, line: str) -> None:
    assert line in render_text(explain(name)).splitlines()


def test_a_key_tells_its_default_and_its_bounds() -> None:
    found = explain("apis.NAME.max_batch_size")
    assert isinstance(found, Key)
    assert (found.kind, found.default) == ("a whole number at least 1 and at most 1000000", "1000")


def test_a_place_for_plugins_tells_their_names_and_what_they_are() -> None:
    found = explain("apis.NAME.output")
    assert isinstance(found, Key)
    assert found.allowed["json"] == "The value as JSON; NaN and the infinities as `null`."
    assert found.default == '"default"'


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("apis.*.max_latency_ms", "apis.NAME.max_latency_ms"),
        ("apis.predict.max_latency_ms", "apis.NAME.max_latency_ms"),
        ("max_latency_ms", "apis.NAME.max_latency_ms"),
        ("examples.NUMBER.api", "examples.NUMBER.api"),
        ("examples.0.api", "examples.NUMBER.api"),
        ("examples[0].api", "examples.NUMBER.api"),
        ("examples[].api", "examples.NUMBER.api"),
        ("examples.api", "examples.NUMBER.api"),
        ("[env]", "env"),
        ("apis", "apis"),
        ("apis.predict", "apis.NAME"),
        ("artifacts.model.type", "artifacts.NAME.type"),
        ("input.dataframe", "input.dataframe"),
        ("input.dataframe.orient", "input.dataframe.orient"),
        ("text.encoding", "artifact.text.encoding"),
        ("dependencies", "env.pip_packages"),
        ("env.base_image", "env.docker_base_image"),
    ],
)
def test_a_key_is_found_by_its_path_its_end_or_another_tools_word(name: str, key: str) -> None:
    found = explain(name)
    assert isinstance(found, Key)
    assert found.key == key


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("env.pip_pakages", "`env.pip_pakages` is not a key of a kappafile. Did you mean `env.pip_packages`?"),
        ("max_latencyms", "`max_latencyms` is not a key of a kappafile. Did you mean `apis.NAME.max_latency_ms`?"),
        ("zzz", "`zzz` is not a key of a kappafile. Run `kappa explain` for all of them."),
        (
            "orient",
            "`orient` is the end of several keys: "
            + ", ".join(f"`{key}.orient`" for key in ("input.dataframe", "output.dataframe", "output.series"))
            + ".",
        ),
        ("KF999", "There is no code `KF999`."),
    ],
)
def test_what_is_not_found_is_said_with_what_may_be_meant(name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        explain(name)
    assert str(caught.value) == message


def test_a_code_is_explained_in_any_case_with_an_example() -> None:
    found = explain("kf202")
    assert isinstance(found, Problem)
    assert (found.code, found.wrong, found.right) == ("KF202", "[env]\npython = 3.10", '[env]\npython = "3.10"')


def test_every_key_but_a_plugins_without_an_example_shows_one_that_is_toml() -> None:
    without = {key.key for key in keys().values() if not key.example}
    artifacts = {
        name
        for name in keys()
        if name.startswith("artifact.") and name.split(".")[1] not in ("NAME", "sklearn", "text")
    }
    assert without == {*artifacts, "output.default"}
    for key in keys().values():
        tomli.loads(key.example)


def test_the_example_of_a_key_sets_that_key() -> None:
    for key in keys().values():
        last = key.key.rpartition(".")[2]
        if key.example and not key.keys and last not in ("NAME", "NUMBER") and not key.kind.startswith("an "):
            assert any(last in line for line in key.example.splitlines()), key.key


def test_every_key_of_a_table_is_there() -> None:
    found = explain("apis.NAME")
    assert isinstance(found, Key)
    assert found.keys == tuple(f"apis.NAME.{field.alias or name}" for name, field in ApiTable.model_fields.items())


def test_an_explanation_reads_well_on_a_terminal() -> None:
    assert render_text(explain("artifacts.NAME.path")) == (
        "artifacts.NAME.path: text\n"
        "\n"
        "The model's file or folder, relative to the kappafile.\n"
        "\n"
        "It is required.\n"
        "\n"
        "Example:\n"
        "\n"
        "    [artifacts.model]\n"
        '    path = "model.joblib"'
    )


def test_lines_of_explanations_are_no_wider_than_100_columns() -> None:
    for name in keys():
        found = explain(name)
        assert isinstance(found, Key)
        prose = render_text(found).partition("Example:")[0].splitlines()[1:]
        assert [line for line in prose if len(line) > 100] == []


def test_the_overview_has_a_line_for_each_key_and_code() -> None:
    lines = render_overview().splitlines()
    assert {line.split()[0] for line in lines} >= {"kappafile", "apis.NAME.route", "input.dataframe.orient", "KF201"}
    assert len(lines) == len({line.split()[0] for line in lines})


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["explain", *arguments], standalone_mode=False)
    assert done.exception is None
    return done.output


def test_the_command_prints_an_explanation() -> None:
    assert run("env.python") == render_text(explain("env.python")) + "\n"


def test_the_command_prints_json() -> None:
    assert json.loads(run("KF201", "--format", "json"))["title"] == "The key is not known"
    assert json.loads(run("env.python", "--format", "json"))["key"] == "env.python"
    assert [key["key"] for key in json.loads(run("--format", "json"))] == list(keys())


def test_the_command_without_a_name_lists_everything() -> None:
    assert run() == render_overview() + "\n"
