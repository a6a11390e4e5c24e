"""The services of one process: loads them, tries their examples, and knows when requests may come.

A service is *loading* until its code, models and `setup` are through and its examples have been answered, then
*ready*, *succeeded* once another version has taken over, and *draining* from the moment the process was asked to stop.
Each service is loaded in its own thread, so that the process answers `/healthz` meanwhile, and in each worker after the
fork: libraries with threads of their own hang when they are loaded before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from time import monotonic, thread_time
from typing import Any, TypeVar

from kappa.choices import ExamplesUse
from kappa.errors import ConfigurationError, InferenceFailedError, KappaError, exception_text
from kappa.log_format import telling_requests
from kappa.server import decoding
from kappa.server.batching.batcher import Batcher
from kappa.server.batching.constants import LOOK_EVERY_S
from kappa.server.batching.outcomes import OverdueError
from kappa.server.batching.saturation import capacity
from kappa.server.batching.slots import Slots
from kappa.server.decoding import Decoders
from kappa.server.endpoint import Endpoint, HostState
from kappa.server.gate import try_examples
from kappa.server.machine import SpareMemory
from kappa.server.metrics import ApiMetrics, Metrics
from kappa.server.observers import ObserverFactory, all_of
from kappa.server.options import BatchingOptions
from kappa.server.parent import NoParent, Parent
from kappa.server.renewal import Renewal, needs_payloads
from kappa.server.served import Served
from kappa.services.awaiting import use_loop
from kappa.services.service import LoadedService
from kappa.services.threads import ServiceThread
from kappa.spec.service import RESERVED_NAMES, ApiSpec, ArtifactMethod, ExampleSpec, ServiceSpec
from kappa.types import Answer, Payload

__all__ = ["Host"]

T = TypeVar("T")

_logger = logging.getLogger("kappa.server")
_MOST_ABANDONED = 2


class Host:
    """The services of one process.

    ``parent`` gets their state. ``processors`` is how many batches may run at once. ``examples_of`` says whether a
    service must answer its examples before it is ready. Where it ``tells_requests``, log records of a running function
    carry the ids of its requests; where it ``shows_errors``, clients read what one raised. Each of ``observers`` makes
    an observer for every API, beside its metrics.
    """

    def __init__(
        self,
        services: Sequence[Served],
        *,
        batching: BatchingOptions,
        metrics: Metrics,
        parent: Parent | None = None,
        processors: int = 1,
        workers: int = 1,
        examples_of: Callable[[ServiceSpec], ExamplesUse],
        tells_requests: bool = False,
        shows_errors: bool = False,
        observers: Sequence[ObserverFactory] = (),
    ) -> None:
        self.services = _by_name(services)
        self.state: HostState = "loading"
        self.loaded: dict[str, LoadedService] = {}
        self.metrics = metrics

        def endpoint_of(spec: ServiceSpec, api: ApiSpec) -> Endpoint:
            observer = all_of([metrics.of_api(spec.name, api.name), *(make(spec, api) for make in observers)])
            return Endpoint(self, spec, api, observer, shows_errors=shows_errors)

        self.endpoints: Mapping[str, Mapping[str, Endpoint]] = {
            name: {api.name: endpoint_of(served.spec, api) for api in served.spec.apis}
            for name, served in self.services.items()
        }
        self.decoders = Decoders(limit_s=decoding.DECODING_TIMEOUT_S, on_abandoned=self._decoder_abandoned)
        """The threads for large bodies, so that small ones need not wait for them."""
        self._batching = batching
        self._parent = parent or NoParent()
        self._slots = Slots(processors)
        self._workers = workers
        self._examples_of = examples_of
        self._tells_requests = tells_requests
        self._threads: dict[str, ServiceThread] = {}
        """Of each loaded service its own."""
        self._loop_seen = (monotonic(), thread_time())
        self._unending: Endpoint | None = None
        """The API whose call did not end while the services were loading."""
        self._loading: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_welcoming(self) -> bool:
        """Whether requests may be sent here: this process is ready, and each that was started with it has been."""
        return self.state == "ready" and self._parent.is_started()

    async def start(self) -> None:
        """Begin to load; returns at once."""
        self._loading = asyncio.create_task(self._become_ready())

    def metadata_of(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the metadata of a service's artifacts: as its manifest has it, or as they were loaded."""
        if (manifest := self.services[name].manifest) is not None:
            return {artifact.name: artifact.metadata for artifact in manifest.artifacts}
        loaded = self.loaded.get(name)
        return {} if loaded is None else {key: artifact.metadata for key, artifact in loaded.artifacts.items()}

    def drain(self) -> None:
        """Report as not ready from now on; requests that still come are answered."""
        self.state = "draining"
        self._mark_ready(0)

    def take_over(self, former: Host) -> None:
        """Take over from ``former``, which finishes its requests."""
        former._mark_ready(0)
        if former.state == "draining":
            self.drain()
            return
        former.state = "succeeded"
        self.state = "ready"
        self._loop_seen = former._loop_seen
        self._mark_ready(1)

    async def stop(self) -> None:
        """Finish what was accepted, then close the services; the process goes on if another host has taken over."""
        if self.state != "succeeded":
            self.drain()
        await _ended(self._loading)
        batchers = [endpoint.batcher for endpoint in self._all_endpoints() if endpoint.batcher is not None]
        await asyncio.gather(*(batcher.close() for batcher in batchers))
        await _ended(self._looking)  # until here it gives up the calls that take too long
        for name, service in self.loaded.items():
            closing = asyncio.wrap_future(self._threads[name].end_with(service.close))
            await asyncio.shield(closing)  # a waiter that is cancelled when the process ends must not cancel it
        self.decoders.stop()
        self.metrics.flush()

    async def load(self) -> None:
        """Load the services and try their examples; raises whatever prevents it."""
        self._looking = asyncio.create_task(self._look_regularly())
        use_loop(asyncio.get_running_loop())
        for name, served in self.services.items():
            thread = ServiceThread(f"kappa-{name}")
            self.loaded[name] = service = await _loaded(served, thread)
            self._threads[name] = thread
            for endpoint in self.endpoints[name].values():
                await self._open(endpoint, service, thread)
            await self._try_examples(served, service)

    async def _become_ready(self) -> None:
        try:
            await self.load()
        except KappaError as exc:
            if self._unending is not None and all(served.has_passed for served in self.services.values()):
                _logger.error("%s This process is replaced.", exc)  # noqa: TRY400 - the message says all
                self._parent.stuck()
            else:
                self._parent.failed(exc)
        except Exception as exc:
            _logger.exception("Loading failed in a way that Kappa does not know")
            self._parent.failed(KappaError(f"The service cannot be loaded: {exception_text(exc)}."))
        else:
            if self.state == "loading":
                self.state = "ready"
                self._mark_ready(1)
                self._parent.ready()

    async def _open(self, endpoint: Endpoint, service: LoadedService, thread: ServiceThread) -> None:
        spec, inference = endpoint.spec, service.apis[endpoint.spec.name]
        is_model_method = isinstance(spec.target, ArtifactMethod)
        is_isolating = spec.batch and spec.isolate_failures is not False
        max_queue_items = endpoint.service.serving.max_queue_requests
        needs_slot = spec.batch and spec.max_concurrency is None and not inference.is_async
        endpoint.keeps_payloads = is_isolating and needs_payloads(inference)
        limits = self._batching.limits_of(spec, max_queue_items=max_queue_items, is_async=inference.is_async)
        answer = inference.answer_async if inference.is_async else inference.answer
        batcher = Batcher(
            telling_requests(answer) if self._tells_requests else answer,
            limits=limits,
            name=endpoint.name,
            isolate_failures=is_isolating,
            renew=Renewal(inference, self.decoders),
            placer=self._batching.placer_of(
                endpoint.service.serving,
                is_loop_safe=is_model_method and not (inference.is_async or _is_thread_bound(spec, service)),
                is_pause_safe=not (inference.is_async or self._has_rivals(endpoint)) and limits.max_concurrency == 1,
            ),
            slots=self._slots if needs_slot and self._has_rivals(endpoint) else None,
            on_stuck=partial(self._be_stuck, endpoint),
            on_untold=partial(_log_untold, endpoint),
            thread=thread if spec.name == service.api_of_own_thread else None,
            context=thread.context,
            observer=self._metrics_of(endpoint),
        )
        await batcher.start()
        endpoint.inference, endpoint.batcher = inference, batcher

    def _metrics_of(self, endpoint: Endpoint) -> ApiMetrics:
        return self.metrics.of_api(endpoint.service.name, endpoint.spec.name)

    def _has_rivals(self, endpoint: Endpoint) -> bool:
        """Return whether another batched API of this process may want to run at the same time."""
        return any(other.spec.batch for other in self._all_endpoints() if other is not endpoint)

    def _be_stuck(self, endpoint: Endpoint, error: Exception) -> None:
        if self.state == "loading":  # a new process would meet the same
            self._unending = endpoint
            return
        if isinstance(error, OverdueError):
            text = "A call of `%s` did not return within %g seconds, and nothing can end it: this process is replaced."
            _logger.error(text, endpoint.name, endpoint.spec.run_timeout)
        else:
            _logger.error("The batches of `%s` cannot go on: this process is replaced.", endpoint.name, exc_info=error)
        self.drain()
        self._parent.stuck()

    def _decoder_abandoned(self, count: int) -> None:
        if count >= _MOST_ABANDONED and self.state == "ready":
            self._parent.worn()

    async def _try_examples(self, served: Served, service: LoadedService) -> None:
        use = self._examples_of(served.spec)
        if served.has_passed and use == "gate":
            use = "warn"
        ask = partial(self._ask_example, self.endpoints[service.name])
        await try_examples(service.spec, service.examples_directory, ask, use=use)

    async def _ask_example(
        self, endpoints: Mapping[str, Endpoint], example: ExampleSpec, payload: Payload
    ) -> Answer | Exception:
        """Return the outcome of an example; raises if a call of it cannot be ended."""
        try:
            return await endpoints[example.api].answer_example(payload, f"example {example.name}")
        except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
            if self._unending is None:
                return exc
        raise InferenceFailedError(
            f"The example `{example.name}` was not answered within the {self._unending.spec.run_timeout:g} "
            f"seconds that a call of `{self._unending.name}` may take "
            "(`run_timeout`), and nothing can end it. Mend the function, or give it more time."
        )

    async def _look_regularly(self) -> None:
        memory = SpareMemory()
        for number in count():
            planned = monotonic() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            lag_s = max(monotonic() - planned, 0.0)
            for endpoint in self._all_endpoints():
                if endpoint.batcher is not None:
                    endpoint.batcher.look(lag_s)
            if number % 2 and self.state in ("ready", "draining"):  # else another host says what there is
                self.flush()
                if memory.is_due(now := monotonic()):
                    await asyncio.to_thread(memory.give_back, now)

    def flush(self) -> None:
        """Export all counts, and the present state of the queues, as metrics."""
        now, loop_share = monotonic(), self._loop_share()
        for endpoint in self._all_endpoints():
            if (batcher := endpoint.batcher) is not None:
                state = batcher.state
                ratio = endpoint.saturation.look(
                    now,
                    offered_items=state.offered_items,
                    capacity=capacity(state.estimate, batcher.limits),
                    least=loop_share,
                )
                self._metrics_of(endpoint).state_seen(state, saturation_ratio=ratio / self._workers)
        self.metrics.flush()

    def _loop_share(self) -> float:
        """Return the share of the time since the last call in which the event loop's thread was computing.

        With fast models the loop is what limits a worker, and not the function.
        """
        before, self._loop_seen = self._loop_seen, (monotonic(), thread_time())
        elapsed, cpu_s = self._loop_seen[0] - before[0], self._loop_seen[1] - before[1]
        self.metrics.loop_cpu_seconds.inc(cpu_s)
        return cpu_s / elapsed if elapsed > 0 else 0.0

    def _all_endpoints(self) -> list[Endpoint]:
        return [endpoint for endpoints in self.endpoints.values() for endpoint in endpoints.values()]

    def _mark_ready(self, value: int) -> None:
        for name, served in self.services.items():
            self.metrics.ready.labels(name, served.version).set(value)


