import kappa
from kappa.adapters import DataframeInput, JsonInput
from kappa.frameworks.json import JSONArtifact


@kappa.ver(1, 2)
@kappa.label(team="risk")
@kappa.artifacts([JSONArtifact("weights")])
class Scorer(kappa.BentoService):
    """Weighs columns."""

    @kappa.example("two rows", input=[{"a": 1.0, "b": 2.0}, {"a": 0.0, "b": 1.0}], expect=[8.0, 3.0])
    @kappa.api(input=DataframeInput(columns={"a": "float64", "b": "float64"}), batch=True)
    def score(self, df):
        weights = self.artifacts.weights
        return df["a"] * weights["a"] + df["b"] * weights["b"]

    @kappa.api(input=JsonInput())
    def weight(self, column):
        return self.artifacts.weights[column]
