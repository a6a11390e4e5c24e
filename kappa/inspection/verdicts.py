"""Judging the names in a pickle: those that models of a type are made of, dangerous ones, and everything else.

A pickle is `safe` if each of its names is on the list of its type, and it does nothing that no model needs. A name that
is on no list is `unknown`, never `safe`: its behaviour with arguments of an attacker's choice was not reviewed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from kappa.inspection.opcodes import COMPUTED, EXTENSION, Name

__all__ = ["Verdict", "VerdictState", "verdict_on"]

VerdictState = Literal["safe", "unknown", "dangerous"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on a pickle, from the names in it."""

    state: VerdictState
    unknown: tuple[str, ...] = ()
    """Names that are on no list, as ``module:name``."""
    dangerous: tuple[str, ...] = ()
    """Names that run commands or code, open files or connections."""
    reasons: tuple[str, ...] = ()
    """Further findings against it: the ends of sentences that begin with "it"."""


_VALUES = (
    r"builtins:(bool|bytearray|bytes|complex|dict|float|frozenset|int|list|object|range|set|slice|str|tuple)",
    r"_codecs:encode|copyreg:_reconstructor",
    r"collections:(Counter|OrderedDict|defaultdict|deque)",
    r"datetime:(date|datetime|time|timedelta|timezone)|decimal:Decimal|fractions:Fraction|uuid:UUID",
    r"pathlib(\._local)?:(Pure)?(Posix|Windows)?Path|types:SimpleNamespace|zoneinfo:ZoneInfo\._unpickle",
)
_NUMPY = (
    r"numpy:(dtype|ndarray|generic|bool_?|str_|bytes_|object_|void|datetime64|timedelta64)",
    r"numpy:(u?int(8|16|32|64|p|c)?|float(16|32|64)|complex(64|128))",
    r"numpy:(abs(olute)?|exp|expm1|log|log10|log1p|log2|sqrt|square|sin|cos|tan)",
    r"numpy\.(_core|core)\.multiarray:(_reconstruct|scalar)|numpy\.(_core|core)\.numeric:_frombuffer",
    r"numpy\.random\._pickle:__(bit_generator|generator|randomstate)_ctor",
    r"numpy\.random\.(_\w+|bit_generator):(MT19937|PCG64|PCG64DXSM|Philox|SFC64|__pyx_unpickle_SeedSequence|SeedSequence)",
    r"numpy\.ma(\.core)?:(MaskedArray|_mareconstruct)",
    r"joblib\.numpy_pickle:NumpyArrayWrapper",
    r"scipy\.sparse\._\w+:(bsr|coo|csc|csr|dia|dok|lil)_(matrix|array)",
)
_PANDAS = (
    r"pandas(\.\w+)*:(DataFrame|Series|(Single)?BlockManager|Categorical|[A-Z]\w+Dtype|StringArray)",
    r"pandas(\.\w+)*:((Range|Multi|Datetime|Timedelta|Categorical)?Index|_new_Index|_unpickle_block)",
)
_PARTS_OF_SKLEARN = (
    "_loss|calibration|cluster|compose|covariance|cross_decomposition|decomposition|discriminant_analysis|dummy|ensemble"
    "|feature_extraction|feature_selection|gaussian_process|impute|isotonic|kernel_approximation|kernel_ridge"
    "|linear_model|manifold|mixture|model_selection|multiclass|multioutput|naive_bayes|neighbors|neural_network|pipeline"
    "|preprocessing|random_projection|semi_supervised|svm|tree"
)
"""The packages with estimators; not those with data sets, tests and files."""
_ESTIMATORS = (
    rf"sklearn\.({_PARTS_OF_SKLEARN})(\.\w+)*:(_?[A-Z]\w*|__pyx_unpickle_\w+|newObj)",
    r"sklearn\.metrics\._dist_metrics:(\w+Distance(32|64)?|newObj)",
    r"sklearn\.utils\._bunch:Bunch|sklearn\.feature_selection\._univariate_selection:[a-z]\w+",
    r"xgboost\.(core|sklearn):(Booster|XGB\w+)|lightgbm\.(basic|sklearn):(Booster|LGBM\w+)",
    r"catboost\.core:(CatBoost\w*|Pool)",
)
_TENSORS = (
    r"torch\._utils:_rebuild_(parameter|parameter_with_state|tensor|tensor_v2|tensor_v3|sparse_tensor|qtensor)",
    r"torch(\.storage)?:(\w+Storage|Size|device|dtype|Tensor|float(16|32|64)|bfloat16|u?int\d+|bool)",
    r"torch\.nn\.parameter:Parameter|torch\.serialization:_get_layout|torch\._tensor:_rebuild_from_type_v2",
)
_MODULES = (r"torch\.nn\.modules(\.\w+)+:[A-Z]\w*",)

