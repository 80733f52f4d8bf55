"""Writes YAML files for training each method on your own dataset, and prints the commands to run.

    python experiments/new_experiment.py --name mine --root data/mine

Classes, image size, anchors and the number of epochs depend on the dataset. Everything else is taken from the bundled
small network (or, with --network resnet101, from the published one).
"""

from __future__ import annotations

import argparse
import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from lib.argument import Parser
from lib.config import load_config, make_config, pairs
from lib.dataset.classes import ClassList
from lib.dataset.imagenet_vid import list_path, train_entries, training_boxes, training_index, video_entries
from lib.defaults import unused
from lib.errors import InputError, command, counted, quoted, start_logging
from lib.files import replacing
from lib.method import Files, Method
from lib.methods import METHODS

log = logging.getLogger(__name__)

TRAIN_SET, TEST_SET = "VID_train_15frames", "VID_val_videos"
MOTION = "motion.json"
MIN_OBJECT = 24  # pixels of all but the smallest tenth of the objects in the small network's input
MIN_SHORT, MAX_SHORT = 192, 480  # short side of that input
MULTIPLE = 32  # sides are a multiple of this


@dataclass(frozen=True)
class Network:
    """A network size: the template files of a method, the weights that training starts from (empty: the method's own),
    GPUs, the minimum number of steps, and whether sizes are fitted to the dataset."""

    files: Callable[[Method], Files]
    weights: str
    flow: str
    gpus: str
    steps: int
    fitted: bool


NETWORKS = {
    "small": Network(lambda method: method.bundled, "", "", "", 6000, True),
    "resnet101": Network(
        lambda method: method.published,
        "model/pretrained_model/resnet_v1_101-0000.params",
        "model/pretrained_model/flownet-0000.params",
        "0",
        20000,
        False,
    ),
}


@dataclass(frozen=True)
class Facts:
    """What the settings depend on: the number of classes; the number of training images with objects, and their sizes
    (N, 2), width and height; the side sqrt(width * height) of each object (M,), in pixels."""

    classes: int
    images: int
    sizes: np.ndarray
    sides: np.ndarray


def facts_of(root: Path, cache: Path) -> Facts:
    """Reads the dataset. Raises InputError if lists are missing, annotations are invalid, or there are no objects."""
    classes = ClassList.of_dataset(root)
    index = training_index(root, train_entries(root, TRAIN_SET), classes, cache=cache)
    used = np.flatnonzero(np.diff(index.offsets) > 0)
    if not len(used):
        raise InputError(f"{list_path(root, TRAIN_SET)}: none of its images has an object; check the annotations")
    if not list_path(root, TEST_SET).is_file():
        raise InputError(
            f"{list_path(root, TEST_SET)}: no videos to test on; import at least two videos, and hold some out with "
            "--val-share or --val-videos"
        )
    video_entries(root, TEST_SET)
    boxes = np.concatenate([training_boxes(index, int(image))[0] for image in used]).astype(np.float64)
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1))
    return Facts(len(classes), len(used), index.sizes[used], sides)


def fitted_scales(facts: Facts) -> list[int]:
    """[short, long] side of the network's input. Small objects get MIN_OBJECT pixels, as far as the short side stays
    between MIN_SHORT and MAX_SHORT and images are not enlarged needlessly. The long side fits the longest images."""
    short, long = np.sort(facts.sizes, axis=1).T
    middle = float(np.median(short))
    wanted = middle * MIN_OBJECT / float(np.quantile(facts.sides, 0.1))
    side = min(max(wanted, MIN_SHORT), max(min(middle, MAX_SHORT), MIN_SHORT))
    side = MULTIPLE * round(side / MULTIPLE)
    return [side, MULTIPLE * math.ceil(side * float((long / short).max()) / MULTIPLE - 1e-9)]


