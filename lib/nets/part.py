"""A network that can be run, inspected and exported without the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lib.backends.base import Backend, Build, Shape


@dataclass(frozen=True)
class Part:
    """One of the networks that a detector consists of; made of convolutions only, so that it exports to ONNX.

    inputs: channels of each input, all of one size (N, C, H, W). stride: pixels of the resized image in a cell of the
    inputs. about: what it computes. needed: whether the settings make use of it; weights may hold it all the same.
    """

    build: Build
    inputs: Mapping[str, int]
    stride: int
    about: str
    needed: bool = True

    def input_shapes(self, height: int, width: int, batch: int = 1) -> dict[str, Shape]:
        """Shapes of the inputs for a resized image of that many pixels."""
        cells = (-(-height // self.stride), -(-width // self.stride))
        return {name: (batch, channels, *cells) for name, channels in self.inputs.items()}

    def shapes(self, backend: Backend) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Shapes of its parameters by name: (args, auxs)."""
        return backend.shapes(self.build, **self.input_shapes(64, 64))
