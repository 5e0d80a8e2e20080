"""The paper as data: its protocol, its numbers, its claims with their criteria, and how much of it each scale runs."""

import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from gbnlib.errors import unknown

METHODS = ("SB", "LB", "LB+LR", "LB+LR+GBN", "LB+LR+GBN+RA")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Convergence(_Frozen):
    """What the small batch of a row must reach for its verdicts to mean anything; 0 asks nothing.

    `memorised`: points by which its training error must lie under its validation error. `accuracy`: its lowest mean
    validation accuracy in %. `doubling`: points that twice the epochs may gain at most, a mean
    over seeds.
    """

    memorised: NonNegativeFloat = 0.0
    accuracy: NonNegativeFloat = 0.0
    doubling: NonNegativeFloat = 0.0


class Protocol(_Frozen):
    """The protocol of one network, as the paper has it or as a scale reduces it.

    `batches` names the batch sizes of methods that are not run at `large_batch` alone; `base_batch` the batch that the
    √ rule and the adaptation of a method refer to, where it is not the small batch; `seeds` is 0 where the scale
    decides; `converged` is what the small batch must reach before the row is judged; `bf16` names the methods that
    train under bfloat16 autocast. A run takes `devices` GPUs at a scale for GPUs, `threads` for each, and `ram_gb` of
    memory besides theirs; or `runs_per_gpu` of them share one. Estimates rest on `images_per_second`, trained on in
    each precision by a run alone, and on `update_ms`, milliseconds an update besides.
    """

    network: str
    label: str
    dataset: str
    small_batch: PositiveInt
    large_batch: PositiveInt
    ghost_size: PositiveInt
    epochs: PositiveInt
    clip_norm: PositiveFloat
    augment: Literal["official", "none"]
    initialisation: Literal["today", "2017"]
    momentum_buffer: Literal["kept", "reset"]
    base_batch: dict[str, PositiveInt]
    phases: tuple[dict[str, int | float], ...]
    tags: dict[str, Literal["P", "C", "D", "R"]]
    batches: dict[str, tuple[PositiveInt, ...]] = {}
    train_size: NonNegativeInt = 0
    evaluation_epochs: PositiveInt = 1
    converged: Convergence = Convergence()
    seeds: NonNegativeInt = 0
    bf16: tuple[str, ...] = ()
    threads: PositiveInt = 1
    devices: PositiveInt = 1
    runs_per_gpu: PositiveInt = 1
    ram_gb: PositiveInt = 4
    images_per_second: dict[Literal["fp32", "tf32", "bf16"], PositiveFloat] = {}
    update_ms: NonNegativeFloat = 0.0


class ScaleItem(_Frozen):
    """What a scale runs of an item; what is left empty is as the item has it for all of its kind.

    `networks` and `methods` of a table, or `batch_sizes` of a figure by network, in the order shown; `names` of
    ablations; `high_rate_epochs` are further lengths of the small batch's first phase; `seeds` is 0 where the scale or
    the row decides.
    """

    networks: tuple[str, ...] = ()
    methods: tuple[str, ...] = METHODS
    batch_sizes: dict[str, tuple[PositiveInt, ...]] = {}
    high_rate_epochs: dict[str, tuple[PositiveInt, ...]] = {}
    names: tuple[str, ...] = ()
    seeds: NonNegativeInt = 0


class Scale(_Frozen):
    """How much of the protocol a scale runs: rows replace protocol values, items say what is shown.

    A scale that is `on_gpu` gives its time in GPU-hours.
    """

    name: str
    summary: str
    hardware: str
    seeds: PositiveInt
    rows: dict[str, dict[str, Any]]
    items: dict[str, ScaleItem]
    on_gpu: bool = False


class Claim(_Frozen):
    """A claim of the paper, or of its follow-ups; `criterion` is empty while no item judges it.

    `title` says it in a few plain words, `otherwise` what was found where it is not reproduced. `group` is "finding",
    "diffusion" (the theory behind it), "identity", "uncertain" for one that may not be the paper's, or "beyond" for
    one of the follow-ups.
    """

    id: str
    title: str
    otherwise: str
    group: Literal["finding", "diffusion", "identity", "uncertain", "beyond"]
    statement: str
    published: str
    tag: str
    criterion: str = ""
    margin: float = 0.0


class MeasurementPlan(_Frozen):
    """What is measured rather than trained, at one scale: for which item, with which parameters, and
    about how many seconds that takes on two CPU cores. `gbnlib.measurements` has the function that makes it.

    `version` is raised when the same parameters would now give another result.
    """

    name: str
    item: str
    parameters: dict[str, Any]
    seconds: PositiveFloat
    version: PositiveInt = 1


class Ablation(_Frozen):
    """One choice of the protocol changed, for some methods: the fields of a run config that it replaces, and why.

    `on` names the ablation that it is tried on top of, and compared with, in place of the declared protocol.
    """

    name: str
    label: str
    why: str
    methods: tuple[str, ...]
    changes: dict[str, Any]
    on: str = ""


class Arm(_Frozen):
    """One kind of run of a study: a method of Table 1, and what `changes` replaces of its config."""

    method: str
    changes: dict[str, Any] = {}


