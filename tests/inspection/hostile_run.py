"""Run `kappa inspect` and `kappa validate` on every hostile file, in this process, which guards are set on.

The process may not take more than half a GiB of address space beyond what it starts with. While a file is read, nothing
may be imported that is named in it, opened for writing, compiled, executed or started. It prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from kappa.cli.main import cli
from kappa.inspection import opcodes, streams
from tests.inspection.hostile import hostile_files

_MORE_BYTES = 1 << 29
_FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn"),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "os.putenv"),
    *("shutil.rmtree", "shutil.move", "socket.__new__", "socket.connect", "socket.bind", "urllib.Request"),
    *("import", "exec", "compile", "code.__new__", "function.__new__", "marshal.loads", "marshal.load"),
    *("pickle.find_class", "ctypes.dlopen", "webbrowser.open", "builtins.input", "sys.settrace", "sys.setprofile"),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_STEPS = 100_000
_FREE_BYTES = 1 << 22
_KAPPAFILE = """\
kappafile = 1
[service]
name = "Hostile"
[artifacts.model]
type = "{type}"
path = "model"
[apis.predict]
artifact = "model"
input = {{ type = "dataframe", columns = {{ a = "float64" }} }}
[[examples]]
name = "one"
api = "predict"
input = [{{ a = 1.0 }}]
"""


class Guard:
    """Notes what the process does while it is on."""

    def __init__(self) -> None:
        self.events: list[str] | None = None
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.events is None:
            return
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        if event in _FORBIDDEN or is_write:
            self.events.append(f"{event} {arguments[:1]!r}"[:200])


def main() -> None:
    runner, guard = CliRunner(), Guard()
    folder = Path(sys.argv[1])
    os.chdir(folder)
    tempfile.gettempdir()  # which tries to write there when it is first asked
    (folder / "model").write_bytes(b"\x80\x02}.")
    for kind in ("pickle", "sklearn", "xgboost"):
        (folder / "kappafile.toml").write_text(_KAPPAFILE.format(type=kind))
        runner.invoke(cli, ["validate"])  # what is imported on first use is imported now
    for words in (["model"], ["model", "--format", "json"]):
        runner.invoke(cli, ["inspect", *words])
    files = [*hostile_files()]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + _MORE_BYTES, used + _MORE_BYTES))
    opcodes._MOST_STEPS, streams._FREE_BYTES = _STEPS, _FREE_BYTES
    results = []
    for number, (name, content) in enumerate(files):
        path = folder / f"{number} {name}".replace("/", "_")
        path.write_bytes(content)
        model = folder / "model"
        model.unlink()
        model.symlink_to(path.name)
        kind = {".ubj": "xgboost", ".json": "xgboost", ".joblib": "sklearn"}.get(path.suffix, "pickle")
        (folder / "kappafile.toml").write_text(_KAPPAFILE.format(type=kind))
        events: list[str] = []
        guard.events = events
        inspected = runner.invoke(cli, ["inspect", path.name, "--format", "json"])
        told = runner.invoke(cli, ["inspect", path.name])
        checked = runner.invoke(cli, ["validate"])
        guard.events = None
        results.append(
            {
                "name": path.name,
                "events": events,
                "codes": [inspected.exit_code, told.exit_code, checked.exit_code],
                "report": json.loads(inspected.stdout) if inspected.exit_code in (0, 3) else inspected.output,
                "text": told.output,
                "checked": checked.output,
            }
        )
        path.unlink()
    print(json.dumps({"results": results, "files": sorted(path.name for path in folder.iterdir())}))


if __name__ == "__main__":
    main()
