"""Two models compiled to ONNX beside the same models as scikit-learn has them: in Kappa, FastAPI and LitServe.

The *forest* has 100 trees and takes 30 numbers; *films* is a pipeline with TF-IDF of a text, categories, and gradient
boosting of numbers that may be missing. Kappa serves each from two bundles without any code, compiled and as a pickle,
each bundle in an environment with what its lock names and nothing else. FastAPI and LitServe call `predict` of the same
pickle, as `benchmarks/peers` has them. The *no-op* answers three bytes on Kappa's own server stack. *By hand* is that
no-op with the compiled model in it: a few lines that parse the body, make arrays, run the session and write the labels,
and check nothing. It shows what one client can get at most: a call that is made once in a while finds the processor's
caches as others have left them. One server runs at a time, with one worker; they take turns, every other round goes
backwards, and a ratio is the median of each round's. Where a Docker engine answers, each bundle also becomes an image,
all from one base image.

    python benchmarks/compile.py --write       # a quarter of an hour, on a quiet machine; docs/benchmarks/compile.md
    python benchmarks/compile.py --images-only # the images alone
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import compile_images
import falcon.asgi
import orjson
from serve import Ready, load, serve_app
from versions import revision_of

from kappa.server.options import ServerOptions

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
CONNECTIONS = (1, 16, 128)
MODELS = ("forest", "films")
KINDS = ("compiled", "pickled")
BASE = "python:3.11-slim"
NO_ENGINE = "Images of the bundles were not made: no Docker engine answered. They differ by the installed packages."
START_S = 60.0
LEARNING = [f"scikit-learn=={version('scikit-learn')}", "joblib", "numpy", "pandas"]
ENVIRONMENTS: Mapping[str, list[str]] = {
    "fastapi": ["fastapi", "uvicorn[standard]", *LEARNING],
    "litserve": ["litserve==0.2.19", *LEARNING],
}
TITLES = {
    "noop": "no-op",
    "hand": "by hand, compiled",
    "compiled": "Kappa, compiled",
    "pickled": "Kappa, as pickled",
    "fastapi": "FastAPI",
    "litserve": "LitServe",
}
KAPPAFILE = """\
kappafile = 1
[service]
name = "{name}"
[artifacts.model]
type = "sklearn"
path = "model.joblib"
{compiled}
[env]
docker_base_image = "{base}"
[apis.predict]
artifact = "model"
input = {{ type = "dataframe", columns = {{ {columns} }} }}
[security]
pickle = "allow"
[bundle]
resolver = "uv"
"""


@dataclass(frozen=True)
class Sample:
    """One load run against one server."""

    rate: float
    p99_ms: float


@dataclass(frozen=True)
class Case:
    """A server with a model: how it is started, and what it is asked."""

    server: str
    model: str
    command: list[str]
    body: bytes


# -- models and bundles ------------------------------------------------------------------------------------------------


def train(folder: Path) -> None:
    """Write the models; each is what the servers of `peers` load by its name."""
    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    forest = RandomForestClassifier(100, random_state=0, n_jobs=1)
    joblib.dump(forest.fit(*load_breast_cancer(return_X_y=True)), folder / "forest.joblib")
    random, count = np.random.default_rng(0), 2000
    words = np.array(["good", "bad", "long", "short", "old", "new", "plot", "music", "hero", "end", "start", "joke"])
    films = pd.DataFrame(
        {
            "length": random.integers(60, 200, count).astype(float),
            "price": np.where(random.random(count) < 0.2, np.nan, random.normal(10, 3, count)),
            "country": random.choice(["France", "Japan", "Peru"], count),
            "review": [" ".join(random.choice(words, 8)) for _ in range(count)],
        }
    )
    columns = ColumnTransformer(
        [
            ("numbers", "passthrough", ["length", "price"]),
            ("country", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["country"]),
            ("review", TfidfVectorizer(), "review"),
        ],
        sparse_threshold=0,
    )
    is_liked = films["review"].str.count("good") * 10 + films["price"].fillna(8) > 14
    pipeline = Pipeline([("columns", columns), ("boosting", HistGradientBoostingClassifier(random_state=0))])
    joblib.dump(pipeline.fit(films, np.where(is_liked, "yes", "no")), folder / "films.joblib")


def request_of(model: str) -> Any:
    """Return the row that one client asks for."""
    sys.path.insert(0, str(PEERS))
    import models

    return models.request_of(model, Path())


def build(folder: Path, model: str, *, compiled: bool, base: str) -> Path:
    """Build the bundle of a model for images that begin with ``base``; return its folder."""
    project = folder / f"{model}-{'compiled' if compiled else 'pickled'}"
    project.mkdir()
    shutil.copyfile(folder / f"{model}.joblib", project / "model.joblib")
    row = request_of(model)
    columns = [f'c{number} = "float64"' for number in range(len(row))]
    if isinstance(row, dict):
        columns = [f'{name} = "{"str" if isinstance(value, str) else "float64"}"' for name, value in row.items()]
    text = KAPPAFILE.format(
        name=model.capitalize(),
        base=base,
        columns=", ".join(columns),
        compiled='compile = { samples = "none" }' if compiled else "",
    )
    (project / "kappafile.toml").write_text(text, encoding="utf-8")
    bundle = project / "bundle"
    kappa = [sys.executable, "-m", "kappa", "build", str(project), "--output", str(bundle), "--no-try"]
    subprocess.run(kappa, check=True, stdout=subprocess.DEVNULL)
    return bundle


# -- environments ------------------------------------------------------------------------------------------------------


def install(name: str, requirements: list[str], environments: Path) -> Path:
    """Make an environment if it is not there, and return its interpreter."""
    folder, mark = environments / name, environments / name / "installed.txt"
    if not (mark.is_file() and mark.read_text(encoding="utf-8") == "\n".join(requirements)):
        print(f"Installing {TITLES[name]}.", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        locks = [text.split(" ", 1) for text in requirements if text.startswith("--requirement")]
        others = [text for text in requirements if not text.startswith("--requirement")]
        for arguments in filter(None, (*locks, others)):
            subprocess.run([*pip, *arguments], check=True)
        mark.write_text("\n".join(requirements), encoding="utf-8")
    return folder / "bin" / "python"


def size_mb(python: Path) -> float:
    """Return the size of the packages in an environment, without pip."""
    (folder,) = python.parents[1].glob("lib/python*/site-packages")
    files = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] != "pip"]
    return sum(path.stat().st_size for path in files) / 1e6


# -- servers -----------------------------------------------------------------------------------------------------------


def cases_of(
    model: str, bundles: Mapping[str, Path], pythons: Mapping[str, Path], folder: Path, port: int
) -> list[Case]:
    row = request_of(model)
    rows, wrapped = json.dumps([row]).encode(), json.dumps({"rows": [row]}).encode()
    noop = [sys.executable, str(ROOT / "benchmarks" / "serve.py"), "--serve", "noop", "--port", str(port)]
    hand = [sys.executable, __file__, "--by-hand", str(bundles[f"{model}-compiled"]), "--port", str(port)]
    cases = [Case("noop", model, [*noop, "--folder", str(folder)], rows), Case("hand", model, hand, rows)]
    for server in KINDS:
        serve = [str(pythons[server]), "-m", "kappa", "serve-gunicorn", str(bundles[f"{model}-{server}"])]
        cases.append(Case(server, model, [*serve, "--port", str(port), "--workers", "1"], rows))
    for server in ("fastapi", "litserve"):
        script = str(PEERS / "servers" / f"{server}_server.py")
        cases.append(Case(server, model, [str(pythons[server]), script, model, str(port), str(folder), "1"], wrapped))
    return cases


def serve_by_hand(bundle: Path, port: int) -> None:
    """Serve a compiled model as one writes it who needs nothing else."""
    import numpy as np
    from onnxruntime import InferenceSession, SessionOptions

    class Predict:
        def __init__(self) -> None:
            (graph,) = bundle.glob("*/artifacts/model/model.onnx")
            options = SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self.session = InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            facts = json.loads(graph.with_name("compiled.json").read_bytes())
            self.output = [facts["methods"]["predict"]["output"]]
            self.is_matrix, self.width = facts["layout"] == "matrix", facts["width"]
            self.columns = [
                (f"column_{index}", column["name"], object if column["is_text"] else self.width)
                for index, column in enumerate(facts["columns"])
            ]

        async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
            rows = orjson.loads(await req.stream.read())
            if self.is_matrix:
                feed = {"columns": np.array(rows, self.width)}
            else:
                feed = {key: np.array([[row[name]] for row in rows], dtype) for key, name, dtype in self.columns}
            (labels,) = self.session.run(self.output, feed)
            resp.data = orjson.dumps(labels.tolist())
            resp.content_type = "application/json"

    def make_app() -> falcon.asgi.App[Any, Any]:
        app = falcon.asgi.App()
        app.add_route("/predict", Predict())
        app.add_route("/readyz", Ready())
        return app

    serve_app(make_app, ServerOptions(host="127.0.0.1", port=port, workers=1))


@contextmanager
def serving(case: Case, folder: Path, port: int) -> Iterator[float]:
    """Start a server, yield the seconds until its first answer, and stop all of its processes."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KAPPA"))},
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        "PEERS_MODEL": case.model,
        "PEERS_FOLDER": str(folder),
        "KAPPA_HOME": str(folder / "home"),
    }
    log, began = folder / f"{case.server}-{case.model}.log", time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            case.command, cwd=PEERS / "servers", env=environ, stdout=output, stderr=output, start_new_session=True
        )
        try:
            while not answers(case, port):
                if process.poll() is not None or time.perf_counter() - began > START_S:
                    text = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                    raise SystemExit(f"{TITLES[case.server]} does not answer with {case.model}: {text}")
                time.sleep(0.02)
            yield time.perf_counter() - began
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)


