"""The parameters of a notebook, checked before anything is trained."""

import ast
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gbnlib import paper
from gbnlib.errors import UsageError, unknown
from gbnlib.training import Execution

COMMON = {"scale": str, "seeds": int, "device": str, "train": bool, "force": bool}


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


def read_parameters(namespace: Mapping[str, object]) -> Parameters:
    """The common parameters in a notebook's `globals()`, checked; a `UsageError` says in a line what is wrong."""
    _refuse_unknown(namespace.get("In", ()))
    values = {name: _typed(name, namespace, kind) for name, kind in COMMON.items()}
    paper.scale(values["scale"])
    if values["seeds"] < 0:
        raise UsageError(f"seeds is {values['seeds']}; it is a count, 1 or more, or 0 for what the scale says.")
    Execution(device=values["device"]).torch_device()
    return Parameters(**values)


def patience() -> float:
    """Seconds that missing runs or measurements may take for a notebook to make them unasked: `GBN_PATIENCE` or 600."""
    given = os.environ.get("GBN_PATIENCE") or "600"
    try:
        return float(given)
    except ValueError:
        raise UsageError(f"GBN_PATIENCE is {given!r}; it must be a number of seconds, such as 600.") from None


def _typed(name: str, namespace: Mapping[str, object], kind: type) -> object:
    """A parameter of the right type; `True` is not a count."""
    if name not in namespace:
        raise UsageError(f"parameter {name!r} is missing: run the cell with the parameters first.")
    value = namespace[name]
    if type(value) is not kind:
        raise UsageError(f"parameter {name} is {value!r}; it must be {_WORDS[kind]}.")
    return value


_WORDS = {str: "a word, such as quick", int: "a whole number, such as 3", bool: "True or False"}


def _refuse_unknown(inputs: Sequence[str]) -> None:
    """Refuse a name that papermill injected and the parameters cell does not have.

    papermill puts its values into a cell of their own that begins with "# Parameters", right after the cell with the
    defaults; it only warns of a name that is not among them.
    """
    for before, source in pairwise(inputs):
        if source.startswith("# Parameters\n"):
            known = _assigned(before)
            for name in _assigned(source):
                if name not in known:
                    raise unknown("parameter", name, known)


def _assigned(source: str) -> list[str]:
    """Names that a cell assigns to."""
    statements = ast.parse(source).body
    plain = [target for node in statements if isinstance(node, ast.Assign) for target in node.targets]
    annotated = [node.target for node in statements if isinstance(node, ast.AnnAssign)]
    return [target.id for target in (*plain, *annotated) if isinstance(target, ast.Name)]
