from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import joblib
import pandas as pd
import pytest
from click.testing import Result
from PIL import Image
from sklearn.linear_model import LinearRegression

Kappa = Callable[..., Result]


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("target", [".", "kappafile.toml", None])
def test_examples_of_a_project_are_replayed(kappa: Kappa, project: Path, target: str | None) -> None:
    result = kappa("test", *([target] if target else []))
    assert (result.exit_code, result.stdout) == (0, "ok      scale: a number\nok      scale: a file\n")


def test_examples_of_a_bundle_are_replayed_with_their_files(kappa: Kappa, bundle: Path) -> None:
    result = kappa("test", "Scaler:latest")
    assert (result.exit_code, result.stdout) == (0, "ok      scale: a number\nok      scale: a file\n")


def test_the_versions_that_it_ran_on_are_told_and_those_of_the_lock(kappa: Kappa, project: Path) -> None:
    version = importlib.metadata.version("click")
    (project / "kappafile.lock").write_text(f"# kappa-input: user click\nclick=={version} \\\n    --hash=sha256:00\n")
    ran_on = f"Ran on Python {platform.python_version()} with click {version}.\n"
    assert kappa("test").stderr.endswith(ran_on)
    rewrite(project / "kappafile.lock", f"click=={version}", "click==1.0")
    assert kappa("test").stderr.endswith(
        f"{ran_on}The bundle has other versions than run here, so it may answer otherwise: click {version} (1.0 "
        "there).\n"
    )


def test_an_answer_that_differs_is_shown_with_both_values(kappa: Kappa, project: Path) -> None:
    rewrite(project / "kappafile.toml", "expect = 31.0", "expect = 33.0")
    result = kappa("test")
    assert result.exit_code == 9
    assert result.stdout == (
        "ok      scale: a number\n"
        "FAILED  scale: a file\n"
        "        the answer: expected 33.0, got 31, 2 apart where 0.5 is allowed\n"
    )
    assert result.stderr.endswith("error: 1 of 2 examples failed.\n")


def test_an_example_that_raises_does_not_stop_the_others(kappa: Kappa, project: Path) -> None:
    rewrite(project / "kappafile.toml", 'api = "scale"\ninput = 2', 'api = "explode"\ninput = 2')
    result = kappa("test")
    assert (result.exit_code, result.stdout) == (
        9,
        "FAILED  explode: a number\n        RuntimeError: it broke\nok      scale: a file\n",
    )


def test_a_refused_example_shows_its_status(kappa: Kappa, project: Path) -> None:
    rewrite(project / "kappafile.toml", "input = 2", 'input = "two"')
    result = kappa("test", "--format", "json")
    records = json.loads(result.stdout)
    assert result.exit_code == 9
    assert [record.pop("duration_ms") > 0 for record in records] == [True, True]
    assert records[0].pop("got")["error"] == "not a number"
    assert records == [
        {
            "name": "a number",
            "api": "scale",
            "passed": False,
            "problems": ["the answer has the status 400: not a number"],
            "expected": 21,
        },
        {"name": "a file", "api": "scale", "passed": True, "problems": [], "expected": 31.0, "got": 31},
    ]


def test_a_missing_file_of_an_example_fails_that_example(kappa: Kappa, project: Path) -> None:
    (project / "samples" / "three.json").unlink()
    result = kappa("test")
    assert result.exit_code in (3, 9)  # a manifest that names a missing file may be refused before anything runs
    assert "samples/three.json" in result.output


def test_a_service_without_examples_cannot_pass(kappa: Kappa, project: Path) -> None:
    file = project / "kappafile.toml"
    file.write_text(file.read_text(encoding="utf-8").partition("[[examples]]")[0], encoding="utf-8")
    result = kappa("test")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("error: `Scaler` has no `[[examples]]`, so there is nothing to test. Put one into")


