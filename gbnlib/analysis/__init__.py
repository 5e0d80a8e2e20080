"""From tidy frames to statistics and verdicts."""

from gbnlib.analysis.ablations import ablation_effects, ablation_findings, compare_ablations
from gbnlib.analysis.judges import VERDICTS
from gbnlib.analysis.outcomes import (
    accuracies,
    compare_figure1,
    compare_training,
    compare_with_paper,
    gap_shares,
    outcomes,
    row_runs,
    table1_layout,
)
from gbnlib.analysis.stats import (
    Interval,
    bootstrap,
    difference,
    mean,
    slope,
    smallest_detectable_difference,
)
from gbnlib.analysis.verdicts import (
    RUN_CLAIMS,
    Verdict,
    completed,
    judge,
    judge_rows,
    read_verdicts,
    scorecard,
    scorecard_layout,
    summary,
    write_verdicts,
)

__all__ = [
    "RUN_CLAIMS",
    "VERDICTS",
    "Interval",
    "Verdict",
    "ablation_effects",
    "ablation_findings",
    "accuracies",
    "bootstrap",
    "compare_ablations",
    "compare_figure1",
    "compare_training",
    "compare_with_paper",
    "completed",
    "difference",
    "gap_shares",
    "judge",
    "judge_rows",
    "mean",
    "outcomes",
    "read_verdicts",
    "row_runs",
    "scorecard",
    "scorecard_layout",
    "slope",
    "smallest_detectable_difference",
    "summary",
    "table1_layout",
    "write_verdicts",
]
