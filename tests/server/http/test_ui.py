"""The built-in page's files and what they read, without a browser."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kappa._resources import resource
from kappa.server.http.ui import root_of, ui_files
from kappa.testing import Client, client

KAPPAFILE = """\
kappafile = 1
[service]
name = "Upper"
doc = "Says *it* <b>louder</b>."
labels = { team = "growth" }
web_static_content = "static"
[artifacts.words]
type = "json"
path = "words.json"
metadata = { rows = 3, share = 2.0 }
[apis.shout]
function = "upper_of_ui:shout"
input = "json"
[[examples]]
name = "inline"
api = "shout"
input = { a = [1, "x"] }
expect = "ok"
[[examples]]
name = "from a file"
api = "shout"
input_file = "samples/one.json"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("upper")
    for name, text in {
        "kappafile.toml": KAPPAFILE,
        "upper_of_ui.py": "def shout(value, words):\n    return str(value).upper()\n",
        "words.json": "{}",
        "samples/one.json": '{"b": 2}',
        "static/index.html": "<h1>Mine</h1>",
        "static/docs/app.js": "mine",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text, encoding="utf-8")
    yield folder
    sys.path.remove(str(folder))
    del sys.modules["upper_of_ui"]


@pytest.fixture(scope="module")
def asking(project: Path) -> Iterator[Client]:
    with client(project) as made:
        yield made


def test_what_the_page_reads_says_everything_but_the_apis(asking: Client) -> None:
    described = asking.get("/docs/service.json").json
    assert described.pop("kappa_version")
    assert described == {
        "name": "Upper",
        "version": "development",
        "doc": "Says *it* <b>louder</b>.",
        "labels": {"team": "growth"},
        "artifacts": [{"name": "words", "artifactType": "JSONArtifact", "metadata": {"rows": 3, "share": 2.0}}],
        "examples": [
            {"name": "inline", "api": "shout", "input": {"a": [1, "x"]}},
            {
                "name": "from a file",
                "api": "shout",
                "file": "one.json",
                "media_type": "application/json",
                "url": "docs/examples/1",
            },
        ],
    }
    assert asking.get("/metadata").json["artifacts"][0]["metadata"] == {"rows": 3, "share": 2.0}


def test_files_of_examples_can_be_fetched(asking: Client) -> None:
    answer = asking.get("/docs/examples/1")
    assert (answer.text, answer.headers["content-type"]) == ('{"b": 2}', "application/json")
    assert asking.get("/docs/examples/0").status_code == 404


def test_the_page_is_at_docs_where_the_service_has_one_of_its_own(asking: Client) -> None:
    browser = {"Accept": "text/html"}
    assert asking.get("/", headers=browser).text == "<h1>Mine</h1>"
    page = asking.get("/docs", headers=browser)
    assert '<script type="module" src="docs/app.js">' in page.text
    assert "Says *it* &lt;b&gt;louder&lt;/b&gt;." in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert ("default-src 'none'" in policy, "script-src 'self'" in policy, "unsafe" in policy) == (True, True, False)
    assert asking.get("/docs/app.js").text != "mine"


def test_the_page_has_nothing_that_its_policy_forbids(asking: Client) -> None:
    page = asking.get("/docs").text
    assert re.findall(r"<script(?![^>]*\bsrc=)|\bstyle=|\son\w+=|<style|https?://", page) == []
    for name, _ in ui_files():
        text = asking.get(f"/docs/{name}").text
        links = set(re.findall(r"https?://[\w./]+", text)) - {"http://www.w3.org/2000/svg"}
        assert links == set(), f"{name} names another host"


def test_every_file_is_served_with_its_type_and_fetched_once(asking: Client) -> None:
    names = [name for name, _ in ui_files()]
    assert {"app.js", "app.css", "icon.svg", "form.js"} <= set(names)
    kinds = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
    for name in names:
        answer = asking.get(f"/docs/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kinds[name.partition(".")[2]])
        again = asking.get(f"/docs/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert asking.get("/docs/absent.js").status_code == 404


def test_modules_import_only_files_that_are_there() -> None:
    folder = resource("templates", "server", "ui")
    names = {file.name for file in folder.iterdir()}
    for file in folder.iterdir():
        if file.name.endswith(".js"):
            imported = re.findall(r'from "\./([\w.]+)"', file.read_text(encoding="utf-8"))
            assert set(imported) <= names, file.name


class Asked:
    def __init__(self, path: str, forwarded: str = "") -> None:
        self.scope = {"path": path}
        self.raw_headers = {b"x-forwarded-prefix": forwarded.encode()} if forwarded else {}


@pytest.mark.parametrize(
    ("path", "prefix", "root"),
    [
        ("/", "", ""),
        ("/docs", "", ""),
        ("/docs/", "", "../"),
        ("/Iris", "/Iris", "Iris/"),
        ("/Iris/", "/Iris", ""),
        ("/Iris/docs", "/Iris", ""),
        ("/Iris/docs/", "/Iris", "../"),
    ],
)
def test_links_lead_to_the_root_from_wherever_the_page_is(path: str, prefix: str, root: str) -> None:
    assert root_of(Asked(path), prefix) == root  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("forwarded", "root"),
    [
        ("/team/iris", "/team/iris/"),
        ("/team/iris/", "/team/iris/"),
        ('/x"><script>', ""),
        ("//evil", ""),
        ("relative", ""),
    ],
)
def test_a_proxy_may_say_where_the_service_is(forwarded: str, root: str) -> None:
    assert root_of(Asked("/", forwarded), "") == root  # type: ignore[arg-type]
