"""Writes R-FCN's networks as ONNX files and compares each with MXNet in onnxruntime.

features.onnx: data (N, 3, H, W), RGB minus mean -> features (N, C, h, w)
heads.onnx:    features (N, C, h, w) -> rpn_prob (N, 2A, h, w), rpn_deltas (N, 4A, h, w),
               rfcn_cls (N, group^2 * classes, h, w), rfcn_bbox (N, group^2 * 8, h, w)

N, H and W are free. Not in the files: proposals, position-sensitive pooling (ONNX has no operators for these two) and
NMS. They remain for the caller; docs/weights.md shows a frame's whole way.
"""

from __future__ import annotations

from lib.cli.export import main_of
from lib.errors import command
from rfcn.demo import CFG, WEIGHTS
from rfcn.network import export_parts, read_parameters


@command
def main(argv: list[str] | None = None) -> None:
    main_of(argv, __doc__, cfg=CFG, weights=WEIGHTS, out="output/onnx/rfcn", parts=export_parts, read=read_parameters)


if __name__ == "__main__":
    main()
