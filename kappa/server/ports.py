"""Sockets to listen on, taken before anything else starts; a port in use is reported with who holds it."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kappa.errors import PortInUseError, UsageError

__all__ = ["bind_to", "holder_of", "join", "listen_on", "reserve", "turn_away", "url_of", "waiting_at"]

_LISTEN = "0A"  # linux/include/net/tcp_states.h
_BACKLOG = 2048
_SO_ATTACH_FILTER = 26
_DROP_FIRST_PACKETS = (  # linux/filter.h: what packets of TCP with SYN and without ACK are dropped by
    (0x30, 0, 0, 13),  # load the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # is there SYN alone?
    (0x06, 0, 0, 0),  # then nothing of the packet is taken
    (0x06, 0, 0, 0xFFFFFFFF),  # else all
)


def listen_on(host: str, port: int) -> socket.socket:
    """Return a listening socket: connections wait there from now on. Raises as `bind_to` does."""
    listener = bind_to(host, port)
    listener.listen(_BACKLOG)
    return listener


def bind_to(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Return a socket bound to ``host`` and ``port``, or to any free port for 0; it does not listen yet.

    ``is_shared`` lets others that ask for the same bind it too (`SO_REUSEPORT`). Raises `PortInUseError`, or
    `UsageError` for an address that is not one of this machine.
    """
    if not (isinstance(port, int) and 0 <= port < 1 << 16):  # `getaddrinfo` takes what is left of a larger one
        raise UsageError(f"`{port}` is not a port: choose a number from 0 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as exc:
        raise UsageError(f"`{host}` is not an address to listen on: {exc.strerror}.") from None
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise PortInUseError(_in_use(port)) from None
        if exc.errno == errno.EACCES:
            raise UsageError(f"Port {port} may not be used by this user; choose one above 1023.") from None
        raise UsageError(f"`{host}:{port}` cannot be listened on: {exc.strerror}.") from None
    return listener


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that keeps a port for processes that will each bind it with `SO_REUSEPORT`.

    Connections never go to it, because it does not listen. A port with a listener is refused, even if that would share
    it.
    """
    with bind_to(host, port) as alone:
        port_number = alone.getsockname()[1]
    return bind_to(host, port_number, is_shared=True)


def join(reserved: socket.socket) -> socket.socket:
    """Return a socket that listens at the port that ``reserved`` keeps, beside those of other processes."""
    listener = socket.socket(reserved.family, reserved.type, reserved.proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(reserved.getsockname())
    listener.setblocking(False)
    listener.listen(_BACKLOG)
    return listener


def turn_away(listener: socket.socket) -> None:
    """Refuse new connections at a listening socket; established ones can still be accepted.

    Linux resets the connections in a socket's backlog when it is closed, although others listen at the same port. A
    refused client's SYN is sent again after a second, and reaches one of these. Elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _DROP_FIRST_PACKETS))
    program = struct.pack("HL", len(_DROP_FIRST_PACKETS), ctypes.addressof(code))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def url_of(listener: socket.socket) -> str:
    """Return what a client on this machine types."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


_LAST = 65_535


def _in_use(port: int) -> str:
    holder = holder_of(port)
    by = f" by {holder}" if holder else ""
    another = port + 1 if port < _LAST else port - 1
    return f"Port {port} is already in use{by}. Stop that first, or choose another port, e.g. `--port {another}`."


def holder_of(port: int, *, proc: Path = Path("/proc")) -> str | None:
    """Say which process listens on a TCP port, e.g. ``process 4711 (python -m http.server)``; Linux only.

    The processes of other users can be seen by root alone.
    """
    targets = {f"socket:[{inode}]" for inode in _listening_inodes(port, proc)}
    if not targets:
        return None
    for process in proc.iterdir():
        if process.name.isdigit() and _holds(process, targets):
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                return f"process {process.name} ({' '.join(words).strip()[:80]})"
    return None


def _listening_inodes(port: int, proc: Path) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / "net" / table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _holds(process: Path, targets: set[str]) -> bool:
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) in targets:
                    return True
    return False


def waiting_at(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections in the backlog."""
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection
