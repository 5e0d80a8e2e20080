"""Playing: a run of your own on the embedded digits, drawn over those of the quick scale; no report shows it."""

import os
from importlib import import_module
from importlib.util import find_spec

import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from gbnlib import analysis, data, experiments, paper
from gbnlib.errors import UsageError, unknown
from gbnlib.report import plots
from gbnlib.report.live import attended, watched

#: What is tried is F1 under the protocol of this scale; with smaller batches it would take minutes.
ROW = paper.protocol("f1", "quick")
LEAST, MOST = 16, data.card(ROW.dataset).train
RATES = ("none", "sqrt", "linear")


def try_it(batch: int = 512, ghost: int = 32, rate: str = "sqrt", same_updates: bool = False) -> None:
    """Train F1 on the embedded digits as you choose, and draw the run over the finished ones of the quick scale.

    It takes 10 to 20 s, with `same_updates` about as many times longer as the batch is larger than the small one: how
    long is said before it begins. The second time the run is read from disk. Where ipywidgets is installed, sliders
    follow. A wrong value is a `UsageError`.

    batch : samples an update. ghost : samples normalised together, 0 for plain batch normalization. rate : "none" (that
    of the small batch), or scaled by the ratio of the batches, "sqrt" or "linear". same_updates : regime adaptation.
    """
    config = chosen(batch, ghost, rate, same_updates)
    if os.environ.get("GBN_REPORT"):
        display(Markdown("*Executed for the report, this cell trains nothing.*"))
        return
    _train_and_draw(config)
    if attended() and find_spec("ipywidgets"):

        def draw(batch: int = batch, ghost: int = ghost, rate: str = rate, same_updates: bool = same_updates) -> None:
            _train_and_draw(chosen(batch, ghost, rate, same_updates))

        sliders = import_module("ipywidgets").interact_manual.options(manual_name="Train")
        sliders(draw, batch=(LEAST, MOST, LEAST), ghost=(0, MOST, LEAST), rate=list(RATES))


def chosen(batch: int, ghost: int, rate: str, same_updates: bool) -> experiments.RunConfig:
    """The run of some choices; one that the quick scale plans is the same run."""
    for name, value, least, most in (("batch", batch, LEAST, MOST), ("ghost", ghost, 2, batch)):
        if type(value) is not int or not (least <= value <= most or (name, value) == ("ghost", 0)):
            none = ", or 0 for plain batch normalization" * (name == "ghost")
            raise UsageError(f"{name} is {value!r}; it must be a whole number from {least} to {most:,}{none}.")
    if MOST % batch == 1:
        raise UsageError(f"batch is {batch}; of {MOST:,} images it leaves one to the last batch, which needs two.")
    if rate not in RATES:
        raise unknown("rate", rate, RATES)
    if type(same_updates) is not bool:
        raise UsageError(f"same_updates is {same_updates!r}; it must be True or False.")
    names = ("dataset", "train_size", "augment", "clip_norm", "initialisation", "momentum_buffer", "evaluation_epochs")
    options = {name: getattr(ROW, name) for name in names} | {"base_batch": ROW.small_batch, "adapt": same_updates}
    return experiments.custom_config(
        ROW.network, ROW.epochs, batch_size=batch, ghost_size=ghost, lr_rule=rate, **options
    )


def _train_and_draw(config: experiments.RunConfig) -> None:
    """Draw a run, trained before if it has to be."""
    if not experiments.is_done(config):
        wait = experiments.duration(max(1, experiments.estimated_seconds(config, "quick")))
        display(Markdown(f"*{experiments.updates(config):,} updates, about {wait}.*"))
        with watched([config]) as observer:
            experiments.run(config, observer=observer)
    others = experiments.load_history(experiments.plan("table1", "quick"))
    axes = plt.subplots(figsize=(8, 4.5))[1]
    for method, runs in others.groupby("method", sort=False) if len(others) else ():
        label = f"{method}, batch {runs.batch_size.iloc[0]}"
        plots.mean_curve(runs, "update", "validation_error", plots.method_style(method) | {"alpha": 0.5}, label, axes)
    yours = experiments.load_history([config])
    axes.plot(yours["update"], yours.validation_error, "k", linewidth=3, label=f"yours, batch {config.batch_size}")
    plots.error_axis(axes)
    ends = analysis.outcomes(others).groupby("method").final_error.mean().to_dict()
    ends["yours"] = analysis.outcomes(yours).final_error[0]
    title = ", ".join(f"{name} ends at {ends[name]:.1f} %" for name in ("yours", "SB", "LB") if name in ends)
    axes.set(xscale="log", xlabel="weight updates", ylabel="validation error (%)", title=title)
    axes.legend(loc="lower left")
    display(axes.figure)
    plt.close(axes.figure)
