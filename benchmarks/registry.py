"""How long the registry takes for a query among 100,000 bundles, on SQLite and PostgreSQL: `make bench-registry`.

    python benchmarks/registry.py [--bundles 100000] [--rounds 200] [--plans] [--write]

The rows are generated: 2,000 services, of which some have many versions and most a few (Zipf), 60 packages a bundle out
of 300 distributions with 200 versions each, newer bundles with newer ones; five labels or fewer. A query is a call of
`GammaService` in process, for a page of 20. The databases are as they are after such writes: SQLite has no statistics,
PostgreSQL those of its autovacuum. Each query takes turns with the others, so that other load on the machine meets all
alike. With `--plans` the plan of each query is printed.
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
from itertools import accumulate
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from sqlalchemy import Connection, text

from kappa.gamma.database.clock import microseconds
from kappa.gamma.database.engine import open_database, reading, sqlite_url
from kappa.gamma.database.selection import selection
from kappa.gamma.database.tables import bundles
from kappa.gamma.service.gamma_service import GammaService
from kappa.labels import parse_selector
from kappa.spec.store import Query
from kappa.tag import BundleReference, Tag

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.gamma.postgres_server import program_of_postgres, running_postgres  # noqa: E402

__all__ = ["main"]

SERVICES, DISTRIBUTIONS, VERSIONS, PACKAGES, PAGE = 2_000, 300, 200, 60, 20
LIMIT_MS = 50.0
REPORT = ROOT / "docs" / "benchmarks" / "registry.md"
START = datetime(2024, 1, 1, tzinfo=timezone.utc)


class NoStorage:
    """A `BundleStorage` that holds nothing: rows are what is measured."""

    location = "nowhere"
    why_read_only = ""

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
        "name": "Service",
        "version": "1",
        "env": {"pipDependencies": "\n".join(f"package-{number}==1.{number}" for number in range(60))},
        "apis": [{"name": "predict", "docs": "Predict. " * 40}],
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
    engine = open_database(url)
    with engine.begin() as connection:
        for table, (columns, make) in TABLES.items():
            if connection.dialect.name == "sqlite":
                fill_sqlite(connection, table, columns, make(rows))
            else:
                fill_postgres(connection, table, columns, make(rows))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def fill_sqlite(connection: Connection, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    cursor: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    marks = ", ".join("?" for _ in columns.split(","))
    stamped = (
        tuple(f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value for value in row)
        for row in rows
    )
    cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", stamped)


def fill_postgres(connection: Connection, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    cursor = connection.connection.cursor()
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:  # type: ignore[attr-defined]
        for row in rows:
            copy.write_row(row)


def selecting(selector: str, **options: Any) -> Query:
    return Query(selector=parse_selector(selector), limit=PAGE, **options)


QUERIES: dict[str, Query | BundleReference] = {
    "list, newest first": Query(limit=PAGE),
    "list, by name": Query(limit=PAGE, order_by="name", ascending=True),
    "list, offset 50,000": Query(limit=PAGE, offset=50_000),
    "list one service (most versions)": Query(name="Service0", limit=PAGE),
    "get NAME:VERSION": BundleReference("Service1", "100.0"),
    "latest (most versions)": BundleReference("Service0"),
    "latest (few versions)": BundleReference("Service1500"),
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


def timings_of(service: GammaService, rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of each query, and how many bundles it returned first."""
    timings: dict[str, list[float]] = {name: [] for name in QUERIES}
    for number in range(rounds + 3):
        for name, query in QUERIES.items():
            began = time.perf_counter()
            if isinstance(query, Query):
                service.list_bundles(query)
            else:
                service.resolve(query)
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


def report(figures: dict[str, dict[str, list[float]]], matches: dict[str, int], options: Any) -> str:
    databases = list(figures)
    lines = [
        "# Queries among 100,000 bundles",
        "",
        "Written by `make bench-registry`; do not edit.",
        "",
        f"Rows of {options.bundles:,} bundles of {SERVICES:,} services, {PACKAGES} packages each; the call in process",
        f"for a page of {PAGE}. Milliseconds, the median and the 95th percentile of {options.rounds} calls; at most",
        f"{LIMIT_MS:g}.",
        "",
        f"| query | bundles | {' | '.join(f'{name}, median | p95' for name in databases)} |",
        f"|---|---:|{'---:|---:|' * len(databases)}",
    ]
    for name in QUERIES:
        cells = (f"{median(figures[base][name]):.1f} | {p95(figures[base][name]):.1f}" for base in databases)
        lines.append(f"| {name} | {matches[name]} | {' | '.join(cells)} |")
    lines += ["", f"{datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors, {versions_of(databases)}."]
    return "\n".join(lines) + "\n"


def versions_of(databases: Sequence[str]) -> str:
    words = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    if "PostgreSQL" in databases:
        command = [program_of_postgres("postgres"), "--version"]
        words.append(f"PostgreSQL {subprocess.check_output(command, text=True).split()[2]}")
    return ", ".join(words)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--databases", nargs="+", choices=["SQLite", "PostgreSQL"], default=["SQLite", "PostgreSQL"])
    parser.add_argument("--folder", type=Path, help="keep the SQLite file here, and use it if it is there")
    parser.add_argument("--plans", action="store_true", help="print the plan of each query")
    parser.add_argument("--write", action="store_true", help=f"write {REPORT.relative_to(ROOT)}")
    options = parser.parse_args()
    figures: dict[str, dict[str, list[float]]] = {}
    matches: dict[str, int] = {}
    with (
        tempfile.TemporaryDirectory(prefix="kappa-bench-") as name,
        running_postgres(is_tuned=True) if "PostgreSQL" in options.databases else nullcontext() as databases,
    ):
        for database in options.databases:
            file = (options.folder or Path(name)) / f"registry-{options.bundles}.db"
            url = sqlite_url(file) if database == "SQLite" else databases.empty()
            if database != "SQLite" or not file.exists():
                began = time.perf_counter()
                fill(url, Rows(options.bundles))
                print(f"{database} filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)
            service = GammaService(NoStorage(), url)
            for query_name, query in QUERIES.items():
                matches[query_name] = len(service.list_bundles(query)) if isinstance(query, Query) else 1
            if options.plans:
                for query_name, plan in plans_of(url):
                    print(f"{database}: {query_name}", *plan, sep="\n    ")
            figures[database] = timings_of(service, options.rounds)
            service.close()
    page = report(figures, matches, options)
    print(page)
    if options.write:
        REPORT.write_text(page, encoding="utf-8")
    slow = [name for times in figures.values() for name, values in times.items() if p95(values) > LIMIT_MS]
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())
