"""The set-up script of a service: a file of the project or its text, which a shell runs while an image is made."""

from __future__ import annotations

import re
import shlex
from pathlib import Path, PurePosixPath

from kappa.build.manifest.texts import decoded
from kappa.spec.project_paths import is_script
from kappa.wording import one_of

__all__ = ["NO_SHELL_HELP", "interpreter_problem", "script_text", "shell_of"]

_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh")
_DEFAULT = "bash"
_BY_SUFFIX = {".py": "Python", ".pl": "Perl", ".rb": "Ruby", ".js": "Node", ".ps1": "PowerShell", ".bat": "Windows"}
_OF_ENV = re.compile(r"-.*|[A-Za-z_]\w*=.*")
"""Options of `env`, and variables that it sets."""

NO_SHELL_HELP = (
    "It runs before the service's packages are there: let a shell script call what needs none of them, and a "
    "`dockerfile_template` what does."
)


def script_text(setup_sh: str, root: Path) -> str:
    """Return the script that `setup_sh` is or names, with the line ends of POSIX.

    Raises `OSError`, or `ValueError` that says why its file is not text.
    """
    text = setup_sh if is_script(setup_sh) else decoded((root / setup_sh).read_bytes())
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    return text if text.endswith("\n") else f"{text}\n"


def shell_of(script: str) -> tuple[str, ...]:
    """Return the command that runs a script: the shell that its first line names, with its options, or bash."""
    words = _interpreter(script)
    return tuple(words) if words and words[0] in _SHELLS else (_DEFAULT,)


def interpreter_problem(setup_sh: str, script: str) -> str | None:
    """Return why no shell can run a script, as a part of a sentence."""
    words = _interpreter(script)
    if words and words[0] not in _SHELLS:
        return f"it asks to be run by `{words[0]}`, and a set-up script is run by a shell: {one_of(_SHELLS)}"
    suffix = PurePosixPath(setup_sh).suffix.lower() if not is_script(setup_sh) else ""
    if not words and suffix in _BY_SUFFIX:
        return f"it is named like a script of {_BY_SUFFIX[suffix]}, and a set-up script is run by a shell"
    return None


def _interpreter(script: str) -> list[str]:
    """Return the name of the program in a `#!` line, and its options; an empty list without one."""
    first = script.partition("\n")[0]
    if not first.startswith("#!"):
        return []
    program, *options = _words(first[2:]) or [""]
    name = PurePosixPath(program).name
    if name == "env":
        options = _words(" ".join(options))
        while options and _OF_ENV.fullmatch(options[0]):
            del options[0]
        program, *options = options or [""]
        name = PurePosixPath(program).name
    return [name, *options] if name else []


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed
        return text.split()
