"""The pages of a Gamma server: what they show, that they run nothing that a bundle says, and errors as pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.directories import DirectoryStorage
from kappa.gamma.ui.charts import HEIGHT, WIDTH, Chart
from kappa.gamma.ui.pages import PAGE
from kappa.tag import Tag
from tests.gamma.sealed import push, seal
from tests.gamma.servers import serving

EVIL = '<script>document.title = "attacked"</script><img src=x onerror="attack()">"\'&{{ 7 * 7 }}'


@pytest.fixture
def service(tmp_path: Path) -> Iterator[GammaService]:
    registry = GammaService(DirectoryStorage(tmp_path / "team"), sqlite_url(tmp_path / "team.db"))
    yield registry
    registry.close()


@pytest.fixture
def http(service: GammaService) -> Iterator[httpx.Client]:
    with serving(service) as served, httpx.Client(base_url=served.http) as client:
        yield client


def put(registry: GammaService, version: str, *, day: int = 1, namespace: str = "default", **options: Any) -> Tag:
    created = f"2026-01-{day:02}T00:00:00Z"
    return push(registry, seal(version, created=created, **options), namespace=namespace).record.tag


def alias(registry: GammaService, tag: Tag, name: str) -> None:
    registry.set_alias(tag, name, operation=uuid4().hex)


def text_of(page: httpx.Response) -> str:
    """Return what a reader sees, as words with single blanks."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def rows_of(page: httpx.Response) -> list[str]:
    body = page.text.partition("<tbody>")[2].partition("</tbody>")[0]
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in body.split("</tr>")[:-1]]


# -- the services ------------------------------------------------------------------------------------------------------


def test_services_are_listed_with_their_latest_version(service: GammaService, http: httpx.Client) -> None:
    put(service, "1", day=1)
    alias(service, put(service, "2", day=2, labels={"team": "growth"}, contents={"Iris/a.py": b""}), "production")
    put(service, "7", day=3, name="Wine", namespace="cellar")
    rows = rows_of(http.get("/"))
    assert rows[0].startswith("cellar/ Wine 7 2026-01-03 00:00 UTC 1 ")
    assert rows[1].startswith("Iris 2 production 2026-01-02 00:00 UTC 2 ")
    assert rows[1].endswith("team = growth")
    assert rows_of(http.get("/", params={"search": "IRI"})) == [rows[1]]
    assert "No service has <q>absent</q> in its name" in http.get("/", params={"search": "absent"}).text


def test_an_empty_registry_says_how_it_is_used(http: httpx.Client) -> None:
    assert "kappa config set gamma_service.url=HOST:PORT" in text_of(http.get("/"))


def test_many_services_have_pages_that_keep_what_is_searched(service: GammaService, http: httpx.Client) -> None:
    for number in range(PAGE + 1):
        put(service, "1", day=1, name=f"Iris{number}", contents={})
    first = http.get("/", params={"search": "iris"})
    assert len(rows_of(first)) == PAGE
    (link,) = re.findall(r'rel="next" href="([^"]+)"', first.text)
    second = http.get(f"/{unescape(link)}")
    assert len(rows_of(second)) == 1
    assert 'rel="next"' not in second.text
    assert {*rows_of(first)}.isdisjoint(rows_of(second))


@pytest.mark.parametrize("number", ["0", "-1", "x", "²", "99999999999999999999"])
def test_a_page_that_there_is_not_breaks_nothing(service: GammaService, http: httpx.Client, number: str) -> None:
    put(service, "1")
    assert http.get("/", params={"page": number}).status_code == 200


# -- a service ---------------------------------------------------------------------------------------------------------


def test_a_service_has_its_versions_aliases_and_what_moved_when(service: GammaService, http: httpx.Client) -> None:
    one, two = put(service, "1", day=1), put(service, "2", day=2, contents={"Iris/a.py": b""}, labels={"a": "b"})
    alias(service, one, "production")
    alias(service, two, "canary")
    alias(service, two, "production")
    page = http.get("/services/default/Iris")
    assert [row.split()[0] for row in rows_of(page)] == ["2", "1"]
    assert "production moved from 1 to 2" in text_of(page)
    assert "canary was set to 2" in text_of(page)
    assert [row.split()[0] for row in rows_of(http.get("/services/default/Iris", params={"labels": "a=b"}))] == ["2"]
    assert "No version has such labels" in text_of(http.get("/services/default/Iris", params={"labels": "a=c"}))


