"""Benchmarks that are committed with the code, as frames."""

import math
from pathlib import Path

import pandas as pd
from scipy import stats

from gbnlib import files, paper
from gbnlib.report.wording import cell

#: Title of the section on the layer, and name and description of the figure that `benchmarks/norm.py` draws.
LAYER_TITLE, LAYER_FIGURE = "Ghost batch normalization", "norm"
LAYER_ALT = (
    "Time of gbnlib and of a loop over ghosts over that of plain batch normalization, "
    "and time against the number of ghosts"
)
_COST_COLUMNS = {
    "dtype": "precision",
    "ghost_size": "ghost size",
    "loop": "loop ÷ plain",
    "ghost": "gbnlib ÷ plain",
    "worst": "worst gbnlib ÷ plain",
}


def layer_costs() -> tuple[pd.DataFrame, str]:
    """Time of ghost batch normalization over that of plain, a row a shape, and where it was measured.

    Columns: shape, layout, dtype, ghost_size, plain_ms, and the ratios `loop` (over the ghosts) and `ghost` (gbnlib).
    Empty, with words that say so, where `benchmarks/norm.py` has not been run.
    """
    if not _path("norm").is_file():
        return pd.DataFrame(), "The cost has not been measured yet: `benchmarks/norm.py` does it."
    facts = _facts("norm")
    rows = [
        {
            "shape": " × ".join(map(str, cell["shape"])),
            **{key: cell[key] for key in ("layout", "dtype", "ghost_size")},
            "plain_ms": 1e3 * cell["plain"]["median"],
            **{code: cell[code]["median"] / cell["plain"]["median"] for code in ("loop", "ghost")},
        }
        for cell in facts["cells"]
    ]
    known = {name: facts.get(name, "unknown") for name in ("cpu", "threads", "torch", "rounds")}
    where = "Measured on {cpu}, threads: {threads}, PyTorch {torch}, medians of {rounds} rounds.".format(**known)
    return pd.DataFrame(rows), where


def summarise_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """Geometric means of the ratios over shapes, and the worst of gbnlib, by layout, number format and ghost size."""
    groups = costs.groupby(["layout", "dtype", "ghost_size"], sort=False)
    means = groups[["loop", "ghost"]].agg(stats.gmean)
    table = means.assign(worst=groups.ghost.max(), shapes=groups.size()).reset_index()
    return table.rename(columns=_COST_COLUMNS)


def _layer(facts: dict) -> tuple[pd.DataFrame, str]:
    """Ghost batch normalization and the loop over ghosts against plain batch normalization, by kind of layer."""
    rows = [
        {
            "layer": row["layer"],
            "precision": row["dtype"],
            "cases": row["cells"],
            "loop ÷ plain": f"{row['loop_to_plain']:.2f}",
            "gbnlib ÷ plain": f"{row['ghost_to_plain']:.2f}",
            "worst gbnlib ÷ plain": f"{row['worst_ghost_to_plain']:.2f}",
        }
        for row in facts["summary"]
    ]
    memory, whole = facts["peak_memory_mib"], facts["whole_model"]
    seconds = {name: whole[name]["median"] for name in ("plain", "chunks", "ghost")}
    notes = (
        f"Ratios of medians of forward and backward over at least {facts['rounds']} rounds, each in another order, and "
        "the geometric mean over shapes, layouts and ghost sizes. Peak memory of one layer beyond its input and "
        "gradient, batch "
        f"{tuple(memory['shape'])}: plain {memory['plain']:.0f} MiB, loop {memory['loop']:.0f}, gbnlib "
        f"{memory['ghost']:.0f}. ResNet44 at batch {whole['batch_size']}, forward and backward: "
        f"{seconds['plain']:.1f} s with plain layers, {seconds['ghost']:.1f} s with ghost layers, "
        f"{seconds['chunks']:.1f} s as a loop over chunks. {_where(facts)}"
    )
    return pd.DataFrame(rows), notes


def _training(facts: dict) -> tuple[pd.DataFrame, str]:
    """Images a second of this package, of the authors' procedure and of a plain loop."""
    rows = [
        {
            "network": paper.protocol(row["network"]).label,
            "batch": row["batch_size"],
            "authors": f"{row['authors']['images_per_second']:,.0f}",
            "plain loop": f"{row['plain']['images_per_second']:,.0f}",
            **{
                f"gbnlib, {precision}": f"{row[precision]['images_per_second']:,.0f} "
                f"({row[precision]['times_authors']:.1f}×, {row[precision]['times_plain']:.1f}×)"
                for precision in ("fp32", "bf16")
            },
        }
        for row in facts["rows"]
    ]
    notes = (
        "Images a second in training, medians; in brackets, times the authors' procedure (PIL transforms image by "
        "image, a loop over chunks of the batch) and times a plain loop (DataLoader, v2 transforms on tensors, ghost "
        f"layers). {_where(facts)}"
    )
    return pd.DataFrame(rows), notes


