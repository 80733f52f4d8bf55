"""Exports a dataset in the ImageNet VID layout as COCO JSON of videos, which import_coco reads back.

    python -m lib.dataset.export_coco --root data/mine --split val --out val.json

`file_name` is relative to ROOT/Data/VID. A box x1 y1 x2 y2 in inclusive pixels becomes x1, y1, x2 - x1 + 1,
y2 - y1 + 1.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lib.dataset.classes import ClassList
from lib.dataset.importing.clips import DIGITS, edges_of
from lib.dataset.index import build_index
from lib.dataset.lists import find_clips
from lib.errors import InputError
from lib.files import write_json
from lib.output_paths import check_output, is_stream

log = logging.getLogger(__name__)


def coco(root: Path, splits: Sequence[str]) -> dict:
    """The content of a COCO file with the videos of `splits`. Raises InputError for a missing split or annotation."""
    classes = ClassList.of_dataset(root)
    clips = [(split, video, count) for split in splits for video, count in find_clips(root, split)]
    image_ids = [f"{video}/{frame:06d}" for _, video, count in clips for frame in range(count)]
    index = build_index(root / "Annotations" / "VID", image_ids, classes)
    videos, annotations = [], []
    images: list[dict[str, object]] = []
    for number, (split, video, count) in enumerate(clips, 1):
        videos.append({"id": number, "name": video[len(split) + 1 :], "split": split})
        for frame in range(count):
            row = len(images)
            width, height = index.sizes[row].tolist()
            place = {"id": row + 1, "video_id": number, "frame_id": frame, "file_name": f"{image_ids[row]}.JPEG"}
            images.append({**place, "width": width, "height": height})
            for thing in range(index.offsets[row], index.offsets[row + 1]):
                x1, y1, x2, y2 = edges_of(index.boxes[thing].tolist())
                box = [round(value, DIGITS) for value in (x1, y1, x2 - x1, y2 - y1)]
                annotation = {
                    "id": thing + 1,
                    "image_id": row + 1,
                    "video_id": number,
                    "category_id": int(index.classes[thing]),
                    "bbox": box,
                    "area": round(box[2] * box[3], DIGITS),
                    "iscrowd": 0,
                    "occluded": bool(index.occluded[thing]),
                    "generated": bool(index.generated[thing]),
                }
                if index.tracks[thing] >= 0:
                    annotation["track_id"] = int(index.tracks[thing])
                annotations.append(annotation)
    categories = [{"id": number, "name": name} for number, name in enumerate(classes.names, 1)]
    return {"videos": videos, "images": images, "annotations": annotations, "categories": categories}


def write(root: Path, splits: Sequence[str], out: Path) -> None:
    """Writes the file `out`. Raises InputError if it exists, and as `coco` does."""
    check_output(out)
    if out.exists() and not is_stream(out):
        raise InputError(f"{out}: already exists and is not overwritten; remove it or choose another --out")
    content = coco(root, splits)
    write_json(out, content, indent=None)
    counts = ", ".join(f"{len(content[key])} {key}" for key in ("videos", "images", "annotations", "categories"))
    log.info("%s: %s", out, counts)
