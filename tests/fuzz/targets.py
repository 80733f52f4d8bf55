"""The commands that are fuzzed, each with a valid command line, the files to damage and what a success must satisfy."""

from __future__ import annotations

import importlib
import importlib.util
import json
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib.eval.detections import read_detections
from tests.tiny import ROOT

METHODS = ("rfcn", "fgfa_rfcn", "dff_rfcn")


@dataclass(frozen=True)
class Target:
    """A command.

    file: its source, below the repository. argv: a valid command line; inputs are in in/, outputs belong in out/.
    needs: folders of the corpus. damage: patterns of the files below in/ to damage. more: further options, some of
    which are added. check: (case folder) -> what is wrong with a success, "" if nothing. slow: runs a network, so it is
    drawn less often. writes: patterns of files below in/ that it may write. amounts: options that may ask for hours of
    work, which is no failure. resumed: patterns of the files below in/ that a success must have made whole.
    """

    name: str
    file: str
    argv: str
    needs: tuple[str, ...]
    damage: tuple[str, ...]
    more: tuple[str, ...] = ()
    check: Callable[[Path], str] = lambda case: ""
    slow: bool = False
    writes: tuple[str, ...] = ()
    amounts: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()

    def main(self) -> Callable[[list[str]], None]:
        """The command, taking its arguments."""
        if self.file.startswith("lib/"):
            return importlib.import_module(self.file[:-3].replace("/", ".")).main
        return runpy.run_path(str(ROOT / self.file))["main"]


def _imported(case: Path) -> str:
    images, texts = (len(list((case / "out").rglob(f"*.{suffix}"))) for suffix in ("JPEG", "xml"))
    return "" if images == texts > 0 else f"{images} images and {texts} annotations"


def _not_more(case: Path) -> str:
    before = sum(len(read_detections([path])) for path in (case / "in/results").glob("detections.txt"))
    after = len(read_detections([case / "out/rescored.txt"]))
    return "" if after <= before else f"{after} detections from {before}"


def _evaluated(case: Path) -> str:
    content = json.loads((case / "out/r.json").read_text())
    figures = [value for row in content["mean"] for value in row]
    return "" if all(value == -1 or 0 <= value <= 1 for value in figures) else f"mAP {figures}"


def _exported(case: Path) -> str:
    content = json.loads((case / "out/coco.json").read_text())
    wanted = [len(list((case / "in/data/Data/VID" / split).rglob("*.JPEG"))) for split in ("val", ".")]
    found = len(content["images"])
    return "" if found in wanted else f"{found} images of {wanted}"


def _demo(case: Path) -> str:
    lines = (case / "out/detections.jsonl").read_text(errors="surrogateescape").splitlines()
    clips = [path for path in (case / "in/media/clip 0").iterdir() if not path.name.startswith(".")]
    frames = [path for path in clips if path.suffix in (".png", ".jpg", ".bmp", ".webp")]
    return "" if len(lines) in (len(frames), min(3, len(frames))) else f"{len(lines)} frames of {len(frames)}"


def _resumed(case: Path) -> str:
    frames = [json.loads(line) for line in (case / "in/earlier/detections.jsonl").read_text().splitlines()]
    found = [(frame["index"], frame["frame"]) for frame in frames]
    clip = case / "in/media/clip 0"
    return "" if found == list(enumerate(sorted(path.name for path in clip.iterdir()))) else f"frames {found}"


EVAL = "--annotations in/data/Annotations/VID --image-set in/data/ImageSets/VID_val_frames.txt"
SET = ("in/data/Annotations/**/*.xml", "in/data/ImageSets/*.txt", "in/data/classes.txt")
# These follow another setting: the fuzzer changes only the first.
ONE_EPOCH, RESUMED = "TRAIN.end_epoch=1", "TRAIN.end_epoch=2 output_path=in/trained"
RFCN = "--cfg in/net/rfcn/cfgs/rfcn.yaml --weights in/net/rfcn/cfgs/net-0000.params"
IMPORT = ("--val-share 0.5", "--seed 3", "--pictures copy", "--quality 80", "--classes in/data/classes.txt")
DEMO = (
    *("--threshold 0.3", "--frames 0:3", "--max-size 40", "--zoom 2", "--fps 5", "--classes 1", "--csv out/d.csv"),
    *("--coco out/c.json", "--imagenet out/i.txt", "--track", "--animation none", "--no-labels", "--report out/r.html"),
    *("--cvat out/t.xml", "--mot out/t.txt", "--yolo out/yolo", "--label-studio out/l.json"),
)
EXPLAIN = "--explain 0 2 --baseline rfcn in/net/{0}/cfgs/rfcn.yaml in/net/{0}/cfgs/rfcn-0000.params"
TORCH = ("--set backend=torch",) if importlib.util.find_spec("torch") else ()
DET = ("in/results/detections.txt", "in/data/ImageSets/VID_val_frames.txt")


