"""Files that attack who reads them, or are broken: more than 200, made here."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

from tests.inspection import samples

__all__ = ["Hostile", "hostile_files"]

Hostile = tuple[str, bytes]
"""The name of a file, with the extension that somebody would give it, and its content."""

_COMMANDS = (("os", "system"), ("posix", "system"), ("subprocess", "Popen"), ("builtins", "exec"), ("builtins", "eval"))
_COMMAND = b"S'touch sprung'\n"


def hostile_files() -> Iterator[Hostile]:
    for name, content in (*_calls(), *_dressed(), *_bombs(), *_arrays(), *_packed()):
        yield f"{name}.pkl", content
    yield from _archives()
    yield from _lengths()
    yield from _wrong_magic()
    yield from _truncated()


def _name(module: str, name: str, protocol: int = 2) -> bytes:
    """Return the opcodes that push a name."""
    if protocol < 4:
        return f"c{module}\n{name}\n".encode()
    texts = (b"\x8c" + bytes([len(text)]) + text.encode() + b"\x94" for text in (module, name))
    return b"".join(texts) + b"\x93"


def _calls() -> Iterator[Hostile]:
    """Yield each way to call a function by an opcode, for several functions."""
    for module, name in _COMMANDS:
        title = f"{module}.{name}"
        old, new = _name(module, name), _name(module, name, 4)
        one = b"(" + _COMMAND + b"t"
        yield f"reduce {title}", b"\x80\x02" + old + one + b"R."
        yield f"reduce stack_global {title}", b"\x80\x04" + new + one + b"R."
        yield f"reduce without proto {title}", old + one + b"R."
        yield f"inst {title}", b"(" + _COMMAND + f"i{module}\n{name}\n.".encode()
        yield f"obj {title}", b"\x80\x02(" + old + _COMMAND + b"o."
        yield f"newobj {title}", b"\x80\x02" + old + one + b"\x81."
        yield f"newobj_ex {title}", b"\x80\x04" + new + one + b"}\x92."
        yield f"build {title}", b"\x80\x02" + old + b"}" + _COMMAND + b"Nsb."
        yield f"popped {title}", b"\x80\x02" + old + one + b"R0N."
        yield f"memoised {title}", b"\x80\x02" + old + b"q\x00" + one + b"q\x010h\x00h\x01R."
        yield f"as a callback {title}", b"\x80\x02ccollections\ndefaultdict\n(" + old + b"tR."
        yield f"in an estimator {title}", b"\x80\x02csklearn.svm._classes\nSVC\n)\x81}S'kernel'\n" + old + b"sb."


def _dressed() -> Iterator[Hostile]:
    """Yield ways to hide what is called."""
    system, one = _name("os", "system"), b"(" + _COMMAND + b"t"
    inner = b"\x80\x02" + system + one + b"R."
    held = b"B" + struct.pack("<I", len(inner)) + inner
    upper = b"\x80\x04\x8c\x08builtins\x8c\x03str\x93(S'os'\ntR\x8c\x06system\x93"
    yield "computed module", upper + one + b"R."
    yield "computed name", b"\x80\x04\x8c\x02os\x8c\x08builtins\x8c\x03str\x93(S'system'\ntR\x93" + one + b"R."
    yield "dotted name", b"\x80\x04\x8c\x12sklearn.svm._bases\x8c\x09os.system\x93" + one + b"R."
    yield "dotted through numpy", b"\x80\x04\x8c\x05numpy\x8c\x0eos.path.sys.os\x93."
    for code, opcode in ((b"\x01", b"\x82"), (b"\x01\x02", b"\x83"), (b"\x01\x02\x03\x04", b"\x84")):
        yield f"extension of {len(code)} bytes", b"\x80\x02" + opcode + code + one + b"R."
    for loads in (("pickle", "loads"), ("_pickle", "loads"), ("cloudpickle", "loads"), ("joblib", "load")):
        yield f"nested {loads[0]}", b"\x80\x03" + _name(*loads) + b"(" + held + b"tR."
    deeper = b"\x80\x03" + _name("pickle", "loads") + b"(" + held + b"tR."
    held_deeper = b"B" + struct.pack("<I", len(deeper)) + deeper
    yield "nested twice", b"\x80\x03" + _name("pickle", "loads") + b"(" + held_deeper + b"tR."
    yield (
        "nested in latin-1",
        b"\x80\x02c_codecs\nencode\n(V"
        + inner.decode("latin-1").encode("raw-unicode-escape").replace(b"\n", b"\\u000a")
        + b"\nVlatin1\ntR.",
    )
    yield "nested and unused", b"\x80\x03" + held + b"0N."
    yield "nested in a nested array", b"\x80\x02" + _joblib_array(b"O8") + inner + b"."
    yield "persistent id", b"\x80\x02Pos.system\n."
    yield "binary persistent id", b"\x80\x02" + system + b"Q."
    yield "getattr", b"\x80\x02cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR" + one + b"R."
    yield "attrgetter", b"\x80\x02coperator\nattrgetter\n(S'system'\ntR(cos\nsys\ntR."
    yield "methodcaller", b"\x80\x02coperator\nmethodcaller\n(S'system'\n" + _COMMAND + b"tR."
    yield "partial", b"\x80\x02cfunctools\npartial\n(" + system + _COMMAND + b"tR)R."
    yield "map", b"\x80\x02cbuiltins\nlist\n(cbuiltins\nmap\n(" + system + b"]" + _COMMAND + b"atRtR."
    yield "reconstructor", b"\x80\x02ccopyreg\n_reconstructor\n(" + system + b"cbuiltins\nobject\nNtR."
    yield "import by cloudpickle", b"\x80\x02ccloudpickle.cloudpickle\nsubimport\n(S'antigravity'\ntR."
    code = b"K\x00" * 6 + b"C\x04\x00\x01\x02\x03)(S'os'\nt" + b"N" * 9
    yield "code by value", b"\x80\x02ctypes\nCodeType\n(" + code + b"tR."
    yield "changed class", b"\x80\x02csklearn.svm._classes\nSVC\n}S'predict'\n" + system + b"sb."
    yield "changed module", b"\x80\x02csys\nmodules\nS'json'\n" + system + b"s."
    yield "called twice", b"\x80\x02csklearn.svm._classes\nSVC\n)R" + one + b"R."
    yield "Python 2", b"c__builtin__\nexecfile\n(S'/etc/passwd'\ntR."
    yield "commands of Python 2", b"ccommands\ngetoutput\n" + one + b"R."
    yield "runpy", b"\x80\x02crunpy\nrun_path\n(S'/etc/passwd'\ntR."
    yield "importlib", b"\x80\x02cimportlib\nimport_module\n(S'antigravity'\ntR."
    yield "numpy runstring", b"\x80\x02cnumpy.testing._private.utils\nrunstring\n" + one + b"R."
    yield "torch load", b"\x80\x02ctorch\nload\n" + one + b"R."
    yield "pandas eval", b"\x80\x02cpandas\nread_pickle\n" + one + b"R."
    yield "socket", b"\x80\x02csocket\ncreate_connection\n((S'127.0.0.1'\nI1\nttR."
    yield "rmtree", b"\x80\x02cshutil\nrmtree\n" + one + b"R."
    yield "after the end", pickle.dumps([]) + inner
    yield "a name with a new line", b"\x80\x04\x8c\x03o\ns\x8c\x06system\x93" + one + b"R."
    yield "a name that steers a terminal", b"\x80\x04\x8c\x05\x1b[2Jx\x8c\x06system\x93" + one + b"R."
    yield "an unknown class", b"\x80\x02cnobody.knows\nThis\n)\x81."


def _bombs() -> Iterator[Hostile]:
    """Yield what costs a real unpickler its memory, its time or its stack."""
    yield "deep lists", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    yield "deep tuples", b"\x80\x02)" + b"\x85" * 100_000 + b"."
    yield "deep marks", b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."
    yield "deep objects", b"\x80\x02cdecimal\nDecimal\nq\x00" + b"h\x00)" * 50_000 + b"\x81" * 50_000 + b"."
    yield "doubled tuples", b"\x80\x02)" + b"2\x86" * 1_000 + b"."
    yield "lists of lists", b"\x80\x02]" + b"".join(b"q%c0](%se" % (n, b"h%c" % n * 9) for n in range(200)) + b"."
    yield "endless memo", b"\x80\x04N" + b"\x94" * 150_000 + b"."
    yield "endless opcodes", b"\x80\x02" + b"N0" * 200_000 + b"N."
    far = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"4294967295\n", b"-1\n", b"away\n")
    for number, place in enumerate(far):
        put, get = (b"r", b"j") if number < 2 else (b"p", b"g")
        yield f"a far place to put {number}", b"\x80\x02N" + put + place + b"."
        yield f"a far place to get {number}", b"N" + get + place + b"."
    for title, opcode in {"text": b"\x8d", "bytes": b"\x8e", "bytearray": b"\x96", "frame": b"\x95"}.items():
        for size in (1 << 40, (1 << 63) - 1, (1 << 64) - 1):
            yield f"a huge {title} {size}", b"\x80\x05" + opcode + struct.pack("<Q", size) + b"x."
    yield "a huge long", b"\x80\x02\x8b\xff\xff\xff\x7f\x01."
    yield "a negative long", b"\x80\x02\x8b\xff\xff\xff\xff\x01."
    yield "a long of many digits", b"L" + b"9" * 200_000 + b"L\n."
    yield "an int of many digits", b"I" + b"9" * 200_000 + b"\n."
    yield "a float of many digits", b"F" + b"1" * 200_000 + b"\n."
    yield "a line without an end", b"V" + b"x" * 3_000_000
    yield "a name without an end", b"c" + b"x" * 3_000_000
    yield "nothing on the stack", b"\x80\x02R."
    yield "no mark", b"\x80\x02t."
    yield "too few for a tuple", b"\x80\x02N\x87."
    yield "an append to nothing", b"\x80\x02Na."
    yield "an item of a number", b"\x80\x02K\x01K\x02K\x03s."
    yield "a key that is a list", b"\x80\x02}]Ns."
    yield "an odd number of items", b"\x80\x02}(Nu."
    yield "a protocol of the future", b"\x80\xff."
    yield "a buffer of somebody's", b"\x80\x05\x97\x98."
    yield "a list that holds itself", b"\x80\x02]q\x00h\x00a."
    yield "an object that holds itself", b"\x80\x02csklearn.pipeline\nPipeline\n)\x81q\x00}S'steps'\n](S'x'\nh\x00tasb."
    yield "a frame that lies", b"\x80\x04\x95\x01\0\0\0\0\0\0\0" + b"N" * 50 + b"."
    yield "an opcode that there is not", b"\x80\x02\xff."
    yield "lists in a string of themselves", b"\x80\x02" + b"(lp0\n" * 20_000 + b"."


def _joblib_array(dtype: bytes, shape: bytes = b"(I1\nt", more: bytes = b"") -> bytes:
    """Return the opcodes of joblib's description of an array."""
    kind = b"cnumpy\ndtype\n(S'" + dtype + b"'\n\x89\x88tR"
    facts = b"S'dtype'\n" + kind + b"S'shape'\n" + shape + b"S'numpy_array_alignment_bytes'\nI16\n" + more
    return b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(" + facts + b"ub"


def _arrays() -> Iterator[Hostile]:
    yield "an array of a huge shape", b"\x80\x02" + _joblib_array(b"f8", b"(" + b"I99999999999\n" * 8 + b"t") + b"\0."
    yield "an array of a negative shape", b"\x80\x02" + _joblib_array(b"f8", b"(I-5\nt") + b"\0."
    yield "an array of many dimensions", b"\x80\x02" + _joblib_array(b"f8", b"(" + b"I1\n" * 500 + b"t") + b"\0."
    yield "an array without a shape", b"\x80\x02" + _joblib_array(b"f8", b"N") + b"\0."
    yield "an array of an unknown dtype", b"\x80\x02" + _joblib_array(b"?!", b"(I9\nt") + b"\0."
    yield "an array of huge elements", b"\x80\x02" + _joblib_array(b"V99999999999999", b"(I9\nt") + b"\0."
    yield "an array that is padded beyond the end", b"\x80\x02" + _joblib_array(b"f8") + b"\xff."
    yield "arrays inside of arrays", b"\x80\x02" + _joblib_array(b"O8") * 1 + (b"\x80\x02" + _joblib_array(b"O8")) * 40
    yield "an array without a dtype", b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}b."


