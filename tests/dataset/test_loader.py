"""Training batches: what they hold, their order, and that the threads behave."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.bbox.anchors import base_anchors
from lib.bbox.assign import assign
from lib.dataset.imagenet_vid import AnnotationIndex
from lib.dataset.loader import TrainLoader
from lib.errors import InputError

STRIDE = 8


@dataclasses.dataclass
class Entry:
    image: Path


def make_index(sizes, boxes):
    """boxes: for each image a list of x1 y1 x2 y2 class."""
    rows = np.array([row for image in boxes for row in image], dtype=np.float32).reshape(-1, 5)
    count = len(rows)
    return AnnotationIndex(
        [f"{number:03d}" for number in range(len(sizes))],
        np.array(sizes, dtype=np.int32),
        np.cumsum([0, *(len(image) for image in boxes)]).astype(np.int64),
        rows[:, :4],
        rows[:, 4].astype(np.int32),
        np.full(count, -1, np.int32),
        np.zeros(count, bool),
        np.zeros(count, bool),
    )


def make_dataset(folder, sizes, boxes):
    entries = []
    for number, (width, height) in enumerate(sizes):
        path = folder / f"{number:03d}.png"
        image = np.random.default_rng(number).integers(0, 256, (height, width, 3)).astype(np.uint8)
        cv2.imwrite(str(path), image)
        entries.append(Entry(path))
    return entries, make_index(sizes, boxes)


def make_loader(entries, index, **options):
    targets = functools.partial(assign, base=base_anchors(STRIDE, [1], [2]), stride=STRIDE, batch_size=16)
    defaults = {"scales": [(48, 80)], "pixel_means_bgr": (1.0, 2.0, 3.0), "workers": 2, "prefetch": 2}
    return TrainLoader(entries, index, assign=targets, stride=STRIDE, **{**defaults, **options})


@pytest.fixture
def mixed(tmp_path):
    """Seven images of which the third has no object; landscape and portrait."""
    sizes = [(64, 48), (48, 64), (64, 48), (64, 48), (48, 64), (64, 48), (64, 48)]
    boxes = [[] if number == 2 else [[4 + number, 5, 30, 40, 1 + number]] for number in range(7)]
    return make_dataset(tmp_path, sizes, boxes)


@pytest.fixture
def many():
    """Only sizes and boxes: 30 landscape and 11 portrait images, enough to look at orders."""
    sizes = [(64, 48)] * 30 + [(48, 64)] * 11
    return [Entry(Path("none"))] * 41, make_index(sizes, [[[0, 0, 5, 5, 1]]] * 41)


def assert_same(a, b):
    assert len(a) == len(b)
    for step, other in zip(a, b):
        assert len(step) == len(other)
        for batch, second in zip(step, other):
            assert batch.keys() == second.keys()
            for name in batch:
                np.testing.assert_array_equal(batch[name], second[name], err_msg=name)


def test_a_batch_holds_what_the_network_takes(mixed):
    batch = make_loader(*mixed, flip=False).batch(0, 0, 3, False)
    assert {name: value.shape for name, value in batch.items()} == {
        "data": (1, 3, 48, 64),
        "im_info": (1, 3),
        "gt_boxes": (1, 1, 5),
        "label": (1, 48),
        "bbox_target": (1, 4, 6, 8),
        "bbox_weight": (1, 4, 6, 8),
    }
    assert all(value.dtype == np.float32 for value in batch.values())
    np.testing.assert_array_equal(batch["gt_boxes"], [[[7, 5, 30, 40, 4]]])
    blue = cv2.imread(str(mixed[0][3].image))[:, :, 0]
    np.testing.assert_array_equal(batch["data"][0, 2], blue - np.float32(1))


def test_boxes_and_pixels_are_mirrored_together(mixed):
    loader = make_loader(*mixed)
    plain, mirrored = loader.batch(0, 0, 3, False), loader.batch(0, 0, 3, True)
    np.testing.assert_array_equal(mirrored["data"], plain["data"][..., ::-1])
    np.testing.assert_array_equal(mirrored["gt_boxes"], [[[63 - 30, 5, 63 - 7, 40, 4]]])


def test_boxes_are_scaled_and_clipped(mixed):
    entries, index = mixed
    index = dataclasses.replace(index, boxes=index.boxes + np.float32([0, 0, 1000, 0]))
    batch = make_loader(entries, index, scales=[(24, 80)]).batch(0, 0, 3, False)
    np.testing.assert_array_equal(batch["im_info"], [[24, 32, 0.5]])
    np.testing.assert_array_equal(batch["gt_boxes"], [[[3.5, 2.5, 31, 20, 4]]])
    assert batch["label"].shape == (1, 3 * 4)


def test_each_image_and_its_mirror_once_an_epoch_without_the_empty_one(mixed, caplog):
    with caplog.at_level(logging.INFO):
        loader = make_loader(*mixed)
    assert "1 of 7" in caplog.text
    assert len(loader) == 12
    shown = sorted(tuple(row) for row in loader.order(0).reshape(-1, 2).tolist())
    assert shown == [(number, flag) for number in (0, 1, 3, 4, 5, 6) for flag in (0, 1)]
    steps = list(loader.epoch(0))
    assert len(steps) == 12
    assert sorted(step[0]["gt_boxes"][0, 0, 4] for step in steps) == sorted([1, 2, 4, 5, 6, 7] * 2)


def test_epochs_and_seeds_differ_and_repeat(many):
    loader = make_loader(*many)
    np.testing.assert_array_equal(loader.order(1), make_loader(*many).order(1))
    assert (loader.order(0) != loader.order(1)).any()
    assert (loader.order(0) != make_loader(*many, seed=1).order(0)).any()
    np.testing.assert_array_equal(make_loader(*many, shuffle=False, flip=False).order(0)[:, 0, 0], np.arange(41))


def test_steps_have_one_orientation_and_these_are_mixed_over_the_epoch(many):
    loader = make_loader(*many, devices=4)
    order = loader.order(0)
    assert order.shape == (21, 4, 2) and len(loader) == 21
    shown = {tuple(row) for row in order.reshape(-1, 2).tolist()}
    assert len(shown) == 82
    portrait = order[..., 0] >= 30
    assert ((portrait.any(axis=1)) & ~portrait.all(axis=1)).sum() <= 2
    places = np.flatnonzero(portrait.all(axis=1))
    # the published fault: all steps of one orientation stand together
    assert places.max() - places.min() >= 8 and np.diff(places).max() > 1


def test_without_grouping_orientations_share_steps(many):
    portrait = make_loader(*many, devices=4, aspect_grouping=False).order(0)[..., 0] >= 30
    assert ((portrait.any(axis=1)) & ~portrait.all(axis=1)).sum() > 4


def test_fewer_images_than_devices(tmp_path):
    loader = make_loader(*make_dataset(tmp_path, [(64, 48)], [[[1, 1, 20, 20, 1]]]), devices=4, flip=False)
    steps = list(loader.epoch(0))
    assert len(steps) == len(loader) == 1 and len(steps[0]) == 4


def test_going_on_in_the_middle_gives_the_same_batches(mixed):
    whole = list(make_loader(*mixed, devices=2).epoch(3))
    rest = list(make_loader(*mixed, devices=2, workers=1, prefetch=1).epoch(3, start=4))
    assert_same(whole[4:], rest)
    assert list(make_loader(*mixed, devices=2).epoch(3, start=len(whole))) == []


def test_frames_share_flip_and_scale_and_draw_from_the_generator(mixed):
    def frames(entry, rng):
        other = mixed[0][int(rng.choice([0, 3, 5, 6]))].image
        return {"data": entry.image, "data_bef": other, "data_aft": entry.image}

    entries, index = mixed
    loader = make_loader(entries, index, frames=frames)
    batch = loader.batch(0, 5, 3, True)
    np.testing.assert_array_equal(batch["data"], batch["data_aft"])
    assert batch["data_bef"].shape == batch["data"].shape
    np.testing.assert_array_equal(batch["data_bef"], loader.batch(0, 5, 3, True)["data_bef"])
    shown = {loader.batch(0, position, 3, True)["data_bef"].tobytes() for position in range(20)}
    assert len(shown) == 4


def test_one_pair_of_scales_draws_no_random_number(mixed):
    drawn = []

    def targets(boxes, cells, size, rng):
        drawn.append(rng.bit_generator.state)
        return assign(boxes, cells, size, base=base_anchors(STRIDE, [1], [2]), stride=STRIDE, rng=rng)

    entries, index = mixed
    for scales in ([(48, 80)], [(48, 80), (48, 80)]):
        TrainLoader(
            entries, index, assign=targets, stride=STRIDE, scales=scales, pixel_means_bgr=(1, 2, 3), seed=5
        ).batch(2, 7, 3, False)
    fresh = np.random.default_rng((5, 2, 8))
    assert drawn[0] == fresh.bit_generator.state
    fresh.integers(2)
    assert drawn[1] == fresh.bit_generator.state


def test_of_several_scales_one_is_drawn_for_all_frames_of_an_example(mixed):
    def frames(entry, rng):
        return {"data": entry.image, "data_bef": entry.image}

    scales = [(48, 80), (24, 80), (36, 40)]
    loader = make_loader(*mixed, scales=scales, frames=frames, flip=False)
    sizes = {(48, 64): 0, (24, 32): 0, (30, 40): 0}
    for position in range(60):
        batch = loader.batch(0, position, 3, False)
        assert batch["data"].shape == batch["data_bef"].shape
        height, width, scale = batch["im_info"][0].tolist()
        np.testing.assert_allclose(batch["gt_boxes"][0, 0, :4], np.clip(np.float32([7, 5, 30, 40]) * scale, 0, None))
        assert batch["label"].shape[1] == -(-height // STRIDE) * -(-width // STRIDE)
        sizes[height, width] += 1
    assert min(sizes.values()) > 10 and len(sizes) == 3
    other = make_loader(*mixed, scales=scales, frames=frames, flip=False, workers=1, prefetch=1)
    assert_same(list(loader.epoch(1))[3:], list(other.epoch(1, start=3)))


def test_arrays_of_an_example_are_passed_on_as_they_are(mixed):
    entries, index = mixed
    flag = np.float32([3, 1, 2])
    loader = make_loader(entries, index, frames=lambda entry, rng: {"data": entry.image, "flag": flag})
    for mirrored in (False, True):
        batch = loader.batch(0, 0, 0, mirrored)
        np.testing.assert_array_equal(batch["flag"], flag)
        assert batch["data"].ndim == 4


def test_an_error_in_a_thread_reaches_the_consumer_and_ends_the_threads(mixed):
    entries, index = mixed
    entries[4].image.write_bytes(b"broken")
    before = threading.active_count()
    with pytest.raises(InputError, match=r"004\.png"):
        list(make_loader(entries, index).epoch(0))
    assert threading.active_count() == before


def test_a_picture_of_another_size_than_annotated(mixed):
    entries, index = mixed
    index.sizes[3] = (60, 48)
    with pytest.raises(InputError, match=r"64x48, but the annotation of .* says 60x48"):
        make_loader(entries, index).batch(0, 0, 3, False)


def test_closing_early_and_an_exception_of_the_consumer_end_the_threads(mixed):
    before = threading.active_count()
    steps = make_loader(*mixed).epoch(0)
    next(steps)
    assert threading.active_count() > before
    steps.close()
    assert threading.active_count() == before
    with pytest.raises(KeyboardInterrupt):
        for _ in make_loader(*mixed).epoch(0):
            raise KeyboardInterrupt
    assert threading.active_count() == before


def test_no_more_is_made_ahead_than_asked_for(mixed, monkeypatch):
    made = []
    original = TrainLoader.batch
    monkeypatch.setattr(TrainLoader, "batch", lambda self, *args: (made.append(args[1]), original(self, *args))[1])
    steps = make_loader(*mixed, prefetch=3, workers=4).epoch(0)
    next(steps)
    threading.Event().wait(0.3)
    assert sorted(made) == [0, 1, 2, 3]  # one taken, three ahead
    steps.close()


def test_nothing_to_train_on(mixed):
    with pytest.raises(InputError, match="none of its images"):
        make_loader([Entry(Path("x"))], make_index([(64, 48)], [[]]))
    with pytest.raises(ValueError, match="entries"):
        make_loader(mixed[0][:3], mixed[1])