def _network_targets(method: str) -> list[Target]:
    net = f"in/net/{method}/cfgs"
    given = f"--cfg {net}/{method}.yaml --weights {net}/net-0000.params"
    files = (f"{net}/{method}.yaml", f"{net}/net-0000.params")
    needs = (f"net/{method}", "data", "media")
    clip = f"{given} --input 'in/media/clip 0'"
    more = (*DEMO, *TORCH, *((EXPLAIN.format(method),) if method != "rfcn" else ()))
    films = " ".join(f"in/media/film.{suffix}" for suffix in ("mp4", "mkv", "avi", "mov", "gif"))
    test = f"experiments/{method}/{method}_test.py"
    train = f"experiments/{method}/{method}_end2end_train_test.py"
    stopped = f"in/trained/{method}/Tiny/{method}"
    found = [
        Target(f"{method} demo", f"{method}/demo.py", f"{clip} --output out --threshold 0.1", needs,
               (*files, "in/media/clip 0/*", "in/data/classes.txt"), more, check=_demo, slow=True),
        Target(f"{method} demo of films", f"{method}/demo_batch.py",
               f"{given} --output out --threshold 0.1 --input {films}", needs, ("in/media/film.*",),
               (*DEMO, "--live"), slow=True),
        Target(f"{method} demo of a pattern", f"{method}/demo.py",
               f"{given} --output out --threshold 0.1 --input 'in/media/**/*.png'", needs,
               ("in/media/*", "in/media/*/*"), ("--frames 0:3",), slow=True),
        Target(f"{method} test", test, f"{given} --output out", needs,
               (*files, *SET, "in/data/Data/**/*.JPEG"),
               ("--name x", "--shard 1/2", "--set TEST.SEQ_NMS=true", *TORCH), slow=True),
        Target(f"{method} training", train,
               f"--cfg {net}/{method}.yaml --output out --set TRAIN.lr=0.001 {ONE_EPOCH}", needs,
               (f"{net}/*", *SET, "in/data/Data/**/*.JPEG"),
               ("--name x", *(f"{each} {ONE_EPOCH}" for each in TORCH)), slow=True),
        Target(f"{method} training resumed", train,
               f"--cfg {net}/{method}.yaml --output out --resume --set TRAIN.lr=0.001 {RESUMED}",
               (*needs, f"trained/{method}"), (f"{stopped}/VID_train_15frames/*",),
               tuple(f"{each} {RESUMED}" for each in TORCH), slow=True,
               writes=(stopped, f"{stopped}/*/*", "in/trained/cache", "in/trained/cache/*"),
               resumed=tuple(f"{stopped}/VID_train_15frames/{name}" for name in ("*-0002.params", "losses.jsonl"))),
        Target(f"{method} export", f"{method}/export.py", f"{given} --out out", needs, files, slow=True),
    ]  # fmt: skip
    if importlib.util.find_spec("mxnet"):
        found.append(
            Target(f"{method} calibration", f"{method}/calibrate.py", f"{clip} --frames 2 --clips 1", needs,
                   (*files, "in/media/clip 0/*"), slow=True, writes=(f"{net}/*.int8.json",))
        )  # fmt: skip
    return found