_SAFE: dict[str, re.Pattern[str]] = {
    kind: re.compile("|".join(f"(?:{part})" for part in parts))
    for kind, parts in {
        "pickle": (*_VALUES, *_NUMPY, *_PANDAS),
        "sklearn": (*_VALUES, *_NUMPY, *_PANDAS, *_ESTIMATORS),
        "torch": (*_VALUES, *_NUMPY, *_TENSORS, *_MODULES),
        "skops": (*_VALUES, *_NUMPY, *_PANDAS, *_ESTIMATORS),
    }.items()
}
"""The names that models of a type are made of, as ``module:name``: classes and functions that only hold values."""

_DANGEROUS = re.compile(
    r"builtins:(__import__|breakpoint|compile|delattr|eval|exec|execfile|getattr|globals|input|locals|open|setattr|vars)"
    r"|(os|posix|nt|sys|subprocess|commands|popen2|pty|runpy|code|codeop|bdb|pdb|trace|timeit|profile|cProfile|ctypes|imp"
    r"|importlib|pkgutil|pydoc|shutil|socket|ssl|asyncio|multiprocessing|signal|webbrowser|http"
    r"|urllib|urllib2|ftplib|smtplib|telnetlib|xmlrpc|requests|httpx|aiohttp|paramiko|pip|ensurepip|venv|site|idlelib"
    r"|tempfile|fileinput|zipfile|tarfile|sqlite3|gc|inspect|marshal|unittest|doctest|lib2to3"
    r"|distutils|setuptools|pickle|_pickle|shelve|dbm|dill|torch\.hub|numpy\.testing|numpy\.f2py|numpy\.distutils"
    r"|torch\.serialization|joblib\.numpy_pickle_utils|pandas\.io|sklearn\.datasets|cloudpickle)(\.\w+)*:.*"
    r"|operator:(attrgetter|itemgetter|methodcaller)|_operator:(attrgetter|itemgetter|methodcaller)"
    r"|_?io:(open|open_code|FileIO)|(threading|_thread):(Thread|Timer|start_new(_thread)?)|platform:(popen|_sys.*)"
    r"|functools:(partial|reduce)|numpy:(load|fromfile|loadtxt|genfromtxt|save|savez)|joblib:load|torch:load"
    r"|pandas:(eval|read_\w+)|.*:(.*\.)?(__globals__|__builtins__|__import__|__reduce__|__subclasses__|system|popen|exec)"
)
"""Names that run commands or code, read or write files, open connections, or reach such things by name."""
_BY_VALUE = re.compile(
    r"cloudpickle(\.cloudpickle)?:.*|dill\._dill:.*|types:(CodeType|FunctionType|MethodType|ModuleType)"
)
"""Names by which functions and classes are kept by value: their code is in the file, and is not judged."""


def verdict_on(
    names: Collection[Name], oddities: Sequence[str], artifact_type: str, *, is_whole: bool = True
) -> Verdict:
    """Judge the names of a pickle that is to be of an artifact type; one that was not read whole is never `safe`."""
    safe = _SAFE.get(artifact_type, _SAFE["pickle"])
    others = [name for name in names if name.module not in (COMPUTED, EXTENSION) and not safe.fullmatch(str(name))]
    dangerous = tuple(
        str(name) for name in others if _DANGEROUS.fullmatch(str(name)) and not _BY_VALUE.fullmatch(str(name))
    )
    unknown = tuple(str(name) for name in others if str(name) not in dangerous)
    reasons = list(oddities)
    if any(_BY_VALUE.fullmatch(name) for name in unknown):
        reasons.append("holds code of functions or classes, and not their names")
    if not is_whole:
        reasons.append("was not read to its end")
    state: VerdictState = "dangerous" if dangerous else "unknown" if unknown or reasons else "safe"
    return Verdict(state, unknown, dangerous, tuple(reasons))
