"""Make the same ten mistakes in Kappa, BentoML, Truss and MLServer, and write what each says into the docs.

    python benchmarks/manifest_errors/run.py [--environments DIRECTORY] [--only TOOL ...] [--print]

Each tool is installed from the index into an environment of its own (some 2 GB in all) under a temporary folder, or
under DIRECTORY, where it is found again. Everything that is judged is judged by the rules at the top of the page.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from cases import AT_ONCE, MISTAKES, PROJECTS, Edit, Project

__all__ = ["main"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "manifest-errors.md"
SECONDS = 90
GRACE_SECONDS = 5  # MLServer listens before it knows that a model cannot be loaded
SHOWN_LINES, SHOWN_COLUMNS = 8, 160


@dataclass(frozen=True, slots=True)
class Tool:
    title: str
    requirements: Sequence[str]
    """What is installed; nothing for Kappa, which is the checkout's."""
    command: Sequence[str]
    """What is run in the project's folder; the first word is a command of the tool's environment."""
    serving: str = ""
    """For a server, which runs until it is stopped: what it prints when it serves the model."""


TOOLS: Mapping[str, Tool] = {
    "kappa-toml": Tool("Kappa, TOML", (), ("kappa", "validate")),
    "kappa-yaml": Tool("Kappa, YAML", (), ("kappa", "validate")),
    "bentoml": Tool("BentoML", ("bentoml==1.4.39", "uv"), ("bentoml", "build", "--output", "tag")),
    "truss": Tool("Truss", ("truss==0.18.35",), ("truss", "--non-interactive", "image", "build-context", "../context")),
    "mlserver": Tool(
        "MLServer",
        ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "setuptools<81"),
        ("mlserver", "start", "."),
        serving="Loaded model 'iris'",
    ),
}

