"""How long the registry takes for a query among 100,000 bundles, on SQLite and PostgreSQL: `make bench-registry`.

    python benchmarks/registry.py [--bundles 100000] [--rounds 100] [--clients 50] [--trees 100000] [--plans] [--write]

The rows are generated: 2,000 services, of which some have many versions and most a few (Zipf), 60 packages a bundle out
of 300 distributions with 200 versions each, newer bundles with newer ones; five labels or fewer. A query is a call of
`GammaService` in process, for a page of 20. The databases are as they are after such writes: SQLite has no statistics,
PostgreSQL those of its autovacuum. Each query takes turns with the others, so that other load on the machine meets all
alike. With `--plans` the plan of each query is printed.

A server in a process of its own, over each database and an S3 server, then answers the same queries over gRPC to one
client, and a mix of them to many clients at once over gRPC and over HTTP (`registry_clients`). Last, a store of as many
directories is measured (`registry_trees`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import accumulate, islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from sqlalchemy import Connection, create_engine, text

from kappa.gamma.clients.connecting import connect
from kappa.gamma.database.clock import microseconds
from kappa.gamma.database.engine import open_database, reading, sqlite_url
from kappa.gamma.database.selection import selection
from kappa.gamma.database.tables import bundles, locks
from kappa.gamma.protocols.registry import Registry
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.ui.pages import services_page
from kappa.labels import parse_selector
from kappa.spec.store import Query
from kappa.tag import ALL_NAMESPACES, BundleReference, Tag

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.registry_clients import ClientFigures, measure_clients  # noqa: E402
from benchmarks.registry_trees import TreeFigures, measure_trees  # noqa: E402
from tests.gamma.postgres_server import program_of_postgres, running_postgres  # noqa: E402
from tests.gamma.processes import gamma_process  # noqa: E402
from tests.gamma.s3 import environment, make_bucket, s3_server  # noqa: E402

__all__ = ["main"]

SERVICES, DISTRIBUTIONS, VERSIONS, PACKAGES, PAGE = 2_000, 300, 200, 60, 20
LIMIT_MS = 50.0
PAGE_LIMIT_MS = 200.0
FIRST_PAGE = "the first page of a browser, 50 services"
REPORT = ROOT / "docs" / "benchmarks" / "registry.md"
START = datetime(2024, 1, 1, tzinfo=timezone.utc)


class NoStorage:
    """A `BundleStorage` that holds nothing: rows are what is measured."""

    location = "nowhere"
    why_read_only = ""
    direct = None

    def exists(self) -> bool:
        return True

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        yield

    def remove(self, _: Tag) -> None:
        return None


def weights(count: int) -> list[float]:
    """Return the cumulative weights of a Zipf distribution with the exponent 1."""
    return list(accumulate(1 / rank for rank in range(1, count + 1)))


@dataclass(frozen=True)
class Rows:
    """The rows of each table, made one after the other."""

    bundles: int
    seed: int = 7

    def of_bundles(self) -> Iterator[tuple[Any, ...]]:
        choose = random.Random(self.seed)
        services = range(SERVICES)
        cumulative = weights(SERVICES)
        count = [0] * SERVICES
        for number in range(self.bundles):
            (service,) = choose.choices(services, cum_weights=cumulative)
            count[service] += 1
            built = START + timedelta(minutes=10 * number)
            name, version = f"Service{service}", f"{count[service]}.0"
            digest = f"sha256:{choose.getrandbits(256):064x}"
            yield (
                *(
                    number + 1,
                    "default",
                    name,
                    version,
                    built,
                    microseconds(built),
                    f"{name}/{version}",
                    "0.1.0",
                    digest,
                    digest,
                    10_000,
                ),
                *(VIEW, built, built, ""),
            )

    def of_references(self) -> Iterator[tuple[Any, ...]]:
        for row in self.of_bundles():
            yield "default", row[2], row[3], "version", row[0], row[8], row[4]

    def of_labels(self) -> Iterator[tuple[Any, ...]]:
        choose = random.Random(self.seed + 1)
        for row in self.of_bundles():
            number, built = row[0], row[4]
            pairs = {
                "framework": choose.choice(["sklearn", "xgboost", "pytorch"]),
                "team": f"team-{choose.randrange(50)}",
                "tier": "standard",
            }
            if choose.random() < 0.5:
                pairs["stage"] = choose.choice(["test", "live"])
            if number % (self.bundles // 10) == 1:
                pairs["pinned"] = "yes"
            if number < self.bundles // 3:
                pairs["era"] = "old"
            for key, value in pairs.items():
                yield "default", number, key, value, microseconds(built)

    def of_locks(self) -> Iterator[tuple[int, int, int, int]]:
        choose = random.Random(self.seed + 2)
        everyone, lags = range(DISTRIBUTIONS), range(VERSIONS)
        popular, short = weights(DISTRIBUTIONS), weights(VERSIONS)
        for row in self.of_bundles():
            number, built = row[0], row[4]
            wanted = sorted(set(choose.choices(everyone, cum_weights=popular, k=2 * PACKAGES)))[:PACKAGES]
            newest = number * (VERSIONS - 2) // self.bundles  # the last version is nobody's
            for distribution, lag in zip(wanted, choose.choices(lags, cum_weights=short, k=len(wanted)), strict=True):
                version = max(0, newest - lag // 4)
                yield number, distribution * VERSIONS + version + 1, distribution + 1, microseconds(built)


VIEW = json.dumps(
    {
        "createdAt": "2026-01-01T00:00:00Z",
        "name": "Service",
        "version": "1",
        "env": {"pipDependencies": "\n".join(f"package-{number}==1.{number}" for number in range(60))},
        "apis": [{"name": "predict", "InputType": "JsonInput", "docs": "Predict. " * 40}],
        "artifacts": [],
        "labels": {},
    }
)
TABLES: dict[str, tuple[str, Callable[[Rows], Iterable[tuple[Any, ...]]]]] = {
    "bundles": (
        ", ".join(column.name for column in bundles.c),
        Rows.of_bundles,
    ),
    "refs": ("namespace, name, ref, kind, bundle_id, bundle_digest, changed_at", Rows.of_references),
    "labels": ("namespace, bundle_id, key, value, created_us", Rows.of_labels),
    "distributions": (
        "id, namespace, name",
        lambda _: ((number + 1, "default", f"package-{number}") for number in range(DISTRIBUTIONS)),
    ),
    "packages": (
        "id, distribution_id, version",
        lambda _: (
            (distribution * VERSIONS + version + 1, distribution + 1, f"1.{version}")
            for distribution in range(DISTRIBUTIONS)
            for version in range(VERSIONS)
        ),
    ),
    "locks": ("bundle_id, package_id, distribution_id, created_us", Rows.of_locks),
}


def fill(url: str, rows: Rows) -> None:
    """Write the rows without checks of foreign keys, and the large index after them."""
    open_database(url).dispose()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "sqlite":  # whose foreign keys nobody has asked for here
            connection.exec_driver_sql("PRAGMA synchronous = OFF")
        else:
            connection.exec_driver_sql("SET session_replication_role = replica")
        for index in locks.indexes:
            index.drop(connection)
        for table, (columns, make) in TABLES.items():
            if engine.dialect.name == "sqlite":
                fill_sqlite(connection, table, columns, make(rows))
            else:
                fill_postgres(connection, table, columns, make(rows))
        for index in locks.indexes:
            index.create(connection)
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def fill_sqlite(connection: Connection, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    cursor: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    marks = ", ".join("?" for _ in columns.split(","))
    stamped = (
        tuple(f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value for value in row)
        for row in rows
    )
    cursor.execute("BEGIN")
    cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", stamped)
    cursor.execute("COMMIT")


def fill_postgres(connection: Connection, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    cursor = connection.connection.cursor()
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:  # type: ignore[attr-defined]
        for row in rows:
            copy.write_row(row)


def selecting(selector: str, **options: Any) -> Query:
    return Query(selector=parse_selector(selector), limit=PAGE, **options)


@dataclass(frozen=True)
class Services:
    """A page of services of all namespaces whose names contain a text; as HTML, what a browser shows first."""

    search: str = ""
    offset: int = 0
    is_html: bool = False


def ask(registry: Registry, question: Query | BundleReference | Services) -> int:
    """Ask a registry, and return how many rows the answer has."""
    if isinstance(question, Query):
        return len(registry.list_bundles(question))
    if isinstance(question, BundleReference):
        registry.resolve(question)
        return 1
    if question.is_html:
        return services_page(registry, root="", search=question.search).count('<th scope="row">')
    listing = {"namespace": ALL_NAMESPACES, "limit": PAGE, "offset": question.offset}
    return len(registry.list_services(question.search, **listing))


QUERIES: dict[str, Query | BundleReference | Services] = {
    "list, newest first": Query(limit=PAGE),
    "list, by name": Query(limit=PAGE, order_by="name", ascending=True),
    "list, offset 50,000": Query(limit=PAGE, offset=50_000),
    "list one service (most versions)": Query(name="Service0", limit=PAGE),
    "get NAME:VERSION": BundleReference("Service1", "100.0"),
    "latest (most versions)": BundleReference("Service0"),
    "latest (few versions)": BundleReference("Service900"),
    "services, newest first": Services(),
    "services, offset 1,000": Services(offset=1000),
    "services by a part of the name": Services("ice19"),
    "services, none": Services("absent"),
    FIRST_PAGE: Services(is_html=True),
    "selector, common (framework=xgboost)": selecting("framework=xgboost"),
    "selector, common, by name": selecting("framework=xgboost", order_by="name"),
    "selector, common, offset 30,000": selecting("framework=xgboost", offset=30_000),
    "selector, the oldest third alone (era=old)": selecting("era=old"),
    "selector, rare (pinned=yes)": selecting("pinned=yes"),
    "selector, rare, by name": selecting("pinned=yes", order_by="name"),
    "selector, none (stage=absent)": selecting("stage=absent"),
    "selector, In, NotIn": selecting("team In (team-1, team-2), stage NotIn (test)"),
    "selector, NotIn, none (tier!=standard)": selecting("tier!=standard"),
    "selector, common and rare": selecting("tier=standard, pinned=yes"),
    "selector, two common, none in both": selecting("era=old, framework=xgboost, stage=absent"),
    "selector, DoesNotExist (half)": selecting("stage DoesNotExist"),
    "selector, DoesNotExist (none)": selecting("tier DoesNotExist"),
    "selector, DoesNotExist, of one service": selecting("tier DoesNotExist", name="Service0"),
    "requires, common, newest affected": Query(requires="package-0>=1.100", limit=PAGE),
    "requires, the oldest tenth alone": Query(requires="package-0<1.20", limit=PAGE),
    "requires, every version": Query(requires="package-0", limit=PAGE),
    "requires, rare (package-299==1.0)": Query(requires="package-299==1.0", limit=PAGE),
    "requires, none": Query(requires="package-0==1.199", limit=PAGE),
    "requires, by name": Query(requires="package-0<1.20", limit=PAGE, order_by="name"),
    "requires, of one service": Query(name="Service0", requires="package-0<1.20", limit=PAGE),
    "requires and selector": Query(requires="package-0<1.20", selector=parse_selector("stage=live"), limit=PAGE),
}


def timings_of(service: Registry, rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of each query, and how many bundles it returned first."""
    timings: dict[str, list[float]] = {name: [] for name in QUERIES}
    for number in range(rounds + 3):
        for name, query in QUERIES.items():
            began = time.perf_counter()
            ask(service, query)
            if number >= 3:  # the first rounds warm the caches
                timings[name].append(1000 * (time.perf_counter() - began))
    return timings


