"""The numbers in README.md: `python -m gbnlib.report.readme` writes them anew from the files they come from.

A block of README.md between `<!-- begin NAME -->` and `<!-- end NAME -->` is generated; a test compares.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from gbnlib import analysis, claims, experiments, files, measurements, paper
from gbnlib.analysis import diffusion
from gbnlib.report import benchmarks
from gbnlib.report.items import get_item
from gbnlib.report.listing import duration
from gbnlib.report.wording import cell

README = files.REPOSITORY / "README.md"
_MNIST_ITEMS = ("figure1", "figure2", "figure3", "table1", "appendix_a")
_BLOCK = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def rendered(text: str) -> str:
    """README's text with every generated block made anew."""
    return _BLOCK.sub(lambda match: f"{match[1]}{_BLOCKS[match[2]]()}\n{match[3]}", text)


def measured() -> dict:
    """What `benchmarks/reproduce.py` measured last."""
    return files.read_json(files.reference_root() / "benchmarks" / "reproduce.json")


def _scales() -> str:
    """A row a scale: what it runs, runs, training time by the plan, hardware."""
    rows = []
    for scale in paper.scales().values():
        configs = experiments.plan_scale(scale.name)
        slots = experiments.jobs_on(2, configs, scale.name)
        seconds = sum(experiments.estimated_seconds(config, scale.name) for config in configs) / slots
        row = {"scale": f"`{scale.name}`", "what it runs": scale.summary, "runs": len(configs)}
        rows.append({**row, "training, estimated": duration(seconds), "hardware": scale.hardware})
    return pd.DataFrame(rows).to_markdown(index=False)


def _times() -> str:
    """How long the commands took, and on what."""
    facts = measured()
    rows = [
        ("`make reproduce`, the first time after set-up", duration(facts["first_seconds"])),
        ("`make reproduce` again, nothing to train", duration(facts["again_seconds"])),
    ]
    table = pd.DataFrame(rows, columns=["command", "measured"]).to_markdown(index=False)
    where = f"{facts['cores']} cores of {facts['cpu']} ({facts['cpu_capability']}), PyTorch {facts['torch']}"
    return f"{table}\n\nMeasured on {where}, by `benchmarks/reproduce.py`."


def _row() -> str:
    """The F1 row as the quick scale found it, and its verdicts."""
    facts = measured()
    columns = {"method": "method", "paper": "paper (MNIST)", "ours": "here", "low": "low", "high": "high", "n": "seeds"}
    table = pd.DataFrame(facts["table1"])[list(columns)].rename(columns=columns)
    told = {name: {"statement": claim.statement, "tag": claim.tag} for name, claim in paper.claims().items()}
    verdicts = [claims.Verdict(**told[each["claim"]], **each) for each in facts["verdicts"]]
    rounded = table.to_markdown(index=False, floatfmt=".2f")
    return "\n".join([rounded, "", f"Data here: {facts['data']}.", "", *map(_told, verdicts)])


def _mnist() -> str:
    """The F1 row at the paper's full protocol, what it took, and the verdicts on F1."""
    configs = _mnist_configs("table1")
    runs = [run for config in configs if (run := experiments.find(config)) is not None]
    hours = sum(run.done["summary"]["seconds"] for run in runs) / 3600
    facts = [run.provenance() for run in runs]
    where = sorted({f"{each['threads']} thread of {each['cpu']} ({each['cpu_capability']})" for each in facts})
    made = f"{len(runs)} of {len(configs)} runs, {hours:.1f} h of {' and '.join(where)}"
    command = "`gbn run table1 --scale desk` trains them."
    finished = {item: sum(map(experiments.is_done, _mnist_configs(item))) for item in _MNIST_ITEMS}
    tally = ", ".join(f"{item} {count} of {len(_mnist_configs(item))}" for item, count in finished.items())
    note = f"The verdicts rest on what is finished of the planned runs: {tally}."
    return "\n".join([_mnist_table(), "", f"{made}; {command}", "", note, "", *map(_told, _mnist_verdicts())])


