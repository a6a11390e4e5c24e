"""Small modules of PyTorch, and the files that PyTorch writes of them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

__all__ = ["FORMATS", "exported", "lightning", "linear", "scripted", "write"]

FORMATS = ("script.pt", "program.pt2", "module.pt", "weights.safetensors", "weights.pt", "legacy.pth")


def linear() -> Any:
    """Return a module that makes two scores of each row of three numbers."""
    import torch

    net = torch.nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    return net


def scripted() -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(linear())


def lightning() -> Any:
    """Return the same as a module of Lightning's."""
    import torch
    from pytorch_lightning import LightningModule

    class Net(torch.nn.Linear, LightningModule):  # type: ignore[misc]
        pass

    net = Net(3, 2, bias=False)
    net.load_state_dict(linear().state_dict())
    return net


def exported(*, length: int | None = None) -> Any:
    """Return the same as an exported program, which takes any number of rows, or exactly ``length``."""
    import torch

    shapes = ({0: torch.export.Dim("rows")},) if length is None else None
    return torch.export.export(linear(), (torch.zeros(length or 2, 3),), dynamic_shapes=shapes)


def write(folder: Path, name: str) -> Path:
    """Write the module in one of the `FORMATS`, as PyTorch itself does."""
    import torch
    from safetensors.torch import save_file

    path, net = folder / name, linear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        match name:
            case "script.pt":
                torch.jit.save(scripted(), str(path))
            case "program.pt2":
                torch.export.save(exported(), path)
            case "module.pt":
                torch.save(net, path)
            case "weights.safetensors":
                save_file(net.state_dict(), path)
            case "weights.pt":
                torch.save(net.state_dict(), path)
            case _:
                torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)
    return path
