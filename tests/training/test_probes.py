"""When distances are taken."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from gbnlib.training import SnapshotProbe, log_spaced


@given(st.integers(1, 10**6))
def test_log_spaced_updates_rise_from_one_to_the_end(total: int) -> None:
    updates = log_spaced(total)
    assert updates[0] == 1 and updates[-1] == total
    assert updates == sorted(set(updates))
    assert len(updates) <= 20 * 6 + 2


def test_log_spaced_updates_are_dense_enough_for_a_fit() -> None:
    updates = [update for update in log_spaced(10_000) if update >= 100]
    ratios = [later / earlier for earlier, later in pairwise(updates)]
    assert max(ratios) < 10 ** (1 / 20) * 1.02


def test_snapshots_are_kept_as_they_were() -> None:
    model = torch.nn.Linear(2, 1)
    probe, weights = SnapshotProbe(model, total_updates=3), []
    for update in (1, 2, 3):
        weights.append(torch.cat([model.weight.detach().flatten(), model.bias.detach()]))
        probe(update)
        with torch.no_grad():
            model.weight += 1
    assert list(probe.kept) == [1, 2, 3]
    assert all(torch.equal(found, wanted) for found, wanted in zip(probe.kept.values(), weights, strict=True))
