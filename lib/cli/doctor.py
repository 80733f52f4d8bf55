"""Looks over an installation, says what is there, and for every problem what to do.

    python -m lib.doctor

Exit status 0: no problem, 1: problems. Paste all of it into a bug report. It runs where nothing else does: each look is
on its own, and needs no package until it asks for one.
"""

from __future__ import annotations

import argparse
import importlib
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
from lib.files import sha256

ROOT = Path(__file__).resolve().parents[2]
INIT = "run sh init.sh"

PACKAGES = ("mxnet", "numpy", "opencv-python-headless", "scipy", "matplotlib", "pillow", "av", "easydict", "PyYAML")

# Weights that a fresh checkout lacks: what they are for.
PUBLISHED = {
    "model/rfcn_fgfa_flownet_vid-0000.params": "the published FGFA",
    "model/rfcn_vid-0000.params": "the published R-FCN",
    "model/pretrained_model/resnet_v1_101-0000.params": "training on ImageNet VID",
    "model/pretrained_model/flownet-0000.params": "training FGFA on ImageNet VID",
}
BUNDLED = ("model/minivid/rfcn-0000.params", "model/minivid/fgfa-0000.params")


class Line(NamedTuple):
    """One thing looked at. remedy: what to do; '' where nothing is wrong."""

    text: str
    remedy: str = ""


Look = Callable[[Path], Iterator[Line]]


def system(root: Path) -> Iterator[Line]:
    version = sys.version_info
    why = (
        "" if (3, 9) <= version[:2] <= (3, 12) else "MXNet 1.9.1 needs Python 3.9 to 3.12: remove .venv, run sh init.sh"
    )
    yield Line(f"Python {platform.python_version()} at {sys.executable}", why)
    note = root / ".python-path"
    chosen = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    if chosen and Path(chosen).parent != Path(sys.executable).parent:
        yield Line(f"init.sh installed into {chosen}", f"this is another Python: . {Path(chosen).parent}/activate")
    libc = " ".join(platform.libc_ver())
    yield Line(f"{platform.system()} {platform.release()} {platform.machine()} {libc}".rstrip())
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Line(f"{_processor()}: {os.cpu_count()} cores, {mine} of them for this process{_memory()}")
    threads = os.environ.get("OMP_NUM_THREADS")
    slow = threads is not None and threads.isdigit() and int(threads) < (mine or 1)
    yield Line(
        f"threads: OMP_NUM_THREADS={threads}" if threads else f"threads: {mine}, since OMP_NUM_THREADS is not set",
        f"OMP_NUM_THREADS leaves cores idle: unset it, unless other programs need the {mine} cores" if slow else "",
    )
    for name in ("g++", "nvcc"):
        found = shutil.which(name)
        yield Line(f"{name}: {found or 'none'}", "install g++ (apt install g++)" if name == "g++" and not found else "")
    commit = _output(["git", "-C", str(root), "describe", "--always", "--dirty"])
    yield Line(f"checkout {root}{', commit ' + commit if commit else ''}")


def packages(root: Path) -> Iterator[Line]:
    pinned = {}
    constraints = root / "constraints.txt"
    if constraints.is_file():
        pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", constraints.read_text(encoding="utf-8"), re.MULTILINE))
    for name in PACKAGES:
        others = {"mxnet": ["mxnet-cu112"], "opencv-python-headless": ["opencv-python", "opencv-contrib-python"]}
        found = next((n for n in [name, *others.get(name, [])] if _version(n)), None)
        if found is None:
            yield Line(f"{name}: not installed", INIT)
            continue
        version, wanted = _version(found), pinned.get(found)
        why = ""
        if name == "numpy" and int(version.split(".")[0]) >= 2:
            why = "MXNet 1.9.1 does not work with numpy 2: pip install -c constraints.txt numpy"
        tested = f" (tested with {wanted})" if wanted and wanted != version else ""
        yield Line(f"{found} {version}{tested}", why)
    if _version("mxnet") and _version("mxnet-cu112"):
        yield Line(
            "mxnet and mxnet-cu112 are both installed", "they share files: pip uninstall both, run sh init.sh [--gpu]"
        )


def engine(root: Path) -> Iterator[Line]:
    found = importlib.import_module("lib.backends.mxnet.health")
    about = found.engine()
    yield Line(f"MXNet {about.version} at {about.file}, built with {', '.join(about.features)}")
    right = found.adds_up()
    yield Line(
        "a convolution gives the right figures" if right else "a convolution gives WRONG figures",
        "" if right else "remove .venv and run sh init.sh",
    )
    yield Line(f"GPUs that MXNet sees: {about.gpus}")


