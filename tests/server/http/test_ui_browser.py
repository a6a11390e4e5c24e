"""The built-in page in a real browser: it draws every form, sends what is typed, and shows what comes back."""

from __future__ import annotations

import http.client
import importlib
import json
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.server.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.engine]

SOURCE = '''\
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
import kappa
from kappa.adapters import (
    AnnotatedImageInput, DataframeInput, DataframeOutput, ImageInput, ImageOutput, JsonInput, NdarrayInput, StringInput,
)
from kappa.frameworks.json import JSONArtifact

@kappa.artifacts([JSONArtifact("model")])
@kappa.label(team="growth")
class Shown(kappa.BentoService):
    """Shows **every form**.

    <script>document.title = "attacked"</script> and [a link](javascript:document.title='attacked').

    - one `thing`
    """

    @kappa.example("two people", api="score", input=[{"age": 20, "city": "Ulm"}, {"age": 41, "city": None}])
    @kappa.api(
        input=DataframeInput(columns={"age": {"dtype": "int64", "nullable": False}, "city": "str"}),
        output=DataframeOutput(), batch=True,
    )
    def score(self, frame):
        """Double the ages."""
        return frame.assign(age=frame["age"] * 2)

    @kappa.api(input=DataframeInput(), batch=True)
    def rows(self, frame):
        return [[str(value) for value in row] for row in frame.itertuples(index=False)]

    @kappa.api(input=JsonInput(http_input_example={"a": [1, None]}))
    def value(self, value):
        return {"got": value}

    @kappa.api(input=ImageInput(), output=ImageOutput())
    def invert(self, image):
        return 255 - image

    @kappa.api(input=AnnotatedImageInput())
    def annotated(self, image, annotations):
        return [list(image.shape), annotations]

    @kappa.api(input=StringInput())
    def shout(self, text):
        return text.upper()

    @kappa.api(input=NdarrayInput(), batch=True)
    def array(self, array):
        return array * 2
'''.replace('@kappa.example("two people", api="score", ', '@kappa.example("two people", ')


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("shown")
    (folder / "shown_of_browser.py").write_text(SOURCE, encoding="utf-8")
    sys.path.insert(0, str(folder))
    service = importlib.import_module("shown_of_browser").Shown().pack("model", {}, metadata={"auc": 0.91})
    yield service.start_dev_server(0)
    service.stop_dev_server()
    sys.path.remove(str(folder))
    del sys.modules["shown_of_browser"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    made = Browser()
    yield made
    made.driver.quit()


def picture(folder: Path) -> Path:
    from PIL import Image

    path = folder / "black.png"
    Image.new("RGB", (6, 4)).save(path)
    return path


def test_the_page_says_what_the_service_is_and_has_a_form_for_each_api(browser: Browser, url: str) -> None:
    browser.open(url)
    names = browser.run("return [...document.querySelectorAll('section.api h2')].map((one) => one.textContent)")
    assert names == ["score", "rows", "value", "invert", "annotated", "shout", "array"]
    assert browser.text(".about strong") == "every form"
    assert browser.text(".labels") == "team growth"
    assert "0.91" in browser.text("#models")
    browser.wait("document.getElementById('state').textContent === 'ready'")
    assert browser.problems() == []


def test_nothing_is_fetched_from_elsewhere_and_descriptions_are_only_text(browser: Browser, url: str) -> None:
    browser.open(url)
    origins = browser.run(
        "return [...new Set(performance.getEntriesByType('resource').map((one) => new URL(one.name).origin))]"
    )
    assert origins == [url]
    assert browser.driver.title == "Shown"
    assert browser.run("return [...document.links].filter((one) => one.href.startsWith('javascript')).length") == 0
    assert "<script>" in browser.text(".about")


def test_an_example_is_there_as_a_table_that_can_be_edited_and_sent(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.wait("document.querySelectorAll('#score tbody tr').length === 2")
    assert browser.send("score") == "200 OK"
    rows = browser.run(
        "return [...document.querySelectorAll('#score .answer .panel:not([hidden]) tbody tr')]"
        ".map((row) => [...row.cells].map((one) => one.textContent))"
    )
    assert rows == [["40", "Ulm"], ["82", "null"]]
    age = browser.find("#score [aria-label='age, row 1']")
    age.clear()
    age.send_keys("9007199254740991")
    assert browser.send("score") == "200 OK"
    browser.tab("#score .answer", "JSON")
    text = browser.run("return document.querySelector('#score pre.json').textContent")
    assert "18014398509481982" in text  # no digit is lost on the way


def test_what_does_not_fit_is_marked_and_the_service_says_why(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.wait("document.querySelectorAll('#score tbody tr').length === 2")
    age = browser.find("#score [aria-label='age, row 1']")
    age.clear()
    age.send_keys("old")
    assert "is-wrong" in age.get_attribute("class")
    assert browser.send("score").startswith("422")
    assert "age" in browser.answer("score")["error"]


def test_the_keyboard_alone_fills_and_sends(browser: Browser, url: str) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(url)
    browser.wait("document.querySelectorAll('#rows tbody tr').length === 2")
    cell = browser.find("#rows tbody input")
    cell.send_keys("1", Keys.TAB, "x")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.driver.switch_to.active_element.send_keys("y", Keys.ENTER, "z")
    browser.wait("document.querySelectorAll('#rows tbody tr').length === 3")
    browser.driver.switch_to.active_element.send_keys(Keys.CONTROL, Keys.ENTER)
    browser.wait("document.querySelector('#rows .answer')")
    assert [row[1] for row in browser.answer("rows")] == ["x", "y", "z"]


def test_rows_are_pasted_from_a_spreadsheet_and_imported_from_csv(browser: Browser, url: str, tmp_path: Path) -> None:
    browser.open(url)
    browser.wait("document.querySelectorAll('#score tbody tr').length === 2")
    browser.run(
        "const data = new DataTransfer(); data.setData('text/plain', '1\\tBonn\\n2\\tKöln\\n3\\tTrier');"
        "const paste = new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true});"
        "document.querySelector('#score tbody input').dispatchEvent(paste);"
    )
    assert browser.send("score") == "200 OK"
    browser.tab("#score .answer", "JSON")
    assert [row["city"] for row in browser.answer("score")] == ["Bonn", "Köln", "Trier"]
    (tmp_path / "rows.csv").write_text('city,age\n"a, ""b""",5\n', encoding="utf-8")
    browser.find("#score .tools input[type=file]").send_keys(str(tmp_path / "rows.csv"))
    browser.wait("document.querySelectorAll('#score .cells tbody tr').length === 1")
    assert browser.send("score") == "200 OK"
    browser.tab("#score .answer", "JSON")
    assert browser.answer("score") == [{"age": 10, "city": 'a, "b"'}]


def test_json_is_checked_while_it_is_typed(browser: Browser, url: str) -> None:
    browser.open(url)
    area = browser.find("#value textarea")
    assert json.loads(area.get_attribute("value")) == {"a": [1, None]}
    area.clear()
    area.send_keys('{"a": ')
    browser.wait("document.querySelector('#value .editor.is-wrong')")
    browser.find("#value button[type=submit]").click()
    assert browser.text("#value .problem")
    area.send_keys("1}")
    assert browser.send("value") == "200 OK"
    assert browser.answer("value") == {"got": {"a": 1}}


def test_pictures_are_uploaded_and_shown(browser: Browser, url: str, tmp_path: Path) -> None:
    browser.open(url)
    browser.find("#invert input[type=file]").send_keys(str(picture(tmp_path)))
    browser.wait("document.querySelector('#invert .preview img')?.naturalWidth === 6")
    assert browser.send("invert") == "200 OK"
    browser.wait("document.querySelector('#invert .picture')?.naturalWidth === 6")
    browser.find("#annotated input[type=file]").send_keys(str(picture(tmp_path)))
    browser.find("#annotated textarea").send_keys('{"boxes": 1}')
    assert browser.send("annotated") == "200 OK"
    assert browser.answer("annotated") == [[4, 6, 3], {"boxes": 1}]
    assert browser.problems() == []


def test_code_that_is_copied_runs_and_answers_the_same(browser: Browser, url: str, tmp_path: Path) -> None:
    browser.open(url)
    browser.find("#shout textarea").send_keys("it's straße")
    code = {}
    for api in ("score", "value", "shout"):
        browser.wait("document.querySelectorAll(arguments[0]).length === 3", f"#{api} .code code")
        code[api] = browser.run(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", f"#{api} .code code"
        )
    browser.wait("document.querySelectorAll('#score tbody tr').length === 2")
    expected = {"value": {"got": {"a": [1, None]}}, "shout": "IT'S STRASSE"}
    for api, answer in expected.items():
        curl, python, _ = code[api]
        assert json.loads(run("bash", "-c", curl.replace("curl ", "curl -s ", 1))) == answer
        assert run(sys.executable, "-c", python).strip() == str(answer)
    if node := shutil.which("node"):
        (tmp_path / "ask.mjs").write_text(
            code["value"][2].replace(
                "console.log(await answer.json())", "console.log(JSON.stringify(await answer.json()))"
            )
        )
        assert json.loads(run(node, tmp_path / "ask.mjs")) == expected["value"]
    python = browser.run("return [...document.querySelectorAll('#score .code code')][1].textContent")
    assert run(sys.executable, "-c", python).split()[-3:-1] == ["1", "82"]


def run(*command: str | Path) -> str:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout


def test_a_copied_text_is_in_the_clipboard(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": url}
    )
    browser.find("#value > header .copy").click()
    browser.wait("document.querySelector('#value > header .copy.is-done')")
    copied = browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == f"{url}/value"


def test_everything_that_can_be_used_has_a_name(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.driver.execute_cdp_cmd("Accessibility.enable", {})
    nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    used = {"button", "textbox", "combobox", "link", "tab", "checkbox", "searchbox", "image"}
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in used
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    ids = browser.run("return [...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(set(ids)) == len(ids)


def test_arrow_keys_move_between_tabs(browser: Browser, url: str) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(url)
    first = browser.find("#value .code [role=tab]")
    first.send_keys(Keys.ARROW_RIGHT)
    assert browser.driver.switch_to.active_element.text == "Python"
    assert browser.driver.switch_to.active_element.get_attribute("aria-selected") == "true"
    browser.driver.switch_to.active_element.send_keys(Keys.END)
    assert browser.driver.switch_to.active_element.text == "TypeScript"


@pytest.mark.parametrize("width", [320, 390, 768, 1200])
def test_nothing_is_wider_than_the_screen(browser: Browser, url: str, width: int) -> None:
    browser.open(url, width=width)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_light_and_dark_are_remembered(browser: Browser, url: str) -> None:
    browser.open(url)
    before = browser.run("return getComputedStyle(document.body).backgroundColor")
    browser.find("#theme").click()
    after = browser.run("return getComputedStyle(document.body).backgroundColor")
    browser.open(url)
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == after != before
    browser.find("#theme").click()


@pytest.fixture
def behind_a_path(url: str) -> Iterator[str]:
    """Serve the service below ``/team/shown/``, as a reverse proxy that strips its path does."""
    upstream = url.removeprefix("http://")

    class Proxy(BaseHTTPRequestHandler):
        def forward(self) -> None:
            if not self.path.startswith("/team/shown/"):
                self.send_error(404, "not below the path")
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(upstream, timeout=20)
            connection.request(self.command, self.path.removeprefix("/team/shown"), body, dict(self.headers))
            answer = connection.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            connection.close()

        do_GET = do_POST = forward

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/team/shown/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("page", ["", "docs"])
def test_the_page_works_below_a_path(browser: Browser, behind_a_path: str, page: str) -> None:
    browser.open(f"{behind_a_path}{page}")
    browser.wait("document.querySelectorAll('#score tbody tr').length === 2")
    assert browser.send("score") == "200 OK"
    assert f"curl '{behind_a_path}score'" in browser.text("#score .code")
    assert browser.problems() == []


def test_several_services_are_listed_and_each_has_its_page(browser: Browser, tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from kappa.server.served import Served
        from kappa.server.process.launch import serve_gunicorn
        from kappa.server.options import ServerOptions
        from kappa.services.source import ServiceSource
        from kappa.spec.service import ServiceSpec
        from pathlib import Path
        root = Path(sys.argv[1])
        services = []
        for name in ("First", "Second"):
            api = {"name": "echo", "target": {"function": "echo_of_two:echo"}, "input": "json"}
            spec = ServiceSpec.model_validate({"name": name, "doc": f"The {name}.", "apis": [api]})
            services.append(Served.of(ServiceSource.of_project(spec, {}, root=root)))
        serve_gunicorn(services, ServerOptions(host="127.0.0.1", port=0))
    """)
    (tmp_path / "echo_of_two.py").write_text("def echo(value):\n    return value\n")
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        base = next(word for line in server.stderr for word in line.split() if word.startswith("http://"))
        next(line for line in server.stderr if "Ready." in line)
        browser.driver.get(base)
        cards = browser.run("return [...document.querySelectorAll('.cards h2')].map((one) => one.textContent)")
        browser.find(".cards a:nth-child(2)").click()
        browser.wait("document.querySelector('#echo textarea')")
        status = browser.send("echo")
        where = browser.driver.current_url
        server.terminate()
    assert (cards, status, where) == (["First", "Second"], "200 OK", f"{base}/Second/")
