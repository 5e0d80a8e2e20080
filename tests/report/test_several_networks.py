"""The notebooks of Figures 1 to 3 and Table 1 at desk scale, which has several networks, on made-up runs."""

import math
from collections.abc import Collection
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from matplotlib.figure import Figure

from gbnlib import claims, experiments, files
from gbnlib.analysis import diffusion, positions
from gbnlib.experiments import RunConfig, store
from gbnlib.report import distance_plots, plots, position_plots
from gbnlib.report.items import get_item
from gbnlib.report.notebook import Notebook
from gbnlib.report.parameters import Parameters
from gbnlib.report.record import Exhibit, Record
from gbnlib.training import DistanceProbe, log_spaced
from gbnlib.training.loop import HISTORY_COLUMNS

WHERE = {
    "f1": "F1 on MNIST",
    "c1": "C1 on CIFAR-10 (JPEG)",
    "resnet44": "ResNet44 on CIFAR-10 (JPEG)",
    "c3": "C3 on Tiny ImageNet at 32 px, 100 classes",
}
#: Figures and tables that every network of an item has.
PER_NETWORK = {
    "figure1": (("figure1_error_curves", "figure1_final_error"), ("figure1_comparison", "figure1_training")),
    "figure2": (
        ("figure2_distance", "figure2_quantities", "figure2_laws", "figure2_spread"),
        (
            "figure2_laws_own",
            "figure2_laws_shared",
            "figure2_laws_first_own",
            "figure2_laws_first_shared",
            "figure2_cuts",
            "figure2_ends",
        ),
    ),
    "figure3": (("figure3_errors", "figure3_lengths"), ("figure3_lengths", "figure3_places")),
}


@pytest.fixture(autouse=True)
def no_reference_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the committed runs out, so that there are the made-up ones alone."""
    monkeypatch.setattr(files, "reference_root", lambda: tmp_path / "reference")
    monkeypatch.setattr("gbnlib.claims.verdict.shortfall", lambda *row: "")  # made-up runs do not converge


def pretend(config: RunConfig) -> None:
    """Store a finished run: an error that falls with the place in the regime, a distance that grows like log t."""
    regime, total = config.schedule(), experiments.updates(config)
    per_epoch = total // regime.epochs
    level = math.log2(config.batch_size / config.base_batch) * (not config.adapt) + 0.1 * config.seed
    history = []
    for epoch in range(config.evaluate_every, regime.epochs + 1, config.evaluate_every):
        update = epoch * per_epoch
        lr = regime.at(update - 1, per_epoch).lr
        error = 5 + level + 100 * lr + 20 * math.exp(-5 * epoch / regime.epochs)
        history.append([update, epoch, lr, 0.1, error + 1, 0.1, error])
    distances = [[t, t / per_epoch, *[k * math.log(t + k) + 0.1 * level for k in (1, 2, 3)]] for t in log_spaced(total)]
    folder = files.make_folder(store.folder(config))
    files.write_csv(folder / "history.csv", HISTORY_COLUMNS, history)
    files.write_csv(folder / "distance.csv", DistanceProbe.columns, distances)
    files.write_json(folder / "provenance.json", {})
    store.write_config(config)
    seconds = experiments.estimated_seconds(config, "desk")
    summary = {"updates": total, "seconds": seconds, "final_validation_error": error, "best_validation_error": error}
    store.write_done(config, "finished", summary, "")


def store_runs(item: str, networks: Collection[str]) -> None:
    """Store the runs of an item at desk scale that are of some networks."""
    for config in experiments.plan(item, "desk"):
        if config.network in networks:
            pretend(config)


def execute(item: str) -> None:
    """Run the code cells of an item's notebook at desk scale, in this process."""
    source = nbformat.read(files.REPOSITORY / "notebooks" / f"{get_item(item).notebook}.ipynb", as_version=4)
    names: dict = {}
    for cell in source.cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            names["scale"] = "desk"


def described(item: str, folder: str) -> dict[str, Exhibit]:
    """The figures or tables that an item's record names, by name, in the order of the notebook."""
    record = Record.read(files.results_root() / "desk" / "items" / f"{item}.json")
    return {exhibit.name: exhibit for exhibit in record.exhibits if exhibit.folder == folder}


