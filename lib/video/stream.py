"""One clip through a detector into sinks, in constant memory; whatever happens, finished frames stay whole."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from tqdm import tqdm

from lib.bbox.detections import Detections
from lib.errors import InputError
from lib.video.clips import Clip
from lib.video.records import JsonLines, Result
from lib.video.sources import Frame
from lib.video.tracks import Tracker

logger = logging.getLogger(__name__)
Detector = Callable[[Iterable[np.ndarray]], Iterator[Detections]]


@dataclass
class Summary:
    """A clip's run. finished: frames that are written, those of an earlier run included.

    dropped: frames of a live clip that came while the detector was at others, None of a clip that waits; stopped: a
    live clip was ended by Ctrl-C.
    """

    clip: str
    finished: int
    worked: int = 0  # frames that went through the detector in this run
    boxes: int = 0  # that this run wrote
    seconds: float = 0.0  # in the detector, without waiting for frames, without warm-up
    warmup_seconds: float = 0.0
    dropped: int | None = None
    stopped: bool = False

    @property
    def seconds_per_frame(self) -> float:
        """NaN where no frame was left to work on."""
        return self.seconds / self.worked if self.worked else float("nan")

    def __str__(self) -> str:
        if not self.worked:
            return f"{self.clip}: all {self.finished} frames were finished before"
        each = self.seconds_per_frame
        text = (
            f"{self.clip}: {self.finished} frames, {self.boxes} boxes, {each:.4f} s a frame "
            f"({1 / max(each, 1e-9):.1f} frames a second) without loading and warm-up ({self.warmup_seconds:.2f} s)"
        )
        if self.dropped is not None:
            text += f"; {self.dropped} of {self.finished + self.dropped} dropped to keep up"
        return text + "; stopped by Ctrl-C" * self.stopped


def run_clip(
    detector: Detector,
    clip: Clip,
    sinks: Sequence,
    paint: Callable[[np.ndarray, Detections], np.ndarray],
    *,
    threshold: float = 0.5,
    only: frozenset[int] | None = None,
    context: int = 0,
    warmup: int = 1,
    resume: bool = False,
    track: bool = False,
    before: Callable[[], None] = lambda: None,
    progress: bool = True,
) -> Summary:
    """Passes the clip's frames through the detector and every frame's detections to each sink (see `video.records`).

    The detector may look ahead: frames wait until it has spoken about them, no longer. paint(image, detections)
    draws; threshold and only (class numbers, None for all) choose what sinks see, and track numbers its objects;
    `before` is called when the first frame is read and the detector is warm, before anything is written.

    resume: goes on behind the last frame that all sinks of an earlier run hold, `context` frames of which pass
    through the detector again, unwritten, since the next frame's detections depend on them. Tracks go on from what
    the JSON lines tell.

    Raises InputError, with where it stopped, for a broken frame or an output that cannot be written, and
    SystemExit(130) for Ctrl-C, which is but the end of a live clip; sinks are closed first, and what is finished stays.
    """
    done = _finished(clip, sinks) if resume else 0
    summary = Summary(clip.name, finished=done, dropped=0 if clip.live else None)
    if done and done == clip.length:
        return summary
    tracker = Tracker() if track else None
    if tracker and done:
        _catch_up(tracker, sinks, done)
    lead, last = min(context, done), clip.name_at(done - 1) if done else None
    rest = clip.skip(done - lead)
    frames, expected = iter(rest), rest.start
    try:
        first = next(frames, None)
        if first is None:
            if done:
                return summary
            raise InputError(f"{clip.source.where}: no frame in it, or --frames begins behind its end")
        summary.warmup_seconds = _warm_up(detector, first, warmup)
        with _writing(clip):
            before()
            for sink in sinks:
                sink.start([(clip.numbers[position], clip.name_at(position)) for position in range(done)])
        results = _detect(detector, chain([first], frames), summary)
        total = None if clip.live else clip.length  # how many will be dropped nobody knows
        with tqdm(total=total, initial=done, unit="frame", desc=clip.name, disable=not progress) as bar:
            for position, (frame, detections) in enumerate(results, done - lead):
                dropped, expected = (frame.index - expected) // clip.step, frame.index + clip.step
                if clip.live:
                    summary.dropped += dropped
                    bar.set_postfix(dropped=summary.dropped, refresh=False)
                if position >= done:
                    found = _chosen(detections, threshold, only)
                    found = tracker(found) if tracker else found
                    summary.boxes += len(found)
                    result = Result(frame.index, frame.name, frame.image, found, paint, dropped)
                    with _writing(clip):
                        for sink in sinks:
                            sink.write(result)
                    summary.finished, last = position + 1, frame.name
                    bar.update()
        with _writing(clip):
            for sink in sinks:
                sink.close()
    except BaseException as error:
        _close_all(sinks)
        if clip.live and summary.finished and isinstance(error, KeyboardInterrupt):
            summary.stopped = True
            return summary
        if not summary.finished:
            where = "no frame is finished"
        elif clip.live:
            where = f"{summary.finished} frames are finished, the last is {last}"
        else:
            of = f" of {clip.length}" if clip.length else ""
            where = f"{summary.finished}{of} frames are finished, the last is {last}; --resume goes on there"
        if isinstance(error, InputError):
            raise InputError(f"{error}; {where}") from error
        logger.warning("stopped: %s", where)
        if isinstance(error, KeyboardInterrupt):
            raise SystemExit(130) from error
        raise
    finally:
        frames.close()
    return summary


@contextlib.contextmanager
def _writing(clip: Clip) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = error.filename or f"output of {clip.name}"
        raise InputError(f"{what}: cannot be written: {error.strerror or error}") from error


def _detect(detector: Detector, frames: Iterable[Frame], summary: Summary) -> Iterator[tuple[Frame, Detections]]:
    """Each frame with its detections; the time that the detector takes goes to the summary."""
    waiting: deque[Frame] = deque()
    loading = 0.0

    def feed() -> Iterator[np.ndarray]:
        nonlocal loading
        source = iter(frames)
        while True:
            start = time.perf_counter()
            frame = next(source, None)
            loading += time.perf_counter() - start
            if frame is None:
                return
            waiting.append(frame)
            image = frame.image
            del frame  # this generator sleeps until the next frame is wanted
            yield image
            del image

    results = iter(detector(feed()))
    while True:
        start, loading = time.perf_counter(), 0.0
        detections = next(results, None)
        summary.seconds += time.perf_counter() - start - loading
        if detections is None:
            break
        if not waiting:
            raise RuntimeError("the detector gave more detections than it got frames")
        summary.worked += 1
        yield waiting.popleft(), detections
    if waiting:
        raise RuntimeError(f"the detector gave no detections for the last {len(waiting)} frames")


def _warm_up(detector: Detector, frame: Frame, count: int) -> float:
    """Seconds that `count` copies of the first frame take; networks are bound and memory is taken on the way."""
    start = time.perf_counter()
    for _ in detector([frame.image] * count) if count else ():
        pass
    return time.perf_counter() - start


def _chosen(detections: Detections, threshold: float, only: frozenset[int] | None) -> Detections:
    chosen = detections.above(threshold)
    return chosen if only is None else chosen.where(np.isin(chosen.classes, sorted(only)))


def _finished(clip: Clip, sinks: Sequence) -> int:
    """Frames of an earlier run that every sink that can tell holds whole."""
    if clip.live:
        raise InputError(f"--resume: {clip.source.where} is live, its earlier frames are gone")
    counts = [count for count in (sink.finished() for sink in sinks) if count is not None]
    if not counts:
        raise InputError("--resume: needs the detections.jsonl or the film of the run that it shall go on with")
    if clip.length is not None and min(counts) > clip.length:
        raise InputError(f"--resume: the earlier run has {min(counts)} frames, {clip.source.where} only {clip.length}")
    return min(counts)


def _catch_up(tracker: Tracker, sinks: Sequence, done: int) -> None:
    """Shows the tracker the frames that an earlier run finished."""
    files = [sink for sink in sinks if isinstance(sink, JsonLines)]
    if not files:
        raise InputError("--resume: --track goes on from the JSON lines of the earlier run alone, so it needs --json")
    for tracked in islice(files[0].tracked(), done):
        tracker.follow(tracked)


def _close_all(sinks: Sequence) -> None:
    """Closes what can be closed; the error that ends the run is told by the caller, these are told in the log."""
    for sink in sinks:
        try:
            sink.close()
        except (OSError, InputError) as error:
            logger.warning("%s: not closed properly: %s", sink.path, error)
