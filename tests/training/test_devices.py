"""Execution options that cannot be are refused with what is allowed."""

import os
import types

import pytest
import torch

from gbnlib.errors import UsageError
from gbnlib.training import Execution
from gbnlib.training.devices import arithmetic, check_precision, repeatable


def test_auto_is_a_device_that_exists() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert Execution().torch_device().type == expected


@pytest.mark.parametrize("device", ["gpu", "cpu:x", "cpu:9", "meta", "cuda:-1", "cuda:x", ""])
def test_an_unknown_device_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UsageError, match=rf"unknown device '{device}'.* Allowed: auto, cpu, cuda\."):
        Execution(device=device).torch_device()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match="PyTorch finds no CUDA GPU. Allowed here: auto, cpu"):
        Execution(device="cuda").torch_device()


@pytest.fixture
def two_gpus(monkeypatch) -> None:
    """A machine with two GPUs, as far as PyTorch is asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_a_gpu_beyond_those_there_are_is_refused(two_gpus) -> None:
    assert Execution(device="cuda:1").torch_device() == torch.device("cuda:1")
    with pytest.raises(UsageError, match="device 'cuda:7' is not there. Allowed here: auto, cpu, cuda, cuda:0, cuda:1"):
        Execution(device="cuda:7").torch_device()


@pytest.mark.parametrize(
    ("asked", "begun", "device"),
    [("cuda:1", "cuda", "cuda:1"), ("auto", "cuda", "cuda:0"), ("cuda:1", "cpu", "cpu"), ("cpu", "cuda", "cuda:0")],
)
def test_a_resumed_run_keeps_its_kind_of_device_and_goes_on_with_the_gpu_that_is_asked_for(
    two_gpus, asked: str, begun: str, device: str
) -> None:
    options = Execution(device=asked, threads=4).resumed({"device": begun, "threads": 2})
    assert options.torch_device() == torch.device(device) and options.threads == 2


def test_threads_are_at_least_one() -> None:
    with pytest.raises(UsageError, match="threads is 0"):
        Execution(threads=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("memory_gb", value) for value in (-1.0, float("inf"), float("nan"), 1e308)],
        *[("threads", value) for value in (-1, 257, 10**400)],
        *[("micro_batch", value) for value in (-1, 10**10)],
        *[("checkpoint_seconds", value) for value in (-1.0, float("nan"))],
    ],
)
def test_numbers_out_of_bounds_are_refused_with_the_bounds(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} is .*; it must be at least .* and at most"):
        Execution(**{name: value})


def test_activations_take_half_of_a_gpu_over_the_runs_that_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when a run is alone there: its micro-batches must not depend on the others."""
    card = types.SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    for options, gigabytes in (({}, 40), ({"runs_per_gpu": 8}, 5), ({"runs_per_gpu": 8, "memory_gb": 3}, 3)):
        assert Execution(**options).activations_gb(torch.device("cuda:1")) == gigabytes
    assert Execution(runs_per_gpu=8).activations_gb(torch.device("cpu")) == 1


# --- what float32 means on a GPU ---------------------------------------------------------------------------------


def flags() -> list[str]:
    """What PyTorch's backends for a GPU would compute in."""
    return [torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision]


@pytest.mark.parametrize(("precision", "meant"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_products_and_convolutions_are_what_the_precision_says_and_then_as_before(precision: str, meant: str) -> None:
    before = flags()
    with pytest.raises(ZeroDivisionError), arithmetic(precision):
        assert flags() == [meant, meant]
        torch.backends.cuda.matmul.allow_tf32  # noqa: B018 (PyTorch refuses to tell where its parts disagree)
        torch.backends.cudnn.allow_tf32  # noqa: B018
        raise ZeroDivisionError
    assert flags() == before


def test_tf32_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"'tf32', which only GPUs .* device is 'cpu'. Allowed here: fp32, bf16\."):
        check_precision("tf32", torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    for precision in ("tf32", "bf16"):
        message = rf"'{precision}' needs a GPU of compute capability 8\.0; 'cuda:1' has 7\.5\. Allowed here: fp32\."
        with pytest.raises(UsageError, match=message):
            check_precision(precision, torch.device("cuda:1"))
    check_precision("bf16", torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    for precision in ("fp32", "tf32", "bf16"):
        check_precision(precision, torch.device("cuda:1"))


# --- the same bits each time -------------------------------------------------------------------------------------


def choices() -> tuple:
    """What decides whether a GPU repeats its bits, and whether it pays for more than that."""
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
    )


@pytest.mark.parametrize("benchmark", [False, True])
def test_a_gpu_repeats_its_bits_inside_and_then_all_is_as_before(monkeypatch, benchmark: bool) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", benchmark)
    before = choices()
    with pytest.raises(ZeroDivisionError), repeatable(torch.device("cuda:1")):
        assert choices() == (True, True, True, False, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        raise ZeroDivisionError
    assert choices() == before and before[3] == benchmark
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # somebody's own choice
    with repeatable(torch.device("cuda:1")):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_a_cpu_is_left_as_it_is(monkeypatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = choices()
    with repeatable(torch.device("cpu")):
        assert choices() == before and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
