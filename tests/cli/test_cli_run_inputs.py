"""`kappa run` for every kind of input and output: forms, patterns, packed files, files of rows, pictures."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from kappa.cli.main import cli

Kappa = Callable[..., Result]
KAPPA = (sys.executable, "-m", "kappa")

SOURCE = """\
import signal
import sys
import threading

from kappa.types import FileLike, InferenceError


def total(frame):
    print(len(frame), file=sys.stderr)
    return frame.assign(total=frame["a"] + frame["b"])


def pair(lefts, rights):
    print(len(lefts), file=sys.stderr)
    return [f"{left.read().decode()}{right.read().decode()}" for left, right in zip(lefts, rights)]


def shape(images):
    print(len(images), file=sys.stderr)
    return [image.shape for image in images]


def interrupt():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # as Ctrl-C does, also where that thread waits
    threading.Event().wait(30)


def halve(image):
    return image[::2, ::2]


def halve_two(image):
    return image[::2, ::2]


def echo(value):
    if value == "stop":
        interrupt()
    return 1j if value == "complex" else value


def stopping(frame):
    if (frame["a"] > 3).any():
        interrupt()
    return frame["a"]
"""

APIS = {
    "total": 'input = "dataframe"',
    "pair": 'input = { type = "multi_file", input_names = ["left", "right"] }\nbatch = true',
    "shape": 'input = "image"\nbatch = true',
    "halve": 'input = "image"\noutput = "image"',
    "echo": 'input = "json"',
    "halve_two": 'input = { type = "multi_image", input_names = ["a"] }',
    "stopping": 'input = "dataframe"',
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "project"
    module = f"inputs_{tmp_path.name.replace('-', '_')}_{os.getpid()}"
    root.mkdir()
    (root / f"{module}.py").write_text(SOURCE, encoding="utf-8")
    apis = [f'[apis.{name}]\nfunction = "{module}:{name}"\n{text}' for name, text in APIS.items()]
    (root / "kappafile.toml").write_text(
        "\n".join(['kappafile = 1\n[service]\nname = "Inputs"', *apis]), encoding="utf-8"
    )
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield root
    sys.modules.pop(module, None)


ROWS = pd.DataFrame({"a": range(5), "b": [0.5] * 5})
TOTALS = [{"a": a, "b": 0.5, "total": a + 0.5} for a in range(5)]


def picture(path: Path, size: tuple[int, int] = (4, 2)) -> None:
    Image.new("RGB", size).save(path)


# -- files of rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["rows.csv", "rows.csv.gz", "rows.jsonl", "rows.jsonl.gz", "rows.parquet", "rows.json"]
)
def test_a_file_of_rows_is_answered_in_parts_whatever_its_form(kappa: Kappa, project: Path, name: str) -> None:
    text = ROWS.to_csv(index=False) if "csv" in name else ROWS.to_json(orient="records", lines="jsonl" in name)
    if name.endswith(".parquet"):
        ROWS.to_parquet(name)
    else:
        Path(name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    result = kappa("run", ".", "total", "--input-file", name, "--max-batch-size", 2)
    assert (result.exit_code, json.loads(result.stdout)) == (0, TOTALS)
    assert result.stderr == ("5\n" if name.endswith(".json") else "2\n2\n1\n")


def test_rows_may_come_from_standard_input(project: Path) -> None:
    arguments = ["run", ".", "total", "--input-file", "-", "--input-format", "csv"]
    result = CliRunner().invoke(cli, arguments, input=ROWS.to_csv(index=False), prog_name="kappa")
    assert (result.exit_code, json.loads(result.stdout)) == (0, TOTALS)


def test_what_was_answered_before_a_file_breaks_off_is_kept(kappa: Kappa, project: Path) -> None:
    Path("rows.csv").write_bytes(b"a,b\n" + b"1,0\n" * 5000 + b"\xff,0\n")
    result = kappa("run", ".", "total", "--input-file", "rows.csv", "--max-batch-size", 1000)
    answered = [row["total"] for row in json.loads(result.stdout)]
    assert (result.exit_code, answered) == (9, [1] * 4000)
    assert "error: Nothing is read from row 4001 on. The text cannot be decoded: " in result.stderr


def test_a_packed_file_that_is_cut_is_refused(kappa: Kappa, project: Path) -> None:
    Path("rows.csv.gz").write_bytes(gzip.compress(b"a,b\n1,0\n")[:-4])
    result = kappa("run", ".", "total", "--input-file", "rows.csv.gz")
    assert (result.exit_code, result.stdout) == (9, "null\n")
    assert result.stderr.startswith("error: The file cannot be unpacked: ")


def test_an_interrupt_leaves_a_valid_array_of_what_was_answered(kappa: Kappa, project: Path) -> None:
    ROWS.to_csv("rows.csv", index=False)
    result = kappa("run", ".", "stopping", "--input-file", "rows.csv", "--max-batch-size", 2)
    assert (result.exit_code, result.stdout) == (130, "[0,1,2,3]\n")


@pytest.mark.engine
def test_a_file_larger_than_what_is_kept_of_it_takes_no_more_memory_than_a_short_one(project: Path) -> None:
    line = "1,2,some text that makes the file long\n"
    Path("short.csv").write_text("a,b,c\n" + line, encoding="utf-8")
    Path("long.csv").write_text("a,b,c\n" + line * (150_000_000 // len(line)), encoding="utf-8")
    peaks = {}
    for name in ("short.csv", "long.csv"):
        measured = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, "
            "stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        command = [*KAPPA, "run", ".", "stopping", "--input-file", name, "--max-batch-size", "10000"]
        done = subprocess.run([sys.executable, "-c", measured, *command], capture_output=True, text=True, check=True)
        peaks[name] = int(done.stdout) / 1024
    assert peaks["long.csv"] < peaks["short.csv"] + 60, "megabytes"


def test_a_bar_shows_how_far_a_long_file_is(project: Path) -> None:
    """On a terminal of its own for stderr, and a file for the answers."""
    line = "1,2,some text that makes the file long\n"
    Path("rows.csv").write_text("a,b,c\n" + line * (9_000_000 // len(line)), encoding="utf-8")
    master, slave = pty.openpty()
    with Path("answers.json").open("wb") as answers:
        done = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "kappa",
                "run",
                ".",
                "total",
                "--input-file",
                "rows.csv",
                "--max-batch-size",
                "100000",
            ],
            stdout=answers,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        )
        os.close(slave)
        shown = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # Linux's word for the end of a terminal
                break
            if not chunk:
                break
            shown += chunk
        assert done.wait() == 0
    os.close(master)
    assert b"/9.0 MB" in shown
    assert len(json.loads(Path("answers.json").read_bytes())) == 9_000_000 // len(line)


# -- several inputs ----------------------------------------------------------------------------------------------------


def test_patterns_are_expanded_where_no_shell_did(kappa: Kappa, project: Path) -> None:
    for name in ("b", "a"):
        Path(f"{name}.json").write_text(f'"{name}"', encoding="utf-8")
    result = kappa("run", ".", "echo", "--input-file", "[ab].json", "--input", "1")
    assert (result.exit_code, result.stdout) == (0, '1\n"a"\n"b"\n')


def test_inputs_of_a_batch_api_are_answered_together_when_a_size_is_given(kappa: Kappa, project: Path) -> None:
    for number in range(3):
        picture(Path(f"{number}.png"), (4, number + 1))
    one_by_one = kappa("run", ".", "shape", "--input-file", "*.png")
    together = kappa("run", ".", "shape", "--input-file", "*.png", "--max-batch-size", 2)
    assert one_by_one.stdout == together.stdout == "[1,4,3]\n[2,4,3]\n[3,4,3]\n"
    assert (one_by_one.stderr, together.stderr) == ("1\n1\n1\n", "2\n1\n")


def test_an_input_that_is_refused_among_others_fails_alone(kappa: Kappa, project: Path) -> None:
    picture(Path("1.png"))
    Path("2.png").write_bytes(b"junk")
    result = kappa("run", ".", "shape", "--input-file", "1.png", "2.png", "1.png", "--max-batch-size", 8)
    assert (result.exit_code, result.stdout) == (9, "[2,4,3]\nnull\n[2,4,3]\n")
    assert "error: 2.png: The file is not an image in one of " in result.stderr


def test_each_name_has_its_values_and_files(kappa: Kappa, project: Path) -> None:
    for name in ("x", "y"):
        Path(f"{name}.txt").write_text(name, encoding="utf-8")
    result = kappa("run", ".", "pair", "--input-file-left", "x.txt", "y.txt", "--input-right=1", "--input-right", "2")
    assert (result.exit_code, result.stdout) == (0, '"x1"\n"y2"\n')
    by_pattern = kappa("run", ".", "pair", "--input-file-left", "?.txt", "--input-right", "1", "2")
    assert by_pattern.stdout == result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["halve_two", "--input", "x"],
            "`halve_two` takes several inputs: give `--input-a` or `--input-file-a`.",
        ),
        (["pair", "--input-lft", "x"], "There is no option `--input-lft`: `pair` takes `left`, `right`."),
        (["echo", "--input-left", "x"], "There is no option `--input-left`: `echo` takes one input: give `--input`."),
        (
            ["pair", "--input-left", "x", "y", "--input-right", "z"],
            "Each input needs as many values as the others; there are 2 for `left`, 1 for `right`.",
        ),
        (["pair", "--input-left"], "Option '--input-left' requires an argument. Run `kappa run --help`."),
        (
            ["pair", "--input-file-left", "gone"],
            "Invalid value for '--input-file-left': File 'gone' does not exist. Run `kappa run --help`.",
        ),
        (
            ["echo", "--input-file", "*.gone"],
            "Invalid value for '--input-file': No file matches '*.gone'. Run `kappa run --help`.",
        ),
        (
            ["echo", "--input-file", "."],
            "Invalid value for '--input-file': File '.' is a directory. Run `kappa run --help`.",
        ),
    ],
)
def test_inputs_that_cannot_be_meant(kappa: Kappa, project: Path, arguments: list[str], message: str) -> None:
    result = kappa("run", ".", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {message}\n")


@pytest.mark.parametrize("prefix", ["", "@"])
@pytest.mark.parametrize("name", ["two.json", "rows/two.csv"])
def test_the_name_of_a_file_is_no_value(kappa: Kappa, project: Path, prefix: str, name: str) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("[1]", encoding="utf-8")
    result = kappa("run", ".", "echo", "--input", f"{prefix}{name}")
    message = f"error: `{name}` is a file, and `--input` takes a value: use `--input-file {name}`.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)


@pytest.mark.parametrize("text", ['"@gone.json"', '"a.b"', "1.5", '"' + "x" * 5000 + '.json"'])
def test_a_value_that_names_no_file_is_a_value(kappa: Kappa, project: Path, text: str) -> None:
    assert kappa("run", ".", "echo", "--input", text).stdout == f"{text}\n"


def test_an_input_without_its_option_is_told_which_one(kappa: Kappa, project: Path) -> None:
    message = "Got unexpected extra argument (two.json): inputs follow `--input` or `--input-file`."
    assert message in kappa("run", ".", "echo", "two.json").stderr


def test_a_missing_input_is_refused_as_http_would(kappa: Kappa, project: Path) -> None:
    result = kappa("run", ".", "pair", "--input-left", "x")
    assert (result.exit_code, result.stdout, result.stderr) == (9, "null\n", "error: The form lacks `right`.\n")


# -- forms of answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("csv", "a,b,total\n1,2.5,3.5\n,,\n2,,\n"),
        ("table", "a  b    total\n1  2.5  3.5\n\n2\n"),
    ],
)
def test_rows_are_printed_as_csv_or_as_a_table(kappa: Kappa, project: Path, form: str, expected: str) -> None:
    Path("rows.jsonl").write_text('{"a":1,"b":2.5}\nnonsense\n{"a":2,"b":null}\n', encoding="utf-8")
    result = kappa("run", ".", "total", "--input-file", "rows.jsonl", "--max-batch-size", 1, "--output", form)
    assert (result.exit_code, result.stdout) == (9, expected)


@pytest.mark.parametrize(
    ("inputs", "form", "expected"),
    [
        (['"a b"', "1", "[0]"], "str", "a b\n1\n[0]\n"),
        (['"a b"', "1", "[0]"], "json", '"a b"\n1\n[0]\n'),
        (["[1,2]", "3", "null"], "csv", 'value\n1\n2\n3\n""\n'),
        (['[[1,"x,y"],[true,null]]'], "csv", '0,1\n1,"x,y"\ntrue,\n'),
        (['{"a":{"b":[1]},"c":"ä"}'], "csv", 'a,c\n"{""b"":[1]}",ä\n'),
        (["null"], "csv", 'value\n""\n'),
        (['{"a":1}', '{"a":10}'], "table", "a\n1\n10\n"),
    ],
)
def test_each_form_of_an_answer(kappa: Kappa, project: Path, inputs: list[str], form: str, expected: str) -> None:
    result = kappa("run", ".", "echo", "--input", *inputs, "-o", form)
    assert (result.exit_code, result.stdout) == (0, expected)


def test_a_long_table_is_cut(kappa: Kappa, project: Path) -> None:
    result = kappa("run", ".", "echo", "--input", json.dumps(list(range(150))), "-o", "table")
    assert result.stdout.splitlines()[-2:] == ["99", "… and 50 more rows"]


def test_a_picture_goes_out_as_it_is(project: Path) -> None:
    picture(Path("a.png"))
    result = CliRunner().invoke(cli, ["run", ".", "halve", "--input-file", "a.png"], prog_name="kappa")
    assert np.asarray(Image.open(io.BytesIO(result.stdout_bytes))).shape == (1, 2, 3)


def test_several_pictures_need_a_folder(kappa: Kappa, project: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(Path(name))
    result = kappa("run", ".", "halve", "--input-file", "*.png")
    message = "error: The answer is a file (`image/png`): give `--output-dir` to keep it.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)
    result = kappa("run", ".", "halve", "--input-file", "a.png", "b.png", "a.png", "--output-dir", "out/small")
    assert (result.exit_code, result.stdout) == (0, "out/small/a.png\nout/small/b.png\nout/small/a-2.png\n")
    with Image.open("out/small/a-2.png") as image:
        assert image.size == (2, 1)


def test_an_answer_that_cannot_be_written_is_said_with_its_reason_and_a_traceback_with_verbose(
    kappa: Kappa, project: Path
) -> None:
    result = kappa("run", ".", "echo", "--input", '"complex"')
    assert (result.exit_code, result.stdout) == (9, "null\n")
    reason, said = result.stderr.splitlines()
    assert reason.startswith("error: The answer of `echo` to ")
    assert reason.endswith("A value of type `complex` cannot be written as JSON: `complex` has no JSON form.")
    assert said == "error: The answer could not be encoded."
    assert "Traceback" in kappa("run", ".", "echo", "--input", '"complex"', "--verbose").stderr


def test_an_answer_never_replaces_its_input(kappa: Kappa, project: Path) -> None:
    picture(Path("a.png"))
    before = Path("a.png").read_bytes()
    result = kappa("run", ".", "halve", "--input-file", "a.png", "--output-dir", str(project))
    assert (result.exit_code, result.stdout) == (0, f"{project / 'a-2.png'}\n")
    assert Path("a.png").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_said(kappa: Kappa, project: Path) -> None:
    Path("taken").write_bytes(b"")
    result = kappa("run", ".", "echo", "--input", "1", "--output-dir", "taken/here")
    message = f"error: `{Path('taken/here/input 1.json')}` cannot be written: Not a directory.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)


def test_rows_may_go_to_a_folder(kappa: Kappa, project: Path) -> None:
    ROWS.to_csv("rows.csv", index=False)
    result = kappa("run", ".", "total", "--input-file", "rows.csv", "--output-dir", "out", "--max-batch-size", 3)
    assert (result.exit_code, result.stdout) == (0, "out/rows.json\n")
    assert json.loads(Path("out/rows.json").read_bytes()) == TOTALS


@pytest.mark.parametrize("option", ["-o", "--format", "--output"])
def test_the_format_of_answers_has_the_spelling_that_it_has_everywhere(
    kappa: Kappa, project: Path, option: str
) -> None:
    ROWS.to_csv("rows.csv", index=False)
    result = kappa("run", ".", "total", "--input-file", "rows.csv", option, "csv")
    assert result.stdout.splitlines()[:2] == ["a,b,total", "0,0.5,0.5"]
