"""Training batches for a detector: read, flipped, resized and labelled in background threads."""

from __future__ import annotations

import collections
import logging
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Union

import numpy as np

from lib.bbox.assign import RpnTargets
from lib.bbox.transform import clip, flip
from lib.dataset.augment import NO_AUGMENTATION, Augmentation
from lib.dataset.image import prepare, read
from lib.dataset.imagenet_vid import AnnotationIndex, training_boxes
from lib.errors import InputError

log = logging.getLogger(__name__)

# What a training example consists of: {input name: path of an image, or an array}; `data` is the annotated image.
Frames = Callable[[Any, np.random.Generator], Mapping[str, Union[Path, np.ndarray]]]


def single_frame(entry: Any, rng: np.random.Generator) -> dict[str, Path]:
    """The frames for a network that sees only the annotated image."""
    return {"data": entry.image}


class TrainLoader:
    """Training steps, each a list of batches, one image per device. `len(loader)` is the number of steps per epoch.

    With several processes, each has a loader that knows all devices but loads only the images of its `own`.

    All randomness of image p in epoch e comes from a generator seeded by (seed, e, p), so the steps of an epoch do not
    depend on the step it starts from or the number of threads.

    entries: N entries with a path `image` (`frames` may use other attributes); image i of `index` annotates entry i.
    Entries without objects are dropped, and their number is logged.
    assign: `assign(boxes, feature_size, image_size, rng=…) -> RpnTargets`, for example
    `functools.partial(lib.bbox.assign.assign, base=…, stride=…)`. stride: pixels per feature cell.
    scales: pairs of the length of the short side after resizing and the limit of the long side, in pixels. If there are
    several, one is drawn for each training example.
    frames: `frames(entry, rng) -> {input name: path or array}`; `data` is the annotated image. All images get the same
    flip and scale; arrays stay as they are.
    augmentation: random changes of size and colours, the same for all images of an example.
    flip: add mirrored copies. aspect_grouping: give the images of a step the same orientation where possible.
    own: the devices whose batches `epoch` yields; all by default. prefetch: number of steps prepared in advance.
    Raises InputError if no entry has an object.
    """

    def __init__(
        self,
        entries: Sequence[Any],
        index: AnnotationIndex,
        *,
        assign: Callable[..., RpnTargets],
        stride: int,
        scales: Sequence[Sequence[int]],
        pixel_means_bgr: Sequence[float],
        devices: int = 1,
        own: Sequence[int] | None = None,
        flip: bool = True,
        shuffle: bool = True,
        aspect_grouping: bool = True,
        seed: int = 0,
        frames: Frames = single_frame,
        augmentation: Augmentation = NO_AUGMENTATION,
        workers: int = 2,
        prefetch: int = 4,
    ) -> None:
        if len(entries) != len(index.sizes):
            raise ValueError(f"{len(entries)} entries, but annotations for {len(index.sizes)} images")
        self._entries, self._index = entries, index
        self._assign, self._stride = assign, stride
        self._scales, self._means = scales, tuple(pixel_means_bgr)
        self._devices, self._seed, self._frames = devices, seed, frames
        self._augmentation = augmentation
        self._own = range(devices) if own is None else own
        self._shuffle, self._grouping = shuffle, aspect_grouping
        self._workers, self._ahead = workers, max(prefetch, 1)
        used = np.flatnonzero(np.diff(index.offsets) > 0)
        if not len(used):
            raise InputError("training set: none of its images has an object; check the list and the class names")
        if len(used) < len(entries):
            log.info("%d of %d training images have no object and are not used", len(entries) - len(used), len(entries))
        flags = (0, 1) if flip else (0,)
        # rows (entry, whether mirrored)
        self._items = np.array([(entry, flag) for flag in flags for entry in used], dtype=np.int64)

    def __len__(self) -> int:
        return -(-len(self._items) // self._devices)

    def content(self) -> bytes:
        """The names and annotations of the images, to compare with those of another process."""
        index = self._index
        arrays = (self._items, index.sizes, index.offsets, index.boxes, index.classes)
        return b"".join(("\n".join(index.image_ids).encode(), *(array.tobytes() for array in arrays)))

    def order(self, epoch: int) -> np.ndarray:
        """Images of the steps of an epoch: (steps, devices, 2) of entry number and whether it is mirrored.

        Every image occurs once; the first ones are repeated to fill the last step. With aspect grouping, at most two
        steps mix both orientations.
        """
        rng = np.random.default_rng((self._seed, epoch, 0))
        rows = rng.permutation(len(self._items)) if self._shuffle else np.arange(len(self._items))
        if self._grouping and self._devices > 1:
            rows = self._grouped(rows)
        rows = np.resize(rows, (len(self), self._devices))
        if self._shuffle:
            rows = rng.permutation(rows, axis=0)
        return self._items[rows]

    def _grouped(self, rows: np.ndarray) -> np.ndarray:
        """Full groups of landscape images, full groups of portrait images, then the rest of both."""
        sizes = self._index.sizes[self._items[rows, 0]]
        landscape = sizes[:, 0] >= sizes[:, 1]
        whole, rest = [], []
        for part in (rows[landscape], rows[~landscape]):
            cut = len(part) - len(part) % self._devices
            whole.append(part[:cut])
            rest.append(part[cut:])
        return np.concatenate(whole + rest)

    def epoch(self, epoch: int, start: int = 0) -> Generator[list[dict[str, np.ndarray]], None, None]:
        """Steps of an epoch from `start` on, each a list of batches, one for each of the `own` devices.

        A batch: data (and the inputs that `frames` adds) (1, 3, H, W), im_info (1, 3), gt_boxes (1, G, 5),
        label (1, A * h * w), bbox_target and bbox_weight (1, 4 A, h, w), all float32. Errors in the threads are raised
        here. The threads stop when the iterator is closed, on an exception and on Ctrl-C.
        """
        order = self.order(epoch)
        positions = (step * self._devices + device for step in range(start, len(order)) for device in self._own)
        items = order.reshape(-1, 2)
        waiting: collections.deque[Future] = collections.deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="loader")

        def submit(count: int) -> None:
            for _, position in zip(range(count), positions):
                waiting.append(
                    pool.submit(self.batch, epoch, position, int(items[position, 0]), bool(items[position, 1]))
                )

        try:
            submit(self._ahead * len(self._own))
            while waiting:
                step = [waiting.popleft().result() for _ in self._own]
                submit(len(self._own))
                yield step
        finally:
            for future in waiting:
                future.cancel()
            pool.shutdown(wait=True)

    def batch(self, epoch: int, position: int, number: int, mirrored: bool) -> dict[str, np.ndarray]:
        """The batch of entry `number` as image `position` of an epoch."""
        rng = np.random.default_rng((self._seed, epoch, 1 + position))
        entry = self._entries[number]
        width, height = (int(v) for v in self._index.sizes[number])
        batch: dict[str, np.ndarray] = {}
        frames = self._frames(entry, rng)
        sides = self._scales[rng.integers(len(self._scales)) if len(self._scales) > 1 else 0]
        factor, colours = self._augmentation.draw(rng)
        short, long = (round(factor * side) for side in sides)
        for name, path in frames.items():
            if isinstance(path, np.ndarray):
                batch[name] = path
                continue
            image = read(path)
            if image.shape[:2] != (height, width):
                raise InputError(
                    f"{path}: the image is {image.shape[1]}x{image.shape[0]}, but the annotation of {entry.image} "
                    f"says {width}x{height}; correct one of them"
                )
            batch[name], im_info = prepare(image, short, long, self._means, mirrored, colours)
        boxes, classes = training_boxes(self._index, number)
        if mirrored:
            boxes = flip(boxes, width)
        new_height, new_width, scale = (float(v) for v in im_info[0])
        boxes = clip(boxes * np.float32(scale), new_height, new_width)
        cells = (math.ceil(new_height / self._stride), math.ceil(new_width / self._stride))
        targets = self._assign(boxes, cells, (new_height, new_width), rng=rng)
        batch["im_info"] = im_info
        batch["gt_boxes"] = np.concatenate((boxes, classes[:, None].astype(np.float32)), axis=1)[None]
        batch.update(targets._asdict())
        return batch
