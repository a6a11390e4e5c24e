"""The service: what it needs, which model it holds, and how it answers."""

import kappa
from kappa.adapters import DataframeInput
from kappa.frameworks.sklearn import SklearnModelArtifact

__all__ = ["IrisClassifier"]


MEASUREMENTS = {
    "sepal_length": "float64",
    "sepal_width": "float64",
    "petal_length": "float64",
    "petal_width": "float64",
}


@kappa.env(infer_pip_packages=True)
@kappa.artifacts([SklearnModelArtifact("model")])
class IrisClassifier(kappa.BentoService):
    """Tells the species of an iris from four measurements of its flower."""

    @kappa.api(input=DataframeInput(columns=MEASUREMENTS), batch=True)
    def predict(self, df):
        """Return 0 (setosa), 1 (versicolor) or 2 (virginica) for each row of measurements in centimetres."""
        return self.artifacts.model.predict(df)
