"""What a method must provide. `lib.methods` lists the methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from easydict import EasyDict

from lib.backends.functions import Functions
from lib.config import Schema
from lib.dataset.loader import Frames
from lib.defaults import unused
from lib.inference.detector import Detector
from lib.nets.params import Initializer
from lib.nets.part import Part


class Files(NamedTuple):
    """Settings and weights that belong together, as paths in the repository."""

    cfg: str
    weights: str


def pretrained_files(cfg: EasyDict, *, flow: bool = False) -> list[str]:
    """The settings' file of the backbone, and with `flow` that of the flow network."""
    net = cfg.network
    files = [f"{net.pretrained}-{net.pretrained_epoch:04d}.params"]
    return [*files, f"{net.pretrained_flow}-0000.params"] if flow else files


class Layer(NamedTuple):
    """A map that a report shows beside or over a frame.

    name: what it is a map of, such as "flow". frame: index of the frame of the window, or of the key frame, that
    it belongs to. image (h, w, 3): BGR uint8, a pixel for each feature cell. values: what the colours stand for.
    """

    name: str
    frame: int
    image: np.ndarray
    values: str


@dataclass(frozen=True)
class Explain:
    """What `demo.py --explain` shows of a method's way of processing a frame.

    name: ends the name of the sheet's file. span: (cfg, position) -> the part of the clip to run the detector on, as
    its first position and the end. sheet: (what `watch` received for the frame, the images of the part) -> an image.
    layers: (what `watch` received) -> the layers of the frame in a report; its attribute `frame` is the frame's index.
    """

    name: str
    span: Callable[[EasyDict, int], tuple[int, int]]
    sheet: Callable[[Any, Sequence[np.ndarray]], np.ndarray]
    layers: Callable[[Any], list[Layer]]


@dataclass(frozen=True)
class Method:
    """A way to detect objects in video.

    name: of its package, its folder under experiments, and output folders. title: in tables and messages.
    losses: (F, cfg) -> training outputs by name. sample: (cfg) -> (entry, rng) -> images of one training example, by
    input name. detector: its detector class, which also has its settings and networks. pretrained: (cfg) -> parameter
    files that training starts from. new_layers: initializers of layers that those files may lack, by prefix of their
    names. eps: of the backbone's BatchNorm. bundled, published: settings and weights of the small MiniVID network,
    which are part of the repository, and of the published network.
    replay: (cfg, done) -> how many of `done` finished frames a resumed run must pass through the detector again.
    cycle: (cfg) -> the distance of key frames, 1 without any. live: settings that make it causal. lr_factors: factors
    of the learning rate, by name of the parameter. warmup: the number of frames that run all its networks. advise:
    (cfg) -> warnings before training. explain: what `demo.py --explain` shows, if there is anything.
    """

    name: str
    title: str
    losses: Callable[[Functions, EasyDict], dict]
    sample: Callable[[EasyDict], Frames]
    detector: type[Detector]
    pretrained: Callable[[EasyDict], list[str]]
    new_layers: Mapping[str, Initializer]
    eps: float
    bundled: Files
    published: Files
    replay: Callable[[EasyDict, int], int] = lambda cfg, done: 0
    cycle: Callable[[EasyDict], int] = lambda cfg: 1
    live: tuple[str, ...] = ()
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    warmup: int = 1
    advise: Callable[[EasyDict], list[str]] = field(default=lambda cfg: [])
    explain: Explain | None = None

    @property
    def schema(self) -> Schema:
        """The settings that its YAML files may contain."""
        return self.detector.schema

    def uses(self, section: str, key: str) -> bool:
        """Whether a setting is known and has an effect."""
        found = self.schema.tree[section].get(key, unused(0))
        return found != unused(found.default)

    def parts(self, cfg: EasyDict) -> dict[str, Part]:
        """The networks for testing, by name. A weights file holds the parameters of all of them."""
        return self.detector.parts(cfg)
