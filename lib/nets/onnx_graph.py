"""A network's symbol as an ONNX graph, for input of any size.

MXNet brings an exporter, but it writes sizes as numbers, so that a map cropped to another's size fits one picture size
only. The networks take some twenty operators; here each is a function that says what it is in ONNX. Its keyword
arguments are the attributes that it understands: a symbol with any other is refused by Python.
"""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.backends.mxnet.loader import mx
from lib.errors import InputError

OPSET, IR_VERSION = 13, 8  # of 2021: every runtime of today reads them
INSTALL = "pip install -c constraints.txt onnx onnxruntime"
TO_THE_END = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Part:
    """A network for a file of its own.

    symbol: its outputs, all (N, C, h, w), are called as its last nodes are. inputs: channels of each, all of one size
    (N, C, H, W). stride: how many pixels of the resized picture a cell of the inputs is. about: what it is for.
    """

    symbol: Any
    inputs: Mapping[str, int]
    stride: int
    about: str

    def output_names(self) -> list[str]:
        return [name[: -len("_output")] for name in self.symbol.list_outputs()]


def require(package: str):
    """onnx or onnxruntime, which only this needs. InputError: not installed."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise InputError(f"the package {error.name} is not installed: run `{INSTALL}`") from None


def to_onnx(part: Part, args: Mapping, auxs: Mapping):
    """-> onnx.ModelProto with these parameters (numpy or NDArray by name), batch, height and width left open.

    InputError: onnx is not installed. NotImplementedError: an operator, or a use of one, that has no counterpart here.
    """
    onnx = require("onnx")
    graph = _Graph(onnx)
    nodes = json.loads(part.symbol.tojson())
    heads = {number for number, *_ in nodes["heads"]}
    constants = _without_inputs(nodes["nodes"])
    internals = part.symbol.get_internals()
    for number, node in enumerate(nodes["nodes"]):
        op, name = node["op"], node["name"]
        sources = [nodes["nodes"][source]["name"] for source, *_ in node["inputs"]]
        if number in constants:
            graph.values[name] = internals[f"{name}_output"].eval(ctx=mx.cpu())[0].asnumpy()
        elif op != "null":
            if op not in _OPERATORS:
                raise NotImplementedError(f"{name}: no ONNX form of MXNet's operator {op}")
            _OPERATORS[op](graph, name, sources, **{key: _read(text) for key, text in node.get("attrs", {}).items()})
        elif name not in part.inputs:
            value = args[name] if name in args else auxs[name]
            graph.values[name] = value.asnumpy() if isinstance(value, mx.nd.NDArray) else np.asarray(value)
    assert not heads & constants, "an output that no input has a part in"
    return _model(onnx, graph, part)


def _model(onnx, graph: _Graph, part: Part):
    sizes = {name: (1, channels, 128, 128) for name, channels in part.inputs.items()}
    _, shapes, _ = part.symbol.infer_shape(**sizes)
    space = ("height", "width") if part.stride == 1 else ("rows", "columns")

    def info(name: str, channels: int, space: tuple[str, str]):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", channels, *space])

    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "fgfa",
            [info(name, channels, space) for name, channels in part.inputs.items()],
            [info(name, shape[1], ("rows", "columns")) for name, shape in zip(part.output_names(), shapes)],
            graph.initializers(),
            doc_string=part.about,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fgfa",
        doc_string=part.about,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _without_inputs(nodes: Sequence[Mapping]) -> set[int]:
    """Numbers of the nodes that depend on no variable."""
    found: set[int] = set()
    for number, node in enumerate(nodes):
        if node["op"] != "null" and all(source in found for source, *_ in node["inputs"]):
            found.add(number)
    return found


def _read(text: str) -> Any:
    """An attribute of a symbol: numbers, tuples, None and booleans as such, words as they are."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


