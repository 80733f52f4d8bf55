"""The stream of frames equals every frame worked out from scratch, in constant memory."""

from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest

from dff_rfcn import network
from lib.backends.choice import backend_of
from lib.inference.detect import batch_detections, picture
from tests import tiny
from tests.conftest import needs
from tests.golden import rows, same_clip, same_share

ARGS, AUXS = tiny.weights(tiny.settings("dff_rfcn"), "dff_rfcn")
ARRAYS = ("NDArray", "Tensor")  # of MXNet and of PyTorch


def settings(interval=3, operators="compiled"):
    if operators == "builtin":
        needs("mxnet")
    return tiny.settings("dff_rfcn", TEST={"KEY_FRAME_INTERVAL": interval}, network={"OPERATORS": operators})


def detector(cfg, batch=1, args=ARGS, **options):
    return tiny.load(cfg, args, AUXS, method="dff_rfcn", batch=batch, **options)


def from_scratch(cfg, frames):
    """Detections of each frame by the published test networks, which share no code path with the detector's cache."""
    backend = backend_of(cfg)
    (device,) = backend.devices("")
    key, current = (
        backend.network(lambda F, build=build: build(F, cfg), device, ARGS, AUXS)
        for build in (network.key_test, network.current_test)
    )
    pictures = [picture(frame, cfg) for frame in frames]
    found = []
    for number, item in enumerate(pictures):
        first = pictures[number - number % cfg.TEST.KEY_FRAME_INTERVAL]
        outputs = key(data=first.data, im_info=first.im_info)
        if item is not first:
            features = np.asarray(outputs["feat_conv_3x3_relu"])
            outputs = current(feat_key=features, data_key=first.data, data=item.data, im_info=item.im_info)
        found += batch_detections(outputs, item.im_info, cfg.TEST)
    return found


@pytest.mark.parametrize("interval", [1, 2, 3, 10])
def test_streaming_equals_from_scratch(interval):
    """Clips of every length up to two intervals and a frame, frame by frame and in batches."""
    cfg = settings(interval)
    frames = tiny.clip(2 * interval + 1)
    expected = from_scratch(cfg, frames)
    assert all(len(each) == 20 * (tiny.CLASSES - 1) for each in expected)
    for batch in (1, 2, interval, interval + 2):
        run = detector(cfg, batch)
        for length in sorted({1, 2, interval, interval + 1, 2 * interval + 1}):
            same_clip(run(frames[:length]), expected[:length])


def test_key_frames_matter():
    """What the comparison above would see if the key frames were others."""
    frames = tiny.clip(7)
    two, three = (list(detector(settings(interval))(frames)) for interval in (2, 3))
    different = [same_share(rows(a), rows(b)) < 0.5 for a, b in zip(two, three)]
    assert different == [False, False, True, True, True, True, False]


@pytest.mark.parametrize("batch", [1, 4])
def test_builtin_operators_find_the_same(batch):
    frames = tiny.clip(6, 52, 70)
    same_clip(detector(settings(3, "builtin"), batch)(frames), list(detector(settings(3))(frames)))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_only_key_frames_go_through_the_feature_network(batch, monkeypatch):
    run = detector(settings(3), batch)
    seen = []
    forward = run._features

    def count(data):
        seen.append(data)
        return forward(data=data)

    monkeypatch.setattr(run, "_features", count)
    frames = tiny.clip(8)
    assert len(list(run(frames))) == 8
    assert len(seen) == 3
    for data, frame in zip(seen, frames[::3]):
        np.testing.assert_array_equal(data, picture(frame, settings()).data)


def test_an_interval_of_1_needs_no_flow_network():
    without = {name: value for name, value in ARGS.items() if not name.startswith(("flow_", "conv2", "Convolution"))}
    same_clip(detector(settings(1), args=without)(tiny.clip(3)), list(detector(settings(1))(tiny.clip(3))))


def test_the_scale_map_multiplies_the_features():
    """Without it, frames between key frames are other ones; key frames are the same."""
    frames = tiny.clip(3)
    other = {**ARGS, "Convolution5_scale_bias": ARGS["Convolution5_scale_bias"] + 3}
    pairs = zip(detector(settings(2), args=other)(frames), detector(settings(2))(frames))
    assert [same_share(rows(one), rows(two)) > 0.9 for one, two in pairs] == [True, False, True]


@pytest.mark.parametrize("batch, taken", [(1, [1, 2, 3, 4, 5, 6, 7]), (2, [2, 2, 3, 5, 5, 6, 7])])
def test_output_lags_by_the_batch_only(batch, taken):
    """Frames read before each detection, with a key frame every 3 frames."""
    read = []

    def counted():
        for frame in tiny.clip(7):
            read.append(1)
            yield frame

    assert [len(read) for _ in detector(settings(3), batch)(counted())] == taken


def test_memory_does_not_grow_with_the_clip():
    run = detector(settings(4), 2)
    alive = {}
    for number, _ in enumerate(run(itertools.islice(itertools.cycle(tiny.clip(10)), 300))):
        if number in (41, 289):
            gc.collect()
            alive[number] = sum(type(each).__name__ in ARRAYS for each in gc.get_objects())
    assert number == 299 and alive[289] <= alive[41]


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_watching_shows_the_key_frame_the_flow_and_the_scale_map(batch):
    seen = []
    frames = tiny.clip(5)
    same_clip(detector(settings(3), batch, watch=seen.append)(frames), list(detector(settings(3))(frames)))
    assert [(each.frame, each.key) for each in seen] == [(0, 0), (1, 0), (2, 0), (3, 3), (4, 3)]
    for each in seen:
        assert each.flow.shape == (2, 6, 8) and each.scale.shape == (16, 6, 8)
        propagated = each.frame != each.key
        assert (np.abs(each.flow).max() > 0.1) == propagated
        assert (np.abs(each.scale - 1).max() > 0.1) == propagated
    assert np.abs(seen[1].flow - seen[2].flow).max() > 0.01
