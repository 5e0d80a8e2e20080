"""Does bfloat16 autocast cost accuracy? Equivalence of final accuracy with float32, by two one-sided tests.

F1 on the embedded digits under the paper's regime, as one would write it today: the small batch, the large one with √
rate and ghosts, and that one with regime adaptation; and the small batch of a short ResNet44. Equivalent at the 5 %
level: the 90 % Welch interval of the difference lies within the margin. Runs go to results/runs like any other and are
promoted to results/reference/runs; what came out goes to results/reference/benchmarks/precision.json. Protocol rows may
say "bf16" where this shows equivalence, or where all methods of a row do.
"""

from gbnlib import analysis, experiments, files, paper
from gbnlib.experiments import RunConfig, planning, provenance

MARGIN = 0.3
TODAY = {"initialisation": "today", "momentum_buffer": "kept"}
LARGE = {"batch_size": 1024, "base_batch": 128, "ghost_size": 128, "lr_rule": "sqrt"}
DIGITS = {
    "SB, batch 128": {"batch_size": 128},
    "LB+LR+GBN, batch 1024": LARGE,
    "LB+LR+GBN+RA, batch 1024": {**LARGE, "adapt": True},
}
SHORT = {"train_size": 6400, "epochs": 12, "small_batch": 32, "evaluation_epochs": 1, "seeds": 3}
SHORT |= TODAY
RESNET = paper.protocol("resnet44", "desk").model_copy(update=SHORT)


def float32_rows() -> dict[str, list[RunConfig]]:
    """The float32 runs of each row, one a seed."""
    found = {
        f"F1, digits, {name}": [
            experiments.custom_config("f1", seed=seed, dataset="digits", **TODAY, **row) for seed in range(24)
        ]
        for name, row in DIGITS.items()
    }
    images = f"{RESNET.train_size:,} images of CIFAR-10 (JPEG), {RESNET.epochs} epochs"
    found[f"ResNet44, {images}, SB, batch {RESNET.small_batch}"] = [
        planning.method_config(RESNET, "SB", seed) for seed in range(RESNET.seeds)
    ]
    return found


def in_bf16(run: RunConfig) -> RunConfig:
    """The same run under bfloat16 autocast."""
    return RunConfig(**{**dict(run), "precision": "bf16"})


def accuracies(runs: list[RunConfig]) -> list[float]:
    """Final validation accuracies in %."""
    return [100 - experiments.find(run).done["summary"]["final_validation_error"] for run in runs]


def compared(name: str, runs: list[RunConfig]) -> dict:
    """One row of the table."""
    twins = [in_bf16(run) for run in runs]
    fp32, bf16 = accuracies(runs), accuracies(twins)
    difference = analysis.difference(bf16, fp32, confidence=0.9)
    return {
        "row": name,
        "fp32": analysis.mean(fp32).estimate,
        "bf16": analysis.mean(bf16).estimate,
        "difference": difference.estimate,
        "low": difference.low,
        "high": difference.high,
        "seeds": len(runs),
        "equivalent": difference.above(-MARGIN) and difference.below(MARGIN),
        "runs": [run.id for run in runs + twins],
    }


def main() -> None:
    """Train what is missing, compare, write."""
    rows = float32_rows()
    runs = [run for each in rows.values() for run in each]
    runs += [in_bf16(run) for run in runs]
    experiments.run_all(runs, "desk", observer=experiments.Observer(print))
    for run in runs:
        experiments.promote(run)
    table = [compared(name, each) for name, each in rows.items()]
    facts = {**provenance.software(), **provenance.hardware(), "margin": MARGIN}
    files.write_json(files.reference_root() / "benchmarks" / "precision.json", {**facts, "rows": table})
    for row in table:
        ends = f"[{row['low']:+.2f}, {row['high']:+.2f}]"
        print(f"{row['row']}: bf16 − fp32 = {row['difference']:+.2f} {ends}, equivalent: {row['equivalent']}")


if __name__ == "__main__":
    main()
