"""What every notebook does the same way: check parameters, get runs, save what it shows, say where it comes from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from IPython.display import display

from gbnlib import claims, data, experiments, files, paper
from gbnlib.claims.decision import INCONCLUSIVE
from gbnlib.experiments import duration, provenance
from gbnlib.report import plots
from gbnlib.report.cards import cards
from gbnlib.report.exhibits import Exhibits
from gbnlib.report.items import get_item
from gbnlib.report.listing import plan_frame, summary_text
from gbnlib.report.live import how_to_train
from gbnlib.report.network_view import NetworkView
from gbnlib.report.parameters import patience, read_parameters
from gbnlib.report.record import Record
from gbnlib.report.results import Results
from gbnlib.report.wording import finding, tally

#: How runs are told that have one value alone of what a figure compares.
_LONE = {
    "batch_size": "of batch size {}",
    "high_rate": "with a first phase of {:g} epochs",
    "method": "of method {}",
}


def begin(item: str, namespace: Mapping[str, object]) -> "Notebook":
    """Check the calling notebook's parameters (`globals()`), set the theme, show the plan.

    Raises
    ------
    UsageError : a parameter is unknown or wrong; nothing has been trained.
    """
    parameters = read_parameters(namespace, item)
    plots.set_theme()
    named = [name for name in get_item(item).runs if name != "ablations"]
    configs = [config for name in named for config in experiments.plan(name, parameters.scale, parameters.seeds)]
    notebook = Notebook(get_item(item), parameters, configs)
    notebook.show_plan()
    return notebook


@dataclass
class Notebook(Results, Exhibits):
    """One executing notebook: its item, its parameters, what it gets and what it shows."""

    @property
    def scale(self) -> str:
        """Name of the scale."""
        return self.parameters.scale

    def networks(self, frame: pd.DataFrame, compare: str = "") -> Iterator[tuple[NetworkView, pd.DataFrame]]:
        """The planned networks in their order, each with its rows of a tidy frame.

        Left out, and named, is one without runs, or with a single value of the column `compare`.
        """
        for network in self._planned_networks():
            rows = network.rows(frame)
            if len(rows) and (not compare or rows[compare].nunique() > 1):
                yield network, rows
            elif len(rows):
                only = _LONE[compare].format(rows[compare].iloc[0])
                self.say(f"*{network}: only runs {only}, with nothing to compare.*")
            else:
                self.say(f"*{network}: no finished runs.*")

    def _planned_networks(self) -> list[NetworkView]:
        """The planned networks in their order."""
        names = dict.fromkeys(config.network for config in self.configs)
        return [NetworkView(name, self.scale, first=place == 0) for place, name in enumerate(names)]

    def finding(self, frame: pd.DataFrame, *claim: str, network: str = "f1") -> str:
        """What a frame says of the first of some claims that it decides, or else tests, as the title of a figure."""
        of = {"item": self.item.name, "scale": self.scale, "network": network}
        verdicts = [claims.judge(each, frame, **of) for each in claim]
        verdicts.sort(key=lambda verdict: verdict.verdict == INCONCLUSIVE)
        return next((finding(verdict) for verdict in verdicts if verdict.tested), "")

    def show_plan(self) -> None:
        """Show criteria, scale, data and planned runs."""
        criteria = [f"- **{claim}**: {paper.all_claims()[claim].criterion}" for claim in self.item.claims]
        if criteria:
            self.say("\n".join(["**Criteria**, committed before the runs that they judge:", "", *criteria]))
        self.say(f"**Scale {self.scale}.** {paper.scale(self.scale).summary}")
        if self.configs:
            cards = [data.card(name) for name in dict.fromkeys(config.dataset for config in self.configs)]
            self.say("  \n".join(f"**Data: {card.label}.** {card.note} Source: {card.source}." for card in cards))
            self._show(plan_frame(self.configs), "Runs of this notebook, and how many of them are finished.")
            self.say(self._plan_time())
        elif self.item.runs:
            self.say("This scale runs nothing of this notebook.")
        else:
            self.say("This notebook has no runs; the scale sets what it measures or reads.")

    def _plan_time(self) -> str:
        """How long the missing runs of the plan take, and whether they are trained."""
        left = experiments.remaining_seconds(self.configs, self.scale)
        if not left:
            return "**Time.** Nothing is left to train."
        asked = "now" if self.parameters.train or left <= patience() else f"if you {how_to_train()}"
        return f"**Time.** About {duration(left)} by the clock for the missing runs, which are trained {asked}."

    def show_paper_plan(self) -> None:
        """Show what the item trains at paper scale, and how long that takes."""
        configs = experiments.plan(self.item.name, "paper")
        caption = f"The plan at paper scale: {summary_text(configs, 'paper')}."
        self._show(plan_frame(configs).drop(columns="done"), caption)

    def show_deviations(self) -> None:
        """Show where the suite departs from the paper or its code in this item."""
        deviations = pd.DataFrame(paper.deviations(self.item.name))
        if deviations.empty:
            self.say("The paper has nothing of this to deviate from.")
            return
        caption = (
            "Deviations: the paper or its code, here, and why. [P] printed, [C] read in the code, [D] digitised from a "
            "plot, [R] remembered, not verified."
        )
        self._show(deviations, caption)

    def check(self, history: pd.DataFrame | None = None) -> None:
        """Say what is complete, what is missing and what diverged; assert what must never be false."""
        if self.measured:
            made = [found for found in self.measured.values() if found]
            print(f"{len(made)} of {len(self.measured)} measurements made.")
        if self.configs:
            self._check_runs(history)
        elif history is not None:
            print("This scale has no runs of this notebook.")

    def _check_runs(self, history: pd.DataFrame) -> None:
        """Say which runs are complete, missing or diverged."""
        diverged = [run.config.id for run in self.runs if run.status == "diverged"]
        older = [run.config.id for run in self.runs if run.origin == "older engine"]
        print(f"{len(self.runs)} of {len(self.configs)} runs finished, {len(diverged)} of them diverged.")
        for name, ids in (("diverged", diverged), ("made by an older engine", older)):
            for run_id in ids:
                print(f"  {name}: {run_id}")
        assert len(history) == 0 or history.run.nunique() == len(self.runs)
        assert not history.duplicated(["run", "update"]).any() if len(history) else True

    def study(self) -> pd.DataFrame:
        """The frame of `experiments.load_study`; trains what is missing under the rule of `compute`."""
        self.runs = self._finished(self.configs)
        return experiments.load_study(self.item.name, self.scale, self.parameters.seeds)

    def verdict(self, frame: pd.DataFrame, others: Sequence[claims.Verdict] = (), **beside: pd.DataFrame) -> None:
        """Judge the item's claims by a frame, those of `others` left out; save all verdicts and show them as cards.

        `beside` are frames that the evidence tells of; see `claims.judge`.
        """
        verdicts = [
            claims.judge(claim, frame, item=self.item.name, scale=self.scale, network=network.id, beside=beside)
            for claim in self.item.claims
            if claim not in {other.claim for other in others}
            for network in self._planned_networks()
        ]
        self.show_verdicts([*verdicts, *others])

    def show_verdicts(self, verdicts: Sequence[claims.Verdict]) -> None:
        """Save verdicts and show them as cards."""
        claims.write_verdicts(verdicts, self._folder("verdicts"))
        for card in cards(verdicts):
            display(card, raw=True)
        if not verdicts:
            self.say(f"**{', '.join(self.item.claims)}: not tested at this scale.**")

    def footer(self) -> None:
        """Record what the item rests on for the report, and show where the numbers come from."""
        facts = {**provenance.software(), **provenance.machine()}
        self._record(facts).write(files.inside(self._folder("items"), self.item.name, ".json"))
        made = [found for found in self.measured.values() if found]
        rows = [("scale", self.scale)]
        if self.configs:
            rows.append(("runs", tally(self.runs, len(self.configs))))
        if self.ablation_configs:
            rows.append(("runs of ablations", tally(self.ablation_runs, len(self.ablation_configs))))
        if self.runs:
            rows.append(("training, summed over runs", duration(self._training_seconds())))
        if self.measured:
            rows.append(("measurements", tally(made, len(self.measured))))
            rows.append(("measuring time", duration(sum(found.seconds for found in made))))
        self._show(pd.DataFrame([*rows, *facts.items()], columns=["what", "value"]), "Where these results come from.")
        if self.by_hand:
            self.say(f"Executed by hand: what was saved is in `{self._folder('')}`, and the report is as it was.")

    def _record(self, facts: dict) -> Record:
        """What the report says of the item."""
        return Record(
            datasets=tuple(dict.fromkeys(data.card(config.dataset).label for config in self.configs)),
            planned=len(self.configs),
            finished=len(self.runs),
            diverged=sum(run.status == "diverged" for run in self.runs),
            reference=sum(run.origin != "local" for run in self.runs),
            seeds=len({run.config.seed for run in self.runs}),
            ablations_planned=len(self.ablation_configs),
            ablations_finished=len(self.ablation_runs),
            training_seconds=self._training_seconds(),
            runs=tuple(run.config.id for run in [*self.runs, *self.ablation_runs]),
            measurements=tuple(measurement_id for measurement_id, found in self.measured.items() if found),
            exhibits=tuple(self.exhibits.values()),
            provenance=facts,
        )
