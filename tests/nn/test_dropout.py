"""`BatchDropout`: a pure function of (seed, sample) on any device, by the same bits as ever on the CPU."""

import os

import pytest
import torch

from gbnlib.nn.dropout import BatchDropout, counted, keep, threshold

#: SplitMix64 from seed 1234567, as its authors' code gives it (Rosetta Code lists the same).
AUTHORS = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


def place(seed: int, first: int = 0) -> torch.Tensor:
    return torch.tensor([seed, first])


def test_masks_of_the_cpu_are_those_of_a_generator_with_the_seed():
    layer = BatchDropout(0.3)
    layer.begin(seed=5, count=12)
    expected = (torch.rand(12, 7, generator=torch.Generator().manual_seed(5)) >= 0.3) / (1 - 0.3)
    assert torch.equal(layer(torch.ones(12, 7)), torch.ones(12, 7) * expected)


@pytest.mark.parametrize("draw", [keep, lambda place, count, shape, p: counted(place, shape, p)])
def test_parts_of_a_batch_drop_what_the_whole_drops(draw):
    whole = draw(place(2**62 + 3), 50, (50, 3, 5), 0.4)
    parts = [draw(place(2**62 + 3, first), 50, (size, 3, 5), 0.4) for first, size in ((0, 20), (20, 29), (49, 1))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(draw(place(2**62 + 4), 50, (50, 3, 5), 0.4), whole)


@pytest.mark.parametrize(("index", "number"), list(enumerate(AUTHORS)))
def test_the_hash_is_splitmix64(index, number):
    # The number without its last 11 bits is the largest threshold at which it still means to keep.
    high = number >> 11
    for value, kept in ((high, True), (high + 1, False)):
        assert threshold(value / 2**53) == value
        assert counted(place(1234567), (5, 1), value / 2**53)[index].item() is kept


def test_the_hash_keeps_a_share_of_1_minus_p_without_pattern():
    kept = counted(place(0), (1000, 1000), 0.2).double()
    spread = (0.2 * 0.8 / 1000) ** 0.5
    assert kept.mean().item() == pytest.approx(0.8, abs=4 * spread / 1000**0.5)
    for means in (kept.mean(0), kept.mean(1)):
        assert (means - 0.8).abs().max() < 5 * spread
        assert means.std().item() == pytest.approx(spread, rel=0.15)
    neighbours = (kept[:, 1:] - 0.8) * (kept[:, :-1] - 0.8)
    assert neighbours.mean().abs() < 4 * 0.16 / 999_000**0.5
    assert not counted(place(0), (10, 10), 1.0).any() and counted(place(0), (10, 10), 0.0).all()


@pytest.mark.skipif("TRITON_INTERPRET" not in os.environ, reason="test_triton_kernel.py starts the interpreter")
@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_the_triton_kernel_gives_the_same_bits(seed):
    from gbnlib.nn import triton_dropout

    for first, shape in ((0, (40, 33)), (7, (3, 1)), (10**6, (5, 2, 3))):
        expected = counted(place(seed, first), shape, 0.3)
        assert torch.equal(triton_dropout.keep(place(seed, first), shape, threshold(0.3)), expected)


def test_the_operator_keeps_pytorchs_rules():
    torch.library.opcheck(keep, (place(1), 6, [4, 3], 0.5))


def test_the_layer_has_no_state_to_save_and_drops_as_pytorchs_before_it_begins():
    layer = BatchDropout(0.5)
    assert not layer.state_dict()
    torch.manual_seed(0)
    found = layer(torch.ones(50))
    torch.manual_seed(0)
    assert torch.equal(found, torch.nn.Dropout(0.5)(torch.ones(50)))
    layer.begin(0, 50)
    assert torch.equal(layer.eval()(torch.ones(50)), torch.ones(50))
