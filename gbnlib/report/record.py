"""What a notebook leaves about its item for the report: one file an item, written and read by one class."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel

from gbnlib import files


class Exhibit(BaseModel, frozen=True, extra="forbid"):
    """A figure or table: the folder and the name of its files, its caption and, of a figure, its alt text."""

    folder: Literal["figures", "tables"]
    name: Annotated[str, AfterValidator(lambda name: files.check_name("exhibit", name))]
    caption: str = ""
    alt: str = ""

    @property
    def id(self) -> str:
        """What outputs of a notebook name it by: a figure and a table may share a name."""
        return f"{self.folder}/{self.name}"


class Record(BaseModel, frozen=True, extra="forbid"):
    """What an item rests on and shows at one scale: `results/<scale>/items/<item>.json`.

    `reference` counts the finished runs that came with the suite, `runs` names those that are finished,
    ablations too, `measurements` those that are made, and `exhibits` are in the order of the notebook.
    """

    datasets: tuple[str, ...] = ()
    planned: int = 0
    finished: int = 0
    diverged: int = 0
    reference: int = 0
    seeds: int = 0
    ablations_planned: int = 0
    ablations_finished: int = 0
    training_seconds: float = 0.0
    runs: tuple[str, ...] = ()
    measurements: tuple[str, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    provenance: dict[str, str | int] = {}

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Read a record; a `UsageError` of one line names the file that is none."""
        return files.read_as(path, cls.model_validate)

    def write(self, path: Path) -> None:
        """Write the record atomically."""
        files.write_json(path, self.model_dump(mode="json"))
