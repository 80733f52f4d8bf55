"""MXNet's CUDA build: where its libraries are, and whether it has code for the cards of this machine.

    python -m lib.cuda

Needs nothing but Python, so that init.sh can ask before it installs anything.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import importlib.util
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lib.errors import InputError, command

# mxnet-cu112 1.9.1 holds machine code for sm_50, 60, 70, 80 and 86 and no PTX, which a newer card could compile. Code
# runs on cards of the same major number and the same or a higher minor one.
COMPILED_FOR = ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6))
DRIVER = "libcuda.so.1"

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB = 1, 5


def needed(path: str | Path) -> list[str]:
    """Names of the shared libraries that an ELF file of 64 bits asks for. ValueError: it is no such file."""
    with open(path, "rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{path}: not a 64-bit little-endian ELF file")
        (start,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
        file.seek(start)
        table = file.read(size * count)
        # Each: kind, flags, place in the file, address, physical address, size in the file, and two more.
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
    """The installed MXNet package, found without importing it."""
    spec = importlib.util.find_spec("mxnet")
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def is_cuda_build(package: Path) -> bool:
    """Whether an MXNet package was built with CUDA."""
    library = package / "libmxnet.so"
    return library.is_file() and any(name.startswith("libcudart.so") for name in needed(library))


def wheel_libraries(folders: Sequence[str] = ()) -> dict[str, Path]:
    """Libraries in the nvidia-* packages by name: <folder of sys.path>/nvidia/<package>/lib/<name>."""
    found = {}
    for folder in reversed(folders or sys.path):
        found.update({path.name: path for path in Path(folder).glob("nvidia/*/lib/*.so*")})
    return found


def preload(package: Path) -> None:
    """Loads the libraries that a CUDA build of MXNet needs from the nvidia-* packages, where the loader does not look.

    Does nothing for a build without CUDA. What cannot be loaded is left for `unresolved`, and for MXNet to stumble on.
    """
    if is_cuda_build(package):
        _load_wheels(tuple(needed(package / "libmxnet.so")))


@functools.cache
def _load_wheels(names: tuple[str, ...]) -> None:
    wheels = wheel_libraries()
    waiting = [wheels[name] for name in names if name in wheels]
    while waiting:
        left = [path for path in waiting if not _loads(path)]  # one may need another that comes later
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
    """Libraries that libmxnet.so needs and that cannot be loaded, after `preload`."""
    preload(package)
    return [
        name
        for name in needed(package / "libmxnet.so")
        if not (_loads(package / name) if (package / name).is_file() else _loads(name))
    ]


class Card(NamedTuple):
    """A GPU: its name, and its compute capability (major, minor)."""

    name: str
    capability: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name}, compute capability {self.capability[0]}.{self.capability[1]}"

    @property
    def served(self) -> bool:
        """Whether MXNet 1.9.1 holds code that runs on it."""
        return any(self.capability[0] == major and self.capability[1] >= minor for major, minor in COMPILED_FOR)


def cards() -> list[Card]:
    """The GPUs, as the driver tells them; none where there is no driver or no GPU."""
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
    """Whether NVIDIA's driver is installed."""
    return _loads(DRIVER)


def verdict(found: Sequence[Card], driver: bool) -> tuple[str, bool]:
    """(what is said of these cards, whether MXNet's CUDA build can run on one)."""
    if not driver:
        return (
            f"no NVIDIA driver here ({DRIVER} is not found): the CUDA build of MXNet cannot even be imported without; "
            "install the driver, or use the processor: sh init.sh without --gpu",
            False,
        )
    if not found:
        return (
            "NVIDIA's driver is here but shows no GPU (nvidia-smi tells more); use the processor, gpus: '' in the YAML",
            False,
        )
    lines = []
    for number, card in enumerate(found):
        if card.served:
            lines.append(f"GPU {number}: {card}: MXNet 1.9.1 has kernels for it")
        else:
            lines.append(
                f"GPU {number}: {card}: MXNet 1.9.1 has NO kernels for it. Its CUDA build holds code for sm_50, 60, "
                "70, 80 and 86 alone, which serves compute capability 5.0 to 8.9 (Maxwell to Ada), not Hopper or "
                "Blackwell, and no update will come. Use a GPU of those generations, or the processor: sh init.sh "
                "without --gpu, and gpus: '' in the YAML"
            )
    return "\n".join(lines), any(card.served for card in found)


@command
def main(argv: list[str] | None = None) -> None:
    """Exit status 0: all is well, 1: no card here can be used, 2: a library is missing, 3: there is no driver."""
    parser = argparse.ArgumentParser(prog="python -m lib.cuda", description=__doc__.splitlines()[0])
    parser.add_argument("--card", action="store_true", help="look at the cards alone, not at the installed MXNet")
    card_alone = parser.parse_args(argv).card
    driver = has_driver()
    text, usable = verdict(cards(), driver)
    sys.stdout.write(text + "\n")
    if not card_alone:
        _say_libraries()
    if not usable:
        sys.exit(1 if driver else 3)


def _say_libraries() -> None:
    package = mxnet_folder()
    if package is None:
        sys.stdout.write("MXNet is not installed\n")
    elif not is_cuda_build(package):
        sys.stdout.write("the installed MXNet is a build without CUDA\n")
    else:
        missing = [name for name in unresolved(package) if name != DRIVER]
        if missing:
            raise InputError(f"{package}/libmxnet.so: cannot load {', '.join(missing)}; run sh init.sh --gpu again")
        but = "" if has_driver() else f" but the driver's {DRIVER}"
        sys.stdout.write(f"libmxnet.so finds all of its {len(needed(package / 'libmxnet.so'))} libraries{but}\n")


if __name__ == "__main__":
    main()
