"""Updates as replays of a graph against the same updates computed, on a stand-in for CUDA graphs.

The stand-in keeps what CUDA graphs keep to: a capture notes every operation with the tensors it reads and writes, and
leaves no trace in those that were there before; a replay repeats the operations on these tensors, runs no Python of
ours, and writes to where the results were.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gbnlib import experiments
from gbnlib.errors import Interrupted, UsageError
from gbnlib.experiments.preparing import prepare
from gbnlib.experiments.recording import weights_sha256
from gbnlib.regimes import Phase
from gbnlib.training import Execution, Listener, Training, load_checkpoint, save_checkpoint, step, train
from gbnlib.training.graphs import COMPUTED, Replays

PHASES = (Phase(epoch=0, lr=0.1, momentum=0.9, weight_decay=1e-3), Phase(epoch=6, lr=0.02))
#: 3 full batches and a rest of 22 an epoch; the rest is two ghosts.
RUN = {"network": "f1", "dataset": "digits", "train_size": 214, "batch_size": 64, "ghost_size": 16, "clip_norm": 5.0}
RUN |= {"evaluation_epochs": 4}


class Graph(TorchDispatchMode):
    """Stands for a CUDA graph."""

    replays = 0

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self.made: dict[int, Tensor] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert function not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        for tensor in _tensors((args, kwargs)):  # not all that an operation writes to is in its schema
            if id(tensor) not in self.made:
                self.before.setdefault(id(tensor), (tensor, tensor.clone()))
        result = function(*args, **kwargs)
        aliases = any(each.alias_info is not None for each in function._schema.returns)
        self.calls.append((function, args, kwargs, [] if aliases else _tensors(result)))
        self.made |= {id(tensor): tensor for tensor in _tensors(result)}
        return result

    def pool(self) -> int:
        return 1

    def forget(self) -> None:
        """Undo what the capture computed."""
        for tensor, value in self.before.values():
            tensor.copy_(value)

    @torch.no_grad()
    def replay(self) -> None:
        type(self).replays += 1
        for function, args, kwargs, results in self.calls:
            again = _tensors(function(*args, **kwargs))
            for old, new in zip(results, again[: len(results)], strict=True):
                old.copy_(new.view_as(old))  # a shape may have been changed in place since


def _tensors(result: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


@contextmanager
def capture(graph: Graph, pool: int | None, capture_error_mode: str) -> Iterator[None]:
    assert capture_error_mode == "thread_local"
    with graph:
        yield
    with torch.no_grad():
        graph.forget()


@pytest.fixture(autouse=True)
def stand_in(monkeypatch) -> None:
    """CUDA graphs on the CPU; gradients are clipped there as on a GPU, without looking at their norm."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(Graph, "replays", 0)

    def clip(parameters: list[nn.Parameter], limit: float) -> None:
        gradients = [parameter.grad for parameter in parameters]
        nn.utils.clip_grads_with_norm_(parameters, limit, nn.utils.get_total_norm(gradients))

    monkeypatch.setattr(step, "_clip", clip)


def training(graph: bool, micro_batch: int = 0, **changes: object) -> Training:
    config = experiments.RunConfig(**{**RUN, "regime": PHASES, "epochs": 9, **changes})
    made = prepare(config, Execution(device="cpu", micro_batch=micro_batch))
    if graph:
        made.compute = Replays(step.compute_step)
    return made


FEW = {"train_size": 40, "batch_size": 16, "ghost_size": 4, "epochs": 7, "evaluation_epochs": 7}
CASES = {
    "ghosts, a rest": {},
    "plain": {"ghost_size": 0},
    "momentum emptied at each epoch": {"momentum_buffer": "reset"},
    "noise": {"noise": 1.0},
    "a warm-up": {"warmup_epochs": 2},
    "dropout": {"network": "c3", **FEW},
    "micro-batches with dropout": {"network": "c3", "micro_batch": 8, **FEW},
    "as many ghosts in the rest": {"remainder": "official"},
    "one mean of the ghosts": {"running": "mean"},
    "bfloat16": {"precision": "bf16"},
    "residual blocks": {"network": "resnet44", **FEW},
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_replayed_updates_give_the_same_bits(changes: dict) -> None:
    computed, replayed = training(False, **changes), training(True, **changes)
    train(computed)
    train(replayed)
    assert replayed.history == computed.history and replayed.probe.rows == computed.probe.rows
    assert weights_sha256(replayed.model) == weights_sha256(computed.model)
    assert Graph.replays >= replayed.total_updates / 4


def test_each_kind_of_batch_is_computed_twice_in_a_phase_and_then_replayed() -> None:
    of = training(True)
    train(of)
    per_epoch, rest_per_epoch, phases = 4, 1, 2
    assert of.total_updates == 9 * per_epoch
    # In each phase two full batches and two rests are computed.
    assert Graph.replays == of.total_updates - phases * 2 * COMPUTED
    assert len(of.compute.captured) == 2 * rest_per_epoch


def test_a_warm_up_is_computed() -> None:
    train(training(True, warmup_epochs=6))
    assert Graph.replays == 3 * 4 - 2 * COMPUTED


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path) -> None:
    whole, begun, resumed = training(False), training(True), training(True)
    train(whole)

    class Stop(Listener):
        def evaluated(self) -> None:
            begun.stop = begun.update == 16

    with pytest.raises(Interrupted):
        train(begun, Stop())
    assert Graph.replays
    save_checkpoint(tmp_path / "checkpoint.pt", begun)
    resumed.load_state_dict(load_checkpoint(tmp_path / "checkpoint.pt"))
    train(resumed)
    assert weights_sha256(resumed.model) == weights_sha256(whole.model) and resumed.history == whole.history


def test_what_cannot_be_captured_says_what_to_do(monkeypatch) -> None:
    @contextmanager
    def refusing(graph, pool, capture_error_mode):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")
        yield

    monkeypatch.setattr(torch.cuda, "graph", refusing)
    with pytest.raises(UsageError, match=r"captured \(operation not permitted when stream is capturing\): the same"):
        train(training(True))


def test_memory_that_runs_out_in_a_capture_is_left_to_the_runner(monkeypatch) -> None:
    @contextmanager
    def full(graph, pool, capture_error_mode):
        raise torch.OutOfMemoryError("CUDA out of memory")
        yield

    monkeypatch.setattr(torch.cuda, "graph", full)
    with pytest.raises(torch.OutOfMemoryError):
        train(training(True))


@pytest.mark.parametrize("changes", [{}, {"optimizer": "lars"}])
def test_graphs_are_refused_where_they_cannot_be(changes: dict) -> None:
    config = experiments.RunConfig(**{**RUN, "regime": PHASES, "epochs": 9, **changes})
    with pytest.raises(UsageError, match="--graph is for sgd in one process on a GPU; here: (sgd|lars), 1, 'cpu'"):
        prepare(config, Execution(device="cpu", graph=True))
