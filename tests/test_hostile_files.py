"""Files that no tool wrote: each is refused with one line before it costs memory, time or more."""

from __future__ import annotations

import importlib
import json
import os
import re
import struct
import sys
import types
import warnings
import zipfile
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from lib.backends.mxnet.loader import select
from lib.config import make_config
from lib.dataset import check, image, lists
from lib.dataset.annotation import read_annotation
from lib.dataset.importing import coco, cvat, cvat_xml, mot, yolo
from lib.dataset.importing.frames import ImageFiles
from lib.errors import InputError, quoted
from lib.files import sha256
from lib.inference.detect import detections_of
from lib.methods import METHODS
from lib.nets import params
from lib.nets.convert.torch_file import read_state
from lib.video.clips import open_clips, parse_frames
from lib.video.sources import VideoStream
from tests import tiny
from tests.dataset.annotations import GOOD, xml
from tests.dataset.importing.imported import failure, put_film, put_frames
from tests.tiny import refused, run_script


def test_weights_that_are_not_finite(tmp_path):
    good = {"a": np.ones(3), "b": np.ones(2)}
    for value in (np.nan, np.inf, -np.inf):
        params.save(tmp_path / "x.params", {**good, "c": np.array([1, value])}, {})
        with pytest.raises(InputError, match=r"x\.params: 1 arrays are not finite, first c"):
            params.load(tmp_path / "x.params")
    assert np.isinf(params.load(tmp_path / "x.params", finite=False)[0]["c"][1])
    outputs = np.zeros((2, 5)), np.array([[0.5, np.nan]] * 2), np.zeros((2, 8))
    with pytest.raises(InputError, match="produced NaN or infinity"):
        detections_of(*outputs, np.array([10, 10, 1]), tiny.settings().TEST)


