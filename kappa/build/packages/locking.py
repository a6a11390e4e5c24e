"""When a lock is reused and when another one is made: the committed copy, the cache, and the resolvers.

The committed copy is `kappafile.lock` beside the kappafile. Every lock that was made is kept in
``$KAPPA_HOME/locks/<inputs digest>``, whether or not there is a kappafile: what was asked for before is never resolved
again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from packaging.utils import canonicalize_name

from kappa._files import write_atomically
from kappa.build.packages.installed import installed_version
from kappa.build.packages.lock import FORMAT, LOCK_NAME, UNHASHED, Lock, LockInputs, Origin, Resolver, check_lock
from kappa.build.packages.lock_record import InputLine, say_difference
from kappa.environment import home_directory
from kappa.errors import IndexUnreachableError, LockError, ResolutionError, UsageError
from kappa.log import log
from kappa.plugins import RESOLVERS
from kappa.spec.pins import Pin, pins_of, unite

__all__ = ["LockMode", "Relock", "check_committed", "lock_packages", "read_lock", "relock"]

LockMode = Literal["reuse", "locked", "upgrade"]
"""``reuse`` what was made for the same inputs; ``locked``: the committed lock or none; ``upgrade``: the newest."""

_HASH = re.compile(r"\s--hash=(\S+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FORMAT = re.compile(r"# kappa-lock: (\d+) ")


@dataclass(frozen=True, slots=True)
class Relock:
    """The changes of `relock` to the committed lock."""

    lock: Lock
    before: Lock | None
    is_written: bool

    @property
    def changes(self) -> dict[str, tuple[str, str]]:
        """The versions before and after by distribution, where they differ; empty text for none."""
        old = _versions(self.before) if self.before is not None else {}
        new = _versions(self.lock)
        return {
            name: (old.get(name, ""), new.get(name, ""))
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        }


def lock_packages(
    inputs: LockInputs, *, committed: Path | None, environ: Mapping[str, str], mode: LockMode = "reuse"
) -> Lock:
    """Return a lock of ``inputs``: the committed one or the cached one where they fit, else a new one, then cached.

    A committed lock that was made for other inputs gives a new one its versions, as far as they fit. Raises
    `LockError` for a committed lock that does not fit in the mode ``locked``, else `ResolutionError`.
    """
    lock = read_lock(committed) if committed is not None else None
    if mode == "locked":
        return _fitting(lock, inputs, committed)
    if mode == "upgrade":
        return _resolve(inputs, environ)
    if lock is not None:
        if lock.inputs == inputs.digest:
            if lock.is_edited:
                log(f"`{LOCK_NAME}` was edited by hand; it is used as it is.", kind="warning")
            _warn_of_format(lock)
            log(f"Packages are those of `{LOCK_NAME}`")
            return lock
        log(f"`{LOCK_NAME}` is not used: it {_mismatch(lock, inputs)}", kind="warning")
    made = _cached(inputs, environ) or _resolve(inputs, environ, preferred=lock)
    return replace(made, base_image=lock.base_image) if lock is not None else made


def relock(
    inputs: LockInputs,
    committed: Path,
    *,
    environ: Mapping[str, str],
    upgrade: bool = False,
    packages: Collection[str] = (),
    base_image: str = "",
) -> Relock:
    """Bring the committed lock up to date with ``inputs`` and write it if it changes.

    ``base_image`` is what images start from, with its digest; without it, one that is pinned already stays.

    Versions stay as they are where they fit, but for those of ``packages``; with ``upgrade``, the newest of everything
    are taken. A lock of an earlier format that fits is written anew with the same versions. Raises `UsageError` or
    `ResolutionError`, and then leaves the file as it is.
    """
    if inputs.resolver == UNHASHED:
        message = (
            f'`resolver = "{UNHASHED}"` pins without hashes what is installed here, so there is no lock to commit.'
        )
        raise UsageError(f"{message} Lock with `--resolver pip-compile` or `--resolver uv`.")
    before = read_lock(committed)
    lock = before if before is not None and before.inputs == inputs.digest and not before.is_edited else None
    if upgrade:
        lock = _resolve(inputs, environ)
    elif packages:
        lock = _resolve(inputs, environ, preferred=_without(before, packages))
    elif lock is None and (before is None or not before.is_edited):
        lock = _cached(inputs, environ)
    lock = lock or _resolve(inputs, environ, preferred=before)
    if before is not None and before.target != lock.target:
        log(
            f"`{LOCK_NAME}` was made for Python {before.python} on {before.platform}, and is for Python {lock.python} "
            f"on {lock.platform} now. `python` in `[env]` and `platforms` in `[bundle]` say what to lock for.",
            kind="warning",
        )
    image = base_image or (before.base_image if before is not None else "")
    lock = replace(lock, base_image=image, input_lines=inputs.input_lines, format=FORMAT)
    is_written = before is None or before.text != lock.text or before.is_edited
    if is_written:
        write_atomically(committed, lock.text.encode())
    return Relock(lock, before, is_written)


def check_committed(inputs: LockInputs, committed: Path) -> Lock:
    """Return the committed lock if a build could use it as it is; raises `LockError` that says why not."""
    return _fitting(read_lock(committed), inputs, committed)


def _warn_of_format(lock: Lock) -> None:
    if lock.format < FORMAT:
        log(
            f"`{LOCK_NAME}` is of the old format {lock.format}, which does not say what it was made from, so it may "
            "not hold on another machine: run `kappa lock`, and commit the result.",
            kind="warning",
        )


def read_lock(path: Path, *, origin: Origin = "committed") -> Lock | None:
    """Read a lock; ``None`` if there is none, or if Kappa did not make it."""
    try:
        return Lock.parse(path.read_text(encoding="utf-8-sig"), origin=origin)
    except (OSError, UnicodeDecodeError):
        return None


def _fitting(lock: Lock | None, inputs: LockInputs, committed: Path | None) -> Lock:
    advice = "Run `kappa lock`, and commit the result."
    if lock is None:
        raise LockError(f"`{LOCK_NAME}` {_no_lock(committed)}. {advice}")
    if lock.is_edited:
        raise LockError(f"`{LOCK_NAME}` was edited by hand. {advice}")
    if lock.inputs != inputs.digest:
        raise LockError(f"`{LOCK_NAME}` {_mismatch(lock, inputs)}")
    _warn_of_format(lock)
    return lock


def _no_lock(committed: Path | None) -> str:
    """Say why there is no lock, as the end of a sentence."""
    if committed is None or not committed.exists():
        return "does not exist"
    with suppress(OSError, UnicodeDecodeError):
        if (match := _FORMAT.match(committed.read_text(encoding="utf-8-sig"))) and int(match[1]) > FORMAT:
            return f"is of format {match[1]}, and this Kappa knows formats up to {FORMAT}: update Kappa"
    return "is not a lock that Kappa made"


def _mismatch(lock: Lock, inputs: LockInputs) -> str:
    """Say why a lock is not one of ``inputs``, and what to do, as the end of a paragraph."""
    out_of_date = "is out of date: "
    if lock.python != inputs.python:
        out_of_date += f"it was made for Python {lock.python}, not {inputs.python}"
    elif lock.platform != inputs.platform:
        out_of_date += f"it was made for {lock.platform}, not {inputs.platform}"
    elif (resolver := lock.resolver.split(" ")[0]) != inputs.resolver:
        out_of_date += f"it was made with {resolver}, not {inputs.resolver}"
    elif lock.format < FORMAT:
        out_of_date += (
            f"it is of the old format {lock.format}, which does not say what it was made from, and what is asked for "
            "now on this machine is something else"
        )
    else:
        changed, drifted = say_difference(inputs.input_lines, lock.input_lines)
        if not changed and lock.options != inputs.options:
            changed = "the indexes or options have changed since it was made"
        if drifted and not changed:
            return (
                f"has drifted from the code, which imports {drifted} now: what brings it is not locked. Run "
                "`kappa lock` where that is installed, and commit the result."
            )
        out_of_date += changed or "the requirements or their constraints have changed since it was made"
        if drifted:
            out_of_date += f"; and the code has drifted from it: it imports {drifted} now"
    return f"{out_of_date}. Run `kappa lock`, and commit the result."


# -- the cache, and new locks ------------------------------------------------------------------------------------------


def _cached(inputs: LockInputs, environ: Mapping[str, str]) -> Lock | None:
    if inputs.resolver == UNHASHED:
        return None  # what is installed changes
    lock = read_lock(_path(inputs, environ), origin="cached")
    if lock is None or lock.inputs != inputs.digest or lock.is_edited:
        return None
    log("Packages are those of the last build with the same requirements")
    return replace(lock, input_lines=inputs.input_lines, format=FORMAT)


def _path(inputs: LockInputs, environ: Mapping[str, str]) -> Path:
    return home_directory(environ) / "locks" / inputs.digest.replace(":", "-")


def _resolve(inputs: LockInputs, environ: Mapping[str, str], *, preferred: Lock | None = None) -> Lock:
    hint = " (`--resolver uv` takes a seventh of the time)" if inputs.resolver == "pip-compile" else ""
    log(f"Resolving {len(inputs.requirements)} requirements with {inputs.resolver}{hint}", kind="step")
    resolver: Resolver = RESOLVERS.load(inputs.resolver)()
    kept = unite(preferred.pins) if preferred is not None else ""
    try:
        resolution = resolver.resolve(inputs, environ=environ, preferred=kept)
    except IndexUnreachableError:
        raise
    except ResolutionError as exc:
        raise ResolutionError(f"{exc}{_who_asks(str(exc), inputs)}") from exc
    options = "".join(f"{option}\n" for option in inputs.options)
    body = _with_stated_hashes(resolution.body, inputs.constraints)
    lock = Lock(
        inputs.digest,
        inputs.python,
        inputs.platform,
        resolution.resolver,
        options + body,
        input_lines=inputs.input_lines,
    )
    check_lock(lock)
    if inputs.resolver != UNHASHED:
        _keep(lock, _path(inputs, environ))
    return lock


def _who_asks(message: str, inputs: LockInputs) -> str:
    """Return the origins of requirements whose distributions a resolver names, which it does not know."""
    words = {canonicalize_name(word.rstrip(".-_")) for word in _NAME.findall(message)}
    lines = [
        f"- `{line.requirement.partition(' --hash=')[0]}`: {line.why}{_origin(line)}"
        for line in inputs.input_lines
        if line.requirement is not None and line.distribution in words
    ]
    return "\n".join(["", "Who asks for them:", *dict.fromkeys(lines)]) if lines else ""


def _origin(line: InputLine) -> str:
    """Return where the version of an inferred requirement comes from."""
    if line.asker in ("user", "kappa") or line.answer != f"{line.distribution}=={installed_version(line.distribution)}":
        return ""
    return "; this version is installed here (name another one in `pip_packages`)"


def _keep(lock: Lock, path: Path) -> None:
    try:
        write_atomically(path, lock.text.encode())
    except OSError as exc:  # a build does not fail for a cache
        log(f"The lock could not be kept in `{path.parent}`: {exc.strerror}.", kind="warning")


def _with_stated_hashes(body: str, constraints: Collection[str]) -> str:
    """Give a pin the hashes that its constraint states, and no others."""
    stated = {_version_of(text): tuple(_HASH.findall(text)) for text in constraints if _HASH.search(text)}
    if not stated:
        return body
    return unite(replace(pin, hashes=stated.get((pin.name, pin.version), pin.hashes)) for pin in pins_of(body))


def _version_of(constraint: str) -> tuple[str, str]:
    pin = Pin(_HASH.sub("", constraint).strip())
    return pin.name, pin.version


def _without(lock: Lock | None, packages: Collection[str]) -> Lock | None:
    """Return a lock without the pins of ``packages``, which must be in it; raises `UsageError`."""
    pins = lock.pins if lock is not None else ()
    named = {canonicalize_name(name): name for name in packages}
    if unknown := named.keys() - {pin.name for pin in pins}:
        raise UsageError(f"`{named[min(unknown)]}` is not in `{LOCK_NAME}`, so there is nothing to upgrade.")
    return replace(lock, body=unite(pin for pin in pins if pin.name not in named)) if lock is not None else None


def _versions(lock: Lock) -> dict[str, str]:
    by_name: dict[str, list[str]] = {}
    for pin in lock.pins:
        by_name.setdefault(pin.name, []).append(pin.version)
    return {name: ", ".join(sorted(set(versions))) for name, versions in by_name.items()}