def _mnist_table() -> str:
    """The F1 row: the paper's accuracies and ours, and the training errors."""
    history, _ = experiments.load_runs(_mnist_configs("table1"))
    names = {"method": "method", "paper": "paper", "ours": "here", "low": "low", "high": "high"}
    names |= {"best": "at the best epoch", "n": "seeds"}
    rows = analysis.compare_with_paper(history)
    label = next(row["label"] for row in paper.published("table1")["rows"] if row["network"] == "f1")
    table = rows[rows.network == label].rename(columns=names)[list(names.values())].map(lambda value: cell(value, 2))
    trained = {row["method"]: row["training error"] for row in analysis.compare_training(history).to_dict("records")}
    table["training error"] = [trained.get(method, "–") for method in table.method]
    return table.to_markdown(index=False, disable_numparse=True)


def _ablation_runs() -> tuple[pd.DataFrame, pd.DataFrame, dict[tuple[str, str, str], list[str]]]:
    """The histories of F1's row and of its ablations, and the ids of the latter by what they are of."""
    ids = {key: [config.id for config in runs] for key, runs in experiments.ablations("desk").items()}
    frames = [experiments.load_runs(_mnist_configs(item))[0] for item in ("table1", "ablations")]
    return *frames, ids


def _defaults() -> str:
    """F1 on MNIST by what is as in 2017 and what as today, and what that does to C6."""
    declared, changed, ids = _ablation_runs()
    table = analysis.compare_defaults(declared, changed, ids, "f1").to_markdown(index=False, disable_numparse=True)
    effects = [analysis.declared_effects(declared), analysis.ablation_effects(declared, changed, ids)]
    return f"{analysis.defaults_sentence(pd.concat(effects))}\n\n{table}"


def _ablations() -> str:
    """What changes of one choice of the protocol did to F1 on MNIST."""
    configs = _mnist_configs("ablations")
    effects = analysis.ablation_effects(*_ablation_runs())
    shown = (
        analysis.compare_ablations(effects)
        .map(lambda value: cell(value, 2))
        .to_markdown(index=False, disable_numparse=True)
    )
    finished = sum(map(experiments.is_done, configs))
    command = "`gbn run ablations --scale desk` trains them."
    findings = "\n".join(f"- {line}" for line in analysis.ablation_findings(effects))
    return f"{findings}\n\n{shown}\n\n{finished} of {len(configs)} runs are finished; {command}"


def _mnist_configs(item: str) -> list[experiments.RunConfig]:
    """The runs of F1 on MNIST for one item."""
    return [config for config in experiments.plan(item, "desk") if config.network == "f1"]


def _mnist_verdicts() -> list[claims.Verdict]:
    """What the finished runs and measurements of F1 on MNIST say of its claims, in their order."""
    verdicts = []
    for item in _MNIST_ITEMS:
        history, distance = experiments.load_runs(_mnist_configs(item))
        frame = diffusion.high_rate_curves(history, distance) if item == "figure2" else history
        for claim in set(get_item(item).claims) & set(claims.RUN_CLAIMS):
            verdicts.append(claims.judge(claim, frame, item=item, scale="desk", network="f1"))
    made = {name: _measured(name) for name in ("landscape_f1", "trajectory_f1", "landscape_null")}
    landscape, trajectory, null = made.values()
    if len(landscape):
        beside = {"trajectory": trajectory, "null": null}
        verdicts.append(claims.judge("C5", landscape, item="figure4", scale="desk", beside=beside))
    return [verdict for verdict in claims.completed(verdicts, "desk") if verdict.network]


def _measured(name: str) -> pd.DataFrame:
    """The frame of a measurement at desk; empty where it is not made."""
    found = measurements.find(measurements.planned_id(paper.measurement(name, "desk")))
    return pd.DataFrame() if found is None else found.frame()


def _told(verdict: claims.Verdict) -> str:
    """A verdict as an entry of a list."""
    return f"- {verdict.claim}, {verdict.clause}: **{verdict.verdict}**. {verdict.evidence}."


def _benchmarks() -> str:
    """The tables of the other benchmarks."""
    parts = [
        f"### {title}\n\n{table.to_markdown(index=False)}\n\n{notes}" for title, table, notes in benchmarks.sections()
    ]
    return "\n\n".join(parts)


_BLOCKS: dict[str, Callable[[], str]] = {
    "scales": _scales,
    "times": _times,
    "row": _row,
    "mnist": _mnist,
    "defaults": _defaults,
    "ablations": _ablations,
    "benchmarks": _benchmarks,
}


def main(path: Path = README) -> None:
    """Write README.md anew."""
    files.write_text(path, rendered(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
