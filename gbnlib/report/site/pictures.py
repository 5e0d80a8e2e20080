"""Figures in a page: one picture for a wide page and one for a phone, which a dark page turns over, and their files."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from gbnlib import files


def write_picture(name: str, saved: Mapping[str, Path], alt: str, source: Path, static: str = "../_static") -> None:
    """Write the pieces `figure-NAME` and `files-NAME` into the sources of a report, and copy what they show and offer.

    `saved` has the files by what they end in: svg or png, and perhaps csv and -narrow.svg, which takes the place of
    the wide one on a narrow screen. `static` is the way from the page to them. A picture is a file of its own, in which
    nothing runs whatever it holds.
    """
    folder = files.make_folder(source / "static" / "figures")
    for file in saved.values():
        shutil.copyfile(file, folder / file.name)
    shown = (saved.get("svg") or saved["png"]).name
    narrow = Markup("")
    if "-narrow.svg" in saved:
        form = '<source media="(max-width: 600px)" srcset="{}/figures/{}-narrow.svg">'
        narrow = Markup(form).format(static, name)
    form = '<figure class="drawn"><picture>{}<img class="dark-light" src="{}" alt="{}"></picture></figure>'
    write_piece(f"figure-{name}", Markup(form).format(narrow, f"{static}/figures/{shown}", alt), source)
    offered = {end.upper(): saved[end].name for end in ("png", "svg", "csv") if end in saved}
    form = Markup('<a class="download" download href="{2}/figures/{1}">{0}</a>')
    links = Markup(" · ").join(form.format(*each, static) for each in offered.items())
    write_piece(f"files-{name}", Markup('<p class="downloads">{}</p>').format(links), source)


def write_piece(name: str, html: str, source: Path) -> None:
    """Write a piece of the report's own HTML, which pages name."""
    files.write_text(files.make_folder(source / "pieces") / f"{name}.html", html)
