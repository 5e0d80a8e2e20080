"""Which of a set's parquet files are for training and which for validation: by name, never by guessing."""

import re
from collections.abc import Iterable
from pathlib import Path

from gbnlib.data.reading import shown
from gbnlib.errors import UsageError

#: What the splits are called, training first; a set that has validation images keeps its test images apart.
TRAINING = ("train", "training")
VALIDATION = ("validation", "valid", "val", "dev")
TEST = ("test", "testing", "eval", "evaluation")

#: The number that a part of a split has behind its name, as "train-00000-of-00002-1f2e3d.parquet".
PART = re.compile(r"[-_.]?\d+([-_]of[-_]\d+([-_][0-9a-f]+)?)?$")


def split_of(path: Path) -> str:
    """The split that a parquet file belongs to, by its name, or by its folder's where the file has none."""
    name, folder = PART.sub("", path.stem.lower()), path.parent.name.lower()
    known = TRAINING + VALIDATION + TEST
    return folder if name not in known and folder in known else name


def parquet_splits(paths: Iterable[Path], listed: bool = False) -> list[list[Path]]:
    """Parquet files for training, and for validation: those of the validation split, or where there is none of test.

    Parameters
    ----------
    paths : the files.
    listed : a card lists them, so that the one split beside train is for validation, whatever its name.

    Raises
    ------
    UsageError : one of the two is missing, another split has an unknown name, or one is in several folders.
    """
    splits: dict[str, list[Path]] = {}
    for path in paths:
        splits.setdefault(split_of(path), []).append(path)
    train, validation, test = ([name for name in names if name in splits] for names in (TRAINING, VALIDATION, TEST))
    strange = sorted(set(splits) - {*train, *validation, *test})
    chosen = [*train, *(validation or test)]
    if listed and len(splits) == 2 and strange and train:
        chosen, strange = [*train, *strange], []
    if strange or len(train) != 1 or len(chosen) != 2:
        found = shown(", ".join(sorted(splits))) or "none"
        raise UsageError(
            f"Parquet files of one split train are needed, and of one called {', '.join(VALIDATION)} or test for "
            f"validation; the splits found are: {found}. Move the files of the others "
            "elsewhere, or list the files of two splits in the card."
        )
    for name in chosen:
        if len(folders := sorted({shown(path.parent) for path in splits[name]})) > 1:  # several data sets
            told = f"The split {name} is in several folders: {', '.join(folders)}"
            raise UsageError(f"{told}. Move all but one elsewhere.")
    return [splits[name] for name in chosen]
