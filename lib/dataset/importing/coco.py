"""Imports COCO JSON of videos as a dataset in the ImageNet VID layout.

    python -m lib.dataset.import_coco --json annotations.json --media frames --out data/mine

The file contains `categories`; `images` with `file_name` and, if there is a list `videos`, `video_id` and `frame_id`
(otherwise each folder of images is a video, sorted by file name); and `annotations` with `bbox` x, y, width, height in
continuous pixels (here x1 = x, x2 = x + width - 1) and, for tracked objects, `track_id` or `instance_id`, there or in
`attributes`. Crowds (`iscrowd`) are left out. A video may also be a video file: `videos` names it, and `frame_id`
counts its frames from 0.

CVAT's COCO export of a video has no list `videos`, and names the frames frame_000000.PNG, frame_000001.PNG, ... Name
the video or its image folder with `--video NAME`, or give it as --media: the numbers in the names find its frames.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lib.dataset.importing.clips import Found, SourceObject, Video
from lib.dataset.importing.command import importer
from lib.dataset.importing.frames import ImageFiles, VideoFile, find_media, has_images, number_in, numbered_images
from lib.dataset.importing.values import edges, flag, number, read_json, whole
from lib.dataset.media import VIDEOS, natural_key
from lib.errors import InputError, quoted
from lib.reading import inside

WHAT = "COCO JSON with images, annotations and categories"
CROWDS = "objects marked as crowds"
UNKNOWN = "objects of categories that the file does not list"
TRACK_KEYS = ("track_id", "instance_id")


def read(
    paths: Sequence[Path],
    media: Path,
    val_paths: Sequence[Path] = (),
    *,
    video: str | None = None,
    skip_unknown: bool = False,
) -> Found:
    """Reads COCO files whose images or video files are below `media`. The videos of `val_paths` are held out.

    video: name of the video that images without `video_id` belong to; None: that of their folder or of the file.
    skip_unknown: leave out objects whose category the file does not list.
    Raises InputError, with file and entry, if anything is missing or malformed or an image differs in size.
    """
    names: dict[str, None] = {}
    dropped: Counter = Counter()
    parts = [_File(path, media, video, skip_unknown).videos(names, dropped) for path in [*paths, *val_paths]]
    videos = [each for part in parts for each in part]
    val = {each.name for part in parts[len(paths) :] for each in part}
    return Found(videos, list(names), val if val_paths else None, dropped)


class _File:
    """One JSON file that is converted to videos."""

    def __init__(self, path: Path, media: Path, video: str | None, skip_unknown: bool) -> None:
        self.path, self.media, self.name, self.skip_unknown = path, media, video, skip_unknown
        self.content = read_json(path, WHAT)

    def videos(self, names: dict[str, None], dropped: Counter) -> list[Video]:
        categories = {key: self._text(entry, "name", at) for key, (entry, at) in self._by_id("categories").items()}
        names.update(dict.fromkeys(categories.values()))
        images = self._by_id("images")
        frames: dict[tuple[str, Any], list[tuple[tuple, Any]]] = {}  # by video: (order, image id)
        titles = {key: self._title(entry, at) for key, (entry, at) in self._by_id("videos", required=False).items()}
        for key, (entry, at) in images.items():
            video, order = self._place(entry, at, titles)
            frames.setdefault(video, []).append((order, key))
        result, places = [], {}
        for video, rows in frames.items():
            rows.sort(key=lambda row: row[0])
            title = titles[video[1]] if video[0] == "id" else video[1]
            for (order, key), (after, other) in zip(rows, rows[1:]):
                if order == after:
                    raise InputError(f"{images[other][1]}: same frame of {title} as {images[key][1]}; remove one")
            result.append(self._video(title, [(order, *images[key]) for order, key in rows]))
            places.update({key: (result[-1], place) for place, (_, key) in enumerate(rows)})
        for index, entry in enumerate(self._list("annotations")):
            self._annotation(entry, f"{self.path}: annotations[{index}]", categories, places, dropped)
        if not result:
            raise InputError(f"{self.path}: contains no images; give {WHAT}")
        return result

    def _place(self, entry: Mapping, at: str, titles: Mapping) -> tuple[tuple[str, Any], tuple]:
        """Video and sort key of an image; the video as ("id", its id) or ("folder", path)."""
        if "video_id" in entry:
            if not isinstance(entry["video_id"], (int, str)) or entry["video_id"] not in titles:
                raise InputError(f"{at}: no entry in videos has the id {quoted(entry['video_id'])} (video_id); add it")
            keys = [key for key in ("frame_id", "frame_index", "mot_frame_id") if key in entry]
            if not keys:
                raise InputError(f"{at}: video_id without frame_id; number the frames of a video")
            return ("id", entry["video_id"]), (whole(entry[keys[0]], at, keys[0]),)
        name = PurePosixPath(self._text(entry, "file_name", at).replace("\\", "/"))
        folder = name.parent.as_posix() if name.parent.name else self.path.stem
        return ("folder", self.name or folder), natural_key(name.name)

    def _video(self, title: str, rows: Sequence[tuple[tuple, Mapping, str]]) -> Video:
        """The video made of the images `rows`: (sort key, entry, place in the file). Finds its files."""
        first = rows[0][2]
        files = [entry.get("file_name") for _, entry, _ in rows]
        for (_, _, at), name in zip(rows, files):
            if isinstance(name, str):
                inside(self.media, name, at)
        inside(self.media, title, first)
        images = [name for name in files if isinstance(name, str) and Path(name).suffix.lower() not in VIDEOS]
        usual = len(images) == len(files)
        folders = [folder for folder in (self.media, self.media / title) if usual and (folder / images[0]).is_file()]
        if folders:
            video = Video(title, ImageFiles(tuple(folders[0] / name for name in images)))
        else:
            found = self._found(title, first)
            numbers = tuple(self._number(order, entry, at) for order, entry, at in rows)
            for (before, after), (_, _, at) in zip(zip(numbers, numbers[1:]), rows[1:]):
                if after <= before:
                    raise InputError(f"{at}: frame {after} comes after frame {before} of {title}; number them in order")
            if found.is_dir():
                video = Video(title, ImageFiles(tuple(numbered_images(found, numbers, first))))
            else:
                video = Video(title, VideoFile(found, numbers))
        for place, (_, entry, at) in enumerate(rows):
            size = tuple(entry.get(key) for key in ("width", "height"))
            if size != (None, None) and size != video.frames.size(place):
                width, height = video.frames.size(place)
                raise InputError(
                    f"{at}: width, height are {quoted(size)}, but the image has {width}, {height}; correct one"
                )
        return video

    def _found(self, title: str, where: str) -> Path:
        """The file or image folder of the video `title`, which `media` itself may be."""
        if self.media.is_file() or (self.name is not None and has_images(self.media)):
            return self.media
        return find_media(self.media, [title, PurePosixPath(title).stem], where)

    @staticmethod
    def _number(order: tuple, entry: Mapping, at: str) -> int:
        """The frame number of an image: `order[0]` if the file has frame_id, otherwise from its name."""
        number = order[0] if isinstance(order[0], int) else number_in(str(entry.get("file_name")))
        if number is None:
            raise InputError(f"{at}: {entry.get('file_name')!r} is no file and ends in no frame number; add frame_id")
        return number

    def _annotation(self, entry: Any, at: str, categories: Mapping, places: Mapping, dropped: Counter) -> None:
        if not isinstance(entry, dict):
            raise InputError(f"{at}: not an object; give {WHAT}")
        if "bboxes" in entry:
            raise InputError(f"{at}: `bboxes` of a whole video (YouTube-VIS); write a `bbox` for every frame")
        if not isinstance(entry.get("image_id"), (int, str)) or entry["image_id"] not in places:
            raise InputError(f"{at}: unknown image_id {quoted(entry.get('image_id'))}; correct it")
        if not isinstance(entry.get("category_id"), (int, str)) or entry["category_id"] not in categories:
            if self.skip_unknown:
                dropped[UNKNOWN] += 1
                return
            raise InputError(
                f"{at} (id {quoted(entry.get('id'))}): unknown category_id {quoted(entry.get('category_id'))}; add the "
                "category, or leave such objects out with --skip-unknown"
            )
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise InputError(f"{at}: bbox is {quoted(box)}; write [x, y, width, height]")
        x, y, width, height = (number(value, at, "a bbox value") for value in box)
        box = edges(x, y, width, height, at)
        if flag(entry.get("iscrowd"), at, "iscrowd"):
            dropped[CROWDS] += 1
            return
        extra = entry.get("attributes")
        extra = extra if isinstance(extra, dict) else {}
        track = next((part[key] for part in (entry, extra) for key in TRACK_KEYS if part.get(key) is not None), None)
        if isinstance(track, float) and track.is_integer():
            track = int(track)
        if track is not None and (isinstance(track, bool) or not isinstance(track, (int, str))):
            raise InputError(f"{at}: track id is {quoted(track)}; write an integer or a string")
        occluded, generated = (flag(entry.get(key, extra.get(key)), at, key) for key in ("occluded", "generated"))
        generated |= not flag(extra.get("keyframe", True), at, "keyframe")  # CVAT's frames between two keyframes
        video, place = places[entry["image_id"]]
        video.add(place, SourceObject(categories[entry["category_id"]], box, track, at, occluded, generated))

    def _list(self, key: str, required: bool = True) -> list:
        value = self.content.get(key, None if required else [])
        if not isinstance(value, list):
            raise InputError(f"{self.path}: contains no list `{key}`; give {WHAT}")
        return value

    def _by_id(self, key: str, required: bool = True) -> dict[Any, tuple[dict, str]]:
        """Entries of a list, each with its place in the file, by id."""
        found: dict[Any, tuple[dict, str]] = {}
        for index, entry in enumerate(self._list(key, required)):
            at = f"{self.path}: {key}[{index}]"
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), (int, str)):
                raise InputError(f"{at}: not an object with an `id`; give {WHAT}")
            if entry["id"] in found:
                raise InputError(
                    f"{at}: id {quoted(entry['id'])} is already used by {found[entry['id']][1]}; renumber them"
                )
            found[entry["id"]] = entry, at
        return found

    def _title(self, entry: Mapping, at: str) -> str:
        return self._text(entry, "name" if "name" in entry else "file_name", at)

    @staticmethod
    def _text(entry: Mapping, key: str, at: str) -> str:
        if not isinstance(entry.get(key), str) or not 0 < len(entry[key].strip()) <= 1000:
            raise InputError(f"{at}: {key} is {quoted(entry.get(key))}; write a string of 1 to 1000 characters")
        return entry[key]


def _add_options(add: Callable) -> None:
    add("--json", type=Path, nargs="+", required=True, metavar="FILE", help="annotations")
    add("--val-json", type=Path, nargs="+", default=[], metavar="FILE", help="annotations of the videos to test on")
    media = "folder that file_name is relative to, or that contains the video files"
    add("--media", type=Path, required=True, help=media)
    add("--video", metavar="NAME", help="the video that all images without `video_id` belong to (default: by folder)")
    add("--skip-unknown", action="store_true", help="leave out objects whose category is not listed, and count them")


def _read(args: argparse.Namespace) -> tuple[Found, list[Path]]:
    found = read(args.json, args.media, args.val_json, video=args.video, skip_unknown=args.skip_unknown)
    return found, [*args.json, *args.val_json]


main = importer("import_coco", __doc__, _add_options, _read)
