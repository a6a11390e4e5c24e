"""Functions that the manifests of this corpus name."""

from greetings import greet

__all__ = ["connect", "disconnect", "greet", "predict", "score", "variadic"]


def connect():
    return {"db": object()}


def disconnect(db):
    del db


def predict(rows, model, db, tasks):
    return [None] * len(rows)


def score(text, modle):
    return text, modle


def variadic(*rows, **anything):
    return rows, anything


def single(text, task):
    return text, task
