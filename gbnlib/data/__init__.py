"""Data sets, on the device or streamed to it, and their batches, which are pure functions of (seed, epoch)."""

from gbnlib.data.batches import Batches, normalise
from gbnlib.data.cards import Card, card, catalog
from gbnlib.data.describe import describe
from gbnlib.data.presence import check, fetch
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
