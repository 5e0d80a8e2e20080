"""What a notebook shows: text, figures and tables, which are saved for the report with their words."""

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from zlib import crc32

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure

from gbnlib import files
from gbnlib.report import figures
from gbnlib.report.items import Item
from gbnlib.report.network_view import NetworkView
from gbnlib.report.parameters import Parameters
from gbnlib.report.record import Exhibit
from gbnlib.report.wording import averaged, cell

#: JupyterLab has tables right-aligned.
LEFT_ALIGNED = [{"selector": selector, "props": "text-align: left"} for selector in ("th", "td", "caption")]


@dataclass
class Exhibits:
    """The figures and tables of one executing notebook, in their order."""

    item: Item
    parameters: Parameters
    exhibits: dict[str, Exhibit] = field(default_factory=dict, init=False)

    def say(self, text: str) -> None:
        """Show a paragraph."""
        display(Markdown(text))

    def _show(self, table: pd.DataFrame, caption: str, **metadata: str) -> None:
        """Show a table, as HTML and as text, with ids that do not change from one execution to the next."""
        style = table.style.hide(axis="index").set_caption(caption).set_uuid(f"{crc32(caption.encode()):08x}")
        shown = {
            "text/html": style.set_table_styles(LEFT_ALIGNED).to_html(),
            "text/plain": table.to_string(index=False),
        }
        display(shown, raw=True, metadata=metadata)

    def save_figure(
        self,
        figure: Figure,
        name: str,
        caption: str,
        alt: str,
        *,
        title: str = "",
        network: NetworkView | None = None,
        runs: pd.DataFrame | None = None,
        means: bool = True,
    ) -> None:
        """Save a figure as PNG and SVG with its title, caption and alt text, and show it.

        `network` heads title, caption and alt text, where the figure is of one network; the title, its finding, is in
        the alt text too. `runs` is the frame that is drawn, which is saved as CSV; where it has seeds, the caption says
        how many and with what intervals, or that every run is drawn where the figure has no `means`.
        """
        folder = files.make_folder(self._folder("figures"))
        if runs is not None:
            files.write_text(files.inside(folder, name, ".csv"), runs.to_csv(index=False, float_format="%.6g"))
            caption = f"{caption} {averaged(runs, means=means)}".strip()
        alt = f"{title}. {alt}" if title else alt
        if network:
            title, caption, alt = f"{network}: {title}".removesuffix(": "), network.words(caption), network.words(alt)
        png = figures.write(figure, folder, name, title)
        exhibit = self._keep(Exhibit(folder="figures", name=name, caption=caption, alt=alt))
        plt.close(figure)
        pixels = int(figure.get_figwidth() * figure.dpi)
        display(Image(filename=png, width=pixels, metadata={"alt": alt}), metadata={"exhibit": exhibit})
        display(Markdown(f"*{caption}*"), metadata={"caption": exhibit})

    def save_table(
        self,
        table: pd.DataFrame,
        name: str,
        caption: str,
        *,
        layout: pd.DataFrame | None = None,
        digits: int = 2,
        network: NetworkView | None = None,
    ) -> None:
        """Save a table as CSV (full precision) and Markdown (rounded) with its caption, and show it.

        `layout` is the same table laid out for reading, where that differs from the tidy one that the CSV holds;
        `network` heads the caption, where the table is of one network. An empty table is said to be empty.
        """
        caption = network.words(caption) if network else caption
        if table.empty:
            self.say(f"*{caption}* Empty: too few runs or points.")
            return
        folder = files.make_folder(self._folder("tables"))
        shown = (table if layout is None else layout).map(partial(cell, digits=digits))
        files.write_text(files.inside(folder, name, ".csv"), table.to_csv(index=False))
        files.write_text(
            files.inside(folder, name, ".md"), shown.to_markdown(index=False, disable_numparse=True) + "\n"
        )
        exhibit = self._keep(Exhibit(folder="tables", name=name, caption=caption))
        self._show(shown, caption, exhibit=exhibit)

    def _keep(self, exhibit: Exhibit) -> str:
        """Keep the words of a figure or table for the record; what the report finds it by in the output."""
        self.exhibits[exhibit.id] = exhibit
        return exhibit.id

    @property
    def by_hand(self) -> bool:
        """Whether somebody executes the notebook, and not the workflow, whose results alone the report shows."""
        return not os.environ.get("GBN_REPORT")

    def _folder(self, kind: str) -> Path:
        """Where figures, tables, verdicts or item records go; by hand, where they do not change the report."""
        return files.results_root() / self.parameters.scale / ("by_hand" if self.by_hand else "") / kind
