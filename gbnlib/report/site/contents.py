"""Read what the notebooks left in ``results/<scale>/``.

Everything may be missing or partial: a notebook that stopped half-way leaves some of its files, one that was never
run leaves none. What is absent is absent here too, and the pages say so.
"""

import dataclasses
from pathlib import Path

from gbnlib.claims import Verdict
from gbnlib.errors import UsageError
from gbnlib.files import read_json


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """A figure or a table: its words, its place in the notebook, and those of its files that exist, by suffix."""

    name: str
    item: str = ""
    caption: str = ""
    alt: str = ""
    position: int = 0
    files: dict[str, Path] = dataclasses.field(default_factory=dict)

    @property
    def picture(self) -> Path | None:
        return self.files.get("png") or self.files.get("svg")

    @property
    def markdown(self) -> str:
        return self.files["md"].read_text(encoding="utf-8").strip() if "md" in self.files else ""


@dataclasses.dataclass
class Item:
    """A figure, table, algorithm, appendix or theory notebook, with all that belongs to it."""

    item: str
    notebook: str = ""
    title: str = ""
    finding: str = ""
    scale: str = ""
    scale_summary: str = ""
    networks: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    planned: int = 0
    finished: int = 0
    ablations_planned: int = 0
    ablations_finished: int = 0
    diverged: int = 0
    reference: int = 0
    seeds: int = 0
    training_seconds: float = 0.0
    measurements: tuple[str, ...] = ()
    command: str = ""
    limits: tuple[str, ...] = ()
    provenance: dict = dataclasses.field(default_factory=dict)
    recorded: bool = True
    executed: Path | None = None
    verdicts: list[Verdict] = dataclasses.field(default_factory=list)
    figures: list[Exhibit] = dataclasses.field(default_factory=list)
    tables: list[Exhibit] = dataclasses.field(default_factory=list)

    @property
    def slug(self) -> str:
        return self.notebook or self.item

    @property
    def only_text(self) -> bool:
        """A notebook to read, with no run and no result of its own: it needs no page beside itself."""
        nothing = not (self.planned or self.verdicts or self.figures or self.tables)
        return self.recorded and self.executed is not None and nothing

    @property
    def is_run(self) -> bool:
        """Whether the scale runs or measures anything for the item; one without a record may have been stopped."""
        return bool(self.planned or self.measurements or not self.recorded)

    @property
    def judged(self) -> list[Verdict]:
        """The verdicts that something decided."""
        return [verdict for verdict in self.verdicts if verdict.tested]

    @property
    def untested(self) -> dict[str, list[Verdict]]:
        """By claim, what nothing decided yet."""
        rest = [verdict for verdict in self.verdicts if not verdict.tested]
        return {claim: [each for each in rest if each.claim == claim] for claim in dict.fromkeys(v.claim for v in rest)}

    @property
    def page(self) -> str:
        return f"notebooks/{self.slug}" if self.only_text else f"items/{self.slug}"

    @property
    def picture(self) -> Exhibit | None:
        return next((figure for figure in self.figures if figure.picture), None)

    @property
    def short_title(self) -> str:
        return self.title.split(":")[0]


@dataclasses.dataclass(frozen=True)
class Contents:
    """All that one scale's report shows."""

    scale: str
    items: list[Item]
    verdicts: list[Verdict]

    def page_of(self, verdict: Verdict) -> str:
        """Return the page that argues a verdict, or '' where its item left none."""
        return next((item.page for item in self.items if item.item == verdict.item), "")


def read_contents(folder: Path) -> Contents:
    """Read ``results/<scale>/`` into one object; a ``UsageError`` if it holds nothing."""
    items = [_record(Item, data, item=path.stem) for path, data in _sidecars(folder / "items")]
    _attach_notebooks(items, folder / "notebooks")
    if not items:
        raise UsageError(
            f"nothing to report: neither items/ nor notebooks/ of {folder} holds anything. "
            f"Run the notebooks first, for example with: make reproduce SCALE={folder.name}"
        )
    verdicts = sorted((_record(Verdict, data) for _, data in _sidecars(folder / "verdicts")), key=_verdict_order)
    _attach(items, "verdicts", verdicts)
    _attach(items, "figures", _exhibits(folder / "figures", ("png", "svg", "csv")))
    _attach(items, "tables", _exhibits(folder / "tables", ("md", "csv")))
    return Contents(folder.name, sorted(items, key=lambda item: item.slug), verdicts)


def claim_order(claim: str) -> tuple[int, str]:
    """Sort key that puts C2 before C10."""
    digits = "".join(filter(str.isdigit, claim))
    return (int(digits) if digits else 0, claim)


def _verdict_order(verdict: Verdict) -> tuple:
    return (*claim_order(verdict.claim), verdict.network_label, verdict.dataset_label)


def _sidecars(folder: Path) -> list[tuple[Path, dict]]:
    """Read every JSON file of a folder, in the order of their names."""
    return [(path, read_json(path)) for path in sorted(folder.glob("*.json"))]


def _record(cls: type, data: dict, **defaults: object):
    """Make a record of the fields it knows; JSON's null counts as missing."""
    known = {field.name for field in dataclasses.fields(cls)}
    return cls(**(defaults | {key: value for key, value in data.items() if key in known and value is not None}))


def _attach_notebooks(items: list[Item], folder: Path) -> None:
    """Give each item its executed notebook, and each notebook without a record an item that says so."""
    executed = {path.stem: path for path in folder.glob("*.ipynb")}
    for item in items:
        item.executed = executed.pop(item.notebook, None)
    for stem, path in executed.items():
        items.append(Item(stem, notebook=stem, title=_heading(path) or stem, recorded=False, executed=path))


def _heading(notebook: Path) -> str:
    """Return the first heading of a notebook, or ''."""
    sources = ("".join(cell["source"]) for cell in read_json(notebook)["cells"] if cell["cell_type"] == "markdown")
    headings = (source.partition("\n")[0].removeprefix("# ") for source in sources if source.startswith("# "))
    return next(headings, "")


def _attach(items: list[Item], kind: str, records: list) -> None:
    for item in items:
        getattr(item, kind).extend(record for record in records if record.item == item.item)


def _exhibits(folder: Path, suffixes: tuple[str, ...]) -> list[Exhibit]:
    """Read the figures or tables of a folder, in the order in which the notebooks show them."""
    exhibits = []
    for path, data in _sidecars(folder):
        files = {suffix: path.with_suffix(f".{suffix}") for suffix in suffixes}
        existing = {suffix: file for suffix, file in files.items() if file.exists()}
        exhibits.append(_record(Exhibit, data | {"files": existing}, name=path.stem))
    return sorted(exhibits, key=lambda exhibit: exhibit.position)