def plans_of(url: str) -> Iterator[tuple[str, list[str]]]:
    engine = open_database(url)
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN ANALYZE"
    with reading(engine) as connection:
        for name, query in QUERIES.items():
            statement = selection(connection, query) if isinstance(query, Query) else None
            if statement is None:
                continue
            words = statement.compile(engine, compile_kwargs={"literal_binds": True})
            rows = connection.execute(text(f"{explain} {str(words).replace(':', chr(92) + ':')}")).all()
            yield name, [str(row[-1])[:200] for row in rows]
    engine.dispose()


def p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


def limit_of(query: str) -> float:
    return PAGE_LIMIT_MS if query == FIRST_PAGE else LIMIT_MS


@dataclass
class Measured:
    """What a run found."""

    queries: dict[str, dict[str, list[float]]]
    """By column and query, milliseconds."""
    matches: dict[str, int]
    plans: dict[str, dict[str, list[str]]]
    """By database and query, lines."""
    clients: dict[str, ClientFigures]
    trees: TreeFigures | None = None


def report(measured: Measured, options: argparse.Namespace, began: float) -> str:
    columns = list(measured.queries)
    lines = [
        f"# A registry of {options.bundles:,} bundles",
        "",
        "Written by `make bench-registry`; do not edit.",
        "",
        f"{options.bundles:,} bundles of {SERVICES:,} services, {PACKAGES} packages each (generated rows). A query is",
        f"a page of {PAGE}. SQLite and PostgreSQL are called in process, gRPC by one client of a server over that",
        "database and an S3 endpoint. Milliseconds, the median and the 95th percentile of",
        f"{options.rounds} calls (gRPC: a fifth of these); the goal in process is at most {LIMIT_MS:g} at the 95th,",
        f"and {PAGE_LIMIT_MS:g} for the first page of a browser.",
        "",
        f"| query | bundles | {' | '.join(f'{name}, median | p95' for name in columns)} |",
        f"|---|---:|{'---:|---:|' * len(columns)}",
    ]
    for name in QUERIES:
        cells = (
            f"{median(measured.queries[base][name]):.1f} | {p95(measured.queries[base][name]):.1f}" for base in columns
        )
        lines.append(f"| {name} | {measured.matches[name]} | {' | '.join(cells)} |")
    lines += clients_part(measured.clients) + trees_part(measured.trees)
    lines += [
        "",
        "## Plans",
        "",
        "Which indexes each query uses; a table that is read whole would be a `SCAN` or a `Seq Scan`.",
    ]
    for database, plans in measured.plans.items():
        lines += ["", f"### {database}", "", "```text"]
        for name, plan in plans.items():
            lines += [name, *(f"    {line.strip()}" for line in plan)]
        lines.append("```")
    minutes = (time.perf_counter() - began) / 60
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    lines += [
        "",
        f"{datetime.now(timezone.utc):%Y-%m-%d}, commit {commit}, {os.cpu_count()} processors ({processor()}),",
        f"{versions_of(options.databases)}; {minutes:.0f} minutes.",
    ]
    return "\n".join(lines) + "\n"


