"""Does bfloat16 autocast cost accuracy? Equivalence of final accuracy with float32, by two one-sided tests.

F1 on the embedded digits under the paper's regime: the small batch, the large one with √ rate and ghosts, and that one
with regime adaptation; 24 seeds each. Equivalent at the 5 % level: the 90 % Welch interval of the difference lies
within the margin. Runs go to results/runs like any other and are promoted to results/reference/runs; what came out goes
to results/reference/benchmarks/precision.json. Protocol rows may say "bf16" where this shows equivalence.
"""

from gbnlib import analysis, experiments, files
from gbnlib.experiments import RunConfig, provenance

SEEDS = 24
MARGIN = 0.3
LARGE = {"batch_size": 1024, "base_batch": 128, "ghost_size": 128, "lr_rule": "sqrt"}
ROWS = {
    "SB, batch 128": {"batch_size": 128},
    "LB+LR+GBN, batch 1024": LARGE,
    "LB+LR+GBN+RA, batch 1024": {**LARGE, "adapt": True},
}


def configs(row: dict, precision: str) -> list[RunConfig]:
    """The runs of one row, one a seed."""
    options = {**row, "dataset": "digits", "precision": precision}
    return [experiments.own_config("f1", seed=seed, **options) for seed in range(SEEDS)]


def accuracies(runs: list[RunConfig]) -> list[float]:
    """Final validation accuracies in %."""
    return [100 - experiments.find(run).done["summary"]["final_validation_error"] for run in runs]


def compared(name: str) -> dict:
    """One row of the table."""
    runs = {precision: configs(ROWS[name], precision) for precision in ("fp32", "bf16")}
    found = {precision: accuracies(each) for precision, each in runs.items()}
    difference = analysis.difference(found["bf16"], found["fp32"], confidence=0.9)
    return {
        "row": name,
        **{precision: analysis.mean(values).estimate for precision, values in found.items()},
        "difference": difference.estimate,
        "low": difference.low,
        "high": difference.high,
        "seeds": SEEDS,
        "equivalent": difference.above(-MARGIN) and difference.below(MARGIN),
        "runs": [run.id for each in runs.values() for run in each],
    }


def main() -> None:
    """Train what is missing, compare, write."""
    runs = [run for row in ROWS.values() for precision in ("fp32", "bf16") for run in configs(row, precision)]
    experiments.run_all(runs, "quick", say=print)
    for run in runs:
        experiments.promote(run)
    rows = [compared(name) for name in ROWS]
    facts = {**provenance.software(), **provenance.hardware(), "network": "f1", "dataset": "digits", "margin": MARGIN}
    files.write_json(files.reference_root() / "benchmarks" / "precision.json", {**facts, "rows": rows})
    for row in rows:
        ends = f"[{row['low']:+.2f}, {row['high']:+.2f}]"
        print(f"{row['row']}: bf16 − fp32 = {row['difference']:+.2f} {ends}, equivalent: {row['equivalent']}")


if __name__ == "__main__":
    main()
