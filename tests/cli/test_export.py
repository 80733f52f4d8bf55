"""ONNX files of the networks against the backend, and a frame's whole way with them as docs/weights.md has it."""

from __future__ import annotations

import re
import sys

import cv2
import numpy as np
import onnxruntime
import pytest

from fgfa_rfcn import VideoDetector
from lib.backends.choice import backend_of
from lib.cli.export import export, relative_difference
from lib.config import load_config
from lib.errors import InputError
from lib.inference.detector import read_parameters
from lib.methods import METHODS
from lib.nets import onnx_graph
from lib.nets.onnx_graph import to_onnx
from lib.nets.part import Part
from tests import tiny
from tests.conftest import needs
from tests.golden import close, same_detections
from tests.tiny import ROOT, refused, run_script

BACKEND = backend_of(tiny.settings())
FILES = {
    "rfcn": ["features", "heads"],
    "fgfa_rfcn": ["features", "flow", "heads"],
    "dff_rfcn": ["features", "flow", "heads"],
}
# Strides of the stages, and pooling before and after the flow network that gives flow of their cells.
FLOWS = [
    ([1, 2, 2, 1], True, True),
    ([1, 2, 1, 1], True, False),
    ([1, 2, 1, 1], False, True),
    ([1, 1, 1, 1], False, False),
]


