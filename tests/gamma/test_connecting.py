"""How a client reaches a server: forms of its address, servers that are away, transfers that stand still, TLS."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest

from kappa.errors import ConfigurationError, GammaError, GammaUnreachableError, MissingDependencyError
from kappa.gamma.access.gate import OpenGate
from kappa.gamma.clients.addresses import Address, parse_address
from kappa.gamma.clients.connecting import connect
from kappa.gamma.clients.retrying import resumed, retrying
from kappa.gamma.doors.exchanges import Exchanges
from kappa.gamma.doors.grpc_door import GrpcDoor
from kappa.gamma.doors.tls import ServerTls
from kappa.gamma.wire.chunks import CHUNK_BYTES, in_chunks
from kappa.gamma.wire.idle import IdleWatch
from kappa.settings import GammaSettings
from kappa.tag import BundleReference
from tests.eventually import eventually
from tests.gamma.canned import CONTENT, DIGEST, RECORD, TAG, CannedRegistry
from tests.gamma.servers import Protocol, serving

# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("gamma:50051", Address("grpc", "gamma", 50051), "gamma:50051"),
        ("10.0.0.7:50052", Address("grpc", "10.0.0.7", 50052), "10.0.0.7:50052"),
        ("gamma.example.org", Address("grpc", "gamma.example.org", 50051), "gamma.example.org:50051"),
        ("[::1]:50051", Address("grpc", "[::1]", 50051), "[::1]:50051"),
        ("[fe80::1]", Address("grpc", "[fe80::1]", 50051), "[fe80::1]:50051"),
        ("grpc://gamma:1", Address("grpc", "gamma", 1), "gamma:1"),
        ("GRPCS://gamma/", Address("grpc", "gamma", 50051, is_encrypted=True), "grpcs://gamma:50051"),
        ("http://gamma:3000", Address("http", "gamma", 3000), "http://gamma:3000"),
        ("http://gamma", Address("http", "gamma", 80), "http://gamma:80"),
        (
            "https://example.org/tools/gamma/",
            Address("http", "example.org", 443, is_encrypted=True, prefix="/tools/gamma"),
            "https://example.org:443/tools/gamma",
        ),
    ],
)
def test_an_address_is_read(text: str, address: Address, shown: str) -> None:
    assert parse_address(text) == address
    assert str(address) == shown
    assert parse_address(shown) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has no host"),
        (":50051", "it has no host"),
        ("gamma:port", "`port` is not a port"),
        ("gamma:0", "`0` is not a port"),
        ("gamma:65536", "`65536` is not a port"),
        ("ftp://gamma", "`ftp` is not a protocol of it"),
        ("grpc://gamma:1/path", "there is something after its port that does not belong there"),
        ("http://gamma/?a=b", "there is something after its port that does not belong there"),
        ("https://ada:secret@gamma", "it holds a user or a password, which it must not"),
        ("ga mma:1", "`ga mma` is not a host"),
        ("::1", "` is not a host"),
        ("[::1", "it is not a URL"),
    ],
)
def test_what_is_not_an_address_is_refused_with_the_forms(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        connect(text)
    assert reason in str(caught.value)
    assert "Give `HOST:PORT`, `grpc://HOST:PORT`" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("package", ["grpc", "google.protobuf"])
def test_without_grpc_an_address_of_it_says_what_to_install_or_to_write(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError) as caught:
        connect("gamma:50051")
    assert str(caught.value) == (
        "The Gamma server `gamma:50051` needs `kappa-ml[gamma]`, which is not installed here. "
        "Run `pip install 'path/to/kappa[gamma]'`, or give the address of its web port, like `http://gamma:3000`."
    )


def test_without_httpx_an_address_of_http_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingDependencyError, match=r"needs `kappa-ml\[client\]`"):
        connect("http://gamma:3000")


# -- servers that are away ---------------------------------------------------------------------------------------------


@pytest.fixture
def nobody() -> int:
    """Return a port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize(
    "form", ["127.0.0.1:{}", "grpcs://127.0.0.1:{}", "http://127.0.0.1:{}", "https://127.0.0.1:{}"]
)
def test_a_server_that_is_away_is_named_with_what_to_do(nobody: int, form: str) -> None:
    url = form.format(nobody)
    client = connect(url)
    with pytest.raises(GammaUnreachableError) as caught:
        client.resolve(BundleReference("Iris"))
    client.close()
    assert str(caught.value).startswith(f"The Gamma server `{url}` does not answer: Connection refused. ")
    for advice in ("kappa gamma-service-start", "kappa config set gamma_service.url=HOST:PORT", "--local"):
        assert f"`{advice}`" in str(caught.value)
    assert caught.value.exit_code == 7


