"""Key frames, chained flow and shorter windows equal a plain reference that computes every frame from scratch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from fgfa_rfcn import network
from fgfa_rfcn.method import METHOD
from lib.backends.choice import backend_of
from lib.errors import InputError
from lib.inference.detect import batch_detections, picture
from lib.nets.detection import detections as heads
from tests import tiny
from tests.conftest import needs
from tests.golden import rows, same_detections, same_share

ARGS, AUXS = tiny.weights(tiny.settings())


def settings(reach=2, *, d=1, h=0, ends="repeat", operators="compiled", **test):
    if operators == "builtin":
        needs("mxnet")
    test = {"KEY_FRAME_INTERVAL": reach, "KEY_FRAME_DURATION": d, "FLOW_HOP": h, "CLIP_ENDS": ends, **test}
    return tiny.settings(TEST=test, network={"OPERATORS": operators})


def detector(cfg, batch=1, **options):
    return tiny.load(cfg, ARGS, AUXS, batch=batch, **options)


def sample(maps, y, x):
    """maps (C, h, w) at points (h, w) inside, bilinear."""
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    bottom, right = np.minimum(top + 1, maps.shape[1] - 1), np.minimum(left + 1, maps.shape[2] - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * maps[:, top, left] + dx * maps[:, top, right]
    return (1 - dy) * upper + dy * ((1 - dx) * maps[:, bottom, left] + dx * maps[:, bottom, right])


def points(flow):
    """Where a flow (2, h, w) leads, y and x."""
    y, x = np.mgrid[: flow.shape[1], : flow.shape[2]]
    return y + flow[1], x + flow[0]


def warp(maps, flow):
    """Zero outside: a border of zeros, further than which nothing is sampled."""
    y, x = points(flow)
    height, width = maps.shape[1:]
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    return sample(padded, np.clip(y + 1, 0, height + 1), np.clip(x + 1, 0, width + 1))


class Reference:
    """Everything as in the definition, one frame after another."""

    def __init__(self, cfg, frames):
        self.cfg, self.test, self.count = cfg, cfg.TEST, len(frames)
        self.pictures = [picture(frame, cfg) for frame in frames]
        backend, parts = backend_of(cfg), network.parts(cfg)
        builds = {"features": parts["features"].build, "flow": parts["flow"].build}
        builds["heads"] = lambda F: heads(F, F.Variable("features"), cfg)
        (device,) = backend.devices("")
        self.networks = {name: backend.network(build, device, ARGS, AUXS) for name, build in builds.items()}
        self.pair, self.maps = lru_cache(None)(self._pair), lru_cache(None)(self._maps)

    def _pair(self, t, s):
        found = self.networks["flow"](current=self.pictures[t].data, other=self.pictures[s].data)["flow"]
        return np.asarray(found)[0]

    def _maps(self, t):
        found = self.networks["features"](data=self.pictures[t].data)
        return [np.asarray(found[name])[0] for name in ("features", "embedding")]

    def flow(self, t, s):
        """F(t, s + h)(x) = F(t, s)(x) + f(s, s + h)(x + F(t, s)(x)), the rest last."""
        if not self.test.WARP:
            return np.zeros_like(self.pair(t, s))
        hop = self.test.FLOW_HOP or self.count
        sign, distance = np.sign(s - t), abs(s - t)
        total = self.pair(t, t + sign * min(hop, distance))
        for done in range(hop, distance, hop):
            y, x = points(total)
            y, x = np.clip(y, 0, total.shape[1] - 1), np.clip(x, 0, total.shape[2] - 1)
            total = total + sample(self.pair(t + sign * done, t + sign * min(done + hop, distance)), y, x)
        return total

    def window(self, key):
        reach, step = self.test.KEY_FRAME_INTERVAL, self.test.KEY_FRAME_DURATION
        last = max(range(0, self.count, step))
        span = range(-reach, (0 if self.test.causal else reach) + 1)
        frames = [key + offset for offset in span if offset % step == 0]
        if self.test.CLIP_ENDS == "shorten":
            return [frame for frame in frames if 0 <= frame <= last]
        return [min(max(frame, 0), last) for frame in frames]

    def aggregated(self, key):
        """Aggregated features of a key frame, and the weights of its window."""
        warped = [[warp(each, self.flow(key, s)) for each in self.maps(s)] for s in self.window(key)]
        unit = [each / np.sqrt((each**2).sum(axis=0) + 1e-10) for _, each in warped]
        own = unit[self.window(key).index(key)]
        cosines = np.exp([(each * own).sum(axis=0) for each in unit])
        weights = cosines / cosines.sum(axis=0)
        return sum(weight * features for weight, (features, _) in zip(weights, warped)), weights

    def sources(self, t):
        """{key frame: share}."""
        step = self.test.KEY_FRAME_DURATION
        earlier, later = t // step * step, t // step * step + step
        if t == earlier or self.test.causal or later >= self.count:
            return {earlier: 1.0}
        return {earlier: (later - t) / step, later: (t - earlier) / step}

    def features(self, t):
        if t % self.test.KEY_FRAME_DURATION == 0:
            return self.aggregated(t)[0]
        return sum(share * warp(self.aggregated(k)[0], self.flow(t, k)) for k, share in self.sources(t).items())

    def detections(self, t):
        item = self.pictures[t]
        outputs = self.networks["heads"](features=self.features(t)[None].astype(np.float32), im_info=item.im_info)
        return batch_detections(outputs, item.im_info, self.test)[0]


CASES = [
    {"reach": 3, "h": 1},
    {"reach": 3, "h": 2},
    {"reach": 4, "h": 3, "causal": True},
    {"reach": 2, "h": 5},
    {"reach": 2, "ends": "shorten"},
    {"reach": 4, "h": 2, "ends": "shorten"},
    {"reach": 4, "d": 2},
    {"reach": 4, "d": 3, "h": 2},
    {"reach": 4, "d": 2, "h": 3, "causal": True},
    {"reach": 2, "d": 3, "h": 1, "ends": "shorten"},
    {"reach": 1, "d": 4, "causal": True, "ends": "shorten"},
    {"reach": 0, "d": 2, "h": 1},
    {"reach": 3, "d": 2, "WARP": False},
    {"reach": 3, "d": 3, "WEIGHTS": "mean"},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: ", ".join(f"{name} {value}" for name, value in case.items()))
def test_equals_the_plain_reference(case):
    cfg = settings(**case)
    detectors = [detector(cfg, batch) for batch in (1, 3)]
    for length in (1, 4, 11):
        frames = tiny.clip(length, seed=length)
        reference = Reference(cfg, frames)
        if cfg.TEST.WEIGHTS == "mean":
            maps = reference.maps
            reference.maps = lambda t, maps=maps: [maps(t)[0], np.zeros_like(maps(t)[1])]
        expected = [reference.detections(t) for t in range(length)]
        for each in detectors:
            found = list(each(frames))
            assert len(found) == length
            for one, other in zip(found, expected):
                same_detections(one, other, share=0.9)


def test_each_setting_matters():
    """What the comparison above would see if a setting had no effect."""
    frames = tiny.clip(9)
    base = {"reach": 4, "d": 2, "h": 2, "ends": "shorten"}
    found = list(detector(settings(**base))(frames))
    for changed in ({"d": 3}, {"h": 1}, {"ends": "repeat"}, {"causal": True}):
        other = list(detector(settings(**{**base, **changed}))(frames))
        assert min(same_share(rows(a), rows(b)) for a, b in zip(found, other)) < 0.5, changed


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", [{"reach": 3, "h": 2, "ends": "shorten"}, {"reach": 4, "d": 3, "h": 2}])
def test_builtin_operators_find_the_same(case, batch):
    frames = tiny.clip(8)
    found = list(detector(settings(**case, operators="builtin"), batch)(frames))
    for one, other in zip(found, detector(settings(**case))(frames)):
        same_detections(one, other, share=0.9)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", [{"h": 1}, {"h": 2, "ends": "shorten"}, {"d": 2, "h": 1}, {"d": 3, "causal": True}])
def test_watching(case, batch):
    """Windows, flow and weights are those of the reference; between key frames, those of the key frames around."""
    cfg, frames, seen = settings(4, **case), tiny.clip(10), []
    list(detector(cfg, batch, watch=seen.append)(frames))
    assert [each.frame for each in seen] == list(range(10))
    reference = Reference(cfg, frames)
    for t, each in enumerate(seen):
        if t % cfg.TEST.KEY_FRAME_DURATION == 0:
            window, weights = reference.window(t), reference.aggregated(t)[1]
        else:
            window, shares = zip(*reference.sources(t).items())
            weights = np.ones((len(window), 6, 8)) * np.array(shares)[:, None, None]
        assert each.window.tolist() == list(window)
        np.testing.assert_allclose(each.weights, weights, atol=1e-4)
        expected = np.stack([reference.flow(t, s) for s in window])
        np.testing.assert_allclose(each.flow, expected, atol=1e-4 * np.abs(expected).max())


class Counted:
    """A network that keeps its inputs."""

    def __init__(self, network):
        self._network, self.calls, self.buffers = network, [], network.buffers

    def __call__(self, **inputs):
        self.calls.append({name: np.asarray(value).copy() for name, value in inputs.items()})
        return self._network(**inputs)


@pytest.mark.parametrize("causal, new", [(False, 5), (True, 3)])
def test_a_frame_adds_few_pairs_to_the_flow_network(causal, new):
    """With h = 2: the frame with itself, and 2 on either side of it. At h = 0, 2 K + 1."""
    run = detector(settings(4, h=2, causal=causal))
    run._flows._network = counted = Counted(run._flows._network)
    each = 0
    for number, _ in enumerate(run(tiny.clip(30))):
        each = len(counted.calls) if number == 10 else each
    pairs = [len(call["current"]) for call in counted.calls]
    assert set(pairs) == {new} and len(pairs) - each <= 20  # one call a frame


def test_key_frames_alone_pass_through_the_feature_network():
    run = detector(settings(4, d=3), 2)
    run._features = counted = Counted(run._features)
    frames = tiny.clip(11)
    list(run(frames))
    assert len(counted.calls) == 4
    for call, frame in zip(counted.calls, frames[::3]):
        np.testing.assert_array_equal(call["data"], picture(frame, settings()).data)


@pytest.mark.parametrize("case", [{"h": 2}, {"d": 3, "h": 1}, {"d": 2, "causal": True}, {"reach": 1, "d": 4}])
@pytest.mark.parametrize("ends", ["repeat", "shorten"])
def test_frames_after_a_replay_are_the_same(case, ends):
    """As after `--resume`: a new detector that gets the replayed frames first."""
    cfg, frames = settings(**{"reach": 3, **case, "ends": ends}), tiny.clip(14)
    expected = list(detector(cfg)(frames))
    for done in (1, 5, 9, 13):
        lead = METHOD.replay(cfg, done)
        assert 0 <= lead <= done
        found = list(detector(cfg)(frames[done - lead :]))[lead:]
        for one, other in zip(found, expected[done:]):
            same_detections(one, other, share=0.9)


@pytest.mark.parametrize("case, lag", [({"d": 3}, 5), ({"d": 3, "causal": True}, 0), ({"h": 1, "causal": True}, 0)])
def test_latency(case, lag):
    """The frame after a key frame waits for the next key frame and its window: 3 (K // 3) + 2 frames."""
    taken = []

    def counted():
        for frame in tiny.clip(16):
            taken.append(1)
            yield frame

    lags = [len(taken) - 1 - number for number, _ in enumerate(detector(settings(4, **case))(counted()))]
    assert max(lags) == lag


@pytest.mark.parametrize("name", ["KEY_FRAME_DURATION", "FLOW_HOP"])
def test_settings_out_of_range(name):
    with pytest.raises(InputError, match=f"TEST.{name}"):
        settings(**{name: -1})
