"""Feature and flow networks in int8 and bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from fgfa_rfcn.network import EPS, features, flow_of_pairs
from fgfa_rfcn.window import VideoDetector
from lib.backends.base import ranges_path
from lib.backends.mxnet import precision
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.precision import (
    Bfloat16,
    Calibration,
    EmulatedBfloat16,
    Int8,
    Precision,
    in_bfloat16,
    precision_of,
)
from lib.errors import InputError
from lib.inference.pretrained import read_pretrained
from lib.nets.flownet import for_convolutions
from lib.nets.params import load, save
from tests import tiny
from tests.golden import rows, same_share
from tests.networks import COMPILED, symbol

CFG = tiny.settings(TEST={"KEY_FRAME_INTERVAL": 1})
ARGS, AUXS = tiny.weights(CFG)
NETWORKS = {"features": features, "flow": flow_of_pairs}
FLOAT32 = Precision(COMPILED)


def inputs(name, height=48, width=64):
    data = np.stack([frame.transpose(2, 0, 1) - np.float32(110) for frame in tiny.clip(3, height, width)])
    pairs = {"current": np.float32([1, 1, 1]), "other": np.float32([0, 1, 2])}
    return {"features": {"data": data}, "flow": {"image_cache": data[:, :, ::2, ::2] / 255, **pairs}}[name]


def run(kind: Precision, name: str) -> np.ndarray:
    network = kind.network(name, lambda F: NETWORKS[name](F, CFG), mx.cpu(), for_convolutions(ARGS), AUXS)
    (output,) = network(**inputs(name)).values()
    return np.asarray(output)


def distance(found, expected):
    assert found.shape == expected.shape and found.dtype == np.float32
    return np.abs(found - expected).mean() / np.abs(expected).mean()


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "fgfa-0000.params"
    save(path, ARGS, AUXS)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_is_near_float32_on_trained_weights(name):
    """Those of a made-up network may well cancel out, and then nothing of 8 bits is left."""
    where, settings = tiny.ROOT / "model/minivid/fgfa", ["TEST.KEY_FRAME_INTERVAL=1"]
    cfg, path, _ = read_pretrained(where, settings, None, VideoDetector.schema)
    args, auxs = load(path)

    def output(kind):
        network = kind.network(name, lambda F: NETWORKS[name](F, cfg), mx.cpu(), for_convolutions(args), auxs)
        (found,) = network(**inputs(name, 96, 128)).values()
        return np.asarray(found)

    calibration = Calibration(COMPILED)
    expected = output(FLOAT32)
    assert distance(output(calibration), expected) < 1e-4
    found = output(Int8(COMPILED, calibration.ranges()))
    assert 1e-3 < distance(found, expected) < 0.15  # so it is not float32 under another name


def test_ranges_are_kept_beside_the_weights(weights):
    calibration = Calibration(COMPILED)
    run(calibration, "flow")
    assert calibration.save(weights) == ranges_path(weights) == weights.parent / "fgfa-0000.int8.json"
    assert Int8.load(weights, COMPILED).ranges == calibration.ranges()


def test_int8_does_not_depend_on_how_many_networks_the_process_has_made(weights):
    """MXNet counts up the names of nameless operators; ranges must not get lost for it."""
    calibration = Calibration(COMPILED)
    run(calibration, "features")
    calibration.save(weights)
    first = run(Int8.load(weights, COMPILED), "features")
    mx.sym.Variable("x") + 1
    run(FLOAT32, "flow")
    np.testing.assert_array_equal(run(Int8.load(weights, COMPILED), "features"), first)


def test_ranges_that_are_too_narrow_are_felt(weights):
    calibration = Calibration(COMPILED)
    run(calibration, "features")
    calibration.save(weights)
    narrow = {"features": [[low / 20, high / 20] for low, high in Int8.load(weights, COMPILED).ranges["features"]]}
    assert distance(run(Int8(COMPILED, narrow), "features"), run(FLOAT32, "features")) > 0.3


def test_a_detector_in_int8_finds_what_it_finds_in_float32(weights):
    frames = tiny.clip(4)
    calibration = Calibration(COMPILED)
    expected = list(VideoDetector.load(CFG, weights, precision=calibration)(frames))
    with pytest.raises(InputError, match=r"fgfa-0000.int8.json: TEST.PRECISION int8 needs this file; run the method's"):
        precision_of("int8", weights, COMPILED)
    calibration.save(weights)
    cfg = tiny.settings(TEST={"KEY_FRAME_INTERVAL": 1, "PRECISION": "int8"})
    for one, other in zip(expected, VideoDetector.load(cfg, weights)(frames)):
        assert len(one) == len(other)
        assert np.abs(np.sort(one.scores) - np.sort(other.scores)).mean() < 0.1
        assert same_share(rows(one), rows(other)) < 1


def test_ranges_of_other_weights_or_broken_are_refused(weights):
    calibration = Calibration(COMPILED)
    run(calibration, "features")
    path = calibration.save(weights)
    save(weights, {**ARGS, "em_conv3_bias": ARGS["em_conv3_bias"] + 1}, AUXS)
    with pytest.raises(InputError, match="not measured with the weights in"):
        Int8.load(weights, COMPILED)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match="not a file of ranges, or truncated"):
        Int8.load(weights, COMPILED)


def test_ranges_of_other_settings_are_refused(weights):
    calibration = Calibration(COMPILED)
    run(calibration, "features")
    calibration.save(weights)
    with pytest.raises(InputError, match=r"int8: 0 ranges for the \d+ layers of the flow network.*run the method's"):
        run(Int8.load(weights, COMPILED), "flow")
    with pytest.raises(InputError, match=r"ranges for the \d+ layers of the features network"):
        run(Int8(COMPILED, {"features": calibration.ranges()["features"][1:]}), "features")


def test_bfloat16_without_avx512_is_refused(monkeypatch):
    monkeypatch.setattr(precision, "_processor_flags", lambda: {"avx2"})
    with pytest.raises(InputError, match=r"bfloat16 needs a processor with AVX-512.*int8 or float32"):
        precision_of("bfloat16", "any", COMPILED)


@pytest.mark.parametrize("name", NETWORKS)
def test_types_fit_together_in_bfloat16(name):
    """Also where the processor cannot run it."""
    narrow, args, _ = in_bfloat16(symbol(NETWORKS[name], CFG), *weights_as_arrays())
    executor = narrow.simple_bind(mx.cpu(), grad_req="null", **{k: v.shape for k, v in inputs(name).items()})
    assert executor.outputs[0].dtype == np.float32
    convolution = {"features": "conv1_weight", "flow": "flow_conv1_weight"}[name]
    assert args[convolution].dtype == executor.arg_dict[convolution].dtype != np.float32


def test_emulated_bfloat16_is_the_arithmetic_of_bfloat16():
    def rounded(values):
        """To the nearest number of 8 significant bits."""
        fraction, exponent = np.frexp(values.astype(np.float64))
        return np.ldexp(np.round(fraction * 256) / 256, exponent)

    rng = np.random.default_rng(0)
    data, weight = (rng.normal(0, 3, shape).astype(np.float32) for shape in ((2, 8, 5, 7), (4, 8, 1, 1)))

    def build(F):
        x = F.Convolution(F.Variable("data"), kernel=(1, 1), num_filter=4, no_bias=True, name="conv")
        return {"leaky": F.LeakyReLU(x, act_type="leaky", slope=0.1)}

    network = EmulatedBfloat16(COMPILED).network("conv", build, mx.cpu(), {"conv_weight": weight}, {})
    (found,) = network(data=data).values()
    product = rounded(np.einsum("nchw,fc->nfhw", rounded(data), rounded(weight[:, :, 0, 0])))
    np.testing.assert_allclose(np.asarray(found), rounded(np.maximum(product, 0.1 * product)), rtol=1e-6)


def test_a_batch_norm_behind_a_bfloat16_convolution_only_adds():
    """MXNet would multiply weights that are bfloat16 by its factor, and cut off the bits that do not fit."""
    network = symbol(features, CFG)
    args, auxs = weights_as_arrays()
    _, folded, means = in_bfloat16(network, args, auxs)
    names = [name.removesuffix("_gamma") for name in network.list_arguments() if name.endswith("_gamma")]
    for bn in names:
        factor = (folded[f"{bn}_gamma"] / (means[f"{bn}_moving_var"] + EPS).sqrt()).asnumpy()
        assert (factor >= 1).all() and (factor < 1 + 2**-16).all()  # less than the last bit of bfloat16
        assert not means[f"{bn}_moving_mean"].asnumpy().any()
    data = {"data": inputs("features")["data"]}
    floats = {name: value.astype(np.float32) for name, value in folded.items()}
    expected = run(FLOAT32, "features")
    (found,) = FLOAT32.bind("features", network, mx.cpu(), floats, means)(**data).values()
    assert distance(np.asarray(found), expected) < 0.01  # the weights' rounding


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_keep_the_names_that_the_network_gives_them(name):
    calibration = Calibration(COMPILED)
    run(calibration, name)
    for kind in (FLOAT32, calibration, EmulatedBfloat16(COMPILED), Int8(COMPILED, calibration.ranges())):
        network = kind.network(name, lambda F: NETWORKS[name](F, CFG), mx.cpu(), for_convolutions(ARGS), AUXS)
        assert list(network(**inputs(name))) == network.outputs == list(NETWORKS[name](COMPILED, CFG))


@pytest.mark.parametrize("name", NETWORKS)
def test_emulated_bfloat16_is_near_float32(name):
    assert 1e-3 < distance(run(EmulatedBfloat16(COMPILED), name), run(FLOAT32, name)) < 0.03


def weights_as_arrays():
    return [{name: mx.nd.array(value) for name, value in part.items()} for part in (for_convolutions(ARGS), AUXS)]


@pytest.mark.skipif(
    not precision._AVX512 <= precision._processor_flags(), reason="this processor has no AVX-512 for bfloat16"
)
@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_near_float32(name):
    assert 1e-5 < distance(run(Bfloat16(COMPILED), name), run(FLOAT32, name)) < 0.03


def test_calibrate_command(tmp_path, weights, capsys):
    cfg = tmp_path / "tiny.yaml"
    cfg.write_text(yaml.safe_dump(tiny.nested(TEST={"KEY_FRAME_INTERVAL": 1})))
    frames = tiny.ROOT / "data/minivid_val/Data/VID/val/MiniVID_val_0010"
    options = ["--cfg", cfg, "--weights", weights, "--input", frames]
    tiny.run_script("fgfa_rfcn/calibrate.py", *options, "--frames", 2)
    assert set(Int8.load(weights, COMPILED).ranges) == {"features", "flow"}
    assert "--frames 0: must be 1 or more" in tiny.refused(capsys, "fgfa_rfcn/calibrate.py", *options, "--frames", 0)
