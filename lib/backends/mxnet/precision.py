"""Convolutional networks in lower precision, for testing on a CPU: bfloat16, or int8 with calibrated ranges.

MXNet's own graph passes for oneDNN do the work. They do not support the compiled operators, so a detector's feature
and flow networks are separate symbols, which a `Precision` makes executable; everything else stays in float32.
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
from lib.files import sha256, write_json
from lib.reading import foreign, read_json

_AVX512 = {"avx512bw", "avx512vl", "avx512dq"}
_ADVICE = "run the method's calibrate.py with the same --cfg, --set and --weights"
_SPLIT = 2**16 + 1  # factor of Veltkamp's splitting, which rounds float32's 24 bits to the 8 of bfloat16
_FUSED = "MKLDNN_QUANTIZE"  # fuses convolutions with the operators that follow them

Ranges = Sequence[Sequence[float]]  # [low, high] of every layer that needs one in int8, in the order of the graph


class Precision:
    """Float32; a `lib.backends.base.Precision`. Its networks contain only MXNet's own operators."""

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
        """The network `name` from a symbol and NDArrays by name."""
        return Forward(symbol, context, args, auxs)


class Bfloat16(Precision):
    """Convolutions and the operators between them in bfloat16, sums in float32. Raises InputError without AVX-512."""

    def __init__(self, functions: Operators):
        super().__init__(functions)
        if not _AVX512 <= _processor_flags():
            raise InputError(
                "TEST.PRECISION: bfloat16 needs a processor with AVX-512, which this one lacks; use int8 or float32"
            )

    def bind(self, name: str, symbol, context, args: Mapping, auxs: Mapping) -> Forward:
        symbol, args, auxs = in_bfloat16(symbol, args, auxs)
        return Forward(symbol, context, args, auxs)


class EmulatedBfloat16(Precision):
    """Approximates `Bfloat16`, slowly, on any processor: operators compute in float32, and their outputs are rounded if
    they would be bfloat16. oneDNN fuses operators, so it sometimes rounds once where this class rounds twice.
    """

    def bind(self, name: str, symbol, context, args: Mapping, auxs: Mapping) -> Forward:
        symbol, args, auxs = in_bfloat16(symbol, args, auxs)
        args = {name: value.astype(np.float32) for name, value in args.items()}
        return Forward(_rounded_between_operators(symbol), context, args, auxs)


class Int8(Precision):
    """Convolutions of 8-bit numbers. ranges: those measured by calibration, by name of the network."""

    def __init__(self, functions: Operators, ranges: Mapping[str, Ranges]):
        super().__init__(functions)
        self.ranges = ranges

    @classmethod
    def load(cls, weights: str | Path, functions: Operators) -> Int8:
        """With the ranges next to a weights file. Raises InputError if they are missing or belong to other weights."""
        path = ranges_path(weights)
        if not path.is_file():
            raise InputError(f"{path}: TEST.PRECISION int8 needs this file; {_ADVICE}")
        stored = read_json(path, f"not a file of ranges, or truncated; {_ADVICE}")
        with foreign(path, "not a file of ranges", _ADVICE):
            made_for, ranges = stored["weights_sha256"], stored["ranges"]
            pairs = [pair for layers in ranges.values() for pair in layers]
            largest = float(np.finfo(np.float32).max)
            if not all(len(pair) == 2 and -largest <= pair[0] <= pair[1] <= largest for pair in pairs):
                raise InputError(f"{path}: a range is not [low, high], finite and in this order; {_ADVICE}")
        if made_for != sha256(weights):
            raise InputError(f"{path}: not measured with the weights in {weights}; {_ADVICE}")
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
    """Float32; records the ranges of all layers that need one in int8."""

    def __init__(self, functions: Operators):
        super().__init__(functions)
        self._seen: dict[str, _Quantized] = {}

    def bind(self, name: str, symbol, context, args: Mapping, auxs: Mapping) -> Forward:
        self._seen[name] = quantized = _Quantized(symbol, args, auxs)
        return Forward(quantized.fused, context, args, auxs, watch=quantized.collector.collect)

    def ranges(self) -> dict[str, Ranges]:
        """The recorded ranges, by name of the network. Raises InputError if one of them has not run."""
        for name, quantized in self._seen.items():
            if not quantized.collector.min_max_dict:
                raise InputError(f"calibration: no frame went through the {name} network; measure on longer clips")
        return {name: quantized.ranges() for name, quantized in self._seen.items()}

    def save(self, weights: str | Path) -> Path:
        """Writes the ranges next to the weights and returns the path."""
        path = ranges_path(weights)
        write_json(path, {"weights_sha256": sha256(weights), "ranges": self.ranges()}, indent=None, pipes=False)
        return path


def precision_of(kind: str, weights: str | Path, functions: Operators) -> Precision:
    """The precision `kind`, a `TEST.PRECISION`. Raises InputError as `Bfloat16` and `Int8.load` do."""
    kinds: dict[str, Callable[[], Precision]] = {
        "float32": lambda: Precision(functions),
        "bfloat16": lambda: Bfloat16(functions),
        "bfloat16_emulated": lambda: EmulatedBfloat16(functions),
        "int8": lambda: Int8.load(weights, functions),
    }
    return kinds[kind]()