def test_the_example_to_copy_has_the_columns_that_the_model_knows(
    kappa: Kappa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    houses = pd.DataFrame({"area m2": [80.5, 120.0], "rooms": [3, 4]})
    joblib.dump(LinearRegression().fit(houses, [1.0, 2.0]), tmp_path / "house.joblib")
    api = '[apis.predict]\nartifact = "model"\ninput = "dataframe"\n'
    model = '[artifacts.model]\ntype = "sklearn"\npath = "house.joblib"\n'
    file = tmp_path / "kappafile.toml"
    file.write_text(f'kappafile = 1\n[service]\nname = "House"\n{model}{api}', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    lines = kappa("test").stderr.partition("\n\n")[2]
    assert 'input = [{ "area m2" = 1, rooms = 1 }]' in lines.splitlines()
    with file.open("a", encoding="utf-8") as kappafile:
        kappafile.write(lines)
    assert kappa("test").exit_code == 0


@pytest.mark.parametrize("more", ["", '# columns_from = "old.csv"\n'], ids=["alone", "beside one in a comment"])
def test_a_column_that_an_example_lacks_leads_to_the_sample_that_names_it(
    kappa: Kappa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    module = f"rows_{os.getpid()}"
    (tmp_path / f"{module}.py").write_text("def many(rows):\n    return [1] * len(rows)\n", encoding="utf-8")
    (tmp_path / "houses.csv").write_text("area,price\n80.5,100000\n", encoding="utf-8")
    (tmp_path / "kappafile.toml").write_text(
        f'{more}kappafile = 1\n[service]\nname = "House"\n[apis.predict]\nfunction = "{module}:many"\n'
        '[apis.predict.input]\ntype = "dataframe"\ncolumns_from = "houses.csv"\n'
        '[[examples]]\nname = "one"\napi = "predict"\ninput = [{ area = 80.5 }]\n',
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    line = 9 if more else 8
    assert f'which `columns_from = "houses.csv"` names (kappafile.toml:{line}); if they do' in kappa("test").stdout
    sys.modules.pop(module, None)


INPUTS = ["json", "string", "ndarray", "image", "file", "dataframe"]
COLUMNS = '{ type = "dataframe", columns = { area = "float64", "sold on" = "datetime", new = "bool", city = "str" } }'


@pytest.mark.parametrize("adapter", [*(f'"{name}"' for name in INPUTS), COLUMNS], ids=[*INPUTS, "columns"])
def test_the_example_to_copy_is_one_for_the_input(
    kappa: Kappa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    """What the message holds is put into the kappafile as it is: nothing is wrong with it, and its request is taken."""
    module = f"counting_{os.getpid()}"
    code = "def one(value):\n    return 1\n\n\ndef many(rows):\n    return [1] * len(rows)\n"
    (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
    function = "many" if "dataframe" in adapter else "one"
    file = tmp_path / "kappafile.toml"
    api = f'[apis.count]\nfunction = "{module}:{function}"\ninput = {adapter}\n'
    file.write_text(f'kappafile = 1\n[service]\nname = "Counting"\n{api}', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    message = kappa("test").stderr
    with file.open("a", encoding="utf-8") as kappafile:
        kappafile.write(message.partition("\n\n")[2])
    (tmp_path / "request.bin").write_bytes(b"1")
    Image.new("RGB", (2, 2)).save(tmp_path / "request.png")
    tested = kappa("test")
    assert (tested.exit_code, tested.stdout) == (0, "ok      count: a first request\n"), message
    sys.modules.pop(module)


@pytest.fixture
def server() -> Iterator[str]:
    """Answer every request with ten times its body plus one, at any path but `/broken`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_right = self.path == "/scale" and self.headers["Content-Type"] == "application/json"
            answer = str(int(body) * 10 + 1).encode() if is_right else b'{"error": "broken", "request_id": "1"}'
            self.send_response(200 if is_right else 500)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_a_server_is_asked_over_http_with_the_examples_here(kappa: Kappa, project: Path, server: str) -> None:
    result = kappa("test", f"{server}/")
    assert (result.exit_code, result.stdout) == (0, "ok      scale: a number\nok      scale: a file\n")


def test_a_server_is_asked_with_the_examples_of_a_bundle(
    kappa: Kappa, bundle: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert kappa("test", server, "--examples-from", "Scaler:1.0").exit_code == 0
    result = kappa("test", f"{server}/elsewhere", "--examples-from", "Scaler:1.0")
    assert result.exit_code == 9
    assert result.stdout.startswith("FAILED  scale: a number\n        the answer has the status 500: broken\n")


def test_a_server_that_is_not_there_is_said(kappa: Kappa, project: Path) -> None:
    result = kappa("test", "http://127.0.0.1:9")
    assert result.exit_code == 9
    assert (
        "Nothing listens at `http://127.0.0.1:9` ([Errno 111] Connection refused): start it with `kappa serve"
        in result.stdout
    )
