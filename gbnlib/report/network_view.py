"""A network that an item shows: its rows of a frame, and what its figures and tables are called."""

from dataclasses import dataclass

import pandas as pd

from gbnlib import data, paper


@dataclass(frozen=True)
class NetworkView:
    """One of an item's networks at a scale; as a string, network and data: "F1 on MNIST".

    The first network's figures and tables have plain names, those of the others end in `_<network>`.
    """

    id: str
    scale: str
    first: bool = True

    def __str__(self) -> str:
        row = paper.protocol(self.id, self.scale)
        return f"{row.label} on {data.card(row.dataset).label}"

    def name(self, name: str) -> str:
        """The name of a figure or table of this network."""
        return name if self.first else f"{name}_{self.id}"

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of this network in a tidy frame, which may be empty and without columns."""
        return frame if frame.empty else frame[frame.network == self.id]

    def words(self, text: str) -> str:
        """A caption or alt text of this network."""
        return f"{self}. {text}"
