"""The command line: `gbn plan | run | train | recipe | measure | status | data | report | promote | clean`."""

import io
import os
import sys
from typing import Annotated, Never

import typer

from gbnlib import cli_data, options, signals
from gbnlib.errors import Failed, Interrupted, UsageError
from gbnlib.regimes.recipes import IMAGENET
from gbnlib.terminal import say, show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Reproduce 'Train longer, generalize better'. A scale says how much of the paper's protocol is run: smoke "
    "(tests), quick (minutes on a CPU, no download), desk (a workstation), paper (GPUs). Start with "
    "`gbn plan --scale quick`.",
)
#: What typer raises for wrong options; the class itself has no public name.
WrongUse = typer.BadParameter.__base__

app.add_typer(cli_data.app, name="data")


@app.command()
def plan(item: options.Item = "", scale: options.Scale = "quick", seeds: options.Seeds = 0) -> None:
    """Show which runs an item or a scale needs, which are finished, and how long the others take."""
    from gbnlib.report.listing import plan_text

    typer.echo(plan_text(scale, item, seeds))


@app.command()
def run(
    item: options.Item = "",
    scale: options.Scale = "quick",
    seeds: options.Seeds = 0,
    only: options.Only = "",
    jobs: options.Jobs = 0,
    device: options.Device = "auto",
    memory_gb: options.MemoryGb = 0.0,
    compile: options.Compile = False,
    graph: options.Graph = False,
    force: options.Force = False,
) -> None:
    """Train the runs of an item or a scale. Finished ones are not trained again.

    Stop with Ctrl-C at any time: the same command goes on from there. One run on several devices:
    `torchrun --nproc-per-node 2 -m gbnlib run --only ID`, with the same result.
    """
    from gbnlib import experiments
    from gbnlib.report.listing import configs_of, no_runs_text, summary_text

    execution = {"device": device, "memory_gb": memory_gb, "compile": compile, "graph": graph, "force": force}
    if only:
        if item or seeds or jobs:
            raise UsageError("--only names one run of the scale: leave the item, --seeds and --jobs out.")
        _run_only(only, scale, execution)
        return
    if os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1"):
        raise UsageError("torchrun trains one run: name it with --only, or train your own with `gbn train`.")
    configs = configs_of(scale, item, seeds)
    if not configs:
        raise UsageError(no_runs_text(item, scale))
    say(summary_text(list(dict.fromkeys(configs)), scale))
    experiments.run_all(configs, scale, jobs=jobs, observer=experiments.Observer(say, show), **execution)


def _run_only(run_id: str, scale: str, execution: dict) -> None:
    """Train one planned run and say how far the scale is."""
    from gbnlib import experiments
    from gbnlib.errors import unknown

    planned = {config.id: config for config in experiments.plan_scale(scale)}
    if run_id not in planned:
        raise unknown(f"run of scale {scale}", run_id, planned)
    config = planned[run_id]

    def say_where(line: str) -> None:
        say(f"[{experiments.progress_text(list(planned.values()), scale)}]  {line}")

    if execution["force"] or not experiments.is_done(config):
        say_where(f"{config.id}  {config.method}: starts, {experiments.updates(config):,} updates")
    observer = experiments.Observer(show=show)
    say_where(
        experiments.describe(
            experiments.run(config, observer=observer, **experiments.resources(config, scale), **execution)
        )
    )


