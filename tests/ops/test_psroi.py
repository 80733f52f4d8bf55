"""The pooling-and-mean operator against numpy, golden numbers and differences."""

from __future__ import annotations

import numpy as np
import pytest

from bench import operators_reference as reference
from lib.backends.mxnet import library
from lib.backends.mxnet.loader import mx
from tests.networks import EAGER
from tests.ops.common import Kernels, golden, numeric_gradient

SCALE = 1 / 16


def run(data, rois, outputs, group, scale=SCALE):
    return EAGER.psroi_mean(
        mx.nd.array(data), mx.nd.array(rois), output_dim=outputs, group_size=group, spatial_scale=scale
    ).asnumpy()


def gradients(data, rois, above, outputs, group, scale=SCALE):
    data, rois = mx.nd.array(data), mx.nd.array(rois)
    data.attach_grad()
    rois.attach_grad()
    with mx.autograd.record():
        out = EAGER.psroi_mean(data, rois, output_dim=outputs, group_size=group, spatial_scale=scale)
    out.backward(mx.nd.array(above))
    return data.grad.asnumpy(), rois.grad.asnumpy()


def random_rois(count, batch, height, width, seed=0):
    """Boxes inside, across and beyond the map, some with their corners exchanged."""
    rng = np.random.RandomState(seed)
    corners = rng.uniform(-40, 1, (count, 4)) + rng.uniform(0, 1.2, (count, 4)) * 16 * np.array(
        [width, height, width, height]
    )
    return np.concatenate([rng.randint(0, batch, (count, 1)), corners], axis=1).astype(np.float32)


