"""The real pip-compile, against a folder of tiny wheels."""

from __future__ import annotations

import base64
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kappa._files import sha256_of_file
from kappa.build.packages.lock import LockInputs
from kappa.build.packages.locking import lock_packages
from kappa.build.packages.resolvers.indexes import pip_environment
from kappa.build.packages.resolvers.pip_compile import PipCompileResolver, explain_failure
from kappa.errors import ResolutionError
from kappa.spec.platforms import running_platform, running_python

INPUTS = LockInputs(requirements=("pear",), python=running_python(), platform=running_platform())


def test_lock_pins_everything_with_hashes_and_names_no_place(index_environ: dict[str, str], tiny_index: Path) -> None:
    inputs = replace(INPUTS, requirements=("pear", "plum; sys_platform == 'nothing'", "apple[skin]>=1"))
    lock = lock_packages(inputs, committed=None, environ=index_environ)
    without_hashes = re.sub(r"sha256:[0-9a-f]{64}", "sha256:…", lock.body)
    assert without_hashes == (
        "apple==1.0 \\\n    --hash=sha256:…\n    # via\n    #   -r requirements.in\n    #   pear\n"
        "pear==1.0 \\\n    --hash=sha256:…\n    # via -r requirements.in\n"
    )
    assert re.fullmatch(r"pip-compile \d+\.\d+", lock.resolver)