@app.command()
def train(
    network: options.Network,
    dataset: options.Dataset = "digits",
    batch_size: options.BatchSize = 128,
    base_batch: options.BaseBatch = 0,
    ghost_size: options.GhostSize = 0,
    lr_rule: options.LrRule = "none",
    adapt: options.Adapt = False,
    today: options.Today = False,
    epochs: options.Epochs = 0,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = 1,
    memory_gb: options.MemoryGb = 0.0,
    compile: options.Compile = False,
    graph: options.Graph = False,
    force: options.Force = False,
) -> None:
    """Train a network with your own batch, rate rule, ghosts and epochs; the rest is the paper's protocol.

    Stop with Ctrl-C at any time: the same command goes on from there. On several devices:
    `torchrun --nproc-per-node 2 -m gbnlib train ...`, with the same result.
    """
    from gbnlib import experiments

    sizes = {"batch_size": batch_size, "base_batch": base_batch, "ghost_size": ghost_size}
    choices = {"dataset": dataset, "lr_rule": lr_rule, "adapt": adapt, "seed": seed}
    choices |= {"initialisation": "today", "momentum_buffer": "kept"} if today else {}
    execution = {"device": device, "threads": threads, "memory_gb": memory_gb, "compile": compile, "graph": graph}
    config = experiments.custom_config(network, epochs, **sizes, **choices)
    if force or not experiments.is_done(config):
        say(f"{config.id}  {config.method}: starts, {experiments.updates(config):,} updates")
    say(
        experiments.describe(
            experiments.run(config, force=force, observer=experiments.Observer(say, show), **execution)
        )
    )


@app.command()
def recipe(
    batch_size: options.RecipeBatch,
    base_batch: options.TunedBatch,
    lr: options.Rates,
    epochs: options.RecipeEpochs,
    milestones: options.Milestones = "",
    gamma: options.Gamma = 0.1,
    momentum: options.Momentum = 0.9,
    weight_decay: options.WeightDecay = 1e-4,
    samples: options.Samples = IMAGENET,
    rule: options.Rule = "sqrt",
    adapt: options.Adaptation = "full",
    warmup: options.Warmup = 0,
    warmup_from: options.WarmupFrom = 0.0,
    ghost_size: options.GhostSize = 0,
) -> None:
    """Carry a recipe of yours to another batch size: the regime, its code, its cost, and what speaks against it.

    A recipe is SGD with a rate that falls in steps, or stays; docs/pytorch.md says what to take for other schedules.
    """
    from gbnlib import claims, regimes

    rates = _numbers("--lr", lr, float)
    made = regimes.recipe(
        batch_size,
        base_batch,
        rates if len(rates) > 1 else rates[0],
        epochs,
        _numbers("--milestones", milestones, int) if milestones else (),
        gamma=gamma,
        momentum=momentum,
        weight_decay=weight_decay,
        samples=samples,
        rule=rule,
        adapt=adapt,
        warmup=warmup,
        warmup_from=warmup_from,
        ghost_size=ghost_size,
    )
    typer.echo(f"{made.text()}\n\nWith gbnlib:\n\n{made.code()}\n\nWith PyTorch alone:\n\n{made.torch_code()}")
    if cautions := claims.cautions(made):
        typer.echo(f"\nWhat finished runs ({claims.evidence_label()}) and papers say against it:")
    for caution in cautions:
        typer.echo(f"- {caution.text}\n  Rests on: {', '.join(caution.rests_on)}")


def _numbers(option: str, given: str, kind: type[int] | type[float]) -> list:
    """The numbers of an option that takes several, with commas between them."""
    try:
        return [kind(part) for part in given.split(",")]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise UsageError(f"{option} takes {what} with commas between them, such as 1,2,3; got {given!r}.") from None


@app.command()
def measure(
    item: options.Item = "",
    scale: options.Scale = "quick",
    device: options.Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Repeat finished measurements.")] = False,
) -> None:
    """Make the measurements of an item or a scale: results other than runs, such as a loss landscape."""
    from gbnlib import measurements, training
    from gbnlib.experiments import duration
    from gbnlib.report.items import planned_name
    from gbnlib.report.listing import measuring_text, no_measurements_text

    training.Execution(device=device)  # said even if nothing is left to measure
    planned = measurements.plan(scale, item and planned_name(item))
    if not planned:
        raise UsageError(no_measurements_text(item, scale))
    for measurement_id, plan in planned.items():
        if force or measurements.find(measurement_id) is None:
            say(f"[{measuring_text(scale, item)}] {plan.name}: about {duration(plan.seconds)}")
            measurements.make(plan, device=device, force=force)
    say(measuring_text(scale, item))


