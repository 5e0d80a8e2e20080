"""Phases and regimes: plain data, without torch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from numbers import Real
from typing import TYPE_CHECKING

from gbnlib.errors import check_choice, check_integer

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from gbnlib.regimes.scheduler import RegimeScheduler

RULES: dict[str, Callable[[float], float]] = {"sqrt": math.sqrt, "linear": lambda ratio: ratio, "none": lambda _: 1.0}
RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "lr": ("above 0 and finite", lambda lr: 0 < lr < math.inf),
    "momentum": ("at least 0 and below 1", lambda momentum: 0 <= momentum < 1),
    "weight_decay": ("at least 0 and finite", lambda weight_decay: 0 <= weight_decay < math.inf),
}


@dataclass(frozen=True)
class Settings:
    """What an optimizer is set to at one update.

    The names are those of ``torch.optim.SGD``: learning rate, momentum factor, factor of the L2 penalty.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Phase:
    """Settings that begin at an epoch and stick until a later phase changes them; checked when made.

    Parameters
    ----------
    epoch : int
        The phase begins with the first update of this epoch; at least 0.
    lr : float, optional
        Learning rate, above 0 and finite. None: as before.
    momentum : float, optional
        Momentum factor, from 0 to below 1. None: as before, at first 0.
    weight_decay : float, optional
        L2 penalty, at least 0 and finite. None: as before, at first 0.

    A scheduler leaves a setting that no phase gives as the optimizer has it.

    Raises
    ------
    ValueError, TypeError
        For a value out of range; for an epoch that is not an integer, or a setting that is not a number.
    """

    epoch: int
    lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        check_integer("the epoch of a phase", self.epoch, 0)
        for name, value in self.changes().items():
            allowed, is_allowed = RANGES[name]
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"{name} must be a number {allowed}, got {value!r}")
            if not is_allowed(value):
                raise ValueError(f"{name} must be {allowed}, got {value}")

    def changes(self) -> dict[str, float]:
        """Return the settings that this phase changes, by name."""
        return {name: getattr(self, name) for name in RANGES if getattr(self, name) is not None}


