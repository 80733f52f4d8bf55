"""Networks as CUDA graphs: which are recorded, kept and run, with a fake in place of recordings."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import needs

needs("torch")

from lib.backends.base import Sgd  # noqa: E402
from lib.backends.torch import graphs, memory, runtime  # noqa: E402
from lib.backends.torch.backend import Torch  # noqa: E402
from lib.backends.torch.graphs import MOST, CaptureFailed, Graphs  # noqa: E402
from lib.backends.torch.loader import torch  # noqa: E402
from lib.errors import InputError  # noqa: E402
from tests import tiny  # noqa: E402

CPU = torch.device("cpu")


class Recording:
    """Replays by running the network again, into the memory of its outputs."""

    made: list = []  # noqa: RUF012  emptied by `made`
    replays = 0

    def __init__(self, run, inputs, pool, benchmark):
        self.inputs = {name: value.clone() for name, value in inputs.items()}
        self.run, self.benchmark = run, benchmark
        self.outputs = run(self.inputs)
        for value in (*self.inputs.values(), *self.outputs.values()):
            value.fill_(-1)  # recording computes nothing
        self.made.append({name: tuple(value.shape) for name, value in inputs.items()})

    def replay(self):
        type(self).replays += 1
        for name, value in self.run(self.inputs).items():
            self.outputs[name].copy_(value)


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(Recording, "made", [])
    monkeypatch.setattr(Recording, "replays", 0)
    return Recording.made


def double(inputs):
    return {"out": inputs["x"] * 2}


def test_a_graph_for_each_shape(made):
    run = Graphs(double, record=Recording)
    for number, size in enumerate([3, 5, 3, 3, 5]):
        out = run({"x": torch.full((size,), float(number))})["out"]
        assert out.tolist() == [2.0 * number] * size
    assert made == [{"x": (3,)}, {"x": (5,)}] and Recording.replays == 5
    assert run({"x": torch.zeros(3)})["out"] is run({"x": torch.ones(3)})["out"]  # always the same memory


def test_the_graph_not_used_for_longest_goes(made):
    run = Graphs(double, record=Recording)
    for size in [*range(1, MOST + 1), 1, MOST + 1, 1, 2]:  # 1 was used again, so 2 has gone
        run({"x": torch.zeros(size)})
    assert [each["x"][0] for each in made] == [*range(1, MOST + 1), MOST + 1, 2]
    assert len(run._recordings) == MOST


def test_a_network_that_cannot_be_recorded_runs_without(caplog):
    def fails(*arguments):
        raise CaptureFailed("operation not permitted when stream is capturing")

    run = Graphs(double, record=fails)
    for size in (2, 2, 3):
        assert run({"x": torch.ones(size)})["out"].tolist() == [2.0] * size
    assert len(caplog.messages) == 1 and "no CUDA graph" in caplog.messages[0] and "not permitted" in caplog.messages[0]


def test_errors_of_the_network_are_not_hidden():
    def fails(*arguments):
        raise ValueError("flow has another shape")

    with pytest.raises(ValueError, match="another shape"):
        Graphs(double, record=fails)({"x": torch.ones(1)})


def forward(build, **options):
    """A network on the CPU that runs as on a GPU."""
    network = runtime.Forward(build, CPU, {}, {}, **options)
    network._graphs = Graphs(network._run, record=Recording)
    return network


def total(F):
    return {"out": F.identity(F.Variable("kept") + F.Variable("x"), name="out")}


def test_buffers_are_read_where_they_are_and_recorded_again_when_they_move(made):
    network = forward(total)
    slots = network.buffers(kept=(2,))
    slots["kept"].write(range(2), np.float32([1, 2]))
    np.testing.assert_array_equal(network(x=np.float32([10, 10]))["out"], [11, 12])
    np.testing.assert_array_equal(network(x=np.float32([0, 0]), kept=np.float32([5, 6]))["out"], [5, 6])
    assert len(made) == 1
    again = network.buffers(kept=(2,))  # of the same shape: the same memory, of zeros
    assert again["kept"] is slots["kept"] and not np.asarray(again["kept"]).any()
    np.testing.assert_array_equal(network(x=np.float32([3, 4]))["out"], [3, 4])
    assert len(made) == 1
    network.buffers(kept=(3,))
    np.testing.assert_array_equal(network(x=np.float32([1, 1, 1]))["out"], [1, 1, 1])
    network.buffers(kept=(2,))
    np.testing.assert_array_equal(network(x=np.float32([1, 1]))["out"], [1, 1])
    assert len(made) == 3


def test_graphs_are_for_gpus_and_can_be_turned_off():
    build = lambda F: {"x": F.identity(F.Variable("x"), name="x")}  # noqa: E731
    assert runtime.Forward(build, CPU, {}, {})._graphs is None
    for backend, wanted in ((Torch(), True), (Torch(graphs=False), False)):
        assert backend.precision("float32", "").graphs is backend.precision("bfloat16", "").graphs is wanted


def test_the_search_for_algorithms_ends_with_the_recording():
    assert not torch.backends.cudnn.benchmark
    with pytest.raises(ZeroDivisionError), graphs._benchmark(True):
        assert torch.backends.cudnn.benchmark
        raise ZeroDivisionError
    assert not torch.backends.cudnn.benchmark


def test_float32_is_exact_on_gpus():
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("changes", [{}, {"FLOW_HOP": 1}, {"FLOW_HOP": 1, "KEY_FRAME_DURATION": 2}])
def test_a_whole_detector_as_graphs_and_one_launch_late(made, changes):
    """Clips of two sizes, a short batch at the end of each: what a GPU does, with the kernels of the CPU."""
    cfg = tiny.settings(TEST={"KEY_FRAME_INTERVAL": 2, **changes})
    clips = [tiny.clip(7), tiny.clip(4, 64, 48), tiny.clip(7, seed=1)]
    plain, late = (tiny.load(cfg, *tiny.weights(cfg), backend=Torch(), batch=3) for _ in range(2))
    late._late = 1
    flows = late._flows
    networks = (
        late._features,
        flows._image,
        flows._network,
        flows._chain,
        late._windows._network,
        late._detect._network,
    )
    for network in networks:
        network._graphs = Graphs(network._run, record=Recording)
    for clip in clips:
        expected = list(plain(clip))
        found = list(late(clip))
        assert len(found) == len(expected) == len(clip)
        for one, other in zip(found, expected):
            np.testing.assert_array_equal(one.boxes, other.boxes)
            np.testing.assert_array_equal(one.scores, other.scores)
    assert Recording.replays > len(made) > 8


# Fetching


def test_a_gpus_results_come_after_the_next_launch(backend):
    (device,) = backend.devices("")
    assert backend.overlaps(device) is False
    network = backend.network(lambda F: {"x": F.identity(F.Variable("x") + 1, name="x")}, device, {}, {})
    first = backend.fetch(network(x=np.float32([1, 2])))
    network(x=np.float32([8, 9]))
    np.testing.assert_array_equal(first()["x"], [2, 3])


# Memory


@pytest.fixture
def full(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * 2**29, 80 * 2**30))

    def exhausted(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    return exhausted


def test_out_of_memory_in_inference(monkeypatch, full):
    class Gpu:
        type = "cuda"

        def __str__(self):
            return "cuda:0"

    network = runtime.Forward(full, CPU, {}, {})
    monkeypatch.setattr(network, "_device", Gpu())
    monkeypatch.setattr(torch.cuda, "device", lambda device: memory.contextlib.nullcontext())
    expected = "gpus: cuda:0 is out of memory, 1.5 of 80.0 GiB are free; lower SCALES, TEST.BATCH_IMAGES or, with FGFA"
    with pytest.raises(InputError, match=expected):
        network()


def test_out_of_memory_in_training(full):
    step = Torch().trainer(full, [CPU], {}, {}, (), Sgd())
    with pytest.raises(InputError, match=r"cpu is out of memory, 1\.5 of 80\.0 GiB are free; lower SCALES, name more"):
        step.step([{}], 0.1)
