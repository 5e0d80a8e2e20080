"""The report as files: what it says, what it hides, that it needs nothing from outside and survives a failed build."""

import copy
import json
import logging
import re
import shutil
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from gbnlib import files, paper
from gbnlib.claims import VERDICTS
from gbnlib.errors import UsageError
from gbnlib.report import answer, build, evidence
from gbnlib.report.items import get_item
from gbnlib.report.record import Record
from gbnlib.report.site import abbreviations
from gbnlib.report.site import pages as site_pages
from gbnlib.report.site.contents import Entry, read_contents
from gbnlib.report.site.foreign_markup import OutsideDocstrings
from gbnlib.report.site.notebooks import as_page
from tests.report.conftest import MISSING, SHIPPED

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


def test_front_page_has_the_shipped_answer_and_beside_it_what_this_report_found(pages, site):
    page = pages["index.html"]
    text, verdicts, table = words(page), evidence.verdicts(), answer.table()
    assert answer.sentence(verdicts, table, intervals=False) in text
    assert page.select_one("figure.answer img")["alt"].startswith(answer.title(verdicts))
    rows = {row.select("td")[0].get_text().split()[0]: row for row in page.select("table.claims tbody tr")}
    assert {claim for claim in rows if claim[0] == "C"} == set(paper.claims())
    own = {
        claim: [badge.get_text() for badge in rows[claim].select("td")[4].select(".verdict")]
        for claim in paper.claims()
    }
    reduced = {claim: rows[claim].select("td")[3].get_text().strip() for claim in paper.claims()}
    assert reduced.pop("C6") == "partly reproduced" and set(reduced.values()) == {"–"}
    assert own["C1"] == ["reproduced"] and own["C8"] == ["not reproduced"] and own["C2"] == ["not tested"]
    shipped = {each.claim: each for each in verdicts if each.tested}
    for claim, row in rows.items():
        if claim in shipped:
            assert row.select("td")[2].select_one(".verdict").get_text() == shipped[claim].verdict
            assert answer.number(shipped[claim].effect) in row.get_text()
            assert row.select_one("svg.effect")["aria-label"].startswith(shipped[claim].effect.what)
    assert "Table 1, 11 of 18 runs" in text
    columns = [heading.get_text().strip() for heading in page.select("table.claims thead th")]
    assert columns == ["Claim", "Effect", "MNIST, shipped", "ResNet44, reduced", "Here, quick"]
    style = (site / "_static" / "columns.css").read_text(encoding="utf-8")
    phone = dict(re.findall(r'td:nth-child\((\d)\):has\(.verdict\)::before { content: "(.*): "; }', style))
    assert any("columns.css" in link["href"] for link in page.select("link[rel=stylesheet]"))
    assert phone == {str(number): name for number, name in enumerate(columns, start=1) if number > 2}


def test_front_page_is_short_and_its_pictures_are_there(pages, site):
    page = copy.copy(pages["index.html"])
    chart = page.select_one("figure.chart script")
    assert len(json.loads(chart.get_text())) >= 3
    for other in (chart, *page.select(".sd-card, .headerlink")):  # data and navigation
        other.decompose()
    assert len([word for word in words(page).split() if re.search(r"\w", word)]) <= 500
    for source in page.select("figure.answer source"):
        assert (site / source["srcset"]).is_file()


def test_the_guide_says_what_the_methods_are_called(pages):
    assert "SB and LB: small and large batch." in pages["guide.html"].find("article").get_text().replace("\n", " ")


def test_a_page_shows_plain_text_as_it_is(pages):
    text = words(pages["items/04_table1_validation_accuracy.html"])
    for shown in ("[1.1, 5.3] | n = 3", "−1.9 points <b>, n = 3", "more *again*"):
        assert shown in text


def test_front_page_has_a_linked_card_for_every_item(pages):
    links = [card.find("a", class_="sd-stretched-link")["href"] for card in pages["index.html"].select(".sd-card")]
    assert links == [
        "items/00_start_here.html#item-start-here",
        "items/01_figure1_generalization_gap.html#item-figure1",
        "items/04_table1_validation_accuracy.html#item-table1",
        "items/07_appendix_a_gradient_covariance.html#item-appendix-a",
        "items/08_figure4_loss_landscape.html#item-figure4",
    ]


