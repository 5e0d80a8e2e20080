"""One run by two processes with half of each batch: against one process, and when one of them dies."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from gbnlib import data, files
from gbnlib.data import sources
from gbnlib.experiments import RunConfig
from gbnlib.experiments.preparing import prepare
from gbnlib.regimes import Phase
from gbnlib.training import Execution, Processes
from gbnlib.training.running_statistics import RunningStatistics
from gbnlib.training.step import take_step
from tests.data.formats import write_folder

RANKS, UPDATES = 2, 2
REGIME = (Phase(epoch=0, lr=0.01, momentum=0.9, weight_decay=1e-4),)
C1 = RunConfig(network="c1", dataset="synthetic", train_size=12, batch_size=7, base_batch=7, regime=REGIME, epochs=1)
STREAMED = C1.model_copy(update={"dataset": "pictures"})
#: Twelve images, also streamed from a folder: 7 and 5, shared sample by sample; or 8 and 4 in ghosts of 4, so
#: that one process has the last alone.
GHOSTS = {"batch_size": 8, "ghost_size": 4, "remainder": "own"}
CONFIGS = {
    "C1": C1,
    "C1 with ghosts": C1.model_copy(update=GHOSTS),
    "C1 with ghosts in micro-batches": C1.model_copy(update={**GHOSTS, "ghost_size": 2}),
    "C1 with ghosts as in the official code": C1.model_copy(update={**GHOSTS, "remainder": "official"}),
    "streamed": STREAMED,
    "streamed with ghosts": STREAMED.model_copy(update=GHOSTS),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a folder of twelve images, to be streamed."""
    root = tmp_path_factory.mktemp("root")
    write_folder(root / "pictures")
    card = data.describe("pictures", root)
    (root / "catalog.toml").write_text(card.replace("image_size = 224", "image_size = 64").replace("256", "72"))
    return root


def steps(name: str, processes: Processes) -> list[dict[str, object]]:
    """The first updates of a run, in double precision: losses, gradients and what the network is after each."""
    micro_batch = 2 if "micro" in name else 0
    training = prepare(CONFIGS[name], Execution(device="cpu", micro_batch=micro_batch), processes)
    training.model.double().register_forward_pre_hook(lambda layer, inputs: (inputs[0].double(),))
    training.running_statistics = RunningStatistics(training.model)
    assert training.batches.updates_per_epoch == UPDATES
    seen = []
    for images, labels in training.batches.epoch(0, 0, training.division.mine):
        sums = take_step(training, training.cut(images, labels))
        training.update += 1
        gradients = {key: parameter.grad.clone() for key, parameter in training.model.named_parameters()}
        state = {key: value.clone() for key, value in training.model.state_dict().items()}
        seen.append({"sums": sums, "gradients": gradients, "state": state})
    return seen


