"""Data sets: what comes out of real formats, and what is said of files that are missing or damaged."""

import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import torchvision
from PIL import Image
from pyarrow import parquet
from torchvision.transforms.v2 import functional as tv

from gbnlib import data
from gbnlib.data import cards, sources
from gbnlib.errors import UsageError
from tests.data.formats import encoded, picture


def put(name: str, entry: data.Card) -> None:
    """Replace a card of the patched catalogue."""
    cards.catalog()[name] = entry
    sources.load.cache_clear()


def test_digits_are_split_by_class_and_share_no_image() -> None:
    digits = data.load("digits")
    assert digits.train_images.shape == (4000, 1, 28, 28) and digits.train_images.dtype == torch.uint8
    assert digits.train_labels.bincount().tolist() == [400] * 10
    assert digits.validation_labels.bincount().tolist() == [100] * 10
    train = {image.numpy().tobytes() for image in digits.train_images}
    assert not any(image.numpy().tobytes() in train for image in digits.validation_images)


def test_the_split_of_the_digits_never_changes() -> None:
    digits = data.load("digits")
    # Sums over the pixels of the two parts, taken when the split was fixed.
    sums = [int(images.long().sum()) for images in (digits.train_images, digits.validation_images)]
    assert sums == [105_427_129, 25_839_973]


def test_idx_files_are_read_as_they_were_written(tiny_root: Path) -> None:
    dataset = data.load("mnist", tiny_root)
    assert dataset.train_images.shape == (12, 1, 28, 28)
    assert dataset.train_images[3, 0, 2, 5] == (3 * 784 + 2 * 28 + 5) % 251
    assert dataset.validation_labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "files", "key"),
    [("cifar10", [f"data_batch_{n}" for n in range(1, 6)], "labels"), ("cifar100", ["train"], "fine_labels")],
)
def test_cifar_is_read_as_torchvision_reads_it(tiny_root: Path, name: str, files: list[str], key: str) -> None:
    dataset = data.load(name, tiny_root)
    contents = [pickle.loads((tiny_root / dataset.card.folder / file).read_bytes()) for file in files]
    # As torchvision.datasets.CIFAR10 does it: rows of 3,072 bytes, the red plane first, row by row.
    rows = np.vstack([content["data"] for content in contents]).reshape(-1, 3, 32, 32)
    assert torch.equal(dataset.train_images, torch.from_numpy(rows))
    assert dataset.train_labels.tolist() == [label for content in contents for label in content[key]]
    assert len(dataset.validation_labels) == 5


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_the_checksums_of_cifar_are_those_of_torchvision(name: str) -> None:
    theirs = getattr(torchvision.datasets, name)
    card = data.card(name.lower())
    assert card.files == dict(theirs.train_list + theirs.test_list)
    assert card.folder == theirs.base_folder


@pytest.mark.parametrize("name", ["cifar10-jpeg", "tiny-imagenet-32"])
def test_parquet_images_are_what_pillow_and_torchvision_decode(tiny_root: Path, name: str) -> None:
    dataset = data.load(name, tiny_root)
    assert torch.equal(dataset.train_images[7], tv.pil_to_tensor(Image.open(io.BytesIO(encoded(picture(7))))))
    assert dataset.train_labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_a_card_with_fewer_classes_takes_the_first_ones(tiny_root: Path) -> None:
    whole = data.load("tiny-imagenet-32", tiny_root)
    put("few", replace(whole.card, name="few", classes=3, train=5, validation=3))
    few = data.load("few", tiny_root)
    assert few.train_labels.tolist() == [0, 1, 2, 0, 1]
    assert torch.equal(few.train_images, whole.train_images[[0, 1, 2, 10, 11]])


def test_a_png_and_a_bare_bytes_column_are_read_too(tiny_root: Path) -> None:
    card = replace(data.card("cifar10-jpeg"), files={"train.parquet": "", "test.parquet": ""}, train=2, validation=2)
    for file in card.files:
        images = [encoded(picture(number), "PNG") for number in range(2)]
        parquet.write_table(pa.table({"image": images, "label": [0, 1]}), tiny_root / card.folder / file)
    sums = {file: data.presence.checksum(tiny_root / card.folder / file) for file in card.files}
    put("cifar10-jpeg", replace(card, files=sums))
    exact = torch.from_numpy(np.array(picture(1))).permute(2, 0, 1)
    assert torch.equal(data.load("cifar10-jpeg", tiny_root).train_images[1], exact)


