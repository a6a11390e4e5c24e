"""From a project to a lock, and to a bundle: what other parts of Kappa use of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.build.bundle.builder import Build as Build
    from kappa.build.bundle.builder import build_bundle as build_bundle
    from kappa.build.bundle.ledger import BuildRecord as BuildRecord
    from kappa.build.bundle.ledger import read_builds as read_builds
    from kappa.build.bundle.ledger import recording as recording
    from kappa.build.bundle.plan import BuildPlan as BuildPlan
    from kappa.build.bundle.plan import plan_build as plan_build
    from kappa.build.bundle.sources import collect_code as collect_code
    from kappa.build.bundle.sources import watched_files as watched_files
    from kappa.build.bundle.trial import try_bundle as try_bundle
    from kappa.build.class_project import project_of as project_of
    from kappa.build.class_project import read_class_project as read_class_project
    from kappa.build.class_project import standing_for_its_file as standing_for_its_file
    from kappa.build.manifest.kappafile import read_kappafile as read_kappafile
    from kappa.build.packages.lock import LOCK_NAME as LOCK_NAME
    from kappa.build.packages.lock import Lock as Lock
    from kappa.build.packages.locking import LockMode as LockMode
    from kappa.build.packages.locking import Relock as Relock
    from kappa.build.packages.locking import check_committed as check_committed
    from kappa.build.packages.locking import read_lock as read_lock
    from kappa.build.packages.locking import relock as relock
    from kappa.build.project import Project as Project
    from kappa.build.project import check_kappafile as check_kappafile
    from kappa.build.project import read_project as read_project

_HOMES = {
    "Build": "kappa.build.bundle.builder",
    "BuildPlan": "kappa.build.bundle.plan",
    "BuildRecord": "kappa.build.bundle.ledger",
    "LOCK_NAME": "kappa.build.packages.lock",
    "Lock": "kappa.build.packages.lock",
    "LockMode": "kappa.build.packages.locking",
    "Project": "kappa.build.project",
    "Relock": "kappa.build.packages.locking",
    "build_bundle": "kappa.build.bundle.builder",
    "check_committed": "kappa.build.packages.locking",
    "check_kappafile": "kappa.build.project",
    "collect_code": "kappa.build.bundle.sources",
    "plan_build": "kappa.build.bundle.plan",
    "project_of": "kappa.build.class_project",
    "read_builds": "kappa.build.bundle.ledger",
    "read_class_project": "kappa.build.class_project",
    "read_kappafile": "kappa.build.manifest.kappafile",
    "read_lock": "kappa.build.packages.locking",
    "read_project": "kappa.build.project",
    "recording": "kappa.build.bundle.ledger",
    "relock": "kappa.build.packages.locking",
    "standing_for_its_file": "kappa.build.class_project",
    "try_bundle": "kappa.build.bundle.trial",
    "watched_files": "kappa.build.bundle.sources",
}

__all__ = [
    "LOCK_NAME",
    "Build",
    "BuildPlan",
    "BuildRecord",
    "Lock",
    "LockMode",
    "Project",
    "Relock",
    "build_bundle",
    "check_committed",
    "check_kappafile",
    "collect_code",
    "plan_build",
    "project_of",
    "read_builds",
    "read_class_project",
    "read_kappafile",
    "read_lock",
    "read_project",
    "recording",
    "relock",
    "standing_for_its_file",
    "try_bundle",
    "watched_files",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
