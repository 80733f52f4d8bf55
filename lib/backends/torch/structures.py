"""The C structures of `lib/ops/src`: the sizes of a kernel's arrays, and its options."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

_FLOATS = ctypes.POINTER(ctypes.c_float)


def _structure(name: str, **kinds: Any) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": list(kinds.items())})


def _integers(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), ctypes.c_int64)


WarpShape = _structure("WarpShape", **_integers("batch channels height width"))
AggregateShape = _structure("AggregateShape", **_integers("slots frames height width channels embedding current"))
PsroiShape = _structure(
    "PsroiShape", **_integers("batch outputs group height width regions"), spatial_scale=ctypes.c_float
)
ProposalShape = _structure(
    "ProposalShape",
    **_integers("batch height width scales ratios"),
    scale=_FLOATS,
    ratio=_FLOATS,
    stride=ctypes.c_float,
    **_integers("pre_nms post_nms"),
    nms_threshold=ctypes.c_float,
    min_size=ctypes.c_float,
)


@dataclass(frozen=True)
class ProposalRules:
    """The options of `Functions.multi_proposal`. pre_nms <= 0: all candidates."""

    stride: float
    scales: tuple[float, ...]
    ratios: tuple[float, ...]
    pre_nms: int
    post_nms: int
    nms_threshold: float
    min_size: float

    @property
    def anchors(self) -> int:
        """The number of anchors of a cell."""
        return len(self.scales) * len(self.ratios)

    def candidates(self, count: int) -> int:
        """How many of the best boxes of `count` take part in NMS."""
        return min(self.pre_nms, count) if self.pre_nms > 0 else count

    def shape(self, batch: int, height: int, width: int) -> ctypes.Structure:
        return ProposalShape(
            batch,
            height,
            width,
            len(self.scales),
            len(self.ratios),
            (ctypes.c_float * len(self.scales))(*self.scales),
            (ctypes.c_float * len(self.ratios))(*self.ratios),
            self.stride,
            self.pre_nms,
            self.post_nms,
            self.nms_threshold,
            self.min_size,
        )
