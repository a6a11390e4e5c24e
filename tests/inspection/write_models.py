"""Write a tiny model with each framework that is installed, in each of its own formats, into the folder named.

After the folder, the distributions may be named whose models are written alone.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
FOLDER = Path(sys.argv[1])
NAMES = ["age", "income", "tenure"]
ROWS = pd.DataFrame(np.random.default_rng(0).random((80, 3)), columns=NAMES)
LABELS = (ROWS["age"] > 0.5).astype(int)
VALUES = ROWS["age"] * 2 + ROWS["income"]


def write_xgboost() -> None:
    import xgboost

    classifier = xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(ROWS, LABELS)
    classifier.save_model(FOLDER / "xgboost-classifier.ubj")
    classifier.save_model(FOLDER / "xgboost-classifier.json")
    joblib.dump(classifier, FOLDER / "xgboost.joblib")
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(ROWS.to_numpy(), VALUES), 2)
    booster.save_model(FOLDER / "xgboost-booster.ubj")


def write_lightgbm() -> None:
    import lightgbm

    classifier = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(ROWS, LABELS)
    classifier.booster_.save_model(FOLDER / "lightgbm.txt")
    joblib.dump(classifier, FOLDER / "lightgbm.joblib")


def write_catboost() -> None:
    import catboost

    classifier = catboost.CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False)
    classifier.fit(ROWS, LABELS.map({0: "no", 1: "yes"}))
    classifier.save_model(str(FOLDER / "catboost.cbm"))
    classifier.save_model(str(FOLDER / "catboost.json"), format="json")


def write_torch() -> None:
    import torch
    from safetensors.torch import save_file

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    torch.save(model.state_dict(), FOLDER / "torch-state.pt")
    torch.save(model, FOLDER / "torch-module.pt")
    torch.save(model.state_dict(), FOLDER / "torch-legacy.pt", _use_new_zipfile_serialization=False)
    torch.jit.script(model).save(str(FOLDER / "torch-script.pt"))
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3),)), FOLDER / "torch-export.pt2")
    save_file(model.state_dict(), FOLDER / "model.safetensors", metadata={"format": "pt"})


def write_keras() -> None:
    import os

    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    layers = [keras.layers.Input((3,), name="row"), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.compile(loss="mse")
    model.save(FOLDER / "keras.keras")
    model.save_weights(FOLDER / "keras.weights.h5")


def write_sklearn() -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, LABELS)
    skops.io.dump(model, FOLDER / "pipeline.skops")
    for name, how in {"lz4": "lz4", "gz": ("gzip", 3)}.items():
        joblib.dump(model, FOLDER / f"pipeline.{name}.joblib", compress=how)


def write_onnx() -> None:
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(3, max_depth=2).fit(ROWS.to_numpy(np.float32), LABELS)
    model = to_onnx(forest, ROWS.to_numpy(np.float32)[:1])
    (FOLDER / "forest.onnx").write_bytes(model.SerializeToString())


def write_statsmodels() -> None:
    import statsmodels.api as sm

    sm.OLS(VALUES, sm.add_constant(ROWS)).fit().save(str(FOLDER / "statsmodels.pickle"))


def write_mlflow() -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(ROWS, VALUES)
    signature = mlflow.models.infer_signature(ROWS, VALUES)
    mlflow.sklearn.save_model(model, FOLDER / "mlflow", signature=signature)


def write_spacy() -> None:
    import spacy

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(FOLDER / "spacy")


def write_gguf() -> None:
    import gguf

    writer = gguf.GGUFWriter(FOLDER / "tiny.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"word {number}" for number in range(300)])
    writer.add_name("Tiny")
    writer.add_custom_alignment(64)
    weights = np.linspace(-1, 1, 4 * 64, dtype=np.float32).reshape(4, 64)
    writer.add_tensor("output.weight", weights)
    writer.add_tensor("half.weight", weights[:1].astype(np.float16))
    q8 = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("packed.weight", gguf.quantize(weights, q8), raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_h2o() -> None:
    import h2o
    from h2o.backend import H2OLocalServer
    from h2o.estimators import H2OGradientBoostingEstimator

    ROWS.assign(churn=LABELS.map({0: "no", 1: "yes"})).to_csv(FOLDER / "table.csv", index=False)
    h2o.connect(server=H2OLocalServer.start(nthreads=1, max_mem_size=1 << 29, verbose=False), verbose=False)
    frame = h2o.import_file(str(FOLDER / "table.csv"), col_types={"churn": "enum"})
    model = H2OGradientBoostingEstimator(ntrees=3, min_rows=1, seed=1)
    model.train(x=NAMES, y="churn", training_frame=frame)
    model.download_mojo(path=str(FOLDER / "mojo.zip"))
    (FOLDER / "table.csv").unlink()


def write_pyspark() -> None:
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    frame = session.createDataFrame(ROWS.assign(label=LABELS.astype(float)))
    stages = [VectorAssembler(inputCols=NAMES, outputCol="features"), LogisticRegression(maxIter=5)]
    Pipeline(stages=stages).fit(frame).save((FOLDER / "pyspark").resolve().as_uri())


def write_tensorflow() -> None:
    import tensorflow as tf

    class Scores(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(np.ones((3, 2), "float32"))

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="rows")])
        def score(self, rows):  # type: ignore[no-untyped-def]
            return {"scores": rows @ self.weights}

    model = Scores()
    tf.saved_model.save(model, str(FOLDER / "saved-model"), signatures={"serving_default": model.score})


def write_transformers() -> None:
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3}
    labels = {0: "glad", 1: "sad"}
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(FOLDER / "transformers")
    config = BertConfig(vocab_size=len(words), id2label=labels, **sizes)
    BertForSequenceClassification(config).save_pretrained(FOLDER / "transformers")


WRITERS = {
    "xgboost-cpu": write_xgboost,
    "lightgbm": write_lightgbm,
    "catboost": write_catboost,
    "torch": write_torch,
    "keras": write_keras,
    "skops": write_sklearn,
    "onnx": write_onnx,
    "statsmodels": write_statsmodels,
    "mlflow-skinny": write_mlflow,
    "spacy": write_spacy,
    "gguf": write_gguf,
    "h2o": write_h2o,
    "pyspark": write_pyspark,
    "tensorflow-cpu": write_tensorflow,
    "transformers": write_transformers,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    versions = {}
    for name, write in WRITERS.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        try:
            versions[name] = version(name)
        except ImportError:
            continue
        try:
            write()
        except Exception as exc:  # noqa: BLE001 - which test fails tells which framework did
            print(name, type(exc).__name__, exc, file=sys.stderr)
    versions["scikit-learn"] = version("scikit-learn")
    (FOLDER / "versions.json").write_text(json.dumps(versions))
