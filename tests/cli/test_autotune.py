"""lib.cli.autotune: the most accurate choice that is fast enough."""

from __future__ import annotations

import itertools
import json
import shlex
from types import SimpleNamespace

import pytest

from lib.cli import autotune
from lib.errors import InputError
from lib.methods import METHODS
from lib.video.clips import Clip
from tests.tiny import ROOT

CLIP = "data/demo/MiniVID_val_0026"
ACCURACY = {"rfcn": 77.0, "fgfa_k1": 79.0, "fgfa_k2": 82.0}


@pytest.fixture
def curve(tmp_path, monkeypatch):
    path = tmp_path / "curve.json"
    path.write_text(
        json.dumps(
            {
                "mAP, %": ACCURACY,
                "mAP live, %": {"rfcn": 77.0, "fgfa_k1": 78.0},
                "frontier": {"full": ["rfcn", "fgfa_k2"], "small": ["rfcn", "fgfa_k1"]},
            }
        )
    )
    monkeypatch.setattr(autotune, "CURVE", path)


class AnyPrecision:
    """Stands in for a backend that has every precision."""

    def __init__(self, cfg):
        pass

    def precision(self, kind, weights):
        pass


def rates(monkeypatch, *values):
    """Frame rates by order of the choices, in place of those measured; returns what was measured."""
    asked, given = [], iter(values)

    def rate(detector, clip, seconds, cycle, warmup):
        asked.append(type(detector).__name__)
        return next(given)

    monkeypatch.setattr(autotune, "frames_per_second", rate)
    monkeypatch.setattr(autotune, "PRECISIONS", ("float32",))
    return asked


def test_the_most_accurate_that_is_fast_enough(curve, monkeypatch, caplog):
    caplog.set_level("INFO")
    asked = rates(monkeypatch, 5.0, 12.0)
    autotune.main(["--input", CLIP, "--target-fps", "10"])
    assert asked == ["VideoDetector"] * 2
    assert caplog.messages[-1].endswith(
        f"python fgfa_rfcn/demo.py --input {CLIP} "
        "--set TEST.KEY_FRAME_INTERVAL=1 TEST.FLOW_HOP=0 TEST.PRECISION=float32"
    )


def test_own_networks_only_and_live(curve, monkeypatch, caplog):
    caplog.set_level("INFO")
    cfg, weights = METHODS["fgfa_rfcn"].bundled
    asked = rates(monkeypatch, 11.0)
    autotune.main(["--input", CLIP, "--target-fps", "10", "--live", "--network", "fgfa_rfcn", cfg, weights])
    assert asked == ["VideoDetector"]
    assert "--live --set TEST.KEY_FRAME_INTERVAL=1" in caplog.messages[-1]
    assert caplog.messages[-2].endswith("mAP 78.0    11.00 frames/s")


def test_the_command_can_be_pasted_into_a_shell(curve, monkeypatch, caplog, tmp_path):
    caplog.set_level("INFO")
    rates(monkeypatch, 11.0)
    clip = tmp_path / "my clip"
    clip.symlink_to(ROOT / CLIP)
    argv = ["--input", str(clip), "--target-fps", "10", "--set", "SCALES=[96,128]"]
    autotune.main(argv)
    words = shlex.split(caplog.messages[-1].splitlines()[-1])
    assert str(clip) in words and "SCALES=[96,128]" in words
    assert "'SCALES=[96,128]'" in caplog.messages[-1]


def test_the_accuracy_of_other_precisions_is_that_of_float32(curve, monkeypatch, caplog):
    caplog.set_level("INFO")
    rates(monkeypatch, 1.0, 12.0)
    monkeypatch.setattr(autotune, "PRECISIONS", ("float32", "bfloat16"))
    monkeypatch.setattr(autotune, "backend_of", AnyPrecision)
    monkeypatch.setattr(autotune.METHODS["fgfa_rfcn"].detector, "load", lambda *_, **__: None)
    autotune.main(["--input", CLIP, "--target-fps", "10"])
    first, second = caplog.messages[-3:-1]
    assert first.endswith("mAP 82.0     1.00 frames/s") and second.endswith("12.00 frames/s  (mAP in float32)")


def test_nothing_is_fast_enough(curve, monkeypatch, capsys):
    rates(monkeypatch, 1.0, 2.0, 3.0)
    with pytest.raises(SystemExit) as end:
        autotune.main(["--input", CLIP, "--target-fps", "10"])
    assert end.value.code == 2
    assert "no setting reaches that rate on this machine" in capsys.readouterr().err


def test_invalid_options(capsys):
    for options, message in (
        (["--target-fps", "nan"], "--target-fps nan: must be a number above 0"),
        (["--target-fps", "5", "--network", "dfd", "a", "b"], "--network dfd: unknown method"),
        (["--target-fps", "5", *2 * ["--network", "rfcn", "a", "b"]], "--network rfcn: given twice"),
    ):
        with pytest.raises(SystemExit) as end:
            autotune.main(["--input", CLIP, *options])
        assert end.value.code == 2
        assert message in capsys.readouterr().err


def test_whole_cycles_are_timed():
    taken = itertools.count()

    def detector(frames):
        for _ in frames:
            next(taken)
            yield None

    clip = autotune.open_clip(CLIP)
    assert autotune.frames_per_second(detector, clip, 0.01, cycle=7, warmup=9) > 0
    assert (next(taken) - 9) % 7 == 0


def test_measured_with_the_bundled_network(curve, caplog):
    caplog.set_level("INFO")
    autotune.main(["--input", CLIP, "--target-fps", "0.001", "--seconds", "0.01"])
    assert caplog.messages[-1].startswith("the most accurate that reaches 0.001")
    assert "fgfa_k2, float32" in caplog.text


def test_clip_without_frames():
    clip = Clip("x", SimpleNamespace(where="a.avi", live=False, length=None, read=lambda wanted: ()))
    with pytest.raises(InputError, match=r"a\.avi: contains no frames"):
        next(autotune._repeated(clip))
