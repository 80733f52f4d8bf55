"""Kinds of errors, compared with tidecv's and with cases computed by hand; behaviour over time; the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.evaluation_reference import class_list
from lib.eval import compare, errors, vid_map
from lib.eval.behaviour import calibration, chosen, clips, confusion, tracks
from lib.eval.evaluation import evaluate, match
from lib.eval.kinds import KINDS, find_errors, fixed, gains
from lib.eval.stored import Run
from tests.eval import reference
from tests.eval.reference import CASE, table_of, truth_of
from tests.eval.tide_figures import CASE as TIDE
from tests.eval.tide_figures import FRAMES

A, B = (100, 100, 199, 199), (300, 100, 399, 199)  # two objects of 100 x 100 pixels


def run_of(frames, detections, classes=2, track_numbers=None):
    truth = truth_of(frames, per_video=len(frames))
    if track_numbers is not None:
        truth.tracks[:] = track_numbers
    table, names = table_of(detections), class_list(classes)
    return Run(Path("r.json"), evaluate(table, truth, names), table, truth, match(table, truth), Path("a"))


def moved(box, by):
    return (box[0] + by, box[1], box[2] + by, box[3])


def kinds_of(run):
    return [("", *KINDS)[kind] for kind in find_errors(run).kinds]


def sampled_map(run, matching):
    """Mean over classes of the interpolated precision at the recalls 0, 0.01 ... 1."""
    result = run.result
    outcomes = matching.outcomes(run.detections, run.truth, result.classes, result.motion_ranges, result.area_ranges)
    each = []
    for number in range(len(result.classes)):
        recall, precision, _ = outcomes.curve(0, 0, number)
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        each.append(best[np.searchsorted(recall, np.arange(101) / 100)].mean())
    return np.mean(each)


def test_kinds_and_gains_are_those_of_tidecv():
    case = json.loads(TIDE.read_text())
    frames = [(f, [(c, box, 1.0) for frame, c, *box in case["objects"] if frame == f]) for f in range(FRAMES)]
    run = run_of(frames, [(f, c, s, box) for f, c, s, *box in case["detections"]], classes=3)
    found = find_errors(run)
    assert kinds_of(run) == case["kinds"]
    assert set(KINDS[:-1]) < set(case["kinds"])
    assert np.flatnonzero(found.missed).tolist() == case["missed"]
    # tidecv reads the curve at 101 recalls; our average precision is the area under it, and differs by up to a point.
    before = sampled_map(run, run.found)
    assert 100 * before == pytest.approx(case["map"])
    sampled = {name: 100 * (sampled_map(run, fixed(run, found, kind)) - before) for kind, name in enumerate(KINDS, 1)}
    assert sampled == pytest.approx(case["gains"])
    assert dict(zip(KINDS, 100 * gains(run, found)[1][:, 0, 0])) == pytest.approx(case["gains"], abs=1)
    assert min(case["gains"].values()) > 0.5


@pytest.mark.parametrize(
    ("detection", "kind"),
    [
        ((1, A), ""),
        ((1, moved(A, 60)), "localisation"),  # IoU 40 / 160 = 0.25
        ((2, A), "classification"),
        ((2, moved(A, 60)), "both"),
        ((1, moved(A, 90)), "background"),  # IoU 10 / 190 = 0.053
        ((1, (0, 400, 50, 450)), "background"),
    ],
)
def test_kind_of_one_detection(detection, kind):
    run = run_of([(1, [(1, A, 1.0)])], [(1, detection[0], 0.9, detection[1])])
    assert kinds_of(run) == [kind]
    assert find_errors(run).missed.tolist() == [kind in ("both", "background")]


def test_a_second_detection_of_an_object_is_a_duplicate():
    run = run_of([(1, [(1, A, 1.0)])], [(1, 1, 0.8, A), (1, 1, 0.9, moved(A, 5))])
    assert kinds_of(run) == ["duplicate", ""]


def test_a_small_object_is_found_at_a_lower_overlap():
    small = (100, 100, 109, 109)  # threshold 100 / 400 = 0.25
    run = run_of([(1, [(1, small, 1.0)])], [(1, 1, 0.9, moved(small, 5)), (1, 1, 0.8, moved(small, 7))])
    assert kinds_of(run) == ["", "localisation"]  # IoU 0.33 and 30 / 170 = 0.18


def test_gains_by_hand():
    # One object found after a wrong class's detection of higher score; another found only badly placed.
    run = run_of(
        [(1, [(1, A, 1.0), (1, B, 1.0), (2, (0, 300, 99, 399), 0.5)])],
        [(1, 1, 0.9, (0, 0, 50, 50)), (1, 1, 0.8, A), (1, 1, 0.7, moved(B, 50)), (1, 2, 0.6, (0, 300, 99, 399))],
    )
    by_class, mean = gains(run, find_errors(run))
    gain = dict(zip(KINDS, by_class[:, 0, 0]))
    # Class 1 before: precision 1/2 at recall 1/2, so AP 1/4; class 2 is complete.
    assert run.result.ap[0, 0].tolist() == [0.25, 1.0]
    assert gain["background"].tolist() == [0.25, 0.0]  # precision 1 at recall 1/2
    assert gain["localisation"][0] == pytest.approx(2 / 3 - 0.25)  # 2 of 3 at recall 1, also the best at 1/2
    assert [gain[name][0] for name in ("classification", "both", "duplicate", "missed")] == [0, 0, 0, 0]
    assert dict(zip(KINDS, mean[:, 0, 0]))["background"] == pytest.approx(0.125)
    fast = [r.name for r in run.result.motion_ranges].index("fast")
    assert not by_class[:, fast].any()  # only class 2 moves fast, and it has no error


def test_a_wrong_class_that_is_fixed_counts_in_the_right_class():
    run = run_of([(1, [(1, A, 1.0), (2, B, 1.0)])], [(1, 2, 0.9, A), (1, 2, 0.8, B), (1, 2, 0.7, moved(A, 2))])
    by_class, _ = gains(run, find_errors(run))
    # Both detections of A are wrong; the better one becomes class 1, the other goes.
    assert by_class[KINDS.index("classification"), 0, 0].tolist() == [1.0, 0.5]


def test_missed_objects_no_longer_count():
    run = run_of([(1, [(1, A, 1.0), (1, B, 1.0)])], [(1, 1, 0.9, A)])
    by_class, _ = gains(run, find_errors(run))
    assert by_class[KINDS.index("missed"), 0, 0, 0] == 0.5
    nothing = run_of([(1, [(1, A, 1.0)])], [])
    assert gains(nothing, find_errors(nothing))[1][KINDS.index("missed"), 0, 0] == 1.0


def test_confusion_by_hand():
    run = run_of(
        [(1, [(1, A, 1.0), (2, B, 1.0)]), (2, [(2, B, 1.0)])],
        [(1, 1, 0.9, A), (1, 1, 0.8, B), (1, 1, 0.7, moved(B, 1)), (2, 1, 0.9, A), (1, 2, 0.3, B)],
    )
    found = find_errors(run)
    # At 0.5, one detection is charged to the object B of frame 1; its double and A of frame 2 count as background.
    assert confusion(run, found, 0.5).tolist() == [[1, 0, 0], [1, 0, 1], [2, 0, 0]]
    # From 0.2 B is found in frame 1 as class 2, so both wrong ones are background.
    assert confusion(run, found, 0.2).tolist() == [[1, 0, 0], [0, 1, 1], [3, 0, 0]]


def test_tracks_flicker_and_delay():
    seen = [False, True, True, False, True, False, False, True, False]
    frames = [(f, [(1, A, 0.8), (1, B, 1.0)]) for f in range(1, 10)]
    detections = [(f, 1, 0.9 if hit else 0.2, A) for f, hit in enumerate(seen, 1)]
    run = run_of(frames, detections, track_numbers=[4, 2] * 9)
    never, often = tracks(run, 0.5)
    assert (never.number, never.delay, never.flicker, never.share) == (2, None, 0, 0)
    assert (often.number, often.delay, often.flicker) == (4, 1, 2)
    assert often.found.tolist() == seen
    assert often.motion == pytest.approx(0.8)
    assert [track.share for track in tracks(run, 0.1)] == [0.0, 1.0]
    (clip,) = clips(run, 0.5)
    assert (clip.true, clip.false, clip.missed) == (4, 0, 14)
    assert clip.f1 == pytest.approx(8 / 22)


def test_calibration_by_hand():
    run = run_of([(1, [(1, A, 1.0)])], [(1, 1, 0.95, A), (1, 1, 0.15, B), (1, 1, 1.0, B)])
    found = calibration(run)
    assert found.counts.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found.confidence[9] == pytest.approx(0.975)
    assert found.precision[9] == 0.5
    assert found.error == pytest.approx((0.15 + 2 * 0.475) / 3)


def test_a_case_without_detections_or_objects():
    run = run_of([(1, []), (2, [])], [])
    found = find_errors(run)
    assert not gains(run, found)[1].any()
    assert clips(run, 0.5)[0].f1 == 1.0
    assert not tracks(run, 0.5)
    assert not len(chosen(run, 0.5))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors")
    annotations = reference.unpack_annotations(folder)
    lines = (CASE / "det_all.txt").read_text().splitlines(keepends=True)
    (folder / "half.txt").write_text("".join(lines[::2]))
    for name, file in (("all", CASE / "det_all.txt"), ("half", folder / "half.txt")):
        words = ["--detections", file, "--annotations", annotations, "--image-set", CASE / "imageset.txt",
                 "--json", folder / f"{name}.json", "--cache", folder / "cache"]  # fmt: skip
        vid_map.main([str(word) for word in words])
    return folder


def test_the_command_prints_all_tables_and_writes_json(results, capsys):
    cache = ["--cache", str(results / "cache")]
    errors.main([str(results / "all.json"), "--score", "0.3", "--json", str(results / "e.json"), *cache])
    printed = capsys.readouterr().out
    titles = ("Kinds of errors", "The same by class", "Confusion at scores from 0.3", "Objects over time",
              "Worst videos", "Objects found least", "Calibration: expected error")  # fmt: skip
    assert [title in printed for title in titles] == [True] * len(titles)
    content = json.loads((results / "e.json").read_text())
    objects = json.loads((results / "all.json").read_text())["objects"][0][0]
    assert [sum(line) for line in content["confusion"][:-1]] == objects
    assert sum(video["true"] + video["missed"] for video in content["videos"]) == sum(objects)
    assert max(content["gain"][k][0][0] for k in range(6)) > 0.01
    errors.main([str(results / "all.json"), "--markdown", *cache])
    assert "| localisation |" in capsys.readouterr().out


def test_ranges_without_objects_have_no_gain():
    run = run_of([(1, [(1, A, 1.0)])], [])  # one slow object of 100 x 100 pixels
    table, _ = errors.kind_tables(run, find_errors(run))
    assert table.columns[1:] == ["errors", "all", "slow", "medium", "fast", "small", "middle", "large"]
    assert table.rows[-1] == ["missed", "1", "100.0", "100.0", "-", "-", "-", "100.0", "-"]


def test_compare_says_which_kinds_changed(results, capsys):
    files = [str(results / f"{name}.json") for name in ("half", "all")]
    compare.main([*files, "--draws", "5", "--errors", "--cache", str(results / "cache")])
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("missed")).split()
    assert int(row[1]) > int(row[2])  # half of the detections miss more objects
    assert float(row[5]) < 0


def rejected(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        errors.main([str(word) for word in words])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_changed_or_missing_files_are_reported(results, capsys):
    assert "half.json: cannot" not in rejected(capsys, results / "half.json", "--score", "2")
    text = (results / "half.txt").read_text()
    (results / "half.txt").write_text(text + "\n")
    assert f"{results}/half.txt: was changed after the evaluation in {results}/half.json" in rejected(
        capsys, results / "half.json"
    )
    (results / "half.txt").rename(results / "gone.txt")
    assert "half.txt: not found, but required by" in rejected(capsys, results / "half.json")
    (results / "gone.txt").rename(results / "half.txt")
    (results / "half.txt").write_text(text)
    content = json.loads((results / "half.json").read_text())
    del content["manifest"]["detections"]
    (results / "half.json").write_text(json.dumps(content))
    assert "half.json: does not name its detections; evaluate again, with --json" in rejected(
        capsys, results / "half.json"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"detections": "x"},
        {"detections": [{"path": 5}]},
        {"detections": [[]]},
        {"image_set": {"sha256": "x"}},
        {"annotations": {"path": {"a": 1}}},
        {"motion_iou": 7},
        {"iou": "x"},
        {"iou": -5},
        {"iou": [1]},
        {"seq_nms": "no"},
        [1],
        None,
    ],
)
def test_damaged_manifests_are_reported_on_one_line(results, tmp_path, capsys, changes):
    content = json.loads((results / "all.json").read_text())
    content["manifest"] = {**content["manifest"], **changes} if isinstance(changes, dict) else changes
    (tmp_path / "all.json").write_text(json.dumps(content))
    shutil.copy(results / "all.outcomes.npz", tmp_path)
    message = rejected(capsys, tmp_path / "all.json")
    assert message.startswith(f"error: {tmp_path}/all.json: its manifest is damaged (") and message.count("\n") == 1
