"""Execution options that cannot be are refused with what is allowed."""

import pytest
import torch

from gbnlib.errors import UsageError
from gbnlib.training import Execution


def test_auto_is_a_device_that_exists() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert Execution().torch_device().type == expected


@pytest.mark.parametrize("device", ["gpu", "cpu:x", "cuda:x", ""])
def test_an_unknown_device_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UsageError, match=rf"unknown device '{device}'.* Allowed: auto, cpu, cuda\."):
        Execution(device=device).torch_device()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match="PyTorch finds no CUDA GPU. Allowed here: auto, cpu"):
        Execution(device="cuda").torch_device()


def test_threads_are_at_least_one() -> None:
    with pytest.raises(UsageError, match="threads is 0"):
        Execution(threads=0)
