"""From an item and a scale to the runs they need, and how long those take."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from math import ceil, sqrt
from typing import Any

from gbnlib import data, paper
from gbnlib.data.batch_sizes import BatchSizes
from gbnlib.errors import UsageError, unknown
from gbnlib.experiments.config import RunConfig
from gbnlib.regimes import Phase, Regime

#: Items that have runs; a scale shows those of them that it names.
ITEMS = (
    *("start_here", "figure1", "figure2", "figure3", "table1", "convergence", "ablations", "table2", "appendix_a"),
    *paper.studies(),
)

#: The methods of Table 1, and the large batch with multiplicative noise on the gradients.
METHODS = (*paper.METHODS, "LB+noise")

#: What a figure trains, from the batch sizes it shows: method and batch size, where 0 is the row's own.
_FIGURES: dict[str, Callable[[Sequence[int]], list[tuple[str, int]]]] = {
    "figure1": lambda sizes: [("LB", size) for size in sizes],
    "figure2": lambda sizes: [(method, size) for method in ("LB", "LB+LR+GBN") for size in sizes],
    "figure3": lambda sizes: [("SB", 0), *(("LB+LR+GBN+RA", size) for size in sizes)],
}

#: Seeds that a plan has at most: with more, making the plan takes minutes.
MOST_SEEDS = 100


def check_seeds(seeds: int) -> None:
    """Refuse a number of seeds that cannot be meant."""
    if not 0 <= seeds <= MOST_SEEDS:
        raise UsageError(
            f"seeds is {seeds}; it is a count, 1 or more and at most {MOST_SEEDS}, or 0 for what the scale says."
        )


def plan(item: str, scale: str, seeds: int = 0) -> list[RunConfig]:
    """The runs of an item at a scale, small batch first, seed by seed within a method.

    "ablations" are runs of Table 1 with one choice of the protocol changed; see `ablations`. "convergence" is the
    small batch of each network with twice the epochs, by which a row is told from an under-trained one.

    Parameters
    ----------
    item : one of `ITEMS`.
    scale : "smoke", "quick", "desk" or "paper".
    seeds : number of seeds, counted from 0; 0 means as the scale says.

    Returns
    -------
    The configs; empty where the scale does not run the item.
    """
    check_seeds(seeds)
    if item == "ablations":
        return [config for runs in ablations(scale, seeds).values() for config in runs]
    if item in paper.studies():
        return [config for _, config in study(item, scale, seeds)]
    settings = _item_settings(item, scale)
    configs = []
    for row, method, batch_size in _cells(item, scale, settings):
        count = seeds or settings.seeds or row.seeds or paper.scale(scale).seeds
        configs += [method_config(row, method, seed, batch_size) for seed in range(count)]
    small = [config for config in configs if config.method == "SB"]
    for network, lengths in settings.high_rate_epochs.items():
        own = [config for config in small if config.network == network]
        configs += [with_high_rate(config, epochs) for epochs in lengths for config in own]
    return list(dict.fromkeys(configs))


def ablations(scale: str, seeds: int = 0) -> dict[tuple[str, str, str], list[RunConfig]]:
    """The runs with one choice of the protocol changed, by (network, name of the ablation, method), seed by seed."""
    settings = _item_settings("ablations", scale)
    count = seeds or settings.seeds or paper.scale(scale).seeds
    return {
        (network, ablation.name, method): [
            _changed(method_config(paper.protocol(network, scale), method, seed), network, ablation)
            for seed in range(count)
        ]
        for network in settings.networks
        for ablation in paper.ablations(network)
        if ablation.name in (settings.names or (ablation.name,))
        for method in ablation.methods
    }


def study(name: str, scale: str, seeds: int = 0) -> list[tuple[dict[str, Any], RunConfig]]:
    """The runs of a study beyond the paper, seed by seed, each with its arm and the values that vary, by name."""
    check_seeds(seeds)
    planned, row = paper.study(name, scale), paper.recipe(scale)
    runs = []
    for arm, entry in planned.arms.items():
        for values in product(*planned.vary.values()):
            varied = dict(zip(planned.vary, values, strict=True))
            for seed in range(seeds or row.seeds or paper.scale(scale).seeds):
                own = {**entry.changes, **varied}
                config = method_config(row, entry.method, seed, own.pop("batch_size", 0))
                runs.append(({"arm": arm, **varied, "seed": seed}, _with_changes(config, own)))
    return runs


def _with_changes(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """A run with the changes of a study; `beyond.toml` says which keys are no fields of a config."""
    fields = dict(config)
    regime = Regime(phases=config.regime, epochs=config.epochs)
    if "lr" in changes:
        factor = changes["lr"] / regime.phases[0].lr
        regime = replace(regime, phases=[replace(phase, lr=phase.lr and phase.lr * factor) for phase in regime.phases])
    if "momentum" in changes:
        phases = [replace(phase, momentum=None if phase.epoch else changes["momentum"]) for phase in regime.phases]
        regime = replace(regime, phases=phases)
    if "grow" in changes:
        fields |= {"grow_to": int(changes["grow"] * config.train_size), "ghost_size": config.batch_size}
    if changes.get("constant"):
        regime = replace(regime, phases=regime.phases[:1])
    if "share" in changes:
        regime = regime.adapted(config.batch_size, config.base_batch, changes["share"])
        fields["adapt"], fields["evaluation_epochs"] = False, round(1 + changes["share"] * (config.ratio - 1))
    if "warmup" in changes:
        fields["warmup_epochs"] = max(1, round(changes["warmup"] * regime.epochs))
    plain = {key: value for key, value in changes.items() if key in RunConfig.model_fields}
    return RunConfig(**{**fields, "regime": regime.phases, "epochs": regime.epochs, **plain})


def _changed(config: RunConfig, network: str, ablation: paper.Ablation) -> RunConfig:
    """A run with what an ablation changes, and before it the one that it is on top of."""
    below = [other for other in paper.ablations(network) if other.name == ablation.on]
    changes = {key: value for each in (*below, ablation) for key, value in each.changes.items()}
    return RunConfig(**{**dict(config), **changes})


def plan_scale(scale: str, seeds: int = 0) -> list[RunConfig]:
    """All runs of a scale, each once."""
    return list(dict.fromkeys(config for item in ITEMS for config in plan(item, scale, seeds)))


def items_at(scale: str) -> list[str]:
    """The items that a scale runs."""
    return [item for item in ITEMS if item in paper.scale(scale).items or item in paper.studies()]


def _item_settings(item: str, scale: str) -> paper.ScaleItem:
    """What a scale runs of an item; nothing where it does not name it."""
    if item not in ITEMS:
        raise unknown("item", item, ITEMS)
    return paper.scale(scale).items.get(item, paper.ScaleItem())


def _cells(item: str, scale: str, settings: paper.ScaleItem) -> list[tuple[paper.Protocol, str, int]]:
    """What an item trains: protocol, method and batch size of each cell; 0 is the row's own batch size."""
    if item in _FIGURES:
        shown = settings.batch_sizes.items()
        return [(paper.protocol(network, scale), *cell) for network, sizes in shown for cell in _FIGURES[item](sizes)]
    rows = [paper.protocol(network, scale) for network in settings.networks]
    if item == "convergence":
        return [(row.model_copy(update={"epochs": 2 * row.epochs}), "SB", 0) for row in rows]
    return [
        (row, method, size) for row in rows for method in settings.methods for size in row.batches.get(method, (0,))
    ]