TARGETS = [
    Target("lists", "lib/dataset/lists.py", "--root in/data --out out", ("data",), ("in/data/Data/**/*", "in/data/*"),
           ("--frames 3", "--cap 2", "--seed 1", "--force", "--workers 1", "--det", "--det")),
    Target("check", "lib/dataset/check.py", "--root in/data --workers 1", ("data",), (*SET, "in/data/Data/**/*.JPEG"),
           ("--decode", "--allow-gaps", "--classes in/data/classes.txt")),
    Target("motion", "lib/dataset/motion.py", f"{EVAL} --out out/m.json --cache out/cache", ("data", "results"),
           (*SET, "in/results/motion.*"), ("--reach 2", "--compare in/results/motion.mat", "--workers 1")),
    Target("export_coco", "lib/dataset/export_coco.py", "--root in/data --out out/coco.json", ("data",),
           (*SET, "in/data/Data/**/*.JPEG"), ("--split val",), _exported),
    *(Target(f"export {kind}", "lib/dataset/exporting/command.py", f"--format {kind} --root in/data --out out/x",
             ("data",), (*SET, "in/data/Data/**/*.JPEG"), ("--split val", "--tracks"))
      for kind in ("cvat", "coco", "mot", "yolo")),
    Target("import_coco", "lib/dataset/import_coco.py", "--json in/import/coco.json --media in/import/media --out out",
           ("import", "data"), ("in/import/*.json",) * 2 + ("in/import/media/**/*",),
           (*IMPORT, "--val-json in/import/val.json", "--video a", "--skip-unknown"), _imported),
    Target("import_cvat", "lib/dataset/import_cvat.py", "--xml in/import/a.xml in/import/b.xml --media in/import/media "
           "--out out", ("import", "data"), ("in/import/*.xml", "in/import/media/**/*"),
           (*IMPORT, "--order name", "--order natural"), _imported),
    Target("import_cvat zip", "lib/dataset/import_cvat.py", "--xml in/import/a.zip in/import/b.zip --media "
           "in/import/media --out out", ("import", "data"), ("in/import/*.zip",), IMPORT, _imported),
    Target("import_mot", "lib/dataset/import_mot.py", "--media in/import/mot --out out", ("import", "data"),
           ("in/import/mot/**/*",), (*IMPORT, "--occluded-below 0.3", "--names in/import/names.txt"), _imported),
    Target("import_yolo", "lib/dataset/import_yolo.py", "--media in/import/media --labels in/import/labels --names "
           "in/import/data.yaml --out out", ("import", "data"), ("in/import/labels/**/*", "in/import/media/**/*",
           "in/import/data.yaml"), (*IMPORT, "--first-frame 0"), _imported),
    Target("vid_map", "lib/eval/vid_map.py", f"--detections in/results/detections.txt {EVAL} --json out/r.json --cache "
           "out/cache", ("data", "results", "net/rfcn"),
           (*SET, "in/results/detections.txt", "in/results/motion.*", "in/net/rfcn/cfgs/rfcn.yaml"),
           ("--bootstrap 20", "--iou 0.3", "--seed 1", "--motion-range all=0:1", "--area-range a=0:1e5", "--plain",
            "--motion-iou in/results/motion.mat", "--motion-iou in/results/motion.json", "--seq-nms", "--workers 1",
            "--markdown out/t.md", "--pictures out/pictures", "--cfg in/net/rfcn/cfgs/rfcn.yaml",
            "--weights in/net/rfcn/cfgs/net-0000.params", "--classes in/data/classes.txt"), _evaluated),
    *(Target(f"vid_map {suffix}", "lib/eval/vid_map.py", f"--detections in/results/detections.{suffix} {EVAL} --json "
             "out/r.json --cache out/cache", ("data", "results"), (f"in/results/detections.{suffix}",),
             ("--seq-nms", "--coco"), _evaluated) for suffix in ("npy", "txt.gz")),
    Target("compare", "lib/eval/compare.py", "in/results/a.json in/results/b.json --draws 20 --json out/c.json",
           ("results",), ("in/results/?.json", "in/results/*.npz", "in/results/*.npz"), ("--seed 2", "--area small",
           "--markdown", "--errors --cache out/cache")),
    Target("errors", "lib/eval/errors.py", "in/results/a.json --json out/e.json --cache out/cache",
           ("data", "results"), (*SET, "in/results/a.json", "in/results/*.npz", "in/results/detections.txt"),
           ("--score 0.3", "--markdown", "--annotations in/data/Annotations/VID")),
    Target("report", "lib/eval/report.py", "in/results/a.json in/results/b.json --out out/r.html --bootstrap 20 "
           "--cache out/cache", ("data", "results"),
           (*SET, "in/results/?.json", "in/results/*.npz", "in/results/detections.txt", "in/data/Data/**/*.JPEG"),
           ("--score 0.3", "--frames none", "--frames link", "--limit 1", "--side 64", "--names a b", "--title x",
            "--lowest 0.3", "--images in/data/Data/VID")),
    Target("tracking", "lib/cli/tracking.py", "--root in/data --results in/results/detections.txt --mot out",
           ("data", "results"), (*SET, "in/results/detections.txt"), ("--threshold 0.3",)),
    Target("rescore", "lib/eval/rescore.py", "--detections in/results/detections.txt --image-set "
           "in/data/ImageSets/VID_val_frames.txt --out out/rescored.txt", ("data", "results"), DET,
           ("--link-iou 0.4", "--suppress-iou 0.2", "--min-sum 0.1", "--nms-iou 0.5", "--workers 1"), _not_more),
    Target("minivid", "lib/minivid/__main__.py", "--statistics in/data", ("data",), (*SET, "in/data/minivid.json")),
    Target("minivid out", "lib/minivid/__main__.py", "--out out --train 1 --val 1 --frames 2 --height 64 --width 64 "
           "--workers 1", (), (), ("--seed 3",), slow=True,
           amounts=("--train", "--val", "--frames", "--height", "--width")),
    Target("inspect", "lib/cli/weights.py", "inspect in/net/rfcn/cfgs/net-0000.params --cfg in/net/rfcn/cfgs/rfcn.yaml",
           ("net/rfcn",), ("in/net/rfcn/cfgs/net-0000.params", "in/net/rfcn/cfgs/rfcn.yaml"), ("--brief",)),
    Target("convert", "lib/cli/weights.py", "convert in/convert/flow.caffemodel out/x.params --cfg "
           "in/net/fgfa_rfcn/cfgs/fgfa_rfcn.yaml", ("convert", "net/fgfa_rfcn"), ("in/convert/*", "in/net/**/*.yaml"),
           ("--source-means 1 2 3",)),
    Target("new_experiment", "experiments/new_experiment.py", "--name x --root in/data --out out", ("data",), SET,
           ("--steps 10", "--gpus 0", "--method rfcn", "--network resnet101")),
    Target("side_by_side", "experiments/side_by_side.py", "in/data/Data/VID/val/MiniVID_val_0000 "
           "in/data/Data/VID/val/MiniVID_val_0000 --out out/x.gif", ("data",), ("in/data/Data/VID/val/*/*",),
           ("--fps 3", "--titles a b")),
    Target("demo resumed", "rfcn/demo.py", f"{RFCN} "
           "--input 'in/media/clip 0' --output in/earlier --csv in/earlier/d.csv --coco in/earlier/c.json --track "
           "--threshold 0.1 --resume", ("net/rfcn", "data", "media", "earlier"),
           ("in/earlier/*.json*", "in/earlier/*.csv", "in/earlier/*"),
           check=_resumed, slow=True, writes=("in/earlier*", "in/earlier/*"),
           resumed=("in/earlier/*.json*", "in/earlier/*.csv")),
    Target("autotune", "lib/cli/autotune.py", "--input 'in/media/clip 0' --target-fps 0.01 --seconds 0.05 "
           "--network rfcn in/net/rfcn/cfgs/rfcn.yaml in/net/rfcn/cfgs/net-0000.params", ("net/rfcn", "data", "media"),
           ("in/net/rfcn/cfgs/rfcn.yaml", "in/net/rfcn/cfgs/net-0000.params", "in/media/clip 0/*"),
           ("--live", "--max-size 40", "--set gpus="), slow=True),
    *(Target(f"pretrain {stage}", "experiments/minivid/pretrain.py",
             f"{stage} --cfg in/net/fgfa_rfcn/cfgs/fgfa_rfcn.yaml --set {section}.lr=0.01 {section}.batch=4 "
             f"{section}.pool=8 {section}.steps=2 BACKBONE.crop=32 network.pretrained=out/backbone "
             "network.pretrained_flow=out/flow", ("net/fgfa_rfcn", "data"),
             ("in/net/fgfa_rfcn/cfgs/fgfa_rfcn.yaml", "in/data/minivid.json"), ("--resume", "--again"), slow=True)
      for stage, section in (("backbone", "BACKBONE"), ("flow", "FLOW"))),
    Target("flow_error", "experiments/minivid/flow_error.py", "--cfg in/net/fgfa_rfcn/cfgs/fgfa_rfcn.yaml --weights "
           "in/net/fgfa_rfcn/cfgs/flow-0000.params --json out/e.json --set dataset.dataset_path=in/minivid",
           ("net/fgfa_rfcn", "minivid"), ("in/net/fgfa_rfcn/cfgs/f*", "in/minivid/minivid.json"), ("--sharp",),
           slow=True),
    *(target for method in METHODS for target in _network_targets(method)),
]  # fmt: skip
for suffix, package in (("pth", "torch"), ("safetensors", "safetensors")):
    if importlib.util.find_spec("torch") and importlib.util.find_spec(package):
        TARGETS.append(
            Target(f"convert {suffix}", "lib/cli/weights.py", f"convert in/convert/flow.{suffix} out/x.params --cfg "
                   "in/net/fgfa_rfcn/cfgs/fgfa_rfcn.yaml", ("convert", "net/fgfa_rfcn"), (f"in/convert/flow.{suffix}",))
        )  # fmt: skip

# Sources of commands that other files start; the key is where @command is.
STARTED_BY = {
    "lib/cli/demo.py": "rfcn/demo.py",
    "lib/cli/calibrate.py": "rfcn/calibrate.py",
    "lib/cli/export.py": "rfcn/export.py",
    "lib/cli/experiment.py": "experiments/rfcn/rfcn_test.py",
    "lib/dataset/importing/command.py": "lib/dataset/import_coco.py",
}
# Commands that read nothing but this repository's own files, or files that they have made.
NOT_FUZZED = (
    "lib/cuda.py", "lib/cli/doctor.py", "lib/ops/build.py", "bench/cuda_operators.py", "bench/training_step.py",
    "bench/full_frame.py",
    "experiments/minivid/report.py", "experiments/minivid/reproduce.py", "bench/curve.py", "bench/loader.py",
    "bench/scaling.py",
)  # fmt: skip
if not importlib.util.find_spec("mxnet"):
    NOT_FUZZED += ("lib/cli/calibrate.py",)  # calibration is for int8, which only MXNet has