class Study(_Frozen):
    """A study beyond the paper at one scale; `beyond.toml` says what its fields mean."""

    name: str
    arms: dict[str, Arm]
    vary: dict[str, tuple[Any, ...]] = {}
    target: PositiveFloat | None = None


@cache
def _read(name: str) -> dict[str, Any]:
    """One of the TOML files of this package."""
    return tomllib.loads(resources.files("gbnlib.paper").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _of_scale(entry: dict[str, Any], scale_name: str) -> dict[str, Any]:
    """What an entry has for a scale; `paper` is as `desk` where it has nothing of its own."""
    return entry.get(scale(scale_name).name, entry["desk"])


@cache
def scales() -> dict[str, Scale]:
    """All scales by name, from the smallest to the largest."""
    return {name: Scale(name=name, **entry) for name, entry in _read("scales").items()}


def scale(name: str) -> Scale:
    """One scale; an unknown name raises a `UsageError`."""
    if name not in scales():
        raise unknown("scale", name, scales())
    return scales()[name]


@cache
def protocol(network: str, scale_name: str = "paper") -> Protocol:
    """The protocol of a network at a scale. Fewer epochs than the paper's are for the planner to fit the phases to."""
    if network not in networks():
        raise unknown("network", network, networks())
    published, common = _read("protocol")[network], _read("protocol")["common"]
    tags = {**common["tags"], **published.get("tags", {})}
    row = {**common, **published, "tags": tags, **scale(scale_name).rows.get(network, {})}
    return Protocol(network=network, **row)


def networks() -> list[str]:
    """The networks of the paper, in the order of its tables."""
    return [name for name in _read("protocol") if name != "common"]


def network_sources(network: str) -> dict[str, dict[str, str]]:
    """Where each choice in a network is from: for "layers", "initial_weights" … its tag and its source."""
    return _read("networks")[network]


def paper_epochs(network: str) -> int:
    """Epochs of the paper's own regime."""
    return _read("protocol")[network]["epochs"]


def published(item: str) -> dict[str, Any]:
    """The paper's numbers of an item ("table1", "figure1" …)."""
    return _read("published")[item]


def ablations(network: str) -> list[Ablation]:
    """What could explain a method's shortfall with a network; empty where nothing is to be tried."""
    return [Ablation(name=name, **entry) for name, entry in _read("ablations").get(network, {}).items()]


def studies() -> list[str]:
    """The names of the studies beyond the paper."""
    return [name for name in _read("beyond") if name != "recipe"]


def study(name: str, scale_name: str) -> Study:
    """A study as a scale runs it, its `changes` and those of the recipe in every arm."""
    recipe, entry = _read("beyond")["recipe"], _read("beyond")[name]
    own = _of_scale(entry, scale_name)
    common = {**recipe["changes"], **own.get("changes", {})}
    arms = {
        arm: {**entry["arms"][arm], "changes": {**common, **entry["arms"][arm].get("changes", {})}}
        for arm in own.get("names", entry["arms"])
    }
    facts = {key: value for key, value in own.items() if key not in ("names", "changes")}
    return Study(name=name, arms=arms, **facts)


def recipe(scale_name: str) -> Protocol:
    """The recipe that all studies are of, at a scale."""
    entry = _read("beyond")["recipe"]
    return protocol(entry["network"], scale_name).model_copy(update={**entry["row"], **_of_scale(entry, scale_name)})


def measurements() -> list[str]:
    """The names of all measurements."""
    return list(_read("measurements"))


def measurement(name: str, scale_name: str) -> MeasurementPlan:
    """One measurement at a scale."""
    entries = _read("measurements")
    if name not in entries:
        raise unknown("measurement", name, entries)
    parameters = {key: value for key, value in entries[name].items() if key not in scales()}
    parameters |= _of_scale(entries[name], scale_name)
    facts = {key: parameters.pop(key) for key in MeasurementPlan.model_fields if key in parameters}
    return MeasurementPlan(name=name, parameters=parameters, **facts)


@cache
def all_claims() -> dict[str, Claim]:
    """The paper's claims, C1 first, and those beyond it, B1 first, by id."""
    return {name: Claim(id=name, **entry) for name, entry in _read("criteria").items() if name != "settings"}


def claims() -> dict[str, Claim]:
    """The paper's claims by id, C1 first."""
    return {name: claim for name, claim in all_claims().items() if claim.group != "beyond"}


def claims_beyond() -> dict[str, Claim]:
    """The claims beyond the paper by id, B1 first."""
    return {name: claim for name, claim in all_claims().items() if claim.group == "beyond"}


def confidence() -> float:
    """Confidence level of every interval a verdict rests on."""
    return _read("criteria")["settings"]["confidence"]


def minimum_seeds() -> int:
    """Seeds under which no verdict but "inconclusive" is given."""
    return _read("criteria")["settings"]["minimum_seeds"]


def deviations(item: str) -> list[dict[str, str]]:
    """Where the suite departs from the paper or its code in an item, each with the reason."""
    return [
        {key: entry[key] for key in ("paper", "here", "why", "effect")}
        for entry in _read("deviations").values()
        if item in entry["items"]
    ]
