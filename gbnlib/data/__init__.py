"""Data sets, on the device or streamed to it, and their batches, which are pure functions of (seed, epoch)."""

from typing import TYPE_CHECKING

from gbnlib.data.cards import Card, card, catalog
from gbnlib.data.presence import check, fetch
from gbnlib.lazy import names_of

if TYPE_CHECKING:
    from gbnlib.data.batches import Batches, normalise
    from gbnlib.data.describe import describe
    from gbnlib.data.sources import Dataset, load
    from gbnlib.data.stream import StreamBatches, StreamedImages

__all__ = [
    "Batches",
    "Card",
    "Dataset",
    "StreamBatches",
    "StreamedImages",
    "card",
    "catalog",
    "check",
    "describe",
    "fetch",
    "load",
    "normalise",
]

__getattr__, __dir__ = names_of(
    __name__,
    {
        **dict.fromkeys(("Batches", "normalise"), "gbnlib.data.batches"),
        "describe": "gbnlib.data.describe",
        **dict.fromkeys(("Dataset", "load"), "gbnlib.data.sources"),
        **dict.fromkeys(("StreamBatches", "StreamedImages"), "gbnlib.data.stream"),
    },
)
