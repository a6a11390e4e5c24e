"""`kappa gamma-service-start` as an operator starts, probes and stops it."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from kappa.cli.main import cli
from kappa.errors import BundleNotFoundError
from kappa.gamma.clients.connecting import connect
from kappa.gamma.database.engine import open_database, sqlite_url
from kappa.gamma.wire.proto.descriptors import SERVICE, methods
from kappa.tag import BundleReference
from tests.eventually import eventually
from tests.gamma.processes import gamma_process

PAGE = """\
  --db-url TEXT         Database URL following RFC-1738, and usually can
                        include username, password, hostname, database name as
                        well as optional keyword arguments for additional
                        configuration
  --repo-base-url TEXT  Base URL for storing saved BentoService bundle files,
                        this can be a filesystem path(POSIX/Windows), or an S3
                        URL, usually starts with "s3://"
  --grpc-port INTEGER   Port for Gamma server
  --ui-port INTEGER     Port for Gamma web UI
  --ui / --no-ui        Start Kappa GammaService without Web UI
"""


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_help_begins_as_the_page_prints_it() -> None:
    text = CliRunner().invoke(cli, ["gamma-service-start", "--help"], prog_name="kappa").output
    assert words(text).startswith(
        "Usage: kappa gamma-service-start [OPTIONS] Start Kappa GammaService for model management and deployment"
    )
    assert words(PAGE) in words(text)


@pytest.mark.engine
def test_the_banner_is_the_pages(kappa_home: Path) -> None:
    with gamma_process(kappa_home) as server:
        assert re.fullmatch(
            r"\* Starting Kappa GammaService gRPC Server\n"
            r"\* Debug mode: off\n"
            r"\* Web UI: running on http://127\.0\.0\.1:\d+\n"
            r"\* Running on 127\.0\.0\.1:\d+ \(Press CTRL\+C to quit\)\n"
            r"\* Usage: `kappa config set gamma_service\.url=127\.0\.0\.1:\d+`\n"
            r"\* Help and instructions: .*\n"
            rf"\* Web server log can be found here: {re.escape(str(kappa_home))}/logs/gamma_web_server\.log\n",
            server.banner,
        )
        assert httpx.get(f"{server.http}/api/v1/bundles", headers={"X-Request-Id": "mine"}).json() == []
        assert "THIS SERVER HAS NO AUTHENTICATION" in "".join(server.errors)
        assert server.stop(signal.SIGINT) == 0
    assert "ListBundles ok" in (kappa_home / "logs" / "gamma_web_server.log").read_text()


@pytest.mark.engine
def test_a_server_says_whether_it_can_be_used_and_what_it_offers(kappa_home: Path) -> None:
    with gamma_process(kappa_home) as server:
        assert httpx.get(f"{server.http}/healthz").status_code == 200
        assert httpx.get(f"{server.http}/readyz").status_code == 200
        with grpc.insecure_channel(server.grpc) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            for service in ("", SERVICE):
                answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            reflected: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"),
            ]
            services, own, health = list(reflected.ServerReflectionInfo(iter(asked)))
            names = {service.name for service in services.list_services_response.service}
            assert names == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
            assert len(own.file_descriptor_response.file_descriptor_proto) >= 1
            assert len(health.file_descriptor_response.file_descriptor_proto) >= 1


@pytest.mark.engine
def test_clients_of_both_doors_get_the_words_of_the_registry(kappa_home: Path) -> None:
    with gamma_process(kappa_home) as server:
        for url in (server.grpc, server.http):
            client = connect(url)
            with pytest.raises(BundleNotFoundError, match="There is no bundle `Iris:latest`"):
                client.resolve(BundleReference("Iris"))
            client.close()


@pytest.mark.engine
def test_variables_stand_for_options_and_no_ui_opens_no_port(kappa_home: Path, tmp_path: Path) -> None:
    environ = {
        "KAPPA_GAMMA_UI": "false",
        "KAPPA_GAMMA_DB_URL": sqlite_url(tmp_path / "team.db"),
        "KAPPA_GAMMA_REPO_BASE_URL": str(tmp_path / "bundles"),
        "KAPPA_GAMMA_LOG_FORMAT": "json",
    }
    with gamma_process(kappa_home, environ=environ) as server:
        assert "* Web UI: off\n" in server.banner
        client = connect(server.grpc)
        assert client.list_bundles() == []
        client.close()
        assert server.stop() == 0
    lines = [json.loads(line) for line in server.errors]
    assert {"level", "message", "time"} <= set(lines[0])
    (asked,) = [line for line in lines if line.get("operation") == "ListBundles"]
    assert (asked["door"], asked["outcome"]) == ("grpc", "ok")
    assert (tmp_path / "team.db").is_file()


@pytest.mark.engine
def test_a_running_transfer_ends_well_after_sigterm(kappa_home: Path) -> None:
    with gamma_process(kappa_home) as server:
        host, port = server.grpc.rsplit(":", 1)
        http = httpx.URL(server.http)
        assert http.port is not None
        with socket.create_connection((host, http.port)) as connection:
            body = b'{"tags": []}'
            head = f"POST /api/v1/deletions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            head += "Content-Type: application/json\r\nIdempotency-Key: 1\r\n\r\n"
            connection.sendall(head.encode() + body[:3])
            channel = grpc.insecure_channel(server.grpc)
            health: Any = health_pb2_grpc.HealthStub(channel)
            watched = health.Watch(health_pb2.HealthCheckRequest())
            assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
            server.process.send_signal(signal.SIGTERM)
            assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
            connection.sendall(body[3:])
            answer = connection.recv(65536)
            watched.cancel()
            channel.close()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert server.process.wait(60) == 0
        assert port


@pytest.mark.engine
def test_a_server_with_authentication_answers_tokens_alone(kappa_home: Path, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "team.db")
    with gamma_process(kappa_home, "--auth", "--db-url", url) as server:
        assert server.process.wait(60) == 3
    advice = "`kappa gamma-token create admin --role admin --db-url URL`"
    assert f"needs a token of an admin, and has none. Make one: {advice}" in words("".join(server.errors))
    made = CliRunner().invoke(cli, ["gamma-token", "create", "admin", "--role", "admin", "--db-url", url])
    token = made.stdout.strip()
    with gamma_process(kappa_home, "--db-url", url, environ={"KAPPA_GAMMA_AUTH": "true"}) as server:
        assert "* Authentication: clients need a token of `kappa gamma-token create`\n" in server.banner
        bundles = f"{server.http}/api/v1/bundles"
        assert httpx.get(bundles).status_code == 401
        assert httpx.get(bundles, headers={"Authorization": f"Bearer {token}"}).json() == []
        assert httpx.get(f"{server.http}/readyz").status_code == 200
        method = methods()["GetInfo"]
        with grpc.insecure_channel(server.grpc) as channel:
            ask = channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            info: Any = ask(method.request(), metadata=(("authorization", f"Bearer {token}"),))
            assert info.has_authentication
            with pytest.raises(grpc.RpcError) as caught:
                ask(method.request())
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            health: Any = health_pb2_grpc.HealthStub(channel)
            assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        assert CliRunner().invoke(cli, ["gamma-token", "revoke", "admin", "--db-url", url]).exit_code == 0
        assert httpx.get(bundles, headers={"Authorization": f"Bearer {token}"}).status_code == 401
        assert server.stop() == 0
    log = "".join(server.errors) + (kappa_home / "logs" / "gamma_web_server.log").read_text()
    assert "AUTHENTICATION" not in log
    assert token.rpartition("_")[2] not in log


@pytest.mark.engine
def test_a_database_that_a_newer_kappa_made_is_refused(kappa_home: Path, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "team.db")
    engine = open_database(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with gamma_process(kappa_home, "--db-url", url) as server:
        assert server.process.wait(60) == 7
    assert "a newer one made it. Upgrade Kappa." in words("".join(server.errors))
    assert server.banner == ""


@pytest.mark.engine
@pytest.mark.parametrize("option", ["--grpc-port", "--ui-port"])
def test_a_port_that_is_taken_is_named_with_its_option(kappa_home: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"--grpc-port": "0", "--ui-port": "0", option: port}
        with gamma_process(kappa_home, *(word for pair in ports.items() for word in pair)) as server:
            assert server.process.wait(60) == 2
    text = words("".join(server.errors))
    assert port in text
    assert option in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--db-url", "nonsense"], 3, "`nonsense` is not the URL of a database."),
        (["--db-url", "mysql://ada:secret@db/x"], 3, "is of a database that Kappa does not know, `mysql`"),
        (["--db-url", "sqlite://"], 3, "names no file"),
        (["--tls-client-ca", __file__], 2, "give `--tls-cert` and `--tls-key` as well"),
        (["--tls-cert", __file__], 2, "give `--tls-cert` and `--tls-key`"),
        (["--tls-cert", __file__, "--tls-key", __file__], 3, "cannot be used"),
        (["--grpc-port", "4000", "--ui-port", "4000"], 2, "cannot both listen on port 4000"),
        (["--host", "no such host"], 2, "`no such host` is not an address"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: list[str], code: int, message: str) -> None:
    ports = [] if "--grpc-port" in arguments else ["--grpc-port", "0", "--ui-port", "0"]
    result = CliRunner().invoke(cli, ["gamma-service-start", "--host", "127.0.0.1", *ports, *arguments])
    assert (result.exit_code, message in words(result.output)) == (code, True), result.output
    assert "secret" not in result.output


@pytest.mark.engine
def test_a_registry_that_goes_away_and_comes_back_is_seen_by_probes(kappa_home: Path, tmp_path: Path) -> None:
    database = tmp_path / "team.db"
    with gamma_process(kappa_home, "--db-url", sqlite_url(database)) as server:
        assert httpx.get(f"{server.http}/readyz").status_code == 200
        content = database.read_bytes()
        database.write_bytes(b"no database, " * 1000)
        eventually(lambda: httpx.get(f"{server.http}/readyz").status_code == 503)
        assert httpx.get(f"{server.http}/healthz").status_code == 200
        database.write_bytes(content)
        eventually(lambda: httpx.get(f"{server.http}/readyz").status_code == 200)


@pytest.mark.engine
def test_fifty_clients_at_once_are_answered(kappa_home: Path) -> None:
    with gamma_process(kappa_home) as server:
        answers: list[object] = []

        def ask(url: str) -> None:
            client = connect(url)
            answers.append(client.list_bundles())
            client.close()

        threads = [threading.Thread(target=ask, args=((server.grpc, server.http)[i % 2],)) for i in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert answers == [[]] * 50
