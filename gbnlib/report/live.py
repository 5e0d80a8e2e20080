"""Runs that train, as a notebook shows them: a bar, a curve and the error so far of each, and at the end one line."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import log10

import pandas as pd
from IPython import get_ipython
from IPython.display import Markdown, display

from gbnlib import experiments
from gbnlib.experiments import Observer, RunConfig, duration
from gbnlib.report.exhibits import LEFT_ALIGNED

# *Run All* leaves the reader at the last cell; what is above settles within a second.
_INTO_VIEW = """<script>{
  const cell = document.currentScript?.closest(".jp-Cell");
  for (const wait of [0, 1000]) setTimeout(() => cell?.scrollIntoView({block: "center"}), wait);
}</script>"""


def attended() -> bool:
    """Whether somebody sits before the notebook: a front end that takes input, which papermill does not."""
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


def how_to_train() -> str:
    """What to do for what is not trained unasked, in the terms of who executes the notebook."""
    return "set `train = True` in the parameters cell and run all" if attended() else "execute with `-p train True`"


@contextmanager
def watched(configs: Sequence[RunConfig]) -> Iterator[Observer]:
    """Whom to tell while runs train: before a person their bars are updated in place; for all, one line stays."""
    started, shown = time.time(), None
    if attended():
        shown = display(bars(configs, "Training begins.", _INTO_VIEW), raw=True, display_id=True)

    def show(progress: Callable[[], str]) -> None:
        if shown:
            shown.update(
                bars(configs, f"{progress()}; {duration(time.time() - started)} by the clock so far"), raw=True
            )

    try:
        yield Observer(show=show)
    finally:
        line = Markdown(summary(configs, time.time() - started))
        shown.update(line) if shown else display(line)


def bars(configs: Sequence[RunConfig], head: str, script: str = "") -> dict[str, str]:
    """A row a run, those that train first, as HTML with curves and as text, under a line that says how far all are."""
    table = pd.DataFrame(sorted(map(_row, configs), key=lambda row: row["state"] != "running"))
    html = table.style.hide(axis="index").set_table_styles(LEFT_ALIGNED).to_html()
    html = f'<p>{head}</p><div style="max-height: 22em; overflow: auto">{html}</div>{script}'
    return {"text/html": html, "text/plain": f"{head}\n{table.drop(columns='curve').to_string(index=False)}"}


def _row(config: RunConfig) -> dict[str, str]:
    """How far a run is, its validation errors as a curve (from 1 to 100 %, logarithmic), and the last of them."""
    (state, share), errors = experiments.progress(config), experiments.errors_so_far(config)
    across = 118 / experiments.updates(config)
    points = " ".join(f"{1 + across * made:.0f},{31 - 15 * log10(max(error, 1)):.0f}" for made, error in errors)
    line = f'<polyline points="{points}" fill="none" stroke="#0173b2" stroke-width="2"/>'
    return {
        "run": f"{config.method}, batch {config.batch_size}, seed {config.seed}",
        "state": "waits" if state == "missing" else state,
        "done": f"{'█' * round(20 * share):░<20} {share:.0%}",
        "curve": f'<svg width="120" height="32">{line}</svg>',
        "validation error": f"{errors[-1][1]:.2f} %" if errors else "",
    }


def summary(configs: Sequence[RunConfig], seconds: float) -> str:
    """How many runs were trained, and how long that took by the clock and summed over the runs."""
    made = [run for config in configs if (run := experiments.find(config, again=False))]
    summed = duration(sum(run.done["summary"]["seconds"] for run in made))
    left = "" if len(made) == len(configs) else " The next call goes on from there."
    trained = f"{len(made)} of {len(configs)} runs trained"
    return f"{trained}: {duration(seconds)} by the clock, {summed} of training summed over the runs.{left}"
