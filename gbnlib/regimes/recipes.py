"""A recipe tuned for one batch size carried to another: its regime as a table and as code, and what it costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from numbers import Real

from gbnlib.errors import check_integer
from gbnlib.regimes.recipe_code import gbnlib_code, torch_code
from gbnlib.regimes.regime import Phase, Regime

#: Training images of ImageNet (ILSVRC 2012).
IMAGENET = 1_281_167
#: More samples than any data set has; it keeps arithmetic finite.
MOST_SAMPLES = 10**12
SHARES = {"none": 0.0, "full": 1.0}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A regime and the batch size it was tuned for, carried to another one; made by `recipe`.

    Attributes
    ----------
    base : the regime for `base_batch`.
    batch_size, base_batch : samples per update, here and where the recipe was tuned.
    samples : training samples, at least as many as a batch.
    rule : of the rate; see `Regime.scaled`.
    share : of the adaptation; see `Regime.adapted`.
    warmup, warmup_from : epochs of warm-up, and the rate that it starts from; see `Regime.with_warmup`.
    ghost_size : samples normalised together; 0 means plain batch normalization.
    """

    base: Regime
    batch_size: int
    base_batch: int
    samples: int = IMAGENET
    rule: str = "sqrt"
    share: float = 1.0
    warmup: int = 0
    warmup_from: float = 0.0
    ghost_size: int = 0

    def __post_init__(self) -> None:
        check_integer("samples", self.samples, 1)
        if self.samples > MOST_SAMPLES:
            raise ValueError(f"samples must be at most {MOST_SAMPLES:,}, got {self.samples}")
        for name, least, most in (
            ("base_batch", 1, "samples"),
            ("batch_size", 1, "samples"),
            ("ghost_size", 0, "batch_size"),
        ):
            size = check_integer(name, getattr(self, name), least)
            if size > getattr(self, most):
                raise ValueError(f"{name} must be at most {most}, {getattr(self, most)}, got {size}")
        if self.warmup_from and not self.warmup:
            raise ValueError(
                f"warmup_from is {self.warmup_from}, but there is no warm-up: give its epochs, warmup, too"
            )
        _ = self.regime  # what is wrong with it is said now, not when it is first asked for

    @cached_property
    def regime(self) -> Regime:
        """The regime for `batch_size`: scaled, adapted, warmed up."""
        sizes = self.batch_size, self.base_batch
        scaled = self.base.scaled(*sizes, rule=self.rule).adapted(*sizes, share=self.share)
        return scaled.with_warmup(self.warmup, start=self.warmup_from)

    @property
    def ratio(self) -> float:
        """Batch size over base batch."""
        return self.batch_size / self.base_batch

    @property
    def updates_per_epoch(self) -> int:
        """Updates in a pass over the data, the last partial batch included."""
        return -(-self.samples // self.batch_size)

    @property
    def base_updates_per_epoch(self) -> int:
        """The same with the base batch."""
        return -(-self.samples // self.base_batch)

    @property
    def updates(self) -> int:
        """Updates of the whole training."""
        return self.regime.total_updates(self.updates_per_epoch)

    @property
    def base_updates(self) -> int:
        """Updates of the base recipe."""
        return self.base.total_updates(self.base_updates_per_epoch)

    @property
    def high_rate_updates(self) -> int:
        """Updates before the rate of the phases first falls, or all if it never does."""
        rates = [(phase.epoch, phase.lr) for phase in self.regime.phases if phase.lr is not None]
        falls = [epoch for (_, before), (epoch, lr) in pairwise(rates) if lr < before]
        return min([*falls[:1], self.regime.epochs]) * self.updates_per_epoch

    @property
    def cost(self) -> float:
        """Samples processed in training, in times the base recipe's."""
        return self.regime.epochs / self.base.epochs

    def table(self) -> list[dict[str, float]]:
        """The settings where they change: a row each with epoch, update, lr, momentum and weight_decay.

        The rate of a row holds until the next one, but rises during a warm-up, from the first row to that of its end.
        """
        starts = {phase.epoch for phase in self.regime.phases} | {self.warmup}
        updates = {epoch: epoch * self.updates_per_epoch for epoch in sorted(starts) if epoch < self.regime.epochs}
        settings = {epoch: self.regime.at(update, self.updates_per_epoch) for epoch, update in updates.items()}
        return [{"epoch": epoch, "update": updates[epoch], **asdict(found)} for epoch, found in settings.items()]

    def code(self) -> str:
        """Python that trains a `model` by this recipe with gbnlib: it makes `optimizer` and `scheduler`."""
        return gbnlib_code(self)

    def torch_code(self) -> str:
        """Python that does the same for `model` with PyTorch alone, without ghosts; see `recipe_code.torch_code`."""
        return torch_code(self)

    def text(self) -> str:
        """The regime as a table, and what it takes beside the base recipe."""
        rows = [map(_number, row.values()) for row in self.table()]
        table = [["epoch", "update", "lr", "momentum", "weight decay"], *map(list, rows)]
        pairs = {
            "epochs": (self.base.epochs, self.regime.epochs),
            "updates": (self.base_updates, self.updates),
            "samples, the cost": (self.base.epochs * self.samples, self.regime.epochs * self.samples),
        }
        takes = [["", f"batch {self.base_batch:,}", f"batch {self.batch_size:,}", "times the base"]]
        takes += [[name, *map(_number, pair), f"{pair[1] / pair[0]:.3g}"] for name, pair in pairs.items()]
        rise = f"The rate rises linearly over the first {self.warmup} epochs.\n" if self.warmup else ""
        data = f"{self.samples:,} samples: {self.updates_per_epoch:,} updates an epoch{self._remainders()}."
        return f"{_columns(table)}\n{rise}{data}\n\n{_columns(takes)}"

    def _remainders(self) -> str:
        """What does not divide: the last batch of an epoch, and the last ghost of a batch."""
        batch, ghost = self.samples % self.batch_size, self.ghost_size and self.batch_size % self.ghost_size
        told = f", the last of {batch:,} samples" if batch else ""
        return told + (f"; a batch leaves {ghost:,} for its last ghost" if ghost else "")


def recipe(
    batch_size: int,
    base_batch: int,
    lr: float | Sequence[float],
    epochs: int,
    milestones: Sequence[int] = (),
    *,
    gamma: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    samples: int = IMAGENET,
    rule: str = "sqrt",
    adapt: float | str = "full",
    warmup: int = 0,
    warmup_from: float = 0.0,
    ghost_size: int = 0,
) -> Recipe:
    """Carry a step recipe that was tuned for one batch size to another.

    Parameters
    ----------
    batch_size, base_batch : int
        Samples per update, wanted and where the recipe was tuned.
    lr : float, or sequence of float
        The rate that the base recipe starts with; or a rate for each phase, one more than milestones.
    epochs : int
        Passes over the data of the base recipe.
    milestones : sequence of int, default ()
        Epochs at which its rate changes, in order.
    gamma : float, default 0.1
        Factor of the rate at each milestone, where `lr` is one number, as in ``MultiStepLR``.
    momentum, weight_decay : float, default 0.9 and 1e-4
        Of ``torch.optim.SGD``; they stay as they are.
    samples : int, default 1,281,167
        Training samples; the default is ImageNet's.
    rule : {"sqrt", "linear", "none"}, default "sqrt"
        How the rate follows the batch size; see `Regime.scaled`.
    adapt : {"full", "none"} or float, default "full"
        Regime adaptation: about as many updates as the base, as many epochs as the base, or the share of the further
        epochs to keep; see `Regime.adapted`.
    warmup : int, default 0
        Epochs of linear warm-up, counted after the adaptation.
    warmup_from : float, default 0
        The rate that it rises from; Goyal et al. 2017 take `lr`.
    ghost_size : int, default 0
        Samples normalised together; 0 means plain batch normalization.

    Raises
    ------
    ValueError, TypeError
        For a value out of range or of another kind, in one line.

    Examples
    --------
    >>> goyal = recipe(8192, 256, lr=0.1, epochs=90, milestones=(30, 60, 80), rule="linear", adapt="none", warmup=5)
    >>> goyal.regime.phases[0].lr, goyal.updates, goyal.cost
    (3.2, 14130, 1.0)
    """
    rates = _rates(lr, milestones, gamma)
    later = [Phase(epoch, lr=rate) for epoch, rate in zip(milestones, rates[1:], strict=True)]
    first = Phase(0, lr=rates[0], momentum=momentum, weight_decay=weight_decay)
    return Recipe(
        base=Regime([first, *later], epochs=epochs),
        batch_size=batch_size,
        base_batch=base_batch,
        samples=samples,
        rule=rule,
        share=_share(adapt),
        warmup=warmup,
        warmup_from=warmup_from,
        ghost_size=ghost_size,
    )


def _rates(lr: float | Sequence[float], milestones: Sequence[int], gamma: float) -> list[float]:
    """The rate of each phase; decimals, so that 0.1 times 0.1 is 0.01."""
    if isinstance(lr, Sequence) and not isinstance(lr, str):
        if len(lr) != len(milestones) + 1:
            raise ValueError(
                f"lr must be one rate, or {len(milestones) + 1} for {len(milestones)} milestones, got {lr}"
            )
        return list(lr)
    Phase(0, lr=lr)  # refuses what is no rate
    if isinstance(gamma, bool) or not isinstance(gamma, Real) or not 0 < gamma < float("inf"):
        raise ValueError(f"gamma must be a number above 0 and finite, got {gamma!r}")
    return [float(Decimal(str(lr)) * Decimal(str(gamma)) ** step) for step in range(len(milestones) + 1)]


def _share(adapt: float | str) -> float:
    """The share of the adaptation that a word or a number means."""
    try:
        return float(SHARES.get(adapt, adapt))
    except (TypeError, ValueError):
        raise ValueError(f"adapt must be 'full', 'none' or a share from 0 to 1, got {adapt!r}") from None


def _number(value: float) -> str:
    """A count with its thousands apart, another number with six digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as columns, the first one left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return "\n".join("  ".join(line) for line in lines)
