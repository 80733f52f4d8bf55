"""Networks of convolutions in less precision, for testing on a CPU: bfloat16, or int8 with calibrated ranges.

MXNet's own passes over oneDNN do the work. They know nothing of the compiled operators, so that a detector's feature
and flow networks are symbols of their own, which a `Precision` turns into something to run; the rest stays in float32.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.backends.base import Arrays, Build, Device, ranges_path
from lib.backends.mxnet.functions import Operators
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.runtime import Forward, as_arrays, symbol_of
from lib.errors import InputError
from lib.files import replacing, sha256

_AVX512 = {"avx512bw", "avx512vl", "avx512dq"}
_ADVICE = "run calibrate.py of the method with the same --cfg, --set and --weights"
_SPLIT = 2**16 + 1  # a factor of Veltkamp's splitting, which rounds float32's 24 bits to the 8 of bfloat16
_FUSED = "MKLDNN_QUANTIZE"  # oneDNN's grouping of a convolution with what follows it

Ranges = Sequence[Sequence[float]]  # [low, high] of every layer that int8 must know, in the order of the graph


class Precision:
    """Float32; a `lib.backends.base.Precision`. Networks hold only MXNet's own operators."""

    def __init__(self, functions: Operators):
        self._functions = functions

    def network(self, name: str, build: Build, device: Device, args: Arrays, auxs: Arrays) -> Forward:
        outputs = build(self._functions)
        symbol = symbol_of(lambda _: outputs, self._functions)
        args = as_arrays(_used(args, symbol.list_arguments()))
        auxs = as_arrays(_used(auxs, symbol.list_auxiliary_states()))
        network = self.bind(name, symbol, device, args, auxs)
        network.outputs = list(outputs)  # MXNet's passes rename them
        return network

    def bind(self, name: str, symbol, context, args: Mapping, auxs: Mapping) -> Forward:
        """The network `name` of a symbol and of NDArrays by name."""
        return Forward(symbol, context, args, auxs)


class Bfloat16(Precision):
    """Convolutions, and what lies between them, in bfloat16, sums in float32. InputError: this processor cannot."""

    def __init__(self, functions: Operators):
        super().__init__(functions)
        if not _AVX512 <= _processor_flags():
            raise InputError(
                "TEST.PRECISION: bfloat16 needs a processor with AVX-512, which this one has not; take int8 or float32"
            )

    def bind(self, name: str, symbol, context, args: Mapping, auxs: Mapping) -> Forward:
        symbol, args, auxs = in_bfloat16(symbol, args, auxs)
        return Forward(symbol, context, args, auxs)


class EmulatedBfloat16(Precision):
    """Nearly what `Bfloat16` computes, slowly, on any processor: operators compute in float32, and what they give is
    rounded where it would be bfloat16. oneDNN does several operators in one go, and rounds once where this does twice.
    """

    def bind(self, name: str, symbol, context, args: Mapping, auxs: Mapping) -> Forward:
        symbol, args, auxs = in_bfloat16(symbol, args, auxs)
        args = {name: value.astype(np.float32) for name, value in args.items()}
        return Forward(_rounded_between_operators(symbol), context, args, auxs)


