"""The texts of `gbn plan` and `gbn data check`."""

import pytest

from gbnlib import data, experiments, paper
from gbnlib.report import listing


def test_a_plan_counts_updates_and_time() -> None:
    line = listing.summary_text(experiments.plan("table1", "quick", seeds=1)[:2], "quick")
    # 63 and 8 updates an epoch, 20 epochs.
    assert line.startswith("2 runs, 0 finished, 1,420 updates, about ")
    assert line.endswith(" s to go")


@pytest.mark.parametrize(
    ("scale", "left_out"),
    [("desk", "VGG, WResnet16-4, AlexNet, table2"), ("paper", "convergence")],
)
def test_a_plan_names_what_the_scale_leaves_out(scale: str, left_out: str) -> None:
    last = listing.plan_text(scale).splitlines()[-1]
    assert last == f"Not run at this scale: {left_out}."


def test_gpu_hours_are_those_of_one_gpu_whatever_this_machine_has(monkeypatch) -> None:
    configs = experiments.plan("figure1", "paper", seeds=1)
    hours = sum(experiments.estimated_seconds(config, "paper") for config in configs) / 3600
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert f"about {hours:,.1f} GPU-hours to go" in listing.summary_text(configs, "paper")


def test_the_time_is_for_the_cores_that_this_process_may_use(monkeypatch) -> None:
    configs = experiments.plan("figure1", "quick")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {3}, raising=False)
    total = sum(experiments.estimated_seconds(config, "quick") for config in configs)
    assert experiments.remaining_seconds(configs, "quick") == pytest.approx(total)


def test_the_data_are_listed_with_their_state_and_with_what_each_scale_needs() -> None:
    text = listing.data_text()
    assert all(card.label in text for card in data.catalog().values())
    assert "Scale quick needs digits (ready)" in text
    needed = {config.dataset for config in experiments.plan_scale("paper")}
    (line,) = [line for line in text.splitlines() if line.startswith("Scale paper needs ")]
    assert all(f"{name} (missing)" in line for name in needed) and paper.scale("paper").on_gpu