def clients_part(clients: dict[str, ClientFigures]) -> list[str]:
    if not clients:
        return []
    count = next(iter(clients.values())).clients
    lines = [
        "",
        f"## {count} clients at once",
        "",
        "One process of `kappa gamma-service-start` over an S3 endpoint; the clients run on the same machine in five",
        "processes and ask without a pause: a page of the newest, `latest`, one version, and a page of a selector.",
        "",
        "| door and database | answers a second | p50 ms | p95 ms | p99 ms | answers | errors |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, figures in clients.items():
        percentiles = " | ".join(f"{figures.percentile(percent):.0f}" for percent in (50, 95, 99))
        rate, answers = f"{figures.per_second:.0f}", f"{len(figures.latencies_ms):,}"
        lines.append(f"| {name} | {rate} | {percentiles} | {answers} | {figures.errors} |")
    return lines


def trees_part(trees: TreeFigures | None) -> list[str]:
    if trees is None:
        return []
    lines = [
        "",
        f"## A store of {trees.trees:,} directories",
        "",
        "A tree is a manifest and a lock, and SQLite has its row. A server that knows no folder's state reads all;",
        f"it answers {trees.start_s:.1f} s after its process began, with a peak of {trees.peak_mib:.0f} MiB of memory.",
        "Then, in process, with the times of change of all folders that the call may concern:",
        "",
        "| call | median ms | p95 ms |",
        "|---|---:|---:|",
    ]
    lines += [f"| {name} | {median(values):.1f} | {p95(values):.1f} |" for name, values in trees.calls_ms.items()]
    lines += [
        "",
        f"`kappa list --limit 20` takes {median(trees.command_s):.2f} s as a whole process. A tree without a row is",
        f"read and added in {trees.add_ms:.1f} ms ({trees.added} new ones): the first start without a database beside",
        f"{trees.trees:,} trees would take {trees.add_ms * trees.trees / 60_000:.0f} minutes.",
    ]
    return lines


def processor() -> str:
    """Return the model of the processor."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def versions_of(databases: Sequence[str]) -> str:
    words = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    if "PostgreSQL" in databases:
        command = [program_of_postgres("postgres"), "--version"]
        words.append(f"PostgreSQL {subprocess.check_output(command, text=True).split()[2]}")
    return ", ".join(words)


def measure_server(url: str, database: str, folder: Path, options: argparse.Namespace, measured: Measured) -> None:
    """Measure a server over a database and an S3 endpoint: one client over gRPC, and many over both doors."""
    home = folder / f"home-{database}"
    home.mkdir()
    s3_folder = home / "s3"
    s3_folder.mkdir()
    with s3_server(s3_folder) as endpoint:
        storage = f"s3://{make_bucket(endpoint)}/bundles"
        arguments = ("--db-url", url, "--repo-base-url", storage)
        with gamma_process(home, *arguments, environ=environment(endpoint)) as server:
            client = connect(server.grpc)
            measured.queries[f"gRPC, {database}"] = timings_of(client, max(2, options.rounds // 5))
            client.close()
            for door, address in (("gRPC", server.grpc), ("HTTP", server.http)):
                figures = measure_clients(address, clients=options.clients, seconds=options.seconds)
                measured.clients[f"{door}, {database}"] = figures


def progress(began: float, text: str) -> None:
    print(f"{time.perf_counter() - began:5.0f} s: {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--databases", nargs="+", choices=["SQLite", "PostgreSQL"], default=["SQLite", "PostgreSQL"])
    parser.add_argument("--clients", type=int, default=50, help="clients at once, in five processes; 0 for no server")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long they ask")
    parser.add_argument("--trees", type=int, default=100_000, help="trees of the store of directories; 0 for none")
    parser.add_argument("--folder", type=Path, help="keep the SQLite file here, and use it if it is there")
    parser.add_argument("--plans", action="store_true", help="print the plan of each query")
    parser.add_argument("--write", action="store_true", help=f"write {REPORT.relative_to(ROOT)}")
    options = parser.parse_args()
    measured = Measured({}, {}, {}, {})
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="kappa-bench-") as name,
        running_postgres(is_tuned=True) if "PostgreSQL" in options.databases else nullcontext() as databases,
    ):
        folder = Path(name)
        file = (options.folder or folder) / f"registry-{options.bundles}.db"
        for database in options.databases:
            url = sqlite_url(file) if database == "SQLite" else databases.empty()
            if database != "SQLite" or not file.exists():
                fill(url, Rows(options.bundles))
                progress(began, f"{database} is filled")
            service = GammaService(NoStorage(), url)
            for query_name, query in QUERIES.items():
                measured.matches[query_name] = ask(service, query)
            measured.plans[database] = dict(plans_of(url))
            if options.plans:
                for query_name, plan in measured.plans[database].items():
                    print(f"{database}: {query_name}", *plan, sep="\n    ")
            measured.queries[database] = timings_of(service, options.rounds)
            service.close()
            progress(began, f"{database} is measured in process")
            if options.clients:
                measure_server(url, database, folder, options, measured)
                progress(began, f"a server over {database} is measured")
        if options.trees and file.exists():
            rows = islice(Rows(options.bundles).of_bundles(), options.trees)
            tags = ((row[2], row[3]) for row in rows)
            measured.trees = measure_trees(folder / "home", file, tags, added=200, rounds=options.rounds)
            progress(began, "a store of directories is measured")
        page = report(measured, options, began)
    print(page)
    if options.write:
        REPORT.write_text(page, encoding="utf-8")
    own = [measured.queries[database] for database in options.databases]
    slow = [name for times in own for name, values in times.items() if p95(values) > limit_of(name)]
    if slow:
        print(f"Over {LIMIT_MS:g} ms at the 95th percentile: {', '.join(slow)}.", file=sys.stderr)
    return 1 if slow or any(figures.errors for figures in measured.clients.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
