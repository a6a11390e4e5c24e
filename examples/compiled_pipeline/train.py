"""Train a pipeline over a text, a category and numbers that may be missing; write `model.joblib` beside this file."""

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

__all__ = ["train"]

HERE = Path(__file__).parent
WORDS = ["good", "bad", "long", "funny", "sad", "plot", "music", "hero", "end", "start"]


def films(count: int = 600) -> tuple[pd.DataFrame, np.ndarray]:
    """Return drawn films, and whether each was liked."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "length": random.integers(70, 180, count).astype(float),
            "price": np.where(random.random(count) < 0.2, np.nan, random.normal(10, 3, count).round(2)),
            "country": random.choice(["France", "Japan", "Peru"], count),
            "review": [" ".join(random.choice(WORDS, 6)) for _ in range(count)],
        }
    )
    score = table["review"].str.count("good") - table["review"].str.count("bad") - (table["length"] > 150)
    return table, np.where(score > 0, "liked", "disliked")


def train(folder: Path = HERE) -> Path:
    """Write the trained model into ``folder`` and return its file."""
    columns = ColumnTransformer(
        [
            ("numbers", "passthrough", ["length", "price"]),
            ("country", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["country"]),
            ("review", TfidfVectorizer(), "review"),
        ],
        sparse_threshold=0,
    )
    model = Pipeline([("columns", columns), ("boosting", HistGradientBoostingClassifier(random_state=0))])
    model.fit(*films())
    vars(model["columns"].named_transformers_["review"]).pop("_stop_words_id", None)  # an address: of each process
    path = folder / "model.joblib"
    joblib.dump(model, path)
    return path


if __name__ == "__main__":
    print(f"Wrote `{train().name}`.")