def test_metrics_are_drawn_across_versions_the_oldest_first(service: GammaService, http: httpx.Client) -> None:
    for number, auc in enumerate((0.5, 0.75, 1.0), start=1):
        put(service, str(number), day=number, metadata={"auc": auc, "by": "ada", "is_final": True, f"only_{number}": 1})
    page = http.get("/services/default/Iris").text
    assert re.findall(r"<figcaption>(\S+) <strong>(\S+)</strong>", page) == [("model.auc", "1")]
    assert [version for version, _ in re.findall(r"<title>(\d): ([^<]+)</title>", page)] == ["1", "2", "3"]
    (line,) = re.findall(r'<polyline points="([^"]+)"', page)
    heights = [float(point.partition(",")[2]) for point in line.split()]
    assert heights == sorted(heights, reverse=True)


@pytest.mark.parametrize("values", [[1.0, 1.0], [-1e299, 1e299], [0.0, 5e-324], [3.0, 1.0, 2.0]])
def test_points_stay_in_the_picture(values: list[float]) -> None:
    points = Chart("auc", ["v"] * len(values), values).points
    assert len(points) == len(values)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)


# -- a version ---------------------------------------------------------------------------------------------------------


def test_a_version_says_what_it_is(service: GammaService, http: httpx.Client) -> None:
    put(service, "1", day=1)
    tag = put(
        service, "2", day=2, doc="Names flowers.", metadata={"auc": 0.75, "tags": ["a"]}, labels={"team": "growth"}
    )
    alias(service, tag, "production")
    page = http.get("/bundles/default/Iris/2")
    shown = text_of(page)
    for part in (
        "Names flowers.",
        "kappa serve-gunicorn Iris:2",
        'kappa.load("Iris:2")',
        "POST /predict",
        "JsonInput",
        "auc 0.75",
        'tags ["a"]',
        "2 packages in the lock",
        "apple 1.0",
        "Iris/__init__.py 0 B",
        "What changed since 1",
        service.list_bundles()[0].bundle_digest,
    ):
        assert part in shown, part
    for reference in ("production", "latest"):
        assert http.get(f"/bundles/default/Iris/{reference}").text == page.text


def test_a_version_whose_manifest_is_broken_is_shown_without_it(
    service: GammaService, http: httpx.Client, tmp_path: Path
) -> None:
    put(service, "1")
    (tmp_path / "team" / "Iris" / "1" / "kappa.yml").write_text("none", encoding="utf-8")
    page = http.get("/bundles/default/Iris/1")
    assert page.status_code == 200
    assert 'class="warning"' in page.text
    assert "kappa serve-gunicorn Iris:1" in text_of(page)


# -- two versions ------------------------------------------------------------------------------------------------------


def test_two_versions_are_compared(service: GammaService, http: httpx.Client) -> None:
    put(service, "1", contents={"Iris/handlers.py": b"limit = 1\nsame = 0\n"}, metadata={"auc": 0.5})
    lock = b"apple==2.0 --hash=sha256:00\npear==2.0 --hash=sha256:01\n"
    put(service, "2", day=2, contents={"Iris/handlers.py": b"limit = 2\nsame = 0\n"}, lock=lock, metadata={"auc": 0.75})
    page = http.get("/compare/default/Iris", params={"before": "1", "after": "2"})
    shown = text_of(page)
    assert "apple 1.0 2.0" in shown
    assert "pear" not in shown
    assert "model.metadata.auc 0.5 0.75" in shown
    assert '<span class="removed">-limit = 1' in page.text
    assert '<span class="added">+limit = 2' in page.text
    same = http.get("/compare/default/Iris", params={"before": "1", "after": "1"})
    assert "Nothing: both have the same" in text_of(same)


