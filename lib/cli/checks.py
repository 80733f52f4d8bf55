"""The checks of `python -m lib.doctor`: each takes the checkout's root and yields its findings.

They are independent of each other, and import what they check only when they run. Where a check cannot run because of
something that another one reports, it says so and adds no problem of its own.
"""

from __future__ import annotations

import ctypes
import importlib
import operator
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from lib import cuda
from lib.errors import InputError
from lib.files import sha256
from lib.machine import cores

INIT = "run sh init.sh"

ENGINES = ("mxnet", "torch")
PACKAGES = "numpy opencv-python-headless scipy matplotlib pillow av easydict PyYAML tqdm".split()
OTHER_BUILDS = {"mxnet": ("mxnet-cu112",), "opencv-python-headless": ("opencv-python", "opencv-contrib-python")}

MODULES = {"cv2": "opencv-python-headless", "yaml": "PyYAML", "PIL": "pillow"}  # packages of other names
PIN = r'^([\w.-]+)==([^\s;]+)(?:; python_version (<|==|>=) "3\.(\d+)")?$'
PARTS = ("Data", "Annotations", "ImageSets")


class Line(NamedTuple):
    """One finding. remedy: what to do about it; "" if it is not a problem."""

    text: str
    remedy: str = ""


Check = Callable[[Path], Iterator[Line]]


def system(root: Path) -> Iterator[Line]:
    version = sys.version_info
    newest = (3, 12) if installed("mxnet") else (3, 14)
    yield Line(
        f"Python {platform.python_version()} at {sys.executable}",
        ""
        if (3, 9) <= version[:2] <= newest
        else "MXNet 1.9.1 needs Python 3.9 to 3.12, PyTorch 3.9 to 3.14: remove .venv and run sh init.sh, "
        "with --backend torch for PyTorch",
    )
    other = _other_python(root)
    if other:
        yield Line(f"init.sh installed into {other}", f"this is another Python; run . {other.parent}/activate")
    libc = " ".join(platform.libc_ver())
    yield Line(f"{platform.system()} {platform.release()} {platform.machine()} {libc}".rstrip())
    mine = cores()
    yield Line(f"{_processor()}: {os.cpu_count()} cores, {mine} available to this process{_memory()}")
    threads = os.environ.get("OMP_NUM_THREADS")
    slow = threads is not None and threads.isdigit() and int(threads) < mine
    yield Line(
        f"threads: OMP_NUM_THREADS={threads}" if threads else f"threads: {mine} (OMP_NUM_THREADS is not set)",
        f"this leaves cores idle: unset OMP_NUM_THREADS, unless other programs need the {mine} cores" if slow else "",
    )
    from lib.ops.build import compiler

    try:
        yield Line(f"C++ compiler: {compiler()}")
    except InputError:
        yield Line("C++ compiler: not found", "install g++ (Debian, Ubuntu: apt install g++)")
    yield Line(f"nvcc: {shutil.which('nvcc') or 'not found'}")
    commit = _output(["git", "-C", str(root), "describe", "--always", "--dirty"])
    yield Line(f"checkout {root}{', commit ' + commit if commit else ''}")


def packages(root: Path) -> Iterator[Line]:
    pinned = _pinned(root)
    missing = []
    for name in (*PACKAGES, *ENGINES):
        found = installed(name)
        if found is None:
            missing += [name] if name in PACKAGES else []  # one of the engines is enough
            continue
        version, wanted = metadata.version(found), pinned.get(found)
        remedy = ""
        if name == "numpy" and installed("mxnet") and too_new(version):
            remedy = "MXNet 1.9.1 does not work with numpy 2: pip install -c constraints.txt numpy, or remove MXNet"
        tested = f" (tested with {wanted})" if wanted and wanted != version.partition("+")[0] else ""
        yield Line(f"{found} {version}{tested}", remedy)
    if not any(map(installed, ENGINES)):
        missing.append("mxnet or torch")
    if missing:
        # In the wrong Python they are missing because it is the wrong one, which System reports.
        yield Line(f"not installed: {', '.join(missing)}", "" if _other_python(root) else INIT)
    if version_of("mxnet") and version_of("mxnet-cu112"):
        yield Line(
            "mxnet and mxnet-cu112 are both installed",
            "they contain the same files: pip uninstall both, then run sh init.sh or sh init.sh --gpu",
        )


def _pinned(root: Path) -> dict[str, str]:
    """The versions that init.sh installs beside the installed backends, for this Python."""
    pins = {}
    holds = {"<": operator.lt, "==": operator.eq, ">=": operator.ge}
    for name in ("constraints-common.txt", "constraints.txt" if installed("mxnet") else "constraints-torch.txt"):
        file = root / name
        lines = file.read_text(encoding="utf-8") if file.is_file() else ""
        for package, version, sign, minor in re.findall(PIN, lines, re.MULTILINE):
            if not sign or holds[sign](sys.version_info[1], int(minor)):
                pins[package] = version
    return pins


