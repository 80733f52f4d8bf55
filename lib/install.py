"""The steps of init.sh that are written in Python.

    python -m lib.install requirements        # write build/requirements.txt
    python -m lib.install check MODULE ...    # import MXNet, the packages and these modules

Loads nothing but the standard library and what a step needs, as init.sh runs it before the packages are installed.
"""

from __future__ import annotations

import importlib
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


def requirements() -> list[str]:
    """The requirements of pyproject.toml that this environment needs.

    Leaves out what an installed variant already provides, as both contain the same files: MXNet if its CUDA build is
    installed, opencv-python-headless if a variant with windows is.
    """
    from setuptools.config.pyprojecttoml import read_configuration

    project = read_configuration("pyproject.toml")["project"]
    provided = ["mxnet"] * installed("mxnet-cu112") + ["opencv-python-headless"] * opencv_with_windows()
    needed = project["dependencies"] + project["optional-dependencies"]["test"]
    return [line for line in needed if not line.startswith(tuple(provided))]


def check(modules: list[str]) -> str:
    """Imports everything and returns the versions. Exits with status 1 and one line if a module does not import."""
    name = "lib.backends.mxnet.loader"
    try:
        package = cuda.mxnet_folder()
        tried = package is None or cuda.has_driver() or not cuda.is_cuda_build(package)
        versions = "no NVIDIA driver: MXNet and the operators were not tried"
        if tried:
            from lib.backends.mxnet.loader import mx

            versions = f"mxnet {mx.__version__}"
        for name in ("numpy", "cv2"):
            versions += f", {name} {importlib.import_module(name).__version__}"
        for name in ("rfcn", "fgfa_rfcn", "dff_rfcn", *modules):
            importlib.import_module(name)
        name = "lib.backends.mxnet.library"
        if tried:
            from lib.backends.mxnet.library import load

            load()
    except Exception as error:
        sys.exit(f"{name} does not import: {type(error).__name__}: {error}")
    library = ", the operator library" if tried else ""
    return f"{versions}, {len(modules)} Cython modules{library}: everything imports"


def main(argv: list[str]) -> None:
    step, *modules = argv
    if step == "requirements":
        Path("build/requirements.txt").write_text("\n".join(requirements()) + "\n")
    else:
        sys.stdout.write(check(modules) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
