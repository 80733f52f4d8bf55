"""Faster convolutional networks for inference: layers that follow one another become one.

A BatchNorm is folded into the weights of the convolution before it; the sum with a shortcut and the activation after it
are computed as the convolution writes its output. Maps and weights are channels-last; on the CPU oneDNN packs the
weights once. The plan is made at the first call, by running the network on tensors without memory, so networks need not
know about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lib.backends.base import Arrays, Build
from lib.backends.torch.functions import TorchFunctions
from lib.backends.torch.loader import Tensor, torch
from lib.backends.torch.runtime import Forward, in_type

_LAST = torch.channels_last
_FEWEST = 16  # input channels of a float32 convolution that is worth packing; oneDNN pads fewer


@dataclass(eq=False)
class _Layer:
    """A convolution, and what follows it: output is what it returns, norm its BatchNorm's arguments, and activation the
    number of its activation among all of the network. adds: whether a sum lies between them.
    """

    shape: tuple[int, ...]
    sizes: dict[str, Any]
    output: Tensor
    norm: dict[str, Any] | None = None
    activation: int | None = None
    kind: str = "none"
    slope: float = 0.0
    adds: bool = False
    read: list[Tensor] = field(default_factory=list)  # what only the next of these layers may read


class _Uses(torch.overrides.TorchFunctionMode):
    """Counts how often each tensor is an argument. It keeps all tensors alive, so that their ids stay unique."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[int] = Counter()
        self.sums: dict[int, list[Tensor]] = {}  # what was added, by id of the result
        self._alive: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        attribute = getattr(func, "__name__", "") == "__get__"
        if not attribute and not any(result is argument for argument in args):  # `to` may return its argument
            self._alive += [args, kwargs, result]
            self.count.update(id(tensor) for tensor in _tensors([args, kwargs]))
            if func is torch.Tensor.add:
                self.sums[id(result)] = _tensors(args)
        return result


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [tensor for item in value for tensor in _tensors(item)]


class _Plan(TorchFunctions):
    """Runs a network on tensors without memory to find which layers follow one another.

    layers: convolutions by name, in the order in which they run.
    """

    def __init__(self, build: Build, values: Mapping[str, Tensor]):
        shapes = {name: torch.empty_like(value, device="meta") for name, value in values.items()}
        super().__init__(shapes, torch.device("meta"))
        self.layers: dict[str, _Layer] = {}
        self._called: Counter[str] = Counter()
        self._activations = 0
        self._uses = _Uses()
        with self._uses:
            outputs = build(self)
        self._uses.count.update(id(output) for output in outputs.values())
        self._settle()

    def Convolution(self, data: Tensor, *, name: str, **sizes: Any) -> Tensor:
        output = super().Convolution(data, name=name, **sizes)
        self._called[name] += 1
        self.layers[name] = _Layer(tuple(data.shape), sizes, output)
        return output

    def BatchNorm(self, data: Tensor, **options: Any) -> Tensor:
        output = super().BatchNorm(data, **options)
        for layer in self.layers.values():
            if layer.output is data and layer.norm is None:
                layer.norm = {**options, "output": output}
        return output

    def Activation(self, data: Tensor, *, act_type: str, name: str | None = None) -> Tensor:
        return self._activation(data, super().Activation(data, act_type=act_type), act_type, 0.0)

    def LeakyReLU(self, data: Tensor, *, act_type: str, slope: float) -> Tensor:
        return self._activation(data, super().LeakyReLU(data, act_type=act_type, slope=slope), "leaky_relu", slope)

    def _activation(self, data: Tensor, output: Tensor, kind: str, slope: float) -> Tensor:
        summands = self._uses.sums.get(id(data), [])
        if len(summands) != 2 or any(summand.shape != data.shape for summand in summands):
            summands = []
        if kind in ("relu", "leaky_relu"):
            for layer in reversed(self.layers.values()):  # of two that are summed, the later one adds
                last = layer.norm["output"] if layer.norm else layer.output
                if last is data or any(last is summand for summand in summands):
                    layer.activation, layer.kind, layer.slope = self._activations, kind, slope
                    layer.read, layer.adds = [last, data] if summands else [last], bool(summands)
                    break
        self._activations += 1
        return output

    def _settle(self) -> None:
        """Drops what would change a tensor that something else reads as well."""
        once = lambda tensor: self._uses.count[id(tensor)] == 1  # noqa: E731
        norms = Counter(layer.norm["name"] for layer in self.layers.values() if layer.norm)
        self.layers = {name: layer for name, layer in self.layers.items() if self._called[name] == 1}
        for layer in self.layers.values():
            if not all(once(tensor) for tensor in layer.read):
                layer.activation, layer.adds = None, False
            if layer.norm:
                layer.norm.pop("output")
                if not once(layer.output) or norms[layer.norm["name"]] > 1:
                    layer.norm = layer.activation = None
                    layer.adds = False


