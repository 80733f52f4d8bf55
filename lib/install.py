"""The steps of init.sh that are written in Python.

    python -m lib.install requirements BACKEND            # write build/requirements.txt
    python -m lib.install has-cpu-torch                   # status 0 if PyTorch is installed in its build for the CPU
    python -m lib.install check BACKEND [--gpu] MODULE ... # import the backend, the packages and these modules

BACKEND: mxnet, torch or both.

Loads nothing but the standard library and what a step needs, as init.sh runs it before the packages are installed.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from importlib import metadata
from pathlib import Path

from lib import cuda


def installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def opencv_with_windows() -> bool:
    """Whether only the variant of OpenCV with windows is installed, and works."""
    if installed("opencv-python-headless") or not (installed("opencv-python") or installed("opencv-contrib-python")):
        return False
    try:
        importlib.import_module("cv2")
    except ImportError:
        return False
    return True


def requirements(backend: str) -> list[str]:
    """The requirements of pyproject.toml that this environment needs for a backend.

    Leaves out what an installed variant already provides, as both contain the same files: MXNet if its CUDA build is
    installed, opencv-python-headless if a variant with windows is.
    """
    from setuptools.config.pyprojecttoml import read_configuration

    project = read_configuration("pyproject.toml")["project"]
    provided = ["mxnet"] * installed("mxnet-cu112") + ["opencv-python-headless"] * opencv_with_windows()
    extras = project["optional-dependencies"]
    needed = sum((extras[name] for name in engines(backend)), project["dependencies"]) + extras["test"]
    return [line for line in needed if not line.startswith(tuple(provided))]


def engines(backend: str) -> list[str]:
    """The packages that execute networks: "both" stands for MXNet and PyTorch."""
    return ["mxnet", "torch"] if backend == "both" else [backend]


def mxnet_version() -> str:
    """Imports MXNet and the operators; without the driver that its CUDA build needs, it says so instead."""
    package = cuda.mxnet_folder()
    if package is not None and cuda.is_cuda_build(package) and not cuda.has_driver():
        return "no NVIDIA driver: MXNet and the operators were not tried"
    from lib.backends.mxnet.library import load
    from lib.backends.mxnet.loader import mx

    version = f"mxnet {mx.__version__}"
    load()
    return version


def torch_version(gpu: bool) -> str:
    """Imports PyTorch and the operators. gpu: exits with status 1 if this PyTorch was built without CUDA."""
    from lib.backends.torch.loader import torch
    from lib.ops.library import checked_kernels

    ctypes.CDLL(str(checked_kernels()))
    if gpu and torch.version.cuda is None:
        sys.exit(f"PyTorch {torch.__version__} was built without CUDA; pip found it in {_sources()}")
    gpus = f" ({torch.cuda.device_count()} GPUs)" if gpu else ""
    return f"torch {torch.__version__}{gpus}"


def _sources() -> str:
    """Where pip looks besides its index, as far as the environment says."""
    names = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
    return ", ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ) or "its index"


def check(backend: str, modules: list[str], gpu: bool = False) -> str:
    """Imports everything and returns the versions. Exits with status 1 and one line if a module does not import."""
    name = ""
    try:
        versions = []
        for name in engines(backend):
            versions.append(mxnet_version() if name == "mxnet" else torch_version(gpu))
        for name in ("numpy", "cv2"):
            versions.append(f"{name} {importlib.import_module(name).__version__}")
        for name in ("rfcn", "fgfa_rfcn", "dff_rfcn", *modules):
            importlib.import_module(name)
    except Exception as error:
        sys.exit(f"{name} does not import: {type(error).__name__}: {error}")
    return f"{', '.join(versions)}, {len(modules)} Cython modules, the operators: everything imports"


def main(argv: list[str]) -> None:
    step, *rest = argv
    if step == "requirements":
        Path("build/requirements.txt").write_text("\n".join(requirements(*rest)) + "\n")
    elif step == "has-cpu-torch":
        sys.exit(not (installed("torch") and metadata.version("torch").endswith("+cpu")))
    else:
        backend, *modules = (each for each in rest if each != "--gpu")
        sys.stdout.write(check(backend, modules, gpu="--gpu" in rest) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