def test_golden_bins_of_the_class_maps():
    """The golden maps are every 31st channel of 1519, the golden bins every 6th class: some bins are in both."""
    maps, bins, rois = (golden(n) for n in ("rfcn_cls_sub", "psroi_cls_sub", "rois"))
    compared = 0
    for k in range(maps.shape[1]):
        number, cell = divmod(31 * k, 49)
        if number % 6:
            continue
        data = np.zeros((1, 49, 9, 13), np.float32)
        data[0, cell] = maps[0, k]
        expected = bins[:, number // 6, cell // 7, cell % 7]
        np.testing.assert_allclose(49 * run(data, rois[::12], 1, 7)[:, 0], expected, atol=1e-5 * np.abs(maps).max())
        compared += 1
    assert compared >= 5


def test_a_whole_map_averages_each_part():
    """Group 2 on a 2x2 map: the region of 32x32 pixels has one cell a bin."""
    data = np.zeros((1, 4, 2, 2), np.float32)
    for k in range(4):
        data[0, k, k // 2, k % 2] = k + 1
    assert run(data, [[0, 0, 0, 31, 31]], 1, 2).tolist() == [[2.5]]


@pytest.mark.parametrize(("x2", "expected"), [(0.4, 0), (0.5, 5), (1.4, 5), (1.5, 10)])
def test_rois_are_rounded_half_away_from_zero(x2, expected):
    """One bin over the columns 0, 10, 20 at a pixel a cell; half to even would leave one column for 0.5."""
    data = np.array([0, 10, 20], np.float32).reshape(1, 1, 1, 3)
    assert run(data, [[0, 0, 0, x2, 0]], 1, 1, scale=1)[0, 0] == expected


def test_minus_a_half_is_rounded_away_from_zero():
    """x1 = -16.5 becomes -17: with one bin the region still starts at column 0, with two the split moves."""
    data = np.stack([np.arange(4), np.arange(4) * 10]).reshape(1, 2, 1, 4).astype(np.float32)
    data = np.repeat(data, 2, axis=1)
    rois = np.array([[0, -16.5, 0, 46, 15]], np.float32)
    np.testing.assert_allclose(run(data, rois, 1, 2), reference.psroi_mean(data, rois, 1, 2, SCALE), atol=1e-6)
    assert reference.bin_edges(-16.5, 46, SCALE, 2, 4)[0] == (0, 1)


def test_an_empty_bin_counts_as_zero_in_the_mean():
    """Half of the region hangs over the left edge: its two left bins hold no cell."""
    data = np.ones((1, 4, 4, 4), np.float32)
    assert run(data, [[0, -32, 0, 31, 63]], 1, 2).tolist() == [[0.5]]


@pytest.mark.parametrize("roi", [[5000, 5000, 6000, 6000], [-900, -900, -500, -500], [np.nan] * 4, [1e30] * 4])
def test_a_region_off_the_map_gives_zero_and_takes_no_gradient(roi):
    data = np.ones((1, 9, 3, 5), np.float32)
    assert run(data, [[0, *roi]], 1, 3).tolist() == [[0]]
    assert not gradients(data, [[0, *roi]], np.ones((1, 1)), 1, 3)[0].any()


def test_a_region_without_extent_is_a_tenth_of_a_cell():
    """x2 + 1 = x1: the width is 0.1 cell, so that each bin still holds the cell under it."""
    data = np.arange(9 * 4, dtype=np.float32).reshape(1, 9, 2, 2)
    assert run(data, [[0, 4, 4, 3, 3]], 1, 3)[0, 0] == data[0, :, 0, 0].mean()


def fused_edge_differs(low, high, group=7):
    """Whether a fused multiply-add gives another edge than float32 multiplication, then addition."""
    f = np.float32
    start, end = np.round(f(low)) * f(SCALE), (np.round(f(high)) + f(1)) * f(SCALE)
    step = max(end - start, f(0.1)) / f(group)
    ks = np.arange(1, group + 1)
    plain = (ks.astype(f) * step).astype(f) + start
    fused = (ks * np.float64(step) + np.float64(start)).astype(f)
    return bool((np.floor(plain) != np.floor(fused)).any() or (np.ceil(plain) != np.ceil(fused)).any())


def test_bin_edges_are_float32_without_fused_multiply_add():
    """It matters where a region begins left of the map: the far edge then cancels to a whole cell."""
    pairs = [(a, b) for a in range(-60, 0) for b in range(15, 500, 16) if fused_edge_differs(a, b)][:40]
    assert len(pairs) == 40
    rng = np.random.RandomState(0)
    data = rng.standard_normal((1, 49, 3, 40)).astype(np.float32)
    rois = np.array([[0, a, 3, b, 40] for a, b in pairs], np.float32)
    np.testing.assert_allclose(run(data, rois, 1, 7), reference.psroi_mean(data, rois, 1, 7, SCALE), atol=1e-5)


@pytest.mark.parametrize(
    ("batch", "outputs", "group", "height", "width"),
    [(1, 1, 1, 1, 1), (2, 3, 7, 9, 13), (3, 2, 3, 1, 8), (1, 31, 7, 5, 4)],
)
def test_equals_numpy(batch, outputs, group, height, width):
    rng = np.random.RandomState(1)
    data = rng.standard_normal((batch, group * group * outputs, height, width)).astype(np.float32)
    rois = random_rois(40, batch, height, width)
    expected = reference.psroi_mean(data, rois, outputs, group, SCALE)
    np.testing.assert_allclose(run(data, rois, outputs, group), expected, atol=1e-5)


def test_equals_mxnets_own_pooling_with_gradient():
    rng = np.random.RandomState(2)
    data = rng.standard_normal((2, 49 * 3, 9, 13)).astype(np.float32)
    rois = random_rois(30, 2, 9, 13, seed=4)
    above = rng.standard_normal((30, 3)).astype(np.float32)
    d = mx.nd.array(data)
    d.attach_grad()
    with mx.autograd.record():
        pooled = mx.nd.contrib.PSROIPooling(
            d, mx.nd.array(rois), spatial_scale=SCALE, output_dim=3, pooled_size=7, group_size=7
        )
        out = pooled.mean(axis=(2, 3))
    out.backward(mx.nd.array(above))
    np.testing.assert_allclose(run(data, rois, 3, 7), out.asnumpy(), atol=1e-5)
    np.testing.assert_allclose(gradients(data, rois, above, 3, 7)[0], d.grad.asnumpy(), atol=1e-5)


def test_gradient_equals_differences_and_rois_get_none():
    rng = np.random.RandomState(3)
    data = rng.standard_normal((2, 8, 3, 4)).astype(np.float32)
    rois = random_rois(6, 2, 3, 4, seed=5)
    above = rng.standard_normal((6, 2)).astype(np.float32)
    by_data, by_rois = gradients(data, rois, above, 2, 2)
    expected = numeric_gradient(lambda d: (reference.psroi_mean(d, rois, 2, 2, SCALE) * above).sum(), data)
    np.testing.assert_allclose(by_data, expected, atol=1e-5)
    np.testing.assert_allclose(by_data, reference.psroi_gradient(data.shape, rois, above, 2, SCALE), atol=1e-6)
    assert not by_rois.any()


@pytest.mark.parametrize("threads", [2, 8])
def test_the_number_of_threads_changes_no_bit(threads):
    rng = np.random.RandomState(4)
    data = rng.standard_normal((2, 18, 7, 9)).astype(np.float32)
    rois = random_rois(25, 2, 7, 9)
    above = rng.standard_normal((25, 2)).astype(np.float32)
    shape = (2, 2, 3, 7, 9, 25, SCALE)
    results = []
    for number in (1, threads):
        kernels = Kernels(number)
        out, grad = np.empty((25, 2), np.float32), np.empty_like(data)
        kernels.call("fgfa_psroi_mean_forward_cpu", shape, data, rois, out)
        kernels.call("fgfa_psroi_mean_backward_cpu", shape, above, rois, grad)
        results.append((out, grad))
    for one, many in zip(*results):
        assert np.array_equal(one, many)


def test_no_region_gives_no_row_and_no_gradient():
    with mx.util.np_shape(True):
        data = mx.nd.ones((1, 4, 3, 3))
        data.attach_grad()
        with mx.autograd.record():
            out = EAGER.psroi_mean(data, mx.nd.zeros((0, 5)), output_dim=1, group_size=2, spatial_scale=SCALE)
        assert out.shape == (0, 1)
        out.backward(mx.nd.zeros((0, 1)))
        assert not data.grad.asnumpy().any()


@pytest.mark.parametrize("image", [2, -1, 0.5, np.nan])
def test_refuses_a_region_of_no_image(image):
    rois = np.zeros((3, 5), np.float32)
    rois[1, 0] = image
    with pytest.raises(mx.base.MXNetError, match=r"rois\[1, 0\] is .*: not an image of the batch of 2"):
        run(np.zeros((2, 4, 3, 3)), rois, 1, 2)


@pytest.mark.parametrize(
    ("data", "rois", "message"),
    [
        ((1, 5, 3, 3), (2, 5), "it must be (batch, 4 = group_size ^ 2 * output_dim, height, width)"),
        ((1, 4, 3), (2, 5), "data has shape (1, 4, 3)"),
        ((1, 4, 3, 3), (2, 4), "rois has shape (2, 4); it must be (regions, 5)"),
    ],
)
def test_refuses_wrong_shapes(data, rois, message):
    with pytest.raises(mx.base.MXNetError) as error:
        run(np.zeros(data), np.zeros(rois), 1, 2)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"output_dim": 1, "group_size": 2}, "attribute 'spatial_scale' is missing"),
        ({"output_dim": 1, "group_size": 2, "spatial_scale": 0}, "attribute 'spatial_scale' is 0"),
        ({"output_dim": 0, "group_size": 2, "spatial_scale": 1}, "attribute 'output_dim' is '0'"),
        ({"output_dim": 1.5, "group_size": 2, "spatial_scale": 1}, "it must be a whole number"),
        ({"output_dim": 1, "group_size": "two", "spatial_scale": 1}, "'two': it must be one or more numbers"),
        ({"output_dim": 1, "group_size": 2, "spatial_scale": 1, "pooled_size": 7}, "unknown attribute 'pooled_size'"),
    ],
)
def test_refuses_wrong_attributes(attributes, message):
    library.load()
    with pytest.raises(mx.base.MXNetError) as error:
        mx.nd.fgfa_psroi_mean(mx.nd.zeros((1, 4, 3, 3)), mx.nd.zeros((2, 5)), **attributes)
    assert message in str(error.value)
