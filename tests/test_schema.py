"""The JSON Schemas: they are valid, editors' tools read them, and they refuse what the models refuse.

`schemas/` in this folder is laid out as the public catalogue of schemas wants it: a folder per schema, with documents
that it accepts under `positive` and documents that it refuses under `negative`.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from kappa.build.manifest.codes import CODES
from kappa.build.manifest.kappafile import read_kappafile
from kappa.build.manifest.validation import validate
from kappa.cli.main import cli
from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS, OUTPUT_ADAPTERS
from kappa.spec.contracts import InputAdapter
from kappa.spec.document import Kappafile
from kappa.spec.manifest import BundleManifest
from kappa.spec.schema import DOCUMENTS, json_schema, schema_text

ROOT = Path(__file__).parents[1]
CASES = Path(__file__).parent / "schemas"
FILES = {
    "kappafile": ROOT / "schemas" / "kappafile.schema.json",
    "kappa-bundle": ROOT / "schemas" / "bundle.schema.json",
}
MODELS: dict[str, type[BaseModel]] = {"kappafile": Kappafile, "kappa-bundle": BundleManifest}
EXAMPLES = [ROOT / "kappafile.example.toml", *sorted(ROOT.glob("examples/*/kappafile.toml"))]


def tree_of(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    return tomli.loads(text) if file.suffix == ".toml" else YAML(typ="safe", pure=True).load(text)


def problems(tree: Any, *, of: str = "kappafile") -> list[str]:
    """Return what the committed schema says of a document: paths with messages."""
    schema = json.loads(FILES[of].read_text(encoding="utf-8"))
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(tree)]


def cases(kind: str) -> list[Any]:
    files = sorted(path for path in (CASES / kind).rglob("*.*") if path.is_file())
    return [pytest.param(file, id=f"{file.parent.name}/{file.name}") for file in files]


def run_tool(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment."""
    command = [Path(sys.executable).with_name(str(arguments[0])), *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_committed_schemas_are_what_the_models_say(name: Any) -> None:
    committed = (ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(name, only_built_in=True), "run `make generate`"


def test_schemas_are_valid_by_the_metaschema() -> None:
    done = run_tool("check-jsonschema", "--check-metaschema", *FILES.values())
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", cases("positive"))
def test_what_is_right_is_accepted_by_the_schema(file: Path) -> None:
    assert problems(tree_of(file), of=file.parent.name) == []


@pytest.mark.parametrize("file", [case for case in cases("positive") if "third-party" not in case.id])
def test_what_is_right_is_accepted_by_the_model(file: Path) -> None:
    MODELS[file.parent.name].model_validate(tree_of(file))


@pytest.mark.parametrize("file", cases("negative"))
def test_what_is_wrong_is_refused_by_the_schema(file: Path) -> None:
    assert len(problems(tree_of(file), of=file.parent.name)) == 1


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_examples_are_accepted_by_schema_and_model(file: Path) -> None:
    assert problems(tree_of(file)) == []
    Kappafile.model_validate(tree_of(file))


def keys_of(model: Any, tree: Mapping[str, Any]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()} - tree.keys()


def test_the_example_file_uses_every_key() -> None:
    tree = tree_of(ROOT / "kappafile.example.toml")
    fields = {name: field.annotation for name, field in Kappafile.model_fields.items()}
    left_out = {
        f"{name}.{key}"
        for name, model in fields.items()
        if hasattr(model, "model_fields")
        for key in keys_of(model, tree[name])
    }
    for name in ("artifacts", "apis"):
        used = {key for table in tree[name].values() for key in table}
        model = get_args(Kappafile.model_fields[name].annotation)[1]
        left_out |= {f"{name}.{key}" for key in keys_of(model, dict.fromkeys(used)) - {"plugin"}}
    used = {key for example in tree["examples"] for key in example}
    left_out |= {
        f"examples.{key}"
        for key in keys_of(get_args(Kappafile.model_fields["examples"].annotation)[0], dict.fromkeys(used))
    }
    assert keys_of(Kappafile, tree) == set()
    assert left_out == {"service.class"}, "which excludes `[apis]` and stands there in a comment"


def test_check_jsonschema_says_where_a_kappafile_is_wrong() -> None:
    file = CASES / "negative" / "kappafile" / "option-of-another-artifact-type.toml"
    done = run_tool("check-jsonschema", "--schemafile", FILES["kappafile"], "--verbose", file)
    assert done.returncode == 1
    assert "$.artifacts.model: Additional properties are not allowed ('encoding' was unexpected)" in done.stdout


def test_check_jsonschema_agrees_about_every_case() -> None:
    for name, schema in FILES.items():
        right, wrong = (
            [case.values[0] for case in cases(kind) if case.values[0].parent.name == name]
            for kind in ("positive", "negative")
        )
        assert run_tool("check-jsonschema", "--schemafile", schema, *right).returncode == 0
        done = run_tool("check-jsonschema", "--schemafile", schema, "--output-format", "json", *wrong)
        refused = {Path(error["filename"]).name for error in json.loads(done.stdout)["errors"]}
        assert refused == {file.name for file in wrong}


def test_taplo_accepts_the_example_by_the_directive_in_its_first_line() -> None:
    assert (ROOT / "kappafile.example.toml").read_text(encoding="utf-8").startswith("#:schema ./schemas/kappafile.")
    done = run_tool("taplo", "check", "kappafile.example.toml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("unknown-adapter.toml", '"datafrme" is not one of ["annotated_image","dataframe",'),
        ("option-of-another-adapter.toml", "Additional properties are not allowed ('orient' was unexpected)"),
        ("out-of-bounds.toml", "0 is less than the minimum of 1"),
    ],
)
def test_taplo_points_at_a_mistake_by_the_directive(name: str, complaint: str, tmp_path: Path) -> None:
    text = (CASES / "negative" / "kappafile" / name).read_text(encoding="utf-8")
    (tmp_path / "kappafile.schema.json").write_bytes(FILES["kappafile"].read_bytes())
    (tmp_path / "kappafile.toml").write_text(f"#:schema ./kappafile.schema.json\n{text}", encoding="utf-8")
    done = run_tool("taplo", "check", "kappafile.toml", cwd=tmp_path)
    assert done.returncode == 1
    assert complaint in done.stderr


def test_editors_that_pass_over_conditions_find_every_type_and_option() -> None:
    schema = json_schema("kappafile", only_built_in=True)
    for word, registry in (("input", INPUT_ADAPTERS), ("output", OUTPUT_ADAPTERS)):
        offered = schema["$defs"]["ApiTable"]["properties"][word]["anyOf"]
        references = [f"#/$defs/{word}.{name}" for name in ("types", *sorted(registry.builtins))]
        assert offered == [True, *({"$ref": reference} for reference in references)]
    offered = schema["properties"]["artifacts"]["additionalProperties"]["anyOf"]
    assert offered == [True, *({"$ref": f"#/$defs/artifact.{name}"} for name in sorted(ARTIFACTS.builtins))]


def test_every_key_is_described() -> None:
    def undescribed(path: str, schema: Any) -> list[str]:
        if not isinstance(schema, dict):
            return []
        found = []
        for name, about in schema.get("properties", {}).items():
            if isinstance(about, dict):
                is_described = "description" in about or "const" in about or "$ref" in about
                found += [] if is_described else [f"{path}.{name}"]
                found += undescribed(f"{path}.{name}", about)
        for word in ("additionalProperties", "items"):
            found += undescribed(f"{path}.*", schema.get(word))
        return found

    schema = json_schema("kappafile")
    definitions = {name: about for name, about in schema["$defs"].items() if "properties" in about}
    assert undescribed("", schema) == []
    assert [key for name, about in definitions.items() for key in undescribed(name, about)] == []
    assert [name for name, about in definitions.items() if "description" not in about] == []


class _ParquetInput(InputAdapter):
    """Rows of a Parquet file."""

    type: str = "acme.parquet"
    strict: bool = False
    """Whether further columns are refused."""


def test_an_installed_plugin_is_in_the_schema_that_is_printed_but_not_in_the_published_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(INPUT_ADAPTERS, "names", lambda: [*sorted(INPUT_ADAPTERS.builtins), "acme.parquet"])
    load = INPUT_ADAPTERS.load
    monkeypatch.setattr(INPUT_ADAPTERS, "load", lambda name: _ParquetInput if name == "acme.parquet" else load(name))
    schema = json_schema("kappafile")
    assert schema["$defs"]["input.types"]["enum"] == [*sorted(INPUT_ADAPTERS.builtins), "acme.parquet"]
    api = {"function": "a:b", "input": {"type": "acme.parquet", "strit": True}}
    tree = {"kappafile": 1, "service": {"name": "Scorer"}, "apis": {"predict": api}}
    (error,) = Draft202012Validator(schema).iter_errors(tree)
    assert error.message == "Additional properties are not allowed ('strit' was unexpected)"
    assert "acme.parquet" not in schema_text("kappafile", only_built_in=True)
    assert problems(tree) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_command_prints_a_schema(name: str) -> None:
    done = CliRunner().invoke(cli, ["schema", name], standalone_mode=False)
    assert json.loads(done.output) == json_schema(name)  # type: ignore[arg-type]


# -- schema and model


BEYOND_THE_SCHEMA = {
    "KF101": "the file",
    "KF102": "the text, not the tree",
    "KF103": "the text, not the tree",
    "KF104": "TOML's dates become text for a schema",
    "KF105": "the version of the Kappa that runs",
    "KF206": "what is installed",
    "KF208": "a warning",
    "KF301": "another table",
    "KF302": "a file",
    "KF303": "a file",
    "KF304": "code",
    "KF305": "code",
    "KF306": "code",
    "KF307": "another table",
    "KF308": "what an adapter can do",
    "KF309": "a file",
    "KF310": "another table",
    "KF311": "code",
    "KF312": "code",
    "KF313": "files, and a warning",
    "KF314": "code and what is installed",
    "KF315": "what a type is, and often a warning",
    "KF316": "the grammar of requirements",
    "KF317": "code, and a warning",
    "KF318": "it is advice, and an example elsewhere in the file answers it",
    "KF319": "which URLs a bundle may hold",
    "KF320": "files, and a warning",
    "KF321": "files, and versions in the words of conda",
    "KF322": "a file",
    "KF323": "code",
    "KF324": "code",
    "KF325": "a warning",
    "KF326": "files",
    "KF327": "files",
    "KF328": "code",
    "KF329": "which shells there are",
    "KF330": "what in a URL is a secret",
    "KF331": "what another file holds",
    "KF332": "a file",
    "KF333": "a file",
    "KF334": "a file",
    "KF335": "a file",
    "KF336": "a file",
    "KF337": "a file",
    "KF340": "code, and a warning",
    "KF341": "a file",
    "KF342": "what is installed",
    "KF343": "what is installed",
    "KF350": "the model",
    "KF351": "the model",
    "KF352": "examples and the model",
    "KF353": "code, and another table",
    "KF354": "a warning",
    "KF401": "code",
    "KF402": "code",
}
"""Problems that only `kappa validate` finds, and what they are about."""

ONLY_THE_MODEL = {"missing_files.yaml": "which extensions tell what an example's file holds"}
"""Cases of the corpus with a code that a schema knows, for a reason that it does not."""

CORPUS = ROOT / "tests" / "manifests" / "broken"
BROKEN = [path for path in sorted(CORPUS.iterdir()) if path.suffix != ".txt"]
UNREADABLE = object()


def read_as_checkers_do(file: Path) -> Any:
    """Return the tree of a case as check-jsonschema has it, or that its text is refused."""
    try:
        tree = tree_of(file)
    except (YAMLError, ValueError):
        return UNREADABLE
    return tree["tool"]["kappa"] if file.name.endswith(".pyproject.toml") else tree


@pytest.mark.parametrize("file", BROKEN, ids=[file.name for file in BROKEN])
def test_what_the_model_refuses_the_schema_refuses_and_nothing_else(file: Path) -> None:
    told = file.with_name(f"{file.name}.txt").read_text(encoding="utf-8")
    errors = set(re.findall(r": error\[(KF\d{3})\]", told))
    if (tree := read_as_checkers_do(file)) is UNREADABLE:
        assert errors & {"KF101", "KF102", "KF103", "KF104", "KF105"}
        return
    refused = problems(tree)
    assert not refused or errors, refused
    if errors - BEYOND_THE_SCHEMA.keys() and file.name not in ONLY_THE_MODEL:
        assert refused, told


def test_every_code_is_known_to_the_schema_or_listed_as_beyond_it() -> None:
    assert CODES.keys() - BEYOND_THE_SCHEMA.keys() == {"KF201", "KF202", "KF203", "KF204", "KF205", "KF207"}


Place = tuple[str | int, ...]
EXAMPLE: dict[str, Any] = tree_of(ROOT / "kappafile.example.toml")
VALUES: list[Any] = [
    *(None, True, 0, 1, -1, 1.5, 2_000_000, "", "text", "two words", "3.10", "a:b", "a.b:c.d", "a:", "two\nlines"),
    *("dataframe", "sklearn", "auto", "warn", ">=0.1", "/a", "docs/x", "..", "kappa", "class", "acme.parquet"),
    *([], ["a"], [1], {}, {"a": "b"}, {"a": 1}, {"type": "json"}, {"type": "dataframe", "columns": ["a", "a"]}),
]
NAMES = ["nam", "name", "type", "path", "input", "class", "metrics", "tasks", "é", "9x", "a-b", "encoding", "orient"]


def places_in(tree: Any, at: Place = ()) -> list[Place]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in items for place in [(*at, key), *places_in(value, (*at, key))]]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Draw the example with one value replaced, removed, renamed or added."""
    tree = copy.deepcopy(EXAMPLE)
    *way, last = draw(st.sampled_from(places_in(tree)))
    table: Any = tree
    for key in way:
        table = table[key]
    change = draw(st.sampled_from(["replace", "replace", "remove", "rename", "add"]))
    if change == "replace" or (isinstance(table, list) and change != "remove"):
        table[last] = copy.deepcopy(draw(st.sampled_from(VALUES)))
    elif change == "add":
        table[draw(st.sampled_from(NAMES))] = copy.deepcopy(draw(st.sampled_from(VALUES)))
    else:
        value = table.pop(last)
        if change == "rename":
            table[draw(st.sampled_from(NAMES))] = value
    return tree


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=mutated())
def test_schema_and_model_agree_about_any_one_change_of_the_example(tree: Any, tmp_path: Path) -> None:
    file = tmp_path / "kappafile.yaml"
    file.write_text(json.dumps(tree), encoding="utf-8")
    document, found = read_kappafile(file)
    if document is not None:
        validate(document, found)
    errors = [problem for problem in found if problem.is_error]
    is_third_party = any(problem.code == "KF205" and "acme.parquet" in problem.message for problem in errors)
    is_other_version = any(problem.code == "KF105" for problem in errors)
    is_nameless = tree.get("service") == {**EXAMPLE["service"], "name": None}  # said when all is put together
    is_class = isinstance(tree.get("service"), dict) and "class" in tree["service"]  # said when the class is read
    if is_third_party or is_other_version or is_nameless or is_class:
        return
    refused = [problem for problem in problems(tree) if "is not one of ['pip-compile']" not in problem]  # a later check
    assert bool(refused) == bool(errors), (refused, [problem.message for problem in errors])
