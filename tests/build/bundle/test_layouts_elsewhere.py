"""Every layout of projects, built where it is installed and loaded where nothing is but the bundle's lock.

Beside each lies an index with a stranger's distribution for every name in it, of the version asked for and of a later
one: whatever Kappa asked for by such a name would be locked, with its hash, and answer `stranger`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest
from packaging.utils import canonicalize_name

from kappa.build.packages.installed import asked_for, with_needs
from kappa.build.packages.resolvers.uv import find_uv
from kappa.build.packages.wheel import describe_kappa, write_zip
from kappa.spec.pins import pins_of
from tests.build.projects import write

pytestmark = [
    pytest.mark.index,
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="the layouts have links and commands of POSIX"),
]

UV = find_uv()
F = 'F = "mine"\n'
READS = "from pathlib import Path\nF = Path(__file__).with_name('data.txt').read_text()\n"
SETUPTOOLS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
HATCHLING = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'


def answering(statement: str) -> str:
    """Return a module whose function answers with what a statement imports."""
    return f"{statement}\ndef predict(value):\n    return F + str(value)\n"


def project(name: str, more: str = "", *, backend: str = SETUPTOOLS) -> str:
    return f'{backend}[project]\nname = "{name}"\nversion = "0.1.0"\n{more}'


@dataclass(frozen=True)
class Layout:
    """A repository; its service answers `mine1` when it is asked for 1."""

    files: Mapping[str, str]
    home: str = "."
    """The folder of the kappafile, in which the service is built."""
    function: str = "handlers:predict"
    bundle: str = ""
    env: str = ""
    artifact: str = ""
    service: str = ""
    """`module:Class`, instead of a kappafile."""
    install: Sequence[str] = ()
    """What is installed before, in words of `pip install`."""
    path: str = ""
    """`PYTHONPATH`, relative to where the command is called."""
    called_in: str = ""
    """Where the command is called; in its own folder if not given."""
    before: str = ""
    """A script that is run in its own folder before: it saves a model, or makes what no text can be."""
    locks: bool = False
    """Whether its packages are locked by uv before."""
    needs: frozenset[str] = field(default_factory=frozenset)
    """What its lock has beside Kappa's own needs."""

    @property
    def names(self) -> set[str]:
        """Every name by which somebody could ask an index for a part of it."""
        words = {part.partition(".")[0] for file in self.files for part in PurePosixPath(file).parts}
        declared = re.findall(r'^name = "(.+)"$', "\n".join(self.files.values()), re.MULTILINE)
        return {canonicalize_name(word) for word in (*words, *declared) if re.fullmatch(r"[A-Za-z][\w.-]*", word)}


CLASS = """\
import kappa
from kappa.adapters import JsonInput
from kappa.frameworks.pickle import PickleArtifact

@kappa.env(pyproject="pyproject.toml", infer_pip_packages=True)
@kappa.files(include=["words/*.txt"], resolver="uv")
@kappa.artifacts([PickleArtifact("models")])
class Service(kappa.BentoService):
    def word(self):
        from pathlib import Path
        return (Path(__file__).parent / "words" / "data.txt").read_text()

    @kappa.api(input=JsonInput())
    def predict(self, value):
        return self.word() + str(self.artifacts.models["one"].score(value))
"""
DUMPED = "import pickle\nfrom feats import Model\npickle.dump({what}, open('model.pkl', 'wb'))\n"
PICKLED = '[artifacts.model]\ntype = "pickle"\npath = "model.pkl"\n[security]\npickle = "allow"\n'
MODEL = "class Model:\n    def score(self, value):\n        return value\n"

