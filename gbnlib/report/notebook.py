"""What every notebook does the same way: check parameters, get runs, save what it shows, say where it comes from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from zlib import crc32

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from gbnlib import analysis, claims, data, experiments, files, measurements, paper
from gbnlib.experiments import RunConfig, provenance
from gbnlib.report import plots
from gbnlib.report.items import Item, get_item
from gbnlib.report.listing import duration, plan_frame, summary_text
from gbnlib.report.parameters import Parameters, patience, read_parameters
from gbnlib.report.shown import Shown
from gbnlib.report.wording import averaged, cell, tally, verdict_card


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
class Notebook:
    """One executing notebook: its item, parameters, runs, runs of ablations and measurements (None: not made)."""

    item: Item
    parameters: Parameters
    configs: list[RunConfig]
    runs: list[experiments.Run] = field(default_factory=list)
    ablation_configs: list[RunConfig] = field(default_factory=list)
    ablation_runs: list[experiments.Run] = field(default_factory=list)
    measured: dict[str, measurements.Measurement | None] = field(default_factory=dict)
    exhibits: int = 0

    @property
    def scale(self) -> str:
        """Name of the scale."""
        return self.parameters.scale

    def networks(self, frame: pd.DataFrame) -> Iterator[tuple[Shown, pd.DataFrame]]:
        """The planned networks in their order, each with its rows of a tidy frame."""
        for position, network in enumerate(dict.fromkeys(config.network for config in self.configs)):
            shown = Shown(network, self.scale, first=position == 0)
            yield shown, shown.rows(frame)

    def show_plan(self) -> None:
        """Show criteria, scale, data and planned runs."""
        criteria = [f"- **{claim}**: {paper.claims()[claim].criterion}" for claim in self.item.claims]
        if criteria:
            display(Markdown("\n".join(["**Criteria**, committed before the runs that they judge:", "", *criteria])))
        display(Markdown(f"**Scale {self.scale}.** {paper.scale(self.scale).summary}"))
        if self.configs:
            cards = [data.card(name) for name in dict.fromkeys(config.dataset for config in self.configs)]
            display(
                Markdown("  \n".join(f"**Data: {card.label}.** {card.note} Source: {card.source}." for card in cards))
            )
            self._show(plan_frame(self.configs), "Runs of this notebook, and how many of them are finished.")
        elif self.item.runs:
            display(Markdown("This scale runs nothing of this notebook."))
        else:
            display(Markdown("This notebook has no runs; the scale sets what it measures or reads."))

    def show_paper_plan(self) -> None:
        """Show what the item trains at paper scale, and how long that takes."""
        configs = experiments.plan(self.item.name, "paper")
        caption = f"The plan at paper scale: {summary_text(configs, 'paper')}."
        self._show(plan_frame(configs).drop(columns="done"), caption)

    def show_deviations(self) -> None:
        """Show where the suite departs from the paper or its code in this item."""
        caption = (
            "Deviations: the paper or its code, here, and why. [P] printed, [C] read in the code, [D] digitised from a "
            "plot, [R] remembered, not verified."
        )
        self._show(pd.DataFrame(paper.deviations(self.item.name)), caption)

    def say(self, text: str) -> None:
        """Show a paragraph."""
        display(Markdown(text))

    def _show(self, table: pd.DataFrame, caption: str) -> None:
        """Show a table, as HTML and as text, with ids that do not change from one execution to the next."""
        style = table.style.hide(axis="index").set_caption(caption).set_uuid(f"{crc32(caption.encode()):08x}")
        display({"text/html": style.to_html(), "text/plain": table.to_string(index=False)}, raw=True)

    def compute(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Train what is missing and allowed; the tidy frames (history, distance) of all finished runs.

        Missing runs that would take longer than `patience()` are trained only when `train` is true.
        """
        self.runs = self._finished(self.configs)
        return experiments.load_runs(self.configs)

    def ablations(self, history: pd.DataFrame) -> pd.DataFrame:
        """What one changed choice of the protocol does to the runs of `history`; trains under the rule of `compute`.

        The table of `analysis.ablation_effects`; empty where the scale has no ablations or none is finished.
        """
        groups = experiments.ablations(self.scale, self.parameters.seeds)
        self.ablation_configs = [config for runs in groups.values() for config in runs]
        self.ablation_runs = self._finished(self.ablation_configs)
        return analysis.ablation_effects(self.first(history), *self._ablation_runs())

    def compare_defaults(self, history: pd.DataFrame) -> pd.DataFrame:
        """The table of `analysis.compare_defaults` for F1, from the runs of `history` and the finished ablations."""
        return analysis.compare_defaults(self.first(history), *self._ablation_runs(), "f1")

    def first(self, history: pd.DataFrame) -> pd.DataFrame:
        """The runs of F1, which all ablations are of."""
        return history[history.network == "f1"] if len(history) else history

    def _ablation_runs(self) -> tuple[pd.DataFrame, dict[tuple[str, str, str], list[str]]]:
        """The history of the finished ablations, and the ids of all of them by what they are of."""
        groups = experiments.ablations(self.scale, self.parameters.seeds)
        ids = {key: [config.id for config in runs] for key, runs in groups.items()}
        return experiments.load_runs([config for runs in groups.values() for config in runs])[0], ids

    def _finished(self, configs: list[RunConfig]) -> list[experiments.Run]:
        """Train what is missing and allowed of some runs; those that are finished."""
        wait = experiments.remaining_seconds(configs, self.scale)
        forced = self.parameters.force and configs
        if forced or (wait and (self.parameters.train or wait <= patience())):
            self._train(configs)
        found = [run for config in configs if (run := experiments.find(config)) is not None]
        if len(found) < len(configs):
            left = duration(experiments.remaining_seconds(configs, self.scale))
            print(f"Missing runs would take about {left}: they are trained with `-p train True`.")
        return found

    def _train(self, configs: list[RunConfig]) -> None:
        """Train with one line of output that is updated in place, and cleared at the end."""
        line = display(Markdown("training …"), display_id=True)

        def tick() -> None:
            line.update(Markdown(f"training … {summary_text(configs, self.scale)}"))

        options = {"force": self.parameters.force, "device": self.parameters.device}
        experiments.run_all(configs, self.scale, tick=tick, **options)
        line.update(Markdown(""))

    def measure(self, name: str, **changes: object) -> pd.DataFrame:
        """The frame of a measurement: from disk, or made now; empty where it is missing and may not be made.

        One that takes longer than `patience()`, or whose data are not there, is made only when the parameter `train` is
        true.

        Parameters
        ----------
        name : a name of `paper.measurements()`.
        **changes : parameters that replace the scale's; an empty or zero value leaves it.
        """
        plan = paper.measurement(name, self.scale)
        changed = {key: value for key, value in changes.items() if value}
        plan = plan.model_copy(update={"parameters": plan.parameters | changed})
        wanted = measurements.planned_id(plan)
        found = measurements.find(wanted)
        if self.parameters.force or (found is None and self._may_make(plan)):
            measurements.make(plan, device=self.parameters.device, force=self.parameters.force)
            found = measurements.find(wanted)
        self.measured[wanted] = found
        return pd.DataFrame() if found is None else found.frame()

    def _may_make(self, plan: paper.MeasurementPlan) -> bool:
        """Whether a missing measurement is made now; if not, say what it takes."""
        if self.parameters.train:
            return True
        state = data.check(plan.parameters["dataset"]) if "dataset" in plan.parameters else "ready"
        if plan.seconds <= patience() and state == "ready":
            return True
        lacking = "" if state == "ready" else f" Its data are {state}."
        wait = duration(plan.seconds)
        print(f"{plan.name} is not measured yet; it would take about {wait}, with `-p train True`.{lacking}")
        return False

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

    def save_figure(
        self,
        figure: Figure,
        name: str,
        caption: str,
        alt: str,
        *,
        network: Shown | None = None,
        runs: pd.DataFrame | None = None,
    ) -> None:
        """Save a figure as PNG and SVG with its caption and alt text, and show it.

        `network` heads figure, caption and alt text, where the figure is of one network; `runs` is the frame that it
        averages over seeds, and adds to the caption how many and with what intervals.
        """
        caption = caption if runs is None else f"{caption} {averaged(runs)}"
        if network:
            figure.suptitle(f"{network}")
            caption, alt = network.words(caption), network.words(alt)
        folder = files.make_folder(self._folder("figures"))
        for ending in ("png", "svg"):
            with files.atomic(files.inside(folder, name, f".{ending}")) as path:
                figure.savefig(path, format=ending, metadata={"Date": None} if ending == "svg" else None)
        self._describe(folder, name, caption=caption, alt=alt)
        plt.close(figure)
        display(figure, metadata={"image/png": {"alt": alt}})
        display(Markdown(f"*{caption}*"))

    def save_table(
        self,
        table: pd.DataFrame,
        name: str,
        caption: str,
        *,
        layout: pd.DataFrame | None = None,
        digits: int = 2,
        network: Shown | None = None,
    ) -> None:
        """Save a table as CSV (full precision) and Markdown (rounded) with its caption, and show it.

        `layout` is the same table laid out for reading, where that differs from the tidy one that the CSV holds;
        `network` heads the caption, where the table is of one network. An empty table is said to be empty.
        """
        caption = network.words(caption) if network else caption
        if table.empty:
            self.say(f"*{caption}* Empty: too few runs or points.")
            return
        folder = files.make_folder(self._folder("tables"))
        shown = (table if layout is None else layout).map(partial(cell, digits=digits))
        files.write_text(files.inside(folder, name, ".csv"), table.to_csv(index=False))
        files.write_text(
            files.inside(folder, name, ".md"), shown.to_markdown(index=False, disable_numparse=True) + "\n"
        )
        self._describe(folder, name, caption=caption)
        self._show(shown, caption)

    def _describe(self, folder: Path, name: str, **words: str) -> None:
        """Write the words of a figure or table beside it, with its place among those of the notebook."""
        self.exhibits += 1
        described = {"name": name, "item": self.item.name, "position": self.exhibits, **words}
        files.write_json(files.inside(folder, name, ".json"), described)

    def verdict(self, history: pd.DataFrame, others: Sequence[claims.Verdict] = ()) -> None:
        """Judge the item's claims by its runs, those of `others` left out; save all verdicts and show them as cards."""
        verdicts = [
            claims.judge(claim, history, item=self.item.name, scale=self.scale, network=network.id)
            for claim in self.item.claims
            if claim not in {other.claim for other in others}
            for network, _ in self.networks(history)
        ]
        self.show_verdicts([*verdicts, *others])

    def show_verdicts(self, verdicts: Sequence[claims.Verdict]) -> None:
        """Save verdicts and show them as cards."""
        claims.write_verdicts(verdicts, self.scale)
        for verdict in verdicts:
            display(Markdown(verdict_card(verdict)))
        if not verdicts:
            display(Markdown(f"**{', '.join(self.item.claims)}: not tested at this scale.**"))

    def footer(self) -> None:
        """Record what the item rests on for the report, and show where the numbers come from."""
        facts = {**provenance.software(), **provenance.hardware()}
        files.write_json(files.inside(self._folder("items"), self.item.name, ".json"), self._record(facts))
        made = [found for found in self.measured.values() if found]
        rows = [("scale", self.scale)]
        if self.configs:
            rows.append(("runs", tally(self.runs, len(self.configs))))
        if self.ablation_configs:
            rows.append(("runs of ablations", tally(self.ablation_runs, len(self.ablation_configs))))
        if self.runs:
            rows.append(("training time", duration(self._training_seconds())))
        if self.measured:
            rows.append(("measurements", tally(made, len(self.measured))))
            rows.append(("measuring time", duration(sum(found.seconds for found in made))))
        rows += [
            (name, facts[name]) for name in ("gbnlib", "engine", "torch", "python", "cpu", "cpu_capability", "commit")
        ]
        self._show(pd.DataFrame(rows, columns=["of", "is"]), "Where these results come from.")

    def _record(self, facts: dict) -> dict:
        """The item's entry for the report."""
        return {
            "item": self.item.name,
            "notebook": self.item.notebook,
            "title": self.item.title,
            "finding": self.item.finding,
            "scale": self.scale,
            "scale_summary": paper.scale(self.scale).summary,
            "networks": list(dict.fromkeys(paper.protocol(c.network, self.scale).label for c in self.configs)),
            "datasets": list(dict.fromkeys(data.card(config.dataset).label for config in self.configs)),
            "claims": list(self.item.claims),
            "planned": len(self.configs),
            "finished": len(self.runs),
            "diverged": sum(run.status == "diverged" for run in self.runs),
            "reference": sum(run.origin != "local" for run in self.runs),
            "seeds": len({run.config.seed for run in self.runs}),
            "ablations_planned": len(self.ablation_configs),
            "ablations_finished": len(self.ablation_runs),
            "training_seconds": self._training_seconds(),
            "measurements": [wanted for wanted, found in self.measured.items() if found],
            "command": f"papermill notebooks/{self.item.notebook}.ipynb out.ipynb -p scale {self.scale}",
            "limits": list(self.item.limits),
            "provenance": facts,
        }

    def _training_seconds(self) -> float:
        """What all finished runs have taken to train."""
        return sum(run.done["summary"]["seconds"] for run in [*self.runs, *self.ablation_runs])

    def _folder(self, kind: str) -> Path:
        """Where this scale's figures, tables or item records lie."""
        return files.results_root() / self.scale / kind
