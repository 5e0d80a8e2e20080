"""The parameters of a notebook, checked before anything is trained."""

import ast
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gbnlib import paper
from gbnlib.errors import UsageError, unknown
from gbnlib.experiments.planning import check_seeds

COMMON = {"scale": str, "seeds": int, "device": str, "train": bool, "force": bool}

#: What an item's notebook has besides: the words that a parameter may be, its pattern, or its type, least and most.
OWN: dict[str, dict[str, list[str] | str | tuple[type, float, float]]] = {
    "figure2": {"which": ["weights", "first", "all"]},
    "algorithm1": {"ghost_size": (int, 0, 4096), "momentum": (float, 1e-6, 1)},
    "appendix_a": {"hidden": (int, 0, 256)},
    "figure4": {"directions": (int, 0, 10_000)},
    "recipe": {
        "milestones": r"\d+(,\d+)*",
        "batch_size": (int, 1, 10**7),
        "base_batch": (int, 1, 10**7),
        "lr": (float, 1e-9, 1e3),
        "epochs": (int, 1, 10**6),
        "samples": (int, 1, 10**12),
        "rule": ["sqrt", "linear", "none"],
        "adapt": ["full", "none"],
        "warmup": (int, 0, 10**6),
        "ghost_size": (int, 0, 10**7),
    },
    "random_walk": {"environments": (int, 0, 4000), "dimension": (int, 0, 1024)},
}


@dataclass(frozen=True)
class Parameters:
    """The parameters that every notebook has.

    scale : how much of the protocol. seeds : a count, 0 for what the scale says. device : "auto", "cpu", "cuda".
    train : train missing runs however long they take. force : train finished runs again.
    """

    scale: str
    seeds: int
    device: str
    train: bool
    force: bool


def read_parameters(namespace: Mapping[str, object], item: str = "") -> Parameters:
    """The common parameters in the `globals()` of an item's notebook; a `UsageError` says what is wrong with any."""
    _refuse_unknown(namespace.get("In", ()))
    values = {name: _typed(name, namespace, kind) for name, kind in COMMON.items()}
    paper.scale(values["scale"])
    check_seeds(values["seeds"])
    _check_device(values["device"])
    patience()
    for name, allowed in OWN.get(item, {}).items():
        _check_own(name, namespace, allowed)
    return Parameters(**values)


def _check_device(device: str) -> None:
    """Check that a device is there; the two that always are do not need torch, which takes seconds to import."""
    if device not in ("auto", "cpu"):
        from gbnlib.training import Execution

        Execution(device=device)


def patience() -> float:
    """Seconds that missing runs or measurements may take for a notebook to make them unasked: `GBN_PATIENCE` or 600."""
    given = os.environ.get("GBN_PATIENCE") or "600"
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UsageError(f"GBN_PATIENCE is {given!r}; it must be a number of seconds, such as 600.")
    return seconds


def _typed(name: str, namespace: Mapping[str, object], kind: type, wanted: str = "") -> object:
    """A parameter of the right type; `True` is not a count. `wanted` says more of it than its type."""
    if name not in namespace:
        raise UsageError(f"parameter {name!r} is missing: run the cell with the parameters first.")
    value = namespace[name]
    if type(value) is not kind:
        raise UsageError(f"parameter {name} is {value!r}; it must be {wanted or _WORDS[kind]}.")
    return value


def _check_own(
    name: str, namespace: Mapping[str, object], allowed: list[str] | str | tuple[type, float, float]
) -> None:
    """Check a parameter of one notebook. papermill types `-p` by its looks, so that a whole number may be a float."""
    if isinstance(allowed, list):
        if _typed(name, namespace, str) not in allowed:
            raise unknown(name, namespace[name], allowed)
        return
    if isinstance(allowed, str):
        wanted = f"text of whole numbers with commas, such as '30,60,80' (a single one by papermill's -r {name} 30)"
        if not re.fullmatch(allowed, _typed(name, namespace, str, wanted)):
            raise UsageError(f"{name} is {namespace[name]!r}; it must be {wanted}.")
        return
    kind, least, most = allowed
    value = _typed(name, namespace, int if type(namespace.get(name)) is int else kind)
    if not least <= value <= most:
        raise UsageError(f"{name} is {value}; it must be from {least:g} to {most:g}.")


_WORDS = {
    str: "a word, such as quick",
    int: "a whole number, such as 3",
    float: "a number, such as 0.1",
    bool: "True or False",
}


def _refuse_unknown(inputs: Sequence[str]) -> None:
    """Refuse a name that papermill injected and the parameters cell does not have.

    papermill puts its values into a cell of their own that begins with "# Parameters", right after the cell with the
    defaults; it only warns of a name that is not among them.
    """
    for before, source in pairwise(inputs):
        if source.startswith("# Parameters\n"):
            known = _assigned(before)
            if strange := [name for name in _assigned(source) if name not in known]:
                raise unknown("parameter", strange[0], known)


def _assigned(source: str) -> list[str]:
    statements = ast.parse(source).body
    plain = [target for node in statements if isinstance(node, ast.Assign) for target in node.targets]
    annotated = [node.target for node in statements if isinstance(node, ast.AnnAssign)]
    return [target.id for target in (*plain, *annotated) if isinstance(target, ast.Name)]
