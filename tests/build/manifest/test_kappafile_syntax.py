"""TOML and YAML with positions: every key and value where an editor shows it, and one tree whatever the syntax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kappa.build.manifest.diagnostics import Diagnostics
from kappa.build.manifest.kappafile import find_kappafile, read_kappafile
from kappa.build.manifest.positions import Positions, Span, TextLines, TreePath
from kappa.build.manifest.toml_syntax import parse_toml
from kappa.build.manifest.yaml_syntax import parse_yaml
from kappa.errors import ConfigurationError


def parse(text: str, syntax: str) -> tuple[Any, bool, Diagnostics]:
    found = Diagnostics(Path(f"kappafile.{syntax}"), Positions())
    tree, is_whole = (parse_toml if syntax == "toml" else parse_yaml)(TextLines(text), found)
    return tree, is_whole, found


def text_of(text: str, span: Span) -> str:
    lines = TextLines(text)
    start = lines.start_of(span.line) + span.column - 1
    return text[start : lines.start_of(span.end_line) + span.end_column - 1]


TOML = """\
kappafile = 1
title."über schrift".deep = [1, { two = 2, three.four = 'x' }]
[service] # a comment
name = "Größe"
[[examples]]
name = "a"
[examples.input]
x = 1
[[examples]]
name = '''
b'''
[ apis . "predict" ]
route = "日本/é"
"""
TOML_KEYS: dict[TreePath, tuple[int, int, str]] = {
    ("kappafile",): (1, 1, "kappafile"),
    ("title", "über schrift"): (2, 7, '"über schrift"'),
    ("title", "über schrift", "deep"): (2, 22, "deep"),
    ("title", "über schrift", "deep", 1, "three", "four"): (2, 50, "four"),
    ("service",): (3, 2, "service"),
    ("examples", 0, "name"): (6, 1, "name"),
    ("examples", 0, "input"): (7, 11, "input"),
    ("examples", 0, "input", "x"): (8, 1, "x"),
    ("examples", 1): (9, 3, "examples"),
    ("apis", "predict"): (12, 10, '"predict"'),
}


@pytest.mark.parametrize("path", TOML_KEYS, ids=[".".join(map(str, path)) for path in TOML_KEYS])
def test_toml_keys_are_located(path: TreePath) -> None:
    _, is_whole, found = parse(TOML, "toml")
    span = found.positions.keys[path]
    assert is_whole
    assert (span.line, span.column, text_of(TOML, span)) == TOML_KEYS[path]


def test_toml_values_are_located() -> None:
    _, _, found = parse(TOML, "toml")
    values = found.positions.values
    assert text_of(TOML, values["title", "über schrift", "deep", 1, "two"]) == "2"
    assert text_of(TOML, values["service", "name"]) == '"Größe"'
    assert text_of(TOML, values["examples", 1, "name"]) == "'''\nb'''"
    assert text_of(TOML, values["apis", "predict", "route"]) == '"日本/é"'


YAML = """\
# a comment
kappafile: 1
service:
  name: "Größe"
  labels: {日本: a, 'two words': b}
examples:
  - name: a
    input: [1, {x: 2}]
  - name: |
      b
      c
    expect: null
env:
  python: 3.10