def test_nothing_of_the_callers_settings_reaches_the_lock(index_environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").write_text("apple<1\n")
    environ = {
        **index_environ,
        "PIP_EXTRA_INDEX_URL": "https://user:hunter2@example.org/simple",
        "PIP_TRUSTED_HOST": "example.org",
        "PIP_CONSTRAINT": str(tmp_path / "constraints.txt"),
        "PIP_NO_BINARY": ":all:",
        "PIP_REQUIRE_VIRTUALENV": "0",
        "CUSTOM_COMPILE_COMMAND": "make lock",
    }
    body = lock_packages(INPUTS, committed=None, environ=environ).body
    assert [line for line in body.splitlines() if not line.startswith(("apple==1.0", "pear==1.0", "    "))] == []
    assert "hunter2" not in body
    assert "example.org" not in body


def test_index_settings_of_pips_configuration_file_reach_the_resolver(
    index_environ: dict[str, str], tiny_index: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[global]\nno-index = true\nfind-links = {tiny_index}\npre = true\n")
    bare = {key: value for key, value in index_environ.items() if not key.startswith("PIP_")}
    environ = {**bare, "PIP_CONFIG_FILE": str(settings)}
    seen = pip_environment(environ)
    assert seen["PIP_FIND_LINKS"] == str(tiny_index)
    assert seen["PIP_NO_INDEX"] == "true"
    assert seen["PIP_CONFIG_FILE"] == os.devnull
    assert "PIP_PRE" not in seen


def test_relative_find_links_mean_the_callers_folder(
    index_environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = pip_environment({**index_environ, "PIP_FIND_LINKS": "wheels https://example.org/links"})
    assert seen["PIP_FIND_LINKS"] == f"{tmp_path / 'wheels'} https://example.org/links"


def test_conflict_is_told_in_pips_words(index_environ: dict[str, str]) -> None:
    inputs = replace(INPUTS, requirements=("pear", "apple==2.0"))
    with pytest.raises(ResolutionError) as raised:
        lock_packages(inputs, committed=None, environ=index_environ)
    assert str(raised.value) == (
        "The packages cannot be resolved. pip says:\n"
        "Cannot install `pear` and apple==2.0 because these package versions have conflicting dependencies.\n"
        "  The user requested apple==2.0\n"
        "  pear 1.0 depends on apple<2"
    )


def test_missing_version_names_the_requirement_and_the_versions(index_environ: dict[str, str]) -> None:
    with pytest.raises(ResolutionError, match=r"requirement apple==9 \(from versions: 1.0, 2.0\)$"):
        lock_packages(replace(INPUTS, requirements=("apple==9",)), committed=None, environ=index_environ)


def test_constraints_hold(index_environ: dict[str, str]) -> None:
    inputs = replace(INPUTS, requirements=("apple",), constraints=("apple<2", "pear==9"))
    assert lock_packages(inputs, committed=None, environ=index_environ).requirements == ("apple==1.0",)


def test_hash_of_the_user_that_does_not_fit_is_refused(index_environ: dict[str, str]) -> None:
    inputs = replace(INPUTS, requirements=(f"apple==1.0 --hash=sha256:{'0' * 64}",))
    with pytest.raises(ResolutionError, match="DO NOT MATCH THE HASHES"):
        lock_packages(inputs, committed=None, environ=index_environ)


def test_index_that_does_not_answer_is_not_a_missing_package(index_environ: dict[str, str]) -> None:
    bare = {key: value for key, value in index_environ.items() if not key.startswith("PIP_")}
    environ = {
        **bare,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://user:hunter2@127.0.0.1:9/simple",
        "PIP_RETRIES": "1",
    }
    with pytest.raises(ResolutionError, match="The package index could not be asked") as raised:
        lock_packages(INPUTS, committed=None, environ=environ)
    assert "`127.0.0.1`" in str(raised.value)
    assert "hunter2" not in str(raised.value)


class LoggedIn(SimpleHTTPRequestHandler):
    """Serves a folder as an index to those who know the password; everybody may have `/open`."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, directory=str(self.server_folder), **options)

    server_folder: ClassVar[Path]

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(b"user:hunter2").decode()
        if self.path.startswith("/open/") or self.headers["Authorization"] == expected:
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def index_server(tiny_index: Path, tmp_path: Path) -> Iterator[str]:
    """Serve `pear` and `apple` with a password, and `apple` to everybody below `/open`; yield host and port."""
    for place in ("simple/pear", "simple/apple", "open"):
        (tmp_path / "www" / place).mkdir(parents=True)
        wheels = [*tiny_index.glob(f"{Path(place).name}-*.whl")] or [*tiny_index.glob("apple-1.0-*.whl")]
        for wheel in wheels:
            shutil.copy(wheel, tmp_path / "www" / place)
    handler = type("Handler", (LoggedIn,), {"server_folder": tmp_path / "www"})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_password_of_an_index_reaches_it_and_nothing_else(index_environ: dict[str, str], index_server: str) -> None:
    bare = {key: value for key, value in index_environ.items() if not key.startswith("PIP_")}
    environ = {**bare, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"http://user:hunter2@{index_server}/simple"}
    lock = lock_packages(INPUTS, committed=None, environ=environ)
    assert lock.requirements == ("apple==1.0", "pear==1.0")
    assert "hunter2" not in lock.text
    assert index_server not in lock.text


def test_hash_that_the_index_states_is_taken_without_a_download(
    index_environ: dict[str, str], index_server: str, tiny_index: Path, tmp_path: Path
) -> None:
    stated = "ab" * 32
    (tmp_path / "www" / "open" / "pages" / "apple").mkdir(parents=True)
    (tmp_path / "www" / "open" / "pages" / "apple" / "index.html").write_text(
        '<a href="../../apple-1.0-py3-none-any.whl">apple-1.0-py3-none-any.whl</a>\n'
        f'<a href="../../apple-1.0-py3-none-win_amd64.whl#sha256={stated}">apple-1.0-py3-none-win_amd64.whl</a>\n'
    )
    bare = {key: value for key, value in index_environ.items() if not key.startswith("PIP_")}
    environ = {**bare, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"http://{index_server}/open/pages"}
    lock = lock_packages(replace(INPUTS, requirements=("apple",)), committed=None, environ=environ)
    computed = sha256_of_file(tiny_index / "apple-1.0-py3-none-any.whl")
    assert re.findall("sha256:([0-9a-f]+)", lock.body) == sorted([computed, stated])


def test_direct_url_is_kept_verbatim_with_its_hash(
    index_environ: dict[str, str], index_server: str, tiny_index: Path
) -> None:
    requirement = f"apple @ http://{index_server}/open/apple-1.0-py3-none-any.whl"
    lock = lock_packages(replace(INPUTS, requirements=(requirement, "pear")), committed=None, environ=index_environ)
    digest = sha256_of_file(tiny_index / "apple-1.0-py3-none-any.whl")
    assert lock.requirements == (requirement, "pear==1.0")
    assert lock.body.startswith(f"{requirement} \\\n    --hash=sha256:{digest}\n")


def test_command_is_pip_compile_with_nothing_that_could_leave_a_trace(index_environ: dict[str, str]) -> None:
    seen: list[list[str]] = []

    def run(command: Sequence[str], directory: Path, environ: Mapping[str, str]) -> tuple[int, str]:
        seen.append([*command, (directory / "requirements.in").read_text()])
        (directory / "requirements.txt").write_text("apple==1.0\n")
        return 0, ""

    inputs = replace(INPUTS, requirements=("pear", "apple", "pear"), constraints=("plum<2",), options=("--pre",))
    assert PipCompileResolver(run).resolve(inputs, environ=index_environ).body == "apple==1.0\n"
    flags = (
        "--no-config --generate-hashes --allow-unsafe --strip-extras --no-header --no-emit-options "
        "--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --verbose --output-file requirements.txt"
    )
    command = [
        sys.executable,
        "-m",
        "kappa.build.packages.resolvers.compile_command",
        *flags.split(),
        "requirements.in",
    ]
    assert seen == [[*command, "--pre\n-c constraints.txt\napple\npear\n"]]


def test_target_that_is_not_this_interpreter_is_refused() -> None:
    with pytest.raises(ResolutionError, match=r"for Python 3.99 on linux_x86_64\.$"):
        PipCompileResolver().resolve(replace(INPUTS, python="3.99", platform="linux_x86_64"), environ={})


def test_long_list_of_versions_is_shortened() -> None:
    output = f"  ERROR: Could not find x==9 (from versions: {', '.join(f'1.{n}' for n in range(20))})\n"
    assert explain_failure(output, []).endswith(
        "Could not find x==9 (from versions: …, 1.14, 1.15, 1.16, 1.17, 1.18, 1.19)"
    )


def test_failure_without_a_message_shows_the_last_exception_and_what_was_collected() -> None:
    output = (
        "Collecting brokenpackage (from -r requirements.in (line 1))\nTraceback (most recent call last):\n"
        '  File "x.py", line 3, in y\npip._internal.exceptions.MetadataGenerationFailed: metadata generation failed\n'
    )
    assert explain_failure(output, ["brokenpackage"]) == (
        "The packages cannot be resolved. pip says:\nMetadataGenerationFailed: metadata generation failed\n"
        "That was while collecting `brokenpackage`."
    )
