from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.dataset import motion
from lib.dataset.imagenet_vid import AnnotationIndex
from lib.errors import InputError


def make_index(frames):
    """{image id: [(track, (x1, y1, x2, y2)), ...]} as an index."""
    rows = [thing for things in frames.values() for thing in things]
    return AnnotationIndex(
        list(frames),
        np.full((len(frames), 2), 100, np.int32),
        np.cumsum([0, *map(len, frames.values())]).astype(np.int64),
        np.array([box for _, box in rows], np.float32).reshape(-1, 4),
        np.ones(len(rows), np.int32),
        np.array([track for track, _ in rows], np.int32),
        np.zeros(len(rows), bool),
        np.zeros(len(rows), bool),
    )


def clip(boxes, video="v", track=0):
    """One track: {frame number: box}."""
    return {f"{video}/{frame:06d}": [(track, box)] for frame, box in boxes.items()}


def values(frames, **options):
    return motion.motion_iou(make_index(frames), **options).tolist()


STILL = (0, 0, 9, 9)


def test_two_frames_have_their_iou_and_not_their_own_one():
    # 10 x 10 and 10 x 10, 5 columns shared: 50 / 150
    assert values(clip({0: STILL, 1: (5, 0, 14, 9)})) == [1 / 3, 1 / 3]


def test_three_frames_average_the_two_others():
    boxes = {0: STILL, 1: (5, 0, 14, 9), 2: (10, 0, 19, 9)}
    first, middle, last = values(clip(boxes))
    assert first == last == pytest.approx((1 / 3 + 0) / 2)
    assert middle == 1 / 3


def test_widths_are_inclusive():
    # one pixel of four in common: without the +1 the boxes would only touch, and share nothing
    assert values(clip({0: (0, 0, 1, 1), 1: (1, 1, 2, 2)})) == [1 / 7, 1 / 7]


def test_ten_frames_away_counts_and_eleven_does_not():
    assert values(clip({0: STILL, 10: (5, 0, 14, 9)})) == [1 / 3, 1 / 3]
    assert values(clip({0: STILL, 11: (5, 0, 14, 9)})) == [1, 1]
    assert values(clip({0: STILL, 11: (5, 0, 14, 9)}), reach=11) == [1 / 3, 1 / 3]


def test_absent_frames_do_not_count():
    assert values(clip({0: STILL, 3: STILL, 9: STILL})) == [1, 1, 1]


def test_as_the_official_file_has_it_nine_frames_without_overlap_are_eighths_of_1e_10():
    # rows of ILSVRC2015_val_00007028, frames 76 to 84, in the published .mat
    boxes = {frame: (20 * frame, 0, 20 * frame + 9, 9) for frame in range(9)}
    assert values(clip(boxes)) == [1.25e-11] * 9


def test_as_the_official_file_has_it_a_single_frame_is_one():
    # ILSVRC2015_val_00064000, frame 835
    assert values(clip({835: STILL})) == [1]


def test_a_still_object_is_exactly_one():
    assert values(clip({frame: (3, 3, 47, 59) for frame in range(30)})) == [1] * 30


def test_tracks_and_clips_are_kept_apart():
    frames = {
        "v/000000": [(0, STILL), (1, (50, 50, 59, 59))],
        "v/000001": [(1, (50, 50, 59, 59)), (0, (5, 0, 14, 9))],
        "w/000001": [(0, (50, 50, 99, 99))],
        "w/000000": [],
    }
    assert values(frames) == [1 / 3, 1, 1, 1 / 3, 1]


def test_no_object_and_no_image():
    assert values({"v/000000": []}) == []
    assert motion.per_frame(make_index({}), np.zeros(0)) == []


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ({"v/000000": [(0, STILL)], "v/000001": [(-1, STILL)]}, r"v/000001: an object without <trackid>"),
        ({"v/000004": [(7, STILL), (8, STILL), (7, STILL)]}, r"v/000004: track 7 occurs twice"),
        ({"train/n0123_45": [(0, STILL)]}, r"train/n0123_45: the last part is not a frame number"),
    ],
)
def test_annotations_that_motion_cannot_be_computed_for(frames, said):
    with pytest.raises(InputError, match=said):
        values(frames)


def reference(frames, reach):
    """The rule in plain loops."""
    result = []
    for image_id, things in frames.items():
        video, frame = image_id.split("/")
        for track, (ax1, ay1, ax2, ay2) in things:
            overlaps = []
            for gap in [*range(-reach, 0), *range(1, reach + 1)]:
                for other, (bx1, by1, bx2, by2) in frames.get(f"{video}/{int(frame) + gap:06d}", []):
                    if other == track:
                        width = max(min(ax2, bx2) - max(ax1, bx1) + 1, 0)
                        height = max(min(ay2, by2) - max(ay1, by1) + 1, 0)
                        both = (ax2 - ax1 + 1) * (ay2 - ay1 + 1) + (bx2 - bx1 + 1) * (by2 - by1 + 1)
                        overlaps.append(width * height / (both - width * height))
            result.append(max(sum(overlaps), 1e-10) / len(overlaps) if overlaps else 1.0)
    return result


box = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
things = st.dictionaries(st.integers(0, 3), box, max_size=4).map(lambda tracks: list(tracks.items()))
clips = st.dictionaries(
    st.tuples(st.sampled_from("vw"), st.integers(0, 12)).map(lambda place: f"{place[0]}/{place[1]:06d}"),
    things,
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(clips, st.integers(1, 11))
def test_equals_the_plain_reference(frames, reach):
    assert values(frames, reach=reach) == pytest.approx(reference(frames, reach), rel=1e-12, abs=0)


IDS = ["v/000000", "v/000001", "v/000002"]
FRAMES = [np.array([0.25, 1.0]), np.zeros(0), np.array([1 / 3])]


@pytest.mark.parametrize("suffix", [".json", ".mat"])
def test_written_values_are_read_back(tmp_path, suffix):
    path = tmp_path / f"motion{suffix}"
    motion.save(path, IDS, FRAMES)
    assert [one.tolist() for one in motion.load(path, IDS)] == [one.tolist() for one in FRAMES]


def test_json_is_keyed_by_frame_so_the_order_of_the_set_is_free(tmp_path):
    path = tmp_path / "motion.json"
    motion.save(path, IDS, FRAMES)
    assert json.loads(path.read_text())["v/000002"] == [1 / 3]
    assert [one.tolist() for one in motion.load(path, [IDS[2], IDS[0]])] == [[1 / 3], [0.25, 1.0]]


def test_mat_has_the_published_structure(tmp_path):
    path = tmp_path / "motion.mat"
    motion.save(path, IDS, FRAMES)
    cells = scipy.io.loadmat(path)["motion_iou"]
    assert cells.shape == (3, 1)
    assert [cells[row, 0].shape for row in range(3)] == [(2, 1), (1, 0), (1, 1)]


def test_whole_numbers_that_matlab_packed_into_bytes_are_read(tmp_path):
    path = tmp_path / "official.mat"
    cells = np.empty((2, 1), object)
    cells[0, 0], cells[1, 0] = np.array([[1], [1]], np.uint8), np.zeros((1, 0))
    scipy.io.savemat(path, {"motion_iou": cells})
    both, none = motion.load(path, IDS[:2])
    assert both.tolist() == [1.0, 1.0]
    assert both.dtype == none.dtype == np.float64
    assert none.tolist() == []


def test_list_of_lists_in_list_order_is_read(tmp_path):
    path = tmp_path / "motion.json"
    path.write_text("[[0.5], [], [1, 0]]")
    assert [one.tolist() for one in motion.load(path, IDS)] == [[0.5], [], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.json", None, "not a motion file"),
        ("m.json", "{", "not a motion file"),
        ("m.json", "[[1]]", "1 frames, but the list has 3"),
        ("m.json", "7", "no frames"),
        ("m.json", '{"v/000000": [1], "v/000002": [1]}', "no values for v/000001"),
        ("m.json", '[["a"], [], []]', "is not a number"),
        ("m.json", "[[1.5], [], []]", "v/000000 is outside 0..1"),
        ("m.json", "[[NaN], [], []]", "NaN is not a finite number"),
        ("m.mat", None, "cannot be read as a .mat"),
        ("m.mat", "MATLAB? no", "cannot be read as a .mat"),
    ],
)
def test_bad_motion_files_are_errors(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        motion.load(tmp_path / name, IDS)


def test_mat_without_the_cell_and_unknown_suffix(tmp_path):
    scipy.io.savemat(tmp_path / "m.mat", {"other": np.zeros(3)})
    with pytest.raises(InputError, match="no cell array"):
        motion.load(tmp_path / "m.mat", IDS)
    with pytest.raises(InputError, match=r"\.json or \.mat"):
        motion.save(tmp_path / "m.txt", IDS, FRAMES)


def test_command_writes_a_file_and_compares(tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "X").mkdir()
    (tmp_path / "X/classes.txt").write_text("c1 star\n")
    for frame in range(3):
        path = tmp_path / f"X/Annotations/VID/val/v/{frame:06d}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        corners = f"<xmin>{5 * frame}</xmin><ymin>0</ymin><xmax>{5 * frame + 9}</xmax><ymax>9</ymax>"
        thing = f"<object><trackid>0</trackid><name>c1</name><bndbox>{corners}</bndbox></object>"
        path.write_text(f"<a><size><width>50</width><height>50</height></size>{thing}</a>")
    (tmp_path / "frames.txt").write_text("val/v/000001 2\nval/v/000000 1\nval/v/000002 3\n")
    (tmp_path / "videos.txt").write_text("val/v 1 0 3\n")
    motion.main(["--annotations", "X/Annotations/VID", "--image-set", "videos.txt", "--out", "m.json"])
    assert json.loads((tmp_path / "m.json").read_text()) == {
        "val/v/000000": [pytest.approx(1 / 6)],
        "val/v/000001": [pytest.approx(1 / 3)],
        "val/v/000002": [pytest.approx(1 / 6)],
    }
    arguments = ["--annotations", "X/Annotations/VID", "--image-set", "frames.txt", "--out", "m.mat"]
    motion.main([*arguments, "--compare", "m.json"])
    assert "0 values differ" in caplog.text
    assert scipy.io.loadmat("m.mat")["motion_iou"][0, 0] == pytest.approx(1 / 3)
    with pytest.raises(SystemExit) as stopped:
        motion.main([*arguments[:3], "none.txt", *arguments[4:]])
    assert stopped.value.code == 2
    assert "none.txt" in capsys.readouterr().err
