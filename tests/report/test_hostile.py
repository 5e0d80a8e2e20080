"""Results that somebody else made: whatever their files hold is shown as text, and stays in the report's own folder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gbnlib.report.build import build_report
from gbnlib.report.items import get_item, items
from gbnlib.report.site import contents, escape
from gbnlib.report.site.safe import clean_html

OUTSIDE = "http://outside.invalid/x"
SCRIPT = "<script>window.ran = 1</script>"
LIVE = [
    SCRIPT,
    "<img src=x onerror='window.ran = 1'>",
    f'<img src="{OUTSIDE}.png">',
    f"![picture]({OUTSIDE}.png)",
    f'<link rel=stylesheet href="{OUTSIDE}.css">',
    f'<meta http-equiv="refresh" content="0; url={OUTSIDE}">',
    "<svg onload='window.ran = 1'></svg>",
    f"</p></div></main>{SCRIPT}",
    f"```{{raw}} html\n{SCRIPT}\n```",
    f":::{{raw}} html\n{SCRIPT}\n:::",
    f"~~~ {{eval-rst}}\n.. raw:: html\n\n   {SCRIPT}\n~~~",
    f"x\n\n:::::\n\n{SCRIPT}",
    "{raw}`x` {unknown}`x` {download}`x </../../quick/items/figure1.json>`",
    "[click](javascript:window.ran=1)",
    "$\\href{javascript:window.ran=1}{x}$",
]
ODD = [
    *(
        "",
        " ",
        "```",
        ":::",
        "::::{grid}",
        "---",
        "===",
        "# a",
        "1. a",
        "- a",
        "> a",
        "    a",
        "+++",
        "% a",
        "(a)=",
        "~~~",
    ),
    *(
        "$",
        "$$",
        "$a",
        "$ a $",
        "\\",
        "`",
        "``",
        "a`",
        "|",
        "| a | b |",
        "*",
        "**",
        "*a",
        "_a_",
        "&lt;",
        ":alt: a",
        "!",
    ),
    *(
        "[a](b)",
        "[a]: b",
        "[a][b]",
        "[^1]",
        "[^1]: a",
        "<http://a.b>",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "{a}`b`",
        "{.a}",
        "a\nb",
    ),
    *(
        "\0",
        "\x7f",
        "\ufffe",
        "\u2028",
        "\u202e",
        "\U0001f600",
        '"',
        "'",
        "a: b",
        "&a *a !a",
        "@",
        "%a",
        "#",
        "a" * 5000,
    ),
]


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def change(path: Path, **values: object) -> None:
    write(path, json.loads(path.read_text(encoding="utf-8")) | values)


def spoil(folder: Path) -> None:
    """Put what is live into every field of every file, and what is odd into one caption each."""
    every = "\n\n".join(LIVE)
    for path in (folder / "items").glob("*.json"):
        change(path, datasets=LIVE, runs=LIVE, measurements=LIVE, provenance={SCRIPT: every, "": "a"})
    for path in (folder / "verdicts").glob("*.json"):
        names = ("statement", "scale", "network_label", "dataset_label", "criterion", "evidence", "published", "tag")
        change(path, **dict.fromkeys(names, every), runs=[every])
    cells = "|".join(LIVE).replace("\n", " ")
    shown = []
    for number, words in enumerate([*ODD, *LIVE]):
        name = {"name": f"odd{number}", "caption": words, "alt": words}
        shown += [{"folder": "figures", **name}, {"folder": "tables", **name}]
        shutil.copy(folder / "figures/figure1_gap.png", folder / f"figures/odd{number}.png")
        table = f"| a | {words} |\n|---|--:|\n| {words} | {cells} |\n| b |\n"
        (folder / f"tables/odd{number}.md").write_text(table, encoding="utf-8")
    for item in ("figure1", "appendix_a"):  # with a notebook, and without one
        change(folder / f"items/{item}.json", exhibits=shown)
    shutil.copy(folder / "figures/figure1_gap.png", folder / "figures/a.b.png")
    spoil_notebook(folder / "notebooks/01_figure1_generalization_gap.ipynb")


def spoil_notebook(path: Path) -> None:
    """Put what is live into the cells of a notebook, its outputs in every form, and its parameters."""
    book = nbformat.read(path, 4)
    every = "\n\n".join(LIVE)
    book.metadata.papermill.parameters = {"scale": "quick", SCRIPT: every, "`": "`"}
    book.cells += [nbformat.v4.new_markdown_cell(words) for words in (*LIVE, *ODD)]
    forms = dict.fromkeys(("text/html", "text/markdown", "text/latex", "image/svg+xml", "text/plain"), every)
    table = "<style>td { color: red }</style><table class='t'><tr><td colspan=2>in a table</td></tr></table>"
    data = [{kind: value, "text/plain": "plain"} for kind, value in forms.items()] + [{"text/html": table + every}]
    data += [{"application/javascript": "window.ran = 1", "text/plain": "plain"}, {"image/png": "no base64"}]
    book.cells.append(nbformat.v4.new_code_cell("x"))
    alt = {"image/png": {"alt": every}}
    book.cells[-1].outputs = [nbformat.v4.new_output("display_data", each, metadata=alt) for each in data]
    book.cells[-1].outputs.append(nbformat.v4.new_output("stream", name="stdout", text=every))
    error = {"ename": SCRIPT, "evalue": every, "traceback": LIVE}
    book.cells[-1].outputs.append(nbformat.v4.new_output("error", **error))
    nbformat.write(book, path)


@pytest.fixture(scope="module")
def hostile(fake_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of spoiled results; that it is built at all is a test of its own."""
    results = tmp_path_factory.mktemp("hostile") / "results"
    shutil.copytree(fake_results, results, ignore=shutil.ignore_patterns("report"))
    spoil(results / "quick")
    first = get_item("figure1")
    second = {"figure1b": replace(first, name="figure1b", title="Figure 1b: <b>", finding=" ".join(LIVE))}
    write(results / "quick/items/figure1b.json", {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "items", lambda: items() | second)
        return build_report(results, "quick").parent


def pages(site: Path) -> dict[str, BeautifulSoup]:
    found = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    return {str(path.relative_to(site)): BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in found}


def test_no_page_holds_anything_live(hostile):
    for name, page in pages(hostile).items():
        body = page.find("article")
        live = body.find_all(["script", "iframe", "object", "embed", "link", "meta", "style", "base"]) if body else []
        live = [tag for tag in live if tag.get("type") != "application/json"]  # data, which no browser runs
        assert name == "search.html" or live == [], name
        for tag in page.find_all(True):
            assert not [attribute for attribute in tag.attrs if attribute.startswith("on")], (name, tag)
            addresses = [str(tag[attribute]) for attribute in ("src", "srcset", "data") if attribute in tag.attrs]
            assert not [each for each in addresses if each.startswith(("http", "//"))], (name, tag)
            assert not str(tag.get("href", "")).startswith("javascript"), (name, tag)


def test_what_looks_live_is_shown_as_it_is(hostile):
    every = pages(hostile)
    page = every["items/01_figure1_generalization_gap.html"]
    for each in (every["index.html"], page, every["items/07_appendix_a_gradient_covariance.html"]):
        text = each.get_text()
        assert SCRIPT in text and f"![picture]({OUTSIDE}.png)" in text and "[click](javascript:window.ran=1)" in text
    assert page.select_one("table.t td[colspan='2']").get_text() == "in a table"
    for name in ("01_figure1_generalization_gap", "07_appendix_a_gradient_covariance"):
        shown = {caption.get_text() for caption in every[f"items/{name}.html"].select(".caption p, figcaption p")}
        assert {"1. a", "[a](b)", "{{ 7 * 7 }}", "| a | b |", "&lt;"} <= {text.removesuffix("#") for text in shown}


def test_items_of_one_notebook_share_its_page_and_are_linked_to_their_places(hostile):
    every = pages(hostile)
    page = every["items/01_figure1_generalization_gap.html"]
    assert page.find("h1").get_text().startswith("Figure 1 · Figure 1b")
    for item, title in (("figure1", "Figure 1: larger"), ("figure1b", "Figure 1b: <b>")):
        assert page.find(id=f"item-{item}")
        for name, up in (("index.html", "items/"), ("items/index.html", "")):
            (link, *_) = every[name].select(f"article a[href='{up}01_figure1_generalization_gap.html#item-{item}']")
            assert link.get_text().startswith((title, "C1"))
    headings = [heading.get_text() for heading in page.select("article h2")]
    assert [each for each in headings if each.startswith("Figure 1")] == [
        "Figure 1: larger batches generalise worse#",
        "Figure 1b: <b>#",
    ]


def test_nothing_from_beside_the_sources_is_copied_into_the_report(hostile):
    taken = [path for path in hostile.rglob("*.json") if "_static" not in path.parts]
    assert taken == []


def test_every_page_has_a_policy_that_names_each_of_its_own_scripts(hostile):
    for name, page in pages(hostile).items():
        first = page.find("head").find(True)
        assert first["http-equiv"] == "Content-Security-Policy", name
        rules = dict(rule.strip().split(" ", 1) for rule in first["content"].split(";"))
        assert rules["default-src"] == rules["base-uri"] == "'none'" and "unsafe" not in rules["script-src"], name
        assert rules["script-src"].count("sha256-") >= 3 and "http" not in first["content"], name


@pytest.mark.parametrize("page", ["index.html", "items/01_figure1_generalization_gap.html", "items/index.html",
                                  "items/07_appendix_a_gradient_covariance.html"])  # fmt: skip
def test_nothing_runs_and_nothing_is_asked_of_the_network(browser, hostile, asked, page):
    browser.get_log("browser")
    browser.get((hostile / page).as_uri())
    assert browser.execute_script("return window.ran") is None
    addresses = asked()
    assert len(addresses) > 10 and all(address.startswith(("file:", "data:")) for address in addresses)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize(
    "live", [SCRIPT, "<img src=x onerror='window.ran = 1'>", "<a id=go href='javascript:void(window.ran = 1)'>x</a>"]
)
def test_the_policy_stops_what_gets_into_a_page_all_the_same(browser, site, live):
    spoiled = site / "spoiled.html"
    spoiled.write_text((site / "guide.html").read_text("utf-8").replace("<article", f"{live}<article", 1), "utf-8")
    try:
        browser.get(spoiled.as_uri())
        browser.execute_script("document.getElementById('go')?.click()")
        refused = [
            entry["message"] for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]
        ]
        assert browser.execute_script("return window.ran") is None and refused
    finally:
        spoiled.unlink()


