"""A network that can be run, inspected and exported on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lib.backends.base import Backend, Build, Shape


@dataclass(frozen=True)
class Part:
    """One of the networks of a detector. It consists of convolutions only, so that it can be exported to ONNX.

    inputs: channels of each input; all inputs (N, C, H, W) have the same size. stride: pixels of the resized image per
    cell of the inputs. about: what it computes. needed: whether the settings use it; weights may contain it anyway.
    """

    build: Build
    inputs: Mapping[str, int]
    stride: int
    about: str
    needed: bool = True

    def input_shapes(self, height: int, width: int, batch: int = 1) -> dict[str, Shape]:
        """Shapes of the inputs for a resized image of this size."""
        cells = (-(-height // self.stride), -(-width // self.stride))
        return {name: (batch, channels, *cells) for name, channels in self.inputs.items()}

    def shapes(self, backend: Backend) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Shapes of its parameters by name: (args, auxs)."""
        return backend.shapes(self.build, **self.input_shapes(64, 64))
