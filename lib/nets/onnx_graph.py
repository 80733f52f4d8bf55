"""An `F` that builds ONNX graphs of convolutional networks, for inputs of any size."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.errors import InputError
from lib.nets.part import Part

OPSET, IR_VERSION = 13, 8  # from 2021, so all current runtimes can read them
INSTALL = "pip install -c constraints.txt onnx onnxruntime"
TO_THE_END = np.iinfo(np.int64).max


def require(package: str):
    """Imports onnx or onnxruntime, which only the export needs. Raises InputError if it is not installed."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise InputError(f"the package {error.name} is not installed: run `{INSTALL}`") from None


def to_onnx(
    part: Part, args: Mapping[str, np.ndarray], auxs: Mapping[str, np.ndarray], channels: Mapping[str, int]
) -> Any:
    """An onnx.ModelProto with these parameters and free batch size, height and width.

    channels: of each output, all of which are (N, C, h, w). Raises InputError if onnx is not installed, AttributeError
    for an operator that has no ONNX form here, and TypeError or NotImplementedError for such a use of one.
    """
    onnx = require("onnx")
    F = OnnxFunctions(onnx, {**args, **auxs})
    outputs = part.build(F)
    for name, value in outputs.items():
        if value.name != name:
            F.add("Identity", [value], name)
    space = ("height", "width") if part.stride == 1 else ("rows", "columns")

    def info(name: str, channels: int, space: tuple[str, str]):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", channels, *space])

    graph = onnx.helper.make_graph(
        F.nodes,
        "fgfa",
        [info(name, count, space) for name, count in part.inputs.items()],
        [info(name, channels[name], ("rows", "columns")) for name in outputs],
        F.initializers(),
        doc_string=part.about,
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fgfa",
        doc_string=part.about,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclass(frozen=True, eq=False)
class Value:
    """A value of the graph, by name."""

    name: str
    F: OnnxFunctions

    def __add__(self, other: Value) -> Value:
        return self.F.add("Add", [self, other])

    def __mul__(self, number: float) -> Value:
        return self.F.add("Mul", [self, self.F.constant(number, np.float32)])

    def __truediv__(self, number: float) -> Value:
        return self.F.add("Div", [self, self.F.constant(number, np.float32)])


class OnnxFunctions:
    """The operators of `lib.backends.functions.Functions` that a `Part` uses.

    Options without an ONNX form are not parameters of its methods, so that Python rejects them.
    """

    fused = False

    def __init__(self, onnx: Any, parameters: Mapping[str, np.ndarray]):
        self._onnx = onnx
        self._values: dict[str, np.ndarray] = dict(parameters)
        self.nodes: list = []

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no ONNX form of the operator {name}")

    def add(self, op: str, sources: Sequence[Value], name: str | None = None, **attributes: Any) -> Value:
        """Adds a node, whose output gets the same name."""
        name = name or f"{op}_{len(self.nodes)}"
        read = [source.name for source in sources]
        self.nodes.append(self._onnx.helper.make_node(op, read, [name], name=name, **attributes))
        return Value(name, self)

    def constant(self, value: Any, dtype: type = np.int64) -> Value:
        name = f"constant_{len(self._values)}"
        self._values[name] = np.asarray(value, dtype)
        return Value(name, self)

    def initializers(self) -> list:
        """The parameters and constants that a node reads."""
        read = {name for node in self.nodes for name in node.input}
        return [self._onnx.numpy_helper.from_array(v, name) for name, v in self._values.items() if name in read]

    def _parameters(self, name: str, *kinds: str) -> list[Value]:
        return [Value(f"{name}_{kind}", self) for kind in kinds]

    def Variable(self, name: str) -> Value:
        return Value(name, self)

    def Convolution(
        self, data, *, name, num_filter, kernel, stride=(1, 1), dilate=(1, 1), pad=(0, 0), no_bias=False
    ) -> Value:
        sources = [data, *self._parameters(name, "weight", *([] if no_bias else ["bias"]))]
        return self.add("Conv", sources, name, kernel_shape=kernel, strides=stride, dilations=dilate, pads=[*pad, *pad])

    def Deconvolution(self, data, *, name, num_filter, kernel, stride, no_bias) -> Value:
        sources = [data, *self._parameters(name, "weight", *([] if no_bias else ["bias"]))]
        return self.add("ConvTranspose", sources, name, kernel_shape=kernel, strides=stride, pads=[0, 0, 0, 0])

    def Crop(self, data, like, *, offset) -> Value:
        """To the height and width that `like` has when the graph runs."""
        two, four, first = (self.constant([number]) for number in (2, 4, 0))
        size = self.add("Slice", [self.add("Shape", [like]), two, four, first])
        begin = self.constant(offset)
        return self.add("Slice", [data, begin, self.add("Add", [size, begin]), self.constant([2, 3])])

    def Pooling(
        self,
        data,
        *,
        kernel,
        pool_type,
        stride=(1, 1),
        pad=(0, 0),
        pooling_convention="valid",
        global_pool=False,
        name=None,
    ) -> Value:
        _unless(not global_pool, "pooling of the whole map")
        up = pooling_convention == "full"
        _unless(up or pooling_convention == "valid", f"pooling convention {pooling_convention}")
        _unless(not (up and any(pad)), "padded pooling with sizes rounded up")
        common = {"kernel_shape": kernel, "strides": stride, "pads": [*pad, *pad], "ceil_mode": int(up)}
        if pool_type == "max":
            return self.add("MaxPool", [data], name, **common)
        _unless(pool_type == "avg", f"{pool_type} pooling")
        # MXNet divides by the number of cells within the padded map: padding counts, cells beyond it do not.
        return self.add("AveragePool", [data], name, count_include_pad=int(any(pad)), **common)

    def BatchNorm(self, data, *, name, use_global_stats, fix_gamma, eps, momentum=0.9) -> Value:
        _unless(use_global_stats, "BatchNorm with the statistics of the batch")
        gamma, *rest = self._parameters(name, "gamma", "beta", "moving_mean", "moving_var")
        if fix_gamma:
            gamma = self.constant(np.ones_like(self._values[gamma.name]), np.float32)
        return self.add("BatchNormalization", [data, gamma, *rest], name, epsilon=eps)

    def Activation(self, data, *, act_type, name=None) -> Value:
        _unless(act_type == "relu", f"activation {act_type}")
        return self.add("Relu", [data], name)

    def LeakyReLU(self, data, *, act_type, slope) -> Value:
        _unless(act_type == "leaky", f"LeakyReLU {act_type}")
        return self.add("LeakyRelu", [data], alpha=slope)

    def concat(self, *data, dim) -> Value:
        if all(each.name in self._values for each in data):
            return self.constant(np.concatenate([self._values[each.name] for each in data], dim), np.float32)
        return self.add("Concat", data, axis=dim)

    def slice_axis(self, data, axis, begin, end) -> Value:
        limits = (begin, TO_THE_END if end is None else end, axis)
        return self.add("Slice", [data, *(self.constant([number]) for number in limits)])

    def reshape(self, data, shape, *, name=None) -> Value:
        """0 keeps the size at its position, -1 is inferred, in MXNet and ONNX alike."""
        _unless(min(shape) >= -1, f"reshape to {shape}")
        return self.add("Reshape", [data, self.constant(shape)], name)

    def full(self, *, shape, val) -> Value:
        return self.constant(np.full(shape, val), np.float32)

    def zeros_like(self, data) -> Value:
        return self.add("ConstantOfShape", [self.add("Shape", [data])])

    def softmax(self, data, *, axis) -> Value:
        return self.add("Softmax", [data], axis=axis)

    def broadcast_mul(self, a, b) -> Value:
        return self.add("Mul", [a, b])

    def identity(self, data, *, name) -> Value:
        return self.add("Identity", [data], name)


def _unless(fine: bool, what: str) -> None:
    if not fine:
        raise NotImplementedError(f"no ONNX form of {what}")
