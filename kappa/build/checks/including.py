"""The files that `[bundle] include` and the other folders of a project select, and those that may not be packed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kappa._files import is_ignored, strangeness
from kappa.build.checks.credentials import credential_in
from kappa.build.manifest.patterns import Matches, is_plain, matches_any, normal
from kappa.wording import quoted

__all__ = ["Finding", "check_pattern", "check_selection", "unusable_name"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of a pattern's files."""

    code: str
    message: str
    help: str = ""
    is_error: bool = True


def check_pattern(
    root: Path,
    pattern: str,
    matches: Matches,
    *,
    include: Sequence[str],
    exclude: Collection[str],
) -> Iterator[Finding]:
    """Yield what is wrong with one pattern of ``include``, which has ``found`` files."""
    if not matches.files:
        yield Finding("KF313", f"{quoted(pattern)} matches no file.", is_error=False)
    selected = [path for path in matches.files if not matches_any(path, exclude)]
    yield from check_selection(root, pattern, selected, include=include)
    for path, word in matches.passed_over.items():
        if not matches_any(path, exclude):
            message = f"{quoted(pattern)} passes over {quoted(str(path))}, which is {word}."
            yield Finding("KF303", message, "Exclude it, or put what it should be into the project.", is_error=False)


def check_selection(
    root: Path,
    selector: str,
    files: Sequence[PurePosixPath],
    *,
    include: Sequence[str] = (),
) -> Iterator[Finding]:
    """Yield the first problem of each kind that the selected files of a project have; ``selector`` selected them."""
    real_root = root.resolve()
    named = {normal(pattern) for pattern in include if is_plain(pattern)}
    secrets: list[str] = []
    for path in files:
        shown, file = quoted(str(path)), root / path
        real = file.resolve()
        if why := unusable_name(path):
            yield Finding(
                "KF327", f"{quoted(selector)} matches {shown}, whose name {why}.", "Rename it, or exclude it."
            )
            return
        if real.exists() and (strange := strangeness(real)):
            message = f"{quoted(selector)} matches {shown}, which is {strange}."
            yield Finding("KF302", message, "Exclude it, or put a file there.")
            return
        if not real.is_relative_to(real_root):
            message = f"{quoted(selector)} matches {shown}, a link that leads out of the project."
            yield Finding("KF303", message, "Exclude it, or move what it leads to into the project.")
            return
        if path.as_posix() not in named and (why := credential_in(path, file)):
            secrets.append(f"{shown}, which {why}")
    if secrets:
        more = f"; and {len(secrets) - 3} more" if len(secrets) > 3 else ""
        message = f"{quoted(selector)} would pack {'; '.join(secrets[:3])}{more}."
        help_ = "Leave it out with `exclude`. What is needed all the same is named by itself in `include`."
        yield Finding("KF326", message, help_)


def unusable_name(path: PurePosixPath) -> str:
    """Return why no bundle can hold a file under its name; an empty text if it can."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return "is one that tools use" if is_ignored(Path("package", path)) else ""
