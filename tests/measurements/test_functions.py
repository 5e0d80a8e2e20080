"""Planned measurements fit their functions and items, and are made once."""

import inspect

import pandas as pd
import pytest

from gbnlib import measurements, paper
from gbnlib.measurements import functions
from gbnlib.report.items import items


@pytest.mark.parametrize("scale", paper.scales())
@pytest.mark.parametrize("name", paper.measurements())
def test_a_plan_has_the_arguments_of_its_function_and_an_item(name: str, scale: str) -> None:
    plan = paper.measurement(name, scale)
    inspect.signature(functions.FUNCTIONS[name]).bind(**plan.parameters)
    assert plan.item in items()
    assert plan in measurements.plan(scale, plan.item).values()


def test_every_function_is_of_a_planned_measurement_and_takes_a_device_if_it_is_given_one() -> None:
    assert list(functions.FUNCTIONS) == paper.measurements()
    for function in functions.FUNCTIONS.values():
        assert ("device" in inspect.signature(function).parameters) == (function in functions.ON_DEVICE)


def test_the_items_share_out_what_a_scale_measures() -> None:
    whole = measurements.plan("desk")
    parts = [wanted for name in items() for wanted in measurements.plan("desk", name)]
    assert sorted(parts) == sorted(whole) and len(whole) == len(paper.measurements())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_device_goes_to_a_function_that_takes_one_and_is_no_part_of_the_id(device: str, monkeypatch) -> None:
    calls = []

    def measure_here(count: int, device: str) -> pd.DataFrame:
        calls.append(device)
        return pd.DataFrame({"count": [count]})

    monkeypatch.setitem(functions.FUNCTIONS, "here", measure_here)
    monkeypatch.setattr(functions, "ON_DEVICE", {measure_here})
    facts = {"name": "here", "item": "figure4", "seconds": 1}
    plan = paper.MeasurementPlan(**facts, parameters={"count": 3})
    for _ in range(2):
        assert measurements.make(plan, device=device)["count"].tolist() == [3]
    assert calls == [device]
    assert measurements.find(measurements.identify("here", {"count": 3})).origin == "local"
    measurements.make(plan, device="cpu", force=True)
    assert calls == [device, "cpu"]
