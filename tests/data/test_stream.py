"""Streamed sets: the same batches as held ones would give, from worker processes or from this one."""

import multiprocessing
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from gbnlib import data
from gbnlib.data import StreamBatches, StreamedImages, normalise
from gbnlib.data.batches import generator
from gbnlib.data.encoded import EncodedImages
from gbnlib.data.stream import PIECE
from gbnlib.errors import UsageError
from gbnlib.experiments import RunConfig
from gbnlib.experiments.preparing import prepare
from gbnlib.regimes import Phase
from gbnlib.training import Execution, Interrupted, Training, evaluate, train
from tests.data.formats import picture

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = [(40 + 7 * number, 36 + 5 * (number % 4)) for number in range(9)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of several sizes, without the losses of JPEG."""
    folder = tmp_path_factory.mktemp("images")
    for number, (width, height) in enumerate(SIZES):
        picture(number, width, height).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(len(SIZES))]


def streamed(paths: list[Path], workers: int = 0, repeat: int = 1) -> StreamedImages:
    return StreamedImages(EncodedImages(paths * repeat, "here", 3), resize=34, size=32, workers=workers)


def batches(paths: list[Path], workers: int = 0, repeat: int = 1, batch_size: int = 4, seed: int = 0, **options):
    images = streamed(paths, workers, repeat)
    return StreamBatches(images, torch.arange(len(images)), batch_size, seed, mean=MEAN, std=STD, **options)


def same(first, second) -> bool:
    return all(
        torch.equal(images, others) and torch.equal(labels, other_labels)
        for (images, labels), (others, other_labels) in zip(first, second, strict=True)
    )


def test_central_crops_are_those_of_torchvision(paths: list[Path]) -> None:
    official = v2.Compose([v2.Resize(34), v2.CenterCrop(32), v2.PILToTensor()])
    expected = torch.stack([official(Image.open(path)) for path in paths])
    assert torch.equal(torch.cat(list(streamed(paths).split(4))), expected)
    plain = batches(paths, crop=False, flip=True)
    for images, labels in plain.epoch(0):
        torch.testing.assert_close(images, normalise(expected[labels], MEAN, STD))


def test_random_crops_are_those_of_torchvision_for_the_same_corners(paths: list[Path]) -> None:
    stream = batches(paths, flip=True)
    chance = generator(0, 3, "augmentation")
    corners = torch.rand(len(SIZES), 2, generator=chance, dtype=torch.float64)
    flips = torch.rand(len(SIZES), 1, generator=chance) < 0.5
    found = [pair for images, labels in stream.epoch(3) for pair in zip(images, labels, strict=True)]
    for (image, label), (top, left), flip in zip(found, corners.tolist(), flips, strict=True):
        whole = tv.resize(Image.open(paths[label]), [34])
        height, width = tv.get_size(whole)
        expected = tv.crop(whole, int(top * (height - 31)), int(left * (width - 31)), 32, 32)
        expected = tv.pil_to_tensor(tv.horizontal_flip(expected) if flip else expected)
        torch.testing.assert_close(image, normalise(expected[None], MEAN, STD)[0])
    assert flips.any() and not flips.all()


def test_every_corner_is_met_and_none_outside(paths: list[Path]) -> None:
    draws = batches(paths, repeat=400)._draws(torch.arange(3600), epoch=0)
    places = (draws[:, 1:3] * 3).int()  # 34 pixels leave three places for 32
    assert places.min() == 0 and places.max() == 2
    assert (places[:, 0].bincount() - 1200).abs().max() < 4 * (3600 * 1 / 3 * 2 / 3) ** 0.5


def test_workers_give_the_batches_of_one_process(paths: list[Path]) -> None:
    options = {"repeat": 20, "batch_size": PIECE + 9, "flip": True}
    assert same(batches(paths, workers=2, **options).epoch(1), batches(paths, **options).epoch(1))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are started anew")
def test_a_process_of_a_pool_starts_its_workers_like_any_other(paths: list[Path], monkeypatch) -> None:
    """There the default is "spawn", under which each worker of each epoch imports PyTorch and pickles the images."""
    monkeypatch.setattr(
        multiprocessing.context._default_context, "_actual_context", multiprocessing.get_context("spawn")
    )
    stream = batches(paths, workers=2)
    stream.images.images.decoder = lambda: "cannot be pickled"
    assert same(stream.epoch(1), batches(paths).epoch(1))


@pytest.mark.parametrize("start", [0, 1, 2])
def test_an_epoch_can_be_entered_anywhere_without_decoding_what_came_before(paths, monkeypatch, start: int) -> None:
    whole = list(batches(paths, flip=True).epoch(7))[start:]
    decoded = []
    decode = EncodedImages.decode
    monkeypatch.setattr(EncodedImages, "decode", lambda self, number: decoded.append(number) or decode(self, number))
    assert same(batches(paths, flip=True).epoch(7, start), whole)
    assert sorted(decoded) == sorted(torch.cat([labels for _, labels in whole]).tolist())


def test_order_and_augmentation_depend_on_seed_and_epoch_alone(paths: list[Path]) -> None:
    def epoch(seed: int, epoch: int) -> torch.Tensor:
        return torch.cat([images for images, _ in batches(paths, seed=seed, flip=True).epoch(epoch)])

    assert torch.equal(epoch(1, 2), epoch(1, 2))
    assert not torch.equal(epoch(1, 2), epoch(1, 3))
    assert not torch.equal(epoch(1, 2), epoch(2, 2))


def test_a_share_of_each_batch_is_that_part_of_it(paths: list[Path]) -> None:
    whole = list(batches(paths).epoch(0))
    share = batches(paths).epoch(0, 0, lambda count: slice(count // 2, count))
    assert same(share, [(images[len(images) // 2 :], labels[len(labels) // 2 :]) for images, labels in whole])


def test_a_share_can_be_empty(paths: list[Path]) -> None:
    # Nine images in batches of four: the last one has a single image, and none for the second half.
    sizes = [len(images) for images, _ in batches(paths).epoch(0, 0, lambda count: slice((count + 1) // 2, count))]
    assert sizes == [2, 2, 0]


def test_evaluation_of_a_stream_is_that_of_its_tensor(paths: list[Path]) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 9))
    stream, labels = streamed(paths), torch.arange(9)
    held = torch.cat(list(stream.split(9)))
    found, expected = (evaluate(model, images, labels, batches(paths), size=4) for images in (stream, held))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_decoded_is_named_in_one_line(paths: list[Path], tmp_path: Path, workers: int) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:60])
    with pytest.raises(UsageError, match="broken.png cannot be decoded") as raised:
        list(batches([*paths, broken], workers=workers).epoch(0))
    assert "\n" not in str(raised.value)


def test_a_set_whose_card_says_resize_is_streamed_and_can_be_cut(tiny_root: Path) -> None:
    imagenet = data.load("imagenet", tiny_root)
    assert isinstance(imagenet.train_images, StreamedImages)
    part = imagenet.subset(6)
    images, labels = next(part.batches(4, seed=0).epoch(0))
    assert images.shape == (4, 3, 64, 64) and len(part.train_images) == 6 and set(labels.tolist()) <= set(range(6))


def test_streaming_leaves_the_global_random_state_alone(paths: list[Path]) -> None:
    before = torch.get_rng_state()
    list(batches(paths, workers=1, flip=True).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_streamed_run_stopped_within_an_epoch_goes_on_exactly(tiny_root: Path) -> None:
    def begun() -> Training:
        phases = (Phase(epoch=0, lr=0.1, momentum=0.9),)
        config = RunConfig(network="c1", dataset="imagenet", batch_size=4, regime=phases, epochs=2)  # has dropout
        return prepare(config, Execution(device="cpu", threads=1))

    whole, stopped, resumed = begun(), begun(), begun()
    train(whole)
    images = stopped.batches.epoch

    def until_the_fourth(*arguments):
        for pair in images(*arguments):
            stopped.stop = stopped.update == 3
            yield pair

    stopped.batches.epoch = until_the_fourth
    with pytest.raises(Interrupted):
        train(stopped)
    resumed.load_state_dict(stopped.state_dict())
    train(resumed)
    assert (stopped.update, resumed.update, whole.total_updates) == (4, 6, 6)
    for mine, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert resumed.history == whole.history
