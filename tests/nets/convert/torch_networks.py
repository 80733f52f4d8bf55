"""Plain PyTorch networks with random weights, named as in torchvision and in the re-implementation of FlowNet-S."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="only conversion from PyTorch needs it")
nn = torch.nn


class Bottleneck(nn.Module):
    """With the stride on the 3x3, as torchvision has it since version 0.3."""

    def __init__(self, channels, width, stride, dilation, project):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
            if project
            else nn.Identity()
        )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, net.stem, 7, 2, 3, bias=False), nn.BatchNorm2d(net.stem)
        self.pool = nn.MaxPool2d(3, 2, 1)
        channels = net.stem
        table = zip(net.units, net.widths, net.strides, net.dilations)
        for number, (units, width, stride, dilation) in enumerate(table, start=1):
            blocks = []
            for unit in range(units):
                blocks.append(Bottleneck(channels, width, stride if unit == 0 else 1, dilation, unit == 0))
                channels = 4 * width
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, 5)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class FlowNetS(nn.Module):
    """Names as in the widely used re-implementation. bias: whether deconvolutions and predictions have one."""

    def __init__(self, net, batch_norm=False, bias=False):
        super().__init__()
        self.levels, channels = len(net.encoder), 6
        for level, filters in enumerate(net.encoder, start=1):
            setattr(self, f"conv{level}", self.conv(batch_norm, channels, filters, {1: 7, 2: 5, 3: 5}.get(level, 3), 2))
            if level >= 3:
                setattr(self, f"conv{level}_1", self.conv(batch_norm, filters, filters, 3, 1))
            channels = filters
        for level, filters in zip(range(self.levels, 2, -1), net.decoder):
            setattr(self, f"predict_flow{level}", nn.Conv2d(channels, 2, 3, 1, 1, bias=bias))
            up = nn.Sequential(nn.ConvTranspose2d(channels, filters, 4, 2, 1, bias=bias), nn.LeakyReLU(0.1))
            setattr(self, f"deconv{level - 1}", up)
            setattr(self, f"upsampled_flow{level}_to_{level - 1}", nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=False))
            channels = net.encoder[level - 2] + filters + 2
        self.predict_flow2 = nn.Conv2d(channels, 2, 3, 1, 1, bias=bias)

    @staticmethod
    def conv(batch_norm, channels, filters, kernel, stride):
        layers = [nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=not batch_norm)]
        layers += [nn.BatchNorm2d(filters)] if batch_norm else []
        return nn.Sequential(*layers, nn.LeakyReLU(0.1))

    def forward(self, x):
        """Predictions from the finest to the coarsest, flow / 20 in pixels of the images."""
        encoded = []
        for level in range(1, self.levels + 1):
            x = getattr(self, f"conv{level}")(x)
            x = getattr(self, f"conv{level}_1")(x) if level >= 3 else x
            encoded.append(x)
        predictions = []
        for level in range(self.levels, 2, -1):
            predicted = getattr(self, f"predict_flow{level}")(x)
            predictions.insert(0, predicted)
            below = encoded[level - 2]
            up = getattr(self, f"upsampled_flow{level}_to_{level - 1}")(predicted)
            deep = getattr(self, f"deconv{level - 1}")(x)
            height, width = below.shape[2:]
            x = torch.cat([below, deep[:, :, :height, :width], up[:, :, :height, :width]], 1)
        return [self.predict_flow2(x), *predictions]


def randomised(model, seed=0):
    """Weights of He's size, lively statistics."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if value.ndim == 4:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim == 1:
            value.uniform_(0.2, 0.9, generator=generator)
    return model.eval()


def state_of(model):
    return {name: value.float().numpy() for name, value in model.state_dict().items()}


def theirs(model, x):
    with torch.no_grad():
        return model(torch.from_numpy(np.ascontiguousarray(x, np.float32)))
