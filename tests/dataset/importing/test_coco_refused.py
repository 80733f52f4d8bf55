"""COCO files and output folders that the import refuses."""

from __future__ import annotations

import re

import pytest

from lib.dataset.exporting import command
from lib.dataset.importing import coco as import_coco
from tests.dataset.importing.coco_files import CONTENT, changed, run, write
from tests.dataset.importing.imported import failure

BAD = {
    "bbox of three": (("annotations", 1, "bbox"), [1, 2, 3], r"in\.json: annotations\[1\]: bbox is \[1, 2, 3\]"),
    "negative": (("annotations", 1, "bbox"), [1, 2, -3, 4], r"annotations\[1\]: box of -3 x 4"),
    "nan": (("annotations", 1, "bbox"), [1, 2, float("nan"), 4], r"broken JSON \(NaN is not a finite number\)"),
    "text": (("annotations", 1, "bbox"), [1, 2, "x", 4], r"annotations\[1\]: a bbox value is 'x'"),
    "image": (("annotations", 3, "image_id"), 99, r"annotations\[3\]: unknown image_id 99"),
    "unhashable": (("annotations", 3, "image_id"), [1], r"annotations\[3\]: unknown image_id \[1\]"),
    "category": (("annotations", 3, "category_id"), 6,
                 r"annotations\[3\] \(id 4\): unknown category_id 6; .* --skip-unknown"),
    "track": (("annotations", 0, "track_id"), [], r"annotations\[0\]: track id is \[\]"),
    "crowd": (("annotations", 0, "iscrowd"), "maybe", r"annotations\[0\]: iscrowd is 'maybe'"),
    "whole video": (("annotations", 0, "bboxes"), [], r"annotations\[0\]: `bboxes` of a whole video"),
    "no object": (("annotations", 0), 7, r"annotations\[0\]: not an object"),
    "video": (("images", 0, "video_id"), 8, r"images\[0\]: no entry in videos has the id 8 \(video_id\)"),
    "frame": (("images", 0, "frame_id"), -1, r"images\[0\]: frame_id is -1; write an integer >= 0"),
    "same frame": (("images", 0, "frame_id"), 1, r"images\[2\]: same frame of street one as .*images\[0\]"),
    "same id": (("images", 1, "id"), 12, r"images\[1\]: id 12 is already used by .*images\[0\]; renumber"),
    "size": (("images", 3, "width"), 65, r"images\[3\]: width, height are \(65, 48\), but the image has 64, 48"),
    "file": (("images", 2, "file_name"), "a/9.jpg", r"a/9\.jpg: cannot be read"),
    "first file": (("images", 1, "file_name"), "a/9.jpg",
                   r"images\[1\]: no image folder or video file named street one in"),
    "no list": (("annotations",), {}, r"in\.json: contains no list `annotations`"),
    "no images": (("images",), [], r"annotations\[0\]: unknown image_id 10"),
    "name": (("categories", 0, "name"), "", r"categories\[0\]: name is ''"),
    "classes alike": (("categories",), [{"id": 5, "name": "a b"}, {"id": 9, "name": "a_b"}],
                      r"classes 'a b' and 'a_b' would both become a_b"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(BAD))
def test_bad_entries_are_reported_with_their_place(tmp_path, media, capsys, case):
    path, value, message = BAD[case]
    file = write(tmp_path, changed(*path, value=value))
    line = failure(import_coco.main, capsys, "--json", file, "--media", media, "--out", tmp_path / "out")
    assert re.search(message, line), line
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.json", "media"]  # nothing is left behind


def test_a_track_twice_in_a_frame(tmp_path, media, capsys):
    content = changed("annotations", 1, "image_id", value=10)
    file = write(tmp_path, content)
    line = failure(import_coco.main, capsys, "--json", file, "--media", media, "--out", tmp_path / "out")
    assert "annotations[1]: track 4 occurs twice in frame 0 of street one (first: " in line
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("text, message", [
    ("[]", "in.json: contains a list"),
    ("{\n\n nonsense", "in.json:3: broken JSON"),
])  # fmt: skip
def test_files_that_are_not_coco(tmp_path, media, capsys, text, message):
    (tmp_path / "in.json").write_text(text)
    assert message in failure(
        import_coco.main, capsys, "--json", tmp_path / "in.json", "--media", media, "--out", tmp_path / "out"
    )


def test_a_folder_that_cannot_be_created(tmp_path, media, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    file = write(tmp_path, CONTENT)
    for out, message in (("file/below", "cannot be created"), ("file", "already exists"), ("link", "already exists")):
        line = failure(import_coco.main, capsys, "--json", file, "--media", media, "--out", tmp_path / out)
        assert f"{tmp_path / out}: {message}" in line


def test_a_full_disk_leaves_nothing_behind(tmp_path, media, capsys, monkeypatch):
    def full(path, text, **_):
        raise OSError(28, "No space left on device", str(path))

    file = write(tmp_path, CONTENT)
    monkeypatch.setattr("lib.dataset.importing.write.Path.write_text", full)
    line = failure(import_coco.main, capsys, "--json", file, "--media", media, "--out", tmp_path / "out")
    assert "No space left on device; " in line and line.endswith("out was not written")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.json", "media"]


def test_nothing_is_overwritten(tmp_path, media, capsys):
    out = run(tmp_path, media, CONTENT)
    before = sorted(out.rglob("*"))
    file = tmp_path / "in.json"
    line = failure(import_coco.main, capsys, "--json", file, "--media", media, "--out", out)
    assert f"{out}: already exists and is not overwritten" in line
    assert sorted(out.rglob("*")) == before
    line = failure(command.main, capsys, "--format", "coco", "--root", out, "--out", file)
    assert "in.json: already exists" in line
