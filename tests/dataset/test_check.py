from __future__ import annotations

import cv2
import numpy as np
import pytest

from lib.dataset import check
from lib.dataset import lists as list_tool
from lib.dataset.jpeg import jpeg_size
from lib.errors import InputError, counted

WIDTH, HEIGHT = 48, 32


def jpeg(width=WIDTH, height=HEIGHT):
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def xml(*objects, width=WIDTH, height=HEIGHT):
    """Annotation text; an object (track or None, class, x1, y1, x2, y2) takes one line, from line 3 on."""
    lines = ["<annotation>", f"<size><width>{width}</width><height>{height}</height></size>"]
    for track, name, x1, y1, x2, y2 in objects:
        box = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        more = "" if track is None else f"<trackid>{track}</trackid>"
        lines.append(f"<object>{more}<name>{name}</name><bndbox>{box}</bndbox></object>")
    return "\n".join([*lines, "</annotation>\n"])


BOX = (1, 1, 20, 20)


@pytest.fixture
def root(tmp_path):
    """A clean dataset: one train clip of 3, two val clips of 2 and 1 frames, two DET images, all lists."""
    (tmp_path / "classes.txt").write_text("c1 star\nc2 fish\n")
    for video, count in {"train/a": 3, "val/b": 2, "val/c": 1}.items():
        for frame in range(count):
            put(tmp_path, f"Data/VID/{video}/{frame:06d}.JPEG", jpeg())
            put(tmp_path, f"Annotations/VID/{video}/{frame:06d}.xml", xml((0, "c1", *BOX), (1, "c2", *BOX)))
    for name in ("x", "y"):
        put(tmp_path, f"Data/DET/train/p/{name}.JPEG", jpeg())
    put(tmp_path, "Annotations/DET/train/p/x.xml", xml((None, "c1", *BOX), (None, "n999", *BOX)))
    sets = tmp_path / "ImageSets"
    list_tool.write_lists(
        sets,
        {
            "VID_train_15frames": list_tool.train_lines([("train/a", 3)]),
            "VID_val_videos": list_tool.videos_lines([("val/b", 2), ("val/c", 1)]),
            "VID_val_frames": list_tool.frames_lines([("val/b", 2), ("val/c", 1)]),
            "DET_train_2classes": ["train/p/x 1", "train/p/y 1", "train/p/x 1"],
        },
    )
    return tmp_path


def put(root, name, content):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def run(root, capsys, *options):
    """Exit status, faults, summary."""
    try:
        check.main(["--root", str(root), *options])
        status = 0
    except SystemExit as stopped:
        status = stopped.code
    lines = capsys.readouterr().out.splitlines()
    return (
        status,
        [line for line in lines if line.startswith(str(root))],
        [line for line in lines if not line.startswith(str(root))],
    )


def test_a_clean_dataset(root, capsys):
    for options in ([], ["--decode"]):
        status, faults, summary = run(root, capsys, *options)
        assert (status, faults) == (0, [])
        assert summary[0] == "VID: 3 folders, 6 images, 6 annotations, 12 objects, 6 tracks"
        assert summary[1] == "DET: 1 folders, 2 images, 1 annotations, 2 objects, 1 of other classes"
        assert summary[2] == "lists: 4"
        assert summary[3].startswith("0 faults in 15 files; ")


A1 = "Annotations/VID/train/a/000001.xml"
A2 = "Annotations/VID/train/a/000002.xml"
D1 = "Data/VID/train/a/000001.JPEG"
TWO = ((0, "c1", *BOX), (1, "c2", *BOX))


