"""Where updates and epochs meet, against a list of all batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gbnlib.data.batch_sizes import BatchSizes

GROWTH = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 60)), max_size=3, unique_by=lambda stage: stage[0])


@given(samples=st.integers(1, 60), first=st.integers(1, 60), growth=GROWTH, drop_last=st.booleans())
def test_updates_and_epochs_are_those_of_all_batches_in_turn(samples, first, growth, drop_last):
    stages = ((0, min(first, samples)), *((epoch, min(size, samples)) for epoch, size in sorted(growth)))
    sizes, listed = BatchSizes(samples, stages, drop_last), []
    for epoch in range(7):
        size = dict(stages).get(epoch, locals().get("size"))
        batches = [size] * (samples // size) + [samples % size] * (not drop_last and samples % size > 0)
        assert sizes.size_in(epoch) == size and sizes.updates_in(epoch) == len(batches)
        assert sizes.updates_until(epoch) == len(listed)
        listed += [(epoch, number) for number in range(len(batches))]
    assert [sizes.place(update) for update in range(len(listed))] == listed
    for update, (epoch, number) in enumerate(listed):
        assert sizes.epochs_at(update) == pytest.approx(epoch + number / sizes.updates_in(epoch))


def test_without_growth_epochs_are_updates_over_those_of_one_to_the_last_bit():
    sizes = BatchSizes(1_000, ((0, 7),))
    assert [sizes.epochs_at(update) for update in range(999)] == [update / 143 for update in range(999)]
