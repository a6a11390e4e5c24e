"""How the operator wants the server to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from kappa.choices import BatchPlacement, ExamplesUse
from kappa.log_format import LogFormat, LogLevel
from kappa.server.batching.placement import Placer
from kappa.server.batching.policy import Limits
from kappa.service_log import access_log_to_stdout, logging_to_stderr

if TYPE_CHECKING:  # PERF: a command's help names the defaults below
    from kappa.spec.service import ApiSpec, ServiceSpec, ServingSpec

__all__ = ["BatchingOptions", "ServerOptions"]


_CALLS_AWAITED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class BatchingOptions:
    """The operator's options of batching; ``None`` leaves each service or API its own."""

    is_enabled: bool = True
    max_batch_size: int | None = None
    max_latency_ms: float | None = None
    placement: BatchPlacement | None = None
    usual_placement: BatchPlacement = "auto"
    """Where batches of a service without `batch_placement` run."""

    def limits_of(self, api: ApiSpec, *, max_queue_items: int, is_async: bool = False) -> Limits:
        """Return the limits of one API; without batching it is a queue that hands out one request at a time."""
        latency_ms = self.max_latency_ms or api.max_latency_ms
        return Limits(
            max_batch_size=self.max_batch_size or api.max_batch_size if api.batch and self.is_enabled else 1,
            max_latency_s=None if latency_ms is None else latency_ms / 1000,
            max_queue_items=max_queue_items,
            max_concurrency=api.max_concurrency or (_CALLS_AWAITED_AT_ONCE if is_async and not api.batch else 1),
            run_timeout_s=api.run_timeout,
        )

    def placer_of(self, serving: ServingSpec, *, is_loop_safe: bool, is_pause_safe: bool) -> Placer:
        """Return where an API's batches may run, whose function may be called on the event loop if it ``is_loop_safe``,
        and for which the loop may be paused if it ``is_pause_safe``."""
        placement = self.placement or serving.batch_placement or self.usual_placement
        return Placer(
            may_run_on_loop=is_loop_safe and placement != "thread", may_pause=is_pause_safe and placement == "auto"
        )


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Flags, environment, `[serving]` and `config.yml`, already decided between."""

    host: str = "0.0.0.0"  # noqa: S104 - the concepts page's default; `start_dev_server` binds 127.0.0.1
    port: int = 5000
    """0 takes any free port; the start-up line says which."""
    management_port: int | None = None
    """Where metrics and all metadata are, instead of beside the service; 0 takes any free port."""
    workers: int | Literal["auto"] = 1
    """Processes, each with its own copy of the models; `auto` is as many as processors and memory allow."""
    batching: BatchingOptions = field(default_factory=BatchingOptions)
    timeout_s: float = 60.0
    """A worker whose event loop is blocked for this long is killed and replaced."""
    graceful_timeout_s: float = 30.0
    """How long accepted requests may take after the server was asked to stop."""
    drain_delay_s: float = 0.0
    """How long to go on accepting after that, with `/readyz` already saying no."""
    keep_alive_s: float = 75.0
    """Longer than the usual minute of load balancers, so that they and not this server end idle connections."""
    max_connections: int = 10_240
    """Open connections per worker; more are refused with 503."""
    access_log: bool = False
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"
    """The lowest level that is logged; the access log always is."""
    examples: ExamplesUse | None = None
    """The operator's use of examples; ``None`` leaves it to each service."""
    usual_examples: ExamplesUse = "gate"
    """The use of examples of a service without an `examples` key."""
    cors_origins: tuple[str, ...] | None = None
    """The web pages of other sites that may ask in a browser; ``None`` leaves each service its own."""
    is_development: bool = False
    """Whether the services are being worked on; then examples are no gate, unless the operator wants one, errors of
    functions are shown, and pages of other sites are refused."""

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Configure the log while this lasts."""
        with ExitStack() as stack:
            stack.enter_context(logging_to_stderr(self.log_format, self.log_level))
            if self.access_log:
                stack.enter_context(access_log_to_stdout(self.log_format))
            yield

    def examples_of(self, spec: ServiceSpec) -> ExamplesUse:
        """Return what is done with the examples of a service."""
        if self.examples is not None:
            return self.examples
        declared = spec.serving.examples or self.usual_examples
        return "warn" if self.is_development and declared == "gate" else declared
