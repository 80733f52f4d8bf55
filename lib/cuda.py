"""MXNet's CUDA build: where its libraries are, and whether it has kernels for the GPUs of this machine.

    python -m lib.cuda

Uses only the standard library, so that init.sh can run it before it installs anything.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lib.argument import Parser
from lib.errors import InputError, command

# mxnet-cu112 1.9.1 contains machine code for sm_50, 60, 70, 80 and 86 and no PTX, which the driver could compile for
# newer GPUs. Machine code runs on GPUs of the same major number and the same or a higher minor one.
COMPILED_FOR = ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6))
DRIVER = "libcuda.so.1"

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB = 1, 5


def needed(path: str | Path) -> list[str]:
    """Names of the shared libraries that a 64-bit ELF file needs. Raises ValueError if it is not such a file."""
    with open(path, "rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{path}: not a 64-bit little-endian ELF file")
        (start,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
        file.seek(start)
        table = file.read(size * count)
        # Each: kind, flags, offset in the file, address, physical address, size in the file, and two more.
        segments = [struct.unpack_from("<IIQQQQ", table, size * number) for number in range(count)]
        entries = []
        for kind, _, place, _, _, length in segments:
            if kind == _PT_DYNAMIC:
                file.seek(place)
                entries += list(struct.iter_unpack("<QQ", file.read(length)))
        names = []
        for address in (value for tag, value in entries if tag == _DT_STRTAB):
            for kind, _, place, virtual, _, length in segments:
                if kind == _PT_LOAD and virtual <= address < virtual + length:
                    for offset in (value for tag, value in entries if tag == _DT_NEEDED):
                        file.seek(place + address - virtual + offset)
                        names.append(file.read(256).split(b"\0")[0].decode())
        return names


def mxnet_folder() -> Path | None:
    """Folder of the installed MXNet package, found without importing it; None if there is none."""
    spec = importlib.util.find_spec("mxnet")
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def is_cuda_build(package: Path) -> bool:
    """Whether the MXNet package in this folder was built with CUDA."""
    library = package / "libmxnet.so"
    return library.is_file() and any(name.startswith("libcudart.so") for name in needed(library))


def wheel_libraries(folders: Sequence[str] = ()) -> dict[str, Path]:
    """Libraries of the nvidia-* packages by name, found at <folder of sys.path>/nvidia/<package>/lib/<name>."""
    found = {}
    for folder in reversed(folders or sys.path):
        found.update({path.name: path for path in Path(folder).glob("nvidia/*/lib/*.so*")})
    return found


def preload(package: Path) -> None:
    """Loads the libraries that a CUDA build of MXNet needs from the nvidia-* packages, where the loader does not look.

    Does nothing for a CPU build. Libraries that cannot be loaded are skipped: `unresolved` lists them.
    """
    if is_cuda_build(package):
        _load_wheels(tuple(needed(package / "libmxnet.so")))


@functools.cache
def _load_wheels(names: tuple[str, ...]) -> None:
    wheels = wheel_libraries()
    waiting = [wheels[name] for name in names if name in wheels]
    while waiting:
        left = [path for path in waiting if not _loads(path)]  # one may need another that is loaded later
        if len(left) == len(waiting):
            return
        waiting = left


def _loads(library: str | Path) -> bool:
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def unresolved(package: Path) -> list[str]:
    """Names of the libraries that libmxnet.so needs and that cannot be loaded, even after `preload`."""
    preload(package)
    return [
        name
        for name in needed(package / "libmxnet.so")
        if not (_loads(package / name) if (package / name).is_file() else _loads(name))
    ]


class Card(NamedTuple):
    """A GPU: its name and its compute capability (major, minor)."""

    name: str
    capability: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name}, compute capability {self.capability[0]}.{self.capability[1]}"

    @property
    def served(self) -> bool:
        """Whether MXNet 1.9.1 contains code that runs on it."""
        return any(self.capability[0] == major and self.capability[1] >= minor for major, minor in COMPILED_FOR)


def cards() -> list[Card]:
    """The GPUs that the driver reports; empty if there is no driver or no GPU."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return []
    number = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(number)) != 0:
        return []
    return list(_cards(driver, number.value))


def _cards(driver: ctypes.CDLL, count: int) -> Iterator[Card]:
    for ordinal in range(count):
        device, value, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(128)
        driver.cuDeviceGet(ctypes.byref(device), ordinal)
        driver.cuDeviceGetName(name, len(name), device)
        capability = []
        for attribute in (75, 76):  # COMPUTE_CAPABILITY_MAJOR, _MINOR
            driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
            capability.append(value.value)
        yield Card(name.value.decode(), (capability[0], capability[1]))


def has_driver() -> bool:
    """Whether the NVIDIA driver is installed."""
    return _loads(DRIVER)


def verdict(found: Sequence[Card], driver: bool) -> tuple[str, bool]:
    """(report on these GPUs, a line each; whether MXNet's CUDA build can run on at least one of them)."""
    if not driver:
        return (
            f"no NVIDIA driver ({DRIVER} not found), and the CUDA build of MXNet cannot be imported without it; "
            "install the driver, or use the CPU: sh init.sh without --gpu",
            False,
        )
    if not found:
        return (
            "the NVIDIA driver reports no GPU (nvidia-smi may say why); use the CPU: gpus: '' in the YAML",
            False,
        )
    lines = []
    for number, card in enumerate(found):
        if card.served:
            lines.append(f"GPU {number}: {card}: MXNet 1.9.1 has kernels for it")
        else:
            lines.append(
                f"GPU {number}: {card}: MXNet 1.9.1 has NO kernels for it. Its CUDA build supports compute capability "
                "5.0 to 8.9 (Maxwell to Ada), not Hopper or Blackwell, and 1.9.1 is the last release. Use a supported "
                "GPU, PyTorch (sh init.sh --backend torch --gpu), or the CPU (sh init.sh without --gpu, and gpus: '' "
                "in the YAML)"
            )
    return "\n".join(lines), any(card.served for card in found)


@command
def main(argv: list[str] | None = None) -> None:
    """Exit status 0: no problem that is known, or no driver; 1: no supported GPU; 2: a library is missing."""
    parser = Parser(prog="python -m lib.cuda", description=__doc__.splitlines()[0])
    parser.add_argument("--card", action="store_true", help="check only the GPUs, not the installed MXNet")
    card_only = parser.parse_args(argv).card
    driver = has_driver()
    text, usable = verdict(cards(), driver)
    sys.stdout.write(text + "\n")
    if not card_only:
        _report_libraries()
    if driver and not usable:
        sys.exit(1)


def _report_libraries() -> None:
    package = mxnet_folder()
    if package is None:
        sys.stdout.write("MXNet is not installed\n")
    elif not is_cuda_build(package):
        sys.stdout.write("the installed MXNet is the CPU build\n")
    else:
        missing = [name for name in unresolved(package) if name != DRIVER]
        if missing:
            raise InputError(f"{package}/libmxnet.so: cannot load {', '.join(missing)}; run sh init.sh --gpu again")
        found = len(needed(package / "libmxnet.so"))
        exception = "" if has_driver() else f", except the driver's {DRIVER}"
        sys.stdout.write(f"libmxnet.so: all {found} libraries found{exception}\n")


if __name__ == "__main__":
    main()