def _precision(facts: dict) -> tuple[pd.DataFrame, str]:
    """Final accuracy in bfloat16 against float32."""
    rows = [
        {
            "runs": row["row"],
            "float32": f"{row['fp32']:.2f}",
            "bfloat16": f"{row['bf16']:.2f}",
            "difference": f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]".replace("-", "−"),
            "seeds": row["seeds"],
            "equivalent": "yes" if row["equivalent"] else "not shown",
        }
        for row in facts["rows"]
    ]
    notes = (
        "Final validation accuracy in % under the paper's regime, as one would write it today, fitted to the epochs "
        "named, with the 90 % Welch interval of the difference: equivalent if it lies within "
        f"±{facts['margin']} points (two one-sided tests at 5 %). Where it is not shown, the protocol trains in "
        "float32, but for the rows on subsets at desk, all of whose methods share bfloat16."
    )
    return pd.DataFrame(rows), notes


def _overhead(facts: dict) -> tuple[pd.DataFrame, str]:
    """What runs cost besides their training, by the number of planned runs; "–" where it was not measured."""
    columns = {
        "plan": "`gbn plan`, s",
        "status": "`gbn status`, s",
        "start_up": "start-up of a run, s",
        "store": "store, ms a run",
        "local": "Snakemake, s a run",
        "slurm": "SLURM, s a run",
    }
    rows = []
    for row in facts["rows"]:
        found = {name: row.get(name, math.nan) * (1000 if name == "store" else 1) for name in columns}
        told = {columns[name]: cell(value, 2 if value < 10 else 0) for name, value in found.items()}
        rows.append({"planned runs": f"{row['runs']:,}", **told})
    notes = (
        "Start-up is what `gbn run --only` takes beyond its training; store, what it takes to write what a run leaves "
        "and to find it again; Snakemake and SLURM, the time from the call of the workflow to its end, a run, with "
        "runs that take no time, by the profiles `local` and `slurm`, the latter on a SLURM of this one machine, where "
        f"eight runs share a job. {_where(facts)}"
    )
    return pd.DataFrame(rows), notes


def _images(facts: dict) -> tuple[pd.DataFrame, str]:
    """Images a second of a streamed set, decoded and from its cache."""
    rows = [
        {
            "images": row["images"],
            "JPEG, kB": f"{row['encoded_kb']:.0f}",
            "cached, kB": f"{row['cached_kb']:.0f}",
            "decoded, images/s": f"{row['decoded']:,.0f}",
            "from the cache, images/s": f"{row['cached']:,.0f}",
            "ratio": f"{row['ratio']:.1f}",
        }
        for row in facts["rows"]
    ]
    notes = (
        "Crops of a streamed set as the device gets them, 224 pixels from 256, with a worker a core; epochs "
        f"of both ways in turn, medians over {facts['rounds']} rounds, and the median of the ratios of each. All files "
        f"were in memory: of a set that does not fit into it, a disk can give fewer. {_where(facts)}"
    )
    return pd.DataFrame(rows), notes


def sections() -> list[tuple[str, pd.DataFrame, str]]:
    """Title, table and notes of every benchmark that has been run."""
    every = {
        "norm": (LAYER_TITLE, _layer),
        "training": ("Training", _training),
        "precision": ("Precision", _precision),
        "images": ("Images decoded once", _images),
        "overhead": ("Overhead", _overhead),
    }
    return [(title, *make(_facts(name))) for name, (title, make) in every.items() if _path(name).is_file()]


def folder() -> Path:
    """Where the benchmarks write what they measured and drew."""
    return files.reference_root() / "benchmarks"


def _path(name: str) -> Path:
    return folder() / f"{name}.json"


def _facts(name: str) -> dict:
    return files.read_json(_path(name))


def _where(facts: dict) -> str:
    cpu = f"{facts['threads']} cores of {facts['cpu']} ({facts['cpu_capability']})"
    return f"Measured on {cpu}, PyTorch {facts['torch']}."