def answers(case: Case, port: int) -> bool:
    request = Request(f"http://127.0.0.1:{port}/predict", case.body, {"Content-Type": "application/json"})
    with suppress(URLError, OSError), urlopen(request, timeout=10):
        return True
    return False


def sample(case: Case, folder: Path, port: int, *, connections: int, seconds: float) -> Sample:
    (folder / "body").write_bytes(case.body)
    body = ("--body", f"@{folder / 'body'}")
    outcome = load(TITLES[case.server], port, *body, connections=connections, seconds=seconds)
    return Sample(outcome["rate"], outcome["p99_ms"])


# -- the page ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    samples: dict[tuple[str, str, int], list[Sample]]
    starts: dict[tuple[str, str], list[float]]
    sizes: dict[str, float]


def ratio(measured: Measured, model: str, connections: int, server: str, other: str) -> float:
    pairs = zip(measured.samples[model, server, connections], measured.samples[model, other, connections], strict=True)
    return median(own.rate / its.rate for own, its in pairs)


def table(measured: Measured) -> list[str]:
    lines = [
        "| model | connections | server | requests/s | of FastAPI's | of the no-op's | of by hand | p99 ms |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for model in MODELS:
        for connections in CONNECTIONS:
            for server, title in TITLES.items():
                samples = measured.samples[model, server, connections]
                lines.append(
                    f"| {model} | {connections} | {title} | {median(s.rate for s in samples):,.0f} | "
                    f"{ratio(measured, model, connections, server, 'fastapi'):.1f} | "
                    f"{ratio(measured, model, connections, server, 'noop'):.2f} | "
                    f"{ratio(measured, model, connections, server, 'hand'):.2f} | "
                    f"{median(s.p99_ms for s in samples):.2f} |"
                )
    lines += ["", "| server | start-up, forest | start-up, films | installed packages |", "|---|---:|---:|---:|"]
    for server, title in TITLES.items():
        if server in measured.sizes:
            starts = [f"{median(measured.starts[model, server]):.1f} s" for model in MODELS]
            lines.append(f"| {title} | {' | '.join(starts)} | {measured.sizes[server]:.0f} MB |")
    return lines


def page(lines: list[str], *, rounds: int, seconds: float) -> str:
    introduction = (__doc__ or "").rpartition("\n\n")[0]
    packages = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "onnxruntime", "skl2onnx", "numpy"))
    return f"""# What a compiled model is worth

Written by `python benchmarks/compile.py --write`; do not edit.

{introduction}

{chr(10).join(lines)}

Closed loop, one row per request, {rounds} rounds of {seconds:g} s for each line, medians over the rounds. The load
generator shares the processors with the server. Start-up is the time from the start of the process,
or of `docker run`, to the first answer.

Commit {revision_of("HEAD")}, {datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} processors,
Python {sys.version.split()[0]}, {packages}.
"""