@pytest.mark.parametrize(
    ("name", "content", "faults"),
    [
        (
            A1,
            None,
            [
                "Annotations/VID/train/a: 000001.xml is missing (2 files, the last is 000002.xml)",
                f"{D1}: no annotation",
            ],
        ),
        (
            D1,
            None,
            [
                "Data/VID/train/a: 000001.JPEG is missing (2 files, the last is 000002.JPEG)",
                f"{A1}: no image",
                "VID_train_15frames.txt:1: tr",
            ],
        ),
        (A1, "<annotation>\n<size>", [f"{A1}:2: broken XML"]),
        (A1, xml(*TWO, width=49), [f"{A1}:2: size is 49 x 32, but the image is 48 x 32"]),
        (A1, xml(*TWO, (2, "c1", 9, 1, 8, 5)), [f"{A1}:5: inverted box 9 1 8 5"]),
        (A1, xml(*TWO, (2, "c1", 48, 1, 50, 5)), [f"{A1}:5: box 48 1 50 5 is outside the 48 x 32 image"]),
        (A1, xml(*TWO, (2, "c9", *BOX)), [f"{A1}:5: unknown class c9"]),
        (A1, xml(*TWO, (None, "c1", *BOX)), [f"{A1}:5: no <trackid>"]),
        (A1, xml(*TWO, (1, "c2", *BOX)), [f"{A1}:5: track 1 occurs twice"]),
        (A1, xml((0, "c1", *BOX)), [f"{A2}:4: track 1 has no box between frames 000000 and 000002"]),
        (A2, xml((0, "c1", *BOX), (1, "c1", *BOX)), [f"{A2}:4: track 1 changes from class c2 to c1"]),
        (
            A2,
            xml((0, "c9", 9, 1, 8, 5)),
            [f"{A2}:3: inverted", f"{A2}:3: unknown", f"{A2}:3: track 0 changes from class c1 to c9"],
        ),
        (D1, b"", [f"{D1}: empty file"]),
        (D1, b"\x89PNG", [f"{D1}: not a JPEG"]),
        (D1, jpeg()[:30], [f"{D1}: broken JPEG header"]),
        (D1, jpeg()[:-50], [f"{D1}: truncated JPEG file"]),
        (
            "Data/DET/train/p/x.JPEG",
            None,
            ["DET/train/p/x.xml: no image", "2classes.txt:1: no image", "2classes.txt:3: no image"],
        ),
        ("Annotations/DET/train/p/x.xml", xml((None, "c1", 5, 1, 4, 5)), ["p/x.xml:3: inverted box"]),
        (
            "ImageSets/VID_train_15frames.txt",
            "train/a 1 0 4\ntrain/a 1 1 4\n",
            ["15frames.txt:1: train/a has 3 images"],
        ),
        (
            "ImageSets/VID_train_15frames.txt",
            "train/a 1 0 3\ntrain/a 1 3 3\n",
            ["15frames.txt:2: no frame 3 in a clip of 3"],
        ),
        (
            "ImageSets/VID_train_15frames.txt",
            "train/a 1 0 3\ntrain/a 1 0 3\n",
            ["15frames.txt:2: same frame as line 1"],
        ),
        (
            "ImageSets/VID_train_15frames.txt",
            "train/a 1 0 3\ntrain/a 1 0\n",
            ["15frames.txt:2: 3 columns instead of 4"],
        ),
        (
            "ImageSets/VID_val_frames.txt",
            "val/b/000000 1\n",
            ["frames.txt:2: from here on, differs from"],
        ),
        ("ImageSets/VID_val_videos.txt", "val/b 1 0 2\nval/c 4 0 1\n", ["videos.txt:2: first id is 4, expected 3"]),
        ("ImageSets/DET_train_2classes.txt", "train/p/x\n", ["DET_train_2classes.txt:1: 1 columns instead of 2"]),
    ],
)
def test_each_fault_is_found_with_file_and_line_and_nothing_else(root, capsys, name, content, faults):
    if content is None:
        (root / name).unlink()
        (root / "ImageSets/VID_val_frames.txt").touch()
    else:
        put(root, name, content)
    status, found, summary = run(root, capsys)
    assert status == 1
    assert len(found) == len(faults), found
    for wanted, line in zip(faults, found):
        assert wanted in line
    assert summary[-1].startswith(f"{counted(len(faults), 'fault')} in ")


def test_wrong_ids_in_the_list_of_frames(root, capsys):
    put(root, "ImageSets/VID_val_frames.txt", "val/b/000000 1\nval/b/000002 2\nval/c/000000 4\n")
    _, found, _ = run(root, capsys)
    assert [line.partition("VID_val_frames.txt:")[2] for line in found] == [
        "2: no image val/b/000002.JPEG",
        "3: id is 4, expected 3",
        "2: from here on, differs from the frames in VID_val_videos.txt",
    ]


