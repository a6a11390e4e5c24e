"""A class for the manifests that name one."""

import kappa
from kappa.adapters import JsonInput
from kappa.frameworks.json import JSONArtifact

__all__ = ["ChurnScorer", "NoService"]


@kappa.env(pip_packages=["redis"], system_packages=["libgomp1"])
@kappa.artifacts([JSONArtifact("weights")])
class ChurnScorer(kappa.BentoService):
    """Score churn."""

    @kappa.api(input=JsonInput())
    def predict(self, customer):
        return customer


class NoService:
    pass
