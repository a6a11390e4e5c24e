"""One model in the images of Kappa, BentoML and MLflow: how large they are, and what making them anew takes.

    python benchmarks/images.py [--base IMAGE] [--environments DIRECTORY] [--rounds 3] [--write]

Needs Docker with BuildKit. The peers are installed from the index into environments of their own, under a temporary
folder or under DIRECTORY, where they are found again. All images start from IMAGE; without it from `python:3.11-slim`,
or from a stand-in made of Debian's packages where no registry is reached. `--write` renders the page in the docs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "images.md"
GOAL_SECONDS = 3.0
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

HEAD = """\
# Images beside those of others

Written by `python benchmarks/images.py --write`; do not edit.

A scikit-learn model (logistic regression on the 150 iris flowers) as an image of Kappa, of BentoML and of MLflow, all
made in one run by the same engine from the same base image. The times are those of the command that makes the image;
packaging (`kappa build`, `bentoml build`, saving the model) comes before it. The first image is made without any cache
of layers; then the code is changed, and then the model is trained anew. Every image was run and asked for a prediction.
"""

TRAIN = """\
import sys
import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
flowers = load_iris()
joblib.dump(LogisticRegression(max_iter=500, C=float(sys.argv[1])).fit(flowers.data, flowers.target), "model.joblib")
"""
KAPPAFILE = """\
kappafile = 1

[service]
name = "Iris"

[env]
docker_base_image = "{base}"

[artifacts.model]
type = "sklearn"
path = "model.joblib"

[apis.predict]
function = "service:predict"
input = "dataframe"
batch = true

[bundle]
resolver = "uv"

[security]
pickle = "allow"
"""
KAPPA_CODE = "def predict(df, model):\n    return model.predict(df)  # {edit}\n"
BENTOFILE = """\
service: "service:Iris"
include: ["service.py", "model.joblib"]
python:
  packages: ["scikit-learn=={sklearn}", "joblib"]
docker:
  base_image: "{base}"
"""
BENTO_CODE = """\
from pathlib import Path
import bentoml
import joblib

@bentoml.service
class Iris:
    def __init__(self):
        self.model = joblib.load(Path(__file__).with_name("model.joblib"))

    @bentoml.api
    def predict(self, x: list[list[float]]) -> list[int]:
        return self.model.predict(x).tolist()  # {edit}