def gpus(root: Path) -> Iterator[Line]:
    package = cuda.mxnet_folder()
    build = package is not None and cuda.is_cuda_build(package)
    driver = cuda.has_driver()
    if not build and not driver:
        yield Line("no NVIDIA driver, and an MXNet for processors: gpus: '' in the YAML")
        return
    cards = cuda.cards()
    text, usable = cuda.verdict(cards, driver)
    if build:
        missing = [name for name in cuda.unresolved(package) if name != cuda.DRIVER]
        yield Line(
            f"libraries of libmxnet.so: {'cannot load ' + ', '.join(missing) if missing else 'all found'}",
            "run sh init.sh --gpu" if missing else "",
        )
        yield Line(text, "" if usable else "run on the processor: remove .venv, sh init.sh, gpus: '' in the YAML")
    else:
        yield Line(text)
        if usable:
            yield Line("the installed MXNet is the one for processors; sh init.sh --gpu installs the one for GPUs")


def built(root: Path) -> Iterator[Line]:
    for source in sorted((root / "lib").rglob("*.pyx")):
        module = ".".join(source.relative_to(root).with_suffix("").parts)
        try:
            importlib.import_module(module)
        except ImportError as error:
            yield Line(f"{module}: not built ({error})", INIT)
        else:
            yield Line(f"{module}: built")
    library = importlib.import_module("lib.ops.library")
    library.load()
    content = library.LIBRARY.read_bytes()
    kernels = "with CUDA kernels" if b"nv_fatbin" in content else "for processors"
    yield Line(f"{library.LIBRARY.name}: built from these sources, {kernels}, loads")


def weights(root: Path) -> Iterator[Line]:
    found = sorted([*root.glob("model/*.params"), *root.glob("model/*/*.params")])
    for path in found:
        yield Line(f"{path.relative_to(root)}: {path.stat().st_size / 1e6:.1f} MB, sha256 {sha256(path)}")
    for name in BUNDLED:
        if not (root / name).is_file():
            yield Line(f"{name}: missing", "it comes with the checkout: git checkout model, or make reproduce")
    for name, purpose in PUBLISHED.items():
        if not (root / name).is_file():
            yield Line(f"{name}: not there; only {purpose} needs it (model/README.md)")


def datasets(root: Path) -> Iterator[Line]:
    folders = sorted(path for path in root.glob("data/*") if path.is_dir())
    if not folders:
        yield Line("data/ holds no dataset; make data makes MiniVID, docs/ says how to lay out others")
    for folder in folders:
        name = folder.relative_to(root)
        missing = [part for part in ("Data", "Annotations", "ImageSets") if not (folder / part).is_dir()]
        if missing:
            yield Line(f"{name}: no {', '.join(missing)}", "lay it out like ImageNet VID (docs/dataset_tools.md)")
            continue
        lists = sorted((folder / "ImageSets").rglob("*.txt"))
        if not lists:
            yield Line(f"{name}: ImageSets holds no list", f"run python -m lib.dataset.lists --root {name}")
            continue
        yield Line(
            f"{name}: lists {', '.join(path.name for path in lists)}; not gone through (doctor --check, or "
            f"python -m lib.dataset.check --root {name})"
        )


def checked_datasets(root: Path) -> Iterator[Line]:
    """Like `datasets`, every file looked at."""
    yield from datasets(root)
    for folder in sorted(path.parent for path in root.glob("data/*/ImageSets")):
        command = [sys.executable, "-m", "lib.dataset.check", "--root", str(folder)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        last = (done.stdout.strip() or done.stderr.strip() or "no word").splitlines()[-1]
        remedy = f"run python -m lib.dataset.check --root {folder.relative_to(root)}: it names every fault"
        yield Line(f"{folder.relative_to(root)}: {last}", remedy if done.returncode else "")


LOOKS: dict[str, Look] = {
    "System": system,
    "Packages": packages,
    "MXNet": engine,
    "GPU": gpus,
    "Built here": built,
    "Weights": weights,
    "Datasets": datasets,
}


def examine(root: Path, looks: dict[str, Look]) -> Iterator[tuple[str, Line]]:
    """(section, line) of every look; one that fails is a problem of its own, and the next goes on."""
    for section, look in looks.items():
        try:
            for line in look(root):
                yield section, line
        except Exception as error:
            yield section, Line(f"{type(error).__name__}: {' '.join(str(error).split())}", _remedy(error))


def _remedy(error: Exception) -> str:
    if type(error).__name__ == "InputError":
        return "as it says"
    return INIT if isinstance(error, (ImportError, OSError)) else f"{INIT}; if it stays, report it with this whole text"


def _version(name: str) -> str | None:
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
    """What a program prints; '' where it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m lib.doctor", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="also go through every file of the datasets")
    args = parser.parse_args(argv)
    looks = {**LOOKS, "Datasets": checked_datasets} if args.check else LOOKS
    shown, problems = None, 0
    for section, line in examine(ROOT, looks):
        if section != shown:
            sys.stdout.write(f"{section}\n")
            shown = section
        sys.stdout.write(f"  {line.text}\n")
        if line.remedy:
            problems += 1
            sys.stdout.write(f"    PROBLEM {problems}: {line.remedy}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{problems or 'no'} problem{'' if problems == 1 else 's'}\n")
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