class _Graph:
    """ONNX nodes in order; a node's output bears the node's name. values: parameters and constants by name."""

    def __init__(self, onnx):
        self._onnx = onnx
        self.nodes: list = []
        self.values: dict[str, np.ndarray] = {}

    def add(self, op: str, sources: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(self._onnx.helper.make_node(op, list(sources), [name], name=name, **attributes))
        return name

    def value(self, name: str, value: Any, dtype: type = np.int64) -> str:
        self.values[name] = np.asarray(value, dtype)
        return name

    def initializers(self) -> list:
        """Of the values those that a node reads."""
        read = {name for node in self.nodes for name in node.input}
        return [self._onnx.numpy_helper.from_array(v, name) for name, v in self.values.items() if name in read]


def _unless(fine: bool, name: str, what: str) -> None:
    if not fine:
        raise NotImplementedError(f"{name}: no ONNX form of {what}")


def _convolution(graph, name, sources, *, kernel, num_filter, stride=(1, 1), dilate=(1, 1), pad=(0, 0), no_bias=False):
    graph.add("Conv", sources, name, kernel_shape=kernel, strides=stride, dilations=dilate, pads=[*pad, *pad])


def _deconvolution(graph, name, sources, *, kernel, num_filter, stride=(1, 1), pad=(0, 0), no_bias=True):
    graph.add("ConvTranspose", sources, name, kernel_shape=kernel, strides=stride, pads=[*pad, *pad])


def _crop(graph, name, sources, *, offset, num_args):
    """To the height and width that the second source has when it runs."""
    _unless(num_args == 2, name, "a crop to a fixed size")
    data, like = sources
    shape = graph.add("Shape", [like], f"{name}_shape")
    two, four, axis = (graph.value(f"{name}_{word}", [n]) for word, n in (("two", 2), ("four", 4), ("axis", 0)))
    size = graph.add("Slice", [shape, two, four, axis], f"{name}_size")
    begin, axes = graph.value(f"{name}_begin", offset), graph.value(f"{name}_axes", [2, 3])
    end = graph.add("Add", [size, begin], f"{name}_end")
    graph.add("Slice", [data, begin, end, axes], name)


def _pooling(graph, name, sources, *, kernel, pool_type, stride=(1, 1), pad=(0, 0), pooling_convention="valid"):
    up = pooling_convention == "full"
    _unless(up or pooling_convention == "valid", name, f"pooling convention {pooling_convention}")
    _unless(not (up and any(pad)), name, "padded pooling with sizes rounded up")
    common = {"kernel_shape": kernel, "strides": stride, "pads": [*pad, *pad], "ceil_mode": int(up)}
    if pool_type == "max":
        graph.add("MaxPool", sources, name, **common)
    else:
        _unless(pool_type == "avg", name, f"{pool_type} pooling")
        # MXNet divides by what of a window lies within the padded map: cells past its end do not count, padding does.
        graph.add("AveragePool", sources, name, count_include_pad=int(any(pad)), **common)


def _batch_norm(graph, name, sources, *, eps=1e-3, fix_gamma=True, use_global_stats=False, momentum=0.9):
    data, gamma, *rest = sources
    if fix_gamma:
        gamma = graph.value(f"{name}_ones", np.ones_like(graph.values[gamma]), np.float32)
    graph.add("BatchNormalization", [data, gamma, *rest], name, epsilon=eps)


def _activation(graph, name, sources, *, act_type):
    _unless(act_type == "relu", name, f"activation {act_type}")
    graph.add("Relu", sources, name)


def _leaky(graph, name, sources, *, act_type="leaky", slope=0.25):
    _unless(act_type == "leaky", name, f"LeakyReLU {act_type}")
    graph.add("LeakyRelu", sources, name, alpha=slope)


def _concat(graph, name, sources, *, num_args, dim=1):
    graph.add("Concat", sources, name, axis=dim)


def _slice_axis(graph, name, sources, *, axis, begin, end):
    limits = {"begin": begin, "end": TO_THE_END if end is None else end, "axis": axis}
    graph.add("Slice", [*sources, *(graph.value(f"{name}_{word}", [n]) for word, n in limits.items())], name)


def _reshape(graph, name, sources, *, shape):
    """0 keeps the size at its own place, -1 takes the rest: the same in both."""
    _unless(min(shape) >= -1, name, f"reshape to {shape}")
    graph.add("Reshape", [*sources, graph.value(f"{name}_shape", shape)], name)


def _scalar(op: str) -> Callable:
    def convert(graph, name, sources, *, scalar):
        graph.add(op, [*sources, graph.value(f"{name}_scalar", scalar, np.float32)], name)

    return convert


def _softmax(graph, name, sources, *, axis=-1):
    graph.add("Softmax", sources, name, axis=axis)


def _zeros_like(graph, name, sources):
    graph.add("ConstantOfShape", [graph.add("Shape", sources, f"{name}_shape")], name)


def _same(op: str) -> Callable:
    """An operator that takes no attribute."""

    def convert(graph, name, sources):
        graph.add(op, sources, name)

    return convert


_OPERATORS: dict[str, Callable] = {
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "Crop": _crop,
    "Pooling": _pooling,
    "BatchNorm": _batch_norm,
    "Activation": _activation,
    "LeakyReLU": _leaky,
    "Concat": _concat,
    "slice_axis": _slice_axis,
    "Reshape": _reshape,
    "softmax": _softmax,
    "zeros_like": _zeros_like,
    "_div_scalar": _scalar("Div"),
    "_mul_scalar": _scalar("Mul"),
    "elemwise_add": _same("Add"),
    "broadcast_mul": _same("Mul"),
    "_copy": _same("Identity"),
}