@pytest.mark.parametrize("ranges", [[[1, 0]], [[0, float("nan")]], [[0, 1e300]], [[0]], [0], {"a": 1}, [["0", "1"]]])
def test_ranges_for_int8(tmp_path, ranges):
    precision = pytest.importorskip("lib.backends.mxnet.precision")
    (tmp_path / "x.params").write_bytes(b"x")
    content = {"weights_sha256": sha256(tmp_path / "x.params"), "ranges": {"features": ranges}}
    (tmp_path / "x.int8.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"x\.int8\.json"):
        precision.Int8.load(tmp_path / "x.params", None)


@pytest.mark.parametrize("version", ["/tmp", "../mxnet", "a/b", ".", "..", "x" + os.sep])
def test_mxnet_is_named_plainly(version):
    with pytest.raises(InputError, match="must be the plain name of a folder"):
        select(version)


@pytest.mark.parametrize(
    "section, key",
    [("dataset", "dataset"), ("dataset", "image_set"), ("dataset", "test_image_set"), ("TRAIN", "model_prefix")],
)
@pytest.mark.parametrize("name", ["../../x", "/etc/x", "..", ""])
def test_names_in_settings(section, key, name):
    with pytest.raises(InputError, match=rf"{section}\.{key} is "):
        make_config({section: {key: name}})


@pytest.mark.parametrize("name", ["../../x", "/etc/x", ".."])
def test_the_list_to_validate_on_is_one_of_the_dataset(name):
    with pytest.raises(InputError, match=r"TRAIN\.VALIDATE_SET is "):
        make_config({"TRAIN": {"VALIDATE_SET": name}})
    assert make_config({"TRAIN": {"VALIDATE_SET": ""}}).TRAIN.VALIDATE_SET == ""


@pytest.mark.parametrize("prefix", ["../x/backbone", "/tmp/x/backbone"])
def test_a_settings_file_does_not_choose_where_pretraining_writes(tmp_path, monkeypatch, capsys, prefix):
    monkeypatch.chdir(tmp_path)
    text = (tiny.ROOT / METHODS["rfcn"].bundled.cfg).read_text()
    cfg = tmp_path / "experiments/rfcn/cfgs/a.yaml"
    cfg.parent.mkdir(parents=True)
    cfg.write_text(re.sub("pretrained: .*", f"pretrained: {prefix}", text))
    line = refused(capsys, "experiments/minivid/pretrain.py", "backbone", "--cfg", cfg)
    assert "a.yaml: network.pretrained says where to write; to do so anywhere, use --set" in line
    assert os.listdir(tmp_path) == ["experiments"]


@pytest.mark.parametrize(
    "given",
    [
        {"SCALES": [600, 10**6]},
        {"TRAIN": {"SEED": -1}},
        {"TRAIN": {"lr": 10**308}},
        {"gpus": "9" * 5000},
        {"TEST": {"test_epoch": 2**40}},
    ],
)
def test_numbers_in_settings(given):
    with pytest.raises(InputError) as raised:
        make_config(given)
    assert len(str(raised.value)) < 400


def test_lists_with_too_many_frames_or_paths_outside(tmp_path):
    path = tmp_path / "VID_val_videos.txt"
    for line, problem in {
        "val/x 1 0 99999999999": "a number is larger than",
        "val/x 1 0 3000000": "more than 2000000 frames",
        "../../etc/x 1 0 5": "leaves the dataset's folder",
        "/etc/x 1 0 5": "leaves the dataset's folder",
    }.items():
        path.write_text(f"{line}\n")
        with pytest.raises(InputError, match=problem):
            lists.read_image_ids(path)


@pytest.mark.parametrize("name", ["clip 0", "a\nb", "\udcff"])
def test_clips_that_no_list_can_hold(tmp_path, capsys, name):
    put_frames(tmp_path / "Data/VID/val/a", 2, "{:06d}.JPEG")  # OpenCV crashes on the name itself
    (tmp_path / "Data/VID/val/a").rename(tmp_path / "Data/VID/val" / name)
    assert "cannot be in a list; rename the folder" in failure(lists.main, capsys, "--root", tmp_path)


def test_annotations(tmp_path):
    path = tmp_path / "a.xml"
    for text, problem in {
        xml([("c1", 1, 1, "1e300", 5, GOOD)]): "<xmax> is '1e300'; write a number of at most 16777216",
        xml([("c1", 1, 1, 5, 5, "<trackid>" + "9" * 5000 + "</trackid>")]): "not a track id",
        '<!DOCTYPE a [<!ENTITY a "x">]>' + xml(): "XML with a <!DOCTYPE>",
        "<a>" * 100000: "broken XML",
    }.items():
        path.write_text(text)
        with pytest.raises(InputError, match=problem) as raised:
            read_annotation(path)
        assert len(str(raised.value)) < 500


def test_frame_numbers_of_any_size_do_not_hang_the_check(tmp_path):
    for part, suffix in (("Data", "JPEG"), ("Annotations", "xml")):
        (tmp_path / part / "VID/val/a").mkdir(parents=True)
        for stem in ("000000", "9" * 18, "²"):
            path = tmp_path / part / "VID/val/a" / f"{stem}.{suffix}"
            if suffix == "xml":
                path.write_text(xml([("n02691156", 1, 1, 5, 5, GOOD)], 64, 48))
            else:
                cv2.imwrite(str(tmp_path / "x.jpg"), np.zeros((48, 64, 3), np.uint8))
                (tmp_path / "x.jpg").rename(path)
    with pytest.raises(SystemExit) as left:
        check.main(["--root", str(tmp_path), "--workers", "1"])
    assert left.value.code == 1


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg"])
def test_coco_files_outside_their_folder(tmp_path, name):
    put_frames(tmp_path / "media/a", 1)
    images = [{"id": 1, "file_name": name, "video_id": 1, "frame_id": 0}]
    content = {"images": images, "annotations": [], "categories": [], "videos": [{"id": 1, "name": "a"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="is not inside"):
        coco.read([tmp_path / "a.json"], tmp_path / "media")


@pytest.mark.parametrize("key, value", [("video_id", [1]), ("track_id", "nan"), ("bbox", [0, 0, 1e300, 1])])
def test_coco_values(tmp_path, key, value):
    put_frames(tmp_path / "media/a", 1)
    images = [{"id": 1, "file_name": "a/000000.jpg", "video_id": 1, "frame_id": 0}]
    annotations = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "track_id": float("nan")}]
    (images if key == "video_id" else annotations)[0][key] = float(value) if value == "nan" else value
    annotations[0] = {**annotations[0], "track_id": 1} if key != "track_id" else annotations[0]
    videos = [{"id": 1, "name": "a"}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "c"}], "videos": videos}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a\.json"):
        coco.read([tmp_path / "a.json"], tmp_path / "media")


