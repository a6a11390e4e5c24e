"""The Dockerfile as builders get it, with mounts or with files in their place."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from kappa.containers.context import lent_context, open_context
from kappa.containers.recipes import with_lent_files, with_mounts
from kappa.containers.request import ImageRequest
from kappa.errors import UsageError
from kappa.images import Secret
from kappa.log import listening

DOCKERFILE = """\
# RUN in a comment
FROM base AS packages
RUN KAPPA_COMPILER=apt bash ./kappa-init.sh install_pip_packages
run ["bash", "-c", "true"]
ENV A="x \\
RUN not an instruction"
RUN <<EOF
RUN in a document
EOF
COPY . /layers/bundle
"""


def test_run_lines_and_no_others_get_mounts() -> None:
    secrets = "--mount=type=secret,id=a --mount=type=secret,id=b "
    cache = "--mount=type=cache,id=kappa-pip,target=/var/cache/kappa "
    expected = DOCKERFILE.replace("RUN KAPPA", f"RUN {cache}{secrets}KAPPA")
    expected = expected.replace("run [", f"run {secrets}[").replace("RUN <<EOF", f"RUN {secrets}<<EOF")
    assert with_mounts(DOCKERFILE, secrets=["a", "b"]) == expected


def test_without_secrets_only_pip_gets_a_mount() -> None:
    changed = set(with_mounts(DOCKERFILE, secrets=[]).splitlines()) - set(DOCKERFILE.splitlines())
    cache = "--mount=type=cache,id=kappa-pip,target=/var/cache/kappa"
    assert changed == {f"RUN {cache} KAPPA_COMPILER=apt bash ./kappa-init.sh install_pip_packages"}


def test_without_mounts_the_stage_of_packages_gets_files_and_the_image_none_of_them() -> None:
    given = "COPY .kappa-lent/ca /run/secrets/ca\nARG PIP_INDEX_URL\n"
    expected = DOCKERFILE.replace("AS packages\n", f"AS packages\n{given}")
    expected = expected.replace("/layers/bundle\n", "/layers/bundle\nRUN rm -rf /layers/bundle/.kappa-lent\n")
    assert with_lent_files(DOCKERFILE, files=["ca"], arguments=["PIP_INDEX_URL"]) == expected


@pytest.fixture
def asked(tmp_path: Path) -> ImageRequest:
    bundle = tmp_path / "bundle"
    (bundle / "code").mkdir(parents=True)
    (bundle / "Dockerfile").write_text(DOCKERFILE)
    (bundle / "code" / "a.py").write_text("pass\n")
    (bundle / "code" / "__pycache__").mkdir()
    (bundle / "code" / "__pycache__" / "a.pyc").write_bytes(b"x")
    (tmp_path / "ca").write_text("certificates")
    lent = (Secret("kappa-ca.crt", tmp_path / "ca"), Secret("PIP_INDEX_URL", variable="PIP_INDEX_URL"))
    return ImageRequest(bundle, "base", ("iris:1",), lent=lent)


def test_context_that_is_sent_holds_the_bundle_as_it_is_and_what_is_lent_beside_it(asked: ImageRequest) -> None:
    context = lent_context(asked, {"PIP_INDEX_URL": "https://index.example.org"})
    with open_context(asked.directory, context.files) as stream:
        data = stream.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {member.name: tar.extractfile(member).read().decode() for member in tar}  # type: ignore[union-attr]
        owners = {(member.uid, member.gid, member.uname) for member in tar}
    assert members == {
        ".kappa-lent/Dockerfile": with_lent_files(DOCKERFILE, files=["kappa-ca.crt"], arguments=["PIP_INDEX_URL"]),
        ".kappa-lent/kappa-ca.crt": "certificates",
        "Dockerfile": DOCKERFILE,
        "code/a.py": "pass\n",
    }
    assert owners == {(0, 0, "")}


def test_context_that_nobody_reads_to_its_end_is_no_error(asked: ImageRequest) -> None:
    (asked.directory / "big").write_bytes(bytes(1 << 20))
    with open_context(asked.directory, {}) as stream:
        assert stream.read(10)


def test_password_of_an_index_is_never_sent_as_an_argument(asked: ImageRequest) -> None:
    said: list[tuple[str, str]] = []
    with listening(lambda message, kind: said.append((kind, message))):
        context = lent_context(asked, {"PIP_INDEX_URL": "https://ada:s3cret@index.example.org"})
    assert context.arguments == ()
    assert [kind for kind, _ in said] == ["warning"]
    assert "s3cret" not in str(said) + str(context.files)


def test_secret_is_refused_where_it_would_have_to_be_sent(asked: ImageRequest) -> None:
    secret = ImageRequest(asked.directory, "base", ("iris:1",), secrets=(Secret("x", variable="X"),))
    with pytest.raises(UsageError, match="`--secret` needs a builder that can mount it"):
        lent_context(secret, {"X": "1"})
