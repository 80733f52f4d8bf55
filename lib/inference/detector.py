"""The base class of all detectors: how they are created from settings and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from easydict import EasyDict

from lib.backends.base import Array, Arrays, Backend, Device, Precision, Shape
from lib.backends.choice import backend_of
from lib.bbox.detections import Detections
from lib.config import Schema
from lib.inference.detect import batch_detections, behind
from lib.inference.pretrained import read_pretrained
from lib.nets import params
from lib.nets.part import Part

if TYPE_CHECKING:
    from typing_extensions import Self


class Detector:
    """Detects objects in a clip: maps its frames (BGR uint8, (H, W, 3)) to an iterator over their `Detections`.

    A subclass creates its networks in `_make_networks` and runs them in `_launched`. schema, parts: of its method.

    args, auxs: parameters for testing. batch: frames processed at a time. precision: of the convolutional networks.
    watch: called with intermediate results, if the method provides any. class_names: of classes 1 to C.
    """

    schema: ClassVar[Schema]
    _clip: object = None  # the latest clip, for `_check_clip`

    @staticmethod
    def parts(cfg: EasyDict) -> dict[str, Part]:
        raise NotImplementedError

    def __init__(
        self,
        *,
        cfg: EasyDict,
        args: Arrays,
        auxs: Arrays,
        backend: Backend,
        device: Device,
        precision: Precision,
        batch: int = 1,
        watch: Callable[[Any], None] | None = None,
        class_names: Sequence[str] = (),
    ):
        self._cfg, self._batch, self._watch, self._class_names = cfg, batch, watch, tuple(class_names)
        self._backend, self._late = backend, int(backend.overlaps(device))
        self._make_networks(args, auxs, backend, device, precision)

    def _make_networks(
        self, args: Arrays, auxs: Arrays, backend: Backend, device: Device, precision: Precision
    ) -> None:
        raise NotImplementedError

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[Detections]:
        return behind(self._launched(frames), self._late)

    def _launched(self, frames: Iterable[np.ndarray]) -> Iterator[Callable[[], list[Detections]]]:
        """Queues the networks for all frames, in order; see `behind`."""
        raise NotImplementedError

    def _fetched(self, outputs: Mapping[str, Array], im_infos: np.ndarray) -> Callable[[], list[Detections]]:
        """Starts to copy the outputs of the heads; the function returns the detections. im_infos (N, 3): those of the
        first N images of the batch.
        """
        fetched = self._backend.fetch(outputs)
        return lambda: batch_detections(fetched(), im_infos, self._cfg.TEST, self._class_names)

    def _check_clip(self, clip: object) -> None:
        """Raises RuntimeError if another clip has started; for detectors that keep what belongs to a clip."""
        if self._clip is not clip:
            raise RuntimeError("another clip was started before this one ended; finish it first, or use two detectors")

    @classmethod
    def load(
        cls,
        cfg: EasyDict,
        weights: str | Path,
        *,
        backend: Backend | None = None,
        device: int = 0,
        batch: int | None = None,
        precision: Precision | None = None,
        watch: Callable[[Any], None] | None = None,
        class_names: Sequence[str] = (),
    ) -> Self:
        """Creates a detector from settings and a weights file.

        backend, batch, precision: those of the settings if None. device: index into the devices of the settings,
        modulo their number, so that several detectors can share the CPU. Raises InputError if the weights are missing
        or belong to another network, or if the precision is not available.
        """
        backend = backend or backend_of(cfg)
        devices = backend.devices(cfg.gpus)
        args, auxs = read_parameters(cls.parts(cfg), weights, backend)
        return cls(
            cfg=cfg,
            args=args,
            auxs=auxs,
            backend=backend,
            device=devices[device % len(devices)],
            precision=precision or backend.precision(cfg.TEST.PRECISION, weights),
            batch=batch or cfg.TEST.BATCH_IMAGES,
            watch=watch,
            class_names=class_names,
        )

    @classmethod
    def from_pretrained(
        cls,
        where: str | Path,
        *,
        gpu: int | None = None,
        backend: str | None = None,
        batch: int | None = None,
        settings: Sequence[str] = (),
        watch: Callable[[Any], None] | None = None,
    ) -> Self:
        """Creates a detector from `<where>.yaml`, `<where>-0000.params` and the classes.txt next to them.

        where: their prefix, or a folder with one such set. gpu: its number, None for the CPU. backend: "mxnet", "torch"
        or "auto"; that of the settings if None. batch: frames processed at a time; that of the settings if None.
        settings: overrides of the YAML such as `TEST.NMS=0.5`. watch: see the class. Raises InputError if a file is
        missing, the files do not fit together or the backend is not installed.
        """
        settings = [*settings, *([f"backend={backend}"] if backend else [])]
        cfg, weights, classes = read_pretrained(where, settings, gpu, cls.schema)
        return cls.load(cfg, weights, batch=batch, watch=watch, class_names=classes.names)


def parameter_shapes(parts: Mapping[str, Part], backend: Backend) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Shapes by name of all parameters of these networks: (args, auxs)."""
    args: dict[str, Shape] = {}
    auxs: dict[str, Shape] = {}
    for part in parts.values():
        more_args, more_auxs = part.shapes(backend)
        args.update(more_args)
        auxs.update(more_auxs)
    return args, auxs


def read_parameters(
    parts: Mapping[str, Part], weights: str | Path, backend: Backend
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reads the parameters for testing from a file: (args, auxs).

    Networks that the settings do not need may be missing from the file, and are left out. Raises InputError if there
    is no such file or it has weights of another network.
    """
    args, auxs = params.load(weights)
    args = params.for_test(args)
    needed = {name: part for name, part in parts.items() if part.needed}
    unused = {name: part for name, part in parts.items() if not part.needed}
    wanted_args, wanted_auxs = parameter_shapes(needed, backend)
    ignored = set(parameter_shapes(unused, backend)[0]) - set(wanted_args)
    args = {name: value for name, value in args.items() if name not in ignored}
    params.check({**args, **auxs}, {**wanted_args, **wanted_auxs}, str(weights))
    return args, auxs