def test_an_image_folder_has_its_classes_in_the_order_of_their_names(tiny_root: Path) -> None:
    dataset = data.load("imagenet", tiny_root)
    assert dataset.train_labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    theirs = torchvision.datasets.ImageFolder(str(tiny_root / "imagenet" / "val"))
    assert dataset.validation_labels.tolist() == theirs.targets


def test_an_image_folder_of_one_size_can_be_held_in_memory(tiny_root: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            place = tiny_root / "own" / split / name
            place.mkdir(parents=True)
            picture(3).save(place / "1.png")
    card = data.card("imagenet")
    put("own", replace(card, name="own", folder="own", classes=2, train=2, validation=2, resize=0, image_size=32))
    assert data.load("own", tiny_root).train_images.shape == (2, 3, 32, 32)


def test_a_missing_file_says_where_how_and_what_else(tiny_root: Path) -> None:
    (tiny_root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UsageError, match=r"missing: .*t10k-labels.*gbn data fetch mnist.*GBN_DATA.*quick"):
        data.load("mnist", tiny_root)


def test_a_missing_set_that_is_not_downloaded_says_what_to_put_where(tmp_path: Path) -> None:
    words = (
        r"CIFAR-10 \(JPEG\) is not there .*not downloaded by gbnlib.*put train-.*, test-.* into .*cifar10-jpeg by hand"
    )
    with pytest.raises(UsageError, match=words):
        data.load("cifar10-jpeg", tmp_path)
    with pytest.raises(UsageError, match=r"ImageNet is not there .*put the folders train and val into .*imagenet"):
        data.load("imagenet", tmp_path)
    with pytest.raises(UsageError, match=r"ImageNet: missing.*image-net.org"):
        data.fetch("imagenet", tmp_path)


def test_a_download_without_network_says_what_to_put_where(tmp_path: Path, monkeypatch) -> None:
    def refuse(root: Path, download: bool) -> None:
        raise OSError("[Errno -3] no network")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", refuse)
    words = (
        r"CIFAR-10 could not be downloaded \(\[Errno -3\] no network\).*put data_batch_1, .* into .*cifar-10-batches-py"
    )
    with pytest.raises(UsageError, match=words):
        data.fetch("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte"),
        ("cifar10", "cifar-10-batches-py/data_batch_3"),
        ("cifar10-jpeg", "cifar10-jpeg/train-00000-of-00001.parquet"),
    ],
)
@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_file_is_refused(tiny_root: Path, name: str, file: str, damage: str) -> None:
    path = tiny_root / file
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[100] ^= 1
    path.write_bytes(content if damage == "flip" else content[:-1])
    with pytest.raises(UsageError, match=f"damaged: .*{path.name}.*Delete the file"):
        data.load(name, tiny_root)


def one_line(call) -> str:
    """The message of the error that a call raises."""
    with pytest.raises(UsageError) as raised:
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def rewritten(root: Path, name: str, file: str, content: bytes) -> None:
    """Give a set other content in a file, under the sum of that content."""
    path = root / data.card(name).folder / file
    path.write_bytes(content)
    card = data.card(name)
    put(name, replace(card, files={**card.files, file: data.presence.checksum(path)}))


def test_files_of_another_format_are_one_line(tiny_root: Path) -> None:
    rewritten(tiny_root, "cifar100", "train", pickle.dumps({"data": 1}))
    assert "train is not a batch of CIFAR" in one_line(lambda: data.load("cifar100", tiny_root))
    rewritten(tiny_root, "cifar100", "train", b"nothing")
    assert "train is not a batch of CIFAR" in one_line(lambda: data.load("cifar100", tiny_root))
    rewritten(tiny_root, "cifar10-jpeg", "train-00000-of-00001.parquet", b"nothing")
    assert "cannot be read as parquet" in one_line(lambda: data.load("cifar10-jpeg", tiny_root))


def test_parquet_without_the_columns_or_with_broken_images_is_one_line(tiny_root: Path) -> None:
    def write(table: pa.Table) -> None:
        stream = pa.BufferOutputStream()
        parquet.write_table(table, stream)
        rewritten(tiny_root, "cifar10-jpeg", "train-00000-of-00001.parquet", stream.getvalue().to_pybytes())

    write(pa.table({"picture": [b""], "label": [0]}))
    assert "has the columns picture, label; needed are label, and image or img" in one_line(
        lambda: data.load("cifar10-jpeg", tiny_root)
    )
    write(pa.table({"img": [b"no image"], "label": [0]}))
    assert "image 0 cannot be decoded" in one_line(lambda: data.load("cifar10-jpeg", tiny_root))


