"""The sliding window equals every window worked out from scratch, in constant memory."""

from __future__ import annotations

import gc
import itertools
from pathlib import Path

import numpy as np
import pytest

from fgfa_rfcn import network
from fgfa_rfcn.schedule import Schedule
from lib.backends.choice import backend_of
from lib.inference.detect import batch_detections, picture
from lib.nets.detection import detections as detection_part
from rfcn.network import test as frame_test
from tests import tiny
from tests.conftest import needs
from tests.golden import rows, same_clip, same_detections, same_share

ARGS, AUXS = tiny.weights(tiny.settings())

ARRAYS = ("NDArray", "Tensor")  # of MXNet and of PyTorch


def settings(reach=2, operators="compiled", **test):
    if operators == "builtin":
        needs("mxnet")
    return tiny.settings(TEST={"KEY_FRAME_INTERVAL": reach, **test}, network={"OPERATORS": operators})


def detector(cfg, batch=1, args=ARGS):
    return tiny.load(cfg, args, AUXS, batch=batch)


def run(cfg, build):
    """A network on the CPU."""
    backend = backend_of(cfg)
    return backend.network(build, backend.devices("")[0], ARGS, AUXS)


def from_scratch(cfg, frames):
    """Detections of each frame, by a window of its own that is put together for it."""
    features = run(cfg, lambda F: network.features(F, cfg))
    detection = run(cfg, lambda F: network.test(F, cfg))
    reach = cfg.TEST.KEY_FRAME_INTERVAL
    pictures = [picture(frame, cfg) for frame in frames]
    found = []
    for centre, item in enumerate(pictures):
        ahead = 0 if cfg.TEST.causal else reach
        window = [min(max(i, 0), len(frames) - 1) for i in range(centre - reach, centre + ahead + 1)]
        data = np.concatenate([pictures[i].data for i in window])
        embedded = [np.asarray(features(data=data[i : i + 1])["conv_embed"]) for i in range(len(window))]
        outputs = detection(
            data=item.data,
            im_info=item.im_info,
            order=np.arange(len(window), dtype=np.float32)[None],
            data_cache=data,
            feat_cache=np.concatenate(embedded),
        )
        found += batch_detections(outputs, item.im_info, cfg.TEST)
    return found


def lengths(reach):
    return sorted({1, 2, reach, reach + 1, 2 * reach + 1, 3 * reach + 4} - {0})


@pytest.mark.parametrize("causal", [False, True], ids=["both sides", "causal"])
@pytest.mark.parametrize("reach", [0, 1, 2])
def test_streaming_equals_from_scratch(reach, causal):
    cfg = settings(reach, causal=causal)
    assert Schedule.of(cfg.TEST).window == reach + 1 if causal else 2 * reach + 1
    clips = [tiny.clip(length, seed=length) for length in lengths(reach)]
    expected = [from_scratch(cfg, frames) for frames in clips]
    assert all(len(each) == 20 * (tiny.CLASSES - 1) for clip in expected for each in clip)
    for batch in (1, 3, 4):
        run = detector(cfg, batch)
        for frames, found in zip(clips, expected):
            same_clip(run(frames), found)


def test_the_window_matters():
    """What the comparisons above would see if the window were another."""
    frames = tiny.clip(7)
    narrow, wide, causal = (list(detector(cfg)(frames)) for cfg in (settings(1), settings(2), settings(2, causal=True)))
    for one, other in ((narrow, wide), (wide, causal)):
        assert all(same_share(rows(a), rows(b)) < 0.5 for a, b in zip(one, other))
    assert same_share(rows(wide[2]), rows(wide[3])) < 0.5


@pytest.mark.parametrize("batch", [1, 4])
def test_builtin_operators_find_the_same(batch):
    frames = tiny.clip(6, 52, 70)
    same_clip(detector(settings(2, "builtin"), batch)(frames), list(detector(settings(2))(frames)))


@pytest.mark.parametrize("batch", [1, 3])
def test_builtin_operators_write_layouts_of_onednn_to_the_ring(batch):
    """From 16 channels on, oneDNN keeps features in blocks of channels, of which MXNet gives no view."""
    needs("mxnet")
    sizes, found = {"FEAT_DIM": 32, "EMBED_DIMS": [16, 16, 32]}, []
    for each in ("builtin", "compiled"):
        cfg = tiny.settings(TEST={"KEY_FRAME_INTERVAL": 0}, network={"OPERATORS": each, **sizes})
        found.append(list(tiny.load(cfg, *tiny.weights(cfg), batch=batch)(tiny.clip(7))))
    same_clip(*found)


def test_a_large_batch_of_builtin_operators():
    """MXNet 1.9.1 fails to bind some graphs of 8 or more like terms; not this one."""
    same_clip(detector(settings(1, "builtin"), 9)(tiny.clip(10)), list(detector(settings(1))(tiny.clip(10))))


def counted(frames, taken):
    for frame in frames:
        taken.append(1)
        yield frame


@pytest.mark.parametrize("causal, lag", [(False, 2), (True, 0)])
def test_output_lags_by_the_frames_ahead_alone(causal, lag):
    taken = []
    run = detector(settings(2, causal=causal))
    for number, _ in enumerate(run(counted(tiny.clip(6), taken))):
        assert len(taken) == min(number + lag + 1, 6)