class Int8(Precision):
    """Convolutions of 8-bit numbers. ranges: what calibration saw, by the network's name."""

    def __init__(self, functions: Operators, ranges: Mapping[str, Ranges]):
        super().__init__(functions)
        self.ranges = ranges

    @classmethod
    def beside(cls, weights: str | Path, functions: Operators) -> Int8:
        """With the ranges saved beside a weights file. InputError: there are none, or they are of other weights."""
        path = ranges_path(weights)
        if not path.is_file():
            raise InputError(f"{path}: TEST.PRECISION int8 needs this file; {_ADVICE}")
        try:
            stored = json.loads(path.read_text())
            made_for, ranges = stored["weights_sha256"], stored["ranges"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: not a file of ranges, or cut short; {_ADVICE}") from None
        if made_for != sha256(weights):
            raise InputError(f"{path}: of other weights than those in {weights}; {_ADVICE}")
        return cls(functions, ranges)

    def bind(self, name: str, symbol, context, args: Mapping, auxs: Mapping) -> Forward:
        quantized, ranges = _Quantized(symbol, args, auxs), self.ranges.get(name, ())
        if len(ranges) != len(quantized.collector.include_layer):
            raise InputError(
                f"int8: {len(ranges)} ranges for the {len(quantized.collector.include_layer)} layers of the {name} "
                f"network, so they were measured with other settings; {_ADVICE}"
            )
        symbol, args, auxs = quantized.with_ranges(ranges)
        return Forward(symbol, context, args, auxs)


class Calibration(Precision):
    """Float32, watching the ranges of all layers that int8 must know."""

    def __init__(self, functions: Operators):
        super().__init__(functions)
        self._seen: dict[str, _Quantized] = {}

    def bind(self, name: str, symbol, context, args: Mapping, auxs: Mapping) -> Forward:
        self._seen[name] = quantized = _Quantized(symbol, args, auxs)
        return Forward(quantized.fused, context, args, auxs, watch=quantized.collector.collect)

    def ranges(self) -> dict[str, Ranges]:
        """What was seen, by the network's name."""
        return {name: quantized.ranges() for name, quantized in self._seen.items()}

    def save(self, weights: str | Path) -> Path:
        """Writes the ranges beside the weights -> the file."""
        path = ranges_path(weights)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"weights_sha256": sha256(weights), "ranges": self.ranges()}) + "\n")
        return path


def precision_of(kind: str, weights: str | Path, functions: Operators) -> Precision:
    """What `TEST.PRECISION` says, for these weights. InputError: see `Bfloat16` and `Int8.beside`."""
    kinds: dict[str, Callable[[], Precision]] = {
        "float32": lambda: Precision(functions),
        "bfloat16": lambda: Bfloat16(functions),
        "bfloat16_emulated": lambda: EmulatedBfloat16(functions),
        "int8": lambda: Int8.beside(weights, functions),
    }
    return kinds[kind]()


def in_bfloat16(symbol, args: Mapping, auxs: Mapping) -> tuple:
    """(symbol, args, auxs) with convolutions and their weights in bfloat16; inputs and outputs stay in float32."""
    amp = importlib.import_module(f"{mx.__name__}.contrib.amp")
    symbol, args, auxs = amp.convert_model(
        symbol,
        *_batch_norms_folded(symbol, args, auxs),
        target_dtype="bfloat16",
        # Deconvolutions are in float32, and Concat takes inputs of one type only.
        fp32_ops=[*amp.lists.symbol_bf16.FP32_FUNCS, "Concat"],
        cast_optional_params=True,
    )
    outputs = [mx.sym.amp_cast(output, dtype="float32", name=output.name) for output in symbol]
    return mx.sym.Group(outputs), args, auxs


def _batch_norms_folded(symbol, args: Mapping, auxs: Mapping) -> tuple[dict, dict]:
    """(args, auxs) of the same network, in which each BatchNorm, as `lib.nets.resnet.conv_bn` has it, only adds.

    MXNet folds a BatchNorm's factor into weights that are bfloat16 already, and cuts off the bits that do not fit then:
    each layer's weights shrink by about 0.3 %. Folded here, in float32, they are rounded once; what MXNet has left to
    multiply with is 1 and a little, so that cutting off gives the same number.
    """
    args, auxs = dict(args), dict(auxs)
    nodes = json.loads(symbol.tojson())["nodes"]
    for node in nodes:
        if node["op"] != "BatchNorm":
            continue
        convolution, *parameters = (nodes[place] for place, *_ in node["inputs"])
        gamma, beta, mean, variance = (parameter["name"] for parameter in parameters)
        weight, eps = nodes[convolution["inputs"][1][0]]["name"], float(node["attrs"]["eps"])
        factor = args[gamma] / (auxs[variance] + eps).sqrt()
        args[weight] = args[weight] * factor.reshape((-1, 1, 1, 1))
        shift = args[beta] - auxs[mean] * factor
        args[beta] = shift * _SPLIT - (shift * _SPLIT - shift)  # rounded, so that nothing is cut off it either
        args[gamma], auxs[mean] = mx.nd.ones_like(factor), mx.nd.zeros_like(factor)
        auxs[variance] = mx.nd.full(factor.shape, 1 - eps - 1e-6)
    return args, auxs


