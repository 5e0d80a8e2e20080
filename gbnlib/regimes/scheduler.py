"""An optimizer at the settings of a regime: set once, or kept there update by update."""

from collections.abc import Collection
from dataclasses import asdict

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gbnlib.regimes.regime import RANGES, Regime, Settings


def apply_settings(optimizer: Optimizer, settings: Settings, names: Collection[str] = RANGES) -> None:
    """Set learning rate, momentum and weight decay of every parameter group of an optimizer.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        A rate that is a tensor (for capturable or compiled steps) is filled in place.
    settings : Settings
        What to set.
    names : collection of str, optional
        The settings to set; others stay as they are. All by default.

    Raises
    ------
    ValueError
        If the optimizer lacks a setting that is not 0, as Adam lacks momentum. Nothing has been changed then.
    """
    values = {name: value for name, value in asdict(settings).items() if name in names}
    for name, value in values.items():
        if value and not all(name in group for group in optimizer.param_groups):
            raise ValueError(f"{type(optimizer).__name__} has no {name}, but the regime sets it to {value}")
    for group in optimizer.param_groups:
        for name in values.keys() & group.keys():
            if isinstance(group[name], torch.Tensor):
                group[name].fill_(values[name])
            else:
                group[name] = values[name]


class RegimeScheduler(LRScheduler):
    """Keeps an optimizer at the settings of a regime; made by `Regime.scheduler`.

    Making it sets those of update 0; call ``step()`` once after each ``optimizer.step()``. All parameter groups get
    the same settings; what no phase of the regime names, such as weight decay, they keep. ``state_dict()`` is plain
    numbers, without the regime; loading that of a scheduler with another number of updates per epoch is refused.
    """

    def __init__(self, optimizer: Optimizer, regime: Regime, updates_per_epoch: int) -> None:
        self.regime = regime
        self.updates_per_epoch = updates_per_epoch
        self.names = {name for phase in regime.phases for name in phase.changes()}
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """Return the rate of the current update, for each parameter group."""
        return [self.regime.at(self.last_epoch, self.updates_per_epoch).lr] * len(self.optimizer.param_groups)

    def step(self, epoch: int | None = None) -> None:
        """Move on by one update."""
        super().step(epoch)
        self._apply()

    def state_dict(self) -> dict[str, int]:
        """Return where the scheduler is, as plain numbers."""
        return {"update": self.last_epoch, "updates_per_epoch": self.updates_per_epoch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go to where another scheduler was, and set the optimizer accordingly."""
        if state_dict["updates_per_epoch"] != self.updates_per_epoch:
            raise ValueError(
                f"the saved scheduler made {state_dict['updates_per_epoch']} updates per epoch, this one makes "
                f"{self.updates_per_epoch}: batch size or data have changed"
            )
        self.last_epoch = state_dict["update"]
        self._step_count = self.last_epoch + 1
        self._apply()

    def _apply(self) -> None:
        apply_settings(self.optimizer, self.regime.at(self.last_epoch, self.updates_per_epoch), self.names)
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]