def test_cvat_tasks_without_end(tmp_path):
    put_frames(tmp_path / "media/a", 2)
    text = "<annotations><meta><task><size>{}</size><source>a</source></task></meta></annotations>"
    for size, problem in {"99999999999": "more than 200000 frames", "3": "2 images, but"}.items():
        (tmp_path / "a.xml").write_text(text.format(size))
        with pytest.raises(InputError, match=problem):
            cvat.read([tmp_path / "a.xml"], tmp_path / "media")
    (tmp_path / "a.xml").write_text('<!DOCTYPE a [<!ENTITY a "x">]>' + text)
    with pytest.raises(InputError, match="XML with a <!DOCTYPE>"):
        cvat.read([tmp_path / "a.xml"], tmp_path / "media")


@pytest.mark.parametrize(
    "inner, problem",
    [
        ("\n" * 2**21, "a text of more than 1048576 characters"),
        (f"<a b='{'x' * 2**21}'/>", "a tag of more than 1048576 bytes"),
        (f"<!--{'x' * 2**21}-->", "a tag of more than 1048576 bytes"),
        ("<a>" * 200, "elements nested more than 100 deep"),
        ("<meta>" + "<task/>" * 60 + "</meta>", "more than 50 elements"),
        ("<label/>" * 60, "more than 50 elements"),
    ],
    ids=["text", "attribute", "comment", "depth", "tasks", "labels"],
)
def test_cvat_files_that_would_fill_the_memory(tmp_path, monkeypatch, inner, problem):
    monkeypatch.setattr(cvat_xml, "MOST_ELEMENTS", 50 if "50" in problem else 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", f"<annotations>{inner}</annotations>")
    with pytest.raises(InputError, match=rf"a\.zip:\d+: {problem}"):
        cvat_xml.parse(tmp_path / "a.zip")


def test_cvat_tasks_of_many_frames_in_all(tmp_path, monkeypatch):
    put_film(tmp_path / "media/a.mp4", 2)
    task, track = (
        "<task><id>{0}</id><size>2</size><source>a.mp4</source></task>",
        "<track id='1' label='a' task_id='{0}'>",
    )
    box = "<box frame='0' xtl='1' ytl='1' xbr='9' ybr='9' outside='0' occluded='0'/></track>"
    text = "".join(map(task.format, range(3))), "".join(map((track + box).format, range(3)))
    (tmp_path / "a.xml").write_text(
        "<annotations><meta><project><tasks>{}</tasks></project></meta>{}</annotations>".format(*text)
    )
    assert len(cvat.read([tmp_path / "a.xml"], tmp_path / "media").videos) == 3
    for name, problem in {"MOST_FRAMES": "more than 5 frames in all", "MOST_BOXES": "more than 5 boxes"}.items():
        with monkeypatch.context() as patch, pytest.raises(InputError, match=problem):
            patch.setattr(cvat, name, 5)
            cvat.read([tmp_path / "a.xml"], tmp_path / "media")


def test_importing_an_image_that_is_too_large_is_one_message(tmp_path):
    """Pillow warns of such a size on two more lines."""
    for side in (9900, 20000):
        Image.new("1", (side, side)).save(tmp_path / "a.png")
        with warnings.catch_warnings(), pytest.raises(InputError, match=r"a\.png: .*too large, the limit is"):
            warnings.simplefilter("error")
            ImageFiles([tmp_path / "a.png"]).size(0)


def test_mot_folders_outside(tmp_path):
    (tmp_path / "a/gt").mkdir(parents=True)
    (tmp_path / "a/seqinfo.ini").write_text("[Sequence]\nimDir=../../etc\n")
    with pytest.raises(InputError, match="is not inside"):
        mot.read(tmp_path)


@pytest.mark.parametrize("size", [(9000, 9000), (70000, 10), (14000, 14000)])
def test_pictures_that_are_too_large(tmp_path, size):
    Image.new("1", size).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: .*too large"):
        image.read(tmp_path / "a.png")


def test_a_film_cut_inside_its_header_and_one_with_a_strange_title(tmp_path):
    content = put_film(tmp_path / "a.mov", 3).read_bytes()
    refusals = 0
    for place in range(content.index(b"moov"), len(content), 7):
        (tmp_path / "b.mov").write_bytes(content[:place] + b"\xff" * (len(content) - place))
        try:
            for _ in VideoStream.probe(str(tmp_path / "b.mov")).read(range(9)):
                pass
        except InputError:
            refusals += 1
    assert refusals > 20
    riff = bytearray(put_film(tmp_path / "a.avi", 3).read_bytes())
    title = b"LIST" + (20).to_bytes(4, "little") + b"INFOINAM" + (8).to_bytes(4, "little") + b"K\xe4se\0\0\0\0"
    place = riff.index(b"LIST", riff.index(b"strl"))
    riff[place:place] = title
    riff[4:8] = (len(riff) - 8).to_bytes(4, "little")
    (tmp_path / "title.avi").write_bytes(riff)
    frames = list(VideoStream.probe(str(tmp_path / "title.avi")).read(range(9)))
    assert len(frames) == 3


def test_links_and_pipes_among_pictures(tmp_path):
    put_frames(tmp_path / "a", 2)
    (tmp_path / "a/000002.jpg").symlink_to("nowhere")
    (clip,) = open_clips([str(tmp_path / "a")])
    with pytest.raises(InputError, match=r"000002\.jpg: cannot read the image: No such file"):
        list(clip)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match=r"pipe\.mp4: .*a pipe, device or socket"):
        open_clips([str(tmp_path / "pipe.mp4")])
    with pytest.raises(InputError, match="write START:STOP"):
        parse_frames("9" * 30)