def _packed() -> Iterator[Hostile]:
    bomb = b"\x80\x05\x8e" + struct.pack("<Q", 1 << 40) + bytes(6 << 20)
    endless = b"\x80\x02" + b"N0" * (1 << 20)
    packers: dict[str, Callable[[bytes], bytes]] = {
        "zlib": zlib.compress,
        "gzip": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
    }
    for title, pack in packers.items():
        yield f"a bomb in {title}", pack(bomb)
        yield f"opcodes in {title}", pack(endless)
        yield f"half of {title}", pack(pickle.dumps(list(range(5000))))[:-900]
        yield f"garbage in {title}", pack(b"x" * 99)[:12] + b"\xff" * 40
    yield "a bomb in lzma", lzma.compress(bomb, format=lzma.FORMAT_ALONE)
    yield "a dictionary of 4 GiB", b"\x5d\x00\xff\xff\xff\xff" + b"\xff" * 8 + bytes(20)
    yield "lz4 and nothing", b"\x04\x22\x4d\x18"


def _archives() -> Iterator[Hostile]:
    inner = b"\x80\x02cos\nsystem\n(" + _COMMAND + b"tR."
    yield "command.pt", samples.torch(inner)
    yield "command with a storage.pt", samples.torch(b"\x80\x02(" + inner[2:-1] + samples.TENSOR + b"t.")
    yield "opcodes.mojo", samples.zipped({"model.ini": inner})
    for name in ("../../sprung", "/tmp/sprung", "..\\sprung", "C:\\sprung"):
        whole = {"archive/data.pkl": samples.STATE_DICT, "archive/version": b"3", name: b"x"}
        yield f"slip {name.encode().hex()}.pt", samples.zipped(whole)
        yield f"slip {name.encode().hex()}.keras", _with_entry(samples.keras(), name)
    zeros = bytes(32 << 20)
    yield "bomb.pt", samples.zipped({"a/data.pkl": b"\x80\x02" + zeros}, method=zipfile.ZIP_DEFLATED)
    yield "bomb.keras", samples.zipped({"config.json": zeros, "metadata.json": zeros}, method=zipfile.ZIP_DEFLATED)
    yield "bomb.skops", samples.zipped({"schema.json": b"[" * (8 << 20)}, method=zipfile.ZIP_DEFLATED)
    yield "deep.skops", samples.zipped({"schema.json": b'{"content":' * 50_000})
    yield (
        "system.skops",
        samples.skops(extra={"x": samples.skops_node("system", None, module="os", loader="FunctionNode")}),
    )
    yield "lambda.keras", samples.keras(layer={"module": "keras.layers", "class_name": "Lambda", "config": {}})
    for title, change in {
        "more entries": (10, struct.pack("<HH", 0xFFFE, 0xFFFE)),
        "a far directory": (16, b"\xfe\xff\xff\xff"),
        "a long directory": (12, b"\xfe\xff\xff\xff"),
        "64 bits": (10, b"\xff" * 10),
    }.items():
        data = bytearray(samples.torch(samples.STATE_DICT))
        end = data.rfind(b"PK\x05\x06") + change[0] - (2 if change[0] == 10 and len(change[1]) == 4 else 0)
        data[end : end + len(change[1])] = change[1]
        yield f"{title}.pt", bytes(data)
    data = bytearray(samples.keras())
    at = data.find(b"PK\x01\x02")
    data[at + 42 : at + 46] = b"\xff\xff\xff\x7f"
    yield "an entry that is far away.keras", bytes(data)
    data = bytearray(samples.keras())
    data[data.find(b"PK\x01\x02") + 10] = 99
    yield "an entry that is packed by nobody.keras", bytes(data)


