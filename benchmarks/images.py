"""Images a second that a device gets of a streamed set: decoded by worker processes, and read from the cache.

Two sets of 3,000 images, resized to 256 pixels and cropped to 224: made pictures of 500 × 375 pixels, as large in JPEG
as photographs, and images of Tiny ImageNet at 32 pixels, where the data root has them. The two ways take turns, an
epoch each, with a worker a core; figures are medians over the rounds, the ratio is the median of the ratios of each
round. All files are in memory by then: of a set that does not fit into it, a disk can give fewer. The crops are uint8:
what is done with them on the device is not measured.

It writes images.json to results/reference/benchmarks.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gbnlib import data, files
from gbnlib.data.prepare import prepare
from gbnlib.experiments import provenance
from gbnlib.training.devices import keep_freed_memory

IMAGES, BATCH_SIZE, ROUNDS = 3000, 256, 3
CORES = len(os.sched_getaffinity(0))
TINY = "tiny-imagenet-32-224"


def photographs() -> Iterator[Image.Image]:
    """Coarse colours under fine noise, which takes about 100 kB as JPEG, as many a photograph of that size."""
    chance = np.random.default_rng(0)
    noise = chance.normal(0, 22, (375, 500, 3))
    for number in range(IMAGES):
        coarse = Image.fromarray(chance.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375))
        yield Image.fromarray((np.asarray(coarse) + np.roll(noise, number, 0)).clip(0, 255).astype(np.uint8))


def written(folder: Path, images: Iterator[Image.Image]) -> None:
    """An image folder of one class; the first images are for validation too."""
    for number, image in enumerate(images):
        for split in ("train", "val") if number < 10 else ("train",):
            files.make_folder(folder / split / "class")
            image.save(folder / split / "class" / f"{number:05}.jpg", quality=90)


def seconds_of_an_epoch(images: data.StreamedImages, epoch: int) -> float:
    """How long the crops of an epoch take, uint8, in batches."""
    labels = torch.zeros(len(images), dtype=torch.int64)
    batches = data.StreamBatches(images, labels, BATCH_SIZE, 0, mean=(0.5,) * 3, std=(0.25,) * 3, flip=True)
    draws = batches._draws(batches.order(epoch), epoch)
    started = time.perf_counter()
    for _ in images.crops(draws.split(BATCH_SIZE)):
        pass
    return time.perf_counter() - started


def measured(label: str, name: str, root: Path) -> dict:
    """Images a second of one set in both ways, and the bytes of its files and of its cache."""
    prepare(name, root)
    ways = {"cached": data.load(name, root).train_images}
    ways["decoded"] = ways["cached"][torch.arange(IMAGES)]
    ways["decoded"].cache = None
    for images in ways.values():
        images.workers = CORES
    seconds = [{way: seconds_of_an_epoch(images, epoch) for way, images in ways.items()} for epoch in range(ROUNDS)]
    row = {
        "images": label,
        "encoded_kb": sum(path.stat().st_size for path in (root / name / "train").rglob("*.jpg")) / IMAGES / 1e3,
        "cached_kb": sum(path.stat().st_size for path in (root / f"{name}.cache").glob("train*")) / IMAGES / 1e3,
        **{way: IMAGES / statistics.median(each[way] for each in seconds) for way in ways},
        "ratio": statistics.median(each["decoded"] / each["cached"] for each in seconds),
    }
    print(row, flush=True)
    return row


def main() -> None:
    """Make the sets, measure, write."""
    torch.set_num_threads(CORES)
    keep_freed_memory()  # as in training
    sets = {"photo": ("500 × 375 pixels", photographs())}
    if data.check(TINY) == "ready":
        tiny = data.load(TINY).train_images.images
        sets["tiny"] = ("Tiny ImageNet, 32 × 32 pixels", map(tiny.decode, range(IMAGES)))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, (_, images) in sets.items():
            written(root / name, islice(images, IMAGES))
        cards = [data.describe(name, root).replace("image_size = 32", "image_size = 224") for name in sets]
        cards = [card.replace("resize = 0", "resize = 256").replace("pad = 4", "pad = 0") for card in cards]
        files.write_text(root / "catalog.toml", "\n".join(cards))
        os.environ["GBN_DATA"] = str(root)
        rows = [measured(label, name, root) for name, (label, _) in sets.items()]
    facts = {**provenance.software(), **provenance.hardware(), "threads": CORES, "rounds": ROUNDS, "rows": rows}
    files.write_json(files.reference_root() / "benchmarks" / "images.json", facts)


if __name__ == "__main__":
    main()