def measure(bundles: Mapping[str, Path], folder: Path, options: argparse.Namespace) -> Measured:
    """Load every server in turns."""
    measured = Measured({}, {}, {})
    wanted = dict(ENVIRONMENTS)
    for kind in KINDS:
        bundle = bundles[f"films-{kind}"]
        lock = options.environments / f"{kind}.txt"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_bytes((bundle / "requirements.txt").read_bytes())
        wanted[kind] = [f"--requirement {lock}", *map(str, bundle.glob("*/_kappa/*.whl"))]
        shutil.rmtree(options.environments / kind, ignore_errors=True)
    pythons = {server: install(server, texts, options.environments) for server, texts in wanted.items()}
    measured.sizes.update({server: size_mb(python) for server, python in pythons.items()})
    cases = [case for model in MODELS for case in cases_of(model, bundles, pythons, folder, options.port)]
    for number in range(options.rounds):
        for case in cases if number % 2 == 0 else reversed(cases):
            with serving(case, folder, options.port) as start_s:
                measured.starts.setdefault((case.model, case.server), []).append(start_s)
                sample(case, folder, options.port, connections=16, seconds=0.5)  # teaches the estimators
                for connections in CONNECTIONS:
                    run = sample(case, folder, options.port, connections=connections, seconds=options.seconds)
                    measured.samples.setdefault((case.model, case.server, connections), []).append(run)
    return measured


