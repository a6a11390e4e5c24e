"""Names of images: what is one, what a bundle's is, and whose registry it goes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.containers.facts import ImageFacts, pinned
from kappa.errors import ContainerError
from kappa.images import check_image, default_image, registry_of
from kappa.tag import IDENTIFIER, Tag


@pytest.mark.parametrize(
    "image",
    [
        "iris",
        "iris:1.0",
        "team/iris",
        "registry.example.org/team/iris:1.0",
        "localhost:5000/a__b-c.d:_x",
        "[::1]:5000/a",
    ],
)
def test_names_that_docker_takes_are_taken(image: str) -> None:
    assert check_image(image) == image


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("Iris:1.0", "`Iris:1.0` cannot name an image, which has no capital letters: write `iris:1.0`"),
        ("", "`` cannot name an image: write `name:tag` or `registry.example.org/team/name:tag`"),
        ("iris:", "`iris:` cannot name an image: write `name:tag` or `registry.example.org/team/name:tag`"),
        ("a b", "`a b` cannot name an image: write `name:tag` or `registry.example.org/team/name:tag`"),
        ("-x", "`-x` cannot name an image: write `name:tag` or `registry.example.org/team/name:tag`"),
        ("iris\n", "`iris\n` cannot name an image: write `name:tag` or `registry.example.org/team/name:tag`"),
        ("a___b", "`a___b` cannot name an image: write `name:tag` or `registry.example.org/team/name:tag`"),
    ],
)
def test_other_names_are_refused_with_how_to_write_one(image: str, said: str) -> None:
    with pytest.raises(ValueError, match="cannot name an image") as caught:
        check_image(image)
    assert str(caught.value) == said


@given(
    name=st.from_regex(IDENTIFIER, fullmatch=True), version=st.from_regex(r"[A-Za-z0-9][\w.-]{0,20}", fullmatch=True)
)
def test_every_bundle_has_a_name_for_its_image(name: str, version: str) -> None:
    if version.isascii():
        image = default_image(Tag(name, version))
        assert check_image(image) == image
        assert image.endswith(f":{version}")


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("iris:1", "docker.io"),
        ("team/iris", "docker.io"),
        ("ghcr.io/team/iris:1", "ghcr.io"),
        ("localhost/iris", "localhost"),
        ("127.0.0.1:5000/iris", "127.0.0.1:5000"),
    ],
)
def test_the_registry_of_an_image_is_its_first_part_if_that_is_a_host(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_image_is_pinned_by_the_digest_of_its_registry() -> None:
    digest = f"sha256:{'0' * 64}"
    facts = ImageFacts("sha256:1", 1, (f"localhost/python@sha256:{'1' * 64}", f"docker.io/library/python@{digest}"))
    assert pinned("python:3.11-slim", facts) == f"python:3.11-slim@{digest}"
    assert pinned(f"python@{digest}", facts) == f"python@{digest}"
    with pytest.raises(ContainerError, match="`mine:1` comes from no registry"):
        pinned("mine:1", ImageFacts("sha256:1", 1, ()))
