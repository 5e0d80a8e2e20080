"""The options of the command line, and which of them go together in `gbn run`."""

import os
from typing import Annotated

import typer

from gbnlib.errors import UsageError

Scale = Annotated[str, typer.Option(help="How much of the protocol: smoke, quick, desk or paper.")]
Item = Annotated[str, typer.Option(help="One item, e.g. figure1 or algorithm1. Default: all.")]
Seeds = Annotated[int, typer.Option(help="Number of seeds. 0: as the scale says.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto (a GPU if there is one).")]

Only = Annotated[str, typer.Option(help="Only the run of the scale with this id; `gbn status` lists them.")]
Jobs = Annotated[
    int,
    typer.Option(
        min=0, max=256, help="Runs at a time. 0: as many as fit on the CPU cores; one if the scale uses a GPU."
    ),
]
Network = Annotated[str, typer.Option(help="Train a run of your own with this network, e.g. f1.")]
Dataset = Annotated[str, typer.Option(help="Own run: data set; see `gbn data check`.")]
BatchSize = Annotated[int, typer.Option(help="Own run: samples per update.")]
BaseBatch = Annotated[int, typer.Option(help="Own run: the small batch that --lr-rule and --adapt refer to.")]
GhostSize = Annotated[int, typer.Option(help="Own run: samples normalised together. 0: plain batch normalization.")]
LrRule = Annotated[str, typer.Option(help="Own run: learning rate by batch size: none, sqrt or linear.")]
Adapt = Annotated[bool, typer.Option("--adapt", help="Own run: regime adaptation, as many updates as the base batch.")]
Epochs = Annotated[int, typer.Option(help="Own run: epochs before adaptation. 0: as in the paper.")]
Seed = Annotated[int, typer.Option(help="Own run: seed.")]
Threads = Annotated[int, typer.Option(help="Own run: CPU threads.")]
MemoryGb = Annotated[
    float,
    typer.Option(
        help="GiB of activations per forward pass; larger batches of ghosts are split. 0: 1 on a CPU, 8 on a GPU."
    ),
]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the network; worthwhile for long runs on a GPU.")]
Force = Annotated[bool, typer.Option("--force", help="Train finished runs again.")]

_OWN = ("dataset", "batch_size", "base_batch", "ghost_size", "lr_rule", "adapt", "epochs", "seed", "threads")
_PLANNED = ("item", "scale", "seeds", "only", "jobs")
#: What `gbn run` would ignore beside --network, beside --only, and without either.
_IGNORED = {"network": _PLANNED, "only": ("item", "seeds", "jobs", *_OWN), "": _OWN}


def refuse_ignored(context: typer.Context) -> None:
    """Refuse an option of `gbn run` that the others leave without effect, and torchrun where one run is not named."""
    kind = next((name for name in ("network", "only") if context.params[name]), "")
    for name in _IGNORED[kind]:
        if context.get_parameter_source(name).name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            if not kind:
                raise UsageError(f"{option} belongs to a run of your own: name its --network too.")
            raise UsageError(f"{option} has no effect with --{kind}. Leave one of them out.")
    if not kind and os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1"):
        raise UsageError("torchrun trains one run: name it with --only, or describe your own with --network.")
