"""Read what the notebooks left in ``results/<scale>/``.

Everything may be missing or partial: a notebook that stopped half-way leaves some of its files, one that was never
run leaves none. What is absent is absent here too, and the pages say so.
"""

import dataclasses
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gbnlib import paper
from gbnlib.claims import VERDICTS, Verdict
from gbnlib.errors import UsageError, unknown
from gbnlib.files import check_name, read_json
from gbnlib.report.site.escape import line
from gbnlib.report.site.notebooks import read_notebook

#: Fields of the records that do not come from their own files.
FOUND = {"recorded", "executed", "verdicts", "figures", "tables", "files"}
#: Fields that become part of a path, and names that the site has pages of its own for.
NAMES, RESERVED = ("item", "notebook", "name"), {"index"}


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
        return self.files["md"].read_text(encoding="utf-8", errors="replace") if "md" in self.files else ""


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
        return f"{'notebooks' if self.only_text else 'items'}/{self.slug}"

    @property
    def picture(self) -> Exhibit | None:
        return next((figure for figure in self.figures if figure.picture), None)

    @property
    def short_title(self) -> str:
        return self.title.split(":")[0].strip() or self.slug


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
    items = [_record(Item, path, data, item=path.stem) for path, data in _sidecars(folder / "items")]
    _attach_notebooks(items, folder / "notebooks")
    _check_pages(items, folder)
    if not items:
        raise UsageError(
            f"nothing to report: neither items/ nor notebooks/ of {folder} holds anything. "
            f"Run the notebooks first, for example with: make reproduce SCALE={folder.name}"
        )
    verdicts = sorted((_verdict(path, data) for path, data in _sidecars(folder / "verdicts")), key=_verdict_order)
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
    return [(path, read_json(path)) for path in _named(folder.glob("*.json"))]


def _named(paths: Iterable[Path]) -> list[Path]:
    """Sort paths; a name that could not stand in a page's address is refused."""
    return sorted(paths, key=lambda path: check_name(f"in {path.parent},", path.name))


def _record(cls: type, path: Path, data: object, **defaults: object) -> Any:
    """Make a record of the fields it knows; null and '' count as missing. A `UsageError` names the file."""
    if not isinstance(data, dict):
        raise UsageError(f"{path} must hold a JSON object. Delete it, and it will be made again.")
    known = {field.name for field in dataclasses.fields(cls)} - FOUND
    values = defaults | {key: value for key, value in data.items() if key in known and value not in (None, "")}
    try:
        record = TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise UsageError(f"{path}: {where}: {first['msg']}. Delete it, and it will be made again.") from None
    for claim in getattr(record, "claims", ()):
        _check_known(path, "claim", claim, paper.claims())
    for name in NAMES:
        if getattr(record, name, ""):
            check_name(f"{path}: {name}", getattr(record, name))
    return record


def _verdict(path: Path, data: object) -> Verdict:
    """Read a verdict; only the paper's claims and the kinds of verdict that there are can be shown."""
    verdict = _record(Verdict, path, data)
    _check_known(path, "claim", verdict.claim, paper.claims())
    _check_known(path, "verdict", verdict.verdict, VERDICTS)
    return verdict


def _check_known(path: Path, kind: str, given: str, allowed: Collection[str]) -> None:
    if given not in allowed:
        raise UsageError(f"{path}: {unknown(kind, given, allowed)}")


def _check_pages(items: list[Item], folder: Path) -> None:
    """Refuse items that would write the same page; one without a title is called like its page."""
    taken = set(RESERVED)
    for item in items:
        item.title = line(item.title) or item.slug
        if item.slug in taken:
            raise UsageError(f"{folder}: two pages would be called {item.slug!r}. Remove the item that is not yours.")
        taken.add(item.slug)


def _attach_notebooks(items: list[Item], folder: Path) -> None:
    """Give each item its executed notebook, and each notebook without a record an item that says so."""
    executed = {path.stem: path for path in _named(folder.glob("*.ipynb"))}
    for item in items:
        item.executed = executed.pop(item.notebook, None)
    for stem, path in executed.items():
        items.append(Item(stem, notebook=stem, title=_heading(path) or stem, recorded=False, executed=path))


def _heading(notebook: Path) -> str:
    """Return the first heading of a notebook, or ''."""
    sources = (cell["source"] for cell in read_notebook(notebook)["cells"] if cell["cell_type"] == "markdown")
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
        existing = {suffix: file for suffix, file in files.items() if file.is_file()}
        exhibit = _record(Exhibit, path, data, name=path.stem)
        exhibits.append(dataclasses.replace(exhibit, files=existing))
    return sorted(exhibits, key=lambda exhibit: exhibit.position)