def images_of(bundles: Mapping[str, Path], *, base: str, rounds: int) -> list[str]:
    """Make the images, and return the lines of their table."""
    bodies = {f"{model}-{kind}": json.dumps([request_of(model)]).encode() for model in MODELS for kind in KINDS}
    images = compile_images.measure(bundles, bodies, base=base, rounds=rounds)
    return compile_images.table(images, MODELS, titles={kind: TITLES[kind] for kind in KINDS})


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load run")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/compile.md")
    parser.add_argument("--images-only", action="store_true", help="make and start the images alone")
    parser.add_argument("--port", type=int, default=17840)
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv" / "compile")
    parser.add_argument("--by-hand", type=Path, metavar="BUNDLE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.by_hand:
        serve_by_hand(options.by_hand, options.port)
        return
    has_engine = compile_images.engine_answers()
    if options.images_only and (options.write or not has_engine):
        parser.error("`--images-only` needs a Docker engine that answers, and writes no page.")
    with tempfile.TemporaryDirectory(prefix="kappa-bench-") as name:
        folder = Path(name)
        train(folder)
        base = compile_images.base_of(folder / "base") if has_engine else BASE
        bundles = {
            f"{model}-{kind}": build(folder, model, compiled=kind == "compiled", base=base)
            for model in MODELS
            for kind in KINDS
        }
        lines = [] if options.images_only else [*table(measure(bundles, folder, options)), ""]
        lines += images_of(bundles, base=base, rounds=options.rounds) if has_engine else [NO_ENGINE]
    print("\n".join(lines))
    if options.write:
        path = ROOT / "docs" / "benchmarks" / "compile.md"
        path.write_text(page(lines, rounds=options.rounds, seconds=options.seconds), encoding="utf-8")
        print(f"Wrote {path.relative_to(ROOT)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
