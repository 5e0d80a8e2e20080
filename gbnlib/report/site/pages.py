"""Write the Sphinx sources of one report: the pages, and beside them what they show and offer for download."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import jinja2
from markupsafe import Markup
from nbformat.v4 import new_notebook

from gbnlib import files, paper
from gbnlib.claims.decision import NOT_TESTED
from gbnlib.experiments import duration
from gbnlib.report import answer, benchmarks
from gbnlib.report.networks import network_table
from gbnlib.report.site import escape, notebooks
from gbnlib.report.site.contents import Contents, Entry, saved_files
from gbnlib.report.site.front import write_front
from gbnlib.report.site.pictures import write_picture
from gbnlib.report.site.runs import write_runs

SITE = Path(__file__).parent
#: The packages that users import from, in the order of their pages.
API = ("nn", "regimes", "data", "training", "experiments", "measurements", "analysis", "paper")
_NETWORK_COLUMNS = ("left", "left", "right", "right", "right", "left")


def write_source(contents: Contents, source: Path) -> None:
    """Fill the folder ``source`` with everything Sphinx needs."""
    source.mkdir(parents=True)
    for name in ("conf.py", "layout", "static"):
        copy = shutil.copytree if (SITE / name).is_dir() else shutil.copy
        copy(SITE / name, source / name)
    render = _renderer(contents)
    shown = write_front(contents.verdicts, contents.scale, source)
    said = {"title": shown["title"], "description": shown["sentence"]}
    files.write_text(source / "report.json", json.dumps({"scale": contents.scale, **said}))
    files.write_text(source / "index.md", render("index", summary=_summary(contents), front=shown))
    for page in ("guide", "benchmarks", "items/index"):
        files.write_text(source / f"{page}.md", render(page))
    if drawn := saved_files(benchmarks.folder(), benchmarks.LAYER_FIGURE):
        write_picture(benchmarks.LAYER_FIGURE, drawn, benchmarks.LAYER_ALT, source, static="_static")
    modules = [import_module(f"gbnlib.{name}") for name in API]
    files.write_text(source / "api/index.md", render("api", modules=modules))
    for module in modules:
        files.write_text(source / f"api/{module.__name__}.md", render("module", name=module.__name__))
    write_runs(contents, source)
    for name, entries in contents.pages.items():
        _write_page(name, entries, contents, source, render)


def _write_page(name: str, entries: list[Entry], contents: Contents, source: Path, render: Callable[..., str]) -> None:
    """Write the page of a notebook and its items, and the files it links to."""
    saved = {exhibit.id: exhibit for entry in entries for exhibit in entry.facts.exhibits}
    drawn = {each: exhibit for each, exhibit in saved.items() if contents.picture(exhibit)}
    for each, exhibit in saved.items():
        if each in drawn:
            write_picture(exhibit.name, contents.files(exhibit), exhibit.alt or exhibit.caption or exhibit.name, source)
        for file in contents.files(exhibit).values() if exhibit.folder == "tables" else ():
            _copy(file, source)
    executed = entries[0].executed
    notebook = notebooks.read_notebook(executed) if executed else new_notebook()
    if executed:
        _copy(executed, source)
    shown = {each for cell in notebook.cells for each in notebooks.exhibits(cell.get("outputs", []))}
    rest = [exhibit for exhibit in saved.values() if exhibit.id not in shown]
    values = {"entries": entries, "executed": executed, "error": notebooks.first_error(notebook), "stem": name}
    values["parameters"] = notebook.metadata.get("papermill", {}).get("parameters", {})

    def words(exhibit: str, code: str) -> str:
        """Return what the page says of a figure or table: of a saved figure all, of another what is offered."""
        if exhibit in drawn:
            return render("figure", exhibit=drawn[exhibit], code=code)
        return render("downloads", exhibits=[saved[exhibit]] if exhibit in saved else [])

    texts = (render(part, rest=rest, **values) for part in ("item", "cards", "rest"))
    page = notebooks.as_page(notebook, *texts, words, contents.pages)
    files.write_text(source / f"items/{name}.ipynb", json.dumps(page))


def _summary(contents: Contents) -> dict:
    """What the front page says of all items together: what is unfinished, and the data."""
    return {
        "unfinished": [entry for entry in contents.entries if entry.facts.finished < entry.facts.planned],
        "datasets": sorted({name for entry in contents.entries for name in entry.facts.datasets}),
    }


def _tally(entry: Entry) -> list[tuple[str, str, int]]:
    """Return (claim, verdict, how often) of an item; a claim without any has the verdict '' where something is run.

    What is not tested counts only where the claim is tested nowhere.
    """
    tested = {verdict.claim for verdict in entry.judged}
    counted = [verdict for verdict in entry.verdicts if verdict.tested or verdict.claim not in tested]
    counts = Counter((verdict.claim, verdict.verdict) for verdict in counted)
    missing = set(entry.item.claims) - {claim for claim, _ in counts}
    reason = "" if entry.is_run else NOT_TESTED
    tally = [(claim, kind, count) for (claim, kind), count in counts.items()]
    order = list(paper.all_claims()).index
    return sorted(tally + [(claim, reason, 1) for claim in missing], key=lambda each: (order(each[0]), each[1]))


def _renderer(contents: Contents) -> Callable[..., str]:
    """Return ``render(page, **values)`` over the templates in ``pages/``."""
    env = environment()
    env.globals |= {"contents": contents, "tally": _tally, "scales": paper.scales()}
    env.globals["networks"] = network_table().to_markdown(index=False, intfmt=",", colalign=_NETWORK_COLUMNS)
    env.globals |= {
        "layer_title": benchmarks.LAYER_TITLE,
        "layer_figure": saved_files(benchmarks.folder(), benchmarks.LAYER_FIGURE),
    }
    env.globals["benchmarks"] = [
        (title, table.to_markdown(index=False), notes) for title, table, notes in benchmarks.sections()
    ]

    def render(page: str, **values: object) -> str:
        return env.get_template(f"{page}.md.j2").render(**values)

    return render


def environment() -> jinja2.Environment:
    """Return the templates of ``pages/`` with the filters they use."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SITE / "pages"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,  # only marks what macros return as ready: `finalize` comes first, and escapes for Markdown
        finalize=escape.text,
    )
    env.filters |= escape.FILTERS | {"duration": duration, "count": _count, "slug": _slug, "number": answer.number}
    return env


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def _slug(value: str) -> Markup:
    return Markup(re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-") or "none")


def _copy(file: Path, source: Path) -> None:
    """Copy a result to ``files/<its folder>/`` of the sources."""
    target = source / "files" / file.parent.name / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
