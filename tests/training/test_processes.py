"""Which device and which way of communication a process chooses; no GPU is needed."""

from unittest.mock import MagicMock

import pytest
import torch
import torch.distributed as dist

from gbnlib.errors import UsageError
from gbnlib.training import Processes, train
from gbnlib.training.shared_norm import normalised_together


@pytest.mark.parametrize(
    ("gpus", "expected"), [(True, {"cpu": "gloo", "cuda": "nccl"}), (False, {"cpu": "gloo"})], ids=["GPUs", "none"]
)
def test_tensors_of_each_device_have_a_backend(monkeypatch: pytest.MonkeyPatch, gpus: bool, expected: dict) -> None:
    begun = []
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    monkeypatch.setattr(dist, "init_process_group", begun.append)
    assert Processes.from_environment() == Processes(rank=3, count=4)
    (backend,) = begun
    backends = dist.distributed_c10d.BackendConfig(dist.Backend(backend)).get_device_backend_map()
    assert {device: backends[device] for device in expected} == expected


def test_one_process_joins_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Processes.from_environment() == Processes() and not dist.is_initialized()


@pytest.mark.parametrize(("device", "expected"), [("cuda:1", [torch.device("cuda:1")]), ("cpu", [])])
def test_what_names_no_device_is_on_that_of_the_training(monkeypatch, device: str, expected: list) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    nothing_left = MagicMock(update=0, total_updates=0, seconds=0.0, status="finished")
    nothing_left.batches.labels.device = torch.device(device)
    train(nothing_left)
    assert chosen == expected


@pytest.mark.parametrize(
    ("rank", "count", "message"),
    [
        ("5", "1", "RANK is 5 and WORLD_SIZE 1; ranks go from 0 to WORLD_SIZE - 1"),
        ("0", "0", "RANK is 0 and WORLD_SIZE 0"),
        ("-1", "1", "RANK is '-1'; it must be a whole number"),
        ("0", "two", "WORLD_SIZE is 'two'; it must be a whole number"),
    ],
)
def test_variables_that_torchrun_would_not_set_are_refused(monkeypatch, rank: str, count: str, message: str) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(UsageError, match=message):
        Processes.from_environment()


def test_one_sample_over_all_processes_cannot_be_normalised(monkeypatch) -> None:
    """As PyTorch's own layer refuses it; its running variance would be NaN for ever after."""
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: None)
    layer = torch.nn.BatchNorm1d(3)
    with normalised_together(layer), pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        layer(torch.ones(1, 3))
    assert layer.running_var.isfinite().all()
