"""Which frames the features of a frame come from: key frames, windows, and what must have been read before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from easydict import EasyDict

LEFT_OUT = -1  # in a window, a position outside the clip


@dataclass(frozen=True)
class Schedule:
    """Every `duration`-th frame of a clip, from the first on, is a key frame; all are if `duration` is 1.

    before, after: key frames in the window of a key frame, on either side of it. causal: no frame uses later ones.
    shorten: windows end where the clip does; otherwise, its first or last key frame stands in for missing ones.
    """

    before: int
    after: int
    duration: int
    causal: bool
    shorten: bool

    @classmethod
    def of(cls, test: EasyDict) -> Schedule:
        """From the section TEST of the settings."""
        before = test.KEY_FRAME_INTERVAL // test.KEY_FRAME_DURATION
        after = 0 if test.causal else before
        return cls(before, after, test.KEY_FRAME_DURATION, test.causal, test.CLIP_ENDS == "shorten")

    @property
    def window(self) -> int:
        """Number of key frames in a window."""
        return self.before + 1 + self.after

    @property
    def sources(self) -> int:
        """Number of key frames that the features of a frame between key frames come from."""
        return 1 if self.causal or self.duration == 1 else 2

    @property
    def longest(self) -> int:
        """The longest distance between two frames that flow is needed for."""
        return max(self.before * self.duration, self.duration - 1)

    def frames_kept(self, batch: int) -> int:
        """The number of latest frames that are needed at any time."""
        return (self.before + self.after) * self.duration + 2 * (self.duration - 1) + 2 * batch - 1

    def windows(self, centres: np.ndarray, count: int) -> np.ndarray:
        """Frames aggregated for each of the key frames `centres` (N,) of a clip of `count` frames -> (N, W)."""
        windows = np.add.outer(centres, np.arange(-self.before, self.after + 1) * self.duration)
        last = self._last_key(count)
        if self.shorten:
            return np.where((windows >= 0) & (windows <= last), windows, LEFT_OUT)
        return np.clip(windows, 0, last)

    def keys(self, frames: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Key frames that the features of each frame come from, and their shares -> both (sources, N).

        The key frames on either side, each with a share that falls linearly with its distance; only the one before if
        `causal` or at the end of the clip.
        """
        earlier = frames - frames % self.duration
        if self.sources == 1:
            return earlier[None], np.ones((1, len(frames)))
        later = np.minimum(earlier + self.duration, self._last_key(count))
        share = np.where(later > earlier, (frames - earlier) / self.duration, 0.0)
        later = np.where(share > 0, later, earlier)
        return np.stack([earlier, later]), np.stack([1 - share, share])

    def needs(self, frame: int) -> int:
        """The last frame that must have been read before this one can be processed, unless the clip ends earlier."""
        key = frame - frame % self.duration if self.causal else -(-frame // self.duration) * self.duration
        return max(frame, key + self.after * self.duration)

    def replay(self, done: int) -> int:
        """How many of `done` frames must be read again for the frames after them to come out the same."""
        return min(done, done % self.duration + self.before * self.duration)

    def _last_key(self, count: int) -> int:
        return (count - 1) // self.duration * self.duration
