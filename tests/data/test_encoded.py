"""Parquet files whose labels or images are not what they have to be: said in one line, never rounded or left out."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from gbnlib import data
from gbnlib.data.encoded import read_parquet
from gbnlib.errors import UsageError
from tests.data.formats import encoded, picture

PNG = [encoded(picture(number), "PNG") for number in range(3)]


def written(path: Path, labels: list | pa.Array, images: list | pa.Array = PNG, names: list[str] | None = None) -> Path:
    """A parquet file with these columns, perhaps with the names of the classes as Hugging Face stores them."""
    table = pa.table({"image": images, "label": labels})
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


def refused(tmp_path: Path, labels: list | pa.Array, images: list | pa.Array = PNG) -> str:
    path = written(tmp_path / "train.parquet", labels, images)
    with pytest.raises(UsageError) as raised:
        read_parquet([path], 3)
    assert "\n" not in str(raised.value) and "train.parquet" in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, None, 1], "has 1 images whose label is null"),
        ([None, None, None], "has labels of type null"),
        ([0.0, float("nan"), 1.0], "has labels that are not whole numbers"),
        ([0.0, 0.5, 1.0], "has labels that are not whole numbers"),
        ([0.0, float("inf"), 1.0], "has labels that are not whole numbers"),
        ([0, -1, 1], "image 1 has the label -1"),
        (pa.array([0, 2**63, 1], pa.uint64()), "has labels that are not whole numbers"),
        (["cat", "dog", "cat"], "has labels of type string"),
        (["0", "1", "2"], "has labels of type string"),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "has labels of type dictionary<"),
        ([[0], [1], [2]], "has labels of type list<"),
        (pa.array([0, 1, 2], pa.timestamp("s")), "has labels of type timestamp"),
    ],
)
def test_labels_that_are_not_numbers_of_classes_are_refused(tmp_path: Path, labels, message: str) -> None:
    assert message in refused(tmp_path, labels)


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float32(), pa.bool_()])
def test_whole_numbers_of_any_type_are_labels(tmp_path: Path, kind: pa.DataType) -> None:
    path = written(tmp_path / "train.parquet", pa.array([1, 0, 1]).cast(kind))
    _, labels = read_parquet([path], 3)
    assert labels.dtype == torch.int64 and labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([{"bytes": None, "path": f"{number}.png"} for number in range(3)], "image 0 has no bytes, a path at most"),
        ([{"bytes": PNG[0], "path": "0"}, {"bytes": None, "path": "1"}, None], "image 1 has no bytes"),
        ([PNG[0], None, PNG[2]], "image 1 has no bytes"),
        ([{"path": f"{number}.png"} for number in range(3)], "holds struct<path: string> in place of the bytes"),
        (["0.png", "1.png", "2.png"], "holds string in place of the bytes"),
        ([[0, 1], [2, 3], [4, 5]], "holds list<"),
    ],
)
def test_images_without_bytes_are_refused_before_training(tmp_path: Path, images: list, message: str) -> None:
    assert message in refused(tmp_path, [0, 1, 2], images)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    assert "holds no images" in refused(tmp_path, pa.array([], pa.int64()), pa.array([], pa.binary()))


def test_splits_that_number_their_classes_differently_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "mine" / "train-0.parquet", [0, 1, 2], names=["apple", "pear", "plum"])
    written(tmp_path / "mine" / "test-0.parquet", [0, 1, 1], names=["apple", "pear", "plum"])
    assert "classes = 3" in data.describe("mine", tmp_path)
    written(tmp_path / "mine" / "test-0.parquet", [0, 1, 1], names=["apple", "plum"])
    with pytest.raises(UsageError, match="test-0.parquet numbers its classes otherwise"):
        data.describe("mine", tmp_path)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_constant_images_are_not_described(tmp_path: Path, level: int) -> None:
    constant = encoded(Image.fromarray(np.full((8, 8, 3), level, np.uint8)), "PNG")
    for split in ("train", "test"):
        written(tmp_path / "mine" / f"{split}.parquet", [0, 1, 0], [constant] * 3)
    with pytest.raises(UsageError, match=r"the training images are constant; their standard deviations are \[0.0"):
        data.describe("mine", tmp_path)
