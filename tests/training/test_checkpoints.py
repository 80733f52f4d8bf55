"""Weights files and the state that training goes on from."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.backends.mxnet.loader import mx
from lib.errors import InputError
from lib.nets.params import for_test, for_training, load, save
from lib.training.checkpoints import Checkpoint, Checkpoints, averaged, with_test_weights
from lib.training.curves import Curves
from tests.conftest import needs

BINS, STDS, MEANS = 4, (0.1, 0.1, 0.2, 0.2), (0.0, 0.0, 0.5, 1.0)


def box_layer(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "rfcn_bbox_weight": rng.normal(size=(8 * BINS, 3, 1, 1)).astype(np.float32),
        "rfcn_bbox_bias": rng.normal(size=8 * BINS).astype(np.float32),
        "other": np.float32([1, 2]),
    }


def checkpoint(epoch, step, value=0.0):
    return Checkpoint(
        epoch,
        step,
        {"w": np.float32([value])},
        {"moving": np.float32([1])},
        {"momentum:w": np.float32([value + 1]), "steps": np.array([3], np.int64)},
        {"window/Loss": np.array([1.5, 2.0])},
    )


def test_a_checkpoint_is_flushed_after_its_last_rename(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr("lib.training.checkpoints.sync", lambda path: flushed.append((path, sorted(os.listdir(path)))))
    Checkpoints(tmp_path / "x").save(checkpoint(1, 0))
    assert flushed == [(tmp_path, ["x-0001.params", "x-0001.state.npz"])]


def test_params_round_trip_in_the_format_of_mxnet(tmp_path):
    path = tmp_path / "x-0000.params"
    save(path, {"a": np.float32([[1, 2]]), "n": np.ones(2, np.float32)}, {"b": np.float32([3])})
    needs("mxnet")
    assert set(mx.nd.load(str(path))) == {"arg:a", "arg:n", "aux:b"}
    args, auxs = load(path)
    np.testing.assert_array_equal(args["a"], [[1, 2]])
    np.testing.assert_array_equal(auxs["b"], [3])
    assert [each.name for each in tmp_path.iterdir()] == ["x-0000.params"]


def test_no_average_of_other_weights_stays_beside_a_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path / "net")
    path = checkpoints.save(replace(checkpoint(0, 7), averages={"w": np.float32([5])}))
    np.testing.assert_array_equal(load(averaged(path))[0]["w"], [5])
    assert checkpoints.save(checkpoint(0, 9)) == path and path.is_file()
    assert not averaged(path).exists()


def test_test_weights_give_deltas_without_normalisation():
    args = box_layer()
    folded = for_test(with_test_weights(args, means=MEANS, stds=STDS, bins=BINS))
    assert set(folded) == set(args)
    feature = np.float32([0.3, -2, 1])
    raw, plain = (
        (each["rfcn_bbox_weight"][:, :, 0, 0] @ feature + each["rfcn_bbox_bias"]).reshape(8, BINS).mean(axis=1)
        for each in (args, folded)
    )
    np.testing.assert_allclose(plain, raw * np.tile(STDS, 2) + np.tile(MEANS, 2), rtol=1e-5)


def test_test_weights_are_added_beside_and_taken_away_for_training():
    args = box_layer()
    completed = with_test_weights(args, means=MEANS, stds=STDS, bins=BINS)
    assert set(completed) - set(args) == {"rfcn_bbox_weight_test", "rfcn_bbox_bias_test"}
    assert completed["rfcn_bbox_weight_test"].dtype == np.float32
    assert for_training(completed) == args
    with pytest.raises(ValueError, match="multiple"):
        with_test_weights(args, means=MEANS, stds=STDS, bins=5)


def test_the_newest_is_the_one_that_came_furthest(tmp_path):
    checkpoints = Checkpoints(tmp_path / "net")
    assert checkpoints.newest() is None
    assert checkpoints.save(checkpoint(1, 0, 1.0)) == tmp_path / "net-0001.params" == checkpoints.path(1)
    assert checkpoints.save(checkpoint(1, 7, 2.0)).name == "net-latest.params"
    newest = checkpoints.newest()
    assert (newest.epoch, newest.step, newest.args["w"][0], newest.auxs["moving"][0]) == (1, 7, 2, 1)
    assert newest.optimizer["momentum:w"][0] == 3 and newest.optimizer["steps"].dtype == np.int64
    np.testing.assert_array_equal(newest.totals["window/Loss"], [1.5, 2])
    checkpoints.save(checkpoint(2, 0, 5.0))
    assert checkpoints.newest().epoch == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        *("net-0001.params", "net-0001.state.npz", "net-0002.params", "net-0002.state.npz"),
    ]


def test_only_the_file_has_the_test_weights(tmp_path):
    checkpoints = Checkpoints(tmp_path / "n", lambda args: with_test_weights(args, means=MEANS, stds=STDS, bins=BINS))
    path = checkpoints.save(Checkpoint(1, 0, box_layer(), {}, {}))
    assert "rfcn_bbox_weight_test" in load(path)[0]
    assert set(checkpoints.newest().args) == set(box_layer())


def test_a_state_without_its_weights_is_passed_over(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path / "net")
    checkpoints.save(checkpoint(1, 0))
    checkpoints.save(checkpoint(2, 0))
    save(checkpoints.path(2), {"w": np.float32([9])}, {})
    checkpoints.save(checkpoint(3, 0))
    checkpoints.path(3).unlink()
    (tmp_path / "net-0004.state.npz").write_bytes(b"PK rubbish")
    assert checkpoints.newest().epoch == 1
    assert len(caplog.records) == 3


def test_forget_removes_states_alone(tmp_path):
    checkpoints = Checkpoints(tmp_path / "net")
    checkpoints.save(checkpoint(1, 0))
    Checkpoints(tmp_path / "other").save(checkpoint(1, 0))
    checkpoints.forget()
    with pytest.raises(InputError, match=r"net-0001.params: has no .state.npz file to continue from, and there is no"):
        checkpoints.newest()
    assert Checkpoints(tmp_path / "other").newest().epoch == 1


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x10
    path.write_bytes(bytes(content))


DAMAGE = {
    "a flipped byte of the weights": lambda params, state: flip(params, 0.5),
    "a flipped byte of the state": lambda params, state: flip(state, 0.3),
    "empty weights": lambda params, state: params.write_bytes(b""),
    "an empty state": lambda params, state: state.write_bytes(b""),
    "weights cut short": lambda params, state: params.write_bytes(params.read_bytes()[:-9]),
    "a state cut short": lambda params, state: state.write_bytes(state.read_bytes()[:-99]),
    "weights without a state": lambda params, state: state.unlink(),
    "a state without weights": lambda params, state: params.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_unless_it_is_the_only_one(tmp_path, caplog, damage):
    checkpoints = Checkpoints(tmp_path / "net")
    for epoch, step in ((1, 0), (1, 7)):
        checkpoints.save(checkpoint(epoch, step))
    DAMAGE[damage](tmp_path / "net-latest.params", tmp_path / "net-latest.state.npz")
    newest = checkpoints.newest()
    assert (newest.epoch, newest.step) == (1, 0)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (damage != "weights without a state")
    for path in tmp_path.glob("net-0001*"):
        path.unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        InputError, match=r"net-latest.*, and there is no other checkpoint; restore the file, or remove"
    ):
        checkpoints.newest()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name, value, message", [
    ("optimizer/momentum:w", np.float32([1, 2]), "'momentum:w' of the optimizer does not fit the weights"),
    ("optimizer/momentum:w", np.float32([np.nan]), "'momentum:w' of the optimizer does not fit the weights or is not"),
    ("optimizer/x", np.float32([1]), "'x' of the optimizer does not fit"),
    ("totals/window/Loss", np.array([1.0, np.inf]), "'window/Loss' of the losses is not a pair of finite numbers"),
    ("totals/window/Loss", np.array(["a", "b"]), "is not a pair of finite numbers"),
    ("position", np.array([0, -1]), "no position"),
    ("position", np.array([1.0, 7.0]), "no position"),
    ("devices", np.array([1, 2]), "its number of devices is not a whole number"),
    ("optimizer/momentum:w", b"no array", "not a NumPy archive, or damaged"),
])  # fmt: skip
def test_a_state_with_a_wrong_array_is_passed_over(tmp_path, caplog, name, value, message):
    checkpoints = Checkpoints(tmp_path / "net")
    for epoch, step in ((1, 0), (1, 7)):
        checkpoints.save(checkpoint(epoch, step))
    state = tmp_path / "net-latest.state.npz"
    with np.load(state) as file:
        arrays = {each: file[each] for each in file.files if each != name}
    np.savez(state, **arrays, **({} if isinstance(value, bytes) else {name: value}))
    if isinstance(value, bytes):
        with zipfile.ZipFile(state, "a") as archive:
            archive.writestr(f"{name}.npy", value)
    assert checkpoints.newest().step == 0
    assert message in caplog.text


@pytest.mark.parametrize("written", range(4))
def test_a_kill_between_the_files_of_a_checkpoint_loses_nothing(tmp_path, monkeypatch, written):
    """The process ends after `written` renames: of the weights under a first name, the state, the weights."""
    checkpoints = Checkpoints(tmp_path / "net")
    checkpoints.save(checkpoint(0, 3, 1.0))
    renames = 0

    def killed(self, target):
        nonlocal renames
        if renames == written:
            raise KeyboardInterrupt
        renames += 1
        return os.rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        try:
            checkpoints.save(checkpoint(0, 6, 2.0))
        except KeyboardInterrupt:
            assert written < 3
    newest = checkpoints.newest()
    assert (newest.step, newest.args["w"][0]) == ((3, 1.0) if written < 2 else (6, 2.0))
    checkpoints.settle()
    assert {path.name for path in tmp_path.iterdir()} == {"net-latest.params", "net-latest.state.npz"}
    assert load(tmp_path / "net-latest.params")[0]["w"][0] == newest.args["w"][0]
    assert checkpoints.newest().step == newest.step


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path / "net")
    checkpoints.save(checkpoint(1, 0, 2.0))
    os.mkfifo(tmp_path / "net-latest.state.npz")
    assert checkpoints.newest().epoch == 1
    assert "latest.state.npz: damaged (a pipe, device or socket instead of a file)" in caplog.text
    os.mkfifo(tmp_path / "losses.jsonl")
    with pytest.raises(InputError, match=r"losses\.jsonl: is not a file; remove it"):
        Curves(tmp_path / "losses.jsonl", tmp_path / "losses.png").cut(0, 0)


@pytest.mark.parametrize("left", [["params"], ["params", "state.npz"]])
def test_a_kill_at_the_end_of_an_epoch_leaves_nothing_of_its_middle(tmp_path, left):
    checkpoints = Checkpoints(tmp_path / "net")
    checkpoints.save(checkpoint(0, 3, 1.0))
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    checkpoints.save(checkpoint(1, 0, 2.0))
    complete = {path.name for path in tmp_path.iterdir()}
    for path, content in kept.items():
        if any(path.name.endswith(suffix) for suffix in left):
            path.write_bytes(content)
    assert checkpoints.newest().epoch == 1
    checkpoints.settle(1)
    assert {path.name for path in tmp_path.iterdir()} == complete
    checkpoints.save(checkpoint(1, 3, 3.0))
    checkpoints.settle(1)
    assert checkpoints.newest().step == 3


def test_damaged_lines_of_the_losses_are_dropped_and_the_rest_kept(tmp_path, caplog):
    curves = Curves(tmp_path / "losses.jsonl", tmp_path / "losses.png")
    for step in range(1, 5):
        curves.add(0, step, 0.1, {"Loss": 1.0 / step})
    lines = (tmp_path / "losses.jsonl").read_bytes().splitlines(keepends=True)
    bad = [b"\xff\x00\n", b"[]\n", b'{"epoch": "a", "step": 1, "lr": 1, "losses": {}}\n', b'{"epoch": 0, "st']
    for lr, epoch in ((b"NaN", b"0"), (b"1", b"-1")):
        bad.insert(0, b'{"epoch": %b, "step": 1, "lr": %b, "losses": {}}\n' % (epoch, lr))
    (tmp_path / "losses.jsonl").write_bytes(b"".join([lines[0], *bad[:-1], *lines[1:], bad[-1]]))
    curves.cut(0, 3)
    assert (tmp_path / "losses.jsonl").read_bytes() == b"".join(lines[:3])
    assert "skipping 6 damaged lines" in caplog.text
    curves.draw(10)
    assert (tmp_path / "losses.png").is_file()