@pytest.mark.parametrize("version, fine", [("1.13.1", False), ("2.5.1+cpu", False), ("2.6.0", True), ("2.13.0", True)])
def test_files_of_pytorch_need_a_safe_version(tmp_path, monkeypatch, version, fine):
    stand_in = types.SimpleNamespace(__version__=version, load=lambda *_, **__: 0)
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    (tmp_path / "a.pth").write_bytes(b"x")
    with pytest.raises(InputError, match="holds a int" if fine else "install 2.6 or later"):
        read_state(tmp_path / "a.pth")


def test_safetensors(tmp_path):
    safe = pytest.importorskip("safetensors.numpy")
    safe.save_file({"module.a": np.ones(2, np.float16)}, tmp_path / "a.safetensors")
    state, beside = read_state(tmp_path / "a.safetensors")
    assert state["a"].dtype == np.float32 and not beside
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-1])
    with pytest.raises(InputError, match=r"b\.safetensors: not a \.safetensors file, or damaged"):
        read_state(tmp_path / "b.safetensors")


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ""])
def test_names_of_experiments_are_plain(capsys, name):
    with pytest.raises(SystemExit):
        run_script("experiments/rfcn/rfcn_test.py", "--cfg", "x", "--name", name)
    assert f"{quoted(name)}: use letters" in capsys.readouterr().err


def test_a_long_or_impossible_path(capsys, tmp_path):
    argv = ["rfcn/demo.py", "--output", tmp_path, "--input"]
    for given, problem in {"x" * 300: "File name too long", "~nobody/x": "no such|user who does not exist"}.items():
        line = refused(capsys, *argv, given)
        assert any(part in line for part in problem.split("|")), line


@pytest.mark.parametrize("command", [
    "lib.eval.report r.json --out o.html --lowest",
    "lib.eval.report r.json --out o.html --score",
    "lib.eval.errors r.json --score",
    "lib.cli.tracking --root r --results d --threshold",
])  # fmt: skip
@pytest.mark.parametrize("value", ["nan", "-1", "inf", "1.5"])
def test_scores_in_options(capsys, command, value):
    module, *argv = command.split()
    with pytest.raises(SystemExit) as left:
        importlib.import_module(module).main([*argv[:-1], f"{argv[-1]}={value}"])
    assert left.value.code == 2 and "is not a finite number from 0 to 1" in capsys.readouterr().err


def test_a_png_of_many_pixels_is_one_line(tmp_path, capsys):
    (path,) = put_frames(tmp_path / "media" / "a", 1, "{:06d}.png")
    content = path.read_bytes()
    header = content[12:16] + struct.pack(">2I", 9900, 9900) + content[24:29]
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    (tmp_path / "names.txt").write_text("cat\n")
    (tmp_path / "media/a/000000.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    given = ("--media", tmp_path / "media", "--labels", tmp_path / "media", "--names", tmp_path / "names.txt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "9900" in failure(yolo.main, capsys, *given, "--out", tmp_path / "out", "--val-share", 0)
