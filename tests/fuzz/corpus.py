"""Small valid inputs of every kind, which the fuzzer damages: datasets, media, annotations, weights, results."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from lib.cli.demo import run_demo
from lib.config import load_config
from lib.dataset import motion
from lib.dataset.exporting import command
from lib.dataset.index import build_index
from lib.dataset.lists import read_image_ids
from lib.eval import rescore, vid_map
from lib.eval.detections import DetectionTable, write_detections
from lib.methods import METHODS
from lib.minivid.settings import Settings
from lib.minivid.write import generate
from lib.nets import params, sizes
from lib.training.fit import Interrupted
from lib.training.train import train
from tests import tiny
from tests.dataset.importing.imported import put_film, put_frames
from tests.nets.convert.caffemodel import model

FRAMES = 4  # of every clip


def make(root: Path) -> None:
    """Writes the corpus to the folder `root`, one folder per kind."""
    root.mkdir(parents=True)
    generate(root / "data", Settings(1, 2, 2, FRAMES, 64, 96), workers=1, progress=False)
    still = root / "data/Annotations/DET/train/still.xml"
    still.parent.mkdir(parents=True)
    shutil.copy(min((root / "data/Annotations/VID/train").rglob("*.xml")), still)
    _media(root / "media")
    _annotations(root / "import")
    _networks(root / "net", root / "data")
    _results(root / "results", root / "data")
    _weights_of_others(root / "convert")
    _earlier_run(root)
    (root / "minivid").mkdir()
    Settings(1, 1, 1, 12, 64, 96).write(root / "minivid")
    _stopped_training(root)


def _media(folder: Path) -> None:
    frames = tiny.clip(FRAMES)
    clip = folder / "clip 0"
    clip.mkdir(parents=True)
    for number, (frame, suffix) in enumerate(zip(frames, ("png", "jpg", "bmp", "webp"))):
        Image.fromarray(frame[:, :, ::-1]).save(clip / f"{number:06d}.{suffix}")
    for suffix in ("mp4", "mkv", "avi", "mov"):
        put_film(folder / f"film.{suffix}", FRAMES)
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(folder / "film.gif", save_all=True, append_images=pictures[1:])


def _annotations(folder: Path) -> None:
    """Two videos, a and b, with one object each, for every importer."""
    media = folder / "media"
    names = ("a", "b")
    for name in names:
        put_frames(media / name, FRAMES)
        boxes = "".join(
            f'<box frame="{frame}" xtl="{5 + frame}.5" ytl="6" xbr="30" ybr="40" outside="0" occluded="0" '
            'keyframe="1"/>\n'
            for frame in (0, FRAMES - 1)
        )
        text = (
            f"<annotations>\n<meta><task><name>{name}</name><size>{FRAMES}</size><start_frame>0</start_frame>"
            f"<labels><label><name>cat</name></label></labels><source>{name}</source></task></meta>\n"
            f'<track id="0" label="cat">\n{boxes}</track>\n</annotations>\n'
        )
        (folder / f"{name}.xml").write_text(text)
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("annotations.xml", text)
        labels = folder / "labels" / name
        labels.mkdir(parents=True)
        for frame in range(FRAMES):
            (labels / f"{frame:06d}.txt").write_text("0 0.5 0.5 0.25 0.5 1\n")
        sequence = folder / "mot" / name
        put_frames(sequence / "img1", FRAMES)
        (sequence / "gt").mkdir()
        rows = [f"{frame},1,5.5,6,20,30,1,1,0.9\n" for frame in range(1, FRAMES + 1)]
        (sequence / "gt" / "gt.txt").write_text("".join(rows))
        (sequence / "seqinfo.ini").write_text("[Sequence]\nimDir=img1\n")
    (folder / "names.txt").write_text("cat\n")
    (folder / "data.yaml").write_text("names: {0: cat}\n")
    images, annotations = [], []
    for video, name in enumerate(names, 1):
        for frame in range(FRAMES):
            number = len(images) + 1
            place = {"id": number, "video_id": video, "frame_id": frame, "file_name": f"{name}/{frame:06d}.jpg"}
            images.append({**place, "width": 64, "height": 48})
            thing = {"id": number, "image_id": number, "category_id": 1, "bbox": [5.5, 6, 20, 30], "track_id": 1}
            annotations.append({**thing, "iscrowd": 0, "occluded": False})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    content["videos"] = [{"id": video, "name": name} for video, name in enumerate(names, 1)]
    (folder / "coco.json").write_text(json.dumps(content))
    content["videos"] = [{**video, "name": f"val {video['name']}"} for video in content["videos"]]
    (folder / "val.json").write_text(json.dumps(content))


def _networks(folder: Path, data: Path) -> None:
    """For each method: settings, weights for testing and those that training starts from, ranges for int8."""
    for name, method in METHODS.items():
        place = folder / name / "cfgs"
        place.mkdir(parents=True)
        path = tiny.write_experiment(place, data, name, TEST={"KEY_FRAME_INTERVAL": 1, "SCORE_THRESH": 0.0})
        content = yaml.safe_load(path.read_text())
        content["dataset"] |= {"dataset_path": "in/data", "CLASSES": "in/data/classes.txt"}
        content["network"] |= {
            f"pretrained{end}": f"in/net/{name}/cfgs/{start}" for end, start in (("", "backbone"), ("_flow", "flow"))
        }
        known = method.schema.tree["network"]
        content["network"] = {key: value for key, value in content["network"].items() if key in known}
        content["TRAIN"] |= {"end_epoch": 1, "SHUFFLE": False}
        content["TEST"]["test_epoch"] = 1
        content["output_path"] = "output"
        path.write_text(yaml.safe_dump(content))
        cfg = load_config(path, schema=method.schema)
        args, auxs = tiny.weights(cfg, name)
        params.save(place / "net-0000.params", args, auxs)
    for name in set(METHODS) - {"rfcn"}:  # the baseline of --explain
        for file, other in (("rfcn.yaml", "rfcn.yaml"), ("net-0000.params", "rfcn-0000.params")):
            shutil.copy(folder / "rfcn/cfgs" / file, folder / name / "cfgs" / other)


def _results(folder: Path, data: Path) -> None:
    """Detections near the objects of the val split in every format, and two evaluations of them."""
    folder.mkdir()
    image_set = data / "ImageSets" / "VID_val_frames.txt"
    classes = vid_map.ClassList.of_dataset(data)
    ids = read_image_ids(image_set)
    index = build_index(data / "Annotations" / "VID", ids, classes, progress=False)
    frames = np.repeat(np.arange(1, len(ids) + 1), np.diff(index.offsets))
    rng = np.random.default_rng(0)
    table = DetectionTable(
        frames.astype(np.int64), index.classes, rng.uniform(0.1, 1, len(frames)), index.boxes.astype(np.float64)
    )
    for suffix in ("txt", "txt.gz", "npy"):
        write_detections(folder / f"detections.{suffix}", table)
    where = ["--annotations", str(data / "Annotations" / "VID"), "--image-set", str(image_set)]
    given = ["--detections", str(folder / "detections.txt"), "--cache", str(folder / "cache")]
    with contextlib.redirect_stdout(io.StringIO()):
        vid_map.main([*given, *where, "--json", str(folder / "a.json")])
        rescore.main([*given[:2], *where[2:], "--out", str(folder / "rescored.txt")])
        vid_map.main(
            ["--detections", str(folder / "rescored.txt"), *given[2:], *where, "--json", str(folder / "b.json")]
        )
        command.main(["--format", "coco", "--root", str(data), "--out", str(folder / "coco.json")])
    shutil.rmtree(folder / "cache")
    values = motion.per_frame(index, motion.motion_iou(index))
    for suffix in ("json", "mat"):
        motion.save(folder / f"motion.{suffix}", ids, values)


def _earlier_run(root: Path) -> None:
    """The output of a demo that was interrupted after two frames. It records the full path of its input."""
    case = root.parent / "work" / "case"
    shutil.copytree(root, case / "in")
    os.chdir(case)
    method = METHODS["rfcn"]
    net = "in/net/rfcn/cfgs"
    given = ["--cfg", f"{net}/rfcn.yaml", "--weights", f"{net}/net-0000.params", "--input", "in/media/clip 0"]
    written = [
        "--output",
        "in/earlier",
        "--csv",
        "in/earlier/d.csv",
        "--coco",
        "in/earlier/c.json",
        "--track",
        "--threshold",
        "0.1",
    ]
    run_demo([*given, *written], method)
    lines = (case / "in/earlier/detections.jsonl").read_text().splitlines(keepends=True)
    (case / "in/earlier/detections.jsonl").write_text("".join(lines[:2]))
    shutil.copytree(case / "in/earlier", root / "earlier")


def _stopped_training(root: Path) -> None:
    """For each method, a training that was stopped in its second epoch: two checkpoints, losses and settings."""
    for name in METHODS:
        cfg = f"in/net/{name}/cfgs/{name}.yaml"
        stopped = tiny.After(3 * FRAMES)  # an epoch has 2 * FRAMES steps
        method, settings = METHODS[name], load_config(cfg, ["TRAIN.end_epoch=2"], METHODS[name].schema)
        folder = root / "trained" / name / "Tiny" / name / "VID_train_15frames"
        with contextlib.suppress(Interrupted):
            train(settings, method, folder, stopped=stopped)
        for part in ("tiny-0001", "tiny-latest"):
            assert (folder / f"{part}.state.npz").is_file() and (folder / f"{part}.params").is_file()


def _weights_of_others(folder: Path) -> None:
    """A FlowNet-S of Caffe, and, where the packages are installed, of PyTorch in both formats."""
    folder.mkdir()
    cfg = tiny.settings("fgfa_rfcn")
    net = sizes.flownet(cfg)
    args, _ = tiny.weights(cfg, "fgfa_rfcn")
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, value in args.items():
        layer, _, what = name.rpartition("_")
        if layer.startswith(("flow_conv", "conv", "Convolution", "deconv", "upsample")) and what in ("weight", "bias"):
            layers.setdefault(layer.removeprefix("flow_") if layer == "flow_conv1" else layer, {})[what] = value
    kept = {name: [part["weight"], part["bias"]] for name, part in layers.items() if len(part) == 2}
    (folder / "flow.caffemodel").write_bytes(model(kept))
    if importlib.util.find_spec("torch"):
        from tests.nets.convert.torch_networks import FlowNetS, torch

        state = FlowNetS(net).state_dict()
        torch.save({"state_dict": state}, folder / "flow.pth")
        if importlib.util.find_spec("safetensors"):
            from safetensors.torch import save_file

            save_file(state, folder / "flow.safetensors")