def fitted_anchors(facts: Facts, short: int, stride: int, usual: Sequence[float]) -> list[float]:
    """Anchor scales in units of `stride` pixels: the usual ones if they span nine tenths of the objects in the input,
    otherwise the same number, spread evenly over these objects on a logarithmic scale."""
    scale = short / float(np.median(facts.sizes.min(axis=1)))
    low, high = (float(side) * scale / stride for side in np.quantile(facts.sides, (0.05, 0.95)))
    if min(usual) / math.sqrt(2) <= low and high <= max(usual) * math.sqrt(2):
        return list(usual)
    return [round(each, 1) for each in np.geomspace(max(low, 1.0), max(high, 1.5 * max(low, 1.0)), len(usual)).tolist()]


def settings(
    template: dict, method: Method, name: str, root: Path, facts: Facts, network: Network, args: argparse.Namespace
) -> dict:
    """The content of the YAML file, made from that of another dataset."""
    cfg = {"method": method.name, **template, "gpus": args.gpus if args.gpus is not None else network.gpus}
    net, train, test = (dict(template[section]) for section in ("network", "TRAIN", "TEST"))
    if method.uses("TEST", "FLOW_HOP"):
        # Faster than 0, and on MiniVID as accurate.
        test["FLOW_HOP"] = load_config(method.bundled.cfg, [], method.schema).TEST.FLOW_HOP
    net["pretrained"], epoch = prefix_of(args.weights or network.weights or method.bundled.weights)
    if epoch:
        net["pretrained_epoch"] = epoch
    if method.schema.tree["network"].get("pretrained_flow", unused("")) != unused(""):
        net["pretrained_flow"], epoch = prefix_of(args.flow_weights or network.flow or method.bundled.weights)
        if epoch:
            raise InputError(f"--flow-weights: epoch {epoch:04d}; the flow network's file must end in -0000.params")
    if network.fitted:
        cfg["SCALES"] = fitted_scales(facts)
        net["ANCHOR_SCALES"] = fitted_anchors(facts, cfg["SCALES"][0], net["RPN_FEAT_STRIDE"], net["ANCHOR_SCALES"])
    devices = max(len([each for each in cfg["gpus"].split(",") if each.strip()]), 1)
    epoch_steps = math.ceil(2 * facts.images / devices)  # every image and its mirror image
    epochs = max(math.ceil((args.steps or network.steps) / epoch_steps), 1)
    if "warmup_step" in train:
        train["warmup_step"] = min(train["warmup_step"], epochs * epoch_steps // 10)
    train["FLIP"] = True
    train.update(model_prefix=f"{method.name}_{name}", begin_epoch=0, end_epoch=epochs, lr_step=f"{0.7 * epochs:g}")
    test["test_epoch"] = epochs
    data = {
        "dataset": name,
        "dataset_path": root.as_posix(),
        "image_set": TRAIN_SET,
        "test_image_set": TEST_SET,
        "NUM_CLASSES": facts.classes + 1,
        "CLASSES": "",
    }
    if not (root / "classes.txt").is_file():
        del data["CLASSES"]  # the 30 classes of ImageNet VID
    if (root / MOTION).is_file():
        data["motion_iou_path"] = (root / MOTION).as_posix()
    cfg.update(network=net, dataset=data, TRAIN=train, TEST=test)
    return {key: value for key, value in cfg.items() if key not in ("FLOW", "BACKBONE")}  # for pre-training on MiniVID


def prefix_of(path: str) -> tuple[str, int]:
    """x/y-0003.params -> ("x/y", 3). Raises InputError if the name has another form."""
    match = re.fullmatch(r"(.+)-(\d{4})\.params", path)
    if match is None:
        raise InputError(
            f"{path}: weights must be named <prefix>-<4 digits>.params; rename it, or copy it to "
            f"{Path(path).stem}-0000.params"
        )
    return match.group(1), int(match.group(2))


def write(path: Path, content: dict, comments: Sequence[str]) -> None:
    """Writes a YAML file with comments at the top."""
    lines = [f"# {line}" for line in comments]
    for key, value in content.items():
        if isinstance(value, dict):
            lines += [f"{key}:", *(f"  {_line(name, each)}" for name, each in value.items())]
        else:
            lines.append(_line(key, value))
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _line(key: str, value: object) -> str:
    """`key: value`, with lists in brackets."""
    return f"{key}: {yaml.safe_dump([value], default_flow_style=True, width=1000).strip()[1:-1]}"


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--name", required=True, help="name of the experiment, in file names and output folders")
    add("--root", type=Path, required=True, help="folder of the dataset, such as data/mine")
    add("--method", choices=(*METHODS, "all"), default="all", help="methods to write files for (default: %(default)s)")
    add("--network", choices=tuple(NETWORKS), default="small", help="small: trains on a CPU (default); resnet101: GPUs")
    add("--weights", metavar="FILE", help="weights that training starts from (default: the bundled ones)")
    add("--flow-weights", metavar="FILE", help="weights that the flow network starts from")
    add("--steps", type=int, help="minimum number of training steps (default: 6000 small, 20000 resnet101)")
    add("--gpus", help="GPU numbers separated by commas, '' for the CPU")
    add("--out", type=Path, help="folder for the files (default: experiments/<method>/cfgs)")
    args = parser.parse_args(argv)
    start_logging()
    if not re.fullmatch(r"\w[\w.-]*", args.name, re.ASCII):
        raise InputError(f"--name {quoted(args.name)}: use only letters, digits, _ . and -")
    if args.steps is not None and args.steps < 1:
        raise InputError(f"--steps {args.steps}: must be 1 or more")
    network = NETWORKS[args.network]
    methods = list(METHODS.values()) if args.method == "all" else [METHODS[args.method]]
    paths = {
        each.name: (args.out or Path("experiments", each.name, "cfgs")) / f"{args.name}_{each.name}.yaml"
        for each in methods
    }
    for path in paths.values():
        if path.exists():
            raise InputError(f"{path}: exists already and is not overwritten; remove it or choose another --name")
    facts = facts_of(args.root, Path("output/cache"))
    contents = {}
    for method in methods:
        template = Path(__file__).resolve().parents[1] / network.files(method).cfg
        given = yaml.safe_load(template.read_text(encoding="utf-8"))
        contents[method.name] = settings(given, method, args.name, args.root, facts, network, args)
        make_config(contents[method.name], method.schema)  # raises if an option is invalid
    for method in methods:
        path = paths[method.name]
        comments = [
            f"{args.name}: written by experiments/new_experiment.py, based on {network.files(method).cfg}.",
            f"{counted(facts.classes, 'class')}, {counted(facts.images, 'training image')} with "
            f"{counted(len(facts.sides), 'object')} in {args.root}.",
        ]
        write(path, contents[method.name], comments)
        _log_commands(method, path)


def _log_commands(method: Method, path: Path) -> None:
    """Logs the chosen values and the commands."""
    cfg = load_config(path, schema=method.schema)
    epochs, scales = cfg.TRAIN.end_epoch, pairs(cfg.SCALES)[0]
    anchors = cfg.network.ANCHOR_SCALES
    log.info("%s: input %d x %d, anchors %s, %s", path, *scales, anchors, counted(epochs, "epoch"))
    start = Path(f"{cfg.network.pretrained}-{cfg.network.pretrained_epoch:04d}.params")
    if not start.is_file():
        log.warning("%s: missing, but training starts from it (see model/README.md)", start)
    log.info(
        "  train and test:  python experiments/%s/%s_end2end_train_test.py --cfg %s\n"
        "  test again:      python experiments/%s/%s_test.py --cfg %s\n"
        "  use it:          python %s/demo.py --cfg %s --input my.mp4 --output out.mp4",
        *(method.name, method.name, path, method.name, method.name, path, method.name, path),
    )


if __name__ == "__main__":
    main()
