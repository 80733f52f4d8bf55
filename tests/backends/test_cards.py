"""Which GPUs the installed PyTorch serves; the GPUs are stand-ins."""

from __future__ import annotations

import importlib

import pytest

from lib.backends.choice import make_backend
from lib.config import make_config
from lib.cuda import Card
from lib.errors import InputError
from tests.conftest import needs

BUILT = ["sm_75", "sm_80", "sm_90a", "sm_100", "compute_100"]


@pytest.fixture
def cards(monkeypatch):
    """Two GPUs, an A100 and a P100, on a PyTorch 2.13 that is built for `BUILT`."""
    needs("torch")
    module = importlib.import_module("lib.backends.torch.cards")
    found = [Card("A100", (8, 0)), Card("P100", (6, 0))]
    monkeypatch.setattr(module, "cards", lambda: found)
    monkeypatch.setattr(module.torch, "__version__", "2.13.0+cu130")
    monkeypatch.setattr(module.torch.cuda, "get_arch_list", lambda: BUILT)
    return module


def devices(gpus: str) -> list:
    return make_backend("torch", make_config({})).devices(gpus)


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0)])
def test_gpus_that_it_serves(cards, capability):
    """12.0 by the PTX of 10.0."""
    assert cards.unserved(Card("X", capability)) == ""


@pytest.mark.parametrize("capability, cure", [
    ((6, 0), "install an older PyTorch"),
    ((7, 0), "install an older PyTorch"),
    ((9, 1), "install a newer PyTorch"),
])  # fmt: skip
def test_gpus_that_it_does_not_serve(cards, capability, cure):
    problem = cards.unserved(Card("X", capability))
    number = ".".join(map(str, capability))
    assert problem.startswith(f"X, compute capability {number}: PyTorch 2.13.0+cu130 was built for 7.5 to 10.0; {cure}")


def test_a_gpu_that_is_too_old_is_an_error(cards):
    assert [str(device) for device in devices("0")] == ["cuda:0"]
    with pytest.raises(InputError, match=r"^gpus: GPU 1: P100, compute capability 6\.0: .* or use gpus: ''"):
        devices("0,1")


def test_a_gpu_that_does_not_exist(cards, monkeypatch):
    with pytest.raises(InputError, match=r"^gpus: there is no GPU 2, PyTorch sees 2; use gpus: ''"):
        devices("0,2")
    monkeypatch.setattr(cards, "cards", list)
    monkeypatch.setattr(cards, "has_driver", lambda: False)
    for built, why in ((True, "no NVIDIA driver"), (False, r"2\.13\.0\+cu130 was built without CUDA: sh init\.sh")):
        monkeypatch.setattr(cards.torch.backends.cuda, "is_built", lambda built=built: built)
        with pytest.raises(InputError, match=rf"^gpus: there is no GPU 0, PyTorch sees 0 \({why}"):
            devices("0")
