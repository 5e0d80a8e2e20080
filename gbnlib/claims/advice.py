"""What finished runs and papers say against a recipe: cautions, each with what it rests on.

The runs are those of one row of Table 1 that are as PyTorch would have it today, with and without warm-up, and for the
linear rule without ghosts those of the study of remedies. A caution stands only where their interval says so; without
finished runs there is none.
"""

from dataclasses import dataclass

from gbnlib import analysis, data, experiments, paper
from gbnlib.experiments import RunConfig
from gbnlib.regimes import Recipe

NETWORK, SCALE = "f1", "desk"


@dataclass(frozen=True)
class Caution:
    """A warning in words, and the ids of the runs or the papers that it rests on."""

    text: str
    rests_on: tuple[str, ...]


@dataclass(frozen=True)
class _Runs:
    """The finished ones of some runs that differ in their seeds alone."""

    configs: tuple[RunConfig, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(config.id for config in self.configs)

    @property
    def accuracies(self) -> list[float]:
        history = experiments.load_history(self.configs)
        return analysis.accuracies(history, self.configs[0].method) if len(history) else []

    def minus(self, other: "_Runs") -> analysis.Interval:
        """The difference of the final accuracies, in points."""
        return analysis.difference(self.accuracies, other.accuracies)


def cautions(recipe: Recipe) -> list[Caution]:
    """What speaks against a recipe, in the order of its parts; nothing for a batch no larger than the base.

    Numbers of runs are computed from the store, see `experiments.load_runs`.
    """
    checks = (_few_updates, _high_rate, _no_warmup, _linear, _ghosts, _beyond)
    found = [check(recipe) for check in checks] if recipe.ratio > 1 else []
    return [caution for caution in found if caution is not None]


def evidence_label() -> str:
    """What the runs are of, such as "F1 on MNIST as one would write it today, batch 4,096 against 128"."""
    small, large = (_runs(method).configs[0] for method in ("SB", "LB"))
    (today,) = (ablation.label for ablation in paper.ablations(NETWORK) if ablation.name == "today")
    where = f"{paper.protocol(NETWORK, SCALE).label} on {data.card(large.dataset).label} {today}"
    return f"{where}, batch {large.batch_size:,} against {small.batch_size:,}"


def _few_updates(recipe: Recipe) -> Caution | None:
    """Fewer updates than the base: the gap to the small batch that the nearest runs have."""
    small, large = _nearest(recipe, "SB"), _nearest(recipe)
    gap = large.minus(small)
    if recipe.share == 1 or not gap.below(0):
        return None
    here = f"{recipe.updates / recipe.base_updates:.1%} of the base's updates ({recipe.updates:,})."
    there = f"In the runs {_named(large)} − SB was {gap.text('points', sign=True)}"
    there += f" with {_updates(large):,} of {_updates(small):,}"
    remedy = f"Full adaptation makes as many, at {recipe.ratio:.3g} times the base's cost; in the paper it is"
    told = f"{here} {there}. {remedy} {paper.claims()['C8'].published}."
    return Caution(told, (*large.ids, *small.ids, _paper("C8")))


def _high_rate(recipe: Recipe) -> Caution | None:
    """A raised rate that holds for no more updates than in the runs that it harmed."""
    raised, kept = _nearest(recipe), _nearest(recipe, "LB")
    if recipe.rule == "none" or recipe.high_rate_updates > _high_rate_updates(raised):
        return None
    change = raised.minus(kept)
    if not change.below(0):
        return None
    here = f"Only {recipe.high_rate_updates:,} updates at the raised rate before it first falls."
    there = f"With {_high_rate_updates(raised):,}, {_named(raised)} − LB was {change.text('points', sign=True)}"
    return Caution(f"{here} {there}.", (*raised.ids, *kept.ids))


def _no_warmup(recipe: Recipe) -> Caution | None:
    """A raised rate from the first update on, where a warm-up helped."""
    if recipe.rule == "none" or recipe.warmup:
        return None
    without, warmed = _nearest(recipe), _nearest(recipe, warmup=True)
    gain = warmed.minus(without)
    if not gain.above(0):
        return None
    times = recipe.regime.phases[0].lr / recipe.base.phases[0].lr
    here = f"The rate is {times:.3g} times the base's from the first update on."
    epochs, updates = warmed.configs[0].warmup_epochs, f"{_high_rate_updates(without):,} updates at the raised rate"
    there = f"With {updates}, {epochs} epochs of warm-up gained {_named(without)} {gain.text('points', sign=True)}"
    return Caution(f"{here} {there}; here there are {recipe.high_rate_updates:,}.", (*warmed.ids, *without.ids, _GOYAL))


def _linear(recipe: Recipe) -> Caution | None:
    """The linear rule, where it was worse than the √ rule."""
    if recipe.rule != "linear":
        return None
    text = "The linear rule is that of Goyal et al., with a warm-up from the base rate, on ImageNet."
    linear, root = (_arm(f"{rule} rate{', warm-up' * bool(recipe.warmup)}") for rule in ("linear", "√"))
    change = linear.minus(root)
    if not change.below(0):
        return Caution(text, (_GOYAL,))
    sizes = f"batch {linear.configs[0].batch_size:,} against {linear.configs[0].base_batch:,}"
    there = f"With {sizes}, the linear rate − the √ rate was {change.text('points', sign=True)}"
    return Caution(f"{text} {there}.", (*linear.ids, *root.ids, _GOYAL))


def _ghosts(recipe: Recipe) -> Caution | None:
    """Ghosts that were not shown to help, and where they were."""
    if not recipe.ghost_size:
        return None
    gains = {name: _ghost_gain(name) for name in ("warmup" if recipe.warmup else "today", "augmentation")}
    (near, runs), (plain, others) = gains.values()
    if near.above(0) or not near.low <= near.high:
        return None
    ghosts = f"ghosts of {runs[0].configs[0].ghost_size}"
    text = f"Ghosts were not shown to help: with {ghosts}, LB+LR+GBN − LB+LR was {near.text('points', sign=True)}"
    rests_on = sum((each.ids for each in runs), ())
    if plain.above(0):
        text += f", but {plain.text('points', sign=True)} without augmentation"
        rests_on += sum((each.ids for each in others), ())
    return Caution(f"{text}. The paper has {paper.claims()['C7'].published}.", (*rests_on, _paper("C7")))


def _beyond(recipe: Recipe) -> Caution | None:
    """A larger ratio of batches than any of the runs."""
    large, small = _runs("LB"), _runs("SB")
    ratio = large.configs[0].batch_size / small.configs[0].batch_size
    if recipe.ratio <= ratio or not large.accuracies:
        return None
    return Caution(f"{recipe.ratio:.3g} times the base batch is beyond the {ratio:.3g} times of the runs.", large.ids)


_GOYAL = "Goyal et al. 2017, arXiv 1706.02677"


def _paper(claim: str) -> str:
    """The paper as the source of a claim, with the tag of where it is from."""
    return f"Hoffer et al. 2017, {claim} [{paper.claims()[claim].tag}]"


def _runs(method: str, ablation: str = "today") -> _Runs:
    """The finished runs of a method with an ablation."""
    return _finished(experiments.ablations(SCALE)[NETWORK, ablation, method])


def _arm(name: str) -> _Runs:
    """The finished runs of an arm of the study of remedies."""
    return _finished([config for named, config in experiments.study("remedies", SCALE) if named["arm"] == name])


def _finished(planned: list[RunConfig]) -> _Runs:
    """Those that are finished; if none is, the first, which says what they are of."""
    return _Runs(tuple(filter(experiments.is_done, planned)) or tuple(planned[:1]))


def _method(recipe: Recipe) -> str:
    """The column of Table 1 whose rate and ghosts are the recipe's."""
    if recipe.rule == "none":
        return "LB"
    return "LB+LR+GBN" if recipe.ghost_size else "LB+LR"


def _nearest(recipe: Recipe, method: str = "", warmup: bool = False) -> _Runs:
    """The runs with the recipe's rate, ghosts and warm-up, or of "SB" or "LB" beside them; `warmup` asks for one.

    No run has the linear rate and ghosts: the √ rate is nearest then.
    """
    warmed = method != "SB" and bool(warmup or recipe.warmup)
    if recipe.rule == "linear" and not recipe.ghost_size:
        return _arm(method or f"linear rate{', warm-up' * warmed}")
    return _runs(method or _method(recipe), "warmup" if warmed else "today")


def _named(runs: _Runs) -> str:
    """A method, or the linear rate with what else is different then."""
    first = runs.configs[0]
    warmed = " with warm-up" * bool(first.warmup_epochs)
    if first.lr_rule != "linear":
        return f"{first.method}{warmed}"
    return f"the linear rate{warmed} (batch {first.batch_size:,}, without augmentation)"


def _updates(runs: _Runs) -> int:
    return experiments.updates(runs.configs[0])


def _high_rate_updates(runs: _Runs) -> int:
    """Updates of a run before its rate first falls."""
    schedule = runs.configs[0].schedule()
    return _updates(runs) * schedule.phases[1].epoch // schedule.epochs


def _ghost_gain(ablation: str) -> tuple[analysis.Interval, tuple[_Runs, _Runs]]:
    """What ghosts add to LB+LR with an ablation, and the runs."""
    runs = _runs("LB+LR+GBN", ablation), _runs("LB+LR", ablation)
    return runs[0].minus(runs[1]), runs
