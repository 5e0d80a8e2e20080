"""BatchDivision of a batch, and the training of a batch in parts against the training of it whole."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._subclasses import FakeTensorMode

from gbnlib import experiments, files
from gbnlib.data import Batches
from gbnlib.errors import UsageError
from gbnlib.experiments import RunConfig
from gbnlib.nn import GhostBatchNorm1d, GhostBatchNorm2d, ghost_sizes
from gbnlib.regimes import Phase, Regime
from gbnlib.training import BatchDivision, DistanceProbe, Training, train
from gbnlib.training.shared_norm import SharedBatchNorm, normalised_together
from tests.configs import FIRST, REMEDIED

REGIME = Regime(phases=(Phase(epoch=0, lr=0.1, momentum=0.9, weight_decay=1e-3),), epochs=2)


# --- how a batch is dealt out --------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 90), st.integers(1, 4), st.data())
def test_shares_are_whole_ghosts_in_order_and_nothing_is_lost(batch_size, ghost_size, micro_batch, processes, draw):
    official = draw.draw(st.booleans())
    tail = max(1, batch_size // ghost_size) if official else 0
    if len(ghost_sizes(batch_size, ghost_size)) < processes:
        return
    count = draw.draw(st.integers(1, batch_size))
    seen, ghosts = [], []
    for rank in range(processes):
        division = BatchDivision(batch_size, ghost_size, tail, micro_batch, rank, processes)
        part, pieces = division.mine(count), division.micro_batches(count)
        assert sum(size for size, _ in pieces) == part.stop - part.start
        assert division.ghosts_by_rank(count)[rank] == sum(
            len(ghost_sizes(size, ghost_size, num_ghosts=forced)) for size, forced in pieces
        )
        largest = max(division.ghosts(count))
        assert all(size <= max(micro_batch, largest) for size, _ in pieces) or not micro_batch
        seen += range(part.start, part.stop)
        ghosts += [cut for size, forced in pieces for cut in ghost_sizes(size, ghost_size, num_ghosts=forced)]
    assert seen == list(range(count))
    expected = ghost_sizes(count, ghost_size, num_ghosts=tail if count < batch_size else 0)
    assert ghosts == expected


def test_shares_by_hand():
    # 300 in ghosts of 128: 128, 128, 44. Two processes: 256 and 44; micro-batches of at most 200: ghost by ghost.
    assert BatchDivision(300, 128, rank=0, processes=2).mine(300) == slice(0, 256)
    assert BatchDivision(300, 128, rank=1, processes=2).mine(300) == slice(256, 300)
    assert BatchDivision(300, 128, micro_batch=200).micro_batches(300) == [(128, 0), (172, 0)]
    # Without ghosts, sample by sample; a share can be empty, and goes forward all the same.
    assert [BatchDivision(9, rank=rank, processes=2).mine(9) for rank in range(2)] == [slice(0, 5), slice(5, 9)]
    assert BatchDivision(9, rank=1, processes=2).micro_batches(1) == [(0, 0)]
    # The official cut of 848 into 16 ghosts of 53, five at a time.
    pieces = BatchDivision(2048, 128, tail_ghosts=16, micro_batch=300).micro_batches(848)
    assert pieces == [(265, 5), (265, 5), (265, 5), (53, 1)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 2, "processes": 3}, ["3 processes", "2 samples"]),
        ({"batch_size": 64, "micro_batch": 32}, ["micro_batch cannot be set without ghosts"]),
        ({"batch_size": 64, "ghost_size": 32, "processes": 3}, ["3 processes", "2 ghosts of 32"]),
    ],
)
def test_a_batch_that_cannot_be_dealt_out_is_refused(options, words):
    with pytest.raises(UsageError) as raised:
        BatchDivision(**options)
    assert all(word in str(raised.value) for word in words)


# --- micro-batches -------------------------------------------------------------------------------------------------


def trained(micro_batch: int, tail_ghosts: int, noise: float, dtype: torch.dtype = torch.float64) -> Training:
    """A small convolutional network trained on 45 images in batches of 24 with ghosts of 4: 24 and 21, or 6 × 4."""
    torch.manual_seed(0)
    chance = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (45, 1, 6, 6), generator=chance, dtype=torch.uint8)
    labels = torch.randint(0, 3, (45,), generator=chance)
    layers = [nn.Conv2d(1, 5, 3), GhostBatchNorm2d(5, 4), nn.ReLU(), nn.Flatten()]
    layers += [nn.Linear(80, 7), GhostBatchNorm1d(7, 4), nn.ReLU(), nn.Linear(7, 3)]
    model = nn.Sequential(*layers).to(dtype)
    model.register_forward_pre_hook(lambda module, inputs: (inputs[0].to(dtype),))
    batches = Batches(images, labels, 24, 0, mean=[0.5], std=[0.5])
    training = Training(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        REGIME,
        batches,
        (images[:9], labels[:9]),
        DistanceProbe(model, 4, 2),
        clip_norm=1.0,
        noise=noise,
        division=BatchDivision(24, 4, tail_ghosts=tail_ghosts, micro_batch=micro_batch),
    )
    train(training)
    return training


@pytest.mark.parametrize("micro_batch", [1, 4, 9, 12, 23])
@pytest.mark.parametrize("tail_ghosts", [0, 6])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_micro_batches_of_whole_ghosts_train_as_the_whole_batch(micro_batch, tail_ghosts, noise):
    whole, parts = trained(0, tail_ghosts, noise), trained(micro_batch, tail_ghosts, noise)
    assert len(parts.division.micro_batches(24)) > 1
    for (name, mine), theirs in zip(whole.model.state_dict().items(), parts.model.state_dict().values(), strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-9, atol=1e-9, msg=name)
    # Losses are float32.
    assert torch.tensor(parts.history) == pytest.approx(torch.tensor(whole.history), rel=1e-5)


def test_in_float32_micro_batches_change_weights_by_rounding_alone():
    """The stated bound: a relative change of 1e-4 after four updates; it grows with the updates as training does."""
    whole, parts = (trained(size, 0, 0.0, torch.float32) for size in (0, 4))
    for mine, theirs in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert (mine - theirs).norm() <= 1e-4 * mine.norm()


# --- processes -----------------------------------------------------------------------------------------------------

CONFIG = REMEDIED.model_copy(
    update={"train_size": 200, "batch_size": 64, "adapt": False, "epochs": 2, "regime": (FIRST,)}
)


def torchrun(processes: int, results, config: RunConfig) -> subprocess.CompletedProcess:
    """Train a run in several processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "import sys; from gbnlib import experiments; "
        "config = experiments.RunConfig.model_validate_json(sys.argv[1]); "
        "experiments.run(config, observer=experiments.Observer(print))"
    )
    script = results / "train.py"
    files.write_text(script, code)
    call = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
    environment = {**os.environ, "GBN_RESULTS": str(results), "OMP_NUM_THREADS": "1"}
    arguments = [*call, script, config.model_dump_json()]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=180)


