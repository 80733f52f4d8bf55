"""The command line of the evaluation, the result files and the comparison, through the real entry points."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from lib.eval import compare, vid_map
from lib.eval.detections import read_detections, write_detections
from lib.eval.evaluation import evaluate
from lib.eval.manifest import git_state, manifest
from lib.eval.results import load_result
from lib.eval.stored import load_run
from lib.files import sha256
from tests.eval import reference
from tests.eval.reference import CASE


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return reference.unpack_annotations(tmp_path_factory.mktemp("case"))


@pytest.fixture
def run(annotations, tmp_path):
    def call(*words, detections=CASE / "det_all.txt", image_set=CASE / "imageset.txt", motion=CASE / "motion_iou.mat"):
        fixed = ["--annotations", annotations, "--image-set", image_set, "--cache", tmp_path / "output" / "cache"]
        given = ["--motion-iou", motion] if motion else []
        files = detections if isinstance(detections, list) else [detections]
        vid_map.main([str(word) for word in ("--detections", *files, *fixed, *given, *words)])

    return call


def rejected(capsys, call, *words, **options):
    with pytest.raises(SystemExit) as stop:
        call(*words, **options)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    lines = [line for line in lines if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_json_of_the_golden_case(run, tmp_path, capsys):
    out = tmp_path / "out" / "result.json"
    (tmp_path / "net.params").write_bytes(b"weights")
    run("--json", out, "--weights", tmp_path / "net.params")
    content = json.loads(out.read_text())
    expected = json.loads((CASE / "expected.json").read_text())["main"]
    np.testing.assert_allclose(content["ap"], expected["ap"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(content["mean"], expected["mean_ap_over_nonnegative"], rtol=0, atol=1e-9)
    assert content["map"]["all"] == {"map": content["mean"][0][0]}
    assert content["unknown_frames"] == 2
    about = content["manifest"]
    assert about["weights"]["sha256"] == sha256(tmp_path / "net.params")
    assert about["image_set"]["sha256"] == sha256(CASE / "imageset.txt")
    assert about["detections"][0]["sha256"] == sha256(CASE / "det_all.txt")
    assert about["config"] is None
    assert about["versions"]["numpy"] == np.__version__
    assert about["command"]
    printed = capsys.readouterr().out
    assert "mAP  43.4  41.2    34.1  52.0" in printed


def test_every_output_at_once(run, tmp_path, capsys, caplog):
    caplog.set_level("INFO")
    run(
        "--json",
        tmp_path / "r.json",
        "--markdown",
        tmp_path / "r.md",
        "--pictures",
        tmp_path / "p",
        "--bootstrap",
        "50",
    )
    row = json.loads((tmp_path / "r.json").read_text())["map"]["fast"]
    assert row["low"] < row["map"] < row["high"]
    assert "| mAP | 43.4 [" in (tmp_path / "r.md").read_text()
    assert {path.name for path in (tmp_path / "p").iterdir()} == {"precision_recall.png", "motion_area.png"}
    assert "95 % interval" in capsys.readouterr().out
    assert f"wrote {tmp_path / 'r.json'}, {tmp_path / 'r.md'}, " in caplog.text


def test_several_files_gz_and_binary_give_the_same(run, tmp_path):
    table = read_detections([CASE / "det_all.txt"])
    half = len(table) // 2
    lines = (CASE / "det_all.txt").read_text().splitlines(keepends=True)
    (tmp_path / "a.txt").write_text("".join(lines[:half]))
    (tmp_path / "b.txt").write_text("\n" + "".join(lines[half:]))
    run("--json", tmp_path / "one.json")
    run("--json", tmp_path / "two.json", detections=[tmp_path / "a.txt", tmp_path / "b.txt"])
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one["ap"] == two["ap"]
    write_detections(tmp_path / "c.npy", table)
    run("--json", tmp_path / "three.json", detections=tmp_path / "c.npy")
    three = json.loads((tmp_path / "three.json").read_text())
    np.testing.assert_allclose(three["mean"][0], one["mean"][0], atol=1e-3)  # float32 boxes


def test_custom_ranges_plain_and_coco(run, tmp_path, capsys):
    ranges = ["--motion-range", "any=0:1", "--motion-range", "still=0.95:1", "--area-range", "whole=0:1e10"]
    run("--json", tmp_path / "r.json", *ranges)
    content = json.loads((tmp_path / "r.json").read_text())
    assert np.shape(content["ap"]) == (2, 1, 30)
    assert content["motion_ranges"][1] == {"name": "still", "low": 0.95, "high": 1.0}
    run("--json", tmp_path / "p.json", "--plain", "--coco", motion=None)
    plain = json.loads((tmp_path / "p.json").read_text())
    np.testing.assert_allclose(plain["ap"][0][0], content["ap"][0][0], atol=1e-12)
    assert 0 < plain["coco"]["AP"] < plain["coco"]["AP50"]
    assert "COCO style" in capsys.readouterr().out


def test_motion_is_computed_without_a_file(run, tmp_path):
    run("--json", tmp_path / "r.json", motion=None)
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["map"]["all"]["map"] == pytest.approx(0.43388499)
    assert content["manifest"]["motion_iou"] is None


def test_seq_nms_before_the_evaluation(run, tmp_path):
    run("--json", tmp_path / "r.json", "--seq-nms")
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["manifest"]["seq_nms"] is True
    assert content["mean"][0][0] != pytest.approx(0.43388499)


def test_an_empty_file_gives_ap_zero(run, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    run("--json", tmp_path / "r.json", detections=tmp_path / "empty.txt")
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["mean"][0][0] == 0.0


def test_invalid_input_is_reported_on_one_line(run, tmp_path, capsys):
    def error(*words, **options):
        return rejected(capsys, run, *words, **options)

    assert "no such detection file" in error(detections=tmp_path / "none.txt")
    (tmp_path / "bad.txt").write_text("219 1 0.5 1 2 3 4\n219 31 0.5 1 2 3 4\n")
    assert "bad.txt:2: unknown class index 31" in error(detections=tmp_path / "bad.txt")
    assert "none.txt: list file cannot be read" in error(image_set=tmp_path / "none.txt")
    (tmp_path / "motion.json").write_text("[[0.5]]")
    assert "1 frames, but the list has 50" in error(motion=tmp_path / "motion.json")
    assert "write NAME=LOW:HIGH" in error("--motion-range", "fast")
    assert "write NAME=LOW:HIGH" in error("--area-range", "small=5:1")
    for bounds in ("0:inf", "-inf:1", "nan:1", "0:1e999"):
        assert "write NAME=LOW:HIGH" in error("--area-range", f"a={bounds}")
    assert "no such weights" in error("--weights", tmp_path / "none.params")
    assert "--iou 0.0" in error("--iou", "0")
    assert "-3 bootstrap samples" in error("--bootstrap", "-3")
    assert "class list cannot be read" in error("--classes", tmp_path / "none.txt")


def test_nothing_is_written_into_the_dataset(run, annotations, tmp_path):
    before = sorted(annotations.rglob("*"))
    run("--json", tmp_path / "r.json")
    assert sorted(annotations.rglob("*")) == before
    assert list((tmp_path / "output" / "cache").iterdir())


def test_a_saved_result_is_loaded_unchanged(run, tmp_path):
    run("--json", tmp_path / "r.json")
    result = load_result(tmp_path / "r.json")
    np.testing.assert_array_equal(result.ap, json.loads((tmp_path / "r.json").read_text())["ap"])
    np.testing.assert_array_equal(result.outcomes.average_precision(), result.ap)


def test_compare_two_results(run, tmp_path, capsys):
    run("--json", tmp_path / "a.json")
    run("--json", tmp_path / "b.json", "--seq-nms")
    capsys.readouterr()
    words = [str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--draws", "50", "--json", str(tmp_path / "d.json")]
    compare.main(words)
    printed = capsys.readouterr().out
    assert "airplane" in printed
    content = json.loads((tmp_path / "d.json").read_text())
    first, second = (load_result(tmp_path / name) for name in ("a.json", "b.json"))
    assert content["mean"]["all"]["value"] == pytest.approx(second.mean[0, 0] - first.mean[0, 0])
    assert content["classes"]["all"]["antelope"] is None
    compare.main([*words[:2], "--draws", "50", "--markdown"])
    assert "| airplane |" in capsys.readouterr().out


def test_results_that_do_not_match_are_rejected(run, tmp_path, capsys):
    run("--json", tmp_path / "a.json")
    run("--json", tmp_path / "b.json", "--seq-nms")
    run("--json", tmp_path / "plain.json", "--plain")

    def call(*names):
        return rejected(capsys, lambda *words: compare.main(list(words)), *(str(tmp_path / name) for name in names))

    assert "differ in their motion ranges" in call("a.json", "plain.json")
    (tmp_path / "b.outcomes.npz").write_bytes((tmp_path / "a.outcomes.npz").read_bytes())
    assert "b.outcomes.npz: does not match b.json" in call("a.json", "b.json")
    (tmp_path / "b.outcomes.npz").unlink()
    assert "b.outcomes.npz: not found, but required by b.json" in call("a.json", "b.json")
    (tmp_path / "c.json").write_text("{}")
    assert "not a result of lib.eval.vid_map" in call("a.json", "c.json")
    assert "not a result of lib.eval.vid_map" in call("none.json", "a.json")


def test_manifest_describes_files_and_values(tmp_path):
    (tmp_path / "x.yaml").write_text("a: 1\n")
    about = manifest(config=tmp_path / "x.yaml", folder=tmp_path, epoch=2, files=[tmp_path / "x.yaml"], none=None)
    assert about["config"] == {"path": str(tmp_path / "x.yaml"), "sha256": sha256(tmp_path / "x.yaml")}
    assert about["folder"] == {"path": str(tmp_path)}
    assert about["files"] == [about["config"]]
    assert (about["epoch"], about["none"]) == (2, None)
    assert about["git"] == git_state()
    assert about["git"] is None or len(about["git"]["commit"]) == 40
    json.dumps(about)


def test_evaluation_runs_without_mxnet():
    code = "import sys; sys.modules['mxnet'] = None; import lib.eval.vid_map, lib.eval.compare, lib.eval.pictures"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=reference.CASE.parents[2])


def test_json_to_a_pipe_has_no_outcomes(run, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    got = []
    reader = threading.Thread(target=lambda: got.append(json.loads((tmp_path / "pipe.json").read_text())))
    reader.start()
    run("--json", tmp_path / "pipe.json")
    reader.join(10)
    assert got[0]["outcomes"] is None and got[0]["map"]
    assert not (tmp_path / "pipe.outcomes.npz").exists()


def test_an_output_that_is_a_folder_is_refused_before_the_work(run, tmp_path, capsys):
    line = rejected(capsys, run, "--json", tmp_path, detections=tmp_path / "none.txt")
    assert line == f"error: {tmp_path}: is a folder; give the name of a file"


@pytest.mark.parametrize("ranges", [["--motion-range", "still=0.95:1"], ["--plain"], []])
def test_a_stored_result_is_loaded_with_the_same_objects(run, tmp_path, ranges):
    """With the motion of each object, if the result has motion ranges, be it a single one."""
    run("--json", tmp_path / "r.json", *ranges)
    loaded = load_run(tmp_path / "r.json")
    stored = loaded.result
    ranges = {"motion_ranges": stored.motion_ranges, "area_ranges": stored.area_ranges}
    again = evaluate(loaded.detections, loaded.truth, stored.classes, **ranges)
    assert np.array_equal(again.objects, stored.objects) and stored.objects.sum() > 0