class _Convolution:
    """A convolution ready to run, with BatchNorm and activation: maps (N, C, H, W) to (N, O, h, w), channels-last."""

    def __init__(self, weight: Tensor, bias: Tensor | None, layer: _Layer, dtype: torch.dtype, device: torch.device):
        sizes = layer.sizes
        self._stride, self._dilate = list(sizes.get("stride", (1, 1))), list(sizes.get("dilate", (1, 1)))
        self._pad = list(sizes.get("pad", (0, 0)))
        self._kind = layer.kind if layer.activation is not None else "none"
        self._slope = [layer.slope] if self._kind == "leaky_relu" else []
        self.adds = layer.adds
        self._bias = bias  # in float32, since rounding it shifts whole maps
        self._weight = weight.to(dtype).contiguous(memory_format=_LAST)
        # oneDNN's fused convolutions, those that torch.compile uses on the CPU
        self._packed = (
            device.type == "cpu"
            and torch.backends.mkldnn.is_available()
            and (weight.shape[1] >= _FEWEST or dtype != torch.float32)
        )
        if self._packed:
            self._weight = torch.ops.mkldnn._reorder_convolution_weight(
                self._weight, self._pad, self._stride, self._dilate, 1, list(layer.shape)
            )
            if layer.adds and bias is not None:
                self._bias = bias.to(dtype)  # the operator takes no other

    def __call__(self, x: Tensor, summand: Tensor | None = None) -> Tensor:
        """summand: added before the activation; given if `adds`."""
        x = x.to(self._weight.dtype).contiguous(memory_format=_LAST)
        if self._packed:
            sizes = (self._weight, self._bias, self._pad, self._stride, self._dilate, 1)
            if summand is None:
                return torch.ops.mkldnn._convolution_pointwise(x, *sizes, self._kind, self._slope, "")
            summand = summand.to(x.dtype).contiguous(memory_format=_LAST)
            return torch.ops.mkldnn._convolution_pointwise(x, summand, *sizes, "add", 1, self._kind, self._slope, None)
        y = self._convolved(x)
        if summand is not None:
            y = y.add_(summand)
        if self._kind == "none":
            return y
        return y.relu_() if self._kind == "relu" else torch.nn.functional.leaky_relu_(y, *self._slope)

    def _convolved(self, x: Tensor) -> Tensor:
        sizes = (self._stride, self._pad, self._dilate)
        if self._bias is None or self._bias.dtype == x.dtype:
            return torch.nn.functional.conv2d(x, self._weight, self._bias, *sizes)
        return torch.nn.functional.conv2d(x, self._weight, None, *sizes).add_(self._bias[:, None, None])


class _Pending:
    """A convolution that waits for what is added to its output."""

    def __init__(self, convolution: _Convolution, x: Tensor):
        self._convolution, self._x = convolution, x

    def __add__(self, summand: Tensor) -> Tensor:
        return self._convolution(self._x, summand)

    __radd__ = __add__


class _Fused(TorchFunctions):
    """One execution of a network with fused layers."""

    def __init__(self, values: Mapping[str, Tensor], device: torch.device, fused: Folded):
        super().__init__(values, device)
        self._fused, self._number = fused, -1

    def Convolution(self, data: Tensor, *, name: str, **sizes: Any) -> Tensor:
        ready = self._fused.convolutions.get(name)
        if ready is None:
            return super().Convolution(data, name=name, **sizes)
        return _Pending(ready, data) if ready.adds else ready(data)

    def BatchNorm(self, data: Tensor, *, name: str, **options: Any) -> Tensor:
        return data if name in self._fused.norms else super().BatchNorm(data, name=name, **options)

    def Activation(self, data: Tensor, *, act_type: str, name: str | None = None) -> Tensor:
        self._number += 1
        if self._number in self._fused.activations:
            return data
        return super().Activation(data, act_type=act_type)

    def LeakyReLU(self, data: Tensor, *, act_type: str, slope: float) -> Tensor:
        self._number += 1
        if self._number in self._fused.activations:
            return data
        return super().LeakyReLU(data, act_type=act_type, slope=slope)


class Folded(Forward):
    """Inference with fused layers, for networks of convolutions: `Forward` with the same results up to rounding.

    dtype: of the convolutions, and of what lies between them.
    """

    def __init__(
        self,
        build: Build,
        device: torch.device,
        args: Arrays,
        auxs: Arrays,
        dtype: torch.dtype = torch.float32,
        *,
        graphs: bool = True,
    ):
        # BatchNorms are folded in float32, so that weights round once. Results in float32 are to be repeatable.
        super().__init__(build, device, args, auxs, graphs=graphs, benchmark=dtype == torch.bfloat16)
        self._dtype = dtype
        self._folded = False
        self.convolutions: dict[str, _Convolution] = {}
        self.norms: set[str] = set()  # those that are part of a convolution
        self.activations: set[int] = set()  # likewise, by their number in the network

    def _functions(self, values: Mapping[str, Tensor]) -> TorchFunctions:
        if not self._folded:
            self._fold(values)
        return _Fused({**values, **self._values}, self._device, self)

    def _fold(self, values: Mapping[str, Tensor]) -> None:
        plan = _Plan(self._build, values)
        for name, layer in plan.layers.items():
            weight, bias = self._values.pop(f"{name}_weight"), self._values.pop(f"{name}_bias", None)
            if layer.norm:
                self.norms.add(layer.norm["name"])
                weight, bias = self._with_norm(weight, bias, **layer.norm)
            if layer.activation is not None:
                self.activations.add(layer.activation)
            self.convolutions[name] = _Convolution(weight, bias, layer, self._dtype, self._device)
        self._values = in_type(self._values, self._dtype)
        self._folded = True

    def _with_norm(
        self, weight: Tensor, bias: Tensor | None, *, name: str, fix_gamma: bool, eps: float, **_: Any
    ) -> tuple[Tensor, Tensor]:
        """Weight and bias of a convolution and the BatchNorm after it."""
        gamma, beta = self._values[f"{name}_gamma"], self._values[f"{name}_beta"]
        mean, var = self._values[f"{name}_moving_mean"], self._values[f"{name}_moving_var"]
        factor = torch.rsqrt(var + eps) * (1.0 if fix_gamma else gamma)
        shift = beta - mean * factor
        return weight * factor[:, None, None, None], shift if bias is None else shift + bias * factor
