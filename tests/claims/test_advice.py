"""Cautions on recipes: that their numbers are those of the runs they name, and that the runs decide."""

import json
import re

import pytest

from gbnlib import experiments, files
from gbnlib.claims import advice, cautions
from gbnlib.regimes import recipe

#: Few updates at a raised rate, with ghosts and no warm-up.
BOLD = {"batch_size": 4096, "base_batch": 256, "lr": 0.1, "epochs": 90, "milestones": (30, 60, 80)}
BOLD |= {"samples": 10_000, "adapt": "none"}


def parts(found):
    """What cautions are about, by a word of each."""
    words = ("base's updates", "before it first falls", "first update on", "linear rule", "Ghosts", "beyond")
    return [next(word for word in words if word in caution.text) for caution in found]


def error_of(run):
    """The last validation error in the history of a reference run, read without the library's frames."""
    lines = (files.reference_root() / "runs" / run / "history.csv").read_text().splitlines()
    return float(dict(zip(lines[0].split(","), lines[-1].split(","), strict=True))["validation_error"])


def test_each_part_of_a_recipe_has_its_caution():
    assert parts(cautions(recipe(**BOLD))) == ["base's updates", "before it first falls", "first update on"]
    assert parts(cautions(recipe(**BOLD, warmup=5, ghost_size=32))) == ["base's updates", "Ghosts"]
    assert parts(cautions(recipe(**BOLD, rule="none"))) == ["base's updates"]
    assert parts(cautions(recipe(4096, 64, 0.1, 90, rule="linear", warmup=5))) == ["linear rule", "beyond"]
    assert parts(cautions(recipe(4096, 256, 0.1, 90, warmup=5))) == []


def test_limits_are_those_of_the_runs():
    """They have 32 times the batch and 150 updates at the high rate; 30 epochs of 5 updates are 150, of 6 are 180."""
    assert "beyond" not in parts(cautions(recipe(4096, 128, 0.1, 90)))
    assert "beyond" in parts(cautions(recipe(4096, 127, 0.1, 90)))
    for per_epoch, is_few in ((5, True), (6, False)):
        found = parts(cautions(recipe(**{**BOLD, "samples": 4096 * per_epoch})))
        assert ("before it first falls" in found) == is_few


@pytest.mark.parametrize("batch_size", [256, 64])
def test_nothing_speaks_against_a_batch_no_larger_than_the_base(batch_size):
    assert not cautions(recipe(batch_size, 256, 0.1, 90, rule="linear", adapt="none", ghost_size=8))


@pytest.mark.parametrize("rule", ["sqrt", "linear"])
def test_the_numbers_are_those_of_the_runs_named(rule):
    for caution in cautions(recipe(**BOLD, rule=rule)):
        runs = [name for name in caution.rests_on if name.startswith("f1-")]
        first, second = runs[: len(runs) // 2], runs[len(runs) // 2 :]
        means = [sum(map(error_of, half)) / len(half) for half in (first, second)]
        (told,) = re.findall(r"([+−]\d+\.\d\d) points \[", caution.text)
        assert float(told.replace("−", "-")) == pytest.approx(means[1] - means[0], abs=0.005)


def test_the_linear_rule_is_told_by_the_arms_of_its_study():
    """Goyal's recipe, linear with a warm-up, against the small batch of the same study, as B5 judges it."""
    arms = {named["arm"]: config.id for named, config in experiments.study("remedies", "desk") if not config.seed}
    updates, *_ = cautions(recipe(**BOLD, rule="linear", warmup=5))
    assert (updates.rests_on[0], updates.rests_on[3]) == (arms["linear rate, warm-up"], arms["SB"])
    assert "the linear rate with warm-up (batch 2,048, without augmentation) − SB was" in updates.text
    updates, gain, _ = cautions(recipe(**BOLD, rule="linear"))
    assert (updates.rests_on[0], updates.rests_on[3]) == (arms["linear rate"], arms["SB"])
    assert (gain.rests_on[0], gain.rests_on[3]) == (arms["linear rate, warm-up"], arms["linear rate"])


def test_the_runs_named_are_of_one_protocol():
    """Two sides of a comparison differ in the method and nothing else; a warm-up in the warm-up alone."""
    by_id = {config.id: config for runs in experiments.ablations("desk").values() for config in runs}
    *_, gain = cautions(recipe(**BOLD))
    warmed, without = by_id[gain.rests_on[0]], by_id[gain.rests_on[3]]
    assert json.loads(warmed.model_dump_json(exclude={"warmup_epochs"})) == json.loads(
        without.model_dump_json(exclude={"warmup_epochs"})
    )
    assert (warmed.warmup_epochs, without.warmup_epochs) == (5, 0)
    # 60,000 images in batches of 4,096 are 15 updates an epoch, and the rate first falls after 10 epochs of 50.
    assert "With 150 updates at the raised rate, 5 epochs of warm-up" in gain.text
    assert "here there are 90." in gain.text


def test_without_finished_runs_there_is_no_warning_but_papers(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "reference_root", lambda: tmp_path)
    assert parts(cautions(recipe(**BOLD, rule="linear", ghost_size=32))) == ["linear rule"]


def test_the_linear_rule_is_told_against_the_square_root_without_a_warm_up():
    """Their runs are those of study B5, and with a warm-up the interval holds zero."""
    arms = {named["arm"]: config.id for named, config in experiments.study("remedies", "desk") if not config.seed}
    *_, warmed = cautions(recipe(**BOLD, rule="linear", warmup=5))
    assert warmed.rests_on == ("Goyal et al. 2017, arXiv 1706.02677",)
    *_, caution = cautions(recipe(**BOLD, rule="linear"))
    assert (caution.rests_on[0], caution.rests_on[3]) == (arms["linear rate"], arms["√ rate"])
    means = [sum(map(error_of, caution.rests_on[three : three + 3])) / 3 for three in (0, 3)]
    (told,) = re.findall(r"−(\d+\.\d\d) points \[", caution.text)
    assert float(told) == pytest.approx(means[0] - means[1], abs=0.005)


def test_a_caution_stands_only_where_its_runs_say_so(monkeypatch):
    same = dict.fromkeys(("SB", "LB", "LB+LR", "LB+LR+GBN"), (98.0, 98.1, 98.2))
    monkeypatch.setattr(advice._Runs, "accuracies", property(lambda runs: same[runs.configs[0].method]))
    assert parts(cautions(recipe(**BOLD, ghost_size=32))) == ["Ghosts"]
    same["LB+LR+GBN"] = (99.0, 99.1, 99.2)
    assert parts(cautions(recipe(**BOLD, ghost_size=32))) == []
