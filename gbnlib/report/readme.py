"""The numbers and the picture of README.md and of docs/: `python -m gbnlib.report.readme` makes them anew.

A block of these pages between `<!-- begin NAME -->` and `<!-- end NAME -->` is generated; a test compares.
"""

import functools
import math
import re
from collections.abc import Callable

import pandas as pd

from gbnlib import analysis, claims, experiments, files, paper
from gbnlib.claims.convergence import doubled_history, doubling_gain, shortfall
from gbnlib.data import card
from gbnlib.experiments import duration
from gbnlib.report import answer, answer_figure, benchmarks, evidence
from gbnlib.report.wording import cell

DOCS = files.REPOSITORY / "docs"
PAGES = (files.REPOSITORY / "README.md", DOCS / "evidence.md", DOCS / "speed.md")
#: The picture of README.md for each of the themes of a page.
PICTURES = {"light": DOCS / "answer.svg", "dark": DOCS / "answer-dark.svg"}
_REMEMBERED = " (remembered, perhaps not in the paper)"
_BLOCK = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def rendered(text: str) -> str:
    """A page's text with every generated block made anew."""
    return _BLOCK.sub(lambda match: f"{match[1]}{_BLOCKS[match[2]]()}\n{match[3]}", text)


def measured() -> dict:
    """What `benchmarks/reproduce.py` measured last."""
    return files.read_json(files.reference_root() / "benchmarks" / "reproduce.json")


#: What several blocks show, computed once for all of them.
_verdicts, _reduced_verdicts = functools.cache(evidence.verdicts), functools.cache(evidence.reduced_verdicts)
_table, _ablation_runs = functools.cache(answer.table), functools.cache(evidence.ablation_runs)


def _answer() -> str:
    """Whether the paper holds up, in a sentence, and the findings."""
    verdicts, (declared, changed, ids) = _verdicts(), _ablation_runs()
    effects = pd.concat([analysis.declared_effects(declared), analysis.ablation_effects(declared, changed, ids)])
    found = [*answer.findings(verdicts), *answer.why_it_failed(effects)]
    said = "\n".join(f"- {line}" for line in found)
    trained = answer.in_training(evidence.history("table1"))
    return f"{answer.sentence(verdicts, _table())}{trained}\n\n{said}"


def _picture() -> str:
    """The answer in one picture, in the page's theme."""
    verdicts = _verdicts()
    light, dark = (path.relative_to(files.REPOSITORY) for path in PICTURES.values())
    table = _table()
    alt = f"{answer.title(verdicts)}. {answer.caption(table)} {answer.sentence(verdicts, table)}"
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'<img alt="{alt}" src="{light}"></picture>'
    )


def _claims() -> str:
    """A row a claim: the paper, and what the shipped runs and `quick` say, with the number that decides."""
    reduced = _reduced_verdicts()
    beside = {evidence.reduced_name(network): verdicts for network, verdicts in reduced.items()}
    columns = {"full protocol": _verdicts(), **beside, "quick": _quick_verdicts()}
    found = {name: {each.claim: each for each in verdicts} for name, verdicts in columns.items()}
    rows = [
        {"claim": f"{claim.id} {claim.title}{_REMEMBERED * (claim.tag == 'R')}", "the paper": claim.published}
        | {name: _decided(verdicts.get(claim.id)) for name, verdicts in found.items()}
        for claim in paper.claims().values()
    ]
    table = pd.DataFrame(rows).to_markdown(index=False)
    return f"{table}\n\n*Reduced*: {'; '.join(map(_reduced_row, reduced))}." if reduced else table


def _decided(verdict: claims.Verdict | None) -> str:
    """A verdict and the number that stands for it."""
    if verdict is None or not verdict.tested:
        return "not tested"
    return verdict.verdict + (f", {answer.number(verdict.effect)} ({verdict.effect.what})" if verdict.effect else "")


def _scales() -> str:
    """A row a scale: what it runs, runs, training time by the plan, hardware."""
    rows = []
    for scale in paper.scales().values():
        configs = experiments.plan_scale(scale.name)
        slots = experiments.jobs_on(2, configs, scale.name, gpus=int(scale.on_gpu))
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
    rounded = table.to_markdown(index=False, floatfmt=".2f")
    return "\n".join([rounded, "", f"Data here: {facts['data']}.", "", *map(_told, _quick_verdicts())])


def _quick_verdicts() -> list[claims.Verdict]:
    """The verdicts that `benchmarks/reproduce.py` saw."""
    known = {name: {"statement": claim.statement, "tag": claim.tag} for name, claim in paper.claims().items()}
    return [claims.Verdict(**known[each["claim"]], **each) for each in measured()["verdicts"]]


def _mnist() -> str:
    """The F1 row at the paper's full protocol, what it took, and the verdicts on F1."""
    return "\n".join([*_found(evidence.NETWORK), *map(_told, _verdicts())])


def _reduced() -> str:
    """The rows of other networks that have finished runs, what they are, and the verdicts, or what they wait for."""
    parts, judged = [], _reduced_verdicts()
    for network in evidence.reduced():
        heading = f"### {_reduced_row(network)}"
        told = [_told(verdict) for verdict in judged.get(network, []) if verdict.tested]
        parts += [heading, "", *_found(network), *(told or [_unjudged(network)]), ""]
    return "\n".join(parts[:-1])


