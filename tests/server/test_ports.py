from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kappa.errors import PortInUseError, UsageError
from kappa.server.ports import bind_to, holder_of, join, listen_on, reserve, turn_away, url_of


def test_port_zero_is_any_free_port_and_the_url_says_which() -> None:
    with listen_on("127.0.0.1", 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_ipv6_addresses_stand_in_brackets() -> None:
    try:
        listener = listen_on("::1", 0)
    except UsageError:
        pytest.skip("no IPv6 here")
    with listener:
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"


@pytest.mark.parametrize("take", [listen_on, bind_to, reserve])
def test_a_taken_port_is_reported_with_its_holder(take: Callable[[str, int], object]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError) as caught:
            take("127.0.0.1", port)
    assert str(caught.value).startswith(f"Port {port} is already in use by process {os.getpid()} (")
    assert str(caught.value).endswith(f"Stop that first, or choose another port, e.g. `--port {port + 1}`.")


def test_a_shared_port_of_others_is_taken_too() -> None:
    with bind_to("127.0.0.1", 0, is_shared=True) as theirs:
        theirs.listen()
        with pytest.raises(PortInUseError):
            reserve("127.0.0.1", theirs.getsockname()[1])


def test_a_reserved_port_can_be_bound_by_each_worker() -> None:
    with reserve("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        with bind_to("127.0.0.1", port, is_shared=True) as one, bind_to("127.0.0.1", port, is_shared=True) as other:
            one.listen()
            other.listen()
            socket.create_connection(("127.0.0.1", port), timeout=60).close()


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host"])
def test_an_address_of_somebody_else_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match=r"listened on|listen on"):
        listen_on(host, 0)


@pytest.mark.parametrize("port", [1 << 16, -1, "http"])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=f"`{port}` is not a port: choose a number from 0 to 65535."):
        listen_on("127.0.0.1", port)


def test_a_port_nobody_listens_on_has_no_holder(tmp_path: Path) -> None:
    assert holder_of(1, proc=tmp_path) is None
    with bind_to("127.0.0.1", 0) as free:
        assert holder_of(free.getsockname()[1]) is None


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="ports cannot be shared here")
def test_processes_join_a_port_that_is_kept_for_them() -> None:
    with reserve("127.0.0.1", 0) as kept, join(kept) as first, join(kept) as second:
        assert kept.getsockname() == first.getsockname() == second.getsockname()
        first.close()
        for _ in range(20):
            with socket.create_connection(kept.getsockname(), timeout=60):
                second.accept()[0].close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can do that")
def test_new_connections_are_turned_away_and_those_that_have_begun_are_not() -> None:
    with listen_on("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as early:
        turn_away(listener)
        with socket.socket() as late:
            late.setblocking(False)
            late.connect_ex(listener.getsockname())
            assert select.select([], [late], [], 0)[1] == []
            accepted, who = listener.accept()
            assert who == early.getsockname()
            with accepted:
                early.sendall(b"1")
                assert accepted.recv(1) == b"1"
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
