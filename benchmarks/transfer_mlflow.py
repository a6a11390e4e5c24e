"""A folder into MLflow's registry and back, in its own environment: `transfer_mlflow.py FOLDER TARGET URI ARTIFACTS`.

It logs the folder as artifacts of a run, registers them as a version of a model, and downloads that version. It prints
the seconds of both directions and the peak memory as JSON, on the last line. `URI` is that of the tracking store, or of
a server; `ARTIFACTS` is where the experiment keeps its files, or `-` where the server decides.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path


def main(folder: str, target: str, uri: str, artifacts: str) -> None:
    import mlflow

    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    client.create_experiment("bench", artifact_location=None if artifacts == "-" else artifacts)
    mlflow.set_experiment("bench")
    client.create_registered_model("bench")
    began = time.perf_counter()
    with mlflow.start_run() as run:
        mlflow.log_artifacts(folder, "bundle")
    version = client.create_model_version("bench", f"{run.info.artifact_uri}/bundle", run.info.run_id)
    pushed = time.perf_counter()
    mlflow.artifacts.download_artifacts(artifact_uri=f"models:/bench/{version.version}", dst_path=target)
    pulled = time.perf_counter()
    figures = {"push_s": pushed - began, "pull_s": pulled - pushed, "peak_bytes": peak_bytes()}
    print("\n" + json.dumps(figures))


def peak_bytes() -> int:
    """Return the most memory that this process had since it began."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
