"""What the dropout layers of a network draw in a training."""

from torch import nn

from gbnlib.data.batches import derived_seed
from gbnlib.nn.dropout import BatchDropout


class Draws:
    """What the `BatchDropout` layers of a model draw: a pure function of (seed, number of the batch, layer, sample).

    So nothing of it needs saving, and neither micro-batches nor processes change it.
    """

    def __init__(self, model: nn.Module, seed: int) -> None:
        self.layers = [layer for layer in model.modules() if isinstance(layer, BatchDropout)]
        self.seed = seed

    def begin(self, batch: int, count: int, purpose: str = "training") -> None:
        """Draw anew for a batch of `count` samples."""
        for number, layer in enumerate(self.layers):
            layer.begin(derived_seed(self.seed, batch, f"dropout {number} of {purpose}"), count)

    def go_to(self, first: int) -> None:
        """The next part of the batch begins with sample `first`."""
        for layer in self.layers:
            layer.go_to(first)
