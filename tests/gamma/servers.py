"""Gamma servers of tests: both doors of a registry in this process, each at a free port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from kappa.gamma.access.gate import Gate
from kappa.gamma.clients.connecting import connect
from kappa.gamma.doors.running import GammaServer
from kappa.gamma.doors.tls import ServerTls
from kappa.gamma.protocols.registry import Registry

Protocol = Literal["grpc", "http"]


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    grpc: str
    http: str

    def url(self, protocol: Protocol) -> str:
        return self.grpc if protocol == "grpc" else self.http

    @contextmanager
    def client(self, protocol: Protocol) -> Iterator[Registry]:
        client = connect(self.url(protocol))
        try:
            yield client
        finally:
            client.close()


@contextmanager
def serving(registry: Registry, *, tls: ServerTls | None = None, gate: Gate | None = None) -> Iterator[Served]:
    """Serve a registry on the loopback interface, to everybody or behind a gate."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = GammaServer(registry, tls=tls, gate=gate)
    ports = server.start("127.0.0.1", 0, web=listener)
    s = "s" if tls else ""
    try:
        yield Served(f"grpc{s}://127.0.0.1:{ports.grpc}", f"http{s}://127.0.0.1:{ports.web}")
    finally:
        server.stop(grace_s=0)
        listener.close()