@pytest.mark.parametrize("batch", [1, 4])
def test_each_frame_goes_through_the_feature_network_once(batch, monkeypatch):
    run = detector(settings(), batch)
    seen = []
    forward = run._features

    def count(data):
        seen.extend(data)
        return forward(data=data)

    monkeypatch.setattr(run, "_features", count)
    frames = tiny.clip(11)
    assert len(list(run(frames))) == 11
    assert len(seen) == 11
    for data, frame in zip(seen, frames):
        np.testing.assert_array_equal(data, picture(frame, settings()).data[0])


def test_memory_does_not_grow_with_the_clip():
    """300 frames through a ring of 2 K + 1 slots: as many arrays alive after 290 as after 40."""
    run = detector(settings(1))
    statm = Path("/proc/self/statm")  # the second number: pages in memory
    alive, resident = {}, {}
    endless = itertools.islice(itertools.cycle(tiny.clip(10)), 300)
    for number, _ in enumerate(run(endless)):
        if number in (40, 290):
            gc.collect()
            alive[number] = sum(type(each).__name__ in ARRAYS for each in gc.get_objects())
            resident[number] = int(statm.read_text().split()[1]) if statm.exists() else 0
    assert number == 299 and alive[290] <= alive[40]
    assert resident[290] - resident[40] < 10e6 / 4096


@pytest.mark.parametrize("operators", ["compiled", "builtin"])
@pytest.mark.parametrize("batch", [1, 3])
def test_watching_tells_the_window_the_flow_and_the_weights(operators, batch):
    cfg = settings(2, operators)
    seen = []
    frames = tiny.clip(4)
    watched = tiny.load(cfg, ARGS, AUXS, batch=batch, watch=seen.append)
    same_clip(watched(frames), list(detector(settings(2))(frames)))
    assert [each.frame for each in seen] == [0, 1, 2, 3]
    windows = [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 3, 3]]
    for each, window in zip(seen, windows):
        assert each.window.tolist() == window
        assert each.flow.shape == (5, 2, 6, 8) and each.weights.shape == (5, 6, 8)
        np.testing.assert_allclose(each.weights.sum(axis=0), 1, rtol=1e-5)
    first = seen[0]
    np.testing.assert_allclose(first.flow[0], first.flow[1], atol=1e-5)  # both are to frame 0
    np.testing.assert_allclose(first.weights[0], first.weights[2], atol=1e-6)
    assert first.weights.std(axis=0).max() > 1e-3 and np.abs(first.flow[4] - first.flow[0]).max() > 0.1


def test_watched_weights_are_all_alike_where_they_are_the_mean_and_flow_is_0_without_warp():
    seen = []
    cfg = settings(1, WEIGHTS="mean", WARP=False)
    list(tiny.load(cfg, ARGS, AUXS, watch=seen.append)(tiny.clip(2)))
    for each in seen:
        np.testing.assert_allclose(each.weights, 1 / 3, rtol=1e-5)
        assert not each.flow.any()


# What the settings for comparisons do


def outputs_of_features(cfg, features, item):
    """Detections from given features (1, C, h, w)."""
    heads = run(cfg, lambda F: detection_part(F, F.Variable("features"), cfg))
    outputs = heads(features=features, im_info=item.im_info)
    return batch_detections(outputs, item.im_info, cfg.TEST)[0]


def test_without_warp_all_alike_is_the_mean_of_the_features():
    cfg = settings(1, WARP=False, WEIGHTS="mean")
    frames = tiny.clip(3)
    pictures = [picture(frame, cfg) for frame in frames]
    forward = run(cfg, lambda F: network.features(F, cfg))
    features = np.asarray(forward(data=np.concatenate([each.data for each in pictures]))["conv_embed"])
    mean = features[..., :16].mean(axis=0, keepdims=True).transpose(0, 3, 1, 2)
    same_detections(list(detector(cfg)(frames))[1], outputs_of_features(cfg, mean, pictures[1]), share=0.9)


def test_an_interval_of_0_without_warp_is_the_frame_alone(monkeypatch):
    """As the frame baseline, which differs in the epsilon of its batch norms alone."""
    cfg = settings(0, WARP=False)
    monkeypatch.setattr("rfcn.network.EPS", network.EPS)
    forward = run(cfg, lambda F: frame_test(F, cfg))
    for frame, found in zip(frames := tiny.clip(3), detector(cfg)(frames)):
        item = picture(frame, cfg)
        (expected,) = batch_detections(forward(data=item.data, im_info=item.im_info), item.im_info, cfg.TEST)
        same_detections(found, expected, share=0.9)


@pytest.mark.parametrize("operators", ["compiled", "builtin"])
def test_flow_counts_where_warp_is_on_alone(operators):
    frames = tiny.clip(4)
    other = {**ARGS, "Convolution3_bias": np.float32([1, -1])}  # another flow everywhere
    on, off = settings(1, operators), settings(1, operators, WARP=False)
    same_clip(detector(off, args=other)(frames), list(detector(off)(frames)))
    for one, two in zip(detector(on, args=other)(frames), detector(on)(frames)):
        assert same_share(rows(one), rows(two)) < 0.5


@pytest.mark.parametrize("operators", ["compiled", "builtin"])
def test_embedding_counts_where_weights_are_cosines_alone(operators):
    frames = tiny.clip(4)
    other = {**ARGS, "em_conv3_bias": 5 + ARGS["em_conv3_bias"]}
    on, off = settings(1, operators), settings(1, operators, WEIGHTS="mean")
    same_clip(detector(off, args=other)(frames), list(detector(off)(frames)))
    assert any(
        same_share(rows(one), rows(two)) < 0.5
        for one, two in zip(detector(on, args=other)(frames), detector(on)(frames))
    )
