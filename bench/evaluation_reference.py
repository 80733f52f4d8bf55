"""A reference evaluation in plain Python, rule by rule, for tests and for `bench.eval_speed`."""

from __future__ import annotations

from lib.dataset.classes import ClassList

MOTION = [(0.0, 1.0), (0.0, 0.7), (0.7, 0.9), (0.9, 1.0)]
AREA = [(0, 1e10), (0, 2500), (2500, 22500), (22500, 1e10)]


def class_list(count):
    return ClassList([f"n{i:08d}" for i in range(count)], [f"class{i}" for i in range(count)], [(0, 0, 0)] * count)


def size(box):
    return box[2] - box[0] + 1, box[3] - box[1] + 1


def area(box):
    width, height = size(box)
    return width * height


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (area(a) + area(b) - width * height)


def inside(value, bounds):
    return bounds[0] <= value <= bounds[1]


def frame_counts(found, objects, motion, areas, empty_share):
    """[(class, score, true, false)] of one frame's detections [(class, score, box)] in one range."""
    rows = []
    taken = set()
    for cls, score, box in sorted(found, key=lambda entry: -entry[1]):
        best, best_iou = None, -1
        for number, (other, place, _) in enumerate(objects):
            width, height = size(place)
            least = min(0.5, width * height / ((width + 10) * (height + 10)))
            if other == cls and number not in taken and iou(box, place) >= least and iou(box, place) > best_iou:
                best, best_iou = number, iou(box, place)
        if best is not None:
            taken.add(best)
            _, place, value = objects[best]
            rows.append((cls, score, int(inside(value, motion) and inside(area(place), areas)), 0))
        elif not inside(area(box), areas):
            rows.append((cls, score, 0, 0))
        elif not objects:
            rows.append((cls, score, 0, empty_share))
        else:
            kept = [iou(box, place) for _, place, value in objects if inside(value, motion)]
            ignored = [iou(box, place) for _, place, value in objects if not inside(value, motion)]
            most_kept, most_ignored = max(kept, default=-1), max(ignored, default=-1)
            if most_kept == most_ignored:
                rows.append((cls, score, 0, len(ignored) / len(objects)))
            else:
                rows.append((cls, score, 0, int(most_kept > most_ignored)))
    return rows


def average_precision(rows, objects):
    """Area under the interpolated precision-recall curve of [(class, score, true, false)], sorted by score."""
    if not objects:
        return -1.0
    recall, precision = [0.0], [0.0]
    hits = misses = 0.0
    for _, _, true, false in rows:
        hits += true
        misses += false
        recall.append(hits / objects)
        precision.append(hits / (hits + misses) if hits + misses else 0.0)
    for number in range(len(precision) - 2, -1, -1):
        precision[number] = max(precision[number], precision[number + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def evaluate(detections, frames, classes, motion_ranges=MOTION, area_ranges=AREA):
    """ap[motion][area][class]. detections [(frame id, class, score, box)], frames [(id, [(class, box, motion)])]."""
    by_frame = {frame_id: [] for frame_id, _ in frames}
    for frame_id, cls, score, box in detections:
        if frame_id in by_frame:
            by_frame[frame_id].append((cls, score, box))
    values = [entry[2] for _, objects in frames for entry in (objects or [(0, 0, 0.0)])]
    result = []
    for motion in motion_ranges:
        empty_share = sum(inside(value, motion) for value in values) / max(len(values), 1)
        result.append([])
        for areas in area_ranges:
            rows = []
            counts = [0] * classes
            for frame_id, objects in frames:
                rows.extend(frame_counts(by_frame[frame_id], objects, motion, areas, empty_share))
                for cls, box, value in objects:
                    counts[cls - 1] += inside(value, motion) and inside(area(box), areas)
            rows.sort(key=lambda row: -row[1])
            result[-1].append(
                [average_precision([row for row in rows if row[0] == c + 1], counts[c]) for c in range(classes)]
            )
    return result
