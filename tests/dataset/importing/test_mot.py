from __future__ import annotations

import pytest

from lib.dataset.importing import mot as import_mot
from tests.dataset.importing.imported import failure, number_of, objects, put_film, put_frames


def sequence(root, name, lines, frames=3, info=None):
    folder = root / name
    put_frames(folder / "img1", frames, first=1)
    (folder / "gt").mkdir()
    (folder / "gt" / "gt.txt").write_text("".join(f"{line}\n" for line in lines))
    if info:
        (folder / "seqinfo.ini").write_text(info)
    return folder


def test_lines_by_hand(tmp_path, capsys):
    media = tmp_path / "mot"
    sequence(
        media, "S-02", ["1,7,1,1,10,20,1,1,0.9", "3,7,2,1,10,20,1,1,0.2", "2,9,5,5,4,4,0,8,1", "2,-1,5,5,4,4,1,3,1"]
    )
    sequence(media, "S-04", ["2,1,11,11,5.5,4,1,1,1"])
    (tmp_path / "val.txt").write_text("S-04\n")
    import_mot.main([
        *("--media", str(media), "--out", str(tmp_path / "out"), "--val-videos", str(tmp_path / "val.txt")),
    ])  # fmt: skip
    # from 1: the first pixel is 1, the first frame 1
    assert objects(tmp_path / "out", "train/S-02") == [
        [("class1", (0, 0, 9, 19), 7, False, False)],
        [("class3", (4, 4, 7, 7), 0, False, False)],  # id -1: a track of its own; class 8 has confidence 0
        [("class1", (1, 0, 10, 19), 7, True, False)],
    ]
    assert objects(tmp_path / "out", "val/S-04")[1] == [("class1", (10, 10, 14.5, 13), 1, False, False)]
    assert [number_of(tmp_path / f"out/Data/VID/train/S-02/{frame:06d}.JPEG") for frame in range(3)] == [0, 1, 2]
    assert (tmp_path / "out/classes.txt").read_text().split()[::3] == ["class1", "class3"]
    assert "0 faults" in capsys.readouterr().out  # the gap of track 7 is counted only


def test_names_of_classes(tmp_path):
    media = tmp_path / "mot"
    folder = sequence(media, "S", ["1,7,1,1,10,20,1,2,1"])
    assert import_mot.read(media, ["person", "car"]).names == ["person", "car"]
    (folder / "gt" / "labels.txt").write_text("person\nold car\n")
    found = import_mot.read(folder)  # one sequence by itself
    assert found.names == ["old car"] and found.videos[0].objects[0][0].name == "old car"


@pytest.mark.parametrize(
    "line", ["1,7,1,1,10,20", "1,7,1,1,10,20,1", "1,7,1,1,10,20,1,-1,-1,-1", " 1, 7, 1, 1, 10, 20, 1 "]
)
def test_files_without_classes(tmp_path, line):
    found = import_mot.read(sequence(tmp_path, "S", [line, ""]))
    assert found.names == ["object"]
    assert found.videos[0].objects[0][0].edges == (0, 0, 10, 20)


def test_frames_elsewhere(tmp_path):
    folder = sequence(tmp_path, "S", ["1,7,1,1,10,20,1,1,1"], info="[Sequence]\nname=S\nimDir=pictures\n")
    (folder / "img1").rename(folder / "pictures")
    assert len(import_mot.read(folder).videos[0].frames) == 3
    (folder / "pictures").rename(tmp_path / "away")
    film = put_film(tmp_path / "S.avi", 3)
    assert import_mot.read(folder).videos[0].frames.path == film
    (folder / "seqinfo.ini").write_text("nonsense")
    with pytest.raises(import_mot.InputError, match=r"seqinfo\.ini: broken"):
        import_mot.read(folder)


BAD = {
    "columns": ("1,7,1,1,10", r"gt\.txt:2: 5 columns"),
    "frame": ("0,7,1,1,10,20,1,1,1", r"gt\.txt:2: frame is '0'; write an integer >= 1"),
    "id": ("1,x,1,1,10,20,1,1,1", r"gt\.txt:2: id is 'x'"),
    "box": ("1,7,1,1,10,nan,1,1,1", r"gt\.txt:2: a box coordinate is 'nan'"),
    "width": ("1,7,1,1,-10,20,1,1,1", r"gt\.txt:2: box of -10 x 20"),
    "class": ("1,7,1,1,10,20,1,0,1", r"gt\.txt:2: class is '0'"),
    "name": ("1,7,1,1,10,20,1,3,1", r"gt\.txt:2: class 3, but there are only 2 names"),
    "spaces": ("1 7 1 1 10 20 1 1 1", r"gt\.txt:2: 1 columns"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_lines(tmp_path, case):
    text, message = BAD[case]
    folder = sequence(tmp_path, "S", ["1,1,1,1,10,20,1,1,1", text])
    with pytest.raises(import_mot.InputError, match=message):
        import_mot.read(folder, ["a", "b"])


def test_bad_folders(tmp_path, capsys):
    line = failure(import_mot.main, capsys, "--media", tmp_path, "--out", tmp_path / "out")
    assert "contains no gt folder, nor do its folders" in line
    folder = sequence(tmp_path / "m", "S", ["4,1,1,1,10,20,1,1,1"])
    line = failure(import_mot.main, capsys, "--media", folder, "--out", tmp_path / "out", "--val-share", 0)
    assert "gt.txt:1: object in frame 3 (from 0) of S, which has 3 frames" in line
    line = failure(import_mot.main, capsys, "--media", folder, "--out", tmp_path / "out")
    assert "only one video: none can be held out" in line
    (folder / "gt/gt.txt").unlink()
    line = failure(import_mot.main, capsys, "--media", folder, "--out", tmp_path / "out")
    assert "gt.txt: cannot be read (No such file or directory)" in line
