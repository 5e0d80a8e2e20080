"""What the repository comes with: the runs of F1 on MNIST by the full protocol and of reduced rows beside it, and what
they say of the claims."""

import pandas as pd

from gbnlib import claims, experiments, measurements, paper
from gbnlib.analysis import diffusion
from gbnlib.claims.convergence import row_history
from gbnlib.report.items import get_item

#: The scale and the network of the shipped runs, and the items that they belong to.
SCALE, NETWORK = "desk", "f1"
ITEMS = ("figure1", "figure2", "figure3", "table1", "appendix_a")


def configs(item: str, network: str = NETWORK) -> list[experiments.RunConfig]:
    """The planned runs of a network for one item."""
    return [config for config in experiments.plan(item, SCALE) if config.network == network]


def history(item: str, network: str = NETWORK) -> pd.DataFrame:
    """The history of the finished ones."""
    return experiments.load_history(configs(item, network))


def reduced() -> list[str]:
    """The networks whose reduced row has finished runs, in the order of Table 1."""
    others = [name for name in paper.scale(SCALE).items["table1"].networks if name != NETWORK]
    return [name for name in others if any(map(experiments.is_done, configs("table1", name)))]


def row_and_sweep() -> pd.DataFrame:
    """The histories of F1's row of Table 1 and of Figure 1's batches, which share runs, each run once."""
    return pd.concat([history(item) for item in ("table1", "figure1")]).drop_duplicates(["run", "update"])


def ablation_runs() -> tuple[pd.DataFrame, pd.DataFrame, dict[tuple[str, str, str], list[str]]]:
    """The histories of F1's row and of its ablations, and the ids of the latter by what they are of."""
    ids = {key: [config.id for config in runs] for key, runs in experiments.ablations(SCALE).items()}
    return history("table1"), history("ablations"), ids


def verdicts(network: str = NETWORK) -> list[claims.Verdict]:
    """What the finished runs of a network, and the measurements of F1, say of the claims, in their order."""
    found, row = [], row_history(network, SCALE)
    for item in ITEMS:
        runs, distance = experiments.load_runs(configs(item, network))
        frame = diffusion.high_rate_curves(runs, distance) if item == "figure2" else runs
        of = {"item": item, "scale": SCALE, "network": network, "row": row, "beside": {"history": runs}}
        found += [claims.judge(claim, frame, **of) for claim in set(get_item(item).claims) & set(claims.RUN_CLAIMS)]
    if network == NETWORK:
        found += filter(None, [_landscape(), *map(_identity, claims.IDENTITIES)])
    return [verdict for verdict in claims.completed(found, SCALE) if verdict.network]


def reduced_name(network: str) -> str:
    """What a reduced row is called where its verdicts stand beside others."""
    return f"{paper.protocol(network).label}, reduced"


def reduced_verdicts() -> dict[str, list[claims.Verdict]]:
    """What the reduced rows say, by network; a row of which nothing can be judged yet is left out."""
    found = {network: verdicts(network) for network in reduced()}
    return {network: each for network, each in found.items() if any(verdict.tested for verdict in each)}


def beyond() -> list[claims.Verdict]:
    """What the finished runs of the studies beyond the paper say of their claims, in their order."""
    frames = {name: experiments.load_study(name, SCALE) for name in paper.studies()}
    beside = {"noise_scale": _measured("noise_scale")}
    found = [
        claims.judge(claim, frame, item=name, scale=SCALE, beside=beside)
        for name, frame in frames.items()
        for claim in get_item(name).claims
        if len(frame)
    ]
    return claims.completed(found, SCALE, beyond=True)


def _landscape() -> claims.Verdict | None:
    """The verdict on C5, with what is measured beside it; None without the measurement."""
    frame = _measured("landscape_f1")
    beside = {
        "trajectory": _measured("trajectory_f1"),
        "null": _measured("landscape_null"),
        "structure": _measured("structure_f1"),
    }
    return claims.judge("C5", frame, item="figure4", scale=SCALE, beside=beside) if len(frame) else None


def _identity(claim: str) -> claims.Verdict | None:
    """The verdict on an identity, on random input; None without its measurement."""
    name, item = {"C12": ("covariance_identity", "appendix_a"), "C13": ("accumulation", "algorithm1")}[claim]
    about = claims.Subject("exact", "", "exact", "random input")
    frame = _measured(name)
    return claims.judge(claim, frame, item=item, scale=SCALE, about=about) if len(frame) else None


def _measured(name: str) -> pd.DataFrame:
    """The frame of a measurement; empty where it is not made."""
    found = measurements.find(measurements.planned_id(paper.measurement(name, SCALE)))
    return pd.DataFrame() if found is None else found.frame()
