"""The images of --explain."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.tiny import ROOT, run_script

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
