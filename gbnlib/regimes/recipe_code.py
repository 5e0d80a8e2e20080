"""A recipe as Python to paste into a training script: with gbnlib, and with PyTorch alone."""

from typing import TYPE_CHECKING

from gbnlib.regimes.regime import Phase

if TYPE_CHECKING:
    from gbnlib.regimes.recipes import Recipe

_WITH_GBNLIB = """\
import torch
{imports}from gbnlib.regimes import Phase, Regime

base = Regime(
    phases=(
{phases}
    ),
    epochs={epochs},
)
regime = base{steps}
{ghosts}optimizer = torch.optim.SGD(model.parameters(), lr=1.0)  # the scheduler sets rate, momentum, weight decay
scheduler = regime.scheduler(optimizer, updates_per_epoch={per_epoch})
# scheduler.step() after every update, {updates} in all"""

_WITH_TORCH = """\
from bisect import bisect_right

import torch

starts = {starts}  # the updates at which the rate changes
rates = {rates}


def rate(update):
    lr = rates[bisect_right(starts, update) - 1]
{warmup}    return lr


momentum, weight_decay = {momentum!r}, {weight_decay!r}
optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=momentum, weight_decay=weight_decay)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)  # multiplies lr=1.0
# scheduler.step() after every update, {updates} in all"""

_WARMUP = """\
    if update < {updates}:
        lr = {rising} * ((update + 1) / {updates})
"""


def gbnlib_code(recipe: "Recipe") -> str:
    """Python that makes `optimizer` and `scheduler` of a `model`, and converts it, with gbnlib."""
    ghosts = f"model = convert_ghost_batchnorm(model, ghost_size={recipe.ghost_size})\n"
    return _WITH_GBNLIB.format(
        imports="from gbnlib.nn import convert_ghost_batchnorm\n" if recipe.ghost_size else "",
        phases="\n".join(f"        {_phase(phase)}," for phase in recipe.base.phases),
        epochs=recipe.base.epochs,
        steps=_steps(recipe),
        ghosts=ghosts if recipe.ghost_size else "",
        per_epoch=recipe.updates_per_epoch,
        updates=recipe.updates,
    )


def torch_code(recipe: "Recipe") -> str:
    """Python that makes `optimizer` and `scheduler` of a `model` with PyTorch alone.

    Raises
    ------
    ValueError
        If a phase changes momentum or weight decay, which PyTorch's schedulers leave alone.
    """
    first, *later = [phase for phase in recipe.regime.phases if phase.epoch < recipe.regime.epochs]
    if any(phase.changes().keys() - {"lr"} for phase in later):
        raise ValueError("a scheduler of PyTorch changes the rate alone, but the regime changes other settings later")
    changing = [phase for phase in (first, *later) if phase.lr is not None]
    start = recipe.warmup_from
    rising = f"{start!r} + (lr - {start!r})" if start else "lr"
    warmup = _WARMUP.format(updates=recipe.warmup * recipe.updates_per_epoch, rising=rising)
    return _WITH_TORCH.format(
        starts=[phase.epoch * recipe.updates_per_epoch for phase in changing],
        rates=[phase.lr for phase in changing],
        warmup=warmup if recipe.warmup else "",
        momentum=first.momentum or 0.0,
        weight_decay=first.weight_decay or 0.0,
        updates=recipe.updates,
    )


def _phase(phase: Phase) -> str:
    """A phase as Python, with what it changes."""
    changes = "".join(f", {name}={value!r}" for name, value in phase.changes().items())
    return f"Phase(epoch={phase.epoch}{changes})"


def _steps(recipe: "Recipe") -> str:
    """The calls that make the regime from that of the base batch."""
    sizes = f"{recipe.batch_size}, {recipe.base_batch}"
    share = f", share={recipe.share!r}" if recipe.share < 1 else ""
    start = f", start={recipe.warmup_from!r}" if recipe.warmup_from else ""
    steps = {
        f'.scaled({sizes}, rule="{recipe.rule}")': recipe.rule != "none",
        f".adapted({sizes}{share})": recipe.share > 0,
        f".with_warmup({recipe.warmup}{start})": recipe.warmup > 0,
    }
    return "".join(step for step, wanted in steps.items() if wanted)
