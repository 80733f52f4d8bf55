"""The checks of `python -m lib.doctor` on the backends and the GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lib import cuda
from lib.cli.checks import Line, installed, missing_libraries, mxnet_reported
from lib.errors import InputError, counted


def backend(root: Path) -> Iterator[Line]:
    """What `backend: auto` takes."""
    from lib.backends.choice import automatic

    try:
        name = {"mxnet": "MXNet", "torch": "PyTorch, as MXNet is not installed"}[automatic()]
    except InputError:
        yield Line("not checked: mxnet or torch is not installed")
    else:
        yield Line(f"backend: auto takes {name}")


def gpus(root: Path) -> Iterator[Line]:
    package = cuda.mxnet_folder()
    build = package if package and cuda.is_cuda_build(package) else None
    driver = cuda.has_driver()
    if not build and not driver:
        yield Line("no NVIDIA driver; networks run on the CPU (gpus: '' in the YAML)")
        return
    if package is None:
        yield from (Line(f"GPU {number}: {card}") for number, card in enumerate(cuda.cards()))
        return
    verdict, usable = cuda.verdict(cuda.cards(), driver)
    *others, last = verdict.splitlines()
    yield from map(Line, others)
    if build:
        yield Line(last, "" if usable else "run on the CPU: remove .venv, run sh init.sh, set gpus: '' in the YAML")
        missing = missing_libraries(build)
        yield Line(
            f"libraries of libmxnet.so: {'cannot load ' + ', '.join(missing) if missing else 'all found'}",
            "run sh init.sh --gpu" if missing else "",
        )
    else:
        yield Line(last)
        if usable:
            yield Line("the installed MXNet is the CPU build; sh init.sh --gpu installs the CUDA build")


def mxnet(root: Path) -> Iterator[Line]:
    if not installed("mxnet"):
        yield Line("not installed")
        return
    known = mxnet_reported()
    if known:
        yield Line(f"not checked: {known}")
        return
    from lib.backends.mxnet import health

    about = health.engine()
    yield Line(f"MXNet {about.version} at {about.file}, built with {', '.join(about.features)}")
    yield _convolution(health.adds_up())
    yield Line(f"GPUs that MXNet sees: {about.gpus}")


def torch(root: Path) -> Iterator[Line]:
    if not installed("torch"):
        yield Line("not installed; sh init.sh --backend torch installs it in place of MXNet, --backend both beside it")
        return
    if not installed("numpy"):
        yield Line("not checked: numpy is not installed")
        return
    from lib.backends.torch import cards, health

    about = health.engine()
    yield Line(f"PyTorch {about.version} at {about.file}, {'CUDA ' + about.cuda if about.cuda else 'for the CPU'}")
    bfloat16 = "yes" if about.bfloat16 else "no, it needs AVX-512"
    yield Line(f"CPU: {about.instructions}, {counted(about.threads, 'thread')}, TEST.PRECISION: bfloat16: {bfloat16}")
    yield _convolution(health.adds_up())
    found = cards.cards()
    yield Line(f"GPUs that PyTorch sees: {len(found)}")
    for number, card in enumerate(found):
        problem, remedy = cards.unserved(card), "use the CPU: gpus: '' in the YAML"
        yield Line(f"GPU {number}: {problem or f'{card}: PyTorch has kernels for it'}", remedy if problem else "")
    if about.cuda == "" and cuda.cards():
        yield Line("this PyTorch was built without CUDA; sh init.sh --backend torch --gpu installs it with CUDA")


def _convolution(right: bool) -> Line:
    if right:
        return Line("a small convolution gives the right result")
    return Line("a small convolution gives a WRONG result", "remove .venv and run sh init.sh")
