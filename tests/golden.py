"""Comparing with golden figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lib.bbox.detections import Detections


def close(found, expected, tolerance: float) -> None:
    """Fails unless the largest difference is at most `tolerance` times the largest expected absolute value."""
    found = found.asnumpy() if hasattr(found, "asnumpy") else np.asarray(found)
    assert found.shape == expected.shape
    difference = np.abs(found.astype(np.float64) - expected).max() / np.abs(expected).max()
    assert difference <= tolerance, f"{difference:.2e} of the largest value"


def names_and_shapes(symbol, inputs: dict) -> dict:
    """{"params": {name: shape}, "aux": ..., "outputs": ..., "argument_order": names} for these shapes of the inputs."""
    args, outputs, auxs = symbol.infer_shape(**inputs)
    params = dict(zip(symbol.list_arguments(), args))
    return {
        "argument_order": symbol.list_arguments(),
        "params": {name: shape for name, shape in params.items() if name not in inputs},
        "aux": dict(zip(symbol.list_auxiliary_states(), auxs)),
        "outputs": dict(zip(symbol.list_outputs(), outputs)),
    }


def rows(detections: Detections) -> np.ndarray:
    """(N, 6): class, box, score."""
    return np.column_stack((detections.classes, detections.boxes, detections.scores))


def same_share(found: np.ndarray, expected: np.ndarray, pixels: float = 0.05) -> float:
    """Share of the rows (N, 6) class, box, score that the other side has too, in any order."""
    near = (np.abs(found[:, None] - expected[None]) < [0.5, *[pixels] * 4, 2e-4]).all(axis=2)
    return min(near.any(axis=0).mean(), near.any(axis=1).mean())


def same_detections(found: Detections, expected: Detections | np.ndarray, share: float = 0.98) -> None:
    """Fails unless `share` of the detections are the same, in any order: scores that tie, or differ by rounding alone,
    come in another order and decide about an overlap, the limit of 300, or a pooling bin.
    """
    found, expected = (value if isinstance(value, np.ndarray) else rows(value) for value in (found, expected))
    assert len(found) == len(expected)
    assert same_share(found, expected) >= share


def same_clip(found: Iterable[Detections], expected: Sequence[Detections]) -> None:
    """Fails unless nearly all detections of each frame are the same."""
    found = list(found)
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        same_detections(one, other, share=0.9)