def test_the_frame_that_is_missing_is_named_and_not_the_last(root, capsys):
    (root / "Data/VID/val/b/000000.JPEG").unlink()
    _, found, _ = run(root, capsys)
    assert [line for line in found if "VID_val_frames.txt" in line] == [
        f"{root}/ImageSets/VID_val_frames.txt:1: no image val/b/000000.JPEG"
    ]


def test_gaps_may_be_allowed_and_boxes_may_cross_the_border(root, capsys):
    put(root, A1, xml((0, "c1", -3, -3, 48, 20)))
    assert run(root, capsys)[0] == 1
    status, found, summary = run(root, capsys, "--allow-gaps")
    assert (status, found) == (0, [])
    assert "1 boxes crossing the border" in summary[0]
    assert "1 gaps in tracks" in summary[0]


@pytest.mark.parametrize("name", ["Annotations/VID/train/a/000000.xml", A2])
def test_gaps_are_allowed_where_the_object_is_occluded_or_at_the_border(root, capsys, name):
    put(root, A1, xml((0, "c1", *BOX)))
    put(root, name, xml((0, "c1", *BOX), (1, "c2", 20, 20, 47, 25)))
    status, _, summary = run(root, capsys)
    assert status == 0
    assert "1 gaps in tracks" in summary[0]
    occluded = xml(*TWO).replace("<name>c2", "<occluded>1</occluded><name>c2")
    put(root, name, occluded)
    assert run(root, capsys)[0] == 0
    put(root, name, xml(*TWO))
    assert run(root, capsys)[0] == 1


def test_broken_pixels_are_found_by_decoding(root, capsys):
    content = bytearray(jpeg())
    tables = content.index(b"\xff\xc4")
    content[tables + 5 : tables + 21] = b"\xff" * 16  # no Huffman table has so many codes of one length
    put(root, D1, bytes(content))
    assert run(root, capsys)[0] == 0
    status, found, _ = run(root, capsys, "--decode")
    assert status == 1
    assert len(found) == 1
    assert D1 in found[0]


def test_processes_find_what_one_process_finds(root, capsys, monkeypatch):
    put(root, A1, xml(*TWO, (2, "c9", *BOX)))
    put(root, "Annotations/VID/val/c/000000.xml", "no XML")
    single = run(root, capsys, "--workers", "1")
    monkeypatch.setattr(check, "PARALLEL_FROM", 1)
    both = run(root, capsys, "--workers", "2")
    assert single[:2] == both[:2]
    assert len(single[1]) == 2


def test_a_test_split_needs_no_annotations(root, capsys):
    put(root, "Data/VID/test/d/000000.JPEG", jpeg())
    assert run(root, capsys)[0] == 0
    put(root, "Data/VID/val/d/000000.JPEG", jpeg())
    status, found, _ = run(root, capsys)
    assert status == 1
    assert "Data/VID/val/d/000000.JPEG: no annotation" in found[0]


def test_bad_usage_is_status_2(tmp_path, capsys):
    for arguments in (["--root", str(tmp_path / "none")], [], ["--root", str(tmp_path), "--workers", "-1"]):
        with pytest.raises(SystemExit) as stopped:
            check.main(arguments)
        assert stopped.value.code == 2
    assert "contains neither images nor annotations" in capsys.readouterr().err


def test_jpeg_size_of_odd_files(tmp_path):
    path = tmp_path / "a.JPEG"
    content = jpeg(7, 300)
    path.write_bytes(content)
    assert jpeg_size(path) == (7, 300)
    path.write_bytes(content + b"trailing bytes")
    assert jpeg_size(path) == (7, 300)
    preview = b"\xff\xe1" + (60000).to_bytes(2, "big") + jpeg(5, 5).ljust(59998, b"\0")
    path.write_bytes(content[:2] + preview + content[2:])
    assert jpeg_size(path) == (7, 300)
    path.write_bytes(content[:2] + preview + content[2:-60])
    with pytest.raises(InputError, match="truncated JPEG"):
        jpeg_size(path)
    path.write_bytes(content[:2] + b"\xff\xff\xff" + content[2:])
    assert jpeg_size(path) == (7, 300)
    progressive = cv2.imencode(".jpg", np.zeros((9, 11, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1]
    path.write_bytes(progressive.tobytes())
    assert jpeg_size(path) == (11, 9)
    with pytest.raises(InputError, match="cannot be read"):
        jpeg_size(tmp_path / "none.JPEG")
