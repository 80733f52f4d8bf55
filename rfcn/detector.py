"""The frame baseline as a detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from easydict import EasyDict

from lib.backends.mxnet.precision import Precision, precision_of
from lib.backends.mxnet.runtime import Forward, device
from lib.inference import detect
from lib.inference.pretrained import read_pretrained
from rfcn.network import feature_symbol, head_symbol, read_parameters


class FrameDetector(detect.FrameDetector):
    """`lib.inference.detect.FrameDetector` on R-FCN."""

    @classmethod
    def load(
        cls,
        cfg: EasyDict,
        weights: str | Path,
        worker: int = 0,
        batch: int | None = None,
        names: Sequence[str] = (),
        precision: Precision | None = None,
    ) -> FrameDetector:
        """From settings and a weights file, on the device that is the turn of `worker`.

        precision: of the feature network; what TEST.PRECISION says if None. InputError: no such weights, weights of
        another network, or a precision that cannot be had.
        """
        args, auxs = read_parameters(cfg, weights)
        context, precision = device(cfg.gpus, worker), precision or precision_of(cfg.TEST.PRECISION, weights)
        features = precision.network("features", feature_symbol(cfg), context, args, auxs)
        heads = Forward(head_symbol(cfg), context, args, auxs)

        def forward(data, im_info):
            (maps,) = features(data=data).values()
            return heads(features=maps, im_info=im_info)

        return cls(forward, cfg, batch or cfg.TEST.BATCH_IMAGES, names)

    @classmethod
    def from_pretrained(
        cls, where: str | Path, *, gpu: int | None = None, batch: int | None = None, settings: Sequence[str] = ()
    ) -> FrameDetector:
        """From `<where>.yaml`, `<where>-0000.params` and the classes.txt beside them, or a folder with one such set.

        gpu: its number, None for the CPU. settings: texts such as `TEST.NMS=0.5`, which win over the YAML.
        Detections know the names of their classes. InputError: a file is missing, or the files do not fit together.
        """
        cfg, weights, classes = read_pretrained(where, settings, gpu)
        return cls.load(cfg, weights, batch=batch, names=classes.names)
