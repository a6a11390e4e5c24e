"""The reader of `.npy`: what NumPy writes comes back; what lies is refused before it takes memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kappa.adapters import NdarrayInput, PytorchTensorInput, TfTensorInput
from kappa.adapters.media_types import NPY
from kappa.adapters.npy import array_of_npy
from kappa.errors import BadInputError
from kappa.types import DecodingLimits, Payload

ADAPTERS = [NdarrayInput(), NdarrayInput(dtype="str"), PytorchTensorInput(dtype="float32"), TfTensorInput()]


def npy(
    header: str | bytes, data: bytes = b"", *, version: tuple[int, int] = (1, 0), length: int | None = None
) -> bytes:
    text = header if isinstance(header, bytes) else header.encode("latin-1")
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + size + text + data


def header_of(descr: str, shape: str, order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@given(
    st.sampled_from(["?", "i1", "<i2", ">i4", "<u8", ">f2", "<f4", ">f8", "<c8", "<U3", ">U2", "S4"]).flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            arrays.array_shapes(max_dims=4, max_side=3),
            elements=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=2)
            if "U" in dtype
            else None,
        )
    ),
    st.sampled_from([(1, 0), (2, 0), (3, 0)]),
    st.booleans(),
)
def test_what_numpy_saves_is_read(array: Any, version: tuple[int, int], is_fortran: bool) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asfortranarray(array) if is_fortran else array, version=version)
    found = array_of_npy(Payload(buffer.getvalue(), NPY))
    np.testing.assert_array_equal(found, array.astype(found.dtype))
    assert (found.dtype.isnative, found.flags.writeable, found.dtype.kind) == (
        True,
        True,
        "O" if array.dtype.kind in "US" else array.dtype.kind,
    )


@pytest.mark.parametrize(
    "header",
    [
        '{"shape": (2,), "fortran_order": False, "descr": "<i2"}',
        "{'fortran_order':False,'descr':'<i2','shape':(2,)}   \n",
        "{ 'descr' : '<i2' , 'fortran_order' : True , 'shape' : ( 2 , ) , }",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (2L,), }",
    ],
    ids=["double quotes", "no blanks", "blanks", "Python 2"],
)
def test_what_other_programs_write_is_read(header: str) -> None:
    assert array_of_npy(Payload(npy(header, b"\1\0\2\0"), NPY)).tolist() == [1, 2]


BOMBS = {
    "empty texts": npy(header_of("'<U0'", "(100000000,)")),
    "empty bytes": npy(header_of("'|S0'", "(1000000000,)")),
    "empty voids": npy(header_of("'|V0'", "(1000000000,)")),
    "unsized texts": npy(header_of("'<U'", "(100000000,)")),
    "no values in rows": npy(header_of("'<f8'", "(1099511627776, 0)")),
    "no values in axes": npy(header_of("'<f8'", "(4611686018427387904, 4611686018427387904, 0)")),
    "no rows": npy(header_of("'<f8'", "(0, 4611686018427387904)")),
    "more rows than bytes": npy(header_of("'|u1'", "(1000000000000,)"), b"\1"),
    "product over 64 bits": npy(header_of("'|u1'", "(4294967296, 4294967296, 4)"), b"\1"),
    "huge size": npy(header_of("'|u1'", "(99999999999999999999,)")),
    "long texts": npy(header_of("'<U536870911'", "(1,)")),
    "texts over 31 bits": npy(header_of("'<U4294967297'", "(1,)"), b"a"),
    "a million texts": npy(header_of("'|S1'", "(3000000,)"), b"a" * 3_000_000),
    "negative size": npy(header_of("'<f8'", "(-1,)"), bytes(8)),
    "truth as size": npy(header_of("'<f8'", "(True,)"), bytes(8)),
    "fraction as size": npy(header_of("'<f8'", "(1.0,)"), bytes(8)),
    "text as size": npy(header_of("'<f8'", "('1',)"), bytes(8)),
    "list as shape": npy(header_of("'<f8'", "[1]"), bytes(8)),
    "number as shape": npy(header_of("'<f8'", "1"), bytes(8)),
    "digits of other scripts": npy(header_of("'|u1'", "(\xb2,)"), b"\1"),
    "33 axes": npy(header_of("'|u1'", f"({'1,' * 33})"), b"\1"),
    "2000 axes": npy(header_of("'|u1'", f"({'1,' * 2000})"), b"\1"),
    "number as order": npy(header_of("'|u1'", "(1,)", "0"), b"\1"),
    "objects": npy(header_of("'|O'", "(1,)"), bytes(8)),
    "structure": npy(header_of("[('a', '<i4')]", "(1,)"), bytes(4)),
    "structure in a text": npy(header_of("'i4,i4'", "(1,)"), bytes(8)),
    "nested structure": npy(header_of("[('a', " * 900 + "'<i4'" + ")]" * 900, "(1,)"), bytes(4)),
    "subarray": npy(header_of("('<i4', (1000000000,))", "(1,)"), bytes(4)),
    "subarray in a text": npy(header_of("'(1000000000,)i4'", "(1,)"), bytes(4)),
    "dates": npy(header_of("'<M8[s]'", "(1,)"), bytes(8)),
    "durations": npy(header_of("'<m8[s]'", "(1,)"), bytes(8)),
    "unknown type": npy(header_of("'<f3'", "(1,)"), bytes(3)),
    "no type": npy(header_of("'nonsense'", "(1,)"), bytes(8)),
    "type of a class": npy(header_of("int", "(1,)"), bytes(8)),
    "too few bytes": npy(header_of("'<f8'", "(2,)"), bytes(15)),
    "too many bytes": npy(header_of("'<f8'", "(2,)"), bytes(17)),
    "parentheses": npy("(" * 9000),
    "signs": npy("-" * 9000 + "1"),
    "sums": npy("1" + "+1" * 4000),
    "brackets in the shape": npy(header_of("'<f8'", "(" * 4000 + ")" * 4000)),
    "dicts": npy("{1:" * 3000 + "1" + "}" * 3000),
    "missing key": npy("{'descr': '<f8', 'shape': (1,)}", bytes(8)),
    "further key": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'a': 1}", bytes(8)),
    "key twice": npy("{'shape': (9,), 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
    "no header": npy(""),
    "code": npy("__import__('os').system('true')"),
    "length beyond the body": npy(header_of("'<f8'", "(1,)"), length=60_000),
    "length of gigabytes": npy(header_of("'<f8'", "(1,)"), version=(3, 0), length=0xFFFFFFFF),
    "length of nothing": npy(header_of("'<f8'", "(1,)"), length=0),
    "long header": npy(header_of("'|u1'", "(1,)") + " " * 20_000, b"\1", version=(2, 0)),
    "version 4": npy(header_of("'|u1'", "(1,)"), b"\1", version=(4, 0)),
    "version 0": npy(header_of("'|u1'", "(1,)"), b"\1", version=(0, 0)),
    "only the magic": b"\x93NUMPY",
    "only the version": b"\x93NUMPY\1\0",
    "half a length": b"\x93NUMPY\1\0\1",
    "nothing": b"",
    "truth of 2": npy(header_of("'|b1'", "(1,)"), b"\2"),
    "half a character": npy(header_of("'<U1'", "(1,)"), struct.pack("<I", 0xD800)),
    "no character": npy(header_of("'>U1'", "(1,)"), struct.pack(">I", 0x110000)),
}


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: f"{adapter.type} {adapter.dtype}")
@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_a_header_that_lies_is_refused_before_it_takes_memory(adapter: Any, body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadInputError) as refused:
            adapter.decode(Payload(body, NPY, limits=DecodingLimits(max_bytes=1 << 24)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.http_status in (400, 413, 422)
    assert str(refused.value).endswith(".")
    assert len(str(refused.value)) < 300
    assert peak < 1 << 20, f"{peak} bytes were taken"


@pytest.mark.parametrize(
    ("limits", "taken"),
    [
        (DecodingLimits(max_bytes=1000 * 72 + 1000), True),
        (DecodingLimits(max_bytes=1000 * 72 + 999), False),
        (DecodingLimits(max_cells=1000), True),
        (DecodingLimits(max_cells=999), False),
    ],
)
def test_texts_are_bounded_by_what_they_take_as_objects(limits: DecodingLimits, taken: bool) -> None:
    payload = Payload(npy(header_of("'|S1'", "(1000,)"), b"a" * 1000), NPY, limits=limits)
    if taken:
        assert NdarrayInput().decode(payload).tolist() == [b"a"] * 1000
        return
    with pytest.raises(BadInputError) as refused:
        NdarrayInput().decode(payload)
    assert refused.value.http_status == 413


def test_a_conversion_is_bounded_by_what_comes_of_it() -> None:
    payload = Payload(npy(header_of("'|u1'", "(1000,)"), bytes(1000)), NPY, limits=DecodingLimits(max_bytes=7999))
    assert NdarrayInput(dtype="int32").decode(payload).nbytes == 4000
    with pytest.raises(BadInputError) as refused:
        NdarrayInput(dtype="float64").decode(payload)
    assert (refused.value.http_status, str(refused.value)) == (
        413,
        "The array takes 8000 bytes of memory; 7999 are taken here at once.",
    )


@pytest.mark.parametrize(
    ("array", "nbytes"),
    [
        (np.zeros((3, 4), "float32"), 48),
        (np.zeros((3, 4), "uint8"), 12),
        (np.array(["a", "bcd"]), 2 * (8 + 64)),
        (np.array([b"a"]), 8 + 64),
    ],
    ids=["float32", "uint8", "texts", "bytes"],
)
def test_a_form_tells_what_it_holds(array: Any, nbytes: int) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    assert NdarrayInput().nbytes_of(NdarrayInput().decode(Payload(buffer.getvalue(), NPY))) == nbytes
