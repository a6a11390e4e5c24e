"""Train the model on the wine data that scikit-learn ships, and write `model.joblib` beside this file."""

from pathlib import Path

import joblib
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["train"]

HERE = Path(__file__).parent
COLUMNS = ["alcohol", "malic_acid", "color_intensity", "proline"]


def train(folder: Path = HERE) -> Path:
    """Write the trained model into ``folder`` and return its file."""
    wines, grower = load_wine(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(wines[COLUMNS], grower)
    path = folder / "model.joblib"
    joblib.dump(model, path)
    return path


if __name__ == "__main__":
    print(f"Wrote `{train().name}`.")