def _by_name(services: Sequence[Served]) -> dict[str, Served]:
    """Return the services by the name that each has in URLs; raises `ConfigurationError` if two would collide."""
    names = [served.spec.name for served in services]
    for name in names if len(names) > 1 else ():
        if names.count(name) > 1:
            raise ConfigurationError(f"Of the services to serve, two services are called `{name}`.")
        if name in RESERVED_NAMES:
            raise ConfigurationError(
                f"A service called `{name}` cannot be one of several: `{name}` is one of the server's own routes."
            )
    return {served.spec.name: served for served in services}


def _log_untold(endpoint: Endpoint, error: Exception, requests: int) -> None:
    """Log an error that no request got: none was at fault, or all clients had left."""
    _logger.warning(
        "A batch of %d requests of `%s` failed. Run alone, none of them did, or their clients had left.",
        requests,
        endpoint.name,
        exc_info=error,
    )


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _loaded(served: Served, thread: ServiceThread) -> LoadedService:
    """Load a service in its own thread."""
    try:
        return await asyncio.wrap_future(thread.submit(served.load))
    except BaseException:
        thread.end()
        raise


def _is_thread_bound(api: ApiSpec, service: LoadedService) -> bool:
    """Return whether a model that answers itself must be called in one thread."""
    name = api.target.artifact if isinstance(api.target, ArtifactMethod) else ""
    return any(plugin.thread_bound for plugin in service.spec.artifacts if plugin.name == name)
