"""One process whose services are exchanged while it answers."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from kappa.errors import BundleError, KappaError
from kappa.server.http.app import create_app
from kappa.server.http.swap import Application
from kappa.server.parent import AwaitedStart
from kappa.server.served import Served
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.service import ApiSpec, ExampleSpec, FunctionTarget, ServiceSpec
from tests.eventually import eventually, eventually_in_loop

CODE = """
import asyncio
from pathlib import Path

may_answer = asyncio.Event()

async def version(value):
    return {version!r}

async def wait(value):
    await may_answer.wait()
    return {version!r}

def stop():
    Path(__file__).with_name("closed-{version}").touch()
"""


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("swapped_")]:
        del sys.modules[name]


def described(folder: Path, version: str, *apis: str) -> Served:
    module = f"swapped_{version}"
    (folder / f"{module}.py").write_text(CODE.format(version=version), encoding="utf-8")
    spec = ServiceSpec(
        name="Swapped",
        apis=tuple(
            ApiSpec(name=name, target=FunctionTarget(function=f"{module}:{name}"), input="json") for name in apis
        ),
        teardown=f"{module}:stop",
    )
    return Served(spec, version, partial(load_service, ServiceSource.of_project(spec, {}, root=folder)))


class Reloader(AwaitedStart):
    """Says what to load next."""

    def __init__(self) -> None:
        super().__init__()
        self.coming: Sequence[Served] = ()
        self.outcomes: asyncio.Queue[KappaError | None] = asyncio.Queue()

    def wanted(self) -> Sequence[Served]:
        return self.coming

    def reloaded(self, error: KappaError | None) -> None:
        self.outcomes.put_nowait(error)


class Reloading:
    """An application and its parent."""

    def __init__(self, conductor: falcon.testing.ASGIConductor, app: Application, parent: Reloader) -> None:
        self.conductor = conductor
        self.app = app
        self.parent = parent

    async def reload(self, *coming: Served) -> KappaError | None:
        self.parent.coming = coming
        self.app.begin_reload()
        return await asyncio.wait_for(self.parent.outcomes.get(), 60)

    async def ask(self, api: str) -> Any:
        result = await self.conductor.simulate_post(f"/{api}", body="1")
        return result.json if result.status_code == 200 else result.status_code


@asynccontextmanager
async def running(*services: Served) -> AsyncIterator[Reloading]:
    parent = Reloader()
    app = create_app(services, parent=parent)
    async with falcon.testing.ASGIConductor(app) as conductor:
        await asyncio.wait_for(parent.outcome, 60)
        yield Reloading(conductor, app, parent)


def test_after_a_reload_the_new_version_answers_with_its_own_apis(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(described(tmp_path, "1", "version")) as reloading:
            assert (await reloading.ask("version"), await reloading.ask("wait")) == ("1", 404)
            assert await reloading.reload(described(tmp_path, "2", "version", "wait")) is None
            assert await reloading.ask("version") == "2"
            sys.modules["swapped_2"].may_answer.set()
            assert await reloading.ask("wait") == "2"
            await asyncio.to_thread(eventually, (tmp_path / "closed-1").exists)
            metrics = (await reloading.conductor.simulate_get("/metrics")).text
            assert 'kappa_ready_workers{service="Swapped",version="1"} 0.0' in metrics
            assert 'kappa_ready_workers{service="Swapped",version="2"} 1.0' in metrics
            assert (await reloading.conductor.simulate_get("/metadata")).json["version"] == "2"

    asyncio.run(run())
    assert (tmp_path / "closed-2").exists()


def test_what_had_arrived_is_answered_by_the_version_that_it_found(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(described(tmp_path, "1", "wait")) as reloading:
            early = asyncio.ensure_future(reloading.ask("wait"))
            await eventually_in_loop(lambda: reloading.app.current.exchanges == 1)
            assert await reloading.reload(described(tmp_path, "2", "version")) is None
            assert (await reloading.ask("version"), (tmp_path / "closed-1").exists()) == ("2", False)
            sys.modules["swapped_1"].may_answer.set()
            assert await early == "1"
            await asyncio.to_thread(eventually, (tmp_path / "closed-1").exists)

    asyncio.run(run())


@pytest.mark.parametrize("error", [BundleError("The artifact `model` is missing."), ZeroDivisionError("oh")], ids=repr)
def test_a_version_that_cannot_be_loaded_is_told_and_changes_nothing(tmp_path: Path, error: Exception) -> None:
    def load() -> Any:
        raise error

    async def run() -> None:
        async with running(described(tmp_path, "1", "version")) as reloading:
            broken = Served(described(tmp_path, "2", "version").spec, "2", load)
            assert str(error) in str(await reloading.reload(broken))
            assert await reloading.ask("version") == "1"
            assert (await reloading.conductor.simulate_get("/readyz")).status_code == 200
            assert await reloading.reload(described(tmp_path, "3", "version")) is None
            assert await reloading.ask("version") == "3"

    asyncio.run(run())


def test_a_process_that_drains_stays_unready_after_a_reload(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(described(tmp_path, "1", "version")) as reloading:
            reloading.app._drain()
            assert await reloading.reload(described(tmp_path, "2", "version")) is None
            assert (await reloading.conductor.simulate_get("/readyz")).status_code == 503
            assert await reloading.ask("version") == "2"

    asyncio.run(run())


def test_code_that_was_replaced_in_its_place_is_imported_anew(tmp_path: Path) -> None:
    def in_place(version: str) -> Served:
        served = described(tmp_path, "same", "version")
        module = tmp_path / "swapped_same.py"
        module.write_text(CODE.format(version=version) + "#" * int(version), encoding="utf-8")
        return Served(served.spec, version, served.load, directory=tmp_path)

    async def run() -> None:
        async with running(in_place("1")) as reloading:
            assert await reloading.ask("version") == "1"
            assert await reloading.reload(in_place("2")) is None
            assert await reloading.ask("version") == "2"

    asyncio.run(run())


STUCK = """
import threading

