"""The report as files: what it says, what it hides, that it needs nothing from outside and survives a failed build."""

import json
import logging
import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from gbnlib.claims import VERDICTS
from gbnlib.errors import UsageError
from gbnlib.report import build
from gbnlib.report.site import pages as site_pages
from gbnlib.report.site.api import OutsideDocstrings
from gbnlib.report.site.contents import Item, read_contents
from gbnlib.report.site.notebooks import as_page

CSS_URL = re.compile(r"@import\s+(?:url\()?['\"]?([^'\")\s;]+)|url\(\s*['\"]?([^'\")]+)")
HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, BeautifulSoup]:
    """Every page of the built report, parsed, by its path."""
    return {
        str(path.relative_to(site)): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }


def words(page: BeautifulSoup) -> str:
    return " ".join(page.find("article").get_text(" ").split())


# What it says


def test_front_page_answers_from_the_verdicts(pages):
    text = words(pages["index.html"])
    assert "At scale quick, 4 of 13 claims are tested, with F1 on MNIST digits (5,000 embedded)." in text
    assert "1 reproduced, 1 partly reproduced, 1 not reproduced and 1 inconclusive." in text
    assert "Reproduced : C1 (validation error at equal epochs" in text and "Not reproduced : C8" in text
    assert "Not tested at this scale : C2, C3, C4, C5, C9, C10, C11, C12 and C13." in text
    assert "Table 1: 11 of 18 runs" in text


def test_front_page_and_guide_say_what_the_methods_are_called(pages):
    for name in ("index.html", "guide.html"):
        assert "SB and LB: small and large batch." in words(pages[name]), name


def test_front_page_shows_plain_text_as_it_is(pages):
    text = words(pages["index.html"])
    for evidence in ("[1.1, 5.3] | n = 3", "−1.9 points <b>, n = 3", "more *again*"):
        assert evidence in text


def test_front_page_has_a_linked_card_for_every_item(pages):
    links = [card.find("a", class_="sd-stretched-link")["href"] for card in pages["index.html"].select(".sd-card")]
    assert links == [
        "notebooks/00_start_here.html",  # nothing to show beside the notebook itself
        "items/01_figure1_generalization_gap.html",
        "items/04_table1_validation_accuracy.html",
        "items/07_appendix_a_gradient_covariance.html",
        "items/08_figure4_loss_landscape.html",
    ]


def test_item_page_has_verdict_figure_and_downloads(pages, site):
    page = pages["items/01_figure1_generalization_gap.html"]
    assert page.select_one(".verdict-card .verdict-reproduced").get_text() == "reproduced"
    assert page.select_one("figure img")["alt"] == 'Four rising curves: "small" lowest'
    assert page.select_one("figcaption em").get_text() == "gap"
    names = {Path(link["href"]).name for link in page.select("a.download")}
    gap = {f"figure1_gap.{suffix}" for suffix in ("png", "svg", "csv")}
    assert names == gap | {"01_figure1_generalization_gap.ipynb"}
    assert "numpy: 2.3.1, pandas: 3.1.1" in words(page)


def test_what_is_not_tested_is_listed_below_the_cards(pages):
    page = pages["items/01_figure1_generalization_gap.html"]
    assert len(page.select(".verdict-card")) == 1
    where = "C1 on MNIST digits (5,000 embedded) (no finished runs)."
    assert f"C1 , validation error at equal epochs grows with batch size: {where}" in words(page)


def test_pages_say_what_is_missing(pages):
    partial = words(pages["items/04_table1_validation_accuracy.html"])
    assert "11 of 18 planned runs are finished" in partial and "4 of them shipped with the suite" in partial
    assert "The executed notebook is missing" in partial and "98.27" in partial
    bare = words(pages["items/07_appendix_a_gradient_covariance.html"])
    assert "No verdict has been reached yet on C10, C12" in bare and "no figure yet" in bare
    failed = words(pages["items/08_figure4_loss_landscape.html"])
    assert "Figure 4: the loss landscape" in failed and "left no record" in failed
    assert "ZeroDivisionError: division by zero" in failed


