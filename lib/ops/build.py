"""Builds the compiled operators: `python -m lib.ops.build`.

The result is `lib/ops/libfgfa_kernels.so`, the kernels of `lib/ops/src` with their plain C interface, and, where MXNet
is installed, `lib/ops/libfgfa_ops.so`, which adds their registration and the `lib_api.cc` that comes with MXNet; MXNet
itself is not rebuilt. A library is skipped if neither its sources nor its settings have changed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lib import cuda
from lib.argument import Parser
from lib.errors import InputError, command, start_logging
from lib.files import replacing
from lib.machine import cores
from lib.ops.library import KERNEL_NAMES, KERNELS, LIBRARY, SOURCES, build_mark, sources_digest

log = logging.getLogger(__name__)

CUDA_LIBRARY = LIBRARY.with_name("libfgfa_cuda.so")
SANITIZED = LIBRARY.with_name("sanitized.so")  # an executable; the suffix keeps it out of git like its neighbours
# Of these, the installed nvcc decides. 70: V100, 75: T4, 80: A100, 86: A10, 89: L4, 90: H100, 100: B200, 120: RTX 5090.
CUDA_ARCHITECTURES = (70, 75, 80, 86, 89, 90, 100, 120)

_COMMON = ("-std=c++17", "-O3", "-fPIC", "-fopenmp", "-Wall", "-Wextra", "-Wno-unused-parameter")
# Where a multiplication and an addition may become one instruction. Pooling bin edges and boxes must be exact to the
# bit; there, that would change results.
FUSED = ("aggregate",)
_NVCC = (
    "-std=c++17",
    "-O3",
    "-Xcompiler=-fPIC,-Wall",
)

_NVCC_LINK = ("nvcc", "-shared", "-Xcompiler=-fopenmp")  # nvcc finds the CUDA runtime


def compiler() -> str:
    """Path of the C++ compiler: $CXX, else g++, else c++. Raises InputError if none is found."""
    for name in (os.environ.get("CXX"), "g++", "c++"):
        path = shutil.which(name) if name else None
        if path:
            return path
    raise InputError("no C++ compiler (tried $CXX, g++, c++): install g++, then run `python -m lib.ops.build` again")


def mxnet_folder() -> Path:
    """Folder of the installed MXNet package. Raises InputError if there is none, or it is too old."""
    folder = cuda.mxnet_folder()
    if folder is None:
        raise InputError("MXNet is not installed in this Python: run `sh init.sh` first")
    for part in ("include/mxnet/lib_api.h", "src/lib_api.cc"):
        if not (folder / part).is_file():
            raise InputError(f"{folder / part} is missing: the operators need MXNet 1.8 or later (1.9.1 is tested)")
    return folder


def run_compilers(commands: Sequence[Sequence[str]]) -> None:
    """Runs commands in parallel. If one fails, logs its output and raises InputError."""
    with ThreadPoolExecutor(cores()) as pool:
        results = list(pool.map(lambda c: subprocess.run(c, capture_output=True, text=True, check=False), commands))
    for done in results:
        if done.returncode != 0:
            log.error("%s\n%s%s", " ".join(done.args), done.stdout, done.stderr)
            raise InputError(f"{done.args[0]} failed with status {done.returncode}; see its output above")


def build(*, force: bool = False) -> bool:
    """Builds the kernels' library, and MXNet's where MXNet is installed; returns False if all are up to date.

    Raises InputError if a compiler is missing, or if compiling fails.
    """
    built = build_kernels(force=force)
    if cuda.mxnet_folder() is None:
        log.info("MXNet is not installed: its library is not built")
        return built
    return build_mxnet(force=force) or built


def build_kernels(*, force: bool = False) -> bool:
    """Builds the library of the plain C interface, which needs no MXNet; returns False if it is up to date."""
    mark = _mark()
    if _up_to_date(KERNELS, mark, force):
        return False
    cxx = compiler()
    with tempfile.TemporaryDirectory() as folder:
        objects = {name: f"{folder}/{name}.o" for name in (*KERNEL_NAMES, "mark")}
        run_compilers([_mark_command(cxx, objects, mark), *_kernel_commands(cxx, objects)])
        with replacing(KERNELS) as target:
            run_compilers([[cxx, "-shared", "-fopenmp", *objects.values(), "-o", str(target)]])
    log.info("built %s", KERNELS.name)
    return True


def build_mxnet(*, force: bool = False) -> bool:
    """Builds the library for the installed MXNet; returns False if it is up to date.

    Raises InputError if MXNet or a compiler is missing, or if compiling fails.
    """
    mxnet = mxnet_folder()
    for_cuda = cuda.is_cuda_build(mxnet)
    nvcc = shutil.which("nvcc") if for_cuda else None
    parts = [(mxnet / part).read_bytes() for part in ("include/mxnet/lib_api.h", "src/lib_api.cc")]
    targets = [a for a in nvcc_architectures(nvcc) if mxnet_runs_on(a)] if nvcc else []
    mark = _mark(nvcc is not None and (_NVCC, targets), *parts)
    if _up_to_date(LIBRARY, mark, force):
        return False

    cxx = compiler()
    include = ("-isystem", str(mxnet / "include"))
    with tempfile.TemporaryDirectory() as folder:
        objects = {name: f"{folder}/{name}.o" for name in (*KERNEL_NAMES, "mark", "mxnet_ops", "lib_api")}
        flags = ("-DFGFA_WITH_CUDA",) if nvcc else ()
        commands = [
            [cxx, *_COMMON, *include, "-c", str(mxnet / "src" / "lib_api.cc"), "-o", objects["lib_api"]],
            [cxx, *_COMMON, *include, *flags, "-c", str(SOURCES / "mxnet_ops.cc"), "-o", objects["mxnet_ops"]],
            _mark_command(cxx, objects, mark),
            *_kernel_commands(cxx, objects),
        ]
        if nvcc:
            commands += _cuda_commands(nvcc, objects, folder, [_machine_code(a) for a in targets])
        run_compilers(commands)
        with replacing(LIBRARY) as target:
            linker = _NVCC_LINK if nvcc else (cxx, "-shared", "-fopenmp")
            run_compilers([[*linker, *objects.values(), "-o", str(target)]])
    log.info("built %s%s", LIBRARY.name, f" with CUDA kernels for {_names(targets)}" if nvcc else "")
    if not nvcc:
        reason = "nvcc was not found" if for_cuda else "the installed MXNet is not a CUDA build"
        log.info("built without CUDA kernels: %s", reason)
    return True


def _mark(*more: object) -> tuple[str, str]:
    """(digest of the sources, digest of the settings) of a library; `more`: its own settings."""
    settings = repr((_COMMON, FUSED, os.environ.get("CXX"), *more))
    return sources_digest(), hashlib.sha256(settings.encode()).hexdigest()[:16]


def _up_to_date(library: Path, mark: tuple[str, str], force: bool) -> bool:
    if force or not library.is_file() or build_mark(library) != mark:
        return False
    log.info("%s is up to date", library.name)
    return True


def build_cuda() -> None:
    """Builds only the CUDA kernels, as a library with a plain C interface, for bench/cuda_operators.py.

    It has machine code for every architecture, and PTX of the newest, which the driver translates for later GPUs.
    """
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        raise InputError("nvcc is not on PATH: install the CUDA toolkit, or leave out --cuda")
    targets = nvcc_architectures(nvcc)
    newest = f"-gencode=arch=compute_{targets[-1]},code=compute_{targets[-1]}"
    with tempfile.TemporaryDirectory() as folder:
        objects = {"proposal": f"{folder}/proposal.o"}  # it computes the anchors on the host
        host = _kernel_commands(compiler(), objects)
        run_compilers([*host, *_cuda_commands(nvcc, objects, folder, [*map(_machine_code, targets), newest])])
        with replacing(CUDA_LIBRARY) as target:
            run_compilers([[*_NVCC_LINK, *objects.values(), "-o", str(target)]])
    log.info("built %s for %s", CUDA_LIBRARY.name, _names(targets))


def nvcc_architectures(nvcc: str) -> list[int]:
    """Those of CUDA_ARCHITECTURES that this nvcc compiles for. Raises InputError if there are none."""
    listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=False)
    known = set(re.findall(r"compute_(\d+)\b", listed.stdout))
    found = [a for a in CUDA_ARCHITECTURES if str(a) in known]
    if not found:
        raise InputError(f"{nvcc}: compiles for none of {_names(CUDA_ARCHITECTURES)}; CUDA 11.2 or later is needed")
    return found


def mxnet_runs_on(architecture: int) -> bool:
    """Whether MXNet 1.9.1 itself has code for GPUs of this architecture, given as 75 for 7.5."""
    return cuda.Card("", (architecture // 10, architecture % 10)).served


def build_sanitized() -> Path:
    """Builds the edge-case driver with the address and undefined-behaviour sanitizers; returns the executable."""
    cxx = compiler()
    checks = "-fsanitize=address,undefined,float-cast-overflow"
    flags = ("-g", "-O1", "-fno-omit-frame-pointer", checks, "-fno-sanitize-recover=all")
    # `target_clones` selects code by processor before the sanitizers are ready, so only one copy is compiled here.
    extra = (*flags, "-DFGFA_ONE_TARGET")
    with tempfile.TemporaryDirectory() as folder:
        objects = {name: f"{folder}/{name}.o" for name in (*KERNEL_NAMES, "sanitize_driver")}
        driver = [cxx, *_COMMON, *extra, "-c", str(SOURCES / "sanitize_driver.cc"), "-o", objects["sanitize_driver"]]
        run_compilers([driver, *_kernel_commands(cxx, objects, extra)])
        with replacing(SANITIZED) as target:
            run_compilers([[cxx, *objects.values(), "-fopenmp", *flags, "-o", str(target)]])
        SANITIZED.chmod(0o755)
    log.info("built %s", SANITIZED)
    return SANITIZED


def _kernel_commands(cxx: str, objects: dict[str, str], extra: Sequence[str] = ()) -> list[list[str]]:
    return [
        [
            cxx,
            *_COMMON,
            f"-ffp-contract={'fast' if name in FUSED else 'off'}",
            *extra,
            "-c",
            str(SOURCES / f"{name}.cc"),
            "-o",
            objects[name],
        ]
        for name in KERNEL_NAMES
        if name in objects
    ]


def _mark_command(cxx: str, objects: dict[str, str], mark: tuple[str, str]) -> list[str]:
    define = f'-DFGFA_BUILD_MARK="{mark[0]}-{mark[1]}"'
    return [cxx, *_COMMON, define, "-c", str(SOURCES / "mark.cc"), "-o", objects["mark"]]


def _cuda_commands(nvcc: str, objects: dict[str, str], folder: str, targets: Sequence[str]) -> list[list[str]]:
    """Commands that compile the .cu files for the targets, options of nvcc; adds their objects to `objects`."""
    commands = []
    for source in sorted(SOURCES.glob("*.cu")):
        objects[f"cuda_{source.stem}"] = f"{folder}/cuda_{source.stem}.o"
        fused = "true" if source.stem in FUSED else "false"
        options = [*_NVCC, *targets, f"--fmad={fused}"]
        commands.append([nvcc, *options, "-c", str(source), "-o", objects[f"cuda_{source.stem}"]])
    return commands


def _machine_code(architecture: int) -> str:
    return f"-gencode=arch=compute_{architecture},code=sm_{architecture}"


def _names(architectures: Sequence[int]) -> str:
    return ", ".join(f"sm_{a}" for a in architectures)


@command
def main(argv: list[str] | None = None) -> None:
    """Builds what the options select."""
    parser = Parser(prog="python -m lib.ops.build", description=__doc__.splitlines()[0])
    parser.add_argument("--force", action="store_true", help="build even if sources and settings are unchanged")
    parser.add_argument(
        "--cuda", action="store_true", help=f"only {CUDA_LIBRARY.name}: the CUDA kernels, without MXNet"
    )
    parser.add_argument("--sanitize", action="store_true", help="only the test driver with ASan and UBSan")
    args = parser.parse_args(argv)
    start_logging()
    if args.sanitize:
        build_sanitized()
        return
    if args.cuda:
        build_cuda()
        return
    build(force=args.force)


if __name__ == "__main__":
    main()