@pytest.mark.parametrize("sides", [{}, {"before": "1"}, {"before": "1", "after": "../2"}, {"before": "a" * 200}])
def test_a_comparison_of_what_cannot_be_says_so(
    service: GammaService, http: httpx.Client, sides: dict[str, str]
) -> None:
    put(service, "1")
    page = http.get("/compare/default/Iris", params=sides)
    assert page.status_code == 400
    assert page.headers["Content-Type"].startswith("text/html")


# -- what is wrong, and what is dangerous ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/services/default/Absent",
        "/bundles/default/Iris/9",
        "/services/none/Iris",
        "/compare/default/Iris?before=1&after=9",
    ],
)
def test_what_is_not_there_is_a_page_that_says_what_there_is(
    service: GammaService, http: httpx.Client, path: str
) -> None:
    put(service, "1")
    page = http.get(path)
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "There is no" in text_of(page)
    assert page.headers["X-Request-Id"] in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/services/UP/Iris",
        "/services/default/a%2Fb",
        "/bundles/default/Iris/..%2F",
        "/?search=%00",
        "/?search=" + "x" * 300,
    ],
)
def test_what_cannot_be_a_name_is_refused(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code in (400, 404)


def test_a_selector_that_is_none_says_where(service: GammaService, http: httpx.Client) -> None:
    put(service, "1")
    page = http.get("/services/default/Iris", params={"labels": "a=="})
    assert page.status_code == 400
    assert "column" in text_of(page)


def test_nothing_that_a_bundle_says_is_markup(service: GammaService, http: httpx.Client) -> None:
    contents = {"Iris/handlers.py": EVIL.encode(), "README.md": EVIL.encode()}
    put(service, "1", doc=EVIL, metadata={EVIL: EVIL}, contents=contents)
    put(service, "2", day=2, doc=EVIL, metadata={EVIL: 1.0}, contents={"Iris/handlers.py": b""})
    pages = [
        http.get("/", params={"search": EVIL}),
        http.get("/services/default/Iris", params={"labels": EVIL}),
        http.get("/services/default/Iris"),
        http.get("/bundles/default/Iris/1"),
        http.get("/compare/default/Iris", params={"before": "1", "after": "2"}),
    ]
    for page in pages:
        assert "<script>document" not in page.text
        assert "<img" not in page.text
        assert not re.search(r"<script(?! src=)|\son\w+=\"|javascript:", "".join(re.findall(r"<[^>]*>", page.text)))
    assert EVIL in unescape(pages[3].text)


def test_pages_load_their_own_files_alone_and_none_is_inline(service: GammaService, http: httpx.Client) -> None:
    put(service, "1")
    for path in ("/", "/services/default/Iris", "/bundles/default/Iris/1", "/bundles/default/Iris/9"):
        page = http.get(path)
        policy = page.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy.split("; "))
        assert "style=" not in page.text
        for link in re.findall(r'(?:src|href)="([^"#]+)"', page.text):
            if "static/" in link:
                target = httpx.URL(str(page.url)).join(unescape(link))
                assert http.get(target).status_code == 200
            assert "//" not in link


def test_files_of_pages_are_kept_by_their_tags(http: httpx.Client) -> None:
    first = http.get("/static/gamma.css")
    assert first.headers["Cache-Control"] == "no-cache"
    again = http.get("/static/gamma.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get("/static/..%2Fpages%2Fbase.html.j2").status_code == 404
    assert http.get("/static/nothing.js").status_code == 404


def test_the_first_page_is_small(service: GammaService, http: httpx.Client) -> None:
    for number in range(PAGE):
        put(service, "1", name=f"Iris{number}", contents={}, labels={"team": "growth", "stage": "live"})
    size = sum(
        len(http.get(path).content) for path in ("/", "/static/gamma.css", "/static/gamma.js", "/static/icon.svg")
    )
    assert size < 100_000


def test_pages_are_counted_as_what_they_are(service: GammaService, http: httpx.Client) -> None:
    put(service, "1")
    http.get("/services/default/Iris")
    http.get("/services/default/Absent")
    lines = http.get("/metrics").text.splitlines()
    assert 'kappa_gamma_requests_total{door="http",operation="ServicePage",outcome="ok"} 1.0' in lines
    assert 'kappa_gamma_requests_total{door="http",operation="ServicePage",outcome="BundleNotFoundError"} 1.0' in lines
