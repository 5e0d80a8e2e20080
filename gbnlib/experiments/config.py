"""What a run is: its config, its id, and the method of the paper that it is an instance of."""

import hashlib
import json
import reprlib
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from gbnlib import files
from gbnlib.errors import UsageError, unknown
from gbnlib.regimes import Phase, Regime
from gbnlib.regimes.growth import grown

#: Version of the training semantics, raised with a line in CHANGELOG.md when the same config would train otherwise.
ENGINE = 1

#: What no run needs more of: it keeps arithmetic finite, ids short, and a slip of the keyboard from training for years.
MOST = 10**9
MOST_EPOCHS = 10**6

Count = Annotated[int, Field(ge=0, le=MOST)]
PositiveCount = Annotated[int, Field(gt=0, le=MOST)]
Epochs = Annotated[int, Field(gt=0, le=MOST_EPOCHS)]
Amount = Annotated[float, Field(ge=0, le=MOST)]


class RunConfig(BaseModel):
    """One training of one network, seed included; everything that decides its result and nothing else.

    Attributes
    ----------
    network, dataset : names of `build_network` and of the data catalogue.
    train_size : training images used; 0 means all.
    held_out : further training images that evaluations judge by; the validation images are looked at once, at the end.
    batch_size : samples in an update, over all devices.
    ghost_size : samples normalised together; 0 means plain batch normalization.
    base_batch : the small batch that the rate rule and the adaptation refer to; 0 means `batch_size`.
    regime : phases before scaling and adaptation; `epochs` is their end.
    lr_rule : "none", "sqrt" (η √(batch / base)) or "linear" (η batch / base).
    adapt : regime adaptation, every epoch number times batch / base.
    grow_to : where the rate would drop the batch grows in its place, by as much, up to this size (Smith et al. 2018);
        0 means that the rate drops.
    warmup_epochs : linear warm-up, in epochs of the final regime.
    augment : "official" or "none".
    optimizer : "sgd", with momentum; or "lars" or "lamb", whose rate is one a layer (You et al. 2017, 2020), from timm.
    clip_norm : global L2 norm that the gradient is clipped to; 0 means no clipping.
    noise : σ of multiplicative noise z ~ N(1, σ²) on each sample's gradient.
    remainder : the last ghost of a batch, "own", "error" or "official" (as many ghosts as in a full batch).
    running : running statistics, "sequential" or "mean".
    evaluation : what an evaluation normalises by, "running" statistics or ones "recomputed" for it.
    precision : "fp32" (IEEE's, also in products and convolutions on a GPU), "tf32" (there, on a GPU only) or "bf16".
    initialisation : initial weights as drawn "today" or in "2017"; see `build_network`.
    momentum_buffer : "kept" from epoch to epoch, or "reset" at the start of each, as the official code does.
    evaluation_epochs : epochs of the regime before adaptation between two evaluations.
    seed : decides initial weights, order, augmentation and noise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    dataset: str
    train_size: Count = 0
    held_out: Count = 0
    batch_size: PositiveCount
    ghost_size: Count = 0
    base_batch: Count = 0
    regime: tuple[Phase, ...]
    lr_rule: Literal["none", "sqrt", "linear"] = "none"
    adapt: bool = False
    grow_to: Count = 0
    warmup_epochs: Count = 0
    epochs: Epochs
    augment: Literal["official", "none"] = "official"
    optimizer: Literal["sgd", "lars", "lamb"] = "sgd"
    clip_norm: Amount = 0.0
    noise: Amount = 0.0
    remainder: Literal["own", "error", "official"] = "own"
    running: Literal["sequential", "mean"] = "sequential"
    evaluation: Literal["running", "recomputed"] = "running"
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    initialisation: Literal["today", "2017"] = "today"
    momentum_buffer: Literal["kept", "reset"] = "kept"
    evaluation_epochs: Epochs = 1
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 0

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _one_line(error) from None
        except TypeError as error:  # of a phase or a regime, which pydantic lets through
            raise UsageError(f"regime: {error}; it takes phases of epoch, lr, momentum, weight_decay.") from None

    @field_validator("network", "dataset")
    @classmethod
    def _names(cls, value: str, info: ValidationInfo) -> str:
        """They become part of the name of a folder."""
        return files.check_name(str(info.field_name), value)

    @field_validator("regime", mode="before")
    @classmethod
    def _phases(cls, value: Any) -> Any:
        return tuple(Phase(**phase) if isinstance(phase, dict) else phase for phase in value)

    @field_serializer("regime")
    def _plain_phases(self, value: tuple[Phase, ...]) -> list[dict[str, int | float]]:
        return [{"epoch": phase.epoch, **{k: float(v) for k, v in phase.changes().items()}} for phase in value]

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if (epochs := self.schedule().epochs) > MOST_EPOCHS:
            raise ValueError(f"regime adaptation makes {epochs:,} epochs; at most {MOST_EPOCHS:,} are allowed")
        if self.remainder == "official" and self.ghost_size and self.batch_size < self.ghost_size:
            raise ValueError(f"remainder 'official' needs batch_size {self.batch_size} >= ghost_size {self.ghost_size}")
        if self.optimizer != "sgd" and self.momentum_buffer == "reset":
            raise ValueError(
                f"momentum_buffer 'reset' is of the official code's SGD, not of optimizer {self.optimizer!r}"
            )
        if self.grow_to and (self.grow_to < self.batch_size or self.remainder == "official"):
            raise ValueError(
                f"grow_to {self.grow_to} needs a batch_size of at most that, and a remainder that is no count"
            )
        return self

    @property
    def ratio(self) -> float:
        """Batch size over base batch."""
        return self.batch_size / (self.base_batch or self.batch_size)

    @property
    def method(self) -> str:
        """The column of Table 1 that the run belongs to; with noise on the gradients, none of them.

        Without a base batch nothing says that the batch is small or large, and the method is "batch 512".
        """
        if not self.base_batch:
            parts = [f"batch {self.batch_size}", "GBN" * bool(self.ghost_size)]
        elif self.ratio == 1:
            parts = ["SB"]
        else:
            parts = ["LB", "LR" * (self.lr_rule != "none"), "GBN" * bool(self.ghost_size), "RA" * self.adapt]
        parts.append("noise" * bool(self.noise))
        return "+".join(filter(None, parts))

    @property
    def largest_batch(self) -> int:
        """The batch size, or the last one where batches grow."""
        return max([self.batch_size, *(size for _, size in self.growth())])

    @property
    def whole_batches(self) -> bool:
        """Whether a batch goes through the network at once: its parts, in micro-batches, would not add up to it."""
        return not self.ghost_size or self.running == "mean"

    @property
    def evaluate_every(self) -> int:
        """Epochs between evaluations: an adapted run is looked at as often per update as the small batch."""
        return self.evaluation_epochs * (max(1, round(self.ratio)) if self.adapt else 1)

    @property
    def id(self) -> str:
        """Run id: readable parts, then 12 hex digits over the engine and all fields that differ from their default."""
        return f"{self.family}-{_digest(self, ENGINE)}"

    @property
    def family(self) -> str:
        """The readable part of the id."""
        return f"{self.network}-{self.dataset}-b{self.batch_size}-s{self.seed}"

    def schedule(self) -> Regime:
        """The regime as trained: scaled, adapted, warmed up."""
        return _schedule(self)[0]

    def growth(self) -> tuple[tuple[int, int], ...]:
        """(epoch, batch size) from which epochs on batches are larger."""
        return _schedule(self)[1]


# Kept, because a plan of a thousand runs asks for them again and again.
@cache
def _digest(config: RunConfig, engine: int) -> str:
    fields = config.model_dump(mode="json", exclude_defaults=True)
    canonical = json.dumps({"engine": engine, **fields}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


@cache
def _schedule(config: RunConfig) -> tuple[Regime, tuple[tuple[int, int], ...]]:
    base = config.base_batch or config.batch_size
    regime = Regime(phases=config.regime, epochs=config.epochs).scaled(config.batch_size, base, rule=config.lr_rule)
    if config.adapt:
        regime = regime.adapted(config.batch_size, base)
    regime, growth = grown(regime, config.batch_size, config.grow_to) if config.grow_to else (regime, ())
    return (regime.with_warmup(config.warmup_epochs) if config.warmup_epochs else regime), growth


def _one_line(error: ValidationError) -> UsageError:
    """The first complaint of pydantic as one line that names the field, the value and what is allowed."""
    first = error.errors()[0]
    if isinstance(said := first.get("ctx", {}).get("error"), UsageError):
        return said
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown("run option", name, RunConfig.model_fields)
    given = "" if first["type"] == "missing" or not name else f" (given: {reprlib.repr(first['input'])})"
    return UsageError(f"{name or 'config'}: {first['msg']}{given}")
