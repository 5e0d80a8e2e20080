"""Batches against torchvision's transforms and plain indexing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from gbnlib.data import Batches, normalise
from gbnlib.data.batches import generator, sent
from gbnlib.errors import UsageError


def make(count: int = 23, batch_size: int = 5, seed: int = 0, channels: int = 1, **options) -> Batches:
    """Batches over images whose label is their number."""
    images = torch.randint(0, 256, (count, channels, 8, 8), generator=torch.Generator().manual_seed(0))
    mean, std = [0.5] * channels, [0.25] * channels
    return Batches(images.to(torch.uint8), torch.arange(count), batch_size, seed, mean=mean, std=std, **options)


@given(st.integers(1, 60), st.data(), st.integers(0, 1000), st.booleans())
def test_an_epoch_is_a_permutation_cut_into_batches(count, draw, epoch, drop_last) -> None:
    size = draw.draw(st.integers(1, count))
    batches = make(count, size, drop_last=drop_last)
    labels = [part for _, part in batches.epoch(epoch)]
    assert len(labels) == batches.updates_per_epoch
    assert all(len(part) == size for part in labels[:-1])
    seen = torch.cat(labels).tolist()
    expected = count - count % size if drop_last else count
    assert len(seen) == expected == len(set(seen))


def test_images_and_labels_stay_together() -> None:
    batches = make()
    for images, labels in batches.epoch(3):
        plain = batches.windows[labels, 0, 0].permute(0, 3, 1, 2)
        assert torch.equal(images, normalise(plain, batches.mean, batches.std))


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_an_epoch_can_be_entered_anywhere(start: int) -> None:
    whole = list(make(pad=2, flip=True).epoch(7))[start:]
    entered = list(make(pad=2, flip=True).epoch(7, start))
    assert len(whole) == len(entered)
    for (images, labels), (other_images, other_labels) in zip(whole, entered, strict=True):
        assert torch.equal(images, other_images) and torch.equal(labels, other_labels)


def test_order_and_augmentation_depend_on_seed_and_epoch_alone() -> None:
    def first(seed: int, epoch: int) -> torch.Tensor:
        torch.manual_seed(torch.seed() % 1000)
        return next(make(pad=2, flip=True, seed=seed).epoch(epoch))[0]

    assert torch.equal(first(1, 2), first(1, 2))
    assert not torch.equal(first(1, 2), first(1, 3))
    assert not torch.equal(first(1, 2), first(2, 2))


@pytest.mark.parametrize(("channels", "pad", "fill"), [(1, 2, 0), (3, 4, 127)])
def test_augmentation_equals_torchvision_image_for_image(channels: int, pad: int, fill: int) -> None:
    batches = make(count=40, batch_size=16, channels=channels, pad=pad, fill=fill, flip=True)
    originals = make(count=40, batch_size=16, channels=channels).windows[:, 0, 0].permute(0, 3, 1, 2)
    chance = generator(0, 5, "augmentation")
    corners = torch.randint(0, 2 * pad + 1, (40, 2), generator=chance)
    flips = torch.rand(40, generator=chance) < 0.5
    official = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(batches.mean, batches.std)])
    position = 0
    for images, labels in batches.epoch(5):
        for image, label in zip(images, labels.tolist(), strict=True):
            top, left = corners[position].tolist()
            expected = tv.crop(tv.pad(originals[label], [pad], fill=fill), top, left, 8, 8)
            expected = tv.horizontal_flip(expected) if flips[position] else expected
            torch.testing.assert_close(image, official(expected))
            position += 1
    assert position == 40 and flips.any() and not flips.all()


def test_normalise_is_to_tensor_and_normalize() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = tv.normalize(images.float() / 255, list(mean), list(std))
    torch.testing.assert_close(normalise(images, mean, std), expected)


@pytest.mark.parametrize(("device", "memory"), [("cuda:0", "pinned"), ("cpu", "plain")])
def test_nothing_waits_for_a_copy_to_a_gpu(device: str, memory: str) -> None:
    class Watched:
        memory = "plain"

        def pin_memory(self) -> "Watched":
            self.memory = "pinned"
            return self

        def to(self, device: torch.device, *, non_blocking: bool) -> tuple:
            return self.memory, device, non_blocking

    assert sent(Watched(), torch.device(device)) == (memory, torch.device(device), True)


@pytest.mark.parametrize("size", [0, -1, 24])
def test_a_batch_size_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"batch_size is {size}; it must lie between 1 and the 23"):
        make(batch_size=size)
