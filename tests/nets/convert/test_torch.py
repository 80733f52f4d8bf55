"""Converted weights of plain PyTorch networks give the same outputs in ours."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import yaml

from lib import reading
from lib.cli.weights import main
from lib.errors import InputError
from lib.nets import params
from lib.nets.convert import flownet, resnet
from lib.nets.convert.torch_file import read_state
from lib.nets.flownet import FlowNet, flow
from lib.nets.resnet import Backbone, conv_bn, is_backbone_layer
from lib.nets.resnet import resnet as our_resnet
from tests import tiny
from tests.nets.convert.torch_networks import FlowNetS, ResNet, randomised, state_of, theirs, torch
from tests.networks import COMPILED, run, shapes_of, symbol, variables

IMAGENET = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
SAME_MEANS = tuple(255 * IMAGENET[0][::-1])  # as PIXEL_MEANS: blue, green, red
PUBLISHED_MEANS = (103.06, 115.90, 123.15)


def pictures(height, width, count=1, seed=0):
    """RGB (count, 3, height, width) in 0..255."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, height, width)).astype(np.float32)


def ours(symbol, converted, **inputs):
    return list(run(symbol, converted.args, converted.auxs, **inputs).values())


def minus(rgb, means_bgr):
    return rgb - np.float32(means_bgr[::-1])[:, None, None]


def standardised(rgb):
    mean, std = IMAGENET
    return (rgb / 255 - mean[:, None, None]) / std[:, None, None]


NET = Backbone((2, 3, 2, 2), (4, 4, 6, 8), (1, 2, 2, 1), (1, 1, 1, 2), stem=8, stride_in_3x3=True)


@pytest.mark.parametrize("eps", [1e-5, 2e-5])
@pytest.mark.parametrize("strides, dilations", [((1, 2, 2, 1), (1, 1, 1, 2)), ((1, 2, 2, 2), (1, 1, 1, 1))])
def test_resnet_gives_the_features_of_torch(strides, dilations, eps):
    net = Backbone(NET.units, NET.widths, strides, dilations, NET.stem, eps, stride_in_3x3=True)
    model, rgb = randomised(ResNet(net)), pictures(70, 93, 2)
    expected = theirs(model, standardised(rgb)).numpy()
    converted = resnet.from_torchvision(state_of(model), SAME_MEANS, eps)
    assert converted.unused == ["fc.bias", "fc.weight"]
    (found,) = ours(symbol(our_resnet, *variables("data"), net), converted, data=minus(rgb, SAME_MEANS))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_other_means_change_the_padding_alone():
    model, rgb = randomised(ResNet(NET)), pictures(40, 48)
    model.bn1.register_forward_hook(lambda module, given, out: kept.append(out.numpy()))
    kept: list = []
    theirs(model, standardised(rgb))
    converted = resnet.from_torchvision(state_of(model), PUBLISHED_MEANS)
    stem = symbol(conv_bn, *variables("data"), "conv1", NET.stem, NET, kernel=7, stride=2)
    (found,) = ours(stem, converted, data=minus(rgb, PUBLISHED_MEANS))
    difference, size = np.abs(found - kept[0]), np.abs(kept[0]).max()
    assert difference[:, :, 2:-2, 2:-2].max() < 2e-5 * size
    assert 1e-4 * size < difference.max() < 0.02 * size


@pytest.mark.parametrize("units", [(3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)], ids=["50", "101", "152"])
def test_names_and_shapes_at_full_depth(units):
    net = Backbone(units, stride_in_3x3=True)
    with torch.device("meta"):
        state = {name: np.broadcast_to(np.float32(0), v.shape) for name, v in ResNet(net).state_dict().items()}
    names = resnet._torch_names(state)
    args, auxs = shapes_of(symbol(our_resnet, *variables("data"), net), data=(1, 3, 64, 64))
    assert {ours: state[source].shape for source, ours in names.items()} == {**args, **auxs}


def test_resnets_that_are_not_ours_are_refused():
    with pytest.raises(InputError, match="18 or 34"):
        resnet.from_torchvision({"layer1.0.conv1.weight": np.zeros((64, 64, 3, 3))}, SAME_MEANS)
    grouped = {"layer1.0.conv3.weight": np.zeros((256, 128, 1, 1)), "layer1.0.conv2.weight": np.zeros((128, 4, 3, 3))}
    with pytest.raises(InputError, match="ResNeXt"):
        resnet.from_torchvision(grouped, SAME_MEANS)


