"""The report in a browser, opened from disk with the network cut: it works, loads nothing, fits and can be read."""

import re
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from gbnlib import files
from tests.report.conftest import SHIPPED

#: `npm install --no-save axe-core` in the repository puts it there.
AXE = files.REPOSITORY / "node_modules" / "axe-core" / "axe.min.js"
PAGES = [
    "index.html",
    "guide.html",
    "benchmarks.html",
    f"runs/{SHIPPED}.html",
    "items/00_start_here.html",
    "items/index.html",
    "items/01_figure1_generalization_gap.html",
    "items/04_table1_validation_accuracy.html",
    "items/08_figure4_loss_landscape.html",
    "api/gbnlib.nn.html",
]
PICTURES = "return [...document.images].map((image) => [image.alt, image.complete && image.naturalWidth])"
# A colour that is still changing is neither of the two.
STILL = """document.head.append(document.createElement("style"));
document.head.lastChild.textContent = "* { transition: none !important; }";"""

# Words of paragraphs and tables that reach over the edge of a phone, where nothing scrolls to them.
CUT = """return [...document.querySelectorAll("article :is(p, li, td)")]
  .filter((each) => each.checkVisibility() && !each.closest(".pst-scrollable-table-container, .output"))
  .filter((each) => { const range = document.createRange(); range.selectNodeContents(each);
    return range.getBoundingClientRect().right > innerWidth + 1; })
  .map((each) => each.outerHTML.slice(0, 120));"""

# Contrast of every visible text of the page with the background it stands on, by the formula of WCAG 2.
CONTRAST = """
const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const background = (element) => {
  for (; element; element = element.parentElement) {
    const colour = numbers(getComputedStyle(element).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const own = (e) => [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
return [...document.querySelectorAll("main *, header *")]
  .filter((e) => own(e) && e.checkVisibility({opacityProperty: true, visibilityProperty: true}))
  .filter((e) => !e.closest(".headerlink, .sd-hide-link-text, script, style, mjx-container"))
  .map((e) => {
    const [a, b] = [luminance(numbers(getComputedStyle(e).color)), luminance(background(e))];
    return [e.outerHTML.slice(0, 120), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  }).filter(([, contrast]) => contrast < 4.5);
"""


@pytest.fixture
def show(browser, site: Path):
    """Open a page of the report at a size: 1280 pixels wide, or as a phone has it."""

    def open_page(page: str, width: int = 1280) -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        name, query, words = page.partition("?")
        browser.get((site / name).as_uri() + query + words)
        browser.execute_script(STILL)

    yield open_page
    browser.execute_script("localStorage.clear()")


