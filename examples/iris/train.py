"""Train the model on the iris data that scikit-learn ships, and write `model.joblib` beside this file."""

from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.svm import SVC

__all__ = ["train"]

HERE = Path(__file__).parent


def train(folder: Path = HERE) -> Path:
    """Write the trained model into ``folder`` and return its file."""
    measurements, species = load_iris(return_X_y=True, as_frame=True)
    measurements.columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    model = SVC(gamma="scale").fit(measurements, species)
    path = folder / "model.joblib"
    joblib.dump(model, path)
    return path


if __name__ == "__main__":
    print(f"Wrote `{train().name}`.")
