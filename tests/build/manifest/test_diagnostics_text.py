"""How problems are shown: the place first, then the lines, the span underlined, other places beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kappa.build.manifest.diagnostics import Diagnostic, Diagnostics, Label, render_text
from kappa.build.manifest.positions import Positions, Span
from kappa.errors import ManifestError
from kappa.wording import one_of, quoted, sentence


def problem(file: Path, span: Span, **more: object) -> Diagnostic:
    return Diagnostic("KF204", "It is wrong.", file, span, **more)  # type: ignore[arg-type]


def shown(text: str, span: Span, tmp_path: Path, **more: object) -> list[str]:
    file = tmp_path / "kappafile.toml"
    file.write_text(text, encoding="utf-8")
    return render_text([problem(file, span, **more)], relative_to=tmp_path).split("\n")


def test_the_first_line_is_what_editors_and_grep_read(tmp_path: Path) -> None:
    assert shown("a = 1\nbb = 22\n", Span(2, 6, 2, 8), tmp_path, help="Write 23.") == [
        "kappafile.toml:2:6: error[KF204]: It is wrong.",
        "  |",
        "2 | bb = 22",
        "  |      ^^",
        "  = Write 23.",
        "",
        "Found 1 error.",
    ]


def test_second_places_stand_in_the_order_of_the_file_with_a_gap_where_lines_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "kappafile.toml"
    labels = (Label(file, Span(9, 1, 9, 2), "the other"), Label(tmp_path / "x.py", Span(3, 5, 3, 6), "defined here"))
    text = "\n".join(f"{letter} = 1" for letter in "abcdefghij")
    assert shown(text, Span(10, 1, 10, 2), tmp_path, labels=labels, severity="warning") == [
        "kappafile.toml:10:1: warning[KF204]: It is wrong.",
        "   |",
        " 9 | i = 1",
        "   | - the other",
        "10 | j = 1",
        "   | ^",
        "   :: x.py:3:5: defined here",
        "",
        "Found 1 warning.",
    ]
    assert "..." in shown(text, Span(2, 1, 2, 2), tmp_path, labels=labels)


@pytest.mark.parametrize("path", ["/env/variables", "/env/variables/TOKEN"])
def test_the_line_of_a_second_place_in_another_file_is_shown_without_what_may_be_a_secret(
    tmp_path: Path, path: str
) -> None:
    (tmp_path / "x.py").write_text('variables = {"TOKEN": "swordfish"}\n')
    labels = (Label(tmp_path / "x.py", Span(1, 1, 1, 10), "set by the class"),)
    text = "\n".join(shown("a = 1", Span(1, 1, 1, 2), tmp_path, labels=labels))
    assert ':: x.py:1:1\n  |\n1 | variables = {"TOKEN": "swordfish"}\n  | ^^^^^^^^^ set by the class' in text
    assert "swordfish" not in "\n".join(shown("a = 1", Span(1, 1, 1, 2), tmp_path, labels=labels, path=path))


def test_underlines_fit_wide_characters_and_combining_ones(tmp_path: Path) -> None:
    line = 'name = "日本 e\u0301" # x'
    (_, _, text, mark, *_) = shown(line, Span(1, 8, 1, 15), tmp_path)
    assert text == f"1 | {line}"
    assert mark == "  |        " + "^" * 8


def test_a_span_of_several_lines_is_underlined_on_its_first(tmp_path: Path) -> None:
    assert shown("a = [\n  1,\n]\n", Span(1, 5, 3, 2), tmp_path)[2:4] == ["1 | a = [", "  |     ^"]


def test_long_lines_are_shown_around_what_is_meant(tmp_path: Path) -> None:
    line = "a = [" + "1, " * 200 + "WRONG, " + "2, " * 200 + "]"
    start = line.index("WRONG") + 1
    (_, _, text, mark, *_) = shown(line, Span(1, start, 1, start + 5), tmp_path)
    assert len(text) < 125
    assert text.index("WRONG") == mark.index("^^^^^")
    assert text.startswith("1 | …")
    assert text.endswith("…")


def test_nothing_in_a_file_reaches_the_terminal_as_a_command(tmp_path: Path) -> None:
    lines = shown("a = '\x1b[2J\x07\u202e'\tb", Span(1, 1, 1, 2), tmp_path)
    assert lines[2] == "1 | a = '�[2J��' b"
    assert quoted("\x1b[2J\n") == "`�[2J�`"
    assert sentence("it has \x1b in it") == "It has � in it."


def test_passwords_in_urls_are_never_shown(tmp_path: Path) -> None:
    url = "https://user:hunter2@example.org/x"
    assert shown(f'a = "{url}"', Span(1, 5, 1, 12), tmp_path)[2] == '1 | a = "https://************@example.org/x"'
    assert quoted(url) == "`https://…@example.org/x`"


@pytest.mark.parametrize(
    ("line", "span", "expected"),
    [
        ('TOKEN = "hunter2"', Span(1, 9, 1, 18), "TOKEN = *********"),
        ("  TOKEN: hunter2 # x", Span(1, 10, 1, 17), "  TOKEN: ******* * *"),
        ('variables = { A = "x", TOKEN = "y" }', Span(1, 24, 1, 29), "variables = * * * **** TOKEN * *** *"),
    ],
)
def test_values_of_environment_variables_are_never_shown(line: str, span: Span, expected: str, tmp_path: Path) -> None:
    assert shown(line, span, tmp_path, path="/env/variables/TOKEN")[2] == f"1 | {expected}".rstrip()


def test_colour_changes_nothing_but_colour(tmp_path: Path) -> None:
    import re

    file = tmp_path / "kappafile.toml"
    file.write_text("a = 1\n", encoding="utf-8")
    found = [problem(file, Span(1, 5, 1, 6), help="Write 2.", labels=(Label(file, Span(1, 1, 1, 2), "this"),))]
    coloured = render_text(found, color=True)
    assert "\x1b[1;31m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == render_text(found)


def test_a_file_that_is_gone_still_has_its_place(tmp_path: Path) -> None:
    text = render_text([problem(tmp_path / "gone.toml", Span(3, 4, 3, 5))], relative_to=tmp_path)
    assert text == "gone.toml:3:4: error[KF204]: It is wrong.\n\nFound 1 error."


def test_a_file_elsewhere_is_named_in_full(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    text = render_text([problem(tmp_path / "x.toml", Span(1, 1, 1, 2))], relative_to=tmp_path / "here")
    assert text.startswith(f"{tmp_path / 'x.toml'}:1:1: ")


def test_problems_come_in_the_order_of_the_file_and_other_files_after_it(tmp_path: Path) -> None:
    found = Diagnostics(tmp_path / "kappafile.toml", Positions())
    found.append(problem(tmp_path / "a.py", Span(1, 1, 1, 2)))
    for line in (7, 3):
        found.append(problem(found.file, Span(line, 1, line, 2)))
    assert [(d.file.name, d.span.line) for d in found] == [("kappafile.toml", 3), ("kappafile.toml", 7), ("a.py", 1)]


def test_a_problem_is_reported_once_and_a_place_with_an_error_is_known(tmp_path: Path) -> None:
    found = Diagnostics(tmp_path / "kappafile.toml", Positions())
    for _ in range(2):
        found.add("KF204", "It is wrong.", ("env", "python"))
    assert len(found) == 1
    assert found.is_bad(("env",))
    assert found.is_bad(("env", "python", "x"))
    assert not found.is_bad(("env", "pip_packages"))
    with pytest.raises(ManifestError, match="Found 1 error") as caught:
        found.check()
    assert caught.value.exit_code == 3


def test_warnings_alone_do_not_raise(tmp_path: Path) -> None:
    found = Diagnostics(tmp_path / "kappafile.toml", Positions())
    found.add("KF313", "It matches nothing.", ("bundle", "include", 0), severity="warning")
    found.check()
    assert not found.is_bad(("bundle", "include", 0))


def test_lists_are_joined_as_people_say_them() -> None:
    assert [one_of(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "nothing",
        "a",
        "a or b",
        "a, b or c",
    ]


def test_long_values_are_shortened() -> None:
    assert quoted("x" * 200) == f"`{'x' * 57}…`"


def test_each_of_very_many_problems_is_kept_once(tmp_path: Path) -> None:
    found = Diagnostics(tmp_path / "kappafile.toml")
    for _ in range(2):
        for number in range(30_000):
            found.add("KF201", f"Unknown key {number}.", (f"key{number}",))
    assert len(found) == 30_000
