"""H2O's MOJOs: what they say without it, and how a JVM answers with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from kappa.build.bundle.plan import plan_build
from kappa.build.project import read_project
from kappa.errors import BundleError, MissingDependencyError
from kappa.frameworks.h2o import H2oModelArtifact
from kappa.spec.contracts import ModelNeeds
from kappa.testing.artifacts import ArtifactSuite
from tests.eventually import eventually
from tests.frameworks.zero_code import answers, problems
from tests.inspection import samples


def test_a_file_tells_the_version_that_wrote_it(tmp_path: Path) -> None:
    artifact = H2oModelArtifact("m")
    (tmp_path / "model.zip").write_bytes(samples.mojo())
    (tmp_path / "other.zip").write_bytes(samples.keras())
    assert artifact.needs_of_file(tmp_path / "model.zip") == ModelNeeds(("h2o",), {"h2o": "3.46.0.7"})
    assert [artifact.claims(tmp_path / name) for name in ("model.zip", "other.zip")] == [True, False]
    assert artifact.sniff(tmp_path / "other.zip") == "it is not an archive as H2O's `download_mojo` writes it"


@pytest.mark.parametrize(
    ("env", "system", "conda"),
    [
        ("", ("default-jre-headless",), ()),
        ('system_packages = ["curl"]', ("curl", "default-jre-headless"), ()),
        ('conda_channels = ["h2oai"]', (), ("openjdk",)),
        ('conda_dependencies = ["conda-forge::openjdk=17"]', (), ("conda-forge::openjdk=17",)),
    ],
    ids=["debian", "beside others", "conda", "named already"],
)
def test_its_image_has_java(env: str, system: tuple[str, ...], conda: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(samples.mojo())
    assert problems(tmp_path, "h2o", "model.zip", options=f"[env]\n{env}") == []
    spec = plan_build(read_project(tmp_path), version=None, labels={}, environ={}).spec
    assert (spec.env.system_packages, spec.env.conda_dependencies) == (system, conda)


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h2o", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `h2o` needs `h2o`"):
        H2oModelArtifact("m").load(tmp_path)


TABLE = pd.DataFrame(
    {"district": ["north", "south"] * 20, "code": ["1", "2", "1", "1"] * 10, "area": [50.0, 60.0, 90.0, 120.0] * 10}
)
LABELS = ["cheap", "dear"] * 20
REQUESTS = [[{"area": 50, "district": "north", "code": "1"}], [{"area": 60, "district": "south", "code": "2"}] * 2]


@pytest.fixture(scope="module")
def mojo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a classifier's file as H2O itself wrote it, from a process of its own, as a JVM is for each."""
    folder = tmp_path_factory.mktemp("mojo")
    TABLE.assign(label=LABELS).to_csv(folder / "table.csv", index=False)
    subprocess.run([sys.executable, "-c", TRAIN, folder], check=True, timeout=280)
    return folder / "gbm.zip"


TRAIN = """\
import sys
import h2o
from h2o.backend import H2OLocalServer
from h2o.estimators import H2OGradientBoostingEstimator

h2o.connect(server=H2OLocalServer.start(nthreads=1, max_mem_size=1 << 29, verbose=False), verbose=False)
kinds = {"district": "enum", "code": "enum", "area": "numeric", "label": "enum"}
frame = h2o.import_file(f"{sys.argv[1]}/table.csv", col_types=kinds)
model = H2OGradientBoostingEstimator(ntrees=3, min_rows=1, seed=1)
model.train(x=["district", "code", "area"], y="label", training_frame=frame)
model.download_mojo(path=f"{sys.argv[1]}/gbm.zip")
model.predict(frame).as_data_frame().to_csv(f"{sys.argv[1]}/expected.csv", index=False)
"""


@pytest.mark.h2o
@pytest.mark.filterwarnings("ignore")
def test_its_own_file_answers_tables_with_a_row_for_each_whatever_columns_look_like(mojo: Path, tmp_path: Path) -> None:
    expected = pd.read_csv(mojo.with_name("expected.csv"))
    (tmp_path / "model.zip").write_bytes(mojo.read_bytes())
    one, two = answers(tmp_path, "h2o", "model.zip", REQUESTS)
    assert [row["predict"] for row in (*one, *two)] == ["cheap", "dear", "dear"]
    assert one[0]["cheap"] == pytest.approx(expected["cheap"][0])
    assert two[1]["dear"] == pytest.approx(expected["dear"][1])


LOAD = """\
import sys
from pathlib import Path
from kappa.frameworks import h2o

h2o.H2oModelArtifact("m", heap_mb=256).load(Path(sys.argv[1]))
print(h2o._connections[0].local_server._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.h2o
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a system without signals")
def test_the_jvm_of_a_process_that_is_killed_ends_and_nothing_but_results_is_printed(
    mojo: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.zip").write_bytes(mojo.read_bytes())
    worker = subprocess.Popen(
        [sys.executable, "-c", LOAD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    printed = worker.stdout.readline()
    assert printed.strip().isdecimal()
    worker.kill()
    worker.communicate()
    eventually(lambda: not _is_running(int(printed)))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.h2o
def test_without_java_the_package_that_has_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(BundleError, match="install it with `apt-get install default-jre-headless` on Debian"):
        H2oModelArtifact("m").load(tmp_path)


@pytest.mark.h2o
@pytest.mark.filterwarnings("ignore")
class TestH2o(ArtifactSuite):
    artifact = H2oModelArtifact("model", heap_mb=256)
    models: ClassVar = []
    foreign: ClassVar = [b"", b"PK\3\4", samples.keras(), samples.skops(), {"model.zip": samples.mojo()}]
    not_models: ClassVar = [LinearRegression(), {}]
    library: ClassVar = "h2o"
    question = "model.predict(__import__('pandas').DataFrame({'area': [60.0], 'code': ['2']})).to_dict('records')"

    @pytest.fixture(autouse=True)
    def with_models(self, mojo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "model.zip").write_bytes(mojo.read_bytes())
        monkeypatch.setattr(type(self), "models", [self.artifact.load(tmp_path)])

    def is_same(self, one: Any, other: Any) -> bool:
        return bool((one.predict(TABLE) == other.predict(TABLE)).all(axis=None))
