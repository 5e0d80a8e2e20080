"""Configs: what they refuse, what their id depends on, which method they are."""

import pytest
import torch

from gbnlib.errors import UsageError
from gbnlib.experiments import RunConfig, config
from gbnlib.regimes import Phase

PHASES = (Phase(epoch=0, lr=0.1, momentum=0.9), Phase(epoch=2, lr=0.01))


def make(**options) -> RunConfig:
    """A small config with some fields replaced."""
    return RunConfig(
        **{"network": "f1", "dataset": "digits", "batch_size": 32, "epochs": 4, "regime": PHASES, **options}
    )


def test_the_id_is_stable() -> None:
    """The id names folders that are committed: if this changes, finished runs are no longer found."""
    assert make().id == "f1-digits-b32-s0-40b113585d42"


def test_the_id_leaves_defaults_out_and_depends_on_all_else() -> None:
    assert make(clip_norm=0.0, running="sequential").id == make().id
    changes = [{"seed": 1}, {"ghost_size": 16}, {"clip_norm": 5.0}, {"train_size": 10}, {"precision": "bf16"}]
    changes += [{"precision": "tf32"}, {"grow_to": 64}]
    changes += [{"regime": (Phase(epoch=0, lr=0.2),)}, {"adapt": True}, {"lr_rule": "sqrt"}]
    ids = {make(**change).id for change in changes} | {make().id}
    assert len(ids) == len(changes) + 1


def test_the_id_depends_on_the_engine(monkeypatch) -> None:
    before = make().id
    monkeypatch.setattr(config, "ENGINE", config.ENGINE + 1)
    assert make().id != before


def test_a_config_comes_back_from_its_json() -> None:
    original = make(ghost_size=8, base_batch=16, adapt=True)
    assert RunConfig(**original.model_dump(mode="json")) == original
    assert hash(RunConfig(**original.model_dump(mode="json"))) == hash(original)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": -1}, "batch_size: .*greater than 0 .given: -1"),
        ({"sede": 3}, "unknown run option 'sede'; did you mean 'seed'"),
        ({"lr_rule": "cubic"}, "lr_rule: .*'none', 'sqrt' or 'linear' .given: 'cubic'"),
        ({"epochs": 0}, "epochs: .*given: 0"),
        ({"regime": (Phase(epoch=1, lr=0.1),)}, "epoch 0|first phase"),
        ({"regime": None}, "regime: .*takes phases of epoch, lr, momentum, weight_decay"),
        ({"regime": ()}, "regime: phases must be one or more"),
        ({"regime": [{"epoch": 0, "rate": 0.1}]}, "regime: .*'rate'; it takes phases of epoch, lr"),
        ({"remainder": "official", "ghost_size": 64}, "batch_size 32 >= ghost_size 64"),
        ({"grow_to": 16}, "grow_to 16 needs a batch_size of at most that"),
        ({"grow_to": 64, "remainder": "official", "ghost_size": 16}, "and a remainder that is no count"),
    ],
)
def test_bad_values_are_one_line_that_names_the_field(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ({"base_batch": 32}, "SB"),
        ({"base_batch": 32, "noise": 1.0}, "SB+noise"),
        ({"batch_size": 512}, "batch 512"),
        ({"batch_size": 512, "ghost_size": 32}, "batch 512+GBN"),
        ({"base_batch": 8}, "LB"),
        ({"base_batch": 8, "lr_rule": "sqrt"}, "LB+LR"),
        ({"base_batch": 8, "lr_rule": "sqrt", "ghost_size": 8}, "LB+LR+GBN"),
        ({"base_batch": 8, "lr_rule": "sqrt", "ghost_size": 8, "adapt": True}, "LB+LR+GBN+RA"),
    ],
)
def test_the_method_is_the_column_of_table_1(options: dict, method: str) -> None:
    assert make(**options).method == method


def test_the_schedule_is_scaled_and_adapted() -> None:
    """Batch 32 against 8: √4 = 2 times the rate, 4 times the epochs; evaluated every 4 epochs."""
    adapted = make(base_batch=8, lr_rule="sqrt", adapt=True)
    regime = adapted.schedule()
    assert [(phase.epoch, phase.lr) for phase in regime.phases] == [(0, 0.2), (8, 0.02)]
    assert regime.epochs == 16 and adapted.evaluate_every == 4


NUMBERS = [
    name for name, field in RunConfig.model_fields.items() if name != "adapt" and type(field.default) in (int, float)
]


@pytest.mark.parametrize("name", [*NUMBERS, "batch_size", "epochs"])
@pytest.mark.parametrize("value", [-1, 10**400, 2**64, float("inf"), float("nan")])
def test_no_number_is_without_bounds(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"^{name}: ") as caught:
        make(**{name: value})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_every_seed_that_torch_takes_is_allowed() -> None:
    torch.manual_seed(2**64 - 1)
    assert make(seed=2**64 - 1).seed == 2**64 - 1


def test_adaptation_may_not_train_for_ever() -> None:
    with pytest.raises(UsageError, match="regime adaptation makes 2,000,000 epochs; at most 1,000,000"):
        make(batch_size=20_000, base_batch=10, epochs=1000, adapt=True)


def test_a_growing_batch_has_its_sizes_and_rates() -> None:
    grown = make(grow_to=100, ghost_size=32)
    assert grown.growth() == ((2, 100),) and grown.largest_batch == 100 and make().largest_batch == 32
    assert [phase.lr for phase in grown.schedule().phases] == pytest.approx([0.1, 0.01 * 100 / 32])
    assert make().growth() == ()
