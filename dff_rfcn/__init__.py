"""Deep Feature Flow: `from dff_rfcn import KeyFrameDetector, Detections, Tracker`."""

from __future__ import annotations

__all__ = ["Detections", "KeyFrameDetector", "Tracker"]


def __getattr__(name: str):
    """Import public names on first use, so that importing the package needs neither MXNet nor OpenCV."""
    if name == "KeyFrameDetector":
        from dff_rfcn.detector import KeyFrameDetector

        return KeyFrameDetector
    if name == "Detections":
        from lib.bbox.detections import Detections

        return Detections
    if name == "Tracker":
        from lib.video.tracks import Tracker

        return Tracker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
