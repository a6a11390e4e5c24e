"""On which versions a service was tried, and which ones it gets."""

from __future__ import annotations

import platform
from importlib import metadata

import pytest

from kappa.services.versions import names_asked_for, say_differences, say_versions, versions_here, versions_pinned

LOCK = """\
# kappa-lock: 2 inputs=sha256:0
# kappa-input: import acme_yaml -> Acme.YAML==6.0
# kappa-input: import cv2 -> user opencv-python-headless
# kappa-input: import orjson -> none
# kappa-input: kappa falcon>=4.2
# kappa-input: model numpy.core -> numpy==1.26.4
# kappa-input: plugin scikit-learn -> scikit-learn==1.3.2
# kappa-input: user requests[socks]>=2 ; python_version > "3" --hash=sha256:00
numpy==1.26.4 \\
    --hash=sha256:00
scikit-learn==1.3.2 \\
    --hash=sha256:00
"""


def test_what_was_asked_for_is_read_from_the_record_of_a_lock() -> None:
    assert names_asked_for(LOCK) == [
        "acme-yaml",
        "numpy",
        "opencv-python-headless",
        "requests",
        "scikit-learn",
    ]
    assert names_asked_for("falcon==4.4.0\n") == []


@pytest.mark.parametrize(
    ("installed", "differs"),
    [("1.26.4", False), ("1.26.4+cpu", False), ("2.4.6", True), (None, False)],
)
def test_versions_that_are_not_those_of_the_lock_are_told(
    monkeypatch: pytest.MonkeyPatch, installed: str | None, differs: bool
) -> None:
    def version(name: str) -> str:
        if name != "numpy" or installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(metadata, "version", version)
    found = versions_here(names_asked_for(LOCK), versions_pinned(LOCK))
    listed = f" with numpy {installed}" if installed else ""
    assert say_versions(found) == f"Ran on Python {platform.python_version()}{listed}."
    assert say_differences(found) == (
        f"The bundle has other versions than run here, so it may answer otherwise: numpy {installed} (1.26.4 there)."
        if differs
        else ""
    )