def test_what_a_scale_leaves_out_is_not_tested_and_what_it_measures_is_counted():
    left_out, measured = (Item("x", claims=("C5",), measurements=made) for made in ((), ("m-1", "m-2")))
    assert site_pages._tally(left_out) == [("C5", VERDICTS[-1], 1)] and site_pages._tally(measured) == [("C5", "", 1)]
    macros = site_pages.environment().get_template("macros.j2").make_module({"tally": site_pages._tally})
    assert [macros.runs(item).strip() for item in (left_out, measured)] == ["no runs", "2 measurements"]


def test_notebook_page_is_folded_and_clean(pages):
    page = pages["notebooks/01_figure1_generalization_gap.html"]
    assert page.find("h1").get_text().startswith("Figure 1: larger batches generalise worse (notebook)")
    assert all(code.find_parent("details") for code in page.select(".cell_input"))
    text = words(page)
    assert page.select_one("section p a[href='00_start_here.html']").get_text() == "the start"
    assert "and ImageNet." in text  # which is not in this report, so it is no link
    assert "save_figure" in text and "# Parameters" not in text and "how much to run" not in text
    assert page.select_one(".cell_output img")["alt"] == 'Four rising curves: "small" lowest'
    assert "An Exception was encountered" not in words(pages["notebooks/08_figure4_loss_landscape.html"])


def test_api_pages_document_what_can_be_imported(pages):
    import gbnlib.nn

    text = words(pages["api/gbnlib.nn.html"])
    assert all(name in text for name in gbnlib.nn.__all__)
    assert "GhostBatchNorm2d" in text and "api/gbnlib.regimes.html" in pages


# What it needs


def test_nothing_is_loaded_from_outside(pages, site):
    loaded = [
        (name, tag[attribute])
        for name, page in pages.items()
        for attribute in ("src", "srcset", "data", "poster")
        for tag in page.find_all(attrs={attribute: True})
    ]
    loaded += [(name, tag["href"]) for name, page in pages.items() for tag in page.find_all("link", href=True)]
    styles = [(name, style.get_text()) for name, page in pages.items() for style in page.find_all("style")]
    styles += [(str(path), path.read_text(encoding="utf-8")) for path in site.rglob("*.css")]
    loaded += [(name, "".join(match)) for name, style in styles for match in CSS_URL.findall(style)]
    assert len(loaded) > 100
    assert [pair for pair in loaded if re.match(r"\s*(https?:)?//", pair[1])] == []


def test_links_inside_the_report_lead_somewhere(pages, site):
    broken = []
    for name, page in pages.items():
        for link in page.select("main a[href], header a[href], .bd-sidebar a[href]"):
            url = urlsplit(link["href"])
            if url.scheme:
                continue
            target = (site / name).parent / unquote(url.path) if url.path else site / name
            other = pages.get(str(target.resolve().relative_to(site)))
            if not target.is_file() or (url.fragment and other and not other.find(id=unquote(url.fragment))):
                broken.append((name, link["href"]))
    assert broken == []


def test_headings_are_in_order_with_one_title(pages):
    for name, page in pages.items():
        levels = [HEADINGS.index(tag.name) + 1 for tag in page.find("main").find_all(HEADINGS)]
        assert levels[0] == 1 and levels.count(1) == 1, name
        assert all(after <= before + 1 for before, after in pairwise(levels)), (name, levels)


def test_every_picture_has_words(pages):
    for name, page in pages.items():
        for image in page.find_all("img"):
            assert image.get("alt", "").strip() and not image["alt"].endswith((".png", ".svg")), (name, image)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_badges_have_enough_contrast(site, mode):
    style = (site / "_static" / "report.css").read_text(encoding="utf-8")
    block = re.search(rf'html\[data-theme="{mode}"\] {{(.*?)}}', style, re.DOTALL).group(1)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", block))
    pairs = [(name, colours[name], colours[f"{name}-bg"]) for name in colours if not name.endswith("-bg")]
    assert len(pairs) == len(VERDICTS)
    for name, text, background in pairs:
        lighter, darker = sorted((luminance(text), luminance(background)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, name


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# How it is built


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"nothing to report.*make reproduce SCALE=desk"):
        build.build_report(tmp_path, "desk")


def test_exhibits_come_in_the_order_of_the_notebook(tmp_path):
    """So that the picture of an item is of its first network, whatever the names."""
    write = {"b": 1, "a": 2, "c": 0}
    for name, position in write.items():
        for folder in ("figures", "tables"):
            path = tmp_path / "quick" / folder / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"name": name, "item": "x"} | ({"position": position} if position else {})))
    (tmp_path / "quick" / "items").mkdir()
    (tmp_path / "quick" / "items" / "x.json").write_text('{"item": "x"}')
    (item,) = read_contents(tmp_path / "quick").items
    assert [exhibit.name for exhibit in item.figures] == [table.name for table in item.tables] == ["c", "b", "a"]


