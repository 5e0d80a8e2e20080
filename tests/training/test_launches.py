"""What an update asks of a GPU: launches, and waits for it, counted on the meta device, which computes nothing.

A model of a GPU, not one: convolutions are taken for 1.5 kernels forward and 4 backward, plain batch normalization for
1 and 1.5. Those of the ghost layers are counted under Triton's interpreter, in tests/nn/test_triton_kernel.py.
"""

import sys
from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gbnlib.data import Batches
from gbnlib.nn import NETWORKS, build_network, kernel
from gbnlib.regimes import Phase, Regime, apply_settings
from gbnlib.training import BatchDivision, DistanceProbe, Training
from gbnlib.training.step import take_step

INPUTS = {"f1": (1, 28, 10), "alexnet": (3, 224, 1000), "c3": (3, 32, 100), "wresnet16-4": (3, 32, 100)}
#: Operations that launch nothing: views, memory, and what is only noted.
NOTHING = (
    "view expand t transpose permute slice select split split_with_sizes detach unsqueeze squeeze as_strided alias "
    "_unsafe_view unbind unfold reshape _reshape_alias empty empty_like new_empty empty_strided new_empty_strided "
    "lift_fresh is_same_size _record_function_enter_new _record_function_exit"
)
LAUNCHES = {
    **dict.fromkeys(NOTHING.split(), 0),
    "convolution": 1.5,
    "convolution_backward": 4,
    "native_batch_norm_backward": 1.5,
    "_foreach_norm": 2,
    "ghost_norm": 2,
    "ghost_norm_backward": 2,
    "move_statistics": 1,
    "keep": 1,
}
READS = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}
FROM_LISTS = {"tensor", "new_tensor", "as_tensor"}


class Launches(TorchDispatchMode):
    """Counts launches, and operations that wait for a GPU: those that read a value, and plain copies from the host."""

    def __init__(self):
        super().__init__()
        self.launches, self.waits = Counter(), Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name, schema = function._schema.name.split("::")[1], function._schema
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        devices = {tensor.device.type for tensor in tensors}
        if devices == {"cpu"}:
            return result
        self.launches[name] += LAUNCHES.get(name, 1)
        place = next((i for i, each in enumerate(schema.arguments) if each.name == "non_blocking"), None)
        queued = (kwargs or {}).get("non_blocking", place is not None and place < len(args) and args[place])
        self.waits[name] += name in READS or ("cpu" in devices and not queued and any(t.dim() for t in tensors))
        return result


class FromLists(TorchFunctionMode):
    """Counts tensors that are made on a device from a list, by a copy that waits."""

    def __init__(self):
        super().__init__()
        self.waits = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        self.waits[name] += name in FROM_LISTS and result.device.type != "cpu"
        return result


@contextmanager
def a_gpu(kernels):
    """The meta device as a GPU, with or without the ghost layers' kernels."""
    with pytest.MonkeyPatch.context() as patch, torch.library._scoped_library("aten", "IMPL") as aten:
        aten.impl("_fused_sgd_", lambda *arguments, **options: None, "Meta")
        patch.setattr(_foreach_utils, "_get_foreach_kernels_supported_devices", lambda: ["meta"])
        patch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: ["meta"])
        patch.setitem(kernel.DTYPES, "meta", kernel.DTYPES["cuda"])
        patch.setattr(kernel, "has_triton", lambda index: kernels)
        yield


def an_update(name, batch, ghost, kernels=True, micro_batch=0):
    """Launches and waits of the second update of a training, from its batch on."""
    channels, size, classes = INPUTS.get(name, (3, 32, 10))
    with a_gpu(kernels):
        images = torch.zeros(2 * batch, channels, size, size, dtype=torch.uint8, device="meta")
        labels = torch.zeros(2 * batch, dtype=torch.int64, device="meta")
        model = build_network(name, classes, channels, size, ghost_size=ghost).to("meta")
        batches = Batches(images, labels, batch, 0, mean=[0.5] * channels, std=[0.5] * channels, pad=4, flip=True)
        training = Training(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True),
            Regime((Phase(epoch=0, lr=0.1),), epochs=1),
            batches,
            (images, labels),
            DistanceProbe(model, 1, 1),
            clip_norm=5.0,
            division=BatchDivision(batch, ghost, micro_batch=micro_batch),
        )
        take_step(training, training.cut(*next(batches.epoch(0))))  # memory, momenta, what is kept
        with Launches() as launches, FromLists() as lists:
            apply_settings(training.optimizer, training.regime.at(0, 2))
            take_step(training, training.cut(*next(batches.epoch(0))))
    return launches.launches.total(), +(launches.waits + lists.waits)


@pytest.mark.parametrize("name", NETWORKS)
def test_ghosts_add_few_launches_to_an_update_and_no_wait(name):
    plain, _ = an_update(name, 128, 0)
    ghosts, waits = an_update(name, 128, 16)
    assert not waits
    assert plain < ghosts <= 1.3 * plain


@pytest.mark.parametrize("name", ["f1", "resnet44"])
def test_the_loop_over_ghosts_does_not_wait_either(name):
    launches, waits = an_update(name, 128, 16, kernels=False)
    assert not waits
    assert launches > an_update(name, 128, 16)[0]


@pytest.mark.parametrize("name", ["c1", "resnet44"])
def test_micro_batches_do_not_wait_for_each_other(name):
    _, waits = an_update(name, 128, 16, micro_batch=64)
    assert not waits


def test_waits_would_be_seen():
    with Launches() as launches, FromLists() as lists:
        torch.zeros(3).to("meta")
        torch.zeros(3).to("meta", non_blocking=True)
        torch.zeros(3, device="meta").new_tensor([1.0, 2.0])
        torch.tensor([1.0, 2.0], device="meta")
    assert +(launches.waits + lists.waits) == {"_to_copy": 1, "new_tensor": 1, "tensor": 1}
