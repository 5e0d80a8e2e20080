"""A fake of what the notebooks leave in `results/<scale>/`: whole items, partial ones, and one that failed."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import nbformat
import pytest
from filelock import FileLock

from gbnlib import files
from gbnlib.claims import Verdict
from gbnlib.claims.decision import NOT_TESTED
from gbnlib.report import evidence
from gbnlib.report.build import build_report
from gbnlib.report.cards import cards

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PROVENANCE = {
    "gbnlib": "0.1.0",
    "engine": 1,
    "python": "3.11.9",
    "torch": "2.14.1",
    "commit": "3f2a91c",
    "dirty": False,
    "cpu": "8-core x86-64, AVX-512",
    "threads": 1,
    "precision": "fp32",
    "numpy": "2.3.1",
}
GAP = {"folder": "figures", "name": "figure1_gap", "caption": "Error: the *gap* in $t$, 95 % bands"}
GAP["alt"] = 'Four rising curves: "small" lowest'
RECORD = {
    "datasets": ["MNIST digits (5,000 embedded)"],
    "planned": 18,
    "finished": 18,
    "diverged": 0,
    "reference": 0,
    "seeds": 3,
    "training_seconds": 123.4,
    "provenance": PROVENANCE,
}
#: A run that the repository comes with, and one that is nowhere.
SHIPPED = min(path.name for path in (files.reference_root() / "runs").glob("f1-mnist-b128-s0-*"))
MISSING = "f1-digits-b32-s0-0123456789ab"
#: What differs between the records.
RECORDS = {
    "start_here": {"planned": 0, "finished": 0, "seeds": 0, "training_seconds": 0},
    "figure1": {"exhibits": [GAP], "runs": [SHIPPED, MISSING]},
    "table1": {
        "finished": 11,
        "diverged": 1,
        "reference": 4,
        "exhibits": [{"folder": "tables", "name": "table1", "caption": "Paper and here (%)"}],
    },
    "appendix_a": {},
}
VERDICTS = [
    ("C1", "figure1", "reproduced", "Validation error at equal epochs grows with batch size", "5.2 → 9.1 %, n = 3"),
    ("C6", "table1", "partly reproduced", "√ scaling closes part of the gap at equal epochs", "[1.1, 5.3] | n = 3"),
    ("C7", "table1", "inconclusive", "Ghost batch normalization closes more *again*", "+0.2 points, n = 3 and 3"),
    ("C8", "table1", "not reproduced", "Regime adaptation removes the gap", "−1.9 points <b>, n = 3"),
    ("C2", "", "not tested at this scale", "‖w_t − w_0‖ grows like log t in the first phase", ""),
]
#: What a reduced row is taken to say.
REDUCED = {"resnet44": [Verdict("C6", "", "partly reproduced"), Verdict("C7", "")]}
NOTEBOOK = [
    ("md", "# Figure 1: larger batches generalise worse\n\nWhat the paper shows.", ()),
    ("md", "## What the paper claims\n\nThe gap $E_L - E_S$ grows; see [the start](00_start_here.ipynb) "
     "and [ImageNet](05_table2_imagenet.ipynb).\n\n$$g = \\frac{1}{M} \\sum_n g_n"
     " = g_1 + g_2 + g_3 + g_4 + g_5 + g_6 + g_7 + g_8 + g_9 + g_{10}$$", ()),
    ("md", "## Parameters\n\n`papermill notebooks/01_figure1_generalization_gap_and_more.ipynb out.ipynb`", ()),
    ("code", 'scale: str = "smoke"  # how much to run', ("parameters",)),
    ("code", '# Parameters\nscale = "quick"', ("injected-parameters",)),
    ("md", "## Figure", ()),
    ("code", 'save_figure(fig, "figure1_gap", caption, alt)', ("figure",)),
    ("md", "## Paper and reproduction", ()),
    ("code", "compare()", ("comparison",)),
]  # fmt: skip


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_items(folder: Path) -> None:
    for item, own in RECORDS.items():
        write_json(folder / f"items/{item}.json", RECORD | own)


def write_verdicts(folder: Path) -> None:
    for claim, item, verdict, statement, found in VERDICTS:
        network, dataset = ("f1", "digits") if item else ("", "")
        value = {"claim": claim, "statement": statement, "network": network, "dataset": dataset, "scale": "quick"}
        value |= {"network_label": network.upper(), "dataset_label": "MNIST digits (5,000 embedded)" if item else ""}
        value |= {"item": item, "verdict": verdict, "criterion": "b > 0, lower bound above 0", "evidence": found}
        value |= {"n": 3, "published": "16–76 % of the gap", "tag": "P", "runs": [MISSING]}
        write_json(folder / f"verdicts/{claim}-{network}-{dataset}.json", value)
        if claim == "C1":  # also planned for another network, which has no runs yet
            other = {"network": "c1", "network_label": "C1", "verdict": "not tested at this scale", "runs": []}
            write_json(folder / f"verdicts/C1-c1-{dataset}.json", value | other | {"evidence": "no finished runs"})


def write_exhibits(folder: Path) -> None:
    draw(folder / "figures" / "figure1_gap")
    (folder / "figures/figure1_gap.csv").write_text("epoch,error\n1,9.0\n")
    (folder / "tables").mkdir()
    (folder / "tables/table1.md").write_text("| method | paper | here |\n|---|--:|--:|\n| SB | 98.27 | 96.7 ± 0.4 |\n")
    (folder / "tables/table1.csv").write_text("method,paper,here\nSB,98.27,96.7\n")


def draw(path: Path) -> None:
    from matplotlib import pyplot as plt

    from gbnlib.report import figures, plots

    path.parent.mkdir(parents=True, exist_ok=True)
    plots.set_theme()
    figure, axes = plt.subplots(1, 2)
    for ax in axes:
        for slope in (1, 2, 3):
            ax.plot([1, 2, 3], [slope, slope * 2, slope * 2.5], label=f"batch {slope}")
        figures.name_lines(ax)
    figures.write(figure, path.parent, path.name, "Three lines rise")
    plt.close(figure)


def notebook(cells: list, **metadata: object) -> nbformat.NotebookNode:
    """An executed notebook as papermill leaves it."""
    made = []
    for kind, source, tags in cells:
        make = nbformat.v4.new_markdown_cell if kind == "md" else nbformat.v4.new_code_cell
        made.append(make(source, metadata={"tags": list(tags), "papermill": {"status": "completed"}}))
    return nbformat.v4.new_notebook(cells=made, metadata={"papermill": {"parameters": {"scale": "quick"}}} | metadata)


def write_notebooks(folder: Path) -> None:
    import base64

    picture = base64.b64encode((folder / "figures/figure1_gap.png").read_bytes()).decode()
    full = notebook(NOTEBOOK, widgets={"application/vnd.jupyter.widget-state+json": {"state": {}}})
    data = {"image/png": picture, "text/plain": "<Figure>"}
    metadata = {"image/png": {"alt": GAP["alt"]}, "exhibit": "figures/figure1_gap"}
    caption = {"text/markdown": f"*{GAP['caption'].replace('*', '')}*", "text/plain": "<Markdown>"}
    heads, values = "<th>a column that is wide</th>" * 6, "<td>12345.6789</td>" * 6
    table = f"<table><caption>Compared.</caption><tr>{heads}</tr><tr>{values}</tr></table>"
    judged = Verdict("C1", "Errors grow", "reproduced", evidence="+1", network_label="F1", dataset_label="MNIST")
    shown = [{"text/html": table}, *cards([judged, replace(judged, verdict=NOT_TESTED)])]
    full.cells[-1].outputs = [nbformat.v4.new_output("display_data", each) for each in shown]
    full.cells[-3].outputs = [
        nbformat.v4.new_output("display_data", data, metadata=metadata),
        nbformat.v4.new_output("display_data", caption, metadata={"caption": "figures/figure1_gap"}),
    ]
    failed = notebook([("md", "# Figure 4: the loss landscape", ()), ("code", "1 / 0", ("compute",))])
    error = {"ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": ["ZeroDivisionError: ..."]}
    failed.cells[-1].outputs = [nbformat.v4.new_output("error", **error)]
    notice = nbformat.v4.new_markdown_cell("<span>An Exception was encountered</span>")
    notice.metadata["tags"] = ["papermill-error-cell-tag"]
    failed.cells.insert(0, notice)
    books = {"01_figure1_generalization_gap": full, "08_figure4_loss_landscape": failed}
    books["00_start_here"] = notebook([("md", "# Start here\n\nRead in order.", ()), ("code", "x = 1", ())])
    (folder / "notebooks").mkdir(parents=True)
    for name, book in books.items():
        nbformat.write(book, folder / f"notebooks/{name}.ipynb")


@pytest.fixture(scope="session")
def fake_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a faked `quick/`: appendix A has no files, table 1 no notebook, figure 4 no record.

    Its report is built, which takes longer than most tests. So it is made once for all processes of the tests, and each
    has a copy, whose files are links: it may add files, and must change none.
    """
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-once"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            making = tmp_path_factory.mktemp("making")
            for write in (write_items, write_verdicts, write_exhibits, write_notebooks):
                write(making / "quick")
            with mock.patch.object(evidence, "reduced_verdicts", lambda: REDUCED):
                build_report(making, "quick")
            making.rename(made)
    return Path(shutil.copytree(made, base / "results", copy_function=os.link))


@pytest.fixture(scope="session")
def site(fake_results: Path) -> Path:
    """The folder of the report built from them."""
    return fake_results / "quick" / "report"


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """A browser with the network cut."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver on the PATH")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    quiet = [
        f"--disable-{what}" for what in ("dev-shm-usage", "gpu", "background-networking", "component-update", "sync")
    ]
    for argument in ("--headless=new", "--no-sandbox", *quiet):
        options.add_argument(argument)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def asked(browser):
    """What the browser asked for since it was last called, as addresses."""

    def addresses() -> list[str]:
        events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        return [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]

    addresses()
    return addresses
