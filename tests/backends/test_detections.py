"""Every backend detects on the bundled clip what MXNet detects there.

No environment holds MXNet and PyTorch together, so MXNet's detections are a file, made where MXNet is installed by

    python -m tests.backends.test_detections
"""

from __future__ import annotations

import importlib
import itertools

import numpy as np
import pytest

from lib.errors import InputError
from lib.inference.pretrained import read_pretrained
from lib.methods import METHODS
from lib.video.clips import open_clip
from tests.conftest import DATA, needs
from tests.golden import rows
from tests.tiny import ROOT

FILE = DATA / "bundled_detections.npz"
CLIP, FRAMES = ROOT / "data/demo/MiniVID_val_0026", 6
SCORE = 0.05  # detections below are of no use, and the last bits of their scores decide which are suppressed


def detect(method: str, backend: str, **options) -> list[np.ndarray]:
    """Detections (N, 6) class, box, score of the first frames, best first, by the bundled weights."""
    prefix = ROOT / METHODS[method].bundled.weights.removesuffix("-0000.params")
    detector = METHODS[method].detector.from_pretrained(prefix, backend=backend, **options)
    frames = itertools.islice((frame.image for frame in open_clip(str(CLIP))), FRAMES)
    found = [rows(detections) for detections in detector(frames)]
    return [each[each[:, 5] >= SCORE] for each in found]


def near(found: np.ndarray, expected: np.ndarray, score: float, pixels: float) -> np.ndarray:
    """Which pairs have the same class and differ by at most this: (found, expected), bool."""
    return (np.abs(found[:, None] - expected[None]) <= [0, *[pixels] * 4, score]).all(axis=2)


def matched(found: np.ndarray, expected: np.ndarray, score: float, pixels: float) -> None:
    """Fails unless each detection has one of the same class on the other side, within these differences."""
    assert len(found) == len(expected)
    pairs = near(found, expected, score, pixels)
    assert pairs.any(axis=0).all() and pairs.any(axis=1).all()


@pytest.mark.parametrize("name", ["mxnet", "torch"])
@pytest.mark.parametrize("method", METHODS)
def test_detections_on_the_bundled_clip(method, name):
    needs(name)
    found = detect(method, name)
    assert len(found) == FRAMES
    with np.load(FILE, allow_pickle=False) as expected:
        for number, each in enumerate(found):
            matched(each, expected[f"{method}/{number}"], score=1e-3, pixels=0.1)


def test_bfloat16_detects_nearly_the_same():
    needs("torch")
    try:
        found = detect("fgfa_rfcn", "torch", settings=["TEST.PRECISION=bfloat16"])
    except InputError as error:
        pytest.skip(str(error))
    everything = ["TEST.NMS=1", "TEST.RPN_NMS_THRESH=1", "TEST.RPN_POST_NMS_TOP_N=2000", "TEST.max_per_image=20000"]
    candidates = detect("fgfa_rfcn", "torch", settings=everything)
    with np.load(FILE, allow_pickle=False) as expected:
        for number, (each, before) in enumerate(zip(found, candidates)):
            ours, sure = each[each[:, 5] > 0.5], expected[f"fgfa_rfcn/{number}"]
            # NMS may keep another one of two boxes with nearly equal scores: those are in float32's candidates too.
            assert near(ours, before, score=0.05, pixels=3).any(axis=1).all()
            matched(ours, sure[sure[:, 5] > 0.5], score=0.05, pixels=5)


@pytest.mark.parametrize("setting, message", [
    ("TEST.PRECISION=int8", "TEST.PRECISION: int8 needs backend: mxnet"),
    ("TEST.PRECISION=bfloat16_emulated", "TEST.PRECISION: bfloat16_emulated needs backend: mxnet"),
    ("network.OPERATORS=builtin", "network.OPERATORS: builtin needs the MXNet backend"),
    ("default.kvstore=dist_sync", "default.kvstore: dist_sync needs the MXNet backend"),
])  # fmt: skip
def test_what_only_mxnet_has(setting, message):
    needs("torch")
    with pytest.raises(InputError, match=message):
        detect("rfcn", "torch", settings=[setting])


@pytest.mark.parametrize("name, advice", [
    ("mxnet", r"set backend: torch, or run sh init.sh --backend both, which needs Python 3.9 to 3.12"),
    ("torch", "run sh init.sh --backend both"),
])  # fmt: skip
def test_a_backend_that_is_not_installed(monkeypatch, name, advice):
    monkeypatch.setattr("lib.backends.choice._installed", lambda package: package != name)
    with pytest.raises(InputError, match=f"^backend: .* is not installed in this Python; {advice}$"):
        detect("rfcn", name)


def test_auto_takes_what_is_installed(monkeypatch, caplog):
    """MXNet where both are, PyTorch with one line in the log where only that is."""
    importlib.import_module("lib.backends.choice")._say_torch.cache_clear()
    cfg = read_pretrained(ROOT / "model/minivid/rfcn", [], None, METHODS["rfcn"].schema).cfg
    chosen = importlib.import_module("lib.backends.choice")._chosen
    for installed, expected in (({"mxnet", "torch"}, "mxnet"), ({"mxnet"}, "mxnet"), ({"torch"}, "torch")):
        monkeypatch.setattr("lib.backends.choice._installed", installed.__contains__)
        with caplog.at_level("INFO"):
            assert chosen(cfg) == chosen(cfg) == expected
    assert caplog.messages == ["backend: PyTorch (MXNet is not installed)"]
    monkeypatch.setattr("lib.backends.choice._installed", lambda package: False)
    with pytest.raises(InputError, match="neither MXNet nor PyTorch is installed"):
        chosen(cfg)


if __name__ == "__main__":
    made = {f"{method}/{number}": each for method in METHODS for number, each in enumerate(detect(method, "mxnet"))}
    np.savez_compressed(FILE, **made)