def _with_entry(data: bytes, name: str) -> bytes:
    buffer = BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(name, b"x")
    return buffer.getvalue()


def _lengths() -> Iterator[Hostile]:
    huge = samples.varint(1 << 62)
    yield "a huge graph.onnx", samples.field(1, 8) + b"\x3a" + huge
    yield "a number without an end.onnx", b"\x08" + b"\xff" * 50
    yield "a key without an end.onnx", samples.field(1, 8) + b"\xff" * 11
    yield "no field.onnx", samples.field(1, 8) + b"\x02\x00"
    for wire in (3, 4, 6, 7):
        yield f"a field of kind {wire}.onnx", samples.field(1, 8) + bytes([8 << 3 | wire]) + b"\x00"
    deep = b""
    for _ in range(300):
        deep = samples.field(7, deep)
    yield "deep.onnx", samples.field(1, 8) + deep
    yield "many fields.onnx", samples.field(1, 8) + samples.field(7, b"\x5a\x00" * 100_000)
    yield "weights outside.onnx", samples.onnx(weights_in="../../../etc/passwd")
    yield "weights at a root.onnx", samples.onnx(weights_in="/etc/passwd")
    yield "a huge description.mlmodel", samples.field(1, 8) + b"\x12" + huge
    begin = b"{L\0\0\0\0\0\0\0\x07learner"
    for title, body in {
        "a huge key": b"{L" + struct.pack(">q", 1 << 62),
        "a negative key": b"{L" + struct.pack(">q", -1),
        "a huge text": b"SL" + struct.pack(">q", 1 << 62),
        "a huge array": b"[$d#L" + struct.pack(">q", 1 << 60),
        "a huge list": b"[#L" + struct.pack(">q", 1 << 60) + b"Z" * 99,
        "an endless list": b"[" + b"Z" * 300_000,
        "deep arrays": b"[" * 100_000,
        "deep tables": b"{L\0\0\0\0\0\0\0\x01a" * 100_000,
        "an unknown mark": b"?",
        "an array without a length": b"[$dZ",
        "a length that is a text": b"[#SL",
    }.items():
        yield f"{title}.ubj", begin + body
    yield "deep.json", b'{"learner":' + b"[" * 200_000
    yield "tables.json", b'{"learner":' * 100_000
    yield "digits.json", b'{"learner":' + b"9" * 200_000 + b"}"
    yield "nan.json", b'{"learner":NaN,"version":[NaN,1e999,-1]}'
    for length in (1 << 63, 1 << 40, (1 << 64) - 1, 1 << 20, 0, 1):
        yield f"a header of {length}.safetensors", struct.pack("<Q", length) + b'{"a":1}' + bytes(9)
    offsets_of = {"beyond": [0, 1 << 60], "backwards": [8, 0], "negative": [-8, 8], "words": ["a", "b"]}
    for title, offsets in offsets_of.items():
        yield f"tensors {title}.safetensors", samples.safetensors({"w": {"data_offsets": offsets}})
    yield "deep.safetensors", struct.pack("<Q", 100_000) + b'{"a":' * 20_000
    for count in (1 << 40, (1 << 64) - 1):
        yield f"pairs {count}.gguf", b"GGUF" + struct.pack("<IQQ", 3, count, count) + b"\xff" * 8
    yield "a huge list.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<QIIQ", 0, 9, 12, 1 << 60)
    yield "a huge list of texts.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<QIIQ", 0, 9, 8, 1 << 60)
    yield "many texts.gguf", samples.gguf(samples.gguf_list("words", *[""] * 1_100_000))
    yield "a list in a list.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<QIIQ", 0, 9, 9, 1)
    many_lengths = samples.gguf_text("w") + struct.pack("<I", 1 << 31)
    yield "many dimensions.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + many_lengths
    beyond = samples.gguf_text("w") + struct.pack("<IQIQ", 1, (1 << 64) - 1, 0, (1 << 64) - 1)
    yield "tensors beyond.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + beyond
    yield "a huge text.gguf", b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1 << 60)
    yield "a huge body.cbm", b"CBM1\xff\xff\xff\xff"
    yield "deep.cbm", b"CBM1\x00\x00\x00\x00" + b'{"classes_count":' * 50_000
    many = b"9" * 100_000 + b"\nfeature_names=" + b"x " * 99_999
    yield "many features.txt", b"tree\nversion=v4\nmax_feature_idx=" + many


