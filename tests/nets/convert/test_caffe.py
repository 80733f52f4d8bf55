"""Converted weights of Caffe networks, which are computed here in numpy as in Caffe, give the same outputs in ours."""

from __future__ import annotations

import numpy as np
import pytest

from lib.cli.weights import main
from lib.errors import InputError
from lib.nets import params
from lib.nets.convert import flownet, resnet
from lib.nets.convert.caffe_file import Layer, read_caffemodel
from lib.nets.flownet import FlowNet, flow
from lib.nets.resnet import Backbone
from lib.nets.resnet import resnet as our_resnet
from tests.nets.convert.caffemodel import model
from tests.networks import run, shapes_of, symbol, variables

MEANS = (103.06, 115.90, 123.15)  # blue, green, red


def conv(x, weight, bias=None, stride=1, pad=0, dilate=1):
    kh, kw = weight.shape[2:]
    x = np.pad(np.float64(x), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    seen = (dilate * (kh - 1) + 1, dilate * (kw - 1) + 1)
    windows = np.lib.stride_tricks.sliding_window_view(x, seen, axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride, ::dilate, ::dilate]
    out = np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True)
    return out if bias is None else out + np.ravel(bias)[:, None, None]


def deconv(x, weight, bias):
    """4x4/2 with padding 1."""
    n, _, h, w = x.shape
    out = np.zeros((n, weight.shape[1], 2 * h + 2, 2 * w + 2))
    for i in range(4):
        for j in range(4):
            out[:, :, i : i + 2 * h : 2, j : j + 2 * w : 2] += np.einsum("nchw,co->nohw", x, weight[:, :, i, j])
    return out[:, :, 1:-1, 1:-1] + bias[:, None, None]


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def maximum_pool(x):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max(axis=(4, 5))


class CaffeResNet:
    """Random layers under Caffe's names. letters: units of stages 3 and 4 are a, b, c, ... as in ResNet-50."""

    def __init__(self, net, letters=False, conv1_bias=False):
        self.net, self.letters = net, letters
        self.random, self.layers = np.random.default_rng(0), {}
        self.add("conv1", net.stem, 3, 7, conv1_bias)
        channels = net.stem
        for stage, (units, width) in enumerate(zip(net.units, net.widths), start=2):
            for unit in range(units):
                name = self.unit(stage, unit)
                if unit == 0:
                    self.add(f"res{name}_branch1", 4 * width, channels, 1)
                self.add(f"res{name}_branch2a", width, channels, 1)
                self.add(f"res{name}_branch2b", width, width, 3)
                self.add(f"res{name}_branch2c", 4 * width, width, 1)
                channels = 4 * width
        self.layers["fc1000"] = [self.random.normal(size=(7, channels)), np.zeros(7)]

    def unit(self, stage, unit):
        if stage in (2, 5) or unit == 0 or self.letters:
            return f"{stage}{'abcdefgh'[unit]}"
        return f"{stage}b{unit}"

    def add(self, name, out, into, kernel, bias=False):
        random = self.random
        weight = random.normal(0, (2 / (into * kernel**2)) ** 0.5, (out, into, kernel, kernel))
        self.layers[name] = [weight] + ([random.normal(size=out)] if bias else [])
        end = name[3:] if name.startswith("res") else f"_{name}"
        sums = 37.5  # the moving averages are stored multiplied by this
        self.layers[f"bn{end}"] = [
            random.normal(size=out) * sums,
            random.uniform(0.5, 1.5, out) * sums,
            np.array([sums]),
        ]
        self.layers[f"scale{end}"] = [random.uniform(0.3, 0.9, out), random.normal(size=out)]

    def conv_bn(self, x, name, **how):
        x = conv(x, *self.layers[name], **how)
        end = name[3:] if name.startswith("res") else f"_{name}"
        mean, variance, (sums,) = self.layers[f"bn{end}"]
        gamma, beta = self.layers[f"scale{end}"]
        shape = (slice(None), None, None)
        x = (x - (mean / sums)[shape]) / np.sqrt((variance / sums)[shape] + 1e-5)
        return x * gamma[shape] + beta[shape]

    def __call__(self, bgr_minus_mean):
        x = maximum_pool(np.maximum(self.conv_bn(bgr_minus_mean, "conv1", stride=2, pad=3), 0))
        for stage, units in enumerate(self.net.units, start=2):
            dilate = self.net.dilations[stage - 2]
            for unit in range(units):
                name = f"res{self.unit(stage, unit)}_branch"
                stride = self.net.strides[stage - 2] if unit == 0 else 1
                y = np.maximum(self.conv_bn(x, f"{name}2a", stride=stride), 0)
                y = np.maximum(self.conv_bn(y, f"{name}2b", pad=dilate, dilate=dilate), 0)
                y = self.conv_bn(y, f"{name}2c")
                shortcut = self.conv_bn(x, f"{name}1", stride=stride) if unit == 0 else x
                x = np.maximum(y + shortcut, 0)
        return x


NET = Backbone((2, 3, 3, 1), (3, 3, 4, 4), (1, 2, 2, 1), (1, 1, 1, 2), stem=5)


