"""From tidy frames to statistics."""

from gbnlib.analysis.ablations import (
    Runs,
    ablation_effects,
    ablation_findings,
    compare_ablations,
    compare_defaults,
    declared_effects,
    defaults_sentence,
    momentum_gain,
)
from gbnlib.analysis.outcomes import (
    accuracies,
    compare_figure1,
    compare_training,
    compare_with_paper,
    errors_by_updates,
    gap_shares,
    mean_error_curves,
    outcomes,
    row_runs,
    table1_layout,
)
from gbnlib.analysis.stats import Interval, bootstrap, difference, mean, slope, smallest_detectable_difference

__all__ = [
    "Interval",
    "Runs",
    "ablation_effects",
    "ablation_findings",
    "accuracies",
    "bootstrap",
    "compare_ablations",
    "compare_defaults",
    "compare_figure1",
    "compare_training",
    "compare_with_paper",
    "declared_effects",
    "defaults_sentence",
    "difference",
    "errors_by_updates",
    "gap_shares",
    "mean",
    "mean_error_curves",
    "momentum_gain",
    "outcomes",
    "row_runs",
    "slope",
    "smallest_detectable_difference",
    "table1_layout",
]