TRUSS_SETTINGS = "[preferences]\ninclude_git_info = false\ncheck_for_updates = false\n"
TRAIN = (
    "import joblib; from sklearn.linear_model import LogisticRegression; "
    "joblib.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), 'model.joblib')"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool said about one manifest."""

    exit_code: int | None
    """``None`` for a server that kept running and had to be stopped."""
    is_accepted: bool
    lines: int
    """Lines of output that are not empty."""
    is_traceback: bool
    telling: str
    """The output without logos, time stamps, routine log lines, frames of tracebacks and this machine's paths."""


@dataclass(frozen=True, slots=True)
class Verdict:
    answer: Answer
    is_reported: bool
    has_place: bool
    has_fix: bool | None
    """``None`` where there is nothing to suggest."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, help="where the tools are installed, and found again")
    parser.add_argument("--only", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--print", action="store_true", help="print the page instead of writing it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="manifest-errors-") as name:
        scratch = Path(name)
        environments = arguments.environments or scratch / "environments"
        homes = scratch / "home"
        (homes / ".config" / "truss").mkdir(parents=True)
        (homes / ".config" / "truss" / "settings.toml").write_text(TRUSS_SETTINGS, encoding="utf-8")
        runner = Runner(environments.resolve(), scratch, homes)
        verdicts = {}
        for tool in arguments.only:
            runner.install(tool)
            print(f"{TOOLS[tool].title} {runner.version(tool)}", file=sys.stderr)
            verdicts[tool] = runner.judge_all(tool)
        versions = {tool: runner.version(tool) for tool in arguments.only}
    page = render(verdicts, versions)
    if arguments.print:
        print(page, end="")
    else:
        PAGE.write_text(page, encoding="utf-8")
        print(f"Wrote `{PAGE.relative_to(ROOT)}`.", file=sys.stderr)


class Runner:
    """Runs the tools, each in its environment and in fresh folders."""

    def __init__(self, environments: Path, scratch: Path, home: Path) -> None:
        self.environments, self.scratch, self.home = environments, scratch, home
        self.count = 0

    def bin(self, tool: str) -> Path:
        if not TOOLS[tool].requirements:
            return Path(sys.executable).parent
        return self.environments / tool / ("Scripts" if os.name == "nt" else "bin")

    def install(self, tool: str) -> None:
        about = TOOLS[tool]
        if not about.requirements or (self.bin(tool) / about.command[0]).exists():
            return
        print(f"Installing {', '.join(about.requirements)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", self.environments / tool], check=True)
        pip = [str(self.bin(tool) / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--no-cache-dir", *about.requirements], check=True)

    def version(self, tool: str) -> str:
        package = "kappa-ml" if tool.startswith("kappa") else tool
        code = f"from importlib.metadata import version; print(version('{package}'))"
        answer = subprocess.run([self.bin(tool) / "python", "-c", code], check=True, capture_output=True, text=True)
        return answer.stdout.strip()

    def judge_all(self, tool: str) -> list[Verdict]:
        """Return a verdict per mistake, then one for the manifest with several at once."""
        project = PROJECTS[tool]
        base = self.run(tool, project)
        if not base.is_accepted:
            raise SystemExit(f"{tool} refuses its correct project:\n{base.telling}")
        edits = [mistake.edits[tool] for mistake in MISTAKES]
        verdicts = [judge(self.run(tool, project, [edit]), project, edit) for edit in edits]
        together = self.run(tool, project, [edits[number] for number in AT_ONCE])
        return [*verdicts, *(judge(together, project, edits[number]) for number in AT_ONCE)]

    def run(self, tool: str, project: Project, edits: Sequence[Edit] = ()) -> Answer:
        self.count += 1
        folder = self.scratch / f"{self.count}" / "iris"
        for name, content in project.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                text = edited(content, edits) if name == project.manifest else with_free_ports(content)
                path.write_text(text, encoding="utf-8")
        if tool == "mlserver":
            subprocess.run([self.bin(tool) / "python", "-c", TRAIN], cwd=folder, check=True)
        exit_code, output = self.call(tool, folder)
        for path, shown in ((folder, "iris"), (self.environments, "…"), (self.scratch, "…"), (ROOT, "…")):
            output = output.replace(str(path), shown)
        lines = [line for line in output.splitlines() if line.strip()]
        telling = tell(lines)
        is_traceback = "Traceback (most recent call last)" in output
        shutil.rmtree(folder.parent)
        serving = TOOLS[tool].serving
        is_accepted = exit_code is None and serving in output if serving else exit_code == 0
        return Answer(exit_code, is_accepted, len(lines), is_traceback, telling)

    def call(self, tool: str, folder: Path) -> tuple[int | None, str]:
        about = TOOLS[tool]
        command = [str(self.bin(tool) / about.command[0]), *about.command[1:]]
        environ = {
            "PATH": f"{self.bin(tool)}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "KAPPA_HOME": str(self.home / "kappa"),
            "BENTOML_HOME": str(self.home / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "COLUMNS": str(SHOWN_COLUMNS),
            "NO_COLOR": "1",
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "PYTHONWARNINGS": "ignore",
        }
        log = folder.parent / "log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                command, cwd=folder, env=environ, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )
            exit_code = wait(process, log) if about.serving else process.wait(SECONDS)
        return exit_code, log.read_text(encoding="utf-8", errors="replace")


def wait(process: subprocess.Popen[bytes], log: Path) -> int | None:
    """Return a server's exit code if it ends by itself; if it still serves after a while, stop it, return nothing."""
    until = time.monotonic() + SECONDS
    is_up = False
    while process.poll() is None and time.monotonic() < until:
        if not is_up and "gRPC server running" in log.read_text(encoding="utf-8", errors="replace"):
            is_up, until = True, time.monotonic() + GRACE_SECONDS
        time.sleep(0.2)
    if process.poll() is not None:
        return process.returncode
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return None


def edited(manifest: str, edits: Sequence[Edit]) -> str:
    for edit in edits:
        if manifest.count(edit.old) != 1:
            raise ValueError(f"`{edit.old}` stands {manifest.count(edit.old)} times in the manifest")
        manifest = manifest.replace(edit.old, edit.new)
    return manifest


def with_free_ports(text: str) -> str:
    for port in ("18080", "18081", "18082"):
        if port in text:
            with socket.socket() as listener:
                listener.bind(("", 0))
                text = text.replace(port, str(listener.getsockname()[1]))
    return text


# -- judging


_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
_BOX = re.compile(r"[╭╰│─╮╯]+")
_GROUP = re.compile(r"^\s*[|+] ?")
_ROUTINE = re.compile(r"^INFO:|^(\[[\w.:]+\])+ INFO - |WARNING - Adaptive Batching|^__tag__:")
_NOISE = re.compile(r"[█╗╔╚╝║═▪]|^During handling of|^The above exception|^[-+ ]*\d*[-+ ]*$")


def tell(lines: Sequence[str]) -> str:
    """Leave what a reader looks for: no frames of tracebacks, routine log lines, logos or time stamps."""
    told, in_traceback, in_box = [], False, False
    for line in (_STAMP.sub("", line.rstrip()) for line in lines):
        if "Traceback (most recent call last)" in line:
            in_box = "╭" in line
            in_traceback = not in_box
        elif in_box:
            in_box = "╰" not in line
        else:
            text = _GROUP.sub("", line) if in_traceback else line
            if in_traceback and text.startswith((" ", "\t")):
                continue
            in_traceback = in_traceback and text != line  # an exception group goes on after its first message
            told.append(_BOX.sub("", text).rstrip())
    return "\n".join(line for line in told if line.strip() and not _NOISE.search(line) and not _ROUTINE.search(line))


def judge(answer: Answer, project: Project, edit: Edit) -> Verdict:
    """Apply the rules that the page states."""
    is_reported = bool(re.search(edit.shown, answer.telling))
    near = "|".join(map(str, lines_of(project, edit)))
    has_place = is_reported and bool(re.search(rf"(\bline |:)({near})\b", answer.telling))
    has_fix = bool(is_reported and re.search(edit.fix, answer.telling)) if edit.fix else None
    return Verdict(answer, is_reported, has_place, has_fix)


def lines_of(project: Project, edit: Edit) -> list[int]:
    """Return the lines that a message may name: the first that the edit changes, its neighbours, and the table's."""
    before = project.files[project.manifest]
    assert isinstance(before, str)
    after = edited(before, [edit])
    pairs = zip_longest(before.splitlines(), after.splitlines())
    line = next(number for number, (old, new) in enumerate(pairs, 1) if old != new)
    table = [after[: after.index(edit.table)].count("\n") + 1] if edit.table else []
    return sorted({line - 1, line, line + 1, *table} - {0})


# -- the page


HEAD = """\
# What a manifest's mistakes are answered with

<!-- Written by `python benchmarks/manifest_errors/run.py`, which installs and runs every tool. -->

The same ten mistakes, made in a kappafile and in the manifests of BentoML, Truss and MLServer, and what each tool says
about them. `python benchmarks/manifest_errors/run.py` makes an environment for each tool, runs everything, and writes
this page; `benchmarks/manifest_errors/cases.py` holds the projects and the mistakes.

| tool | version | what is run | the manifest |
| --- | --- | --- | --- |
"""

RULES = """
Every tool but Kappa is asked with the first command of its own that reads the manifest on the user's machine; none of
them has one that only validates. `truss push` checks more, but needs an account of its platform. MLServer's manifest is
JSON and has no version of Python: there the version without quotes is the model's own.

The rules are mechanical. *Reported*: the output names the key or value that is wrong. *Line*: it also has the
manifest's line, give or take one, or that of the table. *Fix*: it also names what should stand there, alone or in a
list. *Lines*: how much is printed, empty lines left out; **T** if it holds a Python traceback. *Accepted*: the command
did its work, or the server serves the model. Below the table stands what is printed, without logos, routine log lines
and the frames of tracebacks, and at most eight lines of it.
"""


def render(verdicts: Mapping[str, Sequence[Verdict]], versions: Mapping[str, str]) -> str:
    tools = list(verdicts)
    parts = [HEAD]
    for tool in tools:
        about = TOOLS[tool]
        command = " ".join(about.command)
        parts.append(f"| {about.title} | {versions[tool]} | `{command}` | `{PROJECTS[tool].manifest}` |\n")
    parts += [RULES, "\n## In one table\n\n", row(["mistake", *(TOOLS[tool].title for tool in tools)])]
    parts.append(row(["---"] * (len(tools) + 1)))
    count = len(MISTAKES)
    for number, mistake in enumerate(MISTAKES):
        parts.append(row([mistake.title, *(cell(verdicts[tool][number]) for tool in tools)]))
    single = {tool: verdicts[tool][:count] for tool in tools}
    refused = [sum(v.is_reported and not v.answer.is_accepted for v in each) for each in single.values()]
    parts.append(row(["**Not accepted, and the mistake named**", *(f"{number} of {count}" for number in refused)]))
    placed = [sum(v.has_place for v in each) for each in single.values()]
    parts.append(row(["**Line given**", *(f"{number} of {count}" for number in placed)]))
    fixable = [[v.has_fix for v in each if v.has_fix is not None] for each in single.values()]
    parts.append(row(["**Fix given**", *(f"{sum(each)} of {len(each)}" for each in fixable)]))
    printed = [sorted(v.answer.lines for v in each if not v.answer.is_accepted) for each in single.values()]
    medians = [str(each[len(each) // 2]) if each else "" for each in printed]
    parts.append(row(["**Lines printed when refused, median**", *medians]))
    together = [f"{sum(v.is_reported for v in verdicts[tool][count:])} of {len(AT_ONCE)}" for tool in tools]
    parts.append(row([f"**{len(AT_ONCE)} mistakes in one file: named at once**", *together]))
    names = ", ".join(MISTAKES[number].title[0].lower() + MISTAKES[number].title[1:] for number in AT_ONCE)
    parts.append(f"\nThe five of the last row: {names}.\n")
    for number, mistake in enumerate(MISTAKES):
        parts.append(f"\n## {mistake.title}\n")
        parts += [said(tool, mistake.edits[tool], verdicts[tool][number].answer) for tool in tools]
    return "".join(parts)


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def cell(verdict: Verdict) -> str:
    answer = verdict.answer
    size = f"{answer.lines} line{'' if answer.lines == 1 else 's'}{' **T**' if answer.is_traceback else ''}"
    if answer.is_accepted:
        return f"accepted{', with a remark' if verdict.is_reported else ''}"
    end = "serves without the model" if answer.exit_code is None else f"exit {answer.exit_code}"
    marks = [
        "reported" if verdict.is_reported else "not named",
        *(["line"] if verdict.has_place else []),
        *(["fix"] if verdict.has_fix else []),
    ]
    return f"{', '.join(marks)}; {size}, {end}"


def said(tool: str, edit: Edit, answer: Answer) -> str:
    """Return one tool's part of a mistake: what was written, and the end of what was said."""
    title = TOOLS[tool].title
    end = f"exit code {answer.exit_code}"
    if answer.exit_code is None:
        end = "it serves" if answer.is_accepted else "it serves, without the model"
    lines = answer.telling.splitlines()
    shown = [line if len(line) <= SHOWN_COLUMNS else f"{line[: SHOWN_COLUMNS - 1]}…" for line in lines]
    if len(shown) > SHOWN_LINES:
        first = next((number for number, line in enumerate(lines) if re.search(edit.shown, line)), len(shown))
        first = max(0, min(first - 1, len(shown) - SHOWN_LINES))
        after = ["…"] if first + SHOWN_LINES < len(shown) else []
        shown = [*(["…"] if first else []), *shown[first : first + SHOWN_LINES], *after]
    text = "\n".join(shown) or "(nothing of the manifest)"
    size = f"{answer.lines} line{'' if answer.lines == 1 else 's'}{', with a traceback' if answer.is_traceback else ''}"
    return f"\n**{title}**, `{written(edit)}`: {size}; {end}\n\n```text\n{text}\n```\n"


def written(edit: Edit) -> str:
    """Return the mistake as one line."""
    return " ⏎ ".join(line.strip() for line in edit.new.splitlines() if line.strip()) or f"without {edit.old.strip()}"


if __name__ == "__main__":
    main()
