from __future__ import annotations

import json
import logging

import av
import cv2
import pytest
from PIL import Image

from lib.errors import InputError
from tests.cli.demo_runs import moving_box, records, run, write_clip


def test_everything_lands_in_the_default_folder(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        (summary,) = run("--input", folder)
    out = tmp_path / "output" / "demo" / "fake" / "clip"
    names = {f"{i:06d}.JPEG" for i in range(12)}
    assert {path.name for path in out.iterdir()} == names | {"detections.jsonl", "animation.gif", "run.json"}
    assert summary.finished == 12
    picture = cv2.imread(str(out / "000003.JPEG"))
    assert picture.shape == (90, 120, 3)
    assert picture[60, 25, 2] > 200 and picture[60, 25, 0] < 90  # the lower edge of the cat's box, red
    assert abs(int(picture[80, 100, 1]) - 127) < 4
    assert records(out / "detections.jsonl")[3]["detections"] == [
        {"class": "cat", "class_id": 1, "score": 0.9, "box": [13.0, 30.0, 43.0, 60.0]}
    ]
    with Image.open(out / "animation.gif") as animation:
        assert animation.n_frames == 12
    assert (
        "12 frames" in caplog.text
        and "s per frame" in caplog.text
        and "output/demo/fake/clip/animation.gif" in caplog.text
    )


def test_a_run_that_finds_nothing_says_so_and_what_the_weights_know(folder, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run("--input", folder, "--output", tmp_path / "a.mp4", "--threshold", "0.95")
    assert "12 frames, 0 boxes" in caplog.text
    assert "at least 0.95; lower --threshold" in caplog.text and "these detect cat, dog" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run("--input", folder, "--output", tmp_path / "b.mp4", "--threshold", "0.2")
    assert "12 frames, 24 boxes" in caplog.text and "no box" not in caplog.text


def test_film_and_files_and_folder_at_once(folder, tmp_path):
    places = {name: tmp_path / "files" / name for name in ("d.jsonl", "d.csv", "d.txt", "d.json")}
    run(
        "--input", folder, "--output", tmp_path / "o", tmp_path / "a.mp4", "--json", places["d.jsonl"],
        "--csv", places["d.csv"], "--imagenet", places["d.txt"], "--coco", places["d.json"],
        "--frames", "2:10:2", "--threshold", "0.2", "--classes", "n2,CAT", "--animation", "webp", "--zoom", 2,
    )  # fmt: skip
    assert {path.name for path in (tmp_path / "files").iterdir()} == set(places)
    assert [row["frame"] for row in records(places["d.jsonl"])] == [f"{i:06d}.JPEG" for i in (2, 4, 6, 8)]
    assert len(json.loads(places["d.json"].read_text())) == 8
    assert len(places["d.csv"].read_text().splitlines()) == 9
    assert places["d.txt"].read_text().splitlines()[0].startswith("3 1 0.9000 ")
    assert cv2.imread(str(tmp_path / "o" / "000002.JPEG")).shape == (180, 240, 3)
    with av.open(str(tmp_path / "a.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.frames, stream.average_rate, stream.width) == (4, 25, 240)


def test_report_has_every_frame_and_detection(folder, tmp_path, capsys):
    run("--input", folder, "--output", tmp_path / "o", "--report", tmp_path / "r.html", "--threshold", "0.2", "--track")
    data = json.loads((tmp_path / "r.html").read_text().split('id="data">')[1].split("</script>")[0])
    (clip,) = data["clips"]
    assert (data["truth"], len(clip["frames"]), len(clip["images"])) == (False, 12, 12)
    rows = records(tmp_path / "o" / "detections.jsonl")
    expected = [[[d["class_id"] - 1, d["score"], *d["box"], -1, d["track"]] for d in row["detections"]] for row in rows]
    assert clip["detections"] == [expected]
    with pytest.raises(InputError, match="--report needs all frames of a whole run; leave out --resume and --live"):
        run("--input", folder, "--output", tmp_path / "o", "--report", tmp_path / "r.html", "--resume")


def test_film_goes_in_and_comes_out_at_its_rate(folder, tmp_path):
    run("--input", folder, "--output", tmp_path / "a.mp4", "--fps", "12")
    run("--input", tmp_path / "a.mp4", "--output", tmp_path / "b.mp4", tmp_path / "o")
    with av.open(str(tmp_path / "b.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.frames, stream.average_rate, stream.width, stream.height) == (12, 12, 120, 90)
    assert (tmp_path / "o" / "000011.jpg").exists()


def test_several_clips_get_a_place_each(folder, tmp_path):
    other = write_clip(tmp_path / "other", ["a.png", "b.png"])
    summaries = run("--input", folder, other, "--output", tmp_path / "o", "--csv", tmp_path / "d.csv")
    assert [(summary.clip, summary.finished) for summary in summaries] == [("clip", 12), ("other", 2)]
    assert (tmp_path / "o" / "other" / "b.png").exists() and (tmp_path / "o" / "clip" / "animation.gif").exists()
    assert (tmp_path / "d-clip.csv").exists() and (tmp_path / "d-other.csv").exists()


def test_tracks_begin_anew_in_each_clip_and_are_told_everywhere(folder, tmp_path):
    other = write_clip(tmp_path / "other", [f"{i}.png" for i in range(3)])
    places = [tmp_path / name for name in ("d.jsonl", "d.csv", "d.json")]
    run(
        "--input", folder, other, "--output", tmp_path / "o", "--threshold", "0.2", "--track",
        "--json", places[0], "--csv", places[1], "--coco", places[2],
    )  # fmt: skip
    for clip, frames in (("clip", 12), ("other", 3)):
        lines, table, coco = (place.with_name(f"{place.stem}-{clip}{place.suffix}") for place in places)
        numbers = [[found["track"] for found in row["detections"]] for row in records(lines)]
        assert numbers == [[1, 2]] * frames
        assert [row.split(",")[-1] for row in table.read_text().splitlines()] == ["track"] + ["1", "2"] * frames
        assert [row["track_id"] for row in json.loads(coco.read_text())] == [1, 2] * frames
    with pytest.raises(InputError, match="track was True and is now False"):
        run("--input", folder, other, "--output", tmp_path / "o", "--threshold", "0.2", "--resume")


def test_pictures_play_as_if_live(folder, tmp_path, caplog):
    options = ("--input", folder, "--output", tmp_path / "o", "--live", "--fps", "200")
    with caplog.at_level(logging.INFO):
        (summary,) = run(*options)
    assert summary.dropped is not None and summary.finished + summary.dropped == 12
    assert f"{summary.dropped} of 12 dropped to keep up" in caplog.text
    assert not (tmp_path / "o" / "animation.gif").exists()
    with pytest.raises(InputError, match="is live"):
        run(*options, "--resume")


def test_interrupt_of_a_live_clip_leaves_the_others_alone(folder, tmp_path):
    def interrupted(frames):
        for number, found in enumerate(moving_box(frames)):
            if number == 2:
                raise KeyboardInterrupt
            yield found

    other = write_clip(tmp_path / "other", ["a.png"])
    options = ("--input", folder, other, "--output", tmp_path / "o", "--live", "--fps", "50")
    (summary,) = run(*options, make=lambda: interrupted)
    assert (summary.clip, summary.finished, summary.stopped) == ("clip", 2, True)
    assert len(records(tmp_path / "o" / "clip" / "detections.jsonl")) == 2 and not (tmp_path / "o" / "other").exists()


def test_resume_needs_the_same_settings(folder, tmp_path):
    broken = (folder / "000007.JPEG").read_bytes()
    (folder / "000007.JPEG").write_bytes(broken[:-50])
    options = ("--input", folder, "--output", tmp_path / "o")
    with pytest.raises(InputError, match=r"000007\.JPEG.*7 of 12 frames are finished"):
        run(*options)
    assert not (tmp_path / "o" / "animation.gif").exists()
    (folder / "000007.JPEG").write_bytes(broken)
    with pytest.raises(InputError, match=r"threshold was 0\.5 and is now 0\.4"):
        run(*options, "--resume", "--threshold", "0.4")
    (summary,) = run(*options, "--resume")
    assert (summary.finished, summary.worked) == (12, 5)
    assert [row["index"] for row in records(tmp_path / "o" / "detections.jsonl")] == list(range(12))
    with Image.open(tmp_path / "o" / "animation.gif") as animation:
        assert animation.n_frames == 12
    (summary,) = run(*options, "--resume")
    assert (summary.finished, summary.worked) == (12, 0)


def test_no_labels(folder, tmp_path):
    run("--input", folder, "--output", tmp_path / "a", "--frames", "0")
    run("--input", folder, "--output", tmp_path / "b", "--frames", "0", "--no-labels")
    counts = [int((cv2.imread(str(tmp_path / name / "000000.JPEG"))[..., 2] > 200).sum()) for name in ("a", "b")]
    assert counts[0] > counts[1] + 200
