"""CUDA releases: the image that brings each one's libraries, and the index of the packages that are built for it.

`cuda = "12.4"` in a kappafile chooses a row. The images are NVIDIA's, on Ubuntu, with cuDNN and without a compiler;
they have no Python, which `kappa-init.sh` installs: Ubuntu's own where it is the service's, else deadsnakes'. PyTorch
keeps an index for each CUDA release and stops adding to it some releases later, while its newest packages on PyPI are
made for a newer CUDA: hence the bound. TensorFlow, JAX, XGBoost and ONNX Runtime have their GPU packages on PyPI.

Sources: hub.docker.com/r/nvidia/cuda, pytorch.org/get-started/previous-versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kappa.spec.service import CudaVersion

__all__ = ["CUDA_RELEASES", "CudaRelease"]

_OWN_PYTHON = {"22.04": "3.10", "24.04": "3.12"}


@dataclass(frozen=True, slots=True)
class CudaRelease:
    """One release: ``patch`` and ``cudnn`` as NVIDIA's tags have them, on these versions of Ubuntu, oldest first."""

    patch: str
    cudnn: str
    ubuntus: tuple[str, ...]
    torch: str
    """The upper bound of a requirement of PyTorch; empty while its index still grows."""

    def image(self, python: str) -> str:
        """Return the image for a Python version: on the Ubuntu that has it, else on the oldest."""
        with_python = [ubuntu for ubuntu in self.ubuntus if _OWN_PYTHON[ubuntu] == python]
        return f"nvidia/cuda:{self.patch}-{self.cudnn}-runtime-ubuntu{(*with_python, *self.ubuntus)[0]}"

    @property
    def index_url(self) -> str:
        """Where PyTorch keeps the packages that are made for this release."""
        major, minor, _ = self.patch.split(".")
        return f"https://download.pytorch.org/whl/cu{major}{minor}"

    @property
    def constraints(self) -> tuple[str, ...]:
        return (f"torch{self.torch}",) if self.torch else ()


CUDA_RELEASES: Mapping[CudaVersion, CudaRelease] = {
    "11.8": CudaRelease("11.8.0", "cudnn8", ("22.04",), "<2.8"),
    "12.1": CudaRelease("12.1.1", "cudnn8", ("22.04",), "<2.6"),
    "12.4": CudaRelease("12.4.1", "cudnn", ("22.04",), "<2.7"),
    "12.6": CudaRelease("12.6.3", "cudnn", ("22.04", "24.04"), ""),
    "12.8": CudaRelease("12.8.1", "cudnn", ("22.04", "24.04"), ""),
    "12.9": CudaRelease("12.9.1", "cudnn", ("22.04", "24.04"), ""),
    "13.0": CudaRelease("13.0.1", "cudnn", ("22.04", "24.04"), ""),
}
"""The releases that `[env] cuda` may name."""