def test_an_unreadable_record_is_named(tmp_path):
    path = tmp_path / "quick" / "items" / "table1.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"item": ')
    with pytest.raises(UsageError, match=r"table1\.json"):
        build.build_report(tmp_path, "quick")


def test_a_failed_build_leaves_the_old_report(tmp_path, monkeypatch):
    record = tmp_path / "quick" / "items" / "x.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"item": "x", "notebook": "01_x", "title": "X", "seeds": null}')
    monkeypatch.setattr(build, "_run_sphinx", write_html)
    index = build.build_report(tmp_path, "quick")
    assert build.build_report(tmp_path, "quick").read_text() == "whole"  # a second build replaces the first

    def fail(scratch: Path) -> None:
        write_html(scratch, "half")
        raise build.ReportError("Sphinx said no")

    monkeypatch.setattr(build, "_run_sphinx", fail)
    with pytest.raises(build.ReportError):
        build.build_report(tmp_path, "quick")
    assert index.read_text() == "whole"
    assert not (tmp_path / "quick" / ".report-building").exists()


def write_html(scratch: Path, text: str = "whole") -> None:
    """Do what Sphinx does, for tests of what happens around it."""
    (scratch / "html").mkdir()
    (scratch / "html" / "index.html").write_text(text)


def test_a_warning_of_sphinx_fails_the_build_and_is_shown(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf.py").write_text("")
    (source / "index.rst").write_text("Title\n=====\n\n.. no-such-directive::\n")
    with pytest.raises(build.ReportError, match=r"(?s)not built.*\nindex.rst:4.*no-such-directive"):
        build._run_sphinx(tmp_path)


@pytest.mark.parametrize(
    ("location", "counts"), [("gbnlib/regimes.py:docstring of gbnlib.regimes.Phase:3", False), ("index.md:3", True)]
)
def test_only_the_markup_of_docstrings_is_let_pass(location, counts):
    record = logging.LogRecord("sphinx", logging.WARNING, "x.py", 1, "Unexpected indentation.", None, None)
    record.location = location
    assert OutsideDocstrings().filter(record) is counts


def test_each_picture_of_a_cell_has_its_own_words():
    table = {"output_type": "display_data", "data": {"text/plain": "a table"}, "metadata": {}}
    pictures = [
        {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {"image/png": {"alt": alt}}}
        for alt in ("of F1", "of ResNet44")
    ]
    outputs = [table, pictures[0], table, pictures[1], table]
    cell = {"cell_type": "code", "source": "x", "metadata": {}, "outputs": outputs}
    _, first, second = as_page({"cells": [cell]}, Item("x", title="X"), "note")["cells"]
    assert first["outputs"] == outputs[:3] and second["outputs"] == outputs[3:]
    assert [each["metadata"]["mystnb"]["image"]["alt"] for each in (first, second)] == ["of F1", "of ResNet44"]
    assert first["metadata"]["tags"] == ["hide-input"] and second["metadata"]["tags"] == ["remove-input"]
    assert second["source"]  # MyST-NB leaves out a cell without any


def test_a_notebook_without_a_heading_gets_the_title_of_its_item():
    cell = {"cell_type": "code", "source": "x", "metadata": {}, "outputs": []}
    cleared = {"output_type": "display_data", "data": {"text/markdown": "", "text/plain": "<Markdown>"}, "metadata": {}}
    page = as_page({"cells": [cell | {"outputs": [cleared]}]}, Item("x", title="X"), "note")
    assert page["cells"][0]["source"] == "# X (notebook)\n\nnote"
    assert page["cells"][1]["outputs"] == []
