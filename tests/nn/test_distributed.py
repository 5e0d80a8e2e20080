"""Two processes with half a batch each, under DistributedDataParallel, against one process with the whole batch."""

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gbnlib.nn import GhostBatchNorm1d, GhostBatchNorm2d, compose_running_statistics

RANKS, GHOST_SIZE, SHARD_SIZE, FORWARDS = 2, 4, 12, 2


def make_model(name):
    torch.manual_seed(0)
    if name == "1-D":
        layers = [nn.Linear(6, 5), GhostBatchNorm1d(5, GHOST_SIZE), nn.ReLU(), nn.Linear(5, 2)]
    else:
        norm = GhostBatchNorm2d(4, GHOST_SIZE, momentum=0.2)
        layers = [nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)]
    return nn.Sequential(*layers).double()


def batches(name):
    shape = {"1-D": (6,), "2-D": (3, 5, 5)}[name]
    generator = torch.Generator().manual_seed(1)
    size = RANKS * SHARD_SIZE
    # Samples drift along the batch, so that the order of the ghosts shows in the statistics.
    drift = torch.linspace(-2, 2, size, dtype=torch.float64).reshape(-1, *[1] * len(shape))
    return [torch.randn(size, *shape, generator=generator, dtype=torch.float64) + drift for _ in range(FORWARDS)]


def train(model, shards, compose):
    """Run forwards and backwards, and return outputs, gradients and running statistics after the last."""
    layer = next(layer for layer in model.modules() if hasattr(layer, "ghost_size"))
    outputs = []
    for shard in shards:
        model.zero_grad()
        before = torch.cat([layer.running_mean, layer.running_var])
        output = model(shard)
        compose(layer, before)
        output.square().mean().backward()
        outputs.append(output.detach())
    gradients = [parameter.grad for parameter in model.parameters()]
    own = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    return {"outputs": outputs, "gradients": gradients, "buffers": own}


def compose_over_ranks(layer, before):
    """Do what the docstring of compose_running_statistics shows."""
    own = torch.cat([layer.running_mean, layer.running_var])
    after = [torch.empty_like(own) for _ in range(RANKS)]
    dist.all_gather(after, own)
    composed = compose_running_statistics(before, after, [SHARD_SIZE // GHOST_SIZE] * RANKS, layer.momentum)
    layer.running_mean.copy_(composed[: layer.num_features])
    layer.running_var.copy_(composed[layer.num_features :])


def leave_alone(layer, before):
    pass


def work(rank, folder):
    """Train both models as one of two processes: composed, not composed, and as DDP does by default."""
    torch.set_num_threads(1)
    store, patience = f"file://{folder}/store", timedelta(minutes=2)
    dist.init_process_group("gloo", init_method=store, timeout=patience, rank=rank, world_size=RANKS)
    outcomes = {}
    for name in ("1-D", "2-D"):
        shards = [batch.split(SHARD_SIZE)[rank] for batch in batches(name)]
        for case, compose, broadcast in (
            ("composed", compose_over_ranks, False),
            ("own", leave_alone, False),
            ("broadcast", leave_alone, True),
        ):
            model = DistributedDataParallel(make_model(name), broadcast_buffers=broadcast)
            outcomes[name, case] = train(model, shards, compose)
    torch.save(outcomes, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, args=(str(folder),), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


@pytest.fixture(params=["1-D", "2-D"])
def name(request):
    return request.param


@pytest.fixture
def alone(name):
    """One process with the whole batch."""
    return train(make_model(name), batches(name), leave_alone)


def test_each_rank_normalises_its_shard_in_ghosts(ranks, name, alone):
    for number in range(FORWARDS):
        outputs = [rank[name, "composed"]["outputs"][number] for rank in ranks]
        torch.testing.assert_close(torch.cat(outputs), alone["outputs"][number])


@pytest.mark.parametrize("case", ["composed", "own", "broadcast"])
def test_gradients_equal_those_of_one_process(ranks, name, alone, case):
    for rank in ranks:
        torch.testing.assert_close(rank[name, case]["gradients"], alone["gradients"])


def test_composed_running_statistics_equal_those_of_one_process(ranks, name, alone):
    for rank in ranks:
        torch.testing.assert_close(rank[name, "composed"]["buffers"], alone["buffers"])


def test_without_composition_each_rank_has_the_statistics_of_its_own_ghosts(ranks, name, alone):
    for number, rank in enumerate(ranks):
        shards = [batch.split(SHARD_SIZE)[number] for batch in batches(name)]
        buffers = rank[name, "own"]["buffers"]
        torch.testing.assert_close(buffers, train(make_model(name), shards, leave_alone)["buffers"])
        assert not torch.allclose(buffers["running_mean"], alone["buffers"]["running_mean"])


def test_broadcast_buffers_start_each_forward_from_rank_0(ranks, name):
    """What rank 1 saw in the first forward does not count, not even on rank 1."""
    first, second = batches(name)
    shards = [first[:SHARD_SIZE], second[SHARD_SIZE:]]
    expected = train(make_model(name), shards, leave_alone)["buffers"]
    torch.testing.assert_close(ranks[1][name, "broadcast"]["buffers"], expected)
    torch.testing.assert_close(ranks[0][name, "broadcast"]["buffers"], ranks[0][name, "own"]["buffers"])
