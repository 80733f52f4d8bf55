"""Whether the installed PyTorch has kernels for the GPUs of this machine."""

from __future__ import annotations

import re

from lib.backends.torch.loader import torch
from lib.cuda import Card, has_driver
from lib.errors import InputError

_CPU = "use gpus: '' (--set gpus=) for the CPU"


def cards() -> list[Card]:
    """The GPUs that PyTorch sees."""
    return [
        Card(torch.cuda.get_device_name(number), torch.cuda.get_device_capability(number))
        for number in range(torch.cuda.device_count())
    ]


def check(numbers: list[int]) -> None:
    """Raises InputError if one of these GPUs does not exist, or PyTorch was not built for it."""
    present = cards()
    for number in numbers:
        if number >= len(present):
            raise InputError(f"gpus: there is no GPU {number}, PyTorch sees {len(present)}{_why_none(present)}; {_CPU}")
        problem = unserved(present[number])
        if problem:
            raise InputError(f"gpus: GPU {number}: {problem}, or {_CPU}")


def _why_none(present: list[Card]) -> str:
    if present:
        return ""
    if not torch.backends.cuda.is_built():
        return f" ({torch.__version__} was built without CUDA: sh init.sh --backend torch --gpu)"
    return "" if has_driver() else " (no NVIDIA driver)"


def unserved(card: Card) -> str:
    """Why PyTorch cannot run on this GPU, and what to do; "" if it can.

    Machine code runs on GPUs of the same major number and the same or a higher minor one, PTX on all newer ones.
    """
    if torch.version.hip is not None:  # its architectures have names
        return ""
    built = [_parsed(name) for name in torch.cuda.get_arch_list()]
    if any(_runs(kind, made_for, exact, card.capability) for kind, made_for, exact in built):
        return ""
    oldest, newest = min(made_for for _, made_for, _ in built), max(made_for for _, made_for, _ in built)
    what = "an older" if card.capability < oldest else "a newer"
    span = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
    return f"{card}: PyTorch {torch.__version__} was built for {span}; install {what} PyTorch, use another GPU"


def _parsed(architecture: str) -> tuple[str, tuple[int, int], bool]:
    """("sm" or "compute", capability, whether only that capability) of a name such as sm_90a."""
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", architecture)
    if found is None:
        raise ValueError(f"PyTorch names an unknown architecture {architecture!r}")
    kind, major, minor, suffix = found.groups()
    return kind, (int(major), int(minor)), suffix == "a"


def _runs(kind: str, made_for: tuple[int, int], exact: bool, capability: tuple[int, int]) -> bool:
    if exact:
        return made_for == capability
    same = made_for[0] == capability[0] or kind == "compute"
    return same and made_for <= capability
