"""The options of the commands that serve, and how they become `ServerOptions`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from kappa import actions
from kappa.choices import BatchPlacement, ExamplesUse
from kappa.cli.console import Shell
from kappa.environment import is_in_environment
from kappa.errors import KappaError
from kappa.log import listening, to_logging
from kappa.log_format import LogFormat, LogLevel
from kappa.origins import check_origin
from kappa.server.options import BatchingOptions, ServerOptions
from kappa.service_log import logging_to_stderr

if TYPE_CHECKING:
    from kappa.spec.service import ServiceSpec

__all__ = ["logging_as_asked", "server_options", "server_options_of"]

Workers = int | Literal["auto"]

_DEFAULTS = ServerOptions()


def _read_workers(_: click.Context, __: click.Parameter, value: str | None) -> Workers | None:
    if value is None or value == "auto":
        return "auto" if value else None
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= 1024):
        raise click.BadParameter(f"`{value}` is neither a number from 1 to 1024 nor `auto`.")
    return int(value)


def _read_origins(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(map(check_origin, values))
    except ValueError as exc:
        raise click.BadParameter(f"{exc}.") from None


_OPTIONS = (
    click.option("--host", help="The address to listen on.  [default: 0.0.0.0]"),
    click.option(
        "-p", "--port", type=click.IntRange(0, 65535), help="The port; 0 takes any free one.  [default: 5000]"
    ),
    click.option(
        "--management-port",
        type=click.IntRange(0, 65535),
        help="Move `/metrics` and all of `/metadata` to this port.  [default: they are beside the service]",
    ),
    click.option(
        "-w",
        "--workers",
        metavar="NUMBER|auto",
        callback=_read_workers,
        help="Processes, each with its own copy of the models.  [default: as the service declares, or 1]",
    ),
    click.option(
        "--max-batch-size",
        type=click.IntRange(min=1),
        help="The most items in one batch, for all APIs.  [default: as each API declares]",
    ),
    click.option(
        "--max-latency-ms",
        type=click.FloatRange(min=0, min_open=True),
        help="The latency to aim at under load, for all APIs.  [default: as each API declares]",
    ),
    click.option(
        "--batch-placement",
        type=click.Choice(get_args(BatchPlacement)),
        help="Where batches run: `auto` learns what is best, `no-pause` never pauses the event loop for a batch, "
        "`thread` always uses the API's thread.  [default: as the service declares, or `auto`]",
    ),
    click.option("--disable-microbatch", is_flag=True, help="Turn batching off."),
    click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=_DEFAULTS.timeout_s,
        show_default=True,
        metavar="SECONDS",
        help="Replace a worker that does not respond for this long.",
    ),
    click.option(
        "--graceful-timeout",
        "graceful_timeout_s",
        type=click.FloatRange(min=0),
        default=_DEFAULTS.graceful_timeout_s,
        show_default=True,
        metavar="SECONDS",
        help="How long accepted requests may take after SIGTERM.",
    ),
    click.option(
        "--drain-delay",
        "drain_delay_s",
        type=click.FloatRange(min=0),
        default=_DEFAULTS.drain_delay_s,
        show_default=True,
        metavar="SECONDS",
        help="How long to keep accepting requests after SIGTERM, while `/readyz` already answers 503.",
    ),
    click.option(
        "--examples",
        type=click.Choice(get_args(ExamplesUse)),
        help="Whether a version must answer its examples as they expect before it is served: `gate` does not start or "
        "reload one that fails them, `warn` says so and serves it, `skip` sends none.  [default: as the service "
        "declares, or `gate`; for a project `warn`]",
    ),
    click.option(
        "--cors-origin",
        "cors_origins",
        multiple=True,
        metavar="ORIGIN",
        callback=_read_origins,
        help="An origin whose pages may ask in a browser, e.g. `https://app.example.com`, or `*`; may be repeated."
        "  [default: as the service declares, or none]",
    ),
    click.option("--access-log", is_flag=True, help="Log every request; each then costs about twice as much."),
    click.option(
        "--log-format",
        type=click.Choice(get_args(LogFormat)),
        help="How the log is written: as text, or as one JSON object a line.  [default: text]",
    ),
    click.option(
        "--log-level",
        type=click.Choice(get_args(LogLevel)),
        help="The lowest level that is logged.  [default: info]",
    ),
)


def server_options(function: Any) -> Any:
    """Add the options of every command that serves; `server_options_of` takes what they give."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@contextmanager
def logging_as_asked(*, log_format: LogFormat | None, log_level: LogLevel | None, **_others: Any) -> Iterator[None]:
    """Configure the log from the first line on; with JSON, every message is a line of JSON."""
    settings = actions.server_settings()
    if (log_format or settings.log_format) == "text":
        yield
        return
    context = click.get_current_context()
    context.ensure_object(Shell).is_json = True
    with logging_to_stderr("json", log_level or settings.log_level), listening(to_logging):
        try:
            yield
        except KappaError as exc:
            fields = {"kind": type(exc).__name__, "exit_code": exc.exit_code}
            logging.getLogger("kappa.server").critical("%s", exc, extra=fields)
            context.exit(exc.exit_code)


def server_options_of(
    spec: ServiceSpec,
    *,
    host: str | None,
    port: int | None,
    management_port: int | None,
    workers: Workers | None,
    max_batch_size: int | None,
    max_latency_ms: float | None,
    batch_placement: BatchPlacement | None,
    disable_microbatch: bool,
    timeout_s: float,
    graceful_timeout_s: float,
    drain_delay_s: float,
    examples: ExamplesUse | None,
    access_log: bool,
    log_format: LogFormat | None,
    log_level: LogLevel | None,
    cors_origins: tuple[str, ...],
) -> ServerOptions:
    """Decide between flags, environment, the service's own `[serving]` and `config.yml`, in this order."""
    settings = actions.server_settings()
    origins: tuple[str, ...] | None = cors_origins or None
    if origins is None and is_in_environment("server", "cors_origins"):
        origins = settings.cors_origins
    elif origins is None and spec.serving.cors_origins is None:
        origins = settings.cors_origins or None
    return ServerOptions(
        host=host or settings.host,
        port=settings.port if port is None else port,
        management_port=settings.management_port if management_port is None else management_port,
        workers=workers or spec.serving.workers,
        batching=BatchingOptions(
            is_enabled=not disable_microbatch,
            max_batch_size=max_batch_size,
            max_latency_ms=max_latency_ms,
            placement=batch_placement
            or (settings.batch_placement if is_in_environment("server", "batch_placement") else None),
            usual_placement=settings.batch_placement or _DEFAULTS.batching.usual_placement,
        ),
        timeout_s=timeout_s,
        graceful_timeout_s=graceful_timeout_s,
        drain_delay_s=drain_delay_s,
        access_log=access_log,
        log_format=log_format or settings.log_format,
        log_level=log_level or settings.log_level,
        examples=examples or (settings.examples if is_in_environment("server", "examples") else None),
        usual_examples=settings.examples or _DEFAULTS.usual_examples,
        cors_origins=origins,
    )