def in_bfloat16(symbol, args: Mapping, auxs: Mapping) -> tuple:
    """(symbol, args, auxs) with convolutions and their weights in bfloat16; inputs and outputs stay in float32."""
    amp = importlib.import_module(f"{mx.__name__}.contrib.amp")
    symbol, args, auxs = amp.convert_model(
        symbol,
        *_batch_norms_folded(symbol, args, auxs),
        target_dtype="bfloat16",
        # Deconvolutions are in float32, and all inputs of Concat must have the same type.
        fp32_ops=[*amp.lists.symbol_bf16.FP32_FUNCS, "Concat"],
        cast_optional_params=True,
    )
    outputs = [mx.sym.amp_cast(output, dtype="float32", name=output.name) for output in symbol]
    return mx.sym.Group(outputs), args, auxs


def _batch_norms_folded(symbol, args: Mapping, auxs: Mapping) -> tuple[dict, dict]:
    """(args, auxs) of the same network, with the factor of each BatchNorm of `lib.nets.resnet.conv_bn` in the weights.

    MXNet folds a BatchNorm's factor into weights that are already bfloat16 and truncates the result, which shrinks the
    weights of each layer by about 0.3 %. Folded here, in float32, they are rounded only once. The factor that remains
    for MXNet is slightly above 1, so that truncation gives the same number again.
    """
    args, auxs = dict(args), dict(auxs)
    nodes = json.loads(symbol.tojson())["nodes"]
    for node in nodes:
        if node["op"] != "BatchNorm":
            continue
        convolution, *parameters = (nodes[index] for index, *_ in node["inputs"])
        gamma, beta, mean, variance = (parameter["name"] for parameter in parameters)
        weight, eps = nodes[convolution["inputs"][1][0]]["name"], float(node["attrs"]["eps"])
        factor = args[gamma] / (auxs[variance] + eps).sqrt()
        args[weight] = args[weight] * factor.reshape((-1, 1, 1, 1))
        shift = args[beta] - auxs[mean] * factor
        args[beta] = shift * _SPLIT - (shift * _SPLIT - shift)  # rounded, so that truncation changes nothing here
        args[gamma], auxs[mean] = mx.nd.ones_like(factor), mx.nd.zeros_like(factor)
        auxs[variance] = mx.nd.full(factor.shape, 1 - eps - 1e-6)
    return args, auxs


def _rounded_between_operators(symbol):
    """A symbol of `in_bfloat16` in float32, rounded wherever it was bfloat16. All operators must have one output."""
    graph = json.loads(symbol.tojson(remove_amp_cast=False))
    nodes: list[dict] = []
    replaced: dict[int, int] = {}  # from the index of a node in the graph to that of its replacement
    narrow: set[int] = set()  # indices in the graph of nodes with bfloat16 output

    def add(op: str, name: str, inputs: list, attrs: Mapping) -> int:
        nodes.append({"op": op, "name": name, "attrs": attrs, "inputs": inputs})
        return len(nodes) - 1

    def rounded(source: int) -> int:
        """Rounds by Veltkamp's splitting: y - (y - x) with y = x * _SPLIT."""
        name, x = nodes[source]["name"], [source, 0, 0]
        y = [add("_mul_scalar", f"{name}_scaled", [x], {"scalar": str(_SPLIT)}), 0, 0]
        rest = [add("elemwise_sub", f"{name}_rest", [y, x], {}), 0, 0]
        return add("elemwise_sub", f"{name}_rounded", [y, rest], {})

    for index, node in enumerate(graph["nodes"]):
        attrs = {key: value for key, value in node.get("attrs", {}).items() if key != "__dtype__"}
        if node["op"] == "amp_cast":
            replaced[index] = replaced[node["inputs"][0][0]]
            is_narrow = attrs["dtype"] == "bfloat16"
        else:
            inputs = [[replaced[source], *which] for source, *which in node["inputs"]]
            replaced[index] = add(node["op"], node["name"], inputs, attrs)
            is_narrow = any(source in narrow for source, *_ in node["inputs"])
        if is_narrow:
            narrow.add(index)
            replaced[index] = rounded(replaced[index])
    graph["heads"] = [[replaced[source], *which] for source, *which in graph["heads"]]
    graph["arg_nodes"] = [index for index, node in enumerate(nodes) if node["op"] == "null"]
    return mx.sym.load_json(json.dumps({**graph, "nodes": nodes, "node_row_ptr": list(range(len(nodes) + 1))}))


class _Quantized:
    """A network to be quantized to int8.

    fused: the float32 network with operators fused as in the quantized one. collector: its `collect` must be called
    with the arrays inside the network.
    """

    def __init__(self, symbol, args: Mapping, auxs: Mapping):
        self.fused = symbol.get_backend_symbol(_FUSED)
        self._args, self._auxs = _used(args, self.fused.list_arguments()), auxs
        self._symbol, _, _, self.collector = mx.contrib.quantization.quantize_graph(
            self.fused, self._args, auxs, calib_mode="naive", quantized_dtype="auto", quantize_mode="smart"
        )

    def ranges(self) -> Ranges:
        """[low, high] of every layer, as seen by the collector."""
        return [[float(end) for end in self.collector.min_max_dict[layer]] for layer in self.collector.include_layer]

    def with_ranges(self, ranges: Ranges) -> tuple:
        """(symbol, args, auxs) in int8. Ranges are matched by position, since MXNet generates new names each time."""
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
