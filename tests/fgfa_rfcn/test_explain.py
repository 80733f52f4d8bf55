"""The images of --explain."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lib.methods import METHODS
from tests.tiny import ROOT, refused, run_script

CLIP = ROOT / "data/demo/MiniVID_val_0026"


KEYS = ("TEST.KEY_FRAME_INTERVAL=2", "TEST.KEY_FRAME_DURATION=2", "TEST.FLOW_HOP=1")


@pytest.mark.parametrize(
    "position, window, settings",
    [
        (0, [0, 0, 1], ["TEST.KEY_FRAME_INTERVAL=1"]),
        (1, [0, 1, 2], ["TEST.KEY_FRAME_INTERVAL=1"]),
        (5, [4, 5, 6], ["TEST.KEY_FRAME_INTERVAL=1"]),
        (5, [3, 4, 5], ["TEST.KEY_FRAME_INTERVAL=2", "TEST.causal=true"]),
        (4, [2, 4, 6], KEYS),
        (3, [2, 4], KEYS),
        (5, [4, 6], KEYS),
        (6, [4, 6, 6], KEYS),
    ],
)
def test_the_sheet_shows_the_frames_of_the_window(tmp_path, position, window, settings):
    options = ("--input", CLIP, "--output", tmp_path, "--frames", "0:7", "--set", *settings)
    run_script("fgfa_rfcn/demo.py", *options, "--explain", position)
    files = sorted(CLIP.iterdir())
    sheet = cv2.imread(str(tmp_path / "explain" / f"{files[position].stem}_window.png"))
    frames = [cv2.imread(str(files[number])) for number in window]
    height, width, _ = frames[0].shape
    left = np.linspace(0, sheet.shape[1] - width, len(window)).astype(int)
    for frame, column in zip(frames, left):
        np.testing.assert_array_equal(sheet[-3 * height : -2 * height, column : column + width], frame)


def test_contradictions_are_refused_before_the_work(tmp_path, capsys):
    options = ("fgfa_rfcn/demo.py", "--input", CLIP, "--output")
    method, cfg, weights = METHODS["rfcn"].name, *METHODS["rfcn"].bundled
    for more, message in (
        ((tmp_path / "x.mp4", "--explain", 0), "--explain writes images; add a folder to --output"),
        ((tmp_path, "--explain", 99), "--explain 99: the clip's frames are numbered from 0 to"),
        ((tmp_path, "--explain", 0, "--baseline", "rfn", cfg, weights), "rfn"),
        ((tmp_path, "--explain", 0, "--baseline", method, cfg, "none.params"), "none.params: no such weights"),
        ((tmp_path, "--explain", 0, "--baseline", method, cfg, ROOT / METHODS["fgfa_rfcn"].bundled.cfg), ".yaml"),
        (
            (tmp_path, "--explain", 0, "--baseline", method, cfg, METHODS["fgfa_rfcn"].bundled.weights),
            "--baseline: model",
        ),
        ((tmp_path, "--explain", 0, "--baseline", method, METHODS["rfcn"].published.cfg, weights), "30 classes, not 8"),
        ((tmp_path, "--explain", 0, "--live"), "--explain rereads frames and cannot be used with --live or a camera"),
    ):
        assert message in refused(capsys, *options, *more)
    assert list(tmp_path.iterdir()) == []
