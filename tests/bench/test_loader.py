"""The benchmark of the loader, on small frames."""

from __future__ import annotations

import re

from bench import loader


def test_it_measures_every_part(capsys):
    loader.main(["--size", "128", "96", "--runs", "1", "--steps", "3"])
    text = capsys.readouterr().out
    assert "24 frames of 128 x 96" in text
    assert re.search(r"\| cv2 \| \d+\.\d ms \| 0 \|", text)
    for part in ("read, check and decode", "mirror, resize, subtract the mean"):
        assert re.search(rf"\| {part} \| \d+\.\d ms \|", text)
    found = re.findall(r"\| (R-FCN|FGFA) \| (\d) \| (\d+) \| (\d+) \| (\d+) ms \|", text)
    assert [row[:2] for row in found] == [("R-FCN", "1"), ("R-FCN", "2"), ("FGFA", "1"), ("FGFA", "2")]
    assert all(int(number) > 0 for row in found for number in row[2:4])
    assert re.search(r"FGFA: an example needs \d+ ms of processor time; 2 cores have 300 ms in a step of 150 ms", text)
