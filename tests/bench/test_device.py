"""bench.full_frame --device and bench.training_step on the CPU: all but the calls of CUDA."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.conftest import needs

needs("torch")

from bench import contestants, device, full_frame, training_step  # noqa: E402
from lib.bbox.detections import Detections  # noqa: E402
from lib.config import load_config  # noqa: E402


@pytest.fixture
def tiny(monkeypatch):
    """The benchmark with the small network of MiniVID."""

    def load(_cfg, settings, schema):
        return load_config(device.METHOD.bundled.cfg, ["SCALES=[64, 640]", *settings], schema)

    def settings(reach, short):
        cfg = load("", [], device.METHOD.schema)
        cfg.TEST.KEY_FRAME_INTERVAL = reach
        return cfg

    for module in (device, contestants):
        monkeypatch.setattr(module, "settings", settings)
    monkeypatch.setattr(training_step, "load_config", load)


def test_on_the_cpu(tmp_path, capsys, tiny):
    path = tmp_path / "figures.json"
    full_frame.main(
        ["--backend", "torch", "--device", "cpu", "--k", "1", "--short", "64", "--runs", "1", "--json", str(path)]
    )
    figures = json.loads(path.read_text())
    assert figures["checks"]["float32, eager"] == {"features": 0, "flow": 0, "detections": 1}
    assert {(found["k"], found["batch"]) for found in figures["speed"]} == {(1, 1), (1, 10)}
    assert all(found["frames_a_second"] > 0 for found in figures["speed"])
    for shares in figures["shares"].values():
        assert sum(shares["1"].values()) == pytest.approx(1)
        assert all(share >= 0 for share in shares["1"].values())
    assert figures["aggregation"]["1"]["bandwidth"] > 0
    assert list(figures["training"]) == list(dict.fromkeys(mode.split(",")[0] for mode in figures["checks"]))
    assert all(found["step"] > 0 for found in figures["training"].values())
    printed = capsys.readouterr().out
    assert "100 frames/s" in printed and "of the copy bandwidth" in printed and "training step" in printed


def test_other_results_than_the_cpus_are_reported(monkeypatch, tiny):
    bench = device.Bench("cpu", 64)
    right = bench._outputs

    def wrong(gpus, kind, graphs, calls=[]):  # noqa: B006
        calls.append(kind)
        outputs, found = right(gpus, kind, graphs)
        return ({name: value + len(calls) for name, value in outputs.items()}, found)

    monkeypatch.setattr(bench, "_outputs", wrong)
    with pytest.raises(RuntimeError, match="differs from the CPU"):
        bench.check("float32", False)


def test_matched_detections():
    boxes = np.array([[0, 0, 9, 9], [20, 20, 29, 29]], np.float32)
    one = Detections(boxes, np.array([0.9, 0.5], np.float32), np.array([1, 2], np.int32))
    other = Detections(boxes + np.float32([[0.5], [5]]), np.array([0.9, 0.5], np.float32), np.array([1, 2], np.int32))
    assert device._matched(one, one) == 1
    assert device._matched(other, one) == 0.5


def test_a_backend_without_a_device_is_refused(capsys):
    for module in (full_frame, training_step):
        with pytest.raises(SystemExit) as end:
            module.main(["--backend", "torch"])
        assert end.value.code == 2
        assert "--backend: it goes with --device" in capsys.readouterr().err


def test_a_missing_gpu_is_one_line(capsys):
    if device.torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit) as end:
        full_frame.main(["--backend", "torch", "--device", "cuda"])
    assert end.value.code == 2
    assert "there is no GPU 0" in capsys.readouterr().err
