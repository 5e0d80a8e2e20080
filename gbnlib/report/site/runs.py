"""A page a run: its config, its curve, its files, and where it was made; Sphinx gives them the look of the report."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import jinja2
from markupsafe import Markup

from gbnlib import experiments, files
from gbnlib.errors import UsageError
from gbnlib.report.site.chart import chart
from gbnlib.report.site.contents import Contents
from gbnlib.report.site.pictures import write_piece

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
    undefined=jinja2.StrictUndefined,
    autoescape=True,
)


def write_runs(contents: Contents, source: Path) -> None:
    """Write `runs/ID.html` into the sources for each finished run, and a piece for each page that names its runs."""
    found: dict[str, experiments.Run | None] = {}
    for page, entries in contents.pages.items():
        names = sorted({name for entry in entries for name in entry.facts.runs})
        found |= {name: _read(name, contents.folder.parent) for name in names if name not in found}
        write_piece(f"runs-{page}", _TEMPLATES.get_template("runs.html.j2").render(names=names, found=found), source)
    for name, run in found.items():
        if run is not None:
            files.write_text(files.make_folder(source / "runs") / f"{name}.html", _page(name, run, source))


def _read(name: str, results: Path) -> experiments.Run | None:
    """A finished run by its id, made here or shipped; None where there is none that can be read."""
    for origin, root in (("local", results), ("reference", files.reference_root())):
        try:
            folder = files.inside(root / "runs", name)
            config = files.read_as(folder / "config.json", lambda content: experiments.RunConfig(**content["config"]))
            return experiments.Run(folder, origin, files.read_json(folder / "done.json"), config)
        except (OSError, KeyError, TypeError, UsageError):
            continue
    return None


def _page(name: str, run: experiments.Run, source: Path) -> str:
    """The content of a run's page; its CSV files are copied beside it."""
    folder = files.make_folder(source / "static" / "runs")
    for kind in ("history", "distance"):
        shutil.copyfile(run.folder / f"{kind}.csv", folder / f"{name}-{kind}.csv")
    words = Markup("<p>The curve is in the file history.csv.</p>")
    return _TEMPLATES.get_template("run.html.j2").render(
        name=name,
        run=run,
        config=run.config.model_dump(mode="json"),
        provenance=run.provenance(),
        chart=chart(run.frame("history"), words),
    )


def collected(source: Path) -> Iterator[tuple[str, dict, str]]:
    """The pages of runs as Sphinx takes them: name, what the theme's template fills in, template."""
    for path in sorted((source / "runs").glob("*.html")):
        filled = {"title": path.stem, "body": path.read_text(encoding="utf-8")}
        yield f"runs/{path.stem}", filled | {"meta": {"html_theme.sidebar_secondary.remove": True}}, "page.html"
