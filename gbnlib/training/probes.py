"""What is measured while a network trains: the distance of its weights from where they started; and snapshots."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def log_spaced(total: int, per_decade: int = 20) -> list[int]:
    """Updates 1 … `total` at equal distances on a logarithmic axis, both ends included, without repetition."""
    steps = {1, total}
    power = 0
    while (update := round(10 ** (power / per_decade))) < total:
        steps.add(update)
        power += 1
    return sorted(steps)


def weight_tensors(model: nn.Module) -> list[Tensor]:
    """The weights of convolutions and linear layers: no biases, no normalisation parameters."""
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return [module.weight for module in model.modules() if isinstance(module, layers)]


def watched_tensors(model: nn.Module) -> tuple[list[Tensor], ...]:
    """What distances are of, in the order of `DistanceProbe.quantities`."""
    parameters = list(model.parameters())
    return parameters[:1], weight_tensors(model), parameters


class DistanceProbe:
    """Records ‖w_t − w_0‖ at log-spaced updates, for three choices of w.

    `first` is the first parameter tensor (what the official code logs), `weights` all weights of convolutions and
    linear layers, `all` every parameter. Make it while the model still holds its initial weights. `updates_per_epoch`
    is a number, or where batches grow a function that tells after how many epochs an update is.
    """

    quantities = ("first", "weights", "all")
    columns = ("update", "epoch", *quantities)

    def __init__(self, model: nn.Module, total_updates: int, updates_per_epoch: int | Callable[[int], float]) -> None:
        self.groups = watched_tensors(model)
        self.start = {id(tensor): tensor.detach().clone() for tensor in model.parameters()}
        self.updates = frozenset(log_spaced(total_updates))
        self.epochs_at = updates_per_epoch if callable(updates_per_epoch) else lambda update: update / updates_per_epoch
        self.rows: list[list[float]] = []

    def __call__(self, update: int) -> None:
        """Record a row if `update` is one of the probe's updates."""
        if update in self.updates:
            self.rows.append([update, self.epochs_at(update), *self.distances().tolist()])

    @torch.no_grad()
    def distances(self) -> Tensor:
        """The three distances as they are now, (3,) on the device."""
        return torch.stack([self._distance(group) for group in self.groups])

    def _distance(self, tensors: Iterable[Tensor]) -> Tensor:
        """Euclidean distance of some tensors from their start, accumulated in float64."""
        squares = [(tensor - self.start[id(tensor)]).double().square().sum() for tensor in tensors]
        return torch.stack(squares).sum().sqrt()


class SnapshotProbe:
    """Keeps all parameters, as one vector (n,), at log-spaced updates: `kept` maps the update to the vector.

    Nothing of it goes into a checkpoint, so it is for a training that runs in one go.
    """

    def __init__(self, model: nn.Module, total_updates: int, per_decade: int = 8) -> None:
        self.model = model
        self.updates = frozenset(log_spaced(total_updates, per_decade))
        self.kept: dict[int, Tensor] = {}

    def __call__(self, update: int) -> None:
        """Keep the parameters if `update` is one of the probe's updates."""
        if update in self.updates:
            self.kept[update] = torch.cat([tensor.detach().flatten() for tensor in self.model.parameters()])