def method_config(row: paper.Protocol, method: str, seed: int, batch_size: int = 0) -> RunConfig:
    """The config of one of `METHODS` under the protocol `row`; at the small batch every method is SB.

    Noise has σ² = M_L / M_S − 1, which gives the gradient of the large batch the covariance of the small one's.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    size = row.small_batch if method == "SB" else batch_size or row.large_batch
    method = "SB" if size == row.small_batch else method
    return RunConfig(
        network=row.network,
        dataset=row.dataset,
        train_size=row.train_size,
        batch_size=size,
        base_batch=row.small_batch if method == "SB" else row.base_batch.get(method, row.small_batch),
        ghost_size=row.ghost_size if "GBN" in method else 0,
        regime=fitted_phases(row),
        lr_rule="sqrt" if "LR" in method else "none",
        adapt="RA" in method,
        epochs=row.epochs,
        augment=row.augment,
        clip_norm=row.clip_norm,
        noise=sqrt(size / row.small_batch - 1) if "noise" in method else 0.0,
        precision="bf16" if method in row.bf16 else "fp32",
        initialisation=row.initialisation,
        momentum_buffer=row.momentum_buffer,
        evaluation_epochs=row.evaluation_epochs,
        seed=seed,
    )


def with_high_rate(config: RunConfig, epochs: int) -> RunConfig:
    """The same run with a high-rate phase of that many epochs; the later phases keep their lengths."""
    change = epochs - config.regime[1].epoch
    first, *later = config.regime
    regime = (first, *(replace(phase, epoch=phase.epoch + change) for phase in later))
    return RunConfig(**{**dict(config), "regime": regime, "epochs": config.epochs + change})


def custom_config(network: str, epochs: int = 0, **options: object) -> RunConfig:
    """A run that no scale plans: the paper's protocol of a network, with some options of `RunConfig` replaced.

    `epochs` fits the paper's phases to that many epochs; 0 keeps them. `lr_rule` and `adapt` need `base_batch`.
    """
    row = paper.protocol(network)
    if not options.get("base_batch") and (options.get("adapt") or options.get("lr_rule", "none") != "none"):
        raise UsageError(
            f"--lr-rule and --adapt refer to a small batch: give --base-batch too; the paper's is {row.small_batch}."
        )
    if options.get("base_batch") == 1:
        raise UsageError(f"--base-batch is 1; one sample alone cannot be normalised: the paper's is {row.small_batch}.")
    row = row.model_copy(update={"epochs": epochs or row.epochs})
    names = ("network", "dataset", "epochs", "augment", "clip_norm", "initialisation", "momentum_buffer")
    config = RunConfig(**{name: getattr(row, name) for name in names} | {"regime": fitted_phases(row)} | options)
    images = _train_size(config)
    if config.batch_size > images:
        raise UsageError(f"--batch-size is {config.batch_size}; it must be at most the {images:,} training images.")
    if config.ghost_size > config.batch_size:
        raise UsageError(f"--ghost-size is {config.ghost_size}; it must be at most the batch, {config.batch_size}.")
    if images % config.batch_size == 1 or config.batch_size == 1:
        left = f"of {images:,} images it leaves one to the last batch, and one sample alone cannot be normalised."
        raise UsageError(f"--batch-size is {config.batch_size}; {left}")
    return config


def fitted_phases(row: paper.Protocol) -> tuple[Phase, ...]:
    """The paper's phases at their share of the row's epochs, to the nearest epoch."""
    regime = Regime(phases=tuple(Phase(**phase) for phase in row.phases), epochs=paper.paper_epochs(row.network))
    return regime.shortened(row.epochs).phases


def _train_size(config: RunConfig) -> int:
    return config.train_size or data.card(config.dataset).train - config.held_out


def updates(config: RunConfig) -> int:
    """Number of updates of a run."""
    sizes = BatchSizes(_train_size(config), ((0, config.batch_size), *config.growth()))
    return sizes.updates_until(config.schedule().epochs)


def estimated_seconds(config: RunConfig, scale: str) -> float:
    """Seconds of a run that has its threads, or its GPU, to itself, from what the scale states."""
    row = paper.protocol(config.network, scale)
    return seconds_at(config, row.images_per_second[config.precision], row.update_ms)


def seconds_at(config: RunConfig, images_per_second: float, update_ms: float) -> float:
    """Seconds of a run that trains on so many images a second and takes some milliseconds an update besides.

    An image of an evaluation counts as a third of one that is trained on: it makes the forward pass alone.
    """
    epochs = config.schedule().epochs
    evaluated = ceil(epochs / config.evaluate_every) * data.card(config.dataset).validation
    images = epochs * _train_size(config) + evaluated / 3
    return images / images_per_second + updates(config) * update_ms / 1e3
