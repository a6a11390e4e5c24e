"""How the operator wants the server to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

from kappa.log_format import LogFormat, LogLevel
from kappa.server.host import BatchingOptions
from kappa.service_log import access_log_to_stdout, logging_to_stderr
from kappa.spec.service import ExamplesUse, ServiceSpec

__all__ = ["ServerOptions"]


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
    """A worker whose event loop stands still for this long is killed and replaced."""
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
    """From which level on lines are shown; those of the access log always are."""
    examples: ExamplesUse | None = None
    """What the operator wants done with examples; ``None`` leaves it to each service."""
    usual_examples: ExamplesUse = "gate"
    """What is done with those of a service that says nothing."""
    cors_origins: tuple[str, ...] | None = None
    """The web pages of other sites that may ask in a browser; ``None`` leaves each service its own."""
    is_development: bool = False
    """Whether the services are being worked on; then examples are no gate, unless the operator wants one, errors of
    functions are shown, and pages of other sites are refused."""

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Log as the operator wants it, while this lasts."""
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