@app.command()
def status(item: options.Item = "", scale: options.Scale = "quick", seeds: options.Seeds = 0) -> None:
    """Show every run of a scale with its state and progress, even while runs train."""
    from gbnlib.report.listing import status_text

    typer.echo(status_text(scale, item, seeds))


@app.command()
def report(scale: options.Scale = "quick") -> None:
    """Build the report of a scale from its executed notebooks; trains nothing."""
    from gbnlib import files, paper
    from gbnlib.report.build import build_report

    typer.echo(build_report(files.results_root(), paper.scale(scale).name))


@app.command()
def promote(item: options.Item = "", scale: options.Scale = "desk") -> None:
    """Copy finished runs (no checkpoints) and measurements to results/reference, which is committed."""
    from gbnlib import experiments, measurements
    from gbnlib.report.listing import configs_of

    copied = [experiments.promote(config) for config in configs_of(scale, item)]
    copied += [measurements.promote(measurement_id) for measurement_id in measurements.plan(scale, item)]
    copied = [path for path in copied if path is not None]
    for path in copied:
        typer.echo(path.name)
    typer.echo(f"{len(copied)} copied to results/reference; what was there already or is not finished was skipped.")


@app.command()
def clean(
    scale: options.Scale = "quick",
    runs: Annotated[bool, typer.Option("--runs", help="Also its runs and measurements, which took time.")] = False,
) -> None:
    """Remove what a scale shows (notebooks, figures, tables, verdicts, report); with --runs its runs too."""
    from gbnlib import files, paper

    files.remove_folder(files.results_root() / paper.scale(scale).name)
    kept = _remove_runs(scale) if runs else 0
    typer.echo(f"Removed {files.results_root() / scale}{' and its runs' * runs}. Reference runs are never removed.")
    if kept:
        typer.echo(
            f"{kept} of its runs and measurements stay: they are being made, or a scale that is shown here has them."
        )


def _remove_runs(scale: str) -> int:
    """Remove what a scale has trained and measured, and say how much of it is left for others."""
    from gbnlib import experiments, files, measurements, paper

    shown = [other for other in paper.scales() if other != scale and (files.results_root() / other).is_dir()]
    needed = {config.id for other in shown for config in experiments.plan_scale(other)}
    needed |= {name for other in shown for name in measurements.plan(other)}
    folders = [experiments.folder(config) for config in experiments.plan_scale(scale)]
    folders += [measurements.root() / name for name in measurements.plan(scale)]
    there = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    gone = [each for each in there if each.name not in needed and not files.is_locked(each.parent, each.name)]
    for folder in gone:
        with files.locked(folder.parent, folder.name):
            files.remove_folder(folder)
    return len(there) - len(gone)


def main() -> None:
    """Run the command line: what the user can fix is one line on stderr and exit code 2, a stop is 130."""
    signals.heed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the locale has no √, its line is shown all the same
    try:
        if app(prog_name="gbn", standalone_mode=False) == signals.STOPPED:
            raise KeyboardInterrupt
    except (Interrupted, KeyboardInterrupt, typer.Abort) as stop:
        _fail(signals.stopped_line(str(stop)), signals.STOPPED)
    except Failed as failure:
        _fail(f"gbn: {failure}", 1)
    except WrongUse as wrong:  # without a message it is a bare `gbn`, which has shown its help
        _fail(f"gbn: {wrong.format_message()}" if wrong.format_message() else "", 2)
    except (ValueError, OSError) as error:
        _fail(f"gbn: {(str(error) or type(error).__name__).splitlines()[0]}", 2)
    sys.exit(0)


def _fail(message: str, code: int) -> Never:
    """Print an error, if there is one to say, and leave."""
    signals.ignore()
    if message:
        print(" ".join(message.splitlines()) if code == 2 else message, file=sys.stderr)
    sys.exit(code)
