"""Files of `pickle` and joblib."""

from __future__ import annotations

from pathlib import Path

from kappa.inspection.estimators import facts_of
from kappa.inspection.opcodes import PROTOCOL
from kappa.inspection.pickles import PICKLE_EXTENSIONS, PickleContents, contents_of, may_hold_estimator, sniff_pickle
from kappa.inspection.report import Certainty, Model
from kappa.inspection.streams import compression_of
from kappa.inspection.verdicts import verdict_on

__all__ = ["read_pickle_file"]


def read_pickle_file(path: Path, head: bytes) -> Model | None:
    """Read what `pickle.dump` or `joblib.dump` wrote; ``None`` for anything else."""
    is_named_so = path.suffix.lower() in PICKLE_EXTENSIONS
    compression = compression_of(head)
    is_signed = bool(compression or PROTOCOL.match(head))
    if not is_named_so and (not head or sniff_pickle(path) is not None):
        return None
    contents = contents_of(path)
    if compression and not is_named_so and not contents.names and contents.root is None:
        return None  # an archive of something else
    artifact_type = "sklearn" if may_hold_estimator(path) else "pickle"
    is_joblib = bool(compression) or any(name.module.startswith("joblib.numpy_pickle") for name in contents.names)
    kind = "joblib" if is_joblib or path.suffix.lower() == ".joblib" else "pickle"
    certainty: Certainty = "certain" if not contents.problem else "likely" if is_signed else "unknown"
    return _model_of(contents, kind=kind, artifact_type=artifact_type, certainty=certainty)


def _model_of(contents: PickleContents, *, kind: str, artifact_type: str, certainty: Certainty) -> Model:
    facts, needs = facts_of(contents.root), contents.needs
    packing = f", compressed by {contents.compression}" if contents.compression else ""
    return Model(
        kind=kind,
        certainty=certainty,
        written_by=("`joblib.dump`" if kind == "joblib" else "`pickle.dump`") + packing,
        artifact_type=artifact_type,
        made_of=needs.made_of,
        steps=facts.steps,
        versions=dict(needs.versions),
        feature_names=facts.feature_names,
        feature_count=facts.feature_count,
        classes=facts.classes,
        modules=needs.modules,
        later=needs.later,
        of_main=needs.of_main,
        notebooks=contents.notebooks,
        verdict=verdict_on(contents.names, contents.oddities, artifact_type, is_whole=not contents.problem),
        problem="" if contents.compression == "lz4" else contents.problem,
        remarks=(f"Nothing more is told of it: {contents.problem}.",) if contents.compression == "lz4" else (),
        is_truncated=contents.is_truncated,
    )
