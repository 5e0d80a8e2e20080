"""What a card may say: names and paths that stay inside, numbers that can be worked with."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gbnlib import data
from gbnlib.data import cards
from gbnlib.errors import UsageError

ENTRY = {
    "label": "Flowers",
    "source": "own photographs",
    "licence": "CC0",
    "kind": "folder",
    "exact": True,
    "note": "For this test.",
    "classes": 2,
    "channels": 3,
    "image_size": 32,
    "train": 2,
    "validation": 2,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "folder": "flowers",
}


@given(
    st.text(max_size=12) | st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True),
    st.text(max_size=20) | st.lists(st.sampled_from(["..", ".", "a", "", "\\", "a b"]), max_size=6).map("/".join),
    st.text(max_size=20) | st.lists(st.sampled_from(["..", ".", "a", "", "\0", "b.c"]), max_size=6).map("/".join),
)
def test_nothing_that_a_card_names_lies_outside_the_data_root(name: str, folder: str, file: str) -> None:
    root = "/the/data/root"
    try:
        card = cards.checked(name, {**ENTRY, "folder": folder, "files": {file: ""}})
    except UsageError as error:
        assert "\n" not in str(error)
        return
    for path in (card.name, card.folder, os.path.join(card.folder, file)):
        assert os.path.normpath(os.path.join(root, path)).startswith(root)
    assert os.path.normpath(os.path.join(root, card.name)) == f"{root}/{card.name}"
    assert set(card.name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "../outside"}, "folder: '../outside' leads out of the data root"),
        ({"folder": "/etc"}, "'/etc' leads out of the data root"),
        ({"files": {"a/../../b": "0"}}, "'a/../../b' leads out of the data root"),
        ({"files": {"/dev/zero": "0"}}, "'/dev/zero' leads out of the data root"),
        ({"torchvision": "os"}, "torchvision: Input should be '', 'MNIST', 'FashionMNIST', 'KMNIST', 'CIFAR10' or "),
        ({"torchvision": "__builtins__"}, "torchvision: Input should be "),
        ({"torchvision": "FakeData"}, "torchvision: Input should be "),
        ({"image_size": 10**9}, "image_size: Input should be less than or equal to 2048"),
        ({"resize": 10**9}, "resize: Input should be less than or equal to 2048"),
        ({"classes": 10**9}, "classes: Input should be less than or equal to 100000"),
        ({"pad": 10**9}, "pad is 1000000000; it must be at most image_size, 32"),
        ({"kind": "synthetic", "train": 10**9}, "a synthetic set has 134,217,728"),
        ({"mean": [float("nan")] * 3}, "mean must lie in [0, 1] and std in [0.001, 1]"),
        ({"mean": [float("inf"), 0.5, 0.5]}, "mean must lie in [0, 1]"),
        ({"mean": [127.5] * 3}, "mean must lie in [0, 1]"),
        ({"std": [0.0] * 3}, "std.0: Input should be greater than 0"),
        ({"std": [float("nan")] * 3}, "std.0: Input should be"),
        ({"std": [float("inf")] * 3}, "std in [0.001, 1]"),
        ({"std": [1e-30] * 3}, "std in [0.001, 1]"),
    ],
)
def test_what_cannot_be_worked_with_is_one_line(changes: dict, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        cards.checked("flowers", ENTRY | changes)
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "['../x']\n",
        "['']\n",
        "['a b']\n",
        "flowers = 3\n",
        "x = " + "[" * 10_000,
        f"x = {'9' * 10_000}\n",
        "a = '\\xff",
    ],
)
def test_a_catalogue_that_is_no_catalogue_is_one_line_that_names_it(tmp_path: Path, monkeypatch, text: str) -> None:
    (tmp_path / "catalog.toml").write_bytes(text.encode().replace(b"\\xff", b"\xff"))
    monkeypatch.setenv("GBN_DATA", str(tmp_path))
    with pytest.raises(UsageError, match=r"^[^\n]*catalog\.toml: [^\n]*$"):
        data.catalog()