def read(tmp_path, layers, **kinds):
    (tmp_path / "x.caffemodel").write_bytes(model(layers, **kinds))
    return read_caffemodel(tmp_path / "x.caffemodel")


@pytest.mark.parametrize("letters, bias, eps", [(False, False, 1e-5), (True, True, 1e-5), (False, False, 2e-5)])
def test_resnet_gives_the_features_of_caffe(tmp_path, letters, bias, eps):
    caffe = CaffeResNet(NET, letters, bias)
    net = Backbone(NET.units, NET.widths, NET.strides, NET.dilations, NET.stem, eps)
    bgr = np.random.default_rng(1).uniform(-120, 130, (1, 3, 43, 58)).astype(np.float32)
    expected = caffe(bgr)
    converted = resnet.from_caffe(read(tmp_path, caffe.layers, legacy=bias), eps)
    assert converted.unused == ["fc1000"]
    backbone = symbol(our_resnet, *variables("data"), net)
    args, auxs = shapes_of(backbone, data=bgr.shape)
    params.check({**converted.args, **converted.auxs}, {**args, **auxs}, "converted")
    (found,) = run(backbone, converted.args, converted.auxs, data=bgr[:, ::-1]).values()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


FLOW = FlowNet((4, 4, 6, 6), (5, 4), pool_input=False, pool_output=False)


def caffe_flownet():
    random, layers = np.random.default_rng(0), {}

    def add(name, first, second, kernel):
        scale = (2 / (second * kernel**2)) ** 0.5
        layers[name] = [random.normal(0, scale, (first, second, kernel, kernel)), random.normal(size=first)]

    channels = 6
    for level, filters in enumerate(FLOW.encoder, start=1):
        add(f"conv{level}", filters, channels, {1: 7, 2: 5, 3: 5}.get(level, 3))
        if level >= 3:
            add(f"conv{level}_1", filters, filters, 3)
        channels = filters
    for index, (level, filters) in enumerate(zip((4, 3), FLOW.decoder), start=1):
        add(f"Convolution{index}", 2, channels, 3)
        layers[f"deconv{level - 1}"] = [random.normal(0, 0.2, (channels, filters, 4, 4)), random.normal(size=filters)]
        layers[f"upsample_flow{level}to{level - 1}"] = [random.normal(0, 0.3, (2, 2, 4, 4)), random.normal(size=2)]
        channels = FLOW.encoder[level - 2] + filters + 2
    add("Convolution3", 2, channels, 3)
    layers["img0s_aug"] = [np.zeros(1), np.zeros((1, 3, 4, 4)), np.zeros((1, 3, 1, 1))]
    return layers


def caffe_flow(layers, x):
    """The finest prediction: flow / 20 in pixels, for the pair (1, 6, H, W) divided by 255."""
    encoded = []
    for level in range(1, 5):
        x = leaky(conv(x, *layers[f"conv{level}"], stride=2, pad=layers[f"conv{level}"][0].shape[2] // 2))
        x = leaky(conv(x, *layers[f"conv{level}_1"], pad=1)) if level >= 3 else x
        encoded.append(x)
    for index, level in enumerate((4, 3), start=1):
        predicted, below = conv(x, *layers[f"Convolution{index}"], pad=1), encoded[level - 2]
        rows, columns = below.shape[2:]
        up = deconv(predicted, *layers[f"upsample_flow{level}to{level - 1}"])[:, :, :rows, :columns]
        x = np.concatenate([below, leaky(deconv(x, *layers[f"deconv{level - 1}"]))[:, :, :rows, :columns], up], axis=1)
    return conv(x, *layers["Convolution3"], pad=1)


def test_flownet_gives_the_flow_of_caffe(tmp_path):
    layers = caffe_flownet()
    current, other = np.random.default_rng(1).uniform(-120, 130, (2, 1, 3, 45, 62)).astype(np.float32)  # BGR
    expected = caffe_flow(layers, np.concatenate([current, other], axis=1) / 255) * 20 / 4
    converted = flownet.from_caffe(read(tmp_path, layers), FLOW, MEANS)
    assert converted.unused == ["img0s_aug"]
    motion = symbol(flow, *variables("current", "other"), FLOW)
    (found,) = run(motion, converted.args, converted.auxs, current=current[:, ::-1], other=other[:, ::-1]).values()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_networks_that_are_not_ours_are_refused():
    with pytest.raises(InputError, match="not a ResNet-50"):
        resnet.from_caffe({"conv1_1": Layer("conv1_1", [])})
    with pytest.raises(InputError, match="not a FlowNet-S"):
        flownet.from_caffe({"conv1": Layer("conv1", [])}, FLOW, MEANS)


def test_the_command_writes_the_backbone(tmp_path, capsys):
    (tmp_path / "x.caffemodel").write_bytes(model(CaffeResNet(NET).layers))
    main(["convert", str(tmp_path / "x.caffemodel"), str(tmp_path / "x-0000.params")])
    assert "unused: fc1000" in capsys.readouterr().out
    args, auxs = params.load(tmp_path / "x-0000.params")
    wanted = shapes_of(symbol(our_resnet, *variables("data"), NET), data=(1, 3, 32, 32))
    params.check({**args, **auxs}, {**wanted[0], **wanted[1]}, "converted")