def test_counts_labels_and_sizes_must_be_those_of_the_card(tiny_root: Path) -> None:
    card = data.card("cifar10-jpeg")
    put("cifar10-jpeg", replace(card, train=13))
    assert "has (12, 5) images, expected (13, 5)" in one_line(lambda: data.load("cifar10-jpeg", tiny_root))
    put("cifar10-jpeg", replace(card, image_size=16))
    assert "32 × 32 pixels, not 16 × 16" in one_line(lambda: data.load("cifar10-jpeg", tiny_root))
    put("mnist", replace(data.card("mnist"), classes=9))
    assert "has labels from 0 to 9, expected 0 to 8" in one_line(lambda: data.load("mnist", tiny_root))


def test_an_unknown_set_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'mnist'"):
        data.load("mnits")


def test_a_subset_is_the_same_for_every_seed_and_of_the_asked_size() -> None:
    digits = data.load("digits")
    torch.manual_seed(1)
    first = digits.subset(256)
    torch.manual_seed(2)
    assert torch.equal(first.train_images, digits.subset(256).train_images)
    assert len(first.train_labels) == 256
    assert digits.subset(0) is digits
    with pytest.raises(UsageError, match="train_size is 4001"):
        digits.subset(4001)


def test_held_out_images_are_training_images_that_are_not_trained_on() -> None:
    digits = data.load("digits")
    plain, kept = digits.subset(256), digits.subset(256, held_out=100)
    assert torch.equal(kept.train_images, plain.train_images)
    assert len(kept.validation_labels) == 100
    rows = {tuple(image.flatten().tolist()) for image in digits.train_images}
    held = {tuple(image.flatten().tolist()) for image in kept.validation_images}
    assert held <= rows and not held & {tuple(image.flatten().tolist()) for image in kept.train_images}
    rest = digits.subset(0, held_out=1000)
    assert (len(rest.train_labels), len(rest.validation_labels)) == (3000, 1000)
    with pytest.raises(UsageError, match="train_size is 3500 beside 501 held out, but"):
        digits.subset(3500, held_out=501)


def test_every_card_is_complete_and_its_set_checked() -> None:
    labels = [card.label for card in data.catalog().values()]
    assert len(labels) == len(set(labels))
    for name, card in data.catalog().items():
        assert card.label and card.source and card.licence and card.note
        assert data.check(name).startswith(("ready", "missing"))
    assert data.check("digits") == data.check("synthetic") == "ready"


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "cifar10-jpeg", "tiny-imagenet-32-100"])
def test_cifar_and_its_stand_ins_have_the_official_augmentation(name: str) -> None:
    card = data.card(name)
    assert (card.pad, card.fill, card.flip) == (4, 127, True)
    assert (card.mean, card.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (card.image_size, card.train) == (32, 50_000)


OWN = """
[flowers]
label = "Flowers"
source = "own photographs"
licence = "CC0"
kind = "folder"
exact = true
note = "For this test."
classes = 2
channels = 3
image_size = 32
train = 2
validation = 2
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
folder = "flowers"
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN.replace("flowers]", "mnist]"), "'mnist' is a set of the suite"),
        (OWN.replace("classes = 2", ""), "card 'flowers': classes: Field required"),
        (OWN.replace("classes = 2", "classes = 0"), "card 'flowers': classes: Input should be greater than 0"),
        (OWN.replace("[0.5, 0.5, 0.5]", "[0.5]", 1), "mean and std need 3 values"),
        (OWN + "resize = 16\n", "resize is 16; it must be 0 or at least image_size, 32"),
        (OWN.replace("std = [0.5", "std = [0.0"), "card 'flowers': std.0: Input should be greater than 0"),
        (OWN + "fill = 300\n", "card 'flowers': fill: Input should be less than or equal to 255"),
        (OWN + "colour = 3\n", "card 'flowers': colour"),
        ("[flowers", "catalog.toml: "),
    ],
)
def test_what_is_wrong_with_a_card_of_ones_own_is_one_line(
    tmp_path: Path, monkeypatch, text: str, message: str
) -> None:
    (tmp_path / "catalog.toml").write_text(text)
    monkeypatch.setenv("GBN_DATA", str(tmp_path))
    assert message in one_line(data.catalog)


def test_a_card_in_the_data_root_adds_a_set_of_ones_own(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "catalog.toml").write_text(OWN)
    monkeypatch.setenv("GBN_DATA", str(tmp_path))
    for split in ("train", "val"):
        for name in ("rose", "tulip"):
            (tmp_path / "flowers" / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / "flowers" / split / name / "1.png")
    assert data.load("flowers", tmp_path).train_labels.tolist() == [0, 1]