def test_two_processes_train_as_one(tmp_path, monkeypatch):
    done = torchrun(2, tmp_path, CONFIG)
    assert done.returncode == 0, done.stderr[-2000:]
    monkeypatch.setenv("GBN_RESULTS", str(tmp_path))
    together = experiments.find(CONFIG)
    assert together.provenance()["processes"] == 2
    monkeypatch.setenv("GBN_RESULTS", str(tmp_path / "alone"))
    alone = experiments.run(CONFIG)
    for name in ("history", "distance"):
        left, right = (run.frame(name).select_dtypes("number") for run in (together, alone))
        assert left.to_numpy() == pytest.approx(right.to_numpy(), rel=2e-3, abs=1e-6)
    # One line of progress an epoch: only the process of rank 0 speaks and writes.
    assert done.stdout.count("validation error") == 2


@pytest.mark.parametrize(("device", "kind"), [("cpu", SharedBatchNorm), ("cuda", nn.SyncBatchNorm)])
def test_plain_layers_normalise_over_processes_by_what_suits_the_device(device, kind):
    with FakeTensorMode(), torch.device(device):  # no GPU is needed to say that a tensor is on one
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.2), GhostBatchNorm2d(4, 2))
    with pytest.raises(ZeroDivisionError), normalised_together(model):
        assert [type(layer) for layer in model] == [nn.Conv2d, kind, GhostBatchNorm2d]
        assert model[1].momentum == 0.2 and model[1].process_group is None
        raise ZeroDivisionError
    assert type(model[1]) is nn.BatchNorm2d