def _rounded_between_operators(symbol):
    """A symbol of `in_bfloat16`, of operators with one output, all in float32 but rounded wherever it was bfloat16."""
    graph = json.loads(symbol.tojson(remove_amp_cast=False))
    nodes: list[dict] = []
    moved: dict[int, int] = {}  # from a node's place in the graph to that of what stands for it now
    narrow: set[int] = set()  # places in the graph whose outputs are bfloat16

    def add(op: str, name: str, inputs: list, attrs: Mapping) -> int:
        nodes.append({"op": op, "name": name, "attrs": attrs, "inputs": inputs})
        return len(nodes) - 1

    def rounded(source: int) -> int:
        """By Veltkamp's splitting: with y = x * _SPLIT, y - (y - x)."""
        name, x = nodes[source]["name"], [source, 0, 0]
        y = [add("_mul_scalar", f"{name}_scaled", [x], {"scalar": str(_SPLIT)}), 0, 0]
        rest = [add("elemwise_sub", f"{name}_rest", [y, x], {}), 0, 0]
        return add("elemwise_sub", f"{name}_rounded", [y, rest], {})

    for place, node in enumerate(graph["nodes"]):
        attrs = {key: value for key, value in node.get("attrs", {}).items() if key != "__dtype__"}
        if node["op"] == "amp_cast":
            moved[place] = moved[node["inputs"][0][0]]
            now_narrow = attrs["dtype"] == "bfloat16"
        else:
            inputs = [[moved[source], *which] for source, *which in node["inputs"]]
            moved[place] = add(node["op"], node["name"], inputs, attrs)
            now_narrow = any(source in narrow for source, *_ in node["inputs"])
        if now_narrow:
            narrow.add(place)
            moved[place] = rounded(moved[place])
    graph["heads"] = [[moved[source], *which] for source, *which in graph["heads"]]
    graph["arg_nodes"] = [place for place, node in enumerate(nodes) if node["op"] == "null"]
    return mx.sym.load_json(json.dumps({**graph, "nodes": nodes, "node_row_ptr": list(range(len(nodes) + 1))}))


class _Quantized:
    """A network on its way to int8.

    fused: the float32 network with oneDNN's groups of operators, as the quantized one will have them; collector: to
    be called with the arrays inside it.
    """

    def __init__(self, symbol, args: Mapping, auxs: Mapping):
        self.fused = symbol.get_backend_symbol(_FUSED)
        self._args, self._auxs = _used(args, self.fused.list_arguments()), auxs
        self._symbol, _, _, self.collector = mx.contrib.quantization.quantize_graph(
            self.fused, self._args, auxs, calib_mode="naive", quantized_dtype="auto", quantize_mode="smart"
        )

    def ranges(self) -> Ranges:
        """[low, high] of every layer that the collector was asked for."""
        return [[float(end) for end in self.collector.min_max_dict[layer]] for layer in self.collector.include_layer]

    def with_ranges(self, ranges: Ranges) -> tuple:
        """(symbol, args, auxs) in int8. By place, for names are counted from wherever the process has got to."""
        self.collector.min_max_dict = dict(zip(self.collector.include_layer, ranges))
        symbol, args, auxs = mx.contrib.quantization.calib_graph(
            self._symbol, self._args, self._auxs, self.collector, calib_mode="naive", logger=None
        )
        return symbol.get_backend_symbol(_FUSED), args, auxs


def _used(values: Mapping, names: Sequence[str]) -> dict:
    return {name: values[name] for name in names if name in values}


def _processor_flags() -> set[str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}
