"""The network: pictures of 8 by 8 grey values in, ten scores out."""

import torch
from torch import nn

__all__ = ["DigitNet", "make"]


class DigitNet(nn.Module):
    """Scores each digit for pictures as they arrive: a tensor of pictures, height and width, 0 (black) to 255."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 10),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layers(pictures.unsqueeze(1) / 255)
        return scores

    def predict(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the digit that each picture shows, and how likely it is."""
        likely, digit = self(pictures).softmax(dim=1).max(dim=1)
        return {"digit": digit, "probability": likely}


def make() -> DigitNet:
    """Return the network without what it learned."""
    return DigitNet()
