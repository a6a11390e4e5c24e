"""What the caller lends to a build: secrets, proxies, certificates, indexes; nothing of it stays in the image."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.containers.engines import BASE_IMAGE, KAPPAFILE, Door, build, write_project, write_wheel

pytestmark = [pytest.mark.engine, pytest.mark.index]

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
VARIABLES_OF_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
SECRET = "s3cret-7b1e5c"


def bundle_with(folder: Path, shared: Path, *changes: tuple[str, str], **variables: str) -> Path:
    text = KAPPAFILE
    for before, after in changes:
        text = text.replace(before, after)
    project = write_project(folder / "project", kappafile=text)
    return build(project, folder / "bundle", KAPPA_HOME=str(shared / "home"), **variables)


def holds(door: Door, image: str, text: str) -> bool:
    """Return whether an image has a text anywhere: in a file of a layer, or in its configuration and history."""
    history = door.ask("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    with subprocess.Popen([door.command, "save", image], env=dict(door.environ), stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        found, rest = text in history, b""
        while chunk := saving.stdout.read(1 << 20):
            found = found or text.encode() in rest + chunk
            rest = chunk[-len(text) :]
    return found


def test_a_text_in_a_layer_would_be_found(docker: Door, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE_IMAGE}\nRUN echo {SECRET} > /hidden && sleep 0\n")
    docker.ask("build", "--tag", "kappa-tests/leaky", str(tmp_path))
    assert holds(docker, "kappa-tests/leaky", SECRET)


READS_SECRETS = f"""[env]
setup_sh = '''#!/bin/bash
set -e
test "$(cat /run/secrets/token)" = {SECRET[:6]}"${{0:999}}"{SECRET[6:]}
grep -q {SECRET[:6]} /run/secrets/file
test -n "$FTP_PROXY"
'''"""
"""A script that holds the secret in two pieces, so that it is not found for this reason."""


def test_secrets_and_proxies_are_seen_by_the_build_and_by_nobody_later(
    door: Door, tmp_path: Path, shared: Path
) -> None:
    bundle = bundle_with(tmp_path, shared, ("[env]", READS_SECRETS))
    (tmp_path / "file").write_text(SECRET)
    words = [
        "--secret",
        "id=token,env=MY_TOKEN",
        "--secret",
        f"id=file,src={tmp_path / 'file'}",
        "--tag",
        "with-secret",
    ]
    variables = {"MY_TOKEN": SECRET, "FTP_PROXY": f"http://ada:{SECRET}@127.0.0.1:9"}
    if "BuildKit" not in door.title and door.builder != "podman":
        done = door.kappa("containerize", bundle, "--builder", door.builder, *words, **variables)
        assert done.returncode == 2
        assert "`--secret` needs a builder that can mount it: install BuildKit (`docker-buildx`)" in done.stderr
        return
    door.containerize(bundle, *words, **variables)
    assert not holds(door, "with-secret", SECRET)
    assert SECRET not in str(door.inspect("with-secret"))


def test_certificates_of_the_caller_let_pip_reach_the_index_and_stay_outside(
    door: Door, tmp_path: Path, shared: Path
) -> None:
    image = f"kappa-tests/without-certificates-{door.builder}"
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE_IMAGE}\nRUN rm -rf /etc/ssl/certs/*\n")
    door.ask("build", "--tag", image, str(tmp_path))
    bundle = bundle_with(tmp_path, shared, (BASE_IMAGE, image))
    without = dict.fromkeys(VARIABLES_OF_CERTIFICATES, "")
    at_once = ["--build-arg", "EXTRA_PIP_INSTALL_ARGS=--retries 0"]
    done = door.kappa("containerize", bundle, "--builder", door.builder, *at_once, **without)
    assert done.returncode == 6
    assert "The build does not trust the index's certificate: name the file of your certificates" in done.stderr
    door.containerize(bundle, "--tag", "trusting", **{**without, "SSL_CERT_FILE": CERTIFICATES})
    listed = door.ask("run", "--rm", "trusting", "bash", "-c", "ls -A /etc/ssl/certs /run /home/kappa/bundle")
    assert "kappa-ca.crt" not in listed
    assert ".kappa-lent" not in listed
    with door.running("trusting") as container:
        assert container.request("POST", "/add", {"x": 2})[1]["sum"] == 42
        assert container.run("kappa", "verify", "/home/kappa/bundle")


class _PrivateIndex(SimpleHTTPRequestHandler):
    """Serves a folder to those who know the password."""

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(f"ada:{SECRET}".encode()).decode()
        if self.headers.get("Authorization") == expected:
            super().do_GET()
        else:
            self.send_error(401)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def private_index(folder: Path, host: str) -> Iterator[str]:
    with ThreadingHTTPServer((host, 0), partial(_PrivateIndex, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://ada:{SECRET}@{host}:{server.server_port}"
        server.shutdown()
        thread.join()


def test_password_of_an_index_reaches_pip_and_no_layer(docker: Door, tmp_path: Path, shared: Path) -> None:
    host = docker.gateway
    write_wheel(tmp_path / "index" / "kappa-tests-plum", "kappa-tests-plum", "1.0")
    with private_index(tmp_path / "index", host) as address:
        lent = {"PIP_EXTRA_INDEX_URL": address, "PIP_TRUSTED_HOST": host}
        packages = ("[env]", '[env]\npip_packages = ["kappa-tests-plum==1.0"]')
        resolver = ('resolver = "uv"', 'resolver = "pip-compile"')
        bundle = bundle_with(tmp_path, shared, packages, resolver, **lent)
        docker.containerize(bundle, "--tag", "with-private-index", **lent)
        classic = Door("docker", docker.command, {**docker.environ, "DOCKER_BUILDKIT": "0"}, "")
        refused = classic.kappa("containerize", bundle, **lent)
    assert docker.ask("run", "--rm", "with-private-index", "python3", "-c", "import kappa_tests_plum") == ""
    assert not holds(docker, "with-private-index", SECRET)
    assert refused.returncode == 6
    assert "warning: `PIP_EXTRA_INDEX_URL` holds a password, which this builder could not keep out" in refused.stderr
    assert SECRET not in refused.stderr
