"""FGFA in PyTorch on a device: checks its results against the CPU, then times it. Called by bench.full_frame.

Rates are those of the whole detector, host included, in the steady state. The shares of the time come from a
second run, operator by operator, which waits for the device after each network. Memory is the peak: that of PyTorch on
a GPU; on the CPU that of the process so far.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench import training_step
from bench.contestants import METHOD, Timed, TimedNetwork, frames, settings, synthetic_detector
from bench.turns import head, row, say, seconds
from bench.weights import synthetic
from fgfa_rfcn.schedule import Schedule
from lib.backends.base import Network, Precision
from lib.backends.torch import kernels
from lib.backends.torch.backend import Torch
from lib.backends.torch.loader import torch
from lib.bbox.detections import Detections

BATCHES = (1, 10)
MODES = {  # precision, and whether CUDA graphs are on
    "float32, eager": ("float32", False),
    "bfloat16, eager": ("bfloat16", False),
    "bfloat16, graphs": ("bfloat16", True),
}
DIFFERENCES = {"float32": 1e-3, "bfloat16": 5e-2}  # allowed, mean absolute, relative to the mean absolute value
FRAMES_A_SECOND, BANDWIDTH = 100, 0.5  # goals on an H100 or H200


class TimedBackend(Torch):
    """Measures the networks of VideoDetector that no precision makes: `image`, then `chain`, then `heads`."""

    def __init__(self, timed: dict[str, list[float]], wait: Any):
        super().__init__(graphs=False)
        self._timed, self._wait, self._names = timed, wait, iter(("image", "chain", "heads"))

    def network(self, *arguments: Any) -> Network:
        return TimedNetwork(super().network(*arguments), self._timed.setdefault(next(self._names), []), self._wait)

    def overlaps(self, device: Any) -> bool:
        return False  # so that each network's time is its own


class Recorded:
    """A precision that keeps the last output of each network."""

    def __init__(self, inner: Precision):
        self._inner, self.outputs = inner, {}

    def network(self, name: str, *arguments: Any) -> Network:
        network = self._inner.network(name, *arguments)

        class Recording:
            buffers = staticmethod(network.buffers)

            def __call__(_, **inputs: Any) -> Any:
                outputs = network(**inputs)
                self.outputs[name] = np.asarray(next(iter(outputs.values())))
                return outputs

        return Recording()


class Bench:
    """Detectors on one device, for frames of `short` pixels and the ratio of 600 x 1000."""

    def __init__(self, device: str, short: int):
        self.device, self.gpus, self.short = device, "0" if device == "cuda" else "", short
        self._weights = synthetic(METHOD, settings(0, short), Torch())
        Torch().devices(self.gpus)  # raises InputError where there is no GPU

    def frames(self):
        return frames(self.short, round(self.short * 1000 / 600))

    def detector(self, reach: int, backend: Torch, precision: Precision, batch: int = 1, gpus: str | None = None):
        gpus = self.gpus if gpus is None else gpus
        cfg = settings(reach, self.short)
        return synthetic_detector(METHOD, cfg, backend, precision, gpus=gpus, batch=batch, weights=self._weights)

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def check(self, kind: str, graphs: bool) -> dict[str, float]:
        """Differences from float32 on the CPU. Raises RuntimeError where they are too large."""
        found, expected = (self._outputs(*case) for case in ((self.gpus, kind, graphs), ("", "float32", False)))
        differences = {}
        for name in ("features", "flow"):
            ours, theirs = found[0][name], expected[0][name]
            differences[name] = float(np.abs(ours - theirs).mean() / np.abs(theirs).mean())
        differences["detections"] = _matched(found[1], expected[1])
        say(", ".join(f"{name} {value:.2g}" for name, value in differences.items()))
        if not max(differences["features"], differences["flow"]) <= DIFFERENCES[kind]:
            raise RuntimeError(f"{kind} on {self.device} differs from the CPU: {differences}")
        if kind == "float32" and differences["detections"] < 0.8:
            raise RuntimeError(f"detections on {self.device} differ from those on the CPU: {differences}")
        return differences

    def _outputs(self, gpus: str, kind: str, graphs: bool) -> tuple[dict[str, np.ndarray], Detections]:
        backend = Torch(graphs=graphs)
        recorded = Recorded(backend.precision(kind, ""))
        clip = [frame for frame, _ in zip(self.frames(), range(3))]
        *_, last = self.detector(1, backend, recorded, gpus=gpus)(clip)
        return recorded.outputs, last

    def speed(self, reach: int, batch: int, mode: str, runs: int) -> dict[str, Any]:
        """Frames per second, and gigabytes."""
        kind, graphs = MODES[mode]
        self._forget_peak()
        backend = Torch(graphs=graphs)
        run = self.detector(reach, backend, backend.precision(kind, ""), batch)(self.frames())

        def several() -> None:
            for _ in range(batch):
                next(run)

        several()
        several()  # graphs have been recorded
        taken = [seconds(several) for _ in range(runs)]
        fps = batch / statistics.median(taken)
        memory = training_step.peak_gigabytes(self.device)
        row(str(reach), str(batch), mode, f"{fps:.2f}", f"{memory:.2f} GB")
        return {"k": reach, "batch": batch, "mode": mode, "frames_a_second": fps, "gigabytes": memory}

    def training(self, kind: str, runs: int) -> dict[str, float]:
        """Seconds of a training step, and gigabytes. kind: `TRAIN.PRECISION`."""
        self._forget_peak()
        return training_step.on_device(self.device, (self.short, round(self.short * 1000 / 600)), runs, kind)

    def _forget_peak(self) -> None:
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def shares(self, reach: int, kind: str, runs: int, aggregation: float) -> dict[str, float]:
        """Shares of the time of a frame. aggregation: seconds of the operator, which `heads` is measured with."""
        timed = Timed(Torch().precision(kind, ""), self.wait)
        backend = TimedBackend(timed.seconds, self.wait)
        run = self.detector(reach, backend, timed)(self.frames())
        next(run)
        next(run)
        for times in timed.seconds.values():
            times.clear()
        total = sum(seconds(lambda: next(run)) for _ in range(runs))
        parts = {name: sum(times) for name, times in timed.seconds.items()}
        found = {"backbone": parts["features"] + parts["image"], "flow": parts["flow"] + parts["chain"]}
        found["aggregation"] = min(runs * aggregation, parts["heads"])
        found["heads"] = parts["heads"] - found["aggregation"]
        found["host"] = total - parts["heads"] - found["backbone"] - found["flow"]
        shares = {name: value / total for name, value in found.items()}
        say(f"K = {reach}, {kind}, eager: " + ", ".join(f"{name} {value:.0%}" for name, value in shares.items()))
        return shares

    def aggregation(self, reach: int, runs: int) -> dict[str, float]:
        """Seconds of the operator for one window, and the share of the device's copy bandwidth at which it reads."""
        cfg = settings(reach, self.short)
        window, channels = Schedule.of(cfg.TEST).window, cfg.network.FEAT_DIM + cfg.network.EMBED_DIMS[-1]
        cells = [-(-side // cfg.network.RCNN_FEAT_STRIDE) for side in (self.short, round(self.short * 1000 / 600))]
        (device,) = Torch().devices(self.gpus)
        ring = torch.randn(window, *cells, channels, device=device)
        flow = torch.randn(window, 2, *cells, device=device)
        order = torch.arange(window, device=device, dtype=torch.float32)
        copy = torch.empty_like(ring)
        operator = self._median(lambda: kernels.aggregate(ring, flow, order, cfg.network.FEAT_DIM, reach), runs)
        copying = self._median(lambda: copy.copy_(ring), runs)
        amount = ring.numel() * ring.element_size()
        return {"seconds": operator, "bandwidth": (amount / operator) / (2 * amount / copying)}

    def _median(self, run: Any, runs: int) -> float:
        def whole() -> None:
            run()
            self.wait()

        return statistics.median([seconds(whole) for _ in range(runs + 3)][3:])


def measure(device: str, reaches: Sequence[int], short: int, runs: int) -> dict[str, Any]:
    """All figures, which are printed as well. Raises InputError without such a device, RuntimeError if it is wrong."""
    bench = Bench(device, short)
    width = round(short * 1000 / 600)
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "CPU"
    say(f"{name}, PyTorch {torch.__version__}, frames of {short} x {width}; differences from the CPU:")
    modes = {mode: case for mode, case in MODES.items() if device == "cuda" or not case[1]}
    if device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        modes = {mode: case for mode, case in modes.items() if case[0] == "float32"}
        say("bfloat16: left out (this processor lacks AVX-512)")
    figures: dict[str, Any] = {"device": name, "torch": torch.__version__, "size": [short, width]}
    figures["checks"] = {mode: bench.check(*case) for mode, case in modes.items()}
    head("K", "batch", "", "frames per second", "memory")
    figures["speed"] = [
        bench.speed(reach, batch, mode, runs) for reach in reaches for batch in BATCHES for mode in modes
    ]
    figures["aggregation"] = {reach: bench.aggregation(reach, runs) for reach in reaches}
    figures["shares"] = {
        mode: {reach: bench.shares(reach, kind, runs, figures["aggregation"][reach]["seconds"]) for reach in reaches}
        for mode, (kind, graphs) in modes.items()
        if not graphs
    }
    figures["training"] = {
        kind: bench.training(kind, runs) for kind in dict.fromkeys(kind for kind, _ in modes.values())
    }
    widest = max(reaches)
    best = max(found["frames_a_second"] for found in figures["speed"] if found["k"] == widest)
    share = figures["aggregation"][widest]["bandwidth"]
    say(f"goals on an H100 at 600 x 1000: {FRAMES_A_SECOND} frames/s with K = 9; here {best:.1f} (K = {widest})")
    step = min(found["step"] for found in figures["training"].values())
    say(f"  a training step in {1e3 * training_step.GOAL:.0f} ms; here {1e3 * step:.0f} ms")
    say(f"  aggregation at {BANDWIDTH:.0%} of the copy bandwidth; here {share:.0%}")
    return figures


def _matched(found: Detections, expected: Detections) -> float:
    """Share of the 20 best expected detections that were found, within 0.01 in score and 1 pixel."""
    best = np.argsort(-expected.scores)[:20]
    hits = 0
    for index in best:
        near = (np.abs(found.boxes - expected.boxes[index]).max(1, initial=0) <= 1) & (
            np.abs(found.scores - expected.scores[index]) <= 0.01
        )
        hits += bool((near & (found.classes == expected.classes[index])).any())
    return hits / max(len(best), 1)
