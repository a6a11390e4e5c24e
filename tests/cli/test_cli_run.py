from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from kappa.cli.run_arguments import spread_values
from kappa.spec.manifest import read_manifest

Kappa = Callable[..., Result]


def test_each_input_gets_one_line_on_stdout_whatever_the_code_prints(kappa: Kappa, project: Path) -> None:
    result = kappa("run", ".", "scale", "--input", "2", "3", "--input", "-4")
    assert (result.exit_code, result.stdout) == (0, "21\n31\n-39\n")
    assert result.stderr == "user code prints\n" * 3


@pytest.mark.parametrize("target", ["Scaler:1.0", "Scaler:latest", "Scaler", "Scaler@{digest}", "{path}"])
def test_a_bundle_is_named_by_tag_digest_or_path(kappa: Kappa, bundle: Path, target: str) -> None:
    named = target.format(path=bundle, digest=read_manifest(bundle).bundle_digest)
    result = kappa("run", named, "scale", "--input", "2")
    assert (result.exit_code, result.stdout) == (0, "21\n")


def test_the_format_follows_the_extension(kappa: Kappa, project: Path) -> None:
    (project / "lines.jsonl").write_text("1\n2\n", encoding="utf-8")
    (project / "text.txt").write_text("5", encoding="utf-8")
    result = kappa("run", project, "scale", "--input-file", "lines.jsonl", "samples/three.json", "text.txt")
    assert (result.exit_code, result.stdout) == (0, "[11,21]\n31\n51\n")


def test_a_format_can_be_given_for_files_of_any_name(kappa: Kappa, project: Path) -> None:
    (project / "data.dat").write_text("1\n2\n", encoding="utf-8")
    result = kappa("run", ".", "scale", "--input-file", "data.dat", "--input-format", "ndjson")
    assert (result.exit_code, result.stdout) == (0, "[11,21]\n")


HEADED = """

def seen(value, task):
    return [value, task.http_headers["Accept"], task.http_headers["X-Team"]]
"""


def test_headers_reach_the_function_as_a_servers_do(kappa: Kappa, project: Path) -> None:
    (module,) = project.glob("scaler_*.py")
    module.write_text(f"{module.read_text(encoding='utf-8')}{HEADED}", encoding="utf-8")
    kappafile = project / "kappafile.toml"
    api = f'\n[apis.seen]\nfunction = "{module.stem}:seen"\ninput = "json"\n'
    kappafile.write_text(kappafile.read_text(encoding="utf-8") + api, encoding="utf-8")
    headers = ["--header", "accept: application/json", "--header", "X-Team:growth: a"]
    result = kappa("run", ".", "seen", "--input", "1", "2", *headers)
    assert (result.exit_code, result.stdout) == (
        0,
        '[1,"application/json","growth: a"]\n[2,"application/json","growth: a"]\n',
    )
    assert kappa("run", ".", "seen", "--input", "1").stdout == '[1,"",""]\n'


WARNING = """

def odd(values):
    import warnings
    warnings.warn("This model is odd.")
    return values
"""


def test_a_warning_of_the_code_is_shown_once_however_many_parts_there_are(project: Path) -> None:
    (module,) = project.glob("scaler_*.py")
    module.write_text(f"{module.read_text(encoding='utf-8')}{WARNING}", encoding="utf-8")
    kappafile = project / "kappafile.toml"
    api = f'\n[apis.odd]\nfunction = "{module.stem}:odd"\ninput = "json"\nbatch = true\n'
    kappafile.write_text(kappafile.read_text(encoding="utf-8") + api, encoding="utf-8")
    (project / "lines.jsonl").write_text("1\n" * 50, encoding="utf-8")
    words = ["run", ".", "odd", "--input-file", "lines.jsonl", "--max-batch-size", "1"]
    done = subprocess.run([sys.executable, "-m", "kappa", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"[{','.join('1' * 50)}]\n")
    assert done.stderr.count("This model is odd.") == 1


def test_the_header_of_the_type_says_how_inputs_are_read(kappa: Kappa, project: Path) -> None:
    result = kappa("run", ".", "scale", "--input", "1\n2\n", "--header", "Content-Type: application/x-ndjson")
    assert (result.exit_code, result.stdout) == (0, "[11,21]\n")


@pytest.mark.parametrize("line", ["Accept", "", ": x", "two words: x", "Accept=text/csv"])
def test_what_is_no_header_is_told(kappa: Kappa, project: Path, line: str) -> None:
    result = kappa("run", ".", "scale", "--input", "1", "--header", line)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"`--header {line}` is not a header: write `--header 'Name: value'`." in result.stderr


def test_a_failed_row_is_null_in_place_and_a_line_on_stderr(kappa: Kappa, project: Path) -> None:
    (project / "lines.ndjson").write_text('1\n"two"\n3\n[\n', encoding="utf-8")
    result = kappa("run", ".", "scale", "--input-file", "lines.ndjson", "--max-batch-size", "2")
    assert (result.exit_code, result.stdout) == (9, "[11,null,31,null]\n")
    lines = [line for line in result.stderr.splitlines() if line != "user code prints"]
    assert lines == [
        "row 2: not a number",
        "row 4: The body is not valid JSON: unexpected end of data: line 1 column 2 (char 1).",
    ]


def test_a_failed_input_is_null_and_its_neighbours_are_answered(kappa: Kappa, project: Path) -> None:
    result = kappa("run", ".", "scale", "--input", "1", "[", "3")
    assert (result.exit_code, result.stdout) == (9, "11\nnull\n31\n")
    lines = [line for line in result.stderr.splitlines() if line != "user code prints"]
    assert lines == [
        "error: input 2: The body is not valid JSON: unexpected end of data: line 1 column 2 (char 1).",
        "error: 1 of 3 inputs failed.",
    ]


def test_an_exception_of_the_users_code_is_one_line_and_a_traceback_with_verbose(kappa: Kappa, project: Path) -> None:
    result = kappa("run", ".", "explode", "--input", "1")
    assert (result.exit_code, result.stdout, result.stderr) == (9, "null\n", "error: RuntimeError: it broke\n")
    assert "Traceback" in kappa("run", ".", "explode", "--input", "1", "--verbose").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["run", ".", "scael", "--input", "1"],
            "error: `Scaler` has no API `scael`. Did you mean `scale`? It has `scale`, `explode`.\n",
            id="unknown-api",
        ),
        pytest.param(
            ["run", ".", "scale"], "error: There is no input: give `--input` or `--input-file`.\n", id="no-input"
        ),
        pytest.param(
            ["run", ".", "scale", "--input-file", "absent.json"],
            "error: Invalid value for '--input-file': File 'absent.json' does not exist. Run `kappa run --help`.\n",
            id="missing-file",
        ),
        pytest.param(
            ["run", ".", "scale", "--input-file", "factor.json", "kappafile.toml"],
            "error: The extension of `kappafile.toml` tells no format; known are .json, .jsonl, .ndjson, .txt, "
            ".jsonlines. "
            "Give `--input-format`.\n",
            id="unknown-extension",
        ),
        pytest.param(
            ["run", "not a tag", "scale", "--input", "1"],
            "error: `not a tag` is neither a path that exists nor the tag of a bundle: `not a tag` cannot name a "
            "service: use up to 128 letters, digits and `_`, beginning with a letter.\n",
            id="no-target",
        ),
        pytest.param(
            ["run", "."],
            "error: Missing argument `API`: the name of an API. `.` has `scale`, `explode`: write "
            "`kappa run . scale --input 2`. Run `kappa run --help`.\n",
            id="missing-api",
        ),
    ],
)
def test_a_wrong_call_exits_with_2_and_says_what_to_do(
    kappa: Kappa, project: Path, arguments: list[str], message: str
) -> None:
    result = kappa(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)