def _reduced_row(network: str) -> str:
    """What a reduced row is."""
    row = paper.protocol(network, evidence.SCALE)
    data = f"{row.label} on {row.train_size:,} images of {card(row.dataset).label}"
    return f"{data}: batch {row.small_batch} against {row.large_batch}, {row.epochs} epochs"


def _unjudged(network: str) -> str:
    """Why nothing is said of a row that has finished runs."""
    row, doubled = evidence.history("table1", network), doubled_history(network, evidence.SCALE)
    return f"Nothing is judged yet: {shortfall(network, evidence.SCALE, row, doubled) or 'runs are missing'}."


def _found(network: str) -> list[str]:
    """The row of a network, what it took, and how much of what was planned it is, as lines."""
    configs, history = evidence.configs("table1", network), evidence.history("table1", network)
    runs = [run for config in configs if (run := experiments.find(config)) is not None]
    hours = sum(run.done["summary"]["seconds"] for run in runs) / 3600
    facts = [run.provenance() for run in runs]
    where = sorted({f"{each['threads']} thread of {each['cpu']} ({each['cpu_capability']})" for each in facts})
    made = f"{len(runs)} of {len(configs)} runs, {hours:.1f} h of {' and '.join(where)}"
    command = "`gbn run table1 --scale desk` trains them."
    planned = {item: evidence.configs(item, network) for item in evidence.ITEMS}
    note = f"The verdicts rest on what is finished of the planned runs: {_tally(planned)}."
    return [_row_table(network, history), "", f"{made}; {command}{_doubled(network, history)}", "", note, ""]


def _doubled(network: str, history: pd.DataFrame) -> str:
    """What twice the epochs gain the small batch, as sentences; empty where it is not known."""
    longer = doubled_history(network, evidence.SCALE)
    gain = doubling_gain(history, longer)
    if math.isnan(gain.estimate):
        return ""
    allowed = paper.protocol(network, evidence.SCALE).converged.doubling
    doubled, plain = (analysis.mean(analysis.accuracies(runs, "SB")) for runs in (longer, history))
    return (
        f" Twice the epochs gain SB {gain.text('points')}, over runs of the same seed, where {allowed:g} are allowed, "
        f"and {doubled.estimate - plain.estimate:.2f} over the mean of its {plain.n[0]} seeds."
    )


def _row_table(network: str, history: pd.DataFrame) -> str:
    """The row of a network: the paper's accuracies and ours, and the training errors."""
    names = {"method": "method", "paper": "paper", "ours": "here", "low": "low", "high": "high"}
    names |= {"best": "at the best epoch", "n": "seeds"}
    rows = analysis.compare_with_paper(history)
    label = next(row["label"] for row in paper.published("table1")["rows"] if row["network"] == network)
    table = rows[rows.network == label].rename(columns=names)[list(names.values())].map(lambda value: cell(value, 2))
    trained = {row["method"]: row["training error"] for row in analysis.compare_training(history).to_dict("records")}
    table["training error"] = [trained.get(method, "–") for method in table.method]
    return table.to_markdown(index=False, disable_numparse=True)


def _defaults() -> str:
    """F1 on MNIST by what is as in 2017 and what as today, and what that does to C6."""
    declared, changed, ids = _ablation_runs()
    table = analysis.compare_defaults(declared, changed, ids, "f1").to_markdown(index=False, disable_numparse=True)
    effects = [analysis.declared_effects(declared), analysis.ablation_effects(declared, changed, ids)]
    return f"{analysis.defaults_sentence(pd.concat(effects))}\n\n{table}"


def _ablations() -> str:
    """What changes of one choice of the protocol did to F1 on MNIST."""
    configs = evidence.configs("ablations")
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


def _beyond() -> str:
    """What the studies beyond the paper say of their claims."""
    planned = {name: experiments.plan(name, evidence.SCALE) for name in paper.studies()}
    return "\n".join([f"Finished runs: {_tally(planned)}.", "", *map(_told, evidence.beyond())])


def _tally(planned: dict[str, list[experiments.RunConfig]]) -> str:
    """How many of the planned runs of some items are finished; an item without runs is left out."""
    return ", ".join(
        f"{item} {sum(map(experiments.is_done, runs))} of {len(runs)}" for item, runs in planned.items() if runs
    )


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
    "picture": _picture,
    "answer": _answer,
    "claims": _claims,
    "scales": _scales,
    "times": _times,
    "row": _row,
    "mnist": _mnist,
    "reduced": _reduced,
    "defaults": _defaults,
    "ablations": _ablations,
    "beyond": _beyond,
    "benchmarks": _benchmarks,
}


def picture(theme: str) -> str:
    """The text of README's picture for a theme, as SVG."""
    return answer_figure.svg(_table(), answer.title(_verdicts()), theme)


def main() -> None:
    """Write README.md, its picture and the pages of docs/ anew."""
    for theme, path in PICTURES.items():
        files.write_text(path, picture(theme))
    for page in PAGES:
        files.write_text(page, rendered(page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
