"""Train the model on the diabetes data that scikit-learn ships; write `model.joblib` and `patients.db` beside this.

The database stands for the feature store that a real service would ask: requests name a patient, not measurements.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

__all__ = ["train"]

HERE = Path(__file__).parent
FEATURES = ("age", "bmi", "bp", "s5")


def train(folder: Path = HERE) -> Path:
    """Write the trained model and the patients into ``folder``; return the model's file."""
    data = load_diabetes(as_frame=True, scaled=False)
    measured = data.data[list(FEATURES)].to_numpy()
    path = folder / "model.joblib"
    joblib.dump(Ridge(alpha=1.0).fit(measured, data.target), path)
    write_patients(folder / "patients.db", measured.tolist())
    return path


def write_patients(path: Path, rows: list[list[float]]) -> None:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"CREATE TABLE patients (id INTEGER PRIMARY KEY, {', '.join(f'{name} REAL' for name in FEATURES)})")
        db.executemany("INSERT INTO patients VALUES (?, ?, ?, ?, ?)", [[i, *row] for i, row in enumerate(rows)])


if __name__ == "__main__":
    print(f"Wrote `{train().name}` and `patients.db`.")
