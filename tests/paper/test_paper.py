"""The paper's facts as the suite holds them."""

import pytest
from pydantic import ValidationError

from gbnlib import data, experiments, paper
from gbnlib.errors import UsageError
from gbnlib.report.items import items


def test_table1_has_the_paper_rows_in_order() -> None:
    """F1's row is 98.27, 97.05, 97.55, 97.60, 98.53 in print."""
    table = paper.published("table1")
    assert tuple(table["columns"]) == paper.METHODS
    assert [row["network"] for row in table["rows"]] == ["f1", "c1", "resnet44", "vgg", "c3", "wresnet16-4"]
    assert table["rows"][0]["accuracy"] == [98.27, 97.05, 97.55, 97.60, 98.53]


@pytest.mark.parametrize("table", ["table1", "table2"])
def test_the_published_gaps_have_the_published_shares(table: str) -> None:
    """√ scaling closes 16 to 76 % of the gap over the rows (C6), and adaptation is at least SB in all but one (C8)."""
    rows = paper.published(table)["rows"]
    assert all(len(row["accuracy"]) == 5 for row in rows)
    for row in rows:
        small, large, scaled, ghost, adapted = row["accuracy"]
        assert large < scaled < ghost
        assert 0.16 <= (scaled - large) / (small - large) <= 0.765
        assert adapted >= small or row["network"] == "wresnet16-4"


def test_every_number_has_a_tag() -> None:
    for item in ("table1", "table2", "figure1", "figure2", "figure3"):
        assert paper.published(item)["tag"] in {"P", "C", "D", "R"}
    row = paper.protocol("f1")
    facts = {"small_batch", "large_batch", "ghost_size", "epochs", "clip_norm", "augment", "phases"}
    assert set(row.tags) == facts | {"initialisation", "momentum_buffer", "base_batch"}


def test_the_protocol_of_f1_is_that_of_the_code() -> None:
    row = paper.protocol("f1")
    assert (row.small_batch, row.large_batch, row.ghost_size, row.epochs) == (128, 4096, 128, 50)
    assert [(phase["epoch"], phase["lr"]) for phase in row.phases] == [(0, 0.1), (10, 0.01), (20, 1e-3), (30, 1e-4)]


@pytest.mark.parametrize("scale", ["smoke", "quick", "desk", "paper"])
def test_a_scale_names_what_exists_and_keeps_what_a_method_means(scale: str) -> None:
    for item in paper.scale(scale).items:
        assert item in experiments.ITEMS
        for config in experiments.plan(item, scale):
            assert config.dataset in data.catalog()
            row = paper.protocol(config.network, scale)
            if item != "ablations":
                assert config.base_batch == row.base_batch.get(config.method, row.small_batch)


@pytest.mark.parametrize(("scale", "ratio"), [("quick", 8), ("desk", 32), ("paper", 32)])
def test_the_ratio_of_the_batches_is_the_papers_or_a_quarter_of_it(scale: str, ratio: int) -> None:
    row = paper.protocol("f1", scale)
    assert row.large_batch / row.small_batch == ratio


def test_claims_are_thirteen_and_the_judged_ones_have_a_criterion() -> None:
    assert list(paper.claims()) == [f"C{number}" for number in range(1, 14)]
    for item in items().values():
        assert all(paper.all_claims()[claim].criterion for claim in item.claims)


@pytest.mark.parametrize("scale", ["smoke", "quick", "desk", "paper"])
def test_a_measurement_has_parameters_and_a_time_at_every_scale(scale: str) -> None:
    plan = paper.measurement("walks", scale)
    assert set(plan.parameters) == {"alphas", "roughness", "seed", "sites", "environments", "walkers", "steps"}
    assert plan.parameters["alphas"] == [0.5, 1.0, 1.5] and plan.parameters["steps"] >= 4096
    assert (plan.item, plan.version) == ("random_walk", 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paper.scale("quik"), "unknown scale 'quik'; did you mean 'quick'"),
        (lambda: paper.measurement("walk", "quick"), "unknown measurement 'walk'; did you mean 'walks'"),
        (lambda: paper.protocol("f2"), "unknown network 'f2'; did you mean 'f1'"),
    ],
)
def test_unknown_names_are_answered(call, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_deviations_are_complete_sentences_for_known_items() -> None:
    for item in ("table1", "figure1"):
        assert paper.deviations(item)
        for entry in paper.deviations(item):
            assert list(entry) == ["paper", "here", "why", "effect"] and all(entry.values())


def test_a_scale_refuses_a_mistyped_setting_of_an_item() -> None:
    with pytest.raises(ValidationError, match="high_rate_epoch\n.*Extra inputs"):
        paper.ScaleItem(high_rate_epoch={"f1": [20]})
