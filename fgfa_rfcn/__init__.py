"""Flow-guided feature aggregation: `from fgfa_rfcn import VideoDetector, Detections, Tracker`."""

from __future__ import annotations

__all__ = ["Detections", "Tracker", "VideoDetector"]


def __getattr__(name: str):
    """Import public names on first use, so that importing the package needs neither MXNet nor OpenCV."""
    if name == "VideoDetector":
        from fgfa_rfcn.window import VideoDetector

        return VideoDetector
    if name == "Detections":
        from lib.bbox.detections import Detections

        return Detections
    if name == "Tracker":
        from lib.video.tracks import Tracker

        return Tracker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
