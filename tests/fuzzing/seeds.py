"""Good bodies of every format, from which fuzzing starts; written into the corpus by hand when this changes.

python tests/fuzzing/seeds.py         # beside what fuzzing has found, which stays
"""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from PIL import Image

from tests.fuzzing.formats import BOUNDARY

CORPUS = Path(__file__).parent / "corpus"


def tables() -> Iterator[tuple[str, Any]]:
    """Yield small tables that hold every family of Arrow types."""
    yield "numbers", pa.table({"a": pa.array([1, 2, 3]), "b": pa.array([0.5, None, 1.5])})
    yield "bytes", pa.table({"a": pa.array([1] * 7, pa.uint8())})
    moment = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
    yield (
        "declared",
        pa.table(
            {
                "a": [1, 2],
                "b": [0.5, None],
                "c": ["x", "yy"],
                "d": pa.array([moment, moment], pa.timestamp("us", "UTC")),
                "e": [True, False],
            }
        ),
    )
    yield (
        "texts",
        pa.table(
            {
                "s": ["a", None, "ccc"],
                "l": pa.array(["a", "b", None], pa.large_string()),
                "v": pa.array(["a", "much longer than twelve", None], pa.string_view()),
                "y": pa.array([b"a", None, b"\xff"], pa.binary()),
                "f": pa.array([b"aa", None, b"cc"], pa.binary(2)),
            }
        ),
    )
    yield (
        "coded",
        pa.table(
            {
                "d": pa.array(["x", "y", "x"]).dictionary_encode(),
                "r": pa.RunEndEncodedArray.from_arrays(pa.array([1, 3], pa.int32()), pa.array([7, 8])),
                "n": pa.nulls(3),
            }
        ),
    )
    yield (
        "nested",
        pa.table(
            {
                "l": [[1, None], None, []],
                "s": [{"x": 1, "y": "a"}, None, {"x": None, "y": "b"}],
                "m": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
                "z": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2)),
            }
        ),
    )
    yield (
        "times",
        pa.table(
            {
                "t": pa.array([moment, None], pa.timestamp("ns")),
                "d": pa.array([dt.date(2020, 1, 1), None]),
                "h": pa.array([dt.time(1, 2, 3), None]),
                "u": pa.array([dt.timedelta(seconds=5), None], pa.duration("ms")),
                "c": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(10, 2)),
                "f": pa.array(np.array([0.5, 1.5], "float16")),
                "big": pa.array([2**64 - 1, None], pa.uint64()),
            }
        ),
    )


