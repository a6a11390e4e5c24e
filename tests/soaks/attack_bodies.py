"""Bodies that lie about their sizes, unfold to gigabytes, take long to read, or cannot be read at all.

The letters and numbers of a title are those under which an attack was first found; what stands beside it in its list
has the same cause.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "fuzzing"))

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from tests.fuzzing import seeds
from tests.fuzzing.formats import BOUNDARY, FORMATS
from tests.soaks.attack import MOST_BYTES, Attack, Shot, by_bodies

__all__ = ["body_attacks"]

JSON, NDJSON, CSV, NPY = "application/json", "application/x-ndjson", "text/csv", "application/x-npy"
STREAM, FILE = "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"
PARQUET, FORM = "application/vnd.apache.parquet", f"multipart/form-data; boundary={BOUNDARY}"

OK, BAD, TOO_MUCH, UNKNOWN = frozenset({200}), frozenset({400}), frozenset({413}), frozenset({415})
REFUSED = BAD | TOO_MUCH
READ_OR_REFUSED = frozenset({200, 400, 413, 415, 422})


def body_attacks() -> Iterator[Attack]:
    """Yield the attacks that are single requests."""
    yield by_bodies("C1 Arrow that lies about its rows", list(_lying_rows()))
    yield by_bodies("C1 Arrow whose values point elsewhere", list(_lying_places()))
    for name, format_ in FORMATS.items():
        yield by_bodies(f"C1 mutated bodies: {name}", list(_mutated(name, format_.mutated)))
    yield by_bodies("C2 npy of nothing, a hundred million times", list(_empty_arrays()))
    yield by_bodies("C3 JSON that unfolds", list(_unfolding_json()))
    yield by_bodies("C3 Parquet that unfolds", list(_unfolding_parquet()))
    yield by_bodies("C3 Arrow that unfolds", list(_unfolding_arrow()))
    yield by_bodies("C3 packed bodies that unfold", list(_unfolding_packed()))
    yield by_bodies("C3 large pictures while the function is busy", list(_large_pictures()), at_once=64)
    yield by_bodies("H1 charsets that take long", list(_slow_charsets()))
    yield by_bodies("H2 gzip of many members", list(_many_members()))
    yield by_bodies("M4 wide rows", list(_wide_rows()))
    yield by_bodies("L1 deep and long JSON", list(_deep_json()))
    yield by_bodies("L2 deep values that do not fit", list(_shown_values()))
    yield by_bodies("L3 tables whose schema is nonsense", list(_nonsense_schemas()))
    yield by_bodies("L4 names of thousands of digits", list(_long_names()))
    yield by_bodies("held: forms of many parts and near-boundaries", list(_forms()))
    yield by_bodies("held: CSV that never ends its quotes", list(_csv()))


def _stream(table: Any, **options: Any) -> bytes:
    return seeds._stream(table, rows=None, **options)


def _swapped(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data, "the attack's own body is not as it should be"
    return data.replace(old, new)


# -- memory ------------------------------------------------------------------------------------------------------------


def _lying_rows() -> Iterator[Shot]:
    for name, table in seeds.tables():
        for media_type, body in ((STREAM, _stream(table)), (FILE, seeds._file(table))):
            lying = _swapped(body, struct.pack("<q", table.num_rows), struct.pack("<q", 60_000))
            yield Shot(f"{name} as {media_type}", "/frame", lying, REFUSED, media_type)
            if name == "bytes":
                yield Shot("with declared columns", "/declared", lying, REFUSED | {422}, media_type)
                part = seeds._form(("file", "a.arrow", media_type, lying))
                yield Shot("in a form", "/frame", part, REFUSED, FORM)
                packed = gzip.compress(lying)
                yield Shot("packed", "/frame", packed, REFUSED, media_type, ("Content-Encoding: gzip",))


def _lying_places() -> Iterator[Shot]:
    four = ["aaaa", "bbbb", "cccc"]
    offsets = struct.pack("<4i", 0, 4, 8, 12)
    far = [(0, 4, 8, 1 << 30), (0, -4, 8, 12), (0, 8, 4, 12), (1 << 30, 4, 8, 12), (0, 4, 8, -1)]
    lists = pa.array([[1, 2, 3, 4]] * 3, pa.list_(pa.int8()))
    tables = {
        "texts": pa.array(four),
        "bytes": pa.array([text.encode() for text in four]),
        "lists": lists,
        "maps": pa.MapArray.from_arrays(pa.array([0, 4, 8, 12], pa.int32()), ["k"] * 12, [1] * 12),
    }
    for name, column in tables.items():
        for ends in far:
            body = _swapped(_stream(pa.table({"a": column})), offsets, struct.pack("<4i", *ends))
            yield Shot(f"{name} at {ends}", "/frame", body, BAD, STREAM)
    large = pa.array(four, pa.large_string())
    body = _swapped(
        _stream(pa.table({"a": large})), struct.pack("<4q", 0, 4, 8, 12), struct.pack("<4q", 0, 4, 8, 1 << 40)
    )
    yield Shot("large texts", "/frame", body, BAD, STREAM)
    view = struct.pack("<i", 24) + b"much"
    body = _stream(pa.table({"a": pa.array(["much longer than twelve!"], pa.string_view())}))
    yield Shot("views of texts", "/frame", _swapped(body, view, struct.pack("<i", 1 << 30) + b"much"), BAD, STREAM)
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 1, 1], pa.int32()), ["x", "y"])
    body = _stream(pa.table({"a": coded}))
    indices = struct.pack("<5i", 0, 1, 0, 1, 1)
    for place in (99, -1, 1 << 30):
        yield Shot(
            f"code {place}", "/frame", _swapped(body, indices, struct.pack("<5i", 0, 1, place, 1, 1)), BAD, STREAM
        )
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 3, 7], pa.int32()), pa.array([7, 8, 9]))
    body = _stream(pa.table({"a": runs}))
    for last in ((1, 3, 2), (-1, 3, 7), (1, 1 << 30, 7)):
        lied = _swapped(body, struct.pack("<3i", 1, 3, 7), struct.pack("<3i", *last))
        yield Shot(f"runs to {last}", "/frame", lied, BAD, STREAM)
    texts = _swapped(_stream(pa.table({"a": four})), b"aaaa", b"\xff\xfe\xfd\xfc")
    yield Shot("text that is none", "/frame", texts, BAD, STREAM)


def _mutated(name: str, mutated: Callable[[bytes, int, Callable[[bytes], bytes]], bytes]) -> Iterator[Shot]:
    """Yield the good bodies of a format, each with a seeded change."""
    chance = random.Random(name)

    def flipped(data: bytes) -> bytes:
        if not data:
            return data
        place = chance.randrange(len(data))
        return data[:place] + bytes([chance.randrange(256)]) + data[place + chance.choice((0, 1, 1, 2, 20)) :]

    ways = {
        "arrow": [("/frame", STREAM), ("/declared", STREAM), ("/frame", FILE)],
        "parquet": [("/frame", PARQUET), ("/declared", PARQUET)],
        "npy": [("/array", NPY), ("/floats", NPY), ("/words", NPY)],
        "image": [("/picture", "application/octet-stream")],
        "csv": [("/frame", CSV), ("/declared", CSV)],
        "json": [("/json", JSON), ("/frame", JSON), ("/array", JSON), ("/typed", JSON), ("/text", JSON)],
        "multipart": [("/file", FORM), ("/picture", FORM), ("/frame", FORM), ("/pictures", FORM), ("/annotated", FORM)],
        "gzip": [("/json", JSON), ("/frame", JSON)],
    }[name]
    bodies = sorted(path for path in (seeds.CORPUS / name).iterdir() if name != "arrow" or path.name[0] != ".")
    headers = ("Content-Encoding: gzip",) if name == "gzip" else ()
    for number in range(200):
        seed = bodies[number % len(bodies)]
        path, media_type = ways[number % len(ways)]
        if name == "arrow" and media_type == FILE and seed.name.startswith("stream"):
            media_type = STREAM
        body = mutated(seed.read_bytes(), number, flipped)
        yield Shot(f"{seed.name}, {number}", path, body, READ_OR_REFUSED, media_type, headers)


# -- what unfolds ------------------------------------------------------------------------------------------------------


def _npy(descr: str, shape: str, data: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def _empty_arrays() -> Iterator[Shot]:
    for descr in ("'<U0'", "'|S0'", "'|V0'", "[]", "[('a', '<U0')]", "'<U1'", "'<f8'", "'|b1'", "'<c16'", "'<M8[s]'"):
        for shape in ("(100000000,)", "(1000000000,)", f"({2**40}, 1)"):
            for path in ("/array", "/floats", "/words"):
                yield Shot(f"{descr} {shape}", path, _npy(descr, shape), REFUSED | {422}, NPY)
    for shape in (f"({2**40}, 0)", f"(0, {2**40})", f"({2**62}, {2**62}, 0)", "(0,)", "(-1,)", "(100000000, 0, 3)"):
        right = REFUSED | OK if shape.startswith("(0") else REFUSED
        yield Shot(f"<f8 {shape}", "/array", _npy("'<f8'", shape), right, NPY)
    form = seeds._form(("file", "a.npy", "", _npy("'<U0'", "(100000000,)")))
    yield Shot("in a form", "/array", form, REFUSED, FORM)
    yield Shot("an object", "/array", _npy("'|O'", "(1,)", b"\x80\x04N."), REFUSED | UNKNOWN, NPY)
    yield Shot("a deep header", "/array", _npy("(" * 3000, "(1,)"), BAD, NPY)


def _unfolding_json() -> Iterator[Shot]:
    for texts in (1500, 9000):
        body = json.dumps(["a" * 10**6, *[""] * texts]).encode()
        for path in ("/array", "/words"):
            yield Shot(f"one long text among {texts}", path, body, OK | TOO_MUCH)
    values = b"[" + b"1," * 10**6 + b"1]"
    for name, body in {
        "empty lists": b"[" + b"[]," * 10**6 + b"[]]",
        "empty objects": b"[" + b"{}," * 10**6 + b"{}]",
        "many values": values,
        "many short texts": b"[" + b'"a",' * 10**6 + b'"b"]',
        "rows of unlike names": b"[" + b",".join(b'{"c%d":1}' % number for number in range(10**5)) + b"]",
    }.items():
        for path in ("/json", "/frame", "/array"):
            yield Shot(f"{name} to {path}", path, body, READ_OR_REFUSED)
    yield Shot("nothing but brackets", "/json", b"[" * MOST_BYTES, REFUSED)
    yield Shot("20 MB of empty objects", "/json", b"[" + b"{}," * 6_900_000 + b"{}]", TOO_MUCH)


def _parquet(column: Any, **options: Any) -> bytes:
    return seeds._parquet(pa.table({"c": column}), **options)


def _shared(value: Any, rows: int) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, "int32")), value)


def _unfolding_parquet() -> Iterator[Shot]:
    long = pa.array(["x" * 10**6])
    for rows in (2000, 20_000):
        yield Shot(f"one long text in {rows} rows", "/frame", _parquet(_shared(long, rows)), TOO_MUCH, PARQUET)
    many = _parquet(_shared(pa.array(["x" * 20]), 2 * 10**7))
    yield Shot("twenty million texts", "/frame", many, TOO_MUCH, PARQUET)
    yield Shot("in a form", "/frame", seeds._form(("file", "a.parquet", "", many)), TOO_MUCH, FORM)
    yield Shot("fifty million zeros", "/frame", _parquet(np.zeros(5 * 10**7, "int8")), TOO_MUCH, PARQUET)
    long = pa.array([b"x" * 10**6])
    yield Shot("bytes", "/frame", _parquet(_shared(long, 2000)), TOO_MUCH, PARQUET)
    yield Shot("a list of a long text", "/frame", _parquet([["x" * 10**6] * 200]), TOO_MUCH, PARQUET)
    packed = _parquet(["a" * 2 * 10**8], use_dictionary=False, compression="zstd", write_statistics=False)
    yield Shot("a packed text of 200 MB", "/frame", packed, TOO_MUCH, PARQUET)
    delta = ["a" * 10**6 + str(number) for number in range(200)]
    packed = _parquet(delta, use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY", write_statistics=False)
    yield Shot("texts by their difference", "/frame", packed, TOO_MUCH, PARQUET)


def _unfolding_arrow() -> Iterator[Shot]:
    runs = pa.RunEndEncodedArray.from_arrays
    ends = pa.array([10**8], pa.int32())
    missing = pa.nulls(10**9)
    columns = {
        "missing values": pa.nulls(10**8),
        "runs": runs(ends, pa.array([7])),
        "runs of a text": runs(pa.array([10**6], pa.int32()), pa.array(["x" * 1000])),
        "a code for a long text": _shared(pa.array(["x" * 10**6]), 2000),
        "a list of missing values": pa.ListArray.from_arrays(pa.array([0, 10**9], pa.int32()), missing),
        "a wide list": pa.FixedSizeListArray.from_arrays(missing, 10**9),
        "lists that overlap": pa.ListViewArray.from_arrays(
            pa.array([0] * 1000, pa.int32()), pa.array([10**5] * 1000, pa.int32()), pa.array(np.zeros(10**5, "int8"))
        ),
    }
    for name, column in columns.items():
        yield Shot(name, "/frame", _stream(pa.table({"a": column})), TOO_MUCH, STREAM)
        yield Shot(f"{name} in a file", "/frame", seeds._file(pa.table({"a": column})), TOO_MUCH, FILE)
    zeros = pa.table({f"a{number}": np.zeros(10**6) for number in range(40)})
    for codec in ("lz4", "zstd"):
        yield Shot(f"zeros by {codec}", "/frame", _stream(zeros, compression=codec), TOO_MUCH, STREAM)
    batches = pa.Table.from_batches([pa.record_batch({"a": [1]})] * 30_000)
    yield Shot("many batches", "/frame", seeds._stream(batches, rows=1), TOO_MUCH, STREAM)


def _packed(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


def _unfolding_packed() -> Iterator[Shot]:
    gzipped = ("Content-Encoding: gzip",)
    bomb = _packed(bytes(10 * MOST_BYTES))
    for path, media_type in (("/json", JSON), ("/frame", CSV), ("/array", NPY), ("/text", "text/plain"), ("/file", "")):
        yield Shot(f"zeros to {path}", path, bomb, TOO_MUCH, media_type or "application/octet-stream", gzipped)
    yield Shot("packed twice", "/json", _packed(bomb), TOO_MUCH, headers=("Content-Encoding: gzip, gzip",))
    deflated = zlib.compress(bytes(10 * MOST_BYTES), 9)
    yield Shot("deflated", "/json", deflated, TOO_MUCH, headers=("Content-Encoding: deflate",))
    nested = b"1"
    for _ in range(100):
        nested = gzip.compress(nested, mtime=0)
    yield Shot(
        "packed a hundred times", "/json", nested, BAD, headers=("Content-Encoding: " + ", ".join(["gzip"] * 100),)
    )
    rows = b"[" + b'{"a":1},' * 2_000_000 + b'{"a":1}]'
    yield Shot("two million rows", "/frame", _packed(rows), TOO_MUCH, headers=gzipped)
    whole = io.BytesIO()
    np.save(whole, np.zeros(MOST_BYTES // 8 - 100))
    yield Shot("an array of the largest size", "/array", _packed(whole.getvalue()), OK | TOO_MUCH, NPY, gzipped)


def _picture(side: int, mode: str = "1", format_: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, format_)
    return buffer.getvalue()


def _large_pictures() -> Iterator[Shot]:
    """Yield pictures that are refused by their size, and many that are taken and wait for a busy function."""
    octets = "application/octet-stream"
    for mode, format_ in (("1", "PNG"), ("P", "PNG"), ("L", "JPEG"), ("1", "TIFF")):
        body = _picture(9400, mode, format_)
        yield Shot(f"{format_} of {mode}, 9400 a side", "/painting", body, TOO_MUCH, octets)
    yield Shot("20,000 a side", "/painting", _picture(20_000), REFUSED, "image/png")
    fitting = _picture(4000)
    for number in range(30):
        yield Shot(f"one of many, {number}", "/painting", fitting, OK, "image/png")


# -- time --------------------------------------------------------------------------------------------------------------


def _slow_charsets() -> Iterator[Shot]:
    body = b"a" * 10**6 + b"-" + b"b" * 10**6
    for charset in ("punycode", "idna", "utf-7", "unicode_escape", "raw_unicode_escape", "base64", "hex", "zlib"):
        for path, media_type in (
            ("/text", "text/plain"),
            ("/json", JSON),
            ("/frame", CSV),
            ("/frame", NDJSON),
            ("/array", JSON),
            ("/typed", JSON),
        ):
            yield Shot(f"{charset} to {path}", path, body, UNKNOWN, f"{media_type}; charset={charset}")
            small = body[:30_000]
            yield Shot(f"{charset} to {path}, small", path, small, UNKNOWN, f"{media_type}; charset={charset}")
    part = seeds._form(("file", "a.txt", "text/plain; charset=punycode", body))
    yield Shot("in a form", "/text", part, UNKNOWN, FORM)
    for charset in ("utf-16", "utf-32", "gb18030", "shift_jis"):
        yield Shot(charset, "/text", ("a" * 10**6).encode(charset), OK, f"text/plain; charset={charset}")


def _many_members() -> Iterator[Shot]:
    member = gzip.compress(b"", mtime=0)
    for count in (50_000, 500_000, 1_000_000):
        body = (member * count)[:MOST_BYTES]
        yield Shot(f"{count} members", "/json", body, BAD, headers=("Content-Encoding: gzip",))
        yield Shot(f"{count} members", "/frame", body, BAD, CSV, ("Content-Encoding: x-gzip",))
    zeros = gzip.compress(b"1", mtime=0) + bytes(MOST_BYTES - 100)
    yield Shot("zeros behind", "/json", zeros, OK | BAD, headers=("Content-Encoding: gzip",))
    between = b"".join(gzip.compress(b" ", mtime=0) + bytes(2000) for _ in range(9000))
    yield Shot("zeros between", "/json", between, BAD, headers=("Content-Encoding: gzip",))
    stored = b"".join(zlib.compress(b"", 0) for _ in range(10**5))
    yield Shot("deflated members", "/json", stored, BAD, headers=("Content-Encoding: deflate",))


def _wide_rows() -> Iterator[Shot]:
    names = [f"c{number}" for number in range(10**6)]
    wide = "[{" + ",".join(f'"{name}":1' for name in names) + "}]"
    some = dict.fromkeys(names[:20_000], 1)
    yield Shot("a million columns", "/frame", wide.encode(), TOO_MUCH)
    for name, value in {
        "records": [some],
        "columns": {column: [1] for column in some},
        "values": [list(some.values())],
        "split": {"columns": list(some), "data": [list(some.values())]},
        "table": {"schema": {"fields": [{"name": column} for column in some]}, "data": [some]},
    }.items():
        yield Shot(f"20,000 in {name}", "/frame", json.dumps(value).encode(), TOO_MUCH)
    lines = ",".join(names[: 10**5]) + "\n" + "1," * (10**5 - 1) + "1\n"
    yield Shot("CSV", "/frame", lines.encode(), TOO_MUCH, CSV)
    yield Shot("CSV to declared columns", "/declared", lines.encode(), TOO_MUCH | BAD | {422}, CSV)
    table = pa.table({column: [1] for column in names[:30_000]})
    yield Shot("Arrow", "/frame", _stream(table), TOO_MUCH, STREAM)
    yield Shot("Parquet", "/frame", seeds._parquet(table), TOO_MUCH, PARQUET)
    yield Shot("lines", "/frame", json.dumps(some).encode() + b"\n", TOO_MUCH, NDJSON)


# -- small ones --------------------------------------------------------------------------------------------------------

JSON_PATHS = ("/json", "/typed", "/frame", "/declared", "/array", "/text")


def _deep_json() -> Iterator[Shot]:
    for depth in (990, 1020, 5000, 10**6):
        for path in JSON_PATHS:
            for name, body in {
                "integer": b"[" * depth + b"1" * 23 + b"]" * depth,
                "objects": b'{"a":' * depth + b"1" + b"}" * depth,
            }.items():
                yield Shot(f"{depth} around an {name} to {path}", path, body, REFUSED | {422})
    for path in JSON_PATHS:
        yield Shot(f"a million digits to {path}", path, b"[" + b"9" * 10**6 + b"]", BAD | {422})


def _shown_values() -> Iterator[Shot]:
    for depth in (100, 127, 255, 1000):
        deep = b"[" * depth + b"1" + b"]" * depth
        yield Shot(f"{depth} in an array", "/floats", deep, BAD | {422})
        yield Shot(f"{depth} in a column", "/declared", b'[{"a":' + deep + b"}]", BAD | {422})
        yield Shot(f"{depth} in a model", "/typed", b'{"item":' + deep + b',"count":1}', BAD | {422})


def _nonsense_schemas() -> Iterator[Shot]:
    fields = [{"name": "a"}]
    keys: tuple[Any, ...] = ([["a"]], [{}], {"a": 1}, 1, "b", [None], [["a", "a"]])
    for key in keys:
        value = {"schema": {"fields": fields, "primaryKey": key}, "data": [{"a": 1}]}
        yield Shot(f"key {key}", "/frame", json.dumps(value).encode(), BAD)
    lists: tuple[Any, ...] = ([1], [{}], [{"name": []}], [{"name": {}}], {}, None, [{"name": "a", "type": []}], [[]])
    for wrong in lists:
        value = {"schema": {"fields": wrong}, "data": [{"a": 1}]}
        yield Shot(f"fields {wrong}", "/frame", json.dumps(value).encode(), BAD | OK)


def _long_names() -> Iterator[Shot]:
    digits = "1" * 5000
    for value in ({"a": {digits: 1}}, {digits: [1]}, [{digits: 1}], {digits: {digits: 1}}, {"a": {"-" + digits: 1}}):
        yield Shot(f"{type(value).__name__}", "/frame", json.dumps(value).encode(), READ_OR_REFUSED)
    yield Shot("a digit that is none", "/frame", '{"a": {"²": 1, "१": 2}}'.encode(), READ_OR_REFUSED)


def _forms() -> Iterator[Shot]:
    bodies = {
        "many parts": seeds._form(*[("file", "", "", b"")] * 100_000),
        "near-boundaries": b"--boundar" * 10**6,
        "nothing but line ends": b"\r\n" * 10**7,
        "boundaries alone": b"--boundary\r\n" * 10**6,
        "no end of a head": b"--boundary\r\n" + b"X: y\r\n" * 10**6,
    }
    for name, body in bodies.items():
        for path in ("/file", "/picture", "/pictures", "/annotated", "/frame", "/json"):
            yield Shot(f"{name} to {path}", path, body, REFUSED, FORM)


def _csv() -> Iterator[Shot]:
    for name, body in {
        "one quote": b'a,b\n"' + b"1,2\n" * 4_500_000,
        "many quotes": b"a\n" + b'""' * 5_000_000,
        "empty rows": b"a,b\n" + b",\n" * 2_000_000,
        "line ends alone": b"a\n" + b"\n" * MOST_BYTES,
        "commas alone": b"," * (MOST_BYTES - 1),
        "NUL": b"a,b\n" + bytes(10**6),
    }.items():
        size = min(len(body), MOST_BYTES)
        for path in ("/frame", "/declared"):
            yield Shot(f"{name} to {path}", path, body[:size], READ_OR_REFUSED, CSV)
