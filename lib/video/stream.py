"""Runs a detector on a clip and writes to sinks, in constant memory. Finished frames survive any interruption."""

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
from lib.errors import InputError, counted
from lib.video.clips import Clip, check_held
from lib.video.records import JsonLines, Result, RowFile
from lib.video.sources import Frame
from lib.video.tracks import FAINT, Tracker

log = logging.getLogger(__name__)
Detector = Callable[[Iterable[np.ndarray]], Iterator[Detections]]


@dataclass
class Summary:
    """The outcome of `run_clip` for one clip.

    finished: frames written, including those of an earlier run. dropped: frames of a live clip dropped because the
    detector was busy; None if the clip is not live. stopped: whether Ctrl-C ended a live clip.
    """

    clip: str
    finished: int
    worked: int = 0  # frames that the detector processed in this run
    boxes: int = 0  # written in this run
    seconds: float = 0.0  # in the detector, excluding warm-up and waiting for frames
    warmup_seconds: float = 0.0
    dropped: int | None = None
    stopped: bool = False

    @property
    def seconds_per_frame(self) -> float:
        """NaN if no frame was processed."""
        return self.seconds / self.worked if self.worked else float("nan")

    def __str__(self) -> str:
        if not self.worked:
            return f"{self.clip}: all {self.finished} frames were already finished"
        each = self.seconds_per_frame
        text = (
            f"{self.clip}: {counted(self.finished, 'frame')}, {counted(self.boxes, 'box')}, {each:.4f} s per frame "
            f"({1 / max(each, 1e-9):.1f} frames per second), excluding loading and {self.warmup_seconds:.2f} s warm-up"
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
    context: Callable[[int], int] = lambda done: 0,
    warmup: int = 1,
    resume: bool = False,
    track: bool = False,
    before: Callable[[], None] = lambda: None,
    progress: bool = True,
) -> Summary:
    """Run the detector on a clip and write the detections of every frame to each sink (see `lib.video.records`).

    The detector may look ahead; a frame is kept only until the detector yields its detections.

    paint(image, detections): draws the annotated frame. threshold, only (class numbers, None for all): which
    detections are written. track: whether to number the objects; detections below the threshold, down to FAINT, are
    then written too where they continue a track. before: called once the first frame is read and the
    detector is warmed up, before anything is written. warmup: copies of the first frame to warm up with.

    resume: continue after the last frame that all sinks of an earlier run contain. The `context` frames before that
    point pass through the detector again without being written, since the next detections depend on them. Tracks
    continue from those in the JSON lines.

    Raises InputError, saying how far it came, for a broken frame or an output that cannot be written, and
    SystemExit(130) on Ctrl-C, except that Ctrl-C ends a live clip normally. Sinks are closed first, and finished
    frames are kept.
    """
    done = _finished(clip, sinks) if resume else 0
    if resume and not done:
        log.info("%s: no finished frames to continue from", clip.name)
    kept = [(clip.numbers[position], clip.name_at(position)) for position in range(done)]
    for sink in sinks if done else ():
        if isinstance(sink, RowFile):
            sink.check(kept)
    summary = Summary(clip.name, finished=done, dropped=0 if clip.live else None)
    if done and done == clip.length:
        return summary
    tracker = Tracker(start=threshold) if track else None
    lowest = min(threshold, FAINT) if track else threshold
    if tracker and done:
        _catch_up(tracker, sinks, done)
    lead, last = min(context(done), done), clip.name_at(done - 1) if done else None
    rest = clip.skip(done - lead)
    frames, expected = iter(rest), rest.start
    try:
        first = next(frames, None)
        if first is None:
            if done:
                return summary
            raise InputError(f"{clip.source.where}: has no frames, or --frames starts after its end")
        summary.warmup_seconds = _warm_up(detector, first, warmup)
        with _writing(clip):
            before()
            for sink in sinks:
                sink.start(kept)
        results = _detect(detector, chain([first], frames), summary)
        total = None if clip.live else clip.length  # the number of dropped frames is not known in advance
        with tqdm(total=total, initial=done, unit="frame", desc=clip.name, disable=not progress) as bar:
            for position, (frame, detections) in enumerate(results, done - lead):
                dropped, expected = (frame.index - expected) // clip.step, frame.index + clip.step
                if summary.dropped is not None:
                    summary.dropped += dropped
                    bar.set_postfix(dropped=summary.dropped, refresh=False)
                if position >= done:
                    found = _chosen(detections, lowest, only)
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
        where = _where(clip, summary.finished, last)
        if isinstance(error, InputError):
            raise InputError(f"{error}; {where}") from error
        log.warning("stopped: %s", where)
        if isinstance(error, KeyboardInterrupt):
            raise SystemExit(130) from error
        raise
    finally:
        frames.close()
    return summary


