"""The options of the command line."""

from typing import Annotated

import typer

Scale = Annotated[str, typer.Option(help="How much of the protocol: smoke, quick, desk or paper.")]
Item = Annotated[str, typer.Argument(help="One item, e.g. figure1 or algorithm1. Default: all.", show_default=False)]
Seeds = Annotated[int, typer.Option(help="Number of seeds. 0: as the scale says.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or auto (a GPU if there is one).")]

Only = Annotated[str, typer.Option(help="Only the run of the scale with this id; `gbn status` lists them.")]
Jobs = Annotated[
    int,
    typer.Option(
        min=0, max=256, help="Runs at a time. 0: as many as fit on the CPU cores, or on the GPUs as the scale says."
    ),
]
Network = Annotated[str, typer.Argument(help="A network, e.g. f1.", show_default=False)]
Dataset = Annotated[str, typer.Option(help="Data set; see `gbn data check`.")]
BatchSize = Annotated[int, typer.Option(help="Samples per update.")]
BaseBatch = Annotated[int, typer.Option(help="The small batch that --lr-rule and --adapt refer to.")]
GhostSize = Annotated[int, typer.Option(help="Samples normalised together. 0: plain batch normalization.")]
LrRule = Annotated[str, typer.Option(help="Learning rate by batch size: none, sqrt or linear.")]
Adapt = Annotated[bool, typer.Option("--adapt", help="Regime adaptation, as many updates as the base batch.")]
Epochs = Annotated[int, typer.Option(help="Epochs before adaptation. 0: as in the paper.")]
Seed = Annotated[int, typer.Option(help="Decides initial weights, order and augmentation.")]
Threads = Annotated[int, typer.Option(help="CPU threads.")]
MemoryGb = Annotated[
    float,
    typer.Option(
        help="GiB of activations per forward pass; larger batches of ghosts are split. 0: 1 on a CPU, half of a GPU's, "
        "over the runs that share it."
    ),
]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the network; worthwhile for long runs on a GPU.")]
Graph = Annotated[
    bool, typer.Option("--graph", help="Replay updates as CUDA graphs; worthwhile for small batches on a GPU.")
]
Today = Annotated[
    bool,
    typer.Option(
        "--today", help="As one would write it today: BN weights start at 1, and momentum is kept from epoch to epoch."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Train finished runs again.")]

RecipeBatch = Annotated[int, typer.Option("--batch-size", help="Samples per update that you want.", show_default=False)]
TunedBatch = Annotated[
    int, typer.Option("--base-batch", help="Samples per update that the recipe was tuned for.", show_default=False)
]
Rates = Annotated[
    str, typer.Option("--lr", help="Its first rate; or one for each phase, with commas.", show_default=False)
]
RecipeEpochs = Annotated[int, typer.Option("--epochs", help="Its passes over the data.", show_default=False)]
Milestones = Annotated[str, typer.Option(help="Epochs at which its rate changes, with commas.", show_default=False)]
Gamma = Annotated[float, typer.Option(help="Factor of the rate at each milestone, where --lr is one number.")]
Samples = Annotated[int, typer.Option(help="Training samples; those of ImageNet unless given.")]
Rule = Annotated[str, typer.Option(help="How the rate follows the batch size: sqrt, linear or none.")]
Adaptation = Annotated[
    str, typer.Option("--adapt", help="Keep the updates (full), the epochs (none), or a share of the further epochs.")
]
Warmup = Annotated[int, typer.Option(help="Epochs of linear warm-up, after the adaptation.")]
WarmupFrom = Annotated[float, typer.Option(help="The rate that the warm-up starts from; Goyal et al. take --lr.")]
Momentum = Annotated[float, typer.Option(help="Momentum of SGD.")]
WeightDecay = Annotated[float, typer.Option(help="Weight decay of SGD.")]
