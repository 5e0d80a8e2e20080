"""Data sets on the device, and their batches: order and augmentation are pure functions of (seed, epoch)."""

from gbnlib.data.batches import Batches, normalise
from gbnlib.data.sources import Card, Dataset, card, catalog, check, fetch, load

__all__ = ["Batches", "Card", "Dataset", "card", "catalog", "check", "fetch", "load", "normalise"]
