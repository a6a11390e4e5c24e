"""Two models in one service, because one needs the other."""

import kappa
from kappa.adapters import DataframeInput
from kappa.frameworks.sklearn import SklearnModelArtifact
from kappa.frameworks.xgboost import XgboostModelArtifact

__all__ = ["WineGrower"]

MEASURED = {"alcohol": "float64", "malic_acid": "float64", "ash": "float64", "hue": "float64"}


@kappa.env(infer_pip_packages=True)
@kappa.artifacts([SklearnModelArtifact("model_a"), XgboostModelArtifact("model_b")])
class WineGrower(kappa.BentoService):
    """Tells the grower of a wine from what is cheap to measure."""

    @kappa.api(input=DataframeInput(columns=MEASURED), batch=True)
    def predict(self, df):
        """Return the grower, 0 to 2, of each wine, from the colour, flavanoids and proline it is likely to have."""
        return self.artifacts.model_b.predict(self.artifacts.model_a.predict(df))
