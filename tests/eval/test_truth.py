from __future__ import annotations

import json

import numpy as np
import pytest

from lib.dataset.classes import ClassList
from lib.dataset.imagenet_vid import build_index
from lib.dataset.motion import motion_iou
from lib.errors import InputError
from lib.eval.truth import load_truth, read_image_set
from tests.eval import reference
from tests.eval.reference import CASE

CLASSES = ClassList.builtin("ImageNetVID")


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return reference.unpack_annotations(tmp_path_factory.mktemp("case"))


def written(path, text):
    path.write_text(text)
    return path


def test_frames_or_videos(tmp_path):
    images, ids = read_image_set(written(tmp_path / "frames.txt", "val/a/000000 5\n\nval/a/000003 2\n"))
    assert (images, ids.tolist()) == (["val/a/000000", "val/a/000003"], [5, 2])
    images, ids = read_image_set(written(tmp_path / "videos.txt", "val/a 1 0 2\nval/b 3 0 1\n"))
    assert (images, ids.tolist()) == (["val/a/000000", "val/a/000001", "val/b/000000"], [1, 2, 3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("val/a/000000 1\nval/a/000001 1\n", r"set\.txt:2: frame id 1 is already in line 1; remove one"),
        ("val/a/000000 1\n\nval/a/000000 2\n", r"set\.txt:3: image val/a/000000 is already in line 1"),
        ("val/a 1 0 3\nval/b 3 0 1\n", r"set\.txt:2: frame id 3 is already in line 1"),
        ("val/a/000000\n", r"set\.txt:1: 1 columns"),
        ("val/a/000000 one\n", r"set\.txt:1: "),
        ("val/a/000000 1\nval/a 1 0 3\n", r"set\.txt:2: 4 columns"),
        ("", r"set\.txt: the list is empty"),
    ],
)
def test_bad_image_sets(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_image_set(written(tmp_path / "set.txt", text))


def test_missing_image_set(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt: list file cannot be read"):
        read_image_set(tmp_path / "none.txt")


def test_motion_comes_from_the_file_or_the_tracks_or_is_omitted(annotations):
    options = {"progress": False}
    given = load_truth(annotations, CASE / "imageset.txt", CLASSES, motion_file=CASE / "motion_iou.json", **options)
    frames = json.loads((CASE / "motion_iou.json").read_text())
    assert given.motion.tolist() == [value for values in frames for value in values]
    computed = load_truth(annotations, CASE / "imageset.txt", CLASSES, **options)
    assert len(computed.motion) == len(given.motion)
    assert not np.allclose(computed.motion, given.motion)  # the case's values are made up
    plain = load_truth(annotations, CASE / "imageset.txt", CLASSES, motion=False, **options)
    assert (plain.motion == 1).all()


def test_annotations_may_be_the_folder_above_vid(annotations):
    above, below = (
        load_truth(folder, CASE / "imageset.txt", CLASSES, motion=False, progress=False)
        for folder in (annotations.parent, annotations)
    )
    np.testing.assert_array_equal(above.boxes, below.boxes)
    assert len(above.boxes) == 95


@pytest.mark.parametrize(("frame", "values"), [(1, [0.5]), (1, [0.5] * 3), (5, [0.1])])
def test_a_wrong_number_of_motion_values_is_reported(annotations, tmp_path, frame, values):
    frames = json.loads((CASE / "motion_iou.json").read_text())
    objects = len(frames[frame])
    frames[frame] = values
    path = written(tmp_path / "motion.json", json.dumps(frames))
    image = f"val/ILSVRC2015_val_00000000/{frame:06d}"
    with pytest.raises(InputError, match=f"{len(values)} motion values for the {objects} objects of {image}"):
        load_truth(annotations, CASE / "imageset.txt", CLASSES, motion_file=path, progress=False)


def test_a_motion_file_of_other_frames_is_rejected(annotations, tmp_path):
    path = written(tmp_path / "motion.json", "[[0.5], []]")
    with pytest.raises(InputError, match="2 frames, but the list has 50"):
        load_truth(annotations, CASE / "imageset.txt", CLASSES, motion_file=path, progress=False)


def test_a_missing_annotation_and_an_unknown_class_are_reported(annotations, tmp_path):
    image_set = written(tmp_path / "set.txt", "val/ILSVRC2015_val_00000099/000000 1\n")
    with pytest.raises(InputError, match="ILSVRC2015_val_00000099/000000"):
        load_truth(annotations, image_set, CLASSES, progress=False)
    few = ClassList(CLASSES.ids[:2], CLASSES.names[:2], CLASSES.colours[:2])
    with pytest.raises(InputError, match=r"unknown class n0"):
        load_truth(annotations, CASE / "imageset.txt", few, progress=False)


def test_frame_ids_must_be_unique():
    with pytest.raises(ValueError, match="a frame id occurs twice"):
        reference.truth_of([(1, [(1, (0, 0, 9, 9), 0.5)]), (1, [])])


def test_motion_of_tracks_is_that_of_lib_dataset(annotations):
    truth = load_truth(annotations, CASE / "imageset.txt", CLASSES, progress=False)
    index = build_index(annotations, truth.image_ids, CLASSES, progress=False)
    np.testing.assert_array_equal(truth.motion, motion_iou(index))
