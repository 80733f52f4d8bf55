"""TRAIN.EMA: averages of the weights by hand, beside an unchanged training, validated, resumed and tested."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from lib.backends.base import Sgd
from lib.config import load_config, make_config
from lib.errors import InputError
from lib.methods import METHODS
from lib.nets.params import load
from lib.training.checkpoints import Checkpoints, averaged
from lib.training.fit import Interrupted, fit
from lib.training.train import train
from tests import tiny
from tests.conftest import needs
from tests.tiny import parameters, run_script

SCRIPT = "experiments/rfcn/rfcn_end2end_train_test.py"
METHOD = METHODS["rfcn"]
STATIC = np.float32([[7, 8, 9]])  # a parameter that is not trained


class ThreeSteps:
    def __len__(self):
        return 3

    def epoch(self, epoch, start=0):
        for number in range(start, 3):
            rng = np.random.default_rng(number)
            x = rng.normal(size=(4, 3)).astype(np.float32)
            yield [{"data": x, "target": x.sum(1)}]


def linear(backend):
    """A trainer of a linear layer, and the list of its weights after each step."""

    def loss(F):
        data = F.Variable("data")
        guess = F.FullyConnected(data, num_hidden=1, name="fc") + F.FullyConnected(data, num_hidden=1, name="fixed")
        error = F.square(F.reshape(guess, (-1,)) - F.Variable("target"))
        return {"error": F.MakeLoss(error, grad_scale=0.1, name="error")}

    bias = np.float32([0.5])
    args = {"fc_weight": np.float32([[1, -2, 3]]), "fc_bias": bias, "fixed_weight": STATIC, "fixed_bias": bias}
    trainer = backend.trainer(loss, backend.devices(""), args, {}, {"fc_weight", "fc_bias"}, Sgd(momentum=0.5))
    weights, step = [], trainer.step

    def recorded(batches, lr):
        outputs = step(batches, lr)
        weights.append(trainer.params()[0])
        return outputs

    trainer.step = recorded
    return trainer, weights


@pytest.mark.parametrize("limit, decays", [(0.999, (2 / 11, 3 / 12)), (0.2, (2 / 11, 0.2))])
def test_three_steps_by_hand(backend, limit, decays, tmp_path):
    trainer, weights = linear(backend)
    path = fit(
        trainer,
        ThreeSteps(),
        schedule=lambda step: 0.1,
        end_epoch=1,
        checkpoints=Checkpoints(tmp_path / "net"),
        metrics=lambda outputs, batch: {"Error": (float(outputs["error"].sum()), 4.0)},
        average=limit,
    )
    assert averaged(path) == tmp_path / "net_ema-0001.params"
    found = load(averaged(path))[0]
    assert found.keys() == load(path)[0].keys()
    for name in ("fc_weight", "fc_bias"):
        first, second, third = (each[name].astype(np.float64) for each in weights)
        expected = decays[0] * first + (1 - decays[0]) * second
        expected = decays[1] * expected + (1 - decays[1]) * third
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
        assert np.abs(expected - third).max() > 1e-3
    np.testing.assert_array_equal(found["fixed_weight"], STATIC)


@pytest.mark.parametrize("name", ["mxnet", "torch"])
def test_training_is_the_same_with_and_without(name, minivid, tmp_path, caplog):
    needs(name)
    runs = {}
    for kind, settings in (("plain", []), ("averaged", ["TRAIN.EMA=0.9"])):
        (tmp_path / kind).mkdir()
        cfg = tiny.write_experiment(tmp_path / kind, minivid)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            run_script(SCRIPT, "--cfg", cfg, "--set", f"backend={name}", "default.frequent=2", *settings)
        last = caplog.records[-1].getMessage()
        runs[kind] = tiny.training(tmp_path / kind, "rfcn")
        assert ("averaged" in last) == (kind == "averaged")
    plain, other = runs["plain"], runs["averaged"]
    assert (plain / "losses.jsonl").read_bytes() == (other / "losses.jsonl").read_bytes()
    for each in ("tiny-0001.params", "tiny-0002.params"):
        assert (plain / each).read_bytes() == (other / each).read_bytes()
    states = [np.load(each / "tiny-0002.state.npz") for each in (plain, other)]
    assert set(states[1].files) - set(states[0].files) == {x for x in states[1].files if x.startswith("averages/")}
    for each in states[0].files:
        np.testing.assert_array_equal(states[0][each], states[1][each], err_msg=each)
    names = {path.name for path in other.iterdir()}
    assert names - {path.name for path in plain.iterdir()} == {"tiny_ema-0001.params", "tiny_ema-0002.params"}
    weights, averages = parameters(other / "tiny-0002.params"), parameters(other / "tiny_ema-0002.params")
    assert weights.keys() == averages.keys() and "rfcn_bbox_weight_test" in averages
    fixed = load_config(cfg, [], METHOD.schema).network.FIXED_PARAMS
    same = {each for each, value in weights.items() if np.array_equal(value, averages[each])}
    assert same == {each for each in weights if each.startswith(tuple(fixed))}
    # as the last line says
    path = re.search(r"other weights: .*?(\S+_ema-\S+)$", last).group(1)
    assert path == str(other / "tiny_ema-0002.params")
    run_script("experiments/rfcn/rfcn_test.py", "--cfg", cfg, "--weights", path, "--output", tmp_path / "test")
    assert (tmp_path / "test" / "results.json").is_file()


@pytest.mark.parametrize("name", ["mxnet", "torch"])
def test_stopped_and_resumed_equals_uninterrupted(name, minivid, tmp_path):
    needs(name)
    path = tiny.write_experiment(tmp_path, minivid)

    def run(folder, *settings, stopped=None):
        cfg = load_config(path, [f"backend={name}", "TRAIN.EMA=0.9", *settings], METHOD.schema)
        return train(cfg, METHOD, tmp_path / folder, stopped=stopped)

    whole = run("whole")
    for steps in (5, 1):
        with pytest.raises(Interrupted):
            run("parts", "TRAIN.RESUME=true", stopped=tiny.After(steps))
        assert (tmp_path / "parts" / "tiny_ema-latest.params").is_file()
    parts = run("parts", "TRAIN.RESUME=true")
    assert averaged(parts).read_bytes() == averaged(whole).read_bytes()
    assert {each.name for each in (tmp_path / "parts").iterdir()} == {each.name for each in whole.parent.iterdir()}


def test_an_average_that_begins_later(minivid, tmp_path):
    path = tiny.write_experiment(tmp_path, minivid)

    def run(*settings):
        return train(load_config(path, list(settings), METHOD.schema), METHOD, tmp_path / "run")

    run("TRAIN.end_epoch=1")
    final = run("TRAIN.RESUME=true", "TRAIN.EMA=0.999")
    assert not averaged(final.with_name("tiny-0001.params")).exists()
    weights, averages = parameters(final), parameters(averaged(final))
    assert not np.array_equal(weights["rfcn_bbox_weight"], averages["rfcn_bbox_weight"])
    np.testing.assert_allclose(weights["rfcn_bbox_weight"], averages["rfcn_bbox_weight"], atol=0.01)


def test_validation_is_of_the_averaged_weights(minivid, tmp_path, caplog):
    cfg = tiny.write_experiment(tmp_path, minivid)
    settings = ("TRAIN.VALIDATE=1", "TRAIN.EMA=0.9", "TRAIN.end_epoch=1")
    with caplog.at_level(logging.INFO):
        run_script(SCRIPT, "--cfg", cfg, "--set", *settings)
    assert "validation of the averaged weights after" in caplog.text
    folder = tiny.training(tmp_path, "rfcn")
    assert (folder / "tiny-best.params").read_bytes() == (folder / "tiny_ema-0001.params").read_bytes()


@pytest.mark.parametrize("value", [-0.1, 1, 1.5])
def test_wrong_decays(value):
    with pytest.raises(InputError, match=r"TRAIN\.EMA must be at least 0 and less than 1"):
        make_config({"TRAIN": {"EMA": value}})
