"""Training regimes as data: which learning rate, momentum and weight decay hold at which update.

A regime is written once, for the batch size it was tuned for, and adapted to another one by rules (Hoffer, Hubara &
Soudry 2017): `Regime.scaled` changes the rates, `Regime.adapted` the epochs; `recipe` does both and says what
they cost. Epochs are passes over the training data, updates are optimizer steps; both count from 0. Only what touches
an optimizer imports torch.
"""

from typing import TYPE_CHECKING

from gbnlib.lazy import names_of
from gbnlib.regimes.recipes import Recipe, recipe
from gbnlib.regimes.regime import Phase, Regime, Settings

if TYPE_CHECKING:
    from gbnlib.regimes.scheduler import RegimeScheduler, apply_settings

__all__ = ["Phase", "Recipe", "Regime", "RegimeScheduler", "Settings", "apply_settings", "recipe"]

__getattr__, __dir__ = names_of(
    __name__, dict.fromkeys(("RegimeScheduler", "apply_settings"), "gbnlib.regimes.scheduler")
)