LAYOUTS = {
    "B03, installed from a folder": Layout(
        {
            "lib/pyproject.toml": project("acme-plain", '[tool.setuptools.package-data]\nacme_plain = ["*.txt"]\n'),
            "lib/acme_plain/__init__.py": "from acme_plain.inner import F\n",
            "lib/acme_plain/inner.py": READS,
            "lib/acme_plain/data.txt": "mine",
            "app/handlers.py": answering("from acme_plain import F"),
        },
        home="app",
        install=["./lib"],
    ),
    "B03, mapped by its setup and installed from a folder": Layout(
        {
            "lib/pyproject.toml": project(
                "acme-mapped",
                '[tool.setuptools]\npackages = ["acme.mapped"]\npackage-dir = {"acme.mapped" = "code"}\n',
            ),
            "lib/code/__init__.py": F,
            "app/handlers.py": answering("from acme.mapped import F"),
        },
        home="app",
        install=["./lib"],
    ),
    "B07 and B08, editable, setuptools, src, outside, with data": Layout(
        {
            "lib/pyproject.toml": project("acme-src", '[tool.setuptools.package-data]\nacme_src = ["*.txt"]\n'),
            "lib/src/acme_src/__init__.py": READS,
            "lib/src/acme_src/data.txt": "mine",
            "app/handlers.py": answering("from acme_src import F"),
        },
        home="app",
        install=["-e", "./lib"],
    ),
    "B07, editable, setuptools, flat": Layout(
        {
            "lib/pyproject.toml": project("acme-flat"),
            "lib/acme_flat/__init__.py": F,
            "app/handlers.py": answering("from acme_flat import F"),
        },
        home="app",
        install=["-e", "./lib"],
    ),
    "B07, editable, hatchling": Layout(
        {
            "lib/pyproject.toml": project("acme-hatch", backend=HATCHLING),
            "lib/src/acme_hatch/__init__.py": F,
            "app/handlers.py": answering("from acme_hatch import F"),
        },
        home="app",
        install=["-e", "./lib"],
    ),
    "B09, editable, a namespace that its setup maps": Layout(
        {
            "lib/pyproject.toml": project(
                "acme-mapped",
                '[tool.setuptools]\npackages = ["acme.mapped"]\npackage-dir = {"acme.mapped" = "code"}\n',
            ),
            "lib/code/__init__.py": "from .inner import F\n",
            "lib/code/inner.py": READS,
            "lib/code/data.txt": "mine",
            "app/handlers.py": answering("from acme.mapped import F"),
        },
        home="app",
        install=["-e", "./lib"],
    ),
    "B04, src on the path": Layout(
        {"src/hoho/__init__.py": "", "src/hoho/service.py": answering("from .prep import F"), "src/hoho/prep.py": F},
        function="hoho.service:predict",
        path="src",
    ),
    "B04, src by its own name": Layout(
        {"src/hoho/__init__.py": "", "src/hoho/service.py": answering("from .prep import F"), "src/hoho/prep.py": F},
        function="src.hoho.service:predict",
    ),
    "B10 and L5, packages beside the project": Layout(
        {
            "services/a/handlers.py": answering("from common.x import F"),
            "common/__init__.py": "",
            "common/x.py": "from shared_two import F\n",
            "shared/shared_two/__init__.py": F,
        },
        home="services/a",
        bundle='paths = ["../../common", "../../shared"]\n',
    ),
    "B11, called at the root of the repository with PYTHONPATH=.": Layout(
        {"services/a/handlers.py": answering("from common.x import F"), "common/x.py": F},
        home="services/a",
        path=".",
        called_in=".",
    ),
    "B12, relative imports, two levels, with and without init files": Layout(
        {
            "pkg/__init__.py": "",
            "pkg/deep/__init__.py": "",
            "pkg/deep/more/__init__.py": "from ..beside import F as ONE\n",
            "pkg/deep/beside.py": "from ..base import F\n",
            "bare/one/two.py": "from ..three import F\n",
            "bare/three.py": F,
            "pkg/deep/more/api.py": answering(
                "from ...base import F as G\nfrom . import ONE\nfrom bare.one.two import F"
            ),
            "pkg/base.py": F,
        },
        function="pkg.deep.more.api:predict",
    ),
    "B13, a package whose init file has the function": Layout(
        {"clip/__init__.py": answering("from clip.words import F"), "clip/words.py": F}, function="clip:predict"
    ),
    "B14, folders called as tools call theirs": Layout(
        {
            **{f"{name}/x.py": f"{name} = 1\n" for name in ("lib", "dist", "tests", "vendor", "data", "bin")},
            "build/__init__.py": "",
            "build/x.py": F,
            "handlers.py": answering("import lib.x, dist.x, tests.x, vendor.x, data.x, bin.x\nfrom build.x import F"),
        },
    ),
    "B15, imports by names": Layout(
        {
            "zoo/__init__.py": "import importlib\nten = importlib.import_module('.ten', __package__)\n"
            "def __getattr__(name):\n    return importlib.import_module(f'.{name}', __name__)\n",
            "zoo/ten.py": F,
            "zoo/late.py": F,
            "handlers.py": answering("import zoo\nF = zoo.ten.F if zoo.late.F == 'mine' else ''"),
        },
        bundle='modules = ["zoo.late"]\n',
    ),
    "B16, cloudpickle by value": Layout(
        {"feats.py": F, "handlers.py": "def predict(value, model):\n    return model.score(value)\n"},
        artifact=PICKLED,
        before="import cloudpickle, feats, tomli\n"
        "class M:\n    def score(self, value):\n        return feats.F + str(tomli.loads(f'a = {value}')['a'])\n"
        "cloudpickle.dump(M(), open('model.pkl', 'wb'))\n",
        needs=frozenset({"cloudpickle", "tomli"}),
    ),
    "B17 and L2, a pickled class of the project": Layout(
        {
            "feats.py": f"from deep.more import F\n{MODEL}",
            "deep/more.py": F,
            "handlers.py": "from deep.more import F\n"
            "def predict(value, model):\n    return F + str(model.score(value))\n",
        },
        artifact=PICKLED,
        before=DUMPED.format(what="Model()"),
    ),
    "B19, modules called like those of Kappa": Layout(
        {
            **{f"{name}.py": F for name in ("click", "orjson", "typing_extensions", "annotated_types", "pandas")},
            "handlers.py": answering("import click, orjson, typing_extensions, annotated_types\nfrom pandas import F"),
        },
    ),
    "B26, a workspace of uv's": Layout(
        {
            "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*", "app"]\n',
            "packages/acme/pyproject.toml": project("acme-member", backend=HATCHLING),
            "packages/acme/src/acme_member/__init__.py": READS,
            "packages/acme/src/acme_member/data.txt": "mine",
            "app/pyproject.toml": project(
                "app-of-it", 'dependencies = ["acme-member"]\n[tool.uv.sources]\nacme-member = { workspace = true }\n'
            ),
            "app/handlers.py": answering("from acme_member import F"),
        },
        home="app",
        env='pyproject = "pyproject.toml"\n',
    ),
    "B26, a path of uv's": Layout(
        {
            "acme/pyproject.toml": project("acme-path"),
            "acme/acme_path/__init__.py": F,
            "app/pyproject.toml": project(
                "app-of-it", 'dependencies = ["acme-path"]\n[tool.uv.sources]\nacme-path = { path = "../acme" }\n'
            ),
            "app/handlers.py": answering("from acme_path import F"),
        },
        home="app",
        env='pyproject = "pyproject.toml"\n',
    ),
    "B30, a checkout of Windows": Layout(
        {
            "handlers.py": answering("from words import F").replace("\n", "\r\n"),
            "words.py": "\ufeff" + F.replace("\n", "\r\n"),
            "setup.sh": "\ufeffset -e\r\n",
        },
        env='setup_sh = "setup.sh"\n',
    ),
    "B32, data in folders called dist and build": Layout(
        {
            "assets/dist/data.txt": "mi",
            "assets/build/deep/data.txt": "ne",
            "handlers.py": answering(
                "from pathlib import Path\nAT = Path(__file__).parent / 'assets'\n"
                "F = (AT / 'dist/data.txt').read_text() + (AT / 'build/deep/data.txt').read_text()"
            ),
        },
        bundle='include = ["assets"]\n',
    ),
    "B34, a linked folder": Layout(
        {
            "cache/v1/data.txt": "mine",
            "handlers.py": answering(
                "from pathlib import Path\nF = (Path(__file__).parent / 'assets/now/data.txt').read_text()"
            ),
        },
        bundle='include = ["assets"]\n',
        before="import os\nos.makedirs('assets')\nos.symlink('../cache/v1', 'assets/now')\n",
    ),
    "B35, files with odd names": Layout(
        {
            "data/ä b'\"$(x)%20.txt": "mi",
            "data/#!;.txt": "ne",
            "handlers.py": answering(
                "from pathlib import Path\nAT = Path(__file__).parent / 'data'\n"
                "F = (AT / 'ä b\\'\"$(x)%20.txt').read_text() + (AT / '#!;.txt').read_text()"
            ),
        },
        bundle='include = ["data"]\n',
    ),
    "B44 and L6, a class in a folder, with a dict of models": Layout(
        {
            "svc/__init__.py": "",
            "svc/service.py": CLASS,
            "svc/pyproject.toml": project("svc-of-it", 'dependencies = ["tomli"]\n'),
            "pyproject.toml": project("whole", 'dependencies = ["surely-absent-of-kappa"]\n'),
            "svc/words/data.txt": "mine",
            "feats.py": MODEL,
        },
        service="svc.service:Service",
        artifact="models=model.pkl",
        before=DUMPED.format(what="{'one': Model()}"),
        needs=frozenset({"tomli"}),
    ),
    "B45, a pkgutil namespace": Layout(
        {
            "lib/pyproject.toml": project("company-common", '[tool.setuptools]\npackages = ["company.common"]\n'),
            "lib/company/common/__init__.py": F,
            "app/company/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
            "app/company/own.py": "from company.common import F\n",
            "app/handlers.py": answering("from company.own import F"),
        },
        home="app",
        install=["./lib"],
    ),
    "B45, a namespace of two folders": Layout(
        {
            "lib/pyproject.toml": project("company-common", '[tool.setuptools]\npackages = ["company.common"]\n'),
            "lib/company/common/__init__.py": F,
            "app/company/own.py": "from company.common import F\n",
            "app/handlers.py": answering("from company.own import F"),
        },
        home="app",
        install=["-e", "./lib"],
    ),
    "L1, src, a lock of uv's, and configs above": Layout(
        {
            "pyproject.toml": project("mena", 'dependencies = ["tomli"]\n', backend=HATCHLING),
            "src/mena/__init__.py": "",
            "src/mena/service.py": answering(
                "import tomli\nfrom pathlib import Path\n"
                "AT = Path(__file__).resolve().parents[2] / 'configs' / 'quality.toml'\n"
                "F = tomli.loads(AT.read_text())['word']"
            ),
            "configs/quality.toml": 'word = "mine"\n',
        },
        function="mena.service:predict",
        bundle='include = ["configs"]\n',
        env='pyproject = "pyproject.toml"\n',
        path="src",
        locks=True,
        needs=frozenset({"tomli"}),
    ),
    "L4, a folder that is made beside the code": Layout(
        {
            "app/config.py": "from pathlib import Path\n"
            "LOGS = Path(__file__).parent / 'logs'\nLOGS.mkdir(exist_ok=True)\n",
            "routers/predict.py": answering("from app.config import LOGS\nF = 'mine'"),
        },
        function="routers.predict:predict",
    ),
}


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """Run a command that sees nothing of this process, and return what it printed; fails with all of it."""
    bare = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env={**bare, **environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Environment:
    """A virtual environment, which is empty at first."""

    def __init__(self, folder: Path) -> None:
        run(UV, "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent)
        self.commands = folder / "bin"
        self.python = self.commands / "python"

    def pip(self, *words: str, cwd: Path) -> None:
        run(UV, "pip", words[0], "--quiet", "--python", self.python, *words[1:], cwd=cwd)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment that has what this one has, and to which more can be installed."""
    made = Environment(tmp_path_factory.mktemp("here") / "venv")
    site = run(made.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=Path("/")).strip()
    own = [entry for entry in sys.path if Path(entry).name == "site-packages"]
    lines = "".join(f"import site; site.addsitedir({entry!r})\n" for entry in own)
    (Path(site) / "beside.pth").write_text(lines, encoding="utf-8")
    script = f"#!{made.python}\nfrom kappa.cli.main import main\n\nmain()\n"
    (made.commands / "kappa").write_text(script, encoding="utf-8")
    (made.commands / "kappa").chmod(0o755)
    made.pip("install", "setuptools", "hatchling", "editables", "cloudpickle", "tomli", cwd=Path("/"))
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home of Kappa's, which keeps locks for the next layout with the same needs."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Environment]:
    """Return a function that returns an environment with what a lock pins, and with nothing else."""
    made: dict[str, Environment] = {}
    folder = tmp_path_factory.mktemp("elsewhere")

    def with_lock(lock: Path) -> Environment:
        pins = "".join(sorted(pin.requirement for pin in pins_of(lock.read_text(encoding="utf-8"))))
        if pins not in made:
            made[pins] = Environment(folder / f"venv-{len(made)}")
            made[pins].pip("install", "--require-hashes", "--no-deps", "-r", str(lock), cwd=folder)
        return made[pins]

    return with_lock


def stranger(index: Path, name: str, version: str) -> None:
    """Put a distribution of somebody else's into an index."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    entries = {
        f"{name.replace('-', '_')}/__init__.py": b'F = "stranger"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*entries, f"{info}/RECORD"))
    (index / f"{stem}-py3-none-any.whl").write_bytes(write_zip({**entries, f"{info}/RECORD": record.encode()}))


def strangers_beside(index: Path, layout: Layout) -> set[str]:
    """Fill an index with a stranger's distribution for each name of a layout, but for those that it really needs."""
    index.mkdir()
    known = with_needs(asked_for([*describe_kappa().runtime, *layout.needs]))
    names = layout.names - known
    for name in names:
        for version in ("0.1.0", "99.0"):
            stranger(index, name, version)
    return names


KAPPAFILE = """\
kappafile = 1
[service]
name = "Service"
[apis.predict]
function = "{function}"
input = "json"
[env]
infer_pip_packages = true
{env}[bundle]
resolver = "uv"
{bundle}{artifact}"""

LOAD = """
import sys
from pathlib import Path
bundle = Path(sys.argv[1])
sys.path.append(str(next(bundle.glob("*/_kappa/*.whl"))))
from kappa.services.bundle import open_bundle
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
service = load_service(ServiceSource.of_bundle(open_bundle(bundle))).as_object()
print(service.predict(1))
open_bundle(bundle).verify()
"""


def build(layout: Layout, root: Path, bundle: Path, here: Environment, **environ: str) -> None:
    """Do what the user does: install what is to be installed, save the model, and build."""
    folder = root / layout.home
    target = [layout.service, "--artifact", layout.artifact] if layout.service else [str(folder)]
    if not layout.service:
        text = KAPPAFILE.format(**{key: getattr(layout, key) for key in ("function", "env", "bundle", "artifact")})
        (folder / "kappafile.toml").write_text(text, encoding="utf-8")
    if layout.install:
        here.pip("install", "--no-build-isolation", "--no-deps", *layout.install, cwd=root)
    if layout.before:
        (root / "before.py").write_text(layout.before, encoding="utf-8")
        run(here.python, root / "before.py", cwd=folder)
    if layout.locks:
        run(UV, "lock", "--quiet", cwd=folder)
    environ |= {"PYTHONPATH": layout.path} if layout.path else {}
    called_in = root / (layout.called_in or layout.home)
    run(here.commands / "kappa", "build", *target, "--output", bundle, cwd=called_in, **environ)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_built_here_and_answers_where_nothing_else_is(
    name: str, tmp_path: Path, here: Environment, home: Path, elsewhere: Callable[[Path], Environment]
) -> None:
    layout, root, bundle = LAYOUTS[name], tmp_path / "made", tmp_path / "bundle"
    for path, text in layout.files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    strangers = strangers_beside(tmp_path / "strangers", layout)
    declared = re.findall(r'^name = "(.+)"$', "\n".join(layout.files.values()), re.MULTILINE)
    try:
        build(layout, root, bundle, here, KAPPA_HOME=str(home), PIP_FIND_LINKS=str(tmp_path / "strangers"))
    finally:
        if layout.install:
            here.pip("uninstall", *declared, cwd=tmp_path)
    shutil.rmtree(root)
    lock = bundle / "requirements.txt"
    pinned = {pin.name for pin in pins_of(lock.read_text(encoding="utf-8"))}
    assert pinned & strangers == set()
    assert layout.needs <= pinned
    answer = run(elsewhere(lock).python, "-I", "-B", "-c", LOAD, bundle, cwd=tmp_path)
    assert answer == "mine1\n"


def test_an_index_of_strangers_is_asked_for_what_is_named(tmp_path: Path, here: Environment, home: Path) -> None:
    """Holds the other test to what it shows: a requirement of such a name would be locked."""
    layout = Layout({"handlers.py": answering(F), "acme_plain/x.py": ""}, env='pip_packages = ["acme-plain"]\n')
    write(tmp_path / "made", layout.files)
    assert strangers_beside(tmp_path / "strangers", layout) == {"handlers", "acme-plain", "x"}
    environ = {"KAPPA_HOME": str(home), "PIP_FIND_LINKS": str(tmp_path / "strangers")}
    build(layout, tmp_path / "made", tmp_path / "bundle", here, **environ)
    assert "acme-plain==99.0 " in (tmp_path / "bundle" / "requirements.txt").read_text(encoding="utf-8")
