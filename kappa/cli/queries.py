"""The options of the commands that list bundles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import wraps
from typing import Any

import click

from kappa import actions
from kappa.cli.tables import bundle_table, size_of
from kappa.labels import parse_selector
from kappa.spec.store import Order, Query

__all__ = ["query_options", "stored_table"]


def query_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose and order bundles; the command receives them as one ``query``."""

    @wraps(command)
    def with_query(
        *args: Any,
        selector: str | None,
        limit: int | None,
        offset: int,
        order_by: Order,
        ascending: bool,
        **options: Any,
    ) -> Any:
        query = Query(
            selector=parse_selector(selector) if selector is not None else (),
            limit=limit,
            offset=offset,
            order_by=order_by,
            ascending=ascending,
        )
        return command(*args, query=query, **options)

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
    """Return one line per bundle; wide with its labels and its size."""
    more: dict[str, Callable[[int], str]] = {
        "LABELS": lambda number: ", ".join(f"{key}={value}" for key, value in bundles[number].record.labels.items()),
        "SIZE": lambda number: size_of(bundles[number].record.size_bytes),
    }
    return bundle_table([bundle.record.view for bundle in bundles], now=now, more=more if is_wide else None)
