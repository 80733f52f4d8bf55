"""Flow-guided feature aggregation: `from fgfa_rfcn import VideoDetector`."""

from __future__ import annotations

__all__ = ["VideoDetector"]


def __getattr__(name: str):
    """The detector, imported when it is first asked for: the package alone needs neither MXNet nor OpenCV."""
    if name == "VideoDetector":
        from fgfa_rfcn.window import VideoDetector

        return VideoDetector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
