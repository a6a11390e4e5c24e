"""Train the network on the digits that scikit-learn ships, and write `digits.safetensors` beside this file."""

from pathlib import Path

import torch
from nets import make
from safetensors.torch import save_model
from sklearn.datasets import load_digits

__all__ = ["train"]

HERE = Path(__file__).parent
EPOCHS, PICTURES_PER_STEP = 12, 64


def train(folder: Path = HERE) -> Path:
    """Write the weights into ``folder`` and return their file."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # sums of several threads differ in their last bits
    digits = load_digits()
    pictures, labels = torch.tensor(digits.images).float() * 255 / 16, torch.tensor(digits.target)
    net = make()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(PICTURES_PER_STEP):
            loss = torch.nn.functional.cross_entropy(net(pictures[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    path = folder / "digits.safetensors"
    save_model(net, str(path))
    return path


if __name__ == "__main__":
    print(f"Wrote `{train().name}`.")
