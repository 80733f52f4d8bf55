"""Converts frames to network input, and network outputs to detections in original pixels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from easydict import EasyDict

from lib.backends.base import Array
from lib.bbox.detections import Detections
from lib.bbox.transform import clip, decode
from lib.config import pairs
from lib.dataset.image import prepare
from lib.errors import InputError
from lib.nms.nms import nms_per_class


@dataclass(frozen=True)
class Picture:
    """A frame ready for the network: data (1, 3, h, w), im_info (1, 3), and the factor back to original pixels."""

    data: np.ndarray
    im_info: np.ndarray


def picture(image: np.ndarray, cfg: EasyDict) -> Picture:
    """BGR uint8 (H, W, 3) -> network input, resized to the first of SCALES, minus PIXEL_MEANS."""
    short, long = pairs(cfg.SCALES)[0]
    return Picture(*prepare(image, short, long, cfg.network.PIXEL_MEANS))


def detections_of(
    rois: np.ndarray,
    cls_prob: np.ndarray,
    bbox_pred: np.ndarray,
    im_info: np.ndarray,
    test: EasyDict,
    class_names: Sequence[str] = (),
) -> Detections:
    """Detections of one image: decodes, clips and rescales boxes, applies NMS per class, keeps the best detections.

    rois (R, 5) in resized pixels; cls_prob (R, C + 1); bbox_pred (R, 8), of which columns 4 to 7 are used;
    im_info (3,) height, width, scale; class_names of classes 1 to C, if known.
    """
    if not (np.isfinite(cls_prob).all() and np.isfinite(bbox_pred).all()):
        raise InputError("the network produced NaN or infinity: its weights or int8 ranges are damaged; use others")
    height, width, scale = im_info
    boxes = clip(decode(rois[:, 1:5], bbox_pred[:, 4:8]), height, width) / scale
    rows, classes = nms_per_class(boxes, cls_prob, test.NMS, test.SCORE_THRESH, test.max_per_image)
    return Detections(boxes[rows], cls_prob[rows, classes], classes.astype(np.int32), class_names=tuple(class_names))


def batch_detections(
    outputs: Mapping[str, Array] | Mapping[str, np.ndarray],
    im_infos: np.ndarray,
    test: EasyDict,
    class_names: Sequence[str] = (),
) -> list[Detections]:
    """Detections of each image of a forward pass; im_infos (N, 3)."""
    cls_prob, bbox_pred = np.asarray(outputs["cls_prob_reshape"]), np.asarray(outputs["bbox_pred_reshape"])
    rois = np.asarray(outputs["rois"]).reshape(len(cls_prob), -1, 5)
    return [detections_of(*arrays, test, class_names) for arrays in zip(rois, cls_prob, bbox_pred, im_infos)]


def behind(launched: Iterable[Callable[[], list[Detections]]], late: int) -> Iterator[Detections]:
    """Detections of launched networks, in order. Each function waits for one; it is called `late` launches later.

    With late = 1, a GPU works on the next frames while the host reads and resizes images and suppresses boxes.
    """
    waiting: deque[Callable[[], list[Detections]]] = deque()
    for finish in launched:
        waiting.append(finish)
        if len(waiting) > late:
            yield from waiting.popleft()()
    for finish in waiting:
        yield from finish()


def same_size(frames: Iterable[np.ndarray], limit: int, cfg: EasyDict) -> Iterator[list[Picture]]:
    """Lists of at most `limit` consecutive frames of the same size."""
    run: list[Picture] = []
    for frame in frames:
        item = picture(frame, cfg)
        if run and (len(run) == limit or item.data.shape != run[0].data.shape):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def clip_pictures(frames: Iterable[np.ndarray], cfg: EasyDict) -> Iterator[Picture]:
    """The frames of one clip. Raises InputError if their size changes."""
    size: tuple[int, ...] = ()
    for number, frame in enumerate(frames):
        item = picture(frame, cfg)
        size = size or item.data.shape
        if item.data.shape != size:
            raise InputError(
                f"frame {number} of the clip is {item.data.shape[2:]} after resizing, but earlier frames are "
                f"{size[2:]} (height, width); process clips of different sizes separately"
            )
        yield item


def chunks(items: Iterable, size: int) -> Iterator[list]:
    """Lists of at most `size` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
