"""Write the bundles that every later version of Kappa must read, as this version builds them.

    python -m tests.released_bundles     # writes tests/golden/bundles/<version>/, which must not exist

Kappa's own wheel, two megabytes that no reader opens where Kappa is installed, is replaced by a few bytes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from kappa._version import __version__
from kappa.build.bundle import builder
from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import plan_build
from kappa.build.packages.lock import Lock
from kappa.build.packages.wheel import KappaWheel, kappa_wheel
from kappa.build.project import read_project
from tests.build.projects import write

__all__ = ["BUNDLES", "main"]

BUNDLES = Path(__file__).parent / "golden" / "bundles"
EPOCH = "1700000000"

GREETER = {
    "kappafile.toml": """\
kappafile = 1

[service]
name = "Greeter"
doc = "Greets whoever asks."
labels = { team = "growth" }

[artifacts.words]
type = "json"
path = "words.json"
metadata = { languages = 2 }

[apis.greet]
function = "handlers:greet"
input = "json"
batch = true
max_batch_size = 10

[apis.read]
function = "handlers:read"
input = "file"
output = "json"

[bundle]
include = ["tables/*.csv"]

[[examples]]
name = "in English"
api = "greet"
input = { language = "en", name = "Ada" }
expect = "Good day, Ada"
""",
    "handlers.py": """\
from wording import polite


def greet(people, words):
    return [polite(words, person) for person in people]


def read(file):
    return len(file.read())
""",
    "wording/__init__.py": "def polite(words, person):\n    return words[person['language']] + person['name']\n",
    "tables/languages.csv": "en,de\n",
    "words.json": '{"en": "Good day, ", "de": "Guten Tag, "}',
}

SCORER = {
    "kappafile.toml": """\
kappafile = 1

[service]
class = "scoring:Scorer"

[artifacts.weights]
path = "weights.json"
""",
    "scoring.py": '''\
import kappa
from kappa.adapters import DataframeInput, JsonInput
from kappa.frameworks.json import JSONArtifact


@kappa.ver(1, 2)
@kappa.label(team="risk")
@kappa.artifacts([JSONArtifact("weights")])
class Scorer(kappa.BentoService):
    """Weighs columns."""

    @kappa.example("two rows", input=[{"a": 1.0, "b": 2.0}, {"a": 0.0, "b": 1.0}], expect=[8.0, 3.0])
    @kappa.api(input=DataframeInput(columns={"a": "float64", "b": "float64"}), batch=True)
    def score(self, df):
        weights = self.artifacts.weights
        return df["a"] * weights["a"] + df["b"] * weights["b"]

    @kappa.api(input=JsonInput())
    def weight(self, column):
        return self.artifacts.weights[column]
''',
    "weights.json": '{"a": 2.0, "b": 3.0}',
}

PROJECTS: Mapping[str, Mapping[str, str]] = {"Greeter": GREETER, "Scorer": SCORER}
LOCK = "falcon==4.4.0 \\\n    --hash=sha256:00\n    # via -r requirements.in\n"


def main() -> int:
    """Build the bundles of this version of Kappa; refuses to replace any."""
    target = BUNDLES / __version__
    if target.exists():
        print(f"`{target}` exists. Bundles of a released version stay as they are.", file=sys.stderr)
        return 1
    stub = KappaWheel(kappa_wheel().name, b"Kappa's wheel is left out here.\n")
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(builder, "kappa_wheel", return_value=stub):
        environ = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "KAPPA_HOME": f"{folder}/home"}
        for name, files in PROJECTS.items():
            project = read_project(write(Path(folder, name), files))
            plan = plan_build(project, version=None, labels={}, environ=environ)
            asked = plan.lock_inputs
            lock = Lock(
                asked.digest, asked.python, asked.platform, "pip-compile 7.6", LOCK, input_lines=asked.input_lines
            )
            path = Path(folder, "home", "locks", asked.digest.replace(":", "-"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(lock.text, encoding="utf-8")
            manifest = build_bundle(plan, target / name, environ=environ).manifest
            print(f'    "{__version__}/{name}": "{manifest.bundle_digest}",')
    return 0


if __name__ == "__main__":
    sys.exit(main())
