"""Modules of PyTorch that are compiled to ONNX: of several inputs and outputs, of pictures, sequences and indices."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

__all__: list[str] = []


class Scores(NamedTuple):
    """Two outputs with names."""

    score: Any
    weight: Any


class Head(nn.Module):  # type: ignore[misc]
    """Numbers to outputs, in the form that ``outputs`` names."""

    def __init__(self, outputs: str) -> None:
        super().__init__()
        self.one, self.two, self.outputs = nn.Linear(4, 3), nn.Linear(4, 1), outputs

    def forward(self, x: Any) -> Any:
        one, two = self.one(x), torch.sigmoid(self.two(x))
        if self.outputs == "named":
            return Scores(one, two)
        return {"one": one, "two": two, "nothing": None} if self.outputs == "mapping" else (one, two)


class Pair(nn.Module):  # type: ignore[misc]
    """Two inputs, one of them by an index."""

    def __init__(self) -> None:
        super().__init__()
        self.towns, self.last = nn.Embedding(5, 3), nn.Linear(5, 2)

    def forward(self, town: Any, numbers: Any) -> Any:
        return self.last(torch.cat([self.towns(town), numbers], dim=1))


class Words(nn.Module):  # type: ignore[misc]
    """Sequences of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.read, self.last = nn.Embedding(20, 8), nn.GRU(8, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, words: Any) -> Any:
        states, _ = self.read(self.words(words))
        return self.last(states.mean(dim=1))


class Branches(nn.Module):  # type: ignore[misc]
    """Goes one way or another by the numbers that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: Any) -> Any:
        return self.inner(x)


class Inner(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.last(x) if x.sum() > 0 else -x


class FixedRows(nn.Module):  # type: ignore[misc]
    """Takes five rows and no other number."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.last(x.reshape(5, 4))


class Predicting(nn.Module):  # type: ignore[misc]
    """Has a method `predict` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.last(x)

    def predict(self, x: Any) -> Any:
        return self.last(x).argmax(dim=1)


def seeded(make: Any) -> Any:
    torch.manual_seed(7)
    return make()


def dense() -> Any:
    return seeded(
        lambda: nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 3), nn.Softmax(1))
    )


def pictures() -> Any:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(36, 10)
        )
    )


def doubles() -> Any:
    return seeded(lambda: nn.Sequential(nn.Linear(4, 2), nn.Tanh())).double()


def attention() -> Any:
    layer = seeded(lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 2))


def pair() -> Any:
    return seeded(Pair)


def words() -> Any:
    return seeded(Words)


def several() -> Any:
    return seeded(lambda: Head("tuple"))


def named() -> Any:
    return seeded(lambda: Head("named"))


def mapping() -> Any:
    return seeded(lambda: Head("mapping"))


def branches() -> Any:
    return seeded(Branches)


def fixed_rows() -> Any:
    return seeded(FixedRows)


def predicting() -> Any:
    return seeded(Predicting)
