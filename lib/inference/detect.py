"""From a network's outputs to detections in original pixels, and the detector of single frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from easydict import EasyDict

from lib.bbox.detections import Detections
from lib.bbox.transform import clip, decode
from lib.dataset.image import prepare
from lib.nms.nms import nms_per_class


@dataclass(frozen=True)
class Picture:
    """A frame ready for the network: data (1, 3, h, w), im_info (1, 3), and the factor back to original pixels."""

    data: np.ndarray
    im_info: np.ndarray


def picture(image: np.ndarray, cfg: EasyDict) -> Picture:
    """BGR uint8 (H, W, 3) -> network input, by SCALES and PIXEL_MEANS."""
    short, long = cfg.SCALES
    return Picture(*prepare(image, short, long, cfg.network.PIXEL_MEANS))


def detections_of(
    rois: np.ndarray,
    cls_prob: np.ndarray,
    bbox_pred: np.ndarray,
    im_info: np.ndarray,
    test: EasyDict,
    class_names: Sequence[str] = (),
) -> Detections:
    """Detections of one image: boxes decoded, clipped, brought to original pixels; NMS class by class; the best kept.

    rois (R, 5) in resized pixels; cls_prob (R, C + 1); bbox_pred (R, 8), of which columns 4 to 7 are used;
    im_info (3,) height, width, scale; class_names of classes 1..C, if known.
    """
    height, width, scale = im_info
    boxes = clip(decode(rois[:, 1:5], bbox_pred[:, 4:8]), height, width) / scale
    rows, classes = nms_per_class(boxes, cls_prob, test.NMS, test.SCORE_THRESH, test.max_per_image)
    return Detections(boxes[rows], cls_prob[rows, classes], classes.astype(np.int32), class_names=tuple(class_names))


def batch_detections(
    outputs: Mapping, im_infos: np.ndarray, test: EasyDict, class_names: Sequence[str] = ()
) -> list[Detections]:
    """Detections of each image of a forward pass, with the names of their classes; im_infos (N, 3)."""
    cls_prob = outputs["cls_prob_reshape_output"].asnumpy()
    bbox_pred = outputs["bbox_pred_reshape_output"].asnumpy()
    rois = outputs["rois_output"].asnumpy().reshape(len(cls_prob), -1, 5)
    return [detections_of(*arrays, test, class_names) for arrays in zip(rois, cls_prob, bbox_pred, im_infos)]


class FrameDetector:
    """Detects objects in each frame by itself, `batch` frames of one size at a time.

    Calling it with frames (BGR uint8) gives an iterator of Detections, one for each frame, in order. forward: the
    network, from data (N, 3, h, w) and im_info (N, 3) to its outputs by name. names: of the classes 1..C; detections
    then know theirs.
    """

    def __init__(self, forward: Callable[..., Mapping], cfg: EasyDict, batch: int = 1, names: Sequence[str] = ()):
        self._forward = forward
        self._cfg, self._batch, self._names = cfg, batch, names

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[Detections]:
        for pictures in _same_size(frames, self._batch, self._cfg):
            im_infos = np.concatenate([item.im_info for item in pictures])
            outputs = self._forward(data=np.concatenate([item.data for item in pictures]), im_info=im_infos)
            yield from batch_detections(outputs, im_infos, self._cfg.TEST, self._names)


def _same_size(frames: Iterable[np.ndarray], limit: int, cfg: EasyDict) -> Iterator[list[Picture]]:
    """Runs of at most `limit` pictures of one size."""
    run: list[Picture] = []
    for frame in frames:
        item = picture(frame, cfg)
        if run and (len(run) == limit or item.data.shape != run[0].data.shape):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def chunks(items: Iterable, size: int) -> Iterator[list]:
    """Lists of at most `size` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
