"""A run with all the remedies of the paper, small enough to be trained in seconds; tests change what they need."""

from gbnlib.experiments import RunConfig
from gbnlib.regimes import Phase

FIRST = Phase(epoch=0, lr=0.1, momentum=0.9, weight_decay=1e-4)
REMEDIED = RunConfig(
    network="f1",
    dataset="synthetic",
    batch_size=32,
    base_batch=16,
    ghost_size=16,
    lr_rule="sqrt",
    adapt=True,
    clip_norm=5.0,
    epochs=6,
    regime=(FIRST, Phase(epoch=2, lr=0.01)),
)
