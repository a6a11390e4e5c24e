"""Fit a model on the carbon dioxide data that statsmodels ships, and write `model.pickle` beside this file."""

from pathlib import Path

from statsmodels.datasets import co2
from statsmodels.tsa.holtwinters import ExponentialSmoothing

__all__ = ["train"]

HERE = Path(__file__).parent


def train(folder: Path = HERE) -> Path:
    """Write the fitted model into ``folder`` and return its file."""
    weeks = co2.load_pandas().data["co2"]
    months = weeks.resample("MS").mean().interpolate().loc["1990":]
    model = ExponentialSmoothing(months, trend="add", seasonal="add", seasonal_periods=12)
    path = folder / "model.pickle"
    model.fit().save(str(path))
    return path


if __name__ == "__main__":
    print(f"Wrote `{train().name}`.")
