"""Read what the notebooks left in ``results/<scale>/``.

Everything may be missing or partial: a notebook that stopped half-way leaves some of its files, one that was never
run leaves none. What is absent is absent here too, and the pages say so.
"""

from dataclasses import dataclass
from pathlib import Path

from gbnlib import paper
from gbnlib.claims import Verdict, read_folder
from gbnlib.errors import UsageError, unknown
from gbnlib.report.items import Item, items
from gbnlib.report.record import Exhibit, Record

#: What the files of a figure or table end in.
ENDINGS = ("png", "svg", "csv", "md", "-narrow.svg")


@dataclass(frozen=True)
class Entry:
    """An item of the report with what its notebook left: the record, the executed notebook, verdicts."""

    item: Item
    record: Record | None
    executed: Path | None
    verdicts: tuple[Verdict, ...] = ()

    @property
    def facts(self) -> Record:
        """The record; one without anything where the notebook left none."""
        return self.record or Record()

    @property
    def anchor(self) -> str:
        """What links to the item name: its place on the page of its notebook."""
        return f"item-{self.item.name}"

    @property
    def is_run(self) -> bool:
        """Whether the scale runs or measures anything for the item; one without a record may have been stopped."""
        return bool(self.facts.planned or self.facts.measurements or not self.record)

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
    def short_title(self) -> str:
        return self.item.title.split(":")[0]


@dataclass(frozen=True)
class Contents:
    """All that one scale's report shows."""

    folder: Path
    entries: list[Entry]
    verdicts: list[Verdict]

    @property
    def scale(self) -> str:
        return self.folder.name

    @property
    def pages(self) -> dict[str, list[Entry]]:
        """The items that each page shows: those of one notebook, by its name."""
        names = dict.fromkeys(entry.item.notebook for entry in self.entries)
        return {name: [entry for entry in self.entries if entry.item.notebook == name] for name in names}

    def anchor_of_claim(self, claim: str) -> str:
        """Return the anchor of the item that argues a claim, or '' where it left nothing."""
        return next((entry.anchor for entry in self.entries if claim in entry.item.claims), "")

    def files(self, exhibit: Exhibit) -> dict[str, Path]:
        """Return those files of a figure or table that exist, by what they end in."""
        return saved_files(self.folder, exhibit.id)

    def cells(self, exhibit: Exhibit) -> str:
        """Return a table as Markdown; '' where there is none."""
        path = self.files(exhibit).get("md")
        return path.read_text(encoding="utf-8", errors="replace") if path else ""

    def picture(self, exhibit: Exhibit) -> Path | None:
        """Return the file that a page shows of a figure."""
        found = self.files(exhibit)
        return found.get("svg") or found.get("png") if exhibit.folder == "figures" else None

    def thumbnail(self, exhibit: Exhibit) -> Path | None:
        """Return the file that a card shows of a figure: of its panels, the first."""
        return self.files(exhibit).get("-narrow.svg") or self.picture(exhibit)

    def first_picture(self, entry: Entry) -> Exhibit | None:
        """Return the figure that stands for an item."""
        return next((exhibit for exhibit in entry.facts.exhibits if self.picture(exhibit)), None)


def saved_files(folder: Path, name: str) -> dict[str, Path]:
    """Return those files of a figure or table in a folder that exist, by what they end in."""
    paths = {end: folder / f"{name}{'' if end[0] == '-' else '.'}{end}" for end in ENDINGS}
    return {end: path for end, path in paths.items() if path.is_file()}


def read_contents(folder: Path) -> Contents:
    """Read ``results/<scale>/`` into one object; a ``UsageError`` if it holds nothing."""
    records = {path.stem: _record(path) for path in sorted((folder / "items").glob("*.json"))}
    order = list(paper.all_claims()).index
    verdicts = sorted(read_folder(folder / "verdicts"), key=lambda each: (order(each.claim), each.where))
    entries = []
    for name, item in items().items():
        executed = folder / "notebooks" / f"{item.notebook}.ipynb"
        if name in records or executed.is_file():
            own = tuple(verdict for verdict in verdicts if verdict.item == name)
            entries.append(Entry(item, records.get(name), executed if executed.is_file() else None, own))
    if not entries:
        raise UsageError(
            f"nothing to report: neither items/ nor notebooks/ of {folder} holds anything. "
            f"Run the notebooks first, for example with: make reproduce SCALE={folder.name}"
        )
    return Contents(folder, entries, verdicts)


def _record(path: Path) -> Record:
    """Read the record of an item that there is."""
    if path.stem not in items():
        raise UsageError(f"{path}: {unknown('item', path.stem, items())}")
    return Record.read(path)