def test_an_unknown_tag_exits_with_4_and_says_what_there_is(kappa: Kappa, bundle: Path) -> None:
    result = kappa("run", "Scaler:2.0", "scale", "--input", "1")
    message = "error: There is no bundle `Scaler:2.0` in the store. Of `Scaler` it holds `Scaler:1.0`.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (4, "", message)


def test_a_missing_secret_exits_with_3_and_is_named(kappa: Kappa, project: Path) -> None:
    file = project / "kappafile.toml"
    file.write_text(file.read_text(encoding="utf-8") + '\n[env]\nsecrets = ["SCALER_TOKEN"]\n', encoding="utf-8")
    result = kappa("run", ".", "scale", "--input", "1")
    message = (
        "error: `Scaler` needs secrets that are not set: `SCALER_TOKEN`. "
        "Set them in the shell that starts it: `export SCALER_TOKEN=…`.\n"
    )
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", message)


def test_a_broken_kappafile_exits_with_3(kappa: Kappa, project: Path) -> None:
    (project / "kappafile.toml").write_text("kappafile = 1\n[service\n", encoding="utf-8")
    result = kappa("run", ".", "scale", "--input", "1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "kappafile.toml" in result.stderr
    assert "Traceback" not in result.stderr


def spread(*args: str, arguments: int = 2) -> list[str]:
    return spread_values(
        args,
        spreading={"--input", "--input-file"},
        with_value={"--input", "--input-file", "--max-batch-size"},
        flags={"-q", "--quiet", "--help"},
        arguments=arguments,
    )


@pytest.mark.parametrize(
    ("args", "rewritten"),
    [
        pytest.param("T A --input 1 2 3", "T A --input 1 --input 2 --input 3", id="several"),
        pytest.param("T A --input 1 2 -q", "T A --input 1 --input 2 -q", id="up-to-an-option"),
        pytest.param("T A --input -1 -2", "T A --input -1 --input -2", id="negative-numbers"),
        pytest.param("--input 1 T A", "--input 1 T A", id="arguments-last"),
        pytest.param("T --input 1 A", "T --input 1 A", id="arguments-around"),
        pytest.param("--max-batch-size 2 T --input 1 A", "--max-batch-size 2 T --input 1 A", id="other-values"),
        pytest.param("T A --input 1 --bogus", "T A --input 1 --bogus", id="unknown-option"),
        pytest.param(
            "T A --input-file a b --input 1 2", "T A --input-file a --input-file b --input 1 --input 2", id="both"
        ),
        pytest.param("T A --input 1 -- 2", "T A --input 1 -- 2", id="end-of-options"),
        pytest.param("T A --input", "T A --input", id="no-value"),
    ],
)
def test_values_after_the_first_are_spread(args: str, rewritten: str) -> None:
    assert spread(*args.split()) == rewritten.split()


def test_csv_is_answered_in_parts(kappa: Kappa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nname = "Rows"\n[apis.total]\nfunction = "rows_of_test_cli_run:total"\n'
        'input = "dataframe"\n',
        encoding="utf-8",
    )
    source = "def total(frame):\n    print(len(frame))\n    return frame.sum(axis=1)\n"
    (tmp_path / "rows_of_test_cli_run.py").write_text(source, encoding="utf-8")
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{n},{n}\n" for n in range(5)), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    result = kappa("run", tmp_path, "total", "--input-file", tmp_path / "rows.csv", "--max-batch-size", 2)
    assert json.loads(result.stdout) == [0, 2, 4, 6, 8]
    assert result.stderr == "2\n2\n1\n"
