"""Which files of this package decide what a notebook shows, so that an edit of another executes nothing again."""

import ast
from functools import cache
from itertools import chain
from pathlib import Path

import grimp

from gbnlib import files

#: What shows finished runs and measurements; the other modules decide what these are, which their ids stand for.
SHOWING = (
    "gbnlib.report",
    "gbnlib.claims",
    "gbnlib.analysis",
    "gbnlib.experiments.config",
    "gbnlib.experiments.planning",
    "gbnlib.experiments.store",
    "gbnlib.measurements.store",
    "gbnlib.store",
)


def sources(notebook: Path) -> list[Path]:
    """The files that a notebook rests on besides runs and measurements: what it imports, and the paper's facts."""
    graph = _graph()
    used = {name for name in _imports(notebook) if name in graph.modules}
    used |= set(chain.from_iterable(map(graph.find_upstream_modules, used)))
    package = files.REPOSITORY / "gbnlib"
    shown = (name for name in used if any(f"{name}.".startswith(f"{part}.") for part in SHOWING))
    return sorted([*map(_file, shown), package / "report" / "items.toml", *(package / "paper").glob("*.toml")])


@cache
def _graph() -> grimp.ImportGraph:
    """What imports what in this package, imports within functions among them."""
    return grimp.build_graph("gbnlib", cache_dir=None)


def _imports(notebook: Path) -> set[str]:
    """What a notebook imports: modules, and names in them that may be modules."""
    cells = [cell for cell in files.read_json(notebook)["cells"] if cell["cell_type"] == "code"]
    nodes = chain.from_iterable(ast.walk(ast.parse("".join(cell["source"]))) for cell in cells)
    taken = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name for node in taken for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))}


def _file(module: str) -> Path:
    """The file of a module or package."""
    path = files.REPOSITORY.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