@dataclass(frozen=True)
class Regime:
    """A whole training: phases, and where it ends; checked when made.

    Parameters
    ----------
    phases : sequence of Phase
        In the order of their epochs, without repeats; the first begins at epoch 0 and gives a rate. Phases at or
        after `epochs` are allowed and do not occur. Kept as a tuple.
    epochs : int
        Number of epochs, at least 1.
    warmup_epochs : int, default 0
    warmup_start : float, default 0
        Set by `with_warmup`.

    Raises
    ------
    ValueError
        For phases without order, with repeats or without a first rate; for epochs or a start out of range.
    TypeError
        For anything but phases, or none; for epochs that are not integers.

    Examples
    --------
    >>> regime = Regime((Phase(0, lr=0.1, momentum=0.9), Phase(2, lr=0.01)), epochs=3)
    >>> regime.at(200, updates_per_epoch=100)
    Settings(lr=0.01, momentum=0.9, weight_decay=0.0)
    >>> regime.scaled(512, 128).adapted(512, 128).phases[1]
    Phase(epoch=8, lr=0.02, momentum=None, weight_decay=None)
    """

    phases: Sequence[Phase]
    epochs: int
    warmup_epochs: int = 0
    warmup_start: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "phases", tuple(self.phases))
        check_integer("epochs", self.epochs, 1)
        check_integer("warmup_epochs", self.warmup_epochs, 0)
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"a warm-up of {self.warmup_epochs} epochs does not fit into {self.epochs} epochs")
        self._check_phases()
        if not 0 <= self.warmup_start <= self.phases[0].lr:
            raise ValueError(f"a warm-up starts from 0 to the first rate {self.phases[0].lr}, got {self.warmup_start}")

    def _check_phases(self) -> None:
        if not self.phases or not all(isinstance(phase, Phase) for phase in self.phases):
            raise TypeError(f"phases must be one or more Phase(epoch, lr, ...), got {self.phases!r}")
        if self.phases[0].epoch != 0 or self.phases[0].lr is None:
            raise ValueError(f"the first phase must begin at epoch 0 and give lr, got {self.phases[0]}")
        epochs = [phase.epoch for phase in self.phases]
        if sorted(set(epochs)) != epochs:
            raise ValueError(f"the epochs of the phases must increase, got {epochs}")

    def scaled(self, batch_size: int, base_batch: int, rule: str = "sqrt") -> "Regime":
        """Scale every rate to another batch size.

        Parameters
        ----------
        batch_size, base_batch : int
            Samples per update, now and where the regime was tuned, at least 1.
        rule : {"sqrt", "linear", "none"}, default "sqrt"
            The factor on the rates, with r = `batch_size` / `base_batch`: √r keeps the covariance of the weight
            increments (Hoffer et al. 2017, appendix A), r is the rule of Goyal et al. 2017, "none" keeps the rates.

        Raises
        ------
        ValueError
            For an unknown rule; for a batch size below 1; after `with_warmup`.
        TypeError
            For a batch size that is not an integer.
        """
        check_choice("rule", rule, RULES)
        self._check_change("scaled", batch_size, base_batch)
        factor = RULES[rule](batch_size / base_batch)
        phases = [phase if phase.lr is None else replace(phase, lr=phase.lr * factor) for phase in self.phases]
        return replace(self, phases=phases)

    def adapted(self, batch_size: int, base_batch: int, share: float = 1.0) -> "Regime":
        """Stretch the regime so that another batch size makes about as many updates in each phase.

        Every milestone and the end are multiplied by r = `batch_size` / `base_batch` and rounded up (regime adaptation,
        Hoffer et al. 2017; the official code rounds r itself up, so that the two are alike where r is whole).

        Parameters
        ----------
        batch_size, base_batch : int
            Samples per update, now and where the regime was tuned, at least 1.
        share : float, default 1
            How much of the further epochs is kept, from 0 to 1: the factor is 1 + `share` · (r - 1).

        Raises
        ------
        ValueError
            If a smaller `batch_size` makes milestones meet; for a batch size below 1 or a share out of range; after
            `with_warmup`.
        TypeError
            For a batch size that is not an integer.
        """
        self._check_change("adapted", batch_size, base_batch)
        if not 0 <= share <= 1:
            raise ValueError(f"the share of the adaptation must be from 0 to 1, got {share}")
        # Fractions only: a float factor could land just above a whole number, and be rounded up.
        further = Fraction(share).limit_denominator() * (Fraction(batch_size, base_batch) - 1)
        return self._moved(lambda epoch: math.ceil(epoch * (1 + further)))

    def shortened(self, epochs: int) -> "Regime":
        """Squeeze (or stretch) the regime into another number of epochs.

        Parameters
        ----------
        epochs : int
            The new number of epochs, at least 1. Milestones are multiplied by `epochs` / ``self.epochs`` and rounded
            to the nearest epoch, halves up.

        Raises
        ------
        ValueError
            If there are too few epochs for every milestone before the end to have its own; after `with_warmup`.
        """
        check_integer("epochs", epochs, 1)
        self._check_change("shortened")
        try:
            return self._squeezed(epochs)
        except ValueError as error:
            raise ValueError(f"{error}, at least {self._fewest_epochs()}") from None

    def _squeezed(self, epochs: int) -> "Regime":
        """Multiply all epochs by `epochs` / ``self.epochs``, halves up."""
        return self._moved(lambda epoch: (2 * epoch * epochs + self.epochs) // (2 * self.epochs))

    def _fewest_epochs(self) -> int:
        """The fewest epochs that leave every milestone its own."""
        for epochs in range(1, self.epochs):
            try:
                self._squeezed(epochs)
            except ValueError:
                continue
            return epochs
        return self.epochs

    def with_warmup(self, epochs: int, start: float = 0.0) -> "Regime":
        """Raise the rate linearly over the first epochs (Goyal et al. 2017).

        With W = `epochs` * `updates_per_epoch`, the rate of update u < W is (u + 1) / W of the way from `start` to that
        of its phase, which the last update of the warm-up has. A milestone inside it keeps its effect.

        Parameters
        ----------
        epochs : int
            Length of the warm-up, in epochs of the final regime: so this comes last, after `scaled`, `adapted` and
            `shortened`. 0 means none.
        start : float, default 0
            The rate that it rises from, at most the first rate. Goyal et al. start from the rate of the base batch.

        Raises
        ------
        ValueError
            If it is longer than the regime or starts above its rate; if there is a warm-up already.
        """
        self._check_change("given a warm-up")
        return replace(self, warmup_epochs=epochs, warmup_start=start)

    def total_updates(self, updates_per_epoch: int) -> int:
        """Return the number of updates of the whole regime."""
        check_integer("updates_per_epoch", updates_per_epoch, 1)
        return self.epochs * updates_per_epoch

    def at(self, update: int, updates_per_epoch: int) -> Settings:
        """Return the settings of one update.

        Parameters
        ----------
        update : int
            From 0; a negative one is refused. A phase begins at update ``epoch * updates_per_epoch``. Updates past
            the end have the settings of the last one.
        updates_per_epoch : int
            At least 1.

        Raises
        ------
        ValueError, TypeError
            For a number that is out of range, or not an integer.
        """
        check_integer("update", update, 0)
        update = min(update, self.total_updates(updates_per_epoch) - 1)
        values: dict[str, float] = {}
        for phase in self.phases:
            if phase.epoch * updates_per_epoch <= update:
                values |= phase.changes()
        warmup = self.warmup_epochs * updates_per_epoch
        if update < warmup:
            values["lr"] = self.warmup_start + (values["lr"] - self.warmup_start) * ((update + 1) / warmup)
        return Settings(**values)

    def scheduler(self, optimizer: "Optimizer", updates_per_epoch: int) -> "RegimeScheduler":
        """Make a scheduler that keeps `optimizer` at the settings of the current update; see `RegimeScheduler`."""
        from gbnlib.regimes.scheduler import RegimeScheduler

        return RegimeScheduler(optimizer, self, updates_per_epoch)

    def _check_change(self, change: str, *batch_sizes: int) -> None:
        """Refuse a change after the warm-up, whose length is in final epochs, and batch sizes below 1."""
        for batch_size in batch_sizes:
            check_integer("a batch size", batch_size, 1)
        if self.warmup_epochs:
            raise ValueError(f"a regime with warm-up cannot be {change}: call with_warmup last")

    def _moved(self, move: Callable[[int], int]) -> "Regime":
        """Move every milestone and the end, and refuse to lose a phase that occurs."""
        phases = [replace(phase, epoch=move(phase.epoch)) for phase in self.phases]
        epochs = [phase.epoch for phase in phases]
        end = move(self.epochs)
        occurring = sum(phase.epoch < self.epochs for phase in self.phases)
        if len(set(epochs[:occurring])) < occurring or epochs[occurring - 1] >= end:
            before = [phase.epoch for phase in self.phases]
            raise ValueError(f"milestones {before} of {self.epochs} epochs meet as {epochs} of {end}: use more epochs")
        apart = {phase.epoch: phase for phase in phases}  # phases that never occur may meet: the last one stays
        return replace(self, phases=tuple(apart.values()), epochs=end)
