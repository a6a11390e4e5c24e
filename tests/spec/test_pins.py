"""Pins are read back as they were written, from whatever resolver."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kappa.spec.pins import Pin, pins_of, unite

BODY = """\
--index-url https://example.org/simple
# a comment at the top
apple==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via
    #   -r requirements.in
    #   pear
pear @ https://example.org/pear.zip;x=1 ; sys_platform == 'linux' \\
    --hash=sha256:cc
plum[stone]==2.0 ; sys_platform != "win32" \\
    --hash=sha256:dd
quince==1.0  # via pear
Rowan_Tree==1.0 --hash=sha256:ee
"""


def test_every_form_of_a_pin_is_read() -> None:
    assert list(pins_of(BODY)) == [
        Pin(
            "apple==1.0",
            ("sha256:aa", "sha256:bb"),
            ("    # via", "    #   -r requirements.in", "    #   pear"),
        ),
        Pin("pear @ https://example.org/pear.zip;x=1 ; sys_platform == 'linux'", ("sha256:cc",)),
        Pin('plum[stone]==2.0 ; sys_platform != "win32"', ("sha256:dd",)),
        Pin("quince==1.0", (), ("    # via pear",)),
        Pin("Rowan_Tree==1.0", ("sha256:ee",)),
    ]


def test_name_version_and_marker_of_a_pin() -> None:
    assert [(pin.name, pin.version, pin.marker) for pin in pins_of(BODY)] == [
        ("apple", "1.0", ""),
        ("pear", "https://example.org/pear.zip;x=1", "sys_platform == 'linux'"),
        ("plum", "2.0", 'sys_platform != "win32"'),
        ("quince", "1.0", ""),
        ("rowan-tree", "1.0", ""),
    ]


names = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
digests = st.from_regex(r"sha256:[0-9a-f]{4}", fullmatch=True)
pins = st.builds(
    lambda name, major, marker, hashes, needed_by: Pin(
        f"{name}=={major}{marker}", tuple(hashes), tuple(f"    # via {one}" for one in needed_by)
    ),
    names,
    st.integers(0, 99),
    st.sampled_from(["", " ; sys_platform == 'linux'"]),
    st.lists(digests, max_size=3),
    st.lists(names, max_size=2),
)


@given(st.lists(pins))
def test_what_is_united_is_read_back(chosen: list[Pin]) -> None:
    assert list(pins_of(unite(chosen))) == chosen