is_stuck = threading.Event()
may_end = threading.Event()

def stick(value):
    is_stuck.set()
    may_end.wait()

def version(value):
    return "stuck"
"""


def with_stuck_example(folder: Path, version: str) -> Served:
    (folder / "swapped_stuck.py").write_text(STUCK, encoding="utf-8")
    spec = ServiceSpec(
        name="Swapped",
        apis=(
            ApiSpec(name="stick", target=FunctionTarget(function="swapped_stuck:stick"), input="json", run_timeout=0.1),
        ),
        examples=(ExampleSpec(name="one", api="stick", input=1),),
    )
    return Served(spec, version, partial(load_service, ServiceSource.of_project(spec, {}, root=folder)))


def test_an_example_that_does_not_end_fails_the_reload_and_changes_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(described(tmp_path, "1", "version")) as reloading:
            error = await reloading.reload(with_stuck_example(tmp_path, "2"))
            assert str(error).startswith("The example `one` was not answered within the 0.1 seconds")
            assert await reloading.ask("version") == "1"
            assert await reloading.reload(described(tmp_path, "3", "version")) is None
            assert await reloading.ask("version") == "3"
            sys.modules["swapped_stuck"].may_end.set()

    asyncio.run(run())


def test_a_call_that_does_not_end_holds_up_no_later_reload(tmp_path: Path) -> None:
    first = with_stuck_example(tmp_path, "1")
    spec = first.spec.model_copy(update={"examples": ()})

    async def run() -> None:
        async with running(
            Served(spec, "1", partial(load_service, ServiceSource.of_project(spec, {}, root=tmp_path)))
        ) as reloading:
            left = asyncio.ensure_future(reloading.ask("stick"))
            await eventually_in_loop(lambda: sys.modules["swapped_stuck"].is_stuck.is_set())
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
            for version in ("2", "3"):
                assert await reloading.reload(described(tmp_path, version, "version")) is None
                assert await reloading.ask("version") == version
            await eventually_in_loop(lambda: len(reloading.app._generations) == 1)  # the call is given up
            sys.modules["swapped_stuck"].may_end.set()

    asyncio.run(run())


def test_a_reload_need_not_wait_for_requests_that_the_last_but_one_version_answers(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(described(tmp_path, "1", "wait")) as reloading:
            early = asyncio.ensure_future(reloading.ask("wait"))
            await eventually_in_loop(lambda: reloading.app.current.exchanges == 1)
            for version in ("2", "3"):
                assert await reloading.reload(described(tmp_path, version, "version")) is None
            assert (await reloading.ask("version"), early.done()) == ("3", False)
            sys.modules["swapped_1"].may_answer.set()
            assert await early == "1"

    asyncio.run(run())


def test_a_reload_that_is_asked_for_during_another_follows_it(tmp_path: Path) -> None:
    second, third = described(tmp_path, "2", "version"), described(tmp_path, "3", "version")
    is_loading, may_load = threading.Event(), threading.Event()

    def load() -> Any:
        is_loading.set()
        may_load.wait(60)
        return second.load()

    async def run() -> None:
        async with running(described(tmp_path, "1", "version")) as reloading:
            first = asyncio.ensure_future(reloading.reload(Served(second.spec, "2", load)))
            await asyncio.to_thread(is_loading.wait, 10)
            again = asyncio.ensure_future(reloading.reload(third))
            await asyncio.sleep(0)
            may_load.set()
            assert [await first, await again] == [None, None]
            assert await reloading.ask("version") == "3"

    asyncio.run(run())


def test_a_stop_closes_the_versions_that_come_and_go_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(described(tmp_path, "1", "wait")) as reloading:
            early = asyncio.ensure_future(reloading.ask("wait"))
            await eventually_in_loop(lambda: reloading.app.current.exchanges == 1)
            assert await reloading.reload(described(tmp_path, "2", "version")) is None
            early.cancel()
            await asyncio.gather(early, return_exceptions=True)
            releasing = asyncio.ensure_future(release())
        await releasing

    async def release() -> None:  # the version that leaves still runs what a client asked of it, and is closed last
        await asyncio.to_thread(eventually, (tmp_path / "closed-2").exists)
        assert not (tmp_path / "closed-1").exists()
        sys.modules["swapped_1"].may_answer.set()

    asyncio.run(run())
    assert (tmp_path / "closed-1").exists()
    assert (tmp_path / "closed-2").exists()
