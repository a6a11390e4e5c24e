import kappa
from kappa.adapters import DataframeInput


class Misdeclared(kappa.BentoService):
    @kappa.api(input=DataframeInput(orient="recods"), batch=True)
    def predict(self, df):
        return df