def _stream(table: Any, *, rows: int | None = 2, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return buffer.getvalue()


def _file(table: Any) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def _parquet(table: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pa.parquet.write_table(table, buffer, **options)
    return buffer.getvalue()


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _picture(mode: str, format_: str, **options: Any) -> bytes:
    pixels = np.arange(48, dtype="uint8").reshape(6, 8)
    image = (
        Image.fromarray(pixels).convert("RGB").convert(mode)
        if mode != "I;16"
        else Image.fromarray(pixels.astype("uint16") * 1000)
    )
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def _form(*parts: tuple[str, str, str, bytes]) -> bytes:
    chunks = []
    for field, name, media_type, data in parts:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"'
        head += f'; filename="{name}"' if name else ""
        head += f"\r\nContent-Type: {media_type}" if media_type else ""
        chunks += [f"{head}\r\n\r\n".encode(), data, b"\r\n"]
    return b"".join([*chunks, f"--{BOUNDARY}--\r\n".encode()])


_ROWS = [
    {"a": 1, "b": 0.5, "c": "x", "d": "2020-01-02T03:04:05Z", "e": True},
    {"a": 2**53 + 1, "b": None, "c": "é\n", "d": "2020-01-02", "e": False},
]
_SPLIT = {"columns": ["a", "b"], "index": ["r", "s"], "data": [[1, 2.5], [3, None]]}
_TABLE = {
    "schema": {
        "fields": [
            {"name": "i", "type": "integer"},
            {"name": "t", "type": "datetime", "tz": "UTC"},
            {"name": "c", "type": "any", "constraints": {"enum": ["F", "M"]}, "ordered": False},
            {"name": "n", "type": "integer", "extDtype": "Int64"},
        ],
        "primaryKey": ["i"],
    },
    "data": [{"i": 0, "t": "2020-01-02T00:00:00.000Z", "c": "F", "n": None}],
}


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Yield the format, the name and the body of each."""
    for name, table in tables():
        yield "arrow", f"stream-{name}", _stream(table)
        yield "arrow", f"file-{name}", _file(table)
        if name != "coded":
            yield "parquet", name, _parquet(table)
    yield "arrow", "stream-packed", _stream(pa.table({"a": list(range(100))}), compression="lz4")
    yield "arrow", "stream-zstd", _stream(pa.table({"a": ["x" * 50] * 20}), compression="zstd")
    numbers = pa.table({"a": [1, 2, 3] * 20, "s": ["x", "y", None] * 20})
    for codec in ("snappy", "gzip", "zstd", "lz4", "brotli"):
        yield "parquet", codec, _parquet(numbers, compression=codec)
    yield "parquet", "checked", _parquet(numbers, write_page_checksum=True, row_group_size=16)
    yield "parquet", "pages-2", _parquet(numbers, data_page_version="2.0", use_dictionary=False)
    yield (
        "parquet",
        "delta",
        _parquet(numbers, use_dictionary=False, column_encoding={"a": "DELTA_BINARY_PACKED", "s": "DELTA_BYTE_ARRAY"}),
    )
    for name, array in {
        "float64": np.arange(6.0).reshape(3, 2),
        "big-endian": np.arange(4, dtype=">i4").reshape(2, 2),
        "fortran": np.asfortranarray(np.arange(6, dtype="float32").reshape(3, 2)),
        "texts": np.array(["a", "bcd"]),
        "bytes": np.array([b"a", b"bcd"]),
        "bools": np.array([True, False]),
        "complex": np.array([1j, 2.0]),
        "dates": np.array(["2020-01-01"], "datetime64[D]"),
    }.items():
        yield "npy", name, _npy(array)
    for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "I;16"):
        yield "image", f"png-{mode.replace(';', '-')}", _picture(mode, "PNG")
    for mode in ("RGB", "L", "CMYK"):
        yield "image", f"jpeg-{mode}", _picture(mode, "JPEG")
    for format_ in ("GIF", "BMP", "WEBP"):
        yield "image", format_.lower(), _picture("RGB", format_)
    for codec in ("raw", "tiff_lzw", "tiff_deflate", "packbits"):
        yield "image", f"tiff-{codec}", _picture("RGB", "TIFF", compression=codec)
    yield "csv", "declared", b'a,b,c,d,e\n1,0.5,"x,""y""",2020-01-02,true\n2,,"z\n",2020-01-03T04:05:06Z,false\n'
    yield "csv", "plain", b"x;y\r\n1;2\r\n"
    yield "csv", "numbers", b"0,1,2\n1,2,3\n4,5,6\n"
    yield "csv", "marked", b"\xef\xbb\xbfa,b\n1e5,-0.0\nnan,inf\n"
    yield "csv", "ragged", b'a,b\n1\n2,3,4\n"'
    for name, value in {
        "rows": _ROWS,
        "values": [[1, 2.5], [3, 4.5]],
        "columns": {"a": [1, 2], "b": {"0": 1, "1": 2}},
        "split": _SPLIT,
        "table": _TABLE,
        "order": {"item": "x", "count": 2, "price": 1e3, "tags": ["a"], "parts": {"k": 1}},
        "orders": [{"item": "x", "count": 2}],
        "texts": ["a", "bc"],
        "nested": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]],
        "bytes": [{"b64": "YQ=="}, {"b64": ""}],
        "long": [[12345678901234567890123, 1e-320]],
        "deep": json.loads("[" * 60 + "1" + "]" * 60),
    }.items():
        yield "json", name, json.dumps(value).encode()
    yield "json", "lines", b'{"a": 1}\n{"a": 2}\n'
    yield "json", "names", b'{"a": NaN, "b": Infinity, "\\ud800": 1e999}'
    picture = _picture("RGB", "PNG")
    yield "multipart", "file", _form(("file", "rows.csv", "text/csv", b"a,b\n1,2\n"))
    yield "multipart", "picture", _form(("image", "a.png", "image/png", picture))
    yield "multipart", "untold", _form(("file", "file", "", picture))
    yield "multipart", "two", _form(("left", "l.png", "image/png", picture), ("right", "r.png", "", picture))
    yield (
        "multipart",
        "annotated",
        _form(("image", "a.png", "image/png", picture), ("annotations", "", "application/json", b'{"x": [1]}')),
    )
    yield (
        "multipart",
        "json",
        _form(("file", "a.json", "application/json; charset=utf-16", '[{"a": 1}]'.encode("utf-16"))),
    )
    yield "multipart", "array", _form(("file", "a.npy", "", _npy(np.arange(4))))
    yield "gzip", "json", gzip.compress(json.dumps(_ROWS).encode(), mtime=0)
    yield "gzip", "members", b"".join(gzip.compress(part, mtime=0) for part in (b"[1,", b"", b"2]")) + b"\0\0"
    yield "gzip", "zeros", gzip.compress(bytes(100_000), mtime=0)


