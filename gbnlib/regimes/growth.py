"""Growing the batch in place of dropping the rate (Smith et al. 2018)."""

from dataclasses import replace

from gbnlib.errors import check_integer
from gbnlib.regimes.regime import Regime


def grown(regime: Regime, batch_size: int, most: int) -> tuple[Regime, tuple[tuple[int, int], ...]]:
    """Grow the batch where the rate would drop, by as much, so that fewer updates are made.

    Rate over batch size, which sets the noise of the gradients, is as before in each phase.

    Parameters
    ----------
    regime : Regime
        Without warm-up.
    batch_size : int
        Samples per update in the first phase, at least 1.
    most : int
        The largest batch; what is left of a drop is one of the rate.

    Returns
    -------
    Regime, tuple of (int, int)
        The phases with their rates; and the epochs from which on the batch has another size, each with that size.
    """
    check_integer("batch_size", batch_size, 1)
    phases, stages = [], [(0, batch_size)]
    for phase in regime.phases:
        if phase.lr is not None:
            size = max(batch_size, min(most, round(batch_size * regime.phases[0].lr / phase.lr)))
            phase = replace(phase, lr=phase.lr * (size / batch_size))
            if size != stages[-1][1] and phase.epoch < regime.epochs:
                stages.append((phase.epoch, size))
        phases.append(phase)
    return replace(regime, phases=phases), tuple(stages[1:])