@pytest.fixture
def titles(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The title of each figure that is saved, by name; nothing is rendered."""
    found: dict[str, str] = {}

    def save(figure: Figure, file: object, **options: object) -> None:
        if isinstance(file, Path):
            found[file.name.split(".")[1]] = figure.get_suptitle()
            file.touch()

    monkeypatch.setattr(Figure, "savefig", save)
    return found


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paragraphs that notebooks show."""
    found: list[str] = []
    monkeypatch.setattr(Notebook, "say", lambda notebook, text: found.append(text))
    return found


@pytest.mark.parametrize("item", PER_NETWORK)
@pytest.mark.parametrize("finished", [("f1", "resnet44"), ("f1",), ()], ids=["both", "one", "none"])
def test_a_figure_is_made_for_each_network_that_has_runs(item: str, finished: tuple, titles: dict, said: list) -> None:
    store_runs(item, finished)
    execute(item)
    figures, tables = PER_NETWORK[item]
    for network, suffix in (("f1", ""), ("resnet44", "_resnet44")):
        for folder, names in (("figures", figures), ("tables", tables)):
            shown = described(item, folder)
            for name in names if network in finished else ():
                assert shown[f"{name}{suffix}"].caption.startswith(f"{WHERE[network]}. ")
        for name in figures:
            assert (f"{name}{suffix}" in titles) == (network in finished)
            if network in finished:
                assert titles[f"{name}{suffix}"].startswith(WHERE[network])
                assert (files.results_root() / "desk" / "figures" / f"{name}{suffix}.csv").is_file()
        assert (f"*{WHERE[network]}: no finished runs.*" in said) == (network not in finished)
    verdicts = {(each.claim, each.network): each.tested for each in claims.read_verdicts("desk") if each.network}
    judged = [(claim, network) for claim in get_item(item).claims for network in ("f1", "resnet44")]
    assert verdicts == {(claim, network): network in finished for claim, network in judged}


@pytest.mark.parametrize(
    ("finished", "figures", "tables"),
    [
        (
            ("f1", "resnet44"),
            ["table1_f1", "table1_resnet44"],
            ["table1_gap", "table1_gap_resnet44", "table1_training", "table1_training_resnet44"],
        ),
        (("c3",), ["table1_c3"], ["table1_gap_c3", "table1_training_c3"]),
        ((), [], []),
    ],
    ids=["two rows", "one row", "none"],
)
def test_table1_draws_the_rows_that_have_runs(finished: tuple, figures: list, tables: list, titles: dict) -> None:
    store_runs("table1", finished)
    execute("table1")
    assert list(titles) == figures
    assert all(title.startswith(f"{WHERE[name.removeprefix('table1_')]}: ") for name, title in titles.items())
    assert list(described("table1", "figures")) == figures and list(described("table1", "tables")) == [
        "table1",
        *tables,
    ]


def test_the_papers_curve_is_drawn_for_the_papers_network_alone() -> None:
    for item in ("figure1", "figure2"):
        store_runs(item, ("f1", "resnet44"))
    history, distance = experiments.load_runs(experiments.plan("figure2", "desk"))
    for network in ("f1", "resnet44"):
        runs = history[history.network == network]
        curves = diffusion.high_rate_curves(runs, distance[distance.network == network])
        axes = plots.final_error_by_batch(runs[runs.method != "LB+LR+GBN"])
        pair = plt.subplots(1, 2)[1]
        distance_plots.panels(curves, "first", pair)
        for ax in (axes, *pair):
            labels = [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []
            assert any("paper" in label for label in labels) == (network == "resnet44")
        plt.close("all")


@pytest.mark.parametrize("item", ["figure1", "figure2", "figure3"])
def test_of_one_batch_size_nothing_is_compared_and_the_network_is_named(item: str, titles: dict, said: list) -> None:
    for config in experiments.plan(item, "desk"):
        if config.network == "f1" and config.method == "SB":
            pretend(config)
    execute(item)
    assert "*F1 on MNIST: only runs of batch size 128, with nothing to compare.*" in said
    assert set(titles) <= {
        "figure2_laws",
        "figure2_paper",
        "figure3_lengths",
    }  # these are of the small batch, or the paper's


def test_of_one_method_there_is_no_picture_of_table_1(titles: dict, said: list) -> None:
    for config in experiments.plan("table1", "desk"):
        if config.network == "resnet44" and config.method == "SB":
            pretend(config)
    execute("table1")
    assert f"*{WHERE['resnet44']}: only runs of method SB, with nothing to compare.*" in said
    assert titles == {}


def test_without_the_remedies_the_second_panel_is_left_out() -> None:
    for config in experiments.plan("figure2", "desk"):
        if config.network == "f1" and config.method in ("SB", "LB"):
            pretend(config)
    history, distance = experiments.load_runs(experiments.plan("figure2", "desk"))
    figure, pair = plt.subplots(1, 2)
    distance_plots.panels(diffusion.high_rate_curves(history, distance), "weights", pair)
    assert figure.axes == [pair[0]] and pair[0].lines
    plt.close("all")


def test_the_view_around_the_drop_shows_all_that_is_in_it() -> None:
    store_runs("figure3", ("f1",))
    history, _ = experiments.load_runs(experiments.plan("figure3", "desk"))
    runs = positions.with_positions(history)
    ax = position_plots.zoom(runs)
    shown = positions.one_regime(runs)
    inside = shown[shown.position.between(*ax.get_xlim())].validation_error
    assert len(inside) and ax.get_ylim()[0] < inside.min() and inside.max() < ax.get_ylim()[1]
    bands = [path.vertices for band in ax.collections for path in band.get_paths()]
    assert bands and all(ax.get_ylim()[0] < y < ax.get_ylim()[1] for band in bands for y in band[:, 1])
    plt.close("all")


def test_each_network_gets_its_own_runs() -> None:
    store_runs("table1", ("f1", "c1"))
    history, _ = experiments.load_runs(experiments.plan("table1", "desk"))
    page = Notebook(get_item("table1"), Parameters("desk", 0, "cpu", False, False), experiments.plan("table1", "desk"))
    counts = {f"{network}": runs.run.nunique() for network, runs in page.networks(history)}
    assert counts == {WHERE["f1"]: 25, WHERE["c1"]: 15}