def open_file(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def parts_of(method, **changes):
    """(parts, args, auxs) of a tiny network with random weights."""
    cfg = tiny.settings(method, **changes)
    return METHODS[method].parts(cfg), *tiny.weights(tiny.settings(method), method)


def agree(part, args, auxs, batch, height, width):
    """Fails unless onnxruntime and the backend give the same for noise of this size -> what they give."""
    rng = np.random.default_rng(height)
    inputs = {
        name: rng.uniform(-128, 128, (batch, channels, height, width)).astype(np.float32)
        for name, channels in part.inputs.items()
    }
    expected = BACKEND.network(part.build, BACKEND.devices("")[0], args, auxs)(**inputs)
    model = to_onnx(part, args, auxs, {name: value.shape[1] for name, value in expected.items()})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_outputs()] == list(expected)
    found = dict(zip(expected, session.run(None, inputs)))
    for name, value in found.items():
        close(value, np.asarray(expected[name]), 1e-5)
    return found


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 48, 80), (2, 187, 333), (3, 33, 97)])
@pytest.mark.parametrize("method", METHODS)
def test_every_network_agrees_at_any_size(method, batch, height, width):
    parts, args, auxs = parts_of(method)
    assert list(parts) == FILES[method]
    for part in parts.values():
        space = (-(-height // part.stride), -(-width // part.stride))
        found = agree(part, args, auxs, batch, *space)
        for value in found.values():
            assert value.shape[0] == batch and value.shape[2:] == (-(-height // 8), -(-width // 8))
            assert np.abs(value).max() > 0.01


@pytest.mark.parametrize(("strides", "before", "after"), FLOWS)
def test_flow_with_and_without_pooling(strides, before, after):
    stride = 4 * int(np.prod(strides))
    network = {"STRIDES": strides, "RPN_FEAT_STRIDE": stride, "RCNN_FEAT_STRIDE": stride}
    network.update(FLOW_POOL_INPUT=before, FLOW_POOL_OUTPUT=after)
    parts, args, auxs = parts_of("fgfa_rfcn", network=network)
    for height, width in ((187, 333), (186, 330), (49, 81)):
        found = agree(parts["flow"], args, auxs, 2, height, width)
        assert found["flow"].shape == (2, 2, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize("stride_in_3x3", [False, True])
def test_dilated_stages_and_where_a_stride_is(stride_in_3x3):
    network = {"DILATIONS": [1, 1, 2, 4], "STRIDE_IN_3X3": stride_in_3x3}
    parts, args, auxs = parts_of("rfcn", network=network)
    agree(parts["features"], args, auxs, 1, 61, 75)


def test_mean_weights_and_no_flow_network(tmp_path):
    cfg = tiny.settings(TEST={"WARP": False, "WEIGHTS": "mean"})
    parts, args, auxs = parts_of("fgfa_rfcn", TEST={"WARP": False, "WEIGHTS": "mean"})
    export(parts, args, auxs, cfg, tmp_path, BACKEND)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "features.onnx", "heads.onnx"]
    maps = open_file(tmp_path / "features.onnx").run(None, {"data": np.ones((1, 3, 40, 40), np.float32)})
    assert [value.shape for value in maps] == [(1, 16, 5, 5), (1, 8, 5, 5)]
    assert maps[0].any() and not maps[1].any()


def pool(F, x, **attributes):
    return F.Pooling(x, kernel=(3, 3), stride=(2, 2), **attributes)


OPERATORS = {
    "max rounded up": lambda F, x: pool(F, x, pool_type="max", pooling_convention="full"),
    "average rounded up": lambda F, x: pool(F, x, pool_type="avg", pooling_convention="full"),
    "average, padded": lambda F, x: pool(F, x, pool_type="avg", pad=(1, 1)),
    "gamma fixed": lambda F, x: F.BatchNorm(
        x, name="norm", use_global_stats=True, fix_gamma=True, eps=1e-3, momentum=0.9
    ),
    "defaults": lambda F, x: F.Convolution(x, name="conv", kernel=(2, 2), num_filter=3),
    "to the end": lambda F, x: F.slice_axis(x, 2, 1, None),
    "from the end": lambda F, x: F.slice_axis(x, 3, -3, -1),
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_that_our_settings_do_not_reach(operator):
    def network(F):
        return {"y": F.identity(OPERATORS[operator](F, F.Variable("x")), name="y")}

    rng = np.random.default_rng(1)
    args, auxs = (
        {name: rng.uniform(0.5, 2, shape).astype(np.float32) for name, shape in values.items()}
        for values in BACKEND.shapes(network, x=(1, 3, 9, 12))
    )
    for height, width in ((9, 12), (14, 11)):
        agree(Part(network, {"x": 3}, 1, ""), args, auxs, 2, height, width)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda F, x: pool(F, x, pool_type="sum"), NotImplementedError),
        (lambda F, x: pool(F, x, pool_type="avg", pad=(1, 1), pooling_convention="full"), NotImplementedError),
        (lambda F, x: pool(F, x, pool_type="avg", pooling_convention="same"), NotImplementedError),
        (lambda F, x: pool(F, x, pool_type="avg", pad=(1, 1), count_include_pad=False), TypeError),
        (lambda F, x: F.Crop(x, x, offset=(1, 1), h_w=(4, 4)), TypeError),
        (lambda F, x: F.Activation(x, act_type="tanh"), NotImplementedError),
        (lambda F, x: F.LeakyReLU(x, act_type="elu", slope=0.1), NotImplementedError),
        (lambda F, x: F.reshape(x, shape=(0, -2)), NotImplementedError),
        (
            lambda F, x: F.BatchNorm(x, name="norm", use_global_stats=False, fix_gamma=False, eps=1e-3),
            NotImplementedError,
        ),
        (lambda F, x: F.cos(x), AttributeError),
    ],
)
def test_what_has_no_onnx_form_is_refused(change, error):
    with pytest.raises(error):
        to_onnx(Part(lambda F: {"y": change(F, F.Variable("x"))}, {"x": 3}, 1, ""), {}, {}, {"y": 3})


def test_a_difference_is_an_error_and_leaves_no_file(tmp_path, monkeypatch):
    """As if a runtime took another epsilon of BatchNorm: the second file of two is wrong, and neither is written."""
    parts, args, auxs = parts_of("rfcn")
    real = onnx_graph.OnnxFunctions.softmax
    monkeypatch.setattr(onnx_graph.OnnxFunctions, "softmax", lambda F, data, axis: real(F, data, axis=axis + 1))
    with pytest.raises(InputError, match=r"heads.onnx: not written, .* rpn_prob differs .* input 1 x 16 x 6 x 10"):
        export(parts, args, auxs, tiny.settings("rfcn"), tmp_path, BACKEND)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    (tmp_path / "heads.onnx").write_bytes(b"of before")
    differences = export(parts, args, auxs, tiny.settings("rfcn"), tmp_path, BACKEND)
    assert list(differences) == FILES["rfcn"] and max(differences.values()) < 1e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "features.onnx", "heads.onnx"]
    assert open_file(tmp_path / "heads.onnx").get_inputs()[0].shape == ["batch", 16, "rows", "columns"]


def test_relative_difference():
    assert relative_difference(np.float32([1, 2]), np.float32([1, 4])) == 0.5
    assert relative_difference(np.float32([0, 0]), np.float32([0, 0])) == 0
    assert relative_difference(np.zeros((1, 2)), np.zeros((2, 1))) == np.inf
    for broken in (np.nan, np.inf):
        assert not relative_difference(np.float32([broken]), np.float32([broken])) <= 1e9
        assert not relative_difference(np.float32([broken]), np.float32([1])) <= 1e9


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_one_line_with_the_command(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    line = refused(capsys, "rfcn/export.py", *bundled("rfcn"), "--out", tmp_path / "out")
    assert line == (
        f"error: the package {package} is not installed: run `pip install -c constraints.txt onnx onnxruntime`"
    )
    assert not (tmp_path / "out").exists()


def bundled(method):
    prefix = method.partition("_")[0]
    return "--cfg", ROOT / f"model/minivid/{prefix}.yaml", "--weights", ROOT / f"model/minivid/{prefix}-0000.params"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Folders of the bundled weights' files by method, written by the scripts, with all that they said."""
    found = {}
    for method in METHODS:
        found[method] = tmp_path_factory.mktemp(method) / "onnx"
        settings = ("TEST.KEY_FRAME_INTERVAL=2", f"dataset.CLASSES={ROOT / 'model/minivid/classes.txt'}")
        run_script(f"{method}/export.py", *bundled(method), "--out", found[method], "--set", *settings)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_the_bundled_weights_by_the_scripts(exported, method):
    names = [path.name for path in sorted(exported[method].iterdir())]
    assert names == ["config.yaml", *(f"{name}.onnx" for name in FILES[method])]
    schema = METHODS[method].schema
    assert load_config(exported[method] / "config.yaml", schema=schema).TEST.KEY_FRAME_INTERVAL == 2
    cfg = load_config(ROOT / f"model/minivid/{method.partition('_')[0]}.yaml", schema=schema)
    parts = METHODS[method].parts(cfg)
    args, auxs = read_parameters(parts, bundled(method)[-1], BACKEND)
    data = np.random.default_rng(2).uniform(-120, 120, (1, 3, 131, 200)).astype(np.float32)
    network = BACKEND.network(parts["features"].build, BACKEND.devices("")[0], args, auxs)
    expected = network(data=data)["features"]
    found = open_file(exported[method] / "features.onnx").run(["features"], {"data": data})[0]
    close(found, np.asarray(expected), 1e-5)


def test_weights_of_another_network_are_refused(tmp_path, capsys):
    line = refused(
        capsys, "rfcn/export.py", *bundled("rfcn")[:3], ROOT / "model/minivid/fgfa-0000.params", "--out", tmp_path
    )
    assert "weights of another network" in line


def test_the_way_of_a_frame_in_the_documentation(exported):
    """The program of docs/weights.md gives the detections of VideoDetector on bundled frames."""
    needs("mxnet")  # the program uses its arrays
    text = (ROOT / "docs/weights.md").read_text()
    (program,) = re.findall(r"<!-- tests/cli/test_export.py runs this -->\n```python\n(.*?)```", text, re.S)
    folder = ROOT / "data/minivid_val/Data/VID/val/MiniVID_val_0000"
    frames = [cv2.imread(str(path)) for path in sorted(folder.iterdir())[6:11]]
    settings = ["TEST.KEY_FRAME_INTERVAL=2"]
    detector = VideoDetector.from_pretrained(ROOT / "model/minivid/fgfa", settings=settings)
    expected = list(detector(frames))[2]
    names = {"folder": exported["fgfa_rfcn"], "window": frames, "centre": 2}
    exec(program, names)
    assert (names["detections"].scores > 0.5).any()
    same_detections(names["detections"], expected)
