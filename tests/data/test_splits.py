"""Which parquet files are for training and which for validation: by their names, or not at all."""

from pathlib import Path

import pytest

from gbnlib import data
from gbnlib.data.splits import parquet_splits, split_of
from gbnlib.errors import UsageError
from tests.data.formats import write_parquet


def put(folder: Path, **splits: int) -> None:
    """Parquet files named as Hugging Face names them, with so many images in each split."""
    for split, count in splits.items():
        write_parquet(folder / f"{split}-00000-of-00001.parquet", "image", count, "PNG")


def counts(card: str) -> list[str]:
    return [line for line in card.splitlines() if line.startswith(("train =", "validation ="))]


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train-00000-of-00001.parquet", "train"),
        ("data/train-00003-of-00010-a09b74b3ef9c3b56.parquet", "train"),
        ("Train_07.parquet", "train"),
        ("train.parquet", "train"),
        ("test2.parquet", "test"),
        ("default/train/0000.parquet", "train"),
        ("validation/part-3.parquet", "validation"),
        ("train_extra-00000-of-00001.parquet", "train_extra"),
        ("trainval-0.parquet", "trainval"),
    ],
)
def test_the_split_is_the_name_without_the_number_of_the_part(path: str, split: str) -> None:
    assert split_of(Path(path)) == split


@pytest.mark.parametrize("validation", ["validation", "valid", "val", "dev", "test"])
def test_train_and_one_known_split_are_the_two(tmp_path: Path, validation: str) -> None:
    put(tmp_path / "mine", train=7, **{validation: 3})
    assert counts(data.describe("mine", tmp_path)) == ["train = 7", "validation = 3"]


def test_a_set_with_validation_images_keeps_its_test_images_apart(tmp_path: Path) -> None:
    put(tmp_path / "mine", train=7, validation=3, test=5)
    card = data.describe("mine", tmp_path)
    assert counts(card) == ["train = 7", "validation = 3"] and "test-00000" not in card


@pytest.mark.parametrize(
    "splits",
    [
        {"train": 5, "test": 2, "extra": 6},
        {"train": 5, "extra": 6},
        {"train": 5, "train_extra": 6, "test": 2},
        {"train": 5, "val": 2, "dev": 2},
        {"train": 5},
        {"validation": 5, "test": 2},
    ],
)
def test_what_is_ambiguous_is_refused_with_the_names_that_were_found(tmp_path: Path, splits: dict[str, int]) -> None:
    put(tmp_path / "mine", **splits)
    with pytest.raises(UsageError, match=f"the splits found are: {', '.join(sorted(splits))}"):
        data.describe("mine", tmp_path)


def test_the_same_split_in_two_folders_is_two_data_sets(tmp_path: Path) -> None:
    for part in ("cropped", "full"):
        put(tmp_path / "mine" / part, train=3, test=2)
    with pytest.raises(UsageError, match="The split train is in several folders: .*cropped, .*full"):
        data.describe("mine", tmp_path)


def test_a_card_says_what_is_for_validation() -> None:
    listed = [Path("train-0.parquet"), Path("holdout-0.parquet")]
    assert parquet_splits(listed, listed=True) == [listed[:1], listed[1:]]
    with pytest.raises(UsageError, match="the splits found are: holdout, train"):
        parquet_splits(listed)
    with pytest.raises(UsageError, match="the splits found are: extra, holdout, train"):
        parquet_splits([*listed, Path("extra-0.parquet")], listed=True)