def test_grpc_writes_nothing_of_its_own_about_a_handshake_that_fails() -> None:
    script = (
        "import sys\n"
        "from kappa.gamma.clients.connecting import connect\n"
        "from kappa.errors import GammaUnreachableError\n"
        "try:\n    connect(sys.argv[1]).info()\n"
        "except GammaUnreachableError:\n    print('away')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    with serving(CannedRegistry()) as served:
        url = served.url("grpc").replace("grpc://", "")
        words = [sys.executable, "-c", script, f"grpcs://{url}"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("away\n", "")


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_something_else_that_listens_there_is_no_gamma_server(form: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    thread = threading.Thread(target=answer)
    thread.start()
    client = connect(form.format(listener.getsockname()[1]))
    try:
        with pytest.raises(GammaError, match=r"does not answer|not as a Gamma server does"):
            client.info()
    finally:
        client.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_attempts_end_within_five_seconds_with_one_that_takes_its_time_to_connect() -> None:
    clock = Clock()
    starts: list[float] = []

    def ask() -> None:
        starts.append(clock.now)
        clock.now += 2.0
        raise GammaUnreachableError("away")

    with pytest.raises(GammaUnreachableError, match="away"):
        retrying(ask, clock=clock, sleep=clock.sleep, jitter=lambda: 0.9)
    assert clock.now < 5
    assert len(starts) > 1


def test_pauses_double_and_are_cut_at_random() -> None:
    clock = Clock()
    starts: list[float] = []

    def ask() -> str:
        starts.append(clock.now)
        if len(starts) < 5:
            raise GammaUnreachableError("away")
        return "here"

    assert retrying(ask, clock=clock, sleep=clock.sleep, jitter=lambda: 0.5) == "here"
    assert starts == pytest.approx([0, 0.05, 0.15, 0.35, 0.75])


def test_what_a_server_refuses_is_not_asked_again() -> None:
    calls: list[int] = []

    def ask() -> None:
        calls.append(1)
        raise GammaError("no")

    with pytest.raises(GammaError, match="no"):
        retrying(ask)
    assert calls == [1]


# -- transfers ---------------------------------------------------------------------------------------------------------


def test_a_read_goes_on_where_the_connection_broke() -> None:
    offsets: list[int] = []

    def read(offset: int) -> Iterator[bytes]:
        offsets.append(offset)
        for start in range(offset, 100, 10):
            if start in (30, 40) and offset < start:
                raise GammaUnreachableError("broken")
            yield CONTENT[start : start + 10]

    assert b"".join(resumed(read, offset=0)) == CONTENT[:100]
    assert offsets == [0, 30, 40]


def test_a_read_that_is_refused_raises_at_once() -> None:
    def read(offset: int) -> Iterator[bytes]:
        raise GammaError("no")
        yield b""

    with pytest.raises(GammaError, match="no"):
        resumed(read, offset=0)


def test_chunks_are_cut_to_what_a_message_holds() -> None:
    content = CONTENT[: CHUNK_BYTES * 2 + 1]
    assert list(map(len, in_chunks([content, b"", b"end"]))) == [CHUNK_BYTES, CHUNK_BYTES, 1, 3]
    assert b"".join(in_chunks([content, b"end"])) == content + b"end"


def test_a_transfer_that_stands_still_is_stopped_and_one_that_moves_is_not() -> None:
    stopped = threading.Event()
    with IdleWatch(stopped.set, limit_s=0.01) as watch:
        assert stopped.wait(60)
        assert watch.has_expired
    with IdleWatch(stopped.clear, limit_s=60) as watch:
        watch.touch()
    assert not watch.has_expired
    assert stopped.is_set()


def test_a_client_that_sends_nothing_more_does_not_keep_the_server(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="kappa.gamma")
    door = GrpcDoor(OpenGate(CannedRegistry()), Exchanges(), idle_s=0.05)
    port = door.listen("127.0.0.1", 0)
    door.start()
    client = connect(f"127.0.0.1:{port}")
    enough = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"begin"
        enough.wait(60)

    failures: list[BaseException] = []

    def write() -> None:
        try:
            client.write_blob("session-1", DIGEST, 0, chunks())
        except GammaUnreachableError as exc:
            failures.append(exc)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        eventually(lambda: [record for record in caplog.records if "WriteBlob gone" in record.getMessage()])
        thread.join(60)
        assert [type(failure) for failure in failures] == [GammaUnreachableError]
    finally:
        enough.set()
        client.close()
        door.stop(0)


# -- TLS ---------------------------------------------------------------------------------------------------------------


class Authority:
    """Certificates of a test."""

    def __init__(self, folder: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec

        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"CA of {folder.name}")])
        self.ca, _ = self._write("ca", self._name, self._key.public_key(), is_ca=True), None

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate and its key."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        file = self._folder / f"{name}.key"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return self._write(name, subject, key.public_key(), is_ca=False), file

    def _write(self, name: str, subject: object, key: object, *, is_ca: bool) -> Path:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        now = datetime.now(timezone.utc)
        builder = (
            x509.CertificateBuilder(issuer_name=self._name, subject_name=subject, public_key=key)  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        file = self._folder / f"{name}.pem"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return file


@pytest.fixture
def authority(tmp_path: Path) -> Callable[[str], Authority]:
    def make(name: str) -> Authority:
        (folder := tmp_path / name).mkdir()
        return Authority(folder)

    return make


def test_requests_to_a_server_are_not_logged_among_those_of_the_user(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="httpx")
    with serving(CannedRegistry()) as served:
        with closing(connect(served.http)) as registry:
            registry.info()
        httpx.get(f"{served.http}/healthz")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert "/healthz" in line


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_with_tls_answers_who_trusts_its_certificates(
    authority: Callable[[str], Authority], protocol: Protocol
) -> None:
    ours, others = authority("ours"), authority("others")
    cert, key = ours.issue("server")
    with serving(CannedRegistry(), tls=ServerTls(cert, key)) as served:
        client = connect(served.url(protocol), GammaSettings(tls_ca=str(ours.ca)))
        assert client.resolve(BundleReference("Iris")) == RECORD
        assert b"".join(client.read_blob(TAG, DIGEST)) == CONTENT
        client.close()
        stranger = connect(served.url(protocol), GammaSettings(tls_ca=str(others.ca)))
        with pytest.raises(GammaUnreachableError, match=r"gamma_service\.tls_ca"):
            stranger.info()
        stranger.close()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_with_a_ca_of_clients_answers_those_with_a_certificate(
    authority: Callable[[str], Authority], protocol: Protocol
) -> None:
    ours = authority("ours")
    cert, key = ours.issue("server")
    client_cert, client_key = ours.issue("client")
    with serving(CannedRegistry(), tls=ServerTls(cert, key, client_ca=ours.ca)) as served:
        settings = GammaSettings(tls_ca=str(ours.ca), tls_cert=str(client_cert), tls_key=str(client_key))
        client = connect(served.url(protocol), settings)
        assert client.resolve(BundleReference("Iris")) == RECORD
        client.close()
        nameless = connect(served.url(protocol), GammaSettings(tls_ca=str(ours.ca)))
        with pytest.raises(GammaUnreachableError):
            nameless.info()
        nameless.close()


@pytest.mark.parametrize("form", ["grpcs://127.0.0.1:1", "https://127.0.0.1:1"])
def test_certificates_that_cannot_be_read_are_named(tmp_path: Path, form: str) -> None:
    with pytest.raises(ConfigurationError, match=r"gamma_service\.tls_ca"):
        connect(form, GammaSettings(tls_ca=str(tmp_path / "absent.pem")))