def test_item_page_has_verdict_figure_and_downloads(pages, site):
    page = pages["items/01_figure1_generalization_gap.html"]
    assert page.select_one(".verdict-card .verdict-reproduced").get_text() == "reproduced"
    assert "validation error at equal epochs grows with batch size 5.2 → 9.1 %, n = 3" in words(page)
    assert "3 seeds · 18 of 18 runs · 2 min of training · scale quick" in words(page)
    names = {Path(link["href"]).name for link in page.select("a.download")}
    gap = {f"figure1_gap.{suffix}" for suffix in ("png", "svg", "csv")}
    assert names == gap | {"01_figure1_generalization_gap.ipynb"}
    below = page.select_one("figure.drawn").find_next(class_="downloads")
    links = {Path(link["href"]).name: link["href"] for link in below.select("a[download]")}
    assert set(links) == gap and all((site / "items" / link).is_file() for link in links.values())
    code = page.find("a", string="The code that made it")["href"]
    assert "save_figure" in page.select_one(code).find_next(class_="cell_input").get_text()
    assert "numpy: 2.3.1" in words(pages["items/04_table1_validation_accuracy.html"])  # it has no notebook that says so


def test_an_item_has_one_page_and_shows_a_figure_once(pages):
    assert not [name for name in pages if name.startswith("notebooks/")]
    page = pages["items/01_figure1_generalization_gap.html"]
    assert len(page.select("article img")) == 1
    text = words(page)
    assert text.count("Error: the gap") == 1
    assert text.index("Error: the gap") < text.index("reproduced C1") < text.index("What the paper claims")


def test_a_figure_is_an_svg_with_a_form_for_a_phone_and_for_a_dark_page(pages, site):
    (picture,) = pages["items/01_figure1_generalization_gap.html"].select("figure.drawn picture")
    wide, narrow = picture.img["src"], picture.source["srcset"]
    assert Path(wide).name == "figure1_gap.svg" and Path(narrow).name == "figure1_gap-narrow.svg"
    for address in (wide, narrow):
        assert "Three lines" in (site / "items" / address).read_text(encoding="utf-8")
    assert 'html[data-theme="dark"] .bd-content :is(figure.drawn img' in (site / "_static/report.css").read_text()


def test_a_run_has_a_page_with_config_curve_and_files_which_its_id_links_to(pages, site):
    listed = pages["items/01_figure1_generalization_gap.html"].select("details.runs li")
    assert [item.get_text() for item in listed] == sorted([SHIPPED, MISSING])
    assert [item.a and item.a["href"] for item in listed if item.a] == [f"../runs/{SHIPPED}.html"]
    page = pages[f"runs/{SHIPPED}.html"]
    config = json.loads((files.reference_root() / "runs" / SHIPPED / "config.json").read_text())["config"]
    rows = {row.th.get_text(): row.td.get_text() for row in page.select("article tr")}
    for name in ("network", "batch_size", "seed", "epochs"):
        assert rows[name] == str(config[name])
    (curve,) = json.loads(page.select_one("figure.chart script").get_text())
    assert curve["shown"] and curve["n"] == 1 and curve["epochs"][-1] == config["epochs"]
    for link in page.select("article a[download]"):
        kind = Path(link["href"]).name.removeprefix(f"{SHIPPED}-")
        shipped = files.reference_root() / "runs" / SHIPPED / kind
        assert (site / "runs" / link["href"]).read_bytes() == shipped.read_bytes()
    assert len(page.select("article a[download]")) == 2


def test_the_data_of_the_answers_picture_can_be_downloaded(site):
    table = pd.read_csv(site / "_static" / "answer.csv")
    pd.testing.assert_frame_equal(table, answer.table(), check_dtype=False)


def test_a_page_says_what_it_is_to_search_engines_and_where_it_is_shared(pages, site):
    title, sentence = (
        answer.title(evidence.verdicts()),
        answer.sentence(evidence.verdicts(), answer.table(), intervals=False),
    )
    for name in ("index.html", "items/01_figure1_generalization_gap.html"):
        told = {(tag.get("name") or tag.get("property")): tag["content"] for tag in pages[name].select("meta[content]")}
        assert told["description"] == told["og:description"] == sentence and told["og:title"] == title
        assert (site / name).parent.joinpath(told["og:image"]).read_bytes().startswith(b"\x89PNG")
        assert (site / name).parent.joinpath(pages[name].select_one("link[rel=icon]")["href"]).is_file()