def work(rank: int, folder: str, root: str) -> None:
    """All runs, as one of two processes."""
    os.environ["GBN_DATA"] = root
    torch.set_num_threads(1)
    store, patience = f"file://{folder}/store", timedelta(minutes=5)
    dist.init_process_group("gloo", init_method=store, timeout=patience, rank=rank, world_size=RANKS)
    seen = {name: steps(name, Processes(rank, RANKS)) for name in CONFIGS}
    torch.save(seen, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, args=(str(folder), str(root)), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


def close(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """Equal to the rounding of a loss, which is in float32, each tensor by its norm."""
    assert set(mine) == set(theirs)
    for name, value in mine.items():
        assert (theirs[name] - value).double().norm() <= 1e-5 * value.double().norm() + 1e-9, name


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_have_the_losses_gradients_and_statistics_of_one(ranks, root, monkeypatch, name) -> None:
    monkeypatch.setenv("GBN_DATA", str(root))
    sources.load.cache_clear()
    for number, alone in enumerate(steps(name, Processes())):
        first, second = (rank[name][number] for rank in ranks)
        assert first["sums"][1:].tolist() == alone["sums"][1:].tolist()  # wrong answers, and samples
        assert float(first["sums"][0]) == pytest.approx(float(alone["sums"][0]), rel=1e-5)
        close(alone["gradients"], first["gradients"])
        close(alone["state"], first["state"])
        for key, value in first["state"].items():
            assert torch.equal(value, second["state"][key])  # processes never drift apart


# --- the order in which gradients are added up ---------------------------------------------------------------------


def add_up(rank: int, folder: str, ranks: int) -> None:
    """The gradients of the same images three times over, as one of some processes, the last time without rank 1."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, timeout=timedelta(minutes=5), rank=rank, world_size=ranks)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(300, 701), torch.nn.ReLU(), torch.nn.Linear(701, 501))
    network = Processes(rank, ranks).sharing_gradients(model)
    assert all(parameter.grad is None for parameter in model.parameters())
    gradients = []
    for images in [some_images(rank)] * 3 + [None if rank == 1 else some_images(rank)]:
        network(images).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        model.zero_grad()
    torch.save((model.state_dict(), gradients), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def some_images(rank: int) -> torch.Tensor:
    return torch.randn(4, 300, generator=torch.Generator().manual_seed(rank))


def test_three_processes_add_up_in_the_same_order_from_the_first_update_on(tmp_path: Path) -> None:
    ranks = 3  # of two, any order gives the same bits
    torch.multiprocessing.spawn(add_up, args=(str(tmp_path), ranks), nprocs=ranks)
    state, (first, *again, without) = torch.load(tmp_path / "0.pt")
    for other in again:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, other, strict=True))
    model = torch.nn.Sequential(torch.nn.Linear(300, 701), torch.nn.ReLU(), torch.nn.Linear(701, 501))
    model.load_state_dict(state)
    for gradients, taking_part in ((first, (0, 1, 2)), (without, (0, 2))):
        model.zero_grad()
        model(torch.cat([some_images(rank) for rank in taking_part])).square().sum().backward()
        for mine, parameter in zip(gradients, model.parameters(), strict=True):
            torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-4)


# --- the death of a process ----------------------------------------------------------------------------------------


def begin(results: Path) -> subprocess.Popen:
    """Start a run of the command line on two devices; it has its first checkpoint where the rate first falls."""
    options = ["f1", "--batch-size", "1000", "--ghost-size", "50", "--epochs", "5", "--device", "cpu"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    environment = {**os.environ, "GBN_RESULTS": str(results), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launch, "-m", "gbnlib", "train", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def process_of(rank: int, launcher: subprocess.Popen) -> int:
    """The id of a process of some rank that torchrun started."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    (found,) = [
        pid for pid in children if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    ]
    return int(found)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights that two processes get if they are left alone."""
    results = tmp_path_factory.mktemp("undisturbed")
    begin(results).communicate(timeout=600)
    return weights(results)


def weights(results: Path) -> str:
    """The checksum of the weights of the one run that is finished."""
    (done,) = results.glob("runs/*/done.json")
    return files.read_json(done)["weights_sha256"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the processes of torchrun in /proc")
@pytest.mark.parametrize("rank", range(RANKS))
def test_a_process_that_dies_ends_the_other_with_one_line_and_the_restart_goes_on(tmp_path, undisturbed, rank) -> None:
    killed = begin(tmp_path)
    end = time.monotonic() + 300
    while not list(tmp_path.glob("runs/*/checkpoint.pt")):
        assert killed.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    os.kill(process_of(rank, killed), signal.SIGKILL)
    _, errors = killed.communicate(timeout=300)
    said = [line for line in errors.splitlines() if line.startswith("gbn: ")]
    assert killed.returncode != 0 and len(said) == 1
    assert f"process {1 - rank} of the run lost another one" in said[0] and "goes on from there" in said[0]
    restarted = begin(tmp_path)
    output, errors = restarted.communicate(timeout=300)
    assert restarted.returncode == 0, errors[-2000:]
    assert "goes on after update" in output and output.count("goes on") == 1
    assert weights(tmp_path) == undisturbed