def flow_sizes(pool_input, pool_output):
    return FlowNet((6, 6, 8, 8), (6, 4), pool_input, pool_output)


def stacked(current, other, means=flownet.TORCH_MEANS):
    means = np.float32(means)[:, None, None]
    return np.concatenate([(image - means) / 255 for image in (current, other)], axis=1)


def our_flows(net, converted, current, other, means):
    flows = symbol(flow, *variables("current", "other"), net, every_scale=True)
    return ours(flows, converted, current=minus(current, means), other=minus(other, means))


TORCH_MEANS_BGR = flownet.TORCH_MEANS[::-1]


@pytest.mark.parametrize("batch_norm, bias", [(False, False), (True, False), (False, True)])
def test_flownet_gives_the_flow_of_torch_at_every_scale(batch_norm, bias):
    """Sizes that are odd at every level; the finest is in cells of stride 4, the others as torch has them."""
    net, (current, other) = flow_sizes(False, False), pictures(53, 75, 2)[:, None]
    model = randomised(FlowNetS(net, batch_norm, bias))
    expected = [out.numpy() for out in theirs(model, stacked(current, other))]
    converted = flownet.from_torch(state_of(model), net, TORCH_MEANS_BGR)
    assert not converted.unused
    found = our_flows(net, converted, current, other, TORCH_MEANS_BGR)
    assert [out.shape for out in found] == [out.shape for out in expected]
    for out, wanted in zip(found, [expected[0] * 20 / 4, *expected[1:]]):
        np.testing.assert_allclose(out, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("div_flow", [20.0, 1.0])
def test_halved_images_give_the_flow_in_cells(div_flow):
    net, (current, other) = flow_sizes(True, False), pictures(53, 75, 2)[:, None]
    model = randomised(FlowNetS(net))
    halved = torch.nn.functional.avg_pool2d(torch.from_numpy(stacked(current, other)), 2, ceil_mode=True).numpy()
    expected = theirs(model, halved)[0].numpy() * div_flow * 2 / 8
    converted = flownet.from_torch(state_of(model), net, TORCH_MEANS_BGR, div_flow=div_flow)
    found, *_ = our_flows(net, converted, current, other, TORCH_MEANS_BGR)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_the_published_sizes_average_the_finest_level_before_the_last_layer():
    """With a last layer of 1x1, which commutes with averages, that is the average of torch's flow."""
    net, (current, other) = flow_sizes(True, True), pictures(106, 150, 2)[:, None]
    model = randomised(FlowNetS(net))
    last = model.predict_flow2.weight.data
    last[:, :, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0
    average = torch.nn.functional.avg_pool2d
    halved = average(torch.from_numpy(stacked(current, other)), 2, ceil_mode=True)
    expected = average(theirs(model, halved.numpy())[0], 2, ceil_mode=True).numpy() * 2.5
    found, *_ = our_flows(
        net, flownet.from_torch(state_of(model), net, TORCH_MEANS_BGR), current, other, TORCH_MEANS_BGR
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_other_means_change_the_flow_networks_padding_alone():
    net, (current, other) = flow_sizes(False, False), pictures(40, 48, 2)[:, None]
    model = randomised(FlowNetS(net))
    expected = theirs(model.conv1, stacked(current, other)).numpy()
    converted = flownet.from_torch(state_of(model), net, PUBLISHED_MEANS)
    pair = np.concatenate([minus(current, PUBLISHED_MEANS), minus(other, PUBLISHED_MEANS)], axis=1) / 255
    first = COMPILED.Convolution(
        *variables("pair"), name="flow_conv1", num_filter=6, kernel=(7, 7), stride=(2, 2), pad=(3, 3)
    )
    (found,) = ours(COMPILED.LeakyReLU(first, act_type="leaky", slope=0.1), converted, pair=pair)
    difference, size = np.abs(found - expected), np.abs(expected).max()
    assert difference[:, :, 2:-2, 2:-2].max() < 2e-5 * size < difference.max() < 0.2 * size


def test_another_flow_network_is_refused():
    state = dict.fromkeys(("conv1.0.weight", "conv3_1.0.weight", "conv_redir.0.weight"), np.zeros(1))
    with pytest.raises(InputError, match="not FlowNet-S"):
        flownet.from_torch(state, FlowNet(), PUBLISHED_MEANS)


def test_files_are_read_whatever_wraps_them(tmp_path):
    state = {"module.a.weight": torch.ones(2, dtype=torch.float16), "module.b": torch.tensor(3)}
    torch.save({"state_dict": state, "div_flow": 20, "arch": "flownets"}, tmp_path / "x.pth.tar")
    found, beside = read_state(tmp_path / "x.pth.tar")
    assert set(found) == {"a.weight", "b"} and found["a.weight"].dtype == np.float32
    assert beside == {"div_flow": 20, "arch": "flownets"}


class Unwanted:
    """What unpickling would build."""


@pytest.mark.parametrize(
    "content, message",
    [
        ({"state_dict": {"a": torch.ones(1)}, "other": Unwanted()}, "would have to be run"),
        ([torch.ones(1)], "holds a list"),
        ({"epoch": 3}, "no tensor in it"),
        ({"a": torch.zeros(1, dtype=torch.float16).expand(2**28)}, r"unpacks to 1073741824 bytes"),
        (dict.fromkeys(map(str, range(5000)), torch.zeros(2**14)), r"unpacks to 327680000 bytes"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "not plain arrays .a is complex"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "not plain arrays"),
        ({"a": torch.zeros(2, device="meta")}, "not plain arrays"),
    ],
)
def test_files_with_other_things_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match=message):
        read_state(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [b"", b"text that is no pickle", b"PK\x03\x04 cut"])
def test_broken_files_are_refused(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pth"):
        read_state(tmp_path / "x.pth")


def test_compressed_file_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "UNPACKED", 1000)
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data/0", bytes(2**20))
    with pytest.raises(InputError, match=r"x\.pth: unpacks to 1048576 bytes"):
        read_state(tmp_path / "x.pth")


@pytest.fixture
def cfg_path(tmp_path):
    """FGFA settings of the tiny network, with the stride where torchvision has it."""
    folder = tmp_path / "fgfa_rfcn" / "cfgs"
    folder.mkdir(parents=True)
    (folder / "x.yaml").write_text(yaml.safe_dump(tiny.nested(network={"STRIDE_IN_3X3": True})))
    return folder / "x.yaml"


def test_the_command_writes_a_file_that_fits_the_settings(tmp_path, cfg_path, capsys):
    cfg = tiny.settings(network={"STRIDE_IN_3X3": True})
    net = cfg.network
    sizes = Backbone(net.UNITS, net.WIDTHS, net.STRIDES, net.DILATIONS, net.STEM, stride_in_3x3=True)
    torch.save(ResNet(sizes).state_dict(), tmp_path / "resnet.pth")
    out = tmp_path / "resnet-0000.params"
    main(["convert", str(tmp_path / "resnet.pth"), str(out), "--cfg", str(cfg_path)])
    assert "unused: fc.bias, fc.weight" in capsys.readouterr().out
    args, auxs = params.load(out)
    assert set(args) == {name for name in tiny.weights(cfg)[0] if is_backbone_layer(name)}
    assert set(auxs) == set(tiny.weights(cfg)[1])
    flow_sizes = FlowNet(net.FLOW_ENCODER, net.FLOW_DECODER)
    torch.save({"state_dict": FlowNetS(flow_sizes).state_dict(), "div_flow": 20}, tmp_path / "flow.pth.tar")
    main(["convert", str(tmp_path / "flow.pth.tar"), str(tmp_path / "flow-0000.params"), "--cfg", str(cfg_path)])
    main(["inspect", str(tmp_path / "flow-0000.params"), "--cfg", str(cfg_path)])
    assert "fits the flow network of fgfa_rfcn (x.yaml)" in capsys.readouterr().out


def test_the_command_refuses_settings_that_do_not_fit(tmp_path, cfg_path, capsys):
    torch.save(ResNet(NET).state_dict(), tmp_path / "resnet.pth")
    source, out = str(tmp_path / "resnet.pth"), tmp_path / "out-0000.params"

    def fails(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["convert", *arguments])
        assert stop.value.code == 2 and not out.exists()
        return capsys.readouterr().err

    assert "weights of another network" in fails(source, str(out), "--cfg", str(cfg_path))
    cfg_path.write_text(yaml.safe_dump(tiny.SETTINGS))
    assert "STRIDE_IN_3X3 must be true" in fails(source, str(out), "--cfg", str(cfg_path))
    assert "must end in .params" in fails(source, str(out.with_suffix(".bin")))
    torch.save({"weight": torch.ones(1)}, tmp_path / "resnet.pth")
    assert "neither a torchvision ResNet nor" in fails(source, str(out))
