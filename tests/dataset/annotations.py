"""Annotations of three classes as XML files."""

from __future__ import annotations

from lib.dataset.classes import ClassList

CLASSES = ClassList(["c1", "c2", "c3"], ["star", "fish", "boat"], [(255, 0, 0), (0, 255, 0), (0, 0, 255)])


def xml(objects=(), width=100, height=80):
    """Annotation text; an object is (class, x1, y1, x2, y2, further tags as XML)."""
    lines = [f"<annotation>\n<size>\n<width>{width}</width>\n<height>{height}</height>\n</size>"]
    for name, x1, y1, x2, y2, more in objects:
        box = f"<xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax><ymin>{y1}</ymin>"
        lines.append(f"<object>\n<name>{name}</name>{more}\n<bndbox>{box}</bndbox>\n</object>")
    return "\n".join([*lines, "</annotation>\n"])


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


GOOD = "<trackid>0</trackid>"
