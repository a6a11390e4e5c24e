"""Train the model on the breast cancer data that scikit-learn ships, and write `model.ubj` beside this file."""

from pathlib import Path

from sklearn.datasets import load_breast_cancer
from xgboost import XGBClassifier

__all__ = ["train"]

HERE = Path(__file__).parent
COLUMNS = {
    "worst area": "area",
    "worst concave points": "concave_points",
    "mean texture": "texture",
    "worst smoothness": "smoothness",
}


def train(folder: Path = HERE) -> Path:
    """Write the trained model into ``folder`` and return its file.

    Every tenth texture is left out: trees learn where to go without a value.
    """
    cells, kind = load_breast_cancer(return_X_y=True, as_frame=True)
    cells = cells.rename(columns=COLUMNS)[[*COLUMNS.values()]]
    cells.loc[::10, "texture"] = None
    model = XGBClassifier(n_estimators=40, max_depth=3, learning_rate=0.2, random_state=0).fit(cells, kind)
    path = folder / "model.ubj"
    model.save_model(path)
    return path


if __name__ == "__main__":
    print(f"Wrote `{train().name}`.")