def test_a_methods_name_is_explained_where_a_page_uses_it_first(pages):
    for name, page in pages.items():
        found = [abbreviation.get_text() for abbreviation in page.select("article abbr")]
        explained = [each for each in found if each in abbreviations.MEANINGS]  # signatures have some of Sphinx
        assert len(explained) == len(set(explained)), name
    titles = {each.get_text(): each["title"] for each in pages["guide.html"].select("article abbr")}
    assert titles == abbreviations.MEANINGS


def test_what_is_not_tested_is_listed_below_the_cards(pages):
    page = pages["items/01_figure1_generalization_gap.html"]
    assert len(page.select(".verdict-card .card-facts")) == 1
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
    records = [Record(measurements=made) for made in ((), ("m-1", "m-2"))]
    left_out, measured = (Entry(get_item("figure4"), record, None) for record in records)
    assert site_pages._tally(left_out) == [("C5", VERDICTS[-1], 1)] and site_pages._tally(measured) == [("C5", "", 1)]
    macros = site_pages.environment().get_template("macros.j2").make_module({"tally": site_pages._tally})
    assert [macros.runs(record).strip() for record in records] == ["no runs", "2 measurements"]


def test_notebook_page_is_folded_and_clean(pages):
    page = pages["items/01_figure1_generalization_gap.html"]
    assert page.find("h1").get_text().startswith("Figure 1: larger batches generalise worse")
    assert all(code.find_parent("details") for code in page.select(".cell_input"))
    text = words(page)
    assert page.select_one("section p a[href='00_start_here.html']").get_text() == "the start"
    assert "and ImageNet." in text  # which is not in this report, so it is no link
    assert page.find("a", string="ImageNet") is None
    assert "save_figure" in text and "# Parameters" not in text and "how much to run" not in text
    assert page.select_one("figure.drawn img")["alt"] == 'Four rising curves: "small" lowest'
    assert "An Exception was encountered" not in words(pages["items/08_figure4_loss_landscape.html"])


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


def test_the_picture_of_an_item_is_the_first_that_is_there(tmp_path):
    """Of its first network, whatever the names."""
    exhibits = [{"folder": "tables", "name": "b"}, *({"folder": "figures", "name": name} for name in "cba")]
    (tmp_path / "quick" / "items").mkdir(parents=True)
    (tmp_path / "quick" / "items" / "figure1.json").write_text(json.dumps({"exhibits": exhibits}))
    for name in ("tables/b.md", "figures/a.png", "figures/b.svg"):
        (tmp_path / "quick" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "quick" / name).touch()
    contents = read_contents(tmp_path / "quick")
    (entry,) = contents.entries
    assert [exhibit.name for exhibit in entry.facts.exhibits] == ["b", "c", "b", "a"]
    assert contents.first_picture(entry).id == "figures/b"


def test_an_unreadable_record_is_named(tmp_path):
    path = tmp_path / "quick" / "items" / "table1.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"item": ')
    with pytest.raises(UsageError, match=r"table1\.json"):
        build.build_report(tmp_path, "quick")


def test_a_failed_build_leaves_the_old_report(tmp_path, monkeypatch):
    record = tmp_path / "quick" / "items" / "figure1.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    monkeypatch.setattr(build, "write_source", lambda contents, source: source.mkdir(parents=True))
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
    ("location", "counts"),
    [
        ("gbnlib/regimes.py:docstring of gbnlib.regimes.Phase:3", False),
        ("index.md:3", True),
        ("items/index.md:3", True),
        ("source/items/01_x.ipynb:10003", True),  # in its first cell, which is the card
        ("source/items/01_x.ipynb:20003", False),
        (("items/01_x", 100003), False),
        ("items/01_x", False),
    ],
)
def test_only_the_markup_of_docstrings_is_let_pass(location, counts):
    record = logging.LogRecord("sphinx", logging.WARNING, "x.py", 1, "Unexpected indentation.", None, None)
    record.location = location
    assert OutsideDocstrings().filter(record) is counts


