"""Writes clips in the formats of annotation tools: CVAT for video, MOTChallenge, YOLO, Label Studio.

All but Label Studio's are read back by the importers (`lib.dataset.importing`).
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from xml.sax.saxutils import escape, quoteattr

from lib.dataset.exporting.clips import ExportClip, TrackBox, keyframes
from lib.dataset.importing.clips import decimal
from lib.errors import InputError, quoted
from lib.files import replacing
from lib.reading import NOT_XML


def write_text(path: Path, text: str) -> None:
    """Replaces the file at `path`. Raises InputError if it cannot be written."""
    try:
        with replacing(path, pipes=True) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def check_xml(*names: str) -> None:
    """Raises InputError for a name that CVAT's XML cannot hold."""
    for name in names:
        if NOT_XML.search(name):
            raise InputError(
                f"{quoted(name)}: XML cannot hold this name; rename it in UTF-8 without control characters"
            )


def cvat(clip: ExportClip, thinned: bool) -> str:
    """`CVAT for video 1.1` XML.

    thinned: write only the keyframes that linear interpolation needs (`keyframes`); otherwise every box, those marked
    as generated with keyframe="0".
    """
    check_xml(clip.name, clip.source, *clip.classes)
    names = "".join(f"<label><name>{escape(name)}</name><attributes/></label>" for name in clip.classes)
    step = f"<frame_filter>step={clip.frames.step}</frame_filter>" if clip.frames.step > 1 else ""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<annotations>",
        "<version>1.1</version>",
        f"<meta><task><name>{escape(clip.name)}</name><size>{len(clip.frames)}</size><mode>interpolation</mode>"
        f"<start_frame>{clip.frames.start}</start_frame>{step}<labels>{names}</labels></task>"
        f"<source>{escape(clip.source)}</source></meta>",
    ]
    for track in clip.tracks:
        label = quoteattr(clip.classes[track.cls - 1])
        lines.append(f'<track id="{track.number}" label={label} source="auto">')
        for run in track.runs():
            lines += [_cvat_box(clip, box, box.place) for box in (keyframes(run) if thinned else run)]
            if run[-1].place + 1 < len(clip.frames):
                lines.append(_cvat_box(clip, run[-1], run[-1].place + 1, outside=True))
        lines.append("</track>")
    return "\n".join([*lines, "</annotations>", ""])


def _cvat_box(clip: ExportClip, box: TrackBox, place: int, outside: bool = False) -> str:
    left, top, right, bottom = (decimal(value) for value in box.edges)
    key = int(outside or not box.generated)
    return (
        f'<box frame="{clip.frames[place]}" keyframe="{key}" outside="{int(outside)}" occluded="{int(box.occluded)}" '
        f'xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" z_order="0"></box>'
    )


def mot(clip: ExportClip) -> str:
    """MOTChallenge lines: frame, id, left, top, width, height, score, class, visibility (0 if occluded).

    Frames, classes and pixels count from 1.
    """
    lines = []
    for frame, boxes in zip(clip.frames, clip.by_frame()):
        for track, box in boxes:
            left, top, right, bottom = box.edges
            values = (left + 1, top + 1, right - left, bottom - top, box.score)
            numbers = ",".join(decimal(value, 4) for value in values)
            lines.append(f"{frame + 1},{track.number},{numbers},{track.cls},{int(not box.occluded)}")
    return "".join(f"{line}\n" for line in lines)


def yolo(clip: ExportClip, tracks: bool) -> dict[str, str]:
    """Content of the label file of each frame, also of those without objects, by file name.

    A line is class (from 0), centre x, centre y, width and height relative to the image, and with `tracks` the track.
    Files are named like the images; those of a film <clip>_<frame>.txt, where the first frame is 1.
    """
    files = {}
    for place, boxes in enumerate(clip.by_frame()):
        width, height = clip.sizes[place]
        lines = []
        for track, box in boxes:
            left, top, right, bottom = box.edges
            x, y, w, h = (left + right) / 2 / width, (top + bottom) / 2 / height, right - left, bottom - top
            numbers = " ".join(f"{value:.8f}" for value in (x, y, w / width, h / height))
            lines.append(f"{track.cls - 1} {numbers}{f' {track.number}' if tracks else ''}\n")
        stem = PurePath(clip.images[place]).stem if clip.images else f"{clip.name}_{clip.frames[place] + 1}"
        if f"{stem}.txt" in files:
            raise InputError(
                f"{clip.source}: two images named {stem}; rename one, since their label files are the same"
            )
        files[f"{stem}.txt"] = "".join(lines)
    return files


def write_yolo(clip: ExportClip, folder: Path, tracks: bool) -> None:
    """Writes the label files of a clip to `folder`/<clip>, and `folder`/classes.txt with the names of the classes."""
    for name, text in yolo(clip, tracks).items():
        write_text(folder / clip.name / name, text)
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in clip.classes))


def label_studio(clip: ExportClip, video: str, fps: float, model: str) -> str:
    """Label Studio's JSON: one task, the film `video`, with a prediction of thinned `videorectangle` tracks.

    Frames count from 1, boxes are in percent. A track's last keyframe before a gap is not `enabled`.
    """
    results = []
    for track in clip.tracks:
        sequence = []
        for run in track.runs():
            kept = keyframes(run)
            for box in kept:
                width, height = clip.sizes[box.place]
                left, top, right, bottom = box.edges
                frame = clip.frames[box.place] + 1
                sequence.append(
                    {
                        "frame": frame,
                        "enabled": box is not kept[-1],
                        "rotation": 0,
                        "x": round(100 * left / width, 4),
                        "y": round(100 * top / height, 4),
                        "width": round(100 * (right - left) / width, 4),
                        "height": round(100 * (bottom - top) / height, 4),
                        "time": round(frame / fps, 4),
                    }
                )
        frames = clip.frames[-1] + 1
        value = {
            "framesCount": frames,
            "duration": round(frames / fps, 4),
            "sequence": sequence,
            "labels": [clip.classes[track.cls - 1]],
        }
        score = sum(box.score for box in track.boxes) / len(track.boxes)
        results.append(
            {
                "id": f"track{track.number}",
                "type": "videorectangle",
                "from_name": "box",
                "to_name": "video",
                "origin": "prediction",
                "score": round(score, 4),
                "value": value,
            }
        )
    tasks = [{"data": {"video": video}, "predictions": [{"model_version": model, "result": results}]}]
    return json.dumps(tasks, indent=1) + "\n"  # in ASCII, since file names need not be UTF-8
