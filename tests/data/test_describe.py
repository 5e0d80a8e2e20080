"""Cards made for images of one's own, and the sets that they then name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gbnlib import data
from gbnlib.errors import UsageError
from tests.data.formats import picture, write_folder, write_parquet


def added(root: Path, name: str, monkeypatch) -> data.Dataset:
    """The set that a described folder is, after its card was put into the catalogue of the data root."""
    monkeypatch.setenv("GBN_DATA", str(root))
    (root / "catalog.toml").write_text(data.describe(name))
    return data.load(name, root)


def test_parquet_files_become_a_set_kept_in_memory(tmp_path: Path, monkeypatch) -> None:
    write_parquet(tmp_path / "mine" / "data" / "train-0.parquet", "img", 7, "PNG")
    write_parquet(tmp_path / "mine" / "data" / "test-0.parquet", "img", 3, "PNG")
    mine = added(tmp_path, "mine", monkeypatch)
    assert mine.train_images.shape == (7, 3, 32, 32) and mine.validation_labels.tolist() == [0, 1, 2]
    assert (mine.card.classes, mine.card.pad, mine.card.resize) == (7, 4, 0)
    pixels = np.stack([np.asarray(picture(number)) for number in range(7)]) / 255
    np.testing.assert_allclose(mine.card.mean, pixels.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(mine.card.std, pixels.std((0, 1, 2)), atol=1e-4)


def test_an_image_folder_of_several_sizes_becomes_a_streamed_set(tmp_path: Path, monkeypatch) -> None:
    write_folder(tmp_path / "mine")
    mine = added(tmp_path, "mine", monkeypatch)
    assert (mine.card.image_size, mine.card.resize, mine.card.pad) == (224, 256, 0)
    assert torch.cat(list(mine.validation_images.split(4))).shape == (6, 3, 224, 224)
    (tmp_path / "mine" / "train" / "n00000001" / "0.JPEG").write_bytes(b"")
    assert data.check("mine").startswith("damaged: ")


def test_a_name_with_a_dot_is_one_key(tmp_path: Path, monkeypatch) -> None:
    write_folder(tmp_path / "my.images")
    assert added(tmp_path, "my.images", monkeypatch).card.label == "my.images"


@pytest.mark.parametrize("name", ["sets/flowers", "flowers/", "/flowers", 'my."images"', "..", "", "a b", "a\n", "é"])
def test_a_name_that_is_more_than_a_name_is_refused(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "flowers")
    with pytest.raises(UsageError, match="a folder directly in|cannot name a data set"):
        data.describe(name, tmp_path)


def test_what_cannot_be_described_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty holds neither parquet files nor the folders train and val"):
        data.describe("empty", tmp_path)
    write_parquet(tmp_path / "half" / "train.parquet", "img", 2)
    with pytest.raises(
        UsageError, match="of one split train are needed, .* for validation; the splits found are: train"
    ):
        data.describe("half", tmp_path)