def page_of(*cells: dict) -> list:
    """The cells of the page of a notebook between its title and its end."""
    notebook = nbformat.from_dict({"cells": [{"metadata": {}, **cell} for cell in cells], "metadata": {}})

    def words(exhibit: str, code: str) -> str:
        return f"{{piece}} figure-{exhibit}, by {code}" if exhibit.startswith("figures/") else f"below {exhibit}"

    title, *others, end = as_page(notebook, "# X", "card", "the end", words).cells
    assert (title.source, end.source) == ("# X", "the end")
    return others


def test_a_saved_figure_takes_the_place_of_its_output_and_caption_and_others_stay():
    table = {"output_type": "display_data", "data": {"text/plain": "a table"}, "metadata": {"exhibit": "tables/x"}}
    saved = {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {"exhibit": "figures/y"}}
    caption = {"output_type": "display_data", "data": {"text/plain": "a"}, "metadata": {"caption": "figures/y"}}
    other = {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {}}
    cell = {"cell_type": "code", "source": "x", "outputs": [table, saved, caption, other]}
    card, anchor, first, below, figure, last = page_of(cell)
    assert (card.source, anchor.source) == ("card", "(code-0)=")
    assert first["outputs"] == [table] and below.source == "below tables/x"
    assert figure.source == "{piece} figure-figures/y, by code-0" and last["outputs"] == [other]
    assert [each["metadata"]["tags"] for each in (first, last)] == [["hide-input"], ["remove-input"]]
    assert last["source"]  # MyST-NB leaves out a cell without any


@pytest.mark.parametrize(("tag", "folded"), [("comparison", True), ("figure", False), ("table", False)])
def test_a_table_is_folded_under_its_caption_unless_it_is_what_a_cell_is_for(tag, folded):
    html = "<table><caption>Runs &amp; seeds.</caption><tr><td>1</td></tr></table>"
    table = {"output_type": "display_data", "data": {"text/html": html}, "metadata": {}}
    said = {"output_type": "display_data", "data": {"text/plain": "said"}, "metadata": {}}
    cell = {"cell_type": "code", "source": "x", "metadata": {"tags": [tag]}, "outputs": [said, table, said]}
    cells = [each for each in page_of(cell) if each.cell_type == "code"]
    closed = [each.metadata.mystnb.code_prompt_show for each in cells if "hide-output" in each.metadata.tags]
    assert closed == ["Runs & seeds."] * folded
    assert [output for each in cells for output in each.outputs] == [said, table, said]


def test_the_command_of_the_front_page_is_that_of_its_scale(fake_results, tmp_path):
    shutil.copytree(fake_results / "quick", tmp_path / "desk", ignore=shutil.ignore_patterns("report"))
    site_pages.write_source(read_contents(tmp_path / "desk"), tmp_path / "source")
    assert "\nmake reproduce SCALE=desk\nmake test\n" in (tmp_path / "source" / "index.md").read_text()


@pytest.mark.parametrize("ran", [True, False])
def test_the_first_figure_comes_before_the_text_if_there_is_one(ran):
    output = {"output_type": "stream", "name": "stdout", "text": "x"}
    code = {"cell_type": "code", "source": "draw()", "metadata": {"tags": ["figure"]}, "outputs": [output] * ran}
    titles = ["# X\n\nIntroduction", "## Method", "## Figure", "## Limits"]
    texts = [{"cell_type": "markdown", "source": title} for title in titles]
    sources = [cell.source.strip() for cell in page_of(*texts[:3], code, texts[3])]
    before, figure = ["## About this notebook\n\nIntroduction", "## Method"], ["## Figure", "draw()"]
    order = [*figure, "card", *before] if ran else ["card", *before, *figure]
    assert sources == [*order, "## Limits"]


def test_a_cleared_line_is_not_shown_and_a_notebook_needs_no_heading():
    cleared = {"output_type": "display_data", "data": {"text/markdown": "", "text/plain": "<Markdown>"}, "metadata": {}}
    _, code = page_of({"cell_type": "code", "source": "x", "outputs": [cleared]})
    assert code["outputs"] == []
