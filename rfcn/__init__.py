"""R-FCN on single frames: `from rfcn import FrameDetector`."""

from __future__ import annotations

__all__ = ["FrameDetector"]


def __getattr__(name: str):
    """The detector, imported when it is first asked for: the package alone needs neither MXNet nor OpenCV."""
    if name == "FrameDetector":
        from rfcn.detector import FrameDetector

        return FrameDetector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