"""
YAML_KEYS: dict[TreePath, tuple[int, int, str]] = {
    ("kappafile",): (2, 1, "kappafile"),
    ("service", "labels", "日本"): (5, 12, "日本"),
    ("service", "labels", "two words"): (5, 19, "'two words'"),
    ("examples", 0, "name"): (7, 5, "name"),
    ("examples", 0, "input", 1, "x"): (8, 17, "x"),
    ("examples", 1, "expect"): (12, 5, "expect"),
    ("env", "python"): (14, 3, "python"),
}


@pytest.mark.parametrize("path", YAML_KEYS, ids=[".".join(map(str, path)) for path in YAML_KEYS])
def test_yaml_keys_are_located(path: TreePath) -> None:
    _, is_whole, found = parse(YAML, "yaml")
    span = found.positions.keys[path]
    assert is_whole
    assert (span.line, span.column, text_of(YAML, span)) == YAML_KEYS[path]


def test_yaml_values_are_located() -> None:
    _, _, found = parse(YAML, "yaml")
    values = found.positions.values
    assert text_of(YAML, values["service", "name"]) == '"Größe"'
    assert text_of(YAML, values["examples", 0, "input"]) == "[1, {x: 2}]"
    assert text_of(YAML, values["examples", 1, "name"]) == "|\n      b\n      c"
    assert text_of(YAML, values["env", "python"]) == "3.10"


def test_yaml_is_the_core_schema_of_1_2() -> None:
    text = (
        "a: [yes, no, on, 0o17, 010, 0x1F, 1e3, .5, 1_000, ~, null, True, false, -3, '1']\n"
        'b: [2024-01-01, 12:30:00, !!str 5, "x", = ]\n1: one\ntrue: yes\n'
    )
    tree, is_whole, found = parse(text, "yaml")
    assert not found.has_errors
    assert is_whole
    assert tree == {
        "a": ["yes", "no", "on", 15, 10, 31, 1000.0, 0.5, "1_000", None, None, True, False, -3, "1"],
        "b": ["2024-01-01", "12:30:00", "5", "x", "="],
        "1": "one",
        "true": "yes",
    }


def test_both_syntaxes_give_one_tree() -> None:
    toml = 'a = 1\n[b]\nc = [1.5, "x", true]\n[[d]]\ne = { f = "g" }\n'
    yaml = "a: 1\nb:\n  c: [1.5, x, true]\nd:\n  - e: {f: g}\n"
    assert parse(toml, "toml")[0] == parse(yaml, "yaml")[0]


def test_after_mistakes_the_rest_of_toml_is_read() -> None:
    text = 'a = \nb = 2\n[c\nd = 4\n[e]\nf = ["x"\n"y"]\ng = 7\nh = """\nnever closed\n'
    tree, is_whole, found = parse(text, "toml")
    assert tree == {"b": 2, "e": {"g": 7}}
    assert not is_whole
    assert [(d.code, d.span.line) for d in found] == [("KF102", 1), ("KF102", 3), ("KF102", 6), ("KF102", 9)]


def test_after_mistakes_the_rest_of_yaml_is_read() -> None:
    text = "a: 1\nb:\n  c: [1\nd:\n  e: 'x\nf: {g: 2}\n"
    tree, is_whole, found = parse(text, "yaml")
    assert tree == {"a": 1, "b": None, "d": None, "f": {"g": 2}}
    assert not is_whole
    assert [(d.code, d.span.line) for d in found] == [("KF102", 3), ("KF102", 5)]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param('a:\n  b: "x\n  c: "y"\nd: 1\n', (2, 6), id="before a quoted text"),
        pytest.param('a:\n  b: "x\nd: "1"\n', (2, 6), id="before another section"),
        pytest.param("a: 'x\nb: ['y']\nd: 1\n", (1, 4), id="before a list of quoted texts"),
        pytest.param("a: 'x\nd: 1\n", (1, 4), id="before the end"),
    ],
)
def test_a_quote_that_yaml_closes_too_late_is_blamed_where_it_opens(text: str, place: tuple[int, int]) -> None:
    tree, is_whole, found = parse(text, "yaml")
    (problem,) = found
    assert problem.message == "The text that begins here has no closing quote."
    assert (problem.span.line, problem.span.column) == place
    assert "d" in tree or "b" in tree
    assert not is_whole


def test_quoted_texts_of_several_lines_are_read_and_not_blamed() -> None:
    tree, _, found = parse("a: 'x\n  y'\nb: [1\nc: \"z\n  w\"\n", "yaml")
    assert [(problem.span.line, problem.span.column) for problem in found] == [(3, 4)]
    assert tree == {"a": "x y", "c": "z w"}


def test_an_array_of_tables_after_a_duplicate_keeps_its_numbers() -> None:
    text = "[[a]]\nx = 1\nx = 2\n[[a]]\nx = 3\n"
    tree, _, found = parse(text, "toml")
    (problem,) = found
    assert tree == {"a": [{"x": 1}, {"x": 3}]}
    assert (problem.code, problem.span.line, problem.labels[0].span.line) == ("KF103", 3, 2)


@pytest.mark.parametrize("syntax", ["toml", "yaml"])
@pytest.mark.parametrize("opening", ["[", "{a = ", "{a: "])
def test_deep_nesting_is_refused_and_not_a_crash(syntax: str, opening: str) -> None:
    _, is_whole, found = parse("a = " + opening * 5000 if syntax == "toml" else opening * 5000, syntax)
    assert found.has_errors
    assert not is_whole


