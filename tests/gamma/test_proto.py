"""`registry.proto` and what is made of it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from kappa.gamma.wire.proto import messages
from kappa.gamma.wire.proto.descriptors import SERVICE, descriptor_pool, methods

ROOT = Path(__file__).parents[2]


def test_what_is_made_of_the_proto_is_what_it_says() -> None:
    generated: dict[Path, bytes] = runpy.run_path(str(ROOT / "docs" / "generate_proto.py"))["generated"]()
    for path, content in generated.items():
        committed = path.read_bytes()
        if path.suffix == ".binpb":  # compilers differ in how they write what is the same
            own = [file for file in FileDescriptorSet.FromString(content).file if file.package.startswith("kappa")]
            ours = [file for file in FileDescriptorSet.FromString(committed).file if file.package.startswith("kappa")]
            assert ours == own, "run `make generate`"
        else:
            assert committed == content, "run `make generate`"


def test_no_name_of_ours_is_in_the_pool_that_all_packages_share() -> None:
    from google.protobuf.descriptor_pool import Default

    assert messages.Tag(name="Iris").name == "Iris"
    try:
        Default().FindFileByName("registry.proto")
    except KeyError:
        pass
    else:
        raise AssertionError("`registry.proto` is in the default pool")
    assert descriptor_pool().FindServiceByName(SERVICE).full_name == SERVICE


def test_the_methods_are_those_of_the_service() -> None:
    assert len(methods()) == 21
    read, write = methods()["ReadBlob"], methods()["WriteBlob"]
    assert (read.path, read.takes_stream, read.returns_stream) == ("/kappa.gamma.v1.Registry/ReadBlob", False, True)
    assert (write.takes_stream, write.returns_stream) == (True, False)


def test_threads_that_make_the_first_messages_together_get_the_same_classes() -> None:
    code = (
        "import sys, threading\n"
        "from kappa.gamma.wire.proto import messages\n"
        "sys.setswitchinterval(1e-6)\n"
        "barrier, failures = threading.Barrier(16), []\n"
        "def make():\n"
        "    barrier.wait()\n"
        "    try:\n"
        "        messages.Query(selector=[messages.Requirement(key='team')])\n"
        "    except TypeError as exc:\n"
        "        failures.append(exc)\n"
        "threads = [threading.Thread(target=make) for _ in range(16)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "sys.exit(str(failures[0]) if failures else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
