"""A COCO file of two videos, for the tests of its import."""

from __future__ import annotations

import copy
import json

from lib.dataset.importing import coco as import_coco
from tests.dataset.importing.imported import HEIGHT, WIDTH

# Two videos of three and two frames, in an order of entries that is not the order of frames.
CONTENT = {
    "videos": [{"id": 7, "name": "street one"}, {"id": 3, "name": "yard"}],
    "images": [
        {"id": 12, "video_id": 7, "frame_id": 2, "file_name": "a/000002.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 10, "video_id": 7, "frame_id": 0, "file_name": "a/000000.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 11, "video_id": 7, "frame_id": 1, "file_name": "a/000001.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 21, "video_id": 3, "frame_id": 1, "file_name": "b/000001.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 20, "video_id": 3, "frame_id": 0, "file_name": "b/000000.jpg", "width": WIDTH, "height": HEIGHT},
    ],
    "categories": [{"id": 5, "name": "red car"}, {"id": 9, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 10, "category_id": 9, "bbox": [1.5, 2, 10.25, 20], "track_id": 4, "occluded": True},
        {"id": 2, "image_id": 11, "category_id": 9, "bbox": [2.5, 2, 10.25, 20], "track_id": 4, "generated": 1},
        {"id": 3, "image_id": 12, "category_id": 5, "bbox": [0, 0, WIDTH, HEIGHT], "instance_id": 8},
        {"id": 4, "image_id": 20, "category_id": 5, "bbox": [30, 10, 1, 1], "attributes": {"track_id": 0}},
    ],
}  # fmt: skip


def write(tmp_path, content, name="in.json"):
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return path


def run(tmp_path, media, content, *options):
    out = tmp_path / "out"
    import_coco.main(
        ["--json", str(write(tmp_path, content)), "--media", str(media), "--out", str(out), *map(str, options)]
    )
    return out


def changed(*path, value):
    """CONTENT with the entry at `path` set to `value`."""
    content = copy.deepcopy(CONTENT)
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return content


def val_file(tmp_path, *names):
    path = tmp_path / "val.txt"
    path.write_text("\n".join(names))
    return path