def built(root: Path) -> Iterator[Line]:
    missing = {}
    for source in sorted((root / "lib").rglob("*.pyx")):
        module = ".".join(source.relative_to(root).with_suffix("").parts)
        try:
            importlib.import_module(module)
        except ImportError as error:
            reason = reported(error) if error.name != module else ""
            if reason:
                yield Line(f"{module}: not checked: {reason}")
            else:
                missing[module] = error
        else:
            yield Line(f"{module}: built")
    if missing:
        yield Line(f"not built: {', '.join(missing)} ({next(iter(missing.values()))})", INIT)
    from lib.ops.library import KERNELS, LIBRARY, checked_kernels

    ctypes.CDLL(str(checked_kernels()))
    yield Line(f"{KERNELS.name}: matches its sources, loads")
    known = mxnet_reported()
    if known:
        if installed("mxnet"):
            yield Line(f"{LIBRARY.name}: not checked: {known}")
        return
    from lib.backends.mxnet import library

    library.load()
    kernels = "with CUDA kernels" if b"nv_fatbin" in LIBRARY.read_bytes() else "for the CPU"
    yield Line(f"{LIBRARY.name}: matches its sources, {kernels}, loads")


def weights(root: Path) -> Iterator[Line]:
    for path in sorted([*root.glob("model/*.params"), *root.glob("model/*/*.params")]):
        yield Line(f"{path.relative_to(root)}: {path.stat().st_size / 1e6:.1f} MB, sha256 {sha256(path)}")
    from lib.config import load_config
    from lib.methods import METHODS

    for method in METHODS.values():
        if not (root / method.bundled.weights).is_file():
            remedy = "it is part of the repository: run git checkout model, or make reproduce"
            yield Line(f"{method.bundled.weights}: missing", remedy)
    purposes: dict[str, list[str]] = {}  # of weights that a fresh checkout does not have
    for method in METHODS.values():
        purposes.setdefault(method.published.weights, []).append(f"the published {method.title}")
        for name in method.pretrained(load_config(root / method.published.cfg, schema=method.schema)):
            purposes.setdefault(os.path.normpath(name), []).append(f"training {method.title}")
    for name, needs in purposes.items():
        if not (root / name).is_file():
            yield Line(f"{name}: not there; needed only for {', '.join(needs)} (model/README.md)")


def datasets(root: Path) -> Iterator[Line]:
    folders = sorted(path for path in root.glob("data/*") if path.is_dir())
    if not folders:
        yield Line("data/ contains no dataset; make data generates MiniVID, docs/dataset_tools.md describes the layout")
    for folder in folders:
        name = folder.relative_to(root)
        missing = [part for part in PARTS if not (folder / part).is_dir()]
        if len(missing) == len(PARTS):
            yield Line(f"{name}: not a dataset (no {', '.join(PARTS)})")
            continue
        if missing:
            yield Line(f"{name}: no {', '.join(missing)}", "lay it out like ImageNet VID (docs/dataset_tools.md)")
            continue
        lists = sorted((folder / "ImageSets").rglob("*.txt"))
        if not lists:
            yield Line(f"{name}: no lists in ImageSets", f"run python -m lib.dataset.lists --root {name}")
            continue
        yield Line(f"{name}: lists {', '.join(path.name for path in lists)}")


def checked_datasets(root: Path) -> Iterator[Line]:
    """Like `datasets`, and runs `lib.dataset.check` on each one that is complete."""
    yield from datasets(root)
    for folder in sorted(path.parent for path in root.glob("data/*/ImageSets")):
        name = folder.relative_to(root)
        if not all((folder / part).is_dir() for part in PARTS):
            continue  # reported above
        command = [sys.executable, "-m", "lib.dataset.check", "--root", str(folder)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        last = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()[-1]
        remedy = f"run python -m lib.dataset.check --root {name}, which lists every fault"
        yield Line(f"{name}: {last}", remedy if done.returncode else "")


def mxnet_reported() -> str:
    """Why MXNet cannot be imported, where Packages or GPU reports that; "" where neither does."""
    for name in ("mxnet", "numpy"):
        if installed(name) is None:
            return f"{name} is not installed"
    if too_new(metadata.version("numpy")):
        return "MXNet does not work with this numpy"
    package = cuda.mxnet_folder()
    if package is None or not cuda.is_cuda_build(package):
        return ""
    if not cuda.has_driver():
        return "the CUDA build of MXNet needs the NVIDIA driver"
    return "libmxnet.so lacks libraries" if missing_libraries(package) else ""


def reported(error: Exception) -> str:
    """Why a module was not found, if Packages or Built here reports that; "" otherwise."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    if Path(__file__).parents[2].joinpath(*error.name.split(".")).with_suffix(".pyx").is_file():
        return f"{error.name} is not built"
    top = error.name.split(".")[0]
    package = MODULES.get(top, top)
    return f"{package} is not installed" if package in (*PACKAGES, *ENGINES) and installed(package) is None else ""


def _other_python(root: Path) -> Path | None:
    """The Python that init.sh installed into, if it is not this one."""
    note = root / ".python-path"
    chosen = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    return Path(chosen) if chosen and Path(chosen).parent != Path(sys.executable).parent else None


def missing_libraries(package: Path) -> list[str]:
    """Libraries of MXNet's CUDA build that cannot be loaded, apart from the driver's."""
    return [name for name in cuda.unresolved(package) if name != cuda.DRIVER]


def installed(name: str) -> str | None:
    """The package that provides `name`: itself, or another build of the same modules."""
    return next((each for each in (name, *OTHER_BUILDS.get(name, ())) if version_of(each)), None)


def too_new(numpy: str) -> bool:
    return int(numpy.split(".")[0]) >= 2


def version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or "processor"


def _memory() -> str:
    try:
        return f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB of memory"
    except (ValueError, OSError, AttributeError):
        return ""


def _output(command: list[str]) -> str:
    """What a command prints; "" if it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