def _wrong_magic() -> Iterator[Hostile]:
    signatures = (b"\x80\x05", b"PK\x03\x04", b"PAR1", b"\x89HDF\r\n\x1a\n", b"CBM1", b"GGUF", b"\x08\x08", b"tree\n")
    for suffix in (".joblib", ".onnx", ".ubj", ".keras", ".skops", ".safetensors", ".pt", ".cbm"):
        for signature in signatures[:3]:
            yield f"{signature.hex()}{suffix}", signature + b"\xa5" * 200
        yield f"text{suffix}", b"Once upon a time, there was no model.\n" * 9
    for signature in signatures:
        yield f"{signature.hex()}.model", signature + bytes(200)
    yield "a page.pkl", b"<!DOCTYPE html><html><body>404</body></html>\n"
    yield "a pointer.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


def _truncated() -> Iterator[Hostile]:
    sklearn = b"\x80\x02csklearn.svm._classes\nSVC\n)\x81}(S'C'\nG?\xf0\0\0\0\0\0\0S'classes_'\n"
    sklearn += _joblib_array(b"i8") + b"\x00" + bytes(8) + b"ub."
    whole = {
        "x.joblib": sklearn,
        "x.gz.joblib": gzip.compress(sklearn),
        "x.pt": samples.torch(samples.STATE_DICT),
        "x.keras": samples.keras(),
        "x.skops": samples.skops(),
        "x.mojo": samples.mojo(),
        "x.onnx": samples.onnx(),
        "x.ubj": samples.ubjson(samples.XGBOOST),
        "x.json": json.dumps(samples.XGBOOST).encode(),
        "x.txt": samples.LIGHTGBM,
        "x.safetensors": samples.safetensors(),
        "x.gguf": samples.gguf(),
        "x.cbm": samples.catboost(),
        "x.parquet": b"PAR1" + bytes(99) + b"PAR1",
    }
    for name, content in whole.items():
        for tenth in range(1, 10):
            yield f"{tenth} of ten of {name}", content[: len(content) * tenth // 10]