@given(st.text())
def test_text_is_shown_as_it_is(words):
    """By CommonMark's own parser: a paragraph of nothing but these words."""
    tokens = MarkdownIt("commonmark").enable("table").parse(escape.text(words))
    shown = "".join(child.content for token in tokens for child in token.children or ())
    assert shown == escape.line(words) and len(tokens) in (0, 3)


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("the *gap* in $t$", "the *gap* in {math}`t`"),
        ("`a_b` <b> *<b>*", "`a_b` \\<b\\> *\\<b\\>*"),
        ("**a** $5", "\\*\\*a\\*\\* \\$5"),
        ("$`x`$", "\\$`x`\\$"),
    ],
)
def test_a_sentence_may_hold_code_mathematics_and_emphasis(words, written):
    assert escape.prose(words) == written


@pytest.mark.parametrize(
    ("html", "cleaned"),
    [
        ("<table><tr><td class='a' onclick='x'>1</td></tr></table>", '<table><tr><td class="a">1</td></tr></table>'),
        ("<style>td {}</style><script>x</script><!-- <script> -->a", "a"),
        ("</div></article>a<b>c", "a<b>c</b>"),
        ("<a href='javascript:x'>a</a><noscript><p title='</noscript><script>x</script>'></noscript>", "a"),
        ("<svg><style><img src=x onerror=x></style></svg>&lt;script&gt;", "&lt;script&gt;"),
    ],
)
def test_html_keeps_its_tables_and_words(html, cleaned):
    assert clean_html(html) == cleaned
