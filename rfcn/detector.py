"""The frame baseline as a detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from easydict import EasyDict

from lib.engine import detect
from lib.engine.pretrained import read_pretrained
from lib.engine.runtime import device
from rfcn.network import read_parameters, test_symbol


class FrameDetector(detect.FrameDetector):
    """`lib.engine.detect.FrameDetector` on R-FCN."""

    @classmethod
    def load(
        cls, cfg: EasyDict, weights: str | Path, worker: int = 0, batch: int | None = None, names: Sequence[str] = ()
    ) -> FrameDetector:
        """From settings and a weights file, on the device that is the turn of `worker`.

        InputError: no such weights, or weights of another network.
        """
        args, auxs = read_parameters(cfg, weights)
        context, batch = device(cfg.gpus, worker), batch or cfg.TEST.BATCH_IMAGES
        return cls(test_symbol(cfg), context, args, auxs, cfg, batch, names)

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