"""
MLFLOW_CODE = "VERSION = '{edit}'\n"
MLFLOW_SAVE = """\
import shutil
import joblib
import mlflow.sklearn
shutil.rmtree("saved", ignore_errors=True)
mlflow.sklearn.save_model(
    joblib.load("model.joblib"), "saved", code_paths=["service.py"], serialization_format="cloudpickle"
)
"""
STAND_IN = """\
FROM {base}
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/* \\
    && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python
ENV SSL_CERT_FILE={certificates} PIP_CERT={certificates} REQUESTS_CA_BUNDLE={certificates}
"""
DISTRIBUTIONS = """\
import collections, importlib.metadata as m
found = collections.Counter(d.metadata["Name"].lower().replace("_", "-") for d in m.distributions())
print(len(found), sum(1 for number in found.values() if number > 1))
"""
ASK = """\
import json, sys, time, urllib.request
url, body = sys.argv[1:]
for _ in range(240):
    try:
        request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
        print(urllib.request.urlopen(request, timeout=10).read().decode())
        break
    except OSError:
        time.sleep(0.25)
"""


@dataclass(frozen=True)
class Tool:
    """A tool in a folder of its own: how it packages the model, makes the image, and is asked."""

    name: str
    folder: Path
    environ: Mapping[str, str]
    code: str
    """The file `service.py`; ``{edit}`` is what a change of it changes."""
    package: Sequence[str]
    image: Callable[[], Sequence[str]]
    no_cache: Sequence[str]
    path: str
    port: int
    body: str

    def run(self, command: Sequence[str]) -> float:
        """Run a command to its end and return its seconds; a failure ends the benchmark with its words."""
        began = time.perf_counter()
        done = subprocess.run(
            command, cwd=self.folder, env=dict(self.environ), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return time.perf_counter() - began

    def make(self, *, edit: str, strength: float, no_cache: bool = False) -> tuple[float, float]:
        """Write the code, train the model, and return the seconds of packaging and of the image."""
        (self.folder / "service.py").write_text(self.code.replace("{edit}", edit))
        if not (self.folder / "strength").exists() or (self.folder / "strength").read_text() != str(strength):
            self.run([sys.executable, "train.py", str(strength)])
            (self.folder / "strength").write_text(str(strength))
        packaging = self.run(self.package)
        return packaging, self.run([*self.image(), *(self.no_cache if no_cache else ())])


@dataclass(frozen=True)
class Row:
    tool: str
    above_base: float
    """Megabytes."""
    distributions: int
    twice: int
    user: str
    compiler: bool
    packaging: float
    first: float
    code: float
    model: float


def docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        sys.exit(f"docker {' '.join(words)}: {done.stderr}")
    return done.stdout.strip()


def size_of(image: str) -> int:
    return int(json.loads(docker("image", "inspect", image))[0]["Size"])


# -- what is compared --------------------------------------------------------------------------------------------------


def base_image(folder: Path) -> str:
    """Return `python:3.11-slim` if a registry has it, else the name of a stand-in that has the same commands."""
    pulled = subprocess.run(["docker", "pull", "python:3.11-slim"], capture_output=True, check=False)
    if pulled.returncode == 0:
        return "python:3.11-slim"
    made = subprocess.run(
        [sys.executable, ROOT / "tests" / "containers" / "base_image.py"], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        sys.exit(f"There is no base image, and none could be made: {made.stderr}")
    (folder / "Dockerfile").write_text(STAND_IN.format(base=made.stdout.strip(), certificates=CERTIFICATES))
    docker("build", "--tag", "kappa-benchmark/python:3.11-slim", str(folder))
    return "kappa-benchmark/python:3.11-slim"


def environment(folder: Path, name: str, *requirements: str) -> Path:
    """Make the environment of a peer, unless it is there, and return its folder of commands."""
    commands = folder / name / "bin"
    if not (commands / name).exists():
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        words = [commands / "pip", "install", "--quiet", "--quiet", *requirements]
        subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    return commands


def tools(work: Path, environments: Path, base: str) -> list[Tool]:
    import sklearn

    pinned = f"scikit-learn=={sklearn.__version__}"
    bento = environment(environments, "bentoml", "bentoml", pinned)
    mlflow = environment(environments, "mlflow", "mlflow", pinned)
    shared = {**os.environ, "DOCKER_BUILDKIT": "1"}
    for name in ("kappa", "bentoml", "mlflow"):
        (work / name).mkdir()
        (work / name / "train.py").write_text(TRAIN)
    (work / "kappa" / "kappafile.toml").write_text(KAPPAFILE.format(base=base))
    (work / "bentoml" / "bentofile.yaml").write_text(BENTOFILE.format(base=base, sklearn=sklearn.__version__))
    (work / "mlflow" / "save.py").write_text(
        MLFLOW_SAVE + MLFLOW_DOCKERFILE.format(base=base, mlflow=mlflow / "mlflow")
    )
    kappa = [sys.executable, "-m", "kappa"]
    return [
        Tool(
            name="Kappa",
            folder=work / "kappa",
            environ={**shared, "KAPPA_HOME": str(work / "home")},
            code=KAPPA_CODE,
            package=[*kappa, "build"],
            image=lambda: [*kappa, "containerize", "Iris:latest", "--tag", "kappa-benchmark/kappa"],
            no_cache=["--no-cache"],
            path="predict",
            port=5000,
            body="[[5.1, 3.5, 1.4, 0.2]]",
        ),
        Tool(
            name="BentoML",
            folder=work / "bentoml",
            environ={
                **shared,
                "PATH": f"{bento}{os.pathsep}{os.environ['PATH']}",
                "BENTOML_HOME": str(work / "bentos"),
                "BENTOML_DO_NOT_TRACK": "1",
            },
            code=BENTO_CODE,
            package=["bentoml", "build"],
            image=lambda: ["bentoml", "containerize", "iris:latest", "--image-tag", "kappa-benchmark/bentoml"],
            no_cache=["--opt", "no-cache"],
            path="predict",
            port=3000,
            body='{"x": [[5.1, 3.5, 1.4, 0.2]]}',
        ),
        Tool(
            name="MLflow",
            folder=work / "mlflow",
            environ=shared,
            code=MLFLOW_CODE,
            package=[str(mlflow / "python"), "save.py"],
            image=lambda: ["docker", "build", "--tag", "kappa-benchmark/mlflow", "context"],
            no_cache=["--no-cache"],
            path="invocations",
            port=8080,
            body='{"inputs": [[5.1, 3.5, 1.4, 0.2]]}',
        ),
    ]


MLFLOW_DOCKERFILE = """
import re
import subprocess
from pathlib import Path
shutil.rmtree("context", ignore_errors=True)
words = ["models", "generate-dockerfile", "--model-uri", "saved", "--output-directory", "context"]
subprocess.run(["{mlflow}", *words, "--env-manager", "local"], check=True, capture_output=True)
recipe = Path("context", "Dockerfile")
recipe.write_text(re.sub(r"FROM python:\\S+", "FROM {base}", recipe.read_text(), count=1))
"""


def measured(tool: Tool, base: str, rounds: int) -> Row:
    """Make a tool's image for the first time and again, run it, and return what was seen."""
    print(f"{tool.name} …", file=sys.stderr, flush=True)
    image = f"kappa-benchmark/{tool.name.lower()}"
    packaging, first = tool.make(edit="first", strength=1.0, no_cache=True)
    code = [tool.make(edit=f"edit {number}", strength=1.0)[1] for number in range(rounds)]
    model = [tool.make(edit="last", strength=2.0 + number)[1] for number in range(rounds + 1)][1:]
    container = docker("run", "--detach", "--publish", f"127.0.0.1::{tool.port}", image)
    try:
        port = docker("port", container, f"{tool.port}/tcp").rpartition(":")[2]
        answer = subprocess.run(
            [sys.executable, "-c", ASK, f"http://127.0.0.1:{port}/{tool.path}", tool.body],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        if "0" not in answer:
            sys.exit(f"{tool.name} does not answer: {answer}\n{docker('logs', container)}")
        python = "python3" if tool.name == "Kappa" else "python"
        found, twice = docker("exec", container, python, "-c", DISTRIBUTIONS).split()
        user = docker("exec", container, "id", "-u")
        compiler = docker("exec", container, "sh", "-c", "command -v gcc || true")
    finally:
        docker("rm", "--force", container)
    above = (size_of(image) - size_of(base)) / 1e6
    return Row(
        tool.name,
        above,
        int(found),
        int(twice),
        "root" if user == "0" else user,
        bool(compiler),
        packaging,
        first,
        median(code),
        median(model),
    )


# -- the page ----------------------------------------------------------------------------------------------------------


def page(rows: Sequence[Row], *, base: str, rounds: int, versions: str) -> str:
    own, *peers = rows
    now = datetime.now(timezone.utc)
    lines = [
        HEAD,
        "| | above the base | beside Kappa | packages | of them twice | runs as | compiler inside |",
        "|---|---:|---:|---:|---:|---|---|",
        *(
            f"| {row.tool} | {row.above_base:.0f} MB | {row.above_base / own.above_base:.1f}x | {row.distributions} | "
            f"{row.twice} | {row.user} | {'yes' if row.compiler else 'no'} |"
            for row in rows
        ),
        "",
        "| | packaging | first image | after a change of code | after a change of the model |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {row.tool} | {row.packaging:.1f} s | {row.first:.1f} s | {row.code:.1f} s | {row.model:.1f} s |"
            for row in rows
        ),
        "",
        f"Times are medians of {rounds} changes of each kind. The goals:",
        "",
        f"- the smallest image: {reached(all(own.above_base < row.above_base for row in peers))};",
        f"- a new image within {GOAL_SECONDS:.0f} s after a change of code: {reached(own.code < GOAL_SECONDS)};",
        f"- no package installed twice: {reached(own.twice == 0)}.",
        "",
        "Kappa's packages are those of the service and of its server, each pinned by hash; the packages of the others",
        "include their own tools. MLflow's image is the one it makes with `--env-manager local`, its smallest, started",
        "from the same base as the others.",
        "",
        ", ".join([f"{now:%Y-%m-%d}", f"{os.cpu_count()} processors", f"Python {platform.python_version()}", versions])
        + f"; base image `{base}`.",
        "",
    ]
    return "\n".join(lines)


def reached(goal: bool) -> str:
    return "reached" if goal else "missed"


def versions_of(environments: Path) -> str:
    engine = docker("version", "--format", "{{.Server.Version}}")
    peers = []
    for name, title in {"bentoml": "BentoML", "mlflow": "MLflow"}.items():
        words = [environments / name / "bin" / name, "--version"]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        peers.append(f"{title} {told.split()[-1]}")
    return f"Docker {engine}, {', '.join(peers)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base")
    parser.add_argument("--environments", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if shutil.which("docker") is None or not docker("version", check=False):
        sys.exit("This benchmark needs a Docker engine that answers.")
    with tempfile.TemporaryDirectory(prefix="kappa-images-") as folder:
        work = Path(folder)
        environments = arguments.environments or work / "environments"
        environments.mkdir(parents=True, exist_ok=True)
        (work / "base").mkdir()
        base = arguments.base or base_image(work / "base")
        rows = [measured(tool, base, arguments.rounds) for tool in tools(work, environments.resolve(), base)]
        text = page(rows, base=base, rounds=arguments.rounds, versions=versions_of(environments))
    if arguments.write:
        PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
