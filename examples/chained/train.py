"""Train two models on the wine data that scikit-learn ships; write `model_a.joblib` and `model_b.ubj` beside this.

The second learns from what the first expects, as it will be asked.
"""

from pathlib import Path

import joblib
from sklearn.datasets import load_wine
from sklearn.linear_model import Ridge
from xgboost import XGBClassifier

__all__ = ["train"]

HERE = Path(__file__).parent
MEASURED = ["alcohol", "malic_acid", "ash", "hue"]
EXPECTED = ["color_intensity", "flavanoids", "proline"]


def train(folder: Path = HERE) -> tuple[Path, Path]:
    """Write the trained models into ``folder`` and return their files."""
    wines, grower = load_wine(return_X_y=True, as_frame=True)
    model_a = Ridge().fit(wines[MEASURED], wines[EXPECTED])
    model_b = XGBClassifier(n_estimators=20, max_depth=3, random_state=0).fit(model_a.predict(wines[MEASURED]), grower)
    paths = folder / "model_a.joblib", folder / "model_b.ubj"
    joblib.dump(model_a, paths[0])
    model_b.save_model(paths[1])
    return paths


if __name__ == "__main__":
    model_a, model_b = train()
    print(f"Wrote `{model_a.name}` and `{model_b.name}`.")