def until(condition, seconds: float = 10.0):
    """Wait for a condition to hold, and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value


@pytest.mark.parametrize("page", PAGES)
def test_page_loads_whole_and_only_from_disk(browser, show, asked, page):
    browser.get_log("browser")
    show(page)
    assert browser.find_element("css selector", "h1").is_displayed()
    pictures = browser.execute_script(PICTURES)
    assert all(alt and width > 0 for alt, width in pictures), pictures
    addresses = asked()
    assert len(addresses) > 10 and all(address.startswith(("file:", "data:")) for address in addresses)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("page", PAGES)
def test_page_fits_a_phone(browser, show, page):
    show(page, width=390)
    assert browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [390, 390]
    assert browser.execute_script(CUT) == []


@pytest.mark.parametrize("page", PAGES)
def test_text_can_be_read_in_both_modes(browser, show, page):
    show(page)
    for mode in ("light", "dark"):
        browser.execute_script(f"document.documentElement.dataset.theme = '{mode}'")
        assert browser.execute_script(CONTRAST) == [], mode


def test_the_switch_changes_to_dark(browser, show):
    show("index.html")
    colour = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(colour)
    browser.find_element("css selector", ".theme-switch-button").click()
    until(lambda: browser.find_element("css selector", ".theme-change-button[data-mode=dark]").is_displayed())
    browser.find_element("css selector", ".theme-change-button[data-mode=dark]").click()
    assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"
    assert until(lambda: browser.execute_script(colour) != before)


def test_search_works_from_the_keyboard(browser, show):
    from selenium.webdriver.common.keys import Keys

    show("index.html")
    browser.find_element("css selector", "body").send_keys(Keys.CONTROL, "k")
    field = until(lambda: browser.find_element("css selector", "#pst-search-dialog input"))
    field.send_keys("covariance", Keys.ENTER)
    results = until(lambda: browser.find_elements("css selector", "ul.search li a"))
    assert any("Appendix A" in result.text for result in results)


def test_a_card_opens_its_page_from_the_keyboard(browser, show):
    from selenium.webdriver.common.keys import Keys

    show("index.html")
    browser.find_element("css selector", ".sd-card a[href*='01_figure1']").send_keys(Keys.ENTER)
    assert until(lambda: browser.current_url.endswith("items/01_figure1_generalization_gap.html#item-figure1"))


def test_equations_are_set(browser, show):
    show("items/01_figure1_generalization_gap.html")
    assert until(lambda: browser.find_elements("css selector", "mjx-container mjx-math"))


def test_printing_opens_what_is_folded_and_is_light(browser, show):
    show("items/01_figure1_generalization_gap.html")
    browser.execute_script("document.documentElement.dataset.theme = 'dark'")
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    state = "return [document.querySelectorAll('details:not([open])').length, document.documentElement.dataset.theme]"
    assert browser.execute_script(state) == [0, "light"]
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    folded, theme = browser.execute_script(state)
    assert folded > 0 and theme == "dark"


def test_the_chart_switches_its_axis_and_reads_a_curve(browser, show) -> None:
    show("index.html")
    axis = "return [...document.querySelectorAll('figure.chart text')].map((text) => text.textContent)"
    until(lambda: "epochs (log scale)" in browser.execute_script(axis))
    curves = "return document.querySelectorAll('figure.chart .curve').length"
    before = browser.execute_script(curves)
    browser.execute_script("document.querySelectorAll('figure.chart input[type=radio]')[1].click()")
    assert "updates (log scale)" in browser.execute_script(axis)
    browser.execute_script("document.querySelector('figure.chart input[type=checkbox]:not(:checked)').click()")
    assert browser.execute_script(curves) == before + 1
    browser.execute_script("document.querySelector('figure.chart .curve').focus()")
    said = browser.execute_script("return document.querySelector('figure.chart .said').textContent")
    assert "updates, n = " in said and "%" in said
    faint = "return document.querySelectorAll('figure.chart .curve.faint').length"
    assert browser.execute_script(faint) == before


@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_answer_is_within_the_first_screen_and_its_text_can_be_read(browser, show, width: int, theme: str) -> None:
    """The one picture that is shown begins on the first screen, and no text of it or of the chart is under 9 px."""
    show("index.html", width)
    browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    pictures = """return [...document.querySelectorAll("figure.answer img")].filter((image) => image.checkVisibility())
      .map((image) => [image.getBoundingClientRect().top, image.currentSrc, image.clientWidth, image.naturalWidth])"""
    shown = until(lambda: [each for each in browser.execute_script(pictures) if each[3]])
    ((top, source, drawn, natural),) = shown
    assert top < 900 and theme in source and ("narrow" in source) == (width == 420)
    assert 12 * drawn / natural >= 9  # the smallest text of the picture has 12 px of its own
    sizes = """return [...document.querySelectorAll("figure.chart text")].map((text) =>
      parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)"""
    assert min(until(lambda: browser.execute_script(sizes))) >= 9


@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_text_of_a_figure_can_be_read(browser, show, width: int, theme: str) -> None:
    """The SVG itself says how large its text is; the page, how far it is scaled. A dark page turns it over."""
    show("items/01_figure1_generalization_gap.html", width)
    browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    drawn = """return [...document.querySelectorAll("figure.drawn img")].map((image) =>
      [image.currentSrc, image.clientWidth, image.naturalWidth, getComputedStyle(image).filter])"""
    ((address, shown, natural, turned),) = until(lambda: [each for each in browser.execute_script(drawn) if each[2]])
    assert ("-narrow" in address) == (width == 420) and ("invert(1)" in turned) == (theme == "dark")
    text = Path(unquote(urlsplit(address).path)).read_text(encoding="utf-8")
    points = float(re.search(r'viewBox="0 0 (\S+) ', text)[1])
    assert min(float(size) for size in re.findall(r"([\d.]+)px", text)) * shown / points >= 9
    assert shown <= natural * 1.5


def test_the_text_of_a_page_has_900_pixels_of_1400(browser, show) -> None:
    show("items/01_figure1_generalization_gap.html", 1400)
    assert browser.execute_script("return document.querySelector('article p').clientWidth") >= 900


@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing(browser, show, page: str, width: int) -> None:
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm install --no-save axe-core")
    show(page, width)
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    for theme in ("light", "dark"):
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
        found = browser.execute_async_script("axe.run().then((found) => arguments[0](found.violations))")
        assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == [], theme


@pytest.mark.parametrize("width", [420, 1400])
def test_a_number_of_a_table_is_on_one_line(browser, show, width: int) -> None:
    show("items/01_figure1_generalization_gap.html", width)
    browser.execute_script("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    lines = """return [...document.querySelectorAll(".cell_output td")].map((cell) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return range.getClientRects().length;
    })"""
    assert set(browser.execute_script(lines)) == {1}


def test_search_has_no_twins(browser, show):
    show("search.html?q=covariance")
    results = until(lambda: browser.find_elements("css selector", "ul.search li a"))
    addresses = [result.get_attribute("href").partition("?")[0] for result in results]
    assert addresses and len(addresses) == len(set(addresses))
