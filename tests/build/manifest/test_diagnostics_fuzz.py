"""No kappafile, however broken, yields a traceback, and every problem is at a place that exists.

Good kappafiles are mutated as people and editors mutate them: lines and characters lost, doubled and moved, values put
in place of others. `FUZZ_EXAMPLES` sets how many are tried.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kappa.build.manifest.diagnostics import Diagnostic, render_text
from kappa.build.project import check_kappafile

CORPUS = Path(__file__).parents[2] / "manifests"
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))

GOOD_TOML = """\
kappafile = 1
requires_kappa = ">=0.1"

[service]
name = "ChurnScorer"
labels = { team = "growth", stage = "beta" }
setup = "handlers:connect"
teardown = "handlers:disconnect"

[env]
python = "3.11"
pip_packages = ["redis>=5", "xgboost"]
secrets = ["REDIS_PASSWORD"]

[env.variables]
REDIS_URL = "redis://features:6379/0"

[bundle]
include = ["samples/*.json"]
exclude = ["**/test_*.py"]

[artifacts.model]
type = "json"
path = "weights.json"
metadata = { auc = 0.91, rows = 120000, tags = ["a", { b = 1 }] }

[apis.predict]
function = "handlers:predict"
input = { type = "dataframe", columns = { tenure = "int64" } }
output = "json"
max_batch_size = 256
doc = '''
Return the probability
of leaving.'''

[apis.raw]
artifact = "model"
method = "get"
input = "json"

[[examples]]
name = "two customers"
api = "predict"
input_file = "samples/customers.json"
expect = [0.12, 0.88]
tolerance = 1e-6

[[examples]]
name = "one"
api = "raw"
input = "bias"

[security]
pickle = "forbid"
"""

GOOD_YAML = """\
kappafile: 1
requires_kappa: ">=0.1"
service:
  name: ChurnScorer
  labels: {team: growth, stage: beta}
  setup: handlers:connect
  teardown: handlers:disconnect
env:
  python: "3.11"
  pip_packages: [redis>=5, xgboost]
  variables:
    REDIS_URL: redis://features:6379/0
