"""The options of the commands that list bundles."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import wraps
from typing import Any

import click

from kappa import actions
from kappa.cli.tables import bundle_table, yaml_text
from kappa.labels import parse_selector
from kappa.spec.store import Order, Query
from kappa.wording import size_of

__all__ = ["printed_bundles", "query_options", "stored_table", "why_none"]


def query_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose and order bundles; the command receives ``read_query``, which returns a `Query`.

    Who does not call it ignores them, whatever they are.
    """

    @wraps(command)
    def with_query(
        *args: Any,
        selector: str | None,
        limit: int | None,
        offset: int,
        order_by: Order,
        ascending: bool,
        requires: str | None,
        **options: Any,
    ) -> Any:
        def read_query() -> Query:
            return Query(
                selector=parse_selector(selector) if selector is not None else (),
                limit=limit,
                offset=offset,
                order_by=order_by,
                ascending=ascending,
                requires=requires,
                namespace=actions.default_namespace(),
            )

        return command(*args, read_query=read_query, **options)

    for option in reversed(_OPTIONS):
        with_query = option(with_query)
    return with_query


_OPTIONS = (
    click.option(
        "--labels",
        "selector",
        metavar="SELECTOR",
        help="Only bundles with these labels, e.g. 'framework=xgboost, stage In (test, live)'.",
    ),
    click.option(
        "--requires",
        metavar="REQUIREMENT",
        help="Only bundles that lock a version of a package, e.g. 'pillow<11.1'.",
    ),
    click.option("--limit", type=click.IntRange(min=1), help="The maximum number of bundles."),
    click.option("--offset", type=click.IntRange(min=0), default=0, help="Skip this many."),
    click.option(
        "--order-by",
        type=click.Choice(["created_at", "name"]),
        default="created_at",
        show_default=True,
        help="The key to sort by, in descending order.",
    ),
    click.option("--ascending-order", "ascending", is_flag=True, help="Sort in ascending order."),
)


def stored_table(bundles: Sequence[actions.StoredBundle], *, now: datetime | None = None, is_wide: bool = False) -> str:
    """Return one line per bundle; wide with its aliases, its labels and its size."""
    more: dict[str, Callable[[int], str]] = {
        "ALIASES": lambda number: ", ".join(bundles[number].record.aliases),
        "LABELS": lambda number: ", ".join(f"{key}={value}" for key, value in bundles[number].record.labels.items()),
        "SIZE": lambda number: size_of(bundles[number].record.size_bytes),
    }
    views = [(str(bundle.record.tag), bundle.record.view) for bundle in bundles]
    return bundle_table(views, now=now, more=more if is_wide else None)


def printed_bundles(bundles: Sequence[actions.StoredBundle], output_format: str, *, now: datetime | None = None) -> str:
    """Return bundles as `-o` asks: a table, with ``now`` of ages, or their whole records as JSON or YAML."""
    if output_format in ("json", "yaml"):
        views = [bundle.view for bundle in bundles]
        return json.dumps(views, indent=2) if output_format == "json" else yaml_text(views)
    is_wide = output_format == "wide"
    return stored_table(bundles, now=None if is_wide else now, is_wide=is_wide)


def why_none(query: Query, noun: str) -> str:
    """Return a sentence that says which options of a query leave nothing; empty where it has none."""
    described = f"{noun} with these labels" if query.selector else noun
    if query.offset:
        that_lock = f" that locks `{query.requires}`" if query.requires is not None else ""
        return f"`--offset {query.offset}` skips every {described}{that_lock}."
    if query.requires is not None:
        return f"No {described} locks `{query.requires}`."
    return f"No {noun} has these labels." if query.selector else ""