def _where(clip: Clip, finished: int, last: str | None) -> str:
    """How far a run came, for messages. last: name of the last finished frame."""
    if not finished:
        return "no frame is finished"
    if clip.live:
        return f"{finished} frames are finished, the last is {last}"
    of = f" of {clip.length}" if clip.length else ""
    return f"{finished}{of} frames are finished, the last is {last}; continue with --resume"


@contextlib.contextmanager
def _writing(clip: Clip) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = error.filename or f"output of {clip.name}"
        raise InputError(f"{what}: cannot be written: {error.strerror or error}") from error


def _detect(detector: Detector, frames: Iterable[Frame], summary: Summary) -> Iterator[tuple[Frame, Detections]]:
    """Yield each frame with its detections, and add the detector's time to the summary."""
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
            check_held(waiting)
            image = frame.image
            del frame  # do not keep the frame alive while the generator is suspended
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
            raise RuntimeError("the detector yielded more detections than it received frames")
        summary.worked += 1
        yield waiting.popleft(), detections
    if waiting:
        raise RuntimeError(f"the detector yielded no detections for the last {len(waiting)} frames")


def _warm_up(detector: Detector, frame: Frame, count: int) -> float:
    """Run `count` copies of the first frame, which binds networks and allocates memory. Returns the seconds taken."""
    start = time.perf_counter()
    for _ in detector([frame.image] * count) if count else ():
        pass
    return time.perf_counter() - start


def _chosen(detections: Detections, threshold: float, only: frozenset[int] | None) -> Detections:
    chosen = detections.above(threshold)
    return chosen if only is None else chosen.where(np.isin(chosen.classes, sorted(only)))


def _finished(clip: Clip, sinks: Sequence) -> int:
    """The number of complete frames from an earlier run in every sink that records frames."""
    if clip.live:
        raise InputError(f"--resume: {clip.source.where} is live and cannot be resumed; run without --resume")
    counts = [count for count in (sink.finished() for sink in sinks) if count is not None]
    if not counts:
        raise InputError(
            "--resume: needs the detections.jsonl or the film of the earlier run; give its --output or --json"
        )
    if clip.length is not None and min(counts) > clip.length:
        raise InputError(f"--resume: the earlier run has {min(counts)} frames, {clip.source.where} only {clip.length}")
    return min(counts)


def _catch_up(tracker: Tracker, sinks: Sequence, done: int) -> None:
    """Update the tracker with the frames finished by an earlier run."""
    files = [sink for sink in sinks if isinstance(sink, JsonLines)]
    if not files:
        raise InputError("--resume: --track continues from the JSON lines of the earlier run, so it needs --json")
    for tracked in islice(files[0].tracked(), done):
        tracker.follow(tracked)


def _close_all(sinks: Sequence) -> None:
    """Close all sinks. Errors are only logged, since the caller raises the error that ended the run."""
    for sink in sinks:
        try:
            sink.close()
        except (OSError, InputError) as error:
            log.warning("%s: not closed properly: %s", sink.path, error)