def attacks() -> Iterator[tuple[str, str, bytes]]:
    """Yield bodies that unfold to much, or take long, and are made when they are needed.

    What they are refused with is tested beside each adapter; here they must only stay within the bounds.
    """
    yield "json", "a-long-text-among-many", json.dumps(["a" * 10**6, *[""] * 9000]).encode()
    yield "json", "many-columns", json.dumps([{str(number): 1 for number in range(2 * 10**5)}]).encode()
    yield "json", "many-values", json.dumps([list(range(3 * 10**5))]).encode()
    yield "json", "deep", b"[" * 10**6 + b"]" * 10**6
    yield "json", "deep-objects", b'{"a":' * 10**5 + b"1" + b"}" * 10**5
    yield "json", "deep-around-a-long-integer", b"[" * 990 + b"1" * 23 + b"]" * 990
    yield "json", "a-number-of-many-digits", b"[" + b"9" * 10**6 + b"]"
    yield "json", "a-name-of-many-digits", b'{"a": {"' + b"1" * 5000 + b'": 1}}'
    yield "json", "empty-lists", b"[" + b"[]," * (3 * 10**5) + b"[]]"
    yield "json", "empty-objects", b"[" + b"{}," * (3 * 10**5) + b"{}]"
    yield (
        "csv",
        "many-columns",
        (",".join(f"c{number}" for number in range(10**5)) + "\n" + "1," * 99_999 + "1\n").encode(),
    )
    yield "csv", "one-quote", b'a,b\n"' + b"1,2\n" * 10**6
    yield "csv", "many-quotes", b"a\n" + b'""' * 10**6
    yield "csv", "empty-rows", b"a,b\n" + b",\n" * 10**6
    yield "gzip", "many-members", gzip.compress(b"", mtime=0) * 500_000
    yield "gzip", "zeros", gzip.compress(bytes(10**8), mtime=0)
    yield "multipart", "many-parts", _form(*[("file", "", "", b"")] * 20_000)
    yield "multipart", "near-boundaries", b"--boundar" * 10**5
    huge = pa.table({"a": pa.nulls(10**8)})
    yield "arrow", "missing-values", _stream(huge, rows=None)
    ends = pa.array([10**8], pa.int32())
    runs = pa.RunEndEncodedArray.from_arrays(ends, pa.array([7]))
    yield "arrow", "runs", _stream(pa.table({"a": runs}), rows=None)
    wide = pa.table({f"c{number}": [1] for number in range(30_000)})
    yield "arrow", "many-columns", _stream(wide, rows=None)
    texts = pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), ["x" * 10**6])})
    yield "parquet", "one-long-text", _parquet(texts)
    yield (
        "parquet",
        "many-texts",
        _parquet(pa.table({"a": pa.DictionaryArray.from_arrays(np.zeros(10**7, "int32"), ["x" * 20])})),
    )
    yield "parquet", "many-columns", _parquet(wide)
    white = io.BytesIO()
    Image.new("1", (9400, 9400)).save(white, "PNG")
    yield "image", "large", white.getvalue()
    for name, header in {
        "empty-texts": "{'descr': '<U0', 'fortran_order': False, 'shape': (100000000,)}",
        "empty-bytes": "{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000,)}",
        "rows-of-nothing": f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**40}, 0)}}",
        "a-lie": "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000,)}",
        "deep-header": f"{{'descr': {'(' * 3000}, 'fortran_order': False, 'shape': (1,)}}",
    }.items():
        yield "npy", name, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def write(bodies: Iterable[tuple[str, str, bytes]], folder: Path) -> None:
    """Write bodies into a folder for each format."""
    for format_, name, body in bodies:
        path = folder / format_ / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--attacks"]:
        write(attacks(), Path(sys.argv[2]))
    else:
        write(seeds(), CORPUS)