bundle:
  include: [samples/*.json]
artifacts:
  model: &model
    type: json
    path: weights.json
    metadata:
      auc: 0.91
      tags: [a, {b: 1}]
apis:
  predict:
    function: handlers:predict
    input: {type: dataframe, columns: {tenure: int64}}
    max_batch_size: 256
    doc: |
      Return the probability
      of leaving.
  raw:
    artifact: model
    input: json
examples:
  - name: two customers
    api: predict
    input_file: samples/customers.json
    expect: [0.12, 0.88]
  - {name: one, api: raw, input: bias}
"""

CLASS_TOML = """\
kappafile = 1
[service]
class = "churn:ChurnScorer"
labels = { team = "growth" }
[env]
python = "3.11"
[artifacts.weights]
path = "weights.json"
metadata = { auc = 0.91 }
[serving]
workers = "auto"
"""

GOOD = {"toml": (GOOD_TOML, CLASS_TOML), "yaml": (GOOD_YAML,)}
PIECES = [
    *'"\'[]{}=:,.#\\\n\t -&*!|>@%0aé\x00\x07\u2028\x85\ud7ff😀',
    "[[", "]]", '"""', "'''", "true", "null", "nan", "-inf", "3.10", "1e999", "9" * 5000, "2024-01-01", "0x1F", "no",
    "<<: *model", "&a [*a]", "!!python/object:os.system", "---", "...", "? ", "- - -", "key = ", "key: ", "[env]",
    "[a.b]", "[[apis]]", "../", "/etc/passwd", "handlers:predict", "handlers", "${HOME}", "\\u0000", "\\ud800",
    "class = 'x:Y'",
]  # fmt: skip
Mutation = Callable[[str], str]


def cut(text: str, *, at: float, length: int) -> str:
    start = int(at * len(text))
    return text[:start] + text[start + length :]


def insert(text: str, *, at: float, piece: str) -> str:
    start = int(at * len(text))
    return text[:start] + piece + text[start:]


def put_for_word(text: str, *, at: float, piece: str) -> str:
    start = int(at * len(text))
    end = start
    while end < len(text) and text[end] not in " \n,]}":
        end += 1
    return text[:start] + piece + text[end:]


def move_line(text: str, *, at: float, to: float, keep: bool) -> str:
    lines = text.split("\n")
    line = lines[int(at * len(lines))]
    rest = lines if keep else [other for number, other in enumerate(lines) if number != int(at * len(lines))]
    return "\n".join([*rest[: int(to * len(rest))], line, *rest[int(to * len(rest)) :]])


def indent(text: str, *, at: float, blanks: int) -> str:
    lines = text.split("\n")
    number = int(at * len(lines))
    lines[number] = " " * blanks + (lines[number] if blanks else lines[number].lstrip())
    return "\n".join(lines)


places = st.floats(0, 1, exclude_max=True)
pieces = st.sampled_from(PIECES)
mutations: st.SearchStrategy[Mutation] = st.one_of(
    st.builds(lambda at, length: partial(cut, at=at, length=length), places, st.integers(1, 30)),
    st.builds(lambda at, piece: partial(insert, at=at, piece=piece), places, pieces),
    st.builds(lambda at, piece: partial(put_for_word, at=at, piece=piece), places, pieces),
    st.builds(lambda at, to, keep: partial(move_line, at=at, to=to, keep=keep), places, places, st.booleans()),
    st.builds(lambda at, blanks: partial(indent, at=at, blanks=blanks), places, st.integers(0, 5)),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "project"
    shutil.copytree(CORPUS / "project", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def assert_inside(problem: Diagnostic) -> None:
    lines = problem.file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    span = problem.span
    assert 1 <= span.line <= span.end_line <= len(lines), problem
    assert 1 <= span.column <= len(lines[span.line - 1]) + 1, problem
    assert (span.line, span.column) <= (span.end_line, span.end_column), problem
    assert problem.message, problem


def check(text: str, name: str, project: Path) -> None:
    file = project / name
    file.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    found_project, found = check_kappafile(file)
    assert (found_project is None) == found.has_errors
    for problem in found:
        assert_inside(problem)
    rendered = render_text(tuple(found), relative_to=project)
    assert not any(ord(character) < 32 and character != "\n" for character in rendered)


def test_the_files_that_are_mutated_are_good(project: Path) -> None:
    for syntax, texts in GOOD.items():
        for text in texts:
            file = project / f"kappafile.{syntax}"
            file.write_text(text, encoding="utf-8")
            found_project, found = check_kappafile(file)
            assert list(found) == []
            assert found_project is not None


@pytest.mark.parametrize("syntax", ["toml", "yaml"])
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_mutation_yields_a_traceback_or_a_place_outside(syntax: str, data: st.DataObject, project: Path) -> None:
    text = data.draw(st.sampled_from(GOOD[syntax]))
    for mutation in data.draw(st.lists(mutations, min_size=1, max_size=4)):
        text = mutation(text)
    check(text, f"kappafile.{syntax}", project)


@settings(max_examples=EXAMPLES // 3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), st.lists(pieces, max_size=30).map("".join).map(str.encode)))
@example(content=b"")
@example(content=b"\n")
@example(content=b"\r")
@example(content=b"\xef\xbb\xbf")
@example(content=b"a = 1\rb = 2")
@example(content=b"- - - - -")
def test_no_bytes_yield_a_traceback(content: bytes, project: Path) -> None:
    for name in ("kappafile.toml", "kappafile.yaml", "pyproject.toml"):
        file = project / name
        file.write_bytes(content)
        found_project, found = check_kappafile(file)
        assert found_project is None
        assert found.has_errors
        render_text(tuple(found), relative_to=project)