def test_aliases_that_stand_for_billions_of_values_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]" for i in range(12)]
    tree, is_whole, found = parse("\n".join(lines), "yaml")
    assert (tree, is_whole) == ({}, False)
    assert [d.code for d in found] == ["KF104"]


def test_many_values_without_aliases_are_read() -> None:
    tree, is_whole, found = parse("\n".join(f"a{i}: x" for i in range(30_000)), "yaml")
    assert (len(tree), is_whole, [*found]) == (30_000, True, [])


def test_plain_aliases_are_read() -> None:
    tree, _, found = parse("a: &x {k: [1]}\nb: *x\n", "yaml")
    assert not found.has_errors
    assert tree == {"a": {"k": [1]}, "b": {"k": [1]}}


# -- the file as a whole -----------------------------------------------------------------------------------------------


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        pytest.param(b"a = 1\nb = '\xe9'\n", (2, 6), "The byte 0xe9 is not UTF-8.", id="latin-1"),
        pytest.param("a = 1".encode("utf-16"), (1, 1), "The byte 0xff is not UTF-8.", id="utf-16"),
        pytest.param(b"x" * (1 << 20) + b"x", (1, 1), "a kappafile over 1048576 bytes is refused", id="too large"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(
    content: bytes, place: tuple[int, int], words: str, tmp_path: Path
) -> None:
    document, found = read_kappafile(write(tmp_path, "kappafile.toml", content))
    (problem,) = found
    assert document is None
    assert (problem.code, problem.span.line, problem.span.column) == ("KF101", *place)
    assert words in problem.message


def test_a_missing_file_and_a_foreign_extension_are_problems_too(tmp_path: Path) -> None:
    for name in ("kappafile.toml", "kappafile.ini"):
        document, found = read_kappafile(tmp_path / name)
        assert document is None
        assert [d.code for d in found] == ["KF101"]


def test_a_byte_order_mark_and_windows_line_ends_move_no_position(tmp_path: Path) -> None:
    file = write(tmp_path, "kappafile.toml", b"\xef\xbb\xbfkappafile = 1\r\n[service]\r\nname = 3\r\n")
    document, found = read_kappafile(file)
    assert document is not None
    assert document.tree == {"kappafile": 1, "service": {"name": 3}}
    assert document.text_at(found.positions.values["service", "name"]) == "3"
    assert found.positions.keys["service", "name"] == Span(3, 1, 3, 5)


def test_tool_kappa_counts_paths_from_its_own_table(tmp_path: Path) -> None:
    file = write(tmp_path, "pyproject.toml", "[project]\nname = 'x'\n[tool.kappa.service]\nname = 'X'\n")
    document, found = read_kappafile(file)
    assert document is not None
    assert document.tree == {"service": {"name": "X"}}
    assert found.positions.keys["service", "name"].line == 4
    assert document.table_name(("service",)) == "`[tool.kappa.service]`"


@pytest.mark.parametrize(
    "text", ['requires_kappa = ">=99"\n[service\nname = \n', 'requires_kappa = ">=99"\nunheard = of\n']
)
def test_a_file_for_another_version_says_only_that(text: str, tmp_path: Path) -> None:
    document, found = read_kappafile(write(tmp_path, "kappafile.toml", text))
    assert document is None
    assert [d.code for d in found] == ["KF105"]


# -- finding it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kappafile.toml", "kappafile.yaml", "kappafile.yml", "pyproject.toml"])
def test_the_one_kappafile_is_found(name: str, tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "[project]\nname = 'x'\n")
    path = write(tmp_path, name, "[tool.kappa]\nkappafile = 1\n" if name == "pyproject.toml" else "kappafile: 1\n")
    assert find_kappafile(tmp_path) == path


def test_a_broken_pyproject_is_found_by_its_table(tmp_path: Path) -> None:
    path = write(tmp_path, "pyproject.toml", "[tool.kappa]\nkappafile = \n")
    assert find_kappafile(tmp_path) == path


def test_no_kappafile_and_two_of_them_are_errors_that_name_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"expected one of `kappafile\.toml`, `kappafile\.yaml`"):
        find_kappafile(tmp_path)
    write(tmp_path, "kappafile.toml", "")
    write(tmp_path, "kappafile.yml", "")
    with pytest.raises(ConfigurationError, match=r"`kappafile\.toml` and `kappafile\.yml`"):
        find_kappafile(tmp_path)
