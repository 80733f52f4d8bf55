"""Options, inputs and outputs that the demo refuses, and outputs that are pipes or links."""

from __future__ import annotations

import os
import threading

import pytest

from lib.errors import InputError
from tests.cli.demo_runs import moving_box, run


@pytest.mark.parametrize("options, message", [
    (["--input", "NOWHERE"], "no such file"),
    (["--threshold", "1.5"], "--threshold"),
    (["--classes", "dgo"], "did you mean dog"),
    (["--classes", "zebra"], "unknown class; the classes are cat, dog"),
    (["--output", "res.json"], "must be a folder or a video; write such a file with --json"),
    (["--frames", "5:2"], "--frames"),
    (["--frames", "99:"], "has only 12 frames"),
    (["--max-size", "1"], "--max-size"),
    (["--zoom", "0"], "--zoom"),
    (["--fps", "0"], "--fps"),
    (["--output", "a.avi"], "ending in .mp4"),
    (["--output", "a", "b"], "only one folder is allowed"),
])  # fmt: skip
def test_bad_options_are_reported_before_a_network_is_created(folder, tmp_path, monkeypatch, options, message):
    def never():
        raise AssertionError("the detector was made")

    monkeypatch.chdir(tmp_path)
    given = options if "--input" in options else ["--input", folder, *options]
    with pytest.raises(InputError, match=message):
        run(*given, make=never)
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_input_is_never_overwritten(folder, tmp_path):
    before = (folder / "000000.JPEG").read_bytes()
    with pytest.raises(InputError, match="overwritten"):
        run("--input", folder, "--output", folder)
    run("--input", folder, "--output", tmp_path / "a.mp4")
    with pytest.raises(InputError, match="overwritten"):
        run("--input", tmp_path / "a.mp4", "--output", tmp_path / "a.mp4")
    assert (folder / "000000.JPEG").read_bytes() == before


def test_missing_weights_write_nothing(folder, tmp_path):
    def missing():
        raise InputError("model/x.params: no such weights")

    with pytest.raises(InputError, match="no such weights"):
        run("--input", folder, "--output", tmp_path / "o", make=missing)
    assert not (tmp_path / "o").exists()


# Outputs that are pipes or links


def test_rows_go_to_pipes_frame_by_frame(folder, tmp_path):
    read, opened, ready = {}, {}, threading.Barrier(4)

    def follow(name):
        ready.wait()
        with open(tmp_path / name) as pipe:
            opened[name] = pipe.readline()
            read[name] = opened[name] + pipe.read()

    names = {"--json": "pipe.jsonl", "--csv": "pipe.csv", "--coco": "pipe.json"}
    for name in names.values():
        os.mkfifo(tmp_path / name)
    threads = [threading.Thread(target=follow, args=(name,), daemon=True) for name in names.values()]
    for thread in threads:
        thread.start()
    ready.wait()
    options = [part for option, name in names.items() for part in (option, tmp_path / name)]
    run("--input", folder, "--output", tmp_path / "o", *options)
    for thread in threads:
        thread.join(10)
    run("--input", folder, "--output", tmp_path / "p", "--csv", tmp_path / "p.csv", "--coco", tmp_path / "p.json")
    assert read["pipe.jsonl"] == (tmp_path / "p" / "detections.jsonl").read_text()
    assert read["pipe.csv"] == (tmp_path / "p.csv").read_text()
    assert read["pipe.json"] == (tmp_path / "p.json").read_text()
    assert all((tmp_path / name).is_fifo() for name in names.values())


def test_a_film_through_a_link(folder, tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "link.mp4").symlink_to("films/a")
    run("--input", folder, "--output", tmp_path / "link.mp4")
    assert (tmp_path / "link.mp4").is_symlink() and os.listdir(tmp_path / "films") == ["a"]


def test_impossible_outputs_are_refused_before_the_run(folder, tmp_path):
    def never():
        raise AssertionError("the detector was made")

    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "inside").mkdir()
    before = sorted(os.listdir(tmp_path))
    for options, message in (
        (["--output", tmp_path / "pipe.mp4"], "a video cannot be written to a pipe; give the name of a file"),
        (["--json", tmp_path / "inside"], "inside: is a folder; give the name of a file"),
        (["--json", "/dev/zero"], "/dev/zero: is a device or socket"),
        (["--json", tmp_path / "a", "--csv", tmp_path / "inside/../a"], "a: is given for two outputs; give each its"),
        (["--json", tmp_path / "pipe", "--resume"], "--resume: .*pipe cannot be continued; give the name of a file"),
    ):
        options = ["--output", tmp_path / "o", *options] if "--output" not in options else options
        with pytest.raises(InputError, match=message):
            run("--input", folder, *options, make=never)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("output", ["film.mp4", "folder"])
def test_a_second_demo_on_the_same_output_is_refused(folder, tmp_path, output):
    def twice(frames):
        with pytest.raises(InputError, match=f"{output}: process {os.getpid()} on .* is writing it"):
            run("--input", folder, "--output", tmp_path / output)
        yield from moving_box(frames)

    (summary,) = run("--input", folder, "--output", tmp_path / output, make=lambda: twice)
    assert summary.finished == 12 and sorted(os.listdir(tmp_path)) == ["clip", output]


@pytest.mark.parametrize("options", [
    ["--csv", "x", "--mot", "x"],
    ["--cvat", "x", "--mot", "x"],
    ["--csv", "o/000001.jpg"],
    ["--csv", "o/run.json"],
    ["--csv", "o/animation.gif"],
    ["--imagenet", "y/classes.txt", "--yolo", "y"],
    ["--imagenet", "y/clip/000001.txt", "--yolo", "y"],
    ["--csv", "clip/000003.JPEG"],
    ["--json", "WEIGHTS"],
    ["--report", "CFG"],
])  # fmt: skip
def test_outputs_replace_neither_inputs_nor_each_other(folder, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    for name in ("WEIGHTS", "CFG"):
        (tmp_path / name).write_text("kept")
    with pytest.raises(InputError, match=r"choose another|give each its own file"):
        run("--input", folder, "--output", "o", "--weights", "WEIGHTS", "--cfg", "CFG", *options, make=None)
    assert sorted(os.listdir(tmp_path)) == ["CFG", "WEIGHTS", "clip"]
