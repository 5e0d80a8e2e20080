"""From an item and a scale to the runs they need, and how long those take."""

from collections.abc import Callable
from functools import cache, partial
from math import ceil

from gbnlib import data, paper
from gbnlib.errors import UsageError, unknown
from gbnlib.experiments.config import RunConfig
from gbnlib.nn import build_network
from gbnlib.nn.networks import multiply_adds
from gbnlib.regimes import Phase, Regime

#: Items that have runs; a scale shows those of them that it names.
ITEMS = ("start_here", "figure1", "table1")


def plan(item: str, scale: str, seeds: int = 0) -> list[RunConfig]:
    """The runs of an item at a scale, small batch first, seed by seed within a method.

    Parameters
    ----------
    item : one of `ITEMS`.
    scale : "smoke", "quick", "desk" or "paper".
    seeds : number of seeds, counted from 0; 0 means as the scale says.

    Returns
    -------
    The configs; empty where the scale does not run the item.
    """
    if seeds < 0:
        raise UsageError(f"seeds is {seeds}; it is a count, 1 or more, or 0 for what the scale says.")
    settings = _item_settings(item, scale)
    count = seeds or settings.get("seeds") or paper.scale(scale).seeds
    return [make(seed) for make in _makers(item, scale, settings) for seed in range(count)]


def plan_scale(scale: str, seeds: int = 0) -> list[RunConfig]:
    """All runs of a scale, each once."""
    return list(dict.fromkeys(config for item in ITEMS for config in plan(item, scale, seeds)))


def items_at(scale: str) -> list[str]:
    """The items that a scale runs."""
    return [item for item in ITEMS if item in paper.scale(scale).items]


def _item_settings(item: str, scale: str) -> dict:
    """What a scale says of an item, checked."""
    if item not in ITEMS:
        raise unknown("item", item, ITEMS)
    return paper.scale(scale).items.get(item, {})


def _makers(item: str, scale: str, settings: dict) -> list[Callable[[int], RunConfig]]:
    """One function from seed to config for each method or batch size of an item."""
    if not settings:
        return []
    if item == "figure1":
        row = paper.protocol(settings["network"], scale)
        return [partial(method_config, row, "LB", batch_size=size) for size in settings["batch_sizes"]]
    rows = [paper.protocol(network, scale) for network in settings["networks"]]
    return [partial(method_config, row, method) for row in rows for method in settings.get("methods", paper.METHODS)]


def method_config(row: paper.Protocol, method: str, seed: int, batch_size: int = 0) -> RunConfig:
    """The config of one method of Table 1 under the protocol `row`."""
    if method not in paper.METHODS:
        raise unknown("method", method, paper.METHODS)
    size = row.small_batch if method == "SB" else batch_size or row.large_batch
    return RunConfig(
        network=row.network,
        dataset=row.dataset,
        train_size=row.train_size,
        batch_size=size,
        base_batch=row.small_batch,
        ghost_size=row.ghost_size if "GBN" in method else 0,
        regime=fitted_phases(row),
        lr_rule="sqrt" if "LR" in method else "none",
        adapt="RA" in method,
        epochs=row.epochs,
        augment=row.augment,
        clip_norm=row.clip_norm,
        precision=row.precision,
        seed=seed,
    )


def own_config(network: str, epochs: int = 0, **options: object) -> RunConfig:
    """A run of one's own: the paper's protocol of a network, with some options of `RunConfig` replaced.

    `epochs` fits the paper's phases to that many epochs; 0 keeps them.
    """
    row = paper.protocol(network)
    row = row.model_copy(update={"epochs": epochs or row.epochs})
    defaults = {"dataset": row.dataset, "augment": row.augment, "clip_norm": row.clip_norm}
    return RunConfig(**{**defaults, "network": network, "regime": fitted_phases(row), "epochs": row.epochs, **options})


def fitted_phases(row: paper.Protocol) -> tuple[Phase, ...]:
    """The paper's phases at their share of the row's epochs, to the nearest epoch."""
    regime = Regime(phases=tuple(Phase(**phase) for phase in row.phases), epochs=paper.paper_epochs(row.network))
    return regime.shortened(row.epochs).phases


@cache
def _training_multiply_adds(network: str, dataset: str) -> int:
    """Multiply-adds of one sample, forward and backward."""
    card = data.card(dataset)
    model = build_network(network, card.classes, card.channels, card.image_size)
    return multiply_adds(model, card.channels, card.image_size)[1]


def updates(config: RunConfig) -> int:
    """Number of updates of a run."""
    size = config.train_size or data.card(config.dataset).train
    return config.schedule().total_updates(ceil(size / config.batch_size))


def floating_point_operations(config: RunConfig) -> float:
    """Floating-point operations of a run's training, two a multiply-add, evaluation left out."""
    size = config.train_size or data.card(config.dataset).train
    return 2.0 * _training_multiply_adds(config.network, config.dataset) * size * config.schedule().epochs


def estimated_seconds(config: RunConfig, scale: str) -> float:
    """Seconds of a run that has its threads to itself, from the speed that the scale states."""
    speed = paper.protocol(config.network, scale).speed
    return floating_point_operations(config) / (speed.gflops * 1e9) + updates(config) * speed.update_ms / 1e3
