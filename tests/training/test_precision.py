"""TRAIN.PRECISION: bfloat16 trains nearly as float32 does, with parameters in float32."""

from __future__ import annotations

import numpy as np
import pytest

from lib.backends.choice import make_backend
from lib.config import make_config
from lib.errors import InputError
from lib.methods import METHODS
from lib.training.metrics import detection_metrics
from lib.training.train import optimizer, trainable
from tests import tiny
from tests.conftest import needs

CFG = tiny.settings("fgfa_rfcn", TRAIN={**tiny.SETTINGS["TRAIN"], "PRECISION": "bfloat16"})


def trainer(backend, precision, args, auxs):
    names = trainable(args, CFG.network.FIXED_PARAMS)
    return backend.trainer(
        lambda F: METHODS["fgfa_rfcn"].losses(F, CFG),
        backend.devices(""),
        args,
        auxs,
        names,
        optimizer(CFG),
        precision=precision,
    )


def test_bfloat16_is_near_float32_and_keeps_its_parameters_in_float32():
    needs("torch")
    backend = make_backend("torch", CFG)
    args, auxs = tiny.weights(CFG)
    batch = tiny.inputs(CFG, frames=("data", "data_bef", "data_aft"))
    try:
        trainers = {kind: trainer(backend, kind, args, auxs) for kind in ("float32", "bfloat16")}
    except InputError as error:
        pytest.skip(str(error))
    losses = {}
    for kind, each in trainers.items():
        found = [detection_metrics(each.step([batch], 0.002)[0], batch) for _ in range(20)]
        losses[kind] = np.array([[step[name][0] for name in ("RPNLogLoss", "RCNNLogLoss")] for step in found])
    assert not np.array_equal(losses["bfloat16"], losses["float32"])
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.05)
    assert (losses["bfloat16"][-1] < losses["bfloat16"][0]).all()
    for part in (*trainers["bfloat16"].params(), trainers["bfloat16"].state(), trainers["bfloat16"].gradients()):
        assert {value.dtype for value in part.values()} == {np.dtype(np.float32)}


def test_a_device_that_cannot(monkeypatch):
    needs("torch")
    from lib.backends.torch import precision

    monkeypatch.setattr(precision, "computes_bfloat16", lambda device: False)
    with pytest.raises(InputError) as error:
        trainer(make_backend("torch", CFG), "bfloat16", *tiny.weights(CFG))
    assert str(error.value) == (
        "TRAIN.PRECISION: bfloat16 is not supported on cpu: it needs AVX-512 or a bfloat16-capable GPU; use float32"
    )


def test_mxnet_trains_in_float32():
    needs("mxnet")
    with pytest.raises(InputError, match=r"TRAIN\.PRECISION: bfloat16 needs backend: torch; MXNet trains in float32"):
        trainer(make_backend("mxnet", CFG), "bfloat16", *tiny.weights(CFG))


def test_other_values():
    with pytest.raises(InputError, match=r"TRAIN\.PRECISION must be 'float32' or 'bfloat16', not 'int8'"):
        make_config({"TRAIN": {"PRECISION": "int8"}})
